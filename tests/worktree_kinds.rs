//! Worktrees in repositories of special kinds: large files kept by Git LFS, relative links.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Sandbox, text};

/// A worktree for `thread`; its session and path.
#[track_caller]
fn reserved(sandbox: &Sandbox, thread: &str) -> (String, PathBuf) {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("file")
}

#[test]
fn large_files_are_files_in_the_worktree_and_pointers_in_the_commits() {
    let found =
        Command::new("git").args(["lfs", "version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: there is no git-lfs here");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.git(&["lfs", "install", "--local"]);
    sandbox.git(&["lfs", "track", "*.bin"]);
    for name in ["old.bin", "kept.bin"] {
        fs::write(sandbox.root().join(name), format!("{name} as it was\n")).expect("write");
    }
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "large files"]);
    let pointer = |revision: &str| {
        let blob = sandbox.git(&["cat-file", "blob", revision]);
        assert!(blob.starts_with("version https://git-lfs.github.com/spec/v1\n"), "{revision}: {blob}");
    };
    pointer("main:old.bin");

    let (session, path) = reserved(&sandbox, "t");
    assert_eq!(read(&path.join("kept.bin")), "kept.bin as it was\n", "made with files, not pointers");
    fs::write(path.join("old.bin"), "changed\n").expect("write");
    fs::write(path.join("new.bin"), "new\n").expect("write");
    let args = ["agent", "capture", "--session", session.as_str(), "-m", "large work"];
    sandbox.heddle_in(&path, &args).exits(0);
    for name in ["old.bin", "new.bin", "kept.bin"] {
        pointer(&format!("refs/heddle/threads/t:{name}"));
    }
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");

    // What comes from the target comes as files too.
    fs::write(sandbox.root().join("kept.bin"), "changed on main\n").expect("write");
    sandbox.git(&["commit", "--quiet", "--all", "--message", "meanwhile"]);
    sandbox.heddle(&["thread", "refresh", "t", "--session", &session]).exits(0);
    assert_eq!(read(&path.join("kept.bin")), "changed on main\n");
    assert_eq!(read(&path.join("new.bin")), "new\n");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    pointer("refs/heddle/threads/t:kept.bin");

    // And so does what lands.
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "t"]).exits(0);
    assert_eq!(read(&sandbox.root().join("old.bin")), "changed\n");
    assert_eq!(read(&sandbox.root().join("new.bin")), "new\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert!(!path.exists(), "its worktree went");
    sandbox.git(&["lfs", "fsck"]);
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_worktree_with_relative_links_is_captured_refreshed_and_found_again() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "worktree.useRelativePaths", "true"]);
    let (session, path) = reserved(&sandbox, "t");
    // As Git writes them from 2.48 on; older ones read the first of the two.
    let git_dir = sandbox.root().join(".git/worktrees/t");
    let links = [
        (path.join(".git"), "gitdir: ../../repo/.git/worktrees/t\n"),
        (git_dir.join("gitdir"), "../../../../repo.heddle/t/.git\n"),
    ];
    let relative = sandbox.git(&["config", "--default=", "extensions.relativeWorktrees"]) == "true";
    for (link, content) in links {
        if relative {
            assert_eq!(read(&link), content);
        } else {
            fs::write(link, content).expect("link");
        }
    }
    fs::write(path.join("work"), "work\n").expect("write");
    let args = ["agent", "capture", "--session", session.as_str(), "-m", "work"];
    sandbox.heddle_in(&path, &args).exits(0);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    sandbox.commit("meanwhile");
    sandbox.heddle(&["thread", "refresh", "t", "--session", &session]).exits(0);
    assert!(path.join("meanwhile").exists());
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    // From elsewhere: the worktree is known by its id, and its path by the link.
    fs::write(path.join("more"), "more\n").expect("write");
    let done = sandbox.heddle(&["agent", "ready", "--session", &session, "-m", "more"]).exits(0).json();
    assert_eq!(done["captured"], true, "{done}");
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:more"]), "more");
    // The next owner is given it, with what lies in it.
    fs::write(path.join("loose"), "loose\n").expect("write");
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    let (next, again) = reserved(&sandbox, "t");
    assert_eq!(again, path);
    let args = ["agent", "capture", "--session", next.as_str(), "-m", "loose"];
    sandbox.heddle_in(&path, &args).exits(0);
    assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:loose"]), "loose");
}

