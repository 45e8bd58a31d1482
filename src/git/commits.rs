//! Commits as they are stored: their trees, their parents and their times, each read once.
//!
//! libgit2 keeps an object as it is stored or parsed, whichever was asked for first, and reads
//! it again for the other; what it parses are names and messages, which no walk and no
//! comparison needs. For a thousand tips that is most of the work.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::key::Key;
use super::objects::{Objects, Reader};
use super::workers::shared_out;
use super::{GitError, Repo};
use crate::names::CommitId;

/// The commits of a repository, as far as they were read.
pub struct Commits<'repo> {
    repo: &'repo Repo,
    objects: Objects<'repo>,
    /// Whether commits may have other parents than they say.
    grafted: bool,
    known: RefCell<HashMap<Key, Rc<Stored>>>,
}

/// What is known of a commit.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) tree: git2::Oid,
    pub(super) parents: Vec<git2::Oid>,
    /// When it was committed, in seconds since 1970.
    pub(super) time: i64,
}

impl<'repo> Commits<'repo> {
    /// None that was read yet.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn new(repo: &'repo Repo) -> Result<Self, GitError> {
        let grafted = repo.is_shallow() || repo.common_dir().join("info/grafts").exists();
        Ok(Self { repo, objects: Objects::of(repo)?, grafted, known: RefCell::default() })
    }

    /// Reads `commits`, many at a time. What cannot be read is told of where it is asked for.
    pub fn read(&self, commits: &[&CommitId]) {
        if self.grafted {
            return;
        }
        let mut wanted: Vec<git2::Oid> =
            commits.iter().filter_map(|commit| self.repo.oid(commit.as_str()).ok()).collect();
        wanted.retain(|oid| !self.known.borrow().contains_key(&Key::from(*oid)));
        let (objects, format) = (&self.objects, self.repo.raw().object_format());
        let one = |odb: &mut Reader<'_>, oid: &git2::Oid| stored(&odb.read(*oid).ok()?, format);
        let read = shared_out(&wanted, |worker| objects.reader(worker), one, &mut |_| {});
        let read =
            wanted.iter().zip(read).filter_map(|(oid, commit)| Some((Key::from(*oid), Rc::new(commit?))));
        self.known.borrow_mut().extend(read);
    }

    /// When `commit` was committed, in seconds since 1970.
    ///
    /// # Errors
    /// [`GitError::Library`] if it is missing.
    pub fn committed_at(&self, commit: &CommitId) -> Result<i64, GitError> {
        Ok(self.get(self.repo.oid(commit.as_str())?)?.time)
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> &'repo Repo {
        self.repo
    }

    pub(super) fn objects(&self) -> &Objects<'repo> {
        &self.objects
    }

    pub(super) fn get(&self, oid: git2::Oid) -> Result<Rc<Stored>, git2::Error> {
        if let Some(known) = self.known.borrow().get(&Key::from(oid)) {
            return Ok(Rc::clone(known));
        }
        let as_stored = match self.grafted {
            true => None,
            false => stored(&self.objects.read(oid)?, self.repo.raw().object_format()),
        };
        let commit = match as_stored {
            Some(commit) => commit,
            None => {
                let commit = self.repo.raw().find_commit(oid)?;
                let (tree, time) = (commit.tree_id(), commit.time().seconds());
                Stored { tree, parents: commit.parent_ids().collect(), time }
            }
        };
        let commit = Rc::new(commit);
        self.known.borrow_mut().insert(oid.into(), Rc::clone(&commit));
        Ok(commit)
    }
}

/// A commit as it is stored: a line `tree <id>`, a line `parent <id>` for each, the author, and
/// `committer <name> <<address>> <seconds> <zone>`. `None` for one that is written in any other
/// way, which is libgit2's to understand.
fn stored(object: &git2::OdbObject<'_>, format: git2::ObjectFormat) -> Option<Stored> {
    if object.kind() != git2::ObjectType::Commit {
        return None;
    }
    let id = |hex: &[u8]| git2::Oid::from_str_ext(std::str::from_utf8(hex).ok()?, format).ok();
    let mut lines = object.data().split(|byte| *byte == b'\n');
    let tree = id(lines.next()?.strip_prefix(b"tree ")?)?;
    let mut parents = Vec::with_capacity(1);
    let mut line = lines.next()?;
    while let Some(parent) = line.strip_prefix(b"parent ") {
        parents.push(id(parent)?);
        line = lines.next()?;
    }
    line.strip_prefix(b"author ")?;
    let committer = lines.next()?.strip_prefix(b"committer ")?;
    let end = committer.iter().rposition(|byte| *byte == b'>')?;
    let time = committer[end + 1..].strip_prefix(b" ")?.split(|byte| *byte == b' ').next()?;
    let time = Some(time).filter(|time| time.iter().all(u8::is_ascii_digit))?;
    Some(Stored { tree, parents, time: std::str::from_utf8(time).ok()?.parse().ok()? })
}
