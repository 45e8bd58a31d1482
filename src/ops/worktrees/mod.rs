//! Worktrees for threads: made with a reservation, handed on to the next owner, removed when
//! nothing in them can be lost.
//!
//! Making one is slow (it checks files out), so it comes after the reservation is committed
//! and outside the thread's lock; the reservation alone decides who makes the worktree of a
//! thread. If making it fails, the reservation is withdrawn and the worktree removed.
//!
//! # If the process dies here
//! From the first file that `git worktree add` writes until the binding is in place, the
//! worktree is locked with a reason that names the session. Whoever makes a worktree for the
//! thread next finds it by that, sees that no process is making it (its lock file is free),
//! and removes it. With the binding in place it is whole.
//!
//! # If another does the same now
//! `%worktrees.lock` serialises adding and removing; the lock file in the worktree's own Git
//! directory, which captures take too, keeps one that is being filled, handed on or removed
//! from being touched.

mod retire;

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Error;
use crate::git::moving::Checkout;
use crate::git::repo::Head;
use crate::git::worktree::{Holds, Linked};
use crate::git::{GitError, Repo};
use crate::names::{CommitId, ThreadName};
use crate::ops::acting::lock_owned;
use crate::ops::checks::{self, CheckStatus};
use crate::platform::{ancestors, inhabitants};
use crate::session::Session;
use crate::session::binding::Binding;
use crate::session::liveness::command_may_live;
use crate::session::session::Holder;
use crate::store::Layout;
use crate::store::lock::{FileLock, Terms};
use crate::thread::ThreadRecord;
use crate::thread::locked::owner_of;
use crate::watch::remove_stale;

use retire::retire_linked;
pub use retire::{
    Retirement, Unused, Where, keeps, others_within, retire, retire_thread, sweep, that_serve_nobody,
};

