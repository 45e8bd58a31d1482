//! Input from somebody who wishes no good, and what has to hold whatever it is: the program ends
//! in time with a status that is documented, and where it refuses it has changed nothing.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use crate::support_faults::state;
use crate::support_processes::{BINARY, Ended, Files, Sandbox, from_environment, read, restore_changed};

/// Words that mean something to a shell, to Git, to a file system or to a terminal.
const WORDS: [&str; 72] = [
    "",
    " ",
    "-",
    "--",
    "-x",
    "--force",
    "--upload-pack=touch outside/hatched",
    "a b",
    "a\nb",
    "\n",
    "a\tb",
    "\u{1b}[31mred",
    "%s%n%x",
    "..",
    "../x",
    "./a",
    "/",
    "//",
    "/dev/null/x",
    "a/../b",
    "a//b",
    "a/",
    "/a",
    ".a",
    "a/.b",
    "a.lock",
    "a/b.lock/c",
    "a..b",
    "a@{0}",
    "@",
    "@{-1}",
    "HEAD",
    "FETCH_HEAD",
    "main",
    "main~9999999999",
    "main^{/x}",
    "refs/heads/main",
    "refs/heddle/threads/t",
    "t",
    "t/below",
    "T",
    "o",
    "\u{e9}",
    "e\u{301}",
    "\u{202e}txt",
    "\u{feff}a",
    "a\u{0}b",
    "a\u{7f}b",
    "$(touch outside/hatched)",
    "`touch outside/hatched`",
    "; touch outside/hatched",
    "| touch outside/hatched",
    "*",
    "a?b",
    "[a-z]",
    "a~b",
    "a^b",
    "a:b",
    ":(exclude)*",
    ":(nonsense)a",
    "a\\b",
    "\\",
    ".git",
    ".git/config",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "NaN",
    "0s",
    "99999999999999999999d",
    "1111111111111111111111111111111111111111",
];

/// Bytes without a zero, as every argument is.
pub(crate) fn hostile() -> impl Strategy<Value = OsString> {
    let word = (0..WORDS.len()).prop_map(|index| WORDS[index].replace('\0', "").into_bytes());
    let mixed =
        prop::collection::vec((0..WORDS.len()).prop_map(|index| WORDS[index].replace('\0', "")), 2..5);
    let long = (0..4usize).prop_map(|which| ["a", "\u{e9}", "a/", "%"][which].repeat(4096).into_bytes());
    let name =
        prop::sample::select(vec![b'a', b'/', b'.', b'-', b'@', b'{', b'~', b':', b'\\', b'%', 0xc3, 0xff]);
    prop_oneof![
        6 => word,
        2 => mixed.prop_map(|words| words.concat().into_bytes()),
        1 => long,
        2 => prop::collection::vec(1..=255u8, 1..40),
        2 => prop::collection::vec(name, 1..12),
        1 => Just(b"a\xff\xfe".to_vec()),
    ]
    // Nothing of the machine but the sandbox is to be named.
    .prop_map(|bytes| OsString::from_vec(bytes).into_vec())
    .prop_filter("it leads out of the sandbox", |bytes| !bytes.windows(5).any(|part| part == b"../.."))
    .prop_map(OsString::from_vec)
}

/// As many cases as `HEDDLE_FUZZ_CASES` says, from `HEDDLE_FUZZ_SEED` on.
pub(crate) fn config(cases: u64) -> Config {
    let cases = from_environment("HEDDLE_FUZZ_CASES", cases);
    let seed = from_environment("HEDDLE_FUZZ_SEED", u64::from(std::process::id()));
    println!("HEDDLE_FUZZ_SEED={seed} HEDDLE_FUZZ_CASES={cases}");
    Config {
        cases: u32::try_from(cases).expect("a number of cases"),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 40,
        ..Config::default()
    }
}

/// A repository with a live thread `t` in a worktree, marked ready, and another one `o`.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) session: String,
    pub(crate) tree: String,
    files: Files,
}

impl World {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.git(&["config", "heddle.fsync", "false"]);
        sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
        std::fs::create_dir(sandbox.path("outside")).expect("folder");
        std::fs::write(sandbox.path("outside/canary"), "sings\n").expect("canary");
        sandbox.heddle(&["agent", "reserve", "--thread", "o"]).ok();
        let reserved = sandbox.heddle(&["agent", "reserve", "--thread", "t", "--worktree"]).ok();
        let (session, tree) = (reserved.text("session_id"), reserved.text("path"));
        std::fs::write(format!("{tree}/work"), "work\n").expect("file");
        sandbox.heddle(&["-C", &tree, "agent", "ready", "--session", &session, "-m", "work"]).ok();
        let files = read(&sandbox.path(""));
        Self { sandbox, session, tree, files }
    }

    /// What is there now is what every case begins with.
    pub(crate) fn keep(&mut self) {
        self.files = read(&self.sandbox.path(""));
    }

    /// Everything as it was.
    pub(crate) fn restore(&self) {
        restore_changed(&self.sandbox.path(""), &self.files);
    }

    /// git-heddle with these arguments, killed if it takes too long.
    pub(crate) fn command(&self, args: &[OsString]) -> Command {
        let mut command = self.sandbox.command("timeout", &["-s", "KILL", "30", BINARY]);
        command.args(args);
        command
    }

    /// Runs it with that standard input; what is wrong about its end.
    pub(crate) fn run(&self, mut command: Command, stdin: &[u8], codes: &[i32]) -> Result<Ended, String> {
        let before = read(&self.sandbox.path(""));
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        // It need not read what it is given.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin);
        let ended = Ended::new(&child.wait_with_output().map_err(|error| error.to_string())?);
        let documented = ended.code.is_some_and(|code| codes.contains(&code));
        if !documented || ended.stderr.contains("panicked") {
            return Err(format!("{ended:?}"));
        }
        let after = read(&self.sandbox.path(""));
        let changed = changed(&within(&before), &within(&after));
        // Only a push tells whether there is a remote at an address, and it comes last.
        let stands = ended.stderr.contains("the landing itself stands");
        if ended.code != Some(0) && !changed.is_empty() && !stands {
            return Err(format!("it refused, and changed {changed:?}: {ended:?}"));
        }
        let outside = |files: &Files| files.iter().filter(|(path, _)| path.starts_with("outside")).count();
        if outside(&before) != outside(&after) {
            return Err(format!("something hatched: {ended:?}"));
        }
        Ok(ended)
    }

    /// What has to hold after any command that was let do something.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        let refs = self.sandbox.run("git", &["for-each-ref"]);
        if refs.code != Some(0) || !refs.stderr.is_empty() {
            return Err(format!("{refs:?}"));
        }
        Ok(())
    }
}

/// What a refusal may not change; paths are those below the repository's folder.
fn within(files: &Files) -> Files {
    let below = |path: &Path| path.strip_prefix("repo").map(Path::to_owned).ok();
    let repo: Files = files.iter().filter_map(|(path, body)| Some((below(path)?, body.clone()))).collect();
    let rest = files.iter().filter(|(path, _)| !path.starts_with("repo") && !path.starts_with("tmp"));
    state(&repo)
        .into_iter()
        .chain(rest.map(|(path, body)| (Path::new("..").join(path), body.clone())))
        .collect()
}

/// The paths that differ.
pub(crate) fn changed(before: &Files, after: &Files) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}
