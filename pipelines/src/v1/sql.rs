//! SQL pipelines: statements are read, planned against their streams, and become outputs of these, all in one transaction.

use super::Sink;
use crate::registry::{OUTPUTS_MAX, Tries, require_bucket};
use crate::rows::{
    GRAVES, GraveRow, HEADS, OUTPUTS, OutputRecord, PROGRESS, ProgressRow, RUNS, SINKS, SQL_PIPELINES, STREAMS,
    SinkRow, SqlPipelineRow, StreamRecord,
};
use crate::spec::refuse;
use crate::transform::SQL_BYTES_MAX;
use crate::{DeclaredSchema, Error, PipelineId, Result, transform};
use arrow_schema::SchemaRef;
use cistern_metadata::{Scan, Transaction};
use cistern_objects::Objects;
use cistern_runtime::offload;
use cistern_sql::{Graph, Script, Transform, explain};
use cistern_types::{PipelineName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The most SQL pipelines there can be.
pub(super) const PIPELINES_MAX: usize = 1_000;

/// What the statements and the schemas that they read may take together, in bytes of JSON: their rows are made at once.
const ROWS_BYTES_MAX: usize = 800_000;

/// How many parts of pipelines one transaction removes, about.
pub(super) const PARTS_AT_ONCE_MAX: usize = 1_000;

/// How many runs are looked at together.
const RUNS_PER_PAGE: usize = 10_000;

/// One statement of a SQL pipeline, which is one output of its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlPart {
    /// The stream it reads.
    pub stream: PipelineId,
    /// The stream's name.
    pub stream_name: PipelineName,
    /// The sink it writes to.
    pub sink: PipelineId,
    /// The sink's name.
    pub sink_name: PipelineName,
    /// The id of its output.
    pub output: PipelineId,
    /// What its files and its lines in the metrics are named after: the pipeline, and a number where that is taken.
    pub name: PipelineName,
}

/// What connects streams and sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlPipeline {
    /// The id of this life of it.
    pub id: PipelineId,
    /// Its name.
    pub name: PipelineName,
    /// Its text, as it was given.
    pub sql: String,
    /// When it was made.
    pub created: Timestamp,
    /// One a statement, in the order of the text.
    pub parts: Vec<SqlPart>,
}

/// SQL that a pipeline could be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSql {
    /// The streams it reads, each once: id, name and version.
    pub streams: Vec<(PipelineId, PipelineName, u32)>,
    /// The sinks it writes to, each once: id and name.
    pub sinks: Vec<(PipelineId, PipelineName)>,
    /// What it does.
    pub graph: Graph,
}

/// A pipeline just made, and its outputs with the streams they belong to.
#[derive(Debug)]
pub(super) struct MadeSql {
    pub(super) pipeline: SqlPipeline,
    pub(super) outputs: Vec<(PipelineId, OutputRecord, ProgressRow)>,
}

/// A statement whose stream and sink were found.
#[derive(Debug, Clone)]
struct Resolved {
    text: String,
    stream: StreamRecord,
    sink: Sink,
}

impl SqlPipeline {
    fn of(name: PipelineName, row: SqlPipelineRow) -> Self {
        let SqlPipelineRow { id, sql, created, parts } = row;
        Self { id, name, sql, created, parts }
    }
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidSql { reason: reason.into() }
}

/// Why the statement of this number, from 0, cannot be.
fn invalid_statement(number: usize, reason: impl std::fmt::Display) -> Error {
    invalid(format!("statement {}: {reason}", number + 1))
}

async fn read(sql: &str) -> Result<Script> {
    let text = sql.to_owned();
    let script = offload(move || Script::parse(&text)).await.map_err(|error| invalid(error.to_string()))?;
    for (number, statement) in script.statements().iter().enumerate() {
        if statement.text().len() > SQL_BYTES_MAX {
            let reason = format!("it has {} bytes, at most {SQL_BYTES_MAX} are possible", statement.text().len());
            return Err(invalid_statement(number, reason));
        }
    }
    Ok(script)
}

