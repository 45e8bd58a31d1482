//! Where the trailers of a message are, as Git finds them.
//!
//! The rules are those of `git interpret-trailers` and of `%(trailers)`, told in
//! git-interpret-trailers(1): a paragraph that is not the first, with nothing behind it that
//! counts, of trailers alone; or a quarter of it, if Git itself wrote one of them. What Git does
//! not take for trailers claims nothing, or two readers could be told two things.

/// Of what Git itself writes, what makes a paragraph one of trailers that is not so throughout.
const GENERATED: [&str; 2] = ["Signed-off-by: ", "(cherry picked from commit "];

/// The line that a message ends at, and the end of the one above it.
const SCISSORS: &str = "\n# ------------------------ >8 ------------------------\n";

/// A message, in the order of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) above: &'a str,
    /// The trailers; empty if there are none.
    pub(super) block: &'a str,
    /// What Git does not look at: comments, conflicts, and what follows a line of scissors.
    pub(super) ignored: &'a str,
}

/// Takes `message` apart.
pub(super) fn parts(message: &str) -> Parts<'_> {
    let lead: usize = message.split_inclusive('\n').take_while(|line| is_blank(line)).map(str::len).sum();
    let end = lead + end_of_text(&message[lead..]);
    let start = lead + start_of_block(&message[lead..end]);
    Parts { above: &message[..start], block: &message[start..end], ignored: &message[end..] }
}

/// The trailers of a block, in order, as token and value. A line that begins with white space goes
/// on with the one above.
pub(super) fn trailers(block: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    // Whether the line above is a trailer, or goes on with one.
    let mut open = false;
    for line in block.split_terminator('\n') {
        if open && line.starts_with(is_space) {
            let (_, value) = found.last_mut().expect("an open one");
            value.push(' ');
            value.push_str(line.trim_start_matches(is_space));
            continue;
        }
        let at = separator(line).filter(|at| *at > 0);
        open = at.is_some();
        if let Some(at) = at {
            found.push((line[..at].trim_matches(is_space), line[at + 1..].to_owned()));
        }
    }
    for (_, value) in &mut found {
        *value = value.trim_matches(is_space).to_owned();
    }
    found
}

/// Where a message is cut off.
pub(super) fn scissors(message: &str) -> usize {
    if message.starts_with(&SCISSORS[1..]) {
        return 0;
    }
    message.find(SCISSORS).map_or(message.len(), |at| at + 1)
}

/// How much of a message is looked at: less what is commented out at its end, or cut off.
fn end_of_text(message: &str) -> usize {
    let cut = scissors(message);
    // As in Git, where a run that begins the message counts as none: conflicts go on until the next
    // run has ended.
    let (mut at, mut begun, mut conflicts) = (0, 0, false);
    for line in message[..cut].split_inclusive('\n') {
        conflicts |= line == "Conflicts:\n";
        if line.starts_with(['#', '\n']) || line == "Conflicts:\n" {
            begun = if begun == 0 { at } else { begun };
        } else if !(conflicts && line.starts_with('\t')) && begun > 0 {
            (begun, conflicts) = (0, false);
        }
        at += line.len();
    }
    if begun > 0 { begun } else { cut }
}

/// Where the block of trailers begins: at the end, if there is none.
fn start_of_block(text: &str) -> usize {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let title = lines.iter().position(|line| !line.starts_with('#') && is_blank(line)).unwrap_or(lines.len());
    let (mut trailers, mut others, mut continuations) = (0_usize, 0_usize, 0_usize);
    let (mut generated, mut begun) = (false, false);
    // From the last line up.
    let mut at = text.len();
    for line in lines[title..].iter().rev() {
        let start = at - line.len();
        if line.starts_with('#') {
            others += std::mem::take(&mut continuations);
        } else if is_blank(line) {
            if begun {
                others += continuations;
                let counts = if generated { trailers * 3 >= others } else { trailers > 0 && others == 0 };
                return if counts { at } else { text.len() };
            }
        } else {
            begun = true;
            if GENERATED.iter().any(|prefix| line.starts_with(prefix)) {
                generated = true;
                trailers += 1;
                continuations = 0;
            } else if line.starts_with(is_space) {
                continuations += 1;
            } else if separator(line).is_some_and(|at| at > 0) {
                trailers += 1;
                continuations = 0;
            } else {
                others += 1 + std::mem::take(&mut continuations);
            }
        }
        at = start;
    }
    text.len()
}

