//! What a new worktree gets beside the files of its commit: ignored files that a build needs
//! (`heddle.worktreeCopy`, `heddle.worktreeLink`), and the folder of hooks where Git looks
//! for them in a relative path that the commit does not hold (husky's `.husky/_`).
//!
//! Only what Git ignores is brought, and only where Git ignores it in the new worktree too:
//! what a capture would take as new stays out, with a warning. Nothing is written through a
//! symbolic link, and nothing that the commit holds is replaced.
//!
//! If the process dies here: the worktree is still marked as being made, and goes as a whole.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Error;
use crate::git::worktree::Linked;
use crate::git::{GitError, Repo};
use crate::store::StoreError;

/// Brings along what the configuration names, from the worktree at `source`; a sentence for
/// each thing that was left out.
///
/// # Errors
/// [`GitError`] for patterns that Git does not understand; [`StoreError::Io`].
pub fn bring(context: &Context<'_>, source: &Path, made: &Linked) -> Result<Vec<String>, Error> {
    let git = context.repo.program_in(source);
    let settings = &context.settings;
    let mut brought: Vec<PathBuf> = Vec::new();
    if !settings.worktree_link.is_empty() {
        for path in Repo::ignored_entries(&git, &settings.worktree_link)? {
            let path: PathBuf = path.components().collect();
            if let Some(to) = free_place(&made.path, &path)? {
                symlink(source.join(&path), &to).map_err(StoreError::io("link", &to))?;
                brought.push(path);
            }
        }
    }
    if !settings.worktree_copy.is_empty() {
        for path in Repo::ignored_files(&git, &settings.worktree_copy)? {
            let path: PathBuf = path.components().collect();
            if let Some(to) = free_place(&made.path, &path)? {
                copy(&source.join(&path), &to)?;
                brought.push(path);
            }
        }
    }
    if let Some(path) = relative_hooks(context)?
        && source.join(&path).is_dir()
    {
        match free_place(&made.path, &path)? {
            Some(to) => {
                copy(&source.join(&path), &to)?;
                brought.push(path);
            }
            // The commit holds some of the hooks; others may be the user's own, or heddle's.
            None => {
                let ignored = [format!(":(literal){}", path.display())];
                for path in Repo::ignored_files(&git, &ignored)? {
                    if let Some(to) = free_place(&made.path, &path)? {
                        copy(&source.join(&path), &to)?;
                        brought.push(path);
                    }
                }
            }
        }
    }
    if brought.is_empty() {
        return Ok(Vec::new());
    }
    leave_out_unignored(context, made, &brought)
}

/// Where Git looks for hooks, if that depends on the worktree.
fn relative_hooks(context: &Context<'_>) -> Result<Option<PathBuf>, GitError> {
    let configured = context.repo.config()?.get("core.hooksPath")?;
    let path = configured.map(|value| PathBuf::from(value.text));
    Ok(path.filter(|path| {
        // One that leads out of the worktree is no part of it.
        let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        inside && path.components().next().is_some() && !path.starts_with("~")
    }))
}

/// Takes out again what Git does not ignore in the new worktree: `node_modules/` in
/// `.gitignore` means a folder, and a link is none.
fn leave_out_unignored(
    context: &Context<'_>,
    made: &Linked,
    brought: &[PathBuf],
) -> Result<Vec<String>, Error> {
    let untracked = Repo::untracked_files(&made.program(context.repo.is_durable()))?;
    let mut warnings = Vec::new();
    for path in brought {
        if !untracked.iter().any(|found| found.starts_with(path)) {
            continue;
        }
        let to = made.path.join(path);
        let removed =
            if to.is_dir() && !to.is_symlink() { fs::remove_dir_all(&to) } else { fs::remove_file(&to) };
        removed.map_err(StoreError::io("remove", &to))?;
        let why = if source_is_folder(context, path) {
            "Git would not ignore it there; a link to a folder needs a pattern without '/' at its end"
        } else {
            "Git would not ignore it there"
        };
        warnings.push(format!("{path:?} was not brought into the worktree: {why}"));
    }
    Ok(warnings)
}

fn source_is_folder(context: &Context<'_>, path: &Path) -> bool {
    context.repo.worktree().is_some_and(|source| source.join(path).is_dir())
}

/// The place for `path` below `top`, its folders made; `None` if something is there already
/// or if the way leads through a symbolic link.
fn free_place(top: &Path, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let place = top.join(path);
    if fs::symlink_metadata(&place).is_ok() {
        return Ok(None);
    }
    let mut folder = top.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Ok(None),
            Err(_) => fs::create_dir(&folder).map_err(StoreError::io("make", &folder))?,
        }
    }
    Ok(Some(place))
}

/// Copies a file, a link, or a folder with all in it. The system shares the blocks of a file
/// where its file system can (`copy_file_range`).
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let meta = match fs::symlink_metadata(from) {
        Ok(meta) => meta,
        // It went away since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io("read", from)(error)),
    };
    if meta.is_symlink() {
        let target = fs::read_link(from).map_err(StoreError::io("read", from))?;
        return symlink(target, to).map_err(StoreError::io("link", to));
    }
    if meta.is_file() {
        return fs::copy(from, to).map(drop).map_err(StoreError::io("copy", from));
    }
    if !meta.is_dir() {
        // A socket or a pipe is nobody's input.
        return Ok(());
    }
    fs::create_dir(to).map_err(StoreError::io("make", to))?;
    for entry in fs::read_dir(from).map_err(StoreError::io("read", from))? {
        let entry = entry.map_err(StoreError::io("read", from))?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
