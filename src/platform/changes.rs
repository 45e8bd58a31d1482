//! What changes in a tree of folders, as the system tells it (on Linux inotify).
//!
//! Every folder is watched, since the system watches names in one folder, not trees; a folder
//! that appears is watched with all that is in it. A path is told of with the number of the
//! change, so that whoever has seen the tree at one time can ask for what came after.
//!
//! # What is guaranteed
//! Whoever asks after a change was made is told of it: the system queues what it tells before
//! the call that changed something returns, and nothing is answered before the queue is empty
//! and every new folder is watched. What may have happened in a folder before it was watched
//! is covered by telling of the folder as a whole. Where that cannot be said (the queue ran
//! over, the folder itself went), there is no answer.
//!
//! # What is not
//! The system does not tell of writes through a memory mapping before that is undone, of writes
//! through a second name of a file outside of the tree, nor of what another machine does on a
//! network file system ([`is_told_of`] refuses those that are not known to be local).

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::change::{Changed, Trouble};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags as Told, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// How many paths are kept apart; of more only that there were many is known.
const MOST_PATHS: usize = 16_384;
/// How many folders are watched at most, whatever the system allows: the allowance is the
/// user's, for all programs together.
const MOST_FOLDERS: usize = 100_000;
/// The part of the user's allowance that one tree may take.
const SHARE: usize = 4;

/// A tree that is watched.
#[derive(Debug)]
pub struct Changes {
    /// The top folder, by a name that stays its own wherever it is moved to.
    root: PathBuf,
    _root: File,
    inotify: Inotify,
    most: usize,
    folders: HashMap<WatchDescriptor, Vec<u8>>,
    watches: BTreeMap<Vec<u8>, WatchDescriptor>,
    /// Folders that are there and not watched yet.
    unwatched: Vec<Vec<u8>>,
    bell: (PathBuf, WatchDescriptor),
    rang: bool,
    at: u64,
    /// Before this number it is not known what changed.
    floor: u64,
    changed: BTreeMap<Vec<u8>, (u64, bool)>,
}

/// Whether the system is told of everything that changes in the file system of `folder`: one
/// that nobody else writes to.
#[must_use]
pub fn is_told_of(folder: &Path) -> bool {
    use nix::sys::statfs as fs;
    let local = [
        fs::EXT4_SUPER_MAGIC,
        fs::XFS_SUPER_MAGIC,
        fs::BTRFS_SUPER_MAGIC,
        fs::F2FS_SUPER_MAGIC,
        fs::TMPFS_MAGIC,
        fs::OVERLAYFS_SUPER_MAGIC,
    ];
    fs::statfs(folder).is_ok_and(|found| local.contains(&found.filesystem_type()))
}

