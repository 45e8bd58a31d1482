//! What the hooks have in common: the refusal in a worktree whose session was lost, and who
//! the caller is.

use super::Verdict;
use crate::context::Context;
use crate::error::Error;
use crate::names::shell_word;
use crate::ops::acting::{Claim, authorize, find};
use crate::session::binding::Binding;
use crate::session::{Session, SessionError};
use crate::thread::ThreadRecord;
use crate::thread::locked::check_current;

/// The refusal to commit in, or move HEAD of, a worktree whose session was lost.
pub(super) fn refuse_lost(binding: &Binding, lost: &SessionError) -> Verdict {
    let thread = &binding.thread;
    let untie = if binding.made { "" } else { "; 'git heddle doctor --fix' unties this worktree from it" };
    Verdict::refuse(
        format!("{lost}, and this worktree works for it"),
        format!(
            "what it captured is on thread '{thread}'; to go on, reserve it again: \
             git heddle agent reserve --thread {} --resume --worktree{untie}",
            shell_word(thread.as_str())
        ),
    )
}

/// The refusal of what a session that was lost does in the worktree of another.
pub(super) fn refuse_other(session: &Session, lost: &SessionError) -> Verdict {
    let Session { session_id: id, thread, .. } = session;
    Verdict::refuse(
        format!(
            "{lost}, HEDDLE_SESSION names it, and this worktree works for session '{id}' on thread '{thread}'"
        ),
        format!(
            "whoever works for session '{id}' unsets HEDDLE_SESSION or sets it to that; anybody else reserves again"
        ),
    )
}

/// The session that `claim` names, if it may act: it owns its thread, and its token was
/// shown where that is asked for.
///
/// # Errors
/// [`SessionError`], and [`crate::store::StoreError`] for records that cannot be understood.
pub(super) fn acting(context: &Context<'_>, claim: &Claim) -> Result<Session, Error> {
    let session = find(context, &claim.session)?;
    check_current(&session, ThreadRecord::read(&context.layout, &session.thread)?.as_ref())?;
    authorize(context, &session, claim.token.as_ref())?;
    Ok(session)
}
