//! Tests of the queue's states: what is queued, counted or woken in each.

use super::*;
use crate::fixture::point;
use crate::order::Order;

const PATIENCE: Duration = Duration::from_secs(60);

fn values(consumer: &str, count: i64) -> Vec<Arc<Point>> {
    (0..count).map(|window| Arc::new(point(consumer, "x", window, true, "1"))).collect()
}

/// Returns a queue in the state in which its consumer's thread sleeps in it.
fn asleep() -> Queue {
    let queue = Queue::new(10, &everything());
    queue.lock().waiting = true;
    queue
}

#[test]
fn it_is_idle_while_its_thread_sleeps_and_nothing_has_to_be_delivered_or_done_first() {
    let is_idle = |prepare: &dyn Fn(&Queue)| {
        let queue = asleep();
        prepare(&queue);
        queue.idle().is_some()
    };
    assert!(is_idle(&|_| ()));
    assert!(!is_idle(&|queue| queue.lock().waiting = false), "a delivery is in progress");
    assert!(!is_idle(&|queue| queue.lock().buffer.lost = 1), "klines were lost");
    let order = || Command { order: Order::Pause, answer: mpsc::channel().0 };
    assert!(!is_idle(&|queue| assert!(queue.order(order()))), "there is an order");
    assert!(!is_idle(&|queue| queue.lock().buffer.suspended = true), "it is suspended");
    assert!(!is_idle(&Queue::close), "it ends");
}

#[test]
fn while_it_is_suspended_only_closed_klines_count_as_lost() {
    let queue = Queue::new(10, &everything());
    queue.suspend();
    assert_eq!(queue.push(1, &batch([kline("BTCUSDT", "1m", 4, true), kline("BTCUSDT", "1m", 5, false)])), 1);
    queue.reopen();
    queue.push(2, &closed([6]));
    assert_eq!(delivered(&queue, Grouping::Boundary).lost, 1);
}

#[test]
fn klines_that_do_not_pass_do_not_wake_the_thread() {
    let queue = asleep();
    queue.narrow(&Subscription { closed_only: true, ..everything() });
    queue.push(1, &batch([kline("BTCUSDT", "1m", 4, false)]));
    assert!(queue.lock().waiting, "it still sleeps");
    queue.push(2, &closed([4]));
    assert!(!queue.lock().waiting);
}

#[test]
fn a_queue_configured_for_zero_klines_holds_one() {
    assert_eq!(Queue::new(0, &everything()).depth().capacity, 1);
}

/// Runs `wait` on another thread. Returns a receiver that gets a message when it is over.
fn in_thread(queue: &Arc<Queue>, wait: impl FnOnce(&Queue) + Send + 'static) -> mpsc::Receiver<()> {
    let (out, over) = mpsc::channel();
    let queue = queue.clone();
    thread::spawn(move || {
        wait(&queue);
        // The receiver is gone if the test has failed.
        let _ = out.send(());
    });
    over
}

#[test]
fn a_replay_waits_neither_for_unsubscribed_klines_nor_for_a_suspended_queue() {
    let other_symbol = Subscription { symbols: vec![Symbol::new("ETHUSDT").unwrap()], ..everything() };
    let full = || {
        let queue = Arc::new(Queue::new(4, &everything()));
        // One by one, so that no boundary is larger than one.
        for window in 0..4 {
            queue.push(1, &closed([window]));
        }
        queue
    };
    let queue = full();
    let over = in_thread(&queue, Queue::wait_for_room);
    while !queue.lock().replay_waiting {
        thread::yield_now();
    }
    queue.narrow(&other_symbol);
    over.recv_timeout(PATIENCE).unwrap();
    let queue = full();
    queue.lock().buffer.suspended = true;
    in_thread(&queue, Queue::wait_for_room).recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_pause_on_a_closed_queue_is_short() {
    let queue = Arc::new(Queue::new(4, &everything()));
    queue.close();
    let over = in_thread(&queue, |queue| assert!(!queue.pause(Duration::from_secs(3_600))));
    over.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn values_that_cannot_be_taken_are_counted_and_others_come_in_bounded_deliveries() {
    let bitcoin = Subscription { symbols: vec![Symbol::new("BTCUSDT").unwrap()], ..everything() };
    let passing = Queue::new(4, &bitcoin);
    let foreign = values("a", 3)
        .into_iter()
        .map(|value| Arc::new(Point { series: kline("ETHUSDT", "1m", 0, true).series, ..Point::clone(&value) }));
    assert_eq!(passing.push_values(&foreign.collect::<Vec<_>>()), 0, "not allowed, hence not lost");
    assert_eq!(passing.depth().closed, 0);
    assert!(passing.lock().buffer.is_empty());
    let queue = Queue::new(4, &everything());
    queue.suspend();
    assert_eq!(queue.push_values(&values("a", 3)), 3);
    queue.reopen();
    let many = i64::try_from(VALUES_A_DELIVERY).unwrap() + 1;
    assert_eq!(queue.push_values(&values("a", many)), 0);
    assert_eq!(delivered(&queue, Grouping::Boundary).values.len(), VALUES_A_DELIVERY);
    assert_eq!(delivered(&queue, Grouping::Boundary).values.len(), 1);
    let most = i64::try_from(VALUES.0).unwrap();
    assert_eq!(queue.push_values(&values("a", most + 5)), 5, "the publisher's share is full");
    let queue = Queue::new(4, &everything());
    queue.close();
    assert_eq!(queue.push_values(&values("a", 3)), 3);
}

#[test]
fn there_is_room_for_the_values_of_two_boundaries() {
    let queue = Queue::new(4, &everything());
    let symbols = (0..5_000).map(|number| Symbol::new(&format!("S{number}")).unwrap()).collect();
    queue.watch(bounds::watched(symbols, &["1m"]));
    let most = 2 * 5_000;
    assert!(most > VALUES.0);
    assert_eq!(queue.push_values(&values("a", i64::try_from(most).unwrap() + 1)), 1);
}
