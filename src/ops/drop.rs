//! Giving a thread up: its refs, its ready mark, its worktree. The record stays as a
//! tombstone with the generation.
//!
//! Nothing that only the thread has goes without `--force`, and with it nothing goes without
//! a way back: the tip stays as `refs/heddle/dropped/<thread>/<generation>`, and what lay
//! uncommitted in the worktree as a commit beside it, until `gc` prunes both.
//!
//! # If the process dies here
//! The ways back are made first, and are synced; then the thread's refs go in one transaction of
//! Git's, which holds its locks since before (`git::exchange`); then the worktree. Wherever it
//! stops, the thread is there or its way back is; a worktree that is left over is removed by the
//! same command, and where nothing in it can be lost by `gc` or by the thread's next owner.
//!
//! # If another does the same now
//! From before the refs go until the worktree has gone, `%worktrees.lock` is held: whoever makes
//! a thread of that name anew gets another worktree.

use std::path::PathBuf;

use super::standing::{self, Standing};
use super::worktrees;
use crate::context::Context;
use crate::error::Error;
use crate::git::refs::{Change, Expected};
use crate::git::stage::{Limits, Scope, Staging};
use crate::git::worktree::{Holds, Linked};
use crate::git::{GitError, Repo};
use crate::names::{CommitId, DROPPED, ThreadName};
use crate::store::events::{self, Event};
use crate::thread::LockedThread;
use crate::thread::locked::owner_of;
use crate::thread::owned::rfc3339;

/// How many commits a refusal names.
const SHOWN: usize = 10;

/// What to do about other worktrees and repositories in one that is to go.
const MOVE_THEM: &str = "move them elsewhere (git worktree move moves a worktree), or remove them, first";

/// A thread that was given up.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// The thread.
    pub thread: ThreadName,
    /// Where it was.
    pub tip: CommitId,
    /// The ref that holds the tip.
    pub kept_as: String,
    /// The ref that holds what was only in the worktree, as a commit.
    pub worktree_kept_as: Option<String>,
    /// The worktree that was removed.
    pub worktree: Option<PathBuf>,
}

/// Drops `thread`.
///
/// # Errors
/// [`Error::Owned`] and [`Error::Refused`], listing what would be lost, unless `standing`
/// has force.
pub fn drop(context: &Context<'_>, thread: &ThreadName, standing: &Standing) -> Result<Dropped, Error> {
    super::acting::repair(context, thread)?;
    let Some(tip) = context.repo.read_ref(&thread.tip_ref())? else {
        return finish(context, thread, standing);
    };
    let trees = worktrees::whole_for(context, thread)?;
    if standing.force {
        refuse_unkeepable(context, thread, &trees)?;
    } else {
        // Looked at before the lock is taken: it starts processes. What comes after is
        // caught by the comparison of the tip, and by Git's own look at the worktree.
        refuse_losses(context, thread, &tip, &trees, standing)?;
    }
    if standing.force || standing.claim.is_some() {
        rehearse(context, thread, &tip, &trees, standing)?;
    }
    let locked = standing::take(context, thread, standing)?;
    let owner = locked.owner().map(|owner| owner.id);
    std::mem::drop(locked);
    if let Some(owner) = owner {
        // The owner itself gives up.
        let acting = super::acting::lock_owned(context, &owner)?;
        acting.end(crate::session::session::End::Abandoned)?;
    }
    let kept: Vec<(Linked, Option<CommitId>)> = trees
        .into_iter()
        .map(|linked| Ok((linked.clone(), snapshot(&linked, &tip, standing.force)?)))
        .collect::<Result<_, Error>>()?;
    let _serial = worktrees::serial(context)?;
    // A worktree that another session was given in there meanwhile; from here on none is added.
    for (linked, _) in &kept {
        if let Some(what) = worktrees::others_within(&context.repo.worktrees_within(linked)) {
            return Err(cannot_be_kept(thread, linked, &what, MOVE_THEM));
        }
    }
    let locked = LockedThread::take(context, thread)?;
    if let Some(owner) = locked.owner() {
        return Err(Error::Owned { thread: thread.clone(), owner: owner.id });
    }
    let (kept_as, worktree_kept_as) =
        drop_refs(context, &locked, &tip, kept.iter().find_map(|k| k.1.as_ref()))?;
    std::mem::drop(locked);
    let mut worktree = None;
    for (linked, work) in &kept {
        let holds = match work {
            Some(work) => Holds::Kept(work.clone()),
            None if !standing.force => Holds::Work,
            None if linked.is_there() => Holds::Kept(worktrees::head_of(linked)?),
            None => Holds::Nothing,
        };
        context.repo.remove_worktree(linked, &holds)?;
        worktree = Some(linked.path.clone());
    }
    Ok(Dropped { thread: thread.clone(), tip, kept_as, worktree_kept_as, worktree })
}

