//! Many processes at once: one owner, no lost commit, no moved ref for a lost session.

mod support_processes;
mod support_program;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support_processes::{BINARY, Ended, Sandbox, eventually};
use support_program::write_program;

fn ended(child: Child) -> Ended {
    Ended::new(&child.wait_with_output().expect("a process that ends"))
}

#[test]
fn a_thread_has_at_most_one_live_owner() {
    let sandbox = Sandbox::new();
    let mut last = 0;
    for round in 0..10 {
        let children: Vec<Child> =
            (0..32).map(|_| sandbox.start(&["agent", "reserve", "--thread", "t"])).collect();
        let answers: Vec<Ended> = children.into_iter().map(ended).collect();
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.code == Some(0));
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        let winner = won[0].text("session_id");
        for answer in lost {
            match answer.code {
                Some(3) => {
                    let document = answer.json();
                    assert_eq!(document["kind"], "live_owner", "{answer:?}");
                    assert_eq!(document["owner"]["session_id"], winner.as_str(), "{answer:?}");
                }
                code => assert_eq!(code, Some(75), "round {round}: {answer:?}"),
            }
        }
        let generation = won[0].json()["generation"].as_u64().expect("a generation");
        assert!(generation > last, "round {round}: {generation} after {last}");
        last = generation;
        assert_eq!(sandbox.active("t"), [winner.as_str()]);
        sandbox.heddle(&["agent", "release", "--session", &winner]).ok();
    }
    assert_eq!(last, 10);
    sandbox.assert_clean("after ten rounds");
}

#[test]
fn events_and_records_agree_after_many_processes() {
    const THREADS: [&str; 3] = ["a", "b", "c"];
    let sandbox = Sandbox::new();
    let generations: Mutex<BTreeMap<&str, Vec<u64>>> = Mutex::default();
    std::thread::scope(|scope| {
        for agent in 0..16 {
            let (sandbox, generations) = (&sandbox, &generations);
            scope.spawn(move || {
                for round in 0..6 {
                    let thread = THREADS[(agent + round) % 3];
                    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", thread]);
                    if reserved.code != Some(0) {
                        assert!(matches!(reserved.code, Some(3 | 75)), "{reserved:?}");
                        continue;
                    }
                    let generation = reserved.json()["generation"].as_u64().expect("a generation");
                    generations.lock().expect("no panic").entry(thread).or_default().push(generation);
                    let id = reserved.text("session_id");
                    sandbox.heddle(&["agent", "heartbeat", "--session", &id, "--tool-calls", "1"]).ok();
                    let status = if round % 2 == 0 { "complete" } else { "abandoned" };
                    sandbox.heddle(&["agent", "release", "--session", &id, "--status", status]).ok();
                    let late = sandbox.heddle(&["agent", "heartbeat", "--session", &id]);
                    assert_eq!(late.code, Some(5), "{late:?}");
                }
            });
        }
    });
    let events = sandbox.events();
    for (thread, mut seen) in generations.into_inner().expect("no panic") {
        seen.sort_unstable();
        let all: Vec<u64> = (1..=seen.len() as u64).collect();
        assert_eq!(seen, all, "thread {thread}: no generation twice, none left out");
        let record = sandbox.record(&format!("threads/{thread}.json"));
        assert_eq!(record["generation"].as_u64(), all.last().copied(), "{record}");
        assert!(record["owner"].is_null(), "{record}");
        let mine: Vec<_> = events.iter().filter(|event| event["thread"] == thread).collect();
        assert_eq!(mine.len(), 2 * all.len(), "one reserve and one release each");
        for (generation, pair) in all.iter().zip(mine.chunks(2)) {
            assert_eq!((&pair[0]["event"], &pair[1]["event"]), (&"reserved".into(), &"released".into()));
            assert_eq!(pair[0]["session"], pair[1]["session"]);
            assert!(pair.iter().all(|event| event["generation"].as_u64() == Some(*generation)));
            let id = pair[0]["session"].as_str().expect("a session");
            let session = sandbox.record(&format!("agents/ended/{id}.json"));
            assert_eq!(session["status"], pair[1]["status"], "{session}");
            assert_eq!(session["generation"].as_u64(), Some(*generation));
        }
        assert_eq!(sandbox.active(thread), Vec::<String>::new());
    }
    sandbox.assert_clean("after the mix");
}

#[test]
fn two_captures_of_one_session_lose_no_commit() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let mut commits = Vec::new();
    for round in 0..5 {
        sandbox.write("work", &format!("{round}\n"));
        let capture = ["agent", "capture", "--session", &id, "--allow-empty", "-m", "work"];
        let both = [sandbox.start(&capture), sandbox.start(&capture)];
        for answer in both.map(ended) {
            // They follow each other; neither has a reason to refuse.
            let answer = answer.ok();
            assert_eq!(answer.json()["captured"], true, "{answer:?}");
            commits.push(answer.text("commit"));
        }
    }
    let tip = sandbox.commit("refs/heddle/threads/t");
    for commit in &commits {
        assert!(sandbox.reaches(&tip, commit), "{commit} was lost");
    }
    let count = sandbox.git(&["rev-list", "--count", &format!("main..{tip}")]);
    assert_eq!(count, commits.len().to_string());
    assert_eq!(sandbox.git(&["show", &format!("{tip}:work")]), "4");
    sandbox.assert_clean("after ten captures");
}

