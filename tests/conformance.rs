//! What `git_heddle::git` promises to everything above it, in every kind of repository: with refs
//! in files, which libgit2 reads and writes, and in tables, which are read here and written by the
//! git program; with objects named by either hash. What is true is what Git says.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use git_heddle::git::commit::{commit, with_trailers};
use git_heddle::git::commits::Commits;
use git_heddle::git::diff::{changed, changed_among, counts};
use git_heddle::git::graph;
use git_heddle::git::merge::{conflicts, merge_base};
use git_heddle::git::refs::{Change, Expected, Intent};
use git_heddle::git::repo::Head;
use git_heddle::git::{GitError, Repo};
use git_heddle::names::{CommitId, TreeId};
use support::format::{ALL, Format};
use support::{Sandbox, put};

const WAIT: Duration = Duration::from_secs(10);
const TIP: &str = "refs/heddle/threads/t";
const MARK: &str = "refs/heddle/ready/t";

fn id(sandbox: &Sandbox, rev: &str) -> CommitId {
    CommitId::parse(&sandbox.git(&["rev-parse", rev])).expect("an id")
}

fn moves<'a>(to: &'a CommitId, message: &'a str) -> Intent<'a> {
    Intent::Move { to, message }
}

#[test]
fn revisions_are_resolved_as_git_does() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        sandbox.commit("second");
        sandbox.git(&["tag", "-a", "-m", "x", "annotated"]);
        sandbox.git(&["branch", "side/line", "HEAD~1"]);
        sandbox.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        sandbox.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let full = sandbox.git(&["rev-parse", "HEAD"]);
        let (short, first) = (full[..10].to_owned(), format!("{full}~1"));
        for rev in [
            "HEAD",
            "main",
            "heads/main",
            "refs/heads/main",
            "side/line",
            "annotated",
            "HEAD~1",
            "main^",
            "HEAD^0",
            "origin",
            "origin/main",
            "annotated^{}",
            &full,
            &short,
            &first,
        ] {
            let about = format!("{} {rev}", format.name());
            let found = repo.resolve(rev).unwrap_or_else(|error| panic!("{about}: {error}"));
            let commit = format!("{rev}^{{commit}}");
            assert_eq!(found.commit.as_str(), sandbox.git(&["rev-parse", &commit]), "{about}");
            let tree = sandbox.git(&["rev-parse", &format!("{}^{{tree}}", found.commit)]);
            assert_eq!(found.tree.as_str(), tree, "{about}");
        }
        // As long as an id of the other hash, and none of this one.
        let found = repo.resolve(&full[..40]).expect("an id or the beginning of one");
        assert_eq!(found.commit.as_str(), full, "{}", format.name());
        for rev in ["nothing", "refs/heads/nothing", "HEAD~7", &format.id_of('1')] {
            assert!(
                matches!(repo.resolve(rev), Err(GitError::RevNotFound { .. })),
                "{} {rev}",
                format.name()
            );
        }
        for rev in ["HEAD^{tree}", "HEAD:first"] {
            assert!(
                matches!(repo.resolve(rev), Err(GitError::RevNotACommit { .. })),
                "{} {rev}",
                format.name()
            );
        }
        let unborn = Sandbox::of(format).initialized();
        let repo = Repo::at(&unborn.root()).expect("repository");
        assert!(matches!(repo.resolve("HEAD"), Err(GitError::Unborn)), "{}", format.name());
    }
}

