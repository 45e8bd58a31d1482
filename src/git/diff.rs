//! What differs between two trees.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use super::commits::Commits;
use super::key::Key;
use super::line_counts::{self, Lines};
use super::objects::Reader;
use super::trees::{Difference, differences, differences_among};
use super::workers::shared_out;
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, as bytes: Git does not say what encoding names are in.
    pub path: Vec<u8>,
    /// Lines added; `None` for binary content.
    pub insertions: Option<u64>,
    /// Lines removed; `None` for binary content.
    pub deletions: Option<u64>,
}

/// The paths that differ between `from` and `to`, renames taken apart, in the order of the
/// trees.
///
/// # Errors
/// [`GitError::Library`] if an object is missing.
pub fn changed(repo: &Repo, from: &TreeId, to: &TreeId) -> Result<Vec<Change>, GitError> {
    let tree = |id: &TreeId| repo.raw().find_tree(repo.oid(id.as_str())?);
    let (from, to) = (tree(from)?, tree(to)?);
    let differing = differences(repo, from.id(), to.id())?;
    if differing.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(counts) = line_counts::of(repo, &differing)? {
        let change = |(difference, counts): (Difference, Option<Lines>)| Change {
            path: difference.path,
            insertions: counts.map(|lines| lines.inserted),
            deletions: counts.map(|lines| lines.deleted),
        };
        return Ok(differing.into_iter().zip(counts).map(change).collect());
    }
    // libgit2 looks for attributes in the index as well: it would read all of it, and fail where
    // it is split or sparse. The files of the worktree tell text from binary.
    repo.raw().set_index(&mut git2::Index::new_ext(repo.raw().object_format())?)?;
    let mut options = git2::DiffOptions::new();
    options.disable_pathspec_match(true);
    for difference in &differing {
        options.pathspec(&difference.path);
    }
    let odb = repo.raw().odb()?;
    let diff = repo.raw().diff_tree_to_tree(Some(&from), Some(&to), Some(&mut options))?;
    let mut changes: Vec<Change> = Vec::with_capacity(diff.deltas().len());
    for (at, delta) in diff.deltas().enumerate() {
        let file = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes());
        let path = file.unwrap_or_default();
        let mut counts = match git2::Patch::from_diff(&diff, at)? {
            Some(patch) if !patch.delta().flags().contains(git2::DiffFlags::BINARY) => {
                let (_, insertions, deletions) = patch.line_stats()?;
                Some((insertions as u64, deletions as u64))
            }
            _ => None,
        };
        // To libgit2 a file that became a link is one that went and one that came.
        if let Some(went) = changes.pop_if(|went| went.path == path) {
            let whole = differing.iter().find(|difference| difference.path == path && difference.is_here());
            let lines = whole.map(|whole| line_counts::count(&odb, whole)).transpose()?.flatten();
            let lines = lines.map(|lines| (lines.inserted, lines.deleted));
            let before = went.insertions.zip(went.deletions);
            let sum = before.zip(counts).map(|((came, went), (more, less))| (came + more, went + less));
            counts = sum.map(|sum| lines.unwrap_or(sum));
        }
        changes.push(Change {
            path: path.to_vec(),
            insertions: counts.map(|(insertions, _)| insertions),
            deletions: counts.map(|(_, deletions)| deletions),
        });
    }
    Ok(changes)
}