#[test]
fn a_repository_that_was_put_where_a_worktree_was_being_removed_stays() {
    let sandbox = Sandbox::new();
    sandbox.commit_in(&sandbox.root(), "kept", "kept\n");
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    let shown = path.to_str().expect("path");
    let git_dir = PathBuf::from(sandbox.git_in(&path, &["rev-parse", "--absolute-git-dir"]));
    sandbox.git(&["worktree", "lock", shown]);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    sandbox.git(&["worktree", "unlock", shown]);
    // As a removal leaves it that was killed at its last file; then somebody came, with the same files.
    fs::write(git_dir.join("heddle-removing"), "").expect("mark");
    fs::remove_dir_all(&path).expect("removed");
    sandbox.git(&["clone", "--quiet", ".", shown]);
    let refused = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("it exists"), "{refused:?}");
    assert_eq!(fs::read_to_string(path.join("kept")).expect("file"), "kept\n");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    assert!(!git_dir.exists(), "what Git knew of the worktree goes");
}

/// A repository with a submodule `sub`.
#[track_caller]
fn with_submodule() -> Sandbox {
    let sandbox = Sandbox::new();
    let module = sandbox.home().join("module");
    sandbox.git_in(sandbox.home(), &["init", "--quiet", "module"]);
    sandbox.git_in(&module, &["commit", "--quiet", "--allow-empty", "--message", "m"]);
    sandbox.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../module", "sub"]);
    sandbox.git(&["commit", "--quiet", "--message", "sub"]);
    sandbox
}

/// Clones the submodule of a worktree; its folder.
#[track_caller]
fn clone_submodule(sandbox: &Sandbox, worktree: &Path) -> PathBuf {
    let args = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"];
    sandbox.git_in(worktree, &args);
    worktree.join("sub")
}

#[test]
fn a_worktree_with_a_submodule_goes_unless_that_has_what_no_remote_has() {
    let sandbox = with_submodule();
    let (session, path) = reserved(&sandbox, "a");
    clone_submodule(&sandbox, &path);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(!path.exists(), "{done:?}");

    let (session, path) = reserved(&sandbox, "b");
    let sub = clone_submodule(&sandbox, &path);
    fs::write(sub.join("draft"), "draft\n").expect("write");
    sandbox.git_in(&sub, &["stash", "--quiet", "--include-untracked"]);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(path.exists() && done.stderr.contains("submodule"), "{done:?}");
}

#[test]
fn a_worktree_whose_submodule_was_removed_goes_unless_that_has_what_no_remote_has() {
    let sandbox = with_submodule();
    let removed = |thread: &str, by_hand: bool| {
        let (session, path) = reserved(&sandbox, thread);
        let sub = clone_submodule(&sandbox, &path);
        if by_hand {
            sandbox.git_in(&sub, &["commit", "--quiet", "--allow-empty", "--message", "only here"]);
            sandbox.git_in(&path, &["add", "sub"]);
        }
        sandbox.git_in(&path, &["rm", "--quiet", "-f", "sub"]);
        sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "no sub"]).exits(0);
        (session, path)
    };
    let (session, path) = removed("a", false);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(!path.exists(), "{done:?}");
    let (session, path) = removed("b", true);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(path.exists() && done.stderr.contains("commits of submodule"), "{done:?}");
    let refused = sandbox.heddle(&["thread", "drop", "b", "--force"]).exits(1);
    assert!(refused.stderr.contains("has commits that no remote of it has"), "{refused:?}");
}

#[test]
fn a_submodule_that_a_run_moved_is_captured_though_it_is_not_to_be_shown() {
    let sandbox = with_submodule();
    sandbox.git(&["config", "--file", ".gitmodules", "submodule.sub.ignore", "all"]);
    sandbox.git(&["commit", "--quiet", "--all", "--message", "ignore"]);
    let line = "git -c protocol.file.allow=always submodule --quiet update --init && cd sub && \
                git commit --quiet --allow-empty --message moved && git rev-parse HEAD";
    let run = ["agent", "run", "--thread", "a", "--worktree", "--", "sh", "-c", line];
    let moved = sandbox.heddle(&run).exits(0).stdout;
    // Since 2.54 `git add` leaves such a submodule out: then the worktree stays.
    let sub = clone_submodule(&sandbox, &sandbox.root());
    sandbox.git_in(&sub, &["commit", "--quiet", "--allow-empty", "--message", "mine"]);
    sandbox.git(&["add", "--all"]);
    let staged = sandbox.git(&["diff", "--cached", "--name-only", "--ignore-submodules=none"]);
    if staged == "sub" {
        assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/a:sub"]), moved.trim());
    } else {
        let path = sandbox.git(&["worktree", "list", "--porcelain"]);
        assert!(path.contains("/repo.heddle/a\n"), "{path}");
    }
}

