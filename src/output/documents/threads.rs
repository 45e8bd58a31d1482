//! The documents of `git heddle thread`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Liveness, ReadyReport, Session, SessionStatus};

/// A thread, as a row of `thread list`, which prints an array of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadRow {
    /// The thread's name.
    pub thread: String,
    /// The commit at its tip; null if the thread has no ref and only a worktree is left of it.
    pub tip: Option<String>,
    /// Time of that commit; null without one.
    pub tip_at: Option<String>,
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
    /// The commit that the owner's reservation started from; null without an owner.
    pub anchor: Option<String>,
    /// Time of the owner's reservation; null without an owner.
    pub started_at: Option<String>,
    /// Time of the owner's last sign of life; null without an owner.
    pub last_heartbeat_at: Option<String>,
    /// Commits on the thread that the target lacks; null without a target.
    pub ahead: Option<u64>,
    /// Commits on the target that the thread lacks; null without a target.
    pub behind: Option<u64>,
    /// Paths that the thread changes since it left the target; null where that cannot be told.
    pub files: Option<u64>,
    /// What the owner set out to do; null without an owner.
    pub task: Option<String>,
    /// Whether an operation on it was cut short, which the next writing command repairs.
    pub recovering: bool,
    /// The worktrees that its owner captures from, or that stayed when an owner ended.
    pub worktrees: Vec<ThreadWorktree>,
}

/// A worktree of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadWorktree {
    /// The absolute path of its top folder.
    pub path: String,
    /// The session that it serves, or served last.
    pub session: String,
    /// Whether it stayed although that session has ended or died.
    pub left: bool,
    /// Whether its folder is gone.
    pub missing: bool,
    /// Why `git worktree lock` was told to keep it; null if it is not locked.
    pub locked: Option<String>,
    /// Commits on its HEAD that are not on the thread; null if there are none.
    pub unadopted: Option<Unadopted>,
    /// What would be lost with it, one sentence each; null in a list, where nobody looks, for
    /// a worktree that heddle did not make, and where it cannot be looked into.
    pub holds: Option<Vec<String>>,
}

/// Commits that were made by hand in a worktree, and that no capture has put on the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unadopted {
    /// How many.
    pub commits: u64,
    /// The last of them: the commit that HEAD is at.
    pub head: String,
    /// Whether they go on from the thread's tip, so that the next capture adopts them.
    pub adoptable: bool,
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
    /// The session that owns it; null if none does.
    pub session: Option<Session>,
    /// By what evidence that session counts as alive, dead or unknown; null without an owner.
    pub liveness_reason: Option<String>,
    /// The absolute path of the worktree that the owner captures from.
    pub worktree: Option<String>,
    /// The names that the thread had before, oldest first. What was captured under one of them
    /// names it in its trailers.
    pub former_names: Vec<String>,
    /// The captures since it left its target, newest first, at most a hundred; of a thread
    /// that has landed those that name it.
    pub captures: Vec<CaptureRow>,
    /// Paths that the thread changes since then, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub changed_paths: Vec<String>,
    /// Everybody who owned it, by the trailers of its commits, the event log and the records
    /// of sessions, the last one first.
    pub owners: Vec<PastOwner>,
    /// Whether it could land, as far as can be told without running checks; null without a
    /// tip.
    pub readiness: Option<Readiness>,
    /// The command to run next; null if none suggests itself.
    pub next_action: Option<String>,
}

/// A session that owns a thread, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PastOwner {
    /// The session's id.
    pub session: String,
    /// Its fencing number.
    pub generation: Option<u64>,
    /// The agent.
    pub agent: Option<String>,
    /// What it set out to do.
    pub task: Option<String>,
    /// What became of it; null if that is not on record any more.
    pub status: Option<SessionStatus>,
    /// Time of its reservation.
    pub from: Option<String>,
    /// Time at which it ended.
    pub until: Option<String>,
    /// Captures that are known of it.
    pub captures: u64,
}

/// Whether a thread could land, as far as can be told without running checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// The commit that was last declared ready; null if none was.
    pub mark: Option<String>,
    /// Whether that is the tip: only then does the mark count.
    pub marked: bool,
    /// What is known to stand in the way, one sentence each.
    pub blockers: Vec<String>,
    /// What a person may want to look at, one sentence each.
    pub warnings: Vec<String>,
    /// What was looked at. Its list of checks is empty: none was run.
    pub report: ReadyReport,
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
    /// The paths that conflict. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
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
