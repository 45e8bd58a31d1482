//! Refs: reading, comparing and swapping, listing, deleting.
//!
//! libgit2's reference transaction takes Git's own lock on a ref, and that is all it does:
//! it takes no old value, accepts names that Git refuses, and misses a clash with a packed
//! ref. [`LockedRef`] adds what is missing: the value is read again under the lock, and a
//! name that does not exist yet is checked for others above and below it, packed ones
//! included. There is no way to write a ref without saying what it was.
//!
//! In the reftable format, which libgit2 does not know, the git program holds and writes refs.
//! Nothing above can tell which it is (`git::backend`): a ref is locked for what is to become of it
//! ([`Intent`]), as the git program has to be told before it locks.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::backend::Value;
use super::exchange;
use super::packed;
use super::program::{self, Program};
use super::reftable::held::{Prepared, is_busy};
use super::reftable::lock_below;
use super::{GitError, Repo};
use crate::names::CommitId;
use crate::store::journal::FileIdentity;
use crate::store::voucher::Voucher;

/// What a ref must be for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It does not exist.
    Absent,
    /// It is at this commit.
    Exactly(CommitId),
}

impl Expected {
    /// Whether `actual` is as expected.
    #[must_use]
    pub fn is(&self, actual: Option<&CommitId>) -> bool {
        match self {
            Self::Absent => actual.is_none(),
            Self::Exactly(commit) => actual == Some(commit),
        }
    }
}

/// One ref of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its full name.
    pub name: String,
    /// What it must be.
    pub from: Expected,
    /// What it is to be; `None` deletes it.
    pub to: Option<CommitId>,
}

/// What a ref is locked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent<'a> {
    /// To keep it where it is.
    Compare,
    /// To move it, or to make it.
    Move {
        /// What it is to be.
        to: &'a CommitId,
        /// What its reflog is to say.
        message: &'a str,
    },
}

/// A ref under Git's own lock. Dropping it unlocks the ref unchanged; of several that were
/// locked together, the last.
#[must_use = "the ref is unlocked when this value is dropped"]
pub struct LockedRef<'repo> {
    pub(super) repo: &'repo Repo,
    pub(super) hold: Hold<'repo>,
    pub(super) name: String,
    pub(super) current: Option<CommitId>,
    pub(super) identity: FileIdentity,
}

/// Where a ref is that is a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefFiles {
    /// The ref.
    pub tip: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

/// Who holds the lock.
pub(super) enum Hold<'repo> {
    /// libgit2.
    Library(git2::Transaction<'repo>),
    /// The git program, for all refs that were locked together; what this one is to be.
    Program(Rc<RefCell<Prepared>>, Option<CommitId>),
}

