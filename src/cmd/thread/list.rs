//! `git heddle thread list`: the threads with their owners.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::ops::threads;
use crate::output::{documents, present, text};

/// The arguments of `thread list`: none but the global ones.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the threads. A record that cannot be read is named and does not hide the rest.
///
/// # Errors
/// As [`threads::list`].
pub fn run(_args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let (seen, unreadable) = threads::list(ground.context)?;
    for sentence in unreadable {
        ground.narrator.warning(&sentence);
    }
    let rows: Vec<documents::ThreadRow> = seen.iter().map(present::thread_row).collect();
    ground.print(&rows, |rows, style| text::threads(rows, style))
}
