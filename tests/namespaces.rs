//! Owners and those who judge them in different namespaces of one machine, as containers have
//! them, on hosts of other names, and pids that are given to others.

mod support_processes;
mod support_worlds;

use support_processes::{Sandbox, read};
use support_worlds::{Owner, World};

#[test]
fn clocks_that_a_time_namespace_moves_end_nobody() {
    for options in
        [["--boottime", "0", "--monotonic", "100000"], ["--boottime", "100000", "--monotonic", "-60"]]
    {
        let Some(world) = World::apart(&[&["--time"], &options[..]].concat()) else { return };
        Owner::each(|sandbox, owner, kind| {
            owner.is("alive", sandbox, &world, kind);
            owner.works(sandbox, &world, kind);
            owner.is("alive", sandbox, &World::plain(), kind);
            owner.is("alive", sandbox, &world, kind);
            owner.die();
            if kind == "process" {
                owner.is_replaced(sandbox, &world, kind);
            }
        });
        // And the other way round.
        let sandbox = Sandbox::new();
        let owner = Owner::by_command(&sandbox, &world);
        owner.is("alive", &sandbox, &World::plain(), "a command in there");
        let sandbox = Sandbox::new();
        let owner = Owner::by_lease(&sandbox, &world);
        owner.is("alive", &sandbox, &World::plain(), "a lease from there");
    }
}

#[test]
fn a_process_in_another_pid_namespace_is_unknown_and_not_dead() {
    let Some(world) = World::other_pids() else { return };
    Owner::each(|sandbox, owner, kind| {
        // A lock is seen across them, and a clock is the same.
        let word = if kind == "process" { "unknown" } else { "alive" };
        owner.is(word, sandbox, &world, kind);
        owner.works(sandbox, &world, kind);
        owner.is(word, sandbox, &world, kind);
        owner.is("alive", sandbox, &World::plain(), kind);
        if kind == "process" {
            owner.die();
            // Nobody in there can know.
            owner.is("unknown", sandbox, &world, kind);
            owner.is_replaced(sandbox, &World::plain(), kind);
        }
    });
    let sandbox = Sandbox::new();
    let owner = Owner::by_command(&sandbox, &world);
    owner.is("alive", &sandbox, &World::plain(), "a command in there");
    owner.is("alive", &sandbox, &world, "a command in another one");
}

#[test]
fn the_proc_of_another_pid_namespace_is_not_believed() {
    let Some(world) = World::apart(&["--pid", "--fork", "--kill-child"]) else { return };
    let sandbox = Sandbox::new();
    let owner = Owner::by_process(&sandbox);
    owner.is("unknown", &sandbox, &world, "with another /proc");
    // What it shows of a pid is somebody else's.
    let before = read(&sandbox.git_dir().join("heddle"));
    let asked = world.heddle(&sandbox, &["agent", "reserve", "--thread", "u", "--hold-for-pid", "1"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("process 1 cannot be looked at"), "{asked:?}");
    assert_eq!(read(&sandbox.git_dir().join("heddle")), before);
}

#[test]
fn a_process_on_a_host_of_another_name_is_unknown_and_not_dead() {
    let Some(world) = World::other_host() else { return };
    Owner::each(|sandbox, owner, kind| {
        let word = if kind == "process" { "unknown" } else { "alive" };
        owner.is(word, sandbox, &world, kind);
        owner.works(sandbox, &world, kind);
        owner.is("alive", sandbox, &World::plain(), kind);
        if kind == "process" {
            owner.die();
            owner.is("unknown", sandbox, &world, kind);
            owner.is_replaced(sandbox, &World::plain(), kind);
        }
    });
}

#[test]
fn a_pid_that_was_given_to_another_keeps_nobody_alive() {
    let Some(world) = World::other_pids() else { return };
    let sandbox = Sandbox::new();
    let answer = world.shell(
        &sandbox,
        r#"
        list() { "$heddle" --json agent list --thread t | tr ',' '\n' | grep -m1 '"liveness"'; }
        start() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
        sleep 600 & holder=$!
        "$heddle" agent reserve --thread t --hold-for-pid "$holder" >/dev/null
        list
        began=$(start "$holder")
        kill "$holder"; wait "$holder" 2>/dev/null || true
        list
        # The system gives the next free one after the last.
        while :; do
            echo $((holder - 1)) >/proc/sys/kernel/ns_last_pid
            sleep 600 & other=$!
            [ "$other" = "$holder" ] && [ "$(start "$other")" -gt $((began + 1)) ] && break
            kill "$other"; wait "$other" 2>/dev/null || true
        done
        list
        "$heddle" agent reserve --thread t >/dev/null
        list
        kill "$other"
        "#,
    );
    if answer.stderr.contains("ns_last_pid") {
        println!("SKIPPED: this machine does not let a test choose a pid: {answer:?}");
        return;
    }
    let said: Vec<&str> = answer.stdout.split_whitespace().collect();
    let words = |word: &str| format!("\"liveness\":\"{word}\"");
    assert_eq!(said, [words("alive"), words("dead"), words("dead"), words("alive")], "{answer:?}");
    assert_eq!(sandbox.record("threads/t.json")["generation"], 2);
    sandbox.assert_clean("after the other process");
}
