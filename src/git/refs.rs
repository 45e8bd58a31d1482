//! Refs: reading, comparing and swapping, listing, deleting.
//!
//! libgit2's reference transaction takes Git's own lock on a ref, and that is all it does:
//! it takes no old value, accepts names that Git refuses, and misses a clash with a packed
//! ref. [`LockedRef`] adds what is missing: the value is read again under the lock, and a
//! name that does not exist yet is checked for others above and below it, packed ones
//! included. There is no way to write a ref without saying what it was.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::commit::raw_date;
use super::program::Program;
use super::repo::{commit_id, named};
use super::{GitError, Repo};
use crate::names::CommitId;
use crate::store::journal::FileIdentity;
use crate::store::voucher::Voucher;

/// What a ref must be for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// It does not exist.
    Absent,
    /// It is at this commit.
    Exactly(CommitId),
}

impl Expected {
    /// Whether `actual` is as expected.
    #[must_use]
    pub fn is(&self, actual: Option<&CommitId>) -> bool {
        match self {
            Self::Absent => actual.is_none(),
            Self::Exactly(commit) => actual == Some(commit),
        }
    }
}

/// One ref of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its full name.
    pub name: String,
    /// What it must be.
    pub from: Expected,
    /// What it is to be; `None` deletes it.
    pub to: Option<CommitId>,
}

/// A ref under Git's own lock. Dropping it unlocks the ref unchanged.
#[must_use = "the ref is unlocked when this value is dropped"]
pub struct LockedRef<'repo> {
    repo: &'repo Repo,
    transaction: git2::Transaction<'repo>,
    name: String,
    current: Option<CommitId>,
    identity: FileIdentity,
}

impl Repo {
    /// The commit that the ref `name` is at.
    ///
    /// # Errors
    /// [`GitError::Unusable`] for a symbolic ref or one that is no commit's.
    pub fn read_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        match self.raw().find_reference(name) {
            Ok(found) => match found.target() {
                Some(target) => Ok(Some(commit_id(target))),
                None => Err(GitError::Unusable {
                    path: self.common_dir().to_owned(),
                    reason: format!("ref '{name}' is symbolic, which no thread is"),
                }),
            },
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All refs below `prefix`, which ends in `/`, sorted by name, with their commits.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn list_refs(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        let mut found = Vec::new();
        for reference in self.raw().references_glob(&format!("{prefix}*"))? {
            let reference = reference?;
            if let (Ok(name), Some(target)) = (reference.name(), reference.target()) {
                found.push((name.to_owned(), commit_id(target)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names of the files of refs below `prefix`, whatever they hold.
    pub(in crate::git) fn loose_names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.common_dir().join(&folder)) else { continue };
            for entry in entries.flatten() {
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                    continue;
                };
                let name = format!("{folder}/{name}");
                match kind.is_dir() {
                    true => folders.push(name),
                    false if name.ends_with(".lock") => {}
                    false => names.push(name),
                }
            }
        }
        names
    }

    /// Takes Git's own lock on the ref `name`, waiting at most `timeout` for another
    /// holder, and checks that it can exist.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] after the time limit; [`GitError::RefClash`] if the ref does
    /// not exist and another above or below it does.
    pub fn lock_ref(&self, name: &str, timeout: Duration) -> Result<LockedRef<'_>, GitError> {
        // HEAD is each worktree's own.
        let folder = if name == "HEAD" { self.git_dir() } else { self.common_dir() };
        let lock = folder.join(format!("{name}.lock"));
        let deadline = Instant::now() + timeout;
        let transaction = loop {
            let mut transaction = self.raw().transaction()?;
            match transaction.lock_ref(name) {
                Ok(()) => break transaction,
                Err(error) if error.code() != git2::ErrorCode::Locked => {
                    return match self.clash(name)? {
                        Some(existing) => Err(GitError::RefClash { name: name.to_owned(), existing }),
                        None => Err(error.into()),
                    };
                }
                Err(_) if Instant::now() >= deadline => {
                    return Err(GitError::RefLocked { name: name.to_owned(), lock });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(3)),
            }
        };
        let Some(identity) = FileIdentity::of(&lock) else {
            return Err(GitError::RefLocked { name: name.to_owned(), lock });
        };
        let current = self.read_ref(name)?;
        if current.is_none()
            && let Some(existing) = self.clash(name)?
        {
            return Err(GitError::RefClash { name: name.to_owned(), existing });
        }
        Ok(LockedRef { repo: self, transaction, name: name.to_owned(), current, identity })
    }

    /// Deletes the ref `name` if it is at `expected`, by the git program: libgit2 rewrites
    /// packed-refs from a stale copy.
    ///
    /// # Errors
    /// [`GitError::Program`] if it is elsewhere or locked.
    pub fn delete_ref(&self, name: &str, expected: &CommitId) -> Result<(), GitError> {
        let change = Change { name: name.to_owned(), from: Expected::Exactly(expected.clone()), to: None };
        self.change_refs(&[change], "heddle: take back")
    }

    /// Changes several refs in one transaction of the git program: all of them or none, as
    /// far as no process dies in the middle. Those that are made get a reflog.
    ///
    /// # Errors
    /// [`GitError::Program`] if one of them is not where it is expected, or locked.
    pub fn change_refs(&self, changes: &[Change], message: &str) -> Result<(), GitError> {
        self.change_refs_by(&self.program(), changes, message)
    }

    /// As [`Self::change_refs`], by `git` as it is started elsewhere: where a branch is checked
    /// out, so that the log of HEAD tells of it.
    ///
    /// # Errors
    /// As [`Self::change_refs`].
    pub fn change_refs_by(&self, git: &Program, changes: &[Change], message: &str) -> Result<(), GitError> {
        let mut input = String::from("start\0");
        for Change { name, from, to } in changes {
            let line = match (from, to) {
                (Expected::Absent, Some(to)) => format!("create {name}\0{to}\0"),
                (Expected::Exactly(from), Some(to)) => format!("update {name}\0{to}\0{from}\0"),
                (Expected::Exactly(from), None) => format!("delete {name}\0{from}\0"),
                (Expected::Absent, None) => continue,
            };
            input.push_str(&line);
        }
        input.push_str("prepare\0commit\0");
        let mut command = git.command(["update-ref", "--create-reflog", "--stdin", "-z"]);
        command.args(["-m", message]);
        // Hooks let a command that writes on heddle's behalf.
        let voucher = Voucher::issue(self.common_dir());
        if let Some(voucher) = &voucher {
            voucher.hand_to(&mut command);
        }
        let output = Program::output(&mut command, Some(input.as_bytes()))?;
        // Where its input cannot be read to the end it succeeds, and has done nothing.
        if output.status.success() && output.stdout.ends_with(b"commit: ok\n") {
            return Ok(());
        }
        Err(Program::failure(&command, &output))
    }

    /// Whom a reflog names.
    fn log_identity(&self) -> Result<git2::Signature<'static>, GitError> {
        let configured = self.raw().signature();
        Ok(configured.or_else(|_| git2::Signature::now("git-heddle", "git-heddle@localhost"))?)
    }

