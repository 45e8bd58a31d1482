//! `thread list` and `thread show`: what people and scripts see of threads.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Answer, Sandbox, text};

/// Reserves `thread` with a worktree; its session and the worktree.
#[track_caller]
fn reserved(sandbox: &Sandbox, thread: &str, more: &[&str]) -> (String, PathBuf) {
    let reserved = sandbox.reserve(thread, &[&["--worktree"], more].concat());
    (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")))
}

#[track_caller]
fn capture(sandbox: &Sandbox, session: &str, path: &Path, file: &str) -> Value {
    fs::write(path.join(file), "work\n").expect("write");
    let message = format!("work on {file}");
    let args = ["agent", "capture", "--session", session, "-m", &message, "--confidence", "0.8"];
    sandbox.heddle_in(path, &args).exits(0).json()
}

#[track_caller]
fn release(sandbox: &Sandbox, session: &str) {
    sandbox.heddle(&["agent", "release", "--session", session]).exits(0);
}

/// Makes a commit by hand in a worktree.
#[track_caller]
fn commit_in(sandbox: &Sandbox, path: &Path, file: &str) -> String {
    fs::write(path.join(file), "by hand\n").expect("write");
    sandbox.git_in(path, &["add", file]);
    sandbox.git_in(path, &["commit", "--quiet", "--message", file]);
    sandbox.git_in(path, &["rev-parse", "HEAD"])
}

#[track_caller]
fn rows(sandbox: &Sandbox, more: &[&str]) -> BTreeMap<String, Value> {
    let document = sandbox.heddle(&[&["--json", "thread", "list"], more].concat()).exits(0).json();
    let rows = document.as_array().expect("array");
    rows.iter().map(|row| (text(row, "thread"), row.clone())).collect()
}

#[track_caller]
fn names(sandbox: &Sandbox, more: &[&str]) -> Vec<String> {
    rows(sandbox, more).into_keys().collect()
}

#[track_caller]
fn show(sandbox: &Sandbox, thread: &str) -> Value {
    sandbox.heddle(&["--json", "thread", "show", thread]).exits(0).json()
}

/// As somebody sees it on a terminal of that width.
fn on_terminal(sandbox: &Sandbox, columns: &str, args: &[&str]) -> Answer {
    sandbox.heddle_with(&[("GIT_PAGER_IN_USE", "1"), ("COLUMNS", columns), ("TERM", "xterm")], args)
}

#[test]
fn the_list_is_of_what_somebody_may_have_to_do_something_about() {
    let sandbox = Sandbox::new();
    sandbox.reserve("live", &[]);
    let (session, path) = reserved(&sandbox, "unlanded", &[]);
    capture(&sandbox, &session, &path, "a");
    release(&sandbox, &session);
    let (session, path) = reserved(&sandbox, "landed", &[]);
    capture(&sandbox, &session, &path, "b");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "landed"]).exits(0);
    let empty = text(&sandbox.reserve("empty", &[]), "session_id");
    release(&sandbox, &empty);
    let (session, _) = reserved(&sandbox, "dead", &[]);
    sandbox.lapse(&session);

    assert_eq!(names(&sandbox, &[]), ["dead", "live", "unlanded"]);
    assert_eq!(names(&sandbox, &["--all"]), ["dead", "empty", "landed", "live", "unlanded"]);
    let all = rows(&sandbox, &["--all"]);
    assert_eq!(all["landed"]["state"], "merged");
    assert_eq!((&all["unlanded"]["state"], &all["unlanded"]["owner"]), (&json!("abandoned"), &Value::Null));
    assert_eq!(all["dead"]["liveness"], "dead");
    let listed = sandbox.heddle(&["thread", "list"]).exits(0).stdout;
    assert!(listed.contains("(dead)") && !listed.contains("landed  merged"), "{listed}");

    let none = Sandbox::new();
    assert_eq!(none.heddle(&["thread", "list"]).exits(0).stdout, "no open threads\n");
    assert_eq!(none.heddle(&["thread", "list", "--all"]).exits(0).stdout, "no threads\n");
}

