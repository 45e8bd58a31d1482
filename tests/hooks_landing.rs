//! What plain Git commands in a worktree that works for a session do to its thread, by hooks:
//! what lands, what does not, and what becomes of the rest.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;

use support::{Answer, Sandbox, put, text};

#[test]
fn a_commit_an_amend_and_a_rebase_land_on_the_thread() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    let on_thread = |commit: &str, what: &str| assert_eq!(sandbox.tip("fix"), commit, "{what}");
    let head = || sandbox.git_in(&path, &["rev-parse", "HEAD"]);
    let one = sandbox.commit_in(&path, "one", "1\n");
    on_thread(&one, "a commit");
    sandbox.git_in(&path, &["commit", "--quiet", "--amend", "-m", "uno"]);
    on_thread(&head(), "an amend");
    assert_ne!(head(), one);
    let two = sandbox.commit_in(&path, "two", "2\n");
    sandbox.commit("onward");
    sandbox.git_in(&path, &["rebase", "--quiet", "main"]);
    on_thread(&head(), "a rebase");
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/fix~2"]), sandbox.git(&["rev-parse", "main"]));
    sandbox.git_in(&path, &["rebase", "--quiet", "--apply", "--force-rebase", "main"]);
    on_thread(&head(), "a rebase by patches");
    let elsewhere = sandbox.commit("elsewhere");
    sandbox.git_in(&path, &["cherry-pick", &elsewhere]);
    on_thread(&head(), "a cherry-pick");
    sandbox.git_in(&path, &["revert", "--no-edit", "HEAD"]);
    on_thread(&head(), "a revert");
    sandbox.git_in(&path, &["merge", "--quiet", "--no-edit", "main"]);
    on_thread(&head(), "a merge");
    sandbox.git_in(&path, &["commit", "--quiet", "--no-verify", "--allow-empty", "-m", "x"]);
    on_thread(&head(), "a commit that skips pre-commit");
    // What was rewritten is still there.
    let log = sandbox.git(&["reflog", "--format=%H", "refs/heddle/threads/fix"]);
    assert!(log.contains(&one) && log.contains(&two), "{log}");
    // The binding went along.
    let captured =
        sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0).json();
    assert_eq!(captured["captured"], false);
    put(&path, "three", "3\n");
    sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
    on_thread(&head(), "a capture");
    assert_eq!(sandbox.heddle(&["--json", "doctor"]).exits(0).json()["findings"], serde_json::json!([]));
}

#[test]
fn a_commit_on_a_branch_lands_and_leaves_the_branch_alone() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    sandbox.git_in(&path, &["checkout", "--quiet", "-b", "mine"]);
    let one = sandbox.commit_in(&path, "one", "1\n");
    assert_eq!((sandbox.tip("fix"), sandbox.git(&["rev-parse", "mine"])), (one.clone(), one));
    sandbox.git_in(&path, &["commit", "--quiet", "--amend", "-m", "uno"]);
    assert_eq!(sandbox.tip("fix"), sandbox.git(&["rev-parse", "mine"]));
    sandbox.commit("onward");
    sandbox.git_in(&path, &["rebase", "--quiet", "main"]);
    assert_eq!(sandbox.tip("fix"), sandbox.git(&["rev-parse", "mine"]));
    assert_eq!(sandbox.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/mine");
}

#[test]
fn what_only_moves_head_leaves_the_thread_alone() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    let one = sandbox.commit_in(&path, "one", "1\n");
    let two = sandbox.commit_in(&path, "two", "2\n");
    sandbox.commit_in(&path, "three", "3\n");
    let last = sandbox.commit_in(&path, "four", "4\n");
    let stays = |args: &[&str]| {
        let answer = sandbox.try_git(&path, args);
        assert_eq!(sandbox.tip("fix"), last, "git {args:?}: {answer:?}");
        answer
    };
    for args in [
        &["reset", "--quiet", "--hard", &one][..],
        // Forward again, in steps, as a commit would move it.
        &["reset", "--quiet", "--soft", &two],
        &["reset", "--quiet", "--hard", &last],
        &["checkout", "--quiet", "--detach", &one],
        &["checkout", "--quiet", "--detach", &last],
        &["update-ref", "HEAD", &two],
        &["reset", "--quiet", "--hard", &last],
        &["bisect", "start", &last, &one],
        &["bisect", "good"],
        &["bisect", "reset"],
        &["stash", "--include-untracked"],
        &["checkout", "--quiet", "-b", "mine"],
        &["reset", "--quiet", "--hard", &one],
        &["reset", "--quiet", "--hard", &last],
        &["checkout", "--quiet", "--detach", &last],
    ] {
        stays(args).exits(0);
    }
    // Where the thread lags behind, as after a reservation on a branch's tip.
    let ahead = {
        put(&sandbox.root(), "ahead", "x\n");
        sandbox.git(&["checkout", "--quiet", "--detach", &last]);
        sandbox.commit("ahead")
    };
    stays(&["reset", "--quiet", "--hard", &ahead]).exits(0);
    stays(&["reset", "--quiet", "--hard", &last]).exits(0);
    let mut command = sandbox.program("git", &path, &["reset", "--quiet", "--hard", &ahead]);
    command.env("GIT_REFLOG_ACTION", "commit");
    Answer::of(&command.output().expect("git")).exits(0);
    assert_eq!(sandbox.tip("fix"), last, "a reset that calls itself a commit");
    stays(&["reset", "--quiet", "--hard", &last]).exits(0);
    // A commit that has nothing before it is on no thread, and that is said.
    stays(&["checkout", "--quiet", "--orphan", "new"]).exits(0);
    let said = stays(&["commit", "--quiet", "-m", "new"]).exits(0).stderr;
    // In tables only values are known, not that there was none before.
    assert!(sandbox.format.reftable || said.contains("is not on thread 'fix'"), "{said}");
}

