//! Moving a checkout from one commit to another: its files and its index, under Git's own lock
//! on the index, so that no other Git command changes either meanwhile.
//!
//! Everything happens in the folder `heddle-move` of the checkout's Git directory:
//!
//! - `alive`: locked while the mover lives, and while the git that it started does.
//! - `lock`: a second name for `index.lock`. It is made first, so that from its first instant
//!   the lock is known to be ours.
//! - `plan`: from where to where, on account of which ref, and which file the index was.
//! - `index`: a copy of the index, with its time. Git works on this one.
//! - `moved`: the index as it is to be. It is there only once all files are.
//!
//! # If the process dies here
//! The folder stays, and the lock with it. Whoever moves the checkout next, or captures it,
//! comes to [`Interrupted`] first: if the ref that the move was for has the new commit, the
//! move is finished, else undone. Files are known by their content: one that is as in either
//! commit, absent, or the beginning of either is what the dead git left of it; any other was
//! changed since by somebody else, and stays as it is. The plan is synced before the first file
//! moves, so that all this holds after a power cut too.
//!
//! # If another does the same now
//! The caller holds the lock that captures in the checkout take. Other Git commands find
//! `index.lock`. An editor may change a file at any time; git looks at each just before it
//! replaces it, here as in any checkout.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::follow::{move_head, unlock_head};
use super::program::Program;
use super::stage::{Stamp, copy_with_time, io_error};
use super::still::lock_within;
use super::worktree::Linked;
use super::{GitError, Repo};
use crate::names::CommitId;
use crate::store::journal::FileIdentity;

/// The folder's name.
const FOLDER: &str = "heddle-move";
/// The version of the plan's form.
const VERSION: u64 = 1;

/// A checkout: a worktree with files, the main one or a linked one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Its top folder.
    pub path: PathBuf,
    /// Its own Git directory.
    pub git_dir: PathBuf,
}

/// What a move is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    version: u64,
    /// The ref on account of which the checkout moves, by its full name.
    pub reference: String,
    /// The commit that the checkout stands at.
    pub from: CommitId,
    /// The commit that it is to stand at.
    pub to: CommitId,
    /// Which file the index was.
    index: Option<Stamp>,
}

/// A move in progress: the index is locked. Dropping it gives the lock back with the files as
/// they are; see [`Self::install`], [`Self::undo`] and [`Self::leave`].
#[must_use = "the index is unlocked when this value is dropped"]
pub struct Moving {
    checkout: Checkout,
    plan: Plan,
    alive: File,
    durable: bool,
    /// Whether what tells of the move stays, for another to finish or to undo.
    stays: bool,
}

impl Checkout {
    /// That of a linked worktree.
    #[must_use]
    pub fn of(linked: &Linked) -> Self {
        Self { path: linked.path.clone(), git_dir: linked.git_dir.clone() }
    }

    /// How to start git in it.
    #[must_use]
    pub fn program(&self, durable: bool) -> Program {
        Program::new(&self.git_dir, Some(&self.path), durable)
    }

    fn folder(&self) -> PathBuf {
        self.git_dir.join(FOLDER)
    }

    /// Whether a move of it is in progress, or was when its process died.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.folder().exists()
    }
}

impl Moving {
    /// Locks the index of `checkout`, which is to move from `from` to `to` on account of
    /// `reference`. No other move of it may be left unfinished; the caller holds the lock that
    /// captures in it take.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] if another Git command holds the lock.
    pub fn begin(
        checkout: &Checkout,
        reference: &str,
        from: &CommitId,
        to: &CommitId,
        durable: bool,
    ) -> Result<Self, GitError> {
        let folder = checkout.folder();
        fs::create_dir(&folder).map_err(io_error("make", &folder))?;
        let own = checkout.git_dir.join("index");
        let path = folder.join("alive");
        let alive = File::create(&path).and_then(|file| file.try_lock().map(|()| file).map_err(Into::into));
        let alive =
            alive.map_err(io_error("lock", &path)).inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
        let plan = Plan {
            version: VERSION,
            reference: reference.to_owned(),
            from: from.clone(),
            to: to.clone(),
            index: Stamp::of(&own),
        };
        // From here on, whatever goes wrong, dropping it cleans up.
        let mut moving = Self { checkout: checkout.clone(), plan, alive, durable, stays: false };
        let lock = folder.join("lock");
        fs::write(&lock, format!("git-heddle moves this checkout to {to}\n"))
            .map_err(io_error("write", &lock))?;
        moving.write_plan()?;
        link_lock(checkout)?;
        if Stamp::of(&own) != moving.plan.index {
            // Changed between the look and the lock.
            moving.plan.index = Stamp::of(&own);
            moving.write_plan()?;
        }
        copy_with_time(&own, &folder.join("index"))?;
        Ok(moving)
    }

