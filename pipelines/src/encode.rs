//! A closed batch becomes the objects it will be: pure work, done off the runtime's threads.

use crate::batch::Batch;
use crate::columns::{Columns, Finished};
use crate::dead_letter::DeadLetters;
use crate::parquet::FileFacts;
use crate::partition::key_id;
use crate::rows::KeyId;
use crate::schema::EventSchema;
use crate::{
    Error, JsonCompression, OutputFormat, ParquetCompression, PipelineSpec, Result, json_lines, object_name, parquet,
};
use arrow_schema::ArrowError;
use bytes::Bytes;
use cistern_types::ObjectKey;

/// A batch whose objects can be written.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    /// The key value its events share.
    pub(crate) key: KeyId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) events: u64,
    /// Its events' bytes in the log.
    pub(crate) log_bytes: u64,
    pub(crate) dead_letters: u64,
    /// One, or two when it has dead letters.
    pub(crate) objects: Vec<EncodedObject>,
}

/// An object to be.
#[derive(Debug)]
pub(crate) struct EncodedObject {
    pub(crate) key: ObjectKey,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

/// Encodes a batch, and lets `schema` grow by what it brings.
pub(crate) fn encode(batch: Batch, spec: &PipelineSpec, schema: &mut EventSchema) -> Result<EncodedBatch> {
    let mut encoded = EncodedBatch {
        key: key_id(batch.partition()),
        first: batch.first_offset(),
        last: batch.last_offset(),
        events: batch.rows(),
        log_bytes: batch.bytes() as u64,
        dead_letters: 0,
        objects: Vec::new(),
    };
    let key = object_name::rows_key(spec, &batch);
    match spec.format {
        OutputFormat::Parquet { compression } => {
            let dead_key = object_name::dead_letters_key(spec, &batch);
            let (rows, dead) = encode_parquet(batch, spec, compression, schema)?;
            if let Some(body) = rows {
                encoded.objects.push(object(key, "application/vnd.apache.parquet", body));
            }
            encoded.dead_letters = dead.count();
            if let Some(body) = dead.into_file() {
                encoded.objects.push(object(dead_key, "application/x-ndjson", body));
            }
        }
        OutputFormat::JsonLines { compression } => {
            let body = json_lines::write(batch.into_chunks(), compression).map_err(Error::Compress)?;
            let content_type = match compression {
                JsonCompression::Gzip => "application/gzip",
                JsonCompression::None => "application/x-ndjson",
            };
            encoded.objects.push(object(key, content_type, body));
        }
    }
    Ok(encoded)
}

fn object(key: ObjectKey, content_type: &'static str, body: Vec<u8>) -> EncodedObject {
    EncodedObject { key, content_type, body: body.into() }
}

fn encode_parquet(
    mut batch: Batch,
    spec: &PipelineSpec,
    compression: ParquetCompression,
    schema: &mut EventSchema,
) -> Result<(Option<Vec<u8>>, DeadLetters)> {
    let rows = usize::try_from(batch.rows()).expect("the rows of a batch are in memory");
    let facts = FileFacts {
        pipeline: spec.name.as_str(),
        first_offset: batch.first_offset(),
        last_offset: batch.last_offset(),
    };
    let mut columns = Columns::new(schema);
    let mut dead = DeadLetters::default();
    let mut accepted = Vec::new();
    batch.drain(|offset, event| match columns.push(event) {
        // Kept until a column exists: without one these have nowhere to go.
        Ok(()) if columns.is_bare() => accepted.push((offset, event.to_vec())),
        Ok(()) => accepted.clear(),
        Err(reason) => dead.push(offset, &reason, event),
    });
    let arrow_failed = |error: ArrowError| Error::Parquet { rows, source: error.into() };
    let Finished { schema: grown, batch: record_batch } = columns.finish().map_err(arrow_failed)?;
    match record_batch {
        Some(record_batch) if record_batch.num_rows() > 0 => {
            *schema = grown;
            let file = parquet::write(&record_batch, compression, facts);
            Ok((Some(file.map_err(|source| Error::Parquet { rows, source })?), dead))
        }
        Some(_) => Ok((None, dead)),
        None => {
            // No event of the pipeline has brought a value yet, so there is no column that could hold a row.
            for (offset, event) in accepted {
                dead.push(offset, "no field has a value, so there is no column", &event);
            }
            Ok((None, dead))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_types::Timestamp;

    fn encode_events(events: &[&str], schema: &mut EventSchema) -> EncodedBatch {
        let spec = PipelineSpec::new("clicks".parse().unwrap(), "events".parse().unwrap());
        let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
        for (offset, event) in events.iter().enumerate() {
            batch.push(offset as u64, event);
        }
        encode(batch, &spec, schema).unwrap()
    }

    fn keys(encoded: &EncodedBatch) -> Vec<&str> {
        encoded.objects.iter().map(|object| object.key.as_str().split('/').nth(1).unwrap()).collect()
    }

    #[test]
    fn events_that_do_not_fit_go_to_an_object_of_their_own() {
        let mut schema = EventSchema::default();
        let encoded = encode_events(&[r#"{"a":1}"#, r#"{"a":"x"}"#, r#"{"a":2}"#], &mut schema);
        assert_eq!(keys(&encoded), ["event_date=1970-01-01", "dead-letters"]);
        assert_eq!((encoded.events, encoded.dead_letters), (3, 1));
        let dead = std::str::from_utf8(&encoded.objects[1].body).unwrap();
        let expected = r#"{"offset":1,"reason":"field a: a string, but the column holds integers","event":{"a":"x"}}"#;
        assert_eq!(dead.trim_end(), expected);
        let encoded = encode_events(&[r#"{"a":"y"}"#], &mut schema);
        assert_eq!(keys(&encoded), ["dead-letters"], "the schema stays from batch to batch");
    }

    #[test]
    fn a_batch_without_any_value_is_dead_letters_as_long_as_there_is_no_column() {
        let mut schema = EventSchema::default();
        let encoded = encode_events(&["{}", r#"{"a":null}"#, r#"{"a":[],"b":{}}"#], &mut schema);
        assert_eq!((keys(&encoded), encoded.dead_letters), (vec!["dead-letters"], 3));
        encode_events(&[r#"{"a":["x"]}"#], &mut schema);
        let encoded = encode_events(&["{}"], &mut schema);
        assert_eq!((keys(&encoded), encoded.dead_letters), (vec!["event_date=1970-01-01"], 0));
    }
}
