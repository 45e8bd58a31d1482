//! The journal of one thread: the operation in progress, if any.
//!
//! It is written under the thread's lock, before the first write of an operation, and
//! removed after the last. Whoever takes the lock and finds one finishes or undoes that
//! operation first (`thread::recover`).
//!
//! # If the process dies here
//! The journal is one line, written at once and synced before anything else is touched. A
//! file that does not end in a newline is a journal whose writing was cut short, so the
//! operation has touched nothing, and the file is dropped. A whole line that cannot be
//! read, or that is about refs or worktrees which are not the thread's, is damage and stops
//! everything that would write to the thread.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::atomic_file::{self, Durability, no_follow, sync_folder};
use super::{Layout, StoreError, at_once};
use crate::names::{CommitId, Generation, SessionId, ThreadName};
use crate::platform::{Place, Platform as _, ProcessState, START_SLACK, System};

/// The version of the journal's form.
pub const VERSION: u64 = 1;

/// Which file it is, whatever its name: proof that a lock file was made by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// When it was made, in nanoseconds since 1970, where the file system tells: the number of
    /// an inode that was removed is soon given to another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
    /// The process that holds it for us, where we do not do that ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<Helper>,
}

/// A child that holds one of Git's locks for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// Its process.
    pub pid: u32,
    /// When it was started, as [`ProcessState::Running`] has it; `None` where that may not be
    /// looked at.
    pub start_time: Option<u64>,
    /// The boot, by the beginning of its id.
    pub boot: u64,
    /// The number of the pid namespace.
    pub pid_namespace: u64,
}

impl Helper {
    /// The process `pid` of this very place.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let here = System::new();
        let (boot, pid_namespace) = numbers(here.place());
        let start_time = match here.process(pid) {
            ProcessState::Running { start_time, .. } => Some(start_time),
            ProcessState::Gone | ProcessState::Unknown => None,
        };
        Self { pid, start_time, boot, pid_namespace }
    }

    /// Whether it has ended for sure: no process outlives its boot, and of one in another pid
    /// namespace nothing can be told.
    #[must_use]
    pub fn is_gone(self) -> bool {
        let here = System::new();
        let (boot, pid_namespace) = numbers(here.place());
        if boot != self.boot {
            return true;
        }
        pid_namespace == self.pid_namespace
            && match here.process(self.pid) {
                ProcessState::Gone => true,
                ProcessState::Running { start_time, .. } => {
                    self.start_time.is_some_and(|started| start_time.abs_diff(started) > START_SLACK)
                }
                ProcessState::Unknown => false,
            }
    }
}

/// The boot and the pid namespace of a place as numbers; 0 where it does not say.
fn numbers(place: &Place) -> (u64, u64) {
    let digits = |text: &Option<String>, radix: u32| -> String {
        text.iter().flat_map(|text| text.chars()).filter(|digit| digit.is_digit(radix)).take(16).collect()
    };
    let boot = u64::from_str_radix(&digits(&place.boot_id, 16), 16).unwrap_or(0);
    (boot, digits(&place.pid_namespace, 10).parse().unwrap_or(0))
}

impl FileIdentity {
    /// The identity of the file at `path`, symbolic links not followed; `None` if there is
    /// none or it cannot be looked at.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        let born = meta.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
        meta.is_file().then(|| Self { dev: meta.dev(), ino: meta.ino(), born, helper: None })
    }

    /// Whether the file at `path` is this one.
    #[must_use]
    pub fn is_at(self, path: &Path) -> bool {
        Self::of(path).is_some_and(|there| {
            (self.dev, self.ino) == (there.dev, there.ino) && (self.born.is_none() || self.born == there.born)
        })
    }
}

/// A ref as an operation means to move it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefMove {
    /// The full name.
    pub name: String,
    /// What it was; `None` is absent.
    pub old: Option<CommitId>,
    /// What it is to be.
    pub new: CommitId,
    /// Git's own lock on it, held by this operation.
    pub lock: FileIdentity,
}

