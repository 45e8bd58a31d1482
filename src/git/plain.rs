//! Merges in which there is nothing to merge.
//!
//! Most threads touch other files than what has come to their target since. Then every file of
//! the result is what one of the two sides has, and to be told so by `git merge-tree` costs a
//! process, and two written trees for each thread. Here the three trees are walked together,
//! down to where one side is as the base was.
//!
//! Git decides by paths first, and asks for contents, drivers and renames only where both sides
//! differ from the base. So a merge is clean whatever its configuration if at each place, a
//! folder being one, at least one side is as the base was, with three exceptions that are
//! left to Git: a name that one side added as a file and the other as a folder; a file that both
//! deleted, which both may have renamed; and, as both then differ from the base, whatever lies in
//! a folder that one side has not any more, as its files may have to follow to where it went. A
//! file that one side renamed is no exception: the other side has it as it was.

use std::iter::Peekable;

use super::GitError;
use super::diff::{Entry, parsed};

/// Whether merging the tree `theirs` into `ours`, which both come from `base`, is known to meet no
/// conflict. If not, only Git can tell.
///
/// # Errors
/// [`GitError::Library`] if a tree cannot be read.
pub(super) fn is_plain(
    odb: &git2::Odb<'_>,
    base: git2::Oid,
    ours: git2::Oid,
    theirs: git2::Oid,
) -> Result<bool, GitError> {
    folder(odb, Some(base), ours, theirs)
}

/// What one place is on each side.
type Place<'a> = [Option<Entry<'a>>; 3];

fn folder(
    odb: &git2::Odb<'_>,
    base: Option<git2::Oid>,
    ours: git2::Oid,
    theirs: git2::Oid,
) -> Result<bool, GitError> {
    if base == Some(ours) || base == Some(theirs) {
        return Ok(true);
    }
    let id_size = ours.as_bytes().len();
    let base = base.map(|base| odb.read(base)).transpose()?;
    let (ours, theirs) = (odb.read(ours)?, odb.read(theirs)?);
    let base = base.as_ref().map_or(&[][..], git2::OdbObject::data);
    let [Some(base), Some(ours), Some(theirs)] =
        [base, ours.data(), theirs.data()].map(|tree| in_order(tree, id_size))
    else {
        return Ok(false);
    };
    let mut sides = [base, ours, theirs].map(|entries| entries.into_iter().peekable());
    let mut added: [Vec<Entry<'_>>; 2] = [Vec::new(), Vec::new()];
    loop {
        let heads = sides.each_mut().map(Peekable::peek);
        let Some(first) = heads.into_iter().flatten().min_by(|one, two| one.order(two)) else { break };
        let here = heads.map(|head| head.is_some_and(|head| head.order(first).is_eq()));
        let [base, ours, theirs] = &mut sides;
        let place = [base.next_if(|_| here[0]), ours.next_if(|_| here[1]), theirs.next_if(|_| here[2])];
        if !is_plain_at(odb, &place)? {
            return Ok(false);
        }
        match place {
            [None, Some(ours), _] => added[0].push(ours),
            [None, None, Some(theirs)] => added[1].push(theirs),
            _ => {}
        }
    }
    let [ours, theirs] = added;
    // Trees have a file and a folder of one name in two places.
    Ok(!theirs.iter().any(|theirs| ours.iter().any(|ours| ours.name == theirs.name)))
}

/// The entries of a tree; `None` if it is not as Git writes one.
fn in_order(tree: &[u8], id_size: usize) -> Option<Vec<Entry<'_>>> {
    let entries = parsed(tree, id_size)?;
    entries.is_sorted_by(|one, two| one.order(two).is_lt()).then_some(entries)
}

fn is_plain_at(odb: &git2::Odb<'_>, place: &Place<'_>) -> Result<bool, GitError> {
    let is = |one: &Option<Entry<'_>>, two: &Option<Entry<'_>>| match (one, two) {
        (Some(one), Some(two)) => one.is(two),
        (None, None) => true,
        _ => false,
    };
    let [base, ours, theirs] = place;
    if is(base, ours) || is(base, theirs) {
        return Ok(true);
    }
    match (base, ours, theirs) {
        (base, Some(ours), Some(theirs)) if ours.is_tree() => {
            folder(odb, base.as_ref().map(|base| base.id), ours.id, theirs.id)
        }
        // Both made the same of a file that was there.
        (Some(_), Some(_), Some(_)) => Ok(is(ours, theirs)),
        _ => Ok(false),
    }
}
