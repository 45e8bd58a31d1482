//! `git heddle log`: the event log.

use crate::cli::{Since, since};

/// The arguments of `log`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events of this thread only
    #[arg(long, value_name = "THREAD")]
    pub thread: Option<String>,
    /// Events of this session only
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Events after this time: a duration before now (2h) or an RFC 3339 time in UTC
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Go on printing events as they happen
    #[arg(long)]
    pub follow: bool,
}
