//! A refused reserve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Liveness, Session, SessionStatus};

/// A refused `agent reserve`: exit 3 for `live_owner`, 4 for `anchor_drift`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// Why the reservation was refused.
    pub kind: ConflictKind,
    /// The thread that was asked for.
    pub thread: String,
    /// The commit that it was asked for at.
    pub requested_anchor: String,
    /// The session that owns the thread, if any; its token is never shown.
    pub owner: Option<Owner>,
    /// The commit that the thread is at; null if it has none.
    pub reserved_anchor: Option<String>,
    /// The same in one sentence, with what to do next.
    pub message: String,
}

/// The owner of a thread that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Owner {
    /// Its session.
    Session(Box<Session>),
    /// A session whose record cannot be read: it may be alive.
    Unreadable(Box<UnreadableOwner>),
}

/// A session whose record is damaged, of a newer version or unreadable: what the thread's
/// record tells of it. The keys are those of a session; what is not known is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableOwner {
    /// Its id.
    pub session_id: String,
    /// Always null.
    pub reservation_token: Option<String>,
    /// The thread that it claims.
    pub thread: String,
    /// Always null.
    pub anchor_state: Option<String>,
    /// Always null.
    pub anchor_root: Option<String>,
    /// Always `active`: it was, when the thread's record was written.
    pub status: SessionStatus,
    /// Always null.
    pub path: Option<String>,
    /// Always null.
    pub task: Option<String>,
    /// The thread's fencing number.
    pub generation: u64,
    /// Always `unknown`, which counts as alive.
    pub liveness: Liveness,
    /// Why no more is known.
    pub reason: Unknown,
}

/// Why no more is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Its record cannot be read; `git heddle doctor` says why.
    Unreadable,
}

/// Why a reservation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictKind {
    /// A live owner has the anchor that was asked for: wait, or ask it to release.
    LiveOwner,
    /// The thread, owned or not, is at another commit: refresh, or `--resume`.
    AnchorDrift,
}
