//! Commands that fail: what each may have done by then, and what has to work afterwards.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::path::Path;

use serde_json::Value;

use crate::support_processes::{Body, Ended, Files, Sandbox, files, format, read};

type Truth = Box<dyn Fn(&Sandbox, &Ended)>;

/// A command in a repository.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) command: Vec<String>,
    /// What comes after, and what it may exit with.
    next: (Vec<String>, &'static [i32]),
    /// What has to be true if the command reports success.
    pub(crate) done: Truth,
    /// What a failure may leave, by the beginnings of the paths: see where it is said.
    leaves: &'static [&'static str],
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// A command given as words.
pub(crate) fn strs(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// What a failed command may not change: objects that nothing names, locks that nobody holds,
/// the log of events, and caches are nobody's state. A generation that was given out stays
/// used, so the record of a thread without an owner counts as none.
pub(crate) fn state(files: &Files) -> Files {
    let counts = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        !(path.starts_with(".git/objects")
            // A table says it in other bytes when a ref was made and taken back; the refs are compared.
            || path.starts_with(".git/reftable")
            || path.starts_with(".git/heddle/locks") && (name.ends_with(".lock") || name.ends_with(".queue"))
            || path.starts_with(".git/heddle/logs")
            // Which thread was the last that somebody set out to land.
            || path == Path::new(".git/heddle/landing")
            || name == "events.jsonl"
            || name == "heddle-worktree.lock"
            || name.starts_with("heddle-index-")
            || name.ends_with(".live"))
    };
    let unowned = |path: &Path, body: &Body| match body {
        Body::File(bytes) if path.starts_with(".git/heddle/threads") => {
            serde_json::from_slice::<Value>(bytes).is_ok_and(|record| record["owner"].is_null())
        }
        body => *body == Body::Folder,
    };
    let kept = files.iter().filter(|(path, body)| counts(path) && !unowned(path, body));
    kept.map(|(path, body)| (path.clone(), body.clone())).collect()
}

/// Sees to it that a command that failed said so and changed nothing, and that the next works.
pub(crate) fn check(
    sandbox: &Sandbox,
    case: &Case,
    (before, refs): (&Files, &str),
    answer: &Ended,
    about: &str,
) {
    match answer.code {
        // The standard library takes it for granted that a pipe from a child can be read.
        Some(101) if answer.stderr.contains("/std/src/process") || answer.stderr.contains("/sys/process") => {
            // Nor would it be unwound where it is released: it would be as if it were killed there.
            return;
        }

        Some(0) => (case.done)(sandbox, answer),
        // The program could not be loaded.
        Some(127) if answer.stderr.contains("shared librar") => {}
        // It did what it was to do, and could not say so, or cannot say that it will last.
        Some(1) if answer.stderr.contains("standard output") => {}
        Some(1) if answer.stderr.contains("cannot sync") && case.name == "heartbeat" => {}
        // That Git cannot merge for now is what stands in the way of a landing.
        Some(7) if case.name == "land" && answer.stdout.contains("cannot be merged: ") => {}
        // The branch has moved and the index could not: as if it had died there, the next one
        // finishes.
        Some(1) if case.name == "land" && sandbox.git_dir().join("heddle-move").exists() => {}
        Some(1 | 75 | 128) => {
            // Standard error may be what failed.
            let muted = about.contains(" write ");
            let said = muted || answer.stderr.contains("error: ") || !answer.json()["error"].is_null();
            assert!(said, "{about}: {answer:?}");
            let (before, after) = (state(before), state(&read(&sandbox.worktree())));
            let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
            let allowed = |path: &Path| case.leaves.iter().any(|start| path.starts_with(start));
            let changed: Vec<_> =
                all.filter(|path| before.get(*path) != after.get(*path) && !allowed(path)).collect();
            assert!(changed.is_empty(), "{about}: {changed:?} changed: {answer:?}");
            if !case.leaves.iter().any(|start| start.starts_with(".git/refs")) {
                assert_eq!(sandbox.git(&["for-each-ref"]), refs, "{about}: {answer:?}");
            }
        }
        _ => panic!("{about}: {answer:?}"),
    }
    let (next, codes) = &case.next;
    let mut next_answer = sandbox.heddle(&strs(next));
    if next_answer.code == Some(75) && about.contains(" unlink ") {
        // Git's own lock, which Git was not let remove: said, and the doctor's to remove.
        sandbox.heal(about);
        next_answer = sandbox.heddle(&strs(next));
    }
    let next = next_answer;
    let expected = if answer.code == Some(0) { *codes } else { &[0] };
    assert!(
        next.code.is_some_and(|code| expected.contains(&code)),
        "{about}, then: {next:?}, after {answer:?}"
    );
    // Git's own locks, which nobody was let remove.
    let git_dir = sandbox.git_dir();
    for left in files(&git_dir, &|name| name.ends_with(".lock")) {
        let ours = left.starts_with(git_dir.join("heddle")) || left.ends_with("heddle-worktree.lock");
        if about.contains(" unlink ") && !ours {
            std::fs::remove_file(left).expect("removed");
        }
    }
    if format::asked().reftable {
        // Git takes a lock again to merge tables, and what keeps it from giving that back does not
        // fail it.
        sandbox.heal(about);
    }
    sandbox.assert_clean(about);
}

