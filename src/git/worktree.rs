//! Linked worktrees: which there are, making one, moving one along, removing one.
//!
//! A worktree is known by its id, the name of its folder below `worktrees/` in the common
//! Git directory, which survives `git worktree move`. Its path is what Git wrote there.
//!
//! `git worktree add` writes the reason of a lock before it writes anything else, so a
//! worktree that is being made says from its first moment who makes it; what a dead process
//! leaves half made is recognised by that, and by nothing else.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::program::{Program, hand_on_pathspecs};
use super::removal::Going;
use super::{GitError, Repo};
use crate::names::{CommitId, SessionId};
use crate::store::lock::FileLock;

/// What the lock of a worktree says while it is being made, before the session's id.
const MAKING: &str = "git-heddle: being made for session ";

/// A linked worktree, as Git's own files tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Its id.
    pub id: String,
    /// Its own Git directory.
    pub git_dir: PathBuf,
    /// Its top folder, which may be gone.
    pub path: PathBuf,
    /// Why it is locked, if it is.
    pub locked: Option<String>,
}

impl Linked {
    /// Reads what Git knows of the worktree with this Git directory; `None` if it is none.
    #[must_use]
    pub fn read(git_dir: &Path) -> Option<Self> {
        let id = git_dir.file_name()?.to_str()?.to_owned();
        let named = fs::read(git_dir.join("gitdir")).ok()?;
        let named = Path::new(std::ffi::OsStr::from_bytes(named.trim_ascii_end()));
        // With worktree.useRelativePaths it is relative to the folder that it stands in.
        let dot_git = without_dots(&git_dir.join(named));
        let locked = fs::read(git_dir.join("locked")).ok();
        let locked = locked.map(|reason| String::from_utf8_lossy(&reason).trim().to_owned());
        Some(Self { id, git_dir: git_dir.to_owned(), path: dot_git.parent()?.to_owned(), locked })
    }

    /// Whether its folder is there and belongs to it: a path may have been deleted, or given
    /// to something else.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let ours = self.git_dir.canonicalize().ok();
        ours.is_some() && git_dir_of(&self.path) == ours
    }

    /// The session that it was being made for, if it is not whole.
    #[must_use]
    pub fn being_made_for(&self) -> Option<SessionId> {
        SessionId::parse(self.locked.as_deref()?.strip_prefix(MAKING)?).ok()
    }

    /// Removes what there is of a worktree that is not whole: its folder where that is its own,
    /// else only what Git may have begun of it there.
    fn clear(&self) -> Result<(), GitError> {
        let remove = |path: &Path| {
            let removed = fs::remove_dir_all(path);
            removed.map_err(|source| GitError::Io { action: "remove", path: path.to_owned(), source })
        };
        if self.is_there() {
            remove(&self.path)?;
        } else {
            let dot_git = self.path.join(".git");
            let whole = [b"gitdir: ", self.git_dir.as_os_str().as_bytes()].concat();
            if fs::read(&dot_git).is_ok_and(|begun| whole.starts_with(begun.trim_ascii_end())) {
                let _ = fs::remove_file(dot_git);
            }
            // Only where nothing is in it.
            let _ = fs::remove_dir(&self.path);
        }
        remove(&self.git_dir)
    }

    /// How to start git in it.
    #[must_use]
    pub fn program(&self, durable: bool) -> Program {
        Program::new(&self.git_dir, Some(&self.path), durable)
    }
}

/// The Git directory that the worktree at `path` names as its own, as far as it is there.
#[must_use]
pub fn git_dir_of(path: &Path) -> Option<PathBuf> {
    let dot_git = path.join(".git");
    if dot_git.is_dir() {
        return dot_git.canonicalize().ok();
    }
    let text = fs::read(dot_git).ok()?;
    let named = text.trim_ascii_end().strip_prefix(b"gitdir: ")?;
    path.join(Path::new(std::ffi::OsStr::from_bytes(named))).canonicalize().ok()
}

