//! What `git heddle verify` found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `git heddle verify` found: exit 0 for `ok`, 7 for `findings`, 128 for `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// The worst of all verdicts; something found outweighs something unknown.
    pub verdict: Verdict,
    /// What the threads were compared with; null if only ranges were verified.
    pub base: Option<VerifiedBase>,
    /// The checks that were made of each subject.
    pub checks: Vec<String>,
    /// The threads and ranges that were verified.
    pub subjects: Vec<VerifiedSubject>,
}

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All checks were made, and found nothing.
    Ok,
    /// Something was found.
    Findings,
    /// Nothing was found, and not everything could be told.
    Unknown,
}

/// What threads are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedBase {
    /// The revision or ref, as it was named.
    pub name: String,
    /// The commit that it was at.
    pub commit: String,
}

/// A thread or a range that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedSubject {
    /// The thread's name, behind the remote's if it was fetched; or the range as given.
    pub name: String,
    /// The thread's ref; null for a range.
    #[serde(rename = "ref")]
    pub refname: Option<String>,
    /// Its tip; null if it has none that can be followed.
    pub tip: Option<String>,
    /// The commit that it was compared with.
    pub base: String,
    /// How many commits it has that the base has not.
    pub commits: usize,
    /// The sessions that they name, sorted.
    pub sessions: Vec<String>,
    /// The highest generation that they name; null if they name none.
    pub generation: Option<u64>,
    /// Whether a ready mark is at the tip.
    pub ready: bool,
    /// How it ended.
    pub verdict: Verdict,
    /// What is wrong.
    pub findings: Vec<VerifyFinding>,
    /// What could not be told.
    pub unknown: Vec<VerifyFinding>,
}

/// Something that a check came upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyFinding {
    /// The check: `tip`, `commits`, `trailers`, `generations`, `sessions`, `ready`, `merge`,
    /// `signatures` or `paths`.
    pub check: String,
    /// The commit that it is about; null if it is about none.
    pub commit: Option<String>,
    /// The path that it is about; null if it is about none.
    pub path: Option<String>,
    /// One sentence.
    pub message: String,
    /// What to do; null if there is nothing to say.
    pub hint: Option<String>,
}
