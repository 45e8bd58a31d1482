//! `thread rename`: everything of a thread goes along, and nothing of the old name is given
//! out twice.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Sandbox, text};
use support_program::write_program;

/// A thread with a worktree and one capture; its session and the worktree.
#[track_caller]
fn captured(sandbox: &Sandbox, thread: &str) -> (String, PathBuf) {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    capture(sandbox, &session, &path, &thread.replace('/', "-"));
    (session, path)
}

#[track_caller]
fn capture(sandbox: &Sandbox, session: &str, path: &Path, file: &str) {
    fs::write(path.join(file), "work\n").expect("write");
    let args = ["agent", "capture", "--session", session, "-m", &format!("work on {file}")];
    sandbox.heddle_in(path, &args).exits(0);
}

#[track_caller]
fn rename(sandbox: &Sandbox, old: &str, new: &str, more: &[&str]) -> Value {
    sandbox.heddle(&[&["--json", "thread", "rename", old, new], more].concat()).exits(0).json()
}

fn refs(sandbox: &Sandbox) -> Vec<String> {
    let format = "--format=%(objectname) %(refname)";
    sandbox.git(&["for-each-ref", format, "refs/heddle"]).lines().map(str::to_owned).collect()
}

fn show(sandbox: &Sandbox, thread: &str) -> Value {
    sandbox.heddle(&["--json", "thread", "show", thread]).exits(0).json()
}

#[test]
fn everything_of_a_thread_goes_along_and_its_owner_goes_on() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "fix/login");
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    let tip = sandbox.git(&["rev-parse", "refs/heddle/threads/fix/login"]);
    // In tables a log cannot be written but by what it is a log of: it begins anew.
    let kinds: &[&str] = if sandbox.format.reftable { &[] } else { &["threads", "ready"] };
    let logs = |thread: &str| {
        kinds
            .iter()
            .map(|kind| {
                let log = sandbox.root().join(format!(".git/logs/refs/heddle/{kind}/{thread}"));
                fs::read_to_string(log).expect("a reflog")
            })
            .collect::<Vec<_>>()
    };
    let before = logs("fix/login");

    let done = rename(&sandbox, "fix/login", "sign-in", &["--session", &session]);
    let expected = json!({
        "thread": "sign-in", "former": "fix/login", "tip": tip, "generation": 1, "session": session
    });
    assert_eq!(done, expected);
    let expected = [format!("{tip} refs/heddle/ready/sign-in"), format!("{tip} refs/heddle/threads/sign-in")];
    assert_eq!(refs(&sandbox), expected);
    for (before, after) in before.iter().zip(logs("sign-in")) {
        let line = after.strip_prefix(before.as_str()).expect("the log went along");
        assert!(line.starts_with(&format!("{tip} {tip} ")), "{line}");
        assert!(line.ends_with("\theddle: rename fix/login to sign-in\n"), "{line}");
    }
    assert!(!sandbox.root().join(".git/logs/refs/heddle/threads/fix/login").exists());
    if sandbox.format.reftable {
        let log = sandbox.git(&["reflog", "--format=%H %gs", "refs/heddle/threads/sign-in"]);
        assert_eq!(log, format!("{tip} heddle: rename fix/login to sign-in"));
    } else {
        let last = sandbox.git(&["rev-parse", "refs/heddle/threads/sign-in@{2}"]);
        assert_eq!(last, sandbox.git(&["rev-parse", "main"]), "older tips are named by the log");
    }
    assert_eq!(show(&sandbox, "sign-in")["former_names"], json!(["fix/login"]));

    // The session is found under the new name, and its worktree serves it.
    let row = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
    assert_eq!((&row["thread"], &row["status"]), (&json!("sign-in"), &json!("active")));
    assert_eq!(PathBuf::from(text(&row, "path")), path);
    sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    capture(&sandbox, &session, &path, "more");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    let trailers = sandbox.git(&[
        "log",
        "--format=%(trailers:key=Heddle-Thread,valueonly,separator=%x2C)",
        "main..refs/heddle/threads/sign-in",
    ]);
    assert_eq!(trailers, "sign-in\nfix/login", "what was captured keeps the name that it was captured under");
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "sign-in"]).exits(0);
    assert_eq!(show(&sandbox, "sign-in")["state"], "merged");
    assert!(!path.exists(), "its worktree went with it");
    assert_eq!(sandbox.heddle(&["--json", "doctor"]).exits(0).json()["findings"], json!([]));
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn under_no_name_is_a_generation_given_out_twice() {
    let sandbox = Sandbox::new();
    let (session, _) = captured(&sandbox, "a");
    rename(&sandbox, "a", "b", &["--session", &session]);
    let refused = sandbox.heddle(&["thread", "show", "a"]).exits(1);
    assert!(refused.stderr.contains("hint: it was renamed to 'b'"), "{refused:?}");
    // The old name is free for a new thread, whose numbers go on.
    let other = sandbox.reserve("a", &[]);
    assert_eq!(
        (&other["generation"], &other["anchor_state"]),
        (&json!(2), &json!(sandbox.git(&["rev-parse", "main"])))
    );
    assert_eq!(show(&sandbox, "a")["former_names"], json!([]));
    sandbox.heddle(&["agent", "release", "--session", &text(&other, "session_id")]).exits(0);
    sandbox.heddle(&["thread", "drop", "a"]).exits(0);
    // Back again: above both.
    let done = rename(&sandbox, "b", "a", &["--session", &session]);
    assert_eq!(done["generation"], 3);
    assert_eq!(sandbox.heddle(&["agent", "show", &session]).exits(0).json()["generation"], 3);
    assert_eq!(show(&sandbox, "a")["former_names"], json!(["a", "b"]));
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert_eq!(sandbox.reserve("a", &["--resume"])["generation"], 4);
    assert_eq!(sandbox.reserve("b", &[])["generation"], 2);
    // Verifying goes by commits alone, and has to be told the old names.
    let sandbox = Sandbox::new();
    for thread in ["old", "new", "new"] {
        let session = text(&sandbox.reserve(thread, &[]), "session_id");
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    }
    sandbox.heddle(&["thread", "drop", "new"]).exits(0);
    let (session, path) = captured(&sandbox, "old");
    capture(&sandbox, &session, &path, "first");
    assert_eq!(rename(&sandbox, "old", "new", &["--session", &session])["generation"], 3);
    capture(&sandbox, &session, &path, "second");
    sandbox.heddle(&["verify", "new"]).exits(7);
    sandbox.heddle(&["verify", "new", "--formerly", "old"]).exits(0);
    // Also where the record was lost: the commits' own names are older ones.
    let sandbox = Sandbox::new();
    let (session, _) = captured(&sandbox, "a");
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    rename(&sandbox, "a", "b", &[]);
    fs::remove_file(sandbox.state("threads/b.json")).expect("record");
    assert_eq!(sandbox.reserve("b", &["--resume"])["generation"], 2);
}