#[test]
fn a_worktree_stays_whose_edits_git_was_told_not_to_see() {
    for mark in ["--skip-worktree", "--assume-unchanged"] {
        let sandbox = Sandbox::new();
        let (session, path) = reserved(&sandbox, "a");
        sandbox.git_in(&path, &["update-index", mark, "first"]);
        fs::write(path.join("first"), "edited\n").expect("write");
        let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        assert!(done.stderr.contains("\"first\""), "{done:?}");
        assert_eq!(read(&path.join("first")), "edited\n");
        sandbox.git(&["config", "heddle.retention", "0"]);
        let kept = sandbox.heddle(&["gc"]).exits(0);
        assert!(path.exists(), "{kept:?}");
    }
}

#[test]
fn a_forced_drop_refuses_what_no_commit_can_keep() {
    let sandbox = with_submodule();
    let refused = |thread: &str, reason: &str| {
        let refused = sandbox.heddle(&["thread", "drop", thread, "--force"]).exits(1);
        assert!(refused.stderr.contains(reason), "{refused:?}");
        let list = sandbox.heddle(&["agent", "list", "--alive-only"]).exits(0).json();
        assert!(list.as_array().expect("array").iter().any(|row| row["thread"] == thread), "{list}");
    };
    let (_, path) = reserved(&sandbox, "drafts");
    let sub = clone_submodule(&sandbox, &path);
    fs::write(sub.join("draft"), "draft\n").expect("write");
    refused("drafts", "has uncommitted changes");
    sandbox.git_in(&sub, &["add", "draft"]);
    sandbox.git_in(&sub, &["commit", "--quiet", "--message", "only here"]);
    refused("drafts", "has commits that no remote of it has");

    let (_, path) = reserved(&sandbox, "rebase");
    for name in ["one", "two"] {
        sandbox.commit_in(&path, name, "x\n");
    }
    let editor = "sequence.editor=sed -i 1s/^/break\\\\n/";
    sandbox.git_in(&path, &["-c", editor, "rebase", "--quiet", "-i", "HEAD~2"]);
    refused("rebase", "a rebase is in progress");
    sandbox.git_in(&path, &["rebase", "--abort"]);
    sandbox.git_in(&path, &["update-index", "--skip-worktree", "one"]);
    refused("rebase", "\"one\" is marked");
    sandbox.git_in(&path, &["update-index", "--no-skip-worktree", "one"]);
    sandbox.heddle(&["thread", "drop", "rebase", "--force"]).exits(0);
}

/// A worktree for `thread` with work of others in folders that Git ignores, and a commit that landed
/// already or may land; its path, and files that are nowhere else.
#[track_caller]
fn with_others_inside(sandbox: &Sandbox, thread: &str, done: &str) -> (PathBuf, Vec<PathBuf>) {
    let (session, path) = reserved(sandbox, thread);
    let (child, plain) = (path.join(".worktrees/child"), path.join(".worktrees/deep/plain"));
    sandbox.reserve(&format!("{thread}-child"), &[&format!("--worktree={}", child.display())]);
    let branch = format!("{thread}-plain");
    sandbox.git_in(&path, &["worktree", "add", "--quiet", "-b", &branch, plain.to_str().expect("UTF-8")]);
    for folder in ["vendor/lib", "src"] {
        fs::create_dir_all(path.join(folder)).expect("folder");
        sandbox.git_in(&path.join(folder), &["init", "--quiet"]);
        let commit = ["commit", "--quiet", "--allow-empty", "--message", "only here"];
        sandbox.git_in(&path.join(folder), &commit);
    }
    let drafts = [child, plain].map(|folder| folder.join("draft"));
    drafts.iter().for_each(|draft| fs::write(draft, "draft\n").expect("write"));
    fs::write(path.join(thread), "work\n").expect("write");
    sandbox.heddle_in(&path, &["agent", done, "--session", &session, "-m", "work"]).exits(0);
    let heads = ["vendor/lib", "src"].map(|folder| path.join(folder).join(".git/HEAD"));
    (path, [&drafts[..], &heads].concat())
}

