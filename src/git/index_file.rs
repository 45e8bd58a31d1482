//! Reading the file of an index, without taking it apart any further than a capture needs.
//!
//! libgit2 makes an object of each entry, reads the hash of the whole file, and, to write a
//! tree, every tree that did not change. Here an index of 100,000 entries is looked through
//! in a few milliseconds. What is not understood is never guessed: an index of another
//! version, one that is split or sparse, unmerged or only intended entries are refused, and
//! git does the work.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::trees::SUBMODULE;

/// How an entry begins: times, device, inode, mode, owner, size. The id and the flags follow.
const STAT: usize = 40;
const FLAGS: usize = 2;
/// The length of an id where indexes are put together here, and of the beginning of an entry.
pub(super) const ID: usize = 20;
/// What stands for the hash of an index that has none.
pub(super) const NO_HASH: [u8; ID] = [0; ID];
pub(super) const FIXED: usize = STAT + ID + FLAGS;
/// The flag of an entry that has a second word of flags.
pub(super) const EXTENDED: u16 = 0x4000;
pub(super) const STAGE: u16 = 0x3000;
pub(super) const ASSUME_VALID: u16 = 0x8000;
const SKIP_WORKTREE: u16 = 0x4000;
const INTENT_TO_ADD: u16 = 0x2000;
pub(super) const NAME_LENGTH: u16 = 0x0fff;

/// An entry of an index, but for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// What Git knows of the file, as it lies there.
    pub(super) stat: [u8; STAT],
    pub(super) mode: u32,
    pub(super) id: git2::Oid,
    flags: u16,
    more_flags: u16,
}

impl Entry {
    /// The entry of a file that is not known, with this content.
    pub(super) fn unknown(mode: u32, id: git2::Oid) -> Self {
        let mut stat = [0; STAT];
        stat[24..28].copy_from_slice(&mode.to_be_bytes());
        Self { stat, mode, id, flags: 0, more_flags: 0 }
    }

    /// The entry that lies here, if it is one without a second word of flags.
    pub(super) fn read(fixed: &[u8]) -> Option<Self> {
        let fixed: &[u8; FIXED] = fixed.first_chunk()?;
        let mut stat = [0; STAT];
        stat.copy_from_slice(&fixed[..STAT]);
        let id = git2::Oid::from_bytes(&fixed[STAT..STAT + ID]).ok()?;
        let flags = u16::from_be_bytes([fixed[60], fixed[61]]);
        let mode = u32::from_be_bytes([stat[24], stat[25], stat[26], stat[27]]);
        (flags & EXTENDED == 0).then_some(Self { stat, mode, id, flags, more_flags: 0 })
    }

    /// Whether both name the same content.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.mode, self.id) == (other.mode, other.id)
    }

    /// Whether Git is told not to look at the file.
    pub(super) fn is_overlooked(&self) -> bool {
        self.flags & ASSUME_VALID != 0 || self.more_flags & SKIP_WORKTREE != 0
    }

    /// Whether it is what a commit could hold: merged, and added for real.
    fn is_plain(&self) -> bool {
        self.flags & STAGE == 0 && self.more_flags & INTENT_TO_ADD == 0
    }
}

/// The file of an index with these entries, whose ids have `id_size` bytes. It is not hashed: Git
/// does not look at the hash.
pub(super) fn index_of(entries: &BTreeMap<Vec<u8>, Entry>, id_size: usize) -> Vec<u8> {
    let extended = entries.values().any(|entry| entry.more_flags != 0);
    let mut file = b"DIRC".to_vec();
    file.extend_from_slice(&if extended { 3u32 } else { 2 }.to_be_bytes());
    file.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (name, entry) in entries {
        push_entry(&mut file, name, entry);
    }
    file.resize(file.len() + id_size, 0);
    file
}

/// Appends an entry as it lies in an index.
pub(super) fn push_entry(file: &mut Vec<u8>, name: &[u8], entry: &Entry) {
    let start = file.len();
    file.extend_from_slice(&entry.stat);
    file.extend_from_slice(entry.id.as_bytes());
    let length = u16::try_from(name.len()).unwrap_or(NAME_LENGTH).min(NAME_LENGTH);
    let more = if entry.more_flags == 0 { 0 } else { EXTENDED };
    let flags = entry.flags & !(NAME_LENGTH | EXTENDED) | length | more;
    file.extend_from_slice(&flags.to_be_bytes());
    if more != 0 {
        file.extend_from_slice(&entry.more_flags.to_be_bytes());
    }
    file.extend_from_slice(name);
    let length = (file.len() - start + 8) & !7;
    file.resize(start + length, 0);
}

