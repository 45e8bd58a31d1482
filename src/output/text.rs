//! The documents as text for people.
//!
//! Tables have no borders, so that they can be cut and searched; colours only add to what
//! the words say. Whatever an agent wrote goes through [`clean`]: a task text must not be
//! able to move a person's cursor.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::documents::{
    Capture, Doctor, Event, Liveness, Ready, ReadyStatus, Session, SessionStatus, Unadopted,
};
use super::grid::{Cell, Color, Grid, Keep, Step};
use crate::session::identity::turns_text;

/// How to write for one person.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to colour.
    pub color: bool,
    /// The width of the terminal in columns; `None` never cuts.
    pub width: Option<usize>,
    /// Now, which relative times count from.
    pub now: DateTime<Utc>,
}

/// Text without control characters, and without those that turn the direction of what follows:
/// they show as escapes, line breaks as spaces.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, character| {
        match character {
            '\n' | '\t' => clean.push(' '),
            character if character.is_control() || turns_text(character) => {
                clean.extend(character.escape_default());
            }
            character => clean.push(character),
        }
        clean
    })
}

/// A path as Git shows it: as it is where it is UTF-8 without control characters, else
/// quoted in C's way, such as `"caf\351"`.
#[must_use]
pub fn quoted_path(path: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(path)
        && !text.chars().any(|character| character.is_control() || matches!(character, '"' | '\\'))
    {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => quoted.extend(['\\', character]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                character if character.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in character.encode_utf8(&mut bytes).bytes() {
                        let _ = write!(quoted, "\\{byte:03o}");
                    }
                }
                character => quoted.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\{byte:03o}");
        }
    }
    quoted.push('"');
    quoted
}

/// A time as people say it: `just now`, `3 min ago`, `in 27 min`, `2 h ago`, `5 days ago`.
/// What is no time is shown as it is.
#[must_use]
pub fn relative(time: &str, now: DateTime<Utc>) -> String {
    let Ok(time_then) = DateTime::parse_from_rfc3339(time) else {
        return clean(time);
    };
    let seconds = now.signed_duration_since(time_then).num_seconds();
    match seconds {
        -4..=4 => "just now".to_owned(),
        ..-4 => format!("in {}", span(seconds.unsigned_abs())),
        _ => format!("{} ago", span(seconds.unsigned_abs())),
    }
}

/// How long ago a time was, as people say it: `40 s`, `3 min`, `2 h`, `5 days`. What is no
/// time is shown as it is.
#[must_use]
pub fn since(time: &str, now: DateTime<Utc>) -> String {
    let Ok(time_then) = DateTime::parse_from_rfc3339(time) else {
        return clean(time);
    };
    let seconds = now.signed_duration_since(time_then).num_seconds();
    span(u64::try_from(seconds).unwrap_or(0))
}

/// A number of seconds in words.
fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The first twelve digits of an object id.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn liveness(session: &Session) -> Cell {
    match (session.status, session.liveness) {
        (SessionStatus::Active, Liveness::Alive) => Cell::new("alive").fg(Color::Green),
        (SessionStatus::Active, Liveness::Dead) => Cell::new("dead").fg(Color::Red),
        (SessionStatus::Active, Liveness::Unknown) => Cell::new("unknown").fg(Color::Yellow),
        (SessionStatus::Abandoned, _) => Cell::new("abandoned"),
        (SessionStatus::Complete, _) => Cell::new("complete"),
        (SessionStatus::Merged, _) => Cell::new("merged"),
    }
}

/// `agent list`.
#[must_use]
pub fn sessions(rows: &[Session], style: &Style) -> String {
    if rows.is_empty() {
        return "no sessions\n".to_owned();
    }
    let steps = [
        Step::Shorten(5, Keep::Start, 16),
        Step::Below(5),
        Step::Shorten(1, Keep::Ends, 16),
        Step::Drop(3),
        Step::Drop(4),
        Step::Shorten(1, Keep::Ends, 8),
    ];
    let header = ["SESSION", "THREAD", "STATUS", "AGENT", "HEARTBEAT", "TASK"];
    let mut table = Grid::new(&header, &[], &steps);
    for row in rows {
        table.row(vec![
            Cell::new(&row.session_id),
            Cell::new(clean(&row.thread)),
            liveness(row),
            Cell::new(clean(row.agent.harness.as_deref().or(row.agent.model.as_deref()).unwrap_or("-"))),
            Cell::new(relative(&row.heartbeat_at, style.now)),
            Cell::new(clean(row.task.as_deref().unwrap_or("-"))),
        ]);
    }
    table.lines(style.width, style.color)
}

/// Pairs of a name and a value, the values below each other; pairs without value are left
/// out.
pub(super) fn pairs(pairs: &[(&str, Option<String>)]) -> String {
    let known = || pairs.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    let width = known().map(|(name, _)| name.len()).max().unwrap_or(0);
    known().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:width$}  {}", clean(value));
        text
    })
}

