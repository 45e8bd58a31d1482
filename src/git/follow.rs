//! Moving HEAD and index of a worktree along with a capture, so that `git status` there is
//! clean: only in a worktree that heddle made, and only where both are what they were when
//! the capture began. The thread has moved by then, so nothing here fails the command; what
//! is left as it is gets a sentence.
//!
//! # If the process dies here
//! Between the ref and HEAD, or between HEAD and index: the next capture in this worktree
//! comes here again, also if it finds nothing to capture, and moves what was left. Git's
//! locks that the dead process held are known by their inode, which its scratch folder has
//! too (`unlock_after`), and removed with that folder; any other lock is somebody else's.
//!
//! # If another does the same now
//! HEAD is compared and swapped under Git's own lock; the index is replaced under its
//! `index.lock`, after it was compared with what the capture began with.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha1::{Digest as _, Sha1};

use super::index_file::NO_HASH;
use super::only::Only;
use super::program::{LITERAL, Program, hand_on_pathspecs};
use super::refs::{Expected, Intent};
use super::reftable::lock_below;
use super::repo::Head;
use super::stage::{Staging, Stamp, io_error};
use super::staged::Modes;
use super::{GitError, Repo};
use crate::names::CommitId;
use crate::store::at_once;
use crate::store::journal::{FileIdentity, Helper};

/// In the scratch folder: which file Git's lock on HEAD is.
const HEAD_LOCK: &str = "head-lock";
/// In the scratch folder: the index that follows where the private one does not.
const FOLLOWING: &str = "index.follow";

/// What of the index follows a capture of some paths.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// What was captured.
    pub changed: &'a [Vec<u8>],
    /// What the user named, relative to `cwd`: what is only staged there goes with it.
    pub pathspec: &'a [OsString],
    /// The folder that `pathspec` is relative to.
    pub cwd: &'a Path,
}

/// What became of putting the index together here.
enum Spliced {
    /// It need not be changed.
    AsItIs,
    /// It lies here.
    New(PathBuf),
    /// Git has to.
    ByGit,
}

