//! Opening a repository the way Git would, and reading from it.
//!
//! libgit2 opens an ordinary repository in a quarter of a millisecond and starts no
//! process. Where the environment says more than libgit2 understands, or where libgit2
//! refuses, one `git rev-parse` decides, and a refusal is told in Git's own words.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::backend::Value;
use super::config::Config;
use super::program::{ALTERNATES, OBJECTS, Program};
use super::reftable::Reftable;
use super::{GitError, library};
use crate::names::{CommitId, TreeId};

/// An open repository.
pub struct Repo {
    inner: git2::Repository,
    git_dir: PathBuf,
    common_dir: PathBuf,
    worktree: Option<PathBuf>,
    durable: bool,
    config: OnceCell<Config>,
    /// The refs, where libgit2 cannot read them.
    reftable: Option<Reftable>,
    shallow: OnceCell<bool>,
    /// Whether this worktree was removed since, with its own Git directory.
    is_gone: Cell<bool>,
}

/// A revision that was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit, tags peeled.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
}

/// What HEAD is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// On a branch that has no commit yet.
    Unborn {
        /// The branch's full ref name.
        branch: String,
    },
    /// On a branch.
    Branch {
        /// Its full ref name.
        name: String,
        /// Its commit.
        commit: CommitId,
    },
    /// On a commit.
    Detached {
        /// The commit.
        commit: CommitId,
    },
}

/// What `git rev-parse` says of the repository that Git would use.
struct Located {
    git_dir: PathBuf,
    worktree: Option<PathBuf>,
}

/// Variables that change which repository is used, or in a way that libgit2 does not see.
const TELLING: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_IMPLICIT_WORK_TREE",
];

impl Repo {
    /// Opens the repository that Git would use in the folder `cwd`: the environment first,
    /// then the nearest one upwards.
    ///
    /// # Errors
    /// [`GitError::NotARepository`] and [`GitError::Unusable`].
    pub fn open(cwd: &Path) -> Result<Self, GitError> {
        let told = |name: &&str| std::env::var_os(name).is_some();
        let objects = [OBJECTS, ALTERNATES].iter().any(told);
        let telling = objects || TELLING.iter().any(told);
        // One search; where it would cross a file system, Git is asked.
        let search = || git2::Repository::open_ext(cwd, git2::RepositoryOpenFlags::empty(), [""; 0]);
        if !telling && let Ok(inner) = allowing(search) {
            // A bare repository may be refused by safe.bareRepository, and one of another
            // owner by safe.directory, in places where libgit2 does not look; and inside of a
            // Git directory there is no worktree. All of that is Git's to say.
            let worktree = inner.workdir().map(Path::to_owned);
            let git_dir = absolute(inner.path());
            if worktree.as_deref().is_some_and(|worktree| is_ours(worktree) && is_ours(inner.path()))
                && !absolute(cwd).starts_with(&git_dir)
            {
                return Self::within(git_dir, inner, worktree);
            }
        }
        let located = locate(cwd)?;
        let mut inner = Self::open_inner(&located.git_dir)?;
        // Git itself takes refs from the one and configuration from the other then.
        if std::env::var_os("GIT_COMMON_DIR")
            .is_some_and(|told| absolute(Path::new(&told)) != absolute(inner.commondir()))
        {
            let reason = "GIT_COMMON_DIR names another one than its own".to_owned();
            return Err(GitError::Unusable { path: located.git_dir, reason });
        }
        if objects {
            inner = Self::open_told(&located.git_dir)?;
        }
        Self::with(inner, located.worktree)
    }

    /// Opens the repository that the environment names, objects where the environment has
    /// them.
    fn open_told(path: &Path) -> Result<git2::Repository, GitError> {
        insist(git2::Repository::open_from_env).map_err(|error| unusable(path, &error))
    }

