//! The command line: global options, the table of commands, and how bad arguments are
//! refused.
//!
//! What Git's own parser does and clap's does not is added here: global options may stand
//! before and after the verb, and `-C` accumulates over both; every switch has its `--no-`
//! form; the last of a repeated option wins; `--end-of-options` ends the options. A refusal
//! is a value, [`Refused`], in Git's voice; nothing here prints or exits.

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _};

pub use self::late::Late;
use crate::cmd;
use crate::output::{Asked, Family};

mod late;

/// The commands of `git heddle`.
#[derive(Debug, clap::Parser)]
#[command(
    name = "git-heddle",
    bin_name = "git heddle",
    version,
    about = "Reservations for coding agents that share one Git repository",
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    args_override_self = true,
    subcommand_value_name = "COMMAND",
    infer_subcommands = false
)]
struct Root {
    /// Print the version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one a process")]
pub enum Command {
    /// Reserve threads, capture commits, mark them ready, release them
    #[command(subcommand, arg_required_else_help = true)]
    Agent(Late<cmd::agent::Command>),
    /// See the lines of work and who owns them
    #[command(subcommand, arg_required_else_help = true)]
    Thread(Late<cmd::thread::Command>),
    /// Have plain Git commands keep the rules too
    #[command(subcommand, arg_required_else_help = true)]
    Hooks(Late<cmd::hooks::Command>),
    /// Prove whose work threads are, from refs and commits alone
    Verify(Late<cmd::verify::Args>),
    /// Push threads and their ready marks to a remote
    Publish(Late<cmd::publish::Args>),
    /// Get the threads and ready marks of a remote
    Fetch(Late<cmd::fetch::Args>),
    /// Show the log of events
    Log(Late<cmd::log::Args>),
    /// Find what is damaged or left over, and repair it
    Doctor(Late<cmd::doctor::Args>),
    /// Remove what nobody needs any more
    Gc(Late<cmd::gc::Args>),
    /// Print the JSON Schema of a document
    Schema(Late<cmd::schema::Args>),
    /// Print a completion script for a shell
    Completion(Late<cmd::completion::Args>),
    /// Put the man pages where `git heddle --help` finds them
    InstallManPages(Late<cmd::install_man_pages::Args>),
}

impl Command {
    /// What was asked of the output: `asked`, unless the command has an option of its own.
    #[must_use]
    pub fn asked(&self, asked: Asked) -> Asked {
        match self {
            Self::Verify(args) => match args.format {
                None => asked,
                Some(cmd::verify::Form::Json) => Asked::Json,
                Some(_) => Asked::Text,
            },
            _ => asked,
        }
    }

    /// How the output of this command is decided on.
    #[must_use]
    pub fn family(&self) -> Family {
        use cmd::agent::Command as Agent;
        match self {
            Self::Agent(verb) => match **verb {
                Agent::Reserve(_) | Agent::Heartbeat(_) | Agent::Release(_) => Family::AlwaysJson,
                Agent::Run(_) => Family::Run,
                Agent::Capture(_) | Agent::Ready(_) | Agent::List(_) | Agent::Show(_) => Family::Agent,
            },
            _ => Family::Other,
        }
    }
}

/// The options that every command takes.
#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Run as if started in this folder; repeated, each is relative to the one before
    #[arg(short = 'C', value_name = "PATH", action = ArgAction::Append, value_parser = any_path())]
    pub directory: Vec<PathBuf>,
    /// The repository: its worktree or its Git directory
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// What to print
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub output: Option<OutputArg>,
    /// Print JSON; short for --output=json
    #[arg(long, overrides_with = "output")]
    pub json: bool,
    /// Colour the text, also where standard output is no terminal
    #[arg(long)]
    pub color: bool,
    /// Say more on standard error; repeat for more still
    #[arg(short, long, action = ArgAction::Count, overrides_with = "quiet")]
    pub verbose: u8,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputArg {
    /// Text on a terminal; in a pipe, JSON for the agent verbs and text for the others
    Auto,
    /// One JSON document
    Json,
    /// Text for people
    Text,
}

/// The global options of a whole command line, those before the verb and those after it
/// taken together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folders of `-C`, in order; each is relative to the one before.
    pub directories: Vec<PathBuf>,
    /// `--repo`.
    pub repo: Option<PathBuf>,
    /// What was said about the output, the last word counting.
    pub asked: Asked,
    /// `--color` or `--no-color`; `None` leaves it to the terminal and to `color.ui`.
    pub color: Option<bool>,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// Whether `-q` was given.
    pub quiet: bool,
}

