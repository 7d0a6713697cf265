//! What `pipelines create` and `pipelines update` are told, and where the API has it.

use anyhow::{Context as _, bail};
use cistern_types::{BucketName, ByteSize, PipelineName, StorageClass, parse_duration};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who may send events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Auth {
    /// Who has the pipeline's send token
    Token,
    /// Everybody who reaches the listener
    None,
}

/// What files the events become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum FileFormat {
    /// Parquet
    Parquet,
    /// JSON, one event a line
    Json,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// Its name, also the path of its endpoint
    name: PipelineName,
    /// Bucket the events go to
    #[arg(long, value_name = "BUCKET")]
    destination_bucket: BucketName,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UpdateArgs {
    /// Its name
    pub(super) name: PipelineName,
    /// Bucket the events go to
    #[arg(long, value_name = "BUCKET")]
    destination_bucket: Option<BucketName>,
    #[command(flatten)]
    settings: Settings,
    /// Make a new send token; the old one opens the pipeline no more
    #[arg(long)]
    rotate_token: bool,
}

/// What a pipeline is made with and may be changed to.
#[derive(Debug, Args)]
pub(in crate::cli) struct Settings {
    /// Close a file at about this many bytes of events, such as 1MB [default: 100MB]
    #[arg(long, value_name = "SIZE")]
    batch_size: Option<ByteSize>,
    /// Close a file this many seconds after its first event [default: 300]
    #[arg(long, value_name = "SECONDS")]
    batch_timeout_secs: Option<u64>,
    /// Close a file at this many events [default: 10000000]
    #[arg(long, value_name = "N")]
    batch_rows: Option<u64>,
    /// One file a value of this field, such as .merchantId; empty for none
    #[arg(long, value_name = "PATH")]
    batch_on_json_key: Option<String>,
    /// Format of the files [default: parquet]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Compression of the files: zstd, snappy, lz4, gzip or none [default: zstd; for json, gzip]
    #[arg(long, value_name = "COMPRESSION")]
    compression: Option<String>,
    /// What the keys of the files begin with
    #[arg(long)]
    prefix: Option<String>,
    /// Folders made of the time, as strftime has it, such as year=%Y/month=%m [default: NAME/event_date=%Y-%m-%d/hr=%H]
    #[arg(long, value_name = "PATTERN")]
    time_path: Option<String>,
    /// What the names of the files begin with
    #[arg(long, value_name = "TEXT")]
    file_prefix: Option<String>,
    /// What the names of the files end in, after a dot [default: parquet, json.gz, json.zst or json]
    #[arg(long, value_name = "TEXT")]
    file_suffix: Option<String>,
    /// Column that the rows of a Parquet file are sorted by; may be given several times, empty for none
    #[arg(long, value_name = "COLUMN")]
    sort_by: Vec<String>,
    /// Column of a Parquet file that has bloom filters; may be given several times, empty for none
    #[arg(long, value_name = "COLUMN")]
    bloom_filter: Vec<String>,
    /// End row groups of Parquet at about this many bytes [default: 134217728]
    #[arg(long, value_name = "SIZE")]
    row_group_size: Option<ByteSize>,
    /// End row groups of Parquet at this many rows [default: 1000000]
    #[arg(long, value_name = "N")]
    row_group_rows: Option<u64>,
    /// End pages of Parquet at about this many bytes [default: 1048576]
    #[arg(long, value_name = "SIZE")]
    page_size: Option<ByteSize>,
    /// Who may send events [default: token]
    #[arg(long, value_enum)]
    auth: Option<Auth>,
    /// Origin of browser pages that may send, or *; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Partitions that Kafka's producers see, 1 to 16 [default: 1]
    #[arg(long, value_name = "N")]
    shard_count: Option<u8>,
    /// Class of the files: Standard or InfrequentAccess
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// JSON file that declares the fields of the events, or `inferred` [default: columns follow from the events]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// What happens to values of another type than their column: `dead-letters`, or `json`, which makes the column one of
    /// JSON [default: dead-letters]
    #[arg(long, value_name = "WHAT")]
    mixed_types: Option<String>,
    /// What is made of the events before they are written, such as "SELECT id, price FROM stream WHERE price > 0"; empty
    /// for nothing. Without --schema there is one column to select from, `value`, with the JSON of an event
    #[arg(long, value_name = "SELECT")]
    sql: Option<String>,
    /// Keep events in the log this long after they were sent, to be read again, such as 1h [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    retention: Option<Duration>,
    /// Tell senders to come back while this much waits for the bucket, at least 10MB [default: no limit]
    #[arg(long, value_name = "SIZE")]
    backlog_limit: Option<ByteSize>,
}

