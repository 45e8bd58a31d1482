//! `pre-receive`: what a server demands of threads that are pushed to it.
//!
//! A server has refs and nothing else: no sessions, no records, no idea who pushes. What it
//! can see is form. After a push
//! - no thread has a lower generation than before, or, if it had none, than what the branches have of
//!   it and it has not;
//! - nothing of a thread was replaced within one generation, unless the push says exactly what
//!   it replaces;
//! - a ready mark is at its thread's tip;
//! - a thread that went had landed.
//!
//! Whether whoever pushes is who the trailers name is for the server's own access rules and
//! for signatures.
//!
//! # Leases
//! `--force-with-lease` is checked by the pushing side against what the server advertised,
//! and the server is not told of it: on the wire it is a push like any other, and every push
//! is taken only if the ref still is what that side saw. So it cannot be required as such. What
//! can be is that the value to be replaced is named, as a push option,
//! `heddle-lease=<ref>:<old>`, which `git heddle publish` does. A server takes push options
//! where `receive.advertisePushOptions` is set.
//!
//! # Quarantine
//! The pushed objects lie in a quarantine that Git throws away if this hook refuses. They are
//! seen by way of the environment that Git gives the hook, and nothing is written.
//!
//! What cannot be judged is refused, whatever `heddle.hooks` says of clones: nobody would read
//! the warning.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Verdict};
use crate::context::Context;
use crate::error::Error;
use crate::git::audit::Presence;
use crate::git::remote::LEASE_OPTION;
use crate::git::trailers::Stamp;
use crate::names::{CommitId, Generation, READY, THREADS, ThreadName};
use crate::ops::verify::lineage::{Lineage, claim_in};

/// How many commits, of a thread or of all branches, are asked for a thread's last generation, should
/// those on top be people's.
const DEPTH: usize = 10_000;

/// What a ref was and is to be; `None` is that it does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Update {
    old: Option<CommitId>,
    new: Option<CommitId>,
}

/// A refusal: why, and what to do.
type Fault = (String, &'static str);

/// Decides about a whole push.
///
/// # Errors
/// None but for refs that cannot be listed.
pub(super) fn decide(call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    if let Some(name) = unreadable(call.stdin) {
        return Ok(Verdict::refuse(
            format!("invalid ref name '{name}': it is not UTF-8"),
            "no thread has that name",
        ));
    }
    let text = String::from_utf8_lossy(call.stdin);
    let mut updates = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ' ');
        if let (Some(old), Some(new), Some(name)) = (fields.next(), fields.next(), fields.next()) {
            updates.insert(name, Update { old: super::commit(old), new: super::commit(new) });
        }
    }
    let ours =
        |name: &&str| name.strip_prefix(THREADS).or_else(|| name.strip_prefix(READY)).map(str::to_owned);
    let threads: BTreeSet<String> = updates.keys().filter_map(ours).collect();
    let mut branches = None;
    for name in threads {
        let thread = match ThreadName::parse(&name) {
            Ok(thread) => thread,
            Err(error) => return Ok(Verdict::refuse(error.to_string(), "no thread has that name")),
        };
        let branches = match &branches {
            Some(branches) => branches,
            None => branches.insert(branches_after(context, &updates)?),
        };
        match judge(context, &thread, &updates, branches) {
            Ok(None) => {}
            Ok(Some((message, hint))) => return Ok(Verdict::refuse(message, hint)),
            Err(error) => {
                let message = format!("thread '{thread}' cannot be judged: {error}");
                return Ok(Verdict::refuse(message, "ask whoever keeps the server"));
            }
        }
    }
    Ok(Verdict::PASS)
}

/// A name among those of threads that is not UTF-8, escaped.
fn unreadable(stdin: &[u8]) -> Option<String> {
    let names =
        stdin.split(|byte| *byte == b'\n').filter_map(|line| line.splitn(3, |byte| *byte == b' ').nth(2));
    let ours = |name: &&[u8]| name.starts_with(THREADS.as_bytes()) || name.starts_with(READY.as_bytes());
    let mut wrong = names.filter(ours).filter(|name| std::str::from_utf8(name).is_err());
    wrong.next().map(|name| name.escape_ascii().to_string())
}

