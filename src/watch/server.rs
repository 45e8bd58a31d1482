//! Watching, in a thread of a process that has something else to do.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{ALIVE, Head, Moment, Question, VERSION, folder, identity, remove_stale, with_socket};
use crate::names::SessionId;
use crate::platform::change::{Changed, Trouble};
use crate::platform::changes::{Changes, is_told_of};

/// How long a process lives before watching for it is begun: most commands capture nothing.
const SETTLING: Duration = Duration::from_millis(100);
/// How long one that asks is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long changes are left to gather.
const PACE: Duration = Duration::from_millis(10);
/// How long after changes were lost watching is begun anew.
const REST: Duration = Duration::from_secs(2);
/// How often the folder is made anew.
const TRIES: usize = 3;
/// The longest question.
const QUESTION_MAX: u64 = 4096;

/// A worktree that is watched until this is dropped.
#[derive(Debug)]
pub struct Watcher {
    /// Closed when it is over.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Has the worktree at `worktree`, with this Git directory, watched for `session`. What
    /// goes wrong is told to whoever asks.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn start(worktree: &Path, git_dir: &Path, session: &SessionId, id: String) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let place = Place {
            worktree: worktree.to_owned(),
            git_dir: git_dir.to_owned(),
            folder: folder(git_dir, session),
        };
        let watch = move || {
            let ended = || wait(&stopped, SETTLING);
            if !ended()
                && let Ok((listener, _alive)) = place.open()
            {
                Server { place: &place, id, at: 0, watching: Watching::After(Instant::now()) }
                    .serve(&listener, &stopped);
                place.close();
            }
        };
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the other end was closed, after so long at most.
fn wait(stopped: &PipeReader, limit: Duration) -> bool {
    let mut fds = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    poll(&mut fds, limit).is_ok_and(|ready| ready > 0)
}

/// Where a watcher works.
struct Place {
    worktree: PathBuf,
    git_dir: PathBuf,
    folder: PathBuf,
}

impl Place {
    /// Makes the socket. Whoever clears up here may take its folder away before it is held.
    fn open(&self) -> io::Result<(UnixListener, File)> {
        let mut opened = self.make();
        for _ in 1..TRIES {
            if !opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                break;
            }
            opened = self.make();
        }
        opened
    }

    /// Makes the socket, which nobody else can reach, and the file by which it is known to be
    /// in use.
    fn make(&self) -> io::Result<(UnixListener, File)> {
        remove_stale(&self.git_dir);
        DirBuilder::new().mode(0o700).create(&self.folder)?;
        let make = || {
            let alive = File::create_new(self.folder.join(ALIVE))?;
            alive.try_lock()?;
            Ok((with_socket(&self.folder, |path| UnixListener::bind(path))?, alive))
        };
        make().inspect_err(|_| self.close())
    }

    fn close(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What is watched.
enum Watching {
    /// Nothing before this time.
    After(Instant),
    Tree(Changes),
    /// Nothing any more.
    Never(String),
}

struct Server<'a> {
    place: &'a Place,
    id: String,
    /// The last change that was counted.
    at: u64,
    watching: Watching,
}

