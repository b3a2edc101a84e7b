//! One column of a Parquet file: its type, and its values of the current row group.

use std::mem::take;

use anyhow::Context;
use bytes::Bytes;
use klines_delivery::encode::{CsvColumn, CsvScales};
use klines_domain::decimal::{Decimal, power_of_ten, widen};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType};
use parquet::data_type::{Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::Type;

/// Number of digits of every decimal: as many as fit 16 bytes.
const DIGITS: u8 = 38;
/// Bytes of a decimal.
const DECIMAL: usize = size_of::<i128>();

/// The values of one column.
pub(super) struct ColumnValues {
    name: &'static str,
    values: Values,
}

/// Values, by the type in the file.
enum Values {
    /// UTF-8 text: all texts in one buffer, and the end of each.
    Text(Vec<u8>, Vec<usize>),
    /// Milliseconds since 1970.
    Time(Vec<i64>),
    Count(Vec<i64>),
    SmallCount(Vec<i32>),
    Flag(Vec<bool>),
    /// Big-endian integers of [`DECIMAL`] bytes, in units of the scale.
    Decimal(Vec<u8>, u8),
}

impl ColumnValues {
    /// Returns a column without values.
    pub(super) fn new(column: CsvColumn, scales: CsvScales) -> Self {
        let values = match column {
            CsvColumn::Category | CsvColumn::Symbol | CsvColumn::Interval | CsvColumn::Quality => {
                Values::Text(Vec::new(), Vec::new())
            }
            CsvColumn::Start | CsvColumn::End | CsvColumn::LastTradeTime | CsvColumn::Emitted => {
                Values::Time(Vec::new())
            }
            CsvColumn::Trades | CsvColumn::Sequence => Values::Count(Vec::new()),
            CsvColumn::PriceDecimals | CsvColumn::VolumeDecimals | CsvColumn::Revision => {
                Values::SmallCount(Vec::new())
            }
            CsvColumn::Confirm => Values::Flag(Vec::new()),
            CsvColumn::Open
            | CsvColumn::High
            | CsvColumn::Low
            | CsvColumn::Close
            | CsvColumn::Volume
            | CsvColumn::Turnover
            | CsvColumn::BuyVolume
            | CsvColumn::BuyTurnover => Values::Decimal(Vec::new(), scales.of(column).unwrap_or(0)),
        };
        Self { name: column.as_str(), values }
    }

    /// Returns the field of the schema.
    pub(super) fn field(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match &self.values {
            Values::Text(..) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            Values::Time(_) => (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Values::Count(_) => (PhysicalType::INT64, None),
            Values::SmallCount(_) => (PhysicalType::INT32, None),
            Values::Flag(_) => (PhysicalType::BOOLEAN, None),
            Values::Decimal(_, scale) => {
                (PhysicalType::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal((*scale).into(), DIGITS.into())))
            }
        };
        let builder = Type::primitive_type_builder(self.name, physical).with_repetition(Repetition::REQUIRED);
        let builder = match &self.values {
            Values::Decimal(_, scale) => {
                builder.with_length(16).with_precision(DIGITS.into()).with_scale((*scale).into())
            }
            _ => builder,
        };
        builder.with_logical_type(logical).build()
    }

    /// Adds a value that is written as in a csv row.
    pub(super) fn push(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.values {
            Values::Text(buffer, ends) => {
                buffer.extend_from_slice(text.as_bytes());
                ends.push(buffer.len());
            }
            Values::Time(values) | Values::Count(values) => values.push(text.parse().context(self.name)?),
            Values::SmallCount(values) => values.push(text.parse().context(self.name)?),
            Values::Flag(values) => values.push(text.parse().context(self.name)?),
            Values::Decimal(bytes, scale) => {
                let value = Decimal::parse(text).context(self.name)?;
                let mantissa = scale.checked_sub(value.scale()).and_then(|by| widen(value.mantissa(), by));
                let fits = |mantissa: &i128| power_of_ten(DIGITS).is_some_and(|most| mantissa.abs() < most);
                let mantissa = mantissa.filter(fits);
                let mantissa = mantissa.with_context(|| {
                    format!("{} {text} does not fit {DIGITS} digits with {scale} decimals", self.name)
                })?;
                bytes.extend_from_slice(&mantissa.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Writes the values, and removes them.
    pub(super) fn write(&mut self, chunk: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Text(buffer, ends) => {
                let (buffer, mut start) = (Bytes::from(take(buffer)), 0);
                let texts = take(ends).into_iter().map(|end| {
                    let text = buffer.slice(start..end);
                    start = end;
                    ByteArray::from(text)
                });
                let texts: Vec<ByteArray> = texts.collect();
                chunk.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
            }
            Values::Time(values) | Values::Count(values) => {
                chunk.typed::<Int64Type>().write_batch(&take(values), None, None)?;
            }
            Values::SmallCount(values) => {
                chunk.typed::<Int32Type>().write_batch(&take(values), None, None)?;
            }
            Values::Flag(values) => {
                chunk.typed::<BoolType>().write_batch(&take(values), None, None)?;
            }
            Values::Decimal(bytes, _) => {
                let bytes = Bytes::from(take(bytes));
                let starts = (0..bytes.len()).step_by(DECIMAL);
                let numbers = starts.map(|start| ByteArray::from(bytes.slice(start..start + DECIMAL)).into());
                let numbers: Vec<FixedLenByteArray> = numbers.collect();
                chunk.typed::<FixedLenByteArrayType>().write_batch(&numbers, None, None)?;
            }
        }
        Ok(())
    }
}
