//! From what the domain knows to what the documents say.

pub mod hooks;
pub mod refresh;
pub mod rename;
pub mod traffic;
pub mod verification;

use std::path::Path;

use super::documents as doc;
use super::failure;
use super::text::quoted_path;
use crate::error::{Conflict, ConflictKind, ConflictOwner, Error};

use crate::git::diff::Change;
use crate::git::merge::Freshness;
use crate::names::ThreadName;
use crate::ops::capture::Captured;
use crate::ops::checks::{CheckRun, CheckStatus};
use crate::ops::doctor::Finding;
use crate::ops::gc;
use crate::ops::impact::{Category, Impact};
use crate::ops::readiness::Findings;
use crate::ops::ready::Report;
use crate::session::Liveness;
use crate::session::session::{Holder, Session, Status};
use crate::session::token::Token;
use crate::store::events::Event;
use crate::thread::owned::rfc3339;

mod threads;

pub use threads::{dropped, land, promoted, thread_detail, thread_row, unadopted};

/// A session, with its token only in the answer to the reserve that made it.
#[must_use]
pub fn session(
    session: &Session,
    liveness: Liveness,
    target: Option<&str>,
    token: Option<&Token>,
) -> doc::Session {
    let (kind, pid) = match &session.holder {
        Holder::Lease => (doc::HolderKind::Lease, None),
        Holder::Process { pid, .. } => (doc::HolderKind::Process, Some(*pid)),
        Holder::Lock { command, .. } => (doc::HolderKind::Lock, command.map(|command| command.pid)),
    };
    let agent = session.agent.clone();
    let usage = session.usage;
    doc::Session {
        session_id: session.session_id.as_str().to_owned(),
        reservation_token: token.map(|token| token.reveal().to_owned()),
        thread: session.thread.as_str().to_owned(),
        anchor_state: Some(session.anchor_state.as_str().to_owned()),
        anchor_root: Some(session.anchor_root.as_str().to_owned()),
        status: status(session.status()),
        // One that was made for the session goes with it.
        path: session
            .path
            .as_deref()
            .filter(|path| session.worktree.is_none() || path.is_dir())
            .map(shown_path),
        task: session.task.clone(),
        generation: session.generation.get(),
        liveness: liveness_word(liveness),
        started_at: rfc3339(session.started_at),
        heartbeat_at: rfc3339(session.heartbeat.at),
        expires_at: (session.holder == Holder::Lease).then(|| rfc3339(session.expires_at())),
        completed_at: session.completed_at().map(rfc3339),
        holder: doc::Holder { kind, pid, host: Some(session.place().host.clone()) },
        agent: doc::Agent {
            provider: agent.provider,
            model: agent.model,
            harness: agent.harness,
            thinking_level: agent.thinking_level,
            parent: agent.parent,
            client_instance: agent.client_instance,
            source: Some(agent.source),
        },
        usage: doc::Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            tool_calls: usage.tool_calls,
            cost_micros_usd: usage.cost_micros_usd,
        },
        progress: session.progress.clone(),
        target: target.map(str::to_owned),
        unadopted: None,
    }
}

/// How a session stands.
#[must_use]
pub fn status(status: Status) -> doc::SessionStatus {
    match status {
        Status::Active => doc::SessionStatus::Active,
        Status::Abandoned => doc::SessionStatus::Abandoned,
        Status::Complete => doc::SessionStatus::Complete,
        Status::Merged => doc::SessionStatus::Merged,
    }
}

/// Whether an owner lives.
#[must_use]
pub fn liveness_word(liveness: Liveness) -> doc::Liveness {
    match liveness {
        Liveness::Alive(_) => doc::Liveness::Alive,
        Liveness::Dead(_) => doc::Liveness::Dead,
        Liveness::Unknown(_) => doc::Liveness::Unknown,
    }
}

