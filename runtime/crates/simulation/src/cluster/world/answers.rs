//! What comes back from Redis, and what it may not lead to: two workers with one partition.

use std::time::Duration;

use klines_cluster::library::Written;
use klines_cluster::membership::Input;
use klines_cluster::node::lane::Next;
use klines_cluster::partition::Partition;
use klines_cluster::refusal::Refusal;
use klines_cluster::workers;

use super::World;
use crate::cluster::server::Answer;

impl World {
    /// Passes an answer to the state machines, as the driver does. `serial` is the number of a call with klines.
    pub(super) fn answer(&mut self, number: usize, server: usize, answer: Answer, (sent, serial): (Duration, u64)) {
        match answer {
            Answer::Granted(token, view) => {
                if let Some(view) = view.clone() {
                    self.worker(number, workers::Input::Viewed(view));
                }
                self.node(number, Input::Granted { sent, token, view });
            }
            Answer::Viewed(view) => self.node(number, Input::Viewed(view)),
            Answer::MemberRefused(token, refusal) => self.node(number, Input::MemberRefused { token, refusal }),
            Answer::Held(partition, token, holders) => {
                self.node(number, Input::Held { partition, sent, token, holders });
            }
            Answer::HoldRefused(partition, token, refusal) => {
                self.node(number, Input::HoldRefused { partition, token, refusal });
            }
            Answer::Written(partition, written) => {
                if let Some(next) = self.take_call(number, partition, serial) {
                    self.written(number, partition, &next, &written);
                }
            }
            Answer::WriteRefused(partition, token, refusal) => {
                if self.take_call(number, partition, serial).is_some() {
                    self.not_written(number, partition, refusal);
                }
                if refusal == Refusal::Stale {
                    self.node(number, Input::HoldRefused { partition, token: Some(token), refusal });
                }
            }
            // A token of another Redis can have the same number, and another position.
            Answer::Worker(..) if self.processes[number].link.as_ref().is_none_or(|link| link.server != server) => {}
            Answer::Worker(partition, progress) => {
                let (token, position) = (progress.token, progress.position);
                let replication = self.servers[server].replication.clone();
                self.processes[number].granted.insert(partition, (position.millis, replication));
                self.worker(number, workers::Input::Granted { partition, sent, token, position });
                self.check_owners(partition, server);
            }
            Answer::WorkerRefused(partition, token, refusal) => {
                self.worker(number, workers::Input::Refused { partition, token, refusal });
            }
        }
    }

    /// A Redis that is no master any longer takes nothing: the process looks for the one that is.
    pub(super) fn refused(&mut self, number: usize, server: usize) {
        if self.processes[number].link.as_ref().is_some_and(|link| link.server == server) {
            self.disconnect(number);
        }
    }

    /// Returns the call that was answered, unless it had been given up.
    fn take_call(&mut self, number: usize, partition: Partition, serial: u64) -> Option<std::sync::Arc<Next>> {
        let writing = &mut self.processes[number].writing;
        let is_open = writing.get(&partition).is_some_and(|(open, _)| *open == serial);
        if is_open { writing.remove(&partition).map(|(_, next)| next) } else { None }
    }

    fn written(&mut self, number: usize, partition: Partition, next: &Next, written: &Written) {
        let process = &mut self.processes[number];
        let now = process.clock.at(self.now);
        let Some(lane) = process.lanes.get_mut(&partition) else { return };
        match next {
            Next::Append(klines) => {
                lane.appended(klines, written, now);
                process.outbox.remove_first(partition, klines.len());
            }
            Next::Resend { klines, .. } => lane.resent(klines, written, now),
        }
    }

    fn not_written(&mut self, number: usize, partition: Partition, refusal: Refusal) {
        let process = &mut self.processes[number];
        let now = process.clock.at(self.now);
        let Some(lane) = process.lanes.get_mut(&partition) else { return };
        match refusal {
            Refusal::Resend => lane.must_resend(),
            Refusal::Wait => lane.waits(now),
            _ => lane.failed(now),
        }
    }

    /// A worker that was granted a partition must be the only one that believes to have it.
    fn check_owners(&mut self, partition: Partition, server: usize) {
        let believes = |number: &usize| {
            let process = &self.processes[*number];
            let now = process.clock.at(self.now);
            let has = process.workers.as_ref().is_some_and(|own| own.may_acknowledge(partition, now).is_some());
            process.alive && has
        };
        let owners: Vec<usize> = (0..self.processes.len()).filter(believes).collect();
        if owners.len() < 2 {
            return;
        }
        if self.may_have_forgotten() || server != self.master {
            self.overlaps += 1;
        } else {
            self.fail(&format!("the nodes {owners:?} believe to be the worker of partition {partition}"));
        }
    }
}
