//! Reserving, holding and releasing threads, by the program itself in real repositories.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde_json::Value;
use support::{Answer, Sandbox, assert_same, snapshot_of, text};

const REQUEST: &str = "0123456789abcdef0123456789abcdef";

/// A process that does nothing until it is killed.
fn idle() -> Child {
    Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("sleep")
}

fn id_of(session: &Value) -> String {
    text(session, "session_id")
}

/// The commands that act for `session`.
fn acting(session: &str) -> [Vec<&str>; 4] {
    [
        vec!["agent", "heartbeat", "--session", session],
        vec!["agent", "capture", "--session", session, "-m", "work"],
        vec!["agent", "ready", "--session", session],
        vec!["agent", "release", "--session", session],
    ]
}

/// The commands that only look.
fn looking(session: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["agent", "list"],
        vec!["agent", "list", "--json", "--alive-only"],
        vec!["agent", "list", "--output=text"],
        vec!["agent", "show", session],
        vec!["thread", "list"],
        vec!["thread", "list", "--json"],
        vec!["thread", "show", "t"],
        vec!["log"],
        vec!["log", "--json"],
        vec!["doctor"],
        vec!["doctor", "--json"],
    ]
}

#[test]
fn reserve_leaves_everything_of_the_users_alone() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.root().join("first"), "dirty\n").expect("write");
    fs::write(sandbox.root().join("new"), "untracked\n").expect("write");
    let before = (sandbox.git(&["status", "--porcelain=v2", "--branch"]), sandbox.git(&["branch", "--all"]));
    let files = sandbox.snapshot();
    let head = sandbox.git(&["rev-parse", "HEAD"]);

    let session = sandbox.reserve("fix/login", &["--task", "fix the login form"]);

    assert_eq!(text(&session, "thread"), "fix/login");
    assert_eq!(text(&session, "anchor_state"), head);
    assert_eq!(text(&session, "anchor_root"), sandbox.git(&["rev-parse", "HEAD^{tree}"]));
    assert_eq!(text(&session, "status"), "active");
    assert_eq!(text(&session, "task"), "fix the login form");
    assert_eq!(session["path"], Value::Null);
    assert_eq!(session["generation"], 1);
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/fix/login"]), head);
    assert_eq!(sandbox.git(&["reflog", "show", "refs/heddle/threads/fix/login"]).lines().count(), 1);
    let of_the_user = |(path, _): &(_, _)| {
        let path: &std::path::PathBuf = path;
        !path.iter().any(|part| part == "heddle" || part == "reftable")
    };
    let files = files.into_iter().filter(of_the_user).collect();
    assert_same(&files, &sandbox.snapshot().into_iter().filter(of_the_user).collect());
    let after = (sandbox.git(&["status", "--porcelain=v2", "--branch"]), sandbox.git(&["branch", "--all"]));
    assert_eq!(before, after);
}

#[test]
fn a_thread_with_a_live_owner_is_refused_with_the_document() {
    let sandbox = Sandbox::new();
    let owner = sandbox.reserve("t", &[]);
    let refusal = sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
    let document = refusal.json();
    assert_eq!(text(&document, "kind"), "live_owner");
    assert_eq!(text(&document, "thread"), "t");
    assert_eq!(document["requested_anchor"], owner["anchor_state"]);
    assert_eq!(document["reserved_anchor"], owner["anchor_state"]);
    assert_eq!(document["owner"]["session_id"], owner["session_id"]);
    let expected = format!("thread 't' already has a live reservation on session '{}'", id_of(&owner));
    // And what to do next, for who reads nothing else.
    assert_eq!(
        text(&document, "message"),
        format!("{expected}; wait for it (--wait), or ask its owner to release it")
    );
    assert!(refusal.stderr.contains(&expected) && refusal.stderr.contains("hint: "), "{}", refusal.stderr);
}

#[test]
fn a_thread_elsewhere_is_drift_and_resume_takes_it_as_it_is() {
    let sandbox = Sandbox::new();
    let first = sandbox.reserve("t", &[]);
    let second = sandbox.commit("second");

    // Owned: elsewhere is drift, not a live owner.
    let document = sandbox.refused(4, &["agent", "reserve", "--thread", "t"]).json();
    assert_eq!(text(&document, "kind"), "anchor_drift");
    assert_eq!(text(&document, "requested_anchor"), second);
    assert_eq!(document["reserved_anchor"], first["anchor_state"]);
    assert_eq!(document["owner"]["session_id"], first["session_id"]);
    assert!(text(&document, "message").starts_with(&format!(
        "thread 't' is reserved by session '{}' on anchor {}, but you requested {second}",
        id_of(&first),
        text(&first, "anchor_state")
    )));
    sandbox.refused(3, &["agent", "reserve", "--thread", "t", "--resume"]);

    // Free: the same, without an owner.
    sandbox.heddle(&["agent", "release", "--session", &id_of(&first)]).exits(0);
    let document = sandbox.refused(4, &["agent", "reserve", "--thread", "t"]).json();
    assert_eq!(document["owner"], Value::Null);
    assert!(text(&document, "message").starts_with(&format!(
        "thread 't' is anchored at {}, but reservation requested {second}",
        text(&first, "anchor_state")
    )));

    let resumed = sandbox.reserve("t", &["--resume"]);
    assert_eq!(resumed["anchor_state"], first["anchor_state"]);
    assert_eq!(resumed["generation"], 2);
}

#[test]
fn resume_makes_a_thread_that_does_not_exist() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.reserve("t", &["--resume"])["generation"], 1);
}

#[test]
fn every_new_owner_raises_the_generation() {
    let sandbox = Sandbox::new();
    for generation in 1..=4 {
        let session = sandbox.reserve("t", &[]);
        assert_eq!(session["generation"], generation);
        let status = if generation % 2 == 0 { "abandoned" } else { "complete" };
        sandbox.heddle(&["agent", "release", "--session", &id_of(&session), "--status", status]).exits(0);
    }
    assert_eq!(sandbox.reserve("other", &[])["generation"], 1);
}