/// The state letter of a process, as the system tells it.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A capture of session `id` that is stopped in the middle, with the gate that lets its hook
/// end. Later captures run no hook.
fn stopped_capture(sandbox: &Sandbox, id: &str) -> (Child, PathBuf) {
    let hooks = sandbox.git_dir().join("hooks");
    fs::create_dir_all(&hooks).expect("folder");
    let (begun, gate) = (sandbox.path("begun"), sandbox.path("gate"));
    assert!(sandbox.run("mkfifo", &[&gate.to_string_lossy()]).code == Some(0));
    let hook = format!("#!/bin/sh\n[ -e {begun:?} ] && exit 0\n: >{begun:?}\nread line <{gate:?}\n");
    write_program(hooks.join("pre-commit"), hook);
    sandbox.write("work", "late\n");
    let capture = sandbox.start(&["agent", "capture", "--session", id, "-m", "late"]);
    let limit = Duration::from_secs(20);
    assert!(eventually(limit, || begun.exists()), "the hook has begun");
    kill(pid(&capture), Signal::SIGSTOP).expect("stopped");
    assert!(eventually(limit, || state(capture.id()) == Some('T')), "it is stopped");
    (capture, gate)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

/// Lets a stopped capture go on to its end.
fn woken(capture: Child, gate: &Path) -> Ended {
    fs::write(gate, "go\n").expect("gate");
    kill(pid(&capture), Signal::SIGCONT).expect("continued");
    ended(capture)
}

#[test]
fn a_session_that_lost_its_thread_never_moves_it_again() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let before = sandbox.commit("refs/heddle/threads/t");
    let (capture, gate) = stopped_capture(&sandbox, &id);
    sandbox.heddle(&["agent", "release", "--session", &id, "--force"]).ok();
    let next = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume"]).ok();
    assert_eq!(next.json()["generation"], 2);

    let late = woken(capture, &gate);
    assert_eq!(late.code, Some(5), "{late:?}");
    assert_eq!(sandbox.commit("refs/heddle/threads/t"), before);
    assert_eq!(sandbox.active("t"), [next.text("session_id").as_str()]);
    sandbox.assert_clean("after the late capture");
}

#[test]
fn a_capture_that_slept_through_a_rename_moves_nothing() {
    // Renamed; renamed, with another owner under the old name; renamed and renamed back.
    for story in ["away", "replaced", "back"] {
        let sandbox = Sandbox::new();
        let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
        let (capture, gate) = stopped_capture(&sandbox, &id);
        sandbox.heddle(&["thread", "rename", "t", "u", "--session", &id]).ok();
        let now = match story {
            "replaced" => {
                sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok();
                "u"
            }
            "back" => {
                sandbox.heddle(&["thread", "rename", "u", "t", "--session", &id]).ok();
                "t"
            }
            _ => "u",
        };
        let refs = || sandbox.git(&["for-each-ref", "refs/heddle"]);
        let before = refs();
        let late = woken(capture, &gate);
        assert_eq!(late.code, Some(4), "{story}: {late:?}");
        let said = format!("agent session '{id}' reserved thread 't', but the current thread is '{now}'");
        assert!(late.stderr.contains(&said), "{story}: {late:?}");
        assert!(
            late.stderr.contains("hint: the thread was renamed meanwhile: repeat the command"),
            "{late:?}"
        );
        assert_eq!(refs(), before, "{story}");
        // As the hint says.
        let again = sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "again"]).ok();
        assert_eq!(
            (&again.json()["captured"], again.text("thread").as_str()),
            (&true.into(), now),
            "{story}"
        );
        sandbox.assert_clean(story);
    }
}

