//! What a landing writes on its thread: the intent before the target moves, and after it what
//! came of it. Each under the thread's lock, and each such that the next landing can tell from
//! it what is left to do; see the module above.

use super::{BlockedThread, LandedThread, Standing, land_lock, makers};
use crate::context::Context;
use crate::error::Error;
use crate::git::land::{abandoned_scratch, remove_scratch};
use crate::names::{CommitId, SessionId, ThreadName};
use crate::ops::worktrees::{self, Where};
use crate::session::session::{End, State};
use crate::store::atomic_file;
use crate::store::events::{self, Event};
use crate::store::lock::FileLock;
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
        // First, so that whoever comes after a process that died here knows where to look.
        let name = format!("{thread}\n");
        atomic_file::replace(&context.layout.landing(), name.as_bytes(), context.durability())?;
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
        locked.own(&owner.id)?.end(End::Merged)?;
        locked = LockedThread::take(context, thread)?;
    }
    for id in sessions.iter().filter_map(|id| SessionId::parse(id).ok()) {
        let Ok(Some(session)) = context.registry.read(&id) else { continue };
        let ours =
            locked.record().map_or(session.thread == *thread, |record| record.is_or_was(&session.thread));
        if let State::Ended { end: End::Complete | End::Abandoned, at } = session.state
            && ours
        {
            context.registry.end(&session.ended(End::Merged, at))?;
        }
    }
    // Where an earlier landing was taken back, it comes by another commit now.
    let known = locked.record().and_then(|record| record.landed.as_ref());
    let news = known.is_none_or(|known| known.tip != standing.tip || known.commit != *commit);
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
    let elsewhere = || worktrees::retire_thread(context, thread, Where::Elsewhere);
    let worktrees = if whole { elsewhere() } else { Vec::new() };
    Ok(LandedThread {
        thread: thread.clone(),
        tip: standing.tip.clone(),
        commit: commit.clone(),
        target: standing.target.clone(),
        already,
        sessions,
        worktrees,
        moved_from: None,
        unfinished: None,
    })
}

/// Removes the worktree that the command was called in, where its thread is among those that have
/// landed. Last of all: what the user named, a remote's path say, is meant from there.
pub(super) fn retire_here(context: &Context<'_>, landed: &mut [LandedThread]) {
    if context.repo.git_dir() == context.repo.common_dir() {
        return;
    }
    for one in landed.iter_mut().filter(|one| one.unfinished.is_none()) {
        // Not where somebody has gone on.
        if context.repo.read_ref(&one.thread.tip_ref()).is_ok_and(|tip| tip.as_ref() == Some(&one.tip)) {
            one.worktrees.extend(worktrees::retire_thread(context, &one.thread, Where::Here));
        }
    }
}

/// A thread that has landed, where something after it failed.
pub(super) fn unfinished(
    thread: &ThreadName,
    standing: &Standing,
    commit: CommitId,
    error: &Error,
) -> LandedThread {
    LandedThread {
        thread: thread.clone(),
        tip: standing.tip.clone(),
        commit,
        target: standing.target.clone(),
        already: false,
        sessions: Vec::new(),
        worktrees: Vec::new(),
        moved_from: None,
        unfinished: Some(error.to_string()),
    }
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

/// The threads whose records may hold an intent: the one that the last landing named, or all of
/// them where that cannot be read. It is named before its record is written, in the landing's
/// turn, and the next landing finishes it before it names its own.
fn intended(context: &Context<'_>) -> Result<Vec<ThreadName>, Error> {
    match atomic_file::read("name of the thread that lands", &context.layout.landing()) {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(name)) if let Some(thread) = parse(&name) => Ok(vec![thread]),
        Ok(Some(_)) | Err(_) => {
            Ok(ThreadRecord::all(&context.layout)?.into_iter().map(|record| record.thread).collect())
        }
    }
}

fn parse(name: &[u8]) -> Option<ThreadName> {
    ThreadName::parse(std::str::from_utf8(name).ok()?.strip_suffix('\n')?).ok()
}

/// Finishes or forgets what a landing whose process died had begun; one that is under way is
/// waited for.
pub(super) fn finish_interrupted(context: &Context<'_>) -> Result<(), Error> {
    for thread in intended(context)? {
        if readable(context, &thread).is_some_and(|record| record.landing.is_some()) {
            finish_of(context, &thread)?;
        }
    }
    if !abandoned_scratch(context.repo).is_empty() {
        clear_scratch(context, &land_lock(context)?)?;
    }
    Ok(())
}

/// Removes the worktrees for checks that landings left whose process died; in the turn of a landing.
pub(in crate::ops) fn clear_scratch(context: &Context<'_>, _turn: &FileLock) -> Result<(), Error> {
    let _serial = worktrees::serial(context)?;
    abandoned_scratch(context.repo).iter().for_each(|linked| remove_scratch(context.repo, linked));
    Ok(())
}

/// As [`finish_interrupted`], for one thread, whether or not it was the last to be named.
pub(in crate::ops) fn finish_of(context: &Context<'_>, thread: &ThreadName) -> Result<(), Error> {
    finish_intent(context, thread, &land_lock(context)?)
}

/// As [`finish_interrupted`], for whoever has the turn.
pub(super) fn finish_in_turn(context: &Context<'_>, turn: &FileLock) -> Result<(), Error> {
    intended(context)?.iter().try_for_each(|thread| finish_intent(context, thread, turn))?;
    if abandoned_scratch(context.repo).is_empty() { Ok(()) } else { clear_scratch(context, turn) }
}

/// A record that cannot be read is its own thread's trouble and keeps no other from landing.
/// When that thread lands the next time, it is found to be on its target.
fn readable(context: &Context<'_>, thread: &ThreadName) -> Option<ThreadRecord> {
    ThreadRecord::read(&context.layout, thread).ok().flatten()
}

/// Finishes the intent of one thread, if it has any.
fn finish_intent(context: &Context<'_>, thread: &ThreadName, _turn: &FileLock) -> Result<(), Error> {
    let Some(record) = readable(context, thread) else { return Ok(()) };
    let Some(landing) = record.landing.clone() else { return Ok(()) };
    let at = context.repo.read_ref(&landing.target)?;
    let done = match &at {
        Some(at) => context.repo.contains(at, &landing.new)?,
        None => false,
    };
    if done {
        let standing =
            Standing { tip: landing.tip, target: landing.target, at: landing.old, record: Some(record) };
        return finish(context, thread, &standing, &landing.new, false).map(drop);
    }
    forget(context, thread)
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
