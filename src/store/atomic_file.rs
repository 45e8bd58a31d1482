//! Files that are replaced whole, and seen by readers as either the old or the new one.
//!
//! A write goes to the sibling `<file>.new`, is synced, and renamed over the file; then the
//! folder is synced. The sibling's name is fixed because every writer of one file holds the
//! same lock: what a killed writer leaves is overwritten by the next, and recovery knows
//! what to remove. Symbolic links are never followed: state lives where the layout says.
//! Nor is a pipe in a file's place waited for.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// A record larger than this is damaged: no record grows with use.
const RECORD_MAX: u64 = 1 << 20;
/// What most records fit in.
const SHORT: usize = 2048;

/// How far a write promises to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    PowerLoss,
    /// The death of processes (`heddle.fsync=false`).
    ProcessDeath,
}

/// The sibling that a replacement of `path` is written to.
#[must_use]
pub fn sibling(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Options that refuse to follow a symbolic link in the last place, and to wait for the other
/// end of a pipe.
#[must_use]
pub fn no_follow() -> OpenOptions {
    let mut options = File::options();
    options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC);
    options
}

/// Replaces `path` by `contents`, making its folder if need be.
///
/// # Errors
/// [`StoreError::Io`]; the old file is then untouched.
pub fn replace(path: &Path, contents: &[u8], durability: Durability) -> Result<(), StoreError> {
    let staged = stage(path, contents, durability)?;
    staged.install()
}

/// A written and synced sibling, ready to be renamed into place.
#[must_use = "a staged file changes nothing until it is installed"]
#[derive(Debug)]
pub struct Staged {
    new: PathBuf,
    path: PathBuf,
    durability: Durability,
    installed: bool,
}

/// Writes and syncs the sibling of `path`.
///
/// # Errors
/// [`StoreError::Io`]; nothing is left over.
pub fn stage(path: &Path, contents: &[u8], durability: Durability) -> Result<Staged, StoreError> {
    stage_at(sibling(path), path, contents, durability)
}

/// As [`replace`], by way of the file `new` rather than of the sibling: for a folder in which
/// any name may be another's.
///
/// # Errors
/// [`StoreError::Io`]; the old file is then untouched.
pub fn replace_by_way_of(
    new: &Path,
    path: &Path,
    contents: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let staged = stage_at(new.to_owned(), path, contents, durability)?;
    if let Some(folder) = path.parent() {
        create_folder(folder, durability).map_err(StoreError::io("write", path))?;
    }
    staged.install()
}

fn stage_at(
    new: PathBuf,
    path: &Path,
    contents: &[u8],
    durability: Durability,
) -> Result<Staged, StoreError> {
    let open = || no_follow().write(true).create(true).truncate(true).mode(0o666).open(&new);
    let written = open()
        .or_else(|error| match (error.kind(), new.parent()) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                create_folder(folder, durability).and_then(|()| open())
            }
            _ => Err(error),
        })
        .and_then(|mut file| {
            file.write_all(contents)?;
            if durability == Durability::PowerLoss { file.sync_all() } else { Ok(()) }
        });
    match written {
        Ok(()) => Ok(Staged { new, path: path.to_owned(), durability, installed: false }),
        Err(error) => {
            let _ = fs::remove_file(&new);
            Err(StoreError::io("write", path)(error))
        }
    }
}

impl Staged {
    /// Renames the sibling into place and syncs the folder.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the old file is then untouched, or the new one is in place but
    /// may not survive a power cut.
    pub fn install(mut self) -> Result<(), StoreError> {
        // Opened before anything is visible: what can go wrong then changes nothing.
        let renamed = self.folder().and_then(|folder| fs::rename(&self.new, &self.path).map(|()| folder));
        match renamed {
            Ok(folder) => {
                self.installed = true;
                let synced = folder.map_or(Ok(()), |folder| folder.sync_all());
                synced.map_err(StoreError::io("sync", &self.path))
            }
            Err(error) => Err(StoreError::io("write", &self.path)(error)),
        }
    }

    /// The folder, to be synced once the file has its name.
    fn folder(&self) -> io::Result<Option<File>> {
        match (self.durability, self.path.parent()) {
            (Durability::PowerLoss, Some(folder)) => File::open(folder).map(Some),
            _ => Ok(None),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.installed {
            let _ = fs::remove_file(&self.new);
        }
    }
}

/// Makes `folder` and what is missing above it.
///
/// # Errors
/// As the system says.
pub fn create_folder(folder: &Path, durability: Durability) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create_folder(above, durability)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match folder.parent() {
        Some(above) if durability == Durability::PowerLoss => File::open(above)?.sync_all(),
        _ => Ok(()),
    }
}

/// Makes the names in `folder` survive a power cut.
///
/// # Errors
/// [`StoreError::Io`].
pub fn sync_folder(folder: &Path, durability: Durability) -> Result<(), StoreError> {
    match durability {
        Durability::ProcessDeath => Ok(()),
        Durability::PowerLoss => {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::io("sync", folder))
        }
    }
}

/// Removes `path`; that it is already gone is no error, nor that a file is where its folder was.
///
/// # Errors
/// [`StoreError::Io`].
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        Err(error) => Err(StoreError::io("remove", path)(error)),
        Ok(()) => Ok(()),
    }
}

