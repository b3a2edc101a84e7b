//! Reads files of all kinds: plain and gzip, frames, records, archives in both orders, and invalid files.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use klines_domain::trade::TradeId;

use super::*;

const FRAME: &str = r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":20,"data":[{"T":19,"s":"ETHUSDT","S":"Buy","v":"1","p":"2","L":"PlusTick","i":"a","BT":false}]}"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn pack(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let mut encoder = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap();
        path
    }
}

fn read(paths: &[PathBuf], options: &Options) -> Result<Vec<Record>, SourceError> {
    let mut recording = Recording::open(paths, options, &Progress::default())?;
    let mut records = Vec::new();
    while let Some(record) = recording.read()? {
        records.push(record);
    }
    Ok(records)
}

fn times(records: &[Record]) -> Vec<i64> {
    let time = |record: &Record| match &record.body {
        Body::Trade(_, trade) => trade.time.get(),
        other => panic!("{other:?}"),
    };
    records.iter().map(time).collect()
}

#[test]
fn frames_are_read_from_plain_and_gzip_files_with_their_category() {
    let folder = Folder::new();
    let text = format!("{FRAME}\n\n{FRAME}\n");
    let plain = read(&[folder.write("a.ndjson", &text)], &Options::default()).unwrap();
    let packed = read(&[folder.pack("a.ndjson.gz", &text)], &Options::default()).unwrap();
    assert_eq!(plain, packed);
    assert_eq!(plain.len(), 2);
    assert_eq!(
        plain[0],
        Record { received: None, category: Category::Linear, connection: None, body: Body::Frame(FRAME.into()) }
    );
    let spot = FRAME.replace(r#""L":"PlusTick","i":"a""#, r#""i":"229""#);
    assert_eq!(read(&[folder.write("s", &spot)], &Options::default()).unwrap()[0].category, Category::Spot);
    let inverse = FRAME.replace("ETHUSDT", "ETHUSD");
    assert_eq!(read(&[folder.write("i", &inverse)], &Options::default()).unwrap()[0].category, Category::Inverse);
}

#[test]
fn records_are_ordered_by_receipt_and_take_their_category_from_the_connection() {
    let folder = Folder::new();
    let lines = [
        r#"{"t":"connect","conn":"A","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/linear"}"#,
        r#"{"t":"recv","conn":"A","ts":3.25,"data":"second"}"#,
        r#"{"t":"send","conn":"A","ts":1.5,"addr":"wss://stream.bybit.com/v5/public/linear","data":"{}"}"#,
        r#"{"t":"connect","conn":"B","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/spot?x=1"}"#,
        r#"{"t":"recv","conn":"B","ts":2.5,"data":"first"}"#,
    ];
    let path = folder.write("session.jsonl", &lines.join("\n"));
    let error = read(std::slice::from_ref(&path), &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "the input holds trades of linear and spot: choose one with --category");
    let mut mixed =
        Recording::open_mixed(std::slice::from_ref(&path), &Options::default(), &Progress::default()).unwrap();
    let first = Record {
        received: Some(LocalMillis::new(2_500)),
        category: Category::Spot,
        connection: Some(Connection(0, 1)),
        body: Body::Frame("first".into()),
    };
    let second = Record {
        received: Some(LocalMillis::new(3_250)),
        category: Category::Linear,
        connection: Some(Connection(0, 0)),
        body: Body::Frame("second".into()),
    };
    assert_eq!(mixed.read().unwrap(), Some(first.clone()));
    assert_eq!(mixed.read().unwrap(), Some(second));
    assert_eq!(mixed.read().unwrap(), None);
    let spot = Options { category: Some(Category::Spot), symbol: None };
    assert_eq!(read(std::slice::from_ref(&path), &spot).unwrap(), [first]);
    let inverse = Options { category: Some(Category::Inverse), symbol: None };
    let error = read(&[path], &inverse).unwrap_err();
    assert_eq!(error.to_string(), "the input holds nothing of category inverse, only linear and spot");
}

#[test]
fn header_lines_of_a_recorder_are_skipped_at_the_start_of_every_kind_of_file() {
    let folder = Folder::new();
    let record = r#"{"t":"connect","conn":"A","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/linear"}
{"t":"recv","conn":"A","ts":3.25,"data":"frame"}"#;
    let archive = "id,timestamp,price,volume,side\n1,10,5,1,buy";
    let header = "# recorded by hand\n{\"recorder\":\"x\",\"version\":2,\"exchange\":{\"name\":\"bybit\"}}\n\n{\"t\":\"header\"}\n";
    for (name, content) in [("frames", FRAME), ("records", record), ("AUSDT_2025-01-01.csv", archive)] {
        let bare = read(&[folder.write(name, content)], &Options::default()).unwrap();
        assert!(!bare.is_empty(), "{name}");
        let path = folder.write(name, &format!("{header}{content}\n"));
        assert_eq!(read(std::slice::from_ref(&path), &Options::default()).unwrap(), bare, "{name}");
        let recording = Recording::open(&[path.clone(), path], &Options::default(), &Progress::default()).unwrap();
        assert_eq!(recording.header_lines(), 6, "{name}");
    }
}

#[test]
fn frames_and_later_lines_are_no_header() {
    let folder = Folder::new();
    let other = r#"{"recorder":"x"}"#;
    let frames = [r#"{"success":true,"op":"subscribe"}"#, r#"{"op":"pong"}"#, FRAME, other, "# not at the start"];
    let path = folder.write("frames", &frames.join("\n"));
    let recording = Recording::open(std::slice::from_ref(&path), &Options::default(), &Progress::default()).unwrap();
    assert_eq!(recording.header_lines(), 0);
    assert_eq!(read(&[path], &Options::default()).unwrap().len(), frames.len());
    let error = |text: &str| read(&[folder.write("alone", text)], &Options::default()).unwrap_err().to_string();
    assert!(error(other).ends_with(r#"line 1 is "{\"recorder\":\"x\"}""#), "{}", error(other));
    assert!(error(&format!("{other}\nhello")).ends_with(r#"line 2 is "hello""#));
    let long = format!("{other}\n").repeat(101);
    assert!(error(&format!("{long}{FRAME}")).contains("line 101 is"), "{}", error(&format!("{long}{FRAME}")));
}

#[test]
fn newest_first_archives_are_reversed_before_they_are_sorted() {
    let folder = Folder::new();
    let header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional";
    let row = |time: &str, price: u32| format!("{time},BTCUSDT,Buy,1,{price},PlusTick,id-{price},1e8,1,1");
    let oldest_first = [row("10.0001", 1), row("10.0001", 2), row("10.0002", 3), row("12", 4)];
    let mut newest_first = oldest_first.clone();
    newest_first.reverse();
    let prices = |rows: &[String]| {
        let path = folder.write("BTCUSDT2020-03-25.csv", &format!("{header}\n{}\n", rows.join("\n")));
        let records = read(&[path], &Options::default()).unwrap();
        assert_eq!(times(&records), [10_000, 10_000, 10_000, 12_000]);
        let price = |record: &Record| match &record.body {
            Body::Trade(_, trade) => trade.price.mantissa,
            other => panic!("{other:?}"),
        };
        records.iter().map(price).collect::<Vec<_>>()
    };
    assert_eq!(prices(&oldest_first), [1, 2, 3, 4]);
    assert_eq!(prices(&newest_first), [1, 2, 3, 4]);
}

#[test]
fn spot_archives_take_the_symbol_from_the_file_name_or_the_options() {
    let folder = Folder::new();
    let text = "id,timestamp,price,volume,side,rpi\n1,1747442146179,6.016,0.76,sell,0\n2,1747442146179,0,1,buy,0\n";
    for name in ["UNIUSDC_2025-05-17.csv", "spot_UNIUSDC_2025-05-17.csv", "UNIUSDC-2025-05.csv.gz"] {
        let records = read(&[folder.write(name, text)], &Options::default()).unwrap();
        let Body::Trade(symbol, trade) = &records[0].body else { panic!() };
        assert_eq!(
            (symbol.as_str(), trade.time.get(), &trade.id),
            ("UNIUSDC", 1_747_442_146_179, &TradeId::None),
            "{name}"
        );
        let rejected = Body::Rejected(symbol.clone(), trade.time);
        assert_eq!(records[1].body, rejected, "a price of zero is not valid");
    }
    let unnamed = folder.write("trades.csv", text);
    assert!(matches!(read(std::slice::from_ref(&unnamed), &Options::default()), Err(SourceError::NoSymbol { .. })));
    let symbol = Some(Symbol::new("XRPUSDT").unwrap());
    let records = read(&[unnamed], &Options { category: None, symbol }).unwrap();
    assert!(matches!(&records[0].body, Body::Trade(symbol, _) if symbol.as_str() == "XRPUSDT"));
}

#[test]
fn several_files_are_merged_by_time() {
    let folder = Folder::new();
    let file = |name: &str, times: &[u32]| {
        let rows: String = times.iter().map(|time| format!("1,{time},5,1,buy\n")).collect();
        folder.write(name, &format!("id,timestamp,price,volume,side\n{rows}"))
    };
    let paths = [file("AUSDT_2025-01-01.csv", &[10, 30, 50]), file("BUSDT_2025-01-01.csv", &[20, 30, 60])];
    assert_eq!(times(&read(&paths, &Options::default()).unwrap()), [10, 20, 30, 30, 50, 60]);
}

#[test]
fn an_invalid_recording_is_an_error_with_file_and_line() {
    let folder = Folder::new();
    let message = |path: PathBuf| {
        let folder = format!("{}/", folder.0.path().display());
        read(&[path], &Options::default()).unwrap_err().to_string().replace(&folder, "")
    };
    assert_eq!(message(folder.write("empty", "\n\n")), "empty: is empty");
    assert!(message(folder.write("notes", "hello\n")).starts_with("notes: neither Bybit frames"));
    assert!(message(folder.0.path().join("absent")).starts_with("absent: No such file"));
    let archive = "id,timestamp,price,volume,side\n1,5,2,3,buy\n2,noon,2,3,buy\n3,7,2,3,buy\n";
    let path = folder.write("AUSDT_2025-01-01.csv", archive);
    assert_eq!(message(path), "AUSDT_2025-01-01.csv, line 3: timestamp \"noon\" is not a time");
    let cut = "id,timestamp,price,volume,side\n1,5,2\n";
    assert_eq!(message(folder.write("AUSDT_2025-01-02.csv", cut)), "AUSDT_2025-01-02.csv, line 2: has no side");
    let mut packed = std::fs::read(folder.pack("a.gz", FRAME)).unwrap();
    packed.truncate(packed.len() / 2);
    std::fs::write(folder.0.path().join("cut.gz"), packed).unwrap();
    assert!(message(folder.0.path().join("cut.gz")).starts_with("cut.gz: "));
}
