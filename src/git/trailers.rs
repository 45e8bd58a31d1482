//! Trailers as Git reads them, and what those of heddle claim.
//!
//! What capture writes is read strictly here: a reader that goes by the last of two equal
//! trailers, or by their spelling, can be told one thing while another reader is told
//! another. Whether a claim is *true* no message can say.

use super::trailer_block::{self, Parts, parts};
use super::{GitError, Repo};
use crate::names::{CommitId, Generation, SessionId, ThreadName};

/// Which thread, sessions and generation a commit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The thread.
    pub thread: ThreadName,
    /// The session; a commit that landed a thread names all that made it, or none.
    pub sessions: Vec<SessionId>,
    /// The generation; there is one if there is a session.
    pub generation: Option<Generation>,
    /// Whether the rest of the message is that of a commit that landed the thread.
    pub landed: bool,
}

/// The first line of a commit that lands `thread`.
#[must_use]
pub fn landing_title(thread: &ThreadName) -> String {
    format!("Land thread '{thread}'")
}

/// The trailers of a message, in order, as token and value: what Git takes for them.
#[must_use]
pub fn trailers(message: &str) -> Vec<(&str, String)> {
    trailer_block::trailers(parts(message).block)
}

/// The message without what its trailers claim.
#[must_use]
pub fn without_claims(message: &str) -> String {
    let mut text = format!("{}\n", message.trim_end());
    while may_claim(&text) {
        // Where nothing is left of the last paragraph, the one above it is the last.
        let less = format!("{}\n", without_last_claims(&text).trim_end());
        if less == text {
            break;
        }
        text = less;
    }
    text.trim_end().to_owned()
}

fn without_last_claims(message: &str) -> String {
    let Parts { above, block, ignored } = parts(message);
    let claims = |line: &str| {
        let token = line.split_once(':').map_or("", |(token, _)| token.trim_end());
        OURS.iter().any(|ours| ours.eq_ignore_ascii_case(token))
    };
    let (mut text, mut dropping) = (above.to_owned(), false);
    for line in block.split_inclusive('\n') {
        dropping = if line.starts_with([' ', '\t']) { dropping } else { claims(line) };
        if !dropping {
            text.push_str(line);
        }
    }
    text + ignored
}

/// The trailers that are heddle's.
const OURS: [&str; 5] =
    ["Heddle-Thread", "Heddle-Session", "Heddle-Generation", "Heddle-Agent", "Heddle-Confidence"];

/// Whether a message could claim anything. Most of the commits in the world claim nothing, and
/// are not worth a look at each line.
#[must_use]
pub fn may_claim(message: &str) -> bool {
    message.contains("Heddle-") || message.to_ascii_lowercase().contains("heddle-")
}