impl Staging<'_> {
    /// Moves HEAD from `from`, and the index, to `to`. With `named` only those entries of
    /// the index follow, as after `git commit --only`: what else is staged stays staged.
    ///
    /// Returns a sentence for each that was left as it is.
    #[must_use]
    pub fn follow(&self, from: &CommitId, to: &CommitId, named: Option<&Named<'_>>) -> Vec<String> {
        let why = format!("heddle: capture {}", to.short());
        match move_head(self.repo, self.scratch.path(), from, to, &why) {
            Ok(None) => {}
            Ok(Some(left)) => return vec![left],
            Err(error) => return vec![format!("HEAD of this worktree did not follow: {error}")],
        }
        match self.move_index(to, named) {
            Ok(None) => Vec::new(),
            Ok(Some(left)) => vec![left],
            Err(error) => vec![format!("the index of this worktree did not follow: {error}")],
        }
    }

    /// Installs the private index, or one with only what is `named` moved, as the worktree's own.
    fn move_index(&self, to: &CommitId, named: Option<&Named<'_>>) -> Result<Option<String>, GitError> {
        let own = self.repo.git_dir().join("index");
        if self.copied != Stamp::of(&own) {
            return Ok(Some("the index changed during the capture and was left as it is".to_owned()));
        }
        let mut spliced = false;
        let source = match (named, &self.only) {
            (Some(Named { changed: [], .. }), _) => return Ok(None),
            (named, Some(only)) => match self.splice(only, to)? {
                Spliced::AsItIs => return Ok(None),
                Spliced::New(copy) => {
                    spliced = true;
                    copy
                }
                Spliced::ByGit => self.reset_copy(&own, to, named)?,
            },
            (None, None) if self.is_split() => self.reset_copy(&own, to, None)?,
            (None, None) => self.index(),
            (named @ Some(_), None) => self.reset_copy(&own, to, named)?,
        };
        if Stamp::of(&source) == self.copied {
            return Ok(None);
        }
        let lock = self.repo.git_dir().join("index.lock");
        // A second name for the same file keeps its time, by which Git tells what it has to
        // compare by content, and fails if somebody holds the lock.
        let locked = fs::hard_link(&source, &lock).or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Err(error),
            _ => copy_new(&source, &lock),
        });
        match locked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Ok(Some("the index is locked by another process and was left as it is".to_owned()));
            }
            Err(error) => return Err(io_error("write", &lock)(error)),
        }
        if self.copied != Stamp::of(&own) {
            let _ = fs::remove_file(&lock);
            return Ok(Some("the index changed during the capture and was left as it is".to_owned()));
        }
        fs::rename(&lock, &own).map_err(|error| {
            let _ = fs::remove_file(&lock);
            io_error("write", &own)(error)
        })?;
        self.spliced.set(spliced);
        Ok(None)
    }

    /// The worktree's index, if it stood at the tip, with what was staged of some paths.
    fn splice(&self, only: &Only, to: &CommitId) -> Result<Spliced, GitError> {
        let tree = |commit: &CommitId| {
            Ok::<_, GitError>(self.repo.raw().find_commit(self.repo.oid(commit.as_str())?)?.tree_id())
        };
        let (before, after) = (tree(&self.tip)?, tree(to)?);
        if before == after
            && let Some(whole) = self.whole.borrow_mut().as_mut()
            && whole.is(&self.repo.raw().odb()?, before)?
        {
            return Ok(Spliced::AsItIs);
        }
        let Some((bytes, modified)) = self.put_together(only, after)? else { return Ok(Spliced::ByGit) };
        let config = self.repo.config()?;
        let spared = match config.bool("index.skipHash")? {
            Some(spared) => spared,
            None => config.bool("feature.manyFiles")?.unwrap_or(false),
        };
        let copy = self.scratch.path().join(FOLLOWING);
        let write = || {
            let mut file = File::create_new(&copy)?;
            let hash = || if spared { NO_HASH } else { Sha1::digest(&bytes).into() };
            let (written, hash) = at_once::both(|| file.write_all(&bytes), hash);
            written?;
            file.write_all(&hash)?;
            file.set_modified(modified)
        };
        write().map_err(io_error("write", &copy))?;
        Ok(Spliced::New(copy))
    }

    /// The index that `only` knows its files from, if it stood at the tip, with what was staged of
    /// these, which makes it the tree `tree`; `None` where git has to. It keeps its time: by that Git
    /// tells that what was written since has to be compared by content. Its hash is not there yet.
    pub(super) fn put_together(
        &self,
        only: &Only,
        tree: git2::Oid,
    ) -> Result<Option<(Vec<u8>, SystemTime)>, GitError> {
        let raw = self.repo.raw();
        let tip = raw.find_commit(self.repo.oid(self.tip.as_str())?)?.tree_id();
        let odb = raw.odb()?;
        let Some(mut whole) = self.whole.borrow_mut().take() else { return Ok(None) };
        if !whole.is(&odb, tip)? {
            return Ok(None);
        }
        let index = self.index();
        let entries = match only.entries_after(&index, self.repo.id_size()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(io_error("read", &index)(error)),
        };
        let modified = whole.modified;
        Ok(whole.with(&odb, tree, &entries)?.map(|bytes| (bytes, modified)))
    }

    /// A copy of the worktree's index in which what is `named`, or all, is as in `commit`.
    fn reset_copy(
        &self,
        own: &Path,
        commit: &CommitId,
        named: Option<&Named<'_>>,
    ) -> Result<std::path::PathBuf, GitError> {
        let copy = self.scratch.path().join(FOLLOWING);
        self.copy_to(own, &copy)?;
        self.take_out_announced(&copy, commit, named.map(|named| named.changed))?;
        let Some(named) = named else {
            let mut command =
                self.git(["-c", "core.splitIndex=false", "read-tree", "-i", "-m", commit.as_str()]);
            command.env("GIT_INDEX_FILE", &copy);
            return Program::run(&mut command, None).map(|_| copy);
        };
        // Looking at every file of the worktree once more would cost more than all the rest.
        let mut command = self.git(["reset", "--quiet", "--no-refresh"]);
        command.env("GIT_INDEX_FILE", &copy);
        command.args(["--pathspec-from-file=-", "--pathspec-file-nul", commit.as_str()]);
        let (mut input, mut modes) = (Vec::new(), Modes::default());
        let mut magic = &b""[..];
        let told = self.is_told_by_files()?;
        if !told && !named.pathspec.is_empty() {
            modes = self.restage_named(&copy, commit, named)?;
        }
        if told && std::env::var_os(LITERAL).is_none() {
            hand_on_pathspecs(&mut command);
            command.current_dir(named.cwd);
            magic = b":(top,literal)";
            for given in named.pathspec {
                input.extend([given.as_bytes(), &[0]].concat());
            }
        } else {
            command.env(LITERAL, "1");
        }
        // A hook may have staged what was not named.
        for path in named.changed {
            input.extend([magic, path, &[0]].concat());
        }
        Program::run(&mut command, Some(&input))?;
        self.set_modes(&copy, &modes)?;
        Ok(copy)
    }

    /// Whether all that is staged of a file could be told by the file, so that nothing of it is
    /// lost where it is staged no more.
    fn is_told_by_files(&self) -> Result<bool, GitError> {
        let config = self.repo.config()?;
        let is_set = |key, usual| Ok::<_, GitError>(config.bool(key)?.unwrap_or(usual));
        Ok(is_set("core.fileMode", true)?
            && is_set("core.symlinks", true)?
            && !is_set("core.sparseCheckout", false)?)
    }
}

