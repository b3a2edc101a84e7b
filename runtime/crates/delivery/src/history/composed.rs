//! Klines of an interval that is not stored, composed of those of one that is: `3m` of `1m`. Where the longest such interval
//! lacks something, shorter ones are asked: it may have been stored for some of the time, or for other symbols, only.

use std::collections::BTreeMap;
use std::sync::Arc;

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::time::Millis;

use super::{History, HistoryError, Query, Side, Waiting};

/// The most parts that are read at a time.
const PAGE: usize = 1_000;
/// The most parts that a request reads: then it returns fewer windows than were asked for, but at least one.
const MAX_READ: usize = 200_000;
/// The most parts of a window: a month has 44,640 minutes.
const MAX_PARTS: Millis = 50_000;
/// The end of the year 9999, ms since 1970: no window starts later.
const LATEST: Millis = 253_402_300_799_999;

/// Reads klines of the stored intervals, and of those that can be composed of them. A composed kline has the worst quality of
/// its parts, and is `gapped` if one is missing; its revision is the sum of theirs, and its sequence is 0.
#[derive(Debug)]
pub struct Composed {
    inner: Arc<dyn History>,
    stored: Vec<Interval>,
}

impl Composed {
    /// Creates a reader of klines of these intervals.
    #[must_use]
    pub fn new(inner: Arc<dyn History>, stored: &[Interval]) -> Self {
        Self { inner, stored: stored.to_vec() }
    }

    /// Composes klines of one interval.
    fn compose(&self, part: Interval, query: &Query) -> Result<Windows, HistoryError> {
        let whole = query.series.interval;
        let (from, to) = (query.from.clamp(0, LATEST), query.to.clamp(0, LATEST));
        let first = if whole.start_of(from) == from { from } else { whole.next(whole.start_of(from)) };
        // The windows at either edge may not be whole.
        let wanted = usize::try_from(whole.nominal_millis() / part.nominal_millis()).unwrap_or(PAGE);
        let page_size = query.limit.saturating_add(2).saturating_mul(wanted).min(PAGE);
        let mut parts = Query {
            series: SeriesKey { interval: part, ..query.series.clone() },
            from: first,
            to: whole.next(whole.start_of(to)) - 1,
            limit: page_size,
            side: query.side,
        };
        let mut windows: BTreeMap<Millis, Sum> = BTreeMap::new();
        let mut read = 0;
        let is_whole = loop {
            let page = self.inner.klines(&parts)?;
            read += page.len();
            for kline in &page {
                let start = whole.start_of(kline.start);
                match windows.get_mut(&start) {
                    Some(sum) => sum.add(kline)?,
                    None => _ = windows.insert(start, Sum::of(kline)),
                }
            }
            let Some((oldest, newest)) = page.first().zip(page.last()).filter(|_| page.len() == page_size) else {
                break true;
            };
            // The window at the edge may have further parts, and the newest one need not be over.
            if windows.len() > query.limit.saturating_add(1) || read >= MAX_READ {
                break false;
            }
            match query.side {
                Side::Oldest => parts.from = newest.start + 1,
                Side::Newest => parts.to = oldest.start - 1,
            }
        };
        if !is_whole {
            _ = if query.side == Side::Oldest { windows.pop_last() } else { windows.pop_first() };
        }
        let id = SeriesId::of(query.series.clone());
        let mut open = None;
        // The newest window is over if its last part is, or if a later one has a part.
        if let Some((start, sum)) = windows.last_key_value()
            && sum.kline.end + 1 != whole.next(*start)
        {
            let later = Query { from: whole.next(*start), to: LATEST, limit: 1, side: Side::Oldest, ..parts };
            if self.inner.klines(&later)?.is_empty() {
                open = windows.pop_last().map(|(start, sum)| Arc::new(sum.kline_of(id, start, part)));
            }
        }
        let mut klines: Vec<_> = windows.iter().map(|(start, sum)| Arc::new(sum.kline_of(id, *start, part))).collect();
        let surplus = klines.len().saturating_sub(query.limit);
        match query.side {
            Side::Oldest => klines.truncate(query.limit),
            Side::Newest => drop(klines.drain(..surplus)),
        }
        Ok(Windows { klines, open })
    }
}