/// What a message claims; `None` if it claims nothing.
///
/// # Errors
/// What is wrong with the claim, in words that go on from "its message".
pub fn stamp(message: &str) -> Result<Option<Stamp>, Vec<String>> {
    if !may_claim(message) {
        return Ok(None);
    }
    let found = trailers(message);
    let values = |wanted: &str| -> Vec<&str> {
        let of = found.iter().filter(|(token, _)| token.eq_ignore_ascii_case(wanted));
        of.map(|(_, value)| value.as_str()).collect()
    };
    let mut faults = Vec::new();
    let mut one = |token: &str| -> Option<String> {
        match values(token).as_slice() {
            [] => None,
            [value] => Some((*value).to_owned()),
            several => {
                faults.push(format!("has {} {token} trailers", several.len()));
                Some(several[0].to_owned())
            }
        }
    };
    let (thread, generation) = (one("Heddle-Thread"), one("Heddle-Generation"));
    let (agent, confidence) = (one("Heddle-Agent"), one("Heddle-Confidence"));
    let given = values("Heddle-Session");
    let anything = [&thread, &generation, &agent, &confidence].iter().any(|value| value.is_some());
    if !anything && given.is_empty() {
        return Ok(None);
    }
    let mut sessions = Vec::new();
    for value in given {
        match SessionId::parse(value) {
            Ok(session) if sessions.contains(&session) => {
                faults.push(format!("names session '{session}' twice"));
            }
            Ok(session) => sessions.push(session),
            Err(_) => faults.push(format!("has a Heddle-Session trailer that is no session's id: {value:?}")),
        }
    }
    let number = generation.as_ref().map(|text| {
        // Rust would take "+1" and "01"; nothing of ours writes them.
        let number = text.parse().ok().filter(|number: &u64| number.to_string() == *text);
        number.and_then(|number| Generation::new(number).ok())
    });
    if number == Some(None) {
        let text = generation.unwrap_or_default();
        faults.push(format!("has a Heddle-Generation trailer that is no generation: {text:?}"));
    }
    let captured = agent.is_some() || confidence.is_some();
    if confidence.is_some_and(|text| !text.parse().is_ok_and(|number: f64| (0.0..=1.0).contains(&number))) {
        faults.push("has a Heddle-Confidence trailer that is no number from 0 to 1".to_owned());
    }
    if sessions.is_empty() && number.is_some() {
        faults.push("has a Heddle-Generation trailer and no Heddle-Session".to_owned());
    }
    if !sessions.is_empty() && number.is_none() {
        faults.push("has a Heddle-Session trailer and no Heddle-Generation".to_owned());
    }
    let thread = match thread.as_deref().map(ThreadName::parse) {
        Some(Ok(thread)) => Some(thread),
        Some(Err(_)) => {
            faults.push("has a Heddle-Thread trailer that is no thread's name".to_owned());
            None
        }
        None => {
            faults.push("has trailers of heddle and no Heddle-Thread".to_owned());
            None
        }
    };
    match thread {
        Some(thread) if faults.is_empty() => {
            let landed = !captured && message.lines().next() == Some(landing_title(&thread).as_str());
            Ok(Some(Stamp { thread, sessions, generation: number.flatten(), landed }))
        }
        _ => Err(faults),
    }
}

impl Repo {
    /// The highest generation of `thread` that is named by `tip` and the commits below it, the
    /// newest `depth` of them.
    ///
    /// # Errors
    /// [`GitError::Library`] if a commit is missing.
    pub fn generation_on(
        &self,
        tip: &CommitId,
        thread: &ThreadName,
        depth: usize,
    ) -> Result<Option<Generation>, GitError> {
        let claims = self.claims_on(&[tip], depth)?;
        Ok(claims
            .into_iter()
            .filter(|(_, claim)| claim.thread == *thread)
            .map(|(_, c)| c.generation)
            .max()
            .flatten())
    }

    /// What `tips` and the commits below them claim, the newest `depth` of them.
    ///
    /// # Errors
    /// [`GitError::Library`] if a commit is missing.
    pub fn claims_on(&self, tips: &[&CommitId], depth: usize) -> Result<Vec<(CommitId, Stamp)>, GitError> {
        let mut walk = self.raw().revwalk()?;
        for tip in tips {
            walk.push(self.oid(tip.as_str())?)?;
        }
        let mut claims = Vec::new();
        for id in walk.take(depth) {
            let id = id?;
            claims.extend(self.claim_at(id)?.map(|claim| (super::repo::commit_id(id), claim)));
        }
        Ok(claims)
    }

    /// What the commit claims; one that contradicts itself claims nothing.
    ///
    /// # Errors
    /// [`GitError::Library`] if it is missing.
    pub fn claim_of(&self, commit: &CommitId) -> Result<Option<Stamp>, GitError> {
        self.claim_at(self.oid(commit.as_str())?)
    }

