//! Tests of the queue: against a simple model, and what a model cannot show: waiting and ending.

mod bounds;
mod states;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use klines_domain::symbol::Symbol;
use proptest::prelude::*;

use super::buffer::{VALUES, VALUES_A_DELIVERY};
use super::*;
use crate::call::Delivery;
use crate::fixture::{batch, everything, kline};

fn delivered(queue: &Queue, grouping: Grouping) -> Delivery {
    match queue.pop(grouping) {
        Popped::Delivery(delivery) => delivery,
        other => panic!("{other:?} instead of a delivery"),
    }
}

fn windows(delivery: &Delivery) -> Vec<(i64, bool)> {
    delivery.klines.iter().map(|kline| (kline.start / 60_000, kline.confirm)).collect()
}

#[test]
fn closed_klines_come_before_updates() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("ETHUSDT", "1m", 5, false), kline("BTCUSDT", "1m", 4, true)]));
    queue.push(2, &batch([kline("BTCUSDT", "1m", 5, false)]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, true), (5, false), (5, false)]);
}

#[test]
fn a_confirm_replaces_the_update_of_its_window() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, false)]));
    queue.push(2, &batch([kline("BTCUSDT", "1m", 4, true)]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, true)]);
}

#[test]
fn a_revision_leaves_the_update_of_a_later_window() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 5, false)]));
    queue.push(2, &batch([kline("BTCUSDT", "1m", 4, true)]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, true), (5, false)]);
}

#[test]
fn an_update_of_a_window_in_its_grace_is_not_replaced_by_the_next_window() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 3, false)]));
    queue.push(2, &batch([kline("BTCUSDT", "1m", 4, false)]));
    queue.push(3, &batch([kline("BTCUSDT", "1m", 4, false), kline("BTCUSDT", "1m", 5, false)]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, false), (5, false)], "two windows at most");
}

#[test]
fn an_update_carries_the_number_that_the_next_confirmed_kline_will_have() {
    let queue = Queue::new(10, &everything());
    let numbered = |window, confirm, sequence| Kline { sequence, ..kline("BTCUSDT", "1m", window, confirm) };
    queue.push(1, &batch([numbered(5, false, 7)]));
    queue.push(2, &batch([numbered(4, true, 7)]));
    queue.push(3, &batch([Kline { revision: 1, ..numbered(3, true, 8) }]));
    let numbers: Vec<_> = delivered(&queue, Grouping::UpTo(64)).klines.iter().map(|kline| kline.sequence).collect();
    assert_eq!(numbers, [7, 8, 9]);
}

#[test]
fn an_update_is_numbered_after_the_confirmed_kline_that_took_its_number() {
    let queue = Queue::new(10, &everything());
    let numbered = |window, confirm, sequence| Kline { sequence, ..kline("BTCUSDT", "1m", window, confirm) };
    queue.push(1, &batch([numbered(5, false, 7)]));
    queue.push(2, &batch([numbered(4, true, 7)]));
    let numbers: Vec<_> = delivered(&queue, Grouping::UpTo(64)).klines.iter().map(|kline| kline.sequence).collect();
    assert_eq!(numbers, [7, 8]);
}

#[test]
fn a_delivery_of_up_to_zero_klines_has_one() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &closed([1, 2]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(0))), [(1, true)]);
}

#[test]
fn a_removed_update_does_not_block_its_window() {
    let update = |window| batch([kline("BTCUSDT", "1m", window, false)]);
    let queue = Queue::new(10, &everything());
    let forget: [&dyn Fn(); 2] = [
        &|| {
            let other = Subscription { symbols: vec![Symbol::new("ETHUSDT").unwrap()], ..Subscription::default() };
            assert!(queue.narrow(&other) && queue.narrow(&everything()));
        },
        &|| {
            queue.suspend();
            queue.reopen();
        },
    ];
    for forget in forget {
        queue.push(1, &update(3));
        forget();
        assert_eq!(queue.depth().updates, 0);
        // Two windows of a series may wait.
        queue.push(2, &update(4));
        queue.push(3, &update(5));
        assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, false), (5, false)]);
    }
}

#[test]
fn a_full_queue_drops_the_oldest_and_reports_it_once() {
    let queue = Queue::new(2, &everything());
    let dropped: u64 = (0..5).map(|window| queue.push(1, &closed([window]))).sum();
    assert_eq!(dropped, 3);
    let first = delivered(&queue, Grouping::UpTo(1));
    assert_eq!((windows(&first), first.lost), (vec![(3, true)], 3));
    assert_eq!(delivered(&queue, Grouping::UpTo(1)).lost, 0);
}

