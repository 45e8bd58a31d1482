//! The JSON documents: what `git heddle` prints, and nothing of how it comes about.
//!
//! These are plain data, apart from the domain types, so that the wire format changes only
//! when somebody changes it here. Doc comments become the descriptions in the JSON Schemas
//! under `schemas/`, which `git heddle schema` prints; fields are serialised in the order
//! in which they stand. A field that is unknown is `null`, never left out. Later versions
//! may add fields; a reader must not fail on one it does not know.
//!
//! Conventions: a *time* is RFC 3339 in UTC with milliseconds (`2026-01-31T09:30:00.000Z`);
//! a *commit* or *tree* is a full hexadecimal object id; a *path* is relative to the top
//! folder of the worktree, separated by `/`, and written as `git` quotes it (`"caf\351"`)
//! only where it is not UTF-8.

mod conflict;
pub mod hooks;
pub mod traffic;
pub mod verification;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod refresh;
pub mod rename;
mod threads;

pub use conflict::{Conflict, ConflictKind, Owner, Unknown, UnreadableOwner};
pub use threads::{
    BlockedThread, CaptureRow, Dropped, Land, LandedThread, PastOwner, Promoted, PushedBranch, Readiness,
    ThreadDetail, ThreadRow, ThreadState, ThreadWorktree, Unadopted,
};

/// A session: one agent's claim on one thread, from reserve to release. Printed by
/// `agent reserve`, `heartbeat`, `release` and `show`; each element of `agent list` is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The session's id: `agent-` and lowercase base32, sortable by start time.
    pub session_id: String,
    /// The secret that acts for the session. Only in the answer to `agent reserve`; null
    /// everywhere else.
    pub reservation_token: Option<String>,
    /// The thread that the session claims.
    pub thread: String,
    /// The commit that the reservation started from.
    pub anchor_state: Option<String>,
    /// The tree of that commit.
    pub anchor_root: Option<String>,
    /// What has become of the session.
    pub status: SessionStatus,
    /// The absolute path of the worktree that the session captures from; null before one is
    /// bound.
    pub path: Option<String>,
    /// What the agent set out to do, in its own words.
    pub task: Option<String>,
    /// The thread's fencing number: one higher with every new owner, never reused.
    pub generation: u64,
    /// Whether somebody still stands behind the session.
    pub liveness: Liveness,
    /// Time of the reservation.
    pub started_at: String,
    /// Time of the last sign of life.
    pub heartbeat_at: String,
    /// Time at which the lease lapses without another heartbeat; null where no lease decides.
    pub expires_at: Option<String>,
    /// Time at which the session ended; null while it is active.
    pub completed_at: Option<String>,
    /// What keeps the session alive.
    pub holder: Holder,
    /// Who the agent is, as far as it said or its environment shows.
    pub agent: Agent,
    /// What the agent has used so far, as it reported.
    pub usage: Usage,
    /// The last line of progress that a heartbeat brought.
    pub progress: Option<String>,
    /// The branch that the thread is meant to land on.
    pub target: Option<String>,
    /// Commits on the HEAD of its worktree that no capture has put on the thread. Looked for
    /// by `agent heartbeat` and `agent show`; null elsewhere, and if there are none.
    pub unadopted: Option<Unadopted>,
}

/// What has become of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// It owns its thread.
    Active,
    /// It was given up, or replaced after its death.
    Abandoned,
    /// It was released with its work done.
    Complete,
    /// Its work has landed.
    Merged,
}

/// Whether somebody still stands behind a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// The evidence says that the agent lives.
    Alive,
    /// The evidence says that it is gone; the next reserve may take the thread.
    Dead,
    /// The evidence cannot be judged from here. Counts as alive.
    Unknown,
}

/// What keeps a session alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The kind of evidence that decides.
    pub kind: HolderKind,
    /// The process that is watched; null where none is.
    pub pid: Option<u32>,
    /// The name of the host that the reservation was made on.
    pub host: Option<String>,
}