#[test]
fn no_owner_follows_the_highest_generation() {
    let sandbox = Sandbox::new();
    let tree = sandbox.git(&["rev-parse", "HEAD^{tree}"]);
    let make = |thread: &str, generation: u64| {
        let session = "agent-01m8bmdwdyyk70823ycvckpqtg";
        let message = format!(
            "m\n\nHeddle-Thread: {thread}\nHeddle-Session: {session}\nHeddle-Generation: {generation}\n"
        );
        let commit = sandbox.git(&["commit-tree", &tree, "-p", "HEAD", "-m", &message]);
        // As one that came from elsewhere.
        let name = format!("refs/heddle/threads/{thread}");
        sandbox.git(&["-c", "core.hooksPath=/dev/null", "update-ref", &name, &commit]);
    };
    let highest = u64::MAX / 2;
    make("highest", highest);
    let refused = sandbox.heddle(&["agent", "reserve", "--thread", "highest", "--resume"]).exits(1);
    assert!(refused.stderr.contains("no owner can follow"), "{refused:?}");
    make("last", highest - 1);
    let last = sandbox.reserve("last", &["--resume"]);
    assert_eq!(last["generation"], highest);
    sandbox.heddle(&["agent", "release", "--session", &id_of(&last)]).exits(0);
    sandbox.heddle(&["agent", "reserve", "--thread", "last", "--resume"]).exits(1);
    // What is beyond is no generation.
    make("beyond", u64::MAX);
    let found = sandbox.heddle(&["verify", "beyond"]).exits(7);
    assert!(found.stdout.contains("that is no generation"), "{found:?}");
}

#[test]
fn a_lapsed_lease_lets_the_next_in_and_the_replaced_session_can_do_nothing() {
    let sandbox = Sandbox::new();
    let first = sandbox.reserve("t", &["--ttl", "1"]);
    sandbox.lapse(&id_of(&first));
    let second = sandbox.reserve("t", &[]);
    assert_eq!(second["generation"], 2);
    fs::write(sandbox.root().join("new"), "work\n").expect("write");
    for command in acting(&id_of(&first)) {
        let refusal = sandbox.refused(5, &[&command[..], &["--json"]].concat());
        assert_eq!(text(&refusal.json()["error"], "kind"), "session_lost", "{command:?}");
    }
    let seen = sandbox.heddle(&["agent", "show", &id_of(&first)]).exits(0).json();
    assert_eq!(text(&seen, "status"), "abandoned");
    sandbox.heddle(&["agent", "heartbeat", "--session", &id_of(&second)]).exits(0);
}

#[test]
fn a_lapsed_session_that_nobody_replaced_revives() {
    let sandbox = Sandbox::new();
    let session = sandbox.reserve("t", &["--ttl", "1h"]);
    sandbox.edit_session(&id_of(&session), |record| {
        record["ttl_seconds"] = Value::from(1);
        record["heartbeat"]["monotonic_ms"] = Value::from(0);
    });
    let seen = sandbox.heddle(&["agent", "show", &id_of(&session)]).exits(0).json();
    assert_eq!((text(&seen, "status"), text(&seen, "liveness")), ("active".into(), "dead".into()));
    let alive = sandbox.heddle(&["agent", "heartbeat", "--session", &id_of(&session)]).exits(0).json();
    assert_eq!(text(&alive, "liveness"), "alive");
    assert_eq!(alive["generation"], 1);
}

#[test]
fn a_renewed_lease_counts_and_where_it_is_lost_the_record_is_whole() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("t", &[]));
    sandbox.edit_session(&session, |record| {
        record["ttl_seconds"] = Value::from(1);
        record["heartbeat"]["monotonic_ms"] = Value::from(0);
    });
    let record = sandbox.state(format!("agents/{session}.json"));
    let before = fs::read(&record).expect("record");
    sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    assert_eq!(fs::read(record).expect("record"), before, "the record was written");
    // As long as it was in the record: what a lapsed lease of one second leaves is not known
    // to a test that may be slow, so it is made longer, which the renewal does not mind.
    sandbox.edit_session(&session, |record| record["ttl_seconds"] = Value::from(3600));
    sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
    // A power cut may leave any of it.
    let live = sandbox.state(format!("agents/{session}.live"));
    let line = fs::read(&live).expect("line");
    sandbox.edit_session(&session, |record| record["ttl_seconds"] = Value::from(1));
    for left in [&line[..0], &line[..100], &[0; 512]] {
        fs::write(&live, left).expect("write");
        let seen = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
        assert_eq!((text(&seen, "status"), text(&seen, "liveness")), ("active".into(), "dead".into()));
    }
    sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    assert_eq!(fs::read(&live).expect("line").len(), line.len());
    fs::remove_file(live).expect("removed");
    // Where it cannot be noted beside the record it goes into the record.
    let beaten = sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0).json();
    let shown = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
    assert_eq!(text(&shown, "heartbeat_at"), text(&beaten, "heartbeat_at"));
}

#[test]
fn release_repeated_with_the_same_status_gives_the_same_answer() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("t", &[]));
    let release = ["agent", "release", "--session", &session, "--status=abandoned"];
    let first = sandbox.heddle(&release).exits(0);
    assert_eq!(text(&first.json(), "status"), "abandoned");
    assert_eq!(sandbox.refused(0, &release), first);
    let other = sandbox.refused(5, &["agent", "release", "--session", &session]);
    let message = format!("agent session '{session}' is no longer active (status: abandoned)");
    assert!(other.stderr.contains(&message), "{}", other.stderr);
    // Still so when somebody else has the thread.
    sandbox.reserve("t", &[]);
    assert_eq!(sandbox.refused(0, &release).stdout, first.stdout);
}

#[test]
fn a_session_that_does_not_exist_is_lost_and_one_that_cannot_is_a_bad_argument() {
    let sandbox = Sandbox::new();
    sandbox.reserve("t", &[]);
    for command in acting("agent-nobody") {
        let answer = sandbox.refused(5, &command);
        assert!(answer.stderr.contains("agent session 'agent-nobody' not found"), "{}", answer.stderr);
    }
    for bad in ["../t", "Agent", "a b", "a/b", "ä"] {
        let answer = sandbox.refused(2, &["agent", "heartbeat", "--session", bad]);
        assert!(answer.stderr.contains("invalid session ID"), "{}", answer.stderr);
    }
    sandbox.refused(2, &["agent", "heartbeat"]);
    sandbox.refused(2, &["agent", "heartbeat", "--session", ""]);
}

