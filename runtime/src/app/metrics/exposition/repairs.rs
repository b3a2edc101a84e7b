//! Metrics of the gaps of all symbols, and of what is asked of the exchange to repair them.

use std::fmt;

use klines_domain::time::Millis;
use klines_pipeline::CategoryTally;
use klines_pipeline::repair::RepairStatus;

use super::family::{Exposition, Unit};
use super::ingest::{of, with};
use super::seconds;

/// Writes the lengths of the gaps and the states of the repairs. Invariant: the sum of the outcomes and of what is pending
/// is the time that was not covered between times that were.
pub(super) fn write(exposition: &mut Exposition<'_>, tallies: &[CategoryTally]) -> fmt::Result {
    let outcomes = tallies.iter().flat_map(|CategoryTally { category, tally, .. }| {
        let outcomes = [("repaired", tally.gaps.repaired), ("unknown", tally.gaps.unknown)];
        outcomes.map(|(outcome, millis)| (with(*category, "outcome", outcome), in_seconds(millis)))
    });
    exposition.seconds_total(
        "klines_gap",
        "Total length of the gaps of all symbols in seconds, by what became of them.",
        outcomes,
    )?;
    let pending = tallies.iter().map(|CategoryTally { category, tally, .. }| {
        let gaps = tally.gaps;
        (of(*category), in_seconds(gaps.gap - gaps.repaired - gaps.unknown))
    });
    exposition.gauges(
        "klines_gap_pending",
        "Length of the gaps of all symbols in seconds that are still being repaired.",
        Unit::Seconds,
        pending,
    )?;
    symbols(exposition, tallies)?;
    requests(exposition, tallies)
}

fn symbols(exposition: &mut Exposition<'_>, tallies: &[CategoryTally]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&RepairStatus) -> usize);
    const COUNTS: [Count; 3] = [
        ("klines_repair_symbols_covered", "Number of symbols that have been covered.", |status| status.covered),
        (
            "klines_repair_symbols_seeded",
            "Number of symbols whose first windows are known, or were given up.",
            |status| status.seeded,
        ),
        ("klines_repair_symbols_pending", "Number of symbols with gaps that are being repaired.", |status| {
            status.cases
        }),
    ];
    for (name, help, count) in COUNTS {
        let samples = repaired(tallies).map(|(tally, status)| (of(tally.category), count(status)));
        exposition.gauges(name, help, Unit::None, samples)?;
    }
    Ok(())
}

fn requests(exposition: &mut Exposition<'_>, tallies: &[CategoryTally]) -> fmt::Result {
    exposition.counters(
        "klines_repair_requests",
        "Total number of requests to the exchange for repairs.",
        repaired(tallies).map(|(tally, status)| (of(tally.category), status.requests)),
    )?;
    exposition.counters(
        "klines_repair_failed_requests",
        "Total number of requests for repairs that failed or were refused.",
        repaired(tallies).map(|(tally, status)| (of(tally.category), status.failures)),
    )
}

/// Returns the categories whose gaps are repaired.
fn repaired(tallies: &[CategoryTally]) -> impl Iterator<Item = (&CategoryTally, &RepairStatus)> {
    tallies.iter().filter_map(|tally| Some((tally, tally.repair.as_ref()?)))
}

/// Converts milliseconds to seconds. A length is not negative.
fn in_seconds(millis: Millis) -> f64 {
    seconds(millis.max(0).unsigned_abs())
}