#[test]
fn a_row_tells_commits_files_and_times() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "fix/login", &["--task", "mend the login"]);
    capture(&sandbox, &session, &path, "a");
    capture(&sandbox, &session, &path, "b");
    let tip = text(&capture(&sandbox, &session, &path, "c"), "commit");
    sandbox.commit("meanwhile");
    sandbox.commit("again");
    let row = &rows(&sandbox, &[])["fix/login"];
    assert_eq!((&row["ahead"], &row["behind"], &row["files"]), (&json!(3), &json!(2), &json!(3)));
    assert_eq!((&row["tip"], &row["tip_at"]), (&json!(tip), &json!("2026-01-02T03:04:05.000Z")));
    assert_eq!((&row["state"], &row["task"]), (&json!("active"), &json!("mend the login")));
    assert!(row["started_at"].is_string() && row["last_heartbeat_at"].is_string(), "{row}");
    assert_eq!(row["worktrees"][0]["path"], path.to_str().expect("UTF-8"));
    assert_eq!(row["worktrees"][0]["left"], false);

    let line = sandbox.heddle(&["thread", "list"]).exits(0).stdout;
    let line = line.lines().nth(1).expect("a row").to_owned();
    let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(words[..3], ["fix/login", "active", session.as_str()]);
    assert_eq!(words[words.len() - 3..], ["+3 -2", "3", "mend the login"]);

    // Without a target nothing can be told but the rest.
    sandbox.git(&["checkout", "--quiet", "--detach"]);
    sandbox.git(&["branch", "--delete", "--force", "main"]);
    let row = &rows(&sandbox, &[])["fix/login"];
    assert_eq!((&row["ahead"], &row["files"], &row["target"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(row["tip"], json!(tip));
}

#[test]
fn a_worktree_that_stayed_is_shown_also_if_its_thread_is_gone() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "kept", &[]);
    fs::write(path.join("loose"), "loose\n").expect("write");
    release(&sandbox, &session);
    let row = &rows(&sandbox, &[])["kept"];
    assert_eq!((&row["state"], &row["worktrees"][0]["left"]), (&json!("merged"), &json!(true)));
    let listed = sandbox.heddle(&["thread", "list"]).exits(0).stdout;
    let section =
        format!("Worktrees that stayed although their session ended:\n  kept: {}\n", path.display());
    assert!(listed.contains(&section), "{listed}");
    let detail = show(&sandbox, "kept");
    assert_eq!(detail["worktrees"][0]["holds"], json!(["uncommitted changes in loose"]));

    sandbox.git(&["update-ref", "-d", "refs/heddle/threads/kept"]);
    sandbox.git(&["worktree", "lock", "--reason", "mine", path.to_str().expect("UTF-8")]);
    let row = &rows(&sandbox, &[])["kept"];
    assert_eq!((&row["tip"], &row["worktrees"][0]["locked"]), (&Value::Null, &json!("mine")));
    let shown = sandbox.heddle(&["thread", "show", "kept"]).exits(0).stdout;
    assert!(shown.contains("(locked: mine)"), "{shown}");
    sandbox.refused(1, &["thread", "log", "kept"]);

    fs::rename(&path, sandbox.home().join("elsewhere")).expect("rename");
    assert_eq!(rows(&sandbox, &[])["kept"]["worktrees"][0]["missing"], true);
}

#[test]
fn commits_made_by_hand_are_told_of_until_a_capture_adopts_them() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "t", &[]);
    capture(&sandbox, &session, &path, "a");
    let beat = || sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
    let quiet = beat();
    assert_eq!((&quiet.json()["unadopted"], quiet.stderr.as_str()), (&Value::Null, ""));
    commit_in(&sandbox, &path, "b");
    let head = commit_in(&sandbox, &path, "c");

    let told = json!({"commits": 2, "head": head, "adoptable": true});
    let beaten = beat();
    assert_eq!(beaten.json()["unadopted"], told);
    assert!(beaten.stderr.starts_with("warning: 2 commits made by hand"), "{beaten:?}");
    assert_eq!(sandbox.heddle(&["agent", "show", &session]).json()["unadopted"], told);
    assert_eq!(rows(&sandbox, &[])["t"]["worktrees"][0]["unadopted"], told);
    let listed = sandbox.heddle(&["thread", "list"]).exits(0).stdout;
    assert!(listed.contains("not on their thread:\n  t: 2 commits on its HEAD"), "{listed}");
    let detail = show(&sandbox, "t");
    assert_eq!(detail["worktrees"][0]["unadopted"], told);
    let next = format!("git -C {} heddle agent capture --session {session}", path.display());
    assert_eq!(detail["next_action"], next);

    let adopted = sandbox.heddle_in(&path, &["agent", "capture", "--session", &session]).exits(0).json();
    assert_eq!(adopted["commit"], head);
    assert_eq!(beat().json()["unadopted"], Value::Null);
    assert_eq!(rows(&sandbox, &[])["t"]["worktrees"][0]["unadopted"], Value::Null);

    // What does not go on from the tip is no capture's to adopt.
    sandbox.git_in(&path, &["reset", "--quiet", "--hard", "HEAD~2"]);
    assert_eq!(beat().json()["unadopted"], Value::Null);
    let head = commit_in(&sandbox, &path, "d");
    assert_eq!(beat().json()["unadopted"], json!({"commits": 1, "head": head, "adoptable": false}));
    // It stays when the session ends, and so does the word.
    release(&sandbox, &session);
    assert_eq!(rows(&sandbox, &[])["t"]["worktrees"][0]["unadopted"]["commits"], 1);
}

