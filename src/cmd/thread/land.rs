//! `git heddle thread land`: puts threads on their target.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::ThreadName;
use crate::ops::land::{self, Request, Strategy};
use crate::ops::worktrees::Retirement;
use crate::output::documents::FailureKind;
use crate::output::{exit, hints, present, text_threads as text};

/// The arguments of `thread land`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The threads to land, in this order
    #[arg(value_name = "THREAD", required_unless_present = "all_ready", conflicts_with = "all_ready")]
    pub threads: Vec<String>,
    /// The local branch to land on [default: each thread's own target]
    #[arg(long, value_name = "BRANCH")]
    pub into: Option<String>,
    /// How the work comes to the branch [default: ff where that is possible, else merge]
    #[arg(long, value_name = "STRATEGY", value_enum)]
    pub strategy: Option<How>,
    /// Land every thread that is marked ready, longest ready first
    #[arg(long)]
    pub all_ready: bool,
    /// Land a thread that is not marked ready too
    #[arg(long)]
    pub force: bool,
    /// Run heddle.readyCommand on each result before the branch moves
    #[arg(long)]
    pub check: bool,
    /// Push the branch afterwards [default remote: the branch's own]
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true)]
    pub push: Option<Option<String>>,
}

/// How the work comes to the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum How {
    /// Fast-forward, or not at all
    Ff,
    /// A merge commit
    Merge,
    /// One commit
    Squash,
}

/// Lands, and prints what came of it; exit code 7 if a thread is blocked, 1 if what landed could not
/// be pushed.
///
/// # Errors
/// As [`land::land`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let request = Request {
        threads: args.threads.iter().map(|name| ThreadName::parse(name)).collect::<Result<_, _>>()?,
        all_ready: args.all_ready,
        into: args.into.clone(),
        strategy: args.strategy.map(|how| match how {
            How::Ff => Strategy::FastForward,
            How::Merge => Strategy::Merge,
            How::Squash => Strategy::Squash,
        }),
        force: args.force,
        check: args.check,
        push: args.push.clone(),
    };
    let (narrator, terminal) = (ground.narrator, ground.terminal);
    let progress = |step: &str| if terminal { narrator.progress(step) } else { narrator.note(step) };
    let report = land::land(ground.context, &request, &progress)?;
    report.warnings.iter().for_each(|warning| narrator.warning(warning));
    for retirement in report.landed.iter().flat_map(|landed| &landed.worktrees) {
        if let Retirement::Kept { path, reasons } = retirement {
            narrator.warning(&format!("the worktree at {path:?} stays: {}", reasons.join("; ")));
        }
    }
    ground.print(&present::land(&report), |document, _| text::land(document))?;
    if let Some(failure) = report.push_failure {
        // Not an error of the command: that would be a second document after the report.
        let kind = FailureKind::Failed;
        narrator.error(&format!("what landed was not pushed: {failure}"));
        let hint = "the landing itself stands; push the branch yourself";
        narrator.hint(hints::advice_key(kind), hint);
        return Ok(kind.exit_code());
    }
    Ok(if report.blocked.is_empty() { exit::OK } else { FailureKind::Blocked.exit_code() })
}
