//! A capture in a watched worktree looks at what changed, and comes to the tree that a look at
//! everything comes to; whatever becomes of the watcher.

#[expect(dead_code, reason = "the sandbox serves other tests too")]
mod support;
mod support_dice;
mod support_program;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Answer, Sandbox, put, text};
use support_dice::{Dice, place, remove};
use support_program::write_program;

/// What `-v` says of a capture that asked the watcher.
const FEW: &str = "looked at ";
const ALL: &str = "looked at everything: ";

/// A session that is run, and the worktree that is watched for it.
struct Watched {
    sandbox: Sandbox,
    runner: Child,
    session: String,
    root: PathBuf,
}

impl Watched {
    /// Runs a command that does nothing, in a worktree of its own or in the user's.
    fn start(sandbox: Sandbox, own: bool) -> Self {
        let mut args = vec!["agent", "run", "--thread", "work", "--no-capture"];
        args.extend(own.then_some("--worktree"));
        args.extend(["--", "sleep", "1000"]);
        let runner = sandbox.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run");
        let mut watched = Self { root: sandbox.root(), sandbox, runner, session: String::new() };
        let list = until(|| {
            let list = watched.sandbox.heddle(&["agent", "list", "--alive-only", "--json"]).json();
            list[0]["holder"]["pid"].is_number().then_some(list)
        });
        watched.session = text(&list[0], "session_id");
        if own {
            watched.root = PathBuf::from(text(&list[0], "path"));
        }
        until(|| watched.socket().exists().then_some(()));
        watched
    }

    fn git_dir(&self) -> PathBuf {
        let folder = self.sandbox.git_in(&self.root, &["rev-parse", "--absolute-git-dir"]);
        PathBuf::from(folder)
    }

    fn socket(&self) -> PathBuf {
        self.git_dir().join(format!("heddle-watch-{}", self.session)).join("socket")
    }

    fn capture(&self, more: &[&str]) -> Answer {
        let args = [&["agent", "capture", "-v", "--session", &self.session, "-m", "x"], more].concat();
        self.sandbox.heddle_in(&self.root, &args)
    }

    /// Captures until a capture has looked at what changed alone.
    fn settle(&self) {
        until(|| {
            let answer = self.capture(&[]).exits(0);
            says_few(&answer).then_some(())
        });
    }

    /// What `git add -A && git write-tree` makes of the worktree on an index of its own.
    fn expected(&self) -> Option<String> {
        let index = self.sandbox.home().join("index-of-test");
        let _ = fs::remove_file(&index);
        let git = |args: &[&str]| {
            let output = self.sandbox.program("git", &self.root, args).env("GIT_INDEX_FILE", &index).output();
            Answer::of(&output.expect("git"))
        };
        git(&["read-tree", &self.sandbox.tip("work")]).exits(0);
        let added = git(&["add", "-A"]);
        let embedded = git(&["ls-files", "-s"]).stdout.contains("160000");
        (added.code == 0 && !embedded).then(|| git(&["write-tree"]).stdout.trim().to_owned())
    }

    /// Captures, and compares with what is expected; whether that was by what changed alone.
    #[track_caller]
    fn check(&self, why: &str) -> bool {
        let expected = self.expected();
        let answer = self.capture(&[]);
        match &expected {
            None => assert_ne!(answer.code, 0, "{why}: {answer:?}"),
            Some(tree) => {
                assert_eq!(answer.code, 0, "{why}: {answer:?}");
                assert_eq!(text(&answer.json(), "tree"), *tree, "{why}: {answer:?}");
            }
        }
        if expected.is_some() && self.root != self.sandbox.root() {
            self.check_index(why);
        }
        says_few(&answer)
    }

    /// Compares the worktree's own index with the thread, down to what it remembers of trees.
    #[track_caller]
    fn check_index(&self, why: &str) {
        let tree = self.sandbox.git(&["rev-parse", "refs/heddle/threads/work^{tree}"]);
        assert_eq!(self.sandbox.git_in(&self.root, &["write-tree"]), tree, "{why}");
        let index = self.sandbox.home().join("index-of-test");
        let _ = fs::remove_file(&index);
        let entries = self.sandbox.git_in(&self.root, &["ls-files", "-s"]);
        let mut anew = self.sandbox.program("git", &self.root, &["update-index", "--index-info"]);
        let mut anew = anew.env("GIT_INDEX_FILE", &index).stdin(Stdio::piped()).spawn().expect("git");
        writeln!(anew.stdin.take().expect("input"), "{entries}").expect("entries");
        assert!(anew.wait().expect("git").success(), "{why}");
        let made =
            self.sandbox.program("git", &self.root, &["write-tree"]).env("GIT_INDEX_FILE", &index).output();
        assert_eq!(Answer::of(&made.expect("git")).stdout.trim(), tree, "{why}");
        assert_eq!(
            self.sandbox.git_in(&self.root, &["--no-optional-locks", "status", "--porcelain"]),
            "",
            "{why}"
        );
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.runner.id().cast_signed());
        let _ = kill(pid, Signal::SIGCONT);
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.runner.wait();
    }
}

