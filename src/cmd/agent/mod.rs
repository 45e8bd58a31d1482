//! `git heddle agent`: what an agent does with its reservation.

use std::path::PathBuf;

use super::ground::Ground;
use crate::cli::Late;
use crate::names::shell_word;
use crate::ops::bound::unadopted_of;
use crate::output::{documents, present};
use crate::session::Session;

pub mod capture;
pub mod claiming;
pub mod heartbeat;
pub mod list;
pub mod ready;
pub mod release;
pub mod reserve;
pub mod run;
pub mod show;

/// The verbs of `git heddle agent`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Claim a thread at an anchor
    Reserve(Late<reserve::Args>),
    /// Renew the lease, and report progress and usage
    Heartbeat(Late<heartbeat::Args>),
    /// Commit the worktree on the thread
    Capture(Late<capture::Args>),
    /// Capture what is dirty, check, and mark the thread ready or blocked
    Ready(Late<ready::Args>),
    /// End the session
    Release(Late<release::Args>),
    /// Run a command with a reservation of its own
    Run(Late<run::Args>),
    /// List sessions, newest first
    List(Late<list::Args>),
    /// Show one session with all its fields
    Show(Late<show::Args>),
}

/// On whose behalf a command acts.
#[derive(Debug, clap::Args)]
pub struct Actor {
    /// The session to act for [default: $HEDDLE_SESSION]
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Read the session's token from this file; a lone '-' is standard input [default:
    /// $HEDDLE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// The commits on the HEAD of the session's worktree that are not on its thread, with a word
/// for the person or the agent that made them. What cannot be looked at is worth a word too,
/// and no failure: the command has done what it was asked to.
fn unadopted(ground: &Ground<'_>, session: &Session) -> Option<documents::Unadopted> {
    let (path, found) = match unadopted_of(ground.context, session) {
        Ok(found) => found?,
        Err(error) => {
            ground.narrator.warning(&format!("cannot look at the worktree of the session: {error}"));
            return None;
        }
    };
    let thread = &session.thread;
    let todo = if found.adoptable {
        "git heddle agent capture adopts them".to_owned()
    } else {
        format!("they do not go on from its tip; see git heddle thread show {}", shell_word(thread.as_str()))
    };
    let commits = found.commits;
    ground.narrator.warning(&format!(
        "{commits} made by hand on HEAD of worktree {path:?}, not on thread '{thread}': {todo}",
        commits = if commits == 1 { "1 commit".to_owned() } else { format!("{commits} commits") },
    ));
    Some(present::unadopted(&found))
}
