//! `pre-commit`: the refusal of `reference-transaction`, before a message was written for
//! nothing. It also renews the lease, so that a long hook or an editor does not outlast it.
//!
//! `--no-verify` goes around this hook and not around the other.

use super::bound::{refuse_lost, refuse_other};
use super::{Call, Verdict};
use crate::context::Context;
use crate::error::Error;
use crate::ops::acting::lock_owned;
use crate::thread::{OwnedThread, Tie};

/// Decides about a commit in the worktree of `context.repo`.
///
/// # Errors
/// [`crate::store::StoreError`] for records that cannot be understood.
pub(super) fn decide(call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    match Tie::of(context, context.repo.git_dir())? {
        Tie::Free => Ok(Verdict::PASS),
        Tie::Lost(binding, _) if call.acts_for(context, &binding.thread) => Ok(Verdict::PASS),
        Tie::Lost(binding, lost) => Ok(refuse_lost(&binding, &lost)),
        Tie::Unknown(error) => Ok(Verdict::warn(format!("lease not renewed: {error}"))),
        Tie::Held(session) => {
            if let Some(lost) = call.lost(context) {
                return Ok(refuse_other(&session, &lost));
            }
            let renewed = lock_owned(context, &session.session_id).and_then(OwnedThread::beat);
            Ok(match renewed {
                Ok(_) => Verdict::PASS,
                Err(error) => Verdict::warn(format!("lease not renewed: {error}")),
            })
        }
    }
}
