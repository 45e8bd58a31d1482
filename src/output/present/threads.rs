//! What the domain knows of threads, as the documents say it.

use super::{doc, liveness_word, ready_report, session, shown_path, status};
use crate::git::history::Commit;
use crate::names::{CommitId, shell_word};
use crate::ops::bound::Unadopted;
use crate::ops::detail::{Detail, PastOwner};
use crate::ops::drop::Dropped;
use crate::ops::promote::Promoted;
use crate::ops::{land, threads};
use crate::output::text::quoted_path;
use crate::thread::owned::rfc3339;

/// A thread in a list.
#[must_use]
pub fn thread_row(seen: &threads::Seen) -> doc::ThreadRow {
    let owner = seen.owner.as_ref();
    let session = owner.and_then(|owner| owner.session.as_ref());
    let text = |commit: &CommitId| commit.as_str().to_owned();
    let distance = seen.distance.as_ref();
    doc::ThreadRow {
        thread: seen.thread.as_str().to_owned(),
        tip: seen.tip.as_ref().map(text),
        tip_at: seen.tip_at.map(seconds),
        ready: seen.ready,
        state: match seen.state() {
            threads::State::Ready => doc::ThreadState::Ready,
            threads::State::Blocked => doc::ThreadState::Blocked,
            threads::State::Promoted => doc::ThreadState::Promoted,
            threads::State::Active => doc::ThreadState::Active,
            threads::State::Merged => doc::ThreadState::Merged,
            threads::State::Abandoned => doc::ThreadState::Abandoned,
        },
        owner: owner.map(|owner| owner.id.as_str().to_owned()),
        liveness: owner.map(|owner| liveness_word(owner.liveness)),
        generation: seen.record.as_ref().map(|record| record.generation.get()),
        target: seen.target.as_ref().map(|target| target.refname.clone()),
        anchor: session.map(|session| text(&session.anchor_state)),
        started_at: session.map(|session| rfc3339(session.started_at)),
        last_heartbeat_at: session.map(|session| rfc3339(session.heartbeat.at)),
        ahead: distance.map(|distance| distance.ahead as u64),
        behind: distance.map(|distance| distance.behind as u64),
        files: distance.and_then(|distance| Some(distance.files? as u64)),
        task: session.and_then(|session| session.task.clone()),
        recovering: seen.recovering,
        worktrees: seen.worktrees.iter().map(worktree).collect(),
    }
}

fn worktree(place: &threads::Place) -> doc::ThreadWorktree {
    let bound = &place.bound;
    doc::ThreadWorktree {
        path: shown_path(&bound.path),
        session: bound.binding.session.as_str().to_owned(),
        left: place.left,
        missing: !bound.there,
        locked: bound.linked.as_ref().and_then(|linked| linked.locked.clone()),
        unadopted: place.unadopted.as_ref().map(unadopted),
        holds: None,
    }
}

/// Commits made by hand.
#[must_use]
pub fn unadopted(found: &Unadopted) -> doc::Unadopted {
    doc::Unadopted {
        commits: found.commits as u64,
        head: found.head.as_str().to_owned(),
        adoptable: found.adoptable,
    }
}

