//! Where branches are checked out.
//!
//! Git's list of worktrees has the path of the main one by the name of the Git directory alone:
//! where that lies elsewhere (`--separate-git-dir`, a submodule), or where `core.worktree` or the
//! environment names the files, what it lists is no checkout. So that path is found out here, and
//! where it cannot be, that is the answer.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git2::ConfigLevel;

use super::moving::Checkout;
use super::program::Program;
use super::repo::Head;
use super::worktree::{Linked, git_dir_of};
use super::{GitError, Repo};

/// Where a branch is checked out that is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Nowhere,
    /// In this checkout, and no other.
    At(Checkout),
    /// It cannot be moved with what is checked out.
    Obstructed {
        /// Why.
        why: String,
        /// What to do.
        hint: &'static str,
    },
}

/// The files of the main worktree.
enum Main {
    /// They are here.
    At(PathBuf),
    /// It is a bare repository.
    Bare,
    /// Nothing here tells where they are.
    Unknown,
}

/// A worktree with the branch, as Git lists it.
struct Listed {
    path: PathBuf,
    is_main: bool,
    is_locked: bool,
}

/// How often it is looked where a branch is checked out that some HEAD names and no list has.
const LOOKS: usize = 10;

impl Repo {
    /// All checkouts of the repository whose folders are there, and known.
    #[must_use]
    pub fn checkouts(&self) -> Vec<Checkout> {
        let main = match self.main_worktree() {
            Main::At(path) => Some(Checkout { path, git_dir: self.common_dir().to_owned() }),
            Main::Bare | Main::Unknown => None,
        };
        let linked = self.linked_worktrees().into_iter().filter(Linked::is_there);
        main.into_iter().chain(linked.map(|linked| Checkout::of(&linked))).collect()
    }

