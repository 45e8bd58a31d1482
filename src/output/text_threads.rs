//! What people read of threads: the list, one in full, landing, dropping, promoting and
//! collecting.

use std::fmt::Write as _;

use super::documents::{
    CaptureRow, Dropped, Gc, Land, Liveness, PastOwner, Promoted, Readiness, SessionStatus, ThreadDetail,
    ThreadRow, ThreadState, ThreadWorktree,
};
use super::grid::{Cell, Color, Grid, Keep, Step};
use super::text::{Style, by_hand, clean, counted, pairs, quoted_path, relative, short, since};

fn state(row: &ThreadRow) -> Cell {
    if row.recovering {
        return Cell::new("recovering").fg(Color::Yellow);
    }
    match row.state {
        ThreadState::Active => Cell::new("active"),
        ThreadState::Ready => Cell::new("ready").fg(Color::Green),
        ThreadState::Blocked => Cell::new("blocked").fg(Color::Red),
        ThreadState::Merged => Cell::new("merged"),
        ThreadState::Abandoned => Cell::new("abandoned").fg(Color::Yellow),
        ThreadState::Promoted => Cell::new("promoted"),
    }
}

/// When the owner was heard of last, with a word where it may not be there any more.
fn heartbeat(row: &ThreadRow, style: &Style) -> Cell {
    let heard = row.last_heartbeat_at.as_deref().map(|time| relative(time, style.now));
    let heard = heard.unwrap_or_else(|| "-".to_owned());
    match row.liveness {
        Some(Liveness::Dead) => Cell::new(format!("{heard} (dead)")).fg(Color::Red),
        Some(Liveness::Unknown) => Cell::new(format!("{heard} (unknown)")).fg(Color::Yellow),
        Some(Liveness::Alive) | None => Cell::new(heard),
    }
}

/// How long ago the owner reserved the thread; without an owner, how old its last commit is.
fn age(row: &ThreadRow, style: &Style) -> String {
    let time = row.started_at.as_deref().or(row.tip_at.as_deref());
    time.map_or_else(|| "-".to_owned(), |time| since(time, style.now))
}

/// How far a thread and its target are apart.
fn distance(row: &ThreadRow) -> String {
    match (row.ahead, row.behind) {
        (Some(ahead), Some(behind)) => format!("+{ahead} -{behind}"),
        _ => "-".to_owned(),
    }
}

/// `thread list`. Below the table, what stayed behind and what nobody else would see.
#[must_use]
pub fn list(rows: &[ThreadRow], all: bool, style: &Style) -> String {
    if rows.is_empty() {
        return if all { "no threads\n" } else { "no open threads\n" }.to_owned();
    }
    const HEADER: [&str; 8] = ["THREAD", "STATE", "OWNER", "AGE", "HEARTBEAT", "COMMITS", "FILES", "TASK"];
    const STEPS: [Step; 10] = [
        Step::Shorten(7, Keep::Start, 40),
        // Ids begin alike.
        Step::Abbreviate(2, 9),
        Step::Shorten(7, Keep::Start, 16),
        Step::Below(7),
        Step::Shorten(0, Keep::Ends, 20),
        Step::Drop(3),
        Step::Shorten(0, Keep::Ends, 12),
        Step::Drop(6),
        Step::Drop(5),
        Step::Drop(2),
    ];
    let mut table = Grid::new(&HEADER, &[5, 6], &STEPS);
    for row in rows {
        table.row(vec![
            Cell::new(clean(&row.thread)),
            state(row),
            Cell::new(row.owner.as_deref().unwrap_or("-")),
            Cell::new(age(row, style)),
            heartbeat(row, style),
            Cell::new(distance(row)),
            Cell::new(row.files.map_or_else(|| "-".to_owned(), |files| files.to_string())),
            Cell::new(clean(row.task.as_deref().unwrap_or("-"))),
        ]);
    }
    let mut text = table.lines(style.width, style.color);
    let places = || rows.iter().flat_map(|row| row.worktrees.iter().map(move |place| (row, place)));
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = write!(text, "\n{title}\n{}", lines.concat());
        }
    };
    let left = places().filter(|(_, place)| place.left);
    section(
        "Worktrees that stayed although their session ended:",
        left.map(|(row, place)| format!("  {}: {}\n", clean(&row.thread), worktree(place))).collect(),
    );
    let made = places().filter_map(|(row, place)| Some((row, place, place.unadopted.as_ref()?)));
    section(
        "Commits made by hand that are not on their thread:",
        made.map(|(row, place, found)| {
            format!("  {}: {} ({})\n", clean(&row.thread), by_hand(found), quoted_path(place.path.as_bytes()))
        })
        .collect(),
    );
    text
}

fn worktree(place: &ThreadWorktree) -> String {
    let mut text = quoted_path(place.path.as_bytes());
    if place.missing {
        text.push_str(" (missing)");
    }
    if let Some(reason) = &place.locked {
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", clean(reason)) };
        let _ = write!(text, " (locked{reason})");
    }
    text
}