#[test]
fn in_a_worktree_of_the_users_own_only_what_goes_on_from_the_thread_is_by_hand() {
    let sandbox = Sandbox::new();
    let session = text(&sandbox.reserve("t", &[]), "session_id");
    capture(&sandbox, &session, &sandbox.root(), "a");
    let unadopted = || {
        let beat = sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0).json();
        let row = rows(&sandbox, &[])["t"].clone();
        assert_eq!(row["worktrees"][0]["unadopted"], beat["unadopted"]);
        beat["unadopted"].clone()
    };
    // The user's HEAD stays where it is, and work of the user's own is not the thread's.
    assert_eq!(unadopted(), Value::Null);
    sandbox.git(&["commit", "--quiet", "--allow-empty", "--message", "mine"]);
    assert_eq!(unadopted(), Value::Null);
    sandbox.git(&["checkout", "--quiet", "--force", "-B", "side", "refs/heddle/threads/t"]);
    let head = commit_in(&sandbox, &sandbox.root(), "b");
    assert_eq!(unadopted(), json!({"commits": 1, "head": head, "adoptable": true}));
    release(&sandbox, &session);
    assert_eq!(rows(&sandbox, &[])["t"]["worktrees"], json!([]));
}

#[test]
fn the_format_for_scripts_is_one_line_a_thing() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "fix/login", &["--task", "one\n\"two\""]);
    let tip = text(&capture(&sandbox, &session, &path, "a"), "commit");
    let anchor = sandbox.git(&["rev-parse", "main"]);
    commit_in(&sandbox, &path, "b");
    let head = commit_in(&sandbox, &path, "c");
    let row = rows(&sandbox, &[])["fix/login"].clone();
    let lines = [
        "thread fix/login".to_owned(),
        format!("tip {tip}"),
        "tip-time 2026-01-02T03:04:05.000Z".to_owned(),
        "state active".to_owned(),
        format!("owner {session}"),
        "liveness alive".to_owned(),
        "generation 1".to_owned(),
        format!("reserved {}", text(&row, "started_at")),
        format!("heartbeat {}", text(&row, "last_heartbeat_at")),
        format!("anchor {anchor}"),
        "target refs/heads/main".to_owned(),
        "ahead 1".to_owned(),
        "behind 0".to_owned(),
        "files 1".to_owned(),
        "task one\n\"two\"".to_owned(),
        format!("worktree {}", path.display()),
        format!("worktree-session {session}"),
        "worktree-unadopted 2".to_owned(),
        format!("worktree-head {head}"),
        String::new(),
    ];
    let nul = sandbox.heddle(&["thread", "list", "--porcelain", "-z"]).exits(0).stdout;
    assert_eq!(nul, lines.join("\0") + "\0");
    let quoted = lines.join("\n").replace("task one\n\"two\"", r#"task "one\n\"two\"""#) + "\n";
    for version in ["--porcelain", "--porcelain=v1", "--porcelain=1"] {
        assert_eq!(sandbox.heddle(&["thread", "list", version]).exits(0).stdout, quoted);
        // The terminal changes nothing.
        assert_eq!(on_terminal(&sandbox, "20", &["thread", "list", version]).exits(0).stdout, quoted);
    }
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    let left = sandbox.heddle(&["thread", "list", "--porcelain"]).exits(0).stdout;
    assert!(left.contains("\nworktree-left\n") && !left.contains("owner"), "{left}");

    assert_eq!(Sandbox::new().heddle(&["thread", "list", "--porcelain"]).exits(0).stdout, "");
    sandbox.refused(2, &["thread", "list", "-z"]);
    sandbox.refused(2, &["thread", "list", "--porcelain=v2"]);
    let both = sandbox.refused(2, &["thread", "list", "--porcelain", "--json"]);
    assert_eq!(both.json()["error"]["kind"], "usage");
}

