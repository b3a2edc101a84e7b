//! What must be in the end: each partition has the holders and the worker that it should have, and Redis has every kline
//! that a node that counts has made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use klines_cluster::member::Name;
use klines_cluster::partition::Partition;
use klines_cluster::shares::{self, DEFAULT_REPLICAS};
use klines_cluster::version::{Digest, Identity, Version, rank};

use super::World;
use crate::cluster::market;

impl World {
    /// Checks members, holders and workers.
    pub(super) fn check_cluster(&mut self) {
        let living: Vec<usize> = (0..self.processes.len()).filter(|number| self.processes[*number].alive).collect();
        let names = |kept: fn(&klines_cluster::member::About) -> bool| -> Vec<Name> {
            let of = |number: &usize| (self.names[*number].clone(), self.processes[*number].about.clone());
            living.iter().map(of).filter(|(_, about)| kept(about)).map(|(name, _)| name).collect()
        };
        let (ingest, workers) = (names(|about| about.ingest), names(|about| !about.groups.is_empty()));
        let mut faults = Vec::new();
        for number in living {
            let process = &self.processes[number];
            if !process.node.is_member(process.clock.at(self.now)) {
                faults.push(format!("node {number} is no member"));
            }
        }
        let server = &self.servers[self.master];
        for partition in self.partitions().iter() {
            let share: BTreeSet<Name> =
                shares::holders(partition, &ingest, DEFAULT_REPLICAS).into_iter().cloned().collect();
            let counting = server.counting(partition, self.now);
            if counting != share {
                faults.push(format!("{counting:?} count for partition {partition}, and {share:?} should"));
            }
            let (found, wanted) =
                (server.worker(partition, self.now), shares::worker(&self.group, partition, &workers));
            if found != wanted {
                faults.push(format!("partition {partition} has the worker {found:?}, and {wanted:?} should have it"));
            }
        }
        faults.into_iter().for_each(|fault| self.fail(&fault));
    }

    /// Checks what was written.
    pub(super) fn check_klines(&mut self) {
        let of = |partition| (market::identity(partition, 0, self.plan.window).series, partition);
        let partitions: BTreeMap<String, Partition> = self.partitions().iter().map(of).collect();
        let find = |identity: &Identity| -> Option<(u64, Digest, Version)> {
            let part = self.servers[self.master].part(*partitions.get(&identity.series)?)?;
            let record = part.ledger.record(identity)?;
            Some((record.revision, record.published().digest, record.published().clone()))
        };
        let order = |version: &Version| (rank(version.quality), Reverse(version.trades));
        let mut faults = Vec::new();
        for (number, process) in self.processes.iter().enumerate().filter(|(_, process)| process.alive) {
            if !process.outbox.is_empty() {
                faults.push(format!("{} klines of node {number} still wait", process.outbox.len()));
            }
            for (identity, own) in process.newest.values().flatten() {
                match find(identity) {
                    None => faults.push(format!("{identity:?} is missing, which node {number} has")),
                    Some((_, _, published)) if order(&published) > order(own) => {
                        faults.push(format!("{published:?} is published for {identity:?}; node {number} has {own:?}"));
                    }
                    Some(_) => {}
                }
            }
        }
        faults.extend(self.reader.finish(|identity| find(identity).map(|(revision, digest, _)| (revision, digest))));
        faults.truncate(super::MOST_FAULTS);
        faults.into_iter().for_each(|fault| self.fail(&fault));
    }
}
