//! Who may do to a thread what is its owner's to do: the owner, anybody where nobody owns it,
//! and a person with `--force`, which ends the owner's session.

use super::acting::{Claim, authorize};
use crate::context::Context;
use crate::error::Error;
use crate::names::{SessionId, ThreadName};
use crate::session::SessionError;
use crate::session::session::End;
use crate::thread::LockedThread;

/// On whose behalf a thread is handled.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The session that the caller acts for, if any.
    pub claim: Option<Claim>,
    /// Whether to end a session that is in the way.
    pub force: bool,
}

/// Takes the lock of `thread` for somebody who may handle it. The owner's session goes on if
/// the caller acts for it; a dead one, or with force a living one, has ended as abandoned.
///
/// # Errors
/// [`Error::Owned`] if another session owns it and may be alive.
pub fn take<'a>(
    context: &'a Context<'a>,
    thread: &ThreadName,
    standing: &Standing,
) -> Result<LockedThread<'a>, Error> {
    let locked = LockedThread::take(context, thread)?;
    let Some(owner) = locked.owner() else { return Ok(locked) };
    if let Some(claim) = standing.claim.as_ref().filter(|claim| claim.session == owner.id) {
        // Where its record cannot be read, the reason is the answer.
        let session = context.registry.read(&owner.id)?;
        let session = session.ok_or_else(|| SessionError::NotFound { id: owner.id.clone() })?;
        authorize(context, &session, claim.token.as_ref())?;
        return Ok(locked);
    }
    if owner.liveness.may_live() && !standing.force {
        return Err(Error::Owned { thread: thread.clone(), owner: owner.id });
    }
    end_owner(context, locked, &owner.id)
}

/// Ends the session of an owner that is dead or in the way.
fn end_owner<'a>(
    context: &'a Context<'a>,
    locked: LockedThread<'a>,
    owner: &SessionId,
) -> Result<LockedThread<'a>, Error> {
    let name = locked.name().clone();
    // Nobody is to lose it for something that Git then refuses to do.
    context.repo.try_out(&name)?;
    locked.own(owner)?.end_by_force(End::Abandoned)?;
    // Between the two locks somebody may have reserved it: then it is theirs.
    let locked = LockedThread::take(context, &name)?;
    match locked.owner() {
        Some(next) => Err(Error::Owned { thread: name, owner: next.id }),
        None => Ok(locked),
    }
}
