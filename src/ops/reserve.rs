//! Claiming a thread at an anchor.
//!
//! Everything happens under the thread's lock. Judging comes first and writes nothing;
//! then Git's own lock on the tip is taken, the tip judged again under it, the journal
//! written, and only then does anything change. The thread record that names the new
//! session is the commit point: a process that dies before it is undone by the next
//! (`thread::recover`), one that dies after it is finished.

use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::acting::{lock_owned, repair, repair_around};
use super::publish::fetched_tip;
use super::worktrees::{self, Provided};
use crate::context::Context;
use crate::error::{Conflict, ConflictKind, ConflictOwner, Error};
use crate::git::refs::{Expected, Intent, LockedRef};
use crate::git::repo::{Head, Resolved};
use crate::names::{CommitId, Generation, ThreadName};
use crate::platform::{ProcessState, Watch};
use crate::session::session::{self, Agent, End, Heartbeat, Holder, Session, State, Usage};
use crate::session::token::Token;
use crate::store::at_once;
use crate::store::atomic_file::{self, Durability};
use crate::store::events::{self, Event};
use crate::store::journal::{self, Action, Entry, RefMove};
use crate::store::lock::Place;
use crate::thread::locked::{Owner, owner_of};
use crate::thread::owned::rfc3339;
use crate::thread::recover::recover;
use crate::thread::{LockedThread, ThreadRecord};

/// How often a waiter looks whether the owner has died without a word.
const LOOK: Duration = Duration::from_millis(500);
/// How often one who is not the first in the line looks whether nobody takes the thread.
const ASIDE: Duration = Duration::from_secs(1);
/// How many commits of a thread that comes from elsewhere are asked for its last generation.
const TAKEN_UP: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The thread.
    pub thread: ThreadName,
    /// The revision to start from; `None` is `HEAD`.
    pub anchor: Option<String>,
    /// Take the thread as it is, if it exists here or was fetched.
    pub resume: bool,
    /// What the agent sets out to do.
    pub task: Option<String>,
    /// What is to keep the session alive.
    pub hold: Hold,
    /// The lease; `None` is `heddle.ttl`.
    pub ttl: Option<Duration>,
    /// The branch to land on.
    pub target: Option<String>,
    /// Whether every command must show the token.
    pub require_token: bool,
    /// The caller's own secret, to ask again with.
    pub request_token: Option<Token>,
    /// How long to wait for a live owner: `None` not at all, `Some(None)` without limit.
    pub wait: Option<Option<Duration>>,
    /// Whether to make a worktree, and where if not at the usual place.
    pub worktree: Option<Option<PathBuf>>,
    /// Who the agent says it is.
    pub agent: Agent,
}

/// What is to keep a session alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Heartbeats.
    Lease,
    /// The process of this pid.
    Process(u32),
    /// This process, by the lock file that it holds.
    Lock,
}

/// A reservation.
#[derive(Debug)]
pub struct Reserved {
    /// The session.
    pub session: Session,
    /// Its token.
    pub token: Token,
    /// Whether it was made just now, rather than found by its request token.
    pub new: bool,
    /// Whether it made the thread.
    pub created: bool,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// Marks this process as acting for the session.
    pub present: Option<File>,
}

/// Reserves a thread, with a worktree if one is asked for.
///
/// # Errors
/// [`Error::Conflict`] if it is owned or elsewhere; everything is then as it was, as it is
/// where the worktree cannot be made: the reservation is then withdrawn.
pub fn reserve(context: &Context<'_>, request: &Request) -> Result<Reserved, Error> {
    let holder = holder(context, request.hold)?;
    let Some(asked) = &request.worktree else { return claim(context, request, &holder) };
    // What Git refuses in the middle it would refuse to take back as well.
    context.repo.try_out(&request.thread)?;
    // What a capture that died left is told from work that nobody captured only afterwards.
    repair(context, &request.thread)?;
    worktrees::foresee(context, &request.thread, asked.as_deref(), request.resume)?;
    // Until the worktree is whole this process alone keeps the session: if it is killed, the
    // session is dead at once.
    let reserved = claim(context, request, &lock_here(context))?;
    let provided = worktrees::provide(context, &reserved.session, &holder, asked.as_deref(), request.resume);
    match provided {
        Ok(Provided { session, warnings }) => {
            let warnings = reserved.warnings.into_iter().chain(warnings).collect();
            Ok(Reserved { session, warnings, ..reserved })
        }
        Err(error) => {
            // One that was found by its request token is in somebody's hands.
            if reserved.new {
                let session = &reserved.session;
                let owned = lock_owned(context, &session.session_id);
                // Should this fail, the journal or the lease ends it.
                let _ = owned.and_then(|owned| owned.withdraw(reserved.created));
            }
            Err(error)
        }
    }
}

