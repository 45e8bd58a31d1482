//! `git heddle publish` and `fetch`: threads go to a real server and come from it, and nobody's
//! work is overwritten, here or there.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Answer, Sandbox, assert_same, snapshot_of, text};
use support_server::Server;

/// A sandbox whose repository has a served one as its origin.
fn served() -> (Sandbox, Server) {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox);
    sandbox.git(&["remote", "add", "origin", &server.url]);
    sandbox.git(&["push", "--quiet", "origin", "main"]);
    (sandbox, server)
}

/// A second repository with the same origin.
#[track_caller]
fn second(sandbox: &Sandbox, server: &Server) -> PathBuf {
    sandbox.git_in(sandbox.home(), &["clone", "--quiet", &server.url, "second"]);
    sandbox.home().join("second")
}

/// A session with one capture, in the repository at `folder`; its id and its worktree.
#[track_caller]
fn captured(sandbox: &Sandbox, folder: &Path, thread: &str, file: &str, more: &[&str]) -> (String, PathBuf) {
    let args = [&["agent", "reserve", "--thread", thread, "--worktree"], more].concat();
    let reserved = sandbox.heddle_in(folder, &args).exits(0).json();
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    capture(sandbox, &path, &session, file);
    (session, path)
}

#[track_caller]
fn capture(sandbox: &Sandbox, worktree: &Path, session: &str, file: &str) {
    fs::write(worktree.join(file), format!("{file} {session}\n")).expect("write");
    sandbox.heddle_in(worktree, &["agent", "capture", "--session", session, "-m", file]).exits(0);
}

#[track_caller]
fn publish(sandbox: &Sandbox, folder: &Path, code: i32, args: &[&str]) -> Answer {
    sandbox.heddle_in(folder, &[&["publish", "--json"], args].concat()).exits(code)
}

fn tip(sandbox: &Sandbox, folder: &Path, thread: &str) -> String {
    sandbox.git_in(folder, &["rev-parse", &format!("refs/heddle/threads/{thread}")])
}

/// What `git ls-remote` tells of heddle's refs.
fn there(sandbox: &Sandbox) -> Vec<(String, String)> {
    let listed = sandbox.git(&["ls-remote", "origin", "refs/heddle/*"]);
    let row = |line: &str| line.split_once('\t').map(|(id, name)| (name.to_owned(), id.to_owned()));
    listed.lines().filter_map(row).collect()
}

