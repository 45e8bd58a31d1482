//! A thread under its lock, on behalf of its owner.
//!
//! Every write of an owner goes through here. Each has the same order: objects (already
//! durable), Git's lock on the ref, the journal, the ref, the records, the event, the
//! journal removed; `thread::recover` tells for each what a crash in between comes to.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::{LockedThread, ThreadRecord};
use crate::error::Error;
use crate::git::refs::{Expected, Intent, LockedRef};
use crate::names::CommitId;
use crate::session::Session;
use crate::session::binding::Binding;
use crate::session::session::{End, Heartbeat};
use crate::store::atomic_file::Staged;
use crate::store::events::Event;
use crate::store::journal::{self, Action, Entry, RefMove};
use crate::store::{StoreError, at_once};

/// A thread that this process may move: the lock is held, the session valid.
#[must_use = "the lock is released when this value is dropped"]
pub struct OwnedThread<'a> {
    thread: LockedThread<'a>,
    session: Session,
}

/// A worktree that a capture is made from.
#[derive(Debug, Clone, Copy)]
pub struct BoundWorktree<'a> {
    /// Its own Git directory.
    pub git_dir: &'a Path,
    /// Where its HEAD is.
    pub head: &'a CommitId,
}

impl<'a> OwnedThread<'a> {
    pub(super) fn new(thread: LockedThread<'a>, session: Session) -> Self {
        Self { thread, session }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The thread.
    pub fn thread(&self) -> &LockedThread<'a> {
        &self.thread
    }

    /// Renews the lease and writes what `change` does to the session.
    ///
    /// If the process dies here: the record is the old one or the new one.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Io`].
    pub fn renew(mut self, change: impl FnOnce(&mut Session)) -> Result<Session, Error> {
        self.touch(change);
        self.thread.context.registry.write(&self.session)?;
        Ok(self.session)
    }

    /// Renews the lease alone.
    ///
    /// If the process dies here: it was renewed or not. If the power goes: the lease ends as
    /// if this had not been (`docs/adr/0006`).
    ///
    /// # Errors
    /// [`crate::store::StoreError::Io`].
    pub fn beat(mut self) -> Result<Session, Error> {
        let read = self.session.clone();
        self.touch(|_| {});
        let registry = &self.thread.context.registry;
        if !registry.renew(&read, &self.session.heartbeat) {
            registry.write(&self.session)?;
        }
        Ok(self.session)
    }

    /// Writes the session, which was `read`: where nothing but its lease is new, only that.
    fn store(&self, read: &Session) -> Result<(), StoreError> {
        let registry = &self.thread.context.registry;
        let renewed = Session { heartbeat: read.heartbeat.clone(), ..self.session.clone() } == *read;
        if renewed && registry.renew(read, &self.session.heartbeat) {
            return Ok(());
        }
        registry.write(&self.session)
    }

    /// Writes what `change` does to the session, as part of making it: nobody has used it.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Io`].
    pub fn note(mut self, change: impl FnOnce(&mut Session)) -> Result<Session, Error> {
        let used = self.session.used;
        self.touch(change);
        self.session.used = used;
        self.thread.context.registry.write(&self.session)?;
        Ok(self.session)
    }

    fn touch(&mut self, change: impl FnOnce(&mut Session)) {
        let platform = self.thread.context.platform;
        self.session.heartbeat = Heartbeat::new(&platform.now(), platform.place());
        self.session.used = true;
        change(&mut self.session);
    }

