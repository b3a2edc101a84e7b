//! Writes a kline's record into a guest's memory in one piece. wasmtime calls `linear_lower_to_memory` for each kline
//! of a batch that `convert/v1` passes to a guest. The derived code asks wasmtime for the guest's memory once per
//! field, which was two fifths of the cost of a kline; this code asks once per record, and leaves the symbol to
//! wasmtime. Sizes, flat form and type check are the derived ones.

#![warn(clippy::all, unused_qualifications)]

use std::mem::MaybeUninit;

use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};

use super::klines::consumer::types::{Category, Interval, IntervalUnit, KlineParam as Kline, Quality};

/// A kline that is written as one piece.
pub struct Row<'a>(pub Kline<'a>);

/// Bytes of a record.
const SIZE: usize = <Kline<'_> as ComponentType>::SIZE32;

// SAFETY: every item delegates to the derived implementation.
unsafe impl<'a> ComponentType for Row<'a> {
    type Lower = <Kline<'a> as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <Kline<'a> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        Kline::typecheck(ty, types)
    }
}

// SAFETY: the flat form is the derived one. Bounds-checked code writes each field to its offset in memory; a test
// compares the bytes with those of the derived implementation.
unsafe impl Lower for Row<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.0.linear_lower_to_flat(cx, ty, dst)
    }

    #[inline]
    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        let Kline {
            category,
            symbol,
            interval: Interval { count, unit },
            start,
            end,
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
            confirm,
            revision,
            quality,
            sequence,
            emitted,
        } = &self.0;
        let [count_at, unit_at] = const { offsets(&[u32::ABI, IntervalUnit::ABI]) };
        let [
            category_at,
            symbol_at,
            interval_at,
            start_at,
            end_at,
            open_at,
            high_at,
            low_at,
            close_at,
            volume_at,
            turnover_at,
            buy_volume_at,
            buy_turnover_at,
            price_decimals_at,
            volume_decimals_at,
            trades_at,
            last_trade_time_at,
            confirm_at,
            revision_at,
            quality_at,
            sequence_at,
            emitted_at,
        ] = const {
            offsets(&[
                Category::ABI,
                <str as ComponentType>::ABI,
                Interval::ABI,
                u64::ABI,
                u64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                f64::ABI,
                u8::ABI,
                u8::ABI,
                u64::ABI,
                u64::ABI,
                bool::ABI,
                u32::ABI,
                Quality::ABI,
                u64::ABI,
                u64::ABI,
            ])
        };
        // This first: it allocates in the guest, which may grow its memory.
        symbol.linear_lower_to_memory(cx, InterfaceType::String, offset + symbol_at)?;
        let row: &mut [u8; SIZE] = cx.get(offset);
        put(row, category_at, [*category as u8]);
        put(row, interval_at + count_at, count.to_le_bytes());
        put(row, interval_at + unit_at, [*unit as u8]);
        put(row, start_at, start.to_le_bytes());
        put(row, end_at, end.to_le_bytes());
        put(row, open_at, open.to_le_bytes());
        put(row, high_at, high.to_le_bytes());
        put(row, low_at, low.to_le_bytes());
        put(row, close_at, close.to_le_bytes());
        put(row, volume_at, volume.to_le_bytes());
        put(row, turnover_at, turnover.to_le_bytes());
        put(row, buy_volume_at, buy_volume.to_le_bytes());
        put(row, buy_turnover_at, buy_turnover.to_le_bytes());
        put(row, price_decimals_at, [*price_decimals]);
        put(row, volume_decimals_at, [*volume_decimals]);
        put(row, trades_at, trades.to_le_bytes());
        put(row, last_trade_time_at, last_trade_time.to_le_bytes());
        put(row, confirm_at, [u8::from(*confirm)]);
        put(row, revision_at, revision.to_le_bytes());
        put(row, quality_at, [*quality as u8]);
        put(row, sequence_at, sequence.to_le_bytes());
        put(row, emitted_at, emitted.to_le_bytes());
        Ok(())
    }
}

/// Returns the offsets of a record's fields, in order, by the canonical ABI.
const fn offsets<const N: usize>(fields: &[CanonicalAbiInfo; N]) -> [usize; N] {
    let mut offsets = [0; N];
    let (mut fields, mut rest): (&[CanonicalAbiInfo], &mut [usize]) = (fields, &mut offsets);
    let mut end = 0_usize;
    while let (Some((field, later)), Some((offset, after))) = (fields.split_first(), rest.split_first_mut()) {
        *offset = end.next_multiple_of(field.align32 as usize);
        end = *offset + field.size32 as usize;
        (fields, rest) = (later, after);
    }
    offsets
}

/// Writes a field at offset `at`. A field outside of the record would be skipped, and the test would find its bytes
/// missing.
#[inline]
fn put<const N: usize>(row: &mut [u8; SIZE], at: usize, bytes: [u8; N]) {
    if let Some(place) = row.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = bytes;
    }
}

#[cfg(test)]
mod tests;
