//! `git heddle agent capture`: commits the worktree on the thread.

use crate::cmd::ground::{Ground, claim, read_text};
use crate::error::Error;
use crate::ops::capture::{self, Request};
use crate::output::{present, text};
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

/// Captures, and prints what was captured.
///
/// # Errors
/// As [`capture::capture`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let message = match (&args.message, &args.file) {
        (Some(message), _) => Some(message.clone()),
        (None, Some(file)) => Some(read_text(file).map_err(|error| Error::Usage {
            message: format!("cannot read the message from {}: {error}", file.display()),
        })?),
        (None, None) => None,
    };
    if message.as_ref().is_some_and(|message| message.trim().is_empty()) {
        return Err(Error::Usage { message: "the commit message is empty".to_owned() });
    }
    let request = Request {
        message,
        confidence: args.confidence,
        allow_empty: args.allow_empty,
        no_verify: args.no_verify,
        dry_run: args.dry_run,
        pathspec: args.pathspec.clone(),
        cwd: std::env::current_dir().unwrap_or_default(),
        everything: false,
    };
    let captured = capture::capture(ground.context, &claim(&args.actor)?, &request)?;
    for warning in &captured.warnings {
        ground.narrator.warning(warning);
    }
    captured.notes.iter().for_each(|note| ground.narrator.note(note));
    ground.print(&present::capture(&captured, args.confidence), |document, _| text::capture(document))
}
