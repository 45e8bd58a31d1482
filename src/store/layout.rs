//! Every path of heddle's state, once.

use std::path::{Path, PathBuf};

use crate::names::{SessionId, ThreadName};

/// Paths below a repository's *common* Git directory, so that all linked worktrees share
/// them.
#[derive(Debug, Clone)]
pub struct Layout {
    common: PathBuf,
    root: PathBuf,
}

impl Layout {
    /// The layout of the repository with this common Git directory.
    #[must_use]
    pub fn new(common_dir: &Path) -> Self {
        Self { common: common_dir.to_owned(), root: common_dir.join("heddle") }
    }

    /// Whether `folder` is the Git directory of one of the repository's worktrees, the main one
    /// included, whichever way it is spelled.
    #[must_use]
    pub fn has_git_dir(&self, folder: &Path) -> bool {
        let (Ok(common), Ok(folder)) = (self.common.canonicalize(), folder.canonicalize()) else {
            return false;
        };
        folder == common || folder.parent() == Some(&common.join("worktrees"))
    }

    /// Live sessions.
    #[must_use]
    pub fn agents(&self) -> PathBuf {
        self.root.join("agents")
    }

    /// Finished sessions.
    #[must_use]
    pub fn ended(&self) -> PathBuf {
        self.root.join("agents/ended")
    }

    /// A live session's record.
    #[must_use]
    pub fn session(&self, id: &SessionId) -> PathBuf {
        self.root.join(format!("agents/{id}.json"))
    }

    /// The file that commands hold while they act for a session. In it is the lease, where it
    /// was renewed since the record was written.
    #[must_use]
    pub fn live(&self, id: &SessionId) -> PathBuf {
        self.root.join(format!("agents/{id}.live"))
    }

    /// A finished session's record.
    #[must_use]
    pub fn ended_session(&self, id: &SessionId) -> PathBuf {
        self.root.join(format!("agents/ended/{id}.json"))
    }

    /// Says when finished sessions were last pruned, by its modification time.
    #[must_use]
    pub fn pruned(&self) -> PathBuf {
        self.root.join("agents/ended/.pruned")
    }

    /// Thread records.
    #[must_use]
    pub fn threads(&self) -> PathBuf {
        self.root.join("threads")
    }

    /// A thread's record.
    #[must_use]
    pub fn thread(&self, name: &ThreadName) -> PathBuf {
        self.root.join(format!("threads/{}.json", name.key()))
    }

    /// Thread locks and journals.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// A thread's lock.
    #[must_use]
    pub fn lock(&self, name: &ThreadName) -> PathBuf {
        self.root.join(format!("locks/{}.lock", name.key()))
    }

    /// The thread's operation in progress.
    #[must_use]
    pub fn journal(&self, name: &ThreadName) -> PathBuf {
        self.root.join(format!("locks/{}.journal", name.key()))
    }

    /// Where the reflog of the thread is put together before it gets its place: beside the
    /// log itself any name could be another thread's.
    #[must_use]
    pub fn staged_log(&self, name: &ThreadName) -> PathBuf {
        self.root.join(format!("locks/{}.reflog", name.key()))
    }

    /// The reflog of the ref `name`.
    #[must_use]
    pub fn ref_log(&self, name: &str) -> PathBuf {
        self.common.join("logs").join(name)
    }

    /// Where those who wait for the thread line up.
    #[must_use]
    pub fn queue(&self, name: &ThreadName) -> PathBuf {
        self.root.join(format!("locks/{}.queue", name.key()))
    }

    /// Serialises the making and removing of linked worktrees. No thread has a key in which
    /// `%` is followed by anything but two hexadecimal digits.
    #[must_use]
    pub fn worktrees_lock(&self) -> PathBuf {
        self.root.join("locks/%worktrees.lock")
    }

    /// Serialises landings.
    #[must_use]
    pub fn land_lock(&self) -> PathBuf {
        self.root.join("locks/%land.lock")
    }

    /// Names the thread whose record may hold the intent of a landing.
    #[must_use]
    pub fn landing(&self) -> PathBuf {
        self.root.join("landing")
    }

    /// On which vouchers are held, see [`super::voucher`].
    #[must_use]
    pub fn vouchers(&self) -> PathBuf {
        self.root.join("locks/%vouchers.lock")
    }

    /// Serialises our own transactions where Git's lock is on all refs at once.
    #[must_use]
    pub fn refs_lock(&self) -> PathBuf {
        self.root.join("locks/%refs.lock")
    }

    /// Which hooks this repository asked for.
    #[must_use]
    pub fn hooks(&self) -> PathBuf {
        self.root.join("hooks.json")
    }

    /// Serialises installing and uninstalling hooks.
    #[must_use]
    pub fn hooks_lock(&self) -> PathBuf {
        self.root.join("locks/%hooks.lock")
    }

    /// Git's configuration of our hooks, which the repository's includes.
    #[must_use]
    pub fn hooks_configuration(&self) -> PathBuf {
        self.root.join("hooks.gitconfig")
    }

    /// The log of the setup command of a session's worktree.
    #[must_use]
    pub fn setup_log(&self, id: &SessionId) -> PathBuf {
        self.root.join(format!("logs/{id}-setup.log"))
    }

    /// The event log.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// What checks and setup commands printed.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of a session's `number`-th check.
    #[must_use]
    pub fn check_log(&self, id: &SessionId, number: usize) -> PathBuf {
        self.root.join(format!("logs/{id}-{number}.log"))
    }

    /// A loose ref's file.
    #[must_use]
    pub fn ref_file(&self, name: &str) -> PathBuf {
        self.common.join(name)
    }

    /// Git's own lock on a ref.
    #[must_use]
    pub fn ref_lock(&self, name: &str) -> PathBuf {
        self.common.join(format!("{name}.lock"))
    }

    /// The binding of the worktree with this Git directory.
    #[must_use]
    pub fn binding(worktree_git_dir: &Path) -> PathBuf {
        worktree_git_dir.join("heddle-worktree.json")
    }

    /// Says that the merge in progress in that worktree is a refresh's, and of which commit.
    #[must_use]
    pub fn refresh_note(worktree_git_dir: &Path) -> PathBuf {
        worktree_git_dir.join("heddle-refresh")
    }

    /// The lock that serialises captures in the worktree with this Git directory.
    #[must_use]
    pub fn binding_lock(worktree_git_dir: &Path) -> PathBuf {
        worktree_git_dir.join("heddle-worktree.lock")
    }
}