/// A worktree for a session.
#[derive(Debug)]
pub struct Provided {
    /// The session, which now names it.
    pub session: Session,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Where the worktree of `session` is now, if it is there: moved ones are found by their id.
#[must_use]
pub fn path_of(context: &Context<'_>, session: &Session) -> Option<PathBuf> {
    match worktree_of(context, session) {
        Some(linked) => linked.is_there().then(|| linked.path.canonicalize().ok())?,
        None => session.path.clone().filter(|path| path.is_dir()),
    }
}

/// The worktree that was made for `session`, if it still serves it: an id may have been given
/// anew.
#[must_use]
pub fn worktree_of(context: &Context<'_>, session: &Session) -> Option<Linked> {
    let linked = context.repo.linked_worktree(session.worktree.as_deref()?)?;
    let binding = Binding::read(&linked.git_dir).ok()??;
    (binding.made && binding.session == session.session_id).then_some(linked)
}

/// The worktrees that were made for `thread`, whole or not.
fn made_for(context: &Context<'_>, thread: &ThreadName) -> Result<Vec<(Linked, Option<Binding>)>, Error> {
    let mut found = Vec::new();
    for linked in context.repo.linked_worktrees() {
        match Binding::read(&linked.git_dir)? {
            Some(binding) if binding.made && binding.thread == *thread => found.push((linked, Some(binding))),
            Some(_) => {}
            None => {
                let Some(maker) = linked.being_made_for() else { continue };
                if context.registry.read(&maker)?.is_none_or(|session| session.thread == *thread) {
                    found.push((linked, None));
                }
            }
        }
    }
    Ok(found)
}

/// The whole worktrees that were made for `thread`.
///
/// # Errors
/// [`crate::store::StoreError`] for a binding that cannot be understood.
pub fn whole_for(context: &Context<'_>, thread: &ThreadName) -> Result<Vec<Linked>, Error> {
    let made = made_for(context, thread)?.into_iter();
    Ok(made.filter(|(_, binding)| binding.is_some()).map(|(linked, _)| linked).collect())
}

/// The folder that the worktree of `thread` is to have.
///
/// # Errors
/// [`Error::Usage`] for a path without a name.
pub fn place(context: &Context<'_>, thread: &ThreadName, asked: Option<&Path>) -> Result<PathBuf, Error> {
    let folder = context.repo.worktree_folder();
    let folder = match &context.settings.worktree_dir {
        Some(configured) => folder.parent().unwrap_or(&folder).join(configured),
        None => folder,
    };
    let path = match asked {
        Some(path) => path.to_owned(),
        None => own_place(context, thread, &folder)?,
    };
    if path.as_os_str().is_empty() {
        return Err(Error::Usage { message: "--worktree= needs a path, or no '='".to_owned() });
    }
    std::path::absolute(&path)
        .map_err(|error| Error::Usage { message: format!("cannot use path {path:?}: {error}") })
}

/// The place in `folder` that the thread's key names, unless a thread that had the name before
/// took its worktree along: then with a number, which no key ends in.
fn own_place(context: &Context<'_>, thread: &ThreadName, folder: &Path) -> Result<PathBuf, Error> {
    let mut taken = Vec::new();
    for linked in context.repo.linked_worktrees() {
        let binding = Binding::read(&linked.git_dir)?;
        if binding.is_some_and(|binding| binding.made && binding.thread != *thread) {
            taken.push(linked.path);
        }
    }
    let key = thread.key();
    let numbered = (2u32..).map(|number| folder.join(format!("{key}~{number}")));
    let mut places = std::iter::once(folder.join(&key)).chain(numbered);
    Ok(places.find(|place| !taken.contains(place)).unwrap_or_else(|| folder.join(&key)))
}

/// Refuses early, before anything is reserved, what could not be made or handed on anyway.
///
/// # Errors
/// [`Error::Refused`].
pub fn foresee(
    context: &Context<'_>,
    thread: &ThreadName,
    asked: Option<&Path>,
    resume: bool,
) -> Result<(), Error> {
    let path = place(context, thread, asked)?;
    // Otherwise one that is just being added or removed would look like somebody else's.
    let _serial = serial(context)?;
    for (linked, binding) in made_for(context, thread)? {
        if asked.is_some() && linked.path != path {
            continue;
        }
        // That the thread has a living owner is for the reserve to say.
        let owner = owner_of(context, ThreadRecord::read(&context.layout, thread)?.as_ref());
        let owned = owner.is_some_and(|owner| owner.liveness.may_live());
        if !owned && finish_removal(context, &linked)? {
            continue;
        }
        if !owned
            && binding.is_some()
            && linked.is_there()
            && let Some(tip) = context.repo.read_ref(&thread.tip_ref())?
        {
            left(context, thread, &tip, &linked, resume)?;
        }
        return Ok(());
    }
    check_text(&path)?;
    check_free(context, &path)
}

/// Refuses a path that no record can hold.
fn check_text(path: &Path) -> Result<(), Error> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(Error::Refused {
            message: format!(
                "cannot make a worktree at {path:?}: it is not UTF-8, and no record can hold it"
            ),
            hint: Some("give another path: --worktree=PATH, or git config heddle.worktreeDir".to_owned()),
        }),
    }
}

/// Refuses a path where no worktree can be made.
fn check_free(context: &Context<'_>, path: &Path) -> Result<(), Error> {
    let empty = |path: &Path| path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if std::fs::symlink_metadata(path).is_ok() && !empty(path) {
        return Err(Error::Refused {
            message: format!("cannot make a worktree at {path:?}: it exists"),
            hint: Some(
                "give another path: --worktree=PATH; or run agent capture in a worktree of your own"
                    .to_owned(),
            ),
        });
    }
    if path.starts_with(context.repo.common_dir()) {
        return Err(Error::Refused {
            message: format!("cannot make a worktree at {path:?}: it lies in the Git directory"),
            hint: Some("give another path: --worktree=PATH".to_owned()),
        });
    }
    Ok(())
}

/// Keeps worktrees from being added or removed: Git cannot list them while one is half made.
///
/// # Errors
/// [`crate::store::StoreError::Busy`].
pub(super) fn serial(context: &Context<'_>) -> Result<FileLock, Error> {
    let terms = Terms {
        what: "the list of worktrees",
        command: context.command,
        timeout: context.lock_timeout(),
        brief: false,
    };
    Ok(FileLock::acquire(&context.layout.worktrees_lock(), terms, context.platform)?)
}

