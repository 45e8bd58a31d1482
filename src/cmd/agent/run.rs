//! `git heddle agent run`: runs a command with a reservation of its own.

use std::ffi::OsString;

use super::claiming::Claiming;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::ops::reserve::Hold;
use crate::ops::run::{Ended, Plan, run as run_command};
use crate::output::documents::FailureKind;
use crate::platform::job::end_like;

/// The arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is claimed, and for whom.
    #[command(flatten)]
    pub claiming: Claiming,
    /// Capture what the command left uncommitted when it ends [default: in a worktree of its
    /// own, or where it captured]
    #[arg(long, alias = "capture", overrides_with = "no_capture")]
    pub capture_on_exit: bool,
    /// Leave what the command left uncommitted where it is
    #[arg(long, alias = "no-capture-on-exit", overrides_with = "capture_on_exit")]
    pub no_capture: bool,
    /// After a success check the thread and mark it ready, as 'agent ready' does
    #[arg(long)]
    pub ready: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Runs the command; the exit code is its own. A process that a signal killed is followed.
///
/// # Errors
/// As [`run_command`], and only if the command was not started.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let plan = Plan {
        request: args.claiming.request(Hold::Lock, None)?,
        command: args.command.clone(),
        capture: match (args.capture_on_exit, args.no_capture) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        ready: args.ready,
    };
    let narrator = ground.narrator;
    let ended = run_command(ground.context, &plan, &|sentence| narrator.warning(sentence))?;
    match ended {
        Ended::Lost { message } => {
            narrator.error(&message);
            Ok(FailureKind::SessionLost.exit_code())
        }
        Ended::Blocked { blockers } => {
            narrator.error(&format!("the thread is not ready: {}", blockers.join("; ")));
            Ok(FailureKind::Blocked.exit_code())
        }
        Ended::Command(how) => Ok(end_like(how)),
    }
}
