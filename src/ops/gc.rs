//! Removing what nobody needs any more, after `heddle.retention`: finished sessions and their
//! logs, landed threads, what was kept of dropped ones, worktrees that serve nobody, old
//! events. Never runs by itself.
//!
//! Every step is safe on its own and may be repeated, so a process that dies in the middle has
//! merely done less. Each looks again under the lock that it needs; a thread that is busy, or
//! that cannot be looked at, is left for the next time, with a sentence.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::threads::{self, State, Which};
use super::{drop, land, worktrees};
use crate::context::Context;
use crate::error::Error;
use crate::git::refs::{Change, Expected};
use crate::names::DROPPED;
use crate::store::{atomic_file, events};
use crate::thread::LockedThread;

/// The kind of a thing that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The record of a finished session.
    Session,
    /// The output of checks.
    Log,
    /// A landed thread.
    Thread,
    /// What was kept of a dropped thread.
    Dropped,
    /// A worktree.
    Worktree,
    /// Old events.
    Events,
}

/// Something that went, or would go.
#[derive(Debug, Clone)]
pub struct Collected {
    /// What kind of thing.
    pub kind: Kind,
    /// Which.
    pub name: String,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// What went, or with a dry run would go.
    pub collected: Vec<Collected>,
    /// What stays although its time has come, and why: one sentence each.
    pub kept: Vec<String>,
}

/// Collects; with `dry_run` only says what.
///
/// # Errors
/// [`crate::git::GitError`], [`crate::store::StoreError`] if the state cannot be read.
pub fn gc(context: &Context<'_>, dry_run: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    worktrees_that_serve_nobody(context, dry_run, &mut report)?;
    landed_threads(context, dry_run, &mut report)?;
    dropped_threads(context, dry_run, &mut report)?;
    sessions(context, dry_run, &mut report)?;
    old_events(context, dry_run, &mut report);
    if !dry_run {
        let git_dirs = context.repo.git_dirs();
        git_dirs.iter().for_each(|git_dir| crate::watch::remove_stale(git_dir));
        let mut folders = vec![context.layout.ended(), context.layout.logs()];
        folders.extend(context.layout.events().parent().map(Path::to_owned));
        for folder in folders.iter().chain(&git_dirs) {
            // What comes back after a power cut does no harm, and goes the next time.
            let _ = atomic_file::sync_folder(folder, context.durability());
        }
    }
    Ok(report)
}

/// How long ago a file was written; `None` if it cannot be known.
fn age(path: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified()).ok()?;
    // A time in the future is no age.
    SystemTime::now().duration_since(modified).ok()
}

fn old(context: &Context<'_>, path: &Path) -> bool {
    age(path).is_some_and(|age| age >= context.settings.retention)
}

/// How long ago the ref `name` was moved, by its log. Git deletes that before the ref: where it was
/// stopped in between, the ref is at least as old as the file that it is in.
fn since_moved(context: &Context<'_>, name: &str) -> Option<Duration> {
    if let Some(files) = context.repo.files_of(name) {
        let packed = context.layout.ref_file("packed-refs");
        return age(&files.log).or_else(|| age(&files.tip)).or_else(|| age(&packed));
    }
    let moved = u64::try_from(context.repo.moved_at(name).0).ok().filter(|moved| *moved > 0)?;
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(moved)).ok()
}

fn worktrees_that_serve_nobody(
    context: &Context<'_>,
    dry_run: bool,
    report: &mut Report,
) -> Result<(), Error> {
    for found in worktrees::that_serve_nobody(context)? {
        if !found.written.as_deref().is_none_or(|path| old(context, path)) {
            continue;
        }
        let name = found.linked.path.display().to_string();
        let reasons = match worktrees::sweep(context, &found, dry_run) {
            Ok(reasons) => reasons,
            Err(error) => vec![error.to_string()],
        };
        if reasons.is_empty() {
            report.collected.push(Collected { kind: Kind::Worktree, name });
        } else {
            report.kept.push(format!("the worktree at {name} stays: {}", reasons.join("; ")));
        }
    }
    Ok(())
}