/// A thread in full.
#[must_use]
pub fn thread_detail(detail: &Detail) -> doc::ThreadDetail {
    let owner = detail.seen.owner.as_ref();
    let owned = owner.and_then(|owner| Some((owner.session.as_ref()?, owner.liveness)));
    let target = detail.seen.record.as_ref().and_then(|record| record.target.as_deref());
    let former = detail.seen.record.iter().flat_map(|record| &record.former);
    let mut row = thread_row(&detail.seen);
    for (worktree, holds) in row.worktrees.iter_mut().zip(&detail.holds) {
        worktree.holds.clone_from(holds);
    }
    let readiness = detail.findings.as_ref().map(|findings| doc::Readiness {
        mark: detail.mark.as_ref().map(|commit| commit.as_str().to_owned()),
        marked: detail.seen.ready,
        blockers: findings.blockers.clone(),
        warnings: findings.warnings.clone(),
        report: ready_report(findings, &[]),
    });
    let changes = detail.findings.iter().flat_map(|findings| &findings.changes);
    doc::ThreadDetail {
        session: owned.map(|(owner, liveness)| session(owner, liveness, target, None)),
        liveness_reason: owner.map(|owner| owner.liveness.reason().to_owned()),
        worktree: owned.and_then(|(owner, _)| owner.path.as_deref().map(shown_path)),
        former_names: former.map(|former| former.thread.to_string()).collect(),
        captures: detail.captures.iter().map(capture_row).collect(),
        changed_paths: changes.map(|change| quoted_path(&change.path)).collect(),
        owners: detail.owners.iter().map(past_owner).collect(),
        readiness,
        next_action: detail.next.clone(),
        row,
    }
}

fn past_owner(owner: &PastOwner) -> doc::PastOwner {
    doc::PastOwner {
        session: owner.session.clone(),
        generation: owner.generation,
        agent: owner.agent.clone(),
        task: owner.task.clone(),
        status: owner.status.map(status),
        from: owner.from.clone(),
        until: owner.until.clone(),
        captures: owner.captures as u64,
    }
}

/// Seconds since 1970 as a time.
fn seconds(since_1970: i64) -> String {
    rfc3339(chrono::DateTime::from_timestamp(since_1970, 0).unwrap_or_default())
}

fn capture_row(commit: &Commit) -> doc::CaptureRow {
    let trailers = commit.trailers.clone();
    doc::CaptureRow {
        commit: commit.id.as_str().to_owned(),
        subject: commit.subject.clone(),
        session: trailers.session,
        generation: trailers.generation,
        agent: trailers.agent,
        confidence: trailers.confidence,
        author_time: seconds(commit.author_time),
    }
}

/// What landed and what did not.
#[must_use]
pub fn land(report: &land::Report) -> doc::Land {
    let landed = |landed: &land::LandedThread| doc::LandedThread {
        thread: landed.thread.to_string(),
        tip: landed.tip.to_string(),
        commit: landed.commit.to_string(),
        target: landed.target.clone(),
        already: landed.already,
        sessions: landed.sessions.clone(),
    };
    let blocked = |blocked: &land::BlockedThread| doc::BlockedThread {
        thread: blocked.thread.to_string(),
        reason: blocked.reason.clone(),
        conflicts: blocked.conflicts.iter().map(|path| quoted_path(path)).collect(),
    };
    let pushed = |(target, remote): &(String, String)| doc::PushedBranch {
        target: target.clone(),
        remote: remote.clone(),
    };
    doc::Land {
        landed: report.landed.iter().map(landed).collect(),
        blocked: report.blocked.iter().map(blocked).collect(),
        skipped: report.skipped.iter().map(ToString::to_string).collect(),
        pushed: report.pushed.iter().map(pushed).collect(),
    }
}

/// A dropped thread.
#[must_use]
pub fn dropped(dropped: &Dropped) -> doc::Dropped {
    let (thread, kept_as) = (&dropped.thread, &dropped.kept_as);
    doc::Dropped {
        thread: thread.to_string(),
        tip: dropped.tip.to_string(),
        kept_as: kept_as.clone(),
        worktree_kept_as: dropped.worktree_kept_as.clone(),
        worktree: dropped.worktree.as_deref().map(shown_path),
        restore: format!(
            "git heddle agent reserve --thread {} --anchor {}",
            shell_word(thread.as_str()),
            shell_word(kept_as)
        ),
    }
}

/// A promoted thread.
#[must_use]
pub fn promoted(promoted: &Promoted) -> doc::Promoted {
    doc::Promoted {
        thread: promoted.thread.to_string(),
        branch: promoted.branch.clone(),
        commit: promoted.commit.to_string(),
        changed: promoted.changed,
    }
}
