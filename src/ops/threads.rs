//! Looking at threads as they stand. Reads only, takes no lock.

use std::collections::HashMap;

use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::diff::{Change, changed};
use crate::git::history::Commit;
use crate::git::merge::merge_base;
use crate::git::target::default_target;
use crate::names::{CommitId, READY, THREADS, ThreadName};
use crate::thread::ThreadRecord;
use crate::thread::locked::{Owner, owner_of};

/// How many captures `thread show` lists.
const CAPTURES: usize = 100;

/// A thread as a reader sees it.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub thread: ThreadName,
    /// Its tip.
    pub tip: CommitId,
    /// Whether its ready mark is at the tip.
    pub ready: bool,
    /// Its record, if it has one that can be read.
    pub record: Option<ThreadRecord>,
    /// Its owner.
    pub owner: Option<Owner>,
    /// The target's full ref name.
    pub target: Option<String>,
    /// Commits that it has and the target has not, and the other way round.
    pub ahead_behind: Option<(usize, usize)>,
    /// Whether the branch that it was made has its tip.
    pub promoted: bool,
    /// Whether an operation on it is in progress, or was when its process died.
    pub recovering: bool,
}

/// How a thread stands, from refs and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The ready mark is at the tip.
    Ready,
    /// It was tried to land, and could not.
    Blocked,
    /// It was made a branch, which has its tip.
    Promoted,
    /// It has an owner that may live.
    Active,
    /// The target has all its commits.
    Merged,
    /// Nobody owns it.
    Abandoned,
}

impl Seen {
    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        let live = self.owner.as_ref().is_some_and(|owner| owner.liveness.may_live());
        let record = self.record.as_ref();
        let landed = record.is_some_and(|record| record.has_landed(&self.tip));
        let contained = matches!(self.ahead_behind, Some((0, _))) && (self.ready || !live);
        let blocked = record.and_then(|record| record.blocked.as_ref());
        match () {
            () if landed || contained => State::Merged,
            () if blocked.is_some_and(|blocked| blocked.tip == self.tip) => State::Blocked,
            () if self.ready => State::Ready,
            () if live => State::Active,
            () if self.promoted => State::Promoted,
            () => State::Abandoned,
        }
    }
}

/// All threads by name, and a sentence for each record that could not be read.
///
/// # Errors
/// [`GitError`].
pub fn list(context: &Context<'_>) -> Result<(Vec<Seen>, Vec<String>), Error> {
    let marks: HashMap<String, CommitId> = context.repo.list_refs(READY)?.into_iter().collect();
    let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
    for (name, tip) in context.repo.list_refs(THREADS)? {
        // A ref that was made by other means may have a name that no thread can have.
        let Ok(thread) = ThreadName::parse(&name[THREADS.len()..]) else { continue };
        let ready = marks.get(&thread.ready_ref()) == Some(&tip);
        rows.push(see(context, thread, tip, ready, &mut unreadable)?);
    }
    Ok((rows, unreadable))
}

fn see(
    context: &Context<'_>,
    thread: ThreadName,
    tip: CommitId,
    ready: bool,
    unreadable: &mut Vec<String>,
) -> Result<Seen, Error> {
    let record = match ThreadRecord::read(&context.layout, &thread) {
        Ok(record) => record,
        Err(error) => {
            unreadable.push(error.to_string());
            None
        }
    };
    let owner = owner_of(context, record.as_ref());
    let configured = record.as_ref().and_then(|record| record.target.clone());
    let configured = configured.or_else(|| context.settings.target.clone());
    let head = owner.as_ref().and_then(|owner| owner.session.as_ref()?.head_branch.clone());
    let head = head.or_else(|| record.as_ref()?.head_branch.clone());
    // A target that is gone is no reason to hide the thread.
    let target = default_target(context.repo, configured.as_deref(), head.as_deref()).ok().flatten();
    let ahead_behind = match &target {
        Some(target) => Some(context.repo.ahead_behind(&tip, &target.commit)?),
        None => None,
    };
    let recovering = context.layout.journal(&thread).exists();
    let target = target.map(|target| target.refname);
    let branch = record.as_ref().and_then(|record| record.promoted.as_deref());
    let promoted = match branch.map(|branch| context.repo.read_ref(branch)) {
        Some(Ok(Some(commit))) => context.repo.contains(&commit, &tip)?,
        _ => false,
    };
    Ok(Seen { thread, tip, ready, record, owner, target, ahead_behind, promoted, recovering })
}

/// One thread in full.
#[derive(Debug)]
pub struct Detail {
    /// What the list shows of it.
    pub seen: Seen,
    /// Its commits that the anchor or the target has not, newest first.
    pub captures: Vec<Commit>,
    /// What they change.
    pub changes: Vec<Change>,
}

/// Looks at `thread`.
///
/// # Errors
/// [`Error::Refused`] if there is none.
pub fn show(context: &Context<'_>, thread: &ThreadName) -> Result<(Detail, Vec<String>), Error> {
    let repo = context.repo;
    let Some(tip) = repo.read_ref(&thread.tip_ref())? else {
        return Err(super::drop::not_found(context, thread));
    };
    let ready = repo.read_ref(&thread.ready_ref())?.as_ref() == Some(&tip);
    let mut unreadable = Vec::new();
    let seen = see(context, thread.clone(), tip.clone(), ready, &mut unreadable)?;
    let base = base(context, &seen)?;
    let captures = repo.commits(base.as_ref(), &tip, CAPTURES)?;
    let changes = match base {
        Some(base) => changed(repo, &repo.resolve(base.as_str())?.tree, &repo.resolve(tip.as_str())?.tree)?,
        None => Vec::new(),
    };
    Ok((Detail { seen, captures, changes }, unreadable))
}

/// Where the thread parted from its target, else its owner's anchor.
fn base(context: &Context<'_>, seen: &Seen) -> Result<Option<CommitId>, GitError> {
    if let Some(target) = &seen.target
        && let Some(target) = context.repo.read_ref(target)?
        && let Some(base) = merge_base(context.repo, &seen.tip, &target)?
    {
        return Ok(Some(base));
    }
    Ok(seen.owner.as_ref().and_then(|owner| Some(owner.session.as_ref()?.anchor_state.clone())))
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
/// [`Error::Refused`] if there is no such thread; [`GitError::Start`].
pub fn hand_over(
    context: &Context<'_>,
    thread: &ThreadName,
    look: Look,
    options: &[std::ffi::OsString],
) -> Result<u8, Error> {
    let tip = super::drop::tip_of(context, thread)?;
    let seen = see(context, thread.clone(), tip, false, &mut Vec::new())?;
    let base = base(context, &seen)?;
    let range = match (look, &base) {
        (Look::Log, Some(base)) => format!("{base}..{}", seen.tip),
        (Look::Log, None) => seen.tip.to_string(),
        (Look::Diff, base) => format!("{}..{}", base.as_ref().unwrap_or(&seen.tip), seen.tip),
    };
    let verb = match look {
        Look::Log => "log",
        Look::Diff => "diff",
    };
    Ok(context.repo.program().hand_over(verb, options, &range)?)
}