/// Finishes a drop that died before the ready mark or the worktree went: the worktree goes if what
/// is in it was kept.
fn finish(context: &Context<'_>, thread: &ThreadName, standing: &Standing) -> Result<Dropped, Error> {
    let _serial = worktrees::serial(context)?;
    let locked = LockedThread::take(context, thread)?;
    if let Some(owner) = locked.owner() {
        return Err(Error::Owned { thread: thread.clone(), owner: owner.id });
    }
    let generation = locked.record().map_or(0, |record| record.generation.get());
    let trees = worktrees::whole_for(context, thread)?;
    let mark = context.repo.read_ref(&thread.ready_ref())?;
    let kept = kept_of(context, thread, generation)?.filter(|_| mark.is_some() || !trees.is_empty());
    let Some((kept_as, tip)) = kept else { return Err(not_found(context, thread)) };
    if let Some(mark) = mark {
        // Its deletion may have been lost with a power cut.
        context.repo.delete_ref(&thread.ready_ref(), &mark)?;
    }
    std::mem::drop(locked);
    let name = format!("{kept_as}-worktree");
    let work = context.repo.read_ref(&name)?;
    for linked in &trees {
        if worktrees::finish_removal(context, linked)? {
            continue;
        }
        if standing.force {
            refuse_unkeepable(context, thread, std::slice::from_ref(linked))?;
        }
        let holds = match (snapshot(linked, &tip, standing.force)?, &work) {
            (Some(now), Some(work)) if same_tree(context, &now, work)? => Holds::Kept(now),
            _ => Holds::Work,
        };
        let lost = match holds {
            Holds::Work if linked.is_there() => worktrees::keeps(context, linked, thread)?,
            Holds::Work | Holds::Kept(_) | Holds::Nothing => Vec::new(),
        };
        if !lost.is_empty() {
            let path = &linked.path;
            return Err(Error::Refused {
                message: format!(
                    "thread '{thread}' was dropped, and its worktree at {path:?} has what was not kept: {}",
                    lost.join("; ")
                ),
                hint: Some("save it, and remove the worktree with git worktree remove".to_owned()),
            });
        }
        context.repo.remove_worktree(linked, &holds)?;
    }
    let worktree = trees.last().map(|last| last.path.clone());
    let worktree_kept_as = work.map(|_| name);
    Ok(Dropped { thread: thread.clone(), tip, kept_as, worktree_kept_as, worktree })
}

