//! Where Git runs to merge in memory.
//!
//! A merge driver (gitattributes(5)) is given its files in the folder that Git runs in, which is the
//! top of the worktree. There a capture would take them that is made beside it, they would stay where
//! that Git is killed, and on a read-only file system they cannot be made. So where there is a driver
//! Git runs in a temporary folder, in which what is in the top of the worktree is found by the same
//! names: a driver may be named by a path from there.
//!
//! # If the process dies here
//! The folder stays among the temporary files of the system; nothing of the repository is in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::merge::scratch_folder;
use super::program::ALTERNATES;
use super::{GitError, Repo};

impl Repo {
    /// Has `command`, which merges, run aside if it may start a driver. The folder is there for as
    /// long as the value lives.
    ///
    /// # Errors
    /// [`GitError::Io`]; [`GitError::Program`] for configuration that Git has to be asked for.
    pub(super) fn run_aside(&self, command: &mut Command) -> Result<Option<TempDir>, GitError> {
        let has_drivers = !self.config()?.subsections("merge", "driver")?.is_empty();
        // Paths in that variable may be relative to where Git runs.
        if !has_drivers || std::env::var_os(ALTERNATES).is_some() {
            return Ok(None);
        }
        let folder = scratch_folder()?;
        let tops = self.worktree().map(fs::read_dir).into_iter().flatten().flatten().flatten();
        for entry in tops.filter(|entry| entry.file_name() != ".git") {
            let link = folder.path().join(entry.file_name());
            symlink(entry.path(), &link).map_err(|source| GitError::Io {
                action: "make a link at",
                path: link,
                source,
            })?;
        }
        command.current_dir(folder.path());
        Ok(Some(folder))
    }
}
