//! `git heddle thread show`: one thread with its owner, captures and changed paths.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::threads;
use crate::output::{present, text};

/// The arguments of `thread show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
}

/// Prints one thread.
///
/// # Errors
/// As [`threads::show`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let (detail, unreadable) = threads::show(ground.context, &ThreadName::parse(&args.thread)?)?;
    for sentence in unreadable {
        ground.narrator.warning(&sentence);
    }
    ground.print(&present::thread_detail(&detail), text::thread)
}
