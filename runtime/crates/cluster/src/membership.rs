//! One node of the cluster as a state machine: inputs and the time go in, actions come out. It has no clock, connection
//! or task; its driver sends the requests, stamps when they left, and brings the answers.
//!
//! Two kinds of leases: that of a **member** makes the node count when partitions are dealt out; that of a **holder** lets
//! it write one partition. They are apart, so that a node that leaves can go on writing until others do.

mod holding;

use std::collections::BTreeMap;
use std::time::Duration;

use klines_domain::mutants::Mutant;

pub use self::holding::{Holder, Phase};

use self::holding::Holding;
use crate::lease::{Lease, Timing, Token};
use crate::member::{Name, View};
use crate::partition::{Partition, Partitions};
use crate::refusal::Refusal;
use crate::shares;

/// What a node is, apart from its state.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: Name,
    /// Whether it watches symbols. A node that does not is a member without partitions.
    pub ingest: bool,
    /// The partitions of the cluster.
    pub partitions: Partitions,
    /// The number of nodes that watch a partition.
    pub replicas: usize,
    /// The durations of the cluster.
    pub timing: Timing,
}

/// What happens to a node. `sent` is when the request left, on the monotonic clock of the node.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Time has passed; at least every tenth of a beat.
    Tick,
    /// There is a connection again: what is due is asked for at once.
    Connected,
    /// Redis has granted or renewed the lease of the member.
    Granted {
        /// When the request left.
        sent: Duration,
        /// The token of the lease.
        token: Token,
        /// The live members, unless they are those that the node knows.
        view: Option<View>,
    },
    /// Redis has refused to; `token` is `None` for a join.
    MemberRefused {
        /// The token of the request.
        token: Option<Token>,
        /// The reason.
        refusal: Refusal,
    },
    /// The live members, as a node that is leaving asks for them.
    Viewed(View),
    /// Redis has granted or renewed the lease of a holder.
    Held {
        /// The partition.
        partition: Partition,
        /// When the request left.
        sent: Duration,
        /// The token of the lease.
        token: Token,
        /// The live holders of the partition, this node included.
        holders: Vec<Holder>,
    },
    /// Redis has refused to, or has refused to write with this token.
    HoldRefused {
        /// The partition.
        partition: Partition,
        /// The token of the request; `None` for a new lease.
        token: Option<Token>,
        /// The reason.
        refusal: Refusal,
    },
    /// The first windows of a watched partition are right.
    Seeded(Partition),
    /// What the node says about itself is another thing now: it joins once more.
    Described,
    /// Leave, but go on with each partition until the others count.
    Drain,
    /// Leave now.
    Stop,
}

/// What the driver of a node has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask to become a member.
    Join,
    /// Renew the lease of the member.
    Beat(Token),
    /// End the lease of the member.
    Leave(Token),
    /// Read who is a member.
    View,
    /// Ask for the lease of a holder, or renew that with the token.
    Hold {
        /// The partition.
        partition: Partition,
        /// The token; `None` asks for a new lease.
        token: Option<Token>,
        /// Whether the first windows are right.
        phase: Phase,
    },
    /// End the lease of a holder.
    Drop {
        /// The partition.
        partition: Partition,
        /// The token.
        token: Token,
    },
    /// Watch the symbols of the partition, and make their first windows right.
    Watch(Partition),
    /// Watch them no longer.
    Unwatch(Partition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Running,
    Draining,
    Stopped,
}

/// The state of a node.
#[derive(Clone, Debug)]
pub struct Node {
    settings: Settings,
    mode: Mode,
    lease: Option<Lease>,
    view: View,
    next_beat: Duration,
    holdings: BTreeMap<Partition, Holding>,
}