#[test]
fn a_boundary_delivery_is_one_batch_of_the_hub() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true), kline("BTCUSDT", "5m", 0, true)]));
    queue.push(2, &batch([kline("BTCUSDT", "1m", 5, true)]));
    queue.push(3, &batch([kline("BTCUSDT", "1m", 6, false)]));
    let sizes = [(); 3].map(|()| delivered(&queue, Grouping::Boundary).klines.len());
    assert_eq!(sizes, [2, 1, 1]);
}

#[test]
fn a_subscription_applies_to_waiting_klines() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true), kline("ETHUSDT", "1m", 4, true)]));
    queue.push(1, &batch([kline("BTCUSDT", "1m", 5, false), kline("ETHUSDT", "1m", 5, false)]));
    let wish = Subscription { symbols: vec![Symbol::new("ETHUSDT").unwrap()], ..Subscription::default() };
    assert!(queue.narrow(&wish));
    let names: Vec<_> =
        delivered(&queue, Grouping::UpTo(64)).klines.iter().map(|k| k.series.symbol.to_string()).collect();
    assert_eq!(names, ["ETHUSDT", "ETHUSDT"]);
}

#[test]
fn closing_drains_and_cancelling_does_not() {
    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true)]));
    queue.close();
    queue.push(2, &batch([kline("BTCUSDT", "1m", 5, true)]));
    assert_eq!(windows(&delivered(&queue, Grouping::UpTo(64))), [(4, true)]);
    assert!(matches!(queue.pop(Grouping::UpTo(64)), Popped::Finished));

    let queue = Queue::new(10, &everything());
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true)]));
    queue.cancel();
    queue.close();
    assert!(matches!(queue.pop(Grouping::UpTo(64)), Popped::Cancelled));
    assert_eq!(queue.abandon().len(), 1);
}

#[test]
fn a_waiting_consumer_is_woken_by_a_push_and_a_pausing_one_by_the_end() {
    let queue = Arc::new(Queue::new(10, &everything()));
    let (sender, receiver) = mpsc::channel();
    let consumer = thread::spawn({
        let queue = queue.clone();
        move || {
            sender.send(delivered(&queue, Grouping::UpTo(64)).klines.len()).unwrap();
            queue.pause(Duration::from_secs(3_600))
        }
    });
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true)]));
    assert_eq!(receiver.recv().unwrap(), 1);
    queue.cancel();
    assert!(consumer.join().unwrap(), "the pause ends because of the cancellation");
}

#[test]
fn a_trusted_consumer_is_at_work_from_its_wake_up_until_it_waits() {
    let (queue, work) = (Arc::new(Queue::new(10, &everything())), Arc::new(TrustedWork::default()));
    queue.mark_trusted(&work);
    let (popped, pops) = mpsc::channel();
    let worker = thread::spawn({
        let (queue, work) = (queue.clone(), work.clone());
        move || {
            while matches!(queue.pop(Grouping::UpTo(1)), Popped::Delivery(_)) {
                popped.send(work.is_any()).unwrap();
            }
        }
    });
    wait_until_it_waits(&queue);
    assert!(!work.is_any());
    queue.push(1, &closed([1, 2]));
    assert!(pops.recv().unwrap() && pops.recv().unwrap(), "it is at work until all is done");
    wait_until_it_waits(&queue);
    assert!(!work.is_any());
    queue.push(2, &closed([3]));
    assert!(pops.recv().unwrap());
    queue.cancel();
    worker.join().unwrap();
    assert!(!work.is_any());
}

