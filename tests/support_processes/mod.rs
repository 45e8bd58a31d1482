//! Real processes in a repository of their own.

#![expect(dead_code, reason = "each test crate uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[path = "../support_format/mod.rs"]
pub(crate) mod format;
#[path = "../support_hooks/mod.rs"]
mod hooks;

use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_git-heddle");

/// A repository with one commit on `main`, and a home of its own.
#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

impl Ended {
    /// From what the system gives.
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The document on stdout; null if there is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or(Value::Null)
    }

    /// Panics unless it succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// A string in the document.
    pub(crate) fn text(&self, key: &str) -> String {
        let json = self.json();
        json[key].as_str().unwrap_or_else(|| panic!("no {key} in {self:?}")).to_owned()
    }
}

impl Sandbox {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("heddle-processes-").tempdir().expect("temporary folder");
        let sandbox = Self { folder };
        for name in ["home", "tmp", "repo"] {
            fs::create_dir(sandbox.path(name)).expect("folder");
        }
        sandbox.git(&["init", "-q", "-b", "main", "--template="]);
        if hooks::wanted() {
            hooks::place(&sandbox.git_dir());
        }
        let config = "[user]\n\tname = A\n\temail = a@example.com\n[heddle]\n\tlockTimeout = 10s\n";
        let path = sandbox.git_dir().join("config");
        let text = fs::read_to_string(&path).expect("configuration");
        fs::write(&path, text + config).expect("configuration");
        sandbox.write("first", "first\n");
        sandbox.git(&["add", "first"]);
        sandbox.git(&["commit", "-q", "-m", "first"]);
        sandbox
    }

    /// One in which thread `t` is held by a process that is gone.
    pub(crate) fn with_a_dead_owner() -> Self {
        let sandbox = Self::new();
        let mut holder = Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = holder.id().to_string();
        sandbox.heddle(&["agent", "reserve", "--thread", "t", "--hold-for-pid", &pid]).ok();
        holder.kill().expect("killed");
        holder.wait().expect("gone");
        sandbox
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The worktree.
    pub(crate) fn worktree(&self) -> PathBuf {
        self.path("repo")
    }

    /// The Git directory.
    pub(crate) fn git_dir(&self) -> PathBuf {
        self.path("repo/.git")
    }

    /// Writes a file of the worktree.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.worktree().join(name), text).expect("file of the worktree");
    }

    /// Any program, in the worktree, with nothing of our environment.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.worktree())
            .env_clear()
            .env("PATH", hooks::path())
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(format::asked().environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs any program.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Ended {
        Ended::new(&self.command(program, args).output().expect("program"))
    }

    /// What a git command that succeeds prints.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.command("git", args).output().expect("git");
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs git-heddle.
    pub(crate) fn heddle(&self, args: &[&str]) -> Ended {
        self.run(BINARY, args)
    }

    /// Starts git-heddle.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(BINARY, args).spawn().expect("git-heddle")
    }

    /// The commit that a revision names; empty if it names none.
    pub(crate) fn commit(&self, revision: &str) -> String {
        self.run("git", &["rev-parse", "-q", "--verify", revision]).stdout.trim().to_owned()
    }

    /// Whether `commit` is reachable from `tip`.
    pub(crate) fn reaches(&self, tip: &str, commit: &str) -> bool {
        self.run("git", &["merge-base", "--is-ancestor", commit, tip]).code == Some(0)
    }

    /// The events, each of them readable.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.git_dir().join("heddle/events.jsonl")).unwrap_or_default();
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(parse).collect()
    }

    /// A record below `heddle/`.
    pub(crate) fn record(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.git_dir().join("heddle").join(name));
        text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("a whole record"))
    }

    /// Whether the thread's journal is there and whole.
    pub(crate) fn has_whole_journal(&self, thread: &str) -> bool {
        let path = self.git_dir().join(format!("heddle/locks/{thread}.journal"));
        fs::read(path).is_ok_and(|text| text.last() == Some(&b'\n'))
    }

    /// Locks below `refs/`, and those on the packed ones and on HEAD.
    pub(crate) fn ref_locks(&self) -> Vec<PathBuf> {
        let mut locks = files(&self.git_dir().join("refs"), &|name| name.ends_with(".lock"));
        locks.extend(files(&self.git_dir().join("reftable"), &|name| name == "tables.list.lock"));
        let others = ["packed-refs.lock", "HEAD.lock"].map(|name| self.git_dir().join(name));
        locks.extend(others.into_iter().filter(|lock| lock.exists()));
        locks
    }

    /// Has the doctor remove the locks of Git's that killed processes left. Git processes of
    /// other tests may hold them, for all the doctor can know, so it may take a while.
    pub(crate) fn heal(&self, about: &str) {
        let healed = eventually(Duration::from_secs(30), || {
            self.heddle(&["doctor", "--fix"]);
            self.ref_locks().is_empty()
        });
        assert!(healed, "{about}: {:?}", self.heddle(&["doctor"]));
    }

    /// Asserts that the repository is sound and that nothing is left over.
    pub(crate) fn assert_clean(&self, about: &str) {
        let fsck = self.run("git", &["fsck", "--strict", "--no-dangling"]);
        assert_eq!((fsck.code, fsck.stderr.trim()), (Some(0), ""), "{about}: fsck: {fsck:?}");
        assert_eq!(self.ref_locks(), Vec::<PathBuf>::new(), "{about}");
        let left = |name: &str| {
            name.ends_with(".new")
                || name.ends_with(".journal")
                || name == "index.lock"
                || name == "packed-refs.lock"
        };
        assert_eq!(files(&self.git_dir(), &left), Vec::<PathBuf>::new(), "{about}");
        assert_eq!(files(&self.path("tmp"), &|_| true), Vec::<PathBuf>::new(), "{about}");
        // Every live session is the one that its thread's record names.
        for path in files(&self.git_dir().join("heddle/agents"), &|_| true) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let ended = path.parent().is_some_and(|folder| folder.ends_with("ended"));
            if ended {
                continue;
            }
            let id = name.split('.').next().unwrap_or_default().to_owned();
            let session = self.record(&format!("agents/{id}.json"));
            let thread = session["thread"].as_str().unwrap_or_else(|| panic!("{about}: {name} is left over"));
            let record = self.record(&format!("threads/{}.json", thread.replace('/', "%2F")));
            assert_eq!(record["owner"].as_str(), Some(id.as_str()), "{about}: {name} is a ghost");
            assert_eq!(record["generation"], session["generation"], "{about}: {name}");
        }
    }

    /// The ids of the thread's active sessions.
    pub(crate) fn active(&self, thread: &str) -> Vec<String> {
        let list = self.heddle(&["--json", "agent", "list", "--thread", thread]).ok().json();
        let rows = list.as_array().expect("an array").iter();
        rows.filter(|row| row["status"] == "active")
            .map(|row| row["session_id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

/// The files below `folder` whose name fits.
pub(crate) fn files(folder: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(&entry.path(), fits));
        } else if fits(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found
}

/// Polls until `holds`, at most for `limit`; whether it came to hold.
pub(crate) fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Files by their paths below the top; a folder has no content, and a link where it leads.
pub(crate) type Files = BTreeMap<PathBuf, Body>;

/// What is in a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Body {
    File(Vec<u8>),
    Link(PathBuf),
    Folder,
}

/// What is below `top`, but for pipes and sockets.
pub(crate) fn read(top: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            let body = if path.is_symlink() {
                Body::Link(fs::read_link(&path).expect("link"))
            } else if path.is_dir() {
                folders.push(path.clone());
                Body::Folder
            } else if path.is_file() {
                Body::File(fs::read(&path).expect("file"))
            } else {
                continue;
            };
            files.insert(path.strip_prefix(top).expect("below").to_owned(), body);
        }
    }
    files
}

