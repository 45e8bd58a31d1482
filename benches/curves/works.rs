//! What is measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use super::common::{
    HEDDLE, Watching, change, command, file, fill, git, repository, reserve, stage_and_commit, threads, timed,
};
use super::curve::{Bound, Control, Curve, most, sizes};

/// A group of curves that share what they are measured in.
type Measuring = fn() -> Vec<Curve>;

/// All of them, by the names that an argument chooses by.
pub(crate) const ALL: [(&str, Measuring); 9] = [
    ("packed", || among(What::Packed)),
    ("loose", || among(What::Loose)),
    ("live", || among(What::Live)),
    ("listings", listings),
    ("crowd", || vec![crowd()]),
    ("capture", || vec![captures(false)]),
    ("paths", || vec![captures(true)]),
    ("watched", || vec![watched(1), watched(1_000)]),
    ("ready", || vec![ready()]),
];

/// What there is more and more of beside the thread that a command concerns.
#[derive(Clone, Copy)]
enum What {
    /// Ended sessions, and threads packed into one file.
    Packed,
    /// Ended sessions, and threads in a file each.
    Loose,
    /// Live sessions.
    Live,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Packed => "ended sessions and packed threads",
            Self::Loose => "ended sessions and loose threads",
            Self::Live => "live sessions, a packed thread each",
        }
    }

    /// A repository with so many of it.
    fn repository(self, size: usize) -> tempfile::TempDir {
        let folder = repository(1);
        let (ended, live) = if matches!(self, Self::Live) { (0, size) } else { (size, 0) };
        fill(folder.path(), ended, live, size);
        if matches!(self, Self::Loose) {
            loosen(folder.path(), size);
        }
        folder
    }
}

/// What commands cost that concern one thread, among so many others.
fn among(what: What) -> Vec<Curve> {
    const SYNCED: &str = "`git -c core.fsync=all update-ref --create-reflog`";
    let curve = |names: [&'static str; 3], work, against| Curve {
        name: names[what as usize],
        work,
        over: what.name(),
        against,
        bound: Bound::Flat(1.15),
        promised: 1.1,
        points: Vec::new(),
    };
    let mut reserves =
        curve(["reserve-packed", "reserve-loose", "reserve-live"], "`reserve`, new thread", SYNCED);
    let mut beats = curve(
        ["heartbeat-packed", "heartbeat-loose", "heartbeat-live"],
        "`heartbeat`",
        "`git rev-parse HEAD`",
    );
    let mut releases = curve(["release-packed", "release-loose", "release-live"], "`release`", SYNCED);
    let mut hooks = curve(
        ["hook-packed", "hook-loose", "hook-live"],
        "`git update-ref` of a branch, with hooks",
        "the same without hooks",
    );
    let mut lands = curve(
        ["land-packed", "land-loose", "land-live"],
        "`thread land`, one that was captured and released",
        "`git merge --no-ff`",
    );
    for size in sizes(if matches!(what, What::Live) { 10_000 } else { 100_000 }) {
        let (full, none) = (what.repository(size), what.repository(0));
        let update = |folder: &Path, name: &str| {
            let args = ["-c", "core.fsync=all", "update-ref", "--create-reflog", name, "HEAD"];
            timed(folder, "git", &args)
        };
        let claim =
            |folder: &Path, thread: &str| timed(folder, HEDDLE, &["agent", "reserve", "--thread", thread]);
        reserves.measure(size, |round| {
            let thread = format!("r{round}");
            (
                claim(full.path(), &thread),
                update(full.path(), &format!("refs/heddle/own/{round}")),
                claim(none.path(), &thread),
            )
        });
        let beat = |folder: &Path, id: &str| timed(folder, HEDDLE, &["agent", "heartbeat", "--session", id]);
        let (ours, theirs) = (reserve(full.path(), "beat", &[]), reserve(none.path(), "beat", &[]));
        beats.measure(size, |_| {
            (
                beat(full.path(), &ours),
                timed(full.path(), "git", &["rev-parse", "HEAD"]),
                beat(none.path(), &theirs),
            )
        });
        let release = |folder: &Path, round: usize| {
            let id = reserve(folder, &format!("release{round}"), &[]);
            timed(folder, HEDDLE, &["agent", "release", "--session", &id])
        };
        releases.measure(size, |round| {
            (
                release(full.path(), round),
                update(full.path(), &format!("refs/heddle/own/release{round}")),
                release(none.path(), round),
            )
        });
        let merged = repository(1);
        lands.measure(size, |round| {
            let name = format!("land{round}");
            let land = |folder: &Path| {
                work_of_its_own(folder, &name);
                timed(folder, HEDDLE, &["thread", "land", "--into", "main", "--strategy=merge", &name])
            };
            git(merged.path(), &["switch", "-q", "-c", &name]);
            change(merged.path(), round, 1, 1, 1);
            stage_and_commit(merged.path());
            git(merged.path(), &["switch", "-q", "main"]);
            let merge = ["merge", "-q", "--no-ff", "--no-edit", &name];
            (land(full.path()), timed(merged.path(), "git", &merge), land(none.path()))
        });
        let plain = repository(1);
        for folder in [full.path(), none.path()] {
            timed(folder, HEDDLE, &["hooks", "install"]);
        }
        hooks.measure(size, |round| {
            let name = format!("refs/heads/h{round}");
            (update(full.path(), &name), update(plain.path(), &name), update(none.path(), &name))
        });
    }
    vec![reserves, beats, releases, lands, hooks]
}

