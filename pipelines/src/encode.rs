//! A closed batch becomes the objects it will be: pure work, done off the runtime's threads.

use crate::batch::Batch;
use crate::columns::{Columns, Finished};
use crate::dead_letter::DeadLetters;
use crate::object_name::Named;
use crate::parquet::FileFacts;
use crate::partition::key_id;
use crate::rows::KeyId;
use crate::schema::{EventSchema, PathStep};
use crate::{
    Error, JsonCompression, MixedTypes, OutputFormat, OutputSpec, Result, declared, json_lines, json_rows, object_name,
    parquet, transform,
};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;
use cistern_sql::{StepCounts, Transform};
use cistern_types::{ObjectKey, Timestamp};
use std::collections::BTreeSet;

/// How often a batch is laid out once more at most because fields of it become JSON. A field that becomes it can bring events in
/// whose other fields follow.
const LAYOUTS_MAX: usize = 32;

/// The content type of events, one a line.
const NDJSON: &str = "application/x-ndjson";

/// A batch whose objects can be written.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    /// The key value its events share.
    pub(crate) key: KeyId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Since when its first event waits.
    pub(crate) waits_since: Timestamp,
    pub(crate) events: u64,
    /// Its events' bytes in the log.
    pub(crate) log_bytes: u64,
    pub(crate) dead_letters: u64,
    /// One, or two when it has dead letters.
    pub(crate) objects: Vec<EncodedObject>,
    /// What each step of the transform did.
    pub(crate) steps: Vec<StepCounts>,
}

/// An object to be.
#[derive(Debug)]
pub(crate) struct EncodedObject {
    pub(crate) key: ObjectKey,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

/// How batches of an output are encoded.
#[derive(Debug)]
pub(crate) struct Encoding<'a> {
    pub(crate) of: Named<'a>,
    pub(crate) spec: &'a OutputSpec,
    pub(crate) transform: Option<&'a Transform>,
}

/// What is in a file.
enum Content {
    Rows(RecordBatch),
    /// Events as they came, one a line.
    Lines(Vec<Bytes>),
}

/// Encodes a batch, and lets `schema` grow by what it brings unless another one is declared.
pub(crate) fn encode(batch: Batch, encoding: &Encoding<'_>, schema: &mut EventSchema) -> Result<EncodedBatch> {
    let Encoding { of, spec, .. } = encoding;
    let facts =
        FileFacts { pipeline: of.name.as_str(), first_offset: batch.first_offset(), last_offset: batch.last_offset() };
    let mut encoded = EncodedBatch {
        key: key_id(batch.partition()),
        first: batch.first_offset(),
        last: batch.last_offset(),
        waits_since: batch.waits_since(),
        events: batch.rows(),
        log_bytes: batch.bytes() as u64,
        dead_letters: 0,
        objects: Vec::new(),
        steps: Vec::new(),
    };
    let (key, dead_key) = (object_name::rows_key(*of, spec, &batch), object_name::dead_letters_key(*of, spec, &batch));
    let (content, dead) = match encoding.transform {
        Some(transform) => {
            let rows = transform::rows(batch, spec.schema.as_ref(), transform)?;
            encoded.steps = rows.steps;
            (Content::Rows(rows.batch), rows.dead)
        }
        None => content(batch, spec, schema)?,
    };
    if let Some(body) = file(content, spec, facts)? {
        encoded.objects.push(EncodedObject { key, content_type: content_type(&spec.format), body: body.into() });
    }
    encoded.dead_letters = dead.count();
    if let Some(body) = dead.into_file() {
        encoded.objects.push(EncodedObject { key: dead_key, content_type: NDJSON, body: body.into() });
    }
    Ok(encoded)
}

/// The content type of an object with rows.
pub(crate) fn content_type(format: &OutputFormat) -> &'static str {
    match format {
        OutputFormat::Parquet(_) => "application/vnd.apache.parquet",
        OutputFormat::JsonLines { compression: JsonCompression::Gzip } => "application/gzip",
        OutputFormat::JsonLines { compression: JsonCompression::Zstd } => "application/zstd",
        OutputFormat::JsonLines { compression: JsonCompression::None } => NDJSON,
    }
}

