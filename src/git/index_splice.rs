//! Putting some entries into the file of an index, the rest of which stays as it lies there.
//!
//! Git takes an index apart and puts it together again to change one entry of it. Here what lies
//! between the changed entries is copied as it is, and of the trees that the index remembers those
//! on the way to a change get the new ones. What is not understood is never carried over (`None`):
//! another version of the format, a split or sparse index, entries that are unmerged or to be
//! overlooked, and what Git keeps beside the entries to look at fewer files, which hangs on them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::iter::Peekable;
use std::path::Path;
use std::time::SystemTime;

use super::GitError;
use super::diff::entries;
use super::index_file::{
    ASSUME_VALID, EXTENDED, Entry, FIXED, ID, NAME_LENGTH, Remembered, STAGE, push_entry, remembered,
};
use super::trees::mode_of;

/// How much stands before the first entry.
const HEADER: usize = 12;

/// An index in memory, as it lies in its file.
pub(super) struct Whole {
    bytes: Vec<u8>,
    /// Where the entries end.
    end: usize,
    count: usize,
    remembered: Remembered,
    /// When the file was written.
    pub(super) modified: SystemTime,
}

/// An entry where it lies.
struct Lying<'a> {
    from: usize,
    to: usize,
    name: &'a [u8],
}

impl Whole {
    /// Reads the index at `path`; `None` if git has to.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes)?;
        Ok(Self::of(bytes, meta.modified()?))
    }

    fn of(bytes: Vec<u8>, modified: SystemTime) -> Option<Self> {
        let head = bytes.get(..HEADER).filter(|head| head.starts_with(b"DIRC"))?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let count = usize::try_from(word(8)).ok().filter(|_| matches!(word(4), 2 | 3))?;
        let mut whole = Self { bytes, end: HEADER, count, remembered: Remembered::default(), modified };
        for _ in 0..count {
            whole.end = whole.entry(whole.end)?.to;
        }
        let rest = whole.bytes.get(whole.end..whole.bytes.len().checked_sub(ID)?)?;
        if !only_trees(rest) {
            return None;
        }
        whole.remembered = remembered(rest, ID)?;
        Some(whole)
    }

    /// The entry that begins `at` this place; `None` if it is not plain.
    fn entry(&self, at: usize) -> Option<Lying<'_>> {
        let fixed = self.bytes.get(at..at + FIXED)?;
        let flags = u16::from_be_bytes([fixed[FIXED - 2], fixed[FIXED - 1]]);
        let folder = fixed[24..28] == [0, 0, 0o100, 0];
        if flags & (ASSUME_VALID | EXTENDED | STAGE) != 0 || folder {
            return None;
        }
        let rest = &self.bytes[at + FIXED..];
        let length = match usize::from(flags & NAME_LENGTH) {
            // That of a long name is not told.
            length if length == usize::from(NAME_LENGTH) => rest.iter().position(|byte| *byte == 0)?,
            length => length,
        };
        let name = rest.get(..length).filter(|_| rest.get(length) == Some(&0))?;
        Some(Lying { from: at, to: at + ((FIXED + length + 8) & !7), name })
    }

    /// All entries.
    fn lying(&self) -> impl Iterator<Item = Lying<'_>> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let entry = (at < self.end).then(|| self.entry(at)).flatten()?;
            at = entry.to;
            Some(entry)
        })
    }

    /// Takes over into `only` what is known of files of the same content.
    pub(super) fn recall(&self, only: &mut BTreeMap<Vec<u8>, Entry>) {
        let mut wanted = only.iter_mut().peekable();
        for lying in self.lying() {
            while wanted.next_if(|(name, _)| name.as_slice() < lying.name).is_some() {}
            let Some((_, here)) = wanted.next_if(|(name, _)| name.as_slice() == lying.name) else {
                if wanted.peek().is_none() {
                    return;
                }
                continue;
            };
            if let Some(entry) =
                Entry::read(&self.bytes[lying.from..lying.to]).filter(|entry| here.is_same(entry))
            {
                *here = entry;
            }
        }
    }

    /// Whether all entries together are the tree `tree`. Where git forgot the tree of a folder, as
    /// `git add` does, the entries are compared.
    ///
    /// # Errors
    /// [`GitError::Library`] if a tree cannot be read.
    pub(super) fn is(&mut self, odb: &git2::Odb<'_>, tree: git2::Oid) -> Result<bool, GitError> {
        if self.remembered.tree == Some((tree, self.count)) {
            return Ok(true);
        }
        let mut remembered = std::mem::take(&mut self.remembered);
        let mut entries = self.lying().peekable();
        let mut recall = Recall { odb, bytes: &self.bytes, entries: &mut entries };
        let same = recall.folder(&mut remembered, tree, b"")? && entries.peek().is_none();
        drop(entries);
        self.remembered = remembered;
        Ok(same && self.remembered.tree == Some((tree, self.count)))
    }

    /// This index, which is a tree, with `entries` at their names, after which it is the tree
    /// `tree`, but for the hash at its end.
    ///
    /// # Errors
    /// [`GitError::Library`] if a tree cannot be read.
    pub(super) fn with(
        mut self,
        odb: &git2::Odb<'_>,
        tree: git2::Oid,
        entries: &BTreeMap<Vec<u8>, Option<Entry>>,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let mut wanted = entries.iter().peekable();
        let mut changes: Vec<(&[u8], isize)> = Vec::new();
        let mut edits = Vec::new();
        let mut put = |from: usize, to: usize, name: &[u8], entry: &Option<Entry>| {
            let mut with = Vec::new();
            entry.iter().for_each(|entry| push_entry(&mut with, name, entry));
            edits.push(Edit { from, to, with });
        };
        for lying in self.lying() {
            while let Some((name, entry)) = wanted.next_if(|(name, _)| name.as_slice() < lying.name) {
                put(lying.from, lying.from, name, entry);
                if entry.is_some() {
                    changes.push((name, 1));
                }
            }
            if let Some((name, entry)) = wanted.next_if(|(name, _)| name.as_slice() == lying.name) {
                put(lying.from, lying.to, name, entry);
                let before = Entry::read(&self.bytes[lying.from..lying.to]);
                if !entry.as_ref().zip(before.as_ref()).is_some_and(|(now, before)| now.is_same(before)) {
                    changes.push((name, if entry.is_some() { 0 } else { -1 }));
                }
            }
            if wanted.peek().is_none() {
                break;
            }
        }
        for (name, entry) in wanted {
            put(self.end, self.end, name, entry);
            if entry.is_some() {
                changes.push((name, 1));
            }
        }
        let Some(count) = self.count.checked_add_signed(changes.iter().map(|(_, more)| more).sum()) else {
            return Ok(None);
        };
        if !renew(odb, &mut self.remembered, tree, &changes)? || self.remembered.tree != Some((tree, count)) {
            return Ok(None);
        }
        self.bytes.truncate(self.end);
        let mut file = edited(self.bytes, &edits);
        file[8..HEADER].copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        let mut trees = Vec::new();
        put_trees(&mut trees, &self.remembered);
        file.extend_from_slice(b"TREE");
        file.extend_from_slice(&u32::try_from(trees.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend_from_slice(&trees);
        Ok(Some(file))
    }
}

/// What comes in the place of some bytes.
struct Edit {
    from: usize,
    to: usize,
    with: Vec<u8>,
}

/// `bytes` with `edits`, which are in the order of their places. An entry whose file changed is as
/// long as before: where there is nothing else nothing is copied.
fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    if edits.iter().all(|edit| edit.to - edit.from == edit.with.len()) {
        for edit in edits {
            bytes[edit.from..edit.to].copy_from_slice(&edit.with);
        }
        return bytes;
    }
    let more: usize = edits.iter().map(|edit| edit.with.len()).sum();
    // Room for the trees behind it too.
    let mut file = Vec::with_capacity(bytes.len() + bytes.len() / 16 + more);
    let mut from = 0;
    for edit in edits {
        file.extend_from_slice(&bytes[from..edit.from]);
        file.extend_from_slice(&edit.with);
        from = edit.to;
    }
    file.extend_from_slice(&bytes[from..]);
    file
}

