//! The repository's own checks: the shell command lines of `heddle.readyCommand`.
//!
//! They come from Git's configuration, which the user wrote, and never from the tree that
//! is checked; they are as trusted as a Git alias and run in the same way, by `sh -c` in
//! the top folder of the worktree. What they print goes to a log file and nowhere else, so
//! that the command's own output stays one document.
//!
//! A check stays in our process group: an interrupt at the terminal reaches it too, and
//! nothing runs on that the user believes stopped. What a check leaves running in the
//! background is not waited for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::git::program::scrub;
use crate::platform::umask;

/// Secrets of the session. A check that prints its environment would write them into the
/// log; what a check needs to know is in `HEDDLE_SESSION` and `HEDDLE_THREAD`.
const SECRETS: [&str; 2] = ["HEDDLE_TOKEN", "HEDDLE_REQUEST_TOKEN"];

/// Why a check could not be run at all. That is not a failed check: nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its log could not be made.
    #[error("cannot write the log of a check at {path:?}: {source}")]
    Log {
        /// The log file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The shell could not be started or waited for.
    #[error("cannot run the check '{command}': {source}")]
    Start {
        /// The command line as configured.
        command: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// It exited with this code; 0 is success, and 127 usually a command not found.
    Exited(i32),
    /// A signal ended it; the number, where the system tells.
    Signaled(Option<i32>),
}

impl CheckStatus {
    fn of(status: ExitStatus) -> Self {
        status.code().map_or_else(|| Self::Signaled(signal(status)), Self::Exited)
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// A check that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// The command line as configured.
    pub command: String,
    /// How it ended.
    pub status: CheckStatus,
    /// How long it took.
    pub duration: Duration,
    /// Everything that it printed.
    pub log: PathBuf,
}

impl CheckRun {
    /// Whether it passed.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status == CheckStatus::Exited(0)
    }
}

/// Runs every one of `commands` in turn, also after one has failed: an agent that learns of
/// all failures at once needs fewer rounds. The log of check `n`, counted from 1, is at
/// `log(n)`.
///
/// # Errors
/// [`CheckError`] for the first that cannot be run at all.
pub fn run_all(
    commands: &[String],
    worktree: &Path,
    log: impl Fn(usize) -> PathBuf,
) -> Result<Vec<CheckRun>, CheckError> {
    commands.iter().zip(1..).map(|(command, n)| run(command, worktree, &log(n))).collect()
}

/// Runs one shell command line in `worktree`, with no standard input, and everything that
/// it prints in the file `log`, whose folder is made and whose former content is replaced.
///
/// # Errors
/// [`CheckError`] if it cannot be run; a check that fails is no error.
pub fn run(command: &str, worktree: &Path, log: &Path) -> Result<CheckRun, CheckError> {
    run_with(command, worktree, log, &[])
}

/// As [`run`], with more in the environment.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    command: &str,
    worktree: &Path,
    log: &Path,
    environment: &[(&str, &str)],
) -> Result<CheckRun, CheckError> {
    let logged = |source| CheckError::Log { path: log.to_owned(), source };
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).map_err(logged)?;
    }
    // One open file behind both streams: they share its position, so lines stay in the
    // order in which they were printed.
    let stdout = File::create(log).map_err(logged)?;
    let stderr = stdout.try_clone().map_err(logged)?;

    let mut shell = Command::new("sh");
    scrub(&mut shell);
    for name in SECRETS {
        shell.env_remove(name);
    }
    shell.envs(environment.iter().copied());
    shell.arg("-c").arg(command).current_dir(worktree).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let started = Instant::now();
    let ended = umask::users(|| shell.spawn()).and_then(|mut shell| shell.wait());
    let status = ended.map_err(|source| CheckError::Start { command: command.to_owned(), source })?;
    Ok(CheckRun {
        command: command.to_owned(),
        status: CheckStatus::of(status),
        duration: started.elapsed(),
        log: log.to_owned(),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn checked(command: &str) -> (CheckRun, String) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let log = dir.path().join("logs/agent-1.log");
        let run = run(command, dir.path(), &log).expect("check runs");
        let text = fs::read_to_string(log).expect("log");
        (run, text)
    }

    #[test]
    fn the_log_has_both_streams_in_order() {
        let (run, log) = checked("echo one; echo two >&2; echo three");
        assert!(run.ok());
        assert_eq!(run.status, CheckStatus::Exited(0));
        assert_eq!(log, "one\ntwo\nthree\n");
    }

    #[test]
    fn exit_codes_and_signals_are_told_apart() {
        for (command, status) in [
            ("exit 3", CheckStatus::Exited(3)),
            ("kill -TERM $$", CheckStatus::Signaled(Some(15))),
            ("no-such-command-here", CheckStatus::Exited(127)),
        ] {
            let (run, _) = checked(command);
            assert_eq!(run.status, status, "{command}");
            assert!(!run.ok(), "{command}");
        }
    }

    #[test]
    fn a_check_that_reads_gets_the_end_of_its_input() {
        let (run, log) = checked("cat; echo done");
        assert!(run.ok());
        assert_eq!(log, "done\n");
    }

    #[test]
    fn the_worktree_is_the_current_folder() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let top = dir.path().canonicalize().expect("path");
        let log = top.join("log");
        run("pwd -P", &top, &log).expect("check runs");
        assert_eq!(fs::read_to_string(log).expect("log").trim_end(), top.to_str().expect("text"));
    }

    #[test]
    fn all_checks_run_even_after_a_failure_each_with_its_own_log() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let commands = ["echo a; false".to_owned(), "echo b".to_owned()];
        let runs = run_all(&commands, dir.path(), |n| dir.path().join(format!("s-{n}.log"))).expect("checks");
        assert_eq!(runs.iter().map(CheckRun::ok).collect::<Vec<_>>(), [false, true]);
        for (run, (name, text)) in runs.iter().zip([("s-1.log", "a\n"), ("s-2.log", "b\n")]) {
            assert_eq!(run.log, dir.path().join(name));
            assert_eq!(fs::read_to_string(&run.log).expect("log"), text);
        }
    }

    #[test]
    fn a_worktree_that_is_gone_is_an_error_and_no_failed_check() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let error = run("true", &dir.path().join("gone"), &dir.path().join("log")).expect_err("no folder");
        assert!(matches!(error, CheckError::Start { .. }), "{error}");
        let error = run("true", dir.path(), dir.path()).expect_err("a folder is no log");
        assert!(matches!(error, CheckError::Log { .. }), "{error}");
    }

    #[test]
    fn neither_secrets_nor_git_variables_reach_a_check() {
        // The environment of this process must not be changed by a test, so the test starts
        // itself again with the variables set.
        const INNER: &str = "HEDDLE_TEST_CHECK_ENVIRONMENT";
        if std::env::var_os(INNER).is_some() {
            let (_, log) = checked("env");
            for name in SECRETS.iter().chain(&["GIT_DIR", "GIT_INDEX_FILE"]) {
                assert!(!log.lines().any(|line| line.starts_with(&format!("{name}="))), "{name} in {log}");
            }
            assert!(log.contains("HEDDLE_SESSION=agent-1"), "{log}");
            return;
        }
        let status = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "ops::checks::tests::neither_secrets_nor_git_variables_reach_a_check"])
            .envs([(INNER, "1"), ("HEDDLE_TOKEN", "secret"), ("HEDDLE_REQUEST_TOKEN", "secret")])
            .envs([
                ("GIT_DIR", "/nowhere"),
                ("GIT_INDEX_FILE", "/nowhere/index"),
                ("HEDDLE_SESSION", "agent-1"),
            ])
            .stdout(Stdio::null())
            .status()
            .expect("test runs");
        assert!(status.success());
    }
}
