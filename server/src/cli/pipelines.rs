//! `cistern pipelines`: create, list, get, update, delete, tail, replay, compact. The command line of the 2024 announcement works word for word.

mod compact;
mod settings;
mod tail;

use super::Format;
use super::answer::{say, say_json, say_table};
use crate::client::Client;
use cistern_types::PipelineName;
use clap::{Args, Subcommand, ValueEnum};
use compact::CompactArgs;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::{CreateArgs, UpdateArgs};
use std::fmt::Write as _;
use tail::TailArgs;

#[derive(Debug, Subcommand)]
pub(super) enum PipelinesCommand {
    /// Make a pipeline
    Create(Box<CreateArgs>),
    /// List pipelines
    List,
    /// Show a pipeline
    Get {
        /// Its name
        name: PipelineName,
    },
    /// Change a pipeline: what is not named stays as it is
    Update(Box<UpdateArgs>),
    /// Show events as they come
    Tail(TailArgs),
    /// Take events in once more: those of a dead-letter object, or a range of the log
    Replay(ReplayArgs),
    /// Merge small files that follow one another into larger ones, in place
    ///
    /// Each file comes and those it is made of go in one moment, so readers may go on. It may be stopped at any time.
    Compact(CompactArgs),
    /// Delete a pipeline
    Delete {
        /// Its name
        name: PipelineName,
        /// What happens to events that are not in the bucket yet
        #[arg(long, value_enum, default_value_t = DeleteMode::Drain)]
        mode: DeleteMode,
    },
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
#[command(group(clap::ArgGroup::new("what").required(true).args(["dead_letters", "from_offset"])))]
pub(super) struct ReplayArgs {
    /// Its name
    name: PipelineName,
    /// Key of a dead-letter object in the pipeline's bucket
    #[arg(long, value_name = "KEY")]
    dead_letters: Option<String>,
    /// First event of a range that is still in the log
    #[arg(long, value_name = "OFFSET", requires = "to_offset")]
    from_offset: Option<u64>,
    /// The event after the last of the range
    #[arg(long, value_name = "OFFSET", conflicts_with = "dead_letters", requires = "from_offset")]
    to_offset: Option<u64>,
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
            Self::Update(arguments) => {
                let changed =
                    account.patch(&format!("/pipelines/{}", arguments.name), &arguments.body()?).await?.result;
                match format {
                    Format::Json => say_json(&changed),
                    Format::Human => say(&updated(&serde_json::from_value(changed)?)),
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
            Self::Tail(arguments) => arguments.run(&account, format).await,
            Self::Replay(arguments) => {
                let ReplayArgs { name, dead_letters, from_offset, to_offset } = arguments;
                let body = match dead_letters {
                    Some(key) => json!({ "dead_letters": key }),
                    None => json!({ "from_offset": from_offset, "to_offset": to_offset }),
                };
                let done = account.post(&format!("/pipelines/{name}/replay"), &body).await?.result;
                let count = |field: &str| plain(&done[field]);
                let mut sentence = format!("Took {} events into pipeline \"{name}\" once more", count("events"));
                for (field, what) in [("seen", "had been by the same replay"), ("not_events", "are no events")] {
                    if done[field] != 0 {
                        write!(sentence, "; {} {what}", count(field)).expect("writing to a String");
                    }
                }
                super::bucket::answer(format, &done, &sentence)
            }
            Self::Compact(arguments) => arguments.run(&account, format).await,
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

/// What a person reads after changing a pipeline.
fn updated(changed: &Created) -> String {
    let mut text = format!("Changed pipeline \"{}\"", changed.name);
    if let Some(token) = &changed.send_token {
        write!(text, "\n🔑 Send token (shown only this once): {token}").expect("writing to a String");
    }
    text
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
        ("sql", plain(&pipeline["sql"])),
        ("retention", format!("{}s", plain(&pipeline["metadata"]["retention_s"]))),
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

    #[test]
    fn a_schema_is_shown_in_one_line() {
        let fields = json!([{ "name": "id", "type": "int64", "required": true }, { "name": "a", "type": "json" }]);
        assert_eq!(schema_line(&json!({ "fields": fields })), "id int64 required, a json; other fields: -");
        assert_eq!(schema_line(&Value::Null), "inferred");
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
