//! Finding what is damaged or left over, and mending it when told to.
//!
//! Nothing is mended that the next command would not have to guess at: a half-done
//! operation is recovered as any command would; a damaged file is set aside beside itself
//! (`<file>.damaged`), never deleted; a lock on a thread's ref is removed only when nobody
//! alive can hold it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use self::holder::{Lock, look, remove_free};
use self::leftovers::{half_packed, half_written, leftovers, scratch_worktrees};
use super::acting::current;
use super::moves;
use super::stray::{Stray, strays};
use crate::context::Context;
use crate::error::Error;
use crate::git::moving::Checkout;
use crate::git::scratch::{abandoned, remove_abandoned};
use crate::names::{DROPPED, READY, SessionId, THREADS, ThreadName};
use crate::session::binding::Binding;
use crate::session::liveness::Presence;
use crate::session::session::End;
use crate::store::hooks_record::HooksRecord;
use crate::store::journal::{self, FileIdentity, Found};
use crate::store::lock::{FileLock, Terms};
use crate::store::{Layout, StoreError, atomic_file};
use crate::thread::locked::{acquire, check_current};
use crate::thread::rebuild::rebuild;
use crate::thread::{LockedThread, ThreadRecord, Tie};
use crate::watch;

mod holder;
mod leftovers;

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What kind of thing: `unfinished_operation`, `damaged_record`, `stray_session`,
    /// `leftover_file`, `stale_ref_lock`, `lost_worktree`, `unfinished_move`, `stray_ref`.
    pub kind: &'static str,
    /// The thread, where it is one's.
    pub thread: Option<ThreadName>,
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub message: String,
    /// What `--fix` does about it; `None` is nothing.
    pub fix: Option<&'static str>,
    /// Whether that was done.
    pub fixed: bool,
}

/// Looks at everything; with `fix`, mends what can be mended.
///
/// # Errors
/// [`StoreError::Io`] if state cannot be read at all.
pub fn doctor(context: &Context<'_>, fix: bool) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    // First, as they are in the way of what is finished or undone below.
    half_packed(context, fix, &mut findings);
    locks_of_killed_git(context, fix, &mut findings);
    for prefix in [THREADS, READY, DROPPED] {
        ref_locks(
            context,
            fix,
            &context.layout.ref_file(prefix.trim_end_matches('/')),
            prefix,
            &mut findings,
        );
    }
    head_locks(context, fix, &mut findings);
    locks_of_many(context, fix, &mut findings);
    journals(context, fix, &mut findings)?;
    thread_records(context, fix, &mut findings)?;
    if let Err(error) = HooksRecord::read(&context.layout) {
        findings.push(damaged(context.layout.hooks(), None, &error, fix));
    }
    sessions(context, fix, &mut findings)?;
    leftovers(context, fix, &mut findings)?;
    half_written(context, fix, &mut findings)?;
    abandoned_captures(context, fix, &mut findings);
    lost_worktrees(context, fix, &mut findings);
    unfinished_moves(context, fix, &mut findings);
    scratch_worktrees(context, fix, &mut findings);
    dead_watchers(context, fix, &mut findings);
    stray_refs(context, &mut findings)?;
    Ok(findings)
}

/// The files of `folder` that end in `suffix`, sorted.
fn files(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let fits = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix));
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(fits).collect();
    found.sort();
    Ok(found)
}

/// Sets a damaged file aside, so that nothing of it is lost.
fn set_aside(path: &Path) -> bool {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    fs::rename(path, aside).is_ok()
}

fn journals(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
    for path in files(&context.layout.locks(), ".journal")? {
        let thread = thread_of_key(context, &path, ".journal");
        let found = match &thread {
            Some(thread) => journal::read(&context.layout, thread),
            None => journal::read_at(&path),
        };
        match found {
            Ok(Found::Nothing) => {}
            Ok(Found::CutShort | Found::Operation(_)) => {
                // Taking the lock recovers; an operation that is merely in progress has
                // finished by then.
                let fixed =
                    fix && thread.as_ref().is_some_and(|thread| LockedThread::take(context, thread).is_ok());
                findings.push(Finding {
                    kind: "unfinished_operation",
                    thread,
                    path,
                    message: "an operation is in progress, or its process died in it".to_owned(),
                    fix: Some("finish or undo it, as the next command on the thread would"),
                    fixed,
                });
            }
            Err(error) => findings.push(damaged(path, thread, &error, fix)),
        }
    }
    Ok(())
}

