//! What differs between operating systems, and what a test must be able to hold still:
//! clocks, the boot, processes, randomness, presence locks, signals.
//!
//! Nothing else in the crate asks for the platform. Linux is proven. Elsewhere on Unix the
//! fallbacks are conservative: without a boot id and process start times nothing is ever
//! *known* to be dead by process evidence, and leases decide.

pub mod change;
#[cfg(target_os = "linux")]
pub mod changes;
#[cfg(not(target_os = "linux"))]
#[path = "platform/no_changes.rs"]
pub mod changes;
pub mod job;
pub mod umask;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};

/// An instant, by every clock there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Wall time, to the millisecond.
    pub wall: DateTime<Utc>,
    /// Milliseconds on the clock that neither jumps nor counts suspended time, meaningful
    /// within one boot, in every time namespace of it.
    pub monotonic_ms: u64,
}

/// Where a process lives: pids and monotonic times mean something only between equals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The host's name, for people; two hosts can share one.
    pub host: String,
    /// The kernel's id of this boot; `None` where there is none.
    pub boot_id: Option<String>,
    /// The pid namespace; containers share a boot but not this.
    pub pid_namespace: Option<String>,
}

/// What is known about a pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// Nobody has it, or only a zombie without another thread.
    Gone,
    /// Somebody has it, started at this time (in the kernel's own unit, since boot).
    Running {
        /// When it started: the same in every time namespace, give or take [`START_SLACK`].
        start_time: u64,
        /// Whether it is stopped by a signal or a debugger.
        stopped: bool,
    },
    /// It may exist: no permission to look, or no way to.
    Unknown,
}

/// How far apart two looks at the start of one process may be: a time namespace shifts it by
/// a part of the kernel's unit. No pid is given to another within 10 ms of its process's start.
pub const START_SLACK: u64 = 1;

/// The outside world of a decision; tests bring their own. Many decisions may be made at once.
pub trait Platform: Sync {
    /// The time now.
    fn now(&self) -> Moment;
    /// Where this process lives.
    fn place(&self) -> &Place;
    /// What is known about `pid`, in this pid namespace.
    fn process(&self, pid: u32) -> ProcessState;
    /// Fills `bytes` from the system's secure source.
    ///
    /// # Errors
    /// When the system has none.
    fn random(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The real world.
#[derive(Debug)]
pub struct System {
    place: Place,
    shift: TimeShift,
    /// Whether `/proc` counts pids as this process does, once that was asked.
    numbers_agree: OnceLock<bool>,
}

impl System {
    /// Looks up where this process lives.
    #[must_use]
    pub fn new() -> Self {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
        Self {
            shift: TimeShift::parse(&lines("/proc/self/timens_offsets").unwrap_or_default()),
            numbers_agree: OnceLock::new(),
            place: Place {
                host: host.unwrap_or_else(|_| "unknown".to_owned()),
                boot_id: lines("/proc/sys/kernel/random/boot_id"),
                pid_namespace: namespace.map(|link| link.to_string_lossy().into_owned()),
            },
        }
    }
}

/// What a file of the kernel's says in a few lines.
fn lines(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(256);
    File::open(path).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok().map(|text| text.trim().to_owned())
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl Platform for System {
    fn now(&self) -> Moment {
        let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let monotonic_ms = clock.map_or(0, |time| {
            let nanos = i128::from(time.tv_sec()) * NANOS + i128::from(time.tv_nsec()) - self.shift.monotonic;
            u64::try_from(nanos / 1_000_000).unwrap_or(0)
        });
        Moment { wall: Utc::now().trunc_subsecs(3), monotonic_ms }
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn process(&self, pid: u32) -> ProcessState {
        let Some(id) = i32::try_from(pid).ok().filter(|id| *id > 0) else {
            return ProcessState::Gone;
        };
        let own_pid = || std::fs::read_link("/proc/self").ok();
        let is_ours = |pid: std::path::PathBuf| pid.as_os_str() == &*std::process::id().to_string();
        let numbers_agree = *self.numbers_agree.get_or_init(|| own_pid().is_some_and(is_ours));
        let stat = numbers_agree.then(|| std::fs::read_to_string(format!("/proc/{pid}/stat")));
        match stat {
            Some(Ok(stat)) => self.shift.undo(parse_stat(&stat, || other_threads(pid))),
            // With `hidepid` a live process of somebody else has no entry, and a signal
            // is refused rather than undeliverable. Where the `/proc` of another pid namespace
            // is mounted, the entry is somebody else's.
            _ => match nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), None) {
                Err(nix::errno::Errno::ESRCH) => ProcessState::Gone,
                _ => ProcessState::Unknown,
            },
        }
    }

    fn random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
    }
}

const NANOS: i128 = 1_000_000_000;

/// What this process's time namespace adds to the clocks, in nanoseconds. A container may have
/// one of its own, beside the same boot id and even the same pids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TimeShift {
    monotonic: i128,
    boottime: i128,
}

