//! Capturing what a watcher saw change, instead of looking at the whole worktree.
//!
//! After a capture of everything it is written down, in the watcher's own folder, at which
//! moment of the watcher the look at the worktree began, which commit came of it and by which
//! rules: from there on the worktree is that commit, and what changed since. The next capture
//! asks for the changes since that moment, stages those alone, and writes down its own.
//!
//! Nothing rests on it: where anything is in doubt, everything is looked at, and `-v` says why.
//!
//! # If the process dies here
//! What was written down names the commit that it stands for. Died a capture after the thread
//! moved and before it wrote, the next one asks since the earlier moment, and looks also at the
//! paths in which the commits differ.
//!
//! # If another does the same now
//! Captures of one worktree follow each other. What somebody changes while a capture looks is
//! told of the next time, whether it was seen or not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::git::changed::between;
use crate::git::stage::Stamp;
use crate::git::{Repo, rules};
use crate::names::{CommitId, SessionId};
use crate::platform::change::Changed;
use crate::session::Session;
use crate::watch::{Answer, Moment, Silence, ask, remember, remembered};

/// The version of the note.
const VERSION: u32 = 2;

/// What is written down after a capture.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    session: String,
    /// When the look at the worktree began.
    moment: Moment,
    /// What the worktree was then.
    commit: String,
    /// The print of the rules by which it was looked at.
    rules: String,
    /// An index that was found to overlook no file.
    plain: Option<Stamp>,
    /// The worktree's own index, all of which was captured.
    index: Option<Stamp>,
}

/// What is known before a capture of everything.
#[derive(Debug)]
pub struct Watched {
    /// What has to be looked at, or why that is everything; `None` where nobody watches.
    pub changed: Option<Result<Vec<Changed>, String>>,
    /// From when on the next capture may ask, and the print of the rules.
    next: Option<(Moment, String)>,
    /// An index that was found to overlook no file.
    pub plain: Option<Stamp>,
    /// The worktree's own index, as the last capture left it.
    pub index: Option<Stamp>,
}

impl Watched {
    /// Where nobody was asked.
    #[must_use]
    pub fn not_asked() -> Self {
        Self { changed: None, next: None, plain: None, index: None }
    }

    /// Asks the watcher of `session` what changed in the worktree of `context.repo`, which is to be
    /// captured on top of `parent`.
    ///
    /// # Errors
    /// [`crate::git::GitError`] for configuration that cannot be read.
    pub fn consult(context: &Context<'_>, session: &Session, parent: &CommitId) -> Result<Self, Error> {
        let repo = context.repo;
        let Some(worktree) = repo.worktree() else { return Ok(Self::not_asked()) };
        let note = read(repo.git_dir(), &session.session_id);
        let since = note.as_ref().map(|note| note.moment.clone());
        let Answer { now, changed } = match ask(worktree, repo.git_dir(), &session.session_id, since) {
            Ok(answer) => answer,
            Err(Silence::Nobody) => return Ok(Self::not_asked()),
            Err(Silence::Because(why)) => {
                let why = format!("the watcher was asked in vain: {why}");
                return Ok(Self { changed: Some(Err(why)), ..Self::not_asked() });
            }
        };
        // Only now: what changes from here on is told of.
        let print = rules::print(repo)?;
        let mounted = has_mounts(worktree);
        let changed = changed.and_then(|changed| match mounted {
            true => Err("something is mounted in the worktree".to_owned()),
            false => Self::widen(repo, parent, note.as_ref(), print.as_deref(), changed),
        });
        let (plain, index) = note.map_or((None, None), |note| (note.plain, note.index));
        // What comes to light when it is unmounted changed long before, for all anybody is told of it.
        let next = now.zip(print).filter(|_| !mounted);
        Ok(Self { changed: Some(changed), next, plain, index })
    }

    /// What has to be looked at where `changed` is what changed since `note`.
    fn widen(
        repo: &Repo,
        parent: &CommitId,
        note: Option<&Note>,
        print: Option<&str>,
        mut changed: Vec<Changed>,
    ) -> Result<Vec<Changed>, String> {
        let note = note.ok_or("nothing was captured yet since watching began")?;
        if print != Some(&note.rules) {
            return Err("the configuration or the rules changed".to_owned());
        }
        let commit = CommitId::parse(&note.commit).map_err(|_| "the last capture is not known")?;
        let more = between(repo, &commit, parent).map_err(|error| error.to_string())?;
        changed.extend(more.ok_or("the thread moved too far")?);
        Ok(changed)
    }

    /// Writes down that the worktree was `commit` when the watcher was asked, and which index was
    /// found to be `plain`; all of the worktree's own `index` was captured. A cache: what goes wrong is ignored.
    pub fn settle(self, repo: &Repo, id: &SessionId, commit: &CommitId, [plain, index]: [Option<Stamp>; 2]) {
        let Some((moment, rules)) = self.next else { return };
        let (session, commit) = (id.as_str().to_owned(), commit.as_str().to_owned());
        let note = Note { version: VERSION, session, moment, commit, rules, plain, index };
        if let Ok(bytes) = serde_json::to_vec(&note) {
            remember(repo.git_dir(), id, &bytes);
        }
    }
}

/// What the last capture of the session in the worktree with this Git directory wrote down.
fn read(git_dir: &Path, session: &SessionId) -> Option<Note> {
    let note: Note = serde_json::from_slice(&remembered(git_dir, session)?).ok()?;
    (note.version == VERSION && note.session == session.as_str()).then_some(note)
}

/// Whether something is mounted below `worktree`: that may be changed from elsewhere, and a mount is
/// no change that anybody is told of.
fn has_mounts(worktree: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return true };
    let point = |line: &[u8]| {
        let field = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(&unescaped(field))))
    };
    let points = mounts.split(|byte| *byte == b'\n').filter_map(point);
    points.into_iter().any(|point| point != worktree && point.starts_with(worktree))
}

/// A path as `mountinfo` shows it: spaces and the like as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_read_as_it_is_escaped() {
        assert_eq!(unescaped(b"/a\\040b\\134"), b"/a b\\");
        assert_eq!(unescaped(b"/a\\9"), b"/a\\9");
    }
}
