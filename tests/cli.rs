//! The command line as Git's users expect it: last one wins, `--no-x`, `-C` accumulates.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use git_heddle::cli::{self, Command, Invocation, Refused};
use git_heddle::cmd::agent;
use git_heddle::output::{Asked, Family};

fn words(line: &[&str]) -> Vec<OsString> {
    std::iter::once("git-heddle").chain(line.iter().copied()).map(OsString::from).collect()
}

fn parsed(line: &[&str]) -> Invocation {
    cli::parse(words(line)).unwrap_or_else(|refused| panic!("{line:?}: {refused:?}"))
}

fn refused(line: &[&str]) -> (String, String, Asked, Family) {
    match cli::parse(words(line)) {
        Err(Refused::Usage { message, hint, asked, family }) => (message, hint, asked, family),
        other => panic!("{line:?}: {other:?}"),
    }
}

fn reserve(line: &[&str]) -> agent::reserve::Args {
    match parsed(&[&["agent", "reserve", "--thread", "t"], line].concat()).command {
        Command::Agent(verb) => match verb.given() {
            agent::Command::Reserve(args) => args.given(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn capture(line: &[&str]) -> agent::capture::Args {
    captured(parsed(&[&["agent", "capture"], line].concat()))
}

fn captured(invocation: Invocation) -> agent::capture::Args {
    match invocation.command {
        Command::Agent(verb) => match verb.given() {
            agent::Command::Capture(args) => args.given(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    cli::command().debug_assert();
}

#[test]
fn the_last_of_a_repeated_option_wins() {
    assert_eq!(reserve(&["--anchor", "a", "--anchor=b"]).claiming.anchor.as_deref(), Some("b"));
    assert_eq!(reserve(&["--thread", "u"]).claiming.thread, "u");
    assert!(!reserve(&["--resume", "--no-resume"]).claiming.resume);
    assert!(reserve(&["--no-resume", "--resume"]).claiming.resume);
    assert!(reserve(&["--resume", "--resume"]).claiming.resume);
    assert!(!capture(&["--no-verify", "--verify"]).no_verify);
    assert!(capture(&["--verify", "--no-verify"]).no_verify);
}

#[test]
fn an_optional_value_needs_an_equals_sign() {
    assert_eq!(reserve(&[]).claiming.wait, None);
    assert_eq!(reserve(&["--wait"]).claiming.wait, Some(None));
    assert_eq!(reserve(&["--wait=90"]).claiming.wait, Some(Some(Duration::from_secs(90))));
    assert_eq!(reserve(&["--wait=1h 30m", "--no-wait"]).claiming.wait, None);
    let (message, ..) = refused(&["agent", "reserve", "--thread", "t", "--wait", "90"]);
    assert!(message.contains("'90'"), "{message}");
}

#[test]
fn directories_accumulate_before_and_after_the_verb() {
    let settings = parsed(&["-C", "a", "-C", "b", "agent", "-C", "c", "list", "-C", "d"]).settings;
    assert_eq!(settings.directories, ["a", "b", "c", "d"].map(PathBuf::from));
}

#[test]
fn the_last_word_on_the_output_counts_on_either_side_of_the_verb() {
    assert_eq!(parsed(&["--json", "agent", "list"]).settings.asked, Asked::Json);
    assert_eq!(parsed(&["--json", "agent", "list", "--no-json"]).settings.asked, Asked::Text);
    assert_eq!(parsed(&["agent", "list", "--output", "text", "--json"]).settings.asked, Asked::Json);
    assert_eq!(parsed(&["agent", "list", "--json", "--output=auto"]).settings.asked, Asked::Nothing);
    assert_eq!(parsed(&["--no-color", "log", "--color"]).settings.color, Some(true));
    assert_eq!(parsed(&["-vv", "log"]).settings.verbosity, 2);
    assert!(parsed(&["-v", "log", "-q"]).settings.quiet);
}

#[test]
fn options_end_where_they_are_told_to() {
    assert_eq!(capture(&["-m", "- a list", "--", "-x", "--json"]).pathspec, ["-x", "--json"]);
    assert_eq!(capture(&["--end-of-options", "-x"]).pathspec, ["-x"]);
    assert_eq!(capture(&["--end-of-options", "--", "x"]).pathspec, ["x"]);
    assert_eq!(capture(&["--", "--end-of-options"]).pathspec, ["--end-of-options"]);
}

#[test]
fn a_message_may_be_called_an_intent_and_replaces_a_file() {
    assert_eq!(capture(&["--intent", "why"]).message.as_deref(), Some("why"));
    let args = capture(&["-F", "f", "-m", "m"]);
    assert_eq!((args.message.as_deref(), args.file), (Some("m"), None));
    let args = capture(&["-m", "m", "-F", "f"]);
    assert_eq!((args.message, args.file), (None, Some(PathBuf::from("f"))));
}

#[test]
fn confidence_is_a_number_from_0_to_1() {
    assert_eq!(capture(&["--confidence", "0.5"]).confidence, Some(0.5));
    for wrong in ["1.1", "-0.1", "NaN", "high", "inf", ""] {
        let (message, ..) = refused(&["agent", "capture", "--confidence", wrong]);
        assert!(message.contains("expected a number from 0 to 1") || wrong.is_empty(), "{wrong}: {message}");
    }
}

#[test]
fn a_refusal_speaks_like_git_and_knows_the_output() {
    let (message, hint, asked, family) = refused(&["--json", "agent", "list", "--bogus"]);
    assert_eq!(message, "unexpected argument '--bogus' found");
    assert_eq!(hint, "see 'git heddle agent list -h'");
    assert_eq!((asked, family), (Asked::Json, Family::Agent));

    let (message, _, asked, family) = refused(&["agent", "reserve"]);
    assert_eq!(message, "the following required arguments were not provided: --thread <THREAD>");
    assert_eq!((asked, family), (Asked::Nothing, Family::AlwaysJson));

    let (message, hint, ..) = refused(&["agent"]);
    assert_eq!(message, "'git heddle agent' needs a command");
    assert_eq!(hint, "see 'git heddle agent -h' for the list");
    let (message, ..) = refused(&[]);
    assert_eq!(message, "'git heddle' needs a command");
    let (message, hint, ..) = refused(&["agnet"]);
    assert!(message.contains("unrecognized subcommand 'agnet'"), "{message}");
    assert!(hint.starts_with("did you mean 'agent'?"), "{hint}");
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_utf8_are_refused_but_in_paths() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = OsString::from_vec(b"caf\xe9".to_vec());
    let line = |extra: &[&str]| [words(extra), vec![odd.clone()]].concat();
    match cli::parse(line(&["agent", "reserve", "--thread"])) {
        Err(Refused::Usage { message, .. }) => assert!(message.contains("invalid UTF-8"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(captured(cli::parse(line(&["agent", "capture", "--"])).expect("parsed")).pathspec, [odd]);
}

#[test]
fn git_heddle_completes_in_bash() {
    let script = r#"
        source <("$HEDDLE" completion bash)
        COMP_WORDS=(git -C x heddle agent re) COMP_CWORD=5
        _git_heddle
        echo "${COMPREPLY[*]}"
        COMP_WORDS=(git heddle thread '') COMP_CWORD=3
        _git_heddle
        echo "${COMPREPLY[*]}"
    "#;
    let output = std::process::Command::new("bash")
        .args(["--norc", "-c", script])
        .env("HEDDLE", env!("CARGO_BIN_EXE_git-heddle"))
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.first(), Some(&"reserve ready release"), "{output:?}");
    assert!(lines.get(1).is_some_and(|line| line.contains("list") && line.contains("show")), "{output:?}");
}

/// Runs `script` in a shell that may not be there; the lines that it printed.
fn in_shell(shell: &str, options: &[&str], script: &str) -> Option<Vec<String>> {
    let home = tempfile::tempdir().expect("folder");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_git-heddle"));
    let path = std::env::var("PATH").expect("PATH");
    let output = std::process::Command::new(shell)
        .args(options)
        .args(["-c", script])
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .env("XDG_DATA_HOME", home.path())
        .env("PATH", format!("{}:{path}", binary.parent().expect("folder").display()))
        .current_dir(home.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            eprintln!("not tried in {shell}: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Some(said.lines().map(str::to_owned).collect())
}

#[test]
fn git_heddle_completes_in_fish() {
    let script = "git-heddle completion fish | source; complete -C 'git -C x heddle agent re'; \
                  complete -C 'git-heddle agent re'; complete -C 'git heddle agent reserve --th'";
    let Some(lines) = in_shell("fish", &[], script) else { return };
    let words: Vec<&str> = lines.iter().filter_map(|line| line.split('\t').next()).collect();
    let verbs = ["ready", "release", "reserve"];
    assert_eq!(words, [&verbs[..], &verbs[..], &["--thinking-level", "--thread"]].concat());
}

#[test]
fn the_script_for_zsh_loads_and_is_found_by_git_s_own() {
    // What completes `git heddle` there is the function of that name.
    let script = "git-heddle completion zsh >_git-heddle; zsh -n _git-heddle || exit 1; fpath=($PWD $fpath); \
                  autoload -Uz compinit; compinit -u -D; print ${_comps[git-heddle]}; autoload +X _git-heddle; \
                  whence -w _git-heddle";
    let Some(lines) = in_shell("zsh", &["-f"], script) else { return };
    assert_eq!(lines, ["_git-heddle", "_git-heddle: function"]);
}
