//! Klines as csv: which fields are columns, and with how many digits.

use std::fmt::Write;

use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;

use super::number::{decimal, integer, signed};

/// A field of a kline as a column; its name is the field's in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvColumn {
    /// `linear`, `spot` or `inverse`.
    Category,
    /// The symbol.
    Symbol,
    /// The interval, such as `1m`.
    Interval,
    /// First millisecond of the window.
    Start,
    /// Last millisecond of the window.
    End,
    /// Opening price.
    Open,
    /// Highest price.
    High,
    /// Lowest price.
    Low,
    /// Last price.
    Close,
    /// Sum of sizes.
    Volume,
    /// Sum of price × size, or of size / price for inverse.
    Turnover,
    /// The part of the volume whose taker bought.
    BuyVolume,
    /// The part of the turnover whose taker bought.
    BuyTurnover,
    /// Decimals of the symbol's prices.
    PriceDecimals,
    /// Decimals of the symbol's sizes.
    VolumeDecimals,
    /// Number of trades.
    Trades,
    /// Time of the last trade, 0 without one.
    LastTradeTime,
    /// `true` or `false`.
    Confirm,
    /// Number of corrections.
    Revision,
    /// `complete`, `partial`, `gapped` or `repaired`.
    Quality,
    /// Number of the kline in its series.
    Sequence,
    /// Exchange time at which the kline was made.
    Emitted,
}

impl CsvColumn {
    /// Every column, in the order of the JSON.
    pub const ALL: [Self; 22] = [
        Self::Category,
        Self::Symbol,
        Self::Interval,
        Self::Start,
        Self::End,
        Self::Open,
        Self::High,
        Self::Low,
        Self::Close,
        Self::Volume,
        Self::Turnover,
        Self::BuyVolume,
        Self::BuyTurnover,
        Self::PriceDecimals,
        Self::VolumeDecimals,
        Self::Trades,
        Self::LastTradeTime,
        Self::Confirm,
        Self::Revision,
        Self::Quality,
        Self::Sequence,
        Self::Emitted,
    ];

    /// The columns of a row for which none were chosen.
    pub const DEFAULT: [Self; 10] = [
        Self::Interval,
        Self::Symbol,
        Self::Start,
        Self::Open,
        Self::High,
        Self::Low,
        Self::Close,
        Self::Volume,
        Self::Turnover,
        Self::Trades,
    ];

    /// Returns the column's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Category => "category",
            Self::Symbol => "symbol",
            Self::Interval => "interval",
            Self::Start => "start",
            Self::End => "end",
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::Volume => "volume",
            Self::Turnover => "turnover",
            Self::BuyVolume => "buy_volume",
            Self::BuyTurnover => "buy_turnover",
            Self::PriceDecimals => "price_decimals",
            Self::VolumeDecimals => "volume_decimals",
            Self::Trades => "trades",
            Self::LastTradeTime => "last_trade_time",
            Self::Confirm => "confirm",
            Self::Revision => "revision",
            Self::Quality => "quality",
            Self::Sequence => "sequence",
            Self::Emitted => "emitted",
        }
    }

    /// Appends the column's value of a kline.
    fn value(self, kline: &Kline, out: &mut String) {
        let SeriesKey { category, symbol, interval } = &*kline.series;
        match self {
            Self::Category => out.push_str(category.as_str()),
            Self::Symbol => out.push_str(symbol.as_str()),
            Self::Interval => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{interval}");
            }
            Self::Start => signed(kline.start, out),
            Self::End => signed(kline.end, out),
            Self::Open => decimal(kline.open, 0, out),
            Self::High => decimal(kline.high, 0, out),
            Self::Low => decimal(kline.low, 0, out),
            Self::Close => decimal(kline.close, 0, out),
            Self::Volume => decimal(kline.volume, 0, out),
            Self::Turnover => decimal(kline.turnover, 0, out),
            Self::BuyVolume => decimal(kline.buy_volume, 0, out),
            Self::BuyTurnover => decimal(kline.buy_turnover, 0, out),
            Self::PriceDecimals => integer(kline.price_decimals.into(), out),
            Self::VolumeDecimals => integer(kline.volume_decimals.into(), out),
            Self::Trades => integer(kline.trades, out),
            Self::LastTradeTime => signed(kline.last_trade_time, out),
            Self::Confirm => out.push_str(if kline.confirm { "true" } else { "false" }),
            Self::Revision => integer(kline.revision.into(), out),
            Self::Quality => out.push_str(kline.quality.as_str()),
            Self::Sequence => integer(kline.sequence, out),
            Self::Emitted => signed(kline.emitted, out),
        }
    }
}

