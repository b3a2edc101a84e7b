//! Holes in a recording are marked, and no missing kline is made up.

use std::path::PathBuf;

use klines::app::player::{Format, Replay, Sorted, Target};
use klines_bybit::source::Progress;
use klines_domain::aggregator::{Open, Settings};
use serde_json::Value;

use super::{Buffer, settings};

/// 2024-01-01, in seconds.
const DAY: i64 = 1_704_067_200;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, lines: &[String]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    }
}

/// A kline by its start in seconds after `DAY`, with its quality and number of trades.
type Row = (i64, String, u64);

fn replayed(files: Vec<PathBuf>, interval: &str, symbol: &str) -> Vec<Row> {
    replayed_with(settings(interval), files, symbol)
}

fn replayed_with(settings: Settings, files: Vec<PathBuf>, symbol: &str) -> Vec<Row> {
    let buffer = Buffer::default();
    let mut sink = Sorted::new(Format::Ndjson, true, Target::open(Box::new(buffer.clone())));
    let replay = Replay { files, category: None, symbols: Vec::new(), settings, closes_days: false };
    replay.run(&Progress::default(), &mut sink).unwrap();
    let text = String::from_utf8(std::mem::take(&mut buffer.0.lock().unwrap())).unwrap();
    let klines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_symbol = klines.filter(|kline| kline["symbol"] == symbol);
    let row = |kline: Value| {
        let start = kline["start"].as_i64().unwrap() / 1_000 - DAY;
        (start, kline["quality"].as_str().unwrap().to_owned(), kline["trades"].as_u64().unwrap())
    };
    of_symbol.map(row).collect()
}

