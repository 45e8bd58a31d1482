//! `thread refresh`: a thread comes up to date with its target, and its worktree with it.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Answer, Sandbox, assert_same, snapshot_of, text};
use support_program::write_program;

/// A thread with a worktree and a capture of each file; its session and the worktree.
#[track_caller]
fn captured(sandbox: &Sandbox, thread: &str, files: &[(&str, &str)]) -> (String, PathBuf) {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    for (file, content) in files {
        fs::write(path.join(file), content).expect("write");
        capture(sandbox, &session, &path, &format!("work on {file}"));
    }
    (session, path)
}

#[track_caller]
fn capture(sandbox: &Sandbox, session: &str, path: &Path, message: &str) -> Value {
    sandbox.heddle_in(path, &["agent", "capture", "--session", session, "-m", message]).exits(0).json()
}

fn refresh(sandbox: &Sandbox, thread: &str, more: &[&str]) -> Answer {
    sandbox.heddle(&[&["--json", "thread", "refresh", thread], more].concat())
}

fn tip(sandbox: &Sandbox, thread: &str) -> String {
    sandbox.git(&["rev-parse", &format!("refs/heddle/threads/{thread}")])
}

/// Commits on main what makes it differ from where the threads started.
#[track_caller]
fn advance(sandbox: &Sandbox, file: &str, content: &str) -> String {
    fs::write(sandbox.root().join(file), content).expect("write");
    sandbox.git(&["add", file]);
    sandbox.git(&["commit", "--quiet", "--message", &format!("main changes {file}")]);
    sandbox.git(&["rev-parse", "main"])
}

#[test]
fn the_commits_come_onto_the_target_as_they_were_and_the_worktree_follows() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n"), ("b", "b\n")]);
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    let (old, format) = (tip(&sandbox, "t"), "--format=%an %ae %at %B");
    let before = sandbox.git(&["log", format, "main..refs/heddle/threads/t"]);
    let main = advance(&sandbox, "other", "other\n");

    let done = refresh(&sandbox, "t", &["--session", &session]).exits(0).json();
    let new = tip(&sandbox, "t");
    let expected = json!({
        "thread": "t", "outcome": "rebased", "old": old, "new": new, "target": "refs/heads/main",
        "target_commit": main, "commits": 2, "conflicts": [], "worktree": path, "warnings": [],
    });
    assert_eq!(done, expected);
    assert_eq!(sandbox.git(&["log", format, "main..refs/heddle/threads/t"]), before);
    assert_eq!(sandbox.git(&["rev-parse", &format!("{new}~2")]), main);
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/t@{1}"]), old, "the old tip is in the log");
    // The mark is of another commit.
    assert_eq!(sandbox.heddle(&["--json", "thread", "show", "t"]).json()["state"], "active");
    assert_eq!(sandbox.git_in(&path, &["rev-parse", "HEAD"]), new);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(path.join("other")).expect("it came along"), "other\n");
    // A capture afterwards is on top, and nothing of the target is taken back.
    fs::write(path.join("c"), "c\n").expect("write");
    capture(&sandbox, &session, &path, "more");
    assert_eq!(sandbox.git(&["diff", "--name-only", "main", "refs/heddle/threads/t"]), "a\nb\nc");
    assert_eq!(refresh(&sandbox, "t", &["--session", &session]).exits(0).json()["outcome"], "current");
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "t", "--strategy=ff"]).exits(0);
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_thread_without_a_worktree_is_refreshed_in_memory_and_what_landed_is_left_out() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n"), ("b", "b\n")]);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(!path.exists());
    let first = sandbox.git(&["rev-parse", "refs/heddle/threads/t~1"]);
    advance(&sandbox, "other", "other\n");
    sandbox.git(&["cherry-pick", "--keep-redundant-commits", &first]);
    let checkout = sandbox.git(&["for-each-ref", "refs/heads"]);
    let done = refresh(&sandbox, "t", &[]).exits(0).json();
    assert_eq!(
        (&done["outcome"], &done["commits"], &done["worktree"]),
        (&json!("rebased"), &json!(1), &Value::Null)
    );
    assert_eq!(sandbox.git(&["log", "--format=%s", "main..refs/heddle/threads/t"]), "work on b");
    assert_eq!(checkout, sandbox.git(&["for-each-ref", "refs/heads"]));
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    // A thread that has nothing of its own is simply moved.
    sandbox.heddle(&["agent", "reserve", "--thread", "empty", "--anchor", "main~1"]).exits(0);
    let done = refresh(&sandbox, "empty", &["--force"]).exits(0).json();
    assert_eq!((&done["commits"], &done["new"]), (&json!(0), &json!(sandbox.git(&["rev-parse", "main"]))));
}