/// Those of the paths in `wanted`, which is sorted, that differ between the trees of `from` and
/// `to`, sorted. No content is read, no folder that none of them is in, and renames are not
/// looked for: a renamed file is its old path and its new one, since both can get in
/// somebody's way.
///
/// # Errors
/// [`GitError::Library`] if a commit or a tree is missing or cannot be read.
pub fn changed_among(
    repo: &Repo,
    wanted: &[&[u8]],
    from: &CommitId,
    to: &CommitId,
) -> Result<Vec<Vec<u8>>, GitError> {
    let raw = repo.raw();
    let (old, new) = (
        raw.find_commit(repo.oid(from.as_str())?)?.tree_id(),
        raw.find_commit(repo.oid(to.as_str())?)?.tree_id(),
    );
    let differing = differences_among(&raw.odb()?, wanted, old, new)?;
    let mut paths: Vec<Vec<u8>> = differing.into_iter().map(|difference| difference.path).collect();
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// How many paths differ between the trees of each two commits, a renamed file being two; `None`
/// where a commit or a tree is missing or cannot be read. Nothing but trees is read, and no path
/// is put together.
#[must_use]
pub fn counts(commits: &Commits<'_>, pairs: &[(&CommitId, &CommitId)]) -> Vec<Option<usize>> {
    let tree = |commit: &CommitId| Some(commits.get(commits.repo().oid(commit.as_str()).ok()?).ok()?.tree);
    let trees = |(from, to): &(&CommitId, &CommitId)| Some((tree(from)?, tree(to)?));
    let mut jobs: Vec<(usize, (git2::Oid, git2::Oid))> =
        pairs.iter().enumerate().filter_map(|(at, pair)| Some((at, trees(pair)?))).collect();
    // Those that start from the same tree are done by the same worker.
    jobs.sort_unstable_by(|(_, (one, _)), (_, (two, _))| one.as_bytes().cmp(two.as_bytes()));
    let objects = commits.objects();
    let reader = |worker| (objects.reader(worker), HashMap::new());
    let one = |(odb, known): &mut (Reader<'_>, HashMap<_, _>), job: &(usize, (git2::Oid, git2::Oid))| {
        let (_, (old, new)) = *job;
        Counter { odb, old: known }.between(old, new).ok()
    };
    let counted = shared_out(&jobs, reader, one, &mut |_| {});
    let mut counts = vec![None; pairs.len()];
    jobs.into_iter().zip(counted).for_each(|((at, _), count)| counts[at] = count);
    counts
}

/// Counts how many paths differ between trees, many of which are compared with the same: those
/// are read once.
struct Counter<'a> {
    odb: &'a git2::Odb<'a>,
    old: &'a mut HashMap<Key, Rc<[u8]>>,
}

/// An entry of a tree, as it lies there.
pub(super) struct Entry<'a> {
    pub(super) mode: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) id: git2::Oid,
}

impl Entry<'_> {
    pub(super) fn is_tree(&self) -> bool {
        self.mode == b"40000"
    }

    /// What trees are sorted by: a folder as if its name ended in a slash, so that a file and
    /// a folder of one name are two paths.
    pub(super) fn key(&self) -> impl Iterator<Item = u8> {
        self.name.iter().copied().chain(self.is_tree().then_some(b'/'))
    }

    pub(super) fn is_submodule(&self) -> bool {
        self.mode == b"160000"
    }

    /// Whether both are the same, whatever their names.
    pub(super) fn is(&self, other: &Entry<'_>) -> bool {
        self.id == other.id && self.mode == other.mode
    }

    /// Which of the two comes first in a tree, as their keys would tell.
    pub(super) fn order(&self, other: &Entry<'_>) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let last =
            |entry: &Entry<'_>| entry.name.get(common).copied().or_else(|| entry.is_tree().then_some(b'/'));
        self.name[..common].cmp(&other.name[..common]).then_with(|| last(self).cmp(&last(other)))
    }
}

/// The first entry in the contents of a tree whose ids have `id_size` bytes, and what follows it.
fn first(tree: &[u8], id_size: usize) -> Option<(Entry<'_>, &[u8])> {
    let space = tree.iter().position(|byte| *byte == b' ')?;
    let (mode, rest) = (&tree[..space], &tree[space + 1..]);
    let nul = rest.iter().position(|byte| *byte == 0)?;
    let (name, rest) = (&rest[..nul], &rest[nul + 1..]);
    let (id, rest) = rest.split_at_checked(id_size)?;
    let id = git2::Oid::from_bytes(id).ok()?;
    Some((Entry { mode, name, id }, rest))
}

