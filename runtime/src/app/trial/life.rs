//! The life of a consumer under test: set up, started, given every kline, stopped; up to the first failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use klines_config::case::{Case, Ending};
use klines_delivery::filter::Filter;
use klines_delivery::{Blueprint as _, Consumer, CrashKind, Delivery, Failure, Next, Subscription};
use klines_domain::kline::{Batch, Kline};
use klines_domain::time::Millis;
use thiserror::Error;

use super::capture::Act;
use super::market;
use super::stage::Scene;
use super::transcript::{Transcript, head};
use crate::app::replay::Sink;

/// How often a batch is handed over again that it is not ready for. In a run that has no end, and pauses.
const MOST_RETRIES: u64 = 100;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) end: Option<End>,
    /// Batches that were handed over.
    pub(super) calls: u64,
    pub(super) klines: u64,
    /// How often a batch was handed over again.
    pub(super) retries: u64,
    /// How long each call of `consume` took.
    pub(super) times: Vec<Duration>,
    /// The most memory that was seen after a call, in bytes.
    pub(super) memory: u64,
    pub(super) transcript: Transcript,
}

/// How it ended before its time.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The call that it was in.
    pub(super) call: &'static str,
    /// Which one, of `consume`.
    pub(super) number: Option<u64>,
    /// What it was given.
    pub(super) klines: Vec<String>,
    pub(super) failure: Failure,
}

/// No more klines are wanted.
#[derive(Debug, Error)]
#[error("the consumer takes no more")]
struct Enough;

impl End {
    /// The word for it.
    pub(super) fn ending(&self) -> Ending {
        match &self.failure {
            Failure::Retry(_) => Ending::Retry,
            Failure::Fatal(_) => Ending::Fatal,
            Failure::Crashed { kind: CrashKind::Trap, .. } => Ending::Trap,
            Failure::Crashed { kind: CrashKind::Timeout, .. } => Ending::TimeOut,
            Failure::Crashed { kind: CrashKind::Memory, .. } => Ending::Memory,
        }
    }
}

/// Runs a case up to its end, or to the end of the call `until`.
///
/// # Errors
/// The input cannot be read.
pub(super) fn live(scene: &Scene, case: &Case, until: Option<u64>) -> anyhow::Result<Outcome> {
    let mut life = Life {
        scene,
        consumer: None,
        filter: Filter::default(),
        batch: case.input.batch,
        until,
        waiting: Vec::new(),
        first: None,
        outcome: Outcome::default(),
    };
    let allowed = Subscription {
        symbols: case.consumer.symbols.clone(),
        intervals: case.consumer.intervals.clone(),
        closed_only: case.consumer.closed_only,
    };
    if let Some(wish) = life.begin() {
        life.filter = Filter::new(&allowed).and(&wish);
        let closed_only = allowed.closed_only || wish.closed_only;
        match market::play(&case.input, closed_only, &mut life) {
            Err(error) if error.is::<Enough>() => {}
            other => other?,
        }
    }
    Ok(life.finish())
}

struct Life<'a> {
    scene: &'a Scene,
    /// None before the start and after a failure.
    consumer: Option<Box<dyn Consumer>>,
    filter: Filter,
    batch: usize,
    until: Option<u64>,
    waiting: Vec<Arc<Kline>>,
    /// When the first kline was told.
    first: Option<Millis>,
    outcome: Outcome,
}

