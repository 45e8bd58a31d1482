//! Who may hold a lock of Git's.
//!
//! Git writes nothing into its locks, so all that can be known is that nobody alive made one.
//! A process in doubt counts as its holder: a lock that is removed from under a living Git
//! lets two write at once. So a Git counts unless the repository that it works on is known, and
//! another one. Files and folders are told by their inodes, as one may have several names.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::context::Context;
use crate::ops::stay::STAY;
use crate::platform::{listed_is_gone, since_boot, waiting_for_us};
use crate::store::atomic_file;
use crate::store::journal::FileIdentity;

/// A lock of Git's, as it was found.
pub(super) enum Lock {
    /// It is not there any more.
    Gone,
    /// Nobody alive can hold it.
    Free,
    /// A process that may hold it.
    Held(String),
}

/// Who may hold the lock at `path`: a process that is alive, was started before the file was
/// made, and has it open or is a Git that may work on this repository. One that cannot be looked at
/// counts; this process and the `git` that it was started by do not.
pub(super) fn look(context: &Context<'_>, path: &Path) -> Lock {
    let (Some(seen), Ok(made)) = (FileIdentity::of(path), fs::symlink_metadata(path)) else {
        return Lock::Gone;
    };
    match holder(context, &made) {
        // Whoever held it gave it back meanwhile.
        _ if !seen.is_at(path) => Lock::Gone,
        None => Lock::Free,
        Some(holder) => Lock::Held(holder),
    }
}

/// Removes `path`, which is written under the lock `lock` only, if nobody can hold that; `path` may
/// be the lock. What has come in its place since `seen` stays.
pub(super) fn remove_free(context: &Context<'_>, lock: &Path, path: &Path, seen: &FileIdentity) -> bool {
    !matches!(look(context, lock), Lock::Held(_)) && seen.is_at(path) && atomic_file::remove(path).is_ok()
}

fn holder(context: &Context<'_>, made: &fs::Metadata) -> Option<String> {
    let ours = Ours::of(context);
    // Where processes of others are not listed, any of them may.
    let processes = match fs::read_dir("/proc") {
        Ok(processes) if Path::new("/proc/1").exists() => processes,
        _ => return Some("a process that cannot be seen".to_owned()),
    };
    let (wait_for_us, lock) = (waiting_for_us(), Inode::of(made));
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that has ended holds nothing, though nobody may have asked for its end yet.
        if pid == std::process::id() || wait_for_us.contains(&pid) || listed_is_gone(pid) {
            continue;
        }
        let process = process.path();
        let (name, may_hold) = match fs::read_to_string(process.join("comm")) {
            Ok(name) => {
                let younger = || {
                    let made = i128::from(made.ctime()) + 2;
                    started_at(&process).is_some_and(|started| i128::from(unix_seconds(started)) > made)
                };
                let works_here = name.starts_with("git") && !ours.works_elsewhere(&process) && !younger();
                (name, works_here || opens(&process, lock))
            }
            Err(_) => (String::new(), true),
        };
        // Of one that has ended since nothing could be seen.
        if may_hold && !listed_is_gone(pid) {
            let name = name.trim();
            return Some(if name.is_empty() {
                format!("process {pid}")
            } else {
                format!("process {pid} ({name})")
            });
        }
    }
    None
}

/// A file or folder, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Inode {
    dev: u64,
    ino: u64,
}

impl Inode {
    fn of(meta: &fs::Metadata) -> Self {
        Self { dev: meta.dev(), ino: meta.ino() }
    }

    fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::of(&meta))
    }
}

/// The repository that is looked at.
struct Ours {
    /// Its common directory, and what that lies in: a submodule's is in the one of its superproject,
    /// from where Git configures it.
    common: HashSet<Inode>,
    /// Where its worktrees are, also those that nothing in them tells of.
    places: HashSet<Inode>,
    /// When it was made, where the file system tells.
    born: Option<SystemTime>,
}

