//! Asking a watcher, and not for long.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::server::is_private;
use super::{ALIVE, Head, Moment, PREFIX, Question, VERSION, folder, identity, with_socket};
use crate::names::SessionId;
use crate::platform::change::Changed;

/// How long an answer is waited for; then a capture looks at everything itself.
const LIMIT: Duration = Duration::from_secs(1);
/// The longest answer.
const ANSWER_MAX: u64 = 64 << 20;

/// What a watcher said.
#[derive(Debug)]
pub struct Answer {
    /// The moment: who looks at the worktree from now on sees all that changed before it.
    /// `None` if not everything is watched.
    pub now: Option<Moment>,
    /// What changed since the moment that was asked about, or why that is not known.
    pub changed: Result<Vec<Changed>, String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Silence {
    /// Nobody watches this worktree for the session.
    Nobody,
    /// Somebody does, or did.
    Because(String),
}

/// Asks the watcher for `session` what changed in `worktree` since a moment.
///
/// # Errors
/// [`Silence`], after a second at the latest.
pub fn ask(
    worktree: &Path,
    git_dir: &Path,
    session: &SessionId,
    since: Option<Moment>,
) -> Result<Answer, Silence> {
    let folder = folder(git_dir, session);
    if fs::symlink_metadata(&folder).is_err() {
        return Err(Silence::Nobody);
    }
    if !is_private(&folder) {
        return Err(Silence::Because(format!("{folder:?} is not the user's own")));
    }
    let (tell, told) = mpsc::channel();
    // Even a connection may wait for one who is stopped. The thread ends with the process.
    let asking = std::thread::Builder::new().spawn(move || tell.send(talk(&folder, since)));
    let answer = asking.map_err(|error| Silence::Because(error.to_string())).and_then(|_| {
        told.recv_timeout(LIMIT).map_err(|_| Silence::Because("it does not answer".to_owned()))
    })?;
    let (head, changed) = answer.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Silence::Because("it is gone".to_owned()),
        _ => Silence::Because(error.to_string()),
    })?;
    if Some(head.root) != identity(worktree) {
        return Err(Silence::Because("it watches another folder".to_owned()));
    }
    Ok(Answer { now: head.now, changed: head.unknown.map_or(Ok(changed), Err) })
}

fn talk(folder: &Path, since: Option<Moment>) -> io::Result<(Head, Vec<Changed>)> {
    let mut stream = with_socket(folder, |path| UnixStream::connect(path))?;
    let mut question = serde_json::to_vec(&Question { version: VERSION, since })?;
    question.push(b'\n');
    stream.write_all(&question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    read(&answer).ok_or_else(|| io::Error::other("its answer is not understood"))
}

/// Takes an answer apart; `None` if it is not whole.
fn read(answer: &[u8]) -> Option<(Head, Vec<Changed>)> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&answer[..end]).ok()?;
    if head.version != VERSION {
        return None;
    }
    let rest = &answer[end + 1..];
    let paths = rest.strip_suffix(&[0]).map(|paths| paths.split(|byte| *byte == 0));
    let changed = paths.into_iter().flatten().map(|item| match item.split_first()? {
        (b'd', path) if is_plain(path) => Some(Changed { path: path.to_vec(), whole: true }),
        (b'f', path) if is_plain(path) => Some(Changed { path: path.to_vec(), whole: false }),
        _ => None,
    });
    let changed: Vec<Changed> = changed.collect::<Option<_>>()?;
    (changed.len() == head.paths && (rest.is_empty() || rest.ends_with(&[0]))).then_some((head, changed))
}

/// Whether a path is one that leads nowhere but into the worktree.
fn is_plain(path: &[u8]) -> bool {
    let names = path.split(|byte| *byte == b'/');
    !path.is_empty() && names.into_iter().all(|name| !matches!(name, b"" | b"." | b".." | b".git"))
}

/// The folders of watchers that are gone, in a worktree's Git directory.
#[must_use]
pub fn stale(git_dir: &Path) -> Vec<PathBuf> {
    let ours = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes());
    let entries = fs::read_dir(git_dir).into_iter().flatten().flatten();
    entries.filter(ours).map(|entry| entry.path()).filter(|folder| is_stale(folder)).collect()
}

/// Whether the process that held this folder is gone. One that has just made it, and does not hold
/// it yet, is taken for gone as well, and then does not watch.
fn is_stale(folder: &Path) -> bool {
    let held = File::open(folder.join(ALIVE)).map(|alive| alive.try_lock_shared().is_err());
    is_private(folder) && !held.unwrap_or(false)
}

/// Removes what watchers that are gone left.
pub fn remove_stale(git_dir: &Path) {
    for folder in stale(git_dir) {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_out_of_the_worktree_spoils_the_answer() {
        let head = |paths: usize| {
            format!("{{\"version\":1,\"now\":null,\"root\":[1,2],\"unknown\":null,\"paths\":{paths}}}\n")
        };
        let read = |paths: usize, rest: &[u8]| read(&[head(paths).as_bytes(), rest].concat());
        let (_, changed) = read(2, b"fa/b\0dc\0").expect("an answer");
        assert_eq!(changed[0], Changed { path: b"a/b".to_vec(), whole: false });
        assert_eq!(changed[1], Changed { path: b"c".to_vec(), whole: true });
        for rest in
            [&b"f../b\0"[..], b"f/etc\0", b"fa/../b\0", b"f.git/config\0", b"xa\0", b"f\0", b"fa//b\0"]
        {
            assert!(read(1, rest).is_none(), "{rest:?}");
        }
        assert!(read(2, b"fa\0").is_none() && read(1, b"fa").is_none() && read(0, b"").is_some());
    }
}
