//! Killed at every call that writes, for what goes on around the work on a thread: running a
//! command, ending in a worktree, dropping, promoting, collecting. As in `crashes`.
//!
//! One in [`STRIDE`] of the calls is tried, from `HEDDLE_KILL_SEED` on; `HEDDLE_KILLS=all` tries
//! all.

mod support_kills;
mod support_processes;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support_kills::{has_strace, points, run_healed, traced, words};
use support_processes::{Ended, Picked, Sandbox, eventually, files};

const TIP: &str = "refs/heddle/threads/t";
const STRIDE: usize = 10;

/// Kills the command that `make` gives at its calls, and has `check` see to what comes next.
fn kill_everywhere(name: &str, make: impl Fn() -> (Sandbox, Vec<String>), check: impl Fn(&Sandbox, &str)) {
    if !has_strace() {
        return;
    }
    let (whole, command) = make();
    let answer = traced(&whole, &[], &command);
    assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
    check(&whole, &format!("{name}, not killed"));
    let picked = Picked::of("HEDDLE_KILLS", "HEDDLE_KILL_SEED", STRIDE);
    let (mut kills, mut tried) = (0, 0);
    for (call, number) in picked.these(points(&whole)) {
        let (sandbox, command) = make();
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let killed = traced(&sandbox, &["-e", &inject], &command);
        let about = format!("{name}, killed at {call} {number} (HEDDLE_KILL_SEED={})", picked.seed);
        tried += 1;
        match killed.code {
            Some(0) => {}
            None | Some(137) => kills += 1,
            code => panic!("{about}: {code:?}: {killed:?}"),
        }
        check(&sandbox, &about);
    }
    println!("{name}: {kills} kills");
    assert!(kills > 0 && kills + 3 >= tried, "{name}: {kills} of {tried}");
}

/// A session on `t` with a capture in a worktree of its own, in which a file lies uncommitted.
fn working() -> (Sandbox, String, PathBuf) {
    let sandbox = Sandbox::new();
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
    let (session, tree) = (reserved.text("session_id"), PathBuf::from(reserved.text("path")));
    fs::write(tree.join("work"), "work\n").expect("write");
    let path = tree.to_string_lossy();
    sandbox.heddle(&["-C", &path, "agent", "ready", "--session", &session, "-m", "work"]).ok();
    (sandbox, session, tree)
}

/// Asserts that no worktree is left over.
fn assert_no_worktree(sandbox: &Sandbox, about: &str) {
    let trees = sandbox.git(&["worktree", "list"]);
    assert_eq!(trees.lines().count(), 1, "{about}: {trees}");
    // The folder itself goes with the next one.
    assert_eq!(files(&sandbox.path("repo.heddle"), &|_| true), Vec::<PathBuf>::new(), "{about}");
    sandbox.assert_clean(about);
}

/// Whether a file of that content is somewhere in what the refs hold.
fn is_kept(sandbox: &Sandbox, name: &str, content: &str) -> bool {
    let refs = sandbox.git(&["for-each-ref", "--format=%(refname)"]);
    refs.lines()
        .any(|name_of_ref| sandbox.run("git", &["show", &format!("{name_of_ref}:{name}")]).stdout == content)
}

/// Reserves `t` as it is, once nobody who was killed can hold it any more.
fn next_owner(sandbox: &Sandbox, more: &[&str], about: &str) -> Ended {
    let reserve = words(&[&["agent", "reserve", "--thread", "t", "--resume"], more].concat());
    let mut answer = run_healed(sandbox, &reserve, about);
    eventually(Duration::from_secs(20), || {
        if answer.code == Some(3) {
            answer = run_healed(sandbox, &reserve, about);
        }
        answer.code != Some(3)
    });
    assert_eq!(answer.code, Some(0), "{about}: {answer:?}");
    answer
}