fn says_few(answer: &Answer) -> bool {
    answer.stderr.contains(FEW) && !answer.stderr.contains(ALL)
}

/// Waits until there is something.
#[track_caller]
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it did not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rounds() -> u64 {
    std::env::var("HEDDLE_WATCHED").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// A repository with some files.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for path in ["a/x", "a/b/y", "a/b/z", "c/d/e.txt", "c/f", "g", "h.tmp", "s p/\u{e4}"] {
        place(&sandbox.root(), path, |path| fs::write(path, "one\n").expect("write"));
    }
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "Files"]);
    sandbox
}

const FILES: [&str; 16] = [
    "a/x",
    "a/b/y",
    "a/b/z",
    "a/b",
    "a",
    "c/d/e.txt",
    "c/f",
    "g",
    "h.tmp",
    "i.tmp",
    "n/m/o",
    "n/m",
    "c/i.tmp",
    "build/out/1",
    "s p/\u{e4}",
    ":x*[y]",
];
const FOLDERS: [&str; 8] = ["a", "a/b", "c", "c/d", "n", "n/m", "build", "s p"];
const RULES: [&str; 5] = ["*.tmp\n", "build/\n", "", "c/\n!*.txt\n", "n\n"];

/// Does something to the worktree.
fn disturb(watched: &Watched, dice: &mut Dice) -> String {
    let (root, sandbox) = (&watched.root, &watched.sandbox);
    let (path, other) = (dice.pick(&FILES), dice.pick(&FILES));
    let (folder, to) = (dice.pick(&FOLDERS), dice.pick(&FOLDERS));
    let content = ["one\n", "two\n", "three\n", "", "four\nfive\n"][dice.roll(5)];
    let outside = sandbox.home().join("outside");
    match dice.roll(17) {
        0..=3 => {
            place(root, path, |path| fs::write(path, content).expect("write"));
            format!("write {path}")
        }
        4 => {
            remove(&root.join(path));
            format!("remove {path}")
        }
        5 => {
            let gone = fs::rename(root.join(path), root.join(other)).is_ok();
            format!("rename {path} {other} {gone}")
        }
        6 => {
            let gone = fs::rename(root.join(folder), root.join(to)).is_ok();
            format!("rename {folder} {to} {gone}")
        }
        7 => {
            // Out of the tree, changed there, and back in elsewhere.
            remove(&outside);
            if fs::rename(root.join(folder), &outside).is_ok() && dice.roll(2) == 0 {
                if outside.is_dir() && !outside.is_symlink() {
                    fs::write(outside.join("while-away"), content).expect("write");
                }
                let _ = fs::rename(&outside, root.join(to));
            }
            format!("away {folder} {to}")
        }
        8 => {
            let mode = if dice.roll(2) == 0 { 0o755 } else { 0o644 };
            let path = root.join(path);
            if path.is_file() && !path.is_symlink() {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            }
            format!("mode {path:?} {mode:o}")
        }
        9 => {
            let to = dice.pick(&["g", "a"]);
            place(root, path, |path| symlink(to, path).expect("link"));
            format!("link {path}")
        }
        10 => {
            let rules = [".gitignore", "c/.gitignore", "a/b/.gitignore"][dice.roll(3)];
            if dice.roll(3) == 0 {
                remove(&root.join(rules));
            } else {
                let content = dice.pick(&RULES);
                place(root, rules, |path| fs::write(path, content).expect("write"));
            }
            format!("rules {rules}")
        }
        11 => {
            // A repository in the repository, with a commit or without.
            place(root, &format!("{folder}/in"), |path| fs::write(path, content).expect("write"));
            sandbox.git_in(&root.join(folder), &["init", "-q"]);
            if dice.roll(2) == 0 {
                sandbox.try_git(&root.join(folder), &["commit", "-q", "--allow-empty", "-m", "in"]);
            }
            format!("repository {folder}")
        }
        12 => {
            for folder in FOLDERS {
                remove(&root.join(folder).join(".git"));
            }
            "no repositories".to_owned()
        }
        13 => {
            let linked =
                root.join(path).is_file() && fs::hard_link(root.join(path), root.join("other-name")).is_ok();
            if linked && dice.roll(2) == 0 {
                File::options()
                    .append(true)
                    .open(root.join(path))
                    .expect("open")
                    .write_all(b"+")
                    .expect("write");
            }
            format!("second name {path} {linked}")
        }
        14 => {
            remove(&root.join("other-name"));
            for number in 0..dice.roll(40) {
                place(root, &format!("build/{number}/f"), |path| fs::write(path, content).expect("write"));
            }
            "many".to_owned()
        }
        15 => {
            let command: &[&str] = [
                &["status"][..],
                &["add", "-A"],
                &["rm", "-q", "--cached", "--ignore-unmatch", "g"],
                &["commit", "-q", "--no-verify", "-m", "by hand"],
                &["stash", "-q", "-u"],
                &["update-index", "--assume-unchanged", "g"],
                &["update-index", "--no-assume-unchanged", "g"],
            ][dice.roll(7)];
            let code = if watched.root == sandbox.root() && command[0] == "commit" {
                // That would move the user's branch away from the thread.
                0
            } else {
                sandbox.try_git(root, command).code
            };
            format!("git {command:?} {code}")
        }
        _ => {
            let answer = watched.capture(&["--", path]);
            format!("capture {path} {}", answer.code)
        }
    }
}