/// An operation, with what it takes to finish or undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// A new owner. The commit point is the thread record that names `session`.
    Reserve {
        /// The new owner.
        session: SessionId,
        /// Its fencing number.
        generation: Generation,
        /// The dead owner whose record is being ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<SessionId>,
        /// The tip.
        tip: RefMove,
    },
    /// A commit on the thread. The commit point is the ref.
    Capture {
        /// On behalf of.
        session: SessionId,
        /// The tip.
        tip: RefMove,
        /// The Git directory of the worktree whose binding follows the tip.
        worktree_git_dir: PathBuf,
        /// Where that worktree's HEAD is.
        head: CommitId,
    },
    /// A ready mark. The commit point is the ref.
    Ready {
        /// On behalf of.
        session: SessionId,
        /// The mark.
        mark: RefMove,
        /// Git's own lock on the thread's tip, held by this operation.
        tip_lock: FileIdentity,
    },
    /// A reservation taken back as if it had never been: always finished. The generation
    /// stays used.
    Withdraw {
        /// Which.
        session: SessionId,
        /// The tip; `old` is absent where that reservation made it.
        tip: RefMove,
    },
    /// The thread's commits on another base. The commit point is the ref; the thread's worktree
    /// follows by itself.
    Refresh {
        /// On behalf of, if the thread has an owner.
        session: Option<SessionId>,
        /// The tip.
        tip: RefMove,
    },
    /// Another name for a thread, in the journal of the new name, which is written first and
    /// removed last. The commit point is the new name's record that holds the operation.
    Rename {
        /// The name that it had.
        from: ThreadName,
        /// The owner, which goes along.
        session: Option<SessionId>,
        /// The generation under the new name.
        generation: Generation,
        /// The generation under the old name, which stays there.
        former_generation: Generation,
        /// The tip under the new name.
        tip: RefMove,
        /// The ready mark under the new name, if there is one.
        mark: Option<RefMove>,
        /// Git's own lock on the tip under the old name.
        from_lock: FileIdentity,
    },
    /// The same operation in the journal of the old name: the other one has it all.
    RenameAway {
        /// The new name.
        to: ThreadName,
    },
    /// The end of a session: always finished.
    Release {
        /// Which.
        session: SessionId,
        /// `complete`, `abandoned` or `merged`.
        status: String,
        /// When, RFC 3339.
        at: String,
        /// Whether somebody else ends it.
        #[serde(default)]
        taken: bool,
        /// Git's own lock on the thread's tip, held by this operation.
        lock: FileIdentity,
    },
}

impl Action {
    /// Git's own locks that this operation on `thread` holds: the ref's full name, and which
    /// file its lock is.
    #[must_use]
    pub fn locks(&self, thread: &ThreadName) -> Vec<(String, FileIdentity)> {
        match self {
            Self::Reserve { tip, .. }
            | Self::Capture { tip, .. }
            | Self::Withdraw { tip, .. }
            | Self::Refresh { tip, .. } => vec![(tip.name.clone(), tip.lock)],
            Self::Ready { mark, tip_lock, .. } => {
                vec![(mark.name.clone(), mark.lock), (thread.tip_ref(), *tip_lock)]
            }
            Self::Release { lock, .. } => vec![(thread.tip_ref(), *lock)],
            Self::Rename { from, tip, mark, from_lock, .. } => std::iter::once(tip)
                .chain(mark)
                .map(|made| (made.name.clone(), made.lock))
                .chain([(from.tip_ref(), *from_lock)])
                .collect(),
            Self::RenameAway { .. } => Vec::new(),
        }
    }

