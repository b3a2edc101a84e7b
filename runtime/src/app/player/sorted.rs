//! Writes klines as lines of text: the last revision of each, sorted by (end, interval, symbol), open klines last.
//!
//! A closed kline is kept until no trade can change it. So memory holds the klines of one `lateness`, and at least
//! those of 50 s.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use klines_delivery::encode;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline};
use klines_domain::symbol::Symbol;
use klines_domain::time::{ExchangeMillis, Millis};

use super::Sink;

/// The text format of a kline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `interval,symbol,start,open,high,low,close,volume,turnover,trades`
    Csv,
    /// One JSON object with every field.
    Ndjson,
    /// One frame of Bybit's `kline` topic.
    Bybit,
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
    target: Target,
}

/// The output that klines are written to.
pub enum Target {
    /// A file that is created, or truncated, once the input could be opened.
    File(PathBuf),
    /// A writer that is already open.
    Open(BufWriter<Box<dyn Write + Send>>),
}

impl Target {
    /// Wraps a writer that is already open.
    #[must_use]
    pub fn open(out: Box<dyn Write + Send>) -> Self {
        Self::Open(BufWriter::with_capacity(1 << 18, out))
    }
}

impl Sorted {
    /// Returns a sink without klines.
    #[must_use]
    pub const fn new(format: Format, closed_only: bool, target: Target) -> Self {
        Self { format, closed_only, closed: BTreeMap::new(), open: BTreeMap::new(), line: String::new(), target }
    }

    fn write(&mut self, kline: &Kline) -> std::io::Result<()> {
        self.line.clear();
        match self.format {
            Format::Csv => encode::csv(kline, &mut self.line),
            Format::Ndjson => encode::ndjson(kline, &mut self.line),
            Format::Bybit => encode::bybit(kline, &mut self.line),
        }
        match &mut self.target {
            Target::Open(out) => out.write_all(self.line.as_bytes()),
            Target::File(_) => Err(std::io::Error::other("the output was not opened")),
        }
    }
}

impl Sink for Sorted {
    fn open(&mut self) -> anyhow::Result<()> {
        if let Target::File(path) = &self.target {
            let file = std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
            self.target = Target::open(Box::new(file));
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
        if let Target::Open(out) = &mut self.target {
            out.flush()?;
        }
        Ok(())
    }
}
