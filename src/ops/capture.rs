//! Committing a worktree on a thread.
//!
//! Everything slow happens without the thread's lock: staging, hooks, signing. Then, under
//! the lock, the session is validated again and the tip compared and swapped; whoever lost
//! the thread or the race meanwhile leaves an unreferenced commit and nothing else. The
//! worktree's own lock is held throughout, so that two captures of one worktree follow each
//! other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::acting::{Acting, Claim, begin, current, repair};
use super::impact::{Impact, impact};
use super::merging::{self, Merging};
use super::watched::Watched;
use crate::context::Context;
use crate::error::Error;
use crate::git::changed::How;
use crate::git::commit::with_trailers;
use crate::git::diff::{Change, changed};
use crate::git::follow::Named;
use crate::git::moving::Checkout;
use crate::git::only::Paths;
use crate::git::repo::{Head, Resolved};
use crate::git::stage::{Limits, Scope, Staging, own_index};
use crate::git::trailers::without_claims;
use crate::git::unfinished::{state_fault, unmerged_fault};
use crate::git::{GitError, Repo, upkeep};
use crate::names::{CommitId, ThreadName, TreeId, shell_word};
use crate::session::Session;
use crate::session::binding::Binding;
use crate::store::atomic_file::Durability;
use crate::thread::LockedThread;
use crate::thread::locked::liveness_of;
use crate::thread::owned::BoundWorktree;
use crate::watch::remove_stale;

/// What to capture, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The message; `None` makes one from the task.
    pub message: Option<String>,
    /// How sure the agent is of its work, 0 to 1.
    pub confidence: Option<f64>,
    /// Commit even if nothing changed.
    pub allow_empty: bool,
    /// Skip `pre-commit` and `commit-msg`.
    pub no_verify: bool,
    /// Stop before hooks and commit.
    pub dry_run: bool,
    /// Only these paths, relative to `cwd`; empty is everything.
    pub pathspec: Vec<OsString>,
    /// The folder that `pathspec` is relative to.
    pub cwd: PathBuf,
    /// Look at everything, whatever a watcher saw.
    pub everything: bool,
}

/// What was captured.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The session afterwards.
    pub session: Session,
    /// Whether there is a new commit on the thread.
    pub captured: bool,
    /// The commit that the thread is at.
    pub commit: CommitId,
    /// Its tree; with a dry run the tree that would be captured.
    pub tree: TreeId,
    /// The tip before.
    pub parent: CommitId,
    /// The message as committed.
    pub message: Option<String>,
    /// What changed against `parent`.
    pub changes: Vec<Change>,
    /// What those changes touch.
    pub impact: Impact,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// How it was done, for whoever wants to know.
    pub notes: Vec<String>,
}

/// Captures the worktree of `context.repo` on the session's thread.
///
/// # Errors
/// [`crate::session::SessionError`] if the session is lost, before or after staging;
/// [`Error::Usage`] for a path that Git does not take; [`Error::Drift`] if thread or worktree are elsewhere; [`GitError`] for what Git refuses.
pub fn capture(context: &Context<'_>, claim: &Claim, request: &Request) -> Result<Captured, Error> {
    let captured = capture_here(context, claim, request)?;
    // Nothing is locked any more.
    if captured.captured {
        upkeep::tend(context.repo);
    }
    Ok(captured)
}

/// As [`capture`], without what Git does after a commit.
fn capture_here(context: &Context<'_>, claim: &Claim, request: &Request) -> Result<Captured, Error> {
    let repo = context.repo;
    let Some(worktree) = repo.worktree() else {
        return Err(GitError::Bare { path: repo.git_dir().to_owned() }.into());
    };
    let acting = begin(context, claim)?;
    let _captures = super::worktrees::lock_captures(context, repo.git_dir(), worktree)?;
    let here = Checkout { path: worktree.to_owned(), git_dir: repo.git_dir().to_owned() };
    let cleared_up = super::moves::recover(context, &here)?;
    // The capture that we waited for may have died between the ref and the binding.
    repair(context, &acting.session.thread)?;
    let mut ground = stand(context, &acting.session, worktree)?;
    ground.merging = merging(repo, &acting.session, request, &ground)?;
    if ground.merging.is_none()
        && let Some(fault) = state_fault(repo)?
    {
        return Err(unfinished(fault));
    }
    let made = make(context, &acting, request, worktree, &ground);
    let mut captured = made.map_err(|error| fault_of_paths(repo, request, error))?;
    // After it was asked in vain, which is told.
    remove_stale(repo.git_dir());
    captured.warnings.extend(cleared_up);
    Ok(captured)
}

