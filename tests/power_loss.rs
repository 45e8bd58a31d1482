//! The power goes at every instant: what was reported is there, and the next command on the
//! thread repairs the rest.
//!
//! Each command is run once under strace. Its calls are replayed on a model of a disk
//! (`support_disk`), and after every call that changes something the states that a power cut
//! could leave are put in the place of the repository: all names without unsynced content,
//! nothing unsynced at all, and some drawn by chance. `HEDDLE_POWER_SEED` replays a draw, and
//! `HEDDLE_POWER_DRAWS` makes more of them. One state in [`support_power::STRIDE`] is tried, from
//! `HEDDLE_POWER_SEED` on; `HEDDLE_POWER=all` tries all.

mod support_disk;
mod support_power;
mod support_processes;

use support_power::{Case, TIP, USUAL, cut_everywhere, ready_thread};
use support_processes::{BINARY, Ended, Sandbox};

#[test]
fn a_reserve_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    cut_everywhere(
        &sandbox,
        &Case {
            name: "reserve",
            command: vec!["agent", "reserve", "--thread", "t"],
            next: (vec!["agent", "reserve", "--thread", "t", "--resume"], &[0, 3]),
            kept: &|sandbox, reported| {
                assert_eq!(sandbox.active("t"), [reported.text("session_id")]);
            },
            ..USUAL
        },
    );
}

#[test]
fn a_takeover_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::with_a_dead_owner();
    cut_everywhere(
        &sandbox,
        &Case {
            name: "takeover",
            command: vec!["agent", "reserve", "--thread", "t"],
            next: (vec!["agent", "reserve", "--thread", "t", "--resume"], &[0, 3]),
            kept: &|sandbox, reported| {
                assert_eq!(sandbox.active("t"), [reported.text("session_id")]);
                assert_eq!(sandbox.record("threads/t.json")["generation"], 2);
            },
            ..USUAL
        },
    );
}

#[test]
fn a_capture_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    let command = vec!["agent", "capture", "--session", &id, "-m", "work"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "capture",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, reported| {
                assert_eq!(sandbox.commit(TIP), reported.text("commit"));
            },
            ..USUAL
        },
    );
}

#[test]
fn a_ready_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    let command = vec!["agent", "ready", "--session", &id, "-m", "work"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "ready",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, reported| {
                assert_eq!(reported.text("status"), "completed");
                assert_eq!(sandbox.git(&["show", "refs/heddle/ready/t:work"]), "work");
                assert_eq!(sandbox.commit("refs/heddle/ready/t"), sandbox.commit(TIP));
            },
            ..USUAL
        },
    );
}

#[test]
fn a_release_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let command = vec!["agent", "release", "--session", &id];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "release",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| {
                let shown = sandbox.heddle(&["--json", "agent", "show", &id]).ok();
                assert_eq!(shown.text("status"), "complete");
                assert_eq!(sandbox.active("t"), Vec::<String>::new());
            },
            ..USUAL
        },
    );
}

#[test]
fn a_heartbeat_leaves_a_whole_session_and_what_it_reported_survives() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    let bare = vec!["agent", "heartbeat", "--session", &id];
    let report = [&bare[..], &["--progress", "half", "--tool-calls", "3"]].concat();
    let reported = |sandbox: &Sandbox, _: &Ended| {
        let shown = sandbox.heddle(&["--json", "agent", "show", &id]).ok();
        assert_eq!(shown.text("progress"), "half");
        assert_eq!(shown.json()["usage"]["tool_calls"], 3);
    };
    let whole = |sandbox: &Sandbox, _: &Ended| assert_eq!(sandbox.active("t"), std::slice::from_ref(&id));
    let next = || (bare.clone(), &[0][..]);
    let name = "heartbeat";
    cut_everywhere(&sandbox, &Case { name, command: bare.clone(), next: next(), kept: &whole, ..USUAL });
    cut_everywhere(&sandbox, &Case { name, command: report, next: next(), kept: &reported, ..USUAL });
}

#[test]
fn a_run_that_ended_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    sandbox.write("work", "work\n");
    // The watcher is there, and what the capture knew of it was written down.
    let line = format!(
        "until test -e .git/heddle-watch-$HEDDLE_SESSION/socket; do sleep 0.01; done
        exec '{BINARY}' agent capture -m work"
    );
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            name: "run",
            command: vec!["agent", "run", "--thread", "t", "--", "sh", "-c", &line],
            next: (vec!["agent", "reserve", "--thread", "t", "--resume"], &[0]),
            kept: &|sandbox, _| {
                assert_eq!(sandbox.git(&["show", &format!("{TIP}:work")]), "work");
                assert_eq!(sandbox.active("t"), Vec::<String>::new());
            },
            ..USUAL
        },
    );
}

#[test]
fn a_landing_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    let command = vec!["thread", "land", "t"];
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            in_order: true,
            name: "land",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| assert_eq!(sandbox.git(&["show", "main:work"]), "work"),
            ..USUAL
        },
    );
}

#[test]
fn a_rename_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            name: "rename",
            command: vec!["thread", "rename", "t", "u", "--session", &id],
            next: (vec!["agent", "heartbeat", "--session", &id], &[0]),
            kept: &|sandbox, _| {
                assert_eq!(sandbox.active("u"), std::slice::from_ref(&id));
                assert_eq!(sandbox.commit("refs/heddle/threads/u"), sandbox.commit("main"));
            },
            ..USUAL
        },
    );
}

#[test]
fn a_refresh_that_answered_survives_and_one_that_did_not_is_repaired() {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    sandbox.write("more", "more\n");
    sandbox.git(&["add", "more"]);
    sandbox.git(&["commit", "-q", "-m", "more"]);
    let command = vec!["thread", "refresh", "t"];
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            name: "refresh",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| {
                assert!(sandbox.reaches(TIP, "main"));
                assert_eq!(sandbox.git(&["show", &format!("{TIP}:work")]), "work");
            },
            ..USUAL
        },
    );
}

#[test]
fn an_installation_of_hooks_that_answered_survives_and_one_that_did_not_is_finished() {
    let sandbox = Sandbox::new();
    let command = vec!["hooks", "install"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "hooks install",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| {
                sandbox.heddle(&["hooks", "status"]).ok();
            },
            ..USUAL
        },
    );
}