#[test]
fn refs_are_compared_and_swapped() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        sandbox.commit("second");
        let (one, two) = (id(&sandbox, "HEAD~1"), id(&sandbox, "HEAD"));
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let about = format.name();
        assert_eq!(repo.read_ref(TIP).expect("read"), None, "{about}");
        let made = repo.lock_ref(TIP, moves(&one, "made"), WAIT).expect("locked");
        assert_eq!(made.current(), None, "{about}");
        assert!(made.identity().is_at(&repo.lock_of(TIP)), "{about}");
        assert!(made.check(&Expected::Exactly(one.clone())).is_err(), "{about}");
        made.swap(&Expected::Absent, &one, "made").expect("made");
        assert!(!repo.lock_of(TIP).exists(), "{about}");
        assert_eq!(repo.read_ref(TIP).expect("read"), Some(one.clone()), "{about}");
        // Locked, compared and given back.
        let locked = repo.lock_ref(TIP, Intent::Compare, WAIT).expect("locked");
        assert_eq!(locked.current(), Some(&one), "{about}");
        drop(locked);
        let locked = repo.lock_ref(TIP, moves(&two, "moved"), WAIT).expect("locked");
        let refused = locked.swap(&Expected::Exactly(two.clone()), &two, "moved");
        assert!(matches!(refused, Err(GitError::RefMoved { .. })), "{about}");
        assert_eq!(repo.read_ref(TIP).expect("read"), Some(one.clone()), "{about}");
        let wanted = [(TIP, Intent::Compare), (MARK, moves(&one, "ready"))];
        let [tip, mark] = repo.lock_refs(wanted, WAIT).expect("locked");
        mark.swap(&Expected::Absent, &one, "ready").expect("made");
        drop(tip);
        let locked = repo.lock_ref(TIP, moves(&two, "moved"), WAIT).expect("locked");
        locked.swap(&Expected::Exactly(one.clone()), &two, "moved").expect("moved");
        assert_eq!(sandbox.git(&["rev-parse", TIP, MARK]), format!("{two}\n{one}"), "{about}");
        assert_eq!(
            sandbox.git(&["reflog", "--format=%H %gs", TIP]),
            format!("{two} moved\n{one} made"),
            "{about}"
        );
        assert!(repo.was_at(TIP, &one).expect("log"), "{about}");
        assert!(repo.moved_at(TIP).0 > 1_700_000_000, "{about}");
        // A name above or below another is in the way.
        for name in ["refs/heddle/threads/t/below", "refs/heddle/threads"] {
            let clash = repo.lock_ref(name, moves(&one, "x"), WAIT);
            assert!(matches!(clash, Err(GitError::RefClash { .. })), "{about}: {name}");
        }
        let listed = repo.list_refs("refs/heddle/").expect("listed");
        let expected = [(MARK.to_owned(), one.clone()), (TIP.to_owned(), two.clone())];
        assert_eq!(listed, expected, "{about}");
        sandbox.git(&["pack-refs", "--all"]);
        assert_eq!(repo.list_refs("refs/heddle/").expect("listed"), expected, "{about}");
        // All or none.
        let change = |name: &str, from: &CommitId, to: Option<&CommitId>| Change {
            name: name.to_owned(),
            from: Expected::Exactly(from.clone()),
            to: to.cloned(),
        };
        let wrong = [change(TIP, &two, Some(&one)), change(MARK, &two, None)];
        assert!(repo.change_refs(&wrong, "x").is_err(), "{about}");
        assert_eq!(repo.list_refs("refs/heddle/").expect("listed"), expected, "{about}");
        repo.change_refs(&[change(TIP, &two, Some(&one)), change(MARK, &one, None)], "x").expect("changed");
        assert_eq!(repo.list_refs("refs/heddle/").expect("listed"), [(TIP.to_owned(), one)], "{about}");
    }
}

/// Refs in so many tables, blocks and levels of index that each kind of lookup is needed.
#[test]
fn many_refs_are_read_as_git_reads_them() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let names =
            |step: usize| (0..3000).step_by(step).map(|number| format!("refs/heddle/threads/n{number:05}/x"));
        let feed = |verb: &str, step: usize| {
            let lines: String = names(step)
                .map(|name| format!("{verb} {name}{}\n", if verb == "create" { " HEAD" } else { "" }))
                .collect();
            let mut command = sandbox.program("git", &sandbox.root(), &["update-ref", "--stdin"]);
            let mut child = command.stdin(Stdio::piped()).spawn().expect("git");
            child.stdin.take().expect("stdin").write_all(lines.as_bytes()).expect("written");
            assert!(child.wait().expect("git").success());
        };
        feed("create", 1);
        sandbox.git(&["pack-refs", "--all"]);
        feed("delete", 7);
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let listed: Vec<String> = repo
            .list_refs("refs/heddle/threads/")
            .expect("listed")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle/threads"]);
        assert_eq!(listed, expected.lines().collect::<Vec<_>>(), "{}", format.name());
        for (number, name) in names(1).enumerate().step_by(13) {
            let there = repo.read_ref(&name).expect("read").is_some();
            assert_eq!(there, number % 7 != 0, "{} {name}", format.name());
            let above = name.trim_end_matches("/x");
            assert_eq!(repo.clash(above).expect("looked").is_some(), there, "{} {above}", format.name());
        }
        assert_eq!(repo.read_ref("refs/heddle/threads/n00001/y").expect("read"), None);
        assert_eq!(repo.read_ref("refs/zzz").expect("read"), None);
    }
}

