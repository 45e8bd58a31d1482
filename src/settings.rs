//! Heddle's settings: `git config` and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use crate::git::GitError;
use crate::git::config::Config;

/// `heddle.hooks`: what a hook does about a Git command that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// `enforce`: refuse it, and refuse too where it cannot be told (failing closed).
    Closed,
    /// Not set: refuse it; where it cannot be told, say so and pass (failing open).
    Open,
    /// `warn`: say what would be refused, and pass.
    Warn,
    /// `off`: nothing.
    Off,
}

/// `heddle.pushUnready`: what a push of a target branch with commits of a thread that is not
/// marked ready comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// `warn`, the default.
    Warn,
    /// `refuse`.
    Refuse,
}

/// The settings, each with its key and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `heddle.ttl`: how long a lease lasts without a heartbeat; 30 minutes.
    pub ttl: Duration,
    /// `heddle.unknownTtl`: how long what may be alive counts as alive without a
    /// heartbeat; 24 hours.
    pub unknown_ttl: Duration,
    /// `heddle.lockTimeout`: how long to wait for a lock; 10 seconds.
    pub lock_timeout: Duration,
    /// `heddle.retention`: how long finished sessions are kept; 7 days.
    pub retention: Duration,
    /// `heddle.fsync`: whether what is reported as done survives a power cut; true.
    pub fsync: bool,
    /// `heddle.requireToken`: whether every session must show its token; false.
    pub require_token: bool,
    /// `heddle.maxNewFileSize`: the largest new file that a capture takes, in bytes; 10
    /// MiB, 0 for no limit.
    pub max_new_file_size: u64,
    /// `heddle.readyCommand`: the checks of `ready`, in order; none.
    pub ready_commands: Vec<String>,
    /// `heddle.target`: the branch that threads are meant to land on; none.
    pub target: Option<String>,
    /// `heddle.worktreeDir`: the folder in which `reserve --worktree` makes worktrees;
    /// `<repo>.heddle` beside the repository.
    pub worktree_dir: Option<PathBuf>,
    /// `heddle.worktreeCopy`: pathspecs of ignored files that a new worktree gets a copy of.
    pub worktree_copy: Vec<String>,
    /// `heddle.worktreeLink`: pathspecs of ignored files or folders that a new worktree gets
    /// a symbolic link to.
    pub worktree_link: Vec<String>,
    /// `heddle.worktreeSetup`: shell commands run once in a new worktree, in order.
    pub worktree_setup: Vec<String>,
    /// `heddle.hooks`: whether hooks refuse; they do, and pass what they cannot judge.
    pub hooks: Enforcement,
    /// `heddle.watch`: whether `run` watches the worktree and captures ask who watches it; true.
    pub watch: bool,
    /// `heddle.pushUnready`: whether a push of what is not ready is refused; it warns.
    pub push_unready: Unready,
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`GitError::BadConfig`] with key, value and origin.
    pub fn read(config: &Config) -> Result<Self, GitError> {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        Ok(Self {
            ttl: duration(config, "heddle.ttl", 30 * MINUTE, false)?,
            unknown_ttl: duration(config, "heddle.unknownTtl", 24 * HOUR, false)?,
            lock_timeout: duration(config, "heddle.lockTimeout", 10, true)?,
            retention: duration(config, "heddle.retention", 7 * 24 * HOUR, true)?,
            fsync: config.bool("heddle.fsync")?.unwrap_or(true),
            require_token: config.bool("heddle.requireToken")?.unwrap_or(false),
            max_new_file_size: config.size("heddle.maxNewFileSize")?.unwrap_or(10 << 20),
            ready_commands: all(config, "heddle.readyCommand")?,
            target: config.get("heddle.target")?.map(|value| value.text).filter(|target| !target.is_empty()),
            worktree_dir: config
                .get("heddle.worktreeDir")?
                .map(|value| value.text)
                .filter(|folder| !folder.is_empty())
                .map(|folder| match folder.strip_prefix("~/") {
                    Some(below) => std::env::home_dir().unwrap_or_default().join(below),
                    None => folder.into(),
                }),
            worktree_copy: all(config, "heddle.worktreeCopy")?,
            worktree_link: all(config, "heddle.worktreeLink")?,
            worktree_setup: all(config, "heddle.worktreeSetup")?,
            hooks: enforcement(config)?,
            watch: config.bool("heddle.watch")?.unwrap_or(true),
            push_unready: unready(config)?,
        })
    }
}

fn enforcement(config: &Config) -> Result<Enforcement, GitError> {
    const KEY: &str = "heddle.hooks";
    match config.get(KEY)? {
        None => Ok(Enforcement::Open),
        Some(value) => match value.text.as_str() {
            "enforce" => Ok(Enforcement::Closed),
            "warn" => Ok(Enforcement::Warn),
            "off" => Ok(Enforcement::Off),
            _ => Err(value.bad(KEY, "'enforce', 'warn' or 'off' is expected")),
        },
    }
}

fn unready(config: &Config) -> Result<Unready, GitError> {
    const KEY: &str = "heddle.pushUnready";
    match config.get(KEY)? {
        None => Ok(Unready::Warn),
        Some(value) => match value.text.as_str() {
            "warn" => Ok(Unready::Warn),
            "refuse" => Ok(Unready::Refuse),
            _ => Err(value.bad(KEY, "'warn' or 'refuse' is expected")),
        },
    }
}

/// Every value of a key, in order.
fn all(config: &Config, key: &str) -> Result<Vec<String>, GitError> {
    Ok(config.get_all(key)?.into_iter().map(|value| value.text).collect())
}

/// A duration: a number of seconds, or numbers with units.
fn duration(config: &Config, key: &str, default: u64, zero: bool) -> Result<Duration, GitError> {
    const EXPECTED: &str = "a duration is expected: seconds, or such as 90s, 30m, 1h 30m, 7days";
    let Some(value) = config.get(key)? else { return Ok(Duration::from_secs(default)) };
    let parsed = value.text.trim().parse().map(Duration::from_secs);
    let parsed = parsed.or_else(|_| humantime::parse_duration(value.text.trim()));
    match parsed {
        Ok(duration) if zero || !duration.is_zero() => Ok(duration),
        _ => Err(value.bad(key, EXPECTED)),
    }
}
