//! Refs in tables, as [`RefStore`] has them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::backend::{RefStore, Value};
use super::super::head::Moved;
use super::super::program::Program;
use super::super::refs::{Hold, Intent, LockedRef};
use super::super::{GitError, Repo};
use super::held::{Prepared, Refused, Turn, is_busy, update_ref};
use super::{Reftable, lock_below};
use crate::names::CommitId;

impl RefStore for Reftable {
    fn read(&self, _repo: &Repo, name: &str) -> Result<Option<Value>, GitError> {
        self.stack_of(name).read(name)
    }

    fn below(&self, _repo: &Repo, prefix: &str) -> Result<Vec<(String, Value)>, GitError> {
        let legible = |(name, value)| Some((String::from_utf8(name).ok()?, value));
        Ok(self.common.below(prefix)?.into_iter().filter_map(legible).collect())
    }

    fn first_below(&self, _repo: &Repo, prefix: &str) -> Result<Option<String>, GitError> {
        let first = self.common.below(prefix)?.into_keys().next();
        Ok(first.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    fn head_of(&self, _repo: &Repo, git_dir: &Path) -> Result<Option<Value>, GitError> {
        self.stack_in(git_dir).read("HEAD")
    }

    fn lock_file(&self, _repo: &Repo, name: &str) -> PathBuf {
        self.lock_of(name)
    }

    fn lock_file_of_head(&self, git_dir: &Path) -> PathBuf {
        lock_below(git_dir)
    }

    fn lock<'repo>(
        &self,
        repo: &'repo Repo,
        wanted: &[(&str, Intent<'_>)],
        timeout: Duration,
    ) -> Result<Vec<LockedRef<'repo>>, GitError> {
        let deadline = Instant::now() + timeout;
        let (first, lock) = (wanted[0].0, self.lock_of(wanted[0].0));
        let mut turn = Turn::take(repo.common_dir(), deadline);
        let hooks = repo.config()?.subsections("hook", "command")?;
        let hooks: Vec<String> = hooks.into_iter().map(|(name, _)| name.to_owned()).collect();
        let (mut before, mut said) = (None, None);
        loop {
            let mut now = Vec::with_capacity(wanted.len());
            let (mut changes, mut message) = (String::new(), "");
            for (name, intent) in wanted {
                let current = repo.read_ref(name)?;
                changes.push_str(&change_of(name, current.as_ref(), *intent));
                if let Intent::Move { message: says, .. } = intent {
                    message = says;
                }
                if current.is_none()
                    && let Some(existing) = repo.clash(name)?
                {
                    return Err(GitError::RefClash { name: (*name).to_owned(), existing });
                }
                now.push(current);
            }
            // Whoever moved one of them meanwhile is why Git refused; what else it says, it
            // would say again.
            if let Some(error) = said.take()
                && before.as_ref() == Some(&now)
                && !is_busy(&error)
            {
                return Err(error);
            }
            let command = update_ref(&repo.program(), &hooks, message);
            match Prepared::begin(command, &changes, &lock, turn.take()) {
                Ok(prepared) => {
                    let identity = prepared.identity();
                    let prepared = Rc::new(RefCell::new(prepared));
                    let locked = wanted.iter().zip(now).map(|((name, intent), current)| LockedRef {
                        repo,
                        hold: Hold::Program(Rc::clone(&prepared), intent.target().cloned()),
                        name: (*name).to_owned(),
                        current,
                        identity,
                    });
                    return Ok(locked.collect());
                }
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::Said(error)) if let Some(extension) = unknown_extension(&error) => {
                    let path = repo.common_dir().to_owned();
                    let needs = "refs in tables need Git 2.45, relative worktrees 2.48";
                    let reason =
                        format!("the installed git is too old for its extension '{extension}': {needs}");
                    return Err(GitError::Unusable { path, reason });
                }
                Err(Refused::Said(error)) if Instant::now() >= deadline && is_busy(&error) => {
                    return Err(GitError::RefLocked { name: first.to_owned(), lock });
                }
                Err(Refused::Said(error)) => {
                    std::thread::sleep(Duration::from_millis(3));
                    turn = Turn::take(repo.common_dir(), deadline);
                    (before, said) = (Some(now), Some(error));
                }
            }
        }
    }

    fn was_at(&self, repo: &Repo, name: &str, commit: &CommitId) -> Result<bool, GitError> {
        let mut command = repo.program().command(["log", "--walk-reflogs", "--no-show-signature"]);
        command.args(["--format=%H", name, "--"]);
        // Where there is no log it was nowhere.
        let output = Program::output(&mut command, None)?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().any(|line| line == commit.as_str()))
    }

    fn moved_at(&self, repo: &Repo, name: &str) -> (i64, u128) {
        let count = self.moved_by(name).ok().flatten().unwrap_or(0);
        (seconds(repo, name).unwrap_or(0), count.into())
    }

    /// As Git tells it. The line itself is nowhere to be had, but the value before it is that of
    /// the entry before it, or where the log began.
    fn last_move_of_head(&self, repo: &Repo) -> Option<Moved> {
        let ask = |args: &[&str]| {
            let output = Program::run(&mut repo.program().command(args), None).ok()?;
            Some(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
        };
        let last = ask(&[
            "log",
            "--walk-reflogs",
            "--max-count=1",
            "--no-show-signature",
            "--format=%H %gs",
            "HEAD",
            "--",
        ])?;
        let (new, message) = last.split_once(' ')?;
        let old = ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD@{1}"]);
        let old = old.unwrap_or_else(|| "0".repeat(new.len()));
        Moved::parse(&format!("{old} {new}\t{message}"))
    }
}

/// The extension of the repository that the git program said it does not know.
fn unknown_extension(error: &GitError) -> Option<String> {
    let GitError::Program { stderr, .. } = error else { return None };
    let (_, names) = stderr.split_once("unknown repository extension")?;
    Some(names.lines().nth(1)?.trim().to_owned())
}

/// When a ref was moved last, by its log.
fn seconds(repo: &Repo, name: &str) -> Option<i64> {
    let mut command = repo.program().command(["log", "--walk-reflogs", "--max-count=1", "--date=unix"]);
    command.args(["--no-show-signature", "--format=%gd", name, "--"]);
    let output = Program::run(&mut command, None).ok()?;
    let shown = String::from_utf8_lossy(&output);
    shown.trim_end().strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

/// A change from what a ref is now, as `git update-ref --stdin -z` reads it.
fn change_of(name: &str, current: Option<&CommitId>, intent: Intent<'_>) -> String {
    // HEAD itself is meant, and not the branch that it is on.
    let itself = if name == "HEAD" { "option no-deref\0" } else { "" };
    let old = current.map_or("", CommitId::as_str);
    match (intent, current) {
        (Intent::Compare, _) => format!("{itself}verify {name}\0{old}\0"),
        (Intent::Move { to, .. }, Some(_)) => format!("{itself}update {name}\0{to}\0{old}\0"),
        (Intent::Move { to, .. }, None) => format!("{itself}create {name}\0{to}\0"),
    }
}
