//! One Redis: the models of its functions on a clock of its own, and books of what it has granted. The books are kept apart
//! from the models: whatever a model accepts must be what the newest grant allows.

mod books;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klines_cluster::lease::{LEASE, Token};
use klines_cluster::library::Written;
use klines_cluster::member::{About, Name, View};
use klines_cluster::membership::{Action, Holder, Phase};
use klines_cluster::model::Caller;
use klines_cluster::model::groups::{Groups, Progress};
use klines_cluster::model::holders::Holders;
use klines_cluster::model::ledger::{Ledger, Write};
use klines_cluster::model::members::Members;
use klines_cluster::node::lane::Next;
use klines_cluster::partition::Partition;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;
use klines_cluster::version::Published;
use klines_cluster::workers;

use self::books::Books;
use super::market::BEGIN;
use super::plan::Millis;

pub use self::books::Reading;

/// What a node asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// What the node wants, with the generation of the view that it knows and what it is.
    Node(Action, u64, Arc<About>),
    /// What the worker wants, and what it has read.
    Worker(workers::Action, Reading),
    /// Klines.
    Write(Partition, Token, Arc<Next>),
}

/// What Redis answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Granted(Token, Option<View>),
    MemberRefused(Option<Token>, Refusal),
    Viewed(View),
    Held(Partition, Token, Vec<Holder>),
    HoldRefused(Partition, Option<Token>, Refusal),
    Written(Partition, Written),
    WriteRefused(Partition, Token, Refusal),
    Worker(Partition, Progress),
    WorkerRefused(Partition, Option<Token>, Refusal),
}

impl Answer {
    /// Returns whether a token was refused.
    pub const fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::MemberRefused(_, Refusal::Stale)
                | Self::HoldRefused(_, _, Refusal::Stale)
                | Self::WriteRefused(_, _, Refusal::Stale)
                | Self::WorkerRefused(_, _, Refusal::Stale)
        )
    }
}

/// What Redis knows of a partition.
#[derive(Clone, Debug, Default)]
pub struct Part {
    holders: Holders,
    pub ledger: Ledger,
    groups: Groups,
    books: Books,
    /// The number of entries of the stream; the id of an entry is its number.
    pub entries: u64,
}

/// What a failover can lose.
#[derive(Clone, Debug, Default)]
pub struct State {
    members: Members,
    parts: BTreeMap<Partition, Part>,
}

/// What one request has done.
#[derive(Debug, Default)]
pub struct Handled {
    pub answer: Option<Answer>,
    /// What is wrong.
    pub faults: Vec<String>,
    /// What was published.
    pub published: Vec<(u64, Published)>,
    /// The partition that has one counting holder less.
    pub dropped: Option<Partition>,
}

/// One Redis.
#[derive(Debug)]
pub struct Server {
    pub state: State,
    /// Whether it takes requests.
    pub is_master: bool,
    /// Its replication id.
    pub replication: Arc<str>,
    /// How far its clock is from true time.
    pub ahead: i64,
    group: Name,
}

const fn lease() -> u64 {
    LEASE.as_secs() * 1_000
}

impl Server {
    /// Creates a master with a state; `number` makes its replication id.
    pub fn new(number: usize, state: State, ahead: i64, group: Name) -> Self {
        Self { state, is_master: true, replication: Arc::from(format!("r{number}")), ahead, group }
    }

    /// Returns what its clock shows.
    pub const fn now(&self, real: Millis) -> u64 {
        (BEGIN + real).saturating_add_signed(self.ahead)
    }

    /// Returns a partition, unless nobody has asked for it.
    pub fn part(&self, partition: Partition) -> Option<&Part> {
        self.state.parts.get(&partition)
    }

    /// Returns the nodes that count for a partition.
    pub fn counting(&self, partition: Partition, real: Millis) -> BTreeSet<Name> {
        let living = self.part(partition).map(|part| part.holders.living(self.now(real))).unwrap_or_default();
        living.into_iter().filter(|holder| holder.phase == Phase::Counting).map(|holder| holder.name).collect()
    }

    /// Returns the nodes that have a lease of a partition.
    pub fn living(&self, partition: Partition, real: Millis) -> BTreeSet<Name> {
        let living = self.part(partition).map(|part| part.holders.living(self.now(real))).unwrap_or_default();
        living.into_iter().map(|holder| holder.name).collect()
    }

    /// Returns the worker of a partition.
    pub fn worker(&self, partition: Partition, real: Millis) -> Option<&Name> {
        self.part(partition)?.groups.owner(&self.group, self.now(real))
    }