/// `thread list --porcelain`: for each thread a line for each thing that is known, its name
/// and its value, and an empty line. With `nul` lines end in NUL and values are as they are;
/// without it a value that would break the line is quoted as Git quotes paths.
#[must_use]
pub fn porcelain(rows: &[ThreadRow], nul: bool) -> String {
    let end = if nul { '\0' } else { '\n' };
    let mut text = String::new();
    for row in rows {
        let mut line = |name: &str, value: Option<&str>| {
            let Some(value) = value else { return };
            text.push_str(name);
            if !value.is_empty() {
                text.push(' ');
                if nul {
                    text.extend(value.chars().filter(|character| *character != '\0'));
                } else {
                    text.push_str(&quoted_path(value.as_bytes()));
                }
            }
            text.push(end);
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let flag = |set: bool| set.then_some("");
        line("thread", Some(&row.thread));
        line("tip", row.tip.as_deref());
        line("tip-time", row.tip_at.as_deref());
        line("state", word(row.state).as_deref());
        line("ready", flag(row.ready));
        line("recovering", flag(row.recovering));
        line("owner", row.owner.as_deref());
        line("liveness", row.liveness.and_then(word).as_deref());
        line("generation", number(row.generation).as_deref());
        line("reserved", row.started_at.as_deref());
        line("heartbeat", row.last_heartbeat_at.as_deref());
        line("anchor", row.anchor.as_deref());
        line("target", row.target.as_deref());
        line("ahead", number(row.ahead).as_deref());
        line("behind", number(row.behind).as_deref());
        line("files", number(row.files).as_deref());
        line("task", row.task.as_deref().filter(|task| !task.is_empty()));
        for place in &row.worktrees {
            line("worktree", Some(&place.path));
            line("worktree-session", Some(&place.session));
            line("worktree-left", flag(place.left));
            line("worktree-missing", flag(place.missing));
            line("worktree-locked", place.locked.as_deref());
            if let Some(found) = &place.unadopted {
                line("worktree-unadopted", Some(&found.commits.to_string()));
                line("worktree-head", Some(&found.head));
            }
        }
        text.push(end);
    }
    text
}

/// The word that a document has for one of its choices.
fn word<T: serde::Serialize>(choice: T) -> Option<String> {
    Some(serde_json::to_value(choice).ok()?.as_str()?.to_owned())
}

/// `thread show`.
#[must_use]
pub fn thread(thread: &ThreadDetail, style: &Style) -> String {
    let row = &thread.row;
    let ago = |time: &str| relative(time, style.now);
    let alive = row.liveness.and_then(word).map(|word| {
        let why = thread.liveness_reason.as_deref().unwrap_or_default();
        format!("{word}: {why}")
    });
    let target = row.target.as_ref().map(|target| {
        let files = row.files.map(|files| usize::try_from(files).unwrap_or(usize::MAX));
        let files = files.map(|files| format!(", {} changed", counted(files, "file"))).unwrap_or_default();
        format!("{target} ({}{files})", distance(row))
    });
    let mut text = pairs(&[
        ("thread", Some(row.thread.clone())),
        ("formerly", (!thread.former_names.is_empty()).then(|| thread.former_names.join(", "))),
        ("state", Some(state(row).content())),
        ("owner", row.owner.clone()),
        ("", alive),
        ("generation", row.generation.map(|generation| generation.to_string())),
        ("task", row.task.clone()),
        ("progress", thread.session.as_ref().and_then(|session| session.progress.clone())),
        ("reserved", row.started_at.as_deref().map(ago)),
        ("heartbeat", row.last_heartbeat_at.as_deref().map(ago)),
        ("tip", row.tip.clone()),
        ("anchor", row.anchor.clone()),
        ("target", target),
    ]);
    if let Some(readiness) = &thread.readiness {
        ready(readiness, &mut text);
    }
    for place in &row.worktrees {
        let _ = writeln!(text, "\nworktree {}", worktree(place));
        if place.left {
            let _ = writeln!(text, "  it stayed when session {} ended", clean(&place.session));
        }
        if let Some(found) = &place.unadopted {
            let _ = writeln!(text, "  {}", by_hand(found));
        }
        for held in place.holds.iter().flatten() {
            let _ = writeln!(text, "  holds {}", clean(held));
        }
    }
    if !thread.captures.is_empty() {
        text.push_str("\ncaptures, newest first\n");
        thread.captures.iter().for_each(|row| text.push_str(&capture(row, style)));
    }
    if !thread.changed_paths.is_empty() {
        text.push_str("\nchanged paths\n");
        for path in &thread.changed_paths {
            let _ = writeln!(text, "  {}", clean(path));
        }
    }
    if !thread.owners.is_empty() {
        text.push_str("\nowners, the last one first\n");
        thread.owners.iter().for_each(|row| text.push_str(&past_owner(row, style)));
    }
    if let Some(next) = &thread.next_action {
        let _ = writeln!(text, "\nnext: {}", clean(next));
    }
    text
}

fn capture(row: &CaptureRow, style: &Style) -> String {
    let by = row.agent.as_deref().or(row.session.as_deref()).unwrap_or("made without heddle");
    let sure = row.confidence.map(|confidence| format!(", confidence {confidence}")).unwrap_or_default();
    let when = relative(&row.author_time, style.now);
    format!("  {}  {}  ({}, {when}{sure})\n", short(&row.commit), clean(&row.subject), clean(by))
}

fn past_owner(row: &PastOwner, style: &Style) -> String {
    let generation = row.generation.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let became = match row.status {
        Some(SessionStatus::Active) => Some("owns it".to_owned()),
        Some(status) => word(status),
        None => None,
    };
    let captures = counted(usize::try_from(row.captures).unwrap_or(usize::MAX), "capture");
    let from = row.from.as_deref().map(|time| format!("reserved {}", relative(time, style.now)));
    let until = row.until.as_deref().map(|time| format!("ended {}", relative(time, style.now)));
    let told = [became, row.agent.clone(), from, until, Some(captures)];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let mut text = format!("  {generation}  {}  {}\n", clean(&row.session), clean(&told.join(", ")));
    if let Some(task) = &row.task {
        let _ = writeln!(text, "     {}", clean(task));
    }
    text
}

/// Whether it could land, and with whom it overlaps.
fn ready(readiness: &Readiness, text: &mut String) {
    let mark = match (&readiness.mark, readiness.marked) {
        (Some(_), true) => "marked ready at its tip".to_owned(),
        (Some(mark), false) => format!("was ready at {}, and has moved since", short(mark)),
        (None, _) => "not marked ready".to_owned(),
    };
    let fresh = readiness.report.freshness.and_then(word);
    let fresh = fresh.map(|word| format!(", {word} against its target")).unwrap_or_default();
    let _ = writeln!(text, "\n{mark}{fresh}");
    for blocker in &readiness.blockers {
        let _ = writeln!(text, "  blocker: {}", clean(blocker));
    }
    for warning in &readiness.warnings {
        let _ = writeln!(text, "  warning: {}", clean(warning));
    }
    for overlap in &readiness.report.overlaps {
        let paths = overlap.paths.join(", ");
        let _ = writeln!(text, "  overlaps with {} in {}", clean(&overlap.thread), clean(&paths));
    }
}

/// `thread land`.
#[must_use]
pub fn land(land: &Land) -> String {
    let mut text = String::new();
    for landed in &land.landed {
        let branch = landed.target.strip_prefix("refs/heads/").unwrap_or(&landed.target);
        let how = if landed.already { "was on" } else { "landed on" };
        let commit = landed.commit.get(..12).unwrap_or(&landed.commit);
        let _ = writeln!(text, "{} {how} {}: {commit}", clean(&landed.thread), clean(branch));
    }
    for blocked in &land.blocked {
        let _ = writeln!(text, "{} is blocked: {}", clean(&blocked.thread), clean(&blocked.reason));
    }
    for thread in &land.skipped {
        let _ = writeln!(text, "{} is still blocked", clean(thread));
    }
    for pushed in &land.pushed {
        let _ = writeln!(text, "pushed {} to {}", clean(&pushed.target), clean(&pushed.remote));
    }
    if text.is_empty() {
        text.push_str("nothing to land\n");
    }
    text
}

/// `thread drop`.
#[must_use]
pub fn dropped(dropped: &Dropped) -> String {
    let mut text = format!("dropped {}\n", clean(&dropped.thread));
    if let Some(path) = &dropped.worktree {
        let _ = writeln!(text, "  removed its worktree {}", quoted_path(path.as_bytes()));
    }
    if let Some(name) = &dropped.worktree_kept_as {
        let _ = writeln!(text, "  what was only in the worktree is kept as {}", clean(name));
    }
    let _ = writeln!(text, "  to get it back: {}", clean(&dropped.restore));
    text
}

/// `thread promote`.
#[must_use]
pub fn promoted(promoted: &Promoted) -> String {
    let branch = promoted.branch.strip_prefix("refs/heads/").unwrap_or(&promoted.branch);
    let at = promoted.commit.get(..12).unwrap_or(&promoted.commit);
    let how = if promoted.changed { "is now" } else { "was already" };
    format!("branch {} {how} at {at}, the tip of {}\n", clean(branch), clean(&promoted.thread))
}

/// `gc`.
#[must_use]
pub fn gc(gc: &Gc) -> String {
    if gc.collected.is_empty() {
        return "nothing to remove\n".to_owned();
    }
    let verb = if gc.dry_run { "would remove" } else { "removed" };
    gc.collected.iter().fold(String::new(), |mut text, collected| {
        let kind = serde_json::to_value(collected.kind).ok();
        let kind = kind.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "{verb} {kind} {}", clean(&collected.name));
        text
    })
}
