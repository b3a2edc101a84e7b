//! Prints klines to standard output, one aligned line or one JSON object each. Decides what is written; how a line
//! looks is `table`'s business.

mod row;
mod table;

use std::io::{self, ErrorKind, Write};

use klines_guest::{Batch, Consumer, Failure, JsonKline, Subscription, TerminalInfo, terminal};
use serde::Deserialize;

use self::row::{Categories, Row};
use self::table::Table;

/// What the operator may write under `[consumers.console.settings]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Closed klines only, or updates of open windows too. Default `closed`.
    #[serde(default)]
    show: Show,
    /// Aligned lines for people, or JSON lines with exact digits for programs. Default `text`.
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Show {
    #[default]
    Closed,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

struct Console {
    settings: Settings,
    categories: Categories,
    table: Table,
}

impl Consumer for Console {
    type Settings = Settings;

    fn setup(settings: Settings) -> Result<Self, Failure> {
        Ok(Self { settings, categories: Categories::default(), table: Table::default() })
    }

    fn subscription(&self) -> Subscription {
        match self.settings.show {
            Show::Closed => Subscription::closed(),
            Show::All => Subscription::all(),
        }
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        let text = match self.settings.format {
            // The terminal is asked every time: its width changes.
            Format::Text => self.lines(batch, terminal()).into_bytes(),
            Format::Json => json_lines(batch)?,
        };
        write(&text).map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Failure::fatal("standard output was closed by its reader"),
            _ => Failure::retry(format!("cannot write to standard output: {e}")),
        })
    }
}

impl Console {
    fn lines(&mut self, batch: &Batch, terminal: Option<TerminalInfo>) -> String {
        for kline in &batch.klines {
            self.categories.note(kline.category);
        }
        let rows: Vec<Row> =
            batch.exact_rows().map(|(kline, digits)| Row::new(kline, &digits, self.categories)).collect();
        let mut text = String::new();
        if batch.lost > 0 {
            self.table.note(&mut text, terminal, &format!("! {} closed klines lost: fell behind", batch.lost));
        }
        self.table.draw(&mut text, terminal, &rows);
        text
    }
}

fn json_lines(batch: &Batch) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    if batch.lost > 0 {
        text.extend_from_slice(format!("{{\"lost\":{}}}\n", batch.lost).as_bytes());
    }
    for (kline, digits) in batch.exact_rows() {
        JsonKline::new(kline, &digits).append_line(&mut text)?;
    }
    Ok(text)
}

/// Writes a whole batch at once, so that it costs few host calls and never mixes with other output.
fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

klines_guest::export!(Console);

#[cfg(test)]
mod tests;