impl Repo {
    /// The commit that the ref `name` is at.
    ///
    /// # Errors
    /// [`GitError::Unusable`] for a symbolic ref or one that is no commit's.
    pub fn read_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let symbolic = || GitError::Unusable {
            path: self.common_dir().to_owned(),
            reason: format!("ref '{name}' is symbolic, which no thread is"),
        };
        match self.refs().read(self, name)? {
            Some(Value::Id(id)) => Ok(Some(id)),
            Some(Value::Symbolic(_)) => Err(symbolic()),
            Some(Value::Gone) | None => Ok(None),
        }
    }

    /// All refs below `prefix`, which ends in `/`, sorted by name, with their commits.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn list_refs(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        let id = |(name, value)| match value {
            Value::Id(id) => Some((name, id)),
            Value::Symbolic(_) | Value::Gone => None,
        };
        Ok(self.refs().below(self, prefix)?.into_iter().filter_map(id).collect())
    }

    /// The file that is Git's own lock on the ref `name`.
    #[must_use]
    pub fn lock_of(&self, name: &str) -> PathBuf {
        self.refs().lock_file(self, name)
    }

    /// The file that is Git's own lock on HEAD of the worktree with that Git directory.
    #[must_use]
    pub fn lock_of_head(&self, git_dir: &Path) -> PathBuf {
        self.refs().lock_file_of_head(git_dir)
    }

    /// Git's locks that are on many refs at once, those of all worktrees; none where each ref has
    /// its own.
    #[must_use]
    pub fn locks_of_many(&self) -> Vec<PathBuf> {
        if self.refs_are_files() {
            return Vec::new();
        }
        let linked = self.linked_worktrees().into_iter().map(|linked| linked.git_dir);
        std::iter::once(self.common_dir().to_owned()).chain(linked).map(|dir| lock_below(&dir)).collect()
    }

    /// The files in which the ref `name` and its log are, if they are files of their own.
    #[must_use]
    pub fn files_of(&self, name: &str) -> Option<RefFiles> {
        let (tip, log) = (self.common_dir().join(name), self.common_dir().join("logs").join(name));
        self.refs_are_files().then_some(RefFiles { tip, log })
    }

    /// Takes Git's own lock on the ref `name`, waiting at most `timeout` for another
    /// holder, and checks that it can exist.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] after the time limit; [`GitError::RefClash`] if the ref does
    /// not exist and another above or below it does.
    pub fn lock_ref(
        &self,
        name: &str,
        intent: Intent<'_>,
        timeout: Duration,
    ) -> Result<LockedRef<'_>, GitError> {
        let [locked] = self.lock_refs([(name, intent)], timeout)?;
        Ok(locked)
    }

    /// As [`Self::lock_ref`], of several refs. Where one lock is on all of them, what is to
    /// become of each happens with the first that moves.
    ///
    /// # Errors
    /// As [`Self::lock_ref`].
    pub fn lock_refs<const N: usize>(
        &self,
        wanted: [(&str, Intent<'_>); N],
        timeout: Duration,
    ) -> Result<[LockedRef<'_>; N], GitError> {
        let locked = self.refs().lock(self, &wanted, timeout)?;
        match locked.try_into() {
            Ok(locked) => Ok(locked),
            Err(_) => unreachable!("each that was wanted is locked"),
        }
    }

    /// Deletes the ref `name` if it is at `expected`, by the git program: libgit2 rewrites
    /// packed-refs from a stale copy.
    ///
    /// # Errors
    /// [`GitError::Program`] if it is elsewhere or locked.
    pub fn delete_ref(&self, name: &str, expected: &CommitId) -> Result<(), GitError> {
        let change = Change { name: name.to_owned(), from: Expected::Exactly(expected.clone()), to: None };
        self.change_refs(&[change], "heddle: take back")
    }

    /// Changes several refs in one transaction of the git program: all of them or none, as
    /// far as no process dies in the middle. Those that are made get a reflog.
    ///
    /// # Errors
    /// [`GitError::Program`] if one of them is not where it is expected; [`GitError::RefLocked`] if
    /// one of them is locked, or packed-refs.
    pub fn change_refs(&self, changes: &[Change], message: &str) -> Result<(), GitError> {
        self.change_refs_by(&self.program(), changes, message)
    }

    /// As [`Self::change_refs`], by `git` as it is started elsewhere: where a branch is checked
    /// out, so that the log of HEAD tells of it.
    ///
    /// # Errors
    /// As [`Self::change_refs`].
    pub fn change_refs_by(&self, git: &Program, changes: &[Change], message: &str) -> Result<(), GitError> {
        self.transact(git, changes, message, "commit")?;
        self.sync_refs(changes);
        Ok(())
    }

    /// Has Git prepare what [`Self::change_refs`] would do, and then not do it.
    ///
    /// # Errors
    /// As [`Self::change_refs`].
    pub fn rehearse_refs(&self, changes: &[Change], message: &str) -> Result<(), GitError> {
        self.transact(&self.program(), changes, message, "abort")
    }

    /// A transaction by `git` that ends with the command `last`.
    fn transact(&self, git: &Program, changes: &[Change], message: &str, last: &str) -> Result<(), GitError> {
        let lines: String = changes.iter().map(Change::line).collect();
        let input = format!("start\0{lines}prepare\0{last}\0");
        let mut command = exchange::update_ref(git, message);
        if !self.refs_are_files() {
            // The log tells when it happened, where no file does.
            command.env_remove("GIT_COMMITTER_DATE");
        }
        // Hooks let a command that writes on heddle's behalf.
        let voucher = Voucher::issue(self.common_dir());
        if let Some(voucher) = &voucher {
            voucher.hand_to(&mut command);
        }
        let deadline = Instant::now() + program::patience();
        loop {
            let output = Program::output(&mut command, Some(input.as_bytes()))?;
            // Where its input cannot be read to the end it succeeds, and has done nothing.
            if output.status.success() && output.stdout.ends_with(format!("{last}: ok\n").as_bytes()) {
                return Ok(());
            }
            if let Some(locked) = self.lock_in_the_way(changes, &output.stderr) {
                return Err(locked);
            }
            let error = Program::failure(&command, &output);
            // The lock on all refs is held by anybody who writes any of them.
            if self.refs_are_files() || !is_busy(&error) {
                return Err(error);
            }
            if Instant::now() >= deadline {
                let name = changes.first().map(|change| change.name.clone()).unwrap_or_default();
                return Err(GitError::RefLocked { lock: self.lock_of(&name), name });
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// The lock, on one of the refs or on the packed ones, that Git `said` is in its way: whatever
    /// its language, it names the file. It may have been given back since.
    pub(super) fn lock_in_the_way(&self, changes: &[Change], said: &[u8]) -> Option<GitError> {
        if !self.refs_are_files() {
            return None;
        }
        let said = String::from_utf8_lossy(said);
        let mut names = changes.iter().map(|change| change.name.as_str()).chain(["packed-refs"]);
        names.find_map(|name| {
            let lock = self.common_dir().join(format!("{name}.lock"));
            let is_there = lock.exists() || said.contains("File exists");
            let is_meant = said.contains(&format!("{name}.lock")) && is_there;
            is_meant.then(|| GitError::RefLocked { name: name.to_owned(), lock })
        })
    }

    /// A ref above or below `name`, loose or packed, that keeps it from existing.
    ///
    /// # Errors
    /// [`GitError::Io`] if packed refs cannot be read.
    pub fn clash(&self, name: &str) -> Result<Option<String>, GitError> {
        let exists = |above: &str| self.refs().read(self, above).is_ok_and(|found| found.is_some());
        if let Some(above) = above(name).find(|above| exists(above)) {
            return Ok(Some(above.to_owned()));
        }
        self.refs().first_below(self, &format!("{name}/"))
    }

    /// What packed-refs has for the ref `name`, whatever its loose file says.
    ///
    /// # Errors
    /// [`GitError::Io`] if packed refs cannot be read.
    pub fn packed_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let line = packed::line(&self.common_dir().join("packed-refs"), name)?;
        // Of all names that begin with it, the name itself comes first.
        let line = line.filter(|line| packed::ref_name(line) == Some(name.as_bytes()));
        Ok(line.and_then(|line| CommitId::parse(packed::lossy(&line).split(' ').next()?).ok()))
    }
}

/// The names above `name` that a ref can have.
pub(super) fn above(name: &str) -> impl Iterator<Item = &str> {
    let slashes = name.match_indices('/').map(|(at, _)| &name[..at]);
    slashes.filter(|above| above.matches('/').count() >= 2)
}

impl<'a> Intent<'a> {
    pub(super) fn target(self) -> Option<&'a CommitId> {
        match self {
            Self::Compare => None,
            Self::Move { to, .. } => Some(to),
        }
    }
}

impl LockedRef<'_> {
    /// The ref's full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the ref is at, read under the lock.
    #[must_use]
    pub fn current(&self) -> Option<&CommitId> {
        self.current.as_ref()
    }

    /// Which file the lock is: the proof that it is ours if we die.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Compares the ref with `expected`.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it is elsewhere.
    pub fn check(&self, expected: &Expected) -> Result<(), GitError> {
        if expected.is(self.current.as_ref()) {
            return Ok(());
        }
        Err(GitError::RefMoved {
            name: self.name.clone(),
            expected: match expected {
                Expected::Absent => None,
                Expected::Exactly(commit) => Some(commit.clone()),
            },
            actual: self.current.clone(),
        })
    }

    /// Compares the ref with `expected`, moves it to `new` with a line in its reflog, and
    /// unlocks it. The reflog is made if it does not exist.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it is not at `expected`, or as the system says: nothing is
    /// written, and the reflog is as it was.
    pub fn swap(self, expected: &Expected, new: &CommitId, message: &str) -> Result<(), GitError> {
        self.check(expected)?;
        let (repo, name) = (self.repo, self.name.clone());
        if let Hold::Program(prepared, to) = &self.hold {
            return self.commit(prepared, to.as_ref(), new);
        }
        let log = repo.common_dir().join("logs").join(&name);
        let logged = fs::symlink_metadata(&log).map(|meta| meta.len());
        let Err(error) = self.set(new, message) else { return Ok(()) };
        // What fails last is the sync of a folder, and then the ref has moved for everybody.
        if repo.read_ref(&name)?.as_ref() == Some(new) {
            return Ok(());
        }
        // libgit2 writes the log first. Who else would write to it waited for our lock, and a
        // line of theirs is not ours to take.
        if let Ok(length) = logged
            && let Ok(file) = File::options().write(true).open(&log)
            && file.metadata().is_ok_and(|meta| meta.len() > length)
        {
            let _ = file.set_len(length);
        } else if logged.is_err() {
            let _ = fs::remove_file(&log);
        }
        Err(repo.displaced(&name).unwrap_or(error))
    }

    /// Has the git program make the changes that it has prepared.
    fn commit(
        &self,
        prepared: &RefCell<Prepared>,
        to: Option<&CommitId>,
        new: &CommitId,
    ) -> Result<(), GitError> {
        if to != Some(new) {
            return Err(GitError::Unusable {
                path: self.repo.common_dir().to_owned(),
                reason: format!("ref '{}' was not locked to be moved to {new}", self.name),
            });
        }
        match prepared.borrow_mut().commit() {
            // What fails after the refs have moved comes too late to fail.
            // What kept Git from saying so may keep us from reading it, once.
            Err(error) if self.read_again()?.as_ref() != Some(new) => Err(error),
            _ => {
                self.repo.sync_tables(&self.name);
                Ok(())
            }
        }
    }

    fn read_again(&self) -> Result<Option<CommitId>, GitError> {
        self.repo.read_ref(&self.name).or_else(|_| self.repo.read_ref(&self.name))
    }

    fn set(self, new: &CommitId, message: &str) -> Result<(), GitError> {
        let Hold::Library(mut transaction) = self.hold else { return Ok(()) };
        self.repo.ensure_log(&self.name)?;
        let oid = self.repo.oid(new.as_str())?;
        // A reflog's lines cannot hold a newline.
        let message = message.replace(['\n', '\r'], " ");
        let who = self.repo.log_identity()?;
        transaction.set_target(&self.name, oid, Some(&who), &message)?;
        self.repo.clear_ref_place(&self.name);
        transaction.commit()?;
        Ok(())
    }

    /// Makes the ref at `new` and unlocks it. Its reflog is the caller's to write, where logs
    /// are files.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it exists: nothing is written.
    pub fn create_without_log(self, new: &CommitId) -> Result<(), GitError> {
        self.check(&Expected::Absent)?;
        let mut transaction = match self.hold {
            Hold::Library(transaction) => transaction,
            Hold::Program(ref prepared, ref to) => return self.commit(prepared, to.as_ref(), new),
        };
        let (oid, who) = (self.repo.oid(new.as_str())?, self.repo.log_identity()?);
        transaction.set_target(&self.name, oid, Some(&who), "")?;
        self.repo.clear_ref_place(&self.name);
        transaction.commit().map_err(|error| self.repo.displaced(&self.name).unwrap_or(error.into()))
    }
}
