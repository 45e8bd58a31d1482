//! Worktrees whose session has ended: they go when nothing in them can be lost and nobody is
//! in them, and stay, with the reasons, where that is not so.

use std::path::PathBuf;

use super::{finish_removal, head_of, last_command, lock_captures, reasons, serial, worktree_of};
use crate::context::Context;
use crate::error::Error;
use crate::git::moving::Checkout;
use crate::git::worktree::{Holds, Linked};
use crate::names::{CommitId, DROPPED, ThreadName};
use crate::ops::acting::current;
use crate::ops::moves;
use crate::platform::inhabitants;
use crate::session::Session;
use crate::session::binding::Binding;
use crate::store::Layout;
use crate::thread::locked::liveness_of;

/// What became of the worktree of a session that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retirement {
    /// There was none.
    Nothing,
    /// It is removed.
    Removed(PathBuf),
    /// It stays.
    Kept {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reasons: Vec<String>,
    },
}

/// Why a worktree made for `thread` cannot go: whatever would be lost with it.
///
/// # Errors
/// [`crate::git::GitError`] if it cannot be looked at.
pub fn keeps(context: &Context<'_>, linked: &Linked, thread: &ThreadName) -> Result<Vec<String>, Error> {
    let repo = context.repo;
    let head = head_of(linked)?;
    let tip = repo.read_ref(&thread.tip_ref())?;
    let on_thread = match &tip {
        Some(tip) => head == *tip || repo.descends_from(tip, &head)?,
        None => dropped(context, thread, &head)?,
    };
    let mut found =
        reasons(repo.uncommitted(linked)?, repo.operation_in(linked)?, (!on_thread).then_some(&head));
    if let Some(submodule) = repo.unpushed_submodule(linked)? {
        found.push(format!("commits of submodule {submodule:?} that no remote of it has"));
    }
    let unseen = repo.unseen(linked)?;
    if let Some(hidden) = unseen.hidden {
        found.push(format!("{hidden:?} is marked so that Git does not look whether it was changed"));
    }
    found.extend(others_within(&unseen.others));
    if repo.has_commits_of_its_own_refs(linked)? {
        found.push("commits that only a ref of the worktree itself has (refs/worktree/)".to_owned());
    }
    Ok(found)
}

/// That other worktrees or repositories lie in a worktree, in words; `None` if there are none.
#[must_use]
pub fn others_within(others: &[PathBuf]) -> Option<String> {
    const SHOWN: usize = 3;
    let shown: Vec<String> = others.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = if others.len() > SHOWN { " and more" } else { "" };
    (!shown.is_empty())
        .then(|| format!("other worktrees or repositories lie in it: {}{more}", shown.join(", ")))
}

