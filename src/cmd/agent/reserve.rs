//! `git heddle agent reserve`: claims a thread at an anchor.

use crate::cmd::ground::{Ground, environment, token_from};
use crate::error::Error;
use crate::names::{SessionId, ThreadName};
use crate::ops::release::take_back;
use crate::ops::reserve::{Request, reserve};
use crate::output::{present, text};
use crate::session::SessionError;
use crate::session::identity::{self, Fact};
use crate::session::session::Agent;
use crate::session::token::Token;
use crate::thread::locked::liveness_of;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{duration, positive_duration};

/// The arguments of `reserve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The thread to claim; it is made if it does not exist
    #[arg(long, value_name = "THREAD")]
    pub thread: String,
    /// The commit to start from
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub anchor: String,
    /// Take the thread as it is, wherever its tip stands
    #[arg(long)]
    pub resume: bool,
    /// What the agent sets out to do, for people and other agents to read
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub task: Option<String>,
    /// Keep the reservation for as long as this process lives, instead of a lease
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub hold_for_pid: Option<u32>,
    /// How long the lease lasts without a heartbeat, such as 90s or 30m [default: heddle.ttl]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub ttl: Option<Duration>,
    /// Make a linked worktree at the thread's tip and bind the session to it [default place:
    /// heddle.worktreeDir, else <repo>.heddle beside the repository]
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    pub worktree: Option<Option<PathBuf>>,
    /// The branch that the thread is meant to land on [default: heddle.target, else the
    /// current branch, else the remote's default]
    #[arg(long, value_name = "BRANCH")]
    pub target: Option<String>,
    /// Refuse every command for this session that does not present its token
    #[arg(long)]
    pub require_token: bool,
    /// Make the request repeatable: the same request with the same secret in this file gets
    /// the same reservation [default: $HEDDLE_REQUEST_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub request_token_file: Option<PathBuf>,
    /// Wait for a live owner to go, for as long as it takes or for DURATION
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = duration)]
    pub wait: Option<Option<Duration>>,
    /// Who runs the model [default: $HEDDLE_AGENT_PROVIDER, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub provider: Option<String>,
    /// The model [default: $HEDDLE_AGENT_MODEL, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub model: Option<String>,
    /// The program that drives the model [default: $HEDDLE_AGENT_HARNESS, else detected]
    #[arg(long, value_name = "NAME", help_heading = "Who the agent is")]
    pub harness: Option<String>,
    /// How hard the model was told to think
    #[arg(long, value_name = "LEVEL", help_heading = "Who the agent is")]
    pub thinking_level: Option<String>,
    /// The session that started this one [default: $HEDDLE_SESSION]
    #[arg(long, value_name = "SESSION", help_heading = "Who the agent is")]
    pub parent: Option<String>,
    /// The harness's own name for this instance of itself
    #[arg(long, value_name = "ID", help_heading = "Who the agent is")]
    pub client_instance: Option<String>,
}

/// A request token shorter than this cannot hold 128 bits, even in base64.
const REQUEST_TOKEN_MIN: usize = 22;

/// Reserves, and prints the reservation with its token.
///
/// # Errors
/// As [`reserve`]. If the answer cannot be printed, the reservation is taken back, unless
/// it can be asked for again.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let request = Request {
        thread: ThreadName::parse(&args.thread)?,
        anchor: Some(args.anchor.clone()),
        resume: args.resume,
        task: args.task.clone(),
        hold_for_pid: args.hold_for_pid,
        ttl: args.ttl,
        target: args.target.clone(),
        require_token: args.require_token,
        request_token: request_token(args)?,
        wait: args.wait,
        worktree: args.worktree.clone(),
        agent: agent(args)?,
    };
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
    }
    printed
}

/// The caller's own secret.
fn request_token(args: &Args) -> Result<Option<Token>, Error> {
    let (from, token) = match &args.request_token_file {
        Some(file) => (file.display().to_string(), Some(token_from(file)?)),
        None => match environment("HEDDLE_REQUEST_TOKEN") {
            None => return Ok(None),
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

/// Who the agent is: flags, the environment, what its harness leaves there.
fn agent(args: &Args) -> Result<Agent, Error> {
    let flags = identity::Flags {
        provider: args.provider.as_deref(),
        model: args.model.as_deref(),
        harness: args.harness.as_deref(),
        thinking_level: args.thinking_level.as_deref(),
    };
    let who = identity::identify(&flags, environment);
    let mut agent = Agent::default();
    let mut settle = |field: &str, fact: Option<Fact>| {
        let fact = fact?;
        agent.source.insert(field.to_owned(), fact.source.as_str().to_owned());
        Some(fact.value)
    };
    let provider = settle("provider", who.provider);
    let model = settle("model", who.model);
    let harness = settle("harness", who.harness);
    let thinking_level = settle("thinking_level", who.thinking_level);
    let mut agent = Agent { provider, model, harness, thinking_level, ..agent };
    agent.client_instance.clone_from(&args.client_instance);
    agent.parent = match (&args.parent, environment("HEDDLE_SESSION")) {
        (Some(parent), _) => Some(SessionId::parse(parent)?.as_str().to_owned()),
        // Inherited from the session that started this agent; what is no id is no parent.
        (None, inherited) => inherited.filter(|id| SessionId::parse(id).is_ok()),
    };
    if agent.parent.as_deref() == Some("") {
        return Err(SessionError::NotNamed.into());
    }
    Ok(agent)
}