/// Random edits; how many captures looked at what changed alone, and how many at everything.
fn random(seed: u64, own: bool) -> (usize, usize) {
    let mut dice = Dice(seed);
    let watched = Watched::start(sandbox(), own);
    watched.settle();
    let (mut few, mut all) = (0, 0);
    for round in 0..30 {
        let mut done = Vec::new();
        for _ in 0..=dice.roll(4) {
            done.push(disturb(&watched, &mut dice));
        }
        // What is told to be overlooked is overlooked by the one index and not by the other.
        watched.sandbox.try_git(&watched.root, &["update-index", "--no-assume-unchanged", "g"]);
        let by_watcher = watched.check(&format!("seed {seed} own {own} round {round} {done:?}"));
        *(if by_watcher { &mut few } else { &mut all }) += 1;
    }
    (few, all)
}

#[test]
fn after_random_edits_the_tree_is_that_of_a_look_at_everything() {
    let (mut few, mut all) = (0, 0);
    for seed in 0..rounds() {
        for own in [true, false] {
            let found = random(seed, own);
            println!("seed {seed} own {own}: {found:?}");
            (few, all) = (few + found.0, all + found.1);
        }
    }
    assert!(few > 10 && all > 0, "{few} {all}");
}

#[test]
fn a_runner_that_was_killed_leaves_captures_that_look_at_everything() {
    let mut watched = Watched::start(sandbox(), true);
    watched.settle();
    let stale = watched.socket();
    watched.runner.kill().expect("kill");
    watched.runner.wait().expect("wait");
    put(&watched.root, "g", "two\n");
    let is_found = || watched.sandbox.heddle(&["doctor"]).stdout.contains("heddle-watch-");
    assert!(stale.exists() && is_found());
    let answer = watched.capture(&[]).exits(0);
    assert!(
        answer.stderr.contains("looked at everything: the watcher was asked in vain: it is gone"),
        "{answer:?}"
    );
    let stale = stale.parent().expect("folder");
    assert!(!stale.exists() && !is_found());
    put(&watched.root, "g", "three\n");
    assert!(!watched.check("after the watcher"));
    let command = watched.sandbox.heddle(&["agent", "show", &watched.session]).json();
    let pid = command["holder"]["pid"].as_i64().expect("pid");
    let _ = kill(Pid::from_raw(i32::try_from(pid).expect("pid")), Signal::SIGKILL);
    // The same of one that watched for a session before.
    let reserve = ["agent", "reserve", "--thread", "work", "--worktree", "--resume"];
    let next = until(|| Some(watched.sandbox.heddle(&reserve)).filter(|next| next.code == 0));
    let next = text(&next.json(), "session_id");
    for command in [
        &["agent", "capture", "--allow-empty", "-m", "x", "--session", &next][..],
        &["gc"],
        &["doctor", "--fix"],
        &reserve,
    ] {
        fs::DirBuilder::new().mode(0o700).create(stale).expect("folder");
        put(stale, "alive", "");
        if command == reserve {
            put(&watched.root, "left", "not captured, so that the worktree stays\n");
            watched.sandbox.heddle(&["agent", "release", "--session", &next]).exits(0);
            assert!(stale.exists());
        }
        watched.sandbox.heddle_in(&watched.root, command).exits(0);
        assert!(!stale.exists(), "{command:?}");
    }
}

