//! The record of installed hooks: that this repository asked for them, and where they were put.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::atomic_file::{self, Durability};
use super::{Layout, StoreError};

const WHAT: &str = "record of installed hooks";
const VERSION: u64 = 1;

/// What was asked for, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HooksRecord {
    version: u64,
    /// Whether the hooks of a server are meant.
    #[serde(default)]
    pub server: bool,
    /// Every folder that ours were put into.
    #[serde(default)]
    pub folders: BTreeSet<PathBuf>,
    /// Those of them, and of the folders above them, that were not there before.
    #[serde(default)]
    pub made: BTreeSet<PathBuf>,
    /// The hooks that were left alone, and why.
    #[serde(default)]
    pub skipped: BTreeMap<PathBuf, String>,
    /// What another version keeps here.
    #[serde(flatten)]
    unknown: serde_json::Map<String, serde_json::Value>,
}

impl Default for HooksRecord {
    fn default() -> Self {
        Self {
            version: VERSION,
            server: false,
            folders: BTreeSet::new(),
            made: BTreeSet::new(),
            skipped: BTreeMap::new(),
            unknown: serde_json::Map::new(),
        }
    }
}

impl HooksRecord {
    /// What the repository asked for; `None` if nothing.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or understood.
    pub fn read(layout: &Layout) -> Result<Option<Self>, StoreError> {
        atomic_file::read_record(WHAT, &layout.hooks(), VERSION)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&self, layout: &Layout, durability: Durability) -> Result<(), StoreError> {
        let path = layout.hooks();
        atomic_file::replace(&path, &atomic_file::to_bytes(WHAT, &path, self)?, durability)
    }
}
