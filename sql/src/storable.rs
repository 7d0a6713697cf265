//! The columns of a result as files can hold them: no views, dictionaries or large offsets, timestamps in UTC.

use crate::context::UTC;
use crate::{Error, Result};
use arrow_array::RecordBatch;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// What a result is turned into at last.
#[derive(Debug)]
pub(crate) struct Storable {
    schema: SchemaRef,
    /// Which columns have another type before.
    casts: Vec<usize>,
}

impl Storable {
    /// Refuses a column that no file can hold.
    pub(crate) fn new(result: &Schema) -> Result<Self> {
        let mut casts = Vec::new();
        let mut fields = Vec::with_capacity(result.fields().len());
        for (index, field) in result.fields().iter().enumerate() {
            let kept = storable_field(field).ok_or_else(|| Error::ColumnType {
                column: field.name().clone(),
                data_type: field.data_type().clone(),
            })?;
            if kept.data_type() != field.data_type() {
                casts.push(index);
            }
            fields.push(kept);
        }
        Ok(Self { schema: Arc::new(Schema::new(fields)), casts })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether batches pass unchanged but for names.
    pub(crate) fn is_plain(&self) -> bool {
        self.casts.is_empty()
    }

    /// The batch with the types of the schema; a value that does not fit is an error.
    pub(crate) fn store(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns = batch.columns().to_vec();
        let options = CastOptions { safe: false, ..CastOptions::default() };
        for index in &self.casts {
            let target = self.schema.field(*index).data_type();
            columns[*index] = cast_with_options(&columns[*index], target, &options)?;
        }
        crate::run::batch_of(Arc::clone(&self.schema), columns, batch.num_rows())
    }
}

fn storable_field(field: &FieldRef) -> Option<FieldRef> {
    let data_type = storable(field.data_type())?;
    if data_type == *field.data_type() {
        return Some(Arc::clone(field));
    }
    // A constant NULL says that it is never NULL; as text it is.
    let nullable = field.is_nullable() || field.data_type().is_null();
    Some(Arc::new(Field::new(field.name(), data_type, nullable).with_metadata(field.metadata().clone())))
}

fn storable(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(unit, _) => {
            let unit = if *unit == TimeUnit::Second { TimeUnit::Millisecond } else { *unit };
            DataType::Timestamp(unit, Some(UTC.into()))
        }
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Dictionary(_, values) => storable(values)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(storable_field(item)?),
        DataType::Struct(fields) if fields.is_empty() => return None,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(storable_field).collect::<Option<Fields>>()?),
        DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::Map(..) => return None,
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::IntervalUnit;

    #[test]
    fn types_that_files_do_not_know_become_ones_they_do() {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        for (data_type, stored) in [
            (DataType::Null, Some(DataType::Utf8)),
            (DataType::Utf8View, Some(DataType::Utf8)),
            (DataType::BinaryView, Some(DataType::Binary)),
            (DataType::UInt8, Some(DataType::UInt8)),
            (
                DataType::Timestamp(TimeUnit::Second, None),
                Some(DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()))),
            ),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View)), Some(DataType::Utf8)),
            (DataType::LargeList(Arc::new(Field::new_list_field(DataType::Null, true))), Some(list(DataType::Utf8))),
            (DataType::Duration(TimeUnit::Second), None),
            (list(DataType::Interval(IntervalUnit::DayTime)), None),
            (DataType::Struct(Fields::empty()), None),
        ] {
            assert_eq!(storable(&data_type), stored, "{data_type}");
        }
    }
}
