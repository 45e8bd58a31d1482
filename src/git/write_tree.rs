//! The tree of an index, as `git write-tree` makes it, without a process that reads the index
//! once more and writes it once more.
//!
//! The index remembers the trees of its folders, and `git add` forgets those in which
//! something changed; only these are put together. Each is compared with the tree that the
//! parent has there, so that what is new is looked for in the object database and the rest is
//! not. libgit2 writes the trees, and syncs each before it gets its name.
//!
//! Wherever git could do otherwise (`None`), git does it: an index that is not understood, an
//! object that is not there, a repository shared by modes that libgit2 does not set. Too many
//! forgotten folders are left to it as well, since it remembers them in the index again.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::diff::entries;
use super::index_file::{Entries, Remembered, remembered};
use super::stage::io_error;
use super::trees::mode_of;
use super::{GitError, Repo};

/// How many folders are put together here at most.
const FOLDERS: usize = 64;

const TREE: u32 = 0o040_000;

/// Whether objects that libgit2 writes in this repository are what the user's git would have
/// written: as readable for others, and as safe from a power cut.
///
/// # Errors
/// [`GitError`] for configuration that cannot be read.
pub(super) fn may_write(repo: &Repo) -> Result<bool, GitError> {
    let config = repo.config()?;
    let shared = config.get("core.sharedRepository")?;
    let shared = shared.is_some_and(|value| !matches!(value.text.as_str(), "umask" | "false" | "0"));
    let asks = ["core.fsync", "core.fsyncObjectFiles", "core.fsyncMethod"];
    let mut asked = false;
    for key in asks.iter().filter(|_| !repo.is_durable()) {
        asked |= config.get(key)?.is_some();
    }
    Ok(!shared && !asked)
}

/// The tree of the index at `path`, where `parent` is the tree that most of it is from; `None`
/// where git has to write it.
///
/// # Errors
/// [`GitError::Io`] if the index cannot be read; [`GitError::Library`] if a tree cannot be
/// written.
pub(super) fn write_tree(repo: &Repo, path: &Path, parent: git2::Oid) -> Result<Option<git2::Oid>, GitError> {
    if !may_write(repo)? {
        return Ok(None);
    }
    let index = match Index::read(path, repo.id_size()) {
        Ok(Some(index)) => index,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let odb = repo.raw().odb()?;
    let mut writer = Writer { repo, odb: &odb, index: &index, at: 0, folders: 0 };
    let tree = writer.below(0, Some(&index.remembered), Some(parent))?;
    Ok(tree.filter(|tree| writer.at == index.items.len() && (*tree == parent || odb.exists(*tree))))
}

/// An index in memory, as far as trees are made of it.
struct Index {
    /// All names, one after the other.
    names: Vec<u8>,
    /// Where the name of each entry ends, its mode, its id.
    items: Vec<(usize, u32, git2::Oid)>,
    remembered: Remembered,
}

impl Index {
    fn read(path: &Path, id_size: usize) -> io::Result<Option<Self>> {
        let Some(mut entries) = Entries::new(File::open(path)?, id_size)? else { return Ok(None) };
        let (mut names, mut items) = (Vec::new(), Vec::new());
        while let Some(entry) = entries.step()? {
            names.extend_from_slice(entries.name());
            items.push((names.len(), entry.mode, entry.id));
        }
        let remembered = remembered(&entries.rest()?, id_size);
        Ok(remembered.map(|remembered| Self { names, items, remembered }))
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let (end, ..) = self.items.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.items[before].0);
        Some(&self.names[start..*end])
    }
}

struct Writer<'a> {
    repo: &'a Repo,
    odb: &'a git2::Odb<'a>,
    index: &'a Index,
    /// The next entry.
    at: usize,
    /// How many folders were put together.
    folders: usize,
}

impl Writer<'_> {
    /// Writes the tree of the folder whose name, with a slash, is the first `prefix` bytes of
    /// the next entry's; `None` where git has to.
    fn folder(
        &mut self,
        prefix: usize,
        remembered: Option<&Remembered>,
        parent: Option<git2::Oid>,
    ) -> Result<Option<git2::Oid>, GitError> {
        self.folders += 1;
        if self.folders > FOLDERS {
            return Ok(None);
        }
        let folder = self.index.name(self.at).map(|name| &name[..prefix]).unwrap_or_default();
        let before = parent.map(|parent| self.odb.read(parent)).transpose()?;
        let before = before.as_ref().map(git2::OdbObject::data).unwrap_or_default();
        let before: HashMap<&[u8], (u32, git2::Oid)> = entries(before, self.repo.id_size())
            .map(|entry| (entry.name, (mode_of(&entry), entry.id)))
            .collect();
        let mut tree = Vec::new();
        while let Some(below) = self.index.name(self.at).and_then(|name| name.strip_prefix(folder)) {
            let (name, mode, id) = match below.iter().position(|byte| *byte == b'/') {
                None => {
                    let (_, mode, id) = self.index.items[self.at];
                    self.at += 1;
                    (below, mode, id)
                }
                Some(slash) => {
                    let name = &below[..slash];
                    let was = before.get(name).filter(|(mode, _)| *mode == TREE).map(|(_, id)| *id);
                    let known = remembered.and_then(|all| all.folders.iter().find(|one| one.name == name));
                    let Some(id) = self.below(prefix + slash + 1, known, was)? else { return Ok(None) };
                    (name, TREE, id)
                }
            };
            let same = before.get(name).is_some_and(|(_, was)| *was == id);
            if !same && mode != super::trees::SUBMODULE && !self.odb.exists(id) {
                return Ok(None);
            }
            tree.extend_from_slice(format!("{mode:o} ").as_bytes());
            tree.extend_from_slice(name);
            tree.push(0);
            tree.extend_from_slice(id.as_bytes());
        }
        let id = git2::Oid::hash_object_ext(git2::ObjectType::Tree, &tree, self.repo.raw().object_format())?;
        if parent != Some(id) {
            self.odb.write(git2::ObjectType::Tree, &tree)?;
        }
        Ok(Some(id))
    }

    /// As [`Self::folder`], but for a folder that is remembered as it is.
    fn below(
        &mut self,
        prefix: usize,
        known: Option<&Remembered>,
        was: Option<git2::Oid>,
    ) -> Result<Option<git2::Oid>, GitError> {
        let Some((id, count)) = known.and_then(|known| known.tree) else {
            return self.folder(prefix, known, was);
        };
        let folder = self.index.name(self.at).map(|name| &name[..prefix]).unwrap_or_default();
        let is_below = |at| self.index.name(at).is_some_and(|name: &[u8]| name.starts_with(folder));
        let end = self.at + count;
        if count == 0 || !is_below(end - 1) || is_below(end) {
            return Ok(None);
        }
        self.at = end;
        Ok(Some(id))
    }
}
