//! Worktrees made with a reservation: made whole or not at all, followed by captures, handed
//! on, and removed only when nothing can be lost.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Answer, Sandbox, assert_same, put, snapshot_of, text};
use support_program::write_program;

/// A session with a worktree of its own.
struct Work {
    sandbox: Sandbox,
    session: String,
    path: PathBuf,
}

impl Work {
    fn new() -> Self {
        Self::on(Sandbox::new())
    }

    fn on(sandbox: Sandbox) -> Self {
        let reserved = sandbox.reserve("fix/login", &["--worktree"]);
        let session = text(&reserved, "session_id");
        let path = PathBuf::from(text(&reserved, "path"));
        Self { sandbox, session, path }
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path.join(name), content).expect("write");
    }

    fn agent(&self, verb: &str, more: &[&str]) -> Answer {
        let args = [&["agent", verb, "--session", &self.session], more].concat();
        self.sandbox.heddle_in(&self.path, &args)
    }

    /// Captures, which has to succeed; the commit.
    #[track_caller]
    fn capture(&self, more: &[&str]) -> String {
        let args = [&["-m", "work"], more].concat();
        text(&self.agent("capture", &args).exits(0).json(), "commit")
    }

    fn status(&self) -> String {
        self.sandbox.git_in(&self.path, &["status", "--porcelain"])
    }

    fn tip(&self) -> String {
        self.sandbox.git(&["rev-parse", "refs/heddle/threads/fix/login"])
    }

    /// Releases from outside; what was said.
    #[track_caller]
    fn release(&self) -> Answer {
        self.sandbox.heddle(&["agent", "release", "--session", &self.session]).exits(0)
    }

    fn is_registered(&self) -> bool {
        worktrees(&self.sandbox).contains(&self.path)
    }
}

fn worktrees(sandbox: &Sandbox) -> Vec<PathBuf> {
    let list = sandbox.git(&["worktree", "list", "--porcelain", "-z"]);
    list.split('\0').filter_map(|line| line.strip_prefix("worktree ")).map(PathBuf::from).collect()
}

/// A process that has `folder` as its working directory until it is killed.
fn inhabit(folder: &Path) -> Inhabitant {
    let mut sleep = Command::new("sleep");
    sleep.arg("600").current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Inhabitant(sleep.spawn().expect("sleep"))
}

struct Inhabitant(Child);

impl Drop for Inhabitant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_worktree_is_made_at_the_tip_beside_the_repository() {
    let work = Work::new();
    let home = work.sandbox.home().canonicalize().expect("home");
    assert_eq!(work.path, home.join("repo.heddle/fix%2Flogin"));
    assert_eq!(work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]), work.tip());
    assert_eq!(work.sandbox.git_in(&work.path, &["branch", "--show-current"]), "");
    assert_eq!(work.status(), "");
    assert_eq!(fs::read_to_string(work.path.join("first")).expect("file"), "first\n");
    assert_eq!(work.sandbox.git(&["status", "--porcelain"]), "");
    let shown = work.sandbox.heddle(&["agent", "show", &work.session]).exits(0).json();
    assert_eq!(shown["path"], work.path.to_str().expect("UTF-8"));
    let locked = work.sandbox.git(&["worktree", "list", "--porcelain"]);
    assert!(!locked.contains("locked"), "{locked}");
}

#[test]
fn a_path_and_a_configured_folder_are_heeded() {
    let sandbox = Sandbox::new();
    let home = sandbox.home().canonicalize().expect("home");
    let there = text(&sandbox.reserve("a", &["--worktree=../here/a tree"]), "path");
    assert_eq!(Path::new(&there), home.join("repo/../here/a tree").canonicalize().expect("made"));
    sandbox.git(&["config", "heddle.worktreeDir", "trees"]);
    assert_eq!(Path::new(&text(&sandbox.reserve("b/c", &["--worktree"]), "path")), home.join("trees/b%2Fc"));
    sandbox.git(&["config", "heddle.worktreeDir", "~/elsewhere"]);
    let path = text(&sandbox.reserve("d", &["--worktree"]), "path");
    assert_eq!(Path::new(&path).canonicalize().expect("made"), home.join("elsewhere/d"));
}

