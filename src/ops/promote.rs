//! Making a branch of a thread, for a pull request.
//!
//! The branch is made by compare-and-swap and moved only forward; one that somebody has
//! checked out is left alone. If the process dies between the branch and the thread's
//! record, promoting again does the rest.

use std::path::Path;

use super::drop::tip_of;
use super::standing::{self, Standing};
use crate::context::Context;
use crate::error::Error;
use crate::git::refs::{Change, Expected};
use crate::git::{GitError, Repo};
use crate::names::{CommitId, ThreadName};
use crate::thread::ThreadRecord;

/// A thread with a branch.
#[derive(Debug, Clone)]
pub struct Promoted {
    /// The thread.
    pub thread: ThreadName,
    /// The branch, as a full ref name.
    pub branch: String,
    /// The commit of both.
    pub commit: CommitId,
    /// Whether the branch was made or moved just now.
    pub changed: bool,
}

/// Makes branch `name`, or the thread's own name, at the tip of `thread`.
///
/// # Errors
/// [`Error::Owned`]; [`Error::Refused`] if there is a branch of that name that is elsewhere,
/// or that somebody has checked out; [`Error::Usage`] for a name that Git refuses.
pub fn promote(
    context: &Context<'_>,
    thread: &ThreadName,
    name: Option<&str>,
    standing: &Standing,
) -> Result<Promoted, Error> {
    let repo = context.repo;
    tip_of(context, thread)?;
    let short = name.unwrap_or(thread.as_str());
    let branch = repo
        .branch_name(short)?
        .ok_or_else(|| Error::Usage { message: format!("'{short}' is not a valid branch name") })?;
    let listing = super::worktrees::serial(context)?;
    let checked_out = repo.checked_out_at(&branch)?;
    drop(listing);
    let asked = Asked { thread, short, branch: &branch, checked_out: checked_out.as_deref() };
    if standing.force {
        // Nobody's session ends for what is then refused.
        let tip = tip_of(context, thread)?;
        if let Some(change) = asked.change(repo, &tip)? {
            repo.rehearse_refs(&[change], &asked.message())?;
        }
    }
    let locked = standing::take(context, thread, standing)?;
    let tip = locked.tip()?.ok_or_else(|| GitError::RefMoved {
        name: thread.tip_ref(),
        expected: None,
        actual: None,
    })?;
    let change = asked.change(repo, &tip)?;
    let changed = change.is_some();
    if let Some(change) = change {
        repo.change_refs(&[change], &asked.message())?;
    }
    if let Some(record) = locked.record() {
        let record = ThreadRecord { promoted: Some(branch.clone()), ..record.clone() };
        record.write(&context.layout, context.durability())?;
    }
    Ok(Promoted { thread: thread.clone(), branch, commit: tip, changed })
}

/// A branch that is to be a thread's.
struct Asked<'a> {
    thread: &'a ThreadName,
    short: &'a str,
    branch: &'a str,
    checked_out: Option<&'a Path>,
}

impl Asked<'_> {
    fn message(&self) -> String {
        format!("heddle: promote {}", self.thread)
    }

    /// How the branch has to change to be at `tip`; `None` if it is there.
    fn change(&self, repo: &Repo, tip: &CommitId) -> Result<Option<Change>, Error> {
        let Self { thread, short, branch, checked_out } = *self;
        let before = repo.read_ref(branch)?;
        if before.as_ref() == Some(tip) {
            return Ok(None);
        }
        let refused = |why: &str, hint: &str| Error::Refused {
            message: format!("branch '{short}' {why}"),
            hint: Some(hint.to_owned()),
        };
        if let Some(place) = checked_out {
            return Err(refused(
                &format!("is checked out at {place:?}"),
                "give another name: --branch=NAME, or merge the thread there",
            ));
        }
        let from = match before {
            None => match repo.clash(branch)? {
                Some(existing) => {
                    return Err(GitError::RefClash { name: branch.to_owned(), existing }.into());
                }
                None => Expected::Absent,
            },
            Some(before) if repo.descends_from(tip, &before)? => Expected::Exactly(before),
            Some(before) => {
                return Err(refused(
                    &format!("is at {}, which thread '{thread}' does not contain", before.short()),
                    "give another name: --branch=NAME",
                ));
            }
        };
        Ok(Some(Change { name: branch.to_owned(), from, to: Some(tip.clone()) }))
    }
}
