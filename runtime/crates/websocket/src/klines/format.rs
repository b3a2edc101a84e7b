//! The formats of `/v1/klines`, made of the encodings that several outputs share.

use std::sync::Arc;

use klines_delivery::encode::{self, CsvColumn, CsvScales};
use klines_domain::kline::Kline;
use klines_domain::series::SeriesKey;

/// The usual size of a kline as JSON, bytes.
const KLINE_BYTES: usize = 512;

/// A format of klines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One object with the series and the list of its klines.
    #[default]
    Json,
    /// A header and a row for each kline.
    Csv,
    /// A JSON object for each kline, one a line.
    Ndjson,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Ndjson];

    /// Returns the name that selects the format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// Returns the media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// Encodes klines of a series.
    pub fn encode(self, series: &SeriesKey, klines: &[Arc<Kline>]) -> String {
        let mut out = String::with_capacity(KLINE_BYTES * (klines.len() + 1));
        match self {
            Self::Json => json(series, klines, &mut out),
            Self::Csv => csv(klines, &mut out),
            Self::Ndjson => klines.iter().for_each(|kline| encode::ndjson(kline, &mut out)),
        }
        out
    }
}

fn json(SeriesKey { category, symbol, interval }: &SeriesKey, klines: &[Arc<Kline>], out: &mut String) {
    out.push_str(&format!(r#"{{"category":"{category}","symbol":"{symbol}","interval":"{interval}","klines":["#));
    for (at, kline) in klines.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        encode::object(kline, out);
    }
    out.push_str("]}");
}

/// Appends all fields of the klines, with the same number of decimals in each row of a column: a reader that looks at the
/// first rows must not take a column for integers that has decimals further down.
fn csv(klines: &[Arc<Kline>], out: &mut String) {
    let (mut scales, mut row) = (CsvScales::default(), String::new());
    klines.iter().for_each(|kline| scales.include(kline));
    encode::csv_header(&CsvColumn::ALL, out);
    for kline in klines {
        row.clear();
        encode::csv(kline, &CsvColumn::ALL, &mut row);
        encode::csv_padded(&row, &CsvColumn::ALL, scales, out);
    }
}
