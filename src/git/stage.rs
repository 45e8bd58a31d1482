//! Staging a worktree into a private index, and running the user's hooks on it.
//!
//! The user's own index, HEAD and files are never touched. Everything happens in a scratch
//! folder below the worktree's own Git directory:
//!
//! - `index`: a copy of the session's last index or of the worktree's own, with the source's
//!   modification time. Git tells by that time which entries it must compare by content; a
//!   copy with a younger one would let an edit of the same size within one second go unseen.
//!   `git read-tree -i -m` then moves it to the tip and keeps what it knows of the files; what was
//!   added to the worktree's own, or taken out of it, is put in again (`staged`).
//! - a Git directory for hooks: HEAD detached at the tip, everything else shared, so that
//!   `git diff --cached` in a hook shows this capture and nothing else, and a hook that runs
//!   `git add` is heard.
//!
//! After a capture the private index stays in the worktree's Git directory under a name that
//! tells the commit it stands at, as a cache for the next capture: used only where the tip
//! is that very commit, and the worktree's own index tells nothing that it does not, it need not be
//! moved. It is no root for garbage collection; where its objects are gone, the index is rebuilt.
//!
//! A capture of some paths works, where it can, on an index of those alone (`only`) and leaves the
//! cache as it is, but for its name: it stands at no tip any more.
//!
//! A process that dies leaves its scratch folder. It is locked while its process lives, so
//! the next capture in this worktree knows which to remove.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::index_file::is_understood;
use super::index_splice::Whole;
use super::only::Only;
use super::program::{Program, hand_on_pathspecs};
use super::repo::tree_id;
use super::scratch::remove_abandoned;
use super::staged::{Staged, against_head};
use super::trees::differences;
use super::unstaged::Left;
use super::write_tree::write_tree;
use super::{GitError, Repo};
use crate::names::{CommitId, TreeId};
use crate::store::journal::FileIdentity;

pub(super) const PREFIX: &str = "heddle-scratch-";
pub(super) const CACHE: &str = "heddle-index-";
/// The cached index after a capture of some paths: older than the tip.
const BEHIND: &str = "heddle-index-behind";

/// The private index is a cache and need not survive a power cut; what is staged must.
const SYNC_OBJECTS: [&str; 2] = ["-c", "core.fsync=objects,pack-metadata"];

/// On an index of some paths nothing has a place that speeds up looking at everything.
pub(super) const FEW_PATHS: [&str; 4] = ["-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"];

/// What a capture takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest new file, in bytes; 0 is no limit.
    pub max_new_file_size: u64,
}

/// A capture in the making.
pub struct Staging<'a> {
    pub(super) repo: &'a Repo,
    pub(super) worktree: PathBuf,
    pub(super) scratch: tempfile::TempDir,
    _alive: File,
    pub(super) tip: CommitId,
    pub(super) limits: Limits,
    /// The worktree's own index as it was when the private one was made; `None` if that was
    /// not made from it.
    pub(super) copied: Option<Stamp>,
    /// Where the private index holds only what lies at some paths: that, as it was at the tip.
    pub(super) only: Option<Only>,
    /// The index that `only` knows its files from, if that is the worktree's own.
    pub(super) whole: RefCell<Option<Whole>>,
    /// Whether the worktree's own index is one that was put together here.
    pub(super) spliced: Cell<bool>,
    /// Whether the private index was made from one that a capture kept.
    cached: bool,
    /// Whether paths were named, so that the private index has nothing that is only staged elsewhere.
    is_limited: bool,
    /// Whether a hook staged something after the tree was written.
    pub(super) strayed: Cell<bool>,
    /// The index that was to be asked about files, if it overlooks none.
    pub(super) plain: Option<Stamp>,
}

