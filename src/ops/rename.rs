//! Giving a thread another name.
//!
//! What can be refused is refused before anything is written, an owner's end by force
//! included; `thread::rename` then does it under the locks of both names, and argues what a
//! crash comes to. What was captured keeps the old name in its trailers: commits are not
//! rewritten, and the session that a trailer names is the same under every name.

use super::standing::{self, Standing};
use super::{acting, drop, land, reserve, worktrees};
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::names::ThreadName;
use crate::thread::rename::Renamed;
use crate::thread::{LockedPair, ThreadRecord};

/// Renames the thread `from` to `to`.
///
/// # Errors
/// [`Error::Owned`]; [`Error::Refused`] if the new name is taken, lies above or below another
/// thread's, or differs from one only in case; [`Error::Usage`] if it is no other name.
pub fn rename(
    context: &Context<'_>,
    from: &ThreadName,
    to: &ThreadName,
    standing: &Standing,
) -> Result<Renamed, Error> {
    if from == to {
        return Err(Error::Usage { message: format!("thread '{from}' has that name already") });
    }
    drop::tip_of(context, from)?;
    acting::repair_around(context, to)?;
    if standing.force {
        // No owner is to lose it for a name that is then refused.
        context.repo.try_out(to)?;
    }
    refuse_taken(context, to)?;
    if is_landing(ThreadRecord::read(&context.layout, from)?.as_ref()) {
        // In its turn: a landing that is under way is waited for, a dead one is finished.
        land::finish_of(context, from)?;
    }
    // A thread whose ref is gone may have left an owner: a live one keeps the name.
    std::mem::drop(standing::take(context, to, &Standing::default())?);
    // Whoever looks whether a worktree is still used by its thread's session must not come in
    // between: it is neither the one's nor the other's.
    let _worktrees = worktrees::serial(context)?;
    let owner = standing::take(context, from, standing)?.owner().map(|owner| owner.id);
    let pair = LockedPair::take(context, from, to)?;
    match (pair.owner().map(|owner| owner.id), pair.owner_of_the_new_name()) {
        (now, None) if now == owner => {}
        (Some(other), None) => return Err(Error::Owned { thread: from.clone(), owner: other }),
        (_, Some(other)) => return Err(Error::Owned { thread: to.clone(), owner: other.id }),
        (None, None) => {
            let message = format!("the session that owned thread '{from}' has just ended");
            return Err(Error::Refused { message, hint: Some("repeat the command".to_owned()) });
        }
    }
    if is_landing(pair.record()) {
        let message = format!("thread '{from}' is being landed");
        return Err(Error::Refused { message, hint: Some("repeat the command when it has".to_owned()) });
    }
    refuse_taken(context, to)?;
    pair.rename()
}

fn is_landing(record: Option<&ThreadRecord>) -> bool {
    record.is_some_and(|record| record.landing.is_some())
}

/// Refuses a name that a thread has, or that cannot be one's beside those that there are. The
/// old name counts too: Git cannot make a ref below another before that is gone.
fn refuse_taken(context: &Context<'_>, to: &ThreadName) -> Result<(), Error> {
    acting::repair(context, to)?;
    for name in [to.tip_ref(), to.ready_ref()] {
        if context.repo.read_ref(&name)?.is_some() {
            let message = format!("cannot rename to '{to}': ref '{name}' exists");
            let hint = "choose another name, or drop that thread first".to_owned();
            return Err(Error::Refused { message, hint: Some(hint) });
        }
        if let Some(existing) = context.repo.obstacle(&name)? {
            return Err(GitError::RefClash { name, existing }.into());
        }
    }
    reserve::refuse_case_twin(context, to)
}
