//! A renamed thread.

use crate::names::ThreadName;
use crate::output::documents::rename as doc;
use crate::thread::rename::Renamed;

/// A thread that was `from` and is `to`.
#[must_use]
pub fn renamed(from: &ThreadName, to: &ThreadName, renamed: &Renamed) -> doc::Renamed {
    doc::Renamed {
        thread: to.to_string(),
        former: from.to_string(),
        tip: renamed.tip.to_string(),
        generation: renamed.generation.get(),
        session: renamed.session.as_ref().map(ToString::to_string),
    }
}
