//! Inline deliveries in front of a queue at the hub: when there are any, and that they change no order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use klines_domain::symbol::Symbol;

use super::*;
use crate::call::Subscription;
use crate::fixture::{batch, everything, kline};
use crate::hub::Hub;
use crate::order::{Command, Order};
use crate::queue::{Grouping, Popped};

/// Notes the windows that it takes, and takes nothing while it is to refuse.
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

/// A consumer's thread that takes what waits in its queue, behind a hub that may deliver inline.
struct Stage {
    hub: Hub,
    queue: Arc<Queue>,
    stats: Arc<Stats>,
    thread: thread::JoinHandle<()>,
}

impl Stage {
    /// Hands each delivery of the queue to `own`.
    fn new(target: Arc<dyn DeliverInline>, own: impl Fn(&Delivery) + Send + 'static) -> Self {
        let (hub, queue, stats) = (Hub::new(), Arc::new(Queue::new(100_000, &everything())), Arc::default());
        let inline = Arc::new(InlineDelivery::default());
        inline.allow(Some(target));
        hub.add_with_inline(queue.clone(), Arc::clone(&stats), inline);
        let mine = queue.clone();
        let thread = thread::spawn(move || {
            while let Popped::Delivery(delivery) = mine.pop(Grouping::Boundary) {
                own(&delivery);
            }
        });
        Self { hub, queue, stats, thread }
    }

    /// Waits until the consumer's thread sleeps in its empty queue.
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
    let stage = Stage::new(recorder.clone(), move |delivery| out.send(windows(delivery)).unwrap());
    stage.wait_until_it_waits();
    stage.hub.publish(&closed([0, 1]));
    stage.hub.publish(&closed([2]));
    assert_eq!(*recorder.windows.lock().unwrap(), [0, 1, 2]);
    let counted = stage.stats.snapshot();
    assert_eq!((counted.calls, counted.delivered), (2, 3));
    // Too many, then refused: the consumer's own.
    let most = i64::try_from(MOST).unwrap();
    stage.hub.publish(&closed(3..=3 + most));
    assert_eq!(own.recv().unwrap(), (3..=3 + most).collect::<Vec<_>>());
    stage.wait_until_it_waits();
    recorder.refuses.store(true, Ordering::Relaxed);
    stage.hub.publish(&closed([8]));
    assert_eq!(own.recv().unwrap(), [8]);
    stage.end();
    assert_eq!(recorder.windows.lock().unwrap().len(), 3);
}

#[test]
fn nothing_is_delivered_inline_that_does_not_pass_or_while_there_is_an_order() {
    let (out, own) = mpsc::channel();
    let recorder = Arc::new(Recorder::default());
    let stage = Stage::new(recorder.clone(), move |delivery| out.send(windows(delivery)).unwrap());
    stage.wait_until_it_waits();
    let wish = Subscription { symbols: vec![Symbol::new("ETHUSDT").unwrap()], ..everything() };
    assert!(stage.queue.narrow(&wish));
    stage.hub.publish(&closed([0]));
    let Stage { hub, queue, thread, .. } = stage;
    assert!(queue.order(Command { order: Order::Pause, answer: mpsc::channel().0 }));
    // Its thread ends with the order, which is still there.
    thread.join().unwrap();
    hub.publish(&batch([kline("ETHUSDT", "1m", 1, true)]));
    assert_eq!(queue.depth().closed, 1);
    assert!(recorder.windows.lock().unwrap().is_empty());
    assert!(own.try_recv().is_err());
}

/// Sends on the windows that it takes: two of three deliveries.
struct Fickle(mpsc::Sender<i64>, AtomicU64);

impl DeliverInline for Fickle {
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
    let fickle = Arc::new(Fickle(out.clone(), AtomicU64::new(0)));
    let stage = Stage::new(fickle, move |delivery| {
        windows(delivery).into_iter().for_each(|window| out.send(window).unwrap());
    });
    let mut next = 0;
    for number in 0..5_000 {
        let count = number % 7;
        stage.hub.publish(&closed(next..next + count));
        next += count;
        if number % 5 == 0 {
            thread::yield_now();
        }
        if number % 50 == 0 {
            stage.wait_until_it_waits();
        }
    }
    let Stage { hub, queue, thread, .. } = stage;
    queue.close();
    thread.join().unwrap();
    // With the hub goes what delivers inline, and with that the last sender.
    drop(hub);
    assert_eq!(all.iter().collect::<Vec<_>>(), (0..next).collect::<Vec<_>>());
}
