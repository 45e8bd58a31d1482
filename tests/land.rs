//! `thread land`: what is ready comes to its target, once, and nothing of anybody's is lost.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Sandbox, assert_same, put, snapshot_of, text};
use support_program::write_program;

/// A thread with one capture that writes `content` to `file`, ready; its session.
#[track_caller]
fn ready(sandbox: &Sandbox, thread: &str, file: &str, content: &str) -> String {
    let session = captured(sandbox, thread, file, content);
    sandbox.heddle(&["agent", "ready", "--session", &session, "--no-capture"]).exits(0);
    session
}

#[track_caller]
fn captured(sandbox: &Sandbox, thread: &str, file: &str, content: &str) -> String {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    fs::write(path.join(file), content).expect("write");
    let args = ["agent", "capture", "--session", &session, "-m", &format!("work on {file}")];
    sandbox.heddle_in(&path, &args).exits(0);
    session
}

#[track_caller]
fn land(sandbox: &Sandbox, code: i32, args: &[&str]) -> Value {
    sandbox.heddle(&[&["--json", "thread", "land"], args].concat()).exits(code).json()
}

fn tip(sandbox: &Sandbox, thread: &str) -> String {
    sandbox.git(&["rev-parse", &format!("refs/heddle/threads/{thread}")])
}

fn state(sandbox: &Sandbox, thread: &str) -> String {
    text(&sandbox.heddle(&["thread", "show", thread, "--json"]).exits(0).json(), "state")
}

fn status(sandbox: &Sandbox, session: &str) -> String {
    text(&sandbox.heddle(&["agent", "show", session]).exits(0).json(), "status")
}

#[test]
fn a_ready_thread_is_fast_forwarded_and_everything_follows() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    let tip = tip(&sandbox, "a");
    let done = land(&sandbox, 0, &["a"]);
    assert_eq!(done["landed"][0]["commit"], tip.as_str());
    assert_eq!(done["landed"][0]["sessions"], json!([session]));
    assert_eq!(sandbox.git(&["rev-parse", "main"]), tip);
    assert_eq!(fs::read_to_string(sandbox.root().join("file")).expect("moved along"), "a\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!((state(&sandbox, "a").as_str(), status(&sandbox, &session).as_str()), ("merged", "merged"));
    assert!(!sandbox.home().join("repo.heddle").exists(), "its worktree went");
    // The agent that was about to say that it is done is told that it is.
    let released = sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert_eq!(released.json()["status"], "merged");
    // Once is enough.
    assert_eq!(land(&sandbox, 0, &["a"])["landed"][0]["already"], true);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), tip);
}

#[test]
fn a_new_owner_who_has_yet_to_begin_is_not_ended_by_the_work_of_the_last() {
    let sandbox = Sandbox::new();
    let first = ready(&sandbox, "a", "file", "a\n");
    sandbox.heddle(&["agent", "release", "--session", &first]).exits(0);
    let next = text(&sandbox.reserve("a", &["--worktree", "--resume"]), "session_id");
    land(&sandbox, 0, &["--all-ready"]);
    assert_eq!((status(&sandbox, &first).as_str(), status(&sandbox, &next).as_str()), ("merged", "active"));
    sandbox.heddle(&["agent", "heartbeat", "--session", &next]).exits(0);
}

#[test]
fn what_is_not_ready_is_blocked_unless_forced() {
    let sandbox = Sandbox::new();
    let session = captured(&sandbox, "a", "file", "a\n");
    let before = sandbox.git(&["rev-parse", "main"]);
    let done = land(&sandbox, 7, &["a"]);
    assert!(text(&done["blocked"][0], "reason").contains("not marked ready"), "{done}");
    assert_eq!(sandbox.git(&["rev-parse", "main"]), before);
    assert_eq!(status(&sandbox, &session), "active");
    land(&sandbox, 0, &["a", "--force"]);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "a"));
    sandbox.heddle(&["thread", "land", "none"]).exits(1);
    sandbox.heddle(&["thread", "land"]).exits(2);
    sandbox.heddle(&["thread", "land", "a", "--all-ready"]).exits(2);
}

