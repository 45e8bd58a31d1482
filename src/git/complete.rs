//! Whether all is here that trees need, and trees are as Git writes them.
//!
//! Each tree is looked at beside one that is taken for complete, along what differs. Many are
//! looked at by as many workers as the machine can run at once. What is found comes in the order of
//! the trees, whoever found it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use super::diff::parsed;
use super::key::Key;
use super::objects::{Objects, Reader};
use super::tree_form;
use super::workers::shared_out;

/// A tree, and the one that it is looked at beside, if there is one.
type Job = (git2::Oid, Option<git2::Oid>);

/// What keeps a tree from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It needs an object, its kind and id, that is not here.
    Missing(String),
    /// It needs a tree, its kind and id, that is here and cannot be read as one.
    Damaged(String),
    /// It, or one below it, is not as Git writes trees, in words that go on from "its tree".
    Malformed(String),
}

/// How many of the trees that others are looked at beside are kept.
const KEPT: usize = 512;

/// What is first found wrong with each of `jobs`. `tick` hears how many are done.
pub(super) fn flaws(objects: &Objects<'_>, jobs: &[Job], tick: &mut dyn FnMut(usize)) -> Vec<Option<Flaw>> {
    let reader = |worker| (objects.reader(worker), HashMap::new());
    let one = |(odb, kept): &mut (Reader<'_>, HashMap<_, _>), job: &Job| Look { odb, kept }.flaw(*job);
    shared_out(jobs, reader, one, tick)
}

struct Look<'a> {
    odb: &'a git2::Odb<'a>,
    /// Trees that were looked at beside, as many start from the same; `None` if it is not here.
    kept: &'a mut HashMap<Key, Option<Rc<[u8]>>>,
}

impl Look<'_> {
    fn flaw(&mut self, job: Job) -> Option<Flaw> {
        let odb = self.odb;
        let mut trees = vec![job];
        while let Some((id, beside)) = trees.pop() {
            if Some(id) == beside {
                continue;
            }
            let tree = odb.read(id).ok().filter(|object| object.kind() == git2::ObjectType::Tree);
            let Some(entries) = tree.as_ref().and_then(|tree| parsed(tree.data(), id.as_bytes().len()))
            else {
                let flaw = if odb.exists(id) { Flaw::Damaged } else { Flaw::Missing };
                return Some(flaw(format!("tree {id}")));
            };
            if let Some(fault) = tree_form::fault(&entries) {
                return Some(Flaw::Malformed(fault));
            }
            let beside = beside.and_then(|beside| self.beside(beside));
            let known =
                beside.as_deref().and_then(|tree| parsed(tree, id.as_bytes().len())).unwrap_or_default();
            let mut known = known.iter().peekable();
            for entry in &entries {
                while known.next_if(|known| known.order(entry) == Ordering::Less).is_some() {}
                let before = known.next_if(|known| known.order(entry) == Ordering::Equal);
                let before = before.map(|before| before.id);
                match () {
                    () if before == Some(entry.id) => {}
                    () if entry.is_tree() => trees.push((entry.id, before)),
                    // The commit of a submodule lies in another repository.
                    () if entry.is_submodule() || odb.exists(entry.id) => {}
                    () => return Some(Flaw::Missing(format!("blob {}", entry.id))),
                }
            }
        }
        None
    }

    fn beside(&mut self, tree: git2::Oid) -> Option<Rc<[u8]>> {
        if let Some(kept) = self.kept.get(&tree.into()) {
            return kept.clone();
        }
        if self.kept.len() == KEPT {
            self.kept.clear();
        }
        let data = self.odb.read(tree).ok().map(|object| object.data().into());
        self.kept.insert(tree.into(), data.clone());
        data
    }
}
