//! Heddle's settings: `git config` and nothing else.

use std::time::Duration;

use crate::git::GitError;
use crate::git::config::Config;

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
            ready_commands: config
                .get_all("heddle.readyCommand")?
                .into_iter()
                .map(|value| value.text)
                .collect(),
            target: config.get("heddle.target")?.map(|value| value.text).filter(|target| !target.is_empty()),
        })
    }
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