#[test]
fn a_runner_that_is_stopped_keeps_no_capture_waiting() {
    let watched = Watched::start(sandbox(), true);
    watched.settle();
    let runner = Pid::from_raw(watched.runner.id().cast_signed());
    kill(runner, Signal::SIGSTOP).expect("stop");
    put(&watched.root, "g", "two\n");
    assert!(!watched.check("stopped"));
    // More than the system queues, which takes two that are alike and follow each other for one.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("limit");
    for number in 0..most.trim().parse::<u32>().expect("a number") + 10 {
        let mode = fs::Permissions::from_mode(if number % 4 < 2 { 0o755 } else { 0o644 });
        fs::set_permissions(watched.root.join(["a/x", "c/f"][number as usize % 2]), mode).expect("mode");
    }
    kill(runner, Signal::SIGCONT).expect("continue");
    let answer = watched.capture(&[]).exits(0);
    assert!(answer.stderr.contains(ALL), "{answer:?}");
    put(&watched.root, "a/b/y", "after\n");
    watched.check("while changes are lost");
    watched.settle();
    put(&watched.root, "a/b/y", "later\n");
    assert!(watched.check("watched again"));
}

#[test]
fn what_a_mapping_wrote_is_captured_at_the_latest_when_it_is_declared_ready() {
    let watched = Watched::start(sandbox(), true);
    watched.settle();
    let script = "import mmap, sys\n\
        file = open('g', 'r+b')\n\
        memory = mmap.mmap(file.fileno(), 0)\n\
        print('mapped', flush=True)\n\
        sys.stdin.readline()\n\
        memory[0:3] = b'two'\n\
        memory.flush()\n\
        print('written', flush=True)\n\
        sys.stdin.readline()\n";
    let mut python = watched.sandbox.program("python3", &watched.root, &["-c", script]);
    let Ok(mut python) = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return };
    let mut said = std::io::BufReader::new(python.stdout.take().expect("output"));
    let mut told = python.stdin.take().expect("input");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    watched.settle();
    told.write_all(b"\n").expect("write");
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    // Nobody is told of it.
    watched.capture(&[]).exits(0);
    let args = ["agent", "ready", "--session", &watched.session];
    watched.sandbox.heddle_in(&watched.root, &args).exits(0);
    assert_eq!(watched.sandbox.git(&["show", "refs/heddle/threads/work:g"]), "two");
    put(&watched.root, "g", "six\n");
    watched.settle();
    drop(told);
    python.wait().expect("python");
    assert!(watched.check("the mapping was undone"));
}

#[test]
fn rules_beside_the_worktree_are_noticed() {
    let watched = Watched::start(sandbox(), false);
    place(&watched.root, "build/out", |path| fs::write(path, "out\n").expect("write"));
    let exclude = watched.root.join(".git/info/exclude");
    fs::create_dir_all(exclude.parent().expect("info")).expect("folder");
    fs::write(&exclude, "build/\n").expect("write");
    watched.settle();
    fs::write(&exclude, "").expect("write");
    assert!(!watched.check("info/exclude"));
    watched.settle();
    place(&watched.root, "build/out", |path| fs::write(path, "more\n").expect("write"));
    assert!(watched.check("no rule"));
    watched.sandbox.git(&["config", "core.excludesFile", "~/ignored"]);
    put(watched.sandbox.home(), "ignored", "*.new\n");
    put(&watched.root, "1.new", "");
    assert!(!watched.check("configuration"));
    watched.settle();
    put(watched.sandbox.home(), "ignored", "");
    assert!(!watched.check("the user's rules"));
}

