//! The user's own hooks on what is about to be captured.

use std::ffi::OsStr;
use std::fs;
use std::process::Stdio;

use super::GitError;
use super::program::{Program, hand_on_pathspecs};
use super::stage::{Staging, Stamp, io_error};

impl Staging<'_> {
    /// Runs the user's `pre-commit` hook; whether there is one, and so whether the index may
    /// have changed.
    ///
    /// # Errors
    /// [`GitError::Hook`] if it refuses.
    pub fn run_pre_commit(&self) -> Result<bool, GitError> {
        self.run_hook("pre-commit", &[])
    }

    /// Runs the user's `commit-msg` hook on `message`; the message that it leaves.
    ///
    /// # Errors
    /// [`GitError::Hook`] if it refuses.
    pub fn run_commit_msg(&self, message: &str) -> Result<String, GitError> {
        let path = self.scratch.path().join("COMMIT_EDITMSG");
        fs::write(&path, message).map_err(io_error("write", &path))?;
        let before = Stamp::of(&self.index());
        if self.run_hook("commit-msg", &[path.as_os_str()])? {
            // What it staged comes too late for this commit.
            self.strayed.set(before != Stamp::of(&self.index()));
            let text = fs::read(&path).map_err(io_error("read", &path))?;
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(message.to_owned())
    }

    fn run_hook(&self, name: &'static str, args: &[&OsStr]) -> Result<bool, GitError> {
        if !self.has_hook(name)? {
            return Ok(false);
        }
        self.place_head()?;
        // Conditions on the Git directory or the branch (`includeIf`) do not hold in the folder that
        // stands for them here.
        let place = self.repo.config()?.get("core.hooksPath")?;
        let place = place.map(|place| format!("core.hooksPath={}", place.text));
        let place = place.iter().flat_map(|place| ["-c", place.as_str()]);
        let mut command = self.git(place.chain(["hook", "run", "--ignore-missing", name]));
        if !args.is_empty() {
            command.arg("--").args(args);
        }
        hand_on_pathspecs(&mut command);
        command.env("GIT_DIR", self.scratch.path()).env("GIT_EDITOR", ":").stdin(Stdio::null());
        let output = Program::output(&mut command, None)?;
        let mut said = output.stdout;
        said.extend_from_slice(&output.stderr);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if output.status.success() {
            return Ok(true);
        }
        Err(GitError::Hook { name, status: output.status.to_string(), said })
    }

    /// Whether the user has such a hook: a file where Git looks, or one from configuration.
    pub(super) fn has_hook(&self, name: &str) -> Result<bool, GitError> {
        let config = self.repo.config()?;
        let folder = match config.get("core.hooksPath")? {
            None => self.repo.common_dir().join("hooks"),
            // A relative path is relative to where hooks run; `~` is the user's home.
            Some(value) => match value.text.strip_prefix("~/") {
                Some(below) => std::env::home_dir().unwrap_or_default().join(below),
                // Somebody else's home is Git's to find.
                None if value.text.starts_with('~') => return Ok(true),
                None => self.worktree.join(value.text),
            },
        };
        Ok(folder.join(name).exists() || self.repo.has_configured_hooks()?)
    }

    /// Whether a hook staged what is not in the commit.
    #[must_use]
    pub fn has_strayed(&self) -> bool {
        self.strayed.get()
    }
}
