//! Bringing a thread up to date with its target: its commits on the target's tip, or the target
//! merged in. The thread's worktree follows.
//!
//! Everything slow (merging, looking whether the files can follow) happens without the thread's
//! lock, and nothing is changed before it is known that all of it can be. Then the tip moves, by
//! compare-and-swap under the lock; then files, HEAD and binding of the worktree follow, while
//! its index is locked (`git::moving`).
//!
//! # If the process dies here
//! Before the tip moved nothing has changed but the lock on the index. After it the thread is
//! refreshed, and its worktree stands for the old tip, or is on its way. The next refresh or
//! capture in it brings it to the new one first; until then its binding tells what its content
//! stands for, so that no capture takes back what came from the target.
//!
//! # If another does the same now
//! The worktree's own lock keeps captures and refreshes of it apart. A thread that moved
//! meanwhile, or changed its owner, is refused. Should somebody write a file between the look
//! and the move that is then in the way, the worktree stays where it was, with a warning, and
//! can be brought along by another refresh.

use std::path::PathBuf;

use super::acting::begin;
use super::merging::Merging;
use super::standing::{self, Standing};
use super::worktrees::{self, lock_captures};
use super::{drop, land, merging, moves};
use crate::context::Context;
use crate::error::Error;
use crate::git::commit::{commit, with_trailers};
use crate::git::land::Merged;
use crate::git::moving::{Checkout, Moving};
use crate::git::rebase::Rebased;
use crate::git::repo::Head;
use crate::git::target::Target;
use crate::git::unfinished::state_fault;
use crate::git::worktree::Linked;
use crate::git::{GitError, Repo};
use crate::names::{CommitId, ThreadName};
use crate::session::Session;
use crate::session::binding::Binding;
use crate::store::lock::FileLock;
use crate::thread::locked::owner_of;
use crate::thread::{LockedThread, ThreadRecord};

/// How to go about it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The branch to refresh from; `None` is the thread's own target.
    pub onto: Option<String>,
    /// Merge the target in instead of rebasing.
    pub merge: bool,
    /// Leave conflicts in the thread's worktree, as a merge in progress.
    pub keep_conflicts: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The thread has all of the target already.
    Current,
    /// Its commits, so many, are on the target now.
    Rebased(usize),
    /// The target is merged in.
    Merged,
    /// It conflicts in these paths; nothing has changed.
    Conflicts(Vec<Vec<u8>>),
    /// It conflicts in these paths, which are left in the worktree to be resolved.
    Kept(Vec<Vec<u8>>),
    /// The merge that was left there was given up.
    Aborted,
}

/// A thread that was looked at, and refreshed if that could be.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// What came of it.
    pub outcome: Outcome,
    /// Where the thread was.
    pub old: CommitId,
    /// Where it is.
    pub new: CommitId,
    /// The target's full name.
    pub target: String,
    /// Where the target is.
    pub onto: CommitId,
    /// The worktree that followed, or in which conflicts are left.
    pub worktree: Option<PathBuf>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// The thread's worktree, and where it stands.
struct Place {
    linked: Linked,
    checkout: Checkout,
    /// The commit that HEAD is at and that the files stand for.
    at: CommitId,
    _captures: FileLock,
}

/// Refreshes `thread`.
///
/// # Errors
/// [`Error::Owned`]; [`Error::Refused`] if it has no target, is not linear, or its worktree
/// cannot follow; [`Error::Drift`] if it moved meanwhile. A conflict is no error.
pub fn refresh(
    context: &Context<'_>,
    thread: &ThreadName,
    request: &Request,
    standing: &Standing,
) -> Result<Refreshed, Error> {
    drop::tip_of(context, thread)?;
    let record = ThreadRecord::read(&context.layout, thread)?;
    let owner = owner_of(context, record.as_ref());
    let claim =
        standing.claim.as_ref().filter(|claim| owner.as_ref().is_some_and(|owner| owner.id == claim.session));
    // For as long as it takes the session counts as present.
    let acting = claim.map(|claim| begin(context, claim)).transpose()?;
    if let Some(owner) = &owner
        && acting.is_none()
        && !standing.force
        && owner.liveness.may_live()
    {
        return Err(Error::Owned { thread: thread.clone(), owner: owner.id.clone() });
    }
    let session = acting.as_ref().map(|acting| &acting.session);
    let done = bring_up_to_date(context, thread, request, standing, record.as_ref(), session)?;
    if let Some(acting) = acting {
        // A sign of life; should it fail, the next one comes soon.
        let _ = acting.lock(context).and_then(|owned| owned.renew(|_| {}));
    }
    Ok(done)
}

