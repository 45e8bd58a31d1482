//! Compares heddle with the plain Git command that does the nearest thing, in the same run,
//! on a release build: whole processes, in turn, the median of the ratios pair by pair.
//!
//! Where it is memory that counts, the process that does it is the only child of a third one,
//! which is this program again, and tells what the system kept of its peak.
//!
//! `just bench` prints the table that `docs/performance.md` keeps. Criterion measures
//! functions inside a process; what users wait for here is processes, so this is a plain
//! program. `HEDDLE_BENCH_PAIRS` sets the number of pairs, 40 unless told; with an argument
//! only a part is measured: `hooks` (`cargo bench --bench compare -- hooks`), `lists`, `paths`, `verify`, `watched`, or
//! `refs`, what moves no more than a ref, against Git moving one: in the kind of repository that
//! `GIT_DEFAULT_REF_FORMAT` and `GIT_DEFAULT_HASH` have Git make.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    HEDDLE, Watching, change, command, fill, git, repository, reserve, rounds, stage_and_commit, threads,
    timed,
};

/// One row: what is measured, against what, and what was promised.
struct Row<'a> {
    work: &'a str,
    against: &'static str,
    promised: f64,
    pairs: Vec<(Duration, Duration)>,
}

impl Row<'_> {
    fn print(&mut self) {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let millis = |pick: fn(&(Duration, Duration)) -> Duration| {
            median(self.pairs.iter().map(|pair| pick(pair).as_secs_f64() * 1000.0).collect())
        };
        let ratio = median(
            self.pairs.iter().map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()).collect(),
        );
        println!(
            "| {} | {} | {:.2} ms | {:.2} ms | {:.2} × | {:.2} × |",
            self.work,
            self.against,
            millis(|pair| pair.0),
            millis(|pair| pair.1),
            ratio,
            self.promised
        );
    }
}

fn pairs() -> usize {
    rounds(40)
}

/// Measures two things in turn, after one round that does not count. Every other round begins with
/// the other one: what the first leaves behind (a table that the next has to merge, say) is not
/// always the same one's to pay for.
fn measure(
    mut ours: impl FnMut(usize) -> Duration,
    mut theirs: impl FnMut(usize) -> Duration,
    pairs: usize,
) -> Vec<(Duration, Duration)> {
    let mut both = |round: usize| {
        if round.is_multiple_of(2) {
            let ours = ours(round);
            return (ours, theirs(round));
        }
        let theirs = theirs(round);
        (ours(round), theirs)
    };
    (0..=pairs).map(&mut both).skip(1).collect()
}

/// The first argument with which this program only starts another.
const PEAK: &str = "--peak-of";

/// The most memory that a command ever had, in KiB.
fn peak(folder: &Path, program: &str, args: &[&str]) -> u64 {
    let ourselves = std::env::current_exe().expect("this program");
    let args = [&[PEAK, program], args].concat();
    let output = command(folder, &ourselves.to_string_lossy(), &args).stdout(Stdio::piped()).output();
    let output = output.expect("this program");
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Is the process between: starts a program and prints its peak.
fn print_peak(args: &[String]) {
    let status = Command::new(&args[0]).args(&args[1..]).stdout(Stdio::null()).status().expect("program");
    assert!(status.success(), "{args:?}");
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN);
    println!("{}", usage.expect("usage").max_rss());
}

/// Installs the hooks, or in their place some that do nothing at all: what Git itself takes to
/// start one.
fn install(folder: &Path, empty: bool) {
    timed(folder, HEDDLE, &["hooks", "install"]);
    if empty {
        for hook in fs::read_dir(folder.join(".git/hooks")).expect("hooks").flatten() {
            fs::write(hook.path(), "#!/bin/sh\n").expect("a hook");
        }
    }
}

/// A repository without any hooks, not even Git's samples.
fn bare_of_hooks() -> tempfile::TempDir {
    let folder = repository(1);
    fs::remove_dir_all(folder.path().join(".git/hooks")).expect("hooks");
    folder
}

