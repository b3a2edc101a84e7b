//! Reads the rows of an archive: where the columns are, and the trade in a row.

use std::path::Path;

use klines_domain::decimal::Decimal;
use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::ExchangeMillis;
use klines_domain::trade::{Side, Trade, TradeId};

use crate::decode::{LATEST_TIME, quantity, trade_id};
use crate::source::frames::is_inverse;

/// The kind of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum ArchiveKind {
    /// `timestamp,symbol,side,size,price,…,trdMatchID,…`: times in seconds with up to 4 decimals.
    Derivatives,
    /// `id,timestamp,price,volume,side[,rpi]`: times in milliseconds.
    Spot,
}

/// Returns the kind of archive that has this header.
pub(in crate::source) fn kind_of(header: &[u8]) -> Option<ArchiveKind> {
    if header.starts_with(b"timestamp,symbol,side,size,price") {
        Some(ArchiveKind::Derivatives)
    } else if header.starts_with(b"id,timestamp,price,volume,side") {
        Some(ArchiveKind::Spot)
    } else {
        None
    }
}

/// Maximum number of columns that are looked at.
const MAX_COLUMNS: usize = 16;

/// A column: its name, and its position in the file.
type Column = (&'static str, usize);

/// The columns of a file.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    kind: ArchiveKind,
    /// The number of columns.
    count: usize,
    timestamp: Column,
    side: Column,
    price: Column,
    size: Column,
    /// Derivatives only.
    symbol: Column,
    /// Derivatives only.
    id: Column,
}

/// A row with its time in units of 100 µs, which orders trades within a millisecond.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) fine_time: i64,
    /// `None` if the price or the size is not plausible.
    pub(super) trade: Option<Trade>,
}

/// Units of [`Row::fine_time`] in a millisecond.
pub(super) const UNITS_PER_MILLI: i64 = 10;

/// How much earlier than the row before a row can be and still come into its place, also at the seam of two files: 1 s,
/// the step of the times in old files. A trade that is later still reaches its window, if `lateness` allows it.
pub(super) const DISORDER: i64 = 1_000 * UNITS_PER_MILLI;

/// The fields of a line.
struct Fields<'a> {
    values: [&'a [u8]; MAX_COLUMNS],
    count: usize,
}

impl<'a> Fields<'a> {
    #[inline]
    fn of(line: &'a [u8]) -> Self {
        let mut fields = Self { values: [&[]; MAX_COLUMNS], count: 0 };
        let mut start = 0;
        for end in memchr::memchr_iter(b',', line).chain([line.len()]) {
            let Some(value) = fields.values.get_mut(fields.count) else { break };
            *value = line.get(start..end).unwrap_or_default();
            fields.count += 1;
            start = end + 1;
        }
        fields
    }

    #[inline]
    fn get(&self, (name, at): Column) -> Result<&'a [u8], String> {
        self.values.get(at).filter(|_| at < self.count).copied().ok_or_else(|| format!("has no {name}"))
    }
}

impl Row {
    /// Returns what identifies the trade of a derivative in all files.
    pub(super) const fn identity(&self) -> Option<(i64, u64, u64)> {
        match &self.trade {
            Some(Trade { id: TradeId::Archived { high, low, .. }, .. }) => Some((self.fine_time, *high, *low)),
            _ => None,
        }
    }
}

impl Columns {
    pub(super) fn new(kind: ArchiveKind, header: &[u8]) -> Self {
        let column = |name: &'static str| {
            let at = header.split(|byte| *byte == b',').position(|column| column == name.as_bytes());
            // Of a column that is missing, every row lacks the field.
            (name, at.unwrap_or(MAX_COLUMNS))
        };
        Self {
            kind,
            count: Fields::of(header).count,
            timestamp: column("timestamp"),
            side: column("side"),
            price: column("price"),
            size: column(if kind == ArchiveKind::Spot { "volume" } else { "size" }),
            symbol: column("symbol"),
            id: column("trdMatchID"),
        }
    }

    /// Returns the symbol in a row of a derivative, with its category.
    pub(super) fn symbol(&self, line: &[u8]) -> Result<(Symbol, Category), String> {
        let name = String::from_utf8_lossy(Fields::of(line).get(self.symbol)?);
        let symbol = Symbol::new(&name).map_err(|error| format!("symbol {name:?}: {error}"))?;
        let category = if is_inverse(&name) { Category::Inverse } else { Category::Linear };
        Ok((symbol, category))
    }

    /// Parses one row of `symbol`, which has the number `id`. Returns an error if it does not have the file's format.
    #[inline]
    pub(super) fn row(&self, line: &[u8], symbol: &Symbol, id: SymbolId, file: u32) -> Result<Row, String> {
        let fields = Fields::of(line);
        // The fields of a row that was cut may be incomplete too.
        if fields.count < self.count {
            return Err(too_short(fields.count, self.count));
        }
        let side = match fields.get(self.side)? {
            b"Buy" | b"buy" => Side::Buy,
            b"Sell" | b"sell" => Side::Sell,
            other => return Err(format!("side {:?} is neither buy nor sell", String::from_utf8_lossy(other))),
        };
        let fine_time = fine_time(self.kind, fields.get(self.timestamp)?)?;
        let trade_id = match self.kind {
            ArchiveKind::Spot => TradeId::None,
            ArchiveKind::Derivatives => {
                let name = fields.get(self.symbol)?;
                if name != symbol.as_str().as_bytes() {
                    return Err(other_symbol(&String::from_utf8_lossy(name), symbol));
                }
                scoped(fields.get(self.id)?, file)
            }
        };
        let quantities = quantity(fields.get(self.price)?).zip(quantity(fields.get(self.size)?));
        let trade = quantities.map(|(price, size)| Trade {
            symbol: id,
            time: ExchangeMillis::new(fine_time.div_euclid(UNITS_PER_MILLI)),
            sequence: 0,
            price,
            size,
            side,
            block: false,
            id: trade_id,
        });
        Ok(Row { fine_time, trade })
    }
}

