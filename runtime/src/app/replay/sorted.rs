//! Klines as lines of text: the last revision of each, by (end, interval, symbol), the open ones last.
//!
//! A closed kline waits until no late trade can change it, so that memory holds one lateness of klines.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use anyhow::Context;

use crate::consumer::encode;
use crate::domain::interval::Interval;
use crate::domain::kline::{Batch, Kline};
use crate::domain::symbol::Symbol;
use crate::domain::time::Millis;

use super::Sink;

/// How a kline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `interval,symbol,start,open,high,low,close,volume,turnover,trades`
    Csv,
    /// One JSON object with every field.
    Ndjson,
    /// One frame of Bybit's `kline` topic.
    Bybit,
}

/// What lines are ordered by.
type Key = (Millis, Interval, Symbol);

/// Writes klines in order.
pub struct Sorted {
    format: Format,
    closed_only: bool,
    closed: BTreeMap<Key, Arc<Kline>>,
    open: BTreeMap<Key, Arc<Kline>>,
    line: String,
    out: BufWriter<Box<dyn Write + Send>>,
}

impl Sorted {
    /// Starts writing to `out`.
    #[must_use]
    pub fn new(format: Format, closed_only: bool, out: Box<dyn Write + Send>) -> Self {
        let out = BufWriter::with_capacity(1 << 18, out);
        Self { format, closed_only, closed: BTreeMap::new(), open: BTreeMap::new(), line: String::new(), out }
    }

    fn write(&mut self, kline: &Kline) -> std::io::Result<()> {
        self.line.clear();
        match self.format {
            Format::Csv => encode::csv(kline, &mut self.line),
            Format::Ndjson => encode::ndjson(kline, &mut self.line),
            Format::Bybit => encode::bybit(kline, &mut self.line),
        }
        self.out.write_all(self.line.as_bytes())
    }
}

impl Sink for Sorted {
    fn take(&mut self, batch: Batch, settled: Option<Millis>) -> anyhow::Result<()> {
        for kline in batch.klines {
            let key = (kline.end, kline.interval, kline.symbol.clone());
            if kline.confirm {
                self.open.remove(&key);
                self.closed.insert(key, kline);
            } else if !self.closed_only {
                self.open.insert(key, kline);
            }
        }
        while let Some(first) = self.closed.first_entry()
            && settled.is_some_and(|settled| first.key().0 < settled)
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
        self.out.flush()?;
        Ok(())
    }
}
