//! `cistern pipelines`: create, list, get, delete. The command line of the 2024 announcement works word for word.

use super::Format;
use super::answer::{say, say_json, say_table};
use crate::client::Client;
use anyhow::Context as _;
use cistern_types::{BucketName, ByteSize, PipelineName, StorageClass};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum PipelinesCommand {
    /// Make a pipeline
    Create(CreateArgs),
    /// List pipelines
    List,
    /// Show a pipeline
    Get {
        /// Its name
        name: PipelineName,
    },
    /// Delete a pipeline
    Delete {
        /// Its name
        name: PipelineName,
        /// What happens to events that are not in the bucket yet
        #[arg(long, value_enum, default_value_t = DeleteMode::Drain)]
        mode: DeleteMode,
    },
}

/// Who may send events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Auth {
    /// Who has the pipeline's send token
    Token,
    /// Everybody who reaches the listener
    None,
}

/// What files the events become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// Parquet
    Parquet,
    /// JSON, one event a line
    Json,
}

/// What happens to events that are not in the bucket yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DeleteMode {
    /// They are written first
    Drain,
    /// They are thrown away
    Discard,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Its name, also the path of its endpoint
    name: PipelineName,
    /// Bucket the events go to
    #[arg(long, value_name = "BUCKET")]
    destination_bucket: BucketName,
    /// Close a file at about this many bytes of events, such as 1MB
    #[arg(long, value_name = "SIZE")]
    batch_size: Option<ByteSize>,
    /// Close a file this many seconds after its first event
    #[arg(long, value_name = "SECONDS")]
    batch_timeout_secs: Option<u64>,
    /// Close a file at this many events
    #[arg(long, value_name = "N")]
    batch_rows: Option<u64>,
    /// One file a value of this field, such as .merchantId
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
    /// Who may send events
    #[arg(long, value_enum, default_value_t = Auth::Token)]
    auth: Auth,
    /// Origin of browser pages that may send, or *; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Partitions that Kafka's producers see, 1 to 16 [default: 1]
    #[arg(long, value_name = "N")]
    shard_count: Option<u8>,
    /// Class of the files: Standard or InfrequentAccess
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// JSON file that declares the fields of the events [default: columns follow from the events]
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Created {
    name: String,
    endpoints: Vec<Endpoint>,
    send_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    label: String,
    address: String,
    /// Host and port, where the address says more.
    bootstrap: Option<String>,
    /// How Kafka's clients call the way there.
    security_protocol: Option<String>,
}

impl PipelinesCommand {
    pub(super) async fn run(self, client: &Client, format: Format) -> anyhow::Result<()> {
        let account = client.account().await?;
        match self {
            Self::Create(arguments) => {
                let made = account.post("/pipelines", &arguments.body()?).await?.result;
                match format {
                    Format::Json => say_json(&made),
                    Format::Human => say(&created(&serde_json::from_value(made)?)),
                }
            }
            Self::List => {
                let found = account.get("/pipelines", &[]).await?.result;
                if format == Format::Json {
                    return say_json(&found);
                }
                let pipelines: Vec<Value> = serde_json::from_value(found)?;
                let rows: Vec<[String; 5]> = pipelines.iter().map(row).collect();
                say_table(["NAME", "BUCKET", "FORMAT", "STATE", "EVENTS WAITING"], &rows)
            }
            Self::Get { name } => {
                let found = account.get(&format!("/pipelines/{name}"), &[]).await?.result;
                if format == Format::Json {
                    return say_json(&found);
                }
                say(&details(&found))
            }
            Self::Delete { name, mode } => {
                let mode_name = match mode {
                    DeleteMode::Drain => "drain",
                    DeleteMode::Discard => "discard",
                };
                let gone = account.delete(&format!("/pipelines/{name}"), &[("mode", mode_name.into())]).await?.result;
                let sentence = match mode {
                    DeleteMode::Drain => format!("Deleted pipeline \"{name}\"; what it has accepted is still written"),
                    DeleteMode::Discard => format!("Deleted pipeline \"{name}\" and the events it had not written"),
                };
                super::bucket::answer(format, &gone, &sentence)
            }
        }
    }
}

