//! The folders in which captures have what is theirs alone, where their process is gone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::follow::unlock_after;
use super::stage::{PREFIX, files_with};

/// The scratch folders of processes that are gone: their lock is free. One that has no lock
/// file yet is being made by a capture of this worktree, which its lock excludes, or was left
/// before it came to that.
#[must_use]
pub fn abandoned(git_dir: &Path) -> Vec<PathBuf> {
    let is_free = |folder: &PathBuf| {
        let lock = File::open(folder.join("alive"));
        lock.is_err() || lock.is_ok_and(|lock| lock.try_lock_shared().is_ok())
    };
    files_with(git_dir, PREFIX).into_iter().filter(is_free).collect()
}

/// Removes the [`abandoned`] scratch folders. The caller holds the lock that captures of this
/// worktree take.
pub fn remove_abandoned(git_dir: &Path) {
    for folder in abandoned(git_dir) {
        unlock_after(&folder, git_dir);
        let _ = fs::remove_dir_all(folder);
    }
}
