//! Heddle's own files below the Git directory: where they are, how they are written, and
//! the lock and journal that make several writes one.

pub mod at_once;
pub mod atomic_file;
pub mod error;
pub mod events;
pub mod hooks_record;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod voucher;

pub use error::StoreError;
pub use layout::Layout;
