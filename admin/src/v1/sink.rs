//! `/pipelines/v1/sinks`. What clients send and nothing here needs (credentials, tokens, the account) is taken and never shown
//! again; what would be ignored and is missed later is refused.

use super::{ForceQuery, ListQuery, V1Path, narrowed, refuse};
use crate::envelope::Success;
use crate::error::{Error, Result};
use crate::request::{UrlPath, UrlQuery, read_json};
use crate::state::Admin;
use axum::body::Body;
use axum::extract::State;
use cistern_pipelines::{JsonCompression, OutputFormat, ParquetSpec, Sink, SinkSpec};
use cistern_types::ByteSize;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;

/// A sink as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkBody {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    format: Option<FormatBody>,
    config: Value,
    schema: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormatBody {
    #[serde(rename = "type")]
    kind: String,
    compression: Option<String>,
    row_group_bytes: Option<u64>,
    #[serde(rename = "unstructured")]
    _unstructured: Option<IgnoredAny>,
    timestamp_format: Option<String>,
    decimal_encoding: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigBody {
    bucket: String,
    #[serde(default)]
    path: Option<String>,
    partitioning: Option<PartitioningBody>,
    rolling_policy: Option<RollingBody>,
    file_naming: Option<FileNamingBody>,
    jurisdiction: Option<String>,
    #[serde(rename = "account_id")]
    _account_id: Option<IgnoredAny>,
    #[serde(rename = "credentials")]
    _credentials: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitioningBody {
    time_pattern: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollingBody {
    file_size_bytes: Option<u64>,
    interval_seconds: Option<u64>,
    inactivity_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNamingBody {
    prefix: Option<String>,
    suffix: Option<String>,
    strategy: Option<String>,
}

impl FormatBody {
    fn into_format(self) -> Result<OutputFormat> {
        // Elsewhere no compression is called `none`.
        let compression = self.compression.as_deref().map(|word| if word == "uncompressed" { "none" } else { word });
        if self.timestamp_format.is_some_and(|format| format != "rfc3339") {
            return Err(refuse("format.timestamp_format", "timestamps are written as rfc3339"));
        }
        if self.decimal_encoding.is_some() {
            return Err(refuse("format.decimal_encoding", "it cannot be chosen: leave it out"));
        }
        let mut format = match (self.kind.as_str(), compression) {
            ("json", None) => OutputFormat::JsonLines { compression: JsonCompression::None },
            (kind, compression) => OutputFormat::from_names(kind, compression)?,
        };
        match (&mut format, self.row_group_bytes) {
            (OutputFormat::Parquet(parquet), Some(bytes)) => parquet.row_group_size = ByteSize::bytes(bytes),
            (OutputFormat::JsonLines { .. }, Some(_)) => {
                return Err(refuse("format.row_group_bytes", "the format is not parquet"));
            }
            (_, None) => {}
        }
        Ok(format)
    }
}

impl SinkBody {
    fn into_spec(self) -> Result<SinkSpec> {
        match self.kind.as_str() {
            "r2" => {}
            "r2_data_catalog" | "basin_catalog" => {
                return Err(refuse("type", format!("sinks of type {} are not supported yet: use r2", self.kind)));
            }
            other => return Err(refuse("type", format!("{other:?} is not known here: use r2"))),
        }
        if self.schema.is_some() {
            return Err(refuse("schema", "a sink has the columns that the SQL gives: leave it out"));
        }
        let config: ConfigBody = serde_json::from_value(self.config)
            .map_err(|error| Error::Malformed { reason: format!("config: {error}") })?;
        if config.jurisdiction.is_some_and(|jurisdiction| jurisdiction != "default") {
            return Err(refuse("config.jurisdiction", "there is no other than default"));
        }
        let mut spec = SinkSpec::new(config.bucket.parse()?)?;
        spec.path = config.path.unwrap_or_default();
        spec.format =
            self.format.map_or_else(|| Ok(OutputFormat::Parquet(ParquetSpec::default())), FormatBody::into_format)?;
        if let Some(pattern) = config.partitioning.and_then(|partitioning| partitioning.time_pattern) {
            spec.time_path = pattern.parse()?;
        }
        if let Some(rolling) = config.rolling_policy {
            if rolling.inactivity_seconds.is_some() {
                let reason = "files end by interval_seconds and file_size_bytes here: leave it out";
                return Err(refuse("config.rolling_policy.inactivity_seconds", reason));
            }
            spec.interval = rolling.interval_seconds.map_or(spec.interval, Duration::from_secs);
            spec.file_size = rolling.file_size_bytes.map(ByteSize::bytes);
        }
        if let Some(naming) = config.file_naming {
            spec.file_prefix = naming.prefix.unwrap_or_default();
            spec.file_suffix = naming.suffix.unwrap_or_default();
            spec.strategy = naming.strategy.as_deref().map(str::parse).transpose()?;
        }
        Ok(spec)
    }
}

fn shown(admin: &Admin, sink: &Sink) -> Value {
    let spec = &sink.spec;
    let compression = spec.format.compression_name();
    let compression = if compression == "none" { "uncompressed" } else { &compression };
    let mut format = json!({ "type": spec.format.name(), "compression": compression });
    if let OutputFormat::Parquet(parquet) = &spec.format {
        format["row_group_bytes"] = parquet.row_group_size.as_u64().into();
    }
    let mut config = json!({
        "account_id": admin.access.account_id().to_string(),
        "bucket": spec.bucket,
        "path": spec.path,
        "partitioning": { "time_pattern": spec.time_path.to_string() },
        "rolling_policy": { "interval_seconds": spec.interval.as_secs() },
    });
    if let Some(size) = spec.file_size {
        config["rolling_policy"]["file_size_bytes"] = size.as_u64().into();
    }
    if !spec.file_prefix.is_empty() || !spec.file_suffix.is_empty() || spec.strategy.is_some() {
        config["file_naming"] = json!({
            "prefix": spec.file_prefix,
            "suffix": spec.file_suffix,
            "strategy": spec.strategy.map(|strategy| strategy.to_string()),
        });
    }
    let made = sink.created.to_string();
    json!({
        "id": sink.id.to_string(), "name": sink.name, "type": "r2", "format": format, "config": config, "schema": null,
        "created_at": made, "modified_at": made,
    })
}

pub(crate) async fn create(State(admin): State<Admin>, request: Body) -> Result<Success> {
    let wanted: SinkBody = read_json(request).await?;
    let name = wanted.name.parse()?;
    let sink = admin.pipelines.create_sink(name, wanted.into_spec()?).await?;
    Ok(Success::new(shown(&admin, &sink)))
}

pub(crate) async fn list(State(admin): State<Admin>, UrlQuery(query): UrlQuery<ListQuery>) -> Result<Success> {
    let of_pipeline = narrowed(&admin, &query).await?;
    let mut sinks = admin.pipelines.sinks().await?;
    sinks.retain(|sink| query.wants(sink.name.as_str()));
    if let Some(pipeline) = of_pipeline {
        let written =
            |sink: &Sink| pipeline.as_ref().is_some_and(|found| found.parts.iter().any(|part| part.sink == sink.id));
        sinks.retain(written);
    }
    query.shown(&sinks, |sink| shown(&admin, sink))
}

pub(crate) async fn show(State(admin): State<Admin>, UrlPath(path): UrlPath<V1Path>) -> Result<Success> {
    let sink = admin.pipelines.sink(&path.id).await?;
    Ok(Success::new(shown(&admin, &sink)))
}

pub(crate) async fn delete(
    State(admin): State<Admin>,
    UrlPath(path): UrlPath<V1Path>,
    UrlQuery(query): UrlQuery<ForceQuery>,
) -> Result<Success> {
    admin.pipelines.delete_sink(&path.id, query.force).await?;
    Ok(Success::new(Value::Null))
}