#[test]
fn a_rebase_lands_when_it_has_finished_and_not_before() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    sandbox.commit_in(&path, "shared", "mine\n");
    let last = sandbox.commit_in(&path, "two", "2\n");
    put(&sandbox.root(), "shared", "theirs\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "--quiet", "-m", "theirs"]);
    let stopped = sandbox.try_git(&path, &["rebase", "main"]);
    assert_eq!((stopped.code, sandbox.tip("fix")), (1, last.clone()), "{stopped:?}");
    sandbox.try_git(&path, &["rebase", "--abort"]).exits(0);
    assert_eq!(sandbox.tip("fix"), last);
    sandbox.try_git(&path, &["rebase", "main"]).exits(1);
    put(&path, "shared", "both\n");
    sandbox.git_in(&path, &["add", "shared"]);
    let mut command = sandbox.program("git", &path, &["rebase", "--continue"]);
    Answer::of(&command.env("GIT_EDITOR", "true").output().expect("git")).exits(0);
    let head = sandbox.git_in(&path, &["rev-parse", "HEAD"]);
    assert_eq!(sandbox.tip("fix"), head);
    assert_ne!(head, last);
    // An amend in the middle is a part of it.
    let mut command = sandbox.program("git", &path, &["rebase", "--interactive", "HEAD~2"]);
    command.env("GIT_SEQUENCE_EDITOR", "sed -i 1s/pick/edit/");
    Answer::of(&command.output().expect("git")).exits(0);
    sandbox.git_in(&path, &["commit", "--quiet", "--amend", "-m", "amended"]);
    assert_eq!(sandbox.tip("fix"), head);
    sandbox.git_in(&path, &["rebase", "--continue"]);
    let after = sandbox.git_in(&path, &["rev-parse", "HEAD"]);
    assert_eq!(sandbox.tip("fix"), after);
    assert_ne!(after, head);
}

#[test]
fn a_rebase_without_commits_of_its_own_is_adopted() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let before = sandbox.tip("fix");
    let main = sandbox.commit("onward");
    sandbox.git_in(&path, &["rebase", "--quiet", "main"]);
    // Git tells no hook that it has finished.
    assert_eq!((sandbox.tip("fix"), sandbox.git_in(&path, &["rev-parse", "HEAD"])), (before, main.clone()));
    let args = ["agent", "capture", "--session", &text(&reserved, "session_id"), "-m", "x"];
    assert_eq!(sandbox.heddle_in(&path, &args).exits(0).json()["captured"], true);
    assert_eq!(sandbox.tip("fix"), main);
}

#[test]
fn a_rebase_that_only_drops_commits_is_taken_over_by_hand() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    for name in ["one", "two", "three"] {
        sandbox.commit_in(&path, name, "x\n");
    }
    let before = sandbox.tip("fix");
    let mut rebase = sandbox.program("git", &path, &["rebase", "--quiet", "--interactive", "HEAD~2"]);
    let rebased = rebase.env("GIT_SEQUENCE_EDITOR", "sed -i 2d").status().expect("git");
    assert!(rebased.success());
    assert_eq!(sandbox.tip("fix"), before);
    put(&path, "four", "4\n");
    let capture = ["agent", "capture", "--session", &session, "-m", "four"];
    sandbox.heddle_in(&path, &capture).exits(4);
    let mut take_over = sandbox.program("git", &path, &["update-ref", "refs/heddle/threads/fix", "HEAD"]);
    assert!(take_over.env("HEDDLE_SESSION", &session).status().expect("git").success());
    let captured = sandbox.heddle_in(&path, &capture).exits(0).json();
    assert_eq!(captured["changed_paths"], serde_json::json!(["four"]));
    assert_eq!(sandbox.git(&["log", "--format=%s", "refs/heddle/threads/fix"]), "four\ntwo\none\nfirst");
    assert_eq!(sandbox.git_in(&path, &["status", "--porcelain"]), "");
    sandbox.heddle_in(&path, &["agent", "ready", "--session", &session]).exits(0);
}

