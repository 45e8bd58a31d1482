//! `reserve --wait` with many waiters: in the order of arrival, and one woken at a time.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Answer, Sandbox, text};

const WAITERS: usize = 20;

/// Whether the kernel has `pid` in a queue for a file lock, or, for the first, in possession.
fn stands_in_line(pid: u32, inode: u64) -> bool {
    let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
    let of_file = format!(":{inode} ");
    locks.lines().any(|line| line.contains(&of_file) && line.contains(&format!(" {pid} ")))
}

/// How often a thread of `pid` that stands in line gave up the processor to wait for something. (Its
/// first thread looks at the clock.)
fn waits(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    let of_task = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count")
    };
    let first = pid.to_string();
    tasks.flatten().filter(|task| task.file_name() != first.as_str()).map(of_task).sum()
}

/// Starts a waiter, and returns once it stands in line behind those before it.
fn line_up(sandbox: &Sandbox) -> Child {
    use std::os::unix::fs::MetadataExt as _;
    let waiter = sandbox
        .command(&["agent", "reserve", "--thread", "t", "--wait=10m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git-heddle");
    let queue = sandbox.state("locks/t.queue");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::metadata(&queue).is_ok_and(|queue| stands_in_line(waiter.id(), queue.ino())) {
        assert!(Instant::now() < deadline, "the waiter does not line up");
        std::thread::sleep(Duration::from_millis(2));
    }
    waiter
}

#[test]
fn many_waiters_get_the_thread_in_the_order_of_arrival_and_only_the_first_is_woken() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.fsync", "false"]);
    let mut owner = text(&sandbox.reserve("t", &[]), "session_id");
    let mut waiters: Vec<Child> = (0..WAITERS).map(|_| line_up(&sandbox)).collect();
    let last_half: Vec<u32> = waiters.iter().skip(WAITERS / 2).map(Child::id).collect();
    // Whoever has just lined up may still be on its way to sleep.
    let asleep = || {
        let before: Vec<u64> = last_half.iter().map(|pid| waits(*pid)).collect();
        std::thread::sleep(Duration::from_millis(50));
        (last_half.iter().map(|pid| waits(*pid)).collect::<Vec<u64>>() == before).then_some(before)
    };
    let before = loop {
        if let Some(before) = asleep() {
            break before;
        }
    };
    for (at, waiter) in waiters.drain(..).enumerate() {
        if at == WAITERS / 2 - 1 {
            // Nine have had the thread, and those far behind have slept through all of it.
            let now: Vec<u64> = last_half.iter().map(|pid| waits(*pid)).collect();
            assert_eq!(now, before);
        }
        sandbox.heddle(&["agent", "release", "--session", &owner]).exits(0);
        let answer = Answer::of(&waiter.wait_with_output().expect("waiter")).exits(0).json();
        assert_eq!(answer["generation"], at + 2, "waiter {at}");
        owner = text(&answer, "session_id");
    }
}

#[test]
fn a_thread_that_is_free_does_not_wait_for_a_stopped_waiter() {
    let sandbox = Sandbox::new();
    let owner = text(&sandbox.reserve("t", &[]), "session_id");
    let mut stopped = line_up(&sandbox);
    let next = line_up(&sandbox);
    let signal = |name: &str| {
        let told = std::process::Command::new("kill").args([name, &stopped.id().to_string()]).status();
        assert!(told.expect("kill").success());
    };
    signal("-STOP");
    sandbox.heddle(&["agent", "release", "--session", &owner]).exits(0);
    let answer = Answer::of(&next.wait_with_output().expect("waiter")).exits(0).json();
    assert_eq!(answer["generation"], 2);
    // Who waits in vain is told whose the thread is by now.
    let late = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--wait=1s"]).exits(3);
    assert!(late.stderr.contains(&text(&answer, "session_id")), "{late:?}");
    signal("-CONT");
    sandbox.heddle(&["agent", "release", "--session", &text(&answer, "session_id")]).exits(0);
    assert!(stopped.wait().expect("waiter").success());
}
