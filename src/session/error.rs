//! Why a session may not act.

use crate::names::{SessionId, ThreadName};

/// A refusal to act for a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no record of it.
    #[error("agent session '{id}' not found")]
    NotFound {
        /// As asked for.
        id: SessionId,
    },
    /// It is in a final state.
    #[error("agent session '{id}' is no longer active (status: {status})")]
    Ended {
        /// Which.
        id: SessionId,
        /// Its final state.
        status: &'static str,
    },
    /// Another session owns its thread now.
    #[error("agent session '{id}' is no longer active (status: replaced): thread '{thread}' {}", match owner { Some(owner) => format!("is owned by session '{owner}'"), None => "has no owner".to_owned() })]
    Replaced {
        /// Which.
        id: SessionId,
        /// The thread it had.
        thread: ThreadName,
        /// The owner now.
        owner: Option<SessionId>,
    },
    /// Its thread has got another name, or has it again.
    #[error("agent session '{id}' reserved thread '{thread}', but the current thread is '{current}'{}", if thread == current { " of another generation" } else { "" })]
    Renamed {
        /// Which.
        id: SessionId,
        /// The thread as it was called.
        thread: ThreadName,
        /// What it is called now.
        current: ThreadName,
    },
    /// No session was named.
    #[error("no session given")]
    NotNamed,
    /// The session wants its token shown.
    #[error("agent session '{id}' requires its reservation token")]
    TokenMissing {
        /// Which.
        id: SessionId,
    },
    /// The token is another's.
    #[error("the token given is not that of agent session '{id}'")]
    TokenWrong {
        /// Which.
        id: SessionId,
    },
    /// A token that is empty or cannot be read.
    #[error("cannot use the token from {from}: {reason}")]
    TokenUnusable {
        /// The variable or the file.
        from: String,
        /// Why.
        reason: String,
    },
    /// A usage counter that would fall.
    #[error("usage counter '{counter}' cannot go from {from} back to {to}")]
    UsageFell {
        /// Which.
        counter: &'static str,
        /// Its value.
        from: u64,
        /// The value given.
        to: u64,
    },
}
