//! What is to be verified: which refs are which threads, and what they are compared with.
//!
//! A *shelf* is a place where threads lie: those of this repository (`refs/heddle/`), and for
//! each remote those that were fetched from it (`refs/heddle-remotes/<remote>/`). A thread is
//! held against the marks and the other threads of its own shelf.

use std::collections::BTreeMap;

use super::Request;
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::audit::RefValue;
use crate::git::repo::Head;
use crate::git::target::default_target;
use crate::names::{CommitId, READY, REMOTES, THREADS, ThreadName};

/// Whether it is a thread or any commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A thread.
    Thread,
    /// The commits of a range, of whichever threads.
    Range,
}

/// Something to verify.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What it is called.
    pub label: String,
    /// Which it is.
    pub kind: Kind,
    /// Its ref, if it is a thread.
    pub refname: Option<String>,
    /// Its name, if it is a thread and its ref's name is one that a thread can have.
    pub thread: Option<ThreadName>,
    /// Why no thread can have the name.
    pub name_fault: Option<String>,
    /// What its ref is at; `None` if only a mark is there.
    pub tip: Option<RefValue>,
    /// What its ready mark is at.
    pub mark: Option<RefValue>,
    /// What it is compared with.
    pub base: CommitId,
    /// The number of its shelf.
    pub shelf: usize,
}

/// The threads of one place, by their names as the refs have them.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// The remote that they were fetched from; `None` is this repository.
    pub remote: Option<String>,
    /// Thread and mark.
    rows: BTreeMap<String, (Option<RefValue>, Option<RefValue>)>,
}

/// What there is to verify.
#[derive(Debug)]
pub struct Resolved {
    /// What threads are compared with, as named and as found.
    pub base: Option<(String, CommitId)>,
    /// What to verify, in order.
    pub candidates: Vec<Candidate>,
    /// All threads that are here.
    pub shelves: Vec<Shelf>,
}

impl Shelf {
    /// Where the thread is.
    #[must_use]
    pub fn tip(&self, thread: &ThreadName) -> Option<&CommitId> {
        match self.rows.get(thread.as_str()) {
            Some((Some(RefValue::Id(tip)), _)) => Some(tip),
            _ => None,
        }
    }

    /// Whether some thread is marked ready at `commit`, which is its tip.
    #[must_use]
    pub fn marks(&self, commit: &CommitId) -> bool {
        let at = |value: &Option<RefValue>| matches!(value, Some(RefValue::Id(id)) if id == commit);
        self.rows.values().any(|(tip, mark)| at(tip) && at(mark))
    }

    /// The prefix of its threads' refs.
    fn threads(&self) -> String {
        match &self.remote {
            None => THREADS.to_owned(),
            Some(remote) => format!("{REMOTES}{remote}/threads/"),
        }
    }
}

/// The threads of this repository, then those of each remote that has any here.
///
/// # Errors
/// [`GitError`].
pub fn shelves(context: &Context<'_>) -> Result<Vec<Shelf>, GitError> {
    let mut local = Shelf::default();
    for (name, value) in context.repo.all_refs(THREADS)? {
        local.rows.entry(name[THREADS.len()..].to_owned()).or_default().0 = Some(value);
    }
    for (name, value) in context.repo.all_refs(READY)? {
        local.rows.entry(name[READY.len()..].to_owned()).or_default().1 = Some(value);
    }
    let configured = context.repo.remotes()?;
    let mut remotes: BTreeMap<String, Shelf> = BTreeMap::new();
    for (name, value) in context.repo.all_refs(REMOTES)? {
        let Some((remote, is_mark, thread)) = split(&name[REMOTES.len()..], &configured) else { continue };
        let shelf = remotes.entry(remote.to_owned()).or_default();
        shelf.remote = Some(remote.to_owned());
        let row = shelf.rows.entry(thread.to_owned()).or_default();
        if is_mark { row.1 = Some(value) } else { row.0 = Some(value) }
    }
    Ok(std::iter::once(local).chain(remotes.into_values()).collect())
}

