//! Where Git looks for hooks, and how it is made to run one.
//!
//! `git rev-parse --git-path hooks` is the arbiter: it knows `core.hooksPath` in every scope,
//! worktree configuration and what a relative path is meant from. Hooks from configuration
//! (`hook.<name>.command`) came with Git 2.54 and are run beside those in files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::program::Program;
use super::{GitError, Repo};

/// The first Git that runs hooks from configuration.
const CONFIGURED_SINCE: (u32, u32) = (2, 54);
/// A ref that nobody has. Its name needs no folder of its own below `refs`.
const SCRATCH_REF: &str = "HEDDLE_HOOKS_PROBE";

/// Where Git looks for the hooks of one worktree, or of a bare repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookPlace {
    /// The worktree's top folder; `None` for a bare repository.
    pub worktree: Option<PathBuf>,
    /// The folder, which may be missing.
    pub folder: PathBuf,
    /// `core.hooksPath`, if that is why.
    pub configured: Option<HooksPath>,
}

/// What `core.hooksPath` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HooksPath {
    /// The value as configured.
    pub value: String,
    /// Where it was set, as `git config --show-origin` says.
    pub origin: String,
    /// Whether it was set for this repository or this worktree: whoever set it meant these.
    pub for_this_repository: bool,
}

impl HooksPath {
    /// Whether it names nothing: Git finds no hook then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
    }
}

/// Which Git this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitVersion {
    /// As it says itself.
    pub text: String,
    /// Major and minor.
    number: (u32, u32),
}

impl GitVersion {
    /// Asks the user's Git.
    ///
    /// # Errors
    /// [`GitError::Start`], [`GitError::Program`].
    pub fn ask() -> Result<Self, GitError> {
        let output =
            Program::run(std::process::Command::new("git").arg("version").stdin(Stdio::null()), None)?;
        Ok(Self::parse(String::from_utf8_lossy(&output).trim()))
    }

    /// Whether it runs hooks from configuration.
    #[must_use]
    pub fn runs_configured_hooks(&self) -> bool {
        self.number >= CONFIGURED_SINCE
    }

    /// Reads `git version 2.47.3 (Apple Git-1)`; of what cannot be read nothing is expected.
    fn parse(line: &str) -> Self {
        let text = line.strip_prefix("git version ").unwrap_or(line).to_owned();
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        Self { text, number }
    }
}

