//! What differs between two trees.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use super::key::Key;
use super::line_counts::{self, Lines};
use super::trees::{Difference, differences, differences_among};
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, as bytes: Git does not say what encoding names are in.
    pub path: Vec<u8>,
    /// Lines added; `None` for binary content.
    pub insertions: Option<u64>,
    /// Lines removed; `None` for binary content.
    pub deletions: Option<u64>,
}

/// The paths that differ between `from` and `to`, renames taken apart, in the order of the
/// trees.
///
/// # Errors
/// [`GitError::Library`] if an object is missing.
pub fn changed(repo: &Repo, from: &TreeId, to: &TreeId) -> Result<Vec<Change>, GitError> {
    let tree = |id: &TreeId| repo.raw().find_tree(repo.oid(id.as_str())?);
    let (from, to) = (tree(from)?, tree(to)?);
    let differing = differences(repo, from.id(), to.id())?;
    if differing.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(counts) = line_counts::of(repo, &differing)? {
        let change = |(difference, counts): (Difference, Option<Lines>)| Change {
            path: difference.path,
            insertions: counts.map(|lines| lines.inserted),
            deletions: counts.map(|lines| lines.deleted),
        };
        return Ok(differing.into_iter().zip(counts).map(change).collect());
    }
    // libgit2 looks for attributes in the index as well: it would read all of it, and fail where
    // it is split or sparse. The files of the worktree tell text from binary.
    repo.raw().set_index(&mut git2::Index::new_ext(repo.raw().object_format())?)?;
    let mut options = git2::DiffOptions::new();
    options.disable_pathspec_match(true);
    for difference in differing {
        options.pathspec(difference.path);
    }
    let diff = repo.raw().diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
    let mut changes = Vec::with_capacity(diff.deltas().len());
    for (at, delta) in diff.deltas().enumerate() {
        let file = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes());
        let counts = match git2::Patch::from_diff(&diff, at)? {
            Some(patch) if !patch.delta().flags().contains(git2::DiffFlags::BINARY) => {
                let (_, insertions, deletions) = patch.line_stats()?;
                Some((insertions as u64, deletions as u64))
            }
            _ => None,
        };
        changes.push(Change {
            path: file.unwrap_or_default().to_vec(),
            insertions: counts.map(|(insertions, _)| insertions),
            deletions: counts.map(|(_, deletions)| deletions),
        });
    }
    Ok(changes)
}

/// Those of the paths in `wanted`, which is sorted, that differ between the trees of `from` and
/// `to`, sorted. No content is read, no folder that none of them is in, and renames are not
/// looked for: a renamed file is its old path and its new one, since both can get in
/// somebody's way.
///
/// # Errors
/// [`GitError::Library`] if a commit or a tree is missing or cannot be read.
pub fn changed_among(
    repo: &Repo,
    wanted: &[&[u8]],
    from: &CommitId,
    to: &CommitId,
) -> Result<Vec<Vec<u8>>, GitError> {
    let raw = repo.raw();
    let (old, new) = (
        raw.find_commit(repo.oid(from.as_str())?)?.tree_id(),
        raw.find_commit(repo.oid(to.as_str())?)?.tree_id(),
    );
    let differing = differences_among(&raw.odb()?, wanted, old, new)?;
    let mut paths: Vec<Vec<u8>> = differing.into_iter().map(|difference| difference.path).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// Counts how many paths differ between commits, for many pairs that share a side: nothing
/// but trees is read, those of the old side once, and no path is put together.
pub struct Counter<'repo> {
    repo: &'repo Repo,
    odb: git2::Odb<'repo>,
    old: RefCell<HashMap<Key, Rc<[u8]>>>,
}

/// An entry of a tree, as it lies there.
pub(super) struct Entry<'a> {
    pub(super) mode: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) id: git2::Oid,
}

