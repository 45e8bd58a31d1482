//! Many processes at once, and a judge: whether what they were told can have happened one
//! after the other.
//!
//! Agents call the program at random over a few threads: they reserve, capture, mark ready,
//! send heartbeats, release, release others by force, go on with sessions that they have
//! lost; some calls are killed on the way. Each call is recorded with its start, its end and
//! its answer. [`Judge`] then looks for an order of the calls, each somewhere between its
//! start and its end, in which every answer is the one that the rules of reservation give, and
//! at whose end the repository is as it is found. Where there is none, somebody was told
//! something that is not true.
//!
//! `HEDDLE_HISTORIES` sets how many are made, `HEDDLE_HISTORY_SEED` which is the first.

mod support_processes;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use support_processes::{Draw, Ended, Sandbox, from_environment};

/// What a call asked for and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    /// The thread was had by a session with a generation.
    Reserved(String, u64),
    /// It was not, because of this owner.
    Refused(String),
    /// A session put a commit on top of another.
    Captured { session: String, commit: String, parent: String },
    /// A session marked a commit as ready.
    Marked { session: String, commit: String },
    /// A session was heard of.
    Beat(String),
    /// A session was ended with this status.
    Released(String, &'static str),
    /// A session was told that the thread is not its own any more.
    Lost(String),
    /// Nothing was done: something was busy or moved on.
    Nothing,
    /// The call was killed: it may have done what it was to do.
    Killed(Box<Attempt>),
    /// How the thread was found when all was over.
    Found { owner: Option<String>, generation: u64, tip: Option<String>, ready: Option<String> },
}

/// What a killed call was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Reserve,
    Capture(String),
    Mark(String),
    Release(String, &'static str),
}

#[derive(Debug, Clone)]
struct Call {
    start: Duration,
    end: Duration,
    did: Did,
}

/// A thread as the rules see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Thread {
    owner: Option<String>,
    generation: u64,
    tip: Option<String>,
    ready: Option<String>,
    ended: BTreeMap<String, &'static str>,
}

/// The calls on one thread, and what is known beside their answers.
struct Judge {
    calls: Vec<Call>,
    /// Sessions that exist although no answer told of them, with their generations.
    untold: Vec<(String, u64)>,
    /// The commit from which the thread starts.
    anchor: String,
    /// Each commit's parent and session, for captures that nobody was told of.
    commits: BTreeMap<String, (String, String)>,
}

impl Judge {
    /// The order in which the calls can have happened; `None` if there is none.
    fn order(&self) -> Option<Vec<usize>> {
        assert!(self.calls.len() <= 128, "{} calls on one thread", self.calls.len());
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        self.search(0, &Thread::default(), &mut seen, &mut order).then_some(order)
    }

    fn search(
        &self,
        done: u128,
        thread: &Thread,
        seen: &mut HashSet<(u128, Thread)>,
        order: &mut Vec<usize>,
    ) -> bool {
        let open = |index: &usize| done & (1 << index) == 0;
        let all = || (0..self.calls.len()).filter(open);
        // Nothing can come after a call that has ended without coming after it. One that was
        // killed need not have done anything, so it is in nobody's way.
        let answered = all().filter(|index| !matches!(self.calls[*index].did, Did::Killed(_)));
        let Some(first_end) = answered.map(|index| self.calls[index].end).min() else { return true };
        if !seen.insert((done, thread.clone())) {
            return false;
        }
        for index in all().filter(|index| self.calls[*index].start <= first_end) {
            for next in self.after(thread, &self.calls[index].did) {
                order.push(index);
                if self.search(done | (1 << index), &next, seen, order) {
                    return true;
                }
                order.pop();
            }
        }
        false
    }

    /// What the thread may be after `did`; nothing if the rules forbid it.
    fn after(&self, thread: &Thread, did: &Did) -> Vec<Thread> {
        let owns = |session: &String| thread.owner.as_ref() == Some(session);
        let same = |allowed: bool| if allowed { vec![thread.clone()] } else { Vec::new() };
        match did {
            Did::Reserved(session, generation) => {
                self.reserved(thread, session, *generation).into_iter().collect()
            }
            Did::Refused(owner) => same(owns(owner)),
            Did::Captured { session, commit, parent } => {
                Self::captured(thread, session, commit, parent).into_iter().collect()
            }
            Did::Marked { session, commit } => {
                let allowed = owns(session) && thread.tip.as_ref() == Some(commit);
                let marked = Thread { ready: Some(commit.clone()), ..thread.clone() };
                if allowed { vec![marked] } else { Vec::new() }
            }
            Did::Beat(session) => same(owns(session)),
            Did::Lost(session) => same(!owns(session)),
            Did::Nothing => same(true),
            Did::Released(session, status) if owns(session) => vec![Self::released(thread, session, status)],
            // Told once more.
            Did::Released(session, status) => same(thread.ended.get(session) == Some(status)),
            Did::Killed(attempt) => self.attempted(thread, attempt),
            Did::Found { owner, generation, tip, ready } => same(
                thread.owner == *owner
                    && thread.generation == *generation
                    && thread.tip == *tip
                    && thread.ready == *ready,
            ),
        }
    }

    fn reserved(&self, thread: &Thread, session: &str, generation: u64) -> Option<Thread> {
        let mut next = thread.clone();
        next.tip.get_or_insert_with(|| self.anchor.clone());
        let allowed = next.owner.replace(session.to_owned()).is_none() && generation == thread.generation + 1;
        next.generation = generation;
        allowed.then_some(next)
    }

