//! Looking at threads as they stand. Reads only, takes no lock, and works in a read-only
//! repository.
//!
//! A list of a thousand threads is looked at together: refs, journals and worktrees are
//! listed once, each target is looked up once, and how far the threads are from it takes two
//! walks for all of them (`git::graph`). What only a shown thread needs is read only for
//! those that are shown.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::bound::{self, Bound, Unadopted};
use super::land::taken_back;
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::commits::Commits;
use crate::git::diff;
use crate::git::graph::{self, Ahead};
use crate::git::target::{Target, default_target};
use crate::git::workers::shared_out;
use crate::names::{CommitId, READY, THREADS, ThreadName};
use crate::store::{Layout, StoreError, journal};
use crate::thread::ThreadRecord;
use crate::thread::locked::{Judge, Owner};
use crate::thread::record::Landed;

/// Which threads to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that somebody may have to do something about: with an owner who may live, with
    /// commits that their target lacks, with an operation cut short, or with a worktree that
    /// stayed behind.
    Open,
    /// All.
    All,
}

/// A thread as a reader sees it.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub thread: ThreadName,
    /// Its tip; `None` if only a worktree is left of it.
    pub tip: Option<CommitId>,
    /// When its tip was committed, in seconds since 1970.
    pub tip_at: Option<i64>,
    /// Whether its ready mark is at the tip.
    pub ready: bool,
    /// Its record, if it has one that can be read.
    pub record: Option<Box<ThreadRecord>>,
    /// Its owner.
    pub owner: Option<Box<Owner>>,
    /// The branch that it is meant to land on.
    pub target: Option<Rc<Target>>,
    /// How it stands to the target, if it has both a tip and a target.
    pub distance: Option<Distance>,
    /// Whether the branch that it was made has its tip.
    pub promoted: bool,
    /// Whether it landed, and its target does not have it any more.
    pub taken_back: bool,
    /// Whether an operation on it is in progress, or was when its process died.
    pub recovering: bool,
    /// The worktrees that are bound to it.
    pub worktrees: Vec<Place>,
}

/// How a thread stands to its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distance {
    /// Commits that it has and the target has not.
    pub ahead: usize,
    /// Commits that the target has and it has not.
    pub behind: usize,
    /// Where it left the target.
    pub fork: Option<CommitId>,
    /// How many paths it changed since; `None` where the histories never met.
    pub files: Option<usize>,
}

/// A worktree of a thread.
#[derive(Debug)]
pub struct Place {
    /// The worktree.
    pub bound: Bound,
    /// Whether heddle made it and the session that it serves has ended or died: it stayed.
    pub left: bool,
    /// What is on its HEAD alone.
    pub unadopted: Option<Unadopted>,
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
    /// Whether it has an owner who may live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.liveness.may_live())
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> State {
        let live = self.is_live();
        let record = self.record.as_ref();
        let landed = record.is_some_and(|record| match &self.tip {
            Some(tip) => record.has_landed(tip),
            None => record.landed.is_some(),
        });
        let landed = landed && !self.taken_back;
        let contained = self.distance.as_ref().is_some_and(|distance| distance.ahead == 0);
        let contained = contained && (self.ready || !live);
        let blocked = record.and_then(|record| record.blocked.as_ref());
        match () {
            () if landed || contained => State::Merged,
            () if blocked.is_some_and(|blocked| Some(&blocked.tip) == self.tip.as_ref()) => State::Blocked,
            () if self.ready => State::Ready,
            () if live => State::Active,
            () if self.promoted => State::Promoted,
            () => State::Abandoned,
        }
    }

    fn is_open(&self) -> bool {
        let left = self.worktrees.iter().any(|place| place.left || place.unadopted.is_some());
        self.is_live() || self.recovering || left || self.state() != State::Merged
    }
}

