//! The event log: one line of JSON for each state change, appended, never rewritten.
//!
//! It is for people and dashboards; no decision rests on it, so a failed append never fails
//! a command and the log is not synced. One `write` with `O_APPEND` puts a whole line
//! beside those of other processes. A writer that finds the last line cut short (a crash,
//! a full disk) begins a new one; readers skip what they cannot read, and repeated ids:
//! recovery tells again what a dead process may have told already.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::atomic_file::no_follow;

/// A state change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The operation's id; the same in its journal.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// `reserved`, `withdrawn`, `captured`, `ready`, `blocked`, `released`, `expired`,
    /// `dropped`, `renamed`, `refreshed`, `landed`.
    pub event: String,
    /// The thread.
    pub thread: String,
    /// The session.
    pub session: String,
    /// The thread's generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The commit that the thread or its ready mark came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The final status of a session that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Appends `event`; what goes wrong is ignored, see the module.
pub fn append(path: &Path, event: &Event) {
    let Ok(text) = serde_json::to_string(event) else { return };
    let open = no_follow().read(true).append(true).create(true).mode(0o666).open(path);
    let Ok(mut file) = open else { return };
    let cut_short = file.metadata().ok().filter(|meta| meta.len() > 0).is_some_and(|meta| {
        let mut last = [0u8; 1];
        file.read_exact_at(&mut last, meta.len() - 1).is_ok() && last != *b"\n"
    });
    let line = if cut_short { format!("\n{text}\n") } else { format!("{text}\n") };
    let _ = file.write_all(line.as_bytes());
}

/// The readable events of a log in order, each id and kind once.
///
/// # Errors
/// When the log exists and cannot be read.
pub fn read(path: &Path) -> std::io::Result<Vec<Event>> {
    read_where(path, |_| true)
}

/// As [`read`], but only the events that name one of `words` somewhere, such as a thread: the
/// other lines of a long log are not even parsed.
///
/// # Errors
/// As [`read`].
pub fn read_naming(path: &Path, words: &[&str]) -> std::io::Result<Vec<Event>> {
    let quoted: Vec<Vec<u8>> =
        words.iter().map(|word| Ok(serde_json::to_vec(word)?)).collect::<std::io::Result<_>>()?;
    let names = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|window| window == word);
    read_where(path, |line| quoted.iter().any(|word| names(line, word)))
}

fn read_where(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> std::io::Result<Vec<Event>> {
    let mut seen = HashSet::new();
    let mut events = Vec::new();
    // The log is opened before the one put aside: if it is put aside in between, its events
    // are read twice rather than not at all.
    let files = [open(path)?, open(&aside(path))?];
    for file in files.into_iter().rev().flatten() {
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            if wanted(&line)
                && let Ok(event) = serde_json::from_slice::<Event>(&line)
                && seen.insert((event.id.clone(), event.event.clone()))
            {
                events.push(event);
            }
        }
    }
    Ok(events)
}

fn open(path: &Path) -> std::io::Result<Option<File>> {
    match no_follow().read(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a log that has grown old is put aside.
#[must_use]
pub fn aside(path: &Path) -> PathBuf {
    path.with_extension("old.jsonl")
}

/// The time of the first event that can be read.
#[must_use]
pub fn first_time(path: &Path) -> Option<DateTime<Utc>> {
    // What cannot be read, such as a folder, fails at every further line too.
    let mut lines = BufReader::new(open(path).ok()??).split(b'\n').map_while(Result::ok);
    let event = lines.find_map(|line| serde_json::from_slice::<Event>(&line).ok())?;
    Some(DateTime::parse_from_rfc3339(&event.at).ok()?.with_timezone(&Utc))
}