#[test]
fn a_thread_goes_with_its_mark_and_is_taken_up_elsewhere() {
    let (sandbox, server) = served();
    let (session, worktree) = captured(&sandbox, &sandbox.root(), "fix/login", "a", &[]);
    let answer = publish(&sandbox, &sandbox.root(), 0, &["origin", "fix/login", "--session", &session]);
    let first = tip(&sandbox, &sandbox.root(), "fix/login");
    assert_eq!(
        answer.json(),
        json!({"remote": "origin", "skipped": [], "published": [{"thread": "fix/login", "tip": first,
            "previous": null, "ready": false, "already": false, "rewritten": false}]})
    );
    assert_eq!(there(&sandbox), [("refs/heddle/threads/fix/login".to_owned(), first.clone())]);
    sandbox.heddle_in(&worktree, &["agent", "ready", "--session", &session]).exits(0);
    let environment = [("HEDDLE_SESSION", session.as_str())];
    // The session's own thread is what is meant.
    let answer = sandbox.heddle_with(&environment, &["publish", "--json"]).exits(0).json();
    assert_eq!(
        (&answer["published"][0]["ready"], &answer["published"][0]["already"]),
        (&json!(true), &json!(false))
    );
    // `git ls-remote` alone tells what is ready.
    let ready = ("refs/heddle/ready/fix/login".to_owned(), first.clone());
    assert_eq!(there(&sandbox), [ready, ("refs/heddle/threads/fix/login".to_owned(), first.clone())]);
    // A capture makes the mark stale, and a stale mark does not stay.
    capture(&sandbox, &worktree, &session, "b");
    sandbox.heddle_with(&environment, &["publish"]).exits(0);
    let second_tip = tip(&sandbox, &sandbox.root(), "fix/login");
    assert_eq!(there(&sandbox), [("refs/heddle/threads/fix/login".to_owned(), second_tip.clone())]);
    let tracked = sandbox.git(&["rev-parse", "refs/heddle-remotes/origin/threads/fix/login"]);
    assert_eq!(tracked, second_tip);

    let other = second(&sandbox, &server);
    let before =
        sandbox.git_in(&other, &["for-each-ref", "refs/heads", "refs/tags", "refs/remotes", "refs/heddle/"]);
    let fetched = sandbox.heddle_in(&other, &["fetch", "--json"]).exits(0).json();
    assert_eq!(fetched["threads"][0]["tip"], second_tip.as_str());
    assert!(!other.join(".git/FETCH_HEAD").exists());
    let after =
        sandbox.git_in(&other, &["for-each-ref", "refs/heads", "refs/tags", "refs/remotes", "refs/heddle/"]);
    assert_eq!(before, after);
    sandbox.heddle_in(&other, &["verify"]).exits(0);
    let args = ["agent", "reserve", "--thread", "fix/login", "--resume", "--worktree"];
    let answer = sandbox.heddle_in(&other, &args).exits(0);
    assert!(answer.stderr.contains("fetched from 'origin'"), "{answer:?}");
    let reserved = answer.json();
    assert_eq!(reserved["anchor_state"], second_tip.as_str());
    // The fencing number goes on where the thread's commits left it.
    assert_eq!(reserved["generation"], 2);
    let (next, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    capture(&sandbox, &path, &next, "c");
    publish(&sandbox, &other, 0, &["--session", &next]);
    sandbox.heddle_in(&other, &["verify", "fix/login"]).exits(0);

    // Here the thread has fallen behind: what is there is not overwritten, until it is fetched
    // it is not even known.
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    let refs = there(&sandbox);
    let answer = publish(&sandbox, &sandbox.root(), 4, &["origin", "fix/login"]);
    assert!(answer.stderr.contains("not part of it here"), "{answer:?}");
    sandbox.heddle(&["fetch"]).exits(0);
    publish(&sandbox, &sandbox.root(), 4, &["origin", "fix/login"]);
    assert_eq!(there(&sandbox), refs);
    assert_eq!(tip(&sandbox, &sandbox.root(), "fix/login"), second_tip, "a fetch moves no thread");
    publish(&sandbox, &sandbox.root(), 0, &["origin", "fix/login", "--force"]);
    assert_eq!(there(&sandbox)[0].1, second_tip);
}

#[test]
fn only_the_owner_publishes_and_what_nobody_owns_anybody_does() {
    let (sandbox, _server) = served();
    let (session, _) = captured(&sandbox, &sandbox.root(), "owned", "a", &[]);
    let (free, _) = captured(&sandbox, &sandbox.root(), "free", "b", &[]);
    sandbox.heddle(&["agent", "release", "--session", &free]).exits(0);
    let before = snapshot_of(&sandbox.root());
    let answer = publish(&sandbox, &sandbox.root(), 3, &["origin", "owned"]);
    assert!(answer.stderr.contains("--force publishes it") && !answer.stderr.contains("ends"), "{answer:?}");
    assert!(answer.stderr.contains(&session), "{answer:?}");
    publish(&sandbox, &sandbox.root(), 3, &["origin", "free", "owned"]);
    let twice = publish(&sandbox, &sandbox.root(), 0, &["--dry-run", "origin", "free", "free"]).json();
    assert_eq!(twice["published"].as_array().map(Vec::len), Some(1));
    publish(&sandbox, &sandbox.root(), 0, &["--dry-run"]);
    assert_same(&before, &snapshot_of(&sandbox.root()));
    assert!(there(&sandbox).is_empty());
    publish(&sandbox, &sandbox.root(), 0, &["origin", "free", "free"]);
    let answer = publish(&sandbox, &sandbox.root(), 0, &[]);
    assert_eq!(answer.json()["skipped"], json!([{"thread": "owned", "owner": session}]));
    assert_eq!(there(&sandbox).len(), 1);
    publish(&sandbox, &sandbox.root(), 0, &["origin", "owned", "--force"]);
    assert_eq!(there(&sandbox).len(), 2);
    assert_eq!(publish(&sandbox, &sandbox.root(), 0, &[]).json()["published"][0]["already"], true);
    // A damaged record leaves its thread out, and no other.
    fs::write(sandbox.state("threads/owned.json"), "{").expect("write");
    let answer = publish(&sandbox, &sandbox.root(), 0, &[]);
    assert!(
        answer.stderr.contains("a thread was left out") && answer.stderr.contains("owned.json"),
        "{answer:?}"
    );
    assert_eq!(answer.json()["published"].as_array().map(Vec::len), Some(1));
    publish(&sandbox, &sandbox.root(), 1, &["origin", "owned"]);
}

#[test]
fn a_thread_that_was_replaced_here_is_replaced_there() {
    let (sandbox, _server) = served();
    let (session, _) = captured(&sandbox, &sandbox.root(), "t", "a", &[]);
    publish(&sandbox, &sandbox.root(), 0, &["--session", &session]);
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    sandbox.heddle(&["thread", "drop", "t", "--force"]).exits(0);
    let (next, _) = captured(&sandbox, &sandbox.root(), "t", "b", &[]);
    let answer = publish(&sandbox, &sandbox.root(), 0, &["--session", &next]);
    assert_eq!(answer.json()["published"][0]["rewritten"], true);
    assert_eq!(there(&sandbox)[0].1, tip(&sandbox, &sandbox.root(), "t"));
}

#[test]
fn of_two_publishers_at_once_one_wins_and_the_other_is_told() {
    let (sandbox, server) = served();
    let (session, _) = captured(&sandbox, &sandbox.root(), "t", "a", &[]);
    publish(&sandbox, &sandbox.root(), 0, &["--session", &session]);
    let other = second(&sandbox, &server);
    sandbox.heddle_in(&other, &["fetch"]).exits(0);
    let (theirs, their_worktree) = captured(&sandbox, &other, "t", "first", &["--resume"]);
    let here = sandbox.git(&["worktree", "list", "--porcelain"]);
    let worktree = here
        .lines()
        .filter_map(|line| line.strip_prefix("worktree "))
        .nth(1)
        .map(PathBuf::from)
        .expect("worktree");
    for round in 0..8 {
        capture(&sandbox, &worktree, &session, &format!("ours{round}"));
        capture(&sandbox, &their_worktree, &theirs, &format!("theirs{round}"));
        let start = |folder: &Path, session: &str| {
            let args = ["publish", "--json", "--session", session];
            let mut command = sandbox.program(env!("CARGO_BIN_EXE_git-heddle"), folder, &args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start")
        };
        let (one, two) = (start(&sandbox.root(), &session), start(&other, &theirs));
        let codes = [one, two].map(|child| Answer::of(&child.wait_with_output().expect("end")));
        let won: Vec<bool> = codes.iter().map(|answer| answer.code == 0).collect();
        assert_ne!(won[0], won[1], "{codes:?}");
        assert!(codes.iter().all(|answer| matches!(answer.code, 0 | 4)), "{codes:?}");
        let winner = if won[0] { sandbox.root() } else { other.clone() };
        assert_eq!(there(&sandbox)[0].1, tip(&sandbox, &winner, "t"));
        // From here on the one that won goes on, and the other never gets in.
    }
}

#[test]
fn what_the_remote_no_longer_has_is_forgotten() {
    let (sandbox, server) = served();
    captured(&sandbox, &sandbox.root(), "a", "a", &[]);
    captured(&sandbox, &sandbox.root(), "b/c", "b", &[]);
    publish(&sandbox, &sandbox.root(), 0, &["--force"]);
    let other = second(&sandbox, &server);
    sandbox.heddle_in(&other, &["fetch"]).exits(0);
    sandbox.git_in(&server.repository, &["update-ref", "-d", "refs/heddle/threads/a"]);
    // A thread where there was a folder of them.
    sandbox.git_in(&server.repository, &["update-ref", "-d", "refs/heddle/threads/b/c"]);
    sandbox.git_in(&server.repository, &["update-ref", "refs/heddle/threads/b", "refs/heads/main"]);
    let fetched = sandbox.heddle_in(&other, &["fetch", "--json"]).exits(0).json();
    assert_eq!(fetched["gone"], json!(["a", "b/c"]));
    assert_eq!(fetched["threads"][0]["thread"], "b");
}

#[test]
fn names_are_never_options_and_a_wrong_remote_is_named() {
    let (sandbox, server) = served();
    // Also where there is nothing to publish.
    let nowhere = publish(&sandbox, &sandbox.root(), 1, &["nosuch"]);
    assert!(nowhere.stderr.contains("nosuch"), "{nowhere:?}");
    publish(&sandbox, &sandbox.root(), 0, &["origin"]);
    captured(&sandbox, &sandbox.root(), "t", "a", &[]);
    let proof = sandbox.home().join("proof");
    let evil = format!("--upload-pack=touch {};", proof.display());
    let receive = format!("--receive-pack=touch {};", proof.display());
    for name in [evil.as_str(), receive.as_str(), "--exec=x", "-x", "nowhere", "t"] {
        for verb in [&["publish", "--force"][..], &["fetch"]] {
            let answer = sandbox.heddle(&[verb, &["--", name]].concat());
            assert!(matches!(answer.code, 1 | 2), "{answer:?}");
            assert!(answer.stderr.starts_with("error: "), "{answer:?}");
        }
    }
    assert!(!proof.exists() && there(&sandbox).is_empty());
    // An address will do for publishing; what is fetched is kept by the remote's name.
    publish(&sandbox, &sandbox.root(), 0, &[&server.url, "t", "--force"]);
    sandbox.heddle(&["fetch", &server.url]).exits(1);
    sandbox.git(&["remote", "rename", "origin", "upstream"]);
    sandbox.heddle(&["fetch"]).exits(0);
    sandbox.git(&["remote", "add", "another", &server.url]);
    let answer = sandbox.heddle(&["fetch"]).exits(1);
    assert!(answer.stderr.contains("more than one"), "{answer:?}");
}

#[test]
fn a_thread_that_two_remotes_have_differently_is_not_guessed() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.git(&["rev-parse", "HEAD"]), sandbox.commit("two"));
    for (remote, commit) in [("a", &one), ("b", &two)] {
        sandbox.git(&["remote", "add", remote, "."]);
        sandbox.git(&["update-ref", &format!("refs/heddle-remotes/{remote}/threads/t"), commit]);
    }
    let answer = sandbox.refused(2, &["agent", "reserve", "--thread", "t", "--resume"]);
    assert!(answer.stderr.contains("--anchor refs/heddle-remotes/<remote>/threads/t"), "{answer:?}");
    let anchor = "refs/heddle-remotes/a/threads/t";
    let reserved: Value = sandbox.reserve("t", &["--resume", "--anchor", anchor]);
    assert_eq!(reserved["anchor_state"], one.as_str());
    // Without --resume a thread begins where it is told to, as ever.
    assert_eq!(sandbox.reserve("u", &[])["anchor_state"], two.as_str());
}

