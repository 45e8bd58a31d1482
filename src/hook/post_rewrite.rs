//! `post-rewrite`: an amended commit, or a finished rebase, takes the place of what it
//! replaces on the thread. What was there stays reachable from the thread's reflog.

use super::{Call, Verdict, landing};
use crate::context::Context;
use crate::error::Error;
use crate::git::repo::Head;
use crate::names::CommitId;
use crate::thread::Tie;

/// Lands what was rewritten, if the thread was at it.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood;
/// [`crate::git::GitError`].
pub(super) fn decide(call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    let repo = context.repo;
    let Tie::Held(session) = Tie::of(context, repo.git_dir())? else { return Ok(Verdict::PASS) };
    let (Head::Detached { commit: head } | Head::Branch { commit: head, .. }) = repo.head()? else {
        return Ok(Verdict::PASS);
    };
    let text = String::from_utf8_lossy(call.stdin);
    let mut replaced = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let mut next = || CommitId::parse(fields.next()?).ok();
        Some((next()?, next()?))
    });
    let before = match call.args.first().and_then(|arg| arg.to_str()) {
        // An amend in the middle of a rebase is a part of the rebase.
        Some("amend") if !repo.is_moving_head() => replaced.find(|(_, new)| *new == head).map(|(old, _)| old),
        // Git's files of the rebase are still there, and tell where it began.
        Some("rebase") => repo.rebased_from().or_else(|| replaced.next_back().map(|(old, _)| old)),
        _ => None,
    };
    match before {
        Some(before) if before != head => landing::land(call, context, &session, &before, &head),
        _ => Ok(Verdict::PASS),
    }
}
