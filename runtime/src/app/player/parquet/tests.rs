//! Files that are read back, and files that could not be completed.

use bytes::Bytes;
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use super::*;

const COLUMNS: [CsvColumn; 3] = [CsvColumn::Symbol, CsvColumn::Close, CsvColumn::Trades];

/// Returns the scales of a symbol with three decimals of prices.
fn scales() -> CsvScales {
    let series = SeriesId::new(Category::Linear, Symbol::new("AUSDT").unwrap(), Interval::MINUTE);
    let zero = Decimal::ZERO;
    let mut scales = CsvScales::default();
    scales.include(&Kline {
        series,
        start: 0,
        end: 59_999,
        open: zero,
        high: zero,
        low: zero,
        close: zero,
        volume: zero,
        turnover: zero,
        buy_volume: zero,
        buy_turnover: zero,
        price_decimals: 3,
        volume_decimals: 0,
        trades: 0,
        last_trade_time: 0,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: 1,
        emitted: 0,
    });
    scales
}

fn written(rows: &str) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    write(rows.as_bytes(), &COLUMNS, scales(), &mut out)?;
    Ok(out)
}

#[test]
fn row_groups_are_bounded_and_every_row_is_read_back() {
    let rows: String = (0..=ROWS).map(|at| format!("S{},-{at}.5,{at}\n", at % 7)).collect();
    let reader = SerializedFileReader::new(Bytes::from(written(&rows).unwrap())).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [i64::try_from(ROWS).unwrap(), 1]);
    for (at, row) in reader.get_row_iter(None).unwrap().enumerate() {
        let row = row.unwrap();
        let close = row.get_decimal(1).unwrap();
        let mantissa = i128::from_be_bytes(close.data().try_into().unwrap());
        assert_eq!((close.precision(), close.scale()), (38, 3));
        assert_eq!(mantissa, -1_000 * i128::try_from(at).unwrap() - 500);
        assert_eq!(row.get_string(0).unwrap(), &format!("S{}", at % 7));
        assert_eq!(row.get_long(2).unwrap(), i64::try_from(at).unwrap());
    }
}

#[test]
fn a_file_without_klines_has_the_columns() {
    let reader = SerializedFileReader::new(Bytes::from(written("").unwrap())).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr();
    let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    assert_eq!((names, reader.metadata().num_row_groups()), (vec!["symbol", "close", "trades"], 0));
}

#[test]
fn a_number_that_does_not_fit_is_an_error_and_the_file_has_no_end() {
    let most = "9".repeat(35);
    assert!(written(&format!("A,{most},1\n")).is_ok());
    let mut out = Vec::new();
    let error = write(format!("A,1,1\nA,{most}9,1\n").as_bytes(), &COLUMNS, scales(), &mut out).unwrap_err();
    let expected = format!("the row A,{most}9,1: close {most}9 does not fit 38 digits with 3 decimals");
    assert_eq!(format!("{error:#}"), expected);
    assert!(SerializedFileReader::new(Bytes::from(out)).is_err(), "it looks complete");
}