/// Takes `<remote>/threads/<thread>` or `<remote>/ready/<thread>` apart. A remote may have
/// slashes in its name: those that are configured are known, else the name is short.
fn split<'a>(name: &'a str, configured: &[String]) -> Option<(&'a str, bool, &'a str)> {
    let after = |remote: &str| {
        let rest = name.strip_prefix(remote)?.strip_prefix('/')?;
        let thread = rest.strip_prefix("threads/").map(|thread| (false, thread));
        thread.or_else(|| rest.strip_prefix("ready/").map(|thread| (true, thread)))
    };
    let known = configured.iter().filter_map(|remote| after(remote).map(|found| (remote.len(), found)));
    if let Some((length, (mark, thread))) = known.max_by_key(|(length, _)| *length) {
        return Some((&name[..length], mark, thread));
    }
    let mut ends = name.match_indices('/').map(|(at, _)| &name[..at]);
    ends.find_map(|remote| after(remote).map(|(mark, thread)| (remote, mark, thread)))
}

/// Finds what `request` names.
///
/// # Errors
/// [`Error::CannotTell`] where there is nothing of the name, or nothing at all.
pub(super) fn resolve(context: &Context<'_>, request: &Request) -> Result<Resolved, Error> {
    let shelves = shelves(context)?;
    let mut base = None;
    let mut threads_base = || -> Result<CommitId, Error> {
        if base.is_none() {
            base = Some(find_base(context, request.base.as_deref())?);
        }
        base.clone().map(|(_, commit)| commit).ok_or_else(no_base)
    };
    let mut candidates = Vec::new();
    if request.what.is_empty() {
        for (number, shelf) in shelves.iter().enumerate() {
            for name in shelf.rows.keys() {
                // What was fetched and is here as well, with the same mark, is the same thread.
                if number == 0 || shelves[0].rows.get(name) != shelf.rows.get(name) {
                    candidates.push(of_thread(&shelves, number, name, threads_base()?));
                }
            }
        }
        if candidates.is_empty() {
            return Err(Error::CannotTell {
                message: "there are no threads here, so there is nothing to verify".to_owned(),
                hint: Some(
                    "get them: git heddle fetch, or git fetch origin \
                            '+refs/heddle/*:refs/heddle-remotes/origin/*'"
                        .to_owned(),
                ),
            });
        }
    }
    for what in &request.what {
        if what.contains("..") {
            candidates.push(of_range(context, what)?);
        } else {
            let (number, name) = find_thread(&shelves, what)?;
            candidates.push(of_thread(&shelves, number, &name, threads_base()?));
        }
    }
    if base.is_none() && request.base.is_some() {
        base = Some(find_base(context, request.base.as_deref())?);
    }
    Ok(Resolved { base, candidates, shelves })
}

fn of_thread(shelves: &[Shelf], number: usize, name: &str, base: CommitId) -> Candidate {
    let shelf = &shelves[number];
    let (tip, mark) = shelf.rows.get(name).cloned().unwrap_or_default();
    let parsed = ThreadName::parse(name);
    let label = match &shelf.remote {
        Some(remote) => format!("{remote}/{name}"),
        None => name.to_owned(),
    };
    Candidate {
        label,
        kind: Kind::Thread,
        refname: Some(format!("{}{name}", shelf.threads())),
        name_fault: parsed.as_ref().err().map(ToString::to_string),
        thread: parsed.ok(),
        tip,
        mark,
        base,
        shelf: number,
    }
}

/// `A..B`, either of which may be left out for `HEAD`.
fn of_range(context: &Context<'_>, range: &str) -> Result<Candidate, Error> {
    let (from, to) = range.split_once("..").unwrap_or((range, ""));
    if to.starts_with('.') {
        return Err(Error::Usage {
            message: format!(
                "'{range}' is no range that can be verified: write A..B, what B has and A has not"
            ),
        });
    }
    let commit = |rev: &str| resolve_rev(context, if rev.is_empty() { "HEAD" } else { rev }, "revision");
    Ok(Candidate {
        label: range.to_owned(),
        kind: Kind::Range,
        refname: None,
        thread: None,
        name_fault: None,
        tip: Some(RefValue::Id(commit(to)?)),
        mark: None,
        base: commit(from)?,
        shelf: 0,
    })
}

