//! A store is compared with a map of all klines that it was given.

use klines_delivery::history::{Query, Side};
use klines_domain::decimal::Decimal;
use klines_domain::kline::Quality;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{DAY, SECOND};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::check;
use crate::reader::Reader;

/// 2024-01-01T00:00:00Z.
const T0: Millis = 1_704_067_200_000;

/// Later than any kline.
const LATER: LocalMillis = LocalMillis::new(T0 + 1_000 * DAY);

fn series(symbol: &str, interval: &str) -> SeriesId {
    SeriesId::new(Category::Linear, Symbol::new(symbol).unwrap(), interval.parse().unwrap())
}

/// The kline of a window, with numbers that depend on it and on the revision. Every third one has no trades.
fn kline(series: SeriesId, start: Millis, revision: u32) -> Arc<Kline> {
    let end = series.interval.next(start) - 1;
    let number = (start / SECOND % 1_000) + i64::from(revision);
    let is_flat = number % 3 == 0;
    let price = |more: i64| Decimal::new(i128::from(6_400_000 + if is_flat { 0 } else { number + more }), 2);
    let sum = |factor: i128| Decimal::new(if is_flat { 0 } else { i128::from(number + 1) * factor }, 3);
    let turnover = |factor: i128| Decimal::new(sum(factor).mantissa() * 6_400_007, 5);
    Arc::new(Kline {
        series,
        start,
        end,
        open: price(1),
        high: price(9),
        low: price(0),
        close: price(3),
        volume: sum(7),
        turnover: turnover(7),
        buy_volume: sum(3),
        buy_turnover: turnover(3),
        price_decimals: 2,
        volume_decimals: 3,
        trades: if is_flat { 0 } else { number.unsigned_abs() },
        last_trade_time: if is_flat { 0 } else { end - 17 },
        confirm: true,
        revision,
        quality: if revision > 0 { Quality::Repaired } else { Quality::Complete },
        sequence: (start / SECOND - T0 / SECOND).unsigned_abs() + u64::from(revision),
        emitted: end,
    })
}

