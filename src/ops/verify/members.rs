//! Which commits are whose: what threads have, and what their landings brought.

use std::collections::{HashMap, HashSet};

use super::lineage::landing_of;
use super::subjects::Shelf;
use crate::git::audit::{History, StoredCommit};
use crate::names::{CommitId, ThreadName};

/// Looked up when first asked for.
pub(super) struct Members<'a> {
    shelves: &'a [Shelf],
    history: &'a History,
    threads: HashMap<(usize, ThreadName), HashSet<CommitId>>,
    landings: HashMap<CommitId, HashSet<CommitId>>,
}

impl<'a> Members<'a> {
    pub(super) fn new(shelves: &'a [Shelf], history: &'a History) -> Self {
        Self { shelves, history, threads: HashMap::new(), landings: HashMap::new() }
    }

    /// Whether the thread of that name, on that shelf, has `commit`.
    pub(super) fn has(&mut self, shelf: usize, thread: &ThreadName, commit: &CommitId) -> bool {
        let Some(tip) = self.shelves.get(shelf).and_then(|shelf| shelf.tip(thread)) else { return false };
        let members = self.threads.entry((shelf, thread.clone())).or_insert_with(|| {
            self.history.from_tip(tip).0.into_iter().map(|commit| commit.id.clone()).collect()
        });
        members.contains(commit)
    }

    /// Whether `landing` brought `commit`, which names the same thread.
    pub(super) fn brought(&mut self, landing: &StoredCommit, commit: &CommitId) -> bool {
        let [before, tip] = landing.parents.as_slice() else { return false };
        let Some(stamp) = landing_of(landing) else { return false };
        let brought = self.landings.entry(landing.id.clone()).or_insert_with(|| {
            let mut brought = HashSet::new();
            let mut ahead = vec![tip];
            while let Some(next) = ahead.pop() {
                let Some(found) = self.history.get(next).filter(|_| next != before) else { continue };
                // What people made in between says nothing; at what another thread has, or at a
                // landing, this one ends.
                let goes_on = match &found.claim {
                    Ok(claim) => claim.as_ref().is_none_or(|claim| claim.thread == stamp.thread),
                    Err(_) => false,
                };
                if goes_on && landing_of(found).is_none() && brought.insert(next.clone()) {
                    ahead.extend(&found.parents);
                }
            }
            brought
        });
        brought.contains(commit)
    }
}