/// What Git said of the paths that were given, if it is they that it does not take, instead of the
/// `error` that it ended with.
fn fault_of_paths(repo: &Repo, request: &Request, error: Error) -> Error {
    if !matches!(error, Error::Git(GitError::Program { .. })) || request.pathspec.is_empty() {
        return error;
    }
    match repo.fault_of_pathspecs(&request.pathspec, &request.cwd) {
        Ok(Some(fault)) => Error::Usage { message: format!("bad path: {fault}") },
        Ok(None) | Err(_) => error,
    }
}

/// The refusal for what is in progress here, or not merged.
fn unfinished(fault: String) -> Error {
    Error::Refused { message: fault, hint: Some("finish or abort it first; nothing was captured".to_owned()) }
}

/// The commit that a refresh began to merge in this worktree, where it is to be committed now.
fn merging(
    repo: &Repo,
    session: &Session,
    request: &Request,
    ground: &Ground,
) -> Result<Option<CommitId>, Error> {
    let Some(Merging { commit, .. }) = merging::of(repo)? else { return Ok(None) };
    if repo.contains(&ground.tip, &commit)? {
        // The capture that took it died before it said so.
        if !request.dry_run {
            merging::done(repo)?;
        }
        return Ok(None);
    }
    let refused = |message: String, hint: String| Error::Refused { message, hint: Some(hint) };
    if let Some(fault) = unmerged_fault(repo)? {
        let word = shell_word(session.thread.as_str());
        let hint =
            format!("resolve and 'git add' them; git heddle thread refresh {word} --abort gives it up");
        return Err(refused(fault, hint));
    }
    if !request.pathspec.is_empty() {
        let message = "cannot capture only some paths during a merge".to_owned();
        return Err(refused(message, "capture everything, without paths".to_owned()));
    }
    Ok(Some(commit))
}

/// Where a capture starts from.
struct Ground {
    /// The thread's tip.
    tip: CommitId,
    /// The commit that the new one is put on: the tip, or commits made by hand on top of it.
    parent: Resolved,
    /// The worktree's HEAD.
    head: CommitId,
    /// Whether heddle made this worktree, so that its HEAD and index follow.
    follows: bool,
    /// The commit that a refresh merges here, and whose conflicts are resolved.
    merging: Option<CommitId>,
}

