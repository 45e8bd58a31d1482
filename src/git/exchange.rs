//! Making refs and deleting others, and having what the git program did to refs survive.
//!
//! Git syncs the refs that it writes, and no folder. So a power cut may take back what it made,
//! and leave deleted what it deleted after that: what was only moved to another name is lost.
//!
//! # If the process dies here
//! Where refs are files, a `git update-ref` first takes Git's locks for what is to be deleted;
//! then another makes the new refs, which are synced with their folders; then the first one deletes.
//! If we die in between, it finds its input at its end and gives the locks back: the new refs are
//! there and the old ones too. In tables all of it is one transaction, there or not.
//!
//! # If another does the same now
//! What is to be deleted is compared under Git's locks before anything is made.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::program::Program;
use super::refs::{Change, Expected};
use super::reftable::held::{Prepared, Refused};
use super::{GitError, Repo};
use crate::names::ThreadName;
use crate::store::voucher::Voucher;

impl Change {
    /// As `git update-ref --stdin -z` reads it.
    pub(super) fn line(&self) -> String {
        let name = &self.name;
        match (&self.from, &self.to) {
            (Expected::Absent, Some(to)) => format!("create {name}\0{to}\0"),
            (Expected::Exactly(from), Some(to)) => format!("update {name}\0{to}\0{from}\0"),
            (Expected::Exactly(from), None) => format!("delete {name}\0{from}\0"),
            (Expected::Absent, None) => String::new(),
        }
    }
}

/// The git program, ready to be told how refs are to change.
pub(super) fn update_ref(git: &Program, message: &str) -> Command {
    let mut command = git.command(["update-ref", "--create-reflog", "--stdin", "-z"]);
    command.args(["-m", message]);
    command
}

/// What is in a block of a table beside names and committer of a log's one entry: what the message
/// says around names, two ids, a time, lengths, and the heads of file and block.
const ENTRY_FRAME: usize = 192;
/// The size of a table's block unless configured (git-config(1), `reftable.blockSize`).
const BLOCK_SIZE: usize = 4096;

impl Repo {
    /// Asks, before somebody loses a session for it, whether the git program would write a ref named
    /// as long as `thread`: it refuses to start where its configuration holds a value that it cannot
    /// read; and an entry of a log that fits no block of a table only when all else is done.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words; [`GitError::Unusable`] for a committer that is too long.
    pub fn try_out(&self, thread: &ThreadName) -> Result<(), GitError> {
        let git = self.program();
        git.try_out()?;
        if self.refs_are_files() {
            return Ok(());
        }
        // Where Git knows no committer it writes one made up from the system, which is short.
        let asked = Program::output(&mut git.command(["var", "GIT_COMMITTER_IDENT"]), None)?;
        let committer = if asked.status.success() { asked.stdout.len() } else { 0 };
        let block = self.config()?.size("reftable.blocksize")?.and_then(|size| usize::try_from(size).ok());
        let block = block.filter(|size| *size > 0).unwrap_or(BLOCK_SIZE);
        // The ref is named in the entry, and in the message perhaps two are.
        if ENTRY_FRAME + 3 * thread.as_str().len() + committer <= block {
            return Ok(());
        }
        Err(GitError::Unusable {
            path: self.common_dir().to_owned(),
            reason: format!(
                "what git says of the committer ({committer} bytes) is too long for the logs of its refs, \
                 whose entries are kept in blocks of {block} bytes: shorten user.name or user.email"
            ),
        })
    }

    /// Makes and moves the refs of `made`, and deletes those of `gone`, at least one: all of it or
    /// none, as far as no process dies in the middle. After a power cut `made` is there if one of
    /// `gone` is not.
    ///
    /// # Errors
    /// As [`Self::change_refs`].
    pub fn exchange_refs(&self, made: &[Change], gone: &[Change], message: &str) -> Result<(), GitError> {
        let Some(first) = gone.first().filter(|_| self.refs_are_files() && self.is_durable()) else {
            return self.change_refs(&[made, gone].concat(), message);
        };
        let mut command = update_ref(&self.program(), message);
        // Hooks let a command that writes on heddle's behalf.
        let voucher = Voucher::issue(self.common_dir());
        if let Some(voucher) = &voucher {
            voucher.hand_to(&mut command);
        }
        let lines: String = gone.iter().map(Change::line).collect();
        let mut prepared =
            Prepared::begin(command, &lines, &self.lock_of(&first.name), None).map_err(|refused| {
                let (Refused::Said(error) | Refused::Failed(error)) = refused;
                let said = if let GitError::Program { stderr, .. } = &error { stderr.as_str() } else { "" };
                self.lock_in_the_way(gone, said.as_bytes()).unwrap_or(error)
            })?;
        let done = self.change_refs(made, message).and_then(|()| prepared.commit());
        drop(prepared);
        match done {
            Ok(()) => self.sync_refs(gone),
            Err(_) if gone.iter().all(|change| self.is_still(change)) => self.take_back(made),
            // Git's own transaction is none where its disk fails.
            Err(_) => {}
        }
        done
    }

    fn is_still(&self, change: &Change) -> bool {
        self.read_ref(&change.name).is_ok_and(|now| change.from.is(now.as_ref()))
    }

    /// Deletes those refs that were made for what then did not happen.
    fn take_back(&self, made: &[Change]) {
        for change in made.iter().filter(|change| change.from == Expected::Absent) {
            if let Some(to) = &change.to {
                // If it cannot be, it is one more way back.
                let _ = self.delete_ref(&change.name, to);
            }
        }
    }

    /// Has a change by the git program survive a power cut. Where that fails the refs have moved all
    /// the same, for everybody.
    pub(super) fn sync_refs(&self, changes: &[Change]) {
        if !self.refs_are_files() {
            changes.iter().take(1).for_each(|change| self.sync_tables(&change.name));
        } else if self.is_durable() {
            for folder in self.folders_of(changes) {
                let _ = File::open(folder).and_then(|folder| folder.sync_all());
            }
        }
    }

    /// The folders in which names changed, those first that lie deepest.
    fn folders_of(&self, changes: &[Change]) -> Vec<PathBuf> {
        let mut folders = BTreeSet::new();
        for change in changes {
            let Some(files) = self.files_of(&change.name) else { continue };
            // Those above may be new as well, or with a deleted ref be gone; and one that is where it
            // is to be may have been made by who then died.
            let moves =
                matches!((&change.from, &change.to), (Expected::Exactly(from), Some(to)) if from != to);
            let above = files.tip.ancestors().skip(1).take_while(|folder| *folder != self.common_dir());
            let there = above.filter(|folder| folder.is_dir()).map(Path::to_owned);
            folders.extend(there.take(if moves { 1 } else { usize::MAX }));
            if change.to.is_none() {
                // It may have been packed.
                folders.insert(self.common_dir().to_owned());
            }
        }
        folders.into_iter().rev().collect()
    }
}
