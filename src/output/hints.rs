//! Narration on standard error, in Git's voice: `error: …`, `warning: …`, `hint: …`.
//!
//! Hints obey `advice.*` as Git's own do: each has a key, `git config advice.<key> false`
//! silences it, and `GIT_ADVICE=0` silences all. Standard error that cannot be written to
//! is nobody's failure.

use std::io::{self, Write as _};

use super::documents::FailureKind;

/// The configuration key that silences the hints of a kind of failure.
#[must_use]
pub const fn advice_key(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Failed => "advice.heddleFailed",
        FailureKind::Usage => "advice.heddleUsage",
        FailureKind::LiveOwner => "advice.heddleLiveOwner",
        FailureKind::AnchorDrift => "advice.heddleAnchorDrift",
        FailureKind::SessionLost => "advice.heddleSessionLost",
        FailureKind::NotAuthorized => "advice.heddleNotAuthorized",
        FailureKind::Blocked => "advice.heddleBlocked",
        FailureKind::Temporary => "advice.heddleTemporary",
        FailureKind::NotUsable => "advice.heddleNotUsable",
    }
}

/// Speaks on standard error.
pub struct Narrator<'a> {
    quiet: bool,
    verbosity: u8,
    advised: Box<dyn Fn(&str) -> bool + 'a>,
}

impl std::fmt::Debug for Narrator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Narrator").field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl<'a> Narrator<'a> {
    /// Speaks as `-q` and `-v` ask. `advised` answers whether the configuration leaves the
    /// hints of a key on; it is asked only when there is a hint to give.
    pub fn new(quiet: bool, verbosity: u8, advised: impl Fn(&str) -> bool + 'a) -> Self {
        Self { quiet, verbosity, advised: Box::new(advised) }
    }

    /// Speaks before any repository is open: hints are on.
    #[must_use]
    pub fn without_configuration(quiet: bool) -> Self {
        Self::new(quiet, 0, |_| true)
    }

    /// What failed. Never silenced.
    pub fn error(&self, message: &str) {
        say("error: ", message);
    }

    /// A document for programs, on one line: never silenced.
    pub fn document<T: serde::Serialize>(&self, document: &T) {
        if let Ok(line) = serde_json::to_string(document) {
            say("", &line);
        }
    }

    /// What may surprise.
    pub fn warning(&self, message: &str) {
        if !self.quiet {
            say("warning: ", message);
        }
    }

    /// What to do next, silenced by `key`.
    pub fn hint(&self, key: &str, message: &str) {
        let off =
            std::env::var("GIT_ADVICE").is_ok_and(|value| matches!(value.as_str(), "0" | "false" | "no"));
        if !self.quiet && !off && (self.advised)(key) {
            say("hint: ", message);
        }
    }

    /// What is going on, for a person who waits.
    pub fn progress(&self, message: &str) {
        if !self.quiet {
            say("", message);
        }
    }

    /// What is going on, with `-v`.
    pub fn note(&self, message: &str) {
        if self.verbosity > 0 && !self.quiet {
            say("", message);
        }
    }
}

/// One write for the whole message, so that the lines of two processes do not mix.
fn say(prefix: &str, message: &str) {
    let text: String = message.lines().map(|line| format!("{prefix}{line}\n")).collect();
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
