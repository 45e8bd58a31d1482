//! What `git add` leaves out of a capture without a word, or with too many.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::GitError;
use super::program::Program;
use super::stage::{Staging, limited};

/// What is not staged in a sparse checkout although it is in the worktree.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The paths outside of it.
    pub(super) outside: Vec<String>,
    /// Whether there are others.
    inside: bool,
}

impl Left {
    /// Whether it is all that staging can have failed for.
    pub(super) fn explains_failure(&self) -> bool {
        !self.outside.is_empty() && !self.inside
    }
}

impl Staging<'_> {
    /// Says which submodules have changes of their own: only their commit is captured here.
    pub(super) fn dirty_submodules(&self) -> Result<Option<String>, GitError> {
        if !self.worktree.join(".gitmodules").exists() {
            return Ok(None);
        }
        let mut command = self.git(["diff-files", "-z", "--ignore-submodules=none"]);
        let output = Program::run(&mut command, None)?;
        let mut fields = output.split(|byte| *byte == 0);
        let mut dirty = Vec::new();
        while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
            if entry.starts_with(b":160000") {
                dirty.push(String::from_utf8_lossy(path));
            }
        }
        let sentence = format!("submodules have changes that are not captured: {}", dirty.join(", "));
        Ok((!dirty.is_empty()).then_some(sentence))
    }

    /// What staging left out. Git stages nothing outside of a sparse checkout: of a new file
    /// there it complains when all else is staged, of a changed one it says nothing.
    pub(super) fn left(&self, pathspec: &[OsString], cwd: &Path) -> Result<Left, GitError> {
        let mut left = Left::default();
        let rules = self.repo.git_dir().join("info/sparse-checkout");
        if !rules.is_file() || self.repo.config()?.bool("core.sparseCheckout")? != Some(true) {
            return Ok(left);
        }
        let args = ["ls-files", "-z", "--full-name", "--others", "--modified", "--exclude-standard"];
        let output = Program::run(&mut limited(self.git(args), pathspec, cwd), None)?;
        let there = |path: &&[u8]| fs::symlink_metadata(self.worktree.join(OsStr::from_bytes(path))).is_ok();
        let paths: Vec<&[u8]> =
            output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).filter(there).collect();
        if paths.is_empty() {
            return Ok(left);
        }
        let mut rules = self.git(["sparse-checkout", "check-rules", "-z"]);
        let inside = Program::run(&mut rules, Some(&[paths.join(&0), vec![0]].concat()))?;
        let inside: Vec<&[u8]> = inside.split(|byte| *byte == 0).collect();
        for path in paths {
            if inside.contains(&path) {
                left.inside = true;
            } else {
                left.outside.push(String::from_utf8_lossy(path).into_owned());
            }
        }
        left.outside.dedup();
        Ok(left)
    }
}
