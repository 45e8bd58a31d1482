//! Putting a thread's work on its target: the merge in memory, the commit, the move of the
//! target.
//!
//! The target is moved by the user's own git, so that their hooks see it, and only from the
//! commit that the merge was made for. Where the branch is checked out, the checkout moves
//! first, under Git's lock on its index (`git::moving`), and the branch last, by name and by its
//! old value, while the index is still locked. So neither a `git commit` at the same moment nor
//! a crash leaves a branch whose checkout would take the landed work back, and a `git switch` at
//! the same moment has nothing moved under it but the branch that was meant.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::merge::conflicted_paths;
use super::moving::{Checkout, Moving};
use super::program::{Program, hand_on_pathspecs};
use super::refs::{Change, Expected};
use super::repo::Head;
use super::stage::{files_with, io_error};
use super::worktree::{Linked, git_dir_of};
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};
use crate::platform::inhabitants;

/// A merge in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// It merges to this tree.
    Clean(TreeId),
    /// It conflicts, in these paths as far as Git names them.
    Conflicts(Vec<Vec<u8>>),
}

/// How the target's move ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is at the new commit.
    Yes,
    /// It was not where the merge was made for.
    Elsewhere,
    /// Somebody holds this lock.
    Locked(PathBuf),
}

/// What became of a checkout that was behind its branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaughtUp {
    /// It stands where the branch is.
    Yes,
    /// It is not behind any more, or on another branch.
    Elsewhere,
}

impl Repo {
    /// Merges `theirs` into `ours` without touching a checkout; `base` stands for their merge
    /// base where it is given. What is written are objects.
    ///
    /// # Errors
    /// [`GitError::Program`] for anything but a conflict.
    pub fn merge_trees(
        &self,
        base: Option<&CommitId>,
        ours: &CommitId,
        theirs: &CommitId,
    ) -> Result<Merged, GitError> {
        // Both are looked up first: to Git a name that it does not know is a conflict too.
        for commit in [ours, theirs] {
            self.raw().find_commit(self.oid(commit.as_str())?)?;
        }
        let attributes = format!("--attr-source={ours}");
        let mut args = vec![attributes, "merge-tree".to_owned(), "--write-tree".to_owned()];
        args.extend(["--name-only", "-z", "--no-messages"].map(str::to_owned));
        args.extend(base.map(|base| format!("--merge-base={base}")));
        args.extend([ours.as_str().to_owned(), theirs.as_str().to_owned()]);
        let mut command = self.program().command(args);
        let _aside = self.run_aside(&mut command)?;
        let output = Program::output(&mut command, None)?;
        match output.status.code() {
            Some(0) => {
                let tree = output.stdout.split(|byte| *byte == 0).next().unwrap_or_default();
                let tree = String::from_utf8_lossy(tree);
                TreeId::parse(tree.trim()).map(Merged::Clean).map_err(|_| Program::failure(&command, &output))
            }
            // Of an error with the same status there is no tree.
            Some(1) if !output.stdout.is_empty() => Ok(Merged::Conflicts(conflicted_paths(&output.stdout))),
            _ => Err(Program::failure(&command, &output)),
        }
    }