#[test]
fn what_could_not_land_is_adopted_by_the_next_capture() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    let before = sandbox.tip("fix");
    let held = fs::File::options().write(true).open(sandbox.state("locks/fix.lock")).expect("the lock");
    held.lock().expect("lock");
    put(&path, "one", "1\n");
    sandbox.git_in(&path, &["add", "one"]);
    let made =
        sandbox.try_git(&path, &["-c", "heddle.lockTimeout=0", "commit", "--quiet", "-m", "one"]).exits(0);
    assert!(made.stderr.contains("the next capture adopts it"), "{made:?}");
    let one = sandbox.git_in(&path, &["rev-parse", "HEAD"]);
    assert_eq!(sandbox.tip("fix"), before);
    drop(held);
    // On top of what did not land nothing lands either.
    let made = sandbox.try_git(&path, &["commit", "--quiet", "--allow-empty", "-m", "two"]).exits(0);
    assert!(made.stderr.contains("the next capture adopts it"), "{made:?}");
    assert_eq!(sandbox.tip("fix"), before);
    let captured =
        sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0).json();
    assert_eq!(captured["captured"], true, "{captured}");
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/threads/fix^"]), one);
    assert_eq!(sandbox.git_in(&path, &["rev-parse", "HEAD"]), sandbox.tip("fix"));
}

#[test]
fn commits_and_captures_at_once_lose_nothing() {
    const ROUNDS: usize = 12;
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    let (mut committed, mut captured) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let mut made = Vec::new();
            for round in 0..ROUNDS {
                let message = format!("by hand {round}");
                let args = ["commit", "--quiet", "--allow-empty", "-m", &message];
                let output = sandbox.program("git", &path, &args).output().expect("git");
                if output.status.success() {
                    made.push(message);
                }
            }
            made
        });
        for round in 0..ROUNDS {
            put(&path, "captured", &format!("{round}\n"));
            let args = ["agent", "capture", "--session", &session, "-m", "captured"];
            let answer = sandbox.heddle_in(&path, &args);
            // HEAD moved while it was made: nothing was captured, and nothing was lost.
            assert!(matches!(answer.code, 0 | 4), "{answer:?}");
            if answer.code == 0 {
                captured.push(text(&answer.json(), "commit"));
            }
        }
        committed = commits.join().expect("no panic");
    });
    let thread = sandbox.git(&["rev-list", "refs/heddle/threads/fix"]);
    for commit in &captured {
        assert!(thread.contains(commit), "{commit} was captured and lost");
    }
    let both = sandbox.git_in(&path, &["log", "--format=%s", "HEAD", "refs/heddle/threads/fix"]);
    for message in &committed {
        assert!(both.lines().any(|subject| subject == message), "{message} was committed and lost: {both}");
    }
    // Which of them gets through is chance; that neither keeps the other out for good is not.
    assert!(!committed.is_empty() || !captured.is_empty());
    assert_eq!(sandbox.heddle(&["--json", "doctor"]).exits(0).json()["findings"], serde_json::json!([]));
}

#[test]
fn a_commit_renews_the_lease_before_it_is_made() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    sandbox.edit_session(&session, |record| {
        record["heartbeat"]["at"] = serde_json::json!("2026-01-01T00:00:00Z");
        record["heartbeat"]["monotonic_ms"] = serde_json::json!(0);
    });
    // It lapsed, and nobody took its thread: it revives. The commit itself comes to nothing.
    let aborted = sandbox.try_git(&path, &["commit", "--allow-empty", "-m", ""]);
    assert!(aborted.stderr.contains("empty commit message"), "{aborted:?}");
    let shown = sandbox.heddle(&["--json", "agent", "show", &session]).exits(0).json();
    assert_eq!((&shown["liveness"], &shown["status"]), (&"alive".into(), &"active".into()), "{shown}");
    assert_ne!(shown["heartbeat_at"], "2026-01-01T00:00:00.000Z");
}