impl Settings {
    /// Takes over what one level of the command line says.
    ///
    /// The values are looked at where they lie: `Global::from_arg_matches` would first copy
    /// the level and all below it.
    fn merge(&mut self, level: &ArgMatches) {
        let on_line = |id: &str| {
            level.try_contains_id(id).unwrap_or(false)
                && level.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
        };
        self.directories.extend(level.get_many::<PathBuf>("directory").into_iter().flatten().cloned());
        if let Some(repo) = level.get_one::<PathBuf>("repo") {
            self.repo = Some(repo.clone());
        }
        if on_line("json") {
            self.asked = Asked::Json;
        } else if on_line("no-json") {
            self.asked = Asked::Text;
        } else if let Some(output) = level.get_one::<OutputArg>("output") {
            self.asked = match output {
                OutputArg::Auto => Asked::Nothing,
                OutputArg::Json => Asked::Json,
                OutputArg::Text => Asked::Text,
            };
        }
        if on_line("color") {
            self.color = Some(true);
        } else if on_line("no-color") {
            self.color = Some(false);
        }
        if on_line("quiet") {
            (self.quiet, self.verbosity) = (true, 0);
        } else if on_line("verbose") {
            (self.quiet, self.verbosity) = (false, self.verbosity.saturating_add(level.get_count("verbose")));
        } else if on_line("no-quiet") {
            self.quiet = false;
        }
        if on_line("no-verbose") {
            self.verbosity = 0;
        }
    }
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Invocation {
    /// The global options.
    pub settings: Settings,
    /// What to do.
    pub command: Command,
}

/// A command line that does not lead to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Help or the version was asked for: print this on standard output, exit 0.
    Information(String),
    /// It is wrong: exit 2.
    Usage {
        /// What is wrong, in Git's voice, without the `error: `.
        message: String,
        /// What to do next.
        hint: String,
        /// What the arguments, as far as they can be read, say about the output.
        asked: Asked,
        /// How the output of the command is decided on, as far as it can be seen.
        family: Family,
    },
}

/// The whole definition: every command with the global options and all `--no-` forms.
///
/// What a command has is added to it when it is first needed ([`Late`]), which for a command line
/// is along its own words only; [`clap::Command::build`] does it everywhere.
#[must_use]
pub fn command() -> clap::Command {
    with_globals(Root::command())
}

/// Adds to `command` what all have in common.
fn with_globals(command: clap::Command) -> clap::Command {
    // The doc comment of `Global` would become the description of every command.
    let about = command.get_about().cloned().unwrap_or_default();
    with_negations(Global::augment_args(command)).about(about).long_about(None)
}

/// Adds `--no-x` for every switch `--x`, and `--x` for every `--no-x`. Hidden, since a list
/// of options twice as long helps nobody; the man pages say that they exist.
fn with_negations(command: clap::Command) -> clap::Command {
    let switches: Vec<String> = command
        .get_arguments()
        .filter(|arg| {
            let optional_value =
                arg.get_num_args().is_some_and(|n| n.min_values() == 0) && !arg.is_positional();
            matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count) || optional_value
        })
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    switches.into_iter().fold(command, |command, long| {
        let opposite = long.strip_prefix("no-").map_or_else(|| format!("no-{long}"), str::to_owned);
        // Two switches may be each other's opposites, and say so by an alias.
        let aliases = |arg: &Arg| arg.get_all_aliases().unwrap_or_default().contains(&opposite.as_str());
        if command.get_arguments().any(aliases) {
            return command;
        }
        // clap's ids are the field names; the ids of the opposites are their spelling.
        let mut overrides = vec![long.replace('-', "_")];
        if long == "json" {
            overrides.push("output".to_owned());
        }
        command.arg(
            Arg::new(opposite.clone())
                .long(opposite)
                .action(ArgAction::SetTrue)
                .overrides_with_all(overrides)
                .hide(true),
        )
    })
}

/// A path that may be empty, which clap's own parser refuses and which means "here" to
/// Git's `-C`.
fn any_path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser as _;
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}

/// Understands a command line, the program's name first.
///
/// # Errors
/// [`Refused`], also for help and the version.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Refused> {
    let args = end_of_options(args.into_iter().collect());
    let understood = || -> Result<Invocation, clap::Error> {
        // Never freed: it is one a process, and taking it apart costs as much as making it.
        let mut definition = ManuallyDrop::new(command());
        let mut matches = definition.try_get_matches_from_mut(&args)?;
        let mut settings = Settings::default();
        let mut level = Some(&matches);
        while let Some(matches) = level {
            settings.merge(matches);
            level = matches.subcommand().map(|(_, below)| below);
        }
        Ok(Invocation { settings, command: Root::from_arg_matches_mut(&mut matches)?.command })
    };
    understood().map_err(|error| refused(&error, &args))
}

