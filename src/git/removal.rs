//! Removing worktrees, and going on where that was interrupted.
//!
//! Git looks whether a worktree is clean, and then removes file by file. Killed among them it leaves
//! a worktree that looks like one in which somebody has deleted files: the next owner would capture
//! that as work. So a file in the worktree's own Git directory says beforehand that it is to go;
//! it is synced, and goes with that directory. It is locked while the git that removes lives.
//!
//! # If the process dies here
//! Whoever comes to the worktree next ([`Repo::finish_removal`]) finds the file. Where nothing but
//! files is missing, nobody has been there since Git found it clean, and the removal is finished. Where
//! nothing is missing it never began. Where there is something else as well, somebody has gone on
//! in what was left, and a person has to look at it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::program::Program;
use super::stage::io_error;
use super::still::lock_within;
use super::worktree::Linked;
use super::{GitError, Repo};

/// The file that says so.
const GOING: &str = "heddle-removing";

/// A removal that is under way, as others see it.
pub(super) struct Going {
    path: PathBuf,
    file: File,
}

/// What is left of a worktree that was to go.
enum Left {
    /// All of it.
    Everything,
    /// Nothing but files that are as they were, and not all of them.
    Remains,
    /// Some is missing, and something else is there.
    Changed,
}

impl Going {
    /// Says that the worktree is to go.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub(super) fn begin(linked: &Linked, durable: bool) -> Result<Self, GitError> {
        let path = linked.git_dir.join(GOING);
        let begin = || {
            let file = File::create(&path)?;
            file.try_lock()?;
            if durable {
                file.sync_all()?;
                File::open(&linked.git_dir)?.sync_all()?;
            }
            Ok(file)
        };
        let file = begin().map_err(io_error("write", &path))?;
        Ok(Self { path, file })
    }

    /// Has the command count as the removal for as long as it lives.
    pub(super) fn lend_to(&self, command: &mut Command) {
        if let Ok(file) = self.file.try_clone() {
            // It reads nothing, and holds the lock.
            command.stdin(Stdio::from(file));
        }
    }

    /// Git would not: the worktree stays, unless some of it is gone.
    pub(super) fn end(self, linked: &Linked) {
        if !matches!(left_of(linked), Ok(Left::Remains | Left::Changed)) {
            let _ = fs::remove_file(self.path);
        }
    }
}

impl Linked {
    /// Whether it was to be removed, and is not gone yet.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.git_dir.join(GOING).exists()
    }
}

impl Repo {
    /// Finishes what a removal began that was interrupted; whether the worktree is gone now. The
    /// caller holds the lock on the list of worktrees, and the one that captures in it take.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] if the git that removes still runs after `timeout`;
    /// [`GitError::Unusable`] if somebody has gone on in what is left.
    pub fn finish_removal(&self, linked: &Linked, timeout: Duration) -> Result<bool, GitError> {
        let path = linked.git_dir.join(GOING);
        let Ok(file) = File::open(&path) else { return Ok(false) };
        if !lock_within(&file, &path, timeout)? {
            return Err(GitError::RefLocked { name: format!("worktrees/{}", linked.id), lock: path });
        }
        if !path.exists() {
            // The git that was waited for has finished.
            return Ok(!linked.git_dir.exists());
        }
        match left_of(linked)? {
            Left::Everything => {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                Ok(false)
            }
            Left::Remains => {
                // The path may be another repository's by now, with the very same files.
                let given_away = !linked.is_there() && linked.path.join(".git").exists();
                let worktree = (!given_away).then_some(&linked.path);
                for folder in worktree.into_iter().chain([&linked.git_dir]) {
                    match fs::remove_dir_all(folder) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(io_error("remove", folder)(error));
                        }
                        _ => {}
                    }
                }
                self.leave_no_empty_folder(&linked.path);
                Ok(true)
            }
            Left::Changed => Err(GitError::Unusable {
                path: linked.path.clone(),
                reason:
                    "it was being removed when that was interrupted, and somebody has changed what was left: \
                         look at it, and then remove it with git worktree remove --force"
                        .to_owned(),
            }),
        }
    }

    /// Removes the folder that worktrees are made in with the last of them; any other folder that
    /// is empty was not made here.
    pub(super) fn leave_no_empty_folder(&self, worktree: &Path) {
        if let Some(folder) = worktree.parent().filter(|folder| *folder == self.worktree_folder()) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Compares what is there with the worktree's index, also where its own `.git` is gone.
fn left_of(linked: &Linked) -> Result<Left, GitError> {
    let mut command = linked.program(false).command(["--no-optional-locks", "status", "--porcelain", "-z"]);
    command.args(["--untracked-files=normal", "--no-renames", "--ignore-submodules=none"]);
    let output = Program::run(&mut command, None)?;
    let mut entries = output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).peekable();
    if entries.peek().is_none() && linked.is_there() {
        return Ok(Left::Everything);
    }
    let (missing, other): (Vec<&[u8]>, Vec<&[u8]>) = entries.partition(|entry| entry.starts_with(b" D"));
    Ok(match (missing.is_empty(), other.is_empty()) {
        (_, true) => Left::Remains,
        (true, false) if linked.is_there() => Left::Everything,
        _ => Left::Changed,
    })
}
