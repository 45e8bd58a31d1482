//! `pre-push` and `pre-receive`, asked by a real `git push` to a real server.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_server;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Answer, Sandbox, hooks, text};
use support_server::Server;

/// A repository with all hooks, and a server with its own as its origin.
struct Yard {
    sandbox: Sandbox,
    server: Server,
    first: String,
}

impl Yard {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let first = sandbox.git(&["rev-parse", "HEAD"]);
        hooks::install(&sandbox.root().join(".git"));
        let server = Server::start(&sandbox);
        sandbox.heddle_in(&server.repository, &["hooks", "install", "--server"]).exits(0);
        sandbox.heddle_in(&server.repository, &["hooks", "status"]).exits(0);
        sandbox.git_in(&server.repository, &["config", "receive.advertisePushOptions", "true"]);
        sandbox.git(&["remote", "add", "origin", &server.url]);
        sandbox.git(&["push", "--quiet", "origin", "main"]);
        Self { sandbox, server, first }
    }

    /// A commit of `thread` on `parent`, on nothing.
    fn capture(&self, thread: &str, parent: &str, session: &str, generation: u64, word: &str) -> String {
        let trailers =
            format!("Heddle-Thread: {thread}\nHeddle-Session: {session}\nHeddle-Generation: {generation}");
        self.commit(parent, &format!("{word}\n\n{trailers}"))
    }

    fn commit(&self, parent: &str, message: &str) -> String {
        self.sandbox.git(&["commit-tree", &format!("{parent}^{{tree}}"), "-p", parent, "-m", message])
    }

    fn push(&self, args: &[&str]) -> Answer {
        let args = [&["push", "--quiet"], args].concat();
        Answer::of(&self.sandbox.program("git", &self.sandbox.root(), &args).output().expect("git"))
    }

    fn there(&self) -> String {
        self.sandbox.git(&["ls-remote", "origin"])
    }

    /// A push that the server takes.
    #[track_caller]
    fn taken(&self, args: &[&str]) {
        self.push(&[&["origin"], args].concat()).exits(0);
    }

    /// A push that is refused, in which case nothing there changes, and no object stays.
    #[track_caller]
    fn refused(&self, word: &str, args: &[&str]) {
        let before = (self.there(), self.objects());
        let answer = self.push(&[&["origin"], args].concat()).exits(1);
        assert!(answer.stderr.contains(word), "{answer:?}");
        assert_eq!((self.there(), self.objects()), before);
    }

    fn objects(&self) -> String {
        self.sandbox.git_in(&self.server.repository, &["count-objects", "-v"])
    }
}

/// A refspec for a thread.
fn to(commit: &str, thread: &str) -> String {
    format!("{commit}:refs/heddle/threads/{thread}")
}

fn mark(commit: &str, thread: &str) -> String {
    format!("{commit}:refs/heddle/ready/{thread}")
}

#[test]
fn generations_never_go_down_on_a_server() {
    let yard = Yard::new();
    let one = yard.capture("t", &yard.first, "agent-1", 1, "one");
    let two = yard.capture("t", &one, "agent-2", 2, "two");
    yard.taken(&[&to(&one, "t")]);
    yard.taken(&[&to(&two, "t")]);
    // On top of the new owner's work, beside it, and behind people's commits.
    let late = yard.capture("t", &two, "agent-1", 1, "late");
    yard.refused("generation 1 follows generation 2", &[&to(&late, "t")]);
    let by_hand = yard.commit(&two, "By hand");
    let later = yard.capture("t", &by_hand, "agent-1", 1, "later");
    yard.refused("generation 1 follows generation 2", &[&to(&later, "t")]);
    let beside = yard.capture("t", &one, "agent-1", 1, "beside");
    yard.refused("is at generation 2, and would be at 1", &["--force", &to(&beside, "t")]);
    yard.refused("would be at 0", &["--force", &to(&yard.first, "t")]);
    // By way of a branch that has the thread: what the branch has does not hide it.
    yard.taken(&[&format!("{two}:refs/heads/main")]);
    let merged = yard.commit(&two, "On main");
    yard.taken(&[&format!("{merged}:refs/heads/main")]);
    let late = yard.capture("t", &merged, "agent-1", 1, "late");
    yard.refused("generation 1 follows generation 2", &[&to(&late, "t")]);
    // The next owner goes on, and may begin anew.
    let three = yard.capture("t", &merged, "agent-3", 3, "three");
    yard.taken(&[&to(&three, "t")]);
    let anew = yard.capture("t", &yard.first, "agent-4", 4, "anew");
    yard.taken(&["--force", &to(&anew, "t")]);
    // A session has one generation, also where it is pushed first.
    let five = yard.capture("u", &yard.first, "agent-5", 5, "five");
    let six = yard.capture("u", &five, "agent-5", 6, "six");
    yard.refused("session 'agent-5' has generation 6", &[&to(&six, "u")]);
}

