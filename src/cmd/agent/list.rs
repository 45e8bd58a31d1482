//! `git heddle agent list`: the sessions, newest first.

use crate::output::documents::SessionStatus;

/// The arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sessions of this thread only
    #[arg(long, value_name = "THREAD")]
    pub thread: Option<String>,
    /// Leave out sessions that ended or whose agent is dead
    #[arg(long)]
    pub alive_only: bool,
    /// Sessions of this status only
    #[arg(long, value_name = "STATUS", value_enum)]
    pub status: Option<Status>,
}

/// The status of a session, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Status {
    /// It owns its thread
    Active,
    /// It was given up, or replaced after its death
    Abandoned,
    /// It was released with its work done
    Complete,
    /// Its work has landed
    Merged,
}

impl From<Status> for SessionStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Abandoned => Self::Abandoned,
            Status::Complete => Self::Complete,
            Status::Merged => Self::Merged,
        }
    }
}