/// The greatest number of decimals among some klines, for each kind of column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CsvScales {
    price: u8,
    volume: u8,
    turnover: u8,
}

impl CsvScales {
    /// Takes the decimals of a kline's symbol into account.
    pub fn include(&mut self, kline: &Kline) {
        self.price = self.price.max(kline.price_decimals);
        self.volume = self.volume.max(kline.volume_decimals);
        self.turnover = self.turnover.max(kline.turnover.scale());
    }

    /// Returns the decimals of a column, or `None` if its values are no decimals.
    #[must_use]
    pub const fn of(self, column: CsvColumn) -> Option<u8> {
        match column {
            CsvColumn::Open | CsvColumn::High | CsvColumn::Low | CsvColumn::Close => Some(self.price),
            CsvColumn::Volume | CsvColumn::BuyVolume => Some(self.volume),
            CsvColumn::Turnover | CsvColumn::BuyTurnover => Some(self.turnover),
            _ => None,
        }
    }
}

/// Appends the names of the columns and a line feed.
pub fn csv_header(columns: &[CsvColumn], out: &mut String) {
    let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
    out.push_str(&names.join(","));
    out.push('\n');
}

/// Appends one row and a line feed; decimals have no trailing zeros.
pub fn csv(kline: &Kline, columns: &[CsvColumn], out: &mut String) {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        column.value(kline, out);
    }
    out.push('\n');
}

/// Appends a row that [`csv`] wrote, with zeros after its decimals so that each has as many digits as its column. The
/// scales must include those of the row's kline.
pub fn csv_padded(row: &str, columns: &[CsvColumn], scales: CsvScales, out: &mut String) {
    for (index, (value, column)) in row.trim_end().split(',').zip(columns).enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(value);
        let scale = usize::from(scales.of(*column).unwrap_or(0));
        let digits = value.split_once('.').map(|(_, digits)| digits.len());
        if digits.is_none() && scale > 0 {
            out.push('.');
        }
        out.extend(std::iter::repeat_n('0', scale.saturating_sub(digits.unwrap_or(0))));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use klines_domain::decimal::Decimal;

    use super::*;
    use crate::encode::ndjson;
    use crate::fixture;

    #[test]
    fn every_field_of_the_json_is_a_column_with_the_same_name_and_value() {
        let kline = fixture::kline("BTCUSDT", "1m", 3, true);
        let (mut json, mut header, mut row) = (String::new(), String::new(), String::new());
        ndjson(&kline, &mut json);
        csv_header(&CsvColumn::ALL, &mut header);
        csv(&kline, &CsvColumn::ALL, &mut row);
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        let columns: std::collections::BTreeMap<&str, &str> =
            header.trim_end().split(',').zip(row.trim_end().split(',')).collect();
        assert_eq!(columns.len(), fields.len());
        for (name, value) in &fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(columns.get(name.as_str()), Some(&text.as_str()), "{name}");
        }
    }

    #[test]
    fn padded_rows_have_the_digits_of_the_widest_kline_in_each_kind_of_column() {
        let decimal = |text: &str| Decimal::parse(text).unwrap();
        let mut narrow = fixture::kline("BTCUSDT", "1m", 3, true);
        (narrow.price_decimals, narrow.volume_decimals) = (0, 0);
        (narrow.close, narrow.volume, narrow.turnover) = (decimal("7"), decimal("3"), decimal("21"));
        let mut wide = narrow.clone();
        (wide.price_decimals, wide.volume_decimals) = (2, 1);
        (wide.close, wide.volume, wide.turnover) = (decimal("7.50"), decimal("0.0"), decimal("0.000"));
        let columns = [CsvColumn::Close, CsvColumn::Volume, CsvColumn::Turnover, CsvColumn::Trades, CsvColumn::Quality];
        let rows = |klines: &[&Kline]| {
            let (mut scales, mut out) = (CsvScales::default(), String::new());
            klines.iter().for_each(|kline| scales.include(kline));
            for kline in klines {
                let mut row = String::new();
                csv(kline, &columns, &mut row);
                csv_padded(&row, &columns, scales, &mut out);
            }
            out
        };
        let (trades, quality) = (narrow.trades, narrow.quality);
        assert_eq!(rows(&[&narrow]), format!("7,3,21,{trades},{quality}\n"), "no decimals, no point");
        assert_eq!(
            rows(&[&narrow, &wide]),
            format!("7.00,3.0,21.000,{trades},{quality}\n7.50,0.0,0.000,{trades},{quality}\n")
        );
    }
}
