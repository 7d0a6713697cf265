//! Declared columns become a record batch: the schema as Arrow knows it, and the arrays.

use super::column::{Column, Data, FieldColumns, Pieces};
use super::rest::Rest;
use super::{DeclaredField, DeclaredSchema, DeclaredType, DeclaredValue, REST, TimestampUnit, UnknownFields};
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, TimeUnit};
use std::sync::Arc;

/// The time zone of timestamps.
const UTC: &str = "UTC";

/// What says that a column of text holds JSON; in Parquet it becomes the logical type JSON.
const JSON_EXTENSION: &str = "arrow.json";

impl DeclaredSchema {
    /// The columns as Arrow knows them.
    pub(crate) fn arrow(&self) -> Arc<Schema> {
        let rest = (self.unknown == UnknownFields::Keep).then(|| json(Field::new(REST, DataType::Utf8, true)));
        let fields: Fields = self.fields.iter().map(arrow_field).chain(rest).collect();
        Arc::new(Schema::new(fields))
    }
}

fn arrow_field(field: &DeclaredField) -> Field {
    marked(&field.value, Field::new(&field.name, data_type(&field.value.kind), !field.value.required))
}

fn item_field(items: &DeclaredValue) -> Field {
    marked(items, Field::new_list_field(data_type(&items.kind), !items.required))
}

fn marked(value: &DeclaredValue, field: Field) -> Field {
    if value.kind == DeclaredType::Json { json(field) } else { field }
}

/// Whether a column of text is marked as JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION_TYPE_NAME_KEY).is_some_and(|name| name == JSON_EXTENSION)
}

/// Marks a column of text as JSON.
pub(crate) fn json(field: Field) -> Field {
    let marks = [(EXTENSION_TYPE_NAME_KEY, JSON_EXTENSION), (EXTENSION_TYPE_METADATA_KEY, "")];
    field.with_metadata(marks.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

fn data_type(kind: &DeclaredType) -> DataType {
    match kind {
        DeclaredType::Bool => DataType::Boolean,
        DeclaredType::Int32 => DataType::Int32,
        DeclaredType::Int64 => DataType::Int64,
        DeclaredType::UInt32 => DataType::UInt32,
        DeclaredType::UInt64 => DataType::UInt64,
        DeclaredType::Float32 => DataType::Float32,
        DeclaredType::Float64 => DataType::Float64,
        DeclaredType::Decimal { precision, scale } => DataType::Decimal128(*precision, arrow_scale(*scale)),
        DeclaredType::String | DeclaredType::Json => DataType::Utf8,
        DeclaredType::Timestamp(unit) => {
            let unit = match unit.stored() {
                TimestampUnit::Second | TimestampUnit::Millisecond => TimeUnit::Millisecond,
                TimestampUnit::Microsecond => TimeUnit::Microsecond,
                TimestampUnit::Nanosecond => TimeUnit::Nanosecond,
            };
            DataType::Timestamp(unit, Some(UTC.into()))
        }
        DeclaredType::Bytes | DeclaredType::Binary => DataType::Binary,
        DeclaredType::List(items) => DataType::List(Arc::new(item_field(items))),
        DeclaredType::Struct(fields) => DataType::Struct(fields.iter().map(arrow_field).collect()),
    }
}

fn arrow_scale(scale: u8) -> i8 {
    i8::try_from(scale).expect("a scale is at most 38")
}

/// All columns, `rows` long.
pub(super) fn finish(
    columns: FieldColumns,
    mut rest: Rest,
    schema: &DeclaredSchema,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let schema = schema.arrow();
    let mut arrays = finish_fields(columns, schema.fields(), rows)?;
    if rest.keeps() {
        let nulls = rest.nulls.finish(rows);
        arrays.push(texts(std::mem::take(&mut rest.pieces), nulls)?);
    }
    RecordBatch::try_new(schema, arrays)
}

fn finish_fields(columns: FieldColumns, fields: &Fields, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    let columns = columns.fields.into_iter().zip(fields);
    columns.map(|(column, field)| finish_column(column.column, field.data_type(), rows)).collect()
}

fn finish_column(mut column: Column, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    column.pad_to(rows);
    assert_eq!(column.rows, rows, "no column is longer than there are rows");
    let nulls = column.nulls.finish(rows);
    Ok(match column.data {
        Data::Bool(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
        Data::Int32(values) => Arc::new(numbers::<Int32Type>(values, nulls)?),
        Data::Int64(values) => Arc::new(numbers::<Int64Type>(values, nulls)?),
        Data::UInt32(values) => Arc::new(numbers::<UInt32Type>(values, nulls)?),
        Data::UInt64(values) => Arc::new(numbers::<UInt64Type>(values, nulls)?),
        Data::Float32(values) => Arc::new(numbers::<Float32Type>(values, nulls)?),
        Data::Float64(values) => Arc::new(numbers::<Float64Type>(values, nulls)?),
        Data::Decimal { values, precision, scale } => {
            let array = numbers::<Decimal128Type>(values, nulls)?;
            Arc::new(array.with_precision_and_scale(precision, arrow_scale(scale))?)
        }
        Data::Timestamp { values, unit, .. } => match unit.stored() {
            TimestampUnit::Second | TimestampUnit::Millisecond => {
                Arc::new(numbers::<TimestampMillisecondType>(values, nulls)?.with_timezone(UTC))
            }
            TimestampUnit::Microsecond => {
                Arc::new(numbers::<TimestampMicrosecondType>(values, nulls)?.with_timezone(UTC))
            }
            TimestampUnit::Nanosecond => {
                Arc::new(numbers::<TimestampNanosecondType>(values, nulls)?.with_timezone(UTC))
            }
        },
        Data::Text(pieces) | Data::Json(pieces) => texts(pieces, nulls)?,
        Data::Bytes(pieces) => {
            let (offsets, bytes) = buffers(pieces);
            Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
        }
        Data::Struct(columns) => {
            let DataType::Struct(fields) = data_type else {
                return Err(other_type(data_type));
            };
            let arrays = finish_fields(columns, fields, rows)?;
            Arc::new(StructArray::try_new(fields.clone(), arrays, nulls)?)
        }
        Data::List { offsets, items } => {
            let DataType::List(item) = data_type else {
                return Err(other_type(data_type));
            };
            let count = items.rows;
            let items = finish_column(*items, item.data_type(), count)?;
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?)
        }
    })
}

fn other_type(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("the column was declared as {data_type}"))
}

fn numbers<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    PrimitiveArray::try_new(values.into(), nulls)
}

fn texts(pieces: Pieces, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let (offsets, bytes) = buffers(pieces);
    Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?))
}

fn buffers(pieces: Pieces) -> (OffsetBuffer<i32>, Buffer) {
    (OffsetBuffer::new(ScalarBuffer::from(pieces.offsets)), Buffer::from_vec(pieces.bytes))
}
