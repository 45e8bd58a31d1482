//! `reference-transaction`: who may move a thread, and what a commit on a bound worktree's
//! HEAD does to it.
//!
//! # prepared
//! Git holds its own locks on the refs, so the thread's lock is not taken: whoever holds that
//! may be waiting for Git's. What is judged is therefore a moment; that a change of owner
//! takes Git's lock on the ref too is what makes the judgement hold until Git is done.
//!
//! # committed
//! The refs have moved and Git's locks on them are gone. Nothing can be refused any more.
//!
//! # Packing
//! `git pack-refs` reports every ref as created (`0 → X`, into packed-refs) and then as
//! deleted (`X → 0`, the loose file). Neither changes anything: a create equal to the current
//! value, and a delete of what packed-refs holds. A real delete has packed-refs locked at this
//! point, pruning does not any more. What was moved since it was read is packed as it was, which
//! changes nothing either, as the loose file counts: packing has packed-refs locked then and not
//! the ref, and a real move has the ref locked. Others may hold either lock at the moment, so one
//! that is there counts as the command's own only while it is the same one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bound::{acting, refuse_lost, refuse_other};
use super::landing;
use super::{Call, Verdict, commit};
use crate::context::Context;
use crate::error::Error;
use crate::git::repo::Head;
use crate::names::{CommitId, READY, THREADS, ThreadName, shell_word};
use crate::session::SessionError;
use crate::store::StoreError;
use crate::store::journal::FileIdentity;
use crate::thread::{ThreadRecord, Tie};

const BRANCHES: &str = "refs/heads/";
/// Everything that heddle keeps in refs.
const OURS: &str = "refs/heddle/";
/// How long to wait for whoever has packed-refs or a ref locked: either it is the command that is
/// asked about, and waits for us, or it is soon done. Git itself waits as long for packed-refs.
const PACKED: Duration = Duration::from_secs(1);

/// One ref of the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Update<'a> {
    old: &'a str,
    new: &'a str,
    name: &'a str,
}

impl<'a> Update<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, ' ');
        Some(Self { old: fields.next()?, new: fields.next()?, name: fields.next()? })
    }

    /// Whether it is one of HEAD, which is `on` a branch: since 2.48 Git tells of that alone.
    fn is_of_head(&self, on: Option<&str>) -> bool {
        self.name == "HEAD" || on == Some(self.name)
    }

    /// The commit that the ref is to be at; `None` if it is to go, or to be symbolic.
    fn new_commit(&self) -> Option<CommitId> {
        commit(self.new)
    }
}

/// Decides. The first argument is the state; what follows are lines that the shim has read
/// from standard input already.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood.
pub(super) fn decide(call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    let mut args = call.args.iter().map(|arg| arg.to_string_lossy());
    let state = args.next().unwrap_or_default();
    let mut text = args.fold(String::new(), |text, line| text + &line + "\n");
    text.push_str(&String::from_utf8_lossy(call.stdin));
    let mut updates = text.lines().filter_map(Update::parse);
    let on = updates.clone().any(|update| update.name.starts_with(BRANCHES)).then(|| branch(context));
    let on = on.flatten();
    match state.as_ref() {
        "prepared" => {
            for update in updates {
                let verdict = judge(&update, on.as_deref(), call, context)?;
                if matches!(verdict, Verdict::Refuse { .. }) && !call.vouched {
                    return Ok(verdict);
                }
            }
            Ok(Verdict::PASS)
        }
        "committed" if !call.vouched => match updates.find(|update| update.is_of_head(on.as_deref())) {
            Some(update) => landing::after_move(call, context, update.new_commit().as_ref()),
            None => Ok(Verdict::PASS),
        },
        _ => Ok(Verdict::PASS),
    }
}

/// The branch that HEAD of this worktree is on.
fn branch(context: &Context<'_>) -> Option<String> {
    match context.repo.head_of_worktree(context.repo.git_dir()).ok()?? {
        Head::Branch { name, .. } | Head::Unborn { branch: name } => Some(name),
        Head::Detached { .. } => None,
    }
}

/// Judges one ref that is about to change, where HEAD is `on` a branch.
fn judge(
    update: &Update<'_>,
    on: Option<&str>,
    call: &Call<'_>,
    context: &Context<'_>,
) -> Result<Verdict, Error> {
    if update.name.starts_with(OURS) {
        return judge_ours(update, call, context);
    }
    match worktree_of(if update.is_of_head(on) { "HEAD" } else { update.name }, context) {
        Some(git_dir) => judge_head(update, &git_dir, call, context),
        None => Ok(Verdict::PASS),
    }
}

/// The Git directory of the worktree whose HEAD the ref `name` is.
fn worktree_of(name: &str, context: &Context<'_>) -> Option<PathBuf> {
    let common = context.repo.common_dir();
    match name {
        "HEAD" => Some(context.repo.git_dir().to_owned()),
        "main-worktree/HEAD" => Some(common.to_owned()),
        _ => {
            let id = name.strip_prefix("worktrees/")?.strip_suffix("/HEAD")?;
            Some(common.join("worktrees").join(id))
        }
    }
}

