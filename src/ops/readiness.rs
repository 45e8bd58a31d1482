//! Whether a thread is fit to land, as far as commits and refs tell: what `agent ready` looks
//! at before it runs the repository's own checks, and what `thread show` shows without
//! running any. Writes nothing, not even objects.

use super::impact::{Impact, impact};
use super::overlap::{self, Overlap};
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::diff::{Change, changed};
use crate::git::merge::{Conflicts, Freshness, conflicts, freshness, merge_base};
use crate::git::target::Target;
use crate::names::{CommitId, ThreadName};

/// Below this the agent's own confidence is worth a warning; it never blocks.
const LOW_CONFIDENCE: f64 = 0.5;

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// Where the thread is meant to land.
    pub target: Option<Target>,
    /// How the thread stands to the target.
    pub freshness: Option<Freshness>,
    /// Paths that conflict with the target.
    pub conflicts: Conflicts,
    /// What landing would change.
    pub changes: Vec<Change>,
    /// What those changes touch.
    pub impact: Impact,
    /// Other live threads that touch the same paths.
    pub overlaps: Vec<Overlap>,
    /// What keeps the thread from being ready; empty is ready.
    pub blockers: Vec<String>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Looks at `tip`, the tip of `thread`, from all sides. Without a common commit with `target`
/// it is compared with `anchor`.
///
/// # Errors
/// [`GitError`]; a thread that is not ready is none.
pub fn examine(
    context: &Context<'_>,
    thread: &ThreadName,
    tip: &CommitId,
    target: Option<Target>,
    anchor: Option<&CommitId>,
) -> Result<Findings, Error> {
    let repo = context.repo;
    let (mut blockers, mut warnings) = (Vec::new(), Vec::new());
    let (mut stands, mut conflicting, mut base) = (None, Conflicts::default(), None);
    match &target {
        Some(target) => {
            stands = Some(freshness(repo, tip, &target.commit)?);
            // What landing would change: everything since the thread and its target parted.
            base = merge_base(repo, tip, &target.commit)?;
            match conflicts(repo, &target.commit, tip) {
                Ok(found) => conflicting = found,
                Err(error @ GitError::UnrelatedHistories { .. }) => blockers.push(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        None => warnings.push(
            "no target: set heddle.target, or reserve with --target, to have conflicts looked for".to_owned(),
        ),
    }
    if conflicting.any {
        let paths: Vec<_> = conflicting.paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
        blockers.push(format!("conflicts with the target in {}", paths.join(", ")));
    }
    let base = base.or_else(|| anchor.cloned());
    if base.as_ref() == Some(tip) {
        blockers.push("nothing was captured on this thread".to_owned());
    }
    let changes = match &base {
        Some(base) => changed(repo, &repo.resolve(base.as_str())?.tree, &repo.resolve(tip.as_str())?.tree)?,
        None => Vec::new(),
    };
    let paths: Vec<Vec<u8>> = changes.iter().map(|change| change.path.clone()).collect();
    let found = overlap::overlaps(repo, &paths, &overlap::live_others(context, thread)?);
    for (thread, error) in &found.unreadable {
        warnings.push(format!("thread '{thread}' could not be compared: {error}"));
    }
    let overlaps = found.threads;
    for overlap in &overlaps {
        let count = overlap.paths.len();
        warnings.push(format!("thread '{}' touches {count} of the same paths", overlap.thread));
    }
    let confidence = repo.commits(None, tip, 1)?.first().and_then(|commit| commit.trailers.confidence);
    if let Some(confidence) = confidence.filter(|confidence| *confidence < LOW_CONFIDENCE) {
        warnings.push(format!("the last capture's confidence is {confidence}"));
    }
    Ok(Findings {
        target,
        freshness: stands,
        conflicts: conflicting,
        impact: impact(&paths),
        changes,
        overlaps,
        blockers,
        warnings,
    })
}