#[test]
fn nobody_watches_where_that_is_not_wanted_and_nothing_is_left_over() {
    let sandbox = sandbox();
    sandbox.git(&["config", "heddle.watch", "false"]);
    let list = "ls $(git rev-parse --git-dir) | grep heddle-watch";
    let run = |thread: &str, line: &str| {
        let args = ["agent", "run", "--thread", thread, "--worktree", "--", "sh", "-c", line];
        sandbox.heddle(&args)
    };
    let wait = format!("sleep 1; {list}");
    run("off", &wait).exits(1);
    sandbox.git(&["config", "heddle.watch", "true"]);
    assert!(
        run("on", &format!("until {list}; do sleep 0.05; done")).exits(0).stdout.contains("heddle-watch-")
    );
    let watched = Watched::start(sandbox, false);
    let git_dir = watched.git_dir();
    drop(watched);
    let names = fs::read_dir(git_dir).map(|entries| entries.flatten().count());
    // The sandbox is gone as well.
    assert!(names.is_err());
}

#[test]
fn an_answer_out_of_the_worktree_is_not_believed() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::MetadataExt as _;
    let sandbox = sandbox();
    let session = text(&sandbox.reserve("work", &[]), "session_id");
    let folder = sandbox.root().join(".git").join(format!("heddle-watch-{session}"));
    fs::DirBuilder::new().mode(0o700).create(&folder).expect("folder");
    // By which it counts as alive.
    let alive = File::create(folder.join("alive")).expect("file");
    alive.try_lock().expect("lock");
    let listener = std::os::unix::net::UnixListener::bind(folder.join("socket")).expect("socket");
    let meta = fs::metadata(sandbox.root()).expect("root");
    let (dev, ino) = (meta.dev(), meta.ino());
    let liar = std::thread::spawn(move || {
        for paths in ["f../outside\0", "f/etc/passwd\0", "fg\0", "f.git/config\0"] {
            let (mut stream, _) = listener.accept().expect("a question");
            BufReader::new(stream.try_clone().expect("clone")).read_line(&mut String::new()).expect("a line");
            let head = format!(
                "{{\"version\":1,\"now\":{{\"watcher\":\"w\",\"at\":1}},\"root\":[{dev},{ino}],\"unknown\":null,\"paths\":1}}\n"
            );
            stream.write_all((head + paths).as_bytes()).expect("answer");
        }
    });
    let args = ["agent", "capture", "-v", "--session", &session, "-m", "x"];
    for _ in 0..4 {
        put(&sandbox.root(), "a/x", "two\n");
        let answer = sandbox.heddle(&args).exits(0);
        assert!(answer.stderr.contains(ALL), "{answer:?}");
    }
    liar.join().expect("thread");
    // Who else could look into the folder is not asked.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("mode");
    let answer = sandbox.heddle(&args).exits(0);
    assert!(answer.stderr.contains("is not the user's own"), "{answer:?}");
}

#[test]
fn a_path_longer_than_a_socket_may_have_is_watched() {
    let sandbox = sandbox();
    let deep = sandbox.home().join("d".repeat(90)).join("e".repeat(90)).join("work");
    let place = format!("--worktree={}", deep.display());
    let args = ["agent", "run", "--thread", "work", &place, "--", "sh", "-c"];
    let script = "until git heddle agent capture -v -m x 2>&1 | grep -q 'paths that changed'; do sleep 0.05; done; \
        test -d $(git rev-parse --git-dir)/heddle-watch-$HEDDLE_SESSION";
    sandbox.heddle(&[&args[..], &[script]].concat()).exits(0);
}

/// Captures in a folder that is moved with its repository go on.
#[test]
fn the_folder_above_may_be_moved() {
    let watched = Watched::start(sandbox(), false);
    watched.settle();
    let (from, to) = (watched.root.clone(), watched.sandbox.home().join("moved"));
    fs::rename(&from, &to).expect("rename");
    fs::rename(&to, &from).expect("rename");
    put(&watched.root, "g", "two\n");
    watched.check("moved there and back");
    assert!(Path::new(&watched.root).exists());
}

