//! `git heddle install-man-pages`: puts the man pages where `man` finds them.
//!
//! `git heddle --help` is `git help heddle` to Git, and fails without a page. Each page is
//! written beside its place and renamed into it, so that a reader sees the old page or the
//! new one.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::output::Stdout;
use crate::output::documents::ManPageList;

/// The arguments of `install-man-pages`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder that gets `man1/` [default: $XDG_DATA_HOME/man, else ~/.local/share/man]
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// A checked-in page: its file name and its text; `tests/generated.rs` holds them to the
/// definition of the commands.
macro_rules! pages {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../man/", $name)))),*] };
}
const PAGES: [(&str, &str); 34] = pages![
    "git-heddle.1",
    "git-heddle-agent.1",
    "git-heddle-agent-reserve.1",
    "git-heddle-agent-heartbeat.1",
    "git-heddle-agent-capture.1",
    "git-heddle-agent-ready.1",
    "git-heddle-agent-release.1",
    "git-heddle-agent-run.1",
    "git-heddle-agent-list.1",
    "git-heddle-agent-show.1",
    "git-heddle-thread.1",
    "git-heddle-thread-list.1",
    "git-heddle-thread-show.1",
    "git-heddle-thread-log.1",
    "git-heddle-thread-diff.1",
    "git-heddle-thread-refresh.1",
    "git-heddle-thread-land.1",
    "git-heddle-thread-promote.1",
    "git-heddle-thread-rename.1",
    "git-heddle-thread-drop.1",
    "git-heddle-hooks.1",
    "git-heddle-hooks-install.1",
    "git-heddle-hooks-uninstall.1",
    "git-heddle-hooks-status.1",
    "git-heddle-hooks-run.1",
    "git-heddle-verify.1",
    "git-heddle-publish.1",
    "git-heddle-fetch.1",
    "git-heddle-gc.1",
    "git-heddle-log.1",
    "git-heddle-doctor.1",
    "git-heddle-schema.1",
    "git-heddle-completion.1",
    "git-heddle-install-man-pages.1",
];

/// Why the pages were not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No folder was named, and the environment names none.
    #[error("no folder for the man pages: neither XDG_DATA_HOME nor HOME is set")]
    NoFolder,
    /// A file or folder could not be written.
    #[error("cannot write {path:?}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard output failed.
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Installs every page below the folder, or below the user's own, and prints where: the
/// paths one a line, or with `json` an array. A relative folder is meant from `start`.
///
/// # Errors
/// [`InstallError`].
pub fn run(args: &Args, start: &Path, json: bool, out: &mut Stdout) -> Result<(), InstallError> {
    let root = match &args.folder {
        Some(named) => start.join(named),
        None => {
            user_folder(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
                .ok_or(InstallError::NoFolder)?
        }
    };
    let folder = root.join("man1");
    std::fs::create_dir_all(&folder).map_err(|source| InstallError::File { path: folder.clone(), source })?;
    let mut written = Vec::new();
    for (name, page) in PAGES {
        let path = folder.join(name);
        replace(&folder, &path, page.as_bytes())
            .map_err(|source| InstallError::File { path: path.clone(), source })?;
        written.push(path.to_string_lossy().into_owned());
    }
    if json {
        out.json(&ManPageList(written))?;
    } else {
        out.text(&(written.join("\n") + "\n"))?;
    }
    Ok(())
}

/// The user's own man folder. The base directory specification says to ignore a relative
/// path in `XDG_DATA_HOME`.
fn user_folder(env: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    env("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| env("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("man"))
}

/// Replaces the file at `path` in one step.
fn replace(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    // A temporary file is private; a man page is for everyone who may enter the folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_data_home_is_ignored() {
        let env = |name: &str| match name {
            "XDG_DATA_HOME" => Some(PathBuf::from("data")),
            "HOME" => Some(PathBuf::from("/home/u")),
            _ => None,
        };
        assert_eq!(user_folder(env), Some(PathBuf::from("/home/u/.local/share/man")));
    }
}
