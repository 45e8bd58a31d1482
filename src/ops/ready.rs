//! Declaring a thread ready: capture what is dirty, check what would land, and mark the
//! very commit that was checked.
//!
//! Merging and checks run without the thread's lock; the mark is set under it, only if the
//! session is still the owner and the tip still the commit that was checked.

use std::path::PathBuf;

use super::acting::{Acting, Claim, begin};
use super::capture::{self, Captured};
use super::checks::{self, CheckRun, CheckStatus};
use super::readiness::{Findings, examine};
use super::worktrees;
use crate::context::Context;
use crate::error::Error;
use crate::git::target::{Target, default_target};
use crate::git::{GitError, Repo};
use crate::names::{CommitId, SessionId, TreeId};
use crate::session::Session;
use crate::store::events::{self, Event};
use crate::thread::ThreadRecord;
use crate::thread::owned::rfc3339;

/// How to go about it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The message of the capture, if one is made.
    pub message: Option<String>,
    /// Capture nothing.
    pub no_capture: bool,
    /// Skip hooks of that capture.
    pub no_verify: bool,
    /// The folder the command runs in.
    pub cwd: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The session afterwards.
    pub session: Session,
    /// The commit that was checked.
    pub commit: CommitId,
    /// What was captured on the way.
    pub captured: Option<Captured>,
    /// What commits and refs tell, and what its checks added to that.
    pub findings: Findings,
    /// The repository's own checks.
    pub checks: Vec<CheckRun>,
}

/// Checks the session's thread and marks it ready if nothing blocks it.
///
/// # Errors
/// As for capture; a blocked thread is not an error.
pub fn ready(context: &Context<'_>, claim: &Claim, request: &Request) -> Result<Report, Error> {
    let acting = begin(context, claim)?;
    // A target that is not there refuses it all, before anything is captured.
    target_of(context, &acting.session)?;
    let mut warnings = Vec::new();
    let captured = if request.no_capture {
        None
    } else {
        capture_dirty(context, claim, &acting, request, false, &mut warnings)?
    };
    if let Some(captured) = &captured {
        warnings.extend(captured.warnings.iter().cloned());
    }
    let seen = match (&captured, context.settings.ready_commands.is_empty()) {
        (_, true) => None,
        (Some(captured), _) => Some(Ok(captured.tree.clone())),
        (None, _) => Some(content(context, claim, &acting, request)),
    };
    let mut report = inspect(context, &acting, seen, warnings)?;
    report.captured = captured;
    if report.findings.blockers.is_empty() {
        let message = format!("heddle: ready by {}", acting.session.session_id);
        let marked = acting.lock(context)?.mark_ready(&report.commit, &message);
        report.session = marked.map_err(|error| match error {
            Error::Git(GitError::RefMoved { .. }) => Error::Drift {
                message: format!(
                    "thread '{}' moved while it was checked; nothing was marked",
                    acting.session.thread
                ),
                hint: Some("run it again".to_owned()),
            },
            error => error,
        })?;
    } else {
        report.session = acting.lock(context)?.renew(|_| {})?;
        tell_blocked(context, &report);
    }
    Ok(report)
}

