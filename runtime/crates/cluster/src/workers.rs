//! The partitions of one group on one node, as a state machine: each partition of a group belongs to one worker at a
//! time, by a lease, so that its klines are consumed in order.
//!
//! A worker that loses a partition to another member finishes its delivery and then releases the lease; a worker whose
//! lease is over by its own clock stops at once.

use std::collections::BTreeMap;
use std::time::Duration;

use klines_domain::mutants::Mutant;

use crate::lease::{Lease, Timing, Token};
use crate::member::{Name, View};
use crate::partition::{Partition, Partitions};
use crate::refusal::Refusal;
use crate::shares;
use crate::stream_id::StreamId;

/// What a worker is, apart from its state.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the node.
    pub name: Name,
    /// The group.
    pub group: Name,
    /// Whether one worker has all partitions, by the lease of the first one.
    pub single: bool,
    /// The partitions of the cluster.
    pub partitions: Partitions,
    /// The durations of the cluster.
    pub timing: Timing,
}

/// What happens to a worker. `sent` is when the request left, on the monotonic clock of the node.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Time has passed; at least every tenth of a beat.
    Tick,
    /// The live members are others.
    Viewed(View),
    /// Redis has granted the lease of a partition, or renewed it, with what is acknowledged.
    Granted {
        /// The partition.
        partition: Partition,
        /// When the request left.
        sent: Duration,
        /// The token of the lease.
        token: Token,
        /// The last entry that the group has acknowledged.
        position: StreamId,
    },
    /// Redis has refused to; `token` is `None` for a new lease.
    Refused {
        /// The partition.
        partition: Partition,
        /// The token of the request.
        token: Option<Token>,
        /// The reason.
        refusal: Refusal,
    },
    /// The delivery that ran when `Finish` came is over and acknowledged.
    Finished(Partition),
    /// Give everything up, each partition after its delivery.
    Stop,
}

/// What the driver of a worker has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for the lease of a partition.
    Acquire(Partition),
    /// Renew the lease, with what is acknowledged.
    Renew(Partition, Token),
    /// Read the partition from behind this position on, and consume.
    Begin(Partition, Token, StreamId),
    /// Consume no further delivery, and say when the current one is over.
    Finish(Partition),
    /// The lease is over: stop at once. What is not acknowledged is another's now.
    Abandon(Partition),
    /// Give the lease back, with what is acknowledged.
    Release(Partition, Token),
}

/// A partition that this worker has or wants.
#[derive(Clone, Debug)]
struct Slot {
    lease: Option<Lease>,
    finishing: bool,
    next: Duration,
}

/// The state of a worker.
#[derive(Clone, Debug)]
pub struct Workers {
    settings: Settings,
    view: View,
    stopping: bool,
    slots: BTreeMap<Partition, Slot>,
    /// When a lease of a partition was last given back or refused: answers to requests from before say nothing any longer.
    ended: BTreeMap<Partition, Duration>,
}

