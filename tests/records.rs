//! Records on disk: what no session and no thread can be is damage, never taken for one.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::path::Path;

use git_heddle::session::Session;
use git_heddle::thread::ThreadRecord;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use support::{Sandbox, text};

/// A reserved thread `t`: its session's id, the paths of both records, and what is in them.
fn reserved() -> (Sandbox, String, [(std::path::PathBuf, Value); 2]) {
    let sandbox = Sandbox::new();
    let id = text(&sandbox.reserve("t", &[]), "session_id");
    let read = |path: std::path::PathBuf| {
        let record = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
        (path, record)
    };
    let records = [sandbox.state(format!("agents/{id}.json")), sandbox.state("threads/t.json")].map(read);
    (sandbox, id, records)
}

/// `record` with some fields changed.
fn with(record: &Value, changes: Value) -> String {
    let mut record = record.clone();
    let (Some(fields), Value::Object(changes)) = (record.as_object_mut(), changes) else { unreachable!() };
    fields.extend(changes);
    record.to_string()
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
}

#[test]
fn a_session_record_that_no_session_can_have_is_damage() {
    let (sandbox, id, [(path, record), _]) = reserved();
    for (changes, reason) in [
        (json!({"version": 0}), "version 0"),
        (json!({"session_id": "agent-another"}), "the record of session 'agent-another'"),
        (json!({"completed_at": "2026-01-02T03:04:05Z"}), "'active', and it has an end"),
        (json!({"status": "complete"}), "'complete', and it has no end"),
        (json!({"status": "resting"}), "unknown variant `resting`"),
        (json!({"ttl_seconds": 0}), "nonzero"),
        (json!({"token_hash": "secret"}), "64 hexadecimal digits"),
        (json!({"generation": 0}), "generations go from 1"),
        (json!({"thread": "../up"}), "invalid thread name"),
        (json!({"anchor_state": "HEAD"}), "invalid object id"),
    ] {
        put(&path, &with(&record, changes.clone()));
        let refused = sandbox.refused(1, &["agent", "heartbeat", "--session", &id]);
        let message = text(&refused.json()["error"], "message");
        assert!(message.contains("is damaged") && message.contains(reason), "{changes}: {message}");
        // Nobody can tell whether its owner lives.
        sandbox.refused(3, &["agent", "reserve", "--thread", "t"]);
    }
    put(&path, &record.to_string());
    sandbox.heddle(&["agent", "heartbeat", "--session", &id]).exits(0);
}

#[test]
fn an_active_session_among_the_ended_ones_is_damage() {
    let (sandbox, id, [(_, record), _]) = reserved();
    fs::create_dir_all(sandbox.state("agents/ended")).expect("folder");
    put(&sandbox.state(format!("agents/ended/{id}.json")), &record.to_string());
    let refused = sandbox.refused(1, &["agent", "show", &id]);
    assert!(refused.stderr.contains("among the ended ones"), "{}", refused.stderr);
}

#[test]
fn a_thread_record_that_no_thread_can_have_is_damage() {
    let (sandbox, _, [_, (path, record)]) = reserved();
    for (changes, reason) in [
        (json!({"version": 0}), "version 0"),
        (json!({"thread": "u"}), "the record of thread 'u'"),
        (json!({"renamed_to": "u"}), "it has an owner"),
        (json!({"renamed_to": "t", "owner": null}), "the name that it has"),
        (json!({"owner": "Agent 7"}), "invalid session ID"),
    ] {
        put(&path, &with(&record, changes.clone()));
        let refused = sandbox.refused(1, &["agent", "reserve", "--thread", "t"]);
        let message = text(&refused.json()["error"], "message");
        assert!(message.contains("is damaged") && message.contains(reason), "{changes}: {message}");
    }
}