/// A thread with one commit that `main` has not, which nobody owns any more.
fn work_of_its_own(folder: &Path, thread: &str) {
    let id = reserve(folder, thread, &[]);
    fs::write(folder.join("d000/f0"), format!("{thread}\n")).expect("write");
    timed(folder, HEDDLE, &["agent", "capture", "--session", &id, "-m", "x", "--", "d000/f0"]);
    timed(folder, HEDDLE, &["agent", "ready", "--session", &id]);
    timed(folder, HEDDLE, &["agent", "release", "--session", &id]);
    git(folder, &["checkout", "-q", "--", "d000/f0"]);
}

/// Gives each packed thread a file of its own again.
fn loosen(folder: &Path, threads: usize) {
    let head =
        command(folder, "git", &["rev-parse", "HEAD"]).stdout(Stdio::piped()).output().expect("git").stdout;
    let below = folder.join(".git/refs/heddle/threads");
    fs::create_dir_all(&below).expect("folder");
    for number in 0..threads {
        fs::write(below.join(format!("t{number}")), &head).expect("ref");
    }
    let packed = folder.join(".git/packed-refs");
    let text = fs::read_to_string(&packed).expect("packed refs");
    let kept = text.lines().filter(|line| !line.contains(" refs/heddle/threads/t")).fold(
        String::new(),
        |mut kept, line| {
            let _ = writeln!(kept, "{line}");
            kept
        },
    );
    fs::write(packed, kept).expect("packed refs");
}

/// Listings, which grow with what they list and with nothing else.
fn listings() -> Vec<Curve> {
    let mut alive = Curve {
        name: "list-alive",
        work: "`list --alive-only` among a hundred times as many ended",
        over: "live sessions",
        against: "`git for-each-ref` over as many refs",
        bound: Bound::OfGit(3.0),
        promised: 3.0,
        points: Vec::new(),
    };
    let mut list = Curve {
        name: "thread-list",
        work: "`thread list`, live threads with a commit each",
        over: "threads",
        against: "`git for-each-ref --format='%(refname) %(ahead-behind:main)'`",
        bound: Bound::OfGit(3.0),
        promised: 1.0,
        points: Vec::new(),
    };
    for size in sizes(10_000).into_iter().skip(1) {
        let full = repository(1);
        fill(full.path(), (100 * size).min(most()), size, size);
        alive.measure(size, |_| {
            let theirs = timed(full.path(), "git", &["for-each-ref", "refs/heddle/threads"]);
            (timed(full.path(), HEDDLE, &["agent", "list", "--alive-only"]), theirs, theirs)
        });
        let many = threads(size);
        list.measure(size, |_| {
            let format = "--format=%(refname) %(ahead-behind:main)";
            let theirs = timed(many.path(), "git", &["for-each-ref", format, "refs/heddle/threads"]);
            (timed(many.path(), HEDDLE, &["thread", "list"]), theirs, theirs)
        });
    }
    vec![alive, list]
}

