//! Metrics of the consumers, labelled with their names from the configuration.

use std::fmt;

use klines_delivery::stats::{Footprint, Metric, Sample, Snapshot, State};
use klines_domain::time::Millis;

use super::family::{Exposition, Labels, Unit};
use crate::app::observed::ObservedConsumer;

pub(super) fn write(exposition: &mut Exposition<'_>, consumers: &[ObservedConsumer], now: Millis) -> fmt::Result {
    let kinds = consumers.iter().map(|seen| [("consumer", seen.view.name.as_str()), ("kind", seen.kind)]);
    exposition.info("klines_consumer", "Kind of each consumer.", kinds)?;
    let snapshots: Vec<(&str, Snapshot)> =
        consumers.iter().map(|seen| (seen.view.name.as_str(), seen.view.stats.snapshot())).collect();
    states(exposition, &snapshots)?;
    counts(exposition, &snapshots)?;
    durations(exposition, consumers)?;
    queues(exposition, consumers)?;
    let footprints: Vec<_> =
        consumers.iter().filter_map(|seen| Some((labels(seen), seen.view.stats.footprint()?))).collect();
    let each = |of: fn(&Footprint) -> u64| footprints.iter().map(move |(labels, footprint)| (*labels, of(footprint)));
    let memory = each(|footprint| footprint.memory);
    let help = "Linear memory of a component's instance in bytes.";
    exposition.gauges("klines_consumer_memory", help, Unit::Bytes, memory)?;
    let loaded = each(|footprint| footprint.loaded);
    let help = "Size of a loaded component in bytes, shared by all consumers of the same component.";
    exposition.gauges("klines_consumer_loaded_component", help, Unit::Bytes, loaded)?;
    measured(exposition, consumers, now)
}

fn labels(seen: &ObservedConsumer) -> Labels<'_, 1> {
    [("consumer", seen.view.name.as_str())]
}

fn states(exposition: &mut Exposition<'_>, snapshots: &[(&str, Snapshot)]) -> fmt::Result {
    let samples = snapshots.iter().flat_map(|(name, found)| {
        State::ALL.map(|state| ([("consumer", *name), ("state", state.as_str())], u64::from(found.state == state)))
    });
    exposition.gauges(
        "klines_consumer_state",
        "State of a consumer: 1 for the current state, 0 for the others.",
        Unit::None,
        samples,
    )
}

fn counts(exposition: &mut Exposition<'_>, snapshots: &[(&str, Snapshot)]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&Snapshot) -> u64);
    const COUNTS: [Count; 7] = [
        ("klines_consumer_klines", "Total number of klines acknowledged by the last hop, updates included.", |found| {
            found.delivered
        }),
        ("klines_consumer_deliveries", "Total number of deliveries that a consumer accepted.", |found| found.calls),
        ("klines_consumer_dead_letter_klines", "Total number of klines written to the dead-letter file.", |found| {
            found.set_aside
        }),
        ("klines_consumer_retries", "Total number of calls that a consumer asked to repeat.", |found| found.retries),
        ("klines_consumer_restarts", "Total number of instances created after a crash.", |found| found.restarts),
        ("klines_consumer_recycles", "Total number of instances replaced at a recycle limit.", |found| found.recycled),
        ("klines_consumer_reloads", "Total number of component versions that replaced a running one.", |found| {
            found.reloads
        }),
    ];
    for (name, help, count) in COUNTS {
        exposition.counters(name, help, snapshots.iter().map(|(name, found)| ([("consumer", *name)], count(found))))?;
    }
    let lost = snapshots.iter().flat_map(|(name, found)| {
        let reasons = found.losses.by_reason();
        reasons.map(|(reason, klines)| ([("consumer", *name), ("reason", reason.as_str())], klines))
    });
    exposition.counters("klines_consumer_lost_klines", "Total number of closed klines dropped, by reason.", lost)?;
    let crashes = snapshots.iter().flat_map(|(name, found)| {
        let kinds = [("trap", found.traps), ("timeout", found.timeouts), ("memory", found.memory_refusals)];
        kinds.map(|(kind, count)| ([("consumer", *name), ("kind", kind)], count))
    });
    exposition.counters("klines_consumer_crashes", "Total number of instances that crashed, by kind of crash.", crashes)
}

fn durations(exposition: &mut Exposition<'_>, consumers: &[ObservedConsumer]) -> fmt::Result {
    exposition.histograms(
        "klines_consumer_call_duration",
        "Duration in seconds of calls with klines, accepted or not.",
        consumers.iter().map(|seen| (labels(seen), seen.view.stats.calls_took())),
    )?;
    exposition.histograms(
        "klines_consumer_lag",
        "Time in seconds from the hub to the end of the accepting call, for the oldest closed kline of a delivery.",
        consumers.iter().map(|seen| (labels(seen), seen.view.stats.waited())),
    )
}

fn queues(exposition: &mut Exposition<'_>, consumers: &[ObservedConsumer]) -> fmt::Result {
    let depths: Vec<_> = consumers.iter().map(|seen| (seen.view.name.as_str(), seen.view.queue.depth())).collect();
    let closed = depths.iter().map(|(name, depth)| ([("consumer", *name)], depth.closed));
    let help = "Number of closed klines in a consumer's queue.";
    exposition.gauges("klines_consumer_queue_klines", help, Unit::None, closed)?;
    let updates = depths.iter().map(|(name, depth)| ([("consumer", *name)], depth.updates));
    let help = "Number of series with an update in a consumer's queue.";
    exposition.gauges("klines_consumer_queue_updates", help, Unit::None, updates)?;
    let capacity = depths.iter().map(|(name, depth)| ([("consumer", *name)], depth.capacity));
    let help = "Maximum number of closed klines in a consumer's queue.";
    exposition.gauges("klines_consumer_queue_capacity_klines", help, Unit::None, capacity)
}

/// A metric that consumers measure themselves; each sample has the consumer's name.
struct MeasuredFamily<'a> {
    metric: Metric,
    samples: Vec<(&'a str, Sample)>,
}

/// Writes the metrics that consumers measure themselves, in the order of their first occurrence.
fn measured(exposition: &mut Exposition<'_>, consumers: &[ObservedConsumer], now: Millis) -> fmt::Result {
    let mut families: Vec<MeasuredFamily<'_>> = Vec::new();
    for seen in consumers {
        for mut metric in seen.view.stats.metrics(now) {
            let name = seen.view.name.as_str();
            let samples = std::mem::take(&mut metric.samples).into_iter().map(|sample| (name, sample));
            match families.iter_mut().find(|known| known.metric.name == metric.name) {
                Some(known) => known.samples.extend(samples),
                None => {
                    let samples = samples.collect();
                    families.push(MeasuredFamily { metric, samples });
                }
            }
        }
    }
    for MeasuredFamily { metric, samples } in &families {
        let labels = |consumer, sample: &Sample| {
            [("consumer", consumer)].into_iter().chain(sample.labels.iter().copied()).collect()
        };
        let samples = samples.iter().map(|(consumer, sample)| (labels(*consumer, sample), sample.value));
        exposition.consumer_metric(metric, samples)?;
    }
    Ok(())
}
