//! One file a command: its arguments in, a document out.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::cli::{self, Command, Refused, Settings};
use crate::output::documents::{Failure, FailureDetail, FailureKind};
use crate::output::hints::{self, Narrator};
use crate::output::{self, Format, Stdout, exit};

pub mod agent;
pub mod completion;
pub mod doctor;
pub mod install_man_pages;
pub mod log;
pub mod schema;
pub mod thread;

/// Runs the command line `args`, the program's name first, and returns the exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> u8 {
    let terminal = output::reaches_a_terminal();
    let mut out = Stdout::new(terminal);
    match cli::parse(args) {
        Ok(invocation) => {
            let format = output::format(invocation.settings.asked, invocation.command.family(), terminal);
            let narrator = Narrator::without_configuration(invocation.settings.quiet);
            match run(&invocation.command, &invocation.settings, format, &mut out) {
                Ok(()) => exit::OK,
                Err(failure) => fail(&failure, format, &narrator, &mut out),
            }
        }
        Err(Refused::Information(text)) => match out.text(&text) {
            Ok(()) => exit::OK,
            Err(error) => {
                fail(&unwritten(&error), Format::Text, &Narrator::without_configuration(false), &mut out)
            }
        },
        Err(Refused::Usage { message, hint, asked, family }) => {
            let failure = FailureDetail { kind: FailureKind::Usage, message, hint: Some(hint) };
            let format = output::format(asked, family, terminal);
            fail(&failure, format, &Narrator::without_configuration(false), &mut out)
        }
    }
}

/// Runs one command.
fn run(
    command: &Command,
    settings: &Settings,
    format: Format,
    out: &mut Stdout,
) -> Result<(), FailureDetail> {
    let json = format == Format::Json;
    match command {
        Command::Schema(args) => schema::run(args, json, out).map_err(|error| match &error {
            schema::SchemaError::Unknown { .. } => FailureDetail {
                kind: FailureKind::Usage,
                message: error.to_string(),
                hint: Some("'git heddle schema' lists the names".to_owned()),
            },
            schema::SchemaError::Write(_) => failed(&error),
        }),
        Command::Completion(args) => completion::run(args, out).map_err(|error| unwritten(&error)),
        Command::InstallManPages(args) => {
            // Git's rule for -C: each is relative to the one before.
            let start: PathBuf = settings.directories.iter().collect();
            install_man_pages::run(args, &start, json, out).map_err(|error| FailureDetail {
                hint: matches!(error, install_man_pages::InstallError::NoFolder)
                    .then(|| "name a folder: 'git heddle install-man-pages DIR'".to_owned()),
                ..failed(&error)
            })
        }
        Command::Agent(_) | Command::Thread(_) | Command::Log(_) | Command::Doctor(_) => {
            Err(failed(&"this command is not part of this build"))
        }
    }
}

/// A failure that has no kind of its own.
fn failed(error: &impl ToString) -> FailureDetail {
    FailureDetail { kind: FailureKind::Failed, message: error.to_string(), hint: None }
}

/// Standard output failed.
fn unwritten(error: &io::Error) -> FailureDetail {
    failed(&format!("cannot write to standard output: {error}"))
}

/// Says what failed, as a document as well where JSON was asked for, and returns the exit
/// code.
fn fail(failure: &FailureDetail, format: Format, narrator: &Narrator<'_>, out: &mut Stdout) -> u8 {
    narrator.error(&failure.message);
    if let Some(hint) = &failure.hint {
        narrator.hint(hints::advice_key(failure.kind), hint);
    }
    if format == Format::Json {
        // It may be standard output that failed; the exit code and standard error tell.
        let _ = out.json(&Failure { error: failure.clone() });
    }
    failure.kind.exit_code()
}
