//! `git heddle thread promote`: makes a branch of a thread.

use super::Handling;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::promote;
use crate::output::{present, text_threads as text};

/// The arguments of `thread promote`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
    /// The branch to make, or to move forward [default: the thread's name]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// On whose behalf.
    #[command(flatten)]
    pub handling: Handling,
}

/// Makes the branch, and prints it.
///
/// # Errors
/// As [`promote::promote`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let thread = ThreadName::parse(&args.thread)?;
    let standing = args.handling.standing()?;
    let promoted = promote::promote(ground.context, &thread, args.branch.as_deref(), &standing)?;
    ground.print(&present::promoted(&promoted), |document, _| text::promoted(document))
}
