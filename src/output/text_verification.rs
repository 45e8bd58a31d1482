//! A verification for those who read it: people, GitHub's workflow log, and programs that
//! know JUnit's XML.
//!
//! Names, paths and messages come from commits that anybody may have written. In each form
//! they are made harmless in that form's own way: no control characters on a terminal, no
//! second workflow command, no markup in a summary, no XML but ours.

use std::fmt::Write as _;

use super::documents::verification::{Verdict, Verification, VerifiedSubject, VerifyFinding};
use super::text::clean;

/// For people.
#[must_use]
pub fn text(verification: &Verification) -> String {
    let mut text = String::new();
    for subject in &verification.subjects {
        let _ = writeln!(text, "{}: {} ({})", clean(&subject.name), outcome(subject), summary(subject));
        for (word, finding) in remarks(subject) {
            let _ = writeln!(text, "  {word}{}: {}", clean(&finding.check), clean(&sentence(finding)));
        }
    }
    let of = |verdict| verification.subjects.iter().filter(|subject| subject.verdict == verdict).count();
    let (ok, total) = (of(Verdict::Ok), verification.subjects.len());
    let _ = writeln!(
        text,
        "{ok} of {total} in order{}",
        match &verification.base {
            Some(base) => format!(", compared with {}", clean(&base.name)),
            None => String::new(),
        }
    );
    text
}

/// Workflow commands for GitHub: an annotation for each finding.
#[must_use]
pub fn github(verification: &Verification) -> String {
    let mut text = String::new();
    for subject in &verification.subjects {
        for (_, finding) in remarks(subject) {
            let title = property(&format!("{}: {}", subject.name, finding.check));
            let file = finding.path.as_deref().map(|path| format!(",file={}", property(path)));
            let message = data(&sentence(finding));
            let _ = writeln!(text, "::error title={title}{}::{message}", file.unwrap_or_default());
        }
    }
    let ok = verification.subjects.iter().filter(|subject| subject.verdict == Verdict::Ok).count();
    if ok == verification.subjects.len() {
        let _ = writeln!(text, "::notice title=git heddle verify::{ok} in order");
    }
    text
}

/// The annotation of a verification that did not come about.
#[must_use]
pub fn github_failure(message: &str) -> String {
    format!("::error title=git heddle verify::cannot tell: {}\n", data(message))
}

/// The summary of a step, in GitHub's Markdown.
#[must_use]
pub fn github_summary(verification: &Verification) -> String {
    let mut text = String::from("### git heddle verify\n\n");
    if let Some(base) = &verification.base {
        let short = base.commit.get(..12).unwrap_or(&base.commit);
        let _ = writeln!(text, "Compared with {} ({short}).\n", markdown(&base.name));
    }
    text.push_str(
        "| thread | result | commits | sessions | generation | ready |\n|---|---|---|---|---|---|\n",
    );
    for subject in &verification.subjects {
        let generation = subject.generation.map(|number| number.to_string()).unwrap_or_default();
        let ready = if subject.ready { "yes" } else { "no" };
        let (name, outcome) = (markdown(&subject.name), outcome(subject));
        let (commits, sessions) = (subject.commits, subject.sessions.len());
        let _ = writeln!(text, "| {name} | {outcome} | {commits} | {sessions} | {generation} | {ready} |");
    }
    text.push('\n');
    for subject in &verification.subjects {
        for (word, finding) in remarks(subject) {
            let (name, check) = (markdown(&subject.name), markdown(&finding.check));
            let _ = writeln!(text, "- {name}: {word}{check}: {}", markdown(&sentence(finding)));
        }
    }
    text
}

