//! Comparing a thread with its target without touching either: how far apart they are, and
//! whether they would merge.
//!
//! The preview is the user's own `git merge-tree`, so that merge drivers, rename settings
//! and attributes decide as they would in a real merge; where there is nothing for them to
//! decide (`plain`) Git is not started. Nothing of the repository changes:
//! no ref, no index, no worktree, and no object either, since what the merge writes goes to
//! a temporary object directory. That is also why it works where the repository itself
//! cannot be written.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::plain;
use super::program::{ALTERNATES, OBJECTS, Program};
use super::repo::commit_id;
use super::{GitError, Repo};
use crate::names::CommitId;

/// How a thread's tip stands to its target, counted in commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The tip contains the whole target: landing it is a fast-forward.
    Current {
        /// Commits of the tip that the target lacks.
        ahead: usize,
    },
    /// The target has moved on, and the tip has nothing that the target lacks.
    Behind {
        /// Commits of the target that the tip lacks.
        behind: usize,
    },
    /// Each has commits that the other lacks.
    Diverged {
        /// Commits of the tip that the target lacks.
        ahead: usize,
        /// Commits of the target that the tip lacks.
        behind: usize,
    },
}

impl Freshness {
    /// The word for it in documents: `current`, `behind` or `diverged`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current { .. } => "current",
            Self::Behind { .. } => "behind",
            Self::Diverged { .. } => "diverged",
        }
    }

    /// Commits of the tip that the target lacks.
    #[must_use]
    pub fn ahead(self) -> usize {
        match self {
            Self::Current { ahead } | Self::Diverged { ahead, .. } => ahead,
            Self::Behind { .. } => 0,
        }
    }

    /// Commits of the target that the tip lacks.
    #[must_use]
    pub fn behind(self) -> usize {
        match self {
            Self::Current { .. } => 0,
            Self::Behind { behind } | Self::Diverged { behind, .. } => behind,
        }
    }
}

/// Compares `tip` with `target`. Histories without a common commit are `Diverged`, with
/// everything counted on both sides.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn freshness(repo: &Repo, tip: &CommitId, target: &CommitId) -> Result<Freshness, GitError> {
    let (ahead, behind) =
        repo.raw().graph_ahead_behind(repo.oid(tip.as_str())?, repo.oid(target.as_str())?)?;
    Ok(match (ahead, behind) {
        (ahead, 0) => Freshness::Current { ahead },
        (0, behind) => Freshness::Behind { behind },
        (ahead, behind) => Freshness::Diverged { ahead, behind },
    })
}

/// The best common ancestor of two commits, or `None` where the histories (or what a
/// shallow clone has of them) never meet.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn merge_base(repo: &Repo, one: &CommitId, two: &CommitId) -> Result<Option<CommitId>, GitError> {
    match repo.raw().merge_base(repo.oid(one.as_str())?, repo.oid(two.as_str())?) {
        Ok(base) => Ok(Some(commit_id(base))),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What merging would run into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// Whether the merge conflicts. This and not `paths` is the answer: Git documents that
    /// a conflict (of renamed folders, say) may name no path.
    pub any: bool,
    /// The conflicted paths, as bytes from the top folder, sorted and without repeats.
    pub paths: Vec<Vec<u8>>,
}

/// What merging `tip` into `target` would run into, with the attributes (merge drivers,
/// `merge=union`) that the *target's* tree gives: the checkout at hand may be of anything.
///
/// # Errors
/// [`GitError::UnrelatedHistories`] if the two share no commit, [`GitError::Program`] if
/// Git fails for any other reason, [`GitError::Io`] if there is no temporary folder.
pub fn conflicts(repo: &Repo, target: &CommitId, tip: &CommitId) -> Result<Conflicts, GitError> {
    let (ours, theirs) = (repo.oid(target.as_str())?, repo.oid(tip.as_str())?);
    let raw = repo.raw();
    // One contains the other: the result is the longer one, whatever the content. Starting
    // Git would cost more than everything else that `ready` does.
    if ours == theirs || raw.graph_descendant_of(theirs, ours)? || raw.graph_descendant_of(ours, theirs)? {
        return Ok(Conflicts::default());
    }
    let bases = match raw.merge_bases(ours, theirs) {
        Ok(bases) => bases,
        Err(error) if error.code() == git2::ErrorCode::NotFound => {
            return Err(GitError::UnrelatedHistories { target: target.clone(), tip: tip.clone() });
        }
        Err(error) => return Err(error.into()),
    };
    // Of several bases Git makes one first.
    if let [base] = &*bases
        && is_plain(repo, *base, ours, theirs)
    {
        return Ok(Conflicts::default());
    }

    let scratch = scratch_folder()?;
    // What is written here is thrown away, so syncing it would only cost time. Both
    // revisions are full ids that were looked up above: an exit status of 1 therefore
    // means a conflict, and not a name that Git does not know.
    let mut command = repo.program().command([
        "-c",
        "core.fsync=none",
        &format!("--attr-source={}", target.as_str()),
        "merge-tree",
        "--write-tree",
        "--name-only",
        "-z",
        "--no-messages",
        target.as_str(),
        tip.as_str(),
    ]);
    repo.write_objects_to(&mut command, scratch.path());
    let _aside = repo.run_aside(&mut command)?;
    let output = Program::output(&mut command, None)?;
    match output.status.code() {
        Some(0) => Ok(Conflicts::default()),
        // Git that cannot read the configuration does not know an id of the other hash, for one.
        Some(1) if !output.stdout.is_empty() => {
            Ok(Conflicts { any: true, paths: conflicted_paths(&output.stdout) })
        }
        _ => Err(Program::failure(&command, &output)),
    }
}