#[test]
fn a_target_that_moved_on_is_merged_with_a_commit_that_names_the_sessions() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    sandbox.commit("other");
    let base = sandbox.git(&["rev-parse", "main"]);
    assert!(
        text(&land(&sandbox, 7, &["a", "--strategy", "ff"])["blocked"][0], "reason").contains("moved on")
    );
    land(&sandbox, 0, &["a"]);
    let parents = sandbox.git(&["log", "-1", "--format=%P", "main"]);
    assert_eq!(parents, format!("{base} {}", tip(&sandbox, "a")));
    let message = sandbox.git(&["log", "-1", "--format=%B", "main"]);
    assert!(message.starts_with("Land thread 'a'\n\n* work on file\n\nHeddle-Thread: a\n"), "{message}");
    assert!(message.contains(&format!("Heddle-Session: {session}\nHeddle-Generation: 1")), "{message}");
    assert!(sandbox.root().join("file").exists() && sandbox.root().join("other").exists());
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_thread_that_stood_on_one_of_a_higher_generation_goes_on_after_its_landing() {
    let sandbox = Sandbox::new();
    let work = |thread: &str, file: &str, more: &[&str]| {
        let reserved = sandbox.reserve(thread, &[&["--worktree"], more].concat());
        let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
        if thread == "above" && more == ["--resume"] {
            sandbox.heddle_in(&path, &["thread", "refresh", thread, "--session", &session]).exits(0);
        }
        fs::write(path.join(file), file).expect("write");
        sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", file]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    };
    let first = sandbox.git(&["rev-parse", "main"]);
    ["one", "two", "three"].iter().for_each(|file| work("below", file, &["--resume"]));
    work("above", "four", &["--anchor", "refs/heddle/threads/below"]);
    land(&sandbox, 0, &["above", "--strategy=squash"]);
    let message = sandbox.git(&["log", "-1", "--format=%B", "main"]);
    assert!(message.ends_with("Heddle-Generation: 1"), "{message}");
    work("above", "five", &["--resume"]);
    sandbox.heddle(&["verify", "--base", &first, "above"]).exits(0);
}

#[test]
fn a_squash_is_one_commit_and_lands_once() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    sandbox.commit("other");
    let base = sandbox.git(&["rev-parse", "main"]);
    land(&sandbox, 0, &["a", "--strategy=squash"]);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%P", "main"]), base);
    assert_eq!((state(&sandbox, "a").as_str(), status(&sandbox, &session).as_str()), ("merged", "merged"));
    let landed = sandbox.git(&["rev-parse", "main"]);
    assert_eq!(land(&sandbox, 0, &["a", "--strategy=squash"])["landed"][0]["already"], true);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), landed);
    // Also where the record was lost.
    fs::remove_file(sandbox.state("threads/a.json")).expect("record");
    land(&sandbox, 0, &["a", "--strategy=squash"]);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), landed);
}

#[test]
fn all_that_is_ready_lands_in_its_order_and_a_conflict_stops_nobody() {
    let sandbox = Sandbox::new();
    sandbox.commit("shared");
    for (thread, file, content) in [("z", "shared", "z\n"), ("m", "shared", "m\n"), ("a", "own", "a\n")] {
        ready(&sandbox, thread, file, content);
        // The order is that of the reflogs; within one of their seconds, that of the moves.
        let at = match thread {
            "a" => "@1000000002 +0000",
            _ => "@1000000001 +0000",
        };
        sandbox.move_at(at, &format!("refs/heddle/ready/{thread}"));
    }
    let done = land(&sandbox, 7, &["--all-ready"]);
    let landed: Vec<&Value> =
        done["landed"].as_array().expect("array").iter().map(|l| &l["thread"]).collect();
    assert_eq!(landed, ["z", "a"]);
    assert_eq!(done["blocked"][0]["thread"], "m");
    assert_eq!(done["blocked"][0]["conflicts"], json!(["shared"]));
    assert_eq!(state(&sandbox, "m"), "blocked");
    assert_eq!(fs::read_to_string(sandbox.root().join("shared")).expect("file"), "z\n");
    // The target has moved since, by `a`; after that nothing has, and it is not tried again.
    assert_eq!(land(&sandbox, 7, &["--all-ready"])["blocked"][0]["thread"], "m");
    assert_eq!(land(&sandbox, 0, &["--all-ready"])["skipped"], json!(["m"]));
    sandbox.commit("more");
    assert_eq!(land(&sandbox, 7, &["--all-ready"])["blocked"][0]["thread"], "m");
}