/// `path` without `.` and `..`, by its words alone: what it names may be gone.
fn without_dots(path: &Path) -> PathBuf {
    use std::path::Component;
    path.components().fold(PathBuf::new(), |mut clean, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
        clean
    })
}

impl Repo {
    /// The linked worktrees, by id.
    #[must_use]
    pub fn linked_worktrees(&self) -> Vec<Linked> {
        let folders = fs::read_dir(self.common_dir().join("worktrees"));
        let mut found: Vec<Linked> =
            folders.into_iter().flatten().flatten().filter_map(|entry| Linked::read(&entry.path())).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }

    /// The Git directories of all worktrees, the main one's first.
    #[must_use]
    pub fn git_dirs(&self) -> Vec<PathBuf> {
        let linked = self.linked_worktrees().into_iter().map(|linked| linked.git_dir);
        std::iter::once(self.common_dir().to_owned()).chain(linked).collect()
    }

    /// The linked worktree with this id.
    #[must_use]
    pub fn linked_worktree(&self, id: &str) -> Option<Linked> {
        Linked::read(&self.common_dir().join("worktrees").join(id))
    }

    /// Where worktrees for threads lie unless `heddle.worktreeDir` says otherwise: beside the
    /// repository, `<repo>.heddle`.
    #[must_use]
    pub fn worktree_folder(&self) -> PathBuf {
        let common = self.common_dir();
        let of = match common.file_name().and_then(std::ffi::OsStr::to_str) {
            Some(".git") => common.parent().unwrap_or(common).to_owned(),
            Some(name) => common.with_file_name(name.strip_suffix(".git").unwrap_or(name)),
            None => common.to_owned(),
        };
        let mut folder = of.into_os_string();
        folder.push(".heddle");
        folder.into()
    }

    /// Makes a linked worktree for `session` at `path`, HEAD detached at `commit`, without
    /// files, and locked as being made; under `listing`, the lock on the list of worktrees.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, such as that the path exists; nothing is left.
    pub fn add_worktree(
        &self,
        path: &Path,
        commit: &CommitId,
        session: &SessionId,
        listing: &FileLock,
    ) -> Result<Linked, GitError> {
        let reason = format!("{MAKING}{session}");
        let mut command = self.program().command(["worktree", "add", "--quiet", "--detach", "--no-checkout"]);
        command.args(["--lock", "--reason", &reason, "--"]).arg(path).arg(commit.as_str());
        listing.lend_to(&mut command);
        Program::run_vouched(&mut command, None, self.common_dir())?;
        git_dir_of(path).and_then(|git_dir| Linked::read(&git_dir)).ok_or_else(|| GitError::Unusable {
            path: path.to_owned(),
            reason: "git worktree add made no worktree there".to_owned(),
        })
    }

    /// Fills a worktree that was made without files, and runs the `post-checkout` hook as
    /// `git worktree add` would. The git that does it holds `captures`, the lock that captures in it
    /// take: it may outlive us, and whoever removes what we left waits for it.
    ///
    /// # Errors
    /// [`GitError::Program`], also where that hook fails.
    pub fn fill_worktree(
        &self,
        made: &Linked,
        commit: &CommitId,
        captures: &FileLock,
    ) -> Result<(), GitError> {
        let git = made.program(self.is_durable());
        // As `git worktree add` does: the submodules are not there yet.
        let mut reset = git.command(["reset", "--hard", "--quiet", "--no-recurse-submodules"]);
        captures.lend_to(&mut reset);
        Program::run_vouched(&mut reset, None, self.common_dir())?;
        let none = "0".repeat(commit.as_str().len());
        let mut hook = git.command(["hook", "run", "--ignore-missing", "post-checkout", "--"]);
        hook.args([&none, commit.as_str(), "1"]);
        hand_on_pathspecs(&mut hook);
        captures.lend_to(&mut hook);
        Program::run(&mut hook, None).map(drop)
    }

