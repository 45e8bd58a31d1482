//! `git heddle agent release`: ends the session.

use super::Actor;
use crate::cmd::ground::{Ground, claim};
use crate::error::Error;
use crate::ops::release::release;
use crate::ops::worktrees::Retirement;
use crate::output::{present, text};
use crate::session::session::End;
use crate::thread::locked::{liveness_of, target_of};

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

/// Ends the session, and prints it.
///
/// # Errors
/// As [`release`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let how = match args.status {
        Outcome::Complete => End::Complete,
        Outcome::Abandoned => End::Abandoned,
    };
    let released = release(ground.context, &claim(&args.actor)?, how, args.force)?;
    if let Retirement::Kept { path, reasons } = &released.worktree {
        ground.narrator.warning(&format!("the worktree at {path:?} stays: {}", reasons.join("; ")));
    }
    if let Some(path) = &released.damaged {
        ground.narrator.warning(&format!("the session's record was damaged, and is kept at {path:?}"));
    }
    let session = released.session;
    let target = target_of(ground.context, &session.thread);
    let liveness = liveness_of(ground.context, &session);
    ground.print(&present::session(&session, liveness, target.as_deref(), None), text::session)
}