impl Repo {
    /// Where Git looks for hooks: first for where we are, then for every other worktree that
    /// is there.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn hook_places(&self) -> Result<Vec<HookPlace>, GitError> {
        let here = self.worktree().map(Path::to_owned);
        let mut places = vec![hook_place(&self.program(), here.clone())?];
        let git = Program::new(self.common_dir(), None, self.is_durable());
        let listed = Program::run(&mut git.command(["worktree", "list", "--porcelain", "-z"]), None)?;
        for entry in listed.split(|byte| *byte == 0).collect::<Vec<_>>().split(|line| line.is_empty()) {
            let Some(path) = entry.iter().find_map(|line| line.strip_prefix(b"worktree ")) else { continue };
            let path = PathBuf::from(OsStr::from_bytes(path));
            let bare = entry.contains(&b"bare".as_slice());
            let gone = entry.iter().any(|line| line.starts_with(b"prunable"));
            let known = path.canonicalize().ok();
            if bare || gone || known.is_none() || known == here {
                continue;
            }
            places.push(hook_place(&self.program_in(&path), Some(path))?);
        }
        Ok(places)
    }

    /// Whether the file at `path` in the worktree at `top` is, or would become with the next
    /// `git add`, part of its content: tracked, or not ignored.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn is_content(&self, top: &Path, path: &Path) -> Result<bool, GitError> {
        let git = self.program_in(top);
        let tracked = Program::run(git.command(["ls-files", "-z", "--"]).arg(path), None)?;
        if !tracked.is_empty() {
            return Ok(true);
        }
        let mut command = git.command(["check-ignore", "--quiet", "--"]);
        let output = Program::output(command.arg(path), None)?;
        match output.status.code() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(Program::failure(&command, &output)),
        }
    }

    /// Has Git fire a hook as `firing` says; what Git and the hook said on standard error.
    ///
    /// `reference-transaction` is fired by a transaction that changes nothing (it verifies that
    /// a ref is not there) and is aborted whatever a hook says; any other by `git hook run`.
    ///
    /// # Errors
    /// [`GitError::Start`].
    pub fn fire_hook(&self, place: &HookPlace, firing: &Firing<'_>) -> Result<String, GitError> {
        let mut args: Vec<String> = Vec::new();
        for name in firing.silent {
            args.extend(["-c".to_owned(), format!("hook.{name}.enabled=false")]);
        }
        if firing.only_configured {
            args.extend(["-c".to_owned(), "core.hooksPath=/dev/null".to_owned()]);
        }
        let input = if firing.event == "reference-transaction" {
            args.extend(["update-ref", "--stdin"].map(str::to_owned));
            // Without an old value it is to be absent, whatever length an id has here.
            format!("start\nverify {SCRATCH_REF}\nprepare\nabort\n")
        } else {
            args.extend(["hook", "run", "--ignore-missing", firing.event].map(str::to_owned));
            String::new()
        };
        let mut command = self.program_at(place).command(args);
        let (name, value) = firing.variable;
        command.env(name, value);
        let output = Program::output(&mut command, Some(input.as_bytes()))?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The names of all hooks that are configured for `event` where `place` counts, with the
    /// scope that each was configured in.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn configured_hooks(&self, place: &HookPlace, event: &str) -> Result<Vec<String>, GitError> {
        let mut command =
            self.program_at(place).command(["config", "--null", "--get-regexp", r"^hook\..*\.event$"]);
        let output = Program::output(&mut command, None)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut names: Vec<String> = text
            .split('\0')
            .filter_map(|entry| entry.split_once('\n'))
            .filter(|(_, value)| *value == event)
            .filter_map(|(key, _)| key.strip_prefix("hook.")?.strip_suffix(".event").map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Adds `value` to the multi-valued `key` in the configuration that all worktrees share.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn add_shared_config(&self, key: &str, value: &str) -> Result<(), GitError> {
        Program::run(&mut self.shared_config(&["--add", key, value]), None).map(drop)
    }

    /// All values of `key` in that configuration, its includes left out.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn shared_config_values(&self, key: &str) -> Result<Vec<String>, GitError> {
        let mut command = self.shared_config(&["--null", "--get-all", key]);
        let output = Program::output(&mut command, None)?;
        match output.status.code() {
            Some(0 | 1) => {}
            _ => return Err(Program::failure(&command, &output)),
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// Removes every `value` of `key` from that configuration.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn remove_shared_config(&self, key: &str, value: &str) -> Result<(), GitError> {
        Program::run(&mut self.shared_config(&["--fixed-value", "--unset-all", key, value]), None).map(drop)
    }

    fn shared_config(&self, args: &[&str]) -> std::process::Command {
        let mut command =
            Program::new(self.common_dir(), None, self.is_durable()).command(["config", "--file"]);
        command.arg(self.common_dir().join("config")).args(args);
        command
    }

    /// How to start git where `place` counts.
    #[must_use]
    pub fn program_at(&self, place: &HookPlace) -> Program {
        match &place.worktree {
            Some(top) => self.program_in(top),
            None => self.program(),
        }
    }
}

/// The template of new repositories, if the user has one of their own.
///
/// # Errors
/// [`GitError::Start`], [`GitError::Program`] for a value that is no path.
pub fn template_folder() -> Result<Option<PathBuf>, GitError> {
    let mut command = std::process::Command::new("git");
    command.args(["config", "--null", "--type=path", "--get", "init.templateDir"]).stdin(Stdio::null());
    let output = Program::output(&mut command, None)?;
    match output.status.code() {
        Some(0) => {}
        Some(1) => return Ok(None),
        _ => return Err(Program::failure(&command, &output)),
    }
    let path = output.stdout.strip_suffix(b"\0").unwrap_or(&output.stdout);
    Ok((!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path))))
}

/// How a hook is to be fired.
#[derive(Debug, Clone, Copy)]
pub struct Firing<'a> {
    /// The hook.
    pub event: &'a str,
    /// A variable of its environment.
    pub variable: (&'a str, &'a str),
    /// The hooks from configuration that are not to run.
    pub silent: &'a [String],
    /// Whether hooks in files are not to run.
    pub only_configured: bool,
}

/// Where the hooks of one worktree lie.
fn hook_place(git: &Program, worktree: Option<PathBuf>) -> Result<HookPlace, GitError> {
    let mut command =
        git.command(["config", "--null", "--show-scope", "--show-origin", "--get", "core.hooksPath"]);
    let said = Program::output(&mut command, None)?.stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut fields = said.split('\0');
    let configured = match (fields.next(), fields.next(), fields.next()) {
        (Some(scope), Some(origin), Some(value)) => Some(HooksPath {
            value: value.to_owned(),
            origin: origin.strip_prefix("file:").unwrap_or(origin).to_owned(),
            for_this_repository: matches!(scope, "local" | "worktree"),
        }),
        _ => None,
    };
    if configured.as_ref().is_some_and(HooksPath::is_empty) {
        // Git puts the hook's name after it, and has no answer to where the folder is.
        return Ok(HookPlace { worktree, folder: PathBuf::from("/"), configured });
    }
    let output =
        Program::run(&mut git.command(["rev-parse", "--path-format=absolute", "--git-path", "hooks"]), None)?;
    let folder = PathBuf::from(OsStr::from_bytes(output.strip_suffix(b"\n").unwrap_or(&output)));
    Ok(HookPlace { worktree, folder, configured })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_hooks_are_run_since_2_54() {
        let runs = |line: &str| GitVersion::parse(line).runs_configured_hooks();
        assert!(!runs("git version 2.47.3"));
        assert!(!runs("git version 2.53.0.windows.1"));
        assert!(runs("git version 2.54.0"));
        assert!(runs("git version 2.55.GIT"));
        assert!(runs("git version 3.0.1 (Apple Git-1)"));
        assert!(!runs("something else"));
    }
}
