//! `git heddle hooks install`: has plain Git commands keep the rules.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::hook::Side;
use crate::hook::install;
use crate::output::{present, text_hooks as text};

/// The arguments of `hooks install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Install what a server needs, in a bare repository that is pushed to
    #[arg(long, conflicts_with = "global_template")]
    pub server: bool,
    /// Install in the template of new repositories (init.templateDir) instead
    #[arg(long)]
    pub global_template: bool,
}

/// Installs, and prints what was done.
///
/// # Errors
/// As [`install::install`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let side = if args.server { Side::Server } else { Side::Client };
    let report = install::install(ground.context, side)?;
    for warning in &report.warnings {
        ground.narrator.warning(warning);
    }
    ground.print(&present::hooks::hooks(&report), |document, _| text::hooks(document))
}
