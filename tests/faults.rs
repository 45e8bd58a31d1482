//! Every call to the file system fails once: the command says so and has changed nothing, or
//! it did what it reports.
//!
//! A command is run once under strace, to learn how often it (with the Git processes that it
//! starts) makes which call; then once for each of them and an error that the system can give
//! there. `HEDDLE_FAULTS=all` tries every error at every call instead of one in turn.

mod support_processes;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support_processes::{BINARY, Body, Ended, Files, Sandbox, read, restore};

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

/// A command in a repository.
struct Case<'a> {
    name: &'a str,
    command: Vec<&'a str>,
    /// What comes after, and what it may exit with.
    next: (Vec<&'a str>, &'a [i32]),
    /// What has to be true if the command reports success.
    done: &'a dyn Fn(&Sandbox, &Ended),
}

fn traced(sandbox: &Sandbox, options: &[&str], command: &[&str]) -> Ended {
    let log = sandbox.path("trace");
    let log = log.to_string_lossy();
    let calls: Vec<&str> = ERRORS.iter().map(|(call, _)| *call).collect();
    let trace = format!("trace={}", calls.join(","));
    let args = [&["-f", "-qq", "-o", &log, "-e", &trace], options, &[BINARY], command].concat();
    sandbox.run("strace", &args)
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

/// What a failed command may not change: objects that nothing names, locks that nobody holds,
/// the log of events, and caches are nobody's state. A generation that was given out stays
/// used, so the record of a thread without an owner counts as none.
fn state(files: &Files) -> Files {
    let counts = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        !(path.starts_with(".git/objects")
            || path.starts_with(".git/heddle/locks") && (name.ends_with(".lock") || name.ends_with(".queue"))
            || path.starts_with(".git/heddle/logs")
            || name == "events.jsonl"
            || name == "heddle-worktree.lock"
            || name.starts_with("heddle-index-")
            || name.ends_with(".live"))
    };
    let unowned = |path: &Path, body: &Body| match body {
        Body::File(bytes) if path.starts_with(".git/heddle/threads") => {
            serde_json::from_slice::<Value>(bytes).is_ok_and(|record| record["owner"].is_null())
        }
        body => *body == Body::Folder,
    };
    let kept = files.iter().filter(|(path, body)| counts(path) && !unowned(path, body));
    kept.map(|(path, body)| (path.clone(), body.clone())).collect()
}

fn fail_everywhere(sandbox: &Sandbox, case: &Case<'_>) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace here");
        return;
    }
    let (name, top) = (case.name, sandbox.worktree());
    let before = read(&top);
    let whole = traced(sandbox, &[], &case.command).ok();
    (case.done)(sandbox, &whole);
    let all = std::env::var_os("HEDDLE_FAULTS").is_some_and(|value| value == "all");
    let (mut tried, mut failed) = (0, 0);
    for (call, count) in counts(sandbox) {
        let (_, errors) = ERRORS.iter().find(|(name, _)| *name == call).expect("a call that is traced");
        for number in 1..=count {
            let turn = &errors[number % errors.len()];
            for error in if all { errors } else { std::slice::from_ref(turn) } {
                restore(&top, &before);
                let inject = format!("inject={call}:error={error}:when={number}");
                let answer = traced(sandbox, &["-e", &inject], &case.command);
                let about = format!("{name}, {call} {number} fails with {error}");
                tried += 1;
                failed += usize::from(answer.code != Some(0));
                check(sandbox, case, &before, &answer, &about);
            }
        }
    }
    println!("{name}: {tried} faults, {failed} failures");
    assert!(tried > 20 && failed > 0 && failed < tried, "{name}: {tried} faults, {failed} failures");
}

fn check(sandbox: &Sandbox, case: &Case<'_>, before: &Files, answer: &Ended, about: &str) {
    match answer.code {
        // The standard library takes it for granted that a pipe from a child can be read.
        Some(101) if answer.stderr.contains("/std/src/process") || answer.stderr.contains("/sys/process") => {
        }

        Some(0) => (case.done)(sandbox, answer),
        // The program could not be loaded.
        Some(127) if answer.stderr.contains("shared librar") => {}
        // It did what it was to do, and could not say so, or cannot say that it will last.
        Some(1) if answer.stderr.contains("standard output") => {}
        Some(1) if answer.stderr.contains("cannot sync") && case.name == "heartbeat" => {}
        Some(1 | 75 | 128) => {
            // Standard error may be what failed.
            let said = answer.stderr.contains("error: ") || !answer.json()["error"].is_null();
            assert!(said, "{about}: {answer:?}");
            let (before, after) = (state(before), state(&read(&sandbox.worktree())));
            let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
            let changed: Vec<_> = all.filter(|path| before.get(*path) != after.get(*path)).collect();
            assert!(changed.is_empty(), "{about}: {changed:?} changed: {answer:?}");
        }
        _ => panic!("{about}: {answer:?}"),
    }
    let (next, codes) = &case.next;
    let next = sandbox.heddle(next);
    let expected = if answer.code == Some(0) { *codes } else { &[0] };
    assert!(
        next.code.is_some_and(|code| expected.contains(&code)),
        "{about}, then: {next:?}, after {answer:?}"
    );
    sandbox.assert_clean(about);
}

#[test]
fn a_reserve_that_fails_leaves_nothing() {
    let sandbox = Sandbox::new();
    fail_everywhere(
        &sandbox,
        &Case {
            name: "reserve",
            command: vec!["agent", "reserve", "--thread", "t"],
            next: (vec!["agent", "reserve", "--thread", "t"], &[3]),
            done: &|sandbox, answer| assert_eq!(sandbox.active("t"), [answer.text("session_id")]),
        },
    );
}

#[test]
fn a_heartbeat_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let command = vec!["agent", "heartbeat", "--session", &id, "--tool-calls", "7"];
    fail_everywhere(
        &sandbox,
        &Case {
            name: "heartbeat",
            next: (command.clone(), &[0]),
            command,
            done: &|sandbox, _| {
                let record = sandbox.record(&format!("agents/{id}.json"));
                assert_eq!(record["usage"]["tool_calls"], 7);
            },
        },
    );
}

#[test]
fn a_capture_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    let command = vec!["agent", "capture", "--session", &id, "-m", "work"];
    fail_everywhere(
        &sandbox,
        &Case {
            name: "capture",
            next: (command.clone(), &[0]),
            command,
            done: &|sandbox, answer| {
                // To Git, a folder that cannot be read is worth a warning.
                if answer.stderr.contains("could not open directory") {
                    assert!(answer.stdout.contains("could not open directory"), "{answer:?}");
                    return;
                }
                assert_eq!(sandbox.commit("refs/heddle/threads/t"), answer.text("commit"));
                assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:work"]), "work");
            },
        },
    );
}

#[test]
fn a_release_that_fails_changes_nothing() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let command = vec!["agent", "release", "--session", &id];
    fail_everywhere(
        &sandbox,
        &Case {
            name: "release",
            next: (command.clone(), &[0]),
            command,
            done: &|sandbox, _| assert_eq!(sandbox.active("t"), Vec::<String>::new()),
        },
    );
}
