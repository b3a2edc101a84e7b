//! The klines of a store and of memory as one, through Bybit's REST endpoint.

use std::sync::atomic::Ordering;

use klines_delivery::fixture;

use crate::fixture::{FakeHistory, MINUTE, Served, closed, minutes, open};

const TARGET: &str = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1";

/// Returns the windows of a page, in its order.
async fn windows(served: &Served, more: &str) -> Vec<i64> {
    let answer = served.get(&format!("{TARGET}{more}")).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["retMsg"], "OK", "{more}");
    let rows = answer["result"]["list"].as_array().unwrap();
    rows.iter().map(|row| row[0].as_str().unwrap().parse::<i64>().unwrap() / MINUTE).collect()
}

fn down(from: i64, to: i64) -> Vec<i64> {
    (to..=from).rev().collect()
}

/// A store of the minutes 1 to 12, and a memory of 10 to 15 with 16 open.
fn served() -> Served {
    let served = Served::with(&FakeHistory::of(minutes(1..=12)));
    served.publish(minutes(10..=15));
    served.publish([open(16)]);
    served
}

#[tokio::test]
async fn pages_are_right_at_the_seam_for_every_range() {
    let served = served();
    assert_eq!(windows(&served, "").await, down(16, 1));
    for limit in 1..=17 {
        let shown = (17 - limit).max(1);
        assert_eq!(windows(&served, &format!("&limit={limit}")).await, down(16, shown), "neither, {limit}");
        for first in 1..=17 {
            let last = (first + limit - 1).min(16);
            let more = format!("&start={}&limit={limit}", first * MINUTE);
            assert_eq!(windows(&served, &more).await, down(last, first), "start only, {more}");
            let more = format!("&end={}&limit={limit}", first * MINUTE);
            let newest = first.min(16);
            assert_eq!(windows(&served, &more).await, down(newest, (newest - limit + 1).max(1)), "end only, {more}");
            let more = format!("&start={}&end={}&limit={limit}", 5 * MINUTE, first * MINUTE);
            assert_eq!(windows(&served, &more).await, down(newest, (newest - limit + 1).max(5)), "both, {more}");
        }
    }
}

#[tokio::test]
async fn a_start_inside_a_window_selects_it_in_the_store_too() {
    let served = served();
    assert_eq!(windows(&served, &format!("&start={}&limit=2", 3 * MINUTE + 1)).await, [4, 3]);
    assert_eq!(windows(&served, &format!("&end={}&limit=2", 4 * MINUTE - 1)).await, [3, 2]);
    assert_eq!(windows(&served, "&start=9223372036854775807").await, Vec::<i64>::new());
    assert_eq!(windows(&served, "&end=-1").await, Vec::<i64>::new());
    assert_eq!(windows(&served, &format!("&start={}&end={MINUTE}", 3 * MINUTE)).await, Vec::<i64>::new());
}

#[tokio::test]
async fn more_klines_than_a_page_are_read_forward_and_back_without_a_hole_or_a_double() {
    let served = Served::with(&FakeHistory::of(minutes(1..=2_500)));
    served.publish(minutes(2_400..=3_100));
    let (mut forward, mut back) = (Vec::new(), Vec::new());
    while forward.len() < 3_100 {
        let next = forward.last().map_or(0, |last| last + 1);
        let page = windows(&served, &format!("&limit=1000&start={}", next * MINUTE)).await;
        assert!((1..=1_000).contains(&page.len()));
        forward.extend(page.into_iter().rev());
    }
    assert_eq!(forward, (1..=3_100).collect::<Vec<_>>());
    while back.len() < 3_100 {
        let end = back.last().map_or(i64::MAX, |last| last * MINUTE - 1);
        let page = windows(&served, &format!("&limit=999&end={end}")).await;
        assert!((1..=999).contains(&page.len()));
        back.extend(page);
    }
    assert_eq!(back, down(3_100, 1));
}

