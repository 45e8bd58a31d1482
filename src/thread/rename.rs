//! Another name for a thread: the locks of both names, and what a crash between them comes to.
//!
//! Everything that a thread has goes along: tip and ready mark with their reflogs, the record,
//! the owner's session, the bindings of its worktrees. Under the old name a record stays that
//! keeps the generation and says what the thread is called now. Under the new name the
//! generation is that of the thread, or one more than whatever was used there before, so that
//! under no name a generation is given out twice, and along a thread's history none is ever
//! followed by a lower one, whatever it was called. The owner's session gets that generation
//! too: whoever read it before, and was stopped, finds another number or another name under
//! the lock, and moves nothing.
//!
//! # If the process dies here
//! The journal of the new name has the operation; it is written before the one of the old
//! name, which only points to it, and removed after it. So while the pointer is there, the
//! operation is there too, and nobody writes to either name before it was recovered. Without
//! the pointer the operation has not begun or is whole, and there is nothing to do but to
//! remove what tells of it.
//!
//! The order is: the refs under the new name, with their reflogs; the new name's record, which
//! is the commit point; the session, the bindings, the old name's record; the refs under the
//! old name. Before the commit point the operation is undone: the new refs go, if nobody has
//! moved them. After it, the rest is done. The refs under the new name are never removed
//! unless the tip under the old one is there.
//!
//! # If another does the same now
//! Both locks are taken in the byte order of their keys, by the operation and by whoever
//! recovers it, so that two of them never wait for each other. Git's own locks on the tips
//! under both names are held over the commit point, as over every change of owner.

use super::locked::{Owner, acquire, owner_of};
use super::owned::rfc3339;
use super::record::{FormerName, ThreadRecord};
use super::recover;
use crate::context::Context;
use crate::error::Error;
use crate::git::GitError;
use crate::git::refs::{Change, Expected, Intent, LockedRef};
use crate::names::{CommitId, Generation, SessionId, ThreadName};
use crate::session::binding::Binding;
use crate::store::events::{self, Event};
use crate::store::journal::{self, Action, Entry, FileIdentity, Found, RefMove};
use crate::store::lock::FileLock;
use crate::store::{Layout, StoreError, atomic_file};

/// The locks of two names, both recovered, with their records read.
#[must_use = "the locks are released when this value is dropped"]
pub struct LockedPair<'a> {
    context: &'a Context<'a>,
    from: ThreadName,
    to: ThreadName,
    from_record: Option<ThreadRecord>,
    to_record: Option<ThreadRecord>,
    _locks: Locks,
}

/// Both locks. The one taken last is given back first: each puts back what it found.
struct Locks {
    _second: FileLock,
    _first: FileLock,
}

impl Locks {
    fn take(context: &Context<'_>, a: &ThreadName, b: &ThreadName) -> Result<Self, StoreError> {
        let (first, second) = if a.key() <= b.key() { (a, b) } else { (b, a) };
        let first = acquire(context, first)?;
        Ok(Self { _second: acquire(context, second)?, _first: first })
    }
}

/// A thread that has got another name.
#[derive(Debug, Clone)]
pub struct Renamed {
    /// Its tip.
    pub tip: CommitId,
    /// Its generation under the new name.
    pub generation: Generation,
    /// Its owner, who goes on.
    pub session: Option<SessionId>,
    /// What was left behind, and why: one sentence each.
    pub warnings: Vec<String>,
}

/// What an operation says of itself, as its journal has it.
struct Operation<'e> {
    id: &'e str,
    from: &'e ThreadName,
    to: &'e ThreadName,
    session: Option<&'e SessionId>,
    generation: Generation,
    former_generation: Generation,
    tip: &'e RefMove,
    mark: Option<&'e RefMove>,
    /// Git's own locks that it holds.
    locks: Vec<(String, FileIdentity)>,
}

