//! Which worktree serves which thread, and what lies on its HEAD alone.
//!
//! Commits that somebody made with plain `git commit` in a worktree that captures for a
//! thread are on its HEAD and not on the thread until a capture adopts them: nobody else sees
//! them, and a removed worktree would take them along. They are told of wherever somebody
//! looks. Nothing here writes, takes a lock or opens a worktree's index.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::repo::Head;
use crate::git::worktree::{Linked, git_dir_of};
use crate::names::CommitId;
use crate::session::Session;
use crate::session::binding::Binding;

/// A worktree that is bound to a session.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Its own Git directory.
    pub git_dir: PathBuf,
    /// Its top folder.
    pub path: PathBuf,
    /// Whether that is there.
    pub there: bool,
    /// What Git knows of it; `None` for the main worktree.
    pub linked: Option<Linked>,
    /// Whom it serves.
    pub binding: Binding,
}

/// Commits that are on the HEAD of a worktree and not on its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unadopted {
    /// Where that HEAD is.
    pub head: CommitId,
    /// How many.
    pub commits: usize,
    /// Whether the next capture adopts them: whether they go on from the thread's tip.
    pub adoptable: bool,
}

/// All worktrees that are bound, and a sentence for each binding that cannot be read.
#[must_use]
pub fn all(context: &Context<'_>) -> (Vec<Bound>, Vec<String>) {
    let repo = context.repo;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let folders = std::fs::read_dir(repo.common_dir().join("worktrees")).into_iter().flatten().flatten();
    let mut git_dirs: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
    git_dirs.sort();
    git_dirs.insert(0, repo.common_dir().to_owned());
    for git_dir in git_dirs {
        match Binding::read(&git_dir) {
            Ok(Some(binding)) => found.extend(bound(context, &git_dir, binding)),
            Ok(None) => {}
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    (found, unreadable)
}

fn bound(context: &Context<'_>, git_dir: &Path, binding: Binding) -> Option<Bound> {
    let git_dir = git_dir.to_owned();
    if git_dir == context.repo.common_dir() {
        let repo = context.repo;
        let here = repo.worktree().filter(|_| repo.git_dir() == git_dir);
        let beside = || git_dir.parent().filter(|_| git_dir.ends_with(".git"));
        let path = here.or_else(beside)?.to_owned();
        return Some(Bound { there: path.is_dir(), git_dir, path, linked: None, binding });
    }
    let linked = Linked::read(&git_dir)?;
    let (path, there) = (linked.path.clone(), linked.is_there());
    Some(Bound { git_dir, path, there, linked: Some(linked), binding })
}

/// The worktree that `session` captures from, if it is there and still serves it.
///
/// # Errors
/// [`crate::store::StoreError`] for a binding that cannot be understood.
pub fn of_session(context: &Context<'_>, session: &Session) -> Result<Option<Bound>, Error> {
    let git_dir = match (&session.worktree, &session.path) {
        (Some(id), _) => Some(context.repo.common_dir().join("worktrees").join(id)),
        (None, Some(path)) => git_dir_of(path),
        (None, None) => None,
    };
    let Some(git_dir) = git_dir else { return Ok(None) };
    let binding = Binding::read(&git_dir)?.filter(|binding| binding.session == session.session_id);
    let found = binding.and_then(|binding| bound(context, &git_dir, binding));
    Ok(found.filter(|bound| bound.there))
}

/// As [`unadopted`], for the worktree of `session`, with its path; `None` as well if there is
/// no such worktree.
///
/// # Errors
/// As [`of_session`] and [`unadopted`].
pub fn unadopted_of(context: &Context<'_>, session: &Session) -> Result<Option<(PathBuf, Unadopted)>, Error> {
    let Some(bound) = of_session(context, session)? else { return Ok(None) };
    let tip = context.repo.read_ref(&session.thread.tip_ref())?;
    Ok(unadopted(context, &bound, tip.as_ref())?.map(|found| (bound.path, found)))
}

/// The commits that are on the HEAD of `bound` and not on its thread, whose tip is `tip`.
///
/// In a worktree of the user's own, HEAD is where the user wants it, and where it was at the
/// last capture nothing has been made since; that it is now on a branch of other work is not
/// the thread's business either.
///
/// # Errors
/// [`GitError`] if HEAD or its history cannot be read.
pub fn unadopted(
    context: &Context<'_>,
    bound: &Bound,
    tip: Option<&CommitId>,
) -> Result<Option<Unadopted>, GitError> {
    let tip = tip.unwrap_or(&bound.binding.base);
    let (head, detached) = match context.repo.head_of_worktree(&bound.git_dir)? {
        Some(Head::Detached { commit }) => (commit, true),
        Some(Head::Branch { commit, .. }) => (commit, false),
        Some(Head::Unborn { .. }) | None => return Ok(None),
    };
    let made = bound.binding.made;
    if head == *tip || (!made && head == bound.binding.base_head) {
        return Ok(None);
    }
    let (commits, missing) = context.repo.ahead_behind(&head, tip)?;
    let adoptable = missing == 0;
    let ours = commits > 0 && (adoptable || (made && detached));
    Ok(ours.then_some(Unadopted { head, commits, adoptable }))
}