/// Looks what trees folders are that git forgot.
struct Recall<'a, 'e, I: Iterator<Item = Lying<'e>>> {
    odb: &'a git2::Odb<'a>,
    bytes: &'e [u8],
    entries: &'a mut Peekable<I>,
}

impl<'e, I: Iterator<Item = Lying<'e>>> Recall<'_, 'e, I> {
    /// Whether the next entries, whose names begin with `prefix`, are the tree `tree`.
    fn folder(&mut self, folder: &mut Remembered, tree: git2::Oid, prefix: &[u8]) -> Result<bool, GitError> {
        if let Some((known, count)) = folder.tree {
            return Ok(known == tree && self.entries.by_ref().take(count).count() == count);
        }
        let object = self.odb.read(tree)?;
        let mut count = 0;
        for entry in entries(object.data(), ID) {
            let name = [prefix, entry.name].concat();
            if entry.is_tree() {
                let known = folder.folders.iter_mut().find(|one| one.name == entry.name);
                let mut unknown = Remembered::default();
                let one = known.unwrap_or(&mut unknown);
                if !self.folder(one, entry.id, &[&name, &b"/"[..]].concat())? {
                    return Ok(false);
                }
                count += one.tree.map_or(0, |(_, count)| count);
                continue;
            }
            let Some(lying) = self.entries.next_if(|lying| lying.name == name) else { return Ok(false) };
            let there = Entry::read(&self.bytes[lying.from..lying.to]);
            if !there.is_some_and(|there| there.is_same(&Entry::unknown(mode_of(&entry), entry.id))) {
                return Ok(false);
            }
            count += 1;
        }
        folder.tree = Some((tree, count));
        // What else is in the folder is not in the tree.
        Ok(self.entries.peek().is_none_or(|next| !next.name.starts_with(prefix)) || prefix.is_empty())
    }
}

