//! The groups of a cluster: who works for each, and how far it has got.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use klines_cluster::library::PartitionState;
use klines_cluster::partition::Partition;
use klines_cluster::stream_id::StreamId;
use serde_json::{Value, json};

/// Partitions and their states.
type Partitions = [(Partition, PartitionState)];

/// A group in one partition.
struct Share<'a> {
    /// Who has its lease; `None` if nobody has.
    worker: Option<&'a str>,
    /// The last entry that it has acknowledged.
    position: StreamId,
    /// How long before the last entry that one was written, in ms.
    behind: u64,
}

/// What a worker has of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    partitions: usize,
    /// The longest time that it is behind, in ms.
    behind: u64,
}

/// Reads the record of a group: a process, a token, when the lease is over, the worker, a replication id, the position, and when
/// that was written. Where no lease is asked for, its end is 0, and the group is single: its worker has the lease of the first partition.
fn share<'a>(all: &'a Partitions, state: &'a PartitionState, group: &str) -> Option<Share<'a>> {
    let words: Vec<&str> = state.groups.get(group)?.split(' ').collect();
    let &[_, _, expires, worker, _, position, _] = words.as_slice() else { return None };
    let (is_living, position) = (expires.parse::<u64>().ok()? > state.now, position.parse::<StreamId>().ok()?);
    let first = all.first().map(|(_, first)| first).filter(|first| expires == "0" && !std::ptr::eq(*first, state));
    let worker = match first {
        Some(first) => share(all, first, group)?.worker,
        None => is_living.then_some(worker),
    };
    Some(Share { worker, position, behind: state.last.millis.saturating_sub(position.millis) })
}

/// Returns what each worker has of each group; the worker is `None` for what nobody has.
pub(super) fn workers(all: &Partitions) -> BTreeMap<(&str, Option<&str>), Work> {
    let mut workers = BTreeMap::<_, Work>::new();
    for (_, state) in all {
        for (group, share) in state.groups.keys().filter_map(|group| Some((group.as_str(), share(all, state, group)?)))
        {
            let work = workers.entry((group, share.worker)).or_default();
            work.partitions += 1;
            work.behind = work.behind.max(share.behind);
        }
    }
    workers
}

/// Returns a table of all groups; empty if there is none.
pub(super) fn text(workers: &BTreeMap<(&str, Option<&str>), Work>) -> String {
    let mut text = String::new();
    if !workers.is_empty() {
        let _ = writeln!(text, "\n{:<24} {:<16} {:>10} {:>10}", "group", "worker", "partitions", "behind");
    }
    for ((group, worker), Work { partitions, behind }) in workers {
        let (worker, seconds) = (worker.unwrap_or("nobody"), format!("{}.{} s", behind / 1_000, behind % 1_000 / 100));
        let _ = writeln!(text, "{group:<24} {worker:<16} {partitions:>10} {seconds:>10}");
    }
    text
}

/// Returns the groups of one partition.
pub(super) fn json(all: &Partitions, state: &PartitionState) -> Value {
    let one = |group: &String| {
        let Share { worker, position, behind } = share(all, state, group)?;
        Some(json!({ "group": group, "worker": worker, "position": position.to_string(), "behind_ms": behind }))
    };
    state.groups.keys().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(last: u64, groups: &[(&str, &str)]) -> PartitionState {
        PartitionState {
            now: 1_000,
            length: 1,
            last: StreamId { millis: last, number: 0 },
            meta: BTreeMap::new(),
            holders: BTreeMap::new(),
            groups: groups.iter().map(|(name, record)| ((*name).to_owned(), (*record).to_owned())).collect(),
        }
    }

    #[test]
    fn partitions_without_a_worker_are_shown_and_a_single_group_has_one_for_all() {
        let all: Vec<(Partition, PartitionState)> = klines_cluster::partition::Partitions::new(3)
            .unwrap()
            .iter()
            .zip([
                state(900, &[("a", "00 1 2000 red r1 900-0 5"), ("one", "00 4 2000 blue r1 700-0 5"), ("junk", "x")]),
                state(950, &[("a", "00 1 999 red r1 800-0 5"), ("one", "00 7 0 blue r1 650-0 5")]),
                state(0, &[("a", "00 1 2000 blue r1 0-0 5")]),
            ])
            .collect();
        let text = text(&workers(&all));
        assert_eq!(
            text.lines().skip(2).collect::<Vec<_>>(),
            [
                "a                        nobody                    1      0.1 s",
                "a                        blue                      1      0.0 s",
                "a                        red                       1      0.0 s",
                "one                      blue                      2      0.3 s",
            ]
        );
        assert_eq!(json(&all, &all[1].1)[0]["worker"], Value::Null);
        assert_eq!(super::text(&BTreeMap::new()), "");
    }
}
