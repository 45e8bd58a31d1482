//! Which branch a thread is meant to land on.

use super::repo::commit_id;
use super::{GitError, Repo};
use crate::names::CommitId;

/// Who said that this is the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSource {
    /// `heddle.target`, or the branch that the caller named.
    Configured,
    /// HEAD was on it when the thread was reserved.
    Head,
    /// It is the remote's default branch.
    Remote,
}

impl TargetSource {
    /// The word for it in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Head => "head",
            Self::Remote => "remote",
        }
    }
}

/// A branch to land on, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The full name of the ref; where the name that was asked for is a symbolic ref, the
    /// one that it stands for.
    pub refname: String,
    /// The commit it is at.
    pub commit: CommitId,
    /// Who said so.
    pub source: TargetSource,
}

/// The target of a thread: what is `configured`, else the branch that HEAD was on
/// (`head_branch`), else the default branch of the remote (`origin`, or the only one).
/// Names are short (`main`), full (`refs/heads/main`) or remote-tracking (`origin/main`);
/// as in Git, a local branch wins over a remote-tracking one of the same name.
///
/// Only what is configured has to exist. A branch that was deleted since the reservation,
/// or a remote whose default branch was never fetched, is passed over; `None` if nothing is
/// left.
///
/// # Errors
/// [`GitError::TargetNotFound`] if what is configured names no branch with a commit.
pub fn default_target(
    repo: &Repo,
    configured: Option<&str>,
    head_branch: Option<&str>,
) -> Result<Option<Target>, GitError> {
    if let Some(name) = configured {
        let found = by_name(repo, name, TargetSource::Configured)?;
        return found.map(Some).ok_or_else(|| GitError::TargetNotFound { name: name.to_owned() });
    }
    if let Some(name) = head_branch
        && let Some(target) = by_name(repo, name, TargetSource::Head)?
    {
        return Ok(Some(target));
    }
    if let Some(target) = lookup(repo, "refs/remotes/origin/HEAD", TargetSource::Remote)? {
        return Ok(Some(target));
    }
    let remotes = repo.raw().remotes()?;
    let mut names = remotes.iter();
    match (names.next(), names.next()) {
        (Some(Ok(Some(only))), None) => {
            lookup(repo, &format!("refs/remotes/{only}/HEAD"), TargetSource::Remote)
        }
        _ => Ok(None),
    }
}

impl Repo {
    /// The full name of the local branch that a user calls `name`; `None` if Git allows no
    /// such branch.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn branch_name(&self, name: &str) -> Result<Option<String>, GitError> {
        let short = name.strip_prefix("refs/heads/").unwrap_or(name);
        Ok(git2::Branch::name_is_valid(short)?.then(|| format!("refs/heads/{short}")))
    }

    /// Whether the ref `name` is a symbolic one that leads to `branch`.
    pub(super) fn stands_for(&self, name: &str, branch: &str) -> bool {
        let found = lookup(self, name, TargetSource::Head);
        found.is_ok_and(|found| found.is_some_and(|found| found.refname == branch))
    }
}

/// The branch that a user calls `name`.
fn by_name(repo: &Repo, name: &str, source: TargetSource) -> Result<Option<Target>, GitError> {
    if name.starts_with("refs/heddle/") {
        // A thread is no branch, and that a thread should land on itself is a slip.
        return Ok(None);
    }
    if name.starts_with("refs/") {
        return lookup(repo, name, source);
    }
    match lookup(repo, &format!("refs/heads/{name}"), source)? {
        Some(target) => Ok(Some(target)),
        None => lookup(repo, &format!("refs/remotes/{name}"), source),
    }
}

/// The ref of that full name, symbolic refs followed; `None` if it does not exist, leads
/// nowhere or to no commit, or is no name at all.
fn lookup(repo: &Repo, refname: &str, source: TargetSource) -> Result<Option<Target>, GitError> {
    use git2::ErrorCode::{InvalidSpec, NotFound};

    if let Some(refs) = repo.reftable() {
        let found = refs.resolve(refname)?;
        let commit = found.and_then(|(name, id)| {
            let object = repo.raw().find_object(repo.oid(id.as_str()).ok()?, None).ok()?;
            Some((name, object.peel_to_commit().ok()?.id()))
        });
        return Ok(commit.map(|(refname, id)| Target { refname, commit: commit_id(id), source }));
    }

    let resolved = repo.raw().find_reference(refname).and_then(|reference| reference.resolve());
    let reference = match resolved {
        Ok(reference) => reference,
        Err(error) if matches!(error.code(), NotFound | InvalidSpec) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (Ok(commit), Ok(name)) = (reference.peel_to_commit(), reference.name()) else {
        return Ok(None);
    };
    Ok(Some(Target { refname: name.to_owned(), commit: commit_id(commit.id()), source }))
}