#[test]
fn a_token_that_is_given_is_verified_and_an_empty_one_is_no_token() {
    let sandbox = Sandbox::new();
    let session = sandbox.reserve("t", &[]);
    let other = sandbox.reserve("other", &[]);
    let (id, token) = (id_of(&session), text(&session, "reservation_token"));
    fs::write(sandbox.home().join("token"), format!("{token}\n")).expect("write");
    fs::write(sandbox.home().join("empty"), "\n").expect("write");
    for command in acting(&id) {
        for wrong in [text(&other, "reservation_token").as_str(), "hdl_", "", " "] {
            let answer = sandbox.refused_with(&[("HEDDLE_TOKEN", wrong)], 6, &command);
            assert!(!answer.stderr.contains(&token), "{}", answer.stderr);
        }
        for file in ["../empty", "../nothing"] {
            sandbox.refused(6, &[&command[..], &["--token-file", file]].concat());
        }
    }
    let heartbeat = ["agent", "heartbeat", "--session", &id];
    sandbox.heddle(&heartbeat).exits(0);
    sandbox.heddle_with(&[("HEDDLE_TOKEN", &token)], &heartbeat).exits(0);
    let from_file = [&heartbeat[..], &["--token-file", "../token"]].concat();
    // The flag wins over the environment.
    sandbox.heddle_with(&[("HEDDLE_TOKEN", "wrong")], &from_file).exits(0);
}

#[test]
fn a_token_is_read_from_a_pipe_as_well_and_no_more_than_a_token_has() {
    let sandbox = Sandbox::new();
    let session = sandbox.reserve("t", &[]);
    let (id, token) = (id_of(&session), text(&session, "reservation_token"));
    let file = |name: &str, length: usize, with: &str| {
        fs::write(sandbox.home().join(name), format!("{with}{}", " ".repeat(length - with.len())))
            .expect("write");
    };
    file("fits", 64 << 10, &token);
    file("long", (64 << 10) + 1, &token);
    file("request", (64 << 10) + 1, REQUEST);
    let heartbeat = ["agent", "heartbeat", "--session", &id, "--token-file"];
    sandbox.heddle(&[&heartbeat[..], &["../fits"]].concat()).exits(0);
    let reserve = ["agent", "reserve", "--thread", "new", "--request-token-file"];
    for (command, long) in [(&heartbeat[..], "../long"), (&reserve, "../request")] {
        for file in [long, "/dev/zero"] {
            let answer = sandbox.refused(6, &[command, &[file]].concat());
            let said = format!("error: cannot use the token from {file}: it is longer than 65536 bytes\n");
            assert!(answer.stderr.starts_with(&said), "{}", answer.stderr);
        }
    }
    let line = "\"$0\" agent heartbeat --session \"$1\" --token-file <(cat ../fits)";
    let args = ["-c", line, env!("CARGO_BIN_EXE_git-heddle"), &id];
    Answer::of(&sandbox.program("bash", &sandbox.root(), &args).output().expect("bash")).exits(0);
}

#[test]
fn what_is_not_utf_8_is_not_taken_for_absent() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    let id = id_of(&sandbox.reserve("t", &[]));
    let wrong = std::ffi::OsStr::from_bytes(b"hdl_\xff0123456789abcdef0123456789abcdef");
    fs::write(sandbox.home().join("token"), wrong.as_bytes()).expect("write");
    let before = sandbox.snapshot();
    let with = |name: &str, args: &[&str]| {
        Answer::of(&sandbox.command(args).env(name, wrong).output().expect("git-heddle"))
    };
    with("HEDDLE_TOKEN", &["agent", "release", "--session", &id]).exits(6);
    with("HEDDLE_SESSION", &["agent", "release"]).exits(2);
    with("HEDDLE_REQUEST_TOKEN", &["agent", "reserve", "--thread", "new"]).exits(2);
    sandbox.refused(6, &["agent", "release", "--session", &id, "--token-file", "../token"]);
    sandbox.refused(6, &["agent", "reserve", "--thread", "new", "--request-token-file", "../token"]);
    assert_same(&before, &sandbox.snapshot());
}

#[test]
fn a_required_token_must_be_given() {
    let flagged = Sandbox::new();
    let configured = Sandbox::new();
    let sessions =
        [(&flagged, flagged.reserve("t", &["--require-token"])), (&configured, configured.reserve("t", &[]))];
    configured.git(&["config", "heddle.requireToken", "true"]);
    for (sandbox, session) in sessions {
        let (id, token) = (id_of(&session), text(&session, "reservation_token"));
        for command in acting(&id) {
            let answer = sandbox.refused(6, &command);
            assert!(answer.stderr.contains("requires its reservation token"), "{}", answer.stderr);
        }
        sandbox.heddle_with(&[("HEDDLE_TOKEN", &token)], &acting(&id)[0]).exits(0);
        // A person may end it without.
        sandbox.heddle(&["agent", "release", "--session", &id, "--force"]).exits(0);
    }
}

#[test]
fn no_answer_but_that_of_reserve_and_no_file_shows_a_token() {
    let sandbox = Sandbox::new();
    let environment = [("HEDDLE_REQUEST_TOKEN", REQUEST)];
    let reserve = ["agent", "reserve", "--thread", "t"];
    let session = sandbox.heddle_with(&environment, &reserve).exits(0).json();
    let (id, token) = (id_of(&session), text(&session, "reservation_token"));
    let with_token = [("HEDDLE_TOKEN", token.as_str())];
    fs::write(sandbox.root().join("new"), "work\n").expect("write");
    let mut answers = vec![sandbox.heddle(&reserve).exits(3)];
    answers.push(sandbox.heddle(&[&reserve[..], &["-vv", "--output=text"]].concat()).exits(3));
    let [heartbeat, capture, ready, release] = acting(&id);
    for command in [heartbeat, capture, ready] {
        answers.push(sandbox.heddle_with(&with_token, &command));
    }
    answers.extend(looking(&id).iter().map(|command| sandbox.heddle(command).exits(0)));
    answers.push(sandbox.heddle_with(&with_token, &release).exits(0));
    answers.extend(looking(&id).iter().map(|command| sandbox.heddle(command).exits(0)));
    for answer in &answers {
        for secret in [token.as_str(), REQUEST] {
            assert!(!answer.stdout.contains(secret) && !answer.stderr.contains(secret), "{answer:?}");
        }
    }
    for (path, bytes) in snapshot_of(sandbox.home()) {
        let content = String::from_utf8_lossy(&bytes);
        assert!(!content.contains(&token) && !content.contains(REQUEST), "{path:?}");
    }
    let messages = sandbox.git(&["log", "--all", "--format=%B"]);
    assert!(!messages.contains(&token), "{messages}");
}

