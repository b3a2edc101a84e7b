//! Measures the store beside one row a kline in SQLite, in the same run. Prints a table, and asserts nothing, because
//! machines differ.
//!
//! `cargo bench -p klines-store --bench store [-- SYMBOLS [HOURS]] [alone]`; 20 symbols and 24 hours of `1s`, every second traded,
//! take a minute. With 1,200 symbols and 24 hours there are 103,680,000 klines, which take about 2 GB of disk; `alone` leaves out
//! SQLite, which takes an hour for them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a benchmark may panic"
)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::history::{Query, Side};
use klines_domain::decimal::Decimal;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::LocalMillis;
use klines_store::reader::Reader;
use klines_store::writer::{Limits, Writer};
use rusqlite::{Connection, params};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const T0: i64 = 1_704_067_200_000;
/// Later than any kline.
const LATER: LocalMillis = LocalMillis::new(i64::MAX);
const SECONDS_AN_HOUR: i64 = 3_600;
/// How far back a run repairs, by default.
const HORIZON: i64 = 24 * SECONDS_AN_HOUR * 1_000;
/// How many readers read beside the writer.
const READERS: usize = 100;
/// For how long writing is measured beside readers.
const BESIDE: Duration = Duration::from_secs(10);

/// A generator of random numbers that repeats itself (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most).cast_signed()
    }
}

/// A market of one symbol: a price that walks, and one to ten trades a second.
struct Market {
    series: SeriesId,
    random: Random,
    price: i64,
    sequence: u64,
}

impl Market {
    fn new(number: u64) -> Self {
        let symbol = Symbol::new(&format!("S{number}USDT")).unwrap();
        let series = SeriesId::new(Category::Linear, symbol, "1s".parse().unwrap());
        Self { series, random: Random(number + 1), price: 6_400_000 + number.cast_signed(), sequence: 0 }
    }

    fn next(&mut self, start: i64) -> Arc<Kline> {
        let trades = 1 + self.random.below(10);
        let open = self.price;
        let (mut high, mut low, mut sums) = (open, open, [0_i128; 4]);
        for _ in 0..trades {
            self.price += self.random.below(21) - 10;
            (high, low) = (high.max(self.price), low.min(self.price));
            let size = i128::from(1 + self.random.below(2_000));
            let value = size * i128::from(self.price);
            let is_buy = i128::from(self.random.below(2));
            for (sum, more) in sums.iter_mut().zip([size, value, size * is_buy, value * is_buy]) {
                *sum += more;
            }
        }
        self.sequence += 1;
        let [volume, turnover, buy_volume, buy_turnover] = sums;
        let price = |price: i64| Decimal::new(i128::from(price), 2);
        Arc::new(Kline {
            series: self.series,
            start,
            end: start + 999,
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(self.price),
            volume: Decimal::new(volume, 3),
            turnover: Decimal::new(turnover, 5),
            buy_volume: Decimal::new(buy_volume, 3),
            buy_turnover: Decimal::new(buy_turnover, 5),
            price_decimals: 2,
            volume_decimals: 3,
            trades: trades.unsigned_abs(),
            last_trade_time: start + 900 + self.random.below(100),
            confirm: true,
            revision: 0,
            quality: Quality::Complete,
            sequence: self.sequence,
            emitted: start + 1_080,
        })
    }
}

/// One row a kline: what is usually done.
struct Rows(Connection);

