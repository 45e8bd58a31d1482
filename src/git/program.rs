//! The user's own `git`, started with an environment that names this repository and
//! nothing else.
//!
//! A hook that starts heddle has `GIT_DIR`, `GIT_INDEX_FILE` and more in its environment;
//! handed on unseen, they make a child work on the wrong repository. Every child therefore
//! starts from an environment without the variables that `git rev-parse --local-env-vars`
//! lists, plus the few that it needs. Where the user has objects of this repository elsewhere
//! (`GIT_OBJECT_DIRECTORY`), they are there for children too. Configuration given by `git -c` (or `GIT_CONFIG_*`)
//! is handed on: the user asked for it.
//!
//! Arguments are passed as they are, never through a shell. Callers put
//! `--end-of-options` or `--` before any name that came from outside.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{GitError, said};
use crate::platform::umask;
use crate::store::voucher::{self, Voucher};

/// What `git rev-parse --local-env-vars` lists, without the variables that carry `git -c`.
const LOCAL_ENV: [&str; 13] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// Where objects are written to, if not beside the refs.
pub const OBJECTS: &str = "GIT_OBJECT_DIRECTORY";

/// Where more objects are read from.
pub const ALTERNATES: &str = "GIT_ALTERNATE_OBJECT_DIRECTORIES";

/// What changes the meaning of every path that a command is given.
pub(super) const PATHSPECS: [&str; 4] =
    ["GIT_ICASE_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", LITERAL];

/// What has every path name nothing but itself.
pub(super) const LITERAL: &str = "GIT_LITERAL_PATHSPECS";