#[test]
fn a_process_that_was_killed_and_reaped_holds_nothing() {
    let sandbox = Sandbox::new();
    let mut child = idle();
    let first = sandbox.reserve("t", &["--hold-for-pid", &child.id().to_string()]);
    assert_eq!(first["holder"]["kind"], "process");
    assert_eq!(first["holder"]["pid"], child.id());
    sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
    child.kill().expect("kill");
    child.wait().expect("wait");
    let second = sandbox.reserve("t", &[]);
    assert_eq!(second["generation"], 2);
    sandbox.refused(5, &["agent", "heartbeat", "--session", &id_of(&first)]);
}

#[test]
fn a_zombie_holds_nothing() {
    let sandbox = Sandbox::new();
    let mut child = idle();
    let pid = child.id().to_string();
    sandbox.reserve("t", &["--hold-for-pid", &pid]);
    child.kill().expect("kill");
    let raw = i32::try_from(child.id()).expect("pid");
    waitid(Id::Pid(Pid::from_raw(raw)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("waitid");
    assert_eq!(sandbox.reserve("t", &[])["generation"], 2);
    sandbox.refused(1, &["agent", "reserve", "--thread", "u", "--hold-for-pid", &pid]);
    child.wait().expect("wait");
}

#[test]
fn a_live_process_holds_its_thread_beyond_the_lease() {
    let sandbox = Sandbox::new();
    let mut child = idle();
    let session = sandbox.reserve("t", &["--ttl", "1", "--hold-for-pid", &child.id().to_string()]);
    sandbox.lapse(&id_of(&session));
    let document = sandbox.refused(3, &["agent", "reserve", "--thread", "t"]).json();
    assert_eq!(document["owner"]["liveness"], "alive");
    // No lease decides, so none expires.
    assert!(session["expires_at"].is_null() && document["owner"]["expires_at"].is_null(), "{document}");
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn a_pid_that_was_given_to_another_process_holds_nothing() {
    let sandbox = Sandbox::new();
    let pid = std::process::id().to_string();
    let session = sandbox.reserve("t", &["--hold-for-pid", &pid]);
    sandbox.edit_session(&id_of(&session), |record| record["holder"]["start_time"] = Value::from(1));
    assert_eq!(sandbox.reserve("t", &[])["generation"], 2);
}

#[test]
fn a_heartbeat_from_the_future_is_unknown_and_counts_as_alive() {
    let sandbox = Sandbox::new();
    let session = sandbox.reserve("t", &[]);
    sandbox.edit_session(&id_of(&session), |record| {
        record["heartbeat"]["monotonic_ms"] = Value::from(1u64 << 50);
    });
    let document = sandbox.refused(3, &["agent", "reserve", "--thread", "t"]).json();
    assert_eq!(document["owner"]["liveness"], "unknown");
}

#[test]
fn an_unreadable_session_record_means_unknown_never_dead() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("t", &[]));
    let other = id_of(&sandbox.reserve("other", &[]));
    let path = sandbox.state(format!("agents/{session}.json"));
    for damage in ["", "{", "[]", "{\"version\":1}", "{\"version\":2}"] {
        fs::write(&path, damage).expect("write");
        let document = sandbox.refused(3, &["agent", "reserve", "--thread", "t"]).json();
        assert_eq!(text(&document, "kind"), "live_owner", "{damage:?}");
        assert!(text(&document, "message").contains(&session), "{damage:?}: {document}");
        sandbox.refused(1, &["agent", "heartbeat", "--session", &session]);

        // The listing names it and shows the rest.
        let list = sandbox.refused(0, &["agent", "list"]);
        let rows = list.json();
        assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
        assert_eq!(text(&rows[0], "session_id"), other);
        assert!(list.stderr.contains(&session), "{damage:?}: {}", list.stderr);
    }
    sandbox.heddle(&["agent", "heartbeat", "--session", &other]).exits(0);
}

#[test]
fn a_damaged_thread_record_refuses_its_thread_by_name_and_no_other() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("bad", &[]));
    let other = id_of(&sandbox.reserve("good", &[]));
    let path = sandbox.state("threads/bad.json");
    let good = fs::read_to_string(sandbox.state("threads/good.json")).expect("record");
    let newer = good.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(newer, good);
    for damage in ["", "{", "{\"version\":1}", newer.as_str(), good.as_str()] {
        fs::write(&path, damage).expect("write");
        for command in [
            vec!["agent", "reserve", "--thread", "bad"],
            vec!["agent", "reserve", "--thread", "bad", "--resume"],
            vec!["agent", "reserve", "--thread", "bad", "--wait"],
            vec!["agent", "heartbeat", "--session", &session],
            vec!["agent", "release", "--session", &session],
        ] {
            let answer = sandbox.refused(1, &command);
            assert!(answer.stderr.contains("bad.json"), "{damage:?} {command:?}: {}", answer.stderr);
        }
        // What cannot be known is not called abandoned, and the damage is named.
        let list = sandbox.refused(0, &["agent", "list", "--thread", "bad"]);
        assert_eq!(text(&list.json()[0], "status"), "active", "{damage:?}");
        assert!(list.stderr.contains("bad.json"), "{damage:?}: {}", list.stderr);
        let show = sandbox.refused(0, &["agent", "show", &session]);
        assert_eq!(text(&show.json(), "status"), "active", "{damage:?}");
        sandbox.heddle(&["agent", "heartbeat", "--session", &other]).exits(0);
    }
    sandbox.reserve("third", &[]);
}