    /// What shows that no operation on `thread` can have written this.
    fn fault(&self, thread: &ThreadName, layout: &Layout) -> Option<String> {
        let (tips, marks, other) = match self {
            Self::Reserve { tip, .. }
            | Self::Capture { tip, .. }
            | Self::Withdraw { tip, .. }
            | Self::Refresh { tip, .. } => (Some(tip), None, None),
            Self::Ready { mark, .. } => (None, Some(mark), None),
            Self::Release { .. } => (None, None, None),
            Self::Rename { from, tip, mark, .. } => (Some(tip), mark.as_ref(), Some(from)),
            Self::RenameAway { to } => (None, None, Some(to)),
        };
        let strange =
            |moved: Option<&RefMove>, name: String| moved.filter(|moved| moved.name != name).cloned();
        if let Some(moved) = strange(tips, thread.tip_ref()).or(strange(marks, thread.ready_ref())) {
            return Some(format!("it is about ref {:?}", moved.name));
        }
        if other == Some(thread) {
            return Some("it renames the thread to the name that it has".to_owned());
        }
        match self {
            // One that is gone is nobody's.
            Self::Capture { worktree_git_dir: folder, .. }
                if folder.exists() && !layout.has_git_dir(folder) =>
            {
                Some(format!("{folder:?} is no Git directory of a worktree of this repository"))
            }
            _ => None,
        }
    }
}

/// The journal's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Always 1.
    pub version: u64,
    /// The id that the operation's event carries too.
    pub operation: String,
    /// The operation.
    #[serde(flatten)]
    pub action: Action,
}

/// Writes `entry` to `path`; everything else of the operation comes after.
///
/// # Errors
/// [`StoreError::Io`]; nothing is left over.
pub fn begin(path: &Path, entry: &Entry, durability: Durability) -> Result<(), StoreError> {
    let mut line = serde_json::to_vec(entry)
        .map_err(|_| StoreError::NotText { what: "journal", path: path.to_owned() })?;
    line.push(b'\n');
    let written = no_follow()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o666)
        .open(path)
        .and_then(|mut file| file.write_all(&line).map(|()| file))
        .map_err(StoreError::io("write", path))
        .and_then(|file| sync(path, &file, durability));
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// A name that survives a power cut without its content is a journal that is cut short: the two
/// may come to the disk in any order.
fn sync(path: &Path, file: &File, durability: Durability) -> Result<(), StoreError> {
    let (Durability::PowerLoss, Some(folder)) = (durability, path.parent()) else { return Ok(()) };
    let (content, name) = at_once::both(|| file.sync_all(), || sync_folder(folder, durability));
    content.map_err(StoreError::io("write", path)).and(name)
}

/// Reads the journal of `thread`.
///
/// # Errors
/// [`StoreError::Damaged`] for a whole line that is no journal of this thread's;
/// [`StoreError::Newer`]; [`StoreError::Io`].
pub fn read(layout: &Layout, thread: &ThreadName) -> Result<Found, StoreError> {
    let path = layout.journal(thread);
    let found = read_at(&path)?;
    match &found {
        Found::Operation(entry) => match entry.action.fault(thread, layout) {
            Some(reason) => Err(StoreError::Damaged { what: "journal", path, reason }),
            None => Ok(found),
        },
        Found::Nothing | Found::CutShort => Ok(found),
    }
}

/// Reads the journal at `path`, of whatever thread.
///
/// # Errors
/// As [`read`].
pub fn read_at(path: &Path) -> Result<Found, StoreError> {
    match atomic_file::read("journal", path)? {
        None => Ok(Found::Nothing),
        Some(text) if text.last() != Some(&b'\n') => Ok(Found::CutShort),
        Some(text) => {
            let entry = atomic_file::parse_record("journal", path, &text, VERSION)?;
            Ok(Found::Operation(Box::new(entry)))
        }
    }
}

/// The keys of the threads that have a journal in `folder`: one look for all of them.
#[must_use]
pub fn pending(folder: &Path) -> HashSet<String> {
    let key =
        |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".journal")?.to_owned());
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(key).collect()
}

/// What is in a journal's place.
#[derive(Debug)]
pub enum Found {
    /// No operation is in progress.
    Nothing,
    /// One was about to begin and has written nothing.
    CutShort,
    /// One is in progress, or was when its process died.
    Operation(Box<Entry>),
}
