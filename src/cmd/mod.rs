//! One file a command: its arguments in, a document out.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use self::ground::Ground;
use crate::cli::{self, Command, Refused, Settings};
use crate::context::Context;
use crate::error::Error;
use crate::hook::install::{self, Report};
use crate::hook::template;
use crate::ops::stay;
use crate::output::documents::{Failure, FailureDetail, FailureKind};
use crate::output::hints::{self, Narrator};
use crate::output::{self, Family, Format, Stdout, exit, failure, present, text_hooks};
use crate::platform::{System, job};

pub mod agent;
pub mod completion;
pub mod doctor;
pub mod fetch;
pub mod gc;
pub mod ground;
pub mod hooks;
pub mod install_man_pages;
pub mod log;
pub mod publish;
pub mod schema;
pub mod thread;
pub mod verify;

/// Runs the command line `args`, the program's name first, and returns the exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> u8 {
    if args.get(1).is_some_and(|arg| arg == job::GATE) {
        let (code, said) = job::pass(&args[2..]);
        if let Some(said) = said {
            Narrator::without_configuration(false).error(&said);
        }
        return code;
    }
    if args.get(1).is_some_and(|arg| arg == stay::STAY) {
        return stay::stay(&args[2..]);
    }
    job::keep_ends_of_children();
    if let Some(args) = hooks::run::from_shim(&args) {
        return hooks::run::run(&args, &Settings::default());
    }
    let terminal = output::reaches_a_terminal();
    let mut out = Stdout::new(terminal);
    match cli::parse(args) {
        Ok(invocation) => {
            let asked = invocation.command.asked(invocation.settings.asked);
            let format = output::format(asked, invocation.command.family(), terminal);
            run(&invocation.command, &invocation.settings, format, terminal, &mut out)
        }
        Err(Refused::Information(text)) => match out.text(&text) {
            Ok(()) => exit::OK,
            Err(error) => unprinted(&error, Format::Text, &Narrator::without_configuration(false), &mut out),
        },
        Err(Refused::Usage { message, hint, asked, family }) => {
            let failure = FailureDetail { kind: FailureKind::Usage, message, hint: Some(hint) };
            let format = output::format(asked, family, terminal);
            let narrator = Narrator::without_configuration(false);
            if family == Family::Run {
                narrator.document(&present::not_started(None, failure.clone()));
            }
            fail(&failure, format, &narrator, &mut out)
        }
    }
}

/// Runs one command to its exit code.
fn run(command: &Command, settings: &Settings, format: Format, terminal: bool, out: &mut Stdout) -> u8 {
    let json = format == Format::Json;
    let done = match command {
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
        Command::Hooks(verb) => match &**verb {
            hooks::Command::Run(args) => return hooks::run::run(args, settings),
            hooks::Command::Install(args) if args.global_template => {
                return of_template(template::install(), format, settings, out);
            }
            hooks::Command::Uninstall(args) if args.global_template => {
                return of_template(template::uninstall(), format, settings, out);
            }
            hooks::Command::Install(_) | hooks::Command::Uninstall(_) | hooks::Command::Status(_) => {
                return in_repository(command, settings, format, terminal, out);
            }
        },
        Command::Agent(_)
        | Command::Thread(_)
        | Command::Verify(_)
        | Command::Publish(_)
        | Command::Fetch(_)
        | Command::Log(_)
        | Command::Doctor(_)
        | Command::Gc(_) => {
            return in_repository(command, settings, format, terminal, out);
        }
    };
    match done {
        Ok(()) => exit::OK,
        Err(failure) => fail(&failure, format, &Narrator::without_configuration(settings.quiet), out),
    }
}

/// Says what was done to the template of new repositories, which is in no repository.
fn of_template(done: Result<Report, Error>, format: Format, settings: &Settings, out: &mut Stdout) -> u8 {
    let narrator = Narrator::without_configuration(settings.quiet);
    let document = match &done {
        Ok(report) => present::hooks::hooks(report),
        Err(error) => return fail_as(error, format, &narrator, out),
    };
    let printed = match format {
        Format::Json => out.json(&document),
        Format::Text => out.text(&text_hooks::hooks(&document)),
    };
    match printed {
        Ok(()) => exit::OK,
        Err(error) => unprinted(&error, format, &narrator, out),
    }
}