#[test]
fn a_repository_is_opened_wherever_it_is_looked_at_from() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let about = format.name();
        sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
        sandbox.git(&["clone", "--quiet", "--bare", ".", "../bare"]);
        let (linked, bare) = (sandbox.home().join("linked"), sandbox.home().join("bare"));
        let main = id(&sandbox, "HEAD");
        let here = Repo::at(&sandbox.root()).expect("repository");
        let on = Head::Branch { name: "refs/heads/main".to_owned(), commit: main.clone() };
        assert_eq!(here.head().expect("HEAD"), on, "{about}");
        assert_eq!(here.git_dir(), here.common_dir(), "{about}");
        let there = Repo::at(&linked).expect("repository");
        let detached = Head::Detached { commit: main.clone() };
        assert_eq!(there.head().expect("HEAD"), detached, "{about}");
        assert_eq!(there.common_dir(), here.common_dir(), "{about}");
        assert_eq!(here.head_of_worktree(there.git_dir()).expect("HEAD"), Some(detached), "{about}");
        assert_eq!(there.head_of_worktree(here.git_dir()).expect("HEAD"), Some(on), "{about}");
        // A ref of that worktree alone, and one of all.
        sandbox.git_in(&linked, &["update-ref", "refs/worktree/own", "HEAD"]);
        let own = |repo: &Repo| repo.read_ref("refs/worktree/own").expect("read");
        assert_eq!((own(&here), own(&there)), (None, Some(main.clone())), "{about}");
        assert_eq!(there.read_ref("refs/heads/main").expect("read"), Some(main.clone()), "{about}");
        let bare = Repo::at(&bare).expect("repository");
        assert!(bare.worktree().is_none(), "{about}");
        assert_eq!(bare.list_refs("refs/heads/").expect("listed"), [("refs/heads/main".to_owned(), main)]);
        let unborn = Sandbox::of(format).initialized();
        let repo = Repo::at(&unborn.root()).expect("repository");
        assert_eq!(repo.head().expect("HEAD"), Head::Unborn { branch: "refs/heads/main".to_owned() });
    }
}

#[test]
fn an_id_of_the_other_length_names_nothing() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let other = Format { sha256: !format.sha256, ..format }.id_of('1');
        assert!(matches!(repo.resolve(&other), Err(GitError::RevNotFound { .. })), "{}", format.name());
        let other = CommitId::parse(&other).expect("an id");
        let commits = Commits::new(&repo).expect("commits");
        assert!(commits.committed_at(&other).is_err(), "{}", format.name());
        assert!(repo.descends_from(&id(&sandbox, "HEAD"), &other).is_err(), "{}", format.name());
        let refused = repo.lock_ref(TIP, moves(&other, "x"), WAIT);
        let refused = refused.and_then(|locked| locked.swap(&Expected::Absent, &other, "x"));
        assert!(refused.is_err(), "{}", format.name());
        assert_eq!(repo.read_ref(TIP).expect("read"), None, "{}", format.name());
        assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle"]), "", "{}", format.name());
    }
}

