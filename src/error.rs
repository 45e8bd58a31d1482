//! Everything that can end a command, in one type.
//!
//! Each layer has an enum of its own; this one gathers them and adds the refusals of the
//! verbs. `output::exit` gives every case its exit status and hint in one exhaustive match.

use crate::git::GitError;
use crate::names::{CommitId, Generation, NameError, SessionId, ThreadName};
use crate::ops::checks::CheckError;
use crate::session::liveness::Liveness;
use crate::session::{Session, SessionError};
use crate::store::StoreError;

/// What ended a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The Git layer.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Heddle's own files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A session that may not act.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A refused reserve.
    #[error("{}", .0.message())]
    Conflict(Box<Conflict>),
    /// The worktree or the thread is not where the session left it.
    #[error("{message}")]
    Drift {
        /// What is where.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A worktree that serves another session.
    #[error("worktree {worktree:?} is bound to session '{owner}', which is still live")]
    WorktreeBusy {
        /// The worktree.
        worktree: std::path::PathBuf,
        /// The session that captures from it.
        owner: SessionId,
    },
    /// A thread that is another session's to handle.
    #[error("thread '{thread}' is reserved by session '{owner}', which may be alive")]
    Owned {
        /// The thread.
        thread: ThreadName,
        /// Its owner.
        owner: SessionId,
    },
    /// A thread that another session publishes.
    #[error(
        "thread '{thread}' is reserved by session '{owner}', which may be alive, and is published by it only"
    )]
    Unpublished {
        /// The thread.
        thread: ThreadName,
        /// Its owner.
        owner: SessionId,
    },
    /// Work at a remote that is not part of the thread as it is here.
    #[error("thread '{thread}' is at {theirs} on '{remote}', which is not part of it here")]
    Unknown {
        /// The thread.
        thread: ThreadName,
        /// The remote.
        remote: String,
        /// Where the remote has it.
        theirs: CommitId,
    },
    /// Something the caller said that cannot be.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
    },
    /// Something that cannot be done as things are.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A question that what is here does not answer.
    #[error("{message}")]
    CannotTell {
        /// What is not known.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A check of `ready` that could not be run at all.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The system has no secure randomness.
    #[error("cannot get random bytes: {0}")]
    Randomness(std::io::Error),
    /// Standard output went away.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
}

/// Which refusal of a reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// A live session owns the thread where it was asked to be.
    LiveOwner,
    /// The thread is at another commit.
    AnchorDrift,
}

/// Why a reserve was refused, with what the caller needs to act on it.
#[derive(Debug)]
pub struct Conflict {
    /// Which refusal.
    pub kind: ConflictKind,
    /// The thread.
    pub thread: ThreadName,
    /// The anchor that was asked for; with `--resume`, the tip.
    pub requested: CommitId,
    /// The owner that may be alive.
    pub owner: Option<ConflictOwner>,
    /// Where the thread is; `None` if it does not exist.
    pub actual: Option<CommitId>,
}

/// The owner in the way.
#[derive(Debug)]
pub struct ConflictOwner {
    /// Its id.
    pub id: SessionId,
    /// Its fencing number.
    pub generation: Generation,
    /// Its record, where that can be read.
    pub session: Option<Session>,
    /// Whether it lives.
    pub liveness: Liveness,
}

impl Conflict {
    /// One sentence that callers already know.
    #[must_use]
    pub fn message(&self) -> String {
        let Self { thread, requested, .. } = self;
        let actual = self.actual.as_ref().map_or("no commit", CommitId::as_str);
        match (self.kind, &self.owner) {
            (ConflictKind::LiveOwner, Some(owner)) => {
                format!("thread '{thread}' already has a live reservation on session '{}'", owner.id)
            }
            (ConflictKind::LiveOwner, None) => format!("thread '{thread}' already has a live reservation"),
            (ConflictKind::AnchorDrift, Some(owner)) => format!(
                "thread '{thread}' is reserved by session '{}' on anchor {actual}, but you requested {requested}",
                owner.id
            ),
            (ConflictKind::AnchorDrift, None) => {
                format!("thread '{thread}' is anchored at {actual}, but reservation requested {requested}")
            }
        }
    }
}
