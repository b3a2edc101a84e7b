//! Tests the counting rule, and compares the real recording.

use super::*;

const FIXTURE: &str = include_str!("../../../../tests/fixtures/bybit-20260809.wrapped.jsonl");

fn trade(time: Millis, price: &str, size: &str) -> String {
    format!(
        r#"{{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":{time},"data":[{{"T":{time},"s":"BTCUSDT","S":"Buy","v":"{size}","p":"{price}","L":"PlusTick","i":"{time}-{price}","BT":false,"RPI":false,"seq":1}}]}}"#
    )
}

fn push(start: Millis, stamped: Millis, values: [&str; 6]) -> String {
    let [open, high, low, close, volume, turnover] = values;
    let end = start + 59_999;
    format!(
        r#"{{"topic":"kline.1.BTCUSDT","data":[{{"start":{start},"end":{end},"interval":"1","open":"{open}","close":"{close}","high":"{high}","low":"{low}","volume":"{volume}","turnover":"{turnover}","confirm":false,"timestamp":{stamped}}}],"ts":{stamped},"type":"snapshot"}}"#
    )
}

fn report(frames: &[String]) -> Report {
    let mut verifier = Verifier::default();
    for frame in frames {
        verifier.frame(Category::Linear, frame);
    }
    verifier.report()
}

#[test]
fn the_recorded_pushes_are_equal_except_one_that_lacks_a_trade() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fixture.jsonl");
    std::fs::write(&path, FIXTURE).unwrap();
    let mut mixed = crate::source::Recording::open_mixed(
        &[path],
        &crate::source::Options::default(),
        &crate::source::Progress::default(),
    )
    .unwrap();
    let mut verifier = Verifier::default();
    while let Some(record) = mixed.read().unwrap() {
        let crate::source::Body::Frame(frame) = &record.body else { panic!() };
        verifier.frame(record.category, frame);
    }
    let report = verifier.report();
    assert_eq!((report.equal, report.behind, report.wrong, report.skipped), (29, 1, 0, 6));
    assert_eq!(report.unread, 0);
    assert!(report.passed());
}

#[test]
fn trades_recorded_after_the_push_count_by_their_time() {
    let frames = [
        push(0, 59_000, ["4", "4", "4", "4", "1", "4"]),
        push(60_000, 61_000, ["4", "5", "4", "5", "2", "10"]),
        trade(60_900, "5", "2"),
        trade(61_001, "9", "9"),
    ];
    let report = report(&frames);
    assert_eq!((report.equal, report.skipped), (1, 1));
}

#[test]
fn pushes_of_an_interrupted_window_are_skipped() {
    const ALL: [&str; 6] = ["4", "4", "4", "4", "1", "4"];
    let mut verifier = Verifier::default();
    let take = |verifier: &mut Verifier, frames: &[String]| {
        frames.iter().for_each(|frame| verifier.frame(Category::Linear, frame));
    };
    let flat = ["4", "4", "4", "4", "0", "0"];
    take(&mut verifier, &[push(0, 59_000, ALL), push(60_000, 70_000, flat)]);
    verifier.interrupt(Category::Linear);
    verifier.resume(Category::Linear);
    // What the exchange traded meanwhile is in its pushes of this window, and in the open of the next one.
    take(&mut verifier, &[push(60_000, 90_000, ["4", "9", "4", "9", "5", "45"]), trade(95_000, "8", "1")]);
    take(&mut verifier, &[push(60_000, 110_000, ["4", "9", "4", "8", "6", "53"])]);
    take(&mut verifier, &[push(120_000, 121_000, ["8", "8", "8", "8", "0", "0"])]);
    verifier.pause(Category::Linear, ExchangeMillis::new(130_000), ExchangeMillis::new(300_000));
    take(&mut verifier, &[push(300_000, 301_000, ["7", "7", "7", "7", "0", "0"])]);
    take(&mut verifier, &[push(300_000, 302_000, ["7", "7", "7", "7", "0", "0"])]);
    take(&mut verifier, &[push(360_000, 361_000, ["7", "7", "7", "7", "0", "0"])]);
    let report = verifier.report();
    assert_eq!((report.equal, report.wrong, report.skipped), (3, 0, 5), "{:?}", report.differences);
}

#[test]
fn behind_and_wrong_are_distinguished_by_the_last_200_ms() {
    let seen = push(0, 59_000, ["4", "4", "4", "4", "1", "4"]);
    let empty = |stamped| push(60_000, stamped, ["4", "4", "4", "4", "0", "0"]);
    let behind = report(&[seen.clone(), trade(60_900, "5", "2"), empty(61_000)]);
    assert_eq!((behind.behind, behind.wrong, behind.passed()), (1, 0, true));
    let wrong = report(&[seen, trade(60_700, "5", "2"), empty(61_000)]);
    assert_eq!((wrong.behind, wrong.wrong, wrong.passed()), (0, 1, false));
    let fields: Vec<&str> = wrong.differences[0].fields.iter().map(|(field, _, _)| *field).collect();
    assert_eq!(fields, ["high", "close", "volume", "turnover"]);
}

#[test]
fn a_report_without_comparisons_does_not_pass() {
    assert!(!report(&[]).passed());
    assert!(!report(&[push(0, 1_000, ["4"; 6])]).passed());
}
