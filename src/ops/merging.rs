//! A merge that a refresh left in a thread's worktree, for its conflicts to be resolved there.
//!
//! It is Git's own merge in progress, so that `git status`, `git mergetool` and
//! `git merge --abort` are what one expects; a note beside it says that it is a refresh's, which
//! the next capture commits. The note is written first and removed last: one without a merge
//! means nothing, and a merge without one is the user's own.

use crate::context::Context;
use crate::error::Error;
use crate::git::Repo;
use crate::git::moving::Checkout;
use crate::git::program::Program;
use crate::names::CommitId;
use crate::store::atomic_file;
use crate::store::{Layout, StoreError};

/// What is being merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merging {
    /// The commit.
    pub commit: CommitId,
    /// The full name of the branch that it was the tip of.
    pub target: String,
}

/// Begins the merge of `merging` in `checkout`. Under the lock that captures in it take.
///
/// # Errors
/// [`crate::git::GitError::Program`] in Git's words: nothing has changed then.
pub fn begin(context: &Context<'_>, checkout: &Checkout, merging: &Merging) -> Result<(), Error> {
    let Merging { commit, target } = merging;
    let note = Layout::refresh_note(&checkout.git_dir);
    atomic_file::replace(&note, format!("{commit}\n{target}\n").as_bytes(), context.durability())?;
    let git = checkout.program(context.repo.is_durable());
    context.repo.begin_merge(&git, commit).inspect_err(|_| drop(atomic_file::remove(&note)))?;
    Ok(())
}

/// The merge that a refresh left in the worktree of `repo`, if it still is in progress.
///
/// # Errors
/// [`StoreError`] if that cannot be read.
pub fn of(repo: &Repo) -> Result<Option<Merging>, StoreError> {
    let Some(note) = atomic_file::read("note", &Layout::refresh_note(repo.git_dir()))? else {
        return Ok(None);
    };
    let note = String::from_utf8_lossy(&note).into_owned();
    let (noted, target) = note.trim().split_once('\n').unwrap_or_default();
    let merging = atomic_file::read("note", &repo.git_dir().join("MERGE_HEAD"))?.unwrap_or_default();
    if String::from_utf8_lossy(&merging).trim() != noted {
        return Ok(None);
    }
    let merging = CommitId::parse(noted).ok();
    Ok(merging.map(|commit| Merging { commit, target: target.to_owned() }))
}

/// Ends the merge, files and index as they are: it has been committed.
///
/// # Errors
/// [`crate::git::GitError::Program`].
pub fn done(repo: &Repo) -> Result<(), Error> {
    if of(repo)?.is_some() {
        Program::run(&mut repo.program().command(["merge", "--quit"]), None)?;
    }
    Ok(atomic_file::remove(&Layout::refresh_note(repo.git_dir()))?)
}

/// Gives the merge up: files and index are as they were before it.
///
/// # Errors
/// [`crate::git::GitError::Program`] in Git's words.
pub fn abort(checkout: &Checkout, durable: bool) -> Result<(), Error> {
    let git = checkout.program(durable);
    Program::run(&mut git.command(["merge", "--abort"]), None)?;
    Ok(atomic_file::remove(&Layout::refresh_note(&checkout.git_dir))?)
}
