//! The hooks, asked by the real git commands that they are about: each refusal with what it
//! leaves alone, and everything else untouched.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Answer, Sandbox, Snapshot, assert_same, hooks, put, snapshot_of, text};
use support_program::write_program;

/// Who runs a command: from where, and as which session.
struct Caller {
    name: &'static str,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// A repository with hooks, and three sessions. `lapsed` had the thread `fix` until its lease
/// lapsed and `owner` took it over; `other` owns the thread `other`.
struct Yard {
    sandbox: Sandbox,
    first: String,
    owner: String,
    lapsed: String,
    lost: PathBuf,
    other: String,
    others: PathBuf,
}

impl Yard {
    fn new() -> Self {
        let sandbox = Sandbox::unborn();
        let first = sandbox.commit("first");
        hooks::install(&sandbox.root().join(".git"));
        let reserve = |thread: &str, more: &[&str]| {
            let reserved = sandbox.reserve(thread, more);
            (text(&reserved, "session_id"), reserved["path"].as_str().map(PathBuf::from).unwrap_or_default())
        };
        let (lapsed, lost) = reserve("fix", &["--worktree"]);
        for name in ["work", "more"] {
            put(&lost, name, "x\n");
            sandbox.heddle_in(&lost, &["agent", "capture", "--session", &lapsed, "-m", name]).exits(0);
        }
        sandbox.lapse(&lapsed);
        let (owner, _) = reserve("fix", &["--resume"]);
        let (other, others) = reserve("other", &["--worktree"]);
        sandbox.heddle(&["agent", "ready", "--session", &owner, "--no-capture"]).exits(0);
        sandbox.commit("second");
        Self { sandbox, first, owner, lapsed, lost, other, others }
    }

    /// Everybody who does not own `fix`.
    fn strangers(&self) -> Vec<Caller> {
        let root = self.sandbox.root();
        let session = |id: &String| vec![("HEDDLE_SESSION", id.clone())];
        vec![
            Caller { name: "a person", folder: root.clone(), environment: vec![] },
            Caller { name: "another session", folder: root.clone(), environment: session(&self.other) },
            Caller { name: "another worktree", folder: self.others.clone(), environment: vec![] },
            Caller { name: "a lapsed session", folder: root.clone(), environment: session(&self.lapsed) },
            Caller {
                name: "a lapsed session's worktree",
                folder: self.lost.clone(),
                environment: session(&self.lapsed),
            },
            Caller {
                name: "a forged voucher",
                folder: root,
                environment: vec![("HEDDLE_VOUCHER", "4611686018427387".to_owned())],
            },
        ]
    }

    fn run(&self, caller: &Caller, args: &[&str]) -> Answer {
        let mut command = self.sandbox.program("git", &caller.folder, args);
        command.envs(caller.environment.iter().map(|(name, value)| (name, value)));
        Answer::of(&command.output().expect("git"))
    }

    fn git(&self, folder: &Path, args: &[&str]) -> Answer {
        self.sandbox.try_git(folder, args)
    }

    /// What a refusal may not change: refs, reflogs, HEADs and heddle's own files.
    fn state(&self) -> (Snapshot, String) {
        let mut files = snapshot_of(&self.sandbox.root().join(".git"));
        let matters = |path: &Path| {
            let text = path.to_string_lossy().into_owned();
            text.ends_with("/HEAD") || text.contains("/refs/heddle/") || text.contains("/heddle")
        };
        files.retain(|path, _| matters(path));
        (files, self.sandbox.git(&["for-each-ref", "refs/heddle"]))
    }

