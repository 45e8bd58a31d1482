//! `git heddle thread drop`: gives a thread up.

use super::Handling;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::drop;
use crate::output::{present, text_threads as text};

/// The arguments of `thread drop`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
    /// On whose behalf.
    #[command(flatten)]
    pub handling: Handling,
}

/// Drops the thread, and prints how to get it back.
///
/// # Errors
/// As [`drop::drop`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let thread = ThreadName::parse(&args.thread)?;
    let dropped = drop::drop(ground.context, &thread, &args.handling.standing()?)?;
    ground.print(&present::dropped(&dropped), |document, _| text::dropped(document))
}