impl TimeShift {
    /// Reads `/proc/self/timens_offsets`: a clock's name, seconds and nanoseconds a line. Where
    /// there is none, nothing is added.
    fn parse(text: &str) -> Self {
        let of = |clock: &str| {
            let mut fields = text.lines().find_map(|line| line.strip_prefix(clock))?.split_whitespace();
            let mut next = || fields.next()?.parse::<i128>().ok();
            Some(next()? * NANOS + next()?)
        };
        Self { monotonic: of("monotonic").unwrap_or(0), boottime: of("boottime").unwrap_or(0) }
    }

    /// The state of a process as it is seen where nothing is added: it started by the clock
    /// that also counts suspended time, in hundredths of a second.
    fn undo(self, state: ProcessState) -> ProcessState {
        let ProcessState::Running { start_time, stopped } = state else { return state };
        let ticks = i128::from(start_time) - self.boottime.div_euclid(NANOS / 100);
        ProcessState::Running { start_time: u64::try_from(ticks).unwrap_or(0), stopped }
    }
}

/// How long ago the machine was booted, time suspended included.
#[must_use]
pub fn since_boot() -> Option<std::time::Duration> {
    #[cfg(target_os = "linux")]
    {
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok().map(std::time::Duration::from)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Whether the process that `/proc` lists as `pid` has ended; a zombie has, and one that the
/// kernel is taking apart: it runs no more of its program, and what it had, its folder too,
/// cannot be seen any longer.
#[must_use]
pub fn listed_is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let gone = parse_stat(&stat, || other_threads(pid)) == ProcessState::Gone;
            gone || is_exiting(&stat) && threads_are_exiting(pid)
        }
        Err(error) => matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)),
    }
}

/// Reads `/proc/<pid>/stat`, whose second field is a name in parentheses that may itself
/// hold spaces and parentheses.
fn parse_stat(stat: &str, other_threads: impl FnOnce() -> bool) -> ProcessState {
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return ProcessState::Unknown;
    };
    let mut fields = rest.split(' ');
    let state = fields.next().unwrap_or_default();
    // State is field 3, the start time field 22.
    let Some(start_time) = fields.nth(18).and_then(|field| field.parse().ok()) else {
        return ProcessState::Unknown;
    };
    match state {
        "X" | "x" => ProcessState::Gone,
        // A zombie answers signals and keeps its start time, for ever in a container
        // whose init does not reap; but a leader may end before its threads do.
        "Z" if !other_threads() => ProcessState::Gone,
        state => ProcessState::Running { start_time, stopped: matches!(state, "T" | "t") },
    }
}

/// Whether `/proc/<pid>/stat` is that of a process that has begun to exit: `PF_EXITING` (Linux,
/// `include/linux/sched.h`) among its flags, field 9.
fn is_exiting(stat: &str) -> bool {
    const PF_EXITING: u32 = 0x4;
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Whether all threads that a process still has have begun to exit.
fn threads_are_exiting(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let exits = |thread: std::fs::DirEntry| match std::fs::read_to_string(thread.path().join("stat")) {
        Ok(stat) => is_exiting(&stat),
        Err(error) => matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ESRCH)),
    };
    threads.flatten().all(exits)
}

/// Whether a process has threads beside its leader.
fn other_threads(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

/// A process that has its working directory at or below `folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhabitant {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The processes that have their working directory at or below `folder`, this one left out
/// and the `git` that only waits for it (`git -C <worktree> heddle …` goes there); of those
/// that may not be looked at nothing is known. Elsewhere than on Linux: none.
#[must_use]
pub fn inhabitants(folder: &std::path::Path) -> Vec<Inhabitant> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let waits_for_us: Vec<u32> = ancestors().into_iter().take_while(|pid| name_of(*pid) == "git").collect();
    processes
        .flatten()
        .filter_map(pid)
        .filter(|pid| *pid != std::process::id() && !waits_for_us.contains(pid))
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .map(|pid| Inhabitant { pid, name: name_of(pid) })
        .collect()
}