    fn tip(&self, thread: &str) -> String {
        self.sandbox.tip(thread)
    }
}

#[test]
fn nobody_but_the_owner_moves_a_thread() {
    const FIX: &str = "refs/heddle/threads/fix";
    let yard = Yard::new();
    let (tip, main) = (yard.tip("fix"), yard.sandbox.git(&["rev-parse", "main"]));
    yard.sandbox.git(&["symbolic-ref", "refs/heads/alias", FIX]);
    yard.sandbox.git(&["branch", "spare", "main"]);
    let clone = yard.sandbox.home().join("clone");
    yard.sandbox.git_in(yard.sandbox.home(), &["clone", "--quiet", "repo", "clone"]);
    let root = yard.sandbox.root();
    let root = root.to_str().expect("UTF-8");
    let (over, ours) = (format!("+main:{FIX}"), format!("{main}:{FIX}"));
    let attempts: &[&[&str]] = &[
        &["update-ref", FIX, &main],
        &["update-ref", FIX, &main, &tip],
        &["update-ref", "-d", FIX],
        &["update-ref", "-d", FIX, &tip],
        &["update-ref", "refs/heddle/ready/fix", &main],
        &["update-ref", "-d", "refs/heddle/ready/fix"],
        &["update-ref", "refs/heddle/threads/new", &main],
        &["update-ref", "refs/heddle/ready/new", &main],
        &["update-ref", "refs/heddle/dropped/fix/1", &main],
        &["update-ref", "refs/heddle/anything", &main],
        &["symbolic-ref", FIX, "refs/heads/main"],
        &["update-ref", "refs/heads/alias", &main],
        &["branch", "-f", "alias", "main"],
        &["fetch", ".", &over],
        &["fetch", root, &over],
        &["push", "--force", ".", &ours],
        &["push", "--no-verify", "--force", ".", &ours],
        &["push", ".", &format!(":{FIX}")],
        &["push", "--atomic", "--force", ".", &ours, "main:refs/heads/spare-too"],
    ];
    for caller in yard.strangers() {
        for attempt in attempts {
            let before = yard.state();
            let answer = yard.run(&caller, attempt);
            assert_ne!(answer.code, 0, "{}: git {attempt:?}: {answer:?}", caller.name);
            assert!(answer.stderr.contains("heddle: "), "{}: git {attempt:?}: {answer:?}", caller.name);
            assert_same(&before.0, &yard.state().0);
            assert_eq!(before.1, yard.state().1, "{}: git {attempt:?}", caller.name);
        }
    }
    // From a clone, by a push.
    let answer = yard.git(&clone, &["push", "--force", "origin", &format!("HEAD:{FIX}")]);
    assert!(answer.code != 0 && answer.stderr.contains("moves for its owner only"), "{answer:?}");
    assert_eq!(yard.tip("fix"), tip);
    // One refused ref takes a whole transaction along.
    assert_eq!(yard.git(&yard.sandbox.root(), &["rev-parse", "--verify", "spare-too"]).code, 128);
}

#[test]
fn a_thread_is_found_in_a_long_transaction_too() {
    let yard = Yard::new();
    let mut input: String =
        (0..1000).map(|number| format!("create refs/heads/many/{number} {}\n", yard.first)).collect();
    input.push_str(&format!("update refs/heddle/threads/fix {}\n", yard.first));
    fs::write(yard.sandbox.home().join("many"), input).expect("write");
    let before = yard.state();
    let args = ["-c", "git update-ref --stdin <../many"];
    let output = yard.sandbox.program("sh", &yard.sandbox.root(), &args).output().expect("sh");
    let answer = Answer::of(&output);
    assert!(answer.code != 0 && answer.stderr.contains("moves for its owner only"), "{answer:?}");
    assert_same(&before.0, &yard.state().0);
    assert_eq!(yard.git(&yard.sandbox.root(), &["rev-parse", "--verify", "many/1"]).code, 128);
}

#[test]
fn a_refusal_says_whose_the_thread_is_and_what_to_do() {
    let yard = Yard::new();
    let strangers = yard.strangers();
    let say =
        |at: usize| yard.run(&strangers[at], &["update-ref", "refs/heddle/threads/fix", &yard.first]).stderr;
    let owner = format!("thread 'fix' is reserved by session '{}'", yard.owner);
    for (at, more) in
        [(0, String::new()), (1, format!("you are session '{}'", yard.other)), (3, yard.lapsed.clone())]
    {
        let said = say(at);
        assert!(said.contains(&owner) && said.contains(&more) && said.contains("hint: "), "{said}");
    }
    let silent = yard.git(
        &yard.sandbox.root(),
        &["-c", "advice.heddleHook=false", "update-ref", "refs/heddle/threads/fix", &yard.first],
    );
    assert!(!silent.stderr.contains("hint: "), "{silent:?}");
}

#[test]
fn the_owner_moves_its_thread_from_anywhere() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let session = text(&reserved, "session_id");
    let next = sandbox.commit("next");
    let first = sandbox.git(&["rev-parse", "HEAD^"]);
    let mut command =
        sandbox.program("git", &sandbox.root(), &["update-ref", "refs/heddle/threads/fix", &next]);
    let answer = Answer::of(&command.env("HEDDLE_SESSION", &session).output().expect("git")).exits(0);
    assert_eq!(answer.stderr, "");
    assert_eq!(sandbox.tip("fix"), next);
    // In its worktree nobody has to say who they are.
    sandbox.try_git(&path, &["update-ref", "refs/heddle/threads/fix", &first]).exits(0);
    sandbox.try_git(&path, &["update-ref", "refs/heddle/ready/fix", &first]).exits(0);
    sandbox.try_git(&path, &["update-ref", "-d", "refs/heddle/ready/fix"]).exits(0);
    assert_eq!(sandbox.tip("fix"), first);
}

