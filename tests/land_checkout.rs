//! `thread land` where the target is checked out: other Git commands at the same moment, and
//! crashes in the middle of the files.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Answer, Sandbox, text};
use support_program::write_program;

/// A thread with one capture that writes the files, ready; its session.
#[track_caller]
fn ready(sandbox: &Sandbox, thread: &str, files: &[(&str, &str)]) -> String {
    let reserved = sandbox.reserve(thread, &["--worktree", "--resume"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    for (file, content) in files {
        fs::write(path.join(file), content).expect("write");
    }
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", thread]).exits(0);
    session
}

fn hook(sandbox: &Sandbox, name: &str, script: &str) {
    let hook = sandbox.root().join(".git/hooks").join(name);
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, format!("#!/bin/sh\n{script}"));
}

#[track_caller]
fn assert_nothing_left(sandbox: &Sandbox) {
    for left in ["index.lock", "heddle-move", "HEAD.lock"] {
        assert!(!sandbox.root().join(".git").join(left).exists(), "{left} is left");
    }
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
}

/// Ends what waits for the flag, also if its side of the test panics.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn switching_branches_while_threads_land_moves_no_other_branch() {
    const THREADS: usize = 12;
    let sandbox = Sandbox::new();
    // An ancestor of all that lands: what is checked out could be forwarded to it.
    sandbox.git(&["branch", "other"]);
    sandbox.commit("more");
    let other = sandbox.git(&["rev-parse", "other"]);
    for number in 0..THREADS {
        ready(&sandbox, &format!("t{number}"), &[(&format!("f{number}"), "x\n")]);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let landed = SetWhenDropped(&done);
        scope.spawn(|| {
            let mut switched = 0;
            let limit = Instant::now() + Duration::from_secs(120);
            while (!done.load(Ordering::Relaxed) || switched == 0) && Instant::now() < limit {
                for branch in ["other", "main"] {
                    // Refused while the index is locked, and then tried the next time.
                    let args = ["switch", "--quiet", branch];
                    let status =
                        sandbox.program("git", &sandbox.root(), &args).stderr(Stdio::null()).status();
                    switched += usize::from(status.expect("git").success());
                }
            }
        });
        for number in 0..THREADS {
            let thread = format!("t{number}");
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let answer = sandbox.heddle(&["thread", "land", &thread]);
                assert_eq!(sandbox.git(&["rev-parse", "other"]), other, "{answer:?}");
                if answer.code == 0 {
                    break;
                }
                // In the middle of a switch the checkout has changes.
                assert!(matches!(answer.code, 1 | 4 | 75), "{answer:?}");
                assert!(Instant::now() < deadline, "{answer:?}");
            }
        }
        drop(landed);
    });
    let subjects = sandbox.git(&["log", "--format=%s", "main"]);
    for number in 0..THREADS {
        let landed = subjects.lines().filter(|subject| *subject == format!("t{number}")).count();
        assert_eq!(landed, 1, "{subjects}");
    }
    sandbox.git(&["switch", "--quiet", "main"]);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_nothing_left(&sandbox);
}

#[test]
fn a_checkout_that_comes_to_the_target_while_it_lands_is_brought_along() {
    let sandbox = Sandbox::new();
    if sandbox.format.reftable {
        // No branch moves while HEAD is about to: there is one lock for both.
        return;
    }
    ready(&sandbox, "a", &[("file", "a\n")]);
    land_in_the_middle_of_a_switch(&sandbox);
    assert_eq!(fs::read_to_string(sandbox.root().join("file")).expect("file"), "a\n");

    // Also if all that landed is a submodule that is not to be shown.
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.target", "main"]);
    let link = |at: &str| {
        sandbox.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{at},sub")]);
        sandbox.git(&["commit-tree", "-p", "HEAD", "-m", "x", &sandbox.git(&["write-tree"])])
    };
    let modules = "[submodule \"sub\"]\n\tpath = sub\n\turl = ./x\n\tignore = all\n";
    fs::write(sandbox.root().join(".gitmodules"), modules).expect("write");
    sandbox.git(&["add", ".gitmodules"]);
    let first = link(&sandbox.git(&["rev-parse", "HEAD"]));
    sandbox.git(&["reset", "--quiet", "--hard", &first]);
    let moved = link(&first);
    sandbox.git(&["reset", "--quiet", "--hard"]);
    for kind in ["threads", "ready"] {
        // Nobody owns it: hooks would not let it be made.
        sandbox.git(&["-c", "heddle.hooks=off", "update-ref", &format!("refs/heddle/{kind}/a"), &moved]);
    }
    land_in_the_middle_of_a_switch(&sandbox);
    assert_eq!(sandbox.git(&["diff-index", "--cached", "--ignore-submodules=none", "HEAD"]), "");
}