/// JUnit's XML: a test case for each check of each subject.
#[must_use]
pub fn junit(verification: &Verification) -> String {
    let failed = |subject: &VerifiedSubject, check: &str| {
        subject.findings.iter().any(|finding| finding.check == check)
    };
    let unsure = |subject: &VerifiedSubject, check: &str| {
        !failed(subject, check) && subject.unknown.iter().any(|finding| finding.check == check)
    };
    let count = |subject: &VerifiedSubject, of: &dyn Fn(&VerifiedSubject, &str) -> bool| {
        verification.checks.iter().filter(|check| of(subject, check)).count()
    };
    let all = |of: &dyn Fn(&VerifiedSubject, &str) -> bool| -> usize {
        verification.subjects.iter().map(|subject| count(subject, of)).sum()
    };
    let tests = verification.checks.len() * verification.subjects.len();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"git heddle verify\" tests=\"{tests}\" \
         failures=\"{}\" errors=\"{}\">\n",
        all(&failed),
        all(&unsure)
    );
    for subject in &verification.subjects {
        let name = xml_text(&subject.name);
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
            verification.checks.len(),
            count(subject, &failed),
            count(subject, &unsure)
        );
        for check in &verification.checks {
            let _ = write!(xml, "    <testcase classname=\"{name}\" name=\"{}\"", xml_text(check));
            let (element, of) = match () {
                () if failed(subject, check) => ("failure", &subject.findings),
                () if unsure(subject, check) => ("error", &subject.unknown),
                () => {
                    xml.push_str("/>\n");
                    continue;
                }
            };
            let sentences: Vec<String> =
                of.iter().filter(|finding| finding.check == *check).map(sentence).collect();
            let first = sentences.first().map(String::as_str).unwrap_or_default();
            let _ = writeln!(
                xml,
                ">\n      <{element} type=\"{}\" message=\"{}\">{}</{element}>\n    </testcase>",
                xml_text(check),
                xml_text(first),
                xml_text(&sentences.join("\n"))
            );
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// What was found, then what is unknown, each with the word to say before it.
fn remarks(subject: &VerifiedSubject) -> impl Iterator<Item = (&'static str, &VerifyFinding)> {
    let findings = subject.findings.iter().map(|finding| ("", finding));
    findings.chain(subject.unknown.iter().map(|finding| ("cannot tell: ", finding)))
}

/// All that a finding says.
fn sentence(finding: &VerifyFinding) -> String {
    let path = finding.path.as_ref().map(|path| format!(": {path}")).unwrap_or_default();
    let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{path}{hint}", finding.message)
}

fn outcome(subject: &VerifiedSubject) -> String {
    let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match subject.verdict {
        Verdict::Ok => "in order".to_owned(),
        Verdict::Findings => many(subject.findings.len(), "finding"),
        Verdict::Unknown => "cannot tell".to_owned(),
    }
}

fn summary(subject: &VerifiedSubject) -> String {
    let mut parts = vec![format!("commits {}", subject.commits)];
    if !subject.sessions.is_empty() {
        parts.push(format!("sessions {}", subject.sessions.len()));
    }
    parts.extend(subject.generation.map(|generation| format!("generation {generation}")));
    parts.extend(subject.ready.then(|| "ready".to_owned()));
    parts.join(", ")
}

/// The data of a workflow command, as GitHub's own toolkit escapes it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text in a table cell of GitHub's Markdown. Every character of ASCII that could mean
/// something is written as a reference, an at sign and a hash too: they notify people and
/// refer to issues.
fn markdown(text: &str) -> String {
    clean(text).chars().fold(String::new(), |mut safe, character| {
        if character.is_ascii_punctuation() && !matches!(character, '/' | '.' | ',' | '-' | '(' | ')') {
            let _ = write!(safe, "&#{};", u32::from(character));
        } else {
            safe.push(character);
        }
        safe
    })
}

/// Text and attribute values in XML 1.0, which has no way to write most control characters.
fn xml_text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(safe, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            character => safe.push(character),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_begin_a_second_workflow_command() {
        assert_eq!(data("a%0A\n::set-env::"), "a%250A%0A::set-env::");
        assert_eq!(property("a::b,file=c"), "a%3A%3Ab%2Cfile=c");
    }

    #[test]
    fn markdown_shows_what_it_is_given() {
        assert_eq!(markdown("a|b\n<img> @all #1"), "a&#124;b &#60;img&#62; &#64;all &#35;1");
    }

    #[test]
    fn xml_has_only_what_xml_can_have() {
        assert_eq!(
            xml_text("<a b='\"'>&\u{1}\u{1b}\u{ffff}\n"),
            "&lt;a b=&apos;&quot;&apos;&gt;&amp;\u{fffd}\u{fffd}\u{fffd}&#10;"
        );
    }
}
