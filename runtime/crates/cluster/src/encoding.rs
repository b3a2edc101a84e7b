//! A kline as the text that Redis keeps, and back. What comes from Redis is untrusted: every part is parsed and bounded.
//!
//! A field of an entry is `linear BTCUSDT 1m 1786310820000`, and its value is `REVISION SEQUENCE QUALITY TRADES BODY`.

use std::str::FromStr;

use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::Kline;
use klines_domain::series::{SeriesId, SeriesKey};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::{MINUTE, Millis};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::version::{Bucket, Class, Digest, Identity, Version, of_rank, rank};

/// Why a text from Redis is no kline.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A part is missing, or has another form.
    #[error("the {0} is missing or has another form")]
    Part(&'static str),
    /// The start is not one of the interval.
    #[error("no window of the interval begins there")]
    Start,
    /// The reader does not follow this series.
    #[error("an unknown series")]
    Series,
}

/// Returns the identity of a kline; `None` for a window before 1970, which no exchange has.
#[must_use]
pub fn identity(kline: &Kline) -> Option<Identity> {
    let key = &*kline.series;
    let class = if key.interval.nominal_millis() < MINUTE { Class::Short } else { Class::Long };
    let (start, end) = (u64::try_from(kline.start).ok()?, u64::try_from(kline.end).ok()?);
    let series = format!("{} {} {}", key.category, key.symbol, key.interval);
    Some(Identity { series, start, bucket: Bucket::of(class, end) })
}

/// Returns a kline as a version of its identity.
///
/// The digest leaves out `emitted`, `revision` and `sequence`, and the numbers of decimals: these are the most that a node
/// has seen so far, and no difference of the klines.
#[must_use]
pub fn version(identity: &Identity, kline: &Kline) -> Version {
    let Kline { open, high, low, close, volume, turnover, buy_volume, buy_turnover, last_trade_time, .. } = kline;
    let numbers =
        format!("{open} {high} {low} {close} {volume} {turnover} {buy_volume} {buy_turnover} {last_trade_time}");
    let (Identity { series, start, .. }, trades) = (identity, kline.trades);
    let hashed = Sha256::digest(format!("{series} {start} {} {trades} {numbers}", kline.quality));
    let mut digest = [0; 16];
    digest.iter_mut().zip(hashed).for_each(|(to, from)| *to = from);
    let body = format!("{numbers} {} {} {}", kline.price_decimals, kline.volume_decimals, kline.emitted);
    Version { digest: Digest(digest), quality: kline.quality, trades, body }
}

/// Reads a field of an entry: a series and the start of a window.
///
/// # Errors
/// [`DecodeError`] if it is none.
pub fn window(field: &str) -> Result<(SeriesKey, Millis), DecodeError> {
    let mut words = field.split(' ');
    let category: Category = part(words.next(), "category")?;
    let symbol = words.next().and_then(|text| Symbol::new(text).ok()).ok_or(DecodeError::Part("symbol"))?;
    let interval: Interval = part(words.next(), "interval")?;
    let start = number(words.next(), "start")?;
    if words.next().is_some() {
        return Err(DecodeError::Part("end of the field"));
    }
    if interval.start_of(start) != start {
        return Err(DecodeError::Start);
    }
    Ok((SeriesKey { category, symbol, interval }, start))
}

/// Reads a field of an entry and its value. `find` returns the id of a series that the reader follows.
///
/// # Errors
/// [`DecodeError`] if it is no kline.
pub fn decode(
    field: &str,
    value: &str,
    find: impl FnOnce(&SeriesKey) -> Option<SeriesId>,
) -> Result<Kline, DecodeError> {
    let (key, start) = window(field)?;
    let interval = key.interval;
    let series = find(&key).ok_or(DecodeError::Series)?;
    kline(series, interval, start, value)
}

fn kline(series: SeriesId, interval: Interval, start: Millis, value: &str) -> Result<Kline, DecodeError> {
    let mut words = value.split(' ');
    let revision = part(words.next(), "revision")?;
    let sequence = part(words.next(), "sequence")?;
    let quality = part(words.next(), "quality").ok().and_then(of_rank).ok_or(DecodeError::Part("quality"))?;
    let trades = part(words.next(), "number of trades")?;
    let mut decimal = |what| words.next().and_then(|text| Decimal::parse(text).ok()).ok_or(DecodeError::Part(what));
    let (open, high, low, close) = (decimal("open")?, decimal("high")?, decimal("low")?, decimal("close")?);
    let (volume, turnover) = (decimal("volume")?, decimal("turnover")?);
    let (buy_volume, buy_turnover) = (decimal("buy volume")?, decimal("buy turnover")?);
    let last_trade_time = number(words.next(), "last trade time")?;
    let (price_decimals, volume_decimals) = (part(words.next(), "decimals")?, part(words.next(), "decimals")?);
    let emitted = number(words.next(), "time")?;
    if words.next().is_some() {
        return Err(DecodeError::Part("end of the value"));
    }
    Ok(Kline {
        series,
        start,
        end: interval.next(start) - 1,
        open,
        high,
        low,
        close,
        volume,
        turnover,
        buy_volume,
        buy_turnover,
        price_decimals,
        volume_decimals,
        trades,
        last_trade_time,
        confirm: true,
        revision,
        quality,
        sequence,
        emitted,
    })
}

/// Returns the value of the field of a kline, as the functions write it.
#[must_use]
pub fn value(version: &Version, revision: u64, sequence: u64) -> String {
    format!("{revision} {sequence} {} {} {}", rank(version.quality), version.trades, version.body)
}

fn part<T: FromStr>(word: Option<&str>, what: &'static str) -> Result<T, DecodeError> {
    word.and_then(|text| text.parse().ok()).ok_or(DecodeError::Part(what))
}

