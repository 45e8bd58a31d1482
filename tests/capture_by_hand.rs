//! What capture does itself instead of starting git: the same trees, commits and files as
//! git's, and git wherever it could be otherwise.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Answer, Sandbox, put, text};
use support_program::write_program;

/// A repository with folders, and a session on the thread `work`.
struct Ground {
    sandbox: Sandbox,
    session: String,
    /// What `git` was started with, one a line.
    log: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let mut sandbox = Sandbox::new();
        for folder in ["a/b", "a/c", "a-b", "d"] {
            fs::create_dir_all(sandbox.root().join(folder)).expect("folder");
        }
        for name in ["a/b/one", "a/b/two", "a/c/one", "a/top", "a-b/one", "a.b", "d/one"] {
            put(&sandbox.root(), name, name);
        }
        sandbox.commit("last");
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "-m", "Folders"]);
        let session = text(&sandbox.reserve("work", &[]), "session_id");
        let (programs, log) = (sandbox.home().join("programs"), sandbox.home().join("log"));
        fs::create_dir(&programs).expect("folder");
        let path = std::env::var_os("PATH").expect("PATH");
        let git = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.is_file());
        let script = "#!/bin/sh\nprintf '%s ' \"$@\" >>'LOG'\necho >>'LOG'\nexec 'GIT' \"$@\"\n";
        let script = script.replace("LOG", &log.display().to_string());
        let script = script.replace("GIT", &git.expect("git").display().to_string());
        write_program(programs.join("git"), &script);
        sandbox.first_on_path = Some(programs);
        Self { sandbox, session, log }
    }

    fn put(&self, name: &str, content: &str) {
        put(&self.sandbox.root(), name, content);
    }

    /// Captures with variables in the environment; the document and the git commands started.
    #[track_caller]
    fn capture_with(&self, variables: &[(&str, &str)], args: &[&str]) -> (Value, Vec<String>) {
        let _ = fs::remove_file(&self.log);
        let args = [&["agent", "capture", "--session", &self.session, "-m", "Work"], args].concat();
        let mut command = self.sandbox.command(&args);
        let output = command.envs(variables.iter().copied()).output().expect("heddle");
        let document = Answer::of(&output).exits(0).json();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        (document, log.lines().map(str::to_owned).collect())
    }

    #[track_caller]
    fn capture(&self, args: &[&str]) -> (Value, Vec<String>) {
        self.capture_with(&[], args)
    }

    /// The indexes that captures left.
    fn cached(&self) -> Vec<String> {
        let folder = fs::read_dir(self.sandbox.root().join(".git")).expect("folder").flatten();
        let names = folder.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("heddle-index-")).collect()
    }

    /// The tree that plain git makes of the whole worktree.
    fn tree_by_git(&self) -> String {
        self.sandbox.git(&["add", "-A"]);
        let tree = self.sandbox.git(&["write-tree"]);
        self.sandbox.git(&["reset", "-q"]);
        tree
    }

    #[track_caller]
    fn assert_like_git(&self, document: &Value, about: &str) {
        assert_eq!(text(document, "tree"), self.tree_by_git(), "{about}");
        self.sandbox.git(&["fsck", "--strict", "--no-dangling"]);
    }
}

/// How many processes hold the ref until it has moved: none where that is not Git's to do.
fn holders() -> usize {
    usize::from(support::format::asked().reftable)
}

fn started(log: &[String], what: &str) -> bool {
    log.iter().any(|line| line.split(' ').any(|word| word == what))
}

#[test]
fn a_capture_starts_one_git_and_makes_git_s_tree() {
    let ground = Ground::new();
    for version in ["2", "3", "4"] {
        ground.sandbox.git(&["update-index", "--force-write-index", "--index-version", version]);
        for (name, content) in [("a/b/one", "x"), ("a/new", "x"), ("a-b/z/y", "x"), ("first", version)] {
            let path = ground.sandbox.root().join(name);
            fs::create_dir_all(path.parent().expect("folder")).expect("folder");
            ground.put(name, &format!("{content}{version}"));
            let (document, log) = ground.capture(&[]);
            ground.assert_like_git(&document, name);
            assert!(!started(&log, "write-tree") && !started(&log, "commit-tree"), "{log:?}");
        }
        let (document, log) = ground.capture(&["--allow-empty"]);
        ground.assert_like_git(&document, "empty");
        assert!(log.len() <= 2 + holders(), "{log:?}");
        fs::remove_dir_all(ground.sandbox.root().join("a-b")).expect("remove");
        ground.assert_like_git(&ground.capture(&[]).0, "a folder that went");
    }
}

