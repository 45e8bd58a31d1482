//! What the commits of one thread say of who made them, held against each other.
//!
//! The rules follow from fencing: each owner of a thread gets a generation of its own, higher
//! than all before. So along every line of descent generations never go down; a session is
//! one owner and has one generation for as long as its thread has one name (a name that was used
//! before may raise it); and a generation is one owner's.

use std::collections::HashMap;

use super::subjects::{Candidate, Kind};
use super::{Check, Finding, Request, Subject};
use crate::git::audit::StoredCommit;
use crate::git::trailers::{Stamp, stamp};
use crate::names::{CommitId, Generation, SessionId, ThreadName};

/// Knows which threads have which commits.
pub(super) trait Names {
    /// Whether the thread of that name, on that shelf, has `commit`.
    fn has(&mut self, shelf: usize, thread: &ThreadName, commit: &CommitId) -> bool;
}

/// The owners of one thread, as commits name them.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The generation of each session under the thread's last name, and the commit that named it
    /// first.
    sessions: HashMap<SessionId, (Generation, CommitId, ThreadName)>,
    /// The session of each generation, and the commit that named it first.
    generations: HashMap<Generation, (SessionId, CommitId)>,
    /// The highest generation at each commit and below.
    high: HashMap<CommitId, Generation>,
}

impl Lineage {
    /// At `commit`, which is not followed itself, the thread had reached `generation`.
    pub fn had_reached(&mut self, commit: CommitId, generation: Generation) {
        self.high.insert(commit, generation);
    }

    /// The highest generation that was named.
    #[must_use]
    pub fn highest(&self) -> Option<Generation> {
        self.high.values().max().copied()
    }

    /// The sessions that were named.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionId> {
        self.sessions.keys()
    }

    /// Takes in a commit after its parents; what contradicts those before it. `stamp` is what
    /// it says of this thread, if it says anything.
    pub fn follow(&mut self, commit: &StoredCommit, stamp: Option<&Stamp>) -> Vec<(Check, String)> {
        let mut faults = Vec::new();
        let below = commit.parents.iter().filter_map(|parent| self.high.get(parent)).max().copied();
        let own = stamp.and_then(|stamp| stamp.generation);
        if let (Some(below), Some(own)) = (below, own)
            && own < below
        {
            faults.push((Check::Generations, format!("generation {own} follows generation {below}")));
        }
        if let Some(high) = own.max(below) {
            self.high.insert(commit.id.clone(), high);
        }
        // A commit that landed a thread names all its sessions, and the last one's generation.
        let (Some(own), Some(stamp)) = (own, stamp) else { return faults };
        let [session] = stamp.sessions.as_slice() else { return faults };
        let here = (own, commit.id.clone(), stamp.thread.clone());
        let known = self.sessions.entry(session.clone()).or_insert_with(|| here.clone());
        if known.2 != stamp.thread {
            *known = here;
        }
        let (first, at, _) = known.clone();
        if first != own {
            let before = format!("generation {first} in {}", at.short());
            faults.push((Check::Sessions, format!("session '{session}' has generation {own}, and {before}")));
        }
        let (holder, at) =
            self.generations.entry(own).or_insert_with(|| (session.clone(), commit.id.clone())).clone();
        if holder != *session {
            let before = format!("session '{holder}' in {}", at.short());
            faults.push((
                Check::Sessions,
                format!("generation {own} is of session '{session}', and of {before}"),
            ));
        }
        faults
    }
}

/// Holds what `commits`, parents first, say of themselves against each other; `begins` is what
/// is known of the thread before them.
pub(super) fn check(
    candidate: &Candidate,
    commits: &[&StoredCommit],
    begins: Option<Lineage>,
    request: &Request,
    names: &mut dyn Names,
    subject: &mut Subject,
) {
    let mut lineages: HashMap<ThreadName, Lineage> = HashMap::new();
    if let (Some(own), Some(begins)) = (&candidate.thread, begins) {
        lineages.insert(own.clone(), begins);
    }
    for commit in commits {
        let mut about = |check: Check, message: String, hint| {
            let message = format!("commit {}: {message}", commit.id.short());
            subject.findings.push(Finding {
                check,
                commit: Some(commit.id.clone()),
                path: None,
                message,
                hint,
            });
        };
        let claim = match stamp(&commit.message) {
            Ok(claim) => claim,
            Err(faults) => {
                faults
                    .into_iter()
                    .for_each(|fault| about(Check::Trailers, format!("its message {fault}"), None));
                hand_on(&mut lineages, commit);
                continue;
            }
        };
        let Some(claim) = claim else {
            if request.require_session {
                about(Check::Sessions, "no session made it".to_owned(), None);
            }
            hand_on(&mut lineages, commit);
            continue;
        };
        let mut of = claim.thread.clone();
        if candidate.kind == Kind::Thread {
            if claim.sessions.len() != 1 {
                let count = claim.sessions.len();
                about(Check::Trailers, format!("its message has {count} Heddle-Session trailers"), None);
                hand_on(&mut lineages, commit);
                continue;
            }
            if let Some(own) = candidate.thread.as_ref().filter(|own| **own != claim.thread) {
                if request.formerly.contains(&claim.thread) {
                    of = own.clone();
                } else if !names.has(candidate.shelf, &claim.thread, &commit.id) {
                    let hint = "after 'thread rename', give the old name with --formerly";
                    let other = &claim.thread;
                    let message = format!("it names thread '{other}', which does not have it");
                    about(Check::Trailers, message, Some(hint));
                    hand_on(&mut lineages, commit);
                    continue;
                }
            }
        }
        lineages.entry(of.clone()).or_default();
        for (thread, lineage) in &mut lineages {
            let stamp = (*thread == of).then_some(&claim);
            for (check, message) in lineage.follow(commit, stamp) {
                about(check, message, None);
            }
        }
    }
    let own = lineages.iter().filter(|(thread, _)| {
        candidate.kind == Kind::Range || candidate.thread.as_ref().is_some_and(|own| own == *thread)
    });
    for (_, lineage) in own {
        subject.sessions.extend(lineage.sessions().map(ToString::to_string));
        subject.generation = subject.generation.max(lineage.highest().map(Generation::get));
    }
}

/// A commit whose claim does not count hands on what its parents had.
fn hand_on(lineages: &mut HashMap<ThreadName, Lineage>, commit: &StoredCommit) {
    for lineage in lineages.values_mut() {
        let faults = lineage.follow(commit, None);
        debug_assert!(faults.is_empty(), "what claims nothing contradicts nothing");
    }
}
