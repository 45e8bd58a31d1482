//! A repository of its own for a test, with an environment that nothing leaks into.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[path = "../support_format/mod.rs"]
pub(crate) mod format;
#[path = "../support_hooks/mod.rs"]
pub(crate) mod hooks;

use assert_fs::TempDir;
use serde_json::Value;

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The one document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer, if the command exited with `code`.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The document's string at `key`.
#[track_caller]
pub(crate) fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_else(|| panic!("{key} in {document}")).to_owned()
}

/// Writes a file.
#[track_caller]
pub(crate) fn put(folder: &Path, name: &str, content: &str) {
    fs::write(folder.join(name), content).expect("write");
}

/// Files by their paths.
pub(crate) type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// A folder with a home and, below it, a repository.
pub(crate) struct Sandbox {
    home: TempDir,
    /// The kind of repository that is made in it.
    pub(crate) format: format::Format,
    /// A folder whose programs come before all others.
    pub(crate) first_on_path: Option<PathBuf>,
}

impl Sandbox {
    /// A folder without a repository.
    pub(crate) fn empty() -> Self {
        Self::of(format::asked())
    }

    /// As [`Self::empty`], for a repository of that kind.
    pub(crate) fn of(format: format::Format) -> Self {
        let home = TempDir::new().expect("temporary folder");
        fs::create_dir(home.path().join("repo")).expect("folder");
        Self { home, format, first_on_path: None }
    }