#[test]
fn a_dirty_checkout_refuses_naming_the_files_and_nothing_changes() {
    let sandbox = Sandbox::new();
    ready(&sandbox, "a", "file", "a\n");
    fs::write(sandbox.root().join("first"), "changed\n").expect("write");
    let before = snapshot_of(&sandbox.root().join(".git/refs"));
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(1);
    assert!(refused.stderr.contains("changes in first"), "{refused:?}");
    assert_same(&before, &snapshot_of(&sandbox.root().join(".git/refs")));
    assert_eq!(fs::read_to_string(sandbox.root().join("first")).expect("file"), "changed\n");
    assert_eq!(state(&sandbox, "a"), "ready");
    // Untracked files are nobody's business, unless they are in the way.
    sandbox.git(&["checkout", "--quiet", "first"]);
    fs::write(sandbox.root().join("file"), "mine\n").expect("write");
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(1);
    assert!(refused.stderr.contains("file"), "{refused:?}");
    assert_eq!(fs::read_to_string(sandbox.root().join("file")).expect("file"), "mine\n");
    fs::rename(sandbox.root().join("file"), sandbox.root().join("else")).expect("moved");
    land(&sandbox, 0, &["a"]);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "?? else");
}

#[test]
fn a_target_in_a_linked_worktree_or_nowhere_is_moved_too() {
    let sandbox = Sandbox::new();
    sandbox.git(&["branch", "next"]);
    sandbox.git(&["worktree", "add", "--quiet", "../next", "next"]);
    ready(&sandbox, "a", "file", "a\n");
    let main = sandbox.git(&["rev-parse", "main"]);
    land(&sandbox, 0, &["a", "--into=next"]);
    assert!(sandbox.home().join("next/file").exists());
    assert_eq!(sandbox.git_in(&sandbox.home().join("next"), &["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(&["rev-parse", "main"]), main);

    sandbox.git(&["branch", "far"]);
    ready(&sandbox, "b", "file", "b\n");
    land(&sandbox, 0, &["b", "--into=refs/heads/far"]);
    assert_eq!(sandbox.git(&["rev-parse", "far"]), tip(&sandbox, "b"));
    let log = sandbox.git(&["reflog", "-1", "--format=%gs", "far"]);
    assert_eq!(log, "heddle: land b");
    sandbox.heddle(&["thread", "land", "b", "--into=nowhere"]).exits(1);
    sandbox.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    let refused = sandbox.heddle(&["thread", "land", "b", "--into=origin/main"]).exits(1);
    assert!(refused.stderr.contains("no local branch"), "{refused:?}");
}

#[test]
fn a_bare_repository_lands_too() {
    let sandbox = Sandbox::new();
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let bare = sandbox.home().join("bare.git");
    let run = |args: &[&str]| sandbox.heddle_in(&bare, args).exits(0);
    let reserved = run(&["agent", "reserve", "--thread", "a", "--worktree"]).json();
    let path = PathBuf::from(text(&reserved, "path"));
    fs::write(path.join("file"), "a\n").expect("write");
    let session = text(&reserved, "session_id");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
    run(&["thread", "land", "a"]);
    assert_eq!(sandbox.git_in(&bare, &["show", "main:file"]), "a");
    // From a worktree of it, its own HEAD is no checkout either.
    sandbox.git_in(&bare, &["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = sandbox.home().join("linked");
    let run = |args: &[&str]| sandbox.heddle_in(&linked, args).exits(0);
    let session = text(&run(&["agent", "reserve", "--thread", "b"]).json(), "session_id");
    fs::write(linked.join("other"), "b\n").expect("write");
    run(&["agent", "capture", "--session", &session]);
    run(&["agent", "ready", "--session", &session]);
    run(&["thread", "land", "b", "--into=main"]);
    assert_eq!(sandbox.git_in(&bare, &["show", "main:other"]), "b");
}

#[test]
fn the_checks_run_on_the_result_before_the_target_moves() {
    let sandbox = Sandbox::new();
    sandbox.commit("base");
    ready(&sandbox, "a", "file", "a\n");
    ready(&sandbox, "b", "other", "b\n");
    // Each is fine alone; together they are not.
    sandbox.git(&["config", "heddle.readyCommand", "! { test -e file && test -e other; }"]);
    let done = land(&sandbox, 7, &["a", "b", "--check"]);
    assert_eq!((&done["landed"][0]["thread"], &done["blocked"][0]["thread"]), (&json!("a"), &json!("b")));
    assert!(text(&done["blocked"][0], "reason").contains("failed on the result"), "{done}");
    assert_eq!(sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "a"));
    let left = sandbox.git(&["worktree", "list", "--porcelain"]);
    assert!(!left.contains("heddle-land"), "{left}");
}

#[test]
fn the_target_is_pushed_on_demand_and_a_failed_push_takes_nothing_back() {
    let sandbox = Sandbox::new();
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../remote.git"]);
    sandbox.git(&["remote", "add", "origin", "../remote.git"]);
    ready(&sandbox, "a", "file", "a\n");
    let done = land(&sandbox, 0, &["a", "--push"]);
    assert_eq!(done["pushed"], json!([{"target": "refs/heads/main", "remote": "origin"}]));
    let remote = sandbox.home().join("remote.git");
    assert_eq!(sandbox.git_in(&remote, &["rev-parse", "main"]), tip(&sandbox, "a"));
    ready(&sandbox, "b", "more", "b\n");
    // Where Git knows of no such place it need not try.
    let refused = sandbox.heddle(&["thread", "land", "b", "--push=nowhere"]).exits(1);
    assert!(refused.stderr.contains("there is no remote 'nowhere' to push to"), "{refused:?}");
    assert_eq!(state(&sandbox, "b"), "ready");
    let failed = sandbox.heddle(&["--json", "thread", "land", "b", "--push=file:///nowhere"]).exits(1);
    assert!(failed.stderr.contains("the landing itself stands"), "{failed:?}");
    // One document, and it tells what has landed.
    assert_eq!(failed.json()["landed"][0]["thread"], "b");
    assert_eq!(state(&sandbox, "b"), "merged");
}

#[test]
fn a_landing_that_is_called_in_a_worktree_that_goes_is_done_to_its_end() {
    let sandbox = Sandbox::new();
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../remote.git"]);
    for (thread, at) in [("a", "@1000000001 +0000"), ("b", "@1000000002 +0000"), ("c", "@1000000003 +0000")] {
        ready(&sandbox, thread, thread, "content\n");
        sandbox.move_at(at, &format!("refs/heddle/ready/{thread}"));
    }
    // Of the first that lands: where it pushes to is meant from there all the same.
    let args = ["--json", "thread", "land", "--all-ready", "--push=../../remote.git"];
    let here = sandbox.home().join("repo.heddle/a");
    let done = sandbox.heddle_in(&here, &args).exits(0).json();
    let landed = done["landed"].as_array().expect("threads");
    assert_eq!(landed.iter().map(|one| &one["thread"]).collect::<Vec<_>>(), ["a", "b", "c"]);
    let main = sandbox.git(&["rev-parse", "main"]);
    assert_eq!(sandbox.git_in(&sandbox.home().join("remote.git"), &["rev-parse", "main"]), main);
    assert!(!sandbox.home().join("repo.heddle").exists(), "their worktrees went");
    assert_eq!(sandbox.git(&["ls-files"]), "a\nb\nc\nfirst");
}

#[test]
fn an_owner_who_goes_on_keeps_the_thread() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    // A hook of the user's that captures once more while the target moves.
    let hook = sandbox.root().join(".git/hooks/reference-transaction");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    let tree = sandbox.home().join("repo.heddle/a");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = committed ] || exit 0\ngrep -q refs/heads/main || exit 0\nunset $(git rev-parse --local-env-vars)\ncd '{}' && [ ! -e more ] && echo more >more && '{}' agent capture --session {session} -m more >/dev/null\nexit 0\n",
        tree.display(),
        env!("CARGO_BIN_EXE_git-heddle"),
    );
    write_program(&hook, script);
    let done = land(&sandbox, 0, &["a"]);
    fs::remove_file(&hook).expect("hook");
    assert_eq!(status(&sandbox, &session), "active", "{done}");
    assert_eq!(state(&sandbox, "a"), "active");
    assert_ne!(sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "a"));
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    land(&sandbox, 0, &["a"]);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "a"));
}

