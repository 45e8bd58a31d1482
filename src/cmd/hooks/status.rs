//! `git heddle hooks status`: whether our hooks are reached, by trying.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::hook::status;
use crate::output::documents::FailureKind;
use crate::output::{exit, present, text_hooks as text};

/// The arguments of `hooks status`: none.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints what was found; exit code 7 if the rules are not enforced.
///
/// # Errors
/// As [`status::status`].
pub fn run(ground: &mut Ground<'_>) -> Result<u8, Error> {
    let status = status::status(ground.context)?;
    ground.print(&present::hooks::status(&status), |document, _| text::status(document))?;
    Ok(if status.is_enforced() { exit::OK } else { FailureKind::Blocked.exit_code() })
}
