//! What the commits of one thread say of who made them, held against each other.
//!
//! The rules follow from fencing: each owner of a thread gets a generation of its own, higher
//! than all before. So along every line of descent generations never go down; a session is
//! one owner and has one generation for as long as its thread has one name (a name that was used
//! before may raise it); and a generation is one owner's.

use std::collections::HashMap;

use super::members::Members;
use super::subjects::{Candidate, Kind};
use super::{Check, Finding, Request, Subject};
use crate::git::audit::StoredCommit;
use crate::git::trailers::Stamp;
use crate::names::{CommitId, Generation, SessionId, ThreadName};

/// What the commit claims, if it is one that landed a thread: one with the message that a landing
/// has, and one parent, or the thread as its second.
pub(super) fn landing_of(commit: &StoredCommit) -> Option<&Stamp> {
    let stamp = commit.claim.as_ref().ok()?.as_ref()?;
    (stamp.landed && matches!(commit.parents.len(), 1 | 2)).then_some(stamp)
}

/// What the commit claims, if it claims it as a capture or a landing does.
///
/// # Errors
/// What is wrong with the claim, in words that go on from "its message".
pub fn claim_in(commit: &StoredCommit) -> Result<Option<&Stamp>, Vec<String>> {
    match &commit.claim {
        Ok(Some(stamp)) if stamp.sessions.len() != 1 && landing_of(commit).is_none() => {
            Err(vec![format!("has {} Heddle-Session trailers", stamp.sessions.len())])
        }
        Ok(stamp) => Ok(stamp.as_ref()),
        Err(faults) => Err(faults.clone()),
    }
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
    members: &mut Members<'_>,
    subject: &mut Subject,
) {
    let landings: Vec<&StoredCommit> =
        commits.iter().copied().filter(|commit| landing_of(commit).is_some()).collect();
    let mut lineages: HashMap<ThreadName, Lineage> = HashMap::new();
    if let (Some(own), Some(begins)) = (&candidate.thread, begins) {
        lineages.insert(own.clone(), begins);
    }
    for commit in commits {
        let (claim, faults) = claim_of(candidate, commit, request, members, &landings);
        let mut find = |check: Check, message: String, hint| {
            let message = format!("commit {}: {message}", commit.id.short());
            subject.find(Finding { check, commit: Some(commit.id.clone()), path: None, message, hint });
        };
        for Fault { check, message, hint } in faults {
            find(check, message, hint);
        }
        if let Some((thread, _)) = &claim {
            lineages.entry(thread.clone()).or_default();
        }
        // A commit that claims nothing, or nothing that counts, hands on what its parents had.
        for (thread, lineage) in &mut lineages {
            let stamp = claim.as_ref().filter(|(of, _)| of == thread).map(|(_, stamp)| *stamp);
            for (check, message) in lineage.follow(commit, stamp) {
                find(check, message, None);
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

/// What is wrong with what one commit says.
struct Fault {
    check: Check,
    message: String,
    hint: Option<&'static str>,
}

/// What the commit claims, and of which thread that counts; what is wrong with it.
fn claim_of<'a>(
    candidate: &Candidate,
    commit: &'a StoredCommit,
    request: &Request,
    members: &mut Members<'_>,
    landings: &[&StoredCommit],
) -> (Option<(ThreadName, &'a Stamp)>, Vec<Fault>) {
    let fault = |check, message: String, hint| (None, vec![Fault { check, message, hint }]);
    // In a range anything may have landed.
    let own = candidate.thread.as_ref().filter(|_| candidate.kind == Kind::Thread);
    let claim = match own {
        Some(_) => claim_in(commit),
        None => commit.claim.as_ref().map(Option::as_ref).map_err(Clone::clone),
    };
    let claim = match claim {
        Ok(claim) if request.require_session && claim.is_none_or(|claim| claim.sessions.is_empty()) => {
            return fault(Check::Sessions, "no session made it".to_owned(), None);
        }
        Ok(Some(claim)) => claim,
        Ok(None) => return (None, Vec::new()),
        Err(faults) => {
            let of =
                |fault| Fault { check: Check::Trailers, message: format!("its message {fault}"), hint: None };
            return (None, faults.iter().map(of).collect());
        }
    };
    let Some(own) = own else {
        return (Some((claim.thread.clone(), claim)), Vec::new());
    };
    if claim.thread == *own || request.formerly.contains(&claim.thread) {
        return (Some((own.clone(), claim)), Vec::new());
    }
    if landing_of(commit).is_some() {
        // What it says is for the other thread to be held to.
        return (None, Vec::new());
    }
    let landed =
        |landing: &&&StoredCommit| landing_of(landing).is_some_and(|stamp| stamp.thread == claim.thread);
    if members.has(candidate.shelf, &claim.thread, &commit.id)
        || landings.iter().filter(landed).any(|landing| members.brought(landing, &commit.id))
    {
        return (Some((claim.thread.clone(), claim)), Vec::new());
    }
    let message = format!("it names thread '{}', which does not have it", claim.thread);
    fault(Check::Trailers, message, Some("after 'thread rename', give the old name with --formerly"))
}