#[test]
fn what_a_killed_runner_leaves_is_the_next_owners() {
    let make = || {
        let line = "echo one >work; sync -d work; echo two >>work";
        let args = ["agent", "run", "--thread", "t", "--worktree", "--ready", "--task", "the task", "--"];
        (Sandbox::new(), words(&[&args[..], &["sh", "-c", line]].concat()))
    };
    kill_everywhere("run", make, |sandbox, about| {
        let next = next_owner(sandbox, &["--worktree"], about);
        let (session, tree) = (next.text("session_id"), next.text("path"));
        let file = Path::new(&tree).join("work");
        let written = fs::read_to_string(&file).unwrap_or_default();
        let args = ["-C", &tree, "agent", "capture", "--session", &session, "-m", "what was left"];
        let captured = sandbox.heddle(&args);
        assert_eq!(captured.code, Some(0), "{about}: {captured:?}");
        if captured.stderr.contains("HEAD.lock") {
            // Between making Git's lock on HEAD and noting which file it is.
            let healed =
                eventually(Duration::from_secs(20), || sandbox.heddle(&["doctor", "--fix"]).code == Some(0));
            assert!(healed, "{about}: {:?}", sandbox.heddle(&["doctor"]));
            sandbox.heddle(&args).ok();
        }
        // What the command wrote is on the thread, once.
        let kept = sandbox.run("git", &["show", &format!("{TIP}:work")]).stdout;
        assert_eq!(kept, written, "{about}");
        let count = sandbox.git(&["rev-list", "--count", &format!("main..{TIP}")]);
        assert_eq!(count, if written.is_empty() { "0" } else { "1" }, "{about}");
        sandbox.heddle(&["agent", "release", "--session", &session]).ok();
        assert_no_worktree(sandbox, about);
    });
}

#[test]
fn a_worktree_in_which_a_capture_died_is_the_next_owners() {
    if !has_strace() {
        return;
    }
    let make = || {
        let sandbox = Sandbox::new();
        let holder = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = holder.id().to_string();
        let args = ["agent", "reserve", "--thread", "t", "--worktree", "--hold-for-pid", &pid];
        let reserved = sandbox.heddle(&args).ok();
        let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
        fs::write(format!("{tree}/work"), "work\n").expect("write");
        let command = words(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "work"]);
        (sandbox, holder, command)
    };
    let end = |mut holder: std::process::Child| {
        holder.kill().expect("killed");
        holder.wait().expect("gone");
    };
    let (whole, holder, command) = make();
    assert_eq!(traced(&whole, &[], &command).code, Some(0));
    end(holder);
    let log = fs::read_to_string(whole.path("trace")).expect("a trace");
    let opened = log.lines().filter(|line| line.starts_with("openat("));
    let binding = opened.take_while(|line| !line.contains("heddle-worktree.json.new")).count() + 1;
    // As the binding is about to follow the ref.
    let (sandbox, holder, command) = make();
    traced(&sandbox, &["-e", &format!("inject=openat:signal=KILL:when={binding}")], &command);
    assert!(sandbox.has_whole_journal("t"));
    end(holder);
    let next = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]).ok();
    let (session, tree) = (next.text("session_id"), next.text("path"));
    sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "again"]).ok();
    assert_eq!(sandbox.git(&["log", "--format=%s", &format!("main..{TIP}")]), "work");
    assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "");
    sandbox.heddle(&["agent", "release", "--session", &session]).ok();
    assert_no_worktree(&sandbox, "after the next owner");
}

#[test]
fn a_killed_release_takes_its_worktree_along_the_next_time() {
    let make = || {
        let (sandbox, session, _) = working();
        let command = words(&["agent", "release", "--session", &session]);
        (sandbox, command)
    };
    kill_everywhere("release in a worktree", make, |sandbox, about| {
        let next = next_owner_after_release(sandbox, about);
        assert_eq!(sandbox.git(&["show", &format!("{TIP}:work")]), "work", "{about}");
        sandbox.heddle(&["agent", "release", "--session", &next]).ok();
        assert_no_worktree(sandbox, about);
    });
}

