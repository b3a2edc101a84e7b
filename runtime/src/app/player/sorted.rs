//! Writes klines in a format: the last revision of each, sorted by (end, interval, symbol), open klines last.
//!
//! A closed kline is kept until no trade can change it. So memory holds the klines of one `lateness`, and at least
//! those of 50 s. Rows with the digits of their symbols' scales wait until the end, because a later trade can have more
//! digits.

use std::io::BufRead;

use anyhow::Context;
use klines_delivery::encode::{self, CsvColumn};
use klines_domain::kline::{Batch, Kline};
use klines_domain::time::ExchangeMillis;

use super::ordered::{self, Ordered};
use super::parquet;
use super::rows::Rows;
use super::{Sink, Target};

/// The format of klines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rows of columns.
    Csv(CsvLayout),
    /// One JSON object with every field.
    Ndjson,
    /// One frame of Bybit's `kline` topic.
    Bybit,
    /// A Parquet file of these columns.
    Parquet(Vec<CsvColumn>),
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
    /// Rows that are written at the end, when their scales are known.
    waiting: Option<Rows>,
    target: Target,
}

impl Sorted {
    /// Returns a sink without klines.
    #[must_use]
    pub fn new(format: Format, closed_only: bool, target: Target) -> Self {
        let waits = matches!(&format, Format::Csv(CsvLayout { padded: true, .. }) | Format::Parquet(_));
        Self {
            waiting: waits.then(|| Rows::new(target.folder())),
            format,
            closed_only,
            closed: Ordered::default(),
            open: Ordered::default(),
            line: String::new(),
            target,
        }
    }

    fn write(&mut self, kline: &Kline) -> std::io::Result<()> {
        self.line.clear();
        match (&self.format, &mut self.waiting) {
            (Format::Csv(CsvLayout { columns, .. }) | Format::Parquet(columns), Some(rows)) => {
                return rows.add(kline, columns);
            }
            (Format::Csv(CsvLayout { columns, .. }) | Format::Parquet(columns), None) => {
                encode::csv(kline, columns, &mut self.line);
            }
            (Format::Ndjson, _) => encode::ndjson(kline, &mut self.line),
            (Format::Bybit, _) => encode::bybit(kline, &mut self.line),
        }
        self.target.write(&self.line)
    }

    /// Writes the rows that waited until their scales are known.
    fn write_waiting(&mut self) -> anyhow::Result<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let (mut rows, scales) = waiting.read()?;
        let columns = match &self.format {
            Format::Parquet(columns) => return parquet::write(rows, columns, scales, self.target.writer()?),
            Format::Csv(CsvLayout { columns, .. }) => columns,
            Format::Ndjson | Format::Bybit => return Ok(()),
        };
        let mut row = String::new();
        while rows.read_line(&mut row)? > 0 {
            self.line.clear();
            encode::csv_padded(&row, columns, scales, &mut self.line);
            self.target.write(&self.line)?;
            row.clear();
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
        self.write_waiting()?;
        self.target.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
