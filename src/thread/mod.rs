//! Threads: the lock, the owner, and what a crash left half done.
//!
//! A value of [`LockedThread`] *is* the held lock, with recovery done and the record read.
//! [`OwnedThread`] can only be made from it, by validating a session under the lock; what
//! moves a thread takes one.

pub mod locked;
pub mod owned;
pub mod record;
pub mod recover;
pub mod tie;

pub use locked::LockedThread;
pub use owned::OwnedThread;
pub use record::ThreadRecord;
pub use tie::Tie;
