//! A closed batch becomes the objects it will be: pure work, done off the runtime's threads.

use crate::batch::Batch;
use crate::columns::{Columns, Finished};
use crate::dead_letter::DeadLetters;
use crate::parquet::FileFacts;
use crate::partition::key_id;
use crate::rows::KeyId;
use crate::schema::EventSchema;
use crate::{
    DeclaredSchema, Error, JsonCompression, OutputFormat, OutputSpec, ParquetSpec, Result, declared, json_lines,
    object_name, parquet,
};
use arrow_schema::ArrowError;
use bytes::Bytes;
use cistern_types::{ObjectKey, PipelineName};

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

/// Encodes a batch, and lets `schema` grow by what it brings unless another one is declared.
pub(crate) fn encode(
    batch: Batch,
    name: &PipelineName,
    spec: &OutputSpec,
    schema: &mut EventSchema,
) -> Result<EncodedBatch> {
    let mut encoded = EncodedBatch {
        key: key_id(batch.partition()),
        first: batch.first_offset(),
        last: batch.last_offset(),
        events: batch.rows(),
        log_bytes: batch.bytes() as u64,
        dead_letters: 0,
        objects: Vec::new(),
    };
    let (key, dead_key) =
        (object_name::rows_key(name, spec, &batch), object_name::dead_letters_key(name, spec, &batch));
    let (content_type, (rows, dead)) = match &spec.format {
        OutputFormat::Parquet(parquet) => {
            let encoded = match &spec.schema {
                Some(declared) => encode_declared(batch, name, parquet, declared)?,
                None => encode_parquet(batch, name, parquet, schema)?,
            };
            ("application/vnd.apache.parquet", encoded)
        }
        OutputFormat::JsonLines { compression } => {
            let content_type = match compression {
                JsonCompression::Gzip => "application/gzip",
                JsonCompression::Zstd => "application/zstd",
                JsonCompression::None => "application/x-ndjson",
            };
            (content_type, encode_json(batch, spec.schema.as_ref(), *compression)?)
        }
    };
    if let Some(body) = rows {
        encoded.objects.push(object(key, content_type, body));
    }
    encoded.dead_letters = dead.count();
    if let Some(body) = dead.into_file() {
        encoded.objects.push(object(dead_key, "application/x-ndjson", body));
    }
    Ok(encoded)
}

/// The events as they came, without copying them where all are events and no schema is declared.
fn encode_json(
    mut batch: Batch,
    schema: Option<&DeclaredSchema>,
    compression: JsonCompression,
) -> Result<(Option<Vec<u8>>, DeadLetters)> {
    let mut dead = DeadLetters::default();
    let chunks = if let Some(declared) = schema {
        let chunks;
        (chunks, dead) = declared::lines(&mut batch, declared);
        chunks
    } else if batch.has_rejected() {
        let mut lines = Vec::with_capacity(batch.bytes());
        batch.drain(|offset, event| {
            if !dead.take_rejected(offset, event) {
                lines.extend_from_slice(event);
                lines.push(b'\n');
            }
        });
        vec![Bytes::from(lines)]
    } else {
        batch.into_chunks()
    };
    let rows = chunks.iter().any(|chunk| !chunk.is_empty());
    let file = rows.then(|| json_lines::write(chunks, compression)).transpose().map_err(Error::Compress)?;
    Ok((file, dead))
}

fn object(key: ObjectKey, content_type: &'static str, body: Vec<u8>) -> EncodedObject {
    EncodedObject { key, content_type, body: body.into() }
}

fn facts<'a>(batch: &Batch, name: &'a PipelineName) -> FileFacts<'a> {
    FileFacts { pipeline: name.as_str(), first_offset: batch.first_offset(), last_offset: batch.last_offset() }
}

fn encode_declared(
    mut batch: Batch,
    name: &PipelineName,
    settings: &ParquetSpec,
    schema: &DeclaredSchema,
) -> Result<(Option<Vec<u8>>, DeadLetters)> {
    let rows = usize::try_from(batch.rows()).expect("the rows of a batch are in memory");
    let facts = facts(&batch, name);
    let parquet_failed = |source| Error::Parquet { rows, source };
    let (record_batch, dead) = declared::rows(&mut batch, schema).map_err(|error| parquet_failed(error.into()))?;
    if record_batch.num_rows() == 0 {
        return Ok((None, dead));
    }
    Ok((Some(parquet::write(&record_batch, settings, facts).map_err(parquet_failed)?), dead))
}

fn encode_parquet(
    mut batch: Batch,
    name: &PipelineName,
    settings: &ParquetSpec,
    schema: &mut EventSchema,
) -> Result<(Option<Vec<u8>>, DeadLetters)> {
    let rows = usize::try_from(batch.rows()).expect("the rows of a batch are in memory");
    let facts = facts(&batch, name);
    let mut columns = Columns::new(schema);
    let mut dead = DeadLetters::default();
    let mut accepted = Vec::new();
    batch.drain(|offset, event| {
        if dead.take_rejected(offset, event) {
            return;
        }
        match columns.push(event) {
            // Kept until a column exists: without one these have nowhere to go.
            Ok(()) if columns.is_bare() => accepted.push((offset, event.to_vec())),
            Ok(()) => accepted.clear(),
            Err(reason) => dead.push(offset, &reason, event),
        }
    });
    let arrow_failed = |error: ArrowError| Error::Parquet { rows, source: error.into() };
    let Finished { schema: grown, batch: record_batch } = columns.finish().map_err(arrow_failed)?;
    match record_batch {
        Some(record_batch) if record_batch.num_rows() > 0 => {
            *schema = grown;
            let file = parquet::write(&record_batch, settings, facts);
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
        let spec = OutputSpec::new("events".parse().unwrap());
        let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
        for (offset, event) in events.iter().enumerate() {
            batch.push(offset as u64, event);
        }
        encode(batch, &"clicks".parse().unwrap(), &spec, schema).unwrap()
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
    fn what_was_rejected_on_its_way_in_is_a_dead_letter_in_every_format() {
        let rejected = r#"["an event must be a JSON object","oops"]"#;
        for format in [OutputFormat::default(), OutputFormat::JsonLines { compression: JsonCompression::None }] {
            let mut spec = OutputSpec::new("events".parse().unwrap());
            spec.format = format;
            let encode_lines = |lines: &[&str]| {
                let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
                for (offset, line) in lines.iter().enumerate() {
                    batch.push(offset as u64, line);
                }
                encode(batch, &"clicks".parse().unwrap(), &spec, &mut EventSchema::default()).unwrap()
            };
            let encoded = encode_lines(&[r#"{"a":1}"#, rejected]);
            assert_eq!((keys(&encoded).len(), encoded.dead_letters), (2, 1));
            let dead = std::str::from_utf8(&encoded.objects[1].body).unwrap();
            assert_eq!(dead.trim_end(), r#"{"offset":1,"reason":"an event must be a JSON object","event":"oops"}"#);
            let encoded = encode_lines(&[rejected]);
            assert_eq!((keys(&encoded), encoded.dead_letters), (vec!["dead-letters"], 1));
        }
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
