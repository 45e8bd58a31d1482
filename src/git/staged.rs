//! What only the index of a worktree tells: that a file which is ignored was added all the same, or
//! that one is no longer to be tracked. `git add -A` keeps to that, so the private index has to
//! have it too, whichever commit it is brought to.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use super::follow::Named;
use super::index_file::{is_understood, overlooks_nothing};
use super::program::Program;
use super::stage::{Staging, limited};
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};

/// A path that the index has and HEAD has not, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Staged {
    path: Vec<u8>,
    /// Mode and object, as Git writes them; `None` if it was taken out.
    added: Option<String>,
}

/// Files that are executable by the index alone, or are not by it alone: paths, each followed by NUL.
#[derive(Debug, Default)]
pub(super) struct Modes {
    set: Vec<u8>,
    unset: Vec<u8>,
}

impl Staged {
    pub(super) fn is_added(&self) -> bool {
        self.added.is_some()
    }
}

/// What the index at `index` has of its own against HEAD of the worktree: of all paths, or of those
/// that `pathspec` names from `cwd`.
///
/// # Errors
/// [`GitError::Program`].
pub(super) fn against_head(
    repo: &Repo,
    index: &Path,
    pathspec: &[OsString],
    cwd: &Path,
) -> Result<Vec<Staged>, GitError> {
    let args = ["--no-optional-locks", "diff-index", "--cached", "--raw", "--no-renames", "-z"];
    let mut command = repo.program().command(args);
    command.args(["--full-index", "--no-abbrev", "--diff-filter=AD", "--ignore-submodules=none", "HEAD"]);
    let mut command = limited(command, pathspec, cwd);
    command.env("GIT_INDEX_FILE", index);
    let output = Program::run(&mut command, None)?;
    let mut fields = output.split(|byte| *byte == 0);
    let mut found = Vec::new();
    while let (Some(entry), Some(path)) = (fields.next().filter(|entry| !entry.is_empty()), fields.next()) {
        let entry = String::from_utf8_lossy(entry);
        let mut words = entry.split(' ').skip(1);
        let (mode, id) = (words.next(), words.nth(1));
        let added = entry.ends_with(" A").then(|| Some(format!("{} {}", mode?, id?))).flatten();
        found.push(Staged { path: path.to_vec(), added });
    }
    Ok(found)
}

/// In the scratch folder: the worktree's own index, for Git to make a tree of.
const STAGED: &str = "index.staged";