#[test]
fn the_doctor_mends_a_thread_record_and_its_owner_stays_one() {
    let sandbox = Sandbox::new();
    let first = id_of(&sandbox.reserve("t", &[]));
    sandbox.heddle(&["agent", "release", "--session", &first]).exits(0);
    let owner = id_of(&sandbox.reserve("t", &[]));
    for damage in ["", "{", "{\"version\":1}"] {
        fs::write(sandbox.state("threads/t.json"), damage).expect("write");
        sandbox.heddle(&["doctor", "--fix"]).exits(0);
        let aside = fs::read_to_string(sandbox.state("threads/t.json.damaged")).expect("set aside");
        assert_eq!(aside, damage);
        sandbox.heddle(&["agent", "heartbeat", "--session", &owner]).exits(0);
        sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
    }
    sandbox.heddle(&["agent", "release", "--session", &owner]).exits(0);
    fs::write(sandbox.state("threads/t.json"), "").expect("write");
    sandbox.heddle(&["doctor", "--fix"]).exits(0);
    // Nobody owns it now, and no generation is given out twice.
    assert_eq!(sandbox.reserve("t", &[])["generation"], 3);
}

#[test]
fn a_request_token_gets_the_same_answer_again() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.home().join("request"), format!("{REQUEST}\n")).expect("write");
    let environment = [("HEDDLE_REQUEST_TOKEN", REQUEST)];
    let reserve = ["agent", "reserve", "--thread", "t"];
    let first = sandbox.heddle_with(&environment, &reserve).exits(0);
    let again = sandbox.refused_with(&environment, 0, &reserve);
    assert_eq!(again.stdout, first.stdout);
    let by_file = [&reserve[..], &["--request-token-file", "../request"]].concat();
    assert_eq!(sandbox.refused(0, &by_file).stdout, first.stdout);
    // Another secret, or none, or the secrets of the session itself, get nothing.
    let session = first.json();
    let (id, token) = (id_of(&session), text(&session, "reservation_token"));
    sandbox.refused(3, &reserve);
    sandbox.refused_with(&[("HEDDLE_REQUEST_TOKEN", &REQUEST.replace('0', "f"))], 3, &reserve);
    sandbox.refused_with(&[("HEDDLE_SESSION", &id), ("HEDDLE_TOKEN", &token)], 3, &reserve);
    sandbox.refused_with(&[("HEDDLE_REQUEST_TOKEN", &token)], 3, &reserve);
    for short in ["", " ", "short"] {
        sandbox.refused_with(&[("HEDDLE_REQUEST_TOKEN", short)], 2, &reserve);
    }
    // Another anchor is another request.
    sandbox.commit("second");
    sandbox.refused_with(&environment, 4, &reserve);
    // Once it has ended, the same request is a new one.
    sandbox.heddle(&["agent", "release", "--session", &id]).exits(0);
    let anew = [&reserve[..], &["--anchor", "HEAD~"]].concat();
    let second = sandbox.heddle_with(&environment, &anew).exits(0).json();
    assert_eq!(second["generation"], 2);
    assert_ne!(text(&second, "reservation_token"), token);
}

#[test]
fn a_nested_agent_reserves_for_itself_whatever_it_inherits() {
    let sandbox = Sandbox::new();
    let outer =
        sandbox.heddle_with(&[("HEDDLE_REQUEST_TOKEN", REQUEST)], &["agent", "reserve", "--thread", "t"]);
    let outer = outer.exits(0).json();
    let (id, token) = (id_of(&outer), text(&outer, "reservation_token"));
    let inherited =
        [("HEDDLE_REQUEST_TOKEN", REQUEST), ("HEDDLE_SESSION", id.as_str()), ("HEDDLE_TOKEN", &token)];
    let inner = sandbox.heddle_with(&inherited, &["agent", "reserve", "--thread", "u"]).exits(0).json();
    assert_ne!(id_of(&inner), id);
    assert_ne!(text(&inner, "reservation_token"), token);
    assert_eq!(inner["agent"]["parent"], Value::from(id.as_str()));
    // The outer agent's token is not the inner session's.
    let heartbeat = ["agent", "heartbeat", "--session", &id_of(&inner)];
    sandbox.refused_with(&inherited, 6, &heartbeat);
}

#[test]
fn wait_returns_when_another_process_releases() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("t", &[]));
    let waiter = sandbox
        .command(&["agent", "reserve", "--thread", "t", "--wait=60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git-heddle");
    // It lines up once it was refused.
    let queue = sandbox.state("locks/t.queue");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !queue.exists() {
        assert!(Instant::now() < deadline, "the waiter does not line up");
        std::thread::yield_now();
    }
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    let answer = Answer::of(&waiter.wait_with_output().expect("waiter")).exits(0).json();
    assert_eq!(answer["generation"], 2);
}

#[test]
fn wait_ends_with_the_refusal_when_its_time_is_up() {
    let sandbox = Sandbox::new();
    let session = id_of(&sandbox.reserve("t", &[]));
    let started = Instant::now();
    let refusal = sandbox.refused(3, &["agent", "reserve", "--thread", "t", "--wait=1s"]);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(refusal.json()["owner"]["session_id"], Value::from(session));
    sandbox.refused(3, &["agent", "reserve", "--thread", "t", "--wait=0"]);
}

#[test]
fn names_that_no_ref_can_have_are_bad_arguments() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(251);
    let longer = format!("{}y", "x/".repeat(520));
    let names = [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        ".",
        "..",
        ".a",
        "a/.b",
        "a..b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a.LOCK",
        "@",
        "a@{b",
        "a b",
        "a~b",
        "a^b",
        "a:b",
        "a?b",
        "a*b",
        "a[b",
        "a\\b",
        "a\tb",
        "a\nb",
        "a\u{7f}b",
        "-a",
        "../../heads/main",
        &long,
        &longer,
    ];
    for name in names {
        let before = sandbox.snapshot();
        let answer = sandbox.heddle(&["agent", "reserve", &format!("--thread={name}")]);
        assert_eq!(answer.code, 2, "{name:?}: {answer:?}");
        assert!(answer.stderr.contains("invalid thread name"), "{name:?}: {}", answer.stderr);
        assert_same(&before, &sandbox.snapshot());
    }
    for name in ["a@b", "ünï/cödé", "A", "%41", "a.b", "a-", "HEAD", &"x".repeat(250)] {
        assert_eq!(text(&sandbox.reserve(name, &[]), "thread"), name);
    }
}

