//! Aligns rows in columns and fits them into the terminal: columns only grow, a narrow terminal shortens the words after
//! them and then drops the least important columns first, and no line wraps. Does not know the meaning of a column, except for the two it colours.

use klines_guest::TerminalInfo;

use crate::row::{CLOSE, COLUMNS, Direction, MARK, Row};

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// The column widths that were needed so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    widths: [usize; COLUMNS.len()],
    tags: usize,
    short_tags: usize,
    headed: bool,
}

/// The layout of the rows of one batch.
struct Layout {
    shown: [bool; COLUMNS.len()],
    gap: usize,
    /// Whether the words after the columns are shortened.
    short: bool,
    columns: Option<usize>,
    colour: bool,
}

impl Table {
    /// Appends one line for each row; on a terminal, a heading precedes the first row.
    pub(crate) fn draw(&mut self, out: &mut String, terminal: Option<TerminalInfo>, rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let heads = terminal.is_some() && !self.headed;
        if heads {
            for (width, column) in self.widths.iter_mut().zip(&COLUMNS) {
                *width = (*width).max(column.name.len());
            }
        }
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(&row.cells) {
                *width = (*width).max(display_width(cell));
            }
            self.tags = self.tags.max(display_width(&row.tags));
            self.short_tags = self.short_tags.max(display_width(&row.short_tags));
        }
        let layout = self.fit(terminal);
        if heads {
            self.headed = true;
            let names = COLUMNS.map(|column| (column.name, DIM));
            self.line(out, &layout, names, ("", DIM));
        }
        for row in rows {
            let tags = if layout.short { &row.short_tags } else { &row.tags };
            self.line(out, &layout, colours(row), (tags, YELLOW));
        }
    }

    /// Appends a line of text that is not part of the columns.
    pub(crate) fn note(&self, out: &mut String, terminal: Option<TerminalInfo>, text: &str) {
        let layout = self.fit(terminal);
        let mut line = Line::new(&layout);
        line.push(text, YELLOW);
        line.finish(out);
    }

    /// Chooses the columns that fit into the terminal.
    fn fit(&self, terminal: Option<TerminalInfo>) -> Layout {
        // Some pseudo-terminals report 0 for an unknown width.
        let columns =
            terminal.and_then(|terminal| usize::try_from(terminal.columns).ok()).filter(|columns| *columns > 0);
        let mut layout = Layout {
            shown: [true; COLUMNS.len()],
            gap: 2,
            short: false,
            columns,
            colour: terminal.is_some_and(|terminal| terminal.colour),
        };
        let Some(room) = columns else { return layout };
        if self.needed(&layout) > room {
            layout.gap = 1;
        }
        layout.short = self.needed(&layout) > room;
        for rank in 1..10 {
            if self.needed(&layout) <= room {
                break;
            }
            for (shown, _) in layout.shown.iter_mut().zip(&COLUMNS).filter(|(_, column)| column.rank == rank) {
                *shown = false;
            }
        }
        layout
    }

    fn needed(&self, layout: &Layout) -> usize {
        let shown = self.widths.iter().zip(layout.shown).filter(|(_, shown)| *shown).map(|(width, _)| *width);
        let tags = Some(if layout.short { self.short_tags } else { self.tags }).filter(|width| *width > 0);
        shown.chain(tags).map(|width| width + layout.gap).sum::<usize>().saturating_sub(layout.gap)
    }

    fn line(
        &self,
        out: &mut String,
        layout: &Layout,
        cells: [(&str, &'static str); COLUMNS.len()],
        tags: (&str, &'static str),
    ) {
        let mut line = Line::new(layout);
        let mut pending = 0;
        for (((text, colour), column), (width, shown)) in
            cells.into_iter().zip(&COLUMNS).zip(self.widths.iter().zip(layout.shown))
        {
            if !shown {
                continue;
            }
            let fill = width.saturating_sub(display_width(text));
            let (before, after) = if column.numeric { (fill, 0) } else { (0, fill) };
            line.space(pending + before);
            line.push(text, colour);
            pending = after + layout.gap;
        }
        if !tags.0.is_empty() {
            line.space(pending);
            line.push(tags.0, tags.1);
        }
        line.finish(out);
    }
}

fn colours(row: &Row) -> [(&str, &'static str); COLUMNS.len()] {
    let direction = match row.direction {
        Direction::Up => GREEN,
        Direction::Down => RED,
        Direction::Flat => "",
    };
    let mut position = 0;
    row.cells.each_ref().map(|cell| {
        let colour = match position {
            CLOSE => direction,
            MARK if !row.confirm => DIM,
            _ => "",
        };
        position += 1;
        (cell.as_str(), colour)
    })
}

/// A line of output that is cut at the terminal's width.
struct Line {
    text: String,
    room: usize,
    colour: bool,
}

impl Line {
    fn new(layout: &Layout) -> Self {
        Self { text: String::new(), room: layout.columns.unwrap_or(usize::MAX), colour: layout.colour }
    }

    fn space(&mut self, count: usize) {
        let count = count.min(self.room);
        self.text.extend(std::iter::repeat_n(' ', count));
        self.room -= count;
    }

    fn push(&mut self, text: &str, colour: &str) {
        let paint = self.colour && !colour.is_empty() && !text.is_empty();
        if paint {
            self.text.push_str(colour);
        }
        for c in text.chars() {
            let width = char_width(c);
            if width > self.room {
                self.room = 0;
                break;
            }
            self.text.push(c);
            self.room -= width;
        }
        if paint {
            self.text.push_str(RESET);
        }
    }

    fn finish(self, out: &mut String) {
        out.push_str(self.text.trim_end_matches(' '));
        out.push('\n');
    }
}

fn display_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Returns the number of terminal cells of a character. Bybit lists symbols with Chinese names, whose characters take
/// two cells.
fn char_width(c: char) -> usize {
    let wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}');
    if wide { 2 } else { 1 }
}
