//! Makes klines of the past from archives of trades, with the aggregator of replays.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use klines_bybit::source::Progress;
use klines_config::Config;
use klines_domain::aggregator::Settings;
use klines_domain::kline::{Batch, Kline};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};

use super::super::meter::{Meter, Unit};
use super::super::output;
use super::super::player::{Replay, Sink, inputs};
use super::{BATCH, Taker};

/// Archives, and what is read of them.
pub(in super::super) struct Input<'a> {
    /// The files.
    pub files: &'a [PathBuf],
    /// The category, if they are of more than one.
    pub category: Option<Category>,
    /// The symbols; all if there are none.
    pub symbols: Vec<Symbol>,
}

/// Plays archives and passes their closed klines to `taker`.
///
/// # Errors
/// When a file cannot be read, or as `taker` does.
pub(in super::super) fn play(
    config: &Config,
    what: &'static str,
    input: Input<'_>,
    taker: &mut dyn Taker,
) -> anyhow::Result<()> {
    let total = input.files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|found| found.len()).sum();
    let settings = config.klines.settings(input.category.unwrap_or_default());
    let replay = Replay {
        files: inputs(input.files)?,
        category: input.category,
        symbols: input.symbols,
        settings: Settings { update_interval: None, ..settings },
        closes_days: true,
    };
    let progress = Progress::default();
    let meter = Meter::start(what, total, Unit::Bytes);
    let mut settled = Settled { taker, klines: BTreeMap::new(), progress: progress.clone(), meter };
    let summary = replay.run(&progress, &mut settled);
    settled.meter.finish();
    let summary = summary?;
    if !summary.skipped.is_empty() {
        output::eprint(&summary.skipped.to_string());
    }
    if summary.tally.rejected > 0 {
        output::eprint(&format!("{} rows are no valid trades: their klines are gapped", summary.tally.rejected));
    }
    Ok(())
}

/// Holds closed klines until no trade can change them.
struct Settled<'a> {
    taker: &'a mut dyn Taker,
    /// The newest revision of each, by end.
    klines: BTreeMap<(Millis, SeriesId), Arc<Kline>>,
    progress: Progress,
    meter: Meter,
}

impl Settled<'_> {
    /// Passes on the klines that end before a time.
    fn pass(&mut self, settled: Millis) -> anyhow::Result<()> {
        let mut klines = Vec::with_capacity(BATCH);
        while let Some(first) = self.klines.first_entry().filter(|first| first.key().0 < settled) {
            klines.push(first.remove());
            if klines.len() >= BATCH {
                self.taker.take(&klines)?;
                klines.clear();
            }
        }
        self.meter.set(self.progress.read());
        if klines.is_empty() { Ok(()) } else { self.taker.take(&klines) }
    }
}

impl Sink for Settled<'_> {
    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        let closed = batch.klines.into_iter().filter(|kline| kline.confirm);
        self.klines.extend(closed.map(|kline| ((kline.end, kline.series), kline)));
        Ok(())
    }

    fn settle(&mut self, settled: ExchangeMillis) -> anyhow::Result<()> {
        if self.klines.len() < BATCH {
            return Ok(());
        }
        self.pass(settled.get())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.pass(Millis::MAX)
    }
}
