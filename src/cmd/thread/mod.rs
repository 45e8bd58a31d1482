//! `git heddle thread`: the lines of work.

pub mod list;
pub mod show;

/// The verbs of `git heddle thread`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List threads with their owners
    List(list::Args),
    /// Show one thread: owner, captures, changed paths
    Show(show::Args),
}
