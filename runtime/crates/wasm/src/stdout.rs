//! The standard output and standard error of a guest: written to the log line by line, or to the real standard output
//! if that is granted.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::deadline::TimeTotal;
use super::host_observer::Stream;
use super::log::GuestLog;

/// The most bytes that a guest may pass in one write.
const MAX_BYTES: usize = 64 * 1024;

/// The bytes that one call may write to both standard streams together; more is dropped and counted.
#[derive(Clone, Debug)]
pub(super) struct OutputBudget {
    most: usize,
    used: Arc<AtomicUsize>,
}

impl OutputBudget {
    pub(super) fn new(most: usize) -> Self {
        Self { most, used: Arc::default() }
    }

    /// Begins a call; returns the bytes that the previous call wrote beyond its budget.
    pub(super) fn begin_call(&self) -> usize {
        self.used.swap(0, Ordering::Relaxed).saturating_sub(self.most)
    }

    /// Returns how many of `wanted` bytes may be written.
    fn take(&self, wanted: usize) -> usize {
        let used = self.used.fetch_add(wanted, Ordering::Relaxed);
        self.most.saturating_sub(used).min(wanted)
    }
}

/// A standard stream whose lines are written to the log.
#[derive(Clone)]
pub(super) struct LoggedStream {
    log: GuestLog,
    stream: Stream,
    budget: OutputBudget,
    /// An unfinished line, truncated to the maximum length of a line.
    partial: Arc<Mutex<Vec<u8>>>,
}

impl LoggedStream {
    pub(super) fn new(log: GuestLog, stream: Stream, budget: OutputBudget) -> Self {
        Self { log, stream, budget, partial: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let room = self.log.most_bytes().saturating_sub(partial.len());
            partial.extend(text.iter().take(room));
            if ended {
                let level = if self.stream == Stream::Stderr { Level::WARN } else { Level::INFO };
                self.log.take(self.stream, level, &String::from_utf8_lossy(&partial));
                partial.clear();
            }
        }
    }
}

impl IsTerminal for LoggedStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LoggedStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 calls this, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LoggedStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LoggedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let allowed = self.budget.take(bytes.len());
        self.take(bytes.get(..allowed).unwrap_or_default());
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_BYTES)
    }
}

/// The standard output of this process. A stuck terminal blocks the consumer that writes; that time does not count
/// towards the deadline of its call.
#[derive(Clone)]
pub(super) struct RawStdout {
    waited: TimeTotal,
    is_closed: Arc<AtomicBool>,
}

impl RawStdout {
    pub(super) fn new(waited: TimeTotal) -> Self {
        Self { waited, is_closed: Arc::default() }
    }

    /// Returns a flag that is set once a write has found that the reader has gone.
    pub(super) fn closed_flag(&self) -> Arc<AtomicBool> {
        self.is_closed.clone()
    }

    fn call(&self, call: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> StreamResult<()> {
        let since = Instant::now();
        let done = call(&mut io::stdout().lock());
        self.waited.add(since.elapsed());
        done.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => {
                self.is_closed.store(true, Ordering::Relaxed);
                StreamError::Closed
            }
            _ => StreamError::LastOperationFailed(error.into()),
        })
    }
}

impl IsTerminal for RawStdout {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&io::stdout())
    }
}

impl StdoutStream for RawStdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 calls this, and it is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for RawStdout {
    async fn ready(&mut self) {}
}

impl OutputStream for RawStdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.call(|out| out.write_all(&bytes))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.call(|out| out.flush())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_BYTES)
    }
}