/// A refused reserve.
#[must_use]
pub fn conflict(conflict: &Conflict) -> doc::Conflict {
    let owner = |owner: &ConflictOwner| match &owner.session {
        Some(known) => doc::Owner::Session(Box::new(session(known, owner.liveness, None, None))),
        None => doc::Owner::Unreadable(Box::new(unreadable_owner(&conflict.thread, owner))),
    };
    doc::Conflict {
        kind: match conflict.kind {
            ConflictKind::LiveOwner => doc::ConflictKind::LiveOwner,
            ConflictKind::AnchorDrift => doc::ConflictKind::AnchorDrift,
        },
        thread: conflict.thread.as_str().to_owned(),
        requested_anchor: conflict.requested.as_str().to_owned(),
        owner: conflict.owner.as_ref().map(owner),
        reserved_anchor: conflict.actual.as_ref().map(|commit| commit.as_str().to_owned()),
        message: format!("{}; {}", conflict.message(), failure::next_step(conflict)),
    }
}

/// What the thread's record tells of an owner whose own record cannot be read.
fn unreadable_owner(thread: &ThreadName, owner: &ConflictOwner) -> doc::UnreadableOwner {
    doc::UnreadableOwner {
        session_id: owner.id.as_str().to_owned(),
        reservation_token: None,
        thread: thread.as_str().to_owned(),
        anchor_state: None,
        anchor_root: None,
        status: doc::SessionStatus::Active,
        path: None,
        task: None,
        generation: owner.generation.get(),
        liveness: liveness_word(owner.liveness),
        reason: doc::Unknown::Unreadable,
    }
}

/// A reservation that was refused to `agent run`.
#[must_use]
pub fn not_started(error: Option<&Error>, detail: doc::FailureDetail) -> doc::NotStarted {
    let refusal = match error {
        Some(Error::Conflict(refused)) => doc::Refusal::Conflict(conflict(refused)),
        _ => doc::Refusal::Failure(doc::Failure { error: detail }),
    };
    doc::NotStarted { started: false, refusal }
}

/// A capture.
#[must_use]
pub fn capture(captured: &Captured, confidence: Option<f64>) -> doc::Capture {
    let (insertions, deletions) = totals(&captured.changes);
    doc::Capture {
        session_id: captured.session.session_id.as_str().to_owned(),
        thread: captured.session.thread.as_str().to_owned(),
        captured: captured.captured,
        commit: captured.captured.then(|| captured.commit.as_str().to_owned()),
        tree: Some(captured.tree.as_str().to_owned()),
        parent: Some(captured.parent.as_str().to_owned()),
        message: captured.message.clone(),
        confidence,
        changed_paths: captured.changes.iter().map(|change| quoted_path(&change.path)).collect(),
        insertions,
        deletions,
        impact_categories: categories(&captured.impact),
        heavy_impact_paths: captured.impact.heavy_paths.iter().map(|path| quoted_path(path)).collect(),
        promotion_suggested: captured.impact.promotion_suggested,
        warnings: captured.warnings.clone(),
    }
}

/// A ready thread, or one that is not.
#[must_use]
pub fn ready(report: &Report) -> doc::Ready {
    let findings = &report.findings;
    let blocked = !findings.blockers.is_empty();
    let thread = report.session.thread.as_str().to_owned();
    let next = match (&findings.target, blocked) {
        (_, true) => Some("mend what blocks, capture, and run ready again".to_owned()),
        (Some(_), false) => Some(format!("git heddle agent release --session {}", report.session.session_id)),
        (None, false) => None,
    };
    doc::Ready {
        status: if blocked { doc::ReadyStatus::Blocked } else { doc::ReadyStatus::Completed },
        action: "ready".to_owned(),
        message: if blocked {
            format!("thread '{thread}' is not ready: {}", findings.blockers.join("; "))
        } else {
            format!("thread '{thread}' is ready at {}", report.commit.short())
        },
        blockers: findings.blockers.clone(),
        warnings: findings.warnings.clone(),
        next_action: next,
        captured: report.captured.as_ref().is_some_and(|captured| captured.captured),
        thread_state: if blocked { doc::ThreadState::Blocked } else { doc::ThreadState::Ready },
        session_id: report.session.session_id.as_str().to_owned(),
        thread,
        commit: report.commit.as_str().to_owned(),
        report: ready_report(findings, &report.checks),
    }
}