fn bring_up_to_date(
    context: &Context<'_>,
    thread: &ThreadName,
    request: &Request,
    standing: &Standing,
    record: Option<&ThreadRecord>,
    session: Option<&Session>,
) -> Result<Refreshed, Error> {
    let target = land::target_for(context, record, request.onto.as_deref())?;
    let target = target.ok_or_else(|| Error::Refused {
        message: format!("thread '{thread}' has no target"),
        hint: Some("name a branch: --onto=BRANCH".to_owned()),
    })?;
    let place = place(context, thread, record, session)?;
    let old = drop::tip_of(context, thread)?;
    let (outcome, new) = make(context, thread, request, &target, &old, session)?;
    let mut done = Refreshed {
        outcome,
        new,
        old,
        target: target.refname,
        onto: target.commit,
        worktree: place.as_ref().map(|place| place.linked.path.clone()),
        warnings: Vec::new(),
    };
    if matches!(done.outcome, Outcome::Conflicts(_)) {
        if request.keep_conflicts {
            keep(context, thread, standing, place.as_ref(), &mut done)?;
        }
        return Ok(done);
    }
    let lags = place.as_ref().is_some_and(|place| place.at != done.new);
    if done.new == done.old && !lags {
        return Ok(done);
    }
    let moving = match &place {
        Some(place) if lags => Some(prepare(context, thread, place, &done.new)?),
        _ => None,
    };
    let how = if matches!(done.outcome, Outcome::Merged) { "merge" } else { "rebase" };
    let short = done.target.strip_prefix("refs/heads/").unwrap_or(&done.target);
    let why = format!("heddle: refresh {thread}: {how} {short}");
    let locked = standing::take(context, thread, standing)?;
    let session = locked.owner().map(|owner| owner.id);
    if done.new == done.old {
        if locked.tip()?.as_ref() != Some(&done.old) {
            return Err(moved(thread));
        }
    } else {
        locked.refresh(session.as_ref(), &done.old, &done.new, &why).map_err(|error| match error {
            Error::Git(GitError::RefMoved { .. }) => moved(thread),
            error => error,
        })?;
    }
    std::mem::drop(locked);
    if let (Some(place), Some(moving)) = (&place, moving) {
        // The thread is refreshed: nothing after it fails the command.
        match follow(context, thread, place, moving, &done.new, &why) {
            Ok(said) => done.warnings.extend(said),
            Err(error) => done.warnings.push(format!(
                "the worktree at {:?} did not follow; refresh again to bring it along: {error}",
                place.linked.path
            )),
        }
    }
    Ok(done)
}

fn moved(thread: &ThreadName) -> Error {
    Error::Drift {
        message: format!("thread '{thread}' moved while it was refreshed"),
        hint: Some("refresh it again".to_owned()),
    }
}

/// The new tip, and how it came about.
fn make(
    context: &Context<'_>,
    thread: &ThreadName,
    request: &Request,
    target: &Target,
    old: &CommitId,
    session: Option<&Session>,
) -> Result<(Outcome, CommitId), Error> {
    let (repo, onto) = (context.repo, &target.commit);
    if repo.contains(old, onto)? {
        return Ok((Outcome::Current, old.clone()));
    }
    if repo.contains(onto, old)? {
        return Ok((Outcome::Rebased(0), onto.clone()));
    }
    let conflicts = if request.merge {
        match merge(context, thread, target, old, session)? {
            Ok(new) => return Ok((Outcome::Merged, new)),
            Err(paths) => paths,
        }
    } else {
        match repo.rebase_in_memory(onto, old)? {
            Rebased::Clean { tip, commits } => return Ok((Outcome::Rebased(commits), tip)),
            Rebased::Conflicts { paths, .. } => paths,
            Rebased::NotLinear(commit) => {
                return Err(Error::Refused {
                    message: format!(
                        "thread '{thread}' cannot be rebased: {} is a merge in which something was resolved, or a first commit",
                        commit.short()
                    ),
                    hint: Some("--merge merges the target in".to_owned()),
                });
            }
        }
    };
    // What conflicts commit by commit may merge as a whole.
    if request.keep_conflicts && !request.merge {
        return Ok(match merge(context, thread, target, old, session)? {
            Ok(new) => (Outcome::Merged, new),
            Err(paths) => (Outcome::Conflicts(paths), old.clone()),
        });
    }
    Ok((Outcome::Conflicts(conflicts), old.clone()))
}

