//! The JSON of a pipeline: Cloudflare's legacy shape, with our own `on_json_key`, `parquet`, `storage_class` and
//! `schema`, and `retention_s` and `rotate_send_token` beside.
//!
//! What clients send and we have no use for (`credentials`, file names, `metadata` but for `shards`) is taken and never shown again; a
//! field nobody knows is refused by name.

use crate::error::{Error, Result};
use cistern_pipelines::{
    BatchSpec, DeclaredSchema, IngestAuth, JsonPath, ObjectNaming, Origin, OutputFormat, ParquetSpec, PipelineHealth,
    PipelineRecord, PipelineSpec, PipelineState,
};
use cistern_types::{ByteSize, StorageClass};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;

/// A pipeline as a client asks for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PipelineBody {
    name: String,
    source: Option<Vec<SourceBody>>,
    destination: DestinationBody,
    #[serde(default)]
    transforms: Vec<IgnoredAny>,
    schema: Option<DeclaredSchema>,
    sql: Option<String>,
    mixed_types: Option<String>,
    metadata: Option<MetadataBody>,
    /// Whether a new send token takes the place of the old one.
    #[serde(default)]
    pub(crate) rotate_send_token: bool,
    // What a client that changes a pipeline has read and sends back.
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "created_at")]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "modified_at")]
    _modified_at: Option<IgnoredAny>,
    #[serde(rename = "endpoint")]
    _endpoint: Option<IgnoredAny>,
    #[serde(rename = "endpoints")]
    _endpoints: Option<IgnoredAny>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

/// Fields nobody here knows are taken: clients keep what they like in it.
#[derive(Debug, Default, Deserialize)]
struct MetadataBody {
    shards: Option<u8>,
    retention_s: Option<u64>,
    backlog_bytes_max: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceBody {
    #[serde(rename = "type")]
    kind: String,
    format: Option<String>,
    authentication: Option<bool>,
    cors: Option<CorsBody>,
}

/// From which web pages browsers may send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorsBody {
    #[serde(default)]
    origins: Vec<String>,
}

