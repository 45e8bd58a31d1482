//! Writing many trees at once.
//!
//! libgit2 syncs each object before it gets its name, which for a thousand trees is a thousand
//! waits for the disk. Git syncs all objects of one command together. So a few are written by
//! libgit2, and many are given, as a pack, to `git unpack-objects`.

use std::collections::BTreeMap;

use sha1::{Digest as _, Sha1};

use super::index_file::ID;
use super::program::Program;
use super::{GitError, Repo};

/// How many trees are sooner written one by one than by another process.
const FEW: usize = 12;

/// The longest block that is stored as it is.
const BLOCK: usize = 0xffff;

/// Trees that are not written yet.
pub(super) struct NewTrees {
    /// Whether they wait: a pack of ours has ids by SHA-1.
    wait: bool,
    trees: BTreeMap<git2::Oid, Vec<u8>>,
}

impl NewTrees {
    /// None yet, of the repository `repo`.
    pub(super) fn of(repo: &Repo) -> Self {
        Self { wait: repo.id_size() == ID, trees: BTreeMap::new() }
    }

    /// Adds the tree with these bytes; its name.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub(super) fn add(&mut self, odb: &git2::Odb<'_>, bytes: Vec<u8>) -> Result<git2::Oid, GitError> {
        if !self.wait {
            return Ok(odb.write(git2::ObjectType::Tree, &bytes)?);
        }
        let id = git2::Oid::hash_object(git2::ObjectType::Tree, &bytes)?;
        self.trees.insert(id, bytes);
        Ok(id)
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// [`GitError::Library`]; [`GitError::Program`].
    pub(super) fn write(self, repo: &Repo, odb: &git2::Odb<'_>) -> Result<(), GitError> {
        let new: Vec<Vec<u8>> =
            self.trees.into_iter().filter(|(id, _)| !odb.exists(*id)).map(|(_, bytes)| bytes).collect();
        if new.len() <= FEW {
            return new.iter().try_for_each(|tree| Ok(odb.write(git2::ObjectType::Tree, tree).map(drop)?));
        }
        let mut command = repo.program().command(["unpack-objects", "-q"]);
        Program::run(&mut command, Some(&pack(&new))).map(drop)
    }
}

/// A pack of trees, none of them compressed: whoever unpacks it compresses them.
fn pack(trees: &[Vec<u8>]) -> Vec<u8> {
    const TREE: u8 = 2;
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&u32::try_from(trees.len()).unwrap_or(u32::MAX).to_be_bytes());
    for tree in trees {
        // The size, four bits and then seven at a time, the kind above the first four.
        let low = |size: usize, bits: usize| u8::try_from(size & ((1 << bits) - 1)).unwrap_or(0);
        let (mut byte, mut left) = (TREE << 4 | low(tree.len(), 4), tree.len() >> 4);
        while left > 0 {
            pack.push(byte | 0x80);
            (byte, left) = (low(left, 7), left >> 7);
        }
        pack.push(byte);
        store(&mut pack, tree);
    }
    let hash = Sha1::digest(&pack);
    pack.extend_from_slice(&hash);
    pack
}

/// Appends `bytes` as zlib would without compressing them.
fn store(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = bytes.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        to.push(u8::from(blocks.peek().is_none()));
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(&(!length).to_le_bytes());
        to.extend_from_slice(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    to.extend_from_slice(&(b << 16 | a).to_be_bytes());
}
