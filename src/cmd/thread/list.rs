//! `git heddle thread list`: the threads with their owners.

use clap::ValueEnum;

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::git::library;
use crate::ops::threads::{self, Which};
use crate::output::{Asked, documents, present, text_threads as text};

/// The arguments of `thread list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also the threads that nobody has to do anything about: those that have landed or have
    /// nothing to land, whose owner is gone
    #[arg(long)]
    pub all: bool,
    /// Print a format for scripts, which stays as it is
    #[arg(long, value_name = "VERSION", num_args = 0..=1, require_equals = true, default_missing_value = "v1")]
    pub porcelain: Option<Porcelain>,
    /// With --porcelain: end lines with NUL and quote nothing
    #[arg(short = 'z', requires = "porcelain")]
    pub nul: bool,
}

/// The version of the format for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Porcelain {
    /// The first
    #[value(alias = "1")]
    V1,
}

/// Prints the threads. A record that cannot be read is named and does not hide the rest.
///
/// # Errors
/// As [`threads::list`]; [`Error::Usage`] for two formats at once.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    if args.porcelain.is_some() && ground.settings.asked == Asked::Json {
        return Err(Error::Usage { message: "--porcelain and --json are two formats; give one".to_owned() });
    }
    library::only_look();
    library::read_trees_once();
    let which = if args.all { Which::All } else { Which::Open };
    let (seen, unreadable) = threads::list(ground.context, which)?;
    for sentence in unreadable {
        ground.narrator.warning(&sentence);
    }
    let rows: Vec<documents::ThreadRow> = seen.iter().map(present::thread_row).collect();
    let printed = match args.porcelain {
        Some(Porcelain::V1) => ground.out.text(&text::porcelain(&rows, args.nul)).map_err(Error::Output),
        None => ground.print(&rows, |rows, style| text::list(rows, args.all, style)),
    };
    // The command is over: the system takes back at once what it would take long to give back
    // piece by piece.
    std::mem::forget((seen, rows));
    printed
}