/// What was looked at; `checks` are those that were run.
fn ready_report(findings: &Findings, checks: &[CheckRun]) -> doc::ReadyReport {
    let (insertions, deletions) = totals(&findings.changes);
    doc::ReadyReport {
        target: findings.target.as_ref().map(|target| target.refname.clone()),
        freshness: findings.freshness.map(|freshness| match freshness {
            Freshness::Current { .. } => doc::Freshness::Current,
            Freshness::Behind { .. } => doc::Freshness::Behind,
            Freshness::Diverged { .. } => doc::Freshness::Diverged,
        }),
        ahead: findings.freshness.map(|freshness| freshness.ahead() as u64),
        behind: findings.freshness.map(|freshness| freshness.behind() as u64),
        conflicts: findings
            .conflicts
            .paths
            .iter()
            .map(|path| doc::MergeConflict { path: quoted_path(path), message: None })
            .collect(),
        changed_paths: findings.changes.iter().map(|change| quoted_path(&change.path)).collect(),
        insertions,
        deletions,
        impact_categories: categories(&findings.impact),
        heavy_impact_paths: findings.impact.heavy_paths.iter().map(|path| quoted_path(path)).collect(),
        promotion_suggested: findings.impact.promotion_suggested,
        overlaps: findings
            .overlaps
            .iter()
            .map(|overlap| doc::Overlap {
                thread: overlap.thread.as_str().to_owned(),
                paths: overlap.paths.iter().map(|path| quoted_path(path)).collect(),
            })
            .collect(),
        checks: checks
            .iter()
            .map(|check| doc::Check {
                command: check.command.clone(),
                status: match check.status {
                    CheckStatus::Exited(code) => Some(code),
                    CheckStatus::Signaled(_) => None,
                },
                ok: check.ok(),
                duration_ms: u64::try_from(check.duration.as_millis()).unwrap_or(u64::MAX),
                log: Some(shown_path(&check.log)),
            })
            .collect(),
    }
}

/// A line of the event log.
#[must_use]
pub fn event(event: &Event) -> doc::Event {
    doc::Event {
        version: 1,
        at: event.at.clone(),
        id: event.id.clone(),
        kind: event.event.clone(),
        thread: Some(event.thread.clone()),
        session: Some(event.session.clone()),
        generation: event.generation,
        old: None,
        new: event.commit.clone(),
        message: event.status.clone(),
    }
}

fn totals(changes: &[Change]) -> (u64, u64) {
    let sum = |count: fn(&Change) -> Option<u64>| changes.iter().filter_map(count).sum();
    (sum(|change| change.insertions), sum(|change| change.deletions))
}

fn categories(impact: &Impact) -> Vec<doc::ImpactCategory> {
    let word = |category: &Category| match category {
        Category::DependencyManifest => doc::ImpactCategory::Dependencies,
        Category::BuildConfig => doc::ImpactCategory::BuildConfig,
        Category::RuntimeConfig => doc::ImpactCategory::RuntimeConfig,
        Category::Generated => doc::ImpactCategory::GeneratedOutput,
        Category::PublicApi => doc::ImpactCategory::PublicApi,
        Category::BroadChange => doc::ImpactCategory::ManyPaths,
    };
    impact.categories.iter().map(word).collect()
}

/// The path itself, so that whoever reads the document can use it; only where it is not UTF-8 no
/// text is it.
fn shown_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// What was collected.
#[must_use]
pub fn gc(report: &gc::Report, dry_run: bool) -> doc::Gc {
    let collected = |collected: &gc::Collected| doc::Collected {
        kind: match collected.kind {
            gc::Kind::Session => doc::CollectedKind::Session,
            gc::Kind::Log => doc::CollectedKind::Log,
            gc::Kind::Thread => doc::CollectedKind::Thread,
            gc::Kind::Dropped => doc::CollectedKind::Dropped,
            gc::Kind::Worktree => doc::CollectedKind::Worktree,
            gc::Kind::Events => doc::CollectedKind::Events,
        },
        name: collected.name.clone(),
    };
    doc::Gc {
        dry_run,
        collected: report.collected.iter().map(collected).collect(),
        kept: report.kept.clone(),
    }
}

/// What doctor found.
#[must_use]
pub fn doctor(findings: &[Finding]) -> doc::Doctor {
    let finding = |finding: &Finding| doc::Finding {
        kind: finding.kind.to_owned(),
        thread: finding.thread.as_ref().map(|thread| thread.as_str().to_owned()),
        path: Some(shown_path(&finding.path)),
        message: finding.message.clone(),
        fix: finding.fix.map(str::to_owned),
        fixed: finding.fixed,
    };
    doc::Doctor { findings: findings.iter().map(finding).collect() }
}
