//! Hook files in one folder: ours put in and taken out, everybody else's left as it was.
//!
//! # If the process dies here
//! A hook is replaced by a written sibling that is renamed over it, so Git and whoever else
//! looks finds the old hook or the new one, whole and with its mode. To chain a hook, it is
//! first given a second name (a hard link), then ours takes the first: the old hook is
//! reachable by its own name until ours is, and by the other one ever after. Taking out
//! renames it back. What a killed process leaves (an unfinished sibling, a second name) is
//! cleared away or used by the next `hooks install` or `uninstall`.
//!
//! # If another does the same now
//! Installers of one repository exclude each other by a lock. A hook manager that writes the
//! same file takes no lock of ours; the last writer wins, as between any two managers, and
//! `hooks status` tells what is reached.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Event;
use super::chain::Chain;
use super::script::{self, Kind};
use crate::store::StoreError;
use crate::store::atomic_file::{self, Durability};

/// Siblings in the making are named like this; no hook of Git's is.
pub(super) const UNFINISHED: &str = ".heddle-hook-";
/// What a chained hook is called.
pub(super) const BEFORE: &str = ".before-heddle";
/// Why a hook is left alone from which ours cannot be told apart.
const TORN: &str = "one of the two marker lines around our part of it is gone: take that part out by hand";
/// What managers call a hook that they have put out of their way: lefthook, pre-commit.
const PUT_ASIDE: [&str; 2] = [".old", ".legacy"];

/// What was done about a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// There was none; now there is ours.
    Added,
    /// Ours was put into a shell script.
    Inserted,
    /// Ours took the place of a hook, and runs it.
    Chained,
    /// Ours was there, as another version has it.
    Updated,
    /// Ours was there.
    Unchanged,
    /// Ours was all there was, and is gone.
    Removed,
    /// What was there before is there again.
    Restored,
    /// Nothing, and why.
    Skipped(String),
}

/// What is in the place of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that is not ours.
    Other {
        /// Whether Git would run it.
        runs: bool,
        /// The hook manager that wrote it.
        manager: Option<&'static str>,
        /// Whether somebody has written a line into it that asks us.
        asks_us: bool,
    },
    /// Ours.
    Ours {
        /// How.
        kind: Kind,
        /// Whether it is what this version would install.
        current: bool,
        /// Whether it comes before anything else in the file.
        first: bool,
        /// Whether Git would run it.
        runs: bool,
    },
}

/// A hook in a folder.
#[derive(Debug, Clone, Copy)]
pub struct HookFile<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The hook.
    pub event: Event,
    /// How far writes promise to survive.
    pub durability: Durability,
}

