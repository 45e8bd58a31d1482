//! Staging some paths without an index of the whole tree.
//!
//! `git add -A -- PATH…` works on a private index that holds what the tip has at those paths,
//! with what the worktree's index knows of these files, so that it does what it would do on the
//! whole index: the rules of ignoring and attributes come from the worktree, and where the
//! worktree lacks such a file from the index, so those on the way to the paths are there too,
//! and a file that stands where a folder is now. What changed in that index is then put into the
//! tip's trees; no folder beside the way is read.
//!
//! Whatever could come out otherwise is staged on the whole index, as before: patterns, a
//! hook, which has to see a whole index, sparse checkouts, names that differ in case only,
//! submodules, paths beyond a link, folders in which something was added, and an index that only git
//! understands.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::time::SystemTime;

use super::diff::entries;
use super::index_file::{Entries, Entry, ID, index_of};
use super::index_splice::Whole;
use super::new_trees::NewTrees;
use super::program::PATHSPECS;
use super::stage::{Staging, Stamp, io_error, shared_halves};
use super::trees::{SUBMODULE, mode_of};
use super::write_tree::may_write;
use super::{GitError, Repo};
use crate::names::CommitId;

/// How many entries such an index has at most; more are looked through faster in a whole one.
pub(super) const MOST: usize = 10_000;

const TREE: u32 = 0o040_000;

/// The files that `git add` reads rules from, in the index if they are not in the worktree.
pub(super) const RULES: [&[u8]; 3] = [b".gitattributes", b".gitignore", b".gitmodules"];

/// What to stage.
#[derive(Debug, Clone, Copy)]
pub struct Paths<'a> {
    /// As the user gave it.
    pub pathspec: &'a [OsString],
    /// The folder that it is relative to.
    pub cwd: &'a Path,
    /// Whether the user's hooks are to see the index.
    pub hooks: bool,
}

/// What the tip has at the paths that are staged.
pub struct Only(pub(super) BTreeMap<Vec<u8>, Entry>);

impl<'a> Staging<'a> {
    /// Makes a private index, at `tip`, of nothing but `paths`; `None` where that is not
    /// enough to stage them as on the whole index.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_only(
        repo: &'a Repo,
        tip: &CommitId,
        follows: bool,
        paths: &Paths<'_>,
    ) -> Result<Option<Self>, GitError> {
        let Some(named) = plain_paths(repo, paths)? else { return Ok(None) };
        let mut staging = Self::make(repo, tip)?;
        if paths.hooks && (staging.has_hook("pre-commit")? || staging.has_hook("commit-msg")?) {
            return Ok(None);
        }
        let odb = repo.raw().odb()?;
        let tree = repo.raw().find_commit(repo.oid(tip.as_str())?)?.tree_id();
        let mut found = Found { odb: &odb, id_size: repo.id_size(), entries: BTreeMap::new() };
        for path in &named {
            if !found.at(tree, path)? {
                return Ok(None);
            }
        }
        let mut only = found.entries;
        let folders = folders_among(&staging.worktree, &named);
        let recalled = staging.recall(&mut only, follows, follows).and_then(|modified| {
            let more = has_more(&only, &folders, &staging.source(follows).0, repo.id_size())?;
            Ok((!more).then_some(modified))
        });
        let modified = match recalled {
            Ok(Some(modified)) => modified,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(io_error("read", repo.git_dir())(error)),
        };
        staging.write_index(&only, modified)?;
        staging.only = Some(Only(only));
        Ok(Some(staging))
    }

    /// Takes over what the newest index knows of these files, see [`recall`], and keeps all of it
    /// to be put together anew, if that is `wanted`.
    pub(super) fn recall(
        &mut self,
        only: &mut BTreeMap<Vec<u8>, Entry>,
        follows: bool,
        wanted: bool,
    ) -> io::Result<Option<SystemTime>> {
        let (source, _) = self.source(follows);
        let stamp = Stamp::of(&source);
        let id_size = self.repo.id_size();
        let splices = wanted && id_size == ID && source.exists() && shared_halves(&source).is_empty();
        let whole = if splices { Whole::read(&source)? } else { None };
        let Some(whole) = whole else { return recall(only, &source, id_size) };
        whole.recall(only);
        self.plain = stamp;
        let modified = whole.modified;
        self.whole.replace(Some(whole));
        Ok(Some(modified))
    }

    /// Makes the private index of `entries`, as of the time `modified`.
    pub(super) fn write_index(
        &self,
        entries: &BTreeMap<Vec<u8>, Entry>,
        modified: Option<SystemTime>,
    ) -> Result<(), GitError> {
        let index = self.index();
        let write = || {
            fs::write(&index, index_of(entries, self.repo.id_size()))?;
            match modified {
                Some(modified) => File::options().write(true).open(&index)?.set_modified(modified),
                None => Ok(()),
            }
        };
        write().map_err(io_error("write", &index))
    }
}

