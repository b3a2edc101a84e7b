//! The state of a screen for tests: three consumers, two categories and four symbols.

use super::activity::SeenKline;
use super::screen_state::{News, ScreenState};
use crate::app::admin::protocol::{ConsumerStatus, Delays, FeedStatus, Repairs, RunStatus};

const NOW: i64 = 1_704_067_200_000;

fn consumer(name: &str, state: &str) -> ConsumerStatus {
    ConsumerStatus {
        name: name.to_owned(),
        kind: "wasm".to_owned(),
        state: state.to_owned(),
        klines: 123_456,
        lost: 0,
        queue: 0,
        queue_capacity: 4_096,
        updates: 0,
        retries: 0,
        restarts: 0,
        crashes: 0,
        set_aside: 0,
        memory: Some(1_179_648),
        loaded: Some(1_376_256),
        version: Some("9f2c51c0aa41d0".to_owned()),
        lock: None,
        lag: Delays { count: 1_000, micros: 350_000 },
    }
}

fn consumers() -> Vec<ConsumerStatus> {
    let hostile = ConsumerStatus {
        lost: 12,
        restarts: 4,
        crashes: 5,
        set_aside: 64,
        memory: Some(67_108_864),
        ..consumer("hostile", "quarantined")
    };
    vec![consumer("console", "running"), ConsumerStatus { queue: 77, ..consumer("ema", "paused") }, hostile]
}

fn feed(category: &str, state: &str, open: usize) -> FeedStatus {
    FeedStatus {
        category: category.to_owned(),
        state: state.to_owned(),
        symbols: 20,
        connections: 2,
        open,
        redundancy: open,
        redundancy_wanted: 2,
        frame_age: 120,
        trade_age: 240,
        opened: 3,
        failed: 1,
        counted: 10_000,
        late: 2,
        gap: 12_000,
        gap_repaired: 8_000,
        gap_unknown: 1_000,
        repair: Some(Repairs { covered: 20, seeded: 20, pending: 2, requests: 40, failed: 1 }),
        ..FeedStatus::default()
    }
}

fn status(seconds: i64) -> RunStatus {
    let count = seconds.unsigned_abs();
    let mut live = feed("linear", "live", 2);
    live.counted += 123 * count;
    let mut consumers = consumers();
    consumers.iter_mut().for_each(|row| row.lag = Delays { count: 1_000 + count, micros: 350_000 + 420 * count });
    RunStatus {
        version: "0.1.0".to_owned(),
        now: NOW + seconds * 1_000,
        since: NOW - 3_725_000,
        intervals: vec!["1s".to_owned(), "1m".to_owned()],
        feeds: vec![live, feed("spot", "stale", 1)],
        closing: Delays { count: 100 + count, micros: 10_000_000 + 120_000 * count },
        memory: Some(47_290_000),
        cpu_micros: 1_000_000 + 30_000 * count,
        data_bytes: 5_368_709,
        data_limit: 10_737_418_240,
        consumers,
        ..RunStatus::default()
    }
}

/// Returns the state of the screen of a run after a minute.
pub(super) fn screen_state() -> ScreenState {
    let mut state = ScreenState { data_dir: "klines-data".to_owned(), ..ScreenState::default() };
    let symbols = [
        ("linear", "BTCUSDT", 40, "complete"),
        ("linear", "ETHUSDT", 12, "repaired"),
        ("linear", "SOLUSDT", 1, "gapped"),
    ];
    let symbols = symbols.into_iter().chain([("spot", "BTCUSDT", 7, "complete")]);
    for second in 0..60 {
        state.take(News::Status(Box::new(status(second))));
        for (category, symbol, most, quality) in symbols.clone() {
            state.take(News::Kline(SeenKline {
                category: category.to_owned(),
                symbol: symbol.to_owned(),
                start: NOW + second * 1_000,
                close: format!("{}.5", 42_000 / most),
                volume: format!("{most}.125"),
                trades: (second * 7 % 60).unsigned_abs() * most / 60,
                quality: quality.to_owned(),
            }));
        }
        state.take(News::Tick);
    }
    state
}
