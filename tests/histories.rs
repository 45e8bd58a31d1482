//! Many processes at once, and a judge: whether what they were told can have happened one
//! after the other.
//!
//! Agents call the program at random over a few threads: they reserve, capture, mark ready,
//! send heartbeats, release, run commands, land, drop, release others by force, go on with
//! sessions that they have lost; some calls are killed on the way. Each call is recorded with its start, its end and
//! its answer. [`Judge`] then looks for an order of the calls, each somewhere between its
//! start and its end, in which every answer is the one that the rules of reservation give, and
//! at whose end the repository is as it is found. Where there is none, somebody was told
//! something that is not true.
//!
//! `HEDDLE_HISTORIES` sets how many are made, `HEDDLE_HISTORY_SEED` which is the first.

mod support_judge;
mod support_processes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use support_judge::{Attempt, Call, Did, Judge, Session};
use support_processes::{BINARY, Draw, Ended, Sandbox, from_environment};

const THREADS: [&str; 3] = ["a", "b", "c"];
const AGENTS: u64 = 6;
const CALLS: u64 = 30;
/// How many calls on one thread are written down before nobody begins another there: the judge takes
/// 128, and those that are under way, a landing and a drop as two, come on top.
const ENOUGH: usize = 100;

/// What all agents write down.
struct World {
    sandbox: Sandbox,
    began: Instant,
    calls: Mutex<BTreeMap<&'static str, Vec<Call>>>,
    /// Sessions that somebody has heard of, with their threads.
    heard: Mutex<Vec<(String, &'static str)>>,
    runs: Mutex<Vec<Run>>,
}

/// A call that runs a command, which captures: what it did in all is told in the end.
struct Run {
    thread: &'static str,
    start: Duration,
    end: Duration,
    ended: Ended,
}

impl Run {
    /// What it did, as calls that lie within it.
    fn calls(&self, sessions: &BTreeMap<String, Session>) -> Vec<Call> {
        let within = |did| Call { start: self.start, end: self.end, did };
        let killed =
            |attempt| Call { start: self.start, end: Duration::MAX, did: Did::Killed(Box::new(attempt)) };
        let mut lines = self.ended.stdout.lines();
        let session = lines.next().and_then(|line| sessions.get(line));
        let captured: Value =
            lines.next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let text = |key: &str| captured[key].as_str().map(str::to_owned);
        let captured = session.zip(text("commit")).zip(text("parent"));
        let captured = captured.map(|((session, commit), parent)| Did::Captured {
            session: session.id.clone(),
            commit,
            parent,
        });
        let Some(code) = self.ended.code else {
            let mut calls = vec![killed(Attempt::Reserve), killed(Attempt::Run)];
            calls.extend(session.map(|session| killed(Attempt::Capture(session.id.clone()))));
            return calls;
        };
        if let Some(session) = session {
            let status = if code == 0 { "complete" } else { "abandoned" };
            let after = self.end + Duration::from_nanos(1);
            let over = Call { start: after, end: after, did: Did::Lost(session.id.clone()) };
            // Somebody may have ended it before it could.
            let end = killed(Attempt::Release(session.id.clone(), status));
            let mut calls = vec![within(Did::Reserved(session.clone())), end];
            // It says so where a lock that somebody killed has left kept it from releasing.
            if !self.ended.stderr.contains("the session was not released") {
                calls.push(over);
            }
            calls.extend(captured.map(within));
            return calls;
        }
        let said = self.ended.stderr.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        let said: Value = serde_json::from_str(said).unwrap_or_default();
        match (code, said["owner"]["session_id"].as_str()) {
            (3, Some(owner)) => vec![within(Did::Refused(owner.to_owned()))],
            (4 | 75, _) => vec![],
            // Its session was ended before its command could start.
            (5, _) => vec![killed(Attempt::Reserve), killed(Attempt::Run)],
            _ => panic!("{:?}", self.ended),
        }
    }
}

impl World {
    /// Makes a call, which may be killed on the way, and writes it down.
    fn call(&self, draw: &mut Draw, thread: &'static str, args: &[&str], attempt: Attempt) -> (Ended, Did) {
        let start = self.began.elapsed();
        let mut child = self.sandbox.start(args);
        let killed = draw.below(12) == 0;
        if killed {
            std::thread::sleep(Duration::from_micros(draw.below(25_000)));
            let _ = child.kill();
        }
        let ended = Ended::new(&child.wait_with_output().expect("a process that ends"));
        let end = self.began.elapsed();
        let did = if ended.code.is_none() {
            Did::Killed(Box::new(attempt.clone()))
        } else {
            told(&ended, &attempt)
        };
        // A killed call's effect may still be brought about by whoever recovers it.
        let end = if ended.code.is_none() { Duration::MAX } else { end };
        let mut calls = self.calls.lock().expect("no panic");
        let calls = calls.entry(thread).or_default();
        if attempt == Attempt::Drop {
            let did = Did::Killed(Box::new(Attempt::Evict));
            calls.push(Call { start, end: Duration::MAX, did });
        }
        if let Did::Stood { tip, .. } = &did {
            // Beside a lock that a kill has left the target moves, and the thread is for whoever comes next.
            let unfinished = ended.stderr.contains("has landed, and the next landing has to finish it");
            let did = match unfinished {
                true => Did::Killed(Box::new(Attempt::Land)),
                false => Did::Landed { tip: tip.clone() },
            };
            calls.push(Call { start, end: if unfinished { Duration::MAX } else { end }, did });
        }
        calls.push(Call { start, end, did: did.clone() });
        (ended, did)
    }