    /// The commit that the checkout's HEAD is at, with the branch that it is on.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn head(&self) -> Result<super::repo::Head, GitError> {
        Repo::at(&self.checkout.git_dir)?.head()
    }

    /// The tracked files that are changed or staged, under the lock. What the index knows of the
    /// files is brought up to date on the way, without which none of them counts as unchanged
    /// that was written since.
    ///
    /// # Errors
    /// [`GitError::Program`].
    pub fn changed(&self) -> Result<Vec<String>, GitError> {
        let mut command = self.git("index", ["status"]);
        command.args(["--porcelain", "-z", "--untracked-files=no"]).env("GIT_OPTIONAL_LOCKS", "1");
        Ok(super::worktree::paths_of_status(&Program::run(&mut command, None)?))
    }

    /// Looks whether [`Self::files`] would be refused, and touches nothing. After
    /// [`Self::changed`].
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, naming the files in the way.
    pub fn try_files(&self) -> Result<(), GitError> {
        let (from, to) = (self.plan.from.as_str(), self.plan.to.as_str());
        Program::run(&mut self.git("index", ["read-tree", "--dry-run", "-m", "-u", from, to]), None).map(drop)
    }

    /// Brings the files to the new commit, as `git checkout` does: what is changed in files that
    /// both commits have alike stays, and nothing else is overwritten. After [`Self::changed`].
    ///
    /// # Errors
    /// [`GitError::Program`] in Git's words, naming the files in the way: everything is then as
    /// it was.
    pub fn files(&self) -> Result<(), GitError> {
        let (from, to) = (self.plan.from.as_str(), self.plan.to.as_str());
        let output = format!("--index-output={}", self.checkout.folder().join("moved").display());
        let args = ["-c", "core.splitIndex=false", "read-tree", "-m", "-u", &output, from, to];
        let mut command = self.git("index", args);
        Program::run(&mut command, None).map(drop).inspect_err(|_| {
            // Git looks at all before it touches any; but it may have failed to write one.
            let _ = self.settle(&self.plan.from);
        })
    }

    /// Moves HEAD along, where it is detached at the commit that the checkout stood at; a
    /// sentence if it is anything else.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] if another Git command is about to move it.
    pub fn head_along(&self, why: &str) -> Result<Option<String>, GitError> {
        let there = Repo::at(&self.checkout.git_dir)?;
        move_head(&there, &self.checkout.folder(), &self.plan.from, &self.plan.to, why)
    }

    /// Puts the index in its place and unlocks it: the checkout stands at the new commit.
    ///
    /// # Errors
    /// [`GitError::Io`]: the move is then left for the next to finish.
    pub fn install(mut self) -> Result<(), GitError> {
        let (moved, own) = (self.checkout.folder().join("moved"), self.checkout.git_dir.join("index"));
        // An unlocked index that knows nothing of the files is worse than one that stays locked
        // for a while.
        self.stays = true;
        // Git does not sync an index that it was told to put elsewhere.
        let sync = |path: &Path| if self.durable { File::open(path)?.sync_all() } else { Ok(()) };
        sync(&moved)
            .and_then(|()| fs::rename(&moved, &own))
            .and_then(|()| sync(&self.checkout.git_dir))
            .map_err(io_error("write", &own))?;
        self.stays = false;
        Ok(())
    }

    /// Leaves the move to be finished by the next, after something failed in the middle.
    pub fn leave(mut self) {
        self.stays = true;
    }

    /// Brings the files back; the files that somebody else has changed since stay as they are.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn undo(mut self) -> Result<Vec<String>, GitError> {
        self.stays = true;
        let left = self.settle(&self.plan.from)?;
        self.stays = false;
        Ok(left)
    }

    /// A git command in the checkout on one of the private indexes. While it runs, the move
    /// counts as in progress.
    fn git<'s>(&self, index: &str, args: impl IntoIterator<Item = &'s str>) -> Command {
        let mut command = self.checkout.program(self.durable).command(args);
        command.env("GIT_INDEX_FILE", self.checkout.folder().join(index));
        if let Ok(alive) = self.alive.try_clone() {
            // It reads nothing, and holds the lock on the file for as long as it lives.
            command.stdin(Stdio::from(alive));
        }
        command
    }

    /// Writes the plan; it is there for whoever comes after a power cut, too, before the first
    /// file moves: without it nobody would know those that have.
    fn write_plan(&self) -> Result<(), GitError> {
        let folder = self.checkout.folder();
        let (new, path) = (folder.join("plan.new"), folder.join("plan"));
        let text = serde_json::to_vec(&self.plan).map_err(|error| io_error("write", &path)(error.into()))?;
        let sync = |file: &File| if self.durable { file.sync_all() } else { Ok(()) };
        let sync_folder = |folder: &Path| File::open(folder).and_then(|folder| sync(&folder));
        File::create(&new)
            .and_then(|mut file| file.write_all(&text).and_then(|()| sync(&file)))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| sync_folder(&folder))
            .and_then(|()| sync_folder(&self.checkout.git_dir))
            .map_err(io_error("write", &path))
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let (folder, lock) = (self.checkout.folder(), self.checkout.git_dir.join("index.lock"));
        if is_ours(&folder, &lock) {
            let _ = fs::remove_file(&lock);
        }
        let _ = fs::remove_dir_all(folder);
    }
}