/// The entries of an index, in order, from any reader.
pub(super) struct Entries<R> {
    reader: R,
    id_size: usize,
    version: u32,
    left: u32,
    /// What was read and not taken yet lies between these two.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    name: Vec<u8>,
}

impl<R: Read> Entries<R> {
    /// The entries of the index that `reader` reads, whose ids have `id_size` bytes; `None` if
    /// it is of no version known here.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn new(reader: R, id_size: usize) -> io::Result<Option<Self>> {
        let mut entries = Self {
            reader,
            id_size,
            version: 0,
            left: 0,
            buffer: vec![0; 64 << 10],
            start: 0,
            end: 0,
            name: Vec::new(),
        };
        if !entries.fill(12)? || &entries.buffer[..4] != b"DIRC" {
            return Ok(None);
        }
        entries.version = entries.word(4);
        entries.left = entries.word(8);
        entries.start = 12;
        Ok((2..=4).contains(&entries.version).then_some(entries))
    }

    /// Steps to the next entry; `None` after the last one.
    ///
    /// # Errors
    /// If the file cannot be read, ends early, or holds what is not understood here.
    pub(super) fn step(&mut self) -> io::Result<Option<Entry>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let fixed = STAT + self.id_size + FLAGS;
        self.need(fixed + FLAGS)?;
        let (fixed, more) = self.buffer[self.start..].split_at(fixed);
        let mut stat = [0; STAT];
        stat.copy_from_slice(&fixed[..STAT]);
        let id = git2::Oid::from_bytes(&fixed[STAT..STAT + self.id_size]).map_err(io::Error::other)?;
        let flags = u16::from_be_bytes([fixed[fixed.len() - 2], fixed[fixed.len() - 1]]);
        let mode = u32::from_be_bytes([stat[24], stat[25], stat[26], stat[27]]);
        let mut at = fixed.len();
        let more_flags = if flags & EXTENDED == 0 {
            0
        } else {
            at += FLAGS;
            u16::from_be_bytes([more[0], more[1]])
        };
        let entry = Entry { stat, mode, id, flags, more_flags };
        if !entry.is_plain() || mode & 0o170_000 == 0o040_000 {
            return Err(strange("entries of an unmerged or sparse index"));
        }
        self.read_name(at, usize::from(flags & NAME_LENGTH))?;
        Ok(Some(entry))
    }

    /// Passes over plain entries whose names come before `name`, without taking them apart.
    ///
    /// # Errors
    /// If the file cannot be read, or ends early.
    pub(super) fn skip_before(&mut self, name: &[u8]) -> io::Result<()> {
        let fixed = STAT + self.id_size + FLAGS;
        // In the fourth version a name hangs on the one before it.
        while self.version < 4 && self.left > 0 {
            self.need(fixed)?;
            let word = |at: usize| u16::from_be_bytes([self.buffer[at], self.buffer[at + 1]]);
            let flags = word(self.start + fixed - FLAGS);
            let folder = word(self.start + 26) & 0o170_000 == 0o040_000;
            let length = usize::from(flags & NAME_LENGTH);
            if flags & (EXTENDED | STAGE) != 0 || folder || length == usize::from(NAME_LENGTH) {
                return Ok(());
            }
            let whole = (fixed + length + 8) & !7;
            self.need(whole)?;
            if &self.buffer[self.start + fixed..self.start + fixed + length] >= name {
                return Ok(());
            }
            self.start += whole;
            self.left -= 1;
        }
        Ok(())
    }

    /// The name of the entry that was stepped to.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Takes the name that begins `at` bytes after the start of the entry, and ends the entry.
    fn read_name(&mut self, mut at: usize, length: usize) -> io::Result<()> {
        if self.version == 4 {
            let (mut strip, mut more) = (0usize, true);
            let mut first = true;
            while more {
                self.need(at + 1)?;
                let byte = self.buffer[self.start + at];
                at += 1;
                strip = if first { 0 } else { (strip + 1) << 7 } | usize::from(byte & 0x7f);
                (more, first) = (byte & 0x80 != 0 && strip < 1 << 20, false);
            }
            let kept = self.name.len().checked_sub(strip).ok_or_else(|| strange("a name"))?;
            self.name.truncate(kept);
        } else {
            self.name.clear();
        }
        // The length of a long name is not told; all of them end in NUL.
        let mut to = at + if length < usize::from(NAME_LENGTH) && self.version < 4 { length } else { 0 };
        loop {
            self.need(to + 1)?;
            let rest = &self.buffer[self.start + to..self.end];
            match rest.iter().position(|byte| *byte == 0) {
                Some(length) => break to += length,
                None => to += rest.len(),
            }
        }
        self.name.extend_from_slice(&self.buffer[self.start + at..self.start + to]);
        let whole = if self.version == 4 { to + 1 } else { (to + 8) & !7 };
        self.need(whole)?;
        self.start += whole;
        Ok(())
    }

    /// What follows the entries, but for the hash at the end of the file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn rest(mut self) -> io::Result<Vec<u8>> {
        let mut rest = self.buffer[self.start..self.end].to_vec();
        self.reader.read_to_end(&mut rest)?;
        rest.truncate(rest.len().saturating_sub(self.id_size));
        Ok(rest)
    }

    /// The big-endian number `at` bytes after the start.
    fn word(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.buffer[self.start + at..self.start + at + 4]);
        u32::from_be_bytes(word)
    }

    fn need(&mut self, length: usize) -> io::Result<()> {
        if self.fill(length)? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Has at least `length` bytes lie after the start; false if there are no more.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.end - self.start < length {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Whether the index at `path`, whose ids have `id_size` bytes, is understood here, so that
/// nothing in it is unmerged.
pub(super) fn is_understood(path: &Path, id_size: usize) -> bool {
    let look = || -> io::Result<bool> {
        let Some(mut entries) = Entries::new(File::open(path)?, id_size)? else { return Ok(false) };
        while entries.step()?.is_some() {}
        Ok(true)
    };
    look().unwrap_or(false)
}

/// Whether every entry of the index at `path`, whose ids have `id_size` bytes, is one that Git looks
/// at.
pub(super) fn overlooks_nothing(path: &Path, id_size: usize) -> bool {
    let look = || -> io::Result<bool> {
        let Some(mut entries) = Entries::new(File::open(path)?, id_size)? else { return Ok(false) };
        while let Some(entry) = entries.step()? {
            if entry.is_overlooked() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    look().unwrap_or(false)
}

/// Whether what is staged on the index at `path`, whose ids have `id_size` bytes, hangs on nothing
/// but the files: no entry is to be overlooked, none is a repository of its own, whose commits are
/// not in the worktree.
pub(super) fn hangs_on_files(path: &Path, id_size: usize) -> bool {
    let look = || -> io::Result<bool> {
        let Some(mut entries) = Entries::new(File::open(path)?, id_size)? else { return Ok(false) };
        while let Some(entry) = entries.step()? {
            if entry.is_overlooked() || entry.mode == SUBMODULE {
                return Ok(false);
            }
        }
        Ok(true)
    };
    look().unwrap_or(false)
}

/// An index that is not understood here.
fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// A folder as the index remembers it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) name: Vec<u8>,
    /// Its tree and how many entries of the index are below it; `None` if one of them changed.
    pub(super) tree: Option<(git2::Oid, usize)>,
    pub(super) folders: Vec<Remembered>,
}

/// The trees that an index remembers, by ids of `id_size` bytes, from what follows its entries;
/// `None` if there are none or something is there that must be understood and is not.
pub(super) fn remembered(mut extensions: &[u8], id_size: usize) -> Option<Remembered> {
    let mut found = None;
    while !extensions.is_empty() {
        let (head, rest) = extensions.split_at_checked(8)?;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let (data, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        match &head[..4] {
            b"TREE" => found = Some(folder(&mut &*data, id_size, 0)?),
            // Who does not know one that is not in capitals must not go on.
            name if !name[0].is_ascii_uppercase() => return None,
            _ => {}
        }
        extensions = rest;
    }
    found
}

fn folder(data: &mut &[u8], id_size: usize, depth: usize) -> Option<Remembered> {
    const DEEP: usize = 500;
    let mut until = |end: u8| {
        let at = data.iter().position(|byte| *byte == end)?;
        let (field, rest) = data.split_at(at);
        *data = &rest[1..];
        Some(field)
    };
    let name = until(0)?.to_vec();
    let count: i64 = std::str::from_utf8(until(b' ')?).ok()?.parse().ok()?;
    let folders: usize = std::str::from_utf8(until(b'\n')?).ok()?.parse().ok()?;
    let tree = match usize::try_from(count) {
        Err(_) => None,
        Ok(count) => {
            let (id, rest) = data.split_at_checked(id_size)?;
            *data = rest;
            Some((git2::Oid::from_bytes(id).ok()?, count))
        }
    };
    if depth > DEEP {
        return None;
    }
    let folders = (0..folders).map(|_| folder(data, id_size, depth + 1)).collect::<Option<Vec<_>>>()?;
    Some(Remembered { name, tree, folders })
}
