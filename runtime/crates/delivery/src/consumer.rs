//! What a consumer is: a [`Blueprint`] checks settings and makes instances, an instance is a [`Consumer`].

use std::sync::Arc;

use klines_domain::kline::Kline;

use crate::bundle::Exhibit;
use crate::call::{Delivery, Failure, Problem, Subscription};
use crate::express::Express;
use crate::stats::Meter;
use crate::trusted_work::TrustedWork;

/// Checks settings and makes instances.
pub trait Blueprint: Send + 'static {
    /// Returns every problem of the settings. Has no effect.
    fn validate(&mut self) -> Vec<Problem>;

    /// Makes a fresh instance. Called again after each crash.
    ///
    /// # Errors
    /// [`Failure`]: `Fatal` when no instance can ever be made.
    fn instantiate(&mut self) -> Result<Box<dyn Consumer>, Failure>;

    /// Whether its instances run untrusted code, whose thread comes after those of others when cores are short.
    fn is_strange(&self) -> bool {
        false
    }

    /// Says to whose work the calls of its instances give way, if they run untrusted code. Called before the first
    /// instance is made.
    fn give_way_to(&mut self, _work: &Arc<TrustedWork>) {}

    /// SHA-256 of the component that its instances are made of, in hex. Nothing for what is not a component.
    fn version(&self) -> Option<String> {
        None
    }

    /// Reads what it takes to see a crash of this consumer again. Nothing for what is not a component.
    fn exhibit(&self) -> Option<Exhibit> {
        None
    }

    /// Whether its instances take what other consumers publish. Components never do.
    fn takes_values(&self) -> bool {
        false
    }

    /// Takes over closed klines that nobody will deliver in this run, if it has a place or an account for them. Called
    /// at the end of the run, when there is no instance. Returns whether it did; if not, they are counted as lost.
    fn keep(&mut self, _klines: &[Arc<Kline>]) -> bool {
        false
    }

    /// What its instances measure of themselves; the same over all of them.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
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

    /// The run ends: what is handed over from now on is the last, and to ask for a repetition hardly helps. Called before
    /// each delivery from then on.
    fn ending(&mut self) {}

    /// Takes one delivery.
    ///
    /// # Errors
    /// [`Failure`]: after `Retry` the same delivery comes again.
    fn consume(&mut self, delivery: &Delivery) -> Result<(), Failure>;

    /// What takes small deliveries beside [`Consumer::consume`], where there is such a way.
    fn express(&self) -> Option<Arc<dyn Express>> {
        None
    }

    /// Whether a fresh instance shall take over now, though nothing is wrong with this one.
    fn is_spent(&self) -> bool {
        false
    }

    /// Called once at the end, unless the instance crashed.
    fn stop(&mut self);
}
