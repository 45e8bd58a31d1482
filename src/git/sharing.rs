//! Who may read and write what is made in a repository: `core.sharedRepository`.
//!
//! Git gives each file that it makes the mode that this asks for. libgit2 knows nothing of the setting,
//! and heddle makes files of its own; so the umask of the process is what says it here, for all of
//! them. That folders belong to the group of the one they are made in is theirs to hand on, as
//! `git init --shared` has them do.

use super::{GitError, Repo};
use crate::platform::umask::{self, Bits};

/// What `core.sharedRepository` asks for, in the bits of a file's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// These as well as what the umask leaves.
    AtLeast(Bits),
    /// These, whatever the umask leaves.
    Exactly(Bits),
}

impl Sharing {
    /// What a value stands for; `None` if nothing is shared, or for what Git refuses.
    fn parse(value: &str) -> Option<Self> {
        const GROUP: Sharing = Sharing::AtLeast(0o660);
        const ALL: Sharing = Sharing::AtLeast(0o664);
        match value {
            "umask" => return None,
            "group" => return Some(GROUP),
            "all" | "world" | "everybody" => return Some(ALL),
            _ => {}
        }
        match Bits::from_str_radix(value, 8) {
            Ok(0) => None,
            // What was written before there were words for it.
            Ok(1) => Some(GROUP),
            Ok(2) => Some(ALL),
            Ok(mode) => (mode & 0o600 == 0o600).then_some(Self::Exactly(mode & 0o666)),
            Err(_) => git2::Config::parse_bool(value).ok()?.then_some(GROUP),
        }
    }

    /// The umask under which things are made so, by somebody whose own is `users`.
    fn mask(self, users: Bits) -> Bits {
        let (Self::AtLeast(file) | Self::Exactly(file)) = self;
        // Who may read a folder may go through it.
        let open = file | (file & 0o444) >> 2;
        match self {
            Self::AtLeast(_) => users & !open,
            Self::Exactly(_) => !open & 0o777,
        }
    }
}

impl Repo {
    /// Has what this process makes from here on be as open to others as the repository asks.
    ///
    /// # Errors
    /// [`GitError`] for configuration that cannot be read.
    pub fn share(&self) -> Result<(), GitError> {
        let value = self.config()?.get("core.sharedRepository")?;
        if let Some(sharing) = value.and_then(|value| Sharing::parse(&value.text)) {
            umask::change(|users| sharing.mask(users));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_mean_what_they_mean_to_git() {
        let masks = |value: &str| Sharing::parse(value).map(|sharing| sharing.mask(0o077));
        for value in ["umask", "false", "no", "0", "00", "0044", "nonsense"] {
            assert_eq!(masks(value), None, "{value}");
        }
        for value in ["group", "true", "yes", "1"] {
            assert_eq!(masks(value), Some(0o007), "{value}");
        }
        for value in ["all", "world", "everybody", "2"] {
            assert_eq!(masks(value), Some(0o002), "{value}");
        }
        assert_eq!(masks("0640"), Some(0o027));
        assert_eq!(masks("0666"), Some(0o000));
        assert_eq!(Sharing::parse("group").map(|sharing| sharing.mask(0o022)), Some(0o002));
        assert_eq!(Sharing::parse("0600").map(|sharing| sharing.mask(0o000)), Some(0o077));
    }
}