/// The paths from the top folder, if they are plain ones in this worktree, and nothing is
/// configured that would make more of them.
fn plain_paths(repo: &Repo, paths: &Paths<'_>) -> Result<Option<Vec<Vec<Vec<u8>>>>, GitError> {
    let config = repo.config()?;
    for key in ["core.sparseCheckout", "core.splitIndex", "core.ignoreCase"] {
        if config.bool(key)?.unwrap_or(false) {
            return Ok(None);
        }
    }
    if PATHSPECS.iter().any(|name| std::env::var_os(name).is_some()) || !may_write(repo)? {
        return Ok(None);
    }
    let Some(worktree) = repo.worktree() else { return Ok(None) };
    let Some(below) =
        paths.cwd.canonicalize().ok().and_then(|cwd| Some(cwd.strip_prefix(worktree).ok()?.to_owned()))
    else {
        return Ok(None);
    };
    let mut plain = Vec::new();
    for given in paths.pathspec {
        let bytes = given.as_bytes();
        if bytes.first() == Some(&b':') || bytes.iter().any(|byte| b"*?[\\".contains(byte)) {
            return Ok(None);
        }
        let mut path: Vec<Vec<u8>> = Vec::new();
        for component in below.join(given).components() {
            match component {
                Component::Normal(name) => path.push(name.as_bytes().to_vec()),
                Component::CurDir => {}
                _ => return Ok(None),
            }
        }
        let slash = bytes.ends_with(b"/");
        if path.is_empty() || !is_reached(worktree, &path, slash) {
            return Ok(None);
        }
        plain.push(path);
    }
    Ok(Some(plain))
}

/// Whether the way to `path` leads through folders of this very worktree, or through nothing.
fn is_reached(worktree: &Path, path: &[Vec<u8>], slash: bool) -> bool {
    let mut at = worktree.to_owned();
    for (number, name) in path.iter().enumerate() {
        at.push(OsStr::from_bytes(name));
        let Ok(meta) = fs::symlink_metadata(&at) else { return !slash };
        if meta.is_dir() {
            if fs::symlink_metadata(at.join(".git")).is_ok() {
                return false;
            }
        } else if number + 1 < path.len() || slash {
            return false;
        }
    }
    true
}

