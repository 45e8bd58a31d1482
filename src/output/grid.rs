//! Tables for people: columns without borders, so that they can be cut and searched.
//!
//! Where nobody looks (a pipe) every cell is whole and every row is one line, however long.
//! On a terminal a table that is too wide gives way step by step, as its maker lists the
//! steps: texts are cut with `…`, a text moves to a line of its own, a column goes. What
//! still does not fit is left to the terminal to wrap. Widths are those that a terminal
//! shows, so that wide characters do not shift the columns.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What is between two columns.
const GAP: &str = "  ";
/// What a line that continues a row begins with.
const INDENT: &str = "    ";
/// What stands for what was cut.
const CUT: char = '…';

/// A colour; it only adds to what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// All is well.
    Green,
    /// Somebody has to do something.
    Red,
    /// Worth a look.
    Yellow,
}

/// One cell. Its text has no control characters.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    color: Option<Color>,
}

impl Cell {
    /// A cell with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), color: None }
    }

    /// The same in a colour.
    #[must_use]
    pub fn fg(self, color: Color) -> Self {
        Self { color: Some(color), ..self }
    }

    /// Its text.
    #[must_use]
    pub fn content(self) -> String {
        self.text
    }
}

/// Which end of a text is worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Its beginning.
    Start,
    /// Its end.
    End,
    /// Both.
    Ends,
}

/// One step by which a table gives way; columns are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The texts of a column are cut, to no less than this width, and get back what later
    /// steps leave over.
    Shorten(usize, Keep, usize),
    /// The texts of a column are cut to this width: half an id is of no more use than its end.
    Abbreviate(usize, usize),
    /// The texts of a column go to a line of their own below the row.
    Below(usize),
    /// A column is left out.
    Drop(usize),
}

/// A table.
#[derive(Debug)]
pub struct Grid<'a> {
    header: &'a [&'a str],
    rows: Vec<Vec<Cell>>,
    steps: &'a [Step],
    numbers: &'a [usize],
}

impl<'a> Grid<'a> {
    /// An empty table. The columns in `numbers` are aligned to the right.
    #[must_use]
    pub fn new(header: &'a [&'a str], numbers: &'a [usize], steps: &'a [Step]) -> Self {
        Self { header, rows: Vec::new(), steps, numbers }
    }

    /// Adds a row with a cell for each column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as lines without blanks at their ends, no wider than `width` if its steps
    /// allow that.
    #[must_use]
    pub fn lines(&self, width: Option<usize>, color: bool) -> String {
        let natural: Vec<usize> = (0..self.header.len()).map(|at| self.natural(at)).collect();
        let mut columns: Vec<Option<usize>> = natural.iter().copied().map(Some).collect();
        let mut keeps = vec![Keep::Start; columns.len()];
        let mut below = None;
        let total = |columns: &[Option<usize>]| {
            let shown = columns.iter().flatten();
            shown.clone().sum::<usize>() + GAP.len() * shown.count().saturating_sub(1)
        };
        for step in self.steps.iter().filter(|_| width.is_some()) {
            let excess = total(&columns).saturating_sub(width.unwrap_or(usize::MAX));
            if excess == 0 {
                break;
            }
            match *step {
                Step::Shorten(at, keep, least) => {
                    if let Some(now) = columns[at].as_mut().filter(|now| **now > least) {
                        *now = now.saturating_sub(excess).max(least);
                        keeps[at] = keep;
                    }
                }
                Step::Abbreviate(at, to) => {
                    columns[at] = columns[at].map(|now| now.min(to));
                    keeps[at] = Keep::End;
                }
                Step::Below(at) => {
                    columns[at] = None;
                    below = Some(at);
                }
                Step::Drop(at) => columns[at] = None,
            }
        }
        for step in self.steps {
            let Step::Shorten(at, ..) = *step else { continue };
            let left = width.unwrap_or(0).saturating_sub(total(&columns));
            columns[at] = columns[at].map(|now| (now + left).min(natural[at]).max(now));
        }
        let header: Vec<Cell> = self.header.iter().map(|title| Cell::new(*title)).collect();
        let mut text = String::new();
        for (row, cells) in std::iter::once(&header).chain(&self.rows).enumerate() {
            self.line(cells, &columns, &keeps, color, &mut text);
            if let Some(cell) = below.map(|at| &cells[at]).filter(|cell| row > 0 && cell.text != "-") {
                let room = width.unwrap_or(usize::MAX).saturating_sub(INDENT.len());
                text.push_str(INDENT);
                text.push_str(&cut(&cell.text, room, Keep::Start));
                text.push('\n');
            }
        }
        text
    }

    /// How wide a column is if nothing is cut.
    fn natural(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| width(&row[at].text));
        cells.chain([width(self.header[at])]).max().unwrap_or(0)
    }

    fn line(
        &self,
        cells: &[Cell],
        columns: &[Option<usize>],
        keeps: &[Keep],
        color: bool,
        text: &mut String,
    ) {
        let start = text.len();
        let shown = cells.iter().enumerate().filter_map(|(at, cell)| Some((at, cell, columns[at]?)));
        for (nth, (at, cell, room)) in shown.enumerate() {
            if nth > 0 {
                text.push_str(GAP);
            }
            let word = cut(&cell.text, room, keeps[at]);
            let blanks = room.saturating_sub(width(&word));
            let before = if self.numbers.contains(&at) { blanks } else { 0 };
            text.extend(std::iter::repeat_n(' ', before));
            match cell.color.filter(|_| color) {
                Some(color) => {
                    let code = match color {
                        Color::Red => "\x1b[31m",
                        Color::Green => "\x1b[32m",
                        Color::Yellow => "\x1b[33m",
                    };
                    text.extend([code, &word, "\x1b[m"]);
                }
                None => text.push_str(&word),
            }
            text.extend(std::iter::repeat_n(' ', blanks - before));
        }
        let end = text[start..].trim_end_matches(' ').len();
        text.truncate(start + end);
        text.push('\n');
    }
}

