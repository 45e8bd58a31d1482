//! `git heddle publish`: pushes threads and their ready marks.

use crate::cmd::agent::Actor;
use crate::cmd::ground::{Ground, claim_if_any};
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::publish::{Request, publish};
use crate::output::{present::traffic as present, text_traffic as text};

/// The arguments of `publish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to [default: remote.pushDefault, else origin, else the only remote]
    #[arg(value_name = "REMOTE")]
    pub remote: Option<String>,
    /// The threads [default: that of the session, else all that no live session owns]
    #[arg(value_name = "THREAD")]
    pub threads: Vec<String>,
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// Publish what another session owns, and overwrite work of the remote's that is not here
    #[arg(long)]
    pub force: bool,
    /// Say what would be pushed, and push nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Publishes, and prints what.
///
/// # Errors
/// As [`publish`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let request = Request {
        remote: args.remote.clone(),
        threads: args.threads.iter().map(|name| ThreadName::parse(name)).collect::<Result<_, _>>()?,
        claim: claim_if_any(&args.actor)?,
        force: args.force,
        dry_run: args.dry_run,
    };
    let report = publish(ground.context, &request)?;
    for (thread, owner) in &report.skipped {
        ground.narrator.warning(&format!("thread '{thread}' was left out: session '{owner}' owns it"));
    }
    for sentence in &report.unreadable {
        ground.narrator.warning(&format!("a thread was left out: {sentence}"));
    }
    ground.print(&present::published(&report), |document, _| text::published(document))
}
