//! Configuration as `git config` would answer.
//!
//! libgit2 reads the files, once; what Git takes from the environment besides (`git -c`, that
//! is `GIT_CONFIG_PARAMETERS`, and `GIT_CONFIG_COUNT`) is laid over it here, in Git's order,
//! and files that the environment takes out (`GIT_CONFIG_NOSYSTEM`, or `GIT_CONFIG_SYSTEM` and
//! `GIT_CONFIG_GLOBAL` set to nothing) are left out. Where those two name files, the environment
//! includes files, the file of the whole system may be another than the one that libgit2 knows,
//! or a file says `includeIf.hasconfig`, which libgit2 does not know, or `includeIf.onbranch`, which it
//! gets wrong in linked worktrees, one `git config --list` decides for everything.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::GitError;
use super::program::Program;

/// A configured value and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value; a key without `=` is `true`.
    pub text: String,
    /// Where, as `git config --show-origin` would say.
    pub origin: String,
}

/// The configuration of one repository, as it was when it was read.
pub struct Config {
    program: Program,
    /// What the files say, and over it what the environment says: the last of a key wins.
    entries: Vec<(String, Value)>,
    /// Whether the environment names files that libgit2 did not read.
    elsewhere: bool,
    /// What Git itself says, where libgit2 could differ.
    listed: OnceCell<Option<Vec<(String, Value)>>>,
}

impl Config {
    /// The configuration in `files`, under what the environment says.
    ///
    /// # Errors
    /// [`GitError::BadConfig`] for an environment that Git would refuse;
    /// [`GitError::Library`] for a file that cannot be parsed.
    pub(in crate::git) fn new(files: &git2::Config, program: Program) -> Result<Self, GitError> {
        Self::within(files, program, |name| std::env::var_os(name))
    }

