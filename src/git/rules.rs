//! What decides which changes of a worktree are captured and does not lie in it: configuration,
//! and the files of rules beside and outside of the repository.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::{GitError, Repo};

/// The sections of the configuration that have a say in it.
const SECTIONS: [&str; 8] =
    ["core.", "filter.", "add.", "index.", "feature.", "extensions.", "submodule.", "i18n."];

/// Variables of the environment that have one.
const VARIABLES: [&str; 3] = ["GIT_ATTR_NOSYSTEM", "GIT_ATTR_SOURCE", "GIT_CEILING_DIRECTORIES"];

/// A file that was written so shortly ago may be written again without a trace.
const FRESH: Duration = Duration::from_millis(50);

/// A print of these rules, which is another one if any of them changed; `None` where that
/// cannot be told.
///
/// # Errors
/// [`GitError`] for configuration that cannot be read.
pub fn print(repo: &Repo) -> Result<Option<String>, GitError> {
    let config = repo.config()?;
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    };
    for (key, value) in config.all()? {
        if SECTIONS.iter().any(|section| key.starts_with(section)) {
            add(key.as_bytes());
            add(value.text.as_bytes());
        }
    }
    for name in VARIABLES {
        add(std::env::var_os(name).unwrap_or_default().as_encoded_bytes());
    }
    let now = SystemTime::now();
    for file in files(repo)? {
        let Some(file) = file else { return Ok(None) };
        let stamp = match fs::metadata(&file) {
            Ok(meta) => {
                let changed = u64::try_from(meta.ctime()).ok().zip(u32::try_from(meta.ctime_nsec()).ok());
                let changed =
                    changed.map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
                if !changed.is_some_and(|changed| now.duration_since(changed).is_ok_and(|age| age > FRESH)) {
                    return Ok(None);
                }
                format!(
                    "{} {} {} {} {} {}",
                    meta.dev(),
                    meta.ino(),
                    meta.size(),
                    meta.mtime_nsec(),
                    meta.ctime(),
                    meta.ctime_nsec()
                )
            }
            Err(error) => error.kind().to_string(),
        };
        add(file.as_os_str().as_encoded_bytes());
        add(stamp.as_bytes());
    }
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// The files of rules that are not in the worktree; `None` for one of which only Git knows
/// where it is.
fn files(repo: &Repo) -> Result<[Option<PathBuf>; 5], GitError> {
    Ok([
        Some(repo.common_dir().join("info/exclude")),
        Some(repo.common_dir().join("info/attributes")),
        Some(repo.git_dir().join("info/sparse-checkout")),
        of_user(repo, "core.excludesFile", "ignore")?,
        of_user(repo, "core.attributesFile", "attributes")?,
    ])
}

/// Whether there is a file of attributes in which something may be said of one of these paths.
///
/// # Errors
/// [`GitError`] for configuration that cannot be read.
pub(super) fn may_have_attributes<'a>(
    repo: &Repo,
    paths: impl Iterator<Item = &'a [u8]>,
) -> Result<bool, GitError> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let beside = [
        Some(repo.common_dir().join("info/attributes")),
        of_user(repo, "core.attributesFile", "attributes")?,
        // Where libgit2 looks, and most builds of Git.
        Some(PathBuf::from("/etc/gitattributes")),
    ];
    if beside.into_iter().any(|path| path.is_none_or(|path| is_there(&path))) {
        return Ok(true);
    }
    let Some(worktree) = repo.worktree() else { return Ok(false) };
    let mut folders = BTreeSet::from([&[][..]]);
    for path in paths {
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            // With a folder those above it are there.
            if !folders.insert(&path[..at]) {
                break;
            }
        }
    }
    let in_folder = |folder: &[u8]| worktree.join(OsStr::from_bytes(folder)).join(".gitattributes");
    Ok(folders.into_iter().any(|folder| is_there(&in_folder(folder))))
}

/// The file that `key` names, or else `name` in the user's folder.
fn of_user(repo: &Repo, key: &str, name: &str) -> Result<Option<PathBuf>, GitError> {
    let home = std::env::home_dir();
    if let Some(value) = repo.config()?.get(key)? {
        return Ok(match value.text.strip_prefix("~/") {
            Some(below) => home.map(|home| home.join(below)),
            None if value.text.starts_with(['~', '%']) => None,
            None => repo.worktree().map(|worktree| worktree.join(value.text)),
        });
    }
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = folder.or_else(|| home.map(|home| home.join(".config")));
    // Without a home Git reads none.
    Ok(Some(folder.unwrap_or_default().join("git").join(name)))
}