/// Threads by name, and a sentence for each record that could not be read.
///
/// # Errors
/// [`GitError`].
pub fn list(context: &Context<'_>, which: Which) -> Result<(Vec<Seen>, Vec<String>), Error> {
    let (tips, marks) = (commits_below(context, THREADS)?, commits_below(context, READY)?);
    let (bound, mut unreadable) = bound::all(context);
    let mut names: Vec<ThreadName> = tips.keys().cloned().collect();
    // A worktree may outlive its thread; one of the user's own is no trace of it.
    let orphans = bound.iter().filter(|bound| bound.binding.made).map(|bound| &bound.binding.thread);
    names.extend(orphans.filter(|thread| !tips.contains_key(thread)).cloned());
    names.sort();
    names.dedup();
    let mut bound_to: HashMap<ThreadName, Vec<Bound>> = HashMap::new();
    for bound in bound {
        bound_to.entry(bound.binding.thread.clone()).or_default().push(bound);
    }
    let known = known(context, &names);
    let mut look = Look::new(context);
    let mut seen = Vec::with_capacity(names.len());
    for (thread, known) in names.into_iter().zip(known) {
        let tip = tips.get(&thread).cloned();
        let ready = tip.is_some() && marks.get(&thread) == tip.as_ref();
        let bound = bound_to.remove(&thread).unwrap_or_default();
        seen.push(look.at(thread, known, tip, ready, bound, &mut unreadable));
    }
    look.compare(&mut seen, which, &mut unreadable)?;
    Ok((seen, unreadable))
}

/// What the refs below `prefix` are at, by the threads that they are named after. One that was made
/// by other means may have a name that no thread can have.
fn commits_below(context: &Context<'_>, prefix: &str) -> Result<HashMap<ThreadName, CommitId>, GitError> {
    let named =
        |(name, commit): (String, CommitId)| Some((ThreadName::parse(&name[prefix.len()..]).ok()?, commit));
    Ok(context.repo.list_refs(prefix)?.into_iter().filter_map(named).collect())
}

/// One thread, and a sentence for each record that could not be read.
///
/// # Errors
/// [`Error::Refused`] if there is neither a ref nor a worktree of it.
pub fn see(context: &Context<'_>, thread: &ThreadName) -> Result<(Seen, Vec<String>), Error> {
    let tip = context.repo.read_ref(&thread.tip_ref())?;
    let (mut bound, mut unreadable) = bound::all(context);
    bound.retain(|bound| bound.binding.thread == *thread && (tip.is_some() || bound.binding.made));
    if tip.is_none() && bound.is_empty() {
        return Err(super::drop::not_found(context, thread));
    }
    let ready = tip.is_some() && context.repo.read_ref(&thread.ready_ref())? == tip;
    let known = Known::of(&context.layout, Judge::of(context), thread);
    let mut look = Look::new(context);
    let mut seen = vec![look.at(thread.clone(), known, tip, ready, bound, &mut unreadable)];
    look.compare(&mut seen, Which::All, &mut unreadable)?;
    Ok((seen.remove(0), unreadable))
}

/// What the records tell of a thread: where it was read, as a list hands it on a few times.
struct Known {
    record: Result<Option<Box<ThreadRecord>>, StoreError>,
    owner: Option<Box<Owner>>,
}

impl Known {
    fn of(layout: &Layout, judge: Judge<'_>, thread: &ThreadName) -> Self {
        let record = ThreadRecord::read(layout, thread);
        let owner = record.as_ref().ok().and_then(|record| judge.owner(record.as_ref()?)).map(Box::new);
        Self { record: record.map(|record| record.map(Box::new)), owner }
    }
}

/// What the records tell of each of `threads`: a few files each, which do not depend on one
/// another.
fn known(context: &Context<'_>, threads: &[ThreadName]) -> Vec<Known> {
    let (layout, judge) = (&context.layout, Judge::of(context));
    shared_out(threads, |_| (), |(), thread| Known::of(layout, judge, thread), &mut |_| {})
}

/// The branches that a target is looked for by: what is configured, and where HEAD was.
type Named = (Option<String>, Option<String>);