impl Entry<'_> {
    pub(super) fn is_tree(&self) -> bool {
        self.mode == b"40000"
    }

    /// What trees are sorted by: a folder as if its name ended in a slash, so that a file and
    /// a folder of one name are two paths.
    pub(super) fn key(&self) -> impl Iterator<Item = u8> {
        self.name.iter().copied().chain(self.is_tree().then_some(b'/'))
    }

    pub(super) fn is_submodule(&self) -> bool {
        self.mode == b"160000"
    }

    /// Whether both are the same, whatever their names.
    pub(super) fn is(&self, other: &Entry<'_>) -> bool {
        self.id == other.id && self.mode == other.mode
    }

    /// Which of the two comes first in a tree, as their keys would tell.
    pub(super) fn order(&self, other: &Entry<'_>) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let last =
            |entry: &Entry<'_>| entry.name.get(common).copied().or_else(|| entry.is_tree().then_some(b'/'));
        self.name[..common].cmp(&other.name[..common]).then_with(|| last(self).cmp(&last(other)))
    }
}

/// The entries in the contents of a tree whose ids have `id_size` bytes, up to the first that
/// cannot be understood.
pub(super) fn entries(mut tree: &[u8], id_size: usize) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let space = tree.iter().position(|byte| *byte == b' ')?;
        let (mode, rest) = (&tree[..space], &tree[space + 1..]);
        let nul = rest.iter().position(|byte| *byte == 0)?;
        let (name, rest) = (&rest[..nul], &rest[nul + 1..]);
        let (id, rest) = rest.split_at_checked(id_size)?;
        let id = git2::Oid::from_bytes(id).ok()?;
        tree = rest;
        Some(Entry { mode, name, id })
    })
}

/// The entries in the contents of a tree, as [`entries`]; `None` if not all of them can be
/// understood.
pub(super) fn parsed(tree: &[u8], id_size: usize) -> Option<Vec<Entry<'_>>> {
    let mut length = 0;
    let entries: Vec<Entry<'_>> = entries(tree, id_size)
        .inspect(|entry| length += entry.mode.len() + entry.name.len() + 2 + id_size)
        .collect();
    (length == tree.len()).then_some(entries)
}

impl<'repo> Counter<'repo> {
    /// A counter that has read nothing yet.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn new(repo: &'repo Repo) -> Result<Self, GitError> {
        Ok(Self { repo, odb: repo.raw().odb()?, old: RefCell::default() })
    }

    /// The number of paths that differ between the trees of `from` and `to`; a renamed file
    /// is two.
    ///
    /// # Errors
    /// [`GitError::Library`] if a commit or a tree is missing or cannot be read.
    pub fn count(&self, from: &CommitId, to: &CommitId) -> Result<usize, GitError> {
        let tree = |commit: &CommitId| {
            Ok::<_, GitError>(self.repo.raw().find_commit(self.repo.oid(commit.as_str())?)?.tree_id())
        };
        let (old, new) = (tree(from)?, tree(to)?);
        self.between(old, new)
    }

    fn between(&self, old: git2::Oid, new: git2::Oid) -> Result<usize, GitError> {
        if old == new {
            return Ok(0);
        }
        let id_size = new.as_bytes().len();
        let (old, new) = (self.old(old)?, self.odb.read(new)?);
        let (mut old, mut new) = (entries(&old, id_size).peekable(), entries(new.data(), id_size).peekable());
        let mut count = 0;
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(count),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.order(new),
            };
            let (gone, come) = match order {
                Ordering::Less => (old.next(), None),
                Ordering::Greater => (None, new.next()),
                Ordering::Equal => (old.next(), new.next()),
            };
            count += match (gone, come) {
                (Some(old), Some(new)) if old.is(&new) => 0,
                (Some(old), Some(new)) if old.is_tree() => self.between(old.id, new.id)?,
                (Some(only), None) | (None, Some(only)) if only.is_tree() => self.all(only.id)?,
                _ => 1,
            };
        }
    }

    /// The number of files below a tree.
    fn all(&self, tree: git2::Oid) -> Result<usize, GitError> {
        let id_size = tree.as_bytes().len();
        let tree = self.odb.read(tree)?;
        let below = |entry: Entry<'_>| if entry.is_tree() { self.all(entry.id) } else { Ok(1) };
        entries(tree.data(), id_size).map(below).sum()
    }

    fn old(&self, tree: git2::Oid) -> Result<Rc<[u8]>, GitError> {
        if let Some(known) = self.old.borrow().get(&Key::from(tree)) {
            return Ok(Rc::clone(known));
        }
        let contents: Rc<[u8]> = self.odb.read(tree)?.data().into();
        self.old.borrow_mut().insert(tree.into(), Rc::clone(&contents));
        Ok(contents)
    }
}