fn damaged(path: PathBuf, thread: Option<ThreadName>, error: &StoreError, fix: bool) -> Finding {
    let mendable = matches!(error, StoreError::Damaged { .. });
    Finding {
        kind: "damaged_record",
        thread,
        message: error.to_string(),
        fix: mendable.then_some("set it aside as <file>.damaged"),
        fixed: fix && mendable && set_aside(&path),
        path,
    }
}

/// The record of a session that somebody acts for just now: its owner lives, whatever can be read of
/// it, so nothing is done.
fn damaged_and_present(path: PathBuf, id: &SessionId, error: &StoreError) -> Finding {
    let message = format!(
        "{error}; a process acts for the session, which only a person can end: git heddle agent release --force \
         --session {id}"
    );
    Finding { kind: "damaged_record", thread: None, path, message, fix: None, fixed: false }
}

/// The thread that a file below `heddle/` belongs to, if its key can be decoded.
fn thread_of_key(context: &Context<'_>, path: &Path, suffix: &str) -> Option<ThreadName> {
    let key = path.file_name()?.to_str()?.strip_suffix(suffix)?;
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = [*rest.next()?, *rest.next()?];
        // A shortened key: its thread is the one whose name has that key.
        let Ok(code) = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16) else {
            let names = context.repo.list_refs(THREADS).ok()?;
            let mut threads =
                names.iter().filter_map(|(name, _)| ThreadName::parse(&name[THREADS.len()..]).ok());
            return threads.find(|thread| thread.key() == key);
        };
        bytes.push(code);
    }
    ThreadName::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

fn thread_records(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
    for path in files(&context.layout.threads(), ".json")? {
        let thread = thread_of_key(context, &path, ".json");
        let Some(name) = &thread else { continue };
        if let Err(error) = ThreadRecord::read(&context.layout, name) {
            let mendable = matches!(error, StoreError::Damaged { .. });
            let what = "make it anew from sessions and commits, and keep this one as <file>.damaged";
            findings.push(Finding {
                kind: "damaged_record",
                message: error.to_string(),
                fix: mendable.then_some(what),
                fixed: fix && mendable && rebuild(context, name).is_ok(),
                thread,
                path,
            });
        }
    }
    Ok(())
}

fn sessions(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let live = context.registry.live_ids()?;
    let ended = context.registry.ended_ids()?.into_iter().filter(|id| live.binary_search(id).is_err());
    for id in live.iter().cloned().chain(ended) {
        let path = context.layout.session(&id);
        let session = match context.registry.read(&id) {
            Ok(Some(session)) => session,
            Ok(None) => continue,
            Err(error) => {
                // Of two records, the one that cannot be read.
                let path = match &error {
                    StoreError::Damaged { path, .. } | StoreError::Newer { path, .. } => path.clone(),
                    _ => path,
                };
                let acted_for = matches!(error, StoreError::Damaged { .. })
                    && path == context.layout.session(&id)
                    && context.registry.presence(&id) != Presence::Free;
                findings.push(if acted_for {
                    damaged_and_present(path, &id, &error)
                } else {
                    damaged(path, None, &error, fix)
                });
                continue;
            }
        };
        if !session.is_active() {
            continue;
        }
        let Ok(record) = ThreadRecord::read(&context.layout, &session.thread) else { continue };
        let lost = check_current(&session, record.as_ref()).is_err();
        if lost && current(context, &id).is_err() {
            let fixed = fix && end_stray(context, &session.thread, &id).is_ok();
            findings.push(Finding {
                kind: "stray_session",
                thread: Some(session.thread),
                path,
                message: format!("session '{id}' is active, and its thread's record does not name it"),
                fix: Some("end it as abandoned"),
                fixed,
            });
        }
    }
    Ok(())
}

/// Ends a session that its thread does not name; looked at again under the lock.
fn end_stray(context: &Context<'_>, thread: &ThreadName, id: &SessionId) -> Result<(), Error> {
    let locked = LockedThread::take(context, thread)?;
    let Some(session) = context.registry.read(id)? else { return Ok(()) };
    // Renamed since: it is looked at with its thread.
    let still = session.is_active() && session.thread == *thread;
    if still && check_current(&session, locked.record()).is_err() {
        let at = context.platform.now().wall;
        context.registry.end(&session.ended(End::Abandoned, at))?;
    }
    Ok(())
}

