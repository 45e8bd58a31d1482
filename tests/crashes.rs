//! Killed at every call that writes: the next command on the thread repairs what is left.
//!
//! Each command is first run whole under strace, to learn which calls it makes that can
//! change something; then once for every such call, killed as it enters that call. So the
//! disk is seen in every state that a `kill -9` can leave it in.
//!
//! One in [`STRIDE`] of the calls is tried, from `HEDDLE_KILL_SEED` on; `HEDDLE_KILLS=all` tries
//! all.

mod support_kills;
mod support_processes;

use std::fs;
use std::time::Duration;

use support_kills::{has_strace, points, run, run_healed, traced, words};
use support_processes::{Picked, Sandbox, eventually};

const STRIDE: usize = 8;

/// The calls of a whole run to be killed at.
fn picked(whole: &Sandbox) -> (Picked, Vec<(String, usize)>) {
    let picked = Picked::of("HEDDLE_KILLS", "HEDDLE_KILL_SEED", STRIDE);
    let points = picked.these(points(whole));
    (picked, points)
}

/// What a case has made ready.
struct Ready {
    sandbox: Sandbox,
    /// The command to kill.
    command: Vec<String>,
    /// The command that comes after.
    next: Vec<String>,
}

/// What was seen in all runs of a case.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    completed: usize,
    refused_live: usize,
    orphaned_locks: usize,
}

/// Kills the command of a case at every point, and each time lets the next one repair.
fn crash_everywhere(name: &str, make: impl Fn() -> Ready) {
    if !has_strace() {
        return;
    }
    let whole = make();
    let answer = traced(&whole.sandbox, &[], &whole.command);
    assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
    let (picked, points) = picked(&whole.sandbox);
    let mut seen = Seen::default();
    for (call, number) in points {
        let about = format!("{name}, killed at {call} {number}");
        crash_at(&about, make(), &call, number, &mut seen);
    }
    println!("{name}: {seen:?}");
    assert!(seen.kills > if picked.all { 10 } else { 0 }, "{name}: {seen:?}");
    // Between making Git's lock and the journal: two calls, and two more for a second ref.
    assert!(seen.orphaned_locks <= 6, "{name}: {seen:?}");
}

fn crash_at(about: &str, ready: Ready, call: &str, number: usize, seen: &mut Seen) {
    let Ready { sandbox, command, next } = ready;
    let before = sandbox.commit("refs/heddle/threads/t");
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let killed = traced(&sandbox, &["-e", &inject], &command);
    match killed.code {
        Some(0) => seen.completed += 1,
        None => seen.kills += 1,
        code => assert!(code == Some(137), "{about}: {killed:?}"),
    }
    let reported = killed.json();
    let mut locks = sandbox.ref_locks();
    locks.retain(|_| !sandbox.has_whole_journal("t"));
    // Only to make the one refusal that waits come soon.
    sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
    let mut answer = run(&next, &sandbox);
    if answer.code == Some(75) {
        assert!(!locks.is_empty(), "{about}: busy without an orphaned lock: {answer:?}");
        seen.orphaned_locks += 1;
        // Git processes of other tests may hold it, for all the doctor can know.
        let healed = eventually(Duration::from_secs(20), || {
            sandbox.heddle(&["doctor", "--fix"]);
            sandbox.ref_locks().is_empty()
        });
        assert!(healed, "{about}: {:?}", sandbox.heddle(&["doctor"]));
        answer = run(&next, &sandbox);
    } else {
        // A git that held it for us may have given it back by now.
        let given_back = support_processes::format::asked().reftable;
        assert!(locks.is_empty() || given_back, "{about}: an orphaned lock was not respected: {answer:?}");
    }
    let reserves = next.iter().any(|word| word == "reserve");
    if reserves && answer.code == Some(3) {
        // Its lease runs: nobody can know that its process was killed.
        seen.refused_live += 1;
        let owner = answer.json()["owner"]["session_id"].clone();
        assert_eq!(owner, sandbox.record("threads/t.json")["owner"], "{about}: {answer:?}");
    } else {
        assert_eq!(answer.code, Some(0), "{about}: {answer:?}");
    }
    sandbox.assert_clean(about);
    let active = sandbox.active("t");
    assert!(active.len() <= 1, "{about}: {active:?}");
    let tip = sandbox.commit("refs/heddle/threads/t");
    if let Some(commit) = reported["commit"].as_str() {
        assert!(sandbox.reaches(&tip, commit), "{about}: {commit} was reported and lost");
    }
    if !before.is_empty() {
        assert!(sandbox.reaches(&tip, &before), "{about}: {before} was lost");
    }
    // Whoever owns the thread now can capture, once, whatever was there before.
    let id = active.first().cloned().unwrap_or_else(|| {
        sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume"]).ok().text("session_id")
    });
    sandbox.write("work", "after\n");
    let after = sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "after"]);
    assert_eq!(after.code, Some(0), "{about}: {after:?}");
    let count = sandbox.git(&["rev-list", "--count", "main..refs/heddle/threads/t"]);
    assert!(count == "1" || (count == "2" && !reserves), "{about}: {count} commits");
    let scratch = fs::read_dir(sandbox.git_dir()).expect("Git directory").flatten();
    let left = scratch.filter(|entry| entry.file_name().to_string_lossy().starts_with("heddle-scratch"));
    assert_eq!(left.count(), 0, "{about}");
    sandbox.assert_clean(about);
}

