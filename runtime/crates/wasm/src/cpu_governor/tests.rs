//! Checks which thread gets a permit, when a permit is passed on, and that no permit is lost.

use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// A thread that runs the given actions on its permit.
struct Guest {
    asks: Sender<fn(&mut Permit)>,
    done: Receiver<u8>,
}

impl Guest {
    fn new(governor: &Arc<CpuGovernor>, is_lowest: bool) -> Self {
        let (asks, asked) = mpsc::channel::<fn(&mut Permit)>();
        let (done_with, done) = mpsc::channel();
        let governor = governor.clone();
        thread::spawn(move || {
            if is_lowest {
                klines_delivery::cpu::rank_lowest();
            }
            let mut permit = Permit::new(governor, Arc::default());
            for ask in asked {
                ask(&mut permit);
                if done_with.send(permit.claim.stage.load(Ordering::Acquire)).is_err() {
                    break;
                }
            }
        });
        Self { asks, done }
    }

    fn acquire(&self) {
        self.asks
            .send(|permit| {
                permit.acquire();
            })
            .unwrap();
    }

    fn release(&self) {
        self.asks.send(|permit| permit.release()).unwrap();
        assert_eq!(self.done.recv().unwrap(), NONE);
    }

    /// Waits until the last action is done, and checks that the permit is held.
    fn has(&self) {
        assert_eq!(self.done.recv().unwrap(), HOLDS);
    }
}

fn waiting(governor: &CpuGovernor) -> usize {
    governor.lock().waiting.iter().map(VecDeque::len).sum()
}

fn until_waiting(governor: &CpuGovernor, count: usize) {
    while waiting(governor) != count {
        thread::yield_now();
    }
}

#[test]
fn a_thread_waits_until_another_releases_its_permit() {
    let governor = Arc::new(CpuGovernor::with_permits(1));
    let guests = [0; 3].map(|_| Guest::new(&governor, false));
    guests[0].acquire();
    guests[0].has();
    for (count, guest) in guests[1..].iter().enumerate() {
        guest.acquire();
        until_waiting(&governor, count + 1);
    }
    guests[0].release();
    guests[1].has();
    assert_eq!(waiting(&governor), 1);
    guests[1].release();
    guests[2].has();
    guests[2].release();
    assert_eq!(governor.lock().free, 1);
}

#[test]
fn a_permit_is_passed_on_at_a_tick_if_others_wait_and_is_acquired_again() {
    let governor = Arc::new(CpuGovernor::with_permits(1));
    let [first, second] = [0; 2].map(|_| Guest::new(&governor, false));
    first.acquire();
    first.has();
    governor.tick();
    governor.tick();
    first
        .asks
        .send(|permit| {
            permit.renew();
        })
        .unwrap();
    first.has();
    second.acquire();
    until_waiting(&governor, 1);
    governor.tick();
    second.has();
    // The first thread notices this when it renews, and waits.
    first
        .asks
        .send(|permit| {
            permit.renew();
        })
        .unwrap();
    until_waiting(&governor, 1);
    governor.tick();
    assert_eq!(waiting(&governor), 1, "a permit is held for a minimum time");
    governor.tick();
    first.has();
    // Its permit was passed on, so there is none to release.
    second.release();
    assert_eq!(governor.lock().free, 0);
    first.release();
    assert_eq!(governor.lock().free, 1);
}

#[test]
fn threads_of_the_lowest_rank_are_served_last_and_lose_their_permit_at_once() {
    let governor = Arc::new(CpuGovernor::with_permits(1));
    let [low, lower] = [0; 2].map(|_| Guest::new(&governor, true));
    let [good, better] = [0; 2].map(|_| Guest::new(&governor, false));
    low.acquire();
    low.has();
    lower.acquire();
    until_waiting(&governor, 1);
    good.acquire();
    good.has();
    better.acquire();
    until_waiting(&governor, 2);
    good.release();
    better.has();
    better.release();
    lower.has();
    lower.release();
    low.release();
    assert_eq!(governor.lock().free, 1);
}

#[test]
fn a_dropped_permit_is_released() {
    let governor = Arc::new(CpuGovernor::with_permits(1));
    let mut permit = Permit::new(governor.clone(), Arc::default());
    assert_eq!(permit.acquire(), Duration::ZERO);
    assert_eq!(governor.lock().free, 0);
    drop(permit);
    assert_eq!(governor.lock().free, 1);
}

#[test]
fn concurrent_threads_lose_no_permit() {
    let governor = Arc::new(CpuGovernor::with_permits(2));
    let running = Arc::new(());
    let ticker = thread::spawn({
        let (governor, running) = (governor.clone(), Arc::downgrade(&running));
        move || {
            while running.upgrade().is_some() {
                governor.tick();
                let permits = governor.lock();
                assert_eq!(permits.free + permits.held.len(), 2, "each permit is free or held, and there are two");
                drop(permits);
                thread::yield_now();
            }
        }
    });
    let guests: Vec<_> = (0..8)
        .map(|number| {
            let governor = governor.clone();
            thread::spawn(move || {
                if number % 2 == 0 {
                    klines_delivery::cpu::rank_lowest();
                }
                let mut permit = Permit::new(governor, Arc::default());
                for round in 0..2_000 {
                    permit.acquire();
                    for _ in 0..round % 5 {
                        permit.renew();
                        assert!(permit.claim.is(HOLDS) || permit.claim.is(REVOKED));
                    }
                    permit.release();
                }
            })
        })
        .collect();
    guests.into_iter().for_each(|guest| guest.join().unwrap());
    drop(running);
    ticker.join().unwrap();
    let permits = governor.lock();
    assert_eq!((permits.free, permits.held.len()), (2, 0));
}
