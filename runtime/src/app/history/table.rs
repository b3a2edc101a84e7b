//! Stored klines as aligned columns for people.

use std::sync::Arc;

use klines_delivery::encode::{CsvColumn, CsvScales, csv, csv_padded};
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};

use crate::app::utc;

/// The columns after the time.
const COLUMNS: [CsvColumn; 7] = [
    CsvColumn::Open,
    CsvColumn::High,
    CsvColumn::Low,
    CsvColumn::Close,
    CsvColumn::Volume,
    CsvColumn::Trades,
    CsvColumn::Quality,
];
/// The heading of the first column.
const TIME: &str = "time (UTC)";
/// Columns are this far apart.
const GAP: &str = "  ";
/// The colour of klines in which trades may be missing.
const YELLOW: &str = "\u{1b}[33m";
/// The colour of klines that were taken from the exchange's candles.
const CYAN: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// A table that grows page by page. Its columns become wider when a later page needs it.
#[derive(Debug)]
pub(super) struct Table {
    interval: Interval,
    color: bool,
    scales: CsvScales,
    /// The widths of all columns; empty until the heading is written.
    widths: Vec<usize>,
}

impl Table {
    /// Returns an empty table.
    pub(super) fn new(interval: Interval, color: bool) -> Self {
        Self { interval, color, scales: CsvScales::default(), widths: Vec::new() }
    }

    /// Appends the lines of a page, after the heading if it is the first one.
    pub(super) fn page(&mut self, klines: &[Arc<Kline>], out: &mut String) {
        klines.iter().for_each(|kline| self.scales.include(kline));
        let rows: Vec<Vec<String>> = klines.iter().map(|kline| self.cells(kline)).collect();
        let heading: Vec<String> =
            std::iter::once(TIME).chain(COLUMNS.map(CsvColumn::as_str)).map(str::to_owned).collect();
        let is_first = self.widths.is_empty();
        self.widths.resize(heading.len(), 0);
        for row in rows.iter().chain(is_first.then_some(&heading)) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        if is_first {
            self.line(&heading, "", out);
        }
        for (row, kline) in rows.iter().zip(klines) {
            let color = match kline.quality {
                Quality::Complete => "",
                Quality::Repaired => CYAN,
                Quality::Partial | Quality::Gapped => YELLOW,
            };
            self.line(row, if self.color { color } else { "" }, out);
        }
    }

    /// Returns the cells of a line. Decimals have as many digits as those of the symbol.
    fn cells(&self, kline: &Kline) -> Vec<String> {
        let (mut row, mut padded) = (String::new(), String::new());
        csv(kline, &COLUMNS, &mut row);
        csv_padded(&row, &COLUMNS, self.scales, &mut padded);
        let time = utc::text(kline.start, utc::format(self.interval));
        std::iter::once(time).chain(padded.trim_end().split(',').map(str::to_owned)).collect()
    }

    /// Appends a line: the time and the last column, which has the colour, are aligned to the left, numbers to the right.
    fn line(&self, cells: &[String], color: &str, out: &mut String) {
        for (index, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let fill = width.saturating_sub(cell.len());
            if index == 0 {
                out.push_str(cell);
                out.extend(std::iter::repeat_n(' ', fill));
            } else if index == COLUMNS.len() {
                out.push_str(GAP);
                out.push_str(color);
                out.push_str(cell);
                out.push_str(if color.is_empty() { "" } else { RESET });
            } else {
                out.push_str(GAP);
                out.extend(std::iter::repeat_n(' ', fill));
                out.push_str(cell);
            }
        }
        out.push('\n');
    }
}
