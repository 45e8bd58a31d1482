//! Every document that the binary prints is what its checked-in schema says.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use git_heddle::output::documents::DOCUMENTS;
use serde_json::Value;

fn check(schema: &str, document: &Value) {
    let path = format!("{}/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("schema");
    let schema: Value = serde_json::from_str(&text).expect("json");
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let faults: Vec<String> = validator.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{path}: {faults:?}\n{document:#}");
}

#[test]
fn every_document_is_as_its_schema_says() {
    let sandbox = support::Sandbox::new();
    let run = |args: &[&str]| sandbox.heddle(args).json();
    let reserved = run(&["agent", "reserve", "--thread", "a/b", "--task", "x", "--harness", "h"]);
    check("session", &reserved);
    let id = reserved["session_id"].as_str().expect("session_id").to_owned();
    check("conflict", &run(&["agent", "reserve", "--thread", "a/b"]));
    check("error", &run(&["agent", "reserve", "--thread", "a"]));
    check("error", &run(&["agent", "reserve"]));
    check("error", &run(&["agent", "heartbeat", "--session", "agent-unknown"]));
    check("session", &run(&["agent", "heartbeat", "--session", &id, "--tool-calls", "3"]));
    std::fs::write(sandbox.root().join("new"), "x\n").expect("write");
    check("capture", &run(&["agent", "capture", "--session", &id, "-m", "x", "--confidence", "0.3"]));
    check("capture", &run(&["agent", "capture", "--session", &id, "-m", "x"]));
    check("ready", &run(&["agent", "ready", "--session", &id]));
    check("session-list", &run(&["agent", "list"]));
    check("session", &run(&["agent", "show", &id]));
    check("thread-list", &run(&["thread", "list", "--json"]));
    check("thread", &run(&["thread", "show", "a/b", "--json"]));
    check("doctor", &run(&["doctor", "--json"]));
    check("session", &run(&["agent", "release", "--session", &id]));
    check("ready", &{
        let other = run(&["agent", "reserve", "--thread", "empty"]);
        run(&[
            "agent",
            "ready",
            "--session",
            other["session_id"].as_str().expect("session_id"),
            "--no-capture",
        ])
    });
    let refused = sandbox.heddle(&["agent", "run", "--thread", "empty", "--", "true"]);
    check("conflict", &refused.json());
    check(
        "not-started",
        &serde_json::from_str(refused.stderr.lines().next().expect("a line")).expect("JSON"),
    );
    let refused = sandbox.heddle(&["agent", "run", "--thread", "empty/x", "--", "true"]);
    check(
        "not-started",
        &serde_json::from_str(refused.stderr.lines().next().expect("a line")).expect("JSON"),
    );
    check("refreshed", &run(&["thread", "refresh", "a/b", "--json"]));
    check("renamed", &run(&["thread", "rename", "empty", "renamed", "--force", "--json"]));
    check("promoted", &run(&["thread", "promote", "a/b", "--branch=made", "--json"]));
    std::fs::remove_file(sandbox.root().join("new")).expect("file");
    check("land", &run(&["thread", "land", "a/b", "--json"]));
    check("land", &run(&["thread", "land", "--all-ready", "--json"]));
    check("verification", &run(&["verify", "--json"]));
    check("error", &run(&["verify", "none", "--json"]));
    let remote = sandbox.home().join("remote");
    sandbox.git(&["init", "--quiet", "--bare", "../remote"]);
    sandbox.git(&["remote", "add", "origin", remote.to_str().expect("UTF-8")]);
    check("published", &run(&["publish", "--json"]));
    check("fetched", &run(&["fetch", "--json"]));
    check("dropped", &run(&["thread", "drop", "a/b", "--json"]));
    check("gc", &run(&["gc", "--json"]));
    check("hooks-status", &run(&["hooks", "status", "--json"]));
    check("hooks", &run(&["hooks", "install", "--json"]));
    check("hooks-status", &run(&["hooks", "status", "--json"]));
    check("hooks", &run(&["hooks", "uninstall", "--json"]));
    let pages = sandbox.home().join("pages");
    check("man-page-list", &run(&["install-man-pages", pages.to_str().expect("UTF-8"), "--json"]));
    let events = run(&["log", "--json"]);
    check("event-list", &events);
    let events = events.as_array().expect("array");
    assert!(events.len() > 3, "{events:?}");
    events.iter().for_each(|event| check("event", event));
}

#[test]
fn every_document_has_its_schema_printed_by_its_name() {
    let sandbox = support::Sandbox::new();
    let names = sandbox.heddle(&["schema", "--json"]).json();
    check("schema-list", &names);
    assert_eq!(names, DOCUMENTS.iter().map(|document| document.name).collect::<Value>());
    for document in DOCUMENTS {
        let printed = sandbox.heddle(&["schema", document.name]).json();
        let schema = serde_json::to_value((document.schema)()).expect("a schema");
        assert_eq!(printed, schema, "{}", document.name);
    }
}
