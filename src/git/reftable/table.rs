//! One table of a reftable stack: looking up refs in a file of sorted, prefix-compressed
//! blocks (gitformat-reftable, versions 1 and 2).
//!
//! Only refs are read. A lookup reads one block a level of the index, so that its cost does not
//! grow with the number of refs. A table is never changed once it has its name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::backend::Value;
use crate::names::{CommitId, hex};

/// An open table.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    /// Where blocks end and the footer begins.
    end: u64,
    /// What blocks are padded to; 0 if they are not.
    block_size: usize,
    header: usize,
    /// How many bytes an object id has.
    id_size: usize,
    /// The number of its first transaction: others are told from it.
    first: u64,
    /// Where the index of the refs begins, if there is one.
    index: Option<u64>,
}

const REFS: u8 = b'r';
const INDEX: u8 = b'i';
/// What Git writes by default; the first guess of how much to read at once.
const USUAL_BLOCK: usize = 4096;

/// The contents of a block of refs or of an index.
struct Block {
    kind: u8,
    /// From the start of the file's block, its header included.
    bytes: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    /// Where records end.
    end: usize,
    /// Where the next block begins in the file.
    next: u64,
    /// The key of the last record.
    key: Vec<u8>,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {what}"))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Table {
    /// Opens the table at `path`, in which ids have `id_size` bytes.
    pub(super) fn open(path: &Path, id_size: usize) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut start = [0u8; 28];
        file.read_exact_at(&mut start, 0)?;
        if &start[..4] != b"REFT" {
            return Err(damaged("it does not begin as a table"));
        }
        let (header, hash) = match start[4] {
            1 => (24, 20),
            2 if &start[24..28] == b"sha1" => (28, 20),
            2 if &start[24..28] == b"s256" => (28, 32),
            2 => return Err(damaged("its object ids are of a hash that is not known")),
            version => return Err(damaged(&format!("version {version} is not known"))),
        };
        if hash != id_size {
            return Err(damaged("its object ids are not of the repository's hash"));
        }
        // The header again, five numbers of eight bytes, a checksum.
        let footer = header + 44;
        let end = size.checked_sub(footer as u64).ok_or_else(|| damaged("it has no footer"))?;
        let mut text = vec![0u8; footer];
        file.read_exact_at(&mut text, end)?;
        if text[..header] != start[..header] {
            return Err(damaged("its footer is not its header's"));
        }
        let (first, index) = (number(&start[8..16]), number(&text[header..header + 8]));
        let block_size = usize::try_from(number(&start[5..8])).unwrap_or(0);
        Ok(Self { file, end, block_size, header, id_size, first, index: (index > 0).then_some(index) })
    }

    /// The block at `at`; `None` where there are no blocks any more.
    fn block(&self, at: u64) -> io::Result<Option<Block>> {
        if at >= self.end {
            return Ok(None);
        }
        let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        let mut bytes = vec![0u8; left.min(self.block_size.max(USUAL_BLOCK))];
        self.file.read_exact_at(&mut bytes, at)?;
        let header = if at == 0 { self.header } else { 0 };
        let start = bytes.get(header..header + 4).ok_or_else(|| damaged("a block is cut short"))?;
        let kind = start[0];
        if kind != REFS && kind != INDEX {
            return Ok(None);
        }
        let length = usize::try_from(number(&start[1..4])).unwrap_or(usize::MAX);
        if length > left || length < header + 6 {
            return Err(damaged("a block has no possible length"));
        }
        if length > bytes.len() {
            bytes.resize(length, 0);
            self.file.read_exact_at(&mut bytes, at)?;
        }
        // A block that is not padded is followed by the next one at once.
        let unpadded = bytes.get(length).is_some_and(|byte| *byte != 0);
        let next = if self.block_size == 0 || length >= self.block_size || unpadded {
            length
        } else {
            self.block_size
        };
        bytes.truncate(length);
        let restarts = usize::try_from(number(&bytes[length - 2..])).unwrap_or(usize::MAX);
        let end = (length - 2).checked_sub(restarts.saturating_mul(3));
        let end = end.filter(|end| *end >= header + 4).ok_or_else(|| damaged("a block is all restarts"))?;
        Ok(Some(Block { kind, bytes, at: header + 4, end, next: at + next as u64, key: Vec::new() }))
    }

    /// The records of refs from `name` on, in the order of their names, with the number of the
    /// transaction that wrote each, for as long as `each` says.
    pub(super) fn from(
        &self,
        name: &[u8],
        mut each: impl FnMut(&[u8], Value, u64) -> bool,
    ) -> io::Result<()> {
        let Some(mut block) = self.leading_to(name)? else { return Ok(()) };
        loop {
            while let Some(kind) = block.record()? {
                let count = self.first.saturating_add(block.varint()?);
                let value = self.value(&mut block, kind)?;
                if block.key.as_slice() >= name && !each(&block.key, value, count) {
                    return Ok(());
                }
            }
            match self.block(block.next)? {
                Some(next) if next.kind == REFS => block = next,
                _ => return Ok(()),
            }
        }
    }

    /// The block of refs that has `name`, if any does; `None` if all names come before it.
    fn leading_to(&self, name: &[u8]) -> io::Result<Option<Block>> {
        let mut at = self.index.unwrap_or(0);
        // Each level is smaller by orders of magnitude.
        for _ in 0..16 {
            let Some(mut block) = self.block(at)? else { return Ok(None) };
            if block.kind == REFS {
                return Ok(Some(block));
            }
            let mut below = None;
            while block.record()?.is_some() {
                let place = block.varint()?;
                if block.key.as_slice() >= name {
                    below = Some(place);
                    break;
                }
            }
            match below {
                Some(place) => at = place,
                None => return Ok(None),
            }
        }
        Err(damaged("its index leads nowhere"))
    }

    /// The value of a record, after its number.
    fn value(&self, block: &mut Block, kind: u8) -> io::Result<Value> {
        match kind {
            0 => Ok(Value::Gone),
            1 | 2 => {
                let id = hex(block.take(self.id_size)?);
                if kind == 2 {
                    block.take(self.id_size)?;
                }
                CommitId::parse(&id).map(Value::Id).map_err(|_| damaged("it holds no object id"))
            }
            3 => {
                let length = block.varint()?;
                let target = block.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                Ok(Value::Symbolic(String::from_utf8_lossy(target).into_owned()))
            }
            _ => Err(damaged("a ref has a value of no known kind")),
        }
    }
}

impl Block {
    /// Reads the next record's key; what kind of value follows it. `None` at the end.
    fn record(&mut self) -> io::Result<Option<u8>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let shared = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let rest = self.varint()?;
        let kind = u8::try_from(rest & 7).unwrap_or(0);
        let rest = self.take(usize::try_from(rest >> 3).unwrap_or(usize::MAX))?.to_vec();
        if shared > self.key.len() {
            return Err(damaged("a name begins with what none had before it"));
        }
        self.key.truncate(shared);
        self.key.extend(rest);
        Ok(Some(kind))
    }

    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end);
        let end = end.ok_or_else(|| damaged("a record is cut short"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A number in as many bytes as it needs, as in packs.
    fn varint(&mut self) -> io::Result<u64> {
        let mut byte = self.take(1)?[0];
        let mut value = u64::from(byte & 127);
        while byte & 128 != 0 {
            byte = self.take(1)?[0];
            let more = value.checked_add(1).and_then(|value| value.checked_mul(128));
            value = more.ok_or_else(|| damaged("a number is too large"))? | u64::from(byte & 127);
        }
        Ok(value)
    }
}
