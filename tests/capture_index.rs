//! What a capture takes where only the index, HEAD or the configuration tells: as `git add -A` and
//! `git commit` would.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{Sandbox, put, text};
use support_program::write_program;

/// A repository with a few files, one of them ignored by `*.log`.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, content) in [("a", "a\n"), ("b", "b\n"), (".env", "secret\n"), (".gitignore", "*.log\n")] {
        put(&sandbox.root(), name, content);
    }
    fs::create_dir(sandbox.root().join("d")).expect("folder");
    put(&sandbox.root(), "d/c", "c\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Files"]);
    sandbox
}

/// A session on `thread`: in a worktree of its own, or in the user's.
fn session(sandbox: &Sandbox, thread: &str, own: bool) -> (String, PathBuf) {
    let more: &[&str] = if own { &["--worktree", "--resume"] } else { &["--resume"] };
    let reserved = sandbox.reserve(thread, more);
    let path = if own { PathBuf::from(text(&reserved, "path")) } else { sandbox.root() };
    (text(&reserved, "session_id"), path)
}

/// What a capture in `folder` changed.
#[track_caller]
fn captured(sandbox: &Sandbox, folder: &Path, session: &str, paths: &[&str]) -> serde_json::Value {
    let args = [&["agent", "capture", "--session", session, "-m", "x"], paths].concat();
    sandbox.heddle_in(folder, &args).exits(0).json()["changed_paths"].clone()
}

fn names(sandbox: &Sandbox, thread: &str) -> String {
    sandbox.git(&["ls-tree", "-r", "--name-only", &format!("refs/heddle/threads/{thread}")])
}

#[test]
fn what_was_added_although_ignored_or_taken_out_stays_so() {
    for own in [true, false] {
        let sandbox = repository();
        let (id, folder) = session(&sandbox, "t", own);
        let git = |args: &[&str]| sandbox.git_in(&folder, args);
        for round in 0..3 {
            // The first time from the index as it was checked out, then from those that captures leave.
            put(&folder, "a", &format!("{round}\n"));
            let log = format!("{round}.log");
            put(&folder, &log, "precious\n");
            git(&["add", "-f", &log]);
            if round == 1 {
                git(&["rm", "-q", "--cached", ".env"]);
                put(&folder, ".gitignore", "*.log\n.env\n");
            }
            let changed = captured(&sandbox, &folder, &id, &[]);
            assert!(changed.as_array().expect("paths").contains(&json!(log)), "{changed}");
        }
        let names = names(&sandbox, "t");
        assert_eq!(names, ".gitignore\n0.log\n1.log\n2.log\na\nb\nd/c\nfirst", "own worktree: {own}");
        assert!(folder.join(".env").exists());
        if own {
            assert_eq!(git(&["status", "--porcelain"]), "");
        }
    }
}

#[test]
fn a_run_captures_what_was_added_although_ignored_too() {
    let sandbox = repository();
    let script = "echo k >k.log && git add -f k.log && git rm -q --cached .env && echo .env >>.gitignore";
    let run = ["agent", "run", "--thread", "t", "--worktree", "--", "sh", "-c", script];
    sandbox.heddle(&run).exits(0);
    assert_eq!(names(&sandbox, "t"), ".gitignore\na\nb\nd/c\nfirst\nk.log");
}

/// Waits until the runner watches.
const WATCHED: &str =
    "until test -e \"$(git rev-parse --git-dir)/heddle-watch-$HEDDLE_SESSION/socket\"; do sleep 0.01; done";

#[test]
fn a_watched_capture_sees_what_is_only_staged() {
    let sandbox = repository();
    let capture = format!("'{}' agent capture -m x >/dev/null", env!("CARGO_BIN_EXE_git-heddle"));
    let script = format!(
        "{WATCHED}; echo 1 >a && {capture} && echo k >k.log && {capture} && git add -f k.log && {capture} && git rm -q --cached k.log && {capture}"
    );
    let run = ["agent", "run", "--thread", "t", "--worktree", "--", "sh", "-c", &script];
    sandbox.heddle(&run).exits(0);
    let log = sandbox.git(&["log", "--format=", "--name-status", "refs/heddle/threads/t", "-3"]);
    assert_eq!(log, "D\tk.log\nA\tk.log\nM\ta");
}