/// Judges a move of a HEAD: it may not move in a worktree whose session was lost, nor on behalf
/// of a session that was lost, as what is committed there lands on the thread.
fn judge_head(
    update: &Update<'_>,
    git_dir: &Path,
    call: &Call<'_>,
    context: &Context<'_>,
) -> Result<Verdict, Error> {
    let tie = Tie::of(context, git_dir)?;
    if matches!(tie, Tie::Free | Tie::Unknown(_)) {
        return Ok(Verdict::PASS);
    }
    // `git worktree add` reports the HEAD of the worktree that it makes from the one that it
    // runs in. Git has a HEAD locked that it is about to move.
    let moves = context.repo.lock_of_head(git_dir).exists() && !is_at(git_dir, update, context);
    Ok(match tie {
        Tie::Lost(binding, lost) if moves && !call.acts_for(context, &binding.thread) => {
            refuse_lost(&binding, &lost)
        }
        Tie::Held(session) if moves => match call.lost(context) {
            Some(lost) => refuse_other(&session, &lost),
            None => Verdict::PASS,
        },
        _ => Verdict::PASS,
    })
}

/// Whether HEAD of the worktree is already what the update makes of it.
fn is_at(git_dir: &Path, update: &Update<'_>, context: &Context<'_>) -> bool {
    let Ok(Some(head)) = context.repo.head_of_worktree(git_dir) else { return false };
    match (head, update.new.strip_prefix("ref:")) {
        (Head::Branch { name, .. } | Head::Unborn { branch: name }, Some(to)) => name == to,
        (Head::Detached { .. }, Some(_)) => false,
        // A commit on the branch that HEAD is on is told as one of HEAD.
        (Head::Detached { commit } | Head::Branch { commit, .. }, None) => {
            Some(commit) == update.new_commit()
        }
        (Head::Unborn { .. }, None) => update.new_commit().is_none(),
    }
}

/// Judges a ref of heddle's own: it moves for the owner of its thread.
fn judge_ours(update: &Update<'_>, call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    if leaves_as_is(update, context)? {
        return Ok(Verdict::PASS);
    }
    let verdict = judge_move(update, call, context);
    let refused = !matches!(verdict, Ok(Verdict::Pass { .. }));
    if refused && !call.vouched && only_packs(update, context)? {
        return Ok(Verdict::PASS);
    }
    verdict
}

/// Judges a move of a ref of heddle's own.
fn judge_move(update: &Update<'_>, call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    let name = update.name;
    let thread = name.strip_prefix(THREADS).or_else(|| name.strip_prefix(READY));
    let Some(thread) = thread.and_then(|thread| ThreadName::parse(thread).ok()) else {
        let message = format!("'{name}' is kept by git heddle, and nobody else writes it");
        return Ok(Verdict::refuse(message, "git heddle thread list shows the threads there are"));
    };
    let record = match ThreadRecord::read(&context.layout, &thread) {
        // Whose thread it is cannot be told: nobody's who asks.
        Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
            return Ok(Verdict::refuse(
                error.to_string(),
                "git heddle doctor says what can be done about it",
            ));
        }
        record => record?,
    };
    let Some(owner) = record.and_then(|record| record.owner) else {
        return Ok(Verdict::refuse(
            format!("thread '{thread}' has no owner, and '{name}' moves for its owner only"),
            format!(
                "reserve it first: git heddle agent reserve --thread {} --resume",
                shell_word(thread.as_str())
            ),
        ));
    };
    let mut why = format!("thread '{thread}' is reserved by session '{owner}', and moves for its owner only");
    if let Some(claim) = call.claim {
        match acting(context, claim) {
            Ok(session) if session.session_id == owner => return Ok(Verdict::PASS),
            Ok(session) => why = format!("{why}: you are session '{}'", session.session_id),
            Err(error) => why = format!("{why}: {error}"),
        }
    }
    match Tie::of(context, context.repo.git_dir())? {
        Tie::Held(session) if session.session_id == owner && call.lost(context).is_none() => {
            return Ok(Verdict::PASS);
        }
        Tie::Lost(_, lost @ (SessionError::Ended { .. } | SessionError::Replaced { .. })) => {
            why = format!("{why}: {lost}");
        }
        _ => {}
    }
    Ok(Verdict::refuse(
        why,
        "the owner sets HEDDLE_SESSION (and HEDDLE_TOKEN where it is required), or works in its own worktree; \
         anybody else waits: git heddle agent reserve --wait",
    ))
}

/// Whether an update is one to what the ref is at already.
fn leaves_as_is(update: &Update<'_>, context: &Context<'_>) -> Result<bool, Error> {
    let Some(new) = update.new_commit() else { return Ok(false) };
    Ok(context.repo.read_ref(update.name)?.as_ref() == Some(&new))
}

/// Whether an update only moves a value between the ref's own file and packed-refs. Whose
/// locks there are may take a while to see.
fn only_packs(update: &Update<'_>, context: &Context<'_>) -> Result<bool, Error> {
    let packed_lock = context.repo.common_dir().join("packed-refs.lock");
    if update.new_commit().is_some() {
        return Ok(packed_lock.exists() && !stays(&context.layout.ref_lock(update.name)));
    }
    let Some(old) = commit(update.old) else { return Ok(false) };
    Ok(context.repo.packed_ref(update.name)?.as_ref() == Some(&old) && !stays(&packed_lock))
}

/// Whether a lock of Git's is there all the time that we wait for it, and the same one.
fn stays(lock: &Path) -> bool {
    let deadline = Instant::now() + PACKED;
    let Some(seen) = FileIdentity::of(lock) else { return false };
    while seen.is_at(lock) {
        if Instant::now() >= deadline {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_two_values_and_a_name() {
        let zeros = "0".repeat(40);
        let line = format!("{zeros} ref:refs/heads/br HEAD");
        let update = Update::parse(&line).expect("an update");
        assert_eq!((update.name, update.new_commit()), ("HEAD", None));
        assert_eq!(commit(&zeros), None);
        assert!(commit(&"a".repeat(40)).is_some());
        assert_eq!(Update::parse("nonsense"), None);
    }
}