    /// Where Git lists the branch of that full name as checked out, if anywhere: for a person to
    /// read.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn checked_out_at(&self, branch: &str) -> Result<Option<PathBuf>, GitError> {
        Ok(self.listed(branch, &self.main_worktree())?.into_iter().next().map(|listed| listed.path))
    }

    /// Where the branch is checked out; a bare repository's own HEAD is no checkout.
    ///
    /// # Errors
    /// [`GitError::Program`]; [`GitError::Unusable`] if Git does not tell.
    pub fn place_of(&self, branch: &str) -> Result<Place, GitError> {
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let linked = self.linked_worktrees();
        let main = self.main_worktree();
        if let Some(busy) = self.busy_with(branch, &linked, &main) {
            return Ok(busy);
        }
        let mut checkouts = Vec::new();
        for listed in self.surely_listed(branch, &linked, &main)? {
            if listed.is_main {
                match self.checkout_of_main(short, &main) {
                    Ok(checkout) => checkouts.extend(checkout),
                    Err(obstructed) => return Ok(obstructed),
                }
            } else if listed.path.try_exists().unwrap_or(true) {
                // One that is there and cannot be opened is a checkout all the same: if the branch
                // moved without it, the next commit there would take back what has landed.
                let there = git2::Repository::open(&listed.path)?;
                checkouts.push(Checkout { git_dir: there.path().to_owned(), path: listed.path });
            } else if listed.is_locked {
                let path = listed.path;
                let why = format!("'{short}' is checked out at {path:?}, which is locked and not there now");
                let hint = "bring it back, or give it up: git worktree unlock, and then git worktree prune";
                return Ok(Place::Obstructed { why, hint });
            }
        }
        if let [_, _, ..] = &checkouts[..] {
            let paths: Vec<_> = checkouts.iter().map(|checkout| format!("{:?}", checkout.path)).collect();
            let why = format!("'{short}' is checked out more than once: at {}", paths.join(" and "));
            let hint = "only one could be moved along: git switch --detach in the others first";
            return Ok(Place::Obstructed { why, hint });
        }
        Ok(checkouts.pop().map_or(Place::Nowhere, Place::At))
    }

    /// The main worktree's files, which the branch is checked out in; none in a bare repository.
    fn checkout_of_main(&self, short: &str, main: &Main) -> Result<Option<Checkout>, Place> {
        let common = self.common_dir();
        let hint = "run the command in that checkout";
        match main {
            Main::Bare => Ok(None),
            Main::At(path) if path.starts_with(common) || !path.is_dir() => {
                let why = format!(
                    "'{short}' is checked out in the main worktree, which is said to be at {path:?}, \
                     where no files of it can be"
                );
                Err(Place::Obstructed { why, hint })
            }
            Main::At(path) => Ok(Some(Checkout { path: path.clone(), git_dir: common.to_owned() })),
            Main::Unknown => {
                let why = format!(
                    "'{short}' is checked out in the main worktree of {common:?}, and where that is cannot \
                     be told from here"
                );
                Err(Place::Obstructed { why, hint })
            }
        }
    }

    /// The main worktree: where the command runs in it, by what Git says of that; else by what the
    /// Git directory says, if the files there name it too or its configuration names them.
    fn main_worktree(&self) -> Main {
        let common = self.common_dir();
        if self.git_dir() == common
            && let Some(own) = self.worktree()
        {
            return Main::At(own.to_owned());
        }
        let Ok(main) = git2::Repository::open(common) else { return Main::Unknown };
        if main.is_bare() {
            return Main::Bare;
        }
        let is_own = |level| matches!(level, ConfigLevel::Local | ConfigLevel::Worktree);
        let entry = main.config().and_then(|config| Ok(is_own(config.get_entry("core.worktree")?.level())));
        let is_told = entry.unwrap_or(false);
        match main.workdir() {
            Some(found) if is_told || git_dir_of(found).as_deref() == Some(common) => {
                Main::At(found.canonicalize().unwrap_or_else(|_| found.to_owned()))
            }
            Some(_) | None => Main::Unknown,
        }
    }

    /// What is in progress in some worktree and will move the branch when it ends.
    fn busy_with(&self, branch: &str, linked: &[Linked], main: &Main) -> Option<Place> {
        const REBASE: (&str, &str) = ("rebased", "git rebase --continue or --abort ends it");
        const BISECT: (&str, &str) = ("bisected", "git bisect reset ends it");
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let top = match main {
            Main::At(path) => path.as_path(),
            Main::Bare | Main::Unknown => self.common_dir(),
        };
        let folders = linked.iter().map(|linked| (linked.git_dir.as_path(), linked.path.as_path()));
        for (git_dir, path) in std::iter::once((self.common_dir(), top)).chain(folders) {
            for (name, expected, (what, hint)) in [
                ("rebase-merge/head-name", branch, REBASE),
                ("rebase-apply/head-name", branch, REBASE),
                ("BISECT_START", short, BISECT),
                ("BISECT_START", branch, BISECT),
            ] {
                let text = fs::read_to_string(git_dir.join(name)).unwrap_or_default();
                if text.trim() == expected {
                    let why = format!("branch '{short}' is being {what} at {path:?}");
                    return Some(Place::Obstructed { why, hint });
                }
            }
        }
        None
    }

    /// Where Git lists the branch as checked out, with a look at every HEAD where it does not.
    fn surely_listed(&self, branch: &str, linked: &[Linked], main: &Main) -> Result<Vec<Listed>, GitError> {
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            let listed = self.listed(branch, main)?;
            // One that is not listed, and that no HEAD names after that, was not checked out in
            // between: to look once more would only meet a switch that came later.
            if !listed.is_empty() || !self.is_some_head(branch, linked, main) {
                return Ok(listed);
            }
            // It may have been switched to in between; else Git's list could not read a HEAD,
            // and left it out without a word.
        }
        let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        let reason = format!("branch '{short}' is checked out, and Git does not list where");
        Err(GitError::Unusable { path: self.common_dir().to_owned(), reason })
    }

    fn listed(&self, branch: &str, main: &Main) -> Result<Vec<Listed>, GitError> {
        let mut command = self.program().command(["worktree", "list", "--porcelain", "-z"]);
        let output = Program::run(&mut command, None)?;
        let lines: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
        let mut found = Vec::new();
        for (number, entry) in lines.split(|line| line.is_empty()).enumerate() {
            let path = entry.iter().find_map(|line| line.strip_prefix(b"worktree "));
            let Some(path) = path.map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path))) else {
                continue;
            };
            let on_branch = [b"branch ", branch.as_bytes()].concat();
            // The first is the main one.
            let (is_main, path) = match main {
                Main::At(known) if number == 0 => (true, known.clone()),
                _ => (number == 0, path),
            };
            let is_on_it = match (is_main, main) {
                // To Git it is bare although the environment names its files.
                (true, Main::At(_)) if entry.contains(&b"bare".as_slice()) => {
                    matches!(self.head()?, Head::Branch { name, .. } if name == branch)
                }
                _ => entry.contains(&on_branch.as_slice()),
            };
            if is_on_it {
                let is_locked = entry.iter().any(|line| line.starts_with(b"locked"));
                found.push(Listed { path, is_main, is_locked });
            }
        }
        Ok(found)
    }

    /// Whether the HEAD of some worktree names the branch. That of a bare repository is none's,
    /// also seen from one of its worktrees.
    fn is_some_head(&self, branch: &str, linked: &[Linked], main: &Main) -> bool {
        let names = |git_dir: &Path| {
            let head = fs::read_to_string(git_dir.join("HEAD")).unwrap_or_default();
            head.trim().strip_prefix("ref: ") == Some(branch)
        };
        let is_bare = matches!(main, Main::Bare);
        linked.iter().any(|linked| names(&linked.git_dir)) || (!is_bare && names(self.common_dir()))
    }
}