#[test]
fn a_token_is_asked_for_where_it_is_required() {
    use std::os::unix::ffi::OsStrExt as _;
    let (sandbox, reserved, _) = Sandbox::owned(&["--require-token"]);
    let (session, token) = (text(&reserved, "session_id"), text(&reserved, "reservation_token"));
    let next = sandbox.commit("next");
    let first = sandbox.git(&["rev-parse", "HEAD^"]);
    let with = |token: Option<&str>| {
        let args = ["update-ref", "refs/heddle/threads/fix", &next];
        let mut command = sandbox.program("git", &sandbox.root(), &args);
        command.env("HEDDLE_SESSION", &session);
        command.envs(token.map(|token| ("HEDDLE_TOKEN", token)));
        Answer::of(&command.output().expect("git"))
    };
    for token in [None, Some("hdl_wrong"), Some("")] {
        let answer = with(token);
        assert!(answer.code != 0 && answer.stderr.contains("token"), "{answer:?}");
        assert_ne!(sandbox.tip("fix"), next);
    }
    with(Some(&token)).exits(0);
    assert_eq!(sandbox.tip("fix"), next);
    // One that is given is verified, also where none is asked for.
    let other = text(&sandbox.reserve("other", &[]), "session_id");
    let before = sandbox.tip("other");
    let mut command =
        sandbox.program("git", &sandbox.root(), &["update-ref", "refs/heddle/threads/other", &first]);
    command.env("HEDDLE_SESSION", &other).env("HEDDLE_TOKEN", std::ffi::OsStr::from_bytes(b"\xff"));
    assert!(!command.output().expect("git").status.success());
    assert_eq!(sandbox.tip("other"), before);
}

#[test]
fn head_stays_in_a_worktree_whose_session_lost_its_thread() {
    let attempts: &[&[&str]] = &[
        &["commit", "-m", "x"],
        &["commit", "--no-verify", "-m", "x"],
        &["commit", "--amend", "-m", "x"],
        &["commit", "--amend", "--no-verify", "-m", "x"],
        &["rebase", "main"],
        &["rebase", "--no-verify", "main"],
        &["reset", "--soft", "HEAD^"],
        &["reset", "--hard", "main"],
        &["checkout", "--quiet", "--detach", "main"],
        &["checkout", "--quiet", "-b", "new"],
        &["switch", "--quiet", "--detach", "main"],
        &["merge", "main", "-m", "x"],
        &["merge", "--no-verify", "main", "-m", "x"],
        &["cherry-pick", "main"],
        &["revert", "--no-edit", "HEAD"],
        &["bisect", "start", "HEAD", "HEAD~2"],
        &["update-ref", "HEAD", "main"],
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &["pull", "--quiet", "--no-rebase", "..", "main"],
    ];
    let yard = Yard::new();
    let id = yard.sandbox.git_in(&yard.lost, &["rev-parse", "--absolute-git-dir"]);
    let id = Path::new(&id).file_name().and_then(|id| id.to_str()).expect("an id").to_owned();
    put(&yard.lost, "staged", "staged\n");
    for attempt in attempts {
        for session in [None, Some(&yard.lapsed), Some(&yard.other)] {
            let dirty = attempt[0] == "commit";
            if dirty {
                yard.sandbox.git_in(&yard.lost, &["add", "staged"]);
            }
            let environment = session.map(|session| ("HEDDLE_SESSION", session.clone()));
            let caller = Caller {
                name: "the lost worktree",
                folder: yard.lost.clone(),
                environment: environment.into_iter().collect(),
            };
            let mut attempt = attempt.to_vec();
            let root = yard.sandbox.root();
            if let Some(at) = attempt.iter().position(|arg| *arg == "..") {
                attempt[at] = root.to_str().expect("UTF-8");
            }
            let before = yard.state();
            let answer = yard.run(&caller, &attempt);
            assert_ne!(answer.code, 0, "git {attempt:?}: {answer:?}");
            assert!(
                answer.stderr.contains(&format!("agent session '{}' is no longer active", yard.lapsed))
                    && answer.stderr.contains("git heddle agent reserve --thread fix"),
                "git {attempt:?}: {answer:?}"
            );
            assert_same(&before.0, &yard.state().0);
            // What Git itself leaves of an operation that was refused in its middle.
            yard.git(&yard.lost, &["branch", "--quiet", "-D", "new"]);
            for quit in [["rebase", "--quit"], ["cherry-pick", "--quit"], ["revert", "--quit"]] {
                yard.git(&yard.lost, &quit);
            }
            yard.git(&yard.lost, &["merge", "--quit"]);
            for left in ["BISECT_START", "BISECT_LOG", "BISECT_TERMS", "BISECT_NAMES"] {
                let _ = fs::remove_file(yard.sandbox.root().join(".git/worktrees").join(&id).join(left));
            }
            yard.sandbox.git_in(&yard.lost, &["reset", "--quiet", "--hard", "HEAD"]);
            put(&yard.lost, "staged", "staged\n");
        }
    }
    // Nor from outside.
    let outside = yard.git(&yard.sandbox.root(), &["update-ref", &format!("worktrees/{id}/HEAD"), "main"]);
    assert!(outside.code != 0 && outside.stderr.contains("no longer active"), "{outside:?}");
    // What does not move HEAD goes on.
    yard.sandbox.git_in(&yard.lost, &["add", "staged"]);
    for args in [
        &["status"][..],
        &["stash"],
        &["stash", "pop"],
        &["branch", "kept"],
        &["tag", "kept"],
        &["fetch", "--quiet", ".", "main:refs/heads/fetched"],
        &["worktree", "add", "--quiet", "--detach", "../aside", "main"],
        &["reset", "--quiet", "HEAD"],
        &["checkout", "--quiet", "--detach"],
    ] {
        let answer = yard.git(&yard.lost, args).exits(0);
        assert!(!answer.stderr.contains("heddle: "), "git {args:?}: {answer:?}");
    }
}

