//! README's commands do what README says.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of README that are meant to be run, without their fences.
fn commands() -> Vec<String> {
    let readme = read("README.md");
    readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .map(|block| block.trim().to_owned())
        .collect()
}

#[test]
fn the_test_command_is_the_one_that_ci_runs() {
    let commands = commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(read(".ci/run").lines().any(|line| line == commands[1]), "{commands:?}");
}

#[test]
fn the_demo_reserves_collides_captures_and_releases() {
    let bin = Path::new(env!("CARGO_BIN_EXE_git-heddle")).parent().expect("folder");
    let home = tempfile::tempdir().expect("folder");
    let output = Command::new("sh")
        .args(["-c", &commands()[0]])
        .current_dir(root())
        .env("HEDDLE_BIN", bin)
        .env("HOME", home.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("GIT_DIR")
        .env_remove("GIT_CONFIG_GLOBAL")
        .output()
        .expect("sh");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    // What stays the same from run to run, in the order in which it appears.
    let mut rest = &*said;
    for piece in [
        "agent reserve",
        "{\"session_id\":\"agent-",
        "\"reservation_token\":\"(secret)\",\"thread\":\"fix/login\"",
        "\"kind\":\"live_owner\"",
        "[exit 3]",
        "agent heartbeat",
        "\"status\":\"active\"",
        "agent capture",
        "\"captured\":true",
        "agent ready",
        "\"status\":\"completed\"",
        "agent release",
        "\"status\":\"complete\"",
        "thread list",
        "fix/login",
        "Check the password first",
        "Heddle-Thread: fix/login",
        "Heddle-Session: agent-",
        "Heddle-Generation: 1",
    ] {
        let at = rest.find(piece).unwrap_or_else(|| panic!("no {piece:?} where expected:\n{said}\n{wrong}"));
        rest = &rest[at + piece.len()..];
    }
}

#[test]
fn every_exit_code_in_the_tables_is_the_same() {
    let codes = |path: &str| -> Vec<String> {
        read(path)
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(' ').next())
            .filter(|word| word.parse::<u8>().is_ok())
            .map(str::to_owned)
            .collect()
    };
    let expected = ["0", "1", "2", "3", "4", "5", "6", "7", "75", "128"];
    assert_eq!(codes("README.md"), expected);
    assert_eq!(codes("docs/exit-status.md"), expected);
}
