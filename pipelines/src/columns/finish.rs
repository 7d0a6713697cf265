//! Columns become Arrow arrays, and say what the schema has become.

use super::Finished;
use super::column::{Column, Data, FieldColumns};
use crate::schema::{EventSchema, Kind, SchemaField, arrow_fields};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, UInt64Array,
};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, Field};
use std::sync::Arc;

pub(super) fn finish(fields: FieldColumns, rows: usize) -> Result<Finished, ArrowError> {
    let (fields, arrays) = finish_fields(fields, rows)?;
    let schema = EventSchema { fields };
    let batch = if arrays.is_empty() { None } else { Some(RecordBatch::try_new(schema.arrow(), arrays)?) };
    Ok(Finished { schema, batch })
}

fn finish_fields(columns: FieldColumns, rows: usize) -> Result<(Vec<SchemaField>, Vec<ArrayRef>), ArrowError> {
    let mut fields = Vec::with_capacity(columns.fields.len());
    let mut arrays = Vec::with_capacity(columns.fields.len());
    for field in columns.fields {
        if let Some((kind, array)) = finish_column(field.column, rows)? {
            fields.push(SchemaField { name: field.name, kind });
            arrays.push(array);
        }
    }
    Ok((fields, arrays))
}

/// The array of a column, or `None` when nothing says what it holds.
fn finish_column(mut column: Column, rows: usize) -> Result<Option<(Kind, ArrayRef)>, ArrowError> {
    if column.is_null() && !column.fixed {
        return Ok(None);
    }
    column.pad_to(rows);
    assert_eq!(column.len(), rows, "no column is longer than there are rows");
    let nulls = column.nulls.finish(rows);
    let finished: (Kind, ArrayRef) = match column.data {
        Data::Unknown => return Ok(None),
        Data::Bool(mut values) => (Kind::Bool, Arc::new(BooleanArray::new(values.finish(), nulls))),
        Data::Int { values, .. } => (Kind::Int, Arc::new(Int64Array::new(values.into(), nulls))),
        Data::UInt(values) => (Kind::UInt, Arc::new(UInt64Array::new(values.into(), nulls))),
        Data::Float(values) => (Kind::Float, Arc::new(Float64Array::new(values.into(), nulls))),
        text @ (Data::Text { .. } | Data::Json { .. }) => {
            let kind = if matches!(text, Data::Text { .. }) { Kind::Text } else { Kind::Json };
            let (Data::Text { offsets, bytes } | Data::Json { offsets, bytes }) = text else { return Ok(None) };
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            (kind, Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?))
        }
        Data::Struct(fields) => {
            let (fields, arrays) = finish_fields(fields, rows)?;
            if fields.is_empty() {
                return Ok(None);
            }
            let array = StructArray::try_new(arrow_fields(&fields), arrays, nulls)?;
            (Kind::Struct(fields), Arc::new(array))
        }
        Data::List { offsets, items } => {
            let count = items.len();
            let Some((kind, items)) = finish_column(*items, count)? else {
                return Ok(None);
            };
            let field = Arc::new(Field::new_list_field(kind.data_type(), true));
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            (Kind::List(Box::new(kind)), Arc::new(ListArray::try_new(field, offsets, items, nulls)?))
        }
    };
    Ok(Some(finished))
}