async fn resolve(txn: &mut Transaction, script: &Script) -> Result<Vec<Resolved>> {
    let mut found = Vec::new();
    for (number, statement) in script.statements().iter().enumerate() {
        let no = |reason: String| invalid_statement(number, reason);
        let sink = statement.sink().ok_or_else(|| no("it needs a sink: INSERT INTO sink SELECT ..".to_owned()))?;
        let no_sink = || no(format!("there is no sink {sink}: create it first"));
        let sink_name: PipelineName = sink.parse().map_err(|_| no_sink())?;
        let SinkRow { id, spec, created } = SINKS.get(txn, &sink_name).await?.ok_or_else(no_sink)?;
        let stream = statement.stream();
        let no_stream = || no(format!("there is no stream {stream}: create it first"));
        let stream_name: PipelineName = stream.parse().map_err(|_| no_stream())?;
        let stream = STREAMS.get(txn, &stream_name).await?.ok_or_else(no_stream)?;
        if stream.free.is_none() {
            let reason =
                format!("{stream_name} is a pipeline that writes its events itself: create a stream to read from");
            return Err(no(reason));
        }
        let sink = Sink { id, name: sink_name, spec, created };
        found.push(Resolved { text: statement.text().to_owned(), stream, sink });
    }
    Ok(found)
}

fn schema_of(stream: &StreamRecord) -> Option<&DeclaredSchema> {
    stream.free.as_ref().and_then(|free| free.schema.as_ref())
}

/// Plans every statement against the columns of its stream.
async fn plan(script: &Script, resolved: &[Resolved], now: Timestamp) -> Result<()> {
    let columns: Vec<SchemaRef> = resolved.iter().map(|one| transform::columns(schema_of(&one.stream))).collect();
    let (script, now) = (script.clone(), i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let planned = offload(move || {
        let each = script.statements().iter().zip(&columns).enumerate();
        let failed = each.filter_map(|(number, (statement, columns))| {
            let error = Transform::check(statement, columns, now).err()?;
            Some((number, error.to_string()))
        });
        failed.into_iter().next()
    });
    planned.await.map_or(Ok(()), |(number, reason)| Err(invalid_statement(number, reason)))
}

/// Refuses statements whose rows would not fit one transaction.
fn require_room(resolved: &[Resolved], sql: &str) -> Result<()> {
    let bytes = |one: &Resolved| {
        let schema = schema_of(&one.stream).and_then(|schema| serde_json::to_vec(schema).ok());
        one.text.len() + schema.map_or(0, |schema| schema.len())
    };
    let all = sql.len() + resolved.iter().map(bytes).sum::<usize>();
    if all > ROWS_BYTES_MAX {
        let reason = format!(
            "the statements and the schemas they read have {all} bytes together, at most {ROWS_BYTES_MAX} are possible: make \
             several pipelines"
        );
        return Err(invalid(reason));
    }
    Ok(())
}

/// Reads and plans SQL without making anything.
pub(super) async fn check(objects: &Objects, sql: &str) -> Result<CheckedSql> {
    let script = read(sql).await?;
    let mut txn = objects.store().begin().await?;
    let resolved = resolve(&mut txn, &script).await?;
    require_room(&resolved, sql)?;
    plan(&script, &resolved, objects.clock().now()).await?;
    let mut checked = CheckedSql { streams: Vec::new(), sinks: Vec::new(), graph: explain(&script) };
    for Resolved { stream, sink, .. } in &resolved {
        if !checked.streams.iter().any(|(id, ..)| *id == stream.id) {
            checked.streams.push((stream.id, stream.name.clone(), stream.version));
        }
        if !checked.sinks.iter().any(|(id, _)| *id == sink.id) {
            checked.sinks.push((sink.id, sink.name.clone()));
        }
    }
    Ok(checked)
}

/// Makes a pipeline; its outputs get names that are not among `taken`.
pub(super) async fn create(
    objects: &Objects,
    name: PipelineName,
    sql: &str,
    taken: &[PipelineName],
) -> Result<MadeSql> {
    let script = read(sql).await?;
    let names = names(&name, script.statements().len(), taken);
    let (id, now) = (PipelineId::random(), objects.clock().now());
    let mut planned: Vec<PipelineId> = Vec::new();
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        if SQL_PIPELINES.get(&mut txn, &name).await?.is_some() {
            return Err(Error::NameTaken { what: "pipeline", name });
        }
        let all = Scan::first(SQL_PIPELINES.range(), PIPELINES_MAX);
        if SQL_PIPELINES.scan_unchecked(&txn, &all).await?.len() == PIPELINES_MAX {
            return Err(refuse("name", name.as_str(), "there are 1000 pipelines already: delete one first"));
        }
        let resolved = resolve(&mut txn, &script).await?;
        require_room(&resolved, sql)?;
        let read: Vec<PipelineId> = resolved.iter().map(|one| one.stream.id).collect();
        if planned != read {
            plan(&script, &resolved, now).await?;
            planned = read;
        }
        let (mut parts, mut outputs) = (Vec::new(), Vec::new());
        let mut begins: BTreeMap<PipelineId, ProgressRow> = BTreeMap::new();
        for (one, output_name) in resolved.into_iter().zip(&names) {
            require_bucket(objects, &one.sink.spec.bucket).await?;
            let stream = one.stream.id;
            let begin = match begins.entry(stream) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) => {
                    let statements = planned.iter().filter(|read| **read == stream).count();
                    require_outputs(&mut txn, &one.stream, statements).await?;
                    *place.insert(oldest(&mut txn, &one.stream).await?)
                }
            };
            let (part, record) = output(one, output_name, &name);
            OUTPUTS.put(&mut txn, &(stream, record.id), &record)?;
            PROGRESS.put(&mut txn, &record.id, &begin)?;
            parts.push(part);
            outputs.push((stream, record, begin));
        }
        let row = SqlPipelineRow { id, sql: sql.to_owned(), created: now, parts };
        SQL_PIPELINES.put(&mut txn, &name, &row)?;
        if tries.commit(txn).await? {
            return Ok(MadeSql { pipeline: SqlPipeline::of(name, row), outputs });
        }
    }
}