/// Whether nothing is kept beside the entries but trees, and places in the file.
fn only_trees(mut extensions: &[u8]) -> bool {
    while let Some((head, rest)) = extensions.split_at_checked(8) {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if !matches!(&head[..4], b"TREE" | b"EOIE" | b"IEOT") || rest.len() < length {
            return false;
        }
        extensions = &rest[length..];
    }
    extensions.is_empty()
}

/// Gives `folder`, in which there are so many more entries at each of these paths, the tree
/// `tree`, and those on the way to the paths theirs; false where it is not known what was there.
fn renew(
    odb: &git2::Odb<'_>,
    folder: &mut Remembered,
    tree: git2::Oid,
    changes: &[(&[u8], isize)],
) -> Result<bool, GitError> {
    let more: isize = changes.iter().map(|(_, more)| more).sum();
    let Some(count) = folder.tree.and_then(|(_, count)| count.checked_add_signed(more)) else {
        return Ok(false);
    };
    folder.tree = Some((tree, count));
    let mut below: BTreeMap<&[u8], Vec<(&[u8], isize)>> = BTreeMap::new();
    for (path, more) in changes {
        if let Some(slash) = path.iter().position(|byte| *byte == b'/') {
            below.entry(&path[..slash]).or_default().push((&path[slash + 1..], *more));
        }
    }
    if below.is_empty() {
        return Ok(true);
    }
    let object = odb.read(tree)?;
    let trees: BTreeMap<&[u8], git2::Oid> = entries(object.data(), ID)
        .filter(|entry| entry.is_tree() && below.contains_key(entry.name))
        .map(|entry| (entry.name, entry.id))
        .collect();
    let mut known = true;
    let mut kept = Vec::with_capacity(folder.folders.len());
    for mut one in std::mem::take(&mut folder.folders) {
        match (below.get(one.name.as_slice()), trees.get(one.name.as_slice())) {
            (None, _) => kept.push(one),
            // A folder that went is not remembered; one that is new need not be.
            (Some(_), None) => {}
            (Some(changes), Some(tree)) => {
                known &= renew(odb, &mut one, *tree, changes)?;
                kept.push(one);
            }
        }
    }
    folder.folders = kept;
    Ok(known)
}

fn put_trees(to: &mut Vec<u8>, folder: &Remembered) {
    to.extend_from_slice(&folder.name);
    let count = folder.tree.map_or_else(|| "-1".to_owned(), |(_, count)| count.to_string());
    to.extend_from_slice(format!("\0{count} {}\n", folder.folders.len()).as_bytes());
    if let Some((tree, _)) = folder.tree {
        to.extend_from_slice(tree.as_bytes());
    }
    folder.folders.iter().for_each(|folder| put_trees(to, folder));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_edited_in_place_and_what_is_copied_come_out_alike() {
        let edit = |from, to, with: &str| Edit { from, to, with: with.into() };
        let cases = [
            (vec![], "0123456789"),
            (vec![edit(2, 4, "ab"), edit(9, 10, "c")], "01ab45678c"),
            (vec![edit(2, 4, "ab"), edit(5, 5, "new"), edit(9, 10, "c")], "01ab4new5678c"),
            (vec![edit(0, 3, ""), edit(10, 10, "last")], "3456789last"),
            // As long in all, and not each.
            (vec![edit(0, 1, "ab"), edit(5, 6, "")], "ab12346789"),
        ];
        for (edits, expected) in cases {
            assert_eq!(edited(b"0123456789".to_vec(), &edits), expected.as_bytes());
        }
    }
}