#[test]
fn a_name_that_is_taken_or_clashes_is_refused_and_nothing_changes() {
    let sandbox = Sandbox::new();
    let session = text(&sandbox.reserve("a/b", &[]), "session_id");
    sandbox.reserve("taken", &[]);
    sandbox.reserve("above/below", &[]);
    let act = |new: &'static str| ["thread", "rename", "a/b", new, "--session", &session];
    for (code, new, said) in [
        (1, "taken", "exists"),
        (1, "taken/below", "exists"),
        (1, "above", "exists"),
        (1, "a", "exists"),
        (1, "a/b/c", "exists"),
        (2, "a/b", "has that name already"),
        (2, "a..b", "invalid thread name"),
    ] {
        let refused = sandbox.refused(code, &act(new));
        assert!(refused.stderr.contains(said), "{new}: {refused:?}");
    }
    sandbox.git(&["pack-refs", "--all"]);
    sandbox.refused(1, &act("taken/below"));
    sandbox.refused(1, &act("above"));
    sandbox.refused(1, &["thread", "rename", "none", "new"]);
    // Not the owner's session, nor none; a person may, which ends it.
    sandbox.refused(3, &["thread", "rename", "a/b", "new"]);
    sandbox.refused(2, &["thread", "rename", "a/b"]);
    sandbox.refused(1, &["thread", "rename", "a/b", "taken/below", "--force"]);
    sandbox.git(&["config", "core.ignoreCase", "true"]);
    let refused = sandbox.refused(1, &act("TAKEN"));
    assert!(refused.stderr.contains("differs only in case from thread 'taken'"), "{refused:?}");
    sandbox.refused(1, &["thread", "rename", "a/b", "A/b", "--force"]);
    let done = rename(&sandbox, "a/b", "new", &["--force"]);
    assert_eq!((&done["session"], &done["generation"]), (&Value::Null, &json!(1)));
    assert_eq!(sandbox.heddle(&["agent", "show", &session]).exits(0).json()["status"], "abandoned");
}

