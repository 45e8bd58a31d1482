//! `git heddle thread diff`: hands over to `git diff` with the right range.

use std::ffi::OsString;

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::detail::{Look, hand_over};

/// The arguments of `thread diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
    /// More options for 'git diff'
    #[arg(value_name = "OPTION", last = true)]
    pub options: Vec<OsString>,
}

/// Runs `git diff`, whose pager, colours and exit code are the user's.
///
/// # Errors
/// As [`hand_over`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    hand_over(ground.context, &ThreadName::parse(&args.thread)?, Look::Diff, &args.options)
}