/// What is looked up once for many threads.
struct Look<'a> {
    context: &'a Context<'a>,
    journals: HashSet<String>,
    targets: HashMap<Named, Option<Rc<Target>>>,
}

impl<'a> Look<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        Self { context, journals: journal::pending(&context.layout.locks()), targets: HashMap::new() }
    }

    /// What the records and the worktrees tell of a thread; how it stands to its target is for
    /// [`Self::compare`].
    fn at(
        &mut self,
        thread: ThreadName,
        known: Known,
        tip: Option<CommitId>,
        ready: bool,
        bound: Vec<Bound>,
        unreadable: &mut Vec<String>,
    ) -> Seen {
        let Known { record, owner } = known;
        let record = record.unwrap_or_else(|error| {
            unreadable.push(error.to_string());
            None
        });
        let target = self.target(record.as_deref(), owner.as_deref());
        let serves = |bound: &Bound| {
            let owner = owner.as_ref().filter(|owner| owner.id == bound.binding.session);
            owner.is_some_and(|owner| owner.liveness.may_live())
        };
        let mut worktrees = Vec::new();
        for bound in bound {
            let serves = serves(&bound);
            // One of the user's own is the thread's for as long as it serves a live session.
            if !serves && !bound.binding.made {
                continue;
            }
            let unadopted = bound::unadopted(self.context, &bound, tip.as_ref());
            let unadopted = unadopted.unwrap_or_else(|error| {
                unreadable.push(format!("cannot look at worktree {:?}: {error}", bound.path));
                None
            });
            worktrees.push(Place { left: !serves, unadopted, bound });
        }
        // Most often nothing is in progress.
        let recovering = !self.journals.is_empty() && self.journals.contains(&thread.key());
        Seen {
            thread,
            tip,
            tip_at: None,
            ready,
            record,
            owner,
            target,
            distance: None,
            promoted: false,
            taken_back: false,
            recovering,
            worktrees,
        }
    }

    /// The branch that a thread is meant to land on. That it is gone is no reason to hide the
    /// thread.
    fn target(&mut self, record: Option<&ThreadRecord>, owner: Option<&Owner>) -> Option<Rc<Target>> {
        let configured = record.and_then(|record| record.target.clone());
        let configured = configured.or_else(|| self.context.settings.target.clone());
        let head = owner.and_then(|owner| owner.session.as_ref()?.head_branch.clone());
        let head = head.or_else(|| record?.head_branch.clone());
        let look_up = |(configured, head): &Named| {
            let found = default_target(self.context.repo, configured.as_deref(), head.as_deref());
            found.ok().flatten().map(Rc::new)
        };
        self.targets.entry((configured, head)).or_insert_with_key(look_up).clone()
    }

    /// Finds out how the threads stand to their targets, keeps those that are asked for, and
    /// looks at the rest that is known of these.
    fn compare(
        &self,
        seen: &mut Vec<Seen>,
        which: Which,
        unreadable: &mut Vec<String>,
    ) -> Result<(), GitError> {
        let repo = self.context.repo;
        let commits = Commits::new(repo)?;
        commits.read(&seen.iter().filter_map(|seen| seen.tip.as_ref()).collect::<Vec<_>>());
        let mut tips: HashMap<&CommitId, HashSet<CommitId>> = HashMap::new();
        for seen in &*seen {
            if let (Some(target), Some(tip)) = (&seen.target, &seen.tip) {
                tips.entry(&target.commit).or_default().insert(tip.clone());
            }
        }
        let mut stands: HashMap<CommitId, HashMap<CommitId, Ahead>> = HashMap::new();
        for (target, tips) in tips {
            stands.insert(target.clone(), ahead(&commits, target, tips, unreadable));
        }
        for seen in &mut *seen {
            let ahead = seen.target.as_ref().and_then(|target| stands.get(&target.commit));
            let ahead = ahead.and_then(|tips| tips.get(seen.tip.as_ref()?));
            seen.distance = ahead.map(|ahead| Distance {
                ahead: ahead.commits,
                behind: 0,
                fork: ahead.fork.clone(),
                files: None,
            });
        }
        mark_taken_back(&commits, seen);
        if which == Which::Open {
            seen.retain(Seen::is_open);
        }
        let mut forks: HashMap<CommitId, HashSet<CommitId>> = HashMap::new();
        for seen in &*seen {
            if let (Some(target), Some(Distance { fork: Some(fork), .. })) = (&seen.target, &seen.distance) {
                forks.entry(target.commit.clone()).or_default().insert(fork.clone());
            }
        }
        let mut behind: HashMap<CommitId, HashMap<CommitId, usize>> = HashMap::new();
        for (target, forks) in forks {
            let found = graph::behind(&commits, &target, &forks)?;
            behind.insert(target, found);
        }
        for seen in &mut *seen {
            let Some(tip) = &seen.tip else { continue };
            seen.tip_at = commits.committed_at(tip).ok();
            let branch = seen.record.as_ref().and_then(|record| record.promoted.as_deref());
            // A branch that cannot be read is as good as gone.
            if let Some(Ok(Some(commit))) = branch.map(|branch| repo.read_ref(branch)) {
                seen.promoted = repo.contains(&commit, tip).unwrap_or(false);
            }
            if let (Some(distance), Some(target)) = (&mut seen.distance, &seen.target) {
                let counted = distance.fork.as_ref().and_then(|fork| behind.get(&target.commit)?.get(fork));
                match counted {
                    Some(counted) => distance.behind = *counted,
                    None => (distance.fork, distance.behind) = graph::apart(repo, tip, &target.commit)?,
                }
            }
        }
        count_files(&commits, seen);
        Ok(())
    }
}