/// Which file with which content: what Git, too, tells a changed index by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    file: FileIdentity,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of the file at `path`; `None` if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = fs::symlink_metadata(path).ok()?;
        let file = FileIdentity { dev: meta.dev(), ino: meta.ino(), born: None, helper: None };
        Some(Self { file, size: meta.size(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// What is to be captured, and where the worktree stands.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// What of the worktree; everything if it is empty.
    pub pathspec: &'a [OsString],
    /// The folder that `pathspec` is relative to.
    pub cwd: &'a Path,
    /// Where the worktree's HEAD is.
    pub head: &'a CommitId,
}

/// The worktree's own index as it is now.
#[must_use]
pub fn own_index(repo: &Repo) -> Option<Stamp> {
    Stamp::of(&repo.git_dir().join("index"))
}

/// The files of `folder` whose names begin with `prefix`.
pub(super) fn files_with(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let fits = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(prefix.as_bytes());
    fs::read_dir(folder).into_iter().flatten().flatten().filter(fits).map(|entry| entry.path()).collect()
}

/// The command for what `pathspec` names from `cwd`, or for all.
pub(super) fn limited(mut command: Command, pathspec: &[OsString], cwd: &Path) -> Command {
    if !pathspec.is_empty() {
        command.arg("--").args(pathspec).current_dir(cwd);
        hand_on_pathspecs(&mut command);
    }
    command
}

impl<'a> Staging<'a> {
    /// Makes the private index, at `tip`. In a worktree whose index is to follow the capture
    /// it is made from that index and no other, so that nothing set in there is lost.
    ///
    /// # Errors
    /// [`GitError::Bare`]; [`GitError::Io`]; [`GitError::Program`].
    pub fn begin(repo: &'a Repo, tip: &CommitId, follows: bool, scope: &Scope<'_>) -> Result<Self, GitError> {
        let mut staging = Self::make(repo, tip)?;
        let (mut source, mut at_tip) = staging.source(follows);
        let own = repo.git_dir().join("index");
        let kept = repo.git_dir().join(format!("{CACHE}{tip}"));
        // Of some paths it is their own index that says what is known of them, as where it is not
        // read as a whole.
        let is_whole = !follows && scope.pathspec.is_empty();
        if !at_tip && is_whole && is_filled(&kept) && own.exists() && staging.knows_all_of(&own, &kept)? {
            (source, at_tip) = (kept, true);
        }
        if at_tip && staging.copy(&source)? {
            staging.cached = !follows;
            return Ok(staging);
        }
        staging.cached = source != own;
        if !staging.begin_at(&source, scope)? {
            staging.rebuild()?;
        }
        Ok(staging)
    }

    /// Makes the private index from the one at `source`, with what was staged in there; false if
    /// it cannot be used.
    fn begin_at(&mut self, source: &Path, scope: &Scope<'_>) -> Result<bool, GitError> {
        if !self.copy(source)? {
            return Ok(false);
        }
        // As it is, it is what Git would begin with.
        if scope.pathspec.is_empty() && !self.cached && *scope.head == self.tip {
            return Ok(true);
        }
        let mut staged = match self.cached {
            true => Vec::new(),
            false => against_head(self.repo, &self.index(), scope.pathspec, scope.cwd)?,
        };
        if !scope.pathspec.is_empty() {
            // What is named is taken as it lies there, as by `git commit --only`.
            staged.retain(Staged::is_added);
        }
        if !self.move_to_tip()? {
            return Ok(false);
        }
        self.restage(&staged)?;
        Ok(true)
    }

    /// The index to make the private one from, and whether it stands at the tip.
    pub(super) fn source(&mut self, follows: bool) -> (PathBuf, bool) {
        let folder = self.repo.git_dir();
        let (own, behind) = (folder.join("index"), folder.join(BEHIND));
        let cached = folder.join(format!("{CACHE}{}", self.tip));
        if follows {
            // Stamped before it is copied: what changes meanwhile is then seen as changed.
            self.copied = Stamp::of(&own);
            // What followed the last capture is the cached index itself, under two names.
            return if self.copied == Stamp::of(&cached) { (cached, true) } else { (own, false) };
        }
        // One that was written since knows of what was staged or flagged since.
        if is_filled(&cached) && written(&own) < written(&cached) {
            return (cached, true);
        }
        // It may be the worktree's own, under a second name.
        let newer =
            written(&own) <= written(&behind) && is_filled(&behind) && Stamp::of(&behind) != Stamp::of(&own);
        (if newer { behind } else { own }, false)
    }

    /// Makes the private index from the worktree's own as it is: with what a merge of another
    /// commit into `tip` brought, also where no file is checked out.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_merged(repo: &'a Repo, tip: &CommitId) -> Result<Self, GitError> {
        let mut staging = Self::make(repo, tip)?;
        let own = repo.git_dir().join("index");
        staging.copied = Stamp::of(&own);
        staging.copy(&own)?;
        Ok(staging)
    }

    /// The scratch folder, without an index.
    pub(super) fn make(repo: &'a Repo, tip: &CommitId) -> Result<Self, GitError> {
        let Some(worktree) = repo.worktree() else {
            return Err(GitError::Bare { path: repo.git_dir().to_owned() });
        };
        remove_abandoned(repo.git_dir());
        let scratch = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(repo.git_dir())
            .map_err(io_error("write", repo.git_dir()))?;
        let lock = scratch.path().join("alive");
        let alive = File::create(&lock).map_err(io_error("write", &lock))?;
        alive.try_lock().map_err(|error| io_error("lock", &lock)(error.into()))?;
        let staging = Self {
            repo,
            worktree: worktree.to_owned(),
            scratch,
            _alive: alive,
            tip: tip.clone(),
            limits: Limits { max_new_file_size: 0 },
            copied: None,
            only: None,
            whole: RefCell::default(),
            spliced: Cell::new(false),
            strayed: Cell::new(false),
            cached: false,
            is_limited: false,
            plain: None,
        };
        staging.lay_out()?;
        Ok(staging)
    }

    /// The private index.
    pub(super) fn index(&self) -> PathBuf {
        self.scratch.path().join("index")
    }

    /// A git command on the private index.
    pub(super) fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let sync: &[&str] = if self.repo.is_durable() { &SYNC_OBJECTS } else { &[] };
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut command = self.repo.program().command(sync.iter().map(OsString::from).chain(args));
        command.env("GIT_INDEX_FILE", self.index());
        command
    }

    /// As [`Self::git`], for a command that writes the private index. It is spared the hash of
    /// that, an eighth of its time, where the index does not become the worktree's own. A split
    /// one would lose what its other half holds, which Git finds by its hash.
    pub(super) fn git_on_index<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let spared = ["-c", "core.splitIndex=false", "-c", "index.skipHash=true"];
        let spared = if self.copied.is_none() { &spared[..] } else { &[] };
        let few = if self.only.is_some() { &FEW_PATHS[..] } else { &[] };
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self.git(spared.iter().chain(few).map(OsString::from).chain(args))
    }

    /// The Git directory that hooks see: HEAD at the tip, the rest shared.
    fn lay_out(&self) -> Result<(), GitError> {
        let write = |name: &str, text: &[u8]| {
            let path = self.scratch.path().join(name);
            fs::write(&path, text).map_err(io_error("write", &path))
        };
        write("HEAD", format!("{}\n", self.tip).as_bytes())?;
        let mut common = self.repo.common_dir().as_os_str().as_bytes().to_vec();
        common.push(b'\n');
        write("commondir", &common)?;
        let mut dot_git = self.worktree.join(".git").into_os_string().into_encoded_bytes();
        dot_git.push(b'\n');
        write("gitdir", &dot_git)?;
        for name in ["config.worktree", "info/sparse-checkout"] {
            let from = self.repo.git_dir().join(name);
            if from.is_file() {
                let to = self.scratch.path().join(name);
                if let Some(folder) = to.parent() {
                    fs::create_dir_all(folder).map_err(io_error("write", folder))?;
                }
                fs::copy(&from, &to).map_err(io_error("write", &to))?;
            }
        }
        Ok(())
    }

    /// Has HEAD of that Git directory at the tip also where it is no file.
    pub(super) fn place_head(&self) -> Result<(), GitError> {
        let folder = self.scratch.path().join("reftable");
        if self.repo.refs_are_files() || folder.exists() {
            return Ok(());
        }
        fs::create_dir(&folder).map_err(io_error("make", &folder))?;
        let git = Program::new(self.scratch.path(), None, false);
        let mut command = git.command(["-c", "core.hooksPath=/dev/null", "update-ref", "--no-deref"]);
        Program::run_vouched(command.args(["HEAD", self.tip.as_str()]), None, self.repo.common_dir())
            .map(drop)
    }

    /// Copies `source` with its time; false if there is nothing to copy.
    fn copy(&self, source: &Path) -> Result<bool, GitError> {
        self.copy_to(source, &self.index())
    }

    pub(super) fn copy_to(&self, source: &Path, to: &Path) -> Result<bool, GitError> {
        if !is_filled(source) {
            return Ok(false);
        }
        copy_with_time(source, to)?;
        // A split index names its other half by a file beside it.
        for shared in shared_halves(source) {
            if let Some(name) = shared.file_name() {
                let _ = fs::copy(&shared, self.scratch.path().join(name));
            }
        }
        Ok(true)
    }

    /// Moves the copied index to the tip, keeping what it knows of the files; false if it
    /// cannot be used.
    fn move_to_tip(&self) -> Result<bool, GitError> {
        let mut command = self.git_on_index(["read-tree", "-i", "-m", self.tip.as_str()]);
        Ok(Program::output(&mut command, None)?.status.success())
    }

    /// Makes the private index anew from the tip.
    fn rebuild(&self) -> Result<(), GitError> {
        let _ = fs::remove_file(self.index());
        Program::run(&mut self.git_on_index(["read-tree", self.tip.as_str()]), None).map(drop)
    }

    /// Stages the whole worktree, or what `pathspec` names: those paths as they are in the
    /// worktree, everything else as it is at the tip.
    ///
    /// Returns what the caller should know.
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, such as for a path that matches nothing.
    pub fn stage(&mut self, scope: &Scope<'_>, limits: &Limits) -> Result<Vec<String>, GitError> {
        let Scope { pathspec, cwd, .. } = *scope;
        self.is_limited = !pathspec.is_empty();
        let mut output = Program::output(&mut self.add(pathspec, cwd), None)?;
        let mut left = self.left(pathspec, cwd)?;
        if !(output.status.success() || pathspec.is_empty() && explains(&left, &output)) {
            (output, left) = self.stage_again(scope, output)?;
        }
        self.limits = *limits;
        let mut warnings = warnings_in(&output.stderr);
        if !left.outside.is_empty() {
            let paths = left.outside.join(", ");
            warnings.push(format!("not captured, since the sparse checkout leaves it out: {paths}"));
        }
        warnings.extend(self.dirty_submodules()?);
        Ok(warnings)
    }

    /// Stages once more what could not be staged: from the worktree's own index, as one that was
    /// kept is stale if its objects were collected. What is tracked was staged although Git says that
    /// it is ignored.
    fn stage_again(&mut self, scope: &Scope<'_>, mut output: Output) -> Result<(Output, Left), GitError> {
        let Scope { pathspec, cwd, .. } = *scope;
        let mut command = self.add(pathspec, cwd);
        if self.cached || self.only.is_some() {
            self.only = None;
            self.cached = false;
            let own = self.repo.git_dir().join("index");
            if !self.begin_at(&own, scope)? {
                self.rebuild()?;
            }
            command = self.add(pathspec, cwd);
            output = Output { stderr: output.stderr, ..Program::output(&mut command, None)? };
        }
        let left = self.left(pathspec, cwd)?;
        let staged = match pathspec {
            _ if output.status.success() => true,
            [] => explains(&left, &output),
            named => has_staged_the_rest(&output) && self.are_tracked(named, cwd)?,
        };
        if staged {
            return Ok((output, left));
        }
        Err(Program::failure(&command, &output))
    }

    fn add(&self, pathspec: &[OsString], cwd: &Path) -> Command {
        let ours = ["-c", "advice.addEmbeddedRepo=false", "-c", "add.ignoreErrors=false", "add", "-A"];
        limited(self.git_on_index(ours), pathspec, cwd)
    }

    /// Whether each of `pathspec` names something that the private index or the tip has.
    fn are_tracked(&self, pathspec: &[OsString], cwd: &Path) -> Result<bool, GitError> {
        let args = ["ls-files", "-z", "--error-unmatch", "--with-tree", self.tip.as_str()];
        Ok(Program::output(&mut limited(self.git(args), pathspec, cwd), None)?.status.success())
    }

    /// Refuses what should not come in by accident.
    fn refuse_new(&self, tree: &TreeId) -> Result<(), GitError> {
        let tip = self.repo.resolve(self.tip.as_str())?.tree;
        let (mut large, mut embedded) = (Vec::new(), Vec::new());
        let oid = |tree: &TreeId| self.repo.oid(tree.as_str());
        for difference in differences(self.repo, oid(&tip)?, oid(tree)?)? {
            let Some(new) = difference.added() else { continue };
            let path = difference.path;
            let shown = String::from_utf8_lossy(&path).into_owned();
            if new.is_submodule() {
                if !self.is_submodule(tree, &shown)? {
                    embedded.push(shown);
                }
                continue;
            }
            let meta = fs::symlink_metadata(self.worktree.join(OsStr::from_bytes(&path)));
            let size = meta.map_or(0, |meta| meta.len());
            if self.limits.max_new_file_size > 0 && size > self.limits.max_new_file_size {
                large.push(format!("{shown} ({size} bytes)"));
            }
        }
        if !embedded.is_empty() {
            return Err(GitError::EmbeddedRepository { paths: embedded.join(", ") });
        }
        if !large.is_empty() {
            return Err(GitError::TooLarge { paths: large.join(", "), limit: self.limits.max_new_file_size });
        }
        Ok(())
    }

    /// Whether `.gitmodules` in `tree` names `path`: a submodule that was added on purpose.
    fn is_submodule(&self, tree: &TreeId, path: &str) -> Result<bool, GitError> {
        let name = format!("{tree}:.gitmodules");
        let mut command =
            self.git(["config", "-z", "--blob", &name, "--get-regexp", "^submodule\\..*\\.path$"]);
        let output = Program::output(&mut command, None)?;
        let paths = output
            .stdout
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.splitn(2, |b| *b == b'\n').nth(1));
        Ok(paths.into_iter().any(|found| found == path.as_bytes()))
    }

    /// The tree of the private index.
    ///
    /// # Errors
    /// [`GitError::TooLarge`] and [`GitError::EmbeddedRepository`] naming the files;
    /// [`GitError::Program`].
    pub fn write_tree(&mut self) -> Result<TreeId, GitError> {
        let tip = self.repo.raw().find_commit(self.repo.oid(self.tip.as_str())?)?.tree_id();
        let tree = match &self.only {
            Some(only) => tree_id(only.write_tree(self.repo, &self.index(), tip)?),
            None => match write_tree(self.repo, &self.index(), tip)? {
                Some(tree) => tree_id(tree),
                None => self.write_tree_by_git()?,
            },
        };
        self.refuse_new(&tree)?;
        Ok(tree)
    }

    fn write_tree_by_git(&self) -> Result<TreeId, GitError> {
        let output = Program::run(&mut self.git(["write-tree"]), None)?;
        let id = String::from_utf8_lossy(&output).trim().to_owned();
        TreeId::parse(&id).map_err(|_| GitError::Program {
            command: "write-tree".to_owned(),
            status: "exit status: 0".to_owned(),
            stderr: format!("it printed no tree: {id}"),
        })
    }

    /// Commits `tree` on `parents`.
    ///
    /// # Errors
    /// As [`super::commit::commit`].
    pub fn commit(&self, tree: &TreeId, parents: &[&CommitId], message: &str) -> Result<CommitId, GitError> {
        super::commit::commit(self.repo, tree, parents, message)
    }

    /// Whether the private index has its other half in a second file.
    pub(super) fn is_split(&self) -> bool {
        !shared_halves(&self.index()).is_empty()
    }

    /// Keeps the private index, which stands at `commit`, for the next capture in this
    /// worktree, with its own modification time, since it is renamed. A cache: what goes
    /// wrong is ignored.
    pub fn keep_index(&self, commit: &CommitId) {
        let folder = self.repo.git_dir();
        if self.only.is_some() || self.is_limited {
            return keep_behind(folder, self.repo.id_size(), self.spliced.get());
        }
        for old in files_with(folder, CACHE) {
            let _ = fs::remove_file(old);
        }
        // A half of a split index is of no use without the other.
        if !self.is_split() {
            let _ = fs::rename(self.index(), folder.join(format!("{CACHE}{commit}")));
        }
    }
}

