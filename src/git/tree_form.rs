//! What is wrong with a tree's form: what `git fsck --strict`, and a server that checks what it is
//! sent (`receive.fsckObjects`), call an error.

use std::cmp::Ordering;

use super::diff::Entry;

/// What is wrong with a tree of these entries, in words that go on from "its tree".
pub(super) fn fault(entries: &[Entry<'_>]) -> Option<String> {
    for (at, entry) in entries.iter().enumerate() {
        let about =
            |what: &str| Some(format!("has an entry {what}: {:?}", entry.name.escape_ascii().to_string()));
        match () {
            () if entry.name.is_empty() => return about("without a name"),
            () if entry.name.contains(&b'/') => return about("whose name has a slash in it"),
            () if entry.name == b"." || entry.name == b".." => return about("that leads elsewhere"),
            () if is_dot_git(entry.name) => return about("that is Git's own"),
            () if entry.mode.starts_with(b"0") => return about("whose mode begins with a zero"),
            () if entry.id.is_zero() => return about("that is no object"),
            () => {}
        }
        let Some(before) = at.checked_sub(1).map(|at| &entries[at]) else { continue };
        if before.order(entry) == Ordering::Greater {
            return about("out of order");
        }
        // A folder comes after all files whose names go on from its own with what is less than '/'.
        let mut near = entries[..at].iter().rev().take_while(|before| before.name.starts_with(entry.name));
        if near.any(|before| before.name == entry.name) {
            return about("twice");
        }
    }
    None
}

/// Whether some system takes `name` for `.git`.
fn is_dot_git(name: &[u8]) -> bool {
    // Few names begin like one.
    if !name.first().is_some_and(|first| b".gG\xe2\xef".contains(first)) {
        return false;
    }
    is_dot_git_to_ntfs(name) || is_dot_git_to_hfs(name)
}

/// NTFS has a short name for it, ignores case and what dots and blanks a name ends with, and
/// takes what follows a colon for a part of the file.
fn is_dot_git_to_ntfs(name: &[u8]) -> bool {
    let name = name.split(|byte| *byte == b'\\').next().unwrap_or_default();
    let rest = [b".git".as_slice(), b"git~1"].into_iter().find_map(|own| {
        let (start, rest) = name.split_at_checked(own.len())?;
        start.eq_ignore_ascii_case(own).then_some(rest)
    });
    let Some(rest) = rest else { return false };
    rest.iter().find(|byte| !b". ".contains(byte)).is_none_or(|byte| *byte == b':')
}

/// HFS+ ignores case and some characters that nobody sees.
fn is_dot_git_to_hfs(name: &[u8]) -> bool {
    let unseen = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let Ok(name) = std::str::from_utf8(name) else { return false };
    name.chars().filter(|c| !unseen(c)).map(|c| c.to_ascii_lowercase()).eq(".git".chars())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::git::diff::parsed;

    /// What is empty.
    const BLOB: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn git(folder: &Path, args: &[&str], input: &[u8]) -> (bool, String) {
        use std::io::Write as _;
        let mut git = Command::new("git");
        git.args(args)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = git.spawn().expect("git");
        child.stdin.take().expect("stdin").write_all(input).expect("input");
        let output = child.wait_with_output().expect("git");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A tree as it is stored.
    fn stored(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let id = |mode: &str| git2::Oid::from_str(if mode == "40000" { TREE } else { BLOB }).expect("an id");
        let entry =
            |(mode, name): &(&str, &[u8])| [mode.as_bytes(), b" ", name, b"\0", id(mode).as_bytes()].concat();
        entries.iter().flat_map(entry).collect()
    }

    #[test]
    fn what_fsck_calls_an_error_is_a_fault() {
        let folder = tempfile::tempdir().expect("folder");
        git(folder.path(), &["init", "-q", "--object-format=sha1"], b"");
        git(folder.path(), &["hash-object", "-w", "--stdin"], b"");
        git(folder.path(), &["hash-object", "-w", "-t", "tree", "--stdin"], b"");
        let file = |name: &'static [u8]| vec![("100644", name)];
        let cases: Vec<Vec<(&str, &[u8])>> = vec![
            file(b"a"),
            file(b".gitignore"),
            file(b".git"),
            file(b".GIT"),
            file(b".git. "),
            file(b".git::$INDEX_ALLOCATION"),
            file(b".git x"),
            file(b".gitx"),
            file(b"git~1"),
            file(b"GIT~1 ."),
            file(b"git~2"),
            file(b".g\xe2\x80\x8cit"),
            file(b"\xef\xbb\xbf.Git"),
            file(b".g\xe2\x80\x80it"),
            file(b".git\\x"),
            file(b"."),
            file(b".."),
            file(b"..."),
            file(b"a/b"),
            vec![("100664", b"a")],
            vec![("0100644", b"a")],
            vec![("100600", b"a")],
            vec![("100644", b"a"), ("100644", b"a")],
            vec![("100644", b"b"), ("100644", b"a")],
            vec![("100644", b"a"), ("100644", b"a-b"), ("40000", b"a")],
            vec![("100644", b"a-b"), ("40000", b"a")],
            vec![("40000", b"a"), ("100644", b"a-b")],
            vec![("100644", b"a"), ("100755", b"a.b"), ("120000", b"b")],
        ];
        for case in cases {
            let tree = stored(&case);
            let args = ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"];
            let (done, id) = git(folder.path(), &args, &tree);
            assert!(done, "{id}");
            let (_, said) = git(folder.path(), &["fsck", "--strict", "--no-dangling", id.trim()], b"");
            let complains = said.contains(&format!("error in tree {}", id.trim()));
            let entries = parsed(&tree, 20).expect("entries");
            assert_eq!(fault(&entries).is_some(), complains, "{case:?}: {:?}: {said}", fault(&entries));
        }
    }
}
