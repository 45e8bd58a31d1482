//! Where agents do nothing but capture, objects are put together as after `git commit`.

mod support_processes;
mod support_program;

use std::path::Path;
use std::time::Duration;

use support_processes::{Sandbox, eventually};
use support_program::write_program;

/// How many objects Git would take for "a few": with `gc.auto=256`, two in each of 256 folders.
const FILES: usize = 2_000;

/// A repository with many loose objects and a session, configured so.
fn repository(config: &[(&str, &str)]) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    for number in 0..FILES {
        sandbox.write(&format!("f{number}"), &format!("{number}\n"));
    }
    sandbox.git(&["config", "gc.auto", "0"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "many"]);
    let loose = std::fs::read_dir(sandbox.git_dir().join("objects/17")).expect("objects").count();
    assert!(loose > 2, "{loose} loose objects where {} were to be", FILES / 256);
    // In the foreground, so that it is over when the command is.
    for (key, value) in [("gc.autoDetach", "false"), ("maintenance.autoDetach", "false")].iter().chain(config)
    {
        sandbox.git(&["config", key, value]);
    }
    let session = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    (sandbox, session)
}

/// How many packs there are after a capture.
fn packs_after_a_capture(sandbox: &Sandbox, session: &str, more: &[&str]) -> usize {
    sandbox.write("f0", "work\n");
    sandbox.heddle(&[&["agent", "capture", "--session", session, "-m", "work"], more].concat()).ok();
    let packs = sandbox.git(&["count-objects", "-v"]);
    let packs = packs.lines().find_map(|line| line.strip_prefix("packs: "));
    sandbox.git(&["fsck", "--no-dangling"]);
    packs.and_then(|packs| packs.parse().ok()).expect("a number of packs")
}

#[test]
fn many_loose_objects_are_packed_after_a_capture_as_after_a_commit() {
    let (sandbox, session) = repository(&[("gc.auto", "256")]);
    assert_eq!(packs_after_a_capture(&sandbox, &session, &["--dry-run"]), 0);
    assert!(packs_after_a_capture(&sandbox, &session, &[]) > 0);
    // What was captured goes on.
    sandbox.write("f1", "more\n");
    sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "more"]).ok();
    sandbox.assert_clean("after packing");
}

#[test]
fn objects_stay_loose_where_the_user_says_so_or_there_are_few() {
    let configured: [&[(&str, &str)]; 3] = [
        &[("gc.auto", "0")],
        &[("gc.auto", "256"), ("maintenance.auto", "false")],
        // Its default.
        &[("gc.auto", "6700")],
    ];
    for config in configured {
        let (sandbox, session) = repository(config);
        assert_eq!(packs_after_a_capture(&sandbox, &session, &[]), 0, "{config:?}");
    }
}

#[test]
fn many_packs_become_one_after_a_capture() {
    let (sandbox, _) = repository(&[]);
    for number in 0..3 {
        sandbox.write("f0", &format!("{number} again\n"));
        sandbox.git(&["commit", "-q", "-a", "-m", "again"]);
        sandbox.git(&["repack", "-q", "-d"]);
    }
    sandbox.git(&["config", "gc.auto", "100k"]);
    sandbox.git(&["config", "gc.autoPackLimit", "3"]);
    let session = sandbox.heddle(&["agent", "reserve", "--thread", "u"]).ok().text("session_id");
    // At the limit, and above it.
    assert_eq!(packs_after_a_capture(&sandbox, &session, &[]), 3);
    sandbox.git(&["config", "gc.autoPackLimit", "2"]);
    sandbox.write("f1", "work\n");
    assert!(packs_after_a_capture(&sandbox, &session, &[]) < 3);
}

#[test]
fn a_worktree_is_not_in_use_because_git_tidies_up_in_the_background() {
    let (sandbox, _) = repository(&[("gc.auto", "256")]);
    // One that takes its time.
    let begun = sandbox.path("begun");
    let hook = sandbox.git_dir().join("hooks/pre-auto-gc");
    std::fs::create_dir_all(hook.parent().expect("a folder")).expect("folder");
    write_program(&hook, format!("#!/bin/sh\n: >'{}'\nsleep 3\n", begun.display()));
    for (key, value) in [("gc.autoDetach", "true"), ("maintenance.autoDetach", "true")] {
        sandbox.git(&["config", key, value]);
    }
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "w", "--worktree"]).ok();
    let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
    std::fs::write(format!("{tree}/f0"), "work\n").expect("write");
    sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "work"]).ok();
    assert!(eventually(Duration::from_secs(60), || begun.exists()), "nothing was tidied up");
    sandbox.heddle(&["agent", "release", "--session", &session]).ok();
    assert!(!Path::new(&tree).exists());
}