/// Claims the thread.
fn claim(context: &Context<'_>, request: &Request, holder: &Holder) -> Result<Reserved, Error> {
    if let Some(remote) = context.repo.mirrors_heddle_refs()? {
        return Err(Error::Refused {
            message: format!(
                "remote '{remote}' fetches into refs/heddle/, so a fetch would overwrite threads"
            ),
            hint: Some(format!(
                "this is a mirror clone; change remote.{remote}.fetch, or work in an ordinary clone"
            )),
        });
    }
    refuse_case_twin(context, &request.thread)?;
    repair_around(context, &request.thread)?;
    let (anchor, from) = resolve_anchor(context, request)?;
    let started = Instant::now();
    // Watched before the first look, so that no change falls between look and wait.
    let watch = request.wait.map(|_| watch(context)).transpose()?;
    let left = || request.wait.flatten().map(|limit| limit.saturating_sub(started.elapsed()));
    let mut place = None;
    loop {
        let over = left().is_some_and(|left| left.is_zero());
        let conflict = match attempt(context, request, holder, anchor.as_ref()) {
            Err(Error::Conflict(conflict)) if conflict.kind == ConflictKind::LiveOwner => conflict,
            other => {
                return other.map(|mut reserved| {
                    let news = |remote| format!("the thread starts as it was fetched from '{remote}'");
                    reserved.warnings.extend(from.filter(|_| reserved.created).map(news));
                    reserved
                });
            }
        };
        let Some(watch) = watch.as_ref().filter(|_| !over) else { return Err(Error::Conflict(conflict)) };
        // Those who wait line up behind one lock, which the system hands on in the order of
        // arrival; the first of them watches.
        let place = match &mut place {
            Some(place) => place,
            none => none.insert(Place::take(&context.layout.queue(&request.thread))?),
        };
        wait(context, &request.thread, place, watch, left)?;
    }
}

/// Watches the folder of thread records, in which every change of owner ends with a rename.
fn watch(context: &Context<'_>) -> Result<Watch, Error> {
    let folder = context.layout.threads();
    let io =
        |source| Error::Store(crate::store::StoreError::Io { action: "watch", path: folder.clone(), source });
    atomic_file::create_folder(&folder, Durability::ProcessDeath).map_err(io)?;
    Watch::new(&folder).map_err(io)
}

/// Waits until the thread seems to have no owner that may live, or the limit is over.
/// Reads only, and takes no lock.
///
/// Who is first in the line may be stopped. So the others look too: a thread that nobody has
/// taken from one look to the next is nobody's turn.
fn wait(
    context: &Context<'_>,
    thread: &ThreadName,
    place: &mut Place,
    watch: &Watch,
    left: impl Fn() -> Option<Duration>,
) -> Result<(), Error> {
    let mut was_free = false;
    loop {
        let first = place.is_first(left().unwrap_or(ASIDE).min(ASIDE))?;
        let free = seems_free(context, thread);
        let left = left().unwrap_or(LOOK);
        if free && (first || was_free) || left.is_zero() {
            return Ok(());
        }
        was_free = free;
        if first {
            watch.wait(left.min(LOOK));
        }
    }
}

/// Whether the thread has no owner that may live.
fn seems_free(context: &Context<'_>, thread: &ThreadName) -> bool {
    let record = ThreadRecord::read(&context.layout, thread).ok().flatten();
    owner_of(context, record.as_ref()).is_none_or(|owner| !owner.liveness.may_live())
}

/// A name that differs from an existing thread's only in case would be the same file.
pub(super) fn refuse_case_twin(context: &Context<'_>, thread: &ThreadName) -> Result<(), Error> {
    if !context.repo.case_insensitive() {
        return Ok(());
    }
    let folded = thread.as_str().to_lowercase();
    for (name, _) in context.repo.list_refs(crate::names::THREADS)? {
        let other = &name[crate::names::THREADS.len()..];
        if other != thread.as_str() && other.to_lowercase() == folded {
            return Err(Error::Refused {
                message: format!("thread '{thread}' differs only in case from thread '{other}'"),
                hint: Some("core.ignoreCase is set in this repository; choose another name".to_owned()),
            });
        }
    }
    Ok(())
}

