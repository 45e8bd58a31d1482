//! One thread with everything that is known of it. Reads only, takes no lock, runs no check.
//!
//! Who owned it before is told by the trailers of its commits, by the event log and by the
//! records of finished sessions; each may be incomplete (a commit made by hand, a log that
//! was pruned), so what one does not tell is taken from the next.

use std::collections::HashMap;

use super::bound::Bound;
use super::readiness::{Findings, examine};
use super::threads::{Distance, Place, Seen, State, see};
use super::worktrees;
use crate::context::Context;
use crate::error::Error;
use crate::git::history::Commit;
use crate::names::{CommitId, SessionId, ThreadName, shell_word};
use crate::session::Session;
use crate::session::session::Status;
use crate::store::StoreError;
use crate::store::events::{self, Event};
use crate::thread::owned::rfc3339;

/// How many captures are listed.
const CAPTURES: usize = 100;
/// How many commits are looked through for the sessions that made them.
const COMMITS: usize = 10_000;

/// One thread in full.
#[derive(Debug)]
pub struct Detail {
    /// What the list shows of it.
    pub seen: Seen,
    /// For each of its worktrees what would be lost with it; `None` where that cannot be told.
    pub holds: Vec<Option<Vec<String>>>,
    /// Its commits that the anchor or the target has not, newest first; of a thread that has
    /// landed those that name it.
    pub captures: Vec<Commit>,
    /// Whether it could land as far as commits and refs tell; `None` without a tip.
    pub findings: Option<Findings>,
    /// Where its ready mark is.
    pub mark: Option<CommitId>,
    /// Its owners so far, the last one first.
    pub owners: Vec<PastOwner>,
    /// The command to run next, if one suggests itself.
    pub next: Option<String>,
}

/// A session that owns the thread, or did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PastOwner {
    /// Its id, as the commits or the log name it.
    pub session: String,
    /// Its generation.
    pub generation: Option<u64>,
    /// The agent.
    pub agent: Option<String>,
    /// What it set out to do.
    pub task: Option<String>,
    /// How it ended; `Active` is the owner.
    pub status: Option<Status>,
    /// When it reserved the thread, RFC 3339.
    pub from: Option<String>,
    /// When it ended, RFC 3339.
    pub until: Option<String>,
    /// How many captures are known of it.
    pub captures: usize,
}

/// Looks at `thread`, and says in a sentence each what could not be read.
///
/// # Errors
/// As [`see`]; [`crate::git::GitError`].
pub fn detail(context: &Context<'_>, thread: &ThreadName) -> Result<(Detail, Vec<String>), Error> {
    let (seen, mut unreadable) = see(context, thread)?;
    let events = events_of(context, &seen)?;
    let mark = context.repo.read_ref(&thread.ready_ref())?;
    let commits = commits(context, &seen)?;
    let anchor = anchor(&seen).cloned();
    let mut findings = match &seen.tip {
        Some(tip) => Some(examine(context, thread, tip, seen.target.as_deref().cloned(), anchor.as_ref())?),
        None => None,
    };
    if let Some(findings) = &mut findings {
        // Nothing keeps from landing what has landed.
        if seen.state() == State::Merged {
            findings.blockers.clear();
        } else {
            findings.blockers.splice(0..0, known_blockers(&seen, &events, mark.as_ref()));
        }
    }
    let owners = owners(context, &seen, &commits, &events, &mut unreadable);
    let holds = seen.worktrees.iter().map(|place| holds(context, place, thread)).collect();
    let next = next(&seen, findings.as_ref());
    let captures = commits.into_iter().take(CAPTURES).collect();
    Ok((Detail { seen, holds, captures, findings, mark, owners, next }, unreadable))
}

/// The commit that the owner reserved it at.
fn anchor(seen: &Seen) -> Option<&CommitId> {
    Some(&seen.owner.as_ref()?.session.as_ref()?.anchor_state)
}

/// Where the thread parted from its target, else its owner's anchor: its own history begins
/// after that.
#[must_use]
pub fn base(seen: &Seen) -> Option<&CommitId> {
    seen.distance.as_ref().and_then(|distance| distance.fork.as_ref()).or_else(|| anchor(seen))
}

