//! A session: one agent's claim on one thread, from reserve to release.
//!
//! Its form on disk is `session::record`, and the only way from there to here checks what
//! the fields say of each other.

use std::num::NonZeroU64;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::RecordV1;
use super::token::TokenHash;
use crate::names::{CommitId, Generation, SessionId, ThreadName, TreeId};
use crate::platform::{Moment, Place};

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may act.
    Active,
    /// It was given up, by itself or because its holder died.
    Abandoned,
    /// Its work is done.
    Complete,
    /// Its work has landed.
    Merged,
}

impl Status {
    /// The status that a word of the wire format stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Abandoned, Self::Complete, Self::Merged].into_iter().find(|s| s.word() == word)
    }

    /// The word of the wire format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Abandoned => "abandoned",
            Self::Complete => "complete",
            Self::Merged => "merged",
        }
    }
}

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was given up, by itself or because its holder died.
    Abandoned,
    /// Its work is done.
    Complete,
    /// Its work has landed.
    Merged,
}

impl End {
    /// The word of the wire format.
    #[must_use]
    pub fn word(self) -> &'static str {
        Status::from(self).word()
    }
}

impl From<End> for Status {
    fn from(end: End) -> Self {
        match end {
            End::Abandoned => Self::Abandoned,
            End::Complete => Self::Complete,
            End::Merged => Self::Merged,
        }
    }
}

/// Whether a session may still act: what has ended did so at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may act.
    Active,
    /// It has lost its thread to another, which its own record does not say. Only readers
    /// meet it; nobody noted when.
    Replaced,
    /// It is in a final state.
    Ended {
        /// Which.
        end: End,
        /// Since when.
        at: DateTime<Utc>,
    },
}

/// What keeps a session alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Holder {
    /// Heartbeats within the lease.
    Lease,
    /// A process, named by `--hold-for-pid`.
    Process {
        /// Its pid.
        pid: u32,
        /// Its start time, in the kernel's unit since boot.
        start_time: u64,
        /// Where it is; `None` where the heartbeat is.
        #[serde(default)]
        place: Option<Place>,
    },
    /// The session's lock file, held by whoever made the reservation and is still at it, and
    /// the command that it runs.
    Lock {
        /// The command, once it was started.
        command: Option<Process>,
        /// Where both are; `None` where the heartbeat is.
        #[serde(default)]
        place: Option<Place>,
    },
}

/// A process, by what no other one shares with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid, in its holder's place.
    pub pid: u32,
    /// Its start time, in the kernel's unit since boot.
    pub start_time: u64,
}

/// A sign of life, by all clocks together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Wall time.
    #[serde(deserialize_with = "super::record::time")]
    pub at: DateTime<Utc>,
    /// Milliseconds on the monotonic clock of the boot `place.boot_id`.
    pub monotonic_ms: u64,
    /// Where it was given.
    pub place: Place,
}

impl Heartbeat {
    /// A sign of life now and here.
    #[must_use]
    pub fn new(now: &Moment, place: &Place) -> Self {
        Self { at: now.wall, monotonic_ms: now.monotonic_ms, place: place.clone() }
    }
}

/// Who the agent says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The company or service behind the model.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The program that drives it.
    pub harness: Option<String>,
    /// How hard it thinks.
    pub thinking_level: Option<String>,
    /// The session that started this one.
    pub parent: Option<String>,
    /// The harness's own name for this run.
    #[serde(default)]
    pub client_instance: Option<String>,
    /// Where each of the fields above came from: `flag`, `environment`, `detected`.
    #[serde(default)]
    pub source: std::collections::BTreeMap<String, String>,
}

/// What the agent has used so far; each number only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Tokens thought.
    pub reasoning_tokens: Option<u64>,
    /// Tools called.
    pub tool_calls: Option<u64>,
    /// Cost in millionths of a US dollar.
    pub cost_micros_usd: Option<u64>,
}

/// The request that a session answers, so that a lost answer can be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The hash of the request token.
    pub token_hash: TokenHash,
    /// The anchor that was asked for; `None` with `--resume`.
    pub anchor: Option<CommitId>,
    /// The reservation token, sealed with the request token, so that the same answer can
    /// be given again and the record alone gives nobody a secret.
    pub sealed_token: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RecordV1", into = "RecordV1")]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// The thread it claims.
    pub thread: ThreadName,
    /// The commit it started from.
    pub anchor_state: CommitId,
    /// That commit's tree.
    pub anchor_root: TreeId,
    /// The thread's fencing number under this owner.
    pub generation: Generation,
    /// How it stands.
    pub state: State,
    /// What the agent set out to do.
    pub task: Option<String>,
    /// The worktree it captures from, once bound.
    pub path: Option<PathBuf>,
    /// The id of the linked worktree that was made for it; it stays where
    /// `git worktree move` changes the path.
    pub worktree: Option<String>,
    /// What keeps it alive.
    pub holder: Holder,
    /// The lease, in seconds.
    pub ttl_seconds: NonZeroU64,
    /// The last sign of life.
    pub heartbeat: Heartbeat,
    /// When it was reserved.
    pub started_at: DateTime<Utc>,
    /// The hash of its token.
    pub token_hash: TokenHash,
    /// Whether every command must show the token.
    pub require_token: bool,
    /// The request that it answers.
    pub request: Option<Request>,
    /// The branch that HEAD was on at reserve, as a full ref name.
    pub head_branch: Option<String>,
    /// Who the agent says it is.
    pub agent: Agent,
    /// What it has used.
    pub usage: Usage,
    /// What it said last of its progress.
    pub progress: Option<String>,
    /// Whether anybody has acted for it yet.
    pub used: bool,
    /// Whether somebody else ended it: a person by force, or a successor.
    pub taken: bool,
    /// Fields of this version that we do not know; they survive a rewrite.
    pub extra: Map<String, Value>,
}

impl Session {
    /// How it stands, in one word.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Active => Status::Active,
            State::Replaced => Status::Abandoned,
            State::Ended { end, .. } => end.into(),
        }
    }

    /// Whether it may act, as far as it knows itself.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// When it ended.
    #[must_use]
    pub fn completed_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            State::Active | State::Replaced => None,
            State::Ended { at, .. } => Some(at),
        }
    }

    /// This session, as it ends now.
    #[must_use]
    pub fn ended(self, end: End, at: DateTime<Utc>) -> Self {
        Self { state: State::Ended { end, at }, ..self }
    }

    /// Where the evidence for its life is. Heartbeats may come from elsewhere, such as from a
    /// container that the agent started, and say nothing about its pids.
    #[must_use]
    pub fn place(&self) -> &Place {
        let of_holder = match &self.holder {
            Holder::Lease => None,
            Holder::Process { place, .. } | Holder::Lock { place, .. } => place.as_ref(),
        };
        of_holder.unwrap_or(&self.heartbeat.place)
    }

    /// When the lease lapses by wall time.
    #[must_use]
    pub fn expires_at(&self) -> DateTime<Utc> {
        let ttl = chrono::TimeDelta::try_seconds(i64::try_from(self.ttl_seconds.get()).unwrap_or(i64::MAX));
        ttl.and_then(|ttl| self.heartbeat.at.checked_add_signed(ttl)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