    /// One with a commit, which the library is used in from the test's own process: the sandbox's
    /// environment does not count there.
    pub(crate) fn for_the_library(format: format::Format) -> Self {
        let sandbox = Self::of(format).initialized();
        sandbox.commit("first");
        for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com")] {
            sandbox.git(&["config", key, value]);
        }
        sandbox
    }

    /// A repository without a commit.
    pub(crate) fn unborn() -> Self {
        Self::empty().initialized()
    }

    /// The same with its repository made, which has no commit.
    pub(crate) fn initialized(self) -> Self {
        let sandbox = self;
        sandbox.git(&["init", "--quiet", "--initial-branch=main"]);
        if hooks::wanted() {
            hooks::place(&sandbox.root().join(".git"));
        }
        sandbox
    }

    /// A repository with a commit.
    pub(crate) fn new() -> Self {
        let sandbox = Self::unborn();
        sandbox.commit("first");
        sandbox
    }

    /// The home, which everything of the test lies in.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The repository's top folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.home.path().join("repo")
    }

    /// A path in heddle's state.
    pub(crate) fn state(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(".git/heddle").join(path)
    }

    /// Where programs are looked for, `folder` first.
    pub(crate) fn path_after(&self, folder: Option<&Path>) -> OsString {
        let rest = hooks::path();
        let folders = folder.map(Path::to_owned).into_iter().chain(std::env::split_paths(&rest));
        std::env::join_paths(folders).expect("PATH")
    }

    /// A program in `folder`, with nothing in its environment but what the sandbox says.
    pub(crate) fn program(&self, name: impl AsRef<OsStr>, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(name);
        command
            .args(args)
            .current_dir(folder)
            .env_clear()
            .env("PATH", self.path_after(self.first_on_path.as_deref()))
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.com")
            .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.com")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .envs(self.format.environment())
            .stdin(Stdio::null());
        command
    }

    /// The git program, which has to succeed; what it printed, trimmed.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.root(), args)
    }

    /// As [`Self::git`], elsewhere.
    #[track_caller]
    pub(crate) fn git_in(&self, folder: &Path, args: &[&str]) -> String {
        let output = self.program("git", folder, args).output().expect("git");
        let answer = Answer::of(&output).exits(0);
        answer.stdout.trim().to_owned()
    }

    /// Makes a commit that adds a file of that name; its id.
    #[track_caller]
    pub(crate) fn commit(&self, name: &str) -> String {
        fs::write(self.root().join(name), format!("{name}\n")).expect("write");
        self.git(&["add", name]);
        self.git(&["commit", "--quiet", "--message", name]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A folder with nothing in it but the git that tests use: the system's may be older than
    /// the repository.
    #[track_caller]
    pub(crate) fn only_git(&self) -> PathBuf {
        let folder = self.home().join("only-git");
        let mut places =
            std::env::split_paths(&hooks::path()).map(|place| place.join("git")).collect::<Vec<_>>();
        places.retain(|place| place.is_file());
        if fs::create_dir(&folder).is_ok() {
            std::os::unix::fs::symlink(&places[0], folder.join("git")).expect("link");
        }
        folder
    }

    /// Makes the ref again, so that its log says that it was moved at that time.
    #[track_caller]
    pub(crate) fn move_at(&self, at: &str, name: &str) {
        let value = self.git(&["rev-parse", name]);
        let git = |args: &[&str]| {
            let args = [&["-c", "core.hooksPath=/dev/null", "update-ref"], args].concat();
            let mut command = self.program("git", &self.root(), &args);
            assert!(command.env("GIT_COMMITTER_DATE", at).status().expect("git").success());
        };
        git(&["-d", name]);
        git(&["--create-reflog", "-m", "again", name, &value]);
    }

    /// The git program elsewhere, whatever it exits with.
    pub(crate) fn try_git(&self, folder: &Path, args: &[&str]) -> Answer {
        Answer::of(&self.program("git", folder, args).output().expect("git"))
    }

    /// Commits all files of the worktree in `folder`, `name` with `content`; the commit.
    #[track_caller]
    pub(crate) fn commit_in(&self, folder: &Path, name: &str, content: &str) -> String {
        put(folder, name, content);
        self.git_in(folder, &["add", "-A"]);
        self.git_in(folder, &["commit", "--quiet", "-m", name]);
        self.git_in(folder, &["rev-parse", "HEAD"])
    }

    /// A repository with hooks and a session on the thread `fix` with a worktree of its own:
    /// also the session and the worktree.
    #[track_caller]
    pub(crate) fn owned(more: &[&str]) -> (Self, Value, PathBuf) {
        let sandbox = Self::new();
        hooks::install(&sandbox.root().join(".git"));
        let reserved = sandbox.reserve("fix", &[&["--worktree"], more].concat());
        let path = PathBuf::from(text(&reserved, "path"));
        (sandbox, reserved, path)
    }

    /// The tip of a thread.
    #[track_caller]
    pub(crate) fn tip(&self, thread: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heddle/threads/{thread}")])
    }

    /// The program under test, to be started by the caller.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_git-heddle"), &self.root(), args)
    }

    /// Runs the program under test.
    pub(crate) fn heddle(&self, args: &[&str]) -> Answer {
        self.heddle_with(&[], args)
    }

    /// As [`Self::heddle`], elsewhere.
    pub(crate) fn heddle_in(&self, folder: &Path, args: &[&str]) -> Answer {
        let output = self.program(env!("CARGO_BIN_EXE_git-heddle"), folder, args).output();
        Answer::of(&output.expect("git-heddle"))
    }

    /// As [`Self::heddle`], with more in the environment.
    pub(crate) fn heddle_with(&self, environment: &[(&str, &str)], args: &[&str]) -> Answer {
        let output = self.command(args).envs(environment.iter().copied()).output();
        Answer::of(&output.expect("git-heddle"))
    }

    /// Reserves `thread`, which has to succeed.
    #[track_caller]
    pub(crate) fn reserve(&self, thread: &str, more: &[&str]) -> Value {
        let args = [&["agent", "reserve", "--thread", thread], more].concat();
        self.heddle(&args).exits(0).json()
    }

    /// Everything that a refusal must leave alone; see [`snapshot_of`].
    #[track_caller]
    pub(crate) fn snapshot(&self) -> Snapshot {
        snapshot_of(&self.root())
    }

    /// A command that is refused with `code` and changes nothing.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, args: &[&str]) -> Answer {
        self.refused_with(&[], code, args)
    }

    /// As [`Self::refused`], with more in the environment.
    #[track_caller]
    pub(crate) fn refused_with(&self, environment: &[(&str, &str)], code: i32, args: &[&str]) -> Answer {
        let before = self.snapshot();
        let answer = self.heddle_with(environment, args).exits(code);
        assert_same(&before, &self.snapshot());
        answer
    }

    /// Edits a live session's record.
    #[track_caller]
    pub(crate) fn edit_session(&self, session: &str, edit: impl FnOnce(&mut Value)) {
        let path = self.state(format!("agents/{session}.json"));
        let mut record = serde_json::from_slice(&fs::read(&path).expect("record")).expect("JSON");
        edit(&mut record);
        fs::write(path, record.to_string()).expect("write");
    }

    /// Lets the lease of a session, which is shorter than this machine is up, lapse.
    #[track_caller]
    pub(crate) fn lapse(&self, session: &str) {
        self.edit_session(session, |record| record["heartbeat"]["monotonic_ms"] = Value::from(0));
    }
}

/// All files below `folder` but for objects, which nobody sees until something names them,
/// and locks, which say nothing once their process is gone.
#[track_caller]
pub(crate) fn snapshot_of(folder: &Path) -> Snapshot {
    let mut files = Snapshot::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            let ours = path.ends_with("heddle-worktree.lock") || folder.ends_with("heddle/locks");
            let lock = path.extension().is_some_and(|end| end == "lock" || end == "queue");
            if path.is_symlink() {
                let to = fs::read_link(&path).expect("link");
                files.insert(path, to.into_os_string().into_encoded_bytes());
            } else if path.is_dir() && !path.ends_with("objects") {
                folders.push(path);
            } else if path.is_file() && !(ours && lock) {
                let bytes = fs::read(&path).expect("file");
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// Panics with the paths that differ.
#[track_caller]
pub(crate) fn assert_same(before: &Snapshot, after: &Snapshot) {
    let differing: Vec<&PathBuf> = before
        .keys()
        .chain(after.keys().filter(|path| !before.contains_key(*path)))
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(differing.is_empty(), "changed: {differing:#?}");
}
