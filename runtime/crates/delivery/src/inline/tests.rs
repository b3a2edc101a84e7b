//! Tests of inline deliveries: when they happen, and that they keep the order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use klines_domain::symbol::Symbol;

use super::*;
use crate::call::Subscription;
use crate::fixture::{batch, everything, kline};
use crate::hub::{Hub, Outlet, Rank};
use crate::order::{Command, Order};
use crate::queue::{Grouping, Popped};

/// Records the windows that it takes; takes nothing while `refuses` is set.
#[derive(Default)]
struct Recorder {
    windows: Mutex<Vec<i64>>,
    refuses: AtomicBool,
}

impl DeliverInline for Recorder {
    fn deliver(&self, delivery: &Delivery) -> bool {
        if self.refuses.load(Ordering::Relaxed) {
            return false;
        }
        self.windows.lock().unwrap().extend(windows(delivery));
        true
    }
}

fn windows(delivery: &Delivery) -> Vec<i64> {
    delivery.klines.iter().map(|kline| kline.start / 60_000).collect()
}

fn closed(windows: impl IntoIterator<Item = i64>) -> Batch {
    batch(windows.into_iter().map(|window| kline("BTCUSDT", "1m", window, true)))
}

/// A consumer's thread that takes deliveries of its queue, and a hub that may deliver inline.
struct Fixture {
    hub: Hub,
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    thread: thread::JoinHandle<()>,
}

impl Fixture {
    /// Calls `own` with each delivery of the queue.
    fn new(target: Arc<dyn DeliverInline>, own: impl Fn(&Delivery) + Send + 'static) -> Self {
        let (hub, queue, stats) = (Hub::new(), Arc::new(Queue::new(100_000, &everything())), Arc::default());
        let inline = Arc::new(InlineDelivery::default());
        inline.allow(Some(target));
        let outlet = Outlet { queue: queue.clone(), stats: Arc::clone(&stats), inline, rank: Rank::Trusted };
        hub.exchange(None, Some(outlet));
        let mine = queue.clone();
        let thread = thread::spawn(move || {
            while let Popped::Delivery(delivery) = mine.pop(Grouping::Boundary) {
                own(&delivery);
            }
        });
        Self { hub, queue, stats, thread }
    }

    /// Waits until the consumer's thread waits in its empty queue.
    fn wait_until_it_waits(&self) {
        while self.queue.idle().is_none() {
            thread::yield_now();
        }
    }

    fn end(self) {
        self.queue.close();
        self.thread.join().unwrap();
    }
}

#[test]
fn a_few_klines_are_delivered_inline_to_a_consumer_that_waits() {
    let (out, own) = mpsc::channel();
    let recorder = Arc::new(Recorder::default());
    let fixture = Fixture::new(recorder.clone(), move |delivery| out.send(windows(delivery)).unwrap());
    fixture.wait_until_it_waits();
    fixture.hub.publish(&closed([0, 1]));
    fixture.hub.publish(&closed([2]));
    assert_eq!(*recorder.windows.lock().unwrap(), [0, 1, 2]);
    let counted = fixture.stats.snapshot();
    assert_eq!((counted.calls, counted.delivered), (2, 3));
    // Too many klines, then refused ones, go to the consumer's own thread.
    let max = i64::try_from(MAX_KLINES).unwrap();
    fixture.hub.publish(&closed(3..=3 + max));
    assert_eq!(own.recv().unwrap(), (3..=3 + max).collect::<Vec<_>>());
    fixture.wait_until_it_waits();
    recorder.refuses.store(true, Ordering::Relaxed);
    fixture.hub.publish(&closed([8]));
    assert_eq!(own.recv().unwrap(), [8]);
    fixture.end();
    assert_eq!(recorder.windows.lock().unwrap().len(), 3);
}

#[test]
fn klines_that_do_not_pass_and_all_during_an_order_are_not_delivered_inline() {
    let (out, own) = mpsc::channel();
    let recorder = Arc::new(Recorder::default());
    let fixture = Fixture::new(recorder.clone(), move |delivery| out.send(windows(delivery)).unwrap());
    fixture.wait_until_it_waits();
    let wish = Subscription { symbols: vec![Symbol::new("ETHUSDT").unwrap()], ..everything() };
    assert!(fixture.queue.narrow(&wish));
    fixture.hub.publish(&closed([0]));
    let Fixture { hub, queue, thread, .. } = fixture;
    assert!(queue.order(Command { order: Order::Pause, answer: mpsc::channel().0 }));
    // Its thread ends because of the order, which stays in the queue.
    thread.join().unwrap();
    hub.publish(&batch([kline("ETHUSDT", "1m", 1, true)]));
    assert_eq!(queue.depth().closed, 1);
    assert!(recorder.windows.lock().unwrap().is_empty());
    assert!(own.try_recv().is_err());
}

/// Takes two of three deliveries, and sends their windows.
struct TwoOfThree(mpsc::Sender<i64>, AtomicU64);

impl DeliverInline for TwoOfThree {
    fn deliver(&self, delivery: &Delivery) -> bool {
        if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return false;
        }
        windows(delivery).into_iter().for_each(|window| self.0.send(window).unwrap());
        true
    }
}

#[test]
fn inline_or_not_nothing_is_overtaken_lost_or_doubled() {
    let (out, all) = mpsc::channel();
    let target = Arc::new(TwoOfThree(out.clone(), AtomicU64::new(0)));
    let fixture = Fixture::new(target, move |delivery| {
        windows(delivery).into_iter().for_each(|window| out.send(window).unwrap());
    });
    let mut next = 0;
    for number in 0..5_000 {
        let count = number % 7;
        fixture.hub.publish(&closed(next..next + count));
        next += count;
        if number % 5 == 0 {
            thread::yield_now();
        }
        if number % 50 == 0 {
            fixture.wait_until_it_waits();
        }
    }
    let Fixture { hub, queue, thread, .. } = fixture;
    queue.close();
    thread.join().unwrap();
    // Dropping the hub drops the inline delivery, and with it the last sender.
    drop(hub);
    assert_eq!(all.iter().collect::<Vec<_>>(), (0..next).collect::<Vec<_>>());
}