#[test]
fn a_conflict_says_what_is_known_of_an_owner_whose_record_cannot_be_read() {
    let (sandbox, id, [(path, record), _]) = reserved();
    for damage in [String::new(), with(&record, json!({"version": 2})), "{\"version\":1}".to_owned()] {
        put(&path, &damage);
        let refused = sandbox.refused(3, &["agent", "reserve", "--thread", "t"]).json();
        let owner = &refused["owner"];
        assert_eq!(owner["session_id"], Value::from(id.as_str()), "{damage:?}");
        assert_eq!((&owner["thread"], &owner["generation"]), (&json!("t"), &json!(1)));
        assert_eq!((&owner["liveness"], &owner["reason"]), (&json!("unknown"), &json!("unreadable")));
        // The eight keys that are always there.
        for key in ["reservation_token", "anchor_state", "anchor_root", "path", "task"] {
            assert_eq!(owner.get(key), Some(&Value::Null), "{key}: {owner}");
        }
        assert_eq!(owner["status"], "active");
    }
    // Elsewhere than asked for, it is in the way too.
    sandbox.commit("second");
    let refused = sandbox.refused(4, &["agent", "reserve", "--thread", "t"]).json();
    assert_eq!(refused["owner"]["session_id"], Value::from(id));
}

/// Any JSON that a newer heddle of the same version might have added.
fn unknown_fields() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        proptest::collection::vec(any::<i64>(), 0..3).prop_map(Value::from),
    ];
    proptest::collection::btree_map("x_[a-z]{1,8}", value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn maybe_text() -> impl Strategy<Value = Value> {
    proptest::option::of(".*").prop_map(|text| text.map_or(Value::Null, Value::from))
}

prop_compose! {
    fn session_record()(
        status in prop_oneof!["active", "abandoned", "complete", "merged"],
        has_end in any::<bool>(),
        generation in 0..3u64,
        ttl in prop_oneof![Just(0u64), any::<u64>()],
        task in maybe_text(),
        progress in maybe_text(),
        (pid, start) in any::<(u32, u64)>(),
        tokens in proptest::option::of(any::<u64>()),
        hash in prop_oneof!["[0-9a-f]{64}", "[0-9A-Fg]{62,66}"],
        more in unknown_fields(),
    ) -> Value {
        let at = "2026-01-02T03:04:05Z";
        let place = json!({"host": "h", "boot_id": null, "pid_namespace": null});
        let id = "0".repeat(40);
        let mut record = json!({
            "version": 1, "session_id": "agent-1", "thread": "t", "anchor_state": id, "anchor_root": id,
            "generation": generation, "status": status, "task": task, "path": null,
            "holder": {"kind": "process", "pid": pid, "start_time": start, "place": place}, "ttl_seconds": ttl,
            "heartbeat": {"at": at, "monotonic_ms": start, "place": place}, "started_at": at,
            "completed_at": has_end.then_some(at), "token_hash": hash, "require_token": false,
            "head_branch": null, "agent": {"provider": null, "model": null, "harness": task.clone(),
            "thinking_level": null, "parent": null, "client_instance": null, "source": {}},
            "usage": {"input_tokens": tokens, "output_tokens": null, "reasoning_tokens": null,
            "tool_calls": null, "cost_micros_usd": null}, "progress": progress, "used": has_end,
        });
        record.as_object_mut().expect("an object").extend(more);
        record
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_record_is_written_back_as_it_was_read_or_is_damage(record in session_record()) {
        let active = record["status"] == "active";
        let legal = active == record["completed_at"].is_null()
            && record["generation"] != 0
            && record["ttl_seconds"] != 0
            && record["token_hash"].as_str().is_some_and(|hash| {
                hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            });
        let session: Result<Session, _> = serde_json::from_value(record.clone());
        prop_assert_eq!(session.is_ok(), legal, "{:?}", session);
        if let Ok(session) = session {
            prop_assert_eq!(session.is_active(), active);
            prop_assert_eq!(serde_json::to_value(&session).expect("JSON"), record);
        }
    }

    #[test]
    fn a_thread_record_is_written_back_as_it_was_read_or_is_damage(
        generation in 0..3u64,
        owner in proptest::option::of("agent-[0-9a-z]{1,8}"),
        target in maybe_text(),
        renamed_to in proptest::option::of("[tu]"),
        more in unknown_fields(),
    ) {
        let mut record = json!({"version": 1, "thread": "t", "generation": generation, "owner": owner,
            "target": target});
        let fields = record.as_object_mut().expect("an object");
        fields.extend(renamed_to.iter().map(|to| ("renamed_to".to_owned(), Value::from(to.as_str()))));
        fields.extend(more);
        let elsewhere = renamed_to.as_deref();
        let legal = generation != 0 && (elsewhere.is_none() || (owner.is_none() && elsewhere != Some("t")));
        let thread: Result<ThreadRecord, _> = serde_json::from_value(record.clone());
        prop_assert_eq!(thread.is_ok(), legal, "{:?}", thread);
        if let Ok(thread) = thread {
            prop_assert_eq!(serde_json::to_value(&thread).expect("JSON"), record);
        }
    }
}

#[test]
fn the_doctor_finds_damaged_bindings_and_ended_records_and_sets_them_aside() {
    let (sandbox, id, _) = reserved();
    put(&sandbox.root().join("new"), "x\n");
    let capture = ["agent", "capture", "--session", &id, "-m", "x"];
    sandbox.heddle(&capture).exits(0);
    let other = text(&sandbox.reserve("u", &["--anchor", "HEAD"]), "session_id");
    sandbox.heddle(&["agent", "release", "--session", &other]).exits(0);
    let binding = sandbox.root().join(".git/heddle-worktree.json");
    let ended = sandbox.state(format!("agents/ended/{other}.json"));
    for path in [&binding, &ended] {
        put(path, "{");
    }
    put(&sandbox.root().join("new"), "y\n");
    sandbox.refused(1, &capture);
    let found = |args: &[&str], code: i32| -> Vec<String> {
        let findings = sandbox.heddle(args).exits(code).json()["findings"].clone();
        let findings = findings.as_array().expect("a list");
        findings.iter().map(|finding| text(finding, "path")).collect()
    };
    let both = [&ended, &binding].map(|path| path.canonicalize().expect("path").display().to_string());
    assert_eq!(found(&["doctor", "--json"], 1), both);
    assert_eq!(found(&["doctor", "--fix", "--json"], 0), both);
    assert!(found(&["doctor", "--json"], 0).is_empty());
    // The worktree is bound anew, once it stands at the thread's tip.
    sandbox.refused(4, &capture);
    sandbox.git(&["reset", "--quiet", "--soft", "refs/heddle/threads/t"]);
    sandbox.heddle(&capture).exits(0);
}

#[test]
fn the_doctor_removes_records_that_were_never_finished() {
    let (sandbox, id, _) = reserved();
    let record = fs::read_to_string(sandbox.state(format!("agents/{id}.json"))).expect("record");
    let stranger = format!("agents/agent-{}.json.new", "0".repeat(26));
    let half = [
        // By its record, by what is in it, and by nothing is it known whose it is.
        (format!("agents/{id}.json.new"), "{"),
        (format!("agents/ended/{id}.json.new"), &*record),
        ("threads/t.json.new".to_owned(), ""),
        (stranger, "{"),
    ];
    let hour = std::time::Duration::from_secs(3600);
    let long_ago = std::time::SystemTime::now() - hour;
    fs::create_dir_all(sandbox.state("agents/ended")).expect("folder");
    for (path, text) in &half {
        put(&sandbox.state(path), text);
        let file = fs::File::options().write(true).open(sandbox.state(path)).expect("file");
        file.set_modified(long_ago).expect("time");
    }
    let findings = |args: &[&str], code: i32| -> usize {
        let findings = sandbox.heddle(args).exits(code).json()["findings"].clone();
        let findings = findings.as_array().expect("a list");
        findings.iter().filter(|finding| finding["kind"] == "leftover_file").count()
    };
    assert_eq!(findings(&["doctor", "--json"], 1), half.len());
    assert_eq!(findings(&["doctor", "--fix", "--json"], 0), half.len());
    for (path, _) in &half {
        assert!(!sandbox.state(path).exists(), "{path}");
    }
    assert_eq!(findings(&["doctor", "--json"], 0), 0);
    sandbox.heddle(&["agent", "heartbeat", "--session", &id]).exits(0);
    // What may be written just now is left alone, unless its thread's lock says otherwise.
    put(&sandbox.state(&half[0].0), "{");
    put(&sandbox.state(&half[3].0), "{");
    assert_eq!(findings(&["doctor", "--json"], 0), 0);
    assert_eq!(findings(&["doctor", "--fix", "--json"], 0), 1);
    assert!(sandbox.state(&half[3].0).exists());
}