/// Whether merging commits whose only merge base is `base` is known to meet no conflict. Where
/// something cannot be read, Git is to say so.
pub(in crate::git) fn is_plain(repo: &Repo, base: git2::Oid, ours: git2::Oid, theirs: git2::Oid) -> bool {
    let tree = |commit| Ok::<_, GitError>(repo.raw().find_commit(commit)?.tree_id());
    let plain = || plain::is_plain(&repo.raw().odb()?, tree(base)?, tree(ours)?, tree(theirs)?);
    plain().unwrap_or(false)
}

/// A folder for what is thrown away.
pub(in crate::git) fn scratch_folder() -> Result<tempfile::TempDir, GitError> {
    tempfile::Builder::new().prefix("git-heddle-merge-").tempdir().map_err(|source| GitError::Io {
        action: "create a temporary folder in",
        path: std::env::temp_dir(),
        source,
    })
}

impl Repo {
    /// Has `command` write its objects to the folder `scratch` and read the repository's.
    pub(in crate::git) fn write_objects_to(&self, command: &mut Command, scratch: &Path) {
        let mut list = alternate(&self.objects_dir());
        if let Some(told) = std::env::var_os(ALTERNATES) {
            list.push(":");
            list.push(told);
        }
        command.env(OBJECTS, scratch).env(ALTERNATES, list);
    }
}

/// The paths in `<tree> NUL (<path> NUL)*`.
pub(in crate::git) fn conflicted_paths(output: &[u8]) -> Vec<Vec<u8>> {
    let mut paths: Vec<Vec<u8>> =
        output.split(|byte| *byte == 0).skip(1).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// `path` as an entry of `GIT_ALTERNATE_OBJECT_DIRECTORIES`, which is a list: an entry that
/// has the separator in it, or starts with a quote, has to be quoted as in C (git(1)).
/// Windows paths are left alone, as Git for Windows separates by `;` and a backslash there
/// is no escape.
fn alternate(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_encoded_bytes();
    if cfg!(windows) || !(bytes.contains(&b':') || bytes.starts_with(b"\"")) {
        return path.as_os_str().to_owned();
    }
    let mut quoted = OsString::from("\"");
    let text = path.as_os_str();
    match text.to_str() {
        Some(text) => quoted.push(text.replace('\\', "\\\\").replace('"', "\\\"")),
        // A path that is not Unicode has nothing escaped; one that also holds a quote or a
        // backslash is then not found, and Git says so.
        None => quoted.push::<&OsStr>(text),
    }
    quoted.push("\"");
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_in_front_is_no_path() {
        assert!(conflicted_paths(b"ba34\0").is_empty());
        assert_eq!(conflicted_paths(b"ba34\0b\0\xc3\xbc x\0b\0"), [b"b".to_vec(), b"\xc3\xbc x".to_vec()]);
    }

    #[test]
    fn an_alternate_is_quoted_only_where_git_needs_it() {
        for (path, entry) in [
            ("/a/b c", "/a/b c"),
            ("/a:b", "\"/a:b\""),
            ("/a:\"b\\", "\"/a:\\\"b\\\\\""),
            ("\"x", "\"\\\"x\""),
        ] {
            assert_eq!(alternate(Path::new(path)), OsString::from(entry), "{path}");
        }
    }
}
