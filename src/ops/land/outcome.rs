//! What a landing writes on its thread: the intent before the target moves, and after it what
//! came of it. Each under the thread's lock, and each such that the next landing can tell from
//! it what is left to do; see the module above.

use super::{BlockedThread, LandedThread, Standing, land_lock, makers};
use crate::context::Context;
use crate::error::Error;
use crate::names::{CommitId, SessionId, ThreadName};
use crate::ops::worktrees;
use crate::session::session::Status;
use crate::store::events::{self, Event};
use crate::thread::locked::Owner;
use crate::thread::owned::rfc3339;
use crate::thread::record::{Blocked, Landed, Landing};
use crate::thread::{LockedThread, ThreadRecord};

/// Writes down what is about to happen; false if the thread moved since it was looked at.
pub(super) fn intend(
    context: &Context<'_>,
    thread: &ThreadName,
    standing: &Standing,
    made: &CommitId,
) -> Result<bool, Error> {
    let locked = LockedThread::take(context, thread)?;
    if locked.tip()?.as_ref() != Some(&standing.tip) {
        return Ok(false);
    }
    if let Some(record) = locked.record() {
        let landing = Landing {
            target: standing.target.clone(),
            old: standing.at.clone(),
            new: made.clone(),
            tip: standing.tip.clone(),
        };
        let record = ThreadRecord { landing: Some(landing), ..record.clone() };
        record.write(&context.layout, context.durability())?;
    }
    Ok(true)
}

/// Forgets the intent: the target was not moved.
pub(super) fn forget(context: &Context<'_>, thread: &ThreadName) -> Result<(), Error> {
    let locked = LockedThread::take(context, thread)?;
    if let Some(record) = locked.record().filter(|record| record.landing.is_some()) {
        let record = ThreadRecord { landing: None, ..record.clone() };
        record.write(&context.layout, context.durability())?;
    }
    Ok(())
}

/// Does what is left to do for a thread whose work is on the target.
pub(super) fn finish(
    context: &Context<'_>,
    thread: &ThreadName,
    standing: &Standing,
    commit: &CommitId,
    already: bool,
) -> Result<LandedThread, Error> {
    let sessions = makers(context, standing)?;
    let mut locked = LockedThread::take(context, thread)?;
    let whole = locked.tip()?.as_ref() == Some(&standing.tip);
    // Whoever has reserved the thread since and not moved it has yet to begin: what lands is
    // the work of the owner before.
    let made =
        |owner: &Owner| owner.session.as_ref().is_some_and(|session| session.anchor_state != standing.tip);
    if let Some(owner) = locked.owner().filter(|owner| whole && made(owner)) {
        locked.own(&owner.id)?.end(Status::Merged)?;
        locked = LockedThread::take(context, thread)?;
    }
    for id in sessions.iter().filter_map(|id| SessionId::parse(id).ok()) {
        let Ok(Some(mut session)) = context.registry.read(&id) else { continue };
        let ended = matches!(session.status, Status::Complete | Status::Abandoned);
        let ours =
            locked.record().map_or(session.thread == *thread, |record| record.is_or_was(&session.thread));
        if ended && ours {
            session.status = Status::Merged;
            context.registry.end(&session)?;
        }
    }
    let news = locked.record().is_none_or(|record| !record.has_landed(&standing.tip));
    if let Some(record) = locked.record() {
        let landed = Landed {
            tip: standing.tip.clone(),
            commit: commit.clone(),
            target: standing.target.clone(),
            at: rfc3339(context.platform.now().wall),
        };
        let landed = if news { Some(landed) } else { record.landed.clone() };
        let record = ThreadRecord { landing: None, landed, blocked: None, ..record.clone() };
        record.write(&context.layout, context.durability())?;
    }
    drop(locked);
    if news {
        tell(context, thread, "landed", commit, None);
    }
    let worktrees = if whole { worktrees::retire_thread(context, thread) } else { Vec::new() };
    Ok(LandedThread {
        thread: thread.clone(),
        tip: standing.tip.clone(),
        commit: commit.clone(),
        target: standing.target.clone(),
        already,
        sessions,
        worktrees,
    })
}

/// Marks a thread as blocked, as things stand.
pub(super) fn block(
    context: &Context<'_>,
    thread: &ThreadName,
    standing: &Standing,
    reason: String,
    conflicts: Vec<Vec<u8>>,
) -> Result<BlockedThread, Error> {
    let locked = LockedThread::take(context, thread)?;
    if let Some(record) = locked.record() {
        let blocked =
            Blocked { tip: standing.tip.clone(), target_commit: standing.at.clone(), reason: reason.clone() };
        let record = ThreadRecord { blocked: Some(blocked), landing: None, ..record.clone() };
        record.write(&context.layout, context.durability())?;
    }
    drop(locked);
    tell(context, thread, "blocked", &standing.tip, Some(&reason));
    Ok(BlockedThread { thread: thread.clone(), reason, conflicts })
}

/// Finishes or forgets what landings whose process died had begun.
pub(in crate::ops) fn finish_interrupted(context: &Context<'_>) -> Result<(), Error> {
    for record in ThreadRecord::all(&context.layout)? {
        if record.landing.is_none() {
            continue;
        }
        let thread = record.thread.clone();
        let _turn = land_lock(context)?;
        // Read again in our turn: it may have been in progress rather than interrupted.
        let Some(record) = ThreadRecord::read(&context.layout, &thread)? else { continue };
        let Some(landing) = record.landing.clone() else { continue };
        let at = context.repo.read_ref(&landing.target)?;
        let done = match &at {
            Some(at) => context.repo.contains(at, &landing.new)?,
            None => false,
        };
        if done {
            let standing =
                Standing { tip: landing.tip, target: landing.target, at: landing.old, record: Some(record) };
            finish(context, &thread, &standing, &landing.new, false)?;
        } else {
            forget(context, &thread)?;
        }
    }
    Ok(())
}

fn tell(context: &Context<'_>, thread: &ThreadName, event: &str, commit: &CommitId, why: Option<&str>) {
    let Ok(id) = context.operation_id() else { return };
    let event = Event {
        id,
        at: rfc3339(context.platform.now().wall),
        event: event.to_owned(),
        thread: thread.as_str().to_owned(),
        session: String::new(),
        generation: None,
        commit: Some(commit.as_str().to_owned()),
        status: why.map(str::to_owned),
    };
    events::append(&context.layout.events(), &event);
}
