//! Stopped in the middle of whatever it writes, robbed of its thread, and woken up: a session
//! that was replaced never moves a ref, and a lock that its stopped process holds is respected.
//!
//! Each command is run once whole under strace, to learn which calls it makes that change
//! something; then once for each of them, stopped by the system as the call returns. One in
//! [`STRIDE`] of the calls is tried, from `HEDDLE_ZOMBIE_SEED` on; `HEDDLE_ZOMBIES=all` tries all.

mod support_kills;
mod support_processes;

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support_kills::{has_strace, points, traced, tracer, words};
use support_processes::{Ended, Picked, Sandbox, eventually};

const TIP: &str = "refs/heddle/threads/t";
const STRIDE: usize = 6;

/// A session on `t`, and what it is about to do.
struct Ready {
    sandbox: Sandbox,
    session: String,
    command: Vec<String>,
}

/// How often what came of it.
#[derive(Debug, Default)]
struct Seen {
    robbed: usize,
    too_late: usize,
    respected: usize,
}

/// The process that `tracer` runs, once it has been stopped; `None` if it has ended before.
fn stopped(tracer: &mut Child, sandbox: &Sandbox) -> Option<Pid> {
    let log = sandbox.path("trace");
    let mut over = false;
    let seen = eventually(Duration::from_secs(30), || {
        over = tracer.try_wait().expect("state").is_some();
        over || fs::read_to_string(&log).is_ok_and(|text| text.contains("--- stopped by SIGSTOP ---"))
    });
    assert!(seen, "it neither stops nor ends");
    let children = format!("/proc/{0}/task/{0}/children", tracer.id());
    let child = fs::read_to_string(children).unwrap_or_default();
    child.split_whitespace().next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw).filter(|_| !over)
}

fn stop_everywhere(name: &str, make: impl Fn() -> Ready) {
    if !has_strace() {
        return;
    }
    let whole = make();
    let answer = traced(&whole.sandbox, &[], &whole.command);
    assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
    let picked = Picked::of("HEDDLE_ZOMBIES", "HEDDLE_ZOMBIE_SEED", STRIDE);
    let mut seen = Seen::default();
    for (call, number) in picked.these(points(&whole.sandbox)) {
        let about = format!("{name}, stopped after {call} {number}");
        stop_at(&about, make(), &call, number, &mut seen);
    }
    println!("{name}: {seen:?}");
    assert!(seen.robbed > 0 && seen.respected > 0, "{name}: {seen:?}");
}

fn stop_at(about: &str, ready: Ready, call: &str, number: usize, seen: &mut Seen) {
    let Ready { sandbox, session, command } = ready;
    let refs = || sandbox.git(&["for-each-ref", "refs/heddle"]);
    let inject = format!("inject={call}:signal=STOP:when={number}");
    let mut tracer = tracer(&sandbox, &["-e", &inject], &command).spawn().expect("strace");
    let Some(zombie) = stopped(&mut tracer, &sandbox) else {
        assert_eq!(Ended::new(&tracer.wait_with_output().expect("ended")).code, Some(0), "{about}");
        return;
    };
    sandbox.git(&["config", "heddle.lockTimeout", "50ms"]);
    let released = sandbox.heddle(&["agent", "release", "--session", &session, "--force"]);
    let next = (released.code == Some(0))
        .then(|| sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume"]).ok().text("session_id"));
    sandbox.git(&["config", "heddle.lockTimeout", "10s"]);
    let before = refs();
    kill(zombie, Signal::SIGCONT).expect("continued");
    let woken = Ended::new(&tracer.wait_with_output().expect("ended"));
    match &next {
        Some(next) => {
            assert_eq!(refs(), before, "{about}: {woken:?}");
            assert_eq!(sandbox.active("t"), std::slice::from_ref(next), "{about}");
            match woken.code {
                // It had done its work before.
                Some(0) => seen.too_late += 1,
                // Its worktree may be gone too.
                code => {
                    let refused = matches!(code, Some(1 | 3..=5 | 128)) && woken.stderr.contains("error: ");
                    assert!(refused, "{about}: {woken:?}");
                    seen.robbed += 1;
                }
            }
        }
        None => {
            assert_eq!(released.code, Some(75), "{about}: {released:?}");
            assert!(released.stderr.contains("stopped"), "{about}: {released:?}");
            assert_eq!(woken.code, Some(0), "{about}: {woken:?}");
            seen.respected += 1;
        }
    }
    let tip = sandbox.commit(TIP);
    if woken.code == Some(0)
        && let Some(commit) = woken.json()["commit"].as_str()
    {
        assert!(sandbox.reaches(&tip, commit), "{about}: {commit} was reported and lost");
    }
    sandbox.assert_clean(about);
    // Whoever owns the thread now works on as if nothing had been.
    let owner = next.unwrap_or(session);
    let args = ["-C", "other", "agent", "capture", "--session", &owner, "--allow-empty", "-m", "after"];
    if woken.code != Some(0) {
        sandbox.git(&["worktree", "add", "-q", "--detach", "other", &tip]);
        let after = sandbox.heddle(&args).ok();
        assert_eq!(after.text("parent"), tip, "{about}");
        sandbox.assert_clean(about);
    }
}

fn here() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let session = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    (sandbox, session)
}

fn in_a_worktree() -> (Sandbox, String, PathBuf) {
    let sandbox = Sandbox::new();
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
    let (session, tree) = (reserved.text("session_id"), PathBuf::from(reserved.text("path")));
    fs::write(tree.join("work"), "work\n").expect("write");
    (sandbox, session, tree)
}

#[test]
fn a_capture_that_is_stopped_anywhere_never_moves_a_lost_thread() {
    stop_everywhere("capture", || {
        let (sandbox, session) = here();
        sandbox.write("work", "work\n");
        let command = words(&["agent", "capture", "--session", &session, "-m", "work"]);
        Ready { sandbox, session, command }
    });
}

#[test]
fn a_capture_in_a_worktree_of_its_own_that_is_stopped_anywhere_never_moves_a_lost_thread() {
    stop_everywhere("capture in a worktree", || {
        let (sandbox, session, tree) = in_a_worktree();
        let tree = tree.to_string_lossy();
        let command = words(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "work"]);
        Ready { sandbox, session, command }
    });
}

#[test]
fn a_ready_that_is_stopped_anywhere_never_marks_a_lost_thread() {
    stop_everywhere("ready", || {
        let (sandbox, session, tree) = in_a_worktree();
        let tree = tree.to_string_lossy();
        let command = words(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]);
        Ready { sandbox, session, command }
    });
}

#[test]
fn a_refresh_that_is_stopped_anywhere_never_moves_a_lost_thread() {
    stop_everywhere("refresh", || {
        let (sandbox, session, tree) = in_a_worktree();
        let tree = tree.to_string_lossy();
        sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "work"]).ok();
        sandbox.write("more", "more\n");
        sandbox.git(&["add", "more"]);
        sandbox.git(&["commit", "-q", "-m", "more"]);
        let command = words(&["thread", "refresh", "t", "--session", &session]);
        Ready { sandbox, session, command }
    });
}

#[test]
fn a_rename_that_is_stopped_anywhere_never_moves_a_lost_thread() {
    stop_everywhere("rename", || {
        let (sandbox, session) = here();
        let command = words(&["thread", "rename", "t", "u", "--session", &session]);
        Ready { sandbox, session, command }
    });
}
