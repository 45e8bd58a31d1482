//! How many tips stand to their target, in a few walks for all of them together.
//!
//! One walk for each thread costs as much as its distance from the target, again and again
//! for threads that left it at about the same place. Here the commits that the target lacks
//! are walked once, and so are those of the target that the tips lack; which tips a commit
//! belongs to is a set of bits that it hands on to its parents.
//!
//! A walk ends as that of `git rev-list` does: newest commits first, until all that are left are
//! ancestors of what is hidden, and a few more, so that clocks that went wrong change nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::rc::Rc;

use super::commits::{Commits, Stored};
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

/// How many hidden commits a walk looks at when it has run out of others, as Git does.
const SLOP: usize = 5;

/// A commit that a walk has come to.
struct Node {
    oid: git2::Oid,
    commit: Rc<Stored>,
    /// Where its parents are among the nodes, once it was looked at.
    parents: Vec<usize>,
    /// Whether it is reachable from what is hidden, as far as is known.
    hidden: bool,
    /// Whether it is in the region.
    inside: bool,
}

/// What is reachable from some commits and not from another.
struct Region {
    nodes: Vec<Node>,
    places: HashMap<Key, usize>,
    /// What is inside, in an order in which none comes before its children.
    order: Vec<usize>,
}

/// A walk under way: every node is in the queue once, until it is looked at.
struct Walk<'a> {
    commits: &'a Commits<'a>,
    nodes: Vec<Node>,
    places: HashMap<Key, usize>,
    /// Newest first.
    queue: BinaryHeap<(i64, Reverse<usize>)>,
    /// How many in the queue are not hidden.
    open: usize,
}