/// Takes the lock that captures take in the worktree at `path`, whose own Git directory is
/// `git_dir`.
///
/// # Errors
/// [`crate::store::StoreError::Busy`].
pub(super) fn lock_captures(context: &Context<'_>, git_dir: &Path, path: &Path) -> Result<FileLock, Error> {
    let what = format!("worktree {path:?}");
    let terms =
        Terms { what: &what, command: context.command, timeout: context.lock_timeout(), brief: false };
    Ok(FileLock::acquire(&Layout::binding_lock(git_dir), terms, context.platform)?)
}

/// Finishes a removal of the worktree that was interrupted; whether it is gone now. Under
/// `%worktrees.lock`.
pub(super) fn finish_removal(context: &Context<'_>, linked: &Linked) -> Result<bool, Error> {
    if !linked.is_going() {
        return Ok(false);
    }
    let _captures = lock_captures(context, &linked.git_dir, &linked.path)?;
    Ok(context.repo.finish_removal(linked, context.lock_timeout())?)
}

/// Gives the live `session` a worktree at the tip of its thread: the one that it was given
/// before, the one that the thread's last owner left, or a new one. From then on `holder`
/// keeps it alive. With `resume` the last
/// one is taken with what lies in it uncommitted.
///
/// # Errors
/// [`Error::Refused`] if the last owner's worktree cannot be handed on; [`GitError`] in Git's
/// words. A worktree that was being made is removed again.
pub fn provide(
    context: &Context<'_>,
    session: &Session,
    holder: &Holder,
    asked: Option<&Path>,
    resume: bool,
) -> Result<Provided, Error> {
    let path = place(context, &session.thread, asked)?;
    let serial = serial(context)?;
    for (linked, binding) in made_for(context, &session.thread)? {
        if asked.is_some() && linked.path != path {
            continue;
        }
        if finish_removal(context, &linked)? {
            continue;
        }
        let lock = lock_captures(context, &linked.git_dir, &linked.path)?;
        remove_stale(&linked.git_dir);
        let there = linked.is_there();
        if there {
            crate::ops::moves::recover(context, &Checkout::of(&linked))?;
        }
        match binding {
            Some(binding) if there && binding.session == session.session_id => {
                context.repo.finish_worktree(&linked)?;
                let session = bind(context, session, holder, &linked, &head_of(&linked)?)?;
                return Ok(Provided { session, warnings: Vec::new() });
            }
            Some(_) if there => {
                if linked.being_made_for().is_some() {
                    context.repo.finish_worktree(&linked)?;
                }
                let warnings = hand_on(context, session, &linked, resume)?;
                let session = bind(context, session, holder, &linked, &head_of(&linked)?)?;
                return Ok(Provided { session, warnings });
            }
            Some(_) if linked.locked.is_some() => {
                return Err(Error::Refused {
                    message: format!(
                        "the worktree of thread '{}' at {:?} is missing, and locked",
                        session.thread, linked.path
                    ),
                    hint: Some(
                        "bring it back, or give it up: git worktree unlock, then git worktree prune"
                            .to_owned(),
                    ),
                });
            }
            // Deleted by hand, or left half made by a process that died.
            Some(_) | None => {
                drop(lock);
                context.repo.remove_worktree(&linked, &Holds::Nothing)?;
            }
        }
    }
    check_free(context, &path)?;
    let made = context.repo.add_worktree(&path, &session.anchor_state, &session.session_id, &serial)?;
    let made_whole = lock_captures(context, &made.git_dir, &made.path).and_then(|lock| {
        drop(serial);
        let warnings = fill(context, session, &made, &lock)?;
        let session = bind(context, session, holder, &made, &session.anchor_state)?;
        context.repo.finish_worktree(&made)?;
        drop(lock);
        Ok(Provided { session, warnings })
    });
    made_whole.inspect_err(|_| discard(context, &made))
}

/// Removes a worktree that never was whole. Should that fail too, the next owner does it.
fn discard(context: &Context<'_>, made: &Linked) {
    let _serial = serial(context);
    let _ = context.repo.remove_worktree(made, &Holds::Nothing);
}

