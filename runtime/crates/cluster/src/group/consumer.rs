//! The consumer of a group: it hands each delivery to the instance of its partition, which it creates when it is needed.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use klines_delivery::position::Position;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Profile, Subscription};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesId;

use super::book::{At, Holding, Read};
use super::state::{LeasedState, NoState};
use super::{Group, Instances};
use crate::partition::Partition;

/// Creates the consumer of a group.
#[derive(Clone)]
pub struct GroupBlueprint {
    instances: Arc<dyn Instances>,
    group: Arc<Group>,
}

impl GroupBlueprint {
    /// Builds the blueprint of a group. The group works as long as there is one of its blueprints.
    #[must_use]
    pub fn new(instances: Arc<dyn Instances>, group: Arc<Group>) -> Self {
        Self { instances, group }
    }
}

impl fmt::Debug for GroupBlueprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GroupBlueprint").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Blueprint for GroupBlueprint {
    fn validate(&mut self) -> Vec<Problem> {
        self.instances.validate()
    }

    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        let Self { instances, group } = self.clone();
        let consumer = GroupConsumer {
            instances,
            group,
            work: work.clone(),
            generation: 0,
            position: None,
            running: BTreeMap::new(),
            partitions: HashMap::new(),
        };
        Ok(Box::new(consumer))
    }

    fn profile(&self) -> Profile {
        Profile { is_repeated: true, ..self.instances.profile() }
    }
}

/// An instance, and the number of the lease under which it runs.
struct Running {
    number: u64,
    instance: Box<dyn Consumer>,
}

/// One generation of instances.
struct GroupConsumer {
    instances: Arc<dyn Instances>,
    group: Arc<Group>,
    work: Arc<TrustedWork>,
    generation: u64,
    position: Option<Arc<Position>>,
    /// By the partition of the lease.
    running: BTreeMap<Partition, Running>,
    /// The partition of each series that was received.
    partitions: HashMap<SeriesId, Partition>,
}

impl GroupConsumer {
    /// Stops the instances whose lease is over.
    fn stop_ended(&mut self, holdings: &[Holding]) {
        let is_held = |partition: Partition, number| holdings.contains(&Holding { partition, number });
        let ended: Vec<Partition> = self
            .running
            .iter()
            .filter(|(partition, running)| !is_held(**partition, running.number))
            .map(|(partition, _)| *partition)
            .collect();
        for partition in ended {
            if let Some(mut ended) = self.running.remove(&partition) {
                ended.instance.stop();
            }
        }
    }

    /// Returns the instance of a lease; starts it if there is none.
    fn instance(&mut self, holding: Holding) -> Result<&mut Box<dyn Consumer>, Failure> {
        if !self.running.contains_key(&holding.partition) {
            let state = LeasedState { book: self.group.book.clone(), holding, generation: self.generation };
            let mut instance = self.instances.with_state(Arc::new(state)).instantiate(&self.work)?;
            if let Some(position) = &self.position {
                instance.follow(position);
            }
            instance.setup()?;
            instance.start()?;
            self.running.insert(holding.partition, Running { number: holding.number, instance });
        }
        let running = self.running.get_mut(&holding.partition);
        running.map(|running| &mut running.instance).ok_or_else(|| Failure::Retry("there is no instance".to_owned()))
    }

    /// Hands klines to the instance of a lease. What it does after its lease is over has no effect, and is repeated by the next
    /// owner: then the klines count as accepted here.
    fn deliver(&mut self, holding: Holding, at: Option<At>, delivery: &Delivery) -> Result<(), Failure> {
        if !self.group.book.is_valid(holding) {
            // The driver renews it soon, or gives it up.
            let partition = holding.partition;
            return Err(Failure::Retry(format!("the lease of partition {partition} has not been renewed yet")));
        }
        let result = self.deliver_under(holding, at, delivery);
        match result {
            Err(_) if !self.group.book.holdings().contains(&holding) => {
                // It may have accepted what was not written.
                self.running.remove(&holding.partition);
                Ok(())
            }
            result => result,
        }
    }

    fn deliver_under(&mut self, holding: Holding, at: Option<At>, delivery: &Delivery) -> Result<(), Failure> {
        // Started before the position moves: the start of an instance also writes its state.
        self.instance(holding)?;
        let book = self.group.book.clone();
        book.set_current(holding, at);
        let result = self.instance(holding)?.consume(delivery);
        book.set_current(holding, None);
        if result? == Next::Recycle
            && let Some(mut old) = self.running.remove(&holding.partition)
        {
            old.instance.stop();
        }
        Ok(())
    }

    /// Returns the lease to which each kline of a delivery of updates belongs.
    fn split(&mut self, delivery: &Delivery, holdings: &[Holding]) -> BTreeMap<Holding, Vec<Arc<Kline>>> {
        let Self { group, partitions, .. } = self;
        let settings = &group.settings;
        let mut split = BTreeMap::<Holding, Vec<Arc<Kline>>>::new();
        for kline in &*delivery.klines {
            let of = partitions
                .entry(kline.series)
                .or_insert_with(|| settings.partitions.of(kline.series.category, &kline.series.symbol));
            let lease = holdings.iter().find(|holding| settings.is_single || holding.partition == *of);
            if let Some(holding) = lease {
                split.entry(*holding).or_default().push(kline.clone());
            }
        }
        split
    }
}

impl Consumer for GroupConsumer {
    fn follow(&mut self, position: &Arc<Position>) {
        self.position = Some(position.clone());
    }

    /// An instance without a state says what all of them want to receive.
    fn setup(&mut self) -> Result<Subscription, Failure> {
        self.instances.with_state(Arc::new(NoState)).instantiate(&self.work)?.setup()
    }

    /// Starts an instance for each lease: there are some if a new version replaces another one.
    fn start(&mut self) -> Result<(), Failure> {
        self.generation = self.group.book.begin_generation();
        self.group.start().map_err(|error| Failure::Fatal(format!("cannot start the thread of the group: {error}")))?;
        let book = self.group.book.clone();
        let mut valid = book.holdings().into_iter().filter(|holding| book.is_valid(*holding));
        valid.try_for_each(|holding| match self.instance(holding) {
            // It has lost its lease meanwhile, and with it the right to change the state.
            Err(_) if !book.holdings().contains(&holding) => Ok(()),
            result => result.map(drop),
        })
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        let holdings = self.group.book.holdings();
        self.stop_ended(&holdings);
        if delivery.batches.begun > 0 {
            let read = self.group.book.entry(delivery.batches.begun);
            if let Some(Read { holding, at, .. }) = read.filter(|read| holdings.contains(&read.holding)) {
                self.deliver(holding, Some(at), delivery)?;
            }
        } else {
            for (holding, klines) in self.split(delivery, &holdings) {
                // Newer updates follow those that are left out.
                if !self.group.book.is_valid(holding) {
                    continue;
                }
                self.deliver(holding, None, &Delivery { klines: klines.into(), ..delivery.clone() })?;
            }
        }
        Ok(Next::Deliver)
    }

    fn is_settled(&self) -> bool {
        self.running.values().all(|running| running.instance.is_settled())
    }

    fn stop(&mut self) {
        self.running.values_mut().for_each(|running| running.instance.stop());
    }
}