fn reserved(sandbox: &Sandbox) -> String {
    sandbox.heddle(&["agent", "reserve", "--thread", "t"]).ok().text("session_id")
}

/// A thread `t` with a capture that is ready, and no owner; `main` has gone on.
fn ready_thread(sandbox: &Sandbox) {
    let id = reserved(sandbox);
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "ready", "--session", &id, "-m", "work"]).ok();
    sandbox.heddle(&["agent", "release", "--session", &id]).ok();
    std::fs::remove_file(sandbox.worktree().join("work")).expect("removed");
    sandbox.write("more", "more\n");
    sandbox.git(&["add", "more"]);
    sandbox.git(&["commit", "-q", "-m", "more"]);
}

const TIP: &str = "refs/heddle/threads/t";

pub(crate) fn reserve(_: &Sandbox) -> Case {
    let command = words(&["agent", "reserve", "--thread", "t"]);
    Case {
        name: "reserve",
        leaves: &[],
        next: (command.clone(), &[3]),
        command,
        done: Box::new(|sandbox, answer| assert_eq!(sandbox.active("t"), [answer.text("session_id")])),
    }
}

pub(crate) fn heartbeat(sandbox: &Sandbox) -> Case {
    let id = reserved(sandbox);
    let command = words(&["agent", "heartbeat", "--session", &id, "--tool-calls", "7"]);
    Case {
        name: "heartbeat",
        leaves: &[],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(move |sandbox, _| {
            let record = sandbox.record(&format!("agents/{id}.json"));
            assert_eq!(record["usage"]["tool_calls"], 7);
        }),
    }
}

pub(crate) fn capture(sandbox: &Sandbox) -> Case {
    let id = reserved(sandbox);
    sandbox.write("work", "work\n");
    let command = words(&["agent", "capture", "--session", &id, "-m", "work"]);
    Case {
        name: "capture",
        leaves: &[],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, answer| {
            // To Git, a folder that cannot be read is worth a warning.
            if answer.stderr.contains("could not open directory") {
                assert!(answer.stdout.contains("could not open directory"), "{answer:?}");
                return;
            }
            assert_eq!(sandbox.commit(TIP), answer.text("commit"));
            assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:work"]), "work");
        }),
    }
}

pub(crate) fn release(sandbox: &Sandbox) -> Case {
    let id = reserved(sandbox);
    let command = words(&["agent", "release", "--session", &id]);
    Case {
        name: "release",
        leaves: &[],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, _| assert_eq!(sandbox.active("t"), Vec::<String>::new())),
    }
}