    /// Runs a command that captures, and may be killed with or without it.
    fn run(&self, draw: &mut Draw, tree: &str, thread: &'static str) {
        let start = self.began.elapsed();
        let line = format!("echo $HEDDLE_SESSION; exec '{BINARY}' agent capture --allow-empty -m work");
        let args = ["-C", tree, "agent", "run", "--thread", thread, "--resume", "--", "sh", "-c", &line];
        let mut child = self.sandbox.start(&args);
        if draw.below(8) == 0 {
            std::thread::sleep(Duration::from_micros(draw.below(60_000)));
            let _ = child.kill();
        }
        let ended = Ended::new(&child.wait_with_output().expect("a process that ends"));
        let end = self.began.elapsed();
        self.runs.lock().expect("no panic").push(Run { thread, start, end, ended });
    }

    fn has_enough(&self, thread: &str) -> bool {
        let calls = self.calls.lock().expect("no panic").get(thread).map_or(0, Vec::len);
        let runs = self.runs.lock().expect("no panic").iter().filter(|run| run.thread == thread).count();
        // A run is up to three calls: it reserves, captures and releases.
        calls + 3 * runs >= ENOUGH
    }

    fn hear(&self, session: &str, thread: &'static str) {
        self.heard.lock().expect("no panic").push((session.to_owned(), thread));
    }

