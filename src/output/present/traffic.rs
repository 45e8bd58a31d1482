//! What went to and came from a remote, as documents.

use super::super::documents::traffic as doc;
use crate::names::CommitId;
use crate::ops::publish::{FetchReport, PublishReport};

/// What was published.
#[must_use]
pub fn published(report: &PublishReport) -> doc::Published {
    let published = report.published.iter().map(|published| doc::PublishedThread {
        thread: published.thread.to_string(),
        tip: published.tip.to_string(),
        previous: published.previous.as_ref().map(CommitId::to_string),
        ready: published.ready,
        already: published.already,
        rewritten: published.rewritten,
    });
    let skipped = report
        .skipped
        .iter()
        .map(|(thread, owner)| doc::SkippedThread { thread: thread.to_string(), owner: owner.to_string() });
    doc::Published {
        remote: report.remote.clone(),
        published: published.collect(),
        skipped: skipped.collect(),
    }
}

/// What was fetched.
#[must_use]
pub fn fetched(report: &FetchReport) -> doc::Fetched {
    let threads = report.threads.iter().map(|fetched| doc::FetchedThread {
        thread: fetched.thread.clone(),
        refname: fetched.refname.clone(),
        tip: fetched.tip.to_string(),
        previous: fetched.previous.as_ref().map(CommitId::to_string),
        ready: fetched.ready,
    });
    doc::Fetched { remote: report.remote.clone(), threads: threads.collect(), gone: report.gone.clone() }
}