/// The windows of one interval.
struct Windows {
    klines: Vec<Arc<Kline>>,
    /// The newest one, if nothing shows that it is over.
    open: Option<Arc<Kline>>,
}

impl History for Composed {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let parts = parts_of(query.series.interval, &self.stored);
        if parts.is_empty() || query.limit == 0 || query.from > query.to {
            return self.inner.klines(query);
        }
        let (mut windows, mut open) = (BTreeMap::new(), Vec::new());
        for part in parts {
            let Windows { klines, open: newest } = self.compose(part, query)?;
            klines.into_iter().for_each(|kline| add(&mut windows, kline));
            open.extend(newest);
            if is_whole(&windows, query) {
                break;
            }
        }
        // Other parts may show that it is over.
        let newest = windows.keys().next_back().copied();
        open.into_iter().filter(|kline| Some(kline.start) < newest).for_each(|kline| add(&mut windows, kline));
        let surplus = windows.len().saturating_sub(query.limit);
        let klines = windows.into_values();
        Ok(match query.side {
            Side::Oldest => klines.take(query.limit).collect(),
            Side::Newest => klines.skip(surplus).collect(),
        })
    }

    fn klines_before(&self, query: &Query, waiting: &Waiting) -> Result<Vec<Arc<Kline>>, HistoryError> {
        self.inner.klines_before(query, waiting)
    }
}

/// Adds a window, or replaces the same one of which less is known. Of the same quality, the one of longer parts stays, which comes
/// first, unless it has fewer trades.
fn add(windows: &mut BTreeMap<Millis, Arc<Kline>>, kline: Arc<Kline>) {
    let found = windows.entry(kline.start).or_insert_with(|| Arc::clone(&kline));
    if kline.quality.is_better(found.quality) || (kline.quality == found.quality && kline.trades > found.trades) {
        *found = kline;
    }
}

/// Returns whether shorter parts could add nothing: there are as many windows as asked for, or all of the time, none is missing
/// between them, and none is `gapped`.
fn is_whole(windows: &BTreeMap<Millis, Arc<Kline>>, query: &Query) -> bool {
    let whole = query.series.interval;
    let Some((oldest, newest)) = windows.first_key_value().zip(windows.last_key_value()) else { return false };
    let is_enough = windows.len() >= query.limit || (*oldest.0 <= query.from && whole.next(*newest.0) > query.to);
    let starts = windows.keys().zip(windows.keys().skip(1));
    is_enough
        && starts.into_iter().all(|(start, next)| whole.next(*start) == *next)
        && windows.values().all(|kline| kline.quality != Quality::Gapped)
}

/// Returns the longest of the stored intervals of which another one can be composed; `None` if there is none, it would have too
/// many parts, or the other one is stored itself.
#[must_use]
pub fn part_of(whole: Interval, stored: &[Interval]) -> Option<Interval> {
    parts_of(whole, stored).into_iter().next()
}

/// Returns all of the stored intervals of which another one can be composed, the longest first.
fn parts_of(whole: Interval, stored: &[Interval]) -> Vec<Interval> {
    if stored.contains(&whole) {
        return Vec::new();
    }
    let is_part = |part: &Interval| part.tiles(whole) && whole.nominal_millis() / part.nominal_millis() <= MAX_PARTS;
    let mut parts: Vec<Interval> = stored.iter().copied().filter(is_part).collect();
    parts.sort_unstable_by(|one, other| other.cmp(one));
    parts.dedup();
    parts
}

/// The parts of a window that have been read. Pages come from either side.
struct Sum {
    kline: Kline,
    parts: i64,
}