fn reserved(sandbox: &Sandbox) -> String {
    sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id")
}

#[test]
fn a_killed_reserve_of_a_new_thread_is_repaired() {
    crash_everywhere("reserve", || Ready {
        sandbox: Sandbox::new(),
        command: words(&["agent", "reserve", "--thread", "t"]),
        next: words(&["agent", "reserve", "--thread", "t", "--resume"]),
    });
}

#[test]
fn a_killed_takeover_is_repaired() {
    crash_everywhere("takeover", || Ready {
        sandbox: Sandbox::with_a_dead_owner(),
        command: words(&["agent", "reserve", "--thread", "t"]),
        next: words(&["agent", "reserve", "--thread", "t", "--resume"]),
    });
}

#[test]
fn a_killed_capture_is_repaired() {
    crash_everywhere("capture", || {
        let sandbox = Sandbox::new();
        let id = reserved(&sandbox);
        sandbox.write("work", "work\n");
        let command = words(&["agent", "capture", "--session", &id, "-m", "work"]);
        Ready { sandbox, next: command.clone(), command }
    });
}

#[test]
fn a_killed_landing_of_a_plain_commit_is_repaired() {
    crash_everywhere("the landing of a commit", || {
        let sandbox = Sandbox::new();
        let id = reserved(&sandbox);
        let by_hand = |name: &str| {
            let around = ["-c", "core.hooksPath=/dev/null"];
            sandbox.git(&[&around[..], &["commit", "-q", "--allow-empty", "-m", name]].concat());
            sandbox.commit("HEAD")
        };
        let capture = words(&["agent", "capture", "--session", &id, "-m", "work"]);
        by_hand("adopted");
        run(&capture, &sandbox).ok();
        let line = format!("{} {} HEAD", "0".repeat(40), by_hand("to land"));
        let command = words(&["hooks", "run", "reference-transaction", "committed", &line]);
        Ready { sandbox, command, next: capture }
    });
}

#[test]
fn a_killed_ready_is_repaired() {
    crash_everywhere("ready", || {
        let sandbox = Sandbox::new();
        let id = reserved(&sandbox);
        sandbox.write("work", "work\n");
        let command = words(&["agent", "ready", "--session", &id, "-m", "work"]);
        Ready { sandbox, next: command.clone(), command }
    });
}

#[test]
fn a_killed_release_is_repaired() {
    crash_everywhere("release", || {
        let sandbox = Sandbox::new();
        let id = reserved(&sandbox);
        let command = words(&["agent", "release", "--session", &id]);
        Ready { sandbox, next: command.clone(), command }
    });
}

