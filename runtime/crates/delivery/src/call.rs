//! The arguments of calls to a consumer, and how a call can fail.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::symbol::Symbol;
use thiserror::Error;

use crate::emit::Point;

/// One problem of a consumer's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key inside the settings; empty for the settings as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What is expected instead.
    pub expected: String,
}

/// What a consumer wants to receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Symbol names; empty means all.
    pub symbols: Vec<Symbol>,
    /// Intervals; empty means all that are configured.
    pub intervals: Vec<Interval>,
    /// Whether only confirmed klines are wanted.
    pub closed_only: bool,
}

/// The klines and values of one call of `consume`.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The klines, oldest first. Klines are shared with other consumers, the list with whatever handles the delivery.
    pub klines: Arc<[Arc<Kline>]>,
    /// Closed klines dropped from this consumer's queue since the previous delivery.
    pub lost: u64,
    /// The values that other consumers have published, in the order of each publisher; only if the blueprint takes
    /// values.
    pub values: Vec<Arc<Point>>,
    /// Whether the run ends: this is one of the last deliveries, and `Retry` hardly helps.
    pub ending: bool,
    /// How far in the batches of this run it reaches.
    pub batches: Batches,
}

/// How many batches of a run have been delivered when a delivery is accepted; 0 if it has no closed klines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// In part at least.
    pub begun: u64,
    /// As a whole.
    pub complete: u64,
}

/// Why a call failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// The call cannot succeed now: it is repeated with the same instance.
    #[error("{0}")]
    Retry(String),
    /// The call can never succeed: the consumer is stopped.
    #[error("{0}")]
    Fatal(String),
    /// The reader of its standard output has gone, as in `| head`: the consumer has nothing left to do.
    #[error("the reader of its standard output has gone")]
    OutputClosed,
    /// The instance crashed (trap, time-out, memory refusal): a new one is created after a pause.
    #[error("{kind}: {message}")]
    Crashed {
        /// The kind of crash.
        kind: CrashKind,
        /// The error, with the guest's backtrace where there is one.
        message: String,
    },
}

/// How an instance crashed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum CrashKind {
    /// The guest trapped or panicked, or the host refused one of its requests.
    #[error("trap")]
    Trap,
    /// A call took longer than its limit.
    #[error("time-out")]
    Timeout,
    /// It requested more memory than its limit and could not continue without it.
    #[error("memory limit")]
    Memory,
}

/// Runs `call` and turns a panic into [`Failure::Crashed`], like a trap of a component.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(Failure::Crashed { kind: CrashKind::Trap, message: format!("panicked: {}", text_of(payload.as_ref())) })
    })
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
