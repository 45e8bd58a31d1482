//! Sessions: what one is, where its record lies, whether its owner lives.

pub mod binding;
pub mod error;
pub mod identity;
pub mod liveness;
mod record;
pub mod registry;
mod renewal;
#[expect(clippy::module_inception, reason = "the noun itself; the folder holds what belongs to it")]
pub mod session;
pub mod token;

pub use error::SessionError;
pub use liveness::Liveness;
pub use session::Session;
