//! What commands cost over what exists: `just curves`.
//!
//! Each curve is one command measured in repositories of growing size, with the plain Git
//! command that does the nearest thing in the same repository and, where the cost must not
//! grow, with the same command in a repository that has nothing, all in turn. The curves are
//! drawn into `docs/curves/`, their table goes into `docs/performance.md`, and a curve that
//! leaves its bound makes this program fail.
//!
//! `HEDDLE_CURVES_MOST` is the largest size, 100,000 unless told; `HEDDLE_BENCH_PAIRS` the
//! number of rounds at each, 15 unless told. An argument measures the curves alone whose names
//! contain it, and keeps the documents as they are.
//!
//! `HEDDLE_CURVES_CONTROL` shows that the gate can fail: `sleep` makes every command a
//! millisecond slower for each thousand things there are.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::{HEDDLE, command, fill, repository, reserve, rounds, threads, timed};
use plotters::prelude::*;

/// What a curve has to keep to.
#[derive(Clone, Copy)]
enum Bound {
    /// So many times what it takes where there is nothing, at the largest size.
    Flat(f64),
    /// So many times what Git takes, at the largest size.
    OfGit(f64),
}

/// A command over growing sizes.
struct Curve {
    /// The name of its drawing.
    name: &'static str,
    work: &'static str,
    /// What there is more and more of.
    over: &'static str,
    against: &'static str,
    bound: Bound,
    /// What was promised for the bound.
    promised: f64,
    points: Vec<Point>,
}

/// Medians at one size, in milliseconds.
struct Point {
    size: usize,
    ours: f64,
    theirs: f64,
    /// The median of the ratios round by round, to Git or to a repository with nothing.
    ratio: f64,
}

/// One round: heddle, Git, and heddle where there is nothing.
type Round = (Duration, Duration, Duration);

