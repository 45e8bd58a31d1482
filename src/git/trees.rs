//! Which files differ between two trees.
//!
//! libgit2's own comparison reads every tree of both sides. Here a folder that both sides
//! have alike is not looked into, so that the cost is that of what changed.

use std::cmp::Ordering;

use super::diff::{Entry, entries};
use super::{GitError, Repo};

/// A file, link or submodule in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// Its mode, as Git reads it: one of five.
    pub(super) mode: u32,
    /// What it names.
    pub(super) id: git2::Oid,
}

impl Item {
    pub(super) fn is_submodule(self) -> bool {
        self.mode == SUBMODULE
    }

    /// Whether it is of another kind: a link where a file was. The bit of a program is none.
    fn is_unlike(self, other: Self) -> bool {
        self.mode & KIND != other.mode & KIND
    }
}

/// The part of a mode that tells files, links and submodules apart.
const KIND: u32 = 0o170_000;
pub(super) const FILE: u32 = 0o100_644;
pub(super) const PROGRAM: u32 = 0o100_755;
pub(super) const LINK: u32 = 0o120_000;
pub(super) const SUBMODULE: u32 = 0o160_000;

/// A path that differs, with what is there on each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// From the top folder.
    pub(super) path: Vec<u8>,
    pub(super) old: Option<Item>,
    pub(super) new: Option<Item>,
}

impl Difference {
    /// Whether what it is about is in this repository: of a submodule nothing is.
    pub(super) fn is_here(&self) -> bool {
        ![self.old, self.new].into_iter().flatten().any(Item::is_submodule)
    }

    /// What is new there: nothing was, or something of another kind.
    pub(super) fn added(&self) -> Option<Item> {
        self.new.filter(|new| self.old.is_none_or(|old| old.is_unlike(*new)))
    }
}

/// The mode of an entry, as Git makes one of what old or foreign programs wrote.
pub(super) fn mode_of(entry: &Entry<'_>) -> u32 {
    let digits = entry.mode.iter().fold(0, |mode, digit| mode * 8 + u32::from(digit.wrapping_sub(b'0') & 7));
    match digits & KIND {
        0o100_000 if digits & 0o100 != 0 => PROGRAM,
        0o100_000 => FILE,
        0o120_000 => LINK,
        0o040_000 => 0o040_000,
        _ => SUBMODULE,
    }
}

/// The paths that differ between the trees `from` and `to`, in the order of the trees: a file
/// that became a folder is one path that went and others that came.
///
/// # Errors
/// [`GitError::Library`] if a tree is missing.
pub(super) fn differences(repo: &Repo, from: git2::Oid, to: git2::Oid) -> Result<Vec<Difference>, GitError> {
    let odb = repo.raw().odb()?;
    let mut walk =
        Walk { odb: &odb, id_size: repo.id_size(), wanted: None, path: Vec::new(), found: Vec::new() };
    walk.compare(Some(from), Some(to))?;
    Ok(walk.found)
}

/// As [`differences`], of the paths in `wanted` alone, which is sorted. A folder that has none of
/// them is not looked into.
///
/// # Errors
/// [`GitError::Library`] if a tree is missing.
pub(super) fn differences_among(
    odb: &git2::Odb<'_>,
    wanted: &[&[u8]],
    from: git2::Oid,
    to: git2::Oid,
) -> Result<Vec<Difference>, GitError> {
    let id_size = to.as_bytes().len();
    let mut walk = Walk { odb, id_size, wanted: Some(wanted), path: Vec::new(), found: Vec::new() };
    walk.compare(Some(from), Some(to))?;
    Ok(walk.found)
}

struct Walk<'odb> {
    odb: &'odb git2::Odb<'odb>,
    id_size: usize,
    /// What is looked for, if not everything.
    wanted: Option<&'odb [&'odb [u8]]>,
    path: Vec<u8>,
    found: Vec<Difference>,
}

impl Walk<'_> {
    fn compare(&mut self, old: Option<git2::Oid>, new: Option<git2::Oid>) -> Result<(), GitError> {
        if old == new {
            return Ok(());
        }
        let odb = self.odb;
        let read = |tree: Option<git2::Oid>| tree.map(|tree| odb.read(tree)).transpose();
        let (old, new) = (read(old)?, read(new)?);
        let data = |object| Option::map_or(object, &[][..], git2::OdbObject::data);
        let (old, new) = (data(old.as_ref()), data(new.as_ref()));
        let (mut old, mut new) =
            (entries(old, self.id_size).peekable(), entries(new, self.id_size).peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.order(new),
            };
            match order {
                Ordering::Less => self.entry(old.next(), None)?,
                Ordering::Greater => self.entry(None, new.next())?,
                Ordering::Equal => self.entry(old.next(), new.next())?,
            }
        }
    }

    /// Two entries of the same name and kind, or one that the other side has not.
    fn entry(&mut self, old: Option<Entry<'_>>, new: Option<Entry<'_>>) -> Result<(), GitError> {
        let Some(any) = old.as_ref().or(new.as_ref()) else { return Ok(()) };
        if old.as_ref().is_some_and(|old| new.as_ref().is_some_and(|new| old.is(new))) {
            return Ok(());
        }
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(any.name);
        if !self.is_wanted(any.is_tree()) {
            // Nobody asked.
        } else if any.is_tree() {
            self.compare(old.map(|entry| entry.id), new.map(|entry| entry.id))?;
        } else {
            let item = |entry: &Entry<'_>| Item { mode: mode_of(entry), id: entry.id };
            let (old, new) = (old.as_ref().map(item), new.as_ref().map(item));
            if old != new {
                self.found.push(Difference { path: self.path.clone(), old, new });
            }
        }
        self.path.truncate(length);
        Ok(())
    }

    /// Whether the path, or one in it if it is a folder, is looked for.
    fn is_wanted(&mut self, folder: bool) -> bool {
        let Some(wanted) = self.wanted else { return true };
        if !folder {
            return wanted.binary_search(&self.path.as_slice()).is_ok();
        }
        self.path.push(b'/');
        let first = wanted.partition_point(|path| *path < self.path.as_slice());
        let found = wanted.get(first).is_some_and(|path| path.starts_with(&self.path));
        self.path.pop();
        found
    }
}
