//! The loads of events, over every protocol, from the sender until they are in Parquet; beside DuckDB and a bare sync.

use crate::events;
use crate::load::{self, Times};
use crate::loads::BUCKET;
use crate::memory;
use crate::meter::{Meter, Used};
use crate::report::{Figure, Goal, Line, Report};
use crate::websocket;
use anyhow::{Context, Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Pipeline, Server, flights, python, wait};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

const SENDERS: usize = 4;
const BODY_BYTES_MAX: usize = 1_000_000;
const PARQUET_LIMIT: Duration = Duration::from_mins(2);
/// Generated events of a load.
const EVENTS: usize = 1_000_000;
/// What DuckDB takes on one thread should be so many times what the server does.
const DUCKDB_TIMES: f64 = 1.5;
/// Posts of one event, and the longest an acknowledgement may take beyond a sync, in milliseconds.
const POSTS: usize = 4_000;
const POSTERS: usize = 4;
const BEYOND_SYNC_MILLIS: f64 = 3.0;

/// One load of events.
struct EventLoad<'a> {
    name: &'static str,
    pipeline: &'static str,
    flags: Vec<&'a str>,
    text: &'a str,
    goals: Vec<Goal>,
}

impl EventLoad<'_> {
    fn run(self, server: &Server, report: &mut Report, send: impl Fn(&Pipeline, &str) -> Result<()>) -> Result<()> {
        let usual = ["--destination-bucket=bench", "--prefix=events", "--batch-size=64MB", "--batch-timeout-secs=3"];
        let flags: Vec<&str> = usual.into_iter().chain(self.flags).collect();
        let pipeline = Pipeline::create(server, self.pipeline, &flags)?;
        memory::at_hand()?;
        let meter = Meter::read(server)?;
        let start = wait::now();
        send(&pipeline, self.text)?;
        let acknowledged = start.elapsed();
        pipeline.wait_written(server, PARQUET_LIMIT)?;
        let used = meter.used(server)?;
        let events = self.text.lines().count();
        report.add(Line::of_events(self.name, events, acknowledged, start.elapsed(), used, self.goals));
        Ok(())
    }
}

fn cpu(seconds_per_million: f64) -> Goal {
    Goal::at_most(Figure::CpuSecondsPerMillion, seconds_per_million)
}

/// Events over every protocol until they are in Parquet.
pub(crate) fn events(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let clicks = events::generate(EVENTS / divisor);
    let flights = flights::ndjson()?;
    let folder = tempfile::tempdir()?;
    let beside = duckdb(server, folder.path(), &clicks)?;
    let beside_duckdb = Goal::at_most(Figure::CpuSecondsBeside, beside.cpu_micros() / DUCKDB_TIMES);
    report.add(beside);
    let http = |pipeline: &Pipeline, text: &str| send_bodies(server, pipeline, &flights::bodies(text, BODY_BYTES_MAX));
    let (flags, goals) = (Vec::new(), vec![cpu(0.9), beside_duckdb]);
    EventLoad { name: "clicks over HTTP", pipeline: "http", flags, text: &clicks, goals }.run(server, report, http)?;
    let schema = folder.path().join("schema.json");
    std::fs::write(&schema, events::SCHEMA)?;
    let flags = vec!["--schema", schema.to_str().context("a folder without a name")?];
    let goals = vec![Goal::at_most(Figure::ObjectBytes, 24.0)];
    EventLoad { name: "the same with a schema", pipeline: "declared", flags, text: &clicks, goals }
        .run(server, report, http)?;
    let (flags, goals) = (Vec::new(), vec![Goal::at_most(Figure::ObjectBytes, 13.3)]);
    EventLoad { name: "flights over HTTP", pipeline: "flights", flags, text: &flights, goals }
        .run(server, report, http)?;
    let sql = "SELECT value->>'merchantId' AS merchant, (value->>'price')::DOUBLE AS price FROM stream \
               WHERE value->>'event' = 'page_view'";
    let (flags, goals) = (vec!["--sql", sql], vec![cpu(1.4)]);
    EventLoad { name: "clicks over HTTP through SQL", pipeline: "sql", flags, text: &clicks, goals }
        .run(server, report, http)?;
    let script = |arguments: &[&str], text: &str| {
        let printed = python::script_with(server, "send_events.py", arguments, text)?;
        let (acknowledged, sent) = (printed.trim().parse::<usize>()?, text.lines().count());
        ensure!(acknowledged == sent, "{acknowledged} events acknowledged, {sent} sent");
        Ok(())
    };
    for (name, pipeline, codec, goal) in [
        ("clicks over Kafka", "kafka-none", "none", 0.9),
        ("clicks over Kafka, zstd", "kafka-zstd", "zstd", 1.0),
        ("clicks over Kafka, lz4", "kafka-lz4", "lz4", 1.0),
    ] {
        EventLoad { name, pipeline, flags: Vec::new(), text: &clicks, goals: vec![cpu(goal)] }.run(
            server,
            report,
            |made, text| {
                let token = made.token.as_deref().context("the pipeline has a token")?;
                script(&["kafka", server.kafka_host(), pipeline, token, codec], text)
            },
        )?;
    }
    let (name, pipeline) = ("clicks over WebSocket, one a message", "socket");
    EventLoad { name, pipeline, flags: Vec::new(), text: &clicks, goals: vec![cpu(1.5)] }.run(
        server,
        report,
        |made, text| {
            let token = made.token.as_deref().context("the pipeline has a token")?;
            let path = format!("/{pipeline}?token={token}&producer=bench");
            let acknowledged = websocket::send_lines(server.ingest_host(), &path, text)?;
            ensure!(acknowledged == text.lines().count(), "{acknowledged} events acknowledged");
            Ok(())
        },
    )?;
    acknowledgements(server, folder.path(), divisor, report)
}