/// Commits one file, staged beforehand.
fn commit(folder: &Path, round: usize) -> Duration {
    fs::write(folder.join("d000/f0"), format!("change {round}\n")).expect("write");
    git(folder, &["add", "-A"]);
    timed(folder, "git", &["commit", "-q", "-m", "x"])
}

/// What hooks cost that have nothing to say, and those that have.
fn hooks() {
    let (plain, empty, shims) = (bare_of_hooks(), bare_of_hooks(), bare_of_hooks());
    install(empty.path(), true);
    install(shims.path(), false);
    let row = |work, against, promised, pairs| Row { work, against, promised, pairs }.print();
    let commits = |ours: &Path, theirs: &Path| {
        measure(|round| commit(ours, round), |round| commit(theirs, round), pairs())
    };
    row("`git commit` with hooks", "without", 1.15, commits(shims.path(), plain.path()));
    row("`git commit` with hooks", "with hooks that do nothing", 1.15, commits(shims.path(), empty.path()));
    let full = bare_of_hooks();
    fill(full.path(), 10_000, 0, 0);
    install(full.path(), false);
    row(
        "`git commit` with hooks and 10,000 ended sessions",
        "with hooks and none",
        1.1,
        commits(full.path(), shims.path()),
    );
    let worktree = |of: &Path, empty: Option<bool>| {
        let path = of.with_extension("worktree");
        let worktree = format!("--worktree={}", path.display());
        timed(of, HEDDLE, &["agent", "reserve", "--thread", "bound", &worktree]);
        if let Some(empty) = empty {
            install(of, empty);
        }
        path
    };
    let of = [bare_of_hooks(), bare_of_hooks(), bare_of_hooks()];
    let bound = worktree(of[0].path(), Some(false));
    let unhooked = worktree(of[1].path(), None);
    let empty = worktree(of[2].path(), Some(true));
    row("`git commit` in a bound worktree with hooks", "without", 1.5, commits(&bound, &unhooked));
    row(
        "`git commit` in a bound worktree with hooks",
        "with hooks that do nothing",
        1.5,
        commits(&bound, &empty),
    );
    for path in [bound, unhooked, empty] {
        fs::remove_dir_all(path).expect("worktree");
    }
    let source = bare_of_hooks();
    for number in 0..300 {
        git(source.path(), &["tag", &format!("t{number}")]);
    }
    let fetch = |empty: Option<bool>| {
        let into = bare_of_hooks();
        if let Some(empty) = empty {
            install(into.path(), empty);
        }
        let from = source.path().to_str().expect("UTF-8");
        timed(into.path(), "git", &["fetch", "-q", from, "refs/tags/*:refs/tags/*"])
    };
    let few = pairs().min(10);
    row(
        "`git fetch` of 300 new tags with hooks",
        "without",
        1.5,
        measure(|_| fetch(Some(false)), |_| fetch(None), few),
    );
    row(
        "`git fetch` of 300 new tags with hooks",
        "with hooks that do nothing",
        1.5,
        measure(|_| fetch(Some(false)), |_| fetch(Some(true)), few),
    );
}