    /// What one agent does.
    fn agent(&self, number: u64, seed: u64) {
        let mut draw = Draw(seed.wrapping_mul(1009).wrapping_add(number));
        let tree = self.sandbox.path(&format!("tree-{number}"));
        let tree = tree.to_string_lossy().into_owned();
        let mut mine: Option<(String, &'static str)> = None;
        for _ in 0..CALLS {
            let stranger = {
                let heard = self.heard.lock().expect("no panic");
                (!heard.is_empty() && draw.below(8) == 0).then(|| heard[draw.index(heard.len())].clone())
            };
            if let Some((session, thread)) = stranger {
                if self.has_enough(thread) {
                    continue;
                }
                // A person takes a thread away, or somebody goes on with what is not theirs.
                if draw.below(2) == 0 {
                    let args =
                        ["agent", "release", "--session", &session, "--status", "abandoned", "--force"];
                    self.call(&mut draw, thread, &args, Attempt::Release(session.clone(), "abandoned"));
                } else {
                    let args = ["agent", "heartbeat", "--session", &session];
                    let nothing = Attempt::Mark(String::new());
                    self.call(&mut draw, thread, &args, nothing);
                }
                continue;
            }
            if mine.as_ref().is_some_and(|(_, thread)| self.has_enough(thread)) {
                return;
            }
            let Some((session, thread)) = mine.clone() else {
                let thread = THREADS[draw.index(3)];
                if self.has_enough(thread) {
                    continue;
                }
                match draw.below(12) {
                    0..=2 => {
                        self.run(&mut draw, &tree, thread);
                        continue;
                    }
                    3..=5 => {
                        self.call(&mut draw, thread, &["--json", "thread", "land", thread], Attempt::Land);
                        continue;
                    }
                    6 => {
                        let args = ["--json", "thread", "drop", thread, "--force"];
                        self.call(&mut draw, thread, &args, Attempt::Drop);
                        continue;
                    }
                    _ => {}
                }
                let args = ["agent", "reserve", "--thread", thread, "--resume"];
                match self.call(&mut draw, thread, &args, Attempt::Reserve).1 {
                    Did::Reserved(session) => {
                        self.hear(&session.id, thread);
                        mine = Some((session.id, thread));
                    }
                    Did::Refused(owner) => self.hear(&owner, thread),
                    _ => {}
                }
                continue;
            };
            let (args, attempt): (Vec<&str>, Attempt) = match draw.below(8) {
                0 | 1 => (
                    vec!["agent", "release", "--session", &session],
                    Attempt::Release(session.clone(), "complete"),
                ),
                2 => (vec!["agent", "heartbeat", "--session", &session], Attempt::Mark(String::new())),
                3 => (
                    vec!["-C", &tree, "agent", "ready", "--no-capture", "--session", &session],
                    Attempt::Mark(session.clone()),
                ),
                _ => (
                    vec![
                        "-C",
                        &tree,
                        "agent",
                        "capture",
                        "--allow-empty",
                        "-m",
                        "work",
                        "--session",
                        &session,
                    ],
                    Attempt::Capture(session.clone()),
                ),
            };
            let releases = args.contains(&"release");
            let (_, did) = self.call(&mut draw, thread, &args, attempt);
            if matches!(did, Did::Lost(_)) || releases && matches!(did, Did::Released(..)) {
                mine = None;
            }
        }
    }
}

/// What an answer says.
fn told(ended: &Ended, attempt: &Attempt) -> Did {
    let document = ended.json();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{ended:?}")).to_owned();
    let session = || match attempt {
        Attempt::Capture(session) | Attempt::Mark(session) | Attempt::Release(session, _) => session.clone(),
        _ => String::new(),
    };
    match (ended.code, attempt) {
        (Some(0), Attempt::Reserve) => Did::Reserved(told_session(&document).expect("a session")),
        (Some(3), Attempt::Reserve) => Did::Refused(text(&document["owner"]["session_id"])),
        (Some(0), Attempt::Capture(session)) => Did::Captured {
            session: session.clone(),
            commit: text(&document["commit"]),
            parent: text(&document["parent"]),
        },
        (Some(0), Attempt::Mark(session)) if session.is_empty() => Did::Beat(text(&document["session_id"])),
        (Some(0), Attempt::Mark(session)) => {
            Did::Marked { session: session.clone(), commit: text(&document["commit"]) }
        }
        (Some(0), Attempt::Release(session, status)) => {
            // One whose work has landed stays so, and is told so.
            let merged = document["status"] == "merged";
            Did::Released(session.clone(), if merged { "merged" } else { status })
        }
        (Some(0), Attempt::Land) => match document["landed"].get(0) {
            Some(landed) => Did::Stood { tip: text(&landed["tip"]), already: landed["already"] == true },
            None => Did::Nothing,
        },
        (Some(0), Attempt::Drop) => {
            let generation = text(&document["kept_as"]);
            let generation = generation.rsplit('/').next().and_then(|last| last.parse().ok());
            Did::Dropped { tip: text(&document["tip"]), generation: generation.expect("a generation") }
        }
        (Some(1), Attempt::Land | Attempt::Drop) if ended.stdout.contains("' not found\"") => Did::Absent,
        (Some(3), Attempt::Drop) => {
            let message = text(&document["error"]["message"]);
            Did::Refused(message.split('\'').nth(3).expect("an owner").to_owned())
        }
        (Some(5), _) => match document["error"]["message"].as_str() {
            // A heartbeat for a stranger: whose it was is in the message.
            Some(message) if session().is_empty() => {
                Did::Lost(message.split('\'').nth(1).unwrap_or_default().to_owned())
            }
            _ => Did::Lost(session()),
        },
        // Ready: nothing was captured yet, so there is nothing to mark.
        (Some(4 | 7 | 75), _) => Did::Nothing,
        _ => panic!("{attempt:?}: {ended:?}"),
    }
}

/// A session in a document.
fn told_session(document: &Value) -> Option<Session> {
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let generation = document["generation"].as_u64()?;
    Some(Session { id: text("session_id")?, generation, anchor: text("anchor_state")? })
}

/// Makes a history and judges it.
fn history(seed: u64) {
    println!("HEDDLE_HISTORY_SEED={seed}");
    let sandbox = Sandbox::new();
    for number in 0..AGENTS {
        let tree = sandbox.path(&format!("tree-{number}"));
        sandbox.git(&["worktree", "add", "-q", "--detach", &tree.to_string_lossy()]);
    }
    let (calls, heard, runs) = Default::default();
    let world = World { sandbox, began: Instant::now(), calls, heard, runs };
    std::thread::scope(|scope| {
        for number in 0..AGENTS {
            let world = &world;
            scope.spawn(move || world.agent(number, seed));
        }
    });
    let World { sandbox, began, calls, runs, .. } = world;
    let mut calls = calls.into_inner().expect("no panic");
    let list = sandbox.heddle(&["--json", "agent", "list"]).ok().json();
    let sessions = list.as_array().expect("an array").iter().filter_map(told_session);
    let sessions = sessions.map(|session| (session.id.clone(), session)).collect();
    for run in runs.into_inner().expect("no panic") {
        calls.entry(run.thread).or_default().extend(run.calls(&sessions));
    }
    // What was captured is somewhere, and what landed is on its target.
    for did in calls.values().flatten().map(|call| &call.did) {
        match did {
            Did::Captured { commit, .. } => {
                let holders = sandbox.git(&["for-each-ref", "--contains", commit]);
                assert!(!holders.is_empty(), "seed {seed}: {commit} was lost");
            }
            Did::Landed { tip } => {
                assert!(sandbox.reaches("main", tip), "seed {seed}: {tip} is not on its target");
            }
            _ => {}
        }
    }
    let told: BTreeSet<String> = calls
        .values()
        .flatten()
        .filter_map(|call| match &call.did {
            Did::Reserved(session) => Some(session.id.clone()),
            _ => None,
        })
        .collect();
    // Whatever was left half done is finished before anybody looks.
    sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
    sandbox.heal(&format!("seed {seed}"));
    for thread in THREADS {
        let list = sandbox.heddle(&["--json", "agent", "list", "--thread", thread]).ok().json();
        let sessions = list.as_array().expect("an array");
        let string = |value: &Value| value.as_str().map(str::to_owned);
        let owner = sessions.iter().find(|session| session["status"] == "active");
        let found = Did::Found {
            owner: owner.and_then(|owner| string(&owner["session_id"])),
            generation: sandbox.record(&format!("threads/{thread}.json"))["generation"].as_u64().unwrap_or(0),
            tip: Some(sandbox.commit(&format!("refs/heddle/threads/{thread}"))).filter(|tip| !tip.is_empty()),
            ready: Some(sandbox.commit(&format!("refs/heddle/ready/{thread}")))
                .filter(|mark| !mark.is_empty()),
        };
        let mut calls = calls.remove(thread).unwrap_or_default();
        let now = began.elapsed();
        calls.push(Call { start: now, end: now, did: found });
        for call in &mut calls {
            call.end = call.end.min(now);
        }
        let untold =
            sessions.iter().filter_map(told_session).filter(|session| !told.contains(&session.id)).collect();
        let judge = Judge { calls, untold, commits: commits_of(&sandbox, thread) };
        let count = judge.calls.len();
        if let Err(longest) = judge.order() {
            let told = |index: usize| format!("{:?}", judge.calls[index]);
            let mut left: Vec<usize> = (0..count).filter(|index| !longest.contains(index)).collect();
            left.sort_by_key(|index| judge.calls[*index].start);
            let (first, rest) = (longest.into_iter().map(told), left.into_iter().map(told));
            let (first, rest) = (first.collect::<Vec<_>>().join("\n"), rest.collect::<Vec<_>>().join("\n"));
            panic!(
                "seed {seed}, thread {thread}: no order explains\n{first}\n-- and then\n{rest}\nuntold: {:?}",
                judge.untold
            );
        }
        println!("thread {thread}: {count} calls");
    }
    sandbox.assert_clean(&format!("seed {seed}"));
}

/// The commits of a thread, dropped ones too, each with its parent and its session.
fn commits_of(sandbox: &Sandbox, thread: &str) -> BTreeMap<String, (String, String)> {
    let format = "--format=%H %P %(trailers:key=Heddle-Session,valueonly,separator=)";
    let dropped = format!("--glob=refs/heddle/dropped/{thread}/*");
    let own = format!("--glob=refs/heddle/threads/{thread}*");
    // What has landed is on main, with what landed from other threads.
    let log = sandbox.git(&["log", format, &dropped, &own, "main"]);
    log.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let (commit, parent, session) = (words.next()?, words.next()?, words.next()?);
            session.starts_with("agent-").then_some((commit, (parent, session)))
        })
        .collect()
}