impl Changes {
    /// Prepares to watch the tree `root`, changes being counted on from `at`. `bell` is a
    /// folder of ours in the same queue, by which it is told that the queue is empty.
    ///
    /// # Errors
    /// [`Trouble::Unable`].
    pub fn begin(root: &Path, bell: &Path, at: u64) -> Result<Self, Trouble> {
        let unable = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| Trouble::Unable(format!("{what}: {error}"))
        };
        let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY | nix::libc::O_CLOEXEC;
        let folder = File::options().read(true).custom_flags(flags).open(root);
        let folder = folder.map_err(unable("cannot open the worktree"))?;
        let none_left = |error: Errno| unable("no more watches")(error.into());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(none_left)?;
        let rings = inotify.add_watch(bell, Told::IN_CREATE | Told::IN_ONLYDIR).map_err(none_left)?;
        let allowed = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok();
        let allowed = allowed.and_then(|text| text.trim().parse::<usize>().ok());
        Ok(Self {
            root: format!("/proc/self/fd/{}", folder.as_raw_fd()).into(),
            _root: folder,
            inotify,
            most: allowed.map_or(MOST_FOLDERS, |allowed| (allowed / SHARE).min(MOST_FOLDERS)),
            folders: HashMap::new(),
            watches: BTreeMap::new(),
            unwatched: vec![Vec::new()],
            bell: (bell.to_owned(), rings),
            rang: false,
            at: at + 1,
            floor: at + 1,
            changed: BTreeMap::new(),
        })
    }

    /// Watches the next folder that is not yet; whether there are more.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn watch_more(&mut self) -> Result<bool, Trouble> {
        if let Some(path) = self.unwatched.pop() {
            self.enter(path)?;
        }
        Ok(!self.unwatched.is_empty())
    }

    /// Takes note of all that the system has told so far; whether that was anything.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn note(&mut self) -> Result<bool, Trouble> {
        let mut any = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) if events.is_empty() => return Ok(any),
                Ok(events) => {
                    any = true;
                    events.into_iter().try_for_each(|event| self.note_one(event))?;
                }
                Err(Errno::EAGAIN) => return Ok(any),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(Trouble::Unable(format!("cannot read changes: {error}"))),
            }
        }
    }

    /// Takes note of everything that was changed before this call. True if all of the tree is
    /// watched, which may take until `patience` is out.
    ///
    /// # Errors
    /// [`Trouble`]; a bell that is not heard is [`Trouble::Unable`].
    pub fn catch_up(&mut self, mut patience: impl FnMut() -> bool) -> Result<bool, Trouble> {
        self.rang = false;
        let bell = self.bell.0.join("bell");
        let _ = fs::remove_file(&bell);
        let rung = File::create_new(&bell).and_then(|_| fs::remove_file(&bell));
        rung.map_err(|error| Trouble::Unable(format!("cannot write {bell:?}: {error}")))?;
        self.note()?;
        if !self.rang {
            return Err(Trouble::Unable("the system does not tell of changes".to_owned()));
        }
        while !self.unwatched.is_empty() {
            if !patience() {
                return Ok(false);
            }
            self.watch_more()?;
        }
        Ok(true)
    }

    /// The number of the last change.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// What changed after the change `since`; `None` if that is too long ago to know.
    #[must_use]
    pub fn since(&self, since: u64) -> Option<Vec<Changed>> {
        let after = self.changed.iter().filter(|(_, (at, _))| *at > since);
        let changed = after.map(|(path, (_, whole))| Changed { path: path.clone(), whole: *whole });
        (since >= self.floor && since <= self.at).then(|| changed.collect())
    }

    /// Forgets what nobody asks for any more: all changes up to `at`.
    pub fn forget_until(&mut self, at: u64) {
        self.changed.retain(|_, (changed, _)| *changed > at);
        self.floor = self.floor.max(at.min(self.at));
    }

    fn mark(&mut self, path: Vec<u8>, whole: bool) {
        self.at += 1;
        let mark = self.changed.entry(path).or_default();
        *mark = (self.at, mark.1 || whole);
        if self.changed.len() > MOST_PATHS {
            self.changed.clear();
            self.floor = self.at;
        }
    }

    /// Watches the folder at `path`, and has those in it watched later.
    fn enter(&mut self, path: Vec<u8>) -> Result<(), Trouble> {
        let folder = self.root.join(if path.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(&path) });
        let mut wanted = Told::IN_CREATE
            | Told::IN_DELETE
            | Told::IN_MODIFY
            | Told::IN_CLOSE_WRITE
            | Told::IN_ATTRIB
            | Told::IN_MOVED_FROM
            | Told::IN_MOVED_TO
            | Told::IN_ONLYDIR
            | Told::IN_DONT_FOLLOW;
        if path.is_empty() {
            wanted |= Told::IN_DELETE_SELF | Told::IN_MOVE_SELF;
        }
        let watch = match self.inotify.add_watch(&folder, wanted) {
            Ok(watch) => watch,
            // It is gone again, or something else is in its place: its folder's changes tell.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(Errno::ENOSPC | Errno::ENOMEM) => {
                return Err(Trouble::Unable("the user's watches are used up".to_owned()));
            }
            Err(error) => {
                let path = String::from_utf8_lossy(&path);
                return Err(Trouble::Unable(format!("cannot watch '{path}': {error}")));
            }
        };
        if self.folders.len() >= self.most {
            return Err(Trouble::Unable(format!("there are more than {} folders", self.most)));
        }
        // A folder keeps its watch where it is moved to.
        let before = self.folders.insert(watch, path.clone()).filter(|before| *before != path);
        if let Some(before) = before.filter(|before| self.watches.get(before) == Some(&watch)) {
            self.watches.remove(&before);
        }
        if let Some(stale) = self.watches.insert(path.clone(), watch).filter(|stale| *stale != watch) {
            self.unwatch(stale);
        }
        let unreadable = |error: io::Error| {
            let path = String::from_utf8_lossy(&path).into_owned();
            Trouble::Unable(format!("cannot read the folder '{path}': {error}"))
        };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(&unreadable)?;
            let name = entry.file_name();
            if name != ".git" && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.unwatched.push(below(&path, name.as_bytes()));
            }
        }
        Ok(())
    }

    fn unwatch(&mut self, watch: WatchDescriptor) {
        self.folders.remove(&watch);
        // The system drops that of a folder that is gone by itself.
        let _ = self.inotify.rm_watch(watch);
    }

    /// Forgets the folder that was at `path`, and those below it.
    fn leave(&mut self, path: &[u8]) {
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        let mut gone: Vec<(Vec<u8>, WatchDescriptor)> =
            self.watches.range(from..to).map(|(path, watch)| (path.clone(), *watch)).collect();
        gone.extend(self.watches.get(path).map(|watch| (path.to_vec(), *watch)));
        for (path, watch) in gone {
            self.watches.remove(&path);
            self.unwatch(watch);
        }
    }

    fn note_one(&mut self, event: InotifyEvent) -> Result<(), Trouble> {
        let mask = event.mask;
        if mask.contains(Told::IN_Q_OVERFLOW) {
            return Err(Trouble::Lost);
        }
        if event.wd == self.bell.1 {
            self.rang |= event.name.is_some_and(|name| name == "bell");
            return Ok(());
        }
        if mask.contains(Told::IN_UNMOUNT) {
            return Err(Trouble::Unable("a file system went".to_owned()));
        }
        let Some(folder) = self.folders.get(&event.wd) else { return Ok(()) };
        if mask.contains(Told::IN_IGNORED) {
            let folder = folder.clone();
            self.folders.remove(&event.wd);
            if self.watches.get(&folder) == Some(&event.wd) {
                self.watches.remove(&folder);
            }
            return Ok(());
        }
        let Some(name) = event.name else {
            let gone = mask.intersects(Told::IN_DELETE_SELF | Told::IN_MOVE_SELF);
            return if gone && folder.is_empty() {
                Err(Trouble::Unable("the worktree was moved".to_owned()))
            } else {
                Ok(())
            };
        };
        let folder = folder.clone();
        self.note_name(&folder, name.as_bytes(), mask);
        Ok(())
    }

    /// Takes note of a change of `name` in `folder`.
    fn note_name(&mut self, folder: &[u8], name: &[u8], mask: Told) {
        if name == b".git" {
            // A repository in the tree decides about the whole folder; that of the tree itself
            // is none of it.
            if !folder.is_empty() {
                self.mark(folder.to_vec(), true);
            }
            return;
        }
        let path = below(folder, name);
        let is_folder = mask.contains(Told::IN_ISDIR);
        if is_folder && mask.intersects(Told::IN_MOVED_FROM | Told::IN_DELETE) {
            self.leave(&path);
        }
        if is_folder && mask.intersects(Told::IN_MOVED_TO | Told::IN_CREATE) {
            self.unwatched.push(path.clone());
        }
        self.mark(path, is_folder);
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn below(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}