#[test]
fn merging_brings_the_target_in_and_a_rebase_drops_a_merge_that_git_would_make_again() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n")]);
    let old = tip(&sandbox, "t");
    let main = advance(&sandbox, "other", "other\n");
    let act = ["--session", session.as_str()];
    let done = refresh(&sandbox, "t", &[&act[..], &["--merge"]].concat()).exits(0).json();
    assert_eq!(done["outcome"], "merged");
    assert_eq!(sandbox.git(&["log", "-1", "--format=%P", "refs/heddle/threads/t"]), format!("{old} {main}"));
    let message = sandbox.git(&["log", "-1", "--format=%B", "refs/heddle/threads/t"]);
    let expected = format!(
        "Merge 'main' into thread 't'\n\nHeddle-Thread: t\nHeddle-Session: {session}\nHeddle-Generation: 1"
    );
    assert_eq!(message, expected);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    assert!(path.join("other").exists());
    fs::write(path.join("a"), "a\nb\n").expect("write");
    capture(&sandbox, &session, &path, "more work on a");
    advance(&sandbox, "more", "more\n");
    let done = refresh(&sandbox, "t", &act).exits(0).json();
    assert_eq!((&done["outcome"], &done["commits"]), (&json!("rebased"), &json!(2)));
    let log = sandbox.git(&["log", "--format=%s", "main..refs/heddle/threads/t"]);
    assert_eq!(log, "more work on a\nwork on a");
    assert_eq!(sandbox.git(&["diff", "--name-only", "main", "refs/heddle/threads/t"]), "a");
    assert_eq!(fs::read_to_string(path.join("a")).expect("file"), "a\nb\n");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
}

#[test]
fn a_merge_in_which_something_was_resolved_is_not_lost_by_a_rebase() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n")]);
    advance(&sandbox, "other", "other\n");
    sandbox.git_in(&path, &["merge", "--quiet", "--no-commit", "--no-ff", "main"]);
    fs::write(path.join("resolved"), "by hand\n").expect("write");
    sandbox.git_in(&path, &["add", "resolved"]);
    sandbox.git_in(&path, &["commit", "--quiet", "--message", "merge by hand"]);
    capture(&sandbox, &session, &path, "adopt");
    advance(&sandbox, "more", "more\n");
    let refused = sandbox.refused(1, &["thread", "refresh", "t", "--session", &session]);
    assert!(refused.stderr.contains("something was resolved"), "{refused:?}");
    assert!(refused.stderr.contains("hint: --merge merges the target in"), "{refused:?}");
    refresh(&sandbox, "t", &["--session", &session, "--merge"]).exits(0);
    assert!(path.join("resolved").exists() && path.join("more").exists());
}

#[test]
fn a_conflict_changes_nothing_and_lists_the_files() {
    let sandbox = Sandbox::new();
    advance(&sandbox, "shared", "base\n");
    let (session, path) = captured(&sandbox, "t", &[("own", "own\n"), ("shared", "theirs\n")]);
    advance(&sandbox, "shared", "ours\n");
    for how in [&["--session", session.as_str()][..], &["--session", session.as_str(), "--merge"]] {
        let before = snapshot_of(sandbox.home());
        let done = refresh(&sandbox, "t", how).exits(7).json();
        assert_eq!((&done["outcome"], &done["conflicts"]), (&json!("conflicts"), &json!(["shared"])));
        assert_eq!(done["old"], done["new"]);
        let mut after = snapshot_of(sandbox.home());
        // A sign of life of the owner.
        let record = sandbox.state(format!("agents/{session}.json"));
        after.insert(record.clone(), before[&record].clone());
        assert_same(&before, &after);
    }
    assert_eq!(fs::read_to_string(path.join("shared")).expect("file"), "theirs\n");
}