    /// The reflog of `name` with one more line, which says `message` of its tip `commit`: what
    /// its history goes on with under another name.
    ///
    /// # Errors
    /// [`GitError::Io`] if it cannot be read.
    pub fn continued_log(&self, name: &str, commit: &CommitId, message: &str) -> Result<Vec<u8>, GitError> {
        let path = self.common_dir().join("logs").join(name);
        let mut log = match fs::read(&path) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(GitError::Io { action: "read", path, source }),
        };
        if log.last().is_some_and(|byte| *byte != b'\n') {
            log.push(b'\n');
        }
        let who = self.log_identity()?;
        log.extend_from_slice(format!("{commit} {commit} ").as_bytes());
        log.extend_from_slice(who.name_bytes());
        log.extend_from_slice(b" <");
        log.extend_from_slice(who.email_bytes());
        log.extend_from_slice(format!("> {}\t{message}\n", raw_date(who.when())).as_bytes());
        Ok(log)
    }

    /// A ref above or below `name`, loose or packed, that keeps it from existing.
    ///
    /// # Errors
    /// [`GitError::Io`] if packed refs cannot be read.
    pub fn clash(&self, name: &str) -> Result<Option<String>, GitError> {
        for (at, _) in name.match_indices('/') {
            let above = &name[..at];
            if above.matches('/').count() >= 2 && self.raw().find_reference(above).is_ok() {
                return Ok(Some(above.to_owned()));
            }
        }
        let folder = self.common_dir().join(name);
        if let Some(file) = first_file(&folder) {
            let below = file.strip_prefix(self.common_dir()).unwrap_or(&file);
            return Ok(Some(below.to_string_lossy().into_owned()));
        }
        packed_below(&self.common_dir().join("packed-refs"), &format!("{name}/"))
    }

    /// What packed-refs has for the ref `name`, whatever its loose file says.
    ///
    /// # Errors
    /// [`GitError::Io`] if packed refs cannot be read.
    pub fn packed_ref(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        let line = packed_line(&self.common_dir().join("packed-refs"), name)?;
        // Of all names that begin with it, the name itself comes first.
        let line = line.filter(|line| ref_name(line) == Some(name.as_bytes()));
        Ok(line.and_then(|line| CommitId::parse(lossy(&line).split(' ').next()?).ok()))
    }
}

