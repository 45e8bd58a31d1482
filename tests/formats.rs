//! Every kind of repository that Git makes: refs in files or in tables, objects named by either
//! hash. What the interface to Git promises holds in all of them; what is particular to tables
//! (one lock for all refs, held by a child) is tried here.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use git_heddle::git::refs::{Change, Expected, Intent};
use git_heddle::git::{GitError, Repo};
use git_heddle::names::CommitId;
use support::format::{ALL, Format};
use support::{Sandbox, put, text};

const WAIT: Duration = Duration::from_secs(10);
const TIP: &str = "refs/heddle/threads/t";
const MARK: &str = "refs/heddle/ready/t";

fn sandbox(format: Format) -> Sandbox {
    let sandbox = Sandbox::of(format).initialized();
    sandbox.commit("first");
    // The library is used from here, where the sandbox's environment does not count.
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com")] {
        sandbox.git(&["config", key, value]);
    }
    sandbox
}

fn id(sandbox: &Sandbox, rev: &str) -> CommitId {
    CommitId::parse(&sandbox.git(&["rev-parse", rev])).expect("an id")
}

fn moves<'a>(to: &'a CommitId, message: &'a str) -> Intent<'a> {
    Intent::Move { to, message }
}

#[test]
fn revisions_are_resolved_as_git_does() {
    for format in ALL {
        let sandbox = sandbox(format);
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
        let sandbox = sandbox(format);
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
        let sandbox = sandbox(format);
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
fn a_thread_goes_from_its_reservation_to_its_target() {
    for format in ALL {
        let sandbox = sandbox(format);
        let reserved = sandbox.reserve("fix", &["--worktree"]);
        let (session, path) = (text(&reserved, "session_id"), text(&reserved, "path"));
        put(path.as_ref(), "work", "work\n");
        sandbox.heddle_in(path.as_ref(), &["agent", "capture", "--session", &session, "-m", "work"]).exits(0);
        sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        sandbox.heddle(&["thread", "land", "fix"]).exits(0);
        assert_eq!(sandbox.git(&["log", "--format=%s", "main"]), "work\nfirst", "{}", format.name());
        assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{}", format.name());
        sandbox.git(&["fsck", "--strict"]);
    }
}

/// Has `git` in the sandbox be `script`, in which `$GIT` is the real one.
fn replace_git(sandbox: &mut Sandbox, script: &str) {
    let bin = sandbox.home().join("bin");
    fs::create_dir(&bin).expect("folder");
    let real = sandbox.only_git().join("git");
    fs::write(bin.join("git"), format!("#!/bin/sh\nGIT='{}'\n{script}", real.display())).expect("script");
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).expect("mode");
    sandbox.first_on_path = Some(bin);
}

#[test]
fn the_reservation_loop_starts_hardly_any_process() {
    for format in ALL {
        let mut sandbox = sandbox(format);
        let log = sandbox.home().join("calls");
        replace_git(&mut sandbox, &format!("echo \"$@\" >>'{}'\nexec \"$GIT\" \"$@\"\n", log.display()));
        let count = |args: &[&str]| {
            let _ = fs::remove_file(&log);
            let answer = sandbox.heddle(args).exits(0);
            (answer, fs::read_to_string(&log).unwrap_or_default().lines().count())
        };
        let held = usize::from(format.reftable);
        let (answer, reserve) = count(&["agent", "reserve", "--thread", "t", "--anchor", "main"]);
        let session = text(&answer.json(), "session_id");
        let (_, heartbeat) = count(&["agent", "heartbeat", "--session", &session]);
        let (_, list) = count(&["agent", "list"]);
        let (_, release) = count(&["agent", "release", "--session", &session]);
        assert_eq!([reserve, heartbeat, list, release], [held, 0, 0, held], "{}", format.name());
    }
}

/// A git that holds the lock on all refs for somebody else.
fn hold(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.program("git", &sandbox.root(), &["update-ref", "--stdin", "-z"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git");
    let stdin = child.stdin.as_mut().expect("stdin");
    stdin.write_all(b"start\0create refs/heads/elsewhere\0HEAD\0prepare\0").expect("written");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(lines.any(|line| line.expect("a line") == "prepare: ok"));
    child
}

fn release(mut holder: Child) {
    drop(holder.stdin.take());
    holder.wait().expect("git");
}

#[test]
fn a_lock_on_all_refs_is_waited_for_and_is_no_conflict() {
    for format in ALL.into_iter().filter(|format| format.reftable) {
        let sandbox = sandbox(format);
        let reserved = sandbox.reserve("t", &[]);
        let session = text(&reserved, "session_id");
        put(&sandbox.root(), "work", "work\n");
        // Longer than Git itself waits, which is a tenth of a second.
        let holder = hold(&sandbox);
        let commands = [
            vec!["agent", "reserve", "--thread", "other"],
            vec!["agent", "capture", "--session", &session, "-m", "work"],
        ];
        let waiting: Vec<Child> = commands
            .iter()
            .map(|args| {
                sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("heddle")
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400));
        release(holder);
        for waiting in waiting {
            let ended = waiting.wait_with_output().expect("heddle");
            assert!(ended.status.success(), "{}: {ended:?}", format.name());
        }
        // Longer than we are to wait.
        sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
        let holder = hold(&sandbox);
        for args in [
            &["agent", "reserve", "--thread", "third"][..],
            &["agent", "release", "--session", &session],
            &["agent", "ready", "--session", &session, "--no-capture"],
        ] {
            let refused = sandbox.refused(75, args);
            assert!(refused.stderr.contains("tables.list.lock"), "{}: {args:?} {refused:?}", format.name());
        }
        release(holder);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    }
}

/// The git that holds the lock is killed as soon as it is told what is to become of it, and heddle
/// with it: the lock stays, and is known to be ours.
#[test]
fn a_lock_that_a_killed_git_left_is_removed_by_the_next_command_and_no_other_is() {
    let script = r#"case "$*" in *update-ref*--stdin*) ;; *) exec "$GIT" "$@" ;; esac
[ ! -e "$HOME/harmless" ] || exec "$GIT" "$@"
mkfifo "$HOME/fifo.$$"
"$GIT" "$@" <"$HOME/fifo.$$" &
exec 3>"$HOME/fifo.$$"
sed -zu '/^commit$/Q' >&3
kill -9 $! $PPID
"#;
    for format in ALL.into_iter().filter(|format| format.reftable) {
        let mut sandbox = sandbox(format);
        let lock = sandbox.root().join(".git/reftable/tables.list.lock");
        replace_git(&mut sandbox, script);
        let harmless = sandbox.home().join("harmless");
        put(sandbox.home(), "harmless", "");
        let session = text(&sandbox.reserve("held", &[]), "session_id");
        put(&sandbox.root(), "work", "work\n");
        for (args, after) in [
            (vec!["agent", "reserve", "--thread", "t"], vec!["agent", "reserve", "--thread", "t"]),
            (
                vec!["agent", "capture", "--session", &session, "-m", "work"],
                vec!["agent", "capture", "--session", &session, "-m", "work"],
            ),
            (
                vec!["agent", "release", "--session", &session],
                vec!["agent", "reserve", "--thread", "held", "--resume"],
            ),
        ] {
            fs::remove_file(&harmless).expect("removed");
            let killed = sandbox.heddle(&args);
            assert!(killed.code < 0 && lock.exists(), "{}: {args:?} {killed:?}", format.name());
            put(sandbox.home(), "harmless", "");
            sandbox.heddle(&after).exits(0);
            assert!(!lock.exists(), "{}: {args:?}", format.name());
            assert_eq!(sandbox.heddle(&["doctor"]).exits(0).stdout, "nothing to repair\n");
        }
        // Nothing tells that this one is ours.
        sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
        fs::write(&lock, "").expect("lock");
        sandbox.refused(75, &["agent", "reserve", "--thread", "u"]);
        assert!(lock.exists());
        // A git of another test that ends while it is looked at may hold it, for all one can tell.
        let tries = (0..100).take_while(|_| sandbox.heddle(&["doctor", "--fix"]).code >= 0 && lock.exists());
        assert!(tries.count() < 100, "nobody alive can hold it");
        sandbox.heddle(&["agent", "reserve", "--thread", "u"]).exits(0);
    }
}