#[test]
fn a_thread_that_landed_and_went_comes_back_at_no_lower_generation() {
    let yard = Yard::new();
    let one = yard.capture("t", &yard.first, "agent-1", 1, "one");
    let two = yard.capture("t", &one, "agent-2", 2, "two");
    let on_main = yard.commit(&two, "On main");
    yard.taken(&[&to(&two, "t"), &format!("{on_main}:refs/heads/main")]);
    yard.taken(&["--delete", "refs/heddle/threads/t"]);
    let late = yard.capture("t", &one, "agent-1", 1, "late");
    let beside = "is at generation 2 on a branch, and would be at 1";
    yard.refused(beside, &[&to(&late, "t")]);
    yard.refused(beside, &[&to(&one, "t")]);
    // Not in two steps either: what nobody's session made has no generation yet.
    yard.taken(&[&to(&yard.first, "t")]);
    yard.refused(beside, &[&to(&late, "t")]);
    yard.sandbox.git_in(&yard.server.repository, &["update-ref", "-d", "refs/heddle/threads/t"]);
    // What goes on beside it is fine, and so is who begins on top of what landed.
    let three = yard.capture("t", &one, "agent-3", 3, "three");
    let anew = yard.capture("t", &on_main, "agent-4", 1, "anew");
    for commit in [three, anew] {
        yard.taken(&[&to(&commit, "t")]);
        yard.sandbox.git_in(&yard.server.repository, &["update-ref", "-d", "refs/heddle/threads/t"]);
    }
    // The very push that has it land counts, and so does a landing that is one commit.
    yard.taken(&["--force", &format!("{}:refs/heads/main", yard.first)]);
    yard.taken(&[&to(&late, "u"), &to(&late, "t")]);
    yard.taken(&[&format!("{late}:refs/heads/main"), ":refs/heddle/threads/t"]);
    yard.refused(beside, &[&to(&late, "t"), &format!("{two}:refs/heads/other")]);
    let claim = "Heddle-Thread: t\nHeddle-Session: agent-1\nHeddle-Session: agent-2\nHeddle-Generation: 2";
    let squashed = yard.commit(&yard.first, &format!("Land thread 't'\n\n{claim}"));
    yard.refused(beside, &[&to(&late, "t"), &format!("{squashed}:refs/heads/other")]);
}

#[test]
fn a_rewrite_within_a_generation_names_what_it_replaces() {
    let yard = Yard::new();
    let one = yard.capture("t", &yard.first, "agent-1", 1, "one");
    let amended = yard.capture("t", &yard.first, "agent-1", 1, "amended");
    yard.taken(&[&to(&one, "t")]);
    let lease = |old: &str| format!("--push-option=heddle-lease=refs/heddle/threads/t:{old}");
    yard.refused("lose commits of the same generation", &["--force", &to(&amended, "t")]);
    let exact = format!("--force-with-lease=refs/heddle/threads/t:{one}");
    yard.refused("heddle-lease=<ref>:<old>", &[&exact, &to(&amended, "t")]);
    let other = format!("--push-option=heddle-lease=refs/heddle/threads/u:{one}");
    yard.refused("same generation", &["--force", &other, &to(&amended, "t")]);
    yard.refused("same generation", &["--force", &lease(&amended), &to(&amended, "t")]);
    yard.push(&["--force", &lease(&one), "origin", &to(&amended, "t")]).exits(0);
    assert!(yard.there().contains(&amended));
}

#[test]
fn publish_says_what_it_replaces_to_a_server_that_listens_and_to_one_that_does_not() {
    let yard = Yard::new();
    let sandbox = &yard.sandbox;
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    fs::write(path.join("file"), "x\n").expect("write");
    sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
    let publish = |code: i32| sandbox.heddle(&["publish", "--json", "--session", &session]).exits(code);
    publish(0);
    let amend = |subject: &str| {
        let trailers = format!("Heddle-Thread: t\nHeddle-Session: {session}\nHeddle-Generation: 1");
        let message = format!("{subject}\n\n{trailers}");
        sandbox.git_in(&path, &["commit", "--quiet", "--amend", "--message", &message])
    };
    // An amended commit takes the place of the one that it replaces on the thread.
    amend("again");
    assert_eq!(publish(0).json()["published"][0]["rewritten"], true);
    amend("more");
    sandbox.git_in(&yard.server.repository, &["config", "receive.advertisePushOptions", "false"]);
    let answer = publish(1);
    assert!(answer.stderr.contains("lose commits of the same generation"), "{answer:?}");
    fs::remove_file(yard.server.repository.join("hooks/pre-receive")).expect("hook");
    publish(0);
}

