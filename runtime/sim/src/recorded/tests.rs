//! Tests of the replay, on excerpts of the recording of 2026-08-09 (source: bmoscon/cryptofeed, branch v3,
//! sample_data/BYBIT.jsonl.zst).

use std::io::Write as _;

use super::*;

const ACK: &str =
    r#"{"success":true,"ret_msg":"","conn_id":"d8bu1olkndm7crnfs1e0-j6akw","req_id":"","op":"subscribe"}"#;
const TRADE: &str = r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":1786310820511,"data":[{"T":1786310820510,"s":"ETHUSDT","S":"Buy","v":"0.02","p":"1922.52","L":"PlusTick","i":"a519448f-56e5-58e6-90a1-004086e0e530","BT":false,"RPI":false,"seq":430879434767}]}"#;
const KLINE: &str = r#"{"topic":"kline.1.ETHUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1","open":"1922.43","close":"1922.48","high":"1922.48","low":"1922.42","volume":"15.7","turnover":"30182.0724","confirm":false,"timestamp":1786310819124}],"ts":1786310819124,"type":"snapshot"}"#;
const SPOT: &str = r#"{"topic":"publicTrade.ETHUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417","T":1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"ETHUSDT","BT":false,"RPI":false}]}"#;

/// A temporary file that is removed on drop.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("bybit-sim-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn record(conn: &str, ts: &str, data: &str) -> String {
    format!(r#"{{"t":"recv","conn":"{conn}","ts":{ts},"data":{}}}"#, crate::wire::quoted(data))
}

fn replay(recorded: &mut Recorded, now: i64) -> Vec<String> {
    let mut events = Vec::new();
    recorded.next_events(now, &mut events);
    let texts = events.into_iter().map(|event| match event {
        MarketEvent::Frame { text, .. } => text,
        MarketEvent::Trades { .. } => unreachable!(),
    });
    texts.collect()
}

#[test]
fn bare_frames_are_replayed_byte_for_byte_with_their_spacing() {
    let file = TempFile::new("bare", [ACK, KLINE, TRADE, "garbage"].join("\n").as_bytes());
    let recording = Recording::read(&file.0, Category::Linear).unwrap().with_times(Times::Kept);
    assert_eq!((recording.len(), recording.skipped()), (2, 1));
    let mut recorded = Recorded::new(recording);
    assert_eq!(recorded.begin(5), 1786310819124);
    assert_eq!(replay(&mut recorded, 1786310819124), [KLINE]);
    assert!(replay(&mut recorded, 1786310820510).is_empty());
    assert_eq!(replay(&mut recorded, 1786310820511), [TRADE]);
    assert!(recorded.has_topic(Category::Linear, "kline.1.ETHUSDT"));
    let instruments: Vec<_> =
        recorded.instruments().iter().map(|i| (i.symbol(), i.tick.padded(), i.step.padded())).collect();
    assert_eq!(instruments, [("ETHUSDT", "0.01".to_owned(), "0.01".to_owned())]);
}

#[test]
fn gzip_records_take_their_category_from_the_address() {
    let lines = [
        r#"{"t":"connect","conn":"a","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/linear"}"#.to_owned(),
        r#"{"t":"connect","conn":"b","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/spot?x=1"}"#.to_owned(),
        record("b", "1786310822.0251", SPOT),
        record("a", "1786310820.6200001", TRADE),
        record("a", "1786310820.1", ACK),
    ];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.join("\n").as_bytes()).unwrap();
    let file = TempFile::new("wrapped.gz", &gzip.finish().unwrap());
    let recording = Recording::read(&file.0, Category::Inverse).unwrap();
    assert_eq!(recording.skipped(), 0);
    let seen: Vec<_> = recording.frames.iter().map(|f| (f.category, f.at, f.fills.len())).collect();
    assert_eq!(seen, [(Category::Linear, 1786310820620, 1), (Category::Spot, 1786310822025, 1)]);
}

#[test]
fn times_shifted_to_now_keep_minutes_aligned_and_other_bytes_unchanged() {
    let file = TempFile::new("now", [KLINE, TRADE].join("\n").as_bytes());
    let mut recorded = Recorded::new(Recording::read(&file.0, Category::Linear).unwrap());
    let wall = 1_800_000_012_345;
    let start = recorded.begin(wall);
    assert!(start <= wall && wall - start < 60_000, "{start}");
    let shift = start - 1786310819124;
    assert_eq!(shift % 60_000, 0);
    let frames = replay(&mut recorded, wall + 60_000);
    let shifted = |at: i64| (at + shift).to_string();
    assert_eq!(
        frames[0],
        KLINE
            .replace("1786310760000", &shifted(1786310760000))
            .replace("1786310819999", &shifted(1786310819999))
            .replace("1786310819124", &shifted(1786310819124))
    );
    assert_eq!(
        frames[1],
        TRADE.replace("1786310820511", &shifted(1786310820511)).replace("1786310820510", &shifted(1786310820510))
    );
}

#[test]
fn a_file_without_frames_is_an_error() {
    let file = TempFile::new("empty", b"hello\n");
    let error = Recording::read(&file.0, Category::Linear).unwrap_err();
    assert!(matches!(error, RecordingError::Empty { lines: 1, .. }), "{error}");
    let missing = Recording::read("/nonexistent/recording", Category::Linear).unwrap_err();
    assert!(matches!(missing, RecordingError::Io { .. }), "{missing}");
}
