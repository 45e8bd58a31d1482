//! Damaged state: whatever is in the place of a record, a journal, a log or a lock, no command
//! panics or hangs, what only reads writes nothing, and what writes leaves alone what is not
//! the thread's.
//!
//! `HEDDLE_DAMAGE_CASES` sets how many damages are tried, `HEDDLE_DAMAGE_SEED` which come first,
//! and `HEDDLE_DAMAGE=all` tries everything that is no file in every place.

mod support_processes;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};
use support_processes::{
    BINARY, Body, Ended, Files, Picked, Sandbox, files, from_environment, read, restore,
};

/// What a bit of rot or a careless hand may put in the place of a value.
const VALUES: [&str; 25] = [
    "null",
    "true",
    "-1",
    "0",
    "7",
    "2",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "\"\"",
    "\"active\"",
    "\"complete\"",
    "\"o\"",
    "\"t/below\"",
    "\"../../../outside/canary\"",
    "\"/etc/hostname\"",
    "\"refs/heads/main\"",
    "\"refs/heddle/threads/o\"",
    "\"agent-nobody\"",
    "\"1111111111111111111111111111111111111111\"",
    "\"+262142-12-31T23:59:59Z\"",
    "\"-262143-01-01T00:00:00Z\"",
    "\"a\\u0000b\\u001b[31m\\n\\u202e%s\"",
    "[[[[[[[[[[]]]]]]]]]]",
    "{\"version\":2}",
];

/// One damage to a file.
#[derive(Debug, Clone)]
enum Damage {
    /// Only so many thousandths of it are left.
    Cut(usize),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Whole(Vec<u8>),
    /// The n-th value of its JSON is another of [`VALUES`].
    Value(usize, usize),
    /// The n-th member of its JSON is gone.
    Forget(usize),
    /// It has the content of another of the files.
    Other(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = || 0..1000usize;
    prop_oneof![
        1 => place().prop_map(Damage::Cut),
        2 => (place(), 1..=255u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, new)| Damage::Insert(at, new)),
        1 => (place(), 1..40usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Damage::Whole),
        8 => (place(), 0..VALUES.len()).prop_map(|(which, value)| Damage::Value(which, value)),
        2 => place().prop_map(Damage::Forget),
        1 => place().prop_map(Damage::Other),
    ]
}

/// Calls `visit` with every value in `json`, until it says that it is done.
fn walk(json: &mut Value, visit: &mut dyn FnMut(&mut Value) -> bool) -> bool {
    if visit(json) {
        return true;
    }
    match json {
        Value::Object(members) => members.values_mut().any(|value| walk(value, visit)),
        Value::Array(values) => values.iter_mut().any(|value| walk(value, visit)),
        _ => false,
    }
}

/// Changes the `which`-th value of the JSON in `bytes`, of those that `change` takes.
fn edited(bytes: &[u8], which: usize, mut change: impl FnMut(&mut Value, bool) -> bool) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(bytes) else { return bytes.to_vec() };
    let mut count = 0;
    walk(&mut json, &mut |value| {
        count += usize::from(change(value, false));
        false
    });
    let Some(wanted) = which.checked_rem(count) else { return bytes.to_vec() };
    let mut at = 0;
    walk(&mut json, &mut |value| {
        let fits = change(value, false);
        if fits && at == wanted {
            change(value, true);
            return true;
        }
        at += usize::from(fits);
        false
    });
    format!("{json}\n").into_bytes()
}

impl Damage {
    fn of(&self, bytes: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let place = |thousandths: usize| bytes.len() * thousandths / 1000;
        let mut new = bytes.to_vec();
        match self {
            Self::Cut(left) => new.truncate(place(*left)),
            Self::Flip(at, bits) => {
                if let Some(byte) = new.get_mut(place(*at)) {
                    *byte ^= bits;
                }
            }
            Self::Insert(at, more) => drop(new.splice(place(*at)..place(*at), more.iter().copied())),
            Self::Remove(at, length) => {
                drop(new.drain(place(*at)..bytes.len().min(place(*at) + length)));
            }
            Self::Whole(content) => new.clone_from(content),
            Self::Value(which, value) => {
                let value: Value = serde_json::from_str(VALUES[*value]).unwrap_or_else(|_| json!(1e300));
                new = edited(bytes, *which, |at, write| {
                    if write {
                        *at = value.clone();
                    }
                    true
                });
            }
            Self::Forget(which) => {
                new = edited(bytes, *which, |at, write| {
                    let Some(members) = at.as_object_mut().filter(|members| !members.is_empty()) else {
                        return false;
                    };
                    if write {
                        let key = members.keys().nth(which % members.len()).cloned();
                        members.remove(&key.unwrap_or_default());
                    }
                    true
                });
            }
            Self::Other(which) => new.clone_from(&others[which % others.len()]),
        }
        new
    }
}

