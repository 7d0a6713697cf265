//! The rows of a record batch as JSON, one object a line: columns of JSON as the JSON they hold, bytes in base64, times as
//! RFC 3339, and no field where a row has no value.

use crate::declared::is_json;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, BinaryArray, ListArray, RecordBatch, StringArray};
use arrow_json::WriterBuilder;
use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// How many rows are written at once.
const SLICE_ROWS: usize = 16 << 10;

/// The lines, in pieces.
pub(crate) fn lines(batch: &RecordBatch) -> Result<Vec<bytes::Bytes>, ArrowError> {
    let fields: Fields = batch.schema().fields().iter().map(|field| with_offset(field)).collect();
    let columns =
        batch.columns().iter().zip(&fields).map(|(column, field)| retyped(column, field)).collect::<Result<_, _>>()?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut pieces = Vec::new();
    for start in (0..batch.num_rows()).step_by(SLICE_ROWS) {
        let builder = WriterBuilder::new().with_encoder_factory(Arc::new(Encoders));
        let mut writer = builder.build::<_, LineDelimited>(Vec::new());
        writer.write(&batch.slice(start, SLICE_ROWS.min(batch.num_rows() - start)))?;
        writer.finish()?;
        pieces.push(writer.into_inner().into());
    }
    Ok(pieces)
}

/// The same field with the offset of UTC instead of its name, which the writer does not know.
pub(crate) fn with_offset(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(Arc::new(with_offset(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| with_offset(field)).collect()),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

fn retyped(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    arrow_cast::cast(column, field.data_type())
}

/// Encoders of what the writer would write otherwise.
#[derive(Debug)]
struct Encoders;

impl EncoderFactory for Encoders {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Utf8 if is_json(field) => Box::new(Json(array.as_string())),
            // The writer says no more what the items are when it asks for their encoder.
            DataType::List(item) if is_json(item) => Box::new(JsonList(array.as_list())),
            DataType::Binary => Box::new(Base64(array.as_binary())),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// A list of JSON.
struct JsonList<'a>(&'a ListArray);

impl Encoder for JsonList<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let items = self.0.value(row);
        out.push(b'[');
        for (number, item) in items.as_string::<i32>().iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(item.unwrap_or("null").as_bytes());
        }
        out.push(b']');
    }
}

/// JSON as it stands.
struct Json<'a>(&'a StringArray);

impl Encoder for Json<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.value(row).as_bytes());
    }
}

/// Bytes as text.
struct Base64<'a>(&'a BinaryArray);

impl Encoder for Base64<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\"{}\"", STANDARD.encode(self.0.value(row))).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::dead_letter::DeadLetters;
    use crate::{DeclaredSchema, declared};
    use cistern_types::Timestamp;
    use serde_json::json;

    #[test]
    fn every_type_is_written_as_events_write_it() {
        let schema: DeclaredSchema = serde_json::from_value(json!({ "unknown_fields": "drop", "fields": [
            { "name": "i", "type": "int64" }, { "name": "f", "type": "float64" }, { "name": "s", "type": "string" },
            { "name": "t", "type": "timestamp", "unit": "microsecond" }, { "name": "j", "type": "json" },
            { "name": "b", "type": "bytes" }, { "name": "l", "type": "list", "items": { "type": "json" } },
            { "name": "o", "type": "struct", "fields": [{ "name": "t", "type": "timestamp" }, { "name": "x", "type": "bool" }] },
        ]}))
        .unwrap();
        let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
        let event = r#"{"i":1,"f":0.5,"s":"a\n","t":"2026-11-26T18:00:00.000001Z","j":{"k":[1, "x"]},"b":"AQI=","l":[1,"a"],"o":{"t":"2026-11-26T18:00:00Z","x":true}}"#;
        batch.push(0, event);
        batch.push(1, "{}");
        let (rows, _) = declared::numbered_rows(&mut batch, &schema, &mut DeadLetters::default()).unwrap();
        let lines = lines(&rows).unwrap().concat();
        let lines: Vec<serde_json::Value> = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines[0], serde_json::from_str::<serde_json::Value>(event).unwrap());
        assert_eq!(lines[1], json!({}));
    }
}