/// Runs a command that works on a repository.
fn in_repository(
    command: &Command,
    settings: &Settings,
    format: Format,
    terminal: bool,
    out: &mut Stdout,
) -> u8 {
    let bare = Narrator::without_configuration(settings.quiet);
    let refuse = |error: &Error, narrator: &Narrator<'_>, out: &mut Stdout| {
        if command.family() == Family::Run {
            narrator.document(&present::not_started(Some(error), detail_of(error)));
        }
        fail_as(error, format, narrator, out)
    };
    let repo = match ground::open(settings) {
        Ok(repo) => repo,
        Err(error) => return refuse(&error, &bare, out),
    };
    let platform = System::new();
    let context = match Context::new(&repo, &platform, name(command)) {
        Ok(context) => context,
        Err(error) => return refuse(&error.into(), &bare, out),
    };
    let advised = |key: &str| {
        let config = repo.config().and_then(|config| config.bool(key));
        config.ok().flatten().unwrap_or(true)
    };
    let narrator = Narrator::new(settings.quiet, settings.verbosity, advised);
    if needs_hooks(command) {
        keep_hooks(&context, &narrator);
    }
    let mut ground = Ground { context: &context, format, settings, out, narrator: &narrator, terminal };
    let done = match command {
        Command::Agent(verb) => match &**verb {
            agent::Command::Reserve(args) => agent::reserve::run(args, &mut ground).map(|()| exit::OK),
            agent::Command::Heartbeat(args) => agent::heartbeat::run(args, &mut ground).map(|()| exit::OK),
            agent::Command::Capture(args) => agent::capture::run(args, &mut ground).map(|()| exit::OK),
            agent::Command::Ready(args) => agent::ready::run(args, &mut ground),
            agent::Command::Release(args) => agent::release::run(args, &mut ground).map(|()| exit::OK),
            agent::Command::Run(args) => agent::run::run(args, &mut ground),
            agent::Command::List(args) => agent::list::run(args, &mut ground).map(|()| exit::OK),
            agent::Command::Show(args) => agent::show::run(args, &mut ground).map(|()| exit::OK),
        },
        Command::Thread(verb) => match &**verb {
            thread::Command::List(args) => thread::list::run(args, &mut ground).map(|()| exit::OK),
            thread::Command::Show(args) => thread::show::run(args, &mut ground).map(|()| exit::OK),
            thread::Command::Log(args) => thread::log::run(args, &mut ground),
            thread::Command::Diff(args) => thread::diff::run(args, &mut ground),
            thread::Command::Land(args) => thread::land::run(args, &mut ground),
            thread::Command::Promote(args) => thread::promote::run(args, &mut ground).map(|()| exit::OK),
            thread::Command::Refresh(args) => thread::refresh::run(args, &mut ground),
            thread::Command::Rename(args) => thread::rename::run(args, &mut ground).map(|()| exit::OK),
            thread::Command::Drop(args) => thread::drop::run(args, &mut ground).map(|()| exit::OK),
        },
        Command::Verify(args) => verify::run(args, &mut ground),
        Command::Publish(args) => publish::run(args, &mut ground).map(|()| exit::OK),
        Command::Fetch(args) => fetch::run(args, &mut ground).map(|()| exit::OK),
        Command::Gc(args) => gc::run(args, &mut ground).map(|()| exit::OK),
        Command::Log(args) => log::run(args, &mut ground).map(|()| exit::OK),
        Command::Doctor(args) => doctor::run(args, &mut ground),
        Command::Hooks(verb) => match &**verb {
            hooks::Command::Install(args) => hooks::install::run(args, &mut ground).map(|()| exit::OK),
            hooks::Command::Uninstall(_) => hooks::uninstall::run(&mut ground).map(|()| exit::OK),
            hooks::Command::Status(_) => hooks::status::run(&mut ground),
            hooks::Command::Run(args) => Ok(hooks::run::run(args, settings)),
        },
        Command::Schema(_) | Command::Completion(_) | Command::InstallManPages(_) => Ok(exit::OK),
    };
    match done {
        Ok(code) => code,
        Err(error) => refuse(&error, &narrator, out),
    }
}

