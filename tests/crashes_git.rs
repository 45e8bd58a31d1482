//! Killed inside of Git: each git process that a command starts is killed at each of its calls
//! that change the disk. The command says so, and the next one repairs what is left.
//!
//! One in [`STRIDE`] of the calls is tried, from `HEDDLE_KILL_SEED` on; `HEDDLE_KILLS=all` tries
//! all.

mod support_kills;
mod support_processes;
mod support_program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support_kills::{CALLS, has_strace, run_healed, words};
use support_processes::{BINARY, Ended, Picked, Sandbox, files};
use support_program::write_program;

const TIP: &str = "refs/heddle/threads/t";
const STRIDE: usize = 12;

/// Stands before git on the path: the processes are counted, and one of them, or each, is traced.
const WRAPPER: &str = r#"#!/bin/sh
n=0
while ! mkdir "$COUNT/$n" 2>/dev/null; do n=$((n + 1)); done
if [ "$n" = "$KILL_CHILD" ] || [ -z "$KILL_CHILD" ]; then
    exec strace -f -qq -o "$COUNT/$n/log" -e "trace=$CALLS" ${KILL_AT:+-e "inject=$KILL_AT"} "$GIT" "$@"
fi
exec "$GIT" "$@"
"#;

/// Where to kill: which git process, at which call of which name.
type Point = (usize, String, usize);

/// Runs git-heddle with every git that it starts counted, and one of them killed.
fn wrapped(sandbox: &Sandbox, command: &[String], kill: Option<&Point>) -> Ended {
    let (folder, count) = (sandbox.path("home/bin"), sandbox.path("home/count"));
    fs::create_dir_all(&folder).expect("folder");
    let _ = fs::remove_dir_all(&count);
    fs::create_dir(&count).expect("folder");
    let path = std::env::var("PATH").expect("PATH");
    let git = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.exists());
    write_program(folder.join("git"), WRAPPER);
    let args: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut command = sandbox.command(BINARY, &args);
    command.env("PATH", format!("{}:{path}", folder.display())).env("GIT", git.expect("git"));
    command.env("COUNT", &count).env("CALLS", CALLS);
    if let Some((child, call, number)) = kill {
        command.env("KILL_CHILD", child.to_string());
        command.env("KILL_AT", format!("{call}:signal=KILL:when={number}"));
    }
    Ended::new(&command.output().expect("git-heddle"))
}

/// Every call of every git process of the whole run that changes something.
fn points(sandbox: &Sandbox) -> Vec<Point> {
    let mut found = BTreeSet::new();
    for log in files(&sandbox.path("home/count"), &|name| name == "log") {
        let child = log.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let child: usize = child.and_then(|name| name.parse().ok()).expect("a number");
        let text = fs::read_to_string(log).expect("what strace wrote");
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.contains(" resumed>")) {
            let Some((pid, rest)) = line.split_once(' ') else { continue };
            let Some((name, args)) = rest.trim_start().split_once('(') else { continue };
            let count = counts.entry((pid, name)).or_default();
            *count += 1;
            let changes = name != "openat" || args.contains("O_CREAT") || args.contains("O_TRUNC");
            // A pipe to whoever started it is no disk.
            if changes && !(name == "write" && args.starts_with(['1', '2'])) {
                found.insert((child, name.to_owned(), *count));
            }
        }
    }
    found.into_iter().collect()
}

/// Kills each git process of the command that `make` gives, and has `check` see to what is next.
fn kill_git_everywhere(
    name: &str,
    make: impl Fn() -> (Sandbox, Vec<String>),
    check: impl Fn(&Sandbox, &[String], &str),
) {
    if !has_strace() {
        return;
    }
    let (whole, command) = make();
    let answer = wrapped(&whole, &command, None);
    assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
    let points = points(&whole);
    assert!(!points.is_empty(), "{name} starts no git that writes");
    let picked = Picked::of("HEDDLE_KILLS", "HEDDLE_KILL_SEED", STRIDE);
    let (mut kills, mut survived) = (0, 0);
    for point in picked.these(&points) {
        let (sandbox, command) = make();
        let answer = wrapped(&sandbox, &command, Some(point));
        let about = format!("{name}, git killed at {point:?} (HEDDLE_KILL_SEED={})", picked.seed);
        match answer.code {
            Some(0) => survived += 1,
            Some(1 | 4 | 7 | 75 | 128) => kills += 1,
            _ => panic!("{about}: {answer:?}"),
        }
        let said = answer.code == Some(0)
            || answer.stderr.contains("error: ")
            || answer.stdout.contains("cannot be merged: git merge-tree failed (signal");
        assert!(said && !answer.stderr.contains("panicked"), "{about}: {answer:?}");
        check(&sandbox, &command, &about);
    }
    println!("{name}: {kills} failed and {survived} did not, of {} calls", points.len());
}

