//! Metrics of the store of klines.

use std::fmt;

use klines_store::recorder::Counters;

use super::family::{Exposition, Unit};

/// Writes what has been stored and lost.
pub(super) fn write(exposition: &mut Exposition<'_>, counters: Counters) -> fmt::Result {
    let Counters { stored, lost, bytes, is_failing } = counters;
    let bare: [(&str, &str); 0] = [];
    exposition.counters("klines_store_klines", "Total number of klines and revisions stored.", [(bare, stored)])?;
    exposition.counters(
        "klines_store_lost_klines",
        "Total number of klines and revisions that were not stored because the disk did not take them in time.",
        [(bare, lost)],
    )?;
    exposition.gauges("klines_store", "Size of the store in bytes.", Unit::Bytes, [(bare, bytes)])?;
    exposition.gauges(
        "klines_store_failing",
        "1 while the store does not take klines, otherwise 0.",
        Unit::None,
        [(bare, u64::from(is_failing))],
    )
}