#[test]
fn a_commit_is_git_s_byte_for_byte() {
    let ground = Ground::new();
    let dates = [("GIT_AUTHOR_DATE", "@1700000000 -0730"), ("GIT_COMMITTER_DATE", "1700000001 +0100")];
    ground.put("a/top", "x");
    let (document, log) = ground.capture_with(&dates, &[]);
    assert!(!started(&log, "commit-tree"), "{log:?}");
    let (tree, parent) = (text(&document, "tree"), text(&document, "parent"));
    let message = text(&document, "message");
    let mut git = ground.sandbox.program(
        "git",
        &ground.sandbox.root(),
        &["commit-tree", "-p", &parent, "-m", message.trim_end(), &tree],
    );
    let answer = Answer::of(&git.envs(dates).output().expect("git")).exits(0);
    assert_eq!(answer.stdout.trim(), text(&document, "commit"));
    // Only Git knows what this means.
    ground.put("a/top", "y");
    let (_, log) = ground.capture_with(&[("GIT_AUTHOR_DATE", "Fri, 2 Jan 2026 03:04:05 +0100")], &[]);
    assert!(started(&log, "commit-tree"), "{log:?}");
}

#[test]
fn an_index_that_only_git_understands_is_left_to_git() {
    let ground = Ground::new();
    ground.sandbox.git(&["update-index", "--split-index"]);
    ground.put("a/b/one", "split");
    ground.assert_like_git(&ground.capture(&[]).0, "split");
    ground.sandbox.git(&["update-index", "--no-split-index"]);
    let ground = Ground::new();
    ground.put("a/b/intended", "x");
    ground.sandbox.git(&["add", "-N", "a/b/intended"]);
    ground.put("d/one", "x");
    let (document, _) = ground.capture(&["--", "d"]);
    let tree = text(&document, "tree");
    assert_eq!(ground.sandbox.git(&["ls-tree", "-r", &tree, "a/b/intended"]), "");
    assert_eq!(document["changed_paths"], serde_json::json!(["d/one"]));
    let ground = Ground::new();
    ground.sandbox.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "a/b"]);
    ground.put("a/b/one", "sparse");
    let (document, _) = ground.capture(&[]);
    ground.assert_like_git(&document, "sparse");
    assert_eq!(document["changed_paths"], serde_json::json!(["a/b/one"]));
}

/// The loose objects of a repository with their modes and those of their folders.
fn modes(objects: &Path) -> Vec<(u32, u32)> {
    let mut modes = Vec::new();
    for folder in fs::read_dir(objects).expect("objects").flatten() {
        if folder.file_name().len() != 2 {
            continue;
        }
        let mode =
            |meta: std::io::Result<fs::Metadata>| meta.expect("metadata").permissions().mode() & 0o7777;
        for object in fs::read_dir(folder.path()).expect("folder").flatten() {
            modes.push((mode(folder.metadata()), mode(object.metadata())));
        }
    }
    modes.sort_unstable();
    modes.dedup();
    modes
}

#[test]
fn objects_of_a_shared_repository_are_git_s() {
    for shared in ["group", "all", "0640", "umask"] {
        let ground = Ground::new();
        let objects = ground.sandbox.root().join(".git/objects");
        ground.sandbox.git(&["config", "core.sharedRepository", shared]);
        ground.sandbox.git(&["gc", "-q"]);
        ground.put("a/b/one", shared);
        let (document, log) = ground.capture(&[]);
        assert_eq!(started(&log, "write-tree"), shared != "umask", "{log:?}");
        assert_eq!(started(&log, "commit-tree"), shared != "umask", "{log:?}");
        let ours = modes(&objects);
        assert!(!ours.is_empty());
        ground.put("a/b/one", "by git");
        ground.sandbox.git(&["add", "-A"]);
        ground.sandbox.git(&["commit", "-q", "-m", "By git"]);
        assert_eq!(ours, modes(&objects), "{shared}");
        ground.sandbox.git(&["cat-file", "-e", &text(&document, "commit")]);
    }
}

#[test]
fn objects_go_where_git_s_own_go() {
    let (into, also) = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES");
    for elsewhere_is in [into, also] {
        let ground = Ground::new();
        let objects = ground.sandbox.root().join(".git/objects");
        let elsewhere = ground.sandbox.home().join("elsewhere");
        fs::create_dir(&elsewhere).expect("folder");
        ground.put("a/b/one", elsewhere_is);
        let place = elsewhere.to_str().expect("path");
        let environment = match elsewhere_is == into {
            true => vec![(into, place), (also, objects.to_str().expect("path"))],
            false => vec![(also, place)],
        };
        let (document, log) = ground.capture_with(&environment, &[]);
        assert!(!started(&log, "write-tree"), "{log:?}");
        let commit = text(&document, "commit");
        let file = Path::new(&commit[..2]).join(&commit[2..]);
        assert_eq!(elsewhere.join(&file).exists(), elsewhere_is == into);
        assert_eq!(objects.join(&file).exists(), elsewhere_is == also);
        fs::write(objects.join("info/alternates"), format!("{place}\n")).expect("write");
        ground.assert_like_git(&document, elsewhere_is);
    }
}