fn everything(series: SeriesId) -> Query {
    Query { series: (*series).clone(), from: Millis::MIN, to: Millis::MAX, limit: usize::MAX, side: Side::Oldest }
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Step {
    /// This number of windows of a series close.
    Close(usize, Millis),
    /// A window that is so far back gets a revision.
    Revise(usize, Index),
    /// So much time goes by without klines.
    Pause(Millis),
    Maintain,
    /// The writer ends without a word, and another one opens the store.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 1..200_i64).prop_map(|(series, count)| Step::Close(series, count)),
        2 => (0..3_usize, any::<Index>()).prop_map(|(series, at)| Step::Revise(series, at)),
        1 => (0..10_000_000_i64).prop_map(Step::Pause),
        2 => Just(Step::Maintain),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The newest revision of each window.
type Model = BTreeMap<Millis, Arc<Kline>>;

fn ask(model: &Model, query: &Query) -> Vec<Arc<Kline>> {
    let found = model.range(query.from..=query.to).map(|(_, kline)| kline.clone());
    match query.side {
        Side::Oldest => found.take(query.limit).collect(),
        Side::Newest => {
            let mut found: Vec<_> = found.rev().take(query.limit).collect();
            found.reverse();
            found
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_store_returns_what_it_was_given(
        steps in steps(),
        queries in proptest::collection::vec((0..3_usize, 0..=100_i64, 0..=100_i64, 1..400_usize, any::<bool>()), 8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = file::path_in(folder.path());
        // Of three symbols, because the numbers of the minutes are not the sums of those of the seconds.
        let all = [series("BTCUSDT", "1s"), series("SOLUSDT", "1m"), series("ETHUSDT", "1D")];
        let mut models = [Model::new(), Model::new(), Model::new()];
        let mut now = T0;
        let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
        for step in &steps {
            match step {
                Step::Close(at, count) => {
                    let mut start = all[*at].interval.start_of(models[*at].keys().last().map_or(now, |last| now.max(last + 1)));
                    let mut klines = Vec::new();
                    for _ in 0..*count {
                        start = all[*at].interval.next(start);
                        klines.push(kline(all[*at], start, 0));
                    }
                    models[*at].extend(klines.iter().map(|kline| (kline.start, kline.clone())));
                    prop_assert_eq!(writer.append(&klines).unwrap(), klines.len());
                }
                Step::Revise(at, index) => {
                    let known: Vec<Arc<Kline>> = models[*at].values().cloned().collect();
                    if !known.is_empty() {
                        let old = index.get(&known);
                        let revised = kline(all[*at], old.start, old.revision + 1);
                        models[*at].insert(old.start, revised.clone());
                        writer.append(&[revised]).unwrap();
                    }
                }
                Step::Pause(millis) => now += millis,
                Step::Maintain => writer.maintain(LATER).unwrap(),
                Step::Restart => {
                    drop(writer);
                    writer = Writer::open(&path, "live", Limits::none()).unwrap();
                }
            }
        }
        let reader = Reader::open(&path).unwrap();
        for (at, from, to, limit, is_oldest) in queries {
            let (first, last) = (models[at].keys().next().copied(), models[at].keys().last().copied());
            let (Some(first), Some(last)) = (first, last) else { continue };
            let share = |percent: i64| first + (last - first) / 100 * percent;
            let side = if is_oldest { Side::Oldest } else { Side::Newest };
            let query = Query { series: (*all[at]).clone(), from: share(from), to: share(to), limit, side };
            prop_assert_eq!(reader.read(&query).unwrap(), if query.from > query.to { Vec::new() } else { ask(&models[at], &query) });
        }
        for (series, model) in all.iter().zip(&models) {
            prop_assert_eq!(reader.read(&everything(*series)).unwrap(), ask(model, &everything(*series)));
        }
        prop_assert_eq!(check::verify(&path).unwrap().faults, Vec::<String>::new());
    }
}

/// Stores an hour of klines after another, and does what is due.
fn fill(writer: &mut Writer, series: SeriesId, from: Millis, hours: i64) {
    for minute in 0..hours * 60 {
        let start = from + minute * MINUTE;
        let count = MINUTE / series.interval.nominal_millis();
        let klines: Vec<_> =
            (0..count.max(1)).map(|at| kline(series, start + at * series.interval.nominal_millis(), 0)).collect();
        writer.append(&klines).unwrap();
        writer.maintain(LATER).unwrap();
    }
}

#[test]
fn hours_are_sealed_an_hour_later_and_a_later_revision_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let series = series("BTCUSDT", "1s");
    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    fill(&mut writer, series, T0, 4);
    let sealed = |writer: &Writer| {
        let sealed = "SELECT count(*), sum(klines) FROM blocks WHERE sealed = 1";
        writer.connection.query_row(sealed, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap()
    };
    assert_eq!(sealed(&writer), (2, 7_200));
    let late = kline(series, T0 + 5 * SECOND, 1);
    writer.append(std::slice::from_ref(&late)).unwrap();
    let query = Query { from: T0 + 5 * SECOND, limit: 1, ..everything(series) };
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.read(&query).unwrap(), std::slice::from_ref(&late), "from the log");
    fill(&mut writer, series, T0 + 4 * HOUR, 2);
    assert_eq!(sealed(&writer), (4, 4 * 3_600 + 1), "it is sealed with its hour");
    assert_eq!(reader.read(&query).unwrap(), [late], "from the block");
    assert_eq!(check::verify(&path).unwrap().faults, Vec::<String>::new());
}

#[test]
fn intervals_are_kept_for_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let [second, minute] = ["1s", "1m"].map(|interval| series("BTCUSDT", interval));
    let retain = |interval: Interval| (interval < Interval::MINUTE).then_some(2 * HOUR);
    let mut writer = Writer::open(&path, "live", Limits { retain: Box::new(retain), max_bytes: u64::MAX }).unwrap();
    for hour in 0..6 {
        fill(&mut writer, second, T0 + hour * HOUR, 1);
        fill(&mut writer, minute, T0 + hour * HOUR, 1);
    }
    let reader = Reader::open(&path).unwrap();
    let first = |series| reader.read(&everything(series)).unwrap().first().map(|kline| kline.start - T0);
    // Blocks go as a whole, and once an hour.
    assert_eq!(first(second), Some(3 * HOUR));
    assert_eq!(first(minute), Some(0));
}

#[test]
fn a_kline_from_a_clock_that_leaps_makes_no_other_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let second = series("BTCUSDT", "1s");
    let limits = Limits { retain: Box::new(|_| Some(2 * HOUR)), max_bytes: u64::MAX };
    let mut writer = Writer::open(&path, "live", limits).unwrap();
    fill(&mut writer, second, T0, 1);
    let now = LocalMillis::new(T0 + HOUR);
    for more in 0..2 {
        writer.append(&[kline(second, T0 + 31 * DAY + more * 2 * HOUR, 0)]).unwrap();
        writer.maintain(now).unwrap();
    }
    let stored = Reader::open(&path).unwrap().read(&everything(second)).unwrap();
    assert_eq!(stored.len() as i64, HOUR / SECOND + 2);
}

#[test]
fn a_store_that_is_too_large_loses_the_oldest_of_the_shortest_interval() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let [second, minute] = ["1s", "1m"].map(|interval| series("BTCUSDT", interval));
    let limits = Limits { retain: Box::new(|_| None), max_bytes: 250_000 };
    let mut writer = Writer::open(&path, "live", limits).unwrap();
    let minutes = DAY / MINUTE;
    for hour in 0..24 {
        fill(&mut writer, minute, T0 + hour * HOUR, 1);
        fill(&mut writer, second, T0 + hour * HOUR, 1);
        // The size is looked at once an hour here, and an hour takes 100 kB before it is sealed.
        assert!(writer.bytes().unwrap() < 250_000 + 100_000, "{}", writer.bytes().unwrap());
    }
    let reader = Reader::open(&path).unwrap();
    let seconds = reader.read(&everything(second)).unwrap();
    assert!(seconds.first().unwrap().start > T0 && seconds.last().unwrap().start == T0 + DAY - SECOND);
    assert_eq!(reader.read(&everything(minute)).unwrap().len() as i64, minutes);
}

#[test]
fn damage_is_named_and_nothing_of_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file::path_in(folder.path());
    let series = series("BTCUSDT", "1s");
    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    fill(&mut writer, series, T0, 3);
    writer.close().unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE id = (SELECT min(id) FROM blocks)", [])
        .unwrap();
    let found = Reader::open(&path).unwrap().read(&everything(series)).unwrap_err().to_string();
    assert!(found.contains("is damaged") && found.contains("klines.db"), "{found}");
    let faults = check::verify(&path).unwrap().faults;
    assert!(matches!(&faults[..], [fault] if fault.contains("checksum")), "{faults:?}");
}

#[test]
fn a_copy_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["klines.db", "copy.db"].map(|name| folder.path().join(name));
    let series = series("BTCUSDT", "1s");
    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    fill(&mut writer, series, T0, 2);
    check::backup(&path, &copy).unwrap();
    let read = |path: &Path| Reader::open(path).unwrap().read(&everything(series)).unwrap();
    assert_eq!(read(&copy), read(&path));
    assert!(check::backup(&path, &copy).unwrap_err().to_string().contains("it exists"));
    let info = check::info(&copy).unwrap();
    assert_eq!(info.intervals[0].klines + info.in_log, 7_200);
}
