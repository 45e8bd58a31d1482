//! Finishing or undoing what a dead process left half done.
//!
//! Whoever takes a thread's lock and finds a journal calls [`recover`] before anything
//! else. Every step may be repeated: a process that dies in the middle of recovery leaves
//! the journal for the next.
//!
//! | journal | the commit point | reached | not reached |
//! |---|---|---|---|
//! | reserve | the thread record names the session | finish | remove the session record, and the ref if this operation made it and it is unchanged |
//! | capture | the tip is at the new commit | finish | drop |
//! | ready | the mark is at the commit | finish | drop |
//! | refresh | the tip is at the new commit | finish | drop |
//! | release | the journal itself | finish | – |
//! | withdraw | the journal itself | finish | – |
//! | rename | the new name's record holds the operation | `thread::rename` does it, under the locks of both names | |
//!
//! A `<ref>.lock` in the way is removed only if it is the very file that the journal
//! recorded, by device and inode, while its maker was alive: the lock on the thread that we
//! hold proves that the maker is dead. Any other lock is somebody else's.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::DateTime;

use super::record::ThreadRecord;
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::refs::RefFiles;
use crate::names::ThreadName;
use crate::session::binding::Binding;
use crate::session::session::{End, Status};
use crate::store::Layout;
use crate::store::atomic_file;
use crate::store::events::{self, Event};
use crate::store::journal::{self, Action, Entry, FileIdentity, Found, RefMove};

/// Brings `thread` to a whole state. Under its lock only.
///
/// # Errors
/// [`crate::store::StoreError`] if the journal or a record that it needs cannot be
/// understood; nothing is then written.
pub fn recover(context: &Context<'_>, thread: &ThreadName) -> Result<(), Error> {
    recover_from(context, thread, journal::read(&context.layout, thread)?)
}

/// As [`recover`], from the thread's journal as it was read under the lock.
///
/// # Errors
/// As [`recover`].
pub(super) fn recover_from(context: &Context<'_>, thread: &ThreadName, journal: Found) -> Result<(), Error> {
    let path = context.layout.journal(thread);
    let entry = match journal {
        Found::Nothing => return Ok(()),
        Found::CutShort => return Ok(atomic_file::remove(&path)?),
        Found::Operation(entry) => entry,
    };
    let record = ThreadRecord::read(&context.layout, thread)?;
    // What a killed writer had staged; nobody else writes these under our lock.
    atomic_file::remove(&atomic_file::sibling(&context.layout.thread(thread)))?;
    unlock(context, &entry.action.locks(thread))?;
    let done = match &entry.action {
        Action::Reserve { session, previous, tip, .. } => {
            if let Some(previous) = previous {
                // The predecessor was judged dead: its end stands either way.
                if context.layout.ended_session(previous).exists() {
                    context.registry.forget_live(previous)?;
                }
                atomic_file::remove(&atomic_file::sibling(&context.layout.ended_session(previous)))?;
            }
            let committed = record.as_ref().is_some_and(|record| record.owner.as_ref() == Some(session));
            if committed {
                atomic_file::remove(&atomic_file::sibling(&context.layout.session(session)))?;
            } else {
                context.registry.forget_live(session)?;
                undo_creation(context, tip)?;
            }
            committed.then_some(("reserved", Some(session), Some(&tip.new), None))
        }
        Action::Capture { session, tip, worktree_git_dir, head } => {
            atomic_file::remove(&atomic_file::sibling(&context.layout.session(session)))?;
            atomic_file::remove(&atomic_file::sibling(&Layout::binding(worktree_git_dir)))?;
            let moved = context.repo.read_ref(&tip.name)?.as_ref() == Some(&tip.new);
            // A worktree that was removed meanwhile needs no binding.
            if moved && worktree_git_dir.is_dir() {
                let (base, head) = (tip.new.clone(), head.clone());
                let binding =
                    Binding::after_capture(worktree_git_dir, session.clone(), thread.clone(), base, head)?;
                binding.write(worktree_git_dir, context.durability())?;
            }
            moved.then_some(("captured", Some(session), Some(&tip.new), None))
        }
        Action::Ready { session, mark, .. } => {
            atomic_file::remove(&atomic_file::sibling(&context.layout.session(session)))?;
            let moved = context.repo.read_ref(&mark.name)?.as_ref() == Some(&mark.new);
            if !moved {
                remove_log_without_ref(context, mark)?;
            }
            moved.then_some(("ready", Some(session), Some(&mark.new), None))
        }
        Action::Withdraw { session, tip } => {
            context.registry.forget_live(session)?;
            if let Some(mut record) = record.filter(|record| record.owner.as_ref() == Some(session)) {
                record.owner = None;
                record.write(&context.layout, context.durability())?;
            }
            undo_creation(context, tip)?;
            Some(("withdrawn", Some(session), None, None))
        }
        Action::Refresh { session, tip } => {
            let moved = context.repo.read_ref(&tip.name)?.as_ref() == Some(&tip.new);
            moved.then_some(("refreshed", session.as_ref(), Some(&tip.new), None))
        }
        Action::Rename { .. } | Action::RenameAway { .. } => {
            unreachable!("whoever takes a thread's lock has a rename finished under the locks of both names")
        }
        Action::Release { session, status, at, .. } => {
            atomic_file::remove(&atomic_file::sibling(&context.layout.ended_session(session)))?;
            finish_release(context, record, &entry, status, at)?;
            Some(("released", Some(session), None, Some(status.clone())))
        }
    };
    if let Some((event, session, commit, status)) = done {
        let event = Event {
            id: entry.operation.clone(),
            at: super::owned::rfc3339(context.platform.now().wall),
            event: event.to_owned(),
            thread: thread.as_str().to_owned(),
            session: session.map_or_else(String::new, |session| session.as_str().to_owned()),
            generation: None,
            commit: commit.map(|commit| commit.as_str().to_owned()),
            status,
        };
        events::append(&context.layout.events(), &event);
    }
    Ok(atomic_file::remove(&path)?)
}