impl CreateArgs {
    /// The body of the create call: only what was given, the server knows the defaults.
    fn body(&self) -> anyhow::Result<Value> {
        let mut batch = Map::new();
        let mut put = |name: &str, value: Option<Value>| batch.extend(value.map(|value| (name.to_owned(), value)));
        put("max_bytes", self.batch_size.map(|size| size.as_u64().into()));
        put("max_duration_s", self.batch_timeout_secs.map(Into::into));
        put("max_rows", self.batch_rows.map(Into::into));
        put("on_json_key", self.batch_on_json_key.clone().map(Into::into));
        let mut destination = json!({ "type": "r2", "batch": batch, "path": { "bucket": self.destination_bucket } });
        if let Some(format) = self.format {
            destination["format"] = match format {
                FileFormat::Parquet => "parquet",
                FileFormat::Json => "json",
            }
            .into();
        }
        if let Some(compression) = &self.compression {
            destination["compression"] = json!({ "type": compression });
        }
        if let Some(prefix) = &self.prefix {
            destination["path"]["prefix"] = prefix.clone().into();
        }
        if let Some(class) = self.storage_class {
            destination["storage_class"] = class.api_name().into();
        }
        let mut source = json!({ "type": "http", "format": "json", "authentication": self.auth == Auth::Token });
        if !self.cors_origin.is_empty() {
            source["cors"] = json!({ "origins": self.cors_origin });
        }
        let mut body = json!({ "name": self.name, "source": [source], "destination": destination });
        if let Some(shards) = self.shard_count {
            body["metadata"] = json!({ "shards": shards });
        }
        if let Some(path) = &self.schema {
            let text = std::fs::read(path).with_context(|| format!("--schema: read {}", path.display()))?;
            let schema: Value =
                serde_json::from_slice(&text).with_context(|| format!("--schema: {} is not JSON", path.display()))?;
            body["schema"] = schema;
        }
        Ok(body)
    }
}

/// What a person reads after creating a pipeline: the lines of the announcement, then the token, once.
fn created(made: &Created) -> String {
    let mut text = format!("✅ Successfully created new pipeline \"{}\"\n📥 Created endpoints:", made.name);
    for endpoint in &made.endpoints {
        write!(text, "\n➡ {}: {}", endpoint.label, endpoint.address).expect("writing to a String");
    }
    if let Some(token) = &made.send_token {
        write!(text, "\n🔑 Send token (shown only this once): {token}").expect("writing to a String");
    }
    for line in examples(made) {
        write!(text, "\n{line}").expect("writing to a String");
    }
    text
}

/// Lines to paste, one for each protocol.
fn examples(made: &Created) -> Vec<String> {
    let mut lines = vec!["Send an event:".to_owned()];
    let token = made.send_token.as_deref();
    for Endpoint { label, address, bootstrap, security_protocol } in &made.endpoints {
        match (label.as_str(), bootstrap, security_protocol) {
            ("HTTPS", ..) => {
                let header = token.map(|token| format!("-H 'Authorization: Bearer {token}' ")).unwrap_or_default();
                lines.push(format!("curl {header}-d '[{{\"hello\":\"world\"}}]' {address}"));
            }
            ("WebSocket", ..) => {
                let query = token.map(|token| format!("?token={token}")).unwrap_or_default();
                lines.push(format!("echo '{{\"hello\":\"world\"}}' | websocat '{address}{query}'"));
            }
            ("Kafka", Some(bootstrap), Some(protocol)) => {
                let name = &made.name;
                let login = token
                    .map(|token| format!(" -X sasl.mechanism=PLAIN -X sasl.username={name} -X sasl.password={token}"));
                let login = login.unwrap_or_default();
                lines.push(format!(
                    "echo '{{\"hello\":\"world\"}}' | kcat -P -b {bootstrap} -t {name} -X security.protocol={protocol}{login}"
                ));
            }
            _ => {}
        }
    }
    lines
}

fn row(pipeline: &Value) -> [String; 5] {
    let destination = &pipeline["destination"];
    [
        &pipeline["name"],
        &destination["path"]["bucket"],
        &destination["format"],
        &pipeline["status"]["state"],
        &pipeline["status"]["lag_events"],
    ]
    .map(plain)
}

