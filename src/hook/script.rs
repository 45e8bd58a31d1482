//! The text of a hook file: whose it is, and how ours is put into it and taken out again.
//!
//! A hook file is one of three kinds when it is installed:
//!
//! - *whole*: there was none. The file is our shim and nothing else.
//! - *inserted*: there was a shell script. Our part stands between two marker lines right
//!   after its first line, so that it runs before anything of the script and the script,
//!   its arguments, its standard input and its exit status stay its own.
//! - *chained*: there was something that is not ours to edit (another interpreter, a program,
//!   a symbolic link, a file that is not executable). It is kept beside, and ours runs it.
//!
//! Taking out is exact: [`remove`] gives back, byte for byte, what [`insert`] was given. What
//! somebody else wrote around our part meanwhile stays. Everything that is needed for that
//! stands in the file itself, so that a file which a hook manager has moved is still
//! understood.
//!
//! Nothing here touches a file.

use super::Event;

/// Begins our part; the kind follows.
const BEGIN: &str = "# >>> git-heddle hooks >>> ";
/// Ends our part.
const END: &str = "# <<< git-heddle hooks <<<";
/// The first line of a file that is ours alone.
const SHEBANG: &str = "#!/bin/sh\n";
/// Set by `git heddle hooks status`: our part answers and does nothing else, nor does what
/// stands below it. A hook that answers fails, so that nobody gets past the rules by setting
/// it.
pub const PROBE: &str = "HEDDLE_HOOKS_PROBE";

/// How ours is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The file is ours.
    Whole,
    /// It is somebody's shell script with our part in it.
    Inserted,
    /// It is ours, and runs what was there before.
    Chained,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Whole, Self::Inserted, Self::Chained];

    /// What the marker says.
    const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Inserted => "inserted",
            Self::Chained => "chained",
        }
    }
}

/// A file with our part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// How.
    pub kind: Kind,
    /// The file without our part; `None` if nothing is left of it.
    pub rest: Option<Vec<u8>>,
    /// Whether our part is what comes first, so that it decides before anything else runs.
    pub first: bool,
}

/// The file for `event` where there was none.
#[must_use]
pub fn whole(event: Event) -> Vec<u8> {
    let warning = "# What is added below this line never runs; 'git heddle hooks install' mends that.\n";
    format!("{SHEBANG}{}{}{warning}{END}\n", begin(event, Kind::Whole), body(event)).into_bytes()
}

/// The file for `event` that runs what was there before, by a link in the folder `way` from here.
#[must_use]
pub fn chained(event: Event, way: &str) -> Vec<u8> {
    let name = event.name();
    let chain = format!(
        "heddle_next=${{0%/*}}/{way}/{name}\n[ -x \"$heddle_next\" ] || exit 0\nexec \"$heddle_next\" \"$@\"\n"
    );
    let (before, after) = around(event);
    format!("{SHEBANG}{}{before}{}{after}{chain}{END}\n", begin(event, Kind::Chained), body(event))
        .into_bytes()
}

/// The shell script `prior` with our part for `event` in it; `None` if it is no script that we
/// can be sure to leave intact.
#[must_use]
pub fn insert(event: Event, prior: &[u8]) -> Option<Vec<u8>> {
    if !is_shell(prior) || mentions_markers(prior) {
        return None;
    }
    let (before, after) = around(event);
    let part = format!("{}{before}{}{after}{END}", begin(event, Kind::Inserted), body(event));
    let mut text = Vec::with_capacity(prior.len() + part.len() + 1);
    match prior.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            text.extend_from_slice(&prior[..=end]);
            text.extend_from_slice(part.as_bytes());
            text.push(b'\n');
            text.extend_from_slice(&prior[end + 1..]);
        }
        // A part without a newline at its end says that there was none before it either.
        None => {
            text.extend_from_slice(prior);
            text.push(b'\n');
            text.extend_from_slice(part.as_bytes());
        }
    }
    Some(text)
}

/// Finds our part in a file and takes it out; `None` if there is none.
#[must_use]
pub fn remove(content: &[u8]) -> Option<Ours> {
    let (kind, part) = find(content)?;
    let first = content[..part.start].iter().filter(|byte| **byte == b'\n').count() <= 1;
    let mut rest = content[..part.start].to_vec();
    rest.extend_from_slice(&content[part.end..]);
    // A file that somebody has copied into itself.
    while let Some((_, part)) = find(&rest) {
        rest.drain(part);
    }
    let rest = match kind {
        Kind::Whole | Kind::Chained if is_empty(&rest) => None,
        _ => Some(rest),
    };
    Some(Ours { kind, rest, first })
}

/// The list `prior` with `lines` at its end, in a part of ours that [`remove`] takes out.
#[must_use]
pub fn list(prior: Option<&[u8]>, lines: &std::collections::BTreeSet<String>) -> Vec<u8> {
    let kind = if prior.is_some() { Kind::Inserted } else { Kind::Whole };
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let part = format!("{}{lines}{END}", marker(kind));
    let mut text = prior.unwrap_or_default().to_vec();
    let unended = !text.is_empty() && !text.ends_with(b"\n");
    if unended {
        text.push(b'\n');
    }
    text.extend_from_slice(part.as_bytes());
    if !unended {
        text.push(b'\n');
    }
    text
}

