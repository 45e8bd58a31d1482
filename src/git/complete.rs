//! Whether all is here that trees need.
//!
//! Each tree is looked at beside one that is taken for complete, along what differs. Many are
//! looked at by as many workers as the machine can run at once; libgit2's objects may be read
//! by all of them. What is found comes in the order of the trees, whoever found it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering as Memory};
use std::sync::mpsc;
use std::thread;

use super::diff::parsed;
use super::key::Key;

/// A tree, and the one that it is looked at beside, if there is one.
type Job = (git2::Oid, Option<git2::Oid>);

/// For how many trees another worker is worth its start.
const WORTH_A_WORKER: usize = 32;

/// How many of the trees that others are looked at beside are kept.
const KEPT: usize = 512;

/// For each of `jobs` an object that is needed and not here. `tick` hears how many are done.
pub(super) fn missing(odb: &git2::Odb<'_>, jobs: &[Job], tick: &mut dyn FnMut(usize)) -> Vec<Option<String>> {
    let able = thread::available_parallelism().map_or(1, usize::from);
    let workers = able.min(jobs.len().div_ceil(WORTH_A_WORKER));
    let mut found = vec![None; jobs.len()];
    if workers < 2 {
        let mut look = Look { odb, kept: HashMap::new() };
        for (at, job) in jobs.iter().enumerate() {
            found[at] = look.missing(*job);
            tick(at + 1);
        }
        return found;
    }
    let next = AtomicUsize::new(0);
    let work = |tell: mpsc::Sender<(usize, Option<String>)>| {
        let mut look = Look { odb, kept: HashMap::new() };
        loop {
            let at = next.fetch_add(1, Memory::Relaxed);
            let Some(job) = jobs.get(at) else { break };
            if tell.send((at, look.missing(*job))).is_err() {
                break;
            }
        }
    };
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let start = |_: &usize| {
            let tell = tell.clone();
            thread::Builder::new().spawn_scoped(scope, || work(tell)).is_ok()
        };
        // Where there may be no other thread of execution, this one does it.
        if (0..workers).filter(start).count() == 0 {
            work(tell);
        } else {
            drop(tell);
        }
        for (done, (at, missing)) in told.into_iter().enumerate() {
            found[at] = missing;
            tick(done + 1);
        }
    });
    found
}

struct Look<'odb> {
    odb: &'odb git2::Odb<'odb>,
    /// Trees that were looked at beside, as many start from the same; `None` if it is not here.
    kept: HashMap<Key, Option<Rc<[u8]>>>,
}

impl Look<'_> {
    fn missing(&mut self, job: Job) -> Option<String> {
        let odb = self.odb;
        let mut trees = vec![job];
        while let Some((id, beside)) = trees.pop() {
            if Some(id) == beside {
                continue;
            }
            let tree = odb.read(id).ok().filter(|object| object.kind() == git2::ObjectType::Tree);
            let Some(entries) = tree.as_ref().and_then(|tree| parsed(tree.data(), id.as_bytes().len()))
            else {
                return Some(format!("tree {id}"));
            };
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
                    () => return Some(format!("blob {}", entry.id)),
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