/// Checks that worktree, thread and session are where they left each other.
fn stand(context: &Context<'_>, session: &Session, worktree: &Path) -> Result<Ground, Error> {
    let repo = context.repo;
    let id = &session.session_id;
    if let Some(path) = super::worktrees::path_of(context, session).filter(|path| path != worktree) {
        return Err(Error::Drift {
            message: format!("agent session '{id}' captures from worktree {path:?}, not from {worktree:?}"),
            hint: Some(format!(
                "run it there: git -C {} heddle agent capture",
                shell_word(&path.to_string_lossy())
            )),
        });
    }
    if session.worktree.is_some()
        && !super::worktrees::worktree_of(context, session).is_some_and(|w| w.is_there())
    {
        // Nobody meant what lies in any other.
        let path = session.path.as_deref().unwrap_or(Path::new(""));
        let thread = shell_word(session.thread.as_str());
        return Err(Error::Drift {
            message: format!("agent session '{id}' captures from the worktree {path:?}, which is gone"),
            hint: Some(format!(
                "what was captured is on the thread: release the session, and git heddle agent reserve --thread {thread} --resume --worktree makes another"
            )),
        });
    }
    let tip = repo.read_ref(&session.thread.tip_ref())?.ok_or_else(|| Error::Drift {
        message: format!("thread '{}' has no tip any more: its ref was deleted", session.thread),
        hint: None,
    })?;
    let (head, is_detached) = head_commit(repo)?;
    let thread = &session.thread;
    let binding = binding_of(context, session)?;
    let follows = binding.as_ref().is_some_and(|binding| binding.made);
    // Whose HEAD is at the tip was brought there by Git, with its files, after the owner had moved
    // the thread by hand. (A branch may have been moved from elsewhere, without any files.)
    let taken_over = follows && is_detached && head == tip;
    let parent = match binding {
        Some(binding) if binding.base != tip && !taken_over => {
            let base = &binding.base;
            return Err(Error::Drift {
                message: format!(
                    "thread '{thread}' is at {tip}, but this worktree's content stands for {base}"
                ),
                hint: Some(if follows {
                    let word = shell_word(thread.as_str());
                    format!("git heddle thread refresh {word} brings the worktree to the thread's tip")
                } else {
                    to_tip(thread)
                }),
            });
        }
        Some(binding) if head == binding.base_head => tip.clone(),
        _ if head == tip => tip.clone(),
        Some(_) | None if repo.descends_from(&head, &tip)? => head.clone(),
        None if repo.resolve(head.as_str())?.tree == repo.resolve(tip.as_str())?.tree => tip.clone(),
        _ => {
            // A rebase takes HEAD along, and back.
            if let Some(fault) = state_fault(repo)? {
                return Err(unfinished(fault));
            }
            return Err(Error::Drift {
                message: format!("thread '{thread}' is at {tip}, but this worktree's HEAD is at {head}"),
                hint: Some(to_tip(thread)),
            });
        }
    };
    let parent = repo.resolve(parent.as_str())?;
    Ok(Ground { tip, parent, head, follows, merging: None })
}

/// How a worktree of the user's comes to the tip of `thread`.
fn to_tip(thread: &ThreadName) -> String {
    let tip = shell_word(&thread.tip_ref());
    format!(
        "stash what is not captured, then bring the worktree to the thread's tip: git checkout --detach {tip}"
    )
}

/// The commit that HEAD is at, and whether it is on no branch.
fn head_commit(repo: &Repo) -> Result<(CommitId, bool), GitError> {
    match repo.head()? {
        Head::Branch { commit, .. } => Ok((commit, false)),
        Head::Detached { commit } => Ok((commit, true)),
        Head::Unborn { .. } => Err(GitError::Unborn),
    }
}