impl CreateArgs {
    /// The body of the create call: only what was given, the server knows the defaults.
    pub(super) fn body(&self) -> anyhow::Result<Value> {
        let mut body = self.settings.body()?;
        body["name"] = self.name.to_string().into();
        body["destination"]["type"] = "r2".into();
        body["destination"]["path"]["bucket"] = self.destination_bucket.to_string().into();
        Ok(body)
    }
}

impl UpdateArgs {
    /// The body of the call that changes what is named.
    pub(super) fn body(&self) -> anyhow::Result<Value> {
        let mut body = self.settings.body()?;
        if let Some(bucket) = &self.destination_bucket {
            body["destination"]["path"]["bucket"] = bucket.to_string().into();
        }
        if self.rotate_token {
            body["rotate_send_token"] = true.into();
        }
        if body == json!({}) {
            bail!("name what shall change, such as --batch-size=10MB; `--help` lists what can");
        }
        Ok(body)
    }
}

impl Settings {
    /// What was given, where the API has it.
    fn body(&self) -> anyhow::Result<Value> {
        let mut body = json!({});
        let mut put = |place: &str, value: Option<Value>| {
            if let Some(value) = value {
                let mut names = place.split('/');
                let field = names.by_ref().fold(&mut body, |at, name| &mut at[name]);
                *field = value;
            }
        };
        put("destination/batch/max_bytes", self.batch_size.map(|size| size.as_u64().into()));
        put("destination/batch/max_duration_s", self.batch_timeout_secs.map(Into::into));
        put("destination/batch/max_rows", self.batch_rows.map(Into::into));
        let key = self.batch_on_json_key.clone();
        put("destination/batch/on_json_key", key.map(|key| if key.is_empty() { Value::Null } else { key.into() }));
        let format = self.format.map(|format| match format {
            FileFormat::Parquet => "parquet",
            FileFormat::Json => "json",
        });
        put("destination/format", format.map(Into::into));
        let default = format.map(|_| Value::Null); // each format has its own
        put("destination/compression", self.compression.clone().map(|kind| json!({ "type": kind })).or(default));
        put("destination/path/prefix", self.prefix.clone().map(Into::into));
        put("destination/path/time_path", self.time_path.clone().map(Into::into));
        put("destination/path/file_prefix", self.file_prefix.clone().map(Into::into));
        put("destination/path/file_suffix", self.file_suffix.clone().map(Into::into));
        put("destination/parquet/row_group_bytes", self.row_group_size.map(|size| size.as_u64().into()));
        put("destination/parquet/row_group_rows", self.row_group_rows.map(Into::into));
        put("destination/parquet/page_bytes", self.page_size.map(|size| size.as_u64().into()));
        for (place, names) in
            [("destination/parquet/sort_by", &self.sort_by), ("destination/parquet/bloom_filters", &self.bloom_filter)]
        {
            let names_given: Vec<&String> = names.iter().filter(|name| !name.is_empty()).collect();
            put(place, (!names.is_empty()).then(|| json!(names_given)));
        }
        if format == Some("json") {
            put("destination/parquet", Some(Value::Null)); // what it is changed from may have them
        }
        put("destination/storage_class", self.storage_class.map(|class| class.api_name().into()));
        let mut source = Map::new();
        source.extend(self.auth.map(|auth| ("authentication".to_owned(), (auth == Auth::Token).into())));
        if !self.cors_origin.is_empty() {
            source.insert("cors".to_owned(), json!({ "origins": self.cors_origin }));
        }
        if !source.is_empty() {
            source.insert("type".to_owned(), "http".into());
            put("source", Some(json!([source])));
        }
        put("metadata/shards", self.shard_count.map(Into::into));
        put("metadata/retention_s", self.retention.map(|retention| retention.as_secs().into()));
        put("metadata/backlog_bytes_max", self.backlog_limit.map(|size| size.as_u64().into()));
        put("mixed_types", self.mixed_types.clone().map(Into::into));
        let sql = self.sql.clone();
        put("sql", sql.map(|sql| if sql.is_empty() { Value::Null } else { sql.into() }));
        put("schema", self.schema.as_deref().map(read_schema).transpose()?);
        Ok(body)
    }
}

