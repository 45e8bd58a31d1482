//! A fleet at work: runners with real edits race over threads while landing runs in a loop.
//! Afterwards every commit that was captured is on its thread or on the target, exactly once,
//! and nothing is left over. Bounded to a minute.

mod support_processes;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support_processes::{BINARY, Sandbox, files};

const RUNNERS: usize = 8;
const THREADS: usize = 24;
/// How many runs are tried in all, and for how long at most.
const RUNS: usize = 240;
const LIMIT: Duration = Duration::from_secs(45);

/// What an agent does: edits, captures, edits again and leaves that to the runner. Every fifth
/// run dies of a signal, every third edits a file that others edit too.
fn line(thread: &str, run: usize) -> String {
    let shared = if run.is_multiple_of(3) { "shared" } else { thread };
    let end = if run.is_multiple_of(5) { "kill -9 $$" } else { "exit 0" };
    format!(
        "echo {run} >>{thread}; '{BINARY}' agent capture -m 'capture {run} on {thread}' >>\"$SOAK_LOG\" || exit 9; \
         echo {run} >>{shared}; {end}"
    )
}

#[test]
fn a_fleet_loses_nothing_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("shared", "0\n");
    sandbox.git(&["add", "shared"]);
    sandbox.git(&["commit", "-q", "-m", "shared"]);
    sandbox.git(&["config", "heddle.lockTimeout", "60s"]);
    let log = sandbox.path("home/captures");
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let outcomes: Mutex<BTreeMap<Option<i32>, usize>> = Mutex::default();
    let deadline = Instant::now() + LIMIT;
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..RUNNERS)
            .map(|_| {
                scope.spawn(|| {
                    while Instant::now() < deadline {
                        let run = next.fetch_add(1, Ordering::Relaxed);
                        if run >= RUNS {
                            return;
                        }
                        // Neighbours want the same thread at the same time.
                        let thread = format!("t{}", (run / 2) % THREADS);
                        let task = format!("--task=run {run} on {thread}");
                        let line = line(&thread, run);
                        let args =
                            ["agent", "run", "--thread", &thread, "--worktree", "--resume", "--ready", &task];
                        let args = [&args[..], &["--", "sh", "-c", &line]].concat();
                        let mut command = sandbox.command(BINARY, &args);
                        let output = command.env("SOAK_LOG", &log).output().expect("git-heddle");
                        let code = output.status.code();
                        assert!(matches!(code, Some(0 | 3 | 4 | 7) | None), "run {run}: {output:?}");
                        *outcomes.lock().expect("no panic").entry(code).or_default() += 1;
                    }
                })
            })
            .collect();
        let lander = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let landed = sandbox.heddle(&["thread", "land", "--all-ready"]);
                assert!(matches!(landed.code, Some(0 | 7)), "{landed:?}");
                rounds += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            rounds
        });
        let ended: Vec<_> = runners.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a runner failed");
        let rounds = lander.join().expect("the lander");
        println!("{rounds} rounds of landing, exit codes {:?}", outcomes.lock().expect("no panic"));
    });
    let last = sandbox.heddle(&["thread", "land", "--all-ready"]);
    assert!(matches!(last.code, Some(0 | 7)), "{last:?}");

    // Every commit that a capture reported is on the target or on its thread, and each piece
    // of work is there once.
    let tips = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle/threads/"]);
    let mut all = vec!["log", "--format=%H %s", "refs/heads/main"];
    all.extend(tips.lines());
    let reachable = sandbox.git(&all);
    let captures = fs::read_to_string(&log).expect("captures");
    let mut count = 0;
    for capture in captures.lines() {
        let capture: serde_json::Value = serde_json::from_str(capture).expect("a whole document");
        let commit = capture["commit"].as_str().expect("a commit");
        assert!(reachable.contains(commit), "{commit} was lost");
        let subject = capture["message"].as_str().and_then(|text| text.lines().next()).expect("a subject");
        let times = reachable.lines().filter(|line| line.ends_with(&format!(" {subject}"))).count();
        assert_eq!(times, 1, "{subject}");
        count += 1;
    }
    assert!(count >= THREADS, "{count} captures are no fleet");
    // What a run left to its runner was captured too: its line is in a file of its thread.
    let sessions = sandbox.heddle(&["--json", "agent", "list"]).ok().json();
    let sessions = sessions.as_array().expect("an array");
    assert!(sessions.iter().all(|session| session["status"] != "active"), "somebody is alive");
    assert_eq!(
        sandbox.git(&["worktree", "list"]).lines().count(),
        1,
        "{}",
        sandbox.git(&["worktree", "list"])
    );
    assert!(!sandbox.path("repo.heddle").exists());
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!(
        files(&sandbox.git_dir().join("heddle/locks"), &|name| name.ends_with(".journal")),
        Vec::<std::path::PathBuf>::new()
    );
    for (thread, record) in (0..THREADS).map(|n| (n, sandbox.record(&format!("threads/t{n}.json")))) {
        assert!(record["owner"].is_null() && record.get("landing").is_none(), "t{thread}: {record}");
    }
    sandbox.assert_clean("after the fleet");
}