/// What is known of the repository that a process has gone to.
enum Found {
    /// None.
    Nothing,
    /// The common directory.
    Common(Inode),
}

impl Ours {
    fn of(context: &Context<'_>) -> Self {
        let common_dir = context.repo.common_dir();
        let checkouts = context.repo.checkouts().into_iter();
        let places = checkouts.flat_map(|checkout| [checkout.path, checkout.git_dir]);
        Self {
            common: common_dir.ancestors().filter_map(|folder| Inode::at(folder).ok()).collect(),
            places: places.filter_map(|place| Inode::at(&place).ok()).collect(),
            born: fs::metadata(common_dir).and_then(|meta| meta.created()).ok(),
        }
    }

    /// Whether the Git program `process` is known to work on another repository, or on none.
    fn works_elsewhere(&self, process: &Path) -> bool {
        let words = |file: &str| fs::read(process.join(file));
        let (Ok(environment), Ok(arguments)) = (words("environ"), words("cmdline")) else { return false };
        let told = Told { environment: &environment, arguments: &arguments };
        if told.locks_nothing() {
            return true;
        }
        // What makes a repository works on one that nobody told it of, and that is younger.
        // Both clocks go in steps, of at most 10 ms.
        let after = |born: SystemTime, started| started > born + Duration::from_millis(50);
        let not_made_by_it =
            || self.born.zip(started_at(process)).is_some_and(|(born, started)| after(born, started));
        let named: Vec<&[u8]> = told.git_dirs().collect();
        // What is named from the root on is so wherever the process has gone.
        let known = !named.is_empty() && named.iter().all(|named| named.starts_with(b"/"));
        if told.writes_a_file() || told.makes_one() && !not_made_by_it() || told.goes_elsewhere() && !known {
            return false;
        }
        let stands = process.join("cwd");
        if !named.is_empty() {
            return named.iter().all(|folder| match common_of(process, &within(process, &stands, folder)) {
                Ok(common) => self.is_another(common),
                // Ours is there.
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            });
        }
        match self.discover(process, &stands) {
            Ok(Found::Common(common)) => self.is_another(common),
            Ok(Found::Nothing) => not_made_by_it(),
            Err(_) => false,
        }
    }

    fn is_another(&self, common: Inode) -> bool {
        !self.common.contains(&common)
    }