#[test]
fn a_replay_that_waits_for_room_loses_nothing() {
    // A batch may be larger than the configured queue.
    const BATCH: i64 = 7;
    let queue = Arc::new(Queue::new(4, &everything()));
    let consumer = thread::spawn({
        let queue = queue.clone();
        move || {
            let (mut klines, mut lost) = (0, 0);
            while let Popped::Delivery(delivery) = queue.pop(Grouping::UpTo(3)) {
                klines += delivery.klines.len();
                lost += delivery.lost;
            }
            (klines, lost)
        }
    });
    for first in (0..1_000 * BATCH).step_by(7) {
        queue.wait_for_room();
        queue.push(0, &closed(first..first + BATCH));
    }
    queue.close();
    assert_eq!(consumer.join().unwrap(), (7_000, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<(u8, u8, bool)>),
    Take(usize),
    TakeBoundary,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kline = (0..3u8, 0..4u8, any::<bool>());
    let step = prop_oneof![
        3 => prop::collection::vec(kline, 1..5).prop_map(Step::Push),
        1 => (1..6usize).prop_map(Step::Take),
        1 => Just(Step::TakeBoundary),
    ];
    prop::collection::vec(step, 1..60)
}

/// A simple, slow model of the queue: one list of everything that waits.
#[derive(Default)]
struct Model {
    waiting: Vec<(u64, Kline)>,
    /// Closed klines of the largest batch.
    largest: usize,
    lost: u64,
}

impl Model {
    fn push_batch(&mut self, number: u64, klines: Vec<Kline>, configured: usize) {
        self.largest = self.largest.max(klines.iter().filter(|kline| kline.confirm).count());
        let capacity = configured.max(2 * self.largest);
        klines.into_iter().for_each(|kline| self.push(number, kline, capacity));
    }

    fn push(&mut self, number: u64, kline: Kline, capacity: usize) {
        let same = |other: &Kline| other.series == kline.series && !other.confirm;
        if kline.confirm {
            self.waiting.retain(|(_, other)| !(same(other) && other.start <= kline.start));
            let later = self.waiting.iter_mut().filter(|(_, other)| same(other));
            later.for_each(|(_, other)| other.sequence = other.sequence.max(kline.sequence + 1));
            self.waiting.push((number, kline));
            if self.waiting.iter().filter(|(_, kline)| kline.confirm).count() > capacity {
                let oldest = self.waiting.iter().position(|(_, kline)| kline.confirm).unwrap();
                self.waiting.remove(oldest);
                self.lost += 1;
            }
        } else if let Some((_, other)) =
            self.waiting.iter_mut().find(|(_, other)| same(other) && other.start == kline.start)
        {
            *other = kline;
        } else {
            // At most two windows of a series wait: the oldest is dropped.
            let series = kline.series;
            self.waiting.push((number, kline));
            let same = |other: &Kline| other.series == series && !other.confirm;
            let starts: Vec<i64> =
                self.waiting.iter().filter(|(_, other)| same(other)).map(|(_, other)| other.start).collect();
            if starts.len() > 2 {
                let oldest = starts.iter().min().unwrap();
                self.waiting.retain(|(_, other)| !(same(other) && other.start == *oldest));
            }
        }
    }

    fn take(&mut self, grouping: Grouping) -> (Vec<Kline>, u64) {
        let (mut closed, updates): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|(_, kline)| kline.confirm);
        let most = match grouping {
            Grouping::UpTo(most) => most,
            Grouping::Boundary if closed.is_empty() => updates.len(),
            Grouping::Boundary => closed.iter().take_while(|(number, _)| *number == closed[0].0).count(),
        };
        closed.extend(updates);
        self.waiting = closed.split_off(most.min(closed.len()));
        (closed.into_iter().map(|(_, kline)| kline).collect(), std::mem::take(&mut self.lost))
    }
}

proptest! {
    #[test]
    fn it_behaves_as_the_simple_model(capacity in 1..6usize, steps in steps()) {
        let queue = Queue::new(capacity, &everything());
        let mut model = Model::default();
        for (number, step) in (0u64..).zip(steps) {
            let grouping = match step {
                Step::Push(klines) => {
                    let klines: Vec<_> = klines
                        .into_iter()
                        .map(|(symbol, window, confirm)| kline(&format!("S{symbol}"), "1m", i64::from(window), confirm))
                        .collect();
                    queue.push(number, &batch(klines.clone()));
                    model.push_batch(number, klines, capacity);
                    continue;
                }
                Step::Take(most) => Grouping::UpTo(most),
                Step::TakeBoundary => Grouping::Boundary,
            };
            if model.waiting.is_empty() {
                continue;
            }
            let (klines, lost) = model.take(grouping);
            let found = delivered(&queue, grouping);
            prop_assert_eq!(found.lost, lost);
            prop_assert_eq!(found.klines.iter().map(|kline| (**kline).clone()).collect::<Vec<_>>(), klines);
        }
    }
}

fn wait_until_it_waits(queue: &Queue) {
    while !queue.lock().waiting {
        thread::yield_now();
    }
}

fn closed(windows: impl IntoIterator<Item = i64>) -> Batch {
    batch(windows.into_iter().map(|window| kline("BTCUSDT", "1m", window, true)))
}