#[test]
fn renames_in_both_directions_and_captures_at_once_lose_nothing() {
    const ROUNDS: usize = 12;
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "a"]).ok().text("session_id");
    let captured = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for names in [["a", "b"], ["b", "c"], ["c", "a"]] {
            let (sandbox, id) = (&sandbox, &id);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let [old, new] = names;
                    let renamed = sandbox.heddle(&["thread", "rename", old, new, "--session", id]);
                    // It has another name just now, or had when we looked.
                    assert!(matches!(renamed.code, Some(0 | 1 | 3 | 4)), "{renamed:?}");
                }
            });
        }
        let (sandbox, id, captured) = (&sandbox, &id, &captured);
        scope.spawn(move || {
            for round in 0..ROUNDS {
                sandbox.write("work", &format!("{round}\n"));
                let answer = sandbox.heddle(&["agent", "capture", "--session", id, "-m", "work"]);
                assert!(matches!(answer.code, Some(0 | 4)), "{answer:?}");
                if answer.code == Some(0) {
                    captured.lock().expect("no panic").push(answer.text("commit"));
                }
            }
        });
        scope.spawn(move || {
            for _ in 0..ROUNDS {
                sandbox.heddle(&["agent", "heartbeat", "--session", id]).ok();
            }
        });
    });
    let thread = sandbox.heddle(&["agent", "show", &id]).ok().text("thread");
    let refs = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle"]);
    assert_eq!(refs, format!("refs/heddle/threads/{thread}"));
    let tip = sandbox.commit(&refs);
    let captured = captured.into_inner().expect("no panic");
    for commit in &captured {
        assert!(sandbox.reaches(&tip, commit), "{commit} was lost");
    }
    let count = sandbox.git(&["rev-list", "--count", &format!("main..{tip}")]);
    assert_eq!(count, captured.len().to_string());
    // Along the history no generation is followed by a lower one.
    let format = "--format=%(trailers:key=Heddle-Generation,valueonly,separator=%x2C)";
    let generations = sandbox.git(&["log", "--reverse", format, &format!("main..{tip}")]);
    let generations: Vec<u64> = generations.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(generations.is_sorted(), "{generations:?}");
    sandbox.assert_clean("after the renames");
}

#[test]
fn a_ref_that_git_packs_meanwhile_is_listed_all_the_same() {
    if support_processes::format::asked().reftable {
        return;
    }
    let sandbox = Sandbox::new();
    for thread in ["a", "b"] {
        sandbox.heddle(&["agent", "reserve", "--thread", thread]).ok();
    }
    let file = sandbox.git_dir().join("refs/heddle/threads/b");
    let trace = sandbox.path("trace");
    // It has found the files, and is held up for a second before it opens one.
    let args =
        ["-f", "-qq", "-o", &*trace.to_string_lossy(), "-P", &file.to_string_lossy()].map(str::to_owned);
    let slow =
        ["-e", "trace=openat", "-e", "inject=openat:delay_enter=1000000", BINARY, "--json", "thread", "list"];
    let args: Vec<&str> = args.iter().map(String::as_str).chain(slow).collect();
    let Ok(list) = sandbox.command("strace", &args).spawn() else {
        println!("skipped: there is no strace here");
        return;
    };
    std::thread::sleep(Duration::from_millis(400));
    sandbox.git(&["pack-refs", "--all"]);
    assert!(!file.exists());
    let list = ended(list).ok().json();
    let threads: Vec<_> = list.as_array().expect("an array").iter().map(|row| &row["thread"]).collect();
    assert_eq!(threads, ["a", "b"]);
}

#[test]
fn captures_and_refreshes_of_one_worktree_at_once_lose_nothing() {
    const ROUNDS: usize = 10;
    let sandbox = Sandbox::new();
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
    let (id, tree) = (reserved.text("session_id"), reserved.text("path"));
    let refresh = ["thread", "refresh", "t", "--session", &id];
    let captured = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (sandbox, id, tree, captured) = (&sandbox, &id, &tree, &captured);
        scope.spawn(move || {
            for round in 0..ROUNDS {
                let subject = format!("work {round}");
                fs::write(format!("{tree}/w{round}"), "work\n").expect("file");
                let args = ["-C", tree, "agent", "capture", "--session", id, "-m", &subject];
                let answer = sandbox.heddle(&args);
                assert!(matches!(answer.code, Some(0 | 4)), "{answer:?}");
                if answer.json()["captured"] == true {
                    captured.lock().expect("no panic").push(subject);
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let answer = sandbox.heddle(&refresh);
                    assert!(matches!(answer.code, Some(0 | 4)), "{answer:?}");
                }
            });
        }
        scope.spawn(move || {
            for round in 0..ROUNDS {
                sandbox.write(&format!("m{round}"), "main\n");
                sandbox.git(&["add", "."]);
                sandbox.git(&["commit", "-q", "-m", &format!("main {round}")]);
            }
        });
    });
    sandbox.heddle(&refresh).ok();
    let last = sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &id, "-m", "the rest"]).ok();
    let mut expected = captured.into_inner().expect("no panic");
    if last.json()["captured"] == true {
        expected.push("the rest".to_owned());
    }
    let tip = sandbox.commit("refs/heddle/threads/t");
    let subjects = sandbox.git(&["log", "--reverse", "--format=%s", &format!("main..{tip}")]);
    assert_eq!(subjects.lines().collect::<Vec<_>>(), expected);
    assert!(sandbox.reaches(&tip, "main"));
    let files = sandbox.git(&["ls-tree", "--name-only", &tip]);
    for round in 0..ROUNDS {
        for name in [format!("w{round}"), format!("m{round}")] {
            assert!(files.lines().any(|file| file == name), "{name}: {files}");
        }
    }
    assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "");
    assert_eq!(sandbox.git(&["-C", &tree, "rev-parse", "HEAD"]), tip);
    sandbox.assert_clean("after the refreshes");
}
