//! `git heddle thread show`: one thread with its owner, captures and changed paths.

/// The arguments of `thread show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
}
