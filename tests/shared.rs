//! A repository that several users share (`core.sharedRepository`): what is made in it is as open as
//! Git would make it, and what is started there has the umask of whoever started heddle.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Answer, Sandbox, put, text};

const BINARY: &str = env!("CARGO_BIN_EXE_git-heddle");

/// Runs heddle, as somebody whose umask that is.
#[track_caller]
fn under(umask: &str, sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Answer {
    let line = format!("umask {umask}; exec \"$0\" \"$@\"");
    let mut command = sandbox.program("sh", folder, &[&["-c", &line, BINARY], args].concat());
    Answer::of(&command.output().expect("sh")).exits(0)
}

/// The modes of all files and folders below `folder`.
fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let meta = entry.metadata().expect("an entry");
            if meta.is_dir() {
                folders.push(entry.path());
            }
            if !meta.is_symlink() {
                found.insert(entry.path(), meta.permissions().mode());
            }
        }
    }
    found
}

#[test]
fn what_is_made_is_as_open_as_the_repository_asks() {
    // What it says, the umask, and what files and folders may be for whom. Of objects nobody may write.
    for (value, umask, file, folder) in [
        ("group", "077", 0o660, 0o770),
        ("all", "077", 0o664, 0o775),
        ("0640", "000", 0o640, 0o750),
        ("umask", "027", 0o640, 0o750),
    ] {
        let sandbox = Sandbox::new();
        let (root, git_dir) = (sandbox.root(), sandbox.root().join(".git"));
        sandbox.git(&["config", "core.sharedRepository", value]);
        let before = modes(&git_dir);
        let reserved = under(umask, &sandbox, &root, &["agent", "reserve", "--thread", "a/b"]).json();
        let session = text(&reserved, "session_id");
        put(&root, "work", "work\n");
        let capture = ["agent", "capture", "--session", &session, "-m", "work"];
        under(umask, &sandbox, &root, &capture);
        under(umask, &sandbox, &root, &["agent", "heartbeat", "--session", &session]);
        under(umask, &sandbox, &root, &["agent", "ready", "--session", &session]);
        under(umask, &sandbox, &root, &["agent", "release", "--session", &session]);
        under(umask, &sandbox, &root, &["thread", "rename", "a/b", "c/d"]);
        sandbox.git(&["checkout", "--quiet", "--detach"]);
        under(umask, &sandbox, &root, &["thread", "land", "c/d"]);
        under(umask, &sandbox, &root, &["hooks", "install"]);
        let made: Vec<_> =
            modes(&git_dir).into_iter().filter(|(path, _)| !before.contains_key(path)).collect();
        assert!(made.len() > 20, "{made:?}");
        for (path, mode) in made {
            let asked = match path.strip_prefix(&git_dir) {
                _ if path.is_dir() => folder,
                Ok(path) if path.starts_with("objects") => file & 0o444,
                Ok(path) if path.starts_with("hooks") => folder,
                _ => file,
            };
            assert_eq!(mode & 0o777, asked, "{value}: {path:?} has mode {mode:o}");
        }
    }
}

#[test]
fn what_is_started_has_the_umask_of_who_started_it() {
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    sandbox.git(&["config", "core.sharedRepository", "group"]);
    sandbox.git(&["config", "heddle.worktreeSetup", "umask >set-up"]);
    sandbox.git(&["config", "heddle.readyCommand", "umask >checked"]);
    let reserved = under("077", &sandbox, &root, &["agent", "reserve", "--thread", "t", "--worktree"]).json();
    let (session, path) = (text(&reserved, "session_id"), PathBuf::from(text(&reserved, "path")));
    let mode = fs::metadata(path.join("first")).expect("a file of the repository").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    under("077", &sandbox, &path, &["agent", "ready", "--session", &session]);
    let said = |name: &str| fs::read_to_string(path.join(name)).expect("a file").trim().to_owned();
    assert_eq!((said("set-up"), said("checked")), ("0077".to_owned(), "0077".to_owned()));
    let run = ["agent", "run", "--thread", "r", "--no-capture", "--", "sh", "-c", "umask"];
    assert_eq!(under("077", &sandbox, &root, &run).stdout, "0077\n");
}

/// The user and the group that nobody else has here.
const USERS: [u32; 2] = [64_101, 64_102];
const GROUP: u32 = 64_100;

#[test]
fn another_user_of_the_group_goes_on() {
    let root = nix::unistd::geteuid().is_root();
    if !root || Command::new("setpriv").arg("--version").output().is_err() {
        println!("skipped: only root can be several users, by setpriv");
        return;
    }
    let sandbox = Sandbox::new();
    let (repo, binary) = (sandbox.root(), sandbox.home().join("git-heddle"));
    fs::copy(BINARY, &binary).expect("copied");
    sandbox.git(&["config", "core.sharedRepository", "group"]);
    sandbox.git(&["config", "--global", "safe.directory", "*"]);
    let all = |args: &[&str]| {
        let mut command = sandbox.program(args[0], sandbox.home(), &args[1..]);
        assert!(command.arg(sandbox.home()).status().expect("a program").success(), "{args:?}");
    };
    all(&["chgrp", "-R", &GROUP.to_string()]);
    all(&["chmod", "-R", "g+rwX"]);
    for folder in
        modes(sandbox.home()).into_keys().filter(|path| path.is_dir()).chain([sandbox.home().into()])
    {
        let mode = fs::metadata(&folder).expect("a folder").permissions().mode();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode | 0o2070)).expect("set");
    }
    let act = |user: u32, args: &[&str]| {
        let (user, group) = (format!("--reuid={user}"), format!("--regid={GROUP}"));
        let program = binary.to_string_lossy();
        let line = ["-c", "umask 077; exec \"$0\" \"$@\"", &program];
        let become_user = [user.as_str(), &group, "--clear-groups", "sh"];
        let args = [&become_user[..], &line, args].concat();
        Answer::of(&sandbox.program("setpriv", &repo, &args).output().expect("setpriv"))
    };
    let [one, two] = USERS;
    let reserved = act(one, &["agent", "reserve", "--thread", "t"]).exits(0).json();
    let session = text(&reserved, "session_id");
    act(one, &["agent", "reserve", "--thread", "u/v"]).exits(0);
    // To the other one it is somebody's.
    act(two, &["agent", "reserve", "--thread", "t"]).exits(3);
    put(&repo, "work", "work\n");
    act(one, &["agent", "capture", "--session", &session, "-m", "work"]).exits(0);
    act(one, &["agent", "release", "--session", &session]).exits(0);
    let reserved = act(two, &["agent", "reserve", "--thread", "t", "--resume"]).exits(0).json();
    let session = text(&reserved, "session_id");
    sandbox.git(&["checkout", "--quiet", "--force", "--detach", "refs/heddle/threads/t"]);
    put(&repo, "more", "more\n");
    act(two, &["agent", "capture", "--session", &session, "-m", "more"]).exits(0);
    act(two, &["agent", "ready", "--session", &session]).exits(0);
    act(two, &["agent", "release", "--session", &session]).exits(0);
    act(one, &["thread", "drop", "t", "--force"]).exits(0);
    act(two, &["doctor"]).exits(0);
}