/// The kind of evidence that decides whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// Heartbeats, each good for the session's time to live.
    Lease,
    /// A process that was named by `--hold-for-pid`.
    Process,
    /// A file lock that a runner holds.
    Lock,
}

/// Who an agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Who runs the model, such as `anthropic`.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The program that drives the model, such as `claude-code`.
    pub harness: Option<String>,
    /// How hard the model was told to think.
    pub thinking_level: Option<String>,
    /// The session that started this one.
    pub parent: Option<String>,
    /// The harness's own name for this instance of itself.
    pub client_instance: Option<String>,
    /// Where each of the fields above comes from: its name, then `flag`, or `env:` and the
    /// variable that it was read from. Null where nothing is known.
    pub source: Option<BTreeMap<String, String>>,
}

/// What an agent has used so far: absolute counters that never go backwards; null before
/// the first report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens that the model read.
    pub input_tokens: Option<u64>,
    /// Tokens that the model wrote.
    pub output_tokens: Option<u64>,
    /// Tokens that the model thought.
    pub reasoning_tokens: Option<u64>,
    /// Calls of tools.
    pub tool_calls: Option<u64>,
    /// Cost in millionths of a US dollar.
    pub cost_micros_usd: Option<u64>,
}

/// Any other failure, printed on standard output where JSON was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The failure.
    pub error: FailureDetail,
}

/// What `agent run` says on standard error, in one line, if it did not start its command:
/// its exit code may be one that the command could have.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NotStarted {
    /// Always false.
    pub started: bool,
    /// Why.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// Why a command was not started.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Refusal {
    /// The reservation was refused.
    Conflict(Conflict),
    /// Anything else.
    Failure(Failure),
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureDetail {
    /// The kind of failure; it decides the exit code.
    pub kind: FailureKind,
    /// What failed, in Git's voice.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The kind of a failure, one an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Anything that has no kind of its own. Exit 1.
    Failed,
    /// Bad arguments. Exit 2.
    Usage,
    /// Another live session owns the thread: wait. Exit 3.
    LiveOwner,
    /// The thread or the worktree is somewhere else: refresh or resume. Exit 4.
    AnchorDrift,
    /// No such session, or it ended or was replaced: reserve again. Exit 5.
    SessionLost,
    /// The token is missing or wrong. Exit 6.
    NotAuthorized,
    /// Checks found blockers. Exit 7.
    Blocked,
    /// Something was busy: the same call may be repeated as it is. Exit 75.
    Temporary,
    /// Not a Git repository, or one that cannot be opened. Exit 128.
    NotUsable,
}

/// What `agent capture` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// The session that captured.
    pub session_id: String,
    /// Its thread.
    pub thread: String,
    /// Whether a commit was made; false if nothing had changed, and with `--dry-run`.
    pub captured: bool,
    /// The commit; null if none was made.
    pub commit: Option<String>,
    /// The tree that was, or would be, committed.
    pub tree: Option<String>,
    /// The thread's tip before the capture.
    pub parent: Option<String>,
    /// The commit's whole message, trailers included; null if none was made.
    pub message: Option<String>,
    /// The agent's own confidence, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
    /// Paths that differ from the parent, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub changed_paths: Vec<String>,
    /// Lines added.
    pub insertions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// What the change touches that deserves a second look.
    pub impact_categories: Vec<ImpactCategory>,
    /// The paths that brought those categories in, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub heavy_impact_paths: Vec<String>,
    /// Whether a person should see this on a branch before it lands.
    pub promotion_suggested: bool,
    /// What was left out or may surprise, one sentence each.
    pub warnings: Vec<String>,
}

/// A kind of change that deserves a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImpactCategory {
    /// A manifest or lock file of dependencies.
    Dependencies,
    /// Configuration of the build or the pipeline.
    BuildConfig,
    /// Configuration of the running program.
    RuntimeConfig,
    /// Files that a generator writes.
    GeneratedOutput,
    /// What other code calls.
    PublicApi,
    /// Twenty paths or more.
    ManyPaths,
}