/// What a thread is held against that is new, or goes.
struct Branches {
    tips: Vec<CommitId>,
    /// What the newest of their commits claim, looked up when first asked for.
    claims: OnceCell<Vec<(CommitId, Stamp)>>,
}

impl Branches {
    /// The generation of `thread` at `commit`, and a higher one that they have and it has not.
    fn beyond(
        &self,
        context: &Context<'_>,
        thread: &ThreadName,
        commit: &CommitId,
    ) -> Result<Option<(Generation, Generation)>, Error> {
        let claims = match self.claims.get() {
            Some(claims) => claims,
            None => {
                let claims = context.repo.claims_on(&self.tips.iter().collect::<Vec<_>>(), DEPTH)?;
                self.claims.get_or_init(|| claims)
            }
        };
        let mut of_thread: Vec<_> = claims.iter().filter(|(_, claim)| claim.thread == *thread).collect();
        if of_thread.is_empty() {
            return Ok(None);
        }
        let Some(own) = context.repo.generation_on(commit, thread, DEPTH)? else { return Ok(None) };
        of_thread.retain(|(_, claim)| claim.generation > Some(own));
        let mut highest = None;
        for (at, claim) in of_thread {
            if claim.generation > highest && !context.repo.contains(commit, at)? {
                highest = claim.generation;
            }
        }
        Ok(highest.map(|highest| (own, highest)))
    }
}

/// The branches once the push is done.
fn branches_after(context: &Context<'_>, updates: &BTreeMap<&str, Update>) -> Result<Branches, Error> {
    let mut branches: BTreeMap<String, CommitId> =
        context.repo.list_refs("refs/heads/")?.into_iter().collect();
    for (name, update) in updates.iter().filter(|(name, _)| name.starts_with("refs/heads/")) {
        match &update.new {
            Some(new) => branches.insert((*name).to_owned(), new.clone()),
            None => branches.remove(*name),
        };
    }
    Ok(Branches { tips: branches.into_values().collect(), claims: OnceCell::new() })
}

fn judge(
    context: &Context<'_>,
    thread: &ThreadName,
    updates: &BTreeMap<&str, Update>,
    branches: &Branches,
) -> Result<Option<Fault>, Error> {
    let update = |name: &str| -> Result<Update, Error> {
        match updates.get(name) {
            Some(update) => Ok(update.clone()),
            None => {
                let at = context.repo.read_ref(name)?;
                Ok(Update { old: at.clone(), new: at })
            }
        }
    };
    let (tip, mark) = (update(&thread.tip_ref())?, update(&thread.ready_ref())?);
    if mark.new.is_some() && mark.new != tip.new {
        return Ok(Some((
            format!("the ready mark of thread '{thread}' would not be at its tip"),
            "push thread and mark together, or delete the mark: git heddle publish does",
        )));
    }
    match (&tip.old, &tip.new) {
        (old, new) if old == new => Ok(None),
        (Some(old), None) => judge_removal(context, thread, old, branches),
        (old, Some(new)) => judge_move(context, thread, old.as_ref(), new, branches),
        (None, None) => Ok(None),
    }
}

/// A thread may go once its commits are on a branch: with its ref goes all that a server
/// knows of it, its last generation included.
fn judge_removal(
    context: &Context<'_>,
    thread: &ThreadName,
    old: &CommitId,
    branches: &Branches,
) -> Result<Option<Fault>, Error> {
    let bases: Vec<&CommitId> = branches.tips.iter().collect();
    let only_there = context.repo.history(&[old], &bases, &mut |_| {})?;
    Ok(only_there.get(old).is_some().then(|| {
        (
            format!("thread '{thread}' has commits that no branch has"),
            "land it first; whoever keeps the server can delete the ref there",
        )
    }))
}

