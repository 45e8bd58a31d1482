//! Every error's kind and hint, in one exhaustive match each: a new error does not compile
//! until it is placed.

use super::documents::FailureKind;
use crate::error::{Conflict, ConflictKind, Error};
use crate::git::GitError;
use crate::names::NameError;
use crate::session::SessionError;
use crate::store::StoreError;

/// The kind of `error`, which is its exit status.
#[must_use]
pub fn kind(error: &Error) -> FailureKind {
    match error {
        Error::Name(NameError::Thread { .. } | NameError::Session { .. }) | Error::Usage { .. } => {
            FailureKind::Usage
        }
        Error::Name(NameError::ObjectId { .. } | NameError::Generation { .. } | NameError::NoGeneration) => {
            FailureKind::Failed
        }
        Error::Git(error) => git_kind(error),
        Error::Store(StoreError::Busy { .. }) => FailureKind::Temporary,
        Error::Store(
            StoreError::Io { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::NotText { .. },
        ) => FailureKind::Failed,
        Error::Session(error) => match error {
            SessionError::NotFound { .. } | SessionError::Ended { .. } | SessionError::Replaced { .. } => {
                FailureKind::SessionLost
            }
            SessionError::Renamed { .. } => FailureKind::AnchorDrift,
            SessionError::TokenMissing { .. }
            | SessionError::TokenWrong { .. }
            | SessionError::TokenUnusable { .. } => FailureKind::NotAuthorized,
            SessionError::NotNamed | SessionError::UsageFell { .. } => FailureKind::Usage,
        },
        Error::Conflict(conflict) => match conflict.kind {
            ConflictKind::LiveOwner => FailureKind::LiveOwner,
            ConflictKind::AnchorDrift => FailureKind::AnchorDrift,
        },
        Error::Drift { .. } | Error::Unknown { .. } => FailureKind::AnchorDrift,
        Error::WorktreeBusy { .. } | Error::Owned { .. } | Error::Unpublished { .. } => {
            FailureKind::LiveOwner
        }
        Error::CannotTell { .. } => FailureKind::NotUsable,
        Error::Refused { .. } | Error::Check(_) | Error::Randomness(_) | Error::Output(_) => {
            FailureKind::Failed
        }
    }
}

fn git_kind(error: &GitError) -> FailureKind {
    match error {
        GitError::NotARepository { .. } | GitError::Unusable { .. } => FailureKind::NotUsable,
        GitError::RefLocked { .. } => FailureKind::Temporary,
        GitError::RefMoved { .. } => FailureKind::AnchorDrift,
        _ => FailureKind::Failed,
    }
}

/// What to do about a refused reserve.
#[must_use]
pub fn next_step(conflict: &Conflict) -> &'static str {
    match (conflict.kind, &conflict.owner) {
        (_, Some(owner)) if owner.session.is_none() => {
            "its record cannot be read, so nobody can tell whether it lives: see git heddle doctor"
        }
        (ConflictKind::LiveOwner, _) => "wait for it (--wait), or ask its owner to release it",
        (ConflictKind::AnchorDrift, Some(_)) => {
            "wait for it (--resume --wait takes it as it then is), or ask its owner to release it"
        }
        (ConflictKind::AnchorDrift, None) => {
            "give --anchor the commit it is at, or --resume to take it as it is"
        }
    }
}

/// What to do about `error`.
#[must_use]
pub fn hint(error: &Error) -> Option<String> {
    let text = match error {
        Error::Conflict(conflict) => next_step(conflict),
        Error::Unknown { .. } => "git heddle fetch gets it; merge it, or overwrite it with --force",
        Error::Owned { .. } => {
            "give --session to act for it; --force ends its session as abandoned, and keeps its work"
        }
        Error::Unpublished { .. } => {
            "give --session to act for it; --force publishes it all the same, and leaves its session alone"
        }
        Error::WorktreeBusy { .. } => "capture from another worktree, or release that session first",
        Error::Session(SessionError::NotFound { .. }) => "git heddle agent list shows the sessions there are",
        Error::Session(SessionError::Ended { .. } | SessionError::Replaced { .. }) => {
            "its work is on the thread; reserve again to go on"
        }
        Error::Session(SessionError::Renamed { .. }) => {
            "the thread was renamed meanwhile: repeat the command, the session goes on under the new name"
        }
        Error::Session(SessionError::NotNamed) => "give --session, or set HEDDLE_SESSION",
        Error::Session(SessionError::TokenMissing { .. }) => "set HEDDLE_TOKEN, or give --token-file",
        Error::Session(SessionError::TokenWrong { .. }) => {
            "the token is the reservation_token that its reserve printed; unset HEDDLE_TOKEN if it is another session's"
        }
        Error::Session(SessionError::UsageFell { .. }) => {
            "counters are totals since the reserve, not increments"
        }
        Error::Session(SessionError::TokenUnusable { .. }) => "a token is one line of text",
        Error::Store(StoreError::Busy { .. }) => {
            "repeat the same command; a stopped holder has to be continued or killed"
        }
        Error::Store(StoreError::Damaged { .. }) => "git heddle doctor says what can be done about it",
        Error::Store(StoreError::NotText { .. }) => "move it to a path that is UTF-8",
        Error::Store(StoreError::Newer { .. }) => "upgrade git-heddle",
        Error::Store(StoreError::Io { .. }) => return None,
        Error::Git(error) => return git_hint(error).map(str::to_owned),
        Error::Refused { hint, .. } | Error::CannotTell { hint, .. } | Error::Drift { hint, .. } => {
            return hint.clone();
        }
        Error::Name(NameError::Thread { .. }) => "a thread is named like a branch: fix/login",
        Error::Name(NameError::Session { .. }) => "session ids are what reserve prints as session_id",
        Error::Name(_) | Error::Usage { .. } | Error::Check(_) | Error::Randomness(_) | Error::Output(_) => {
            return None;
        }
    };
    Some(text.to_owned())
}

fn git_hint(error: &GitError) -> Option<&'static str> {
    Some(match error {
        GitError::Unborn => "make a first commit: git commit --allow-empty -m 'Initial commit'",
        GitError::NoIdentity => {
            "git config --global user.name 'Your Name', and the same for user.email; without --global in this repository only"
        }
        GitError::RevNotFound { .. } => "git log shows the commits there are",
        GitError::RevAmbiguous { .. } => "give more digits, or the full name of the ref",
        GitError::RevNotACommit { .. } => "an anchor is a commit, or a tag of one",
        GitError::RefLocked { .. } => {
            "another Git process works on it: repeat the command; if none is alive, git heddle doctor --fix removes the lock"
        }
        GitError::RefClash { .. } => "a thread cannot lie below or above another; choose another name",
        GitError::Bare { .. } => "run it in a worktree: git worktree add --detach <path>",
        _ => return None,
    })
}