    /// Carries out a request of a node that knows this Redis by `replication`.
    pub fn handle(&mut self, caller: &Caller, replication: &str, request: &Request, real: Millis) -> Handled {
        let now = self.now(real);
        match request {
            Request::Node(action, generation, about) => self.node(caller, action, (*generation, about), now),
            Request::Worker(action, reading) => self.worker_asks(caller, action, (replication, *reading), now),
            Request::Write(partition, token, next) => self.write(caller, (*partition, *token), replication, next, now),
        }
    }

    fn node(&mut self, caller: &Caller, action: &Action, (known, about): (u64, &About), now: u64) -> Handled {
        let State { members, parts } = &mut self.state;
        let mut handled = Handled::default();
        handled.answer = match *action {
            Action::Join => Some(match members.join(caller, about, lease(), now) {
                Ok(token) => Answer::Granted(token, Some(members.view(now))),
                Err(refusal) => Answer::MemberRefused(None, refusal),
            }),
            Action::Beat(token) => Some(match members.beat(caller, token, lease(), now) {
                Ok(()) => Answer::Granted(token, (members.generation() != known).then(|| members.view(now))),
                Err(refusal) => Answer::MemberRefused(Some(token), refusal),
            }),
            Action::Leave(token) => {
                members.leave(caller, token);
                None
            }
            Action::View => Some(Answer::Viewed(members.view(now))),
            Action::Hold { partition, token, phase } => {
                let Part { holders, books, .. } = parts.entry(partition).or_default();
                Some(match holders.hold(caller, token, phase, lease(), now) {
                    Ok(granted) => {
                        handled.faults.extend(books.hold(caller, token, granted, now + lease(), now));
                        Answer::Held(partition, granted, holders.living(now))
                    }
                    Err(refusal) => Answer::HoldRefused(partition, token, refusal),
                })
            }
            Action::Drop { partition, token } => {
                let Part { holders, books, .. } = parts.entry(partition).or_default();
                if holders.drop(caller, token) {
                    books.drop(caller);
                    handled.dropped = Some(partition);
                }
                None
            }
            Action::Watch(_) | Action::Unwatch(_) => None,
        };
        handled
    }

    fn write(
        &mut self,
        caller: &Caller,
        (partition, token): (Partition, Token),
        replication: &str,
        next: &Next,
        now: u64,
    ) -> Handled {
        let Part { holders, ledger, books, entries, .. } = self.state.parts.entry(partition).or_default();
        if let Err(refusal) = holders.check(caller, token, now) {
            let answer = Some(Answer::WriteRefused(partition, token, refusal));
            return Handled { answer, ..Handled::default() };
        }
        let living: BTreeSet<Name> = holders.living(now).into_iter().map(|holder| holder.name).collect();
        let write = Write { node: &caller.name, replication, living: &living, now };
        let result = match next {
            Next::Append(klines) => ledger.append(write, klines),
            Next::Resend { epoch, klines } => Ok(ledger.resend(write, *epoch, klines)),
        };
        let published = std::mem::take(&mut ledger.stream);
        *entries += published.len() as u64;
        let answer = match result {
            Ok(outcomes) => Answer::Written(partition, Written { now, epoch: ledger.epoch, entry: None, outcomes }),
            Err(refusal) => Answer::WriteRefused(partition, token, refusal),
        };
        let faults = books.write(caller, token, now).into_iter().collect();
        Handled { answer: Some(answer), faults, published, dropped: None }
    }

    fn worker_asks(
        &mut self,
        caller: &Caller,
        action: &workers::Action,
        (replication, reading): (&str, Reading),
        now: u64,
    ) -> Handled {
        let (partition, token) = match *action {
            workers::Action::Acquire(partition) => (partition, None),
            workers::Action::Renew(partition, token) | workers::Action::Release(partition, token) => {
                (partition, Some(token))
            }
            _ => return Handled::default(),
        };
        let is_release = matches!(action, workers::Action::Release(..));
        let Part { groups, books, .. } = self.state.parts.entry(partition).or_default();
        let position = StreamId { millis: reading.at, number: 0 };
        let lasts = if is_release { 0 } else { lease() };
        let result = match token {
            Some(token) if is_release => groups.release(&self.group, caller, token, (replication, position), now),
            Some(token) => groups.renew(&self.group, caller, token, (replication, position), lasts, now),
            None => groups.acquire(&self.group, caller, (replication, StreamId::default()), lasts, now),
        };
        let mut handled = Handled::default();
        if let Ok(progress) = &result {
            let fault = match token {
                None => books.acquire(caller, *progress, now + lasts, now),
                Some(_) => books.acknowledge(caller, *progress, reading, now + lasts, now),
            };
            handled.faults.extend(fault);
        }
        handled.answer = (!is_release).then_some(match result {
            Ok(progress) => Answer::Worker(partition, progress),
            Err(refusal) => Answer::WorkerRefused(partition, token, refusal),
        });
        handled
    }
}