    /// The tracked files of a checkout that are changed or staged.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn changed_in(&self, checkout: &Checkout) -> Result<Vec<String>, GitError> {
        let mut command = checkout.program(false).command(["--no-optional-locks", "status"]);
        command.args(["--porcelain", "-z", "--untracked-files=no"]);
        Ok(super::worktree::paths_of_status(&Program::run(&mut command, None)?))
    }

    /// Moves the branch `target` from `old` to `new`, which contains it, and its checkout along.
    /// No move of that checkout may be left unfinished.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, such as those of a hook that refuses, or of
    /// untracked files that are in the way.
    pub fn move_target(
        &self,
        target: &str,
        checkout: Option<&Checkout>,
        old: &CommitId,
        new: &CommitId,
        why: &str,
    ) -> Result<Moved, GitError> {
        let change =
            Change { name: target.to_owned(), from: Expected::Exactly(old.clone()), to: Some(new.clone()) };
        let Some(checkout) = checkout else {
            let moved = self.change_refs(&[change], why);
            return moved.map_or_else(
                |error| self.unmoved(target, old, self.lock_of_head(self.common_dir()), error),
                |()| Ok(Moved::Yes),
            );
        };
        let moving = match Moving::begin(checkout, target, old, new, self.is_durable()) {
            Err(GitError::RefLocked { lock, .. }) => return Ok(Moved::Locked(lock)),
            moving => moving?,
        };
        // What was seen before the index was locked need not be so any more: whoever switches
        // branches writes the index first and HEAD after it.
        let head = moving.head()?;
        let stands = self.is_on(&head, target, old);
        if !stands || !moving.changed()?.is_empty() {
            return Ok(Moved::Elsewhere);
        }
        moving.files()?;
        let git = checkout.program(self.is_durable());
        if let Err(error) = self.change_refs_by(&git, &[change], why)
            && self.read_ref(target)?.as_ref() != Some(new)
        {
            moving.undo()?;
            return self.unmoved(target, old, self.lock_of_head(&checkout.git_dir), error);
        }
        moving.install()?;
        // As after `git merge`; what it says comes too late to stop anything.
        let hook = ["hook", "run", "--ignore-missing", "post-merge", "--", "0"];
        let mut hook = git.command(hook);
        hand_on_pathspecs(&mut hook);
        let _ = Program::output(&mut hook, None);
        Ok(Moved::Yes)
    }

    /// Whether `head` is on the branch `target`, also by way of a symbolic one, at `commit`.
    fn is_on(&self, head: &Head, target: &str, commit: &CommitId) -> bool {
        matches!(head, Head::Branch { name, commit: at }
            if at == commit && (name == target || self.stands_for(name, target)))
    }

    /// Whether what is staged in a checkout is all of `commit`, and nothing else.
    #[must_use]
    pub fn is_staged(&self, checkout: &Checkout, commit: &CommitId) -> bool {
        let mut command = checkout.program(false).command(["--no-optional-locks", "diff-index", "--cached"]);
        command.args(["--quiet", "--ignore-submodules=none", commit.as_str(), "--"]);
        Program::output(&mut command, None).is_ok_and(|output| output.status.success())
    }

    /// Brings a checkout of the branch `target`, which is at `to`, there from `from`, which its files
    /// are of: it was switched to while the branch moved. No move of it may be left unfinished.
    ///
    /// # Errors
    /// [`GitError::RefLocked`]; [`GitError::Program`] in Git's words, naming files in the way:
    /// nothing has changed then.
    pub fn catch_up(
        &self,
        checkout: &Checkout,
        target: &str,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<CaughtUp, GitError> {
        let moving = Moving::begin(checkout, target, from, to, self.is_durable())?;
        let head = moving.head()?;
        let stands = self.is_on(&head, target, to);
        if !stands || !self.is_staged(checkout, from) {
            return Ok(CaughtUp::Elsewhere);
        }
        // For what it learns of the files; that they differ from the new commit is why we are here.
        moving.changed()?;
        moving.files()?;
        moving.install()?;
        Ok(CaughtUp::Yes)
    }

    /// How a move of `target` ended that git refused with `error`; `head_lock` is on the HEAD that
    /// it locks too.
    fn unmoved(
        &self,
        target: &str,
        old: &CommitId,
        head_lock: PathBuf,
        error: GitError,
    ) -> Result<Moved, GitError> {
        if self.read_ref(target)?.as_ref() != Some(old) {
            return Ok(Moved::Elsewhere);
        }
        match error {
            GitError::RefLocked { lock, .. } => Ok(Moved::Locked(lock)),
            // With the branch Git locks HEAD of the worktree that it is checked out in.
            GitError::Program { stderr, .. } if stderr.contains(".lock") => Ok(Moved::Locked(head_lock)),
            error => Err(error),
        }
    }

    /// Whether the commit `ancestor` is `commit` or comes before it.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn contains(&self, commit: &CommitId, ancestor: &CommitId) -> Result<bool, GitError> {
        Ok(commit == ancestor || self.descends_from(commit, ancestor)?)
    }

    /// When the ref `name` was last moved, by its reflog: in seconds since 1970, and, to tell
    /// moves within one second apart, a number that grows: the time of the file, or what Git
    /// counts transactions by. The least where that is not known.
    #[must_use]
    pub fn moved_at(&self, name: &str) -> (i64, u128) {
        self.refs().moved_at(self, name)
    }

    /// Pushes the branch `target` to `remote`, by the user's own git; what it said.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words.
    pub fn push(&self, remote: &str, target: &str) -> Result<(), GitError> {
        let spec = format!("{target}:{target}");
        let mut command = self.program().command(["push", "--porcelain", "--end-of-options", remote, &spec]);
        Program::run(&mut command, None).map(drop)
    }

    /// Whether Git could tell where `remote` is: it is configured, or it is an address. Whether
    /// anything answers there only a push tells.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn knows_remote(&self, remote: &str) -> Result<bool, GitError> {
        let config = self.config()?;
        let is_address = remote.contains(':')
            || self.worktree().unwrap_or(self.git_dir()).join(remote).exists()
            || ["insteadof", "pushinsteadof"].iter().try_fold(false, |found, key| {
                let prefixes = config.subsections("url", key)?;
                Ok::<_, GitError>(
                    found || prefixes.iter().any(|(_, prefix)| remote.starts_with(&*prefix.text)),
                )
            })?;
        // Where Git kept remotes before it kept them in its configuration.
        let in_a_file =
            ["remotes", "branches"].iter().any(|old| self.common_dir().join(old).join(remote).is_file());
        let configured = || Ok::<_, GitError>(self.remotes()?.iter().any(|name| name == remote));
        Ok(!remote.is_empty() && (is_address || in_a_file || configured()?))
    }

    /// The remote that the branch `target` is pushed to.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn remote_of(&self, target: &str) -> Result<String, GitError> {
        let short = target.strip_prefix("refs/heads/").unwrap_or(target);
        let config = self.config()?;
        for key in [
            format!("branch.{short}.pushRemote"),
            "remote.pushDefault".to_owned(),
            format!("branch.{short}.remote"),
        ] {
            if let Some(value) = config.get(&key)? {
                return Ok(value.text);
            }
        }
        Ok("origin".to_owned())
    }
}