#[test]
fn a_worktree_with_other_worktrees_or_repositories_in_it_stays() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.root().join("src")).expect("folder");
    fs::write(sandbox.root().join("src/tracked"), "tracked\n").expect("write");
    fs::write(sandbox.root().join(".gitignore"), ".worktrees/\nvendor/*\n").expect("write");
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "ignore"]);
    let stays = |answer: &str, path: &Path, others: &[PathBuf]| {
        let named = "other worktrees or repositories lie in it: .worktrees/child, .worktrees/deep/plain, src \
                     and more";
        assert!(answer.contains(named), "{answer}");
        for file in others.iter().chain([&path.join("first")]) {
            assert!(file.is_file(), "{file:?} is gone: {answer}");
        }
    };

    let (path, others) = with_others_inside(&sandbox, "released", "capture");
    let list = sandbox.heddle(&["agent", "list", "--alive-only"]).exits(0).json();
    let rows = list.as_array().expect("array").iter();
    let session = rows.clone().find(|row| row["thread"] == "released").map(|row| text(row, "session_id"));
    let release = ["agent", "release", "--session", &session.expect("a session")];
    stays(&sandbox.heddle(&release).exits(0).stderr, &path, &others);
    let dropped = sandbox.heddle(&["thread", "drop", "released"]).exits(1);
    stays(&dropped.stderr, &path, &others);
    sandbox.git(&["config", "heddle.retention", "0"]);
    for gc in [&["gc", "--dry-run"][..], &["gc"]] {
        stays(&sandbox.heddle(gc).exits(0).stderr, &path, &others);
    }
    sandbox.git(&["config", "--unset", "heddle.retention"]);

    let (path, others) = with_others_inside(&sandbox, "landed", "ready");
    stays(&sandbox.heddle(&["thread", "land", "landed"]).exits(0).stderr, &path, &others);

    let (path, others) = with_others_inside(&sandbox, "forced", "capture");
    let refused = sandbox.heddle(&["thread", "drop", "forced", "--force"]).exits(1);
    stays(&refused.stderr, &path, &others);
    let list = sandbox.heddle(&["agent", "list", "--alive-only"]).exits(0).json();
    assert!(list.as_array().expect("array").iter().any(|row| row["thread"] == "forced"), "{list}");

    // One after the other they go, and with the last the worktree may.
    for folder in [".worktrees/child", ".worktrees/deep/plain"] {
        let folder = path.join(folder);
        sandbox.git(&["worktree", "remove", "--force", folder.to_str().expect("UTF-8")]);
    }
    fs::remove_dir_all(path.join("src/.git")).expect("removed");
    let refused = sandbox.heddle(&["thread", "drop", "forced", "--force"]).exits(1);
    assert!(refused.stderr.contains("lie in it: vendor/lib\n"), "{refused:?}");
    fs::remove_dir_all(path.join("vendor/lib/.git")).expect("removed");
    std::os::unix::fs::symlink(sandbox.root(), path.join("vendor/link")).expect("link");
    // A clone goes with it that has nothing of its own, and only then.
    let root = sandbox.root();
    let clone = path.join("vendor/clone");
    sandbox.git_in(&path, &["clone", "--quiet", root.to_str().expect("UTF-8"), "vendor/clone"]);
    let refused = || {
        let refused = sandbox.heddle(&["thread", "drop", "forced", "--force"]).exits(1);
        assert!(refused.stderr.contains("lie in it: vendor/clone\n"), "{refused:?}");
    };
    fs::write(clone.join("draft"), "draft\n").expect("write");
    refused();
    sandbox.git_in(&clone, &["stash", "--quiet", "--include-untracked"]);
    refused();
    sandbox.git_in(&clone, &["stash", "drop", "--quiet"]);
    sandbox.git_in(&clone, &["commit", "--quiet", "--allow-empty", "--message", "only here"]);
    refused();
    sandbox.git_in(&clone, &["reset", "--quiet", "--hard", "@{upstream}"]);
    sandbox.heddle(&["thread", "drop", "forced", "--force"]).exits(0);
    assert!(!path.exists() && sandbox.root().join(".git").is_dir());
}

