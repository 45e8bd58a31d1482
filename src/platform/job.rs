//! A command that runs under somebody's eyes as if it ran alone: its terminal, its signals,
//! its exit status.
//!
//! The command shares our process group, so what the terminal sends (Ctrl-C, Ctrl-Z, a
//! change of size) reaches it without us; what a process sends to us is passed on. When the
//! terminal or a shell stops it, we stop, so that the shell sees a stopped job; when we are
//! continued, it is.
//!
//! No command ever runs unrecorded: what is started first is a *gate*, this very program,
//! which waits at a pipe and then becomes the command (`exec`), so that pid and start time
//! stay. If we die before we let it through, it finds the pipe closed and ends.
//!
//! Elsewhere than on Linux signals are not passed on, and the command's end is looked for
//! four times a second.

use std::ffi::OsString;
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, raise, signal};
use nix::unistd::Pid;

use super::{Watch, umask};

/// The hidden first argument with which this program is a gate.
pub const GATE: &str = "__gate";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It exited with this status.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
}

impl How {
    /// Whether it succeeded.
    #[must_use]
    pub fn ok(self) -> bool {
        self == Self::Exited(0)
    }
}

/// A command that is about to run.
#[derive(Debug)]
pub struct Gate {
    job: Job,
    writer: PipeWriter,
}

/// The signals that are passed on.
const PASSED_ON: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

fn system(error: nix::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(error as i32)
}

impl Gate {
    /// Starts a gate for `command`, made ready by `prepare`. From here on signals do not
    /// interrupt this thread.
    ///
    /// # Errors
    /// When the system starts no more processes.
    pub fn start(command: &[OsString], prepare: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut blocked: SigSet = PASSED_ON.into_iter().collect();
        blocked.add(Signal::SIGCHLD);
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(system)?;
        let restore = || {
            let _ = before.thread_set_mask();
        };
        // All that may fail comes before the gate opens: a command that runs is attended to.
        let signals = Signals::read().inspect_err(|_| restore())?;
        let (child, writer) = Self::spawn(command, prepare, &before).inspect_err(|_| restore())?;
        Ok(Self { job: Job { child, signals, before }, writer })
    }

    fn spawn(
        command: &[OsString],
        prepare: impl FnOnce(&mut Command),
        before: &SigSet,
    ) -> io::Result<(Child, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        // Only this end is for the child, and the child closes it before it is the command.
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).map_err(system)?;
        let mut gate = Command::new(std::env::current_exe()?);
        let masked: Vec<String> = before.iter().map(|signal| (signal as i32).to_string()).collect();
        gate.args([GATE, &reader.as_raw_fd().to_string(), &masked.join(",")]).args(command);
        prepare(&mut gate);
        let child = umask::users(|| gate.spawn())?;
        drop(OwnedFd::from(reader));
        Ok((child, writer))
    }

    /// The pid, which stays the command's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.job.child.id()
    }

    /// Lets the command run.
    ///
    /// # Errors
    /// When the gate is gone.
    pub fn open(self) -> io::Result<Job> {
        let Self { mut job, mut writer } = self;
        let opened = writer.write_all(b"\n");
        // A gate that was not opened finds its pipe closed, and ends.
        drop(writer);
        match opened {
            Ok(()) => Ok(job),
            Err(error) => {
                let _ = job.child.wait();
                Err(error)
            }
        }
    }

    /// Closes the gate: the command never runs.
    pub fn close(self) {
        let Self { mut job, writer } = self;
        drop(writer);
        let _ = job.child.wait();
    }
}

/// Is a gate: waits, and becomes the command. `args` is what follows [`GATE`]. Returns an
/// exit code and a sentence if it did not become it.
#[must_use]
pub fn pass(args: &[OsString]) -> (u8, Option<String>) {
    let [fd, masked, program, rest @ ..] = args else { return (2, None) };
    let text = |arg: &OsString| arg.to_str().unwrap_or_default().to_owned();
    let Ok(fd) = text(fd).parse::<i32>() else { return (2, None) };
    let mut byte = [0u8; 1];
    let opened = std::fs::File::open(format!("/proc/self/fd/{fd}"));
    let _ = nix::unistd::close(fd);
    if opened.and_then(|mut pipe| pipe.read_exact(&mut byte)).is_err() {
        // Whoever was to record the command is gone.
        return (1, None);
    }
    let masked = text(masked);
    let numbers = masked.split(',').filter_map(|number| number.parse::<i32>().ok());
    let mask: SigSet = numbers.filter_map(|number| Signal::try_from(number).ok()).collect();
    let _ = mask.thread_set_mask();
    let error = Command::new(program).args(rest).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    (code, Some(format!("cannot run {program:?}: {error}")))
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The command ended.
    Ended(How),
    /// The time is over, or the watched folder changed.
    Look,
}

/// A running command. When it is dropped, signals do to us again what they did before.
#[derive(Debug)]
pub struct Job {
    child: Child,
    signals: Signals,
    before: SigSet,
}

impl Job {
    /// Asks the command to end.
    pub fn terminate(&self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
    }

    /// The command's; it is nobody else's until [`Self::ended`] has told its end.
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// How the command ended, if it did.
    fn ended(&mut self) -> Option<How> {
        match self.child.try_wait() {
            Ok(status) => status.map(How::from),
            // Nobody else waits for our children; should it be gone all the same, it has ended.
            Err(_) => Some(How::Exited(1)),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // What the terminal sent to the command and to us is not to be ours alone now.
        while self.signals.next().is_some() {}
        let _ = self.before.thread_set_mask();
    }
}

/// A signal that came.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Came {
    signal: Signal,
    by_kernel: bool,
    from: Option<Pid>,
}

/// The signals that come while a command runs.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Signals(nix::sys::signalfd::SignalFd);

