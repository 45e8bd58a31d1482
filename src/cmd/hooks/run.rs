//! `git heddle hooks run`: answers one hook. Exit 0 lets Git go on, 1 stops it.
//!
//! It opens the repository from the hook's environment, as every Git command there would, and
//! speaks on standard error only: some hooks' standard output belongs to Git.

use std::ffi::OsString;
use std::io::Read as _;
use std::process::Stdio;

use crate::cli::Settings;
use crate::cmd::ground::environment;
use crate::context::Context;
use crate::error::Error;
use crate::git::{Repo, program};
use crate::hook::script::PROBE;
use crate::hook::{self, Call, Event, Verdict, status};
use crate::names::SessionId;
use crate::ops::acting::Claim;
use crate::output::hints::Narrator;
use crate::output::{exit, failure};
use crate::platform::System;
use crate::session::token::Token;
use crate::store::voucher;

/// What stops Git.
const REFUSED: u8 = 1;
/// Silences the hints of a refusal.
const ADVICE: &str = "advice.heddleHook";

/// The arguments of `hooks run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The hook
    #[arg(value_name = "EVENT", value_parser = event)]
    pub event: Event,
    /// What Git gave the hook
    #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

fn event(name: &str) -> Result<Event, String> {
    let known = || Event::ALL.map(Event::name).join(", ");
    Event::parse(name).ok_or_else(|| format!("no hook of that name is answered; known: {}", known()))
}

/// What a shim asks, word for word. Git waits for the answer, several times a commit, and to
/// define the whole command line takes a good part of the time that the answer takes.
#[must_use]
pub fn from_shim(args: &[OsString]) -> Option<Args> {
    match args {
        [_, hooks, run, name, rest @ ..] if hooks == "hooks" && run == "run" => {
            Some(Args { event: Event::parse(name.to_str()?)?, args: rest.to_vec() })
        }
        _ => None,
    }
}

/// Answers the hook; the exit code.
#[must_use]
pub fn run(args: &Args, settings: &Settings) -> u8 {
    let bare = Narrator::without_configuration(settings.quiet);
    if let Some(nonce) = environment(PROBE) {
        // A failure, so that nobody gets past the rules by setting it.
        bare.progress(&status::answer(args.event, &nonce));
        return REFUSED;
    }
    let mut stdin = Vec::new();
    if args.event.reads_stdin()
        && let Err(error) = std::io::stdin().read_to_end(&mut stdin)
    {
        return unjudged(&format!("cannot read standard input: {error}"), None, &bare);
    }
    let repo = match Repo::of_hook() {
        Ok(repo) => repo,
        Err(error) => return unjudged_for(&error.into(), &bare),
    };
    let platform = System::new();
    let context = match Context::new(&repo, &platform, "hooks run") {
        Ok(context) => context,
        Err(error) => return unjudged_for(&error.into(), &bare),
    };
    let advised = |key: &str| {
        let config = repo.config().and_then(|config| config.bool(key));
        config.ok().flatten().unwrap_or(true)
    };
    let narrator = Narrator::new(settings.quiet, settings.verbosity, advised);
    let claim = claim();
    let vouched = environment(voucher::VARIABLE)
        .is_some_and(|voucher| voucher::is_in_force(repo.common_dir(), &voucher));
    let call = Call { args: &args.args, stdin: &stdin, claim: claim.as_ref(), vouched };
    match hook::run(args.event, &call, &context) {
        Ok(Verdict::Pass { warnings }) => {
            for warning in warnings {
                narrator.warning(&format!("heddle: {warning}"));
            }
            exit::OK
        }
        Ok(Verdict::Refuse { message, hint }) => {
            narrator.error(&format!("heddle: {message}"));
            if let Some(hint) = hint {
                narrator.hint(ADVICE, &hint);
            }
            REFUSED
        }
        Err(error) => {
            narrator.error(&format!("heddle: {error}"));
            if let Some(hint) = failure::hint(&error) {
                narrator.hint(ADVICE, &hint);
            }
            REFUSED
        }
    }
}

/// On whose behalf the command runs. What is no session's id or no token is nobody's.
fn claim() -> Option<Claim> {
    let session = SessionId::parse(&environment("HEDDLE_SESSION")?).ok()?;
    let token = environment("HEDDLE_TOKEN").and_then(|text| Token::given(&text));
    Some(Claim { session, token })
}

fn unjudged_for(error: &Error, narrator: &Narrator<'_>) -> u8 {
    unjudged(&error.to_string(), failure::hint(error).as_deref(), narrator)
}

/// Nothing can be judged, not even what the repository wants then: Git itself is asked for
/// `heddle.hooks`.
fn unjudged(message: &str, hint: Option<&str>, narrator: &Narrator<'_>) -> u8 {
    let mut command = std::process::Command::new("git");
    // The environment as it is: it names the repository that is asked about.
    command.args(["config", "--get", "heddle.hooks"]).stdin(Stdio::null());
    let said = program::Program::output(&mut command, None).map(|output| output.stdout).unwrap_or_default();
    let closed = match said.trim_ascii() {
        b"off" => return exit::OK,
        word => word == b"enforce",
    };
    if closed {
        narrator.error(&format!("heddle: {message}"));
    } else {
        narrator.warning(&format!("heddle: not checked: {message}"));
    }
    if let Some(hint) = hint {
        narrator.hint(ADVICE, hint);
    }
    if closed { REFUSED } else { exit::OK }
}