/// Removes those of Git's locks on refs that are still the files which our operation made.
///
/// # Errors
/// [`crate::store::StoreError::Io`] if one of them is there and cannot be removed.
pub(super) fn unlock(context: &Context<'_>, locks: &[(String, FileIdentity)]) -> Result<(), Error> {
    for (name, ours) in locks {
        let lock = context.repo.lock_of(name);
        // A git that held it for the dead process gives it back by itself, by its name: while it
        // lives nobody else may make room for another lock.
        let deadline = Instant::now() + context.lock_timeout();
        while ours.is_at(&lock) && ours.helper.is_some_and(|helper| !helper.is_gone()) {
            if Instant::now() >= deadline {
                return Err(GitError::RefLocked { name: name.clone(), lock }.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if ours.is_at(&lock) {
            atomic_file::remove(&lock)?;
        }
    }
    Ok(())
}

/// Deletes the ref of a reserve that did not come to its commit point, if that operation
/// made it and nobody has moved it.
pub(super) fn undo_creation(context: &Context<'_>, tip: &RefMove) -> Result<(), Error> {
    if tip.old.is_some() {
        return Ok(());
    }
    if context.repo.read_ref(&tip.name)?.as_ref() == Some(&tip.new) {
        context.repo.delete_ref(&tip.name, &tip.new)?;
    }
    remove_log_without_ref(context, tip)
}

/// Removes the reflog that an operation made for a ref that it then never wrote.
fn remove_log_without_ref(context: &Context<'_>, moved: &RefMove) -> Result<(), Error> {
    if moved.old.is_none() && context.repo.read_ref(&moved.name)?.is_none() {
        let Some(RefFiles { log, .. }) = context.repo.files_of(&moved.name) else { return Ok(()) };
        // A folder is no log of ours: one is made below, or it is what that left.
        match atomic_file::remove(&log) {
            Err(_) if log.is_dir() => context.repo.clear_log_place(&moved.name),
            removed => removed?,
        }
        remove_empty_folders(&log, &context.layout.ref_file("logs/refs/heddle"));
    }
    Ok(())
}

/// Removes the folders above `path` that are empty, up to but not `end`.
fn remove_empty_folders(path: &Path, end: &Path) {
    let mut folder = path.parent();
    while let Some(here) = folder.filter(|here| here.starts_with(end) && *here != end) {
        if std::fs::remove_dir(here).is_err() {
            return;
        }
        folder = here.parent();
    }
}

/// Finishes a release: its session ended, its thread without an owner.
fn finish_release(
    context: &Context<'_>,
    record: Option<ThreadRecord>,
    entry: &Entry,
    status: &str,
    at: &str,
) -> Result<(), Error> {
    let Action::Release { session: id, taken, .. } = &entry.action else { return Ok(()) };
    if let Some(mut session) = context.registry.read(id)? {
        if session.is_active() {
            let end = match Status::from_word(status) {
                Some(Status::Abandoned) => End::Abandoned,
                Some(Status::Merged) => End::Merged,
                _ => End::Complete,
            };
            let at = DateTime::parse_from_rfc3339(at)
                .map_or_else(|_| context.platform.now().wall, |at| at.with_timezone(&chrono::Utc));
            session.taken = *taken;
            context.registry.end(&session.ended(end, at))?;
        } else {
            context.registry.forget_live(id)?;
        }
    }
    if let Some(mut record) = record.filter(|record| record.owner.as_ref() == Some(id)) {
        record.owner = None;
        record.write(&context.layout, context.durability())?;
    }
    Ok(())
}
