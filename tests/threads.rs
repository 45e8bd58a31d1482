//! What people do with threads: look, make branches, give up, clean up.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Sandbox, assert_same, snapshot_of, text};
use support_program::write_program;

/// A thread with a worktree and one capture; its session and the worktree.
#[track_caller]
fn captured(sandbox: &Sandbox, thread: &str) -> (String, PathBuf) {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    fs::write(path.join(thread.replace('/', "-")), "work\n").expect("write");
    let message = format!("work on {thread}");
    sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", &message]).exits(0);
    (session, path)
}

fn release(sandbox: &Sandbox, session: &str) {
    sandbox.heddle(&["agent", "release", "--session", session]).exits(0);
}

fn tip(sandbox: &Sandbox, thread: &str) -> String {
    sandbox.git(&["rev-parse", &format!("refs/heddle/threads/{thread}")])
}

/// Lets everything that was ever written be a year old.
fn age(sandbox: &Sandbox) {
    for folder in ["heddle", "logs", "worktrees"] {
        let folder = sandbox.root().join(".git").join(folder);
        let args = [folder.to_str().expect("UTF-8"), "-exec", "touch", "-d", "1 year ago", "{}", "+"];
        sandbox.program("find", sandbox.home(), &args).status().expect("find");
    }
    if sandbox.format.reftable {
        // There the logs themselves tell.
        for name in sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle"]).lines() {
            sandbox.move_at("@1000000000 +0000", name);
        }
    }
}

fn gc(sandbox: &Sandbox, args: &[&str]) -> Vec<(String, String)> {
    let document = sandbox.heddle(&[&["--json", "gc"], args].concat()).exits(0).json();
    let rows = document["collected"].as_array().expect("array");
    rows.iter().map(|row| (text(row, "kind"), text(row, "name"))).collect()
}

#[test]
fn log_and_diff_are_gits_own_with_the_right_range() {
    let sandbox = Sandbox::new();
    let (session, _) = captured(&sandbox, "fix/login");
    sandbox.commit("meanwhile");
    let log = sandbox.heddle(&["thread", "log", "fix/login", "--", "--format=%s"]).exits(0);
    assert_eq!(log.stdout, "work on fix/login\n");
    let diff = sandbox.heddle(&["thread", "diff", "fix/login", "--", "--name-status"]).exits(0);
    assert_eq!(diff.stdout, "A\tfix-login\n");
    assert_eq!(sandbox.heddle(&["thread", "diff", "fix/login", "--", "--quiet"]).code, 1);
    sandbox.heddle(&["thread", "log", "none"]).exits(1);
    release(&sandbox, &session);
    let below = sandbox.root().join("below");
    fs::create_dir(&below).expect("folder");
    let log = sandbox.heddle_in(&below, &["thread", "log", "fix/login", "--", "--format=%s"]).exits(0);
    assert_eq!(log.stdout, "work on fix/login\n");
    // What follows a second `--` are paths, from here.
    let of = |path: &str| {
        let args = ["thread", "log", "fix/login", "--", "--format=%s", "--", path];
        sandbox.heddle_in(&below, &args).exits(0).stdout
    };
    assert_eq!((of("../fix-login").as_str(), of("fix-login").as_str()), ("work on fix/login\n", ""));
}

#[test]
fn promote_makes_a_branch_and_moves_it_only_forward() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "fix/login");
    let first = tip(&sandbox, "fix/login");
    // The owner, or a person by force; nobody else.
    let refused = sandbox.refused(3, &["thread", "promote", "fix/login"]);
    assert!(refused.stderr.contains("is reserved by session"), "{refused:?}");
    let promote = ["--json", "thread", "promote", "fix/login", "--session", &session];
    let done = sandbox.heddle(&promote).exits(0).json();
    assert_eq!((&done["branch"], &done["changed"]), (&json!("refs/heads/fix/login"), &json!(true)));
    assert_eq!(sandbox.git(&["rev-parse", "refs/heads/fix/login"]), first);
    assert_eq!(sandbox.heddle(&promote).exits(0).json()["changed"], false);

    fs::write(path.join("more"), "more\n").expect("write");
    sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "more"]).exits(0);
    sandbox.heddle(&promote).exits(0);
    assert_eq!(sandbox.git(&["rev-parse", "refs/heads/fix/login"]), tip(&sandbox, "fix/login"));
    release(&sandbox, &session);
    assert_eq!(sandbox.heddle(&["thread", "show", "fix/login", "--json"]).json()["state"], "promoted");

    sandbox.git(&["branch", "elsewhere", "main"]);
    sandbox.git(&["commit", "--quiet", "--allow-empty", "--message", "aside"]);
    sandbox.git(&["branch", "--force", "elsewhere", "main"]);
    let refused = sandbox.refused(1, &["thread", "promote", "fix/login", "--branch=elsewhere"]);
    assert!(refused.stderr.contains("does not contain"), "{refused:?}");
    let refused = sandbox.refused(1, &["thread", "promote", "fix/login", "--branch=main"]);
    assert!(refused.stderr.contains("checked out"), "{refused:?}");
    sandbox.refused(2, &["thread", "promote", "fix/login", "--branch=a..b"]);
    sandbox.refused(1, &["thread", "promote", "none"]);
}

