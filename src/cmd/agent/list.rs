//! `git heddle agent list`: the sessions, newest first.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::listing::{self, Filter};
use crate::output::documents::SessionStatus;
use crate::output::{documents, present, text};
use crate::session::session;

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

/// Prints the sessions. A record that cannot be read is named and does not hide the rest.
///
/// # Errors
/// As [`listing::list`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let filter = Filter {
        thread: args.thread.as_deref().map(ThreadName::parse).transpose()?,
        alive_only: args.alive_only,
        status: args.status.map(|status| match status {
            Status::Active => session::Status::Active,
            Status::Abandoned => session::Status::Abandoned,
            Status::Complete => session::Status::Complete,
            Status::Merged => session::Status::Merged,
        }),
    };
    let (seen, unreadable) = listing::list(ground.context, &filter)?;
    for sentence in unreadable {
        ground.narrator.warning(&sentence);
    }
    let row =
        |seen: &listing::Seen| present::session(&seen.session, seen.liveness, seen.target.as_deref(), None);
    let rows: Vec<documents::Session> = seen.iter().map(row).collect();
    ground.print(&rows, |rows, style| text::sessions(rows, style))
}