    /// Opens the linked worktree at `path`, whatever the environment says.
    ///
    /// # Errors
    /// [`GitError::Unusable`].
    pub fn at(path: &Path) -> Result<Self, GitError> {
        let inner = Self::open_inner(path)?;
        let worktree = inner.workdir().map(Path::to_owned);
        Self::with(inner, worktree)
    }

    /// Opens the repository of the Git command that runs this hook, as its environment names
    /// it, objects that are still in quarantine included. No process is started: Git itself
    /// has just opened it.
    ///
    /// # Errors
    /// [`GitError::Unusable`].
    pub fn of_hook() -> Result<Self, GitError> {
        let inner = Self::open_told(Path::new("."))?;
        let worktree = inner.workdir().map(Path::to_owned);
        Self::with(inner, worktree)
    }

    fn open_inner(path: &Path) -> Result<git2::Repository, GitError> {
        insist(|| git2::Repository::open(path)).map_err(|error| unusable(path, &error))
    }

    fn with(inner: git2::Repository, worktree: Option<PathBuf>) -> Result<Self, GitError> {
        Self::within(absolute(inner.path()), inner, worktree)
    }

    /// As [`Self::with`], where `git_dir` is the absolute path of its Git directory.
    fn within(
        git_dir: PathBuf,
        inner: git2::Repository,
        worktree: Option<PathBuf>,
    ) -> Result<Self, GitError> {
        // What is above or the same as an absolute path without symbolic links is one, too.
        let common_dir = match inner.commondir() == inner.path() {
            true => git_dir.clone(),
            false => absolute(inner.commondir()),
        };
        let worktree = worktree.map(|worktree| match git_dir.parent() == Some(&*worktree) {
            true => worktree.components().collect(),
            false => absolute(&worktree),
        });
        let mut repo = Self {
            git_dir,
            common_dir,
            worktree,
            durable: true,
            config: OnceCell::new(),
            reftable: None,
            shallow: OnceCell::new(),
            is_gone: Cell::new(false),
            inner,
        };
        repo.reftable = repo.ref_storage()?;
        repo.durable = repo.config()?.bool("heddle.fsync")?.unwrap_or(true);
        if repo.durable {
            library::sync_what_it_writes();
        }
        library::remember_large_trees();
        Ok(repo)
    }

    /// The repository's configuration, as Git would answer.
    ///
    /// # Errors
    /// [`GitError`] for configuration that cannot be read.
    pub fn config(&self) -> Result<&Config, GitError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::new(&self.inner.config()?, self.program())?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The refs, where libgit2 cannot read them; an error for a format that nobody knows.
    fn ref_storage(&self) -> Result<Option<Reftable>, GitError> {
        // What the repository itself says: nothing else counts for Git, and where its git is too
        // old for an extension, it does not even read that.
        match self.config()?.own("extensions.refstorage") {
            None | Some("files") => Ok(None),
            Some("reftable") => Ok(Some(Reftable::new(&self.git_dir, &self.common_dir, self.id_size()))),
            Some(other) => Err(GitError::Unusable {
                path: self.git_dir.clone(),
                reason: format!("its refs are in the format '{other}', which git-heddle does not know"),
            }),
        }
    }

    /// The refs, where the git program and not libgit2 has to write them.
    pub(in crate::git) fn reftable(&self) -> Option<&Reftable> {
        self.reftable.as_ref()
    }