/// Many processes at once, each with a thread of its own.
fn crowd() -> Curve {
    let mut curve = Curve {
        name: "crowd",
        work: "`reserve` by so many processes at once, each its own thread",
        over: "processes",
        against: "as many `git -c core.fsync=all update-ref --create-reflog`",
        bound: Bound::OfGit(3.0),
        promised: 1.1,
        points: Vec::new(),
    };
    let folder = repository(1);
    let at_once = |count: usize, program: &str, args: &dyn Fn(usize) -> Vec<String>| {
        let started = Instant::now();
        let children: Vec<_> = (0..count)
            .map(|number| {
                let args = args(number);
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                command(folder.path(), program, &args).spawn().expect("process")
            })
            .collect();
        for mut child in children {
            assert!(child.wait().expect("process").success());
        }
        started.elapsed()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for count in [1, 4, 16, 64] {
        curve.measure(count, |round| {
            let ours = at_once(count, HEDDLE, &|number| {
                words(&["agent", "reserve", "--thread", &format!("c{count}-{round}-{number}")])
            });
            let theirs = at_once(count, "git", &|number| {
                let name = format!("refs/heddle/own/{count}-{round}-{number}");
                words(&["-c", "core.fsync=all", "update-ref", "--create-reflog", &name, "HEAD"])
            });
            (ours, theirs, theirs)
        });
    }
    curve
}

/// Capturing one changed file among many: whichever it is, or one that is named.
fn captures(named: bool) -> Curve {
    let mut curve = Curve {
        name: if named { "capture-path" } else { "capture" },
        work: if named { "`capture -- PATH`, one changed file" } else { "`capture`, one changed file" },
        over: "files",
        against: "`git add -A && git commit -q`",
        bound: Bound::OfGit(if named { 0.1 } else { 0.9 }),
        promised: if named { 0.05 } else { 0.75 },
        points: Vec::new(),
    };
    for size in sizes(100_000).into_iter().skip(2) {
        let (ours, theirs) = (repository(size), repository(size));
        let id = reserve(ours.path(), "work", &[]);
        let mut args = vec!["agent", "capture", "--session", &id, "-m", "x"];
        let path = file(size / 2);
        if named && Control::wanted() != Control::Index {
            args.extend(["--", &path]);
        }
        curve.measure(size, |round| {
            change(ours.path(), round, 1, size, 1);
            let took = timed(ours.path(), HEDDLE, &args);
            change(theirs.path(), round, 1, size, 1);
            let git = stage_and_commit(theirs.path());
            (took, git, git)
        });
    }
    curve
}

/// Capturing one changed file, or a thousand, among many that are watched.
fn watched(files: usize) -> Curve {
    let one = files == 1;
    let mut curve = Curve {
        name: if one { "capture-watched" } else { "capture-watched-many" },
        work: if one {
            "`capture` in a watched worktree, one changed file"
        } else {
            "`capture` in a watched worktree, 1,000 changed files"
        },
        over: "files",
        against: "`git add -A && git commit -q`",
        bound: Bound::OfGit(if one { 0.1 } else { 0.6 }),
        promised: if one { 0.05 } else { 0.4 },
        points: Vec::new(),
    };
    for size in sizes(100_000).into_iter().skip(2).filter(|size| *size >= files) {
        let (ours, theirs) = (repository(size), repository(size));
        // Ten of each folder at most.
        let step = (size / files).clamp(1, 10);
        let watching = Watching::begin(ours.path(), None, Control::wanted() != Control::Unwatched);
        curve.measure(size, |round| {
            change(ours.path(), round, files, size, step);
            let took =
                timed(ours.path(), HEDDLE, &["agent", "capture", "--session", &watching.session, "-m", "x"]);
            change(theirs.path(), round, files, size, step);
            let git = stage_and_commit(theirs.path());
            (took, git, git)
        });
    }
    curve
}

/// Marking ready, which compares with what every live thread changed.
fn ready() -> Curve {
    let mut curve = Curve {
        name: "ready",
        work: "`ready`, beside live threads with a commit each",
        over: "live threads",
        against: "`git for-each-ref --format='%(refname) %(ahead-behind:main)'`",
        bound: Bound::OfGit(10.0),
        promised: 10.0,
        points: Vec::new(),
    };
    for size in sizes(1_000).into_iter().skip(1) {
        let many = threads(size);
        let id = reserve(many.path(), "mine", &[]);
        fs::write(many.path().join("d000/f0"), "mine\n").expect("write");
        timed(many.path(), HEDDLE, &["agent", "capture", "--session", &id, "-m", "x"]);
        curve.measure(size, |_| {
            let format = "--format=%(refname) %(ahead-behind:main)";
            let theirs = timed(many.path(), "git", &["for-each-ref", format, "refs/heddle/threads"]);
            (timed(many.path(), HEDDLE, &["agent", "ready", "--session", &id]), theirs, theirs)
        });
    }
    curve
}