/// The merge of the target into the thread; the paths in which it conflicts.
fn merge(
    context: &Context<'_>,
    thread: &ThreadName,
    target: &Target,
    old: &CommitId,
    session: Option<&Session>,
) -> Result<Result<CommitId, Vec<Vec<u8>>>, Error> {
    let tree = match context.repo.merge_trees(None, old, &target.commit)? {
        Merged::Clean(tree) => tree,
        Merged::Conflicts(paths) => return Ok(Err(paths)),
    };
    let message = merge_message(thread, &target.refname, session);
    Ok(Ok(commit(context.repo, &tree, &[old, &target.commit], &message)?))
}

/// The message of a merge of the target into the thread, by `session` if not by a person.
fn merge_message(thread: &ThreadName, target: &str, session: Option<&Session>) -> String {
    let short = target.strip_prefix("refs/heads/").or(target.strip_prefix("refs/remotes/"));
    let subject = format!("Merge '{}' into thread '{thread}'", short.unwrap_or(target));
    let Some(session) = session else { return subject + "\n" };
    let trailers = [
        ("Heddle-Thread", thread.as_str().to_owned()),
        ("Heddle-Session", session.session_id.as_str().to_owned()),
        ("Heddle-Generation", session.generation.to_string()),
    ];
    with_trailers(&subject, &trailers)
}

/// The worktree that was made for the thread, its owner's if there are several, locked; `None`
/// if there is none. Where an owner who goes on, `session`, captures from a worktree of the
/// user's, the thread stays: those files are not ours to move, and would no longer stand for
/// the tip.
fn place(
    context: &Context<'_>,
    thread: &ThreadName,
    record: Option<&ThreadRecord>,
    session: Option<&Session>,
) -> Result<Option<Place>, Error> {
    let owner = owner_of(context, record);
    let mut trees = worktrees::whole_for(context, thread)?;
    trees.retain(Linked::is_there);
    let owners = |linked: &Linked| {
        let binding = Binding::read(&linked.git_dir).ok().flatten();
        binding.is_some_and(|binding| owner.as_ref().is_some_and(|owner| owner.id == binding.session))
    };
    let own = trees.iter().position(owners).unwrap_or(0);
    if trees.is_empty() {
        let path = session.and_then(|session| session.path.clone());
        return match path.filter(|path| path.is_dir()) {
            Some(path) => Err(Error::Refused {
                message: format!(
                    "the session of thread '{thread}' captures from {path:?}, which git-heddle did not make and does not move"
                ),
                hint: Some(
                    "release it, refresh the thread, and reserve it again with --resume --worktree: such a worktree follows"
                        .to_owned(),
                ),
            }),
            None => Ok(None),
        };
    }
    let linked = trees.swap_remove(own);
    let captures = lock_captures(context, &linked.git_dir, &linked.path)?;
    let checkout = Checkout::of(&linked);
    moves::recover(context, &checkout)?;
    let there = Repo::at(&linked.path)?;
    let refused = |message: String, hint: &str| {
        Err(Error::Refused {
            message: format!("the worktree of thread '{thread}' at {:?} {message}", linked.path),
            hint: Some(hint.to_owned()),
        })
    };
    if let Some(fault) = state_fault(&there)? {
        return refused(format!("cannot follow: {fault}"), "finish or abort it first");
    }
    let at = match there.head()? {
        Head::Detached { commit } => commit,
        Head::Branch { name, .. } | Head::Unborn { branch: name } => {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(&name);
            return refused(format!("is on branch '{branch}'"), "'git checkout --detach' there first");
        }
    };
    let tip = drop::tip_of(context, thread)?;
    let base = Binding::read(&linked.git_dir)?.map(|binding| binding.base);
    if at != tip && base.as_ref() != Some(&at) {
        let message = format!("has commits up to {} that are not on the thread", at.short());
        return refused(message, "capture there first, which adopts them");
    }
    Ok(Some(Place { linked, checkout, at, _captures: captures }))
}

