//! Every kind of repository that Git makes: refs in files or in tables, objects named by either
//! hash. What commands do in all of them, and what is particular to tables (one lock for all refs,
//! held by a child); `tests/conformance.rs` has the interface to Git.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_program;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::format::ALL;
use support::{Answer, Sandbox, put, text};
use support_program::write_program;

#[test]
fn a_thread_goes_from_its_reservation_to_its_target() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let reserved = sandbox.reserve("fix", &["--worktree"]);
        let (session, path) = (text(&reserved, "session_id"), text(&reserved, "path"));
        put(path.as_ref(), "work", "work\n");
        sandbox.heddle_in(path.as_ref(), &["agent", "capture", "--session", &session, "-m", "work"]).exits(0);
        sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        sandbox.heddle(&["thread", "land", "fix"]).exits(0);
        assert_eq!(sandbox.git(&["log", "--format=%s", "main"]), "work\nfirst", "{}", format.name());
        assert_eq!(sandbox.git(&["status", "--porcelain"]), "", "{}", format.name());
        sandbox.git(&["fsck", "--strict"]);
    }
}

/// Has `git` in the sandbox be `script`, in which `$GIT` is the real one.
fn replace_git(sandbox: &mut Sandbox, script: &str) {
    let bin = sandbox.home().join("bin");
    fs::create_dir(&bin).expect("folder");
    let real = sandbox.only_git().join("git");
    write_program(bin.join("git"), format!("#!/bin/sh\nGIT='{}'\n{script}", real.display()));
    sandbox.first_on_path = Some(bin);
}

#[test]
fn extensions_that_git_knows_are_worked_with_and_any_other_is_refused_by_name() {
    for format in ALL {
        for (extension, value) in [
            ("worktreeConfig", "true"),
            ("partialClone", "origin"),
            ("preciousObjects", "true"),
            ("relativeWorktrees", "true"),
            ("refStorage", "future"),
            ("objectFormat", "future"),
            ("unheardOf", "true"),
        ] {
            let about = format!("{} {extension}={value}", format.name());
            let sandbox = Sandbox::for_the_library(format);
            let set = |key: &str, value: &str| {
                sandbox.git(&["config", "--file", ".git/config", key, value]);
            };
            set("core.repositoryFormatVersion", "1");
            set(&format!("extensions.{extension}"), value);
            let git = sandbox.try_git(&sandbox.root(), &["rev-parse", "HEAD"]);
            let answer = sandbox.heddle(&["agent", "reserve", "--thread", "fix", "--worktree"]);
            if git.code != 0 {
                let known = extension == "relativeWorktrees";
                assert!(answer.code == 128 || known && answer.code == 1, "{about}: {answer:?}");
                let said = answer.stderr.to_lowercase();
                let named = said.contains(&extension.to_lowercase()) || said.contains("'future'");
                assert!(named, "{about}: {answer:?}");
                assert!(known || !sandbox.root().join(".git/heddle").exists(), "{about}");
                continue;
            }
            let reserved = answer.exits(0).json();
            let (session, path) = (text(&reserved, "session_id"), text(&reserved, "path"));
            put(path.as_ref(), "work", "work\n");
            let capture = ["agent", "ready", "--session", &session, "-m", "work"];
            sandbox.heddle_in(path.as_ref(), &capture).exits(0);
            sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
            sandbox.heddle(&["thread", "land", "fix"]).exits(0);
            assert_eq!(sandbox.git(&["log", "--format=%s", "main"]), "work\nfirst", "{about}");
        }
    }
}