    /// As [`Self::new`], with this environment.
    pub(in crate::git) fn within(
        files: &git2::Config,
        program: Program,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, GitError> {
        // What is no text is not passed over: Git reads it too, or refuses it.
        let variable = |name: &str| environment(name).map(|value| value.to_string_lossy().into_owned());
        let mut entries = Vec::new();
        let (system, global) = (Place::of_system(variable), Place::of_global(variable));
        let left_out = |level| match level {
            git2::ConfigLevel::System | git2::ConfigLevel::ProgramData => system != Place::Usual,
            git2::ConfigLevel::XDG | git2::ConfigLevel::Global => global != Place::Usual,
            _ => false,
        };
        // One walk, since libgit2 copies all that it knows for every question.
        files.entries(None)?.for_each(|entry| {
            if left_out(entry.level()) {
                return;
            }
            let text = if entry.has_value() {
                String::from_utf8_lossy(entry.value_bytes()).into_owned()
            } else {
                "true".to_owned()
            };
            let key = canonical(&String::from_utf8_lossy(entry.name_bytes()));
            entries.push((key, Value { text, origin: origin(entry.level()).to_owned() }));
        })?;
        entries.extend(overlay(variable)?);
        let elsewhere = [system, global].contains(&Place::Elsewhere);
        Ok(Self { program, entries, elsewhere, listed: OnceCell::new() })
    }

    /// The last value of `key`.
    ///
    /// # Errors
    /// As [`Self::get_all`].
    pub fn get(&self, key: &str) -> Result<Option<Value>, GitError> {
        let wanted = canonical(key);
        let last = self.entries()?.iter().rev().find(|(key, _)| *key == wanted);
        Ok(last.map(|(_, value)| value.clone()))
    }

    /// The last value of `key` in the repository's own file, whatever is said elsewhere.
    pub(in crate::git) fn own(&self, key: &str) -> Option<&str> {
        let wanted = canonical(key);
        let own = |(key, value): &&(String, Value)| *key == wanted && value.origin == REPOSITORY;
        self.entries.iter().rev().find(own).map(|(_, value)| value.text.as_str())
    }

    /// All values of `key`, in Git's order.
    ///
    /// # Errors
    /// [`GitError::Program`], where Git has to be asked.
    pub fn get_all(&self, key: &str) -> Result<Vec<Value>, GitError> {
        let wanted = canonical(key);
        let entries = self.entries()?.iter().filter(|(key, _)| *key == wanted);
        Ok(entries.map(|(_, value)| value.clone()).collect())
    }

    /// The subsections of `section` in which `variable` is set, each with its values, in
    /// Git's order: the remotes with what they fetch.
    ///
    /// # Errors
    /// As [`Self::get_all`].
    pub fn subsections(&self, section: &str, variable: &str) -> Result<Vec<(&str, &Value)>, GitError> {
        let inner = |key| {
            let key: &str = str::strip_prefix(key, section)?.strip_prefix('.')?;
            key.strip_suffix(variable)?.strip_suffix('.')
        };
        let entries = self.entries()?.iter();
        Ok(entries.filter_map(|(key, value)| Some((inner(key)?, value))).collect())
    }

    /// `key` as a boolean, in all of Git's spellings.
    ///
    /// # Errors
    /// [`GitError::BadConfig`].
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GitError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        match git2::Config::parse_bool(value.text.as_str()) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(value.bad(key, "a boolean is expected: true, false, yes, no, on, off, 1, 0")),
        }
    }

    /// `key` as a number of bytes, with Git's suffixes `k`, `m` and `g`.
    ///
    /// # Errors
    /// [`GitError::BadConfig`].
    pub fn size(&self, key: &str) -> Result<Option<u64>, GitError> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let parsed =
            git2::Config::parse_i64(value.text.as_str()).ok().and_then(|size| u64::try_from(size).ok());
        match parsed {
            Some(size) => Ok(Some(size)),
            None => Err(value.bad(key, "a size in bytes is expected, with k, m or g after it if need be")),
        }
    }

    /// Everything that is set, in Git's order.
    ///
    /// # Errors
    /// As [`Self::get_all`].
    pub fn all(&self) -> Result<&[(String, Value)], GitError> {
        self.entries()
    }

    /// Everything; as Git lists it, if a condition that libgit2 does not know is in use.
    fn entries(&self) -> Result<&[(String, Value)], GitError> {
        let listed = match self.listed.get() {
            Some(known) => known,
            None => {
                let listed = self.listed()?;
                self.listed.get_or_init(|| listed)
            }
        };
        Ok(listed.as_deref().unwrap_or(&self.entries))
    }

    fn listed(&self) -> Result<Option<Vec<(String, Value)>>, GitError> {
        let conditional = |(key, value): &(String, Value)| {
            // libgit2 knows no more of the branch than that of the main worktree.
            key.starts_with("includeif.hasconfig:")
                || key.starts_with("includeif.onbranch:")
                || (value.origin == ENVIRONMENT && (key == "include.path" || key.starts_with("includeif.")))
        };
        if !self.elsewhere && !self.entries.iter().any(conditional) {
            return Ok(None);
        }
        let mut command = self.program.command(["config", "--list", "-z", "--show-origin"]);
        let output = Program::run(&mut command, None)?;
        let text = String::from_utf8_lossy(&output).into_owned();
        let mut fields = text.split('\0');
        let mut entries = Vec::new();
        while let (Some(origin), Some(entry)) = (fields.next(), fields.next()) {
            let (key, text) = entry.split_once('\n').unwrap_or((entry, "true"));
            entries.push((canonical(key), Value { text: text.to_owned(), origin: origin.to_owned() }));
        }
        Ok(Some(entries))
    }
}

impl Value {
    /// The error for a value that means nothing for `key`.
    #[must_use]
    pub fn bad(&self, key: &str, expected: &'static str) -> GitError {
        GitError::BadConfig {
            key: key.to_owned(),
            value: self.text.clone(),
            origin: self.origin.clone(),
            expected,
        }
    }
}

/// Where the environment has a file of configuration looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where libgit2 looks, too.
    Usual,
    /// Nowhere.
    Nowhere,
    /// In a file that it names.
    Elsewhere,
}

impl Place {
    fn of_system(variable: impl Fn(&str) -> Option<String>) -> Self {
        match variable("GIT_CONFIG_NOSYSTEM") {
            Some(value) if git2::Config::parse_bool(value.as_str()).unwrap_or(true) => Self::Nowhere,
            _ => match Self::named_by(variable("GIT_CONFIG_SYSTEM")) {
                Self::Usual if has_a_system_file_of_its_own(&folders_of_programs()) => Self::Elsewhere,
                place => place,
            },
        }
    }