impl Sum {
    fn of(part: &Kline) -> Self {
        Self { kline: part.clone(), parts: 1 }
    }

    fn add(&mut self, part: &Kline) -> Result<(), HistoryError> {
        let kline = &mut self.kline;
        if part.start < kline.start {
            (kline.start, kline.open) = (part.start, part.open);
        }
        if part.end > kline.end {
            (kline.end, kline.close) = (part.end, part.close);
        }
        (kline.high, kline.low) = (kline.high.max(part.high), kline.low.min(part.low));
        kline.volume = sum(kline.volume, part.volume)?;
        kline.turnover = sum(kline.turnover, part.turnover)?;
        kline.buy_volume = sum(kline.buy_volume, part.buy_volume)?;
        kline.buy_turnover = sum(kline.buy_turnover, part.buy_turnover)?;
        kline.price_decimals = kline.price_decimals.max(part.price_decimals);
        kline.volume_decimals = kline.volume_decimals.max(part.volume_decimals);
        kline.trades += part.trades;
        kline.last_trade_time = kline.last_trade_time.max(part.last_trade_time);
        kline.revision += part.revision;
        kline.quality = kline.quality.worse(part.quality);
        self.parts += 1;
        Ok(())
    }

    fn kline_of(&self, series: SeriesId, start: Millis, part: Interval) -> Kline {
        let end = series.interval.next(start) - 1;
        let is_whole = self.parts * part.nominal_millis() == end + 1 - start;
        let quality = if is_whole { self.kline.quality } else { self.kline.quality.worse(Quality::Gapped) };
        Kline { series, start, end, quality, sequence: 0, emitted: end, ..self.kline.clone() }
    }
}