#[test]
fn a_hook_sees_everything_and_is_heard() {
    if support::format::asked().sha256 {
        println!("left out: the whole index, which a hook has to see, is put together by git there");
        return;
    }
    let sandbox = sandbox();
    let said = sandbox.home().join("said");
    let hook = sandbox.root().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("hooks")).expect("folder");
    let script = format!(
        "#!/bin/sh\n{{ git diff --cached --name-only; git ls-files | wc -l; }} > {}\n\
         if test -e hooked; then echo by-hook > c/f; git add c/f; fi\n",
        said.display()
    );
    write_program(&hook, script);
    for own in [true, false] {
        let watched =
            if own { Watched::start(self::sandbox(), own) } else { Watched::start(Sandbox::new(), own) };
        let hooks = watched.sandbox.root().join(".git/hooks");
        fs::create_dir_all(&hooks).expect("folder");
        write_program(hooks.join("pre-commit"), fs::read(&hook).expect("hook"));
        place(&watched.root, "c/f", |path| fs::write(path, "one\n").expect("write"));
        watched.settle();
        for content in ["two\n", "three\n"] {
            put(&watched.root, "c/f", content);
            let files = watched
                .sandbox
                .git_in(&watched.root, &["ls-tree", "-r", "--name-only", "refs/heddle/threads/work"]);
            let answer = watched.capture(&[]).exits(0);
            assert!(says_few(&answer), "{answer:?}");
            let files = files.lines().count();
            assert_eq!(fs::read_to_string(&said).expect("said"), format!("c/f\n{files}\n"));
        }
        put(&watched.root, "hooked", "");
        let answer = watched.capture(&[]).exits(0);
        assert!(says_few(&answer), "{answer:?}");
        assert_eq!(watched.sandbox.git(&["show", "refs/heddle/threads/work:c/f"]), "by-hook");
        if own {
            watched.check_index("after a hook");
        }
    }
}

#[test]
fn many_changes_are_synced_as_packs_and_not_one_by_one() {
    let watched = Watched::start(sandbox(), true);
    watched.settle();
    let packs = || {
        let folder = fs::read_dir(watched.sandbox.root().join(".git/objects/pack")).expect("packs");
        folder.flatten().filter(|entry| entry.path().extension().is_some_and(|kind| kind == "pack")).count()
    };
    // So many files in as many folders are a pack of files and one of folders; fewer are none, nor are
    // files that may be converted on the way.
    for (files, attributes, packed) in [(90, false, 0), (100, false, 2), (150, true, 1)] {
        if attributes {
            put(&watched.root, ".gitattributes", "*3 text\n");
            watched.settle();
        }
        for round in ["new", "changed"] {
            let before = packs();
            for number in 0..files {
                let content = format!("{round} {files} {number}\r\n");
                let path = format!("many{files}/d{number}/f{number}");
                place(&watched.root, &path, |path| fs::write(path, &content).expect("write"));
            }
            // What Git is asked to compare with is in the repository as well from then on.
            let answer = watched.capture(&[]).exits(0);
            assert!(says_few(&answer), "{answer:?}");
            assert_eq!(packs() - before, packed, "{files} files, {round}");
            assert!(watched.check(&format!("{files} files, {round}")));
        }
    }
    let fsck = watched.sandbox.program("git", &watched.root, &["fsck", "--strict", "--no-dangling"]).output();
    Answer::of(&fsck.expect("git")).exits(0);
}

#[test]
fn changes_of_which_git_is_told_by_another_watcher_are_gits() {
    let sandbox = sandbox();
    let (answer, asked) = (sandbox.home().join("answer"), sandbox.home().join("asked"));
    let hook = sandbox.home().join("watcher");
    let script = format!(
        "#!/bin/sh\necho \"$2\" >> {}\nprintf 'token%s\\0' \"$$\"\ncat {}\n",
        asked.display(),
        answer.display()
    );
    write_program(&hook, script);
    fs::write(&answer, "").expect("answer");
    sandbox.git(&["config", "core.fsmonitor", &hook.to_string_lossy()]);
    sandbox.git(&["config", "core.untrackedCache", "true"]);
    sandbox.git(&["status"]);
    let session = text(&sandbox.reserve("work", &[]), "session_id");
    let capture = |more: &[&str]| {
        let args = [&["agent", "capture", "--session", &session, "-m", "x"], more].concat();
        sandbox.heddle(&args).exits(0).json()["changed_paths"].to_string()
    };
    for content in ["two\n", "three\n", "four\n"] {
        put(&sandbox.root(), "g", content);
        put(&sandbox.root(), "a/x", content);
        fs::write(&answer, "g\0").expect("answer");
        assert_eq!(capture(&[]), "[\"g\"]", "as by git add -A");
    }
    fs::write(&answer, "a/x\0").expect("answer");
    assert_eq!(capture(&[]), "[\"a/x\"]");
    // Of some paths Git need not ask anybody.
    fs::remove_file(&asked).expect("asked");
    put(&sandbox.root(), "c/f", "two\n");
    assert_eq!(capture(&["--", "c/f"]), "[\"c/f\"]");
    assert!(!asked.exists());
}