/// Whether a command is one that agents work by, so that the rules had better hold from there.
fn needs_hooks(command: &Command) -> bool {
    use agent::Command as Agent;
    match command {
        Command::Agent(verb) => match &**verb {
            Agent::Reserve(_) | Agent::Run(_) | Agent::Heartbeat(_) | Agent::Capture(_) | Agent::Ready(_) => {
                true
            }
            Agent::Release(_) | Agent::List(_) | Agent::Show(_) => false,
        },
        _ => false,
    }
}

/// Puts the hooks back that this repository asked for and a hook manager has taken out.
fn keep_hooks(context: &Context<'_>, narrator: &Narrator<'_>) {
    match install::keep(context) {
        Ok(changes) if changes.is_empty() => {}
        Ok(changes) => {
            let hooks: Vec<&str> = changes.iter().map(|change| change.event.name()).collect();
            narrator.warning(&format!("hooks of git-heddle were gone and are back: {}", hooks.join(", ")));
        }
        Err(error) => narrator.warning(&format!("hooks of git-heddle are not in place: {error}")),
    }
}

/// What a command is called in a lock's holder line.
fn name(command: &Command) -> &'static str {
    match command {
        Command::Agent(verb) => match &**verb {
            agent::Command::Reserve(_) => "agent reserve",
            agent::Command::Heartbeat(_) => "agent heartbeat",
            agent::Command::Capture(_) => "agent capture",
            agent::Command::Ready(_) => "agent ready",
            agent::Command::Release(_) => "agent release",
            agent::Command::Run(_) => "agent run",
            agent::Command::List(_) => "agent list",
            agent::Command::Show(_) => "agent show",
        },
        Command::Thread(verb) => match &**verb {
            thread::Command::Land(_) => "thread land",
            thread::Command::Promote(_) => "thread promote",
            thread::Command::Refresh(_) => "thread refresh",
            thread::Command::Rename(_) => "thread rename",
            thread::Command::Drop(_) => "thread drop",
            thread::Command::List(_)
            | thread::Command::Show(_)
            | thread::Command::Log(_)
            | thread::Command::Diff(_) => "thread",
        },
        Command::Verify(_) => "verify",
        Command::Publish(_) => "publish",
        Command::Fetch(_) => "fetch",
        Command::Gc(_) => "gc",
        Command::Log(_) => "log",
        Command::Doctor(_) => "doctor",
        Command::Hooks(verb) => match &**verb {
            hooks::Command::Install(_) => "hooks install",
            hooks::Command::Uninstall(_) => "hooks uninstall",
            hooks::Command::Status(_) => "hooks status",
            hooks::Command::Run(_) => "hooks run",
        },
        Command::Schema(_) | Command::Completion(_) | Command::InstallManPages(_) => "",
    }
}

/// Says what failed in a repository: a refused reserve has a document of its own.
fn fail_as(error: &Error, format: Format, narrator: &Narrator<'_>, out: &mut Stdout) -> u8 {
    let detail = detail_of(error);
    match error {
        Error::Conflict(conflict) => {
            let code = fail(&detail, Format::Text, narrator, out);
            if format == Format::Json {
                let _ = out.json(&present::conflict(conflict));
            }
            code
        }
        Error::Output(error) => unprinted(error, format, narrator, out),
        _ => fail(&detail, format, narrator, out),
    }
}

fn detail_of(error: &Error) -> FailureDetail {
    FailureDetail { kind: failure::kind(error), message: error.to_string(), hint: failure::hint(error) }
}

/// A failure that has no kind of its own.
fn failed(error: &impl ToString) -> FailureDetail {
    FailureDetail { kind: FailureKind::Failed, message: error.to_string(), hint: None }
}

/// Standard output failed.
fn unwritten(error: &io::Error) -> FailureDetail {
    failed(&format!("cannot write to standard output: {error}"))
}

/// Says that standard output failed, and returns the exit code. Who has read enough of a text
/// and went away (`| head`) is told nothing, as by Git.
fn unprinted(error: &io::Error, format: Format, narrator: &Narrator<'_>, out: &mut Stdout) -> u8 {
    match (error.kind(), format) {
        (io::ErrorKind::BrokenPipe, Format::Text) => FailureKind::Failed.exit_code(),
        _ => fail(&unwritten(error), format, narrator, out),
    }
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
