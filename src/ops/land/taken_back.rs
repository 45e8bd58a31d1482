//! Whether what landed is still there: a target may be reset to before it.

use std::collections::{HashMap, HashSet};

use crate::context::Context;
use crate::git::commits::Commits;
use crate::git::{GitError, graph};
use crate::names::CommitId;
use crate::thread::ThreadRecord;
use crate::thread::record::Landed;

/// Whether `tip` has landed and its target has it still.
///
/// # Errors
/// [`GitError`].
pub(in crate::ops) fn is_on_target(
    context: &Context<'_>,
    record: Option<&ThreadRecord>,
    tip: &CommitId,
) -> Result<bool, GitError> {
    let Some(landed) = record.and_then(|record| record.landed.as_ref()) else { return Ok(false) };
    let at = context.repo.read_ref(&landed.target)?.filter(|_| landed.tip == *tip);
    // What was taken back may be gone altogether.
    Ok(at.is_some_and(|at| context.repo.contains(&at, &landed.commit).unwrap_or(false)))
}

/// The commits of those landings that their targets do not have any more, in one walk for each
/// target. A target that is gone tells nothing: it may have landed itself.
pub(in crate::ops) fn taken_back<'a>(
    commits: &Commits<'_>,
    landings: impl Iterator<Item = &'a Landed>,
) -> HashSet<CommitId> {
    let mut of_target: HashMap<&str, HashSet<CommitId>> = HashMap::new();
    for landed in landings {
        of_target.entry(&landed.target).or_default().insert(landed.commit.clone());
    }
    let repo = commits.repo();
    let mut lost = HashSet::new();
    for (target, landed) in of_target {
        let Ok(Some(at)) = repo.read_ref(target) else { continue };
        match graph::ahead(commits, &at, &landed) {
            Ok(ahead) => lost.extend(landed.into_iter().filter(|commit| ahead[commit].commits > 0)),
            // One that is gone altogether keeps from seeing the others.
            Err(_) => {
                let is_lost = |commit: &CommitId| !repo.contains(&at, commit).unwrap_or(false);
                lost.extend(landed.into_iter().filter(is_lost));
            }
        }
    }
    lost
}
