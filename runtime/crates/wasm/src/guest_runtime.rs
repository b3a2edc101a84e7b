//! The executor of one untrusted consumer: runs the work of its host calls outside of its own thread (files, HTTP,
//! timers), at a lower rank than klines' own threads. An operation that the system blocks here delays no other
//! consumer.

use std::io;
use std::sync::{Mutex, PoisonError};

use klines_delivery::cpu;
use tokio::runtime::{Builder, Handle, Runtime};

/// Number of threads for operations that the system may block: file operations and DNS lookups.
const BLOCKING: usize = 4;

/// Started when the first instance needs it, and kept for later instances: a thread that is stuck in the system stays.
#[derive(Debug, Default)]
pub(super) struct GuestRuntime {
    runtime: Mutex<Option<Runtime>>,
}

impl GuestRuntime {
    /// Returns a handle to the executor, and starts it if it is not running yet.
    pub(super) fn handle(&self) -> io::Result<Handle> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(BLOCKING).enable_io().enable_time();
        let started = builder.thread_name("guest-io").on_thread_start(cpu::rank_low).build()?;
        Ok(runtime.insert(started).handle().clone())
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Does not wait for threads that are stuck in the system.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stuck_operation_delays_only_its_own_consumer() {
        let (stuck, other) = (GuestRuntime::default(), GuestRuntime::default());
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Arc::new(Mutex::new(ended));
        for _ in 0..BLOCKING {
            let ended = ended.clone();
            stuck.handle().unwrap().spawn_blocking(move || {
                let _ = ended.lock().unwrap().recv();
            });
        }
        let late = stuck.handle().unwrap().spawn_blocking(|| ());
        let done = other.handle().unwrap().block_on(other.handle().unwrap().spawn_blocking(|| 7));
        assert_eq!(done.unwrap(), 7);
        let waited =
            stuck.handle().unwrap().block_on(async { tokio::time::timeout(Duration::from_millis(50), late).await });
        assert!(waited.is_err(), "its own operations wait");
        // Neither drop waits for the stuck operations.
        drop(stuck);
        drop(end);
    }
}