    /// The repository that Git finds from the folder `stands` upwards; an error where that cannot be
    /// told, or one of the places of ours is on the way.
    fn discover(&self, process: &Path, stands: &Path) -> io::Result<Found> {
        let mut at = stands.to_owned();
        loop {
            let here = Inode::at(&at)?;
            if self.places.contains(&here) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let dot_git = at.join(".git");
            match fs::symlink_metadata(&dot_git) {
                // From an empty folder, say, Git goes on.
                Ok(_) => {
                    if let Some(git_dir) = git_dir_of(process, &dot_git)? {
                        return common_of(process, &git_dir).map(Found::Common);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            if is_git_dir(&at) {
                return common_of(process, &at).map(Found::Common);
            }
            let above = at.join("..");
            if Inode::at(&above)? == here {
                return Ok(Found::Nothing);
            }
            at = above;
        }
    }
}

fn is_git_dir(folder: &Path) -> bool {
    let has = |name: &str| fs::symlink_metadata(folder.join(name)).is_ok();
    has("HEAD") && (has("commondir") || has("objects") && has("refs"))
}

/// The Git directory that the `.git` of a worktree is, or names.
fn git_dir_of(process: &Path, dot_git: &Path) -> io::Result<Option<PathBuf>> {
    if fs::metadata(dot_git)?.is_dir() {
        return Ok(is_git_dir(dot_git).then(|| dot_git.to_owned()));
    }
    let text = fs::read(dot_git)?;
    let named = text.strip_prefix(b"gitdir: ").ok_or(io::ErrorKind::InvalidData)?;
    let folder = dot_git.parent().unwrap_or(dot_git);
    Ok(Some(within(process, folder, named.trim_ascii_end())))
}

/// The common directory of a Git directory.
fn common_of(process: &Path, git_dir: &Path) -> io::Result<Inode> {
    match fs::read(git_dir.join("commondir")) {
        Ok(text) => Inode::at(&within(process, git_dir, text.trim_ascii_end())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Inode::at(git_dir),
        Err(error) => Err(error),
    }
}

/// Where the process finds what is named in `folder`: it may see other mounts than we do.
fn within(process: &Path, folder: &Path, named: &[u8]) -> PathBuf {
    let named = Path::new(OsStr::from_bytes(named));
    match named.strip_prefix("/") {
        Ok(below) => process.join("root").join(below),
        Err(_) => folder.join(named),
    }
}

/// What a process was given when it started, each word ended by a NUL.
struct Told<'a> {
    environment: &'a [u8],
    arguments: &'a [u8],
}

impl<'a> Told<'a> {
    fn variables(&self) -> impl Iterator<Item = &'a [u8]> {
        self.environment.split(|byte| *byte == 0)
    }

    fn words(&self) -> impl Iterator<Item = &'a [u8]> {
        self.arguments.split(|byte| *byte == 0)
    }

    /// Whether it may not stand where it found the repository: Git goes into a worktree that it is
    /// told of.
    fn goes_elsewhere(&self) -> bool {
        let holds = |word: &[u8], name: &[u8]| {
            word.windows(name.len()).any(|part: &[u8]| part.eq_ignore_ascii_case(name))
        };
        let told = |word: &[u8]| word.starts_with(b"GIT_CONFIG") && holds(word, b"core.worktree");
        self.variables().any(|word| word.starts_with(b"GIT_WORK_TREE=") || told(word))
            || self.words().any(|word| word.starts_with(b"--work-tree") || holds(word, b"core.worktree"))
    }

    /// Whether it may write a file of configuration that it was told of.
    fn writes_a_file(&self) -> bool {
        let named = |word: &[u8]| word.starts_with(b"-f") || word.starts_with(b"--file");
        self.words().any(|word| word == b"config")
            && (self.words().any(named) || self.variables().any(|word| word.starts_with(b"GIT_CONFIG=")))
    }

    /// Whether it is one that stays for long, wherever it stands, and locks no repository: our own
    /// watcher, the `git` that waits for a `git-heddle`, what keeps passwords, and what serves others
    /// by a process for each.
    fn locks_nothing(&self) -> bool {
        let mut words = self.words();
        let program =
            words.next().unwrap_or_default().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        match (program, words.next().unwrap_or_default()) {
            (b"git-heddle", verb) => verb == STAY.as_bytes(),
            (b"git", verb) => matches!(verb, b"daemon" | b"heddle") || verb.starts_with(b"credential"),
            (program, _) => program == b"git-daemon" || program.starts_with(b"git-credential"),
        }
    }

    /// Whether it may make a repository.
    fn makes_one(&self) -> bool {
        self.words().any(|word| matches!(word, b"clone" | b"init" | b"init-db"))
    }

    /// The repositories that it was told of, by names that are relative to where it stands.
    fn git_dirs(&self) -> impl Iterator<Item = &'a [u8]> {
        let named = self.variables().filter_map(|variable| {
            variable.strip_prefix(b"GIT_DIR=").or_else(|| variable.strip_prefix(b"GIT_COMMON_DIR="))
        });
        let option = self.words().zip(self.words().skip(1)).filter_map(|(word, next)| {
            word.strip_prefix(b"--git-dir=").or_else(|| (word == b"--git-dir").then_some(next))
        });
        named.chain(option)
    }
}