impl<'e> Operation<'e> {
    /// The operation in a journal of `to`; `None` if it is another kind.
    fn of(entry: &'e Entry, to: &'e ThreadName) -> Option<Self> {
        match &entry.action {
            Action::Rename { from, session, generation, former_generation, tip, mark, .. } => Some(Self {
                id: &entry.operation,
                from,
                to,
                session: session.as_ref(),
                generation: *generation,
                former_generation: *former_generation,
                tip,
                mark: mark.as_ref(),
                locks: entry.action.locks(to),
            }),
            _ => None,
        }
    }
}

/// The other name of a rename, if that is what is in a journal.
pub(super) fn other_name(journal: &Found) -> Option<&ThreadName> {
    let Found::Operation(entry) = journal else { return None };
    match &entry.action {
        Action::Rename { from, .. } => Some(from),
        Action::RenameAway { to } => Some(to),
        _ => None,
    }
}

/// Finishes or undoes the rename between two names, in either direction, if there is one.
/// Takes both locks; the caller holds neither.
pub(super) fn recover(context: &Context<'_>, a: &ThreadName, b: &ThreadName) -> Result<(), Error> {
    let _locks = Locks::take(context, a, b)?;
    recover_locked(context, a, b)?;
    recover_locked(context, b, a)
}

/// Finishes or undoes the rename of `from` to `to`, if that is what the journals say. Under
/// both locks.
fn recover_locked(context: &Context<'_>, from: &ThreadName, to: &ThreadName) -> Result<(), Error> {
    let layout = &context.layout;
    let pointer = match journal::read(layout, from)? {
        Found::Operation(entry) => match &entry.action {
            Action::RenameAway { to: other } if other == to => Some(entry.operation),
            _ => None,
        },
        // Of whatever operation: it has not begun.
        Found::CutShort => {
            atomic_file::remove(&layout.journal(from))?;
            None
        }
        Found::Nothing => None,
    };
    let entry = match journal::read(layout, to)? {
        Found::Operation(entry) => Some(entry),
        Found::Nothing | Found::CutShort => None,
    };
    let operation = entry.as_ref().and_then(|entry| Operation::of(entry, to));
    let Some(operation) = operation.filter(|operation| operation.from == from) else {
        // The operation is removed last, so a pointer to none is left of nothing.
        if pointer.is_some() {
            atomic_file::remove(&layout.journal(from))?;
        }
        return Ok(());
    };
    recover::unlock(context, &operation.locks)?;
    atomic_file::remove(&layout.staged_log(to))?;
    if pointer.as_deref() == Some(operation.id) {
        for record in [layout.thread(from), layout.thread(to)] {
            atomic_file::remove(&atomic_file::sibling(&record))?;
        }
        if is_committed(context, &operation)? {
            finish(context, &operation, None)?;
        } else {
            for made in operation.mark.into_iter().chain([operation.tip]) {
                recover::undo_creation(context, made)?;
            }
        }
        atomic_file::remove(&layout.journal(from))?;
    }
    Ok(atomic_file::remove(&layout.journal(to))?)
}

/// Whether the operation came to its commit point. Where the tip under the old name is gone,
/// what is under the new one is all there is, whatever became of the record.
fn is_committed(context: &Context<'_>, operation: &Operation<'_>) -> Result<bool, Error> {
    Ok(is_recorded(context, operation)? || context.repo.read_ref(&operation.from.tip_ref())?.is_none())
}

/// Whether the record under the new name is that of the operation.
fn is_recorded(context: &Context<'_>, operation: &Operation<'_>) -> Result<bool, StoreError> {
    let record = ThreadRecord::read(&context.layout, operation.to)?;
    let last = record.as_ref().and_then(|record| record.former.last());
    Ok(last.is_some_and(|last| last.operation == operation.id))
}

