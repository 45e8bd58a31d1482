//! `git heddle agent reserve`: claims a thread at an anchor.

use std::path::PathBuf;

use super::claiming::Claiming;
use crate::cmd::ground::{Ground, environment, token_from};
use crate::error::Error;
use crate::ops::release::take_back;
use crate::ops::reserve::{Hold, reserve};
use crate::ops::stay;
use crate::output::{present, text};
use crate::session::token::Token;
use crate::thread::locked::liveness_of;

/// The arguments of `reserve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is claimed, and for whom.
    #[command(flatten)]
    pub claiming: Claiming,
    /// Keep the reservation for as long as this process lives, instead of a lease
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub hold_for_pid: Option<u32>,
    /// Have a process in the background watch the worktree for as long as the session may live, so
    /// that captures look only at what changed
    #[arg(long)]
    pub watch: bool,
    /// Make the request repeatable: the same request with the same secret in this file gets
    /// the same reservation [default: $HEDDLE_REQUEST_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub request_token_file: Option<PathBuf>,
}

/// A request token shorter than this cannot hold 128 bits, even in base64.
const REQUEST_TOKEN_MIN: usize = 22;

/// Reserves, and prints the reservation with its token.
///
/// # Errors
/// As [`reserve`]. If the answer cannot be printed, the reservation is taken back, unless
/// it can be asked for again.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let hold = args.hold_for_pid.map_or(Hold::Lease, Hold::Process);
    let request = args.claiming.request(hold, request_token(args)?)?;
    let reserved = reserve(ground.context, &request)?;
    for warning in &reserved.warnings {
        ground.narrator.warning(warning);
    }
    let liveness = liveness_of(ground.context, &reserved.session);
    let target = request.target.as_deref();
    let document = present::session(&reserved.session, liveness, target, Some(&reserved.token));
    let printed = ground.print(&document, text::session);
    if printed.is_err() && reserved.new && request.request_token.is_none() {
        take_back(ground.context, &reserved.session);
    } else if args.watch && reserved.new && ground.context.settings.watch {
        let not = stay::start(ground.context, &reserved.session);
        not.iter().for_each(|sentence| ground.narrator.warning(sentence));
    }
    printed
}

/// The caller's own secret.
fn request_token(args: &Args) -> Result<Option<Token>, Error> {
    let (from, token) = match &args.request_token_file {
        Some(file) => (file.display().to_string(), Some(token_from(file)?)),
        None => match environment("HEDDLE_REQUEST_TOKEN") {
            None => return Ok(None),
            // Two that are not would be taken for one.
            Some(text) if text.contains('\u{fffd}') => {
                return Err(Error::Usage {
                    message: "the request token from HEDDLE_REQUEST_TOKEN is not UTF-8".to_owned(),
                });
            }
            Some(text) => ("HEDDLE_REQUEST_TOKEN".to_owned(), Token::given(&text)),
        },
    };
    match token {
        Some(token) if token.reveal().len() >= REQUEST_TOKEN_MIN => Ok(Some(token)),
        _ => Err(Error::Usage {
            message: format!(
                "the request token from {from} is too short: {REQUEST_TOKEN_MIN} characters at least, 128 random bits"
            ),
        }),
    }
}
