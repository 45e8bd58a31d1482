//! Landing threads on their target: in memory, by compare-and-swap, each on the result of the
//! one before.
//!
//! No child process runs under a thread's lock, so a landing has three parts: under the lock
//! the thread is judged and the intent written into its record (`landing`); then the target is
//! moved; then, under the lock again, the session ends as merged and the record says so
//! (`landed`). Which thread that is about is named in a file (`landing`) before its record says so.
//!
//! # If the process dies here
//! Before the target moved: nothing happened but the intent. After it: the thread is on the
//! target and the record does not say so yet. The next landing looks at the intent first: if the
//! target has the commit, it does the third part, else it forgets the intent. The target
//! itself is moved by Git in one step.
//!
//! # If another does the same now
//! Landings of one repository take turns by `%land.lock`, thread by thread. Everybody else who
//! moves the target is caught by the comparison with the commit that the merge was made for;
//! the merge is then made anew. A thread whose owner goes on after it was judged keeps its
//! owner: what landed stays landed, the rest is still to land.

mod late;
mod outcome;
mod taken_back;

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::commit::{commit, with_trailers};
use crate::git::commits::Commits;
use crate::git::land::{Merged, Moved, Scratch};
use crate::git::moving::Checkout;
use crate::git::places::Place;
use crate::git::target::{Target, default_target};
use crate::git::trailers::landing_title;
use crate::names::{CommitId, READY, ThreadName};
use crate::ops::checks::{self, CheckRun};
use crate::ops::moves;
use crate::ops::worktrees::{self, Retirement};
use crate::store::lock::{FileLock, Terms};
use crate::thread::ThreadRecord;

pub(super) use outcome::{clear_scratch, finish_of};
pub(super) use taken_back::{is_on_target, taken_back};

use outcome::{block, finish, finish_in_turn, finish_interrupted, forget, intend, retire_here, unfinished};

/// How often a merge is made anew for a target that moves under it.
const TRIES: usize = 10;
/// How many commits are looked through for the sessions that made them.
const COMMITS: usize = 10_000;

/// How the work comes to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The target is moved to the tip, or nothing is done.
    FastForward,
    /// A merge commit, always.
    Merge,
    /// One commit with all changes.
    Squash,
}

/// What to land, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The threads, in this order.
    pub threads: Vec<ThreadName>,
    /// All threads that are ready, in order of readiness.
    pub all_ready: bool,
    /// The branch; `None` is each thread's own target.
    pub into: Option<String>,
    /// How; `None` is as `git merge` does: a fast-forward where that is possible, else a merge.
    pub strategy: Option<Strategy>,
    /// Land what is not marked ready too.
    pub force: bool,
    /// Run the checks on each result first.
    pub check: bool,
    /// Push the target afterwards, to this remote or to its own.
    pub push: Option<Option<String>>,
}

/// A thread that is on its target.
#[derive(Debug, Clone)]
pub struct LandedThread {
    /// The thread.
    pub thread: ThreadName,
    /// Its tip.
    pub tip: CommitId,
    /// The target's commit that brought it.
    pub commit: CommitId,
    /// The target's full name.
    pub target: String,
    /// Whether it was there already.
    pub already: bool,
    /// The sessions that made what landed.
    pub sessions: Vec<String>,
    /// What became of its worktrees.
    pub worktrees: Vec<Retirement>,
    /// Where the target was, if it was checked out nowhere when it moved.
    pub moved_from: Option<CommitId>,
    /// Why what comes after the target has moved is left to the next landing.
    pub unfinished: Option<String>,
}

/// A thread that could not land.
#[derive(Debug, Clone)]
pub struct BlockedThread {
    /// The thread.
    pub thread: ThreadName,
    /// Why.
    pub reason: String,
    /// The paths that conflict.
    pub conflicts: Vec<Vec<u8>>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// What is on its target.
    pub landed: Vec<LandedThread>,
    /// What is not, and why.
    pub blocked: Vec<BlockedThread>,
    /// What `--all-ready` did not try again: nothing has changed since it was blocked.
    pub skipped: Vec<ThreadName>,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// The targets that were pushed, with their remotes.
    pub pushed: Vec<(String, String)>,
    /// Why a push failed; what landed stands.
    pub push_failure: Option<String>,
}

