//! `git heddle schema`: the JSON Schemas of the documents, as they are checked in.

use std::io;

use crate::output::Stdout;
use crate::output::documents::SchemaList;

/// The arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The document whose schema to print; without it, the names
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// The checked-in schemas by name; `tests/generated.rs` holds them to the documents.
const SCHEMAS: &[(&str, &str)] = &[
    ("capture", include_str!("../../schemas/capture.json")),
    ("conflict", include_str!("../../schemas/conflict.json")),
    ("doctor", include_str!("../../schemas/doctor.json")),
    ("dropped", include_str!("../../schemas/dropped.json")),
    ("error", include_str!("../../schemas/error.json")),
    ("event", include_str!("../../schemas/event.json")),
    ("event-list", include_str!("../../schemas/event-list.json")),
    ("fetched", include_str!("../../schemas/fetched.json")),
    ("gc", include_str!("../../schemas/gc.json")),
    ("hooks", include_str!("../../schemas/hooks.json")),
    ("hooks-status", include_str!("../../schemas/hooks-status.json")),
    ("land", include_str!("../../schemas/land.json")),
    ("man-page-list", include_str!("../../schemas/man-page-list.json")),
    ("not-started", include_str!("../../schemas/not-started.json")),
    ("promoted", include_str!("../../schemas/promoted.json")),
    ("published", include_str!("../../schemas/published.json")),
    ("ready", include_str!("../../schemas/ready.json")),
    ("refreshed", include_str!("../../schemas/refreshed.json")),
    ("renamed", include_str!("../../schemas/renamed.json")),
    ("schema-list", include_str!("../../schemas/schema-list.json")),
    ("session", include_str!("../../schemas/session.json")),
    ("session-list", include_str!("../../schemas/session-list.json")),
    ("thread", include_str!("../../schemas/thread.json")),
    ("thread-list", include_str!("../../schemas/thread-list.json")),
    ("verification", include_str!("../../schemas/verification.json")),
];

/// Why a schema was not printed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No document has this name.
    #[error("no document is named '{name}'")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// Standard output failed.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Prints the schema that was asked for, or the names of all: one a line, or with `json` an
/// array.
///
/// # Errors
/// [`SchemaError::Unknown`], a usage error; [`SchemaError::Write`].
pub fn run(args: &Args, json: bool, out: &mut Stdout) -> Result<(), SchemaError> {
    let Some(wanted) = &args.name else {
        let names = SchemaList(SCHEMAS.iter().map(|(name, _)| (*name).to_owned()).collect());
        if json {
            out.json(&names)?;
        } else {
            out.text(&(names.0.join("\n") + "\n"))?;
        }
        return Ok(());
    };
    match SCHEMAS.iter().find(|(name, _)| name == wanted) {
        Some((_, schema)) => Ok(out.text(schema)?),
        None => Err(SchemaError::Unknown { name: wanted.clone() }),
    }
}