#[test]
fn a_terminal_is_never_made_too_wide_and_a_pipe_loses_nothing() {
    let sandbox = Sandbox::new();
    let task = "make 日本語 names work in every one of the forms that people fill in";
    let session = text(&sandbox.reserve("feature/names-in-japanese", &["--task", task]), "session_id");
    sandbox.reserve("b", &[]);
    let list = ["thread", "list"];
    let piped = sandbox.heddle_with(&[("COLUMNS", "40")], &list).exits(0).stdout;
    assert!(piped.contains(task) && piped.contains(&session) && !piped.contains('…'), "{piped}");
    for columns in [40, 60, 80, 120] {
        let shown = on_terminal(&sandbox, &columns.to_string(), &list).exits(0).stdout;
        for line in shown.lines() {
            // Each of the three characters takes two columns.
            let wide = line.chars().filter(|c| "日本語".contains(*c)).count();
            let plain = line.replace("\u{1b}[31m", "").replace("\u{1b}[m", "");
            assert!(plain.chars().count() + wide <= columns, "{columns}: {line}");
        }
        assert!(shown.contains("active") && shown.contains("make 日本"), "{columns}: {shown}");
    }
    assert_eq!(on_terminal(&sandbox, "400", &list).stdout, piped);
}

#[test]
fn colours_are_asked_for_as_in_git() {
    let sandbox = Sandbox::new();
    let session = text(&sandbox.reserve("t", &[]), "session_id");
    sandbox.lapse(&session);
    let red = |answer: Answer| answer.exits(0).stdout.contains("\u{1b}[31m");
    assert!(!red(sandbox.heddle(&["thread", "list", "--all"])));
    assert!(red(sandbox.heddle(&["thread", "list", "--all", "--color"])));
    assert!(red(on_terminal(&sandbox, "80", &["thread", "list", "--all"])));
    assert!(!red(on_terminal(&sandbox, "80", &["thread", "list", "--all", "--no-color"])));
    sandbox.git(&["config", "color.ui", "always"]);
    assert!(red(sandbox.heddle(&["thread", "list", "--all"])));
    assert!(!red(sandbox.heddle_with(&[("NO_COLOR", "1")], &["thread", "list", "--all"])));
}

#[test]
fn what_is_broken_is_named_and_hides_nothing_else() {
    let sandbox = Sandbox::new();
    for thread in ["a", "b", "c"] {
        let (session, path) = reserved(&sandbox, thread, &[]);
        capture(&sandbox, &session, &path, thread);
    }
    fs::write(sandbox.state("threads/a.json"), "{").expect("write");
    let tip = sandbox.git(&["rev-parse", "refs/heddle/threads/b"]);
    fs::remove_file(sandbox.root().join(".git/objects").join(&tip[..2]).join(&tip[2..])).expect("object");
    let answer = sandbox.heddle(&["--json", "thread", "list"]).exits(0);
    let listed: Vec<String> =
        answer.json().as_array().expect("array").iter().map(|r| text(r, "thread")).collect();
    assert_eq!(listed, ["a", "b", "c"]);
    assert_eq!(answer.json()[2]["ahead"], 1);
    assert_eq!(answer.json()[1]["ahead"], Value::Null);
    assert!(answer.stderr.contains("threads/a.json") && answer.stderr.contains(&tip[..12]), "{answer:?}");
}

#[test]
fn an_operation_cut_short_is_shown_and_left_alone() {
    let sandbox = Sandbox::new();
    let session = text(&sandbox.reserve("t", &[]), "session_id");
    release(&sandbox, &session);
    assert_eq!(names(&sandbox, &[]), [""; 0]);
    // The operation was about to begin.
    fs::write(sandbox.state("locks/t.journal"), "{\"version\":1").expect("write");
    let before = sandbox.snapshot();
    assert_eq!(rows(&sandbox, &[])["t"]["recovering"], true);
    assert_eq!(show(&sandbox, "t")["recovering"], true);
    sandbox.heddle(&["thread", "log", "t"]).exits(0);
    sandbox.heddle(&["thread", "diff", "t"]).exits(0);
    support::assert_same(&before, &sandbox.snapshot());
}

