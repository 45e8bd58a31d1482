//! Finishing or undoing moves of checkouts whose process died: a landing moves the checkout of
//! its target, a refresh the worktree of its thread.
//!
//! The ref on account of which the checkout moved decides. Where it has the new commit the move
//! is finished, else undone; files that somebody has changed since stay as they are, and are
//! named.

use std::path::Path;

use super::worktrees::lock_captures;
use crate::context::Context;
use crate::error::Error;
use crate::git::moving::{Checkout, Interrupted};
use crate::names::{CommitId, THREADS, ThreadName};
use crate::session::binding::Binding;
use crate::thread::LockedThread;

/// Finishes or undoes all moves that were interrupted; what the caller should know.
///
/// # Errors
/// As [`recover`].
pub fn recover_all(context: &Context<'_>) -> Result<Vec<String>, Error> {
    let mut said = Vec::new();
    for checkout in context.repo.checkouts().iter().filter(|checkout| checkout.is_moving()) {
        let _captures = lock_captures(context, &checkout.git_dir, &checkout.path)?;
        said.extend(recover(context, checkout)?);
    }
    Ok(said)
}

/// Finishes or undoes a move of `checkout` that was interrupted, if there is one. Under the lock
/// that captures in it take.
///
/// # Errors
/// [`crate::git::GitError::RefLocked`] if the index is locked by somebody else.
pub fn recover(context: &Context<'_>, checkout: &Checkout) -> Result<Option<String>, Error> {
    let repo = context.repo;
    let taken = Interrupted::take(checkout, repo.is_durable(), context.lock_timeout())?;
    let Some(interrupted) = taken else { return Ok(None) };
    let plan = interrupted.plan().clone();
    let reached = match repo.read_ref(&plan.reference)? {
        Some(now) => repo.contains(&now, &plan.to)?,
        None => false,
    };
    if reached && let Some(thread) = plan.reference.strip_prefix(THREADS) {
        let thread = ThreadName::parse(thread)?;
        if interrupted.head_along(&format!("heddle: refresh {thread}"))?.is_none() {
            rebind(context, &thread, checkout, &plan.from, &plan.to)?;
        }
    }
    let left = if reached { interrupted.finish()? } else { interrupted.undo()? };
    Ok((!left.is_empty()).then(|| told(&checkout.path, &left)))
}

/// Says that the worktree of `thread`, whose content stood for `from`, stands for `to`.
///
/// # Errors
/// [`crate::store::StoreError`].
pub fn rebind(
    context: &Context<'_>,
    thread: &ThreadName,
    checkout: &Checkout,
    from: &CommitId,
    to: &CommitId,
) -> Result<(), Error> {
    let _locked = LockedThread::take(context, thread)?;
    if let Some(binding) = Binding::read(&checkout.git_dir)?.filter(|binding| binding.base == *from) {
        let binding = Binding { base: to.clone(), base_head: to.clone(), ..binding };
        binding.write(&checkout.git_dir, context.durability())?;
    }
    Ok(())
}

fn told(path: &Path, left: &[String]) -> String {
    format!("an interrupted move of {path:?} was cleared up; changed since, and left: {}", left.join(", "))
}
