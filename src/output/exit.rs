//! The exit codes, which are part of the interface.

use super::documents::{ConflictKind, FailureKind};

/// Everything went well.
pub const OK: u8 = 0;

impl FailureKind {
    /// The exit code of a failure of this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::LiveOwner => 3,
            Self::AnchorDrift => 4,
            Self::SessionLost => 5,
            Self::NotAuthorized => 6,
            Self::Blocked => 7,
            // sysexits.h: EX_TEMPFAIL.
            Self::Temporary => 75,
            // What git itself exits with outside a repository.
            Self::NotUsable => 128,
        }
    }
}

impl ConflictKind {
    /// The exit code of a reservation refused for this reason.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::LiveOwner => FailureKind::LiveOwner.exit_code(),
            Self::AnchorDrift => FailureKind::AnchorDrift.exit_code(),
        }
    }
}
