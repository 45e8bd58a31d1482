//! Heddle's hooks in a test's repository.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs them as a user would.
pub(crate) fn install(git_dir: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_git-heddle"));
    command.arg("-C").arg(git_dir.parent().expect("a worktree")).args(["hooks", "install"]);
    command
        .env_clear()
        .env("PATH", path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().expect("git-heddle");
    assert!(output.status.success(), "{output:?}");
}

/// Puts the shims where Git looks for hooks and leaves no other trace, for tests that look at
/// what there is.
pub(crate) fn place(git_dir: &Path) {
    let shims = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
    let to = git_dir.join("hooks");
    fs::create_dir_all(&to).expect("folder");
    let shims = fs::read_dir(shims).expect("the shims").flatten();
    // That one is a server's.
    let shims = shims.filter(|shim| shim.file_name() != "pre-receive").map(|shim| shim.path());
    // Not by this process: what another test starts just now would have them open for writing.
    let copied = Command::new("cp").arg("--").args(shims).arg(&to).status();
    assert!(copied.expect("cp").success());
}

/// Whether every test's repository is to have them: what the hooks let pass must not differ
/// from what there is without them.
pub(crate) fn wanted() -> bool {
    std::env::var_os("HEDDLE_TEST_HOOKS").is_some()
}

/// Where programs are looked for: the one under test, then those of the machine.
pub(crate) fn path() -> OsString {
    let binary = Path::new(env!("CARGO_BIN_EXE_git-heddle"));
    let folder = binary.parent().expect("a folder");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&rest))).expect("PATH")
}