#[test]
fn capture_moves_head_and_index_along_and_status_is_clean() {
    let work = Work::new();
    work.write("first", "second\n");
    work.write("new", "new\n");
    let commit = work.capture(&[]);
    assert_eq!(work.status(), "");
    assert_eq!(work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]), commit);
    assert_eq!(work.tip(), commit);
    let log = work.sandbox.git_in(&work.path, &["reflog", "-1", "--format=%gs", "HEAD"]);
    assert!(log.starts_with("heddle: capture"), "{log}");
    // The same size within the same second: only the time of the index tells.
    work.write("first", "sekond\n");
    let next = work.capture(&[]);
    assert_eq!(work.sandbox.git(&["show", &format!("{next}:first")]), "sekond");
    assert_eq!(work.status(), "");
    assert_eq!(work.sandbox.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_capture_of_some_paths_leaves_what_else_is_staged() {
    let work = Work::new();
    work.write("first", "staged\n");
    work.sandbox.git_in(&work.path, &["add", "first"]);
    work.write("first", "unstaged\n");
    work.write("new", "new\n");
    work.capture(&["--", "new"]);
    assert_eq!(work.status(), "MM first");
    assert_eq!(work.sandbox.git_in(&work.path, &["show", ":first"]), "staged");
}

#[test]
fn what_was_staged_of_the_captured_paths_is_staged_no_more() {
    let work = Work::new();
    for name in ["mode", "back", "out", "c", "other"] {
        work.write(name, "1\n");
    }
    let tip = work.capture(&[]);
    let peer = work.sandbox.home().join("peer");
    work.sandbox.git(&["worktree", "add", "-q", "--detach", peer.to_str().expect("UTF-8"), &tip]);
    let named = [&["mode", "back", "gone", "out", "c"][..], &["[!o]*", "out"], &["mode", "c"]];
    for (content, paths) in ["2\n", "3\n", "4\n"].iter().zip(named) {
        // As git commit --only leaves it.
        let [here, there] = [&work.path, &peer].map(|folder| {
            let git = |args: &[&str]| work.sandbox.git_in(folder, args);
            let write = |name: &str, content: &str| fs::write(folder.join(name), content).expect("write");
            for (name, content) in [("other", "2\n"), ("back", "2\n"), ("gone", "2\n")] {
                write(name, content);
            }
            git(&["add", "other", "back", "gone"]);
            git(&["update-index", "--chmod=+x", "mode"]);
            git(&["rm", "-q", "--cached", "out"]);
            write("back", "1\n");
            write("c", content);
            fs::remove_file(folder.join("gone")).expect("removed");
            if *folder == work.path {
                work.capture(&[&["--"], paths].concat());
            } else {
                git(&[&["commit", "-q", "--only", "-m", "x", "--"], paths].concat());
            }
            let left = (git(&["status", "--porcelain"]), git(&["ls-files", "-s"]));
            git(&["reset", "-q", "--hard"]);
            left
        });
        assert_eq!(here, there, "{paths:?}");
    }
}

#[test]
fn commits_made_by_hand_are_adopted() {
    let work = Work::new();
    work.write("new", "new\n");
    work.sandbox.git_in(&work.path, &["add", "new"]);
    work.sandbox.git_in(&work.path, &["commit", "--quiet", "--message", "by hand"]);
    let by_hand = work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]);
    let ready = work.agent("ready", &[]).exits(0).json();
    assert_eq!(ready["commit"], by_hand.as_str());
    assert_eq!(work.tip(), by_hand);
    assert_eq!(work.status(), "");
}

#[test]
fn commits_on_a_branch_are_adopted_and_the_branch_is_left_alone() {
    let work = Work::new();
    work.sandbox.git_in(&work.path, &["switch", "--quiet", "--create", "mine"]);
    work.write("new", "new\n");
    work.sandbox.git_in(&work.path, &["add", "new"]);
    work.sandbox.git_in(&work.path, &["commit", "--quiet", "--message", "by hand"]);
    let by_hand = work.sandbox.git(&["rev-parse", "mine"]);
    work.write("more", "more\n");
    let commit = work.capture(&[]);
    assert_eq!(work.sandbox.git(&["rev-parse", &format!("{commit}~")]), by_hand);
    assert_eq!(work.sandbox.git(&["rev-parse", "mine"]), by_hand);
    assert_eq!(work.sandbox.git_in(&work.path, &["branch", "--show-current"]), "mine");
}

#[test]
fn rewritten_history_is_refused_and_nothing_changes() {
    let work = Work::new();
    work.write("new", "new\n");
    let commit = work.capture(&[]);
    work.sandbox.git_in(
        &work.path,
        &["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--amend", "--message", "other"],
    );
    let before = snapshot_of(work.sandbox.home());
    let refused = work.agent("capture", &["-m", "x"]).exits(4);
    assert!(refused.stderr.contains("HEAD is at"), "{refused:?}");
    assert!(refused.stderr.contains("git checkout --detach refs/heddle/threads/fix/login\n"), "{refused:?}");
    assert_same(&before, &snapshot_of(work.sandbox.home()));
    assert_eq!(work.tip(), commit);
}