fn judge_move(
    context: &Context<'_>,
    thread: &ThreadName,
    old: Option<&CommitId>,
    new: &CommitId,
    branches: &Branches,
) -> Result<Option<Fault>, Error> {
    let repo = context.repo;
    if repo.presence(new) != Presence::Commit {
        return Ok(Some((
            format!("thread '{thread}' would not be at a commit"),
            "a thread's tip is a commit",
        )));
    }
    let before = match old {
        Some(old) => repo.generation_on(old, thread, DEPTH)?,
        None => None,
    };
    // The first generation that is seen of it.
    if before.is_none()
        && let Some((own, there)) = branches.beyond(context, thread, new)?
    {
        let was = format!("is at generation {there} on a branch");
        return Ok(Some((fallen(thread, &was, Some(own)), "begin from that branch, or take another name")));
    }
    if let Some(old) = old
        && !repo.contains(new, old)?
        && let Some(fault) = judge_rewrite(context, thread, old, before, new)?
    {
        return Ok(Some(fault));
    }
    let bases: Vec<&CommitId> = branches.tips.iter().chain(old).collect();
    let history = repo.history(&[new], &bases, &mut |_| {})?;
    let (commits, edge) = history.from_tip(new);
    let mut lineage = Lineage::default();
    for below in edge {
        // Where it goes on from what was there, be it by way of a branch that it landed on.
        if let (Some(old), Some(before)) = (old, before)
            && repo.contains(below, old)?
        {
            lineage.had_reached(below.clone(), before);
        }
    }
    for commit in commits {
        let about = |fault: &str| format!("thread '{thread}', commit {}: {fault}", commit.id.short());
        if let Some(fault) = &commit.fault {
            return Ok(Some((about(fault), "git fsck says more")));
        }
        let claim = match &commit.claim {
            // That thread is held to it where it is pushed.
            Ok(Some(stamp)) if stamp.thread != *thread => Ok(None),
            _ => claim_in(commit),
        };
        let stamp = match claim {
            Ok(stamp) => stamp,
            Err(faults) => {
                let message = about(&format!("its message {}", faults.join(", and ")));
                return Ok(Some((message, "git heddle verify finds all of these")));
            }
        };
        if let Some((_, fault)) = lineage.follow(commit, stamp).into_iter().next() {
            return Ok(Some((about(&fault), "whoever wrote it had lost the thread; reserve it again")));
        }
    }
    Ok(None)
}

fn fallen(thread: &ThreadName, was: &str, after: Option<Generation>) -> String {
    let after = after.map_or(0, Generation::get);
    format!("thread '{thread}' {was}, and would be at {after}")
}

/// What is replaced is replaced by a later owner, or by one who says what it is.
fn judge_rewrite(
    context: &Context<'_>,
    thread: &ThreadName,
    old: &CommitId,
    before: Option<Generation>,
    new: &CommitId,
) -> Result<Option<Fault>, Error> {
    let after = context.repo.generation_on(new, thread, DEPTH)?;
    if let Some(before) = before.filter(|before| after < Some(*before)) {
        let was = format!("is at generation {before}");
        return Ok(Some((fallen(thread, &was, after), "a later owner has it: git heddle fetch")));
    }
    if after == before && !is_leased(&thread.tip_ref(), old) {
        return Ok(Some((
            format!("thread '{thread}' would lose commits of the same generation"),
            "git heddle publish says what it replaces; by hand, with the value that is there now: \
             git push --force-with-lease=<ref>:<old> -o heddle-lease=<ref>:<old>",
        )));
    }
    Ok(None)
}

/// Whether the push says that it replaces exactly `old`.
fn is_leased(name: &str, old: &CommitId) -> bool {
    let count = std::env::var("GIT_PUSH_OPTION_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let wanted = format!("{LEASE_OPTION}{name}:{old}");
    (0..count).any(|number: usize| {
        std::env::var(format!("GIT_PUSH_OPTION_{number}")).is_ok_and(|option| option == wanted)
    })
}
