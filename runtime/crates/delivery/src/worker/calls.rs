//! Calls into a consumer: repeats them while it answers `Retry`, and catches panics.

use klines_system::backoff::Backoff;
use tracing::{debug, info, warn};

use super::{Crash, End, Failure, Shared, StartUp, State};
use crate::call::guarded;

impl Shared {
    /// Calls `call`, and repeats it while it answers `Retry`. Returns early when the queue is cancelled, and between
    /// two calls when there is an order.
    pub(super) fn call_with_retries<T>(
        &mut self,
        name: &'static str,
        mut call: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, End> {
        let mut backoff = Backoff::default();
        let mut repeated = 0u64;
        loop {
            if self.queue.is_cancelled() {
                return Err(End::RunEnded);
            }
            let failure = match guarded(&mut call) {
                Ok(value) => {
                    if repeated > 0 {
                        info!(consumer = self.name, repeated, "consumer accepts calls again");
                        self.stats.set_state(State::Running);
                    }
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            self.report_start(Err(failure.clone()));
            match failure {
                Failure::OutputClosed => return Err(End::OutputClosed),
                Failure::Fatal(message) => return Err(End::Fatal(message)),
                Failure::Crashed { kind, message } => return Err(End::Crashed(Crash { call: name, kind, message })),
                Failure::Retry(error) => {
                    self.stats.retried();
                    self.stats.set_state(State::Retrying);
                    let pause = backoff.wait();
                    if repeated == 0 {
                        warn!(consumer = self.name, error, ?pause, "consumer asks to be called again");
                    } else {
                        debug!(consumer = self.name, error, ?pause, repeated, "consumer asks to be called again");
                    }
                    repeated += 1;
                    self.queue.pause(pause);
                    if self.queue.has_order() {
                        return Err(End::Ordered);
                    }
                }
            }
        }
    }

    /// Reports the result of the first start; later calls do nothing.
    pub(super) fn report_start(&mut self, result: Result<(), Failure>) {
        if let Some(report) = self.report.take() {
            // The receiver is gone if the run ends during start-up.
            let _ = report.send(StartUp { name: self.name.clone(), result });
        }
    }
}
