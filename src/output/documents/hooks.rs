//! The documents of `git heddle hooks`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `hooks install` or `hooks uninstall` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hooks {
    /// How the hooks are, or were, reached.
    pub way: HooksWay,
    /// The version of Git that decided on it.
    pub git_version: String,
    /// What was done, one element a hook and file.
    pub changes: Vec<HookChange>,
    /// What may surprise, one sentence each.
    pub warnings: Vec<String>,
}

/// How Git reaches the hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HooksWay {
    /// By the repository's configuration (`hook.<name>.command`), since Git 2.54.
    Configuration,
    /// By files where Git looks for hooks.
    Files,
}

/// What was done for one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookChange {
    /// Git's name of the hook.
    pub hook: String,
    /// The absolute path of the file.
    pub path: String,
    /// What was done to it.
    pub done: HookDone,
    /// Why nothing was done; null unless it was skipped.
    pub reason: Option<String>,
}

/// What was done to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookDone {
    /// There was none; now there is.
    Added,
    /// It was put into a shell script that was there.
    Inserted,
    /// It took the place of a hook that was there, and runs it.
    Chained,
    /// It was there, in another version.
    Updated,
    /// It was there.
    Unchanged,
    /// It was all there was, and is gone.
    Removed,
    /// What was there before is there again.
    Restored,
    /// Nothing.
    Skipped,
}

/// Whether the rules are enforced: exit 0 if they are, 7 if not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HooksStatus {
    /// Whether every hook is reached, and `heddle.hooks` lets it refuse.
    pub enforced: bool,
    /// What `heddle.hooks` says; null if it is not set, which refuses what breaks the rules and
    /// passes what cannot be judged.
    pub mode: Option<HooksMode>,
    /// How the hooks are meant to be reached; null if they are not installed.
    pub way: Option<HooksWay>,
    /// The version of Git that was tried.
    pub git_version: String,
    /// Every hook, in every folder where Git looks for the hooks of one of the worktrees.
    pub hooks: Vec<HookState>,
}

/// What `heddle.hooks` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HooksMode {
    /// Refuse what breaks the rules, and what cannot be judged.
    Enforce,
    /// Say what would be refused.
    Warn,
    /// Do nothing.
    Off,
}

/// One hook where Git looks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookState {
    /// Git's name of the hook.
    pub hook: String,
    /// The absolute path of the worktree that it counts in, the first of those that share it;
    /// null in a bare repository.
    pub worktree: Option<String>,
    /// The absolute path of the file that Git runs, or of the configuration that it reads.
    pub path: String,
    /// Whether ours is reached.
    pub reached: bool,
    /// Whether Git was made to fire it; where that would run somebody else's hook it is not.
    pub fired: bool,
    /// What is in the way, or worth knowing.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
}