/// Finds those that landed and of which their targets have nothing any more.
fn mark_taken_back(commits: &Commits<'_>, seen: &mut [Seen]) {
    fn landing(seen: &Seen) -> Option<&Landed> {
        // Whose commits the target has needs no other proof.
        let apart = seen.distance.as_ref().is_none_or(|distance| distance.ahead > 0);
        let landed = seen.record.as_ref()?.landed.as_ref()?;
        (apart && seen.tip.as_ref() == Some(&landed.tip)).then_some(landed)
    }
    let lost = taken_back(commits, seen.iter().filter_map(landing));
    for seen in seen {
        seen.taken_back = landing(seen).is_some_and(|landed| lost.contains(&landed.commit));
    }
}

/// Counts the paths that the threads changed since they left their target. A partial clone may
/// lack trees.
fn count_files(commits: &Commits<'_>, seen: &mut [Seen]) {
    let pair = |seen: &Seen| Some((seen.distance.as_ref()?.fork.clone()?, seen.tip.clone()?));
    let pairs: Vec<Option<(CommitId, CommitId)>> = seen.iter().map(pair).collect();
    let there: Vec<(&CommitId, &CommitId)> = pairs.iter().flatten().map(|(fork, tip)| (fork, tip)).collect();
    let mut counts = diff::counts(commits, &there).into_iter();
    for (seen, _) in seen.iter_mut().zip(&pairs).filter(|(_, pair)| pair.is_some()) {
        if let Some(distance) = &mut seen.distance {
            distance.files = counts.next().flatten();
        }
    }
}

/// As [`graph::ahead`]; where one tip cannot be read the others are looked at all the same.
fn ahead(
    commits: &Commits<'_>,
    target: &CommitId,
    tips: HashSet<CommitId>,
    unreadable: &mut Vec<String>,
) -> HashMap<CommitId, Ahead> {
    if let Ok(found) = graph::ahead(commits, target, &tips) {
        return found;
    }
    let mut found = HashMap::new();
    for tip in tips {
        match graph::ahead(commits, target, &HashSet::from([tip.clone()])) {
            Ok(one) => found.extend(one),
            Err(error) => unreadable.push(format!("cannot compare {} with its target: {error}", tip.short())),
        }
    }
    found
}
