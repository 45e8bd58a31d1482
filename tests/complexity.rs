//! What a command costs does not grow with what exists but does not concern it.
//!
//! Time says little on a busy machine, so calls are counted: each command is run under strace
//! in a repository with next to nothing in it, and in repositories with hundreds of ended
//! sessions, of live ones and of threads. It may make no more calls there than a page of a
//! folder or two takes.

mod support_processes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use support_processes::{BINARY, Ended, Sandbox};

/// How many of each there are where there are many.
const MANY: usize = 400;

/// The calls that a command may make more where there are many: reading a folder of that size,
/// a retry, a buffer that grows. One call for every other thing is far beyond.
const SLACK: usize = 60;

/// What there is beside the thread that is worked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Filled {
    Nothing,
    EndedSessions,
    LiveSessions,
    LooseThreads,
    PackedThreads,
}

/// Puts `MANY` of them there, as copies of one that was really made.
fn fill(sandbox: &Sandbox, filled: Filled) {
    let session = sandbox.heddle(&["agent", "reserve", "--thread", "template"]).ok().text("session_id");
    let heddle = sandbox.git_dir().join("heddle");
    let read = |name: &str| fs::read_to_string(heddle.join(name)).expect("record");
    let (record, thread) = (read(&format!("agents/{session}.json")), read("threads/template.json"));
    let write = |name: String, text: String| fs::write(heddle.join(name), text).expect("record");
    fs::create_dir_all(heddle.join("agents/ended")).expect("folder");
    let (tip, mut refs) = (sandbox.commit("main"), String::new());
    for number in 0..MANY {
        let (name, id) = (format!("t{number}"), format!("{}{number:05}", &session[..session.len() - 5]));
        let thread = thread.replace("\"template\"", &format!("\"{name}\"")).replace(&session, &id);
        let record = record.replace("\"template\"", &format!("\"{name}\"")).replace(&session, &id);
        match filled {
            Filled::Nothing => {}
            Filled::EndedSessions => {
                let record = record.replace("\"active\"", "\"complete\"");
                write(format!("agents/ended/{id}.json"), record);
            }
            Filled::LiveSessions => {
                write(format!("agents/{id}.json"), record);
                write(format!("threads/{name}.json"), thread);
            }
            Filled::LooseThreads | Filled::PackedThreads => {
                // A record without an owner, as a thread has that was released.
                let mut record: serde_json::Value = serde_json::from_str(&thread).expect("JSON");
                record["owner"] = serde_json::Value::Null;
                write(format!("threads/{name}.json"), record.to_string());
                let _ = writeln!(refs, "create refs/heddle/threads/{name} {tip}");
            }
        }
    }
    let mut git =
        sandbox.command("git", &["update-ref", "--stdin"]).stdin(Stdio::piped()).spawn().expect("git");
    git.stdin.take().expect("stdin").write_all(refs.as_bytes()).expect("written");
    assert!(git.wait().expect("git").success());
    if filled == Filled::PackedThreads {
        sandbox.git(&["pack-refs", "--all"]);
    }
}

fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("skipped: there is no strace here");
    }
    found
}

/// Runs a command that succeeds under strace; how often it, with its children, makes each call.
fn counted(sandbox: &Sandbox, args: &[&str]) -> (Ended, BTreeMap<String, usize>) {
    let trace = sandbox.path("trace");
    let trace = trace.to_str().expect("UTF-8");
    let ended = sandbox.run("strace", &[&["-f", "-qq", "-o", trace, BINARY], args].concat()).ok();
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(trace).expect("trace").lines() {
        // `<pid> <call>(…`; not the ends of those that were cut in two.
        let call = line.split_whitespace().nth(1).and_then(|rest| rest.split_once('('));
        if let Some((call, _)) = call {
            *calls.entry(call.to_owned()).or_insert(0) += 1;
        }
    }
    (ended, calls)
}

