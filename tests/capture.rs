//! Capture, against the real binary, the real git and the user's real configuration: each
//! test is a way in which staging or committing went wrong somewhere.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

#[expect(dead_code, reason = "the kinds of repository serve other tests too")]
#[path = "support_format/mod.rs"]
mod format;
#[expect(dead_code, reason = "the hooks serve other tests too")]
#[path = "support_hooks/mod.rs"]
mod hooks;
mod support_program;

use serde_json::Value;
use support_program::write_program;

/// A repository with one commit and a session on the thread `work`.
struct Sandbox {
    folder: tempfile::TempDir,
    session: String,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("home")).expect("home");
        fs::create_dir(folder.path().join("repo")).expect("repo");
        let mut sandbox = Self { folder, session: String::new() };
        sandbox.git(&["init", "-q", "-b", "main"]);
        if hooks::wanted() {
            hooks::place(&sandbox.repo().join(".git"));
        }
        sandbox.git(&["config", "user.name", "A. Person"]);
        sandbox.git(&["config", "user.email", "person@example.com"]);
        sandbox.write("a", "one\n");
        sandbox.write("b", "one\n");
        sandbox.git(&["add", "."]);
        sandbox.git(&["commit", "-q", "-m", "Start"]);
        sandbox.session = sandbox.reserve("work");
        sandbox
    }

    fn repo(&self) -> std::path::PathBuf {
        self.folder.path().join("repo")
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.repo())
            .env_clear()
            .env("PATH", hooks::path())
            .env("HOME", self.folder.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(format::asked().environment());
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        self.prepare(command.args(args));
        command.output().expect("program")
    }

    fn git(&self, args: &[&str]) -> String {
        let output = self.run("git", args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn heddle(&self, args: &[&str]) -> (i32, Value, String) {
        let output = self.run(env!("CARGO_BIN_EXE_git-heddle"), args);
        let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().expect("exit"), document, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn reserve(&self, thread: &str) -> String {
        let (code, document, said) = self.heddle(&["agent", "reserve", "--thread", thread, "--resume"]);
        assert_eq!(code, 0, "{said}");
        document["session_id"].as_str().expect("session_id").to_owned()
    }

    fn capture(&self, args: &[&str]) -> (i32, Value, String) {
        self.heddle(&[&["agent", "capture", "--session", &self.session, "-m", "Work"], args].concat())
    }

    fn captured(&self, args: &[&str]) -> Value {
        let (code, document, said) = self.capture(args);
        assert_eq!(code, 0, "{said}");
        document
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.repo().join(path), text).expect("write");
    }

    fn hook(&self, name: &str, text: &str) {
        let path = self.repo().join(".git/hooks").join(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("hooks");
        write_program(&path, format!("#!/bin/sh\n{text}\n"));
    }

    fn tip(&self) -> String {
        self.git(&["rev-parse", "refs/heddle/threads/work"])
    }

    fn at_tip(&self, path: &str) -> String {
        self.git(&["show", &format!("refs/heddle/threads/work:{path}")])
    }

    /// What a refusal must leave as it was.
    fn state(&self) -> (String, String, Vec<u8>, Vec<String>) {
        let refs = self.git(&["for-each-ref"]);
        let status = self.git(&["status", "--porcelain=v2", "--branch"]);
        let index = fs::read(self.repo().join(".git/index")).expect("index");
        let entries = fs::read_dir(self.repo().join(".git")).expect("read");
        let scratch = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        (refs, status, index, scratch.filter(|name| name.contains("scratch")).collect())
    }
}

#[test]
fn a_capture_is_a_real_commit_and_the_checkout_stays_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.write("new", "x\n");
    let before = sandbox.state();
    let document = sandbox.captured(&["--confidence", "0.75"]);
    let after = sandbox.state();
    assert_eq!(document["changed_paths"], serde_json::json!(["a", "new"]));
    assert_eq!((&before.1, &before.2, &before.3), (&after.1, &after.2, &after.3));
    let body = sandbox.git(&["log", "-1", "--format=%(trailers:only)", "refs/heddle/threads/work"]);
    for trailer in ["Heddle-Thread: work", "Heddle-Generation: 1", "Heddle-Confidence: 0.75"] {
        assert!(body.contains(trailer), "{body}");
    }
    assert_eq!(sandbox.captured(&[])["captured"], Value::Bool(false));
    sandbox.git(&["fsck", "--strict"]);
}

#[test]
fn an_edit_of_the_same_size_within_a_second_is_seen() {
    let sandbox = Sandbox::new();
    for round in 0..20 {
        sandbox.write("a", &format!("{round:03}\n"));
        sandbox.git(&["add", "a"]);
        sandbox.write("a", &format!("{:03}\n", 999 - round));
        sandbox.captured(&[]);
        assert_eq!(sandbox.at_tip("a"), format!("{:03}", 999 - round));
    }
}

#[test]
fn captures_of_different_paths_do_not_put_each_other_back() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.write("b", "two\n");
    sandbox.captured(&["--", "a"]);
    assert_eq!((sandbox.at_tip("a"), sandbox.at_tip("b")), ("two".to_owned(), "one".to_owned()));
    sandbox.captured(&["--", "b"]);
    assert_eq!((sandbox.at_tip("a"), sandbox.at_tip("b")), ("two".to_owned(), "two".to_owned()));
}

