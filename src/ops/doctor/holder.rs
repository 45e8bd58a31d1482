//! Who may hold a lock of Git's.
//!
//! Git writes nothing into its locks, so all that can be known is that nobody alive made one.
//! A process in doubt counts as its holder: a lock that is removed from under a living Git
//! lets two write at once.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::platform::{listed_is_gone, waiting_for_us};

/// A process that may have made the lock file at `path`: one that is alive, was started
/// before the file was made, and has it open or is a Git program that may work on this
/// repository. A holder that cannot be looked at counts; this process and the `git` that it was
/// started by do not.
pub(super) fn possible_holder(context: &Context<'_>, path: &Path) -> Option<String> {
    let made = fs::symlink_metadata(path).ok()?;
    let Ok(processes) = fs::read_dir("/proc") else { return Some("some process".to_owned()) };
    let mut roots = vec![context.repo.common_dir().to_owned()];
    roots.extend(context.repo.checkouts().into_iter().flat_map(|checkout| [checkout.path, checkout.git_dir]));
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
    let wait_for_us = waiting_for_us();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that has ended holds nothing, though nobody may have asked for its end yet.
        if pid == std::process::id() || wait_for_us.contains(&pid) || listed_is_gone(pid) {
            continue;
        }
        let process = process.path();
        let younger = started_at(&process).is_some_and(|started| started > made.ctime() + 2);
        let Ok(name) = fs::read_to_string(process.join("comm")) else { continue };
        let name = name.trim();
        let works_here = name.starts_with("git") && may_work_in(&process, &roots);
        // Of one that has ended since nothing could be seen.
        if !younger && (works_here || opens(&process, path)) && !listed_is_gone(pid) {
            return Some(format!("process {pid} ({name})"));
        }
    }
    None
}

/// Whether a Git program may work on the repository that lies in `roots`: it stands in it, as
/// Git does where it has found a repository by itself, or was told which to use. Daemons that
/// stand elsewhere start others for what they do to a repository.
fn may_work_in(process: &Path, roots: &[PathBuf]) -> bool {
    let Ok(stands) = fs::read_link(process.join("cwd")) else { return true };
    if roots.iter().any(|root| stands.starts_with(root)) {
        return true;
    }
    let words = |file: &str| fs::read(process.join(file));
    let (Ok(environment), Ok(arguments)) = (words("environ"), words("cmdline")) else { return true };
    was_told(&Told { environment: &environment, arguments: &arguments, stands: &stands }, roots)
}

/// What a process was given when it started, each word ended by a NUL, and where it stands now.
struct Told<'a> {
    environment: &'a [u8],
    arguments: &'a [u8],
    stands: &'a Path,
}

/// Whether a Git program was told to use a repository that may be the one in `roots`.
fn was_told(told: &Told<'_>, roots: &[PathBuf]) -> bool {
    let variables = || told.environment.split(|byte| *byte == 0);
    let arguments = || told.arguments.split(|byte| *byte == 0);
    let holds = |word: &[u8], name: &[u8]| {
        word.windows(name.len()).any(|part: &[u8]| part.eq_ignore_ascii_case(name))
    };
    // Git goes into a worktree that it is told of, and what is relative was so to where it stood
    // before; where it is not told of any it stays, after `-C`, where it reads relative names.
    let went_elsewhere = variables().any(|word| word.starts_with(b"GIT_WORK_TREE="))
        || variables().any(|word| word.starts_with(b"GIT_CONFIG") && holds(word, b"core.worktree"))
        || arguments().any(|word| word.starts_with(b"--work-tree") || holds(word, b"core.worktree"));
    let is_here = |folder: &[u8]| {
        let folder = Path::new(OsStr::from_bytes(folder));
        if folder.is_relative() && went_elsewhere {
            return true;
        }
        let folder = told.stands.join(folder);
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        roots.iter().any(|root| folder.starts_with(root))
    };
    let named = variables().filter_map(|variable| {
        variable.strip_prefix(b"GIT_DIR=").or_else(|| variable.strip_prefix(b"GIT_COMMON_DIR="))
    });
    let option = arguments().zip(arguments().skip(1)).filter_map(|(word, next)| {
        word.strip_prefix(b"--git-dir=").or_else(|| (word == b"--git-dir").then_some(next))
    });
    named.chain(option).any(is_here)
}

/// When a process was started, in seconds since 1970: the kernel counts its start in ticks,
/// a hundredth of a second on Linux for everybody who asks, since the boot.
fn started_at(process: &Path) -> Option<i64> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let ticks: i64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let kernel = fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = kernel.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / 100)
}

/// Whether a process has the file open.
fn opens(process: &Path, file: &Path) -> bool {
    let open = fs::read_dir(process.join("fd"));
    open.is_ok_and(|open| {
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a Git that stands in `/elsewhere` and was given these may work on `/repo`.
    fn counts(environment: &[&str], arguments: &[&str]) -> bool {
        let ended =
            |words: &[&str]| words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        let (environment, arguments): (Vec<u8>, Vec<u8>) = (ended(environment), ended(arguments));
        let told = Told {
            environment: &environment,
            arguments: &arguments,
            stands: Path::new("/no-such-folder/elsewhere"),
        };
        was_told(&told, &[PathBuf::from("/no-such-folder/repo")])
    }

    #[test]
    fn a_git_that_was_told_of_another_repository_does_not_count() {
        assert!(!counts(&["HOME=/h"], &["git", "gc"]));
        assert!(!counts(&["GIT_DIR=.git"], &["git", "commit"]));
        assert!(!counts(&["GIT_DIR=/no-such-folder/other/.git"], &["git", "commit"]));
        assert!(!counts(&[], &["git", "--git-dir=.git", "gc"]));
        assert!(!counts(&[], &["git", "--git-dir", ".git", "gc"]));
    }

    #[test]
    fn a_git_that_was_told_of_this_repository_counts() {
        for folder in ["/no-such-folder/repo/.git", "/no-such-folder/repo"] {
            assert!(counts(&[&format!("GIT_DIR={folder}")], &["git", "gc"]));
            assert!(counts(&[&format!("GIT_COMMON_DIR={folder}")], &["git", "gc"]));
            assert!(counts(&[], &["git", &format!("--git-dir={folder}"), "gc"]));
            assert!(counts(&[], &["git", "--git-dir", folder, "gc"]));
        }
    }

    #[test]
    fn a_relative_name_is_in_doubt_where_git_may_have_left_the_folder_since() {
        assert!(counts(&["GIT_DIR=.git", "GIT_WORK_TREE=/elsewhere"], &["git", "gc"]));
        assert!(counts(&["GIT_DIR=.git"], &["git", "--work-tree=/elsewhere", "gc"]));
        assert!(counts(&["GIT_DIR=.git"], &["git", "-c", "core.workTree=/elsewhere", "gc"]));
        let configured = "GIT_CONFIG_PARAMETERS='core.worktree'='/elsewhere'";
        assert!(counts(&["GIT_DIR=.git", configured], &["git", "gc"]));
    }
}