/// The calls of each step of an agent's work, from reserving to landing.
fn work(sandbox: &Sandbox) -> BTreeMap<&'static str, BTreeMap<String, usize>> {
    let mut steps = BTreeMap::new();
    let mut step = |name, args: &[&str]| {
        let (ended, calls) = counted(sandbox, args);
        steps.insert(name, calls);
        ended
    };
    let session = step("reserve", &["agent", "reserve", "--thread", "mine"]).text("session_id");
    step("heartbeat", &["agent", "heartbeat", "--session", &session]);
    step("show", &["agent", "show", &session]);
    sandbox.write("mine", "mine\n");
    step("capture", &["agent", "capture", "--session", &session, "--message", "mine"]);
    step("ready", &["agent", "ready", "--session", &session]);
    step("release", &["agent", "release", "--session", &session]);
    fs::remove_file(sandbox.worktree().join("mine")).expect("removed");
    step("land", &["thread", "land", "mine"]);
    step("hook", &["hooks", "run", "reference-transaction", "prepared"]);
    step("log", &["log"]);
    steps
}

#[test]
fn what_exists_costs_nothing() {
    if !has_strace() {
        return;
    }
    let of = |filled| {
        let sandbox = Sandbox::new();
        fill(&sandbox, filled);
        work(&sandbox)
    };
    // A lookup opens each table, and where there is more there may be another one or two.
    let slack = if support_processes::format::asked().reftable { 2 * SLACK } else { SLACK };
    let little = of(Filled::Nothing);
    let mut grown = String::new();
    for filled in [Filled::EndedSessions, Filled::LiveSessions, Filled::LooseThreads, Filled::PackedThreads] {
        let much = of(filled);
        for (name, calls) in &much {
            // It is compared with what every live thread changes, which is its purpose.
            if (filled, *name) == (Filled::LiveSessions, "ready") {
                continue;
            }
            let total = |calls: &BTreeMap<String, usize>| calls.values().sum::<usize>();
            let (more, than) = (total(calls), total(&little[name]));
            println!("{filled:?}: {name}: {more} calls, with nothing {than}");
            if more > than + slack {
                let _ = writeln!(grown, "{filled:?}: {name}: {more} instead of {than}: {calls:?}");
            }
        }
    }
    assert!(grown.is_empty(), "{grown}");
}

#[test]
fn readiness_looks_at_the_tips_of_other_threads_and_not_at_what_lies_between() {
    if !has_strace() {
        return;
    }
    let of = |tips: bool| {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "fastimport.unpackLimit", "100000"]);
        let mut at = 1_700_000_000;
        let mut commit = |name: &str, mark: &str, file: &str, from: &str| {
            at += 1;
            let at = format!("committer A <a@example.com> {at} +0000");
            format!("commit {name}\n{mark}{at}\ndata 1\nx\n{from}M 100644 inline {file}\ndata 0\n\n")
        };
        let mut stream = String::new();
        for number in 0..200 {
            let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
            let mark = format!("mark :{}\n", number + 1);
            stream += &commit("refs/heads/main", &mark, &format!("main/{number}"), from);
        }
        for number in 0..if tips { MANY } else { 0 } {
            // They left the target long before the commit that their sessions began at.
            let (name, file) = (format!("refs/heddle/threads/t{number}"), format!("other/{number}"));
            stream += &commit(&name, "", &file, "from :50\n");
        }
        let input = sandbox.path("stream");
        fs::write(&input, stream).expect("stream");
        let mut import = Command::new("git");
        import.args(["fast-import", "--quiet"]).current_dir(sandbox.worktree());
        let status = import.stdin(fs::File::open(input).expect("stream")).status().expect("git");
        assert!(status.success());
        sandbox.git(&["reset", "--quiet", "--hard"]);
        fill(&sandbox, Filled::LiveSessions);
        work(&sandbox)["ready"].values().sum::<usize>()
    };
    let (without, with) = (of(false), of(true));
    println!("ready: {with} calls beside {MANY} threads with commits, {without} beside those without");
    // Two objects for each of them, its commit and the folder at the top, at ten calls each; to read
    // what lies between as well would be 28.
    assert!(with < without + 24 * MANY + SLACK, "{with} instead of {without}");
}
