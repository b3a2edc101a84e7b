//! Metrics of a node of a cluster.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use klines_cluster::group;
use klines_cluster::member::Name;
use klines_cluster::membership::Phase;
use klines_cluster::node::{Counts, Node};
use klines_cluster::reader::Counters;
use klines_cluster::roster::{Entry, Roster};

use super::family::{Exposition, Unit};

/// Writes what a node sees of its cluster, and what it has written to it.
pub(super) fn node(exposition: &mut Exposition<'_>, node: &Node, writes: bool) -> fmt::Result {
    let (seen, bare): (_, [(&str, &str); 0]) = (node.seen(), []);
    exposition.gauges(
        "klines_cluster_connected",
        "1 while there is a connection to the Redis of the cluster, otherwise 0.",
        Unit::None,
        [(bare, u64::from(seen.connected))],
    )?;
    exposition.gauges(
        "klines_cluster_members",
        "Live members of the cluster, as this node sees them.",
        Unit::None,
        [(bare, seen.view.members.len() as u64)],
    )?;
    if !writes {
        return Ok(());
    }
    let of = |wanted| seen.partitions.iter().filter(|(_, phase, _)| *phase == wanted).count() as u64;
    let phases = [Phase::Seeding, Phase::Counting].map(|phase| ([("phase", phase.as_str())], of(phase)));
    exposition.gauges("klines_cluster_partitions", "Partitions that this node watches.", Unit::None, phases)?;
    exposition.gauges(
        "klines_cluster_waiting_klines",
        "Klines that wait until they are written, or until they need not be.",
        Unit::None,
        [(bare, node.waiting() as u64)],
    )?;
    let Counts { published, same, kept, conflict, old, lost, resent, connects, forced } = node.counts();
    let outcomes = [("published", published), ("same", same), ("kept", kept), ("conflict", conflict), ("old", old)];
    exposition.counters(
        "klines_cluster_written_klines",
        "Total number of klines that Redis has taken, by what became of them.",
        outcomes.map(|(outcome, count)| ([("outcome", outcome)], count)),
    )?;
    for (name, help, count) in [
        ("klines_cluster_lost_klines", "Total number of klines that Redis has refused for good.", lost),
        ("klines_cluster_resent_klines", "Total number of klines that were sent again after a failover.", resent),
        ("klines_cluster_connects", "Total number of connections to Redis that were made.", connects),
        (
            "klines_cluster_forced_entries",
            "Total number of entries of streams that this node removed before a group had acknowledged them.",
            forced,
        ),
    ] {
        exposition.counters(name, help, [(bare, count)])?;
    }
    Ok(())
}

/// One of the counters of a group.
type Pick = fn(&group::Counters) -> &AtomicU64;

fn sample<'a>(name: &'a Name, entry: &Entry, pick: Pick) -> ([(&'static str, &'a str); 1], u64) {
    ([("consumer", name.as_str())], pick(&entry.counters).load(Ordering::Relaxed))
}

/// Writes what the groups of a serve node have read and processed.
pub(super) fn groups(exposition: &mut Exposition<'_>, roster: &Roster) -> fmt::Result {
    let groups = roster.groups();
    let of = |pick: Pick| {
        let one = |(name, entry)| sample(name, entry, pick);
        groups.iter().map(one).collect::<Vec<_>>()
    };
    exposition.gauges(
        "klines_cluster_group_partitions",
        "Partitions that this node consumes for a group.",
        Unit::None,
        of(|counters| &counters.partitions),
    )?;
    for (name, help, pick) in [
        (
            "klines_cluster_group_read_entries",
            "Total number of entries of streams that this node has read for a group.",
            (|counters| &counters.entries) as Pick,
        ),
        (
            "klines_cluster_group_acknowledged_entries",
            "Total number of entries that the consumer of a group has accepted on this node.",
            |counters| &counters.acknowledged,
        ),
        (
            "klines_cluster_group_state_writes",
            "Total number of states of a group that this node has written.",
            |counters| &counters.commits,
        ),
        (
            "klines_cluster_group_missing_klines",
            "Total number of sequences that were missing in what was read for a group.",
            |counters| &counters.missing,
        ),
        (
            "klines_cluster_group_trimmed_partitions",
            "Total number of partitions that a group began behind entries which were removed before it had acknowledged them.",
            |counters| &counters.trimmed,
        ),
    ] {
        exposition.counters(name, help, of(pick))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^53 ms")]
    let lags = of(|counters| &counters.lag).into_iter().map(|(label, lag)| (label, lag as f64 / 1_000.0));
    exposition.gauges(
        "klines_cluster_group_lag",
        "How long after it was written the newest entry was read for a group, by the clocks of Redis and this machine.",
        Unit::Seconds,
        lags,
    )
}

/// Writes what a serve node has read.
pub(super) fn reader(exposition: &mut Exposition<'_>, counters: &Counters) -> fmt::Result {
    let (of, bare): (_, [(&str, &str); 0]) = (|counter: &AtomicU64| counter.load(Ordering::Relaxed), []);
    let outcomes = [
        ("new", &counters.klines),
        ("repeated", &counters.repeated),
        ("conflicting", &counters.conflicting),
        ("unreadable", &counters.unreadable),
    ];
    exposition.counters(
        "klines_cluster_read_klines",
        "Total number of klines read from Redis, by what became of them; only new ones were handed on.",
        outcomes.map(|(outcome, counter)| ([("outcome", outcome)], of(counter))),
    )?;
    exposition.counters(
        "klines_cluster_missing_klines",
        "Total number of sequences that were missing in what was read.",
        [(bare, of(&counters.missing))],
    )?;
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^53 ms")]
    let lag = of(&counters.lag) as f64 / 1_000.0;
    exposition.gauges(
        "klines_cluster_read_lag",
        "How long after it was written the newest entry was read, by the clocks of Redis and this machine.",
        Unit::Seconds,
        [(bare, lag)],
    )
}
