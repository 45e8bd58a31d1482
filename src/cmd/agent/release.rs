//! `git heddle agent release`: ends the session.

use super::Actor;

/// The arguments of `release`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// How the session ends
    #[arg(long, value_name = "STATUS", value_enum, default_value = "complete")]
    pub status: Outcome,
    /// End a session that is not one's own, or that leaves uncaptured work behind
    #[arg(long)]
    pub force: bool,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Outcome {
    /// The work is done
    Complete,
    /// The work was given up
    Abandoned,
}
