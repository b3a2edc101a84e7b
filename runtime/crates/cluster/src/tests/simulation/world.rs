//! The nodes of a run, the queue of events that is its clock, and what is checked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::faults::{Fault, Plan};
use super::network::{Clock, Random};
use super::redis::{Answer, Redis, Request, group};
use crate::lease::Timing;
use crate::member::{Instance, Name};
use crate::membership::{self, Action, Input, Node, Phase};
use crate::model::Caller;
use crate::partition::{Partition, Partitions};
use crate::shares;
use crate::stream_id::StreamId;
use crate::workers::{self, Workers};

pub(super) const NODES: usize = 5;
const PARTITIONS: u16 = 16;
const REPLICAS: usize = 2;
/// How often a node is called, in milliseconds.
const TICK: u64 = 100;

/// A process of a node.
pub(super) struct Process {
    pub(super) node: Node,
    workers: Workers,
    caller: Caller,
    clock: Clock,
    alive: bool,
    paused_until: u64,
    cut_until: u64,
    /// What is consumed, and what is acknowledged.
    consumed: BTreeMap<Partition, StreamId>,
}

enum Event {
    Tick(usize),
    Request(usize, Instance, Request, Duration),
    Answer(usize, Instance, Answer, Duration),
    Seeded(usize, Instance, Partition),
    Finished(usize, Instance, Partition),
    Start(usize),
    Snapshot,
    Fault(Fault),
}

