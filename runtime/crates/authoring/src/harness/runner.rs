//! Runs a consumer under test up to the first failure: sets it up, starts it, delivers every kline, stops it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use klines_delivery::filter::Filter;
use klines_delivery::{Blueprint as _, Consumer, CrashKind, Delivery, Failure, Next, Subscription};
use klines_domain::count::counted;
use klines_domain::kline::{Batch, Kline};
use klines_domain::time::Millis;
use klines_wasm::without_backtrace;

use super::capture::Step;
use super::fixture::Fixture;
use super::transcript::{Transcript, head};
use crate::case::{Case, Ending, Input};

/// Largest number of repetitions of a batch for which the consumer asks for a retry. A run repeats it without a limit,
/// and with pauses.
const MAX_RETRIES: u64 = 100;
/// Largest number of klines that are shown of the last call.
const SHOWN: usize = 5;

/// The outcome of running a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How it ended early. `None` if it ended after the last kline.
    pub end: Option<End>,
    /// The number of delivered batches.
    pub calls: u64,
    /// The number of delivered klines.
    pub klines: u64,
    /// The number of repeated deliveries.
    pub retries: u64,
    /// How long each call of `consume` took.
    pub times: Vec<Duration>,
    /// The largest memory that was measured after a call, in bytes.
    pub memory: u64,
    /// What the consumer did.
    pub transcript: Transcript,
}

/// How a case ended early.
#[derive(Clone, Debug)]
pub struct End {
    /// The name of the call that failed.
    pub call: &'static str,
    /// The number of the call, for calls of `consume`.
    pub number: Option<u64>,
    /// The klines of the call.
    pub klines: Vec<String>,
    /// The failure.
    pub failure: Failure,
}

impl End {
    /// Returns the kind of end that it is.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match &self.failure {
            Failure::Retry(_) => Ending::Retry,
            Failure::Fatal(_) | Failure::OutputClosed => Ending::Fatal,
            Failure::Crashed { kind: CrashKind::Trap, .. } => Ending::Trap,
            Failure::Crashed { kind: CrashKind::Timeout, .. } => Ending::TimeOut,
            Failure::Crashed { kind: CrashKind::Memory, .. } => Ending::Memory,
        }
    }

    /// Returns a description with the guest's backtrace and the klines of the call.
    #[must_use]
    pub fn describe(&self) -> String {
        let number = self.number.map(|number| format!(", call {number}")).unwrap_or_default();
        let mut text = format!("in `{}`{number}: {}", self.call, self.failure);
        for kline in self.klines.iter().take(SHOWN) {
            text.push_str(&format!("\n  {kline}"));
        }
        if let Some(more) = self.klines.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            text.push_str(&format!("\n  and {}", counted(more, "more kline")));
        }
        text
    }
}

/// Runs a case to its end, or to the end of the call `until`.
///
/// `play` passes the klines of the input to its callback, only closed ones if its second argument is `true`, until there
/// are no more or the callback returns [`ControlFlow::Break`].
///
/// # Errors
/// The errors of `play`.
pub fn run<E>(
    fixture: &Fixture,
    case: &Case,
    until: Option<u64>,
    play: impl FnOnce(&Input, bool, &mut dyn FnMut(Batch) -> ControlFlow<()>) -> Result<(), E>,
) -> Result<Outcome, E> {
    let mut runner = Runner {
        fixture,
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
    if let Some(wish) = runner.begin() {
        runner.filter = Filter::new(&allowed).and(&wish);
        let closed_only = allowed.closed_only || wish.closed_only;
        play(&case.input, closed_only, &mut |batch| runner.take(batch))?;
        // After a break there are no waiting klines.
        let _ = runner.deliver();
    }
    Ok(runner.finish())
}

/// Runs one case.
struct Runner<'a> {
    fixture: &'a Fixture,
    /// `None` before the start and after a failure.
    consumer: Option<Box<dyn Consumer>>,
    filter: Filter,
    batch: usize,
    until: Option<u64>,
    /// Klines of the next batch.
    waiting: Vec<Arc<Kline>>,
    /// When the last kline of the first batch was emitted.
    first: Option<Millis>,
    outcome: Outcome,
}