/// A repository with a live thread `t`, another one `o`, and one `d` whose session has ended.
struct World {
    sandbox: Sandbox,
    session: String,
    tree: String,
    files: Files,
    /// What is damaged, below the sandbox.
    targets: Vec<PathBuf>,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "heddle.fsync", "false"]);
        sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
        fs::create_dir(sandbox.path("outside")).expect("folder");
        for thread in ["d", "o"] {
            let id = sandbox.heddle(&["agent", "reserve", "--thread", thread]).ok().text("session_id");
            if thread == "d" {
                sandbox.heddle(&["agent", "release", "--session", &id]).ok();
            }
        }
        let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
        let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
        fs::write(format!("{tree}/work"), "work\n").expect("file");
        sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]).ok();
        sandbox.heddle(&["agent", "heartbeat", "--session", &session]).ok();
        let session_files = sandbox.git_dir().join("heddle/agents");
        let ended = files(&session_files.join("ended"), &|name| name.ends_with(".json")).remove(0);
        let state = |name: &str| sandbox.git_dir().join("heddle").join(name);
        let targets = vec![
            state(&format!("agents/{session}.json")),
            state("threads/t.json"),
            state("locks/t.journal"),
            sandbox.git_dir().join("worktrees/t/heddle-worktree.json"),
            state(&format!("agents/{session}.live")),
            state("events.jsonl"),
            state("locks/t.lock"),
            ended,
            state("threads/d.json"),
            sandbox.git_dir().join("worktrees/t/heddle-refresh"),
            state("agents/ended/.pruned"),
            state("locks/t.queue"),
            state("locks/%worktrees.lock"),
        ];
        fs::write(sandbox.path("outside/canary"), "sings\n").expect("canary");
        let files = read(&sandbox.path(""));
        let top = sandbox.path("");
        let targets = targets.iter().map(|path| path.strip_prefix(&top).expect("below").to_owned()).collect();
        Self { sandbox, session, tree, files, targets }
    }

    /// A journal of each kind, as a process may have left it.
    fn journal(&self, kind: usize) -> Vec<u8> {
        let (tip, main) = (self.sandbox.commit("refs/heddle/threads/t"), self.sandbox.commit("main"));
        let lock = json!({"dev": 1, "ino": 1});
        let moved = |name: &str, old: Option<&str>, new: &str| json!({"name": name, "old": old, "new": new, "lock": lock});
        let tips = "refs/heddle/threads/t";
        let git_dir = self.sandbox.git_dir().join("worktrees/t");
        let (session, at) = (&self.session, "2026-01-02T03:04:05Z");
        let action = match kind {
            0 => {
                json!({"kind": "reserve", "session": session, "generation": 1, "tip": moved(tips, None, &tip)})
            }
            1 => json!({"kind": "reserve", "session": "agent-other", "generation": 2, "previous": session,
                        "tip": moved(tips, Some(&tip), &tip)}),
            2 => json!({"kind": "capture", "session": session, "tip": moved(tips, Some(&main), &tip),
                        "worktree_git_dir": git_dir, "head": tip}),
            3 => json!({"kind": "ready", "session": session, "tip_lock": lock,
                        "mark": moved("refs/heddle/ready/t", None, &tip)}),
            4 => json!({"kind": "withdraw", "session": "agent-other", "tip": moved(tips, Some(&main), &tip)}),
            5 => json!({"kind": "refresh", "session": session, "tip": moved(tips, Some(&main), &tip)}),
            6 => json!({"kind": "release", "session": session, "status": "complete", "at": at, "lock": lock}),
            7 => {
                json!({"kind": "rename", "from": "d", "session": null, "generation": 2, "former_generation": 1,
                        "tip": moved(tips, None, &tip), "mark": null, "from_lock": lock})
            }
            _ => json!({"kind": "rename_away", "to": "u"}),
        };
        let mut entry = json!({"version": 1, "operation": "op-x"});
        let members = entry.as_object_mut().expect("an object");
        members.extend(action.as_object().expect("an object").clone());
        format!("{entry}\n").into_bytes()
    }

    /// What only reads, then what writes.
    fn commands(&self) -> (Vec<Vec<&str>>, Vec<Vec<&str>>) {
        let (id, tree) = (self.session.as_str(), self.tree.as_str());
        let readers = vec![
            vec!["agent", "list"],
            vec!["agent", "show", id],
            vec!["thread", "list", "--all"],
            vec!["thread", "show", "t"],
            vec!["thread", "show", "d"],
            vec!["thread", "log", "t"],
            vec!["thread", "diff", "t"],
            vec!["log"],
            vec!["doctor"],
            vec!["gc", "--dry-run"],
            vec!["verify"],
        ];
        let writers = vec![
            vec!["agent", "heartbeat", "--session", id],
            vec!["-C", tree, "agent", "capture", "--session", id, "--allow-empty", "-m", "more"],
            vec!["-C", tree, "agent", "ready", "--session", id, "--no-capture"],
            vec!["agent", "release", "--session", id],
            vec!["agent", "release", "--session", id, "--force", "--status", "abandoned"],
            vec!["agent", "reserve", "--thread", "t", "--resume"],
            vec!["agent", "reserve", "--thread", "d", "--resume", "--worktree"],
            vec!["thread", "rename", "t", "u", "--session", id],
            vec!["thread", "rename", "d", "e"],
            vec!["thread", "refresh", "t", "--session", id],
            vec!["thread", "drop", "t", "--force"],
            vec!["gc"],
            vec!["doctor", "--fix"],
            vec!["hooks", "run", "reference-transaction", "prepared", LINE],
        ];
        (readers, writers)
    }

    /// Runs a command, which has to end with a status that is documented.
    fn run(&self, command: &[&str]) -> Result<Ended, String> {
        let args = [&["-s", "KILL", "30", BINARY], command].concat();
        let ended = self.sandbox.run("timeout", &args);
        match ended.code {
            Some(0..=7 | 75 | 128) if !ended.stderr.contains("panicked") => Ok(ended),
            _ => Err(format!("{command:?}: {ended:?}")),
        }
    }

    /// Runs readers and writers over what is there; says what went wrong.
    fn judge(&self, readers: &[&[&str]], writers: &[&[&str]]) -> Result<(), String> {
        let before = read(&self.sandbox.path(""));
        let refs_before = self.sandbox.run("git", &["for-each-ref"]);
        let run = |commands: &[&[&str]]| -> Result<Vec<Ended>, String> {
            commands.iter().map(|command| self.run(command)).collect()
        };
        let ended = run(readers)?;
        let written = changed(&before, &read(&self.sandbox.path("")), |_| true);
        if !written.is_empty() {
            return Err(format!("{readers:?} wrote {written:?}: {ended:?}"));
        }
        let ended = run(writers)?;
        let touched = changed(&before, &read(&self.sandbox.path("")), |path| !may_change(path));
        // Nobody can have made a name that Git refuses.
        let refs = self.sandbox.run("git", &["for-each-ref"]);
        let moved = others(&refs_before) != others(&refs);
        if moved || !touched.is_empty() || refs.code != Some(0) || !refs.stderr.is_empty() {
            return Err(format!("{writers:?} touched {touched:?}: {ended:?}: {refs:?}"));
        }
        Ok(())
    }
}