pub(crate) fn mark(sandbox: &Sandbox) -> Case {
    let id = reserved(sandbox);
    sandbox.write("work", "work\n");
    sandbox.heddle(&["agent", "capture", "--session", &id, "-m", "work"]).ok();
    let command = words(&["agent", "ready", "--no-capture", "--session", &id]);
    Case {
        name: "ready",
        leaves: &[],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, _| assert_eq!(sandbox.commit("refs/heddle/ready/t"), sandbox.commit(TIP))),
    }
}

pub(crate) fn refresh(sandbox: &Sandbox) -> Case {
    ready_thread(sandbox);
    let command = words(&["thread", "refresh", "t"]);
    Case {
        name: "refresh",
        leaves: &[],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, _| {
            assert!(sandbox.reaches(TIP, "main"));
            assert_eq!(sandbox.git(&["show", "refs/heddle/threads/t:work"]), "work");
        }),
    }
}

pub(crate) fn rename(sandbox: &Sandbox) -> Case {
    let id = reserved(sandbox);
    Case {
        name: "rename",
        command: words(&["thread", "rename", "t", "u", "--session", &id]),
        leaves: &[],
        next: (words(&["agent", "heartbeat", "--session", &id]), &[0]),
        done: Box::new(move |sandbox, _| {
            // Where a write after the commit point failed, the next command finishes.
            sandbox.heddle(&["agent", "heartbeat", "--session", &id]).ok();
            assert_eq!(sandbox.active("u"), std::slice::from_ref(&id));
        }),
    }
}

pub(crate) fn land(sandbox: &Sandbox) -> Case {
    ready_thread(sandbox);
    let command = words(&["thread", "land", "t"]);
    Case {
        name: "land",
        // That Git could not merge is written down as what stands in the way; and the next landing
        // may look at the thread whatever has become of it.
        leaves: &[".git/heddle/threads/t.json", ".git/heddle/landing"],
        next: (command.clone(), &[0, 1, 7]),
        command,
        done: Box::new(|sandbox, _| {
            assert_eq!(sandbox.git(&["show", "main:work"]), "work");
            assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
        }),
    }
}

pub(crate) fn drop_thread(sandbox: &Sandbox) -> Case {
    ready_thread(sandbox);
    Case {
        name: "drop",
        command: words(&["thread", "drop", "t", "--force"]),
        // Git's own transaction is none when its disk fails: what it had done by then stays.
        leaves: &[".git/refs/heddle", ".git/logs/refs/heddle"],
        next: (words(&["agent", "reserve", "--thread", "t", "--resume"]), &[0]),
        done: Box::new(|sandbox, _| {
            assert_eq!(sandbox.git(&["show", "refs/heddle/dropped/t/1:work"]), "work");
            assert_eq!(sandbox.commit(TIP), "");
        }),
    }
}

pub(crate) fn run(_: &Sandbox) -> Case {
    let command = words(&["agent", "run", "--thread", "t", "--resume", "--", "true"]);
    Case {
        name: "run",
        // The reservation is released again.
        leaves: &[
            ".git/heddle/agents/ended",
            ".git/refs/heddle/threads/t",
            ".git/logs/refs/heddle/threads/t",
        ],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, _| assert_eq!(sandbox.commit(TIP), sandbox.commit("main"))),
    }
}

pub(crate) fn install_hooks(_: &Sandbox) -> Case {
    let command = words(&["hooks", "install"]);
    Case {
        name: "hooks install",
        // What was asked for, and each hook, is as it was or as it is to be; the next finishes.
        leaves: &[".git/heddle/hooks.json", ".git/hooks"],
        next: (command.clone(), &[0]),
        command,
        done: Box::new(|sandbox, _| {
            let status = sandbox.heddle(&["hooks", "status"]);
            assert_eq!(status.code, Some(0), "{status:?}");
        }),
    }
}
