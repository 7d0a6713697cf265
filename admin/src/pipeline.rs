//! `/pipelines`: make, list, show, delete. Keyed by name, in the shape of Cloudflare's legacy pipelines.

mod body;

use crate::envelope::{PageQuery, Success};
use crate::error::{Error, Result};
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use body::PipelineBody;
use cistern_pipelines::{DeleteMode, IngestAuth, PipelineRecord};
use cistern_types::PipelineName;
use http::HeaderMap;
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
    let mut answer = shown(&admin, &made.record, &headers);
    if let Some(token) = made.send_token {
        answer["send_token"] = token.into();
    }
    Ok(Success::new(answer))
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<PipelinePath>,
    headers: HeaderMap,
) -> Result<Success> {
    let record = admin.pipelines.get(&path.name()?)?;
    Ok(Success::new(shown(&admin, &record, &headers)))
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
            "security_protocol": security_protocol(record.spec.auth, admin.kafka.tls),
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