/// The next session on `t`; the one before, if it is still there, is released by force.
fn next_owner_after_release(sandbox: &Sandbox, about: &str) -> String {
    for session in sandbox.active("t") {
        let release = words(&["agent", "release", "--session", &session, "--force"]);
        let answer = run_healed(sandbox, &release, about);
        assert!(matches!(answer.code, Some(0 | 5)), "{about}: {answer:?}");
    }
    next_owner(sandbox, &["--worktree"], about).text("session_id")
}

#[test]
fn a_killed_drop_loses_nothing_and_another_finishes_it() {
    let drop = || words(&["thread", "drop", "t", "--force"]);
    let make = || {
        let (sandbox, _, tree) = working();
        fs::write(tree.join("loose"), "loose\n").expect("write");
        (sandbox, drop())
    };
    kill_everywhere("drop", make, |sandbox, about| {
        let again = run_healed(sandbox, &drop(), about);
        assert!(matches!(again.code, Some(0 | 1)), "{about}: {again:?}");
        assert_eq!(sandbox.commit(TIP), "", "{about}: {again:?}");
        assert!(is_kept(sandbox, "work", "work\n"), "{about}");
        assert!(is_kept(sandbox, "loose", "loose\n"), "{about}");
        assert_eq!(sandbox.active("t"), Vec::<String>::new(), "{about}");
        assert_no_worktree(sandbox, about);
    });
}

#[test]
fn a_killed_promotion_is_repeated() {
    let promote = || words(&["thread", "promote", "t", "--branch", "branch"]);
    let make = || {
        let (sandbox, session, _) = working();
        sandbox.heddle(&["agent", "release", "--session", &session]).ok();
        (sandbox, promote())
    };
    kill_everywhere("promote", make, |sandbox, about| {
        let again = run_healed(sandbox, &promote(), about);
        assert!(matches!(again.code, Some(0 | 1)), "{about}: {again:?}");
        assert_eq!(sandbox.commit("refs/heads/branch"), sandbox.commit(TIP), "{about}: {again:?}");
        assert_no_worktree(sandbox, about);
    });
}

#[test]
fn a_killed_heartbeat_is_repeated() {
    let make = || {
        let (sandbox, session, _) = working();
        let beat = ["agent", "heartbeat", "--session", &session, "--tool-calls", "7", "--progress", "half"];
        let command = words(&beat);
        (sandbox, command)
    };
    kill_everywhere("heartbeat", make, |sandbox, about| {
        let session = sandbox.active("t").remove(0);
        let beat = ["agent", "heartbeat", "--session", &session, "--tool-calls", "7"];
        let answer = run_healed(sandbox, &words(&beat), about);
        assert_eq!(answer.code, Some(0), "{about}: {answer:?}");
        assert_eq!(answer.json()["usage"]["tool_calls"], 7, "{about}");
        sandbox.assert_clean(about);
    });
}

