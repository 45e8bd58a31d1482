//! What a plain Git command that moved HEAD of a bound worktree does to its thread.
//!
//! A commit made on the thread's tip lands on the thread, as a capture would; so do an amended
//! tip and a finished rebase of it. What only moves HEAD (reset, checkout, bisect, a rebase
//! under way) never does. Everything else is left to the next capture, which adopts HEAD's
//! commits if they descend from the tip.
//!
//! # If the process dies here
//! HEAD has moved by then. Before the thread's ref moved: the next capture adopts the commit.
//! After: recovery finishes, as for any capture.
//!
//! # If another does the same now
//! The tip is compared and swapped from HEAD's old value under the thread's lock: whoever
//! comes second finds the tip elsewhere, and nothing lands.

use super::{Call, Verdict};
use crate::context::Context;
use crate::error::Error;
use crate::git::head::Moved;
use crate::names::{CommitId, shell_word};
use crate::ops::acting::lock_owned;
use crate::session::Session;
use crate::thread::Tie;
use crate::thread::owned::BoundWorktree;

/// HEAD of the worktree has moved to `new`: lands it if that was a commit on the tip.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood;
/// [`crate::git::GitError`].
pub(super) fn after_move(
    call: &Call<'_>,
    context: &Context<'_>,
    new: Option<&CommitId>,
) -> Result<Verdict, Error> {
    let repo = context.repo;
    let Some(new) = new else { return Ok(Verdict::PASS) };
    let Tie::Held(session) = Tie::of(context, repo.git_dir())? else { return Ok(Verdict::PASS) };
    if repo.is_moving_head() {
        return Ok(Verdict::PASS);
    }
    // A checkout is told with an old value of zeros, and so is a commit on a branch: HEAD's
    // reflog has both values, and says what the command was. Without one nothing is known.
    match repo.last_move_of_head() {
        Some(Moved { old: Some(old), new: at, commits: true })
            if at == *new && repo.descends_from(new, &old)? =>
        {
            land(call, context, &session, &old, new)
        }
        // The first commit of a branch without any.
        Some(Moved { old: None, new: at, commits: true }) if at == *new => {
            let tip = repo.read_ref(&session.thread.tip_ref())?;
            Ok(elsewhere(context, &session, tip, new))
        }
        _ => Ok(Verdict::PASS),
    }
}

/// What is to be said of `new`, which was not made on the thread's `tip`.
fn elsewhere(context: &Context<'_>, session: &Session, tip: Option<CommitId>, new: &CommitId) -> Verdict {
    let thread = &session.thread;
    let left = tip.filter(|tip| tip != new).map(|tip| {
        let does = match context.repo.descends_from(new, &tip) {
            Ok(true) => "the next capture adopts it".to_owned(),
            _ => format!(
                "git checkout --detach {} brings this worktree there, and a merge brings both together",
                shell_word(&thread.tip_ref())
            ),
        };
        format!("{} is not on thread '{thread}', which is at {}: {does}", new.short(), tip.short())
    });
    left.map_or(Verdict::PASS, Verdict::warn)
}

/// Puts `new`, which the worktree's HEAD is at, on the session's thread, if that is at `old`.
///
/// # Errors
/// [`crate::git::GitError`].
pub(super) fn land(
    call: &Call<'_>,
    context: &Context<'_>,
    session: &Session,
    old: &CommitId,
    new: &CommitId,
) -> Result<Verdict, Error> {
    let repo = context.repo;
    let thread = &session.thread;
    if let Some(lost) = call.lost(context) {
        return Ok(Verdict::warn(format!("{} is not on thread '{thread}': {lost}", new.short())));
    }
    let tip = repo.read_ref(&thread.tip_ref())?;
    if tip.as_ref() != Some(old) {
        return Ok(elsewhere(context, session, tip, new));
    }
    let moved = || {
        repo.sync_commits(new, old)?;
        let id = &session.session_id;
        let owned = lock_owned(context, id)?;
        let bound = BoundWorktree { git_dir: repo.git_dir(), head: new };
        let reflog = format!("heddle: commit by {id} (generation {})", session.generation);
        let path = repo.worktree().map(std::path::Path::to_owned);
        owned.advance(old, new, &reflog, &bound, |session| session.path = path)
    };
    Ok(match moved() {
        Ok(_) => Verdict::PASS,
        Err(error) => Verdict::warn(format!(
            "{} is not on thread '{thread}' yet: {error}; the next capture adopts it",
            new.short()
        )),
    })
}
