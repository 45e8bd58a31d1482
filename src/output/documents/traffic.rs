//! What went to and came from a remote.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `git heddle publish` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// The remote, as it was named.
    pub remote: String,
    /// The threads that the remote now has as they are here.
    pub published: Vec<PublishedThread>,
    /// The threads that were left out because a live session owns them.
    pub skipped: Vec<SkippedThread>,
}

/// A thread that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedThread {
    /// The thread.
    pub thread: String,
    /// Its tip.
    pub tip: String,
    /// Where the remote had it before; null if it had none.
    pub previous: Option<String>,
    /// Whether its ready mark was published with it.
    pub ready: bool,
    /// Whether the remote had all of it already.
    pub already: bool,
    /// Whether what the remote had is no longer part of it.
    pub rewritten: bool,
}

/// A thread that was not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkippedThread {
    /// The thread.
    pub thread: String,
    /// Its owner.
    pub owner: String,
}

/// What `git heddle fetch` brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fetched {
    /// The remote.
    pub remote: String,
    /// The threads that the remote has, sorted by name.
    pub threads: Vec<FetchedThread>,
    /// The threads that it no longer has.
    pub gone: Vec<String>,
}

/// A thread of a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FetchedThread {
    /// The thread.
    pub thread: String,
    /// The ref that it is at here.
    #[serde(rename = "ref")]
    pub refname: String,
    /// Its tip.
    pub tip: String,
    /// Where it was when it was last fetched; null if it is new.
    pub previous: Option<String>,
    /// Whether its ready mark is at the tip.
    pub ready: bool,
}