#[test]
fn what_the_user_has_staged_is_neither_swept_in_nor_lost() {
    let sandbox = Sandbox::new();
    sandbox.write("b", "staged\n");
    sandbox.git(&["add", "b"]);
    sandbox.write("a", "two\n");
    sandbox.captured(&["--", "a"]);
    assert_eq!(sandbox.at_tip("b"), "one");
    assert_eq!(sandbox.git(&["diff", "--cached", "--name-only"]), "b");
}

#[test]
fn a_formatter_in_pre_commit_is_heard_and_sees_only_this_capture() {
    let sandbox = Sandbox::new();
    sandbox.write("b", "staged by the user\n");
    sandbox.git(&["add", "b"]);
    let seen = sandbox.folder.path().join("seen");
    sandbox.hook(
        "pre-commit",
        &format!("git diff --cached --name-only >'{}'\necho formatted >a\ngit add a", seen.display()),
    );
    sandbox.write("a", "unformatted\n");
    sandbox.captured(&["--", "a"]);
    assert_eq!(sandbox.at_tip("a"), "formatted");
    assert_eq!(fs::read_to_string(seen).expect("seen"), "a\n");
    assert_eq!(sandbox.git(&["diff", "--cached", "--name-only"]), "b");
}

#[test]
fn a_hook_that_refuses_changes_nothing_and_no_verify_passes() {
    let sandbox = Sandbox::new();
    sandbox.hook("pre-commit", "echo 'no tabs, please'\nexit 1");
    sandbox.write("a", "two\n");
    let before = sandbox.state();
    let (code, document, said) = sandbox.capture(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("no tabs, please"), "{said}");
    assert_eq!(document["error"]["kind"], "failed");
    assert_eq!(before, sandbox.state());
    // The stale cache of a refused capture does not survive garbage collection.
    sandbox.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(sandbox.captured(&["--no-verify"])["captured"], Value::Bool(true));
}

#[test]
fn commit_msg_may_change_the_message() {
    let sandbox = Sandbox::new();
    sandbox.hook("commit-msg", "sed -i 's/^Work/Reworked/' \"$1\"");
    sandbox.write("a", "two\n");
    sandbox.captured(&[]);
    assert_eq!(sandbox.git(&["log", "-1", "--format=%s", "refs/heddle/threads/work"]), "Reworked");
}

#[test]
fn collected_objects_of_an_earlier_capture_are_staged_again() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.captured(&[]);
    sandbox.hook("pre-commit", "exit 1");
    sandbox.write("b", "only ever staged\n");
    assert_eq!(sandbox.capture(&[]).0, 1);
    sandbox.git(&["gc", "-q", "--prune=now"]);
    sandbox.captured(&["--no-verify"]);
    assert_eq!(sandbox.at_tip("b"), "only ever staged");
    sandbox.git(&["fsck"]);
}