#[test]
fn a_killed_capture_in_a_worktree_of_its_own_is_repaired() {
    if !has_strace() {
        return;
    }
    let make = || {
        let sandbox = Sandbox::new();
        let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
        let (id, tree) = (reserved.text("session_id"), reserved.text("path"));
        fs::write(format!("{tree}/work"), "work\n").expect("write");
        (sandbox, words(&["-C", &tree, "agent", "capture", "--session", &id, "-m", "work"]), tree)
    };
    let (whole, command, _) = make();
    assert_eq!(traced(&whole, &[], &command).code, Some(0));
    let mut orphaned = 0;
    for (call, number) in picked(&whole).1 {
        let about = format!("capture in a worktree, killed at {call} {number}");
        let (sandbox, command, tree) = make();
        traced(&sandbox, &["-e", &format!("inject={call}:signal=KILL:when={number}")], &command);
        sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
        let mut next = run(&command, &sandbox);
        if next.code == Some(75) {
            let healed = eventually(Duration::from_secs(20), || {
                sandbox.heddle(&["doctor", "--fix"]);
                sandbox.ref_locks().is_empty()
            });
            assert!(healed, "{about}: {next:?}");
            next = run(&command, &sandbox);
        }
        assert_eq!(next.code, Some(0), "{about}: {next:?}");
        if next.stderr.contains("HEAD.lock") {
            // Between making Git's lock on HEAD and noting which file it is.
            orphaned += 1;
            let healed =
                eventually(Duration::from_secs(20), || sandbox.heddle(&["doctor", "--fix"]).code == Some(0));
            assert!(healed, "{about}: {:?}", sandbox.heddle(&["doctor"]));
            run(&command, &sandbox).ok();
        }
        let tip = sandbox.commit("refs/heddle/threads/t");
        assert_eq!(sandbox.git(&["rev-list", "--count", &format!("main..{tip}")]), "1", "{about}");
        assert_eq!(sandbox.git(&["-C", &tree, "rev-parse", "HEAD"]), tip, "{about}");
        assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "", "{about}: {next:?}");
        sandbox.assert_clean(&about);
    }
    assert!(orphaned <= 3, "{orphaned}");
}

#[test]
fn a_killed_reserve_with_a_worktree_is_repaired() {
    if !has_strace() {
        return;
    }
    let command = words(&["agent", "reserve", "--thread", "t", "--worktree"]);
    let whole = Sandbox::new();
    assert_eq!(traced(&whole, &[], &command).code, Some(0));
    for (call, number) in picked(&whole).1 {
        let about = format!("reserve with a worktree, killed at {call} {number}");
        let sandbox = Sandbox::new();
        traced(&sandbox, &["-e", &format!("inject={call}:signal=KILL:when={number}")], &command);
        sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
        let next = words(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
        let mut answer = run(&next, &sandbox);
        if answer.code == Some(75) {
            let healed = eventually(Duration::from_secs(20), || {
                sandbox.heddle(&["doctor", "--fix"]);
                sandbox.ref_locks().is_empty()
            });
            assert!(healed, "{about}: {answer:?}");
            answer = run(&next, &sandbox);
        }
        if answer.code == Some(3) {
            // Its lease runs: nobody can know that its process was killed.
            let owner = answer.json()["owner"]["session_id"].as_str().expect("an owner").to_owned();
            sandbox.heddle(&["agent", "release", "--session", &owner, "--force"]).ok();
            answer = run(&next, &sandbox);
        }
        assert_eq!(answer.code, Some(0), "{about}: {answer:?}");
        let tree = answer.text("path");
        assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "", "{about}");
        sandbox.heddle(&["agent", "release", "--session", &answer.text("session_id")]).ok();
        assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
        assert!(!sandbox.path("repo.heddle").exists(), "{about}");
        sandbox.assert_clean(&about);
    }
}

/// A thread `t` with a capture in a worktree of its own, marked ready; session and worktree.
fn ready_in_a_worktree(sandbox: &Sandbox) -> (String, String) {
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
    let (id, tree) = (reserved.text("session_id"), reserved.text("path"));
    fs::write(format!("{tree}/work"), "work\n").expect("write");
    sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &id, "-m", "work"]).ok();
    (id, tree)
}

