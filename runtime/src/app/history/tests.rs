//! Tests of the formats, of the seams between pages, and of what is written if there is nothing.

use std::sync::{Arc, Mutex};

use clap::{Args, FromArgMatches};
use klines_delivery::history::{HistoryError, Query, Side};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};

use super::*;

/// 2024-01-01T00:00:00Z.
const START: Millis = 1_704_067_200_000;
const PLAIN: Screen = Screen { color: false, width: 80, height: 24 };

/// Stored klines, and what was asked for.
#[derive(Debug, Default)]
struct Fake {
    klines: Vec<Arc<Kline>>,
    /// Stored after the first query.
    later: Option<Arc<Kline>>,
    queries: Mutex<Vec<Query>>,
}

impl History for Fake {
    fn klines(&self, query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        let mut queries = self.queries.lock().unwrap();
        queries.push(query.clone());
        let later = self.later.iter().filter(|_| queries.len() > 1);
        assert!((1..=page_reader::PAGE).contains(&query.limit), "a page is bounded: {query:?}");
        let range = query.from..=query.to;
        let matches = |kline: &&Arc<Kline>| *kline.series == query.series && range.contains(&kline.start);
        let found: Vec<Arc<Kline>> = self.klines.iter().chain(later).filter(matches).cloned().collect();
        let more = found.len().saturating_sub(query.limit);
        Ok(match query.side {
            Side::Oldest => found[..found.len() - more].to_vec(),
            Side::Newest => found[more..].to_vec(),
        })
    }
}

#[derive(Debug)]
struct Broken;

impl History for Broken {
    fn klines(&self, _query: &Query) -> Result<Vec<Arc<Kline>>, HistoryError> {
        Err(HistoryError("the disk is gone".to_owned()))
    }
}

fn args(line: &str) -> HistoryArgs {
    let command = HistoryArgs::augment_args(clap::Command::new("history"));
    let words = std::iter::once("history").chain(line.split_whitespace());
    let matches = command.try_get_matches_from(words).unwrap_or_else(|error| panic!("{error}"));
    HistoryArgs::from_arg_matches(&matches).unwrap()
}

/// Returns what is written, and how many klines it contains.
fn written(line: &str, history: &dyn History, screen: Screen) -> (String, Written) {
    let mut out = Vec::new();
    let written = write(&args(line), history, screen, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), written)
}

/// Returns a kline of a market whose price goes up and down, with two decimals.
fn kline(interval: Interval, start: Millis, window: i64) -> Kline {
    let price = |window: i64| 4_200_000 + (window * window * 7_919).rem_euclid(2_300) - (window % 40 - 20).pow(2) * 13;
    let (open, close) = (price(window), price(window + 1));
    let decimal = |mantissa: i64| Decimal::new(mantissa.into(), 2);
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").unwrap(), interval),
        start,
        end: interval.next(start) - 1,
        open: decimal(open),
        high: decimal(open.max(close) + (window * 389).rem_euclid(900)),
        low: decimal(open.min(close) - (window * 613).rem_euclid(900)),
        close: decimal(close),
        volume: Decimal::new((window * 12_347).rem_euclid(90_000).into(), 3),
        turnover: Decimal::new(i128::from(open) * 17, 2),
        buy_volume: Decimal::new(1, 3),
        buy_turnover: Decimal::new(42, 2),
        price_decimals: 2,
        volume_decimals: 3,
        trades: (window * 31).rem_euclid(1_700).unsigned_abs(),
        last_trade_time: start + 5,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: start + 60_080,
    }
}

/// Returns successive klines from `START`.
fn klines(interval: &str, count: i64) -> Vec<Kline> {
    let interval: Interval = interval.parse().unwrap();
    let starts = std::iter::successors(Some(interval.start_of(START)), |start| Some(interval.next(*start)));
    starts.zip(0..count).map(|(start, window)| kline(interval, start, window)).collect()
}

fn fake(klines: impl IntoIterator<Item = Kline>) -> Fake {
    Fake { klines: klines.into_iter().map(Arc::new).collect(), ..Fake::default() }
}

/// Returns minutes of every quality, with a gap of five minutes.
fn minutes(count: i64) -> Fake {
    let mut klines = klines("1m", count);
    klines[0].quality = Quality::Partial;
    klines[7].quality = Quality::Gapped;
    klines[8].quality = Quality::Repaired;
    klines.retain(|kline| !(START + 600_000..START + 900_000).contains(&kline.start));
    fake(klines)
}

