//! Staging what changed, where it is known what that is.
//!
//! As with paths that the user names (`only`), git works on a private index of these paths
//! alone, and what changed in it is put into the tip's trees. Unlike those, nobody asked for any
//! single one of them: what is ignored, or gone again, is passed over as `git add -A` passes over
//! it. What is gone is left out of the index; what is new and ignored `git check-ignore` tells;
//! files are hashed by `git update-index`, which, told of a thousand, looks at a thousand, where
//! `git add` holds each file of their folders against each of a thousand paths; folders that
//! are new or were moved are given to `git add -A`.
//!
//! It is `None`, with the reason, wherever a look at everything could come to something else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::diff::entries;
use super::index_file::{Entry, NO_HASH, hangs_on_files};
use super::new_trees::MANY;
use super::only::{MOST, Only, RULES};
use super::program::{LITERAL, Program};
use super::rules::may_have_attributes;
use super::stage::{FEW_PATHS, Limits, Staging, Stamp, io_error, warnings_in};
use super::trees::{SUBMODULE, differences, mode_of};
use super::write_tree::may_write;
use super::{GitError, Repo};
use crate::names::CommitId;
use crate::platform::change::Changed;

/// How many files are synced one by one, without a folder in which Git gathers them.
const FEW: usize = 2;
const ONE_BY_ONE: [&str; 2] = ["-c", "core.fsyncMethod=fsync"];

/// What is larger than that Git streams into one pack for all files of a command, which it cannot do
/// (2.47) where it gathers objects to sync them together.
const PACKED: [&str; 4] = ["-c", "core.bigFileThreshold=1", "-c", "core.fsyncMethod=fsync"];

/// What is staged, or why everything has to be looked at.
pub type Staged<'a> = Result<(Staging<'a>, Vec<String>), String>;

/// How to stage.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// The paths, in any order.
    pub changed: &'a [Changed],
    /// Whether the worktree's own index is to follow.
    pub follows: bool,
    /// Whether the user's hooks are to see the index.
    pub hooks: bool,
    /// What is refused.
    pub limits: Limits,
    /// An index that overlooks no file, as [`Staging::plain_index`] said.
    pub plain: Option<Stamp>,
    /// The worktree's own index when all of it had been captured.
    pub index: Option<Stamp>,
}

