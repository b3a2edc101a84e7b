//! Reads of a store that fails, panics or hangs.

use std::sync::atomic::Ordering;

use klines_delivery::history::Side;
use klines_domain::series::SeriesKey;

use super::*;
use crate::fixture::{FakeHistory, MINUTE, minutes};

fn query() -> Query {
    let series = SeriesKey::clone(&minutes(1..=1).next().unwrap().series);
    Query { series, from: 0, to: 100 * MINUTE, limit: 10, side: Side::Oldest }
}

fn reader(history: &Arc<FakeHistory>, read_timeout: Duration) -> Arc<HistoryReader> {
    Arc::new(HistoryReader { read_timeout, ..HistoryReader::new(history.clone()) })
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited long");
}

#[tokio::test]
async fn no_more_than_four_reads_run_at_a_time_and_all_are_answered() {
    let history = FakeHistory::of(minutes(1..=3));
    let reader = reader(&history, Duration::from_secs(60));
    history.hangs.store(true, Ordering::SeqCst);
    let reads: Vec<_> = (0..20)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.read(query()).await.unwrap().len() })
        })
        .collect();
    until(|| history.running.load(Ordering::SeqCst) == READERS).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(history.queries.lock().unwrap().len(), READERS);
    history.hangs.store(false, Ordering::SeqCst);
    for read in reads {
        assert_eq!(read.await.unwrap(), 3);
    }
}

#[tokio::test]
async fn a_read_that_hangs_ends_for_its_request_and_keeps_its_place() {
    let history = FakeHistory::of(minutes(1..=3));
    let reader = reader(&history, Duration::from_millis(50));
    history.hangs.store(true, Ordering::SeqCst);
    let reads: Vec<_> = (0..10)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.read(query()).await.is_none() })
        })
        .collect();
    for read in reads {
        assert!(read.await.unwrap());
    }
    assert_eq!(history.queries.lock().unwrap().len(), READERS, "the others found no free place");
    history.hangs.store(false, Ordering::SeqCst);
    until(|| history.running.load(Ordering::SeqCst) == 0).await;
    assert_eq!(reader.read(query()).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_store_that_fails_or_panics_gives_no_klines_and_is_asked_again() {
    let history = FakeHistory::of(minutes(1..=3));
    let reader = reader(&history, READ_TIMEOUT);
    for failing in [&history.fails, &history.panics] {
        failing.store(true, Ordering::SeqCst);
        assert!(reader.read(query()).await.is_none());
        failing.store(false, Ordering::SeqCst);
        assert_eq!(reader.read(query()).await.unwrap().len(), 3);
    }
}

#[test]
fn failures_are_reported_at_most_once_a_minute_with_their_number() {
    let (mut failures, begin) = (Failures::default(), Instant::now());
    let mut at = |seconds| failures.count(begin + Duration::from_secs(seconds));
    assert_eq!([at(0), at(1), at(59), at(60), at(119), at(500)], [Some(1), None, None, Some(3), None, Some(2)]);
}
