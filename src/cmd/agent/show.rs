//! `git heddle agent show`: one session with all its fields.

use super::unadopted;
use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::names::SessionId;
use crate::ops::listing;
use crate::output::{present, text};

/// The arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    #[arg(value_name = "SESSION")]
    pub session: String,
}

/// Prints one session.
///
/// # Errors
/// As [`listing::show`].
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let (seen, unreadable) = listing::show(ground.context, &SessionId::parse(&args.session)?)?;
    if let Some(sentence) = unreadable {
        ground.narrator.warning(&sentence);
    }
    let mut document = present::session(&seen.session, seen.liveness, seen.target.as_deref(), None);
    document.unadopted = unadopted(ground, &seen.session);
    ground.print(&document, text::session)
}
