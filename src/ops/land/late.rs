//! Checkouts that came to a target while it landed.
//!
//! `git switch` looks first where the branch is, then writes the files and the index, and HEAD
//! last. A branch that is checked out nowhere moves without a lock on any index, and if that
//! happens in between, HEAD ends up at the new commit beside the files of the old one: the next
//! commit there would take back what has landed. No lock of Git's keeps that from happening, but it
//! can be seen afterwards, by an index that is what the branch was before; such a checkout is
//! brought along.
//!
//! # If the process dies here
//! As in any move of a checkout ([`crate::git::moving`]). If it dies before it has looked, a
//! checkout that was switched to in that instant stays as it is: what has landed shows there as
//! staged to be undone.

use std::path::Path;
use std::time::{Duration, Instant};

use super::LandedThread;
use crate::context::Context;
use crate::error::Error;
use crate::git::land::CaughtUp;
use crate::names::CommitId;
use crate::ops::{moves, worktrees};
use crate::session::binding::Binding;

/// How long a switch that is under way may take, after which it is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// What lies between the steps of a switch, in which no lock of Git's tells of it.
const BETWEEN: Duration = Duration::from_millis(20);

/// Brings checkouts along that were switched to the targets of `landed` while these moved; what
/// the caller should know.
pub(super) fn catch_up(context: &Context<'_>, landed: &[LandedThread]) -> Vec<String> {
    let moved: Vec<(&str, &CommitId)> =
        landed.iter().filter_map(|one| Some((one.target.as_str(), one.moved_from.as_ref()?))).collect();
    if moved.is_empty() || !wait_for_switches(context) {
        return Vec::new();
    }
    let mut targets: Vec<&str> = moved.iter().map(|(target, _)| *target).collect();
    targets.dedup();
    let mut said = Vec::new();
    for target in targets {
        let before = moved.iter().filter(|(name, _)| *name == target).map(|(_, from)| *from);
        said.extend(bring(context, target, before).unwrap_or_else(|error| {
            Some(format!("whether a checkout was switched to '{target}' meanwhile cannot be told: {error}"))
        }));
    }
    said
}

/// Waits until nobody is in the middle of a switch; false if no checkout is a user's own.
fn wait_for_switches(context: &Context<'_>) -> bool {
    let mut checkouts = context.repo.checkouts();
    // Those that serve sessions have their HEAD detached, and are always busy with captures.
    let is_made = |git_dir: &Path| Binding::read(git_dir).ok().flatten().is_some_and(|binding| binding.made);
    checkouts.retain(|checkout| !is_made(&checkout.git_dir));
    let deadline = Instant::now() + PATIENCE;
    let is_busy = || {
        let locked = |git_dir: &Path| {
            git_dir.join("index.lock").exists() || context.repo.lock_of_head(git_dir).exists()
        };
        checkouts.iter().any(|checkout| locked(&checkout.git_dir))
    };
    loop {
        if checkouts.is_empty() {
            return false;
        }
        std::thread::sleep(BETWEEN);
        if !is_busy() || Instant::now() >= deadline {
            return true;
        }
    }
}

fn bring<'a>(
    context: &Context<'_>,
    target: &str,
    before: impl Iterator<Item = &'a CommitId>,
) -> Result<Option<String>, Error> {
    let Some(checkout) = super::checkout_of(context, target)? else { return Ok(None) };
    let Some(now) = context.repo.read_ref(target)? else { return Ok(None) };
    let from = before.filter(|from| **from != now).find(|from| {
        // What stands at the new commit too is not behind.
        context.repo.is_staged(&checkout, from) && !context.repo.is_staged(&checkout, &now)
    });
    let Some(from) = from else { return Ok(None) };
    let _captures = worktrees::lock_captures(context, &checkout.git_dir, &checkout.path)?;
    moves::recover(context, &checkout)?;
    let path = checkout.path.display();
    Ok(match context.repo.catch_up(&checkout, target, from, &now)? {
        CaughtUp::Yes => Some(format!("{path} was switched to '{target}' meanwhile, and was brought along")),
        CaughtUp::Elsewhere => None,
    })
}