impl Runner<'_> {
    /// Creates an instance and starts it. Returns what it subscribes to, or `None` if it did not start.
    fn begin(&mut self) -> Option<Subscription> {
        let mut consumer =
            self.step("instantiate", |runner| runner.fixture.blueprint.clone().instantiate(&Arc::default()))?;
        let wish = self.step("setup", |_| consumer.setup())?;
        self.step("start", |_| consumer.start())?;
        self.consumer = Some(consumer);
        Some(wish)
    }

    fn step<T>(&mut self, call: &'static str, step: impl FnOnce(&Self) -> Result<T, Failure>) -> Option<T> {
        let result = step(self);
        self.measure_memory();
        let mut steps = self.fixture.capture.take();
        steps.extend(result.as_ref().err().map(|failure| Step::Answer(one_line(failure))));
        self.outcome.transcript.push_other(call, self.outcome.calls, &steps);
        result.map_err(|failure| self.end(call, None, Vec::new(), failure)).ok()
    }

    fn end(&mut self, call: &'static str, number: Option<u64>, klines: Vec<String>, failure: Failure) {
        self.consumer = None;
        self.outcome.end = Some(End { call, number, klines, failure });
    }

    fn measure_memory(&mut self) {
        self.outcome.memory = self.outcome.memory.max(self.fixture.memory());
    }

    fn take(&mut self, batch: Batch) -> ControlFlow<()> {
        for kline in batch.klines {
            if self.filter.passes(&kline) {
                self.waiting.push(kline);
                if self.waiting.len() >= self.batch {
                    self.deliver()?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn deliver(&mut self) -> ControlFlow<()> {
        let klines = std::mem::take(&mut self.waiting);
        let Some(last) = klines.last() else { return ControlFlow::Continue(()) };
        let Some(mut consumer) = self.consumer.take() else { return ControlFlow::Continue(()) };
        let first = *self.first.get_or_insert(last.emitted);
        self.fixture.capture.pass(Duration::from_millis((last.emitted - first).max(0).unsigned_abs()));
        self.fixture.past.add(&klines);
        self.outcome.calls += 1;
        self.outcome.klines += klines.len() as u64;
        let (number, heads): (u64, Vec<String>) =
            (self.outcome.calls, klines.iter().map(|kline| head(kline)).collect());
        let delivery = Delivery { klines: klines.into(), ..Delivery::default() };
        let (mut steps, mut refusals) = (Vec::new(), 0);
        let taken = loop {
            let began = Instant::now();
            let result = consumer.consume(&delivery);
            self.outcome.times.push(began.elapsed());
            self.measure_memory();
            steps.extend(self.fixture.capture.take());
            let Err(failure) = result else { break result };
            steps.push(Step::Answer(one_line(&failure)));
            refusals += 1;
            if !matches!(failure, Failure::Retry(_)) || refusals > MAX_RETRIES {
                break Err(failure);
            }
            self.outcome.retries += 1;
        };
        self.outcome.transcript.push_consume(number, heads.clone(), &steps);
        let next = match taken {
            Ok(next) => next,
            // A run would repeat the call or create a new instance; a test stops at the first failure.
            Err(failure) => {
                if matches!(failure, Failure::Retry(_)) {
                    consumer.stop();
                }
                self.end("consume", Some(number), heads, failure);
                return ControlFlow::Break(());
            }
        };
        self.consumer = Some(consumer);
        if self.until == Some(number) {
            return ControlFlow::Break(());
        }
        if next == Next::Recycle {
            self.stop();
            if self.begin().is_none() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn stop(&mut self) {
        let Some(mut consumer) = self.consumer.take() else { return };
        consumer.stop();
        self.measure_memory();
        let mut steps = self.fixture.capture.take();
        let failure = self.fixture.capture.read().bad_stop.clone();
        let failed = failure.map(|failure| End { call: "stop", number: None, klines: Vec::new(), failure });
        steps.extend(failed.as_ref().map(|end| Step::Answer(one_line(&end.failure))));
        self.outcome.transcript.push_other("stop", self.outcome.calls, &steps);
        if self.outcome.end.is_none() {
            self.outcome.end = failed;
        }
    }

    fn finish(mut self) -> Outcome {
        if self.until.is_none() {
            self.stop();
            let ending = self.outcome.end.as_ref().map_or(Ending::Ok, End::ending);
            let Outcome { calls, klines, .. } = self.outcome;
            self.outcome.transcript.push_end(
                calls,
                &format!("{} after {}, {}", ending.as_str(), counted(calls, "call"), counted(klines, "kline")),
            );
        }
        self.fixture.capture.close();
        self.outcome
    }
}

/// Returns a failure as one line, without the guest's backtrace.
fn one_line(failure: &Failure) -> String {
    let text = match failure {
        Failure::Retry(reason) => format!("retry {reason}"),
        Failure::Fatal(reason) => format!("fatal {reason}"),
        Failure::OutputClosed => format!("fatal {failure}"),
        Failure::Crashed { kind, message } => format!("{kind} {}", without_backtrace(message)),
    };
    text.trim_end().to_owned()
}
