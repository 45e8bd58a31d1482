//! The `git-heddle` program: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(git_heddle::cmd::main(git_heddle::cli::arguments()))
}
