//! The power goes at every instant of what goes on around the work on a thread: dropping,
//! promoting, collecting, and landing where Git writes no files of a checkout. As in `power_loss`.

mod support_disk;
mod support_power;
mod support_processes;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support_power::{Case, STRIDE, TIP, USUAL, cut_everywhere, ready_thread};
use support_processes::{Sandbox, files};

const WAY_BACK: &str = "refs/heddle/dropped/t/1";

/// What a file is in a revision; empty if it is not there.
fn content(sandbox: &Sandbox, revision: &str, file: &str) -> String {
    sandbox.run("git", &["show", &format!("{revision}:{file}")]).stdout
}

/// The refs below a prefix.
fn refs(sandbox: &Sandbox, prefix: &str) -> String {
    sandbox.git(&["for-each-ref", "--format=%(refname)", prefix])
}

/// Sees to it that what is kept of the dropped thread goes when its time has come.
fn way_back_goes(sandbox: &Sandbox, about: &str) {
    sandbox.git(&["config", "heddle.retention", "0s"]);
    // A lock of a git that was cut off may be in the way.
    sandbox.heal(about);
    let gone = sandbox.heddle(&["gc"]);
    assert_eq!(refs(sandbox, "refs/heddle/dropped/"), "", "{about}: {gone:?}");
}

#[test]
fn a_drop_that_answered_survives_and_one_that_did_not_loses_nothing() {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    let command = vec!["thread", "drop", "t", "--force"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "drop",
            next: (command.clone(), &[0, 1]),
            command,
            kept: &|sandbox, _| {
                assert_eq!(sandbox.commit(TIP), "");
                assert_eq!(sandbox.commit("refs/heddle/ready/t"), "");
            },
            always: &|sandbox, about| {
                assert_eq!(content(sandbox, WAY_BACK, "work"), "work\n", "{about}");
                assert_eq!(refs(sandbox, "refs/heddle/threads/"), "", "{about}");
                assert_eq!(refs(sandbox, "refs/heddle/ready/"), "", "{about}");
                way_back_goes(sandbox, about);
            },
            stride: 2 * STRIDE,
            ..USUAL
        },
    );
}

#[test]
fn a_drop_with_a_worktree_that_answered_survives_and_one_that_did_not_loses_nothing() {
    let sandbox = Sandbox::new();
    let args = ["agent", "reserve", "--thread", "t", "--worktree=tree"];
    let id = sandbox.heddle(&args).ok().text("session_id");
    sandbox.write("tree/work", "work\n");
    sandbox.heddle(&["-C", "tree", "agent", "ready", "--session", &id, "-m", "work"]).ok();
    sandbox.write("tree/loose", "loose\n");
    sandbox.heddle(&["agent", "release", "--session", &id]).ok();
    let command = vec!["thread", "drop", "t", "--force"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "drop with a worktree",
            // Git syncs nothing of what it removes.
            in_order: true,
            next: (command.clone(), &[0, 1]),
            command,
            kept: &|sandbox, _| {
                assert_eq!(sandbox.commit(TIP), "");
            },
            always: &|sandbox, about| {
                assert_eq!(content(sandbox, WAY_BACK, "work"), "work\n", "{about}");
                let loose = content(sandbox, &format!("{WAY_BACK}-worktree"), "loose");
                assert_eq!(loose, "loose\n", "{about}");
                assert_eq!(refs(sandbox, "refs/heddle/threads/"), "", "{about}");
                // Of a worktree whose folder is gone Git may still know, as if somebody had deleted it.
                sandbox.git(&["worktree", "prune"]);
                assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
                assert!(!sandbox.worktree().join("tree").exists(), "{about}");
                way_back_goes(sandbox, about);
            },
            stride: 2 * STRIDE,
            ..USUAL
        },
    );
}

#[test]
fn a_promotion_that_answered_survives_and_one_that_did_not_is_repeated() {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    let command = vec!["--json", "thread", "promote", "t", "--branch", "team/branch"];
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            name: "promote",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, reported| {
                assert_eq!(sandbox.commit("refs/heads/team/branch"), reported.text("commit"));
                assert_eq!(sandbox.record("threads/t.json")["promoted"], "refs/heads/team/branch");
            },
            always: &|sandbox, about| {
                assert_eq!(content(sandbox, TIP, "work"), "work\n", "{about}");
                assert_eq!(content(sandbox, "refs/heads/team/branch", "work"), "work\n", "{about}");
            },
            stride: 2 * STRIDE,
            ..USUAL
        },
    );
}