/// Has the command done once more, or the doctor say what is in its way and remove it.
fn again(sandbox: &Sandbox, command: &[String], about: &str, codes: &[i32]) -> Ended {
    let answer = run_healed(sandbox, command, about);
    assert!(answer.code.is_some_and(|code| codes.contains(&code)), "{about}: {answer:?}");
    answer
}

fn is_clean(sandbox: &Sandbox, about: &str) {
    // Nobody comes by here again: neither a capture of another worktree, nor whoever wants the ref of
    // a thread that is gone.
    sandbox.heal(about);
    sandbox.assert_clean(about);
}

/// A session on `t`, and its worktree with a file that is not captured yet.
fn in_a_worktree(sandbox: &Sandbox) -> (String, String) {
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
    let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
    fs::write(format!("{tree}/work"), "work\n").expect("file");
    (session, tree)
}

/// A thread `t` that is ready and nobody's; `main` has gone on if `diverged`.
fn ready_thread(diverged: bool) -> Sandbox {
    let sandbox = Sandbox::new();
    let (session, tree) = in_a_worktree(&sandbox);
    sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]).ok();
    sandbox.heddle(&["agent", "release", "--session", &session]).ok();
    if diverged {
        sandbox.write("more", "more\n");
        sandbox.git(&["add", "more"]);
        sandbox.git(&["commit", "-q", "-m", "more"]);
    }
    sandbox
}

#[test]
fn a_capture_whose_git_is_killed_is_made_by_the_next() {
    let make = || {
        let sandbox = Sandbox::new();
        let (session, tree) = in_a_worktree(&sandbox);
        let command = words(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]);
        (sandbox, command)
    };
    kill_git_everywhere("ready", make, |sandbox, command, about| {
        again(sandbox, command, about, &[0]);
        assert_eq!(sandbox.git(&["show", &format!("{TIP}:work")]), "work", "{about}");
        assert_eq!(sandbox.git(&["rev-list", "--count", &format!("main..{TIP}")]), "1", "{about}");
        is_clean(sandbox, about);
    });
}

#[test]
fn a_worktree_whose_git_is_killed_is_made_by_the_next() {
    let make = || (Sandbox::new(), words(&["agent", "reserve", "--thread", "t", "--worktree"]));
    kill_git_everywhere("reserve with a worktree", make, |sandbox, _, about| {
        for session in sandbox.active("t") {
            again(sandbox, &words(&["agent", "release", "--session", &session, "--force"]), about, &[0]);
        }
        let reserve = words(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
        let next = again(sandbox, &reserve, about, &[0]);
        let tree = next.text("path");
        assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "", "{about}");
        sandbox.heddle(&["agent", "release", "--session", &next.text("session_id")]).ok();
        assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
        is_clean(sandbox, about);
    });
}

#[test]
fn a_worktree_whose_removal_is_killed_is_no_work_of_the_next_owner() {
    let make = || {
        let sandbox = Sandbox::new();
        let (session, tree) = in_a_worktree(&sandbox);
        fs::create_dir(format!("{tree}/folder")).expect("folder");
        for number in 0..5 {
            fs::write(format!("{tree}/folder/{number}"), "work\n").expect("file");
        }
        sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "work"]).ok();
        (sandbox, words(&["agent", "release", "--session", &session]))
    };
    kill_git_everywhere("release of a worktree", make, |sandbox, _, about| {
        let reserve = words(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
        let next = again(sandbox, &reserve, about, &[0]);
        let (session, tree) = (next.text("session_id"), next.text("path"));
        assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "", "{about}");
        assert!(Path::new(&tree).join("folder/4").exists(), "{about}");
        let captured =
            sandbox.heddle(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "x"]).ok();
        assert_eq!(captured.json()["captured"], false, "{about}");
        sandbox.heddle(&["agent", "release", "--session", &session]).ok();
        assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
        is_clean(sandbox, about);
    });
}

#[test]
fn a_landing_whose_git_is_killed_is_made_by_the_next() {
    for diverged in [false, true] {
        let make = || (ready_thread(diverged), words(&["thread", "land", "t"]));
        let name = if diverged { "land by a merge" } else { "land" };
        kill_git_everywhere(name, make, |sandbox, command, about| {
            again(sandbox, command, about, &[0]);
            assert_eq!(sandbox.git(&["show", "main:work"]), "work", "{about}");
            assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{about}");
            assert!(sandbox.reaches("main", TIP), "{about}");
            is_clean(sandbox, about);
        });
    }
}