impl HookFile<'_> {
    /// Where Git looks for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.event.name())
    }

    fn named(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}{suffix}", self.event.name()))
    }

    /// What is in its place.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn look(&self) -> Result<Found, StoreError> {
        let path = self.path();
        let Some(meta) = look_at(&path)? else { return Ok(Found::Nothing) };
        let runs = fs::metadata(&path).is_ok_and(|meta| is_executable(&meta));
        let content = if meta.is_dir() { Vec::new() } else { fs::read(&path).unwrap_or_default() };
        let ours = if meta.is_file() { script::remove(&content) } else { None };
        let Some(ours) = ours else {
            let asks_us = asks_us(self.event, &content);
            return Ok(Found::Other { runs, manager: manager_of(&path, &content), asks_us });
        };
        let current = self.wanted(&ours)? == Some(content);
        Ok(Found::Ours { kind: ours.kind, current, first: ours.first, runs })
    }

    /// The manager that has put ours aside and runs it from there, with the file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn run_by_manager(&self) -> Result<Option<(&'static str, PathBuf)>, StoreError> {
        // pre-commit gives no standard input to `post-rewrite`, and lefthook runs nothing that
        // it has put aside.
        if self.event == Event::PostRewrite {
            return Ok(None);
        }
        let legacy = self.named(".legacy");
        let managed = matches!(self.look()?, Found::Other { runs: true, manager: Some(PRE_COMMIT), .. });
        let ours = managed
            && look_at(&legacy)?.is_some_and(|meta| meta.is_file() && is_executable(&meta))
            && fs::read(&legacy).is_ok_and(|content| script::remove(&content).is_some());
        Ok(ours.then_some((PRE_COMMIT, legacy)))
    }

    /// Puts ours in.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the hook is then as it was.
    pub fn put(&self) -> Result<Done, StoreError> {
        // Where it is it outlives the manager's next installation.
        if self.run_by_manager()?.is_some() {
            return Ok(Done::Unchanged);
        }
        let done = self.put_first()?;
        for path in PUT_ASIDE.map(|suffix| self.named(suffix)) {
            if !look_at(&path)?.is_some_and(|meta| meta.is_file()) {
                continue;
            }
            let ours = script::remove(&read(&path)?);
            // A manager has put ours aside, and does not run it from there.
            if ours.is_some_and(|ours| ours.kind == Kind::Whole && ours.rest.is_none()) {
                atomic_file::remove(&path)?;
            }
        }
        Ok(done)
    }

    /// Puts ours where Git looks.
    fn put_first(&self) -> Result<Done, StoreError> {
        let path = self.path();
        let Some(meta) = look_at(&path)? else {
            self.write(&path, &script::whole(self.event), None)?;
            return Ok(Done::Added);
        };
        if meta.is_dir() {
            return Ok(Done::Skipped("there is a folder in its place".to_owned()));
        }
        if meta.is_file() {
            let content = read(&path)?;
            if let Some(ours) = script::remove(&content) {
                return self.renew(&path, &content, &ours, &meta);
            }
            if script::is_torn(&content) {
                return Ok(Done::Skipped(TORN.to_owned()));
            }
            if is_executable(&meta)
                && let Some(text) = script::insert(self.event, &content)
            {
                self.write(&path, &text, Some(&meta))?;
                return Ok(Done::Inserted);
            }
        }
        self.chain(&path, &meta)
    }

    /// Brings our part of a file up to date.
    fn renew(
        &self,
        path: &Path,
        content: &[u8],
        ours: &script::Ours,
        meta: &Metadata,
    ) -> Result<Done, StoreError> {
        if ours.kind == Kind::Chained && look_at(&self.named(BEFORE))?.is_some() {
            // There may be neighbours that are new.
            self.link_up(&Chain::of(self.folder))?;
        }
        match self.wanted(ours)? {
            Some(wanted) if ours.rest.is_none() && !is_executable(meta) => {
                // Git would pass over it, and nobody else has a say in it.
                self.write(path, &wanted, None)?;
                Ok(Done::Updated)
            }
            Some(wanted) if wanted == content => Ok(Done::Unchanged),
            Some(wanted) => {
                self.write(path, &wanted, Some(meta))?;
                Ok(Done::Updated)
            }
            None => Ok(Done::Skipped("what was added to it is no shell script".to_owned())),
        }
    }

    /// What the file should be that has `ours` in it.
    fn wanted(&self, ours: &script::Ours) -> Result<Option<Vec<u8>>, StoreError> {
        let chained = ours.kind == Kind::Chained && look_at(&self.named(BEFORE))?.is_some();
        Ok(match &ours.rest {
            None if chained => Some(script::chained(self.event, &Chain::of(self.folder).way)),
            None => Some(script::whole(self.event)),
            Some(rest) => script::insert(self.event, rest),
        })
    }

    /// Has ours take the place of what is there, and run it.
    fn chain(&self, path: &Path, meta: &Metadata) -> Result<Done, StoreError> {
        let before = self.named(BEFORE);
        let chain = Chain::of(self.folder);
        let there = look_at(&before)?;
        // The same file was left by a process that died between the two steps.
        let other = there.as_ref().is_some_and(|one| (one.dev(), one.ino()) != (meta.dev(), meta.ino()));
        let in_the_way = if other { Some(before.clone()) } else { chain.in_the_way(self.event.name()) };
        if let Some(in_the_way) = in_the_way {
            return Ok(Done::Skipped(format!(
                "{in_the_way:?} is there already; remove that one or the hook, whichever is not needed, and \
                 install again"
            )));
        }
        let chained = self
            .link_up(&chain)
            .and_then(|()| match there {
                None => fs::hard_link(path, &before).map_err(StoreError::io("link", &before)),
                Some(_) => Ok(()),
            })
            .and_then(|()| self.write(path, &script::chained(self.event, &chain.way), None));
        if chained.is_err() {
            // What cannot be removed either is for the next to find.
            let _ = self.clear_leftovers();
        }
        chained.map(|()| Done::Chained)
    }

    /// The hook is run by a link of its own name, with its neighbours: it may ask for both.
    fn link_up(&self, chain: &Chain<'_>) -> Result<(), StoreError> {
        let before = self.named(BEFORE);
        chain.link(self.event.name(), before.file_name().unwrap_or_default(), self.durability)
    }

    /// Takes ours out, also where a manager has put it aside; what was done to which file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn take_out(&self) -> Result<Vec<(PathBuf, Done)>, StoreError> {
        let mut done = Vec::new();
        let places = std::iter::once(self.path()).chain(PUT_ASIDE.map(|suffix| self.named(suffix)));
        for path in places {
            let Some(meta) = look_at(&path)?.filter(Metadata::is_file) else { continue };
            let content = read(&path)?;
            let Some(ours) = script::remove(&content) else {
                if script::is_torn(&content) {
                    done.push((path, Done::Skipped(TORN.to_owned())));
                }
                continue;
            };
            let before = self.named(BEFORE);
            if ours.kind == Kind::Chained && ours.rest.is_none() && look_at(&before)?.is_some() {
                fs::rename(&before, &path).map_err(StoreError::io("rename", &before))?;
                done.push((path, Done::Restored));
            } else if let Some(rest) = ours.rest {
                self.write(&path, &rest, Some(&meta))?;
                done.push((path, Done::Restored));
            } else {
                atomic_file::remove(&path)?;
                done.push((path, Done::Removed));
            }
        }
        self.clear_leftovers()?;
        if self.folder.is_dir() {
            atomic_file::sync_folder(self.folder, self.durability)?;
        }
        Ok(done)
    }

    /// Removes what only a chained hook needs, where none is.
    fn clear_leftovers(&self) -> Result<(), StoreError> {
        let before = self.named(BEFORE);
        if let (Some(second), Some(first)) = (look_at(&before)?, look_at(&self.path())?)
            && (second.dev(), second.ino()) == (first.dev(), first.ino())
        {
            // A second name that a killed installer gave it.
            atomic_file::remove(&before)?;
        }
        if look_at(&before)?.is_none() {
            for chain in Chain::all(self.folder) {
                chain.unlink(self.event.name(), &|name| format!("{name}{BEFORE}"))?;
            }
        }
        Ok(())
    }

    /// Replaces `path`, with the mode and the owner of the file that it replaces.
    fn write(&self, path: &Path, content: &[u8], replaces: Option<&Metadata>) -> Result<(), StoreError> {
        atomic_file::create_folder(self.folder, self.durability)
            .map_err(StoreError::io("make", self.folder))?;
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(UNFINISHED)
                // What the umask leaves of it, as of any new hook.
                .permissions(Permissions::from_mode(0o777))
                .tempfile_in(self.folder)?;
            file.write_all(content)?;
            if let Some(meta) = replaces {
                keep_owner(file.as_file(), meta);
                file.as_file().set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
            }
            if self.durability == Durability::PowerLoss {
                file.as_file().sync_all()?;
            }
            file.persist(path)?;
            Ok(())
        };
        write().map_err(StoreError::io("write", path))?;
        atomic_file::sync_folder(self.folder, self.durability)
    }
}

