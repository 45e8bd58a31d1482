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
//! millisecond slower for each thousand things there are, `unwatched` has nobody watch the worktrees
//! that are to be watched, `index` has a capture of one path look at all of them.

#[path = "../common/mod.rs"]
mod common;
mod curve;
mod works;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use curve::{Control, Curve};

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
    let curves: Vec<Curve> =
        works::ALL.iter().filter(|(name, _)| is_wanted(name)).flat_map(|(_, measure)| measure()).collect();
    curves.iter().for_each(|curve| print!("{}", curve.row()));
    if wanted.is_none()
        && Control::wanted() == Control::None
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
