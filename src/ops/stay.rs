//! Watching for a session that nobody runs: a process of its own, which lives as long as the session
//! may.
//!
//! `reserve --watch` starts it and does not wait for it. It holds nothing of the session, so that it
//! neither keeps a dead one alive nor stands in anybody's way; it looks at the session's record
//! whenever one changes, and now and then whether the owner is still there, and ends by itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::acting::current;
use crate::context::Context;
use crate::git::Repo;
use crate::git::program::scrub;
use crate::names::SessionId;
use crate::platform::{System, Watch, umask};
use crate::session::Session;
use crate::thread::locked::liveness_of;
use crate::watch::Watcher;

/// The hidden first argument with which this program is such a process.
pub const STAY: &str = "__watch";

/// The longest time between two looks at the owner.
const LOOK: Duration = Duration::from_secs(10);

/// Starts a process that watches the worktree of `session`, its own or the one that the command
/// runs in; a sentence where that is not possible.
#[must_use]
pub fn start(context: &Context<'_>, session: &Session) -> Option<String> {
    let own = session.worktree.as_ref().and(session.path.as_deref());
    let Some(worktree) = own.or(context.repo.worktree()) else {
        return Some("there is no worktree to watch".to_owned());
    };
    let spawn = || {
        let mut command = Command::new(std::env::current_exe()?);
        scrub(&mut command);
        // A folder that it works in could be neither removed nor unmounted.
        command.arg(STAY).arg(worktree).arg(session.session_id.as_str()).current_dir("/");
        command.env_remove("HEDDLE_TOKEN").env_remove("HEDDLE_REQUEST_TOKEN");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        umask::users(|| command.spawn())
    };
    spawn().err().map(|error| format!("the worktree is not watched: {error}"))
}

/// Is such a process. `args` is what follows [`STAY`].
#[must_use]
pub fn stay(args: &[OsString]) -> u8 {
    let [worktree, id] = args else { return 2 };
    let Some(Ok(id)) = id.to_str().map(SessionId::parse) else { return 2 };
    // The terminal's signals are not for us.
    let _ = nix::unistd::setsid();
    u8::from(watch_over(&PathBuf::from(worktree), &id).is_none())
}

/// Watches until the session is over; `None` if that cannot be begun.
fn watch_over(worktree: &Path, id: &SessionId) -> Option<()> {
    let repo = Repo::at(worktree).ok()?;
    repo.share().ok()?;
    let platform = System::new();
    let context = Context::new(&repo, &platform, "watching").ok()?;
    let records = Watch::new(&context.layout.threads()).ok()?;
    let name = context.operation_id().ok()?;
    let _watcher = Watcher::start(worktree, repo.git_dir(), id, name).ok()?;
    while current(&context, id).is_ok_and(|session| liveness_of(&context, &session).may_live()) {
        records.wait(LOOK);
    }
    Some(())
}
