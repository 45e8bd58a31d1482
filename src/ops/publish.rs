//! Threads to a remote and back: `publish` and `fetch`.
//!
//! A thread and its ready mark go together and atomically, each from exactly the value that
//! the remote was seen to have. What was seen is judged first: it may be replaced if it is
//! part of the thread, or was its tip here once. Anything else is somebody's work that this
//! repository does not have, and is not overwritten without `--force`.
//!
//! What is fetched goes to `refs/heddle-remotes/<remote>/` and nowhere else: a local thread is
//! moved by its owner alone.
//!
//! # If the process dies here
//! The push happened at the remote or it did not; nothing here depends on it. The refs that
//! remember what the remote has are written last; where they were not, the next fetch does.
//!
//! # If another does the same now
//! The remote takes one of the two pushes. The other is refused for its lease, sees what is
//! there now, and judges anew. A thread that moves here meanwhile is published as it was read:
//! the next publish brings the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::acting::{Claim, authorize};
use super::drop::tip_of;
use super::stray::{Stray, strays};
use crate::context::Context;
use crate::error::Error;
use crate::git::refs::{Change, Expected};
use crate::git::remote::LEASE_OPTION;
use crate::git::{GitError, Repo};
use crate::names::{CommitId, DROPPED, READY, REMOTES, SessionId, THREADS, ThreadName};
use crate::thread::ThreadRecord;
use crate::thread::locked::owner_of;

/// How often a push that came too late is judged anew.
const TRIES: usize = 10;

/// What to publish.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Where to; `None` is the usual remote.
    pub remote: Option<String>,
    /// The threads; if there are none, the caller's own, else all that nobody owns.
    pub threads: Vec<ThreadName>,
    /// On whose behalf, if that is known.
    pub claim: Option<Claim>,
    /// Whether to publish what another owns, and to overwrite what is not known here.
    pub force: bool,
    /// Whether to push nothing.
    pub dry_run: bool,
}

/// A thread that is at the remote as it is here.
#[derive(Debug, Clone)]
pub struct Published {
    /// The thread.
    pub thread: ThreadName,
    /// Its tip.
    pub tip: CommitId,
    /// Where the remote had it.
    pub previous: Option<CommitId>,
    /// Whether it is marked ready there.
    pub ready: bool,
    /// Whether there was nothing to do.
    pub already: bool,
    /// Whether what the remote had is no part of it.
    pub rewritten: bool,
}

/// What was published.
#[derive(Debug)]
pub struct PublishReport {
    /// Where to.
    pub remote: String,
    /// What is there now.
    pub published: Vec<Published>,
    /// What was left out, with the session that owns it.
    pub skipped: Vec<(ThreadName, SessionId)>,
    /// A sentence for each thread that was left out because its record cannot be read.
    pub unreadable: Vec<String>,
}

/// Publishes what `request` names.
///
/// # Errors
/// [`Error::Unpublished`] for a thread that was named and that another live session owns;
/// [`Error::Unknown`] where the remote has work that is not here; [`GitError::Program`] in the
/// words of Git and of the server.
pub fn publish(context: &Context<'_>, request: &Request) -> Result<PublishReport, Error> {
    let remote = remote(context, request.remote.as_deref(), true)?;
    let Chosen { threads, skipped, unreadable } = choose(context, request)?;
    // What is no remote's name may be an address, which Git has to say.
    let idle = threads.is_empty() && context.repo.remotes()?.contains(&remote);
    let mut refused = None;
    for _ in 0..TRIES {
        let there = if idle { BTreeMap::new() } else { list(context, &remote)? };
        // A push that was refused although everything was where it was expected to be.
        if let Some((error, expected)) = refused.take()
            && expected == there
        {
            return Err(error);
        }
        let (published, changes) = plan(context, request, &threads, &remote, &there)?;
        if !request.dry_run && !changes.is_empty() {
            if let Err(error) = push(context, &remote, &changes, &published) {
                refused = Some((Error::from(error), there));
                continue;
            }
            remember(context, &remote, &changes);
        }
        return Ok(PublishReport { remote, published, skipped, unreadable });
    }
    Err(refused.map_or_else(|| moving(&remote), |(error, _)| error))
}

