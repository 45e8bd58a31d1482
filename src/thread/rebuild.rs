//! The record of a thread, or of its owner's session, made anew where it is damaged.
//!
//! What the record said is said elsewhere too: each session has its thread and generation, and
//! so have the commits. The session with the highest of all generations is the owner, if it has
//! not ended: the others were replaced by it. So an owner who lives stays one, and no generation
//! is given out again. What only the record had, the target and the names before, is lost.
//!
//! # If the process dies here
//! The damaged record is copied beside itself before it is replaced, so it is there, damaged
//! still, or the new one is.
//!
//! # If another does the same now
//! Under the thread's lock, where the record is read again.

use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::locked::acquire;
use super::{LockedThread, ThreadRecord};
use crate::context::Context;
use crate::error::Error;
use crate::names::{CommitId, Generation, SessionId, ThreadName};
use crate::session::liveness::Presence;
use crate::session::session::{Agent, Heartbeat, Holder, Session, State, Usage};
use crate::session::token::Token;
use crate::store::StoreError;
use crate::store::atomic_file::no_follow;

/// Makes the record of `name` anew from what sessions and commits tell, if it is damaged; the
/// damaged one is kept as `<file>.damaged`.
///
/// # Errors
/// [`StoreError::Newer`] for a record that is whole and not ours to touch; [`StoreError`],
/// [`crate::git::GitError`] for what it is made from.
pub fn rebuild(context: &Context<'_>, name: &ThreadName) -> Result<(), Error> {
    let _lock = acquire(context, name)?;
    match ThreadRecord::read(&context.layout, name) {
        Ok(_) => return Ok(()),
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let live = context.registry.live_ids()?;
    for id in &live {
        // It may be this thread's owner, and somebody acts for it just now.
        if let Err(error) = context.registry.read(id)
            && context.registry.presence(id) != Presence::Free
        {
            return Err(error.into());
        }
    }
    let ids = live.into_iter().chain(context.registry.ended_ids()?);
    // One that cannot be read is a finding of its own.
    let sessions = ids.filter_map(|id| context.registry.read(&id).ok().flatten());
    let last: Option<Session> =
        sessions.filter(|session| session.thread == *name).max_by_key(|session| session.generation);
    let committed = match context.repo.read_ref(&name.tip_ref())? {
        Some(tip) => context.repo.generation_in_trailers(&tip)?,
        None => None,
    };
    let generation = last.as_ref().map(|session| session.generation).max(committed);
    let generation = generation.unwrap_or(Generation::FIRST);
    let owner = last
        .as_ref()
        .filter(|session| session.generation == generation && session.is_active())
        .map(|session| session.session_id.clone());
    let head_branch = last.and_then(|session| session.head_branch);
    let record = ThreadRecord { head_branch, ..ThreadRecord::new(name.clone(), generation, owner) };
    let path = context.layout.thread(name);
    keep_copy(&path)?;
    Ok(record.write(&context.layout, context.durability())?)
}

/// Makes the record of the session `id` anew if it is damaged, so that it can be ended: what a
/// person decides, as somebody may act for it. It says what its thread does; nobody has its token,
/// which it requires, and its lease is the shortest. Where the damaged one is kept: `<file>.damaged`.
///
/// # Errors
/// [`StoreError`] for a record that is whole and not ours to touch, and for one that no thread
/// names as its owner's.
pub fn rebuild_session(context: &Context<'_>, id: &SessionId) -> Result<Option<PathBuf>, Error> {
    let Err(damage) = context.registry.read(id) else { return Ok(None) };
    let path = context.layout.session(id);
    let mends = |damage: &StoreError| matches!(damage, StoreError::Damaged { path: at, .. } if *at == path);
    let records = ThreadRecord::all(&context.layout)?;
    let record = records.into_iter().find(|record| record.owner.as_ref() == Some(id));
    let Some(thread) = record.filter(|_| mends(&damage)).map(|record| record.thread) else {
        return Err(damage.into());
    };
    let locked = LockedThread::take(context, &thread)?;
    let record = locked.record().filter(|record| record.owner.as_ref() == Some(id));
    let (record, tip) = match (context.registry.read(id), record, locked.tip()?) {
        (Ok(_), ..) => return Ok(None),
        (Err(damage), Some(record), Some(tip)) if mends(&damage) => (record, tip),
        (Err(damage), ..) => return Err(damage.into()),
    };
    let session = session_of(context, id, record, &tip)?;
    let aside = keep_copy(&path)?;
    context.registry.write(&session)?;
    Ok(Some(aside))
}

/// What is known of the session `id`, which owns the thread with `record`.
fn session_of(
    context: &Context<'_>,
    id: &SessionId,
    record: &ThreadRecord,
    tip: &CommitId,
) -> Result<Session, Error> {
    let began =
        id.unix_millis().and_then(|millis| DateTime::from_timestamp_millis(i64::try_from(millis).ok()?));
    let now = context.platform.now();
    Ok(Session {
        session_id: id.clone(),
        thread: record.thread.clone(),
        anchor_state: tip.clone(),
        anchor_root: context.repo.resolve(tip.as_str())?.tree,
        generation: record.generation,
        state: State::Active,
        task: None,
        path: None,
        worktree: None,
        holder: Holder::Lease,
        ttl_seconds: NonZeroU64::MIN,
        heartbeat: Heartbeat::new(&now, context.platform.place()),
        started_at: began.unwrap_or(now.wall),
        token_hash: Token::generate(context.platform).map_err(Error::Randomness)?.hash(),
        require_token: true,
        request: None,
        head_branch: record.head_branch.clone(),
        agent: Agent::default(),
        usage: Usage::default(),
        progress: None,
        used: true,
        taken: false,
        extra: serde_json::Map::new(),
    })
}

/// Copies a damaged record beside itself, before it is replaced.
fn keep_copy(path: &Path) -> Result<PathBuf, StoreError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let copied = no_follow().read(true).open(path).and_then(|mut from| {
        let mut to = no_follow().write(true).create(true).truncate(true).mode(0o666).open(&aside)?;
        std::io::copy(&mut from, &mut to)
    });
    copied.map_err(StoreError::io("copy", path))?;
    Ok(aside.into())
}