/// The name that a process has now; empty where it cannot be seen.
fn name_of(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end_matches('\n').to_owned()
}

/// The processes that led to this one: its parent, that one's parent, and so on.
#[must_use]
pub fn ancestors() -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = std::os::unix::process::parent_id();
    while next > 1 && !found.contains(&next) {
        found.push(next);
        let stat = std::fs::read_to_string(format!("/proc/{next}/stat")).unwrap_or_default();
        // The parent is field 4, the second after the name in parentheses.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        next = parent.unwrap_or(0);
    }
    found
}

/// The `git`s that do nothing but wait for this process: each was called with the very arguments
/// that this one got from it, after `heddle` or an alias of that. A git that was called with others
/// may have come here by a hook.
#[must_use]
pub fn waiting_for_us() -> Vec<u32> {
    // As `/proc` has them, each after the NUL that ends the one before.
    let ours = std::env::args_os().skip(1).map(|word| [&[0], word.as_bytes()].concat());
    let ours = [ours.collect::<Vec<_>>().concat(), vec![0]].concat();
    let called_alike =
        |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.ends_with(&ours));
    let mut found = ancestors();
    found.retain(|pid| ours.len() > 1 && name_of(*pid) == "git" && called_alike(*pid));
    found
}

/// Holds `file` as present, beside any number of other holders, until it is closed or its
/// process ends. Children do not inherit it.
///
/// This is an open-file-description lock rather than `File::lock_shared`, because only
/// that kind can be *asked about* ([`is_present`]) instead of tried: a probe that takes the
/// lock, however briefly, is seen by other probes as an owner.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(target_os = "linux")]
pub fn hold_present(file: &File) -> io::Result<()> {
    let lock = range(nix::libc::F_RDLCK, 0, 0);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(())
}

/// Whether anybody holds `file` as present. Takes nothing and needs only read access.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(target_os = "linux")]
pub fn is_present(file: &File) -> io::Result<bool> {
    let mut lock = range(nix::libc::F_WRLCK, 0, 0);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != nix::libc::F_UNLCK)
}

/// `len` bytes from `start` on; 0 for all that follow.
fn range(kind: i32, start: i64, len: i64) -> nix::libc::flock {
    nix::libc::flock {
        l_type: kind as nix::libc::c_short,
        l_whence: nix::libc::SEEK_SET as nix::libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

/// A random place in a file: 62 bits, so that the byte after it is one too.
///
/// # Errors
/// When the system has no secure randomness.
pub fn random_place() -> io::Result<i64> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(i64::from_le_bytes(bytes) & (i64::MAX >> 1))
}

/// Holds the byte of `file` at `place` until the file is closed or its process ends. Children
/// do not inherit it.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(target_os = "linux")]
pub fn hold_byte(file: &File, place: i64) -> io::Result<()> {
    let lock = range(nix::libc::F_WRLCK, place, 1);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(())
}

/// Whether anybody holds the byte of `file` at `place`. Takes nothing and needs only read
/// access.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(target_os = "linux")]
pub fn is_byte_held(file: &File, place: i64) -> io::Result<bool> {
    let mut lock = range(nix::libc::F_WRLCK, place, 1);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != nix::libc::F_UNLCK)
}

/// Fallback: a lock of the process, which ends early if the process closes another handle of
/// the same file; a hook then refuses what it should have passed.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(not(target_os = "linux"))]
pub fn hold_byte(file: &File, place: i64) -> io::Result<()> {
    let lock = range(nix::libc::F_WRLCK.into(), place, 1);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLK(&lock))?;
    Ok(())
}

/// Fallback: asks for a lock of a process.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(not(target_os = "linux"))]
pub fn is_byte_held(file: &File, place: i64) -> io::Result<bool> {
    let mut lock = range(nix::libc::F_WRLCK.into(), place, 1);
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != i32::from(nix::libc::F_UNLCK))
}

/// Fallback: a whole-file lock, shared.
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(not(target_os = "linux"))]
pub fn hold_present(file: &File) -> io::Result<()> {
    file.try_lock_shared().map_err(io::Error::from)
}

