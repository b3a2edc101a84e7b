//! One consumer's thread: makes its instance, starts it, hands it deliveries, and does what the policy says when a
//! call fails. Knows nothing of what kind of consumer it is.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tracing::{debug, error, info, warn};

use super::dead_letter::DeadLetters;
use super::policy::{Backoff, Restarts, TRIES, Verdict};
use super::queue::{Grouping, Popped, Queue};
use super::stats::{State, Stats};
use super::{Blueprint, Consumer, CrashKind, Delivery, Failure};

#[cfg(test)]
mod tests;

/// How a consumer's first start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartUp {
    /// Which consumer.
    pub name: String,
    /// Why it is not running yet, or never will be (`Fatal`).
    pub result: Result<(), Failure>,
}

/// Everything that one consumer's thread owns.
pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) blueprint: Box<dyn Blueprint>,
    pub(super) grouping: Grouping,
    pub(super) letters: DeadLetters,
    restarts: Restarts,
    /// The delivery that the last instance did not survive.
    pending: Option<Pending>,
    /// Closed klines set aside, with the losses that their deliveries told of: the next delivery tells of them.
    owed: u64,
    behind: bool,
}

/// What calls need while the consumer itself is borrowed.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
    pub(super) stats: Arc<Stats>,
    /// Taken by the first report.
    pub(super) report: Option<Sender<StartUp>>,
}

struct Pending {
    delivery: Delivery,
    tries: u32,
}

enum End {
    /// Closed and drained, or cancelled.
    Told,
    Fatal(String),
    Crashed(CrashKind, String),
}

impl Worker {
    pub(super) fn new(shared: Shared, blueprint: Box<dyn Blueprint>, grouping: Grouping, letters: DeadLetters) -> Self {
        let restarts = Restarts::default();
        Self { shared, blueprint, grouping, letters, restarts, pending: None, owed: 0, behind: false }
    }

    /// Runs until the queue is closed and drained, or cancelled, or the consumer fails for good.
    pub(super) fn run(mut self) {
        let state = loop {
            match self.live() {
                End::Told => break State::Stopped,
                End::Fatal(message) => {
                    error!(consumer = self.shared.name, error = message, "consumer failed and is stopped");
                    break State::Failed;
                }
                End::Crashed(kind, message) => match self.recover(kind, &message) {
                    Some(state) => break state,
                    None => self.shared.stats.restarted(),
                },
            }
        };
        let held = self.pending.take().map_or(0, |pending| closed(&pending.delivery));
        self.shared.stats.left(held + self.shared.queue.abandon());
        self.shared.stats.set_state(state);
    }

    /// One instance from its making to its end.
    fn live(&mut self) -> End {
        let blueprint = &mut self.blueprint;
        let mut instance = match self.shared.insist(|| blueprint.instantiate()) {
            Ok(instance) => instance,
            Err(end) => return end,
        };
        let end = match self.serve(instance.as_mut()) {
            Ok(()) => End::Told,
            Err(end) => end,
        };
        // A crash leaves nothing that could be stopped; a native consumer's panic may even spoil its drop.
        let farewell = guarded(|| {
            if !matches!(end, End::Crashed(..)) {
                instance.stop();
            }
            drop(instance);
            Ok(())
        });
        if let Err(failure) = farewell {
            warn!(consumer = self.shared.name, error = %failure, "consumer failed while it was stopped");
        }
        end
    }

    fn serve(&mut self, consumer: &mut dyn Consumer) -> Result<(), End> {
        let wish = self.shared.insist(|| consumer.setup())?;
        if !self.shared.queue.narrow(&wish) {
            warn!(consumer = self.shared.name, "consumer gets nothing: it asks for what is not configured");
        }
        self.shared.insist(|| consumer.start())?;
        self.restarts.started(Instant::now());
        self.shared.stats.set_state(State::Running);
        info!(consumer = self.shared.name, "consumer started");
        self.shared.tell(Ok(()));
        while let Some(mut pending) = self.next() {
            pending.tries += 1;
            match self.shared.insist(|| consumer.consume(&pending.delivery)) {
                Ok(()) => self.shared.stats.accepted(pending.delivery.klines.len()),
                Err(End::Crashed(kind, message)) if pending.tries >= TRIES => {
                    self.set_aside(&pending.delivery, &Failure::Crashed { kind, message: message.clone() });
                    return Err(End::Crashed(kind, message));
                }
                Err(end) => {
                    self.pending = Some(pending);
                    return Err(end);
                }
            }
        }
        Ok(())
    }

