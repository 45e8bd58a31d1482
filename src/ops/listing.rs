//! Looking: sessions as they stand. Reads only, takes no lock, works in a read-only
//! repository.
//!
//! A record is `active` only where its thread's record names it; the thread record is read
//! last, so a session that ends meanwhile is seen as ended or as active, never as both.

use std::collections::HashMap;

use super::acting::current;
use crate::context::Context;
use crate::error::Error;
use crate::names::{SessionId, ThreadName};
use crate::session::liveness::Liveness;
use crate::session::session::{State, Status};
use crate::session::{Session, SessionError};
use crate::thread::ThreadRecord;
use crate::thread::locked::{check_current, liveness_of};

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of this thread.
    pub thread: Option<ThreadName>,
    /// Only those that may be alive.
    pub alive_only: bool,
    /// Only those that stand like this.
    pub status: Option<Status>,
}

/// A session as a reader sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The session; its status is what its thread says, not only its own record.
    pub session: Session,
    /// Whether it lives.
    pub liveness: Liveness,
    /// The branch that its thread is meant to land on.
    pub target: Option<String>,
}

/// The sessions that `filter` lets through, newest first, and a sentence for each record
/// that could not be read: one damaged file does not hide the others.
///
/// # Errors
/// [`crate::store::StoreError::Io`] if the folder itself cannot be read.
pub fn list(context: &Context<'_>, filter: &Filter) -> Result<(Vec<Seen>, Vec<String>), Error> {
    let active_only = filter.alive_only || filter.status == Some(Status::Active);
    let mut ids = context.registry.live_ids()?;
    if !active_only {
        ids.extend(context.registry.ended_ids()?);
    }
    ids.sort();
    ids.dedup();
    let mut threads: HashMap<ThreadName, Known> = HashMap::new();
    let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
    for id in ids.iter().rev() {
        let session = match context.registry.read(id) {
            Ok(Some(session)) => session,
            // It ended and was pruned since the folder was read.
            Ok(None) => continue,
            Err(error) => {
                unreadable.push(error.to_string());
                continue;
            }
        };
        if filter.thread.as_ref().is_some_and(|thread| *thread != session.thread) {
            continue;
        }
        let known = threads.entry(session.thread.clone()).or_insert_with_key(|thread| {
            let known = Known::of(context, thread);
            if let Known::Unreadable(sentence) = &known {
                unreadable.push(sentence.clone());
            }
            known
        });
        let seen = see(context, session, known);
        let status_fits = filter.status.is_none_or(|status| seen.session.status() == status);
        if status_fits && (!filter.alive_only || seen.liveness.may_live()) {
            rows.push(seen);
        }
    }
    Ok((rows, unreadable))
}

/// One session, and a sentence if its thread's record could not be read.
///
/// # Errors
/// [`SessionError::NotFound`]; [`crate::store::StoreError`].
pub fn show(context: &Context<'_>, id: &SessionId) -> Result<(Seen, Option<String>), Error> {
    let session = context.registry.read(id)?;
    let session = session.ok_or_else(|| SessionError::NotFound { id: id.clone() })?;
    let known = Known::of(context, &session.thread);
    let seen = see(context, session, &known);
    let unreadable = match known {
        Known::Unreadable(sentence) => Some(sentence),
        Known::Record(_) => None,
    };
    Ok((seen, unreadable))
}

/// What a thread's record says of its owner.
enum Known {
    /// What is in it, if there is one.
    Record(Option<Box<ThreadRecord>>),
    /// Why it cannot be read: whom it names is unknown.
    Unreadable(String),
}

impl Known {
    fn of(context: &Context<'_>, thread: &ThreadName) -> Self {
        match ThreadRecord::read(&context.layout, thread) {
            Ok(record) => Self::Record(record.map(Box::new)),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// A session in the light of its thread's record; where that cannot be read, its own
/// record is all there is to go by.
fn see(context: &Context<'_>, mut session: Session, known: &Known) -> Seen {
    let record = match known {
        Known::Record(record) => record.as_deref(),
        Known::Unreadable(_) => None,
    };
    let readable = matches!(known, Known::Record(_));
    if readable && session.is_active() && check_current(&session, record).is_err() {
        match current(context, &session.session_id) {
            // Renamed while we looked.
            Ok(now) => session = now,
            Err(_) => session.state = State::Replaced,
        }
    }
    let liveness = liveness_of(context, &session);
    Seen { session, liveness, target: record.and_then(|record| record.target.clone()) }
}
