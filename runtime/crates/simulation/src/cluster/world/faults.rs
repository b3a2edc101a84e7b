//! What goes wrong: nodes, the network, and Redis, which can have two masters for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use klines_cluster::partition::Partition;

use super::{Event, Happening, World};
use crate::cluster::market;
use crate::cluster::plan::{Fault, Kind, MOST_SKEW, Millis, RECONNECT, Style};
use crate::cluster::process::{Leaving, Process};
use crate::cluster::server::Server;

/// How long a node that leaves waits until its klines are written, as the driver does.
const WRITE_OUT: Duration = Duration::from_secs(5);
/// How long a lease can last for an owner after Redis has forgotten it.
const FORGOTTEN: Millis = 6_000;

/// A time in which two masters answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    promoted: usize,
    /// A bit for each node that uses the promoted master.
    nodes: u64,
    promoted_wins: bool,
    /// What the promoted one has was done before this moment.
    since: Millis,
}

impl World {
    pub(super) fn fault(&mut self, number: usize) {
        let Some(Fault { lasts, kind, .. }) = self.plan.faults.get(number).copied() else { return };
        self.note(|| format!("{kind:?} for {lasts} ms"));
        if kind.is_of_redis() {
            self.redis_failed = self.now;
        }
        match kind {
            Kind::Pause(node) => self.processes[node].paused_until = self.now + lasts,
            Kind::Cut(node) => self.processes[node].cut_until = self.now + lasts,
            Kind::Loss(percent) => self.loss = (percent, self.now + lasts),
            Kind::Delay => self.delayed_until = self.now + lasts,
            Kind::Step(by) => {
                let master = self.master;
                self.servers[master].ahead += by;
            }
            Kind::Kill(node) => {
                self.watch_recovery(node);
                self.end(node);
                self.schedule(self.now + lasts, Happening::Start(node));
            }
            Kind::Leave(node) => {
                self.leave(node);
                self.schedule(self.now + lasts, Happening::Start(node));
            }
            Kind::Failover(lost) => self.fail_over(number, lost),
            Kind::Split { lost, nodes, promoted_wins } => {
                let promoted = self.promote(number);
                self.split = Some(Split { promoted, nodes, promoted_wins, since: self.now - lost });
                let moved: Vec<usize> =
                    (0..self.processes.len()).filter(|node| self.master_of(*node) == promoted).collect();
                moved.into_iter().for_each(|node| self.disconnect(node));
                self.schedule(self.now + lasts, Happening::Healed);
            }
        }
    }

    fn leave(&mut self, node: usize) {
        let process = &mut self.processes[node];
        if process.alive && process.leaving.is_none() {
            let latest = process.clock.at(self.now) + WRITE_OUT;
            process.leaving = Some(Leaving::Writing(latest));
            self.left.extend(self.processes[node].watches.keys());
        }
    }

    /// Makes a master of what a replica had of the present one, on a clock of its own. Returns its number.
    fn promote(&mut self, fault: usize) -> usize {
        let state = self.snapshots.remove(&fault).unwrap_or_default();
        let skew = self.rng.u64(0..=2 * MOST_SKEW).cast_signed() - MOST_SKEW.cast_signed();
        let ahead = self.servers[self.master].ahead + skew;
        let promoted = self.servers.len();
        self.servers.push(Server::new(promoted, state, ahead, self.group.clone()));
        promoted
    }

    fn fail_over(&mut self, fault: usize, lost: Millis) {
        let promoted = self.promote(fault);
        let since = self.now - lost;
        if self.plan.style == Style::Redis {
            // Numbers whose answers did not arrive are known to nobody.
            let in_flight: Vec<_> = self.processes.iter().flat_map(|process| process.in_flight()).collect();
            in_flight.iter().for_each(|identity| self.reader.lose_one(identity));
            let unknown = self.unawaited(promoted);
            self.reader.lose(self.master, since, |series| unknown.contains(series));
        } else {
            // Nodes end, or do not come back in time, which know numbers that nobody else does.
            self.reader.lose(self.master, since, |_| true);
        }
        let lost = std::mem::replace(&mut self.master, promoted);
        self.demote(lost);
    }

    /// Returns the series of partitions with a holder for which a promoted Redis does not wait: its lease is lost, too, or is
    /// over before it has connected again.
    fn unawaited(&self, promoted: usize) -> BTreeSet<String> {
        let connected = self.now + RECONNECT + 1_000;
        let is_unawaited = |partition: &Partition| {
            let living = self.servers[promoted].living(*partition, connected);
            let holds = |process: &&Process| process.alive && process.watches.contains_key(partition);
            self.processes.iter().filter(holds).any(|process| !living.contains(&process.caller.name))
        };
        let series = |partition| market::identity(partition, 0, self.plan.window).series;
        self.partitions().iter().filter(is_unawaited).map(series).collect()
    }

    /// Ends a split: one master wins, and what the other one was sent is lost.
    pub(super) fn heal(&mut self) {
        let Some(Split { promoted, promoted_wins, since, .. }) = self.split.take() else { return };
        self.redis_failed = self.now;
        [self.master, promoted].into_iter().for_each(|server| self.reader.lose(server, since, |_| true));
        let loser = if promoted_wins { std::mem::replace(&mut self.master, promoted) } else { promoted };
        self.note(|| format!("r{loser} has lost"));
        self.demote(loser);
    }

    fn demote(&mut self, server: usize) {
        self.servers[server].is_master = false;
        let is_on_it = |node: &usize| self.processes[*node].link.as_ref().is_some_and(|link| link.server == server);
        let cut: Vec<usize> = (0..self.processes.len()).filter(is_on_it).collect();
        cut.into_iter().for_each(|node| self.disconnect(node));
    }

    /// Returns the Redis that a node finds.
    pub(super) fn master_of(&self, node: usize) -> usize {
        let is_moved = |split: &Split| split.nodes >> (node % 64) & 1 == 1;
        self.split.filter(is_moved).map_or(self.master, |split| split.promoted)
    }

    /// Breaks the connection of a process, which connects again soon.
    pub(super) fn disconnect(&mut self, node: usize) {
        let process = &mut self.processes[node];
        if process.link.is_none() {
            return;
        }
        process.disconnect(process.clock.at(self.now));
        let pause = self.rng.u64(100..RECONNECT);
        self.later(node, pause, Event::Connect);
    }

    /// Returns whether Redis may have forgotten, or ended early, a lease that its owner still has.
    pub(super) fn may_have_forgotten(&self) -> bool {
        self.split.is_some() || (self.redis_failed > 0 && self.now < self.redis_failed + FORGOTTEN)
    }
}
