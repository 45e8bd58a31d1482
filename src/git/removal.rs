//! Removing worktrees, and going on where that was interrupted.
//!
//! Git looks whether a worktree is clean, and then removes file by file. Killed among them it leaves
//! a worktree that looks like one in which somebody has deleted files: the next owner would capture
//! that as work. So a file in the worktree's own Git directory says beforehand that it is to go;
//! it is synced, and goes with that directory. It is locked while the git that removes lives. Where
//! what Git would not call clean was kept as a commit first, the file names that.
//!
//! # If the process dies here
//! Whoever comes to the worktree next ([`Repo::finish_removal`]) finds the file. Where nothing but
//! files is missing, nobody has been there since Git found it clean, or since it was kept, and the
//! removal is finished. Where nothing is missing it never began. Where there is something else as
//! well, somebody has gone on in what was left, and a person has to look at it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::NamedTempFile;

use super::program::Program;
use super::stage::io_error;
use super::still::lock_within;
use super::worktree::{Holds, Linked};
use super::{GitError, Repo};
use crate::names::CommitId;

/// The file that says so.
const GOING: &str = "heddle-removing";
/// Where Git looks for another index than the worktree's.
const INDEX: &str = "GIT_INDEX_FILE";

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
    /// Says that the worktree is to go, and which commit has what it holds.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub(super) fn begin(linked: &Linked, holds: &Holds, durable: bool) -> Result<Self, GitError> {
        let path = linked.git_dir.join(GOING);
        let begin = || {
            let mut file = File::create(&path)?;
            file.try_lock()?;
            if let Holds::Kept(commit) = holds {
                file.write_all(commit.as_str().as_bytes())?;
            }
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
        if !matches!(left_of(linked, kept_in(&self.path).as_ref()), Ok(Left::Remains | Left::Changed)) {
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
            let gone = !linked.git_dir.exists();
            if gone {
                self.note_removal(&linked.git_dir);
            }
            return Ok(gone);
        }
        let left = match left_of(linked, kept_in(&path).as_ref())? {
            // Git's look at files does not see those that came since.
            Left::Remains if linked.path.is_dir() && !self.unseen(linked)?.others.is_empty() => Left::Changed,
            left => left,
        };
        match left {
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
                self.after_removal(linked);
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

    /// Notes that a worktree is removed, and removes the folder that worktrees are made in with the
    /// last of them; any other folder that is empty was not made here.
    pub(super) fn after_removal(&self, linked: &Linked) {
        self.note_removal(&linked.git_dir);
        if let Some(folder) = linked.path.parent().filter(|folder| *folder == self.worktree_folder()) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The commit that has what the worktree held, by the file that says that it is to go.
fn kept_in(going: &Path) -> Option<CommitId> {
    CommitId::parse(&fs::read_to_string(going).ok()?).ok()
}

/// Compares what is there with the commit in which it was `kept`, or with the worktree's index; also
/// where its own `.git` is gone.
fn left_of(linked: &Linked, kept: Option<&CommitId>) -> Result<Left, GitError> {
    let git = linked.program(false);
    let mut command = git.command(["--no-optional-locks", "status", "--porcelain", "-z"]);
    command.args(["--untracked-files=normal", "--no-renames", "--ignore-submodules=none"]);
    let index = kept.map(|kept| index_of(&git, linked, kept)).transpose()?;
    command.envs(index.iter().map(|index| (INDEX, index.path())));
    let output = Program::run(&mut command, None)?;
    let entries = output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    // How the commit differs from HEAD is told as well, in the first column.
    let differs = |entry: &&[u8]| kept.is_none() || entry.get(1) != Some(&b' ');
    let mut entries = entries.filter(differs).peekable();
    if entries.peek().is_none() && linked.is_there() {
        return Ok(Left::Everything);
    }
    let is_missing = |entry: &&[u8]| entry.get(1) == Some(&b'D') && (kept.is_some() || entry[0] == b' ');
    let (missing, other): (Vec<&[u8]>, Vec<&[u8]>) = entries.partition(is_missing);
    Ok(match (missing.is_empty(), other.is_empty()) {
        (_, true) => Left::Remains,
        (true, false) if linked.is_there() => Left::Everything,
        _ => Left::Changed,
    })
}

/// An index with the content of `commit`, beside that of the worktree.
fn index_of(git: &Program, linked: &Linked, commit: &CommitId) -> Result<NamedTempFile, GitError> {
    let index = NamedTempFile::with_prefix_in(format!("{GOING}-"), &linked.git_dir);
    let index = index.map_err(io_error("write", &linked.git_dir))?;
    let mut command = git.command(["read-tree", commit.as_str()]);
    Program::run(command.env(INDEX, index.path()), None)?;
    Ok(index)
}
