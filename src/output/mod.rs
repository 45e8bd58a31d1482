//! What the program says: JSON documents, text for people, hints, exit codes.
//!
//! Standard output is data: one document, written and flushed as a whole through
//! [`Stdout`], whose errors come back to the caller, so that a closed pipe is an error
//! like any other and never a panic. Standard error is narration ([`hints`]).

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

pub mod documents;
pub mod exit;
pub mod failure;
pub mod grid;
pub mod hints;
pub mod present;
pub mod progress;
pub mod text;
pub mod text_hooks;
pub mod text_refresh;
pub mod text_rename;
pub mod text_threads;
pub mod text_traffic;
pub mod text_verification;

/// What the command line says about the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nothing, or `--output=auto`.
    #[default]
    Nothing,
    /// `--json` or `--output=json`.
    Json,
    /// `--no-json` or `--output=text`.
    Text,
}

/// How the output of a command is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The answer goes to programs: JSON whatever was asked for.
    AlwaysJson,
    /// JSON in a pipe, text on a terminal.
    Agent,
    /// As [`Self::Agent`], and what failed goes to standard error as well: what is on standard
    /// output, and the exit code, could be those of the command that was to be run.
    Run,
    /// Text unless JSON is asked for.
    Other,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON document.
    Json,
    /// Text for people.
    Text,
}

/// Decides on the form. `terminal`: standard output ends at a person's eyes, see
/// [`reaches_a_terminal`].
#[must_use]
pub fn format(asked: Asked, family: Family, terminal: bool) -> Format {
    match (family, asked) {
        (Family::AlwaysJson, _) | (_, Asked::Json) => Format::Json,
        (_, Asked::Text) | (Family::Other, Asked::Nothing) => Format::Text,
        (Family::Agent | Family::Run, Asked::Nothing) if terminal => Format::Text,
        (Family::Agent | Family::Run, Asked::Nothing) => Format::Json,
    }
}

/// Whether standard output is a terminal, or a pipe to the pager that Git started for one.
#[must_use]
pub fn reaches_a_terminal() -> bool {
    let paged = std::env::var("GIT_PAGER_IN_USE").is_ok_and(|value| matches!(value.as_str(), "true" | "1"));
    paged || io::stdout().is_terminal()
}

/// How many columns a person has to look at text: what `COLUMNS` says, which Git sets for its
/// pager, else what the terminal says, else 80. `None` where nobody looks: nothing is cut.
#[must_use]
pub fn width(terminal: bool) -> Option<usize> {
    const USUAL: usize = 80;
    if !terminal {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Some(told.filter(|columns| *columns > 0).or_else(asked).unwrap_or(USUAL))
}

/// Whether to colour text. The command line counts most, then `NO_COLOR`, then `color.ui`
/// (`configured`, in Git's words: always, auto or a boolean), then whether a person looks.
#[must_use]
pub fn colored(flag: Option<bool>, configured: Option<&str>, terminal: bool) -> bool {
    if let Some(flag) = flag {
        return flag;
    }
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return false;
    }
    match configured {
        Some("always") => true,
        Some("never" | "false" | "no" | "off" | "0") => false,
        _ => terminal && std::env::var_os("TERM").is_some_and(|term| term != "dumb"),
    }
}

/// Standard output. Every write is flushed and every failure returned.
#[derive(Debug)]
pub struct Stdout {
    pretty: bool,
}

impl Stdout {
    /// Standard output; JSON is indented where a person looks at it, and one line elsewhere.
    #[must_use]
    pub fn new(terminal: bool) -> Self {
        Self { pretty: terminal }
    }

    /// Prints one JSON document and a newline.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn json<T: Serialize>(&mut self, document: &T) -> io::Result<()> {
        let mut bytes =
            if self.pretty { serde_json::to_vec_pretty(document) } else { serde_json::to_vec(document) }?;
        bytes.push(b'\n');
        self.bytes(&bytes)
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// If standard output cannot be written to.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_for_programs_are_json_whatever_is_asked_for() {
        assert_eq!(format(Asked::Text, Family::AlwaysJson, true), Format::Json);
    }

    #[test]
    fn auto_is_json_only_for_agent_verbs_in_a_pipe() {
        assert_eq!(format(Asked::Nothing, Family::Agent, false), Format::Json);
        assert_eq!(format(Asked::Nothing, Family::Agent, true), Format::Text);
        assert_eq!(format(Asked::Nothing, Family::Other, false), Format::Text);
        assert_eq!(format(Asked::Json, Family::Other, true), Format::Json);
    }
}
