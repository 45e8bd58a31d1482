//! `git heddle hooks uninstall`: takes our hooks away, and leaves everybody else's as they were.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::hook::install;
use crate::output::{present, text_hooks as text};

/// The arguments of `hooks uninstall`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take them out of the template of new repositories (init.templateDir) instead
    #[arg(long)]
    pub global_template: bool,
}

/// Uninstalls, and prints what was done.
///
/// # Errors
/// As [`install::uninstall`].
pub fn run(ground: &mut Ground<'_>) -> Result<(), Error> {
    let report = install::uninstall(ground.context)?;
    ground.print(&present::hooks::hooks(&report), |document, _| text::hooks(document))
}
