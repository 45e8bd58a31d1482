//! Renewing a lease, and what the agent reports of itself along with it.
//!
//! What is reported survives a power cut, as everything does that a command says it has done;
//! a lease that was merely renewed need not (`docs/adr/0006`).

use super::acting::{Claim, authorize, find, lock_read};
use crate::context::Context;
use crate::error::Error;
use crate::session::session::Usage;
use crate::session::{Session, SessionError};

/// What comes with a heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Usage so far; absolute numbers, `None` for those not reported.
    pub usage: Usage,
    /// A word on progress.
    pub progress: Option<String>,
}

/// What a heartbeat leaves.
#[derive(Debug)]
pub struct Beaten {
    /// The session.
    pub session: Session,
    /// The branch that its thread is meant to land on, if its record says.
    pub target: Option<String>,
}

/// Renews the session's lease; one that lapsed but that nobody replaced revives.
///
/// # Errors
/// [`SessionError`], also [`SessionError::UsageFell`]: nothing is then written.
pub fn heartbeat(context: &Context<'_>, claim: &Claim, report: &Report) -> Result<Beaten, Error> {
    let session = find(context, &claim.session)?;
    authorize(context, &session, claim.token.as_ref())?;
    let owned = lock_read(context, &session)?;
    let target = owned.thread().record().and_then(|record| record.target.clone());
    if *report == Report::default() {
        return Ok(Beaten { session: owned.beat()?, target });
    }
    let usage = merged(&owned.session().usage, &report.usage)?;
    let session = owned.renew(|session| {
        session.usage = usage;
        if report.progress.is_some() {
            session.progress.clone_from(&report.progress);
        }
    })?;
    Ok(Beaten { session, target })
}

/// The counters after a report; none may fall.
fn merged(before: &Usage, report: &Usage) -> Result<Usage, SessionError> {
    let grown = |counter, before: Option<u64>, now: Option<u64>| match (before, now) {
        (Some(from), Some(to)) if to < from => Err(SessionError::UsageFell { counter, from, to }),
        (before, now) => Ok(now.or(before)),
    };
    Ok(Usage {
        input_tokens: grown("input_tokens", before.input_tokens, report.input_tokens)?,
        output_tokens: grown("output_tokens", before.output_tokens, report.output_tokens)?,
        reasoning_tokens: grown("reasoning_tokens", before.reasoning_tokens, report.reasoning_tokens)?,
        tool_calls: grown("tool_calls", before.tool_calls, report.tool_calls)?,
        cost_micros_usd: grown("cost_micros_usd", before.cost_micros_usd, report.cost_micros_usd)?,
    })
}
