//! A thread under its lock.

use std::cell::RefCell;
use std::time::Duration;

use super::record::ThreadRecord;
use super::recover::{recover_from, unlock};
use super::rename;
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::refs::{Intent, LockedRef};
use crate::names::{CommitId, Generation, SessionId, ThreadName};
use crate::platform::Platform;
use crate::session::liveness::{Liveness, Presence, judge};
use crate::session::registry::Registry;
use crate::session::{Session, SessionError};
use crate::store::events::{self, Event};
use crate::store::journal::{self, Entry, FileIdentity};
use crate::store::lock::{FileLock, Terms};
use crate::store::{StoreError, atomic_file};

/// A thread whose lock this process holds, recovered and with its record read.
#[must_use = "the lock is released when this value is dropped"]
pub struct LockedThread<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) name: ThreadName,
    pub(super) record: Option<ThreadRecord>,
    /// Git's locks of the operation in the journal.
    locks: RefCell<Vec<(String, FileIdentity)>>,
    _lock: FileLock,
}

/// The session that a thread's record names.
#[derive(Debug)]
pub struct Owner {
    /// Its id.
    pub id: SessionId,
    /// Its fencing number, as the thread's record has it.
    pub generation: Generation,
    /// Its record; `None` where that is unreadable.
    pub session: Option<Session>,
    /// Whether it lives. An unreadable record means unknown, never dead.
    pub liveness: Liveness,
}

/// Who judges whether owners live: what it takes to look at many of them at once.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    registry: &'a Registry,
    unknown_ttl: Duration,
    platform: &'a dyn Platform,
}

impl<'a> Judge<'a> {
    /// The judge of the sessions there.
    #[must_use]
    pub fn of(context: &'a Context<'_>) -> Self {
        let unknown_ttl = context.settings.unknown_ttl;
        Self { registry: &context.registry, unknown_ttl, platform: context.platform }
    }

    /// Looks at the session that `record` names. Writes nothing.
    ///
    /// `None` stands for no owner: the record names none, or a session that has ended, or one
    /// whose record is gone, for which nobody can act any more.
    #[must_use]
    pub fn owner(self, record: &ThreadRecord) -> Option<Owner> {
        let (id, generation) = (record.owner.clone()?, record.generation);
        match self.registry.read_present(&id) {
            Ok(Some((session, presence))) if session.is_active() => {
                let liveness = self.liveness(&session, presence);
                Some(Owner { id, generation, session: Some(session), liveness })
            }
            Ok(_) => None,
            Err(_) => {
                let liveness = Liveness::Unknown("its record cannot be read");
                Some(Owner { id, generation, session: None, liveness })
            }
        }
    }

    fn liveness(self, session: &Session, presence: Presence) -> Liveness {
        judge(session, presence, self.unknown_ttl, &self.platform.now(), self.platform)
    }
}

/// The owner of the thread that has `record`, as [`Judge::owner`].
#[must_use]
pub fn owner_of(context: &Context<'_>, record: Option<&ThreadRecord>) -> Option<Owner> {
    Judge::of(context).owner(record?)
}

/// Judges `session` here and now.
#[must_use]
pub fn liveness_of(context: &Context<'_>, session: &Session) -> Liveness {
    Judge::of(context).liveness(session, context.registry.presence(&session.session_id))
}

/// Takes the lock of `name` and looks at nothing: what a dead process left half done is as it was.
///
/// # Errors
/// [`StoreError::Busy`] after `heddle.lockTimeout`.
pub fn acquire(context: &Context<'_>, name: &ThreadName) -> Result<FileLock, StoreError> {
    let what = format!("thread '{name}'");
    let terms = Terms { what: &what, command: context.command, timeout: context.lock_timeout(), brief: true };
    FileLock::acquire(&context.layout.lock(name), terms, context.platform)
}

