//! How many tips stand to their target, in a few walks for all of them together.
//!
//! One walk for each thread costs as much as its distance from the target, again and again
//! for threads that left it at about the same place. Here the commits that the target lacks
//! are walked once, and so are those of the target that the tips lack; which tips a commit
//! belongs to is a set of bits that it hands on to its parents. The walks themselves are
//! libgit2's, which ends them as `git rev-list` does.

use std::collections::{HashMap, HashSet};

use super::key::Key;
use super::merge::merge_base;
use super::repo::commit_id;
use super::{GitError, Repo};
use crate::names::CommitId;

/// What a tip has that its target has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// How many commits.
    pub commits: usize,
    /// Where the tip left its target; `None` if their histories never met, or more than once.
    pub fork: Option<CommitId>,
}

/// Commits in an order in which none comes before its children, with their parents.
struct Region {
    order: Vec<(git2::Oid, Vec<git2::Oid>)>,
    known: HashSet<Key>,
}

impl Region {
    /// What is reachable from one of `from` and not from `hidden`.
    fn walk(repo: &Repo, from: &[git2::Oid], hidden: git2::Oid) -> Result<Self, GitError> {
        let mut walk = repo.raw().revwalk()?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL)?;
        for oid in from {
            walk.push(*oid)?;
        }
        walk.hide(hidden)?;
        let odb = repo.raw().odb()?;
        let from: HashSet<Key> = from.iter().map(|oid| Key::from(*oid)).collect();
        let (mut order, mut known) = (Vec::new(), HashSet::new());
        for oid in walk {
            let oid = oid?;
            // libgit2 keeps an object as it is stored or parsed, whichever was asked for first, and
            // reads it again for the other: parsed where a walk starts, as stored on its way.
            let stored =
                if from.contains(&Key::from(oid)) || repo.is_shallow() { None } else { Some(odb.read(oid)?) };
            let parents = match stored.and_then(|stored| parents(repo, stored.data())) {
                Some(parents) => parents,
                None => repo.raw().find_commit(oid)?.parent_ids().collect(),
            };
            order.push((oid, parents));
            known.insert(oid.into());
        }
        Ok(Self { order, known })
    }

    /// For each of `starts`, how many commits of the region are reachable from it, and through
    /// which commits outside it is left.
    fn reach(&self, starts: &[git2::Oid]) -> Vec<(usize, Vec<git2::Oid>)> {
        let mut reached: Vec<(usize, Vec<git2::Oid>)> = vec![(0, Vec::new()); starts.len()];
        let mut pending: HashMap<Key, Bits> = HashMap::new();
        for (at, start) in
            starts.iter().enumerate().filter(|(_, start)| self.known.contains(&Key::from(**start)))
        {
            pending.entry((*start).into()).or_insert_with(|| Bits::none(starts.len())).set(at);
        }
        for (commit, parents) in &self.order {
            // What no start leads to hands nothing on.
            let Some(bits) = pending.remove(&Key::from(*commit)) else { continue };
            bits.each(|at| reached[at].0 += 1);
            for parent in parents {
                if self.known.contains(&Key::from(*parent)) {
                    pending.entry((*parent).into()).or_insert_with(|| Bits::none(starts.len())).add(&bits);
                } else {
                    bits.each(|at| {
                        if !reached[at].1.contains(parent) {
                            reached[at].1.push(*parent);
                        }
                    });
                }
            }
        }
        reached
    }

    /// The commits of the region from which `end`, outside it, is reachable.
    fn leading_to(&self, end: git2::Oid) -> HashSet<Key> {
        let mut leading = HashSet::new();
        for (commit, parents) in self.order.iter().rev() {
            if parents.iter().any(|parent| *parent == end || leading.contains(&Key::from(*parent))) {
                leading.insert(Key::from(*commit));
            }
        }
        leading
    }
}

/// The parents of a commit as it is stored: a line `tree <id>`, then a line `parent <id>` for each.
/// Where a shallow clone ends, it has others than the repository knows.
fn parents(repo: &Repo, stored: &[u8]) -> Option<Vec<git2::Oid>> {
    let mut lines = stored.split(|byte| *byte == b'\n');
    lines.next()?.strip_prefix(b"tree ")?;
    let parents = lines.map_while(|line| line.strip_prefix(b"parent "));
    parents.map(|id| repo.oid(std::str::from_utf8(id).ok()?).ok()).collect()
}

/// A set of small numbers.
struct Bits(Box<[u64]>);

impl Bits {
    fn none(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)].into())
    }

    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    fn each(&self, mut visit: impl FnMut(usize)) {
        for (place, word) in self.0.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                visit(place * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

/// What each of `tips` has that `target` has not, in one walk.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn ahead(
    repo: &Repo,
    target: &CommitId,
    tips: &HashSet<CommitId>,
) -> Result<HashMap<CommitId, Ahead>, GitError> {
    let target = repo.oid(target.as_str())?;
    let starts = tips.iter().map(|tip| repo.oid(tip.as_str())).collect::<Result<Vec<_>, _>>()?;
    let region = Region::walk(repo, &starts, target)?;
    let reached = region.reach(&starts);
    let stands = |(tip, (start, (commits, exits))): (&CommitId, (&git2::Oid, (usize, Vec<git2::Oid>)))| {
        let fork = match (commits, exits.as_slice()) {
            // The target has it.
            (0, _) => Some(*start),
            (_, [only]) => Some(*only),
            _ => None,
        };
        (tip.clone(), Ahead { commits, fork: fork.map(commit_id) })
    };
    Ok(tips.iter().zip(starts.iter().zip(reached)).map(stands).collect())
}

/// How many commits `target` has that each of `forks`, ancestors of it, has not: in one walk,
/// back to the oldest of them.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn behind(
    repo: &Repo,
    target: &CommitId,
    forks: &HashSet<CommitId>,
) -> Result<HashMap<CommitId, usize>, GitError> {
    let target = repo.oid(target.as_str())?;
    let starts = forks.iter().map(|fork| repo.oid(fork.as_str())).collect::<Result<Vec<_>, _>>()?;
    let mut dated = Vec::with_capacity(starts.len());
    for start in &starts {
        dated.push((repo.raw().find_commit(*start)?.time().seconds(), *start));
    }
    let Some((_, oldest)) = dated.into_iter().min() else { return Ok(HashMap::new()) };
    let region = Region::walk(repo, &[target], oldest)?;
    let leading = region.leading_to(oldest);
    let reached = region.reach(&starts);
    let mut found = HashMap::with_capacity(forks.len());
    for (fork, (start, (commits, _))) in forks.iter().zip(starts.iter().zip(reached)) {
        // Only what has the whole history of the oldest has everything outside the region. A
        // fork on another line, or one whose clock was wrong, is counted by itself.
        let behind = if *start == oldest || leading.contains(&Key::from(*start)) {
            region.order.len() - commits
        } else {
            repo.raw().graph_ahead_behind(*start, target)?.1
        };
        found.insert(fork.clone(), behind);
    }
    Ok(found)
}

/// Where `tip` left `target`, and how many commits the target has that it has not, for a tip
/// that left it more than once or never: by itself.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn apart(repo: &Repo, tip: &CommitId, target: &CommitId) -> Result<(Option<CommitId>, usize), GitError> {
    Ok((merge_base(repo, tip, target)?, repo.ahead_behind(tip, target)?.1))
}