#[cfg(target_os = "linux")]
impl Signals {
    fn read() -> io::Result<Self> {
        use nix::sys::signalfd::{SfdFlags, SignalFd};
        let mut read: SigSet = PASSED_ON.into_iter().collect();
        read.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&read, flags).map(Self).map_err(system)
    }

    /// The next that has come.
    fn next(&mut self) -> Option<Came> {
        while let Ok(Some(info)) = self.0.read_signal() {
            if let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) {
                let by_kernel = info.ssi_code == nix::libc::SI_KERNEL;
                let from = (!by_kernel).then(|| Pid::from_raw(info.ssi_pid.cast_signed()));
                return Some(Came { signal, by_kernel, from });
            }
        }
        None
    }
}

#[cfg(target_os = "linux")]
impl Job {
    /// Waits until the command ends, until `watch` sees a change, at most for `limit`;
    /// passes signals on meanwhile.
    pub fn wait(&mut self, watch: Option<&Watch>, limit: Duration) -> Happening {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;
        // A limit, and what ends the wait: the caller looks for itself, so that one which is
        // early or late does no harm.
        if let Some(how) = self.look() {
            return Happening::Ended(how);
        }
        let mut fds = vec![PollFd::new(self.signals.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        if let Some(watch) = watch {
            watch.drain();
        }
        self.look().map_or(Happening::Look, Happening::Ended)
    }

    /// Passes on what came, and stops where the command was stopped; how it ended, if it did.
    fn look(&mut self) -> Option<How> {
        while let Some(came) = self.signals.next() {
            if came.signal != Signal::SIGCHLD && self.is_to_pass(&came) {
                let _ = kill(self.pid(), came.signal);
            }
        }
        let ended = self.ended();
        if ended.is_none() && self.was_stopped() {
            // The shell waits for us, not for the command. Continued, we look for the signal
            // that continued us and pass it on.
            let _ = raise(Signal::SIGSTOP);
            let _ = kill(self.pid(), Signal::SIGCONT);
        }
        ended
    }

    /// Whether the command has not got the signal already.
    fn is_to_pass(&self, came: &Came) -> bool {
        use nix::unistd::{getpid, getsid};
        if came.by_kernel {
            // What the terminal sends goes to the whole process group; only that it was hung up
            // the kernel tells the leader of the session alone.
            return matches!(came.signal, Signal::SIGHUP | Signal::SIGCONT)
                && getsid(None).is_ok_and(|leader| leader == getpid());
        }
        // The command that signals its process group (`kill 0`) means itself and its own.
        came.from != Some(self.pid())
    }

    /// Whether the command is stopped in a way that a shell is to see.
    ///
    /// That is what the terminal does, and where a shell does job control also SIGSTOP. Where
    /// none does, whoever stopped the command alone will continue it alone, and would leave us
    /// stopped.
    fn was_stopped(&self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WSTOPPED | WaitPidFlag::WCONTINUED;
        let mut stopped = false;
        loop {
            stopped = match waitid(Id::Pid(self.pid()), flags) {
                Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)) => is_job(),
                Ok(WaitStatus::Stopped(..)) => true,
                Ok(WaitStatus::Continued(_)) => false,
                _ => return stopped,
            };
        }
    }
}

/// Whether our parent does job control with us: it is in our session, and has put us into a
/// process group of our own.
#[cfg(target_os = "linux")]
fn is_job() -> bool {
    use nix::unistd::{getpgid, getpgrp, getppid, getsid};
    let parent = getppid();
    getsid(Some(parent)) == getsid(None) && getpgid(Some(parent)).is_ok_and(|group| group != getpgrp())
}

/// Fallback: signals are blocked meanwhile, and not read.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Signals;

#[cfg(not(target_os = "linux"))]
impl Signals {
    fn read() -> io::Result<Self> {
        Ok(Self)
    }

    fn next(&mut self) -> Option<()> {
        None
    }
}

#[cfg(not(target_os = "linux"))]
impl Job {
    /// Waits a quarter of a second at most.
    pub fn wait(&mut self, _watch: Option<&Watch>, limit: Duration) -> Happening {
        if let Some(how) = self.ended() {
            return Happening::Ended(how);
        }
        std::thread::sleep(limit.min(Duration::from_millis(250)));
        self.ended().map_or(Happening::Look, Happening::Ended)
    }
}

/// Has the system keep how our children ended. A parent that ignores SIGCHLD hands that on,
/// and then nobody could tell.
pub fn keep_ends_of_children() {
    by_default(Signal::SIGCHLD);
}

/// Has a signal do to this process what it does by default.
#[expect(unsafe_code, reason = "a handler could be any function; the default is none")]
fn by_default(number: Signal) {
    // SAFETY: no handler is installed, so no code of ours runs in a signal's context.
    let _ = unsafe { signal(number, SigHandler::SigDfl) };
}

/// Ends this process as the command ended: with its exit status, or of the signal that
/// killed it. Returns the exit code to use where that signal does not kill us.
#[must_use]
pub fn end_like(how: How) -> u8 {
    let signal = match how {
        How::Exited(status) => return u8::try_from(status & 0xff).unwrap_or(1),
        How::Killed(signal) => signal,
    };
    // It is the command that dumped core, if anybody; ours says nothing.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    if let Ok(signal) = Signal::try_from(signal) {
        // Rust ignores SIGPIPE and catches SIGSEGV.
        by_default(signal);
        let mut set = SigSet::empty();
        set.add(signal);
        let _ = set.thread_unblock();
        let _ = raise(signal);
    }
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

impl From<ExitStatus> for How {
    fn from(status: ExitStatus) -> Self {
        status.code().map_or_else(|| Self::Killed(status.signal().unwrap_or(0)), Self::Exited)
    }
}
