//! Takes the place of `parquet.rs` in a build without the feature `parquet`. The command line refuses the format first.

use std::io::{BufRead, Write};

use klines_delivery::encode::{CsvColumn, CsvScales};

/// Refuses to write.
///
/// # Errors
/// Always.
pub(super) fn write(
    _rows: impl BufRead,
    _columns: &[CsvColumn],
    _scales: CsvScales,
    _out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    anyhow::bail!("this build has no parquet")
}