    /// Waits for the next delivery; nothing when the consumer shall end.
    fn next(&mut self) -> Option<Pending> {
        if let Some(pending) = self.pending.take() {
            return Some(pending);
        }
        let Popped::Delivery(mut delivery) = self.shared.queue.pop(self.grouping) else { return None };
        self.tell_losses(delivery.lost);
        delivery.lost += std::mem::take(&mut self.owed);
        Some(Pending { delivery, tries: 0 })
    }

    /// Logs when it begins to fall behind and when it has caught up, not each loss.
    fn tell_losses(&mut self, lost: u64) {
        let consumer = &self.shared.name;
        if lost > 0 && !self.behind {
            warn!(consumer, lost, "consumer is behind: its oldest closed klines are dropped");
        } else if lost == 0 && self.behind {
            info!(consumer, lost = self.shared.stats.snapshot().lost, "consumer has caught up");
        }
        self.behind = lost > 0;
    }

    fn set_aside(&mut self, delivery: &Delivery, failure: &Failure) {
        let (consumer, klines) = (&self.shared.name, delivery.klines.len());
        self.shared.stats.set_aside(klines);
        match self.letters.append(consumer, &failure.to_string(), delivery) {
            Ok(()) => {
                warn!(consumer, klines, file = %self.letters.path().display(), "delivery crashed twice and is set aside");
            }
            Err(error) => error!(consumer, klines, %error, "delivery crashed twice and could not be set aside"),
        }
        self.owed += delivery.lost + closed(delivery);
    }

    /// Waits as the policy says. Returns the state to end in, or nothing when a new instance shall be made.
    fn recover(&mut self, kind: CrashKind, message: &str) -> Option<State> {
        let consumer = &self.shared.name;
        self.shared.stats.crashed(kind);
        match self.restarts.crashed(Instant::now()) {
            Verdict::Quarantine => {
                error!(consumer, %kind, error = message, "consumer crashes too often and is quarantined");
                Some(State::Quarantined)
            }
            Verdict::Restart(pause) => {
                warn!(consumer, %kind, error = message, ?pause, "consumer crashed and gets a new instance");
                self.shared.stats.set_state(State::Backoff);
                self.shared.queue.pause(pause).then_some(State::Stopped)
            }
        }
    }
}

impl Shared {
    /// Repeats a call for as long as it answers `Retry`. Ends without a call when the queue is cancelled.
    fn insist<T>(&mut self, mut call: impl FnMut() -> Result<T, Failure>) -> Result<T, End> {
        let mut backoff = Backoff::default();
        let mut repeated = 0u64;
        loop {
            if self.queue.is_cancelled() {
                return Err(End::Told);
            }
            let failure = match guarded(&mut call) {
                Ok(value) => {
                    if repeated > 0 {
                        info!(consumer = self.name, repeated, "consumer goes on");
                        self.stats.set_state(State::Running);
                    }
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            self.tell(Err(failure.clone()));
            match failure {
                Failure::Fatal(message) => return Err(End::Fatal(message)),
                Failure::Crashed { kind, message } => return Err(End::Crashed(kind, message)),
                Failure::Retry(error) => {
                    self.stats.retried();
                    self.stats.set_state(State::Retrying);
                    let pause = backoff.next_pause();
                    if repeated == 0 {
                        warn!(consumer = self.name, error, ?pause, "consumer asks to be called again");
                    } else {
                        debug!(consumer = self.name, error, ?pause, repeated, "consumer asks to be called again");
                    }
                    repeated += 1;
                    self.queue.pause(pause);
                }
            }
        }
    }

    /// Reports how the first start went, once.
    fn tell(&mut self, result: Result<(), Failure>) {
        if let Some(report) = self.report.take() {
            // Nobody listens any more when the runtime ends during start-up.
            let _ = report.send(StartUp { name: self.name.clone(), result });
        }
    }
}

/// Number of closed klines.
fn closed(delivery: &Delivery) -> u64 {
    delivery.klines.iter().filter(|kline| kline.confirm).count() as u64
}

/// Makes a panic of a native consumer what a trap of a component is.
fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        Err(Failure::Crashed { kind: CrashKind::Trap, message: format!("panicked: {}", text_of(payload.as_ref())) })
    })
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