/// The session's binding to this worktree, if it has one; a worktree that serves another
/// live session is refused.
fn binding_of(context: &Context<'_>, session: &Session) -> Result<Option<Binding>, Error> {
    let Some(binding) = Binding::read(context.repo.git_dir())? else { return Ok(None) };
    if binding.session == session.session_id {
        return Ok(Some(binding));
    }
    match current(context, &binding.session) {
        Ok(other) if liveness_of(context, &other).may_live() => {
            let worktree = context.repo.worktree().unwrap_or_else(|| context.repo.git_dir());
            Err(Error::WorktreeBusy { worktree: worktree.to_owned(), owner: binding.session })
        }
        Ok(_) | Err(Error::Session(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stages, runs hooks, commits, and moves the thread.
fn make(
    context: &Context<'_>,
    acting: &Acting,
    request: &Request,
    worktree: &Path,
    ground: &Ground,
) -> Result<Captured, Error> {
    let repo = context.repo;
    let id = &acting.session.session_id;
    let before = own_index(repo);
    let watched = consult(context, acting, request, ground)?;
    let Ready { mut staging, mut warnings, notes } = stage(context, request, ground, &watched)?;
    let mut tree = staging.write_tree()?;
    let mut settles = !request.dry_run && staging.hangs_on_files();
    let base_tree = repo.resolve(ground.tip.as_str())?.tree;
    let adopted = ground.parent.commit != ground.tip;
    let unchanged = tree == ground.parent.tree && !request.allow_empty && ground.merging.is_none();
    if !unchanged && !request.dry_run && !request.no_verify && staging.run_pre_commit()? {
        let before = std::mem::replace(&mut tree, staging.write_tree()?);
        settles &= tree == before;
    }
    let mut result = Captured {
        session: acting.session.clone(),
        captured: false,
        commit: ground.tip.clone(),
        parent: ground.tip.clone(),
        message: None,
        changes: Vec::new(),
        impact: Impact::default(),
        warnings: Vec::new(),
        notes,
        tree,
    };
    let commits = (!unchanged || adopted) && !request.dry_run;
    if !unchanged || adopted {
        result.changes = changed(repo, &base_tree, &result.tree)?;
        result.impact = impact(&result.changes.iter().map(|change| &change.path).collect::<Vec<_>>());
    }
    if commits {
        let new = if unchanged {
            ground.parent.commit.clone()
        } else {
            let message = message(acting, request);
            let message = if request.no_verify { message } else { staging.run_commit_msg(&message)? };
            if message.trim().is_empty() {
                let message = "hook commit-msg left an empty message".to_owned();
                return Err(Error::Refused { message, hint: Some("nothing was captured".to_owned()) });
            }
            let parents: Vec<&CommitId> =
                std::iter::once(&ground.parent.commit).chain(&ground.merging).collect();
            let commit = staging.commit(&result.tree, &parents, &message)?;
            result.message = Some(message);
            commit
        };
        if adopted {
            repo.sync_commits(&ground.parent.commit, &ground.tip)?;
        }
        let bound = BoundWorktree { git_dir: repo.git_dir(), head: &ground.head };
        let owned = acting.lock(context)?;
        let reflog = format!("heddle: capture by {id} (generation {})", acting.session.generation);
        let path = worktree.to_owned();
        let advanced = owned.advance(&ground.tip, &new, &reflog, &bound, |session| session.path = Some(path));
        result.session = advanced.map_err(|error| lost_race(error, acting))?;
        result.captured = true;
        result.commit = new;
    } else {
        result.session = acting.lock(context)?.renew(|_| {})?;
    }
    if ground.follows && !request.dry_run {
        let changed: Vec<Vec<u8>> = result.changes.iter().map(|change| change.path.clone()).collect();
        let named = Named { changed: &changed, pathspec: &request.pathspec, cwd: &request.cwd };
        let named = (!request.pathspec.is_empty()).then_some(&named);
        warnings.extend(staging.follow(&ground.head, &result.commit, named));
        if let Err(error) = note_head(context, &acting.session, &result.commit) {
            warnings.push(format!("that HEAD followed could not be noted: {error}"));
        }
    }
    if ground.merging.is_some()
        && result.captured
        && let Err(error) = merging::done(repo)
    {
        warnings.push(format!("the merge is on the thread, and Git still counts it as in progress: {error}"));
    }
    if (result.captured || ground.follows) && !request.dry_run && !staging.has_strayed() {
        staging.keep_index(&result.commit);
    }
    if settles {
        // Where it follows, it is what was captured; where not, it was looked at as it was.
        let index = if ground.follows { own_index(repo) } else { before };
        watched.settle(repo, id, &result.commit, [staging.plain_index(), index]);
    }
    if adopted {
        warnings.push("commits made by hand on this worktree's HEAD were adopted".to_owned());
    }
    result.warnings = warnings;
    Ok(result)
}

/// Notes that HEAD followed the capture, so that where it was before counts as elsewhere again.
///
/// If the process dies here: HEAD is at the tip, which is where it may be whatever is noted. If the
/// power goes: as if HEAD had not followed yet.
fn note_head(context: &Context<'_>, session: &Session, commit: &CommitId) -> Result<(), Error> {
    let git_dir = context.repo.git_dir();
    if head_commit(context.repo)?.0 != *commit {
        return Ok(());
    }
    let _locked = LockedThread::take(context, &session.thread)?;
    // Somebody may have got the worktree meanwhile.
    let ours = |binding: &Binding| binding.session == session.session_id && binding.base == *commit;
    match Binding::read(git_dir)?.filter(ours) {
        Some(binding) if binding.base_head != *commit => {
            let binding = Binding { base_head: commit.clone(), ..binding };
            Ok(binding.write(git_dir, Durability::ProcessDeath)?)
        }
        _ => Ok(()),
    }
}

/// What a watcher knows, where everything is to be captured.
fn consult(
    context: &Context<'_>,
    acting: &Acting,
    request: &Request,
    ground: &Ground,
) -> Result<Watched, Error> {
    if !context.settings.watch || !request.pathspec.is_empty() || ground.merging.is_some() {
        return Ok(Watched::not_asked());
    }
    let mut watched = Watched::consult(context, &acting.session, &ground.parent.commit)?;
    if let Some(changed @ Ok(_)) = watched.changed.as_mut().filter(|_| request.everything) {
        *changed = Err("everything is looked at before it is declared ready".to_owned());
    }
    Ok(watched)
}

/// What is staged.
struct Ready<'a> {
    staging: Staging<'a>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

/// Stages what changed, as far as that is known, what the request names, or everything.
fn stage<'a>(
    context: &Context<'a>,
    request: &Request,
    ground: &Ground,
    watched: &Watched,
) -> Result<Ready<'a>, Error> {
    let repo = context.repo;
    // What is new to a merge is not new to the repository.
    let max_new_file_size = if ground.merging.is_some() { 0 } else { context.settings.max_new_file_size };
    let limits = Limits { max_new_file_size };
    let mut notes = Vec::new();
    let why = match &watched.changed {
        None => None,
        Some(Err(why)) => Some(why.clone()),
        Some(Ok(changed)) => {
            let (follows, hooks) = (ground.follows, !request.no_verify);
            let (plain, index) = (watched.plain, watched.index);
            let how = How { changed, follows, hooks, limits, plain, index };
            match Staging::of_changed(repo, &ground.parent.commit, &how)? {
                Ok((staging, warnings)) => {
                    notes.push(format!("looked at {} paths that changed", changed.len()));
                    return Ok(Ready { staging, warnings, notes });
                }
                Err(why) => Some(why),
            }
        }
    };
    notes.extend(why.map(|why| format!("looked at everything: {why}")));
    let mut staging = match &ground.merging {
        Some(_) => Staging::begin_merged(repo, &ground.parent.commit)?,
        None => begin_staging(repo, ground, request)?,
    };
    let warnings = staging.stage(&scope(ground, request), &limits)?;
    Ok(Ready { staging, warnings, notes })
}

/// The private index: of what the request names, if that is enough, else of everything.
fn begin_staging<'a>(repo: &'a Repo, ground: &Ground, request: &Request) -> Result<Staging<'a>, GitError> {
    let (tip, follows) = (&ground.parent.commit, ground.follows);
    if !request.pathspec.is_empty() {
        let paths = Paths { pathspec: &request.pathspec, cwd: &request.cwd, hooks: !request.no_verify };
        if let Some(staging) = Staging::begin_only(repo, tip, follows, &paths)? {
            return Ok(staging);
        }
    }
    Staging::begin(repo, tip, follows, &scope(ground, request))
}