    /// Moves the tip from `expected` to `new`, the binding of `worktree` along with it, and
    /// renews the lease with `change`.
    ///
    /// If the process dies before the ref moved, recovery drops the operation and `new` is
    /// an unreferenced object; after, it is captured, and recovery moves the binding.
    ///
    /// # Errors
    /// [`crate::git::GitError::RefMoved`] if the tip is elsewhere: nothing is written.
    pub fn advance(
        mut self,
        expected: &CommitId,
        new: &CommitId,
        message: &str,
        worktree: &BoundWorktree<'_>,
        change: impl FnOnce(&mut Session),
    ) -> Result<Session, Error> {
        let context = self.thread.context;
        let tip = self.thread.lock_tip(Intent::Move { to: new, message })?;
        let session = self.session.session_id.clone();
        let thread = self.thread.name.clone();
        let (base, head) = (new.clone(), worktree.head.clone());
        let binding = Binding::after_capture(worktree.git_dir, session.clone(), thread, base, head)?;
        let (worktree_git_dir, head) = (worktree.git_dir.to_owned(), worktree.head.clone());
        let action = |tip| Action::Capture { session, tip, worktree_git_dir, head };
        let moved = self.swap(tip, &Expected::Exactly(expected.clone()), new, message, "captured", action);
        let event = moved.or_else(|error| self.nothing_moved(error))?;
        // The ref has moved: nothing after it fails the command. Where a write fails, the
        // journal stays, and the next command on the thread finishes.
        let read = self.session.clone();
        self.touch(change);
        let bound = binding.write(worktree.git_dir, context.durability());
        if bound.is_ok() && self.store(&read).is_ok() {
            self.thread.tell(&event);
            let _ = self.thread.settle();
        }
        Ok(self.session)
    }

    /// Sets the ready mark to `commit`, if the tip is still there.
    ///
    /// If the process dies before the mark moved, it never did; after, it did.
    ///
    /// # Errors
    /// [`crate::git::GitError::RefMoved`] if the tip is elsewhere: nothing is written.
    pub fn mark_ready(mut self, commit: &CommitId, message: &str) -> Result<Session, Error> {
        let name = self.thread.name.ready_ref();
        let (context, tip_name) = (self.thread.context, self.thread.name.tip_ref());
        context.repo.make_ref_folders(&name);
        context.repo.make_ref_folders(&tip_name);
        let wanted = [(tip_name.as_str(), Intent::Compare), (&name, Intent::Move { to: commit, message })];
        let [tip, mark] = context.repo.lock_refs(wanted, context.lock_timeout())?;
        tip.check(&Expected::Exactly(commit.clone()))?;
        let expected = mark.current().map_or(Expected::Absent, |commit| Expected::Exactly(commit.clone()));
        let session = self.session.session_id.clone();
        let tip_lock = tip.identity();
        let action = |mark| Action::Ready { session, mark, tip_lock };
        let moved = self.swap(mark, &expected, commit, message, "ready", action);
        drop(tip);
        let event = moved.or_else(|error| self.nothing_moved(error))?;
        self.touch(|_| {});
        // What kept it from landing has been looked at: it is tried again.
        if let Some(record) = self.thread.record.as_ref().filter(|record| record.blocked.is_some()) {
            let record = ThreadRecord { blocked: None, ..record.clone() };
            let _ = record.write(&context.layout, context.durability());
        }
        if context.registry.write(&self.session).is_ok() {
            self.thread.tell(&event);
            let _ = self.thread.settle();
        }
        Ok(self.session)
    }

    /// Writes the journal and moves one ref.
    fn swap(
        &self,
        locked: LockedRef<'_>,
        expected: &Expected,
        new: &CommitId,
        message: &str,
        event: &str,
        action: impl FnOnce(RefMove) -> Action,
    ) -> Result<Event, Error> {
        let context = self.thread.context;
        locked.check(expected)?;
        let operation = context.operation_id().map_err(Error::Randomness)?;
        let moved = RefMove {
            name: locked.name().to_owned(),
            old: locked.current().cloned(),
            new: new.clone(),
            lock: locked.identity(),
        };
        let entry = Entry { version: journal::VERSION, operation: operation.clone(), action: action(moved) };
        self.thread.begin(&entry)?;
        // If this fails nothing was written, and the caller removes the journal once it
        // holds no lock of Git's any more.
        locked.swap(expected, new, message)?;
        Ok(self.event(operation, event, Some(new), None))
    }

    /// Removes the journal of an operation that wrote nothing.
    fn nothing_moved<T>(&self, error: Error) -> Result<T, Error> {
        let _ = self.thread.settle();
        Err(error)
    }

    fn event(&self, id: String, event: &str, commit: Option<&CommitId>, end: Option<End>) -> Event {
        Event {
            id,
            at: rfc3339(self.thread.context.platform.now().wall),
            event: event.to_owned(),
            thread: self.session.thread.as_str().to_owned(),
            session: self.session.session_id.as_str().to_owned(),
            generation: Some(self.session.generation.get()),
            commit: commit.map(|commit| commit.as_str().to_owned()),
            status: end.map(|end| end.word().to_owned()),
        }
    }