fn details(pipeline: &Value) -> String {
    let (destination, status) = (&pipeline["destination"], &pipeline["status"]);
    let batch = &destination["batch"];
    let mut lines = vec![
        ("name", plain(&pipeline["name"])),
        ("endpoint", plain(&pipeline["endpoint"])),
        ("authentication", plain(&pipeline["source"][0]["authentication"])),
        ("bucket", plain(&destination["path"]["bucket"])),
        ("prefix", plain(&destination["path"]["prefix"])),
        ("format", plain(&destination["format"])),
        ("compression", plain(&destination["compression"]["type"])),
        ("batch bytes", plain(&batch["max_bytes"])),
        ("batch seconds", plain(&batch["max_duration_s"])),
        ("batch rows", plain(&batch["max_rows"])),
        ("batch key", plain(&batch["on_json_key"])),
        ("schema", schema_line(&pipeline["schema"])),
        ("state", plain(&status["state"])),
    ];
    if status["reason"].is_string() {
        lines.push(("reason", plain(&status["reason"])));
    }
    lines.push(("events waiting", plain(&status["lag_events"])));
    lines.iter().map(|(name, value)| format!("{:<15} {value}", format!("{name}:"))).collect::<Vec<_>>().join("\n")
}

/// The fields of a schema in one line; the JSON output shows all of it.
fn schema_line(schema: &Value) -> String {
    let Some(fields) = schema["fields"].as_array() else {
        return "inferred".into();
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|field| {
            let required = if field["required"] == true { " required" } else { "" };
            format!("{} {}{required}", plain(&field["name"]), plain(&field["type"]))
        })
        .collect();
    format!("{}; other fields: {}", fields.join(", "), plain(&schema["unknown_fields"]))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
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
            "source": [{ "type": "http", "format": "json", "authentication": true }],
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
            "--format=json",
            "--compression=none",
            "--prefix=a/b",
            "--cors-origin=https://a.example",
            "--cors-origin=*",
            "--storage-class=InfrequentAccess",
        ];
        let expected = json!({
            "name": "p",
            "source": [{ "type": "http", "format": "json", "authentication": false,
                         "cors": { "origins": ["https://a.example", "*"] } }],
            "destination": {
                "type": "r2", "format": "json", "compression": { "type": "none" }, "storage_class": "InfrequentAccess",
                "batch": { "max_rows": 7 }, "path": { "bucket": "bbb", "prefix": "a/b" },
            },
        });
        assert_eq!(body(&arguments), expected);
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
        assert_eq!(schema_line(&schema), "id int64 required, a json; other fields: -");
        assert_eq!(schema_line(&Value::Null), "inferred");
        std::fs::write(&path, "{").unwrap();
        assert_eq!(create.body().unwrap_err().to_string(), format!("--schema: {path_text} is not JSON"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(create.body().unwrap_err().to_string(), format!("--schema: read {path_text}"));
    }

    fn made(send_token: Option<&str>) -> Created {
        Created {
            name: "clickstream-ingest-prod".into(),
            endpoints: vec![Endpoint {
                label: "HTTPS".into(),
                address: "http://127.0.0.1:8443/clickstream-ingest-prod".into(),
                bootstrap: None,
                security_protocol: None,
            }],
            send_token: send_token.map(Into::into),
        }
    }

    #[test]
    fn a_created_pipeline_is_announced_in_the_lines_of_the_announcement() {
        let expected = "\
✅ Successfully created new pipeline \"clickstream-ingest-prod\"
📥 Created endpoints:
➡ HTTPS: http://127.0.0.1:8443/clickstream-ingest-prod";
        let text = created(&made(None));
        assert!(text.starts_with(expected), "{text}");
        assert!(!text.contains("token"), "{text}");
    }

    #[test]
    fn the_token_is_shown_with_a_line_to_paste() {
        let text = created(&made(Some("T0KEN")));
        let curl = "curl -H 'Authorization: Bearer T0KEN' -d '[{\"hello\":\"world\"}]' \
                    http://127.0.0.1:8443/clickstream-ingest-prod";
        assert_eq!(text.lines().last(), Some(curl));
        assert!(text.contains("Send token (shown only this once): T0KEN"), "{text}");
    }
}