/// The shelf and the name that a user means: a full ref, a thread of this repository, a
/// thread of the one remote that has it, or `<remote>/<thread>`.
fn find_thread(shelves: &[Shelf], what: &str) -> Result<(usize, String), Error> {
    let numbered = || shelves.iter().enumerate();
    if what.starts_with("refs/") {
        let found = numbered().find_map(|(number, shelf)| {
            let name = what.strip_prefix(&shelf.threads())?;
            shelf.rows.contains_key(name).then(|| (number, name.to_owned()))
        });
        return found.ok_or_else(|| not_here(what));
    }
    let mut having: Vec<usize> =
        numbered().filter(|(_, shelf)| shelf.rows.contains_key(what)).map(|(number, _)| number).collect();
    if having.first() == Some(&0) {
        having.truncate(1);
    }
    match having.as_slice() {
        [number] => return Ok((*number, what.to_owned())),
        [] => {}
        several => {
            let refs: Vec<String> =
                several.iter().map(|number| format!("{}{what}", shelves[*number].threads())).collect();
            return Err(Error::CannotTell {
                message: format!("more than one remote has a thread '{what}'"),
                hint: Some(format!("name the ref: {}", refs.join(", "))),
            });
        }
    }
    let of_remote = numbered().find_map(|(number, shelf)| {
        let name = what.strip_prefix(shelf.remote.as_deref()?)?.strip_prefix('/')?;
        shelf.rows.contains_key(name).then(|| (number, name.to_owned()))
    });
    of_remote.ok_or_else(|| not_here(what))
}

fn not_here(what: &str) -> Error {
    Error::CannotTell {
        message: format!("thread '{what}' is not here, so nothing can be said of it"),
        hint: Some("git heddle fetch gets the threads of a remote".to_owned()),
    }
}

fn no_base() -> Error {
    Error::CannotTell {
        message: "cannot tell which branch threads are to be compared with".to_owned(),
        hint: Some("name it: --base origin/main".to_owned()),
    }
}

/// What threads are compared with: what the user says, else `heddle.target`, else the default
/// branch of the remote, else the branch that HEAD is on. The remote comes first because a
/// workflow may have anything checked out.
fn find_base(context: &Context<'_>, given: Option<&str>) -> Result<(String, CommitId), Error> {
    if let Some(rev) = given {
        return Ok((rev.to_owned(), resolve_rev(context, rev, "base")?));
    }
    let target = match default_target(context.repo, context.settings.target.as_deref(), None) {
        Ok(target) => target,
        Err(error @ GitError::TargetNotFound { .. }) => {
            let hint = Some("fetch it, or name another: --base origin/main".to_owned());
            return Err(Error::CannotTell { message: error.to_string(), hint });
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(target) = target {
        return Ok((target.refname, target.commit));
    }
    match context.repo.head()? {
        Head::Branch { name, commit } => Ok((name, commit)),
        Head::Unborn { .. } | Head::Detached { .. } => Err(no_base()),
    }
}

/// A revision that has to be here.
fn resolve_rev(context: &Context<'_>, rev: &str, role: &str) -> Result<CommitId, Error> {
    context.repo.resolve(rev).map(|found| found.commit).map_err(|error| match error {
        GitError::RevNotFound { .. }
        | GitError::RevAmbiguous { .. }
        | GitError::RevNotACommit { .. }
        | GitError::Unborn => Error::CannotTell {
            message: format!("there is no {role} '{rev}' here"),
            hint: Some("fetch it first; a workflow that checks out one branch has no other".to_owned()),
        },
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_may_have_slashes_in_its_name() {
        let configured = ["origin".to_owned(), "team/threads/x".to_owned()];
        assert_eq!(split("origin/threads/a/b", &configured), Some(("origin", false, "a/b")));
        assert_eq!(split("team/threads/x/ready/a", &configured), Some(("team/threads/x", true, "a")));
        assert_eq!(split("team/other/threads/a", &configured), Some(("team/other", false, "a")));
        assert_eq!(split("origin/other/a", &configured), None);
    }
}