/// Lands what `request` names; `progress` hears of each step.
///
/// # Errors
/// [`Error::Refused`] for a target that is no local branch, or whose checkout has changes;
/// [`crate::store::StoreError::Busy`], [`GitError::RefLocked`] where somebody holds a lock for
/// too long. A thread that cannot land is no error.
pub fn land(context: &Context<'_>, request: &Request, progress: &dyn Fn(&str)) -> Result<Report, Error> {
    let mut report = Report { warnings: moves::recover_all(context)?, ..Report::default() };
    finish_interrupted(context)?;
    let queue = if request.all_ready { ready_queue(context)? } else { request.threads.clone() };
    let mut scratch = None;
    for (thread, number) in queue.iter().zip(1..) {
        progress(&format!("landing '{thread}' ({number} of {})", queue.len()));
        match land_one(context, thread, request, &mut scratch, progress) {
            Ok(Outcome::Landed(landed)) => {
                report.warnings.extend(landed.unfinished.as_ref().map(|reason| {
                    format!("thread '{thread}' has landed, and the next landing has to finish it: {reason}")
                }));
                report.landed.push(landed);
            }
            Ok(Outcome::Blocked(blocked)) => report.blocked.push(blocked),
            Ok(Outcome::Unchanged) => report.skipped.push(thread.clone()),
            // One thread's trouble is not the others'; what was landed must be told.
            Err(error) if queue.len() > 1 => report.blocked.push(BlockedThread {
                thread: thread.clone(),
                reason: error.to_string(),
                conflicts: Vec::new(),
            }),
            Err(error) => return Err(error),
        }
    }
    drop(scratch);
    report.warnings.extend(late::catch_up(context, &report.landed));
    if let Some(remote) = &request.push {
        push(context, remote.as_deref(), &mut report, progress);
    }
    retire_here(context, &mut report.landed);
    Ok(report)
}

fn push(context: &Context<'_>, remote: Option<&str>, report: &mut Report, progress: &dyn Fn(&str)) {
    let mut targets: Vec<String> = report.landed.iter().map(|landed| landed.target.clone()).collect();
    targets.sort();
    targets.dedup();
    for target in targets {
        let pushed = destination(context, remote, &target).and_then(|remote| {
            progress(&format!("pushing to '{remote}'"));
            Ok(context.repo.push(&remote, &target).map(|()| remote)?)
        });
        match pushed {
            Ok(remote) => report.pushed.push((target, remote)),
            Err(error) => report.push_failure = Some(error.to_string()),
        }
    }
}

/// The remote that `target` is pushed to: the one that is named, or the branch's own.
fn destination(context: &Context<'_>, named: Option<&str>, target: &str) -> Result<String, Error> {
    let remote = match named {
        Some(remote) => remote.to_owned(),
        None => context.repo.remote_of(target)?,
    };
    if context.repo.knows_remote(&remote)? {
        return Ok(remote);
    }
    Err(Error::Refused {
        message: format!("there is no remote '{remote}' to push to"),
        hint: Some("git remote -v shows those there are; --push=REMOTE names one".to_owned()),
    })
}

/// The threads whose ready mark is at their tip, longest ready first.
fn ready_queue(context: &Context<'_>) -> Result<Vec<ThreadName>, Error> {
    let (mut queue, mut landed) = (Vec::new(), Vec::new());
    for (name, mark) in context.repo.list_refs(READY)? {
        let Ok(thread) = ThreadName::parse(&name[READY.len()..]) else { continue };
        if context.repo.read_ref(&thread.tip_ref())?.as_ref() != Some(&mark) {
            continue;
        }
        let record = ThreadRecord::read(&context.layout, &thread).ok().flatten();
        match record.and_then(|record| record.landed).filter(|landed| landed.tip == mark) {
            Some(landing) => landed.push((landing, name, thread)),
            None => queue.push((context.repo.moved_at(&name), thread)),
        }
    }
    // What was taken back is to land again.
    let commits = Commits::new(context.repo)?;
    let taken_back = taken_back(&commits, landed.iter().map(|(landing, ..)| landing));
    let again = landed.into_iter().filter(|(landing, ..)| taken_back.contains(&landing.commit));
    queue.extend(again.map(|(_, name, thread)| (context.repo.moved_at(&name), thread)));
    queue.sort();
    Ok(queue.into_iter().map(|(_, thread)| thread).collect())
}

/// How the landing of one thread ended.
enum Outcome {
    Landed(LandedThread),
    Blocked(BlockedThread),
    /// It was blocked before, and neither it nor the target has moved since.
    Unchanged,
}