/// Locks the worktree's index and looks whether its files can follow to `new`.
fn prepare(
    context: &Context<'_>,
    thread: &ThreadName,
    place: &Place,
    new: &CommitId,
) -> Result<Moving, Error> {
    let moving =
        Moving::begin(&place.checkout, &thread.tip_ref(), &place.at, new, context.repo.is_durable())?;
    let stands = matches!(moving.head()?, Head::Detached { commit } if commit == place.at);
    if !stands {
        return Err(moved(thread));
    }
    // Uncommitted work comes along, as with `git switch`, unless it is in the way.
    let changed = moving.changed()?;
    match moving.try_files() {
        Ok(()) => Ok(moving),
        Err(GitError::Program { stderr, .. }) => {
            let dirty = if changed.is_empty() {
                String::new()
            } else {
                format!(" (changed: {})", changed.join(", "))
            };
            Err(Error::Refused {
                message: format!(
                    "the worktree of thread '{thread}' at {:?} has uncommitted work in the way{dirty}: {}",
                    place.linked.path,
                    stderr
                        .lines()
                        .map(str::trim)
                        .filter(|line| !line.is_empty())
                        .collect::<Vec<_>>()
                        .join("; ")
                ),
                hint: Some(
                    "capture it first; or put it aside: git stash -u, refresh, git stash pop".to_owned(),
                ),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Brings the worktree to `new`: files, HEAD, binding, index.
fn follow(
    context: &Context<'_>,
    thread: &ThreadName,
    place: &Place,
    moving: Moving,
    new: &CommitId,
    why: &str,
) -> Result<Option<String>, Error> {
    moving.files()?;
    let along = moving.head_along(why).map_err(Error::from).and_then(|left| {
        if left.is_none() {
            moves::rebind(context, thread, &place.checkout, &place.at, new)?;
        }
        Ok(left)
    });
    match along {
        Ok(left) => moving.install().map(|()| left).map_err(Error::from),
        Err(error) => {
            moving.leave();
            Err(error)
        }
    }
}

/// Leaves the conflicts in the worktree as a merge in progress. The thread does not move: the
/// next capture, once all is resolved, is the merge.
fn keep(
    context: &Context<'_>,
    thread: &ThreadName,
    standing: &Standing,
    place: Option<&Place>,
    done: &mut Refreshed,
) -> Result<(), Error> {
    let Some(place) = place else {
        return Err(Error::Refused {
            message: format!("thread '{thread}' has no worktree to leave conflicts in"),
            hint: Some("reserve it with --worktree first".to_owned()),
        });
    };
    let dirty = context.repo.uncommitted(&place.linked)?;
    if !dirty.is_empty() || place.at != done.old {
        return Err(Error::Refused {
            message: format!(
                "the worktree of thread '{thread}' at {:?} has uncommitted changes: {}",
                place.linked.path,
                dirty.join(", ")
            ),
            hint: Some("capture them first; a merge that is given up would take them along".to_owned()),
        });
    }
    let locked: LockedThread<'_> = standing::take(context, thread, standing)?;
    if locked.tip()?.as_ref() != Some(&done.old) {
        return Err(moved(thread));
    }
    std::mem::drop(locked);
    let begun = Merging { commit: done.onto.clone(), target: done.target.clone() };
    merging::begin(context, &place.checkout, &begun)?;
    if let Outcome::Conflicts(paths) = &done.outcome {
        done.outcome = Outcome::Kept(paths.clone());
    }
    Ok(())
}

/// Gives up the merge that a refresh left in the worktree of `thread`.
///
/// # Errors
/// [`Error::Refused`] if there is none; [`Error::Owned`].
pub fn abort(context: &Context<'_>, thread: &ThreadName, standing: &Standing) -> Result<Refreshed, Error> {
    let tip = drop::tip_of(context, thread)?;
    for linked in worktrees::whole_for(context, thread)?.into_iter().filter(Linked::is_there) {
        let _captures = lock_captures(context, &linked.git_dir, &linked.path)?;
        let Some(Merging { commit: onto, target }) = merging::of(&Repo::at(&linked.path)?)? else { continue };
        std::mem::drop(standing::take(context, thread, standing)?);
        merging::abort(&Checkout::of(&linked), context.repo.is_durable())?;
        return Ok(Refreshed {
            outcome: Outcome::Aborted,
            old: tip.clone(),
            new: tip,
            target,
            onto,
            worktree: Some(linked.path),
            warnings: Vec::new(),
        });
    }
    Err(Error::Refused {
        message: format!("no refresh of thread '{thread}' waits for its conflicts to be resolved"),
        hint: None,
    })
}
