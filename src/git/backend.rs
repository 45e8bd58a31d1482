//! The small interface between this module and how a repository keeps its refs.
//!
//! Objects, history, configuration and the comparison of trees are libgit2's in every
//! repository, by whichever hash objects are named (`docs/adr/0021`); staging, merging, hooks,
//! signatures and deletions are the git program's in every repository. Refs are what differs:
//!
//! | | refs in files ([`Files`]) | in tables ([`Reftable`]) |
//! |---|---|---|
//! | read, look for clashes | libgit2 | here, from the tables |
//! | list | here, files before `packed-refs` | here, from the tables |
//! | compare and swap | libgit2's transaction | `git update-ref --stdin -z`, held between `prepare` and `commit` |
//! | several at once | one after the other | all or none |
//! | logs | libgit2 | the git program |
//!
//! Nothing above `git` can tell which it has; `tests/conformance.rs` holds both to the same
//! promises.
//!
//! [`Files`]: super::files::Files
//! [`Reftable`]: super::reftable::Reftable

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::head::Moved;
use super::refs::{Intent, LockedRef};
use super::{GitError, Repo};
use crate::names::CommitId;

/// What a ref is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::git) enum Value {
    /// It is gone, whatever an older table says.
    Gone,
    /// It is at this object.
    Id(CommitId),
    /// It stands for another ref.
    Symbolic(String),
}

/// How a repository keeps its refs. `repo` is that repository.
pub(in crate::git) trait RefStore {
    /// What the ref `name` is, symbolic refs not followed; `None` if it does not exist.
    fn read(&self, repo: &Repo, name: &str) -> Result<Option<Value>, GitError>;

    /// The refs below `prefix`, which ends in `/`, that all worktrees share, sorted by name.
    fn below(&self, repo: &Repo, prefix: &str) -> Result<Vec<(String, Value)>, GitError>;

    /// Some ref below `prefix`, which ends in `/`.
    fn first_below(&self, repo: &Repo, prefix: &str) -> Result<Option<String>, GitError>;

    /// What HEAD is of the worktree with that Git directory.
    fn head_of(&self, repo: &Repo, git_dir: &Path) -> Result<Option<Value>, GitError>;

    /// The file that is Git's own lock on the ref `name`.
    fn lock_file(&self, repo: &Repo, name: &str) -> PathBuf;

    /// The same for HEAD of the worktree with that Git directory.
    fn lock_file_of_head(&self, git_dir: &Path) -> PathBuf;

    /// Takes Git's own lock on refs, each for its intent, and says what they are under it. A lock
    /// that is busy is tried again until `timeout` is over.
    fn lock<'repo>(
        &self,
        repo: &'repo Repo,
        wanted: &[(&str, Intent<'_>)],
        timeout: Duration,
    ) -> Result<Vec<LockedRef<'repo>>, GitError>;

    /// Whether the ref `name` was at `commit` once, by its log.
    fn was_at(&self, repo: &Repo, name: &str, commit: &CommitId) -> Result<bool, GitError>;

    /// When the ref `name` was moved last, by its log: in seconds since 1970, and, to tell moves
    /// within one second apart, a number that grows. The least where that is not known.
    fn moved_at(&self, repo: &Repo, name: &str) -> (i64, u128);

    /// How HEAD moved last; `None` where it keeps no log.
    fn last_move_of_head(&self, repo: &Repo) -> Option<Moved>;
}

impl Repo {
    /// How its refs are kept.
    pub(in crate::git) fn refs(&self) -> &dyn RefStore {
        match self.reftable() {
            Some(tables) => tables,
            None => &super::files::Files,
        }
    }

    /// Whether refs and their logs are files of their own.
    pub(in crate::git) fn refs_are_files(&self) -> bool {
        self.reftable().is_none()
    }
}
