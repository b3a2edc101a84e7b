//! Writes klines as lines of text: the last revision of each, sorted by (end, interval, symbol), open klines last.
//!
//! A closed kline is kept until no trade can change it. So memory holds the klines of one `lateness`, and at least
//! those of 50 s. Csv rows with the digits of their symbols' scales are kept until the end, because a later trade can
//! have more digits.

use anyhow::Context;
use klines_delivery::encode::{self, CsvColumn, CsvScales};
use klines_domain::kline::{Batch, Kline};
use klines_domain::time::ExchangeMillis;

use super::ordered::{self, Ordered};
use super::{Sink, Target};

/// The text format of a kline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows of columns.
    Csv(CsvLayout),
    /// One JSON object with every field.
    Ndjson,
    /// One frame of Bybit's `kline` topic.
    Bybit,
}

/// Which columns a csv file has, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvLayout {
    /// The columns, in their order.
    pub columns: Vec<CsvColumn>,
    /// Whether the first line contains the names of the columns.
    pub header: bool,
    /// Whether every value of a column has the same number of decimals: the most that a symbol of the file has.
    pub padded: bool,
}

impl Default for CsvLayout {
    fn default() -> Self {
        Self { columns: CsvColumn::DEFAULT.to_vec(), header: false, padded: false }
    }
}

/// A sink that writes klines in sorted order.
pub struct Sorted {
    format: Format,
    closed_only: bool,
    closed: Ordered,
    open: Ordered,
    line: String,
    /// Csv rows that are padded at the end, when their scales are known.
    rows: String,
    scales: CsvScales,
    target: Target,
}

impl Sorted {
    /// Returns a sink without klines.
    #[must_use]
    pub fn new(format: Format, closed_only: bool, target: Target) -> Self {
        Self {
            format,
            closed_only,
            closed: Ordered::default(),
            open: Ordered::default(),
            line: String::new(),
            rows: String::new(),
            scales: CsvScales::default(),
            target,
        }
    }

    fn write(&mut self, kline: &Kline) -> std::io::Result<()> {
        self.line.clear();
        match &self.format {
            Format::Csv(CsvLayout { columns, padded: true, .. }) => {
                self.scales.include(kline);
                encode::csv(kline, columns, &mut self.rows);
                return Ok(());
            }
            Format::Csv(CsvLayout { columns, .. }) => encode::csv(kline, columns, &mut self.line),
            Format::Ndjson => encode::ndjson(kline, &mut self.line),
            Format::Bybit => encode::bybit(kline, &mut self.line),
        }
        self.target.write(&self.line)
    }

    /// Writes the rows that were kept until their scales are known.
    fn write_padded(&mut self) -> std::io::Result<()> {
        let Format::Csv(CsvLayout { columns, .. }) = &self.format else { return Ok(()) };
        for row in std::mem::take(&mut self.rows).lines() {
            self.line.clear();
            encode::csv_padded(row, columns, self.scales, &mut self.line);
            self.target.write(&self.line)?;
        }
        Ok(())
    }
}

impl Sink for Sorted {
    fn open(&mut self) -> anyhow::Result<()> {
        self.target.create()?;
        if let Format::Csv(CsvLayout { columns, header: true, .. }) = &self.format {
            self.line.clear();
            encode::csv_header(columns, &mut self.line);
            self.target.write(&self.line).context("writing the header")?;
        }
        Ok(())
    }

    fn take(&mut self, mut batch: Batch) -> anyhow::Result<()> {
        // A batch is sorted except for its symbols, which are in the order of their first trades. The sort is stable,
        // so that the last version of a kline remains the last.
        batch.klines.sort_by(|left, right| ordered::order(left, right));
        for kline in batch.klines {
            if kline.confirm {
                self.open.remove(&kline);
                self.closed.insert(kline);
            } else if !self.closed_only {
                self.open.insert(kline);
            }
        }
        Ok(())
    }

    fn settle(&mut self, settled: ExchangeMillis) -> anyhow::Result<()> {
        while let Some(kline) = self.closed.pop_before(settled.get()) {
            self.write(&kline).context("writing klines")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        while let Some(kline) = self.closed.pop().or_else(|| self.open.pop()) {
            self.write(&kline)?;
        }
        self.write_padded()?;
        self.target.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