impl<'a> LockedThread<'a> {
    /// Takes the lock of `name`, finishes or undoes what a dead process left half done,
    /// and reads the record.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after `heddle.lockTimeout`; [`StoreError`] for a journal or a
    /// record that cannot be understood.
    pub fn take(context: &'a Context<'a>, name: &ThreadName) -> Result<Self, Error> {
        loop {
            let lock = acquire(context, name)?;
            // A rename takes the locks of both its names, which are taken in one order by
            // everybody: this one is given back first.
            let journal = journal::read(&context.layout, name)?;
            if let Some(other) = rename::other_name(&journal) {
                drop(lock);
                rename::recover(context, name, other)?;
                continue;
            }
            recover_from(context, name, journal)?;
            let record = ThreadRecord::read(&context.layout, name)?;
            return Ok(Self { context, name: name.clone(), record, locks: RefCell::default(), _lock: lock });
        }
    }

    /// The thread's name.
    #[must_use]
    pub fn name(&self) -> &ThreadName {
        &self.name
    }

    /// Its record.
    #[must_use]
    pub fn record(&self) -> Option<&ThreadRecord> {
        self.record.as_ref()
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        owner_of(self.context, self.record.as_ref())
    }

    /// Its tip.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn tip(&self) -> Result<Option<CommitId>, GitError> {
        self.context.repo.read_ref(&self.name.tip_ref())
    }

    /// Takes Git's own lock on the thread's tip too, for what is to become of it: held over every
    /// change of owner, so that a plain Git command between its hook and its commit is waited
    /// for, not overtaken.
    ///
    /// # Errors
    /// [`GitError::RefLocked`], [`GitError::RefClash`].
    pub fn lock_tip(&self, intent: Intent<'_>) -> Result<LockedRef<'a>, GitError> {
        let name = self.name.tip_ref();
        // Before any lock of Git's is taken, so that little lies between that and the journal.
        self.context.repo.make_ref_folders(&name);
        self.context.repo.lock_ref(&name, intent, self.context.lock_timeout())
    }

    /// Writes the journal: everything else of the operation comes after. Git's locks that it
    /// names are held.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing is left over.
    pub fn begin(&self, entry: &Entry) -> Result<(), StoreError> {
        journal::begin(&self.context.layout.journal(&self.name), entry, self.context.durability())?;
        self.locks.replace(entry.action.locks(&self.name));
        Ok(())
    }

    /// Removes the journal: the operation is whole, and Git's locks were given back. One that
    /// could not be removed keeps the journal, which alone proves whose it is.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the next command on the thread finishes.
    pub fn settle(&self) -> Result<(), Error> {
        unlock(self.context, &self.locks.take())?;
        Ok(atomic_file::remove(&self.context.layout.journal(&self.name))?)
    }

    /// Appends to the event log.
    pub(super) fn tell(&self, event: &Event) {
        events::append(&self.context.layout.events(), event);
    }

    /// Validates that `id` is the thread's live owner: its record is read again, under the
    /// lock.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Ended`], [`SessionError::Replaced`];
    /// [`SessionError::Renamed`] if its thread has got another name.
    pub fn own(self, id: &SessionId) -> Result<super::OwnedThread<'a>, Error> {
        let session = self.context.registry.read(id)?;
        let session = session.ok_or_else(|| SessionError::NotFound { id: id.clone() })?;
        if session.is_active() && session.thread != self.name {
            let (thread, current) = (self.name, session.thread);
            return Err(SessionError::Renamed { id: id.clone(), thread, current }.into());
        }
        check_current(&session, self.record.as_ref())?;
        Ok(super::OwnedThread::new(self, session))
    }
}

/// A session is valid while it is active and its thread's record names it.
///
/// # Errors
/// [`SessionError::Ended`], [`SessionError::Replaced`].
pub fn check_current(session: &Session, record: Option<&ThreadRecord>) -> Result<(), SessionError> {
    if !session.is_active() {
        return Err(SessionError::Ended { id: session.session_id.clone(), status: session.status().word() });
    }
    let owner = record.and_then(|record| record.owner.clone());
    let current = record.is_some_and(|record| record.generation == session.generation)
        && owner.as_ref() == Some(&session.session_id);
    if current {
        Ok(())
    } else {
        let (id, thread) = (session.session_id.clone(), session.thread.clone());
        Err(SessionError::Replaced { id, thread, owner })
    }
}

/// The branch that a thread is meant to land on, if its record says.
#[must_use]
pub fn target_of(context: &Context<'_>, thread: &ThreadName) -> Option<String> {
    ThreadRecord::read(&context.layout, thread).ok().flatten()?.target
}
