//! `git heddle agent heartbeat`: renews the lease.

use super::{Actor, unadopted};
use crate::cmd::ground::{Ground, claim};
use crate::error::Error;
use crate::ops::heartbeat::{Beaten, Report, heartbeat};
use crate::output::{present, text};
use crate::session::session;
use crate::thread::locked::liveness_of;

/// The arguments of `heartbeat`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// What the agent is doing, in a line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub progress: Option<String>,
    /// What the agent has used.
    #[command(flatten)]
    pub usage: Usage,
}

/// What the agent has used so far: absolute counters that never go backwards.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Usage so far (absolute, never backwards)")]
pub struct Usage {
    /// Tokens that the model read
    #[arg(long, value_name = "N")]
    pub input_tokens: Option<u64>,
    /// Tokens that the model wrote
    #[arg(long, value_name = "N")]
    pub output_tokens: Option<u64>,
    /// Tokens that the model thought
    #[arg(long, value_name = "N")]
    pub reasoning_tokens: Option<u64>,
    /// Calls of tools
    #[arg(long, value_name = "N")]
    pub tool_calls: Option<u64>,
    /// Cost in millionths of a US dollar
    #[arg(long, value_name = "N")]
    pub cost_micros_usd: Option<u64>,
}

/// Renews the lease, and prints the session.
///
/// # Errors
/// As [`heartbeat`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let usage = session::Usage {
        input_tokens: args.usage.input_tokens,
        output_tokens: args.usage.output_tokens,
        reasoning_tokens: args.usage.reasoning_tokens,
        tool_calls: args.usage.tool_calls,
        cost_micros_usd: args.usage.cost_micros_usd,
    };
    let report = Report { usage, progress: args.progress.clone() };
    let Beaten { session, target } = heartbeat(ground.context, &claim(&args.actor)?, &report)?;
    let liveness = liveness_of(ground.context, &session);
    let mut document = present::session(&session, liveness, target.as_deref(), None);
    document.unadopted = unadopted(ground, &session);
    ground.print(&document, text::session)
}
