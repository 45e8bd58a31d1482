//! The documents of `git heddle hooks`, made of what was done and found.

use crate::hook::files::Done;
use crate::hook::install::{Report, Way};
use crate::hook::status::Status;
use crate::output::documents::hooks::{
    HookChange, HookDone, HookState, Hooks, HooksMode, HooksStatus, HooksWay,
};
use crate::settings::Enforcement;

/// What was installed or uninstalled.
#[must_use]
pub fn hooks(report: &Report) -> Hooks {
    let changes = report.changes.iter().map(|change| HookChange {
        hook: change.event.name().to_owned(),
        path: change.path.to_string_lossy().into_owned(),
        done: match &change.done {
            Done::Added => HookDone::Added,
            Done::Inserted => HookDone::Inserted,
            Done::Chained => HookDone::Chained,
            Done::Updated => HookDone::Updated,
            Done::Unchanged => HookDone::Unchanged,
            Done::Removed => HookDone::Removed,
            Done::Restored => HookDone::Restored,
            Done::Skipped(_) => HookDone::Skipped,
        },
        reason: match &change.done {
            Done::Skipped(reason) => Some(reason.clone()),
            _ => None,
        },
    });
    Hooks {
        way: way(report.way),
        git_version: report.git.text.clone(),
        changes: changes.collect(),
        warnings: report.warnings.clone(),
    }
}

/// Whether the rules are enforced.
#[must_use]
pub fn status(status: &Status) -> HooksStatus {
    let hooks = status.hooks.iter().map(|hook| HookState {
        hook: hook.event.name().to_owned(),
        worktree: hook.worktree.as_ref().map(|path| path.to_string_lossy().into_owned()),
        path: hook.path.to_string_lossy().into_owned(),
        reached: hook.reached,
        fired: hook.fired,
        reason: hook.reason.clone(),
        mend: hook.mend.clone(),
    });
    HooksStatus {
        enforced: status.is_enforced(),
        mode: match status.enforcement {
            Enforcement::Closed => Some(HooksMode::Enforce),
            Enforcement::Open => None,
            Enforcement::Warn => Some(HooksMode::Warn),
            Enforcement::Off => Some(HooksMode::Off),
        },
        way: status.way.map(way),
        git_version: status.git.text.clone(),
        hooks: hooks.collect(),
    }
}

fn way(way: Way) -> HooksWay {
    match way {
        Way::Configuration => HooksWay::Configuration,
        Way::Files => HooksWay::Files,
    }
}