/// Moves a detached HEAD from `from` to `to`; a sentence if it is anything else.
pub(super) fn move_head(
    repo: &Repo,
    scratch: &Path,
    from: &CommitId,
    to: &CommitId,
    why: &str,
) -> Result<Option<String>, GitError> {
    match repo.head()? {
        Head::Detached { commit } if commit == *to => return Ok(None),
        Head::Detached { commit } if commit != *from => {
            return Ok(Some(format!("HEAD moved to {commit} meanwhile and was left there")));
        }
        Head::Detached { .. } => {}
        Head::Branch { name, .. } | Head::Unborn { branch: name } => {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(&name);
            return Ok(Some(format!("HEAD is on branch '{branch}', which was left where it is")));
        }
    }
    // Briefly: whoever holds it is about to move HEAD elsewhere.
    let intent = Intent::Move { to, message: why };
    let head = repo.lock_ref("HEAD", intent, std::time::Duration::from_millis(100))?;
    let note = scratch.join(HEAD_LOCK);
    let identity = serde_json::to_vec(&head.identity()).map_err(io::Error::from);
    identity.and_then(|identity| fs::write(&note, identity)).map_err(io_error("write", &note))?;
    head.swap(&Expected::Exactly(from.clone()), to, why)?;
    Ok(None)
}

/// Removes the locks of Git's that the dead process of `scratch` held in the worktree with
/// the Git directory `git_dir`.
pub(super) fn unlock_after(scratch: &Path, git_dir: &Path) {
    let lock = git_dir.join("index.lock");
    let held = FileIdentity::of(&lock);
    if held.is_some() && ["index", FOLLOWING].iter().any(|name| FileIdentity::of(&scratch.join(name)) == held)
    {
        let _ = fs::remove_file(&lock);
    }
    unlock_head(scratch, git_dir);
}

/// Removes the lock on HEAD that the dead process of `scratch` held.
pub(super) fn unlock_head(scratch: &Path, git_dir: &Path) {
    let noted = fs::read(scratch.join(HEAD_LOCK)).unwrap_or_default();
    let Ok(noted) = serde_json::from_slice::<FileIdentity>(&noted) else { return };
    for lock in [git_dir.join("HEAD.lock"), lock_below(git_dir)] {
        // A git that held it for the dead process gives it back by itself.
        if noted.is_at(&lock) && noted.helper.is_none_or(Helper::is_gone) {
            let _ = fs::remove_file(&lock);
        }
    }
}

/// Copies `source` with its time to `to`, which must not exist.
fn copy_new(source: &Path, to: &Path) -> io::Result<()> {
    let mut new = File::options().write(true).create_new(true).open(to)?;
    let copied = fs::read(source).and_then(|bytes| new.write_all(&bytes));
    let timed = copied.and_then(|()| new.set_modified(fs::metadata(source)?.modified()?));
    timed.inspect_err(|_| {
        let _ = fs::remove_file(to);
    })
}
