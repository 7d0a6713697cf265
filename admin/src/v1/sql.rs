//! `/pipelines/v1/pipelines` and `/pipelines/v1/validate_sql`: SQL pipelines. They are not changed, but deleted and made anew.

use super::{ListQuery, V1Path};
use crate::envelope::Success;
use crate::error::Result;
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use cistern_pipelines::{CheckedSql, PipelineState, SqlPipeline};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of sinks and pipelines, which are never changed.
const ONLY_VERSION: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineBody {
    name: String,
    sql: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    sql: String,
}

fn shown(admin: &Admin, pipeline: &SqlPipeline) -> Value {
    let health = admin.pipelines.sql_health(pipeline);
    let reason = health.iter().find_map(|part| match &part.state {
        PipelineState::Waiting { reason } => Some(reason.as_str()),
        PipelineState::Draining { waiting } => waiting.as_deref(),
        PipelineState::Ready => None,
    });
    let made = pipeline.created.to_string();
    let mut shown = json!({
        "id": pipeline.id.to_string(),
        "name": pipeline.name,
        "sql": pipeline.sql,
        "version": ONLY_VERSION,
        "status": if reason.is_some() { "failed" } else { "running" },
        "created_at": made,
        "modified_at": made,
        "tables": tables(admin, pipeline),
    });
    if let Some(reason) = reason {
        shown["failure_reason"] = reason.into();
    }
    shown
}

/// The streams and sinks of a pipeline, each once.
fn tables(admin: &Admin, pipeline: &SqlPipeline) -> Vec<Value> {
    let account = admin.access.account_id();
    let table = |kind: &str, id: &str, name: &str, version: u32| {
        let href = format!("/accounts/{account}/pipelines/v1/{kind}s/{id}");
        json!({ "id": id, "name": name, "type": kind, "version": version, "latest": version, "href": href })
    };
    let mut found = BTreeMap::new();
    for part in &pipeline.parts {
        let id = part.stream.to_string();
        let version = admin.pipelines.stream(&id).map_or(ONLY_VERSION, |stream| stream.version);
        found.insert((0, id.clone()), table("stream", &id, part.stream_name.as_str(), version));
        let id = part.sink.to_string();
        found.insert((1, id.clone()), table("sink", &id, part.sink_name.as_str(), ONLY_VERSION));
    }
    found.into_values().collect()
}

pub(crate) async fn create(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let PipelineBody { name, sql } = read_json(request).await?;
    let pipeline = admin.pipelines.create_sql_pipeline(name.parse()?, &sql).await?;
    Ok(Success::new(shown(&admin, &pipeline)))
}

pub(crate) async fn list(State(admin): State<Admin>, UrlQuery(query): UrlQuery<ListQuery>) -> Result<Success> {
    let mut pipelines = admin.pipelines.sql_pipelines().await?;
    pipelines.retain(|pipeline| query.wants(pipeline.name.as_str()));
    query.shown(&pipelines, |pipeline| shown(&admin, pipeline))
}

pub(crate) async fn show(State(admin): State<Admin>, UrlPath(path): UrlPath<V1Path>) -> Result<Success> {
    let pipeline = admin.pipelines.sql_pipeline(&path.id).await?;
    Ok(Success::new(shown(&admin, &pipeline)))
}

/// Events that it has not delivered stay in their streams for others.
pub(crate) async fn delete(State(admin): State<Admin>, UrlPath(path): UrlPath<V1Path>) -> Result<Success> {
    admin.pipelines.delete_sql_pipeline(&path.id).await?;
    Ok(Success::new(Value::Null))
}

/// What SQL reads and writes, and its steps, if a pipeline could be made of it.
pub(crate) async fn validate(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let SqlBody { sql } = read_json(request).await?;
    let CheckedSql { streams, sinks, graph } = admin.pipelines.check_sql(&sql).await?;
    let mut tables = Map::new();
    for (id, name) in sinks {
        let table = json!({ "id": id.to_string(), "name": name, "type": "sink", "version": ONLY_VERSION });
        tables.insert(name.to_string(), table);
    }
    for (id, name, version) in streams {
        let table = json!({ "id": id.to_string(), "name": name, "type": "stream", "version": version });
        tables.insert(name.to_string(), table);
    }
    let nodes = graph.nodes.iter().map(|node| {
        json!({
            "node_id": node.id, "operator": node.kind.name(), "description": node.description, "parallelism": 1,
        })
    });
    let edges = graph.edges.iter().map(|edge| {
        json!({
            "src_id": edge.source, "dest_id": edge.target, "key_type": "()", "value_type": "row", "edge_type": "Forward",
        })
    });
    let (nodes, edges): (Vec<Value>, Vec<Value>) = (nodes.collect(), edges.collect());
    Ok(Success::new(json!({ "tables": tables, "graph": { "nodes": nodes, "edges": edges } })))
}