/// The thread's own commits, newest first.
fn commits(context: &Context<'_>, seen: &Seen) -> Result<Vec<Commit>, Error> {
    let Some(tip) = &seen.tip else { return Ok(Vec::new()) };
    if let Some(base) = base(seen).filter(|base| *base != tip) {
        return Ok(context.repo.commits(Some(base), tip, COMMITS)?);
    }
    // All of it is on the target, or there is none: what names the thread is its own.
    let named = context.repo.commits(None, tip, CAPTURES)?.into_iter();
    let names = names(seen);
    let own =
        |commit: &Commit| names.iter().any(|(name, _)| commit.trailers.thread.as_deref() == Some(*name));
    Ok(named.take_while(own).collect())
}

/// What the thread is called, and was called before, with the operation that ended that.
fn names(seen: &Seen) -> Vec<(&str, Option<&str>)> {
    let former = seen.record.iter().flat_map(|record| &record.former);
    let former = former.map(|former| (former.thread.as_str(), Some(former.operation.as_str())));
    [(seen.thread.as_str(), None)].into_iter().chain(former).collect()
}

/// What the event log has of the thread. Under a name that it had before, only what was before
/// it got the next one: somebody else may have taken that name since.
fn events_of(context: &Context<'_>, seen: &Seen) -> Result<Vec<Event>, Error> {
    let (path, names) = (context.layout.events(), names(seen));
    let words: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let events = events::read_naming(&path, &words);
    let mut events = events.map_err(|source| StoreError::Io { action: "read", path, source })?;
    // Ids of operations sort by time.
    let ours = |event: &Event| {
        let named = |(name, until): &(&str, Option<&str>)| {
            event.thread == *name && until.is_none_or(|until| event.id.as_str() <= until)
        };
        names.iter().any(named)
    };
    events.retain(ours);
    Ok(events)
}

/// What is known to stand in the way without looking: what the last landing and the last
/// `ready` at this tip found.
fn known_blockers(seen: &Seen, events: &[Event], mark: Option<&CommitId>) -> Vec<String> {
    let tip = seen.tip.as_ref();
    let mut found = Vec::new();
    let blocked = seen.record.as_ref().and_then(|record| record.blocked.as_ref());
    if let Some(blocked) = blocked.filter(|blocked| Some(&blocked.tip) == tip) {
        let moved = seen.target.as_ref().is_some_and(|target| target.commit != blocked.target_commit);
        let since = if moved { ", and the target has moved since" } else { "" };
        found.push(format!("it was tried to land: {}{since}", blocked.reason));
        return found;
    }
    let at_tip = |event: &&Event| event.commit.as_deref() == tip.map(CommitId::as_str);
    let judged = |event: &&Event| matches!(event.event.as_str(), "ready" | "blocked");
    let last = events.iter().filter(at_tip).rfind(judged);
    if let Some(last) = last.filter(|last| last.event == "blocked" && mark != tip) {
        found.push(format!("git heddle agent ready found it blocked at this commit on {}", last.at));
    }
    found
}

/// Everybody who owned the thread, the last one first.
fn owners(
    context: &Context<'_>,
    seen: &Seen,
    commits: &[Commit],
    events: &[Event],
    unreadable: &mut Vec<String>,
) -> Vec<PastOwner> {
    let mut owners: HashMap<String, PastOwner> = HashMap::new();
    let mut withdrawn: Vec<&str> = Vec::new();
    let mut told: HashMap<&str, usize> = HashMap::new();
    for event in events.iter().filter(|event| !event.session.is_empty()) {
        let owner = owners.entry(event.session.clone()).or_default();
        owner.generation = owner.generation.or(event.generation);
        match event.event.as_str() {
            "reserved" => owner.from = Some(event.at.clone()),
            "released" | "expired" => {
                owner.until = Some(event.at.clone());
                owner.status = event.status.as_deref().and_then(Status::from_word).or(owner.status);
            }
            "captured" => *told.entry(&event.session).or_default() += 1,
            "withdrawn" => withdrawn.push(&event.session),
            _ => {}
        }
    }
    for commit in commits {
        let Some(session) = &commit.trailers.session else { continue };
        let owner = owners.entry(session.clone()).or_default();
        owner.captures += 1;
        owner.generation = owner.generation.or(commit.trailers.generation);
        owner.agent = owner.agent.take().or_else(|| commit.trailers.agent.clone());
    }
    let current = seen.owner.as_ref();
    if let Some(owner) = current {
        owners.entry(owner.id.as_str().to_owned()).or_default();
    }
    let is_ours = |session: &Session| match &seen.record {
        Some(record) => record.is_or_was(&session.thread),
        None => session.thread == seen.thread,
    };
    owners.retain(|session, _| !withdrawn.contains(&session.as_str()));
    for (session, owner) in &mut owners {
        owner.session.clone_from(session);
        owner.captures = owner.captures.max(told.get(session.as_str()).copied().unwrap_or(0));
        let record = SessionId::parse(session).ok().map(|id| context.registry.read(&id));
        match record {
            Some(Ok(Some(record))) if is_ours(&record) => tell(owner, &record),
            Some(Err(error)) => unreadable.push(error.to_string()),
            _ => {}
        }
        if owner.status == Some(Status::Active) && current.is_none_or(|owner| owner.id.as_str() != session) {
            // Its thread does not name it any more.
            owner.status = Some(Status::Abandoned);
        }
    }
    let mut owners: Vec<PastOwner> = owners.into_values().collect();
    owners.sort_by(|a, b| (b.generation, &b.from, &b.session).cmp(&(a.generation, &a.from, &a.session)));
    owners
}

