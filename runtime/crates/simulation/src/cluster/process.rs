//! A process of a node: the state machines, lanes and outbox of `klines_cluster`, put together as its driver does, with a
//! connection, a clock of its own, and the windows that it watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use klines_cluster::lease::Timing;
use klines_cluster::member::{About, Instance, Name};
use klines_cluster::membership::{self, Node};
use klines_cluster::model::Caller;
use klines_cluster::node::lane::{Lane, Next};
use klines_cluster::outbox::Outbox;
use klines_cluster::partition::{Partition, Partitions};
use klines_cluster::version::{Identity, Version};
use klines_cluster::workers::{self, Workers};

use super::plan::Millis;
use super::server::Reading;

/// The monotonic clock of a node: it began at some time, and does not run at the rate of true time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub offset: Millis,
    /// 1,000 is the rate of true time.
    pub rate: u64,
}

impl Clock {
    pub fn at(self, real: Millis) -> Duration {
        Duration::from_micros(self.offset * 1_000 + real * self.rate)
    }
}

/// What makes a process.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: Name,
    pub group: Name,
    pub about: Arc<About>,
    pub partitions: Partitions,
    pub replicas: usize,
    pub instance: Instance,
    pub clock: Clock,
}

/// The symbols of a partition, as the process watches them.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pub since: Millis,
    pub is_seeded: bool,
}

/// A connection to a Redis.
#[derive(Clone, Debug)]
pub struct Link {
    pub server: usize,
    pub replication: Arc<str>,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    pub node: Node,
    /// `None` for a node that works for no group.
    pub workers: Option<Workers>,
    pub caller: Caller,
    pub about: Arc<About>,
    pub clock: Clock,
    pub began: Millis,
    pub alive: bool,
    pub paused_until: Millis,
    pub cut_until: Millis,
    pub link: Option<Link>,
    /// When the last request and the last answer arrive.
    pub arrivals: [Millis; 2],
    /// When a node that is asked to leave does so at the latest, or that it has.
    pub leaving: Option<Leaving>,
    pub watches: BTreeMap<Partition, Watch>,
    pub lanes: BTreeMap<Partition, Lane>,
    pub outbox: Outbox,
    /// The call with klines that is on its way, with its number.
    pub writing: BTreeMap<Partition, (u64, Arc<Next>)>,
    pub reading: BTreeMap<Partition, Reading>,
    /// What the group had acknowledged when a lease was last granted or renewed, and by which Redis.
    pub granted: BTreeMap<Partition, (u64, Arc<str>)>,
    /// The newest version of each kline that it has made since its first windows were right.
    pub newest: BTreeMap<Partition, BTreeMap<Identity, Version>>,
}

/// How far a node is that leaves in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It writes what waits, until this moment of its clock at most.
    Writing(Duration),
    /// It goes on until others count.
    Draining,
}

impl Process {
    pub fn new(setting: &Setting, began: Millis) -> Self {
        let Setting { name, group, about, partitions, replicas, instance, clock } = setting.clone();
        let timing = Timing::default();
        let settings = membership::Settings { name: name.clone(), ingest: about.ingest, partitions, replicas, timing };
        let is_worker = about.groups.contains(&group);
        let work = workers::Settings { name: name.clone(), group, single: false, partitions, timing };
        Self {
            node: Node::new(settings),
            workers: is_worker.then(|| Workers::new(work)),
            caller: Caller { name, instance },
            about,
            clock,
            began,
            alive: true,
            paused_until: 0,
            cut_until: 0,
            link: None,
            arrivals: [0; 2],
            leaving: None,
            watches: BTreeMap::new(),
            lanes: BTreeMap::new(),
            outbox: Outbox::default(),
            writing: BTreeMap::new(),
            reading: BTreeMap::new(),
            granted: BTreeMap::new(),
            newest: BTreeMap::new(),
        }
    }

    /// Returns whether everything is given back after it was asked to leave.
    pub fn has_left(&self) -> bool {
        let works = self.workers.as_ref().is_some_and(|workers| workers.held().count() > 0);
        self.leaving == Some(Leaving::Draining) && self.node.is_done() && !works
    }

    /// Makes a kline: it waits to be written. Those since the first windows were right must not be lost.
    pub fn make(&mut self, partition: Partition, identity: Identity, version: Version, now: Duration) {
        if self.watches.get(&partition).is_some_and(|watch| watch.is_seeded) {
            self.newest.entry(partition).or_default().insert(identity.clone(), version.clone());
        }
        self.outbox.push(partition, (identity, version), now);
    }

    /// Forgets a partition that is no longer watched.
    pub fn forget(&mut self, partition: Partition) {
        self.watches.remove(&partition);
        self.lanes.remove(&partition);
        self.writing.remove(&partition);
        self.newest.remove(&partition);
        self.outbox.remove(partition);
    }

    /// Loses the connection; calls that were on their way have failed.
    pub fn disconnect(&mut self, now: Duration) {
        self.link = None;
        for partition in std::mem::take(&mut self.writing).into_keys() {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.failed(now);
            }
        }
    }

    /// Returns what was sent and is not answered.
    pub fn in_flight(&self) -> BTreeSet<Identity> {
        let of = |next: &Next| match next {
            Next::Append(klines) => klines.iter().map(|(identity, _)| identity.clone()).collect::<Vec<_>>(),
            Next::Resend { klines, .. } => klines.iter().map(|given| given.kline.identity.clone()).collect(),
        };
        self.writing.values().flat_map(|(_, next)| of(next)).collect()
    }
}