#[test]
fn a_killed_collection_is_finished_by_the_next() {
    let make = || {
        let (sandbox, session, _) = working();
        // A landed thread, a dropped one, a worktree that serves nobody, and old events.
        sandbox.heddle(&["agent", "release", "--session", &session]).ok();
        sandbox.heddle(&["thread", "land", "t"]).ok();
        sandbox.heddle(&["agent", "reserve", "--thread", "d"]).ok();
        sandbox.heddle(&["thread", "drop", "d", "--force"]).ok();
        let mut holder = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = holder.id().to_string();
        let args = ["agent", "reserve", "--thread", "w", "--worktree", "--hold-for-pid", &pid];
        sandbox.heddle(&args).ok();
        holder.kill().expect("killed");
        holder.wait().expect("gone");
        sandbox.git(&["config", "heddle.retention", "0s"]);
        (sandbox, words(&["gc"]))
    };
    kill_everywhere("gc", make, |sandbox, about| {
        // What was landed is kept as dropped for a while, and so takes two.
        for _ in 0..2 {
            let again = run_healed(sandbox, &words(&["gc"]), about);
            assert_eq!(again.code, Some(0), "{about}: {again:?}");
        }
        let refs = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle"]);
        assert_eq!(refs, "refs/heddle/threads/w", "{about}");
        let ended = sandbox.git_dir().join("heddle/agents/ended");
        assert_eq!(files(&ended, &|name| name.ends_with(".json")), Vec::<PathBuf>::new(), "{about}");
        assert_eq!(sandbox.git(&["show", "main:work"]), "work", "{about}");
        assert_no_worktree(sandbox, about);
        // Generations go on where they were.
        let next = run_healed(sandbox, &words(&["agent", "reserve", "--thread", "t"]), about);
        assert_eq!(next.json()["generation"], 2, "{about}: {next:?}");
    });
}

#[test]
fn the_worktree_for_the_checks_of_a_killed_landing_goes_once_nobody_is_in_it() {
    let (sandbox, _, _) = working();
    let started = sandbox.path("started");
    let check = format!("echo $$ >'{0}.new'; mv '{0}.new' '{0}'; exec sleep 600", started.display());
    sandbox.git(&["config", "heddle.readyCommand", &check]);
    // Kills a landing in its check; the check.
    let kill_landing = || {
        let mut landing = sandbox.start(&["thread", "land", "t", "--check"]);
        assert!(eventually(Duration::from_secs(60), || started.exists()), "no check runs");
        landing.kill().expect("killed");
        landing.wait().expect("gone");
        let pid = fs::read_to_string(&started).expect("its process").trim().parse().expect("a number");
        fs::remove_file(&started).expect("removed");
        Pid::from_raw(pid)
    };
    let end = |check: Pid| {
        kill(check, Signal::SIGKILL).expect("killed");
        let folder = PathBuf::from(format!("/proc/{check}/cwd"));
        assert!(eventually(Duration::from_secs(20), || fs::read_link(&folder).is_err()), "it lives");
    };
    let left = || {
        let trees = sandbox.git(&["worktree", "list", "--porcelain"]);
        trees.lines().find(|line| line.contains("/heddle/heddle-land-")).map(|line| line[9..].to_owned())
    };

    let check = kill_landing();
    let tree = left().expect("a worktree for checks");
    sandbox.heddle(&["doctor", "--fix"]).ok();
    assert!(Path::new(&tree).is_dir(), "the check still works in it");
    end(check);
    // A landing that lives holds it, also between its threads.
    let id = Path::new(&tree).file_name().expect("a name");
    let alive = sandbox.git_dir().join("worktrees").join(id).join("heddle-alive");
    let alive = fs::File::open(alive).expect("its lock");
    alive.lock().expect("locked");
    sandbox.heddle(&["doctor", "--fix"]).ok();
    assert!(Path::new(&tree).is_dir(), "a landing uses it");
    drop(alive);
    let found = sandbox.heddle(&["doctor", "--json"]);
    let finding = &found.json()["findings"][0];
    assert_eq!((finding["kind"].as_str(), finding["path"].as_str()), (Some("leftover_file"), Some(&*tree)));
    sandbox.heddle(&["doctor", "--fix"]).ok();
    assert_eq!((left(), Path::new(&tree).exists()), (None, false));

    end(kill_landing());
    let tree = left().expect("another one");
    // As a git leaves it that was killed while it removed it.
    fs::remove_file(Path::new(&tree).join(".git")).expect("removed");
    sandbox.heddle(&["thread", "land", "t"]).ok();
    assert_eq!((left(), Path::new(&tree).exists()), (None, false));
    assert_no_worktree(&sandbox, "landed");
}
