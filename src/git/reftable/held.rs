//! Git's own lock on refs in the reftable format: a `git update-ref` that has prepared its
//! transaction and waits for us to say whether it is to happen.
//!
//! The lock is on all refs of the repository at once. It is held by the git program, which
//! has compared the old values under it and will write exactly what was asked for, or nothing.
//!
//! # If the process dies here
//! Git finds its input at its end and gives the lock back, everything unchanged. Should git be
//! killed too, `tables.list.lock` stays; the journal of the operation says which file that is
//! and which process held it, and recovery removes it once that process is gone: one that
//! lives gives it back itself, by its name.
//!
//! # If another does the same now
//! Git waits a moment for the lock and then gives up; so it is tried again until the time is
//! over. Those of us who want it line up before ([`Turn`]), instead of starting processes that
//! cannot succeed. A lock that is busy says nothing of the refs: they are read again.

use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::GitError;
use super::super::program::{self, Program};
use crate::platform::umask;
use crate::store::Layout;
use crate::store::atomic_file::no_follow;
use crate::store::journal::{FileIdentity, Helper};

/// A transaction that waits for its commit. Dropping it changes nothing and unlocks the refs.
#[must_use = "the refs are unlocked when this value is dropped"]
pub(in crate::git) struct Prepared {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: File,
    identity: FileIdentity,
    committed: bool,
    _turn: Option<Turn>,
}

/// Why a transaction could not be prepared.
pub(in crate::git) enum Refused {
    /// Git said no, in these words.
    Said(GitError),
    /// Git could not be talked to.
    Failed(GitError),
}

impl Prepared {
    /// Has `command`, a `git update-ref --stdin -z`, prepare the `changes`, which are in that
    /// form; `lock` is the lock that it takes.
    pub(in crate::git) fn begin(
        mut command: Command,
        changes: &str,
        lock: &Path,
        turn: Option<Turn>,
    ) -> Result<Self, Refused> {
        let start = |source| Refused::Failed(GitError::Start { source });
        // A file, as nobody reads it before the end: a pipe could fill up.
        let stderr = tempfile::tempfile().map_err(start)?;
        command.env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(stderr.try_clone().map_err(start)?);
        let mut child = umask::users(|| command.spawn()).map_err(start)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.ok_or_else(|| start(std::io::ErrorKind::BrokenPipe.into()))?);
        let identity = FileIdentity { dev: 0, ino: 0, born: None, helper: None };
        let mut prepared = Self { child, stdin, stdout, stderr, identity, committed: false, _turn: turn };
        prepared.say(&format!("start\0{changes}prepare\0"));
        if !(prepared.hears("start: ok") && prepared.hears("prepare: ok")) {
            return Err(Refused::Said(prepared.failure()));
        }
        let helper = Some(Helper::of(prepared.child.id()));
        match FileIdentity::of(lock) {
            Some(identity) => prepared.identity = FileIdentity { helper, ..identity },
            None => return Err(Refused::Failed(prepared.failure())),
        }
        Ok(prepared)
    }

    /// Which file the lock is.
    pub(in crate::git) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Makes the changes and unlocks the refs; nothing more where that was done before.
    pub(in crate::git) fn commit(&mut self) -> Result<(), GitError> {
        if self.committed {
            return Ok(());
        }
        self.say("commit\0");
        // Nothing more is to be said: git ends when it is done, whether its answer comes or not.
        self.stdin = None;
        if !self.hears("commit: ok") {
            return Err(self.failure());
        }
        self.committed = true;
        self.end();
        Ok(())
    }

    fn say(&mut self, text: &str) {
        let said = self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(text.as_bytes()).is_ok());
        if !said {
            // What was not said to its end is not waited for: git finds its input cut short, gives
            // up, and says so instead of an answer.
            self.stdin = None;
        }
    }

    fn hears(&mut self, answer: &str) -> bool {
        let mut line = String::new();
        let silent = self.stdin.is_some() && self.stdout.buffer().is_empty() && !self.is_answered();
        // An answer that was lost on its way would be waited for from both ends.
        if silent {
            return false;
        }
        self.stdout.read_line(&mut line).is_ok() && line.trim_end() == answer
    }

    /// Waits for git to answer: a little longer than it waits for the lock itself.
    fn is_answered(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let limit = program::patience() + Duration::from_secs(2);
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.stdout.get_ref().as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, limit).is_ok_and(|ready| ready > 0)
    }

    /// Lets git end, and waits for it.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        drop(self.stdin.take());
        self.child.wait().ok()
    }

    fn failure(&mut self) -> GitError {
        let status = self.end().map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        let mut said = Vec::new();
        let _ = self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut said));
        let stderr = String::from_utf8_lossy(&said).trim().to_owned();
        GitError::Program { command: "update-ref".to_owned(), status, stderr }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // The lock is free when git has ended, and not before.
        let _ = self.end();
    }
}

/// Our turn to take Git's lock on the refs: a lock of the operating system on a file of ours,
/// which no child inherits.
#[must_use = "the turn is over when this value is dropped"]
pub(in crate::git) struct Turn {
    _file: File,
}

impl Turn {
    /// Waits for it until `deadline`. `None` where there is no such file, as before the first
    /// reservation, or it takes no locks, or the time is over: Git's own lock decides.
    pub(in crate::git) fn take(common_dir: &Path, deadline: Instant) -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = Layout::new(common_dir).refs_lock();
        std::fs::create_dir_all(path.parent()?).ok()?;
        let file = no_follow().read(true).write(true).create(true).mode(0o666).open(path).ok()?;
        loop {
            match file.try_lock() {
                Ok(()) => return Some(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return None,
            }
        }
    }
}

/// How git is started to hold the refs of a repository: as libgit2 in any other, it runs no
/// hooks.
pub(in crate::git) fn update_ref(program: &Program, configured_hooks: &[String], message: &str) -> Command {
    let mut args = vec!["-c".to_owned(), "core.hooksPath=/dev/null".to_owned()];
    for name in configured_hooks {
        args.extend(["-c".to_owned(), format!("hook.{name}.enabled=false")]);
    }
    args.extend(["update-ref", "--create-reflog", "--stdin", "-z"].map(str::to_owned));
    if !message.is_empty() {
        args.extend(["-m".to_owned(), message.to_owned()]);
    }
    let mut command = program.command(args);
    // The log tells when it happened.
    command.env_remove("GIT_COMMITTER_DATE");
    command
}

/// Whether Git refused because another process holds the lock on all refs, or held it a moment
/// ago.
pub(in crate::git) fn is_busy(error: &GitError) -> bool {
    let signs = ["cannot lock references", "data is locked", "data concurrently modified"];
    matches!(error, GitError::Program { stderr, .. } if signs.iter().any(|sign| stderr.contains(sign)))
}