impl<'a> Staging<'a> {
    /// Stages in the worktree, which is otherwise as in `tip`, what may have changed.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn of_changed(repo: &'a Repo, tip: &CommitId, how: &How<'_>) -> Result<Staged<'a>, GitError> {
        let config = repo.config()?;
        for key in ["core.sparseCheckout", "core.splitIndex", "core.ignoreCase"] {
            if config.bool(key)?.unwrap_or(false) {
                return Ok(Err(format!("{key} is set")));
            }
        }
        if !config.bool("core.symlinks")?.unwrap_or(true) || !may_write(repo)? {
            return Ok(Err("only Git writes objects as it is configured here".to_owned()));
        }
        let mut staging = Self::make(repo, tip)?;
        // What is staged there and in no file is seen by a look at everything.
        let own = repo.git_dir().join("index");
        if (how.index.is_none() || how.index != Stamp::of(&own))
            && own.exists()
            && staging.is_more_staged(&own)?
        {
            return Ok(Err("the index has something that is ignored, or has it no more".to_owned()));
        }
        staging.limits = how.limits;
        let hooked = how.hooks && (staging.has_hook("pre-commit")? || staging.has_hook("commit-msg")?);
        // The file of the index is read to put it together with what changed, or to see that it
        // overlooks nothing.
        if !how.follows && !hooked && how.plain.is_some() && how.plain == Stamp::of(&staging.source(false).0)
        {
            staging.plain = how.plain;
        }
        let warnings = match staging.stage_changed(how)? {
            Ok(warnings) => warnings,
            Err(reason) => return Ok(Err(reason)),
        };
        if hooked && !staging.complete()? {
            return Ok(Err("a hook has to see everything, and the index is not at the tip".to_owned()));
        }
        Ok(Ok((staging, warnings)))
    }

    /// Makes the private index, which holds some paths, one of everything; false where git has to.
    fn complete(&mut self) -> Result<bool, GitError> {
        let Some(only) = &self.only else { return Ok(true) };
        let tip = self.repo.raw().find_commit(self.repo.oid(self.tip.as_str())?)?.tree_id();
        let tree = only.write_tree(self.repo, &self.index(), tip)?;
        let Some((mut bytes, modified)) = self.put_together(only, tree)? else { return Ok(false) };
        // Nobody but git looks at this one, and not at its hash.
        bytes.extend_from_slice(&NO_HASH);
        let index = self.index();
        let write = || {
            fs::write(&index, &bytes)?;
            fs::File::options().write(true).open(&index)?.set_modified(modified)
        };
        write().map_err(io_error("write", &index))?;
        self.only = None;
        Ok(true)
    }

    fn stage_changed(&mut self, how: &How<'_>) -> Result<Result<Vec<String>, String>, GitError> {
        let paths = without_covered(how.changed);
        let rules = |path: &&[u8]| RULES.contains(&path.rsplit(|byte| *byte == b'/').next().unwrap_or(path));
        if let Some(rules) = paths.keys().copied().find(rules) {
            return Ok(Err(format!("'{}' changed", String::from_utf8_lossy(rules))));
        }
        let mut seen = Seen { worktree: self.worktree.clone(), folders: BTreeSet::new() };
        let mut there = BTreeMap::new();
        for path in paths.keys() {
            match seen.look(path) {
                Ok(found) => drop(there.insert(*path, found)),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let odb = self.repo.raw().odb()?;
        let tree = self.repo.raw().find_commit(self.repo.oid(self.tip.as_str())?)?.tree_id();
        let mut tip = Tip { odb: &odb, entries: BTreeMap::new() };
        if !tip.take(tree, b"", &there.keys().copied().collect::<Vec<_>>())? {
            return Ok(Err("there are too many files, or repositories, where something changed".to_owned()));
        }
        let mut only = tip.entries;
        let mut modified = None;
        // What changed is hashed in any case.
        if self.plain.is_none() {
            modified = match self.recall(&mut only, how.follows, true) {
                Ok(modified) => modified,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Err("only Git understands the index".to_owned()));
                }
                Err(error) => return Err(io_error("read", self.repo.git_dir())(error)),
            };
            if only.values().any(Entry::is_overlooked) {
                return Ok(Err("the index tells Git to overlook changes".to_owned()));
            }
        }
        let ignored = self.ignored(&there, &only)?;
        let plan = match Plan::make(&there, &ignored, &only, &mut seen) {
            Ok(plan) => plan,
            Err(reason) => return Ok(Err(reason)),
        };
        self.write_index(&plan.index, modified)?;
        let mut warnings = Vec::new();
        let (files, folders) = (plan.count_files(), plan.has_many_in_folders(&self.worktree));
        let packs = (files >= MANY || folders) && self.may_pack(paths.keys().copied())?;
        let writing = |many: bool| if many && packs { &PACKED[..] } else { &[] };
        let files = if files <= FEW { &ONE_BY_ONE[..] } else { writing(files >= MANY) };
        for (writing, args, input) in [
            (files, &["update-index", "--add", "-z", "--stdin"], plan.files),
            (writing(folders), &["add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"], plan.folders),
        ] {
            let mut command = self.git_for_changed(writing, args);
            if input.is_empty() {
                continue;
            }
            let output = Program::output(&mut command, Some(&input))?;
            if !output.status.success() {
                // Something changes just now, or Git refuses what it would refuse anyway.
                return Ok(Err("Git could not stage what changed".to_owned()));
            }
            warnings.extend(warnings_in(&output.stderr));
        }
        self.only = Some(Only(only));
        Ok(Ok(warnings))
    }

    /// Whether many files are better written into one pack: where none is converted on the way,
    /// for those are files of their own in any case.
    fn may_pack<'p>(&self, paths: impl Iterator<Item = &'p [u8]>) -> Result<bool, GitError> {
        let converts = self.repo.config()?.get("core.autocrlf")?.is_some_and(|value| value.text != "false");
        Ok(!converts && !may_have_attributes(self.repo, paths)?)
    }

    /// The index that was found to overlook no file, by which it is known again.
    #[must_use]
    pub fn plain_index(&self) -> Option<Stamp> {
        self.plain
    }

    /// A command on the index of what changed, with what is configured of writing objects.
    fn git_for_changed(&self, writing: &[&str], args: &[&str]) -> Command {
        let ours = [
            "-c",
            "advice.addEmbeddedRepo=false",
            "-c",
            "add.ignoreErrors=false",
            "-c",
            "index.skipHash=true",
        ];
        let parts = FEW_PATHS.iter().chain(&ours).chain(writing).chain(args);
        let mut command = self.git(parts);
        command.env(LITERAL, "1");
        command
    }

    /// Which of the paths are ignored: of the folders and those files that the tip has not.
    fn ignored(
        &self,
        there: &BTreeMap<&[u8], Found>,
        tip: &BTreeMap<Vec<u8>, Entry>,
    ) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let new = |(path, found): &(&&[u8], &Found)| {
            **found == Found::Folder || (**found == Found::File && !tip.contains_key(**path))
        };
        self.ignored_among(there.iter().filter(new).map(|(path, _)| *path))
    }

    /// Which of the paths are ignored, tracked or not.
    pub(super) fn ignored_among<'p>(
        &self,
        paths: impl Iterator<Item = &'p [u8]>,
    ) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let mut input = Vec::new();
        for path in paths {
            // What begins like a pattern of Git's is none.
            input.extend_from_slice(b"./");
            input.extend_from_slice(path);
            input.push(0);
        }
        if input.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut command = self.git(["check-ignore", "--no-index", "-z", "--stdin"]);
        let output = Program::output(&mut command, Some(&input))?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(Program::failure(&command, &output));
        }
        let paths = output.stdout.split(|byte| *byte == 0).filter_map(|path| path.strip_prefix(b"./"));
        Ok(paths.map(<[u8]>::to_vec).collect())
    }

    /// Whether what was staged hangs on nothing but the files, so that only where a file changes
    /// something else would be staged the next time.
    #[must_use]
    pub fn hangs_on_files(&self) -> bool {
        !self.is_split() && hangs_on_files(&self.index(), self.repo.id_size())
    }
}