/// Whether `git add` has staged all but what is ignored, or left out of a sparse checkout: it ends with
/// 1 then, and where it fails for anything else with 128, having staged nothing.
fn has_staged_the_rest(output: &Output) -> bool {
    output.status.code() == Some(1)
}

/// Whether nothing but what is `left` has `git add` end as it did.
fn explains(left: &Left, output: &Output) -> bool {
    has_staged_the_rest(output) && left.explains_failure()
}

/// What Git warned of on standard error.
pub(super) fn warnings_in(said: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(said);
    said.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect()
}

/// Copies an index with its time, by which Git tells what it has to compare by content.
pub(super) fn copy_with_time(source: &Path, to: &Path) -> Result<(), GitError> {
    let modified = fs::metadata(source).and_then(|meta| meta.modified()).map_err(io_error("read", source))?;
    fs::copy(source, to).map_err(io_error("write", to))?;
    let file = File::options().write(true).open(to).map_err(io_error("write", to))?;
    file.set_modified(modified).map_err(io_error("write", to))
}

/// Keeps what the cached index or, if that is newer, the worktree's own knows of the files, as
/// that of no commit. Ids have `id_size` bytes in it. What was put together here is newer, whatever
/// its time says.
fn keep_behind(folder: &Path, id_size: usize, spliced: bool) {
    let (own, behind) = (folder.join("index"), folder.join(BEHIND));
    let newest = files_with(folder, CACHE).into_iter().max_by_key(|path| written(path));
    match newest {
        Some(newest) if !spliced && written(&own) <= written(&newest) => {
            let _ = fs::rename(newest, &behind);
        }
        _ => {
            let _ = fs::remove_file(&behind);
            let _ = fs::hard_link(own, &behind);
            // It may have got conflicts since this capture looked for them, and is not looked
            // through again while it has this second name.
            if !spliced && !is_understood(&behind, id_size) {
                let _ = fs::remove_file(&behind);
            }
        }
    }
    for old in files_with(folder, CACHE).into_iter().filter(|path| *path != behind) {
        let _ = fs::remove_file(old);
    }
}

pub(super) fn written(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
}

/// The shared halves of split indexes beside `index`.
pub(super) fn shared_halves(index: &Path) -> Vec<PathBuf> {
    index.parent().map(|folder| files_with(folder, "sharedindex.")).unwrap_or_default()
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::Io { action, path, source }
}
