//! Looking up refs in the file `packed-refs`, by bisection: its cost does not grow with the number
//! of refs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::GitError;

/// The first packed ref whose name begins with `prefix`.
pub(super) fn below(path: &Path, prefix: &str) -> Result<Option<String>, GitError> {
    Ok(line(path, prefix)?.and_then(|line| ref_name(&line).map(lossy)))
}

/// The line of the first packed ref whose name begins with `prefix`, found by bisection, so
/// that its cost does not grow with the number of refs.
pub(super) fn line(path: &Path, prefix: &str) -> Result<Option<Vec<u8>>, GitError> {
    let io = |source| GitError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let size = file.metadata().map_err(io)?.len();
    let mut header = vec![0u8; 256.min(usize::try_from(size).unwrap_or(256))];
    file.read_exact_at(&mut header, 0).map_err(io)?;
    let header = header.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let sorted = header.starts_with(b"#") && String::from_utf8_lossy(header).contains(" sorted");
    if !sorted {
        let text = fs::read(path).map_err(io)?;
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        lines.retain(|line| ref_name(line).is_some_and(|name| name.starts_with(prefix.as_bytes())));
        return Ok(lines.into_iter().min_by_key(|line| ref_name(line)).map(<[u8]>::to_vec));
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
                        found = Some(line.clone());
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
    Ok(found)
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
        fs::write(file.path(), text).expect("write");
        let find = |name: &str| below(file.path(), &format!("refs/heddle/threads/{name}/")).expect("read");
        for number in 0..500 {
            let name = format!("t{number:04}");
            assert_eq!(find(&name), Some(format!("refs/heddle/threads/{name}/x")));
            assert_eq!(find(&format!("{name}a")), None);
        }
        assert_eq!(find("a"), None);
        assert_eq!(find("z"), None);
        let line = |name: &str| super::line(file.path(), name).expect("read").map(|line| lossy(&line));
        let exact = "refs/heddle/threads/t0007/x";
        assert_eq!(line(exact), Some(format!("{} {exact}", "a".repeat(40))));
    }
}