/// Puts `files` below `top` in the place of what is there.
pub(crate) fn restore(top: &Path, files: &Files) {
    // The top itself stays: it may be where something is mounted.
    for entry in fs::read_dir(top).expect("folder").flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }
    // A folder sorts before what is in it.
    for (path, body) in files {
        body.put_at(&top.join(path));
    }
}

/// As [`restore`], with what is as it was left alone: to make a whole repository anew takes a busy
/// disk longer than a command does.
pub(crate) fn restore_changed(top: &Path, files: &Files) {
    let now = read(top);
    for (path, body) in now.iter().rev().filter(|(path, body)| files.get(*path) != Some(*body)) {
        let path = top.join(path);
        let is_folder = *body == Body::Folder;
        if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }
    for (path, body) in files.iter().filter(|(path, body)| now.get(*path) != Some(*body)) {
        body.put_at(&top.join(path));
    }
}

impl Body {
    /// Makes it where nothing is.
    fn put_at(&self, path: &Path) {
        match self {
            Self::Folder => fs::create_dir(path).expect("folder"),
            Self::Link(to) => std::os::unix::fs::symlink(to, path).expect("link"),
            Self::File(bytes) => fs::write(path, bytes).expect("file"),
        }
    }
}

/// A generator of numbers that is the same everywhere (SplitMix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// An index into something of that length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }
}

/// A number that the environment sets.
pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Which of many cases are tried: one in so many, from the seed on, or all of them.
pub(crate) struct Picked {
    pub(crate) seed: u64,
    pub(crate) all: bool,
    stride: usize,
}

impl Picked {
    /// As the environment says: `all` names the variable that asks for all, `seed` that of the
    /// seed. Tells which it is.
    pub(crate) fn of(all: &str, seed: &str, stride: usize) -> Self {
        let number = from_environment(seed, u64::from(std::process::id()));
        let every = std::env::var_os(all).is_some_and(|value| value == "all");
        println!(
            "{seed}={number}, {}",
            if every { "every case".to_owned() } else { format!("one case in {stride}") }
        );
        Self { seed: number, all: every, stride: if every { 1 } else { stride } }
    }

    /// Those of `cases` that are tried.
    pub(crate) fn these<T>(&self, cases: impl IntoIterator<Item = T>) -> Vec<T> {
        let cases: Vec<T> = cases.into_iter().collect();
        // However few there are, one of them is tried.
        let first = self.seed % self.stride.min(cases.len().max(1)) as u64;
        let first = usize::try_from(first).expect("below a usize");
        cases.into_iter().skip(first).step_by(self.stride).collect()
    }
}
