//! `git heddle completion`: completion scripts, made from the definition of the commands.

use std::io;

use crate::cli;
use crate::output::Stdout;

/// The arguments of `completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that there is a script for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// GNU bash, with git's own completion or without
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Git's own completion calls `_git_heddle` for `git heddle …`, with the words of the whole
/// line. The generated function expects those of `git-heddle …`, so the first two words
/// become one.
const BASH_WRAPPER: &str = r#"
_git_heddle() {
    local at
    for ((at = 1; at < ${#COMP_WORDS[@]}; at++)); do
        [ "${COMP_WORDS[at]}" = heddle ] && break
    done
    local -a words=(git-heddle "${COMP_WORDS[@]:at+1}")
    local current=$((COMP_CWORD - at))
    local -a COMP_WORDS=("${words[@]}")
    local COMP_CWORD=$current
    _git__heddle git-heddle "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
}
"#;

/// zsh's own `_git` looks for a function `_git-heddle`, which the generated script defines,
/// and fish asks for the words after a subcommand, which has to be told.
const FISH_WRAPPER: &str = r"
complete -c git -n '__fish_git_needs_command' -a heddle -d 'Reservations for coding agents'
complete -c git -n '__fish_git_using_command heddle' -f -a '(
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- heddle $words)
    complete -C (string join -- \x20 git-heddle (string escape -- $words[(math $at + 1)..-1]))
)'
";

/// Prints the script.
///
/// # Errors
/// If standard output cannot be written to.
pub fn run(args: &Args, out: &mut Stdout) -> io::Result<()> {
    let (shell, wrapper) = match args.shell {
        Shell::Bash => (clap_complete::Shell::Bash, BASH_WRAPPER),
        Shell::Zsh => (clap_complete::Shell::Zsh, ""),
        Shell::Fish => (clap_complete::Shell::Fish, FISH_WRAPPER),
    };
    let mut script = Vec::new();
    let mut definition = cli::command();
    clap_complete::generate(shell, &mut definition, "git-heddle", &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if args.shell == Shell::Bash {
        // clap_complete 4.6 spells a hyphen in the program's name in two ways, one where it
        // steps into a subcommand and another where it looks the step up.
        script = script.replace("git__subcmd__heddle", "git__heddle");
    }
    script.push_str(wrapper);
    out.text(&script)
}