#[cold]
fn too_short(count: usize, columns: usize) -> String {
    format!("has {count} of {columns} columns")
}

#[cold]
fn other_symbol(found: &str, symbol: &Symbol) -> String {
    format!(
        "is a trade of {found}, but the file begins with {symbol}: an archive has the trades of one symbol; split the file"
    )
}

/// Returns an id that is unique over files.
#[inline]
fn scoped(id: &[u8], file: u32) -> TradeId {
    match std::str::from_utf8(id).map_or_else(|_| trade_id(&String::from_utf8_lossy(id)), trade_id) {
        TradeId::Uuid { high, low } => TradeId::Archived { file, high, low },
        TradeId::Text(text) => TradeId::Text(format!("{file}:{text}").into_boxed_str()),
        TradeId::Number(low) => TradeId::Text(format!("{file}:{low}").into_boxed_str()),
        other => other,
    }
}

/// Parses a timestamp into units of 100 µs.
#[inline]
fn fine_time(kind: ArchiveKind, text: &[u8]) -> Result<i64, String> {
    let (units, decimals) = match kind {
        ArchiveKind::Derivatives => (10_000, 4),
        ArchiveKind::Spot => (10, 1),
    };
    let usual = usual_time(text, units, decimals).or_else(|| unusual_time(text, units.into()));
    usual.filter(|time| (1..=LATEST_TIME.get() * UNITS_PER_MILLI).contains(time)).ok_or_else(|| not_a_time(text))
}

#[cold]
fn not_a_time(text: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(text).chars().take(60).collect();
    format!("timestamp {shown:?} is not a time")
}

/// Parses digits with at most `decimals` decimals.
#[inline]
fn usual_time(text: &[u8], units: i64, decimals: u32) -> Option<i64> {
    let (mut value, mut scale, mut point) = (0i64, 1, false);
    for (at, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 && at < 16 {
            value = value * 10 + i64::from(digit);
            scale *= if point { 10 } else { 1 };
        } else if *byte == b'.' && !point && at > 0 && text.len() - at - 1 <= decimals as usize {
            point = true;
        } else {
            return None;
        }
    }
    (!text.is_empty() && text.last() != Some(&b'.')).then(|| value * (units / scale))
}

/// Parses a time in another notation, for example with more decimals, which are cut off.
#[cold]
fn unusual_time(text: &[u8], units: i128) -> Option<i64> {
    let value = Decimal::parse(std::str::from_utf8(text).ok()?).ok()?;
    let divisor = klines_domain::decimal::power_of_ten(value.scale())?;
    i64::try_from(value.mantissa().checked_mul(units)? / divisor).ok()
}

/// Returns whether a file name contains a month without a day.
pub(super) fn is_monthly(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let date = name.char_indices().filter_map(|(at, _)| name.get(at..)).find(|rest| starts_with_month(rest));
    date.and_then(|date| date.get(7..)).is_some_and(|rest| !rest.starts_with('-'))
}

/// Finds the symbol in names such as `BTCUSDT_2025-03-13.csv.gz`, `BTCUSDT-2022-11.csv`, `spot_BTCUSDT_2025-03-13.csv`.
pub(super) fn symbol_in_name(path: &Path) -> Option<Symbol> {
    let name = path.file_name()?.to_str()?;
    let stem = name.split('.').next()?;
    let date = stem.char_indices().map(|(at, _)| at).find(|at| stem.get(*at..).is_some_and(starts_with_month))?;
    let before = stem.get(..date)?.trim_end_matches(['_', '-']);
    Symbol::new(before.rsplit('_').next()?).ok()
}

/// Returns whether a text starts with `YYYY-MM`.
fn starts_with_month(text: &str) -> bool {
    let mut bytes = text.bytes();
    let digits = |bytes: &mut std::str::Bytes<'_>, count| bytes.take(count).filter(u8::is_ascii_digit).count() == count;
    digits(&mut bytes, 4) && bytes.next() == Some(b'-') && digits(&mut bytes, 2)
}