fn landed_threads(context: &Context<'_>, dry_run: bool, report: &mut Report) -> Result<(), Error> {
    let (rows, _) = threads::list(context, Which::All)?;
    for row in rows.into_iter().filter(|row| row.state() == State::Merged || row.taken_back) {
        // Where only a worktree is left, there is no thread to remove.
        let Some(tip) = &row.tip else { continue };
        let record = context.layout.thread(&row.thread);
        // Both: the record tells of the last owner, the log of the last move.
        let ages = [age(&record), since_moved(context, &row.thread.tip_ref())];
        let ages: Vec<Duration> = ages.into_iter().flatten().collect();
        let settled = !ages.is_empty() && ages.iter().all(|age| *age >= context.settings.retention);
        let may_live = row.owner.as_ref().is_some_and(|owner| owner.liveness.may_live());
        if !settled || may_live {
            continue;
        }
        let name = row.thread.as_str().to_owned();
        let trees = worktrees::whole_for(context, &row.thread)?;
        // With a dry run those are still there that would have gone.
        let goes = |path: &Path| {
            let name = path.display().to_string();
            report.collected.iter().any(|one| one.kind == Kind::Worktree && one.name == name)
        };
        if trees.iter().any(|linked| linked.is_there() && !goes(&linked.path)) {
            report.kept.push(format!("thread '{name}' stays: it has a worktree"));
            continue;
        }
        let is_contained = row.distance.as_ref().is_some_and(|distance| distance.ahead == 0);
        if !is_contained && !land::is_on_target(context, row.record.as_deref(), tip)? {
            report.kept.push(format!("thread '{name}' stays: its target does not have what landed any more"));
            continue;
        }
        if !dry_run {
            let removed = LockedThread::take(context, &row.thread).and_then(|locked| {
                match locked.owner() {
                    Some(owner) => Err(Error::Owned { thread: row.thread.clone(), owner: owner.id }),
                    // A way back costs a ref: the target may have the work in another shape.
                    None => drop::drop_refs(context, &locked, tip, None),
                }
            });
            if let Err(error) = removed {
                report.kept.push(format!("thread '{name}' stays: {error}"));
                continue;
            }
        }
        report.collected.push(Collected { kind: Kind::Thread, name });
        if dry_run && context.settings.retention.is_zero() {
            // What is kept of it would have its time over at once.
            let name = drop::would_keep_as(context, &row.thread, tip)?;
            report.collected.push(Collected { kind: Kind::Dropped, name });
        }
    }
    Ok(())
}

fn dropped_threads(context: &Context<'_>, dry_run: bool, report: &mut Report) -> Result<(), Error> {
    for (name, commit) in context.repo.list_refs(DROPPED)? {
        // Its log is written once, when it was dropped, and stays when the ref is packed.
        if since_moved(context, &name).is_none_or(|age| age < context.settings.retention) {
            continue;
        }
        if !dry_run {
            let change = Change { name: name.clone(), from: Expected::Exactly(commit), to: None };
            if let Err(error) = context.repo.change_refs(&[change], "heddle: gc") {
                report.kept.push(format!("{name} stays: {error}"));
                continue;
            }
        }
        report.collected.push(Collected { kind: Kind::Dropped, name });
    }
    Ok(())
}

fn sessions(context: &Context<'_>, dry_run: bool, report: &mut Report) -> Result<(), Error> {
    for id in context.registry.ended_ids()? {
        let path = context.layout.ended_session(&id);
        if old(context, &path) && (dry_run || std::fs::remove_file(&path).is_ok()) {
            report.collected.push(Collected { kind: Kind::Session, name: id.as_str().to_owned() });
        }
    }
    let live = context.registry.live_ids()?;
    let logs = std::fs::read_dir(context.layout.logs()).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
    logs.sort();
    for path in logs {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of_a_live_session = live.iter().any(|id| name.starts_with(id.as_str()));
        if !of_a_live_session && old(context, &path) && (dry_run || std::fs::remove_file(&path).is_ok()) {
            report.collected.push(Collected { kind: Kind::Log, name });
        }
    }
    Ok(())
}

/// Events go in two steps, so that no writer has to be kept out: a log whose first event is
/// old is renamed, and appending goes on in a new one; the renamed one goes when its last
/// event is old.
fn old_events(context: &Context<'_>, dry_run: bool, report: &mut Report) {
    let log = context.layout.events();
    let aside = events::aside(&log);
    let mut gone = Vec::new();
    if aside.exists() && old(context, &aside) && (dry_run || std::fs::remove_file(&aside).is_ok()) {
        gone.push(aside.clone());
    }
    let first = events::first_time(&log);
    let begun = first.and_then(|first| (context.platform.now().wall - first).to_std().ok());
    let room = !aside.exists() || (dry_run && !gone.is_empty());
    if room && begun.is_some_and(|age| age >= context.settings.retention) && !dry_run {
        let _ = std::fs::rename(&log, &aside);
    }
    for path in gone {
        report.collected.push(Collected { kind: Kind::Events, name: path.display().to_string() });
    }
}