#[test]
fn a_path_that_was_added_although_ignored_can_be_captured_by_name() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", false);
    put(&folder, "k.log", "k\n");
    let args = ["agent", "capture", "--session", &id, "-m", "x", "--", "k.log"];
    assert!(sandbox.refused(1, &args).stderr.contains("ignored"));
    sandbox.git(&["add", "-f", "k.log"]);
    put(&folder, "b", "not this\n");
    assert_eq!(captured(&sandbox, &folder, &id, &["--", "k.log"]), json!(["k.log"]));
    // And one that is tracked in a folder that is ignored.
    put(&folder, ".gitignore", "d\n");
    put(&folder, "d/c", "changed\n");
    assert_eq!(captured(&sandbox, &folder, &id, &["--", "d/c"]), json!(["d/c"]));
}

#[test]
fn what_was_added_although_ignored_goes_with_the_folder_that_is_named() {
    for own in [true, false] {
        let sandbox = repository();
        let (id, folder) = session(&sandbox, "t", own);
        for name in ["d/e", "d-e"] {
            fs::create_dir(folder.join(name)).expect("folder");
        }
        for name in ["d/k.log", "d/e/k.log", "d-e/k.log", "d/other.log", "a"] {
            put(&folder, name, "k\n");
        }
        sandbox.git_in(&folder, &["add", "-f", "d/k.log", "d/e/k.log", "d-e/k.log"]);
        assert_eq!(captured(&sandbox, &folder, &id, &["--", "d/e"]), json!(["d/e/k.log"]), "{own}");
        assert_eq!(captured(&sandbox, &folder, &id, &["--", "d/c", "d"]), json!(["d/k.log"]), "{own}");
        assert_eq!(captured(&sandbox, &folder, &id, &[]), json!(["a", "d-e/k.log"]), "{own}");
    }
}

#[test]
fn named_paths_that_git_cannot_stage_are_not_left_out() {
    for (own, tolerant) in [(true, "false"), (false, "true")] {
        let sandbox = repository();
        sandbox.git(&["config", "filter.broken.clean", "false"]);
        sandbox.git(&["config", "filter.broken.required", "true"]);
        sandbox.git(&["config", "add.ignoreErrors", tolerant]);
        let (id, folder) = session(&sandbox, "t", own);
        let refused = |paths: &[&str], reason: &str| {
            for more in [&["--"][..], &["--dry-run", "--"]] {
                let before = (sandbox.tip("t"), sandbox.git_in(&folder, &["status", "--porcelain"]));
                let args = [&["agent", "capture", "--session", &id, "-m", "x"], more, paths].concat();
                let answer = sandbox.heddle_in(&folder, &args).exits(1);
                assert!(answer.stderr.contains(reason), "{paths:?}: {}", answer.stderr);
                let after = (sandbox.tip("t"), sandbox.git_in(&folder, &["status", "--porcelain"]));
                assert_eq!(before, after, "{paths:?}");
            }
        };
        put(&folder, "d/c", "changed\n");
        put(&folder, "d/new", "new\n");
        put(&folder, "k.log", "k\n");
        refused(&["k.log"], "ignored");
        refused(&["k.log", "d/c"], "ignored");
        refused(&["d", "no-such-file"], "no-such-file");
        put(&folder, "d/z.bad", "z\n");
        put(&folder, ".gitattributes", "*.bad filter=broken\n");
        refused(&["."], "z.bad");
        refused(&["d"], "z.bad");
        fs::remove_file(folder.join("d/z.bad")).expect("remove");
        sandbox.git_in(&folder, &["init", "-q", "d/embedded"]);
        refused(&["d"], "d/embedded");
        fs::remove_dir_all(folder.join("d/embedded")).expect("remove");
        // Beside what is tracked in a folder that is ignored, all that was named is taken.
        fs::create_dir(folder.join("e")).expect("folder");
        put(&folder, "e/new", "new\n");
        sandbox.git(&["config", "core.excludesFile", &sandbox.home().join("ignored").to_string_lossy()]);
        put(sandbox.home(), "ignored", "d\n");
        let changed = captured(&sandbox, &folder, &id, &["--", "d/c", "e"]);
        assert_eq!(changed, json!(["d/c", "e/new"]), "own worktree: {own}");
    }
}