/// Everything from the commit point on; every step may be repeated. `from_lock` is Git's lock
/// on the tip under the old name, if it is still held. What was left behind, in sentences.
fn finish(
    context: &Context<'_>,
    operation: &Operation<'_>,
    from_lock: Option<LockedRef<'_>>,
) -> Result<Vec<String>, Error> {
    let (layout, durability) = (&context.layout, context.durability());
    let Operation { from, to, .. } = *operation;
    if !is_recorded(context, operation)? {
        record_of(operation, ThreadRecord::read(layout, from)?.as_ref()).write(layout, durability)?;
    }
    if let Some(id) = operation.session {
        atomic_file::remove(&atomic_file::sibling(&layout.session(id)))?;
        if let Some(mut session) = context.registry.read(id)?.filter(crate::session::Session::is_active) {
            session.thread = to.clone();
            session.generation = operation.generation;
            context.registry.write(&session)?;
        }
    }
    let linked = context.repo.linked_worktrees().into_iter().map(|linked| linked.git_dir);
    for git_dir in std::iter::once(context.repo.common_dir().to_owned()).chain(linked) {
        // One that cannot be understood is no binding of this thread's, as far as we know.
        let Ok(Some(binding)) = Binding::read(&git_dir) else { continue };
        if binding.thread == *from {
            atomic_file::remove(&atomic_file::sibling(&Layout::binding(&git_dir)))?;
            Binding { thread: to.clone(), ..binding }.write(&git_dir, durability)?;
        }
    }
    let left = ThreadRecord::new(from.clone(), operation.former_generation, None);
    ThreadRecord { renamed_to: Some(to.clone()), ..left }.write(layout, durability)?;
    // Git's own program takes the lock itself.
    drop(from_lock);
    let mut warnings = Vec::new();
    let mut changes = Vec::new();
    match context.repo.read_ref(&from.tip_ref())? {
        Some(tip) if tip == operation.tip.new => {
            let name = from.tip_ref();
            changes.push(Change { name, from: Expected::Exactly(tip), to: None });
        }
        Some(tip) => warnings.push(format!(
            "ref '{}' was moved to {} by another program and was left there",
            from.tip_ref(),
            tip.short()
        )),
        None => {}
    }
    if let Some(mark) = context.repo.read_ref(&from.ready_ref())? {
        changes.push(Change { name: from.ready_ref(), from: Expected::Exactly(mark), to: None });
    }
    if !changes.is_empty() {
        context.repo.change_refs(&changes, &message(from, to))?;
    }
    tell(context, operation);
    Ok(warnings)
}

/// The record under the new name: that of the old one, but for name and generation.
fn record_of(operation: &Operation<'_>, before: Option<&ThreadRecord>) -> ThreadRecord {
    let new = ThreadRecord::new(operation.to.clone(), operation.generation, operation.session.cloned());
    let Some(before) = before else { return ThreadRecord { former: vec![former(operation)], ..new } };
    let mut kept = before.clone();
    kept.former.push(former(operation));
    let ThreadRecord { thread, generation, owner, .. } = new;
    ThreadRecord { thread, generation, owner, renamed_to: None, ..kept }
}

fn former(operation: &Operation<'_>) -> FormerName {
    FormerName { thread: operation.from.clone(), operation: operation.id.to_owned() }
}

fn message(from: &ThreadName, to: &ThreadName) -> String {
    format!("heddle: rename {from} to {to}")
}

fn tell(context: &Context<'_>, operation: &Operation<'_>) {
    let event = Event {
        id: operation.id.to_owned(),
        at: rfc3339(context.platform.now().wall),
        event: "renamed".to_owned(),
        thread: operation.to.as_str().to_owned(),
        session: operation.session.map_or_else(String::new, |id| id.as_str().to_owned()),
        generation: Some(operation.generation.get()),
        commit: Some(operation.tip.new.as_str().to_owned()),
        status: Some(format!("from {}", operation.from)),
    };
    events::append(&context.layout.events(), &event);
}

