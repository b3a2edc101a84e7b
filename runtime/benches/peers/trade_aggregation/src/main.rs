//! Makes klines of 1m, 5m and 1h from a file of Bybit's trade frames with the crate `trade_aggregation`, for the replay
//! benchmark. Prices and volumes are floats, and no trade id is looked at.
//!
//! usage: trade-aggregation-klines IN.ndjson OUT_FOLDER

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

use serde::Deserialize;
use trade_aggregation::candle_components::{
    CandleComponent, CandleComponentUpdate, Close, High, Low, NumTrades, Open, OpenTimeStamp, Volume,
};
use trade_aggregation::{AggregationRule, Aggregator, Candle, GenericAggregator, ModularCandle, TakerTrade, Trade};

const INTERVALS: [(&str, i64); 3] = [("1m", 60_000), ("5m", 300_000), ("1h", 3_600_000)];

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    data: Vec<FrameTrade<'a>>,
}

#[derive(Deserialize)]
struct FrameTrade<'a> {
    #[serde(rename = "T")]
    time: i64,
    #[serde(rename = "s", borrow)]
    symbol: Cow<'a, str>,
    #[serde(rename = "S")]
    side: &'a str,
    #[serde(rename = "v")]
    size: &'a str,
    #[serde(rename = "p")]
    price: &'a str,
}

#[derive(Debug, Default, Clone, Candle)]
struct Kline {
    start: OpenTimeStamp<i64>,
    open: Open,
    high: High,
    low: Low,
    close: Close,
    volume: Volume,
    trades: NumTrades<u32>,
}

/// Ends a candle with its window. The crate's `AlignedTimeRule` moves on by one period for each trade after windows
/// without trades, which splits later windows.
struct Window {
    millis: i64,
    current: Option<i64>,
}

impl<T: TakerTrade> AggregationRule<Kline, T> for Window {
    fn should_trigger(&mut self, trade: &T, _: &Kline) -> bool {
        let window = trade.timestamp() / self.millis;
        self.current.replace(window).is_some_and(|current| current != window)
    }
}

type Windows = GenericAggregator<Kline, Window, Trade>;

fn write(out: &mut impl Write, symbol: &str, millis: i64, kline: &Kline) -> std::io::Result<()> {
    let start = kline.start() / millis * millis;
    let (open, high, low, close) = (kline.open(), kline.high(), kline.low(), kline.close());
    writeln!(out, "{symbol},{start},{open},{high},{low},{close},{},{}", kline.volume(), kline.trades())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: trade-aggregation-klines IN.ndjson OUT_FOLDER".into());
    };
    let mut outputs = Vec::new();
    for (name, _) in INTERVALS {
        let mut out = BufWriter::new(File::create(format!("{folder}/{name}.csv"))?);
        writeln!(out, "symbol,start,open,high,low,close,volume,trades")?;
        outputs.push(out);
    }
    let mut symbols: HashMap<String, [Windows; 3]> = HashMap::new();
    let mut reader = BufReader::with_capacity(1 << 20, File::open(input)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let frame: Frame = serde_json::from_slice(&line)?;
        for row in &frame.data {
            let size: f64 = row.size.parse()?;
            let size = if row.side == "Sell" { -size } else { size };
            let trade = Trade { timestamp: row.time, price: row.price.parse()?, size };
            let windows = match symbols.get_mut(&*row.symbol) {
                Some(windows) => windows,
                None => symbols.entry(row.symbol.to_string()).or_insert_with(|| {
                    INTERVALS.map(|(_, millis)| Windows::new(Window { millis, current: None }, false))
                }),
            };
            for ((windows, out), (_, millis)) in windows.iter_mut().zip(&mut outputs).zip(INTERVALS) {
                if let Some(kline) = windows.update(&trade) {
                    write(out, &row.symbol, millis, &kline)?;
                }
            }
        }
        line.clear();
    }
    for (symbol, windows) in &symbols {
        for ((windows, out), (_, millis)) in windows.iter().zip(&mut outputs).zip(INTERVALS) {
            write(out, symbol, millis, windows.unfinished_candle())?;
        }
    }
    for mut out in outputs {
        out.flush()?;
    }
    Ok(())
}