fn land_lock(context: &Context<'_>) -> Result<FileLock, Error> {
    let terms = Terms {
        what: "landing in this repository",
        command: context.command,
        timeout: context.lock_timeout(),
        brief: false,
    };
    Ok(FileLock::acquire(&context.layout.land_lock(), terms, context.platform)?)
}

/// What a thread looks like before it lands.
struct Standing {
    tip: CommitId,
    target: String,
    /// Where the target is.
    at: CommitId,
    record: Option<ThreadRecord>,
}

fn stand(context: &Context<'_>, thread: &ThreadName, into: Option<&str>) -> Result<Standing, Error> {
    let tip = crate::ops::drop::tip_of(context, thread)?;
    let record = ThreadRecord::read(&context.layout, thread)?;
    let found = target_for(context, record.as_ref(), into)?;
    let refused = |message: String| Error::Refused {
        message,
        hint: Some("name a local branch: --into=BRANCH".to_owned()),
    };
    let found = found.ok_or_else(|| refused(format!("thread '{thread}' has no target")))?;
    if !found.refname.starts_with("refs/heads/") {
        return Err(refused(format!(
            "the target of thread '{thread}' is '{}', which is no local branch",
            found.refname
        )));
    }
    Ok(Standing { tip, target: found.refname, at: found.commit, record })
}

/// Where a thread is meant to land: where `asked`, else its own target, else what is configured,
/// else the branch that HEAD was on.
///
/// # Errors
/// [`GitError::TargetNotFound`].
pub(super) fn target_for(
    context: &Context<'_>,
    record: Option<&ThreadRecord>,
    asked: Option<&str>,
) -> Result<Option<Target>, GitError> {
    let own = || record.and_then(|record| record.target.clone()).or_else(|| context.settings.target.clone());
    let configured = asked.map(str::to_owned).or_else(own);
    let head = last_owner_branch(context, record);
    default_target(context.repo, configured.as_deref(), head.as_deref())
}

/// The branch that HEAD was on when the thread was last reserved; where that is not known, the
/// branch that it is on here.
fn last_owner_branch(context: &Context<'_>, record: Option<&ThreadRecord>) -> Option<String> {
    use crate::git::repo::Head;
    if let Some(branch) = record.and_then(|record| record.head_branch.clone()) {
        return Some(branch);
    }
    match context.repo.head().ok()? {
        Head::Branch { name, .. } => Some(name),
        Head::Detached { .. } | Head::Unborn { .. } => None,
    }
}