    /// What HEAD is.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub fn head(&self) -> Result<Head, GitError> {
        if !self.refs_are_files() {
            let head = self.head_among(self.refs().read(self, "HEAD")?)?;
            return head.ok_or(GitError::Unborn);
        }
        let head = self.inner.find_reference("HEAD")?;
        match head.symbolic_target() {
            Ok(Some(name)) => self.head_on(name.to_owned()),
            _ => match head.target() {
                Some(oid) => Ok(Head::Detached { commit: commit_id(oid) }),
                None => Err(GitError::Unborn),
            },
        }
    }

    /// What HEAD is that has this value; `None` if it has none.
    pub(in crate::git) fn head_among(&self, head: Option<Value>) -> Result<Option<Head>, GitError> {
        Ok(match head {
            Some(Value::Symbolic(name)) => Some(self.head_on(name)?),
            Some(Value::Id(commit)) => Some(Head::Detached { commit }),
            Some(Value::Gone) | None => None,
        })
    }

    /// What HEAD is that is on the branch `name`, which may be a symbolic one.
    fn head_on(&self, name: String) -> Result<Head, GitError> {
        let commit = match self.reftable() {
            Some(refs) => refs.resolve(&name)?.map(|(_, commit)| commit),
            None => match self.inner.refname_to_id(&name) {
                Err(error) if error.code() == git2::ErrorCode::NotFound => None,
                found => Some(commit_id(found?)),
            },
        };
        Ok(match commit {
            Some(commit) => Head::Branch { name, commit },
            None => Head::Unborn { branch: name },
        })
    }

    /// Whether names that differ only in case are the same file here.
    #[must_use]
    pub fn case_insensitive(&self) -> bool {
        let configured = self.config().and_then(|config| config.bool("core.ignorecase"));
        configured.ok().flatten().unwrap_or(false)
    }

    /// Whether hooks are configured (`hook.<name>.command`, Git 2.54), beside those in files.
    ///
    /// # Errors
    /// [`GitError::Library`].
    pub(in crate::git) fn has_configured_hooks(&self) -> Result<bool, GitError> {
        Ok(!self.config()?.subsections("hook", "command")?.is_empty())
    }

    /// The Git directory of this worktree.
    #[must_use]
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The Git directory that all worktrees share.
    #[must_use]
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The folder that objects are written to.
    #[must_use]
    pub fn objects_dir(&self) -> PathBuf {
        std::env::var_os(OBJECTS).map_or_else(|| self.common_dir.join("objects"), PathBuf::from)
    }

    /// The top folder of the worktree, or `None` in a bare repository.
    #[must_use]
    pub fn worktree(&self) -> Option<&Path> {
        self.worktree.as_deref()
    }

    /// Whether what is written here is to survive a power cut.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether history ends here before it began.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        // libgit2 looks in the folder of a linked worktree, where the list is not.
        let list = || std::fs::metadata(self.common_dir.join("shallow"));
        *self.shallow.get_or_init(|| list().is_ok_and(|list| list.len() > 0))
    }

    /// How to start git here. Once this worktree is removed, what is left of "here" is the Git
    /// directory that all worktrees share.
    #[must_use]
    pub fn program(&self) -> Program {
        if self.is_gone.get() {
            return Program::new(&self.common_dir, None, self.durable);
        }
        Program::new(&self.git_dir, self.worktree(), self.durable)
    }

    /// How to start git in another worktree of this repository, found from its folder.
    #[must_use]
    pub fn program_in(&self, worktree: &Path) -> Program {
        let git_dir = git2::Repository::open(worktree).map(|there| there.path().to_owned());
        Program::new(&git_dir.unwrap_or_else(|_| self.git_dir.clone()), Some(worktree), self.durable)
    }

    /// Notes that the worktree with this Git directory is removed: it may be this one.
    pub(in crate::git) fn note_removal(&self, git_dir: &Path) {
        if git_dir == self.git_dir {
            self.is_gone.set(true);
        }
    }

    /// libgit2's handle, for the modules beside this one.
    pub(in crate::git) fn raw(&self) -> &git2::Repository {
        &self.inner
    }

    /// libgit2's name for the object that Git names `id` here. An id of another hash names nothing,
    /// and is not for libgit2, which writes beyond its buffers where it is given one.
    ///
    /// # Errors
    /// If it is no id of this repository's hash.
    pub(in crate::git) fn oid(&self, id: &str) -> Result<git2::Oid, git2::Error> {
        if id.len() != 2 * self.id_size() {
            let (class, code) = (git2::ErrorClass::Odb, git2::ErrorCode::NotFound);
            return Err(git2::Error::new(code, class, format!("object not found - no match for id ({id})")));
        }
        git2::Oid::from_str_ext(id, self.inner.object_format())
    }

    /// How many bytes the ids of its objects have.
    pub(in crate::git) fn id_size(&self) -> usize {
        match self.inner.object_format() {
            git2::ObjectFormat::Sha1 => 20,
            git2::ObjectFormat::Sha256 => 32,
        }
    }

    /// The commit that `rev` names, in Git's revision syntax, tags peeled.
    ///
    /// # Errors
    /// [`GitError::RevNotFound`], [`GitError::RevAmbiguous`], [`GitError::RevNotACommit`];
    /// [`GitError::Unborn`] for `HEAD` before the first commit.
    pub fn resolve(&self, rev: &str) -> Result<Resolved, GitError> {
        let object = self.object_of(rev).map_err(|error| match error.code() {
            git2::ErrorCode::Ambiguous => GitError::RevAmbiguous { rev: rev.to_owned() },
            git2::ErrorCode::UnbornBranch => GitError::Unborn,
            _ if rev == "HEAD" && matches!(self.head(), Ok(Head::Unborn { .. })) => GitError::Unborn,
            _ => GitError::RevNotFound { rev: rev.to_owned() },
        })?;
        let commit = object.peel_to_commit().map_err(|_| {
            let kind =
                object.peel(git2::ObjectType::Any).ok().and_then(|object| object.kind()).or(object.kind());
            GitError::RevNotACommit {
                rev: rev.to_owned(),
                kind: kind.map_or("object", |kind| kind.str()).to_owned(),
            }
        })?;
        Ok(Resolved { commit: commit_id(commit.id()), tree: tree_id(commit.tree_id()) })
    }

    /// The object that `rev` names. Where libgit2 cannot read refs, the name that `rev` begins with
    /// is looked up here, and what cannot be said so is asked of Git.
    fn object_of(&self, rev: &str) -> Result<git2::Object<'_>, git2::Error> {
        let Some(refs) = self.reftable() else { return self.raw().revparse_single(rev) };
        let other = |error: GitError| git2::Error::from_str(&error.to_string());
        let (base, steps) = rev.split_at(rev.find(['~', '^']).unwrap_or(rev.len()));
        if CommitId::parse(base).is_ok() {
            return self.raw().revparse_single(rev);
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        if base.bytes().all(plain) && !base.contains("..") {
            for name in PLACES.map(|place| place.replace('*', base)) {
                if let Some((_, id)) = refs.resolve(&name).map_err(other)? {
                    return self.raw().revparse_single(&format!("{id}{steps}"));
                }
            }
        }
        let mut command = self.program().command(["rev-parse", "--verify", "--end-of-options", rev]);
        let output = Program::output(command.env("LC_ALL", "C"), None).map_err(other)?;
        let said =
            String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
        if output.status.success() {
            return self.raw().find_object(self.oid(said.trim())?, None);
        }
        let code = match said.contains("is ambiguous") {
            true => git2::ErrorCode::Ambiguous,
            false => git2::ErrorCode::NotFound,
        };
        Err(git2::Error::new(code, git2::ErrorClass::Reference, said.trim()))
    }
}