/// A landed thread `t`, a dropped one, sessions that ended, and what a check and a watcher left.
fn much_to_collect() -> Sandbox {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    sandbox.heddle(&["thread", "land", "t"]).ok();
    sandbox.heddle(&["agent", "reserve", "--thread", "d"]).ok();
    sandbox.heddle(&["thread", "drop", "d", "--force"]).ok();
    let git_dir = sandbox.git_dir();
    fs::create_dir_all(git_dir.join("heddle/logs")).expect("folder");
    fs::write(git_dir.join("heddle/logs/agent-gone-1.log"), "said\n").expect("file");
    let watched = git_dir.join("heddle-watch-agent-gone");
    fs::create_dir(&watched).expect("folder");
    fs::set_permissions(&watched, fs::Permissions::from_mode(0o700)).expect("mode");
    fs::write(watched.join("note.json"), "{}\n").expect("file");
    sandbox.git(&["config", "heddle.retention", "0s"]);
    sandbox
}

/// Asserts that nothing is there any more whose time has come.
fn is_collected(sandbox: &Sandbox, about: &str) {
    assert_eq!(refs(sandbox, "refs/heddle/dropped/d/"), "", "{about}");
    assert_eq!(refs(sandbox, "refs/heddle/threads/"), "", "{about}");
    let folder = |name| sandbox.git_dir().join(name);
    for folder in [folder("heddle/agents/ended"), folder("heddle/logs")] {
        assert_eq!(
            files(&folder, &|name| !name.starts_with('.')),
            Vec::<std::path::PathBuf>::new(),
            "{about}"
        );
    }
    assert!(!Path::exists(&folder("heddle-watch-agent-gone")), "{about}");
    assert_eq!(content(sandbox, "main", "work"), "work\n", "{about}");
}

#[test]
fn a_collection_that_answered_survives_and_one_that_did_not_is_finished() {
    let sandbox = much_to_collect();
    let command = vec!["gc"];
    cut_everywhere(
        &sandbox,
        &Case {
            name: "gc",
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| is_collected(sandbox, "after the answer"),
            always: &|sandbox, about| {
                if !sandbox.ref_locks().is_empty() {
                    // Of a git that was cut off; what it was in the way of was told by name, and stayed.
                    sandbox.heal(about);
                    sandbox.heddle(&["gc"]).ok();
                }
                is_collected(sandbox, about);
            },
            stride: 2 * STRIDE,
            ..USUAL
        },
    );
}

/// A landing of which Git writes no file into a checkout: all of it is as strict as everything else.
fn land_everywhere(name: &str, prepare: &dyn Fn(&Sandbox)) {
    let sandbox = Sandbox::new();
    ready_thread(&sandbox);
    // What is merged is not what the thread has.
    sandbox.write("more", "more\n");
    sandbox.git(&["add", "more"]);
    sandbox.git(&["commit", "-q", "-m", "more"]);
    prepare(&sandbox);
    let command = vec!["thread", "land", "t"];
    cut_everywhere(
        &sandbox,
        &Case {
            at_tip: true,
            name,
            next: (command.clone(), &[0]),
            command,
            kept: &|sandbox, _| assert_eq!(content(sandbox, "main", "work"), "work\n"),
            always: &|sandbox, about| {
                assert_eq!(content(sandbox, "main", "work"), "work\n", "{about}");
                assert_eq!(content(sandbox, "main", "more"), "more\n", "{about}");
            },
            stride: 2 * STRIDE,
            ..USUAL
        },
    );
}

#[test]
fn a_landing_on_what_nobody_has_checked_out_survives_or_is_repaired() {
    land_everywhere("land nowhere", &|sandbox| {
        sandbox.git(&["checkout", "-q", "-b", "elsewhere"]);
    });
}

#[test]
fn a_landing_in_a_bare_repository_survives_or_is_repaired() {
    land_everywhere("land in a bare one", &|sandbox| {
        sandbox.git(&["config", "core.bare", "true"]);
    });
}
