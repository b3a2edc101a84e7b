//! Carries values from the threads of the consumers that publish to the queues of the consumers that take them.
//!
//! An untrusted thread has a lower priority than all others when cores are short. Therefore it neither waits nor holds
//! a lock that others need: it puts a call's values into a bounded channel, in which each consumer has its own slots,
//! and one thread of normal priority carries them to the queues. Values for which there is no slot are lost and
//! counted.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use tracing::error;

use super::{EmitCounters, Emitter, Outlet, Point};
use crate::queue::Queue;
use crate::tap::Taps;

/// Maximum number of one consumer's calls in the channel: at 64 klines a call, more than two boundaries of a whole
/// exchange.
const CALLS: usize = 1_024;
/// Maximum bytes of one consumer's values in the channel; a single call may exceed it.
const BYTES: usize = 16 << 20;

/// Creates the emitters of consumers that publish values; clones feed the same relay.
#[derive(Clone)]
pub struct Publishers {
    sender: SyncSender<Message>,
    takers: Takers,
}

/// Carries values from consumers that publish to consumers that take them.
pub struct Relay {
    sender: SyncSender<Message>,
    /// Taken by the thread.
    receiver: Option<Receiver<Message>>,
    thread: Option<JoinHandle<()>>,
    takers: Takers,
}

/// Who takes the values.
#[derive(Clone, Default)]
struct Takers {
    /// Whether no consumer does.
    are_taps: bool,
    taps: Taps,
}

enum Message {
    Values(Vec<Point>, Arc<Share>),
    /// The thread ends; later values are lost.
    End,
}

/// What the channel contains of one consumer.
#[derive(Debug, Default)]
struct Share {
    calls: AtomicUsize,
    bytes: AtomicUsize,
    counters: Arc<EmitCounters>,
}

/// The outlet of one consumer, which sends into the channel.
struct RelayOutlet {
    sender: SyncSender<Message>,
    share: Arc<Share>,
    takers: Takers,
}

// Only counts are shared through these; the channel orders the values.
const ORDER: Ordering = Ordering::Relaxed;

impl Publishers {
    /// Creates the emitter of a consumer. One consumer must not have two of them at the same time.
    #[must_use]
    pub fn emitter(&self, consumer: &str, most_names: usize) -> Emitter {
        let share = Arc::new(Share::default());
        let counters = share.counters.clone();
        let outlet = RelayOutlet { sender: self.sender.clone(), share, takers: self.takers.clone() };
        Emitter::with_counters(consumer, most_names, Some(Arc::new(outlet)), counters)
    }
}

impl Relay {
    /// Builds a relay for `publishers` consumers. Until [`Relay::start`] their values wait in the channel, within the
    /// bounds.
    #[must_use]
    pub fn new(publishers: usize) -> Self {
        // One slot more, for `End`.
        let (sender, receiver) = mpsc::sync_channel(publishers.max(1).saturating_mul(CALLS) + 1);
        Self { sender, receiver: Some(receiver), thread: None, takers: Takers::default() }
    }

    /// Returns the same for these taps, in addition to the queues, or without `has_queues` only for them: then values
    /// are dropped at once while there is no tap.
    #[must_use]
    pub fn with_taps(mut self, taps: Taps, has_queues: bool) -> Self {
        self.takers = Takers { are_taps: !has_queues, taps };
        self
    }

    /// Returns what creates the emitters of the consumers that publish.
    #[must_use]
    pub fn publishers(&self) -> Publishers {
        Publishers { sender: self.sender.clone(), takers: self.takers.clone() }
    }

    /// Creates the emitter of a consumer, as [`Publishers::emitter`] does.
    #[must_use]
    pub fn emitter(&self, consumer: &str, most_names: usize) -> Emitter {
        self.publishers().emitter(consumer, most_names)
    }

    /// Starts the thread that carries values to `queues`.
    ///
    /// # Errors
    /// The operating system cannot create the thread.
    pub fn start(&mut self, queues: Vec<Arc<Queue>>) -> io::Result<()> {
        let Some(receiver) = self.receiver.take() else { return Ok(()) };
        let taps = self.takers.taps.clone();
        let thread =
            thread::Builder::new().name("values".to_owned()).spawn(move || carry(&receiver, &queues, &taps))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Carries the values that were published until now, and ends the thread. Values that are published later are lost.
    pub fn end(mut self) {
        self.send_end();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that carries values panicked");
        }
    }

    fn send_end(&self) {
        // The channel has a slot for it; it fails only if the thread has already ended.
        let _ = self.sender.try_send(Message::End);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.send_end();
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Relay").field("is_started", &self.thread.is_some()).finish_non_exhaustive()
    }
}

fn carry(receiver: &Receiver<Message>, queues: &[Arc<Queue>], taps: &Taps) {
    while let Ok(Message::Values(points, share)) = receiver.recv() {
        let bytes = weight(&points);
        let points: Vec<Arc<Point>> = points.into_iter().map(Arc::new).collect();
        let lost: u64 = queues.iter().map(|queue| queue.push_values(&points)).sum();
        share.counters.lost.fetch_add(lost, ORDER);
        taps.values(&points);
        share.release(bytes);
    }
}

fn weight(points: &[Point]) -> usize {
    points.iter().map(Point::weight).sum()
}