/// Some file below `folder` that is no lock; empty folders are what deleted refs leave.
fn first_file(folder: &Path) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            if let Some(found) = first_file(&path) {
                return Some(found);
            }
        } else if path.extension().is_none_or(|extension| extension != "lock") {
            return Some(path);
        }
    }
    None
}

/// The first packed ref whose name begins with `prefix`.
fn packed_below(path: &Path, prefix: &str) -> Result<Option<String>, GitError> {
    Ok(packed_line(path, prefix)?.and_then(|line| ref_name(&line).map(lossy)))
}

/// The line of the first packed ref whose name begins with `prefix`, found by bisection, so
/// that its cost does not grow with the number of refs.
fn packed_line(path: &Path, prefix: &str) -> Result<Option<Vec<u8>>, GitError> {
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

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The name in a line of packed-refs; `None` for a peeled id or a comment.
fn ref_name(line: &[u8]) -> Option<&[u8]> {
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

impl LockedRef<'_> {
    /// The ref's full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the ref is at, read under the lock.
    #[must_use]
    pub fn current(&self) -> Option<&CommitId> {
        self.current.as_ref()
    }

    /// Which file the lock is: the proof that it is ours if we die.
    #[must_use]
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Compares the ref with `expected`.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it is elsewhere.
    pub fn check(&self, expected: &Expected) -> Result<(), GitError> {
        if expected.is(self.current.as_ref()) {
            return Ok(());
        }
        Err(GitError::RefMoved {
            name: self.name.clone(),
            expected: match expected {
                Expected::Absent => None,
                Expected::Exactly(commit) => Some(commit.clone()),
            },
            actual: self.current.clone(),
        })
    }

    /// Compares the ref with `expected`, moves it to `new` with a line in its reflog, and
    /// unlocks it. The reflog is made if it does not exist.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it is not at `expected`, or as the system says: nothing is
    /// written, and the reflog is as it was.
    pub fn swap(self, expected: &Expected, new: &CommitId, message: &str) -> Result<(), GitError> {
        self.check(expected)?;
        let (repo, name) = (self.repo, self.name.clone());
        let log = repo.common_dir().join("logs").join(&name);
        let logged = fs::symlink_metadata(&log).map(|meta| meta.len());
        let Err(error) = self.set(new, message) else { return Ok(()) };
        // What fails last is the sync of a folder, and then the ref has moved for everybody.
        if repo.read_ref(&name)?.as_ref() == Some(new) {
            return Ok(());
        }
        // libgit2 writes the log first. Who else would write to it waited for our lock, and a
        // line of theirs is not ours to take.
        if let Ok(length) = logged
            && let Ok(file) = File::options().write(true).open(&log)
            && file.metadata().is_ok_and(|meta| meta.len() > length)
        {
            let _ = file.set_len(length);
        } else if logged.is_err() {
            let _ = fs::remove_file(&log);
        }
        Err(error)
    }

    fn set(mut self, new: &CommitId, message: &str) -> Result<(), GitError> {
        self.repo.raw().reference_ensure_log(&self.name)?;
        let oid = named(new.as_str())?;
        // A reflog's lines cannot hold a newline.
        let message = message.replace(['\n', '\r'], " ");
        let who = self.repo.log_identity()?;
        self.transaction.set_target(&self.name, oid, Some(&who), &message)?;
        self.transaction.commit()?;
        Ok(())
    }

    /// Makes the ref at `new` and unlocks it. Its reflog is the caller's to write.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if it exists: nothing is written.
    pub fn create_without_log(mut self, new: &CommitId) -> Result<(), GitError> {
        self.check(&Expected::Absent)?;
        let (oid, who) = (named(new.as_str())?, self.repo.log_identity()?);
        self.transaction.set_target(&self.name, oid, Some(&who), "")?;
        self.transaction.commit()?;
        Ok(())
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
        let find =
            |name: &str| packed_below(file.path(), &format!("refs/heddle/threads/{name}/")).expect("read");
        for number in 0..500 {
            let name = format!("t{number:04}");
            assert_eq!(find(&name), Some(format!("refs/heddle/threads/{name}/x")));
            assert_eq!(find(&format!("{name}a")), None);
        }
        assert_eq!(find("a"), None);
        assert_eq!(find("z"), None);
        let line = |name: &str| packed_line(file.path(), name).expect("read").map(|line| lossy(&line));
        let exact = "refs/heddle/threads/t0007/x";
        assert_eq!(line(exact), Some(format!("{} {exact}", "a".repeat(40))));
    }
}
