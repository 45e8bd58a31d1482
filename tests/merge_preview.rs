//! Freshness, the merge preview, changed paths, overlap and the choice of a target, against
//! real repositories.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_fs::TempDir;
use assert_fs::prelude::*;
use git_heddle::git::diff::changed_among;
use git_heddle::git::merge::{Conflicts, Freshness, conflicts, freshness, merge_base};
use git_heddle::git::target::{TargetSource, default_target};
use git_heddle::git::{GitError, Repo};
use git_heddle::names::{CommitId, ThreadName};
use git_heddle::ops::overlap::{Other, Overlap, overlaps};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[expect(dead_code, reason = "the kinds of repository serve other tests too")]
#[path = "support_format/mod.rs"]
mod format;

/// A repository with one commit on `main`, cut off from the user's configuration.
struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self { dir: TempDir::new().expect("temporary folder") };
        sandbox.git(&["init", "-q", "-b", "main"]);
        sandbox.git(&["config", "user.name", "A U Thor"]);
        sandbox.git(&["config", "user.email", "author@example.com"]);
        sandbox.commit(&[("base", "base\n"), ("list", "one\n")]);
        sandbox
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(format::asked().environment())
            .env_remove("GIT_DIR")
            .env_remove("GIT_INDEX_FILE")
            .env_remove("GIT_WORK_TREE")
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        for (path, content) in files {
            self.dir.child(path).write_str(content).expect("write");
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "work"]);
        self.id("HEAD")
    }

    fn id(&self, rev: &str) -> CommitId {
        CommitId::parse(&self.git(&["rev-parse", rev])).expect("full id")
    }

    /// Two commits on top of one: (target, tip), with `tip` checked out.
    fn fork(&self, target: &[(&str, &str)], tip: &[(&str, &str)]) -> (CommitId, CommitId) {
        self.git(&["checkout", "-q", "-b", "work", "main"]);
        self.git(&["checkout", "-q", "main"]);
        let target = self.commit(target);
        self.git(&["checkout", "-q", "work"]);
        (target, self.commit(tip))
    }

    fn repo(&self) -> Repo {
        Repo::open(self.dir.path()).expect("repository opens")
    }

    /// Everything that a preview must leave alone: refs, the files of the Git directory
    /// (objects among them) and the worktree.
    fn state(&self) -> (String, Vec<String>, String) {
        let status = self.git(&["status", "--porcelain"]);
        let mut files = Vec::new();
        walk(&self.dir.path().join(".git"), &mut files);
        files.sort();
        (self.git(&["show-ref", "--head"]), files, status)
    }
}

fn walk(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        files.push(path.display().to_string());
        if path.is_dir() {
            walk(&path, files);
        }
    }
}

