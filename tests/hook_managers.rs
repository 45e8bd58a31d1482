//! The hooks beside real hook managers: husky 9, lefthook 2 and pre-commit 4, whoever comes
//! first, and after each has installed itself anew.
//!
//! `.ci/run` installs the managers below `target/managers`; where they are missing, these tests
//! say so, and fail where `CI` is set.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Answer, Sandbox, Snapshot, assert_same, snapshot_of, text};

/// A hook manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Husky,
    Lefthook,
    PreCommit,
}

impl Manager {
    /// Its program.
    fn program(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/managers");
        match self {
            Self::Husky => folder.join("npm/node_modules/.bin/husky"),
            Self::Lefthook => folder.join("npm/node_modules/.bin/lefthook"),
            Self::PreCommit => folder.join("python/bin/pre-commit"),
        }
    }

    /// Whether it is here.
    #[track_caller]
    fn is_here(self) -> bool {
        let program = self.program();
        if program.exists() {
            return true;
        }
        let said = format!("{self:?} is missing: .ci/run installs it as {}", program.display());
        assert!(std::env::var_os("CI").is_none(), "{said}");
        println!("skipped: {said}");
        false
    }

    /// What a project that uses it has in its worktree. Each hook writes a line to `ran`.
    fn configure(self, sandbox: &Sandbox) {
        let root = sandbox.root();
        let write = |name: &str, content: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            fs::write(path, content).expect("write");
        };
        match self {
            Self::Husky => {
                write(".husky/pre-commit", "echo pre-commit >>\"$HOME/ran\"\n");
                write(".husky/pre-push", "echo pre-push >>\"$HOME/ran\"\n");
                write(".husky/post-rewrite", "sed 's/^/post-rewrite /' >>\"$HOME/ran\"\n");
            }
            Self::Lefthook => write(
                "lefthook.yml",
                "pre-commit:\n  commands:\n    a:\n      run: echo pre-commit >>\"$HOME/ran\"\n\
                 pre-push:\n  commands:\n    a:\n      run: echo pre-push >>\"$HOME/ran\"\n\
                 post-rewrite:\n  commands:\n    a:\n      use_stdin: true\n      run: sed 's/^/post-rewrite /' >>\"$HOME/ran\"\n",
            ),
            Self::PreCommit => write(
                ".pre-commit-config.yaml",
                "default_install_hook_types: [pre-commit, pre-push, post-rewrite]\n\
                 repos:\n- repo: local\n  hooks:\n\
                 \x20 - {id: a, name: a, language: system, always_run: true, pass_filenames: false, stages: [pre-commit],\n\
                 \x20    entry: sh -c 'echo pre-commit >>\"$HOME/ran\"'}\n\
                 \x20 - {id: c, name: c, language: system, always_run: true, pass_filenames: false, stages: [pre-push],\n\
                 \x20    entry: sh -c 'echo pre-push >>\"$HOME/ran\"'}\n\
                 \x20 - {id: b, name: b, language: system, always_run: true, pass_filenames: false, stages: [post-rewrite],\n\
                 \x20    entry: sh -c 'echo post-rewrite >>\"$HOME/ran\"'}\n",
            ),
        }
        sandbox.git(&["add", "."]);
        sandbox.git(&["commit", "--quiet", "--message", "configure"]);
    }

    /// Has it install itself, as a project's set-up would.
    #[track_caller]
    fn install(self, sandbox: &Sandbox) {
        let args: &[&str] = if self == Self::Husky { &[] } else { &["install"] };
        let mut command = sandbox.program(self.program(), &sandbox.root(), args);
        Answer::of(&command.output().expect("the manager")).exits(0);
    }

    /// Where Git looks once it is installed.
    fn folder(self, top: &Path) -> PathBuf {
        match self {
            Self::Husky => top.join(".husky/_"),
            Self::Lefthook | Self::PreCommit => top.join(".git/hooks"),
        }
    }
}

/// A project that uses a manager, with a worktree that a session works in.
struct Project {
    manager: Manager,
    sandbox: Sandbox,
}

impl Project {
    fn new(manager: Manager) -> Self {
        let sandbox = Sandbox::new();
        fs::remove_dir_all(sandbox.root().join(".git/hooks")).expect("samples");
        manager.configure(&sandbox);
        sandbox.git_in(sandbox.home(), &["init", "--quiet", "--bare", "server.git"]);
        Self { manager, sandbox }
    }

