//! `git heddle hooks status`: whether Git reaches our hooks, found out by having it try.
//!
//! Each hook is fired with a variable in its environment that our part answers to, before
//! anything else in the file runs and instead of it; `reference-transaction` by a transaction
//! that changes nothing and is aborted, the others by `git hook run`. A hook in which
//! somebody else's part would run first is not fired, for that could do anything; what is
//! said of it then is what its file says. Configured hooks of others are switched off for the
//! firing, and so are hooks in files where ours is configured.
//!
//! Nothing is written, but for Git's own lock on a scratch ref while the transaction lasts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::files::{Found, HookFile};
use super::install::{self, Way};
use super::script::{Kind, PROBE};
use super::{Event, Side};
use crate::context::Context;
use crate::error::Error;
use crate::git::hooks::{Firing, GitVersion, HookPlace};
use crate::settings::Enforcement;
use crate::store::hooks_record::HooksRecord;

/// Whether the rules are enforced here.
#[derive(Debug)]
pub struct Status {
    /// The Git that was asked.
    pub git: GitVersion,
    /// How ours are meant to be reached; `None` if they are not installed.
    pub way: Option<Way>,
    /// What `heddle.hooks` says.
    pub enforcement: Enforcement,
    /// Every hook, in every folder where Git looks.
    pub hooks: Vec<HookStatus>,
}

impl Status {
    /// Whether every hook is reached and refuses.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        let refuses = matches!(self.enforcement, Enforcement::Closed | Enforcement::Open);
        refuses && self.hooks.iter().all(|hook| hook.reached)
    }
}

/// One hook where Git looks for it.
#[derive(Debug)]
pub struct HookStatus {
    /// The hook.
    pub event: Event,
    /// The worktree that it counts in; `None` in a bare repository.
    pub worktree: Option<PathBuf>,
    /// The file that Git would run, or the configuration that it would read.
    pub path: PathBuf,
    /// Whether ours is reached.
    pub reached: bool,
    /// Whether that was tried.
    pub fired: bool,
    /// What is in the way, or worth knowing.
    pub reason: Option<String>,
    /// What to do about it.
    pub mend: Option<String>,
}

/// What was found out about one hook.
struct Finding {
    reached: bool,
    fired: bool,
    reason: Option<String>,
    mend: Option<String>,
}

impl Finding {
    const REACHED: Self = Self { reached: true, fired: true, reason: None, mend: None };

    fn unreached(reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { reached: false, fired: false, reason: Some(reason.into()), mend: Some(mend.into()) }
    }
}

const INSTALL: &str = "git heddle hooks install";

/// Looks, and tries.
///
/// # Errors
/// [`crate::git::GitError`] if Git cannot be asked.
pub fn status(context: &Context<'_>) -> Result<Status, Error> {
    let git = GitVersion::ask()?;
    let record = HooksRecord::read(&context.layout)?;
    let configured = install::is_configured(context)?;
    let side = record.as_ref().map_or(Side::Client, Side::from);
    let mut places = context.repo.hook_places()?;
    if configured {
        // The configuration that all worktrees share.
        places.truncate(1);
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.folder.clone()));
    let mut hooks = Vec::new();
    for place in &places {
        for event in side.events() {
            let file = HookFile { folder: &place.folder, event, durability: context.durability() };
            let (path, finding) = if configured {
                (context.layout.hooks_configuration(), in_configuration(context, &git, place, event)?)
            } else {
                (file.path(), in_file(context, record.as_ref(), place, &file)?)
            };
            let Finding { reached, fired, reason, mend } = finding;
            let worktree = place.worktree.clone();
            hooks.push(HookStatus { event, worktree, path, reached, fired, reason, mend });
        }
    }
    let way = match (configured, &record) {
        (true, _) => Some(Way::Configuration),
        (false, Some(_)) => Some(Way::Files),
        // From a template, or put there by hand.
        (false, None) => hooks.iter().any(|hook| hook.reached).then_some(Way::Files),
    };
    Ok(Status { git, way, enforcement: context.settings.hooks, hooks })
}

/// A hook that is configured.
fn in_configuration(
    context: &Context<'_>,
    git: &GitVersion,
    place: &HookPlace,
    event: Event,
) -> Result<Finding, Error> {
    if fire(context, place, event, true)?.is_none() {
        return Ok(Finding::REACHED);
    }
    if !git.runs_configured_hooks() {
        let reason = format!("it is configured, and Git {} runs no hooks from configuration", git.text);
        return Ok(Finding::unreached(reason, INSTALL));
    }
    for key in [format!("hook.{}.enabled", event.name()), format!("hook.heddle-{}.enabled", event.name())] {
        if context.repo.config()?.bool(&key)? == Some(false) {
            let reason = format!("{key} is false");
            return Ok(Finding {
                fired: true,
                ..Finding::unreached(reason, format!("git config --unset {key}"))
            });
        }
    }
    Ok(unanswered(fire(context, place, event, true)?.unwrap_or_default()))
}

