//! Bybit's archive CSVs (public.bybit.com): `trading/` for derivatives, `spot/` for spot.
//!
//! A file is read as a whole, because old files are newest-first: those are reversed, then every file is sorted stably
//! by its timestamps. Ids are unique only within a file; those of spot archives are row numbers and are not used.

use std::path::Path;

use klines_domain::decimal::Decimal;
use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Side, Trade, TradeId};

use super::file::Lines;
use super::frames::is_inverse;
use super::{Body, Options, Record, SourceError};
use crate::decode::{LATEST_TIME, quantity, trade_id};

/// The kind of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArchiveKind {
    /// `timestamp,symbol,side,size,price,…,trdMatchID,…`: times in seconds with up to 4 decimals.
    Derivatives,
    /// `id,timestamp,price,volume,side[,rpi]`: times in milliseconds.
    Spot,
}

/// Returns the kind of archive that has this header.
pub(super) fn kind_of(header: &str) -> Option<ArchiveKind> {
    if header.starts_with("timestamp,symbol,side,size,price") {
        Some(ArchiveKind::Derivatives)
    } else if header.starts_with("id,timestamp,price,volume,side") {
        Some(ArchiveKind::Spot)
    } else {
        None
    }
}

/// Reads all rows after the header; `number` distinguishes this file's ids from those of other files.
pub(super) fn read(
    kind: ArchiveKind,
    header: &str,
    lines: &mut Lines,
    options: &Options,
    number: u32,
) -> Result<Vec<(Millis, Record)>, SourceError> {
    let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
    let symbol = match kind {
        ArchiveKind::Derivatives => None,
        ArchiveKind::Spot => {
            let named = symbol_in_name(lines.path()).or_else(|| options.symbol.clone());
            Some(named.ok_or_else(|| SourceError::NoSymbol { path: lines.path().to_owned() })?)
        }
    };
    let layout = Layout { columns, symbol, number };
    let mut rows = Vec::new();
    while let Some(line) = lines.next()? {
        match layout.row(kind, line) {
            Ok(row) => rows.push(row),
            Err(_) if !rows.is_empty() && lines.is_at_end() => break,
            Err(reason) => return Err(lines.wrong(reason)),
        }
    }
    let newest_first = rows.first().map(|row| row.fine_time) > rows.last().map(|row| row.fine_time);
    if newest_first {
        rows.reverse();
    }
    rows.sort_by_key(|row| row.fine_time);
    Ok(rows.into_iter().map(ArchiveRow::into_record).collect())
}

struct Layout {
    columns: Vec<String>,
    symbol: Option<Symbol>,
    number: u32,
}

/// A row with its time in units of 100 µs, which orders trades within a millisecond.
struct ArchiveRow {
    fine_time: i64,
    category: Category,
    symbol: Symbol,
    trade: Option<Trade>,
}

impl ArchiveRow {
    fn into_record(self) -> (Millis, Record) {
        let time = self.fine_time.div_euclid(10);
        let body = match self.trade {
            Some(trade) => Body::Trade(self.symbol, trade),
            None => Body::Rejected(self.symbol, ExchangeMillis::new(time)),
        };
        (time, Record { received: None, category: self.category, connection: None, body })
    }
}

impl Layout {
    /// Parses one row. Returns an error if it does not have the file's format; the row has no trade if its price or
    /// size is not plausible.
    fn row(&self, kind: ArchiveKind, line: &str) -> Result<ArchiveRow, String> {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |name: &str| {
            let at = self.columns.iter().position(|column| column == name);
            at.and_then(|at| fields.get(at)).copied().ok_or_else(|| format!("has no {name}"))
        };
        let side = match field("side")? {
            "Buy" | "buy" => Side::Buy,
            "Sell" | "sell" => Side::Sell,
            other => return Err(format!("side {other:?} is neither buy nor sell")),
        };
        let fine_time = fine_time(kind, field("timestamp")?)?;
        let (symbol, category, size, id) = match (kind, &self.symbol) {
            (ArchiveKind::Spot, Some(symbol)) => (symbol.clone(), Category::Spot, field("volume")?, TradeId::None),
            _ => {
                let name = field("symbol")?;
                let symbol = Symbol::new(name).map_err(|error| format!("symbol {name:?}: {error}"))?;
                let category = if is_inverse(name) { Category::Inverse } else { Category::Linear };
                (symbol, category, field("size")?, scoped(trade_id(field("trdMatchID")?), self.number))
            }
        };
        let quantities = quantity(field("price")?.as_bytes()).zip(quantity(size.as_bytes()));
        let trade = quantities.map(|(price, size)| Trade {
            symbol: SymbolId(0),
            time: ExchangeMillis::new(fine_time.div_euclid(10)),
            sequence: 0,
            price,
            size,
            side,
            block: false,
            id,
        });
        Ok(ArchiveRow { fine_time, category, symbol, trade })
    }
}

/// Returns an id that is unique over files.
fn scoped(id: TradeId, file: u32) -> TradeId {
    match id {
        TradeId::Uuid { high, low } => TradeId::Archived { file, high, low },
        TradeId::Text(text) => TradeId::Text(format!("{file}:{text}").into_boxed_str()),
        TradeId::Number(low) => TradeId::Text(format!("{file}:{low}").into_boxed_str()),
        other => other,
    }
}

/// Parses a timestamp into units of 100 µs.
fn fine_time(kind: ArchiveKind, text: &str) -> Result<i64, String> {
    let wrong = || format!("timestamp {text:?} is not a time");
    let value = Decimal::parse(text).map_err(|_| wrong())?;
    let units = match kind {
        ArchiveKind::Derivatives => 10_000,
        ArchiveKind::Spot => 10,
    };
    let divisor = klines_domain::decimal::power_of_ten(value.scale()).ok_or_else(wrong)?;
    let scaled = value.mantissa().checked_mul(units).ok_or_else(wrong)? / divisor;
    i64::try_from(scaled).ok().filter(|time| (1..=LATEST_TIME.get() * 10).contains(time)).ok_or_else(wrong)
}

/// Returns whether a file name contains a month without a day.
pub(super) fn is_monthly(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let date = name.char_indices().filter_map(|(at, _)| name.get(at..)).find(|rest| starts_with_month(rest));
    date.and_then(|date| date.get(7..)).is_some_and(|rest| !rest.starts_with('-'))
}

/// Finds the symbol in names such as `BTCUSDT_2025-03-13.csv.gz`, `BTCUSDT-2022-11.csv`, `spot_BTCUSDT_2025-03-13.csv`.
fn symbol_in_name(path: &Path) -> Option<Symbol> {
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
