//! Running a command with a reservation of its own: reserve, run, keep alive, capture what is
//! left, release.
//!
//! # If the process dies here
//! The runner holds the session's lock file, which no child inherits, and the record names
//! the command by pid and start time before the command runs at all. A killed runner whose
//! command lives on still owns the thread; once both are gone the session is dead at once,
//! and what the command wrote lies in its worktree for the next owner. A stopped runner holds
//! its lock.
//!
//! # If another takes the thread now
//! Only a forced release can. The runner sees it by the thread's record, asks the command to
//! end, captures nothing and says so. A command that releases its session itself, or whose
//! thread lands, has lost nothing, and goes on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::acting::{Claim, current, lock_owned};
use super::reserve::{Request, Reserved, reserve};
use super::worktrees::Retirement;
use super::{capture, ready, release, worktrees};
use crate::context::Context;
use crate::error::Error;
use crate::git::Repo;
use crate::git::program::scrub;
use crate::platform::job::{Gate, Happening, How, Job};
use crate::platform::{ProcessState, Watch};
use crate::session::Session;
use crate::session::session::{End, Holder, Process, State};
use crate::settings::Settings;
use crate::store::StoreError;
use crate::watch::Watcher;

/// The longest time between two looks, and between two heartbeats of a long lease.
const LOOK: Duration = Duration::from_secs(60);
/// How long a command runs before its session is watched: to end a watch may take the system 20 ms,
/// which is longer than many commands take.
const SETTLING: Duration = Duration::from_millis(100);

/// What to run, and how.
#[derive(Debug)]
pub struct Plan {
    /// The reservation.
    pub request: Request,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Whether to capture what is left; `None` does so where the work is the session's own.
    pub capture: Option<bool>,
    /// Whether to mark the thread ready after a success.
    pub ready: bool,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// As the command did.
    Command(How),
    /// The command succeeded, and the thread is not ready.
    Blocked {
        /// Why.
        blockers: Vec<String>,
    },
    /// The thread was lost while the command ran.
    Lost {
        /// To whom.
        message: String,
    },
}

/// Reserves, runs the command, and releases. What the caller should know goes to `tell` as
/// it comes.
///
/// # Errors
/// Only before the command was started: as [`reserve`]; [`Error::Refused`] if it cannot be
/// started or recorded.
pub fn run(context: &Context<'_>, plan: &Plan, tell: &dyn Fn(&str)) -> Result<Ended, Error> {
    let reserved = reserve(context, &plan.request)?;
    for warning in &reserved.warnings {
        tell(warning);
    }
    let workplace = workplace(context, &reserved.session);
    let (job, session) = match start(context, plan, &reserved, &workplace) {
        Ok(started) => started,
        Err(error) => {
            release::take_back(context, &reserved.session);
            return Err(error);
        }
    };
    let watcher = watch(context, &session, &workplace);
    let attended = attend(context, &session, job);
    // What the command left is looked for everywhere.
    drop(watcher);
    let how = match attended {
        Attended::Ended(how) => how,
        Attended::Lost(message) => return Ok(Ended::Lost { message }),
    };
    finish(context, plan, &reserved, how, &workplace, tell)
}

/// Where the command works: the session's own worktree, else here.
fn workplace(context: &Context<'_>, session: &Session) -> PathBuf {
    let own = session.worktree.as_ref().and_then(|_| worktrees::path_of(context, session));
    own.unwrap_or_else(|| std::env::current_dir().unwrap_or_default())
}

/// Has the worktree of the workplace watched, unless that is not wanted. Signals are blocked
/// already, so that the thread gets none of the command's.
fn watch(context: &Context<'_>, session: &Session, workplace: &Path) -> Option<Watcher> {
    if !context.settings.watch {
        return None;
    }
    let (worktree, git_dir) = match &session.worktree {
        Some(id) => (workplace.to_owned(), context.repo.common_dir().join("worktrees").join(id)),
        None => (context.repo.worktree()?.to_owned(), context.repo.git_dir().to_owned()),
    };
    let id = context.operation_id().ok()?;
    Watcher::start(&worktree, &git_dir, &session.session_id, id).ok()
}