/// Removes the worktree that was just made for a reservation that is taken back.
pub fn take_back(context: &Context<'_>, session: &Session) {
    let _serial = serial(context);
    if let Some(linked) = worktree_of(context, session) {
        let _ = retire_linked(context, &linked, &session.thread);
    }
}

/// Files, hooks, what is to be brought along, and the setup commands.
fn fill(
    context: &Context<'_>,
    session: &Session,
    made: &Linked,
    captures: &FileLock,
) -> Result<Vec<String>, Error> {
    context.repo.fill_worktree(made, &session.anchor_state, captures)?;
    let main = context.repo.common_dir().parent();
    let source = context.repo.worktree().or_else(|| main.filter(|folder| folder.join(".git").is_dir()));
    let mut warnings = match source {
        Some(source) => crate::ops::bring::bring(context, source, made)?,
        None => Vec::new(),
    };
    let environment =
        [("HEDDLE_SESSION", session.session_id.as_str()), ("HEDDLE_THREAD", session.thread.as_str())];
    for command in &context.settings.worktree_setup {
        let log = context.layout.setup_log(&session.session_id);
        let run = checks::run_with(command, &made.path, &log, &environment)?;
        if !run.ok() {
            let how = match run.status {
                CheckStatus::Exited(code) => format!("exit code {code}"),
                CheckStatus::Signaled(_) => "a signal".to_owned(),
            };
            let hint = format!("its output is in {}", log.display());
            return Err(Error::Refused {
                message: format!("heddle.worktreeSetup '{command}' failed ({how})"),
                hint: Some(hint),
            });
        }
    }
    if !context.settings.worktree_setup.is_empty() {
        let changed = context.repo.uncommitted(made)?;
        if !changed.is_empty() {
            warnings.push(format!("heddle.worktreeSetup left uncommitted changes: {}", listed(&changed)));
        }
    }
    Ok(warnings)
}

/// Ties the worktree to the session. The binding is the moment from which the worktree is
/// whole; the session's own word for it only spares looking for it.
fn bind(
    context: &Context<'_>,
    session: &Session,
    holder: &Holder,
    linked: &Linked,
    head: &CommitId,
) -> Result<Session, Error> {
    let owned = lock_owned(context, &session.session_id)?;
    let tip = owned.thread().tip()?.unwrap_or_else(|| session.anchor_state.clone());
    let (id, thread) = (session.session_id.clone(), owned.session().thread.clone());
    // What its HEAD has beyond the tip was made by hand, and the next capture is to adopt it.
    let goes_on = context.repo.descends_from(head, &tip)?;
    let base_head = if goes_on { tip.clone() } else { head.clone() };
    let binding = Binding { made: true, ..Binding::new(id, thread, tip, base_head) };
    binding.write(&linked.git_dir, context.durability())?;
    let path = linked.path.canonicalize().unwrap_or_else(|_| linked.path.clone());
    owned.note(|session| {
        session.path = Some(path);
        session.worktree = Some(linked.id.clone());
        session.holder = holder.clone();
    })
}

/// The commit that the worktree's HEAD is at.
///
/// # Errors
/// [`GitError`].
pub fn head_of(linked: &Linked) -> Result<CommitId, Error> {
    match Repo::at(&linked.path)?.head()? {
        Head::Branch { commit, .. } | Head::Detached { commit } => Ok(commit),
        Head::Unborn { .. } => Err(GitError::Unborn.into()),
    }
}

/// How the last owner left a worktree.
struct Left {
    /// Whether it stands at the tip already, detached.
    at_tip: bool,
    /// What is in it that is not on the thread, in words; `None` is nothing.
    work: Option<String>,
}

