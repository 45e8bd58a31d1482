//! Opening a repository the way Git would, and reading from it.

use std::path::{Path, PathBuf};

use super::GitError;
use super::program::Program;
use crate::names::{CommitId, TreeId};

/// An open repository.
pub struct Repo {
    inner: git2::Repository,
    git_dir: PathBuf,
    common_dir: PathBuf,
    worktree: Option<PathBuf>,
    durable: bool,
}

/// A revision that was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit, tags peeled.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
}

impl Repo {
    /// Opens the repository that Git would use in the folder `cwd`: the environment first,
    /// then the nearest one upwards.
    ///
    /// # Errors
    /// [`GitError::NotARepository`] and [`GitError::Unusable`].
    pub fn open(cwd: &Path) -> Result<Self, GitError> {
        let inner = git2::Repository::discover(cwd)?;
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            git_dir: canonical(inner.path()),
            common_dir: canonical(inner.commondir()),
            worktree: inner.workdir().map(canonical),
            durable: true,
            inner,
        })
    }

    /// The Git directory of this worktree.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The Git directory that all worktrees share.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The top folder of the worktree, or `None` in a bare repository.
    #[must_use]
    pub fn worktree(&self) -> Option<&Path> {
        self.worktree.as_deref()
    }

    /// How to start git here.
    #[must_use]
    pub fn program(&self) -> Program {
        Program::new(&self.git_dir, self.worktree(), self.durable)
    }

    /// libgit2's handle, for the modules beside this one.
    pub(in crate::git) fn raw(&self) -> &git2::Repository {
        &self.inner
    }

    /// The commit that `rev` names, in Git's revision syntax, tags peeled.
    ///
    /// # Errors
    /// [`GitError::RevNotFound`], [`GitError::RevAmbiguous`], [`GitError::RevNotACommit`];
    /// [`GitError::Unborn`] for `HEAD` before the first commit.
    pub fn resolve(&self, rev: &str) -> Result<Resolved, GitError> {
        let object = self.raw().revparse_single(rev)?;
        let commit = object.peel_to_commit()?;
        Ok(Resolved { commit: commit_id(commit.id()), tree: tree_id(commit.tree_id()) })
    }
}

/// Our name for a commit that libgit2 names.
pub(in crate::git) fn commit_id(oid: git2::Oid) -> CommitId {
    match CommitId::parse(&oid.to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("libgit2 prints full lowercase ids"),
    }
}

/// Our name for a tree that libgit2 names.
pub(in crate::git) fn tree_id(oid: git2::Oid) -> TreeId {
    match TreeId::parse(&oid.to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("libgit2 prints full lowercase ids"),
    }
}