/// The events without a transform.
fn content(mut batch: Batch, spec: &OutputSpec, schema: &mut EventSchema) -> Result<(Content, DeadLetters)> {
    let count = batch.rows();
    let failed = |source: ArrowError| Error::columns(count, source);
    Ok(match (&spec.format, &spec.schema) {
        (OutputFormat::Parquet(_), Some(declared)) => {
            let mut dead = DeadLetters::default();
            let (rows, _) = declared::numbered_rows(&mut batch, declared, &mut dead).map_err(failed)?;
            (Content::Rows(rows), dead)
        }
        (OutputFormat::Parquet(_), None) => inferred(batch, schema, spec.mixed_types).map_err(failed)?,
        (OutputFormat::JsonLines { .. }, Some(declared)) => {
            let (lines, dead) = declared::lines(&mut batch, declared);
            (Content::Lines(lines), dead)
        }
        // Without copying them where all are events.
        (OutputFormat::JsonLines { .. }, None) if !batch.has_rejected() => {
            (Content::Lines(batch.into_chunks()), DeadLetters::default())
        }
        (OutputFormat::JsonLines { .. }, None) => {
            let mut dead = DeadLetters::default();
            let mut lines = Vec::with_capacity(batch.bytes());
            batch.drain(|offset, event| {
                if !dead.take_rejected(offset, event) {
                    lines.extend_from_slice(event);
                    lines.push(b'\n');
                }
            });
            (Content::Lines(vec![Bytes::from(lines)]), dead)
        }
    })
}

/// The events as columns that follow from them. Where mixed types are wanted, fields that turn out to hold some become
/// ones of JSON, and the batch is laid out anew.
fn inferred(batch: Batch, schema: &mut EventSchema, mixed: MixedTypes) -> Result<(Content, DeadLetters), ArrowError> {
    let kept = (mixed == MixedTypes::Json).then(|| batch.clone()); // the same bytes
    let mut laid_out = lay_out(batch, schema)?;
    for _ in 0..LAYOUTS_MAX {
        let Some(kept) = kept.as_ref().filter(|_| !laid_out.mixed.is_empty()) else { break };
        let mut working = laid_out.finished.schema.clone();
        laid_out.mixed.iter().for_each(|path| working.make_json(path));
        if !working.fits() {
            break;
        }
        laid_out = lay_out(kept.clone(), &working)?;
    }
    let LaidOut { finished: Finished { schema: grown, batch: rows }, accepted, mut dead, .. } = laid_out;
    if let Some(rows) = rows {
        if rows.num_rows() > 0 {
            *schema = grown;
        }
        return Ok((Content::Rows(rows), dead));
    }
    // No event of the pipeline has brought a value yet, so there is no column that could hold a row.
    for (offset, event) in accepted {
        dead.push(offset, "no field has a value, so there is no column", &event);
    }
    Ok((Content::Lines(Vec::new()), dead))
}

/// Events laid out as columns.
struct LaidOut {
    finished: Finished,
    /// Events that are rows of no column yet.
    accepted: Vec<(u64, Vec<u8>)>,
    dead: DeadLetters,
    /// The fields that would have to hold more than one type.
    mixed: BTreeSet<Vec<PathStep>>,
}

/// So many rows tell how much room the columns of the others will take.
const ROWS_LOOKED_AT: u64 = 1024;

/// How many times a number of bytes another one is.
#[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 bytes")]
fn part(bytes: usize, of: usize) -> f64 {
    bytes as f64 / of.max(1) as f64
}