impl Node {
    /// Builds a node that is not a member yet; the first tick joins.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (view, holdings) = (View::default(), BTreeMap::new());
        Self { settings, mode: Mode::Running, lease: None, view, next_beat: Duration::ZERO, holdings }
    }

    /// Takes an input and appends what has to be done.
    pub fn on(&mut self, input: Input, now: Duration, actions: &mut Vec<Action>) {
        if self.mode == Mode::Stopped {
            return;
        }
        match input {
            Input::Tick => self.tick(now, actions),
            Input::Connected => {
                self.next_beat = now;
                self.holdings.values_mut().for_each(|holding| holding.ask_at(now));
                self.tick(now, actions);
            }
            Input::Granted { sent, token, view } => {
                self.granted(Lease::granted(token, sent, self.settings.timing), view, actions)
            }
            Input::MemberRefused { token, refusal } => self.member_refused(token, refusal, now),
            Input::Viewed(view) => self.viewed(view, actions),
            Input::Held { partition, sent, token, holders } => {
                let lease = Lease::granted(token, sent, self.settings.timing);
                if let Some(holding) = self.holdings.get_mut(&partition) {
                    holding.granted(lease, holders, &self.settings.name);
                    self.release_if_others_count(partition, now, actions);
                }
            }
            Input::HoldRefused { partition, token, refusal } => {
                if let Some(holding) = self.holdings.get_mut(&partition) {
                    holding.refused(token, refusal, now);
                }
            }
            Input::Seeded(partition) => {
                if let Some(holding) = self.holdings.get_mut(&partition) {
                    holding.seeded(now);
                }
            }
            Input::Described => {
                if self.mode == Mode::Running {
                    (self.lease, self.next_beat) = (None, now);
                }
            }
            Input::Drain => self.drain(now, actions),
            Input::Stop => self.stop(actions),
        }
    }

    /// Returns the token with which the node may write a partition now; `None` if it may not. A node that is still
    /// seeding writes only while nobody counts: its klines may be corrected soon, and are better than none.
    #[must_use]
    pub fn may_write(&self, partition: Partition, now: Duration) -> Option<Token> {
        self.holdings.get(&partition)?.may_write(now)
    }

    /// Returns whether the node leaves a partition to others, which count, because its own first windows are not right yet.
    #[must_use]
    pub fn leaves_to_others(&self, partition: Partition, now: Duration) -> bool {
        self.holdings.get(&partition).is_none_or(|holding| holding.leaves_to_others(now))
    }

    /// Returns whether this node publishes the updates of open windows: it is the first replica of those that count.
    #[must_use]
    pub fn is_first(&self, partition: Partition, now: Duration) -> bool {
        let Some(holding) = self.holdings.get(&partition) else { return false };
        let others = holding.others().iter().filter(|other| other.phase == Phase::Counting).map(|other| &other.name);
        let first = shares::holders(partition, others.chain([&self.settings.name]), 1);
        holding.may_write(now).is_some() && first == [&self.settings.name]
    }

    /// Returns whether the node is a member by its own clock.
    #[must_use]
    pub fn is_member(&self, now: Duration) -> bool {
        self.lease.is_some_and(|lease| lease.is_valid(now))
    }

    /// Returns the live members as the node last saw them.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Returns the partitions that the node watches, with what they are for it.
    pub fn holdings(&self) -> impl Iterator<Item = (Partition, Phase)> {
        self.holdings.iter().map(|(partition, holding)| (*partition, holding.phase()))
    }

    /// Returns whether the node has left and holds nothing: its process can end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.mode == Mode::Stopped || (self.mode == Mode::Draining && self.holdings.is_empty())
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if now >= self.next_beat {
            self.next_beat = now + self.settings.timing.beat;
            actions.push(match (self.mode, self.lease) {
                (Mode::Draining, _) => Action::View,
                (_, Some(lease)) if lease.is_valid(now) => Action::Beat(lease.token()),
                _ => Action::Join,
            });
        }
        for (partition, holding) in &mut self.holdings {
            if let Some((token, phase)) = holding.ask(now, self.settings.timing.beat) {
                actions.push(Action::Hold { partition: *partition, token, phase });
            }
        }
    }

    fn granted(&mut self, lease: Lease, view: Option<View>, actions: &mut Vec<Action>) {
        if self.mode == Mode::Draining {
            // The answer to a request from before: it may have made this node a member again.
            return actions.push(Action::Leave(lease.token()));
        }
        self.lease = Some(self.lease.map_or(lease, |known| known.newer(lease)));
        if let Some(view) = view {
            self.viewed(view, actions);
        }
    }

    fn member_refused(&mut self, token: Option<Token>, refusal: Refusal, now: Duration) {
        let is_current = token.is_none() || token == self.lease.map(Lease::token);
        if !is_current {
            return;
        }
        // What a lease that Redis has given up can be replaced by is a new one, at once.
        if refusal == Refusal::Stale {
            self.next_beat = now;
        }
        self.lease = None;
    }

    fn viewed(&mut self, view: View, actions: &mut Vec<Action>) {
        self.view = view;
        self.deal(actions);
    }

    /// Compares the partitions of this node with its share.
    fn deal(&mut self, actions: &mut Vec<Action>) {
        for partition in self.settings.partitions.iter() {
            let is_share = self.mode == Mode::Running && self.share(partition).contains(&&self.settings.name);
            match self.holdings.get_mut(&partition) {
                Some(holding) => holding.set_wanted(is_share),
                None if is_share => {
                    self.holdings.insert(partition, Holding::default());
                    actions.push(Action::Watch(partition));
                }
                None => {}
            }
        }
    }

    /// Returns the nodes that should hold a partition.
    fn share(&self, partition: Partition) -> Vec<&Name> {
        if !self.settings.ingest {
            return Vec::new();
        }
        shares::holders(partition, self.view.ingest(), self.settings.replicas)
    }

    /// Gives up a partition that is not a share of this node any longer, if those whose share it is count. While the node
    /// is no member, what it knows about the others is old.
    fn release_if_others_count(&mut self, partition: Partition, now: Duration, actions: &mut Vec<Action>) {
        let Some(holding) = self.holdings.get(&partition) else { return };
        if holding.is_wanted() || !(self.is_member(now) || self.mode == Mode::Draining) {
            return;
        }
        let share = self.share(partition);
        let others_count = share.iter().all(|name| holding.counts(name)) || Mutant::HandOverTooSoon.is_made();
        let is_alone = share.is_empty() && self.mode == Mode::Draining;
        if holding.phase() == Phase::Seeding || is_alone || (!share.is_empty() && others_count) {
            let token = holding.token();
            self.holdings.remove(&partition);
            actions.extend(token.map(|token| Action::Drop { partition, token }));
            actions.push(Action::Unwatch(partition));
        }
    }

    fn drain(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.mode = Mode::Draining;
        actions.extend(self.lease.take().map(|lease| Action::Leave(lease.token())));
        self.next_beat = now;
        self.holdings.values_mut().for_each(|holding| holding.set_wanted(false));
        // It does not name this node, whose name would count as a share otherwise.
        self.view.members.retain(|member| member.name != self.settings.name);
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        self.mode = Mode::Stopped;
        for (partition, holding) in std::mem::take(&mut self.holdings) {
            actions.extend(holding.token().map(|token| Action::Drop { partition, token }));
            actions.push(Action::Unwatch(partition));
        }
        actions.extend(self.lease.take().map(|lease| Action::Leave(lease.token())));
    }
}

#[cfg(test)]
mod tests;
