//! A thread's name and one below it, of which only one can be a ref where refs are files: what
//! others leave behind, and two at once.

mod support_processes;

use std::fs;
use std::time::Duration;

use support_processes::{Ended, Sandbox, format};

fn ended(child: std::process::Child) -> Ended {
    Ended::new(&child.wait_with_output().expect("a process that ends"))
}

/// Folders with nothing in them where the ref, the mark and the logs of `thread` go.
fn put_empty_folders(sandbox: &Sandbox, thread: &str) {
    for place in ["refs", "logs/refs"] {
        for kind in ["threads", "ready"] {
            let folder = sandbox.git_dir().join(format!("{place}/heddle/{kind}/{thread}"));
            fs::create_dir_all(folder.join("below/it")).expect("folder");
        }
    }
}

fn journals(sandbox: &Sandbox) -> usize {
    let files = fs::read_dir(sandbox.git_dir().join("heddle/locks")).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "journal")).count()
}

#[test]
fn empty_folders_are_in_nobodys_way() {
    if format::asked().reftable {
        return;
    }
    let sandbox = Sandbox::new();
    put_empty_folders(&sandbox, "z");
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "z"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "ready", "--session", &id, "-m", "work"]).ok();
    put_empty_folders(&sandbox, "new");
    sandbox.heddle(&["thread", "rename", "z", "new", "--session", &id]).ok();
    sandbox.heddle(&["agent", "heartbeat", "--session", &id]).ok();
    let log = sandbox.git(&["reflog", "--format=%gs", "refs/heddle/threads/new"]);
    assert!(log.starts_with("heddle: rename z to new\n"), "{log}");
    sandbox.git(&["rev-parse", "--verify", "refs/heddle/ready/new"]);
    // And the other way about: below a name that is free again.
    sandbox.heddle(&["agent", "reserve", "--thread", "z/below"]).ok();
    sandbox.assert_clean("after the rename");
}

#[test]
fn a_log_below_is_a_clash_of_names_and_nothing_stays_of_what_is_refused() {
    if format::asked().reftable {
        return;
    }
    let sandbox = Sandbox::new();
    let log = sandbox.git_dir().join("logs/refs/heddle/threads/z/q");
    fs::create_dir_all(log.parent().expect("a folder")).expect("folder");
    fs::write(&log, "somebody's\n").expect("log");
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "src"]).ok().text("session_id");
    let refs = || sandbox.git(&["for-each-ref"]);
    let before = refs();
    let reserve = ["agent", "reserve", "--thread", "z"];
    let rename = ["thread", "rename", "src", "z", "--session", &id];
    let force = ["thread", "rename", "src", "z", "--force"];
    for args in [&reserve[..], &rename, &force, &reserve] {
        let refused = sandbox.heddle(args);
        assert_eq!(refused.code, Some(1), "{args:?}: {refused:?}");
        let said = "cannot create ref 'refs/heddle/threads/z': 'logs/refs/heddle/threads/z/q' exists";
        assert!(refused.stderr.contains(said), "{args:?}: {refused:?}");
        assert_eq!((refs(), journals(&sandbox)), (before.clone(), 0), "{args:?}");
    }
    assert_eq!(fs::read_to_string(&log).expect("log"), "somebody's\n");
    // The owner of the thread that was to be renamed goes on.
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "heartbeat", "--session", &id]).ok();
    sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "work"]).ok();
    sandbox.heddle(&["agent", "release", "--session", &id]).ok();
    sandbox.assert_clean("after the refusals");
}

