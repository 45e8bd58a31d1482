//! The folder from which a chained hook is run by its own name.
//!
//! A hook may ask what it is called, and where it lies: a script that is linked from many hooks
//! tells them apart by `basename "$0"`, and another reads its neighbours below `dirname "$0"`. Ours
//! has its place; so it is run by a link of its name in a folder beside (`.git/hooks.heddle`), as
//! deep as its own, in which there is a link to everything else that lies with it.
//!
//! A folder of hooks that is elsewhere than in a Git directory, or that is itself a link, has no
//! folder beside it: its chained hooks are run from one in it, where neighbours are not found.
//!
//! # If the process dies here
//! The links are made before ours takes the place of the hook, and lead nowhere until then.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Event;
use super::files::{BEFORE, UNFINISHED};
use crate::store::StoreError;
use crate::store::atomic_file::{self, Durability};

/// What the folder beside is called, after the folder of hooks.
const BESIDE: &str = ".heddle";
/// What the folder in it is called.
const INSIDE: &str = "heddle-chain";

/// Such a folder.
#[derive(Debug, Clone)]
pub(super) struct Chain<'a> {
    /// The folder of hooks.
    hooks: &'a Path,
    /// This one.
    folder: PathBuf,
    /// It, as it is found from the folder of hooks.
    pub(super) way: String,
    /// The folder of hooks, as it is found from this one.
    back: PathBuf,
    /// Whether the neighbours are linked in it.
    beside: bool,
}

impl<'a> Chain<'a> {
    /// That of the folder `hooks`.
    pub(super) fn of(hooks: &'a Path) -> Self {
        Self::beside(hooks).unwrap_or_else(|| Self::inside(hooks))
    }

    /// Every folder that may have served for `hooks`.
    pub(super) fn all(hooks: &'a Path) -> impl Iterator<Item = Self> {
        Self::beside(hooks).into_iter().chain([Self::inside(hooks)])
    }

    fn beside(hooks: &'a Path) -> Option<Self> {
        let (above, name) = (hooks.parent()?, hooks.file_name()?.to_str()?);
        let plain = fs::symlink_metadata(hooks).is_ok_and(|meta| meta.is_dir());
        // What the shim says has to be a word of a shell.
        let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let in_git_dir = above.join("HEAD").exists() && above.join("objects").is_dir();
        (plain && word && in_git_dir).then(|| Self {
            hooks,
            folder: above.join(format!("{name}{BESIDE}")),
            way: format!("../{name}{BESIDE}"),
            back: Path::new("..").join(name),
            beside: true,
        })
    }

    fn inside(hooks: &'a Path) -> Self {
        Self { hooks, folder: hooks.join(INSIDE), way: INSIDE.to_owned(), back: "..".into(), beside: false }
    }

    /// What is in the place of this folder, or of a link in it, and is none of ours.
    pub(super) fn in_the_way(&self, hook: &str) -> Option<PathBuf> {
        let link = self.folder.join(hook);
        let folder = fs::symlink_metadata(&self.folder).ok()?;
        if !folder.is_dir() {
            return Some(self.folder.clone());
        }
        let strange = fs::symlink_metadata(&link).is_ok() && !self.is_ours(&link);
        strange.then_some(link)
    }

    /// Has `hook` run what is called `kept`, and links what lies with it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(super) fn link(&self, hook: &str, kept: &OsStr, durability: Durability) -> Result<(), StoreError> {
        atomic_file::create_folder(&self.folder, durability).map_err(StoreError::io("make", &self.folder))?;
        self.point(OsStr::new(hook), kept)?;
        if !self.beside {
            return Ok(());
        }
        let entries = fs::read_dir(self.hooks).map_err(StoreError::io("read", self.hooks))?;
        for name in entries.flatten().map(|entry| entry.file_name()) {
            let text = name.to_string_lossy();
            // The hooks of ours have links only where they are chained; samples nobody looks for.
            let ours = text.ends_with(BEFORE) || text.starts_with(UNFINISHED) || text == INSIDE;
            if !ours && Event::parse(&text).is_none() && !text.ends_with(".sample") {
                self.point(&name, &name)?;
            }
        }
        Ok(())
    }

    /// Makes the link `name` lead to `target` in the folder of hooks.
    fn point(&self, name: &OsStr, target: &OsStr) -> Result<(), StoreError> {
        let (link, to) = (self.folder.join(name), self.back.join(target));
        if fs::read_link(&link).is_ok_and(|at| at == to) {
            return Ok(());
        }
        if self.is_ours(&link) {
            atomic_file::remove(&link)?;
        }
        match symlink(&to, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StoreError::io("link", &link)(error))
            }
            _ => Ok(()),
        }
    }

    /// Whether a link leads into the folder of hooks, as those do that are made here.
    fn is_ours(&self, link: &Path) -> bool {
        fs::read_link(link).is_ok_and(|to| to.parent() == Some(&self.back))
    }

    /// Takes the link of `hook` away, and with the last chained hook all that is ours; `kept` tells
    /// what a chained hook is called.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub(super) fn unlink(&self, hook: &str, kept: &dyn Fn(&str) -> String) -> Result<(), StoreError> {
        let link = self.folder.join(hook);
        if self.is_ours(&link) {
            atomic_file::remove(&link)?;
        }
        let links = || fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_chained = |link: &PathBuf| {
            let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::read_link(link).is_ok_and(|to| to == self.back.join(kept(&name)))
        };
        if !links().any(|link| is_chained(&link)) {
            for link in links().filter(|link| self.is_ours(link)) {
                atomic_file::remove(&link)?;
            }
            // It stays where something of somebody else is in it.
            let _ = fs::remove_dir(&self.folder);
        }
        Ok(())
    }
}
