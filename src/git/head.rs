//! HEAD of a worktree: where it is, where it moved last, and what is moving it.

use super::repo::Head;
use super::{GitError, Repo};
use crate::names::CommitId;

/// How HEAD moved last, as its reflog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it was; `None` before the first commit.
    pub old: Option<CommitId>,
    /// Where it came to.
    pub new: CommitId,
    /// Whether a command moved it that makes commits; `git reset` and `git checkout` do not.
    pub commits: bool,
}

impl Moved {
    /// Reads a line of a reflog.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (values, message) = line.split_once('\t').unwrap_or((line, ""));
        let mut values = values.split(' ');
        let old = CommitId::parse(values.next()?).ok()?;
        let new = CommitId::parse(values.next()?).ok()?;
        let none = old.as_str().bytes().all(|byte| byte == b'0');
        // What `git reset` writes, by itself and where GIT_REFLOG_ACTION is set.
        let reset = message.starts_with("reset: ") || message.ends_with(": updating HEAD");
        let elsewhere = reset || message.starts_with("checkout: ") || message.is_empty();
        Some(Self { old: (!none).then_some(old), new, commits: !elsewhere })
    }
}

impl Repo {
    /// How HEAD moved last; `None` where it keeps no reflog.
    #[must_use]
    pub fn last_move_of_head(&self) -> Option<Moved> {
        self.refs().last_move_of_head(self)
    }

    /// What HEAD is in the worktree of this repository with that Git directory, read without
    /// opening it; `None` if it cannot be told.
    ///
    /// # Errors
    /// [`GitError`] if the branch that it is on cannot be read.
    pub fn head_of_worktree(&self, git_dir: &std::path::Path) -> Result<Option<Head>, GitError> {
        self.head_among(self.refs().head_of(self, git_dir)?)
    }

    /// What is in progress in this worktree.
    pub(in crate::git) fn state(&self) -> git2::RepositoryState {
        let state = self.raw().state();
        if self.refs_are_files() || state != git2::RepositoryState::Clean {
            return state;
        }
        // These two are refs, and no files where refs are none.
        let exists = |name| self.refs().read(self, name).is_ok_and(|found| found.is_some());
        match () {
            () if exists("CHERRY_PICK_HEAD") => git2::RepositoryState::CherryPick,
            () if exists("REVERT_HEAD") => git2::RepositoryState::Revert,
            () => state,
        }
    }

    /// Whether a rebase, a `git am` or a bisect is moving HEAD from commit to commit.
    #[must_use]
    pub fn is_moving_head(&self) -> bool {
        use git2::RepositoryState as State;
        matches!(
            self.state(),
            State::Rebase
                | State::RebaseInteractive
                | State::RebaseMerge
                | State::ApplyMailbox
                | State::ApplyMailboxOrRebase
                | State::Bisect
        )
    }

    /// Where HEAD was when the rebase began that is under way.
    #[must_use]
    pub fn rebased_from(&self) -> Option<CommitId> {
        let names = ["rebase-merge/orig-head", "rebase-apply/orig-head"];
        let mut texts =
            names.iter().filter_map(|name| std::fs::read_to_string(self.git_dir().join(name)).ok());
        CommitId::parse(texts.next()?.trim()).ok()
    }

    /// Has the commits that `new` has and `old` has not, and what they hold, survive a power
    /// cut, as Git does not by default. Packed objects were synced when they were packed.
    ///
    /// # Errors
    /// [`GitError`] if an object is missing or cannot be synced.
    pub fn sync_commits(&self, new: &CommitId, old: &CommitId) -> Result<(), GitError> {
        if !self.is_durable() {
            return Ok(());
        }
        let oid = |commit: &CommitId| self.oid(commit.as_str());
        let mut walk = self.raw().revwalk()?;
        walk.push(oid(new)?)?;
        walk.hide(oid(old)?)?;
        for commit in walk {
            let commit = self.raw().find_commit(commit?)?;
            self.sync_object(commit.id())?;
            let before = commit.parents().next().map(|parent| parent.tree()).transpose()?;
            self.sync_tree(&commit.tree()?, before.as_ref())?;
        }
        Ok(())
    }

    /// Syncs what `tree` has and `before` has not.
    fn sync_tree(&self, tree: &git2::Tree<'_>, before: Option<&git2::Tree<'_>>) -> Result<(), GitError> {
        if before.is_some_and(|before| before.id() == tree.id()) {
            return Ok(());
        }
        self.sync_object(tree.id())?;
        for entry in tree {
            let was = before.and_then(|before| before.get_name_bytes(entry.name_bytes()));
            if was.as_ref().is_some_and(|was| was.id() == entry.id()) {
                continue;
            }
            match entry.kind() {
                Some(git2::ObjectType::Tree) => {
                    let was = was.and_then(|was| self.raw().find_tree(was.id()).ok());
                    self.sync_tree(&self.raw().find_tree(entry.id())?, was.as_ref())?;
                }
                Some(git2::ObjectType::Blob) => self.sync_object(entry.id())?,
                // A submodule's commit is in its own repository.
                _ => {}
            }
        }
        Ok(())
    }

    /// Syncs the file of a loose object.
    fn sync_object(&self, oid: git2::Oid) -> Result<(), GitError> {
        let name = oid.to_string();
        let path = self.objects_dir().join(&name[..2]).join(&name[2..]);
        match std::fs::File::open(&path) {
            Ok(file) => file.sync_all().map_err(|source| GitError::Io { action: "sync", path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(GitError::Io { action: "read", path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reflog_tells_commits_from_mere_moves() {
        let (a, b, none) = ("a".repeat(40), "b".repeat(40), "0".repeat(40));
        let moved = |old: &str, message: &str| {
            Moved::parse(&format!("{old} {b} A <a@b> 1700000000 +0000\t{message}")).expect("a line")
        };
        for message in ["commit: x", "commit (amend): x", "merge main: Fast-forward", "cherry-pick: reset: x"]
        {
            assert!(moved(&a, message).commits, "{message}");
        }
        for message in ["reset: moving to main", "mine: updating HEAD", "checkout: moving from a to b", ""] {
            assert!(!moved(&a, message).commits, "{message}");
        }
        assert_eq!(moved(&none, "commit (initial): x").old, None);
        assert_eq!(moved(&a, "commit: x").new.as_str(), b);
    }
}