/// Captures what is dirty in the session's own worktree, wherever the command runs; or, with
/// `dry_run`, looks at what would be captured.
fn capture_dirty(
    context: &Context<'_>,
    claim: &Claim,
    acting: &Acting,
    request: &Request,
    dry_run: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Captured>, Error> {
    let wanted = capture::Request {
        message: request.message.clone(),
        no_verify: request.no_verify,
        cwd: request.cwd.clone(),
        everything: true,
        dry_run,
        ..capture::Request::default()
    };
    let place = worktrees::path_of(context, &acting.session);
    match (place, &acting.session.path) {
        (Some(path), _) if context.repo.worktree() == Some(&path) => {
            capture::capture(context, claim, &wanted).map(Some)
        }
        (Some(path), _) => {
            let repo = Repo::at(&path)?;
            let there = Context::new(&repo, context.platform, context.command)?;
            let wanted = capture::Request { cwd: path.clone(), ..wanted };
            capture::capture(&there, claim, &wanted).map(Some)
        }
        (None, Some(path)) => {
            warnings.push(format!("worktree {path:?} is gone; nothing was captured from it"));
            Ok(None)
        }
        // Nothing was captured yet, so no worktree is known to be this session's. The one
        // the command runs in may be captured only if it stands where the thread does.
        (None, None) if context.repo.worktree().is_none() => Ok(None),
        (None, None) => match capture::capture(context, claim, &wanted) {
            Err(Error::Drift { message, .. }) => {
                warnings.push(format!("nothing was captured: {message}"));
                Ok(None)
            }
            captured => captured.map(Some),
        },
    }
}

/// What lies in the session's worktree, where the checks are to run; or why nobody can tell.
fn content(
    context: &Context<'_>,
    claim: &Claim,
    acting: &Acting,
    request: &Request,
) -> Result<TreeId, String> {
    let looked = capture_dirty(context, claim, acting, request, true, &mut Vec::new());
    match looked {
        Ok(Some(looked)) => Ok(looked.tree),
        Ok(None) => Err("there is no worktree of the session's".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Looks at the tip from all sides. Writes nothing but the logs of checks, which run only where
/// the tip is what lies in the worktree: what was `seen` there.
fn inspect(
    context: &Context<'_>,
    acting: &Acting,
    seen: Option<Result<TreeId, String>>,
    mut warnings: Vec<String>,
) -> Result<Report, Error> {
    let session = &acting.session;
    let thread = &session.thread;
    let tip = context.repo.read_ref(&thread.tip_ref())?.ok_or_else(|| Error::Drift {
        message: format!("thread '{thread}' has no tip any more: its ref was deleted"),
        hint: None,
    })?;
    let target = target_of(context, session)?;
    let mut findings = examine(context, thread, &tip, target, Some(&session.anchor_state))?;
    warnings.append(&mut findings.warnings);
    findings.warnings = warnings;
    let fault = match seen {
        None => None,
        Some(Err(why)) => Some(why),
        Some(Ok(tree)) if tree == context.repo.resolve(tip.as_str())?.tree => None,
        Some(Ok(_)) => Some("the worktree is not what the thread's tip is".to_owned()),
    };
    let checks = if fault.is_none() { run_checks(context, session)? } else { Vec::new() };
    // What was not checked is not marked.
    findings.blockers.extend(fault.map(|why| format!("heddle.readyCommand could not run: {why}")));
    for check in checks.iter().filter(|check| !check.ok()) {
        let how = match check.status {
            CheckStatus::Exited(code) => format!("exit code {code}"),
            CheckStatus::Signaled(Some(signal)) => format!("signal {signal}"),
            CheckStatus::Signaled(None) => "a signal".to_owned(),
        };
        findings.blockers.push(format!(
            "check '{}' failed ({how}); its output is in {}",
            check.command,
            check.log.display()
        ));
    }
    Ok(Report { session: session.clone(), commit: tip, captured: None, findings, checks })
}

/// The branch that the session's thread is meant to land on, if there is one.
fn target_of(context: &Context<'_>, session: &Session) -> Result<Option<Target>, Error> {
    let record = ThreadRecord::read(&context.layout, &session.thread)?;
    let configured = record.and_then(|record| record.target).or_else(|| context.settings.target.clone());
    Ok(default_target(context.repo, configured.as_deref(), session.head_branch.as_deref())?)
}

/// Runs the repository's own checks in the session's worktree.
fn run_checks(context: &Context<'_>, session: &Session) -> Result<Vec<CheckRun>, Error> {
    let own = worktrees::path_of(context, session);
    let Some(path) = own.as_deref().or(context.repo.worktree()) else { return Ok(Vec::new()) };
    let id: &SessionId = &session.session_id;
    let log = |number| context.layout.check_log(id, number);
    Ok(checks::run_all(&context.settings.ready_commands, path, log)?)
}

/// Notes in the event log that the thread was found blocked.
fn tell_blocked(context: &Context<'_>, report: &Report) {
    let Ok(id) = context.operation_id() else { return };
    let session = &report.session;
    let event = Event {
        id,
        at: rfc3339(context.platform.now().wall),
        event: "blocked".to_owned(),
        thread: session.thread.as_str().to_owned(),
        session: session.session_id.as_str().to_owned(),
        generation: Some(session.generation.get()),
        commit: Some(report.commit.as_str().to_owned()),
        status: None,
    };
    events::append(&context.layout.events(), &event);
}