#[test]
fn kept_conflicts_are_a_merge_that_the_next_capture_commits() {
    let sandbox = Sandbox::new();
    advance(&sandbox, "shared", "base\n");
    let (session, path) = captured(&sandbox, "t", &[("shared", "theirs\n")]);
    let old = tip(&sandbox, "t");
    advance(&sandbox, "shared", "ours\n");
    let main = advance(&sandbox, "other", "other\n");
    let keep = ["--session", session.as_str(), "--keep-conflicts"];
    let done = refresh(&sandbox, "t", &keep).exits(7).json();
    assert_eq!((&done["outcome"], &done["conflicts"]), (&json!("conflicts_kept"), &json!(["shared"])));
    assert_eq!(tip(&sandbox, "t"), old);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "A  other\nUU shared");
    let again = refresh(&sandbox, "t", &["--session", &session]).exits(1);
    assert!(again.stderr.contains("a merge is in progress"), "{again:?}");

    // Given up: as if it had not been.
    let done = refresh(&sandbox, "t", &["--session", &session, "--abort"]).exits(0).json();
    assert_eq!((&done["outcome"], &done["target"]), (&json!("aborted"), &json!("refs/heads/main")));
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    refresh(&sandbox, "t", &["--session", &session, "--abort"]).exits(1);

    // Resolved: not before all of it is.
    refresh(&sandbox, "t", &keep).exits(7);
    let args = ["agent", "capture", "--session", session.as_str(), "-m", "both"];
    let refused = sandbox.heddle_in(&path, &args).exits(1);
    assert!(refused.stderr.contains("unmerged paths: shared"), "{refused:?}");
    assert!(refused.stderr.contains("thread refresh t --abort"), "{refused:?}");
    fs::write(path.join("shared"), "both\n").expect("write");
    sandbox.git_in(&path, &["add", "shared"]);
    let refused = sandbox.heddle_in(&path, &[&args[..], &["--", "shared"]].concat()).exits(1);
    assert!(refused.stderr.contains("only some paths"), "{refused:?}");
    let done = sandbox.heddle_in(&path, &args).exits(0).json();
    assert_eq!(done["captured"], true);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%P", "refs/heddle/threads/t"]), format!("{old} {main}"));
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:shared"]), "both");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain", "--branch"]), "## HEAD (no branch)");
    let git_dir = PathBuf::from(sandbox.git_in(&path, &["rev-parse", "--absolute-git-dir"]));
    for left in ["MERGE_HEAD", "heddle-refresh"] {
        assert!(!git_dir.join(left).exists(), "{left}");
    }
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "t"]).exits(0);
    // A merge that the user began is theirs to finish.
    let (session, path) = captured(&sandbox, "u", &[("shared", "u\n")]);
    advance(&sandbox, "shared", "again\n");
    let merge = sandbox.program("git", &path, &["merge", "main"]).output().expect("git");
    assert!(!merge.status.success());
    let refused = sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(1);
    assert!(refused.stderr.contains("a merge is in progress"), "{refused:?}");
}

#[test]
fn uncommitted_work_comes_along_unless_it_is_in_the_way() {
    let sandbox = Sandbox::new();
    advance(&sandbox, "shared", "base\n");
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n"), ("b", "b\n")]);
    advance(&sandbox, "shared", "ours\n");
    advance(&sandbox, "new", "new\n");
    let act = ["--session", session.as_str()];
    let refuse = |about: &str, named: &str| {
        let before = (tip(&sandbox, "t"), sandbox.git_in(&path, &["status", "--porcelain"]));
        let refused = refresh(&sandbox, "t", &act).exits(1);
        assert!(refused.stderr.contains("uncommitted work in the way"), "{about}: {refused:?}");
        assert!(refused.stderr.contains(named), "{about}: {refused:?}");
        assert_eq!(
            before,
            (tip(&sandbox, "t"), sandbox.git_in(&path, &["status", "--porcelain"])),
            "{about}"
        );
    };
    fs::write(path.join("shared"), "mine\n").expect("write");
    refuse("changed", "shared");
    sandbox.git_in(&path, &["checkout", "--quiet", "shared"]);
    fs::write(path.join("new"), "mine\n").expect("write");
    refuse("untracked", "new");
    fs::remove_file(path.join("new")).expect("file");
    // Neither commit differs in these.
    fs::write(path.join("b"), "changed\n").expect("write");
    fs::write(path.join("loose"), "loose\n").expect("write");
    refresh(&sandbox, "t", &act).exits(0);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "M b\n?? loose");
    assert_eq!(fs::read_to_string(path.join("shared")).expect("file"), "ours\n");
    capture(&sandbox, &session, &path, "both");
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:b"]), "changed");
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:shared"]), "ours");
}

