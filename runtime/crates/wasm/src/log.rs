//! Writes the lines of a guest to the runtime's log: sanitized, truncated and limited in lines per second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use klines_domain::count::counted;
use klines_domain::sanitize::sanitize;
use tracing::Level;

use super::host_observer::{HostObserver, Stream};
use klines_system::limits::Limits;

const SECOND: Duration = Duration::from_secs(1);

/// The log of one consumer, shared by all its instances and their standard streams.
#[derive(Clone, Debug)]
pub(super) struct GuestLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    most_bytes: usize,
    rate: Mutex<Rate>,
    observer: Option<Arc<dyn HostObserver>>,
    /// The time of its creation; an observer with its own time adds to it.
    began: Instant,
}

impl GuestLog {
    pub(super) fn new(name: &str, limits: &Limits, observer: Option<Arc<dyn HostObserver>>) -> Self {
        let rate = Mutex::new(Rate::new(limits.log_lines));
        let (name, most_bytes, began) = (name.to_owned(), limits.log_line, Instant::now());
        Self { inner: Arc::new(Inner { name, most_bytes, rate, observer, began }) }
    }

    /// Returns the name of the consumer.
    pub(super) fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the length in bytes to which a line is truncated.
    pub(super) fn most_bytes(&self) -> usize {
        self.inner.most_bytes
    }

    /// Logs one line if the rate allows it.
    pub(super) fn line(&self, level: Level, text: &str) {
        self.take(Stream::Log, level, text);
    }

    /// Logs one line of a standard stream if the rate allows it.
    pub(super) fn take(&self, stream: Stream, level: Level, text: &str) {
        let verdict = self.inner.rate.lock().unwrap_or_else(PoisonError::into_inner).ask(self.now());
        self.report_suppressed(verdict.suppressed);
        if verdict.admitted {
            let text = sanitize(text, self.inner.most_bytes);
            if let Some(observer) = &self.inner.observer {
                observer.logged(stream, level, &text);
            }
            self.emit(level, &text);
        } else if let Some(observer) = &self.inner.observer {
            observer.suppressed();
        }
    }

    /// Returns the time by which the lines per second are counted.
    fn now(&self) -> Instant {
        let inner = &self.inner;
        inner.observer.as_ref().map_or_else(Instant::now, |observer| inner.began + observer.passed())
    }

    /// Reports the lines that were suppressed in a second that is over, in case the guest has been silent since.
    pub(super) fn settle(&self) {
        let suppressed = self.inner.rate.lock().unwrap_or_else(PoisonError::into_inner).settle(self.now());
        self.report_suppressed(suppressed);
    }

    /// Reports how many bytes of the output were dropped.
    pub(super) fn report_dropped(&self, bytes: usize) {
        if bytes > 0 {
            if let Some(observer) = &self.inner.observer {
                observer.dropped(bytes);
            }
            tracing::warn!(consumer = self.inner.name, "dropped {} of the consumer's output", counted(bytes, "byte"));
        }
    }

    fn report_suppressed(&self, lines: u64) {
        if lines > 0 {
            tracing::warn!(consumer = self.inner.name, "suppressed {} of the consumer", counted(lines, "line"));
        }
    }

    fn emit(&self, level: Level, text: &str) {
        let name = self.inner.name.as_str();
        match level {
            Level::TRACE => tracing::trace!(target: "consumer", name, "{text}"),
            Level::DEBUG => tracing::debug!(target: "consumer", name, "{text}"),
            Level::INFO => tracing::info!(target: "consumer", name, "{text}"),
            Level::WARN => tracing::warn!(target: "consumer", name, "{text}"),
            Level::ERROR => tracing::error!(target: "consumer", name, "{text}"),
        }
    }
}

/// Counts the lines of the current second. Time is an argument.
#[derive(Debug)]
struct Rate {
    most: u32,
    since: Option<Instant>,
    used: u32,
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    admitted: bool,
    /// The suppressed lines of earlier seconds that have not been reported yet.
    suppressed: u64,
}

impl Rate {
    fn new(most: u32) -> Self {
        Self { most, since: None, used: 0, suppressed: 0 }
    }

    fn ask(&mut self, now: Instant) -> Verdict {
        let suppressed = self.settle(now);
        let admitted = self.used < self.most;
        if admitted {
            self.since.get_or_insert(now);
            self.used += 1;
        } else {
            self.suppressed += 1;
        }
        Verdict { admitted, suppressed }
    }

    /// Begins a new second if the current one is over; returns the number of lines that were suppressed in it.
    fn settle(&mut self, now: Instant) -> u64 {
        if self.since.is_none_or(|since| now.duration_since(since) < SECOND) {
            return 0;
        }
        self.since = None;
        self.used = 0;
        std::mem::take(&mut self.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_reported_once() {
        let (mut rate, start) = (Rate::new(2), Instant::now());
        let admitted = (0..1_000).filter(|_| rate.ask(start).admitted).count();
        assert_eq!(admitted, 2);
        assert_eq!(rate.settle(start + SECOND / 2), 0);
        assert_eq!(rate.ask(start + SECOND), Verdict { admitted: true, suppressed: 998 });
        assert_eq!(rate.ask(start + SECOND), Verdict { admitted: true, suppressed: 0 });
    }

    #[test]
    fn silence_after_a_flood_still_reports_it() {
        let (mut rate, start) = (Rate::new(1), Instant::now());
        rate.ask(start);
        rate.ask(start);
        assert_eq!(rate.settle(start + SECOND), 1);
        assert_eq!(rate.settle(start + SECOND), 0);
    }
}
