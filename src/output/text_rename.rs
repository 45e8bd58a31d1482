//! What people read of a renamed thread.

use super::documents::rename::Renamed;
use super::text::clean;

/// `thread rename`.
#[must_use]
pub fn renamed(renamed: &Renamed) -> String {
    let text = format!("{} is now {}\n", clean(&renamed.former), clean(&renamed.thread));
    match &renamed.session {
        Some(session) => format!("{text}  session {} goes on under the new name\n", clean(session)),
        None => text,
    }
}
