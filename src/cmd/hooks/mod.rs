//! `git heddle hooks`: the rules for plain Git commands.

pub mod run;

/// The verbs of `git heddle hooks`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Answer a hook of Git's; what the installed hooks start
    Run(run::Args),
}
