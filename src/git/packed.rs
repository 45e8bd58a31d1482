//! Looking up refs in the file `packed-refs`, by bisection: its cost does not grow with the number
//! of refs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::GitError;
use super::listing::id_of;
use crate::names::CommitId;

/// The first packed ref whose name begins with `prefix`.
pub(super) fn below(path: &Path, prefix: &str) -> Result<Option<String>, GitError> {
    Ok(line(path, prefix)?.and_then(|line| ref_name(&line).map(lossy)))
}

/// The line of the first packed ref whose name begins with `prefix`, found by bisection, so
/// that its cost does not grow with the number of refs.
pub(super) fn line(path: &Path, prefix: &str) -> Result<Option<Vec<u8>>, GitError> {
    let first = first(path, prefix)?;
    Ok(match first {
        First::None => None,
        First::At { line, .. } => Some(line),
        First::Unsorted(text) => {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| is_below(line, prefix));
            lines.min_by_key(|line| ref_name(line)).map(<[u8]>::to_vec)
        }
    })
}

/// The names of all packed refs that begin with `prefix`, and their ids.
pub(super) fn all_below(path: &Path, prefix: &str) -> Result<Vec<(Vec<u8>, CommitId)>, GitError> {
    // Git does not go on where it meets any other line either.
    let strange = |line: &[u8]| GitError::Unusable {
        path: path.parent().unwrap_or(path).to_owned(),
        reason: format!("the line \"{}\" in its packed-refs is none of a ref", line.escape_ascii()),
    };
    let parsed = |line: &[u8]| {
        let name = ref_name(line).ok_or_else(|| strange(line))?;
        let id = id_of(&line[..line.len() - name.len() - 1]).ok_or_else(|| strange(line))?;
        Ok((name.to_vec(), id))
    };
    let (mut file, start) = match first(path, prefix)? {
        First::None => return Ok(Vec::new()),
        First::At { file, start, .. } => (file, start),
        First::Unsorted(text) => {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| is_below(line, prefix));
            return lines.map(parsed).collect();
        }
    };
    let io = |source| GitError::Io { action: "read", path: path.to_owned(), source };
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut found = Vec::new();
    for line in BufReader::with_capacity(64 << 10, file).split(b'\n') {
        let line = line.map_err(io)?;
        // What a tag points to.
        if line.starts_with(b"^") {
            continue;
        }
        let (name, id) = parsed(&line)?;
        if !name.starts_with(prefix.as_bytes()) {
            break;
        }
        found.push((name, id));
    }
    Ok(found)
}

/// Where packed refs that begin with a prefix begin.
enum First {
    /// There are none.
    None,
    /// In the file at `start`, with `line`.
    At { file: File, start: u64, line: Vec<u8> },
    /// Anywhere: a file that was written by an old Git is not sorted.
    Unsorted(Vec<u8>),
}

fn is_below(line: &[u8], prefix: &str) -> bool {
    ref_name(line).is_some_and(|name| name.starts_with(prefix.as_bytes()))
}

fn first(path: &Path, prefix: &str) -> Result<First, GitError> {
    let io = |source| GitError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(First::None),
        Err(error) => return Err(io(error)),
    };
    let size = file.metadata().map_err(io)?.len();
    let mut header = vec![0u8; 256.min(usize::try_from(size).unwrap_or(256))];
    file.read_exact_at(&mut header, 0).map_err(io)?;
    let header = header.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // Git reads nothing of a file that was cut off.
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1).map_err(io)?;
    }
    if last != *b"\n" {
        let path = path.parent().unwrap_or(path).to_owned();
        return Err(GitError::Unusable {
            path,
            reason: "its packed-refs end in the middle of a line".to_owned(),
        });
    }
    let sorted = header.starts_with(b"#") && String::from_utf8_lossy(header).contains(" sorted");
    if !sorted {
        let mut text = Vec::new();
        (&file).read_to_end(&mut text).map_err(io)?;
        return Ok(First::Unsorted(text));
    }
    // Invariant: every line that starts before `low` is below `prefix`; every line that
    // starts at or after `high` is not.
    let (mut low, mut high) = (header.len() as u64 + 1, size);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let (start, line) = line_from(&file, middle, low, size).map_err(io)?;
        match ref_name(&line) {
            Some(name) if start < high => {
                if name < prefix.as_bytes() {
                    low = start + line.len() as u64 + 1;
                } else {
                    if name.starts_with(prefix.as_bytes()) {
                        found = Some((start, line.clone()));
                    }
                    if start == high || middle == low {
                        high = low;
                    } else {
                        high = middle;
                    }
                }
            }
            // No ref starts between `middle` and `high`.
            _ if middle == low => break,
            _ => high = middle,
        }
    }
    Ok(found.map_or(First::None, |(start, line)| First::At { file, start, line }))
}