impl Share {
    /// Reserves a slot for a call of `bytes` bytes. Returns whether there was one. Only one thread calls this.
    fn reserve(&self, bytes: usize) -> bool {
        let (calls, used) = (self.calls.load(ORDER), self.bytes.load(ORDER));
        if calls >= CALLS || (calls > 0 && used + bytes > BYTES) {
            return false;
        }
        self.calls.fetch_add(1, ORDER);
        self.bytes.fetch_add(bytes, ORDER);
        true
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, ORDER);
        self.calls.fetch_sub(1, ORDER);
    }
}

impl Outlet for RelayOutlet {
    fn publish(&self, points: Vec<Point>) -> usize {
        if self.takers.are_taps && !self.takers.taps.is_read() {
            return 0;
        }
        let (count, bytes) = (points.len(), weight(&points));
        if !self.share.reserve(bytes) {
            return count;
        }
        if self.sender.try_send(Message::Values(points, self.share.clone())).is_err() {
            self.share.release(bytes);
            return count;
        }
        0
    }
}

impl fmt::Debug for RelayOutlet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RelayOutlet").field("share", &self.share).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Delivery;
    use crate::emit::Value;
    use crate::fixture::{everything, kline};
    use crate::queue::{Grouping, Popped};
    use crate::tap::{Taken, Tap};
    use crate::topic::Selection;

    fn publish(emitter: &Emitter, window: i64, count: u32) {
        let name = emitter.series("x").unwrap();
        let kline = kline("BTCUSDT", "1m", window, true);
        let value = |at: u32| emitter.point(name.clone(), &kline, Value::Number(f64::from(at)));
        emitter.publish((0..count).map(value).collect());
    }

    fn lost(emitter: &Emitter) -> u64 {
        emitter.counters().lost.load(ORDER)
    }

    fn delivered(queue: &Queue) -> Delivery {
        match queue.pop(Grouping::Boundary) {
            Popped::Delivery(delivery) => delivery,
            other => panic!("{other:?} instead of a delivery"),
        }
    }

    #[test]
    fn values_reach_every_queue_before_the_end() {
        let mut relay = Relay::new(1);
        let emitter = relay.emitter("mine", 1);
        publish(&emitter, 1, 2);
        let queues = [0, 1].map(|_| Arc::new(Queue::new(10, &everything())));
        relay.start(queues.to_vec()).unwrap();
        publish(&emitter, 2, 3);
        relay.end();
        for queue in &queues {
            let delivery = delivered(queue);
            assert_eq!((delivery.klines.len(), delivery.lost), (0, 0));
            let numbers: Vec<u64> = delivery.values.iter().map(|point| point.sequence).collect();
            assert_eq!(numbers, [1, 2, 3, 4, 5]);
        }
        assert_eq!(lost(&emitter), 0);
        publish(&emitter, 3, 7);
        assert_eq!(lost(&emitter), 7, "the relay has ended");
    }

    #[test]
    fn a_flooding_consumer_uses_only_its_own_slots() {
        let relay = Relay::new(2);
        let (flood, quiet) = (relay.emitter("flood", 1), relay.emitter("quiet", 1));
        for window in 0..4_000 {
            publish(&flood, window, 2);
        }
        assert_eq!(lost(&flood), 2 * (4_000 - CALLS as u64));
        for window in 0..64 {
            publish(&quiet, window, 1);
        }
        assert_eq!(lost(&quiet), 0);
    }

    #[test]
    fn bytes_in_the_channel_are_bounded_except_for_a_single_call() {
        let relay = Relay::new(1);
        let emitter = relay.emitter("mine", 1);
        let many = u32::try_from(BYTES / size_of::<Point>()).unwrap();
        publish(&emitter, 1, many);
        assert_eq!(lost(&emitter), 0);
        publish(&emitter, 2, 1);
        assert_eq!(lost(&emitter), 1);
    }

    #[test]
    fn values_that_a_queue_drops_are_counted_for_their_publisher() {
        let mut relay = Relay::new(2);
        let (flood, quiet) = (relay.emitter("flood", 1), relay.emitter("quiet", 1));
        let queue = Arc::new(Queue::new(10, &everything()));
        publish(&quiet, 1, 1);
        publish(&flood, 1, 9_000);
        publish(&quiet, 2, 1);
        relay.start(vec![queue.clone()]).unwrap();
        relay.end();
        assert_eq!((lost(&flood), lost(&quiet)), (9_000 - 8_192, 0));
        let of_quiet = |delivery: &Delivery| delivery.values.iter().filter(|point| &*point.consumer == "quiet").count();
        assert_eq!(of_quiet(&delivered(&queue)), 2, "they are in the first delivery");
    }

    #[test]
    fn without_queues_values_are_carried_only_while_there_is_a_tap() {
        let taps = Taps::default();
        let mut relay = Relay::new(1).with_taps(taps.clone(), false);
        let emitter = relay.emitter("mine", 1);
        for window in 0..4_000 {
            publish(&emitter, window, 1);
        }
        assert_eq!(lost(&emitter), 0, "nobody takes them");
        let tap = taps.open(Selection::default());
        publish(&emitter, 4_000, 3);
        relay.start(Vec::new()).unwrap();
        relay.end();
        assert_eq!(taken(&tap).found.len(), 3);
        assert_eq!(lost(&emitter), 0);
    }

    fn taken(tap: &Tap) -> Taken {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(tap.next())
    }
}
