//! Ending a session.

use std::path::PathBuf;
use std::time::SystemTime;

use super::acting::{Claim, authorize, find, lock_owned};
use super::worktrees::{self, Retirement};
use crate::context::Context;
use crate::error::Error;
use crate::session::session::{End, State};
use crate::session::{Session, SessionError};
use crate::thread::LockedThread;
use crate::thread::rebuild::rebuild_session;

/// A session that was ended.
#[derive(Debug)]
pub struct Released {
    /// The session.
    pub session: Session,
    /// What became of the worktree that was made for it.
    pub worktree: Retirement,
    /// Its record as it was, where that could not be read.
    pub damaged: Option<PathBuf>,
}

/// Ends the session with the status `how`, and removes the worktree that was made for it if nothing
/// can be lost with it. Repeating it with the same status gives the same answer.
/// With `force`, a person ends a session that is not theirs: no token is asked for, and a record
/// that is damaged is made anew first, which is a way out of what nobody else can decide.
///
/// # Errors
/// [`SessionError`]; [`crate::store::StoreError::Busy`].
pub fn release(context: &Context<'_>, claim: &Claim, how: End, force: bool) -> Result<Released, Error> {
    let damaged = if force { rebuild_session(context, &claim.session)? } else { None };
    let session = end(context, claim, how, force)?;
    // The session has ended, whatever comes of its worktree: what cannot be removed now is
    // removed by gc, or handed to the next owner.
    let worktree = worktrees::retire(context, &session).unwrap_or_else(|error| match &session.path {
        Some(path) => Retirement::Kept { path: path.clone(), reasons: vec![error.to_string()] },
        None => Retirement::Nothing,
    });
    Ok(Released { session, worktree, damaged })
}

fn end(context: &Context<'_>, claim: &Claim, how: End, force: bool) -> Result<Session, Error> {
    let session = find(context, &claim.session)?;
    if !force {
        authorize(context, &session, claim.token.as_ref())?;
    }
    // A journal may be that of a release that died half done: it is finished first.
    if !context.layout.journal(&session.thread).exists()
        && let Some(same) = already(&session, how)
    {
        return Ok(same);
    }
    let owned = loop {
        let thread = find(context, &claim.session)?.thread;
        let locked = LockedThread::take(context, &thread)?;
        // Recovery may just have finished a release that died half done.
        let now = context.registry.read(&claim.session)?;
        if let Some(same) = now.and_then(|session| already(&session, how)) {
            return Ok(same);
        }
        match locked.own(&claim.session) {
            // Renamed between the two.
            Err(Error::Session(SessionError::Renamed { .. })) => {}
            owned => break owned?,
        }
    };
    let ended = if force { owned.end_by_force(how)? } else { owned.end(how)? };
    context.registry.prune(context.settings.retention, SystemTime::now());
    Ok(ended)
}

/// The answer to a release that has been done.
fn already(session: &Session, how: End) -> Option<Session> {
    let State::Ended { end, .. } = session.state else { return None };
    // Landed while its agent was about to say that it is done.
    let landed = end == End::Merged && how == End::Complete;
    (end == how || landed).then(|| session.clone())
}

/// Takes back a reservation whose answer could not be given, unless somebody has used it.
pub fn take_back(context: &Context<'_>, session: &Session) {
    worktrees::take_back(context, session);
    let undo = || -> Result<(), Error> {
        let owned = lock_owned(context, &session.session_id)?;
        if owned.session().used {
            return Err(SessionError::NotNamed.into());
        }
        owned.end(End::Abandoned).map(drop)
    };
    // Whatever goes wrong, the lease ends it.
    let _ = undo();
}
