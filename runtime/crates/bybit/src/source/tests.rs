//! Reads files of all kinds: plain and gzip, frames, records, archives in both orders, and invalid files.

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::LocalMillis;
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

/// Reads files on the thread that reads ahead.
fn read_all(paths: &[PathBuf]) -> Result<(Vec<Record>, Skipped), SourceError> {
    let mut recording = ReadAhead::open(paths, &Options::default(), &Progress::default())?;
    let mut records = Vec::new();
    while let Some(record) = recording.read()? {
        records.push(record);
    }
    Ok((records, recording.skipped()))
}

/// Returns the symbols of an archive.
fn symbols(path: &PathBuf, options: &Options) -> Vec<String> {
    let recording = Recording::open(std::slice::from_ref(path), options, &Progress::default()).unwrap();
    recording.symbols().iter().map(|(_, symbol)| symbol.to_string()).collect()
}

fn times(records: &[Record]) -> Vec<i64> {
    let time = |record: &Record| match &record.body {
        Body::Trade(trade) => trade.time.get(),
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
    assert_eq!(error.to_string(), "the input has trades of linear and spot: choose one with --category");
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
    let spot = Options { category: Some(Category::Spot), ..Options::default() };
    assert_eq!(read(std::slice::from_ref(&path), &spot).unwrap(), [first]);
    let inverse = Options { category: Some(Category::Inverse), ..Options::default() };
    let error = read(&[path], &inverse).unwrap_err();
    assert_eq!(error.to_string(), "the input has no trades of category inverse, only of linear and spot");
}

#[test]
fn lines_of_no_known_kind_are_skipped_and_counted_wherever_they_stand() {
    let folder = Folder::new();
    let record = r#"{"t":"connect","conn":"A","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/linear"}
{"t":"recv","conn":"A","ts":3.25,"data":"frame"}"#;
    let archive = "id,timestamp,price,volume,side\n1,10,5,1,buy";
    let header = "# recorded by hand\n{\"recorder\":\"x\",\"version\":2}\n\nHTTP/1.1 200 OK\n".repeat(100);
    for (name, content) in [("frames", FRAME), ("records", record), ("AUSDT_2025-01-01.csv", archive)] {
        let bare = read(&[folder.write(name, content)], &Options::default()).unwrap();
        assert!(!bare.is_empty(), "{name}");
        let path = folder.write(name, &format!("{header}{content}\n"));
        let (records, skipped) = read_all(&[path]).unwrap();
        assert_eq!(records, bare, "{name}");
        assert_eq!(skipped, Skipped { comments: 100, texts: 100, objects: 100, ..Skipped::default() }, "{name}");
    }
    let header = "id,timestamp,price,volume,side";
    let joined = format!("{header}\n1,10,5,1,buy\n# next day\n{header}\n1,20,5,1,buy\n");
    let (records, skipped) = read_all(&[folder.write("AUSDT_2025-01-02.csv", &joined)]).unwrap();
    assert_eq!(times(&records), [10, 20]);
    assert_eq!(skipped.to_string(), "skipped 1 comment, 1 line of text");
    let skipped = Skipped { messages: 2, incomplete: 1, ..Skipped::default() };
    assert_eq!(skipped.to_string(), "skipped 2 messages of other connections; the end of 1 archive is missing");
}

#[test]
fn records_of_other_kinds_and_connections_are_skipped_and_counted() {
    let folder = Folder::new();
    let lines = [
        r#"{"t":"http","conn":"rest","ts":0.5,"data":"{\"retCode\":0}"}"#,
        r#"{"t":"connect","conn":"A","ts":1.0,"addr":"wss://stream.bybit.com/v5/public/linear"}"#,
        r#"{"t":"connect","conn":"B","ts":1.0,"addr":"wss://stream.binance.com/ws"}"#,
        r#"{"t":"recv","conn":"B","ts":1.5,"data":"{\"topic\":\"publicTrade.X\"}"}"#,
        "not a record",
        r#"{"t":"recv","conn":"A","ts":3.25,"data":"frame"}"#,
        // A record that was damaged may have contained trades: it becomes a frame that cannot be decoded.
        r#"{"t":"recv","conn":"A","ts":3.3,"data":"{\"topic\":\"publicTrade.AUSDT\",\"#,
        r#"{"t":"recv","conn":"A","ts":3.5,"data":"last"}"#,
    ];
    let (records, skipped) = read_all(&[folder.write("session.jsonl", &lines.join("\n"))]).unwrap();
    let frames: Vec<&str> = records.iter().filter_map(|record| record.body.frame()).collect();
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert_eq!((frames[0], frames[2]), ("frame", "last"));
    assert!(frames[1].contains(r#""topic":"publicTrade.AUSDT""#), "{}", frames[1]);
    assert_eq!(skipped, Skipped { texts: 1, records: 1, messages: 1, ..Skipped::default() });
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
            Body::Trade(trade) => trade.price.mantissa,
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
        let Body::Trade(trade) = &records[0].body else { panic!() };
        assert_eq!((trade.time.get(), &trade.id), (1_747_442_146_179, &TradeId::None), "{name}");
        let rejected = Body::Rejected(trade.symbol, trade.time);
        assert_eq!(records[1].body, rejected, "a price of zero is not valid");
        assert_eq!(symbols(&folder.write(name, text), &Options::default()), ["UNIUSDC"], "{name}");
    }
    let unnamed = folder.write("trades.csv", text);
    assert!(matches!(read(std::slice::from_ref(&unnamed), &Options::default()), Err(SourceError::NoSymbol { .. })));
    let symbol = Some(Symbol::new("XRPUSDT").unwrap());
    assert_eq!(symbols(&unnamed, &Options { symbol, ..Options::default() }), ["XRPUSDT"]);
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
    assert!(message(folder.write("notes", "hello\n")).starts_with("notes: has no line of a known kind"));
    assert!(message(folder.0.path().join("absent")).starts_with("absent: No such file"));
    let archive = "id,timestamp,price,volume,side\n1,5,2,3,buy\n2,noon,2,3,buy\n3,7,2,3,buy\n";
    let path = folder.write("AUSDT_2025-01-01.csv", archive);
    assert_eq!(message(path), "AUSDT_2025-01-01.csv, line 3: timestamp \"noon\" is not a time");
    let cut = "id,timestamp,price,volume,side\n1,5,2\n";
    assert_eq!(message(folder.write("AUSDT_2025-01-02.csv", cut)), "AUSDT_2025-01-02.csv, line 2: has 3 of 5 columns");
    let mut packed = std::fs::read(folder.pack("a.gz", FRAME)).unwrap();
    packed.truncate(packed.len() / 2);
    std::fs::write(folder.0.path().join("cut.gz"), packed).unwrap();
    assert!(message(folder.0.path().join("cut.gz")).starts_with("cut.gz: "));
}

#[test]
fn an_archive_and_a_recording_of_one_category_are_refused_with_both_names() {
    let folder = Folder::new();
    let header = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional";
    let row = "1717243506.1,BTCUSDT,Buy,1,2,PlusTick,a,1,1,1";
    let archive = folder.write("BTCUSDT2024-06-01.csv", &format!("{header}\n{row}\n"));
    let recording = folder.write("frames.ndjson", FRAME);
    let paths = [recording.clone(), archive.clone()];
    let error = read(&paths, &Options::default()).unwrap_err().to_string();
    for path in [archive, recording] {
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    assert!(error.contains("would count twice: replay one after the other"), "{error}");
    // A spot archive beside them is another category, of which one is chosen.
    let spot = folder.write("BTCUSDT_2024-06-01.csv", "id,timestamp,price,volume,side\n1,1717243506100,2,1,buy\n");
    let paths = [paths[0].clone(), spot];
    assert!(matches!(read(&paths, &Options::default()), Err(SourceError::Mixed { .. })));
    for category in [Category::Linear, Category::Spot] {
        assert_eq!(read(&paths, &Options { category: Some(category), ..Options::default() }).unwrap().len(), 1);
    }
    // A file without trades belongs to the others.
    let klines = folder.write("klines.ndjson", r#"{"topic":"kline.1.BTCUSDT","ts":5,"data":[]}"#);
    assert!(read(&[klines, paths[1].clone()], &Options::default()).is_err());
}

#[test]
fn one_damaged_time_does_not_put_a_file_of_frames_behind_the_others() {
    let folder = Folder::new();
    let frame = |ts: i64| format!(r#"{{"topic":"publicTrade.BTCUSDT","ts":{ts},"data":[]}}"#);
    let start = 1_717_243_506_000;
    let write = |name: &str, times: &[i64]| {
        let frames: Vec<String> = times.iter().map(|at| frame(start + at)).collect();
        folder.write(name, &frames.join("\n"))
    };
    let two = write("two.ndjson", &[10, 30, 50, 70]);
    for far in [5_000_000_000_000, -1_700_000_000_000] {
        for place in 0..5 {
            let mut times = vec![0, 20, 40, 60];
            times.insert(place, far);
            let records = read(&[write("one.ndjson", &times), two.clone()], &Options::default()).unwrap();
            let doubtful: Vec<&Record> =
                records.iter().filter(|record| matches!(record.body, Body::Doubtful(_))).collect();
            assert_eq!(doubtful.len(), 1, "{far} {place}");
            assert_eq!(doubtful[0].body, Body::Doubtful(frame(start + far)));
            let others: Vec<&str> = records.iter().filter_map(|record| record.body.frame()).collect();
            assert_eq!(others, [0, 10, 20, 30, 40, 50, 60, 70].map(|at| frame(start + at)), "{far} {place}");
        }
    }
    // Two that agree are believed from the second one on.
    let apart = read(&[write("apart.ndjson", &[0, 10, 20, 200_000_000, 200_000_010])], &Options::default()).unwrap();
    assert!(matches!(apart[3].body, Body::Doubtful(_)) && matches!(apart[4].body, Body::Frame(_)));
}

#[test]
fn frames_without_a_trade_in_many_lines_need_their_category() {
    let folder = Folder::new();
    let ticker = format!(r#"{{"topic":"tickers.BTCUSDT","ts":1717243506000,"data":"{}"}}"#, "x".repeat(1_000));
    let many = format!("{}{FRAME}", format!("{ticker}\n").repeat(1_100));
    let paths = [folder.write("frames.ndjson", &many)];
    let error = read(&paths, &Options::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("has no trades in its first 1 MiB, so that its category is not known: name it with --category")
    );
    assert!(read(&paths, &Options { category: Some(Category::Linear), ..Options::default() }).is_ok());
    let few = folder.write("few.ndjson", &format!("{}{FRAME}", format!("{ticker}\n").repeat(900)));
    let recording = Recording::open(&[few], &Options::default(), &Progress::default()).unwrap();
    assert_eq!(recording.category(), Category::Linear);
}

/// Archives in both orders, plain and packed, with rows that are out of order by up to a second, cut into days anywhere,
/// give what a stable sort of all rows gives.
mod archives {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str =
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional";

    /// A row by its time in units of 100 µs; its price is its number.
    fn row(number: usize, time: i64) -> String {
        let (seconds, rest) = (time / 10_000, time % 10_000);
        format!("{seconds}.{rest:04},BTCUSDT,Buy,1,{},PlusTick,id-{number},1e8,1,1", number + 1)
    }

    fn prices(paths: &[PathBuf]) -> Vec<i64> {
        let (records, _) = read_all(paths).unwrap();
        let price = |record: &Record| match &record.body {
            Body::Trade(trade) => trade.price.mantissa,
            other => panic!("{other:?}"),
        };
        records.iter().map(price).collect()
    }

    fn write(folder: &Folder, name: &str, rows: &[String], form: usize) -> PathBuf {
        let mut rows = rows.to_vec();
        if form & 1 == 1 {
            rows.reverse();
        }
        let text = format!("{HEADER}\n{}\n", rows.join("\n"));
        if form & 2 == 2 { folder.pack(&format!("{name}.gz"), &text) } else { folder.write(name, &text) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rows_come_in_the_order_of_their_times(
            steps in prop::collection::vec((1i64..40_000, 0i64..10_000), 2..3_000),
            cut in 0.0f64..1.0,
            forms in (0usize..4, 0usize..4),
        ) {
            let (mut clock, mut times) = (10_000_000_000_000i64, Vec::new());
            for (step, back) in steps {
                clock += step;
                times.push(clock - if back > 9_000 { back } else { 0 });
            }
            let rows: Vec<String> = times.iter().enumerate().map(|(number, time)| row(number, *time)).collect();
            let mut expected: Vec<usize> = (0..times.len()).collect();
            expected.sort_by_key(|number| times[*number]);
            let expected: Vec<i64> = expected.into_iter().map(|number| number as i64 + 1).collect();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let at = 1 + ((times.len() - 2) as f64 * cut) as usize;
            // The files must not overlap by more than what can be put in order.
            prop_assume!(times[0] < times[at] && times[..at].iter().max() < Some(&(times[at] + 10_000)));
            let folder = Folder::new();
            let one = write(&folder, "BTCUSDT2286-11-20.csv", &rows[..at], forms.0);
            let two = write(&folder, "BTCUSDT2286-11-21.csv", &rows[at..], forms.1);
            prop_assert_eq!(prices(&[two, one]), expected);
        }
    }

    #[test]
    fn long_files_are_read_in_blocks_in_both_directions() {
        let folder = Folder::new();
        // 20,000 rows of about 80 bytes are many blocks of 64 KiB.
        let rows: Vec<String> =
            (0..20_000).map(|number| row(number, 17_000_000_000_000 + number as i64 * 100)).collect();
        let expected: Vec<i64> = (1..=20_000).collect();
        for form in 0..4 {
            assert_eq!(prices(&[write(&folder, "BTCUSDT2023-11-14.csv", &rows, form)]), expected, "{form}");
        }
    }

    #[test]
    fn files_of_one_symbol_that_overlap_are_refused_with_both_names() {
        let folder = Folder::new();
        let spot = |name: &str, hours: &[i64]| {
            let rows = hours.iter().map(|hour| format!("1,{},5,1,buy\n", 1_735_689_600_000 + hour * 3_600_000));
            let text = format!("id,timestamp,price,volume,side\n{}", rows.collect::<String>());
            if name.ends_with("gz") { folder.pack(name, &text) } else { folder.write(name, &text) }
        };
        let month = spot("AUSDT-2025-01.csv.gz", &[1, 500]);
        let (day, again) = (spot("AUSDT_2025-01-01.csv", &[1, 20]), spot("AUSDT_2025-01-01.csv.gz", &[1, 20]));
        let (later, next) = (spot("AUSDT_2025-01-31.csv", &[721]), spot("AUSDT_2025-02-01.csv", &[745]));
        for (one, other) in [(&month, &day), (&month, &later), (&day, &again), (&later, &month)] {
            let error = read(&[one.clone(), other.clone()], &Options::default()).unwrap_err().to_string();
            assert!(error.contains("both have trades of AUSDT of the same time"), "{error}");
            for path in [one, other] {
                assert!(error.contains(path.to_str().unwrap()), "{error}");
            }
        }
        assert!(read(&[month, next], &Options::default()).is_ok());
        // Files of other symbols may overlap.
        let other = spot("BUSDT_2025-01-01.csv", &[1, 20]);
        assert!(read(&[day, other], &Options::default()).is_ok());
        // A packed file that goes on into the next one is noticed at its end.
        let long = spot("AUSDT_2025-01-01.csv.gz", &[1, 40]);
        let error = read(&[long, spot("AUSDT_2025-01-02.csv", &[30])], &Options::default()).unwrap_err().to_string();
        assert!(error.contains("both have trades of AUSDT"), "{error}");
    }

    #[test]
    fn newest_first_files_that_were_put_together_are_read_whole() {
        let folder = Folder::new();
        let rows: Vec<String> = (0..40).map(|number| row(number, 17_000_000_000_000 + number as i64)).collect();
        let newest_first = |rows: &[String]| {
            let rows: Vec<&str> = rows.iter().rev().map(String::as_str).collect();
            format!("{HEADER}\n{}\n", rows.join("\n"))
        };
        let text = format!("\u{feff}{}{}", newest_first(&rows[20..]), newest_first(&rows[..20]));
        let expected: Vec<i64> = (1..=40).collect();
        assert_eq!(prices(&[folder.write("BTCUSDT2023-11-14.csv", &text)]), expected);
        assert_eq!(prices(&[folder.pack("BTCUSDT2023-11-14.csv.gz", &text)]), expected);
    }

    #[test]
    fn a_trade_of_a_derivative_in_two_files_is_noticed() {
        let folder = Folder::new();
        let row =
            |at: i64| row(1, 17_000_639_999_900 + at).replace("id-1", &format!("00000000-0000-4000-8000-{at:012x}"));
        let one: Vec<String> = (0..90).map(row).collect();
        let one = write(&folder, "BTCUSDT2023-11-21.csv", &one, 0);
        let both: Vec<String> = (89..200).map(row).collect();
        let both = write(&folder, "BTCUSDT2023-11-22.csv", &both, 0);
        let error = read_all(&[one.clone(), both]).unwrap_err().to_string();
        assert!(error.contains("both have trades of BTCUSDT of the same time"), "{error}");
        let next: Vec<String> = (90..200).map(row).collect();
        let next = write(&folder, "BTCUSDT2023-11-22.csv", &next, 0);
        assert_eq!(read_all(&[one, next]).unwrap().0.len(), 200);
    }

    #[test]
    fn a_file_with_trades_of_two_symbols_is_refused() {
        let folder = Folder::new();
        let rows = [row(1, 17_000_000_000_000), row(2, 17_000_000_000_001).replace("BTCUSDT", "ETHUSDT")];
        let path = write(&folder, "BTCUSDT2023-11-14.csv", &rows, 0);
        let error = read(&[path], &Options::default()).unwrap_err().to_string();
        assert!(error.contains("line 3: is a trade of ETHUSDT, but the file begins with BTCUSDT"), "{error}");
    }

    #[test]
    fn a_damaged_row_is_an_error_with_its_line_in_both_directions() {
        let folder = Folder::new();
        let mut rows: Vec<String> = (0..3_000).map(|number| row(number, 17_000_000_000_000 + number as i64)).collect();
        rows[1_500] = rows[1_500].replace("Buy", "Hold");
        for (form, line) in [(0, 1_502), (1, 1_501)] {
            let path = write(&folder, "BTCUSDT2023-11-14.csv", &rows, form);
            let error = read(&[path], &Options::default()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("line {line}: side \"Hold\" is neither buy nor sell")), "{error}");
        }
    }

    #[test]
    fn a_row_far_from_its_neighbours_is_refused_with_its_line() {
        let folder = Folder::new();
        let (second, day) = (10_000, 864_000_000);
        for (step, reason) in [
            (-62 * second, "is 61 s earlier than a row before it: the file is in no order of time"),
            (33 * day, "is 33 days later than the row before it"),
        ] {
            let mut times: Vec<i64> = (0..3_000).map(|at| 17_000_000_000_000 + at).collect();
            // Every row after this one is as far away, so that the last row does not show another order.
            times.iter_mut().skip(2_000).take(900).for_each(|time| *time += step);
            let rows: Vec<String> = times.iter().enumerate().map(|(number, time)| row(number, *time)).collect();
            let error = read_all(&[write(&folder, "BTCUSDT2023-11-14.csv", &rows, 0)]).unwrap_err().to_string();
            assert!(error.contains(&format!("line 2002: {reason}")), "{error}");
        }
        let late: Vec<String> = [0, 59 * second, second].map(|at| row(1, 17_000_000_000_000 + at)).to_vec();
        assert_eq!(read_all(&[write(&folder, "BTCUSDT2023-11-15.csv", &late, 0)]).unwrap().0.len(), 3);
    }

    #[test]
    fn a_row_that_was_cut_at_the_end_of_a_file_is_left_out() {
        let folder = Folder::new();
        let rows: Vec<String> = (0..3_000).map(|number| row(number, 17_000_000_000_000 + number as i64)).collect();
        for form in 0..2 {
            let path = write(&folder, "BTCUSDT2023-11-14.csv", &rows, form);
            let text = std::fs::read_to_string(&path).unwrap();
            // In the side, in the id, in a column that is not read, and behind the last one: whole rows can be missing.
            for (cut, rows) in [(40, 2_999), (12, 2_999), (3, 2_999), (1, 3_000)] {
                std::fs::write(&path, &text[..text.len() - cut]).unwrap();
                let (records, skipped) = read_all(std::slice::from_ref(&path)).unwrap();
                assert_eq!((records.len(), skipped.incomplete), (rows, 1), "{form} {cut}");
            }
        }
    }
}