#[test]
fn a_worktree_that_stayed_behind_is_brought_to_the_tip_as_the_hint_says() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n")]);
    let old = tip(&sandbox, "t");
    // By other means.
    let tree = sandbox.git(&["rev-parse", "refs/heddle/threads/t^{tree}"]);
    let other = sandbox.git(&["commit-tree", "-p", &old, "-m", "by other means", &tree]);
    fs::write(path.join("loose"), "loose\n").expect("write");
    sandbox.git(&["update-ref", "refs/heddle/threads/t", &other]);
    let args = ["agent", "capture", "--session", session.as_str(), "-m", "x"];
    let refused = sandbox.heddle_in(&path, &args).exits(4);
    assert!(refused.stderr.contains("hint: git heddle thread refresh t brings"), "{refused:?}");
    let done = sandbox.heddle_in(&path, &["--json", "thread", "refresh", "t", "--session", &session]);
    assert_eq!(done.exits(0).json()["outcome"], "current");
    assert_eq!(sandbox.git_in(&path, &["rev-parse", "HEAD"]), other);
    sandbox.heddle_in(&path, &args).exits(0);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%P", "refs/heddle/threads/t"]), other);
}

#[test]
fn what_cannot_be_refreshed_is_refused_and_nothing_changes() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t", &[("a", "a\n")]);
    advance(&sandbox, "other", "other\n");
    sandbox.refused(1, &["thread", "refresh", "none"]);
    sandbox.refused(3, &["thread", "refresh", "t"]);
    sandbox.refused(1, &["thread", "refresh", "t", "--session", &session, "--onto=nowhere"]);
    sandbox.refused(2, &["thread", "refresh", "t", "--abort", "--merge"]);
    // Commits by hand are captured first.
    sandbox.git_in(&path, &["commit", "--quiet", "--allow-empty", "--message", "by hand"]);
    let refused = sandbox.refused(1, &["thread", "refresh", "t", "--session", &session]);
    assert!(refused.stderr.contains("hint: capture there first"), "{refused:?}");
    capture(&sandbox, &session, &path, "adopt");
    sandbox.git_in(&path, &["checkout", "--quiet", "-b", "mine"]);
    let refused = sandbox.refused(1, &["thread", "refresh", "t", "--session", &session]);
    assert!(refused.stderr.contains("is on branch 'mine'"), "{refused:?}");
    sandbox.git_in(&path, &["checkout", "--quiet", "--detach"]);
    refresh(&sandbox, "t", &["--session", &session]).exits(0);
    assert_eq!(sandbox.git(&["log", "--format=%s", "main..refs/heddle/threads/t"]), "by hand\nwork on a");

    // A worktree of the user's own is not moved.
    let own = text(&sandbox.reserve("u", &["--anchor", "main"]), "session_id");
    fs::write(sandbox.root().join("u"), "u\n").expect("write");
    sandbox.heddle(&["agent", "capture", "--session", &own, "-m", "u"]).exits(0);
    fs::remove_file(sandbox.root().join("u")).expect("file");
    advance(&sandbox, "more", "more\n");
    let refused = sandbox.refused(1, &["thread", "refresh", "u", "--session", &own]);
    assert!(refused.stderr.contains("which git-heddle did not make"), "{refused:?}");
    let refused = sandbox.refused(1, &["thread", "refresh", "u", "--session", &own, "--keep-conflicts"]);
    assert!(refused.stderr.contains("which git-heddle did not make"), "{refused:?}");
    assert!(refused.stderr.contains("hint: release it"), "{refused:?}");
    // By force a person refreshes it, and its session has ended; the worktree stays as it is.
    let before = sandbox.git(&["status", "--porcelain", "--branch"]);
    let done = refresh(&sandbox, "u", &["--force"]).exits(0).json();
    assert_eq!((&done["outcome"], &done["worktree"]), (&json!("rebased"), &json!(null)));
    assert_eq!(sandbox.heddle(&["agent", "show", &own]).exits(0).json()["status"], "abandoned");
    assert_eq!(sandbox.git(&["status", "--porcelain", "--branch"]), before);
    sandbox.refused(5, &["agent", "capture", "--session", &own, "-m", "too late"]);
    // What it was told to do.
    let next = ["agent", "reserve", "--thread", "u", "--resume", "--worktree"];
    let next = sandbox.heddle(&next).exits(0).json();
    assert_eq!(fs::read_to_string(Path::new(&text(&next, "path")).join("more")).expect("file"), "more\n");
    let done = refresh(&sandbox, "t", &["--force"]).exits(0).json();
    assert_eq!(done["outcome"], "rebased");
    assert_eq!(sandbox.heddle(&["agent", "show", &session]).exits(0).json()["status"], "abandoned");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
}

