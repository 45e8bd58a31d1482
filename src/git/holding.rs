//! What a worktree holds that would go with it, and that `git status` there does not tell.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::program::Program;
use super::worktree::Linked;
use super::{GitError, Repo};

impl Repo {
    /// A submodule of a worktree that has commits or stashes which no remote of it has: they lie in
    /// the worktree's own Git directory and would go with it.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn unpushed_submodule(&self, linked: &Linked) -> Result<Option<PathBuf>, GitError> {
        let mut folders = vec![linked.git_dir.join("modules")];
        while let Some(folder) = folders.pop() {
            if is_repository(&folder) {
                let git = Program::new(&folder, None, false);
                let mut command = git.command(["rev-list", "--max-count=1", "--all", "--not", "--remotes"]);
                if !Program::run(&mut command, None)?.is_empty() {
                    return Ok(Some(folder));
                }
                // Its own submodules; what else lies in it is Git's.
                folders.push(folder.join("modules"));
                continue;
            }
            // A submodule whose name has slashes lies deeper.
            let below = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(below.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        }
        Ok(None)
    }

    /// A submodule of a worktree with files that are not committed in it: no commit of the
    /// worktree can have them.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn drafts_in_submodule(&self, linked: &Linked) -> Result<Option<PathBuf>, GitError> {
        let mut command = linked.program(false).command(["--no-optional-locks", "status"]);
        command.args(["--porcelain=v2", "-z", "--untracked-files=normal", "--no-renames"]);
        command.arg("--ignore-submodules=none");
        let output = Program::run(&mut command, None)?;
        let path_of_drafts = |entry: &[u8]| {
            // Changed, or in conflict: its kind, its columns, what is about the submodule, and last
            // its path.
            let fields = match entry.first()? {
                b'1' => 9,
                b'u' => 11,
                _ => return None,
            };
            let mut words = entry.splitn(fields, |byte| *byte == b' ').skip(2);
            let about = words.next()?;
            let is_draft = about.first() == Some(&b'S') && about.get(2..) != Some(b"..");
            let path = words.last().filter(|_| is_draft)?;
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
        };
        Ok(output.split(|byte| *byte == 0).find_map(path_of_drafts))
    }

    /// A file of a worktree that Git was told not to look at, so that nobody knows whether it was
    /// changed: it is assumed to be unchanged, or is there although it is to be skipped.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn hidden_from_status(&self, linked: &Linked) -> Result<Option<PathBuf>, GitError> {
        let mut command = linked.program(false).command(["ls-files", "-v", "-z"]);
        let output = Program::run(&mut command, None)?;
        let hidden = |entry: &[u8]| {
            let [tag, b' ', path @ ..] = entry else { return None };
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
            let is_hidden = match tag {
                b'S' => fs::symlink_metadata(linked.path.join(&path)).is_ok(),
                tag => tag.is_ascii_lowercase(),
            };
            is_hidden.then_some(path)
        };
        Ok(output.split(|byte| *byte == 0).find_map(hidden))
    }
}

/// Whether a folder is a Git directory: its parts, which have files named HEAD too, are none.
fn is_repository(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && ["objects", "refs"].iter().all(|part| folder.join(part).is_dir())
}