    fn of_global(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self::named_by(variable("GIT_CONFIG_GLOBAL"))
    }

    fn named_by(value: Option<String>) -> Self {
        match value.as_deref() {
            None => Self::Usual,
            Some("" | "/dev/null") => Self::Nowhere,
            Some(_) => Self::Elsewhere,
        }
    }
}

fn folders_of_programs() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// Whether Git may take the configuration of the whole system from another file than libgit2
/// does, which is `/etc/gitconfig`, and one of the two has something to say. Where Git looks was
/// decided when it was built: that file, if it was built for `/usr`, and one below its prefix else,
/// unless whoever built it said otherwise. Only Git can tell.
fn has_a_system_file_of_its_own(folders: &[PathBuf]) -> bool {
    let Some(folder) = folders.iter().find(|folder| folder.join("git").is_file()) else { return false };
    // `git` puts the folder of its own programs before all others for what it starts.
    let below = ["libexec/git-core", "lib/git-core", "bin"].into_iter().find(|below| folder.ends_with(below));
    let prefix = below.and_then(|below| folder.ancestors().nth(Path::new(below).components().count()));
    match prefix {
        Some(prefix) if [Path::new("/usr"), Path::new("/")].contains(&prefix) => false,
        prefix => [prefix, Some(Path::new("/"))]
            .into_iter()
            .flatten()
            .any(|prefix| may_matter(&prefix.join("etc/gitconfig"))),
    }
}

/// Sections of which nothing is asked here, and that packagers put into the configuration of the
/// system: `git lfs install --system`, Homebrew's helper for credentials.
const NEVER_ASKED: [&str; 4] = ["filter.", "lfs.", "credential.", "alias."];

/// Whether the configuration in a file could change anything here.
fn may_matter(file: &Path) -> bool {
    if !file.exists() {
        return false;
    }
    let matters = || {
        let config = git2::Config::open(file)?;
        let mut matters = false;
        config.entries(None)?.for_each(|entry| {
            matters |=
                entry.name().map_or(true, |name| !NEVER_ASKED.iter().any(|known| name.starts_with(known)));
        })?;
        Ok::<_, git2::Error>(matters)
    };
    matters().unwrap_or(true)
}

/// Section and variable are case-insensitive, a subsection is not.
fn canonical(key: &str) -> String {
    match (key.split_once('.'), key.rsplit_once('.')) {
        (Some((section, _)), Some((before, variable))) if before.len() > section.len() => {
            format!("{}{}.{}", section.to_lowercase(), &before[section.len()..], variable.to_lowercase())
        }
        _ => key.to_lowercase(),
    }
}

/// The origin of what is in the repository's own file.
const REPOSITORY: &str = "repository configuration";

/// What libgit2 tells of where an entry was set.
fn origin(level: git2::ConfigLevel) -> &'static str {
    match level {
        git2::ConfigLevel::System | git2::ConfigLevel::ProgramData => "system configuration",
        git2::ConfigLevel::XDG | git2::ConfigLevel::Global => "global configuration",
        git2::ConfigLevel::Local => REPOSITORY,
        git2::ConfigLevel::Worktree => "worktree configuration",
        _ => "configuration",
    }
}

/// The origin of what comes by `git -c` or `GIT_CONFIG_COUNT`.
const ENVIRONMENT: &str = "command line";