/// Locks beside threads' refs that no living process can hold.
fn ref_locks(context: &Context<'_>, fix: bool, folder: &Path, prefix: &str, findings: &mut Vec<Finding>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            ref_locks(context, fix, &path, prefix, findings);
            continue;
        }
        let root = context.layout.ref_file(prefix);
        let Some(name) = path.strip_prefix(&root).ok().and_then(Path::to_str) else { continue };
        let name = name.strip_suffix(".lock");
        // What was dropped has the generation behind its name.
        let name =
            if prefix == DROPPED { name.and_then(|name| Some(name.rsplit_once('/')?.0)) } else { name };
        let Some(thread) = name.and_then(|name| ThreadName::parse(name).ok()) else { continue };
        findings.extend(ref_lock(context, fix, thread, path));
    }
}

/// A lock of Git's on a ref of `thread`; `None` if it was given back meanwhile.
fn ref_lock(context: &Context<'_>, fix: bool, thread: ThreadName, path: PathBuf) -> Option<Finding> {
    let remove = |seen: &FileIdentity| {
        // Under the thread's own lock, which keeps git-heddle out. Nothing is recovered first: this
        // may be what is in the way of that.
        acquire(context, &thread).is_ok_and(|_lock| remove_free(context, &path, &path, seen))
    };
    let finding = lock_of_git(context, fix, "a lock on the thread's ref", path.clone(), remove)?;
    Some(Finding { thread: Some(thread), ..finding })
}

/// A lock of Git's, and what is known of its holder; `None` if it was given back meanwhile.
fn lock_of_git(
    context: &Context<'_>,
    fix: bool,
    what: &str,
    path: PathBuf,
    remove: impl FnOnce(&FileIdentity) -> bool,
) -> Option<Finding> {
    let seen = FileIdentity::of(&path)?;
    let (message, free) = match look(context, &path) {
        Lock::Gone => return None,
        Lock::Free => (format!("{what}, and nobody alive can hold it"), true),
        Lock::Held(holder) => (format!("{what}, which {holder} may hold"), false),
    };
    Some(Finding {
        kind: "stale_ref_lock",
        thread: None,
        message,
        fix: free.then_some("remove it"),
        fixed: fix && free && remove(&seen),
        path,
    })
}

/// Locks elsewhere than on a thread's refs that a git of ours leaves when it is killed: on
/// packed-refs, on the configuration, and on the branches and HEADs that landings move.
fn locks_of_killed_git(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    let common_dir = context.repo.common_dir();
    // A bare repository has a HEAD and no checkout; hooks are put into the configuration.
    let mut paths =
        ["packed-refs.lock", "HEAD.lock", "config.lock"].map(|name| common_dir.join(name)).to_vec();
    // Those that heddle made are looked at with their threads.
    let made = |git_dir: &Path| Binding::read(git_dir).ok().flatten().is_some_and(|binding| binding.made);
    let theirs = context.repo.checkouts().into_iter().map(|checkout| checkout.git_dir);
    let theirs = theirs.filter(|git_dir| git_dir != common_dir && !made(git_dir));
    paths.extend(theirs.map(|git_dir| git_dir.join("HEAD.lock")));
    let mut folders = vec![context.layout.ref_file("refs/heads")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ if entry.path().extension() == Some(OsStr::new("lock")) => paths.push(entry.path()),
                _ => {}
            }
        }
    }
    findings.extend(paths.into_iter().filter_map(|path| {
        let remove = |seen: &FileIdentity| remove_free(context, &path, &path, seen);
        lock_of_git(context, fix, "a lock of Git's", path.clone(), remove)
    }));
}

/// What a capture that died had for itself in the Git directory of its worktree, where no other
/// capture has come by since.
fn abandoned_captures(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    for checkout in context.repo.checkouts() {
        let git_dir = &checkout.git_dir;
        // While a capture is under way there, one may be just being made.
        let held =
            fs::File::open(Layout::binding_lock(git_dir)).is_ok_and(|lock| lock.try_lock_shared().is_err());
        let found = if held { Vec::new() } else { abandoned(git_dir) };
        if fix
            && !found.is_empty()
            && let Ok(_captures) = captures_excluded(context, git_dir)
        {
            remove_abandoned(git_dir);
        }
        findings.extend(found.into_iter().map(|path| Finding {
            kind: "leftover_file",
            thread: None,
            message: "the scratch folder of a capture whose process died".to_owned(),
            fix: Some("remove it"),
            fixed: !path.exists(),
            path,
        }));
    }
}

