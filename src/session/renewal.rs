//! A lease that was renewed since its session's record was written: a line in the session's
//! `.live` file, written in place and not synced.
//!
//! It counts only while the record still has the heartbeat that it came `after`; any later
//! record is newer than it. It is written under the thread's lock, where everything that
//! acts on a death reads it too. Who reads without the lock may meet a line that is being
//! written: its checksum does not fit then, and it is read again.
//!
//! # If the process dies here
//! A line is written by one call into one page, so it is there or it is not.
//!
//! # If the power goes
//! The line may be gone, or an older one may be there; the lease then ends as much earlier.
//! It is a lease of a machine that has just been started anew, and nothing of what the agent
//! reported is in it (`docs/adr/0006`).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::session::{Heartbeat, Session};
use crate::names::hex;
use crate::store::atomic_file::no_follow;

/// Every line is filled up to a multiple of this, so that a shorter one covers a longer one.
const LENGTH: usize = 512;

/// What tells one heartbeat from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Instant {
    at: DateTime<Utc>,
    monotonic_ms: u64,
}

impl Instant {
    fn of(heartbeat: &Heartbeat) -> Self {
        Self { at: heartbeat.at, monotonic_ms: heartbeat.monotonic_ms }
    }
}

/// A heartbeat since the record was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Renewal {
    /// The heartbeat in the record.
    after: Instant,
    heartbeat: Heartbeat,
}

/// Writes `heartbeat` into the file at `path`, as renewing the lease of `session` as it was
/// read. Under the thread's lock only.
///
/// # Errors
/// As the system says; `NotFound` where the session has no such file.
pub(super) fn write(path: &Path, session: &Session, heartbeat: &Heartbeat) -> io::Result<()> {
    let file = no_follow().read(true).write(true).open(path)?;
    let read = Instant::of(&session.heartbeat);
    let after = match from(&file) {
        Some(before) if Instant::of(&before.heartbeat) == read => before.after,
        _ => read,
    };
    let text = serde_json::to_string(&Renewal { after, heartbeat: heartbeat.clone() })?;
    let mut line = format!("{} {text}\n", checksum(&text)).into_bytes();
    line.resize(line.len().next_multiple_of(LENGTH), b' ');
    file.write_all_at(&line, 0)
}

/// Brings `session`, as its record has it, up to the heartbeat in `file`.
pub(super) fn apply(file: &File, session: &mut Session) {
    if let Some(renewal) = from(file)
        && renewal.after == Instant::of(&session.heartbeat)
    {
        session.heartbeat = renewal.heartbeat;
        session.used = true;
    }
}

/// The line in `file`; `None` if there is none, or one that was cut short.
fn from(mut file: &File) -> Option<Renewal> {
    for _ in 0..3 {
        let mut bytes = Vec::with_capacity(LENGTH + 1);
        io::Seek::rewind(&mut file).ok()?;
        file.take(16 * LENGTH as u64).read_to_end(&mut bytes).ok()?;
        if bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8(bytes).ok()?;
        let line = text.lines().next()?;
        if let Some((sum, text)) = line.split_once(' ')
            && sum == checksum(text)
        {
            return serde_json::from_str(text).ok();
        }
    }
    None
}

fn checksum(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(monotonic_ms: u64, host: &str) -> Heartbeat {
        let place = serde_json::json!({"host": host, "boot_id": "b", "pid_namespace": null});
        let at = "1970-01-01T00:00:00Z";
        serde_json::from_value(serde_json::json!({"at": at, "monotonic_ms": monotonic_ms, "place": place}))
            .expect("a heartbeat")
    }

    fn session(heartbeat: &Heartbeat) -> Session {
        serde_json::from_value(serde_json::json!({
            "version": 1, "session_id": "agent-a", "thread": "t", "anchor_state": "1".repeat(40),
            "anchor_root": "2".repeat(40), "generation": 1, "status": "active", "task": null, "path": null,
            "holder": {"kind": "lease"}, "ttl_seconds": 60, "heartbeat": heartbeat,
            "started_at": "1970-01-01T00:00:00Z", "completed_at": null, "token_hash": "0".repeat(64),
            "require_token": false, "agent": {"provider": null, "model": null, "harness": null,
            "thinking_level": null, "parent": null}, "usage": {"input_tokens": null, "output_tokens": null,
            "reasoning_tokens": null, "tool_calls": null, "cost_micros_usd": null}
        }))
        .expect("a session")
    }

    /// The heartbeat that a reader of `file` sees, where the record has `recorded`.
    fn seen(file: &Path, recorded: &Heartbeat) -> u64 {
        let mut session = session(recorded);
        apply(&File::open(file).expect("open"), &mut session);
        session.heartbeat.monotonic_ms
    }

    #[test]
    fn a_renewal_counts_until_the_record_is_written_again() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let (first, later) = (heartbeat(1, "long.example.com"), heartbeat(9, "h"));
        assert_eq!(seen(file.path(), &first), 1);
        let mut session = session(&first);
        for beat in [3, 5] {
            let heartbeat = heartbeat(beat, "h");
            write(file.path(), &session, &heartbeat).expect("write");
            // The next comes from who has read this one.
            session.heartbeat = heartbeat;
            assert_eq!(seen(file.path(), &first), beat);
        }
        assert_eq!(seen(file.path(), &later), 9);
    }

    #[test]
    fn a_line_that_was_cut_short_or_mixed_is_none() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let first = heartbeat(1, "h");
        write(file.path(), &session(&first), &heartbeat(3, "h")).expect("write");
        let whole = std::fs::read(file.path()).expect("read");
        assert_eq!(whole.len() % LENGTH, 0);
        for cut in 0..whole.iter().position(|byte| *byte == b'\n').expect("a line") {
            std::fs::write(file.path(), &whole[..cut]).expect("write");
            assert_eq!(seen(file.path(), &first), 1, "cut at {cut}");
        }
        let mixed =
            String::from_utf8(whole).expect("UTF-8").replace("\"monotonic_ms\":3", "\"monotonic_ms\":4");
        std::fs::write(file.path(), mixed).expect("write");
        assert_eq!(seen(file.path(), &first), 1);
    }
}
