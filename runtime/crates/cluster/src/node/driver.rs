//! The loop of the thread: time, answers, klines and commands come in; requests go out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use klines_system::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::counters::Counters;
use super::lane::{Lane, Next};
use super::requests::{self, Done, Sender};
use super::{Command, Seen, Settings};
use crate::keys::ClusterKeys;
use crate::lease::Timing;
use crate::library::{LibraryError, Membership, Written};
use crate::member::Instance;
use crate::membership::{Action, Input, Node};
use crate::model::Caller;
use crate::partition::Partition;
use crate::refusal::Refusal;
use crate::roster::Roster;
use crate::server::{Connected, Server};
use crate::tail::SPAN;
use crate::trouble::Trouble;
use crate::writer::Pending;

/// How often time is passed on to the state machine: a tenth of a beat.
const TICK: Duration = Duration::from_millis(100);
/// How often the streams are trimmed.
const TRIM: Duration = Duration::from_secs(10);
/// How long a node that leaves waits until its klines are written.
const WRITE_OUT: Duration = Duration::from_secs(5);
/// Changes are logged as often as this at most: when a node joins, leases come one by one.
const LOG: Duration = Duration::from_secs(1);
/// The pauses between attempts to connect. They are short, because leases are.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a driver works with.
pub(super) struct Parts {
    pub(super) server: Server,
    pub(super) settings: Settings,
    pub(super) pending: Arc<Pending>,
    pub(super) counters: Arc<Counters>,
}

/// The connection to Redis.
enum Link {
    Down,
    Connecting,
    Up(Connected),
}

/// The state of the loop.
pub(super) struct Driver {
    parts: Parts,
    settings: Arc<Settings>,
    keys: Arc<ClusterKeys>,
    caller: Arc<Caller>,
    node: Node,
    link: Link,
    /// The number of the connection: what an older one reports does not concern this one.
    serial: u64,
    pauses: Backoff,
    requests: JoinSet<(u64, Done)>,
    lanes: BTreeMap<Partition, Lane>,
    next_trim: Duration,
    /// When a node that is asked to leave does so at the latest.
    leaving: Option<Duration>,
    trouble: Trouble,
    /// What was logged of the cluster.
    logged: Seen,
    next_log: Duration,
    watching: watch::Sender<Arc<BTreeSet<Partition>>>,
    roster: Arc<Roster>,
}

impl Driver {
    pub(super) fn new(
        parts: Parts,
        watching: watch::Sender<Arc<BTreeSet<Partition>>>,
        roster: Arc<Roster>,
    ) -> io::Result<Self> {
        let settings = Arc::new(parts.settings.clone());
        let instance = Instance(getrandom::u64().map_err(io::Error::other)?);
        Ok(Self {
            keys: Arc::new(settings.keys()),
            caller: Arc::new(Caller { name: settings.name.clone(), instance }),
            node: Node::new(settings.membership()),
            settings,
            parts,
            link: Link::Down,
            serial: 0,
            pauses: Backoff::between(PAUSES.0, PAUSES.1),
            requests: JoinSet::new(),
            lanes: BTreeMap::new(),
            next_trim: TRIM,
            leaving: None,
            trouble: Trouble::default(),
            logged: Seen::default(),
            next_log: Duration::ZERO,
            watching,
            roster,
        })
    }