/// A hook that is a file.
fn in_file(
    context: &Context<'_>,
    record: Option<&HooksRecord>,
    place: &HookPlace,
    file: &HookFile<'_>,
) -> Result<Finding, Error> {
    let path = file.path();
    match file.look()? {
        Found::Ours { runs: false, .. } => {
            let mend = format!("chmod +x {path:?}");
            Ok(Finding::unreached("it is not executable, and Git passes it over", mend))
        }
        Found::Ours { first: false, .. } => Ok(Finding::unreached(
            "something stands before our part, and firing the hook would run it",
            INSTALL,
        )),
        Found::Ours { current, kind, .. } => Ok(match fire(context, place, file.event, false)? {
            Some(said) => unanswered(said),
            None if !current && kind == Kind::Whole => Finding {
                reason: Some(
                    "it is another version's, or something was added below it, which never runs".to_owned(),
                ),
                mend: Some(INSTALL.to_owned()),
                ..Finding::REACHED
            },
            None if !current => Finding {
                reason: Some("our part is another version's".to_owned()),
                mend: Some(INSTALL.to_owned()),
                ..Finding::REACHED
            },
            None => Finding::REACHED,
        }),
        Found::Other { runs: true, asks_us: true, .. } => Ok(Finding {
            fired: false,
            reason: Some(
                "a line of its own asks git-heddle; not fired, for that would run the rest too".to_owned(),
            ),
            ..Finding::REACHED
        }),
        found => Ok(match file.run_by_manager()? {
            Some((manager, at)) => Finding {
                fired: false,
                reason: Some(format!(
                    "{manager} runs it from {at:?}; not fired, for that would run the hooks of {manager} too"
                )),
                ..Finding::REACHED
            },
            None => missing(context, record, place, file, &found)?,
        }),
    }
}

/// Why ours is not where Git looks.
fn missing(
    context: &Context<'_>,
    record: Option<&HooksRecord>,
    place: &HookPlace,
    file: &HookFile<'_>,
    found: &Found,
) -> Result<Finding, Error> {
    match install::usable(place) {
        Ok(()) => {}
        Err(Error::Refused { message, hint }) => {
            return Ok(Finding { mend: hint, ..Finding::unreached(message, INSTALL) });
        }
        Err(error) => return Err(error),
    }
    if let Some(why) = record.and_then(|record| record.skipped.get(&file.path()))
        && matches!(found, Found::Other { .. })
    {
        let reason = format!("it was left alone: {why}");
        return Ok(Finding { mend: None, ..Finding::unreached(reason, INSTALL) });
    }
    let was_here = record.is_some_and(|record| record.folders.contains(&place.folder));
    let default = context.repo.common_dir().join("hooks");
    let usual = HookFile { folder: &default, ..*file };
    if let Some(configured) = &place.configured
        && !was_here
        && default != place.folder
        && matches!(usual.look()?, Found::Ours { .. })
    {
        let reason = format!(
            "ours is in {:?}, and Git looks in {:?}: core.hooksPath is {:?} ({})",
            usual.path(),
            place.folder,
            configured.value,
            configured.origin
        );
        return Ok(Finding::unreached(reason, INSTALL));
    }
    let reason = match (found, record) {
        (_, None) => "not installed".to_owned(),
        (Found::Other { manager: Some(manager), .. }, Some(_)) => {
            format!("{manager} has written the hook, without our part")
        }
        (Found::Other { .. }, Some(_)) => "there is a hook, without our part".to_owned(),
        (_, Some(_)) => "there is no such hook where Git looks".to_owned(),
    };
    Ok(Finding::unreached(reason, INSTALL))
}

/// A hook that is ours and did not answer.
fn unanswered(said: String) -> Finding {
    let reason = if said.contains("git-heddle") && said.contains("not found") {
        "it is reached, and does not find git-heddle on PATH".to_owned()
    } else {
        let said = said.lines().next().unwrap_or("it said nothing").to_owned();
        format!("Git was made to fire it, and it did not answer: {said}")
    };
    let mend = "put git-heddle on the PATH that Git is run with";
    Finding { fired: true, ..Finding::unreached(reason, mend) }
}

/// Has Git fire the hook; `None` if ours answered, else what was said.
fn fire(
    context: &Context<'_>,
    place: &HookPlace,
    event: Event,
    configured: bool,
) -> Result<Option<String>, Error> {
    let ours = format!("heddle-{}", event.name());
    let mut silent = context.repo.configured_hooks(place, event.name())?;
    silent.retain(|name| *name != ours);
    let nonce = context.operation_id().map_err(Error::Randomness)?;
    let firing = Firing {
        event: event.name(),
        variable: (PROBE, &nonce),
        silent: &silent,
        only_configured: configured,
    };
    let said = context.repo.fire_hook(place, &firing)?;
    Ok((!said.contains(&answer(event, &nonce))).then_some(said))
}

/// What ours says when it is fired so.
#[must_use]
pub fn answer(event: Event, nonce: &str) -> String {
    format!("git-heddle answers: {} {nonce}", event.name())
}