#[test]
fn what_git_is_told_to_overlook_is_overlooked_from_then_on() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", false);
    put(&folder, "a", "1\n");
    assert_eq!(captured(&sandbox, &folder, &id, &[]), json!(["a"]));
    sandbox.git(&["update-index", "--skip-worktree", "d/c"]);
    sandbox.git(&["update-index", "--assume-unchanged", "b"]);
    put(&folder, "d/c", "password\n");
    put(&folder, "b", "password\n");
    put(&folder, "a", "2\n");
    assert_eq!(captured(&sandbox, &folder, &id, &[]), json!(["a"]));
    put(&folder, "a", "3\n");
    // Git adds `a` and says that it does not add the other.
    sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "x", "--", "a", "d"]);
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:d/c"]), "c");
}

#[test]
fn a_head_that_went_back_to_before_the_last_capture_is_elsewhere() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", true);
    for name in ["one", "two"] {
        put(&folder, name, "work\n");
        captured(&sandbox, &folder, &id, &[]);
    }
    let tip = sandbox.git(&["rev-parse", "refs/heddle/threads/t"]);
    sandbox.git_in(&folder, &["checkout", "-q", "HEAD~1"]);
    let refused = sandbox.heddle_in(&folder, &["agent", "capture", "--session", &id, "-m", "x"]).exits(4);
    assert!(refused.stderr.contains("HEAD is at"), "{refused:?}");
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/t"]), tip);
}

#[test]
fn a_session_whose_worktree_is_gone_captures_from_nowhere_else() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", true);
    fs::remove_dir_all(&folder).expect("removed");
    put(&sandbox.root(), "a", "the user's own\n");
    let refused = sandbox.refused(4, &["agent", "capture", "--session", &id, "-m", "x"]);
    assert!(refused.stderr.contains("which is gone"), "{refused:?}");
}

#[test]
fn a_dry_run_and_a_late_hook_leave_nothing_for_the_next_capture() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", true);
    put(&folder, "a", "x\n");
    put(&folder, "b", "private\n");
    sandbox.heddle_in(&folder, &["agent", "capture", "--session", &id, "--dry-run"]).exits(0);
    sandbox.heddle(&["agent", "release", "--session", &id]).exits(0);
    let (id, folder) = session(&sandbox, "t", true);
    assert_eq!(captured(&sandbox, &folder, &id, &["--", "a*"]), json!(["a"]));

    let (id, folder) = session(&sandbox, "u", false);
    let hook = sandbox.root().join(".git/hooks/commit-msg");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, "#!/bin/sh\ngit add b\n");
    put(&folder, "a", "x\n");
    put(&folder, "b", "late\n");
    assert_eq!(captured(&sandbox, &folder, &id, &["--", "a*"]), json!(["a"]));
    fs::remove_file(&hook).expect("hook");
    put(&folder, "d/c", "x\n");
    assert_eq!(captured(&sandbox, &folder, &id, &["--", "d/*"]), json!(["d/c"]));
}

#[test]
fn conditions_in_the_configuration_hold_for_hooks_and_identity() {
    let sandbox = repository();
    let hooks = sandbox.home().join("hk");
    fs::create_dir(&hooks).expect("folder");
    write_program(hooks.join("pre-commit"), "#!/bin/sh\nexit 1\n");
    let config = sandbox.home().join("included");
    fs::write(&config, format!("[core]\n\thooksPath = {}\n", hooks.display())).expect("configuration");
    let git_dir = sandbox.git(&["rev-parse", "--absolute-git-dir"]);
    for condition in [format!("gitdir:{git_dir}"), "onbranch:main".to_owned()] {
        let key = format!("includeIf.{condition}.path");
        sandbox.git(&["config", &key, config.to_str().expect("UTF-8")]);
        let (id, folder) = session(&sandbox, "t", false);
        put(&folder, "a", "x\n");
        let refused = sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "x"]);
        assert_eq!(refused.code, 1, "{condition}: {refused:?}");
        assert!(refused.stderr.contains("pre-commit"), "{condition}: {refused:?}");
        sandbox.git(&["config", "--unset", &key]);
        sandbox.heddle(&["agent", "release", "--session", &id]).exits(0);
    }
    // The branch is that of the worktree, which is on none.
    fs::write(&config, "[user]\n\temail = bot@example.com\n").expect("configuration");
    sandbox.git(&["config", "includeIf.onbranch:main.path", config.to_str().expect("UTF-8")]);
    let (id, folder) = session(&sandbox, "w", true);
    put(&folder, "a", "x\n");
    captured(&sandbox, &folder, &id, &[]);
    let author = sandbox.git(&["log", "-1", "--format=%ae", "refs/heddle/threads/w"]);
    assert!(
        sandbox.git_in(&folder, &["var", "GIT_AUTHOR_IDENT"]).contains(&format!("<{author}>")),
        "{author}"
    );
}

