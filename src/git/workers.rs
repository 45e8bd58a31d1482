//! Doing many small pieces of work on all processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// For how many pieces another worker is worth its start.
const WORTH_A_WORKER: usize = 32;

/// How many pieces a worker takes and tells of at once.
const AT_ONCE: usize = 8;

/// How long a worker is waited for to begin.
const TO_BEGIN: Duration = Duration::from_millis(1);

/// What `work` makes of each of `jobs`, in their order. Every worker has a `scratch` of its own,
/// made for its number, which nobody else sees; the first is the caller itself. `tick` hears how
/// many are done.
pub(crate) fn shared_out<Job: Sync, Scratch, Done: Send>(
    jobs: &[Job],
    scratch: impl Fn(usize) -> Scratch + Sync,
    work: impl Fn(&mut Scratch, &Job) -> Done + Sync,
    tick: &mut dyn FnMut(usize),
) -> Vec<Done> {
    let worth = jobs.len().div_ceil(WORTH_A_WORKER);
    // How many the machine can run is told by a dozen files.
    let able = |most: usize| thread::available_parallelism().map_or(1, |able| able.get().min(most));
    let workers = if worth < 2 { 1 } else { able(worth) };
    let next = AtomicUsize::new(0);
    let part = |scratch: &mut Scratch| {
        let part = next.fetch_add(1, Ordering::Relaxed);
        let jobs = jobs.chunks(AT_ONCE).nth(part)?;
        Some((part, jobs.iter().map(|job| work(scratch, job)).collect::<Vec<Done>>()))
    };
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        for worker in 1..workers {
            let (tell, begin, part, scratch) = (tell.clone(), begin.clone(), &part, &scratch);
            let work = move || {
                let _ = begin.send(());
                let mut scratch = scratch(worker);
                while let Some(done) = part(&mut scratch)
                    && tell.send(done).is_ok()
                {}
            };
            // Where there may be no other thread of execution, this one does all.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
            // As often as not the system has it begin where its maker runs, and when that one's turn is
            // over: after milliseconds, in which all may be done.
            let _ = begun.recv_timeout(TO_BEGIN);
        }
        drop(tell);
        let (mut parts, mut count) = (Vec::new(), 0);
        let mut keep = |(part, done): (usize, Vec<Done>)| {
            count += done.len();
            parts.push((part, done));
            tick(count);
        };
        let mut scratch = scratch(0);
        while let Some(done) = part(&mut scratch) {
            keep(done);
            told.try_iter().for_each(&mut keep);
        }
        told.into_iter().for_each(&mut keep);
        parts.sort_unstable_by_key(|(part, _)| *part);
        let mut all = Vec::with_capacity(jobs.len());
        parts.into_iter().for_each(|(_, done)| all.extend(done));
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_comes_in_the_order_of_the_jobs() {
        for count in [0, 1, 33, 1_000] {
            let jobs: Vec<usize> = (0..count).collect();
            let mut ticks = Vec::new();
            let done = shared_out(&jobs, |_| (), |(), job| job * 2, &mut |done| ticks.push(done));
            assert_eq!(done, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
            assert!(
                ticks.is_sorted() && ticks.last().copied() == jobs.len().checked_sub(1).map(|last| last + 1)
            );
        }
    }
}