#[test]
fn what_nobody_sees_of_a_submodule_keeps_a_worktree() {
    let sandbox = with_submodule();
    let module = sandbox.home().join("module");
    sandbox.commit_in(&module, "file", "file\n");
    sandbox.commit_in(&module, ".gitignore", "vendor/\n");
    sandbox.git_in(&sandbox.root().join("sub"), &["pull", "--quiet"]);
    sandbox.git(&["commit", "--quiet", "--all", "--message", "sub"]);
    let (session, path) = reserved(&sandbox, "t");
    let sub = clone_submodule(&sandbox, &path);
    let refused = |reason: &str| {
        let done = sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(1);
        assert!(done.stderr.contains(reason), "{done:?}");
    };
    fs::create_dir(sub.join("vendor")).expect("folder");
    sandbox.git_in(&sub.join("vendor"), &["init", "--quiet", "lib"]);
    refused("lie in it: sub/vendor/lib\n");
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(done.stderr.contains("lie in it: sub/vendor/lib\n") && path.exists(), "{done:?}");
    fs::remove_dir_all(sub.join("vendor")).expect("removed");
    sandbox.git_in(&sub, &["update-index", "--assume-unchanged", "file"]);
    refused("\"sub/file\" is marked");
    sandbox.git_in(&sub, &["update-index", "--no-assume-unchanged", "file"]);
    // As older versions of Git made submodules, and as a repository that was added as it is.
    let git_dir = PathBuf::from(sandbox.git_in(&sub, &["rev-parse", "--absolute-git-dir"]));
    sandbox.git_in(&sub, &["config", "--unset", "core.worktree"]);
    fs::remove_file(sub.join(".git")).expect("removed");
    fs::rename(git_dir, sub.join(".git")).expect("moved");
    refused("lie in it: sub\n");
    sandbox.git_in(&path, &["submodule", "absorbgitdirs"]);
    sandbox.heddle(&["thread", "drop", "t"]).exits(0);
    assert!(!path.exists());
}

#[test]
fn a_removal_that_was_interrupted_does_not_go_on_over_what_came_since() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.root().join(".gitignore"), "vendor/\n").expect("write");
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "ignore"]);
    let (session, path) = reserved(&sandbox, "t");
    let git_dir = PathBuf::from(sandbox.git_in(&path, &["rev-parse", "--absolute-git-dir"]));
    fs::write(git_dir.join("heddle-removing"), "").expect("mark");
    fs::remove_file(path.join("first")).expect("removed");
    fs::create_dir(path.join("vendor")).expect("folder");
    sandbox.git_in(&path.join("vendor"), &["init", "--quiet", "lib"]);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(path.join("vendor/lib/.git/HEAD").is_file(), "{done:?}");
}

#[test]
fn a_worktree_stays_whose_own_refs_have_commits_that_nothing_else_has() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "t");
    sandbox.git_in(&path, &["update-ref", "refs/worktree/known", "HEAD"]);
    let commit = ["commit", "--quiet", "--allow-empty", "--message", "aside"];
    sandbox.git_in(&path, &[&["-c", "core.hooksPath=/dev/null"][..], &commit].concat());
    sandbox.git_in(&path, &["update-ref", "refs/worktree/keep", "HEAD"]);
    sandbox.git_in(&path, &["reset", "--quiet", "--hard", "HEAD~1"]);
    let done = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(done.stderr.contains("refs/worktree/") && path.exists(), "{done:?}");
    let refused = sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(1);
    assert!(refused.stderr.contains("refs/worktree/"), "{refused:?}");
    sandbox.git_in(&path, &["update-ref", "-d", "refs/worktree/keep"]);
    sandbox.heddle(&["thread", "drop", "t"]).exits(0);
    assert!(!path.exists());
}

#[test]
fn a_forced_drop_keeps_what_is_only_staged() {
    let sandbox = Sandbox::new();
    let (_, path) = reserved(&sandbox, "a");
    fs::write(path.join("staged"), "staged\n").expect("write");
    sandbox.git_in(&path, &["add", "staged"]);
    fs::remove_file(path.join("staged")).expect("file");
    fs::write(path.join("loose"), "loose\n").expect("write");
    let done = sandbox.heddle(&["--json", "thread", "drop", "a", "--force"]).exits(0).json();
    let kept = text(&done, "worktree_kept_as");
    assert_eq!(sandbox.git(&["show", &format!("{kept}:loose")]), "loose");
    assert_eq!(sandbox.git(&["show", &format!("{kept}^2:staged")]), "staged");
}

#[test]
fn what_is_in_progress_is_named_before_where_head_is() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "a");
    for name in ["one", "two"] {
        fs::write(path.join(name), "work\n").expect("write");
        let capture = ["agent", "capture", "--session", &session, "-m", name];
        sandbox.heddle_in(&path, &capture).exits(0);
    }
    let editor = ["-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "--quiet", "-i", "HEAD~2"];
    sandbox.git_in(&path, &editor);
    let capture = ["agent", "capture", "--session", &session, "-m", "x"];
    let refused = sandbox.heddle_in(&path, &capture).exits(1);
    assert!(refused.stderr.contains("a rebase is in progress"), "{refused:?}");
    sandbox.git_in(&path, &["rebase", "--abort"]);
    sandbox.heddle_in(&path, &capture).exits(0);
}