#[test]
fn a_session_lives_on_when_git_moves_its_refs_to_the_other_format() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let session = text(&sandbox.reserve("fix", &[]), "session_id");
        put(&sandbox.root(), "work", "one\n");
        sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "one"]).exits(0);
        let to = if format.reftable { "--ref-format=files" } else { "--ref-format=reftable" };
        let moved = sandbox.try_git(&sandbox.root(), &["refs", "migrate", to]);
        if moved.code != 0 {
            println!("skipped: this Git does not move them: {}", moved.stderr);
            return;
        }
        sandbox.heddle(&["agent", "heartbeat", "--session", &session]).exits(0);
        put(&sandbox.root(), "work", "two\n");
        sandbox.heddle(&["agent", "capture", "--session", &session, "-m", "two"]).exits(0);
        sandbox.heddle(&["agent", "ready", "--session", &session]).exits(0);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
        let log = sandbox.git(&["log", "--format=%s", "refs/heddle/threads/fix"]);
        assert_eq!(log, "two\none\nfirst", "{}", format.name());
        assert_eq!(sandbox.heddle(&["doctor"]).exits(0).stdout, "nothing to repair\n", "{}", format.name());
    }
}

/// How many programs a command starts that succeeds, and those that these start.
fn started(sandbox: &Sandbox, args: &[&str]) -> (Value, usize) {
    let trace = sandbox.home().join("trace");
    let path = trace.to_string_lossy();
    let strace = ["-f", "-qq", "-e", "trace=execve", "-o", &path, env!("CARGO_BIN_EXE_git-heddle")];
    let mut command = sandbox.program("strace", &sandbox.root(), &[&strace, args].concat());
    let answer = Answer::of(&command.output().expect("strace")).exits(0);
    let calls = fs::read_to_string(&trace).expect("a trace");
    // Those that are looked for in folders where they are not fail.
    let programs = calls.lines().filter(|call| call.contains("execve") && call.ends_with(" = 0")).count();
    (answer.json(), programs - 1)
}

#[test]
fn the_reservation_loop_starts_hardly_any_process() {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        println!("skipped: there is no strace here");
        return;
    }
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        let held = usize::from(format.reftable);
        let (answer, reserve) = started(&sandbox, &["agent", "reserve", "--thread", "t", "--anchor", "main"]);
        let session = text(&answer, "session_id");
        let (_, heartbeat) = started(&sandbox, &["agent", "heartbeat", "--session", &session]);
        let (_, list) = started(&sandbox, &["agent", "list"]);
        let (_, release) = started(&sandbox, &["agent", "release", "--session", &session]);
        let (_, again) = started(&sandbox, &["agent", "reserve", "--thread", "t"]);
        let counts = [reserve, heartbeat, list, release, again];
        assert_eq!(counts, [held, 0, 0, held, held], "{}", format.name());
    }
}

/// As Git before 2.45 ends in such a repository.
#[test]
fn a_git_that_is_too_old_for_the_repository_is_told_in_one_sentence() {
    let script = r#"case "$*" in *update-ref*) ;; *) exec "$GIT" "$@" ;; esac
printf 'fatal: unknown repository extension found:\n\trefstorage\n' >&2
exit 128
"#;
    for format in ALL.into_iter().filter(|format| format.reftable) {
        let mut sandbox = Sandbox::for_the_library(format);
        replace_git(&mut sandbox, script);
        let refused = sandbox.heddle(&["agent", "reserve", "--thread", "t"]).exits(128);
        let said = "too old for its extension 'refstorage': refs in tables need Git 2.45";
        assert!(refused.stderr.contains(said), "{}: {refused:?}", format.name());
        assert_eq!(sandbox.heddle(&["agent", "list"]).exits(0).json(), serde_json::json!([]));
        assert_eq!(sandbox.git(&["for-each-ref", "refs/heddle"]), "", "{}", format.name());
    }
}

#[test]
fn an_extension_that_nobody_knows_is_named_in_one_sentence() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        sandbox.git(&["config", "core.repositoryFormatVersion", "1"]);
        sandbox.git(&["config", "extensions.tomorrow", "true"]);
        for args in [&["agent", "list"][..], &["agent", "reserve", "--thread", "t"]] {
            let refused = sandbox.heddle(args).exits(128);
            let line = refused.stderr.trim_end();
            assert!(
                line.starts_with("error: cannot use the repository at") && !line.contains('\n'),
                "{refused:?}"
            );
            assert!(line.contains("it has the extension 'tomorrow', which "), "{refused:?}");
        }
        assert!(!sandbox.root().join(".git/heddle").exists(), "{}", format.name());
    }
}

