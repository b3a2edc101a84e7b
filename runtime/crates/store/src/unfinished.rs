//! Finds what a run has left unfinished in a series: windows without a kline between others that have one, and windows whose
//! klines may lack trades. The next run repairs them, as far as that is possible.

use klines_domain::interval::Interval;
use klines_domain::kline::Quality;
use klines_domain::time::{MINUTE, Millis};
use rusqlite::{Transaction, params};

use crate::backfill::NO_SEQUENCE;
use crate::block::{Decoder, Rows};
use crate::error::StepError;
use crate::merge;
use crate::period;
use crate::row::Row;

/// How far back windows of less than a minute are looked at: only recent trades repair them.
const SECONDS_REPAIRED: Millis = 15 * MINUTE;

/// What is unfinished in a series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The first and the last moment of each row of windows without a kline, ascending.
    pub missing: Vec<(Millis, Millis)>,
    /// The windows whose klines may lack trades, ascending, with the revisions of these.
    pub doubtful: Vec<(Millis, u32)>,
}

/// Returns what is unfinished in a series up to its last kline, not more than `horizon` ms before `newest`. The log has to be
/// empty.
pub fn find(
    transaction: &Transaction<'_>,
    (series, interval): (i64, Interval),
    (newest, horizon): (Millis, Millis),
    decoder: &mut Decoder,
) -> Result<Unfinished, StepError> {
    let back = if interval < Interval::MINUTE { horizon.min(SECONDS_REPAIRED) } else { horizon };
    let from = interval.start_of(newest.saturating_sub(back));
    let find = "SELECT data FROM blocks WHERE series = ?1 AND first > ?2 AND last >= ?3";
    let mut blocks = transaction.prepare_cached(find)?;
    // A block lies within its period.
    let mut found = blocks.query(params![series, from.saturating_sub(period::length(interval)), from])?;
    let mut rows = Rows::new();
    while let Some(block) = found.next()? {
        decoder.decode((series, interval), block.get_ref(0)?.as_blob().unwrap_or_default(), &mut rows)?;
    }
    merge::sort(&mut rows);
    merge::newest(&mut rows);
    rows.retain(|(_, row)| row.start >= from);
    Ok(unfinished(interval, rows.iter().map(|(_, row)| row)))
}

/// Looks at the newest klines of the windows of a series, ascending. What lies before the first kline of a run was not watched.
fn unfinished<'a>(interval: Interval, rows: impl Iterator<Item = &'a Row>) -> Unfinished {
    let mut unfinished = Unfinished::default();
    let mut next = None;
    for row in rows.skip_while(|row| row.sequence == NO_SEQUENCE) {
        let missing = next.replace(interval.next(row.start)).filter(|next| *next < row.start);
        unfinished.missing.extend(missing.map(|from| (from, row.start - 1)));
        if matches!(row.quality, Quality::Gapped | Quality::Partial) {
            unfinished.doubtful.push((row.start, row.revision));
        }
    }
    unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(minute: Millis, quality: Quality, sequence: u64) -> Row {
        let start = minute * MINUTE;
        let (price, sum) = (5, 0);
        Row {
            start,
            revision: 3,
            sequence,
            quality,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: sum,
            turnover: sum,
            buy_volume: sum,
            buy_turnover: sum,
            trades: 0,
            last_trade_time: 0,
        }
    }

    #[test]
    fn what_is_missing_between_klines_and_what_may_lack_trades_is_unfinished() {
        let filled = row(1, Quality::Repaired, NO_SEQUENCE);
        let rows = [
            filled,
            row(3, Quality::Partial, 1),
            row(4, Quality::Complete, 2),
            row(7, Quality::Repaired, 3),
            row(8, Quality::Gapped, 4),
        ];
        let found = unfinished(Interval::MINUTE, rows.iter());
        assert_eq!(
            found.missing,
            [(5 * MINUTE, 7 * MINUTE - 1)],
            "nothing was watched before the first minute of a run"
        );
        assert_eq!(found.doubtful, [(3 * MINUTE, 3), (8 * MINUTE, 3)]);
    }
}
