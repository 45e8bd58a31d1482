//! `git heddle thread show`: one thread with everything that is known of it.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::detail::detail;
use crate::output::{present, text_threads as text};

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
/// As [`detail`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let (detail, unreadable) = detail(ground.context, &ThreadName::parse(&args.thread)?)?;
    for sentence in unreadable {
        ground.narrator.warning(&sentence);
    }
    ground.print(&present::thread_detail(&detail), text::thread)
}