/// Gives our file the name of Git's lock on the index.
fn link_lock(checkout: &Checkout) -> Result<(), GitError> {
    let (ours, lock) = (checkout.folder().join("lock"), checkout.git_dir.join("index.lock"));
    fs::hard_link(&ours, &lock).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => GitError::RefLocked { name: "index".to_owned(), lock: lock.clone() },
        _ => io_error("lock", &lock)(error),
    })
}

fn is_ours(folder: &Path, lock: &Path) -> bool {
    let ours = FileIdentity::of(&folder.join("lock"));
    ours.is_some() && FileIdentity::of(lock) == ours
}

/// A move whose process died, taken over: the index is locked, and stays so unless the move is
/// finished or undone.
#[must_use = "nothing is finished or undone yet"]
pub struct Interrupted(Moving);

impl Interrupted {
    /// Takes over what is left of a move of `checkout`; `None` if there is nothing to finish or
    /// to undo. The caller holds the lock that captures in it take.
    ///
    /// # Errors
    /// [`GitError::RefLocked`] if the git that the dead process started still runs after
    /// `timeout`, or if another Git command has locked the index since.
    pub fn take(checkout: &Checkout, durable: bool, timeout: Duration) -> Result<Option<Self>, GitError> {
        let folder = checkout.folder();
        if !folder.exists() {
            return Ok(None);
        }
        let path = folder.join("alive");
        let alive = File::create(&path).map_err(io_error("lock", &path))?;
        if !lock_within(&alive, &path, timeout)? {
            return Err(GitError::RefLocked { name: "index".to_owned(), lock: path });
        }
        let plan =
            fs::read(folder.join("plan")).ok().and_then(|text| serde_json::from_slice::<Plan>(&text).ok());
        let (own, lock) = (checkout.git_dir.join("index"), checkout.git_dir.join("index.lock"));
        unlock_head(&folder, &checkout.git_dir);
        // What no longer is what the plan was made for is not ours to move: the index has been
        // put in its place, or somebody took the lock away by hand and went on.
        let Some(plan) = plan.filter(|plan| plan.version == VERSION && Stamp::of(&own) == plan.index) else {
            if is_ours(&folder, &lock) {
                let _ = fs::remove_file(&lock);
            }
            fs::remove_dir_all(&folder).map_err(io_error("remove", &folder))?;
            return Ok(None);
        };
        if !is_ours(&folder, &lock) {
            link_lock(checkout)?;
        }
        copy_with_time(&own, &folder.join("index"))?;
        Ok(Some(Self(Moving { checkout: checkout.clone(), plan, alive, durable, stays: true })))
    }

