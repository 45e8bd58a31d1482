//! `git heddle hooks`: the rules for plain Git commands.

use crate::cli::Late;

pub mod install;
pub mod run;
pub mod status;
pub mod uninstall;

/// The verbs of `git heddle hooks`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Have plain Git commands keep the rules
    Install(Late<install::Args>),
    /// Take the hooks away, and leave everybody else's as they were
    Uninstall(Late<uninstall::Args>),
    /// Try whether the hooks are reached
    Status(Late<status::Args>),
    /// Answer a hook of Git's; what the installed hooks start
    Run(Late<run::Args>),
}