#[test]
fn what_many_processes_were_told_can_have_happened_one_after_the_other() {
    let first = from_environment("HEDDLE_HISTORY_SEED", u64::from(std::process::id()));
    for seed in first..first + from_environment("HEDDLE_HISTORIES", 2) {
        history(seed);
    }
}

/// A call from `start` to `end`.
fn call(start: u64, end: u64, did: Did) -> Call {
    Call { start: Duration::from_millis(start), end: Duration::from_millis(end), did }
}

fn judged(calls: Vec<Call>) -> bool {
    let commits = BTreeMap::from([("c2".to_owned(), ("c1".to_owned(), "s".to_owned()))]);
    Judge { calls, untold: vec![session_at("u", 1, "c0")], commits }.order().is_ok()
}

fn session_at(id: &str, generation: u64, anchor: &str) -> Session {
    Session { id: id.to_owned(), generation, anchor: anchor.to_owned() }
}

fn reserved(session: &str, generation: u64) -> Did {
    Did::Reserved(session_at(session, generation, "c0"))
}

fn marked(session: &str, commit: &str) -> Did {
    Did::Marked { session: session.to_owned(), commit: commit.to_owned() }
}

fn stood(tip: &str, already: bool) -> Did {
    Did::Stood { tip: tip.to_owned(), already }
}