/// When a process was started: the kernel counts its start in ticks, a hundredth of a second on Linux
/// for everybody who asks, since the boot.
fn started_at(process: &Path) -> Option<SystemTime> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let ago = since_boot()?.checked_sub(Duration::from_millis(ticks * 10))?;
    SystemTime::now().checked_sub(ago)
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whether a process has the file open.
fn opens(process: &Path, file: Inode) -> bool {
    let open = fs::read_dir(process.join("fd"));
    open.is_ok_and(|open| open.flatten().any(|fd| Inode::at(&fd.path()).is_ok_and(|open| open == file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(environment: &[&str], arguments: &[&str], asked: impl FnOnce(Told<'_>) -> T) -> T {
        let ended =
            |words: &[&str]| words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        let (environment, arguments): (Vec<u8>, Vec<u8>) = (ended(environment), ended(arguments));
        asked(Told { environment: &environment, arguments: &arguments })
    }

    #[test]
    fn a_git_is_told_of_a_repository_by_variables_and_options() {
        let git_dirs = |environment: &[&str], arguments: &[&str]| {
            told(environment, arguments, |told| {
                told.git_dirs().map(|named| String::from_utf8_lossy(named).into_owned()).collect::<Vec<_>>()
            })
        };
        assert!(git_dirs(&["HOME=/h"], &["git", "gc"]).is_empty());
        assert_eq!(git_dirs(&["GIT_DIR=.git"], &["git", "commit"]), [".git"]);
        assert_eq!(git_dirs(&["GIT_COMMON_DIR=/c"], &["git", "--git-dir=/d", "gc"]), ["/c", "/d"]);
        assert_eq!(git_dirs(&[], &["git", "--git-dir", "x", "gc"]), ["x"]);
    }

    #[test]
    fn where_a_git_stands_says_nothing_if_it_was_sent_elsewhere() {
        let goes = |environment: &[&str], arguments: &[&str]| {
            told(environment, arguments, |told| told.goes_elsewhere())
        };
        assert!(!goes(&["GIT_DIR=.git"], &["git", "commit"]));
        assert!(!goes(&[], &["git", "config", "a.b", "c"]));
        assert!(goes(&["GIT_WORK_TREE=/elsewhere"], &["git", "gc"]));
        assert!(goes(&[], &["git", "--work-tree=/elsewhere", "gc"]));
        assert!(goes(&[], &["git", "-c", "core.workTree=/elsewhere", "gc"]));
        assert!(goes(&["GIT_CONFIG_PARAMETERS='core.worktree'='/elsewhere'"], &["git", "gc"]));
        let writes = |arguments: &[&str]| told(&[], arguments, |told| told.writes_a_file());
        assert!(writes(&["git", "config", "--file=/repo/.git/config", "a.b", "c"]));
        assert!(!writes(&["git", "config", "a.b", "c"]) && !writes(&["git", "gc"]));
        assert!(told(&[], &["git", "clone", "--quiet", "a", "b"], |told| told.makes_one()));
    }

    #[test]
    fn what_only_stays_locks_nothing() {
        let locks_nothing = |arguments: &[&str]| told(&[], arguments, |told| told.locks_nothing());
        for arguments in [
            &["/usr/bin/git-heddle", "__watch", "/tree", "agent-1"][..],
            &["git", "credential-cache--daemon", "/socket"],
            &["/usr/lib/git-core/git-credential-cache--daemon", "/socket"],
            &["git-daemon", "--export-all"],
            &["git", "heddle", "-C", "/repo", "agent", "run", "--", "make"],
        ] {
            assert!(locks_nothing(arguments), "{arguments:?}");
        }
        for arguments in [
            &["git-heddle", "thread", "land"][..],
            &["git", "commit", "daemon"],
            &["git", "-C", "daemon", "gc"],
            &["gitea"],
            &[],
        ] {
            assert!(!locks_nothing(arguments), "{arguments:?}");
        }
    }

    #[test]
    fn when_a_process_began_is_told_by_the_clock_that_files_have() {
        let started = started_at(Path::new("/proc/self")).expect("told");
        let ago = SystemTime::now().duration_since(started).expect("past");
        assert!(ago < Duration::from_secs(3600), "{ago:?}");
    }
}
