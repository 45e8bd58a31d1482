//! Listing refs that are files of their own, or lines of `packed-refs`.
//!
//! libgit2 takes `packed-refs` before it reads the files, so that a ref that Git packs meanwhile is
//! in neither; and it reads all of it, however few refs are asked for. Here files are read first,
//! as Git does: what is not there any more by then was packed before it went, or deleted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::workers::shared_out;
use super::{GitError, packed};
use crate::names::CommitId;

/// What was found of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listed {
    Id(CommitId),
    /// It stands for another ref.
    Symbolic(String),
    /// Its file holds neither an id nor the name of a ref.
    Broken,
}

/// The refs below `prefix`, which ends in `/`, of the repository whose common directory that is
/// and whose ids have `id_size` bytes, by name.
///
/// # Errors
/// [`GitError::Io`] if a folder or a file cannot be read; [`GitError::Unusable`] for packed refs that Git
/// would not read.
pub(super) fn below(
    common_dir: &Path,
    prefix: &str,
    id_size: usize,
) -> Result<BTreeMap<Vec<u8>, Listed>, GitError> {
    let names = loose(common_dir, prefix)?;
    let read = |name: &Vec<u8>| {
        let path = common_dir.join(OsStr::from_bytes(name));
        value(&path).map_err(|source| GitError::Io { action: "read", path, source })
    };
    let values = shared_out(&names, |_| (), |(), name| read(name), &mut |_| {});
    let mut refs = BTreeMap::new();
    for (name, value) in names.into_iter().zip(values) {
        refs.extend(value?.map(|value| (name, value)));
    }
    for (name, id) in packed::all_below(&common_dir.join("packed-refs"), prefix)? {
        // A file goes before a line.
        refs.entry(name).or_insert(Listed::Id(id));
    }
    // An id of another hash, or of nothing, is none.
    let is_one =
        |id: &CommitId| id.as_str().len() == 2 * id_size && id.as_str().bytes().any(|digit| digit != b'0');
    for listed in refs.values_mut() {
        if matches!(listed, Listed::Id(id) if !is_one(id)) {
            *listed = Listed::Broken;
        }
    }
    Ok(refs)
}

/// The names of the files that refs below `prefix` are in.
fn loose(common_dir: &Path, prefix: &str) -> Result<Vec<Vec<u8>>, GitError> {
    let mut names = Vec::new();
    let mut folders = vec![prefix.as_bytes().to_vec()];
    while let Some(folder) = folders.pop() {
        let path = common_dir.join(OsStr::from_bytes(&folder));
        let io = |source| GitError::Io { action: "read", path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(io(error)),
        };
        for entry in entries {
            let entry = entry.map_err(io)?;
            let name = [&folder, &*entry.file_name().into_vec()].concat();
            // Where a folder does not tell of what kind its entries are, they are looked at.
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(io(error)),
            };
            let is_dir = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
            match is_dir {
                true => folders.push([name, b"/".to_vec()].concat()),
                false if name.ends_with(b".lock") => {}
                false => names.push(name),
            }
        }
    }
    Ok(names)
}

/// Whether what was to be read is not there any more, or something else by now.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// What is in the file of a ref; `None` if it is not there any more.
fn value(path: &Path) -> io::Result<Option<Listed>> {
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    // Longer than any ref, whose name is a path: one read tells.
    let mut text = [0; 4200];
    match file.and_then(|mut file| file.read(&mut text)) {
        Ok(read) => Ok(Some(parse(&text[..read]))),
        Err(error) if is_gone(&error) => Ok(None),
        // For Git, too, it is broken, and the others are listed: what may not be read, links that lead
        // nowhere else, and sockets.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Some(Listed::Broken)),
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::ELOOP | nix::libc::ENXIO)) => {
            Ok(Some(Listed::Broken))
        }
        Err(error) => Err(error),
    }
}

/// `ref: ` and a name, or an id; what follows it after a blank does not count.
fn parse(text: &[u8]) -> Listed {
    if let Some(name) = text.strip_prefix(b"ref:") {
        return match packed::lossy(name.trim_ascii()) {
            name if name.is_empty() => Listed::Broken,
            name => Listed::Symbolic(name),
        };
    }
    let id = text.split(|byte| byte.is_ascii_whitespace() || *byte == 0).next().unwrap_or_default();
    id_of(id).map_or(Listed::Broken, Listed::Id)
}

/// The id that is written so; Git reads capital letters, too.
pub(super) fn id_of(digits: &[u8]) -> Option<CommitId> {
    let digits = std::str::from_utf8(digits).ok()?;
    CommitId::parse(digits).or_else(|_| CommitId::parse(&digits.to_ascii_lowercase())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_holds_is_read_as_git_does() {
        for length in [40, 64] {
            let id = "0a".repeat(length / 2);
            let parsed = Listed::Id(CommitId::parse(&id).expect("id"));
            for text in [id.clone(), format!("{id}\n"), format!("{id} what follows"), id.to_ascii_uppercase()]
            {
                assert_eq!(parse(text.as_bytes()), parsed, "{text:?}");
            }
        }
        let symbolic = Listed::Symbolic("refs/heads/x".to_owned());
        for text in ["ref: refs/heads/x\n", "ref:refs/heads/x", "ref:\t refs/heads/x \n"] {
            assert_eq!(parse(text.as_bytes()), symbolic, "{text:?}");
        }
        for text in ["", "\n", "ref: \n", "0a0a\n", &"x".repeat(40), &"0a".repeat(21)] {
            assert_eq!(parse(text.as_bytes()), Listed::Broken, "{text:?}");
        }
    }

    #[test]
    fn only_files_that_may_be_refs_are_read() {
        let folder = tempfile::tempdir().expect("folder");
        let id = "0a".repeat(20);
        let put = |name: &str, text: &str| {
            let path = folder.path().join("refs/heddle").join(name);
            fs::create_dir_all(path.parent().expect("folder")).expect("folder");
            fs::write(path, text).expect("written");
        };
        put("a/b", &id);
        put("a/c.lock", &id);
        put("broken", "");
        put("other", &"0a".repeat(32));
        put("zero", &"0".repeat(40));
        std::os::unix::fs::symlink("loop", folder.path().join("refs/heddle/loop")).expect("link");
        fs::create_dir_all(folder.path().join("refs/heddle/empty")).expect("folder");
        std::os::unix::fs::symlink("a", folder.path().join("refs/heddle/link")).expect("link");
        std::os::unix::fs::symlink("none", folder.path().join("refs/heddle/dangling")).expect("link");
        fs::write(folder.path().join("packed-refs"), format!("{id} refs/heddle/a/b\n{id} refs/heddle/z\n"))
            .expect("written");
        let found = below(folder.path(), "refs/heddle/", 20).expect("listed");
        let names: Vec<_> = found.keys().map(|name| String::from_utf8_lossy(name)).collect();
        let names: Vec<_> = names.iter().map(|name| &name["refs/heddle/".len()..]).collect();
        assert_eq!(names, ["a/b", "broken", "link/b", "loop", "other", "z", "zero"]);
        for broken in ["broken", "loop", "other", "zero"] {
            assert_eq!(found[format!("refs/heddle/{broken}").as_bytes()], Listed::Broken, "{broken}");
        }
        assert!(below(folder.path(), "refs/none/", 20).expect("listed").is_empty());
    }
}