/// A git that holds the lock on all refs for somebody else.
fn hold(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.program("git", &sandbox.root(), &["update-ref", "--stdin", "-z"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git");
    let stdin = child.stdin.as_mut().expect("stdin");
    stdin.write_all(b"start\0create refs/heads/elsewhere\0HEAD\0prepare\0").expect("written");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(lines.any(|line| line.expect("a line") == "prepare: ok"));
    child
}

fn release(mut holder: Child) {
    drop(holder.stdin.take());
    holder.wait().expect("git");
}

#[test]
fn a_lock_on_all_refs_is_waited_for_and_is_no_conflict() {
    for format in ALL.into_iter().filter(|format| format.reftable) {
        let sandbox = Sandbox::for_the_library(format);
        let reserved = sandbox.reserve("t", &[]);
        let session = text(&reserved, "session_id");
        put(&sandbox.root(), "work", "work\n");
        // Longer than Git itself waits, which is a tenth of a second.
        let holder = hold(&sandbox);
        let commands = [
            vec!["agent", "reserve", "--thread", "other"],
            vec!["agent", "capture", "--session", &session, "-m", "work"],
        ];
        let waiting: Vec<Child> = commands
            .iter()
            .map(|args| {
                sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("heddle")
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400));
        release(holder);
        for waiting in waiting {
            let ended = waiting.wait_with_output().expect("heddle");
            assert!(ended.status.success(), "{}: {ended:?}", format.name());
        }
        // Longer than we are to wait.
        sandbox.git(&["config", "heddle.lockTimeout", "200ms"]);
        let holder = hold(&sandbox);
        for args in [
            &["agent", "reserve", "--thread", "third"][..],
            &["agent", "release", "--session", &session],
            &["agent", "ready", "--session", &session, "--no-capture"],
        ] {
            let refused = sandbox.refused(75, args);
            assert!(refused.stderr.contains("tables.list.lock"), "{}: {args:?} {refused:?}", format.name());
        }
        release(holder);
        sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
    }
}

/// The git that holds the lock is killed as soon as it is told what is to become of it, and heddle
/// with it: the lock stays, and is known to be ours.
#[test]
fn a_lock_that_a_killed_git_left_is_removed_by_the_next_command_and_no_other_is() {
    let script = r#"case "$*" in *update-ref*--stdin*) ;; *) exec "$GIT" "$@" ;; esac
[ ! -e "$HOME/harmless" ] || exec "$GIT" "$@"
mkfifo "$HOME/fifo.$$"
"$GIT" "$@" <"$HOME/fifo.$$" &
exec 3>"$HOME/fifo.$$"
sed -zu '/^commit$/Q' >&3
kill -9 $! $PPID
"#;
    for format in ALL.into_iter().filter(|format| format.reftable) {
        let mut sandbox = Sandbox::for_the_library(format);
        let lock = sandbox.root().join(".git/reftable/tables.list.lock");
        replace_git(&mut sandbox, script);
        let harmless = sandbox.home().join("harmless");
        put(sandbox.home(), "harmless", "");
        let session = text(&sandbox.reserve("held", &[]), "session_id");
        put(&sandbox.root(), "work", "work\n");
        for (args, after) in [
            (vec!["agent", "reserve", "--thread", "t"], vec!["agent", "reserve", "--thread", "t"]),
            (
                vec!["agent", "capture", "--session", &session, "-m", "work"],
                vec!["agent", "capture", "--session", &session, "-m", "work"],
            ),
            (
                vec!["agent", "release", "--session", &session],
                vec!["agent", "reserve", "--thread", "held", "--resume"],
            ),
        ] {
            fs::remove_file(&harmless).expect("removed");
            let killed = sandbox.heddle(&args);
            assert!(killed.code < 0 && lock.exists(), "{}: {args:?} {killed:?}", format.name());
            put(sandbox.home(), "harmless", "");
            sandbox.heddle(&after).exits(0);
            assert!(!lock.exists(), "{}: {args:?}", format.name());
            assert_eq!(sandbox.heddle(&["doctor"]).exits(0).stdout, "nothing to repair\n");
        }
        // Nothing tells that this one is ours.
        sandbox.git(&["config", "heddle.lockTimeout", "100ms"]);
        fs::write(&lock, "").expect("lock");
        sandbox.refused(75, &["agent", "reserve", "--thread", "u"]);
        assert!(lock.exists());
        // A git of another test that ends while it is looked at may hold it, for all one can tell.
        let tries = (0..100).take_while(|_| sandbox.heddle(&["doctor", "--fix"]).code >= 0 && lock.exists());
        assert!(tries.count() < 100, "nobody alive can hold it");
        sandbox.heddle(&["agent", "reserve", "--thread", "u"]).exits(0);
    }
}

#[test]
fn the_git_that_starts_the_doctor_holds_no_lock_unless_its_hook_does() {
    for format in ALL {
        let sandbox = Sandbox::for_the_library(format);
        sandbox.reserve("fix", &[]);
        let lock = sandbox.root().join(".git").join(format.lock_of("refs/heddle/threads/fix"));
        // A git of another test that ends while it is looked at may hold it, for all one can tell; the
        // one that starts the doctor could each time, as it is as old as the lock.
        let removed = (0..20).any(|_| {
            fs::write(&lock, "").expect("lock");
            sandbox.try_git(&sandbox.root(), &["heddle", "doctor", "--fix"]);
            !lock.exists()
        });
        assert!(removed, "{}", format.name());
        let hook = sandbox.root().join(".git/hooks/reference-transaction");
        let script = "#!/bin/sh\n[ $1 = prepared ] || exit 0\n(exec git heddle doctor --fix >>\"$HOME/said\")\nexit 0\n";
        fs::create_dir_all(hook.parent().expect("folder")).expect("folder");
        write_program(hook, script);
        sandbox.git(&["update-ref", "refs/heads/other", "HEAD"]);
        let said = fs::read_to_string(sandbox.home().join("said")).expect("the doctor");
        assert!(said.contains("(git) may hold"), "{}: {said}", format.name());
        assert_eq!(sandbox.git(&["rev-parse", "other"]), sandbox.git(&["rev-parse", "HEAD"]));
    }
}

#[test]
fn a_git_that_was_told_of_this_repository_may_hold_a_lock_and_one_of_another_may_not() {
    let _alone = LOCKS_OF_GIT.lock();
    let sandbox = Sandbox::new();
    let (lock, other) = (sandbox.root().join(".git/packed-refs.lock"), sandbox.home().join("other"));
    sandbox.git(&["init", "--quiet", &other.to_string_lossy()]);
    // Each waits for a question while the doctor looks.
    let doctor_beside = |git_dir: &str| {
        let mut git = sandbox.program("git", &other, &["cat-file", "--batch"]);
        let mut git =
            git.env("GIT_DIR", git_dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git");
        // An answer tells that it is a Git by now.
        let questions = git.stdin.as_mut().expect("questions");
        writeln!(questions, "{}", "0".repeat(40)).expect("asked");
        let mut answer = String::new();
        BufReader::new(git.stdout.as_mut().expect("answers")).read_line(&mut answer).expect("answered");
        fs::write(&lock, "").expect("lock");
        let doctor = sandbox.heddle(&["doctor", "--fix"]);
        drop(git.stdin.take());
        git.wait().expect("ends");
        doctor
    };
    let absolute = sandbox.root().join(".git");
    let relative = format!("../{}/.git", sandbox.root().file_name().expect("name").to_string_lossy());
    for git_dir in [&*absolute.to_string_lossy(), &*relative] {
        let kept = doctor_beside(git_dir).exits(1);
        assert!(kept.stdout.contains("(git) may hold") && lock.exists(), "{git_dir}: {kept:?}");
    }
    for git_dir in [".git", &*other.join(".git").to_string_lossy()] {
        doctor_beside(git_dir).exits(0);
        assert!(!lock.exists(), "{git_dir}");
    }
}

#[test]
fn a_lock_that_was_given_back_since_git_met_it_is_worth_another_try() {
    let mut sandbox = Sandbox::new();
    if sandbox.format.reftable {
        return;
    }
    let reserved = sandbox.reserve("t", &[]);
    sandbox.heddle(&["agent", "release", "--session", &text(&reserved, "session_id")]).exits(0);
    // It meets the lock of another drop, which is gone before heddle looks.
    let said = "fatal: prepare: cannot lock ref 'refs/heddle/threads/t': Unable to create \
                '/repo/.git/refs/heddle/threads/t.lock': File exists.";
    let script = format!(
        "case \" $* \" in *' update-ref '*) echo \"{said}\" >&2; exit 128;; esac; exec \"$GIT\" \"$@\""
    );
    replace_git(&mut sandbox, &script);
    let refused = sandbox.heddle(&["thread", "drop", "t"]).exits(75);
    assert!(refused.stderr.contains("refs/heddle/threads/t.lock"), "{refused:?}");
}

#[test]
fn a_watcher_of_another_worktree_holds_no_lock() {
    let _alone = LOCKS_OF_GIT.lock();
    let watched = Sandbox::new();
    let session = text(&watched.reserve("t", &["--watch"]), "session_id");
    // It stands in the root folder, and is older than this repository.
    let sandbox = Sandbox::new();
    let lock = sandbox.root().join(".git/refs/heads/main.lock");
    // A git of another test may be there, and ends; the watcher stays.
    let removed = (0..20).any(|_| {
        fs::write(&lock, "").expect("written");
        sandbox.heddle(&["doctor", "--fix"]);
        !lock.exists()
    });
    watched.heddle(&["agent", "release", "--session", &session]).exits(0);
    assert!(removed);
}

/// Held by tests of which one has a Git that may work anywhere, for all one can tell.
static LOCKS_OF_GIT: Mutex<()> = Mutex::new(());

#[test]
fn no_lock_is_taken_from_a_git_wherever_it_stands() {
    let _alone = LOCKS_OF_GIT.lock();
    let sandbox = Sandbox::new();
    // Its transactions are held up, with the locks taken, until a file is there.
    let templates = sandbox.home().join("templates");
    fs::create_dir_all(templates.join("hooks")).expect("folder");
    let script = "#!/bin/sh\ncat >/dev/null\n[ \"$1\" = prepared ] || exit 0\n: >\"$HOME/held\"\n\
        while ! [ -e \"$HOME/go\" ]; do sleep 0.02; done\n";
    write_program(templates.join("hooks/reference-transaction"), script);
    let template = format!("--template={}", templates.display());
    let beside = sandbox.home().join("beside");
    fs::create_dir_all(&beside).expect("folder");
    sandbox.git_in(&beside, &["init", "--quiet", "--separate-git-dir=../apart.git", "-b", "main", "."]);
    sandbox.git_in(&beside, &["commit", "--quiet", "--allow-empty", "-m", "first"]);
    sandbox.git_in(&beside, &["worktree", "add", "--quiet", "../linked"]);
    for repository in [sandbox.root().join(".git"), sandbox.home().join("apart.git")] {
        let hooks = repository.join("hooks");
        fs::create_dir_all(&hooks).expect("folder");
        write_program(hooks.join("reference-transaction"), script);
    }
    let (root, linked, clone) = (sandbox.root(), sandbox.home().join("linked"), sandbox.home().join("clone"));
    let source = root.to_string_lossy().into_owned();
    let cases: [(&Path, &[&str], &Path); 3] = [
        (&root, &["--work-tree=../beside", "commit", "--quiet", "--allow-empty", "-m", "x"], &root),
        (&beside, &["update-ref", "refs/heads/other", "HEAD"], &linked),
        (sandbox.home(), &["clone", "--quiet", &template, &source, "clone"], &clone),
    ];
    for (stands, args, doctors) in cases {
        let mut git = sandbox.program("git", stands, args).stderr(Stdio::piped()).spawn().expect("git");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !sandbox.home().join("held").exists() {
            assert!(Instant::now() < deadline && git.try_wait().expect("a process").is_none(), "{args:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let doctor = sandbox.heddle_in(doctors, &["doctor", "--fix"]).exits(1);
        fs::write(sandbox.home().join("go"), "").expect("written");
        let git = git.wait_with_output().expect("ends");
        assert!(git.status.success(), "{args:?}: {git:?}\n{doctor:?}");
        assert!(doctor.stdout.contains("(git) may hold"), "{args:?}: {doctor:?}");
        for name in ["held", "go"] {
            fs::remove_file(sandbox.home().join(name)).expect("removed");
        }
    }
}

#[test]
fn the_doctor_is_in_no_gits_way() {
    let sandbox = Sandbox::new();
    let first = sandbox.git(&["rev-parse", "HEAD"]);
    let second = sandbox.commit("second");
    std::thread::scope(|scope| {
        let git = scope.spawn(|| {
            for round in 0..150 {
                let to = if round % 2 == 0 { &second } else { &first };
                sandbox.git(&["-c", "heddle.hooks=off", "update-ref", "refs/heddle/threads/t", to]);
            }
        });
        while !git.is_finished() {
            let doctor = sandbox.heddle(&["doctor", "--fix"]);
            assert!(!doctor.stdout.contains("nobody alive"), "{doctor:?}");
        }
    });
}

#[test]
fn nobody_loses_a_thread_to_a_command_whose_refs_no_log_would_take() {
    let long = &*"x".repeat(4096);
    for format in ALL {
        let takes = !format.reftable;
        for command in [
            ["rename", "fix", "new", "--force"].as_slice(),
            &["drop", "fix", "--force"],
            &["promote", "fix", "--force"],
        ] {
            let sandbox = Sandbox::for_the_library(format);
            let session = text(&sandbox.reserve("fix", &[]), "session_id");
            let args = [&["thread"], command].concat();
            let about = format!("{} {command:?}", format.name());
            let named = |name| [("GIT_COMMITTER_NAME", name)];
            if !takes {
                let refused = sandbox.refused_with(&named(long), 128, &args);
                assert!(refused.stderr.contains("shorten user.name"), "{about}: {refused:?}");
                let shown = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
                assert_eq!(shown["status"], "active", "{about}");
            }
            // What does fit is not refused.
            let fits = if takes { long } else { &long[..3_600] };
            sandbox.heddle_with(&named(fits), &args).exits(0);
        }
    }
}

#[test]
fn a_drop_that_comes_upon_a_ref_which_just_moved_says_so_and_ends_nobody() {
    for (format, moved) in ALL.into_iter().flat_map(|format| {
        ["refs/heddle/ready/fix", "refs/heddle/dropped/fix/1"].map(|moved| (format, moved))
    }) {
        let mut sandbox = Sandbox::for_the_library(format);
        let session = text(&sandbox.reserve("fix", &[]), "session_id");
        put(&sandbox.root(), "work", "work\n");
        sandbox.heddle(&["agent", "ready", "--session", &session, "-m", "work"]).exits(0);
        let (flag, head) = (sandbox.home().join("flag"), sandbox.git(&["rev-parse", "HEAD"]));
        let script = format!(
            "case \"$*\" in *update-ref*) [ -e '{flag}' ] || {{ : >'{flag}'; \
             \"$GIT\" -C '{root}' update-ref {moved} {head}; }} ;; esac\nexec \"$GIT\" \"$@\"\n",
            flag = flag.display(),
            root = sandbox.root().display(),
        );
        replace_git(&mut sandbox, &script);
        let refused = sandbox.heddle(&["thread", "drop", "fix", "--force"]).exits(4);
        assert!(refused.stderr.contains(moved), "{refused:?}");
        let shown = sandbox.heddle(&["agent", "show", &session]).exits(0).json();
        assert_eq!(shown["status"], "active", "{}", format.name());
    }
}
