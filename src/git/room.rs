//! Room for a ref that is to be made, and for its log, where both are files.
//!
//! Of a name and one below it only one can be a ref: the file of the one is the folder of the
//! other. Whoever makes a ref holds Git's lock on it and looks, under the lock, whether another
//! is being made above or below; as each takes its own lock before it looks, of two at least one
//! sees the other. Who is below gives its lock back and waits; who is above keeps its own, and
//! waits for those below. So nobody waits for one who waits for it, and who comes second finds
//! the ref of the first, or none.
//!
//! Refs that are gone and processes that died leave folders with nothing in them. They are
//! removed, as Git does, by whoever holds the lock on what takes their place. Another may have
//! made one just now, for a name below: it makes it again, as often as it takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::refs::{RefFiles, above};
use super::{GitError, Repo};
use crate::store::atomic_file::{self, Durability};

/// How often something is tried again that fails because of a folder that comes or goes.
pub(super) const TRIES: u32 = 5;
/// How long another is given to go on.
pub(super) const PAUSE: Duration = Duration::from_millis(3);

/// A lock on another ref, for which the one who makes a ref has to wait.
pub(super) struct InTheWay {
    name: String,
    lock: PathBuf,
}

impl InTheWay {
    /// Waits until it is given back.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] after the deadline.
    pub(super) fn wait(self, deadline: Instant) -> Result<(), GitError> {
        while self.lock.exists() {
            if Instant::now() >= deadline {
                return Err(GitError::RefLocked { name: self.name, lock: self.lock });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Repo {
    /// Makes the folders above a ref and its log, each synced into the one above: libgit2
    /// makes what is missing too, and syncs only the last.
    pub fn make_ref_folders(&self, name: &str) {
        let _ = self.make_folders(name);
    }

    /// As [`Self::make_ref_folders`]; the lock of who is about to have a file where one of them goes.
    pub(super) fn make_folders(&self, name: &str) -> Option<InTheWay> {
        let durability = if self.is_durable() { Durability::PowerLoss } else { Durability::ProcessDeath };
        let RefFiles { tip, log } = self.files_of(name)?;
        let folders = [&tip, &log].into_iter().filter_map(|file| file.parent());
        for folder in folders.filter(|folder| !folder.is_dir()) {
            if let Some(above) = self.lock_above(name)
                && self.read_ref(name).is_ok_and(|there| there.is_none())
            {
                return Some(above);
            }
            // Where this fails, so does the lock, which says why.
            if atomic_file::create_folder(folder, durability).is_err() {
                return None;
            }
        }
        None
    }

    /// What keeps a ref `name` from being made: another above or below it, or the log of one.
    ///
    /// # Errors
    /// As [`Self::clash`].
    pub fn obstacle(&self, name: &str) -> Result<Option<String>, GitError> {
        Ok(self.clash(name)?.or_else(|| self.log_in_the_way(name)))
    }

    /// What somebody who makes, or made, a ref above or below `name` has there: its name, or that of
    /// its log. As long as none of them died it is nothing to wait for here.
    #[must_use]
    pub fn trace_in_the_way(&self, name: &str) -> Option<String> {
        self.files_of(name)?;
        let lock = self.lock_above(name).or_else(|| self.lock_below(name)).map(|lock| lock.name);
        lock.or_else(|| self.log_in_the_way(name))
    }

    /// The log of a ref above or below `name`.
    fn log_in_the_way(&self, name: &str) -> Option<String> {
        let RefFiles { log, .. } = self.files_of(name)?;
        let above = above(name).map(|above| self.log_of(above)).find(|log| log.is_file());
        let found = above.or_else(|| first_file(&log, |_| true));
        let within = |found: PathBuf| Some(found.strip_prefix(self.common_dir()).ok()?.to_str()?.to_owned());
        found.and_then(within)
    }

    /// Removes what is in the place of the log of `name` and is no log: folders with nothing in them.
    pub fn clear_log_place(&self, name: &str) {
        remove_empty_folders(&self.log_of(name));
    }

    /// Has `write` put the log of the ref `name`, which was just made, into its place: again where
    /// one who wanted a name below it has made a folder there, and will find the name taken.
    ///
    /// # Errors
    /// As `write` says.
    pub fn put_log<E>(&self, name: &str, write: impl Fn() -> Result<(), E>) -> Result<(), E> {
        let mut tries = 0;
        loop {
            self.clear_log_place(name);
            tries += 1;
            match write() {
                Err(_) if self.log_of(name).is_dir() && tries < TRIES => {}
                written => return written,
            }
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.common_dir().join("logs").join(name)
    }

    /// Git's lock on a ref above `name`.
    pub(super) fn lock_above(&self, name: &str) -> Option<InTheWay> {
        let mut locks =
            above(name).map(|above| InTheWay { name: above.to_owned(), lock: self.lock_of(above) });
        locks.find(|above| above.lock.exists())
    }

    /// Git's lock on a ref below `name`.
    pub(super) fn lock_below(&self, name: &str) -> Option<InTheWay> {
        let lock = first_file(&self.common_dir().join(name), is_lock)?;
        let below = lock.with_extension("");
        let below = below.strip_prefix(self.common_dir()).unwrap_or(&below).to_string_lossy().into_owned();
        Some(InTheWay { name: below, lock })
    }

    /// Waits for who makes a ref above or below `name`, unless that exists. No lock is held yet: who
    /// dies while waiting leaves none.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] after the deadline.
    pub(super) fn let_pass(&self, name: &str, deadline: Instant) -> Result<(), GitError> {
        if self.common_dir().join(name).is_file() {
            return Ok(());
        }
        while let Some(other) = self.lock_above(name).or_else(|| self.lock_below(name)) {
            if self.read_ref(name)?.is_some() {
                return Ok(());
            }
            other.wait(deadline)?;
        }
        Ok(())
    }

    /// Makes room for the ref `name`, which does not exist and whose lock the caller holds. Where
    /// one above it is locked, the caller has to give its own lock back and wait for that.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] if one below it is still locked after the deadline;
    /// [`GitError::RefClash`].
    pub(super) fn make_room(&self, name: &str, deadline: Instant) -> Result<Option<InTheWay>, GitError> {
        if let Some(above) = self.lock_above(name) {
            return Ok(Some(above));
        }
        while let Some(below) = self.lock_below(name) {
            below.wait(deadline)?;
        }
        if let Some(existing) = self.obstacle(name)? {
            return Err(GitError::RefClash { name: name.to_owned(), existing });
        }
        self.clear_log_place(name);
        self.clear_ref_place(name);
        Ok(None)
    }

    /// Removes folders with nothing in them that are where the file of the ref `name` goes.
    pub(super) fn clear_ref_place(&self, name: &str) {
        remove_empty_folders(&self.common_dir().join(name));
    }

    /// Makes the log of `name` if there is none.
    pub(super) fn ensure_log(&self, name: &str) -> Result<(), GitError> {
        let log = self.log_of(name);
        let mut tries = 0;
        while let Err(error) = self.raw().reference_ensure_log(name) {
            let comes_or_goes = log.is_dir() || log.parent().is_some_and(|folder| !folder.exists());
            tries += 1;
            if !comes_or_goes || tries >= TRIES {
                let Some(existing) = self.obstacle(name)? else { return Err(error.into()) };
                return Err(GitError::RefClash { name: name.to_owned(), existing });
            }
            self.clear_log_place(name);
        }
        Ok(())
    }

    /// What is to be said of a ref that could not be written because its file has a folder in its
    /// place by now; `None` if that is not why.
    pub(super) fn displaced(&self, name: &str) -> Option<GitError> {
        let tip = self.common_dir().join(name);
        if let Ok(Some(existing)) = self.obstacle(name) {
            return Some(GitError::RefClash { name: name.to_owned(), existing });
        }
        tip.is_dir().then(|| GitError::RefLocked { name: name.to_owned(), lock: tip })
    }
}

/// Whether the file is a lock of Git's.
pub(super) fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lock")
}

/// Some file below `folder` that is `wanted`; empty folders are what deleted refs leave.
pub(super) fn first_file(folder: &Path, wanted: fn(&Path) -> bool) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        // It may be gone by now.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if let Some(found) = first_file(&path, wanted) {
                return Some(found);
            }
        } else if wanted(&path) {
            return Some(path);
        }
    }
    None
}

/// Removes `folder` and what is below it, as far as that is nothing but folders.
fn remove_empty_folders(folder: &Path) {
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if !is_folder(folder) {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove_empty_folders(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}
