//! The traits of a consumer: a [`Blueprint`] validates settings and creates instances, an instance is a [`Consumer`].

use std::fmt;
use std::sync::Arc;

use klines_domain::kline::Kline;

use crate::call::{Delivery, Failure, Problem, Subscription};
use crate::crash_report::ComponentSnapshot;
use crate::position::Position;
use crate::seeded::Seeded;
use crate::stats::Meter;
use crate::trusted_work::TrustedWork;

/// Validates settings and creates instances.
pub trait Blueprint: Send + 'static {
    /// Returns every problem of the settings. Has no effect.
    fn validate(&mut self) -> Vec<Problem>;

    /// Creates a new instance. Called again after each crash. Calls of untrusted instances yield to `work`.
    ///
    /// # Errors
    /// [`Failure`]: `Fatal` if no instance can ever be created.
    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure>;

    /// Returns the properties that all of its instances share.
    fn profile(&self) -> Profile {
        Profile::default()
    }
}

/// The properties that all instances of a blueprint share.
#[derive(Clone, Default)]
pub struct Profile {
    /// Whether they run untrusted code. Its thread has a lower priority than others when cores are short.
    pub is_untrusted: bool,
    /// Whether they take the values that other consumers publish. Components never do.
    pub takes_values: bool,
    /// What they measure themselves, over all instances.
    pub meter: Option<Arc<dyn Meter>>,
    /// The component of the instances; `None` for a native consumer.
    pub component: Option<Arc<dyn ComponentSource>>,
    /// Takes over klines that will not be delivered in this run; `None` if they are lost.
    pub keeper: Option<Arc<dyn KlineKeeper>>,
    /// When the past that they read is known; `None` if they read none.
    pub seeded: Option<Arc<Seeded>>,
    /// Whether klines that they do not accept come again: they are not lost when a run ends, and wait while the consumer
    /// rests. What publishes them waits while the queue is half full.
    pub is_repeated: bool,
}

impl Profile {
    /// Returns the SHA-256 of the component, in hex; `None` for a native consumer.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.component.as_ref().map(|component| component.sha256().to_owned())
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_untrusted, takes_values, .. } = self;
        out.debug_struct("Profile")
            .field("is_untrusted", is_untrusted)
            .field("takes_values", takes_values)
            .finish_non_exhaustive()
    }
}

/// The component of a blueprint.
pub trait ComponentSource: Send + Sync {
    /// Returns the SHA-256 of the component, in hex.
    fn sha256(&self) -> &str;

    /// Reads what is needed to reproduce a crash of this consumer.
    fn snapshot(&self) -> ComponentSnapshot;
}

/// Keeps klines for the next run.
pub trait KlineKeeper: Send + Sync {
    /// Takes over closed klines that will not be delivered in this run: stores them or counts them as lost itself.
    /// Called when there is no instance. Returns whether it took them; if not, the caller counts them as lost.
    fn keep(&self, klines: &[Arc<Kline>]) -> bool;
}

/// What follows an accepted delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The instance receives the next delivery.
    Deliver,
    /// A fresh instance replaces this one, although this one did not fail.
    Recycle,
}

/// Takes deliveries inline, on any thread.
pub trait DeliverInline: Send + Sync {
    /// Takes a delivery if that needs only microseconds and no waiting. Returns whether it was taken, completely or not
    /// at all.
    fn deliver(&self, delivery: &Delivery) -> bool;
}

/// One running instance. It is called by one thread, one call at a time; the thread does not belong to an executor.
pub trait Consumer: Send {
    /// Takes the position of the consumer, for an instance that reads klines of the past. Called before `setup`.
    fn follow(&mut self, position: &Arc<Position>) {
        let _ = position;
    }

    /// Prepares the instance. Returns what it wants to receive.
    ///
    /// # Errors
    /// [`Failure`], as for every call.
    fn setup(&mut self) -> Result<Subscription, Failure>;

    /// Starts the instance. Called once, before the first delivery.
    ///
    /// # Errors
    /// [`Failure`], as for every call.
    fn start(&mut self) -> Result<(), Failure>;

    /// Takes one delivery.
    ///
    /// # Errors
    /// [`Failure`]: after `Retry` the same delivery is repeated.
    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure>;

    /// Returns whether everything that it has accepted has arrived where it goes to, or is kept on disk until then.
    fn is_settled(&self) -> bool {
        true
    }

    /// Returns what takes small deliveries inline instead of [`Consumer::consume`]; `None` if the consumer takes none
    /// inline.
    fn inline(&self) -> Option<Arc<dyn DeliverInline>> {
        None
    }

    /// Stops the instance. Called once at the end, unless the instance crashed.
    fn stop(&mut self);
}
