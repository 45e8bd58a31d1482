//! Killing or stopping the program at each of its calls that change the disk, by strace.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support_processes::{BINARY, Ended, Sandbox, eventually};

/// Calls that change the disk. (`fsync` changes nothing that a killed process leaves.)
pub(crate) const CALLS: &str = "openat,write,pwrite64,rename,renameat2,link,unlink,unlinkat,rmdir,mkdir,mkdirat,\
                     ftruncate,copy_file_range,utimensat";

pub(crate) fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("skipped: there is no strace here");
    }
    found
}

/// What runs `command` under strace.
pub(crate) fn tracer(sandbox: &Sandbox, options: &[&str], command: &[String]) -> Command {
    let log = sandbox.path("trace");
    let log = log.to_string_lossy();
    let trace = format!("trace={CALLS}");
    let mut args = vec!["-qq", "-o", &log, "-e", &trace];
    args.extend(options);
    args.push(BINARY);
    args.extend(command.iter().map(String::as_str));
    sandbox.command("strace", &args)
}

/// Runs a command under strace.
pub(crate) fn traced(sandbox: &Sandbox, options: &[&str], command: &[String]) -> Ended {
    Ended::new(&tracer(sandbox, options, command).output().expect("strace"))
}

/// The calls of a whole run at which to kill: each with its number among those of its name.
pub(crate) fn points(sandbox: &Sandbox) -> Vec<(String, usize)> {
    let log = fs::read_to_string(sandbox.path("trace")).expect("what strace wrote");
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut found = Vec::new();
    for line in log.lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        // Opening an existing file for reading changes nothing.
        if name != "openat" || rest.contains("O_CREAT") || rest.contains("O_TRUNC") {
            found.push((name.to_owned(), *count));
        }
    }
    found
}

/// Runs a command.
pub(crate) fn run(command: &[String], sandbox: &Sandbox) -> Ended {
    sandbox.heddle(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `next`; where a lock of Git's is in the way that its dead maker had no time to note,
/// after the doctor has removed it.
pub(crate) fn run_healed(sandbox: &Sandbox, next: &[String], about: &str) -> Ended {
    sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
    let answer = run(next, sandbox);
    if answer.code != Some(75) {
        return answer;
    }
    let healed = eventually(Duration::from_secs(20), || {
        sandbox.heddle(&["doctor", "--fix"]);
        sandbox.ref_locks().is_empty()
    });
    assert!(healed, "{about}: {answer:?}, {:?}", sandbox.heddle(&["doctor"]));
    run(next, sandbox)
}