#[test]
fn a_hook_that_refuses_the_target_leaves_everything_as_it_was() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    let hook = sandbox.root().join(".git/hooks/reference-transaction");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, "#!/bin/sh\n[ \"$1\" = prepared ] || exit 0\n! grep -q refs/heads/main\n");
    let main = sandbox.git(&["rev-parse", "main"]);
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(1);
    assert!(refused.stderr.contains("git update-ref failed"), "{refused:?}");
    assert_eq!(sandbox.git(&["rev-parse", "main"]), main);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "the checkout came back");
    assert!(!sandbox.root().join("file").exists());
    let record: Value =
        serde_json::from_slice(&fs::read(sandbox.state("threads/a.json")).expect("record")).expect("JSON");
    assert_eq!(record.get("landing"), None, "{record}");
    assert_eq!((state(&sandbox, "a").as_str(), status(&sandbox, &session).as_str()), ("ready", "active"));
}

#[test]
fn a_landing_that_died_after_the_target_moved_is_finished_by_the_next() {
    let sandbox = Sandbox::new();
    let session = ready(&sandbox, "a", "file", "a\n");
    let (old, new) = (sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "a"));
    let path = sandbox.state("threads/a.json");
    let intend = |target: &str| {
        let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
        record["landing"] = json!({"target": "refs/heads/main", "old": old, "new": target, "tip": new});
        fs::write(&path, record.to_string()).expect("record");
        fs::write(sandbox.state("landing"), "a\n").expect("name");
    };
    // Before the target moved: forgotten.
    intend(&new);
    land(&sandbox, 0, &["--all-ready", "--into=main", "--strategy=merge"]);
    assert_ne!(sandbox.git(&["rev-parse", "main"]), new, "made anew, as asked for");

    let session_b = ready(&sandbox, "b", "more", "b\n");
    let (old, new) = (sandbox.git(&["rev-parse", "main"]), tip(&sandbox, "b"));
    sandbox.git(&["merge", "--quiet", "--ff-only", &new]);
    let path = sandbox.state("threads/b.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
    record["landing"] = json!({"target": "refs/heads/main", "old": old, "new": new, "tip": new});
    fs::write(&path, record.to_string()).expect("record");
    // Where the name cannot be read, every record is looked at.
    fs::write(sandbox.state("landing"), "b").expect("name");
    land(&sandbox, 0, &["--all-ready"]);
    assert_eq!(
        (status(&sandbox, &session).as_str(), status(&sandbox, &session_b).as_str()),
        ("merged", "merged")
    );
    assert_eq!(state(&sandbox, "b"), "merged");
}