#[tokio::test]
async fn the_greater_revision_wins_and_memory_if_both_are_equal() {
    let history = FakeHistory::of([closed(1, 2, "101"), closed(2, 0, "102"), closed(3, 1, "103"), closed(4, 0, "104")]);
    let served = Served::with(&history);
    served.publish([closed(1, 1, "201"), closed(2, 1, "202"), closed(3, 1, "203"), closed(5, 0, "205")]);
    let answer = served.get(TARGET).await.json();
    let rows = answer["result"]["list"].as_array().unwrap();
    let closes: Vec<&str> = rows.iter().map(|row| row[4].as_str().unwrap()).collect();
    assert_eq!(closes, ["205", "104", "203", "202", "101"]);
}

#[tokio::test]
async fn an_open_kline_is_not_shown_beside_a_confirmed_one_of_the_store() {
    for confirmed in [16, 17] {
        let served = Served::with(&FakeHistory::of(minutes(1..=confirmed)));
        served.publish([open(16)]);
        let newest = served.get(&format!("{TARGET}&limit=1")).await.json();
        assert_eq!(windows(&served, "&limit=3").await, down(confirmed, confirmed - 2));
        assert_eq!(newest["result"]["list"][0][0], (confirmed * MINUTE).to_string());
    }
}

#[tokio::test]
async fn a_series_that_has_no_klines_in_memory_yet_is_read_from_the_store() {
    let served = Served::with(&FakeHistory::of(minutes(1..=3)));
    assert_eq!(windows(&served, "").await, [3, 2, 1]);
}

#[tokio::test]
async fn an_interval_that_configured_ones_compose_is_asked_of_the_store() {
    let history = FakeHistory::of([fixture::kline("BTCUSDT", "5m", 1, true)]);
    let served = Served::with(&history);
    let answer = served.get("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=5").await.json();
    assert_eq!((&answer["retMsg"], answer["result"]["list"].as_array().unwrap().len()), (&"OK".into(), 1));
    let answer = served.get("/v1/klines?symbol=BTCUSDT&interval=5m").await.json();
    assert_eq!(answer["klines"].as_array().unwrap().len(), 1, "{answer}");
}

#[tokio::test]
async fn a_series_that_is_stored_but_not_configured_is_unknown() {
    let history = FakeHistory::of([fixture::kline("XRPUSDT", "1m", 1, true), fixture::kline("BTCUSDT", "5m", 1, true)]);
    let served = Served::with(&history);
    for (target, message) in [
        ("/v5/market/kline?category=linear&symbol=XRPUSDT&interval=1", "params error: symbol invalid"),
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=7", "Invalid period!"),
        ("/v5/market/kline?category=spot&symbol=XRPUSDT&interval=1", "Not supported symbols"),
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=x", "params error: limit invalid"),
    ] {
        assert_eq!(served.get(target).await.json()["retMsg"], message);
    }
    assert!(history.queries.lock().unwrap().is_empty(), "the store is not asked");
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_klines_in_memory_and_the_answer_says_so() {
    let history = FakeHistory::of(minutes(1..=12));
    let served = Served::with(&history);
    served.publish(minutes(10..=15));
    for failing in [&history.fails, &history.panics] {
        failing.store(true, Ordering::SeqCst);
        assert_eq!(windows(&served, "").await, down(15, 10));
        assert_eq!(served.get(TARGET).await.header("x-klines-history"), Some("unavailable"));
        failing.store(false, Ordering::SeqCst);
    }
    assert_eq!(windows(&served, "").await, down(15, 1));
    assert_eq!(served.get(TARGET).await.header("x-klines-history"), None);
}

#[tokio::test]
async fn without_a_store_only_memory_answers() {
    let served = Served::create(None, |_| {});
    served.publish(minutes(10..=15));
    assert_eq!(windows(&served, "").await, down(15, 10));
    assert_eq!(served.get(TARGET).await.header("x-klines-history"), Some("none"));
}

#[tokio::test]
async fn the_store_is_asked_for_no_more_than_a_page() {
    let history = FakeHistory::of(minutes(1..=3));
    let served = Served::with(&history);
    windows(&served, "&limit=5000").await;
    assert_eq!(served.get_with(TARGET, &[]).await.status, 401);
    let limits: Vec<usize> = history.queries.lock().unwrap().iter().map(|query| query.limit).collect();
    assert_eq!(limits, [1_000], "and not without a key");
}
