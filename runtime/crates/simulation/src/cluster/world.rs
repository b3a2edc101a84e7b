//! A run: the processes, the Redis servers, and the queue of events that is the clock.

#![expect(clippy::indexing_slicing, reason = "numbers of nodes and servers come from the lists themselves")]

mod answers;
mod end;
mod faults;
mod klines;
mod requests;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use klines_cluster::member::{About, Instance, Name};
use klines_cluster::membership::Input;
use klines_cluster::model::Caller;
use klines_cluster::partition::{Partition, Partitions};
use klines_cluster::shares::DEFAULT_REPLICAS;
use klines_cluster::workers;

use self::faults::Split;
use self::watching::Recovering;
use super::outcome::{Figures, Outcome};
use super::plan::{Fault, Millis, Plan, Style};
use super::process::{Clock, Link, Process, Setting};
use super::reader::Reader;
use super::server::{Answer, Request, Server, State};

/// How often a node is called, in milliseconds.
const TICK: Millis = 100;
/// How long after the last window all klines are written.
const SETTLED: Millis = 6_000;
/// How many faults are kept: one mistake makes many.
const MOST_FAULTS: usize = 20;

/// What happens to a process.
#[derive(Debug)]
enum Event {
    Tick,
    Connect,
    Answer { server: usize, answer: Answer, sent: Duration, serial: u64 },
    Refused { server: usize },
    Timeout { partition: Partition, serial: u64 },
    Seeded(Partition, Millis),
    Finished(Partition),
    Kline { window: u64, late: u8 },
}

/// What happens.
#[derive(Debug)]
enum Happening {
    /// Something happens to a process, unless it has ended.
    To(usize, Instance, Event),
    /// A request arrives.
    Request(usize, Arrival),
    /// A process of a node begins, or the one that lives ends and another one begins.
    Start(usize),
    /// A window ends.
    Window(u64),
    /// What a failover will leave is copied.
    Snapshot(usize),
    Fault(usize),
    /// The end of a split.
    Healed,
    /// Somebody looks at the cluster.
    Look,
}

/// A request on its way.
#[derive(Debug)]
struct Arrival {
    caller: Arc<Caller>,
    server: usize,
    replication: Arc<str>,
    request: Request,
    sent: Duration,
    serial: u64,
}

/// The state of a run.
pub struct World {
    plan: Plan,
    is_traced: bool,
    trace: String,
    faults: Vec<String>,
    rng: Rng,
    now: Millis,
    events: BTreeMap<(Millis, u64), Happening>,
    scheduled: u64,
    group: Name,
    names: Vec<Name>,
    instances: u64,
    processes: Vec<Process>,
    servers: Vec<Server>,
    /// The master that all nodes use but those for which a split has another one.
    master: usize,
    split: Option<Split>,
    snapshots: BTreeMap<usize, State>,
    /// The number of the newest call with klines that has arrived from a process for a partition.
    calls: BTreeMap<(Instance, Partition), u64>,
    loss: (u64, Millis),
    delayed_until: Millis,
    /// When Redis last granted what it may have granted before.
    redis_failed: Millis,
    reader: Reader,
    stale: u64,
    overlaps: u64,
    /// Whether every partition has had all of its replicas once.
    is_whole: bool,
    /// The partitions that a node had when it ended.
    left: BTreeSet<Partition>,
    figures: Figures,
    recovering: Option<Recovering>,
}

#[expect(clippy::expect_used, reason = "the texts are valid names")]
fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

impl World {
    pub fn new(plan: &Plan, is_traced: bool) -> Self {
        let group = name("alerts");
        let mut world = Self {
            plan: plan.clone(),
            is_traced,
            trace: String::new(),
            faults: Vec::new(),
            rng: Rng::with_seed(plan.seed),
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            names: (0..plan.nodes()).map(|number| name(&format!("node-{number}"))).collect(),
            instances: 0,
            processes: Vec::new(),
            servers: vec![Server::new(0, State::default(), 0, group.clone())],
            group,
            master: 0,
            split: None,
            snapshots: BTreeMap::new(),
            calls: BTreeMap::new(),
            loss: (0, 0),
            delayed_until: 0,
            redis_failed: 0,
            reader: Reader::default(),
            stale: 0,
            overlaps: 0,
            is_whole: false,
            left: BTreeSet::new(),
            figures: Figures::default(),
            recovering: None,
        };
        world.prepare();
        world
    }

    /// Puts the beginning of everything into the queue.
    fn prepare(&mut self) {
        for number in 0..self.plan.nodes() {
            let process = self.process(number);
            self.processes.push(process);
            self.begin(number);
        }
        for (number, Fault { at, kind, .. }) in self.plan.faults.clone().into_iter().enumerate() {
            // If nothing is lost, the copy is made at the same moment, and before.
            if let Some(lost) = kind.lost() {
                self.schedule(at - lost, Happening::Snapshot(number));
            }
            self.schedule(at, Happening::Fault(number));
        }
        self.schedule(self.plan.window, Happening::Window(0));
        self.schedule(TICK, Happening::Look);
    }

    pub fn run(&mut self) {
        self.run_until(self.plan.end);
        if self.faults.is_empty() {
            self.check_cluster();
        }
        self.run_until(self.plan.end + SETTLED);
        if self.faults.is_empty() {
            self.check_klines();
        }
    }

