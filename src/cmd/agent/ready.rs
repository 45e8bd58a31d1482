//! `git heddle agent ready`: captures what is dirty, checks, marks ready or blocked.

use super::Actor;

/// The arguments of `ready`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// The commit message for what is captured first
    #[arg(short, long, visible_alias = "intent", value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Check the thread as it is, and capture nothing
    #[arg(long)]
    pub no_capture: bool,
    /// Do not run the pre-commit and commit-msg hooks, nor the configured checks
    #[arg(long)]
    pub no_verify: bool,
}
