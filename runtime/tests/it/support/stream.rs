//! A deterministic stream of Bybit trade frames: byte for byte the one that other aggregators were measured with.
//!
//! Integers only. 2,000,000 trades of 200 symbols have the sha256
//! `ca97594d2439dfd5aba84bbfba84bb6d00cd01bf7334f23c6b58acd77ba13345`.

use std::fmt::Write;

/// 2024-01-01T00:00:00Z, a Monday and the first of a month.
pub const T0: u64 = 1_704_067_200_000;

/// Generates frames one after the other.
pub struct Stream {
    state: u64,
    symbols: Vec<SymbolState>,
    time: u64,
    left: u64,
}

struct SymbolState {
    name: String,
    price_decimals: usize,
    size_decimals: usize,
    price: u64,
    sequence: u64,
}

impl Stream {
    pub fn new(symbols: u64, trades: u64) -> Self {
        let symbol = |k: u64| SymbolState {
            name: format!("S{k:03}USDT"),
            price_decimals: 1 + (k % 4) as usize,
            size_decimals: (k % 4) as usize,
            price: 100_000 + 997 * k,
            sequence: 0,
        };
        Self { state: 0x5EED_2024_0101_0001, symbols: (0..symbols).map(symbol).collect(), time: T0, left: trades }
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Appends the next frame and a line feed to `out`, and returns its number of trades: 0 at the end.
    pub fn frame(&mut self, out: &mut String) -> u64 {
        if self.left == 0 {
            return 0;
        }
        let gap = 1 + self.draw() % 150;
        let count = self.symbols.len() as u64;
        let (a, b) = (self.draw() % count, self.draw() % count);
        let k = a.min(b) as usize;
        let trades = (1 + self.draw() % 20).min(self.left);
        let _ = write!(out, r#"{{"topic":"publicTrade.{}","type":"snapshot","ts":"#, self.symbols[k].name);
        let mut rows = String::new();
        let mut time = self.time;
        for row in 0..trades {
            time = self.time + row * gap / trades;
            self.row(k, time, row > 0, &mut rows);
        }
        let _ = writeln!(out, r#"{},"data":[{rows}]}}"#, time + 2);
        self.time += gap;
        self.left -= trades;
        trades
    }

    fn row(&mut self, k: usize, time: u64, follows: bool, out: &mut String) {
        let step = (self.draw() % 7) as i64 - 3;
        let old = self.symbols[k].price;
        let price = old.saturating_add_signed(step).max(1_000);
        let side = if self.draw() & 1 == 1 { "Buy" } else { "Sell" };
        let size = 1 + self.draw() % 5_000;
        let (high, low) = (self.draw(), self.draw());
        let id = format!("{high:016x}{low:016x}");
        let symbol = &mut self.symbols[k];
        symbol.price = price;
        symbol.sequence += 1;
        let tick = match price.cmp(&old) {
            std::cmp::Ordering::Greater => "PlusTick",
            std::cmp::Ordering::Less => "MinusTick",
            std::cmp::Ordering::Equal => "ZeroPlusTick",
        };
        let comma = if follows { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}{{"T":{time},"s":"{}","S":"{side}","v":"{}","p":"{}","L":"{tick}","i":"{}-{}-{}-{}-{}","BT":false,"RPI":false,"seq":{}}}"#,
            symbol.name,
            fixed(size, symbol.size_decimals),
            fixed(price, symbol.price_decimals),
            &id[..8],
            &id[8..12],
            &id[12..16],
            &id[16..20],
            &id[20..],
            symbol.sequence
        );
    }
}

fn fixed(units: u64, decimals: usize) -> String {
    if decimals == 0 {
        return units.to_string();
    }
    let digits = format!("{units:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    format!("{whole}.{fraction}")
}