/// What `agent ready` found: exit 0 if completed, 7 if blocked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Whether the thread is ready now.
    pub status: ReadyStatus,
    /// What was asked for: `ready`.
    pub action: String,
    /// The outcome in one sentence.
    pub message: String,
    /// What stands in the way, one sentence each; empty if completed.
    pub blockers: Vec<String>,
    /// What a person may want to look at, one sentence each.
    pub warnings: Vec<String>,
    /// The command to run next; null if there is none to suggest.
    pub next_action: Option<String>,
    /// Whether this command captured something first.
    pub captured: bool,
    /// The state of the thread now.
    pub thread_state: ThreadState,
    /// The session that asked.
    pub session_id: String,
    /// Its thread.
    pub thread: String,
    /// The commit that was checked.
    pub commit: String,
    /// What was looked at.
    pub report: ReadyReport,
}

/// The outcome of `agent ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadyStatus {
    /// The thread is marked ready at the commit that was checked.
    Completed,
    /// Something stands in the way; the mark was not set.
    Blocked,
}

/// What `agent ready` looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyReport {
    /// The branch that the thread was compared with; null if none is known.
    pub target: Option<String>,
    /// How the thread stands to the target; null without one.
    pub freshness: Option<Freshness>,
    /// Commits on the thread that the target lacks; null without a target.
    pub ahead: Option<u64>,
    /// Commits on the target that the thread lacks; null without a target.
    pub behind: Option<u64>,
    /// What a merge into the target would stumble over.
    pub conflicts: Vec<MergeConflict>,
    /// Paths that the thread changes, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub changed_paths: Vec<String>,
    /// Lines added.
    pub insertions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// What the change touches that deserves a second look.
    pub impact_categories: Vec<ImpactCategory>,
    /// The paths that brought those categories in, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub heavy_impact_paths: Vec<String>,
    /// Whether a person should see this on a branch before it lands.
    pub promotion_suggested: bool,
    /// Other live threads that change the same paths.
    pub overlaps: Vec<Overlap>,
    /// The repository's own checks (`heddle.readyCommand`), in the order configured.
    pub checks: Vec<Check>,
}

/// How a thread stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// It contains the target.
    Current,
    /// The target contains it, and more.
    Behind,
    /// Each has commits that the other lacks.
    Diverged,
}

/// One path that does not merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergeConflict {
    /// The path.
    pub path: String,
    /// Always null: what Git says about a conflict is text for people, in their language. `git
    /// merge-tree` tells it.
    pub message: Option<String>,
}

/// Another live thread that changes the same paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Overlap {
    /// The other thread.
    pub thread: String,
    /// The paths that both change, sorted. As Git shows them: one with a
    /// quote, a backslash or a control character, or that is not UTF-8, is quoted in C's way.
    pub paths: Vec<String>,
}

/// One run of one of the repository's own checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The command as configured.
    pub command: String,
    /// Its exit status; 128 and the signal's number if a signal ended it, null if it could
    /// not be started.
    pub status: Option<i32>,
    /// Whether it passed.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The absolute path of the file that has its output; null if none was kept.
    pub log: Option<String>,
}

/// What `gc` removed, or with `--dry-run` would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gc {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// What.
    pub collected: Vec<Collected>,
    /// What stays although its time has come, one sentence each.
    pub kept: Vec<String>,
}

/// One thing that `gc` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collected {
    /// What kind of thing.
    pub kind: CollectedKind,
    /// Its name: a session's id, a thread, a ref, a path.
    pub name: String,
}

/// The kind of a thing that `gc` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CollectedKind {
    /// The record of a finished session.
    Session,
    /// The output of checks.
    Log,
    /// A thread that has landed.
    Thread,
    /// What was kept of a dropped thread.
    Dropped,
    /// A worktree that served nobody.
    Worktree,
    /// Old events.
    Events,
}