/// Reads a time, which is far from the ends of the range, so that windows can be calculated.
fn number(word: Option<&str>, what: &'static str) -> Result<Millis, DecodeError> {
    let found: Millis = part(word, what)?;
    if (0..=999_999_999_999_999).contains(&found) { Ok(found) } else { Err(DecodeError::Part(what)) }
}

#[cfg(test)]
mod tests {
    use klines_delivery::fixture;
    use klines_domain::kline::Quality;
    use proptest::prelude::*;

    use super::*;

    const FIELD: &str = "linear BTCUSDT 1m 1786310820000";
    const VALUE: &str = "1 7 0 311 64258.2 64259.5 64258 64259 0.02 1285.18 0 0 1786310879000 2 3 1786310880080";

    /// A change of a kline.
    type Change = fn(&mut Kline);

    fn encoded(kline: &Kline) -> (String, String) {
        let identity = identity(kline).unwrap();
        let version = version(&identity, kline);
        let value = value(&version, u64::from(kline.revision), kline.sequence);
        (format!("{} {}", identity.series, identity.start), value)
    }

    #[test]
    fn a_kline_is_read_as_it_was_written() {
        for interval in ["100ms", "1s", "1m", "1h", "1D", "1W", "1M"] {
            let interval: Interval = interval.parse().unwrap();
            let mut kline = fixture::kline("BTCUSDT", &interval.to_string(), 600, true);
            kline.start = interval.start_of(kline.start);
            kline.end = interval.next(kline.start) - 1;
            (kline.quality, kline.revision) = (Quality::Repaired, 3);
            let (field, value) = encoded(&kline);
            assert_eq!(decode(&field, &value, |key| Some(SeriesId::of(key.clone()))), Ok(kline));
        }
    }

    #[test]
    fn the_digest_leaves_out_what_differs_between_nodes_and_nothing_else() {
        let kline = fixture::kline("BTCUSDT", "1m", 600, true);
        let identity = identity(&kline).unwrap();
        let digest = |change: Change| {
            let mut changed = kline.clone();
            change(&mut changed);
            version(&identity, &changed).digest
        };
        let same = digest(|_| {});
        let left_out: [Change; 5] = [
            |kline| kline.emitted += 1,
            |kline| kline.revision += 1,
            |kline| kline.sequence += 1,
            |kline| kline.price_decimals += 1,
            |kline| kline.volume_decimals += 1,
        ];
        assert!(left_out.iter().all(|change| digest(*change) == same));
        let counted: [Change; 11] = [
            |kline| kline.open = Decimal::ZERO,
            |kline| kline.high = Decimal::ZERO,
            |kline| kline.low = Decimal::ZERO,
            |kline| kline.close = Decimal::ZERO,
            |kline| kline.volume = Decimal::ZERO,
            |kline| kline.turnover = Decimal::ZERO,
            |kline| kline.buy_volume = Decimal::ZERO,
            |kline| kline.buy_turnover = Decimal::ZERO,
            |kline| kline.trades += 1,
            |kline| kline.last_trade_time += 1,
            |kline| kline.quality = Quality::Gapped,
        ];
        assert!(counted.iter().all(|change| digest(*change) != same));
    }

    #[test]
    fn windows_below_a_minute_are_kept_shortly() {
        let class = |interval| identity(&fixture::kline("BTCUSDT", interval, 600, true)).unwrap().bucket.class;
        assert_eq!(["1s", "30s"].map(class), [Class::Short; 2]);
        assert_eq!(["1m", "1D"].map(class), [Class::Long; 2]);
        let mut early = fixture::kline("BTCUSDT", "1m", 600, true);
        early.start = -60_000;
        assert_eq!(identity(&early), None);
    }

    #[test]
    fn what_is_no_kline_is_refused_with_its_part() {
        let read = |field: &str, value: &str| decode(field, value, |key| Some(SeriesId::of(key.clone())));
        assert!(read(FIELD, VALUE).is_ok());
        assert_eq!(decode(FIELD, VALUE, |_| None), Err(DecodeError::Series));
        assert_eq!(read("linear BTCUSDT 1m 1786310820001", VALUE), Err(DecodeError::Start));
        for (field, part) in [
            ("option BTCUSDT 1m 1786310820000", "category"),
            ("linear btcusdt 1m 1786310820000", "symbol"),
            ("linear BTCUSDT 7m 1786310820000", "interval"),
            ("linear BTCUSDT 1m -60000", "start"),
            ("linear BTCUSDT 1m 9000000000000000000", "start"),
            ("linear BTCUSDT 1m 1786310820000 0", "end of the field"),
            ("linear BTCUSDT", "interval"),
        ] {
            assert_eq!(read(field, VALUE), Err(DecodeError::Part(part)), "{field}");
        }
        for (from, to, part) in [
            ("1 7 0", "4294967296 7 0", "revision"),
            ("1 7 0", "1 -7 0", "sequence"),
            ("1 7 0", "1 7 4", "quality"),
            ("311", "3e2", "number of trades"),
            ("64258.2", "NaN", "open"),
            (" 2 3 ", " 256 3 ", "decimals"),
            ("1786310880080", "1786310880080 x", "end of the value"),
            (" 1786310880080", "", "time"),
        ] {
            assert_eq!(read(FIELD, &VALUE.replacen(from, to, 1)), Err(DecodeError::Part(part)), "{to}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(field in "[a-zA-Z0-9 .-]{0,60}", value in "[0-9 .eE-]{0,120}") {
            let _ = decode(&field, &value, |_| None);
            let _ = decode(FIELD, &value, |key| Some(SeriesId::of(key.clone())));
        }
    }
}
