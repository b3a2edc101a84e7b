//! What passes in a call to a consumer, and how a call can end.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::symbol::Symbol;
use thiserror::Error;

use crate::emit::Point;

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
    /// Whether the run ends: this is among the last deliveries, and to ask for a repetition hardly helps.
    pub ending: bool,
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

/// Makes a panic of a native consumer what a trap of a component is.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(Failure::Crashed { kind: CrashKind::Trap, message: format!("panicked: {}", text_of(payload.as_ref())) })
    })
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
