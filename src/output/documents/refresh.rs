//! What `thread refresh` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `thread refresh` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refreshed {
    /// The thread.
    pub thread: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The commit that the thread was at. It stays in the thread's reflog.
    pub old: String,
    /// The commit that the thread is at.
    pub new: String,
    /// The branch that it was refreshed from, as a full ref name.
    pub target: String,
    /// The commit that this branch is at.
    pub target_commit: String,
    /// How many commits were put on the target; null unless rebased.
    pub commits: Option<u64>,
    /// The paths that conflict. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub conflicts: Vec<String>,
    /// The absolute path of the thread's worktree, which followed, or in which the conflicts are
    /// left; null if it has none.
    pub worktree: Option<String>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// What came of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The thread has all of the target already.
    Current,
    /// The thread's commits are on the target.
    Rebased,
    /// The target is merged in.
    Merged,
    /// They conflict, and nothing has changed. Exit 7.
    Conflicts,
    /// They conflict, and the merge is left in the worktree: resolve the conflicts, `git add`
    /// them, and capture. Exit 7.
    ConflictsKept,
    /// The merge that an earlier refresh left was given up.
    Aborted,
}