#[test]
fn a_message_of_another_capture_does_not_claim_its_work() {
    let sandbox = repository();
    let (id, folder) = session(&sandbox, "t", false);
    put(&folder, "a", "1\n");
    captured(&sandbox, &folder, &id, &[]);
    let message = sandbox.git(&["log", "-1", "--format=%B", "refs/heddle/threads/t"]);
    put(&folder, "a", "2\n");
    let args = ["agent", "capture", "--session", &id, "-m", &message];
    sandbox.heddle(&args).exits(0);
    sandbox.heddle(&["verify", "t", "--base", "main"]).exits(0);
}

#[test]
fn what_the_checks_did_not_see_is_not_marked_ready() {
    let sandbox = repository();
    sandbox.git(&["config", "heddle.readyCommand", "grep -q GOOD a"]);
    let (id, folder) = session(&sandbox, "t", false);
    put(&folder, "a", "BAD\n");
    captured(&sandbox, &folder, &id, &[]);
    put(&folder, "a", "GOOD\n");
    let ready = |more: &[&str]| {
        let answer = sandbox.heddle(&[&["agent", "ready", "--session", &id], more].concat());
        (answer.code, answer.stdout)
    };
    let (code, said) = ready(&["--no-capture"]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("could not run: the worktree is not what the thread's tip is"), "{said}");
    // A worktree that has nothing to do with it tells nothing either.
    let elsewhere = sandbox.home().join("elsewhere");
    sandbox.git(&["worktree", "add", "-q", "--detach", elsewhere.to_str().expect("UTF-8")]);
    sandbox.heddle(&["agent", "release", "--session", &id]).exits(0);
    let id = text(&sandbox.reserve("t", &["--resume"]), "session_id");
    put(&elsewhere, "a", "GOOD\n");
    let blocked = sandbox.heddle_in(&elsewhere, &["agent", "ready", "--session", &id]).exits(7);
    assert!(blocked.stdout.contains("could not run"), "{blocked:?}");
    // In the right one it is captured, and checked.
    sandbox.git(&["checkout", "-q", "--detach", "refs/heddle/threads/t", "--force"]);
    put(&folder, "a", "GOOD\n");
    sandbox.heddle(&["agent", "ready", "--session", &id]).exits(0);
}

#[test]
fn what_is_staged_as_the_files_are_is_no_reason_to_look_at_everything() {
    let sandbox = repository();
    let log = sandbox.home().join("log");
    let heddle = env!("CARGO_BIN_EXE_git-heddle");
    let capture = format!("'{heddle}' agent capture -v -m x >/dev/null 2>>'{}'", log.display());
    let script = format!(
        "{WATCHED}; echo 1 >a && {capture} && echo n >n && git add n && {capture} && git rm -q b && {capture}"
    );
    let run = ["agent", "run", "--thread", "t", "--worktree", "--", "sh", "-c", &script];
    sandbox.heddle(&run).exits(0);
    let said = fs::read_to_string(&log).expect("what was said");
    let looked: Vec<&str> = said.lines().filter(|line| line.contains("looked at")).collect();
    assert_eq!(looked.len(), 3, "{said}");
    assert!(looked[1..].iter().all(|line| line.contains("paths that changed")), "{said}");
    assert_eq!(names(&sandbox, "t"), ".env\n.gitignore\na\nd/c\nfirst\nn");
}