/// Starts the command: recorded first, and only then let through its gate.
fn start(
    context: &Context<'_>,
    plan: &Plan,
    reserved: &Reserved,
    workplace: &Path,
) -> Result<(Job, Session), Error> {
    let session = &reserved.session;
    let refused = |what: &str, error: std::io::Error| Error::Refused {
        message: format!("cannot {what} the command: {error}"),
        hint: None,
    };
    let gate = Gate::start(&plan.command, |command| {
        if session.worktree.is_some() {
            // What names the worktree that we were started in is not for this one.
            scrub(command);
        }
        command
            .current_dir(workplace)
            .env("HEDDLE_SESSION", session.session_id.as_str())
            .env("HEDDLE_TOKEN", reserved.token.reveal())
            .env("HEDDLE_THREAD", session.thread.as_str())
            .env_remove("HEDDLE_REQUEST_TOKEN");
    })
    .map_err(|error| refused("start", error))?;
    let recorded = match context.platform.process(gate.pid()) {
        ProcessState::Running { start_time, .. } => {
            let command = Process { pid: gate.pid(), start_time };
            let place = Some(context.platform.place().clone());
            lock_owned(context, &session.session_id).and_then(|owned| {
                owned.note(|session| session.holder = Holder::Lock { command: Some(command), place })
            })
        }
        ProcessState::Gone | ProcessState::Unknown => {
            Err(refused("look at", std::io::Error::other("its process cannot be seen")))
        }
    };
    match recorded {
        Ok(session) => Ok((gate.open().map_err(|error| refused("start", error))?, session)),
        Err(error) => {
            gate.close();
            Err(error)
        }
    }
}

/// How the attendance ended.
enum Attended {
    Ended(How),
    Lost(String),
}

/// Stays with the command until it ends, and keeps its session alive.
fn attend(context: &Context<'_>, session: &Session, mut job: Job) -> Attended {
    let mut watch = None;
    // Nobody passes signals on while we wait for a lock.
    let settings = Settings { lock_timeout: Duration::ZERO, ..context.settings.clone() };
    let (layout, registry) = (context.layout.clone(), context.registry.clone());
    let hasty = Context { settings, layout, registry, ..*context };
    let pause = (Duration::from_secs(session.ttl_seconds.get()) / 3).min(LOOK);
    let mut renewed = Instant::now();
    let mut lost = None;
    let mut first = true;
    loop {
        let left = pause.saturating_sub(renewed.elapsed()).max(SETTLING);
        match job.wait(watch.as_ref(), if first { SETTLING } else { left }) {
            Happening::Ended(how) => {
                return lost.map_or(Attended::Ended(how), Attended::Lost);
            }
            Happening::Look if lost.is_some() => {}
            Happening::Look => {
                // Watched before it is looked at, so that nothing is missed in between.
                if std::mem::take(&mut first) {
                    watch = Watch::new(&context.layout.threads()).ok();
                }
                lost = lost_to(context, session);
                if lost.is_some() {
                    job.terminate();
                } else if renewed.elapsed() >= pause {
                    renewed = Instant::now();
                    // A thread that is busy just now is renewed the next time: the lock that
                    // we hold keeps the session alive.
                    let owned = lock_owned(&hasty, &session.session_id);
                    let _ = owned.and_then(crate::thread::OwnedThread::beat);
                }
            }
        }
    }
}

/// Who has the thread now, if it is lost for certain: what cannot be read is not, nor what
/// the command itself has released.
fn lost_to(context: &Context<'_>, session: &Session) -> Option<String> {
    let id = &session.session_id;
    let Err(Error::Session(fault)) = current(context, id) else { return None };
    let now = context.registry.read(id).ok()?;
    if now.is_some_and(|now| !now.is_active() && !now.taken) {
        return None;
    }
    Some(format!("the reservation was lost while the command ran: {fault}"))
}

