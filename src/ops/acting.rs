//! What every command that acts for a session begins with.

use std::fs::File;

use crate::context::Context;
use crate::error::Error;
use crate::names::{SessionId, ThreadName};
use crate::session::token::Token;
use crate::session::{Session, SessionError};
use crate::thread::locked::check_current;
use crate::thread::{LockedThread, OwnedThread, ThreadRecord};

/// A session and the proof that the caller may act for it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The session.
    pub session: SessionId,
    /// Its token, if one was given: always verified.
    pub token: Option<Token>,
}

/// A session that this process acts for: it counts as present until this is dropped.
#[derive(Debug)]
pub struct Acting {
    /// The session as read when the command began; validated again under the lock.
    pub session: Session,
    _present: Option<File>,
}

/// Validates `claim` without the lock, so that a refusal comes early, and marks the
/// session as present, so that a long hook does not outlast the lease.
///
/// # Errors
/// [`SessionError`].
pub fn begin(context: &Context<'_>, claim: &Claim) -> Result<Acting, Error> {
    let mut session = find(context, &claim.session)?;
    authorize(context, &session, claim.token.as_ref())?;
    if repair(context, &session.thread)? {
        session = find(context, &claim.session)?;
    }
    check_current(&session, ThreadRecord::read(&context.layout, &session.thread)?.as_ref())?;
    let present = context.registry.hold_present(&session.session_id, false);
    Ok(Acting { session, _present: present })
}

/// Finishes or undoes what a dead process left half done on `thread`, before anything is
/// concluded from what lies on disk; whether there was an operation in progress.
///
/// # Errors
/// As [`LockedThread::take`].
pub fn repair(context: &Context<'_>, thread: &ThreadName) -> Result<bool, Error> {
    let half_done = context.layout.journal(thread).exists();
    if half_done {
        drop(LockedThread::take(context, thread)?);
    }
    Ok(half_done)
}

impl Acting {
    /// Takes the thread's lock and validates the session again.
    ///
    /// # Errors
    /// [`SessionError`] if it was lost meanwhile; [`crate::store::StoreError::Busy`].
    pub fn lock<'a>(&self, context: &'a Context<'a>) -> Result<OwnedThread<'a>, Error> {
        lock_owned(context, &self.session.thread, &self.session.session_id)
    }
}

/// Takes the lock of `thread` for its owner `session`.
///
/// # Errors
/// [`SessionError`]; [`crate::store::StoreError::Busy`].
pub fn lock_owned<'a>(
    context: &'a Context<'a>,
    thread: &ThreadName,
    session: &SessionId,
) -> Result<OwnedThread<'a>, Error> {
    LockedThread::take(context, thread)?.own(session)
}

/// The session's record.
///
/// # Errors
/// [`SessionError::NotFound`]; [`crate::store::StoreError`].
pub fn find(context: &Context<'_>, id: &SessionId) -> Result<Session, Error> {
    let session = context.registry.read_live_first(id)?;
    Ok(session.ok_or_else(|| SessionError::NotFound { id: id.clone() })?)
}

/// Verifies the token: always when one is given, and required where the session or the
/// repository says so.
///
/// # Errors
/// [`SessionError::TokenMissing`], [`SessionError::TokenWrong`].
pub fn authorize(context: &Context<'_>, session: &Session, token: Option<&Token>) -> Result<(), Error> {
    let id = session.session_id.clone();
    match token {
        Some(token) if token.matches(&session.token_hash) => Ok(()),
        Some(_) => Err(SessionError::TokenWrong { id }.into()),
        None if session.require_token || context.settings.require_token => {
            Err(SessionError::TokenMissing { id }.into())
        }
        None => Ok(()),
    }
}
