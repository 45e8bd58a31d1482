//! A line on standard error that says how far a long command has come.
//!
//! As in Git it is for a person at a terminal only, appears when the command has taken a
//! while, and leaves nothing behind.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How long a command may take without a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line changes.
const PACE: Duration = Duration::from_millis(100);

/// The line.
#[derive(Debug)]
pub struct Meter {
    wanted: bool,
    next: Instant,
    shown: bool,
}

impl Meter {
    /// A line that appears if somebody is there to see it and did not ask for `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let wanted = !quiet && io::stderr().is_terminal();
        Self { wanted, next: Instant::now() + PATIENCE, shown: false }
    }

    /// Says that `done` of `total`, if that is known, are done.
    pub fn show(&mut self, what: &str, done: usize, total: Option<usize>) {
        if !self.wanted || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + PACE;
        self.shown = true;
        // To the beginning of the line, and clear what was there.
        let _ = write!(io::stderr().lock(), "\r\x1b[K{}", line(what, done, total));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: usize, total: Option<usize>) -> String {
    match total.filter(|total| *total > 0) {
        Some(total) => format!("{what}: {:3}% ({done}/{total})", done * 100 / total),
        None => format!("{what}: {done}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_as_git_writes_one() {
        assert_eq!(line("Checking threads", 450, Some(1000)), "Checking threads:  45% (450/1000)");
        assert_eq!(line("Reading commits", 7, None), "Reading commits: 7");
    }
}
