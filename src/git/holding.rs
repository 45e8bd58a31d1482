//! What a worktree holds that would go with it, and that `git status` there does not tell.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::program::Program;
use super::stage::io_error;
use super::worktree::{Linked, git_dir_of};
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
    /// `git status` names. Submodules are looked into as well.
    ///
    /// # Errors
    /// [`GitError::Program`]; [`GitError::Io`] for an ignored folder that cannot be read.
    pub fn unseen(&self, linked: &Linked) -> Result<Unseen, GitError> {
        let own = linked.git_dir.canonicalize().map_err(io_error("read", &linked.git_dir))?;
        let mut others: BTreeSet<PathBuf> = self.worktrees_within(linked).into_iter().collect();
        let mut hidden = None;
        let mut looked_into = HashSet::from([own.clone()]);
        let mut submodules = vec![(linked.program(false), PathBuf::new())];
        while let Some((git, below)) = submodules.pop() {
            let output = Program::run(&mut git.command(["ls-files", "-v", "--stage", "-z"]), None)?;
            let entries = Entry::all(&output, &below);
            let is_hidden = |entry: &&Entry| entry.is_hidden_in(&linked.path);
            hidden = hidden.or_else(|| entries.iter().find(is_hidden).map(|entry| entry.path.clone()));
            repositories_tracked(&entries, &linked.path, &below, &mut others);
            for Entry { path, .. } in entries.iter().filter(|entry| entry.is_submodule) {
                let top = linked.path.join(path);
                let Some(git_dir) = git_dir_of(&top) else { continue };
                // Of a submodule that Git made, the repository lies in the worktree's own Git directory.
                if !git_dir.starts_with(&own) {
                    others.insert(path.clone());
                } else if looked_into.insert(git_dir.clone()) {
                    submodules.push((Program::new(&git_dir, Some(&top), false), path.clone()));
                }
            }
            Self::repositories_ignored(&git, &linked.path, &below, &mut others)?;
        }
        Ok(Unseen { hidden, others: others.into_iter().take(FEW).collect() })
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

    /// Looks for repositories and worktrees, whoever's, in what `git` ignores in `worktree` or in
    /// the submodule of it at `below`.
    fn repositories_ignored(
        git: &Program,
        worktree: &Path,
        below: &Path,
        found: &mut BTreeSet<PathBuf>,
    ) -> Result<(), GitError> {
        let ignored = Self::ignored_folders(git)?;
        let mut walked: Option<&Path> = None;
        for top in &ignored {
            // What it ignores in an ignored folder Git may list as well.
            if walked.is_some_and(|walked| top.starts_with(walked)) {
                continue;
            }
            walked = Some(top);
            let mut folders = vec![below.join(top)];
            while let Some(folder) = folders.pop().filter(|_| found.len() < FEW) {
                let path = worktree.join(&folder);
                if is_top(&path) {
                    if !is_copy(&path) {
                        found.insert(folder.components().collect());
                    }
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

/// What is tracked of a worktree.
struct Entry {
    /// From its top folder.
    path: PathBuf,
    is_submodule: bool,
    /// The letter by which Git says what it was told of the file.
    tag: u8,
}

impl Entry {
    /// What `git ls-files -v --stage -z` lists, of the submodule at `below` if not of the worktree.
    fn all(output: &[u8], below: &Path) -> Vec<Self> {
        let entry = |entry: &[u8]| {
            let end = entry.iter().position(|byte| *byte == b'\t')?;
            let [tag, about @ ..] = &entry[..end] else { return None };
            let path = below.join(OsStr::from_bytes(&entry[end + 1..]));
            Some(Self { path, is_submodule: about.starts_with(b" 160000 "), tag: *tag })
        };
        output.split(|byte| *byte == 0).filter_map(entry).collect()
    }

    /// Whether nobody knows whether it was changed.
    fn is_hidden_in(&self, worktree: &Path) -> bool {
        match self.tag {
            b'S' => fs::symlink_metadata(worktree.join(&self.path)).is_ok(),
            tag => tag.is_ascii_lowercase(),
        }
    }
}

/// Looks for repositories and worktrees in the folders that have tracked files, of `worktree` or of
/// the submodule of it at `below`.
fn repositories_tracked(entries: &[Entry], worktree: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) {
    let mut folders = HashSet::from([below]);
    for entry in entries {
        for folder in entry.path.ancestors().skip(1).take_while(|folder| folders.insert(folder)) {
            if is_top(&worktree.join(folder)) {
                found.insert(folder.to_owned());
            }
        }
    }
}

/// Whether a folder is the top of a worktree or a repository.
fn is_top(folder: &Path) -> bool {
    fs::symlink_metadata(folder.join(".git")).is_ok_and(|found| !found.is_symlink())
}

/// Whether the repository at the top `folder` has nothing but what remotes of it have, as the clones
/// that package managers and build tools make: no commit, stash, change or file of its own, and no
/// other worktree or submodule. Where that cannot be told, it has.
fn is_copy(folder: &Path) -> bool {
    let git_dir = folder.join(".git");
    if !is_repository(&git_dir) || ["worktrees", "modules"].iter().any(|part| git_dir.join(part).exists()) {
        return false;
    }
    let (git, mut inside) = (Program::new(&git_dir, Some(folder), false), BTreeSet::new());
    let is_silent =
        |args: &[&str]| Program::run(&mut git.command(args), None).is_ok_and(|said| said.is_empty());
    is_silent(&["rev-list", "--max-count=1", "--all", "HEAD", "--not", "--remotes"])
        && is_silent(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=normal"])
        && !hides_files(&git)
        && Repo::repositories_ignored(&git, folder, Path::new(""), &mut inside).is_ok()
        && inside.is_empty()
}

/// Whether Git was told not to look at some file.
fn hides_files(git: &Program) -> bool {
    let output = Program::run(&mut git.command(["ls-files", "-v", "-z"]), None).unwrap_or_default();
    output.split(|byte| *byte == 0).filter_map(<[u8]>::first).any(|tag| *tag != b'H')
}

/// Whether a folder is a Git directory: its parts, which have files named HEAD too, are none.
fn is_repository(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && ["objects", "refs"].iter().all(|part| folder.join(part).is_dir())
}
