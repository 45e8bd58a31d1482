//! The lock of one thread (or of one worktree's captures): an OS file lock.
//!
//! It dies with its process, so a crash never leaves it held, and a live holder is never
//! overridden. The file is created once and never renamed, replaced or unlinked: a second
//! file of the same name would be a second lock. Its only line names the holder, for the
//! message of whoever waits in vain; it is believed only while the lock is busy.
//!
//! Children do not inherit it: std opens files close-on-exec.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::atomic_file::{self, Durability, no_follow};
use crate::platform::{NoTerminalStop, Platform, ProcessState};

/// Who holds a lock, as its line says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Where that process lives.
    pub host: String,
    /// What it is doing: "agent capture".
    pub command: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether it runs, seen by the one who waits.
    #[serde(skip)]
    pub condition: Option<&'static str>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, command, since, condition } = self;
        write!(f, "process {pid} on {host} (git heddle {command}, since {since}")?;
        match condition {
            Some(condition) => write!(f, ", {condition})"),
            None => f.write_str(")"),
        }
    }
}

/// A held lock. It is released when dropped.
#[must_use = "the lock is released when this value is dropped"]
#[derive(Debug)]
pub struct FileLock {
    file: File,
    _no_stop: Option<NoTerminalStop>,
}

/// How to take a lock.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What is locked, for the message: "thread 'fix'".
    pub what: &'a str,
    /// What we are doing, for the message of others.
    pub command: &'a str,
    /// How long to wait.
    pub timeout: Duration,
    /// Whether Ctrl-Z waits until the lock is free again: for locks held for
    /// milliseconds.
    pub brief: bool,
}

impl FileLock {
    /// Has `command` hold the lock too, for as long as it lives: should we die, nobody gets in its
    /// way. It reads nothing.
    pub fn lend_to(&self, command: &mut Command) {
        if let Ok(file) = self.file.try_clone() {
            command.stdin(Stdio::from(file));
        }
    }

    /// Takes the lock at `path`, waiting as `terms` say.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after the time limit; [`StoreError::Io`].
    pub fn acquire(path: &Path, terms: Terms<'_>, platform: &dyn Platform) -> Result<Self, StoreError> {
        let open = || no_follow().read(true).write(true).create(true).mode(0o666).open(path);
        let file = open()
            .or_else(|error| match (error.kind(), path.parent()) {
                (io::ErrorKind::NotFound, Some(folder)) => {
                    // A lock need not survive a power cut, but the journal beside it has to.
                    atomic_file::create_folder(folder, Durability::PowerLoss)?;
                    open()
                }
                _ => Err(error),
            })
            .map_err(StoreError::io("lock", path))?;
        let no_stop = terms.brief.then(NoTerminalStop::begin);
        let deadline = Instant::now() + terms.timeout;
        let mut wait = Duration::from_micros(500);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = terms.what.to_owned();
                return Err(StoreError::Busy { what, holder: read_holder(&file, platform) });
            }
            std::thread::sleep(jittered(wait, platform).min(left));
            wait = (wait * 2).min(Duration::from_millis(20));
        }
        let holder = Holder {
            pid: std::process::id(),
            host: platform.place().host.clone(),
            command: terms.command.to_owned(),
            since: platform.now().wall.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            condition: None,
        };
        // Only a message depends on the line: on a full disk the lock is held all the same.
        if let Ok(line) = serde_json::to_string(&holder) {
            let line = format!("{line}\n");
            let _ = file.write_all_at(line.as_bytes(), 0).and_then(|()| file.set_len(line.len() as u64));
        }
        Ok(Self { file, _no_stop: no_stop })
    }
}

/// A place in a queue; left when dropped.
#[must_use = "the place is left when this value is dropped"]
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    coming: Receiver<io::Result<File>>,
    head: Option<File>,
}

impl Place {
    /// Lines up in the queue at `path`. The system wakes those who wait in the order in which
    /// they came.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let open = no_follow().read(true).write(true).create(true).mode(0o666).open(path);
        let file = open.map_err(StoreError::io("lock", path))?;
        let (sender, coming) = std::sync::mpsc::channel();
        // A blocking lock has no time limit, so it is taken by a thread of its own. One
        // that comes too late finds nobody listening and gives the lock back.
        std::thread::spawn(move || {
            let taken = file.lock().map(|()| file);
            let _ = sender.send(taken);
        });
        Ok(Self { path: path.to_owned(), coming, head: None })
    }

    /// Whether this is the head of the queue, or becomes it within `limit`.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn is_first(&mut self, limit: Duration) -> Result<bool, StoreError> {
        if self.head.is_none()
            && let Ok(taken) = self.coming.recv_timeout(limit)
        {
            self.head = Some(taken.map_err(StoreError::io("lock", &self.path))?);
        }
        Ok(self.head.is_some())
    }
}

/// Between half and all of `wait`, so that those who wait do not come back together.
fn jittered(wait: Duration, platform: &dyn Platform) -> Duration {
    let mut byte = [0u8; 1];
    let _ = platform.random(&mut byte);
    wait / 2 + (wait / 2) * u32::from(byte[0]) / 255
}

/// Reads the holder's line and looks at its process.
fn read_holder(mut file: &File, platform: &dyn Platform) -> Option<Holder> {
    let mut line = String::new();
    io::Seek::rewind(&mut file).ok()?;
    file.take(4096).read_to_string(&mut line).ok()?;
    let mut holder: Holder = serde_json::from_str(line.lines().next()?).ok()?;
    if holder.host == platform.place().host {
        holder.condition = match platform.process(holder.pid) {
            ProcessState::Running { stopped: true, .. } => Some("stopped"),
            ProcessState::Running { stopped: false, .. } => Some("running"),
            // It may have lent the lock to a child that goes on, or be in another pid namespace.
            ProcessState::Gone => Some("ended or out of sight; a git that it started may go on"),
            ProcessState::Unknown => None,
        };
    }
    Some(holder)
}