/// Looks for what a tree has at paths.
struct Found<'a> {
    odb: &'a git2::Odb<'a>,
    id_size: usize,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Found<'_> {
    /// Takes what `tree` has at `path`, and on the way to it; false if it is too much, or there
    /// is a submodule.
    fn at(&mut self, tree: git2::Oid, path: &[Vec<u8>]) -> Result<bool, GitError> {
        let (mut tree, mut prefix) = (tree, Vec::new());
        for (number, wanted) in path.iter().enumerate() {
            let last = number + 1 == path.len();
            let object = self.odb.read(tree)?;
            let mut next = None;
            for entry in entries(object.data(), self.id_size) {
                let name = [&prefix[..], entry.name].concat();
                if entry.name != wanted.as_slice() {
                    if RULES.contains(&entry.name) && !entry.is_tree() {
                        self.entries.insert(name, Entry::unknown(mode_of(&entry), entry.id));
                    }
                } else if !entry.is_tree() {
                    if mode_of(&entry) == SUBMODULE {
                        return Ok(false);
                    }
                    self.entries.insert(name, Entry::unknown(mode_of(&entry), entry.id));
                } else if last {
                    return self.below(entry.id, &name);
                } else {
                    next = Some(entry.id);
                }
            }
            let Some(id) = next else { return Ok(true) };
            tree = id;
            prefix.extend_from_slice(wanted);
            prefix.push(b'/');
        }
        Ok(true)
    }

    /// Takes everything below the folder `path`.
    fn below(&mut self, tree: git2::Oid, path: &[u8]) -> Result<bool, GitError> {
        let object = self.odb.read(tree)?;
        for entry in entries(object.data(), self.id_size) {
            let name = [path, b"/", entry.name].concat();
            let mode = mode_of(&entry);
            if entry.is_tree() {
                if !self.below(entry.id, &name)? {
                    return Ok(false);
                }
            } else if mode == SUBMODULE || self.entries.len() >= MOST {
                return Ok(false);
            } else {
                self.entries.insert(name, Entry::unknown(mode, entry.id));
            }
        }
        Ok(true)
    }
}

/// Takes over into `only` what the index at `source` knows of files of the same content, as
/// `git read-tree -m` would; when that index was written, by which Git tells what it has to compare.
fn recall(
    only: &mut BTreeMap<Vec<u8>, Entry>,
    source: &Path,
    id_size: usize,
) -> io::Result<Option<SystemTime>> {
    let strange = || io::Error::from(io::ErrorKind::Unsupported);
    if !shared_halves(source).is_empty() {
        return Err(strange());
    }
    let file = match File::open(source) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let modified = file.metadata()?.modified()?;
    let mut entries = Entries::new(file, id_size)?.ok_or_else(strange)?;
    let mut wanted = only.iter_mut().peekable();
    while let Some((name, _)) = wanted.peek() {
        entries.skip_before(name)?;
        let Some(entry) = entries.step()? else { break };
        while wanted.next_if(|(name, _)| name.as_slice() < entries.name()).is_some() {}
        match wanted.peek_mut() {
            None => break,
            Some((name, _)) if name.as_slice() != entries.name() => {}
            Some((_, here)) if here.is_same(&entry) => **here = entry,
            // Which of its marks another content keeps is Git's to know.
            Some(_) if entry.is_overlooked() => return Err(strange()),
            Some(_) => {}
        }
    }
    Ok(Some(modified))
}

/// Those of the paths that are folders, each as what lies in it begins, sorted.
fn folders_among(worktree: &Path, named: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let paths = named.iter().map(|path| path.join(&b'/'));
    let folders = paths.filter(|path| worktree.join(OsStr::from_bytes(path)).is_dir());
    let mut folders: Vec<Vec<u8>> = folders.map(|path| [&path, &b"/"[..]].concat()).collect();
    folders.sort();
    folders
}

/// Whether the index at `source` has something in one of `folders` that `only` has not: it was
/// added, and so is taken with its folder though it be ignored.
fn has_more(
    only: &BTreeMap<Vec<u8>, Entry>,
    folders: &[Vec<u8>],
    source: &Path,
    id_size: usize,
) -> io::Result<bool> {
    let Some(first) = folders.first().filter(|_| source.exists()) else { return Ok(false) };
    let entries = Entries::new(File::open(source)?, id_size)?;
    let mut entries = entries.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    entries.skip_before(first)?;
    while entries.step()?.is_some() {
        let name = entries.name();
        if folders.iter().any(|folder| name.starts_with(folder)) {
            if !only.contains_key(name) {
                return Ok(true);
            }
        } else if let Some(next) = folders.iter().find(|folder| folder.as_slice() > name) {
            entries.skip_before(next)?;
        } else {
            break;
        }
    }
    Ok(false)
}

/// What is to be at a path; `None` is nothing.
type Change = Option<(u32, git2::Oid)>;

