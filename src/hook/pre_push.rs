//! `pre-push`: a thread is published by its owner, and a target branch does not take along
//! what nobody has called ready without a word.
//!
//! `--no-verify` goes around it, as around `pre-commit`. What holds for everybody is the
//! server's to say (`pre-receive`), and `verify` finds what came by without.

use super::bound::acting;
use super::{Call, Verdict};
use crate::context::Context;
use crate::error::Error;
use crate::git::audit::{Presence, StoredCommit};
use crate::git::trailers::stamp;
use crate::names::{CommitId, READY, THREADS, ThreadName};
use crate::ops::threads::{self, Seen, Which};
use crate::settings::Unready;
use crate::thread::locked::owner_of;
use crate::thread::{ThreadRecord, Tie};

/// One ref that is about to be pushed.
struct Push<'a> {
    /// What it is to be; `None` deletes it.
    new: Option<CommitId>,
    /// Its name at the remote.
    name: &'a str,
    /// What it is at the remote.
    old: Option<CommitId>,
}

impl<'a> Push<'a> {
    /// Reads `<local ref> <local id> <remote ref> <remote id>`, of which only the first may
    /// have spaces.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.rsplitn(4, ' ');
        let (old, name, new) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { new: super::commit(new), name, old: super::commit(old) })
    }
}

/// Decides about a push to the remote that the first argument names.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood; [`Error::Git`].
pub(super) fn decide(call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    let remote = call.args.first().map(|arg| arg.to_string_lossy()).unwrap_or_default();
    let text = String::from_utf8_lossy(call.stdin);
    let pushes: Vec<Push<'_>> = text.lines().filter_map(Push::parse).collect();
    if !call.vouched {
        for push in &pushes {
            if let Some(refusal) = judge_thread(push.name, call, context)? {
                return Ok(refusal);
            }
        }
    }
    let mut said = Vec::new();
    for push in &pushes {
        said.extend(unready_in(push, &remote, context)?);
    }
    if said.is_empty() {
        return Ok(Verdict::PASS);
    }
    Ok(match context.settings.push_unready {
        Unready::Warn => Verdict::Pass { warnings: said },
        Unready::Refuse => Verdict::refuse(
            said.join("; "),
            "mark it ready first: git heddle agent ready; heddle.pushUnready=warn only warns",
        ),
    })
}

/// The refusal to publish what another session owns, under whichever local name it goes.
fn judge_thread(name: &str, call: &Call<'_>, context: &Context<'_>) -> Result<Option<Verdict>, Error> {
    let Some(thread) = name.strip_prefix(THREADS).or_else(|| name.strip_prefix(READY)) else {
        return Ok(None);
    };
    let thread = match ThreadName::parse(thread) {
        Ok(thread) => thread,
        Err(error) => return Ok(Some(Verdict::refuse(error.to_string(), "no thread has that name"))),
    };
    let record = ThreadRecord::read(&context.layout, &thread)?;
    let Some(owner) = owner_of(context, record.as_ref()).filter(|owner| owner.liveness.may_live()) else {
        return Ok(None);
    };
    let acts = call.claim.and_then(|claim| acting(context, claim).ok());
    let works_here = match Tie::of(context, context.repo.git_dir())? {
        Tie::Held(session) => session.session_id == owner.id,
        _ => false,
    };
    if works_here || acts.is_some_and(|session| session.session_id == owner.id) {
        return Ok(None);
    }
    Ok(Some(Verdict::refuse(
        format!(
            "thread '{thread}' is reserved by session '{}', and is published by its owner only",
            owner.id
        ),
        "the owner sets HEDDLE_SESSION (and HEDDLE_TOKEN where it is required), or works in its own worktree; \
         a person may: git heddle publish --force",
    )))
}

/// A sentence for each thread that is not ready and whose commits come to its target with
/// this push.
fn unready_in(push: &Push<'_>, remote: &str, context: &Context<'_>) -> Result<Vec<String>, Error> {
    let (Some(new), Some(branch)) = (&push.new, push.name.strip_prefix("refs/heads/")) else {
        return Ok(Vec::new());
    };
    let tracked = format!("refs/remotes/{remote}/{branch}");
    let aims_here = |seen: &Seen| {
        let target = seen.target.as_ref().map(|target| target.refname.as_str());
        !seen.ready && (target == Some(push.name) || target == Some(tracked.as_str()))
    };
    let unready: Vec<Seen> = threads::list(context, Which::All)?.0.into_iter().filter(aims_here).collect();
    if unready.is_empty() {
        return Ok(Vec::new());
    }
    let repo = context.repo;
    let mut known: Vec<CommitId> =
        push.old.iter().filter(|old| repo.presence(old) == Presence::Commit).cloned().collect();
    if known.is_empty() {
        // New there, or moved by others: what else is known to be there.
        known.extend(repo.list_refs(&format!("refs/remotes/{remote}/"))?.into_iter().map(|(_, at)| at));
    }
    let history = repo.history(&[new], &known.iter().collect::<Vec<_>>(), &mut |_| {})?;
    let (commits, _) = history.from_tip(new);
    let mut said = Vec::new();
    for seen in unready {
        let mut count = 0;
        for commit in &commits {
            if claims(commit, &seen.thread) && is_unready(context, &seen, &commit.id)? {
                count += 1;
            }
        }
        if count > 0 {
            let commits = if count == 1 { "a commit".to_owned() } else { format!("{count} commits") };
            let thread = &seen.thread;
            said.push(format!(
                "'{branch}' takes along {commits} of thread '{thread}', which is not marked ready"
            ));
        }
    }
    Ok(said)
}

/// Whether the commit says that it is of that thread.
fn claims(commit: &StoredCommit, thread: &ThreadName) -> bool {
    stamp(&commit.message).ok().flatten().is_some_and(|stamp| stamp.thread == *thread)
}

/// Whether the thread has the commit, and had it neither when it was last called ready nor
/// when it last landed.
fn is_unready(context: &Context<'_>, seen: &Seen, commit: &CommitId) -> Result<bool, Error> {
    let repo = context.repo;
    let mark = repo.read_ref(&seen.thread.ready_ref())?;
    let landed = seen.record.as_ref().and_then(|record| record.landed.as_ref());
    for settled in mark.iter().chain(landed.map(|landed| &landed.tip)) {
        if repo.presence(settled) == Presence::Commit && repo.contains(settled, commit)? {
            return Ok(false);
        }
    }
    match &seen.tip {
        Some(tip) => Ok(repo.contains(tip, commit)?),
        None => Ok(false),
    }
}