/// Has paths mean to `command` what they mean to the user, who gave them, or to the user's hooks,
/// which [`Program::command`] keeps from it.
pub(super) fn hand_on_pathspecs(command: &mut Command) {
    command.envs(PATHSPECS.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
}

/// Takes from the environment of `command` what ties it to one repository, so that it
/// finds its own from the folder it runs in, and what vouches for somebody else.
pub fn scrub(command: &mut Command) {
    for name in LOCAL_ENV {
        command.env_remove(name);
    }
    command.env_remove(voucher::VARIABLE);
}

/// How long to wait for Git's lock on all refs of a repository.
static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// Has everybody wait so long for Git's lock on all refs, where there is one lock for all of
/// them: what is set first counts.
pub fn wait_for_refs(limit: Duration) {
    let _ = PATIENCE.set(limit);
}

/// How long to wait for that lock.
#[must_use]
pub fn patience() -> Duration {
    PATIENCE.get().copied().unwrap_or(Duration::from_secs(10))
}

/// How to start git for one repository.
#[derive(Debug, Clone)]
pub struct Program {
    git_dir: PathBuf,
    worktree: Option<PathBuf>,
    durable: bool,
}

impl Program {
    /// Git for the repository whose (worktree's own) Git directory is `git_dir`. With
    /// `durable`, what it writes is synced before it exits.
    #[must_use]
    pub fn new(git_dir: &Path, worktree: Option<&Path>, durable: bool) -> Self {
        Self { git_dir: git_dir.to_owned(), worktree: worktree.map(Path::to_owned), durable }
    }

    /// A git command, its subcommand first among `args`; runs in the top folder of the
    /// worktree, or in the Git directory of a bare repository, with no standard input. Paths mean
    /// to it what they mean where the environment says nothing of them: most are ours.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("git");
        scrub(&mut command);
        for name in PATHSPECS {
            command.env_remove(name);
        }
        // Where the user has objects elsewhere, they are there for the child too, which runs in
        // another folder. (Paths in the list are relative to the worktree's top folder to Git.)
        if let Some(told) = std::env::var_os(OBJECTS) {
            command.env(OBJECTS, std::path::absolute(&told).unwrap_or_else(|_| told.into()));
        }
        command.envs(std::env::var_os(ALTERNATES).map(|told| (ALTERNATES, told)));
        command.env("GIT_DIR", &self.git_dir);
        match &self.worktree {
            // Where it is not there, what needs none of it works all the same.
            Some(worktree) => {
                let stands = if worktree.is_dir() { worktree } else { &self.git_dir };
                command.env("GIT_WORK_TREE", worktree).current_dir(stands)
            }
            None => command.current_dir(&self.git_dir),
        };
        if self.durable {
            command.args(["-c", "core.fsync=all", "-c", "core.fsyncMethod=batch"]);
        }
        if super::reftable::is_in(&self.git_dir) {
            // Git's own 100 ms are over soon where many write.
            let limit = patience().as_millis();
            command.arg("-c").arg(format!("reftable.lockTimeout={limit}"));
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Asks Git something that it always knows. It refuses even that, as every command, where its
    /// configuration holds a value that it cannot read.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words.
    pub(super) fn try_out(&self) -> Result<(), GitError> {
        Self::run(&mut self.command(["rev-parse", "--git-dir"]), None).map(drop)
    }

    /// Runs `command` to its end, feeding it `input`, and returns what it printed.
    ///
    /// # Errors
    /// [`GitError::Start`] if it cannot be started; [`GitError::Program`] if it exits with
    /// anything but 0.
    pub fn run(command: &mut Command, input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        let output = Self::output(command, input)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(Self::failure(command, &output))
    }

    /// As [`Self::run`], for a command that writes refs on heddle's behalf in the repository
    /// with this common Git directory: hooks let it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_vouched(
        command: &mut Command,
        input: Option<&[u8]>,
        common_dir: &Path,
    ) -> Result<Vec<u8>, GitError> {
        let voucher = Voucher::issue(common_dir);
        if let Some(voucher) = &voucher {
            voucher.hand_to(command);
        }
        Self::run(command, input)
    }

    /// Runs `git <verb> <options> <range> -- <paths>` with our own standard input, output and
    /// error, so that pager and colours are the user's; its exit code. The paths are what
    /// follows a `--` among the options, and meant from where the user stands.
    ///
    /// # Errors
    /// [`GitError::Start`].
    pub fn hand_over(&self, verb: &str, options: &[std::ffi::OsString], range: &str) -> Result<u8, GitError> {
        use std::os::unix::process::ExitStatusExt as _;
        let mut command = self.command([verb]);
        let end = options.iter().position(|option| option == "--").unwrap_or(options.len());
        let paths = options.get(end + 1..).unwrap_or_default();
        command.args(&options[..end]).args([range, "--"]).args(paths).stdin(Stdio::inherit());
        hand_on_pathspecs(&mut command);
        if let (Ok(here), Some(worktree)) = (std::env::current_dir(), &self.worktree)
            && here.starts_with(worktree)
        {
            command.current_dir(here);
        }
        let ended = umask::users(|| command.spawn()).and_then(|mut git| git.wait());
        let status = ended.map_err(|source| GitError::Start { source })?;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ok(u8::try_from(code).unwrap_or(1))
    }

    /// Runs `command` to its end whatever its exit status. What it leaves running (a hook may) is
    /// not waited for, though it have the output open.
    ///
    /// # Errors
    /// [`GitError::Start`] if it cannot be started or its output cannot be read.
    pub fn output(command: &mut Command, input: Option<&[u8]>) -> Result<Output, GitError> {
        let start = |source| GitError::Start { source };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = umask::users(|| command.spawn()).map_err(start)?;
        let Some((mut stdin, input)) = child.stdin.take().zip(input) else {
            return said::read(child).map_err(start);
        };
        std::thread::scope(|scope| {
            // Fed from a thread of its own: a child that prints much before it has read
            // all would otherwise wait for us while we wait for it.
            scope.spawn(move || {
                // A child that exits early closes the pipe; its status tells why.
                let _ = stdin.write_all(input);
            });
            said::read(child).map_err(start)
        })
    }

    /// The error for a `command` that ended with `output`.
    #[must_use]
    pub fn failure(command: &Command, output: &Output) -> GitError {
        let shown = command
            .get_args()
            .map(OsStr::to_string_lossy)
            .scan(false, |skip, arg| {
                // Options before the subcommand (`-c key=value`, `--attr-source=…`) are
                // ours.
                let of_options = *skip || arg.starts_with('-');
                *skip = !*skip && arg == "-c";
                Some((!of_options).then(|| arg.into_owned()))
            })
            .flatten()
            .next()
            .unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr);
        // In whatever language: the two commands that it shows are the same in each.
        if said.contains("git config --global user.email") {
            return GitError::NoIdentity;
        }
        GitError::Program {
            command: shown,
            status: output.status.to_string(),
            stderr: said.trim().to_owned(),
        }
    }
}
