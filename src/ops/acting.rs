//! What every command that acts for a session begins with.

use std::fs::File;

use crate::context::Context;
use crate::error::Error;
use crate::names::{SessionId, THREADS, ThreadName};
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
    let session = find(context, &claim.session)?;
    authorize(context, &session, claim.token.as_ref())?;
    repair(context, &session.thread)?;
    let session = current(context, &claim.session)?;
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

/// As [`repair`], on the threads above and below `thread`, of whose names one keeps the other from
/// being a thread's: one that was never made whole is in nobody's way. No lock is held.
///
/// # Errors
/// As [`repair`].
pub fn repair_around(context: &Context<'_>, thread: &ThreadName) -> Result<(), Error> {
    let of = |name: &str| {
        ThreadName::parse(name.strip_prefix("logs/").unwrap_or(name).strip_prefix(THREADS)?).ok()
    };
    let other = || context.repo.trace_in_the_way(&thread.tip_ref()).and_then(|name| of(&name));
    while let Some(other) = other()
        && repair(context, &other)?
    {}
    Ok(())
}

/// The session, if it is valid now. Takes no lock: what it is read from is read again where a
/// rename came in between.
///
/// # Errors
/// [`SessionError`]; [`crate::store::StoreError`].
pub fn current(context: &Context<'_>, id: &SessionId) -> Result<Session, Error> {
    let mut session = find(context, id)?;
    loop {
        let record = ThreadRecord::read(&context.layout, &session.thread)?;
        let Err(fault) = check_current(&session, record.as_ref()) else { return Ok(session) };
        let again = find(context, id)?;
        if (&again.thread, again.generation) == (&session.thread, session.generation) {
            return Err(fault.into());
        }
        session = again;
    }
}

impl Acting {
    /// Takes the thread's lock and validates the session again: it is the owner, of the thread
    /// that it was when the command began, under the same generation.
    ///
    /// # Errors
    /// [`SessionError`] if it was lost or its thread renamed meanwhile;
    /// [`crate::store::StoreError::Busy`].
    pub fn lock<'a>(&self, context: &'a Context<'a>) -> Result<OwnedThread<'a>, Error> {
        let Session { session_id: id, thread, generation, .. } = &self.session;
        let owned = LockedThread::take(context, thread)?.own(id)?;
        if owned.session().generation != *generation {
            // Renamed, and renamed back.
            let (thread, current) = (thread.clone(), thread.clone());
            return Err(SessionError::Renamed { id: id.clone(), thread, current }.into());
        }
        Ok(owned)
    }
}

/// Takes the lock of the thread that `session` owns, whatever it is called by now.
///
/// # Errors
/// [`SessionError`]; [`crate::store::StoreError::Busy`].
pub fn lock_owned<'a>(context: &'a Context<'a>, session: &SessionId) -> Result<OwnedThread<'a>, Error> {
    lock_read(context, &find(context, session)?)
}

/// As [`lock_owned`], of a session that was just read: it is read again under the lock.
///
/// # Errors
/// As [`lock_owned`].
pub fn lock_read<'a>(context: &'a Context<'a>, read: &Session) -> Result<OwnedThread<'a>, Error> {
    let (id, mut thread) = (&read.session_id, read.thread.clone());
    loop {
        match LockedThread::take(context, &thread)?.own(id) {
            // Renamed between the two.
            Err(Error::Session(SessionError::Renamed { .. })) => thread = find(context, id)?.thread,
            owned => return owned,
        }
    }
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