#[test]
fn a_worktree_that_stands_elsewhere_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.captured(&[]);
    sandbox.heddle(&["agent", "release", "--session", &sandbox.session]);
    let next = sandbox.reserve("work");
    // HEAD is still at the anchor: capturing it would undo the first session's work.
    sandbox.git(&["checkout", "-q", "--", "a"]);
    sandbox.write("b", "three\n");
    let before = sandbox.state();
    let (code, document, _) = sandbox.heddle(&["agent", "capture", "--session", &next, "-m", "x"]);
    assert_eq!((code, &document["error"]["kind"]), (4, &Value::from("anchor_drift")));
    assert_eq!(before, sandbox.state());
    sandbox.git(&["checkout", "-q", "--detach", "refs/heddle/threads/work"]);
    let (code, _, said) = sandbox.heddle(&["agent", "capture", "--session", &next, "-m", "x"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((sandbox.at_tip("a"), sandbox.at_tip("b")), ("two".to_owned(), "three".to_owned()));
}

#[test]
fn a_head_put_on_a_branch_is_followed_and_one_moved_away_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.git(&["checkout", "-q", "-b", "mine"]);
    sandbox.captured(&[]);
    sandbox.git(&["stash", "-q"]);
    sandbox.git(&["commit", "-q", "--allow-empty", "-m", "elsewhere"]);
    let (code, _, said) = sandbox.capture(&[]);
    assert_eq!(code, 4, "{said}");
}

#[test]
fn commits_made_by_hand_on_top_of_the_tip_are_adopted() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "by hand\n");
    sandbox.git(&["commit", "-q", "-a", "-m", "By hand"]);
    sandbox.write("b", "captured\n");
    sandbox.captured(&[]);
    let log = sandbox.git(&["log", "--format=%s", "main~1..refs/heddle/threads/work"]);
    assert_eq!(log, "Work\nBy hand");
}

#[test]
fn an_operation_in_progress_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.git(&["checkout", "-q", "-b", "other"]);
    sandbox.write("a", "theirs\n");
    sandbox.git(&["commit", "-q", "-a", "-m", "theirs"]);
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.write("a", "ours\n");
    sandbox.captured(&[]);
    sandbox.git(&["commit", "-q", "-a", "-m", "ours"]);
    assert!(!sandbox.run("git", &["merge", "other"]).status.success());
    let tip = sandbox.tip();
    let (code, _, said) = sandbox.capture(&[]);
    assert_ne!(code, 0, "{said}");
    assert_eq!(tip, sandbox.tip());
}

#[test]
fn filters_ignore_rules_modes_links_and_odd_names_are_as_git_has_them() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "filter.shout.clean", "tr a-z A-Z"]);
    sandbox.git(&["config", "core.autocrlf", "input"]);
    sandbox.write(".gitattributes", "*.loud filter=shout\n");
    sandbox.write(".gitignore", "*.tmp\n");
    sandbox.write("x.loud", "quiet\n");
    sandbox.write("crlf", "a\r\nb\r\n");
    sandbox.write("junk.tmp", "x\n");
    sandbox.write("run", "#!/bin/sh\n");
    fs::set_permissions(sandbox.repo().join("run"), fs::Permissions::from_mode(0o755)).expect("mode");
    std::os::unix::fs::symlink("a", sandbox.repo().join("link")).expect("link");
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(sandbox.repo().join(odd), "x\n").expect("write");
    sandbox.captured(&[]);
    assert_eq!(sandbox.at_tip("x.loud"), "QUIET");
    assert_eq!(sandbox.at_tip("crlf"), "a\nb");
    let tree = sandbox.git(&["ls-tree", "-r", "refs/heddle/threads/work"]);
    assert!(!tree.contains("junk.tmp"), "{tree}");
    assert!(tree.contains("100755 blob") && tree.contains("120000 blob"), "{tree}");
    assert!(tree.contains("caf\\351"), "{tree}");
    // The same as what Git itself would have staged.
    sandbox.git(&["add", "-A"]);
    assert_eq!(sandbox.git(&["write-tree"]), sandbox.git(&["rev-parse", "refs/heddle/threads/work^{tree}"]));
}