impl Life<'_> {
    /// Makes an instance and starts it; returns what it wants. Nothing if it did not come up.
    fn begin(&mut self) -> Option<Subscription> {
        let mut consumer =
            self.step("instantiate", |life| life.scene.blueprint.clone().instantiate(&Arc::default()))?;
        let wish = self.step("setup", |_| consumer.setup())?;
        self.step("start", |_| consumer.start())?;
        self.consumer = Some(consumer);
        Some(wish)
    }

    fn step<T>(&mut self, call: &'static str, step: impl FnOnce(&Self) -> Result<T, Failure>) -> Option<T> {
        let result = step(self);
        self.look();
        let mut acts = self.scene.capture.take();
        acts.extend(result.as_ref().err().map(|failure| Act::Answer(told(failure))));
        self.outcome.transcript.beside(call, self.outcome.calls, &acts);
        result.map_err(|failure| self.end(call, None, Vec::new(), failure)).ok()
    }

    fn end(&mut self, call: &'static str, number: Option<u64>, klines: Vec<String>, failure: Failure) {
        self.consumer = None;
        self.outcome.end = Some(End { call, number, klines, failure });
    }

    fn look(&mut self) {
        self.outcome.memory = self.outcome.memory.max(self.scene.memory());
    }

    fn hand_over(&mut self) -> anyhow::Result<()> {
        let klines = std::mem::take(&mut self.waiting);
        let Some(last) = klines.last() else { return Ok(()) };
        let Some(mut consumer) = self.consumer.take() else { return Ok(()) };
        let first = *self.first.get_or_insert(last.emitted);
        self.scene.capture.pass(Duration::from_millis((last.emitted - first).max(0).unsigned_abs()));
        self.outcome.calls += 1;
        self.outcome.klines += klines.len() as u64;
        let (number, heads): (u64, Vec<String>) =
            (self.outcome.calls, klines.iter().map(|kline| head(kline)).collect());
        let delivery = Delivery { klines: klines.into(), ..Delivery::default() };
        let (mut acts, mut refusals) = (Vec::new(), 0);
        let taken = loop {
            let began = Instant::now();
            let result = consumer.consume(&delivery);
            self.outcome.times.push(began.elapsed());
            self.look();
            acts.extend(self.scene.capture.take());
            let Err(failure) = result else { break result };
            acts.push(Act::Answer(told(&failure)));
            refusals += 1;
            if !matches!(failure, Failure::Retry(_)) || refusals > MOST_RETRIES {
                break Err(failure);
            }
            self.outcome.retries += 1;
        };
        self.outcome.transcript.call(number, heads.clone(), &acts);
        let next = match taken {
            Ok(next) => next,
            // A run would ask again, or make a new instance; a test shows the first failure.
            Err(failure) => {
                if matches!(failure, Failure::Retry(_)) {
                    consumer.stop();
                }
                self.end("consume", Some(number), heads, failure);
                return Err(Enough.into());
            }
        };
        self.consumer = Some(consumer);
        if self.until == Some(number) {
            return Err(Enough.into());
        }
        if next == Next::Recycle {
            self.stop();
            if self.begin().is_none() {
                return Err(Enough.into());
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        let Some(mut consumer) = self.consumer.take() else { return };
        consumer.stop();
        self.look();
        let mut acts = self.scene.capture.take();
        let failed = self.scene.failure_of_stop();
        acts.extend(failed.as_ref().map(|end| Act::Answer(told(&end.failure))));
        self.outcome.transcript.beside("stop", self.outcome.calls, &acts);
        if self.outcome.end.is_none() {
            self.outcome.end = failed;
        }
    }

    fn finish(mut self) -> Outcome {
        if self.until.is_none() {
            self.stop();
            let ending = self.outcome.end.as_ref().map_or(Ending::Ok, End::ending);
            let Outcome { calls, klines, .. } = self.outcome;
            self.outcome.transcript.end(calls, &format!("{} after {calls} calls, {klines} klines", ending.as_str()));
        }
        self.scene.capture.close();
        self.outcome
    }
}

impl Sink for Life<'_> {
    fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        for kline in batch.klines {
            if self.filter.passes(&kline) {
                self.waiting.push(kline);
                if self.waiting.len() >= self.batch {
                    self.hand_over()?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.hand_over()
    }
}

/// A failure in one line, without the guest's backtrace, which changes with every build.
fn told(failure: &Failure) -> String {
    let text = match failure {
        Failure::Retry(reason) => format!("retry {reason}"),
        Failure::Fatal(reason) => format!("fatal {reason}"),
        Failure::Crashed { kind, message } => {
            let message = message.split("; in ").next().unwrap_or_default();
            format!("{kind} {message}")
        }
    };
    text.trim_end().to_owned()
}