    /// What the move was about.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// As [`Moving::head_along`].
    ///
    /// # Errors
    /// As [`Moving::head_along`].
    pub fn head_along(&self, why: &str) -> Result<Option<String>, GitError> {
        self.0.head_along(why)
    }

    /// Brings all files to the commit that the checkout was to stand at, and the index too. The
    /// files that somebody else has changed stay as they are.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn finish(self) -> Result<Vec<String>, GitError> {
        let Self(moving) = self;
        let (from, to) = (moving.plan.from.as_str(), moving.plan.to.as_str());
        let output = format!("--index-output={}", moving.checkout.folder().join("moved").display());
        let args = ["-c", "core.splitIndex=false", "read-tree", "-i", "-m", &output, from, to];
        Program::run(&mut moving.git("index", args), None)?;
        let left = moving.settle(&moving.plan.to)?;
        // What the files are like now; it exits with 1 where one is not as the index has it.
        Program::output(&mut moving.git("moved", ["update-index", "-q", "--refresh"]), None)?;
        moving.install()?;
        Ok(left)
    }

    /// Brings all files back to the commit that the checkout stood at. The files that somebody
    /// else has changed stay as they are.
    ///
    /// # Errors
    /// [`GitError`].
    pub fn undo(self) -> Result<Vec<String>, GitError> {
        self.0.undo()
    }
}

/// A file as a commit has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    mode: String,
    id: String,
}

/// A path that differs between the two commits.
struct Difference {
    path: PathBuf,
    from: Option<Blob>,
    to: Option<Blob>,
}