/// How many columns of a terminal `text` takes.
fn width(text: &str) -> usize {
    // Most text is of printable ASCII characters, which take one each.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { text.len() } else { text.width() }
}

/// `text` in at most `columns` columns of a terminal, with `…` where something was cut.
#[must_use]
pub fn cut(text: &str, columns: usize, keep: Keep) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let room = columns.saturating_sub(1);
    let (before, after) = match keep {
        Keep::Start => (room, 0),
        Keep::End => (0, room),
        Keep::Ends => (room - room / 2, room / 2),
    };
    let fitting = |characters: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let mut kept = Vec::new();
        for character in characters {
            used += character.width().unwrap_or(0);
            if used > room {
                break;
            }
            kept.push(character);
        }
        kept
    };
    let start = fitting(&mut text.chars(), before);
    let end = fitting(&mut text.chars().rev(), after);
    start.into_iter().chain([CUT]).chain(end.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid<'a>(steps: &'a [Step]) -> Grid<'a> {
        let mut grid = Grid::new(&["NAME", "N", "TASK"], &[1], steps);
        grid.row(vec![
            Cell::new("fix/login"),
            Cell::new("7").fg(Color::Red),
            Cell::new("mend the login form"),
        ]);
        grid.row(vec![Cell::new("a"), Cell::new("10"), Cell::new("-")]);
        grid
    }

    #[test]
    fn a_table_in_a_pipe_is_whole() {
        let text = grid(&[Step::Drop(0), Step::Shorten(2, Keep::Start, 5)]).lines(None, false);
        assert_eq!(text, "NAME        N  TASK\nfix/login   7  mend the login form\na          10  -\n");
    }

    #[test]
    fn a_narrow_table_gives_way_step_by_step_and_no_further_than_needed() {
        let steps = [Step::Shorten(2, Keep::Start, 8), Step::Below(2), Step::Shorten(0, Keep::Ends, 4)];
        let at = |width| grid(&steps).lines(Some(width), false);
        assert_eq!(at(34), grid(&[]).lines(None, false));
        assert_eq!(at(28), "NAME        N  TASK\nfix/login   7  mend the log…\na          10  -\n");
        let below = "NAME        N\nfix/login   7\n    mend the…\na          10\n";
        assert_eq!(at(13), below);
        assert_eq!(at(9), "NAME    N\nfi…in   7\n    mend…\na      10\n");
    }

    #[test]
    fn wide_characters_count_as_what_they_take() {
        assert_eq!(cut("日本語", 6, Keep::Start), "日本語");
        assert_eq!(cut("日本語", 5, Keep::Start), "日本…");
        assert_eq!(cut("agent-01abc", 6, Keep::End), "…01abc");
        let mut grid = Grid::new(&["A", "B"], &[], &[]);
        grid.row(vec![Cell::new("日本"), Cell::new("x")]);
        assert_eq!(grid.lines(None, false), "A     B\n日本  x\n");
    }

    #[test]
    fn colours_do_not_shift_the_columns() {
        let text = grid(&[]).lines(None, true);
        assert!(text.contains("fix/login   \x1b[31m7\x1b[m  mend"), "{text:?}");
    }
}
