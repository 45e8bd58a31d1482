//! `git heddle doctor`: finds what is damaged or left over, and repairs it when told to.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::ops::doctor::doctor;
use crate::output::documents::FailureKind;
use crate::output::{exit, present, text};

/// The arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Repair what can be repaired, instead of saying what would be done
    #[arg(long)]
    pub fix: bool,
}

/// Prints what was found; exit code 1 if anything is left to mend.
///
/// # Errors
/// As [`doctor`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let findings = doctor(ground.context, args.fix)?;
    ground.print(&present::doctor(&findings), |document, _| text::doctor(document))?;
    Ok(if findings.iter().all(|finding| finding.fixed) { exit::OK } else { FailureKind::Failed.exit_code() })
}