impl Only {
    /// The tree `tip` with what changed in the index at `path`.
    ///
    /// # Errors
    /// [`GitError::Io`] if the index cannot be read; [`GitError::Library`].
    pub(super) fn write_tree(&self, repo: &Repo, path: &Path, tip: git2::Oid) -> Result<git2::Oid, GitError> {
        let changes = self.changes(path, repo.id_size()).map_err(io_error("read", path))?;
        let changes: Vec<(&[u8], Change)> =
            changes.iter().map(|(name, change)| (name.as_slice(), *change)).collect();
        let odb = repo.raw().odb()?;
        let mut new = NewTrees::of(repo);
        let tree = match rewrite(&odb, repo.id_size(), Some(tip), &changes, &mut new)? {
            Some(tree) => tree,
            None => new.add(Vec::new())?,
        };
        new.write(repo, &odb)?;
        Ok(tree)
    }

    /// What is at each of the paths in the index at `path`, whose ids have `id_size` bytes,
    /// and at those that came to them; `None` is nothing.
    ///
    /// # Errors
    /// If it cannot be read, or is not understood here.
    pub(super) fn entries_after(
        &self,
        path: &Path,
        id_size: usize,
    ) -> io::Result<BTreeMap<Vec<u8>, Option<Entry>>> {
        let mut all: BTreeMap<Vec<u8>, Option<Entry>> =
            self.0.keys().map(|name| (name.clone(), None)).collect();
        let entries = Entries::new(File::open(path)?, id_size)?;
        let mut entries = entries.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        while let Some(entry) = entries.step()? {
            all.insert(entries.name().to_vec(), Some(entry));
        }
        Ok(all)
    }

    /// What differs in the index at `path`.
    fn changes(&self, path: &Path, id_size: usize) -> io::Result<BTreeMap<Vec<u8>, Change>> {
        if !shared_halves(path).is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut changes: BTreeMap<Vec<u8>, Change> = self.0.keys().map(|name| (name.clone(), None)).collect();
        let entries = Entries::new(File::open(path)?, id_size)?;
        let mut entries = entries.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        while let Some(entry) = entries.step()? {
            let name = entries.name();
            if self.0.get(name).is_some_and(|before| before.is_same(&entry)) {
                changes.remove(name);
            } else {
                changes.insert(name.to_vec(), Some((entry.mode, entry.id)));
            }
        }
        Ok(changes)
    }
}

/// Makes `tree` with `changes`, which are sorted; `None` if nothing is left in it.
fn rewrite(
    odb: &git2::Odb<'_>,
    id_size: usize,
    tree: Option<git2::Oid>,
    changes: &[(&[u8], Change)],
    new: &mut NewTrees,
) -> Result<Option<git2::Oid>, GitError> {
    if changes.is_empty() {
        return Ok(tree);
    }
    let object = tree.map(|tree| odb.read(tree)).transpose()?;
    let data = object.as_ref().map(git2::OdbObject::data).unwrap_or_default();
    // By what trees are sorted by: a folder as if its name ended in a slash.
    let mut all: BTreeMap<Vec<u8>, (u32, git2::Oid)> =
        entries(data, id_size).map(|entry| (entry.key().collect(), (mode_of(&entry), entry.id))).collect();
    let mut folders: BTreeMap<&[u8], Vec<(&[u8], Change)>> = BTreeMap::new();
    for (path, change) in changes {
        match (path.iter().position(|byte| *byte == b'/'), change) {
            (Some(slash), _) => {
                folders.entry(&path[..=slash]).or_default().push((&path[slash + 1..], *change));
            }
            (None, Some(item)) => drop(all.insert(path.to_vec(), *item)),
            (None, None) => drop(all.remove(*path)),
        }
    }
    for (folder, changes) in folders {
        let below = all.get(folder).map(|(_, id)| *id);
        match rewrite(odb, id_size, below, &changes, new)? {
            Some(id) => drop(all.insert(folder.to_vec(), (TREE, id))),
            None => drop(all.remove(folder)),
        }
    }
    if all.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (key, (mode, id)) in &all {
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(key.strip_suffix(b"/").unwrap_or(key));
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    Ok(Some(new.add(bytes)?))
}
