//! Session records on disk.
//!
//! Records are written only under their thread's lock, and read by anybody. An ended record
//! is written to `ended/` before it leaves `agents/`, so a reader that looks at `agents/`
//! first and `ended/` second finds every session in at least one; of two, the ended counts.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::liveness::Presence;
use super::record::VERSION;
use super::renewal;
use super::session::{Heartbeat, Session};
use crate::names::SessionId;
use crate::platform;
use crate::store::atomic_file::{self, Durability, no_follow};
use crate::store::{Layout, StoreError};

const WHAT: &str = "session record";

/// How long after a pruning the next one is.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The records of one repository.
#[derive(Debug, Clone)]
pub struct Registry {
    layout: Layout,
    durability: Durability,
}

impl Registry {
    /// The records below `layout`.
    #[must_use]
    pub fn new(layout: Layout, durability: Durability) -> Self {
        Self { layout, durability }
    }

    /// Reads a session, ended or not.
    ///
    /// # Errors
    /// [`StoreError`] if its record is there and cannot be understood.
    pub fn read(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.unless_ended(id, self.read_live(id).map(|live| Some(live?.0)))
    }

    /// As [`Self::read`], and whether a command acts for the session: one look at the file that
    /// tells, as the lease is in it too.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_present(&self, id: &SessionId) -> Result<Option<(Session, Presence)>, StoreError> {
        let live = self.read_live(id);
        let presence = match &live {
            Ok(Some((_, file))) => presence_by(file),
            Ok(None) | Err(_) => Presence::Free,
        };
        let session = self.unless_ended(id, live.map(|live| Some(live?.0)))?;
        Ok(session.map(|session| (session, presence)))
    }

    /// What has ended where both are there, and else what is `live`, which was read before.
    fn unless_ended(
        &self,
        id: &SessionId,
        live: Result<Option<Session>, StoreError>,
    ) -> Result<Option<Session>, StoreError> {
        let path = self.layout.ended_session(id);
        if atomic_file::is_absent(&path) {
            return live;
        }
        match read_at(&path, id)? {
            Some(ended) if ended.is_active() => {
                Err(damaged(path, "it lies among the ended ones, and is active".to_owned()))
            }
            Some(ended) => Ok(Some(ended)),
            None => live,
        }
    }

    /// Reads a session that has not ended: one file, for the common case.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_live_first(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        match self.read_live(id)? {
            Some((live, _)) if !self.layout.ended_session(id).exists() => Ok(Some(live)),
            _ => self.read(id),
        }
    }

    /// Reads the record of a session that has not ended, with the lease as renewed since, and
    /// opens the file in which that is.
    fn read_live(&self, id: &SessionId) -> Result<Option<(Session, io::Result<File>)>, StoreError> {
        let Some(mut session) = read_at(&self.layout.session(id), id)? else { return Ok(None) };
        let file = self.open_live(id);
        if let Ok(file) = &file {
            renewal::apply(file, &mut session);
        }
        Ok(Some((session, file)))
    }

    fn open_live(&self, id: &SessionId) -> io::Result<File> {
        let path = self.layout.live(id);
        // Most sessions have none.
        if atomic_file::is_absent(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        no_follow().read(true).open(path)
    }

    /// Renews the lease of `session`, as it was read, and nothing else of it: not synced, see
    /// `renewal`. False where that cannot be noted beside its record. Under the thread's
    /// lock only.
    #[must_use]
    pub fn renew(&self, session: &Session, heartbeat: &Heartbeat) -> bool {
        renewal::write(&self.layout.live(&session.session_id), session, heartbeat).is_ok()
    }

    /// Writes a live session's record. Under the thread's lock only.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&self, session: &Session) -> Result<(), StoreError> {
        let path = self.layout.session(&session.session_id);
        atomic_file::replace(&path, &atomic_file::to_bytes(WHAT, &path, session)?, self.durability)
    }

    /// Moves a session to its final state. Under the thread's lock only; may be repeated.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn end(&self, session: &Session) -> Result<(), StoreError> {
        let path = self.layout.ended_session(&session.session_id);
        atomic_file::replace(&path, &atomic_file::to_bytes(WHAT, &path, session)?, self.durability)?;
        self.forget_live(&session.session_id)
    }

    /// Removes what a live session has on disk. Under the thread's lock only.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn forget_live(&self, id: &SessionId) -> Result<(), StoreError> {
        let record = self.layout.session(id);
        atomic_file::remove(&record)?;
        atomic_file::remove(&atomic_file::sibling(&record))?;
        atomic_file::remove(&self.layout.live(id))
    }

    /// Whether a command acts for the session right now. On a file system that keeps no locks
    /// nobody can hold one.
    #[must_use]
    pub fn presence(&self, id: &SessionId) -> Presence {
        presence_by(&self.open_live(id))
    }

    /// Marks this process as acting for the session for as long as the value lives. Where
    /// that cannot be done (a read-only repository), the lease alone speaks for it.
    #[must_use]
    pub fn hold_present(&self, id: &SessionId, create: bool) -> Option<File> {
        let file = no_follow().read(true).write(true).create(create).open(self.layout.live(id)).ok()?;
        platform::hold_present(&file).ok()?;
        Some(file)
    }

    /// The ids of the sessions that have not ended, by their files' names.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn live_ids(&self) -> Result<Vec<SessionId>, StoreError> {
        ids_in(&self.layout.agents())
    }

    /// The ids of the sessions that have ended and were not pruned.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn ended_ids(&self) -> Result<Vec<SessionId>, StoreError> {
        ids_in(&self.layout.ended())
    }

    /// Removes finished sessions that ended longer ago than `retention`, at most once a
    /// day, so that the cost of ending a session does not grow with those that ended.
    pub fn prune(&self, retention: Duration, now: SystemTime) {
        let before = |then: SystemTime, than| now.duration_since(then).is_ok_and(|age| age > than);
        let older = |path: &Path, than: Duration| {
            let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
            modified.is_ok_and(|modified| before(modified, than))
        };
        // What began within the time has ended within it, so its file is not looked at.
        let may_be_old = |id: &SessionId| {
            let began = id.unix_millis().map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            began.is_none_or(|began| before(began, retention))
        };
        let marker = self.layout.pruned();
        if marker.exists() && !older(&marker, DAY) {
            return;
        }
        // The marker first: of many processes that come by, few then walk the folder.
        let marked = no_follow().write(true).create(true).truncate(true).open(&marker);
        match marked.and_then(|file| file.set_modified(now)) {
            // It is another user's, and was emptied just now.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !older(&marker, DAY) => {}
            Err(_) => return,
            Ok(()) => {}
        }
        for id in self.ended_ids().unwrap_or_default().iter().filter(|id| may_be_old(id)) {
            let path = self.layout.ended_session(id);
            if older(&path, retention) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Whether a command acts for the session whose `.live` this is.
fn presence_by(live: &io::Result<File>) -> Presence {
    match live {
        Ok(file) if platform::is_present(file).unwrap_or(false) => Presence::Held,
        Ok(_) => Presence::Free,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Free,
        Err(_) => Presence::Unknown,
    }
}

/// The session ids that have a record in `folder`, oldest first.
fn ids_in(folder: &Path) -> Result<Vec<SessionId>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let mut ids: Vec<SessionId> = entries
        .flatten()
        .filter_map(|entry| SessionId::parse(entry.file_name().to_str()?.strip_suffix(".json")?).ok())
        .collect();
    ids.sort();
    Ok(ids)
}

/// Reads the record at `path`, which is that of the session `id`.
fn read_at(path: &Path, id: &SessionId) -> Result<Option<Session>, StoreError> {
    let session: Option<Session> = atomic_file::read_record(WHAT, path, VERSION)?;
    match session {
        Some(session) if session.session_id != *id => {
            Err(damaged(path.to_owned(), format!("it is the record of session '{}'", session.session_id)))
        }
        session => Ok(session),
    }
}

fn damaged(path: PathBuf, reason: String) -> StoreError {
    StoreError::Damaged { what: WHAT, path, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_long_ago_goes_once_a_day() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::new(folder.path());
        std::fs::create_dir_all(layout.ended()).expect("folder");
        let (day, retention) = (Duration::from_secs(24 * 3600), Duration::from_secs(7 * 24 * 3600));
        let now = SystemTime::now();
        // The session that began, and ended, so many days ago.
        let put = |began: u32, ended: u32| {
            let millis = (now - day * began).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            let id = SessionId::new(u64::try_from(millis.as_millis()).expect("this age"), [1; 10]);
            let path = layout.ended_session(&id);
            let file = File::create(&path).expect("file");
            file.set_modified(now - day * ended).expect("time");
            path
        };
        let (young, late, old) = (put(1, 0), put(9, 6), put(9 + 1, 9));
        let foreign = layout.ended().join("heddle-1.json");
        File::create(&foreign).and_then(|file| file.set_modified(now - day * 8)).expect("file");
        let registry = Registry::new(layout.clone(), Durability::ProcessDeath);
        registry.prune(retention, now);
        let there = |path: &Path| path.exists();
        assert_eq!([young, late, old, foreign].map(|path| there(&path)), [true, true, false, false]);

        let old = put(10, 9);
        registry.prune(retention, now + day / 2);
        assert!(old.exists(), "not before a day has passed");
        registry.prune(retention, now + day * 2);
        assert!(!old.exists());
    }
}