/// What `hook.<name>.command` has to be, for a Git that reads hooks from its configuration. It
/// runs it as `sh -c '<command> "$@"'`.
#[must_use]
pub fn command(event: Event) -> String {
    // The shim ends the shell; what Git adds goes to a command that is never reached.
    format!("{}{}:", probe(event), body(event))
}

/// Whether Git would have a POSIX shell run the script, with a body that can be added to.
fn is_shell(content: &[u8]) -> bool {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("#!")) else {
        return false;
    };
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let base = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let mut interpreter = words.next().map(base);
    if interpreter.as_deref() == Some("env") {
        interpreter = words.find(|word| *word != "-S").map(base);
    }
    let shell = matches!(interpreter.as_deref(), Some("sh" | "bash" | "dash" | "ash" | "ksh" | "mksh"));
    // `-n` reads and runs nothing; `-c` and `-s` read from elsewhere. Ours would not run.
    shell
        && words.all(|option| matches!(option, "-e" | "-u" | "-x" | "-eu" | "-ex" | "-eux" | "-f" | "--"))
        && !content.contains(&0)
}

/// Whether nothing but a first line is left of a file; an editor may have taken its newline.
fn is_empty(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii_end();
    rest.is_empty() || rest == SHEBANG.trim_ascii_end().as_bytes()
}

/// Whether what ours begins with is in a file in which there is no part of ours that is whole.
#[must_use]
pub fn is_torn(content: &[u8]) -> bool {
    let probes = content.windows(PROBE.len()).any(|found| found == PROBE.as_bytes());
    probes && find(content).is_none()
}

/// Whether a part of ours begins or ends somewhere: half a part is nobody's to edit.
fn mentions_markers(content: &[u8]) -> bool {
    content
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(BEGIN.trim_end().as_bytes()) || line.starts_with(END.as_bytes()))
}

/// Where our part is.
fn find(content: &[u8]) -> Option<(Kind, std::ops::Range<usize>)> {
    let mut start = None;
    let mut at = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let kind = Kind::ALL.into_iter().find(|kind| {
            let after = text
                .strip_prefix(BEGIN.as_bytes())
                .and_then(|rest| rest.strip_prefix(kind.word().as_bytes()));
            after.is_some_and(|after| after.is_empty() || after[0] == b':')
        });
        if let Some(kind) = kind {
            start = Some((kind, at));
        }
        if text == END.as_bytes()
            && let Some((kind, start)) = start
        {
            let end = at + line.len();
            // See `insert`: the newline before such a part is part of it.
            let unended = line.len() == text.len() && start > 0;
            return Some((kind, if unended { start - 1 } else { start }..end));
        }
        at += line.len();
    }
    None
}

fn begin(event: Event, kind: Kind) -> String {
    marker(kind) + &probe(event)
}

fn marker(kind: Kind) -> String {
    format!("{BEGIN}{}: 'git heddle hooks uninstall' takes this part out\n", kind.word())
}

/// Answers `hooks status`.
fn probe(event: Event) -> String {
    let name = event.name();
    format!("[ -z \"${{{PROBE}-}}\" ] || exec git-heddle hooks run {name} \"$@\"\n")
}

/// The shim without its first line: it decides, and ends the shell that it runs in.
fn body(event: Event) -> &'static str {
    let shim = event.shim();
    shim.strip_prefix(SHEBANG).unwrap_or(shim)
}

/// What stands around the shim where something else is to run after it: the shim ends a shell
/// of its own, and what it reads is kept for who comes next.
fn around(event: Event) -> (String, String) {
    // What is only told of something that has happened stops nothing, and neither do we.
    let refused = match event {
        Event::ReferenceTransaction => "{ [ \"$1\" != prepared ] || exit 1; }",
        Event::PostRewrite => ":",
        _ => "exit",
    };
    if !event.reads_stdin() {
        let after = format!(")\nheddle_hook \"$@\" || {refused}\nunset -f heddle_hook\n");
        return ("heddle_hook() (\n".to_owned(), after);
    }
    // Git's lines are never empty, each ends in a newline, and none has a NUL: a variable
    // holds them, and a here-document gives them back as they were.
    let after = format!(
        ")\n\
         heddle_stdin=$(cat)\n\
         if [ -n \"$heddle_stdin\" ]; then\n\
         heddle_hook \"$@\" <<HEDDLE_STDIN || {refused}\n\
         $heddle_stdin\n\
         HEDDLE_STDIN\n\
         exec <<HEDDLE_STDIN\n\
         $heddle_stdin\n\
         HEDDLE_STDIN\n\
         else\n\
         heddle_hook \"$@\" </dev/null || {refused}\n\
         exec </dev/null\n\
         fi\n\
         unset heddle_stdin\n\
         unset -f heddle_hook\n"
    );
    ("heddle_hook() (\n".to_owned(), after)
}
