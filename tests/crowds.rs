//! Crowds: many processes at once on one thread, round after round, and on as many threads, alone
//! and with Git's own commands among them. One winner a round, every loser is told of the winner,
//! nothing is lost, and nothing is left over.
//!
//! `HEDDLE_CROWD_ROUNDS` sets how many rounds there are, `HEDDLE_CROWD_THREADS` how many
//! threads.

mod support_processes;

use std::fs;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use support_processes::{BINARY, Ended, Sandbox, from_environment};

const CROWD: usize = 64;

fn crowded() -> Sandbox {
    let sandbox = Sandbox::new();
    // Whoever waits is told in the end; nobody gives up because the machine is slow.
    sandbox.git(&["config", "heddle.lockTimeout", "120s"]);
    sandbox
}

/// One round on thread `t`: all ask, one gets it, and gives it back.
fn round(sandbox: &Sandbox, number: u64) {
    let ask = ["agent", "reserve", "--thread", "t", "--resume"];
    let children: Vec<Child> = (0..CROWD).map(|_| sandbox.start(&ask)).collect();
    let ended = |child: Child| Ended::new(&child.wait_with_output().expect("a process that ends"));
    let answers: Vec<Ended> = children.into_iter().map(ended).collect();
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.code == Some(0));
    assert_eq!(won.len(), 1, "round {number}: {won:?}");
    let winner = won[0].text("session_id");
    assert_eq!(won[0].json()["generation"], number, "{won:?}");
    for answer in lost {
        assert_eq!(answer.code, Some(3), "round {number}: {answer:?}");
        let document = answer.json();
        assert_eq!(document["kind"], "live_owner", "round {number}: {answer:?}");
        assert_eq!(document["owner"]["session_id"], winner.as_str(), "round {number}: {answer:?}");
    }
    sandbox.heddle(&["agent", "release", "--session", &winner]).ok();
}

/// As many threads as there are processes, all started at once.
fn threads(sandbox: &Sandbox, count: u64) {
    let out = sandbox.path("home/out");
    fs::create_dir_all(&out).expect("folder");
    let start = |verb: &str, number: u64, args: &[&str]| {
        // Files, as there may be more pipes than one may have open.
        let file = |kind: &str| fs::File::create(out.join(format!("{verb}-{number}.{kind}"))).expect("file");
        let mut command = sandbox.command(BINARY, args);
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().expect("git-heddle")
    };
    let answer = |verb: &str, number: u64, mut child: Child| {
        let status = child.wait().expect("a process that ends");
        let text =
            |kind: &str| fs::read_to_string(out.join(format!("{verb}-{number}.{kind}"))).expect("text");
        Ended { code: status.code(), stdout: text("out"), stderr: text("err") }.ok()
    };
    let all: Vec<(u64, Child)> = (0..count)
        .map(|number| (number, start("reserve", number, &["agent", "reserve", "--thread", &name(number)])))
        .collect();
    let sessions: Vec<String> = all
        .into_iter()
        .map(|(number, child)| {
            let reserved = answer("reserve", number, child);
            assert_eq!((&reserved.json()["generation"], reserved.text("thread")), (&1.into(), name(number)));
            reserved.text("session_id")
        })
        .collect();
    let ends: Vec<(u64, Child)> = sessions
        .iter()
        .zip(0..)
        .map(|(session, number)| {
            (number, start("release", number, &["agent", "release", "--session", session]))
        })
        .collect();
    for (number, child) in ends {
        answer("release", number, child);
    }
    let tips = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle/threads/crowd"]);
    assert_eq!(tips.lines().count() as u64, count);
    let events = sandbox.events();
    for kind in ["reserved", "released"] {
        let of_crowd = |thread: &str| thread.starts_with("crowd/");
        let seen = events.iter().filter(|event| event["event"] == kind);
        let seen = seen.filter(|event| event["thread"].as_str().is_some_and(of_crowd)).count();
        assert_eq!(seen as u64, count, "{kind}");
    }
}

fn name(number: u64) -> String {
    format!("crowd/{number}")
}

