//! A session's record, as it lies on disk.
//!
//! [`RecordV1`] is what version 1 can say; [`Session`] is what may be. What is written is
//! always made from a session, and what is read becomes one or is damage.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::session::{Agent, End, Heartbeat, Holder, Request, Session, State, Status, Usage};
use super::token::TokenHash;
use crate::names::{CommitId, Generation, SessionId, ThreadName, TreeId};

/// The version of the form.
pub(super) const VERSION: u64 = 1;

/// The fields of version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RecordV1 {
    version: u64,
    session_id: SessionId,
    thread: ThreadName,
    anchor_state: CommitId,
    anchor_root: TreeId,
    generation: Generation,
    status: Status,
    task: Option<String>,
    path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worktree: Option<String>,
    holder: Holder,
    ttl_seconds: NonZeroU64,
    heartbeat: Heartbeat,
    #[serde(deserialize_with = "time")]
    started_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    token_hash: TokenHash,
    require_token: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(default)]
    head_branch: Option<String>,
    agent: Agent,
    usage: Usage,
    #[serde(default)]
    progress: Option<String>,
    #[serde(default)]
    used: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    taken: bool,
    /// Fields of this version that we do not know; they survive a rewrite.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// A time, in the form that records are written in or in another that chrono reads: that one has a
/// parser of its own, which takes a fifth of the time.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = DateTime<Utc>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time as RFC 3339 has it")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            match DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(time.into()),
                Err(_) => text.parse().map_err(E::custom),
            }
        }
    }
    deserializer.deserialize_str(Text)
}

/// What a record says that no session can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    /// An end that is none.
    #[error("its status is 'active', and it has an end")]
    ActiveWithEnd,
    /// No end, where there must be one.
    #[error("its status is '{}', and it has no end", .0.word())]
    NoEnd(Status),
}

impl TryFrom<RecordV1> for Session {
    type Error = RecordError;

    fn try_from(record: RecordV1) -> Result<Self, RecordError> {
        let ended = |end| match record.completed_at {
            Some(at) => Ok(State::Ended { end, at }),
            None => Err(RecordError::NoEnd(record.status)),
        };
        let state = match record.status {
            Status::Active if record.completed_at.is_some() => return Err(RecordError::ActiveWithEnd),
            Status::Active => State::Active,
            Status::Abandoned => ended(End::Abandoned)?,
            Status::Complete => ended(End::Complete)?,
            Status::Merged => ended(End::Merged)?,
        };
        Ok(Self {
            session_id: record.session_id,
            thread: record.thread,
            anchor_state: record.anchor_state,
            anchor_root: record.anchor_root,
            generation: record.generation,
            state,
            task: record.task,
            path: record.path,
            worktree: record.worktree,
            holder: record.holder,
            ttl_seconds: record.ttl_seconds,
            heartbeat: record.heartbeat,
            started_at: record.started_at,
            token_hash: record.token_hash,
            require_token: record.require_token,
            request: record.request,
            head_branch: record.head_branch,
            agent: record.agent,
            usage: record.usage,
            progress: record.progress,
            used: record.used,
            taken: record.taken,
            extra: record.extra,
        })
    }
}

impl From<Session> for RecordV1 {
    fn from(session: Session) -> Self {
        // What a reader concludes is not what the record says.
        let status = match session.state {
            State::Replaced => Status::Active,
            State::Active | State::Ended { .. } => session.status(),
        };
        Self {
            version: VERSION,
            completed_at: session.completed_at(),
            status,
            session_id: session.session_id,
            thread: session.thread,
            anchor_state: session.anchor_state,
            anchor_root: session.anchor_root,
            generation: session.generation,
            task: session.task,
            path: session.path,
            worktree: session.worktree,
            holder: session.holder,
            ttl_seconds: session.ttl_seconds,
            heartbeat: session.heartbeat,
            started_at: session.started_at,
            token_hash: session.token_hash,
            require_token: session.require_token,
            request: session.request,
            head_branch: session.head_branch,
            agent: session.agent,
            usage: session.usage,
            progress: session.progress,
            used: session.used,
            taken: session.taken,
            extra: session.extra,
        }
    }
}