#[test]
fn a_thread_above_or_below_another_is_refused_loose_and_packed() {
    for packed in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.reserve("a", &[]);
        sandbox.reserve("b/c/d", &[]);
        sandbox.reserve("z", &[]);
        if packed {
            sandbox.git(&["pack-refs", "--all"]);
        }
        for (name, other) in
            [("a/b", "a"), ("a/b/c", "a"), ("b", "b/c/d"), ("b/c", "b/c/d"), ("b/c/d/e", "b/c/d")]
        {
            let answer = sandbox.refused(1, &["agent", "reserve", "--thread", name]);
            let existing = format!("'refs/heddle/threads/{other}' exists");
            assert!(answer.stderr.contains(&existing), "{packed} {name}: {}", answer.stderr);
        }
        for beside in ["b/cc", "b/d", "aa"] {
            sandbox.reserve(beside, &[]);
        }
        sandbox.git(&["fsck", "--strict"]);
    }
}

#[test]
fn a_folder_without_a_repository_is_not_usable() {
    let sandbox = Sandbox::empty();
    for command in [vec!["agent", "reserve", "--thread", "t"], vec!["agent", "list"], vec!["doctor"]] {
        let answer = sandbox.refused(128, &command);
        assert!(answer.stderr.contains("not a git repository"), "{}", answer.stderr);
    }
    sandbox.refused(128, &["-C", "nowhere", "agent", "list"]);
}

#[test]
fn a_bare_repository_has_reservations_and_no_captures() {
    let sandbox = Sandbox::new();
    let bare = sandbox.home().join("bare.git");
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let run = |args: &[&str]| sandbox.heddle_in(&bare, args);
    let session = run(&["agent", "reserve", "--thread", "t"]).exits(0).json();
    let id = id_of(&session);
    run(&["agent", "heartbeat", "--session", &id]).exits(0);
    assert_eq!(run(&["agent", "list"]).exits(0).json().as_array().map(Vec::len), Some(1));
    let before = snapshot_of(&bare);
    let refusal = run(&["agent", "capture", "--session", &id, "-m", "work"]).exits(1);
    assert!(refusal.stderr.contains("bare repository"), "{}", refusal.stderr);
    run(&["agent", "reserve", "--thread", "t"]).exits(3);
    assert_same(&before, &snapshot_of(&bare));
    run(&["agent", "release", "--session", &id]).exits(0);
}

#[test]
fn a_repository_without_a_commit_has_nothing_to_reserve_from() {
    let sandbox = Sandbox::unborn();
    for more in [&[][..], &["--resume"], &["--anchor", "HEAD"], &["--wait"]] {
        let answer = sandbox.refused(1, &[&["agent", "reserve", "--thread", "t"], more].concat());
        let message = "repository has no HEAD state to reserve from";
        assert!(answer.stderr.contains(message), "{more:?}: {}", answer.stderr);
    }
    assert_eq!(sandbox.refused(0, &["agent", "list"]).json(), Value::Array(Vec::new()));
}

#[test]
fn an_anchor_is_a_commit_or_a_tag_of_one() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    sandbox.git(&["tag", "--annotate", "--message", "v1", "v1"]);
    sandbox.git(&["tag", "--annotate", "--message", "twice", "twice", "v1"]);
    sandbox.git(&["tag", "tree", "HEAD^{tree}"]);
    for (number, anchor) in
        ["v1", "twice", "main", &head, &head[..8], "HEAD", "@", "refs/tags/v1"].iter().enumerate()
    {
        let session = sandbox.reserve(&format!("t{number}"), &["--anchor", anchor]);
        assert_eq!(text(&session, "anchor_state"), head, "{anchor}");
    }
    let blob = sandbox.git(&["rev-parse", "HEAD:first"]);
    for (anchor, message) in [
        ("nope", "anchor state 'nope' not found".to_owned()),
        ("", "anchor state '' not found".to_owned()),
        ("HEAD~9", "anchor state 'HEAD~9' not found".to_owned()),
        ("deadbeef", "anchor state 'deadbeef' not found".to_owned()),
        ("tree", "anchor state 'tree' is a tree, not a commit".to_owned()),
        ("HEAD^{tree}", "anchor state 'HEAD^{tree}' is a tree, not a commit".to_owned()),
        (&blob, format!("anchor state '{blob}' is a blob, not a commit")),
    ] {
        let reserve = ["agent", "reserve", "--thread", "t", &format!("--anchor={anchor}")];
        let answer = sandbox.refused(1, &reserve);
        assert!(answer.stderr.contains(&message), "{anchor}: {}", answer.stderr);
    }
}

#[test]
fn a_short_id_that_fits_two_objects_is_ambiguous() {
    let sandbox = Sandbox::new();
    let stream: String = (0..2000).map(|n| format!("blob\ndata {}\n{n}\n", n.to_string().len())).collect();
    let path = sandbox.home().join("stream");
    fs::write(&path, stream).expect("write");
    let mut import = sandbox.program("git", &sandbox.root(), &["fast-import", "--quiet"]);
    let status = import.stdin(fs::File::open(&path).expect("stream")).status().expect("git");
    assert!(status.success());
    let ids = sandbox.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let mut seen = BTreeSet::new();
    let twice = ids.lines().map(|id| &id[..4]).find(|short| !seen.insert(*short)).expect("2000 ids");
    let answer = sandbox.refused(1, &["agent", "reserve", "--thread", "t", "--anchor", twice]);
    assert!(answer.stderr.contains(&format!("anchor state '{twice}' is ambiguous")), "{}", answer.stderr);
}

#[test]
fn linked_worktrees_share_the_reservations() {
    let sandbox = Sandbox::new();
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = sandbox.home().join("linked");
    let session = sandbox.reserve("t", &[]);
    let refusal = sandbox.heddle_in(&linked, &["agent", "reserve", "--thread", "t"]).exits(3).json();
    assert_eq!(refusal["owner"]["session_id"], session["session_id"]);
    let there = sandbox.heddle_in(&linked, &["agent", "list"]).exits(0);
    assert_eq!(there.stdout, sandbox.heddle(&["agent", "list"]).exits(0).stdout);
    sandbox.heddle_in(&linked, &["agent", "release", "--session", &id_of(&session)]).exits(0);
    assert_eq!(sandbox.reserve("t", &[])["generation"], 2);
    assert!(!sandbox.root().join(".git/worktrees/linked/heddle").exists());
}