/// The entries that the environment carries: `GIT_CONFIG_COUNT` first, then `git -c`.
fn overlay(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, Value)>, GitError> {
    let mut entries = Vec::new();
    let bad = |key: &str, value: &str| GitError::BadConfig {
        key: key.to_owned(),
        value: value.to_owned(),
        origin: "environment".to_owned(),
        expected: "the environment is not as Git writes it",
    };
    if let Some(count) = variable("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) {
        let number: usize = count.parse().map_err(|_| bad("GIT_CONFIG_COUNT", &count))?;
        for at in 0..number {
            let name = format!("GIT_CONFIG_KEY_{at}");
            let key = variable(&name).ok_or_else(|| bad(&name, ""))?;
            let name = format!("GIT_CONFIG_VALUE_{at}");
            let text = variable(&name).ok_or_else(|| bad(&name, ""))?;
            entries.push((canonical(&key), Value { text, origin: ENVIRONMENT.to_owned() }));
        }
    }
    if let Some(parameters) = variable("GIT_CONFIG_PARAMETERS") {
        let words = unquote(&parameters).ok_or_else(|| bad("GIT_CONFIG_PARAMETERS", &parameters))?;
        for (key, text) in words {
            entries.push((canonical(&key), Value { text, origin: ENVIRONMENT.to_owned() }));
        }
    }
    Ok(entries)
}

/// Reads `'key'='value'` (today's form) and `'key=value'` (Git before 2.31), in the
/// quoting of a shell: only `'\''` and `'\!'` occur inside.
fn unquote(text: &str) -> Option<Vec<(String, String)>> {
    // Git refuses what begins with a space.
    let mut rest = text;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let (entry, after) = match after.strip_prefix('=') {
            Some(after) if after.starts_with('\'') => {
                let (value, after) = quoted(after)?;
                ((key, value), after)
            }
            Some(after) => ((key, "true".to_owned()), after),
            None => {
                let (key, value) = key.split_once('=').unwrap_or((&key, "true"));
                ((key.to_owned(), value.to_owned()), after)
            }
        };
        entries.push(entry);
        rest = after.trim_start();
    }
    Some(entries)
}

/// One word in single quotes and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut word = String::new();
    loop {
        let end = rest.find('\'')?;
        word.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let escaped = rest.strip_prefix('\\').and_then(|rest| {
            let character = rest.chars().next().filter(|character| matches!(character, '\'' | '!'))?;
            Some((character, rest[1..].strip_prefix('\'')?))
        });
        match escaped {
            Some((character, after)) => {
                word.push(character);
                rest = after;
            }
            None => return Some((word, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_git_c_are_read() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(unquote("'a.b'='c d' 'e.f'="), Some(vec![pair("a.b", "c d"), pair("e.f", "true")]));
        assert_eq!(unquote("'a.b=it'\\''s' 'c.d'"), Some(vec![pair("a.b", "it's"), pair("c.d", "true")]));
        assert_eq!(unquote(""), Some(Vec::new()));
        for bogus in ["a.b=c", " ", " 'a.b'='c'", "\u{fffd}"] {
            assert_eq!(unquote(bogus), None, "{bogus:?}");
        }
    }

    #[test]
    fn a_git_below_another_prefix_may_have_another_file_for_the_system() {
        let above = tempfile::tempdir().expect("folder");
        for below in ["bin", "libexec/git-core", "lib/git-core"] {
            let folder = above.path().join(below);
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(folder.join("git"), "").expect("program");
            let empty = above.path().join("empty");
            let folders = [empty, folder];
            let usual = may_matter(Path::new("/etc/gitconfig"));
            assert_eq!(has_a_system_file_of_its_own(&folders), usual, "{below}");
            std::fs::create_dir_all(above.path().join("etc")).expect("folder");
            for (text, matters) in [
                ("", usual),
                ("[credential]\n\thelper = osxkeychain\n[filter \"lfs\"]\n\trequired\n", usual),
                ("[filter \"lfs\"]\n\trequired\n[core]\n\thooksPath = x\n", true),
                ("[include]\n\tpath = elsewhere\n", true),
                ("[includeIf \"gitdir:x\"]\n\tpath = elsewhere\n", true),
                ("[broken", true),
            ] {
                std::fs::write(above.path().join("etc/gitconfig"), text).expect("file");
                assert_eq!(has_a_system_file_of_its_own(&folders), matters, "{below}: {text}");
            }
            std::fs::remove_dir_all(above.path().join("etc")).expect("remove");
        }
        assert!(!has_a_system_file_of_its_own(&[]));
    }

    #[test]
    fn only_the_subsection_keeps_its_case() {
        assert_eq!(canonical("Remote.Origin.URL"), "remote.Origin.url");
        assert_eq!(canonical("Heddle.TTL"), "heddle.ttl");
    }
}
