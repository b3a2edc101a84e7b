//! Limits the time of one instance's calls. Each call has a deadline. Untrusted code holds a permit of the
//! [`CpuGovernor`] while it runs, and releases it during a host call that waits.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use thiserror::Error;
use wasmtime_wasi::runtime::in_tokio;

use super::cpu_watch::CpuWatch;
use super::deadline::{Deadline, TimeTotal};
use crate::cpu_governor::Permit;

/// A host call waited until the call's time was over.
#[derive(Debug, Error)]
#[error("waited in a host call until its time was over")]
pub(super) struct Overdue;

/// Measures and bounds the calls of one instance.
#[derive(Debug)]
pub(super) struct CallTime {
    deadline: Deadline,
    /// `None` for trusted code, which needs no permit.
    permit: Option<Permit>,
    watch: CpuWatch,
}

impl CallTime {
    /// Creates the time account of one instance; a trusted instance has no `permit`.
    pub(super) fn new(standstill: TimeTotal, terminal: TimeTotal, permit: Option<Permit>) -> Self {
        let watch = CpuWatch::new(permit.is_some());
        Self { deadline: Deadline::new(standstill, terminal), permit, watch }
    }

    /// Begins a call, after waiting for a permit. Returns the time after which the call is to be checked.
    pub(super) fn begin(&mut self, limit: Duration) -> Duration {
        self.acquire();
        self.deadline.begin(limit);
        if self.watch.is_on() { Duration::ZERO } else { limit }
    }

    /// Checks the call at a tick of the clock, after waiting for a permit if it was passed on. Returns the time after
    /// which the call is to be checked again, or `None` if its time is over.
    pub(super) fn look(&mut self, consumer: &str) -> Option<Duration> {
        let away = self.permit.as_mut().map(Permit::renew).unwrap_or_default();
        self.deadline.excuse(away);
        let left = self.deadline.left();
        if left.is_zero() {
            return None;
        }
        if !self.watch.is_on() {
            return Some(left);
        }
        self.watch.look(consumer, &self.deadline);
        // It yields at every tick.
        Some(Duration::ZERO)
    }

    /// Ends a call.
    pub(super) fn end(&mut self, consumer: &str) {
        self.watch.end(consumer, &self.deadline);
        self.release();
    }

    /// Returns whether the call's time is over.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_over()
    }

    /// Returns a message that says which limit of time the call exceeded.
    pub(super) fn timeout_message(&self) -> String {
        self.deadline.timeout_message()
    }

    /// Waits for `future` within the call's time; releases the permit meanwhile.
    pub(super) fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Overdue> {
        self.wait_for(future, true)
    }

    /// Waits, within the call's time, for work that the host does for the guest on another thread. Keeps the permit: a
    /// permit represents a core, and the other thread uses one.
    pub(super) fn wait_for_work<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Overdue> {
        self.wait_for(work, false)
    }

    fn wait_for<T>(&mut self, future: impl Future<Output = T>, is_idle: bool) -> Result<T, Overdue> {
        let mut future = pin!(future);
        if let Poll::Ready(done) = in_tokio(poll_once(future.as_mut())) {
            return Ok(done);
        }
        let wait = self.deadline.wait();
        if is_idle {
            self.release();
        }
        let done = in_tokio(async {
            loop {
                let left = self.deadline.left_of(&wait);
                match tokio::time::timeout(left, future.as_mut()).await {
                    Ok(done) => return Ok(done),
                    Err(_) if left.is_zero() => return Err(Overdue),
                    // The process may have stood still meanwhile.
                    Err(_) => {}
                }
            }
        });
        self.deadline.waited(&wait);
        if is_idle {
            let away = self.acquire();
            self.deadline.excuse(away);
        }
        done
    }

    fn acquire(&mut self) -> Duration {
        self.permit.as_mut().map(Permit::acquire).unwrap_or_default()
    }

    fn release(&self) {
        self.permit.iter().for_each(Permit::release);
    }
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cpu_governor::CpuGovernor;

    /// Simulates an operation on a mount whose server is gone.
    #[test]
    fn an_endless_wait_ends_at_the_deadline_of_the_call() {
        let permit = Permit::new(Arc::new(CpuGovernor::new()), Arc::default());
        let mut time = CallTime::new(TimeTotal::default(), TimeTotal::default(), Some(permit));
        time.begin(Duration::from_millis(20));
        assert!(time.wait(std::future::pending::<()>()).is_err());
        assert!(time.is_over());
        time.end("mine");
        time.begin(Duration::from_secs(3_600));
        assert_eq!(time.wait(async { 7 }).ok(), Some(7));
        let pause = async { tokio::time::sleep(Duration::from_millis(1)).await };
        assert_eq!(time.wait(pause).ok(), Some(()));
        assert!(!time.is_over());
        time.end("mine");
    }
}
