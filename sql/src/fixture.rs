//! What tests share: one row of every type, and results as text.

use crate::{Error, Script, Transform, Transformed};
use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// 2026-03-04T05:06:07.089Z
pub(crate) const STARTED: i64 = 1_772_600_767_089;

pub(crate) fn plan(sql: &str, schema: &SchemaRef) -> Result<Transform, Error> {
    let script = Script::parse(sql)?;
    Transform::plan(&script.statements()[0], schema, STARTED)
}

#[track_caller]
pub(crate) fn run(sql: &str, batch: &RecordBatch) -> Transformed {
    let transform = plan(sql, &batch.schema()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let done = transform.run(batch).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(done.batch.schema_ref(), transform.schema(), "{sql}");
    assert_eq!(done.steps.len(), transform.steps().len(), "{sql}");
    done
}

/// The rows, values parted by `|`.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// Whole numbers in columns of these names.
pub(crate) fn numbers(columns: &[(&str, Vec<Option<i64>>)]) -> RecordBatch {
    let arrays = columns.iter().map(|(name, values)| (*name, Arc::new(Int64Array::from(values.clone())) as ArrayRef));
    RecordBatch::try_from_iter_with_nullable(arrays.map(|(name, array)| (name, array, true))).unwrap()
}

/// A stream without columns of its own: JSON in `value`.
pub(crate) fn unstructured(values: &[&str]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![crate::json::field("value")]));
    RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(values.to_vec()))]).unwrap()
}

/// One row with a column of each type.
pub(crate) fn everything() -> RecordBatch {
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(10), Some(20), Some(30)]);
    let mut words = ListBuilder::new(StringBuilder::new());
    words.append_value([Some("x"), Some("y")]);
    let customer = StructArray::from(vec![
        (Arc::new(Field::new("firstName", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["Ada"])) as ArrayRef),
        (Arc::new(Field::new("age", DataType::Int64, true)), Arc::new(Int64Array::from(vec![36])) as ArrayRef),
    ]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("a", DataType::Int64, true), Arc::new(Int64Array::from(vec![7]))),
        (Field::new("merchantId", DataType::Utf8, true), Arc::new(StringArray::from(vec!["m-1"]))),
        (Field::new("t", DataType::Utf8, true), Arc::new(StringArray::from(vec!["Hello World"]))),
        (Field::new("d", DataType::Float64, true), Arc::new(Float64Array::from(vec![2.5]))),
        (Field::new("ok", DataType::Boolean, true), Arc::new(BooleanArray::from(vec![true]))),
        (Field::new("raw", DataType::Binary, true), Arc::new(BinaryArray::from(vec![b"\x01\xff".as_slice()]))),
        (
            Field::new("ts", DataType::Timestamp(arrow_schema::TimeUnit::Millisecond, Some("UTC".into())), true),
            Arc::new(TimestampMillisecondArray::from(vec![STARTED]).with_timezone("UTC")),
        ),
        (Field::new_list("list", Field::new_list_field(DataType::Int64, true), true), Arc::new(list.finish())),
        (Field::new_list("words", Field::new_list_field(DataType::Utf8, true), true), Arc::new(words.finish())),
        (Field::new("customer", customer.data_type().clone(), true), Arc::new(customer)),
        (
            crate::json::field("json").as_ref().clone(),
            Arc::new(StringArray::from(vec![r#"{"n":7.5,"s":"x","l":[1,{"k":true}],"z":null}"#])),
        ),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}