/// The part of a pipeline that a statement is, and its output.
fn output(one: Resolved, name: &PipelineName, pipeline: &PipelineName) -> (SqlPart, OutputRecord) {
    let Resolved { text, stream, sink } = one;
    let id = PipelineId::random();
    let mut spec = sink.spec.output();
    spec.schema = stream.free.and_then(|free| free.schema);
    spec.sql = Some(text);
    let record = OutputRecord { id, name: name.clone(), spec, next: None, pipeline: Some(pipeline.clone()) };
    let part = SqlPart {
        stream: stream.id,
        stream_name: stream.name,
        sink: sink.id,
        sink_name: sink.name,
        output: id,
        name: name.clone(),
    };
    (part, record)
}

/// `count` names that are not taken: the pipeline's own, and the same with numbers from 2 on.
fn names(pipeline: &PipelineName, count: usize, taken: &[PipelineName]) -> Vec<PipelineName> {
    let numbered = |number: usize| {
        if number == 1 {
            return Some(pipeline.clone());
        }
        let number = format!("-{number}");
        let kept = pipeline.as_str().len().min(PipelineName::BYTES_MAX - number.len());
        format!("{}{number}", &pipeline.as_str()[..kept]).parse().ok()
    };
    (1..).filter_map(numbered).filter(|name| !taken.contains(name)).take(count).collect()
}

/// Refuses more outputs of a stream than it can have.
async fn require_outputs(txn: &mut Transaction, stream: &StreamRecord, more: usize) -> Result<()> {
    let range = OUTPUTS.prefix_range(&stream.id);
    let there = OUTPUTS.scan(txn, &Scan::first(range, OUTPUTS_MAX + 1)).await?.len();
    if there + more > OUTPUTS_MAX {
        let reason = format!(
            "stream {} is read by {there} statements already, at most {OUTPUTS_MAX} are possible: delete a pipeline first",
            stream.name
        );
        return Err(invalid(reason));
    }
    Ok(())
}

