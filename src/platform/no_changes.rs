//! Fallback: changes are not told of here, and captures look at everything.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::change::{Changed, Trouble};

/// A tree that is watched: there is none.
#[derive(Debug)]
pub enum Changes {}

/// Never.
#[must_use]
pub fn is_told_of(_folder: &Path) -> bool {
    false
}

impl Changes {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn begin(_root: &Path, _bell: &Path, _at: u64) -> Result<Self, Trouble> {
        Err(Trouble::Unable("this system is not asked".to_owned()))
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn watch_more(&mut self) -> Result<bool, Trouble> {
        match *self {}
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn note(&mut self) -> Result<bool, Trouble> {
        match *self {}
    }

    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub fn catch_up(&mut self, _patience: impl FnMut() -> bool) -> Result<bool, Trouble> {
        match *self {}
    }

    /// There is none.
    #[must_use]
    pub fn at(&self) -> u64 {
        match *self {}
    }

    /// There is none.
    #[must_use]
    pub fn since(&self, _since: u64) -> Option<Vec<Changed>> {
        match *self {}
    }

    /// There is none.
    pub fn forget_until(&mut self, _at: u64) {
        match *self {}
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
