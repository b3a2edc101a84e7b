//! What processes do: they are called, ask Redis, consume, and write.

use std::sync::Arc;

use klines_cluster::member::Instance;
use klines_cluster::membership::{Action, Input, Phase};
use klines_cluster::partition::Partition;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;
use klines_cluster::tail::SPAN;
use klines_cluster::workers;

use super::{Arrival, Event, Happening, TICK, World};
use crate::cluster::plan::{DELIVERY, Millis, SEEDING, Style};
use crate::cluster::process::{Leaving, Link, Process, Watch};
use crate::cluster::server::{Reading, Request};

/// The longest time that a message usually takes, and that a late one does.
const USUAL: Millis = 20;
const LATE: Millis = 3_000;
/// How long a call with klines is waited for.
const ANSWER: Millis = 2_000;

impl World {
    pub(super) fn tick(&mut self, number: usize) {
        self.later(number, TICK, Event::Tick);
        self.go_on_leaving(number);
        self.node(number, Input::Tick);
        self.worker(number, workers::Input::Tick);
        self.consume(number);
        self.write(number);
        if self.processes[number].has_left() {
            self.end(number);
        }
    }

    fn go_on_leaving(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let Some(Leaving::Writing(latest)) = process.leaving else { return };
        if process.outbox.is_empty() || process.clock.at(self.now) >= latest {
            process.leaving = Some(Leaving::Draining);
            self.node(number, Input::Drain);
            self.worker(number, workers::Input::Stop);
        }
    }

    /// Passes something to the state machine of a node, and does what it asks for.
    pub(super) fn node(&mut self, number: usize, input: Input) {
        let process = &mut self.processes[number];
        let (mut actions, now) = (Vec::new(), process.clock.at(self.now));
        process.node.on(input, now, &mut actions);
        for action in actions {
            match action {
                Action::Watch(partition) => self.watch(number, partition),
                Action::Unwatch(partition) => self.processes[number].forget(partition),
                asked => {
                    self.check_phase(number, &asked);
                    let process = &self.processes[number];
                    let (generation, about) = (process.node.view().generation, process.about.clone());
                    self.send(number, Request::Node(asked, generation, about), 0);
                }
            }
        }
    }

    fn watch(&mut self, number: usize, partition: Partition) {
        self.check_move(number, partition);
        self.processes[number].watches.insert(partition, Watch { since: self.now, is_seeded: false });
        let lasts = self.rng.u64(SEEDING);
        self.later(number, lasts, Event::Seeded(partition, self.now));
    }

    /// A node says that it counts only when its first windows are right.
    fn check_phase(&mut self, number: usize, action: &Action) {
        let Action::Hold { partition, phase: Phase::Counting, .. } = action else { return };
        if !self.processes[number].watches.get(partition).is_some_and(|watch| watch.is_seeded) {
            self.fail(&format!("node {number} counts for {partition} before its first windows are right"));
        }
    }

    pub(super) fn worker(&mut self, number: usize, input: workers::Input) {
        let process = &mut self.processes[number];
        let (mut actions, now) = (Vec::new(), process.clock.at(self.now));
        let Some(workers) = &mut process.workers else { return };
        workers.on(input, now, &mut actions);
        for action in actions {
            self.work(number, action);
        }
    }

    fn work(&mut self, number: usize, action: workers::Action) {
        let Process { reading, granted, link, .. } = &mut self.processes[number];
        match action {
            workers::Action::Begin(partition, _, StreamId { millis: begin, .. }) => {
                reading.insert(partition, Reading { begin, at: begin });
            }
            workers::Action::Abandon(partition) => drop(reading.remove(&partition)),
            workers::Action::Finish(partition) => {
                let lasts = self.rng.u64(0..DELIVERY);
                self.later(number, lasts, Event::Finished(partition));
            }
            workers::Action::Renew(partition, token) | workers::Action::Release(partition, token) => {
                // A lease that was not wanted any longer is given back with what it came with.
                let (begin, by) = granted.get(&partition).cloned().unwrap_or_default();
                let reading = reading.get(&partition).copied().unwrap_or(Reading { begin, at: begin });
                let is_others = link.as_ref().is_some_and(|link| link.replication != by);
                if !is_others {
                    self.send(number, Request::Worker(action, reading), 0);
                } else if matches!(action, workers::Action::Renew(..)) {
                    // Tokens of another Redis can have the same numbers: its leases are over.
                    let (token, refusal) = (Some(token), Refusal::Resend);
                    self.worker(number, workers::Input::Refused { partition, token, refusal });
                }
            }
            workers::Action::Acquire(_) => self.send(number, Request::Worker(action, Reading::default()), 0),
        }
    }

    /// Lets a worker consume some of what is new in each of its partitions.
    fn consume(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let Some(link) = process.link.as_ref().filter(|_| process.cut_until <= self.now) else { return };
        let now = process.clock.at(self.now);
        for (partition, reading) in &mut process.reading {
            let has = process.workers.as_ref().is_some_and(|own| own.may_acknowledge(*partition, now).is_some());
            let last = self.servers[link.server].part(*partition).map_or(0, |part| part.entries);
            if has && reading.at < last {
                reading.at += self.rng.u64(0..=last - reading.at);
            }
        }
    }