/// How far an output is that has done nothing: before the oldest event in the log. Read so that trimming that event at this
/// moment makes one of the two lose.
async fn oldest(txn: &mut Transaction, stream: &StreamRecord) -> Result<ProgressRow> {
    let damaged = || Error::DamagedLog {
        name: stream.name.clone(),
        offset: 0,
        reason: "rows written together are not all there",
    };
    let head = HEADS.peek(txn, &stream.id).await?.ok_or_else(damaged)?;
    let mut range = RUNS.prefix_range(&stream.id);
    let first = RUNS.scan(txn, &Scan::first(range.clone(), 1)).await?;
    let skipped = first.first().map_or(head.next, |((_, first), _)| *first);
    let mut waiting = 0;
    loop {
        let page = RUNS.scan_unchecked(txn, &Scan::first(range.clone(), RUNS_PER_PAGE)).await?;
        waiting += page.iter().map(|(_, run)| run.length).sum::<u64>();
        match page.last().filter(|_| page.len() == RUNS_PER_PAGE) {
            Some((last, _)) => range = range.after(&RUNS.key_bytes(last)),
            None => break,
        }
    }
    let skipped_bytes = head.bytes.checked_sub(waiting).ok_or_else(damaged)?;
    Ok(ProgressRow { watermark: skipped, skipped, skipped_bytes, ..ProgressRow::default() })
}

pub(super) async fn all(objects: &Objects) -> Result<Vec<SqlPipeline>> {
    let txn = objects.store().read().await?;
    let rows = SQL_PIPELINES.scan_unchecked(&txn, &Scan::first(SQL_PIPELINES.range(), PIPELINES_MAX)).await?;
    Ok(rows.into_iter().map(|(name, row)| SqlPipeline::of(name, row)).collect())
}

pub(super) async fn find(objects: &Objects, id_or_name: &str) -> Result<SqlPipeline> {
    if let Ok(name) = id_or_name.parse::<PipelineName>() {
        let txn = objects.store().read().await?;
        if let Some(row) = SQL_PIPELINES.peek(&txn, &name).await? {
            return Ok(SqlPipeline::of(name, row));
        }
    }
    let missing = || Error::NoSuchPipeline { name: id_or_name.to_owned() };
    let id = PipelineId::parse(id_or_name).ok_or_else(missing)?;
    all(objects).await?.into_iter().find(|pipeline| pipeline.id == id).ok_or_else(missing)
}

/// Removes this life of a pipeline. What is left of its outputs is their workers'.
pub(super) async fn remove(objects: &Objects, pipeline: &SqlPipeline) -> Result<()> {
    let mut tries = Tries::new();
    loop {
        let mut txn = objects.store().begin().await?;
        let row = SQL_PIPELINES.get(&mut txn, &pipeline.name).await?.filter(|row| row.id == pipeline.id);
        let row = row.ok_or_else(|| Error::NoSuchPipeline { name: pipeline.name.to_string() })?;
        remove_rows(&mut txn, &pipeline.name, &row.parts)?;
        if tries.commit(txn).await? {
            return Ok(());
        }
    }
}

/// Removes the rows of a pipeline and its outputs in the transaction. A sink commit at this moment loses, or this: it has
/// read the progress.
pub(super) fn remove_rows(txn: &mut Transaction, name: &PipelineName, parts: &[SqlPart]) -> Result<()> {
    SQL_PIPELINES.delete(txn, name);
    for part in parts {
        OUTPUTS.delete(txn, &(part.stream, part.output));
        PROGRESS.delete(txn, &part.output);
        GRAVES.put(txn, &part.output, &GraveRow { name: part.name.clone() })?;
    }
    Ok(())
}