    fn run_until(&mut self, end: Millis) {
        while self.faults.len() < MOST_FAULTS
            && let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end)
        {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    pub fn finish(mut self) -> Outcome {
        self.divide_counts();
        let is_measured = self.plan.style == Style::Large && self.faults.is_empty();
        let figures = is_measured.then_some(self.figures);
        let Self { trace, faults, reader, stale, overlaps, .. } = self;
        Outcome { trace, faults, compared: reader.len(), stale, overlaps, figures }
    }

    fn partitions(&self) -> Partitions {
        Partitions::new(self.plan.partitions).unwrap_or_default()
    }

    /// Returns what a node is: in a small cluster, ingest nodes are workers, too.
    fn about(&self, number: usize) -> About {
        let Plan { ingest, workers, .. } = self.plan;
        let is_ingest = number < ingest;
        let is_worker = if workers == 0 { is_ingest } else { (ingest..ingest + workers).contains(&number) };
        let groups = is_worker.then(|| self.group.clone()).into_iter().collect();
        About { ingest: is_ingest, serve: !is_ingest || workers == 0, groups, partitions: None }
    }

    fn process(&mut self, number: usize) -> Process {
        self.instances += 1;
        let rate = if self.plan.is_rough { 920 + self.rng.u64(0..161) } else { 1_000 };
        let setting = Setting {
            name: self.names[number].clone(),
            group: self.group.clone(),
            about: Arc::new(self.about(number)),
            partitions: self.partitions(),
            replicas: DEFAULT_REPLICAS,
            instance: Instance(self.instances),
            clock: Clock { offset: self.rng.u64(0..1_000_000), rate },
        };
        Process::new(&setting, self.now)
    }

    /// Schedules the first events of a process.
    fn begin(&mut self, number: usize) {
        let (connects, ticks) = (self.rng.u64(1..100), self.rng.u64(0..TICK));
        self.later(number, connects, Event::Connect);
        self.later(number, ticks, Event::Tick);
    }

    fn schedule(&mut self, at: Millis, happening: Happening) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), happening);
    }

    /// Lets something happen to the process of a node after a time.
    fn later(&mut self, number: usize, after: Millis, event: Event) {
        let instance = self.processes[number].caller.instance;
        self.schedule(self.now + after, Happening::To(number, instance, event));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.is_traced {
            let _ = writeln!(self.trace, "{:>7} {}", self.now, text());
        }
    }

    fn fail(&mut self, text: &str) {
        self.note(|| format!("fault: {text}"));
        self.faults.push(format!("at {} ms: {text}", self.now));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::To(number, instance, event) => self.happen_to(number, instance, event),
            Happening::Request(number, arrival) => self.arrive(number, &arrival),
            Happening::Start(number) => self.start(number),
            Happening::Window(window) => self.end_window(window),
            Happening::Snapshot(fault) => {
                let state = self.servers[self.master].state.clone();
                self.snapshots.insert(fault, state);
            }
            Happening::Fault(number) => self.fault(number),
            Happening::Healed => self.heal(),
            Happening::Look => {
                self.look();
                self.schedule(self.now + TICK, Happening::Look);
            }
        }
    }

    fn happen_to(&mut self, number: usize, instance: Instance, event: Event) {
        let process = &self.processes[number];
        if !process.alive || process.caller.instance != instance {
            return;
        }
        // A paused process finds everything when it goes on.
        if process.paused_until > self.now {
            let until = process.paused_until;
            return self.schedule(until, Happening::To(number, instance, event));
        }
        match event {
            Event::Tick => self.tick(number),
            Event::Connect => self.connect(number),
            Event::Answer { server, answer, sent, serial } => self.answer(number, server, answer, (sent, serial)),
            Event::Refused { server } => self.refused(number, server),
            Event::Timeout { partition, serial } => self.time_out(number, partition, serial),
            Event::Seeded(partition, since) => self.seeded(number, partition, since),
            Event::Finished(partition) => self.worker(number, workers::Input::Finished(partition)),
            Event::Kline { window, late } => self.make_klines(number, window, late),
        }
    }

    fn start(&mut self, number: usize) {
        if self.processes[number].alive && self.plan.style == Style::Orderly {
            self.fail(&format!("node {number} has not left in time"));
        }
        self.end(number);
        self.note(|| format!("node {number} starts"));
        self.processes[number] = self.process(number);
        self.begin(number);
    }

    /// Ends a process at once.
    fn end(&mut self, number: usize) {
        if !self.processes[number].alive {
            return;
        }
        self.note(|| format!("node {number} ends"));
        self.processes[number].alive = false;
        self.left.extend(self.processes[number].watches.keys());
    }

    fn connect(&mut self, number: usize) {
        if self.processes[number].link.is_some() {
            return;
        }
        if self.processes[number].cut_until > self.now {
            return self.later(number, 500, Event::Connect);
        }
        let server = self.master_of(number);
        let replication = self.servers[server].replication.clone();
        self.note(|| format!("node {number} connects to {replication}"));
        self.processes[number].link = Some(Link { server, replication });
        self.node(number, Input::Connected);
    }
}
