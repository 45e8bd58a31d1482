//! Object databases for workers.
//!
//! libgit2 holds the one lock of an object database for as long as it reads an object, so
//! workers that share one wait for each other and for the lock itself: two were slower than one.
//! A pack is mapped once, whoever reads it.

use std::ops::Deref;

use super::program::{ALTERNATES, OBJECTS};
use super::{GitError, Repo};

/// The objects of a repository, for as many as read them at once.
pub(super) struct Objects<'repo> {
    shared: git2::Odb<'repo>,
    format: git2::ObjectFormat,
    /// The folder that they are in; `None` where the environment has them elsewhere, or libgit2 has
    /// no way to be told of it.
    folder: Option<String>,
}

/// Objects as one worker reads them.
pub(super) enum Reader<'a> {
    Shared(&'a git2::Odb<'a>),
    Own(git2::Odb<'static>),
}

impl<'repo> Objects<'repo> {
    pub(super) fn of(repo: &'repo Repo) -> Result<Self, GitError> {
        let told = [OBJECTS, ALTERNATES].iter().any(|name| std::env::var_os(name).is_some());
        let folder = || repo.common_dir().join("objects").into_os_string().into_string().ok();
        let folder = if told { None } else { folder() };
        Ok(Self { shared: repo.raw().odb()?, format: repo.raw().object_format(), folder })
    }

    /// What a worker reads objects from, of which the first gets what is open already.
    pub(super) fn reader(&self, worker: usize) -> Reader<'_> {
        let own = || {
            let odb = git2::Odb::new_ext(self.format).ok()?;
            odb.add_disk_alternate(self.folder.as_ref()?).ok()?;
            Some(odb)
        };
        match if worker == 0 { None } else { own() } {
            Some(odb) => Reader::Own(odb),
            // They wait for each other, and read the same.
            None => Reader::Shared(&self.shared),
        }
    }
}

impl<'repo> Deref for Objects<'repo> {
    type Target = git2::Odb<'repo>;

    fn deref(&self) -> &Self::Target {
        &self.shared
    }
}

impl<'a> Deref for Reader<'a> {
    type Target = git2::Odb<'a>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Shared(odb) => odb,
            Self::Own(odb) => odb,
        }
    }
}
