//! Reads the past on a thread of one consumer's own, which may wait for a disk. A read that the system blocks delays no other
//! consumer, and no executor.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use klines_delivery::cpu;
use klines_delivery::history::HistoryError;
use tokio::sync::oneshot;

/// The most reads that wait for the thread: those of instances whose call ended before. Further ones are refused.
const MAX_WAITING: usize = 4;

type Read = Box<dyn FnOnce() + Send>;

/// The thread; it is started by the first read, and ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct ReadThread(Mutex<Option<SyncSender<Read>>>);

impl ReadThread {
    /// Returns the result of `read` when the thread has run it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let (answer, answered) = oneshot::channel();
        // It is an error if nobody waits by now.
        self.send(Box::new(move || drop(answer.send(read()))))?;
        answered.await.unwrap_or_else(|_| Err(HistoryError("the read was ended".to_owned())))
    }

    fn send(&self, read: Read) -> Result<(), HistoryError> {
        let mut reads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.is_none() {
            let (sender, receiver) = mpsc::sync_channel(MAX_WAITING);
            let started = thread::Builder::new().name("guest-history".to_owned()).spawn(move || serve(&receiver));
            started.map_err(|error| HistoryError(format!("cannot start a thread: {error}")))?;
            *reads = Some(sender);
        }
        let sent = reads.as_ref().map(|reads| reads.try_send(read));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(HistoryError("earlier reads have not ended".to_owned())),
        }
    }
}

fn serve(reads: &Receiver<Read>) {
    cpu::rank_low();
    while let Ok(read) = reads.recv() {
        read();
    }
}