#[test]
fn show_tells_who_owned_it_from_commits_log_and_records() {
    let sandbox = Sandbox::new();
    let (first, path) = reserved(&sandbox, "t", &["--harness", "codex", "--task", "begin"]);
    capture(&sandbox, &first, &path, "a");
    capture(&sandbox, &first, &path, "b");
    sandbox.lapse(&first);
    let (second, path) = reserved(&sandbox, "t", &["--resume", "--harness", "amp"]);
    capture(&sandbox, &second, &path, "c");
    let owners = |sandbox: &Sandbox| show(sandbox, "t")["owners"].as_array().expect("array").clone();
    let told = owners(&sandbox);
    let brief =
        |owner: &Value| json!([owner["session"], owner["generation"], owner["status"], owner["captures"]]);
    let expected = json!([[second, 2, "active", 1], [first, 1, "abandoned", 2]]);
    assert_eq!(json!(told.iter().map(brief).collect::<Vec<_>>()), expected);
    assert_eq!((&told[1]["task"], &told[1]["agent"]), (&json!("begin"), &json!("codex")));
    assert!(told[1]["until"].is_string() && told[0]["until"].is_null(), "{told:?}");

    // Each source alone tells what it can.
    fs::remove_file(sandbox.state(format!("agents/ended/{first}.json"))).expect("record");
    let by_log = owners(&sandbox);
    assert_eq!(json!(by_log.iter().map(brief).collect::<Vec<_>>()), expected);
    fs::remove_file(sandbox.state("events.jsonl")).expect("log");
    let by_commits = owners(&sandbox);
    let expected = json!([[second, 2, "active", 1], [first, 1, null, 2]]);
    assert_eq!(json!(by_commits.iter().map(brief).collect::<Vec<_>>()), expected);
    assert_eq!(by_commits[1]["agent"], "codex");

    let detail = show(&sandbox, "t");
    let subjects: Vec<String> =
        detail["captures"].as_array().expect("array").iter().map(|c| text(c, "subject")).collect();
    assert_eq!(subjects, ["work on c", "work on b", "work on a"]);
    assert_eq!(detail["captures"][0]["confidence"], 0.8);
    assert_eq!(detail["liveness_reason"], "its lease has not lapsed");
    let text = sandbox.heddle(&["thread", "show", "t"]).exits(0).stdout;
    for part in ["alive: its lease has not lapsed", "confidence 0.8", "2 captures", "owns it, amp"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_was_known_under_a_former_name_is_told_and_nothing_of_who_took_that_name() {
    let sandbox = Sandbox::new();
    let (first, path) = reserved(&sandbox, "old", &[]);
    capture(&sandbox, &first, &path, "a");
    release(&sandbox, &first);
    sandbox.heddle(&["thread", "rename", "old", "new"]).exits(0);
    let taker = text(&sandbox.reserve("old", &[]), "session_id");
    let second = text(&sandbox.reserve("new", &["--resume"]), "session_id");
    let detail = show(&sandbox, "new");
    let owners: Vec<String> =
        detail["owners"].as_array().expect("array").iter().map(|owner| text(owner, "session")).collect();
    assert_eq!(owners, [second, first]);
    assert_eq!(detail["former_names"], json!(["old"]));
    assert_eq!(show(&sandbox, "old")["owners"][0]["session"], json!(taker));
    let shown = sandbox.heddle(&["thread", "show", "new"]).exits(0).stdout;
    assert!(shown.contains("formerly    old"), "{shown}");
}

#[test]
fn show_tells_what_stands_in_the_way_without_running_checks() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "t", &[]);
    let ready = |sandbox: &Sandbox| show(sandbox, "t")["readiness"].clone();
    assert_eq!(ready(&sandbox)["blockers"], json!(["nothing was captured on this thread"]));
    capture(&sandbox, &session, &path, "shared");
    let (other, other_path) = reserved(&sandbox, "other", &[]);
    capture(&sandbox, &other, &other_path, "shared");
    let found = ready(&sandbox);
    assert_eq!((&found["blockers"], &found["marked"]), (&json!([]), &json!(false)));
    assert_eq!(found["report"]["overlaps"], json!([{"thread": "other", "paths": ["shared"]}]));
    assert_eq!(show(&sandbox, "t")["next_action"], format!("git heddle agent ready --session {session}"));

    // A check that failed is known by the log, and is not run again.
    let ran = sandbox.home().join("ran");
    sandbox.git(&["config", "heddle.readyCommand", &format!("echo >>{}; false", ran.display())]);
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(7);
    let found = ready(&sandbox);
    assert!(text(&json!({"x": found["blockers"][0]}), "x").contains("found it blocked"), "{found}");
    assert_eq!(fs::read_to_string(&ran).expect("file"), "\n");
    sandbox.git(&["config", "heddle.readyCommand", "true"]);
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
    release(&sandbox, &session);
    let detail = show(&sandbox, "t");
    assert_eq!((&detail["state"], &detail["readiness"]["marked"]), (&json!("ready"), &json!(true)));
    assert_eq!(detail["next_action"], "git heddle thread land t");

    sandbox.commit("shared");
    fs::write(sandbox.root().join("shared"), "otherwise\n").expect("write");
    sandbox.git(&["commit", "--quiet", "--all", "--message", "otherwise"]);
    let detail = show(&sandbox, "t");
    let found = &detail["readiness"];
    assert_eq!(found["report"]["freshness"], "diverged");
    assert_eq!(found["report"]["conflicts"][0]["path"], "shared");
    assert_eq!(found["blockers"], json!(["conflicts with the target in shared"]));
    assert_eq!(detail["next_action"], "git heddle agent reserve --thread t --resume");
    // A landing says why, and remembers it.
    sandbox.heddle(&["thread", "land", "t"]).exits(7);
    let found = ready(&sandbox);
    assert!(found["blockers"].as_array().expect("array").len() == 2, "{found}");
    let shown = sandbox.heddle(&["thread", "show", "t"]).exits(0).stdout;
    assert!(shown.contains("blocker: it was tried to land: "), "{shown}");
}

