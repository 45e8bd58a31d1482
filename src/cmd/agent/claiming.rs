//! What `reserve` and `run` have in common: what is claimed, and for whom.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::{duration, positive_duration};
use crate::cmd::ground::environment;
use crate::error::Error;
use crate::names::{SessionId, ThreadName};
use crate::ops::reserve::{Hold, Request};
use crate::session::SessionError;
use crate::session::identity::{self, Fact};
use crate::session::session::Agent;
use crate::session::token::Token;

/// What is claimed, and for whom.
#[derive(Debug, clap::Args)]
pub struct Claiming {
    /// The thread to claim; it is made if it does not exist
    #[arg(long, value_name = "THREAD")]
    pub thread: String,
    /// The commit to start from [default: HEAD]
    #[arg(long, value_name = "REV")]
    pub anchor: Option<String>,
    /// Take the thread as it is, wherever its tip stands; one that is not here, as it was
    /// fetched
    #[arg(long)]
    pub resume: bool,
    /// What the agent sets out to do, for people and other agents to read
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub task: Option<String>,
    /// How long the lease lasts without a heartbeat, such as 90s or 30m [default: heddle.ttl]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub ttl: Option<Duration>,
    /// Make a linked worktree at the thread's tip and bind the session to it [default place:
    /// heddle.worktreeDir, else beside the repository]
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    pub worktree: Option<Option<PathBuf>>,
    /// The branch that the thread is meant to land on [default: heddle.target, else the
    /// current branch, else the remote's default]
    #[arg(long, value_name = "BRANCH")]
    pub target: Option<String>,
    /// Refuse every command for this session that does not present its token
    #[arg(long)]
    pub require_token: bool,
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

impl Claiming {
    /// The request that the arguments make.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Session`] for names that cannot be.
    pub fn request(&self, hold: Hold, request_token: Option<Token>) -> Result<Request, Error> {
        Ok(Request {
            thread: ThreadName::parse(&self.thread)?,
            anchor: self.anchor.clone(),
            resume: self.resume,
            task: self.task.clone(),
            hold,
            ttl: self.ttl,
            target: self.target.clone(),
            require_token: self.require_token,
            request_token,
            wait: self.wait,
            worktree: self.worktree.clone(),
            agent: agent(self)?,
        })
    }
}

/// Who the agent is: flags, the environment, what its harness leaves there.
fn agent(args: &Claiming) -> Result<Agent, Error> {
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