fn moving(remote: &str) -> Error {
    Error::Refused { message: format!("the threads at '{remote}' do not stand still"), hint: None }
}

/// The remote that is meant.
fn remote(context: &Context<'_>, given: Option<&str>, push: bool) -> Result<String, Error> {
    if let Some(given) = given {
        let thread = ThreadName::parse(given).ok();
        let is_thread =
            thread.is_some_and(|thread| matches!(context.repo.read_ref(&thread.tip_ref()), Ok(Some(_))));
        if is_thread && !context.repo.remotes()?.iter().any(|remote| remote == given) {
            return Err(Error::Usage {
                message: format!(
                    "'{given}' is a thread and no remote: the remote comes first, as in 'git push'"
                ),
            });
        }
        return Ok(given.to_owned());
    }
    context.repo.usual_remote(push)?.ok_or_else(|| Error::Refused {
        message: "there is no remote, or more than one and none of them called 'origin'".to_owned(),
        hint: Some("name one, or add one: git remote add origin <url>".to_owned()),
    })
}

/// Which threads to publish, and which are left out.
#[derive(Default)]
struct Chosen {
    threads: Vec<ThreadName>,
    skipped: Vec<(ThreadName, SessionId)>,
    unreadable: Vec<String>,
}

fn choose(context: &Context<'_>, request: &Request) -> Result<Chosen, Error> {
    let own = match &request.claim {
        Some(claim) if request.threads.is_empty() => {
            Some(vec![super::acting::find(context, &claim.session)?.thread])
        }
        _ => None,
    };
    let mut named = own.unwrap_or_else(|| request.threads.clone());
    // Who names one twice means it once.
    let mut seen = BTreeSet::new();
    named.retain(|thread| seen.insert(thread.clone()));
    if !named.is_empty() {
        for thread in &named {
            tip_of(context, thread)?;
            if let Some(owner) = in_the_way(context, thread, request)? {
                return Err(Error::Unpublished { thread: thread.clone(), owner });
            }
        }
        return Ok(Chosen { threads: named, ..Chosen::default() });
    }
    let mut chosen = Chosen::default();
    for (name, _) in context.repo.list_refs(THREADS)? {
        let Ok(thread) = ThreadName::parse(&name[THREADS.len()..]) else { continue };
        match in_the_way(context, &thread, request) {
            Ok(Some(owner)) => chosen.skipped.push((thread, owner)),
            Ok(None) => chosen.threads.push(thread),
            // Whose it is cannot be told; the others' are theirs all the same.
            Err(Error::Store(error)) => chosen.unreadable.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(chosen)
}

/// The session that owns `thread`, may be alive, and is not the caller's.
fn in_the_way(
    context: &Context<'_>,
    thread: &ThreadName,
    request: &Request,
) -> Result<Option<SessionId>, Error> {
    let record = ThreadRecord::read(&context.layout, thread)?;
    let Some(owner) = owner_of(context, record.as_ref()).filter(|owner| owner.liveness.may_live()) else {
        return Ok(None);
    };
    if let Some(claim) = request.claim.as_ref().filter(|claim| claim.session == owner.id)
        && let Some(session) = &owner.session
    {
        authorize(context, session, claim.token.as_ref())?;
        return Ok(None);
    }
    Ok((!request.force).then_some(owner.id))
}

fn list(context: &Context<'_>, remote: &str) -> Result<BTreeMap<String, CommitId>, Error> {
    Ok(context.repo.list_remote(remote, &[THREADS, READY])?)
}

/// What has to change at the remote.
fn plan(
    context: &Context<'_>,
    request: &Request,
    threads: &[ThreadName],
    remote: &str,
    there: &BTreeMap<String, CommitId>,
) -> Result<(Vec<Published>, Vec<Change>), Error> {
    let (mut published, mut changes) = (Vec::new(), Vec::new());
    let mut change = |name: String, to: Option<CommitId>| {
        let from = there.get(&name).map_or(Expected::Absent, |old| Expected::Exactly(old.clone()));
        if !from.is(to.as_ref()) {
            changes.push(Change { name, from, to });
            return true;
        }
        false
    };
    for thread in threads {
        let tip = tip_of(context, thread)?;
        let marked = context.repo.read_ref(&thread.ready_ref())?.as_ref() == Some(&tip);
        let previous = there.get(&thread.tip_ref()).cloned();
        let rewritten = match &previous {
            None => false,
            Some(old) => {
                let kept = contains(context, &tip, old)?;
                if !kept && !request.force && !was_ours(context, thread, old)? {
                    let (thread, remote, theirs) = (thread.clone(), remote.to_owned(), old.clone());
                    return Err(Error::Unknown { thread, remote, theirs });
                }
                !kept
            }
        };
        let moved = change(thread.tip_ref(), Some(tip.clone()));
        // A mark at this very commit that somebody else gave it stays.
        let theirs = there.get(&thread.ready_ref()) == Some(&tip);
        let ready = marked || theirs;
        let marked_anew = change(thread.ready_ref(), ready.then(|| tip.clone()));
        let already = !moved && !marked_anew;
        published.push(Published { thread: thread.clone(), tip, previous, ready, already, rewritten });
    }
    Ok((published, changes))
}

/// Whether `ancestor`, which may not be here, is part of `commit`.
fn contains(context: &Context<'_>, commit: &CommitId, ancestor: &CommitId) -> Result<bool, GitError> {
    use crate::git::audit::Presence;
    if context.repo.presence(ancestor) != Presence::Commit {
        return Ok(false);
    }
    context.repo.contains(commit, ancestor)
}

/// Whether the thread was at `commit` here: then it was replaced on purpose.
fn was_ours(context: &Context<'_>, thread: &ThreadName, commit: &CommitId) -> Result<bool, Error> {
    if context.repo.was_at(&thread.tip_ref(), commit)? {
        return Ok(true);
    }
    for (_, tip) in context.repo.list_refs(&format!("{DROPPED}{thread}/"))? {
        if contains(context, &tip, commit)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pushes; a server that wants to hear of leases is told of those that rewrite.
fn push(
    context: &Context<'_>,
    remote: &str,
    changes: &[Change],
    published: &[Published],
) -> Result<(), GitError> {
    let leases: Vec<String> = published
        .iter()
        .filter(|published| published.rewritten)
        .filter_map(|published| {
            let old = published.previous.as_ref()?;
            Some(format!("{LEASE_OPTION}{}:{old}", published.thread.tip_ref()))
        })
        .collect();
    if leases.is_empty() {
        return context.repo.push_changes(remote, changes, &[]);
    }
    // A server that takes no options says so before anything happens.
    match context.repo.push_changes(remote, changes, &leases) {
        Err(GitError::Program { stderr, .. }) if stderr.contains("push options") => {
            context.repo.push_changes(remote, changes, &[])
        }
        done => done,
    }
}

/// Writes down what a configured remote has now, as a fetch would. What fails here the next
/// fetch puts right.
fn remember(context: &Context<'_>, remote: &str, changes: &[Change]) {
    let known = context.repo.remotes().unwrap_or_default();
    if !known.iter().any(|known| known == remote) || known.iter().any(|other| share_a_place(remote, other)) {
        return;
    }
    let mut here = Vec::new();
    for Change { name, to, .. } in changes {
        let name = name.replacen("refs/heddle/", &format!("{REMOTES}{remote}/"), 1);
        let Ok(at) = context.repo.read_ref(&name) else { continue };
        let from = at.map_or(Expected::Absent, Expected::Exactly);
        if !from.is(to.as_ref()) {
            here.push(Change { name, from, to: to.clone() });
        }
    }
    if !here.is_empty() {
        let _ = context.repo.change_refs(&here, "heddle: publish");
    }
}

/// A thread of a remote.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The thread.
    pub thread: String,
    /// The ref that it is at here.
    pub refname: String,
    /// Its tip.
    pub tip: CommitId,
    /// Where it was when it was last fetched.
    pub previous: Option<CommitId>,
    /// Whether its ready mark is at the tip.
    pub ready: bool,
}

/// What was fetched.
#[derive(Debug)]
pub struct FetchReport {
    /// Where from.
    pub remote: String,
    /// What the remote has.
    pub threads: Vec<Fetched>,
    /// What it no longer has.
    pub gone: Vec<String>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Fetches the threads of a remote.
///
/// # Errors
/// [`Error::Refused`] if it is not configured; [`GitError::Program`] in Git's words.
pub fn fetch(context: &Context<'_>, given: Option<&str>) -> Result<FetchReport, Error> {
    let remote = remote(context, given, false)?;
    if !context.repo.remotes()?.contains(&remote) {
        return Err(Error::Refused {
            message: format!("'{remote}' is no remote of this repository, and threads are kept by remote"),
            hint: Some("add it: git remote add <name> <url>".to_owned()),
        });
    }
    let Some(home) = Repo::home_of(&remote) else {
        return Err(Error::Refused {
            message: format!(
                "the threads of a remote are kept by its name, and no ref can be named '{remote}'"
            ),
            hint: Some("git remote rename gives it another".to_owned()),
        });
    };
    if let Some(other) = context.repo.remotes()?.iter().find(|other| share_a_place(&remote, other)) {
        return Err(Error::Refused {
            message: format!("the threads of '{remote}' and of '{other}' would be kept in one place"),
            hint: Some("git remote rename gives one of them another name".to_owned()),
        });
    }
    let (threads, ready) = (format!("{home}threads/"), format!("{home}ready/"));
    let before: BTreeMap<String, CommitId> = context.repo.list_refs(&threads)?.into_iter().collect();
    context.repo.fetch_threads(&remote)?;
    let marks: BTreeMap<String, CommitId> = context.repo.list_refs(&ready)?.into_iter().collect();
    let after = context.repo.list_refs(&threads)?;
    let gone = before.keys().filter(|name| !after.iter().any(|(now, _)| now == *name));
    let gone = gone.map(|name| name[threads.len()..].to_owned()).collect();
    let row = |(refname, tip): (String, CommitId)| {
        let thread = refname[threads.len()..].to_owned();
        let ready = marks.get(&format!("{ready}{thread}")) == Some(&tip);
        Fetched { previous: before.get(&refname).cloned(), thread, refname, tip, ready }
    };
    let warn = |Stray { refname, why }| format!("'{refname}' is no thread's: {why}");
    let warnings = strays(context, &threads)?.into_iter().map(warn).collect();
    Ok(FetchReport { threads: after.into_iter().map(row).collect(), gone, warnings, remote })
}

/// Whether a thread of the one remote could be kept under the name that one of the other is.
fn share_a_place(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| matches!(rest.split('/').next(), Some("threads" | "ready")))
    };
    within(one, other) || within(other, one)
}

/// Where the thread is that is not here but at exactly one remote, as last fetched.
///
/// # Errors
/// [`Error::Usage`] if several remotes have it, at different commits.
pub fn fetched_tip(context: &Context<'_>, thread: &ThreadName) -> Result<Option<(String, CommitId)>, Error> {
    let mut found: Vec<(String, CommitId)> = Vec::new();
    let remotes = context.repo.remotes()?;
    for remote in remotes.iter().filter(|one| !remotes.iter().any(|other| share_a_place(one, other))) {
        // From one without a home nothing was fetched.
        let Some(home) = Repo::home_of(remote) else { continue };
        if let Some(tip) = context.repo.read_ref(&format!("{home}threads/{thread}"))? {
            found.push((remote.clone(), tip));
        }
    }
    let Some(first) = found.first().cloned() else { return Ok(None) };
    if found.iter().all(|(_, tip)| *tip == first.1) {
        return Ok(Some(first));
    }
    let remotes: Vec<String> = found.into_iter().map(|(remote, _)| format!("'{remote}'")).collect();
    Err(Error::Usage {
        message: format!(
            "thread '{thread}' is not here, and {} have it at different commits: give --anchor \
             {REMOTES}<remote>/threads/{thread}",
            remotes.join(" and ")
        ),
    })
}