/// Removes what killed installers left in `folder`. Their lock is ours now.
///
/// # Errors
/// [`StoreError::Io`].
pub fn clear_unfinished(folder: &Path) -> Result<(), StoreError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            atomic_file::remove(&entry.path())?;
        }
    }
    Ok(())
}

const PRE_COMMIT: &str = "pre-commit";

/// The hook manager that wrote a file, by what it writes into it.
fn manager_of(path: &Path, content: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(content);
    if text.contains("File generated by pre-commit") {
        return Some(PRE_COMMIT);
    }
    if text.contains("call_lefthook") {
        return Some("lefthook");
    }
    let husky = path.parent().is_some_and(|folder| folder.ends_with(".husky/_"));
    husky.then_some("husky")
}

/// Whether a line that is no comment asks us about `event`.
fn asks_us(event: Event, content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let asks = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let asked = ["hooks", "run", event.name()];
        !line.trim_start().starts_with('#')
            && line.contains("heddle")
            && words.windows(3).any(|found| found == asked)
    };
    text.lines().any(asks)
}

/// A file that another owner's installer writes stays that owner's, as far as we may.
fn keep_owner(file: &File, meta: &Metadata) {
    if file.metadata().is_ok_and(|new| (new.uid(), new.gid()) != (meta.uid(), meta.gid())) {
        let _ = std::os::unix::fs::fchown(file, Some(meta.uid()), Some(meta.gid()));
    }
}

fn is_executable(meta: &Metadata) -> bool {
    meta.mode() & 0o111 != 0
}

/// The file itself, not what a link names; `None` if there is none.
fn look_at(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(StoreError::io("read", path))
}
