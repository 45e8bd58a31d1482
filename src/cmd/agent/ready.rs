//! `git heddle agent ready`: captures what is dirty, checks, marks ready or blocked.

use super::Actor;
use crate::cmd::ground::{Ground, claim};
use crate::error::Error;
use crate::ops::ready::{self, Request};
use crate::output::documents::{FailureKind, ReadyStatus};
use crate::output::{exit, present, text};

/// The arguments of `ready`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// The commit message for what is captured first
    #[arg(short, long, visible_alias = "intent", value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Check the thread as it is, and capture nothing
    #[arg(long)]
    pub no_capture: bool,
    /// Do not run the pre-commit and commit-msg hooks; the checks of heddle.readyCommand are
    /// run all the same
    #[arg(long)]
    pub no_verify: bool,
}

/// Checks the thread, and prints the report; the exit code tells ready from blocked.
///
/// # Errors
/// As [`ready::ready`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let request = Request {
        message: args.message.clone(),
        no_capture: args.no_capture,
        no_verify: args.no_verify,
        cwd: std::env::current_dir().unwrap_or_default(),
    };
    let report = ready::ready(ground.context, &claim(&args.actor)?, &request)?;
    for warning in &report.findings.warnings {
        ground.narrator.warning(warning);
    }
    let document = present::ready(&report);
    ground.print(&document, |document, _| text::ready(document))?;
    Ok(match document.status {
        ReadyStatus::Completed => exit::OK,
        ReadyStatus::Blocked => FailureKind::Blocked.exit_code(),
    })
}