/// A rename from `t` to `u`, killed everywhere; `name` is what is written to next.
fn rename_is_repaired_by_a_command_on(name: &str) {
    if !has_strace() {
        return;
    }
    let rename = |id: &str| words(&["thread", "rename", "t", "u", "--session", id]);
    let whole = Sandbox::new();
    let (id, _) = ready_in_a_worktree(&whole);
    assert_eq!(traced(&whole, &[], &rename(&id)).code, Some(0));
    let (mut finished, mut undone, mut elsewhere) = (0, 0, 0);
    let (picked, points) = picked(&whole);
    for (call, number) in points {
        let about = format!("rename, killed at {call} {number}, then {name}");
        let sandbox = Sandbox::new();
        let (id, tree) = ready_in_a_worktree(&sandbox);
        let tip = sandbox.commit("refs/heddle/threads/t");
        traced(&sandbox, &["-e", &format!("inject={call}:signal=KILL:when={number}")], &rename(&id));
        let next = words(&["agent", "reserve", "--thread", name, "--resume"]);
        let answer = run_healed(&sandbox, &next, &about);
        // Before the last journal is written, and after the first is removed, a command on the old
        // name has nothing to repair, and locks of Git's may be in nobody's way yet.
        let left = support_processes::files(&sandbox.git_dir(), &|name| name.ends_with(".journal"));
        if !sandbox.ref_locks().is_empty() || !left.is_empty() {
            elsewhere += 1;
            assert!(left.iter().all(|path| !path.ends_with(format!("{name}.journal"))), "{about}: {left:?}");
            let healed = eventually(Duration::from_secs(20), || {
                sandbox.heddle(&["doctor", "--fix"]);
                sandbox.ref_locks().is_empty()
            });
            assert!(healed, "{about}: {:?}", sandbox.heddle(&["doctor"]));
        }
        // The thread has one of its names, and the other is free.
        let now = sandbox.heddle(&["agent", "show", &id]).ok().text("thread");
        if now == "u" {
            finished += 1
        } else {
            undone += 1
        }
        assert_eq!(answer.code, Some(if now == name { 3 } else { 0 }), "{about}: {answer:?}");
        let other = if now == "u" { "t" } else { "u" };
        for kind in ["threads", "ready"] {
            assert_eq!(sandbox.commit(&format!("refs/heddle/{kind}/{now}")), tip, "{about}");
        }
        assert_eq!(sandbox.commit(&format!("refs/heddle/ready/{other}")), "", "{about}");
        let main = sandbox.commit("main");
        let made = if other == name { main.as_str() } else { "" };
        assert_eq!(sandbox.commit(&format!("refs/heddle/threads/{other}")), made, "{about}");
        let log = sandbox.git(&["reflog", "--format=%H", &format!("refs/heddle/threads/{now}")]);
        // In tables the log of another name begins anew.
        let first = if support_processes::format::asked().reftable && now == "u" { &tip } else { &main };
        assert!(log.lines().any(|line| line == first), "{about}: {log}");
        if answer.code == Some(0) {
            let generation = answer.json()["generation"].as_u64();
            assert_eq!(generation, Some(if name == "t" { 2 } else { 1 }), "{about}");
        }
        sandbox.assert_clean(&about);
        let staged = support_processes::files(&sandbox.git_dir(), &|name| name.ends_with(".reflog"));
        assert_eq!(staged, Vec::<std::path::PathBuf>::new(), "{about}");
        // The session goes on, from the worktree that it has.
        fs::write(format!("{tree}/more"), "more\n").expect("write");
        let capture = words(&["-C", &tree, "agent", "capture", "--session", &id, "-m", "more"]);
        assert_eq!(run(&capture, &sandbox).code, Some(0), "{about}");
        let count = sandbox.git(&["rev-list", "--count", &format!("main..refs/heddle/threads/{now}")]);
        assert_eq!(count, "2", "{about}");
        // Another try does what this one did not.
        if now == "t" && name != "u" {
            assert_eq!(run(&rename(&id), &sandbox).code, Some(0), "{about}");
            assert_eq!(sandbox.heddle(&["agent", "show", &id]).ok().text("thread"), "u", "{about}");
        }
        sandbox.assert_clean(&about);
    }
    let counts = format!("{finished} finished, {undone} undone, {elsewhere} with something left elsewhere");
    println!("rename, then {name}: {counts}");
    // Each of three locks takes two calls, and each journal three.
    assert!(finished + undone > 0 && elsewhere <= 12, "{counts}");
    assert!(!picked.all || finished > 5 && undone > 5, "{counts}");
}

#[test]
fn a_killed_rename_is_repaired_by_a_command_on_the_old_name() {
    rename_is_repaired_by_a_command_on("t");
}

#[test]
fn a_killed_rename_is_repaired_by_a_command_on_the_new_name() {
    rename_is_repaired_by_a_command_on("u");
}