#[test]
fn a_person_ends_the_owner_by_force_and_its_work_stays() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t");
    sandbox.heddle(&["thread", "promote", "t", "--force"]).exits(0);
    let shown = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
    assert_eq!(shown["status"], "abandoned");
    let late = sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]);
    assert_eq!(late.code, 5, "{late:?}");
}

#[test]
fn drop_refuses_whatever_would_be_lost_and_lists_it() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "t");
    sandbox.refused(1, &["thread", "drop", "none"]);
    let refused = sandbox.refused(1, &["thread", "drop", "t"]);
    assert!(refused.stderr.contains("(work on t)") && refused.stderr.contains(&session), "{refused:?}");
    let refused = sandbox.refused(1, &["thread", "drop", "t", "--session", &session]);
    assert!(refused.stderr.contains("(work on t)") && !refused.stderr.contains(&session), "{refused:?}");
    sandbox.git(&["branch", "keep", &tip(&sandbox, "t")]);
    sandbox.refused(3, &["thread", "drop", "t"]);
    fs::write(path.join("loose"), "loose\n").expect("write");
    release(&sandbox, &session);
    let before = snapshot_of(sandbox.home());
    let refused = sandbox.heddle(&["thread", "drop", "t"]).exits(1);
    assert!(refused.stderr.contains("uncommitted changes in loose"), "{refused:?}");
    assert_same(&before, &snapshot_of(sandbox.home()));

    fs::remove_file(path.join("loose")).expect("file");
    let done = sandbox.heddle(&["--json", "thread", "drop", "t"]).exits(0).json();
    assert!(!path.exists() && done["worktree"].is_string(), "{done}");
    assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle/threads", "refs/heddle/ready"]), "");
    assert_eq!(done["kept_as"], "refs/heddle/dropped/t/1");
}

#[test]
fn a_forced_drop_prints_a_way_back_that_works() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "fix/login");
    let tip = tip(&sandbox, "fix/login");
    fs::write(path.join("loose"), "loose\n").expect("write");
    let done = sandbox.heddle(&["--json", "thread", "drop", "fix/login", "--force"]).exits(0).json();
    assert!(!path.exists(), "{done}");
    let shown = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
    assert_eq!(shown["status"], "abandoned");
    let kept = text(&done, "worktree_kept_as");
    assert_eq!(sandbox.git(&["show", &format!("{kept}:loose")]), "loose");
    let words: Vec<String> = text(&done, "restore").split(' ').skip(2).map(str::to_owned).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let back = sandbox.heddle(&words).exits(0).json();
    assert_eq!((&back["anchor_state"], &back["generation"]), (&json!(tip), &json!(2)));
    // Below a name that was dropped before, another can be dropped too.
    release(&sandbox, &text(&back, "session_id"));
    sandbox.heddle(&["thread", "drop", "fix/login", "--force"]).exits(0);
    sandbox.reserve("fix/login/2", &[]);
    sandbox.heddle(&["thread", "drop", "fix/login/2", "--force"]).exits(0);
    assert_eq!(
        sandbox.git(&["for-each-ref", "--format=%(refname)", "refs/heddle/dropped"]).lines().count(),
        4
    );
    sandbox.git(&["fsck", "--strict"]);
}

#[test]
fn the_way_back_of_a_dropped_thread_can_be_given_to_a_shell() {
    let sandbox = Sandbox::new();
    let (_, path) = captured(&sandbox, "it's$HOME;(x)");
    let tip = tip(&sandbox, "it's$HOME;(x)");
    let done = sandbox.heddle(&["--json", "thread", "drop", "it's$HOME;(x)", "--force"]).exits(0).json();
    assert!(!path.exists(), "{done}");
    let output =
        sandbox.program("sh", &sandbox.root(), &["-c", &text(&done, "restore")]).output().expect("sh");
    let back = support::Answer::of(&output).exits(0).json();
    assert_eq!((&back["thread"], &back["anchor_state"]), (&json!("it's$HOME;(x)"), &json!(tip)));
}