/// A reservation from its beginning to its end, against Git making a ref and having it survive.
fn refs() {
    let repository = repository(1);
    let path = repository.path();
    let update = |kind: &str, round: usize| {
        let name = format!("refs/heddle/threads/{kind}{round}");
        timed(path, "git", &["-c", "core.fsync=all", "update-ref", "--create-reflog", &name, "HEAD"])
    };
    let row = |work, pairs| {
        let against = "`git -c core.fsync=all update-ref --create-reflog`";
        Row { work, against, promised: 2.5, pairs }.print();
    };
    let sessions: Vec<String> = (0..=pairs()).map(|round| reserve(path, &format!("s{round}"), &[])).collect();
    let claim = |round: usize| timed(path, HEDDLE, &["agent", "reserve", "--thread", &format!("r{round}")]);
    row("`reserve`, new thread", measure(claim, |round| update("a", round), pairs()));
    let verb = |verb: &'static str| {
        let sessions = &sessions;
        move |round: usize| timed(path, HEDDLE, &["agent", verb, "--session", &sessions[round]])
    };
    row("`heartbeat`", measure(verb("heartbeat"), |round| update("b", round), pairs()));
    row("`release`", measure(verb("release"), |round| update("c", round), pairs()));
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == PEAK) {
        return print_peak(&args[1..]);
    }
    println!("| work | against | heddle | git | ratio | promised |");
    println!("|---|---|---|---|---|---|");
    // Cargo's own flags come along.
    match args.iter().find(|arg| !arg.starts_with('-')).map(String::as_str) {
        Some("hooks") => hooks(),
        Some("lists") => lists(),
        Some("paths") => [false, true].into_iter().for_each(paths),
        Some("refs") => refs(),
        Some("verify") => verify(),
        Some("watched") => watched(),
        Some(other) => panic!("'{other}' is none of hooks, lists, paths, refs, verify and watched"),
        None => all(),
    }
}

fn all() {
    let small = repository(1);
    let path = small.path();

    Row {
        work: "start-up: `git-heddle --version`",
        against: "`git --version`",
        promised: 1.0,
        pairs: measure(
            |_| timed(path, HEDDLE, &["--version"]),
            |_| timed(path, "git", &["--version"]),
            pairs(),
        ),
    }
    .print();

    let sync = ["-c", "core.fsync=all", "update-ref", "--create-reflog"];
    Row {
        work: "`reserve`, new thread, everything synced",
        against: "`git -c core.fsync=all update-ref --create-reflog`",
        promised: 1.0,
        pairs: measure(
            |round| timed(path, HEDDLE, &["agent", "reserve", "--thread", &format!("r{round}")]),
            |round| {
                timed(path, "git", &[&sync[..], &[&format!("refs/heddle/threads/u{round}"), "HEAD"]].concat())
            },
            pairs(),
        ),
    }
    .print();

    let update = |round: usize| peak(path, "git", &["update-ref", &format!("refs/heads/p{round}"), "HEAD"]);
    let claim = |round: usize| peak(path, HEDDLE, &["agent", "reserve", "--thread", &format!("p{round}")]);
    let mut peaks: Vec<(u64, u64)> = (0..9).map(|round| (claim(round), update(round))).collect();
    peaks.sort_by_key(|(ours, theirs)| 1000 * ours / theirs);
    let (ours, theirs) = peaks[peaks.len() / 2];
    println!(
        "| peak memory of `reserve` | `git update-ref` | {ours} KiB | {theirs} KiB | {:.2} × | 1.0 × |",
        ours as f64 / theirs as f64
    );

    let id = reserve(path, "beat", &[]);
    Row {
        work: "`heartbeat`",
        against: "`git rev-parse HEAD`",
        promised: 1.0,
        pairs: measure(
            |_| timed(path, HEDDLE, &["agent", "heartbeat", "--session", &id]),
            |_| timed(path, "git", &["rev-parse", "HEAD"]),
            pairs(),
        ),
    }
    .print();

    Row {
        work: "`run -- true`",
        against: "`reserve`, then `release`",
        // Ten milliseconds more.
        promised: 3.0,
        pairs: measure(
            |round| timed(path, HEDDLE, &["agent", "run", "--thread", &format!("a{round}"), "--", "true"]),
            |round| {
                let started = Instant::now();
                let id = reserve(path, &format!("b{round}"), &[]);
                timed(path, HEDDLE, &["agent", "release", "--session", &id]);
                started.elapsed()
            },
            pairs(),
        ),
    }
    .print();

    let (full, empty) = (repository(1), repository(1));
    fill(full.path(), 10_000, 1_000, 10_000);
    git(empty.path(), &["pack-refs", "--all"]);
    Row {
        work: "`reserve` with 10,000 ended and 1,000 live sessions, 10,000 threads",
        against: "`reserve` with none",
        promised: 1.1,
        pairs: measure(
            |round| timed(full.path(), HEDDLE, &["agent", "reserve", "--thread", &format!("r{round}")]),
            |round| timed(empty.path(), HEDDLE, &["agent", "reserve", "--thread", &format!("r{round}")]),
            pairs(),
        ),
    }
    .print();

    for number in 0..1_000 {
        let file = empty.path().join(format!(".git/refs/heads/b{number}"));
        fs::copy(empty.path().join(".git/refs/heads/main"), &file)
            .or_else(|_| {
                let head =
                    Command::new("git").args(["rev-parse", "HEAD"]).current_dir(empty.path()).output()?;
                fs::write(&file, head.stdout).map(|()| 0)
            })
            .expect("branch");
    }
    Row {
        work: "`list --alive-only`, 1,000 live among 10,000 ended",
        against: "`git for-each-ref` over 1,000 refs",
        promised: 3.0,
        pairs: measure(
            |_| timed(full.path(), HEDDLE, &["agent", "list", "--alive-only"]),
            |_| timed(empty.path(), "git", &["for-each-ref", "refs/heads"]),
            pairs(),
        ),
    }
    .print();

    lists();

    for (files, promised, count, work) in [
        (3_000, 1.0, pairs(), "`capture`, one changed file, 3,000 files"),
        (100_000, 0.75, pairs().min(8), "`capture`, one changed file, 100,000 files"),
    ] {
        let (ours, theirs) = (repository(files), repository(files));
        let id = reserve(ours.path(), "work", &[]);
        Row {
            work,
            against: "`git add -A && git commit -q`",
            promised,
            pairs: measure(
                |round| {
                    fs::write(ours.path().join("d000/f0"), format!("change {round}\n")).expect("write");
                    timed(ours.path(), HEDDLE, &["agent", "capture", "--session", &id, "-m", "x"])
                },
                |round| {
                    fs::write(theirs.path().join("d000/f0"), format!("change {round}\n")).expect("write");
                    stage_and_commit(theirs.path())
                },
                count,
            ),
        }
        .print();
    }
    for bound in [false, true] {
        paths(bound);
    }
    watched();
    hooks();
    verify();
}

