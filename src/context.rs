//! What every operation stands on: the repository, its settings, where state lies, and the
//! outside world.

use std::time::Duration;

use crate::git::{GitError, Repo};
use crate::platform::Platform;
use crate::session::registry::Registry;
use crate::settings::Settings;
use crate::store::Layout;
use crate::store::atomic_file::Durability;

/// The ground of an operation.
pub struct Context<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Its settings.
    pub settings: Settings,
    /// Where state lies.
    pub layout: Layout,
    /// The session records.
    pub registry: Registry,
    /// The outside world.
    pub platform: &'a dyn Platform,
    /// What we are doing, for those who wait: "agent capture".
    pub command: &'static str,
}

impl<'a> Context<'a> {
    /// The ground for `command` in `repo`.
    ///
    /// # Errors
    /// [`GitError::BadConfig`].
    pub fn new(repo: &'a Repo, platform: &'a dyn Platform, command: &'static str) -> Result<Self, GitError> {
        let settings = Settings::read(repo.config()?)?;
        crate::git::program::wait_for_refs(settings.lock_timeout);
        let layout = Layout::new(repo.common_dir());
        let durability = durability(&settings);
        let registry = Registry::new(layout.clone(), durability);
        Ok(Self { repo, settings, layout, registry, platform, command })
    }

    /// How far writes promise to survive.
    #[must_use]
    pub fn durability(&self) -> Durability {
        durability(&self.settings)
    }

    /// How long to wait for a lock.
    #[must_use]
    pub fn lock_timeout(&self) -> Duration {
        self.settings.lock_timeout
    }

    /// A new id for an operation: sortable by time.
    ///
    /// # Errors
    /// When the system has no secure randomness.
    pub fn operation_id(&self) -> std::io::Result<String> {
        Ok(self.new_session_id()?.as_str().replacen("agent-", "op-", 1))
    }

    /// A new session id.
    ///
    /// # Errors
    /// When the system has no secure randomness.
    pub fn new_session_id(&self) -> std::io::Result<crate::names::SessionId> {
        let mut random = [0u8; 10];
        self.platform.random(&mut random)?;
        let millis = u64::try_from(self.platform.now().wall.timestamp_millis()).unwrap_or(0);
        Ok(crate::names::SessionId::new(millis, random))
    }
}

fn durability(settings: &Settings) -> Durability {
    if settings.fsync { Durability::PowerLoss } else { Durability::ProcessDeath }
}
