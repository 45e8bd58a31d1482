//! What can go wrong with heddle's own files.

use std::io;
use std::path::{Path, PathBuf};

use super::lock::Holder;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is there and makes no sense.
    #[error("{what} {path:?} is damaged: {reason}")]
    Damaged {
        /// "session record", "thread record", "journal", "binding".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that a newer heddle wrote.
    #[error("{what} {path:?} has version {version}, and this git-heddle knows only version {known}")]
    Newer {
        /// As in [`Self::Damaged`].
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
        /// The newest that we know.
        known: u64,
    },
    /// A record that would have to hold a path that is no text.
    #[error(
        "the path of the repository or of a worktree is not UTF-8, and the {what} {path:?} cannot hold it"
    )]
    NotText {
        /// As in [`Self::Damaged`].
        what: &'static str,
        /// The file that would have been written.
        path: PathBuf,
    },
    /// A lock stayed busy for as long as we were willing to wait.
    #[error("{what} is locked by {}", holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string))]
    Busy {
        /// What is locked, in words.
        what: String,
        /// Who holds it, if its line could be read.
        holder: Option<Holder>,
    },
}

impl StoreError {
    /// The system's refusal to `action` at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
