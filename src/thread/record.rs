//! The thread record: who owns the thread, under which generation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{CommitId, Generation, SessionId, ThreadName};
use crate::store::atomic_file::{self, Durability, Staged};
use crate::store::{Layout, StoreError};

const WHAT: &str = "thread record";
const VERSION: u64 = 1;

/// A thread, as its record holds it. What refs and commits tell is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RecordV1", into = "RecordV1")]
pub struct ThreadRecord {
    /// Its name: the file's may be shortened.
    pub thread: ThreadName,
    /// The generation of the last owner.
    pub generation: Generation,
    /// The one session that may act, if any.
    pub owner: Option<SessionId>,
    /// The branch that the thread is meant to land on, as given.
    pub target: Option<String>,
    /// The branch that HEAD was on at the last reserve, as a full ref name: where the thread
    /// is meant to land if nobody says otherwise.
    pub head_branch: Option<String>,
    /// The landing that was begun last and not finished.
    pub landing: Option<Landing>,
    /// The last landing.
    pub landed: Option<Landed>,
    /// Why it could not land.
    pub blocked: Option<Blocked>,
    /// The branch that it was made, as a full ref name.
    pub promoted: Option<String>,
    /// The names that it had before, oldest first.
    pub former: Vec<FormerName>,
    /// What the thread of this name is called now, while nobody has made another one.
    pub renamed_to: Option<ThreadName>,
    /// Fields of this version that we do not know; they survive a rewrite.
    pub extra: Map<String, Value>,
}

/// The fields of version 1, as they lie on disk. Made from a record, or becomes one or is damage.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RecordV1 {
    version: u64,
    thread: ThreadName,
    generation: Generation,
    owner: Option<SessionId>,
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    landing: Option<Landing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    landed: Option<Landed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocked: Option<Blocked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promoted: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<FormerName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renamed_to: Option<ThreadName>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl TryFrom<RecordV1> for ThreadRecord {
    type Error = &'static str;

    fn try_from(record: RecordV1) -> Result<Self, Self::Error> {
        if record.renamed_to.is_some() && record.owner.is_some() {
            return Err("it has an owner, and another name has the thread");
        }
        if record.renamed_to.as_ref() == Some(&record.thread) {
            return Err("it says that the thread was renamed to the name that it has");
        }
        Ok(Self {
            thread: record.thread,
            generation: record.generation,
            owner: record.owner,
            target: record.target,
            head_branch: record.head_branch,
            landing: record.landing,
            landed: record.landed,
            blocked: record.blocked,
            promoted: record.promoted,
            former: record.former,
            renamed_to: record.renamed_to,
            extra: record.extra,
        })
    }
}

impl From<ThreadRecord> for RecordV1 {
    fn from(record: ThreadRecord) -> Self {
        Self {
            version: VERSION,
            thread: record.thread,
            generation: record.generation,
            owner: record.owner,
            target: record.target,
            head_branch: record.head_branch,
            landing: record.landing,
            landed: record.landed,
            blocked: record.blocked,
            promoted: record.promoted,
            former: record.former,
            renamed_to: record.renamed_to,
            extra: record.extra,
        }
    }
}

/// A name that a thread had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerName {
    /// The name.
    pub thread: ThreadName,
    /// The operation that gave it the next one: the same id as in the journal.
    pub operation: String,
}

/// A landing that is under way, or whose process died: the target is at `old` or has `new`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landing {
    /// The target's full ref name.
    pub target: String,
    /// Where the target was.
    pub old: CommitId,
    /// Where it is to be.
    pub new: CommitId,
    /// The thread's tip that lands.
    pub tip: CommitId,
}

/// A landing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The thread's tip that landed.
    pub tip: CommitId,
    /// The commit of the target that brought it there.
    pub commit: CommitId,
    /// The target's full ref name.
    pub target: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Why a thread could not land, as things stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The thread's tip.
    pub tip: CommitId,
    /// The target's commit.
    pub target_commit: CommitId,
    /// What stood in the way.
    pub reason: String,
}

impl ThreadRecord {
    /// Whether `tip` has landed, also where the target has it in another shape.
    #[must_use]
    pub fn has_landed(&self, tip: &CommitId) -> bool {
        self.landed.as_ref().is_some_and(|landed| landed.tip == *tip)
    }

    /// Whether the thread is or was called `name`: what its commits and ended sessions say of
    /// their thread is the name that it had then.
    #[must_use]
    pub fn is_or_was(&self, name: &ThreadName) -> bool {
        self.thread == *name || self.former.iter().any(|former| former.thread == *name)
    }

    /// The record of a thread that has no history.
    #[must_use]
    pub fn new(thread: ThreadName, generation: Generation, owner: Option<SessionId>) -> Self {
        Self {
            thread,
            generation,
            owner,
            target: None,
            head_branch: None,
            landing: None,
            landed: None,
            blocked: None,
            promoted: None,
            former: Vec::new(),
            renamed_to: None,
            extra: Map::new(),
        }
    }

    /// All records that can be read.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be read.
    pub fn all(layout: &Layout) -> Result<Vec<Self>, StoreError> {
        let folder = layout.threads();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &folder)(error)),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        Ok(records.filter_map(|path| atomic_file::read_record(WHAT, &path, VERSION).ok()?).collect())
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

    /// Writes the record.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the old record is then untouched.
    pub fn write(&self, layout: &Layout, durability: Durability) -> Result<(), StoreError> {
        self.stage(layout, durability)?.install()
    }

    /// Writes the record beside the one that stands until it is installed.
    ///
    /// # Errors
    /// [`StoreError::Io`]; nothing is left over.
    pub fn stage(&self, layout: &Layout, durability: Durability) -> Result<Staged, StoreError> {
        let path = layout.thread(&self.thread);
        atomic_file::stage(&path, &atomic_file::to_bytes(WHAT, &path, self)?, durability)
    }
}
