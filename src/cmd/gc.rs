//! `git heddle gc`: removes what nobody needs any more.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::ops::gc::gc;
use crate::output::{present, text_threads as text};

/// The arguments of `gc`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Removes, and prints what.
///
/// # Errors
/// As [`gc`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let report = gc(ground.context, args.dry_run)?;
    for sentence in &report.kept {
        ground.narrator.warning(sentence);
    }
    ground.print(&present::gc(&report, args.dry_run), |document, _| text::gc(document))
}