/// What DuckDB takes on one thread to make Parquet of the events, file to file.
fn duckdb(server: &Server, folder: &Path, text: &str) -> Result<Line> {
    let (json, parquet) = (folder.join("events.ndjson"), folder.join("events.parquet"));
    std::fs::write(&json, text)?;
    memory::at_hand()?;
    let start = wait::now();
    let path = |path: &Path| path.to_str().map(ToOwned::to_owned).context("a folder without a name");
    let printed = python::script(server, "duckdb_convert.py", &[&path(&json)?, &path(&parquet)?])?;
    let seconds: f64 = printed.trim().parse().with_context(|| format!("answer of duckdb_convert.py: {printed}"))?;
    let bytes = std::fs::metadata(&parquet)?.len();
    let used = Used {
        cpu: Duration::from_secs_f64(seconds),
        syncs: 0.0,
        device_bytes: 0.0,
        object_bytes: f64::from(u32::try_from(bytes)?),
    };
    let took = start.elapsed();
    Ok(Line::of_events("DuckDB, those clicks, 1 thread", text.lines().count(), took, took, used, Vec::new()))
}

/// Single events, acknowledged when they are durable, beside syncs of a file in the same file system.
fn acknowledgements(server: &Server, folder: &Path, divisor: usize, report: &mut Report) -> Result<()> {
    let posts = POSTS / divisor;
    let file = File::create(folder.join("synced"))?;
    let synced = |number: usize| -> Result<Duration> {
        let start = wait::now();
        file.write_all_at(&[1; 4096], number as u64 * 4096)?;
        file.sync_data()?;
        Ok(start.elapsed())
    };
    let start = wait::now();
    let mut sorted = (0..posts / POSTERS).map(synced).collect::<Result<Vec<Duration>>>()?;
    sorted.sort_unstable();
    let none = Used { cpu: Duration::ZERO, syncs: 1.0, device_bytes: 4096.0, object_bytes: 0.0 };
    let times = Times { wall: start.elapsed(), sorted };
    let syncs = Line::of_load("4 KiB written and synced, 1 file", posts / POSTERS, &times, none, Vec::new());
    let goal = Goal::at_most(Figure::P99Millis, syncs.p99_millis() + BEYOND_SYNC_MILLIS);
    report.add(syncs);
    let pipeline = Pipeline::create(server, "single", &["--destination-bucket", BUCKET])?;
    let meter = Meter::read(server)?;
    let connect = || Connection::open(server.ingest_host());
    let times = load::run_with(POSTERS, posts, connect, |connection, number| {
        pipeline.send(connection, &format!("{{\"n\":{number}}}\n")).map(drop)
    })?;
    let used = meter.used(server)?;
    report.add(Line::of_load("POST of one event, 4 clients", posts, &times, used, vec![goal]));
    Ok(())
}

fn send_bodies(server: &Server, pipeline: &Pipeline, bodies: &[&str]) -> Result<()> {
    std::thread::scope(|scope| {
        let send_share = |sender: usize| -> Result<()> {
            let mut connection = Connection::open(server.ingest_host())?;
            for body in bodies.iter().skip(sender).step_by(SENDERS) {
                pipeline.send(&mut connection, body)?;
            }
            Ok(())
        };
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send_share(sender))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().expect("a sender thread does not panic"))
    })
}
