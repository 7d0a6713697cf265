//! A pipeline's SQL between its events and its files.
//!
//! ```text
//! events ─▶ declared columns, or one column `value` with the JSON ─▶ Transform::run ─▶ rows │ failed rows: dead letters
//! ```
//! It is planned when a pipeline is made or changed, which refuses what cannot be, and again by whoever runs it. Work on
//! single rows only, so a batch may be passed through in parts.

use crate::batch::Batch;
use crate::dead_letter::DeadLetters;
use crate::declared::{self, json_field};
use crate::{DeclaredSchema, Error, OutputSpec, Result};
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use cistern_sql::{FailedRow, Script, StepCounts, Transform};
use cistern_types::{PipelineName, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest SQL of an output, in bytes: it lies in a row with everything else that is said of it.
pub(crate) const SQL_BYTES_MAX: usize = 8 << 10;

/// What a statement may call the stream of its pipeline besides its name.
const STREAM: &str = "stream";

/// The column of events whose fields are not declared.
const VALUE: &str = "value";

/// How many events pass through a transform at once: their columns, and those of the steps between, are small then, and stay
/// in the processor's caches.
const PART_ROWS: u64 = 16 << 10;

/// The transform of an output, if it has one. `started` is what `now()` is.
pub(crate) fn plan(name: &PipelineName, spec: &OutputSpec, started: Timestamp) -> Result<Option<Transform>> {
    let Some(sql) = &spec.sql else { return Ok(None) };
    let started = i64::try_from(started.as_millis()).unwrap_or(i64::MAX);
    let statement = Script::parse(sql)?;
    let statement = statement.statements().first().ok_or(cistern_sql::Error::Empty)?;
    let input = columns(spec.schema.as_ref());
    let transform = Transform::plan(statement, &input, started)?;
    tracing::debug!(pipeline = %name, steps = transform.steps().len(), "planned a transform");
    Ok(Some(transform))
}

/// Refuses the SQL of a pipeline that is more than one SELECT from its own events, or cannot be planned. Answers the columns that files will
/// have, where these do not follow from the events.
pub(crate) fn check(name: &PipelineName, spec: &OutputSpec) -> Result<Option<SchemaRef>> {
    let Some(sql) = &spec.sql else { return Ok(spec.schema.as_ref().map(DeclaredSchema::arrow)) };
    let refuse = |rule| Error::InvalidSetting { field: "sql", given: sql.chars().take(128).collect(), rule };
    if sql.len() > SQL_BYTES_MAX {
        return Err(refuse("use at most 8192 bytes"));
    }
    let script = Script::parse(sql)?;
    let [statement] = script.statements() else {
        return Err(refuse("use one statement: a pipeline has one bucket"));
    };
    if statement.sink().is_some() {
        return Err(refuse("leave INSERT INTO out: what is selected goes to the pipeline's bucket"));
    }
    if ![STREAM, name.as_str()].contains(&statement.stream()) {
        return Err(refuse("select FROM stream, or from the pipeline's name"));
    }
    Transform::check(statement, &columns(spec.schema.as_ref()), 0).map(Some).map_err(Error::from)
}

/// What a statement selects from.
pub(crate) fn columns(schema: Option<&DeclaredSchema>) -> SchemaRef {
    match schema {
        Some(schema) => schema.arrow(),
        None => Arc::new(Schema::new(vec![json_field(Field::new(VALUE, DataType::Utf8, false))])),
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) batch: RecordBatch,
    pub(crate) dead: DeadLetters,
    /// What each step of the transform did.
    pub(crate) steps: Vec<StepCounts>,
}

/// Passes the events of a batch through a transform, [`PART_ROWS`] at a time.
pub(crate) fn rows(batch: Batch, schema: Option<&DeclaredSchema>, transform: &Transform) -> Result<Rows> {
    let count = batch.rows();
    let steps = vec![StepCounts::default(); transform.steps().len()];
    let mut passed = Passed { parts: Vec::new(), dead: DeadLetters::default(), steps };
    for part in batch.parts(PART_ROWS) {
        passed.add(part, schema, transform)?;
    }
    let Passed { parts, dead, steps } = passed;
    let batch = concat_batches(transform.schema(), &parts).map_err(|source| Error::columns(count, source))?;
    Ok(Rows { batch, dead, steps })
}

/// What has passed through a transform so far.
struct Passed {
    parts: Vec<RecordBatch>,
    dead: DeadLetters,
    steps: Vec<StepCounts>,
}

impl Passed {
    /// Adds the events of a part.
    fn add(&mut self, mut part: Batch, schema: Option<&DeclaredSchema>, transform: &Transform) -> Result<()> {
        let mut kept = part.clone(); // the same bytes: what fails is looked up again
        let count = part.rows();
        let (columns, offsets) = match schema {
            Some(schema) => declared::numbered_rows(&mut part, schema, &mut self.dead),
            None => values(&mut part, &mut self.dead),
        }
        .map_err(|source| Error::columns(count, source))?;
        let mut refused = Vec::new();
        self.run(transform, &columns, 0, &mut refused)?;
        if !refused.is_empty() {
            let reasons: BTreeMap<u64, &str> =
                refused.iter().map(|failed| (offsets[failed.row], failed.reason.as_str())).collect();
            kept.drain(|offset, event| {
                if let Some(reason) = reasons.get(&offset) {
                    self.dead.push(offset, &format!("sql: {reason}"), event);
                }
            });
        }
        Ok(())
    }

    /// Runs a transform over a batch whose first row is the `base`th; in halves if the result would be too large.
    fn run(
        &mut self,
        transform: &Transform,
        batch: &RecordBatch,
        base: usize,
        refused: &mut Vec<FailedRow>,
    ) -> Result<()> {
        match transform.run(batch) {
            Ok(done) => {
                self.parts.push(done.batch);
                refused.extend(done.failed.into_iter().map(|failed| FailedRow { row: base + failed.row, ..failed }));
                self.steps.iter_mut().zip(done.steps).for_each(|(sum, step)| *sum += step);
                Ok(())
            }
            Err(cistern_sql::Error::OutputTooLarge) if batch.num_rows() > 1 => {
                let half = batch.num_rows() / 2;
                self.run(transform, &batch.slice(0, half), base, refused)?;
                self.run(transform, &batch.slice(half, batch.num_rows() - half), base + half, refused)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Events as the one column there is when no fields are declared, and the offset of each row.
fn values(batch: &mut Batch, dead: &mut DeadLetters) -> Result<(RecordBatch, Vec<u64>), arrow_schema::ArrowError> {
    let rows = usize::try_from(batch.rows()).unwrap_or(0);
    let mut values = StringBuilder::with_capacity(rows, batch.bytes());
    let mut offsets = Vec::with_capacity(rows);
    batch.drain(|offset, event| {
        if dead.take_rejected(offset, event) {
            return;
        }
        match std::str::from_utf8(event) {
            Ok(text) => {
                values.append_value(text);
                offsets.push(offset);
            }
            Err(_) => dead.push(offset, "the event is not UTF-8", b"null"),
        }
    });
    let values: ArrayRef = Arc::new(values.finish());
    Ok((RecordBatch::try_new(columns(None), vec![values])?, offsets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(sql: &str, fields: Option<serde_json::Value>) -> OutputSpec {
        let mut spec = OutputSpec::new("events".parse().unwrap());
        spec.sql = Some(sql.to_owned());
        spec.schema = fields.map(|fields| serde_json::from_value(json!({ "fields": fields })).unwrap());
        spec
    }

    fn checked(sql: &str) -> String {
        let clicks: PipelineName = "clicks".parse().unwrap();
        check(&clicks, &spec(sql, None)).map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_pipeline_selects_from_its_own_events_in_one_statement() {
        assert_eq!(checked("SELECT value FROM clicks"), "fine");
        assert_eq!(checked("select value->>'a' as a from stream"), "fine");
        for (sql, expected) in [
            ("SELECT value FROM other", "select FROM stream, or from the pipeline's name"),
            ("INSERT INTO s SELECT value FROM clicks", "leave INSERT INTO out"),
            ("INSERT INTO a SELECT value FROM clicks; INSERT INTO b SELECT value FROM clicks", "use one statement"),
            ("SELECT price FROM clicks", "price"),
            ("SELEC", "line 1"),
            (&format!("SELECT '{}' AS a FROM clicks", "x".repeat(SQL_BYTES_MAX)), "use at most 8192 bytes"),
        ] {
            let text = checked(sql);
            assert!(text.contains(expected), "{sql:.60}: {text}");
        }
    }

    fn run_over(spec: &OutputSpec, events: &[&str]) -> Rows {
        let transform = plan(&"clicks".parse().unwrap(), spec, Timestamp::default()).unwrap().unwrap();
        let mut batch = Batch::new(b"".as_slice().into(), 10, Timestamp::default());
        for (offset, event) in (10..).zip(events) {
            batch.push(offset, event);
        }
        rows(batch, spec.schema.as_ref(), &transform).unwrap()
    }

    #[test]
    fn rows_that_fail_are_dead_letters_with_their_events_and_the_others_go_on() {
        let fields = json!([{ "name": "a", "type": "int64" }, { "name": "b", "type": "int64" }]);
        let spec = spec("SELECT a / b AS q FROM clicks WHERE a > 0", Some(fields));
        let events = [
            r#"{"a":6,"b":3}"#,
            r#"{"a":"x","b":3}"#,
            r#"{"a":1,"b":0}"#,
            r#"{"a":-1,"b":0}"#,
            r#"["an event must be a JSON object","oops"]"#,
            r#"{"a":8,"b":2}"#,
        ];
        let done = run_over(&spec, &events);
        let quotients = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&done.batch["q"]);
        assert_eq!(quotients.values(), &[2, 4]);
        assert_eq!(done.steps.iter().map(|step| step.errors).sum::<u64>(), 1);
        let dead = String::from_utf8(done.dead.into_file().unwrap()).unwrap();
        let mut offsets: Vec<u64> = dead
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_u64().unwrap())
            .collect();
        offsets.sort_unstable();
        assert_eq!(offsets, [11, 12, 14]);
        assert!(dead.contains(r#""event":{"a":1,"b":0}"#) && dead.contains("sql: "), "{dead}");
    }

    #[test]
    fn many_events_pass_in_parts_in_their_order_and_all_are_counted() {
        let fields = json!([{ "name": "n", "type": "int64", "required": true }]);
        let spec = spec("SELECT n * 2 AS twice FROM clicks WHERE 1 / (n % 10007) >= 0", Some(fields));
        let count = i64::try_from(PART_ROWS * 2 + 100).unwrap();
        let wrong = |n: &i64| *n % 9001 == 0; // of another type
        let fails = |n: &i64| *n % 10_007 == 0; // in SQL
        let events: Vec<String> =
            (0..count).map(|n| if wrong(&n) { r#"{"n":"x"}"#.to_owned() } else { format!("{{\"n\":{n}}}") }).collect();
        let done = run_over(&spec, &events.iter().map(String::as_str).collect::<Vec<_>>());
        let twice = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&done.batch["twice"]);
        let expected: Vec<i64> = (0..count).filter(|n| !wrong(n) && !fails(n)).map(|n| n * 2).collect();
        assert_eq!(twice.values().as_ref(), expected);
        let dead = String::from_utf8(done.dead.into_file().unwrap()).unwrap();
        let mut offsets: Vec<i64> = dead
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["offset"].as_i64().unwrap() - 10)
            .collect();
        offsets.sort_unstable();
        assert_eq!(offsets, (0..count).filter(|n| wrong(n) || fails(n)).collect::<Vec<_>>());
        assert_eq!(done.steps[0].rows_in, (0..count).filter(|n| !wrong(n)).count() as u64);
    }

    #[test]
    fn what_would_be_too_large_at_once_is_made_in_parts() {
        let spec = spec("SELECT repeat(value->>'a', 1000000) AS long FROM clicks", None);
        let events: Vec<String> = (0..300).map(|n| format!("{{\"a\":\"{}\"}}", n % 10)).collect();
        let done = run_over(&spec, &events.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((done.batch.num_rows(), done.dead.count()), (300, 0));
        assert_eq!(done.steps[0].rows_in, 300);
    }
}