#[test]
fn commits_are_signed_where_the_configuration_says_so_and_keep_their_encoding() {
    let sandbox = Sandbox::new();
    let (session, _) = captured(&sandbox, "t", &[("a", "a\n")]);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    // A commit that is not in UTF-8, by another author.
    let tree = sandbox.git(&["rev-parse", "refs/heddle/threads/t^{tree}"]);
    let message = sandbox.home().join("message");
    fs::write(&message, b"caf\xe9\n").expect("write");
    let message = message.to_str().expect("UTF-8");
    let args = [
        "-c",
        "i18n.commitEncoding=ISO-8859-1",
        "commit-tree",
        "-p",
        "refs/heddle/threads/t",
        "-F",
        message,
        &tree,
    ];
    let made = sandbox
        .program("git", &sandbox.root(), &args)
        .envs([("GIT_AUTHOR_NAME", "Grace"), ("GIT_AUTHOR_DATE", "2020-02-03T04:05:06+0530")])
        .output()
        .expect("git");
    let made = Answer::of(&made).exits(0).stdout.trim().to_owned();
    sandbox.git(&["update-ref", "refs/heddle/threads/t", &made]);
    advance(&sandbox, "other", "other\n");
    let signer = sandbox.home().join("signer");
    let script = "#!/bin/sh\ncat >/dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\n\
                  printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n'\n";
    write_program(&signer, script);
    sandbox.git(&["config", "gpg.program", signer.to_str().expect("UTF-8")]);
    sandbox.git(&["config", "commit.gpgSign", "true"]);
    refresh(&sandbox, "t", &[]).exits(0);
    for revision in ["refs/heddle/threads/t", "refs/heddle/threads/t~1"] {
        let raw = sandbox.git(&["cat-file", "commit", revision]);
        assert!(raw.contains("\ngpgsig") && raw.contains(" -----BEGIN PGP SIGNATURE-----"), "{raw}");
    }
    let shown = sandbox.git(&["log", "-1", "--date=iso", "--format=%an %ad %e %s", "refs/heddle/threads/t"]);
    assert_eq!(shown, "Grace 2020-02-03 04:05:06 +0530 ISO-8859-1 café");
}

#[test]
fn installed_hooks_let_all_of_it_pass() {
    let sandbox = Sandbox::new();
    advance(&sandbox, "shared", "base\n");
    sandbox.heddle(&["hooks", "install"]).exits(0);
    let (session, path) = captured(&sandbox, "t", &[("shared", "theirs\n")]);
    advance(&sandbox, "other", "other\n");
    let act = ["--session", session.as_str()];
    assert_eq!(refresh(&sandbox, "t", &act).exits(0).json()["outcome"], "rebased");
    sandbox.heddle(&["thread", "rename", "t", "u", "--session", &session]).exits(0);
    advance(&sandbox, "shared", "ours\n");
    refresh(&sandbox, "u", &[&act[..], &["--keep-conflicts"]].concat()).exits(7);
    refresh(&sandbox, "u", &[&act[..], &["--abort"]].concat()).exits(0);
    refresh(&sandbox, "u", &[&act[..], &["--keep-conflicts"]].concat()).exits(7);
    fs::write(path.join("shared"), "both\n").expect("write");
    sandbox.git_in(&path, &["add", "shared"]);
    capture(&sandbox, &session, &path, "both");
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "u"]).exits(0);
    assert_eq!(fs::read_to_string(sandbox.root().join("shared")).expect("file"), "both\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
}
