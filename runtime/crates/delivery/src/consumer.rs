//! What a consumer is: a [`Blueprint`] checks settings and makes instances, an instance is a [`Consumer`].

use std::fmt;
use std::sync::Arc;

use klines_domain::kline::Kline;

use crate::bundle::ComponentSnapshot;
use crate::call::{Delivery, Failure, Problem, Subscription};
use crate::stats::Meter;
use crate::trusted_work::TrustedWork;

/// Checks settings and makes instances.
pub trait Blueprint: Send + 'static {
    /// Returns every problem of the settings. Has no effect.
    fn validate(&mut self) -> Vec<Problem>;

    /// Makes a fresh instance. Called again after each crash. Calls of untrusted instances yield to `work`.
    ///
    /// # Errors
    /// [`Failure`]: `Fatal` when no instance can ever be made.
    fn instantiate(&mut self, work: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure>;

    /// Returns what holds of all of its instances.
    fn profile(&self) -> Profile {
        Profile::default()
    }
}

/// What holds of all instances of a blueprint.
#[derive(Clone, Default)]
pub struct Profile {
    /// They run untrusted code, whose thread comes after those of others when cores are short.
    pub is_untrusted: bool,
    /// They take what other consumers publish. Components never do.
    pub takes_values: bool,
    /// What they measure of themselves; the same over all of them.
    pub meter: Option<Arc<dyn Meter>>,
    /// What they are made of, for a component.
    pub component: Option<Arc<dyn ComponentSource>>,
    /// What takes over the klines that nobody will deliver in this run.
    pub keeper: Option<Arc<dyn KlineKeeper>>,
}

impl Profile {
    /// Returns the SHA-256 of the component, in hex.
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

/// The component that instances are made of.
pub trait ComponentSource: Send + Sync {
    /// Returns the SHA-256 of the component, in hex.
    fn sha256(&self) -> &str;

    /// Reads what it takes to reproduce a crash of this consumer.
    fn snapshot(&self) -> ComponentSnapshot;
}

/// Takes over klines at the end of a run.
pub trait KlineKeeper: Send + Sync {
    /// Takes over closed klines that nobody will deliver in this run, if it has a place or an account for them. Called when
    /// there is no instance. Returns whether it did; if not, they are counted as lost.
    fn keep(&self, klines: &[Arc<Kline>]) -> bool;
}

/// What follows a delivery that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next delivery.
    Deliver,
    /// A fresh instance takes over, though nothing is wrong with this one.
    Recycle,
}

/// What a consumer does at once, on any thread.
pub trait DeliverInline: Send + Sync {
    /// Takes a delivery if that is a matter of microseconds and waits for nobody. Returns whether it was taken, which is
    /// all or nothing.
    fn deliver(&self, delivery: &Delivery) -> bool;
}

/// One running instance. Calls come one at a time, from one thread that is not an executor's.
pub trait Consumer: Send {
    /// Prepares and says what it wants to receive.
    ///
    /// # Errors
    /// [`Failure`], as for every call.
    fn setup(&mut self) -> Result<Subscription, Failure>;

    /// Called once before the first delivery.
    ///
    /// # Errors
    /// [`Failure`], as for every call.
    fn start(&mut self) -> Result<(), Failure>;

    /// Takes one delivery.
    ///
    /// # Errors
    /// [`Failure`]: after `Retry` the same delivery comes again.
    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure>;

    /// Returns what takes small deliveries at once, where there is such a way, instead of [`Consumer::consume`].
    fn inline(&self) -> Option<Arc<dyn DeliverInline>> {
        None
    }

    /// Called once at the end, unless the instance crashed.
    fn stop(&mut self);
}