/// What Git asks a hook about.
const LINE: &str =
    "1111111111111111111111111111111111111111 2222222222222222222222222222222222222222 refs/heddle/threads/t";

/// What a writing command on `t` or `d` may change.
fn may_change(path: &Path) -> bool {
    let thread = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !(name == "o" || name == "o.json")
    };
    path.starts_with("repo.heddle")
        || path.starts_with("repo/.git/heddle") && thread(path)
        || path.starts_with("repo/.git/refs/heddle") && thread(path)
        || path.starts_with("repo/.git/logs/refs/heddle") && thread(path)
        // What a table holds of others is told by the refs.
        || path.starts_with("repo/.git/reftable")
        || path.starts_with("repo/.git/worktrees")
        || path.starts_with("repo/.git/objects")
        || path == Path::new("repo/.git")
        || path == Path::new("repo/.git/heddle-worktree.lock")
        || path == Path::new("repo/.git/logs/refs")
}

/// The refs that no command may move, as `git for-each-ref` lists them.
fn others(refs: &Ended) -> Vec<&str> {
    let is_other = |line: &&str| !line.contains("\trefs/heddle/") || line.ends_with("/o");
    refs.stdout.lines().filter(is_other).collect()
}

/// The files that differ, of those that `counts` takes.
fn changed(before: &Files, after: &Files, counts: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| counts(path) && before.get(*path) != after.get(*path)).cloned().collect()
}

