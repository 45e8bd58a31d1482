//! `git heddle hooks install` and `uninstall`: putting our hooks where Git reaches them, beside
//! everybody else's, and taking them away without a trace.
//!
//! A Git that runs hooks from configuration (2.54) gets ours by one include in the
//! repository's configuration: no hook file is touched, and no hook manager can be in the way.
//! An older one gets them as files in every folder where it looks for the hooks of one of this
//! repository's worktrees.
//!
//! What was asked for is kept in a record: that this repository has hooks, and the folders
//! that ours were put into, so that `uninstall` finds them when Git looks elsewhere by then.
//! A repository without the record never asked; nothing is ever put into it.
//!
//! # If the process dies here
//! The record is written first and removed last. Between the two, every hook is as it was or as it
//! is to be (see [`super::files`]); the next `install` or `uninstall` does the rest.
//!
//! # If another does the same now
//! One lock a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Done, HookFile};
use super::{Event, Side, script};
use crate::context::Context;
use crate::error::Error;
use crate::git::Repo;
use crate::git::hooks::{GitVersion, HookPlace};
use crate::store::atomic_file;
use crate::store::hooks_record::HooksRecord;
use crate::store::lock::{FileLock, Terms};

/// The value of `include.path`, meant from the repository's configuration file.
const INCLUDE: &str = "heddle/hooks.gitconfig";
const INCLUDE_KEY: &str = "include.path";

/// How ours are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By `hook.<name>.command`.
    Configuration,
    /// By files where Git looks.
    Files,
}

/// What was done.
#[derive(Debug)]
pub struct Report {
    /// The Git that was asked.
    pub git: GitVersion,
    /// How ours are reached.
    pub way: Way,
    /// What was done to which file, for which hook.
    pub changes: Vec<Change>,
    /// What its caller should know.
    pub warnings: Vec<String>,
}

/// What was done for one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The hook.
    pub event: Event,
    /// The file.
    pub path: PathBuf,
    /// What.
    pub done: Done,
}

impl From<&HooksRecord> for Side {
    fn from(record: &HooksRecord) -> Self {
        if record.server { Self::Server } else { Self::Client }
    }
}

/// Installs the hooks of `side`.
///
/// # Errors
/// [`Error::Refused`] where Git looks for hooks in a place that is not this repository's to
/// fill; nothing is changed then. [`crate::store::StoreError::Busy`] while another installs.
pub fn install(context: &Context<'_>, side: Side) -> Result<Report, Error> {
    let repo = context.repo;
    if side == Side::Server && repo.worktree().is_some() {
        return Err(Error::Refused {
            message: "the hooks of a server are for a bare repository, and this one has a worktree"
                .to_owned(),
            hint: Some("git heddle hooks install, without --server, is for where people work".to_owned()),
        });
    }
    let _lock = lock(context)?;
    let git = GitVersion::ask()?;
    let mut places = repo.hook_places()?;
    let mut warnings = Vec::new();
    let way = if git.runs_configured_hooks() { Way::Configuration } else { Way::Files };
    if way == Way::Files {
        usable(&places[0])?;
        places.retain(|place| match usable(place) {
            Ok(()) => true,
            Err(error) => {
                warnings.push(error.to_string());
                false
            }
        });
    }
    let mut record = HooksRecord::read(&context.layout)?.unwrap_or_default();
    record.server = side == Side::Server;
    if way == Way::Files {
        for HookPlace { folder, .. } in &places {
            record.made.extend(folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned));
            record.folders.insert(folder.clone());
        }
    }
    record.write(&context.layout, context.durability())?;
    let mut changes = Vec::new();
    match way {
        Way::Configuration => {
            changes.extend(configure(context, side)?);
            // Under an older Git they may be in files.
            changes.extend(take_out_of_files(context, &record, &places)?);
        }
        Way::Files => {
            changes.extend(put_into_files(context, side, &places, &mut warnings)?);
            changes.extend(unconfigure(context)?);
        }
    }
    let reason = |change: &Change| match &change.done {
        Done::Skipped(reason) => Some((change.path.clone(), reason.clone())),
        _ => None,
    };
    let skipped: BTreeMap<PathBuf, String> = changes.iter().filter_map(reason).collect();
    if skipped != record.skipped {
        record.skipped = skipped;
        record.write(&context.layout, context.durability())?;
    }
    Ok(Report { git, way, changes, warnings })
}

