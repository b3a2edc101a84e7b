//! `klines replay --format parquet`: the same values as in csv, exactly, and nothing that looks like a file if it is
//! not one.

use bytes::Bytes;
use klines_domain::decimal::Decimal;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::RECORDING;
use crate::support::program::{folder, klines};

/// The first trades need fewer decimals than the last one.
const GROWING: &str = "id,timestamp,price,volume,side\n1,1735689600000,6,1,buy\n2,1735689661000,6.5,0.25,sell\n\
                       3,1735689722000,7.125,3,buy\n";
const COLUMNS: &str = "category,symbol,interval,start,end,open,high,low,close,volume,turnover,buy_volume,buy_turnover,\
                       price_decimals,volume_decimals,trades,last_trade_time,confirm,revision,quality,sequence,emitted";

/// Returns a value as csv writes it with `--decimals scale`.
fn text(field: &Field) -> String {
    match field {
        Field::Str(text) => text.clone(),
        Field::Bool(flag) => flag.to_string(),
        Field::Int(count) => count.to_string(),
        Field::Long(count) => count.to_string(),
        Field::TimestampMillis(time) => time.to_string(),
        Field::Decimal(number) => {
            assert_eq!(number.precision(), 38);
            let scale = usize::try_from(number.scale()).unwrap();
            let mantissa = i128::from_be_bytes(number.data().try_into().unwrap());
            let value = Decimal::new(mantissa, u8::try_from(scale).unwrap()).to_string();
            let (whole, digits) = value.split_once('.').unwrap_or((&value, ""));
            if scale == 0 { value } else { format!("{whole}.{digits:0<scale$}") }
        }
        other => panic!("{other:?} is of no type that is written"),
    }
}

/// Returns the rows of a file, with the names of the columns before them.
fn rows(file: Vec<u8>) -> Vec<String> {
    let reader = SerializedFileReader::new(Bytes::from(file)).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr();
    let mut rows = vec![schema.columns().iter().map(|column| column.name()).collect::<Vec<_>>().join(",")];
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        rows.push(row.get_column_iter().map(|(_, field)| text(field)).collect::<Vec<_>>().join(","));
    }
    rows
}

#[test]
fn a_file_has_every_value_of_the_csv() {
    let home = folder(&[("AUSDT_2025-01-01.csv", GROWING)]);
    for input in [&format!("{RECORDING} --category linear --intervals 1s,1m"), "AUSDT_2025-01-01.csv --intervals 1m"] {
        for (csv, parquet) in [
            (format!("--columns {COLUMNS}"), ""),
            (format!("--columns {COLUMNS} --closed-only"), "--closed-only"),
            ("--columns close,symbol,turnover".to_owned(), "--columns close,symbol,turnover"),
        ] {
            let arguments = format!("replay {input} --format csv --header --decimals scale {csv}");
            let expected = klines(home.path(), &arguments).run().success();
            let arguments = format!("replay {input} --format parquet --output out.parquet --force {parquet}");
            let said = klines(home.path(), &arguments).run().success();
            assert_eq!((said.out.as_str(), said.err), ("", expected.err), "{arguments}");
            let found = rows(std::fs::read(home.path().join("out.parquet")).unwrap());
            assert!(found.len() > 2, "{arguments}");
            assert_eq!(found, expected.out.lines().collect::<Vec<_>>(), "{arguments}");
        }
    }
}

#[test]
fn a_file_that_exists_is_kept_and_a_pipe_gets_the_whole_file() {
    let home = folder(&[("AUSDT_2025-01-01.csv", GROWING), ("kept.parquet", "kept\n")]);
    let arguments = "replay AUSDT_2025-01-01.csv --intervals 1m --format parquet";
    let refused = klines(home.path(), &format!("{arguments} --output kept.parquet")).run();
    assert_eq!(refused.code(), Some(1));
    assert!(refused.said.err.contains("kept.parquet already exists"), "{}", refused.said.err);
    assert_eq!(std::fs::read_to_string(home.path().join("kept.parquet")).unwrap(), "kept\n");
    let pipe = home.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let run = klines(home.path(), &format!("{arguments} --output pipe")).start();
    assert_eq!(rows(std::fs::read(&pipe).unwrap()).len(), 4);
    run.end().success();
}

#[test]
fn a_replay_that_fails_leaves_no_file_that_can_be_read() {
    let home = folder(&[("AUSDT_2025-01-01.csv", GROWING)]);
    let arguments = "replay AUSDT_2025-01-01.csv --intervals 1m --format parquet --symbols BUSDT --output out.parquet";
    let ended = klines(home.path(), arguments).run();
    assert_eq!(ended.code(), Some(1), "{}", ended.said.err);
    let left = std::fs::read(home.path().join("out.parquet")).unwrap_or_default();
    assert!(SerializedFileReader::new(Bytes::from(left)).is_err());
}