fn scope<'a>(ground: &'a Ground, request: &'a Request) -> Scope<'a> {
    Scope { pathspec: &request.pathspec, cwd: &request.cwd, head: &ground.head }
}

/// A tip that moved between staging and the lock.
fn lost_race(error: Error, acting: &Acting) -> Error {
    match error {
        Error::Git(GitError::RefMoved { actual, .. }) => {
            let thread = &acting.session.thread;
            let actual = actual.as_ref().map_or("no commit", CommitId::as_str);
            Error::Drift {
                message: format!("thread '{thread}' moved to {actual} while this capture was made"),
                hint: Some(to_tip(thread)),
            }
        }
        error => error,
    }
}

/// The message with the trailers that tell who captured it.
fn message(acting: &Acting, request: &Request) -> String {
    let session = &acting.session;
    let text = request.message.clone().or_else(|| session.task.clone());
    let text = text.unwrap_or_else(|| format!("Capture on {}", session.thread));
    let mut trailers = vec![
        ("Heddle-Thread", session.thread.as_str().to_owned()),
        ("Heddle-Session", session.session_id.as_str().to_owned()),
        ("Heddle-Generation", session.generation.to_string()),
    ];
    let agent = &session.agent;
    let names = [&agent.harness, &agent.provider, &agent.model];
    let who: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    if !who.is_empty() {
        trailers.push(("Heddle-Agent", who.join(" ")));
    }
    if let Some(confidence) = request.confidence {
        trailers.push(("Heddle-Confidence", confidence.to_string()));
    }
    // One that was taken from another commit speaks of that one.
    with_trailers(&without_claims(&text), &trailers)
}
