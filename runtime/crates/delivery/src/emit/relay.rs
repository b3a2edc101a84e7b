//! The way of values from the threads of consumers that publish to the queues of consumers that take them.
//!
//! A stranger's thread comes after all others when cores are short. So it neither waits nor holds what others need: it
//! puts a call's values into a bounded channel, in which each consumer has places of its own, and one thread of
//! ordinary priority carries them on. What finds no place is lost and counted.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use tracing::error;

use super::{EmitCounters, Emitter, Outlet, Point};
use crate::queue::Queue;

/// Calls of one consumer that may be on their way: with 64 klines a call, more than two boundaries of a whole exchange.
const CALLS: usize = 1_024;
/// Bytes of one consumer that may be on their way, unless they are of a single call.
const BYTES: usize = 16 << 20;

/// Carries values from those that publish to those that take.
pub struct Relay {
    sender: SyncSender<Message>,
    /// Taken by the thread.
    receiver: Option<Receiver<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Values(Vec<Point>, Arc<Share>),
    /// Nothing more is carried after this.
    End,
}

/// What one consumer has on its way.
#[derive(Debug, Default)]
struct Share {
    calls: AtomicUsize,
    bytes: AtomicUsize,
    counters: Arc<EmitCounters>,
}

/// One consumer's end.
struct Way {
    sender: SyncSender<Message>,
    share: Arc<Share>,
}

// The counts alone are shared: what is sent is ordered by the channel.
const ORDER: Ordering = Ordering::Relaxed;

impl Relay {
    /// Prepares the way for so many consumers that publish. Until [`Relay::start`] their values wait, within the bounds.
    #[must_use]
    pub fn new(publishers: usize) -> Self {
        // One place more, for the end.
        let (sender, receiver) = mpsc::sync_channel(publishers.max(1).saturating_mul(CALLS) + 1);
        Self { sender, receiver: Some(receiver), thread: None }
    }

    /// The end of one consumer that publishes, to be asked for once each.
    #[must_use]
    pub fn emitter(&self, consumer: &str, most_names: usize) -> Emitter {
        let share = Arc::new(Share::default());
        let counters = share.counters.clone();
        let way = Way { sender: self.sender.clone(), share };
        Emitter::counting(consumer, most_names, Some(Arc::new(way)), counters)
    }

    /// Begins to carry values to these queues, in a thread of its own.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(&mut self, queues: Vec<Arc<Queue>>) -> io::Result<()> {
        let Some(receiver) = self.receiver.take() else { return Ok(()) };
        let thread = thread::Builder::new().name("values".to_owned()).spawn(move || carry(&receiver, &queues))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// Carries on what was published until now, and ends. What is published later is lost.
    pub fn end(mut self) {
        self.tell_end();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that carries values panicked");
        }
    }

    fn tell_end(&self) {
        // There is a place for it; the thread may have ended already.
        let _ = self.sender.try_send(Message::End);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tell_end();
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Relay").field("is_started", &self.thread.is_some()).finish_non_exhaustive()
    }
}

fn carry(receiver: &Receiver<Message>, queues: &[Arc<Queue>]) {
    while let Ok(Message::Values(points, share)) = receiver.recv() {
        let bytes = weight(&points);
        let points: Vec<Arc<Point>> = points.into_iter().map(Arc::new).collect();
        let lost: u64 = queues.iter().map(|queue| queue.push_values(&points)).sum();
        share.counters.lost.fetch_add(lost, ORDER);
        share.release(bytes);
    }
}

fn weight(points: &[Point]) -> usize {
    points.iter().map(Point::weight).sum()
}

impl Share {
    /// Whether there is a place for a call of so many bytes, which it then has. One thread alone asks.
    fn reserve(&self, bytes: usize) -> bool {
        let (calls, held) = (self.calls.load(ORDER), self.bytes.load(ORDER));
        if calls >= CALLS || (calls > 0 && held + bytes > BYTES) {
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

impl Outlet for Way {
    fn publish(&self, points: Vec<Point>) -> usize {
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

impl fmt::Debug for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Way").field("share", &self.share).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Delivery;
    use crate::emit::Value;
    use crate::fixture::{everything, kline};
    use crate::queue::{Grouping, Popped};

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
        assert_eq!(lost(&emitter), 7, "nobody carries it any more");
    }

    #[test]
    fn one_that_floods_uses_up_its_own_places_alone() {
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
    fn bytes_on_their_way_are_bounded_but_for_a_single_call() {
        let relay = Relay::new(1);
        let emitter = relay.emitter("mine", 1);
        let many = u32::try_from(BYTES / size_of::<Point>()).unwrap();
        publish(&emitter, 1, many);
        assert_eq!(lost(&emitter), 0);
        publish(&emitter, 2, 1);
        assert_eq!(lost(&emitter), 1);
    }

    #[test]
    fn what_a_queue_drops_counts_for_the_consumer_that_published_it() {
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
        assert_eq!(of_quiet(&delivered(&queue)), 2, "and they come with the first delivery");
    }
}