/// Where the colon is in a line that has the form of a trailer: after letters, digits and
/// hyphens, and then perhaps white space.
fn separator(line: &str) -> Option<usize> {
    let at = line.find(':')?;
    let token = line[..at].trim_end_matches([' ', '\t']);
    let is_token = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_token && !(token.is_empty() && at > 0)).then_some(at)
}

fn is_blank(line: &str) -> bool {
    line.chars().all(is_space)
}

/// As Git's own `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    /// Messages made of what matters here, in any order.
    pub(in crate::git) fn messages() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec![
            "Subject",
            "",
            "",
            " ",
            "\r",
            "\t",
            "prose, with: a colon",
            "prose",
            "A: b",
            "A:b  ",
            "A-1 : b",
            "A\t: b\r",
            "A b: c",
            "  goes on",
            "\tgoes on ",
            ": x",
            "Signed-off-by: A <a@b>",
            "Signed-off-by:A",
            "(cherry picked from commit 1234)",
            "# comment",
            "#",
            "---",
            "Conflicts:",
            "\tpath",
            "Heddle-Thread: t",
            "\u{e9}: x",
            "A\u{b}: x",
            "# ------------------------ >8 ------------------------",
        ]);
        (prop::collection::vec(line, 1..14), any::<bool>())
            .prop_map(|(lines, ends)| lines.join("\n") + if ends { "\n" } else { "" })
    }

    fn git(folder: &std::path::Path, args: &[&str], input: &[u8]) -> Vec<u8> {
        let mut git = Command::new("git");
        git.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let mut child = git.spawn().expect("git");
        let mut stdin = child.stdin.take().expect("stdin");
        let input = input.to_vec();
        let fed = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("git");
        fed.join().expect("fed");
        assert!(output.status.success(), "{args:?}: {output:?}");
        output.stdout
    }

    #[test]
    fn trailers_are_those_that_git_finds() {
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
        let strategy = messages();
        let draw = |runner: &mut TestRunner| strategy.new_tree(runner).expect("a message").current();
        let all: Vec<String> = (0..2_000).map(|_| draw(&mut runner)).collect();
        let folder = tempfile::tempdir().expect("folder");
        git(folder.path(), &["init", "-q"], b"");
        let mut stream = String::new();
        for message in &all {
            let size = message.len();
            stream.push_str(&format!(
                "commit refs/heads/x\ncommitter A <a@b> 1 +0000\ndata {size}\n{message}\n"
            ));
        }
        git(folder.path(), &["fast-import", "--quiet"], stream.as_bytes());
        let form = "--format=%(trailers:only,unfold,key_value_separator=%x02,separator=%x01)%x03";
        let told = git(folder.path(), &["-c", "core.commentChar=#", "log", "--reverse", form, "x"], b"");
        let told = String::from_utf8(told).expect("UTF-8");
        let told: Vec<&str> =
            told.trim_end().split_terminator('\u{3}').map(|one| one.trim_start_matches('\n')).collect();
        assert_eq!(told.len(), all.len());
        let mut found_any = 0;
        for (message, told) in all.iter().zip(told) {
            let ours: Vec<String> = trailers(parts(message).block)
                .into_iter()
                .map(|(token, value)| format!("{token}\u{2}{value}"))
                .collect();
            assert_eq!(ours.join("\u{1}"), told, "{message:?}");
            found_any += usize::from(!ours.is_empty());
        }
        assert!(found_any > 100, "{found_any}");
    }

    #[test]
    fn the_parts_of_a_message_are_the_message() {
        TestRunner::new(Config { failure_persistence: None, ..Config::default() })
            .run(&messages(), |message| {
                let Parts { above, block, ignored } = parts(&message);
                prop_assert_eq!([above, block, ignored].concat(), message);
                Ok(())
            })
            .expect("whole");
    }
}
