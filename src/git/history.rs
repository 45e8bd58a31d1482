//! What commits tell of their thread: the trailers that capture wrote.

use super::program::Program;
use super::trailers::trailers;
use super::{GitError, Repo};
use crate::names::{CommitId, Generation};

/// What a captured commit says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trailers {
    /// `Heddle-Thread`.
    pub thread: Option<String>,
    /// `Heddle-Session`.
    pub session: Option<String>,
    /// `Heddle-Generation`.
    pub generation: Option<u64>,
    /// `Heddle-Agent`.
    pub agent: Option<String>,
    /// `Heddle-Confidence`.
    pub confidence: Option<f64>,
}

/// A commit of a thread.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The first line of its message.
    pub subject: String,
    /// Its author's time, seconds since 1970.
    pub author_time: i64,
    /// What it says of itself.
    pub trailers: Trailers,
}

impl Trailers {
    /// Reads the trailers in the last paragraph of a message.
    #[must_use]
    pub fn parse(message: &str) -> Self {
        let mut found = Self::default();
        for (token, value) in trailers(message) {
            match token {
                "Heddle-Thread" => found.thread = Some(value),
                "Heddle-Session" => found.session = Some(value),
                "Heddle-Generation" => found.generation = value.parse().ok(),
                "Heddle-Agent" => found.agent = Some(value),
                "Heddle-Confidence" => found.confidence = value.parse().ok(),
                _ => {}
            }
        }
        found
    }
}

impl Repo {
    /// The generation in the trailers of `commit`, if it was captured on a thread: whichever,
    /// as its thread may have had another name then, and a number too high fences as well as
    /// the right one.
    ///
    /// # Errors
    /// [`GitError::Library`] if the commit is missing.
    pub fn generation_in_trailers(&self, commit: &CommitId) -> Result<Option<Generation>, GitError> {
        let commit = self.raw().find_commit(self.oid(commit.as_str())?)?;
        let trailers = Trailers::parse(&String::from_utf8_lossy(commit.message_bytes()));
        Ok(trailers.generation.and_then(|number| Generation::new(number).ok()))
    }

    /// The commits that are reachable from `tip` and not from `from`, newest first, at most
    /// `limit`.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn commits(
        &self,
        from: Option<&CommitId>,
        tip: &CommitId,
        limit: usize,
    ) -> Result<Vec<Commit>, GitError> {
        let mut walk = self.raw().revwalk()?;
        walk.push(self.oid(tip.as_str())?)?;
        if let Some(from) = from {
            walk.hide(self.oid(from.as_str())?)?;
        }
        walk.take(limit)
            .map(|oid| {
                let commit = self.raw().find_commit(oid?)?;
                let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
                Ok(Commit {
                    id: super::repo::commit_id(commit.id()),
                    subject: message.lines().next().unwrap_or_default().to_owned(),
                    author_time: commit.author().when().seconds(),
                    trailers: Trailers::parse(&message),
                })
            })
            .collect()
    }

    /// The commits that are reachable from `tip` and from no branch, tag or remote-tracking
    /// branch, newest first, at most `limit`, as short id and subject.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn only_reachable_from(&self, tip: &CommitId, limit: usize) -> Result<Vec<String>, GitError> {
        let limit = format!("--max-count={limit}");
        let mut command = self.program().command(["log", "--no-show-signature", "-z", "--format=%h (%s)"]);
        command.args([&limit, tip.as_str(), "--not", "--branches", "--tags", "--remotes", "--"]);
        let output = Program::run(&mut command, None)?;
        let lines = output.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        Ok(lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }

    /// How many commits `tip` has that `target` has not, and the other way round.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn ahead_behind(&self, tip: &CommitId, target: &CommitId) -> Result<(usize, usize), GitError> {
        let (tip, target) = (self.oid(tip.as_str())?, self.oid(target.as_str())?);
        Ok(self.raw().graph_ahead_behind(tip, target)?)
    }

    /// Whether `commit` comes after `ancestor` in history.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn descends_from(&self, commit: &CommitId, ancestor: &CommitId) -> Result<bool, GitError> {
        let (commit, ancestor) = (self.oid(commit.as_str())?, self.oid(ancestor.as_str())?);
        Ok(self.raw().graph_descendant_of(commit, ancestor)?)
    }
}