fn most() -> usize {
    std::env::var("HEDDLE_CURVES_MOST").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

/// Powers of ten up to the largest size, and nothing at all.
fn sizes(limit: usize) -> Vec<usize> {
    let limit = limit.min(most());
    [0, 10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= limit).collect()
}

/// What the negative control adds.
fn control(size: usize) -> Duration {
    match std::env::var("HEDDLE_CURVES_CONTROL").as_deref() {
        Ok("sleep") => Duration::from_micros(size as u64),
        Ok(other) => panic!("there is no control '{other}'"),
        Err(_) => Duration::ZERO,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Curve {
    /// Measures one size, after a round that does not count.
    fn measure(&mut self, size: usize, mut round: impl FnMut(usize) -> Round) {
        let rounds: Vec<Round> = (0..=rounds(15))
            .map(|number| {
                let (ours, theirs, nothing) = round(number);
                let started = Instant::now();
                std::thread::sleep(control(size));
                (ours + started.elapsed(), theirs, nothing)
            })
            .skip(1)
            .collect();
        let millis = |pick: fn(&Round) -> Duration| {
            median(rounds.iter().map(|round| pick(round).as_secs_f64() * 1e3).collect())
        };
        let base: fn(&Round) -> Duration = match self.bound {
            Bound::Flat(_) => |round| round.2,
            Bound::OfGit(_) => |round| round.1,
        };
        let ratio = rounds.iter().map(|round| round.0.as_secs_f64() / base(round).as_secs_f64()).collect();
        let point = Point {
            size,
            ours: millis(|round| round.0),
            theirs: millis(|round| round.1),
            ratio: median(ratio),
        };
        eprintln!(
            "{}: {size}: {:.2} ms, git {:.2} ms, {:.2} ×",
            self.name, point.ours, point.theirs, point.ratio
        );
        self.points.push(point);
    }

    fn last(&self) -> &Point {
        self.points.last().expect("a size")
    }

    fn kept(&self) -> bool {
        let (Bound::Flat(bound) | Bound::OfGit(bound)) = self.bound;
        self.last().ratio <= bound
    }

    fn row(&self) -> String {
        let to = match self.bound {
            Bound::Flat(_) => "with nothing",
            Bound::OfGit(_) => "Git",
        };
        let last = self.last();
        format!(
            "| [{}](curves/{}.svg) | {} | {} | {:.2} ms | {:.2} ms | {:.2} × {to} | {:.2} × |\n",
            self.work, self.name, self.over, self.against, last.ours, last.theirs, last.ratio, self.promised
        )
    }

    /// Draws both over the size: the size in powers of ten, the time from zero.
    fn draw(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let path = folder.join(format!("{}.svg", self.name));
        let area = SVGBackend::new(&path, (640, 360)).into_drawing_area();
        area.fill(&WHITE)?;
        let place = |size: usize| (size.max(1) as f64).log10();
        let right = place(self.last().size).max(1.0);
        let top = self.points.iter().map(|point| point.ours.max(point.theirs)).fold(0.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.work.replace('`', ""), ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart
            .configure_mesh()
            .x_labels(right as usize + 1)
            .x_label_formatter(&|power| format!("{}", 10_f64.powf(*power).round()))
            .x_desc(self.over)
            .y_desc("milliseconds")
            .draw()?;
        let line = |pick: fn(&Point) -> f64| {
            self.points.iter().map(move |point| (place(point.size), pick(point))).collect::<Vec<_>>()
        };
        let against = self.against.replace('`', "");
        for (name, color, points) in
            [("heddle", BLUE, line(|point| point.ours)), (&*against, RED, line(|point| point.theirs))]
        {
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        area.present()?;
        Ok(())
    }
}

/// What commands cost that concern one thread, among so many others with an ended session
/// each.
fn among(packed: bool) -> Vec<Curve> {
    const SYNCED: &str = "`git -c core.fsync=all update-ref --create-reflog`";
    let over = if packed { "ended sessions and packed threads" } else { "ended sessions and loose threads" };
    let curve = |names: [&'static str; 2], work, against| Curve {
        name: names[usize::from(packed)],
        work,
        over,
        against,
        bound: Bound::Flat(1.15),
        promised: 1.1,
        points: Vec::new(),
    };
    let mut reserves = curve(["reserve-loose", "reserve-packed"], "`reserve`, new thread", SYNCED);
    let mut beats = curve(["heartbeat-loose", "heartbeat-packed"], "`heartbeat`", "`git rev-parse HEAD`");
    let mut releases = curve(["release-loose", "release-packed"], "`release`", SYNCED);
    let mut hooks = curve(
        ["hook-loose", "hook-packed"],
        "`git update-ref` of a branch, with hooks",
        "the same without hooks",
    );
    for size in sizes(100_000) {
        let (full, none) = (repository(1), repository(1));
        fill(full.path(), size, 0, size);
        fill(none.path(), 0, 0, 0);
        if !packed {
            loosen(full.path(), size);
        }
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
        let plain = repository(1);
        for folder in [full.path(), none.path()] {
            timed(folder, HEDDLE, &["hooks", "install"]);
        }
        hooks.measure(size, |round| {
            let name = format!("refs/heads/h{round}");
            (update(full.path(), &name), update(plain.path(), &name), update(none.path(), &name))
        });
    }
    vec![reserves, beats, releases, hooks]
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

/// Capturing one changed file among many.
fn captures() -> Curve {
    let mut curve = Curve {
        name: "capture",
        work: "`capture`, one changed file",
        over: "files",
        against: "`git add -A && git commit -q`",
        bound: Bound::OfGit(1.5),
        promised: 0.75,
        points: Vec::new(),
    };
    for size in sizes(100_000).into_iter().skip(2) {
        let (ours, theirs) = (repository(size), repository(size));
        let id = reserve(ours.path(), "work", &[]);
        let change = |folder: &Path, round: usize| {
            fs::write(folder.join("d000/f0"), format!("change {round}\n")).expect("write");
        };
        curve.measure(size, |round| {
            change(ours.path(), round);
            let took = timed(ours.path(), HEDDLE, &["agent", "capture", "--session", &id, "-m", "x"]);
            change(theirs.path(), round);
            let git = timed(theirs.path(), "git", &["add", "-A"])
                + timed(theirs.path(), "git", &["commit", "-q", "-m", "x"]);
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

/// Puts the table between its marks in `docs/performance.md`, and the drawings beside it.
fn publish(curves: &[Curve]) -> Result<(), Box<dyn std::error::Error>> {
    const MARKS: [&str; 2] = ["<!-- curves: made by `just curves` -->\n", "<!-- end of curves -->\n"];
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs");
    fs::create_dir_all(docs.join("curves"))?;
    let mut table = String::from(
        "| work | over | against | heddle at the largest size | Git there | ratio | promised |\n|---|---|---|---|---|---|---|\n",
    );
    for curve in curves {
        curve.draw(&docs.join("curves"))?;
        table += &curve.row();
    }
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(MARKS[0]).ok_or("docs/performance.md has no mark for the curves")?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or("docs/performance.md has no end mark for the curves")?;
    fs::write(page, [before, MARKS[0], "\n", &table, "\n", MARKS[1], after].concat())?;
    Ok(())
}

fn main() -> ExitCode {
    // Cargo's own flags come along.
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()));
    type Measuring = fn() -> Vec<Curve>;
    let works: [(&str, Measuring); 6] = [
        ("packed", || among(true)),
        ("loose", || among(false)),
        ("listings", listings),
        ("crowd", || vec![crowd()]),
        ("capture", || vec![captures()]),
        ("ready", || vec![ready()]),
    ];
    let curves: Vec<Curve> =
        works.iter().filter(|(name, _)| is_wanted(name)).flat_map(|(_, measure)| measure()).collect();
    curves.iter().for_each(|curve| print!("{}", curve.row()));
    if wanted.is_none()
        && control(1_000).is_zero()
        && let Err(error) = publish(&curves)
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let left: Vec<&Curve> = curves.iter().filter(|curve| !curve.kept()).collect();
    for curve in &left {
        eprintln!("error: the curve '{}' leaves its bound: {:.2} ×", curve.name, curve.last().ratio);
    }
    if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