/// This process holds the session's lock.
fn lock_here(context: &Context<'_>) -> Holder {
    Holder::Lock { command: None, place: Some(context.platform.place().clone()) }
}

/// What is to keep the session alive.
fn holder(context: &Context<'_>, hold: Hold) -> Result<Holder, Error> {
    let pid = match hold {
        Hold::Lease => return Ok(Holder::Lease),
        Hold::Lock => return Ok(lock_here(context)),
        Hold::Process(pid) => pid,
    };
    match context.platform.process(pid) {
        ProcessState::Running { start_time, .. } => {
            let place = Some(context.platform.place().clone());
            Ok(Holder::Process { pid, start_time, place })
        }
        ProcessState::Gone => Err(Error::Refused {
            message: format!("process {pid} does not exist"),
            hint: Some("give --hold-for-pid the pid of a process that outlives this command".to_owned()),
        }),
        ProcessState::Unknown => Err(Error::Refused {
            message: format!("process {pid} cannot be looked at"),
            hint: Some("without --hold-for-pid the reservation lives by its heartbeats".to_owned()),
        }),
    }
}

/// The commit asked for, and the remote that it was fetched from; `None` is "the thread as it
/// is".
fn resolve_anchor(
    context: &Context<'_>,
    request: &Request,
) -> Result<(Option<Resolved>, Option<String>), Error> {
    if request.resume {
        if context.repo.read_ref(&request.thread.tip_ref())?.is_some() {
            return Ok((None, None));
        }
        if request.anchor.is_none()
            && let Some((remote, tip)) = fetched_tip(context, &request.thread)?
        {
            return Ok((Some(context.repo.resolve(tip.as_str())?), Some(remote)));
        }
    }
    Ok((Some(context.repo.resolve(request.anchor.as_deref().unwrap_or("HEAD"))?), None))
}

/// One try, under the lock.
fn attempt(
    context: &Context<'_>,
    request: &Request,
    holder: &Holder,
    asked: Option<&Resolved>,
) -> Result<Reserved, Error> {
    let thread = LockedThread::take(context, &request.thread)?;
    let owner = thread.owner();
    if let Some(answer) = same_request(request, owner.as_ref(), asked) {
        return Ok(answer);
    }
    let tip = thread.tip()?;
    let anchor = match (asked, &tip) {
        (Some(anchor), _) => anchor.clone(),
        (None, Some(tip)) => context.repo.resolve(tip.as_str())?,
        // The thread went away between the first look and the lock.
        (None, None) => context.repo.resolve(request.anchor.as_deref().unwrap_or("HEAD"))?,
    };
    let previous = judge(request, owner, tip.as_ref(), &anchor.commit)?;
    let (session, token) = make_session(context, &thread, request, holder, &anchor, tip.as_ref())?;
    let message = format!("heddle: reserve by {} (generation {})", session.session_id, session.generation);
    let to = &anchor.commit;
    let locked = thread.lock_tip(match &tip {
        Some(_) => Intent::Compare,
        None => Intent::Move { to, message: &message },
    })?;
    if locked.current() != tip.as_ref() {
        judge(request, None, locked.current(), &anchor.commit)?;
        // It is where it may be had, and was somewhere else when we looked: from the beginning.
        drop((locked, thread));
        return attempt(context, request, holder, asked);
    }
    commit(context, &thread, request, (session, token), previous, locked)
}

/// The reservation that this very request got before.
fn same_request(request: &Request, owner: Option<&Owner>, anchor: Option<&Resolved>) -> Option<Reserved> {
    let key = request.request_token.as_ref()?;
    let owner = owner.filter(|owner| owner.liveness.may_live())?;
    let session = owner.session.as_ref()?;
    let asked = session.request.as_ref()?;
    let same_anchor = match anchor {
        Some(anchor) => asked.anchor.as_ref() == Some(&anchor.commit),
        // With --resume the thread existed already when this request looked.
        None => true,
    };
    if !key.matches(&asked.token_hash) || !same_anchor {
        return None;
    }
    let token = key.unseal(&asked.sealed_token, session.session_id.as_str())?;
    token.matches(&session.token_hash).then(|| Reserved {
        session: session.clone(),
        token,
        new: false,
        created: false,
        warnings: Vec::new(),
        present: None,
    })
}