#[test]
fn without_sync_the_user_s_own_core_fsync_counts() {
    let ground = Ground::new();
    ground.sandbox.git(&["config", "heddle.fsync", "false"]);
    ground.put("a/b/one", "1");
    assert!(!started(&ground.capture(&[]).1, "commit-tree"));
    ground.sandbox.git(&["config", "core.fsync", "all"]);
    ground.put("a/b/one", "2");
    assert!(started(&ground.capture(&[]).1, "commit-tree"));
}

#[test]
fn objects_that_are_missing_are_git_s_to_refuse() {
    let ground = Ground::new();
    ground.put("a/b/one", "x");
    ground.capture(&[]);
    // The tree of a folder that does not change any more.
    let tree = ground.sandbox.git(&["rev-parse", "refs/heddle/threads/work:d"]);
    let object = ground.sandbox.root().join(".git/objects").join(&tree[..2]).join(&tree[2..]);
    let kept = fs::read(&object).expect("a loose object");
    fs::remove_file(&object).expect("remove");
    ground.put("d/one", "y");
    let args = ["agent", "capture", "--session", &ground.session, "-m", "Work"];
    let tip = ground.sandbox.git(&["rev-parse", "refs/heddle/threads/work"]);
    let answer = Answer::of(&ground.sandbox.command(&args).output().expect("heddle"));
    assert_ne!(answer.code, 0, "{}", answer.stdout);
    assert_eq!(tip, ground.sandbox.git(&["rev-parse", "refs/heddle/threads/work"]));
    fs::write(&object, kept).expect("write");
    ground.assert_like_git(&ground.capture(&[]).0, "whole again");
}

#[test]
fn a_great_many_folders_are_left_to_git_which_remembers_them() {
    let ground = Ground::new();
    for number in 0..100 {
        fs::create_dir(ground.sandbox.root().join(format!("n{number}"))).expect("folder");
        let file = format!("n{number}/x");
        ground.put(&file, "x");
        // Git adds once more what may have changed since it was added.
        let file = fs::File::options().write(true).open(ground.sandbox.root().join(file)).expect("file");
        let before = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        file.set_modified(before).expect("time");
    }
    let (document, log) = ground.capture(&[]);
    assert!(started(&log, "write-tree"), "{log:?}");
    ground.assert_like_git(&document, "many");
    ground.put("n50/x", "y");
    let (document, log) = ground.capture(&[]);
    assert!(!started(&log, "write-tree"), "{log:?}");
    ground.assert_like_git(&document, "one of many");
}

#[test]
fn some_paths_are_captured_without_the_whole_index() {
    let ground = Ground::new();
    ground.put("a/b/one", "1");
    ground.put("d/one", "1");
    ground.put("first", "not captured");
    let (document, _) = ground.capture(&["--", "a/b", "d/one"]);
    assert_eq!(document["changed_paths"], serde_json::json!(["a/b/one", "d/one"]));
    ground.put("a/b/one", "2");
    ground.put("a-b/new", "2");
    fs::remove_file(ground.sandbox.root().join("a/c/one")).expect("remove");
    let (document, log) = ground.capture(&["--", "a", "./a-b"]);
    assert_eq!(document["changed_paths"], serde_json::json!(["a-b/new", "a/b/one", "a/c/one"]));
    // The whole index would have to be moved to the tip first.
    assert_eq!(log.len(), 1 + holders(), "{log:?}");
    assert!(started(&log, "add"), "{log:?}");
    // What has to see or to understand the whole index does.
    for (key, value) in
        [("core.sparseCheckout", "true"), ("core.splitIndex", "true"), ("core.ignoreCase", "true")]
    {
        ground.sandbox.git(&["config", key, value]);
        ground.put("d/one", key);
        let (document, log) = ground.capture(&["--", "d"]);
        assert_eq!(document["changed_paths"], serde_json::json!(["d/one"]), "{key}");
        assert!(started(&log, "read-tree"), "{key}: {log:?}");
        ground.sandbox.git(&["config", "--unset", key]);
    }
    ground.put("d/one", "pattern");
    assert!(started(&ground.capture(&["--", "d/*"]).1, "add"));
    let hook = ground.sandbox.root().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("folder")).expect("hooks");
    write_program(&hook, "#!/bin/sh\ntest \"$(git diff --cached --name-only)\" = d/one\n");
    ground.put("d/one", "seen by a hook");
    let (document, _) = ground.capture(&["--", "d/one"]);
    assert_eq!(document["changed_paths"], serde_json::json!(["d/one"]));
}

#[test]
fn what_is_known_of_the_files_outlives_a_capture_of_some_paths() {
    let ground = Ground::new();
    ground.put("a/top", "1");
    ground.capture(&[]);
    for content in ["2", "3"] {
        ground.put("a/b/one", content);
        ground.capture(&["--", "a/b/one"]);
    }
    assert_eq!(ground.cached(), ["heddle-index-behind"]);
    ground.put("d/one", "4");
    let (document, log) = ground.capture(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!(["d/one"]));
    assert!(started(&log, "read-tree"), "{log:?}");
    assert_eq!(ground.cached(), [format!("heddle-index-{}", text(&document, "commit"))]);
    ground.assert_like_git(&document, "after paths");
}