#[test]
fn a_worktree_does_not_speak_for_who_shows_a_wrong_token() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let (owner, token) = (text(&reserved, "session_id"), text(&reserved, "reservation_token"));
    let (next, tip) = (sandbox.commit("next"), sandbox.tip("fix"));
    let run = |token: &str, args: &[&str]| {
        let mut command = sandbox.program("git", &path, args);
        command.env("HEDDLE_SESSION", &owner).env("HEDDLE_TOKEN", token);
        Answer::of(&command.output().expect("git"))
    };
    for args in [
        &["commit", "--allow-empty", "-m", "x"][..],
        &["update-ref", "refs/heddle/threads/fix", &next],
        &["update-ref", "-d", "refs/heddle/threads/fix"],
    ] {
        let answer = run("hdl_wrong", args);
        assert!(
            answer.code != 0 && answer.stderr.contains("the token given is not that of agent session"),
            "git {args:?}: {answer:?}"
        );
    }
    // Past the hook that asks early it stays off the thread.
    let warned = run("hdl_wrong", &["commit", "--no-verify", "--allow-empty", "-m", "x"]).exits(0);
    assert!(warned.stderr.contains("is not on thread 'fix'"), "{warned:?}");
    assert_eq!(sandbox.tip("fix"), tip);
    run(&token, &["reset", "--quiet", "--hard", &tip]).exits(0);
    run(&token, &["commit", "--allow-empty", "-m", "x"]).exits(0);
    assert_ne!(sandbox.tip("fix"), tip);
}

/// Has hooks be told as Git tells them since 2.48: of the branch that HEAD is on, not of HEAD.
fn tell_of_branches_alone(sandbox: &Sandbox) {
    let hook = PathBuf::from(sandbox.git(&["rev-parse", "--path-format=absolute", "--git-path", "hooks"]));
    let hook = hook.join("reference-transaction");
    if hook.exists() {
        let whole = hook.with_extension("whole");
        fs::rename(&hook, &whole).expect("hook");
        let script = "#!/bin/sh\ngrep -v '^[^ ]* [0-9a-f]* HEAD$' | \"$0.whole\" \"$@\"\n";
        write_program(&hook, script);
    }
}