#[test]
fn a_drop_that_did_not_come_to_the_worktree_is_finished_by_another() {
    let mut sandbox = Sandbox::new();
    let (_, path) = captured(&sandbox, "t");
    fs::write(path.join("loose"), "loose\n").expect("write");
    // As if the process had died before its last step.
    let programs = sandbox.home().join("programs");
    fs::create_dir(&programs).expect("folder");
    let git =
        "#!/bin/sh\ncase \"$*\" in *'worktree remove'*) exit 1;; esac\nPATH=${PATH#*:} exec git \"$@\"\n";
    write_program(programs.join("git"), git);
    sandbox.first_on_path = Some(programs);
    sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(1);
    sandbox.first_on_path = None;
    assert!(path.join("loose").exists());
    assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle/threads"]), "");
    // What was not kept keeps the worktree.
    fs::write(path.join("loose"), "changed\n").expect("write");
    let before = snapshot_of(sandbox.home());
    for more in [&["--force"][..], &[]] {
        let refused = sandbox.heddle(&[&["thread", "drop", "t"], more].concat()).exits(1);
        assert!(refused.stderr.contains("uncommitted changes in loose"), "{refused:?}");
    }
    assert_same(&before, &snapshot_of(sandbox.home()));
    fs::write(path.join("loose"), "loose\n").expect("write");
    let done = sandbox.heddle(&["--json", "thread", "drop", "t", "--force"]).exits(0).json();
    assert_eq!(text(&done, "kept_as"), "refs/heddle/dropped/t/1");
    let kept = text(&done, "worktree_kept_as");
    assert_eq!(sandbox.git(&["show", &format!("{kept}:loose")]), "loose");
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
    sandbox.refused(1, &["thread", "drop", "t", "--force"]);
}