impl Moving {
    /// Brings every file that differs between the two commits to what `commit`, which is one of
    /// them, has, if it is what this move left of it; the paths of the others.
    fn settle(&self, commit: &CommitId) -> Result<Vec<String>, GitError> {
        let forward = *commit == self.plan.to;
        let index = if forward { "moved" } else { "index" };
        let (mut write, mut remove, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        let (differences, submodules) = self.differences()?;
        let there = self.look_at(&differences)?;
        for (difference, there) in differences.into_iter().zip(there) {
            let (want, other) = match forward {
                true => (difference.to, difference.from),
                false => (difference.from, difference.to),
            };
            if there == There::of(want.as_ref()) {
                continue;
            }
            let sides = [want.as_ref(), other.as_ref()];
            if !(there == There::of(other.as_ref()) || self.is_left_of(&difference.path, &there, &sides)?) {
                foreign.push(difference.path.display().to_string());
            } else if want.is_some() {
                write.push(difference.path);
            } else {
                remove.push(difference.path);
            }
        }
        for path in remove {
            self.remove_file(&path)?;
        }
        if !write.is_empty() {
            let input: Vec<u8> = write
                .iter()
                .flat_map(|path| path.as_os_str().as_bytes().iter().copied().chain([0]))
                .collect();
            let mut command = self.git(index, ["checkout-index", "--force", "-z", "--stdin"]);
            Program::run(&mut command, Some(&input))?;
        }
        if !submodules.is_empty() && self.moves_submodules()? {
            let mut command = self.git(index, ["submodule", "--quiet", "update", "--checkout", "--no-fetch"]);
            command.arg("--").args(&submodules);
            if !Program::output(&mut command, None)?.status.success() {
                foreign.extend(submodules.iter().map(|path| path.display().to_string()));
            }
        }
        Ok(foreign)
    }

    /// Whether Git moves submodules along with the files (`submodule.recurse`).
    fn moves_submodules(&self) -> Result<bool, GitError> {
        Ok(Repo::at(&self.checkout.git_dir)?.config()?.bool("submodule.recurse")?.unwrap_or(false))
    }

    /// Removes a file of the checkout, and the folders that are empty without it.
    fn remove_file(&self, path: &Path) -> Result<(), GitError> {
        let file = self.checkout.path.join(path);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &file)(error));
            }
            _ => {}
        }
        for folder in file.ancestors().skip(1).take_while(|folder| *folder != self.checkout.path) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The paths that differ between the two commits, and those of them that are submodules.
    fn differences(&self) -> Result<(Vec<Difference>, Vec<PathBuf>), GitError> {
        let (from, to) = (self.plan.from.as_str(), self.plan.to.as_str());
        let mut command =
            self.git("index", ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev"]);
        command.args([from, to, "--"]);
        let output = Program::run(&mut command, None)?;
        let mut fields = output.split(|byte| *byte == 0);
        let (mut found, mut submodules) = (Vec::new(), Vec::new());
        while let (Some(line), Some(path)) = (fields.next(), fields.next()) {
            let line = String::from_utf8_lossy(line);
            let words: Vec<&str> = line.trim_start_matches(':').split(' ').collect();
            let [mode, new_mode, id, new_id, _] = words.as_slice() else { continue };
            if [mode, new_mode].iter().any(|mode| **mode == "160000") {
                submodules.push(PathBuf::from(OsStr::from_bytes(path)));
                continue;
            }
            let blob = |mode: &str, id: &str| {
                (mode != "000000").then(|| Blob { mode: mode.to_owned(), id: id.to_owned() })
            };
            found.push(Difference {
                path: PathBuf::from(OsStr::from_bytes(path)),
                from: blob(mode, id),
                to: blob(new_mode, new_id),
            });
        }
        Ok((found, submodules))
    }

    /// What there is in the checkout at each of the paths.
    fn look_at(&self, differences: &[Difference]) -> Result<Vec<There>, GitError> {
        let (mut found, mut files) = (Vec::new(), Vec::new());
        for (number, difference) in differences.iter().enumerate() {
            let file = self.checkout.path.join(&difference.path);
            found.push(match fs::symlink_metadata(&file) {
                Err(_) => There::Nothing,
                Ok(meta) if meta.is_symlink() => {
                    let target = fs::read_link(&file).map_err(io_error("read", &file))?;
                    let mut command = self.git("index", ["hash-object", "--stdin"]);
                    let id = Program::run(&mut command, Some(target.as_os_str().as_bytes()))?;
                    There::blob("120000", &id)
                }
                // A name with a line break cannot be asked for with the others.
                Ok(meta) if meta.is_file() && !difference.path.as_os_str().as_bytes().contains(&b'\n') => {
                    files.push((number, meta.permissions().mode() & 0o100 != 0));
                    There::Other
                }
                Ok(_) => There::Other,
            });
        }
        let names = files.iter().flat_map(|(number, _)| {
            differences[*number].path.as_os_str().as_bytes().iter().copied().chain([b'\n'])
        });
        let names: Vec<u8> = names.collect();
        // Through the filters that each path has.
        let ids = match names.is_empty() {
            true => Vec::new(),
            false => Program::run(&mut self.git("index", ["hash-object", "--stdin-paths"]), Some(&names))?,
        };
        for ((number, executable), id) in files.iter().zip(ids.split(|byte| *byte == b'\n')) {
            found[*number] = There::blob(if *executable { "100755" } else { "100644" }, id);
        }
        Ok(found)
    }

    /// Whether what is at `path` is what a git that died left of one of `sides`: nothing, or its
    /// beginning.
    fn is_left_of(&self, path: &Path, there: &There, sides: &[Option<&Blob>]) -> Result<bool, GitError> {
        let blob = match there {
            There::Nothing => return Ok(true),
            There::Other => return Ok(false),
            There::Blob(blob) if blob.mode == "120000" => return Ok(false),
            There::Blob(blob) => blob,
        };
        let file = self.checkout.path.join(path);
        let contents = fs::read(&file).map_err(io_error("read", &file))?;
        for side in sides.iter().flatten() {
            let of_path = format!("--path={}", path.display());
            let mut command = self.git("index", ["cat-file", "--filters", &of_path, &side.id]);
            // Also where it is whole and only its mode is not yet.
            if side.id == blob.id || Program::run(&mut command, None)?.starts_with(&contents) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is in a checkout at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum There {
    Nothing,
    Blob(Blob),
    /// A folder, or what no commit can have.
    Other,
}

impl There {
    fn of(blob: Option<&Blob>) -> Self {
        blob.map_or(Self::Nothing, |blob| Self::Blob(blob.clone()))
    }

    fn blob(mode: &str, id: &[u8]) -> Self {
        Self::Blob(Blob { mode: mode.to_owned(), id: String::from_utf8_lossy(id).trim().to_owned() })
    }
}