#[test]
fn a_branch_that_is_checked_out_in_a_lost_worktree_stays_too() {
    for alone in [false, true] {
        let (sandbox, reserved, path) = Sandbox::owned(&[]);
        sandbox.git_in(&path, &["checkout", "--quiet", "-b", "mine"]);
        if alone {
            tell_of_branches_alone(&sandbox);
        }
        let last = sandbox.commit_in(&path, "one", "1\n");
        assert_eq!(sandbox.tip("fix"), last, "what is committed on a branch lands");
        let session = text(&reserved, "session_id");
        sandbox.lapse(&session);
        sandbox.reserve("fix", &["--resume"]);
        let mut attempts = vec![
            &["commit", "--no-verify", "--allow-empty", "-m", "x"][..],
            &["commit", "--no-verify", "--amend", "-m", "x"],
            &["reset", "--quiet", "--hard", "HEAD^"],
        ];
        if !alone {
            attempts.push(&["switch", "--quiet", "--detach", "main"]);
        }
        for args in attempts {
            let refused = sandbox.try_git(&path, args);
            assert!(
                refused.code != 0 && refused.stderr.contains("no longer active"),
                "git {args:?}: {refused:?}"
            );
            assert_eq!(sandbox.git(&["rev-parse", "mine"]), last, "git {args:?}");
        }
        assert_eq!(sandbox.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/mine");
        // Other branches move there, and this one is packed.
        sandbox.git_in(&path, &["branch", "other"]);
        sandbox.git_in(&path, &["pack-refs", "--all"]);
        sandbox.git_in(&path, &["branch", "-f", "other", "main"]);
    }
}

#[test]
fn the_next_owner_may_work_in_the_worktree_of_the_last() {
    let yard = Yard::new();
    let caller = Caller {
        name: "the owner",
        folder: yard.lost.clone(),
        environment: vec![("HEDDLE_SESSION", yard.owner.clone())],
    };
    yard.run(&caller, &["commit", "--allow-empty", "-m", "x"]).exits(0);
    let args = ["agent", "capture", "--session", &yard.owner, "-m", "y"];
    let captured = yard.sandbox.heddle_in(&yard.lost, &args).exits(0).json();
    assert_eq!(captured["captured"], true);
    assert_eq!(yard.tip("fix"), yard.sandbox.git_in(&yard.lost, &["rev-parse", "HEAD"]));
}

#[test]
fn the_worktree_of_the_next_owner_does_not_speak_for_the_last() {
    const FIX: &str = "refs/heddle/threads/fix";
    let (sandbox, reserved, _) = Sandbox::owned(&[]);
    let lost = text(&reserved, "session_id");
    let release = ["agent", "release", "--session", &lost, "--status", "abandoned", "--force"];
    sandbox.heddle(&release).exits(0);
    let next = sandbox.heddle(&["agent", "reserve", "--thread", "fix", "--resume", "--worktree"]);
    let next = next.exits(0).json();
    let (owner, path) = (text(&next, "session_id"), PathBuf::from(text(&next, "path")));
    let main = sandbox.commit("next");
    let tip = sandbox.tip("fix");
    let run = |session: &str, args: &[&str]| {
        let mut command = sandbox.program("git", &path, args);
        Answer::of(&command.env("HEDDLE_SESSION", session).output().expect("git"))
    };
    let attempts: [&[&str]; 5] = [
        &["commit", "--allow-empty", "-m", "x"],
        &["commit", "--no-verify", "--amend", "--allow-empty", "-m", "x"],
        &["update-ref", FIX, &main],
        &["update-ref", "-d", FIX],
        &["reset", "--hard", &main],
    ];
    for attempt in attempts {
        let answer = run(&lost, attempt);
        assert_ne!(answer.code, 0, "git {attempt:?}: {answer:?}");
        assert!(answer.stderr.contains(&lost), "{answer:?}");
        assert_eq!(sandbox.tip("fix"), tip, "git {attempt:?}");
        assert_eq!(sandbox.git_in(&path, &["rev-parse", "HEAD"]), tip, "git {attempt:?}");
    }
    // Nobody writes a message for what is then refused.
    let asked = sandbox.home().join("asked");
    let editor = format!("core.editor=touch '{}'; false", asked.display());
    run(&lost, &["-c", &editor, "commit", "--allow-empty"]).exits(1);
    assert!(!asked.exists());
    // Only warned about, it stays off the thread all the same.
    let args = ["-c", "heddle.hooks=warn", "commit", "--allow-empty", "-m", "x"];
    let warned = run(&lost, &args).exits(0);
    assert!(warned.stderr.contains("is not on thread 'fix'"), "{warned:?}");
    assert_eq!(sandbox.tip("fix"), tip);
    run(&owner, &["reset", "--hard", &tip]).exits(0);
    // Whoever is alive, or nobody knows, has lost nothing.
    let other = sandbox.heddle(&["agent", "reserve", "--thread", "other"]).exits(0).json();
    for session in [&owner, &text(&other, "session_id"), "agent-0000", ""] {
        run(session, &["commit", "--allow-empty", "-m", "x"]).exits(0);
        assert_eq!(sandbox.tip("fix"), sandbox.git_in(&path, &["rev-parse", "HEAD"]), "{session}");
    }
}

#[test]
fn a_worktree_of_ones_own_is_kept_only_while_its_session_may_not_know() {
    let sandbox = Sandbox::new();
    hooks::install(&sandbox.root().join(".git"));
    let capture = |thread: &str| {
        let session = text(&sandbox.reserve(thread, &[]), "session_id");
        put(&sandbox.root(), thread, "x\n");
        sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
        session
    };
    // It ended its session itself: it is gone.
    let session = capture("one");
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    sandbox.commit("mine");
    sandbox.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    // It was ended by somebody: it may be at work and not know.
    let session = capture("two");
    sandbox.heddle(&["agent", "release", "--session", &session, "--force"]).exits(0);
    let refused = sandbox.try_git(&sandbox.root(), &["commit", "--allow-empty", "-m", "x"]);
    assert!(refused.code != 0 && refused.stderr.contains("git heddle doctor --fix"), "{refused:?}");
    let found = sandbox.heddle(&["--json", "doctor"]).json();
    assert_eq!(found["findings"][0]["kind"], "lost_worktree", "{found}");
    sandbox.try_git(&sandbox.root(), &["commit", "--allow-empty", "-m", "x"]).exits(1);
    sandbox.heddle(&["doctor", "--fix"]);
    sandbox.try_git(&sandbox.root(), &["commit", "--allow-empty", "-m", "x"]).exits(0);
}

#[test]
fn packing_is_nobodys_move() {
    let yard = Yard::new();
    let refs = || yard.sandbox.git(&["for-each-ref"]);
    for caller in yard.strangers() {
        for args in [
            &["pack-refs", "--all"][..],
            &["pack-refs", "--all", "--no-prune"],
            &["gc", "--quiet"],
            &["maintenance", "run", "--quiet"],
            &["maintenance", "run", "--task=pack-refs", "--quiet"],
        ] {
            // A loose ref over a packed one, and one that never was packed.
            let owner = [("HEDDLE_SESSION", yard.owner.as_str())];
            for (name, at) in [("threads/fix", yard.tip("fix")), ("ready/fix", yard.first.clone())] {
                let name = format!("refs/heddle/{name}");
                let mut command =
                    yard.sandbox.program("git", &yard.sandbox.root(), &["update-ref", &name, &yard.first]);
                Answer::of(&command.envs(owner).output().expect("git")).exits(0);
                let mut command =
                    yard.sandbox.program("git", &yard.sandbox.root(), &["update-ref", &name, &at]);
                Answer::of(&command.envs(owner).output().expect("git")).exits(0);
            }
            let before = refs();
            let answer = yard.run(&caller, args).exits(0);
            assert!(!answer.stderr.contains("heddle"), "{}: git {args:?}: {answer:?}", caller.name);
            assert_eq!(refs(), before, "{}: git {args:?}", caller.name);
        }
    }
    if !yard.sandbox.format.reftable {
        let packed = fs::read_to_string(yard.sandbox.root().join(".git/packed-refs")).expect("packed refs");
        assert!(packed.contains("refs/heddle/threads/fix"), "{packed}");
    }
    // What is packed is not to be deleted for it.
    let before = refs();
    for args in [
        &["update-ref", "-d", "refs/heddle/threads/fix"][..],
        &["update-ref", "-d", "refs/heddle/threads/fix", &yard.tip("fix")],
        &["push", ".", ":refs/heddle/threads/fix"],
    ] {
        assert_ne!(yard.git(&yard.sandbox.root(), args).code, 0, "git {args:?}");
        assert_eq!(refs(), before, "git {args:?}");
    }
}

#[test]
fn nothing_waits_for_the_lock_of_a_thread_while_git_holds_its_own() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    let next = sandbox.commit("next");
    let held = fs::File::options().write(true).open(sandbox.state("locks/fix.lock")).expect("the lock");
    held.lock().expect("lock");
    let answer = sandbox.try_git(&path, &["update-ref", "refs/heddle/threads/fix", &next]).exits(0);
    assert_eq!(answer.stderr, "");
    let refused = sandbox.try_git(&sandbox.root(), &["update-ref", "-d", "refs/heddle/threads/fix"]);
    assert!(refused.code != 0 && refused.stderr.contains("moves for its owner only"), "{refused:?}");
}