impl Server<'_> {
    fn serve(&mut self, listener: &UnixListener, stopped: &PipeReader) {
        loop {
            let limit = self.work().unwrap_or_else(|trouble| {
                self.stumble(trouble);
                Some(Duration::ZERO)
            });
            let waits = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut fds = vec![waits(stopped.as_fd()), waits(listener.as_fd())];
            if let (Watching::Tree(changes), None) = (&self.watching, limit) {
                fds.push(waits(changes.as_fd()));
            }
            let limit = limit
                .map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
            let _ = poll(&mut fds, limit);
            let happened = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
            let (end, asked) = (happened(&fds[0]), happened(&fds[1]));
            if end {
                return;
            }
            if asked && let Ok((stream, _)) = listener.accept() {
                // Who asks and goes away again is nobody's failure.
                let _ = self.answer(&stream);
            }
        }
    }

    /// Goes on with what there is to do, and says how long to wait before there is more;
    /// `None` is until something changes.
    fn work(&mut self) -> Result<Option<Duration>, Trouble> {
        match &mut self.watching {
            Watching::Tree(changes) => {
                let noted = changes.note();
                self.at = changes.at();
                let gathering = noted?.then_some(PACE);
                Ok(if changes.watch_more()? { Some(Duration::ZERO) } else { gathering })
            }
            Watching::After(time) if *time <= Instant::now() => self.begin().map(|()| Some(Duration::ZERO)),
            Watching::After(time) => {
                // Not a moment too early: that would be once more in vain.
                Ok(Some(time.saturating_duration_since(Instant::now()) + Duration::from_millis(1)))
            }
            Watching::Never(_) => Ok(None),
        }
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        let Place { worktree, folder, .. } = self.place;
        if ![worktree, folder].into_iter().all(|place| is_told_of(place)) {
            let why = "its file system may be written to by others".to_owned();
            return Err(Trouble::Unable(why));
        }
        self.watching = Watching::Tree(Changes::begin(worktree, folder, self.at)?);
        Ok(())
    }

    fn stumble(&mut self, trouble: Trouble) {
        if let Watching::Tree(changes) = &self.watching {
            self.at = changes.at();
        }
        self.watching = match trouble {
            Trouble::Lost => Watching::After(Instant::now() + REST),
            Trouble::Unable(why) => Watching::Never(why),
        };
    }

    fn answer(&mut self, stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = Vec::new();
        BufReader::new(stream.take(QUESTION_MAX)).read_until(b'\n', &mut line)?;
        let question: Question = serde_json::from_slice(&line).map_err(io::Error::other)?;
        if question.version != VERSION {
            return Ok(());
        }
        let (now, changed) = self.look(question.since.as_ref());
        let root = identity(&self.place.worktree).unwrap_or_default();
        let (unknown, changed) = match changed {
            Ok(changed) => (None, changed),
            Err(why) => (Some(why), Vec::new()),
        };
        let head = Head { version: VERSION, now, root, unknown, paths: changed.len() };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        for Changed { path, whole } in changed {
            bytes.push(if whole { b'd' } else { b'f' });
            bytes.extend_from_slice(&path);
            bytes.push(0);
        }
        (&mut &*stream).write_all(&bytes)
    }

    /// The moment, and what changed since another, or why that is not known.
    fn look(&mut self, since: Option<&Moment>) -> (Option<Moment>, Result<Vec<Changed>, String>) {
        let Watching::Tree(changes) = &mut self.watching else {
            return match &self.watching {
                Watching::Never(why) => (None, Err(format!("the worktree cannot be watched: {why}"))),
                _ => (None, Err("changes were lost, and watching has not begun again".to_owned())),
            };
        };
        let started = Instant::now();
        let caught_up = changes.catch_up(|| started.elapsed() < PATIENCE);
        self.at = changes.at();
        match caught_up {
            Ok(true) => {}
            Ok(false) => return (None, Err("not all of the worktree is watched yet".to_owned())),
            Err(trouble) => {
                let why = match &trouble {
                    Trouble::Lost => "more changed than the system could tell".to_owned(),
                    Trouble::Unable(why) => format!("the worktree cannot be watched: {why}"),
                };
                self.stumble(trouble);
                return (None, Err(why));
            }
        }
        let now = Moment { watcher: self.id.clone(), at: changes.at() };
        let known = match since {
            None => Err("nothing was captured yet since watching began".to_owned()),
            Some(since) if since.watcher != self.id => Err("another watcher began meanwhile".to_owned()),
            Some(since) => match changes.since(since.at) {
                // Whoever asks since then will never ask for earlier changes.
                Some(changed) => {
                    changes.forget_until(since.at);
                    Ok(changed)
                }
                None => Err("too much changed since the last capture".to_owned()),
            },
        };
        (Some(now), known)
    }
}

/// Whether `folder` is ours, and nobody else can look into it.
pub(super) fn is_private(folder: &Path) -> bool {
    let user = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(folder)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == user && meta.mode() & 0o077 == 0)
}