fn land_one<'a>(
    context: &'a Context<'a>,
    thread: &ThreadName,
    request: &Request,
    scratch: &mut Option<Scratch<'a>>,
    progress: &dyn Fn(&str),
) -> Result<Outcome, Error> {
    let turn = land_lock(context)?;
    // Whoever had the turn before may have died in it since this command began.
    finish_in_turn(context, &turn)?;
    let deadline = Instant::now() + context.lock_timeout();
    let mut tries = 0;
    loop {
        let standing = stand(context, thread, request.into.as_deref())?;
        // What cannot be pushed anywhere does not land first.
        if let Some(named) = &request.push {
            destination(context, named.as_deref(), &standing.target)?;
        }
        let mark = context.repo.read_ref(&thread.ready_ref())?;
        if request.all_ready && unchanged(&standing) {
            return Ok(Outcome::Unchanged);
        }
        if let Some(commit) = there_already(context, &standing)? {
            return finish(context, thread, &standing, &commit, true).map(Outcome::Landed);
        }
        if !request.force && mark.as_ref() != Some(&standing.tip) {
            let reason = "it is not marked ready at its tip; run agent ready, or give --force".to_owned();
            let thread = thread.clone();
            return Ok(Outcome::Blocked(BlockedThread { thread, reason, conflicts: Vec::new() }));
        }
        let made = match make(context, thread, &standing, request.strategy)? {
            Made::Commit(commit) => commit,
            Made::Nothing => {
                let at = standing.at.clone();
                return finish(context, thread, &standing, &at, true).map(Outcome::Landed);
            }
            Made::Blocked(reason, conflicts) => {
                return block(context, thread, &standing, reason, conflicts).map(Outcome::Blocked);
            }
        };
        if request.check {
            progress(&format!("checking '{thread}'"));
            if let Some(reason) = failed_check(context, thread, &made, scratch)? {
                return block(context, thread, &standing, reason, Vec::new()).map(Outcome::Blocked);
            }
        }
        let listing = worktrees::serial(context)?;
        let checkout = checkout_of(context, &standing.target)?;
        drop(listing);
        refuse_changes(context, &standing.target, checkout.as_ref())?;
        if !intend(context, thread, &standing, &made)? {
            // It moved since it was looked at.
            tries += 1;
            if tries >= TRIES {
                return Err(GitError::RefMoved {
                    name: thread.tip_ref(),
                    expected: Some(standing.tip),
                    actual: context.repo.read_ref(&thread.tip_ref())?,
                }
                .into());
            }
            continue;
        }
        let why = format!("heddle: land {thread}");
        let moves = checkout.as_ref().map(|checkout| {
            let lock = worktrees::lock_captures(context, &checkout.git_dir, &checkout.path)?;
            moves::recover(context, checkout).map(|_| lock)
        });
        let moves = moves.transpose().inspect_err(|_| drop(forget(context, thread)))?;
        let moved = context.repo.move_target(&standing.target, checkout.as_ref(), &standing.at, &made, &why);
        let moved = moved.inspect_err(|_| drop(forget(context, thread)))?;
        drop(moves);
        match moved {
            // The target has moved: nothing after it fails the command. What was intended stays
            // in the record, and the next landing finishes.
            Moved::Yes => {
                let landed = finish(context, thread, &standing, &made, false);
                let landed = landed.unwrap_or_else(|error| unfinished(thread, &standing, made, &error));
                let moved_from = checkout.is_none().then_some(standing.at);
                return Ok(Outcome::Landed(LandedThread { moved_from, ..landed }));
            }
            Moved::Locked(lock) => {
                forget(context, thread)?;
                if Instant::now() >= deadline {
                    return Err(GitError::RefLocked { name: standing.target, lock }.into());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Moved::Elsewhere => {
                forget(context, thread)?;
                tries += 1;
                if tries >= TRIES {
                    return Err(GitError::RefMoved {
                        expected: Some(standing.at),
                        actual: context.repo.read_ref(&standing.target)?,
                        name: standing.target,
                    }
                    .into());
                }
            }
        }
    }
}

fn unchanged(standing: &Standing) -> bool {
    let blocked = standing.record.as_ref().and_then(|record| record.blocked.as_ref());
    blocked.is_some_and(|blocked| blocked.tip == standing.tip && blocked.target_commit == standing.at)
}

/// The commit by which the target has the thread already.
fn there_already(context: &Context<'_>, standing: &Standing) -> Result<Option<CommitId>, Error> {
    let Standing { tip, at, record, .. } = standing;
    if let Some(landed) = record.as_ref().and_then(|record| record.landed.as_ref())
        && landed.tip == *tip
        && context.repo.contains(at, &landed.commit)?
    {
        return Ok(Some(landed.commit.clone()));
    }
    Ok(context.repo.contains(at, tip)?.then(|| tip.clone()))
}

/// What is to come onto the target.
enum Made {
    Commit(CommitId),
    /// The target has all of it.
    Nothing,
    Blocked(String, Vec<Vec<u8>>),
}

fn make(
    context: &Context<'_>,
    thread: &ThreadName,
    standing: &Standing,
    strategy: Option<Strategy>,
) -> Result<Made, Error> {
    let repo = context.repo;
    let Standing { tip, at, target, .. } = standing;
    let short = target.strip_prefix("refs/heads/").unwrap_or(target);
    let forward = repo.contains(tip, at)?;
    match strategy {
        None | Some(Strategy::FastForward) if forward => return Ok(Made::Commit(tip.clone())),
        Some(Strategy::FastForward) => {
            let reason =
                format!("'{short}' has moved on, so it cannot be fast-forwarded; refresh the thread");
            return Ok(Made::Blocked(reason, Vec::new()));
        }
        _ => {}
    }
    let tree = if forward {
        repo.resolve(tip.as_str())?.tree
    } else {
        match repo.merge_trees(None, at, tip) {
            Ok(Merged::Clean(tree)) => tree,
            Ok(Merged::Conflicts(paths)) => {
                let shown: Vec<_> = paths.iter().map(|path| String::from_utf8_lossy(path)).collect();
                let reason = format!("conflicts with '{short}' in {}", shown.join(", "));
                return Ok(Made::Blocked(reason, paths));
            }
            Err(error @ GitError::Program { .. }) => {
                return Ok(Made::Blocked(format!("cannot be merged: {error}"), Vec::new()));
            }
            Err(error) => return Err(error.into()),
        }
    };
    let squash = strategy == Some(Strategy::Squash);
    if squash && tree == repo.resolve(at.as_str())?.tree {
        return Ok(Made::Nothing);
    }
    let parents: &[&CommitId] = if squash { &[at] } else { &[at, tip] };
    Ok(Made::Commit(commit(repo, &tree, parents, &message(context, thread, standing)?)?))
}

/// The message of a merge or squash commit: what lands, and who made it.
fn message(context: &Context<'_>, thread: &ThreadName, standing: &Standing) -> Result<String, Error> {
    let commits = context.repo.commits(Some(&standing.at), &standing.tip, COMMITS)?;
    let mut text = landing_title(thread) + "\n";
    let subjects: Vec<&str> = commits.iter().rev().map(|commit| commit.subject.as_str()).collect();
    if !subjects.is_empty() {
        text.push('\n');
        subjects.iter().for_each(|subject| text.push_str(&format!("* {subject}\n")));
    }
    let mut trailers = vec![("Heddle-Thread", thread.as_str().to_owned())];
    let made = makers(context, standing)?;
    trailers.extend(made.iter().map(|session| ("Heddle-Session", session.clone())));
    if let Some(highest) = commits.iter().filter_map(|commit| commit.trailers.generation).max() {
        // A thread that this one stands on may have got further; its own next one follows its last.
        let own = standing.record.as_ref().map_or(highest, |record| record.generation.get());
        let generation = highest.min(own);
        trailers.push(("Heddle-Generation", generation.to_string()));
    }
    Ok(with_trailers(&text, &trailers))
}

/// The sessions that made what lands, by its trailers, first one first.
fn makers(context: &Context<'_>, standing: &Standing) -> Result<Vec<String>, Error> {
    let mut sessions: Vec<String> = Vec::new();
    let commits = context.repo.commits(Some(&standing.at), &standing.tip, COMMITS)?;
    for session in commits.into_iter().rev().filter_map(|commit| commit.trailers.session) {
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    Ok(sessions)
}

/// Runs the repository's own checks on the merged result; why it does not pass.
fn failed_check<'a>(
    context: &'a Context<'a>,
    thread: &ThreadName,
    made: &CommitId,
    scratch: &mut Option<Scratch<'a>>,
) -> Result<Option<String>, Error> {
    let scratch = match scratch {
        Some(scratch) => scratch,
        None => {
            let _serial = worktrees::serial(context)?;
            scratch.insert(Scratch::make(context.repo, made)?)
        }
    };
    scratch.go_to(made)?;
    let log = |number| context.layout.logs().join(format!("land-{}-{number}.log", thread.key()));
    let runs = checks::run_all(&context.settings.ready_commands, scratch.path(), log)?;
    let failed: Vec<String> = runs
        .iter()
        .filter(|run| !run.ok())
        .map(|CheckRun { command, log, .. }| {
            format!("check '{command}' failed on the result; its output is in {}", log.display())
        })
        .collect();
    Ok((!failed.is_empty()).then(|| failed.join("; ")))
}

/// Where the target is checked out.
fn checkout_of(context: &Context<'_>, target: &str) -> Result<Option<Checkout>, Error> {
    match context.repo.place_of(target)? {
        Place::Nowhere => Ok(None),
        Place::At(checkout) => Ok(Some(checkout)),
        Place::Obstructed { why, hint } => {
            Err(Error::Refused { message: format!("{why}; nothing was moved"), hint: Some(hint.to_owned()) })
        }
    }
}

/// A checkout with changes is never moved.
fn refuse_changes(context: &Context<'_>, target: &str, checkout: Option<&Checkout>) -> Result<(), Error> {
    let Some(checkout) = checkout else { return Ok(()) };
    let changed = context.repo.changed_in(checkout)?;
    if changed.is_empty() {
        return Ok(());
    }
    let short = target.strip_prefix("refs/heads/").unwrap_or(target);
    Err(Error::Refused {
        message: format!(
            "'{short}' is checked out at {:?}, which has changes in {}",
            checkout.path,
            changed.join(", ")
        ),
        hint: Some("commit or stash them first; nothing was moved".to_owned()),
    })
}