/// The entries in the contents of a tree whose ids have `id_size` bytes, up to the first that
/// cannot be understood.
pub(super) fn entries(mut tree: &[u8], id_size: usize) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (entry, rest) = first(tree, id_size)?;
        tree = rest;
        Some(entry)
    })
}

/// How long the entries are with which both trees begin alike. That is told by their bytes: to
/// take every entry apart and compare it costs many times as much as to read the trees.
fn alike(one: &[u8], two: &[u8], id_size: usize) -> usize {
    const BLOCK: usize = 32;
    let blocks = one.chunks_exact(BLOCK).zip(two.chunks_exact(BLOCK));
    let same = BLOCK * blocks.take_while(|(one, two)| one == two).count();
    let bytes = one[same..].iter().zip(&two[same..]);
    let same = same + bytes.take_while(|(one, two)| one == two).count();
    let mut end = 0;
    while let Some(nul) = one[end..same].iter().position(|byte| *byte == 0) {
        let next = end + nul + 1 + id_size;
        if next > same {
            break;
        }
        end = next;
    }
    end
}

/// The entries in the contents of a tree, as [`entries`]; `None` if not all of them can be
/// understood.
pub(super) fn parsed(tree: &[u8], id_size: usize) -> Option<Vec<Entry<'_>>> {
    let mut length = 0;
    let entries: Vec<Entry<'_>> = entries(tree, id_size)
        .inspect(|entry| length += entry.mode.len() + entry.name.len() + 2 + id_size)
        .collect();
    (length == tree.len()).then_some(entries)
}

impl Counter<'_> {
    fn between(&mut self, old: git2::Oid, new: git2::Oid) -> Result<usize, git2::Error> {
        if old == new {
            return Ok(0);
        }
        let id_size = new.as_bytes().len();
        let (old, new) = (self.old(old)?, self.odb.read(new)?);
        let (mut old, mut new) = (&*old, new.data());
        let mut count = 0;
        loop {
            let alike = alike(old, new, id_size);
            (old, new) = (&old[alike..], &new[alike..]);
            let (before, after) = (first(old, id_size), first(new, id_size));
            let order = match (&before, &after) {
                (None, None) => return Ok(count),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((before, _)), Some((after, _))) => before.order(after),
            };
            let before = before.filter(|_| order != Ordering::Greater);
            let after = after.filter(|_| order != Ordering::Less);
            old = before.as_ref().map_or(old, |(_, rest)| rest);
            new = after.as_ref().map_or(new, |(_, rest)| rest);
            count += match (before, after) {
                (Some((before, _)), Some((after, _))) if before.is(&after) => 0,
                (Some((before, _)), Some((after, _))) if before.is_tree() => {
                    self.between(before.id, after.id)?
                }
                (Some((only, _)), None) | (None, Some((only, _))) if only.is_tree() => self.all(only.id)?,
                _ => 1,
            };
        }
    }

    /// The number of files below a tree.
    fn all(&self, tree: git2::Oid) -> Result<usize, git2::Error> {
        let id_size = tree.as_bytes().len();
        let tree = self.odb.read(tree)?;
        let below = |entry: Entry<'_>| if entry.is_tree() { self.all(entry.id) } else { Ok(1) };
        entries(tree.data(), id_size).map(below).sum()
    }

    fn old(&mut self, tree: git2::Oid) -> Result<Rc<[u8]>, git2::Error> {
        if let Some(known) = self.old.get(&Key::from(tree)) {
            return Ok(Rc::clone(known));
        }
        let contents: Rc<[u8]> = self.odb.read(tree)?.data().into();
        self.old.insert(tree.into(), Rc::clone(&contents));
        Ok(contents)
    }
}