#[test]
fn a_damaged_record_of_one_thread_keeps_no_other_from_landing() {
    let sandbox = Sandbox::new();
    ready(&sandbox, "a", "file", "a\n");
    ready(&sandbox, "b", "other", "b\n");
    land(&sandbox, 0, &["a"]);
    fs::write(sandbox.state("threads/a.json"), "{").expect("record");
    land(&sandbox, 0, &["b"]);
    assert_eq!(sandbox.git(&["show", "main:other"]), "b");
}

#[test]
fn a_killed_landing_leaves_a_whole_target_and_the_next_one_lands() {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        println!("skipped: there is no strace here");
        return;
    }
    let prepared = || {
        let sandbox = Sandbox::new();
        let session = ready(&sandbox, "a", "file", "a\n");
        sandbox.commit("other");
        sandbox.git(&["config", "heddle.lockTimeout", "1s"]);
        (sandbox, session)
    };
    let binary = env!("CARGO_BIN_EXE_git-heddle");
    for call in ["rename", "link", "unlink", "mkdir", "openat", "clone3", "vfork", "clone"] {
        for number in (1..200).step_by(if call == "openat" { 7 } else { 1 }) {
            let (sandbox, session) = prepared();
            let old = sandbox.git(&["rev-parse", "main"]);
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let log = sandbox.home().join("trace");
            let log = log.to_str().expect("UTF-8");
            let args = [
                "-qq",
                "-o",
                log,
                "-e",
                &format!("trace={call}"),
                "-e",
                &inject,
                binary,
                "thread",
                "land",
                "a",
            ];
            let killed = sandbox.program("strace", &sandbox.root(), &args).output().expect("strace");
            if killed.status.success() {
                break;
            }
            let about = format!("killed at {call} {number}");
            let now = sandbox.git(&["rev-parse", "main"]);
            if now != old {
                assert_eq!(sandbox.git(&["log", "-1", "--format=%s", "main"]), "Land thread 'a'", "{about}");
            }
            let mut next = sandbox.heddle(&["--json", "thread", "land", "a"]);
            if next.code == 75 {
                // Between making Git's lock on the thread and noting which file it is; Git
                // processes of other tests may hold it, for all the doctor can know.
                let lock = sandbox.root().join(".git/refs/heddle/threads/a.lock");
                let deadline = Instant::now() + Duration::from_secs(20);
                while lock.exists() {
                    assert!(Instant::now() < deadline, "{about}: {:?}", sandbox.heddle(&["doctor"]));
                    sandbox.heddle(&["doctor", "--fix"]);
                }
                next = sandbox.heddle(&["--json", "thread", "land", "a"]);
            }
            assert_eq!(next.code, 0, "{about}: {next:?}");
            assert_eq!(sandbox.git(&["rev-list", "--count", "--merges", "main"]), "1", "{about}");
            assert_eq!(
                (state(&sandbox, "a").as_str(), status(&sandbox, &session).as_str()),
                ("merged", "merged"),
                "{about}"
            );
            assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{about}");
            assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
            for left in ["index.lock", "heddle-move"] {
                assert!(!sandbox.root().join(".git").join(left).exists(), "{about}: {left} is left");
            }
            sandbox.git(&["fsck", "--strict", "--no-dangling"]);
        }
    }
}

