//! The thread record: who owns the thread, under which generation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{Generation, SessionId, ThreadName};
use crate::store::atomic_file::{self, Durability};
use crate::store::{Layout, StoreError};

const WHAT: &str = "thread record";
const VERSION: u64 = 1;

/// A thread, as its record holds it. What refs and commits tell is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadRecord {
    /// Always 1.
    pub version: u64,
    /// Its name: the file's may be shortened.
    pub thread: ThreadName,
    /// The generation of the last owner.
    pub generation: Generation,
    /// The one session that may act, if any.
    pub owner: Option<SessionId>,
    /// The branch that the thread is meant to land on, as given.
    pub target: Option<String>,
    /// Fields of this version that we do not know; they survive a rewrite.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ThreadRecord {
    /// The record of a thread that has its first owner.
    #[must_use]
    pub fn new(thread: ThreadName, generation: Generation, owner: SessionId) -> Self {
        Self { version: VERSION, thread, generation, owner: Some(owner), target: None, extra: Map::new() }
    }

    /// Reads the record of `thread`.
    ///
    /// # Errors
    /// [`StoreError`] if it is there and cannot be understood, or is another thread's.
    pub fn read(layout: &Layout, thread: &ThreadName) -> Result<Option<Self>, StoreError> {
        let path = layout.thread(thread);
        let record: Option<Self> = atomic_file::read_record(WHAT, &path, VERSION)?;
        match record {
            Some(record) if record.thread != *thread => Err(StoreError::Damaged {
                what: WHAT,
                path,
                reason: format!("it is the record of thread '{}'", record.thread),
            }),
            record => Ok(record),
        }
    }

    /// The record's bytes as written to disk.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be written as JSON, which no record of ours is.
    pub fn write(&self, layout: &Layout, durability: Durability) -> Result<(), StoreError> {
        let path = layout.thread(&self.thread);
        atomic_file::replace(&path, &atomic_file::to_bytes(WHAT, &path, self)?, durability)
    }
}
