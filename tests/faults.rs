//! Every call to the file system fails once: the command says so and has changed nothing, or
//! it did what it reports.
//!
//! A command is run once under strace, to learn how often it (with the Git processes that it
//! starts) makes which call; then once for each of them and an error that the system can give
//! there. One in [`STRIDE`] of the calls is tried, each with one error in turn, from
//! `HEDDLE_FAULT_SEED` on; `HEDDLE_FAULTS=all` tries every error at every call.

mod support_faults;
mod support_processes;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use support_faults::{Case, check, strs};
use support_processes::{BINARY, Ended, Sandbox, from_environment, read, restore};

const STRIDE: u64 = 9;

/// What may go wrong where.
const ERRORS: [(&str, &[&str]); 12] = [
    ("openat", &["EACCES", "EMFILE", "EIO", "ENOSPC", "EROFS", "EINTR"]),
    ("read", &["EIO", "EINTR"]),
    ("write", &["ENOSPC", "EIO", "EINTR"]),
    ("pwrite64", &["ENOSPC", "EIO"]),
    ("fsync", &["EIO", "ENOSPC", "EINTR"]),
    ("rename", &["EACCES", "ENOSPC", "EIO", "EROFS"]),
    ("link", &["EACCES", "ENOSPC", "EPERM"]),
    ("unlink", &["EACCES", "EIO", "EROFS"]),
    ("rmdir", &["EACCES", "EIO"]),
    ("mkdir", &["ENOSPC", "EACCES", "EROFS"]),
    ("ftruncate", &["EIO"]),
    ("copy_file_range", &["EIO", "ENOSPC"]),
];

fn traced(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Ended {
    let log = sandbox.path("trace");
    let log = log.to_string_lossy();
    let calls: Vec<&str> = ERRORS.iter().map(|(call, _)| *call).collect();
    let trace = format!("trace={}", calls.join(","));
    // One that hangs is killed, which is no answer.
    let args =
        [&["-s", "KILL", "60", "strace", "-f", "-qq", "-o", &log, "-e", &trace], options, &[BINARY], command]
            .concat();
    sandbox.run("timeout", &args)
}

/// How often the busiest process makes each call: strace counts each process apart.
fn counts(sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let log = fs::read_to_string(sandbox.path("trace")).expect("what strace wrote");
    let mut each: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in log.lines().filter(|line| !line.contains(" resumed>")) {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        *each.entry((pid, name)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in each {
        let known = most.entry(name.to_owned()).or_insert(0);
        *known = count.max(*known);
    }
    most
}

fn fail_everywhere(sandbox: &Sandbox, case: &Case) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace here");
        return;
    }
    let (name, top) = (case.name, sandbox.worktree());
    let before = read(&top);
    let refs = sandbox.git(&["for-each-ref"]);
    let whole = traced(sandbox, &[], &strs(&case.command)).ok();
    (case.done)(sandbox, &whole);
    let all = std::env::var_os("HEDDLE_FAULTS").is_some_and(|value| value == "all");
    let seed = from_environment("HEDDLE_FAULT_SEED", u64::from(std::process::id()));
    let (mut tried, mut failed, mut seen) = (0, 0, seed);
    for (call, count) in counts(sandbox) {
        let (_, errors) = ERRORS.iter().find(|(name, _)| *name == call).expect("a call that is traced");
        for number in 1..=count {
            seen += 1;
            if !all && !seen.is_multiple_of(STRIDE) {
                continue;
            }
            let turn = &errors[number % errors.len()];
            for error in if all { errors } else { std::slice::from_ref(turn) } {
                restore(&top, &before);
                let inject = format!("inject={call}:error={error}:when={number}");
                let answer = traced(sandbox, &["-e", &inject], &strs(&case.command));
                let about = format!("{name}, {call} {number} fails with {error} (HEDDLE_FAULT_SEED={seed})");
                println!("{about}: {:?}", answer.code);
                tried += 1;
                failed += usize::from(answer.code != Some(0));
                check(sandbox, case, (&before, &refs), &answer, &about);
            }
        }
    }
    println!("{name}: {tried} faults, {failed} failures (HEDDLE_FAULT_SEED={seed})");
    let enough = if all { tried > 10 && failed > 0 && failed < tried } else { tried > 2 };
    assert!(enough, "{name}: {tried} faults, {failed} failures");
}

#[test]
fn a_reserve_that_fails_leaves_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::reserve(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_heartbeat_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::heartbeat(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_capture_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::capture(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_release_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::release(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_ready_that_fails_marks_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::mark(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_refresh_that_fails_moves_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::refresh(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_rename_that_fails_leaves_the_name() {
    let sandbox = Sandbox::new();
    let case = support_faults::rename(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_landing_that_fails_leaves_target_and_checkout() {
    let sandbox = Sandbox::new();
    let case = support_faults::land(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_drop_that_fails_leaves_the_thread() {
    let sandbox = Sandbox::new();
    let case = support_faults::drop_thread(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn a_run_that_fails_leaves_nobody() {
    let sandbox = Sandbox::new();
    let case = support_faults::run(&sandbox);
    fail_everywhere(&sandbox, &case);
}

#[test]
fn an_installation_of_hooks_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let case = support_faults::install_hooks(&sandbox);
    fail_everywhere(&sandbox, &case);
}