pub(super) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The name in a line of packed-refs; `None` for a peeled id or a comment.
pub(super) fn ref_name(line: &[u8]) -> Option<&[u8]> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    (!matches!(line.first(), Some(b'#' | b'^'))).then(|| &line[space + 1..])
}

/// The first line with a ref that starts at or after `at`; a line starts at `floor`.
fn line_from(file: &File, at: u64, floor: u64, size: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let mut start = if at > floor { at - 1 } else { at };
    let mut text = Vec::new();
    let mut skip_first = at > floor;
    loop {
        let mut chunk = vec![0u8; 512.min(usize::try_from(size - start - text.len() as u64).unwrap_or(512))];
        file.read_exact_at(&mut chunk, start + text.len() as u64)?;
        let ended = chunk.is_empty();
        text.extend(chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).take(end).collect();
            let begun = start;
            start += end as u64 + 1;
            if !std::mem::take(&mut skip_first) && ref_name(&line).is_some() {
                return Ok((begun, line));
            }
        }
        if ended {
            return Ok((size, Vec::new()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_refs_below_a_name_are_found_by_bisection() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for number in 0..500 {
            let id = "a".repeat(40);
            text.push_str(&format!("{id} refs/heddle/threads/t{number:04}/x\n"));
            if number % 3 == 0 {
                text.push_str(&format!("^{id}\n"));
            }
        }
        std::fs::write(file.path(), text).expect("write");
        let find = |name: &str| below(file.path(), &format!("refs/heddle/threads/{name}/")).expect("read");
        for number in 0..500 {
            let name = format!("t{number:04}");
            assert_eq!(find(&name), Some(format!("refs/heddle/threads/{name}/x")));
            assert_eq!(find(&format!("{name}a")), None);
        }
        let all = |prefix: &str| all_below(file.path(), prefix).expect("read");
        assert_eq!(all("refs/heddle/threads/").len(), 500);
        let name = |number: usize| format!("refs/heddle/threads/t{number:04}/x").into_bytes();
        let id = CommitId::parse(&"a".repeat(40)).expect("id");
        let tenth: Vec<_> = (100..110).map(|number| (name(number), id.clone())).collect();
        assert_eq!(all("refs/heddle/threads/t010"), tenth);
        assert_eq!((all("refs/heads/"), all("refs/z/")), (Vec::new(), Vec::new()));
        assert_eq!(find("a"), None);
        assert_eq!(find("z"), None);
        // As Git wrote it before 2012, and as nobody does.
        let text = std::fs::read_to_string(file.path()).expect("read");
        let text: Vec<&str> = text.lines().rev().filter(|line| !line.starts_with(['#', '^'])).collect();
        let unsorted = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(unsorted.path(), text.join("\n") + "\n").expect("write");
        let mut found = all_below(unsorted.path(), "refs/heddle/threads/t010").expect("read");
        found.sort();
        assert_eq!(found, tenth);
        let text = format!("# pack-refs with: sorted\n{id} refs/a/b\nrefs/heads/main\n");
        std::fs::write(unsorted.path(), text).expect("write");
        all_below(unsorted.path(), "refs/a/").expect_err("no id");
        let line = |name: &str| super::line(file.path(), name).expect("read").map(|line| lossy(&line));
        let exact = "refs/heddle/threads/t0007/x";
        assert_eq!(line(exact), Some(format!("{} {exact}", "a".repeat(40))));
    }
}