    /// Says that a worktree is whole.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub fn finish_worktree(&self, made: &Linked) -> Result<(), GitError> {
        let lock = made.git_dir.join("locked");
        match fs::remove_file(&lock) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(GitError::Io { action: "remove", path: lock, source })
            }
            _ => Ok(()),
        }
    }

    /// Moves a clean worktree to `commit`, HEAD detached, as `git checkout` does: it refuses
    /// rather than overwrite.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn move_worktree(&self, linked: &Linked, commit: &CommitId) -> Result<(), GitError> {
        let mut command = linked.program(self.is_durable()).command(["checkout", "--quiet", "--detach"]);
        // A hook's failure would come too late to stop anything; Git says it all the same.
        command.arg(commit.as_str()).arg("--");
        Program::run_vouched(&mut command, None, self.common_dir()).map(drop)
    }

    /// What is not committed in a worktree: changed, staged and untracked files (a folder of
    /// untracked files as one), submodules included. What Git ignores does not count.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn uncommitted(&self, linked: &Linked) -> Result<Vec<String>, GitError> {
        let mut command = linked.program(false).command(["--no-optional-locks", "status"]);
        command.args(["--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none"]);
        let output = Program::run(&mut command, None)?;
        Ok(paths_of_status(&output))
    }

    /// The files that Git ignores in the worktree whose git is `git` and that one of
    /// `patterns` matches, from its top folder.
    ///
    /// # Errors
    /// [`GitError::Program`], such as for a pathspec that Git does not understand.
    pub fn ignored_files(git: &Program, patterns: &[String]) -> Result<Vec<PathBuf>, GitError> {
        let mut command = git.command(["ls-files", "-z", "--others", "--ignored", "--exclude-standard"]);
        command.arg("--").args(patterns);
        Ok(paths(&Program::run(&mut command, None)?))
    }

    /// As [`Self::ignored_files`], but a folder that a pattern matches as a whole is one
    /// entry, and what merely lies in an ignored folder is none.
    ///
    /// # Errors
    /// As [`Self::ignored_files`].
    pub fn ignored_entries(git: &Program, patterns: &[String]) -> Result<Vec<PathBuf>, GitError> {
        let mut command = git.command(["ls-files", "-z", "--others", "--ignored", "--exclude-standard"]);
        command.args(["--directory", "--"]).args(patterns);
        let matcher = git2::Pathspec::new(patterns.iter().map(|pattern| pattern.trim_end_matches('/')))?;
        let mut found = paths(&Program::run(&mut command, None)?);
        // Git lists an ignored folder also for a pattern that only something below could
        // match.
        found.retain(|path| {
            let folder = path.as_os_str().as_bytes().ends_with(b"/");
            let whole: PathBuf = path.components().collect();
            !folder || matcher.matches_path(&whole, git2::PathspecFlags::DEFAULT)
        });
        Ok(found)
    }

    /// The folders that Git ignores in the worktree whose git is `git`, from its top folder; it may
    /// list some of what lies in them too.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub(in crate::git) fn ignored_folders(git: &Program) -> Result<Vec<PathBuf>, GitError> {
        let mut command = git.command(["ls-files", "-z", "--others", "--ignored", "--exclude-standard"]);
        let mut found = paths(&Program::run(command.arg("--directory"), None)?);
        found.retain(|path| path.as_os_str().as_bytes().ends_with(b"/"));
        Ok(found)
    }

    /// The files of a worktree that are neither tracked nor ignored.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn untracked_files(git: &Program) -> Result<Vec<PathBuf>, GitError> {
        let mut command = git.command(["ls-files", "-z", "--others", "--exclude-standard"]);
        Ok(paths(&Program::run(&mut command, None)?))
    }

    /// Whether HEAD of this worktree is at the ref `name` and nothing in it is uncommitted.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn is_clean_at(&self, name: &str) -> Result<bool, GitError> {
        let head = match self.head()? {
            super::repo::Head::Detached { commit } | super::repo::Head::Branch { commit, .. } => commit,
            super::repo::Head::Unborn { .. } => return Ok(false),
        };
        if self.read_ref(name)?.as_ref() != Some(&head) {
            return Ok(false);
        }
        let mut command = self.program().command(["--no-optional-locks", "status"]);
        command.args(["--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none"]);
        Ok(Program::run(&mut command, None)?.is_empty())
    }

    /// What an operation in progress in a worktree is called; `None` if there is none.
    ///
    /// # Errors
    /// [`GitError::Library`] if it cannot be opened.
    pub fn operation_in(&self, linked: &Linked) -> Result<Option<&'static str>, GitError> {
        let state = match self.refs_are_files() {
            true => git2::Repository::open(&linked.path)?.state(),
            false => Self::at(&linked.path)?.state(),
        };
        Ok(super::unfinished::operation(state))
    }

    /// Removes a worktree. Git looks once more whether it is clean, unless it `holds` only
    /// what may go: one that was never whole, one with submodules, one whose folder is gone.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words.
    pub fn remove_worktree(&self, linked: &Linked, holds: &Holds) -> Result<(), GitError> {
        // Relative to the common directory: the worktree that the command runs in may be the
        // very one that goes.
        let git = Program::new(self.common_dir(), None, self.is_durable());
        let mut command = git.command(["worktree", "remove"]);
        let forced = match holds {
            Holds::Work if linked.git_dir.join("modules").exists() => 1,
            Holds::Work => 0,
            Holds::Nothing | Holds::Kept(_) => 2,
        };
        command.args(std::iter::repeat_n("--force", forced)).arg("--").arg(&linked.path);
        // On a full disk too: what goes makes room.
        let going = Going::begin(linked, holds, self.is_durable()).ok();
        going.iter().for_each(|going| going.lend_to(&mut command));
        if let Err(error) = Program::run(&mut command, None) {
            // What a `git worktree add` or `remove` leaves that was killed Git refuses to remove.
            let unmade = linked.being_made_for().is_some() || !linked.is_there();
            if *holds != Holds::Nothing || !unmade {
                going.into_iter().for_each(|going| going.end(linked));
                return Err(error);
            }
            linked.clear()?;
        }
        self.after_removal(linked);
        Ok(())
    }
}