#[test]
fn a_landed_thread_still_tells_what_it_was() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "t", &[]);
    capture(&sandbox, &session, &path, "a");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "land", "t"]).exits(0);
    let detail = show(&sandbox, "t");
    assert_eq!(
        (&detail["state"], &detail["next_action"]),
        (&json!("merged"), &json!("git heddle thread drop t"))
    );
    assert_eq!(detail["captures"][0]["subject"], "work on a");
    assert_eq!(detail["readiness"]["blockers"], json!([]));
    assert_eq!(detail["owners"][0]["status"], "merged");
    sandbox.refused(1, &["thread", "show", "none"]);
}

#[test]
fn looking_opens_nothing_of_the_repository_for_writing() {
    let sandbox = Sandbox::new();
    let (session, path) = reserved(&sandbox, "t", &[]);
    capture(&sandbox, &session, &path, "a");
    commit_in(&sandbox, &path, "by-hand");
    fs::write(path.join("loose"), "loose\n").expect("write");
    sandbox.commit("meanwhile");
    let trace = sandbox.home().join("trace");
    let trace = trace.to_str().expect("UTF-8");
    let calls = "trace=openat,open,creat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat";
    let looks: [&[&str]; 5] = [
        &["thread", "list", "--all"],
        &["thread", "list", "--porcelain"],
        &["thread", "show", "t"],
        &["thread", "log", "t"],
        &["agent", "show", &session],
    ];
    for look in looks {
        let args =
            [&["-f", "-qq", "-o", trace, "-e", calls, env!("CARGO_BIN_EXE_git-heddle")], look].concat();
        let Ok(output) = sandbox.program("strace", &sandbox.root(), &args).output() else {
            println!("skipped: there is no strace here");
            return;
        };
        Answer::of(&output).exits(0);
        let home = sandbox.home().to_str().expect("UTF-8");
        let trace = fs::read_to_string(trace).expect("what strace wrote");
        assert!(trace.contains(home), "{trace}");
        for line in trace.lines() {
            let reads = line.contains("openat(") && !line.contains("O_WRONLY") && !line.contains("O_RDWR");
            let Some(path) = line.split('"').nth(1).filter(|_| !reads) else { continue };
            // What it is relative to stands before it, in angle brackets.
            let folder = line.split(['<', '>']).nth(1).unwrap_or_default();
            let place = if path.starts_with('/') { path } else { folder };
            assert!(!place.starts_with(home), "{look:?}: {line}");
        }
    }
}

