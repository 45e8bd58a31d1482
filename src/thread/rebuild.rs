//! The record of a thread, made anew where it is damaged.
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

use std::os::unix::fs::OpenOptionsExt as _;

use super::ThreadRecord;
use super::locked::acquire;
use crate::context::Context;
use crate::error::Error;
use crate::names::{Generation, ThreadName};
use crate::session::Session;
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
    let ids = context.registry.live_ids()?.into_iter().chain(context.registry.ended_ids()?);
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
    let mut aside = path.clone().into_os_string();
    aside.push(".damaged");
    let copied = no_follow().read(true).open(&path).and_then(|mut from| {
        let mut to = no_follow().write(true).create(true).truncate(true).mode(0o666).open(&aside)?;
        std::io::copy(&mut from, &mut to)
    });
    copied.map_err(StoreError::io("copy", &path))?;
    Ok(record.write(&context.layout, context.durability())?)
}
