//! Stored klines as candlesticks in the terminal: one character wide, two steps of price in each character.

mod candle;
mod windows;

use std::sync::Arc;

use klines_delivery::encode::{CsvColumn, CsvScales, csv_padded};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};

use self::candle::{Candle, Scale};
use self::windows::{Window, windows};
use super::{Screen, utc};

const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const RESET: &str = "\u{1b}[0m";

/// The smallest height of the candles, in lines.
const LEAST_ROWS: usize = 4;
/// The number of lines between two prices of the axis.
const PRICE_EVERY: usize = 4;
/// The number of columns between two times of the axis.
const TIME_GAP: usize = 3;

/// Appends a chart of the newest klines that fit on the screen. Returns their number.
pub(super) fn draw(klines: &[Arc<Kline>], interval: Interval, screen: Screen, out: &mut String) -> usize {
    let axis = PriceAxis::new(klines);
    // The axis is a line, a space and the price.
    let columns = screen.width.saturating_sub(axis.width + 2).max(1);
    let windows = windows(klines, interval, columns);
    let shown: Vec<&Kline> = windows.iter().filter_map(|window| window.kline).collect();
    let (Some(high), Some(low)) =
        (shown.iter().map(|kline| kline.high).max(), shown.iter().map(|kline| kline.low).min())
    else {
        return 0;
    };
    let marks: String = windows.iter().map(|window| window.kline.map_or(' ', mark)).collect();
    let marks = marks.trim_end();
    let legend = legend(&windows, marks, screen.color);
    // The header, the two lines of the time axis, and the prompt that follows.
    let others = 4 + usize::from(!marks.is_empty()) + usize::from(!legend.is_empty());
    let rows = screen.height.saturating_sub(others).max(LEAST_ROWS);
    let scale = Scale::new(high, low, rows);
    header(&shown, interval, screen.width, out);
    candles(&windows, &scale, &axis, screen.color, out);
    if !marks.is_empty() {
        let (color, reset) = if screen.color { (YELLOW, RESET) } else { ("", "") };
        out.push_str(&format!("{color}{marks}{reset}\n"));
    }
    time_axis(&windows, interval, out);
    if !legend.is_empty() {
        out.push_str(&fitted(&legend, screen.width));
    }
    shown.len()
}

/// Appends the first line: what is shown.
fn header(shown: &[&Kline], interval: Interval, width: usize, out: &mut String) {
    let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return };
    let time = |kline: &Kline| utc::text(kline.start, utc::format(interval));
    let (category, symbol) = (first.series.category, &first.series.symbol);
    let klines = klines_domain::count::counted(shown.len(), "kline");
    let text = format!("{category} {symbol} {interval}, {klines}, {} to {} UTC", time(first), time(last));
    out.push_str(&fitted(&text, width));
}

/// Returns a line that is cut at the width of the screen.
fn fitted(text: &str, width: usize) -> String {
    text.chars().take(width).chain(['\n']).collect()
}

/// Returns the character that marks a kline in which trades may be missing.
const fn mark(kline: &Kline) -> char {
    match kline.quality {
        Quality::Complete | Quality::Repaired => ' ',
        Quality::Partial => 'p',
        Quality::Gapped => 'g',
    }
}

/// Returns the explanation of what the chart contains; empty if it needs none.
fn legend(windows: &[Window<'_>], marks: &str, color: bool) -> String {
    let klines = || windows.iter().filter_map(|window| window.kline);
    let parts = [
        (!color && klines().any(|kline| kline.close > kline.open), "┃ rises"),
        (!color && klines().any(|kline| kline.close < kline.open), "█ falls"),
        (marks.contains('p'), "p partial"),
        (marks.contains('g'), "g gapped"),
        (windows.iter().any(|window| window.kline.is_none()), "blank: not stored"),
    ];
    parts.iter().filter(|(is_shown, _)| *is_shown).map(|(_, text)| *text).collect::<Vec<_>>().join("   ")
}

/// Appends the lines of the candles, with the price axis at the right.
fn candles(windows: &[Window<'_>], scale: &Scale, axis: &PriceAxis, color: bool, out: &mut String) {
    let candles: Vec<Option<Candle>> =
        windows.iter().map(|window| window.kline.map(|kline| Candle::new(kline, scale, !color))).collect();
    let mut labelled = String::new();
    for row in 0..scale.rows() {
        let mut current = "";
        for candle in &candles {
            let character = candle.as_ref().map_or(' ', |candle| candle.at(row));
            let wanted = match candle.as_ref().filter(|_| color && character != ' ').map(Candle::rises) {
                Some(Some(true)) => GREEN,
                Some(Some(false)) => RED,
                // A blank has the colour of what is before it, which nobody sees.
                None if character == ' ' => current,
                _ => "",
            };
            if wanted != current {
                out.push_str(if wanted.is_empty() { RESET } else { wanted });
                current = wanted;
            }
            out.push(character);
        }
        if !current.is_empty() {
            out.push_str(RESET);
        }
        let label = Some(row).filter(|row| scale.is_labelled(*row, PRICE_EVERY)).map(|row| axis.text(scale.price(row)));
        match label.filter(|label| *label != labelled) {
            Some(label) => {
                out.push_str(&format!("┤ {label:>width$}\n", width = axis.width));
                labelled = label;
            }
            None => out.push_str("│\n"),
        }
    }
}

/// Appends the line under the candles, and the times under it.
fn time_axis(windows: &[Window<'_>], interval: Interval, out: &mut String) {
    let span = windows.first().zip(windows.last()).map_or(0, |(first, last)| last.start - first.start);
    let format = utc::short_format(interval, span);
    let (mut line, mut times, mut free) = (String::new(), String::new(), 0);
    for (column, window) in windows.iter().enumerate() {
        let time = utc::text(window.start, format);
        let is_next = column >= free && (column == 0 || column + time.len() <= windows.len());
        line.push(if is_next { '┬' } else { '─' });
        if is_next {
            times.extend(std::iter::repeat_n(' ', column - times.len()));
            times.push_str(&time);
            free = times.len() + TIME_GAP;
        }
    }
    out.push_str(&format!("{line}┘\n{times}\n"));
}

/// The prices at the right of the candles.
#[derive(Debug)]
struct PriceAxis {
    /// The number of decimals of the prices.
    decimals: u8,
    /// The width of the longest price.
    width: usize,
}

impl PriceAxis {
    fn new(klines: &[Arc<Kline>]) -> Self {
        let mut scales = CsvScales::default();
        klines.iter().for_each(|kline| scales.include(kline));
        let axis = Self { decimals: scales.of(CsvColumn::High).unwrap_or(0), width: 0 };
        let width =
            klines.iter().flat_map(|kline| [kline.high, kline.low]).map(|price| axis.exact(price, scales).len());
        Self { width: width.max().unwrap_or(0), ..axis }
    }

    /// Returns a price with all decimals.
    fn exact(&self, price: Decimal, scales: CsvScales) -> String {
        let mut text = String::new();
        csv_padded(&price.to_string(), &[CsvColumn::High], scales, &mut text);
        text.trim_end().to_owned()
    }

    /// Returns a price of the axis, rounded to the symbol's decimals.
    fn text(&self, price: f64) -> String {
        format!("{price:.decimals$}", decimals = usize::from(self.decimals))
    }
}
