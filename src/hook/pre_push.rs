//! `pre-push`: a thread is published by its owner, and a target branch does not take along
//! what nobody has called ready without a word.
//!
//! `--no-verify` goes around it, as around `pre-commit`. What holds for everybody is the
//! server's to say (`pre-receive`), and `verify` finds what came by without.

use std::collections::BTreeMap;

use super::bound::acting;
use super::{Call, Verdict};
use crate::context::Context;
use crate::error::Error;
use crate::git::audit::Presence;
use crate::git::target::default_target;
use crate::names::{CommitId, READY, THREADS, ThreadName};
use crate::settings::Unready as Setting;
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
        Setting::Warn => Verdict::Pass { warnings: said },
        Setting::Refuse => Verdict::refuse(
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
        Tie::Held(session) => session.session_id == owner.id && call.lost(context).is_none(),
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
/// this push. Only the threads that the pushed commits name are looked at.
fn unready_in(push: &Push<'_>, remote: &str, context: &Context<'_>) -> Result<Vec<String>, Error> {
    let (Some(new), Some(branch)) = (&push.new, push.name.strip_prefix("refs/heads/")) else {
        return Ok(Vec::new());
    };
    let repo = context.repo;
    let is_here = |at: &&CommitId| repo.presence(at) == Presence::Commit;
    let mut known: Vec<CommitId> = push.old.iter().filter(is_here).cloned().collect();
    if known.is_empty() {
        // New there, or moved by others: what else is known to be there.
        known.extend(repo.list_refs(&format!("refs/remotes/{remote}/"))?.into_iter().map(|(_, at)| at));
    }
    let history = repo.history(&[new], &known.iter().collect::<Vec<_>>(), &mut |_| {})?;
    let mut named: BTreeMap<ThreadName, Vec<CommitId>> = BTreeMap::new();
    for commit in history.from_tip(new).0 {
        if let Ok(Some(claim)) = &commit.claim {
            named.entry(claim.thread.clone()).or_default().push(commit.id.clone());
        }
    }
    let mut said = Vec::new();
    for (thread, commits) in named {
        let Some(unready) = Unready::of(context, &thread, push.name, remote)? else { continue };
        let mut count = 0;
        for commit in &commits {
            count += usize::from(unready.has(context, commit)?);
        }
        if count > 0 {
            let commits = if count == 1 { "a commit".to_owned() } else { format!("{count} commits") };
            said.push(format!(
                "'{branch}' takes along {commits} of thread '{thread}', which is not marked ready"
            ));
        }
    }
    Ok(said)
}

/// A thread that is not marked ready.
struct Unready {
    tip: CommitId,
    /// What was called ready once, and what has landed.
    settled: Vec<CommitId>,
}

impl Unready {
    /// The thread, if it is here, not ready, and meant to land on the branch `target`.
    fn of(
        context: &Context<'_>,
        thread: &ThreadName,
        target: &str,
        remote: &str,
    ) -> Result<Option<Self>, Error> {
        let repo = context.repo;
        let Some(tip) = repo.read_ref(&thread.tip_ref())? else { return Ok(None) };
        let mark = repo.read_ref(&thread.ready_ref())?;
        if mark.as_ref() == Some(&tip) {
            return Ok(None);
        }
        let record = ThreadRecord::read(&context.layout, thread)?;
        let (wanted, head) = record
            .as_ref()
            .map_or((None, None), |record| (record.target.as_deref(), record.head_branch.as_deref()));
        let wanted = wanted.or(context.settings.target.as_deref());
        // A target that is gone is nobody's.
        let aim = default_target(repo, wanted, head).ok().flatten();
        let short = target.strip_prefix("refs/heads/").unwrap_or(target);
        let aims_there = |name: &str| name == target || name == format!("refs/remotes/{remote}/{short}");
        if !aim.is_some_and(|aim| aims_there(&aim.refname)) {
            return Ok(None);
        }
        let landed = record.and_then(|record| record.landed).map(|landed| landed.tip);
        let settled = mark.into_iter().chain(landed);
        let settled = settled.filter(|at| repo.presence(at) == Presence::Commit).collect();
        Ok(Some(Self { tip, settled }))
    }

    /// Whether it has the commit, and nobody has called that ready.
    fn has(&self, context: &Context<'_>, commit: &CommitId) -> Result<bool, Error> {
        for settled in &self.settled {
            if context.repo.contains(settled, commit)? {
                return Ok(false);
            }
        }
        Ok(context.repo.contains(&self.tip, commit)?)
    }
}
