//! What is looked at while the cluster runs: that hand-over leaves no partition without replicas, that only what has to
//! move does, and what a large cluster costs.

use std::collections::BTreeSet;

use klines_cluster::member::Name;
use klines_cluster::membership::Action;
use klines_cluster::partition::Partition;
use klines_cluster::shares::DEFAULT_REPLICAS;

use super::World;
use crate::cluster::plan::{Millis, QUIET_START, Style};
use crate::cluster::server::Request;

/// How long a new process takes its share.
const TAKES: Millis = 15_000;
/// The time in which requests of a large cluster are counted, and its length in seconds.
const COUNTED: std::ops::Range<Millis> = 10_000..20_000;
const SECONDS: u64 = 10;

/// An ingest node of a large cluster that was killed.
#[derive(Clone, Debug)]
pub(super) struct Recovering {
    node: Name,
    since: Millis,
}

impl World {
    const fn is_calm(&self) -> bool {
        matches!(self.plan.style, Style::Orderly | Style::Large) && self.redis_failed == 0
    }

    pub(super) fn look(&mut self) {
        if !self.is_calm() || (self.plan.style == Style::Large && self.is_whole && self.recovering.is_none()) {
            return;
        }
        let counting: Vec<BTreeSet<Name>> =
            self.partitions().iter().map(|one| self.servers[self.master].counting(one, self.now)).collect();
        let is_whole = counting.iter().all(|names| names.len() >= DEFAULT_REPLICAS);
        self.is_whole |= is_whole;
        if let Some(Recovering { node, since }) = &self.recovering
            && is_whole
            && !counting.iter().any(|names| names.contains(node))
        {
            self.figures.recovered = self.now - since;
            self.recovering = None;
        }
        if !is_whole && self.plan.style == Style::Orderly && self.now >= QUIET_START {
            self.fail(&format!("partitions have too few nodes that count: {counting:?}"));
        }
    }

    pub(super) fn watch_recovery(&mut self, node: usize) {
        if self.plan.style == Style::Large && node < self.plan.ingest {
            self.recovering = Some(Recovering { node: self.names[node].clone(), since: self.now });
            self.figures.moved = 0;
        }
    }

    /// Nobody begins to watch a partition but a new process, and those that take what a node had that ended.
    pub(super) fn check_move(&mut self, number: usize, partition: Partition) {
        self.figures.moved += u64::from(self.recovering.is_some());
        let is_new = self.processes[number].began + TAKES > self.now;
        if self.is_calm() && !is_new && !self.left.contains(&partition) {
            self.fail(&format!("partition {partition} moves to node {number}, and no node had it that ended"));
        }
    }

    /// Returns who counts for the partition that a request is about to give up.
    pub(super) fn counting_before(&self, server: usize, request: &Request) -> BTreeSet<Name> {
        match request {
            Request::Node(Action::Drop { partition, .. }, ..) if self.is_calm() => {
                self.servers[server].counting(*partition, self.now)
            }
            _ => BTreeSet::new(),
        }
    }

    /// A node that counts gives a partition up only when enough others count.
    pub(super) fn check_drop(&mut self, server: usize, partition: Partition, before: &BTreeSet<Name>, name: &Name) {
        let after = self.servers[server].counting(partition, self.now);
        if self.is_calm() && self.recovering.is_none() && before.contains(name) && after.len() < DEFAULT_REPLICAS {
            self.fail(&format!("{name} has given partition {partition} up, and only {after:?} count"));
        }
    }

    /// Counts the requests of a large cluster while nothing happens.
    pub(super) fn count(&mut self, request: &Request) {
        if !COUNTED.contains(&self.now) {
            return;
        }
        let count = match request {
            Request::Node(Action::Hold { .. } | Action::Drop { .. }, ..) => &mut self.figures.holders,
            Request::Node(..) => &mut self.figures.members,
            Request::Worker(..) => &mut self.figures.workers,
            Request::Write(..) => return,
        };
        *count += 1;
    }

    /// Divides what was counted by its time.
    pub(super) const fn divide_counts(&mut self) {
        self.figures.members /= SECONDS;
        self.figures.holders /= SECONDS;
        self.figures.workers /= SECONDS;
    }
}
