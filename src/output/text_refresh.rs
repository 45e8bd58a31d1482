//! What people read of a refreshed thread.

use super::documents::refresh::{Outcome, Refreshed};
use super::text::clean;

/// `thread refresh`.
#[must_use]
pub fn refreshed(refreshed: &Refreshed) -> String {
    let branch = refreshed.target.strip_prefix("refs/heads/").unwrap_or(&refreshed.target);
    let (thread, branch) = (clean(&refreshed.thread), clean(branch));
    let paths = clean(&refreshed.conflicts.join(", "));
    match refreshed.outcome {
        Outcome::Current => format!("{thread} has all of {branch}\n"),
        Outcome::Rebased => {
            let commits = refreshed.commits.unwrap_or_default();
            let plural = if commits == 1 { "" } else { "s" };
            format!("{thread} is on {branch} now, with {commits} commit{plural} of its own\n")
        }
        Outcome::Merged => format!("{branch} is merged into {thread}\n"),
        Outcome::Conflicts => {
            format!("{thread} conflicts with {branch} in {paths}; nothing was changed\n")
        }
        Outcome::ConflictsKept => {
            let place = clean(refreshed.worktree.as_deref().unwrap_or_default());
            format!(
                "{thread} conflicts with {branch} in {paths}\n  the merge is left in {place}: resolve, git add, and capture\n"
            )
        }
        Outcome::Aborted => format!("the merge of {branch} into {thread} was given up\n"),
    }
}
