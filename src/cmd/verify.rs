//! `git heddle verify`: proves whose work threads are, from refs and commits alone.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Write as _;

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::git::library;
use crate::names::ThreadName;
use crate::ops::verify::{Request, Step, verify};
use crate::output::documents::verification::Verification;
use crate::output::present::verification as present;
use crate::output::progress::Meter;
use crate::output::{Asked, Format, text_verification as text};

/// The arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Threads of this repository or fetched ones, or ranges of commits [default: all threads]
    #[arg(value_name = "THREAD|RANGE")]
    pub what: Vec<String>,
    /// Compare threads with this revision [default: heddle.target, else the remote's default
    /// branch, else the current branch]
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// Accept commits that name this thread, which is what it was called before; repeatable
    #[arg(long, value_name = "THREAD")]
    pub formerly: Vec<String>,
    /// Find fault with a thread that is not marked ready
    #[arg(long)]
    pub require_ready: bool,
    /// Find fault with a commit that has no good signature
    #[arg(long)]
    pub require_signed: bool,
    /// Find fault with a commit that no session made
    #[arg(long)]
    pub require_session: bool,
    /// Find fault with a commit that touches any other path; repeatable
    #[arg(long, value_name = "PATHSPEC")]
    pub allow: Vec<OsString>,
    /// How to print what was found [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Form>,
}

/// How to print what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Text for people
    Text,
    /// One JSON document
    Json,
    /// Annotations for a workflow of GitHub's, and a summary in $GITHUB_STEP_SUMMARY
    Github,
    /// JUnit's XML
    Junit,
}

/// Verifies, and prints what was found; the exit code is 7 if something was, and 128 if
/// nothing was and not everything could be told.
///
/// # Errors
/// As [`verify`]; [`Error::Usage`] for two formats at once.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<u8, Error> {
    let request = Request {
        base: args.base.clone(),
        what: args.what.clone(),
        formerly: args.formerly.iter().map(|name| ThreadName::parse(name)).collect::<Result<_, _>>()?,
        require_ready: args.require_ready,
        require_signed: args.require_signed,
        require_session: args.require_session,
        allow: args.allow.clone(),
        cwd: std::env::current_dir().unwrap_or_default(),
    };
    let form = args.format.unwrap_or(match ground.format {
        Format::Json => Form::Json,
        Format::Text => Form::Text,
    });
    if form != Form::Json && ground.settings.asked == Asked::Json {
        return Err(Error::Usage { message: "--format and --json are two formats; give one".to_owned() });
    }
    let meter = RefCell::new(Meter::new(ground.settings.quiet));
    let progress = |step: Step| {
        let mut meter = meter.borrow_mut();
        match step {
            Step::Reading(count) => meter.show("Reading commits", count, None),
            Step::Checking(done, total) => meter.show("Checking threads", done, Some(total)),
            Step::Signature(done, total) => meter.show("Checking signatures", done, Some(total)),
        }
    };
    library::only_look();
    let report = verify(ground.context, &request, &progress);
    drop(meter);
    let report = match report {
        Err(error @ Error::CannotTell { .. }) if form == Form::Github => {
            // Standard error is for the log; an annotation is what people find.
            ground.out.text(&text::github_failure(&error.to_string())).map_err(Error::Output)?;
            return Err(error);
        }
        report => report?,
    };
    let document = present::verification(&report);
    match form {
        Form::Text => ground.out.text(&text::text(&document)),
        Form::Json => ground.out.json(&document),
        Form::Junit => ground.out.text(&text::junit(&document)),
        Form::Github => {
            summarize(&document, ground);
            ground.out.text(&text::github(&document))
        }
    }
    .map_err(Error::Output)?;
    Ok(present::exit_code(document.verdict))
}

/// Adds to the summary of the workflow's step. What was found does not depend on it.
fn summarize(document: &Verification, ground: &Ground<'_>) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let file = std::fs::File::options().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(text::github_summary(document).as_bytes()));
    if let Err(error) = written {
        ground.narrator.warning(&format!("cannot write the summary to {path:?}: {error}"));
    }
}