#[test]
fn heddle_hooks_says_what_a_refusal_comes_to() {
    let yard = Yard::new();
    let root = yard.sandbox.root();
    let set = |value: &str| yard.sandbox.git(&["config", "heddle.hooks", value]);
    let steal = |at: &str| yard.git(&root, &["update-ref", "refs/heddle/threads/other", at]);
    set("warn");
    let warned = steal("main").exits(0);
    assert!(warned.stderr.contains("warning: heddle: thread 'other' is reserved by"), "{warned:?}");
    set("off");
    assert_eq!(steal(&yard.first).exits(0).stderr, "");
    for value in ["enforce", "nonsense"] {
        set(value);
        let answer = steal("main");
        // A value that means nothing keeps anything from being judged, and says so.
        let wanted = if value == "enforce" { (128, "error: heddle: thread") } else { (0, "heddle.hooks") };
        assert!(answer.code == wanted.0 && answer.stderr.contains(wanted.1), "{answer:?}");
    }
    // Once, for one command.
    set("enforce");
    yard.git(&root, &["-c", "heddle.hooks=off", "update-ref", "refs/heddle/threads/other", &yard.first])
        .exits(0);
}

#[test]
fn what_cannot_be_judged_passes_unless_enforced() {
    let yard = Yard::new();
    let commit =
        |more: &[&str]| yard.git(&yard.others, &[more, &["commit", "--allow-empty", "-m", "x"]].concat());
    let git_dir = PathBuf::from(yard.sandbox.git_in(&yard.others, &["rev-parse", "--absolute-git-dir"]));
    let binding = git_dir.join("heddle-worktree.json");
    let whole = fs::read(&binding).expect("binding");
    fs::write(&binding, "{").expect("write");
    let passed = commit(&[]).exits(0);
    assert!(passed.stderr.contains("warning: heddle: not checked: binding"), "{passed:?}");
    for more in [&["commit", "--allow-empty", "-m", "x"][..], &["reset", "--quiet", "--soft", "HEAD^"]] {
        let enforced = ["-c", "heddle.hooks=enforce"];
        let refused = yard.git(&yard.others, &[&enforced[..], more].concat());
        assert!(refused.code != 0 && refused.stderr.contains("is damaged"), "git {more:?}: {refused:?}");
    }
    fs::write(&binding, whole).expect("write");
    // A session whose record cannot be read may be alive.
    let record = yard.sandbox.state(format!("agents/{}.json", yard.other));
    let whole = fs::read(&record).expect("record");
    fs::write(&record, "{").expect("write");
    let passed = commit(&["-c", "heddle.hooks=enforce"]).exits(0);
    assert!(passed.stderr.contains("warning: heddle: lease not renewed: session record"), "{passed:?}");
    fs::write(&record, whole).expect("write");
    // Whose a thread is that cannot be told: nobody's who asks.
    fs::write(yard.sandbox.state("threads/fix.json"), "{").expect("write");
    let before = yard.state();
    for caller in yard.strangers() {
        let refused = yard.run(&caller, &["update-ref", "-d", "refs/heddle/threads/fix"]);
        assert!(
            refused.code != 0 && refused.stderr.contains("thread record"),
            "{}: {refused:?}",
            caller.name
        );
    }
    assert_same(&before.0, &yard.state().0);
}

