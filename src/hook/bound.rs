//! Whether the worktree that a Git command runs in serves a session, and whether that session
//! still has its thread.

use std::path::Path;

use super::Verdict;
use crate::context::Context;
use crate::error::Error;
use crate::ops::acting::{Claim, authorize};
use crate::session::binding::Binding;
use crate::session::{Session, SessionError};
use crate::thread::ThreadRecord;
use crate::thread::locked::check_current;

/// A worktree and the session that it is bound to.
#[derive(Debug)]
pub(super) enum Tie {
    /// None that matters.
    Free,
    /// A session that owns its thread.
    Held(Box<Session>),
    /// A session that has lost its thread, and how.
    Lost(Binding, SessionError),
}

impl Tie {
    /// The tie of the worktree with this Git directory.
    ///
    /// A worktree that heddle did not make is somebody's own: an agent that captured from it
    /// and ended its session itself has left it. Only one whose thread was taken from it may
    /// still be at work there without knowing.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] for records that cannot be understood: that is no loss.
    pub(super) fn of(context: &Context<'_>, worktree_git_dir: &Path) -> Result<Self, Error> {
        let Some(binding) = Binding::read(worktree_git_dir)? else { return Ok(Self::Free) };
        let Some(session) = context.registry.read_live_first(&binding.session)? else {
            let lost = SessionError::NotFound { id: binding.session.clone() };
            return Ok(if binding.made { Self::Lost(binding, lost) } else { Self::Free });
        };
        let record = ThreadRecord::read(&context.layout, &session.thread)?;
        Ok(match check_current(&session, record.as_ref()) {
            Ok(()) => Self::Held(Box::new(session)),
            Err(SessionError::Ended { .. }) if !binding.made && !session.taken => Self::Free,
            Err(lost) => Self::Lost(binding, lost),
        })
    }
}

/// The refusal to commit in, or move HEAD of, a worktree whose session was lost.
pub(super) fn refuse_lost(binding: &Binding, lost: &SessionError) -> Verdict {
    let thread = &binding.thread;
    let untie = if binding.made { "" } else { "; 'git heddle doctor --fix' unties this worktree from it" };
    Verdict::refuse(
        format!("{lost}, and this worktree works for it"),
        format!(
            "what it captured is on thread '{thread}'; to go on, reserve it again: \
             git heddle agent reserve --thread {thread} --resume --worktree{untie}"
        ),
    )
}

/// The session that `claim` names, if it may act: it owns its thread, and its token was
/// shown where that is asked for.
///
/// # Errors
/// [`SessionError`], and [`crate::store::StoreError`] for records that cannot be understood.
pub(super) fn acting(context: &Context<'_>, claim: &Claim) -> Result<Session, Error> {
    let session = crate::ops::acting::find(context, &claim.session)?;
    check_current(&session, ThreadRecord::read(&context.layout, &session.thread)?.as_ref())?;
    authorize(context, &session, claim.token.as_ref())?;
    Ok(session)
}
