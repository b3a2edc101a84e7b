//! `klines history`: writes stored klines as a table, csv, JSON or candlesticks.

mod chart;
mod page_reader;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use klines_delivery::encode::{CsvColumn, csv, ndjson};
use klines_delivery::history::History;
use klines_domain::count::counted;
use klines_domain::series::SeriesKey;
use klines_domain::time::Millis;

use self::page_reader::{PageReader, Range};
use self::table::Table;
use super::refusal::data_dir;
use super::{output, store, utc};
use crate::cli::{EXIT_FAILED, HistoryArgs, HistoryFormat};
use crate::telemetry;

/// The size that charts have if standard output is no terminal.
const SIZE: (usize, usize) = (80, output::LINES);

/// What the output is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Screen {
    /// Whether colours are shown.
    color: bool,
    /// Characters of a line.
    width: usize,
    /// Lines.
    height: usize,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    /// The number of klines.
    klines: usize,
    /// Whether klines that were asked for have no room on the screen.
    is_cut: bool,
}

/// Opens the store and writes the klines of the arguments.
///
/// # Errors
/// When the store cannot be opened, and those of [`run`].
pub fn command(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    run(args, &*store::open(&data_dir(args.store.sources())?)?)
}

/// Writes the klines of the arguments to standard output. The exit code is 1 if there are none.
///
/// # Errors
/// When the klines cannot be read, or standard output cannot be written. A closed pipe is not an error: the reader needs
/// no more.
pub fn run(args: &HistoryArgs, history: &dyn History) -> anyhow::Result<ExitCode> {
    let stdout = io::stdout();
    let (width, height) = output::size_of(&stdout).unwrap_or(SIZE);
    let screen = Screen { color: telemetry::wants_color(&stdout), width, height };
    let mut out = BufWriter::new(stdout.lock());
    let written = write(args, history, screen, &mut out).and_then(|written| {
        out.flush()?;
        Ok(written)
    });
    match written {
        Err(error) if output::is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
        Ok(Written { klines: 0, .. }) => {
            output::eprint(&nothing(args));
            Ok(ExitCode::from(EXIT_FAILED))
        }
        Ok(Written { klines, is_cut }) => {
            if is_cut {
                let klines = counted(klines, "kline");
                output::eprint(&format!(
                    "the chart shows the last {klines} of the range: the terminal has no room for more"
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads the klines of the arguments page by page, and writes each page before the next one is read.
fn write(args: &HistoryArgs, history: &dyn History, screen: Screen, out: &mut impl Write) -> anyhow::Result<Written> {
    let range = Range {
        series: args.series(),
        from: args.from.unwrap_or(0),
        to: args.to.unwrap_or(Millis::MAX),
        limit: args.limit(),
    };
    if args.format == HistoryFormat::Chart {
        return write_chart(args, history, range, screen, out);
    }
    let mut pages = PageReader::open(history, range)?;
    let mut table = Table::new(args.interval, screen.color);
    let (mut text, mut klines) = (String::new(), 0);
    loop {
        let page = pages.read()?;
        if page.is_empty() {
            return Ok(Written { klines, is_cut: false });
        }
        klines += page.len();
        match args.format {
            HistoryFormat::Csv => page.iter().for_each(|kline| csv(kline, &CsvColumn::DEFAULT, &mut text)),
            HistoryFormat::Ndjson => page.iter().for_each(|kline| ndjson(kline, &mut text)),
            HistoryFormat::Table | HistoryFormat::Chart => table.page(&page, &mut text),
        }
        out.write_all(text.as_bytes())?;
        text.clear();
    }
}

/// Draws the newest klines of the range that fit on the screen.
fn write_chart(
    args: &HistoryArgs,
    history: &dyn History,
    range: Range,
    screen: Screen,
    out: &mut impl Write,
) -> anyhow::Result<Written> {
    // One more than there is room for shows that some are left out. The default number gives way to the screen's width.
    let room = screen.width.saturating_add(1);
    let is_asked = args.last.is_some() || args.from.is_some();
    let limit = range.limit.filter(|_| args.last.is_some()).map_or(room, |limit| limit.min(room));
    let mut pages = PageReader::open(history, Range { limit: Some(limit), ..range })?;
    let mut klines = Vec::new();
    loop {
        let page = pages.read()?;
        if page.is_empty() {
            break;
        }
        klines.extend(page);
    }
    let mut text = String::new();
    let shown = chart::draw(&klines, args.interval, screen, &mut text);
    out.write_all(text.as_bytes())?;
    Ok(Written { klines: shown, is_cut: is_asked && shown < klines.len() })
}

/// Returns the message that there are no klines.
fn nothing(args: &HistoryArgs) -> String {
    let SeriesKey { category, symbol, interval } = args.series();
    let from = args.from.map(|from| format!(" from {}", utc::exact(from))).unwrap_or_default();
    let to = args.to.map(|to| format!(" to {}", utc::exact(to))).unwrap_or_default();
    format!("no klines of {category} {symbol} {interval}{from}{to} are stored")
}