#[test]
fn without_the_program_a_shim_says_so_once_and_passes_unless_enforced() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    let plain = format!("{}:/usr/bin:/bin", sandbox.only_git().display());
    let without = |args: &[&str]| {
        let mut command = sandbox.program("git", &path, args);
        Answer::of(&command.env("PATH", &plain).output().expect("git"))
    };
    let passed = without(&["commit", "--quiet", "--allow-empty", "-m", "x"]).exits(0);
    assert_eq!(passed.stderr, "warning: heddle: git-heddle is not on PATH: nothing was checked\n");
    without(&["update-ref", "refs/heddle/threads/fix", "HEAD"]).exits(0);
    sandbox.git(&["config", "heddle.hooks", "enforce"]);
    for args in [
        &["commit", "--quiet", "--allow-empty", "-m", "x"][..],
        &["commit", "--quiet", "--no-verify", "--allow-empty", "-m", "x"],
        &["update-ref", "-d", "refs/heddle/threads/fix"],
    ] {
        let refused = without(args);
        assert!(refused.code != 0 && refused.stderr.contains("git-heddle is not on PATH"), "{refused:?}");
    }
    sandbox.git(&["config", "heddle.hooks", "off"]);
    let silent = without(&["commit", "--quiet", "--allow-empty", "-m", "x"]).exits(0);
    assert_eq!(silent.stderr, "");
    // Where nothing has to be asked, nothing is missed.
    let mut command = sandbox.program("git", &sandbox.root(), &["commit", "--allow-empty", "-m", "x"]);
    Answer::of(&command.env("PATH", &plain).output().expect("git")).exits(0);
}

#[test]
fn the_program_is_started_only_where_there_is_something_to_ask() {
    let (sandbox, _, path) = Sandbox::owned(&[]);
    let (bin, log) = (sandbox.home().join("bin"), sandbox.home().join("log"));
    fs::create_dir(&bin).expect("folder");
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", log.display());
    write_program(bin.join("git-heddle"), script);
    let started = |folder: &Path, args: &[&str]| {
        let _ = fs::remove_file(&log);
        let path = format!("{}:{}:/usr/bin:/bin", bin.display(), sandbox.only_git().display());
        let mut command = sandbox.program("git", folder, args);
        Answer::of(&command.env("PATH", path).output().expect("git")).exits(0);
        fs::read_to_string(&log).unwrap_or_default()
    };
    let root = sandbox.root();
    for args in [
        &["commit", "--allow-empty", "-m", "x"][..],
        &["commit", "--amend", "--allow-empty", "-m", "y"],
        &["tag", "one"],
        &["branch", "-f", "two"],
        &["checkout", "--detach"],
        &["fetch", ".", "refs/tags/*:refs/heddle-remotes/x/*"],
        &["worktree", "add", "--detach", "../aside"],
    ] {
        assert_eq!(started(&root, args), "", "git {args:?}");
    }
    assert_eq!(started(&path, &["tag", "three"]), "");
    // What is long is read by the program rather than by a shell.
    let many: String = (0..300).map(|number| format!("create refs/heads/many/{number} HEAD\n")).collect();
    fs::write(sandbox.home().join("many"), many).expect("write");
    let args = ["-c", "git update-ref --stdin <../many"];
    let _ = fs::remove_file(&log);
    let mut command = sandbox.program("sh", &root, &args);
    let long =
        command.env("PATH", format!("{}:{}:/usr/bin:/bin", bin.display(), sandbox.only_git().display()));
    let long = long.output().expect("sh");
    assert!(long.status.success(), "{long:?}");
    assert_eq!(fs::read_to_string(&log).unwrap_or_default().lines().count(), 1);
    let asked = started(&path, &["commit", "--allow-empty", "-m", "x"]);
    let asked: Vec<&str> = asked.lines().map(|line| line.split(" 0").next().unwrap_or(line)).collect();
    assert!(asked.iter().any(|line| line.contains("reference-transaction committed")), "{asked:?}");
}

#[test]
fn a_voucher_is_worth_nothing_once_its_command_is_done() {
    let sandbox = Sandbox::new();
    hooks::install(&sandbox.root().join(".git"));
    let hook = sandbox.root().join(".git/hooks/post-checkout");
    let stolen = sandbox.home().join("stolen");
    write_program(
        &hook,
        format!("#!/bin/sh\nenv | sed -n s/^HEDDLE_VOUCHER=//p >> '{}'\n", stolen.display()),
    );
    sandbox.reserve("fix", &["--worktree"]);
    let before = sandbox.tip("fix");
    sandbox.commit("next");
    for voucher in fs::read_to_string(&stolen).unwrap_or_default().lines().chain(["1", "", "x"]) {
        let mut command =
            sandbox.program("git", &sandbox.root(), &["update-ref", "refs/heddle/threads/fix", "HEAD"]);
        let answer = Answer::of(&command.env("HEDDLE_VOUCHER", voucher).output().expect("git"));
        assert!(answer.code != 0 && answer.stderr.contains("moves for its owner only"), "{answer:?}");
    }
    assert_eq!(sandbox.tip("fix"), before);
}