/// Whether `commit` is in what was kept of the dropped `thread`.
fn dropped(context: &Context<'_>, thread: &ThreadName, commit: &CommitId) -> Result<bool, Error> {
    for prefix in [format!("{DROPPED}{thread}/"), format!("{DROPPED}%{}/", thread.key())] {
        for (_, kept) in context.repo.list_refs(&prefix)? {
            if kept == *commit || context.repo.descends_from(&kept, commit)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Removes the worktree that was made for `session`, which has ended, if nothing can be lost
/// and nobody is in it.
///
/// # Errors
/// [`crate::store::StoreError::Busy`]; [`crate::git::GitError`].
pub fn retire(context: &Context<'_>, session: &Session) -> Result<Retirement, Error> {
    if session.worktree.is_none() {
        return Ok(Retirement::Nothing);
    }
    let _serial = serial(context)?;
    // Looked for under the lock: the next owner may have been given it.
    match worktree_of(context, session) {
        Some(linked) => retire_linked(context, &linked, &session.thread),
        None => Ok(Retirement::Nothing),
    }
}

/// Which worktrees of a thread are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The one that the command was called in.
    Here,
    /// All but that.
    Elsewhere,
}

/// Removes the worktrees of `thread` that serve nobody any more; what could not even be
/// looked at stays without a word, for `gc`.
#[must_use]
pub fn retire_thread(context: &Context<'_>, thread: &ThreadName, which: Where) -> Vec<Retirement> {
    let unused = that_serve_nobody(context).unwrap_or_default().into_iter();
    let is_here = |linked: &Linked| linked.git_dir == context.repo.git_dir();
    let unused = unused.filter(|unused| {
        unused.thread.as_ref() == Some(thread) && is_here(&unused.linked) == (which == Where::Here)
    });
    let retire = |unused: Unused| {
        let _serial = serial(context).ok()?;
        retire_linked(context, &unused.linked, thread).ok()
    };
    unused.filter_map(retire).collect()
}

/// As [`retire`], for a worktree of `thread` that serves nobody. Under `%worktrees.lock`.
pub(super) fn retire_linked(
    context: &Context<'_>,
    linked: &Linked,
    thread: &ThreadName,
) -> Result<Retirement, Error> {
    let path = linked.path.clone();
    if let Some(reason) = locked(linked) {
        return Ok(Retirement::Kept { path, reasons: vec![reason] });
    }
    if finish_removal(context, linked)? {
        return Ok(Retirement::Removed(path));
    }
    if !linked.is_there() {
        // Deleted by hand: only Git's own note of it is left.
        context.repo.remove_worktree(linked, &Holds::Nothing)?;
        return Ok(Retirement::Removed(path));
    }
    let _captures = lock_captures(context, &linked.git_dir, &linked.path)?;
    moves::recover(context, &Checkout::of(linked))?;
    let reasons = reasons_to_stay(context, linked, thread)?;
    if !reasons.is_empty() {
        return Ok(Retirement::Kept { path, reasons });
    }
    context.repo.remove_worktree(linked, &Holds::Work)?;
    Ok(Retirement::Removed(path))
}

/// That a worktree is locked, in words.
fn locked(linked: &Linked) -> Option<String> {
    let reason = linked.locked.as_ref()?;
    Some(format!("it is locked{}{reason}", if reason.is_empty() { "" } else { ": " }))
}

/// Why a worktree that is there does not go: what would be lost, and who is in it.
fn reasons_to_stay(
    context: &Context<'_>,
    linked: &Linked,
    thread: &ThreadName,
) -> Result<Vec<String>, Error> {
    let mut reasons = keeps(context, linked, thread)?;
    if let Some(pid) = last_command(context, linked)? {
        reasons.push(format!("its last command, process {pid}, may still live"));
    }
    for other in inhabitants(&linked.path) {
        reasons.push(format!("process {} ({}) works in it", other.pid, other.name));
    }
    Ok(reasons)
}

/// A worktree that heddle made and that no live session uses.
#[derive(Debug)]
pub struct Unused {
    /// The worktree.
    pub linked: Linked,
    /// The thread that it was made for, if it is whole.
    thread: Option<ThreadName>,
    /// The file that tells since when it is as it is; `None` where that does not matter: it
    /// never was whole.
    pub written: Option<PathBuf>,
}

/// The worktrees that heddle made and that no live session uses.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood.
pub fn that_serve_nobody(context: &Context<'_>) -> Result<Vec<Unused>, Error> {
    let mut found = Vec::new();
    for linked in context.repo.linked_worktrees() {
        let (session, thread) = match (Binding::read(&linked.git_dir)?, linked.being_made_for()) {
            (Some(binding), _) if binding.made => (binding.session, Some(binding.thread)),
            (Some(_), _) | (None, None) => continue,
            (None, Some(session)) => (session, None),
        };
        let used = match current(context, &session) {
            Ok(session) => liveness_of(context, &session).may_live(),
            Err(Error::Session(_)) => false,
            Err(error) => return Err(error),
        };
        if !used {
            let written = thread.is_some().then(|| Layout::binding(&linked.git_dir));
            found.push(Unused { linked, thread, written });
        }
    }
    Ok(found)
}

/// Removes a worktree that serves nobody, if nothing can be lost; why it stays, or with
/// `look` would stay.
///
/// # Errors
/// [`crate::store::StoreError::Busy`]; [`crate::git::GitError`].
pub fn sweep(context: &Context<'_>, unused: &Unused, look: bool) -> Result<Vec<String>, Error> {
    let _serial = serial(context)?;
    // Looked at again under the lock: it may have been handed on.
    let Some(linked) = Linked::read(&unused.linked.git_dir) else { return Ok(Vec::new()) };
    let Some(thread) = &unused.thread else {
        let _captures = lock_captures(context, &linked.git_dir, &linked.path)?;
        if !look {
            context.repo.remove_worktree(&linked, &Holds::Nothing)?;
        }
        return Ok(Vec::new());
    };
    if !that_serve_nobody(context)?.iter().any(|again| again.linked.id == linked.id) {
        return Ok(vec!["it is used again".to_owned()]);
    }
    if look {
        return match locked(&linked) {
            Some(reason) => Ok(vec![reason]),
            None if linked.is_going() || !linked.is_there() => Ok(Vec::new()),
            None => reasons_to_stay(context, &linked, thread),
        };
    }
    match retire_linked(context, &linked, thread)? {
        Retirement::Kept { reasons, .. } => Ok(reasons),
        Retirement::Removed(_) | Retirement::Nothing => Ok(Vec::new()),
    }
}
