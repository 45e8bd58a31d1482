//! Who watches a worktree, and how a capture asks what changed in it.
//!
//! A watcher lives in a process that lives as long as the session does (the runner of `agent
//! run`), and answers on a socket in the worktree's own Git directory, one connection a
//! question. It only tells which paths changed since a number that it told before: what the
//! worktree was then is the asker's to remember. A number means something together with the
//! watcher's id, so that nothing that another one told is ever taken for its own.
//!
//! # What is believed
//! The folder of the socket is for its owner alone. What comes over it is paths, which are
//! looked at as any other, and numbers, which at worst have a capture look at too much or, told by
//! a process that could have changed the worktree itself, at too little.
//!
//! # If the process dies here
//! The socket stays, and refuses: a capture looks at everything and removes it, as the worktree's next
//! owner or watcher, `gc` and `doctor --fix` do, since the lock on the file beside it is free. A
//! watcher that is stopped does not answer, which is waited for a moment only.

mod client;
mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names::SessionId;
use crate::store::atomic_file;
pub use client::{Answer, Silence, ask, remove_stale, stale};
pub use server::Watcher;

/// The version of what is said on the socket.
const VERSION: u32 = 1;

/// How the folders of watchers begin.
const PREFIX: &str = "heddle-watch-";

/// The file in such a folder that its process holds a lock on.
const ALIVE: &str = "alive";

/// The file in it in which captures remember what they need to ask.
const NOTE: &str = "note.json";

/// A moment in what a watcher saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which watcher.
    pub watcher: String,
    /// After which change.
    pub at: u64,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    version: u32,
    /// What changed since then; `None` asks only for the moment.
    since: Option<Moment>,
}

/// The first line of the answer; so many paths follow, each with a letter before it and a NUL
/// after it.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u32,
    /// The moment that is told of; `None` if not everything is watched.
    now: Option<Moment>,
    /// Device and inode of the folder that is watched.
    root: (u64, u64),
    /// Why there are no paths, if there are none.
    unknown: Option<String>,
    paths: usize,
}

/// The folder of the watcher for `session` in the worktree with this Git directory.
fn folder(git_dir: &Path, session: &SessionId) -> PathBuf {
    git_dir.join(format!("{PREFIX}{session}"))
}

/// What was remembered of the watcher for `session`; `None` if nothing was, or nobody watches.
#[must_use]
pub fn remembered(git_dir: &Path, session: &SessionId) -> Option<Vec<u8>> {
    atomic_file::read("note of a watcher", &folder(git_dir, session).join(NOTE)).ok()?
}

/// Remembers `note` as long as the watcher for `session` watches. A cache: what goes wrong is
/// ignored, and where the folder went meanwhile, it is not made anew. What a killed process
/// leaves of it goes with the folder.
pub fn remember(git_dir: &Path, session: &SessionId, note: &[u8]) {
    let path = folder(git_dir, session).join(NOTE);
    let new = atomic_file::sibling(&path);
    let written = atomic_file::no_follow().write(true).create(true).truncate(true).open(&new);
    let written = written.and_then(|mut file| file.write_all(note));
    let _ = written.and_then(|()| std::fs::rename(&new, &path));
}

/// Device and inode of a folder.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(folder).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Calls `by` with a name of the socket in `folder` that is short enough for any system.
fn with_socket<T>(folder: &Path, by: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let open = std::fs::File::options().read(true).custom_flags(flags).open(folder)?;
    by(Path::new(&format!("/proc/self/fd/{}/socket", open.as_raw_fd())))
}