/// The paths at which `commit` differs from `since`, of which `None` are too many.
///
/// # Errors
/// [`GitError::Library`] if a tree is missing.
pub fn between(repo: &Repo, since: &CommitId, commit: &CommitId) -> Result<Option<Vec<Changed>>, GitError> {
    if since == commit {
        return Ok(Some(Vec::new()));
    }
    let tree =
        |commit: &CommitId| Ok::<_, GitError>(repo.raw().find_commit(repo.oid(commit.as_str())?)?.tree_id());
    let found = differences(repo, tree(since)?, tree(commit)?)?;
    let changed = found.into_iter().map(|found| Changed { path: found.path, whole: false });
    Ok(Some(changed.collect::<Vec<_>>()).filter(|changed| changed.len() <= MOST))
}

/// The paths, without those below one that is looked at as a whole.
fn without_covered(changed: &[Changed]) -> BTreeMap<&[u8], bool> {
    let mut paths: BTreeMap<&[u8], bool> = BTreeMap::new();
    for Changed { path, whole } in changed {
        *paths.entry(path).or_default() |= whole;
    }
    let covered = |path: &[u8]| {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.into_iter().any(|(at, _)| paths.get(&path[..at]).is_some_and(|whole| *whole))
    };
    let kept: Vec<(&[u8], bool)> =
        paths.iter().filter(|(path, _)| !covered(path)).map(|(path, whole)| (*path, *whole)).collect();
    kept.into_iter().collect()
}

/// What is at a path in the worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A file or a link.
    File,
    Folder,
    /// Nothing, or it is beyond a link or a file.
    Nothing,
}

/// Looks at the worktree.
struct Seen {
    worktree: std::path::PathBuf,
    /// Folders that were found to be there and no repositories of their own.
    folders: BTreeSet<Vec<u8>>,
}

impl Seen {
    /// What is at `path`, or why that cannot be staged here.
    fn look(&mut self, path: &[u8]) -> Result<Found, String> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for at in slashes {
            let folder = &path[..at];
            if !self.folders.contains(folder) {
                if !self.meta(folder).is_some_and(|meta| meta.is_dir()) {
                    return Ok(Found::Nothing);
                }
                self.enter(folder)?;
            }
        }
        let Some(meta) = self.meta(path) else { return Ok(Found::Nothing) };
        let shown = || String::from_utf8_lossy(path).into_owned();
        if meta.is_dir() {
            self.enter(path)?;
            Ok(Found::Folder)
        } else if !meta.is_file() && !meta.is_symlink() {
            Err(format!("'{}' is neither file nor link", shown()))
        } else if meta.nlink() > 1 {
            // Its other names changed as well, and nobody told of that.
            Err(format!("'{}' has other names", shown()))
        } else {
            Ok(Found::File)
        }
    }

    fn enter(&mut self, folder: &[u8]) -> Result<(), String> {
        if self.meta(&[folder, b"/.git"].concat()).is_some() {
            return Err(format!("'{}' is a repository of its own", String::from_utf8_lossy(folder)));
        }
        self.folders.insert(folder.to_vec());
        Ok(())
    }

    fn meta(&self, path: &[u8]) -> Option<fs::Metadata> {
        fs::symlink_metadata(self.worktree.join(Path::new(OsStr::from_bytes(path)))).ok()
    }
}