#[test]
fn a_capture_from_another_worktree_is_refused_naming_the_right_one() {
    let work = Work::new();
    let refused = work.sandbox.heddle(&["agent", "capture", "--session", &work.session, "-m", "x"]).exits(4);
    let hint = format!("hint: run it there: git -C {} heddle agent capture", work.path.display());
    assert!(refused.stderr.contains(&hint), "{refused:?}");
}

#[test]
fn what_a_killed_capture_left_behind_follows_with_the_next() {
    let work = Work::new();
    let before = work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]);
    work.write("first", "second\n");
    let old_index = fs::read(git_dir(&work).join("index")).expect("index");
    let commit = work.capture(&[]);
    // As if the process had died after the thread moved: HEAD and index as before.
    fs::write(git_dir(&work).join("HEAD"), format!("{before}\n")).expect("HEAD");
    fs::write(git_dir(&work).join("index"), old_index).expect("index");
    let binding = git_dir(&work).join("heddle-worktree.json");
    let record = fs::read_to_string(&binding).expect("binding");
    let mut record: serde_json::Value = serde_json::from_str(&record).expect("a record");
    record["base_head"] = before.as_str().into();
    fs::write(&binding, record.to_string()).expect("binding");
    assert_eq!(work.agent("capture", &["-m", "x"]).exits(0).json()["captured"], false);
    assert_eq!(work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]), commit);
    assert_eq!(work.status(), "");
}

fn git_dir(work: &Work) -> PathBuf {
    work.sandbox.git_in(&work.path, &["rev-parse", "--absolute-git-dir"]).into()
}

#[test]
fn a_clean_worktree_goes_with_its_session() {
    let work = Work::new();
    work.write("new", "new\n");
    work.capture(&[]);
    let answer = work.release();
    assert_eq!(answer.stderr, "");
    assert_eq!(answer.json()["path"], serde_json::Value::Null);
    assert!(!work.path.exists());
    assert!(!work.path.parent().expect("folder").exists(), "nothing else was in it");
    assert_eq!(worktrees(&work.sandbox).len(), 1);
}

#[test]
fn a_worktree_with_work_in_it_stays_and_says_why() {
    let check = |make: &dyn Fn(&Work), word: &str| {
        let work = Work::new();
        make(&work);
        let answer = work.release();
        assert!(answer.stderr.contains("stays") && answer.stderr.contains(word), "{answer:?}");
        assert!(work.path.join("first").exists() && work.is_registered(), "{answer:?}");
    };
    check(&|work| work.write("new", "new\n"), "new");
    check(&|work| work.write("first", "second\n"), "first");
    check(
        &|work| {
            let around = ["-c", "core.hooksPath=/dev/null"];
            let commit = ["commit", "--quiet", "--allow-empty", "--message", "by hand"];
            work.sandbox.git_in(&work.path, &[&around[..], &commit].concat());
        },
        "not on the thread",
    );
    check(
        &|work| {
            let path = work.path.to_str().expect("UTF-8");
            work.sandbox.git(&["worktree", "lock", "--reason", "on a stick", path]);
        },
        "on a stick",
    );
    check(
        &|work| {
            work.sandbox.git_in(&work.path, &["bisect", "start"]);
        },
        "bisect",
    );
}

#[test]
fn a_worktree_that_somebody_works_in_stays() {
    let work = Work::new();
    fs::create_dir(work.path.join("empty")).expect("folder");
    let child = inhabit(&work.path.join("empty"));
    let answer = work.release();
    assert!(answer.stderr.contains("sleep"), "{answer:?}");
    assert!(work.is_registered());
    drop(child);
}

#[test]
fn the_git_that_runs_the_release_in_the_worktree_does_not_keep_it() {
    let work = Work::new();
    let path = work.path.to_str().expect("UTF-8");
    let args = ["-C", path, "heddle", "agent", "release", "--session", &work.session];
    work.sandbox.git(&args);
    assert!(!work.path.exists() && !work.is_registered());
}

