//! The documents of `git heddle thread`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Liveness, Session};

/// A thread, as a row of `thread list`, which prints an array of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadRow {
    /// The thread's name.
    pub thread: String,
    /// The commit at its tip; null if the thread has no ref.
    pub tip: Option<String>,
    /// Whether the tip is the commit that was last declared ready.
    pub ready: bool,
    /// The state of the thread.
    pub state: ThreadState,
    /// The session that owns it; null if none does.
    pub owner: Option<String>,
    /// Whether that session lives; null without an owner.
    pub liveness: Option<Liveness>,
    /// The fencing number of the last owner; null if it never had one.
    pub generation: Option<u64>,
    /// The branch that it is meant to land on.
    pub target: Option<String>,
    /// The commit that the last reservation started from.
    pub anchor: Option<String>,
    /// Time of the owner's last sign of life.
    pub last_heartbeat_at: Option<String>,
    /// Commits on the thread that the target lacks; null without a target.
    pub ahead: Option<u64>,
    /// Commits on the target that the thread lacks; null without a target.
    pub behind: Option<u64>,
    /// What the last owner set out to do.
    pub task: Option<String>,
    /// Whether an operation on it was cut short, which the next writing command repairs.
    pub recovering: bool,
}

/// The state of a thread, derived from refs, records and commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// It is worked on, or waits for somebody who does.
    Active,
    /// Its tip was checked and declared ready.
    Ready,
    /// The last check found blockers.
    Blocked,
    /// Its target contains its tip.
    Merged,
    /// Its last owner gave it up.
    Abandoned,
    /// It was made a branch.
    Promoted,
}

/// A thread with all there is to know, printed by `thread show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadDetail {
    /// What `thread list` shows of it.
    #[serde(flatten)]
    pub row: ThreadRow,
    /// The session that owns it, or owned it last; null if none is on record.
    pub session: Option<Session>,
    /// The absolute path of the worktree that the owner captures from.
    pub worktree: Option<String>,
    /// The names that the thread had before, oldest first. What was captured under one of them
    /// names it in its trailers.
    pub former_names: Vec<String>,
    /// The captures between anchor and tip, newest first.
    pub captures: Vec<CaptureRow>,
    /// Paths that the thread changes since its anchor, sorted.
    pub changed_paths: Vec<String>,
}

/// A commit that a session captured, read from its trailers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptureRow {
    /// The commit.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    /// The session that it names; null if it was made without heddle.
    pub session: Option<String>,
    /// The fencing number that it names.
    pub generation: Option<u64>,
    /// The agent that it names.
    pub agent: Option<String>,
    /// The agent's own confidence, 0 to 1.
    pub confidence: Option<f64>,
    /// Time that the author wrote it.
    pub author_time: String,
}

/// What `thread land` did: exit 0 if all is on its target, 7 if a thread is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Land {
    /// The threads that are on their target, in the order in which they came there.
    pub landed: Vec<LandedThread>,
    /// The threads that are not.
    pub blocked: Vec<BlockedThread>,
    /// The threads that `--all-ready` left out: they were blocked before, and neither they nor
    /// their target have moved since.
    pub skipped: Vec<String>,
    /// The branches that were pushed.
    pub pushed: Vec<PushedBranch>,
}

/// A thread that is on its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandedThread {
    /// The thread.
    pub thread: String,
    /// Its tip.
    pub tip: String,
    /// The target's commit that brought it there.
    pub commit: String,
    /// The target, as a full ref name.
    pub target: String,
    /// Whether it was there before.
    pub already: bool,
    /// The sessions that made what landed, by the trailers of the commits.
    pub sessions: Vec<String>,
}

/// A thread that could not land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedThread {
    /// The thread.
    pub thread: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The paths that conflict.
    pub conflicts: Vec<String>,
}

/// A branch that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushedBranch {
    /// The branch, as a full ref name.
    pub target: String,
    /// The remote.
    pub remote: String,
}

/// What `thread drop` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// The thread.
    pub thread: String,
    /// The commit that it was at.
    pub tip: String,
    /// The ref that keeps that commit until `gc` prunes it.
    pub kept_as: String,
    /// The ref that keeps, as a commit, what was only in the worktree; null if nothing was.
    pub worktree_kept_as: Option<String>,
    /// The absolute path of the worktree that was removed; null if there was none.
    pub worktree: Option<String>,
    /// The command that brings the thread back.
    pub restore: String,
}

/// What `thread promote` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Promoted {
    /// The thread.
    pub thread: String,
    /// The branch, as a full ref name.
    pub branch: String,
    /// The commit of both.
    pub commit: String,
    /// Whether the branch was made or moved just now.
    pub changed: bool,
}