/// Takes away all that [`install`] has ever put into this repository.
///
/// # Errors
/// As [`install`].
pub fn uninstall(context: &Context<'_>) -> Result<Report, Error> {
    let _lock = lock(context)?;
    let git = GitVersion::ask()?;
    let places = context.repo.hook_places()?;
    let record = HooksRecord::read(&context.layout)?.unwrap_or_default();
    let mut changes = unconfigure(context)?;
    let way = if changes.is_empty() { Way::Files } else { Way::Configuration };
    changes.extend(take_out_of_files(context, &record, &places)?);
    atomic_file::remove(&context.layout.hooks())?;
    Ok(Report { git, way, changes, warnings: Vec::new() })
}

/// Puts back what a hook manager has taken out of a repository that asked for hooks; what was
/// done. Costs a look at a few files where nothing is amiss.
///
/// # Errors
/// As [`install`].
pub fn keep(context: &Context<'_>) -> Result<Vec<Change>, Error> {
    let Some(record) = HooksRecord::read(&context.layout)? else { return Ok(Vec::new()) };
    if in_place(context, &record)? {
        return Ok(Vec::new());
    }
    let report = install(context, Side::from(&record))?;
    let news = |change: &Change| !matches!(change.done, Done::Unchanged | Done::Skipped(_));
    Ok(report.changes.into_iter().filter(news).collect())
}