    /// Ends the session on behalf of somebody else, for whoever runs under it to learn.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn end_by_force(mut self, end: End) -> Result<Session, Error> {
        self.session.taken = true;
        self.end(end)
    }

    /// Ends the session.
    ///
    /// If the process dies after the journal is written, recovery finishes: a release is
    /// never undone. Git's lock on the tip is held throughout, as for every change of owner.
    ///
    /// # Errors
    /// [`crate::git::GitError::RefLocked`]; [`crate::store::StoreError::Io`].
    pub fn end(self, end: End) -> Result<Session, Error> {
        let context = self.thread.context;
        let tip = self.thread.lock_tip(Intent::Compare)?;
        let at = context.platform.now().wall;
        let operation = context.operation_id().map_err(Error::Randomness)?;
        let entry = Entry {
            version: journal::VERSION,
            operation: operation.clone(),
            action: Action::Release {
                session: self.session.session_id.clone(),
                status: end.word().to_owned(),
                at: rfc3339(at),
                taken: self.session.taken,
                lock: tip.identity(),
            },
        };
        self.thread.begin(&entry)?;
        let session = self.session.clone().ended(end, at);
        let left = self.disowned();
        let (layout, durability) = (&context.layout, context.durability());
        // The staged record is nothing yet if the session could not be ended.
        let stage = || left.as_ref().map(|left| left.stage(layout, durability)).transpose();
        let (ended, staged) = at_once::both(|| context.registry.end(&session), stage);
        let whole = match ended {
            Err(error) if !context.layout.ended_session(&session.session_id).exists() => {
                // Nothing has changed yet, so nothing has to be finished.
                drop(tip);
                self.thread.settle()?;
                return Err(error.into());
            }
            ended => ended.is_ok(),
        };
        // The session has ended for every reader. If something else failed or fails, the
        // journal stays and the next command on the thread finishes.
        let disowned = staged.and_then(|staged| staged.map_or(Ok(()), Staged::install));
        if whole && disowned.is_ok() {
            self.thread.tell(&self.event(operation, "released", tip.current(), Some(end)));
            // Unlocked before the journal goes: it alone proves that the lock is ours.
            drop(tip);
            let _ = self.thread.settle();
        }
        Ok(session)
    }

    /// Takes the reservation back: no session, and no ref if this reservation made it
    /// (`created`) and nobody moved it. Its generation is not used again.
    ///
    /// If the process dies after the journal is written, recovery does the rest.
    ///
    /// # Errors
    /// [`crate::git::GitError::RefLocked`]; [`crate::store::StoreError::Io`].
    pub fn withdraw(self, created: bool) -> Result<(), Error> {
        let context = self.thread.context;
        let tip = self.thread.lock_tip(Intent::Compare)?;
        let (session, anchor) = (self.session.session_id.clone(), self.session.anchor_state.clone());
        let entry = Entry {
            version: journal::VERSION,
            operation: context.operation_id().map_err(Error::Randomness)?,
            action: Action::Withdraw {
                session: session.clone(),
                tip: RefMove {
                    name: tip.name().to_owned(),
                    old: (!created).then(|| anchor.clone()),
                    new: anchor,
                    lock: tip.identity(),
                },
            },
        };
        self.thread.begin(&entry)?;
        context.registry.forget_live(&session)?;
        self.disown()?;
        // The owner is gone for every reader; the ref goes by Git's own program, which takes
        // Git's lock itself.
        drop(tip);
        super::recover::recover(context, &self.thread.name)
    }

    /// Takes the owner out of the thread's record.
    fn disown(&self) -> Result<(), Error> {
        let context = self.thread.context;
        self.disowned().map_or(Ok(()), |record| Ok(record.write(&context.layout, context.durability())?))
    }

    fn disowned(&self) -> Option<ThreadRecord> {
        self.thread.record.as_ref().map(|record| ThreadRecord { owner: None, ..record.clone() })
    }
}

/// An instant as records and documents write it: UTC, milliseconds.
#[must_use]
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
