//! What Git's own commands do when they have made objects: `git maintenance run --auto`.
//!
//! Captures leave loose objects and packs behind as commits do. Where agents do nothing but
//! capture, nobody would ever put them together. To start Git for that takes as long as the rest
//! of a small capture, and nearly always it looks at two folders and ends: so these are looked at
//! here, by Git's rules (`gc.auto`, `gc.autoPackLimit` in git-config(1)), and Git is started where
//! it would find something to do. It goes on in the background then, unless it is configured
//! otherwise (`maintenance.autoDetach`, `gc.autoDetach`).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

use super::program::Program;
use super::{GitError, Repo};
use crate::platform::umask;

/// How many loose objects Git leaves alone unless told otherwise.
const LOOSE: u64 = 6_700;

/// How many packs.
const PACKS: u64 = 50;

/// Has Git put objects together where it is time to. The capture is done: what goes wrong here
/// is for the next one to try again.
pub fn tend(repo: &Repo) {
    // What is configured in a way that we cannot read, Git can, or says why not.
    if is_due(repo).unwrap_or(true) {
        // Not in the worktree, which would be taken for in use for as long as it goes on.
        let git = Program::new(repo.common_dir(), None, repo.is_durable());
        let mut command = git.command(["maintenance", "run", "--auto", "--quiet"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Git before 2.47 goes into the background by itself, after that only when it is told to in
        // words that it did not know before. It does so here whatever its version.
        if in_background(repo).unwrap_or(true) {
            let _ = umask::users(|| command.process_group(0).spawn());
        } else {
            let _ = umask::users(|| command.spawn()).and_then(|mut git| git.wait());
        }
    }
}

/// Whether nobody is to wait for it.
fn in_background(repo: &Repo) -> Result<bool, GitError> {
    let config = repo.config()?;
    let told = config.bool("maintenance.autodetach")?;
    Ok(told.or(config.bool("gc.autodetach")?).unwrap_or(true))
}

fn is_due(repo: &Repo) -> Result<bool, GitError> {
    let config = repo.config()?;
    if config.bool("maintenance.auto")? == Some(false) {
        return Ok(false);
    }
    // With tasks of the user's choice it is not these numbers that count.
    if config.get("maintenance.strategy")?.is_some()
        || !config.subsections("maintenance", "enabled")?.is_empty()
    {
        return Ok(true);
    }
    let loose = config.size("gc.auto")?.unwrap_or(LOOSE);
    let packs = config.size("gc.autopacklimit")?.unwrap_or(PACKS);
    let objects = repo.objects_dir();
    // Object ids are spread evenly: one of 256 folders tells of all.
    Ok(loose > 0 && (loose_in(&objects.join("17")) > loose.div_ceil(256) || has_more_packs(&objects, packs)))
}

/// How many loose objects a folder has.
fn loose_in(folder: &Path) -> u64 {
    let is_object = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        name.len() >= 38 && name.iter().all(u8::is_ascii_hexdigit)
    };
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    files.flatten().filter(|file| is_object(&file.file_name())).count() as u64
}

/// Whether there are more packs than `most` that may be put together; 0 is no limit.
fn has_more_packs(objects: &Path, most: u64) -> bool {
    let Ok(files) = fs::read_dir(objects.join("pack")) else { return false };
    let names: Vec<_> = files.flatten().map(|file| file.path()).collect();
    let with = |extension: &str| {
        names.iter().filter(|name| name.extension().is_some_and(|found| found == extension)).count() as u64
    };
    most > 0 && with("pack").saturating_sub(with("keep")) > most
}