/// What a session's own record tells.
fn tell(owner: &mut PastOwner, record: &Session) {
    owner.generation = Some(record.generation.get());
    owner.status = Some(record.status());
    owner.from = Some(rfc3339(record.started_at));
    owner.until = record.completed_at().map(rfc3339);
    owner.task.clone_from(&record.task);
    let agent = &record.agent;
    owner.agent = owner.agent.take().or_else(|| agent.harness.clone()).or_else(|| agent.model.clone());
}

/// What would be lost with a worktree. One that cannot be looked into is no reason to show
/// nothing of the thread.
fn holds(context: &Context<'_>, place: &Place, thread: &ThreadName) -> Option<Vec<String>> {
    let linked = place.bound.linked.as_ref().filter(|_| place.bound.there)?;
    worktrees::keeps(context, linked, thread).ok()
}

/// The command that brings the thread on.
fn next(seen: &Seen, findings: Option<&Findings>) -> Option<String> {
    let word = shell_word(seen.thread.as_str());
    let owner = seen.owner.as_ref().filter(|owner| owner.liveness.may_live());
    let by_hand = |place: &&Place| place.unadopted.as_ref().is_some_and(|unadopted| unadopted.adoptable);
    if let Some(owner) = owner {
        if let Some(Place { bound: Bound { path, .. }, .. }) = seen.worktrees.iter().find(by_hand) {
            return Some(format!(
                "git -C {} heddle agent capture --session {}",
                shell_word(&path.to_string_lossy()),
                owner.id
            ));
        }
        if !seen.ready && seen.distance.as_ref().is_none_or(|Distance { ahead, .. }| *ahead > 0) {
            return Some(format!("git heddle agent ready --session {}", owner.id));
        }
    }
    let blocked = findings.is_none_or(|findings| !findings.blockers.is_empty());
    match seen.state() {
        State::Merged if owner.is_some() => None,
        State::Merged if seen.tip.is_some() => Some(format!("git heddle thread drop {word}")),
        State::Merged => None,
        State::Ready if !blocked => Some(format!("git heddle thread land {word}")),
        State::Ready | State::Blocked | State::Abandoned if owner.is_none() && seen.tip.is_some() => {
            Some(format!("git heddle agent reserve --thread {word} --resume"))
        }
        _ => None,
    }
}

/// Which of Git's commands looks at a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// `git log`.
    Log,
    /// `git diff`.
    Diff,
}

/// Hands over to Git's own command for what `thread` has since it left its target, else since
/// its owner's anchor; the exit code is Git's.
///
/// # Errors
/// As [`see`]; [`crate::git::GitError::Start`].
pub fn hand_over(
    context: &Context<'_>,
    thread: &ThreadName,
    look: Look,
    options: &[std::ffi::OsString],
) -> Result<u8, Error> {
    let (seen, _) = see(context, thread)?;
    let Some(tip) = &seen.tip else {
        return Err(Error::Refused {
            message: format!("thread '{thread}' has no commits any more: only a worktree is left of it"),
            hint: Some(format!("git heddle thread show {} shows where", shell_word(thread.as_str()))),
        });
    };
    let base = base(&seen);
    let range = match (look, base) {
        (Look::Log, Some(base)) => format!("{base}..{tip}"),
        (Look::Log, None) => tip.to_string(),
        (Look::Diff, base) => format!("{}..{tip}", base.unwrap_or(tip)),
    };
    let verb = match look {
        Look::Log => "log",
        Look::Diff => "diff",
    };
    Ok(context.repo.program().hand_over(verb, options, &range)?)
}