/// What a worktree that is to be removed holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// Files that somebody may have worked on.
    Work,
    /// Files that are all in this commit.
    Kept(CommitId),
    /// Nothing that anybody needs.
    Nothing,
}

/// Paths that each end in NUL.
fn paths(output: &[u8]) -> Vec<PathBuf> {
    let paths = output.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    paths.map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))).collect()
}

/// The paths in the output of `git status --porcelain -z`.
pub(in crate::git) fn paths_of_status(output: &[u8]) -> Vec<String> {
    let mut entries = output.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let mut paths = Vec::new();
    while let Some(entry) = entries.next() {
        let (code, path) = entry.split_at(entry.len().min(3));
        paths.push(String::from_utf8_lossy(path).into_owned());
        // A rename or a copy is followed by the path that it came from.
        if code.iter().any(|byte| matches!(byte, b'R' | b'C')) {
            entries.next();
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_a_file_was_renamed_from_is_no_path_of_its_own() {
        assert_eq!(paths_of_status(b" M a\0R  new\0old\0?? b/\0"), ["a", "new", "b/"]);
        assert!(paths_of_status(b"").is_empty());
    }

    #[test]
    fn a_relative_gitdir_is_meant_from_its_own_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let git_dir = folder.path().join("repo/.git/worktrees/w");
        fs::create_dir_all(&git_dir).expect("folder");
        fs::write(git_dir.join("gitdir"), "../../../../w/.git\n").expect("write");
        let linked = Linked::read(&git_dir).expect("a worktree");
        assert_eq!(linked.path, folder.path().join("w"));
        assert!(!linked.is_there());
        fs::create_dir(folder.path().join("w")).expect("folder");
        fs::write(folder.path().join("w/.git"), "gitdir: ../repo/.git/worktrees/w\n").expect("write");
        assert!(linked.is_there());
    }
}