pub(super) struct World {
    pub(super) redis: Redis,
    pub(super) processes: Vec<Process>,
    /// Everything that happened, as text.
    pub(super) trace: String,
    /// How often a node began to watch a partition.
    pub(super) watches: u64,
    /// How often two workers believed to have one partition.
    pub(super) overlaps: u64,
    random: Random,
    rough: bool,
    loss: (u64, u64),
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    instances: u64,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut world = Self {
            redis: Redis::default(),
            processes: Vec::new(),
            trace: String::new(),
            watches: 0,
            overlaps: 0,
            random: Random::new(seed),
            rough: plan.rough,
            loss: (0, 0),
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            instances: 0,
        };
        for number in 0..NODES {
            let process = world.process(number);
            world.processes.push(process);
            world.schedule(world.now + number as u64, Event::Tick(number));
        }
        plan.faults.into_iter().for_each(|(at, fault)| world.schedule(at, Event::Fault(fault)));
        world.schedule(0, Event::Snapshot);
        world
    }

    pub(super) fn name(&self, number: usize) -> Name {
        Name::new(&format!("node-{number}")).unwrap()
    }

    fn process(&mut self, number: usize) -> Process {
        self.instances += 1;
        let (name, partitions) = (self.name(number), Partitions::new(PARTITIONS).unwrap());
        let rate = if self.rough { 920 + self.random.below(161) } else { 1_000 };
        let clock = Clock { offset: self.random.below(1_000_000), rate };
        let timing = Timing::default();
        let settings =
            membership::Settings { name: name.clone(), ingest: true, partitions, replicas: REPLICAS, timing };
        let work = workers::Settings { name: name.clone(), group: group(), single: false, partitions, timing };
        let caller = Caller { name, instance: Instance(self.instances) };
        Process {
            node: Node::new(settings),
            workers: Workers::new(work),
            caller,
            clock,
            alive: true,
            paused_until: 0,
            cut_until: 0,
            consumed: BTreeMap::new(),
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    pub(super) fn run_until(&mut self, end: u64) {
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            let ((at, _), event) = self.events.pop_first().unwrap();
            self.now = at;
            self.happen(event);
            self.look_for_overlaps();
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(number) => self.tick(number),
            Event::Request(number, instance, request, sent) => self.arrive(number, instance, &request, sent),
            Event::Answer(number, instance, answer, sent) => {
                if self.is_reachable(number, instance) {
                    self.defer_or(number, Event::Answer(number, instance, answer.clone(), sent), |world| {
                        world.answer(number, answer, sent);
                    });
                }
            }
            Event::Seeded(number, instance, partition) if self.is_same(number, instance) => {
                self.defer_or(number, Event::Seeded(number, instance, partition), |world| {
                    world.node(number, Input::Seeded(partition));
                });
            }
            Event::Finished(number, instance, partition) if self.is_same(number, instance) => {
                self.defer_or(number, Event::Finished(number, instance, partition), |world| {
                    world.worker(number, workers::Input::Finished(partition));
                });
            }
            Event::Seeded(..) | Event::Finished(..) => {}
            Event::Start(number) => self.start(number),
            Event::Snapshot => {
                self.redis.snapshot(self.now);
                self.schedule(self.now + 200, Event::Snapshot);
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    fn fault(&mut self, fault: Fault) {
        writeln!(self.trace, "{} {fault:?}", self.now).unwrap();
        match fault {
            Fault::Pause(number, lasts) => self.processes[number].paused_until = self.now + lasts,
            Fault::Cut(number, lasts) => self.processes[number].cut_until = self.now + lasts,
            Fault::Loss(percent, lasts) => self.loss = (percent, self.now + lasts),
            Fault::Failover(lost) => self.redis.fail_over(self.now, lost),
            Fault::Step(by) => self.redis.ahead += by,
            Fault::Kill(number, lasts) => {
                self.kill(number);
                self.schedule(self.now + lasts, Event::Start(number));
            }
        }
    }

    pub(super) fn kill(&mut self, number: usize) {
        self.processes[number].alive = false;
    }

    pub(super) fn start(&mut self, number: usize) {
        if !self.processes[number].alive {
            self.processes[number] = self.process(number);
        }
    }

    pub(super) fn drain(&mut self, number: usize) {
        self.node(number, Input::Drain);
        self.worker(number, workers::Input::Stop);
    }

    fn is_same(&self, number: usize, instance: Instance) -> bool {
        self.processes[number].alive && self.processes[number].caller.instance == instance
    }

    fn is_reachable(&self, number: usize, instance: Instance) -> bool {
        self.is_same(number, instance) && self.processes[number].cut_until <= self.now
    }

    /// Lets a paused node find the event when it goes on.
    fn defer_or(&mut self, number: usize, event: Event, act: impl FnOnce(&mut Self)) {
        let until = self.processes[number].paused_until;
        if until > self.now { self.schedule(until, event) } else { act(self) }
    }

    fn tick(&mut self, number: usize) {
        self.schedule(self.now + TICK, Event::Tick(number));
        let process = &self.processes[number];
        if !process.alive || process.paused_until > self.now {
            return;
        }
        let now = process.clock.at(self.now);
        let writable = process
            .node
            .holdings()
            .filter_map(|(partition, _)| Some((partition, process.node.may_write(partition, now)?)));
        let writes: Vec<_> = writable.collect();
        for (partition, token) in writes {
            if self.random.below(8) == 0 {
                self.send(number, Request::Write(partition, token));
            }
        }
        self.node(number, Input::Tick);
        self.worker(number, workers::Input::Tick);
    }

    fn node(&mut self, number: usize, input: Input) {
        let (mut actions, now) = (Vec::new(), self.processes[number].clock.at(self.now));
        self.processes[number].node.on(input, now, &mut actions);
        let instance = self.processes[number].caller.instance;
        for action in actions {
            match action {
                Action::Watch(partition) => {
                    self.watches += 1;
                    let lasts = 300 + self.random.below(4_000);
                    self.schedule(self.now + lasts, Event::Seeded(number, instance, partition));
                }
                Action::Unwatch(_) => {}
                asked => self.send(number, Request::Node(asked)),
            }
        }
    }

    fn worker(&mut self, number: usize, input: workers::Input) {
        let process = &mut self.processes[number];
        let (mut actions, now) = (Vec::new(), process.clock.at(self.now));
        process.workers.on(input, now, &mut actions);
        for action in actions {
            self.work(number, action);
        }
    }

    fn work(&mut self, number: usize, action: workers::Action) {
        let instance = self.processes[number].caller.instance;
        let consumed = &mut self.processes[number].consumed;
        match action {
            workers::Action::Begin(partition, _, position) => drop(consumed.insert(partition, position)),
            workers::Action::Abandon(partition) => drop(consumed.remove(&partition)),
            workers::Action::Finish(partition) => {
                let lasts = self.random.below(1_500);
                self.schedule(self.now + lasts, Event::Finished(number, instance, partition));
            }
            workers::Action::Renew(partition, _) | workers::Action::Release(partition, _) => {
                let position = consumed.entry(partition).or_default();
                position.millis += 1;
                let position = *position;
                self.send(number, Request::Worker(action, position));
            }
            workers::Action::Acquire(_) => self.send(number, Request::Worker(action, StreamId::default())),
        }
    }

    fn send(&mut self, number: usize, request: Request) {
        let process = &self.processes[number];
        let (sent, instance) = (process.clock.at(self.now), process.caller.instance);
        writeln!(self.trace, "{} {number} {request:?}", self.now).unwrap();
        if let Some(delay) = self.delay(number) {
            self.schedule(self.now + delay, Event::Request(number, instance, request, sent));
        }
    }

    /// Returns how long a message takes; `None` if it is lost.
    fn delay(&mut self, number: usize) -> Option<u64> {
        let (percent, until) = self.loss;
        let lost = until > self.now && self.random.below(100) < percent;
        let longest = if self.rough && self.random.below(50) == 0 { 3_000 } else { 20 };
        let delay = 1 + self.random.below(longest);
        (!lost && self.processes[number].cut_until <= self.now).then_some(delay)
    }

    fn arrive(&mut self, number: usize, instance: Instance, request: &Request, sent: Duration) {
        // What was on its way arrives although its process has ended.
        let caller = Caller { name: self.name(number), instance };
        let answer = self.redis.handle(&caller, request, self.now);
        writeln!(self.trace, "{} redis {number} {answer:?}", self.now).unwrap();
        if let (Some(answer), Some(delay)) = (answer, self.delay(number)) {
            self.schedule(self.now + delay, Event::Answer(number, instance, answer, sent));
        }
    }

    fn answer(&mut self, number: usize, answer: Answer, sent: Duration) {
        match answer {
            Answer::Granted(token, view) => {
                self.node(number, Input::Granted { sent, token, view: Some(view.clone()) });
                self.worker(number, workers::Input::Viewed(view));
            }
            Answer::Viewed(view) => self.node(number, Input::Viewed(view)),
            Answer::MemberRefused(token, refusal) => self.node(number, Input::MemberRefused { token, refusal }),
            Answer::Held(partition, token, holders) => {
                self.node(number, Input::Held { partition, sent, token, holders });
            }
            Answer::HoldRefused(partition, token, refusal) => {
                self.node(number, Input::HoldRefused { partition, token, refusal });
            }
            Answer::Worker(partition, progress) => {
                let (token, position) = (progress.token, progress.position);
                self.worker(number, workers::Input::Granted { partition, sent, token, position });
            }
            Answer::WorkerRefused(partition, token, refusal) => {
                self.worker(number, workers::Input::Refused { partition, token, refusal });
            }
        }
    }

    fn look_for_overlaps(&mut self) {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        for partition in partitions.iter() {
            let believes = |process: &&Process| {
                process.alive && process.workers.may_acknowledge(partition, process.clock.at(self.now)).is_some()
            };
            self.overlaps += u64::from(self.processes.iter().filter(believes).count() > 1);
        }
    }

    /// Returns the nodes that should hold each partition, by those that are alive.
    pub(super) fn shares(&self) -> Vec<Vec<Name>> {
        let living: Vec<Name> =
            self.processes.iter().filter(|one| one.alive).map(|one| one.caller.name.clone()).collect();
        let partitions = Partitions::new(PARTITIONS).unwrap();
        partitions.iter().map(|one| shares::holders(one, &living, REPLICAS).into_iter().cloned().collect()).collect()
    }

    /// Returns the nodes that count for each partition.
    pub(super) fn counting(&self) -> Vec<BTreeSet<Name>> {
        let now = self.redis.now(self.now);
        let of =
            |partition| self.redis.state.holders.get(&partition).map(|holders| holders.living(now)).unwrap_or_default();
        let partitions = Partitions::new(PARTITIONS).unwrap().iter();
        partitions
            .map(|partition| {
                let counting = of(partition).into_iter().filter(|holder| holder.phase == Phase::Counting);
                counting.map(|holder| holder.name).collect()
            })
            .collect()
    }

    #[track_caller]
    pub(super) fn assert_fenced(&self, seed: u64) {
        assert_eq!(self.redis.unfenced, 0, "seed {seed}: an older owner was not refused");
    }

    #[track_caller]
    pub(super) fn assert_recovered(&self, seed: u64) {
        let shares = self.shares().into_iter().map(BTreeSet::from_iter).collect::<Vec<BTreeSet<Name>>>();
        assert_eq!(self.counting(), shares, "seed {seed}: each partition has the holders of its share, and they count");
        let living: Vec<&Process> = self.processes.iter().filter(|process| process.alive).collect();
        let names: Vec<&Name> = living.iter().map(|process| &process.caller.name).collect();
        let now = self.redis.now(self.now);
        for partition in Partitions::new(PARTITIONS).unwrap().iter() {
            let owner = self.redis.state.groups.get(&partition).and_then(|groups| groups.owner(&group(), now));
            let worker = shares::worker(&group(), partition, names.iter().copied());
            assert_eq!(owner, worker, "seed {seed}: partition {partition} has its worker");
        }
        assert!(living.iter().all(|process| process.node.is_member(process.clock.at(self.now))), "seed {seed}");
    }
}