#[test]
fn what_removes_the_worktree_that_it_is_called_in_goes_on_to_its_end() {
    let sandbox = Sandbox::new();
    let path = |thread: &str| sandbox.home().join("repo.heddle").join(thread);
    for thread in ["a", "b", "c"] {
        let session = text(&sandbox.reserve(thread, &["--worktree"]), "session_id");
        sandbox.heddle(&["agent", "capture", "--session", &session, "--allow-empty", "-m", "x"]);
        let inhabitant = inhabit(&path(thread));
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        drop(inhabitant);
        assert!(path(thread).exists());
    }
    sandbox.git(&["config", "heddle.retention", "0"]);
    let collected = sandbox.heddle_in(&path("a"), &["gc"]).exits(0);
    for what in ["worktree", "thread"] {
        for thread in ["a", "b", "c"] {
            let name = if what == "thread" { thread.to_owned() } else { path(thread).display().to_string() };
            let line = format!("removed {what} {name}\n");
            assert!(collected.stdout.contains(&line), "{line}{collected:?}");
        }
    }
    assert_eq!((collected.stderr.as_str(), worktrees(&sandbox).len()), ("", 1));
    let work = Work::new();
    work.capture(&["--allow-empty"]);
    let dropped = work.sandbox.heddle_in(&work.path, &["thread", "drop", "fix/login", "--force"]).exits(0);
    assert!(dropped.stderr.is_empty() && !work.path.exists(), "{dropped:?}");
    work.sandbox.heddle(&["doctor"]).exits(0);
}

#[test]
fn ignored_files_do_not_keep_a_worktree() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.root().join(".gitignore"), "target\n").expect("write");
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "ignore"]);
    let work = Work::on(sandbox);
    fs::create_dir(work.path.join("target")).expect("folder");
    work.write("target/built", "x");
    work.release();
    assert!(!work.path.exists());
}

#[test]
fn a_moved_worktree_is_found_by_its_id() {
    let work = Work::new();
    let path = work.path.to_str().expect("UTF-8");
    work.sandbox.git(&["worktree", "move", path, "../moved"]);
    let moved = work.sandbox.home().canonicalize().expect("home").join("moved");
    fs::write(moved.join("new"), "new\n").expect("write");
    let args = ["agent", "capture", "--session", &work.session, "-m", "work"];
    work.sandbox.heddle_in(&moved, &args).exits(0);
    let shown = work.sandbox.heddle(&["agent", "show", &work.session]).exits(0).json();
    assert_eq!(shown["path"], moved.to_str().expect("UTF-8"));
    work.release();
    assert!(!moved.exists());
}

#[test]
fn a_worktree_deleted_by_hand_is_forgotten_and_made_anew() {
    let work = Work::new();
    fs::remove_dir_all(&work.path).expect("deleted");
    let ready = work.sandbox.heddle(&["agent", "ready", "--session", &work.session]).exits(7);
    assert!(ready.stderr.contains("is gone"), "{ready:?}");
    assert_eq!(work.release().stderr, "");
    assert_eq!(worktrees(&work.sandbox).len(), 1);

    let again = Work::on(work.sandbox);
    fs::remove_dir_all(&again.path).expect("deleted");
    again.sandbox.heddle(&["agent", "release", "--session", &again.session, "--force"]).exits(0);
    let third = Work::on(again.sandbox);
    assert_eq!(third.status(), "");
}

#[test]
fn a_worktree_is_handed_on_clean_to_the_next_owner() {
    let work = Work::new();
    work.write("new", "new\n");
    let commit = work.capture(&[]);
    let child = inhabit(&work.path);
    work.release();
    assert!(work.is_registered());

    let args = ["agent", "reserve", "--thread", "fix/login", "--worktree", "--resume"];
    let refused = work.sandbox.refused(1, &args);
    assert!(refused.stderr.contains("still in use by process"), "{refused:?}");
    assert!(
        work.sandbox.heddle(&["agent", "list", "--alive-only"]).json().as_array().is_some_and(Vec::is_empty)
    );
    drop(child);

    let next = work.sandbox.heddle(&args).exits(0).json();
    assert_eq!(next["path"], work.path.to_str().expect("UTF-8"));
    assert_eq!(work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]), commit);
    let late = work.agent("capture", &["-m", "late"]).exits(5);
    assert!(late.stderr.contains("no longer active"), "{late:?}");
}

#[test]
fn a_worktree_left_dirty_is_handed_on_only_as_it_is() {
    let work = Work::new();
    work.write("left", "over\n");
    work.release();
    let args = ["agent", "reserve", "--thread", "fix/login", "--worktree"];
    let refused = work.sandbox.refused(1, &args);
    assert!(refused.stderr.contains("uncommitted changes in left"), "{refused:?}");
    let taken = work.sandbox.heddle(&[&args[..], &["--resume"]].concat()).exits(0);
    assert!(taken.stderr.contains("taken over as it was left"), "{taken:?}");
    let session = text(&taken.json(), "session_id");
    let args = ["agent", "capture", "--session", &session, "-m", "mine now"];
    let captured = work.sandbox.heddle_in(&work.path, &args).exits(0).json();
    assert_eq!(captured["changed_paths"], serde_json::json!(["left"]));
}