/// Whether the thread may be had; the dead owner, if there is one.
fn judge(
    request: &Request,
    owner: Option<Owner>,
    tip: Option<&CommitId>,
    anchor: &CommitId,
) -> Result<Option<Session>, Error> {
    let there = tip.is_none_or(|tip| tip == anchor);
    let (blocking, dead) = match owner {
        Some(owner) if owner.liveness.may_live() => (Some(owner), None),
        Some(owner) => (None, owner.session),
        None => (None, None),
    };
    if blocking.is_none() && there {
        return Ok(dead);
    }
    let kind = if there { ConflictKind::LiveOwner } else { ConflictKind::AnchorDrift };
    Err(Error::Conflict(Box::new(Conflict {
        kind,
        thread: request.thread.clone(),
        requested: anchor.clone(),
        owner: blocking.map(|owner| ConflictOwner {
            id: owner.id,
            generation: owner.generation,
            session: owner.session,
            liveness: owner.liveness,
        }),
        actual: tip.cloned(),
    })))
}

/// The new session, not yet written.
fn make_session(
    context: &Context<'_>,
    thread: &LockedThread<'_>,
    request: &Request,
    holder: &Holder,
    anchor: &Resolved,
    tip: Option<&CommitId>,
) -> Result<(Session, Token), Error> {
    let last = match (thread.record(), tip) {
        (Some(record), _) => Some(record.generation),
        // The record was lost, or the thread came from elsewhere: its commits still tell
        // which generations were used.
        (None, Some(commit)) => context.repo.generation_in_trailers(commit)?,
        // It is made here; a thread of that name may have been elsewhere, or of another name.
        (None, None) if request.resume => {
            let named = context.repo.generation_on(&anchor.commit, thread.name(), TAKEN_UP)?;
            named.max(context.repo.generation_in_trailers(&anchor.commit)?)
        }
        (None, None) => context.repo.generation_on(&anchor.commit, thread.name(), 1)?,
    };
    let session_id = context.new_session_id().map_err(Error::Randomness)?;
    let token = Token::generate(context.platform).map_err(Error::Randomness)?;
    let now = context.platform.now();
    let head_branch = match context.repo.head()? {
        Head::Branch { name, .. } | Head::Unborn { branch: name } => Some(name),
        Head::Detached { .. } => None,
    };
    let ttl = request.ttl.unwrap_or(context.settings.ttl).as_secs();
    let session = Session {
        thread: thread.name().clone(),
        anchor_state: anchor.commit.clone(),
        anchor_root: anchor.tree.clone(),
        generation: Generation::after(last)?,
        state: State::Active,
        task: request.task.clone(),
        path: None,
        worktree: None,
        holder: holder.clone(),
        ttl_seconds: NonZeroU64::new(ttl).unwrap_or(NonZeroU64::MIN),
        heartbeat: Heartbeat::new(&now, context.platform.place()),
        started_at: now.wall,
        token_hash: token.hash(),
        require_token: request.require_token || context.settings.require_token,
        request: request.request_token.as_ref().map(|key| session::Request {
            token_hash: key.hash(),
            anchor: Some(anchor.commit.clone()),
            sealed_token: key.seal(&token, session_id.as_str()),
        }),
        head_branch,
        agent: request.agent.clone(),
        usage: Usage::default(),
        progress: None,
        used: false,
        taken: false,
        extra: serde_json::Map::new(),
        session_id,
    };
    Ok((session, token))
}