#[test]
fn the_repository_is_the_one_that_git_would_use() {
    let sandbox = Sandbox::new();
    let elsewhere = sandbox.home().join("elsewhere");
    fs::create_dir_all(elsewhere.join("below")).expect("folder");
    fs::create_dir_all(sandbox.root().join("src/deep")).expect("folder");
    let id = id_of(&sandbox.reserve("t", &[]));
    let git_dir = sandbox.root().join(".git").display().to_string();
    let top = sandbox.root().display().to_string();
    let sees = |command: &mut Command| {
        let answer = Answer::of(&command.output().expect("git-heddle")).exits(0);
        assert_eq!(text(&answer.json()[0], "session_id"), id);
    };
    let list = |folder: &std::path::Path, more: &[&str]| {
        let args = [more, &["agent", "list"]].concat();
        sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), folder, &args)
    };
    sees(list(&elsewhere, &[]).env("GIT_DIR", &git_dir));
    sees(list(&elsewhere, &[]).env("GIT_DIR", "../repo/.git").env("GIT_WORK_TREE", &top));
    sees(&mut list(&elsewhere, &["-C", "../repo"]));
    sees(&mut list(&elsewhere, &["-C", "..", "-C", "", "-C", "repo"]));
    sees(&mut list(&elsewhere, &["-C", "below", "-C", "../../repo/src/deep"]));
    sees(&mut list(&elsewhere, &["--repo", "../repo"]));
    sees(&mut list(&elsewhere, &["-C", "below", "--repo", "../../repo"]));
    sees(&mut list(&sandbox.root().join("src/deep"), &[]));
    sees(&mut list(&sandbox.root().join(".git"), &[]));
    // -C counts from where the caller is, and GIT_DIR from there.
    sees(list(sandbox.home(), &["-C", "elsewhere"]).env("GIT_DIR", "../repo/.git"));
    let ceiling = list(&sandbox.root().join("src/deep"), &[]).env("GIT_CEILING_DIRECTORIES", &top).output();
    // A ceiling hides the repository from the folders below it, as far as Git says so.
    let git = sandbox
        .program("git", &sandbox.root().join("src/deep"), &["rev-parse"])
        .env("GIT_CEILING_DIRECTORIES", &top)
        .output();
    let ceiling = ceiling.expect("git-heddle").status.success();
    assert_eq!(ceiling, git.expect("git").status.success());
    // A wrong GIT_DIR is not searched around.
    let wrong = list(&sandbox.root(), &[]).env("GIT_DIR", "nowhere").output().expect("git-heddle");
    Answer::of(&wrong).exits(128);
}

#[test]
fn usage_only_grows() {
    let sandbox = Sandbox::new();
    let id = id_of(&sandbox.reserve("t", &[]));
    let heartbeat =
        |more: &[&str]| [&["agent", "heartbeat", "--session", id.as_str()], more].concat().join(" ");
    let run = |line: &str| sandbox.heddle(&line.split(' ').collect::<Vec<_>>());
    let counters = ["input-tokens", "output-tokens", "reasoning-tokens", "tool-calls", "cost-micros-usd"];
    for counter in counters {
        let flag = format!("--{counter}");
        let key = counter.replace('-', "_");
        let answer = run(&heartbeat(&[&flag, "10"])).exits(0).json();
        assert_eq!(answer["usage"][&key], 10);
        let back = heartbeat(&[&flag, "9"]);
        let refusal = sandbox.refused(2, &back.split(' ').collect::<Vec<_>>());
        assert!(refusal.stderr.contains(&key), "{}", refusal.stderr);
        run(&heartbeat(&[&flag, "10"])).exits(0);
        let kept = run(&heartbeat(&["--progress", "busy"])).exits(0).json();
        assert_eq!(kept["usage"][&key], 10);
        for bad in ["-1", "x", "1.5"] {
            let line = heartbeat(&[&format!("{flag}={bad}")]);
            sandbox.refused(2, &line.split(' ').collect::<Vec<_>>());
        }
    }
    // One that falls takes the others of the same report down with it.
    let line = heartbeat(&["--input-tokens", "20", "--tool-calls", "1"]);
    sandbox.refused(2, &line.split(' ').collect::<Vec<_>>());
}

#[test]
fn durations_that_mean_nothing_are_bad_arguments() {
    let sandbox = Sandbox::new();
    for option in [
        "--ttl=0",
        "--ttl=0s",
        "--ttl=",
        "--ttl=soon",
        "--ttl=-1",
        "--ttl=1.5",
        "--ttl=5 parsecs",
        "--ttl=99999999999999999999",
        "--wait=soon",
        "--wait=-1",
        "--wait=",
        "--hold-for-pid=0",
        "--hold-for-pid=-1",
        "--hold-for-pid=x",
    ] {
        let answer = sandbox.heddle(&["agent", "reserve", "--thread", "t", option]);
        assert_eq!(answer.code, 2, "{option}: {answer:?}");
    }
    assert!(sandbox.snapshot().keys().all(|path| !path.starts_with(sandbox.state(""))));
    // A lease that never ends is no reason to fail.
    let session = sandbox.reserve("t", &["--ttl=18446744073709551615"]);
    assert_eq!(text(&session, "liveness"), "alive");
    sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
}

#[test]
fn a_bad_setting_is_named_with_its_value_and_origin() {
    for (key, value) in [
        ("heddle.ttl", "soon"),
        ("heddle.ttl", "0"),
        ("heddle.unknownTtl", "-1"),
        ("heddle.lockTimeout", "a while"),
        ("heddle.retention", "x"),
        ("heddle.requireToken", "maybe"),
        ("heddle.fsync", "perhaps"),
        ("heddle.maxNewFileSize", "huge"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", key, value]);
        let answer = sandbox.refused(1, &["agent", "reserve", "--thread", "t"]);
        for part in [key, value, "config"] {
            assert!(answer.stderr.contains(part), "{key}={value}: {}", answer.stderr);
        }
    }
}

#[test]
fn the_lease_is_what_git_config_says() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.ttl", "1h"]);
    let lasts = |session: &Value| {
        let time = |key: &str| chrono::DateTime::parse_from_rfc3339(&text(session, key)).expect("time");
        (time("expires_at") - time("heartbeat_at")).num_seconds()
    };
    assert_eq!(lasts(&sandbox.reserve("a", &[])), 3600);
    assert_eq!(lasts(&sandbox.reserve("b", &["--ttl", "90"])), 90);
    let environment =
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "heddle.ttl"), ("GIT_CONFIG_VALUE_0", "2h")];
    let session = sandbox.heddle_with(&environment, &["agent", "reserve", "--thread", "c"]).exits(0);
    assert_eq!(lasts(&session.json()), 7200);
}

