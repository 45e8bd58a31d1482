//! Two waits for the disk at the same time, and many looks at once.
//!
//! Most of a writing command's time is spent waiting for the disk, write by write. Where two
//! writes do not depend on each other, they wait together. What only reads a thousand files
//! is done by as many workers as the machine can run at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

/// How many jobs a worker takes at a time.
const STRIDE: usize = 16;

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

/// What `work` makes of each of `jobs`, in their order, whoever did it. Every worker has a
/// `work` of its own, which may keep what it has read. Another worker is started for every so
/// many jobs as are `worth` it.
pub fn each<J: Sync, R: Send, W: FnMut(&J) -> R>(
    jobs: &[J],
    worth: usize,
    work: impl Fn() -> W + Sync,
) -> Vec<R> {
    let able = std::thread::available_parallelism().map_or(1, usize::from);
    let others = able.min(jobs.len() / worth.max(1)).saturating_sub(1);
    if others == 0 {
        return jobs.iter().map(work()).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut work = work();
        let mut done = Vec::new();
        loop {
            let from = next.fetch_add(STRIDE, Ordering::Relaxed);
            let Some(rest) = jobs.get(from..).filter(|rest| !rest.is_empty()) else { return done };
            let some: Vec<R> = rest.iter().take(STRIDE).map(&mut work).collect();
            done.push((from, some));
        }
    };
    let mut done = std::thread::scope(|scope| {
        // Where there may be no other thread of execution, this one does it all.
        let started: Vec<_> =
            (0..others).filter_map(|_| Builder::new().spawn_scoped(scope, take).ok()).collect();
        let mut done = take();
        for worker in started {
            done.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(from, _)| *from);
    done.into_iter().flat_map(|(_, some)| some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_jobs_are_done_once_each_and_in_order() {
        for count in [0, 1, STRIDE, 999] {
            let jobs: Vec<usize> = (0..count).collect();
            let doubled = each(&jobs, 1, || |job: &usize| job * 2);
            assert_eq!(doubled, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
        }
    }
}
