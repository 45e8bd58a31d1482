//! Putting a thread's commits on another base, in memory.
//!
//! Each commit is merged by `git merge-tree` with its parent as the base, so that merge
//! drivers, attributes and renames decide as they would in `git rebase`; no checkout, index or
//! ref is touched. Commits whose change the base has already are left out, as there, and so are
//! merges, but only those that Git would make again by itself: what somebody resolved in one is
//! nowhere else.

use super::commit::commit_again;
use super::land::Merged;
use super::program::Program;
use super::{GitError, Repo};
use crate::names::CommitId;

/// How a rebase in memory ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebased {
    /// All commits are on the new base.
    Clean {
        /// The last of them, or the base itself if none is left.
        tip: CommitId,
        /// How many there are.
        commits: usize,
    },
    /// One conflicts.
    Conflicts {
        /// The commit that does.
        commit: CommitId,
        /// The paths, as far as Git names them.
        paths: Vec<Vec<u8>>,
    },
    /// One has no parent, or is a merge with something of its own.
    NotLinear(CommitId),
}

impl Repo {
    /// Puts the commits of `tip` that `onto` has not on `onto`, each with its author, its date
    /// and its message.
    ///
    /// # Errors
    /// [`GitError::Program`] for anything but a conflict.
    pub fn rebase_in_memory(&self, onto: &CommitId, tip: &CommitId) -> Result<Rebased, GitError> {
        let range = format!("{onto}...{tip}");
        let args = ["rev-list", "--reverse", "--topo-order", "--right-only", "--cherry-pick", "--parents"];
        let mut command = self.program().command(args);
        command.args([&range, "--"]);
        let output = String::from_utf8_lossy(&Program::run(&mut command, None)?).into_owned();
        let (mut head, mut commits) = (onto.clone(), 0);
        for line in output.lines() {
            let ids: Vec<CommitId> = line.split(' ').filter_map(|id| CommitId::parse(id).ok()).collect();
            let (commit, parent) = match ids.as_slice() {
                [commit, parent] => (commit, parent),
                [merge, one, two] if self.merges_by_itself(merge, one, two)? => continue,
                [commit, ..] => return Ok(Rebased::NotLinear(commit.clone())),
                [] => continue,
            };
            let tree = match self.merge_trees(Some(parent), &head, commit)? {
                Merged::Clean(tree) => tree,
                Merged::Conflicts(paths) => return Ok(Rebased::Conflicts { commit: commit.clone(), paths }),
            };
            let was_empty = self.resolve(commit.as_str())?.tree == self.resolve(parent.as_str())?.tree;
            if tree == self.resolve(head.as_str())?.tree && !was_empty {
                continue;
            }
            head = commit_again(self, commit, &tree, &head)?;
            commits += 1;
        }
        Ok(Rebased::Clean { tip: head, commits })
    }

    /// Whether `merge` has nothing that merging its parents does not give.
    fn merges_by_itself(&self, merge: &CommitId, one: &CommitId, two: &CommitId) -> Result<bool, GitError> {
        let made = self.resolve(merge.as_str())?.tree;
        Ok(self.merge_trees(None, one, two)? == Merged::Clean(made))
    }

    /// Begins a merge of `commit` in a checkout and leaves it uncommitted, with its conflicts.
    ///
    /// # Errors
    /// [`GitError::Program`] if Git did not begin one.
    pub fn begin_merge(&self, git: &Program, commit: &CommitId) -> Result<(), GitError> {
        let mut command = git.command(["merge", "--quiet", "--no-commit", "--no-ff", "--no-stat"]);
        command.args(["--no-autostash", "--no-squash", "--no-verify-signatures", commit.as_str()]);
        let output = Program::output(&mut command, None)?;
        match output.status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(Program::failure(&command, &output)),
        }
    }
}