    /// A session with a worktree of its own; reserving looks after the hooks.
    fn reserve(&self, thread: &str) -> (String, PathBuf) {
        let reserved = self.sandbox.reserve(thread, &["--worktree"]);
        (text(&reserved, "session_id"), text(&reserved, "path").into())
    }

    #[track_caller]
    fn status(&self, code: i32) -> String {
        self.sandbox.heddle(&["hooks", "status"]).exits(code).stdout
    }

    /// Whether this Git runs hooks from configuration, where no manager can be in the way.
    fn by_configuration(&self) -> bool {
        self.sandbox.heddle(&["hooks", "status", "--json"]).json()["way"] == "configuration"
    }

    /// The lines that the manager's hooks wrote since this was last asked.
    fn ran(&self) -> String {
        let path = self.sandbox.home().join("ran");
        let lines = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        lines
    }

    fn git(&self, folder: &Path, args: &[&str]) -> Answer {
        let mut command: Command = self.sandbox.program("git", folder, args);
        Answer::of(&command.output().expect("git"))
    }

    /// Nobody moves a thread who does not own it.
    #[track_caller]
    fn refuses_strangers(&self) {
        let args = ["update-ref", "refs/heddle/threads/stranger", "HEAD"];
        let answer = self.git(&self.sandbox.root(), &args);
        assert_ne!(answer.code, 0, "{answer:?}");
        assert!(answer.stderr.contains("error: heddle: "), "{answer:?}");
    }

    /// All hooks of both parties run, by what they bring about.
    #[track_caller]
    fn all_hooks_run(&self, thread: &str, about: &str) {
        let (session, worktree) = self.reserve(thread);
        let tip = || self.sandbox.git(&["rev-parse", &format!("refs/heddle/threads/{thread}")]);
        let head = || self.sandbox.git_in(&worktree, &["rev-parse", "HEAD"]);
        let _ = self.ran();

        fs::write(worktree.join("work"), format!("{thread}\n")).expect("write");
        self.sandbox.git_in(&worktree, &["add", "work"]);

        // Ours renews the lease, theirs writes a line.
        self.sandbox.lapse(&session);
        let liveness =
            || text(&self.sandbox.heddle(&["agent", "show", &session, "--json"]).json(), "liveness");
        assert_eq!(liveness(), "dead", "{about}");
        let answer = self.git(&worktree, &["hook", "run", "pre-commit"]);
        assert_eq!(answer.code, 0, "{about}: {answer:?}");
        assert_eq!(liveness(), "alive", "{about}");
        assert_eq!(self.ran(), "pre-commit\n", "{about}");

        // Ours puts the commit on the thread.
        let answer = self.git(&worktree, &["commit", "--message", "work"]);
        assert_eq!((answer.code, tip()), (0, head()), "{about}: {answer:?}");
        assert_eq!(self.ran(), "pre-commit\n", "{about}");

        // Ours puts the amended one in its place, and both are told which.
        let before = head();
        fs::write(worktree.join("more"), format!("{thread}\n")).expect("write");
        self.sandbox.git_in(&worktree, &["add", "more"]);
        let answer = self.git(&worktree, &["commit", "--amend", "--message", "better"]);
        assert_eq!((answer.code, tip()), (0, head()), "{about}: {answer:?}");
        let told = match self.manager {
            // It hands nothing on to its hooks.
            Manager::PreCommit => "pre-commit\npost-rewrite\n".to_owned(),
            _ => format!("pre-commit\npost-rewrite {before} {}\n", head()),
        };
        assert_eq!(self.ran(), told, "{about}");

        // Ours refuses to publish somebody else's thread; theirs is asked about every push.
        let push = |refspec: &str| self.git(&self.sandbox.root(), &["push", "../server.git", refspec]);
        let answer = push(&format!("HEAD:refs/heads/{thread}"));
        assert_eq!((answer.code, self.ran().as_str()), (0, "pre-push\n"), "{about}: {answer:?}");
        let answer = push(&format!("refs/heddle/threads/{thread}"));
        assert_eq!(answer.code, 1, "{about}: {answer:?}");
        assert!(answer.stderr.contains("error: heddle: "), "{about}: {answer:?}");

        self.refuses_strangers();
        self.status(0);
        self.sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    }

    /// The files that decide which hooks run.
    fn files(&self) -> Snapshot {
        let mut files = snapshot_of(&self.manager.folder(&self.sandbox.root()));
        files.retain(|path, _| !path.ends_with("lefthook.checksum"));
        let config = self.sandbox.root().join(".git/config");
        files.insert(config.clone(), fs::read(config).expect("configuration"));
        files
    }
}

