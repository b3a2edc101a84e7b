//! Produces the klines of a case: from a generated market, from a recording, or from a file of klines written by hand.

use std::ops::ControlFlow;

use anyhow::Context as _;
use bybit_sim::{Activity, Instrument, Market, Side as SimSide, TapeTrade};
use klines_authoring::case::{Input, Source, klines};
use klines_bybit::decode::number::{quantity, trade_id};
use klines_bybit::source::Progress;
use klines_config::klines::Klines;
use klines_domain::aggregator::Settings;
use klines_domain::kline::Batch;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Side, Trade};
use klines_pipeline::playback::Playback;
use thiserror::Error;

use crate::app::player::{Replay, Sink, SinkOutlet};
use crate::app::simulate::sim_category;

/// Start time of a generated market: 2024-01-01T00:00:00Z, at which a window of every interval up to a day starts.
const BEGIN: Millis = 1_704_067_200_000;

/// Symbols with a realistic first price, tick size and quantity step.
const KNOWN_SYMBOLS: [(&str, [&str; 3]); 3] = [
    ("BTCUSDT", ["64250.00", "0.10", "0.001"]),
    ("ETHUSDT", ["1922.50", "0.01", "0.01"]),
    ("SOLUSDT", ["77.300", "0.010", "0.1"]),
];
/// First price, tick size and quantity step of every other symbol.
const DEFAULT_NUMBERS: [&str; 3] = ["100.00", "0.01", "0.01"];

/// A sink that passes klines to the harness.
struct HarnessSink<'a>(&'a mut dyn FnMut(Batch) -> ControlFlow<()>);

/// The error that ends a replay when the harness needs no more klines.
#[derive(Debug, Error)]
#[error("the harness needs no more klines")]
struct NoMoreKlines;

impl Sink for HarnessSink<'_> {
    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        match (self.0)(batch) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(NoMoreKlines.into()),
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Plays the input into `take` as fast as possible, until `take` returns `Break`. With `closed_only`, no updates of
/// open klines are made.
///
/// # Errors
/// When the input cannot be read.
pub(super) fn play(
    input: &Input,
    closed_only: bool,
    take: &mut dyn FnMut(Batch) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    match play_into(input, closed_only, &mut HarnessSink(take)) {
        Err(error) if error.is::<NoMoreKlines>() => Ok(()),
        other => other,
    }
}

fn play_into(input: &Input, closed_only: bool, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let settings = |category: Category| {
        let settings = Klines { intervals: input.intervals.clone(), ..Klines::default() }.settings(category);
        let update_interval = settings.update_interval.filter(|_| !closed_only);
        Settings { update_interval, ..settings }
    };
    let category = input.category.unwrap_or_default();
    match &input.source {
        Source::Market { seed, length, symbols } => {
            let market = market(*seed, category, symbols)?;
            let mut playback = Playback::new(settings(category), SinkOutlet::new(&mut *sink));
            let grace = Klines::default().grace;
            let length_ms = Millis::try_from(length.as_millis()).unwrap_or(Millis::MAX);
            for TapeTrade { symbol, trade, .. } in market.tape(BEGIN, *length) {
                let symbol = Symbol::new(&symbol).context("a symbol of the market")?;
                let symbol = playback.symbol(&symbol);
                let quantities = quantity(trade.price.as_bytes()).zip(quantity(trade.size.as_bytes()));
                let (price, size) = quantities.context("a trade of the market")?;
                playback.trade(&Trade {
                    symbol,
                    time: ExchangeMillis::new(trade.time),
                    sequence: trade.seq,
                    price,
                    size,
                    side: if trade.side == SimSide::Buy { Side::Buy } else { Side::Sell },
                    block: trade.block,
                    id: trade_id(&trade.id),
                });
                playback.outlet().check()?;
            }
            // Moves time past the end of the last windows, so that they close.
            playback.advance_to(ExchangeMillis::new(BEGIN + length_ms + grace));
            playback.finish();
            playback.outlet().check()?;
        }
        Source::Trades(file) => {
            let replay = Replay {
                files: vec![file.clone()],
                category: input.category,
                symbols: Vec::new(),
                settings: settings(category),
                closes_days: false,
            };
            let played = replay.run(&Progress::default(), sink);
            let what = || format!("playing {} (`category` in [input] chooses one of several)", file.display());
            return played.map(drop).with_context(what);
        }
        Source::Klines(file) => {
            let klines = klines::read(file).map_err(|report| anyhow::anyhow!("{}", report.render(false, 100)))?;
            for kline in klines {
                sink.take(Batch { klines: vec![kline] })?;
            }
        }
    }
    sink.finish()
}

/// Returns a generated market of `symbols`, each with several trades per second.
pub(super) fn market(seed: u64, category: Category, symbols: &[Symbol]) -> anyhow::Result<Market> {
    let mut instruments = Vec::new();
    for symbol in symbols {
        let known = KNOWN_SYMBOLS.iter().find(|(name, _)| *name == symbol.as_str());
        let [price, tick, step] = known.map_or(DEFAULT_NUMBERS, |(_, numbers)| *numbers);
        let instrument = Instrument::new(sim_category(category), symbol.as_str(), price, tick, step)?;
        instruments.push(instrument.with_activity(Activity::LIVELY));
    }
    Ok(Market::seeded(seed, instruments))
}