#[test]
fn a_table_is_aligned_and_has_all_decimals() {
    let (text, written) = written("BTCUSDT", &minutes(20), PLAIN);
    assert_eq!(written, Written { klines: 15, is_cut: false });
    insta::assert_snapshot!(text);
}

#[test]
fn a_table_has_colours_only_where_trades_may_be_missing_or_come_from_candles() {
    let (text, _) = written("BTCUSDT", &minutes(20), Screen { color: true, ..PLAIN });
    let colored: Vec<&str> = text.lines().filter(|line| line.contains('\u{1b}')).collect();
    let ends = ["\u{1b}[33mpartial\u{1b}[0m", "\u{1b}[33mgapped\u{1b}[0m", "\u{1b}[36mrepaired\u{1b}[0m"];
    assert_eq!(colored.len(), ends.len());
    assert!(colored.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{colored:?}");
}

#[test]
fn times_are_as_precise_as_the_interval() {
    let time = |interval: &str| {
        let (text, _) = written(&format!("BTCUSDT {interval}"), &fake(klines(interval, 2)), PLAIN);
        text.lines().nth(2).unwrap().split("  ").next().unwrap().to_owned()
    };
    assert_eq!(
        ["100ms", "1s", "1m", "4h", "1D", "1W", "1M"].map(time),
        [
            "2024-01-01 00:00:00.100",
            "2024-01-01 00:00:01",
            "2024-01-01 00:01",
            "2024-01-01 04:00",
            "2024-01-02",
            "2024-01-08",
            "2024-02-01"
        ]
    );
}

#[test]
fn csv_and_ndjson_are_those_of_a_replay() {
    let history = minutes(20);
    let (mut rows, mut objects) = (String::new(), String::new());
    for kline in &history.klines {
        csv(kline, &CsvColumn::DEFAULT, &mut rows);
        ndjson(kline, &mut objects);
    }
    assert_eq!(written("BTCUSDT --format csv", &history, PLAIN).0, rows);
    assert_eq!(written("BTCUSDT --format ndjson", &history, PLAIN).0, objects);
}

#[test]
fn every_kline_is_written_once_across_pages() {
    let history = fake(klines("1s", 2_500));
    let starts = |flags: &str| -> Vec<Millis> {
        let (text, written) = written(&format!("BTCUSDT 1s --format csv {flags}"), &history, PLAIN);
        let starts: Vec<Millis> = text.lines().map(|row| row.split(',').nth(2).unwrap().parse().unwrap()).collect();
        assert_eq!(starts.len(), written.klines);
        starts
    };
    let seconds = |range: std::ops::Range<i64>| range.map(|second| START + second * 1_000).collect::<Vec<_>>();
    for (flags, expected) in [
        ("", 2_400..2_500),
        ("--from 2024-01-01", 0..2_500),
        ("--from 2024-01-01T00:16:39Z --to 2024-01-01T00:33:20Z", 999..2_001),
        ("--from 2024-01-01 --to 2024-01-01T00:16:39Z", 0..1_000),
        ("--to 1704067200000", 0..1),
        ("--last 1", 2_499..2_500),
        ("--last 1000", 1_500..2_500),
        ("--last 1001", 1_499..2_500),
        ("--last 2000", 500..2_500),
        ("--last 9999", 0..2_500),
        ("--last 1500 --from 2024-01-01T00:20:00Z", 1_200..2_500),
        ("--last 3 --to 2024-01-01T00:00:09.999Z", 7..10),
    ] {
        assert_eq!(starts(flags), seconds(expected), "{flags}");
    }
}

#[test]
fn a_kline_that_is_stored_while_the_last_ones_are_read_does_not_take_the_place_of_another() {
    let mut stored = klines("1m", 4);
    let later = stored.pop().map(Arc::new);
    let history = Fake { later, ..fake(stored) };
    let (text, _) = written("BTCUSDT --last 2", &history, PLAIN);
    let times: Vec<&str> = text.lines().skip(1).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(times, ["2024-01-01 00:01", "2024-01-01 00:02"]);
    assert!(history.queries.lock().unwrap().len() > 1);
}

#[test]
fn nothing_is_written_if_there_are_no_klines_and_the_message_names_series_and_range() {
    for format in ["table", "csv", "ndjson", "chart"] {
        let line = format!("spot:BTCUSDT --format {format}");
        assert_eq!(written(&line, &minutes(20), PLAIN), (String::new(), Written { klines: 0, is_cut: false }));
    }
    for (line, expected) in [
        ("spot:BTCUSDT 5m", "no klines of spot BTCUSDT 5m are stored"),
        (
            "BTCUSDT --from 2024-01-01 --to 2024-01-02",
            "no klines of linear BTCUSDT 1m from 2024-01-01T00:00:00Z to 2024-01-02T23:59:59.999Z are stored",
        ),
    ] {
        assert_eq!(nothing(&args(line)), expected);
    }
}

#[test]
fn a_chart_leaves_gaps_blank_and_marks_klines_in_which_trades_may_be_missing() {
    let (text, written) = written("BTCUSDT --format chart", &minutes(55), PLAIN);
    assert_eq!(written, Written { klines: 50, is_cut: false });
    assert!(text.lines().all(|line| line.chars().count() <= 80) && text.lines().count() == 23, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_chart_on_a_terminal_is_coloured() {
    let screen = Screen { color: true, width: 40, height: 14 };
    let (text, written) = written("BTCUSDT 4h --format chart", &fake(klines("4h", 24)), screen);
    assert_eq!(written, Written { klines: 24, is_cut: false });
    insta::assert_snapshot!(text.replace('\u{1b}', "ESC"));
}

#[test]
fn a_chart_of_klines_without_trades_is_a_line() {
    let flat = klines("1D", 30).into_iter().map(|kline| Kline {
        open: Decimal::new(5, 1),
        high: Decimal::new(5, 1),
        low: Decimal::new(5, 1),
        close: Decimal::new(5, 1),
        ..kline
    });
    let (text, _) = written("BTCUSDT 1D --format chart", &fake(flat), Screen { height: 10, ..PLAIN });
    insta::assert_snapshot!(text);
}

#[test]
fn a_chart_shows_the_newest_klines_that_fit_and_says_so_if_more_were_asked_for() {
    let history = fake(klines("1m", 300));
    let shown = |flags: &str, screen: Screen| written(&format!("BTCUSDT --format chart {flags}"), &history, screen).1;
    // A price is 8 wide, and the axis 2.
    assert_eq!(shown("", PLAIN), Written { klines: 70, is_cut: false }, "a chart is as wide as the screen");
    assert_eq!(shown("--last 200", PLAIN), Written { klines: 70, is_cut: true });
    assert_eq!(shown("--from 2024-01-01", PLAIN), Written { klines: 70, is_cut: true });
    assert_eq!(shown("--last 20", PLAIN), Written { klines: 20, is_cut: false });
    let large = Screen { width: 400, height: 60, ..PLAIN };
    assert_eq!(shown("--from 2024-01-01", large), Written { klines: 300, is_cut: false });
    let tiny = Screen { width: 1, height: 1, ..PLAIN };
    assert_eq!(shown("", tiny), Written { klines: 1, is_cut: false });
}

#[test]
fn after_a_long_gap_a_chart_begins_with_a_kline() {
    let mut klines = klines("1m", 200);
    klines.retain(|kline| !(START + 6_000_000..START + 11_700_000).contains(&kline.start));
    let (text, written) = written("BTCUSDT --format chart", &fake(klines), PLAIN);
    assert_eq!(written.klines, 5, "the 95 minutes before are blank");
    assert!(text.starts_with("linear BTCUSDT 1m, 5 klines, 2024-01-01 03:15 to 2024-01-01 03:19 UTC\n"), "{text}");
}

#[test]
fn a_closed_pipe_and_a_store_that_cannot_be_read_are_told_apart() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write(&args("BTCUSDT"), &minutes(20), PLAIN, &mut Closed).unwrap_err();
    assert!(output::is_broken_pipe(&error));
    for format in ["table", "chart"] {
        let error = write(&args(&format!("BTCUSDT --format {format}")), &Broken, PLAIN, &mut Closed).unwrap_err();
        assert!(!output::is_broken_pipe(&error));
        assert_eq!(format!("{error:#}"), "the stored klines cannot be read: the disk is gone");
    }
}