fn bytes(paths: &[&str]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

#[test]
fn freshness_counts_both_sides() {
    let sandbox = Sandbox::new();
    let base = sandbox.id("main");
    let (target, tip) = sandbox.fork(&[("a", "a\n")], &[("b", "b\n")]);
    let tip2 = sandbox.commit(&[("c", "c\n")]);
    let repo = sandbox.repo();
    for (tip, target, expected) in [
        (&base, &base, Freshness::Current { ahead: 0 }),
        (&tip2, &base, Freshness::Current { ahead: 2 }),
        (&base, &target, Freshness::Behind { behind: 1 }),
        (&tip2, &target, Freshness::Diverged { ahead: 2, behind: 1 }),
    ] {
        assert_eq!(freshness(&repo, tip, target).expect("freshness"), expected);
    }
    assert_eq!(merge_base(&repo, &tip, &target).expect("merge base"), Some(base));
}

#[test]
fn conflicting_paths_are_named_and_nothing_is_left_behind() {
    let sandbox = Sandbox::new();
    let (target, tip) = sandbox.fork(
        &[("base", "theirs\n"), ("list", "two\n"), ("sp ace", "1\n"), ("ok", "1\n")],
        &[("base", "ours\n"), ("list", "three\n"), ("sp ace", "2\n")],
    );
    let before = sandbox.state();
    let found = conflicts(&sandbox.repo(), &target, &tip).expect("preview");
    assert_eq!(found, Conflicts { any: true, paths: bytes(&["base", "list", "sp ace"]) });
    assert_eq!(sandbox.state(), before);
}

#[test]
fn a_clean_merge_has_no_conflicts_and_writes_no_object() {
    let sandbox = Sandbox::new();
    let (target, tip) = sandbox.fork(&[("dir/a", "a\n")], &[("dir/b", "b\n"), ("base", "changed\n")]);
    let before = sandbox.state();
    assert_eq!(conflicts(&sandbox.repo(), &target, &tip).expect("preview"), Conflicts::default());
    assert_eq!(sandbox.state(), before);
}

/// Files by their paths.
type Files = BTreeMap<String, String>;

/// What one side did to the files of the base.
#[derive(Debug, Clone)]
enum Change {
    Write(&'static str, u8),
    Remove(&'static str),
    Move(&'static str, &'static str),
    MoveFolder(&'static str, &'static str),
}

/// A file and a folder of one name among them, and names that sort between the two.
const PATHS: [&str; 10] = ["a", "d", "d.c", "d/x", "d/y", "d/e/x", "d/e/z", "f/x", "f/g/y", "g"];

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let path = || prop::sample::select(&PATHS[..]);
        let folder = || prop::sample::select(&["d/", "d/e/", "f/", "g/", "h/k/"][..]);
        prop_oneof![
            (path(), 0u8..4).prop_map(|(path, content)| Self::Write(path, content)),
            path().prop_map(Self::Remove),
            (path(), path()).prop_map(|(from, to)| Self::Move(from, to)),
            (folder(), folder()).prop_map(|(from, to)| Self::MoveFolder(from, to)),
        ]
    }

    fn apply(&self, files: &mut Files) {
        match self {
            Self::Write(path, content) => put(files, path, format!("{path} {content}\n")),
            Self::Remove(path) => drop(files.remove(*path)),
            Self::Move(from, to) => {
                if let Some(content) = files.remove(*from) {
                    put(files, to, content);
                }
            }
            Self::MoveFolder(from, to) => {
                let moved: Vec<String> =
                    files.keys().filter(|path| path.starts_with(*from)).cloned().collect();
                for path in moved {
                    let content = files.remove(&path).expect("a file");
                    put(files, &format!("{to}{}", &path[from.len()..]), content);
                }
            }
        }
    }
}

/// Writes a file, in the place of whatever was where it and its folders are.
fn put(files: &mut Files, path: &str, content: String) {
    let below = format!("{path}/");
    files.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
    files.insert(path.to_owned(), content);
}

/// Commits the trees as `base`, and on it `ours` and `theirs`.
fn import(sandbox: &Sandbox, trees: [&Files; 3]) {
    let mut stream = String::new();
    for (name, files) in ["base", "ours", "theirs"].into_iter().zip(trees) {
        stream += &format!("reset refs/heads/{name}\n");
        stream += &format!("commit refs/heads/{name}\ncommitter A <a@b> 1800000000 +0000\ndata 0\n");
        if name != "base" {
            stream += "from refs/heads/base\n";
        }
        stream += "deleteall\n";
        for (path, content) in files {
            stream += &format!("M 100644 inline {path}\ndata {}\n{content}\n", content.len());
        }
    }
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet", "--force"])
        .current_dir(sandbox.dir.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("git runs");
    import.stdin.take().expect("stdin").write_all(stream.as_bytes()).expect("stream");
    assert!(import.wait().expect("git runs").success());
}

#[test]
fn git_is_not_needed_where_it_would_find_no_conflict() {
    let sandbox = Sandbox::new();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    let changes = || prop::collection::vec(Change::any(), 1..4);
    let base = prop::collection::vec((prop::sample::select(&PATHS[..]), 0u8..4), 2..9);
    let (clean, conflicted) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(&(base, changes(), changes()), |(base, ours, theirs)| {
        let mut files = Files::new();
        base.iter().for_each(|(path, content)| Change::Write(path, *content).apply(&mut files));
        let side = |changes: &[Change]| {
            let mut files = files.clone();
            changes.iter().for_each(|change| change.apply(&mut files));
            files
        };
        import(&sandbox, [&files, &side(&ours), &side(&theirs)]);
        let mut merge = Command::new("git");
        let merge = merge.args(["merge-tree", "--write-tree", "ours", "theirs"]);
        let status = merge.current_dir(sandbox.dir.path()).stdout(Stdio::null()).status().expect("git runs");
        let [base, ours, theirs] = ["base", "ours", "theirs"].map(|name| sandbox.id(name));
        let repo = sandbox.repo();
        let plain = repo.merges_plainly(&ours, &theirs, &base);
        prop_assert!(!plain || status.code() == Some(0), "a conflict was overlooked");
        prop_assert_eq!(conflicts(&repo, &ours, &theirs).expect("preview").any, status.code() == Some(1));
        clean.set(clean.get() + usize::from(plain));
        conflicted.set(conflicted.get() + usize::from(status.code() == Some(1)));
        Ok(())
    });
    outcome.expect("as Git");
    assert!(clean.get() > 50 && conflicted.get() > 5, "{clean:?} plain, {conflicted:?} with conflicts");
}

#[test]
fn one_side_that_contains_the_other_needs_no_merge() {
    let sandbox = Sandbox::new();
    let base = sandbox.id("main");
    let tip = sandbox.commit(&[("base", "changed\n")]);
    let repo = sandbox.repo();
    for (target, tip) in [(&base, &tip), (&tip, &base), (&tip, &tip)] {
        assert_eq!(conflicts(&repo, target, tip).expect("preview"), Conflicts::default());
    }
}

#[test]
fn attributes_come_from_the_target_and_not_from_the_checkout() {
    let sandbox = Sandbox::new();
    let (target, tip) = sandbox.fork(
        &[(".gitattributes", "list merge=union\n"), ("list", "one\ntwo\n")],
        &[("list", "one\nthree\n")],
    );
    // The checkout is at `tip`, which has no attributes.
    assert_eq!(conflicts(&sandbox.repo(), &target, &tip).expect("preview"), Conflicts::default());
    // The other way round they are on the side to be merged, and do not count.
    let reverse = conflicts(&sandbox.repo(), &tip, &target).expect("preview");
    assert_eq!(reverse, Conflicts { any: true, paths: bytes(&["list"]) });
}

#[test]
fn a_preview_works_from_a_linked_worktree_and_over_packed_objects() {
    let sandbox = Sandbox::new();
    let (target, tip) = sandbox.fork(&[("base", "theirs\n")], &[("base", "ours\n")]);
    sandbox.git(&["gc", "-q"]);
    let linked = TempDir::new().expect("temporary folder");
    let path = linked.path().join("linked");
    sandbox.git(&["worktree", "add", "-q", "--detach", path.to_str().expect("text"), "main"]);
    let repo = Repo::open(&path).expect("repository opens");
    assert_eq!(conflicts(&repo, &target, &tip).expect("preview").paths, bytes(&["base"]));
}

#[test]
fn a_preview_works_where_the_path_of_the_repository_has_the_list_separator_in_it() {
    let outer = TempDir::new().expect("temporary folder");
    let sandbox = Sandbox::new();
    let (target, tip) = sandbox.fork(&[("base", "theirs\n")], &[("base", "ours\n")]);
    let path = outer.path().join("a:b \"c\"");
    sandbox.git(&["clone", "-q", ".", path.to_str().expect("text")]);
    let repo = Repo::open(&path).expect("repository opens");
    assert_eq!(conflicts(&repo, &target, &tip).expect("preview").paths, bytes(&["base"]));
}

#[test]
fn histories_that_never_meet_are_an_error_of_their_own() {
    let sandbox = Sandbox::new();
    let target = sandbox.id("main");
    sandbox.git(&["checkout", "-q", "--orphan", "other"]);
    let tip = sandbox.commit(&[("x", "x\n")]);
    let repo = sandbox.repo();
    let error = conflicts(&repo, &target, &tip).expect_err("nothing to merge from");
    assert!(matches!(error, GitError::UnrelatedHistories { .. }), "{error}");
    assert_eq!(merge_base(&repo, &target, &tip).expect("merge base"), None);
}

#[test]
fn an_unknown_commit_is_an_error_and_no_conflict() {
    let sandbox = Sandbox::new();
    let unknown = CommitId::parse(&format::asked().id_of('1')).expect("id");
    assert!(conflicts(&sandbox.repo(), &sandbox.id("main"), &unknown).is_err());
}

#[test]
fn changed_paths_name_both_ends_of_a_rename() {
    let sandbox = Sandbox::new();
    let from = sandbox.id("main");
    sandbox.git(&["mv", "base", "moved"]);
    let to = sandbox.commit(&[("dir/new", "n\n")]);
    let repo = sandbox.repo();
    let wanted: [&[u8]; 5] = [b"base", b"dir/new", b"dir/none", b"list", b"moved"];
    let paths = changed_among(&repo, &wanted, &from, &to).expect("paths");
    assert_eq!(paths, bytes(&["base", "dir/new", "moved"]));
    assert!(changed_among(&repo, &wanted, &to, &to).expect("paths").is_empty());
}

#[test]
fn overlap_counts_from_where_a_thread_began_and_outlives_a_broken_one() {
    let sandbox = Sandbox::new();
    let base = sandbox.id("main");
    // The target's own change of `list` is not the thread's.
    let (target, tip) = sandbox.fork(&[("list", "target\n")], &[("base", "x\n"), ("b", "b\n"), ("a", "a\n")]);
    let name = |name| ThreadName::parse(name).expect("name");
    let unknown = CommitId::parse(&format::asked().id_of('1')).expect("id");
    let others = [
        Other { thread: name("z"), tip, base: target },
        Other { thread: name("quiet"), tip: base.clone(), base: base.clone() },
        Other { thread: name("broken"), tip: unknown, base },
    ];
    let found = overlaps(&sandbox.repo(), &bytes(&["list", "b", "base"]), &others);
    assert_eq!(found.threads, [Overlap { thread: name("z"), paths: bytes(&["b", "base"]) }]);
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.unreadable[0].0, name("broken"));
}

#[test]
fn the_configured_target_wins_and_may_be_named_in_three_ways() {
    let sandbox = Sandbox::new();
    sandbox.git(&["branch", "release/1"]);
    sandbox.git(&["update-ref", "refs/remotes/origin/next", "HEAD"]);
    let repo = sandbox.repo();
    for (name, refname) in [
        ("release/1", "refs/heads/release/1"),
        ("refs/heads/release/1", "refs/heads/release/1"),
        ("origin/next", "refs/remotes/origin/next"),
    ] {
        let target = default_target(&repo, Some(name), Some("main")).expect("target").expect("some");
        assert_eq!((target.refname.as_str(), target.source), (refname, TargetSource::Configured));
        assert_eq!(target.commit, sandbox.id("main"));
    }
    for missing in ["nowhere", "refs/heads/nowhere", "bad..name", "", "refs/heads/"] {
        let error = default_target(&repo, Some(missing), Some("main")).expect_err(missing);
        assert!(
            matches!(&error, GitError::TargetNotFound { name } if name == missing),
            "{missing:?}: {error}"
        );
    }
}

#[test]
fn without_configuration_it_is_the_branch_of_head_and_then_the_remote_default() {
    let sandbox = Sandbox::new();
    let found = |head| {
        let target = default_target(&sandbox.repo(), None, head).expect("target");
        target.map(|target| (target.refname, target.source))
    };
    assert_eq!(found(Some("main")), Some(("refs/heads/main".to_owned(), TargetSource::Head)));
    assert_eq!(found(Some("deleted")), None);
    assert_eq!(found(None), None);

    sandbox.git(&["remote", "add", "upstream", "."]);
    sandbox.git(&["update-ref", "refs/remotes/upstream/trunk", "HEAD"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/upstream/HEAD", "refs/remotes/upstream/trunk"]);
    let upstream = Some(("refs/remotes/upstream/trunk".to_owned(), TargetSource::Remote));
    assert_eq!(found(Some("deleted")), upstream);

    // With two remotes neither is the obvious one, unless one is `origin`.
    sandbox.git(&["remote", "add", "origin", "."]);
    assert_eq!(found(None), None);
    sandbox.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    sandbox.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
    assert_eq!(found(None), Some(("refs/remotes/origin/main".to_owned(), TargetSource::Remote)));
}