/// Whether ours are where Git looks from here, as far as can be told without asking Git.
fn in_place(context: &Context<'_>, record: &HooksRecord) -> Result<bool, Error> {
    let config = context.repo.config()?;
    if context.layout.hooks_configuration().exists()
        && config.get_all(INCLUDE_KEY)?.iter().any(|value| value.text == INCLUDE)
    {
        return Ok(true);
    }
    let folder = match config.get("core.hooksPath")? {
        None => context.repo.common_dir().join("hooks"),
        Some(path) => {
            let top = context.repo.worktree().unwrap_or(context.repo.common_dir());
            let path = path.text;
            match path.strip_prefix("~/") {
                Some(below) => std::env::home_dir().unwrap_or_default().join(below),
                None => top.join(path),
            }
        }
    };
    for event in Side::from(record).events() {
        let file = HookFile { folder: &folder, event, durability: context.durability() };
        if record.skipped.contains_key(&file.path()) {
            continue;
        }
        let there = matches!(file.look()?, files::Found::Ours { runs: true, current: true, .. });
        if !there && file.run_by_manager()?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether hooks may be put where Git looks for them.
pub(super) fn usable(place: &HookPlace) -> Result<(), Error> {
    let Some(configured) = &place.configured else { return Ok(()) };
    let own = configured.for_this_repository;
    if configured.is_empty() || own && place.folder.exists() && !place.folder.is_dir() {
        let (value, origin) = (&configured.value, &configured.origin);
        return Err(Error::Refused {
            message: format!("hooks are switched off: core.hooksPath is {value:?} ({origin})"),
            hint: Some(match own {
                true => "git config --unset core.hooksPath switches them on".to_owned(),
                false => format!("to switch them on, unset core.hooksPath where it comes from: {origin}"),
            }),
        });
    }
    if own {
        return Ok(());
    }
    // It serves other repositories too, and those did not ask.
    Err(Error::Refused {
        message: format!(
            "Git looks for hooks in {:?}, which is not this repository's alone: core.hooksPath comes from {}",
            place.folder, configured.origin
        ),
        hint: Some(
            "give this repository a folder of its own: git config core.hooksPath .git/hooks; or use Git 2.54"
                .to_owned(),
        ),
    })
}

fn lock(context: &Context<'_>) -> Result<FileLock, Error> {
    let terms = Terms {
        what: "the hooks of this repository",
        command: context.command,
        timeout: context.lock_timeout(),
        brief: false,
    };
    Ok(FileLock::acquire(&context.layout.hooks_lock(), terms, context.platform)?)
}

/// Has Git run ours from its configuration.
fn configure(context: &Context<'_>, side: Side) -> Result<Vec<Change>, Error> {
    let path = context.layout.hooks_configuration();
    let text = side.events().fold(String::new(), |text, event| {
        let (name, command) = (event.name(), quoted(&script::command(event)));
        text + &format!("[hook \"heddle-{name}\"]\n\tevent = {name}\n\tcommand = {command}\n")
    });
    let known = atomic_file::read("configuration of hooks", &path)?;
    let included = is_configured(context)?;
    let done = match known {
        Some(known) if included && known == text.as_bytes() => Done::Unchanged,
        Some(_) if included => Done::Updated,
        _ => Done::Added,
    };
    if done != Done::Unchanged {
        atomic_file::replace(&path, text.as_bytes(), context.durability())?;
    }
    if !included && let Err(error) = context.repo.add_shared_config(INCLUDE_KEY, INCLUDE) {
        // Perhaps only its end could not be seen. What cannot be taken back the next install finds.
        let _ = unconfigure(context);
        return Err(error.into());
    }
    let change = |event| Change { event, path: path.clone(), done: done.clone() };
    Ok(side.events().map(change).collect())
}

/// Whether the repository's configuration includes ours.
pub(super) fn is_configured(context: &Context<'_>) -> Result<bool, Error> {
    if !context.layout.hooks_configuration().exists() {
        return Ok(false);
    }
    Ok(context.repo.shared_config_values(INCLUDE_KEY)?.iter().any(|value| value == INCLUDE))
}

/// Takes ours out of the configuration.
fn unconfigure(context: &Context<'_>) -> Result<Vec<Change>, Error> {
    let path = context.layout.hooks_configuration();
    let included = context.repo.shared_config_values(INCLUDE_KEY)?.iter().any(|value| value == INCLUDE);
    if included {
        context.repo.remove_shared_config(INCLUDE_KEY, INCLUDE)?;
    }
    if !included && !path.exists() {
        return Ok(Vec::new());
    }
    atomic_file::remove(&path)?;
    let change = |event| Change { event, path: path.clone(), done: Done::Removed };
    Ok(Side::Client.events().chain(Side::Server.events()).map(change).collect())
}

/// A value as Git's configuration files have it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{escaped}\"")
}

/// Puts ours into every folder where Git looks.
fn put_into_files(
    context: &Context<'_>,
    side: Side,
    places: &[HookPlace],
    warnings: &mut Vec<String>,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    let mut excluded = BTreeSet::new();
    for place in places {
        if !seen.insert(&place.folder) {
            continue;
        }
        files::clear_unfinished(&place.folder)?;
        let inside = worktree_around(context.repo, places, &place.folder);
        if inside.is_none() && !place.folder.starts_with(context.repo.common_dir()) {
            warnings.push(format!(
                "{:?} lies outside the repository: whichever other repository uses it runs these hooks too",
                place.folder
            ));
        }
        for event in side.events() {
            let file = HookFile { folder: &place.folder, event, durability: context.durability() };
            let path = file.path();
            let done = match &inside {
                Some(top) => put_into_worktree(context.repo, top, &file, &mut excluded)?,
                None => file.put()?,
            };
            changes.push(Change { event, path, done });
        }
    }
    exclude(context, &excluded)?;
    Ok(changes)
}

/// Puts ours into a folder that lies in the worktree at `top`, but not into what the worktree
/// contains: that is committed and is everybody's. What is new there is excluded.
fn put_into_worktree(
    repo: &Repo,
    top: &Path,
    file: &HookFile<'_>,
    excluded: &mut BTreeSet<String>,
) -> Result<Done, Error> {
    let path = canonical(file.folder).join(file.event.name());
    let content = repo.is_content(top, &path)?;
    if content && fs::symlink_metadata(&path).is_ok() {
        let event = file.event;
        let what = if event.reads_stdin() {
            "it has to hand its standard input on to".to_owned()
        } else {
            "add this line to it:".to_owned()
        };
        return Ok(Done::Skipped(format!(
            "it is part of what the worktree contains; {what} git heddle hooks run {} \"$@\" || exit",
            event.name()
        )));
    }
    let done = file.put()?;
    // One that this has excluded before is ignored by now, and has to stay so.
    if let Some(pattern) = pattern(top, &path)
        && (content || is_excluded(repo, &pattern)?)
    {
        excluded.insert(pattern);
    }
    Ok(done)
}

/// The worktree that `folder` lies in, its Git directory left out.
fn worktree_around(repo: &Repo, places: &[HookPlace], folder: &Path) -> Option<PathBuf> {
    let folder = canonical(folder);
    if folder.starts_with(repo.common_dir()) {
        return None;
    }
    let tops = places.iter().filter_map(|place| place.worktree.as_deref()).map(canonical);
    // A worktree may lie in another.
    tops.filter(|top| folder.starts_with(top)).max_by_key(|top| top.components().count())
}

/// `path` without links and dots, as far as it exists.
fn canonical(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), _, _) => path,
        (Err(_), Some(parent), Some(name)) => canonical(parent).join(name),
        _ => path.to_owned(),
    }
}