fn config(cases: u64) -> Config {
    let cases = from_environment("HEDDLE_DAMAGE_CASES", cases);
    let seed = from_environment("HEDDLE_DAMAGE_SEED", u64::from(std::process::id()));
    println!("HEDDLE_DAMAGE_SEED={seed} HEDDLE_DAMAGE_CASES={cases}");
    Config {
        cases: u32::try_from(cases).expect("a number of cases"),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 60,
        ..Config::default()
    }
}

#[test]
fn no_damage_makes_a_command_panic_or_touch_what_is_not_the_threads() {
    let world = World::new();
    let (readers, writers) = world.commands();
    let journals: Vec<Vec<u8>> = (0..9).map(|kind| world.journal(kind)).collect();
    let strategy = (
        prop::option::of(0..journals.len()),
        prop::collection::vec((0..1000usize, damage()), 1..3),
        prop::collection::vec(0..readers.len(), 2),
        prop::collection::vec(0..writers.len(), 3),
    );
    let top = world.sandbox.path("");
    TestRunner::new(config(30))
        .run(&strategy, |(journal, damages, reads, writes)| {
            let mut state = world.files.clone();
            if let Some(kind) = journal {
                state.insert(world.targets[2].clone(), Body::File(journals[kind].clone()));
            }
            let bytes = |state: &Files, path: &PathBuf| match state.get(path) {
                Some(Body::File(bytes)) => bytes.clone(),
                _ => Vec::new(),
            };
            let others: Vec<Vec<u8>> = world.targets.iter().map(|path| bytes(&state, path)).collect();
            for (target, damage) in &damages {
                // The first ones decide, and are damaged more often.
                let target = &world.targets[(target % 20) * (target % 20) * world.targets.len() / 400];
                let new = damage.of(&bytes(&state, target), &others);
                state.insert(target.clone(), Body::File(new));
            }
            restore(&top, &state);
            let reads: Vec<&[&str]> = reads.iter().map(|index| &*readers[*index]).collect();
            let writes: Vec<&[&str]> = writes.iter().map(|index| &*writers[*index]).collect();
            world.judge(&reads, &writes).map_err(TestCaseError::fail)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Puts something that is no file in a file's place.
fn put(kind: &str, path: &Path, sandbox: &Sandbox) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("folder");
    }
    let content = fs::read(path).unwrap_or_default();
    let _ = fs::remove_file(path);
    match kind {
        "folder" => fs::create_dir(path).expect("folder"),
        "pipe" => assert_eq!(sandbox.run("mkfifo", &[&path.to_string_lossy()]).code, Some(0)),
        "link" => {
            let outside = sandbox.path("outside/canary");
            fs::write(&outside, content).expect("canary");
            symlink(outside, path).expect("link");
        }
        "loose link" => symlink(sandbox.path("outside/hatched"), path).expect("link"),
        _ => unreachable!("{kind}"),
    }
}

#[test]
fn what_is_no_file_is_refused_and_links_are_not_followed() {
    let world = World::new();
    let (readers, writers) = world.commands();
    let top = world.sandbox.path("");
    let kinds = ["folder", "pipe", "link", "loose link"];
    let places = kinds.iter().flat_map(|kind| world.targets.iter().map(move |target| (*kind, target)));
    // Not a divisor of how many places there are, so that every kind is met.
    for (kind, target) in Picked::of("HEDDLE_DAMAGE", "HEDDLE_DAMAGE_SEED", 5).these(places) {
        restore(&top, &world.files);
        put(kind, &top.join(target), &world.sandbox);
        let readers: Vec<&[&str]> = readers.iter().map(|command| &**command).collect();
        let writers: Vec<&[&str]> = writers.iter().map(|command| &**command).collect();
        if let Err(fault) = world.judge(&readers, &writers) {
            panic!("a {kind} in the place of {target:?}: {fault}");
        }
    }
}

#[test]
fn a_journal_that_names_what_is_not_its_threads_has_nothing_done_to_it() {
    let world = World::new();
    let top = world.sandbox.path("");
    let strangers =
        ["refs/heads/main", "refs/heddle/threads/o", "refs/heddle/threads/new", "HEAD", "../outside/x"];
    let (main, other) = (world.sandbox.commit("main"), world.sandbox.commit("refs/heddle/threads/o"));
    assert_eq!(main, other);
    for kind in 0..8 {
        for stranger in strangers {
            // As if the operation were about the stranger, and had come to its end.
            let mut entry: Value = serde_json::from_slice(&world.journal(kind)).expect("JSON");
            for key in ["tip", "mark"] {
                if entry[key].is_object() {
                    entry[key]["name"] = stranger.into();
                    entry[key]["old"] = Value::Null;
                    entry[key]["new"] = main.clone().into();
                }
            }
            if kind == 2 {
                entry["worktree_git_dir"] = world.sandbox.path("outside").to_string_lossy().into();
            }
            if kind < 2 {
                entry["session"] = "agent-nobody".into();
            }
            let mut state = world.files.clone();
            let journal = &world.targets[2];
            state.insert(journal.clone(), Body::File(format!("{entry}\n").into_bytes()));
            restore(&top, &state);
            if let Err(fault) = world.judge(&[], &[&["agent", "reserve", "--thread", "t", "--resume"]]) {
                panic!("{entry}: {fault}");
            }
        }
    }
}

#[test]
fn no_damage_to_what_was_installed_makes_a_command_panic_or_touch_what_is_not_a_hook() {
    let mut world = World::new();
    let hooks = world.sandbox.git_dir().join("hooks");
    fs::create_dir_all(&hooks).expect("folder");
    fs::write(hooks.join("pre-commit"), "#!/bin/sh\nexit 0\n").expect("hook");
    world.sandbox.heddle(&["hooks", "install"]).ok();
    let top = world.sandbox.path("");
    world.files = read(&top);
    let targets = ["heddle/hooks.json", "hooks/pre-commit", "hooks/reference-transaction"]
        .map(|name| Path::new("repo/.git").join(name));
    let record: Value = match &world.files[&targets[0]] {
        Body::File(bytes) => serde_json::from_slice(bytes).expect("JSON"),
        other => panic!("{other:?}"),
    };
    // What it may be made to say: folders in which nothing of ours is, or that are none.
    let outside = world.sandbox.path("outside");
    fs::create_dir(outside.join("empty")).expect("folder");
    fs::write(outside.join("pre-commit"), "#!/bin/sh\nexit 0\n").expect("hook");
    world.files = read(&top);
    let below = |name: &str| outside.join(name);
    let stories =
        [below("canary"), below("empty"), below("none"), outside.clone(), top.clone(), PathBuf::new()];
    let readers: [&[&str]; 2] = [&["hooks", "status"], &["doctor"]];
    let writers: [&[&str]; 3] =
        [&["hooks", "uninstall"], &["hooks", "install"], &["hooks", "run", "pre-commit"]];
    let strategy = (
        prop::option::of((0..stories.len(), prop::sample::select(vec!["folders", "made", "skipped"]))),
        prop::collection::vec((0..targets.len(), damage()), 0..3),
        0..writers.len(),
    );
    let outside_of = |files: &Files| -> Files {
        let apart = files.iter().filter(|(path, _)| path.starts_with("outside"));
        apart.map(|(path, body)| (path.clone(), body.clone())).collect()
    };
    TestRunner::new(config(15))
        .run(&strategy, |(story, damages, writer)| {
            let mut state = world.files.clone();
            if let Some((place, key)) = story {
                let mut record = record.clone();
                record[key] = if key == "skipped" {
                    json!({stories[place].to_string_lossy(): "why"})
                } else {
                    json!([stories[place]])
                };
                state.insert(targets[0].clone(), Body::File(format!("{record}\n").into_bytes()));
            }
            let bytes = |state: &Files, path: &PathBuf| match state.get(path) {
                Some(Body::File(bytes)) => bytes.clone(),
                _ => Vec::new(),
            };
            let others: Vec<Vec<u8>> = targets.iter().map(|path| bytes(&state, path)).collect();
            for (target, damage) in &damages {
                let new = damage.of(&bytes(&state, &targets[*target]), &others);
                state.insert(targets[*target].clone(), Body::File(new));
            }
            restore(&top, &state);
            let fault = |fault: String| TestCaseError::fail(format!("{story:?} {damages:?}: {fault}"));
            world.judge(&readers, &[]).map_err(fault)?;
            let before = read(&top);
            let ended = world.run(writers[writer]).map_err(fault)?;
            let after = read(&top);
            let counts =
                |path: &Path| !path.starts_with("repo/.git/heddle/locks") && *path != *Path::new("repo/.git");
            let written = changed(&before, &after, counts);
            let refused = ended.code != Some(0) && !written.is_empty() && writer < 2;
            let touched = outside_of(&before) != outside_of(&after);
            if refused || touched {
                return Err(fault(format!("{:?} changed {written:?}: {ended:?}", writers[writer])));
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
