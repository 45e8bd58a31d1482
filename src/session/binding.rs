//! The binding: the tie between a session and the one worktree that it captures from.
//!
//! It lies in the worktree's own Git directory, so it goes where the worktree goes. It is
//! written under the lock of the session's thread, after the ref that it follows.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{CommitId, SessionId, ThreadName};
use crate::store::atomic_file::{self, Durability};
use crate::store::{Layout, StoreError};

const WHAT: &str = "binding";
const VERSION: u64 = 1;

/// Which session a worktree serves, and what its content stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Always 1.
    pub version: u64,
    /// The session.
    pub session: SessionId,
    /// Its thread.
    pub thread: ThreadName,
    /// The commit that the worktree's content is based on: what was captured last.
    pub base: CommitId,
    /// Where the worktree's HEAD was then.
    pub base_head: CommitId,
    /// Whether `reserve --worktree` made the worktree: only then do HEAD and index follow
    /// a capture, and only then may the worktree ever be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// Fields of this version that we do not know; they survive a rewrite.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Binding {
    /// A binding of `session`.
    #[must_use]
    pub fn new(session: SessionId, thread: ThreadName, base: CommitId, base_head: CommitId) -> Self {
        Self { version: VERSION, session, thread, base, base_head, made: false, extra: Map::new() }
    }

    /// Reads the binding of the worktree with this Git directory.
    ///
    /// # Errors
    /// [`StoreError`] if it is there and cannot be understood.
    pub fn read(worktree_git_dir: &Path) -> Result<Option<Self>, StoreError> {
        atomic_file::read_record(WHAT, &Layout::binding(worktree_git_dir), VERSION)
    }

    /// The binding after a capture of `session` that made `base`, with HEAD at `base_head`:
    /// what is known of the worktree itself stays.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn after_capture(
        worktree_git_dir: &Path,
        session: SessionId,
        thread: ThreadName,
        base: CommitId,
        base_head: CommitId,
    ) -> Result<Self, StoreError> {
        let before = Self::read(worktree_git_dir)?;
        let new = Self::new(session, thread, base, base_head);
        Ok(match before {
            Some(before) => Self { made: before.made, extra: before.extra, ..new },
            None => new,
        })
    }

    /// Writes the binding of the worktree with this Git directory.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&self, worktree_git_dir: &Path, durability: Durability) -> Result<(), StoreError> {
        let path = Layout::binding(worktree_git_dir);
        atomic_file::replace(&path, &atomic_file::to_bytes(WHAT, &path, self)?, durability)
    }
}