#[test]
fn commits_made_by_hand_are_handed_on_and_adopted() {
    let work = Work::new();
    work.write("hand", "made\n");
    work.sandbox.git_in(&work.path, &["add", "hand"]);
    work.sandbox.git_in(&work.path, &["commit", "--quiet", "--message", "by hand"]);
    let by_hand = work.sandbox.git_in(&work.path, &["rev-parse", "HEAD"]);
    work.release();
    let args = ["agent", "reserve", "--thread", "fix/login", "--worktree", "--resume"];
    let session = text(&work.sandbox.heddle(&args).exits(0).json(), "session_id");
    let beat = work.sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0).json();
    // With hooks it landed when it was made.
    let left = if support::hooks::wanted() { Value::Null } else { Value::from(by_hand.clone()) };
    assert_eq!(beat["unadopted"]["head"], left);
    work.write("more", "more\n");
    let args = ["agent", "capture", "--session", &session, "-m", "mine now"];
    let captured = work.sandbox.heddle_in(&work.path, &args).exits(0).json();
    let commit = text(&captured, "commit");
    // On top of it, not instead of it.
    assert_eq!(work.sandbox.git(&["rev-parse", &format!("{commit}^")]), by_hand);
    assert_eq!(work.status(), "");
}

#[test]
fn a_failure_leaves_no_worktree_no_session_and_no_ref() {
    let sandbox = Sandbox::new();
    let args = ["agent", "reserve", "--thread", "t", "--worktree"];
    let gone = |sandbox: &Sandbox, answer: &Answer| {
        assert_eq!(worktrees(sandbox).len(), 1, "{answer:?}");
        assert!(!sandbox.home().join("repo.heddle").exists(), "{answer:?}");
        assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle"]), "", "{answer:?}");
        assert!(!sandbox.root().join(".git/logs/refs/heddle/threads/t").exists(), "{answer:?}");
        assert_eq!(sandbox.heddle(&["agent", "list"]).exits(0).json(), serde_json::json!([]));
        assert_eq!(sandbox.heddle(&["doctor", "--json"]).exits(0).json()["findings"], serde_json::json!([]));
    };

    // Git ends every command with such a value, also those that would take anything back.
    let mut command = sandbox.command(&args);
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.abbrev")
        .env("GIT_CONFIG_VALUE_0", " ");
    let answer = Answer::of(&command.output().expect("reserve")).exits(1);
    assert!(answer.stderr.contains("core.abbrev"), "{answer:?}");
    gone(&sandbox, &answer);

    sandbox.git(&["config", "heddle.worktreeSetup", "echo out of luck; exit 3"]);
    let answer = sandbox.heddle(&args).exits(1);
    assert!(
        answer.stderr.contains("heddle.worktreeSetup") && answer.stderr.contains("exit code 3"),
        "{answer:?}"
    );
    gone(&sandbox, &answer);
    sandbox.git(&["config", "--unset", "heddle.worktreeSetup"]);

    let hook = sandbox.root().join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
    write_program(&hook, "#!/bin/sh\nexit 1\n");
    let answer = sandbox.heddle(&args).exits(1);
    gone(&sandbox, &answer);
    fs::remove_file(&hook).expect("removed");

    fs::write(sandbox.home().join("repo.heddle"), "in the way").expect("file");
    let answer = sandbox.heddle(&args);
    assert_eq!(answer.code, 1, "{answer:?}");
    fs::remove_file(sandbox.home().join("repo.heddle")).expect("file");
    gone(&sandbox, &answer);

    // A generation that was given out is not given out again.
    assert_eq!(sandbox.reserve("t", &["--worktree"])["generation"], 4);
}

#[test]
fn a_document_has_the_path_itself_and_people_see_it_quoted() {
    let sandbox = Sandbox::new();
    let odd = sandbox.home().canonicalize().expect("a path").join("a \"b\\\tc");
    let option = format!("--worktree={}", odd.display());
    let reserved = sandbox.reserve("t", &[&option]);
    let id = text(&reserved, "session_id");
    let shown = sandbox.heddle(&["agent", "show", &id, "--json"]).exits(0).json();
    let listed = sandbox.heddle(&["thread", "list", "--json"]).exits(0).json();
    let listed = &listed[0]["worktrees"][0]["path"];
    for path in [&reserved["path"], &shown["path"], listed] {
        assert!(path.as_str().is_some_and(|path| Path::new(path) == odd && odd.is_dir()), "{path}");
    }
    let lines = sandbox.heddle(&["thread", "list", "--porcelain"]).exits(0).stdout;
    assert!(lines.contains("/a \\\"b\\\\\\tc\"\n"), "{lines}");
    let dropped = sandbox.heddle(&["thread", "drop", "t", "--force", "--json"]).exits(0).json();
    assert_eq!(dropped["worktree"].as_str().map(Path::new), Some(odd.as_path()));
}