/// Lands thread `a` while the repository's own checkout is being switched to its target.
#[track_caller]
fn land_in_the_middle_of_a_switch(sandbox: &Sandbox) {
    sandbox.git(&["switch", "--quiet", "--create", "other"]);
    let before = sandbox.git(&["rev-parse", "main"]);
    let (said, home) = (sandbox.home().join("said"), sandbox.home().join("landing"));
    // While the switch has written the index, and is about to move HEAD.
    hook(
        sandbox,
        "reference-transaction",
        &format!(
            "[ \"$1\" = prepared ] || exit 0\ngrep -q ' HEAD$' || exit 0\n[ ! -e '{said}' ] || exit 0\n\
             : >'{said}'\nunset $(git rev-parse --local-env-vars)\ncd '{root}'\n\
             {{ '{heddle}' thread land a >'{home}.out' 2>&1; echo $? >'{home}'; }} &\n\
             while [ \"$(git rev-parse main)\" = {before} ] && [ ! -e '{home}' ]; do sleep 0.01; done\n",
            said = said.display(),
            root = sandbox.root().display(),
            heddle = env!("CARGO_BIN_EXE_git-heddle"),
            home = home.display(),
            before = before.trim(),
        ),
    );
    sandbox.git(&["switch", "--quiet", "main"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    let ended = || fs::read_to_string(&home).unwrap_or_default();
    while !ended().ends_with('\n') {
        assert!(Instant::now() < deadline, "the landing does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = fs::read_to_string(home.with_extension("out")).expect("output");
    assert_eq!(ended(), "0\n", "{told}");
    assert!(told.contains("was brought along"), "{told}");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_nothing_left(sandbox);
}

#[test]
fn a_switch_or_commit_in_the_middle_of_a_landing_finds_the_index_locked() {
    let sandbox = Sandbox::new();
    sandbox.git(&["branch", "other"]);
    ready(&sandbox, "a", &[("file", "a\n")]);
    let said = sandbox.home().join("said");
    // While the branch is about to move.
    hook(
        &sandbox,
        "reference-transaction",
        &format!(
            "[ \"$1\" = prepared ] || exit 0\ngrep -q refs/heads/main || exit 0\n\
             unset $(git rev-parse --local-env-vars)\ncd '{}'\n\
             git switch other 2>>'{said}'; echo \"switch $?\" >>'{said}'\n\
             git commit -am x 2>>'{said}'; echo \"commit $?\" >>'{said}'\nexit 0\n",
            sandbox.root().display(),
            said = said.display(),
        ),
    );
    hook(&sandbox, "post-merge", &format!("echo \"merged $1\" >>'{}'\n", said.display()));
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    let said = fs::read_to_string(said).expect("what git said");
    assert!(said.contains("switch 128") && said.contains("commit 128"), "{said}");
    assert!(said.contains("index.lock") && said.ends_with("merged 0\n"), "{said}");
    assert_eq!(sandbox.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!(sandbox.git(&["reflog", "-1", "--format=%gs", "HEAD"]), "heddle: land a");
    assert_nothing_left(&sandbox);
}

#[test]
fn a_switch_between_the_look_and_the_lock_is_noticed_under_the_lock() {
    let sandbox = Sandbox::new();
    // With the same files, so that the look itself sees nothing of it.
    sandbox.git(&["branch", "other"]);
    let other = sandbox.git(&["rev-parse", "other"]);
    ready(&sandbox, "a", &[("file", "a\n")]);
    let switched = sandbox.home().join("switched");
    // Git asks it what has changed, which is when the landing looks at the checkout.
    hook(
        &sandbox,
        "fsmonitor",
        &format!(
            "printf '/\\0'\n[ -e '{switched}' ] && exit 0\n: >'{switched}'\n\
             unset $(git rev-parse --local-env-vars)\ncd '{}'\n\
             exec git -c core.fsmonitor=false switch --quiet other >/dev/null\n",
            sandbox.root().display(),
            switched = switched.display(),
        ),
    );
    sandbox.git(&["config", "core.fsmonitor", ".git/hooks/fsmonitor"]);
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    sandbox.git(&["config", "--unset", "core.fsmonitor"]);
    assert!(switched.exists());
    assert_eq!(sandbox.git(&["symbolic-ref", "HEAD"]), "refs/heads/other");
    assert_eq!(sandbox.git(&["rev-parse", "other"]), other);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%s", "main"]), "a");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert!(!sandbox.root().join("file").exists());
    assert_nothing_left(&sandbox);
}

#[test]
fn another_commands_lock_on_the_index_is_waited_for_and_never_removed() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
    ready(&sandbox, "a", &[("file", "a\n")]);
    let lock = sandbox.root().join(".git/index.lock");
    fs::write(&lock, "").expect("lock");
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(75);
    assert!(refused.stderr.contains("index.lock"), "{refused:?}");
    assert!(lock.exists());
    fs::remove_file(lock).expect("lock");
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_nothing_left(&sandbox);
}

/// A landing of thread `a`, which changes, adds and removes files, stopped and killed with the
/// git that it started after some files were written.
fn killed_among_files(sandbox: &Sandbox) {
    let (begun, gate) = (sandbox.home().join("begun"), sandbox.home().join("gate"));
    sandbox.program("mkfifo", sandbox.home(), &[gate.to_str().expect("UTF-8")]).status().expect("mkfifo");
    // A filter that writes one file and then waits.
    let filter = format!(
        "cat; [ -e '{begun}' ] || {{ : >'{begun}'; read line <'{gate}'; }}",
        begun = begun.display(),
        gate = gate.display()
    );
    fs::write(sandbox.root().join(".git/info/attributes"), "m filter=slow\n").expect("attributes");
    sandbox.git(&["config", "filter.slow.smudge", &filter]);
    sandbox.git(&["config", "filter.slow.clean", "cat"]);
    fs::remove_file(&begun).ok();
    let mut child: Child = sandbox
        .command(&["thread", "land", "a"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("git-heddle");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !begun.exists() {
        assert!(Instant::now() < deadline, "the filter has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The landing first, and then what it started: found by the parent that they have.
    let tree = descendants(child.id());
    for pid in std::iter::once(child.id()).chain(tree) {
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).ok();
    }
    child.wait().expect("gone");
    sandbox.git(&["config", "filter.slow.smudge", "cat"]);
}

/// The processes that `pid` started, and those that they did.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let below = parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        next.extend(below.clone());
        found.extend(below);
    }
    found
}

/// A repository in which landing `a` changes `b` and `m`, removes `c`, and adds `d/new` and `z`.
fn with_many_changes() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["b", "c", "m", "same"] {
        sandbox.commit(name);
    }
    let reserved = sandbox.reserve("a", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    for name in ["b", "m", "z"] {
        fs::write(path.join(name), format!("{name}, landed\n")).expect("write");
    }
    fs::remove_file(path.join("c")).expect("file");
    fs::create_dir(path.join("d")).expect("folder");
    fs::write(path.join("d/new"), "new\n").expect("write");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", "a"]).exits(0);
    sandbox
}

#[test]
fn a_landing_that_died_among_the_files_is_undone_and_done_by_the_next() {
    let sandbox = with_many_changes();
    let main = sandbox.git(&["rev-parse", "main"]);
    killed_among_files(&sandbox);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), main);
    assert!(sandbox.root().join(".git/index.lock").exists(), "it was in the middle");
    assert_ne!(sandbox.git(&["status", "--porcelain"]), "", "it was in the middle of the files");
    let found = sandbox.heddle(&["--json", "doctor"]);
    assert_eq!(found.json()["findings"][0]["kind"], "unfinished_move", "{found:?}");
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), sandbox.git(&["rev-parse", "refs/heddle/threads/a"]));
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_nothing_left(&sandbox);
}

#[test]
fn what_somebody_changed_after_a_landing_died_is_kept() {
    let sandbox = with_many_changes();
    killed_among_files(&sandbox);
    fs::write(sandbox.root().join("b"), "mine\n").expect("write");
    fs::write(sandbox.root().join("z"), "mine too\n").expect("write");
    fs::write(sandbox.root().join("same"), "and mine\n").expect("write");
    let refused = sandbox.heddle(&["thread", "land", "a"]).exits(1);
    assert!(refused.stderr.contains("has changes in b, same"), "{refused:?}");
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "M b\n M same\n?? z", "all else came back");
    assert_eq!(fs::read_to_string(sandbox.root().join("b")).expect("file"), "mine\n");
    assert_nothing_left(&sandbox);
    sandbox.git(&["checkout", "--quiet", "b", "same"]);
    fs::remove_file(sandbox.root().join("z")).expect("file");
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
}

