//! `replay` computes the same klines as independent aggregators, digit for digit.

mod holes;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use klines::app::player::{CsvLayout, Format, Replay, Sorted, Summary, Target};
use klines_bybit::source::Progress;
use klines_domain::aggregator::{Fill, Open, Settings};
use klines_domain::symbol::Category;
use sha2::{Digest, Sha256};

use crate::support::stream::Stream;

/// A buffer that can be read after the writer is dropped.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn settings(intervals: &str) -> Settings {
    let intervals = intervals.split(',').map(|text| text.parse().unwrap()).collect();
    Settings { update_interval: None, ..Settings::new(Category::Linear, intervals) }
}

fn replay(file: &Path, settings: Settings, closed_only: bool) -> (Vec<String>, Summary) {
    let buffer = Buffer::default();
    let mut sink = Sorted::new(Format::Csv(CsvLayout::default()), closed_only, Target::open(Box::new(buffer.clone())));
    let replay =
        Replay { files: vec![file.to_owned()], category: None, symbols: Vec::new(), settings, closes_days: false };
    let summary = replay.run(&Progress::default(), &mut sink).unwrap();
    let text = String::from_utf8(std::mem::take(&mut buffer.0.lock().unwrap())).unwrap();
    (text.lines().map(str::to_owned).collect(), summary)
}

fn digest(rows: &mut [String]) -> String {
    rows.sort_unstable();
    hex(&Sha256::digest(rows.join("\n")))
}

/// The reference sums were computed in integers by the rules of Bybit Klines Streamer, on the stream that other
/// aggregators were measured with.
#[test]
fn two_million_trades_give_the_reference_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trades.ndjson");
    let mut stream = Stream::new(200, 2_000_000);
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
    let (mut hash, mut frame) = (Sha256::new(), String::new());
    while stream.frame(&mut frame) > 0 {
        hash.update(&frame);
        out.write_all(frame.as_bytes()).unwrap();
        frame.clear();
    }
    out.into_inner().unwrap();
    assert_eq!(
        hex(&hash.finalize()),
        "ca97594d2439dfd5aba84bbfba84bb6d00cd01bf7334f23c6b58acd77ba13345",
        "the stream itself"
    );
    let settings = Settings { open: Open::FirstTrade, fill: Fill::Never, ..settings("1m,5m,1h") };
    let (mut rows, summary) = replay(&file, settings, false);
    assert_eq!(summary.tally.counted, 2_000_000);
    assert_eq!(rows.len(), 52_060);
    assert_eq!(digest(&mut rows), "8a721b91fa219fde19cc5c5cf8a4249a6220320f0632acc940955dff5a4819d3");
    assert_eq!(rows[0], "1h,S000USDT,1704067200000,9999.7,10005.1,9986.3,9988.7,12154364,121504380097.3,4914");
}

/// The first hour of a recorded archive; the reference sums were computed by the contract's rules with the decimals of
/// another language.
#[test]
fn a_thin_archive_is_filled_with_flat_klines() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/spot_UNIUSDC_2025-05-17.csv"));
    let (mut rows, summary) = replay(file, settings("1m"), false);
    assert_eq!((summary.tally.received, summary.tally.counted), (60, 60));
    assert_eq!(rows[0], "1m,UNIUSDC,1747442100000,6.016,6.016,6,6,5.05,30.31216,3");
    // 67 minutes from the one of the first trade to the one of the last, 11 of them with trades.
    assert_eq!((rows.len(), rows.iter().filter(|row| row.ends_with(",0,0,0")).count()), (67, 56));
    assert_eq!(digest(&mut rows), "6eb2eae8e3a5a3a0d8092dad9002042c5a8980f1200249e1ee97bec764ba3927");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