/// What a tree has at paths, below them and on the way to them.
struct Tip<'a> {
    odb: &'a git2::Odb<'a>,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Tip<'_> {
    /// Takes what is in `tree`, whose name is `prefix`, at `paths`; one that is empty is all of
    /// it. False if that is too much, or a submodule.
    fn take(&mut self, tree: git2::Oid, prefix: &[u8], paths: &[&[u8]]) -> Result<bool, GitError> {
        let mut wanted: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        for path in paths {
            let (name, rest) = match path.iter().position(|byte| *byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (*path, &path[path.len()..]),
            };
            wanted.entry(name).or_default().push(rest);
        }
        let all = paths.iter().any(|path| path.is_empty());
        let object = self.odb.read(tree)?;
        for entry in entries(object.data(), tree.as_bytes().len()) {
            let below = if all { Some(&[&[][..]][..]) } else { wanted.get(entry.name).map(Vec::as_slice) };
            let name = [prefix, entry.name].concat();
            match below {
                Some(below) if entry.is_tree() => {
                    if !self.take(entry.id, &[&name, &b"/"[..]].concat(), below)? {
                        return Ok(false);
                    }
                }
                None if entry.is_tree() || !RULES.contains(&entry.name) => {}
                Some(_) | None => {
                    let mode = mode_of(&entry);
                    if mode == SUBMODULE || self.entries.len() >= MOST {
                        return Ok(false);
                    }
                    self.entries.insert(name, Entry::unknown(mode, entry.id));
                }
            }
        }
        Ok(true)
    }
}

/// What git has to do.
#[derive(Default)]
struct Plan {
    /// What it begins with: what the tip has and the worktree may have.
    index: BTreeMap<Vec<u8>, Entry>,
    /// What it is to hash, NUL after each.
    files: Vec<u8>,
    /// What it is to look at as a whole.
    folders: Vec<u8>,
}

impl Plan {
    /// How many files are to be hashed one by one.
    fn count_files(&self) -> usize {
        self.files.iter().filter(|byte| **byte == 0).count()
    }

    /// Whether there are [`MANY`] in the folders. What is ignored there is counted too.
    fn has_many_in_folders(&self, worktree: &Path) -> bool {
        fn below(folder: &Path, count: &mut usize) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if *count >= MANY {
                    return;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    below(&entry.path(), count);
                } else {
                    *count += 1;
                }
            }
        }
        let mut count = 0;
        for folder in self.folders.split(|byte| *byte == 0).filter(|folder| !folder.is_empty()) {
            below(&worktree.join(OsStr::from_bytes(folder)), &mut count);
        }
        count >= MANY
    }

    fn make(
        there: &BTreeMap<&[u8], Found>,
        ignored: &BTreeSet<Vec<u8>>,
        tip: &BTreeMap<Vec<u8>, Entry>,
        seen: &mut Seen,
    ) -> Result<Self, String> {
        let mut plan = Self { index: tip.clone(), ..Self::default() };
        let add = |list: &mut Vec<u8>, path: &[u8]| {
            list.extend_from_slice(path);
            list.push(0);
        };
        for (path, found) in there {
            let (from, to) = ([path, &b"/"[..]].concat(), [path, &b"0"[..]].concat());
            let below: Vec<Vec<u8>> = tip.range(from..to).map(|(name, _)| name.clone()).collect();
            match found {
                Found::Nothing | Found::File => {
                    for name in &below {
                        plan.index.remove(name);
                    }
                }
                Found::Folder if !ignored.contains(*path) => add(&mut plan.folders, path),
                // Files that are tracked stay so in a folder that is ignored.
                Found::Folder => {
                    for name in &below {
                        match seen.look(name)? {
                            Found::File => add(&mut plan.files, name),
                            Found::Folder | Found::Nothing => {
                                plan.index.remove(name);
                            }
                        }
                    }
                }
            }
            let is_new = !plan.index.contains_key(*path);
            if *found != Found::File {
                plan.index.remove(*path);
            }
            if *found == Found::File && !(is_new && ignored.contains(*path)) {
                add(&mut plan.files, path);
            }
            if *found != Found::Nothing {
                for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
                    plan.index.remove(&path[..at]);
                }
            }
        }
        Ok(plan)
    }
}