/// `agent show`.
#[must_use]
pub fn session(session: &Session, style: &Style) -> String {
    let agent = &session.agent;
    let time = |time: &str| format!("{time} ({})", relative(time, style.now));
    let count = |number: Option<u64>| number.map(|number| number.to_string());
    pairs(&[
        ("session", Some(session.session_id.clone())),
        ("thread", Some(session.thread.clone())),
        ("status", Some(liveness(session).content())),
        ("generation", Some(session.generation.to_string())),
        ("task", session.task.clone()),
        ("progress", session.progress.clone()),
        ("anchor", session.anchor_state.clone()),
        ("target", session.target.clone()),
        ("worktree", session.path.as_deref().map(|path| quoted_path(path.as_bytes()))),
        ("by hand", session.unadopted.as_ref().map(by_hand)),
        ("started", Some(time(&session.started_at))),
        ("heartbeat", Some(time(&session.heartbeat_at))),
        ("expires", session.expires_at.as_deref().map(time)),
        ("ended", session.completed_at.as_deref().map(time)),
        ("pid", session.holder.pid.map(|pid| pid.to_string())),
        ("host", session.holder.host.clone()),
        ("provider", agent.provider.clone()),
        ("model", agent.model.clone()),
        ("harness", agent.harness.clone()),
        ("thinking", agent.thinking_level.clone()),
        ("parent", agent.parent.clone()),
        ("instance", agent.client_instance.clone()),
        ("input tokens", count(session.usage.input_tokens)),
        ("output tokens", count(session.usage.output_tokens)),
        ("reasoning tokens", count(session.usage.reasoning_tokens)),
        ("tool calls", count(session.usage.tool_calls)),
        ("cost", session.usage.cost_micros_usd.map(dollars)),
    ])
}

/// Commits that no capture has put on the thread.
pub(super) fn by_hand(found: &Unadopted) -> String {
    let commits = counted(usize::try_from(found.commits).unwrap_or(usize::MAX), "commit");
    let why = if found.adoptable { "the next capture adopts" } else { "the thread does not lead to" };
    format!("{commits} on its HEAD, up to {}, which {why}", short(&found.head))
}

/// Millionths of a dollar as dollars.
fn dollars(micros: u64) -> String {
    format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `agent capture`.
#[must_use]
pub fn capture(capture: &Capture) -> String {
    let mut text = match &capture.commit {
        Some(commit) => format!("captured {} on {}", short(commit), clean(&capture.thread)),
        None if capture.changed_paths.is_empty() => {
            format!("nothing to capture on {}", clean(&capture.thread))
        }
        None => format!("would capture on {}", clean(&capture.thread)),
    };
    let _ = writeln!(
        text,
        ": {} changed, +{} -{}",
        counted(capture.changed_paths.len(), "path"),
        capture.insertions,
        capture.deletions
    );
    for path in &capture.changed_paths {
        let _ = writeln!(text, "  {}", clean(path));
    }
    text
}

/// A number and a noun.
pub(super) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `agent ready`.
#[must_use]
pub fn ready(ready: &Ready) -> String {
    let status = match ready.status {
        ReadyStatus::Completed => "ready",
        ReadyStatus::Blocked => "blocked",
    };
    let mut text = format!("{status}: {}\n", clean(&ready.message));
    for blocker in &ready.blockers {
        let _ = writeln!(text, "  blocker: {}", clean(blocker));
    }
    for warning in &ready.warnings {
        let _ = writeln!(text, "  warning: {}", clean(warning));
    }
    for check in &ready.report.checks {
        let outcome = if check.ok { "passed" } else { "failed" };
        let _ = writeln!(text, "  check {outcome} in {} ms: {}", check.duration_ms, clean(&check.command));
    }
    if let Some(next) = &ready.next_action {
        let _ = writeln!(text, "  next: {}", clean(next));
    }
    text
}

/// One line of `log`.
#[must_use]
pub fn event(event: &Event) -> String {
    let mut text = format!("{} {:<10}", clean(&event.at), clean(&event.kind));
    for word in [&event.thread, &event.session].into_iter().flatten() {
        let _ = write!(text, " {}", clean(word));
    }
    match (&event.old, &event.new) {
        (Some(old), Some(new)) if old != new => {
            let _ = write!(text, " {}..{}", short(old), short(new));
        }
        (_, Some(new)) => {
            let _ = write!(text, " {}", short(new));
        }
        _ => {}
    }
    if let Some(message) = &event.message {
        let _ = write!(text, ": {}", clean(message));
    }
    text.push('\n');
    text
}

/// `doctor`.
#[must_use]
pub fn doctor(report: &Doctor) -> String {
    if report.findings.is_empty() {
        return "nothing to repair\n".to_owned();
    }
    report.findings.iter().fold(String::new(), |mut text, finding| {
        let thread = finding.thread.as_ref().map(|thread| format!("{}: ", clean(thread))).unwrap_or_default();
        let _ = writeln!(text, "{thread}{}", clean(&finding.message));
        if let Some(path) = &finding.path {
            let _ = writeln!(text, "  file: {}", quoted_path(path.as_bytes()));
        }
        let _ = match (&finding.fix, finding.fixed) {
            (Some(fix), true) => writeln!(text, "  done: {}", clean(fix)),
            (Some(fix), false) => writeln!(text, "  --fix would: {}", clean(fix)),
            (None, _) => writeln!(text, "  this needs a person"),
        };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z").expect("a time").with_timezone(&Utc);
        let said = |time: &str| relative(time, now);
        assert_eq!(said("2026-01-31T11:59:58.000Z"), "just now");
        assert_eq!(said("2026-01-31T11:57:00.000Z"), "3 min ago");
        assert_eq!(said("2026-01-31T12:27:00.000Z"), "in 27 min");
        assert_eq!(said("2026-01-30T12:00:00.000Z"), "24 h ago");
        assert_eq!(said("2026-01-21T12:00:00.000Z"), "10 days ago");
    }

    #[test]
    fn a_task_cannot_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb c");
        assert_eq!(clean("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn paths_are_quoted_as_git_quotes_them() {
        assert_eq!(quoted_path("café".as_bytes()), "café");
        assert_eq!(quoted_path(b"caf\xe9\n"), "\"caf\\351\\n\"");
    }
}
