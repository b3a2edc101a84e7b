//! Figures of what the redis consumer hands on, by output: whether Redis takes it, and what waits.

use std::fmt;

use super::{Seen, Sheet, Unit};
use crate::app::metrics::exposition::f64_of_millis;
use crate::app::metrics::exposition::sheet::Labels;
use crate::consumer::redis::{Link, Tallies, Tally};
use crate::domain::time::Millis;

pub(super) fn write(sheet: &mut Sheet<'_>, consumers: &[Seen], now: Millis) -> fmt::Result {
    let consumers: Vec<(&str, Tallies)> = consumers
        .iter()
        .filter_map(|seen| Some((seen.view.name.as_str(), seen.view.stats.meters().outputs?)))
        .collect();
    let outputs: Vec<(Labels<'_, 2>, &Tally)> = consumers
        .iter()
        .flat_map(|(name, tallies)| {
            tallies.enabled().map(|(output, tally)| ([("consumer", *name), ("output", output)], tally))
        })
        .collect();
    let outputs = || outputs.iter().copied();
    let connected = outputs().map(|(labels, tally)| (labels, u64::from(tally.link() == Link::Up)));
    sheet.gauges(
        "klines_redis_connected",
        "1 while Redis takes what an output sends, else 0.",
        Unit::Things,
        connected,
    )?;
    let waiting = outputs().flat_map(|([consumer, output], tally)| {
        [("memory", tally.in_memory()), ("disk", tally.on_disk())]
            .map(|(place, klines)| ([consumer, output, ("place", place)], klines))
    });
    sheet.gauges("klines_redis_backlog", "Klines that Redis has not acknowledged yet.", Unit::Things, waiting)?;
    let bytes = outputs().map(|(labels, tally)| (labels, tally.disk_bytes()));
    sheet.gauges("klines_redis_spill", "What waiting klines take on disk.", Unit::Bytes, bytes)?;
    // Of the exchange's clock, which may be a little ahead.
    let age = |tally: &Tally| tally.oldest().map_or(0, |oldest| (now - oldest).max(0));
    let oldest = outputs().map(|(labels, tally)| (labels, f64_of_millis(age(tally))));
    sheet.gauges(
        "klines_redis_oldest_unsent",
        "Age of the oldest closed kline that Redis has not acknowledged.",
        Unit::Seconds,
        oldest,
    )?;
    let outcomes = outputs().flat_map(|([consumer, output], tally)| {
        let totals = tally.totals();
        let outcomes =
            [("acknowledged", totals.acknowledged), ("overtaken", totals.overtaken), ("dropped", totals.dropped)];
        outcomes.map(|(outcome, klines)| ([consumer, output, ("outcome", outcome)], klines))
    });
    sheet.counters("klines_redis_klines", "What became of the klines and values of an output.", outcomes)
}
