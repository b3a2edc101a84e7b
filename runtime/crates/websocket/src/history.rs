//! Reads stored klines for requests: on a few threads of its own, which may wait for a disk. A read that fails or takes
//! too long is logged; what its request gets instead is decided by the caller.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::history::{History, HistoryError, Query};
use klines_domain::kline::Kline;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

/// The number of reads at a time; more wait for their turn.
const READERS: usize = 4;
/// The maximum number of reads that wait; more are refused.
const MAX_WAITING: usize = 256;
/// The maximum time of a read, with the wait for its turn: less than a connection has for its HTTP requests.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The minimum time between two warnings about reads that failed.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Reads stored klines.
pub struct HistoryReader {
    history: Arc<dyn History>,
    reads: SyncSender<Read>,
    read_timeout: Duration,
    failures: Mutex<Failures>,
}

/// A read that waits for a thread.
struct Read {
    query: Query,
    answer: oneshot::Sender<Result<Vec<Arc<Kline>>, HistoryError>>,
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
        let (reads, waiting) = mpsc::sync_channel(MAX_WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..READERS {
            let (history, waiting) = (history.clone(), waiting.clone());
            let started =
                thread::Builder::new().name("history".to_owned()).spawn(move || serve(history.as_ref(), &waiting));
            if let Err(error) = started {
                warn!(%error, "cannot start a thread that reads stored klines");
            }
        }
        Self { history, reads, read_timeout: READ_TIMEOUT, failures: Mutex::default() }
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
        let (answer, found) = oneshot::channel();
        let refused = |_| HistoryError(format!("{MAX_WAITING} reads wait"));
        self.reads.try_send(Read { query, answer }).map_err(refused)?;
        found.await.unwrap_or_else(|_| Err(HistoryError("the read was ended".to_owned())))
    }

    fn report(&self, error: &HistoryError) {
        let due = self.failures.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if let Some(failures) = due {
            warn!(%error, failures, "cannot read stored klines, answering requests from memory");
        }
    }
}

/// Reads until there is no [`HistoryReader`] any more.
fn serve(history: &dyn History, waiting: &Mutex<Receiver<Read>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Read { query, answer }) = next else { return };
        // Nobody waits for it any more.
        if answer.is_closed() {
            continue;
        }
        let ended = |_| Err(HistoryError("the read panicked".to_owned()));
        // It is an error if nobody waits by now.
        let _ = answer.send(panic::catch_unwind(AssertUnwindSafe(|| history.klines(&query))).unwrap_or_else(ended));
    }
}

impl fmt::Debug for HistoryReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HistoryReader").field("history", &self.history).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