    fn claim_at(&self, id: git2::Oid) -> Result<Option<Stamp>, GitError> {
        let commit = self.raw().find_commit(id)?;
        Ok(stamp(&String::from_utf8_lossy(commit.message_bytes())).ok().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Heddle-Thread: a/b\nHeddle-Session: agent-1\nHeddle-Generation: 2\n";

    #[test]
    fn what_capture_writes_is_read() {
        let stamp = stamp(&format!("Subject\n\nBody: x\n\n{GOOD}")).expect("good").expect("a claim");
        assert_eq!((stamp.thread.as_str(), stamp.sessions[0].as_str()), ("a/b", "agent-1"));
        assert_eq!(stamp.generation.map(Generation::get), Some(2));
    }

    #[test]
    fn a_message_without_its_claims_keeps_the_rest() {
        assert_eq!(without_claims(&format!("Subject\n\nBody: x\n\n{GOOD}")), "Subject\n\nBody: x");
        let mixed = "S\n\nSigned-off-by: A <a@b>\nheddle-thread: a\n b\nFixes: 1\n";
        assert_eq!(without_claims(mixed), "S\n\nSigned-off-by: A <a@b>\nFixes: 1");
        assert_eq!(without_claims("Heddle-Thread: a"), "Heddle-Thread: a");
    }

    #[test]
    fn what_capture_adds_to_any_message_is_what_the_commit_claims() {
        use proptest::test_runner::{Config, TestRunner};
        let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
        let ours = [("Heddle-Thread", "b"), ("Heddle-Session", "agent-2"), ("Heddle-Generation", "7")];
        let ours = ours.map(|(key, value)| (key, value.to_owned()));
        TestRunner::new(config)
            .run(&crate::git::trailer_block::tests::messages(), |message| {
                let made = crate::git::commit::with_trailers(&without_claims(&message), &ours);
                // Of a message that is cut off before its first line Git reads nothing.
                let nothing = message.trim().is_empty() || message.trim_start().starts_with("# ---");
                if !nothing {
                    let stamp = stamp(&made).expect("whole").expect("a claim");
                    proptest::prop_assert_eq!(stamp.thread.as_str(), "b", "{:?}", made);
                }
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn what_git_takes_for_prose_claims_nothing() {
        let said = format!("S\n\nWhat it does.\n{GOOD}");
        assert_eq!(stamp(&said), Ok(None));
        // Among what Git itself wrote a little prose does not matter.
        assert!(stamp(&format!("{said}Signed-off-by: A <a@b>\n")).expect("whole").is_some());
        // An empty line may hold blanks.
        assert!(stamp(&format!("S\n \n{GOOD}")).expect("whole").is_some());
    }

    #[test]
    fn text_is_no_claim() {
        for message in
            ["Subject\n", "Heddle-Thread: a\n", "S\n\nHeddle-Thread: a is how it is said\n\nBody\n"]
        {
            assert_eq!(stamp(message), Ok(None), "{message}");
        }
    }

    #[test]
    fn two_readers_cannot_be_told_two_things() {
        for (more, fault) in [
            ("heddle-thread: c\n", "2 Heddle-Thread"),
            ("Heddle-Generation:3\n", "2 Heddle-Generation"),
            ("Heddle-Session: agent-1\n", "twice"),
            ("  and more\n", "no generation"),
            ("Heddle-Confidence: 7\n", "Confidence"),
        ] {
            let faults = stamp(&format!("S\n\n{GOOD}{more}")).expect_err(more);
            assert!(faults.iter().any(|found| found.contains(fault)), "{more}: {faults:?}");
        }
        for alone in
            ["Heddle-Session: agent-1", "Heddle-Generation: 1", "Heddle-Agent: x", "Heddle-Thread: a..b"]
        {
            assert!(stamp(&format!("S\n\n{alone}\n")).is_err(), "{alone}");
        }
        for number in ["0", "-1", "+1", "01", "1.0", "x", ""] {
            let message = format!("S\n\nHeddle-Thread: a\nHeddle-Session: s\nHeddle-Generation: {number}\n");
            assert!(stamp(&message).is_err(), "{number}");
        }
    }

    #[test]
    fn a_landing_names_all_who_made_what_landed() {
        let landed =
            stamp("Land\n\nHeddle-Thread: a\nHeddle-Session: s\nHeddle-Session: t\nHeddle-Generation: 2\n");
        assert_eq!(landed.expect("good").expect("a claim").sessions.len(), 2);
        assert_eq!(stamp("Land\n\nHeddle-Thread: a\n").expect("good").expect("a claim").generation, None);
    }

    #[test]
    fn a_landing_is_told_by_its_first_line() {
        for (message, lands) in [
            ("Land thread 'a/b'\n\n* One\n\n", true),
            ("Land thread 'a'\n\n", false),
            ("Land thread 'a/b' again\n\n", false),
            ("One\n\nLand thread 'a/b'\n\n", false),
        ] {
            let found = stamp(&format!("{message}{GOOD}")).expect("good").expect("a claim");
            assert_eq!(found.landed, lands, "{message}");
        }
        let captured = stamp(&format!("Land thread 'a/b'\n\n{GOOD}Heddle-Agent: x\n"));
        assert!(!captured.expect("good").expect("a claim").landed);
    }
}
