//! Putting a thread on another base, under its lock.

use super::LockedThread;
use super::owned::rfc3339;
use crate::error::Error;
use crate::git::refs::{Expected, Intent};
use crate::names::{CommitId, SessionId};
use crate::store::events::Event;
use crate::store::journal::{self, Action, Entry, RefMove};

impl LockedThread<'_> {
    /// Moves the tip from `from` to `to`, which need not contain it, on behalf of `session`, the
    /// owner if there is one. What it was stays in the reflog.
    ///
    /// If the process dies before the ref moved, recovery drops the operation; after, it
    /// happened, and the worktree follows by itself.
    ///
    /// # Errors
    /// [`crate::git::GitError::RefMoved`] if the tip is elsewhere: nothing is written.
    pub fn refresh(
        &self,
        session: Option<&SessionId>,
        from: &CommitId,
        to: &CommitId,
        message: &str,
    ) -> Result<(), Error> {
        let (context, expected) = (self.context, Expected::Exactly(from.clone()));
        let tip = self.lock_tip(Intent::Move { to, message })?;
        tip.check(&expected)?;
        let entry = Entry {
            version: journal::VERSION,
            operation: context.operation_id().map_err(Error::Randomness)?,
            action: Action::Refresh {
                session: session.cloned(),
                tip: RefMove {
                    name: tip.name().to_owned(),
                    old: Some(from.clone()),
                    new: to.clone(),
                    lock: tip.identity(),
                },
            },
        };
        self.begin(&entry)?;
        if let Err(error) = tip.swap(&expected, to, message) {
            self.settle()?;
            return Err(error.into());
        }
        self.tell(&Event {
            id: entry.operation,
            at: rfc3339(context.platform.now().wall),
            event: "refreshed".to_owned(),
            thread: self.name.as_str().to_owned(),
            session: session.map_or_else(String::new, |id| id.as_str().to_owned()),
            generation: self.record.as_ref().map(|record| record.generation.get()),
            commit: Some(to.as_str().to_owned()),
            status: None,
        });
        // The ref has moved: should the journal stay, the next command finishes.
        let _ = self.settle();
        Ok(())
    }
}