#[test]
fn lines_are_counted_as_git_counts_them_with_and_without_attributes() {
    let contents: [&[u8]; 9] = [
        b"",
        b"one\n",
        b"one",
        b"one\ntwo\nthree\n",
        b"three\ntwo\none",
        b"one\r\ntwo\r\n",
        b"bin\0ary\n",
        b"\0",
        b"\xff\xfe\n\n\n",
    ];
    for attributes in [None, Some("*-1 -diff\n*-7 diff\n")] {
        let sandbox = Sandbox::new();
        if let Some(attributes) = attributes {
            sandbox.write(".gitattributes", attributes);
        }
        let place = |old: usize, new: usize| sandbox.repo().join(format!("d{old}/{old}-{new}"));
        for old in 0..contents.len() {
            fs::create_dir(sandbox.repo().join(format!("d{old}"))).expect("folder");
            for new in 0..contents.len() {
                fs::write(place(old, new), contents[old]).expect("write");
            }
        }
        std::os::unix::fs::symlink("a", sandbox.repo().join("d0/link")).expect("link");
        for name in ["to-a-link", "to-an-equal-link", "from-a-link"] {
            sandbox.write(name, "a\nb\n");
        }
        sandbox.write("to-an-equal-link", "a");
        fs::remove_file(sandbox.repo().join("from-a-link")).expect("removed");
        std::os::unix::fs::symlink("a", sandbox.repo().join("from-a-link")).expect("link");
        sandbox.captured(&[]);
        let before = sandbox.tip();
        for name in ["to-a-link", "to-an-equal-link", "from-a-link"] {
            fs::remove_file(sandbox.repo().join(name)).expect("removed");
            std::os::unix::fs::symlink("a", sandbox.repo().join(name)).expect("link");
        }
        fs::remove_file(sandbox.repo().join("from-a-link")).expect("removed");
        sandbox.write("from-a-link", "1\n2\n");
        for old in 0..contents.len() {
            for (new, content) in contents.iter().enumerate() {
                // One of them goes, another comes.
                fs::remove_file(place(old, new)).expect("removed");
                if new > 0 {
                    fs::write(place(old, new), content).expect("write");
                }
            }
        }
        fs::remove_file(sandbox.repo().join("d0/link")).expect("removed");
        std::os::unix::fs::symlink("b", sandbox.repo().join("d0/link")).expect("link");
        fs::set_permissions(place(1, 1), fs::Permissions::from_mode(0o755)).expect("mode");
        sandbox.write("d0/new", "1\n2\n3\n");
        let document = sandbox.captured(&[]);
        let range = format!("{before}..{}", sandbox.tip());
        let numbers =
            sandbox.git(&["-c", "core.quotePath=false", "diff", "--numstat", "--no-renames", &range]);
        let (mut paths, mut came, mut went) = (Vec::new(), 0, 0);
        for line in numbers.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            came += fields[0].parse::<u64>().unwrap_or(0);
            went += fields[1].parse::<u64>().unwrap_or(0);
            paths.push(fields[2]);
        }
        assert_eq!(document["changed_paths"], serde_json::json!(paths), "{attributes:?}");
        assert_eq!((&document["insertions"], &document["deletions"]), (&came.into(), &went.into()));
    }
}

#[test]
fn sparse_checkouts_keep_what_is_outside_the_cone() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.repo().join("in")).expect("folder");
    fs::create_dir_all(sandbox.repo().join("out")).expect("folder");
    sandbox.write("in/x", "1\n");
    sandbox.write("out/y", "1\n");
    sandbox.captured(&[]);
    sandbox.git(&["add", "."]);
    sandbox.git(&["checkout", "-q", "--detach", "refs/heddle/threads/work"]);
    sandbox.git(&["sparse-checkout", "set", "in"]);
    assert!(!Path::new(&sandbox.repo().join("out/y")).exists());
    sandbox.write("in/x", "2\n");
    let document = sandbox.captured(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!(["in/x"]));
    assert_eq!(sandbox.at_tip("out/y"), "1");
}

