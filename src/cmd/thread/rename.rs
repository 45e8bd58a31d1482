//! `git heddle thread rename`: gives a thread another name.

use super::Handling;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::rename;
use crate::output::{present, text_rename as text};

/// The arguments of `thread rename`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "OLD")]
    pub old: String,
    /// Its new name
    #[arg(value_name = "NEW")]
    pub new: String,
    /// On whose behalf.
    #[command(flatten)]
    pub handling: Handling,
}

/// Renames the thread, and prints what it is called now.
///
/// # Errors
/// As [`rename::rename`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let (old, new) = (ThreadName::parse(&args.old)?, ThreadName::parse(&args.new)?);
    let renamed = rename::rename(ground.context, &old, &new, &args.handling.standing()?)?;
    for warning in &renamed.warnings {
        ground.narrator.warning(warning);
    }
    ground.print(&present::rename::renamed(&old, &new, &renamed), |document, _| text::renamed(document))
}
