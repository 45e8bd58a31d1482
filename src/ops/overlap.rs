//! Who else is changing the same files.
//!
//! Overlap is a hint and no conflict: two threads may change the same file and merge well.
//! It is reported so that agents can talk before they collide.

use crate::context::Context;
use crate::error::Error;
use crate::git::diff::changed_paths;
use crate::git::merge::merge_base;
use crate::git::{GitError, Repo};
use crate::names::{CommitId, ThreadName};
use crate::thread::locked::liveness_of;

/// Another live thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub thread: ThreadName,
    /// Where it is.
    pub tip: CommitId,
    /// What it is compared with: its anchor, or the branch that it is meant to land on. What
    /// it changed is counted from the merge base of this and its tip.
    pub base: CommitId,
}

/// The paths that another thread changes too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The other thread.
    pub thread: ThreadName,
    /// The common paths, sorted; never empty.
    pub paths: Vec<Vec<u8>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Overlaps {
    /// The threads that overlap, in the order given.
    pub threads: Vec<Overlap>,
    /// The threads that could not be compared, and why. One broken thread must not hide the
    /// others, and "unknown" is not "none".
    pub unreadable: Vec<(ThreadName, GitError)>,
}

/// The tips and anchors of the threads other than `thread` that have an owner who may live.
///
/// # Errors
/// [`crate::store::StoreError::Io`] if the sessions cannot be listed.
pub fn live_others(context: &Context<'_>, thread: &ThreadName) -> Result<Vec<Other>, Error> {
    let mut found = Vec::new();
    for id in context.registry.live_ids()? {
        // A record that cannot be read is that thread's trouble, not this one's.
        let Ok(Some(other)) = context.registry.read(&id) else { continue };
        let live = other.is_active() && liveness_of(context, &other).may_live();
        if live
            && other.thread != *thread
            // One by one: the repository may have many more threads than owners.
            && let Ok(Some(tip)) = context.repo.read_ref(&other.thread.tip_ref())
        {
            found.push(Other { thread: other.thread, tip, base: other.anchor_state });
        }
    }
    Ok(found)
}

/// Compares the paths changed here with those that each of `others` changed.
#[must_use]
pub fn overlaps(repo: &Repo, ours: &[Vec<u8>], others: &[Other]) -> Overlaps {
    let mut found = Overlaps::default();
    if ours.is_empty() {
        return found;
    }
    let mut ours: Vec<&[u8]> = ours.iter().map(Vec::as_slice).collect();
    ours.sort_unstable();
    for other in others {
        match own_changes(repo, other) {
            Ok(mut paths) => {
                paths.retain(|path| ours.binary_search(&path.as_slice()).is_ok());
                if !paths.is_empty() {
                    found.threads.push(Overlap { thread: other.thread.clone(), paths });
                }
            }
            Err(error) => found.unreadable.push((other.thread.clone(), error)),
        }
    }
    found
}

/// The paths that `other` itself changed, sorted.
fn own_changes(repo: &Repo, other: &Other) -> Result<Vec<Vec<u8>>, GitError> {
    if other.tip == other.base {
        return Ok(Vec::new());
    }
    let from = merge_base(repo, &other.base, &other.tip)?.unwrap_or_else(|| other.base.clone());
    changed_paths(repo, &from, &other.tip)
}