#[test]
fn a_path_that_no_record_can_hold_is_refused_as_such() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new();
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    let before = sandbox.snapshot();
    let mut option = std::ffi::OsString::from("--worktree=../");
    option.push(odd);
    let mut command = sandbox.command(&["agent", "reserve", "--thread", "t"]);
    let answer = Answer::of(&command.arg(option).output().expect("git-heddle")).exits(1);
    assert!(answer.stderr.contains("it is not UTF-8"), "{answer:?}");
    assert_same(&before, &sandbox.snapshot());
    // Nor is anything damaged in a repository that lies at such a path.
    let there = sandbox.home().join(odd);
    fs::rename(sandbox.root(), &there).expect("rename");
    let run = |args: &[&str]| {
        Answer::of(
            &sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), &there, args).output().expect("git-heddle"),
        )
    };
    let reserved = run(&["agent", "reserve", "--thread", "t"]).exits(0).json();
    for args in [
        &["agent", "reserve", "--thread", "u", "--worktree"][..],
        &["agent", "capture", "--session", &text(&reserved, "session_id"), "-m", "x"],
    ] {
        put(&there, "file", "text\n");
        let answer = run(args).exits(1);
        assert!(answer.stderr.contains("not UTF-8") && !answer.stderr.contains("damaged"), "{answer:?}");
    }
}

#[test]
fn a_path_that_is_taken_is_refused_and_nothing_changes() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.home().join("taken")).expect("folder");
    fs::write(sandbox.home().join("taken/file"), "mine").expect("file");
    let args = ["agent", "reserve", "--thread", "t", "--worktree=../taken"];
    assert!(sandbox.refused(1, &args).stderr.contains("it exists"));
    let inside = ["agent", "reserve", "--thread", "t", "--worktree=.git/tree"];
    assert!(sandbox.refused(1, &inside).stderr.contains("lies in the Git directory"));
    assert!(
        sandbox
            .refused(2, &["agent", "reserve", "--thread", "t", "--worktree="])
            .stderr
            .contains("--worktree")
    );
    assert_eq!(fs::read_to_string(sandbox.home().join("taken/file")).expect("file"), "mine");
}

#[test]
fn a_thread_named_like_a_lock_of_heddles_own_has_its_own_lock() {
    let sandbox = Sandbox::new();
    sandbox.reserve("worktrees", &["--worktree"]);
    sandbox.reserve("land", &["--worktree"]);
}

#[test]
fn ignored_files_are_copied_and_linked_where_git_ignores_them_too() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    fs::write(root.join(".gitignore"), ".env*\nnode_modules\nvendor/\n*.key\n").expect("write");
    sandbox.git(&["add", ".gitignore"]);
    sandbox.git(&["commit", "--quiet", "--message", "ignore"]);
    for folder in ["node_modules/a", "vendor", "deep/er"] {
        fs::create_dir_all(root.join(folder)).expect("folder");
    }
    for (file, content) in
        [(".env", "A"), ("node_modules/a/x", "x"), ("vendor/v", "v"), ("deep/er/my.key", "k"), ("plain", "p")]
    {
        fs::write(root.join(file), content).expect("write");
    }
    fs::set_permissions(root.join(".env"), fs::Permissions::from_mode(0o600)).expect("mode");
    for pattern in [".env", "*.key", "plain"] {
        sandbox.git(&["config", "--add", "heddle.worktreeCopy", pattern]);
    }
    for pattern in ["node_modules", "vendor"] {
        sandbox.git(&["config", "--add", "heddle.worktreeLink", pattern]);
    }
    let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "fix/login", "--worktree"]).exits(0);
    // A link is no folder, so `vendor/` does not cover it.
    assert!(reserved.stderr.contains("\"vendor\" was not brought"), "{reserved:?}");
    let path = PathBuf::from(text(&reserved.json(), "path"));
    assert_eq!(fs::read_to_string(path.join(".env")).expect("copied"), "A");
    assert_eq!(fs::metadata(path.join(".env")).expect("copied").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(path.join("deep/er/my.key")).expect("copied"), "k");
    assert_eq!(
        fs::read_link(path.join("node_modules")).expect("link"),
        root.join("node_modules").canonicalize().expect("path")
    );
    assert!(!path.join("vendor").exists() && !path.join("plain").exists());
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    // The link goes with the worktree, what it leads to stays.
    sandbox.heddle(&["agent", "release", "--session", &text(&reserved.json(), "session_id")]).exits(0);
    assert!(!path.exists() && root.join("node_modules/a/x").exists());
}