/// Looks at the worktree that the last owner of `thread` left.
///
/// # Errors
/// [`Error::Refused`] if somebody still works in it, or if there is work in it that the next
/// owner did not ask for, or that cannot go on from the thread's tip.
fn left(
    context: &Context<'_>,
    thread: &ThreadName,
    tip: &CommitId,
    linked: &Linked,
    resume: bool,
) -> Result<Left, Error> {
    let path = &linked.path;
    let refused = |message: String, hint: &str| Error::Refused { message, hint: Some(hint.to_owned()) };
    if let Some(pid) = last_command(context, linked)? {
        return Err(refused(
            format!(
                "the worktree of thread '{thread}' at {path:?} may still be in use: its last command, process {pid}, lives"
            ),
            "end that process, or give another path: --worktree=PATH",
        ));
    }
    // Whoever asks may well stand in it.
    let leads_here = ancestors();
    if let Some(other) = inhabitants(path).iter().find(|other| !leads_here.contains(&other.pid)) {
        return Err(refused(
            format!(
                "the worktree of thread '{thread}' at {path:?} is still in use by process {} ({})",
                other.pid, other.name
            ),
            "end that process, or give another path: --worktree=PATH",
        ));
    }
    let state = Repo::at(path)?.head()?;
    let head = head_of(linked)?;
    let uncommitted = context.repo.uncommitted(linked)?;
    let operation = context.repo.operation_in(linked)?;
    let on_thread = head == *tip || context.repo.descends_from(tip, &head)?;
    if uncommitted.is_empty() && operation.is_none() && on_thread {
        let at_tip = head == *tip && matches!(state, Head::Detached { .. });
        return Ok(Left { at_tip, work: None });
    }
    let work = reasons(uncommitted, operation, (!on_thread).then_some(&head)).join("; ");
    // A capture that died before HEAD followed: the content stands for the tip, and the next
    // capture has HEAD follow.
    let captured = Binding::read(&linked.git_dir)?.is_some_and(|b| b.base == *tip && b.base_head == head);
    let goes_on = captured || head == *tip || context.repo.descends_from(&head, tip)?;
    if resume && goes_on {
        return Ok(Left { at_tip: true, work: Some(work) });
    }
    if resume {
        return Err(refused(
            format!(
                "the worktree of thread '{thread}' at {path:?} was left with {work}, and with its HEAD at {}, to which the thread's tip does not lead",
                head.short()
            ),
            "'git -C <path> stash -u' puts the work aside, and git checkout --detach with the thread's ref brings HEAD back; --worktree=PATH makes another",
        ));
    }
    Err(refused(
        format!("the worktree of thread '{thread}' at {path:?} was left with {work}"),
        "--resume takes it as it is; --worktree=PATH makes another; 'git -C <path> stash -u' puts it aside",
    ))
}

/// The command that was last run for the session that the worktree served, if it may live.
fn last_command(context: &Context<'_>, linked: &Linked) -> Result<Option<u32>, Error> {
    let Some(binding) = Binding::read(&linked.git_dir)? else { return Ok(None) };
    let session = context.registry.read(&binding.session)?;
    let session = session.filter(|session| command_may_live(session, context.platform));
    Ok(session.and_then(|session| match session.holder {
        Holder::Lock { command, .. } => command.map(|command| command.pid),
        Holder::Lease | Holder::Process { .. } => None,
    }))
}

/// Brings the last owner's worktree to the tip for the next; what the next should know.
fn hand_on(
    context: &Context<'_>,
    session: &Session,
    linked: &Linked,
    resume: bool,
) -> Result<Vec<String>, Error> {
    let left = left(context, &session.thread, &session.anchor_state, linked, resume)?;
    if !left.at_tip {
        context.repo.move_worktree(linked, &session.anchor_state)?;
    }
    let path = &linked.path;
    let taken = |work| format!("the worktree at {path:?} was taken over as it was left: {work}");
    Ok(left.work.map(taken).into_iter().collect())
}

/// What keeps a worktree from being clean, in words.
fn reasons(
    uncommitted: Vec<String>,
    operation: Option<&'static str>,
    unadopted: Option<&CommitId>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if !uncommitted.is_empty() {
        reasons.push(format!("uncommitted changes in {}", listed(&uncommitted)));
    }
    if let Some(operation) = operation {
        reasons.push(format!("{operation} in progress"));
    }
    if let Some(commit) = unadopted {
        reasons.push(format!("commits up to {} that are not on the thread", commit.short()));
    }
    reasons
}

/// Some names, and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
