//! What `thread rename` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `thread rename` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renamed {
    /// The thread, as it is called now.
    pub thread: String,
    /// What it was called.
    pub former: String,
    /// The commit that it is at.
    pub tip: String,
    /// Its generation under the new name: that of the session, if it has one.
    pub generation: u64,
    /// The session that owns it and goes on; null if it has no owner.
    pub session: Option<String>,
}
