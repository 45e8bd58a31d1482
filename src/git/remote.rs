//! Remotes: which there are, what they have, pushing to and fetching from them.
//!
//! All network work is the user's own git's, with the user's credentials, proxies and hooks.
//! What a user or a remote named never stands where git would read an option.

use std::collections::BTreeMap;

use super::program::Program;
use super::refs::{Change, Expected};
use super::{GitError, Repo};
use crate::names::{CommitId, REMOTES};

/// A push option that tells the server's hook which value a rewritten ref is meant to have:
/// a lease is checked by the pushing side, and the server never hears of it.
pub const LEASE_OPTION: &str = "heddle-lease=";

impl Repo {
    /// A remote whose fetch would overwrite `refs/heddle/`, as in a mirror clone.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn mirrors_heddle_refs(&self) -> Result<Option<String>, GitError> {
        for (name, value) in self.config()?.subsections("remote", "fetch")? {
            let spec = value.text.trim_start_matches('+');
            let Some((_, to)) = spec.split_once(':') else { continue };
            let covered = match to.split_once('*') {
                Some((before, _)) => "refs/heddle/".starts_with(before) || before.starts_with("refs/heddle/"),
                None => to.starts_with("refs/heddle/"),
            };
            if covered {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    /// The names of the configured remotes.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn remotes(&self) -> Result<Vec<String>, GitError> {
        let names = self.raw().remotes()?;
        Ok(names.iter().filter_map(|name| Some(name.ok()??.to_owned())).collect())
    }

    /// Where the threads of a remote of that name are kept, with a slash at its end; `None` where no
    /// ref can have it in its name, which Git asks of no remote that is configured by hand.
    #[must_use]
    pub fn home_of(remote: &str) -> Option<String> {
        let home = format!("{REMOTES}{remote}/");
        git2::Reference::is_valid_name(&format!("{home}threads/x")).then_some(home)
    }

    /// The remote that is meant where none is named: `remote.pushDefault` for a push, then
    /// `origin`, then the only one there is.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn usual_remote(&self, push: bool) -> Result<Option<String>, GitError> {
        let preferred = if push { self.config()?.get("remote.pushDefault")? } else { None };
        if let Some(preferred) = preferred {
            return Ok(Some(preferred.text));
        }
        let mut remotes = self.remotes()?;
        if remotes.iter().any(|remote| remote == "origin") {
            return Ok(Some("origin".to_owned()));
        }
        Ok(if remotes.len() == 1 { remotes.pop() } else { None })
    }

    /// The refs below the `prefixes`, each of which ends in `/`, that a push to `remote` would
    /// find.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, such as that there is no such remote.
    pub fn list_remote(
        &self,
        remote: &str,
        prefixes: &[&str],
    ) -> Result<BTreeMap<String, CommitId>, GitError> {
        // What is fetched from may lie elsewhere than what is pushed to.
        let pushed_to = match self.remotes()?.iter().any(|name| name == remote) {
            true => self.config()?.get(&format!("remote.{remote}.pushurl"))?.map(|value| value.text),
            false => None,
        };
        let mut command = self.program().command(["ls-remote", "--quiet", "--end-of-options"]);
        command.arg(pushed_to.as_deref().unwrap_or(remote));
        command.args(prefixes.iter().map(|prefix| format!("{prefix}*")));
        let output = Program::run(&mut command, None)?;
        let text = String::from_utf8_lossy(&output);
        let row = |line: &str| {
            let (id, name) = line.split_once('\t')?;
            // Git matches a pattern against the end of a name.
            let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
            wanted.then_some((name.to_owned(), CommitId::parse(id).ok()?))
        };
        Ok(text.lines().filter_map(row).collect())
    }

    /// Makes the `changes` at `remote`: all of them, each from exactly the value that it is
    /// expected to have there, or none. `options` are for the server's hooks.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, those of the server's hooks among them.
    pub fn push_changes(&self, remote: &str, changes: &[Change], options: &[String]) -> Result<(), GitError> {
        let mut command = self.program().command(["push", "--atomic", "--quiet"]);
        command.args(["--no-follow-tags", "--recurse-submodules=no"]);
        for Change { name, from, .. } in changes {
            let old = match from {
                Expected::Absent => "",
                Expected::Exactly(old) => old.as_str(),
            };
            command.arg(format!("--force-with-lease={name}:{old}"));
        }
        command.args(options.iter().map(|option| format!("--push-option={option}")));
        // What Git says is read where a server takes no options.
        command.env("LC_ALL", "C").args(["--end-of-options", remote]);
        for Change { name, to, .. } in changes {
            command.arg(format!("{}:{name}", to.as_ref().map_or("", CommitId::as_str)));
        }
        // Who may publish has been judged already.
        Program::run_vouched(&mut command, None, self.common_dir()).map(drop)
    }

    /// Fetches the threads and ready marks of the configured remote `remote`, and forgets
    /// those that it no longer has. Nothing else of this repository changes.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words.
    pub fn fetch_threads(&self, remote: &str) -> Result<(), GitError> {
        let mut command = self.program().command(["fetch", "--quiet", "--prune", "--no-tags"]);
        // Not --atomic: a thread whose name was a folder of threads before makes Git 2.47 abort
        // with it. Each ref by itself is old or new, and the next fetch goes on.
        // With a refspec that is given, what is configured would be updated along.
        command.args(["--no-write-fetch-head", "--no-recurse-submodules", "--refmap="]);
        command.args(["--end-of-options", remote]);
        for kind in ["threads", "ready"] {
            command.arg(format!("+refs/heddle/{kind}/*:{REMOTES}{remote}/{kind}/*"));
        }
        Program::run(&mut command, None).map(drop)
    }

    /// Whether the ref `name` was at `commit` once, by its reflog.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn was_at(&self, name: &str, commit: &CommitId) -> Result<bool, GitError> {
        self.refs().was_at(self, name, commit)
    }
}