#[test]
fn symbolic_refs_are_told_from_others() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        sandbox.git(&["symbolic-ref", TIP, "refs/heads/main"]);
        let repo = Repo::at(&sandbox.root()).expect("repository");
        assert!(matches!(repo.read_ref(TIP), Err(GitError::Unusable { .. })), "{}", format.name());
        let to = id(&sandbox, "main");
        assert!(repo.lock_ref(TIP, moves(&to, "x"), WAIT).is_err(), "{}", format.name());
        assert_eq!(repo.list_refs("refs/heddle/").expect("listed"), [], "{}", format.name());
        assert_eq!(repo.all_refs("refs/heddle/").expect("listed").len(), 1, "{}", format.name());
        assert_eq!(sandbox.git(&["symbolic-ref", TIP]), "refs/heads/main", "{}", format.name());
    }
}

#[test]
fn a_ref_that_is_locked_is_given_up_after_its_time_and_only_then() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let to = id(&sandbox, "HEAD");
        let (one, two) = (Repo::at(&sandbox.root()).expect("one"), Repo::at(&sandbox.root()).expect("two"));
        let held = one.lock_ref(TIP, moves(&to, "x"), WAIT).expect("locked");
        let refused = two.lock_ref(TIP, moves(&to, "x"), Duration::from_millis(50));
        assert!(matches!(refused, Err(GitError::RefLocked { .. })), "{}", format.name());
        drop(held);
        let locked = two.lock_ref(TIP, moves(&to, "x"), WAIT).expect("locked");
        locked.swap(&Expected::Absent, &to, "x").expect("moved");
        assert_eq!(one.read_ref(TIP).expect("read"), Some(to), "{}", format.name());
    }
}

#[test]
fn moves_of_head_are_told_by_what_made_them() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let first = id(&sandbox, "HEAD");
        let moved = repo.last_move_of_head().expect("a move");
        assert_eq!((&moved.old, &moved.new, moved.commits), (&None, &first, true), "{}", format.name());
        let second = CommitId::parse(&sandbox.commit("second")).expect("an id");
        let told = |old: &CommitId, new: &CommitId, commits| {
            let moved = repo.last_move_of_head().expect("a move");
            let expected = (Some(old), new, commits);
            assert_eq!((moved.old.as_ref(), &moved.new, moved.commits), expected, "{}", format.name());
        };
        told(&first, &second, true);
        sandbox.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        told(&second, &first, false);
        sandbox.git(&["checkout", "--quiet", "--detach", second.as_str()]);
        told(&first, &second, false);
        for name in ["HEAD", "refs/heads/main"] {
            assert!(repo.was_at(name, &second).expect("log"), "{} {name}", format.name());
        }
        assert!(!repo.was_at(TIP, &first).expect("log"), "{}", format.name());
    }
}

#[test]
fn commits_are_written_and_walked_as_git_does() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let about = format.name();
        for name in ["second", "third"] {
            sandbox.commit(name);
        }
        let repo = Repo::at(&sandbox.root()).expect("repository");
        let (base, main) = (id(&sandbox, "HEAD~1"), id(&sandbox, "HEAD"));
        let tree = TreeId::parse(&sandbox.git(&["rev-parse", "HEAD~1^{tree}"])).expect("an id");
        let message = with_trailers("work", &[("Heddle-Generation", "7".to_owned())]);
        let made = commit(&repo, &tree, &[&base], &message).expect("written");
        let merge = commit(&repo, &tree, &[&made, &main], "merge").expect("written");
        assert_eq!(sandbox.git(&["log", "-1", "--format=%P %T", made.as_str()]), format!("{base} {tree}"));
        assert_eq!(sandbox.git(&["log", "-1", "--format=%P", merge.as_str()]), format!("{made} {main}"));
        let generation = repo.generation_in_trailers(&made).expect("read").map(|number| number.get());
        assert_eq!(generation, Some(7), "{about}");
        let time = sandbox.git(&["log", "-1", "--format=%ct", made.as_str()]);
        let commits = Commits::new(&repo).expect("commits");
        assert_eq!(commits.committed_at(&made).expect("read").to_string(), time, "{about}");
        let walked = repo.commits(Some(&base), &merge, 10).expect("walked");
        let walked: HashSet<String> = walked.into_iter().map(|commit| commit.id.to_string()).collect();
        let listed = sandbox.git(&["rev-list", merge.as_str(), &format!("^{base}")]);
        assert_eq!(walked, listed.lines().map(str::to_owned).collect(), "{about}");
        assert_eq!(repo.ahead_behind(&made, &main).expect("counted"), (1, 1), "{about}");
        assert!(repo.descends_from(&merge, &base).expect("looked"), "{about}");
        assert!(!repo.descends_from(&made, &main).expect("looked"), "{about}");
        assert_eq!(merge_base(&repo, &made, &main).expect("found"), Some(base.clone()), "{about}");
        let tips = HashSet::from([made.clone(), merge.clone()]);
        let ahead = graph::ahead(&commits, &main, &tips).expect("counted");
        assert_eq!((ahead[&made].commits, ahead[&merge].commits), (1, 2), "{about}");
        assert_eq!(ahead[&made].fork, Some(base), "{about}");
        sandbox.git(&["update-ref", "refs/heads/made", merge.as_str()]);
        sandbox.git(&["fsck", "--strict"]);
    }
}

