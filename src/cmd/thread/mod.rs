//! `git heddle thread`: the lines of work.

use super::agent::Actor;
use super::ground::claim_if_any;
use crate::cli::Late;
use crate::error::Error;
use crate::ops::standing::Standing;

pub mod diff;
pub mod drop;
pub mod land;
pub mod list;
pub mod log;
pub mod promote;
pub mod refresh;
pub mod rename;
pub mod show;

/// The verbs of `git heddle thread`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List threads with their owners
    List(Late<list::Args>),
    /// Show one thread: owner, captures, changed paths
    Show(Late<show::Args>),
    /// Show the commits of a thread, by 'git log'
    Log(Late<log::Args>),
    /// Show what a thread changes, by 'git diff'
    Diff(Late<diff::Args>),
    /// Put threads on their target
    Land(Late<land::Args>),
    /// Make a branch of a thread
    Promote(Late<promote::Args>),
    /// Bring a thread up to date with its target
    Refresh(Late<refresh::Args>),
    /// Give a thread another name
    Rename(Late<rename::Args>),
    /// Give a thread up
    Drop(Late<drop::Args>),
}

/// On whose behalf a thread is handled.
#[derive(Debug, clap::Args)]
pub struct Handling {
    /// On whose behalf.
    #[command(flatten)]
    pub actor: Actor,
    /// Do it although another session owns the thread, which ends as abandoned, or although
    /// something would be lost
    #[arg(long)]
    pub force: bool,
}

impl Handling {
    /// What that amounts to.
    ///
    /// # Errors
    /// [`Error::Session`] for a session or a token that cannot be.
    pub fn standing(&self) -> Result<Standing, Error> {
        Ok(Standing { claim: claim_if_any(&self.actor)?, force: self.force })
    }
}
