//! Refs that are files of their own, or lines of `packed-refs`: libgit2 reads and writes
//! them; they are listed by `listing`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::backend::{RefStore, Value};
use super::head::Moved;
use super::listing::{self, Listed};
use super::refs::{Hold, Intent, LockedRef};
use super::repo::commit_id;
use super::room::{PAUSE, TRIES, first_file, is_lock};
use super::{GitError, Repo, packed};
use crate::names::CommitId;
use crate::store::journal::FileIdentity;

/// The refs of a repository that keeps them so.
pub(super) struct Files;

impl RefStore for Files {
    fn read(&self, repo: &Repo, name: &str) -> Result<Option<Value>, GitError> {
        match repo.raw().find_reference(name) {
            Ok(found) => Ok(Some(value(&found))),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn below(&self, repo: &Repo, prefix: &str) -> Result<Vec<(String, Value)>, GitError> {
        let usable = |(name, listed)| {
            let value = match listed {
                Listed::Id(id) => Value::Id(id),
                Listed::Symbolic(target) => Value::Symbolic(target),
                Listed::Broken => return None,
            };
            Some((String::from_utf8(name).ok()?, value))
        };
        Ok(listing::below(repo.common_dir(), prefix, repo.id_size())?
            .into_iter()
            .filter_map(usable)
            .collect())
    }

    fn first_below(&self, repo: &Repo, prefix: &str) -> Result<Option<String>, GitError> {
        if let Some(file) = first_file(&repo.common_dir().join(prefix), |path| !is_lock(path)) {
            let below = file.strip_prefix(repo.common_dir()).unwrap_or(&file);
            return Ok(Some(below.to_string_lossy().into_owned()));
        }
        packed::below(&repo.common_dir().join("packed-refs"), prefix)
    }

    fn head_of(&self, _repo: &Repo, git_dir: &Path) -> Result<Option<Value>, GitError> {
        let Ok(text) = fs::read_to_string(git_dir.join("HEAD")) else { return Ok(None) };
        let text = text.trim_end();
        Ok(match text.strip_prefix("ref: ") {
            Some(name) => Some(Value::Symbolic(name.to_owned())),
            None => CommitId::parse(text).ok().map(Value::Id),
        })
    }

    fn lock_file(&self, repo: &Repo, name: &str) -> PathBuf {
        // HEAD is each worktree's own.
        let folder = if name == "HEAD" { repo.git_dir() } else { repo.common_dir() };
        folder.join(format!("{name}.lock"))
    }

    fn lock_file_of_head(&self, git_dir: &Path) -> PathBuf {
        git_dir.join("HEAD.lock")
    }

    fn lock<'repo>(
        &self,
        repo: &'repo Repo,
        wanted: &[(&str, Intent<'_>)],
        timeout: Duration,
    ) -> Result<Vec<LockedRef<'repo>>, GitError> {
        let deadline = Instant::now() + timeout;
        for (name, _) in wanted.iter().filter(|(_, intent)| intent.target().is_some()) {
            repo.let_pass(name, deadline)?;
        }
        wanted.iter().map(|(name, intent)| lock(repo, name, *intent, timeout)).collect()
    }

    fn was_at(&self, repo: &Repo, name: &str, commit: &CommitId) -> Result<bool, GitError> {
        let wanted = repo.oid(commit.as_str())?;
        let log = repo.raw().reflog(name)?;
        Ok(log.iter().any(|entry| entry.id_new() == wanted || entry.id_old() == wanted))
    }

    fn moved_at(&self, repo: &Repo, name: &str) -> (i64, u128) {
        let log = repo.raw().reflog(name).ok();
        let last = log.as_ref().and_then(|log| log.get(0)).map(|entry| entry.committer().when().seconds());
        let written = fs::metadata(repo.common_dir().join("logs").join(name));
        let written = written.and_then(|meta| meta.modified()).ok();
        let written = written.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        (last.unwrap_or(0), written.map_or(0, |time| time.as_nanos()))
    }

    fn last_move_of_head(&self, repo: &Repo) -> Option<Moved> {
        use std::os::unix::fs::FileExt as _;
        /// Longer than a line, but for absurd names and messages.
        const END: u64 = 16 << 10;
        let file = fs::File::open(repo.git_dir().join("logs/HEAD")).ok()?;
        let size = file.metadata().ok()?.len();
        let length = usize::try_from(size.min(END)).ok()?;
        let mut end = vec![0u8; length];
        file.read_exact_at(&mut end, size - length as u64).ok()?;
        let text = String::from_utf8_lossy(&end);
        Moved::parse(text.trim_end_matches('\n').rsplit('\n').next()?)
    }
}

/// What a ref is.
fn value(reference: &git2::Reference<'_>) -> Value {
    match reference.target() {
        Some(id) => Value::Id(commit_id(id)),
        None => Value::Symbolic(packed::lossy(reference.symbolic_target_bytes().unwrap_or_default())),
    }
}

/// Takes the lock on one ref, as [`RefStore::lock`] does on several; on one that is to be made, with
/// room for it and its log.
fn lock<'repo>(
    repo: &'repo Repo,
    name: &str,
    intent: Intent<'_>,
    timeout: Duration,
) -> Result<LockedRef<'repo>, GitError> {
    let deadline = Instant::now() + timeout;
    loop {
        if intent.target().is_some()
            && let Some(above) = repo.make_folders(name)
        {
            above.wait(deadline)?;
            continue;
        }
        let locked = take(repo, name, deadline)?;
        if locked.current.is_some() {
            return Ok(locked);
        }
        if let Some(existing) = repo.clash(name)? {
            return Err(GitError::RefClash { name: name.to_owned(), existing });
        }
        if intent.target().is_none() {
            return Ok(locked);
        }
        let Some(above) = repo.make_room(name, deadline)? else { return Ok(locked) };
        drop(locked);
        above.wait(deadline)?;
    }
}

/// Takes the lock on one ref, and reads it.
fn take<'repo>(repo: &'repo Repo, name: &str, deadline: Instant) -> Result<LockedRef<'repo>, GitError> {
    let lock = repo.lock_of(name);
    let mut tries = 0;
    let transaction = loop {
        let mut transaction = repo.raw().transaction()?;
        match transaction.lock_ref(name) {
            Ok(()) => break transaction,
            Err(error) if error.code() != git2::ErrorCode::Locked => {
                if let Some(existing) = repo.clash(name)? {
                    return Err(GitError::RefClash { name: name.to_owned(), existing });
                }
                // The folder that it goes into was removed as an empty one, or another is being made
                // below.
                tries += 1;
                match repo.lock_below(name) {
                    Some(below) => below.wait(deadline)?,
                    None if tries >= TRIES => return Err(error.into()),
                    None => std::thread::sleep(PAUSE),
                }
            }
            Err(_) if Instant::now() >= deadline => {
                return Err(GitError::RefLocked { name: name.to_owned(), lock });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    };
    let Some(identity) = FileIdentity::of(&lock) else {
        return Err(GitError::RefLocked { name: name.to_owned(), lock });
    };
    let current = repo.read_ref(name)?;
    Ok(LockedRef { repo, hold: Hold::Library(transaction), name: name.to_owned(), current, identity })
}
