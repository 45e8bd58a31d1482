//! The documents as text for people.
//!
//! Tables have no borders, so that they can be cut and searched; colours only add to what
//! the words say. Whatever an agent wrote goes through [`clean`]: a task text must not be
//! able to move a person's cursor.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::documents::{
    Capture, Doctor, Event, Liveness, Ready, ReadyStatus, Session, SessionStatus, ThreadDetail, ThreadRow,
    ThreadState,
};

/// How to write for one person.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether to colour.
    pub color: bool,
    /// The width of the terminal in columns; `None` never wraps or cuts.
    pub width: Option<u16>,
    /// Now, which relative times count from.
    pub now: DateTime<Utc>,
}

/// Text without control characters: they show as escapes, line breaks as spaces.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, character| {
        match character {
            '\n' | '\t' => clean.push(' '),
            character if character.is_control() => clean.extend(character.escape_default()),
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
    let span = seconds.unsigned_abs();
    let words = match span {
        0..=4 => return "just now".to_owned(),
        5..=99 => format!("{span} s"),
        100..=5_999 => format!("{} min", span / 60),
        6_000..=172_799 => format!("{} h", span / 3_600),
        _ => format!("{} days", span / 86_400),
    };
    if seconds < 0 { format!("in {words}") } else { format!("{words} ago") }
}

/// The first twelve digits of an object id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A table without borders.
fn table(style: &Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(Cell::new));
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    if style.color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// The table as lines without blanks at their ends.
fn lines(table: &Table) -> String {
    table.to_string().lines().fold(String::new(), |mut text, line| {
        // comfy-table pads each column, the first one to the left as well.
        let _ = writeln!(text, "{}", line.strip_prefix(' ').unwrap_or(line).trim_end());
        text
    })
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
    let mut table = table(style, &["SESSION", "THREAD", "STATUS", "AGENT", "HEARTBEAT", "TASK"]);
    for row in rows {
        table.add_row([
            Cell::new(&row.session_id),
            Cell::new(clean(&row.thread)),
            liveness(row),
            Cell::new(clean(row.agent.harness.as_deref().or(row.agent.model.as_deref()).unwrap_or("-"))),
            Cell::new(relative(&row.heartbeat_at, style.now)),
            Cell::new(clean(row.task.as_deref().unwrap_or("-"))),
        ]);
    }
    lines(&table)
}

/// Pairs of a name and a value, the values below each other; pairs without value are left
/// out.
fn pairs(pairs: &[(&str, Option<String>)]) -> String {
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
        ("worktree", session.path.clone()),
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
fn counted(number: usize, noun: &str) -> String {
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

fn state(row: &ThreadRow) -> Cell {
    let cell = match row.state {
        ThreadState::Active => Cell::new("active"),
        ThreadState::Ready => Cell::new("ready").fg(Color::Green),
        ThreadState::Blocked => Cell::new("blocked").fg(Color::Red),
        ThreadState::Merged => Cell::new("merged"),
        ThreadState::Abandoned => Cell::new("abandoned").fg(Color::Yellow),
        ThreadState::Promoted => Cell::new("promoted"),
    };
    if row.recovering { Cell::new("recovering").fg(Color::Yellow) } else { cell }
}

/// The owner of a thread, with a word where it may not be there any more.
fn owner(row: &ThreadRow) -> Cell {
    match (&row.owner, row.liveness) {
        (Some(owner), Some(Liveness::Dead)) => Cell::new(format!("{owner} (dead)")).fg(Color::Red),
        (Some(owner), Some(Liveness::Unknown)) => Cell::new(format!("{owner} (unknown)")).fg(Color::Yellow),
        (Some(owner), _) => Cell::new(owner),
        (None, _) => Cell::new("-"),
    }
}

/// How far a thread and its target are apart.
fn distance(row: &ThreadRow) -> String {
    match (row.ahead, row.behind) {
        (Some(ahead), Some(behind)) => format!("+{ahead} -{behind}"),
        _ => "-".to_owned(),
    }
}

/// `thread list`.
#[must_use]
pub fn threads(rows: &[ThreadRow], style: &Style) -> String {
    if rows.is_empty() {
        return "no threads\n".to_owned();
    }
    let mut table = table(style, &["THREAD", "STATE", "OWNER", "TIP", "TARGET", "HEARTBEAT", "TASK"]);
    for row in rows {
        let target = row.target.as_deref().map(|target| format!("{} {}", clean(target), distance(row)));
        let heartbeat = row.last_heartbeat_at.as_deref();
        table.add_row([
            Cell::new(clean(&row.thread)),
            state(row),
            owner(row),
            Cell::new(row.tip.as_deref().map_or("-", short)),
            Cell::new(target.unwrap_or_else(|| "-".to_owned())),
            Cell::new(heartbeat.map_or_else(|| "-".to_owned(), |time| relative(time, style.now))),
            Cell::new(clean(row.task.as_deref().unwrap_or("-"))),
        ]);
    }
    lines(&table)
}

/// `thread show`.
#[must_use]
pub fn thread(thread: &ThreadDetail, style: &Style) -> String {
    let row = &thread.row;
    let mut text = pairs(&[
        ("thread", Some(row.thread.clone())),
        ("state", Some(state(row).content())),
        ("owner", Some(owner(row).content())),
        ("generation", row.generation.map(|generation| generation.to_string())),
        ("task", row.task.clone()),
        ("tip", row.tip.clone()),
        ("anchor", row.anchor.clone()),
        ("target", row.target.as_ref().map(|target| format!("{target} ({})", distance(row)))),
        ("worktree", thread.worktree.clone()),
        ("formerly", (!thread.former_names.is_empty()).then(|| thread.former_names.join(", "))),
        ("heartbeat", row.last_heartbeat_at.as_deref().map(|time| relative(time, style.now))),
    ]);
    if !thread.captures.is_empty() {
        text.push_str("\ncaptures, newest first\n");
        for capture in &thread.captures {
            let by = capture.agent.as_deref().or(capture.session.as_deref()).unwrap_or("made without heddle");
            let when = relative(&capture.author_time, style.now);
            let _ = writeln!(
                text,
                "  {}  {}  ({}, {when})",
                short(&capture.commit),
                clean(&capture.subject),
                clean(by)
            );
        }
    }
    if !thread.changed_paths.is_empty() {
        text.push_str("\nchanged paths\n");
        for path in &thread.changed_paths {
            let _ = writeln!(text, "  {}", clean(path));
        }
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
            let _ = writeln!(text, "  file: {}", clean(path));
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
    }

    #[test]
    fn paths_are_quoted_as_git_quotes_them() {
        assert_eq!(quoted_path("café".as_bytes()), "café");
        assert_eq!(quoted_path(b"caf\xe9\n"), "\"caf\\351\\n\"");
    }
}
