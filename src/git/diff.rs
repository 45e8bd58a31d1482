//! What differs between two trees.

use super::merge::oid;
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, as bytes: Git does not say what encoding names are in.
    pub path: Vec<u8>,
    /// Lines added; `None` for binary content.
    pub insertions: Option<u64>,
    /// Lines removed; `None` for binary content.
    pub deletions: Option<u64>,
}

/// The paths that differ between `from` and `to`, renames taken apart, in the order of the
/// trees.
///
/// # Errors
/// [`GitError::Library`] if an object is missing.
pub fn changed(repo: &Repo, from: &TreeId, to: &TreeId) -> Result<Vec<Change>, GitError> {
    let tree = |id: &TreeId| repo.raw().find_tree(git2::Oid::from_str(id.as_str())?);
    let diff = repo.raw().diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), None)?;
    let mut changes = Vec::with_capacity(diff.deltas().len());
    for (at, delta) in diff.deltas().enumerate() {
        let file = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes());
        let counts = match git2::Patch::from_diff(&diff, at)? {
            Some(patch) if !patch.delta().flags().contains(git2::DiffFlags::BINARY) => {
                let (_, insertions, deletions) = patch.line_stats()?;
                Some((insertions as u64, deletions as u64))
            }
            _ => None,
        };
        changes.push(Change {
            path: file.unwrap_or_default().to_vec(),
            insertions: counts.map(|(insertions, _)| insertions),
            deletions: counts.map(|(_, deletions)| deletions),
        });
    }
    Ok(changes)
}

/// The paths that differ between the trees of `from` and `to`, sorted and without repeats,
/// as bytes from the top folder. No content is read and renames are not looked for: a
/// renamed file is its old path and its new one, since both can get in somebody's way.
///
/// # Errors
/// [`GitError::Library`] if a commit or a tree is missing or cannot be read.
pub fn changed_paths(repo: &Repo, from: &CommitId, to: &CommitId) -> Result<Vec<Vec<u8>>, GitError> {
    let raw = repo.raw();
    let (old, new) = (raw.find_commit(oid(from)?)?.tree()?, raw.find_commit(oid(to)?)?.tree()?);
    if old.id() == new.id() {
        return Ok(Vec::new());
    }
    let mut options = git2::DiffOptions::new();
    options.skip_binary_check(true).include_typechange(true);
    let diff = raw.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut options))?;
    let mut paths: Vec<Vec<u8>> = diff
        .deltas()
        .flat_map(|delta| [delta.old_file().path_bytes(), delta.new_file().path_bytes()])
        .flatten()
        .map(<[u8]>::to_vec)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}