/// What it costs to look at many threads.
fn lists() {
    let many = threads(1_000);
    Row {
        work: "`thread list`, 1,000 live threads with a commit each",
        against: "`git for-each-ref --format='%(refname) %(ahead-behind:main)'`",
        promised: 1.0,
        pairs: measure(
            |_| timed(many.path(), HEDDLE, &["thread", "list"]),
            |_| {
                let format = "--format=%(refname) %(ahead-behind:main)";
                timed(many.path(), "git", &["for-each-ref", format, "refs/heddle/threads"])
            },
            pairs(),
        ),
    }
    .print();
}

/// What a capture of one path costs among 100,000 files, where the worktree's HEAD and index
/// stay as they are or follow.
fn paths(bound: bool) {
    let (ours, theirs) = (repository(100_000), repository(100_000));
    let (id, folder) = if bound {
        let path = ours.path().with_extension("worktree");
        let worktree = format!("--worktree={}", path.display());
        (reserve(ours.path(), "work", &[&worktree]), path)
    } else {
        (reserve(ours.path(), "work", &[]), ours.path().to_owned())
    };
    Row {
        work: if bound {
            "`capture -- PATH` in a bound worktree, one of 100,000 files"
        } else {
            "`capture -- PATH`, one of 100,000 files"
        },
        against: "`git add -A && git commit -q`",
        promised: 0.05,
        pairs: measure(
            |round| {
                fs::write(folder.join("d500/f50000"), format!("change {round}\n")).expect("write");
                let args = ["agent", "capture", "--session", &id, "-m", "x", "--", "d500/f50000"];
                timed(&folder, HEDDLE, &args)
            },
            |round| {
                fs::write(theirs.path().join("d500/f50000"), format!("change {round}\n")).expect("write");
                stage_and_commit(theirs.path())
            },
            pairs().min(15),
        ),
    }
    .print();
    if bound {
        fs::remove_dir_all(folder).expect("worktree");
    }
}

