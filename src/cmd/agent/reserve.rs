//! `git heddle agent reserve`: claims a thread at an anchor.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{duration, positive_duration};

/// The arguments of `reserve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread to claim; it is made if it does not exist
    #[arg(long, value_name = "THREAD")]
    pub thread: String,
    /// The commit to start from
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub anchor: String,
    /// Take the thread as it is, wherever its tip stands
    #[arg(long)]
    pub resume: bool,
    /// What the agent sets out to do, for people and other agents to read
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub task: Option<String>,
    /// Keep the reservation for as long as this process lives, instead of a lease
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub hold_for_pid: Option<u32>,
    /// How long the lease lasts without a heartbeat, such as 90s or 30m [default: heddle.ttl]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub ttl: Option<Duration>,
    /// The branch that the thread is meant to land on [default: heddle.target, else the
    /// current branch, else the remote's default]
    #[arg(long, value_name = "BRANCH")]
    pub target: Option<String>,
    /// Refuse every command for this session that does not present its token
    #[arg(long)]
    pub require_token: bool,
    /// Make the request repeatable: the same request with the same secret in this file gets
    /// the same reservation [default: $HEDDLE_REQUEST_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub request_token_file: Option<PathBuf>,
    /// Wait for a live owner to go, for as long as it takes or for DURATION
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
    /// Who runs the model [default: $HEDDLE_AGENT_PROVIDER, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub provider: Option<String>,
    /// The model [default: $HEDDLE_AGENT_MODEL, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub model: Option<String>,
    /// The program that drives the model [default: $HEDDLE_AGENT_HARNESS, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub harness: Option<String>,
    /// How hard the model was told to think
    #[arg(long, value_name = "LEVEL", help_heading = "Who the agent is")]
    pub thinking_level: Option<String>,
    /// The session that started this one [default: $HEDDLE_SESSION]
    #[arg(long, value_name = "SESSION", help_heading = "Who the agent is")]
    pub parent: Option<String>,
    /// The harness's own name for this instance of itself
    #[arg(long, value_name = "ID", help_heading = "Who the agent is")]
    pub client_instance: Option<String>,
}