#[test]
fn landings_and_commits_on_the_target_at_once_lose_nothing() {
    let sandbox = Sandbox::new();
    let threads: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    for thread in &threads {
        ready(&sandbox, thread, thread, "x\n");
    }
    let start = |command: &mut Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let mut landings: Vec<_> =
        (0..3).map(|_| start(&mut sandbox.command(&["--json", "thread", "land", "--all-ready"]))).collect();
    let mut committed = Vec::new();
    for number in 0..12 {
        // Another branch of the same repository, and a person who commits on main.
        let message = format!("by hand {number}");
        let args = ["commit", "--quiet", "--allow-empty", "--message", &message];
        let commit = sandbox.program("git", &sandbox.root(), &args).output().expect("git");
        if commit.status.success() {
            committed.push(message);
        }
    }
    let answers: Vec<Answer> =
        landings.drain(..).map(|child| Answer::of(&child.wait_with_output().expect("ended"))).collect();
    assert!(answers.iter().all(|answer| matches!(answer.code, 0 | 7)), "{answers:?}");
    land(&sandbox, 0, &["--all-ready"]);
    let subjects = sandbox.git(&["log", "--format=%s", "main"]);
    for message in &committed {
        assert_eq!(subjects.lines().filter(|subject| subject == message).count(), 1, "{message}: {subjects}");
    }
    for thread in &threads {
        let work = format!("work on {thread}");
        assert_eq!(subjects.lines().filter(|subject| **subject == work).count(), 1, "{work}: {subjects}");
        assert_eq!(state(&sandbox, thread), "merged");
    }
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_lock_on_the_target_is_waited_for_and_then_named() {
    let sandbox = Sandbox::new();
    if sandbox.format.reftable {
        return;
    }
    ready(&sandbox, "a", "file", "a\n");
    sandbox.git(&["checkout", "--quiet", "--detach"]);
    let lock = sandbox.root().join(".git/refs/heads/main.lock");
    let held = || fs::write(&lock, "").expect("lock");
    held();
    sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(75);
    assert!(refused.stderr.contains("refs/heads/main.lock\" exists"), "{refused:?}");
    sandbox.git(&["config", "heddle.lockTimeout", "30s"]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            fs::remove_file(&lock).expect("unlock");
        });
        sandbox.heddle(&["thread", "land", "a"]).exits(0);
    });
}

#[test]
fn a_merge_driver_has_its_files_in_no_worktree() {
    let sandbox = Sandbox::new();
    let (root, seen) = (sandbox.root(), sandbox.home().join("seen"));
    put(&root, ".gitattributes", "file merge=mine\n");
    put(&root, "file", "one\n");
    fs::create_dir(root.join("tools")).expect("folder");
    // Named from the top of the worktree. What it is given lies where it runs, and not there.
    write_program(
        root.join("tools/merge"),
        format!("#!/bin/sh\n[ -e \"$1\" ] && ls -A {root:?}* >>{seen:?}\ncat \"$2\" >\"$1\"\n"),
    );
    sandbox.git(&["config", "merge.mine.driver", "./tools/merge %A %B"]);
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "A driver"]);
    let reserved = sandbox.reserve("x", &["--worktree"]);
    let (session, tree) = (text(&reserved, "session_id"), text(&reserved, "path"));
    put(tree.as_ref(), "file", "theirs\n");
    sandbox.heddle_in(tree.as_ref(), &["agent", "capture", "--session", &session, "-m", "theirs"]).exits(0);
    sandbox.commit_in(&root, "file", "ours\n");
    sandbox.heddle_in(tree.as_ref(), &["thread", "show", "x"]).exits(0);
    sandbox.heddle_in(tree.as_ref(), &["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["verify", "x"]).exits(0);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "x"]).exits(0);
    assert_eq!(sandbox.git(&["show", "main:file"]), "theirs");
    let seen = fs::read_to_string(&seen).expect("the driver ran");
    assert!(seen.matches("tools").count() >= 4, "{seen}");
    assert!(!seen.contains(".merge_file"), "{seen}");
}