fn landed(tip: &str) -> Did {
    Did::Landed { tip: tip.to_owned() }
}

fn dropped(tip: &str, generation: u64) -> Did {
    Did::Dropped { tip: tip.to_owned(), generation }
}

fn captured(session: &str, commit: &str, parent: &str) -> Did {
    let (session, commit, parent) = (session.to_owned(), commit.to_owned(), parent.to_owned());
    Did::Captured { session, commit, parent }
}

#[test]
fn the_judge_accepts_what_can_have_happened() {
    let released = || Did::Released("s".to_owned(), "complete");
    assert!(judged(vec![
        call(0, 1, reserved("s", 1)),
        call(2, 3, captured("s", "c1", "c0")),
        call(4, 5, released())
    ]));
    // Which of two calls that overlap came first, the answers tell.
    assert!(judged(vec![
        call(0, 1, reserved("s", 1)),
        call(2, 9, captured("s", "c2", "c1")),
        call(3, 8, captured("s", "c1", "c0")),
    ]));
    assert!(judged(vec![call(0, 1, reserved("s", 1)), call(2, 9, released()), call(3, 8, reserved("t", 2))]));
    // A killed call may have done its work, or not.
    let killed = || Did::Killed(Box::new(Attempt::Reserve));
    assert!(judged(vec![call(0, 9, killed()), call(2, 3, Did::Refused("u".to_owned()))]));
    assert!(judged(vec![call(0, 9, killed()), call(2, 3, reserved("s", 1))]));
    // What a killed call left half done, the next one finishes: its effect may come late.
    assert!(judged(vec![
        call(0, 1, reserved("s", 1)),
        call(2, 9, Did::Killed(Box::new(Attempt::Release("s".to_owned(), "complete")))),
        call(3, 4, Did::Beat("s".to_owned())),
        call(5, 6, reserved("t", 2)),
    ]));
    // A landing ends the session, and so may a drop; the next generation goes on.
    let ready = || {
        let did = [reserved("s", 1), captured("s", "c1", "c0"), marked("s", "c1")];
        (0..).step_by(2).zip(did).map(|(at, did)| call(at, at + 1, did)).collect::<Vec<_>>()
    };
    let after = |more: Vec<Did>| {
        let more = (10..).step_by(2).zip(more).map(|(at, did)| call(at, at + 1, did));
        judged(ready().into_iter().chain(more).collect())
    };
    let next = || Did::Reserved(session_at("t", 2, "c1"));
    let merged = || Did::Released("s".to_owned(), "merged");
    let lost = || Did::Lost("s".to_owned());
    assert!(after(vec![stood("c1", false), landed("c1"), lost(), merged(), next()]));
    assert!(after(vec![released(), stood("c1", false), landed("c1"), stood("c1", true), next()]));
    // Who has begun on top of it meanwhile goes on.
    let beat = || Did::Beat("t".to_owned());
    assert!(after(vec![released(), next(), stood("c1", false), landed("c1"), beat()]));
    assert!(after(vec![
        stood("c1", false),
        captured("s", "c9", "c1"),
        landed("c1"),
        captured("s", "c10", "c9")
    ]));
    assert!(after(vec![dropped("c1", 1), Did::Absent, reserved("t", 2)]));
    // A killed runner leaves a session that nobody was told of, and that is dead.
    let killed = |attempt| call(0, 99, Did::Killed(Box::new(attempt)));
    let runner = || vec![killed(Attempt::Reserve), killed(Attempt::Run)];
    let with = |did| judged([runner(), vec![call(2, 3, did)]].concat());
    assert!(with(Did::Refused("u".to_owned())) && with(reserved("s", 2)) && with(reserved("s", 1)));
    // A release is told as often as it is asked for.
    assert!(judged(vec![call(0, 1, reserved("s", 1)), call(2, 3, released()), call(4, 5, released())]));
}

