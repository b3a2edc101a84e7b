//! The klines of a case: of a market that is made up, of a recording, or written by hand.

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

use crate::app::player::{Outflow, Replay, Sink};
use crate::app::simulate::sim_category;

/// When a market that is made up begins: 2024-01-01T00:00:00Z, the beginning of every window there is up to a day.
const BEGIN: Millis = 1_704_067_200_000;

/// Symbols with a price that looks right, with tick and step.
const KNOWN: [(&str, [&str; 3]); 3] = [
    ("BTCUSDT", ["64250.00", "0.10", "0.001"]),
    ("ETHUSDT", ["1922.50", "0.01", "0.01"]),
    ("SOLUSDT", ["77.300", "0.010", "0.1"]),
];
/// What every other symbol begins with.
const OTHERS: [&str; 3] = ["100.00", "0.01", "0.01"];

/// Hands klines to the harness.
struct IntoHarness<'a>(&'a mut dyn FnMut(Batch) -> ControlFlow<()>);

/// The harness wants no more klines.
#[derive(Debug, Error)]
#[error("the consumer takes no more")]
struct Enough;

impl Sink for IntoHarness<'_> {
    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        match (self.0)(batch) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Enough.into()),
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Plays the input into `take` until it breaks off, as fast as that takes it. With `closed_only` open klines are not made
/// at all.
///
/// # Errors
/// The input cannot be read.
pub(super) fn play(
    input: &Input,
    closed_only: bool,
    take: &mut dyn FnMut(Batch) -> ControlFlow<()>,
) -> anyhow::Result<()> {
    match play_into(input, closed_only, &mut IntoHarness(take)) {
        Err(error) if error.is::<Enough>() => Ok(()),
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
            let mut playback = Playback::new(settings(category), Outflow::new(&mut *sink));
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
            // The last windows are over as well.
            playback.overhear(ExchangeMillis::new(BEGIN + length_ms + grace));
            playback.finish();
            playback.outlet().check()?;
        }
        Source::Trades(file) => {
            let replay = Replay {
                files: vec![file.clone()],
                category: input.category,
                symbols: Vec::new(),
                settings: settings(category),
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

/// A market of these symbols, each with several trades a second.
pub(super) fn market(seed: u64, category: Category, symbols: &[Symbol]) -> anyhow::Result<Market> {
    let mut instruments = Vec::new();
    for symbol in symbols {
        let known = KNOWN.iter().find(|(name, _)| *name == symbol.as_str());
        let [price, tick, step] = known.map_or(OTHERS, |(_, numbers)| *numbers);
        let instrument = Instrument::new(sim_category(category), symbol.as_str(), price, tick, step)?;
        instruments.push(instrument.with_activity(Activity::LIVELY));
    }
    Ok(Market::seeded(seed, instruments))
}