/// Locks on HEAD of the worktrees that heddle made, where captures move it along.
fn head_locks(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    for linked in context.repo.linked_worktrees() {
        let path = linked.git_dir.join("HEAD.lock");
        if let Ok(Some(binding)) = Binding::read(&linked.git_dir)
            && binding.made
            && path.exists()
        {
            findings.extend(ref_lock(context, fix, binding.thread, path));
        }
    }
}

/// Locks that are on many refs at once, and that no living process can hold.
fn locks_of_many(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    findings.extend(context.repo.locks_of_many().into_iter().filter_map(|path| {
        let remove = |seen: &FileIdentity| remove_free(context, &path, &path, seen);
        lock_of_git(context, fix, "a lock on all refs", path.clone(), remove)
    }));
}

/// Worktrees of somebody's own that are bound to a session whose thread was taken from it:
/// hooks keep their HEAD where it is until that is looked at. Those that heddle made are
/// removed or handed on by the thread's next owner.
fn lost_worktrees(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    for git_dir in context.repo.git_dirs() {
        let (binding, lost) = match Binding::read(&git_dir).map(|_| Tie::of(context, &git_dir)) {
            // Without it the next capture binds the worktree anew, if it stands where it has to.
            Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
                findings.push(damaged(Layout::binding(&git_dir), None, &error, fix));
                continue;
            }
            Ok(Ok(Tie::Lost(binding, lost))) if !binding.made => (binding, lost),
            _ => continue,
        };
        findings.push(Finding {
            kind: "lost_worktree",
            path: Layout::binding(&git_dir),
            message: format!("{lost}, and a worktree is still bound to it"),
            fix: Some("untie the worktree"),
            fixed: fix && untie(context, &git_dir, &binding).is_ok(),
            thread: Some(binding.thread),
        });
    }
}

/// Moves of checkouts that a landing or a refresh began.
fn unfinished_moves(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    for checkout in context.repo.checkouts().into_iter().filter(Checkout::is_moving) {
        let fixed = fix && moves::recover_all(context).is_ok();
        findings.push(Finding {
            kind: "unfinished_move",
            thread: None,
            path: checkout.path,
            message: "a landing or a refresh moves this checkout, or its process died in it".to_owned(),
            fix: Some("finish or undo it, as the next landing would"),
            fixed,
        });
    }
}

/// What watchers left that were killed.
fn dead_watchers(context: &Context<'_>, fix: bool, findings: &mut Vec<Finding>) {
    let git_dirs = context.repo.git_dirs();
    for (git_dir, path) in
        git_dirs.iter().flat_map(|git_dir| watch::stale(git_dir).into_iter().map(move |path| (git_dir, path)))
    {
        let fixed = fix && fs::remove_dir_all(&path).is_ok();
        // One who was just beginning to watch is not gone.
        if !fixed && !watch::stale(git_dir).contains(&path) {
            continue;
        }
        findings.push(Finding {
            kind: "leftover_file",
            thread: None,
            message: "the socket of a process that watched this worktree and is gone".to_owned(),
            fix: Some("remove it"),
            fixed,
            path,
        });
    }
}

/// Removes the binding of a worktree, if it is still `binding`. A capture, which would bind
/// the worktree anew, waits meanwhile.
fn untie(context: &Context<'_>, git_dir: &Path, binding: &Binding) -> Result<(), Error> {
    let _captures = captures_excluded(context, git_dir)?;
    if Binding::read(git_dir)?.as_ref() == Some(binding) {
        atomic_file::remove(&Layout::binding(git_dir))?;
    }
    Ok(())
}

/// Takes the lock that captures in the worktree of `git_dir` take.
fn captures_excluded(context: &Context<'_>, git_dir: &Path) -> Result<FileLock, StoreError> {
    let terms = Terms {
        what: "the worktree",
        command: context.command,
        timeout: context.lock_timeout(),
        brief: true,
    };
    FileLock::acquire(&Layout::binding_lock(git_dir), terms, context.platform)
}

/// Refs that no thread has: no command shows or moves them.
fn stray_refs(context: &Context<'_>, findings: &mut Vec<Finding>) -> Result<(), Error> {
    for prefix in [THREADS, READY] {
        for Stray { refname, why } in strays(context, prefix)? {
            findings.push(Finding {
                kind: "stray_ref",
                thread: None,
                path: context.layout.ref_file(&refname),
                message: format!(
                    "ref '{refname}' is no thread's: {why}; git update-ref --no-deref -d deletes it, and one that Git \
                     cannot read goes with its file"
                ),
                fix: None,
                fixed: false,
            });
        }
    }
    Ok(())
}
