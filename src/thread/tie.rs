//! The tie of a worktree to a session: whether it serves one, and whether that session still
//! has its thread.

use std::path::Path;

use super::ThreadRecord;
use super::locked::check_current;
use crate::context::Context;
use crate::error::Error;
use crate::session::binding::Binding;
use crate::session::{Session, SessionError};
use crate::store::StoreError;

/// A worktree and the session that it is bound to.
#[derive(Debug)]
pub enum Tie {
    /// None that matters.
    Free,
    /// A session that owns its thread.
    Held(Box<Session>),
    /// A session whose record cannot be understood: it may be alive.
    Unknown(StoreError),
    /// A session that has lost its thread, and how.
    Lost(Binding, SessionError),
}

impl Tie {
    /// The tie of the worktree with this Git directory. Reads without a lock: what it finds is
    /// a moment.
    ///
    /// A worktree that heddle did not make is somebody's own: an agent that captured from it
    /// and ended its session itself has left it. Only one whose thread was taken from it may
    /// still be at work there without knowing.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be told what the worktree is bound to, or whose the thread
    /// is.
    pub fn of(context: &Context<'_>, worktree_git_dir: &Path) -> Result<Self, Error> {
        let Some(binding) = Binding::read(worktree_git_dir)? else { return Ok(Self::Free) };
        let session = match context.registry.read_live_first(&binding.session) {
            Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
                return Ok(Self::Unknown(error));
            }
            session => session?,
        };
        let Some(session) = session else {
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
