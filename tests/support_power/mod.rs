//! The power goes after each call of a command that changes the disk, and the next one on the
//! thread repairs what is left.
//!
//! The command is run once under strace, and its calls are replayed on a model of a disk
//! (`support_disk`).

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support_disk::{self, Disk, Survival, calls};
use crate::support_processes::{
    self, BINARY, Body, Draw, Ended, Files, Picked, Sandbox, files, from_environment, read, restore,
};

/// The ref of the thread that all of this is about.
pub(crate) const TIP: &str = "refs/heddle/threads/t";
/// Which of the states are tried, unless a case says otherwise.
pub(crate) const STRIDE: usize = 8;

/// Whether the names that survive are those of one instant.
///
/// No file system in use takes them apart as freely as [`Order::Lost`]. What may then be left
/// is told by name and removed by the doctor; nothing is lost all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Kept,
    Lost,
}

/// What a power cut left.
struct State {
    /// The call after which it came.
    step: usize,
    order: Order,
    files: Files,
}

/// A command, and what has to hold after a cut.
pub(crate) struct Case<'a> {
    pub(crate) name: &'a str,
    pub(crate) command: Vec<&'a str>,
    /// Exit codes that the next command may have.
    pub(crate) next: (Vec<&'a str>, &'a [i32]),
    /// What has to be true once the command has reported.
    pub(crate) kept: &'a dyn Fn(&Sandbox, &Ended),
    /// What has to be true after any cut, once the next command has done its part.
    pub(crate) always: &'a dyn Fn(&Sandbox, &str),
    /// Where the work goes on: in the worktree that there is, or in one at the tip.
    pub(crate) at_tip: bool,
    /// Whether only those cuts are tried after which the names are those of one instant.
    pub(crate) in_order: bool,
    /// One state in so many is tried.
    pub(crate) stride: usize,
}

/// What most cases have in common.
pub(crate) const USUAL: Case<'static> = Case {
    name: "",
    command: Vec::new(),
    next: (Vec::new(), &[0]),
    kept: &|_, _| {},
    always: &|_, _| {},
    at_tip: false,
    in_order: false,
    stride: STRIDE,
};

pub(crate) fn cut_everywhere(sandbox: &Sandbox, case: &Case<'_>) {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: there is no strace here");
        return;
    }
    let (name, top, log) = (case.name, sandbox.worktree(), sandbox.path("trace"));
    let before = read(&top);
    let trace = format!("trace={}", support_disk::CALLS);
    let log_text = log.to_string_lossy().into_owned();
    let mut args = vec!["-f", "-qq", "-y", "-xx", "-s", "16777216", "-o", &log_text, "-e", &trace, BINARY];
    args.extend(&case.command);
    let reported = sandbox.run("strace", &args).ok();
    let after = read(&top);
    // Nothing of the sandbox but the repository loses its power.
    let calls = calls(&fs::read_to_string(&log).expect("a trace"));

    let picked = Picked::of("HEDDLE_POWER", "HEDDLE_POWER_SEED", case.stride);
    let draws = from_environment("HEDDLE_POWER_DRAWS", 1);
    let mut draw = Draw(picked.seed);
    let mut disk = Disk::new(&top, &before);
    let mut seen = HashSet::new();
    let mut states: Vec<State> = Vec::new();
    let mut changes = 0;
    let mut add = |step: usize, order: Order, files: Files| {
        if case.in_order && order == Order::Lost {
            return;
        }
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        if seen.insert(hasher.finish()) {
            states.push(State { step, order, files });
        }
    };
    for (step, call) in calls.iter().enumerate() {
        if disk.replay(call) {
            changes += 1;
            add(step, Order::Kept, disk.after_power_cut(&mut Survival::Names));
            add(step, Order::Lost, disk.after_power_cut(&mut Survival::Least));
            for _ in 0..draws {
                let mut next = |limit| draw.index(limit);
                add(step, Order::Lost, disk.after_power_cut(&mut Survival::Drawn(&mut next)));
            }
        }
    }
    assert_eq!(
        describe(&disk.last(), &after),
        Vec::<String>::new(),
        "{name}: the replay is not what happened"
    );
    // Git 2.47 syncs a table before it writes its end, and syncs no folder: until we have, what a
    // cut leaves of the refs is Git's.
    let judged = if support_processes::format::asked().reftable { &[] } else { &states[..] };
    let tried = picked.these(judged);
    for State { step, order, files } in &tried {
        let about = format!("{name}, power lost after {} (call {step}), order {order:?}", calls[*step].name);
        restore(&top, files);
        keep_identities(sandbox, &before);
        check(sandbox, case, *order, &about);
    }
    // After the answer, nothing of it may be lost, whatever else survives.
    for survival in 0..if case.in_order { 1 } else { draws + 2 } {
        let mut next = |limit| draw.index(limit);
        let mut survival = match survival {
            0 => Survival::Names,
            1 => Survival::Least,
            _ => Survival::Drawn(&mut next),
        };
        restore(&top, &disk.after_power_cut(&mut survival));
        keep_identities(sandbox, &before);
        (case.kept)(sandbox, &reported);
        let order = if case.in_order { Order::Kept } else { Order::Lost };
        check(sandbox, case, order, &format!("{name}, power lost after the answer"));
    }
    println!("{name}: {} calls, {} of {} states", calls.len(), tried.len(), states.len());
    // Fewest for a heartbeat: the holder's line, and the lease.
    assert!(changes > 1 && !states.is_empty(), "{name}: {changes} changes, {} states", states.len());
}

