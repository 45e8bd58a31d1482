//! What people read of landing, dropping, promoting and collecting.

use std::fmt::Write as _;

use super::documents::{Dropped, Gc, Land, Promoted};
use super::text::clean;

/// `thread land`.
#[must_use]
pub fn land(land: &Land) -> String {
    let mut text = String::new();
    for landed in &land.landed {
        let branch = landed.target.strip_prefix("refs/heads/").unwrap_or(&landed.target);
        let how = if landed.already { "was on" } else { "landed on" };
        let commit = landed.commit.get(..12).unwrap_or(&landed.commit);
        let _ = writeln!(text, "{} {how} {}: {commit}", clean(&landed.thread), clean(branch));
    }
    for blocked in &land.blocked {
        let _ = writeln!(text, "{} is blocked: {}", clean(&blocked.thread), clean(&blocked.reason));
    }
    for thread in &land.skipped {
        let _ = writeln!(text, "{} is still blocked", clean(thread));
    }
    for pushed in &land.pushed {
        let _ = writeln!(text, "pushed {} to {}", clean(&pushed.target), clean(&pushed.remote));
    }
    if text.is_empty() {
        text.push_str("nothing to land\n");
    }
    text
}

/// `thread drop`.
#[must_use]
pub fn dropped(dropped: &Dropped) -> String {
    let mut text = format!("dropped {}\n", clean(&dropped.thread));
    if let Some(path) = &dropped.worktree {
        let _ = writeln!(text, "  removed its worktree {}", clean(path));
    }
    if let Some(name) = &dropped.worktree_kept_as {
        let _ = writeln!(text, "  what was only in the worktree is kept as {}", clean(name));
    }
    let _ = writeln!(text, "  to get it back: {}", clean(&dropped.restore));
    text
}

/// `thread promote`.
#[must_use]
pub fn promoted(promoted: &Promoted) -> String {
    let branch = promoted.branch.strip_prefix("refs/heads/").unwrap_or(&promoted.branch);
    let at = promoted.commit.get(..12).unwrap_or(&promoted.commit);
    let how = if promoted.changed { "is now" } else { "was already" };
    format!("branch {} {how} at {at}, the tip of {}\n", clean(branch), clean(&promoted.thread))
}

/// `gc`.
#[must_use]
pub fn gc(gc: &Gc) -> String {
    if gc.collected.is_empty() {
        return "nothing to remove\n".to_owned();
    }
    let verb = if gc.dry_run { "would remove" } else { "removed" };
    gc.collected.iter().fold(String::new(), |mut text, collected| {
        let kind = serde_json::to_value(collected.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "{verb} {kind} {}", clean(&collected.name));
        text
    })
}