#[test]
fn drop_never_touches_a_folder_that_heddle_did_not_make() {
    let sandbox = Sandbox::new();
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../mine"]);
    let mine = sandbox.home().join("mine");
    let reserved = sandbox.heddle_in(&mine, &["agent", "reserve", "--thread", "t"]).exits(0).json();
    let session = text(&reserved, "session_id");
    fs::write(mine.join("new"), "new\n").expect("write");
    sandbox.heddle_in(&mine, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
    sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(0);
    assert!(mine.join("new").exists() && sandbox.root().join("first").exists());
}

#[test]
fn gc_removes_only_what_nobody_needs_and_only_after_its_time() {
    let sandbox = Sandbox::new();
    let (live, live_path) = captured(&sandbox, "live");
    let (landed, _) = captured(&sandbox, "landed");
    let (left, left_path) = captured(&sandbox, "left");
    let (dirty, dirty_path) = captured(&sandbox, "dirty");
    let (open, _) = captured(&sandbox, "open");
    captured(&sandbox, "dropped");
    sandbox.heddle(&["agent", "ready", "--session", &landed, "--no-capture"]).exits(0);
    sandbox.heddle(&["thread", "land", "landed"]).exits(0);
    sandbox.heddle(&["thread", "drop", "dropped", "--force"]).exits(0);
    // A worktree that its session could not take along, and one with work in it.
    let mut child =
        sandbox.program("sleep", &left_path, &["600"]).stdout(Stdio::null()).spawn().expect("sleep");
    release(&sandbox, &left);
    child.kill().expect("killed");
    child.wait().expect("gone");
    fs::write(dirty_path.join("loose"), "loose\n").expect("write");
    release(&sandbox, &dirty);
    release(&sandbox, &open);

    assert_eq!(gc(&sandbox, &[]), []);
    age(&sandbox);
    let before = snapshot_of(sandbox.home());
    let foreseen = gc(&sandbox, &["--dry-run"]);
    assert_same(&before, &snapshot_of(sandbox.home()));
    let document = sandbox.heddle(&["--json", "gc"]).exits(0);
    assert!(document.stderr.contains("uncommitted changes in loose"), "{document:?}");
    let rows = document.json()["collected"].as_array().expect("array").clone();
    let done: Vec<(String, String)> = rows.iter().map(|row| (text(row, "kind"), text(row, "name"))).collect();
    assert_eq!(done, foreseen);
    let has = |kind: &str, name: &str| done.iter().any(|(k, n)| k == kind && n.ends_with(name));
    assert!(has("thread", "landed") && has("dropped", "dropped/dropped/1"), "{done:?}");
    assert!(has("worktree", "/left") && !has("worktree", "/dirty"), "{done:?}");
    for session in [&landed, &left, &dirty, &open] {
        assert!(has("session", session), "{done:?}");
    }
    assert!(!left_path.exists() && dirty_path.exists() && live_path.exists());
    let threads = sandbox.git(&["for-each-ref", "--format=%(refname:lstrip=3)", "refs/heddle/threads"]);
    assert_eq!(threads.lines().collect::<Vec<_>>(), ["dirty", "left", "live", "open"]);
    sandbox.heddle(&["agent", "heartbeat", "--session", &live]).exits(0);
    // A tombstone keeps the generation.
    assert_eq!(sandbox.reserve("dropped", &[])["generation"], 2);
    sandbox.git(&["fsck", "--strict"]);
}

#[test]
fn gc_removes_a_way_back_that_has_lost_its_log_when_its_file_is_old() {
    for is_packed in [false, true] {
        let sandbox = Sandbox::new();
        if sandbox.format.reftable {
            return;
        }
        captured(&sandbox, "t");
        sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(0);
        if is_packed {
            sandbox.git(&["pack-refs", "--all"]);
        }
        fs::remove_file(sandbox.root().join(".git/logs/refs/heddle/dropped/t/1")).expect("a log");
        assert_eq!(gc(&sandbox, &[]), []);
        let file = if is_packed { "packed-refs" } else { "refs/heddle/dropped/t/1" };
        let file = fs::File::open(sandbox.root().join(".git").join(file)).expect("a ref");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a time");
        let gone = ("dropped".to_owned(), "refs/heddle/dropped/t/1".to_owned());
        assert_eq!(gc(&sandbox, &[]), [gone]);
    }
}

#[test]
fn a_drop_that_meets_a_lock_of_gits_changes_nothing() {
    for lock in ["refs/heddle/threads/t.lock", "refs/heddle/dropped/t/1.lock", "packed-refs.lock"] {
        let sandbox = Sandbox::new();
        if sandbox.format.reftable {
            return;
        }
        let (session, _) = captured(&sandbox, "t");
        sandbox.heddle(&["agent", "ready", "--session", &session, "--no-capture"]).exits(0);
        release(&sandbox, &session);
        let lock = sandbox.root().join(".git").join(lock);
        fs::create_dir_all(lock.parent().expect("a folder")).expect("folder");
        fs::write(&lock, "").expect("lock");
        let refused = sandbox.refused(75, &["thread", "drop", "t", "--force"]);
        assert!(refused.stderr.contains(lock.to_str().expect("UTF-8")), "{refused:?}");
        fs::remove_file(&lock).expect("removed");
        sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(0);
        assert_eq!(sandbox.git(&["show", "refs/heddle/dropped/t/1:t"]), "work");
    }
}

#[test]
fn old_events_go_in_two_steps_and_none_is_lost_on_the_way() {
    let sandbox = Sandbox::new();
    let log = sandbox.state("events.jsonl");
    sandbox.reserve("a", &[]);
    let old = fs::read_to_string(&log).expect("log").replace("\"at\":\"20", "\"at\":\"19");
    fs::write(&log, old).expect("log");
    gc(&sandbox, &[]);
    sandbox.reserve("b", &[]);
    let events = sandbox.heddle(&["log", "--json"]).exits(0).json();
    let threads: Vec<&Value> =
        events.as_array().expect("array").iter().map(|event| &event["thread"]).collect();
    assert_eq!(threads, ["a", "b"]);
    age(&sandbox);
    assert_eq!(gc(&sandbox, &[]).iter().filter(|(kind, _)| kind == "events").count(), 1);
    let events = sandbox.heddle(&["log", "--json"]).exits(0).json();
    assert_eq!(events.as_array().expect("array").len(), 1);
}

#[test]
fn an_owner_is_not_ended_for_what_git_then_refuses() {
    let sandbox = Sandbox::new();
    captured(&sandbox, "t");
    // Git ends every command with such a value.
    let config = sandbox.root().join(".git/config");
    let before = fs::read_to_string(&config).expect("configuration");
    fs::write(&config, format!("{before}[core]\n\tabbrev = \" \"\n")).expect("configuration");
    let refused = sandbox.refused(1, &["thread", "drop", "t", "--force"]);
    assert!(refused.stderr.contains("core.abbrev"), "{refused:?}");
    fs::write(&config, before).expect("configuration");
    let list = sandbox.heddle(&["agent", "list", "--alive-only"]).exits(0).json();
    assert_eq!(list[0]["thread"], "t");
}

#[test]
fn work_whose_landing_was_taken_back_is_not_removed() {
    for how in ["--strategy=squash", "--strategy=merge"] {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "heddle.retention", "0"]);
        let (session, _) = captured(&sandbox, "t");
        sandbox.heddle(&["agent", "ready", "--session", &session, "--no-capture"]).exits(0);
        sandbox.commit("another");
        sandbox.heddle(&["thread", "land", "t", how]).exits(0);
        sandbox.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
        let before = tip(&sandbox, "t");
        let list = sandbox.heddle(&["thread", "list", "--json"]).exits(0).json();
        assert_eq!(list[0]["state"], "ready", "{list}");
        let refused = sandbox.refused(1, &["thread", "drop", "t"]);
        assert!(refused.stderr.contains("(work on t)"), "{refused:?}");
        let kept = sandbox.heddle(&["gc"]).exits(0);
        assert!(kept.stderr.contains("does not have what landed any more"), "{kept:?}");
        assert_eq!(tip(&sandbox, "t"), before);
        // Landed anew, by another commit, it goes.
        sandbox.commit("more");
        let landed = sandbox.heddle(&["thread", "land", "--all-ready", how, "--json"]).exits(0).json();
        assert_eq!(landed["landed"][0]["thread"], "t", "{landed}");
        let list = sandbox.heddle(&["thread", "list", "--all", "--json"]).exits(0).json();
        assert_eq!(list[0]["state"], "merged", "{list}");
        let landed = sandbox.heddle(&["thread", "land", "--all-ready", how, "--json"]).exits(0).json();
        assert_eq!(landed["landed"].as_array().map(Vec::len), Some(0), "{landed}");
        assert!(gc(&sandbox, &[]).contains(&("thread".to_owned(), "t".to_owned())));
    }
}

