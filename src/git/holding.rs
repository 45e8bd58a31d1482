//! What a worktree holds that would go with it, and that `git status` there does not tell.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::program::Program;
use super::stage::io_error;
use super::worktree::Linked;
use super::{GitError, Repo};

/// Where refs are that each worktree has for itself.
const OWN_REFS: &str = "refs/worktree";
/// How many other repositories in a worktree are looked for at most.
const FEW: usize = 4;

/// What neither `git status` nor a capture sees of a worktree.
#[derive(Debug, Default)]
pub struct Unseen {
    /// A file that Git was told not to look at, so that nobody knows whether it was changed: it is
    /// assumed to be unchanged, or is there although it is to be skipped.
    pub hidden: Option<PathBuf>,
    /// Other worktrees and repositories that lie in it, from its top folder; not more than a few.
    pub others: Vec<PathBuf>,
}

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
                // The folder that it names as its files' may be gone; it takes none to look at refs.
                let git = Program::new(&folder, Some(&folder), false);
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

    /// What of a worktree is seen by nobody else: in what is tracked, and in what is ignored, where
    /// agents' tools put worktrees of their own and package managers put clones. Whatever is neither
    /// `git status` names.
    ///
    /// # Errors
    /// [`GitError::Program`]; [`GitError::Io`] for an ignored folder that cannot be read.
    pub fn unseen(&self, linked: &Linked) -> Result<Unseen, GitError> {
        let git = linked.program(false);
        let output = Program::run(&mut git.command(["ls-files", "-v", "--stage", "-z"]), None)?;
        let mut unseen = Unseen::default();
        let mut others: BTreeSet<PathBuf> = self.worktrees_within(linked).into_iter().collect();
        let mut folders = HashSet::from([Path::new("")]);
        for entry in output.split(|byte| *byte == 0) {
            let Some(end) = entry.iter().position(|byte| *byte == b'\t') else { continue };
            let (about, path) = (&entry[..end], Path::new(OsStr::from_bytes(&entry[end + 1..])));
            let is_hidden = match about[0] {
                b'S' => fs::symlink_metadata(linked.path.join(path)).is_ok(),
                tag => tag.is_ascii_lowercase(),
            };
            if is_hidden && unseen.hidden.is_none() {
                unseen.hidden = Some(path.to_owned());
            }
            // Of a submodule that is as Git makes them the repository lies elsewhere.
            if about[1..].starts_with(b" 160000 ") && linked.path.join(path).join(".git").is_dir() {
                others.insert(path.to_owned());
            }
            for folder in path.ancestors().skip(1).take_while(|folder| folders.insert(folder)) {
                if is_top(&linked.path.join(folder)) {
                    others.insert(folder.to_owned());
                }
            }
        }
        Self::repositories_ignored(linked, &mut others)?;
        unseen.others = others.into_iter().take(FEW).collect();
        Ok(unseen)
    }

    /// The other worktrees of this repository whose folders lie in that of `linked`, from there.
    #[must_use]
    pub fn worktrees_within(&self, linked: &Linked) -> Vec<PathBuf> {
        let others = self.linked_worktrees().into_iter().filter(|other| other.id != linked.id);
        let within = |other: Linked| {
            let path = other.path.strip_prefix(&linked.path).ok()?.to_owned();
            other.is_there().then_some(path)
        };
        others.filter_map(within).collect()
    }

    /// Looks for repositories and worktrees, whoever's, in what Git ignores there.
    fn repositories_ignored(linked: &Linked, found: &mut BTreeSet<PathBuf>) -> Result<(), GitError> {
        let ignored = Self::ignored_folders(&linked.program(false))?;
        let mut walked: Option<&Path> = None;
        for top in &ignored {
            // What it ignores in an ignored folder Git may list as well.
            if walked.is_some_and(|walked| top.starts_with(walked)) {
                continue;
            }
            walked = Some(top);
            let mut folders = vec![top.clone()];
            while let Some(folder) = folders.pop().filter(|_| found.len() < FEW) {
                let path = linked.path.join(&folder);
                if is_top(&path) {
                    found.insert(folder.components().collect());
                    continue;
                }
                let entries = match fs::read_dir(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    entries => entries.map_err(io_error("read", &path))?,
                };
                for entry in entries {
                    let entry = entry.map_err(io_error("read", &path))?;
                    // A link goes without what it leads to.
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        folders.push(folder.join(entry.file_name()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Refs that only this worktree has, if one of them has a commit that nothing else has.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn has_commits_of_its_own_refs(&self, linked: &Linked) -> Result<bool, GitError> {
        if self.refs_are_files() && !linked.git_dir.join(OWN_REFS).exists() {
            return Ok(false);
        }
        let mut command = linked.program(false).command(["rev-list", "--max-count=1"]);
        command.arg(format!("--glob={OWN_REFS}")).arg("--not");
        command.arg(format!("--exclude={OWN_REFS}/*")).arg("--all");
        Ok(!Program::run(&mut command, None)?.is_empty())
    }
}

/// Whether a folder is the top of a worktree or a repository.
fn is_top(folder: &Path) -> bool {
    fs::symlink_metadata(folder.join(".git")).is_ok_and(|found| !found.is_symlink())
}

/// Whether a folder is a Git directory: its parts, which have files named HEAD too, are none.
fn is_repository(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && ["objects", "refs"].iter().all(|part| folder.join(part).is_dir())
}