    fn captured(thread: &Thread, session: &str, commit: &str, parent: &str) -> Option<Thread> {
        let allowed = thread.owner.as_deref() == Some(session) && thread.tip.as_deref() == Some(parent);
        allowed.then(|| Thread { tip: Some(commit.to_owned()), ..thread.clone() })
    }

    fn released(thread: &Thread, session: &str, status: &'static str) -> Thread {
        let mut next = Thread { owner: None, ..thread.clone() };
        next.ended.insert(session.to_owned(), status);
        next
    }

    /// What a killed call may have come to.
    fn attempted(&self, thread: &Thread, attempt: &Attempt) -> Vec<Thread> {
        match attempt {
            Attempt::Reserve => {
                let untold = self.untold.iter();
                untold
                    .filter_map(|(session, generation)| self.reserved(thread, session, *generation))
                    .collect()
            }
            Attempt::Capture(session) => {
                let theirs = self.commits.iter().filter(|(_, (_, by))| by == session);
                theirs
                    .filter_map(|(commit, (parent, _))| Self::captured(thread, session, commit, parent))
                    .collect()
            }
            Attempt::Mark(session) if thread.owner.as_ref() == Some(session) => {
                vec![Thread { ready: thread.tip.clone(), ..thread.clone() }]
            }
            Attempt::Release(session, status) if thread.owner.as_ref() == Some(session) => {
                vec![Self::released(thread, session, status)]
            }
            Attempt::Mark(_) | Attempt::Release(..) => Vec::new(),
        }
    }
}

const THREADS: [&str; 3] = ["a", "b", "c"];
const AGENTS: u64 = 6;
const CALLS: u64 = 36;

/// What all agents write down.
struct World {
    sandbox: Sandbox,
    began: Instant,
    calls: Mutex<BTreeMap<&'static str, Vec<Call>>>,
    /// Sessions that somebody has heard of, with their threads.
    heard: Mutex<Vec<(String, &'static str)>>,
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
        let did = if ended.code.is_none() { Did::Killed(Box::new(attempt)) } else { told(&ended, &attempt) };
        // A killed call's effect may still be brought about by whoever recovers it.
        let end = if ended.code.is_none() { Duration::MAX } else { end };
        self.calls.lock().expect("no panic").entry(thread).or_default().push(Call {
            start,
            end,
            did: did.clone(),
        });
        (ended, did)
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
            let Some((session, thread)) = mine.clone() else {
                let thread = THREADS[draw.index(3)];
                let args = ["agent", "reserve", "--thread", thread, "--resume"];
                match self.call(&mut draw, thread, &args, Attempt::Reserve).1 {
                    Did::Reserved(session, _) => {
                        self.hear(&session, thread);
                        mine = Some((session, thread));
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
        Attempt::Reserve => String::new(),
    };
    match (ended.code, attempt) {
        (Some(0), Attempt::Reserve) => Did::Reserved(
            text(&document["session_id"]),
            document["generation"].as_u64().expect("a generation"),
        ),
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
        (Some(0), Attempt::Release(session, status)) => Did::Released(session.clone(), status),
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

/// Makes a history and judges it.
fn history(seed: u64) {
    println!("HEDDLE_HISTORY_SEED={seed}");
    let sandbox = Sandbox::new();
    let anchor = sandbox.commit("main");
    for number in 0..AGENTS {
        let tree = sandbox.path(&format!("tree-{number}"));
        sandbox.git(&["worktree", "add", "-q", "--detach", &tree.to_string_lossy()]);
    }
    let world = World { sandbox, began: Instant::now(), calls: Mutex::default(), heard: Mutex::default() };
    std::thread::scope(|scope| {
        for number in 0..AGENTS {
            let world = &world;
            scope.spawn(move || world.agent(number, seed));
        }
    });
    let World { sandbox, began, calls, .. } = world;
    let mut calls = calls.into_inner().expect("no panic");
    let told: BTreeSet<String> = calls
        .values()
        .flatten()
        .filter_map(|call| match &call.did {
            Did::Reserved(session, _) => Some(session.clone()),
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
        let untold = sessions
            .iter()
            .filter_map(|session| Some((string(&session["session_id"])?, session["generation"].as_u64()?)))
            .filter(|(session, _)| !told.contains(session))
            .collect();
        let judge = Judge { calls, untold, anchor: anchor.clone(), commits: commits_of(&sandbox, thread) };
        let mut sorted = judge.calls.clone();
        sorted.sort_by_key(|call| call.start);
        let count = judge.calls.len();
        let order = judge.order();
        assert!(
            order.is_some(),
            "seed {seed}, thread {thread}: no order explains {sorted:#?}\nuntold: {:?}",
            judge.untold
        );
        println!("thread {thread}: {count} calls");
    }
    sandbox.assert_clean(&format!("seed {seed}"));
}

/// The commits of a thread, each with its parent and its session.
fn commits_of(sandbox: &Sandbox, thread: &str) -> BTreeMap<String, (String, String)> {
    let name = format!("refs/heddle/threads/{thread}");
    if sandbox.commit(&name).is_empty() {
        return BTreeMap::new();
    }
    let format = "--format=%H %P %(trailers:key=Heddle-Session,valueonly,separator=)";
    let log = sandbox.git(&["log", format, &name, "--not", "main"]);
    log.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, (words.next()?, words.next()?)))
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
    Judge { calls, untold: vec![("u".to_owned(), 1)], anchor: "c0".to_owned(), commits }.order().is_some()
}

fn reserved(session: &str, generation: u64) -> Did {
    Did::Reserved(session.to_owned(), generation)
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
    let bad: [(&str, Vec<Call>); 13] = [
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
