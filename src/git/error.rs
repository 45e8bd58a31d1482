//! What can go wrong between heddle and a Git repository.

use std::path::PathBuf;

use crate::names::CommitId;

/// An error of the Git layer. Every value that a caller needs to explain it is a field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// No repository at or above the path.
    #[error("not a git repository (or any of the parent directories): {path:?}")]
    NotARepository {
        /// Where the search began.
        path: PathBuf,
    },
    /// There is a repository, and it cannot be used.
    #[error("cannot use the repository at {path:?}: {reason}")]
    Unusable {
        /// Its Git directory, or where the search began.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The command needs a worktree and the repository has none.
    #[error("this operation must be run in a work tree, and {path:?} is a bare repository, or used as one")]
    Bare {
        /// The Git directory.
        path: PathBuf,
    },
    /// Git has nobody to name as author or committer.
    #[error("git does not know who makes the commit: user.name or user.email is missing")]
    NoIdentity,
    /// HEAD points to a branch without a commit.
    #[error("repository has no HEAD state to reserve from")]
    Unborn,
    /// A revision that names nothing.
    #[error("anchor state '{rev}' not found")]
    RevNotFound {
        /// The revision as given.
        rev: String,
    },
    /// A short id that fits more than one object.
    #[error("anchor state '{rev}' is ambiguous: it fits more than one object")]
    RevAmbiguous {
        /// The revision as given.
        rev: String,
    },
    /// A revision that names a tree or a blob.
    #[error("anchor state '{rev}' is a {kind}, not a commit")]
    RevNotACommit {
        /// The revision as given.
        rev: String,
        /// What it is instead.
        kind: String,
    },
    /// Somebody holds Git's own lock on a ref.
    #[error("cannot lock ref '{name}': {lock:?} exists")]
    RefLocked {
        /// The ref.
        name: String,
        /// The lock file in the way.
        lock: PathBuf,
    },
    /// A ref is not where it was read.
    #[error("ref '{name}' is at {} but expected {}", shown(actual.as_ref()), shown(expected.as_ref()))]
    RefMoved {
        /// The ref.
        name: String,
        /// What it was expected to be; `None` is absent.
        expected: Option<CommitId>,
        /// What it is.
        actual: Option<CommitId>,
    },
    /// A ref above or below the name is in the way, loose or packed.
    #[error("cannot create ref '{name}': '{existing}' exists")]
    RefClash {
        /// The ref to be made.
        name: String,
        /// The one in the way.
        existing: String,
    },
    /// Two commits whose histories never meet, so that there is nothing to merge from.
    #[error("cannot merge {} into {}: they share no history", tip.short(), target.short())]
    UnrelatedHistories {
        /// The commit to be merged into.
        target: CommitId,
        /// The commit to be merged.
        tip: CommitId,
    },
    /// The branch that threads are meant to land on is not there.
    #[error("target branch '{name}' not found")]
    TargetNotFound {
        /// The name as configured.
        name: String,
    },
    /// A configuration value that means nothing for its key.
    #[error("bad value {value:?} for '{key}' ({origin}): {expected}")]
    BadConfig {
        /// The key, as documented.
        key: String,
        /// The value as configured.
        value: String,
        /// Where it was set, as `git config --show-origin` would say.
        origin: String,
        /// What would be legal.
        expected: &'static str,
    },
    /// New files that are larger than a capture takes.
    #[error("new files above heddle.maxNewFileSize ({limit} bytes): {paths}")]
    TooLarge {
        /// The files with their sizes.
        paths: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// New repositories inside the worktree.
    #[error("new embedded repositories: {paths}")]
    EmbeddedRepository {
        /// Their folders.
        paths: String,
    },
    /// A hook of the user's refused.
    #[error("the {name} hook failed ({status}){}{said}", if said.is_empty() { "" } else { ": " })]
    Hook {
        /// The hook.
        name: &'static str,
        /// Its exit status in words.
        status: String,
        /// What it printed.
        said: String,
    },
    /// The git program failed.
    #[error("git {command} failed ({status}): {stderr}")]
    Program {
        /// The subcommand.
        command: String,
        /// Its exit status in words.
        status: String,
        /// What it said, trimmed.
        stderr: String,
    },
    /// The git program could not be started or talked to.
    #[error("cannot run git: {source}")]
    Start {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// libgit2 failed in a way that has no case of its own.
    #[error("{}", said(.0))]
    Library(#[from] git2::Error),
    /// A file of the repository could not be read or written.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A ref's value in a message.
fn shown(value: Option<&CommitId>) -> &str {
    value.map_or("no commit", CommitId::as_str)
}

/// What libgit2 says, which is nothing where only the system failed.
fn said(error: &git2::Error) -> String {
    match error.class() {
        git2::ErrorClass::None => {
            format!("libgit2 failed ({:?}, {}) and did not say why", error.code(), error.raw_code())
        }
        _ => error.message().to_owned(),
    }
}