/// The writes, from the journal to the commit point.
fn commit(
    context: &Context<'_>,
    thread: &LockedThread<'_>,
    request: &Request,
    (session, token): (Session, Token),
    previous: Option<Session>,
    tip: LockedRef<'_>,
) -> Result<Reserved, Error> {
    let operation = context.operation_id().map_err(Error::Randomness)?;
    let old = tip.current().cloned();
    let entry = Entry {
        version: journal::VERSION,
        operation: operation.clone(),
        action: Action::Reserve {
            session: session.session_id.clone(),
            generation: session.generation,
            previous: previous.as_ref().map(|previous| previous.session_id.clone()),
            tip: RefMove {
                name: tip.name().to_owned(),
                old: old.clone(),
                new: session.anchor_state.clone(),
                lock: tip.identity(),
            },
        },
    };
    thread.begin(&entry)?;
    let written = write_all(context, thread, request, &session, previous.as_ref(), tip, old.is_none());
    let present = match written {
        Ok(present) => present,
        Err(error) => {
            // As if we had died here: what a successor would do, we do ourselves.
            let _ = recover(context, thread.name());
            let _ = give_back(context, thread, &entry);
            return Err(error);
        }
    };
    let event = |name: &str, session: &Session, end: Option<End>| Event {
        id: operation.clone(),
        at: rfc3339(session.completed_at().unwrap_or(session.started_at)),
        event: name.to_owned(),
        thread: session.thread.as_str().to_owned(),
        session: session.session_id.as_str().to_owned(),
        generation: Some(session.generation.get()),
        commit: end.is_none().then(|| session.anchor_state.as_str().to_owned()),
        status: end.map(|end| end.word().to_owned()),
    };
    let log = context.layout.events();
    if let Some(previous) = previous {
        let previous = previous.ended(End::Abandoned, session.started_at);
        events::append(&log, &event("expired", &previous, Some(End::Abandoned)));
    }
    events::append(&log, &event("reserved", &session, None));
    let _ = thread.settle();
    Ok(Reserved { session, token, new: true, created: old.is_none(), warnings: Vec::new(), present })
}

/// Takes back a reservation that came to its commit point and failed after it (the record is
/// in its place, and its folder could not be synced): nobody will learn its token.
fn give_back(context: &Context<'_>, thread: &LockedThread<'_>, reserve: &Entry) -> Result<(), Error> {
    let Action::Reserve { session, tip, .. } = &reserve.action else { return Ok(()) };
    let Some(session) = context.registry.read(session)? else { return Ok(()) };
    let action = Action::Withdraw { session: session.session_id, tip: tip.clone() };
    let entry = Entry { action, ..reserve.clone() };
    thread.begin(&entry)?;
    recover(context, thread.name())
}

/// Everything between the journal and the commit point, which is the last write here.
fn write_all(
    context: &Context<'_>,
    thread: &LockedThread<'_>,
    request: &Request,
    session: &Session,
    previous: Option<&Session>,
    tip: LockedRef<'_>,
    create: bool,
) -> Result<Option<File>, Error> {
    if let Some(previous) = previous {
        let mut ended = previous.clone().ended(End::Abandoned, session.started_at);
        ended.taken = true;
        context.registry.end(&ended)?;
    }
    let record = owned_by(thread, request, session);
    let (registry, layout, durability) = (&context.registry, &context.layout, context.durability());
    // Records and ref do not depend on each other, and most of the time that they take is
    // spent waiting for the disk. Only the thread record's last step says that it is done.
    let (moved, recorded) = at_once::both(
        || if create { create_ref(session, tip).map(|()| None) } else { Ok(Some(tip)) },
        || {
            registry.write(session)?;
            record.stage(layout, durability)
        },
    );
    let staged = recorded?;
    // Where the ref is only compared, Git's lock is held until the thread record is durable.
    let compared = moved?;
    let present = context.registry.hold_present(&session.session_id, true);
    if present.is_none() && matches!(session.holder, Holder::Lock { .. }) {
        return Err(Error::Refused {
            message: format!("cannot hold the lock file of session '{}'", session.session_id),
            hint: Some("the file system keeps no locks; reserve with a lease instead".to_owned()),
        });
    }
    staged.install()?;
    drop(compared);
    Ok(present)
}

/// The thread's record with the session as its owner.
fn owned_by(thread: &LockedThread<'_>, request: &Request, session: &Session) -> ThreadRecord {
    let generation = session.generation;
    match thread.record() {
        Some(record) => ThreadRecord {
            generation,
            owner: Some(session.session_id.clone()),
            target: request.target.clone().or_else(|| record.target.clone()),
            head_branch: session.head_branch.clone().or_else(|| record.head_branch.clone()),
            renamed_to: None,
            ..record.clone()
        },
        None => ThreadRecord {
            target: request.target.clone(),
            head_branch: session.head_branch.clone(),
            ..ThreadRecord::new(thread.name().clone(), generation, Some(session.session_id.clone()))
        },
    }
}

/// Makes the thread's ref.
fn create_ref(session: &Session, tip: LockedRef<'_>) -> Result<(), Error> {
    let message = format!("heddle: reserve by {} (generation {})", session.session_id, session.generation);
    Ok(tip.swap(&Expected::Absent, &session.anchor_state, &message)?)
}