#[test]
fn the_judge_rejects_what_cannot_have_happened() {
    let refused = |owner: &str| Did::Refused(owner.to_owned());
    let lost = |session: &str| Did::Lost(session.to_owned());
    let released = |session: &str| Did::Released(session.to_owned(), "complete");
    let beat = |session: &str| Did::Beat(session.to_owned());
    let first = || call(0, 1, reserved("s", 1));
    let worked = || vec![first(), call(2, 3, captured("s", "c1", "c0")), call(4, 5, marked("s", "c1"))];
    let then = |more: &[Did]| {
        let more = (6..).step_by(2).zip(more.to_vec()).map(|(at, did)| call(at, at + 1, did));
        worked().into_iter().chain(more).collect::<Vec<_>>()
    };
    let bad: [(&str, Vec<Call>); 25] = [
        ("two owners at once", vec![first(), call(2, 3, reserved("t", 2))]),
        ("two owners from one race", vec![call(0, 9, reserved("s", 1)), call(0, 9, reserved("t", 1))]),
        ("a generation twice", vec![first(), call(2, 3, released("s")), call(4, 5, reserved("t", 1))]),
        ("a generation left out", vec![first(), call(2, 3, released("s")), call(4, 5, reserved("t", 3))]),
        ("a refusal by nobody", vec![call(0, 1, refused("s"))]),
        ("a refusal by somebody else", vec![first(), call(2, 3, refused("t"))]),
        (
            "a capture after the end",
            vec![first(), call(2, 3, released("s")), call(4, 5, captured("s", "c1", "c0"))],
        ),
        (
            "a capture that loses another",
            vec![first(), call(2, 3, captured("s", "c1", "c0")), call(4, 5, captured("s", "c9", "c0"))],
        ),
        ("a loss without a reason", vec![first(), call(2, 3, lost("s"))]),
        ("a heartbeat of a lost session", vec![first(), call(2, 3, released("s")), call(4, 5, beat("s"))]),
        ("a release of what never was", vec![call(0, 1, released("s"))]),
        (
            "a mark beside the tip",
            vec![
                first(),
                call(2, 3, captured("s", "c1", "c0")),
                call(4, 5, Did::Marked { session: "s".to_owned(), commit: "c0".to_owned() }),
            ],
        ),
        ("a landing of what is not marked", vec![first(), call(2, 3, stood("c0", false))]),
        ("a landing of what was captured over", then(&[captured("s", "c9", "c1"), stood("c9", false)])),
        ("a landing of another tip", then(&[stood("c0", false)])),
        ("an owner whose work has landed", then(&[stood("c1", false), landed("c1"), beat("s")])),
        ("work after a landing", then(&[stood("c1", false), landed("c1"), captured("s", "c9", "c1")])),
        ("a landing before the landing", then(&[stood("c1", true)])),
        ("an end by a landing that was none", then(&[Did::Released("s".to_owned(), "merged")])),
        ("a drop of another tip", then(&[dropped("c0", 1)])),
        ("work after a drop", then(&[dropped("c1", 1), captured("s", "c9", "c1")])),
        (
            "a thread that a drop left",
            then(&[dropped("c1", 1), Did::Reserved(session_at("t", 2, "c1")), marked("t", "c0")]),
        ),
        ("a generation that a drop forgot", then(&[dropped("c1", 1), reserved("t", 1)])),
        (
            "a runner that has ended and owns",
            vec![
                call(0, 9, reserved("s", 1)),
                call(0, 99, Did::Killed(Box::new(Attempt::Release("t".to_owned(), "complete")))),
                call(10, 10, lost("s")),
            ],
        ),
        (
            "a commit that is gone in the end",
            vec![
                first(),
                call(2, 3, captured("s", "c1", "c0")),
                call(
                    4,
                    5,
                    Did::Found {
                        owner: Some("s".to_owned()),
                        generation: 1,
                        tip: Some("c0".to_owned()),
                        ready: None,
                    },
                ),
            ],
        ),
    ];
    for (name, calls) in bad {
        assert!(!judged(calls), "{name}");
    }
}
