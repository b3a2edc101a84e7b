//! Reads stored klines for requests: few reads at a time, on threads that may wait for a disk. A read that fails or
//! takes too long is logged; what its request gets instead is decided by the caller.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use klines_delivery::history::{History, HistoryError, Query};
use klines_domain::kline::Kline;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

/// The maximum number of reads at a time; more wait for their turn.
const MAX_READS: usize = 8;
/// The maximum time of a read, with the wait for its turn: less than a connection has for its HTTP requests.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The minimum time between two warnings about reads that failed.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Reads stored klines.
pub struct HistoryReader {
    history: Arc<dyn History>,
    permits: Arc<Semaphore>,
    read_timeout: Duration,
    failures: Mutex<Failures>,
}

/// The reads that failed.
#[derive(Debug, Default)]
struct Failures {
    /// Their number since the last warning.
    unreported: u64,
    last_warning: Option<Instant>,
}

impl Failures {
    /// Counts a failure. Returns the number of failures to report, `None` until a warning is due again.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.unreported += 1;
        if self.last_warning.is_some_and(|last| now.saturating_duration_since(last) < WARNING_INTERVAL) {
            return None;
        }
        self.last_warning = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

impl HistoryReader {
    /// Creates a reader of `history`.
    #[must_use]
    pub fn new(history: Arc<dyn History>) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_READS));
        Self { history, permits, read_timeout: READ_TIMEOUT, failures: Mutex::default() }
    }

    /// Returns the stored klines of a query; `None` if they cannot be read now, which is logged at most once a minute.
    pub async fn read(&self, query: Query) -> Option<Vec<Arc<Kline>>> {
        let late = |_| Err(HistoryError(format!("no answer within {:?}", self.read_timeout)));
        match timeout(self.read_timeout, self.try_read(query)).await.unwrap_or_else(late) {
            Ok(klines) => Some(klines),
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    async fn try_read(&self, query: Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|error| HistoryError(error.to_string()))?;
        let history = self.history.clone();
        // The read keeps its permit until it ends, also if nobody waits for it any more.
        let read = spawn_blocking(move || {
            let klines = history.klines(&query);
            drop(permit);
            klines
        });
        read.await.unwrap_or_else(|error| Err(HistoryError(format!("the read was ended: {error}"))))
    }

    fn report(&self, error: &HistoryError) {
        let due = self.failures.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if let Some(failures) = due {
            warn!(%error, failures, "cannot read stored klines, answering requests from memory");
        }
    }
}

impl fmt::Debug for HistoryReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HistoryReader").field("history", &self.history).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
