//! Tests of the history: its klines agree with each other at every interval.

use fastrand::Rng;

use super::*;

const DAY_MS: i64 = 86_400_000;
/// 2026-08-09 21:26:58, a Sunday.
const END: i64 = 1_786_310_818_000;

fn instrument(rng: &mut Rng) -> Instrument {
    let category = rng.choice(Category::ALL).unwrap();
    let (price, tick, step) = rng
        .choice([
            ("64250.0", "0.10", "0.001"),
            ("1922.53", "0.05", "0.01"),
            ("0.00001234", "0.00000001", "100"),
            ("1.5", "0.1", "1"),
            ("7", "1", "0.5"),
        ])
        .unwrap();
    let activity = rng
        .choice([Activity::LIVELY, Activity::CALM, Activity::QUIET, Activity::Matches { every_ms: 90_000_000 }])
        .unwrap();
    let name = format!("{}USDT", rng.u32(..));
    Instrument::new(category, &name, price, tick, step).unwrap().with_activity(activity)
}

/// Returns a past of about ten days that ends anywhere.
fn past(rng: &mut Rng) -> Past {
    let end = END + rng.i64(0..40 * DAY_MS);
    Past::new(rng.u64(..), &instrument(rng), end - rng.i64(8 * DAY_MS..12 * DAY_MS), end).unwrap()
}

fn values(window: &Window) -> [String; 6] {
    [window.open, window.high, window.low, window.close, window.volume, window.turnover].map(Amount::trimmed)
}

/// Returns the windows of `interval` from that of `from` to before `until`.
fn windows(past: &Past, interval: Interval, from: i64, until: i64) -> Vec<Window> {
    let starts = std::iter::successors(Some(interval.start_of(from)), |start| Some(interval.after(*start)));
    starts.take_while(|start| *start < until).filter_map(|start| past.window(interval, start)).collect()
}

#[test]
fn a_window_of_any_interval_is_the_composition_of_its_minutes() {
    let mut rng = Rng::with_seed(1);
    for _ in 0..12 {
        let past = past(&mut rng);
        for interval in Interval::ALL {
            let at = rng.i64(past.first_ms()..past.end_ms());
            let Some(whole) = past.window(interval, interval.start_of(at)) else { panic!("no window at {at}") };
            let minutes = windows(&past, Interval::Minutes(1), whole.start, whole.end + 1);
            let composed = minutes.iter().skip(1).fold(minutes[0], |sum, minute| sum.followed_by(minute));
            assert_eq!(values(&whole), values(&composed), "{interval:?} at {at} of {past:?}");
        }
    }
}

#[test]
fn a_minute_opens_at_the_close_before_and_its_numbers_fit_together() {
    let mut rng = Rng::with_seed(2);
    for _ in 0..12 {
        let past = past(&mut rng);
        let minutes = windows(&past, Interval::Minutes(1), past.first_ms(), past.end_ms());
        assert_eq!(minutes.len() as i64, past.end - past.first);
        for two in minutes.windows(2) {
            assert_eq!(two[1].open.compare(two[0].close), std::cmp::Ordering::Equal);
        }
        for minute in &minutes {
            let Window { open, high, low, close, volume, turnover, .. } = *minute;
            let le = |a: Amount, b: Amount| a.compare(b).is_le();
            assert!(le(low, open) && le(low, close) && le(open, high) && le(close, high), "{minute:?}");
            assert!(!low.is_zero());
            if past.category == Category::Inverse {
                assert_eq!(volume.is_zero(), turnover.is_zero() && volume.is_zero());
            } else {
                assert!(le(low.times(volume), turnover) && le(turnover, high.times(volume)), "{minute:?}");
            }
            if volume.is_zero() {
                assert_eq!(values(minute)[..4], [0; 4].map(|_| open.trimmed()));
            }
        }
        assert_eq!(minutes.last().unwrap().close.trimmed(), past.price.trimmed(), "ends at the instrument's price");
    }
}

#[test]
fn the_same_seed_gives_the_same_history_and_other_symbols_another() {
    let history = |seed: u64, name: &str| {
        let instrument = Instrument::new(Category::Linear, name, "1922.50", "0.01", "0.01").unwrap();
        let past = Past::new(seed, &instrument, END - DAY_MS, END).unwrap();
        windows(&past, Interval::Minutes(60), past.first_ms(), END).iter().map(values).collect::<Vec<_>>()
    };
    let one = history(1, "AUSDT");
    assert_eq!(one, history(1, "AUSDT"));
    assert_ne!(one, history(2, "AUSDT"));
    assert_ne!(one, history(1, "BUSDT"));
}

#[test]
fn the_part_before_the_tape_is_added_to_the_window_that_contains_its_end_only() {
    let instrument = Instrument::new(Category::Linear, "ETHUSDT", "1922.50", "0.01", "0.01").unwrap();
    let past = Past::new(3, &instrument, END - 40 * DAY_MS, END).unwrap();
    for interval in Interval::ALL {
        let start = interval.start_of(END);
        let flat =
            Window { start, end: interval.after(start) - 1, ..past.window(interval, interval.before(start)).unwrap() };
        let completed = past.complete(interval, flat);
        match past.window(interval, start) {
            Some(head) => assert_eq!(values(&completed), values(&head.followed_by(&flat)), "{interval:?}"),
            None => assert_eq!(values(&completed), values(&flat), "{interval:?}"),
        }
        let next = Window { start: interval.after(start), end: interval.after(interval.after(start)) - 1, ..flat };
        assert_eq!(values(&past.complete(interval, next)), values(&next));
    }
}

#[test]
fn a_symbol_that_never_trades_has_a_flat_history() {
    let still = Instrument::new(Category::Spot, "ETHUSDT", "1923.3", "0.1", "0.001").unwrap();
    let past = Past::new(1, &still.with_activity(Activity::Still), END - DAY_MS, END).unwrap();
    let day = past.window(Interval::Day, Interval::Day.start_of(END)).unwrap();
    assert_eq!(values(&day), ["1923.3", "1923.3", "1923.3", "1923.3", "0", "0"]);
}
