//! Lines of reflogs, where logs are files of their own.

use std::fs;
use std::io::ErrorKind;

use super::commit::raw_date;
use super::{GitError, Repo};
use crate::names::CommitId;

impl Repo {
    /// Whom a reflog names.
    pub(super) fn log_identity(&self) -> Result<git2::Signature<'static>, GitError> {
        let configured = self.raw().signature();
        Ok(configured.or_else(|_| git2::Signature::now("git-heddle", "git-heddle@localhost"))?)
    }

    /// The reflog of `name` with one more line, which says `message` of its tip `commit`: what
    /// its history goes on with under another name.
    ///
    /// # Errors
    /// [`GitError::Io`] if it cannot be read.
    pub fn continued_log(&self, name: &str, commit: &CommitId, message: &str) -> Result<Vec<u8>, GitError> {
        let path = self.common_dir().join("logs").join(name);
        let mut log = match fs::read(&path) {
            Ok(log) => log,
            // A folder in its place is none.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Vec::new(),
            Err(source) => return Err(GitError::Io { action: "read", path, source }),
        };
        if log.last().is_some_and(|byte| *byte != b'\n') {
            log.push(b'\n');
        }
        let who = self.log_identity()?;
        log.extend_from_slice(format!("{commit} {commit} ").as_bytes());
        log.extend_from_slice(who.name_bytes());
        log.extend_from_slice(b" <");
        log.extend_from_slice(who.email_bytes());
        log.extend_from_slice(format!("> {}\t{message}\n", raw_date(who.when())).as_bytes());
        Ok(log)
    }
}
