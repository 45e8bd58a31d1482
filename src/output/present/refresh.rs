//! A refreshed thread.

use crate::names::ThreadName;
use crate::ops::refresh::{Outcome, Refreshed};
use crate::output::documents::refresh as doc;
use crate::output::text::quoted_path;

/// What a refresh of `thread` came to.
#[must_use]
pub fn refreshed(thread: &ThreadName, refreshed: &Refreshed) -> doc::Refreshed {
    let (outcome, commits, paths) = match &refreshed.outcome {
        Outcome::Current => (doc::Outcome::Current, None, &[][..]),
        Outcome::Rebased(commits) => (doc::Outcome::Rebased, Some(*commits as u64), &[][..]),
        Outcome::Merged => (doc::Outcome::Merged, None, &[][..]),
        Outcome::Conflicts(paths) => (doc::Outcome::Conflicts, None, &paths[..]),
        Outcome::Kept(paths) => (doc::Outcome::ConflictsKept, None, &paths[..]),
        Outcome::Aborted => (doc::Outcome::Aborted, None, &[][..]),
    };
    doc::Refreshed {
        thread: thread.to_string(),
        outcome,
        old: refreshed.old.to_string(),
        new: refreshed.new.to_string(),
        target: refreshed.target.clone(),
        target_commit: refreshed.onto.to_string(),
        commits,
        conflicts: paths.iter().map(|path| quoted_path(path)).collect(),
        worktree: refreshed.worktree.as_deref().map(super::shown_path),
        warnings: refreshed.warnings.clone(),
    }
}
