//! Repositories to measure in, and whole processes to measure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program that is measured.
pub(crate) const HEDDLE: &str = env!("CARGO_BIN_EXE_git-heddle");

/// How often each measurement is repeated: `HEDDLE_BENCH_PAIRS`, or `default`.
pub(crate) fn rounds(default: usize) -> usize {
    std::env::var("HEDDLE_BENCH_PAIRS").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// The program under test first: hooks start it by its name.
pub(crate) fn path() -> std::ffi::OsString {
    let ours = Path::new(HEDDLE).parent().map(Path::to_owned);
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&rest))).expect("PATH")
}

/// A program in a repository, in an environment of its own.
pub(crate) fn command(folder: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH", path())
        .env_remove("HEDDLE_SESSION")
        .env_remove("HEDDLE_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// How long a command takes, which has to succeed.
pub(crate) fn timed(folder: &Path, program: &str, args: &[&str]) -> Duration {
    let mut command = command(folder, program, args);
    let started = Instant::now();
    let status = command.status().expect("program");
    let took = started.elapsed();
    assert!(status.success(), "{program} {args:?}");
    took
}

/// Runs Git, which has to succeed.
pub(crate) fn git(folder: &Path, args: &[&str]) {
    timed(folder, "git", args);
}

/// A repository with so many files and one commit.
pub(crate) fn repository(files: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    git(path, &["init", "-q", "-b", "main"]);
    git(path, &["config", "user.name", "Bench"]);
    git(path, &["config", "user.email", "bench@example.com"]);
    git(path, &["config", "gc.auto", "0"]);
    for number in 0..files.max(1) {
        let place = path.join(file(number));
        if number % 100 == 0 {
            fs::create_dir_all(place.parent().expect("a folder")).expect("folder");
        }
        fs::write(place, format!("{number}\n")).expect("file");
    }
    git(path, &["add", "-A"]);
    git(path, &["commit", "-q", "-m", "Start"]);
    folder
}

/// Where one of the files lies that [`repository`] makes.
pub(crate) fn file(number: usize) -> String {
    format!("d{:03}/f{number}", number / 100)
}

/// Changes so many files of those that [`repository`] makes, each so many after the one before.
pub(crate) fn change(folder: &Path, round: usize, files: usize, of: usize, step: usize) {
    for number in (0..files).map(|number| (of / 2 + number * step) % of) {
        fs::write(folder.join(file(number)), format!("change {round} {number}\n")).expect("write");
    }
}

/// What a capture is compared with.
pub(crate) fn stage_and_commit(folder: &Path) -> Duration {
    timed(folder, "git", &["add", "-A"]) + timed(folder, "git", &["commit", "-q", "-m", "x"])
}

/// A runner that watches where it runs. It ends when dropped.
pub(crate) struct Watching {
    runner: Child,
    /// Its session.
    pub(crate) session: String,
    /// The worktree that was made for it.
    made: Option<PathBuf>,
}

impl Watching {
    /// Starts one in a repository, or in a worktree of its own, and waits until a capture has looked
    /// at nothing but what changed; with `watched` false nobody watches.
    pub(crate) fn begin(repository: &Path, made: Option<PathBuf>, watched: bool) -> Self {
        let worktree = made.as_ref().map(|place| format!("--worktree={}", place.display()));
        let mut args = vec!["agent", "run", "--thread", "work", "--no-capture"];
        args.extend(worktree.as_deref());
        args.extend(["--", "sleep", "100000"]);
        if !watched {
            git(repository, &["config", "heddle.watch", "false"]);
        }
        let runner = command(repository, HEDDLE, &args).spawn().expect("run");
        let mut watching = Self { runner, session: String::new(), made };
        let folder = watching.made.clone().unwrap_or_else(|| repository.to_owned());
        watching.session = settled(repository, &folder, watched);
        watching
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.runner.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.runner.wait();
        self.made.iter().for_each(|place| drop(fs::remove_dir_all(place)));
    }
}

/// The session of the runner, once a capture has looked at nothing but what changed, if `watched`.
fn settled(repository: &Path, folder: &Path, watched: bool) -> String {
    let said = |folder: &Path, args: &[&str]| {
        let mut command = command(folder, HEDDLE, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("heddle")
    };
    for _ in 0..1000 {
        std::thread::sleep(Duration::from_millis(100));
        let list = said(repository, &["agent", "list", "--alive-only", "--json"]).stdout;
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap_or_default();
        let Some(id) = list[0]["session_id"].as_str().filter(|_| list[0]["holder"]["pid"].is_number()) else {
            continue;
        };
        let output = said(folder, &["agent", "capture", "-v", "--session", id, "-m", "x"]);
        if !watched || String::from_utf8_lossy(&output.stderr).contains("paths that changed") {
            return id.to_owned();
        }
    }
    panic!("nobody watches {folder:?}");
}

/// Reserves a thread; the session.
pub(crate) fn reserve(folder: &Path, thread: &str, more: &[&str]) -> String {
    let args = [&["agent", "reserve", "--thread", thread], more].concat();
    let output = command(folder, HEDDLE, &args).stdout(Stdio::piped()).output().expect("reserve");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    document["session_id"].as_str().expect("session_id").to_owned()
}

/// Fills a repository with what may not make it slower: ended and live sessions, threads.
pub(crate) fn fill(folder: &Path, ended: usize, live: usize, threads: usize) {
    let id = own(folder, live);
    let agents = folder.join(".git/heddle/agents");
    let record = fs::read_to_string(agents.join(format!("{id}.json"))).expect("record");
    fs::create_dir_all(agents.join("ended")).expect("folder");
    let tip = fs::read_to_string(folder.join(".git/refs/heddle/threads/template")).expect("tip");
    for number in 0..ended {
        let name = format!("agent-e{number:025}");
        let text = record.replace(&id, &name).replace("\"active\"", "\"complete\"");
        fs::write(agents.join(format!("ended/{name}.json")), text).expect("record");
    }
    // A thread that nobody owns any more keeps its record.
    let record = fs::read_to_string(folder.join(".git/heddle/threads/template.json")).expect("record");
    let owned: serde_json::Value = serde_json::from_str(&record).expect("record");
    for number in 0..threads {
        let thread = format!("t{number}");
        if number >= live {
            let mut record = owned.clone();
            record["owner"] = serde_json::Value::Null;
            record["thread"] = thread.as_str().into();
            let path = folder.join(format!(".git/heddle/threads/{thread}.json"));
            fs::write(path, record.to_string()).expect("record");
        }
        fs::write(folder.join(format!(".git/refs/heddle/threads/{thread}")), &tip).expect("ref");
    }
    git(folder, &["pack-refs", "--all"]);
}

/// A repository with 300 commits on `main` and live threads that left it at 200 of them, each
/// with a commit of its own.
pub(crate) fn threads(count: usize) -> tempfile::TempDir {
    let folder = repository(1_000);
    let path = folder.path();
    let commit = |name: &str, mark: usize, from: &str, file: &str| {
        let who = format!("committer Bench <bench@example.com> {} +0000", 1_767_225_600 + mark);
        let data = format!("work {mark}\n");
        let change = format!("M 100644 inline {file}\ndata {}\n{data}\n", data.len());
        let message = format!("data {}\n{data}", data.len());
        format!("commit {name}\nmark :{mark}\n{who}\n{message}from {from}\n{change}\n")
    };
    let mut stream = String::new();
    for number in 1..=300 {
        let from = if number == 1 { "refs/heads/main^0".to_owned() } else { format!(":{}", number - 1) };
        let file = format!("d{:03}/main{number}", number % 10);
        stream += &commit("refs/heads/main", number, &from, &file);
    }
    for number in 0..count {
        let name = format!("refs/heddle/threads/t{number}");
        let file = format!("d{:03}/f{number}", number % 10);
        stream += &commit(&name, 1_000 + number, &format!(":{}", 100 + number % 200), &file);
    }
    let mut import =
        command(path, "git", &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().expect("git");
    std::io::Write::write_all(&mut import.stdin.take().expect("stdin"), stream.as_bytes()).expect("stream");
    assert!(import.wait().expect("git").success());
    git(path, &["reset", "-q", "--hard"]);
    own(path, count);
    folder
}

/// Gives each of the threads `t0`, `t1`… an owner that lives; the session of one that was
/// really reserved.
pub(crate) fn own(folder: &Path, count: usize) -> String {
    let id = reserve(folder, "template", &[]);
    let agents = folder.join(".git/heddle/agents");
    let record = fs::read_to_string(agents.join(format!("{id}.json"))).expect("record");
    let thread_record = fs::read_to_string(folder.join(".git/heddle/threads/template.json")).expect("record");
    for number in 0..count {
        let (thread, name) = (format!("\"t{number}\""), format!("agent-l{number:025}"));
        let text = record.replace(&id, &name).replace("\"template\"", &thread);
        fs::write(agents.join(format!("{name}.json")), text).expect("record");
        let text = thread_record.replace(&id, &name).replace("\"template\"", &thread);
        fs::write(folder.join(format!(".git/heddle/threads/t{number}.json")), text).expect("record");
    }
    id
}