impl Workers {
    /// Builds a worker that has no partition yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, view: View::default(), stopping: false, slots: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// Takes an input and appends what has to be done.
    pub fn on(&mut self, input: Input, now: Duration, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => self.tick(now, actions),
            Input::Viewed(view) => {
                self.view = view;
                self.deal(actions);
            }
            Input::Granted { partition, sent, token, position } => {
                let sent = if Mutant::LeaseFromAnswer.is_made() { now } else { sent };
                let is_old = self.ended.get(&partition).is_some_and(|ended| sent <= *ended);
                if is_old && !Mutant::ReleaseRevived.is_made() {
                    self.abandon_older(partition, token, actions);
                    return actions.push(Action::Release(partition, token));
                }
                self.granted(partition, Lease::granted(token, sent, self.settings.timing), position, actions);
            }
            Input::Refused { partition, token, refusal } => self.refused(partition, token, refusal, now, actions),
            Input::Finished(partition) => self.finished(partition, now, actions),
            Input::Stop => {
                self.stopping = true;
                self.deal(actions);
            }
        }
    }

    /// Returns the token with which the worker may acknowledge a partition now; `None` if it may not.
    #[must_use]
    pub fn may_acknowledge(&self, partition: Partition, now: Duration) -> Option<Token> {
        let lease = self.slots.get(&partition)?.lease.filter(|lease| lease.is_valid(now))?;
        Some(lease.token())
    }

    /// Returns the lease of a partition, if the worker has it.
    #[must_use]
    pub fn lease(&self, partition: Partition) -> Option<Lease> {
        self.slots.get(&partition)?.lease
    }

    /// Returns the partitions whose lease the worker has.
    pub fn held(&self) -> impl Iterator<Item = Partition> {
        self.slots.iter().filter(|(_, slot)| slot.lease.is_some()).map(|(partition, _)| *partition)
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (partition, slot) in &mut self.slots {
            if slot.lease.is_some_and(|lease| !lease.is_valid(now)) {
                slot.lease = None;
                actions.push(Action::Abandon(*partition));
            }
            if now < slot.next {
                continue;
            }
            slot.next = now + self.settings.timing.beat;
            match slot.lease {
                Some(lease) => actions.push(Action::Renew(*partition, lease.token())),
                None if !slot.finishing => actions.push(Action::Acquire(*partition)),
                None => {}
            }
        }
        self.slots.retain(|_, slot| slot.lease.is_some() || !slot.finishing);
    }

    /// Compares the partitions of this worker with its share.
    fn deal(&mut self, actions: &mut Vec<Action>) {
        let leased = if self.settings.single { 1 } else { usize::MAX };
        for partition in self.settings.partitions.iter().take(leased) {
            let is_share = !self.stopping && self.is_share(partition);
            match self.slots.get_mut(&partition) {
                None if is_share => {
                    self.slots.insert(partition, Slot { lease: None, finishing: false, next: Duration::ZERO });
                }
                Some(slot) if !is_share && slot.lease.is_none() => {
                    self.slots.remove(&partition);
                }
                Some(slot) if !is_share && !slot.finishing => {
                    slot.finishing = true;
                    actions.push(Action::Finish(partition));
                }
                // One that is finishing and is a share again is released and acquired again: its driver has stopped.
                _ => {}
            }
        }
    }

    fn is_share(&self, partition: Partition) -> bool {
        let Settings { name, group, .. } = &self.settings;
        shares::worker(group, partition, self.view.workers(group)) == Some(name)
    }

    /// Gives up a lease that a later grant has replaced: when that is given back, Redis has none of this worker any longer.
    fn abandon_older(&mut self, partition: Partition, token: Token, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        if slot.lease.is_some_and(|lease| lease.token() < token) {
            slot.lease = None;
            actions.push(Action::Abandon(partition));
        }
    }

    fn granted(&mut self, partition: Partition, lease: Lease, position: StreamId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(&partition) else {
            // It was not wanted any longer when the answer came.
            return actions.push(Action::Release(partition, lease.token()));
        };
        match slot.lease {
            None => {
                slot.lease = Some(lease);
                let skipped = u64::from(Mutant::BeginsTooLate.is_made());
                let position = StreamId { millis: position.millis + skipped, ..position };
                actions.push(Action::Begin(partition, lease.token(), position));
            }
            Some(known) if known.token() == lease.token() => slot.lease = Some(known.newer(lease)),
            // An answer to a request from before this lease.
            Some(_) => {}
        }
    }

    fn refused(
        &mut self,
        partition: Partition,
        token: Option<Token>,
        refusal: Refusal,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let is_lost = token.is_some() && token == slot.lease.map(Lease::token);
        if is_lost {
            slot.lease = None;
            self.ended.insert(partition, now);
            actions.push(Action::Abandon(partition));
        }
        if is_lost && refusal != Refusal::Held {
            slot.next = now;
        }
    }

    fn finished(&mut self, partition: Partition, now: Duration, actions: &mut Vec<Action>) {
        let is_over = |slot: &&Slot| slot.finishing;
        if let Some(lease) = self.slots.get(&partition).filter(is_over).and_then(|slot| slot.lease) {
            actions.push(Action::Release(partition, lease.token()));
            self.ended.insert(partition, now);
            self.slots.remove(&partition);
            self.deal(actions);
        }
    }
}

#[cfg(test)]
mod tests;
