//! The output compared with that of a plain model: a map of the last version of each kline, written at the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::Quality;
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::Millis;
use proptest::prelude::*;

use super::*;

/// A writer whose bytes stay readable.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What happens to a [`Sorted`].
#[derive(Clone, Debug)]
enum Step {
    /// A batch of klines: symbol, interval, window, whether it is closed, and a number that tells versions apart.
    Batch(Vec<(usize, usize, i64, bool, u32)>),
    /// Klines of the windows before this one cannot change any more.
    Settle(i64),
}

const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "AUSDT"];
const INTERVALS: [&str; 3] = ["1s", "2s", "1m"];

fn kline((symbol, interval, window, confirm, version): (usize, usize, i64, bool, u32)) -> Arc<Kline> {
    let interval: Interval = INTERVALS[interval].parse().unwrap();
    let start = interval.start_of(window * 1_000);
    let price = Decimal::new(i128::from(version) * 10, 1 + u8::try_from(version % 3).unwrap());
    let series = SeriesId::new(Category::Linear, Symbol::new(SYMBOLS[symbol]).unwrap(), interval);
    Arc::new(Kline {
        series,
        start,
        end: interval.next(start) - 1,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: price,
        turnover: price,
        buy_volume: price,
        buy_turnover: price,
        price_decimals: price.scale(),
        volume_decimals: price.scale(),
        trades: 1,
        last_trade_time: start,
        confirm,
        revision: version,
        quality: Quality::Complete,
        sequence: 1,
        emitted: start,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..SYMBOLS.len(), 0..INTERVALS.len(), 0..9_i64, prop::bool::weighted(0.8), 0..100_u32);
    let batch = prop::collection::vec(row, 0..12).prop_map(Step::Batch);
    prop::collection::vec(prop_oneof![3 => batch, 1 => (-4..5_i64).prop_map(Step::Settle)], 0..60)
}

/// What the output must be: the last version of each closed kline, then of each open one.
#[derive(Default)]
struct Model {
    closed: BTreeMap<(Millis, Interval, String), Arc<Kline>>,
    open: BTreeMap<(Millis, Interval, String), Arc<Kline>>,
}

impl Model {
    fn take(&mut self, kline: Arc<Kline>) {
        let key = (kline.end, kline.series.interval, kline.series.symbol.to_string());
        if kline.confirm {
            self.open.remove(&key);
            self.closed.insert(key, kline);
        } else {
            self.open.insert(key, kline);
        }
    }

    fn text(&self, format: &Format, closed_only: bool) -> String {
        let open = self.open.values().filter(|_| !closed_only);
        let mut out = String::new();
        for kline in self.closed.values().chain(open) {
            match format {
                Format::Csv(layout) => encode::csv(kline, &layout.columns, &mut out),
                Format::Ndjson => encode::ndjson(kline, &mut out),
                Format::Bybit => encode::bybit(kline, &mut out),
                Format::Parquet(_) => panic!("it is no text"),
            }
        }
        out
    }
}

fn played(steps: &[Step], format: &Format, closed_only: bool) -> (String, String) {
    let (written, mut model) = (Written::default(), Model::default());
    let mut sorted = Sorted::new(format.clone(), closed_only, Target::open(Box::new(written.clone())));
    let mut settled = Millis::MIN;
    // Time passes: each step is a second later, and its windows overlap those before.
    for (passed, step) in (0..).zip(steps) {
        match step {
            Step::Settle(window) => {
                settled = settled.max((passed + window) * 1_000);
                sorted.settle(ExchangeMillis::new(settled)).unwrap();
            }
            Step::Batch(rows) => {
                let klines = rows.iter().map(|&(symbol, interval, window, confirm, version)| {
                    kline((symbol, interval, passed + window, confirm, version))
                });
                let klines: Vec<Arc<Kline>> = klines.filter(|kline| kline.end >= settled).collect();
                klines.iter().cloned().for_each(|kline| model.take(kline));
                sorted.take(Batch { klines }).unwrap();
            }
        }
    }
    sorted.finish().unwrap();
    let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    (written, model.text(format, closed_only))
}

proptest! {
    #[test]
    fn the_output_is_the_last_version_of_each_kline_in_order(steps in steps(), closed_only in any::<bool>()) {
        for format in [Format::Csv(CsvLayout { columns: CsvColumn::ALL.to_vec(), ..CsvLayout::default() }), Format::Ndjson] {
            let (written, expected) = played(&steps, &format, closed_only);
            prop_assert_eq!(written, expected);
        }
    }
}