/// The files of a project in which heddle's hooks never were.
fn untouched(manager: Manager) -> Vec<(PathBuf, Vec<u8>)> {
    let project = Project::new(manager);
    manager.install(&project.sandbox);
    relative(&project)
}

fn relative(project: &Project) -> Vec<(PathBuf, Vec<u8>)> {
    let root = project.sandbox.root();
    let below =
        |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(&root).expect("below").to_owned(), bytes);
    project.files().into_iter().map(below).collect()
}

fn beside_a_manager_that_was_there(manager: Manager) {
    let project = Project::new(manager);
    manager.install(&project.sandbox);
    let before = project.files();
    project.sandbox.heddle(&["hooks", "install"]).exits(0);
    project.status(0);
    project.all_hooks_run("first", "the manager first");
    reinstalled(&project);
    project.sandbox.heddle(&["hooks", "uninstall"]).exits(0);
    assert_same(&before, &project.files());
}

fn before_a_manager_that_comes(manager: Manager) {
    let project = Project::new(manager);
    project.sandbox.heddle(&["hooks", "install"]).exits(0);
    manager.install(&project.sandbox);
    if project.by_configuration() {
        project.status(0);
    } else {
        // Not yet everything of ours is reached.
        let said = project.status(7);
        assert!(said.contains("to mend it: git heddle hooks install"), "{said}");
    }
    project.all_hooks_run("first", "heddle first");
    reinstalled(&project);
    project.sandbox.heddle(&["hooks", "uninstall"]).exits(0);
    assert_eq!(relative(&project), untouched(manager));
}

/// The manager installs itself anew, and nothing is lost for long.
fn reinstalled(project: &Project) {
    project.manager.install(&project.sandbox);
    if project.by_configuration() {
        project.status(0);
    } else {
        // It took out of its own files what it does not know, and status tells;
        let said = project.status(7);
        let name = format!("{:?}", project.manager).to_lowercase();
        assert!(
            said.to_lowercase().replace('-', "").contains(&format!("{name} has written the hook")),
            "{said}"
        );
    }
    // the one that enforces is where it leaves it alone.
    project.refuses_strangers();
    project.all_hooks_run("second", "after the manager was installed anew");
    // Ours, too, and then nothing is new to either.
    project.sandbox.heddle(&["hooks", "install"]).exits(0);
    let files = project.files();
    project.sandbox.heddle(&["hooks", "install"]).exits(0);
    assert_same(&files, &project.files());
    project.all_hooks_run("third", "after ours were installed anew");
}

macro_rules! both_orders {
    ($manager:expr, $first:ident, $second:ident) => {
        #[test]
        fn $first() {
            if $manager.is_here() {
                beside_a_manager_that_was_there($manager);
            }
        }

        #[test]
        fn $second() {
            if $manager.is_here() {
                before_a_manager_that_comes($manager);
            }
        }
    };
}

both_orders!(Manager::Husky, all_hooks_run_beside_husky, all_hooks_run_when_husky_comes_later);
both_orders!(Manager::Lefthook, all_hooks_run_beside_lefthook, all_hooks_run_when_lefthook_comes_later);
both_orders!(Manager::PreCommit, all_hooks_run_beside_pre_commit, all_hooks_run_when_pre_commit_comes_later);

#[test]
fn a_worktree_that_lacks_the_folder_of_husky_is_seen_and_mended() {
    if !Manager::Husky.is_here() {
        return;
    }
    let project = Project::new(Manager::Husky);
    Manager::Husky.install(&project.sandbox);
    project.sandbox.heddle(&["hooks", "install"]).exits(0);
    project.sandbox.git(&["worktree", "add", "--quiet", "--detach", "../linked"]);
    let linked = project.sandbox.home().join("linked");
    assert!(!linked.join(".husky/_").exists());
    if project.by_configuration() {
        project.sandbox.heddle_in(&linked, &["hooks", "status"]).exits(0);
        return;
    }
    let said = project.sandbox.heddle_in(&linked, &["hooks", "status"]).exits(7).stdout;
    assert!(said.contains("there is no such hook where Git looks"), "{said}");
    project.sandbox.heddle_in(&linked, &["hooks", "install"]).exits(0);
    project.sandbox.heddle_in(&linked, &["hooks", "status"]).exits(0);
    assert_eq!(project.sandbox.git_in(&linked, &["status", "--porcelain"]), "");
    project.sandbox.heddle(&["hooks", "uninstall"]).exits(0);
    assert!(!linked.join(".husky/_").exists());
}
