//! Clocks that jump, run on, or begin anew with another boot: a live owner is never taken for
//! dead, a dead one is not kept, and what cannot be known counts as alive.

mod support_processes;
mod support_worlds;

use std::fs;
use std::time::Duration;

use support_processes::{BINARY, Sandbox, eventually};
use support_worlds::{Owner, World};

#[test]
fn a_wall_clock_that_jumps_ends_nobody() {
    for offset in ["+10d", "-10d"] {
        let Some(world) = World::wall(offset) else { return };
        Owner::each(|sandbox, owner, kind| {
            owner.is("alive", sandbox, &world, kind);
            owner.works(sandbox, &world, kind);
            // The heartbeat has a wall time that is wrong, and is a heartbeat all the same.
            owner.is("alive", sandbox, &World::plain(), kind);
            owner.is("alive", sandbox, &world, kind);
            world.heddle(sandbox, &["agent", "release", "--session", &owner.session]).ok();
            let list = sandbox.active("t");
            assert_eq!(list, Vec::<String>::new(), "{kind}");
            owner.die();
            sandbox.assert_clean(kind);
        });
    }
}

#[test]
fn time_that_passes_ends_a_lease_and_nobody_who_is_seen() {
    let Some(world) = World::later("+10d") else { return };
    Owner::each(|sandbox, owner, kind| {
        if kind == "lease" {
            owner.is_replaced(sandbox, &world, kind);
        } else {
            owner.is("alive", sandbox, &world, kind);
            owner.works(sandbox, &world, kind);
            owner.is("alive", sandbox, &World::plain(), kind);
        }
    });
}

#[test]
fn a_heartbeat_from_the_future_is_unknown_unless_its_process_is_seen() {
    let Some(world) = World::later("+10d") else { return };
    Owner::each(|sandbox, owner, kind| {
        world.heddle(sandbox, &["agent", "heartbeat", "--session", &owner.session]).ok();
        let word = if kind == "lease" { "unknown" } else { "alive" };
        owner.is(word, sandbox, &World::plain(), kind);
        if kind == "process" {
            // What is known for certain needs no clock.
            owner.die();
            owner.is_replaced(sandbox, &World::plain(), kind);
        }
        // Its own next heartbeat puts it right.
        if kind == "lease" {
            owner.works(sandbox, &World::plain(), kind);
            owner.is("alive", sandbox, &World::plain(), kind);
        }
    });
}

/// Another boot of the machine that the sandbox lies on.
fn other_boot(sandbox: &Sandbox) -> Option<World> {
    let file = sandbox.path("boot");
    fs::write(&file, "01234567-89ab-cdef-0123-456789abcdef\n").expect("file");
    World::other_boot(&file.to_string_lossy())
}

#[test]
fn after_another_boot_a_session_lives_by_its_lease() {
    let (Some(hour), Some(past)) = (World::wall("+1h"), World::wall("-1h")) else { return };
    Owner::each(|sandbox, owner, kind| {
        let Some(boot) = other_boot(sandbox) else { return };
        // It may be another machine with the same disk, on which all of them live.
        owner.is(if kind == "lease" { "alive" } else { "unknown" }, sandbox, &boot, kind);
        owner.is("unknown", sandbox, &boot.within(&past), kind);
        // Nobody who lives is silent for longer than its lease.
        owner.is("dead", sandbox, &boot.within(&hour), kind);
        owner.is("alive", sandbox, &World::plain(), kind);
        owner.works(sandbox, &boot, kind);
        owner.is(if kind == "lease" { "alive" } else { "unknown" }, sandbox, &boot, kind);
        owner.die();
        match kind {
            // Its last heartbeat is of the other boot, and so of the wall clock here.
            "lease" => owner.is_replaced(sandbox, &hour, kind),
            "process" => owner.is_replaced(sandbox, &World::plain(), kind),
            _ => {}
        }
    });
}

#[test]
fn what_is_unknown_is_dead_after_its_time() {
    let (Some(hour), Some(day)) = (World::wall("+1h"), World::wall("+25h")) else { return };
    let Some(host) = World::other_host() else { return };
    let sandbox = Sandbox::new();
    let Some(boot) = other_boot(&sandbox) else { return };
    let owner = Owner::by_process(&sandbox);
    let elsewhere = host.within(&boot);
    owner.is("unknown", &sandbox, &elsewhere, "at once");
    owner.is("unknown", &sandbox, &elsewhere.within(&hour), "after its lease");
    owner.is_replaced(&sandbox, &elsewhere.within(&day), "after heddle.unknownTtl");
}

#[test]
fn a_clock_that_jumps_under_a_runner_ends_nothing() {
    if World::wall("+1h").is_none() {
        return;
    }
    let sandbox = Sandbox::new();
    let clock = sandbox.path("clock");
    fs::write(&clock, "+0d\n").expect("clock");
    let found = fs::read_dir("/usr/lib").expect("libraries").flatten().map(|entry| entry.path());
    let library = found.map(|path| path.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    let Some(library) = library else {
        println!("SKIPPED: libfaketimeMT.so.1 is not where it is expected");
        return;
    };
    let args = ["agent", "run", "--thread", "t", "--ttl", "2s", "--", "cat"];
    let mut command = sandbox.command(BINARY, &args);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock);
    command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1");
    let mut runner = command.stdin(std::process::Stdio::piped()).spawn().expect("a runner");
    let beats = || {
        let list = sandbox.heddle(&["--json", "agent", "list", "--thread", "t"]).ok().json();
        list[0]["heartbeat_at"].as_str().unwrap_or_default().to_owned()
    };
    let limit = Duration::from_secs(30);
    assert!(eventually(limit, || sandbox.active("t").len() == 1), "it has begun");
    for jump in ["-400d", "+400d", "-1d", "+0d"] {
        fs::write(&clock, format!("{jump}\n")).expect("clock");
        // It goes on being heard of, and nobody else gets the thread.
        for _ in 0..2 {
            let last = beats();
            assert!(eventually(limit, || beats() != last), "{jump}: nothing is heard of it");
            let refused = sandbox.heddle(&["agent", "reserve", "--thread", "t"]);
            assert_eq!(refused.code, Some(3), "{jump}: {refused:?}");
            assert_eq!(refused.json()["owner"]["liveness"], "alive", "{jump}: {refused:?}");
        }
    }
    drop(runner.stdin.take());
    let ended = runner.wait().expect("ended");
    assert!(ended.success(), "{ended:?}");
    assert_eq!(sandbox.active("t"), Vec::<String>::new());
    sandbox.assert_clean("after the runner");
}
