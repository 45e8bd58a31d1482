//! `git heddle fetch`: gets the threads and ready marks of a remote.

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::ops::publish::fetch;
use crate::output::{present::traffic as present, text_traffic as text};

/// The arguments of `fetch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where from [default: origin, else the only remote]
    #[arg(value_name = "REMOTE")]
    pub remote: Option<String>,
}

/// Fetches, and prints what the remote has.
///
/// # Errors
/// As [`fetch`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let report = fetch(ground.context, args.remote.as_deref())?;
    for warning in &report.warnings {
        ground.narrator.warning(warning);
    }
    ground.print(&present::fetched(&report), |document, _| text::fetched(document))
}
