//! Writes klines as lines of text: the last revision of each, sorted by (end, interval, symbol), open klines last.
//!
//! A closed kline is kept until no trade can change it. So memory holds the klines of one `lateness`, and at least
//! those of 50 s. Csv rows with the digits of their symbols' scales are kept until the end, because a later trade can
//! have more digits.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use klines_delivery::encode::{self, CsvColumn, CsvScales};
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline};
use klines_domain::symbol::Symbol;
use klines_domain::time::{ExchangeMillis, Millis};

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

/// The sort key of lines.
type Key = (Millis, Interval, Symbol);

/// A sink that writes klines in sorted order.
pub struct Sorted {
    format: Format,
    closed_only: bool,
    closed: BTreeMap<Key, Arc<Kline>>,
    open: BTreeMap<Key, Arc<Kline>>,
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
            closed: BTreeMap::new(),
            open: BTreeMap::new(),
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

    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        for kline in batch.klines {
            let key = (kline.end, kline.series.interval, kline.series.symbol.clone());
            if kline.confirm {
                self.open.remove(&key);
                self.closed.insert(key, kline);
            } else if !self.closed_only {
                self.open.insert(key, kline);
            }
        }
        Ok(())
    }

    fn settle(&mut self, settled: ExchangeMillis) -> anyhow::Result<()> {
        while let Some(first) = self.closed.first_entry()
            && first.key().0 < settled.get()
        {
            let kline = first.remove();
            self.write(&kline).context("writing klines")?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let closed = std::mem::take(&mut self.closed);
        let open = std::mem::take(&mut self.open);
        for kline in closed.values().chain(open.values()) {
            self.write(kline)?;
        }
        self.write_padded()?;
        self.target.flush()?;
        Ok(())
    }
}
