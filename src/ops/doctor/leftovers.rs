//! What killed processes and power cuts left of records.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::holder::{Lock, look, remove_free};
use super::{Finding, files};
use crate::context::Context;
use crate::error::Error;
use crate::git::land::abandoned_scratch;
use crate::names::{SessionId, ThreadName};
use crate::ops::land::clear_scratch;
use crate::session::liveness::Presence;
use crate::store::atomic_file;
use crate::store::journal::FileIdentity;
use crate::store::lock::{FileLock, Terms};
use crate::thread::LockedThread;

/// What a session that has ended left among the live ones: a power cut may take back the
/// removal of a file, which no journal tells of any more.
pub(super) fn leftovers(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let mut finding = |thread, path, message, fixed| {
        let (kind, fix) = ("leftover_file", Some("remove it"));
        findings.push(Finding { kind, thread, path, message, fix, fixed });
    };
    for id in context.registry.live_ids()? {
        let Ok(Some(session)) = context.registry.read(&id) else { continue };
        if !session.is_active() {
            let fixed = fix && forget_ended(context, &session.thread, &id).is_ok();
            let message = format!("session '{id}' has ended, and its live record is still there");
            finding(Some(session.thread), context.layout.session(&id), message, fixed);
        }
    }
    for path in files(&context.layout.agents(), ".live")? {
        let id = path.file_stem().and_then(|stem| SessionId::parse(stem.to_str()?).ok());
        let Some(id) = id.filter(|id| !context.layout.session(id).exists()) else { continue };
        // Its record is made before it and removed before it, so nobody will hold it again.
        let fixed =
            fix && context.registry.presence(&id) == Presence::Free && atomic_file::remove(&path).is_ok();
        finding(None, path, format!("a lock file of session '{id}', which is not live"), fixed);
    }
    Ok(())
}

/// Records that a killed process had begun to write where no journal tells of it. The next one to
/// write that record writes over it, if anybody ever does. Who writes one just now holds the lock of
/// its thread, and is done in a moment.
pub(super) fn half_written(
    context: &Context<'_>,
    fix: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    const A_MOMENT: Duration = Duration::from_secs(2);
    let layout = &context.layout;
    let mut paths = files(&layout.agents(), ".json.new")?;
    paths.extend(files(&layout.ended(), ".json.new")?);
    paths.extend(files(&layout.threads(), ".json.new")?);
    for path in paths {
        let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        let old = age.is_some_and(|age| age > A_MOMENT);
        let thread = thread_in(&path.with_extension("")).or_else(|| thread_in(&path));
        let remove = || path.exists() && atomic_file::remove(&path).is_ok();
        let fixed = match &thread {
            _ if !fix => false,
            Some(thread) => LockedThread::take(context, thread).is_ok_and(|_locked| remove()),
            None => old && remove(),
        };
        if fixed || old {
            let message = "a record that a process began to write and did not finish".to_owned();
            findings.push(Finding {
                kind: "leftover_file",
                thread,
                path,
                message,
                fix: Some("remove it"),
                fixed,
            });
        }
    }
    Ok(())
}

/// The thread that a record is of, as far as it can be read.
fn thread_in(path: &Path) -> Option<ThreadName> {
    let bytes = atomic_file::read("record", path).ok()??;
    let record: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    ThreadName::parse(record.get("thread")?.as_str()?).ok()
}

/// Removes what an ended session has among the live ones; looked at again under the lock.
fn forget_ended(context: &Context<'_>, thread: &ThreadName, id: &SessionId) -> Result<(), Error> {
    let _locked = LockedThread::take(context, thread)?;
    if context.layout.ended_session(id).exists() {
        context.registry.forget_live(id)?;
    }
    Ok(())
}

/// What a git that was killed while it packed refs, or deleted a packed one, had written. It is in the
/// way of the next, and is written under the lock on packed-refs only.
pub(super) fn half_packed(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    let folder = context.repo.common_dir();
    let (new, lock) = (folder.join("packed-refs.new"), folder.join("packed-refs.lock"));
    let Some(seen) = FileIdentity::of(&new) else { return };
    let remove = || match fs::File::create_new(&lock) {
        Ok(_) => {
            let removed = seen.is_at(&new) && atomic_file::remove(&new).is_ok();
            atomic_file::remove(&lock).is_ok() && removed
        }
        // The lock of who has died goes after it.
        Err(_) => remove_free(context, &lock, &new, &seen),
    };
    if matches!(look(context, &lock), Lock::Held(_)) || !seen.is_at(&new) {
        return;
    }
    let fixed = fix && remove();
    findings.push(Finding {
        kind: "leftover_file",
        thread: None,
        path: new,
        message: "packed refs that a git which was killed did not come to put in place".to_owned(),
        fix: Some("remove it"),
        fixed,
    });
}

/// The worktrees for checks of landings whose process died. While another lands there is nothing to
/// say: it removes them, and may be making one.
pub(super) fn scratch_worktrees(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    if abandoned_scratch(context.repo).is_empty() {
        return;
    }
    let terms = Terms { what: "landing", command: context.command, timeout: Duration::ZERO, brief: false };
    let Ok(turn) = FileLock::acquire(&context.layout.land_lock(), terms, context.platform) else { return };
    for linked in abandoned_scratch(context.repo) {
        let fixed = fix && clear_scratch(context, &turn).is_ok() && !linked.git_dir.exists();
        findings.push(Finding {
            kind: "leftover_file",
            thread: None,
            path: linked.path,
            message: "a worktree for checks that a landing left whose process died".to_owned(),
            fix: Some("remove it"),
            fixed,
        });
    }
}
