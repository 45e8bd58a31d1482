//! Two waits for the disk at the same time.
//!
//! Most of a writing command's time is spent waiting for the disk, write by write. Where two
//! writes do not depend on each other, they wait together.

use std::thread::Builder;

/// Runs both, at the same time if there may be a second thread of execution, and otherwise
/// one after the other. Neither may rely on the other.
pub fn both<A, B: Send>(first: impl FnOnce() -> A, second: impl Fn() -> B + Sync) -> (A, B) {
    std::thread::scope(|scope| {
        let running = Builder::new().spawn_scoped(scope, &second);
        let first = first();
        let second = match running {
            Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => second(),
        };
        (first, second)
    })
}