#[test]
fn a_session_that_nobody_runs_is_watched_until_it_is_over() {
    let sandbox = sandbox();
    for end in ["release", "lapse", "kill"] {
        let own = end == "release";
        let ttl: &[&str] = if end == "lapse" { &["--ttl", "2s"] } else { &[] };
        let reserved =
            sandbox.reserve(end, &[&["--watch"], ttl, own.then_some("--worktree").as_slice()].concat());
        let session = text(&reserved, "session_id");
        let root = if own { PathBuf::from(text(&reserved, "path")) } else { sandbox.root() };
        let git_dir = PathBuf::from(sandbox.git_in(&root, &["rev-parse", "--absolute-git-dir"]));
        let folder = git_dir.join(format!("heddle-watch-{session}"));
        let process = || {
            let found = fs::read_dir("/proc").expect("processes").flatten().find(|process| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                line.windows(session.len()).any(|part| part == session.as_bytes())
                    && line.windows(7).any(|part| part == b"__watch")
            });
            found.and_then(|process| process.file_name().to_str()?.parse::<i32>().ok())
        };
        until(|| folder.join("socket").exists().then_some(()));
        let capture =
            || sandbox.heddle_in(&root, &["agent", "capture", "-v", "--session", &session, "-m", "x"]);
        match end {
            "release" => {
                until(|| says_few(&capture()).then_some(()));
                put(&root, "g", "two\n");
                assert!(says_few(&capture().exits(0)));
                sandbox.heddle(&["agent", "release", "--session", &session]).exits(0);
                assert!(!root.exists(), "the worktree goes with its session");
            }
            "lapse" => until(|| process().is_none().then_some(())),
            _ => {
                let pid = process().expect("it runs");
                kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
                put(&root, "g", "three\n");
                let answer = capture().exits(0);
                // Or "in vain", where it had not quite ended.
                assert!(answer.stderr.contains("looked at everything: "), "{answer:?}");
                until(|| (!folder.exists() || capture().code != 0).then_some(()));
            }
        }
        until(|| (process().is_none() && !folder.exists()).then_some(()));
    }
}

/// What a shell says that runs `script` in a session that is run, in a namespace of its own after
/// `before`; `None` where there are no namespaces.
fn in_a_namespace(before: &str, script: &str) -> Option<Answer> {
    let sandbox = sandbox();
    let before = format!("({before}) || exit 99; exec \"$@\"");
    let heddle = env!("CARGO_BIN_EXE_git-heddle");
    let args =
        ["-Urm", "sh", "-c", &before, "sh", heddle, "agent", "run", "--thread", "work", "--worktree", "--"];
    let args = [&args[..], &["sh", "-c", script]].concat();
    let answer = Answer::of(&sandbox.program("unshare", &sandbox.root(), &args).output().ok()?);
    let refused = answer.code == 99 || answer.stderr.contains("unshare");
    (!refused).then_some(answer)
}

#[test]
fn a_user_without_watches_left_has_captures_that_look_at_everything() {
    let script = "echo two > g; for i in $(seq 600); do git heddle agent capture -v -m x > /dev/null 2> said; \
        rm -f g.new; if grep -q 'watches are used up' said; then exit 0; fi; sleep 0.05; done; exit 1";
    let Some(answer) = in_a_namespace("echo 4 > /proc/sys/user/max_inotify_watches", script) else { return };
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[test]
fn what_is_mounted_in_the_worktree_has_everything_looked_at() {
    let capture = "git heddle agent capture -v -m x 2>&1 > /dev/null";
    let script = format!(
        "for i in $(seq 600); do if {capture} | grep -q 'paths that changed'; then break; fi; sleep 0.05; done; \
         mount -t tmpfs tmpfs c || exit 99; echo two > g; echo there > c/mounted; \
         {capture} | grep -q 'something is mounted in the worktree' || exit 1; \
         git cat-file -e HEAD:c/mounted || exit 2; umount c; {capture}; git status --porcelain | grep . && exit 3; exit 0"
    );
    let Some(answer) = in_a_namespace("true", &script) else { return };
    assert_eq!(answer.code, 0, "{answer:?}");
}