    /// Runs until the node is stopped.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Command>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pending = self.parts.pending.clone();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                Some(done) = self.requests.join_next() => self.done(done),
                () = pending.changed() => {}
                order = orders.recv() => match order {
                    Some(Command::Seeded(partition)) => self.input(Input::Seeded(partition)),
                    Some(Command::Drain) => self.leaving = Some(self.now() + WRITE_OUT),
                    Some(Command::Stop) | None => break,
                },
            }
            self.send_klines();
            self.show();
        }
        self.input(Input::Stop);
        // What is given back now need not expire first.
        let ending = async { while self.requests.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), ending).await;
    }

    fn now(&self) -> Duration {
        self.parts.pending.now()
    }

    fn tick(&mut self) {
        if matches!(self.link, Link::Down) {
            self.link = Link::Connecting;
            self.serial += 1;
            let pause = if self.serial == 1 { Duration::ZERO } else { self.pauses.wait() };
            let (serial, server) = (self.serial, self.parts.server.clone());
            self.requests.spawn(async move { (serial, requests::connect(server, pause).await) });
        }
        let now = self.now();
        if self.leaving.is_some_and(|latest| now >= latest || self.parts.pending.lock().is_empty()) {
            self.leaving = None;
            self.input(Input::Drain);
        }
        self.say_groups();
        self.input(Input::Tick);
        if now >= self.next_trim {
            self.next_trim = now + TRIM;
            self.trim(now);
        }
        self.send_updates(now);
        self.lanes.values_mut().for_each(|lane| lane.forget(now));
        let mut outbox = self.parts.pending.lock();
        for partition in outbox.waiting() {
            if self.node.leaves_to_others(partition, now) {
                outbox.forget(partition, now.saturating_sub(SPAN));
            }
        }
    }

    /// Joins once more if the node works for other groups than it has said.
    fn say_groups(&mut self) {
        let groups = self.roster.names();
        if groups != self.settings.about.groups {
            let settings = Arc::make_mut(&mut self.settings);
            settings.about.groups = groups;
            self.input(Input::Described);
        }
    }

    /// Passes something to the state machine, and does what it asks for.
    fn input(&mut self, input: Input) {
        let (now, mut actions) = (self.now(), Vec::new());
        self.node.on(input, now, &mut actions);
        self.watch(&actions);
        for action in actions {
            self.act(&action, now);
        }
    }

    fn act(&mut self, action: &Action, now: Duration) {
        match *action {
            // The symbols follow what `watch` has published.
            Action::Watch(_) => {}
            Action::Unwatch(partition) => {
                self.lanes.remove(&partition);
                self.parts.pending.lock().remove(partition);
            }
            Action::Join => self.send(|sender| sender.join(now)),
            Action::Beat(token) => {
                let generation = self.node.view().generation;
                self.send(move |sender| sender.beat(now, token, generation));
            }
            Action::Leave(token) => self.send(move |sender| sender.leave(token)),
            Action::View => self.send(Sender::view),
            Action::Hold { partition, token, phase } => {
                self.send(move |sender| sender.hold(now, (partition, token), phase));
            }
            Action::Drop { partition, token } => self.send(move |sender| sender.drop(partition, token)),
        }
    }

    /// Publishes which partitions are watched, all changes at once.
    fn watch(&self, actions: &[Action]) {
        let is_change = |action: &&Action| matches!(action, Action::Watch(_) | Action::Unwatch(_));
        self.watching.send_if_modified(|watched| {
            let mut changed = false;
            for action in actions.iter().filter(is_change) {
                changed |= match action {
                    Action::Watch(partition) => Arc::make_mut(watched).insert(*partition),
                    Action::Unwatch(partition) => Arc::make_mut(watched).remove(partition),
                    _ => false,
                };
            }
            changed
        });
    }

    /// Sends a request, if there is a connection. What is not sent now is due again within a beat.
    fn send<F>(&mut self, request: impl FnOnce(Sender) -> F)
    where
        F: Future<Output = Done> + Send + 'static,
    {
        let Link::Up(connected) = &self.link else { return };
        let sender = Sender {
            connected: connected.clone(),
            keys: self.keys.clone(),
            caller: self.caller.clone(),
            settings: self.settings.clone(),
            timing: Timing::default(),
        };
        let (serial, answer) = (self.serial, request(sender));
        self.requests.spawn(async move { (serial, answer.await) });
    }

    /// Writes the klines that wait, of each partition that this node may write.
    fn send_klines(&mut self) {
        let Link::Up(connected) = &self.link else { return };
        let (replication, now, pending) = (connected.replication.clone(), self.now(), self.parts.pending.clone());
        let held: Vec<Partition> = self.node.holdings().map(|(partition, _)| partition).collect();
        for partition in held {
            let Some(token) = self.node.may_write(partition, now) else { continue };
            let lane = self.lanes.entry(partition).or_default();
            let next = lane.next(&replication, now, || pending.lock().first(partition));
            if let Some(next) = next {
                self.send(move |sender| sender.write(partition, token, next));
            }
        }
    }

    /// Publishes updates of open windows of each partition whose first replica this node is.
    fn send_updates(&mut self, now: Duration) {
        for (partition, updates) in self.parts.pending.updates() {
            if self.node.is_first(partition, now) {
                self.send(move |sender| sender.publish(partition, updates));
            }
        }
    }

    fn trim(&mut self, now: Duration) {
        let held: Vec<Partition> = self.node.holdings().map(|(partition, _)| partition).collect();
        for partition in held.into_iter().filter(|partition| self.node.is_first(*partition, now)).collect::<Vec<_>>() {
            if let Some(token) = self.node.may_write(partition, now) {
                self.send(move |sender| sender.trim(partition, token));
            }
        }
    }

    fn done(&mut self, done: Result<(u64, Done), tokio::task::JoinError>) {
        let (serial, done) = match done {
            Ok(done) => done,
            Err(error) => return error!(%error, "a request to the cluster ended unexpectedly"),
        };
        let is_current = serial == self.serial;
        match done {
            Done::Connected(Ok(connected)) => self.connected(connected),
            Done::Connected(Err(error)) => {
                self.link = Link::Down;
                self.report(&error.to_string());
            }
            Done::Member { sent, token, result } => self.member(sent, token, result, is_current),
            Done::Viewed(result) => match result {
                Ok(view) => self.input(Input::Viewed(view)),
                Err(error) => self.trouble(&error, is_current),
            },
            Done::Held { partition, sent, token, result } => match result {
                Ok(held) => self.input(Input::Held { partition, sent, token: held.token, holders: held.holders }),
                Err(error) => {
                    self.trouble(&error, is_current);
                    if let Some(refusal) = error.refusal() {
                        self.input(Input::HoldRefused { partition, token, refusal });
                    }
                }
            },
            Done::Written { partition, token, what, result } => match result {
                Ok(written) => self.written(partition, what, &written),
                Err(error) => {
                    self.trouble(&error, is_current);
                    self.not_written(partition, what, &error);
                    if error.refusal() == Some(Refusal::Stale) {
                        self.input(Input::HoldRefused { partition, token: Some(token), refusal: Refusal::Stale });
                    }
                }
            },
            Done::Trimmed(Ok(trimmed)) if trimmed.forced > 0 => {
                self.parts.counters.force(trimmed.forced);
                warn!(
                    entries = trimmed.forced,
                    "a stream was too long: entries were removed that a group had not acknowledged"
                );
            }
            Done::Trimmed(Err(error)) | Done::Ended(Err(error)) | Done::Updated(Err(error)) => {
                self.trouble(&error, is_current);
            }
            Done::Trimmed(Ok(_)) | Done::Ended(Ok(_)) | Done::Updated(Ok(_)) => {}
        }
    }

    fn connected(&mut self, connected: Connected) {
        info!(redis = self.parts.server.shown(), node = %self.settings.name, cluster = %self.settings.cluster, "connected to the cluster");
        if let Some(policy) = &connected.eviction {
            warn!(
                policy,
                "Redis removes keys when its memory is full, and loses what nodes have agreed on: set maxmemory-policy noeviction"
            );
        }
        self.parts.counters.connect();
        self.pauses.reset();
        self.link = Link::Up(connected);
        self.trouble.end();
        self.input(Input::Connected);
    }

    fn member(
        &mut self,
        sent: Duration,
        token: Option<crate::lease::Token>,
        result: Result<Membership, LibraryError>,
        is_current: bool,
    ) {
        match result {
            Ok(joined) if token.is_none() && self.differs(&joined) => {
                self.send(move |sender| sender.leave(joined.token));
                self.input(Input::MemberRefused { token, refusal: Refusal::Argument });
            }
            Ok(Membership { token, view, .. }) => self.input(Input::Granted { sent, token, view }),
            Err(error) => {
                self.trouble(&error, is_current);
                if let Some(refusal) = error.refusal() {
                    self.input(Input::MemberRefused { token, refusal });
                }
            }
        }
    }

    /// Returns whether a member knows another number of partitions: then this node may not take part.
    fn differs(&mut self, joined: &Membership) -> bool {
        let own = self.settings.partitions.count();
        let Some(other) = joined.view.as_ref().and_then(|view| view.differing(own)) else { return false };
        let (name, count) = (&other.name, other.about.partitions.unwrap_or_default());
        let trouble =
            format!("{name} has {count} partitions, and this node {own}: all nodes need the same `cluster.partitions`");
        self.report(&trouble);
        true
    }

    fn written(&mut self, partition: Partition, what: Next, written: &Written) {
        let (now, counters) = (self.now(), &self.parts.counters);
        // A partition that was given up meanwhile has no lane any longer.
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        match what {
            Next::Append(klines) => {
                lane.appended(&klines, written, now);
                counters.note(written);
                self.parts.pending.lock().remove_first(partition, klines.len());
            }
            Next::Resend { klines, .. } => {
                lane.resent(&klines, written, now);
                counters.resend(klines.len() as u64);
            }
        }
    }

    fn not_written(&mut self, partition: Partition, what: Next, error: &LibraryError) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&partition) else { return };
        match (error.refusal(), what) {
            (Some(Refusal::Resend), _) => lane.must_resend(),
            (Some(Refusal::Wait), _) => lane.waits(now),
            (Some(Refusal::Argument | Refusal::Full), Next::Append(klines)) => {
                // They would be refused for ever, and those behind them would wait for ever.
                lane.failed(now);
                self.parts.counters.lose(klines.len() as u64);
                self.parts.pending.lock().remove_first(partition, klines.len());
            }
            _ => lane.failed(now),
        }
    }

    /// Logs why a request failed, and connects again if the connection is the reason.
    fn trouble(&mut self, error: &LibraryError, is_current: bool) {
        if !is_current {
            return;
        }
        if error.needs_new_connection() && matches!(self.link, Link::Up(_)) {
            self.link = Link::Down;
        }
        // A lease that is over and a holder that is awaited are part of the life of a cluster.
        if !matches!(error.refusal(), Some(Refusal::Stale | Refusal::Wait | Refusal::Resend)) {
            self.report(&error.to_string());
        }
    }

    fn report(&mut self, trouble: &str) {
        let now = self.now();
        if self.trouble.is_news(trouble, now) {
            warn!(redis = self.parts.server.shown(), trouble, "the cluster cannot be used as it should");
        }
    }

    /// Shows what the node sees, and logs what has changed in the last second.
    fn show(&mut self) {
        let now = self.now();
        let of = |(partition, phase)| (partition, phase, self.node.may_write(partition, now).is_some());
        let seen = Seen {
            connected: matches!(self.link, Link::Up(_)),
            member: self.node.is_member(now),
            view: self.node.view().clone(),
            partitions: self.node.holdings().map(of).collect(),
            done: self.node.is_done(),
        };
        if seen != self.logged && now >= self.next_log {
            log_changes(&self.logged, &seen);
            (self.logged, self.next_log) = (seen.clone(), now + LOG);
        }
        self.roster.show(seen);
    }
}

/// Logs what has changed in the cluster.
fn log_changes(before: &Seen, now: &Seen) {
    if before.member != now.member {
        let what = if now.member { "joined the cluster" } else { "is no member of the cluster" };
        info!(members = now.view.members.len(), "this node {what}");
    }
    if before.view.generation != now.view.generation {
        let names: Vec<&str> = now.view.members.iter().map(|member| member.name.as_str()).collect();
        info!(members = names.join(","), generation = now.view.generation, "the members are others");
    }
    let writes = |seen: &Seen| seen.partitions.iter().filter(|(_, _, writes)| *writes).count();
    if (before.partitions.len(), writes(before)) != (now.partitions.len(), writes(now)) {
        info!(watched = now.partitions.len(), written = writes(now), "partitions of this node");
    }
}