#[test]
fn whoever_removed_the_lock_by_hand_and_went_on_is_left_alone() {
    let sandbox = with_many_changes();
    killed_among_files(&sandbox);
    fs::remove_file(sandbox.root().join(".git/index.lock")).expect("lock");
    sandbox.git(&["add", "--all"]);
    let before = sandbox.git(&["status", "--porcelain"]);
    sandbox.heddle(&["thread", "land", "a"]).exits(1);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), before);
    assert_nothing_left(&sandbox);
    sandbox.git(&["reset", "--quiet", "--hard"]);
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_landing_waits_for_the_git_that_a_dead_one_started() {
    let sandbox = with_many_changes();
    sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
    let (begun, gate) = (sandbox.home().join("begun"), sandbox.home().join("gate"));
    sandbox.program("mkfifo", sandbox.home(), &[gate.to_str().expect("UTF-8")]).status().expect("mkfifo");
    let filter = format!("cat; : >'{}'; read line <'{}'", begun.display(), gate.display());
    fs::write(sandbox.root().join(".git/info/attributes"), "m filter=slow\n").expect("attributes");
    sandbox.git(&["config", "filter.slow.smudge", &filter]);
    sandbox.git(&["config", "filter.slow.clean", "cat"]);
    let mut child = sandbox.command(&["thread", "land", "a"]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("git-heddle");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !begun.exists() {
        assert!(Instant::now() < deadline, "the filter has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let busy: Answer = sandbox.heddle(&["thread", "land", "a"]).exits(75);
    assert!(busy.stderr.contains("heddle-move"), "{busy:?}");
    sandbox.git(&["config", "filter.slow.smudge", "cat"]);
    sandbox.git(&["config", "heddle.lockTimeout", "20s"]);
    fs::write(&gate, "go\n").expect("gate");
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_nothing_left(&sandbox);
}

#[test]
fn a_branch_whose_checkout_cannot_be_opened_stays_where_it_is() {
    let sandbox = Sandbox::new();
    ready(&sandbox, "a", &[("file", "a\n")]);
    sandbox.git(&["switch", "--quiet", "--create", "elsewhere"]);
    sandbox.git(&["worktree", "add", "--quiet", "../checkout", "main"]);
    sandbox.git(&["config", "extensions.worktreeConfig", "true"]);
    let broken = sandbox.root().join(".git/worktrees/checkout/config.worktree");
    fs::write(&broken, "[broken\n").expect("write");
    // Were it moved alone, the next commit in that checkout would take back what has landed.
    let main = sandbox.git(&["rev-parse", "main"]);
    sandbox.heddle(&["thread", "land", "a", "--into", "main"]).exits(1);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), main);
    fs::remove_file(&broken).expect("file");
    sandbox.heddle(&["thread", "land", "a", "--into", "main"]).exits(0);
    let checkout = sandbox.home().join("checkout");
    assert_eq!(sandbox.git_in(&checkout, &["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(checkout.join("file")).expect("file"), "a\n");
}

/// Lands `thread` from `folder`; what is in the way, with nothing moved.
#[track_caller]
fn obstructed(sandbox: &Sandbox, folder: &std::path::Path, thread: &str) -> String {
    let before = sandbox.git(&["rev-parse", "main"]);
    let refused = sandbox.heddle_in(folder, &["thread", "land", thread]).exits(1);
    assert_eq!(sandbox.git(&["rev-parse", "main"]), before, "{refused:?}");
    assert!(refused.stderr.contains("nothing was moved\nhint: "), "{refused:?}");
    refused.stderr
}

#[test]
fn no_file_lands_in_a_git_directory_that_lies_elsewhere() {
    let sandbox = Sandbox::empty();
    let git_dir = sandbox.home().join("gd");
    let elsewhere = format!("--separate-git-dir={}", git_dir.display());
    sandbox.git(&["init", "--quiet", "--initial-branch=main", &elsewhere]);
    sandbox.commit("first");
    for thread in ["a", "b"] {
        ready(&sandbox, thread, &[(thread, "x\n")]);
    }
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert!(sandbox.root().join("a").exists() && !git_dir.join("a").exists());
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    // From another worktree nothing tells where those files are, until the repository says it.
    let other = sandbox.home().join("other");
    sandbox.git(&["worktree", "add", "--quiet", "--detach", "../other"]);
    assert!(obstructed(&sandbox, &other, "b").contains("cannot be told from here"));
    sandbox.git(&["config", "core.worktree", &sandbox.root().display().to_string()]);
    sandbox.heddle_in(&other, &["thread", "land", "b"]).exits(0);
    assert!(sandbox.root().join("b").exists() && !git_dir.join("b").exists());
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_files_that_the_environment_names_move_along() {
    let sandbox = Sandbox::empty();
    let git_dir = sandbox.home().join("dot.git");
    let at = |path: &std::path::Path| path.display().to_string();
    sandbox.git(&["init", "--quiet", "--bare", "--initial-branch=main", &at(&git_dir)]);
    let (git_dir, files) = (at(&git_dir), at(&sandbox.root()));
    let environment = [("GIT_DIR", &*git_dir), ("GIT_WORK_TREE", &*files)];
    let git = |args: &[&str]| {
        let output = sandbox.program("git", &sandbox.root(), args).envs(environment).output();
        Answer::of(&output.expect("git")).exits(0).stdout
    };
    fs::write(sandbox.root().join(".rc"), "1\n").expect("write");
    git(&["add", ".rc"]);
    git(&["commit", "--quiet", "-m", "first"]);
    let args = ["agent", "reserve", "--thread", "a", "--worktree"];
    let reserved = sandbox.heddle_with(&environment, &args).exits(0).json();
    let worktree = PathBuf::from(text(&reserved, "path"));
    fs::write(worktree.join(".rc"), "2\n").expect("write");
    let session = text(&reserved, "session_id");
    sandbox.heddle_in(&worktree, &["agent", "ready", "--session", &session, "-m", "a"]).exits(0);
    sandbox.heddle_with(&environment, &["thread", "land", "a"]).exits(0);
    assert_eq!(fs::read_to_string(sandbox.root().join(".rc")).expect("file"), "2\n");
    assert_eq!(git(&["status", "--porcelain", "--untracked-files=no"]), "");
}

#[test]
fn a_target_moves_with_all_its_checkouts_or_not_at_all() {
    let sandbox = Sandbox::new();
    ready(&sandbox, "a", &[("file", "a\n")]);
    sandbox.git(&["worktree", "add", "--quiet", "--force", "../second", "main"]);
    let said = obstructed(&sandbox, &sandbox.root(), "a");
    assert!(
        said.contains("more than once") && said.contains("/repo\"") && said.contains("/second\""),
        "{said}"
    );

    sandbox.git(&["switch", "--quiet", "--detach"]);
    sandbox.git(&["worktree", "lock", "--reason", "on a disk", "../second"]);
    let (there, away) = (sandbox.home().join("second"), sandbox.home().join("away"));
    fs::rename(&there, &away).expect("rename");
    let said = obstructed(&sandbox, &sandbox.root(), "a");
    assert!(said.contains("/second\"") && said.contains("locked and not there"), "{said}");
    fs::rename(&away, &there).expect("rename");
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
    assert_eq!(sandbox.git_in(&there, &["status", "--porcelain"]), "");
}

#[test]
fn a_target_that_is_being_rebased_or_bisected_stays_where_it_is() {
    let sandbox = Sandbox::new();
    sandbox.commit("second");
    ready(&sandbox, "a", &[("file", "a\n")]);
    sandbox.git(&["-c", "sequence.editor=sed -i 1s/^/break\\\\n/", "rebase", "--quiet", "-i", "HEAD~1"]);
    let said = obstructed(&sandbox, &sandbox.root(), "a");
    assert!(said.contains("being rebased at") && said.contains("--abort"), "{said}");
    sandbox.git(&["rebase", "--abort"]);
    sandbox.git(&["bisect", "start"]);
    let said = obstructed(&sandbox, &sandbox.root(), "a");
    assert!(said.contains("being bisected at") && said.contains("git bisect reset"), "{said}");
    sandbox.git(&["bisect", "reset"]);
    sandbox.heddle(&["thread", "land", "a"]).exits(0);
}

#[test]
fn a_submodule_that_moves_with_the_files_is_taken_back_with_them() {
    let sandbox = Sandbox::new();
    let (root, module) = (sandbox.root(), sandbox.home().join("module"));
    sandbox.git(&["init", "--quiet", "-b", "main", &module.to_string_lossy()]);
    sandbox.git_in(&module, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    sandbox.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../module", "sub"]);
    sandbox.git(&["commit", "--quiet", "-m", "A submodule"]);
    sandbox.git_in(&module, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    let two = sandbox.git_in(&module, &["rev-parse", "HEAD"]);
    sandbox.git_in(&root.join("sub"), &["fetch", "--quiet"]);
    sandbox.git(&["config", "submodule.recurse", "true"]);
    // A worktree is made without its submodules, as by `git worktree add`.
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    sandbox.git_in(&path, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"]);
    sandbox.git_in(&path.join("sub"), &["checkout", "--quiet", &two]);
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session, "-m", "two"]).exits(0);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    let refuses = "[ \"$1\" = prepared ] && grep -q refs/heads/main && exit 1; exit 0\n";
    hook(&sandbox, "reference-transaction", refuses);
    sandbox.heddle(&["thread", "land", "t"]).exits(1);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_nothing_left(&sandbox);
    fs::remove_file(root.join(".git/hooks/reference-transaction")).expect("the hook");
    sandbox.heddle(&["thread", "land", "t"]).exits(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!(sandbox.git_in(&root.join("sub"), &["rev-parse", "HEAD"]), two);
}

#[test]
fn a_checkout_that_is_on_the_target_by_a_symbolic_branch_moves_along() {
    let sandbox = Sandbox::new();
    ready(&sandbox, "a", &[("file", "a\n")]);
    sandbox.git(&["symbolic-ref", "refs/heads/trunk", "refs/heads/main"]);
    sandbox.git(&["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    sandbox.heddle(&["thread", "land", "a", "--into", "main"]).exits(0);
    assert_eq!(sandbox.git(&["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(sandbox.root().join("file")).expect("file"), "a\n");
    assert_eq!(sandbox.git(&["symbolic-ref", "--no-recurse", "HEAD"]), "refs/heads/trunk");
}
