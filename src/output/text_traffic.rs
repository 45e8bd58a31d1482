//! What people read of publishing and fetching.

use std::fmt::Write as _;

use super::documents::traffic::{Fetched, Published};
use super::text::clean;

/// `publish`.
#[must_use]
pub fn published(report: &Published) -> String {
    let mut text = String::new();
    for thread in &report.published {
        let how = match (thread.already, thread.rewritten, &thread.previous) {
            (true, ..) => "up to date",
            (_, true, _) => "rewritten",
            (_, _, None) => "new",
            _ => "published",
        };
        row(&mut text, &thread.thread, &thread.tip, how, thread.ready);
    }
    if text.is_empty() {
        let _ = writeln!(text, "nothing to publish to {}", clean(&report.remote));
    }
    text
}

/// `fetch`.
#[must_use]
pub fn fetched(report: &Fetched) -> String {
    let mut text = String::new();
    for thread in &report.threads {
        let how = match &thread.previous {
            None => "new",
            Some(previous) if *previous == thread.tip => "up to date",
            Some(_) => "moved",
        };
        row(&mut text, &thread.thread, &thread.tip, how, thread.ready);
    }
    for thread in &report.gone {
        let _ = writeln!(text, "{}: gone", clean(thread));
    }
    if text.is_empty() {
        let _ = writeln!(text, "no threads at {}", clean(&report.remote));
    }
    text
}

fn row(text: &mut String, thread: &str, tip: &str, how: &str, ready: bool) {
    let (tip, ready) = (tip.get(..12).unwrap_or(tip), if ready { ", ready" } else { "" });
    let _ = writeln!(text, "{}: {how}, {tip}{ready}", clean(thread));
}
