//! Who else is changing the same files.
//!
//! Overlap is a hint and no conflict: two threads may change the same file and merge well.
//! It is reported so that agents can talk before they collide.

use std::collections::{HashMap, HashSet};

use crate::context::Context;
use crate::error::Error;
use crate::git::commits::Commits;
use crate::git::diff::changed_among;
use crate::git::graph::{self, Ahead};
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
    let forks = forks(repo, others);
    for other in others {
        match common(repo, &ours, other, &forks) {
            Ok(paths) if paths.is_empty() => {}
            Ok(paths) => found.threads.push(Overlap { thread: other.thread.clone(), paths }),
            Err(error) => found.unreadable.push((other.thread.clone(), error)),
        }
    }
    found
}

/// Where tips left what they are compared with.
type Forks<'a> = HashMap<&'a CommitId, HashMap<CommitId, Ahead>>;

/// Where each of `others` left its base, in one walk for each base: many threads have the same,
/// and to look for one merge base after the other costs the distance again and again. What
/// cannot be read is left to be told of each thread by itself.
fn forks<'a>(repo: &Repo, others: &'a [Other]) -> Forks<'a> {
    let mut tips: HashMap<&CommitId, HashSet<CommitId>> = HashMap::new();
    for other in others.iter().filter(|other| other.tip != other.base) {
        tips.entry(&other.base).or_default().insert(other.tip.clone());
    }
    let Ok(commits) = Commits::new(repo) else { return Forks::new() };
    tips.into_iter()
        .map(|(base, tips)| (base, graph::ahead(&commits, base, &tips).unwrap_or_default()))
        .collect()
}

/// Those of the paths `ours`, sorted, that `other` itself changed, sorted.
fn common(repo: &Repo, ours: &[&[u8]], other: &Other, forks: &Forks<'_>) -> Result<Vec<Vec<u8>>, GitError> {
    if other.tip == other.base {
        return Ok(Vec::new());
    }
    let fork = forks.get(&other.base).and_then(|tips| tips.get(&other.tip)?.fork.clone());
    let from = match fork {
        Some(fork) => fork,
        None => merge_base(repo, &other.base, &other.tip)?.unwrap_or_else(|| other.base.clone()),
    };
    changed_among(repo, ours, &from, &other.tip)
}