#[test]
fn marks_on_a_server_are_at_the_tip() {
    let yard = Yard::new();
    let one = yard.capture("t", &yard.first, "agent-1", 1, "one");
    let two = yard.capture("t", &one, "agent-1", 1, "two");
    yard.refused("would not be at its tip", &[&mark(&one, "t")]);
    yard.refused("would not be at its tip", &[&to(&two, "t"), &mark(&one, "t")]);
    // The hook sees the whole push.
    yard.taken(&[&to(&one, "t"), &mark(&one, "t")]);
    yard.refused("would not be at its tip", &[&to(&two, "t")]);
    yard.refused("would not be at its tip", &["--delete", "refs/heddle/threads/t"]);
    yard.taken(&[&to(&two, "t"), ":refs/heddle/ready/t"]);
    yard.taken(&[&mark(&two, "t")]);
}

#[test]
fn a_thread_goes_from_a_server_once_it_has_landed() {
    let yard = Yard::new();
    let one = yard.capture("t", &yard.first, "agent-1", 1, "one");
    yard.taken(&[&to(&one, "t")]);
    yard.refused("has commits that no branch has", &["--delete", "refs/heddle/threads/t"]);
    // Landed by the very same push.
    yard.taken(&[&format!("{one}:refs/heads/main"), ":refs/heddle/threads/t"]);
    assert!(!yard.there().contains("refs/heddle"));
}

#[test]
fn what_has_no_form_is_not_taken_and_everything_else_is() {
    use std::os::unix::ffi::OsStrExt as _;
    let yard = Yard::new();
    let twice = yard.commit(
        &yard.first,
        "x\n\nHeddle-Thread: t\nHeddle-Thread: u\nHeddle-Session: agent-1\nHeddle-Generation: 1",
    );
    yard.refused("has 2 Heddle-Thread trailers", &[&to(&twice, "t")]);
    let tree = format!("{}^{{tree}}", yard.first);
    yard.refused("would not be at a commit", &[&to(&tree, "t")]);
    yard.sandbox.git(&["tag", "-a", "-m", "x", "tag"]);
    yard.refused("would not be at a commit", &["tag:refs/heddle/threads/t"]);
    // The client's hook says so before the server does; going around it changes nothing.
    yard.refused("invalid thread name", &[&to(&yard.first, "-x")]);
    yard.refused("invalid thread name", &["--no-verify", &to(&yard.first, "-x")]);
    let name = [to(&yard.first, "b").as_bytes(), b"\xffd"].concat();
    let mut push = yard.sandbox.program("git", &yard.sandbox.root(), &["push", "--no-verify", "origin"]);
    let answer = Answer::of(&push.arg(std::ffi::OsStr::from_bytes(&name)).output().expect("git")).exits(1);
    assert!(answer.stderr.contains("it is not UTF-8"), "{answer:?}");
    yard.taken(&[
        "main:refs/heads/any",
        "refs/tags/tag",
        &format!("{twice}:refs/heads/forged"),
        &to(&yard.first, "fine"),
    ]);
    yard.taken(&["--force", &format!("{}:refs/heads/forged", yard.first), ":refs/heads/any"]);
    // Off is off, for those who keep the server.
    yard.sandbox.git_in(&yard.server.repository, &["config", "heddle.hooks", "off"]);
    yard.taken(&[&to(&twice, "t")]);
}

#[test]
fn a_commit_of_a_thread_names_one_session_unless_it_landed_the_thread() {
    let yard = Yard::new();
    let claim = "Heddle-Thread: t\nHeddle-Session: agent-1\nHeddle-Session: agent-2\nHeddle-Generation: 2";
    let two = yard.commit(&yard.first, &format!("x\n\n{claim}"));
    yard.refused("has 2 Heddle-Session trailers", &[&to(&two, "t")]);
    let none = yard.commit(&yard.first, "x\n\nHeddle-Thread: t");
    yard.refused("has 0 Heddle-Session trailers", &[&to(&none, "t")]);
    // A landing has, and what names another thread is not this one's.
    let landed = yard.commit(&yard.first, &format!("Land thread 't'\n\n{claim}"));
    yard.taken(&[&to(&landed, "t"), &to(&two, "another")]);
    let next = yard.capture("t", &landed, "agent-1", 1, "next");
    yard.refused("generation 1 follows generation 2", &[&to(&next, "t")]);
}