#[test]
fn what_is_dirty_in_a_submodule_is_warned_of() {
    let sandbox = Sandbox::new();
    let other = sandbox.folder.path().join("other");
    let other = other.to_str().expect("path");
    sandbox.git(&["clone", "-q", ".", other]);
    sandbox.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other, "sub"]);
    sandbox.captured(&[]);
    sandbox.write("sub/a", "uncommitted\n");
    sandbox.write("b", "two\n");
    let document = sandbox.captured(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!(["b"]));
    assert!(document["warnings"].to_string().contains("not captured: sub"), "{document}");
}

#[test]
fn what_lies_outside_a_sparse_checkout_is_left_out_and_named() {
    let sandbox = Sandbox::new();
    for folder in ["in", "out"] {
        fs::create_dir_all(sandbox.repo().join(folder)).expect("folder");
    }
    sandbox.write("in/x", "1\n");
    sandbox.write("out/y", "1\n");
    sandbox.captured(&[]);
    sandbox.git(&["add", "."]);
    sandbox.git(&["checkout", "-q", "--detach", "refs/heddle/threads/work"]);
    sandbox.git(&["sparse-checkout", "set", "in"]);
    fs::create_dir_all(sandbox.repo().join("out")).expect("folder");
    sandbox.write("in/new", "2\n");
    sandbox.write("out/y", "2\n");
    sandbox.write("out/stray ü", "2\n");
    let document = sandbox.captured(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!(["in/new"]));
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("out/y") && warnings.contains("out/stray ü"), "{warnings}");
    assert_eq!(sandbox.at_tip("out/y"), "1");
    // Who asks for it by name is told that it cannot be had.
    let before = sandbox.state();
    let (code, _, said) = sandbox.capture(&["--", "out/stray ü"]);
    assert!(code == 1 && said.contains("sparse"), "{code} {said}");
    assert_eq!(before, sandbox.state());
}

#[test]
fn large_files_and_embedded_repositories_are_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "heddle.maxNewFileSize", "1k"]);
    sandbox.write("big", &"x".repeat(2000));
    let before = sandbox.state();
    let (code, _, said) = sandbox.capture(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("big (2000 bytes)"), "{said}");
    assert_eq!(before, sandbox.state());
    fs::remove_file(sandbox.repo().join("big")).expect("remove");
    sandbox.git(&["init", "-q", "inner"]);
    sandbox.git(&[
        "-C",
        "inner",
        "-c",
        "user.name=a",
        "-c",
        "user.email=b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x",
    ]);
    let (code, _, said) = sandbox.capture(&[]);
    assert_eq!(code, 1);
    assert!(said.contains("inner"), "{said}");
}

#[test]
fn a_missing_identity_is_refused_in_git_s_words() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "--unset", "user.name"]);
    sandbox.git(&["config", "--unset", "user.email"]);
    sandbox.git(&["config", "user.useConfigOnly", "true"]);
    sandbox.write("a", "two\n");
    let before = sandbox.state();
    let (code, _, said) = sandbox.capture(&[]);
    assert_eq!(code, 1);
    let first = "error: git does not know who makes the commit: user.name or user.email is missing\nhint: ";
    assert!(said.starts_with(first), "{said}");
    assert_eq!(before, sandbox.state());
}

