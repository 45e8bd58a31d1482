//! Writing many trees at once.
//!
//! libgit2 syncs each object before it gets its name, which for a thousand trees is a thousand
//! waits for the disk. Git syncs all objects of one command together. So a few are written by
//! libgit2, and many are given to Git as a pack, which it takes apart, or keeps as it is where
//! that would be as many files as it keeps a pack for after a fetch.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::key::Key;
use super::program::Program;
use super::stage::io_error;
use super::{GitError, Repo};

/// How many trees are sooner written one by one than by another process.
const FEW: usize = 12;

/// From how many new objects on they are kept in one pack: Git's own measure for what a fetch
/// brings (`fetch.unpackLimit`).
pub(super) const MANY: usize = 100;

/// Trees that are not written yet.
pub(super) struct NewTrees {
    format: git2::ObjectFormat,
    /// In the order in which they were added, those that lie in others first.
    trees: Vec<(git2::Oid, Vec<u8>)>,
    added: HashSet<Key>,
}

impl NewTrees {
    /// None yet, of the repository `repo`.
    pub(super) fn of(repo: &Repo) -> Self {
        Self { format: repo.raw().object_format(), trees: Vec::new(), added: HashSet::new() }
    }

    /// Adds the tree with these bytes; its name.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub(super) fn add(&mut self, bytes: Vec<u8>) -> Result<git2::Oid, GitError> {
        let id = git2::Oid::hash_object_ext(git2::ObjectType::Tree, &bytes, self.format)?;
        if self.added.insert(id.into()) {
            self.trees.push((id, bytes));
        }
        Ok(id)
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// [`GitError::Library`]; [`GitError::Program`].
    pub(super) fn write(self, repo: &Repo, odb: &git2::Odb<'_>) -> Result<(), GitError> {
        // A tree that another process has written just now may be written again.
        let known = |id: git2::Oid| odb.exists_ext(id, git2::OdbLookupFlags::NO_REFRESH);
        let new: Vec<Vec<u8>> =
            self.trees.into_iter().filter(|(id, _)| !known(*id)).map(|(_, bytes)| bytes).collect();
        if new.len() <= FEW {
            return new.iter().try_for_each(|tree| Ok(odb.write(git2::ObjectType::Tree, tree).map(drop)?));
        }
        let args: &[&str] =
            if new.len() < MANY { &["unpack-objects", "-q"] } else { &["index-pack", "--stdin"] };
        let pack = pack(&new, self.format).map_err(io_error("make", Path::new("a pack")))?;
        Program::run(&mut repo.program().command(args), Some(&pack))?;
        Ok(odb.refresh()?)
    }
}

/// A pack of trees, compressed as Git compresses objects that are files.
fn pack(trees: &[Vec<u8>], format: git2::ObjectFormat) -> io::Result<Vec<u8>> {
    const TREE: u8 = 2;
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&u32::try_from(trees.len()).unwrap_or(u32::MAX).to_be_bytes());
    // One for all: what it works with is larger than any tree.
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    for tree in trees {
        // The size, four bits and then seven at a time, the kind above the first four.
        let low = |size: usize, bits: usize| u8::try_from(size & ((1 << bits) - 1)).unwrap_or(0);
        let (mut byte, mut left) = (TREE << 4 | low(tree.len(), 4), tree.len() >> 4);
        while left > 0 {
            pack.push(byte | 0x80);
            (byte, left) = (low(left, 7), left >> 7);
        }
        pack.push(byte);
        encoder.write_all(tree)?;
        pack.extend_from_slice(&encoder.reset(Vec::new())?);
    }
    let hash = match format {
        git2::ObjectFormat::Sha256 => Sha256::digest(&pack).to_vec(),
        git2::ObjectFormat::Sha1 => Sha1::digest(&pack).to_vec(),
    };
    pack.extend_from_slice(&hash);
    Ok(pack)
}
