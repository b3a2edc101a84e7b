//! Makes the body of a request: klines with exact digits, with the field names of `/v1/stream`, and the idempotency
//! key, which is the same whenever the same klines are sent.

use klines_guest::{ExactKline, Failure, Interval, Kline};
use serde::Serialize;

/// The body of one request.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) klines: &'a [Row<'a>],
    /// The number of closed klines that were lost before these.
    pub(crate) lost: u64,
}

/// One kline of the body.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    category: &'static str,
    symbol: &'a str,
    interval: &'a Interval,
    start: u64,
    end: u64,
    #[serde(flatten)]
    digits: Digits,
    price_decimals: u8,
    volume_decimals: u8,
    trades: u64,
    last_trade_time: u64,
    confirm: bool,
    revision: u32,
    quality: &'static str,
    sequence: u64,
    emitted: u64,
}

/// The decimals of a kline as strings.
#[derive(Serialize)]
struct Digits {
    open: String,
    high: String,
    low: String,
    close: String,
    volume: String,
    turnover: String,
    buy_volume: String,
    buy_turnover: String,
}

impl Body<'_> {
    /// Encodes the body as one JSON object.
    pub(crate) fn json(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(self).map_err(|error| unwritable(&error))
    }

    /// Encodes one JSON object for each kline, each followed by a line feed.
    pub(crate) fn ndjson(&self) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        for row in self.klines {
            serde_json::to_writer(&mut out, row).map_err(|error| unwritable(&error))?;
            out.push(b'\n');
        }
        Ok(out)
    }
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::fatal(format!("klines cannot be written as json: {error}"))
}

impl<'a> Row<'a> {
    pub(crate) fn new(kline: &'a Kline, digits: ExactKline) -> Self {
        let ExactKline { open, high, low, close, volume, turnover, buy_volume, buy_turnover } = digits;
        Self {
            category: kline.category.name(),
            symbol: &kline.symbol,
            interval: &kline.interval,
            start: kline.start,
            end: kline.end,
            digits: Digits { open, high, low, close, volume, turnover, buy_volume, buy_turnover },
            price_decimals: kline.price_decimals,
            volume_decimals: kline.volume_decimals,
            trades: kline.trades,
            last_trade_time: kline.last_trade_time,
            confirm: kline.confirm,
            revision: kline.revision,
            quality: kline.quality.name(),
            sequence: kline.sequence,
            emitted: kline.emitted,
        }
    }

    /// Returns the key of the kline: category, symbol, interval, start and revision. The key of an open kline also has
    /// the time at which it was emitted, since its values change.
    pub(crate) fn key(&self) -> String {
        let Self { category, symbol, interval, start, revision, .. } = self;
        let key = format!("{category}:{symbol}:{interval}:{start}:{revision}");
        if self.confirm { key } else { format!("{key}:{}", self.emitted) }
    }
}

/// Returns the key of one kline, or the number of klines and a hash of their keys (FNV-1a, 128 bits).
pub(crate) fn idempotency_key(rows: &[Row<'_>]) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    if let [only] = rows {
        return only.key();
    }
    let mut hash = BASIS;
    for row in rows {
        for byte in row.key().bytes().chain([b'\n']) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    format!("{}-{hash:032x}", rows.len())
}