/// `--end-of-options` is `--` to clap. A `--` that follows it is then Git's separator
/// between other arguments and paths, of which no command here has both.
fn end_of_options(mut args: Vec<OsString>) -> Vec<OsString> {
    let end = args.iter().position(|arg| arg == "--" || arg == "--end-of-options");
    if let Some(end) = end.filter(|&end| args[end] == "--end-of-options") {
        args[end] = "--".into();
        if args.get(end + 1).is_some_and(|arg| arg == "--") {
            args.remove(end + 1);
        }
    }
    args
}

/// clap's error in Git's voice.
fn refused(error: &clap::Error, args: &[OsString]) -> Refused {
    let rendered = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Refused::Information(rendered);
    }
    let (asked, family, words) = glimpse(args);
    let help = format!("see 'git heddle{words} -h'");
    let missing = matches!(
        error.kind(),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if missing {
        let hint = format!("{help} for the list");
        return Refused::Usage {
            message: format!("'git heddle{words}' needs a command"),
            hint,
            asked,
            family,
        };
    }
    // The first paragraph is the message, a list in it one item a line; then come tips and
    // the usage.
    let first = rendered.split("\n\n").next().unwrap_or_default();
    let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let suggestion =
        [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
            .into_iter()
            .find_map(|kind| error.get(kind));
    let hint = match suggestion {
        Some(similar) => format!("did you mean '{similar}'? {help}"),
        None => help,
    };
    Refused::Usage { message, hint, asked, family }
}

/// What can be seen of a command line that clap refused: the output asked for, and the
/// command's words with a space before each.
fn glimpse(args: &[OsString]) -> (Asked, Family, String) {
    let mut asked = Asked::Nothing;
    let mut words: Vec<&str> = Vec::new();
    let mut all = command();
    all.build();
    let mut command = &all;
    let mut rest = args.iter().skip(1).map(|arg| arg.to_str().unwrap_or_default());
    while let Some(arg) = rest.next() {
        match arg {
            "--" => break,
            "--json" | "--output=json" => asked = Asked::Json,
            "--no-json" | "--output=text" => asked = Asked::Text,
            "--output=auto" => asked = Asked::Nothing,
            "--output" => match rest.next() {
                Some("json") => asked = Asked::Json,
                Some("text") => asked = Asked::Text,
                _ => asked = Asked::Nothing,
            },
            "-C" | "--repo" => {
                rest.next();
            }
            word => {
                if let Some(below) = command.find_subcommand(word) {
                    words.push(word);
                    command = below;
                }
            }
        }
    }
    let family = match words.as_slice() {
        ["agent", "reserve" | "heartbeat" | "release"] => Family::AlwaysJson,
        ["agent", "run"] => Family::Run,
        ["agent", ..] => Family::Agent,
        _ => Family::Other,
    };
    (asked, family, words.iter().map(|word| format!(" {word}")).collect())
}

/// A duration: a number of seconds, or numbers with units, such as `90s` or `1h 30m`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|_| "expected a duration such as 90, 90s, 30m or 1h 30m".to_owned())
}

/// A duration above zero.
///
/// # Errors
/// A sentence that says what was expected.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero".to_owned()),
        duration => Ok(duration),
    }
}

/// An agent's confidence in its work.
///
/// # Errors
/// A sentence that says what was expected.
pub fn confidence(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// A point in time that an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// That time.
    At(SystemTime),
    /// So long before now.
    Ago(Duration),
}

/// A point in time: a duration before now, or an RFC 3339 time in UTC, or a date.
///
/// # Errors
/// A sentence that says what was expected.
pub fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = duration(text) {
        return Ok(Since::Ago(ago));
    }
    humantime::parse_rfc3339_weak(text)
        .or_else(|_| humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")))
        .map(Since::At)
        .map_err(|_| {
            "expected a duration such as 2h, a date, or a time such as 2026-01-31T09:30:00Z".to_owned()
        })
}

/// The arguments of this process.
#[must_use]
pub fn arguments() -> Vec<OsString> {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.is_empty() {
        args.push(OsStr::new("git-heddle").to_owned());
    }
    args
}
