//! Threads: the lock, the owner, and what a crash left half done.
//!
//! A value of [`LockedThread`] *is* the held lock, with recovery done and the record read.
//! [`OwnedThread`] can only be made from it, by validating a session under the lock; what
//! moves a thread takes one. [`LockedPair`] is the lock of two names, between which a thread
//! moves.

pub mod locked;
pub mod owned;
pub mod rebuild;
pub mod record;
pub mod recover;
pub mod refresh;
pub mod rename;
pub mod tie;

pub use locked::LockedThread;
pub use owned::OwnedThread;
pub use record::ThreadRecord;
pub use rename::LockedPair;
pub use tie::Tie;