/// A file keeps its inode over a power cut, but not over [`restore`]: what the journal says of
/// Git's locks is brought up to date.
fn keep_identities(sandbox: &Sandbox, before: &Files) {
    for path in files(&sandbox.git_dir().join("heddle/locks"), &|name| name.ends_with(".journal")) {
        keep_identities_in(sandbox, &path);
    }
    // Nor is a second name one of the same file, nor the index the file that it was.
    let (folder, index) = (sandbox.git_dir().join("heddle-move"), sandbox.git_dir().join("index"));
    let lock = sandbox.git_dir().join("index.lock");
    if folder.join("lock").exists() && lock.exists() {
        fs::remove_file(&lock).expect("removed");
        fs::hard_link(folder.join("lock"), &lock).expect("link");
    }
    let plan =
        fs::read(folder.join("plan")).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let is_as_before =
        before.get(Path::new(".git/index")) == Some(&Body::File(fs::read(&index).unwrap_or_default()));
    if let Some(mut plan) = plan.filter(|_| is_as_before) {
        let meta = fs::metadata(&index).expect("an index");
        plan["index"]["file"] = json!({"dev": meta.dev(), "ino": meta.ino()});
        plan["index"]["modified"] = json!([meta.mtime(), meta.mtime_nsec()]);
        fs::write(folder.join("plan"), plan.to_string()).expect("plan");
    }
    // Nor does anything keep its mode.
    let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    for hook in files(&sandbox.git_dir().join("hooks"), &|_| true) {
        set(hook, 0o755);
    }
    for entry in fs::read_dir(sandbox.git_dir()).expect("folder").flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(b"heddle-watch-") {
            set(entry.path(), 0o700);
        }
    }
}

fn keep_identities_in(sandbox: &Sandbox, path: &Path) {
    let format = support_processes::format::asked();
    let Ok(text) = fs::read(path) else { return };
    let Ok(mut journal) = serde_json::from_slice::<Value>(&text) else { return };
    let from = journal["from"].as_str().map(|from| format!("refs/heddle/threads/{from}"));
    let own = || Some(TIP.to_owned());
    for (key, name) in
        [("tip", None), ("mark", None), ("lock", own()), ("tip_lock", own()), ("from_lock", from)]
    {
        let value = &mut journal[key];
        let name = name.or_else(|| value["name"].as_str().map(str::to_owned));
        let Some(meta) =
            name.and_then(|name| fs::symlink_metadata(sandbox.git_dir().join(format.lock_of(&name))).ok())
        else {
            continue;
        };
        let lock = if value["lock"].is_object() { &mut value["lock"] } else { value };
        lock["dev"] = meta.dev().into();
        lock["ino"] = meta.ino().into();
        lock["born"] = Value::Null;
    }
    // `Value` makes an entry of every key that is looked for.
    journal.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    fs::write(path, format!("{journal}\n")).expect("journal");
}

/// The paths that differ.
fn describe(one: &Files, other: &Files) -> Vec<String> {
    let paths = one.keys().chain(other.keys().filter(|path| !one.contains_key(*path)));
    paths.filter(|path| one.get(*path) != other.get(*path)).map(|path| path.display().to_string()).collect()
}

/// Runs a command that may find a lock of Git's whose removal, or our note of which, did not
/// come to the disk: it then says so, and the doctor helps.
fn healed(sandbox: &Sandbox, about: &str, command: &[&str]) -> Ended {
    let answer = sandbox.heddle(command);
    if answer.code != Some(75) {
        return answer;
    }
    assert!(!sandbox.ref_locks().is_empty(), "{about}: {answer:?}");
    sandbox.heal(about);
    sandbox.heddle(command)
}

fn check(sandbox: &Sandbox, case: &Case<'_>, order: Order, about: &str) {
    sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
    let (next, codes) = &case.next;
    let answer = healed(sandbox, about, next);
    assert!(answer.code.is_some_and(|code| codes.contains(&code)), "{about}: {answer:?}");
    (case.always)(sandbox, about);
    let active = sandbox.active("t");
    assert!(active.len() <= 1, "{about}: {active:?}");
    let id = active.first().cloned().unwrap_or_else(|| {
        let again = healed(sandbox, about, &["agent", "reserve", "--thread", "t", "--resume"]);
        assert_eq!(again.code, Some(0), "{about}: {again:?}");
        again.text("session_id")
    });
    let mut capture = vec!["agent", "capture", "--session", &id, "-m", "after"];
    if case.at_tip {
        sandbox.git(&["worktree", "prune"]);
        sandbox.git(&["worktree", "add", "-q", "--detach", "other", TIP]);
        sandbox.write("other/work", "after\n");
        capture.splice(0..0, ["-C", "other"]);
    } else {
        sandbox.write("work", "after\n");
    }
    let after = healed(sandbox, about, &capture);
    assert_eq!(after.code, Some(0), "{about}: {after:?}");
    assert_eq!(sandbox.git(&["show", &format!("{TIP}:work")]), "after", "{about}");
    // What a Git that was cut off leaves is in nobody's way until somebody comes by there.
    if order == Order::Lost || case.at_tip {
        // A git of another test may hold Git's locks, for all the doctor can know.
        sandbox.heal(about);
        sandbox.heddle(&["doctor", "--fix"]).ok();
    }
    sandbox.assert_clean(about);
}

/// A thread `t` with a capture that is ready, and no owner; nothing of it is in the worktree.
pub(crate) fn ready_thread(sandbox: &Sandbox) {
    let id = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id");
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "ready", "--session", &id, "-m", "work"]).ok();
    sandbox.heddle(&["agent", "release", "--session", &id]).ok();
    fs::remove_file(sandbox.worktree().join("work")).expect("removed");
}