#[test]
fn a_remote_that_no_ref_can_be_named_after_is_passed_over() {
    let sandbox = Sandbox::new();
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    for name in ["my fork", "a..b", "x.lock", ""] {
        sandbox.git(&["config", &format!("remote.{name}.url"), "/nowhere"]);
    }
    sandbox.git(&["remote", "add", "origin", "."]);
    sandbox.git(&["update-ref", "refs/heddle-remotes/origin/threads/t", &head]);
    let answer = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--resume"]).exits(0);
    assert!(answer.stderr.contains("fetched from 'origin'"), "{answer:?}");
    sandbox.heddle(&["verify"]).exits(0);
    for name in ["my fork", "a..b", "x.lock"] {
        let refused = sandbox.heddle(&["fetch", name]).exits(1);
        assert!(refused.stderr.contains(&format!("no ref can be named '{name}'")), "{refused:?}");
        assert!(refused.stderr.contains("hint: git remote rename"), "{refused:?}");
    }
}

#[test]
fn of_remotes_whose_threads_would_be_kept_in_one_place_none_is_fetched() {
    let (sandbox, server) = served();
    sandbox.git(&["remote", "rename", "origin", "fork"]);
    captured(&sandbox, &sandbox.root(), "ready/y", "a", &[]);
    publish(&sandbox, &sandbox.root(), 0, &["fork", "ready/y", "--force"]);
    sandbox.heddle(&["fetch", "fork"]).exits(0);
    let kept = || sandbox.git(&["for-each-ref", "refs/heddle-remotes"]);
    assert!(kept().contains("refs/heddle-remotes/fork/threads/ready/y"));
    let head = sandbox.git(&["rev-parse", "HEAD"]);
    for (number, other) in ["fork/threads", "fork/ready", "fork/threads/x"].into_iter().enumerate() {
        sandbox.git(&["config", &format!("remote.{other}.url"), &server.url]);
        let thread = format!("threads/z{number}");
        let elsewhere = sandbox.git(&["commit-tree", "HEAD^{tree}", "-m", "elsewhere"]);
        sandbox.git(&["update-ref", &format!("refs/heddle-remotes/fork/threads/{thread}"), &elsewhere]);
        let before = kept();
        for name in ["fork", other] {
            let refused = sandbox.heddle(&["fetch", name]).exits(1);
            assert!(refused.stderr.contains("would be kept in one place"), "{refused:?}");
            assert!(refused.stderr.contains("hint: git remote rename"), "{refused:?}");
        }
        // Nor is anything taken up from there, or noted there.
        let reserved = sandbox.reserve(&thread, &["--resume"]);
        assert_eq!(reserved["anchor_state"], head.as_str());
        publish(&sandbox, &sandbox.root(), 0, &["fork", &thread, "--force"]);
        assert_eq!(kept(), before);
        sandbox.git(&["config", "--remove-section", &format!("remote.{other}")]);
    }
    for beside in ["forks", "fork/thread", "other/threads"] {
        sandbox.git(&["config", &format!("remote.{beside}.url"), &server.url]);
    }
    sandbox.heddle(&["fetch", "fork"]).exits(0);
}

#[test]
fn a_mirror_is_published_to_and_not_from() {
    let (sandbox, server) = served();
    captured(&sandbox, &sandbox.root(), "t", "a", &[]);
    // The user's configuration of the remote adds nothing to the push and takes nothing away.
    sandbox.git(&["config", "remote.origin.push", "refs/heads/*:refs/heads/*"]);
    sandbox.git(&["config", "push.followTags", "true"]);
    sandbox.git(&["tag", "-a", "-m", "x", "v1"]);
    publish(&sandbox, &sandbox.root(), 0, &["--force"]);
    let all = sandbox.git(&["ls-remote", "origin"]);
    assert!(!all.contains("refs/tags"), "{all}");
    sandbox.git_in(sandbox.home(), &["clone", "--quiet", "--mirror", &server.url, "mirror"]);
    let mirror = sandbox.home().join("mirror");
    sandbox.heddle_in(&mirror, &["agent", "reserve", "--thread", "t", "--resume"]).exits(1);
    sandbox.heddle_in(&mirror, &["verify"]).exits(0);
}
