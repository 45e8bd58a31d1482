//! Capturing some paths works on an index of those alone: the trees are those of the whole
//! index, whatever happened in the worktree.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_dice;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use support::{Answer, Sandbox, put, text};
use support_dice::{Dice, place, remove};

const FILES: [&str; 14] = [
    "a",
    "a/x",
    "a/y.loud",
    "a/b/z.txt",
    "a/b",
    "a-b",
    "a.b/x.tmp",
    "c/d/e.txt",
    "c/d",
    "c/new",
    "f.txt",
    "g.loud",
    "sub/in",
    "h.tmp",
];
const PATHS: [&str; 18] = [
    "a",
    "a/x",
    "a/y.loud",
    "a/b/z.txt",
    "a/b",
    "a-b",
    "a.b",
    "a.b/x.tmp",
    "c/",
    "c/d/e.txt",
    "./c/d",
    "f.txt",
    "g.loud",
    "sub",
    "sub/in",
    "h.tmp",
    "missing",
    "c/new",
];
const RULES: [&str; 5] =
    ["", "*.tmp\n", "*.txt text\n*.loud filter=shout\n", "* text=auto eol=crlf\n", "c/\n"];

/// Does something to the worktree.
fn disturb(sandbox: &Sandbox, dice: &mut Dice) {
    let root = sandbox.root();
    let path = dice.pick(&FILES);
    let content = ["one\n", "two\n", "one\r\n", "two\r\nthree\n", ""][dice.roll(5)];
    match dice.roll(12) {
        0..=4 => place(&root, path, |path| fs::write(path, content).expect("write")),
        5 => place(&root, path, |path| std::os::unix::fs::symlink("f.txt", path).expect("link")),
        6 => remove(&root.join(path)),
        7 if root.join(path).is_file() => {
            let mode = if dice.roll(2) == 0 { 0o755 } else { 0o644 };
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("mode");
        }
        8 => put(&root, ".gitignore", dice.pick(&RULES)),
        9 => put(&root, ".gitattributes", dice.pick(&RULES)),
        10 if dice.roll(2) == 0 => {
            place(&root, "sub/in", |path| fs::write(path, content).expect("write"));
            sandbox.git_in(&root.join("sub"), &["init", "-q"]);
        }
        10 => remove(&root.join(dice.pick(&[".gitattributes", ".gitignore"]))),
        11 if root.join(path).exists() => {
            let flag =
                dice.pick(&["--assume-unchanged", "--no-assume-unchanged", "--skip-worktree", "--add"]);
            sandbox.try_git(&root, &["update-index", flag, "--", path]);
        }
        _ => {
            sandbox.try_git(&root, &["status"]);
        }
    }
}

/// What a capture of `paths` says, on the whole index or not.
fn capture(
    sandbox: &Sandbox,
    session: &str,
    paths: &[&str],
    whole: bool,
    more: &[&str],
) -> (i32, Value, Value) {
    let args = [&["agent", "capture", "--session", session, "-m", "x"], more, &["--"], paths].concat();
    let mut command = sandbox.command(&args);
    if whole {
        // What could change the meaning of a path has the whole index used.
        command.env("GIT_GLOB_PATHSPECS", "0");
    }
    let answer = Answer::of(&command.output().expect("heddle"));
    let mut document = answer.json();
    let tree = document["tree"].take();
    // Whether Git reads a file that it knows, and so warns of its line ends, hangs on how long
    // ago it was written.
    for key in ["commit", "parent", "warnings"] {
        document[key].take();
    }
    (answer.code, tree, document)
}

fn check(seed: u64) -> (usize, usize) {
    let mut dice = Dice(seed);
    let sandbox = Sandbox::new();
    let root = sandbox.root();
    sandbox.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    let autocrlf = dice.pick(&["true", "input", "false"]);
    sandbox.git(&["config", "core.autocrlf", autocrlf]);
    for path in ["a/x", "a/y.loud", "c/d/e.txt", "c/d/f", "f.txt", "g.loud"] {
        place(&root, path, |path| fs::write(path, "one\n").expect("write"));
    }
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Files"]);
    let session = text(&sandbox.reserve("work", &[]), "session_id");
    let (mut taken, mut refused) = (0, 0);
    for round in 0..14 {
        for _ in 0..=dice.roll(4) {
            disturb(&sandbox, &mut dice);
        }
        let mut paths = vec![dice.pick(&PATHS)];
        if dice.roll(3) == 0 {
            paths.push(dice.pick(&PATHS));
        }
        let whole = capture(&sandbox, &session, &paths, true, &["--dry-run"]);
        let only = capture(&sandbox, &session, &paths, false, &["--dry-run"]);
        assert_eq!(whole, only, "seed {seed} round {round} {paths:?}");
        if dice.roll(2) == 0 {
            let made = capture(&sandbox, &session, &paths, false, &[]);
            assert_eq!((made.0, &made.1), (only.0, &only.1), "seed {seed} round {round} {paths:?}");
        } else if dice.roll(4) == 0 {
            capture(&sandbox, &session, &["."], false, &[]);
        }
        if only.0 == 0 { taken += 1 } else { refused += 1 }
    }
    sandbox.git(&["fsck", "--strict", "--no-dangling"]);
    (taken, refused)
}

#[test]
fn the_tree_is_that_of_the_whole_index() {
    let rounds = std::env::var("HEDDLE_PATHS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6);
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..rounds {
        let (more, less) = check(seed);
        taken += more;
        refused += less;
    }
    assert!(taken > 20 && refused > 0, "{taken} {refused}");
}