#[test]
fn many_threads_are_compared_wherever_git_has_their_objects() {
    const THREADS: usize = 150;
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.target", "main"]);
    let mut import = String::new();
    for thread in 0..THREADS {
        import += &format!("commit refs/heddle/threads/t{thread}\ncommitter a <a@b> 1800000000 +0000\n");
        import += "data 1\nx\nfrom refs/heads/main^0\n";
        for file in 0..=thread % 3 {
            import += &format!("M 100644 inline d/{file}\ndata 1\nx\n");
        }
    }
    let args = ["-c", "heddle.hooks=off", "fast-import", "--quiet"];
    let mut git = sandbox.program("git", &sandbox.root(), &args);
    let mut git = git.stdin(Stdio::piped()).spawn().expect("git");
    git.stdin.take().expect("input").write_all(import.as_bytes()).expect("written");
    assert!(git.wait().expect("ends").success());
    let expected: BTreeMap<String, Option<u64>> =
        (0..THREADS).map(|thread| (format!("t{thread}"), Some(thread as u64 % 3 + 1))).collect();
    let assert_listed = |environment: &[(&str, &str)]| {
        let list = sandbox.heddle_with(environment, &["--json", "thread", "list", "--all"]).exits(0).json();
        let files = |row: &Value| (text(row, "thread"), row["files"].as_u64());
        let files: BTreeMap<_, _> = list.as_array().expect("array").iter().map(files).collect();
        assert_eq!(files, expected, "{environment:?}");
    };
    assert_listed(&[]);
    // Now there is no object in the repository itself.
    let (objects, elsewhere) = (sandbox.root().join(".git/objects"), sandbox.home().join("elsewhere"));
    fs::rename(&objects, &elsewhere).expect("moved");
    fs::create_dir_all(objects.join("info")).expect("folder");
    let told = elsewhere.to_str().expect("UTF-8");
    assert_listed(&[("GIT_ALTERNATE_OBJECT_DIRECTORIES", told)]);
    assert_listed(&[("GIT_OBJECT_DIRECTORY", told)]);
    fs::write(objects.join("info/alternates"), format!("{told}\n")).expect("written");
    assert_listed(&[]);
}

#[test]
fn packed_refs_that_were_cut_off_are_told_and_no_thread_is_made_anew() {
    let sandbox = Sandbox::new();
    if !sandbox.root().join(".git/refs/heads/main").exists() {
        return;
    }
    for thread in ["alpha", "job-12"] {
        sandbox.git(&[
            "-c",
            "heddle.hooks=off",
            "update-ref",
            &format!("refs/heddle/threads/{thread}"),
            "HEAD",
        ]);
    }
    sandbox.git(&["pack-refs", "--all"]);
    let packed = sandbox.root().join(".git/packed-refs");
    let text = fs::read_to_string(&packed).expect("packed refs");
    // As a disk that was full, or a copy that was broken off, leaves it.
    let end = text.rfind("job-12").expect("packed") + "job-1".len();
    fs::write(&packed, &text[..end]).expect("written");
    let commands: [&[&str]; 4] =
        [&["thread", "list"], &["verify"], &["doctor"], &["agent", "reserve", "--thread", "job-12"]];
    for command in commands {
        let refused = sandbox.heddle(command).exits(128);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("packed-refs end in the middle of a line"), "{command:?}: {refused:?}");
    }
    fs::write(&packed, &text).expect("written");
    assert_eq!(names(&sandbox, &["--all"]), ["alpha", "job-12"]);
}

#[test]
fn the_deepest_name_is_listed_and_hides_nobody() {
    let sandbox = Sandbox::new();
    let deepest = ["s"; 64].join("/");
    reserved(&sandbox, &deepest, &[]);
    reserved(&sandbox, "then", &[]);
    assert_eq!(names(&sandbox, &[]), [deepest.as_str(), "then"]);
    let deeper = format!("{deepest}/s");
    sandbox.heddle(&["agent", "reserve", "--thread", &deeper]).exits(2);
    sandbox.heddle(&["thread", "drop", &deepest, "--force"]).exits(0);
    assert_eq!(names(&sandbox, &[]), ["then"]);
}
