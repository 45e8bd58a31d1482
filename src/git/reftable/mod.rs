//! Refs in the reftable format, which libgit2 does not know.
//!
//! Reading is done here, from the tables themselves: a ref costs a lookup and no process, as in
//! an ordinary repository. Everything that writes is the git program's ([`held`]): it makes
//! tables, merges them and keeps the reflogs in them.
//!
//! # If another writes at this moment
//! A table never changes; `tables.list` says which count, and is replaced as a whole. Who reads
//! it and finds that one of them is gone (merged into another) reads it again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::backend::Value;
use super::{GitError, Repo};
use crate::names::CommitId;
use table::Table;

pub(in crate::git) mod held;
mod store;
mod table;

/// The refs of a repository.
pub(in crate::git) struct Reftable {
    /// Those that all worktrees share.
    common: Stack,
    /// Those of this linked worktree.
    own: Option<Stack>,
    id_size: usize,
}

/// Tables that say what counts in the order of their age.
struct Stack {
    folder: PathBuf,
    id_size: usize,
    /// As they were when they were last read, the oldest first.
    open: RefCell<Vec<(String, Rc<Table>)>>,
}

/// Where tables lie in a Git directory.
const FOLDER: &str = "reftable";
/// How often the list of tables is read again where one of them is gone.
const TRIES: usize = 200;

impl Reftable {
    /// The refs of the repository with these Git directories, whose object ids have `id_size`
    /// bytes.
    pub(in crate::git) fn new(git_dir: &Path, common_dir: &Path, id_size: usize) -> Self {
        let stack = |folder: &Path| Stack::new(folder, id_size);
        let own = (git_dir != common_dir).then(|| stack(git_dir));
        Self { common: stack(common_dir), own, id_size }
    }

    /// The ref that `name` stands for, symbolic refs followed, with its object.
    pub(in crate::git) fn resolve(&self, name: &str) -> Result<Option<(String, CommitId)>, GitError> {
        let mut name = name.to_owned();
        // As far as Git follows them.
        for _ in 0..5 {
            match self.stack_of(&name).read(&name)? {
                Some(Value::Id(id)) => return Ok(Some((name, id))),
                Some(Value::Symbolic(target)) => name = target,
                Some(Value::Gone) | None => break,
            }
        }
        Ok(None)
    }

    /// The names of refs below `prefix` that are not UTF-8.
    pub(in crate::git) fn illegible_below(&self, prefix: &str) -> Result<Vec<Vec<u8>>, GitError> {
        let names = self.stack_of(prefix).below(prefix)?.into_keys();
        Ok(names.filter(|name| std::str::from_utf8(name).is_err()).collect())
    }

    /// The number of the transaction that wrote the ref `name` last.
    pub(in crate::git) fn moved_by(&self, name: &str) -> Result<Option<u64>, GitError> {
        Ok(self.stack_of(name).find(name)?.map(|(_, count)| count))
    }

    /// Git's own lock on the refs among which `name` is.
    pub(in crate::git) fn lock_of(&self, name: &str) -> PathBuf {
        lock_in(&self.stack_of(name).folder)
    }

    /// Has what the refs among which `name` is are now survive a power cut. Git syncs its list of
    /// tables, but the tables too early (2.47: before their footers), and no folder. What was there
    /// when refs were last read, before the change, was synced by who wrote it.
    pub(in crate::git) fn sync(&self, name: &str) -> Result<(), GitError> {
        let stack = self.stack_of(name);
        let list = stack.folder.join("tables.list");
        let text = fs::read_to_string(&list).map_err(Stack::error(list))?;
        let open = stack.open.borrow();
        let new = text.lines().filter(|name| open.iter().all(|(known, _)| known != name));
        for path in new.map(|name| stack.folder.join(name)).chain([stack.folder.clone()]) {
            match fs::File::open(&path).and_then(|file| file.sync_all()) {
                // Merged into another, which Git made after this one and whose time is to come.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.sync(name),
                synced => {
                    synced.map_err(|source| GitError::Io { action: "sync", path: path.clone(), source })?;
                }
            }
        }
        Ok(())
    }

    /// The refs of the worktree with that Git directory.
    fn stack_in(&self, git_dir: &Path) -> Stack {
        Stack::new(git_dir, self.id_size)
    }

