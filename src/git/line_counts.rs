//! How many lines came and went in files, where nothing but their contents has a say in that.
//!
//! libgit2's comparison of trees asks for each file which attributes it has, along all folders
//! on its way, and does one after the other. Where there is no file of attributes that could name
//! any of them, contents are compared alone, on all processors.

use super::objects::Objects;
use super::rules::may_have_attributes;
use super::trees::Difference;
use super::workers::shared_out;
use super::{GitError, Repo};

/// From this size on libgit2 takes everything for binary, and does not look into it.
const BINARY: usize = 512 << 20;

/// Lines of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) inserted: u64,
    pub(super) deleted: u64,
}

/// For each of `differing` the lines that came and went, which binary content has none of;
/// `None` where more than the contents would have to be asked.
///
/// # Errors
/// [`GitError::Library`] if an object cannot be read.
pub(super) fn of(repo: &Repo, differing: &[Difference]) -> Result<Option<Vec<Option<Lines>>>, GitError> {
    let paths = differing.iter().map(|difference| difference.path.as_slice());
    if !differing.iter().all(Difference::is_here) || may_have_attributes(repo, paths)? {
        return Ok(None);
    }
    let objects = Objects::of(repo)?;
    let counts =
        shared_out(differing, |worker| objects.reader(worker), |odb, one| count(odb, one), &mut |_| {});
    counts.into_iter().collect::<Result<_, _>>().map(Some)
}

/// For one of them.
///
/// # Errors
/// As [`of`].
pub(super) fn count(odb: &git2::Odb<'_>, difference: &Difference) -> Result<Option<Lines>, GitError> {
    let sides = [difference.old, difference.new].map(|side| side.map(|item| item.id));
    if sides[0] == sides[1] {
        return Ok(Some(Lines { inserted: 0, deleted: 0 }));
    }
    for id in sides.into_iter().flatten() {
        if odb.read_header(id)?.0 > BINARY {
            return Ok(None);
        }
    }
    let read = |side: Option<git2::Oid>| side.map(|id| odb.read(id)).transpose();
    let (old, new) = (read(sides[0])?, read(sides[1])?);
    let contents = |object| Option::map_or(object, &[][..], git2::OdbObject::data);
    let patch = git2::Patch::from_buffers(contents(old.as_ref()), None, contents(new.as_ref()), None, None)?;
    if patch.delta().flags().contains(git2::DiffFlags::BINARY) {
        return Ok(None);
    }
    let (_, inserted, deleted) = patch.line_stats()?;
    Ok(Some(Lines { inserted: inserted as u64, deleted: deleted as u64 }))
}