#[test]
fn an_empty_file_that_was_announced_is_added_by_its_capture() {
    for (split, paths) in
        [(false, &["--", "new"][..]), (true, &["--", "new"]), (false, &["--", "f", "d"]), (true, &[])]
    {
        let sandbox = repository();
        let (id, folder) = session(&sandbox, "t", true);
        let git = |args: &[&str]| sandbox.git_in(&folder, args);
        if split {
            sandbox.git(&["config", "core.splitIndex", "true"]);
            git(&["update-index", "--split-index"]);
        }
        let name = if paths.contains(&"d") { "d/new" } else { "new" };
        put(&folder, name, "");
        put(&folder, "f", "f\n");
        put(&folder, "other", "");
        git(&["add", "-N", name, "f", "other"]);
        let changed = captured(&sandbox, &folder, &id, paths);
        assert!(changed.as_array().is_some_and(|paths| paths.contains(&json!(name))), "{changed}");
        let staged = git(&["diff", "--cached", "--name-only", "--diff-filter=D", "HEAD"]);
        assert_eq!(staged, "", "split: {split}, {paths:?}");
        // What was not named is announced still.
        if !paths.is_empty() {
            let status = git(&["status", "--porcelain", "other"]);
            assert_eq!(status.trim(), "A other", "split: {split}, {paths:?}");
        }
        git(&["-c", "heddle.hooks=off", "commit", "-q", "--allow-empty", "-m", "By hand"]);
        let committed = git(&["ls-tree", "-r", "--name-only", "HEAD", "--", name]);
        assert_eq!(committed, name, "split: {split}, {paths:?}");
    }
}

#[test]
fn a_path_that_git_does_not_take_is_a_bad_argument() {
    for own in [true, false] {
        let sandbox = repository();
        let (id, folder) = session(&sandbox, "t", own);
        put(&folder, "a", "changed\n");
        let before = (sandbox.tip("t"), sandbox.git_in(&folder, &["status", "--porcelain"]));
        for (path, reason) in
            [(":(bad)a", "magic 'bad'"), (":(top", "')'"), ("", "empty string"), ("../a", "outside")]
        {
            let args = ["agent", "capture", "--session", &id, "-m", "x", "--", "b", path];
            let answer = sandbox.heddle_in(&folder, &args).exits(2);
            assert!(answer.stderr.starts_with("error: bad path: "), "{answer:?}");
            assert!(answer.stderr.contains(reason), "{answer:?}");
            assert_eq!(answer.json()["error"]["kind"], "usage");
        }
        assert_eq!(before, (sandbox.tip("t"), sandbox.git_in(&folder, &["status", "--porcelain"])));
        // Where it is told that paths are nothing but names, it is one that is not there.
        let literal = [("GIT_LITERAL_PATHSPECS", "1")];
        let path = folder.to_string_lossy();
        let args = ["-C", &path, "agent", "capture", "--session", &id, "-m", "x", "--", ":(bad)a"];
        let answer = sandbox.heddle_with(&literal, &args).exits(1);
        assert!(answer.stderr.contains("did not match"), "{answer:?}");
    }
}

#[test]
fn what_was_staged_of_a_named_path_goes_also_where_files_do_not_tell_all() {
    for (key, value) in
        [("core.fileMode", "false"), ("core.symlinks", "false"), ("core.sparseCheckout", "true")]
    {
        let sandbox = repository();
        sandbox.git(&["config", key, value]);
        let (id, folder) = session(&sandbox, "t", true);
        let git = |args: &[&str]| sandbox.git_in(&folder, args);
        // Staged, and then taken back in the files.
        put(&folder, "b", "bad\n");
        put(&folder, "gone", "gone\n");
        git(&["add", "b", "gone"]);
        put(&folder, "b", "b\n");
        fs::remove_file(folder.join("gone")).expect("remove");
        git(&["rm", "--quiet", "--cached", ".env"]);
        // Of what is not named, all stays.
        put(&folder, "d/c", "staged\n");
        git(&["add", "d/c"]);
        put(&folder, "a", "changed\n");
        git(&["add", "--chmod=+x", "a"]);
        let changed = captured(&sandbox, &folder, &id, &["--", "a", "b", ".env", "*one"]);
        assert_eq!(changed, json!(["a"]), "{key}");
        // Where files do not tell it, the index alone knows that a file is executable.
        let status = if key == "core.fileMode" { "M  a\nM  d/c" } else { "M  d/c" };
        assert_eq!(git(&["status", "--porcelain"]), status, "{key}");
        git(&["-c", "heddle.hooks=off", "commit", "--quiet", "-m", "By hand"]);
        assert_eq!(git(&["show", "HEAD:b"]), "b", "{key}");
        assert!(!git(&["ls-tree", "HEAD", ".env"]).is_empty(), "{key}");
        assert!(git(&["ls-tree", "HEAD", "gone"]).is_empty(), "{key}");
    }
}