impl Staging<'_> {
    /// What the worktree's own index has, as a tree; `None` where that has conflicts, and so is none.
    /// A copy of it is asked: Git locks what it makes a tree of, and a git that is killed there would
    /// be in the way of the next.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn staged_tree(&self) -> Result<Option<TreeId>, GitError> {
        let copy = self.scratch.path().join(STAGED);
        if !self.copy_to(&self.repo.git_dir().join("index"), &copy)? {
            return Ok(None);
        }
        let on_copy = |args: &[&str]| {
            let mut command = self.git(args);
            command.env("GIT_INDEX_FILE", &copy);
            command
        };
        let mut command = on_copy(&["write-tree"]);
        let output = Program::output(&mut command, None)?;
        let tree = TreeId::parse(String::from_utf8_lossy(&output.stdout).trim());
        if let Ok(tree) = tree
            && output.status.success()
        {
            return Ok(Some(tree));
        }
        let conflicts = Program::run(&mut on_copy(&["ls-files", "--unmerged", "-z"]), None)?;
        if conflicts.is_empty() { Err(Program::failure(&command, &output)) } else { Ok(None) }
    }

    /// Whether the worktree's index `own` tells nothing that the tip and the index at `kept`, which
    /// stands at it, do not.
    pub(super) fn knows_all_of(&self, own: &Path, kept: &Path) -> Result<bool, GitError> {
        let id_size = self.repo.id_size();
        if !overlooks_nothing(own, id_size) || !overlooks_nothing(kept, id_size) {
            return Ok(false);
        }
        Ok(!self.is_more_staged(own)?)
    }

    /// Whether the worktree's index `own` has something of its own that neither the tip nor a look
    /// at the files tells: what is not ignored, `git add -A` takes or leaves by the files alone.
    pub(super) fn is_more_staged(&self, own: &Path) -> Result<bool, GitError> {
        let staged = against_head(self.repo, own, &[], self.repo.git_dir())?;
        let tip = self.tip_tree()?;
        let there = |path: &[u8]| self.worktree.join(os(path)).symlink_metadata().is_ok();
        let more = staged.iter().filter(|one| one.is_added() != is_in(&tip, &one.path) && there(&one.path));
        Ok(!self.ignored_among(more.map(|one| one.path.as_slice()))?.is_empty())
    }

    fn tip_tree(&self) -> Result<git2::Tree<'_>, GitError> {
        Ok(self.repo.raw().find_commit(self.repo.oid(self.tip.as_str())?)?.tree()?)
    }

    /// Takes out of the index at `copy` what was only announced (`git add -N`) of the `captured`
    /// files, or of all, before Git has it be as in `commit`: an empty file that was announced is
    /// to Git what the commit has, so that it would stay announced, and the next `git commit` would
    /// leave it out.
    ///
    /// # Errors
    /// [`GitError::Program`]; [`GitError::Library`].
    pub(super) fn take_out_announced(
        &self,
        copy: &Path,
        commit: &CommitId,
        captured: Option<&[Vec<u8>]>,
    ) -> Result<(), GitError> {
        if !self.is_split() && is_understood(copy, self.repo.id_size()) {
            return Ok(());
        }
        let on_copy = |args: &[&str]| {
            let mut command = self.git(args);
            command.env("GIT_INDEX_FILE", copy);
            command
        };
        let announced = match captured {
            Some(captured) => self.empty_among(captured, commit)?,
            None => {
                let only = ["--ita-invisible-in-index", "--diff-filter=A", "--name-only"];
                let mut command = on_copy(&["diff-files", "-z", "--no-renames"]);
                Program::run(command.args(only), None)?
            }
        };
        if announced.is_empty() {
            return Ok(());
        }
        let mut command = on_copy(&["update-index", "--force-remove", "-z", "--stdin"]);
        Program::run(&mut command, Some(&announced)).map(drop)
    }

    /// Takes into the index at `copy` what lies in the files of the paths that are `named`, as
    /// `git commit --only` does, where the file is not all that tells of one: what was staged of it
    /// and then taken back in the file would be committed by the next `git commit`. What was captured
    /// is the caller's to bring to `commit`; returned are the modes that only the index told of it.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub(super) fn restage_named(
        &self,
        copy: &Path,
        commit: &CommitId,
        named: &Named<'_>,
    ) -> Result<Modes, GitError> {
        let args = ["diff-index", "--cached", "--raw", "--no-renames", "--no-abbrev", "-z"];
        let mut command = self.git(args);
        command.args(["--ignore-submodules=none", commit.as_str()]).env("GIT_INDEX_FILE", copy);
        let output = Program::run(&mut limited(command, named.pathspec, named.cwd), None)?;
        let executable = !self.repo.config()?.bool("core.fileMode")?.unwrap_or(true);
        let (mut modes, mut files) = (Modes::default(), Vec::new());
        let captured: HashSet<&[u8]> = named.changed.iter().map(Vec::as_slice).collect();
        let mut fields = output.split(|byte| *byte == 0);
        while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
            let list = match entry.get(..14) {
                _ if !captured.contains(path) => &mut files,
                Some(b":100644 100755") if executable => &mut modes.set,
                Some(b":100755 100644") if executable => &mut modes.unset,
                _ => continue,
            };
            list.extend([path, &[0]].concat());
        }
        if !files.is_empty() {
            let args = ["update-index", "--add", "--remove", "--ignore-skip-worktree-entries"];
            let mut command = self.git(args);
            command.args(["-z", "--stdin"]).env("GIT_INDEX_FILE", copy);
            Program::run(&mut command, Some(&files))?;
        }
        Ok(modes)
    }

    /// Gives files of the index at `copy` those modes.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub(super) fn set_modes(&self, copy: &Path, modes: &Modes) -> Result<(), GitError> {
        for (mode, paths) in [("--chmod=+x", &modes.set), ("--chmod=-x", &modes.unset)] {
            if !paths.is_empty() {
                let mut command = self.git(["update-index", mode, "-z", "--stdin"]);
                command.env("GIT_INDEX_FILE", copy);
                Program::run(&mut command, Some(paths))?;
            }
        }
        Ok(())
    }

    /// Those of `paths`, each followed by NUL, that are empty files in `commit`.
    fn empty_among(&self, paths: &[Vec<u8>], commit: &CommitId) -> Result<Vec<u8>, GitError> {
        let raw = self.repo.raw();
        let tree = raw.find_commit(self.repo.oid(commit.as_str())?)?.tree()?;
        let empty = git2::Oid::hash_object_ext(git2::ObjectType::Blob, b"", raw.object_format())?;
        let is_empty =
            |path: &&Vec<u8>| tree.get_path(Path::new(&os(path))).is_ok_and(|entry| entry.id() == empty);
        Ok(paths.iter().filter(is_empty).flat_map(|path| [path.as_slice(), &[0]].concat()).collect())
    }

    /// Puts into the private index, which was brought to the tip, what the worktree's own has of
    /// its own. What the tip has as well stays as it is there.
    pub(super) fn restage(&self, only: &[Staged]) -> Result<(), GitError> {
        let tip = self.tip_tree()?;
        let zeros = "0".repeat(2 * self.repo.id_size());
        let mut input = Vec::new();
        for Staged { path, added } in only {
            match added {
                Some(_) if is_in(&tip, path) => continue,
                Some(entry) => input.extend_from_slice(entry.as_bytes()),
                None => input.extend_from_slice(format!("0 {zeros}").as_bytes()),
            }
            input.push(b'\t');
            input.extend_from_slice(path);
            input.push(0);
        }
        if input.is_empty() {
            return Ok(());
        }
        let mut command = self.git_on_index(["update-index", "-z", "--index-info"]);
        Program::run(&mut command, Some(&input)).map(drop)
    }
}

fn is_in(tree: &git2::Tree<'_>, path: &[u8]) -> bool {
    tree.get_path(Path::new(&os(path))).is_ok()
}

fn os(path: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(path.to_vec())
}