#[test]
fn heddle_itself_works_on_every_thread() {
    let yard = Yard::new();
    let heddle = |args: &[&str]| yard.sandbox.heddle(args).exits(0);
    heddle(&["thread", "promote", "fix", "--branch=fixed", "--session", &yard.owner]);
    heddle(&["thread", "land", "fix"]);
    heddle(&["thread", "drop", "other", "--force"]);
    heddle(&["thread", "drop", "fix", "--force"]);
    yard.sandbox.git(&["pack-refs", "--all"]);
    yard.sandbox.heddle(&["agent", "reserve", "--thread", "fix", "--anchor", "main", "--worktree"]).exits(0);
    heddle(&["thread", "drop", "fix", "--force"]);
    yard.sandbox.git(&["config", "heddle.retention", "0"]);
    heddle(&["gc"]);
    assert_eq!(yard.sandbox.git(&["for-each-ref", "refs/heddle"]), "");
}

/// Runs every kind of Git command that has nothing to do with threads, in a repository that
/// has some; what each said and where every ref is afterwards.
fn a_day_of_work(hooked: bool) -> Vec<String> {
    let sandbox = Sandbox::unborn();
    if hooked {
        hooks::install(&sandbox.root().join(".git"));
    }
    let first = sandbox.commit("first");
    sandbox.reserve("fix", &["--worktree"]);
    let root = sandbox.root();
    sandbox.git_in(sandbox.home(), &["init", "--quiet", "--bare", "remote"]);
    sandbox.git(&["remote", "add", "origin", "../remote"]);
    put(&root, "stashed", "x\n");
    let mut said = Vec::new();
    for args in [
        "add -A",
        "commit -m one",
        "commit --amend --no-verify -m uno",
        "commit --allow-empty -m two",
        "tag -a -m t v1",
        "branch -f side HEAD^",
        "branch -m side other",
        "checkout other",
        "commit --allow-empty -m three",
        "rebase main",
        "reset --hard HEAD^",
        "reset --hard HEAD@{1}",
        "checkout main",
        "merge --no-ff --no-edit other",
        "cherry-pick --allow-empty --keep-redundant-commits other",
        "revert --no-edit --no-commit HEAD",
        "revert --abort",
        "push origin main other --tags",
        "push --no-verify origin :other",
        "fetch --prune origin",
        "fetch origin main:refs/heads/fetched",
        "worktree add --detach ../aside main",
        "worktree move ../aside ../away",
        "worktree remove ../away",
        "rm --quiet stashed",
        "stash",
        "stash pop",
        "stash drop",
        "symbolic-ref HEAD refs/heads/other",
        "symbolic-ref HEAD refs/heads/main",
        "update-ref refs/heads/raw HEAD",
        "update-ref -d refs/heads/raw",
        "pack-refs --all",
        "bisect start HEAD HEAD~2",
        "bisect reset",
        "notes add -m n HEAD",
        "replace --graft HEAD HEAD^",
        "replace -d HEAD",
        "gc --quiet",
        "branch -D other",
        "reflog expire --expire=now --all",
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let answer = sandbox.try_git(&root, &args);
        let refs = sandbox.git(&["for-each-ref"]);
        said.push(format!("{args:?}: {} {}{}{refs}", answer.code, answer.stdout, answer.stderr));
    }
    let home = sandbox.home().display().to_string();
    said.push(first);
    said.iter().map(|line| line.replace(&home, "")).collect()
}

#[test]
fn whom_a_hook_leaves_in_the_background_nobody_waits_for() {
    let (sandbox, reserved, path) = Sandbox::owned(&[]);
    let (gate, done) = (sandbox.home().join("gate"), sandbox.home().join("done"));
    fs::write(&gate, "").expect("a file");
    let script = format!(
        "#!/bin/sh\n(for i in $(seq 300); do [ -e '{}' ] || break; sleep 0.1; done; : >'{}') &\n",
        gate.display(),
        done.display()
    );
    for hook in ["post-checkout", "commit-msg"] {
        write_program(sandbox.root().join(".git/hooks").join(hook), &script);
    }
    sandbox.heddle(&["agent", "reserve", "--thread", "other", "--worktree"]).exits(0);
    put(&path, "file", "text\n");
    let args = ["agent", "capture", "--session", &text(&reserved, "session_id"), "-m", "x"];
    sandbox.heddle_in(&path, &args).exits(0);
    assert!(!done.exists());
    fs::remove_file(&gate).expect("the file");
}

#[test]
fn everything_else_is_untouched() {
    let (with, without) = (a_day_of_work(true), a_day_of_work(false));
    for (with, without) in with.iter().zip(&without) {
        assert_eq!(with, without);
    }
}