#[test]
fn differences_and_conflicts_are_those_that_git_finds() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let root = sandbox.root();
        fs::create_dir_all(root.join("a/b")).expect("folder");
        for (name, content) in [("a/b/deep", "1\n2\n3\n"), ("a/stays", "x\n"), ("file", "x\n")] {
            put(&root, name, content);
        }
        let base = sandbox.commit_in(&root, "a/both", "base\n");
        sandbox.git(&["rm", "--quiet", "file"]);
        fs::create_dir(root.join("file")).expect("folder");
        put(&root, "file/now-a-folder", "y\n");
        put(&root, "a/b/deep", "1\n3\n4\n5\n");
        let ours = sandbox.commit_in(&root, "a/both", "ours\n");
        sandbox.git(&["checkout", "--quiet", "--detach", &base]);
        let theirs = sandbox.commit_in(&root, "a/both", "theirs\n");
        let repo = Repo::at(&root).expect("repository");
        let parsed = |id: &str| CommitId::parse(id).expect("an id");
        let (base, ours, theirs) = (parsed(&base), parsed(&ours), parsed(&theirs));
        let text = |paths: Vec<Vec<u8>>| {
            paths.into_iter().map(|path| String::from_utf8(path).expect("UTF-8")).collect::<Vec<_>>()
        };
        for (from, to) in [(&base, &ours), (&ours, &base), (&ours, &theirs)] {
            let about = format!("{} {from} {to}", format.name());
            let git = |how: &str| sandbox.git(&["diff", "--no-renames", how, from.as_str(), to.as_str()]);
            let mut names: Vec<String> = git("--name-only").lines().map(str::to_owned).collect();
            names.sort();
            let wanted: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            let found = changed_among(&repo, &wanted, from, to).expect("compared");
            assert_eq!(text(found), names, "{about}");
            let count = counts(&Commits::new(&repo).expect("commits"), &[(from, to)])[0].expect("counted");
            assert_eq!(count, names.len(), "{about}");
            let tree = |commit: &CommitId| repo.resolve(commit.as_str()).expect("commit").tree;
            let mut lines: Vec<String> = changed(&repo, &tree(from), &tree(to))
                .expect("compared")
                .into_iter()
                .map(|change| {
                    let counts = [change.insertions, change.deletions].map(Option::unwrap_or_default);
                    format!("{}\t{}\t{}", counts[0], counts[1], String::from_utf8_lossy(&change.path))
                })
                .collect();
            let numbers = git("--numstat");
            let mut expected: Vec<&str> = numbers.lines().collect();
            lines.sort();
            expected.sort_unstable();
            assert_eq!(lines, expected, "{about}");
        }
        let found = conflicts(&repo, &ours, &theirs).expect("merged");
        assert!(found.any, "{}", format.name());
        assert_eq!(text(found.paths), ["a/both"], "{}", format.name());
        assert!(!conflicts(&repo, &base, &ours).expect("merged").any, "{}", format.name());
    }
}
