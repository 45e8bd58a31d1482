//! Waiting for a git that a dead process has started: it holds a lock for as long as it runs.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::GitError;
use super::stage::io_error;

/// Locks `file`, which lies at `path`, once no git holds it any more; false if one still does
/// after `timeout`.
///
/// # Errors
/// [`GitError::Io`].
pub(super) fn lock_within(file: &File, path: &Path, timeout: Duration) -> Result<bool, GitError> {
    let deadline = Instant::now() + timeout;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path)(error)),
        }
    }
}