#[test]
fn a_mirror_clone_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.git(&["clone", "--quiet", "--mirror", ".", "../mirror.git"]);
    let mirror = sandbox.home().join("mirror.git");
    let before = snapshot_of(&mirror);
    let answer = sandbox.heddle_in(&mirror, &["agent", "reserve", "--thread", "t"]).exits(1);
    assert!(answer.stderr.contains("mirror clone"), "{}", answer.stderr);
    assert_same(&before, &snapshot_of(&mirror));

    for refspec in ["+refs/heddle/*:refs/heddle/*", "refs/heddle/threads/t:refs/heddle/threads/t"] {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "remote.origin.url", "nowhere"]);
        sandbox.git(&["config", "remote.origin.fetch", refspec]);
        sandbox.refused(1, &["agent", "reserve", "--thread", "t"]);
    }
    let sandbox = Sandbox::new();
    sandbox.git(&["remote", "add", "origin", "nowhere"]);
    sandbox.reserve("t", &[]);
}

#[test]
fn an_extension_that_nobody_knows_is_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "core.repositoryFormatVersion", "1"]);
    sandbox.git(&["config", "extensions.fromTheFuture", "true"]);
    for command in [vec!["agent", "reserve", "--thread", "t"], vec!["agent", "list"]] {
        let answer = sandbox.refused(128, &command);
        assert!(answer.stderr.to_lowercase().contains("fromthefuture"), "{}", answer.stderr);
    }
}

#[test]
fn extensions_that_concern_others_are_no_hindrance() {
    for (extension, value) in
        [("worktreeConfig", "true"), ("preciousObjects", "true"), ("partialClone", "origin")]
    {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "core.repositoryFormatVersion", "1"]);
        sandbox.git(&["config", &format!("extensions.{extension}"), value]);
        let session = text(&sandbox.reserve("t", &[]), "session_id");
        fs::write(sandbox.root().join("work"), "work\n").expect("write");
        sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "work"]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    }
}

#[test]
fn looking_changes_nothing() {
    let sandbox = Sandbox::new();
    for command in looking("agent-nobody") {
        let before = sandbox.snapshot();
        sandbox.heddle(&command);
        assert_same(&before, &sandbox.snapshot());
    }
    assert!(!sandbox.state("").exists());
    let lapsed = id_of(&sandbox.reserve("t", &["--ttl", "1"]));
    sandbox.lapse(&lapsed);
    let ended = id_of(&sandbox.reserve("ended", &[]));
    sandbox.heddle(&["agent", "release", "--session", &ended]).exits(0);
    let captured = id_of(&sandbox.reserve("captured", &[]));
    fs::write(sandbox.root().join("new"), "work\n").expect("write");
    sandbox.heddle(&["agent", "capture", "--session", &captured, "-m", "work"]).exits(0);
    for session in [&lapsed, &ended, &captured] {
        for command in looking(session) {
            sandbox.refused(0, &command);
        }
    }
}

#[test]
fn a_list_is_filtered_and_newest_first() {
    let sandbox = Sandbox::new();
    let first = id_of(&sandbox.reserve("t", &[]));
    sandbox.heddle(&["agent", "release", "--session", &first]).exits(0);
    let second = id_of(&sandbox.reserve("t", &[]));
    let third = id_of(&sandbox.reserve("u", &["--ttl", "1"]));
    sandbox.lapse(&third);
    let list = |more: &[&str]| -> Vec<String> {
        let rows = sandbox.heddle(&[&["agent", "list"], more].concat()).exits(0).json();
        rows.as_array().expect("array").iter().map(id_of).collect()
    };
    let sorted = |mut ids: Vec<&String>| -> Vec<String> {
        ids.sort();
        ids.into_iter().rev().cloned().collect()
    };
    assert_eq!(list(&[]), sorted(vec![&first, &second, &third]));
    assert_eq!(list(&["--thread", "t"]), sorted(vec![&first, &second]));
    assert_eq!(list(&["--alive-only"]), sorted(vec![&second]));
    assert_eq!(list(&["--status", "complete"]), [first]);
    assert_eq!(list(&["--status", "active"]), sorted(vec![&second, &third]));
    assert!(list(&["--thread", "nothing"]).is_empty());
}

#[test]
fn a_reader_who_has_read_enough_is_told_nothing() {
    let sandbox = Sandbox::new();
    sandbox.heddle(&["agent", "reserve", "--thread", "t"]).exits(0);
    let unread = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let mut command = sandbox.command(args);
        Answer::of(&command.stdout(writer).stderr(Stdio::piped()).output().expect("git-heddle")).exits(1)
    };
    for args in [&["thread", "list"][..], &["log"], &["thread", "show", "t"], &["--help"]] {
        assert_eq!(unread(args).stderr, "", "{args:?}");
    }
    // A program that asked for a document is told that it has none.
    assert!(unread(&["thread", "list", "--json"]).stderr.contains("standard output"));
}

#[test]
fn a_reservation_whose_answer_nobody_got_is_taken_back() {
    let sandbox = Sandbox::new();
    let reserve = ["agent", "reserve", "--thread", "t"];
    let unheard = |environment: &[(&str, &str)], stdout: Stdio| {
        let mut command = sandbox.command(&reserve);
        command.envs(environment.iter().copied()).stdout(stdout).stderr(Stdio::piped());
        Answer::of(&command.output().expect("git-heddle"))
    };
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    let active = || sandbox.heddle(&["agent", "list", "--status=active"]).exits(0).json();
    assert_ne!(unheard(&[], closed()).code, 0);
    assert_eq!(active(), Value::Array(Vec::new()));
    assert_ne!(unheard(&[], full()).code, 0);
    assert_eq!(active(), Value::Array(Vec::new()));

    // Who can ask again gets it.
    let environment = [("HEDDLE_REQUEST_TOKEN", REQUEST)];
    assert_ne!(unheard(&environment, closed()).code, 0);
    let kept = active();
    let again = sandbox.refused_with(&environment, 0, &reserve).json();
    assert_eq!(kept[0]["session_id"], again["session_id"]);
    assert_eq!(again["generation"], 3);
}