    /// Where the ref is kept: a worktree has its own HEAD, and a few more.
    fn stack_of(&self, name: &str) -> &Stack {
        let own = !name.starts_with("refs/")
            || ["refs/bisect/", "refs/worktree/", "refs/rewritten/"].iter().any(|own| name.starts_with(own));
        self.own.as_ref().filter(|_| own).unwrap_or(&self.common)
    }
}

/// Whether the Git directory `git_dir` keeps refs in this format.
pub(in crate::git) fn is_in(git_dir: &Path) -> bool {
    git_dir.join(FOLDER).is_dir()
}

/// Git's lock on the refs that are kept below the Git directory `git_dir`.
pub(in crate::git) fn lock_below(git_dir: &Path) -> PathBuf {
    lock_in(&git_dir.join(FOLDER))
}

fn lock_in(folder: &Path) -> PathBuf {
    folder.join("tables.list.lock")
}

impl Repo {
    /// Has a change of refs in tables survive a power cut; of files the folders are synced elsewhere.
    /// Where it fails the refs have moved all the same, for everybody.
    pub(in crate::git) fn sync_tables(&self, name: &str) {
        if let Some(refs) = self.reftable().filter(|_| self.is_durable()) {
            let _ = refs.sync(name);
        }
    }
}

impl Stack {
    fn new(git_dir: &Path, id_size: usize) -> Self {
        Self { folder: git_dir.join(FOLDER), id_size, open: RefCell::default() }
    }

    fn error(path: PathBuf) -> impl FnOnce(io::Error) -> GitError {
        move |source| GitError::Io { action: "read", path, source }
    }

    /// The tables that count now, the oldest first.
    fn tables(&self) -> Result<Vec<Rc<Table>>, GitError> {
        let list = self.folder.join("tables.list");
        let mut tries = 0;
        loop {
            let text = match fs::read_to_string(&list) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                text => text.map_err(Self::error(list.clone()))?,
            };
            match self.open(&text) {
                Err((path, error)) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                    drop(path);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err((path, error)) => return Err(Self::error(path)(error)),
                Ok(tables) => return Ok(tables),
            }
        }
    }

    fn open(&self, list: &str) -> Result<Vec<Rc<Table>>, (PathBuf, io::Error)> {
        let mut open = self.open.borrow_mut();
        let mut now = Vec::new();
        for name in list.lines() {
            let known = open.iter().find(|(known, _)| known == name).map(|(_, table)| Rc::clone(table));
            let table = match known {
                Some(table) => table,
                None => {
                    let path = self.folder.join(name);
                    Rc::new(Table::open(&path, self.id_size).map_err(|error| (path, error))?)
                }
            };
            now.push((name.to_owned(), table));
        }
        *open = now;
        Ok(open.iter().map(|(_, table)| Rc::clone(table)).collect())
    }

    fn read(&self, name: &str) -> Result<Option<Value>, GitError> {
        Ok(self.find(name)?.map(|(value, _)| value))
    }

    /// What the ref `name` is, and by which transaction.
    fn find(&self, name: &str) -> Result<Option<(Value, u64)>, GitError> {
        for table in self.tables()?.iter().rev() {
            let mut found = None;
            let looked = table.from(name.as_bytes(), |at, value, count| {
                found = (at == name.as_bytes()).then_some((value, count));
                false
            });
            looked.map_err(Self::error(self.folder.clone()))?;
            match found {
                Some((Value::Gone, _)) => return Ok(None),
                Some(value) => return Ok(Some(value)),
                None => {}
            }
        }
        Ok(None)
    }

    fn below(&self, prefix: &str) -> Result<BTreeMap<Vec<u8>, Value>, GitError> {
        let mut found = BTreeMap::new();
        for table in self.tables()? {
            let looked = table.from(prefix.as_bytes(), |name, value, _| {
                let below = name.starts_with(prefix.as_bytes());
                if below {
                    found.insert(name.to_vec(), value);
                }
                below
            });
            looked.map_err(Self::error(self.folder.clone()))?;
        }
        found.retain(|_, value| *value != Value::Gone);
        Ok(found)
    }
}
