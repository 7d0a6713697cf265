//! `/pipelines`: make, list, show, change, delete, tail, replay and compact. Keyed by name, in the shape of Cloudflare's legacy pipelines.

mod body;

use crate::envelope::{PageQuery, Success};
use crate::error::{Error, Result};
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
pub(crate) use body::CorsBody;
use body::PipelineBody;
use cistern_pipelines::{
    CompactStep, Compacted, CreatedPipeline, DeleteMode, IngestAuth, LeftAlone, Merged, PipelineRecord, Replay,
    Replayed, TailFrom,
};
use cistern_types::{ByteSize, PipelineName};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

/// The pipeline in a path.
#[derive(Debug, Deserialize)]
pub(crate) struct PipelinePath {
    pipeline: String,
}

impl PipelinePath {
    fn name(&self) -> Result<PipelineName> {
        Ok(self.pipeline.parse()?)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct DeleteQuery {
    mode: Option<String>,
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    UrlQuery(page): UrlQuery<PageQuery>,
    headers: HeaderMap,
) -> Success {
    let pipelines: Vec<Value> = admin.pipelines.list().iter().map(|record| shown(&admin, record, &headers)).collect();
    let all = Value::Array(pipelines.clone());
    // One generation of clients reads `result`, the other `results`.
    Success::only_page(pipelines, &page).member("results", all)
}

pub(crate) async fn create(State(admin): State<Admin>, headers: HeaderMap, request: Body) -> Result<Success> {
    let wanted: PipelineBody = read_json(request).await?;
    let made = admin.pipelines.create(wanted.into_spec()?).await?;
    Ok(Success::new(with_token(&admin, made, &headers)))
}

/// A pipeline with its send token, if it has a new one.
fn with_token(admin: &Admin, made: CreatedPipeline, headers: &HeaderMap) -> Value {
    let mut answer = shown(admin, &made.record, headers);
    if let Some(token) = made.send_token {
        answer["send_token"] = token.into();
    }
    answer
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    headers: HeaderMap,
) -> Result<Success> {
    let record = admin.pipelines.get(&path.name()?)?;
    Ok(Success::new(shown(&admin, &record, &headers)))
}

/// Sets everything anew; what is not said has its default, as when a pipeline is made.
pub(crate) async fn replace(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Success> {
    let body: PipelineBody = read_json(body).await?;
    change(&admin, &path, &headers, body, None).await
}

/// Changes what is said.
pub(crate) async fn patch(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Success> {
    let record = admin.pipelines.get(&path.name()?)?;
    let body = body::patched(&record, read_json(body).await?)?;
    change(&admin, &path, &headers, body, Some(record.version)).await
}

async fn change(
    admin: &Admin,
    path: &PipelinePath,
    headers: &HeaderMap,
    body: PipelineBody,
    version: Option<u32>,
) -> Result<Success> {
    let rotate = body.rotate_send_token;
    let spec = body.into_spec()?;
    if spec.name != path.name()? {
        return Err(Error::PipelineSetting { field: "name", reason: "a pipeline keeps its name".to_owned() });
    }
    let changed = admin.pipelines.update(spec, version, rotate).await?;
    Ok(Success::new(with_token(admin, changed, headers)))
}

pub(crate) async fn delete(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    UrlQuery(query): UrlQuery<DeleteQuery>,
) -> Result<Success> {
    let mode = match query.mode.as_deref() {
        None | Some("drain") => DeleteMode::Drain,
        Some("discard") => DeleteMode::Discard,
        Some(other) => {
            let reason = format!("{other:?} is no way to delete a pipeline: use mode=drain or mode=discard");
            return Err(Error::PipelineSetting { field: "mode", reason });
        }
    };
    admin.pipelines.delete(&path.name()?, mode).await?;
    Ok(Success::new(Value::Null))
}

#[derive(Debug, Deserialize)]
pub(crate) struct TailQuery {
    from: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// The events of the log, one JSON object a line, each with its offset and time; as they come, to `follow`.
pub(crate) async fn tail(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    UrlQuery(query): UrlQuery<TailQuery>,
) -> Result<Response> {
    let from = match query.from.as_deref() {
        None | Some("newest") => TailFrom::Newest,
        Some("oldest") => TailFrom::Oldest,
        Some(offset) => TailFrom::Offset(offset.parse().map_err(|_| Error::PipelineSetting {
            field: "from",
            reason: format!("{offset:?} is no place in the log: use oldest, newest or an offset"),
        })?),
    };
    let tail = admin.pipelines.tail(&path.name()?, from, query.follow)?;
    let lines = futures::stream::try_unfold(tail, async |mut tail| {
        let lines = tail.next().await.inspect_err(|error| tracing::warn!(%error, "a tail broke off"))?;
        Ok::<_, cistern_pipelines::Error>(lines.map(|lines| (lines, tail)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Which events are taken in once more: a dead-letter object, or a range of offsets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayBody {
    dead_letters: Option<String>,
    from_offset: Option<u64>,
    to_offset: Option<u64>,
}

pub(crate) async fn replay(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    body: Body,
) -> Result<Success> {
    let replay = match read_json(body).await? {
        ReplayBody { dead_letters: Some(key), from_offset: None, to_offset: None } => {
            Replay::DeadLetters { key: key.parse()? }
        }
        ReplayBody { dead_letters: None, from_offset: Some(from), to_offset: Some(to) } => Replay::Offsets { from, to },
        _ => {
            let reason = "name dead_letters, the key of an object, or from_offset and to_offset".to_owned();
            return Err(Error::PipelineSetting { field: "replay", reason });
        }
    };
    let Replayed { events, seen, not_events } = admin.pipelines.replay(&path.name()?, &replay).await?;
    Ok(Success::new(json!({ "events": events, "seen": seen, "not_events": not_events })))
}

/// One step of a compaction; `cursor` as the step before answered it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompactBody {
    prefix: Option<String>,
    target_bytes: Option<u64>,
    #[serde(default)]
    dry_run: bool,
    cursor: Option<String>,
}

pub(crate) async fn compact(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    body: Body,
) -> Result<Success> {
    let CompactBody { prefix, target_bytes, dry_run, cursor } = read_json(body).await?;
    let target_size = target_bytes.map_or(CompactStep::TARGET_SIZE, ByteSize::bytes);
    let step = CompactStep { prefix, target_size, cursor, dry_run };
    let Compacted { merged, left, cursor } = admin.pipelines.compact(&path.name()?, &step).await?;
    let merged = merged.map(|Merged { key, sources, rows, bytes_before, bytes_after, is_full }| {
        json!({
            "key": key, "sources": sources, "rows": rows, "bytes_before": bytes_before, "bytes_after": bytes_after,
            "full": is_full,
        })
    });
    let left = left.into_iter().map(|LeftAlone { key, reason }| json!({ "key": key, "reason": reason }));
    Ok(Success::new(json!({ "merged": merged, "left": left.collect::<Vec<_>>(), "cursor": cursor })))
}

fn shown(admin: &Admin, record: &PipelineRecord, headers: &HeaderMap) -> Value {
    let (name, kafka) = (&record.spec.name, admin.kafka_address(headers));
    let endpoint = format!("{}/{name}", admin.ingest_url(headers));
    let mut answer = body::describe(record);
    answer["endpoints"] = json!([
        { "label": "HTTPS", "address": endpoint },
        { "label": "WebSocket", "address": format!("{}/{name}", admin.websocket_url(headers)) },
        {
            "label": "Kafka",
            "address": format!("{kafka} (topic: {name})"),
            "bootstrap": kafka,
            "security_protocol": security_protocol(record.spec.stream.auth, admin.kafka.tls),
        },
    ]);
    answer["endpoint"] = endpoint.into();
    // A pipeline that has just gone has nothing to report.
    if let Ok(health) = admin.pipelines.health_of(&record.spec.name) {
        answer["status"] = body::describe_health(&health);
    }
    answer
}

/// What Kafka's clients call the way to a pipeline.
fn security_protocol(auth: IngestAuth, tls: bool) -> &'static str {
    match (auth, tls) {
        (IngestAuth::Token, true) => "SASL_SSL",
        (IngestAuth::Token, false) => "SASL_PLAINTEXT",
        (IngestAuth::None, true) => "SSL",
        (IngestAuth::None, false) => "PLAINTEXT",
    }
}
