//! A session: one agent's claim on one thread, from reserve to release.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{CommitId, Generation, SessionId, ThreadName, TreeId};
use crate::platform::{Moment, Place};

/// The version of the session record's form.
pub const VERSION: u64 = 1;

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
    pub token_hash: String,
    /// The anchor that was asked for; `None` with `--resume`.
    pub anchor: Option<CommitId>,
    /// The reservation token, sealed with the request token, so that the same answer can
    /// be given again and the record alone gives nobody a secret.
    pub sealed_token: String,
}

/// A session, as its record holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Always 1.
    pub version: u64,
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
    pub status: Status,
    /// What the agent set out to do.
    pub task: Option<String>,
    /// The worktree it captures from, once bound.
    pub path: Option<PathBuf>,
    /// The id of the linked worktree that was made for it; it stays where
    /// `git worktree move` changes the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// What keeps it alive.
    pub holder: Holder,
    /// The lease, in seconds.
    pub ttl_seconds: u64,
    /// The last sign of life.
    pub heartbeat: Heartbeat,
    /// When it was reserved.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The hash of its token.
    pub token_hash: String,
    /// Whether every command must show the token.
    pub require_token: bool,
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The branch that HEAD was on at reserve, as a full ref name.
    #[serde(default)]
    pub head_branch: Option<String>,
    /// Who the agent says it is.
    pub agent: Agent,
    /// What it has used.
    pub usage: Usage,
    /// What it said last of its progress.
    #[serde(default)]
    pub progress: Option<String>,
    /// Whether anybody has acted for it yet.
    #[serde(default)]
    pub used: bool,
    /// Whether somebody else ended it: a person by force, or a successor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken: bool,
    /// Fields of this version that we do not know; they survive a rewrite.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Session {
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
        let ttl = chrono::TimeDelta::try_seconds(i64::try_from(self.ttl_seconds).unwrap_or(i64::MAX));
        ttl.and_then(|ttl| self.heartbeat.at.checked_add_signed(ttl)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
