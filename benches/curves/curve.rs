//! One command measured at growing sizes, its bound and its drawing.

use std::path::Path;
use std::time::{Duration, Instant};

use plotters::prelude::*;

use super::common::rounds;

/// What a curve has to keep to.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// So many times what it takes where there is nothing, at the largest size.
    Flat(f64),
    /// So many times what Git takes, at the largest size.
    OfGit(f64),
}

/// A command over growing sizes.
pub(crate) struct Curve {
    /// The name of its drawing.
    pub(crate) name: &'static str,
    pub(crate) work: &'static str,
    /// What there is more and more of.
    pub(crate) over: &'static str,
    pub(crate) against: &'static str,
    pub(crate) bound: Bound,
    /// What was promised for the bound.
    pub(crate) promised: f64,
    pub(crate) points: Vec<Point>,
}

/// Medians at one size, in milliseconds.
pub(crate) struct Point {
    size: usize,
    ours: f64,
    theirs: f64,
    /// The median of the ratios round by round, to Git or to a repository with nothing.
    pub(crate) ratio: f64,
}

/// One round: heddle, Git, and heddle where there is nothing.
pub(crate) type Round = (Duration, Duration, Duration);

pub(crate) fn most() -> usize {
    std::env::var("HEDDLE_CURVES_MOST").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

/// Powers of ten up to the largest size, and nothing at all.
pub(crate) fn sizes(limit: usize) -> Vec<usize> {
    let limit = limit.min(most());
    [0, 10, 100, 1_000, 10_000, 100_000].into_iter().filter(|size| *size <= limit).collect()
}

/// What is done wrong on purpose, to see that the gate can fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Nothing.
    None,
    /// Every command takes a millisecond longer for each thousand things there are.
    Sleep,
    /// Nobody watches the worktrees that are to be watched.
    Unwatched,
    /// A capture of some paths looks at all of them.
    Index,
}

impl Control {
    /// The one that `HEDDLE_CURVES_CONTROL` names.
    pub(crate) fn wanted() -> Self {
        match std::env::var("HEDDLE_CURVES_CONTROL").as_deref() {
            Ok("sleep") => Self::Sleep,
            Ok("unwatched") => Self::Unwatched,
            Ok("index") => Self::Index,
            Ok(other) => panic!("there is no control '{other}'"),
            Err(_) => Self::None,
        }
    }

    fn sleep(self, size: usize) -> Duration {
        if self == Self::Sleep { Duration::from_micros(size as u64) } else { Duration::ZERO }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Curve {
    /// Measures one size, after a round that does not count.
    pub(crate) fn measure(&mut self, size: usize, mut round: impl FnMut(usize) -> Round) {
        let rounds: Vec<Round> = (0..=rounds(15))
            .map(|number| {
                let (ours, theirs, nothing) = round(number);
                let started = Instant::now();
                std::thread::sleep(Control::wanted().sleep(size));
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

    pub(crate) fn last(&self) -> &Point {
        self.points.last().expect("a size")
    }

    pub(crate) fn kept(&self) -> bool {
        let (Bound::Flat(bound) | Bound::OfGit(bound)) = self.bound;
        self.last().ratio <= bound
    }

    pub(crate) fn row(&self) -> String {
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
    pub(crate) fn draw(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
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