/// The ref that keeps the tip which `thread` had in `generation`, and the tip.
fn kept_of(
    context: &Context<'_>,
    thread: &ThreadName,
    generation: u64,
) -> Result<Option<(String, CommitId)>, GitError> {
    for base in ways_back(thread) {
        let mut kept = context.repo.list_refs(&format!("{base}/"))?.into_iter();
        let of_it = |name: &str| {
            let last = &name[base.len() + 1..];
            let number = last.split('.').next().unwrap_or_default();
            number == generation.to_string() && !last.ends_with("-worktree")
        };
        if let Some(last) = kept.rfind(|(name, _)| of_it(name)) {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

fn same_tree(context: &Context<'_>, one: &CommitId, other: &CommitId) -> Result<bool, GitError> {
    let resolve = |commit: &CommitId| context.repo.resolve(commit.as_str());
    Ok(resolve(one)?.tree == resolve(other)?.tree)
}

/// The tip of a thread that has to exist.
///
/// # Errors
/// [`Error::Refused`].
pub fn tip_of(context: &Context<'_>, thread: &ThreadName) -> Result<CommitId, Error> {
    super::acting::repair(context, thread)?;
    context.repo.read_ref(&thread.tip_ref())?.ok_or_else(|| not_found(context, thread))
}

/// That there is no such thread, and what became of it.
pub(super) fn not_found(context: &Context<'_>, thread: &ThreadName) -> Error {
    let record = crate::thread::ThreadRecord::read(&context.layout, thread).ok().flatten();
    let hint = match record.and_then(|record| record.renamed_to) {
        Some(now) => format!("it was renamed to '{now}'"),
        None => "git heddle thread list shows the threads there are".to_owned(),
    };
    Error::Refused { message: format!("thread '{thread}' not found"), hint: Some(hint) }
}

/// Refuses, naming what only this thread has.
fn refuse_losses(
    context: &Context<'_>,
    thread: &ThreadName,
    tip: &CommitId,
    trees: &[Linked],
    standing: &Standing,
) -> Result<(), Error> {
    let mut losses = Vec::new();
    let record = crate::thread::ThreadRecord::read(&context.layout, thread)?;
    let owner = owner_of(context, record.as_ref()).filter(|owner| owner.liveness.may_live());
    if !super::land::is_on_target(context, record.as_ref(), tip)? {
        let lost = context.repo.only_reachable_from(tip, SHOWN + 1)?;
        let more = if lost.len() > SHOWN { " and more" } else { "" };
        if !lost.is_empty() {
            let shown: Vec<&str> = lost.iter().take(SHOWN).map(String::as_str).collect();
            losses.push(format!("commits that no branch has: {}{more}", shown.join(", ")));
        }
    }
    for linked in trees.iter().filter(|linked| linked.is_there()) {
        let mut reasons = worktrees::keeps(context, linked, thread)?;
        for other in crate::platform::inhabitants(&linked.path) {
            reasons.push(format!("process {} ({}) works in it", other.pid, other.name));
        }
        if let Some(reason) = &linked.locked {
            reasons.push(format!("it is locked: {reason}"));
        }
        if !reasons.is_empty() {
            losses.push(format!("in the worktree at {:?}: {}", linked.path, reasons.join("; ")));
        }
    }
    if losses.is_empty() {
        return Ok(());
    }
    // A live owner alone is refused under the lock.
    let acting = standing.claim.as_ref().map(|claim| &claim.session);
    if let Some(owner) = owner.filter(|owner| acting != Some(&owner.id)) {
        losses.push(format!("session '{}' owns it and may be alive", owner.id));
    }
    Err(Error::Refused {
        message: format!("thread '{thread}' has what would be lost: {}", losses.join("; ")),
        hint: Some("land or promote it first; --force drops it, and says how to get it back".to_owned()),
    })
}

/// Refuses, also with force, what no commit could keep.
fn refuse_unkeepable(context: &Context<'_>, thread: &ThreadName, trees: &[Linked]) -> Result<(), Error> {
    for linked in trees.iter().filter(|linked| linked.is_there()) {
        if let Some((what, hint)) = unkeepable(context, linked)? {
            return Err(cannot_be_kept(thread, linked, &what, hint));
        }
    }
    Ok(())
}

fn cannot_be_kept(thread: &ThreadName, linked: &Linked, what: &str, hint: &str) -> Error {
    let path = &linked.path;
    Error::Refused {
        message: format!("the worktree of thread '{thread}' at {path:?} has what cannot be kept: {what}"),
        hint: Some(hint.to_owned()),
    }
}

/// What of a worktree no commit could keep, and what to do about it.
fn unkeepable(context: &Context<'_>, linked: &Linked) -> Result<Option<(String, &'static str)>, Error> {
    let repo = context.repo;
    if let Some(operation) = repo.operation_in(linked)? {
        return Ok(Some((format!("{operation} is in progress there"), "finish it or abort it first")));
    }
    if let Some(submodule) = repo.unpushed_submodule(linked)? {
        let what = format!("submodule {submodule:?} has commits that no remote of it has");
        return Ok(Some((what, "push them first")));
    }
    if let Some(submodule) = repo.drafts_in_submodule(linked)? {
        let what = format!("submodule {submodule:?} has uncommitted changes");
        return Ok(Some((what, "commit and push them first")));
    }
    let unseen = repo.unseen(linked)?;
    if let Some(hidden) = unseen.hidden {
        let what = format!("{hidden:?} is marked so that Git does not look whether it was changed");
        let hint = "git update-index --no-assume-unchanged --no-skip-worktree takes the mark away";
        return Ok(Some((what, hint)));
    }
    if let Some(what) = worktrees::others_within(&unseen.others) {
        return Ok(Some((what, MOVE_THEM)));
    }
    if repo.has_commits_of_its_own_refs(linked)? {
        let what = "commits that only a ref of the worktree itself has (refs/worktree/)".to_owned();
        return Ok(Some((what, "give them a branch, or delete the ref with git update-ref -d")));
    }
    Ok(None)
}

/// A commit of what a worktree has beyond the thread: commits made by hand, uncommitted files, and,
/// as its second parent, what is staged and differs from both. `None` if there is nothing.
fn snapshot(linked: &Linked, tip: &CommitId, force: bool) -> Result<Option<CommitId>, Error> {
    if !force || !linked.is_there() {
        return Ok(None);
    }
    let repo = Repo::at(&linked.path)?;
    let head = worktrees::head_of(linked)?;
    let scope = Scope { pathspec: &[], cwd: &linked.path, head: &head };
    let mut staging = Staging::begin(&repo, &head, false, &scope)?;
    staging.stage(&scope, &Limits { max_new_file_size: 0 })?;
    let tree = staging.write_tree()?;
    let before = repo.resolve(head.as_str())?.tree;
    let staged = staging.staged_tree()?.filter(|staged| *staged != before && *staged != tree);
    let place = linked.path.display();
    let staged = staged.map(|staged| {
        staging.commit(&staged, &[&head], &format!("What was staged and not committed in {place}\n"))
    });
    let staged = staged.transpose()?;
    if tree != before || staged.is_some() {
        let parents: Vec<&CommitId> = std::iter::once(&head).chain(&staged).collect();
        let message = format!("What was not committed in {place}\n");
        return Ok(Some(staging.commit(&tree, &parents, &message)?));
    }
    let known = head == *tip || repo.descends_from(tip, &head)?;
    Ok((!known).then_some(head))
}

/// Refuses what would be refused once the owner has ended, while nobody has: what the worktrees hold
/// that cannot be kept, and refs that Git would not let go of.
fn rehearse(
    context: &Context<'_>,
    thread: &ThreadName,
    tip: &CommitId,
    trees: &[Linked],
    standing: &Standing,
) -> Result<(), Error> {
    let record = crate::thread::ThreadRecord::read(&context.layout, thread)?;
    if owner_of(context, record.as_ref()).is_none() {
        return Ok(());
    }
    context.repo.try_out(thread)?;
    let mut work = None;
    for linked in trees {
        work = snapshot(linked, tip, standing.force)?.or(work);
    }
    let generation = record.map_or(0, |record| record.generation.get());
    let changes = Changes::of(context.repo, thread, generation, tip, work.as_ref())?;
    let all = [changes.made, changes.gone].concat();
    context.repo.rehearse_refs(&all, &format!("heddle: drop {thread}")).or_else(|error| {
        for Change { name, from, .. } in &all {
            // The owner captures, or marks it ready, or somebody drops it too, at the same time.
            let actual = context.repo.read_ref(name)?;
            if !from.is(actual.as_ref()) {
                let expected = match from {
                    Expected::Exactly(from) => Some(from.clone()),
                    Expected::Absent => None,
                };
                return Err(GitError::RefMoved { name: name.clone(), expected, actual }.into());
            }
        }
        Err(error.into())
    })
}

fn moved(thread: &ThreadName, tip: &CommitId, actual: Option<CommitId>) -> Error {
    GitError::RefMoved { name: thread.tip_ref(), expected: Some(tip.clone()), actual }.into()
}

/// What a drop does to refs.
struct Changes {
    made: Vec<Change>,
    gone: Vec<Change>,
    /// The refs that are made: for the tip, and for what was only in the worktree.
    kept: (String, Option<String>),
}

impl Changes {
    fn of(
        repo: &Repo,
        thread: &ThreadName,
        generation: u64,
        tip: &CommitId,
        work: Option<&CommitId>,
    ) -> Result<Self, GitError> {
        let kept = free_name(repo, &ways_back(thread), generation, tip)?;
        let way_back = |name: &str, to: &CommitId| -> Result<Change, GitError> {
            let from = repo.read_ref(name)?.map_or(Expected::Absent, Expected::Exactly);
            Ok(Change { name: name.to_owned(), from, to: Some(to.clone()) })
        };
        let mut made = vec![way_back(&kept, tip)?];
        let kept_work = work.map(|_| format!("{kept}-worktree"));
        if let (Some(name), Some(work)) = (&kept_work, work) {
            made.push(way_back(name, work)?);
        }
        let mut gone = Vec::new();
        if let Some(ready) = repo.read_ref(&thread.ready_ref())? {
            gone.push(Change { name: thread.ready_ref(), from: Expected::Exactly(ready), to: None });
        }
        gone.push(Change { name: thread.tip_ref(), from: Expected::Exactly(tip.clone()), to: None });
        Ok(Self { made, gone, kept: (kept, kept_work) })
    }
}

/// Keeps `tip` (and `work`) as dropped, and deletes the thread's refs.
/// Under the lock of a thread without owner.
///
/// # Errors
/// [`GitError::RefMoved`] if the tip is elsewhere; nothing is then written.
pub(super) fn drop_refs(
    context: &Context<'_>,
    locked: &LockedThread<'_>,
    tip: &CommitId,
    work: Option<&CommitId>,
) -> Result<(String, Option<String>), Error> {
    let (repo, thread) = (context.repo, locked.name());
    let now = locked.tip()?;
    if now.as_ref() != Some(tip) {
        return Err(moved(thread, tip, now));
    }
    let generation = locked.record().map_or(0, |record| record.generation.get());
    let Changes { made, gone, kept } = Changes::of(repo, thread, generation, tip, work)?;
    repo.exchange_refs(&made, &gone, &format!("heddle: drop {thread}"))?;
    tell(context, thread, tip, generation);
    Ok(kept)
}

/// Where dropped tips of `thread` are kept. Where a ref above or below the first is in the way
/// (`a` was dropped before `a/3`), the thread's key stands for its name.
fn ways_back(thread: &ThreadName) -> [String; 2] {
    [format!("{DROPPED}{thread}"), format!("{DROPPED}%{}", thread.key())]
}

/// The name under which `tip` would be kept if `thread` were dropped now.
///
/// # Errors
/// [`GitError`].
pub(super) fn would_keep_as(
    context: &Context<'_>,
    thread: &ThreadName,
    tip: &CommitId,
) -> Result<String, Error> {
    let record = crate::thread::ThreadRecord::read(&context.layout, thread)?;
    let generation = record.map_or(0, |record| record.generation.get());
    Ok(free_name(context.repo, &ways_back(thread), generation, tip)?)
}

/// The name under which a dropped tip is kept.
fn free_name(repo: &Repo, bases: &[String; 2], generation: u64, tip: &CommitId) -> Result<String, GitError> {
    for base in bases {
        for again in 0u32.. {
            let name = match again {
                0 => format!("{base}/{generation}"),
                again => format!("{base}/{generation}.{again}"),
            };
            if repo.clash(&name)?.is_some() {
                break;
            }
            // A thread may be dropped, made again by other means, and dropped once more.
            if repo.read_ref(&name)?.is_none_or(|kept| kept == *tip) {
                return Ok(name);
            }
        }
    }
    let [usual, other] = bases;
    Err(GitError::RefClash { name: format!("{usual}/{generation}"), existing: other.clone() })
}

fn tell(context: &Context<'_>, thread: &ThreadName, tip: &CommitId, generation: u64) {
    let Ok(id) = context.operation_id() else { return };
    let event = Event {
        id,
        at: rfc3339(context.platform.now().wall),
        event: "dropped".to_owned(),
        thread: thread.as_str().to_owned(),
        session: String::new(),
        generation: Some(generation),
        commit: Some(tip.as_str().to_owned()),
        status: None,
    };
    events::append(&context.layout.events(), &event);
}