fn lay_out(mut batch: Batch, schema: &EventSchema) -> Result<LaidOut, ArrowError> {
    let mut columns = Columns::new(schema);
    let (mut dead, mut accepted, mut mixed) = (DeadLetters::default(), Vec::new(), BTreeSet::new());
    let (all_rows, all_bytes) = (batch.rows(), batch.bytes());
    let (mut rows, mut bytes) = (0, 0);
    batch.drain(|offset, event| {
        if rows == ROWS_LOOKED_AT {
            columns.expect(usize::try_from(all_rows - rows).unwrap_or(0), part(all_bytes - bytes, bytes));
        }
        rows += 1;
        bytes += event.len() + 1;
        if dead.take_rejected(offset, event) {
            return;
        }
        match columns.push(event) {
            // Kept until a column exists: without one these have nowhere to go.
            Ok(()) if columns.is_bare() => accepted.push((offset, event.to_vec())),
            Ok(()) => accepted.clear(),
            Err(unfit) => {
                dead.push(offset, &unfit.reason, event);
                mixed.extend(unfit.mixed);
            }
        }
    });
    Ok(LaidOut { finished: columns.finish()?, accepted, dead, mixed })
}

/// The file, if there is anything in it.
fn file(content: Content, spec: &OutputSpec, facts: FileFacts<'_>) -> Result<Option<Vec<u8>>> {
    let lines = match (&spec.format, content) {
        (_, Content::Rows(rows)) if rows.num_rows() == 0 => return Ok(None),
        (OutputFormat::Parquet(settings), Content::Rows(rows)) => {
            let file = parquet::write(&rows, settings, facts);
            return file.map(Some).map_err(|source| Error::Parquet { rows: rows.num_rows(), source });
        }
        (OutputFormat::JsonLines { .. }, Content::Rows(rows)) => {
            json_rows::lines(&rows).map_err(|error| Error::columns(rows.num_rows() as u64, error))?
        }
        (_, Content::Lines(lines)) => lines,
    };
    match spec.format {
        OutputFormat::JsonLines { compression } if lines.iter().any(|piece| !piece.is_empty()) => {
            json_lines::write(lines, compression).map(Some).map_err(Error::Compress)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode_as(spec: &OutputSpec, batch: Batch, schema: &mut EventSchema) -> EncodedBatch {
        let name: cistern_types::PipelineName = "clicks".parse().unwrap();
        let of = Named { name: &name, id: crate::PipelineId::random() };
        let transform = transform::plan(&name, spec, Timestamp::default()).unwrap();
        encode(batch, &Encoding { of, spec, transform: transform.as_ref() }, schema).unwrap()
    }

    fn encode_events(events: &[&str], schema: &mut EventSchema) -> EncodedBatch {
        let spec = OutputSpec::new("events".parse().unwrap());
        let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
        for (offset, event) in events.iter().enumerate() {
            batch.push(offset as u64, event);
        }
        encode_as(&spec, batch, schema)
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
                encode_as(&spec, batch, &mut EventSchema::default())
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

    #[test]
    fn what_a_transform_selects_is_written_in_either_format() {
        let mut spec = OutputSpec::new("events".parse().unwrap());
        spec.sql = Some("SELECT value->'a' AS a, value->>'b' AS b FROM stream WHERE value->>'b' <> 'no'".to_owned());
        let batch = || {
            let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
            batch.push(0, r#"{"a":[1,{"x":"y"}],"b":"yes","c":1}"#);
            batch.push(1, r#"{"a":2,"b":"no"}"#);
            batch
        };
        spec.format = OutputFormat::JsonLines { compression: JsonCompression::None };
        let encoded = encode_as(&spec, batch(), &mut EventSchema::default());
        assert_eq!(encoded.objects[0].body, "{\"a\":[1,{\"x\":\"y\"}],\"b\":\"yes\"}\n".as_bytes());
        assert_eq!((encoded.events, encoded.dead_letters, encoded.objects.len()), (2, 0, 1));
        spec.format = OutputFormat::default();
        let encoded = encode_as(&spec, batch(), &mut EventSchema::default());
        let rows = crate::fixture::parquet_to_json(encoded.objects[0].body.clone());
        let row: serde_json::Value = serde_json::from_slice(&rows).unwrap();
        assert_eq!(row, serde_json::json!({ "a": "[1,{\"x\":\"y\"}]", "b": "yes" }));
        spec.sql = Some("SELECT value FROM stream WHERE false".to_owned());
        let encoded = encode_as(&spec, batch(), &mut EventSchema::default());
        assert!(encoded.objects.is_empty() && encoded.events == 2, "nothing is left, and it counts as delivered");
    }

    #[test]
    fn fields_of_mixed_types_become_json_where_that_is_wanted() {
        let mut spec = OutputSpec::new("events".parse().unwrap());
        spec.mixed_types = MixedTypes::Json;
        let mut schema = EventSchema::default();
        let batch = |events: &[&str]| {
            let mut batch = Batch::new(b"".as_slice().into(), 0, Timestamp::default());
            for (offset, event) in events.iter().enumerate() {
                batch.push(offset as u64, event);
            }
            batch
        };
        let rows = |encoded: &EncodedBatch| -> Vec<serde_json::Value> {
            let text = crate::fixture::parquet_to_json(encoded.objects[0].body.clone());
            text.split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect()
        };
        let events = [
            r#"{"a":1,"deep":[{"b":"x"}],"n":9007199254740993}"#,
            r#"{"a":"one","deep":[{"b":[1]}],"n":0.5}"#,
            r#"{"a":null,"deep":[{"b":null}]}"#,
        ];
        let encoded = encode_as(&spec, batch(&events), &mut schema);
        assert_eq!((encoded.dead_letters, encoded.objects.len()), (0, 1));
        let expected = [
            serde_json::json!({ "a": "1", "deep": [{ "b": "\"x\"" }], "n": "9007199254740993" }),
            serde_json::json!({ "a": "\"one\"", "deep": [{ "b": "[1]" }], "n": "0.5" }),
            serde_json::json!({ "deep": [{}] }),
        ];
        assert_eq!(rows(&encoded), expected);
        let encoded = encode_as(&spec, batch(&[r#"{"a":true}"#]), &mut schema);
        assert_eq!(rows(&encoded), [serde_json::json!({ "a": "true" })], "the schema stays from batch to batch");
        spec.mixed_types = MixedTypes::DeadLetters;
        let encoded = encode_as(&spec, batch(&events), &mut EventSchema::default());
        assert_eq!(encoded.dead_letters, 1);
        spec.mixed_types = MixedTypes::Json;
        let long = "n".repeat(300);
        let long_events = [format!("{{\"{long}\":1}}"), format!("{{\"{long}\":\"x\"}}")];
        let many = |value: &str| {
            let fields: Vec<String> = (0..100).map(|n| format!("\"f{n}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let many = [many("1"), many("\"x\"")];
        for events in [
            &[r#"{"meta":[]}"#, r#"{"meta":{"k":1}}"#, r#"{"v":1}"#, r#"{"v":"two"}"#] as &[&str],
            &[r#"{"a":{}}"#, r#"{"a":1}"#],
            &[r#"{"a":[1,"x"]}"#, r#"{"b":{"c":[{"d":[1,"x"]}]}}"#, r#"{"b":{"c":[{"d":null},{}]}}"#],
            &[r#"{"a":{"b":[1,"x"]}}"#, r#"{"a":1}"#],
            &[&many[0], &many[1]],
            &[&long_events[0], &long_events[1]],
        ] {
            let encoded = encode_as(&spec, batch(events), &mut EventSchema::default());
            assert_eq!((encoded.dead_letters, rows(&encoded).len()), (0, events.len()), "{events:?}");
        }
        let encoded = encode_as(&spec, batch(&[r#"{"b":[{"c":[1,"x"]},{}]}"#]), &mut EventSchema::default());
        assert_eq!(rows(&encoded), [serde_json::json!({ "b": [{ "c": "[1,\"x\"]" }, {}] })]);
    }
}