#[test]
fn nothing_is_written_through_a_link_of_the_commit() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.home().join("outside")).expect("folder");
    std::os::unix::fs::symlink("../../outside", sandbox.root().join("dir")).expect("link");
    fs::write(sandbox.root().join(".gitignore"), "secret\n").expect("write");
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "link"]);
    fs::remove_file(sandbox.root().join("dir")).expect("link");
    fs::create_dir(sandbox.root().join("dir")).expect("folder");
    fs::write(sandbox.root().join("dir/secret"), "s").expect("write");
    sandbox.git(&["config", "heddle.worktreeCopy", "secret"]);
    sandbox.git(&["config", "--add", "heddle.worktreeCopy", "dir/secret"]);
    sandbox.reserve("t", &["--worktree"]);
    assert!(!sandbox.home().join("outside/secret").exists());
}

#[test]
fn the_setup_commands_run_once_in_the_worktree() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.root().join(".git/info/exclude"), "built\n").expect("write");
    sandbox.git(&["config", "heddle.worktreeSetup", "echo $HEDDLE_THREAD $HEDDLE_SESSION >>built"]);
    let work = Work::on(sandbox);
    let built = fs::read_to_string(work.path.join("built")).expect("built");
    assert_eq!(built, format!("fix/login {}\n", work.session));
}

#[test]
fn hooks_that_git_looks_for_in_an_ignored_folder_are_brought_along() {
    let sandbox = Sandbox::new();
    let hooks = sandbox.root().join(".husky/_");
    fs::create_dir_all(&hooks).expect("folder");
    fs::write(hooks.join(".gitignore"), "*\n").expect("write");
    write_program(
        hooks.join("pre-commit"),
        "#!/bin/sh\necho ran >\"$(git rev-parse --git-common-dir)/ran\"\n",
    );
    sandbox.git(&["config", "core.hooksPath", ".husky/_"]);
    let work = Work::on(sandbox);
    assert_eq!(work.status(), "");
    work.write("new", "new\n");
    work.capture(&[]);
    assert!(work.sandbox.root().join(".git/ran").exists(), "the hook ran");
    assert_eq!(work.status(), "");
}

#[test]
fn sparse_checkouts_and_submodules_come_along() {
    let sandbox = Sandbox::new();
    let module = sandbox.home().join("module");
    sandbox.git_in(sandbox.home(), &["init", "--quiet", "module"]);
    sandbox.git_in(&module, &["commit", "--quiet", "--allow-empty", "--message", "m"]);
    sandbox.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../module", "sub"]);
    for folder in ["in", "out"] {
        fs::create_dir(sandbox.root().join(folder)).expect("folder");
        fs::write(sandbox.root().join(folder).join("file"), folder).expect("write");
    }
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "--quiet", "--message", "more"]);
    sandbox.git(&["sparse-checkout", "set", "in"]);
    let work = Work::on(sandbox);
    assert!(work.path.join("in/file").exists() && !work.path.join("out/file").exists());
    assert_eq!(work.status(), "");

    // A commit that only the worktree's own copy of the submodule has would go with it.
    work.sandbox.git_in(
        &work.path,
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"],
    );
    work.sandbox.git_in(&work.path.join("sub"), &["commit", "--quiet", "--allow-empty", "--message", "only"]);
    work.capture(&[]);
    assert_eq!(work.status(), "");
    let answer = work.release();
    assert!(answer.stderr.contains("submodule"), "{answer:?}");
    assert!(work.path.join("sub/.git").exists());
}

