//! A verification as a document.

use super::super::documents::FailureKind;
use super::super::documents::verification as doc;
use super::super::exit;
use super::super::text::quoted_path;
use crate::ops::verify::{Check, Finding, Report, Subject};

/// A verification.
#[must_use]
pub fn verification(report: &Report) -> doc::Verification {
    let subjects: Vec<doc::VerifiedSubject> = report.subjects.iter().map(subject).collect();
    let has = |verdict| subjects.iter().any(|subject| subject.verdict == verdict);
    doc::Verification {
        verdict: verdict(has(doc::Verdict::Findings), has(doc::Verdict::Unknown)),
        base: report
            .base
            .as_ref()
            .map(|(name, commit)| doc::VerifiedBase { name: name.clone(), commit: commit.to_string() }),
        checks: report.checks.iter().map(|check| check.as_str().to_owned()).collect(),
        subjects,
    }
}

/// The exit code of a verification that ended so.
#[must_use]
pub fn exit_code(verdict: doc::Verdict) -> u8 {
    match verdict {
        doc::Verdict::Ok => exit::OK,
        doc::Verdict::Findings => FailureKind::Blocked.exit_code(),
        doc::Verdict::Unknown => FailureKind::NotUsable.exit_code(),
    }
}

fn subject(subject: &Subject) -> doc::VerifiedSubject {
    doc::VerifiedSubject {
        name: subject.label.clone(),
        refname: subject.refname.clone(),
        tip: subject.tip.as_ref().map(ToString::to_string),
        base: subject.base.to_string(),
        commits: subject.commits,
        sessions: subject.sessions.iter().cloned().collect(),
        generation: subject.generation,
        ready: subject.ready,
        verdict: verdict(!subject.findings.is_empty(), !subject.unknown.is_empty()),
        findings: subject.findings.iter().map(finding).collect(),
        unknown: subject.unknown.iter().map(finding).collect(),
    }
}

fn verdict(findings: bool, unknown: bool) -> doc::Verdict {
    match (findings, unknown) {
        (true, _) => doc::Verdict::Findings,
        (false, true) => doc::Verdict::Unknown,
        (false, false) => doc::Verdict::Ok,
    }
}

fn finding(finding: &Finding) -> doc::VerifyFinding {
    doc::VerifyFinding {
        check: Check::as_str(finding.check).to_owned(),
        commit: finding.commit.as_ref().map(ToString::to_string),
        path: finding.path.as_deref().map(quoted_path),
        message: finding.message.clone(),
        hint: finding.hint.map(str::to_owned),
    }
}