fn sum(one: Decimal, other: Decimal) -> Result<Decimal, HistoryError> {
    one.checked_add(other).ok_or_else(|| HistoryError("a sum of klines is too large".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture;

    /// Minutes by their number, and nothing of shorter intervals.
    #[derive(Debug)]
    struct Minutes(BTreeMap<Millis, Arc<Kline>>);

    /// Series of several intervals, each with its klines by their starts.
    #[derive(Debug)]
    struct Stored(Vec<(Interval, ByStart)>);

    type ByStart = BTreeMap<Millis, Arc<Kline>>;

    impl History for Stored {
        fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
            let of = self.0.iter().find(|(interval, _)| *interval == query.series.interval);
            let found = of.map_or_else(BTreeMap::new, |(_, klines)| klines.clone());
            let found: Vec<_> = found.range(query.from..=query.to).map(|(_, kline)| kline.clone()).collect();
            let surplus = found.len().saturating_sub(query.limit);
            Ok(match query.side {
                Side::Oldest => found.into_iter().take(query.limit).collect(),
                Side::Newest => found.into_iter().skip(surplus).collect(),
            })
        }
    }

    impl History for Minutes {
        fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
            if query.series.interval != Interval::MINUTE {
                return Ok(Vec::new());
            }
            let found = self.0.range(query.from..=query.to).map(|(_, kline)| kline.clone());
            Ok(match query.side {
                Side::Oldest => found.take(query.limit).collect(),
                Side::Newest => {
                    let mut newest: Vec<_> = found.rev().take(query.limit).collect();
                    newest.reverse();
                    newest
                }
            })
        }
    }

    fn minute(number: i64) -> Kline {
        let price = |more: i128| Decimal::new(i128::from(1_000 + number % 7) + more, 1);
        Kline {
            open: price(0),
            high: price(9),
            low: price(-9),
            close: price(1),
            volume: Decimal::new(i128::from(number + 1), 2),
            trades: number.unsigned_abs(),
            quality: Quality::Complete,
            ..fixture::kline("BTCUSDT", "1m", number, true)
        }
    }

    fn composed(minutes: impl IntoIterator<Item = i64>) -> Composed {
        let minutes = minutes.into_iter().map(|number| (number * 60_000, Arc::new(minute(number)))).collect();
        Composed::new(Arc::new(Minutes(minutes)), &["1s".parse().unwrap(), Interval::MINUTE])
    }

    fn query(interval: &str, (from, to): (Millis, Millis), limit: usize, side: Side) -> Query {
        let series = SeriesKey { interval: interval.parse().unwrap(), ..(*minute(0).series).clone() };
        Query { series, from, to, limit, side }
    }

    #[test]
    fn a_window_is_the_sum_of_its_parts_and_one_that_is_not_over_is_none() {
        let all = query("3m", (0, Millis::MAX), 10, Side::Oldest);
        let klines = composed(0..8).klines(&all).unwrap();
        assert_eq!(klines.iter().map(|kline| kline.start / 60_000).collect::<Vec<_>>(), [0, 3]);
        let second = &klines[1];
        let said = [second.open, second.high, second.low, second.close, second.volume].map(|it| it.to_string());
        assert_eq!(said, ["100.3", "101.4", "99.4", "100.6", "0.15"]);
        assert_eq!((second.end, second.trades, second.quality), (359_999, 12, Quality::Complete));
    }

    #[test]
    fn a_missing_part_is_a_gap() {
        let all = query("5m", (0, Millis::MAX), 10, Side::Newest);
        let klines = composed((0..15).filter(|number| *number != 7)).klines(&all).unwrap();
        let qualities: Vec<Quality> = klines.iter().map(|kline| kline.quality).collect();
        assert_eq!(qualities, [Quality::Complete, Quality::Gapped, Quality::Complete]);
    }

    #[test]
    fn a_window_whose_last_parts_are_missing_is_the_same_on_every_page() {
        let history = composed((0..20).filter(|number| !(8..10).contains(number)));
        let gapped = |window: (Millis, Millis)| {
            let klines = history.klines(&query("5m", window, 10, Side::Newest)).unwrap();
            klines.iter().map(|kline| (kline.start / 60_000, kline.quality)).collect::<Vec<_>>()
        };
        assert_eq!(gapped((300_000, 599_999)), [(5, Quality::Gapped)]);
        assert_eq!(gapped((300_000, 300_000)), [(5, Quality::Gapped)]);
        // Nothing is known after it.
        assert_eq!(composed(0..8).klines(&query("5m", (0, 599_999), 10, Side::Oldest)).unwrap().len(), 1);
    }

    #[test]
    fn a_request_reads_a_bounded_number_of_parts_and_returns_whole_windows() {
        let days = 200;
        let history = composed(0..days * 1_440);
        for side in [Side::Oldest, Side::Newest] {
            let klines = history.klines(&query("1D", (0, Millis::MAX), 1_000, side)).unwrap();
            // 200,000 minutes are 138 days and a part of one.
            assert_eq!(klines.len(), MAX_READ / 1_440);
            assert!(klines.iter().all(|kline| kline.quality == Quality::Complete));
            let first = if side == Side::Oldest { 0 } else { days - 138 };
            assert_eq!(klines[0].start, first * 86_400_000);
        }
    }

    /// Minutes, of which the early ones cannot be read.
    #[derive(Debug)]
    struct Damaged(Composed, Millis);

    impl History for Damaged {
        fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
            let found = self.0.inner.klines(query)?;
            if found.first().is_some_and(|kline| kline.start < self.1) {
                return Err(HistoryError("it is damaged".to_owned()));
            }
            Ok(found)
        }
    }

    #[test]
    fn no_more_parts_are_read_than_the_windows_need() {
        let damaged = Arc::new(Damaged(composed(0..500), 460 * 60_000));
        let history = Composed::new(damaged, &[Interval::MINUTE]);
        let newest = |limit| history.klines(&query("10m", (0, Millis::MAX), limit, Side::Newest));
        let starts: Vec<i64> = newest(2).unwrap().iter().map(|kline| kline.start / 60_000).collect();
        assert_eq!(starts, [480, 490]);
        assert_eq!(newest(5).unwrap_err().to_string(), "it is damaged");
    }

    #[test]
    fn the_longest_stored_interval_that_fits_is_used() {
        let stored: Vec<Interval> = ["1s", "1m", "5m", "1h"].map(|it| it.parse().unwrap()).to_vec();
        let part = |whole: &str| part_of(whole.parse().unwrap(), &stored).map(|part| part.to_string());
        assert_eq!(
            ["3m", "15m", "1D", "1M", "5m"].map(part).map(Option::unwrap_or_default),
            ["1m", "5m", "1h", "1h", ""]
        );
        assert_eq!(part("100ms"), None);
        assert_eq!(part_of(Interval::Month, &["1s".parse().unwrap()]), None, "it has too many parts");
    }

    #[test]
    fn where_the_longest_interval_lacks_something_shorter_ones_are_used() {
        let kline = |interval: &str, start: i64, trades: u64| {
            let millis = interval.parse::<Interval>().unwrap().nominal_millis();
            let made = fixture::kline("BTCUSDT", interval, start / millis, true);
            (start, Arc::new(Kline { trades, quality: Quality::Complete, ..made }))
        };
        let stored = |ten_seconds: &[i64], seconds: &[i64]| {
            let [ten, one]: [Interval; 2] = ["10s", "1s"].map(|it| it.parse().unwrap());
            let tens = ten_seconds.iter().map(|start| kline("10s", start * 1_000, 10)).collect();
            let ones = seconds.iter().map(|start| kline("1s", start * 1_000, 1)).collect();
            Composed::new(Arc::new(Stored(vec![(ten, tens), (one, ones)])), &[ten, one])
        };
        let found = |history: &Composed, limit: usize| {
            let klines = history.klines(&query("30s", (0, 119_999), limit, Side::Newest)).unwrap();
            klines.iter().map(|kline| (kline.start / 1_000, kline.trades, kline.quality)).collect::<Vec<_>>()
        };
        let (complete, gapped) = (Quality::Complete, Quality::Gapped);
        let every_second: Vec<i64> = (0..120).collect();
        let all: Vec<_> = [0, 30, 60, 90].map(|start| (start, 30, complete)).to_vec();
        // The longer one was stored for a while, or not at all.
        assert_eq!(found(&stored(&[40, 50, 60, 70, 80], &every_second), 10), all);
        assert_eq!(found(&stored(&[], &every_second), 10), all);
        assert_eq!(found(&stored(&[40], &every_second), 2), all[2..]);
        // Neither has everything.
        let seconds: Vec<i64> = (0..45).chain(90..120).collect();
        assert_eq!(
            found(&stored(&[30, 40, 60], &seconds), 10),
            [(0, 30, complete), (30, 20, gapped), (60, 10, gapped), (90, 30, complete)]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Pages of parts change nothing: the same windows as of all parts at once.
        #[test]
        fn pages_of_windows_are_parts_of_the_whole(
            count in 1..4_000_i64, limit in 1..300_usize, from in 0..5_000_i64, newest in any::<bool>(),
        ) {
            let history = composed(0..count);
            let all = history.klines(&query("6m", (from * 60_000, LATEST), usize::MAX, Side::Oldest)).unwrap();
            let side = if newest { Side::Newest } else { Side::Oldest };
            let page = history.klines(&query("6m", (from * 60_000, LATEST), limit, side)).unwrap();
            let surplus = all.len().saturating_sub(limit);
            let expected = if newest { &all[surplus..] } else { &all[..limit.min(all.len())] };
            prop_assert_eq!(&page[..], expected);
            prop_assert_eq!(all.len() as i64, (count / 6 - (from + 5) / 6).max(0));
        }
    }
}
