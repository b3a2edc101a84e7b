//! Figures of the consumers, labelled with their names from the configuration.

use std::fmt;

use klines_delivery::stats::{Figure, Footprint, Row, Snapshot, State};
use klines_domain::time::Millis;

use super::sheet::{Labels, Sheet, Unit};
use crate::app::observed::Seen;

pub(super) fn write(sheet: &mut Sheet<'_>, consumers: &[Seen], now: Millis) -> fmt::Result {
    let kinds = consumers.iter().map(|seen| [("consumer", seen.view.name.as_str()), ("kind", seen.kind)]);
    sheet.info("klines_consumer", "The consumers and what they are.", kinds)?;
    let snapshots: Vec<(&str, Snapshot)> =
        consumers.iter().map(|seen| (seen.view.name.as_str(), seen.view.stats.snapshot())).collect();
    states(sheet, &snapshots)?;
    counts(sheet, &snapshots)?;
    durations(sheet, consumers)?;
    queues(sheet, consumers)?;
    let takes: Vec<_> = consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.footprint()?))).collect();
    let each = |of: fn(&Footprint) -> u64| takes.iter().map(move |(labels, takes)| (*labels, of(takes)));
    let memory = each(|takes| takes.memory);
    sheet.gauges("klines_consumer_memory", "Linear memory of a component's instance.", Unit::Bytes, memory)?;
    let loaded = each(|takes| takes.loaded);
    let help = "Compiled code and metadata of a component; consumers of the same one share them.";
    sheet.gauges("klines_consumer_loaded", help, Unit::Bytes, loaded)?;
    own(sheet, consumers, now)
}

fn of(seen: &Seen) -> Labels<'_, 1> {
    [("consumer", seen.view.name.as_str())]
}

fn states(sheet: &mut Sheet<'_>, snapshots: &[(&str, Snapshot)]) -> fmt::Result {
    let rows = snapshots.iter().flat_map(|(name, found)| {
        State::ALL.map(|state| ([("consumer", *name), ("state", state.as_str())], u64::from(found.state == state)))
    });
    sheet.gauges(
        "klines_consumer_state",
        "1 for the state that a consumer is in, 0 for the others.",
        Unit::Things,
        rows,
    )
}

fn counts(sheet: &mut Sheet<'_>, snapshots: &[(&str, Snapshot)]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&Snapshot) -> u64);
    const COUNTS: [Count; 7] = [
        ("klines_consumer_klines", "Klines that the last hop has acknowledged, updates included.", |found| {
            found.delivered
        }),
        ("klines_consumer_calls", "Deliveries that a consumer has accepted.", |found| found.calls),
        ("klines_consumer_set_aside", "Klines written to a dead-letter file.", |found| found.set_aside),
        ("klines_consumer_retries", "Calls that a consumer asked to be repeated.", |found| found.retries),
        ("klines_consumer_restarts", "Instances made after a crash.", |found| found.restarts),
        ("klines_consumer_recycles", "Instances that gave way to a fresh one in time.", |found| found.recycled),
        ("klines_consumer_reloads", "Versions that took over.", |found| found.reloads),
    ];
    for (name, help, count) in COUNTS {
        sheet.counters(name, help, snapshots.iter().map(|(name, found)| ([("consumer", *name)], count(found))))?;
    }
    let lost = snapshots.iter().flat_map(|(name, found)| {
        let reasons = found.losses.by_reason();
        reasons.map(|(reason, klines)| ([("consumer", *name), ("reason", reason.as_str())], klines))
    });
    sheet.counters("klines_consumer_lost", "Closed klines that were dropped, by the reason.", lost)?;
    let crashes = snapshots.iter().flat_map(|(name, found)| {
        let kinds = [("trap", found.traps), ("timeout", found.timeouts), ("memory", found.memory_refusals)];
        kinds.map(|(kind, count)| ([("consumer", *name), ("kind", kind)], count))
    });
    sheet.counters("klines_consumer_crashes", "Instances that crashed, by what ended them.", crashes)
}

fn durations(sheet: &mut Sheet<'_>, consumers: &[Seen]) -> fmt::Result {
    sheet.histograms(
        "klines_consumer_call",
        "Time of each call with klines, accepted or not.",
        consumers.iter().map(|seen| (of(seen), seen.view.stats.calls_took())),
    )?;
    sheet.histograms(
        "klines_consumer_lag",
        "From the hub to the end of the accepted call: the oldest closed kline of each delivery.",
        consumers.iter().map(|seen| (of(seen), seen.view.stats.waited())),
    )
}

fn queues(sheet: &mut Sheet<'_>, consumers: &[Seen]) -> fmt::Result {
    let depths: Vec<_> = consumers.iter().map(|seen| (seen.view.name.as_str(), seen.view.queue.depth())).collect();
    let waiting = depths.iter().flat_map(|(name, depth)| {
        let kinds = [("closed", depth.closed), ("updates", depth.updates)];
        kinds.map(|(kind, count)| ([("consumer", *name), ("kind", kind)], count))
    });
    sheet.gauges("klines_consumer_queue", "Klines that wait for a consumer.", Unit::Things, waiting)?;
    let capacity = depths.iter().map(|(name, depth)| ([("consumer", *name)], depth.capacity));
    sheet.gauges("klines_consumer_queue_capacity", "Closed klines that a queue holds at most.", Unit::Things, capacity)
}

/// A family of what consumers measure of themselves: each row with the consumer's name.
struct Family<'a> {
    figure: Figure,
    rows: Vec<(&'a str, Row)>,
}

/// Writes what consumers measure of themselves, families in the order in which they are met.
fn own(sheet: &mut Sheet<'_>, consumers: &[Seen], now: Millis) -> fmt::Result {
    let mut families: Vec<Family<'_>> = Vec::new();
    for seen in consumers {
        for mut figure in seen.view.stats.figures(now) {
            let rows = std::mem::take(&mut figure.rows).into_iter().map(|row| (seen.view.name.as_str(), row));
            match families.iter_mut().find(|known| known.figure.name == figure.name) {
                Some(known) => known.rows.extend(rows),
                None => {
                    let rows = rows.collect();
                    families.push(Family { figure, rows });
                }
            }
        }
    }
    for Family { figure, rows } in &families {
        let labels =
            |consumer, row: &Row| [("consumer", consumer)].into_iter().chain(row.labels.iter().copied()).collect();
        sheet.figure(figure, rows.iter().map(|(consumer, row)| (labels(*consumer, row), row.value)))?;
    }
    Ok(())
}