#[test]
fn a_drop_whose_git_is_killed_is_finished_by_the_next() {
    let make = || (ready_thread(false), words(&["thread", "drop", "t", "--force"]));
    kill_git_everywhere("drop", make, |sandbox, command, about| {
        // It may have been the last call of all.
        let next = again(sandbox, command, about, &[0, 1]);
        assert_eq!(sandbox.commit(TIP), "", "{about}: {next:?}");
        assert_eq!(sandbox.git(&["show", "refs/heddle/dropped/t/1:work"]), "work", "{about}");
        is_clean(sandbox, about);
    });
}

#[test]
fn a_drop_whose_git_is_killed_among_files_that_were_kept_is_finished_by_the_next() {
    for is_loose in [true, false] {
        let make = || {
            let sandbox = Sandbox::new();
            let (session, tree) = in_a_worktree(&sandbox);
            sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]).ok();
            for number in 0..if is_loose { 3 } else { 0 } {
                fs::write(format!("{tree}/loose-{number}"), "loose\n").expect("file");
            }
            (sandbox, words(&["thread", "drop", "t", "--force"]))
        };
        let name = if is_loose { "drop with loose files" } else { "drop with a worktree" };
        kill_git_everywhere(name, make, |sandbox, command, about| {
            let next = again(sandbox, command, about, &[0, 1]);
            assert_eq!(sandbox.commit(TIP), "", "{about}: {next:?}");
            let kept = |name: &str| sandbox.git(&["show", &format!("refs/heddle/dropped/t/{name}")]);
            assert_eq!(kept("1:work"), "work", "{about}");
            if is_loose {
                assert_eq!(kept("1-worktree:loose-2"), "loose", "{about}");
            }
            assert!(!sandbox.path("repo.heddle/t").exists(), "{about}: {next:?}");
            // Of a worktree whose folder is gone Git may still know, as if somebody had deleted it.
            sandbox.git(&["worktree", "prune"]);
            assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
            is_clean(sandbox, about);
        });
    }
}

#[test]
fn a_run_whose_git_is_killed_leaves_what_its_command_wrote_to_the_next() {
    let make = || {
        let line = "echo work >work; echo ran >\"$HOME/ran\"";
        let run = ["agent", "run", "--thread", "t", "--worktree", "--ready", "--task", "the task", "--"];
        (Sandbox::new(), words(&[&run[..], &["sh", "-c", line]].concat()))
    };
    kill_git_everywhere("run", make, |sandbox, _, about| {
        let reserve = words(&["agent", "reserve", "--thread", "t", "--resume", "--worktree"]);
        let next = again(sandbox, &reserve, about, &[0]);
        let (session, tree) = (next.text("session_id"), next.text("path"));
        let capture = words(&["-C", &tree, "agent", "capture", "--session", &session, "-m", "what was left"]);
        // A lock of Git's on HEAD, which nothing proves to be ours, is named; the doctor removes it.
        if again(sandbox, &capture, about, &[0]).stderr.contains("did not follow") {
            sandbox.heddle(&["doctor", "--fix"]).ok();
            again(sandbox, &capture, about, &[0]);
        }
        let ran = sandbox.path("home/ran").exists();
        let kept = sandbox.run("git", &["show", &format!("{TIP}:work")]).stdout;
        assert_eq!(kept, if ran { "work\n" } else { "" }, "{about}");
        let count = sandbox.git(&["rev-list", "--count", &format!("main..{TIP}")]);
        assert_eq!(count, if ran { "1" } else { "0" }, "{about}");
        assert_eq!(sandbox.git(&["-C", &tree, "status", "--porcelain"]), "", "{about}");
        sandbox.heddle(&["agent", "release", "--session", &session]).ok();
        assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1, "{about}");
        is_clean(sandbox, about);
    });
}

#[test]
fn a_refresh_whose_git_is_killed_is_made_by_the_next() {
    let make = || {
        let sandbox = Sandbox::new();
        let (session, tree) = in_a_worktree(&sandbox);
        sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]).ok();
        fs::write(format!("{tree}/loose"), "loose\n").expect("file");
        sandbox.write("more", "more\n");
        sandbox.git(&["add", "more"]);
        sandbox.git(&["commit", "-q", "-m", "more"]);
        (sandbox, words(&["thread", "refresh", "t", "--session", &session]))
    };
    kill_git_everywhere("refresh", make, |sandbox, command, about| {
        again(sandbox, command, about, &[0]);
        assert!(sandbox.reaches(TIP, "main"), "{about}");
        assert_eq!(sandbox.git(&["log", "--format=%s", &format!("main..{TIP}")]), "work", "{about}");
        let tree = sandbox.path("repo.heddle/t");
        assert_eq!(fs::read_to_string(tree.join("loose")).expect("loose"), "loose\n", "{about}");
        let status = sandbox.git(&["-C", &tree.to_string_lossy(), "status", "--porcelain"]);
        assert_eq!(status, "?? loose", "{about}");
        is_clean(sandbox, about);
    });
}