    /// Sends what waits of each partition that the node may write.
    fn write(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let now = process.clock.at(self.now);
        for lane in process.lanes.values_mut() {
            lane.forget(now);
        }
        for partition in process.outbox.waiting() {
            if process.node.leaves_to_others(partition, now) {
                process.outbox.forget(partition, now.saturating_sub(SPAN));
            }
        }
        let Some(link) = process.link.clone() else { return };
        let held: Vec<Partition> = process.node.holdings().map(|(partition, _)| partition).collect();
        for partition in held {
            let process = &mut self.processes[number];
            let Some(token) = process.node.may_write(partition, now) else { continue };
            let (lane, outbox) = (process.lanes.entry(partition).or_default(), &process.outbox);
            let Some(next) = lane.next(&link.replication, now, || outbox.first(partition)) else { continue };
            let (serial, next) = (self.scheduled, Arc::new(next));
            process.writing.insert(partition, (serial, next.clone()));
            self.send(number, Request::Write(partition, token, next), serial);
            self.later(number, ANSWER, Event::Timeout { partition, serial });
        }
    }

    /// An answer did not come: the connection is given up.
    pub(super) fn time_out(&mut self, number: usize, partition: Partition, serial: u64) {
        let is_open = self.processes[number].writing.get(&partition).is_some_and(|(open, _)| *open == serial);
        if is_open {
            self.disconnect(number);
        }
    }

    /// Sends a request, if there is a connection. What is not sent now is due again within a beat.
    fn send(&mut self, number: usize, request: Request, serial: u64) {
        let process = &self.processes[number];
        let Some(link) = process.link.clone() else { return };
        let (sent, caller) = (process.clock.at(self.now), Arc::new(process.caller.clone()));
        self.note(|| format!("{number} to {}: {request:?}", link.replication));
        if let Some(delay) = self.delay(number) {
            let Link { server, replication } = link;
            let arrival = Arrival { caller, server, replication, request, sent, serial };
            let at = self.in_order(number, 0, self.now + delay);
            self.schedule(at, Happening::Request(number, arrival));
        }
    }

    /// Returns how long a message takes; `None` if it is lost.
    fn delay(&mut self, number: usize) -> Option<Millis> {
        let (percent, until) = self.loss;
        let is_lost = until > self.now && self.rng.u64(0..100) < percent;
        // On a connection that stays, everything behind a late message is late.
        let one_of = match self.plan.style {
            _ if self.delayed_until > self.now => 4,
            Style::Nodes | Style::Everything if self.now < self.plan.healed => 50,
            Style::Orderly if self.now < self.plan.healed => 1_000,
            _ => u64::MAX,
        };
        let is_late = self.rng.u64(0..one_of) == 0;
        let delay = 1 + self.rng.u64(0..if is_late { LATE } else { USUAL });
        (!is_lost && self.processes[number].cut_until <= self.now).then_some(delay)
    }

    /// Returns when a message arrives. Nodes that are replaced in order keep their connections, on which nothing overtakes
    /// anything; elsewhere it may be another connection.
    fn in_order(&mut self, number: usize, direction: usize, at: Millis) -> Millis {
        if !matches!(self.plan.style, Style::Orderly | Style::Large) {
            return at;
        }
        let last = &mut self.processes[number].arrivals[direction];
        *last = at.max(*last);
        *last
    }

    /// Lets a request arrive. What was on its way arrives although its process has ended.
    pub(super) fn arrive(&mut self, number: usize, arrival: &Arrival) {
        let Arrival { caller, server, replication, request, sent, serial } = arrival;
        if !self.servers[*server].is_master {
            return self.reply(number, caller.instance, Event::Refused { server: *server });
        }
        if self.is_overtaken(caller.instance, request, *serial) {
            return;
        }
        self.count(request);
        let counting = self.counting_before(*server, request);
        let handled = self.servers[*server].handle(caller, replication, request, self.now);
        self.note(|| format!("r{server} to {number}: {:?}", handled.answer));
        handled.faults.into_iter().for_each(|fault| self.fail(&fault));
        for entry in &handled.published {
            if let Some(fault) = self.reader.see(*server, self.now, entry) {
                self.fail(&fault);
            }
        }
        if let Some(partition) = handled.dropped {
            self.check_drop(*server, partition, &counting, &caller.name);
        }
        if let Some(answer) = handled.answer {
            self.stale += u64::from(answer.is_stale());
            let event = Event::Answer { server: *server, answer, sent: *sent, serial: *serial };
            self.reply(number, caller.instance, event);
        }
    }

    /// Returns whether a call with klines comes after a later one of its process: the connection on which it was sent had been
    /// given up, and closed, before.
    fn is_overtaken(&mut self, instance: Instance, request: &Request, serial: u64) -> bool {
        let Request::Write(partition, ..) = request else { return false };
        let newest = self.calls.entry((instance, *partition)).or_default();
        let is_overtaken = serial < *newest;
        *newest = serial.max(*newest);
        is_overtaken
    }

    fn reply(&mut self, number: usize, instance: Instance, event: Event) {
        let is_same = self.processes[number].caller.instance == instance;
        if let Some(delay) = self.delay(number).filter(|_| is_same) {
            let at = self.in_order(number, 1, self.now + delay);
            self.schedule(at, Happening::To(number, instance, event));
        }
    }
}