impl<'a> LockedPair<'a> {
    /// Takes the locks of both names, with whatever dead processes left half done under them
    /// finished or undone.
    ///
    /// # Errors
    /// As [`super::LockedThread::take`].
    pub fn take(context: &'a Context<'a>, from: &ThreadName, to: &ThreadName) -> Result<Self, Error> {
        loop {
            let locks = Locks::take(context, from, to)?;
            let mut unfinished = None;
            for name in [from, to] {
                if let Some(other) = other_name(&journal::read(&context.layout, name)?).cloned() {
                    unfinished = Some((name, other));
                }
            }
            if let Some((name, other)) = unfinished {
                // Its other name may be a third one, whose turn comes before these.
                drop(locks);
                recover(context, name, &other)?;
                continue;
            }
            recover::recover(context, from)?;
            recover::recover(context, to)?;
            return Ok(Self {
                context,
                from: from.clone(),
                to: to.clone(),
                from_record: ThreadRecord::read(&context.layout, from)?,
                to_record: ThreadRecord::read(&context.layout, to)?,
                _locks: locks,
            });
        }
    }

    /// The record under the old name.
    #[must_use]
    pub fn record(&self) -> Option<&ThreadRecord> {
        self.from_record.as_ref()
    }

    /// The thread's owner.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        owner_of(self.context, self.from_record.as_ref())
    }

    /// The owner under the new name, of a thread whose ref is gone.
    #[must_use]
    pub fn owner_of_the_new_name(&self) -> Option<Owner> {
        owner_of(self.context, self.to_record.as_ref())
    }

    /// Renames the thread. Its owner, if it has one, goes along.
    ///
    /// # Errors
    /// [`GitError::RefMoved`] if the old name has no tip or the new one has; nothing is then
    /// changed.
    pub fn rename(self) -> Result<Renamed, Error> {
        let (context, repo) = (self.context, self.context.repo);
        let timeout = context.lock_timeout();
        for name in [self.to.tip_ref(), self.to.ready_ref()] {
            repo.make_ref_folders(&name);
        }
        let (name, to_name, mark_name) = (self.from.tip_ref(), self.to.tip_ref(), self.to.ready_ref());
        let Some(tip) = repo.read_ref(&name)? else {
            return Err(GitError::RefMoved { name, expected: None, actual: None }.into());
        };
        let mark = repo.read_ref(&self.from.ready_ref())?;
        let message = message(&self.from, &self.to);
        let moved = |to| Intent::Move { to, message: message.as_str() };
        let wanted = [(name.as_str(), Intent::Compare), (&to_name, moved(&tip))];
        let (from_lock, to_lock, mark_lock) = if let Some(mark) = &mark {
            let [from, to] = wanted;
            let [from, to, mark] = repo.lock_refs([from, to, (&mark_name, moved(mark))], timeout)?;
            (from, to, Some(mark))
        } else {
            let [from, to] = repo.lock_refs(wanted, timeout)?;
            (from, to, None)
        };
        from_lock.check(&Expected::Exactly(tip.clone()))?;
        to_lock.check(&Expected::Absent)?;
        if let Some(lock) = &mark_lock {
            lock.check(&Expected::Absent)?;
        }
        let former_generation = match &self.from_record {
            Some(record) => record.generation,
            // The record was lost, or the thread came from elsewhere.
            None => repo.generation_in_trailers(&tip)?.unwrap_or(Generation::FIRST),
        };
        let used = self.to_record.as_ref().map(|record| record.generation);
        let generation = match used {
            Some(used) => former_generation.max(Generation::after(Some(used))?),
            None => former_generation,
        };
        let created = |lock: &LockedRef<'_>, new: &CommitId| RefMove {
            name: lock.name().to_owned(),
            old: None,
            new: new.clone(),
            lock: lock.identity(),
        };
        let entry = Entry {
            version: journal::VERSION,
            operation: context.operation_id().map_err(Error::Randomness)?,
            action: Action::Rename {
                from: self.from.clone(),
                session: self.owner().map(|owner| owner.id),
                generation,
                former_generation,
                tip: created(&to_lock, &tip),
                mark: mark.as_ref().zip(mark_lock.as_ref()).map(|(mark, lock)| created(lock, mark)),
                from_lock: from_lock.identity(),
            },
        };
        let pointer = Entry { action: Action::RenameAway { to: self.to.clone() }, ..entry.clone() };
        let layout = &context.layout;
        journal::begin(&layout.journal(&self.to), &entry, context.durability())?;
        if let Err(error) = journal::begin(&layout.journal(&self.from), &pointer, context.durability()) {
            drop((from_lock, to_lock, mark_lock));
            atomic_file::remove(&layout.journal(&self.to))?;
            return Err(error.into());
        }
        let Some(operation) = Operation::of(&entry, &self.to) else { unreachable!("it was just made") };
        let marked = mark_lock.zip(mark.as_ref());
        // What fails last is the sync of a folder, and then the record says so to everybody.
        if let Err(error) = self.commit(&operation, to_lock, marked)
            && !is_recorded(context, &operation).unwrap_or(false)
        {
            drop(from_lock);
            // As if we had died here: what a successor would do, we do ourselves.
            let _ = recover_locked(context, &self.from, &self.to);
            return Err(error);
        }
        let session = operation.session.cloned();
        let mut renamed = Renamed { tip: tip.clone(), generation, session, warnings: Vec::new() };
        // The thread has its new name: nothing after it fails the command. Where a write fails
        // the journals stay, and the next command on either name finishes.
        match finish(context, &operation, Some(from_lock)) {
            Ok(warnings) => {
                renamed.warnings = warnings;
                let _ = self.settle(&operation);
            }
            Err(error) => {
                renamed.warnings.push(format!("the next command has to finish the rename: {error}"))
            }
        }
        Ok(renamed)
    }

    /// Removes the journals: the operation is whole, and Git's locks were given back. One that
    /// could not be removed keeps the journals, which alone prove whose it is.
    fn settle(&self, operation: &Operation<'_>) -> Result<(), Error> {
        let layout = &self.context.layout;
        recover::unlock(self.context, &operation.locks)?;
        atomic_file::remove(&layout.journal(&self.from))?;
        Ok(atomic_file::remove(&layout.journal(&self.to))?)
    }

    /// Everything up to the commit point, which is the last write here.
    fn commit(
        &self,
        operation: &Operation<'_>,
        to_lock: LockedRef<'_>,
        marked: Option<(LockedRef<'_>, &CommitId)>,
    ) -> Result<(), Error> {
        self.create(to_lock, &self.from.tip_ref(), &operation.tip.new)?;
        if let Some((lock, mark)) = marked {
            self.create(lock, &self.from.ready_ref(), mark)?;
        }
        let record = record_of(operation, self.from_record.as_ref());
        Ok(record.write(&self.context.layout, self.context.durability())?)
    }

    /// Makes a ref under the new name with the reflog that `former` has.
    fn create(&self, new: LockedRef<'_>, former: &str, commit: &CommitId) -> Result<(), Error> {
        let (layout, durability) = (&self.context.layout, self.context.durability());
        let name = new.name().to_owned();
        let Some(files) = self.context.repo.files_of(&name) else {
            // Nothing but Git writes the log there, and it begins with this line.
            return Ok(new.create_without_log(commit)?);
        };
        let log = self.context.repo.continued_log(former, commit, &message(&self.from, &self.to))?;
        new.create_without_log(commit)?;
        let staged = layout.staged_log(&self.to);
        let write = || atomic_file::replace_by_way_of(&staged, &files.log, &log, durability);
        Ok(self.context.repo.put_log(&name, write)?)
    }
}