/// The pattern that excludes `path` in the worktree at `top` and nothing else.
fn pattern(top: &Path, path: &Path) -> Option<String> {
    let relative = path.strip_prefix(top).ok()?.to_str()?;
    let mut pattern = "/".to_owned();
    for character in relative.chars() {
        if matches!(character, '\\' | '*' | '?' | '[' | ' ') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    Some(pattern)
}

fn is_excluded(repo: &Repo, pattern: &str) -> Result<bool, Error> {
    let text = atomic_file::read("info/exclude", &exclude_file(repo))?.unwrap_or_default();
    Ok(text.split(|byte| *byte == b'\n').any(|line| line == pattern.as_bytes()))
}

fn exclude_file(repo: &Repo) -> PathBuf {
    canonical(&repo.common_dir().join("info/exclude"))
}

/// Has Git ignore what we put into worktrees, and only that.
fn exclude(context: &Context<'_>, patterns: &BTreeSet<String>) -> Result<(), Error> {
    let path = exclude_file(context.repo);
    let before = atomic_file::read("info/exclude", &path)?;
    let rest = match &before {
        None => None,
        Some(content) => match script::remove(content) {
            Some(ours) => ours.rest,
            None => Some(content.clone()),
        },
    };
    let after = if patterns.is_empty() { rest } else { Some(script::list(rest.as_deref(), patterns)) };
    match after {
        after if after == before => Ok(()),
        Some(text) => Ok(atomic_file::replace(&path, &text, context.durability())?),
        None => Ok(atomic_file::remove(&path)?),
    }
}

/// Takes ours out of every file that it may be in.
fn take_out_of_files(
    context: &Context<'_>,
    record: &HooksRecord,
    places: &[HookPlace],
) -> Result<Vec<Change>, Error> {
    let mut folders = record.folders.clone();
    folders.extend(places.iter().filter(|place| usable(place).is_ok()).map(|place| place.folder.clone()));
    folders.insert(context.repo.common_dir().join("hooks"));
    let mut changes = Vec::new();
    for folder in &folders {
        files::clear_unfinished(folder)?;
        for event in Side::Client.events().chain(Side::Server.events()) {
            let file = HookFile { folder, event, durability: context.durability() };
            let done = file.take_out()?;
            changes.extend(done.into_iter().map(|(path, done)| Change { event, path, done }));
        }
    }
    // The lower ones first. One that somebody else uses by now stays, and one on the way to no
    // hooks of ours is not ours to remove, whatever the record says.
    for made in record.made.iter().rev() {
        if folders.iter().any(|folder| folder.starts_with(made)) {
            let _ = fs::remove_dir(made);
        }
    }
    exclude(context, &BTreeSet::new())?;
    Ok(changes)
}