/// What a capture costs among 100,000 files that are watched.
fn watched() {
    let theirs = repository(100_000);
    for bound in [false, true] {
        let ours = repository(100_000);
        let place = bound.then(|| ours.path().with_extension("worktree"));
        let folder = place.clone().unwrap_or_else(|| ours.path().to_owned());
        let watching = Watching::begin(ours.path(), place, true);
        let works = [
            (
                "one change in a watched worktree, 100,000 files",
                "the same, index and HEAD following",
                0.05,
                1,
                1,
            ),
            ("1,000 changes in 100 folders", "the same, index and HEAD following", 0.4, 1_000, 10),
            ("1,000 changes in 1,000 folders", "the same, index and HEAD following", 0.4, 1_000, 100),
        ];
        for (work, following, promised, files, step) in works {
            let pairs = measure(
                |round| {
                    change(&folder, round, files, 100_000, step);
                    timed(&folder, HEDDLE, &["agent", "capture", "--session", &watching.session, "-m", "x"])
                },
                |round| {
                    change(theirs.path(), round, files, 100_000, step);
                    stage_and_commit(theirs.path())
                },
                pairs().min(15),
            );
            let work =
                if bound { format!("`capture`, {work}; {following}") } else { format!("`capture`, {work}") };
            Row { work: &work, against: "`git add -A && git commit -q`", promised, pairs }.print();
        }
    }
}

/// What CI does with a thousand threads of ten commits, all packed as a fetch leaves them.
fn verify() {
    use std::fmt::Write as _;
    use std::io::Write as _;
    let folder = repository(3_000);
    let path = folder.path();
    let mut stream = String::new();
    for number in 0..1_000 {
        for step in 0..10 {
            let message = format!(
                "Step {step}\n\nHeddle-Thread: t{number}\nHeddle-Session: agent-{number:026}\nHeddle-Generation: 1\n"
            );
            let content = format!("{number} {step}\n").repeat(20);
            let file = format!("d{:03}/f{}", number % 30, number % 30 * 100 + step);
            let _ = write!(
                stream,
                "commit refs/heddle/threads/t{number}\ncommitter B <b@c> {} +0000\ndata {}\n{message}{}M 100644 inline {file}\ndata {}\n{content}\n",
                1_800_000_000 + number * 10 + step,
                message.len(),
                if step == 0 { "from refs/heads/main\n" } else { "" },
                content.len(),
            );
        }
    }
    let mut import = command(path, "git", &["fast-import", "--quiet"]);
    let mut import = import.stdin(Stdio::piped()).spawn().expect("git fast-import");
    import.stdin.take().expect("stdin").write_all(stream.as_bytes()).expect("stream");
    assert!(import.wait().expect("git fast-import").success());
    git(path, &["pack-refs", "--all"]);
    let commits = "`git rev-list` over the same commits";
    let objects = "`git rev-list --objects` over the same commits";
    for (work, against, walk) in [
        ("`verify`, 1,000 threads of 10 commits", commits, &["rev-list"][..]),
        ("`verify`, the same", objects, &["rev-list", "--objects"]),
        ("`verify`, the same, each merged with a target that moved on", commits, &["rev-list"]),
    ] {
        if work.ends_with("moved on") {
            fs::write(path.join("new"), "new\n").expect("write");
            git(path, &["add", "new"]);
            git(path, &["commit", "-q", "-m", "Move on"]);
        }
        let walk = [walk, &["--glob=refs/heddle/threads/*", "--not", "main"]].concat();
        Row {
            work,
            against,
            promised: 2.0,
            pairs: measure(
                |_| timed(path, HEDDLE, &["verify", "--base", "main"]),
                |_| timed(path, "git", &walk),
                pairs(),
            ),
        }
        .print();
    }
}
