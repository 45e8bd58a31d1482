//! `git heddle agent`: what an agent does with its reservation.

use std::path::PathBuf;

pub mod capture;
pub mod claiming;
pub mod heartbeat;
pub mod list;
pub mod ready;
pub mod release;
pub mod reserve;
pub mod run;
pub mod show;

/// The verbs of `git heddle agent`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Claim a thread at an anchor
    Reserve(reserve::Args),
    /// Renew the lease, and report progress and usage
    Heartbeat(heartbeat::Args),
    /// Commit the worktree on the thread
    Capture(capture::Args),
    /// Capture what is dirty, check, and mark the thread ready or blocked
    Ready(ready::Args),
    /// End the session
    Release(release::Args),
    /// Run a command with a reservation of its own
    Run(run::Args),
    /// List sessions, newest first
    List(list::Args),
    /// Show one session with all its fields
    Show(show::Args),
}

/// On whose behalf a command acts.
#[derive(Debug, clap::Args)]
pub struct Actor {
    /// The session to act for [default: $HEDDLE_SESSION]
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Read the session's token from this file; a lone '-' is standard input [default:
    /// $HEDDLE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}
