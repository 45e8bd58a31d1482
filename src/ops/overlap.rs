//! Which other threads touch the same paths.

use std::collections::HashSet;

use crate::git::diff::changed_paths;
use crate::git::{GitError, Repo};
use crate::names::{CommitId, ThreadName};

/// Paths that another thread touches too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The other thread.
    pub thread: ThreadName,
    /// The paths, sorted.
    pub paths: Vec<Vec<u8>>,
}

/// Compares `ours` with what each of `others` (thread, tip, anchor) has changed since its
/// anchor.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing.
pub fn overlaps(
    repo: &Repo,
    ours: &[Vec<u8>],
    others: &[(ThreadName, CommitId, CommitId)],
) -> Result<Vec<Overlap>, GitError> {
    let ours: HashSet<&[u8]> = ours.iter().map(Vec::as_slice).collect();
    let mut found = Vec::new();
    for (thread, tip, anchor) in others {
        let theirs = changed_paths(repo, anchor, tip)?;
        let paths: Vec<Vec<u8>> = theirs.into_iter().filter(|path| ours.contains(path.as_slice())).collect();
        if !paths.is_empty() {
            found.push(Overlap { thread: thread.clone(), paths });
        }
    }
    Ok(found)
}
