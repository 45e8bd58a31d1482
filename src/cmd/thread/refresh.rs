//! `git heddle thread refresh`: brings a thread up to date with its target.

use super::Handling;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::refresh::{self, Outcome, Request};
use crate::output::documents::FailureKind;
use crate::output::{exit, present, text_refresh as text};

/// The arguments of `thread refresh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread
    #[arg(value_name = "THREAD")]
    pub thread: String,
    /// The branch to refresh from [default: the thread's own target]
    #[arg(long, value_name = "BRANCH")]
    pub onto: Option<String>,
    /// Merge the branch into the thread instead of rebasing the thread
    #[arg(long)]
    pub merge: bool,
    /// Leave conflicts in the thread's worktree, as a merge in progress that the next capture
    /// commits
    #[arg(long)]
    pub keep_conflicts: bool,
    /// Give up the merge that an earlier refresh left in the worktree
    #[arg(long, conflicts_with_all = ["onto", "merge", "keep_conflicts"])]
    pub abort: bool,
    /// On whose behalf.
    #[command(flatten)]
    pub handling: Handling,
}

/// Refreshes the thread, and prints what came of it; exit code 7 if it conflicts.
///
/// # Errors
/// As [`refresh::refresh`] and [`refresh::abort`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let thread = ThreadName::parse(&args.thread)?;
    let standing = args.handling.standing()?;
    let refreshed = if args.abort {
        refresh::abort(ground.context, &thread, &standing)?
    } else {
        let request =
            Request { onto: args.onto.clone(), merge: args.merge, keep_conflicts: args.keep_conflicts };
        refresh::refresh(ground.context, &thread, &request, &standing)?
    };
    refreshed.warnings.iter().for_each(|warning| ground.narrator.warning(warning));
    let document = present::refresh::refreshed(&thread, &refreshed);
    ground.print(&document, |document, _| text::refreshed(document))?;
    Ok(match refreshed.outcome {
        Outcome::Conflicts(_) | Outcome::Kept(_) => FailureKind::Blocked.exit_code(),
        Outcome::Current | Outcome::Rebased(_) | Outcome::Merged | Outcome::Aborted => exit::OK,
    })
}