/// Where Git looks for a ref that is not named in full, in its order.
const PLACES: [&str; 6] =
    ["*", "refs/*", "refs/tags/*", "refs/heads/*", "refs/remotes/*", "refs/remotes/*/HEAD"];

/// Opens a repository that may have extensions which libgit2 does not know and need not: what
/// they are about is done without it.
fn allowing(
    open: impl Fn() -> Result<git2::Repository, git2::Error>,
) -> Result<git2::Repository, git2::Error> {
    let inner = open();
    let unknown = |error: &git2::Error| {
        let said = error.message().to_lowercase();
        library::EXTENSIONS.iter().any(|extension| said.ends_with(&format!("extensions.{extension}")))
    };
    if inner.as_ref().is_err_and(unknown) {
        library::allow_extensions();
        return open();
    }
    inner
}

/// Opens a repository that Git has just opened, past what libgit2 alone would refuse.
fn insist(open: impl Fn() -> Result<git2::Repository, git2::Error>) -> Result<git2::Repository, git2::Error> {
    let mut inner = allowing(&open);
    if inner.as_ref().is_err_and(|error| error.code() == git2::ErrorCode::Owner) {
        // Git has just said yes: safe.directory in a spelling that libgit2 does not know.
        library::trust_git();
        inner = allowing(open);
    }
    inner
}

