//! Figures of the consumers, labelled with their names from the configuration.

mod redis;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sheet::{Labels, Sheet, Unit};
use crate::app::observed::Seen;
use crate::consumer::emit::EmitCounters;
use crate::consumer::stats::{Snapshot, State};
use crate::consumer::wasm::http::HttpCounts;
use crate::consumer::websocket::figures::Figures;
use crate::domain::time::Millis;

pub(super) fn write(sheet: &mut Sheet<'_>, consumers: &[Seen], now: Millis) -> fmt::Result {
    let kinds = consumers.iter().map(|seen| [("consumer", seen.view.name.as_str()), ("kind", seen.kind)]);
    sheet.info("klines_consumer", "The consumers and what they are.", kinds)?;
    let snapshots: Vec<(&str, Snapshot)> =
        consumers.iter().map(|seen| (seen.view.name.as_str(), seen.view.stats.snapshot())).collect();
    states(sheet, &snapshots)?;
    counts(sheet, &snapshots)?;
    durations(sheet, consumers)?;
    queues(sheet, consumers)?;
    let memory = consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.meters().memory?.read())));
    sheet.gauges("klines_consumer_memory", "Linear memory of a component's instance.", Unit::Bytes, memory)?;
    let loaded = consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.meters().loaded?.read())));
    let help = "Compiled code and metadata of a component; consumers of the same one share them.";
    sheet.gauges("klines_consumer_loaded", help, Unit::Bytes, loaded)?;
    requests(sheet, consumers)?;
    values(sheet, consumers)?;
    redis::write(sheet, consumers, now)?;
    clients(sheet, consumers)
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

fn requests(sheet: &mut Sheet<'_>, consumers: &[Seen]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&HttpCounts) -> u64);
    const COUNTS: [Count; 3] = [
        ("klines_consumer_http_requests", "HTTP requests of a component, denied ones included.", |found| {
            found.requests
        }),
        ("klines_consumer_http_denied", "HTTP requests that no grant covers.", |found| found.denied),
        ("klines_consumer_http_failed", "HTTP requests without a response.", |found| found.failed),
    ];
    let found: Vec<_> =
        consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.meters().http?.read()))).collect();
    for (name, help, count) in COUNTS {
        sheet.counters(name, help, found.iter().map(|(labels, found)| (*labels, count(found))))?;
    }
    Ok(())
}

fn values(sheet: &mut Sheet<'_>, consumers: &[Seen]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&EmitCounters) -> &AtomicU64);
    const COUNTS: [Count; 3] = [
        ("klines_consumer_emitted", "Values that a component has published.", |found| &found.published),
        ("klines_consumer_emit_refused", "Values that a component was refused, with the reason.", |found| {
            &found.refused
        }),
        ("klines_consumer_emit_lost", "Published values for which there was no room.", |found| &found.lost),
    ];
    let found: Vec<_> =
        consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.meters().emitted?))).collect();
    for (name, help, count) in COUNTS {
        let rows = found.iter().map(|(labels, found)| (*labels, count(found).load(Ordering::Relaxed)));
        sheet.counters(name, help, rows)?;
    }
    Ok(())
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

fn clients(sheet: &mut Sheet<'_>, consumers: &[Seen]) -> fmt::Result {
    let servers: Vec<_> =
        consumers.iter().filter_map(|seen| Some((of(seen), seen.view.stats.meters().clients?))).collect();
    let servers = || servers.iter().map(|(labels, figures)| (*labels, figures));
    let gone = |figures: &Figures| figures.parted().iter().map(|(_, count)| count).sum::<u64>();
    // A client may come in between two looks: never below zero.
    let connected = servers().map(|(labels, figures)| (labels, figures.joined().saturating_sub(gone(figures))));
    sheet.gauges("klines_websocket_clients", "WebSocket clients that are connected.", Unit::Things, connected)?;
    let joined = servers().map(|(labels, figures)| (labels, figures.joined()));
    sheet.counters("klines_websocket_connections", "WebSocket clients that have connected.", joined)?;
    let refused = servers().map(|(labels, figures)| (labels, figures.refused()));
    sheet.counters("klines_websocket_refused", "Connections turned away at a limit of connections.", refused)?;
    let failed = servers().map(|(labels, figures)| (labels, figures.failed_logins()));
    sheet.counters("klines_websocket_failed_logins", "Log-ins with wrong credentials.", failed)?;
    let parted = servers().flat_map(|([consumer], figures)| {
        figures.parted().into_iter().map(move |(reason, count)| ([consumer, ("reason", reason)], count))
    });
    sheet.counters("klines_websocket_disconnects", "WebSocket clients that are gone, by the reason.", parted)?;
    let lost = servers().flat_map(|([consumer], figures)| {
        figures.lost().into_iter().map(move |(reason, count)| ([consumer, ("reason", reason)], count))
    });
    let help = "Closed klines that were due to clients that are gone, by the reason.";
    sheet.counters("klines_websocket_lost", help, lost)
}
