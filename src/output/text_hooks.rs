//! What people read of hooks.

use std::fmt::Write as _;

use super::documents::hooks::{HookDone, Hooks, HooksMode, HooksStatus};
use super::text::clean;

/// `hooks install` and `hooks uninstall`.
#[must_use]
pub fn hooks(hooks: &Hooks) -> String {
    let mut text = String::new();
    for change in &hooks.changes {
        let (hook, path) = (clean(&change.hook), clean(&change.path));
        let _ = match change.done {
            HookDone::Added => writeln!(text, "{hook}: installed as {path}"),
            HookDone::Inserted => writeln!(text, "{hook}: put into {path}"),
            HookDone::Chained => writeln!(text, "{hook}: installed as {path}, and runs what was there"),
            HookDone::Updated => writeln!(text, "{hook}: updated in {path}"),
            HookDone::Unchanged => writeln!(text, "{hook}: is in {path}"),
            HookDone::Removed => writeln!(text, "{hook}: removed {path}"),
            HookDone::Restored => writeln!(text, "{hook}: {path} is as it was"),
            HookDone::Skipped => {
                let reason = change.reason.as_deref().unwrap_or_default();
                writeln!(text, "{hook}: left {path} alone: {}", clean(reason))
            }
        };
    }
    if text.is_empty() {
        text.push_str("no hooks of git-heddle were there\n");
    }
    text
}

/// `hooks status`.
#[must_use]
pub fn status(status: &HooksStatus) -> String {
    let mut text = String::new();
    let _ = match (status.enforced, status.mode) {
        (true, Some(HooksMode::Enforce)) => {
            writeln!(text, "enforced, failing closed (heddle.hooks is 'enforce')")
        }
        (true, _) => writeln!(text, "enforced"),
        (false, Some(HooksMode::Warn)) => writeln!(text, "not enforced: heddle.hooks is 'warn'"),
        (false, Some(HooksMode::Off)) => writeln!(text, "not enforced: heddle.hooks is 'off'"),
        (false, _) => writeln!(text, "not enforced"),
    };
    for hook in &status.hooks {
        let state = match (hook.reached, hook.fired) {
            (true, true) => "reached",
            (true, false) => "reached, not fired",
            (false, _) => "not reached",
        };
        let _ = writeln!(text, "  {}: {state}: {}", clean(&hook.hook), clean(&hook.path));
        if let Some(reason) = &hook.reason {
            let _ = writeln!(text, "    {}", clean(reason));
        }
        if let Some(mend) = &hook.mend {
            let _ = writeln!(text, "    to mend it: {}", clean(mend));
        }
    }
    text
}