impl Rows {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                CREATE TABLE klines (series INTEGER, start INTEGER, revision INTEGER, open INTEGER, high INTEGER, low INTEGER,
                    close INTEGER, volume INTEGER, turnover INTEGER, buy_volume INTEGER, buy_turnover INTEGER, trades INTEGER,
                    last_trade_time INTEGER, quality INTEGER, sequence INTEGER, PRIMARY KEY (series, start, revision))
                    WITHOUT ROWID;",
            )
            .unwrap();
        Self(connection)
    }

    fn append(&mut self, klines: &[Arc<Kline>]) {
        let transaction = self.0.transaction().unwrap();
        {
            let insert = "INSERT INTO klines VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)";
            let mut insert = transaction.prepare_cached(insert).unwrap();
            for (at, kline) in klines.iter().enumerate() {
                let number = |decimal: Decimal| i64::try_from(decimal.mantissa()).unwrap();
                insert
                    .execute(params![
                        i64::try_from(at).unwrap(),
                        kline.start,
                        kline.revision,
                        number(kline.open),
                        number(kline.high),
                        number(kline.low),
                        number(kline.close),
                        number(kline.volume),
                        number(kline.turnover),
                        number(kline.buy_volume),
                        number(kline.buy_turnover),
                        i64::try_from(kline.trades).unwrap(),
                        kline.last_trade_time,
                        0,
                        i64::try_from(kline.sequence).unwrap()
                    ])
                    .unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// Returns the number of series.
    fn series(&self) -> i64 {
        self.0.query_row("SELECT max(series) + 1 FROM klines", [], |row| row.get(0)).unwrap()
    }

    fn read(&self, series: usize) -> usize {
        let select =
            "SELECT start, open, high, low, close, volume, turnover, buy_volume, buy_turnover, trades, last_trade_time,
            sequence FROM klines WHERE series = ?1 ORDER BY start";
        let mut select = self.0.prepare_cached(select).unwrap();
        let mut rows = select.query([i64::try_from(series).unwrap()]).unwrap();
        let mut count = 0;
        while let Some(row) = rows.next().unwrap() {
            let sum: i64 = (0..12).map(|column| row.get::<_, i64>(column).unwrap()).fold(0, i64::wrapping_add);
            count += usize::from(std::hint::black_box(sum) != 0);
        }
        count
    }
}

fn show(what: &str, store: &str, rows: &str) {
    println!("{what:<44} {store:>22} {rows:>22}");
}

fn rate(count: u64, took: Duration) -> String {
    format!("{:.0} klines/s", count as f64 / took.as_secs_f64())
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn query(series: SeriesId, limit: usize) -> Query {
    Query { series: (*series).clone(), from: 0, to: i64::MAX, limit, side: Side::Newest }
}

/// Opens a store again and begins a run. Returns how long each took.
fn again(path: &Path, symbols: u64) -> (Duration, Duration) {
    let began = Instant::now();
    let mut writer = Writer::open(path, "live", Limits::none()).unwrap();
    let opened = began.elapsed();
    let began = Instant::now();
    // What is unfinished of the last 15 minutes is read, because these windows are shorter than a minute.
    let left = writer.begin_run(1, HORIZON).unwrap();
    let begun = began.elapsed();
    assert_eq!(left.last.len() as u64, symbols);
    writer.close().unwrap();
    (opened, begun)
}

/// Writes ticks of all symbols. Returns how long appending took.
fn fill(markets: &mut [Market], hours: i64, mut append: impl FnMut(&[Arc<Kline>])) -> Duration {
    let mut took = Duration::ZERO;
    for second in 0..hours * SECONDS_AN_HOUR {
        let tick: Vec<_> = markets.iter_mut().map(|market| market.next(T0 + second * 1_000)).collect();
        let began = Instant::now();
        append(&tick);
        took += began.elapsed();
    }
    took
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let symbols = numbers.first().copied().unwrap_or(20);
    let hours = numbers.get(1).copied().unwrap_or(24).cast_signed();
    let is_alone = std::env::args().any(|argument| argument == "alone");
    let count = symbols * (hours * SECONDS_AN_HOUR).unsigned_abs();
    println!("{symbols} symbols, {hours} hours of 1s, {count} klines with 1 to 10 trades each\n");
    show("", "store", "one row a kline");
    let markets = || (0..symbols).map(Market::new).collect::<Vec<_>>();

    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("klines.db");
    let mut writer = Writer::open(&path, "live", Limits::none()).unwrap();
    let mut all = markets();
    let took = fill(&mut all, hours, |tick| {
        writer.append(tick).unwrap();
        writer.maintain(LATER).unwrap();
    });
    // As after `kill -9`: the log stays as it is.
    drop(writer);
    let (opened, begun) = again(&path, symbols);

    let rows = (!is_alone).then(|| {
        let mut rows = Rows::open(&other.path().join("rows.db"));
        let took = fill(&mut markets(), hours, |tick| rows.append(tick));
        rows.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        (rows, took)
    });
    let beside =
        |text: fn(&(Rows, Duration), u64) -> String| rows.as_ref().map_or_else(String::new, |rows| text(rows, count));
    show("written, a transaction a second", &rate(count, took), &beside(|(_, took), count| rate(count, *took)));
    let each = |folder: &Path| format!("{:.1}", size(folder) as f64 / count as f64);
    let other = if is_alone { String::new() } else { each(other.path()) };
    show("bytes a kline, the unsealed hours included", &each(folder.path()), &other);
    show("opened after a kill", &format!("{} ms", opened.as_millis()), "");
    show("a run begins", &format!("{} ms", begun.as_millis()), "");

    let reader = Reader::open(&path).unwrap();
    let began = Instant::now();
    let found: usize = all.iter().map(|market| reader.read(&query(market.series, usize::MAX)).unwrap().len()).sum();
    let took = began.elapsed();
    assert_eq!(found as u64, count);
    let read_rows = |(rows, _): &(Rows, Duration), count: u64| {
        let began = Instant::now();
        let series = usize::try_from(rows.series()).unwrap();
        assert_eq!((0..series).map(|series| rows.read(series)).sum::<usize>() as u64, count);
        rate(count, began.elapsed())
    };
    show("read in order", &rate(count, took), &beside(read_rows));
    let began = Instant::now();
    let pages = 200;
    for page in 0..pages {
        reader.read(&query(all[page % all.len()].series, 1_000)).unwrap();
    }
    show("the newest 1,000 of a series", &format!("{:.2} ms", began.elapsed().as_secs_f64() * 1e3 / pages as f64), "");
    beside_readers(&path, all, hours);
}

/// Measures writing while readers read.
fn beside_readers(path: &Path, mut all: Vec<Market>, hours: i64) {
    let mut writer = Writer::open(path, "live", Limits::none()).unwrap();
    let (is_over, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let series: Vec<SeriesId> = all.iter().map(|market| market.series).collect();
    thread::scope(|scope| {
        for number in 0..READERS {
            let (series, is_over, reads) = (&series, &is_over, &reads);
            scope.spawn(move || {
                let reader = Reader::open(path).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    reader.read(&query(series[number % series.len()], 1_000)).unwrap();
                    reads.fetch_add(1, Ordering::Relaxed);
                    // Each asks ten times a second.
                    thread::park_timeout(Duration::from_millis(100));
                }
            });
        }
        let (began, mut written, mut start) = (Instant::now(), 0, T0 + hours * SECONDS_AN_HOUR * 1_000);
        while began.elapsed() < BESIDE {
            let tick: Vec<_> = all.iter_mut().map(|market| market.next(start)).collect();
            writer.append(&tick).unwrap();
            writer.maintain(LATER).unwrap();
            written += tick.len() as u64;
            start += 1_000;
        }
        is_over.store(true, Ordering::Relaxed);
        let reads = reads.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        show(&format!("written beside {READERS} readers"), &rate(written, began.elapsed()), "");
        show("  which read meanwhile", &format!("{reads:.0} pages/s"), "");
    });
}