/// What else goes on in the repository until `done`: a commit in a bound worktree now and then, and
/// Git tidying up. The subjects of the commits.
fn git_goes_on(sandbox: &Sandbox, tree: &str, done: &AtomicBool) -> Vec<String> {
    let made = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let repeat = |args: &'static [&'static str]| {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let ended = sandbox.run("git", args);
                    // Two of Git's own that tidy up at once refuse each other; where all refs are in one
                    // table they hardly wait for anybody, and some only exit with a number.
                    let busy = ended.stderr.contains(".lock") || ended.stderr.contains("already running");
                    let tables = support_processes::format::asked().reftable;
                    assert!(ended.code == Some(0) || busy || tables, "{args:?}: {ended:?}");
                }
            });
        };
        repeat(&["gc", "--quiet"]);
        repeat(&["pack-refs", "--all"]);
        repeat(&["fetch", "--quiet", "--prune", "upstream"]);
        repeat(&["worktree", "prune"]);
        while !done.load(Ordering::Relaxed) {
            let mut made = made.lock().expect("no panic");
            let subject = format!("by hand {}", made.len());
            fs::write(format!("{tree}/file"), &subject).expect("file");
            // A `git gc` removes an empty folder of objects just as another git is to write there.
            let raced = |ended: &Ended| ended.stderr.contains("unable to create temporary file");
            for args in [&["-C", tree, "add", "file"][..], &["-C", tree, "commit", "-q", "-m", &subject]] {
                let mut ended = sandbox.run("git", args);
                while raced(&ended) {
                    ended = sandbox.run("git", args);
                }
                ended.ok();
            }
            made.push(subject);
        }
    });
    made.into_inner().expect("no panic")
}

/// Does `work` while Git goes on; every commit by hand is on its thread in the end.
fn among_git(sandbox: &Sandbox, work: impl FnOnce()) {
    let upstream = sandbox.path("upstream");
    let url = upstream.to_string_lossy().into_owned();
    sandbox.git(&["clone", "-q", "--bare", ".", &url]);
    sandbox.git(&["remote", "add", "upstream", &url]);
    sandbox.heddle(&["hooks", "install"]).ok();
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "w", "--worktree"]).ok();
    let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
    let done = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let git = scope.spawn(|| git_goes_on(sandbox, &tree, &done));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        let made = git.join().expect("what else goes on");
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        made
    });
    fs::write(format!("{tree}/last"), "last\n").expect("file");
    sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "last"]).ok();
    let subjects = sandbox.git(&["log", "--reverse", "--format=%s", "main..refs/heddle/threads/w"]);
    let expected = made.iter().map(String::as_str).chain(["last"]).collect::<Vec<_>>();
    assert_eq!(subjects.lines().collect::<Vec<_>>(), expected);
    println!("{} commits by hand", made.len());
    sandbox.heddle(&["agent", "release", "--session", &session]).ok();
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
}

fn rounds(sandbox: &Sandbox) {
    let count = from_environment("HEDDLE_CROWD_ROUNDS", 3);
    let began = Instant::now();
    (1..=count).for_each(|number| round(sandbox, number));
    println!("{count} rounds of {CROWD} processes, {:?}", began.elapsed());
}

fn many(sandbox: &Sandbox) {
    let count = from_environment("HEDDLE_CROWD_THREADS", 48);
    let began = Instant::now();
    threads(sandbox, count);
    println!("{count} processes on {count} threads, {:?}", began.elapsed());
}

#[test]
fn of_a_crowd_on_one_thread_one_wins_each_round() {
    let sandbox = crowded();
    rounds(&sandbox);
    sandbox.assert_clean("after the rounds");
}

#[test]
fn a_crowd_on_as_many_threads_gets_them_all() {
    let sandbox = crowded();
    many(&sandbox);
    sandbox.assert_clean("after the crowd");
}

#[test]
fn of_a_crowd_among_git_commands_one_wins_each_round() {
    let sandbox = crowded();
    among_git(&sandbox, || rounds(&sandbox));
    sandbox.assert_clean("after the rounds");
}

#[test]
fn a_crowd_among_git_commands_gets_all_its_threads() {
    let sandbox = crowded();
    among_git(&sandbox, || many(&sandbox));
    sandbox.assert_clean("after the crowd");
}