#[test]
fn a_server_without_the_binary_says_so_and_refuses_where_it_must() {
    let yard = Yard::new();
    let shim = fs::read_to_string(yard.server.repository.join("hooks/pre-receive")).expect("shim");
    let blind = shim.replace("git-heddle", "git-heddle-that-is-not-there");
    fs::write(yard.server.repository.join("hooks/pre-receive"), blind).expect("shim");
    let answer = yard.push(&["origin", &to(&yard.first, "t")]).exits(0);
    assert!(answer.stderr.contains("nothing was checked"), "{answer:?}");
    yard.sandbox.git_in(&yard.server.repository, &["config", "heddle.hooks", "enforce"]);
    yard.refused("not on PATH", &[&to(&yard.first, "u")]);
}

#[test]
fn only_the_owner_pushes_a_thread() {
    let yard = Yard::new();
    let sandbox = &yard.sandbox;
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    let other = text(&sandbox.reserve("other", &[]), "session_id");
    let spec = "refs/heddle/threads/t:refs/heddle/threads/t";
    yard.refused(&format!("reserved by session '{session}'"), &[spec]);
    // Under whichever name it goes.
    yard.refused("published by its owner only", &["main:refs/heddle/ready/t"]);
    yard.refused("published by its owner only", &[":refs/heddle/threads/t"]);
    yard.refused("published by its owner only", &["refs/heddle/*:refs/heddle/*"]);
    let push = |folder: &Path, session: &str, args: &[&str]| {
        let mut command = sandbox.program("git", folder, &[&["push", "--quiet"], args].concat());
        if !session.is_empty() {
            command.env("HEDDLE_SESSION", session);
        }
        Answer::of(&command.output().expect("git"))
    };
    push(&sandbox.root(), &other, &["origin", spec]).exits(1);
    push(&sandbox.root(), &session, &["origin", spec]).exits(0);
    let captured = {
        fs::write(path.join("file"), "x\n").expect("write");
        sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", "x"]).exits(0);
        text(&sandbox.heddle(&["thread", "show", "t", "--json"]).exits(0).json(), "tip")
    };
    // In its own worktree nobody has to say who they are.
    push(&path, "", &["origin", spec]).exits(0);
    assert!(yard.there().contains(&captured));
    // What nobody owns is anybody's, and so is everything else.
    sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    push(&sandbox.root(), "", &["origin", ":refs/heads/none", spec]).exits(0);
    // A person who insists goes by heddle.
    sandbox.heddle(&["publish", "origin", "other", "--force"]).exits(0);
}

#[test]
fn a_target_that_takes_along_what_is_not_ready_is_pushed_with_a_warning_or_not_at_all() {
    let yard = Yard::new();
    let sandbox = &yard.sandbox;
    let reserved = sandbox.reserve("t", &["--worktree"]);
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    let capture = |word: &str| {
        fs::write(path.join(word), "x\n").expect("write");
        sandbox.heddle_in(&path, &["agent", "capture", "--session", &session, "-m", word]).exits(0);
    };
    capture("one");
    sandbox.git(&["merge", "--quiet", "refs/heddle/threads/t"]);
    let unready = "'main' takes along a commit of thread 't', which is not marked ready";
    sandbox.git(&["config", "heddle.pushUnready", "refuse"]);
    yard.refused(unready, &["main"]);
    yard.refused("not marked ready", &["HEAD:main", "HEAD:refs/heads/other"]);
    // A branch that is nobody's target may have it: promoted threads are pushed to be looked at.
    yard.taken(&["main:refs/heads/other"]);
    sandbox.git(&["config", "heddle.pushUnready", "nonsense"]);
    let answer = yard.push(&["origin", "main:refs/heads/other"]);
    assert!(answer.stderr.contains("'warn' or 'refuse' is expected"), "{answer:?}");
    sandbox.git(&["config", "--unset", "heddle.pushUnready"]);
    // What was called ready is ready, also when the thread goes on.
    sandbox.git(&["reset", "--quiet", "--hard", &yard.first]);
    sandbox.heddle(&["agent", "ready", "--session", &session, "--no-capture"]).exits(0);
    sandbox.git(&["merge", "--quiet", "refs/heddle/threads/t"]);
    assert_eq!(yard.push(&["--dry-run", "origin", "main"]).exits(0).stderr, "");
    capture("two");
    assert_eq!(yard.push(&["--dry-run", "origin", "main"]).exits(0).stderr, "");
    sandbox.git(&["merge", "--quiet", "refs/heddle/threads/t"]);
    let answer = yard.push(&["origin", "main"]).exits(0);
    assert!(answer.stderr.contains(unready), "{answer:?}");
}