/// Whether there is nothing at `path`: to ask that costs half of what it does to open it in vain.
#[must_use]
pub fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Reads a whole file; `None` if there is none.
///
/// # Errors
/// [`StoreError::Io`], also for a symbolic link or a folder in the file's place;
/// [`StoreError::Damaged`] for one of absurd size.
pub fn read(what: &'static str, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(contents(what, path, &mut [0; SHORT])?.map(Cow::into_owned))
}

/// What is in the file at `path`, in `short` if there is room: a list reads a record or two of every
/// thread, and has no memory of its own made for each.
fn contents<'a>(
    what: &'static str,
    path: &Path,
    short: &'a mut [u8; SHORT],
) -> Result<Option<Cow<'a, [u8]>>, StoreError> {
    let mut file = match no_follow().read(true).open(path) {
        Ok(file) => file.take(RECORD_MAX + 1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let mut length = 0;
    while length < SHORT {
        match file.read(&mut short[length..]) {
            Ok(0) => return Ok(Some(Cow::Borrowed(&short[..length]))),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("read", path)(error)),
        }
    }
    let mut whole = short.to_vec();
    file.read_to_end(&mut whole).map_err(StoreError::io("read", path))?;
    if whole.len() as u64 > RECORD_MAX {
        let reason = format!("it is larger than {RECORD_MAX} bytes");
        return Err(StoreError::Damaged { what, path: path.to_owned(), reason });
    }
    Ok(Some(Cow::Owned(whole)))
}

/// Reads a record: JSON with a `version`, which is looked at first so that a newer record
/// is refused by its version rather than by a field that we do not know.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Damaged`], [`StoreError::Newer`].
pub fn read_record<T: DeserializeOwned>(
    what: &'static str,
    path: &Path,
    known: u64,
) -> Result<Option<T>, StoreError> {
    match contents(what, path, &mut [0; SHORT])? {
        None => Ok(None),
        Some(contents) => parse_record(what, path, &contents, known).map(Some),
    }
}

/// The part of a record that tells whether the rest can be understood.
#[derive(serde::Deserialize)]
struct Version {
    version: u64,
}

/// Parses a record's text; see [`read_record`].
///
/// # Errors
/// [`StoreError::Damaged`], [`StoreError::Newer`].
pub fn parse_record<T: DeserializeOwned>(
    what: &'static str,
    path: &Path,
    contents: &[u8],
    known: u64,
) -> Result<T, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { what, path: path.to_owned(), reason };
    if contents.iter().all(|byte| matches!(byte, 0 | b' ' | b'\n')) {
        return Err(damaged("it is empty".to_owned()));
    }
    if leading_version(contents) != Some(known) {
        let Version { version } =
            serde_json::from_slice(contents).map_err(|error| damaged(error.to_string()))?;
        if version > known {
            return Err(StoreError::Newer { what, path: path.to_owned(), version, known });
        }
        if version < known {
            return Err(damaged(format!("it has version {version}, which never was")));
        }
    }
    // As text that was looked at once, not again string by string.
    let text = std::str::from_utf8(contents).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// The version of a record that begins with it, as every record does that we wrote: it need not
/// be read twice then. Whether the rest is JSON, and has no second version, is not looked at.
fn leading_version(contents: &[u8]) -> Option<u64> {
    let mut rest = contents;
    for expected in [&b"{"[..], b"\"version\"", b":"] {
        rest = rest.trim_ascii_start().strip_prefix(expected)?;
    }
    rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // A number that goes on in another way is another number.
    let ends = matches!(rest.get(digits)?, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
    std::str::from_utf8(&rest[..digits]).ok().filter(|_| ends)?.parse().ok()
}

/// A record as it is written: JSON on one line per field, so that people can read it.
///
/// # Errors
/// [`StoreError::NotText`] if a path in it is not UTF-8: nothing else of ours is no JSON.
pub fn to_bytes<T: Serialize>(what: &'static str, path: &Path, record: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes =
        serde_json::to_vec_pretty(record).map_err(|_| StoreError::NotText { what, path: path.to_owned() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Record {
        name: String,
    }

    fn parse(text: &str) -> Result<String, StoreError> {
        parse_record("record", Path::new("file"), text.as_bytes(), 2).map(|record: Record| record.name)
    }

    #[test]
    fn a_record_is_read_wherever_its_version_stands() {
        for text in [
            "{\"version\":2,\"name\":\"a\"}",
            "\n{ \"version\"\t: 2\n, \"name\": \"a\" }\n",
            "{\"name\": \"a\", \"version\": 2}",
        ] {
            assert_eq!(parse(text).ok().as_deref(), Some("a"), "{text}");
        }
    }

    #[test]
    fn another_version_is_refused_by_its_number_and_what_is_none_is_damage() {
        for text in ["{\"version\":3}", "{\"name\":7,\"version\":3}", "{\"version\": 22 }"] {
            assert!(matches!(parse(text), Err(StoreError::Newer { known: 2, .. })), "{text}");
        }
        for text in [
            "{\"version\":1,\"name\":\"a\"}",
            "{\"version\":2",
            "{\"version\":2}",
            "{\"version\":2.0,\"name\":\"a\"}",
            "{\"version\":2e0,\"name\":\"a\"}",
            "{\"version\":-2,\"name\":\"a\"}",
            "{\"version\":,\"name\":\"a\"}",
            "{\"version\":\"2\",\"name\":\"a\"}",
            "{\"version\":2,\"name\":\"a\"",
            "{\"name\":\"a\"}",
        ] {
            assert!(matches!(parse(text), Err(StoreError::Damaged { .. })), "{text}");
        }
    }
}
