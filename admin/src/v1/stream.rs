//! `/pipelines/v1/streams`.

use super::{ListQuery, V1Path, narrowed, refuse};
use crate::envelope::Success;
use crate::error::Result;
use crate::pipeline::CorsBody;
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use cistern_pipelines::{
    CreatedStream, DeclaredSchema, FreeStream, IngestAuth, StreamAsked, StreamChange, StreamSpec, TimestampFormat,
    UnknownFields,
};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

/// A stream as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamBody {
    name: String,
    format: Option<FormatBody>,
    http: Option<HttpBody>,
    worker_binding: Option<BindingBody>,
    schema: Option<Value>,
}

/// What may change about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamPatch {
    http: Option<HttpBody>,
    worker_binding: Option<BindingBody>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    unstructured: Option<bool>,
    timestamp_format: Option<String>,
    decimal_encoding: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpBody {
    enabled: Option<bool>,
    authentication: Option<bool>,
    cors: Option<CorsBody>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingBody {
    enabled: bool,
}

impl FormatBody {
    /// How events write timestamps, and whether they have a schema, where it is said.
    fn checked(&self) -> Result<(TimestampFormat, Option<bool>)> {
        if self.kind.as_deref().is_some_and(|kind| kind != "json") {
            return Err(refuse("format.type", "use json"));
        }
        if self.decimal_encoding.as_deref().is_some_and(|word| !matches!(word, "number" | "string")) {
            return Err(refuse("format.decimal_encoding", "use number or string; both are read in any case"));
        }
        let timestamps = self.timestamp_format.as_deref().map(str::parse).transpose()?.unwrap_or_default();
        Ok((timestamps, self.unstructured.map(|unstructured| !unstructured)))
    }
}

/// The schema that a client gives. Fields that are not declared are left out, unless it says that they shall be kept.
fn schema_of(mut given: Value, timestamps: TimestampFormat) -> Result<DeclaredSchema> {
    let says_unknown = given.get("unknown_fields").is_some();
    if let Some(fields) = given.as_object_mut() {
        // What answers of the API have and requests need not.
        fields.retain(|name, value| !(matches!(name.as_str(), "format" | "inferred") && value.is_null()));
    }
    let schema: DeclaredSchema = serde_json::from_value(given).map_err(|error| refuse("schema", error.to_string()))?;
    let schema = if says_unknown { schema } else { schema.with_unknown(UnknownFields::Drop) };
    Ok(if timestamps == TimestampFormat::default() { schema } else { schema.with_timestamps(timestamps) })
}

fn auth(authentication: bool) -> IngestAuth {
    if authentication { IngestAuth::Token } else { IngestAuth::None }
}

impl StreamBody {
    fn into_asked(self) -> Result<StreamAsked> {
        let (timestamps, structured) = self.format.unwrap_or_default().checked()?;
        let schema = match (self.schema.filter(|schema| !schema.is_null()), structured) {
            (Some(_), Some(false)) => {
                return Err(refuse("schema", "the format says that it is unstructured: leave one of the two out"));
            }
            (None, Some(true)) => {
                return Err(refuse("schema", "name its fields, or say that the format is unstructured"));
            }
            (Some(schema), _) => Some(schema_of(schema, timestamps)?),
            (None, _) => None,
        };
        let http = self.http.unwrap_or_default();
        let spec = StreamSpec {
            auth: auth(http.authentication.unwrap_or(true)),
            cors_origins: http.cors.as_ref().map(CorsBody::origins).transpose()?.unwrap_or_default(),
            ..StreamSpec::default()
        };
        Ok(StreamAsked {
            name: self.name.parse()?,
            spec,
            schema,
            http: http.enabled.unwrap_or(true),
            worker_binding: self.worker_binding.is_none_or(|binding| binding.enabled),
        })
    }
}

fn shown(admin: &Admin, stream: &FreeStream, headers: &HeaderMap) -> Value {
    let StreamAsked { name, spec, schema, http, worker_binding } = &stream.asked;
    let mut shown = json!({
        "id": stream.id.to_string(),
        "name": name,
        "version": stream.version,
        "created_at": stream.created.to_string(),
        "modified_at": stream.modified.to_string(),
        "endpoint": format!("{}/{name}", admin.ingest_url(headers)),
        "format": { "type": "json" },
        "schema": null,
        "http": { "enabled": http, "authentication": spec.auth == IngestAuth::Token },
        "worker_binding": { "enabled": worker_binding },
    });
    if !spec.cors_origins.is_empty() {
        let origins: Vec<String> = spec.cors_origins.iter().map(ToString::to_string).collect();
        shown["http"]["cors"] = json!({ "origins": origins });
    }
    match schema {
        None => shown["format"]["unstructured"] = true.into(),
        Some(schema) => {
            let mut fields = json!(schema);
            if let Some(members) = fields.as_object_mut() {
                members.remove("timestamp_format");
                if schema.unknown() == UnknownFields::Drop {
                    members.remove("unknown_fields");
                }
            }
            shown["schema"] = fields;
            if let Some(name) = schema.timestamps().name() {
                shown["format"]["timestamp_format"] = name.into();
            }
        }
    }
    shown
}

fn with_token(admin: &Admin, made: CreatedStream, headers: &HeaderMap) -> Value {
    let mut answer = shown(admin, &made.stream, headers);
    if let Some(token) = made.send_token {
        answer["send_token"] = token.into();
    }
    answer
}

pub(crate) async fn create(State(admin): State<Admin>, headers: HeaderMap, request: Body) -> Result<Success> {
    let wanted: StreamBody = read_json(request).await?;
    let made = admin.pipelines.create_stream(wanted.into_asked()?).await?;
    Ok(Success::new(with_token(&admin, made, &headers)))
}

pub(crate) async fn list(
    State(admin): State<Admin>,
    UrlQuery(query): UrlQuery<ListQuery>,
    headers: HeaderMap,
) -> Result<Success> {
    let of_pipeline = narrowed(&admin, &query).await?;
    let mut streams = admin.pipelines.streams();
    streams.retain(|stream| query.wants(stream.asked.name.as_str()));
    if let Some(pipeline) = of_pipeline {
        let read = |stream: &FreeStream| {
            pipeline.as_ref().is_some_and(|found| found.parts.iter().any(|part| part.stream == stream.id))
        };
        streams.retain(read);
    }
    query.shown(&streams, |stream| shown(&admin, stream, &headers))
}

pub(crate) async fn show(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<V1Path>,
    headers: HeaderMap,
) -> Result<Success> {
    let stream = admin.pipelines.stream(&path.id)?;
    Ok(Success::new(shown(&admin, &stream, &headers)))
}

/// Changes what is said of `http` and `worker_binding`; all else is fixed.
pub(crate) async fn patch(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<V1Path>,
    headers: HeaderMap,
    body: Body,
) -> Result<Success> {
    let StreamPatch { http, worker_binding } = read_json(body).await?;
    let http = http.unwrap_or_default();
    let change = StreamChange {
        http: http.enabled,
        auth: http.authentication.map(auth),
        cors_origins: http.cors.as_ref().map(CorsBody::origins).transpose()?,
        worker_binding: worker_binding.map(|binding| binding.enabled),
    };
    let changed = admin.pipelines.update_stream(&path.id, change).await?;
    Ok(Success::new(with_token(&admin, changed, &headers)))
}

/// With the events that wait in it, and the pipelines that read from it.
pub(crate) async fn delete(State(admin): State<Admin>, UrlPath(path): UrlPath<V1Path>) -> Result<Success> {
    admin.pipelines.delete_stream(&path.id).await?;
    Ok(Success::new(Value::Null))
}
