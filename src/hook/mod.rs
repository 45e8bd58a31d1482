//! What Git's hooks decide: whether a plain Git command may do what it is about to do.
//!
//! A hook is told of a command that knows nothing of heddle. The same rules as for heddle's
//! own verbs hold: a thread moves on behalf of its owner only. [`run`] asks the module of the
//! event, and is the one place where `heddle.hooks` is applied to the answer.
//!
//! A repository in which no hook was installed never comes here.
//!
//! # What is believed
//! The repository that Git's environment names, the records in it, `HEDDLE_SESSION` and
//! `HEDDLE_TOKEN`, and Git's configuration. Nothing that the worktree contains.
//!
//! # Adding an event
//! A module with `decide`, a variant of [`Event`] in all its tables, an arm in `decide` here,
//! and a shim of that name in `hooks/`.

mod bound;
mod chain;
pub mod files;
pub mod install;
mod landing;
mod post_rewrite;
mod pre_commit;
mod pre_push;
mod pre_receive;
mod reference_transaction;
pub mod script;
pub mod status;
pub mod template;

use std::ffi::OsString;

use crate::context::Context;
use crate::error::Error;
use crate::names::{CommitId, ThreadName};
use crate::ops::acting::Claim;
use crate::session::SessionError;
use crate::settings::Enforcement;

/// A hook of Git's that heddle answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Refs are about to change, or have changed.
    ReferenceTransaction,
    /// A commit is about to be made.
    PreCommit,
    /// Commits were replaced by others: `commit --amend` or a finished rebase.
    PostRewrite,
    /// Refs are about to be pushed.
    PrePush,
    /// On a server: refs are about to be taken from a push.
    PreReceive,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 5] =
        [Self::ReferenceTransaction, Self::PreCommit, Self::PostRewrite, Self::PrePush, Self::PreReceive];

    /// Git's name of the hook.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReferenceTransaction => "reference-transaction",
            Self::PreCommit => "pre-commit",
            Self::PostRewrite => "post-rewrite",
            Self::PrePush => "pre-push",
            Self::PreReceive => "pre-receive",
        }
    }

    /// What is installed for it: the shim in `hooks/`.
    #[must_use]
    pub const fn shim(self) -> &'static str {
        match self {
            Self::ReferenceTransaction => include_str!("../../hooks/reference-transaction"),
            Self::PreCommit => include_str!("../../hooks/pre-commit"),
            Self::PostRewrite => include_str!("../../hooks/post-rewrite"),
            Self::PrePush => include_str!("../../hooks/pre-push"),
            Self::PreReceive => include_str!("../../hooks/pre-receive"),
        }
    }

    /// Where it is installed.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::ReferenceTransaction | Self::PreCommit | Self::PostRewrite | Self::PrePush => Side::Client,
            Self::PreReceive => Side::Server,
        }
    }

    /// The event of the hook `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Whether Git tells the hook something on standard input.
    #[must_use]
    pub const fn reads_stdin(self) -> bool {
        match self {
            Self::ReferenceTransaction | Self::PostRewrite | Self::PrePush | Self::PreReceive => true,
            Self::PreCommit => false,
        }
    }
}

/// Which repositories a hook is installed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those that are worked in.
    Client,
    /// Those that are pushed to.
    Server,
}

impl Side {
    /// The hooks that are installed there.
    pub fn events(self) -> impl Iterator<Item = Event> {
        Event::ALL.into_iter().filter(move |event| event.side() == self)
    }
}

/// What Git told the hook, and on whose behalf the command runs.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The hook's arguments.
    pub args: &'a [OsString],
    /// What was on its standard input; empty unless [`Event::reads_stdin`].
    pub stdin: &'a [u8],
    /// `HEDDLE_SESSION` with `HEDDLE_TOKEN`, if there is one.
    pub claim: Option<&'a Claim>,
    /// Whether the command is a child of heddle's own, see [`crate::store::voucher`].
    pub vouched: bool,
}

impl Call<'_> {
    /// Whether the caller's session owns `thread`.
    fn acts_for(&self, context: &Context<'_>, thread: &ThreadName) -> bool {
        let session = self.claim.and_then(|claim| bound::acting(context, claim).ok());
        session.is_some_and(|session| session.thread == *thread)
    }

    /// How the caller's session has lost its thread, or that its token is wrong: a worktree does not
    /// speak for such a caller. A session that is alive, or that nobody knows (any more, or here), has
    /// lost nothing.
    fn lost(&self, context: &Context<'_>) -> Option<SessionError> {
        match bound::acting(context, self.claim?) {
            Err(Error::Session(
                lost @ (SessionError::Ended { .. }
                | SessionError::Replaced { .. }
                | SessionError::TokenWrong { .. }),
            )) => Some(lost),
            _ => None,
        }
    }
}

/// A hook's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The command may go on.
    Pass {
        /// What its caller should know.
        warnings: Vec<String>,
    },
    /// The command has to stop.
    Refuse {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Verdict {
    /// Nothing to say.
    pub const PASS: Self = Self::Pass { warnings: Vec::new() };

    /// May go on, and its caller should know this.
    pub fn warn(warning: impl Into<String>) -> Self {
        Self::Pass { warnings: vec![warning.into()] }
    }

    /// A refusal with what to do about it.
    pub fn refuse(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refuse { message: message.into(), hint: Some(hint.into()) }
    }
}

/// Answers `event`, as `heddle.hooks` says.
///
/// # Errors
/// What kept the question from being judged, where that has to stop the command
/// ([`Enforcement::Closed`]).
pub fn run(event: Event, call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    let enforcement = context.settings.hooks;
    if enforcement == Enforcement::Off {
        return Ok(Verdict::PASS);
    }
    match (decide(event, call, context), enforcement) {
        (Ok(Verdict::Refuse { message, hint }), Enforcement::Warn) => {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            Ok(Verdict::warn(format!("{message}{hint}")))
        }
        (Err(error), Enforcement::Open | Enforcement::Warn) => {
            Ok(Verdict::warn(format!("not checked: {error}")))
        }
        (decided, _) => decided,
    }
}

fn decide(event: Event, call: &Call<'_>, context: &Context<'_>) -> Result<Verdict, Error> {
    match event {
        Event::ReferenceTransaction => reference_transaction::decide(call, context),
        Event::PreCommit => pre_commit::decide(call, context),
        Event::PostRewrite => post_rewrite::decide(call, context),
        Event::PrePush => pre_push::decide(call, context),
        Event::PreReceive => pre_receive::decide(call, context),
    }
}

/// A commit of Git's protocols, in which zeros stand for none.
fn commit(text: &str) -> Option<CommitId> {
    CommitId::parse(text).ok().filter(|_| text.bytes().any(|byte| byte != b'0'))
}