impl CorsBody {
    pub(crate) fn origins(&self) -> Result<Vec<Origin>> {
        Ok(self.origins.iter().map(|origin| origin.parse()).collect::<Result<_, _>>()?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    format: Option<String>,
    compression: Option<CompressionBody>,
    #[serde(default)]
    batch: BatchBody,
    path: PathBody,
    parquet: Option<ParquetBody>,
    storage_class: Option<String>,
    #[serde(rename = "credentials")]
    _credentials: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompressionBody {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    max_bytes: Option<u64>,
    max_duration_s: Option<u64>,
    max_rows: Option<u64>,
    on_json_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParquetBody {
    row_group_bytes: Option<u64>,
    row_group_rows: Option<u64>,
    page_bytes: Option<u64>,
    #[serde(default)]
    sort_by: Vec<String>,
    #[serde(default)]
    bloom_filters: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathBody {
    bucket: String,
    prefix: Option<String>,
    time_path: Option<String>,
    #[serde(default)]
    file_prefix: String,
    #[serde(default)]
    file_suffix: String,
    #[serde(rename = "filepath")]
    _filepath: Option<IgnoredAny>,
    #[serde(rename = "filename")]
    _filename: Option<IgnoredAny>,
}

fn refuse(field: &'static str, reason: impl Into<String>) -> Error {
    Error::PipelineSetting { field, reason: reason.into() }
}

impl PipelineBody {
    /// What it asks for; ranges are checked by `cistern-pipelines`.
    pub(crate) fn into_spec(self) -> Result<PipelineSpec> {
        if !self.transforms.is_empty() {
            return Err(refuse("transforms", "send an empty list, and SQL in the field sql"));
        }
        let destination = self.destination;
        if destination.kind.as_deref().is_some_and(|kind| kind != "r2") {
            return Err(refuse("destination.type", "use r2"));
        }
        let mut spec = PipelineSpec::new(self.name.parse()?, destination.path.bucket.parse()?);
        let PipelineSpec { stream, output, .. } = &mut spec;
        let PathBody { prefix, time_path, file_prefix, file_suffix, .. } = destination.path;
        output.prefix = prefix.unwrap_or_default();
        let time_path = time_path.as_deref().map(str::parse).transpose()?;
        output.naming = ObjectNaming { time_path, file_prefix, file_suffix };
        output.batch = destination.batch.into_spec()?;
        let compression = destination.compression.map(|compression| compression.kind);
        let format = destination.format.as_deref().unwrap_or("parquet");
        output.format = OutputFormat::from_names(format, compression.as_deref())?;
        match (&mut output.format, destination.parquet) {
            (OutputFormat::Parquet(parquet), Some(body)) => body.apply(parquet),
            (OutputFormat::JsonLines { .. }, Some(_)) => {
                return Err(refuse("destination.parquet", "the format is not parquet"));
            }
            (_, None) => {}
        }
        output.schema = self.schema;
        output.sql = self.sql;
        output.mixed_types = self.mixed_types.as_deref().map(str::parse).transpose()?.unwrap_or_default();
        output.class = destination.storage_class.as_deref().map_or(Ok(StorageClass::Standard), str::parse)?;
        let metadata = self.metadata.unwrap_or_default();
        stream.shards = metadata.shards.unwrap_or(stream.shards);
        stream.backlog_max = metadata.backlog_bytes_max.map(ByteSize::bytes);
        stream.retention = metadata.retention_s.map_or(stream.retention, Duration::from_secs);
        if let Some(sources) = self.source {
            let http = http_source(sources)?;
            stream.auth = if http.authentication.unwrap_or(true) { IngestAuth::Token } else { IngestAuth::None };
            stream.cors_origins = http.cors.as_ref().map(CorsBody::origins).transpose()?.unwrap_or_default();
        }
        Ok(spec)
    }
}

/// A pipeline as it shall be: as it is, but for what `patch` says, as a merge patch (RFC 7396) does. A source is merged with
/// the one there is.
pub(crate) fn patched(record: &PipelineRecord, mut patch: Value) -> Result<PipelineBody> {
    let mut asked = describe(record);
    let fields = patch.as_object_mut();
    let fields =
        fields.ok_or_else(|| Error::Malformed { reason: "send an object with what shall change".to_owned() })?;
    if let Some(Value::Array(sources)) = fields.get_mut("source")
        && let [source] = sources.as_mut_slice()
    {
        let mut merged = asked["source"][0].take();
        merge(&mut merged, source.take());
        *source = merged;
    }
    merge(&mut asked, patch);
    serde_json::from_value(asked).map_err(|error| Error::Malformed { reason: error.to_string() })
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().map(|fields| fields.remove(&name));
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// The source that takes events over HTTP. A `binding` beside it belongs to a runtime that is not here: passed over.
fn http_source(sources: Vec<SourceBody>) -> Result<SourceBody> {
    let mut found = None;
    for source in sources {
        if source.format.as_deref().is_some_and(|format| format != "json") {
            return Err(refuse("source.format", "use json"));
        }
        match source.kind.as_str() {
            "http" if found.is_none() => found = Some(source),
            "http" => return Err(refuse("source", "name one source of type http")),
            "binding" => {}
            other => return Err(refuse("source.type", format!("{other:?} is not known here; use http"))),
        }
    }
    found.ok_or_else(|| refuse("source", "name a source of type http"))
}

impl ParquetBody {
    fn apply(self, parquet: &mut ParquetSpec) {
        parquet.row_group_size = self.row_group_bytes.map_or(parquet.row_group_size, ByteSize::bytes);
        parquet.row_group_rows = self.row_group_rows.unwrap_or(parquet.row_group_rows);
        parquet.page_size = self.page_bytes.map_or(parquet.page_size, ByteSize::bytes);
        parquet.sort_by = self.sort_by;
        parquet.bloom_filters = self.bloom_filters;
    }
}

fn describe_parquet(parquet: &ParquetSpec) -> Value {
    json!({
        "row_group_bytes": parquet.row_group_size.as_u64(),
        "row_group_rows": parquet.row_group_rows,
        "page_bytes": parquet.page_size.as_u64(),
        "sort_by": parquet.sort_by,
        "bloom_filters": parquet.bloom_filters,
    })
}

impl BatchBody {
    fn into_spec(self) -> Result<BatchSpec> {
        let default = BatchSpec::default();
        Ok(BatchSpec {
            size: self.max_bytes.map_or(default.size, ByteSize::bytes),
            timeout: self.max_duration_s.map_or(default.timeout, Duration::from_secs),
            rows: self.max_rows.unwrap_or(default.rows),
            json_key: self.on_json_key.as_deref().map(str::parse::<JsonPath>).transpose()?,
        })
    }
}

/// A pipeline as it is shown; never with secrets.
pub(crate) fn describe(record: &PipelineRecord) -> Value {
    let PipelineSpec { name, stream, output } = &record.spec;
    let origins: Vec<String> = stream.cors_origins.iter().map(ToString::to_string).collect();
    let naming = &output.naming;
    let mut shown = json!({
        "id": record.id.to_string(),
        "version": record.version,
        "name": name,
        "created_at": record.created.to_string(),
        "modified_at": record.modified.to_string(),
        "metadata": {
            "shards": stream.shards,
            "retention_s": stream.retention.as_secs(),
            "backlog_bytes_max": stream.backlog_max.map(ByteSize::as_u64),
        },
        "source": [{
            "type": "http",
            "format": "json",
            "authentication": stream.auth == IngestAuth::Token,
            "cors": { "origins": origins },
        }],
        "transforms": [],
        "schema": output.schema,
        "sql": output.sql,
        "mixed_types": output.mixed_types.to_string(),
        "destination": {
            "type": "r2",
            "format": output.format.name(),
            "compression": { "type": output.format.compression_name() },
            "batch": {
                "max_bytes": output.batch.size.as_u64(),
                "max_duration_s": output.batch.timeout.as_secs(),
                "max_rows": output.batch.rows,
                "on_json_key": output.batch.json_key.as_ref().map(ToString::to_string),
            },
            "path": {
                "bucket": output.bucket,
                "prefix": output.prefix,
                "time_path": naming.time_path.as_ref().map(ToString::to_string),
                "file_prefix": naming.file_prefix,
                "file_suffix": naming.file_suffix,
            },
            "storage_class": output.class.api_name(),
        },
    });
    if let OutputFormat::Parquet(parquet) = &output.format {
        shown["destination"]["parquet"] = describe_parquet(parquet);
    }
    shown
}

/// How a pipeline fares, as it is shown.
pub(crate) fn describe_health(health: &PipelineHealth) -> Value {
    let (state, reason) = match &health.state {
        PipelineState::Ready => ("ready", None),
        PipelineState::Waiting { reason } => ("waiting", Some(reason)),
        PipelineState::Draining { waiting } => ("draining", waiting.as_ref()),
    };
    json!({
        "state": state,
        "reason": reason,
        "events_accepted": health.events_accepted,
        "bytes_accepted": health.bytes_accepted,
        "events_delivered": health.events_delivered,
        "dead_letters": health.dead_letters,
        "objects_written": health.objects_written,
        "lag_events": health.lag_events,
        "lag_bytes": health.lag_bytes,
        "lag_seconds": health.lag.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_pipelines::{JsonCompression, ParquetCompression};

    fn parse(body: &Value) -> Result<PipelineSpec, String> {
        let body: PipelineBody = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
        body.into_spec().map_err(|error| error.to_string())
    }

    fn minimal() -> Value {
        json!({ "name": "clicks", "destination": { "path": { "bucket": "events" } } })
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let expected = PipelineSpec::new("clicks".parse().unwrap(), "events".parse().unwrap());
        assert_eq!(parse(&minimal()).unwrap(), expected);
    }

    /// The body that wrangler 4.20.0 was seen to send.
    #[test]
    fn the_body_of_wrangler_is_taken() {
        let spec = parse(&json!({
            "name": "clicks", "metadata": { "shards": 3 },
            "source": [
                { "type": "http", "format": "json", "authentication": true, "cors": { "origins": ["https://a.example"] } },
                { "type": "binding", "format": "json" },
            ],
            "transforms": [],
            "destination": {
                "type": "r2", "format": "json", "compression": { "type": "gzip" },
                "batch": { "max_bytes": 10_000_000, "max_duration_s": 60, "max_rows": 1000 },
                "path": { "bucket": "events", "prefix": "raw", "filepath": "x", "filename": "y" },
                "credentials": { "endpoint": "https://x", "access_key_id": "a", "secret_access_key": "b" },
            },
        }));
        let spec = spec.unwrap();
        assert_eq!(spec.output.format, OutputFormat::JsonLines { compression: JsonCompression::Gzip });
        assert_eq!(
            (spec.output.batch.size.as_u64(), spec.output.batch.timeout.as_secs(), spec.output.batch.rows),
            (10_000_000, 60, 1000)
        );
        assert_eq!(
            (spec.output.prefix.as_str(), spec.stream.auth, spec.stream.cors_origins.len()),
            ("raw", IngestAuth::Token, 1)
        );
    }

    #[test]
    fn our_own_fields_are_taken() {
        let mut body = minimal();
        body["destination"]["batch"] = json!({ "on_json_key": ".merchant.id" });
        body["destination"]["format"] = "parquet".into();
        body["destination"]["compression"] = json!({ "type": "snappy" });
        body["destination"]["storage_class"] = "InfrequentAccess".into();
        body["destination"]["parquet"] = json!({ "sort_by": ["merchant.id"], "row_group_rows": 5000 });
        body["destination"]["path"]["time_path"] = "%Y/%m".into();
        body["source"] = json!([{ "type": "http", "authentication": false }]);
        let spec = parse(&body).unwrap();
        assert_eq!(
            spec.output.format,
            OutputFormat::Parquet(ParquetSpec {
                compression: ParquetCompression::Snappy,
                sort_by: vec!["merchant.id".into()],
                row_group_rows: 5_000,
                ..ParquetSpec::default()
            })
        );
        assert_eq!(spec.output.batch.json_key, Some(".merchant.id".parse().unwrap()));
        assert_eq!((spec.output.class, spec.stream.auth), (StorageClass::InfrequentAccess, IngestAuth::None));
    }

    #[test]
    fn a_schema_is_taken_and_shown_as_it_was_given() {
        let mut body = minimal();
        let fields = json!([
            { "name": "id", "type": "int64", "required": true },
            { "name": "at", "type": "timestamp", "required": true, "unit": "microsecond" },
            { "name": "price", "type": "decimal128", "required": false, "precision": 10, "scale": 2 },
            { "name": "blob", "type": "bytes", "required": false },
            { "name": "raw", "type": "binary", "required": false },
            { "name": "tags", "type": "list", "required": false, "items": { "type": "string", "required": true } },
            { "name": "user", "type": "struct", "required": false,
              "fields": [{ "name": "extra", "type": "json", "required": false }] },
        ]);
        body["schema"] = json!({ "fields": fields, "unknown_fields": "drop", "timestamp_format": "rfc3339" });
        let spec = parse(&body).unwrap();
        let shown = serde_json::to_value(&spec.output.schema).unwrap();
        assert_eq!(shown, body["schema"]);
        body["schema"] = json!({ "fields": [{ "name": "id", "type": "timestamp" }] });
        let shown = serde_json::to_value(parse(&body).unwrap().output.schema).unwrap();
        let field = json!({ "name": "id", "type": "timestamp", "required": false, "unit": "millisecond" });
        assert_eq!(shown, json!({ "fields": [field], "unknown_fields": "keep" }));
        assert_eq!(serde_json::to_value(parse(&minimal()).unwrap().output.schema).unwrap(), Value::Null);
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let mut spec = PipelineSpec::new("clicks".parse().unwrap(), "events".parse().unwrap());
        spec.stream.cors_origins = vec!["https://a.example".parse().unwrap()];
        spec.stream.retention = Duration::from_mins(1);
        spec.output.batch.json_key = Some(".k".parse().unwrap());
        spec.output.prefix = "raw".into();
        let record = PipelineRecord {
            id: serde_json::from_value(json!(vec![7; 16])).unwrap(),
            spec,
            created: cistern_types::Timestamp::default(),
            modified: cistern_types::Timestamp::default(),
            version: 3,
            draining: false,
        };
        let patched = |patch: Value| patched(&record, patch).and_then(PipelineBody::into_spec).unwrap();
        assert_eq!(patched(json!({})), record.spec, "what is shown can be sent back");
        let changed = patched(json!({
            "destination": { "batch": { "on_json_key": null, "max_rows": 7 }, "path": { "bucket": "other" } },
            "source": [{ "authentication": false }],
        }));
        let mut expected = record.spec.clone();
        expected.output.batch.json_key = None;
        expected.output.batch.rows = 7;
        expected.output.bucket = "other".parse().unwrap();
        expected.stream.auth = IngestAuth::None;
        assert_eq!(changed, expected);
        let error = super::patched(&record, json!({ "colour": 1 })).unwrap_err();
        assert!(error.to_string().contains("unknown field `colour`"), "{error}");
        assert!(super::patched(&record, json!([1])).is_err());
    }

    #[track_caller]
    fn refused(pointer: &str, value: Value, expected: &str) {
        let mut body = minimal();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value;
        let error = parse(&body).expect_err(pointer);
        assert!(error.contains(expected), "{pointer}: {error}");
    }

    #[test]
    fn what_cannot_be_names_the_field_and_the_remedy() {
        refused("/colour", json!(1), "unknown field `colour`");
        refused("/destination/colour", json!(1), "unknown field `colour`");
        refused("/destination/path/colour", json!(1), "unknown field `colour`");
        refused("/name", json!("a b"), "invalid pipeline name \"a b\"");
        refused("/destination/path/bucket", json!("A"), "invalid bucket name \"A\"");
        refused("/schema", json!({}), "missing field `fields`");
        refused("/schema", json!({ "fields": [], "x": 1 }), "unknown field `x`");
        refused("/schema", json!({ "fields": [] }), "schema field at the top: name at least one field");
        let unknown = json!({ "fields": [{ "name": "a", "type": "list", "items": { "type": "int16" } }] });
        refused("/schema", unknown, "schema field a[]: the type is not known; use bool, int32");
        refused("/transforms", json!([{}]), "transforms: send an empty list, and SQL in the field sql");
        refused("/destination/type", json!("s3"), "destination.type: use r2");
        refused("/destination/format", json!("avro"), "use parquet or json");
        refused("/destination/compression", json!({ "type": "deflate" }), "use zstd, snappy, lz4, gzip or none");
        refused("/destination/batch", json!({ "on_json_key": "merchant" }), "json key \"merchant\", character 1");
        refused("/destination/batch", json!({ "max_bytes": -1 }), "invalid value");
        refused("/destination/path", json!({ "bucket": "events", "time_path": "%" }), "time path %");
        refused("/destination/parquet", json!({ "colour": 1 }), "unknown field `colour`");
        refused("/destination/storage_class", json!("Cold"), "invalid storage class \"Cold\"");
        refused("/source", json!([]), "name a source of type http");
        refused("/source", json!([{ "type": "kafka" }]), "\"kafka\" is not known here");
        refused("/source", json!([{ "type": "http", "format": "csv" }]), "source.format: use json");
        refused("/source", json!([{ "type": "http", "cors": { "origins": ["a.b/"] } }]), "cors origin a.b/");
    }
}
