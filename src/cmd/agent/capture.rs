//! `git heddle agent capture`: commits the worktree on the thread.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Actor;
use crate::cli::confidence;

/// The arguments of `capture`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// The commit message
    #[arg(
        short,
        long,
        visible_alias = "intent",
        value_name = "TEXT",
        allow_hyphen_values = true,
        overrides_with = "file"
    )]
    pub message: Option<String>,
    /// Read the commit message from this file; a lone '-' is standard input
    #[arg(short = 'F', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How sure the agent is of its work, from 0 to 1
    #[arg(long, value_name = "0..1", value_parser = confidence, allow_negative_numbers = true)]
    pub confidence: Option<f64>,
    /// Make a commit even if nothing has changed
    #[arg(long)]
    pub allow_empty: bool,
    /// Do not run the pre-commit and commit-msg hooks
    #[arg(long)]
    pub no_verify: bool,
    /// Say what would be captured, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Capture these paths only, as `git commit --only` would
    #[arg(last = true, value_name = "PATHSPEC")]
    pub pathspec: Vec<OsString>,
}