#[test]
fn commits_are_signed_where_the_user_signs() {
    let sandbox = Sandbox::new();
    let key = sandbox.folder.path().join("key");
    let key = key.to_str().expect("path");
    if !sandbox.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]).status.success() {
        return;
    }
    sandbox.git(&["config", "gpg.format", "ssh"]);
    sandbox.git(&["config", "user.signingKey", &format!("{key}.pub")]);
    sandbox.git(&["config", "commit.gpgSign", "true"]);
    sandbox.write("a", "two\n");
    sandbox.captured(&[]);
    assert!(sandbox.git(&["cat-file", "commit", "refs/heddle/threads/work"]).contains("BEGIN SSH SIGNATURE"));
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    let before = sandbox.state();
    let document = sandbox.captured(&["--dry-run"]);
    assert_eq!(document["changed_paths"], serde_json::json!(["a"]));
    assert_eq!(document["captured"], Value::Bool(false));
    assert_eq!(before, sandbox.state());
}

#[test]
fn ready_runs_the_configured_checks_and_blocks_on_a_failed_one() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    sandbox.git(&["config", "heddle.readyCommand", "grep -q three a"]);
    let ready = || sandbox.heddle(&["agent", "ready", "--session", &sandbox.session]);
    let (code, document, _) = ready();
    assert_eq!((code, &document["status"]), (7, &Value::from("blocked")));
    assert!(!sandbox.run("git", &["rev-parse", "-q", "--verify", "refs/heddle/ready/work"]).status.success());
    sandbox.write("a", "three\n");
    let (code, document, said) = ready();
    assert_eq!((code, &document["status"]), (0, &Value::from("completed")), "{said}");
    assert_eq!(sandbox.git(&["rev-parse", "refs/heddle/ready/work"]), sandbox.tip());
}

#[test]
fn a_target_that_is_not_there_refuses_ready_before_anything_is_captured() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    // Nor is a thread a branch.
    for target in ["nowhere", "refs/heddle/threads/work"] {
        sandbox.git(&["config", "heddle.target", target]);
        let before = sandbox.state();
        let (code, _, said) = sandbox.heddle(&["agent", "ready", "--session", &sandbox.session]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&format!("target branch '{target}' not found")), "{said}");
        assert_eq!(before, sandbox.state());
    }
}

#[test]
fn a_submodule_added_on_purpose_is_captured() {
    let sandbox = Sandbox::new();
    let other = sandbox.folder.path().join("other");
    let other = other.to_str().expect("path");
    sandbox.git(&["clone", "-q", ".", other]);
    sandbox.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other, "sub"]);
    let document = sandbox.captured(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!([".gitmodules", "sub"]));
    // One that is ignored is on purpose too, also if it is not to be shown.
    fs::write(sandbox.repo().join(".git/info/exclude"), "/more\n").expect("write");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--force", other, "more"];
    sandbox.git(&add);
    sandbox.git(&["config", "--file", ".gitmodules", "submodule.more.ignore", "all"]);
    let document = sandbox.captured(&[]);
    assert_eq!(document["changed_paths"], serde_json::json!([".gitmodules", "more"]));
    // And is one path that differs where a file takes its place.
    fs::remove_dir_all(sandbox.repo().join("sub")).expect("removed");
    sandbox.write("sub", "1\n2\n");
    let document = sandbox.captured(&[]);
    let counted = (&document["insertions"], &document["deletions"]);
    assert_eq!((&document["changed_paths"], counted), (&serde_json::json!(["sub"]), (&2.into(), &1.into())));
}

#[test]
fn an_empty_message_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a", "two\n");
    let before = sandbox.state();
    let (code, _, _) = sandbox.heddle(&["agent", "capture", "--session", &sandbox.session, "-m", " "]);
    assert_eq!(code, 2);
    assert_eq!(before, sandbox.state());
}

#[test]
fn a_message_is_never_labelled_with_an_encoding_that_it_is_not_in() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "i18n.commitEncoding", "ISO-8859-1"]);
    sandbox.write("a", "two\n");
    let (code, _, said) =
        sandbox.heddle(&["agent", "capture", "--session", &sandbox.session, "-m", "h\u{e9}"]);
    assert_eq!(code, 0, "{said}");
    let log = ["-c", "i18n.logOutputEncoding=UTF-8", "log", "-1", "--format=%s", "refs/heddle/threads/work"];
    assert_eq!(sandbox.git(&log), "h\u{e9}");
}