/// Fallback: tries the lock. Two probes at once may each take the other for an owner,
/// which errs on the side of "alive".
///
/// # Errors
/// When the file system keeps no locks.
#[cfg(not(target_os = "linux"))]
pub fn is_present(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => file.unlock().map(|()| false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Keeps Ctrl-Z from stopping this thread's process while the value lives: a lock holder
/// that is stopped makes everybody wait.
#[derive(Debug)]
pub struct NoTerminalStop {
    before: Option<nix::sys::signal::SigSet>,
}

impl NoTerminalStop {
    /// Blocks SIGTSTP; one that arrives meanwhile is delivered afterwards.
    #[must_use]
    pub fn begin() -> Self {
        let mut set = nix::sys::signal::SigSet::empty();
        set.add(nix::sys::signal::Signal::SIGTSTP);
        Self { before: set.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for NoTerminalStop {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = before.thread_set_mask();
        }
    }
}

/// Wakes whoever waits for a folder to change.
#[cfg(target_os = "linux")]
pub struct Watch(nix::sys::inotify::Inotify);

#[cfg(target_os = "linux")]
impl Watch {
    /// Watches the names in `folder`.
    ///
    /// # Errors
    /// When the folder is gone, or the user's watches are used up.
    pub fn new(folder: &std::path::Path) -> io::Result<Self> {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE)?;
        Ok(Self(inotify))
    }

    /// Waits for a change, at most for `limit`.
    pub fn wait(&self, limit: std::time::Duration) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let millis = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        // Whatever ends the wait, the caller looks for itself.
        let _ = poll(&mut fds, millis);
        let _ = self.0.read_events();
    }
}

#[cfg(target_os = "linux")]
impl Watch {
    /// Forgets the changes seen so far.
    pub fn drain(&self) {
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Fallback: sleeps for a short while.
#[cfg(not(target_os = "linux"))]
pub struct Watch;

#[cfg(not(target_os = "linux"))]
impl Watch {
    /// Watches nothing.
    ///
    /// # Errors
    /// Never.
    pub fn new(_folder: &std::path::Path) -> io::Result<Self> {
        Ok(Self)
    }

    /// Sleeps for at most a quarter of a second.
    pub fn wait(&self, limit: std::time::Duration) {
        std::thread::sleep(limit.min(std::time::Duration::from_millis(250)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name_is_read_from_its_last_parenthesis() {
        let stat = "7 (a) b (c)) T 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(stat, || false), ProcessState::Running { start_time: 4242, stopped: true });
    }

    #[test]
    fn what_a_time_namespace_adds_is_taken_off_again() {
        let shift = TimeShift::parse("monotonic      86400         0\nboottime       -10 500000000\n");
        assert_eq!(shift, TimeShift { monotonic: 86_400 * NANOS, boottime: -10 * NANOS + NANOS / 2 });
        let seen = ProcessState::Running { start_time: 5_000, stopped: true };
        assert_eq!(shift.undo(seen), ProcessState::Running { start_time: 5_950, stopped: true });
        assert_eq!(shift.undo(ProcessState::Gone), ProcessState::Gone);
        assert_eq!(TimeShift::parse(""), TimeShift::default());
    }

    #[test]
    fn a_zombie_is_gone_unless_a_thread_of_it_lives() {
        let stat = "7 (x) Z 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(stat, || false), ProcessState::Gone);
        assert!(matches!(parse_stat(stat, || true), ProcessState::Running { .. }));
    }

    #[test]
    fn a_process_that_is_being_taken_apart_is_told_from_one_that_runs() {
        let stat = |flags: u32| format!("7 (a) b) R 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0");
        assert!(is_exiting(&stat(0x0040_0004)));
        assert!(!is_exiting(&stat(0x0040_0000)));
        assert!(!listed_is_gone(std::process::id()));
    }

    #[test]
    fn presence_is_seen_by_others_and_ends_with_the_holder() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let open = || File::options().read(true).write(true).open(file.path()).expect("open");
        let (holder, second, probe) = (open(), open(), File::open(file.path()).expect("open"));
        assert!(!is_present(&probe).expect("probe"));
        hold_present(&holder).expect("hold");
        hold_present(&second).expect("hold beside it");
        assert!(is_present(&probe).expect("probe"));
        drop(holder);
        assert!(is_present(&probe).expect("probe"));
        drop(second);
        // A child that another test starts in this process has both until it becomes a program.
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_present(&probe).expect("probe") {
            assert!(std::time::Instant::now() < limit);
            std::thread::yield_now();
        }
    }
}
