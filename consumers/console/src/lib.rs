//! Prints klines to standard output, one aligned line or one JSON object for each kline. This module decides what is
//! printed; `table` decides the layout of a line.

mod row;
mod table;

use std::io::{self, ErrorKind, Write};

use klines_guest::{Batch, Consumer, Failure, JsonKline, Subscription, TerminalInfo, terminal};
use serde::Deserialize;

use self::row::{Categories, Row};
use self::table::Table;

/// The settings of `[consumers.console.settings]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Settings {
    /// Prints only closed klines, or also updates of open windows. Default `closed`.
    #[serde(default)]
    show: Show,
    /// Prints aligned lines for people, or JSON lines with exact digits for programs. Default `text`.
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
            // The terminal is queried for every batch, because its width can change.
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
            let klines = if batch.lost == 1 { "kline" } else { "klines" };
            self.table.note(&mut text, terminal, &format!("! {} closed {klines} lost: fell behind", batch.lost));
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

/// Writes the text of a whole batch at once, which takes few host calls and never mixes with other output.
fn write(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

klines_guest::export!(Console);

#[cfg(test)]
mod tests;
