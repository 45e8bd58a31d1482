//! Running the repository's own checks before a thread is called ready.
//!
//! A check is a shell command line from the user's *configuration*, run by `sh -c` as Git
//! runs aliases; nothing that a checked-out tree contains is run because it is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::git::program;
use crate::store::StoreError;

/// A check that was run.
#[derive(Debug, Clone)]
pub struct Check {
    /// The command line.
    pub command: String,
    /// Whether it exited with 0.
    pub ok: bool,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// How it ended, in words.
    pub status: String,
    /// How long it ran.
    pub duration: Duration,
    /// Where its output is kept.
    pub log: PathBuf,
}

/// Runs `command` in `worktree`, its output going to `log`.
///
/// # Errors
/// [`StoreError::Io`] if the log cannot be written or no shell started; a failed check is
/// no error.
pub fn run(worktree: &Path, command: &str, log: &Path) -> Result<Check, Error> {
    let io = |source| Error::Store(StoreError::Io { action: "write", path: log.to_owned(), source });
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let output = File::create(log).map_err(io)?;
    let errors = output.try_clone().map_err(io)?;
    let mut shell = Command::new("sh");
    program::scrub(&mut shell);
    shell.args(["-c", command]).current_dir(worktree).stdin(Stdio::null()).stdout(output).stderr(errors);
    let started = Instant::now();
    let status = shell.status().map_err(io)?;
    Ok(Check {
        command: command.to_owned(),
        ok: status.success(),
        code: status.code(),
        status: status.to_string(),
        duration: started.elapsed(),
        log: log.to_owned(),
    })
}