/// One line of the event log. `log --json` prints an array of them (`event-list`),
/// `log --follow --json` one such object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The version of the format: 1.
    pub version: u32,
    /// Time of the event.
    pub at: String,
    /// The id of the operation; of two lines with the same id and kind one is a repetition.
    pub id: String,
    /// What happened, such as `reserved`, `captured`, `ready` or `released`.
    pub kind: String,
    /// The thread that it happened to.
    pub thread: Option<String>,
    /// The session that did it.
    pub session: Option<String>,
    /// The fencing number of that session.
    pub generation: Option<u64>,
    /// Always null: an event tells what the thread came to, and the one before it what it was.
    pub old: Option<String>,
    /// The commit that the thread was at afterwards.
    pub new: Option<String>,
    /// More, for people.
    pub message: Option<String>,
}

/// The names of the documents that have a schema. Printed by `schema --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaList(pub Vec<String>);

/// The absolute paths of the man pages that were put in place. Printed by
/// `install-man-pages --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManPageList(pub Vec<String>);

/// What `doctor` found; an empty list of findings is good news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doctor {
    /// What is damaged or left over.
    pub findings: Vec<Finding>,
}

/// One thing that is damaged or left over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What is wrong, in one word, such as `damaged_record` or `stale_ref_lock`.
    pub kind: String,
    /// The thread that it concerns.
    pub thread: Option<String>,
    /// The absolute path of the file that it concerns.
    pub path: Option<String>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What `doctor --fix` does about it; null if a person has to.
    pub fix: Option<String>,
    /// Whether this run has done it.
    pub fixed: bool,
}

/// One document that has a schema.
pub struct Document {
    /// The name that `git heddle schema` takes, and the schema's file name without `.json`.
    pub name: &'static str,
    /// Makes its JSON Schema (draft 2020-12), for values as they are printed.
    pub schema: fn() -> schemars::Schema,
}

/// Every document, by name. The schema of a list is that of its array.
pub const DOCUMENTS: &[Document] = &[
    Document { name: "capture", schema: schema_of::<Capture> },
    Document { name: "conflict", schema: schema_of::<Conflict> },
    Document { name: "doctor", schema: schema_of::<Doctor> },
    Document { name: "dropped", schema: schema_of::<Dropped> },
    Document { name: "error", schema: schema_of::<Failure> },
    Document { name: "event", schema: schema_of::<Event> },
    Document { name: "event-list", schema: schema_of::<Vec<Event>> },
    Document { name: "fetched", schema: schema_of::<traffic::Fetched> },
    Document { name: "gc", schema: schema_of::<Gc> },
    Document { name: "hooks", schema: schema_of::<hooks::Hooks> },
    Document { name: "hooks-status", schema: schema_of::<hooks::HooksStatus> },
    Document { name: "land", schema: schema_of::<Land> },
    Document { name: "man-page-list", schema: schema_of::<ManPageList> },
    Document { name: "not-started", schema: schema_of::<NotStarted> },
    Document { name: "promoted", schema: schema_of::<Promoted> },
    Document { name: "published", schema: schema_of::<traffic::Published> },
    Document { name: "ready", schema: schema_of::<Ready> },
    Document { name: "refreshed", schema: schema_of::<refresh::Refreshed> },
    Document { name: "renamed", schema: schema_of::<rename::Renamed> },
    Document { name: "schema-list", schema: schema_of::<SchemaList> },
    Document { name: "session", schema: schema_of::<Session> },
    Document { name: "session-list", schema: schema_of::<Vec<Session>> },
    Document { name: "thread", schema: schema_of::<ThreadDetail> },
    Document { name: "thread-list", schema: schema_of::<Vec<ThreadRow>> },
    Document { name: "verification", schema: schema_of::<verification::Verification> },
];

/// The schema of `T` as it is printed: a field that is always there is required, also where
/// it may be null.
fn schema_of<T: JsonSchema>() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}