#[test]
fn an_owner_is_not_ended_where_the_command_then_refuses() {
    let sandbox = Sandbox::new();
    let lives = |thread: &str| {
        let list = sandbox.heddle(&["agent", "list", "--alive-only"]).exits(0).json();
        assert!(
            list.as_array().expect("array").iter().any(|row| row["thread"] == thread),
            "{thread}: {list}"
        );
    };
    // A repository of its own in the worktree cannot be kept.
    let (_, path) = captured(&sandbox, "embedded");
    sandbox.git_in(&path, &["init", "--quiet", "inner"]);
    sandbox.git_in(&path.join("inner"), &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    let refused = sandbox.heddle(&["thread", "drop", "embedded", "--force"]).exits(1);
    assert!(refused.stderr.contains("inner"), "{refused:?}");
    lives("embedded");
    // A name that is in the way, and a branch that is elsewhere.
    sandbox.reserve("p/x", &[]);
    sandbox.git(&["branch", "p"]);
    sandbox.refused(1, &["thread", "promote", "p/x", "--force"]);
    lives("p/x");
    sandbox.reserve("d", &[]);
    let other = sandbox.git(&["commit-tree", "HEAD^{tree}", "-m", "other"]);
    sandbox.git(&["branch", "d", &other]);
    sandbox.refused(1, &["thread", "promote", "d", "--force"]);
    lives("d");
    if !sandbox.format.reftable {
        let lock = sandbox.root().join(".git/packed-refs.lock");
        fs::write(&lock, "").expect("lock");
        sandbox.refused(75, &["thread", "drop", "d", "--force"]);
        fs::remove_file(lock).expect("removed");
        lives("d");
    }
    sandbox.heddle(&["thread", "drop", "d", "--force"]).exits(0);
}

#[test]
fn a_dry_run_of_gc_tells_what_gc_then_does() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.retention", "0"]);
    let release_there = |thread: &str| {
        let reserved = sandbox.reserve(thread, &["--worktree"]);
        let path = PathBuf::from(text(&reserved, "path"));
        let mut inside = sandbox.program("sleep", &path, &["60"]).spawn().expect("sleep");
        release(&sandbox, &text(&reserved, "session_id"));
        inside.kill().and_then(|()| inside.wait()).expect("killed");
        path
    };
    release_there("goes");
    let stays = release_there("stays");
    sandbox.git(&["worktree", "lock", "--reason", "mine", stays.to_str().expect("UTF-8")]);
    let dry = sandbox.heddle(&["gc", "--dry-run"]).exits(0);
    let done = sandbox.heddle(&["gc"]).exits(0);
    assert_eq!(dry.stdout.replace("would remove", "removed"), done.stdout);
    assert_eq!(dry.stderr, done.stderr);
    for told in ["worktree ", "thread goes\n", "refs/heddle/dropped/goes/1\n"] {
        assert!(done.stdout.contains(told), "{done:?}");
    }
    assert!(done.stderr.contains("it is locked: mine"), "{done:?}");
}