impl Walk<'_> {
    /// Where the commit is among the nodes.
    fn place(&mut self, oid: git2::Oid) -> Result<usize, git2::Error> {
        if let Some(place) = self.places.get(&Key::from(oid)) {
            return Ok(*place);
        }
        let (place, commit) = (self.nodes.len(), self.commits.get(oid)?);
        self.queue.push((commit.time, Reverse(place)));
        self.nodes.push(Node { oid, commit, parents: Vec::new(), hidden: false, inside: false });
        self.places.insert(oid.into(), place);
        self.open += 1;
        Ok(place)
    }

    /// Hides a node, and what is known to be reachable from it.
    fn hide(&mut self, place: usize) {
        let mut places = vec![place];
        while let Some(place) = places.pop() {
            let node = &mut self.nodes[place];
            if std::mem::replace(&mut node.hidden, true) {
                continue;
            }
            // What was looked at before is no longer inside.
            if !std::mem::replace(&mut node.inside, false) {
                self.open -= 1;
            }
            let parents = node.commit.parents.iter();
            places.extend(parents.filter_map(|parent| self.places.get(&Key::from(*parent))));
        }
    }

    fn run(&mut self) -> Result<(), git2::Error> {
        let (mut slop, mut oldest) = (SLOP, i64::MAX);
        while let Some((time, Reverse(place))) = self.queue.pop() {
            let commit = Rc::clone(&self.nodes[place].commit);
            let parents = commit.parents.iter().map(|parent| self.place(*parent));
            let parents: Vec<usize> = parents.collect::<Result<_, _>>()?;
            let node = &mut self.nodes[place];
            node.parents.clone_from(&parents);
            if !node.hidden {
                node.inside = true;
                self.open -= 1;
                oldest = oldest.min(time);
                continue;
            }
            parents.into_iter().for_each(|parent| self.hide(parent));
            match self.queue.peek() {
                Some((newest, _)) if self.open == 0 && *newest < oldest => slop -= 1,
                _ => slop = SLOP,
            }
            if slop == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Region {
    /// What is reachable from one of `from` and not from `hidden`.
    fn walk(commits: &Commits<'_>, from: &[git2::Oid], hidden: git2::Oid) -> Result<Self, GitError> {
        let (nodes, places, queue) = (Vec::new(), HashMap::new(), BinaryHeap::new());
        let mut walk = Walk { commits, nodes, places, queue, open: 0 };
        let hidden = walk.place(hidden)?;
        walk.hide(hidden);
        for oid in from {
            walk.place(*oid)?;
        }
        walk.run()?;
        let order = in_order(&walk.nodes);
        Ok(Self { nodes: walk.nodes, places: walk.places, order })
    }

    /// For each of `starts`, how many commits of the region are reachable from it, and through
    /// which commits outside it is left.
    fn reach(&self, starts: &[git2::Oid]) -> Vec<(usize, Vec<git2::Oid>)> {
        let mut reached: Vec<(usize, Vec<git2::Oid>)> = vec![(0, Vec::new()); starts.len()];
        let mut pending: Vec<Option<Bits>> = self.nodes.iter().map(|_| None).collect();
        for (at, start) in starts.iter().enumerate() {
            if let Some(place) = self.places.get(&Key::from(*start)) {
                pending[*place].get_or_insert_with(|| Bits::none(starts.len())).set(at);
            }
        }
        for place in &self.order {
            // What no start leads to hands nothing on.
            let Some(bits) = pending[*place].take() else { continue };
            bits.each(|at| reached[at].0 += 1);
            for parent in &self.nodes[*place].parents {
                let node = &self.nodes[*parent];
                if node.inside {
                    pending[*parent].get_or_insert_with(|| Bits::none(starts.len())).add(&bits);
                } else {
                    bits.each(|at| {
                        if !reached[at].1.contains(&node.oid) {
                            reached[at].1.push(node.oid);
                        }
                    });
                }
            }
        }
        reached
    }

    /// The commits of the region from which `end`, outside it, is reachable.
    fn leading_to(&self, end: git2::Oid) -> HashSet<Key> {
        let mut leading = vec![false; self.nodes.len()];
        for place in self.order.iter().rev() {
            let mut parents = self.nodes[*place].parents.iter();
            leading[*place] = parents.any(|parent| leading[*parent] || self.nodes[*parent].oid == end);
        }
        let led = self.nodes.iter().zip(leading).filter(|(_, leads)| *leads);
        led.map(|(node, _)| node.oid.into()).collect()
    }
}

/// The places of the nodes that are inside, none before its children.
fn in_order(nodes: &[Node]) -> Vec<usize> {
    let inside = || (0..nodes.len()).filter(|place| nodes[*place].inside);
    let mut children = vec![0_usize; nodes.len()];
    for parent in inside().flat_map(|place| &nodes[place].parents) {
        children[*parent] += 1;
    }
    let mut order: Vec<usize> = inside().filter(|place| children[*place] == 0).collect();
    let mut next = 0;
    while let Some(place) = order.get(next) {
        next += 1;
        for parent in nodes[*place].parents.clone() {
            children[parent] -= 1;
            if children[parent] == 0 && nodes[parent].inside {
                order.push(parent);
            }
        }
    }
    order
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
    commits: &Commits<'_>,
    target: &CommitId,
    tips: &HashSet<CommitId>,
) -> Result<HashMap<CommitId, Ahead>, GitError> {
    let repo = commits.repo();
    let target = repo.oid(target.as_str())?;
    let starts = tips.iter().map(|tip| repo.oid(tip.as_str())).collect::<Result<Vec<_>, _>>()?;
    let region = Region::walk(commits, &starts, target)?;
    let reached = region.reach(&starts);
    let stands = |(tip, (start, (count, exits))): (&CommitId, (&git2::Oid, (usize, Vec<git2::Oid>)))| {
        let fork = match (count, exits.as_slice()) {
            // The target has it.
            (0, _) => Some(*start),
            (_, [only]) => Some(*only),
            _ => None,
        };
        (tip.clone(), Ahead { commits: count, fork: fork.map(commit_id) })
    };
    Ok(tips.iter().zip(starts.iter().zip(reached)).map(stands).collect())
}

/// How many commits `target` has that each of `forks`, ancestors of it, has not: in one walk,
/// back to the oldest of them.
///
/// # Errors
/// [`GitError::Library`] if a commit is missing or cannot be read.
pub fn behind(
    commits: &Commits<'_>,
    target: &CommitId,
    forks: &HashSet<CommitId>,
) -> Result<HashMap<CommitId, usize>, GitError> {
    let repo = commits.repo();
    let target = repo.oid(target.as_str())?;
    let starts = forks.iter().map(|fork| repo.oid(fork.as_str())).collect::<Result<Vec<_>, _>>()?;
    let mut dated = Vec::with_capacity(starts.len());
    for start in &starts {
        dated.push((commits.get(*start)?.time, *start));
    }
    let Some((_, oldest)) = dated.into_iter().min() else { return Ok(HashMap::new()) };
    let region = Region::walk(commits, &[target], oldest)?;
    let leading = region.leading_to(oldest);
    let reached = region.reach(&starts);
    let mut found = HashMap::with_capacity(forks.len());
    for (fork, (start, (reached, _))) in forks.iter().zip(starts.iter().zip(reached)) {
        // Only what has the whole history of the oldest has everything outside the region. A
        // fork on another line, or one whose clock was wrong, is counted by itself.
        let behind = if *start == oldest || leading.contains(&Key::from(*start)) {
            region.order.len() - reached
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