#[test]
fn what_the_last_owner_left_is_found_under_the_new_name() {
    let sandbox = Sandbox::new();
    let (session, path) = captured(&sandbox, "a");
    fs::write(path.join("loose"), "loose\n").expect("write");
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(path.exists(), "it has uncommitted work");
    rename(&sandbox, "a", "b", &[]);
    let refused = sandbox.refused(
        1,
        &["agent", "reserve", "--thread", "b", "--anchor", "refs/heddle/threads/b", "--worktree"],
    );
    assert!(refused.stderr.contains("was left with uncommitted changes in loose"), "{refused:?}");
    let next = sandbox.reserve("b", &["--resume", "--worktree"]);
    assert_eq!(PathBuf::from(text(&next, "path")), path);
    // A thread that takes the old name has a folder of its own.
    let other = sandbox.reserve("a", &["--worktree"]);
    assert_ne!(PathBuf::from(text(&other, "path")), path);
    // The sessions that made what lands end as merged, whatever their thread was called.
    let next = text(&next, "session_id");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &next, "-m", "loose"]).exits(0);
    sandbox.heddle(&["thread", "land", "b"]).exits(0);
    for session in [&session, &next] {
        assert_eq!(sandbox.heddle(&["agent", "show", session]).exits(0).json()["status"], "merged");
    }
}

#[test]
fn a_runner_keeps_its_command_over_a_rename() {
    let sandbox = Sandbox::new();
    let script = format!(
        "'{binary}' thread rename t u && echo work >work && '{binary}' agent capture -m work >&2",
        binary = env!("CARGO_BIN_EXE_git-heddle")
    );
    let args = ["agent", "run", "--thread", "t", "--worktree", "--ready", "--", "sh", "-c", &script];
    let ran = sandbox.heddle(&args);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(show(&sandbox, "u")["state"], "ready");
    sandbox.heddle(&["thread", "show", "t"]).exits(1);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%s", "refs/heddle/threads/u"]), "work");
}

#[test]
fn a_landing_that_died_is_finished_before_its_thread_is_renamed() {
    let sandbox = Sandbox::new();
    let (session, _) = captured(&sandbox, "a");
    sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
    let (old, new) =
        (sandbox.git(&["rev-parse", "main"]), sandbox.git(&["rev-parse", "refs/heddle/threads/a"]));
    sandbox.git(&["merge", "--quiet", "--ff-only", &new]);
    let path = sandbox.state("threads/a.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
    record["landing"] = json!({"target": "refs/heads/main", "old": old, "new": new, "tip": new});
    fs::write(&path, record.to_string()).expect("record");
    rename(&sandbox, "a", "b", &[]);
    assert_eq!(show(&sandbox, "b")["state"], "merged");
    assert_eq!(sandbox.heddle(&["agent", "show", &session]).exits(0).json()["status"], "merged");
}

#[test]
fn a_lock_that_keeps_a_killed_operation_from_being_finished_is_removed_by_one_look() {
    for packed in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "heddle.lockTimeout", "1s"]);
        let session = text(&sandbox.reserve("x", &[]), "session_id");
        if packed {
            sandbox.git(&["pack-refs", "--all"]);
        }
        // The git that deletes the ref and who has it done, at the moment at which it has its locks.
        let hooks = sandbox.home().join("killing");
        fs::create_dir(&hooks).expect("folder");
        let script = "#!/bin/sh\n[ \"$1\" = prepared ] && grep -q ' 0\\{40,64\\} refs/heddle/threads/x$' || exit 0\n\
                      kill -9 $PPID $(cut -d' ' -f4 /proc/$PPID/stat)\n";
        write_program(hooks.join("reference-transaction"), script);
        let mut command = sandbox.command(&["thread", "rename", "x", "y", "--session", &session]);
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "core.hooksPath");
        let killed = command.env("GIT_CONFIG_VALUE_0", &hooks).output().expect("git-heddle");
        assert!(killed.status.signal().is_some(), "{killed:?}");
        // A lock that is only just there may be anybody's.
        std::thread::sleep(std::time::Duration::from_secs(3));
        sandbox.heddle(&["doctor", "--fix"]).exits(0);
        assert_eq!(sandbox.heddle(&["--json", "doctor"]).exits(0).json()["findings"], json!([]));
        let thread = text(&sandbox.heddle(&["agent", "show", &session]).exits(0).json(), "thread");
        sandbox.heddle(&["agent", "capture", "--session", &session, "--allow-empty", "-m", "m"]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        sandbox.reserve(&thread, &["--resume"]);
    }
}
