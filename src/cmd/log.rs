//! `git heddle log`: the event log.

use crate::cli::{Since, since};
use std::time::{Duration, SystemTime};

use crate::cmd::ground::Ground;
use crate::error::Error;
use crate::output::{Format, present, text};
use crate::platform::Watch;
use crate::store::StoreError;
use crate::store::events::{self, Event};

/// The arguments of `log`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events of this thread only
    #[arg(long, value_name = "THREAD")]
    pub thread: Option<String>,
    /// Events of this session only
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Events after this time: a duration before now (2h) or an RFC 3339 time in UTC
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Go on printing events as they happen
    #[arg(long)]
    pub follow: bool,
}

/// Prints the events: JSON as one array, or, followed, as one document a line.
///
/// # Errors
/// [`StoreError::Io`] if the log cannot be read.
pub fn run(args: &Args, ground: &mut Ground<'_>) -> Result<(), Error> {
    let path = ground.context.layout.events();
    let read = || {
        events::read(&path)
            .map_err(|source| Error::from(StoreError::Io { action: "read", path: path.clone(), source }))
    };
    let since = match args.since {
        None => None,
        Some(Since::At(time)) => Some(time),
        Some(Since::Ago(ago)) => SystemTime::now().checked_sub(ago),
    };
    let since = since.map(chrono::DateTime::<chrono::Utc>::from);
    let wanted = |event: &Event| {
        let at = chrono::DateTime::parse_from_rfc3339(&event.at).ok();
        args.thread.as_ref().is_none_or(|thread| *thread == event.thread)
            && args.session.as_ref().is_none_or(|session| *session == event.session)
            && since.is_none_or(|since| at.is_some_and(|at| at >= since))
    };
    let all = read()?;
    if !args.follow {
        let rows: Vec<_> = all.iter().filter(|event| wanted(event)).map(present::event).collect();
        return ground.print(&rows, |rows, _| rows.iter().map(text::event).collect());
    }
    let mut seen = 0;
    let mut all = all;
    loop {
        for event in all.iter().skip(seen).filter(|event| wanted(event)) {
            let document = present::event(event);
            match ground.format {
                Format::Json => ground.out.json(&document),
                Format::Text => ground.out.text(&text::event(&document)),
            }
            .map_err(Error::Output)?;
        }
        seen = all.len();
        wait(ground);
        all = read()?;
    }
}

/// Waits until something may have happened: every change of owner renames a thread record;
/// the rest is looked for twice a second.
fn wait(ground: &Ground<'_>) {
    let pause = Duration::from_millis(500);
    match Watch::new(&ground.context.layout.threads()) {
        Ok(watch) => watch.wait(pause),
        Err(_) => std::thread::sleep(pause),
    }
}