/// A refresh of `t` that moves its worktree, in which a file lies uncommitted, killed
/// everywhere; what comes next is `next`.
fn refresh_is_repaired(name: &str, next: impl Fn(&str, &str) -> Vec<String>) {
    if !has_strace() {
        return;
    }
    let make = || {
        let sandbox = Sandbox::new();
        let (id, tree) = ready_in_a_worktree(&sandbox);
        for file in ["first", "second"] {
            sandbox.write(file, "changed\n");
            sandbox.git(&["add", file]);
        }
        sandbox.git(&["commit", "-q", "-m", "meanwhile"]);
        fs::write(format!("{tree}/loose"), "loose\n").expect("write");
        (sandbox, id, tree)
    };
    let refresh = |id: &str| words(&["thread", "refresh", "t", "--session", id]);
    let (whole, id, _) = make();
    assert_eq!(traced(&whole, &[], &refresh(&id)).code, Some(0));
    let (mut before, mut after) = (0, 0);
    let (picked, points) = picked(&whole);
    for (call, number) in points {
        let about = format!("refresh, killed at {call} {number}, then {name}");
        let (sandbox, id, tree) = make();
        let old = sandbox.commit("refs/heddle/threads/t");
        traced(&sandbox, &["-e", &format!("inject={call}:signal=KILL:when={number}")], &refresh(&id));
        if sandbox.commit("refs/heddle/threads/t") == old {
            before += 1
        } else {
            after += 1
        }
        let next = next(&id, &tree);
        let mut answer = run_healed(&sandbox, &next, &about);
        let head_lock = sandbox.git_dir().join("worktrees/t/HEAD.lock");
        if answer.code == Some(4) {
            // As its hint says.
            assert!(answer.stderr.contains("git heddle thread refresh t"), "{about}: {answer:?}");
        }
        if head_lock.exists() {
            // Between making Git's lock on HEAD and noting which file it is.
            let healed =
                eventually(Duration::from_secs(20), || sandbox.heddle(&["doctor", "--fix"]).code == Some(0));
            assert!(healed, "{about}: {:?}", sandbox.heddle(&["doctor"]));
        }
        if answer.code != Some(0) {
            assert_eq!(run(&refresh(&id), &sandbox).code, Some(0), "{about}: {answer:?}");
            answer = run(&next, &sandbox);
        }
        assert_eq!(answer.code, Some(0), "{about}: {answer:?}");
        // Whatever it came to before: the thread is on main, with its own commits, once.
        assert_eq!(run(&refresh(&id), &sandbox).code, Some(0), "{about}");
        let tip = sandbox.commit("refs/heddle/threads/t");
        let subjects = sandbox.git(&["log", "--format=%s", &format!("main..{tip}")]);
        let captured = name == "capture";
        assert_eq!(subjects, if captured { "loose\nwork" } else { "work" }, "{about}");
        assert!(sandbox.reaches(&tip, "main"), "{about}");
        let log = sandbox.git(&["reflog", "--format=%H", "refs/heddle/threads/t"]);
        assert!(log.lines().any(|line| line == old), "{about}: {log}");
        assert_eq!(sandbox.git(&["-C", &tree, "rev-parse", "HEAD"]), tip, "{about}");
        let status = sandbox.git(&["-C", &tree, "status", "--porcelain"]);
        assert_eq!(status, if captured { "" } else { "?? loose" }, "{about}: {answer:?}");
        assert_eq!(sandbox.git(&["show", &format!("{tip}:first")]), "changed", "{about}");
        assert!(!sandbox.git_dir().join("worktrees/t/heddle-move").exists(), "{about}");
        sandbox.assert_clean(&about);
    }
    println!("refresh, then {name}: the tip had moved {after} times, and {before} times not");
    assert!(!picked.all || before > 10 && after > 10, "{before} before, {after} after");
}

#[test]
fn a_killed_refresh_is_repaired_by_another() {
    refresh_is_repaired("refresh", |id, _| words(&["thread", "refresh", "t", "--session", id]));
}

#[test]
fn a_killed_refresh_is_repaired_by_a_capture() {
    refresh_is_repaired("capture", |id, tree| {
        words(&["-C", tree, "agent", "capture", "--session", id, "-m", "loose"])
    });
}
