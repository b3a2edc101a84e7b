//! Checks the archive of a day: that it can be unpacked to its end, and that its rows are trades of its symbol and day.

use std::path::Path;

use klines_domain::symbol::Category;
use klines_domain::time::{DAY, Millis, SECOND};
use thiserror::Error;

use super::ArchiveDay;
use crate::source::{Body, Options, Progress, Recording, SourceError};

/// How far from its day a row can be.
const TOLERANCE: Millis = SECOND;

/// Why a file is not the archive of a day.
#[derive(Debug, Error)]
pub enum CheckError {
    /// It cannot be read, or a row is invalid.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not complete.
    #[error("its end is missing")]
    Cut,
    /// It has something else.
    #[error("it has no trades of {0}")]
    Other(String),
    /// A row is of another time.
    #[error("it has a trade of another day, at {0} ms since 1970")]
    OtherDay(Millis),
}

/// Checks a file. Returns how many trades it has. A row can be of the second before or after the day.
///
/// # Errors
/// [`CheckError`]
pub fn check(day: &ArchiveDay, path: &Path) -> Result<u64, CheckError> {
    let options = Options { symbol: Some(day.symbol.clone()), ..Options::default() };
    let mut recording = Recording::open(&[path.to_owned()], &options, &Progress::default())?;
    let is_of_symbol = recording.symbols().iter().all(|(_, symbol)| *symbol == day.symbol);
    let is_spot = |category| category == Category::Spot;
    let mut trades = 0;
    while let Some(record) = recording.read()? {
        let time = match record.body {
            Body::Trade(trade) => trade.time.get(),
            Body::Rejected(_, time) => time.get(),
            // Between the rows of a file that was cut and its end.
            Body::Missing(..) | Body::Present(..) => continue,
            _ => return Err(CheckError::Other(day.symbol.to_string())),
        };
        if !is_of_symbol || is_spot(record.category) != is_spot(day.category) {
            return Err(CheckError::Other(day.symbol.to_string()));
        }
        if !(day.day - TOLERANCE..day.day + DAY + TOLERANCE).contains(&time) {
            return Err(CheckError::OtherDay(time));
        }
        trades += 1;
    }
    if recording.skipped().incomplete > 0 { Err(CheckError::Cut) } else { Ok(trades) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use klines_domain::symbol::Symbol;

    use super::*;

    const DAY_START: Millis = 1_704_067_200_000;
    const HEADER: &str =
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional";

    fn packed(rows: &[(&str, &str)]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writeln!(gzip, "{HEADER}").unwrap();
        for (time, symbol) in rows {
            writeln!(gzip, "{time},{symbol},Buy,0.5,100.5,ZeroMinusTick,abc,1,0.5,50.25").unwrap();
        }
        gzip.finish().unwrap()
    }

    fn checked(bytes: &[u8]) -> Result<u64, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("BTCUSDT2024-01-01.csv.gz.part");
        fs::write(&path, bytes).unwrap();
        let symbol = Symbol::new("BTCUSDT").unwrap();
        let day = ArchiveDay { category: Category::Linear, symbol, day: DAY_START };
        check(&day, &path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_whole_and_of_its_symbol_and_day() {
        let rows = [("1704067199.5", "BTCUSDT"), ("1704067200.1234", "BTCUSDT"), ("1704153599.9", "BTCUSDT")];
        let file = packed(&rows);
        assert_eq!(checked(&file), Ok(3));
        assert_eq!(checked(&packed(&[])), Ok(0));
        let cut = checked(&file[..file.len() - 9]).unwrap_err();
        assert!(cut.contains("end is missing"), "{cut}");
        let mut damaged = file;
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        let checksum = checked(&damaged).unwrap_err();
        assert!(checksum.contains("checksum"), "{checksum}");
        let other = checked(&packed(&[("1704153605", "BTCUSDT")])).unwrap_err();
        assert!(other.contains("a trade of another day"), "{other}");
        let other = checked(&packed(&[("1704067200", "ETHUSDT")])).unwrap_err();
        assert!(other.contains("no trades of BTCUSDT"), "{other}");
        let html = checked(b"<html>404</html>\n").unwrap_err();
        assert!(html.contains("no line of a known kind"), "{html}");
    }
}
