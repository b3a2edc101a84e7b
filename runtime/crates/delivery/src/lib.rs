//! Layer 1: what a consumer is, and all that delivers klines to consumers.
//!
//! Native and WebAssembly consumers are the same to everything but their own module: a [`Blueprint`] checks settings
//! and makes instances, an instance is a [`Consumer`], and `worker` gives each its own thread, queue and policy.

pub mod bundle;
pub mod catalog;
pub mod cpu;
pub mod data_dir;
pub mod dead_letter;
pub mod emit;
pub mod encode;
pub mod express;
pub mod filter;
#[cfg(any(test, feature = "test-support"))]
pub mod fixture;
pub mod hub;
pub mod manager;
pub mod policy;
pub mod queue;
pub mod record;
pub mod stats;
pub mod trusted_work;
pub mod worker;

use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::symbol::Symbol;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use self::emit::Point;
use self::express::Express;
use self::stats::Meter;
use self::trusted_work::TrustedWork;

/// One thing wrong with a consumer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key inside the settings; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

/// What a consumer wants to receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Symbol names; empty means all.
    pub symbols: Vec<Symbol>,
    /// Intervals; empty means all that are configured.
    pub intervals: Vec<Interval>,
    /// Only confirmed klines.
    pub closed_only: bool,
}

/// Klines handed over in one call.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The klines, oldest first; shared with the other consumers, and the list with whoever handles the delivery.
    pub klines: Arc<[Arc<Kline>]>,
    /// Closed klines dropped from this consumer's queue since the previous delivery.
    pub lost: u64,
    /// What other consumers have published, in order within each; only for those whose blueprint takes values.
    pub values: Vec<Arc<Point>>,
}

/// Why a call did not succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// Not now: the same delivery comes again to the same instance.
    #[error("{0}")]
    Retry(String),
    /// Never: the consumer is stopped.
    #[error("{0}")]
    Fatal(String),
    /// The instance is gone (trap, time-out, memory refusal): a new one is made after a pause.
    #[error("{kind}: {message}")]
    Crashed {
        /// What ended it.
        kind: CrashKind,
        /// The error, with the guest's backtrace where there is one.
        message: String,
    },
}

/// What ended an instance.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum CrashKind {
    /// The guest trapped or panicked, or the host refused something that it asked for.
    #[error("trap")]
    Trap,
    /// A call took longer than its limit.
    #[error("time-out")]
    Timeout,
    /// It asked for more memory than its limit and could not go on without.
    #[error("memory limit")]
    Memory,
}

/// SHA-256 in hex: the name of some bytes that nobody can give to others.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks settings and makes instances.
pub trait Blueprint: Send + 'static {
    /// Returns every problem of the settings. Has no effect.
    fn validate(&mut self) -> Vec<Problem>;

    /// Makes a fresh instance. Called again after each crash.
    ///
    /// # Errors
    /// [`Failure`]: `Fatal` when no instance can ever be made.
    fn instantiate(&mut self) -> Result<Box<dyn Consumer>, Failure>;

    /// Whether its instances run a stranger's code, whose thread comes after those of others when cores are short.
    fn is_strange(&self) -> bool {
        false
    }

    /// Says to whose work the calls of its instances give way, if they run a stranger's code. Called before the first
    /// instance is made.
    fn give_way_to(&mut self, _work: &Arc<TrustedWork>) {}

    /// SHA-256 of the component that its instances are made of, in hex. Nothing for what is not a component.
    fn version(&self) -> Option<String> {
        None
    }

    /// Reads what it takes to see a crash of this consumer again. Nothing for what is not a component.
    fn exhibit(&self) -> Option<bundle::Exhibit> {
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