/// The schema in a file; null for the word that stands for none.
fn read_schema(path: &Path) -> anyhow::Result<Value> {
    if path == Path::new("inferred") {
        return Ok(Value::Null);
    }
    let text = std::fs::read(path).with_context(|| format!("--schema: read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("--schema: {} is not JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: CreateArgs,
    }

    fn body(arguments: &[&str]) -> Value {
        Line::try_parse_from(std::iter::once("create").chain(arguments.iter().copied())).unwrap().create.body().unwrap()
    }

    #[test]
    fn the_announcement_becomes_the_body_of_the_api() {
        let announced = [
            "clickstream-ingest-prod",
            "--batch-size=1MB",
            "--batch-timeout-secs=120",
            "--batch-on-json-key=.merchantId",
            "--destination-bucket=prod-cs-data",
        ];
        let expected = json!({
            "name": "clickstream-ingest-prod",
            "destination": {
                "type": "r2",
                "batch": { "max_bytes": 1_000_000, "max_duration_s": 120, "on_json_key": ".merchantId" },
                "path": { "bucket": "prod-cs-data" },
            },
        });
        assert_eq!(body(&announced), expected);
    }

    #[test]
    fn every_other_flag_has_its_place() {
        let arguments = [
            "p",
            "--destination-bucket=bbb",
            "--auth=none",
            "--batch-rows=7",
            "--compression=none",
            "--prefix=a/b",
            "--time-path=%Y",
            "--sort-by=a",
            "--sort-by=b.c",
            "--bloom-filter=",
            "--row-group-size=1MB",
            "--cors-origin=https://a.example",
            "--cors-origin=*",
            "--storage-class=InfrequentAccess",
        ];
        let expected = json!({
            "name": "p",
            "source": [{ "type": "http", "authentication": false,
                         "cors": { "origins": ["https://a.example", "*"] } }],
            "destination": {
                "type": "r2", "compression": { "type": "none" }, "storage_class": "InfrequentAccess",
                "batch": { "max_rows": 7 }, "path": { "bucket": "bbb", "prefix": "a/b", "time_path": "%Y" },
                "parquet": { "row_group_bytes": 1_000_000, "sort_by": ["a", "b.c"], "bloom_filters": [] },
            },
        });
        assert_eq!(body(&arguments), expected);
    }

    #[test]
    fn a_change_says_only_what_was_named() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            update: UpdateArgs,
        }
        let body = |arguments: &[&str]| {
            let line = ["update", "p"].iter().chain(arguments);
            Line::try_parse_from(line).unwrap().update.body()
        };
        assert_eq!(body(&["--batch-rows=7"]).unwrap(), json!({ "destination": { "batch": { "max_rows": 7 } } }));
        let none = json!({ "destination": { "batch": { "on_json_key": null } }, "schema": null });
        assert_eq!(body(&["--batch-on-json-key=", "--schema=inferred"]).unwrap(), none);
        let destination = json!({ "format": "json", "compression": null, "parquet": null });
        let json = json!({ "destination": destination, "metadata": { "retention_s": 3600 } });
        assert_eq!(body(&["--format=json", "--retention=1h"]).unwrap(), json);
        assert_eq!(body(&["--rotate-token"]).unwrap(), json!({ "rotate_send_token": true }));
        assert!(body(&[]).unwrap_err().to_string().starts_with("name what shall change"));
    }

    #[test]
    fn a_schema_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clicks.json");
        let path_text = path.to_str().unwrap();
        let schema =
            json!({ "fields": [{ "name": "id", "type": "int64", "required": true }, { "name": "a", "type": "json" }] });
        std::fs::write(&path, schema.to_string()).unwrap();
        let arguments = ["create", "p", "--destination-bucket=bbb", "--schema", path_text];
        let create = Line::try_parse_from(arguments).unwrap().create;
        assert_eq!(create.body().unwrap()["schema"], schema);
        std::fs::write(&path, "{").unwrap();
        assert_eq!(create.body().unwrap_err().to_string(), format!("--schema: {path_text} is not JSON"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(create.body().unwrap_err().to_string(), format!("--schema: read {path_text}"));
    }
}
