//! A command that runs under somebody's eyes as if it ran alone: its terminal, its signals,
//! its exit status.
//!
//! The command shares our process group, so what the terminal sends (Ctrl-C, Ctrl-Z, a
//! change of size) reaches it without us; what a process sends to us is passed on. When it
//! stops, we stop, so that the shell sees a stopped job; when we are continued, it is.
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
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Watch;

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
    pid: Pid,
    writer: PipeWriter,
    before: SigSet,
}

/// The signals that are passed on.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGCONT,
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
        let started = Self::spawn(command, prepare, &before);
        started.map(|(pid, writer)| Self { pid, writer, before }).inspect_err(|_| {
            let _ = before.thread_set_mask();
        })
    }

    fn spawn(
        command: &[OsString],
        prepare: impl FnOnce(&mut Command),
        before: &SigSet,
    ) -> io::Result<(Pid, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        // Only this end is for the child, and the child closes it before it is the command.
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).map_err(system)?;
        let mut gate = Command::new(std::env::current_exe()?);
        let masked: Vec<String> = before.iter().map(|signal| (signal as i32).to_string()).collect();
        gate.args([GATE, &reader.as_raw_fd().to_string(), &masked.join(",")]).args(command);
        prepare(&mut gate);
        let child = gate.spawn()?;
        drop(OwnedFd::from(reader));
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok((Pid::from_raw(pid), writer))
    }

    /// The pid, which stays the command's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Lets the command run.
    ///
    /// # Errors
    /// When the gate is gone.
    pub fn open(self) -> io::Result<Job> {
        let Self { pid, mut writer, before } = self;
        writer.write_all(b"\n")?;
        drop(writer);
        Job::new(pid, before)
    }

    /// Closes the gate: the command never runs.
    pub fn close(self) {
        drop(self.writer);
        let _ = waitpid(self.pid, None);
        let _ = self.before.thread_set_mask();
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

/// A running command.
#[derive(Debug)]
pub struct Job {
    pid: Pid,
    #[cfg(target_os = "linux")]
    signals: nix::sys::signalfd::SignalFd,
    before: SigSet,
}

#[cfg(target_os = "linux")]
impl Job {
    fn new(pid: Pid, before: SigSet) -> io::Result<Self> {
        use nix::sys::signalfd::{SfdFlags, SignalFd};
        let mut read: SigSet = PASSED_ON.into_iter().collect();
        read.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&read, flags).map_err(system)?;
        Ok(Self { pid, signals, before })
    }

    /// Waits until the command ends, until `watch` sees a change, at most for `limit`;
    /// passes signals on meanwhile.
    pub fn wait(&mut self, watch: Option<&Watch>, limit: Duration) -> Happening {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;
        // A limit, and what ends the wait: the caller looks for itself, so that one which is
        // early or late does no harm.
        if let Some(how) = self.pass_signals() {
            return Happening::Ended(how);
        }
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        if let Some(watch) = watch {
            watch.drain();
        }
        self.pass_signals().map_or(Happening::Look, Happening::Ended)
    }

    /// Passes on what came; how the command ended, if it did.
    fn pass_signals(&mut self) -> Option<How> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let Ok(signal) = i32::try_from(info.ssi_signo)
                .map_err(drop)
                .and_then(|number| Signal::try_from(number).map_err(drop))
            else {
                continue;
            };
            // What the terminal sends (SI_KERNEL) the command gets itself.
            let by_terminal = info.ssi_code == nix::libc::SI_KERNEL;
            if signal != Signal::SIGCHLD && !by_terminal {
                let _ = kill(self.pid, signal);
            }
        }
        loop {
            let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
            match waitpid(self.pid, Some(flags)) {
                Ok(WaitStatus::Exited(_, status)) => return Some(How::Exited(status)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Some(How::Killed(signal as i32)),
                Ok(WaitStatus::Stopped(..)) => {
                    // The shell waits for us, not for the command. Continued, we look for
                    // the signal that continued us and pass it on.
                    let _ = raise(Signal::SIGSTOP);
                    let _ = kill(self.pid, Signal::SIGCONT);
                }
                Err(nix::errno::Errno::EINTR) => {}
                // Reaped by nobody else; should it be gone all the same, it has ended.
                Err(_) => return Some(How::Exited(1)),
                Ok(_) => return None,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Job {
    fn new(pid: Pid, before: SigSet) -> io::Result<Self> {
        let _ = before.thread_set_mask();
        Ok(Self { pid, before })
    }

    /// Waits a quarter of a second at most.
    pub fn wait(&mut self, _watch: Option<&Watch>, limit: Duration) -> Happening {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, status)) => Happening::Ended(How::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Happening::Ended(How::Killed(signal as i32)),
            _ => {
                std::thread::sleep(limit.min(Duration::from_millis(250)));
                Happening::Look
            }
        }
    }
}

impl Job {
    /// Asks the command to end.
    pub fn terminate(&self) {
        let _ = kill(self.pid, Signal::SIGTERM);
    }
}

impl Drop for Job {
    /// From here on signals do to us what they did before.
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
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