/// A worktree to check merged results in: made once, moved from result to result, so that what
/// Git ignores (a build's output) serves the next one too.
///
/// # If the process dies here
/// The worktree stays, and its lock is free: the next landing and the doctor remove it, once no
/// process that the checks started works in it.
pub struct Scratch<'repo> {
    repo: &'repo Repo,
    linked: Linked,
    /// Locked while it is used.
    _alive: File,
}

/// Scratch worktrees have ids that begin so.
const SCRATCH: &str = "heddle-land-";
/// The file in such a one's own Git directory that its landing holds.
const ALIVE: &str = "heddle-alive";

impl<'repo> Scratch<'repo> {
    /// Makes one. Under the lock of landings.
    ///
    /// # Errors
    /// [`GitError`]; nothing is left.
    pub fn make(repo: &'repo Repo, commit: &CommitId) -> Result<Self, GitError> {
        let folder = repo.common_dir().join("heddle").join(format!("{SCRATCH}{}", std::process::id()));
        let mut command = repo.program().command(["worktree", "add", "--quiet", "--detach", "--force", "--"]);
        command.arg(&folder).arg(commit.as_str());
        Program::run_vouched(&mut command, None, repo.common_dir())?;
        let linked = git_dir_of(&folder).and_then(|git_dir| Linked::read(&git_dir));
        let linked = linked.ok_or_else(|| GitError::Unusable {
            path: folder,
            reason: "git worktree add made no worktree there".to_owned(),
        })?;
        let path = linked.git_dir.join(ALIVE);
        match File::create(&path).and_then(|file| file.lock().map(|()| file)) {
            Ok(alive) => Ok(Self { repo, linked, _alive: alive }),
            Err(error) => {
                remove_scratch(repo, &linked);
                Err(io_error("lock", &path)(error))
            }
        }
    }

    /// Its top folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.linked.path
    }

    /// Brings it to `commit`, without what the last checks left, but for ignored files.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn go_to(&self, commit: &CommitId) -> Result<(), GitError> {
        let git = self.repo.program_in(&self.linked.path);
        let mut checkout =
            git.command(["checkout", "--quiet", "--force", "--no-recurse-submodules", "--detach"]);
        checkout.arg(commit.as_str());
        Program::run_vouched(&mut checkout, None, self.repo.common_dir())?;
        Program::run(&mut git.command(["clean", "-ffdq"]), None).map(drop)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        remove_scratch(self.repo, &self.linked);
    }
}

/// The worktrees for checks whose landing is gone, and in which nobody works. One that a landing is
/// just making looks like that too: only under the lock of landings are they to be removed.
#[must_use]
pub fn abandoned_scratch(repo: &Repo) -> Vec<Linked> {
    let is_abandoned = |linked: &Linked| {
        let lock = File::open(linked.git_dir.join(ALIVE));
        let is_free = lock.is_err() || lock.is_ok_and(|lock| lock.try_lock_shared().is_ok());
        is_free && linked.path.starts_with(repo.common_dir()) && inhabitants(&linked.path).is_empty()
    };
    let found = files_with(&repo.common_dir().join("worktrees"), SCRATCH).into_iter();
    found.filter_map(|git_dir| Linked::read(&git_dir)).filter(is_abandoned).collect()
}

/// Removes a worktree for checks; what cannot be removed is for the next landing.
pub fn remove_scratch(repo: &Repo, linked: &Linked) {
    let git = Program::new(repo.common_dir(), None, false);
    let mut command = git.command(["worktree", "remove", "--force", "--force", "--"]);
    if Program::run(command.arg(&linked.path), None).is_err() && linked.path.starts_with(repo.common_dir()) {
        // Git does not remove the rest of one that it was killed in removing.
        let _ = fs::remove_dir_all(&linked.path);
        let _ = fs::remove_dir_all(&linked.git_dir);
    }
}