/// Asks Git which repository it would use.
fn locate(cwd: &Path) -> Result<Located, GitError> {
    let mut command = Command::new("git");
    // The environment as it is: it is what the question is about.
    command
        .args(["rev-parse", "--path-format=absolute", "--git-dir", "--show-toplevel"])
        .current_dir(cwd)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    let output = command.output().map_err(|source| match cwd.is_dir() {
        true => GitError::Start { source },
        false => GitError::NotARepository { path: cwd.to_owned() },
    })?;
    let mut lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let git_dir = lines.next().map(path_of);
    let worktree = lines.next().map(path_of);
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // With a Git directory and no worktree, the second question fails in these words.
    let no_worktree = git_dir.is_some() && said.contains("must be run in a work tree");
    if !output.status.success() && !no_worktree {
        if said.contains("not a git repository") {
            return Err(GitError::NotARepository { path: absolute(cwd) });
        }
        return Err(GitError::Unusable { path: absolute(cwd), reason: reason(&said) });
    }
    let git_dir = git_dir.ok_or_else(|| GitError::NotARepository { path: absolute(cwd) })?;
    Ok(Located { git_dir, worktree })
}

/// Why Git opens no repository, from what it `said`: names of extensions stand on lines of their own.
fn reason(said: &str) -> String {
    let said = said.strip_prefix("fatal: ").unwrap_or(said);
    let mut lines = said.lines();
    if !lines.next().is_some_and(|first| first.starts_with("unknown repository extension")) {
        return said.to_owned();
    }
    let names: Vec<&str> = lines.filter_map(|line| line.strip_prefix('\t')).collect();
    match names[..] {
        [name] => format!("it has the extension '{name}', which the installed git does not know"),
        _ => format!("it has the extensions '{}', which the installed git does not know", names.join("', '")),
    }
}

/// The path without symbolic links, as far as that can be told.
fn absolute(path: &Path) -> PathBuf {
    // The system knows that one.
    let found = if path == Path::new(".") { std::env::current_dir() } else { path.canonicalize() };
    found.unwrap_or_else(|_| path.to_owned())
}

/// A line of Git's answer as a path.
fn path_of(line: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(line).into()
}

/// Whether the file or folder belongs to the user that we are.
fn is_ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::symlink_metadata(path).map(|meta| meta.uid());
    owner.is_ok_and(|owner| owner == nix::unistd::geteuid().as_raw())
}

/// A repository that Git opens and libgit2 does not.
fn unusable(git_dir: &Path, error: &git2::Error) -> GitError {
    let message = error.message();
    let reason = match message.strip_prefix("unsupported extension name ") {
        Some(extension) => format!("it has the extension '{extension}', which git-heddle does not know"),
        None => message.to_owned(),
    };
    GitError::Unusable { path: git_dir.to_owned(), reason }
}

/// Our name for a commit that libgit2 names.
pub(in crate::git) fn commit_id(oid: git2::Oid) -> CommitId {
    match CommitId::parse(&oid.to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("libgit2 prints full lowercase ids"),
    }
}

/// Our name for a tree that libgit2 names.
pub(in crate::git) fn tree_id(oid: git2::Oid) -> TreeId {
    match TreeId::parse(&oid.to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("libgit2 prints full lowercase ids"),
    }
}