/// Captures, marks ready, releases.
fn finish(
    context: &Context<'_>,
    plan: &Plan,
    reserved: &Reserved,
    how: How,
    workplace: &Path,
    tell: &dyn Fn(&str),
) -> Result<Ended, Error> {
    let id = &reserved.session.session_id;
    let claim = Claim { session: id.clone(), token: Some(reserved.token.clone()) };
    // What it captured itself tells where it works.
    let session = context.registry.read(id).ok().flatten().unwrap_or_else(|| reserved.session.clone());
    let own = session.worktree.is_some() || session.path.is_some();
    let capture = plan.capture.unwrap_or(own);
    let ended = !session.is_active();
    let mut blockers = Vec::new();
    if capture
        && !ended
        && let Err(error) = capture_left(context, &claim, &session, how, workplace, tell)
    {
        tell(&format!("what the command left was not captured: {error}"));
        // The tip is not all of the work, so that it is not what would be declared ready.
        blockers.push("what the command left was not captured".to_owned());
    }
    if !(plan.ready && how.ok()) || (ended && is_ready(context, &session)) {
        blockers.clear();
    } else if blockers.is_empty() {
        let request = ready::Request { no_capture: true, cwd: workplace.to_owned(), ..Default::default() };
        match ready::ready(context, &claim, &request) {
            Ok(report) => {
                report.findings.warnings.iter().for_each(|warning| tell(warning));
                blockers = report.findings.blockers;
            }
            Err(error) => blockers = vec![error.to_string()],
        }
    }
    let end = match session.state {
        State::Active if how.ok() => End::Complete,
        State::Active | State::Replaced => End::Abandoned,
        // Landed, or released by the command itself: that is no loss. Asked again, what was in
        // the worktree's way may be gone: the command.
        State::Ended { end, .. } => end,
    };
    match release::release(context, &claim, end, false) {
        Ok(released) => {
            if let Retirement::Kept { path, reasons } = released.worktree {
                tell(&format!("the worktree at {path:?} stays: {}", reasons.join("; ")));
            }
        }
        // It ended while we finished.
        Err(Error::Session(_)) => {}
        Err(error) => tell(&format!("the session was not released: {error}")),
    }
    Ok(if blockers.is_empty() { Ended::Command(how) } else { Ended::Blocked { blockers } })
}

/// Whether a session that has ended left its thread landed or ready.
fn is_ready(context: &Context<'_>, session: &Session) -> bool {
    let at = |name: String| context.repo.read_ref(&name).ok().flatten();
    let mark = at(session.thread.ready_ref());
    matches!(session.state, State::Ended { end: End::Merged, .. })
        || (mark.is_some() && mark == at(session.thread.tip_ref()))
}

/// Captures what the command left, if it left anything.
fn capture_left(
    context: &Context<'_>,
    claim: &Claim,
    session: &Session,
    how: How,
    workplace: &Path,
    tell: &dyn Fn(&str),
) -> Result<(), Error> {
    let own = worktrees::path_of(context, session);
    if let (None, Some(path)) = (&own, &session.path) {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(StoreError::Io { action: "read", path: path.clone(), source }.into());
    }
    let (repo, there);
    let (context, cwd) = match own {
        Some(own) if context.repo.worktree() != Some(&own) => {
            repo = Repo::at(&own)?;
            there = Context::new(&repo, context.platform, context.command)?;
            (&there, own)
        }
        _ => (context, workplace.to_owned()),
    };
    // Most commands capture for themselves, and then one look is enough.
    if context.repo.is_clean_at(&session.thread.tip_ref())? {
        return Ok(());
    }
    let message = session.task.clone().unwrap_or_else(|| match how {
        How::Exited(0) => format!("Capture what was left on {}", session.thread),
        How::Exited(status) => format!("Capture what was left on {} (exit status {status})", session.thread),
        How::Killed(signal) => {
            format!("Capture what was left on {} (killed by signal {signal})", session.thread)
        }
    });
    let request = capture::Request { message: Some(message), cwd, ..Default::default() };
    let captured = capture::capture(context, claim, &request)?;
    captured.warnings.iter().for_each(|warning| tell(warning));
    Ok(())
}
