//! The umask: in a repository that several users share, that of this process says who may read and
//! write what it makes there, and what it starts has the user's all the same.

use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::stat::{Mode, umask};

/// The bits of a mode.
pub type Bits = nix::libc::mode_t;

/// The umask that this process was started with, and the one that it has.
struct Masks {
    users: Mode,
    ours: Mode,
}

static MASKS: OnceLock<Masks> = OnceLock::new();
/// Held while a process is started, during which everything has the user's.
static STARTING: Mutex<()> = Mutex::new(());

/// Has all that this process makes from here on be made under the umask that `ours` makes of the
/// user's. What was set first stays.
pub fn change(ours: impl FnOnce(Bits) -> Bits) {
    MASKS.get_or_init(|| {
        let users = umask(Mode::empty());
        let ours = Mode::from_bits_truncate(ours(users.bits()));
        umask(ours);
        Masks { users, ours }
    });
}

/// Has `start` start a process, under the user's umask. What another thread makes in that very
/// moment may come out less open than it should.
pub fn users<T>(start: impl FnOnce() -> T) -> T {
    let Some(Masks { users, ours }) = MASKS.get() else { return start() };
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    umask(*users);
    let started = start();
    umask(*ours);
    started
}