#[test]
fn bare_repositories_and_linked_worktrees_have_worktrees_too() {
    let sandbox = Sandbox::new();
    let home = sandbox.home().canonicalize().expect("home");
    sandbox.git(&["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let bare = home.join("bare.git");
    let args = ["agent", "reserve", "--thread", "t", "--worktree"];
    let reserved = sandbox.heddle_in(&bare, &args).exits(0).json();
    let path = PathBuf::from(text(&reserved, "path"));
    assert_eq!(path, home.join("bare.heddle/t"));
    fs::write(path.join("new"), "new\n").expect("write");
    let session = text(&reserved, "session_id");
    sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    sandbox.heddle_in(&bare, &["agent", "release", "--session", &session]).exits(0);
    assert!(!path.exists());

    sandbox.git(&["worktree", "add", "--quiet", "../linked"]);
    let reserved = sandbox.heddle_in(&home.join("linked"), &args).exits(0).json();
    assert_eq!(Path::new(&text(&reserved, "path")), home.join("repo.heddle/t"));
}

#[test]
fn what_a_killed_reserve_left_half_made_is_made_anew() {
    let sandbox = Sandbox::new();
    let slow = sandbox.home().join("slow");
    assert!(sandbox.program("mkfifo", sandbox.home(), &["slow"]).status().expect("mkfifo").success());
    let command = format!("echo begun >begun; read x <'{}'", slow.display());
    sandbox.git(&["config", "heddle.worktreeSetup", &command]);
    let args = ["agent", "reserve", "--thread", "t", "--worktree"];
    let mut maker = sandbox.command(&args).stdout(Stdio::null()).spawn().expect("git-heddle");
    let begun = sandbox.home().join("repo.heddle/t/begun");
    while !begun.exists() {
        std::thread::yield_now();
        assert!(maker.try_wait().expect("running").is_none());
    }
    // Somebody else who asks for it is told; nobody touches what is being made.
    let other = sandbox.heddle(&args).exits(3);
    assert_eq!(other.json()["kind"], "live_owner");
    maker.kill().expect("killed");
    maker.wait().expect("gone");
    fs::write(&slow, "").err();

    sandbox.git(&["config", "--unset", "heddle.worktreeSetup"]);
    let id = text(&other.json()["owner"], "session_id");
    sandbox.heddle(&["agent", "release", "--session", &id, "--force"]).exits(0);
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let path = PathBuf::from(text(&reserved, "path"));
    assert!(path.join("first").exists() && !path.join("begun").exists());
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    assert_eq!(worktrees(&sandbox).len(), 2);
}

#[test]
fn many_at_once_each_get_a_worktree() {
    let sandbox = Sandbox::new();
    let children: Vec<Child> = (0..12)
        .map(|number| {
            let thread = format!("t{}", number / 2);
            sandbox
                .command(&["agent", "reserve", "--thread", &thread, "--worktree"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("git-heddle")
        })
        .collect();
    let answers: Vec<Answer> =
        children.into_iter().map(|child| Answer::of(&child.wait_with_output().expect("ended"))).collect();
    let won = answers.iter().filter(|answer| answer.code == 0).count();
    assert_eq!(won, 6, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.code, 0 | 3)), "{answers:?}");
    assert_eq!(worktrees(&sandbox).len(), 7);
    sandbox.git(&["fsck", "--strict"]);
}

#[test]
fn a_git_that_outlives_the_one_that_makes_a_worktree_is_waited_for() {
    let mut sandbox = Sandbox::new();
    for number in 0..50 {
        put(&sandbox.root(), &format!("file-{number}"), "one\n");
    }
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Files"]);
    // Each step of making one goes on for a while after whoever asked for it has died.
    for step in ["worktree add", "reset --hard"] {
        let programs = sandbox.home().join("programs");
        fs::create_dir_all(&programs).expect("folder");
        let begun = sandbox.home().join("begun");
        let go = sandbox.home().join(format!("{step}.go"));
        let _ = fs::remove_file(&begun);
        // As one that fills a large worktree, and is not done yet.
        let goes_on = "for i in $(seq 100); do mkdir -p \"$GIT_WORK_TREE/x/$i\"; sleep 0.003; done";
        let goes_on = if step == "reset --hard" { goes_on } else { "sleep 0.3" };
        let git = format!(
            "#!/bin/sh\nPATH=${{PATH#*:}}\ncase \"$*\" in *'{step}'*) : >'{}'; while ! [ -e '{}' ]; do sleep 0.01; done; {goes_on};; esac\nexec git \"$@\"\n",
            begun.display(),
            go.display()
        );
        write_program(programs.join("git"), git);
        sandbox.first_on_path = Some(programs);
        let thread = step.replace(' ', "");
        let mut command = sandbox.command(&["agent", "reserve", "--thread", &thread, "--worktree"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("reserve");
        while !begun.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        sandbox.first_on_path = None;
        sandbox.git(&["config", "heddle.lockTimeout", "50ms"]);
        let refused = sandbox.heddle(&["agent", "reserve", "--thread", &thread, "--worktree", "--resume"]);
        let refused = refused.exits(75);
        assert!(refused.stderr.contains("a git that it started may go on"), "{refused:?}");
        sandbox.git(&["config", "--unset", "heddle.lockTimeout"]);
        put(sandbox.home(), &format!("{step}.go"), "");
        let next = sandbox.reserve(&thread, &["--worktree", "--resume"]);
        let path = PathBuf::from(text(&next, "path"));
        assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "", "{step}");
        assert!(path.join("file-49").exists(), "{step}");
        sandbox.heddle(&["agent", "release", "--session", &text(&next, "session_id")]).exits(0);
        assert!(!path.exists(), "{step}");
        assert_eq!(sandbox.heddle(&["doctor", "--json"]).exits(0).json()["findings"], serde_json::json!([]));
    }
}
