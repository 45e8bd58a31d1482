//! `git heddle thread list`: the threads with their owners.

/// The arguments of `thread list`: none but the global ones.
#[derive(Debug, clap::Args)]
pub struct Args {}
