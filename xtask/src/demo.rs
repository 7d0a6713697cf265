//! `cargo xtask demo`: 120,000 real events go in over HTTP, a WebSocket and Kafka's protocol, come out as Parquet and are counted over S3
//! by DuckDB.
//!
//! It does what a new user would, with the release binary and the command line, in a fresh folder.

use crate::steps::cargo;
use crate::{checks, say, setup};
use anyhow::{Context, Result, bail, ensure};
use cistern_tests::flights::{self, Sums};
use cistern_tests::{Pipeline, Server, ServerSpec, python, wait};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

const BUCKET: &str = "flights";
const PIPELINE: &str = "flights-2013";
const PARQUET_LIMIT: Duration = Duration::from_mins(2);
const NAMES_SHOWN: usize = 6;

/// What becomes of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtTheEnd {
    /// It goes on in the foreground until Ctrl-C.
    KeepRunning,
    /// It is stopped and its folder removed.
    Stop,
}

/// Runs the demo.
pub(crate) fn run(at_the_end: AtTheEnd) -> Result<()> {
    setup::python()?;
    crate::run(&mut cargo(&["build", "--release", "-p", "cistern"]))?;
    let target = checks::target_folder()?;
    let folder = target.join("demo");
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("empty the demo folder");
        }
        _ => fs::create_dir_all(&folder)?,
    }
    let server = start(&target.join("release/cistern"), &folder)?;
    show(&server)?;
    match at_the_end {
        AtTheEnd::Stop => {
            server.stop()?;
            fs::remove_dir_all(&folder).context("remove the demo folder")?;
            say("demo: every event arrived exactly once");
            Ok(())
        }
        AtTheEnd::KeepRunning => keep_running(server),
    }
}

fn start(binary: &Path, folder: &Path) -> Result<Server> {
    say(&format!("\n$ cistern serve        (data in {})", folder.join("cistern-data").display()));
    let spec = ServerSpec::of_binary(binary.to_owned(), &folder.join("cistern-data"));
    spec.clone().on_default_ports().start().or_else(|refused| {
        say(&format!("the usual ports are not free, takes others ({})", refused.root_cause()));
        spec.start()
    })
}

fn show(server: &Server) -> Result<()> {
    say(&format!("\n$ cistern bucket create {BUCKET}"));
    say(server.cli_ok(&["bucket", "create", BUCKET])?.trim_end());

    let destination = format!("--destination-bucket={BUCKET}");
    let flags = ["--batch-size=10MB", "--batch-timeout-secs=2", "--batch-on-json-key=.carrier", &destination];
    say(&format!("\n$ cistern pipelines create {PIPELINE} {}", flags.join(" ")));
    let pipeline = Pipeline::create(server, PIPELINE, &flags)?;
    say(pipeline.printed.trim_end());

    let events = flights::ndjson()?;
    let sent = flights::sums(&events)?;
    let start = wait::now();
    let committed = send(server, &pipeline, &events)?;
    let took = start.elapsed().as_secs_f64();
    say(&format!("{committed} events acknowledged in {took:.2} s, durable on the drives"));
    pipeline.wait_written(server, PARQUET_LIMIT)?;
    say(&format!("all in Parquet after {:.2} s", start.elapsed().as_secs_f64()));

    let names = server.s3()?.keys(BUCKET, "")?;
    say(&format!("\n{} objects in bucket {BUCKET}:", names.len()));
    for name in names.iter().take(NAMES_SHOWN) {
        say(&format!("  {name}"));
    }
    if names.len() > NAMES_SHOWN {
        say(&format!("  ... and {} more", names.len() - NAMES_SHOWN));
    }
    compare(&sent, &python::parquet_sums(server, "duckdb", BUCKET, "")?)
}

/// Sends a third of the events over each protocol; how many were acknowledged.
fn send(server: &Server, pipeline: &Pipeline, events: &str) -> Result<u64> {
    let token = pipeline.token.as_deref().context("the pipeline has a token")?;
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let third = lines.len().div_ceil(3);
    let parts: Vec<String> = lines.chunks(third).map(<[&str]>::concat).collect();
    let mut committed = pipeline.send_all(server, &parts[0])?;
    say(&format!("\n{committed} events over HTTP, in bodies of up to 4 MB"));
    let socket = format!("ws://{}/{PIPELINE}?token={token}", server.ingest_host());
    for (arguments, how) in [
        (vec!["websocket", socket.as_str(), "demo"], "a WebSocket, in messages of 1,000 with numbers of a producer"),
        (
            vec!["kafka", server.kafka_host(), PIPELINE, token],
            "Kafka's protocol, by librdkafka: idempotent, SCRAM-SHA-256, zstd",
        ),
    ] {
        let part = &parts[if arguments[0] == "websocket" { 1 } else { 2 }];
        let printed = python::script_with(server, "send_events.py", &arguments, part)?;
        let count: u64 = printed.trim().parse().with_context(|| format!("send_events.py said {printed}"))?;
        say(&format!("{count} events over {how}"));
        committed += count;
    }
    ensure!(committed == lines.len() as u64, "{} events sent, {committed} acknowledged", lines.len());
    Ok(committed)
}

fn compare(sent: &Sums, read: &Sums) -> Result<()> {
    say("\nevents per carrier, as DuckDB counts them in the Parquet over S3:");
    for (carrier, count) in &sent.carriers {
        let found = read.carriers.get(carrier).copied().unwrap_or(0);
        say(&format!("  {carrier}  {found:>6}{}", if found == *count { "" } else { "   WRONG" }));
    }
    say(&format!("  all {:>6}, sum of distance {}", read.rows, read.distance));
    ensure!(read == sent, "what was read is not what was sent:\nsent {sent:?}\nread {read:?}");
    Ok(())
}

/// Goes on as the server itself, so that Ctrl-C and signals reach it and nothing else is left behind.
fn keep_running(server: Server) -> Result<()> {
    let (s3, management) = (server.s3_host(), server.management_host());
    let (ingest, kafka) = (server.ingest_host(), server.kafka_host());
    let keys = server.root_keys();
    say(&format!(
        "\nThe server goes on: S3 http://{s3}, management http://{management}, ingest http://{ingest}, Kafka {kafka}"
    ));
    say(&format!("  export AWS_ACCESS_KEY_ID={}", keys.access_key_id));
    say(&format!("  export AWS_SECRET_ACCESS_KEY={}", keys.secret_access_key));
    say(&format!("  aws --endpoint-url http://{s3} s3 ls --recursive s3://{BUCKET}"));
    say(&format!("  API token for http://{management}: {}", server.api_token()));
    say("It has just been restarted on the same data. Ctrl-C stops it.\n");
    let spec = server.spec_on_its_ports();
    server.stop()?;
    let error = spec.command(&["serve"]).exec();
    bail!("start the server again: {error}")
}