fn connect(name: &str, at: f64) -> String {
    let ts = DAY as f64 + at;
    format!(r#"{{"t":"connect","conn":"{name}","ts":{ts},"addr":"wss://stream.bybit.com/v5/public/linear"}}"#)
}

fn exchanged(kind: &str, name: &str, at: f64, data: &str) -> String {
    let data = Value::from(data);
    format!(r#"{{"t":"{kind}","conn":"{name}","ts":{},"data":{data}}}"#, DAY as f64 + at)
}

/// A frame with one trade that happened when it was stamped, 100 ms before it was received.
fn trade(name: &str, at: f64, symbol: &str) -> String {
    let stamp = ((DAY as f64 + at) * 1_000.0).round() as i64 - 100;
    let row = format!(
        r#"{{"T":{stamp},"s":"{symbol}","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"00000000-0000-4000-8000-{stamp:012x}","BT":false}}"#
    );
    let frame = format!(r#"{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{stamp},"data":[{row}]}}"#);
    exchanged("recv", name, at, &frame)
}

fn expected(rows: &[(i64, &str, u64)]) -> Vec<Row> {
    rows.iter().map(|(start, quality, trades)| (*start, (*quality).to_owned(), *trades)).collect()
}

#[test]
fn a_reconnect_inside_a_recording_is_a_gap() {
    let folder = Folder::new();
    let (ask, answer) = (r#"{"op":"subscribe","args":["publicTrade.AUSDT"]}"#, r#"{"success":true,"op":"subscribe"}"#);
    let lines = [
        connect("one", 0.0),
        trade("one", 0.6, "AUSDT"),
        trade("one", 2.6, "AUSDT"),
        connect("one", 5.0),
        exchanged("send", "one", 5.1, ask),
        // A frame of another topic, which was answered sooner: not all topics are acknowledged yet.
        trade("one", 6.2, "BUSDT"),
        exchanged("recv", "one", 7.3, answer),
        trade("one", 8.4, "AUSDT"),
        trade("one", 10.6, "AUSDT"),
        trade("one", 12.6, "AUSDT"),
        // The other connection was never interrupted.
        connect("two", 0.0),
        trade("two", 0.7, "CUSDT"),
        trade("two", 4.7, "CUSDT"),
        trade("two", 12.7, "CUSDT"),
    ];
    let path = folder.write("session.jsonl", &lines);
    // No trade of seconds 3 to 7 is known: the last frame before the reconnect came in second 2, and the first one of
    // this topic after it in second 8.
    let mut rows = vec![(0, "partial", 1), (1, "complete", 0), (2, "gapped", 1), (8, "gapped", 1)];
    rows.extend(complete(9..12, &[10]));
    assert_eq!(replayed(vec![path.clone()], "1s", "AUSDT"), expected(&rows));
    let mut rows = vec![(0, "partial", 1)];
    rows.extend(complete(1..12, &[4]));
    assert_eq!(replayed(vec![path.clone()], "1s", "CUSDT"), expected(&rows));
    assert_eq!(replayed(vec![path], "5s", "AUSDT"), expected(&[(0, "gapped", 2), (5, "gapped", 1)]));
}

/// The seconds of a range without a hole, each with whether there is a trade.
fn complete(range: std::ops::Range<i64>, traded: &[i64]) -> Vec<(i64, &'static str, u64)> {
    range.map(|at| (at, "complete", u64::from(traded.contains(&at)))).collect()
}

#[test]
fn what_is_between_two_recordings_is_a_gap() {
    let folder = Folder::new();
    let one = [connect("A", 0.0), trade("A", 0.6, "AUSDT"), trade("A", 2.6, "AUSDT")];
    let two = [connect("A", 60.0), trade("A", 60.4, "AUSDT"), trade("A", 60.8, "BUSDT"), trade("A", 62.6, "AUSDT")];
    let paths = vec![folder.write("one.jsonl", &one), folder.write("two.jsonl", &two)];
    let rows =
        [&[(0, "partial", 1), (1, "complete", 0), (2, "gapped", 1), (60, "gapped", 1)][..], &complete(61..62, &[])];
    assert_eq!(replayed(paths.clone(), "1s", "AUSDT"), expected(&rows.concat()));
    // The second recording has another symbol. What happened before is not known.
    assert_eq!(replayed(paths, "1s", "BUSDT"), expected(&[(60, "gapped", 1), (61, "complete", 0)]));
}

#[test]
fn a_reconnect_under_another_name_is_a_gap() {
    let folder = Folder::new();
    let lines = [
        connect("A", 0.0),
        trade("A", 0.6, "AUSDT"),
        trade("A", 2.6, "AUSDT"),
        connect("B", 30.0),
        trade("B", 30.4, "AUSDT"),
        trade("B", 32.6, "AUSDT"),
    ];
    let rows = [(0, "partial", 1), (1, "complete", 0), (2, "gapped", 1), (30, "gapped", 1), (31, "complete", 0)];
    assert_eq!(replayed(vec![folder.write("session.jsonl", &lines)], "1s", "AUSDT"), expected(&rows));
    // The recorder was killed in the middle of a record, and the next one wrote on behind it.
    let mut cut = trade("A", 2.8, "AUSDT");
    cut.truncate(cut.len() / 3);
    let lines = [
        connect("A", 0.0),
        trade("A", 0.6, "AUSDT"),
        trade("A", 2.6, "AUSDT"),
        cut + &connect("A", 30.0),
        trade("A", 30.4, "AUSDT"),
        trade("A", 32.6, "AUSDT"),
    ];
    assert_eq!(replayed(vec![folder.write("cut.jsonl", &lines)], "1s", "AUSDT"), expected(&rows));
}

#[test]
fn a_symbol_that_another_connection_carries_has_no_gap() {
    let folder = Folder::new();
    let mut lines = vec![connect("A", 0.0), connect("B", 0.1)];
    for second in 0..12 {
        let at = second as f64 + 0.5;
        // A is down from second 3 on and back in second 8; B is lost in second 9.
        if !(3..8).contains(&second) {
            lines.push(trade("A", at, "AUSDT"));
        }
        if second == 3 {
            lines.push(connect("A", at + 0.1));
        }
        if second < 10 {
            lines.push(trade("B", at, "AUSDT"));
        }
    }
    lines.push(connect("B", 11.8));
    lines.push(trade("A", 12.5, "AUSDT"));
    let all: Vec<i64> = (0..12).collect();
    let rows = [&[(0, "partial", 1)][..], &complete(1..12, &all)].concat();
    assert_eq!(replayed(vec![folder.write("session.jsonl", &lines)], "1s", "AUSDT"), expected(&rows));
}

#[test]
fn a_frame_with_a_wrong_time_marks_the_moment_at_which_it_stands() {
    let folder = Folder::new();
    let frame = |at: f64| {
        let record: Value = serde_json::from_str(&trade("A", at, "AUSDT")).unwrap();
        record["data"].as_str().unwrap().to_owned()
    };
    let stamp = |at: f64| ((DAY as f64 + at) * 1_000.0).round() as i64 - 100;
    // The time of the third frame, or of its trade: without its last digit, a day and two days too early, far too late,
    // and, of the frame, a minute too early, which a trade can really be.
    let right = stamp(2.6);
    for (key, wrong) in [right / 10, right - 90_000_000, right - 180_000_000, right * 2]
        .into_iter()
        .flat_map(|wrong| [("ts", wrong), ("T", wrong)])
        .chain([("ts", right - 60_000)])
    {
        let bad = frame(2.6).replace(&format!(r#""{key}":{right}"#), &format!(r#""{key}":{wrong}"#));
        let lines = [frame(0.6), frame(1.6), bad, frame(3.6), frame(4.6), frame(6.6)];
        let found = replayed(vec![folder.write("frames.ndjson", &lines)], "1s", "AUSDT");
        let quality = |start: i64| found.iter().find(|row| row.0 == start).map(|row| row.1.as_str());
        assert_ne!(quality(2), Some("complete"), "{key} {wrong}: {found:?}");
        assert_eq!((quality(5), found.len() <= 6), (Some("complete"), true), "{key} {wrong}: {found:?}");
    }
}

#[test]
fn a_pause_between_two_files_of_frames_is_a_gap() {
    let folder = Folder::new();
    let frame = |at: f64, symbol: &str| {
        let record: Value = serde_json::from_str(&trade("A", at, symbol)).unwrap();
        record["data"].as_str().unwrap().to_owned()
    };
    let answer = || r#"{"success":true,"op":"subscribe"}"#.to_owned();
    let one = folder.write("one.ndjson", &[answer(), frame(0.6, "AUSDT"), frame(2.6, "AUSDT")]);
    let soon = folder.write("soon.ndjson", &[answer(), frame(5.4, "AUSDT"), frame(6.6, "AUSDT")]);
    let late = folder.write("late.ndjson", &[frame(20.4, "AUSDT"), frame(20.6, "BUSDT"), frame(22.6, "AUSDT")]);
    let rows = [(0, "partial", 1), (1, "complete", 0), (2, "complete", 1), (3, "complete", 0), (4, "complete", 0)];
    let rows = [&rows[..], &[(5, "complete", 1)]].concat();
    assert_eq!(replayed(vec![soon, one.clone()], "1s", "AUSDT"), expected(&rows));
    let rows = [(0, "partial", 1), (1, "complete", 0), (2, "gapped", 1), (20, "gapped", 1), (21, "complete", 0)];
    assert_eq!(replayed(vec![late.clone(), one.clone()], "1s", "AUSDT"), expected(&rows));
    assert_eq!(replayed(vec![late, one], "1s", "BUSDT"), expected(&[(20, "gapped", 1), (21, "complete", 0)]));
}

fn archive(times: &[i64]) -> Vec<String> {
    let rows = times.iter().map(|at| format!("1,{},5,1,buy", (DAY + at) * 1_000));
    std::iter::once("id,timestamp,price,volume,side".to_owned()).chain(rows).collect()
}

#[test]
fn a_day_without_an_archive_is_a_gap() {
    const HOUR: i64 = 3_600;
    let folder = Folder::new();
    let day = 24 * HOUR;
    let first = folder.write("AUSDT_2024-01-01.csv", &archive(&[20 * HOUR]));
    let second = folder.write("AUSDT_2024-01-02.csv", &archive(&[day + HOUR]));
    let third = folder.write("AUSDT_2024-01-03.csv", &archive(&[2 * day + HOUR, 2 * day + 9 * HOUR]));
    let other = folder.write("BUSDT_2024-01-02.csv", &archive(&[day + 5 * HOUR, day + 13 * HOUR]));
    let at =
        |rows: &[(i64, &str, u64)]| expected(&rows.iter().map(|row| (row.0 * HOUR, row.1, row.2)).collect::<Vec<_>>());

    // A kline that opens with the first trade, because the price before it is not known, is not complete.
    let whole = replayed(vec![first.clone(), second, third.clone()], "4h", "AUSDT");
    assert_eq!(whole[0].1, "gapped");
    assert!(whole[1..].iter().all(|(_, quality, _)| quality == "complete"), "{whole:?}");
    assert_eq!(whole.len(), 9, "{whole:?}");

    let with_a_hole = replayed(vec![first.clone(), third.clone(), other.clone()], "4h", "AUSDT");
    assert_eq!(with_a_hole, at(&[(20, "gapped", 1), (48, "gapped", 1), (52, "complete", 0)]));
    let days = replayed(vec![first.clone(), third.clone(), other.clone()], "1D", "AUSDT");
    assert_eq!(days, at(&[(0, "partial", 1)]), "the third day is still open");
    let other = replayed(vec![first, third, other], "4h", "BUSDT");
    assert_eq!(
        other,
        at(&[(28, "gapped", 1), (32, "complete", 0), (36, "complete", 1), (40, "complete", 0), (44, "complete", 0)])
    );
}

#[test]
fn the_missing_end_of_an_archive_is_a_gap() {
    const HOUR: i64 = 3_600;
    let folder = Folder::new();
    let day = 24 * HOUR;
    let newest_first = |name: &str, rows: &[i64]| {
        let mut lines = archive(rows);
        lines[1..].reverse();
        folder.write(name, &lines)
    };
    // The last line of each first file is incomplete: a trade of the ninth hour, and what follows, is missing.
    let mut lines = archive(&[0, HOUR, 5 * HOUR]);
    lines.push("4,17041".to_owned());
    let cut = folder.write("AUSDT_2024-01-01.csv", &lines);
    std::fs::write(&cut, std::fs::read_to_string(&cut).unwrap().trim_end()).unwrap();
    let next = folder.write("AUSDT_2024-01-02.csv", &archive(&[day + HOUR]));
    let after = folder.write("AUSDT_2024-01-03.csv", &archive(&[2 * day]));
    let rows = replayed(vec![cut, next, after], "4h", "AUSDT");
    let at = |hour: i64| rows.iter().find(|row| row.0 == hour * HOUR).map(|row| (row.1.as_str(), row.2));
    assert_eq!((at(4), at(8), at(20)), (Some(("gapped", 1)), None, None), "{rows:?}");
    assert_eq!((at(24), at(28)), (Some(("gapped", 1)), Some(("complete", 0))), "{rows:?}");
    // Of a newest-first file, the earliest rows are missing.
    let (first, second) = ("BUSDT_2024-01-01.csv", "BUSDT_2024-01-02.csv");
    let whole = newest_first(first, &[0, HOUR, 20 * HOUR]);
    let late = newest_first(second, &[day + 9 * HOUR, day + 17 * HOUR]);
    let text = std::fs::read_to_string(&late).unwrap();
    std::fs::write(&late, format!("{text}2,17041")).unwrap();
    let rows = replayed(vec![whole, late], "4h", "BUSDT");
    let at = |hour: i64| rows.iter().find(|row| row.0 == hour * HOUR).map(|row| (row.1.as_str(), row.2));
    assert_eq!((at(20), at(24), at(28)), (Some(("complete", 1)), None, None), "{rows:?}");
    assert_eq!((at(32), at(36)), (Some(("gapped", 1)), Some(("complete", 0))), "{rows:?}");
}

#[test]
fn a_trade_just_before_midnight_does_not_make_the_day_before_complete() {
    let folder = Folder::new();
    let day = 86_400_000;
    let rows = |times: &[i64]| {
        let rows = times.iter().map(|at| format!("1,{},5,1,buy", DAY * 1_000 + at));
        std::iter::once("id,timestamp,price,volume,side".to_owned()).chain(rows).collect::<Vec<_>>()
    };
    let first = folder.write("AUSDT_2024-01-01.csv", &rows(&[0, 1_000, day + 50]));
    let third = folder.write("AUSDT_2024-01-03.csv", &rows(&[2 * day - 50, 2 * day + 1_000, 3 * day - 1_000]));
    let klines = replayed(vec![first, third], "4h", "AUSDT");
    assert!(
        klines.iter().all(|(start, ..)| *start < 86_400 + 4 * 3_600 || *start >= 86_400 + 20 * 3_600),
        "{klines:?}"
    );
}

#[test]
fn an_archive_of_a_month_holds_its_quiet_days() {
    let folder = Folder::new();
    let day = 86_400;
    let january = folder.write("AUSDT-2024-01.csv", &archive(&[29 * day]));
    let february = folder.write("AUSDT-2024-02.csv", &archive(&[33 * day, 34 * day + 60]));
    let days = replayed(vec![january, february], "1D", "AUSDT");
    assert_eq!((days.len(), days[0].1.as_str()), (5, "gapped"));
    assert!(days[1..].iter().all(|(_, quality, _)| quality == "complete"), "{days:?}");
}

#[test]
fn an_unreadable_trade_marks_the_time_at_which_it_may_have_happened() {
    let folder = Folder::new();
    let lines = |damage: fn(String) -> String| {
        let trades = (0..12).map(|at| trade("one", f64::from(at) + 0.6, "AUSDT")).enumerate();
        let trades = trades.map(|(at, line)| if at == 4 { damage(line) } else { line });
        std::iter::once(connect("one", 0.0)).chain(trades).collect::<Vec<_>>()
    };
    let rows = |at_4: (&'static str, u64)| {
        // The first kline after a missing second opens with its own first trade.
        let next = if at_4.0 == "none" { "gapped" } else { "complete" };
        let row = |at| match at {
            4 => (at, at_4.0, at_4.1),
            5 => (at, next, 1),
            _ => (at, "complete", 1),
        };
        let mut rows: Vec<_> = (0..11).map(row).collect();
        rows[0].1 = "partial";
        // A second without a readable trade has no kline at all, not even a flat one.
        rows.retain(|row| row.1 != "none");
        expected(&rows)
    };
    let whole = folder.write("whole.jsonl", &lines(|line| line));
    assert_eq!(replayed(vec![whole], "1s", "AUSDT"), rows(("complete", 1)));
    let side = folder.write("side.jsonl", &lines(|line| line.replace("Buy", "None")));
    assert_eq!(replayed(vec![side], "1s", "AUSDT"), rows(("none", 0)), "a frame");
    let price = folder.write("price.jsonl", &lines(|line| line.replace(r#"\"p\":\"2"#, r#"\"p\":\"x"#)));
    assert_eq!(replayed(vec![price], "1s", "AUSDT"), rows(("none", 0)), "a row of a frame");
}

#[test]
fn a_frame_without_a_receipt_time_is_received_before_the_next_one() {
    let folder = Folder::new();
    let frame = |at: i64, price: &str| {
        let stamp = DAY * 1_000 + at;
        let row = format!(
            r#"{{"T":{stamp},"s":"AUSDT","S":"Buy","v":"1","p":"{price}","L":"PlusTick","i":"00000000-0000-4000-8000-{stamp:012x}","BT":false}}"#
        );
        format!(r#"{{"topic":"publicTrade.AUSDT","type":"snapshot","ts":{stamp},"data":[{row}]}}"#)
    };
    let mut frames: Vec<_> = (0..10).map(|at| frame(200 + at * 500, "2")).collect();
    frames[5] = frame(2_700, "x");
    let row = folder.write("row.jsonl", &frames);
    frames[5] = frames[5].replace("Buy", "None");
    let whole = folder.write("whole.jsonl", &frames);
    let rows = |last| expected(&[(0, "partial", 2), (1, "complete", 2), (2, "gapped", 1), (3, last, 2)]);
    let replayed = |file| {
        let settings = settings("1s");
        replayed_with(Settings { open: Open::FirstTrade, ..settings }, vec![file], "AUSDT")
    };
    assert_eq!(replayed(row), rows("complete"), "a row has its own time");
    assert_eq!(replayed(whole), rows("gapped"), "it may have been as late as the next frame");
    frames[5] = frame(4_102_444_799_999 - DAY * 1_000, "x");
    let far = folder.write("far.jsonl", &frames);
    assert_eq!(replayed(far), rows("gapped"), "whatever time the row has");
}

#[test]
fn an_archive_row_that_is_no_trade_marks_its_time() {
    let folder = Folder::new();
    let bad = |at: i64| archive(&[at])[1].replace(",5,1,", ",0,1,");
    let mut rows = archive(&[0, 1, 2, 3, 5]);
    rows.insert(4, bad(2));
    // Impossible times: the replay neither starts at the first one nor runs on to the last one.
    rows.insert(1, bad(1 - DAY));
    rows.push(bad(2_000_000_000));
    let path = folder.write("AUSDT_2024-01-01.csv", &rows);
    let replayed = replayed(vec![path], "1s", "AUSDT");
    let rows = [(0, "gapped", 1), (1, "complete", 1), (2, "gapped", 1), (3, "gapped", 1)];
    assert_eq!(replayed, expected(&rows), "the first and the last kline open with their own trade");
}