#[test]
fn of_a_name_and_one_below_it_one_is_made_and_nothing_stays_of_the_other() {
    let sandbox = Sandbox::new();
    for round in 0..20 {
        let id = sandbox.heddle(&["agent", "reserve", "--thread", "src"]).ok().text("session_id");
        let below = sandbox.start(&["agent", "reserve", "--thread", "z/q"]);
        let other = match round % 2 {
            0 => sandbox.start(&["agent", "reserve", "--thread", "z"]),
            _ => sandbox.start(&["thread", "rename", "src", "z", "--session", &id]),
        };
        let answers = [ended(below), ended(other)];
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.code == Some(0));
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        for answer in lost {
            // Where the folder of the one came in the very instant before the other's file.
            assert!(matches!(answer.code, Some(1 | 75)), "round {round}: {answer:?}");
            assert!(answer.stderr.contains("' exists") || answer.code == Some(75), "{answer:?}");
        }
        assert_eq!(journals(&sandbox), 0, "round {round}");
        sandbox.assert_clean(&format!("round {round}"));
        sandbox.heddle(&["agent", "heartbeat", "--session", &id]).ok();
        let threads = sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle/threads"]);
        for name in threads.lines() {
            let thread = name.strip_prefix("refs/heddle/threads/").expect("a thread");
            sandbox.heddle(&["thread", "drop", thread, "--force"]).ok();
        }
        assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle/threads"]), "", "round {round}");
    }
}

#[test]
fn a_reserve_that_was_killed_is_not_in_the_way_of_the_name_above_it() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.lockTimeout", "1"]);
    for round in 0..20 {
        let (above, below) = (format!("k{round}"), format!("k{round}/q"));
        let mut child = sandbox.start(&["agent", "reserve", "--thread", &below]);
        std::thread::sleep(Duration::from_millis(round));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let reserve = ["agent", "reserve", "--thread", &above];
        let mut answer = sandbox.heddle(&reserve);
        if answer.code == Some(75) {
            // Killed between Git's lock and the journal that tells whose it is.
            sandbox.heal("after the kill");
            answer = sandbox.heddle(&reserve);
        }
        let made = !sandbox.commit(&format!("refs/heddle/threads/{below}")).is_empty();
        assert_eq!(answer.code, Some(i32::from(made)), "round {round}: {answer:?}");
        assert!(!made || answer.stderr.contains("' exists"), "round {round}: {answer:?}");
    }
    sandbox.heddle(&["doctor", "--fix"]);
    sandbox.assert_clean("after the kills");
}

#[test]
fn a_reserve_that_died_is_undone_whatever_took_the_place_of_its_log() {
    if format::asked().reftable {
        return;
    }
    // A folder with nothing in it, one with somebody's log, and a file where its folder was.
    for (thread, place, file) in [("z", "z/x", None), ("z", "z", Some("q")), ("z/q", "", Some("z"))] {
        let sandbox = Sandbox::new();
        sandbox.heddle(&["agent", "reserve", "--thread", "other"]).ok();
        let head = sandbox.commit("HEAD");
        let journal = serde_json::json!({"version": 1, "operation": "op-1",
            "kind": "reserve", "session": "agent-01m8cqt91zy9fe426bxvyd9qpq", "generation": 1,
            "tip": {
                "name": format!("refs/heddle/threads/{thread}"), "old": null, "new": head,
                "lock": {"dev": 1, "ino": 1},
            },
        });
        let path = sandbox.git_dir().join(format!("heddle/locks/{}.journal", thread.replace('/', "%2F")));
        fs::write(&path, format!("{journal}\n")).expect("journal");
        let folder = sandbox.git_dir().join("logs/refs/heddle/threads").join(place);
        fs::create_dir_all(&folder).expect("folder");
        if let Some(file) = file {
            fs::write(folder.join(file), "somebody's\n").expect("log");
        }
        let answer = sandbox.heddle(&["agent", "reserve", "--thread", thread]);
        assert_eq!(answer.code, Some(i32::from(file.is_some())), "{thread}, {place}: {answer:?}");
        assert_eq!(journals(&sandbox), 0, "{thread}, {place}");
        assert!(file.is_none_or(|file| folder.join(file).is_file()), "{thread}, {place}");
        sandbox.assert_clean(thread);
    }
}
