//! What keeps a worktree from being captured: an operation in progress, or conflicts.

use super::index_file::is_understood;
use super::program::Program;
use super::stage::{CACHE, Stamp, files_with, written};
use super::{GitError, Repo};

/// What an operation in progress is called.
pub(in crate::git) fn operation(state: git2::RepositoryState) -> Option<&'static str> {
    match state {
        git2::RepositoryState::Clean => None,
        git2::RepositoryState::Merge => Some("a merge"),
        git2::RepositoryState::Revert | git2::RepositoryState::RevertSequence => Some("a revert"),
        git2::RepositoryState::CherryPick | git2::RepositoryState::CherryPickSequence => {
            Some("a cherry-pick")
        }
        git2::RepositoryState::Bisect => Some("a bisect"),
        git2::RepositoryState::ApplyMailbox => Some("a 'git am'"),
        _ => Some("a rebase"),
    }
}

/// What keeps this worktree from being captured: an operation in progress or conflicts.
///
/// # Errors
/// [`GitError::Library`] if the index cannot be read.
pub fn state_fault(repo: &Repo) -> Result<Option<String>, GitError> {
    if let Some(doing) = operation(repo.state()) {
        return Ok(Some(format!("{doing} is in progress in this worktree")));
    }
    // Conflicts that no operation explains (`git stash pop`) are in an index that was
    // written after the last capture kept its own.
    let captured = files_with(repo.git_dir(), CACHE).iter().filter_map(|path| written(path)).max();
    let own = repo.git_dir().join("index");
    let same = || files_with(repo.git_dir(), CACHE).iter().any(|path| Stamp::of(path) == Stamp::of(&own));
    if captured.is_some() && (written(&own) < captured || same()) || is_understood(&own, repo.id_size()) {
        return Ok(None);
    }
    unmerged_fault(repo)
}

/// The paths of the index that are not merged, in a sentence; `None` if there are none.
///
/// # Errors
/// [`GitError::Program`].
pub fn unmerged_fault(repo: &Repo) -> Result<Option<String>, GitError> {
    // `git ls-files -u` reads every kind of index, which libgit2 does not.
    let output = Program::run(&mut repo.program().command(["ls-files", "-u", "-z"]), None)?;
    let mut paths: Vec<String> = output
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1))
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect();
    paths.dedup();
    Ok((!paths.is_empty()).then(|| format!("the index has unmerged paths: {}", paths.join(", "))))
}
