//! Writes rows as a Parquet file: exact decimals, one row group after the other.
//!
//! All values of a column have one scale, which a file states once. A later kline can have a larger scale than those
//! before, so the rows are written at the end, when the largest is known. A fixed scale that is large enough for every
//! symbol would need no waiting, but products of such columns do not fit the 38 digits that readers calculate with.

mod column;

use std::io::{BufRead, Write};
use std::sync::Arc;

use anyhow::Context;
use klines_delivery::encode::{CsvColumn, CsvScales};
use parquet::basic::{Compression, Repetition, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use self::column::ColumnValues;

/// Maximum number of rows of a row group, all of which are in memory while it is written.
const ROWS: usize = 1 << 17;

/// Writes trimmed csv rows as a Parquet file. Without an error the file is complete; otherwise it has no footer, and
/// readers refuse it.
///
/// # Errors
/// A row that cannot be read, a number of more than 38 digits, or the error of `out`.
pub(super) fn write(
    mut rows: impl BufRead,
    columns: &[CsvColumn],
    scales: CsvScales,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut values: Vec<ColumnValues> = columns.iter().map(|column| ColumnValues::new(*column, scales)).collect();
    let fields = values.iter().map(|column| column.field().map(Arc::new)).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("kline").with_repetition(Repetition::REQUIRED).with_fields(fields).build()?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut line = String::new();
    loop {
        let mut count = 0;
        while count < ROWS && rows.read_line(&mut line).context("reading the rows back")? > 0 {
            for (column, text) in values.iter_mut().zip(line.trim_end().split(',')) {
                column.push(text).with_context(|| format!("the row {}", line.trim_end()))?;
            }
            line.clear();
            count += 1;
        }
        if count == 0 {
            break;
        }
        let mut group = writer.next_row_group()?;
        for column in &mut values {
            let mut chunk = group.next_column()?.context("the schema has fewer columns")?;
            column.write(&mut chunk)?;
            chunk.close()?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests;
