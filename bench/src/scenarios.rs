//! What is measured, each row with the goal it is held against.

use crate::load::{Cost, measure, shared_out};
use anyhow::{Context, Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Payload, Server, flights, wait};
use serde::Serialize;
use std::time::Duration;

const BUCKET: &str = "bench";
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LISTED_KEYS: u64 = 10_000;
const INGEST_ROUNDS: u64 = 8;
const INGEST_BODY_BYTES: usize = 1_000_000;
const DELIVERY_LIMIT: Duration = Duration::from_mins(3);

/// How many operations a row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As many as the figures need.
    Full,
    /// A tenth.
    Tenth,
}

impl Scale {
    fn of(self, operations: u64) -> u64 {
        match self {
            Self::Full => operations,
            Self::Tenth => operations / 10,
        }
    }
}

/// A bound that a figure is held against.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    /// What is bounded.
    pub(crate) what: &'static str,
    /// The bound.
    pub(crate) at_most: f64,
    /// What was measured.
    pub(crate) measured: f64,
}

/// One row of the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) name: &'static str,
    /// What it cost.
    pub(crate) cost: Cost,
    /// The goals it is held against.
    pub(crate) goals: Vec<Goal>,
}

/// All rows, one after another, on one server.
pub(crate) fn run_all(server: &Server, scale: Scale) -> Result<Vec<Row>> {
    server.s3()?.create_bucket(BUCKET)?;
    let mut rows = vec![
        put(server, "PUT 4 KiB, 1 client", 1, scale.of(2_000), 4 * KIB)?,
        put(server, "PUT 4 KiB, 32 clients", 32, scale.of(30_000), 4 * KIB)?,
        put(server, "PUT 1 MiB, 8 clients", 8, scale.of(500), MIB)?,
    ];
    let at_32 = &mut rows[1];
    at_32.goals = vec![
        Goal { what: "server CPU us an operation", at_most: 100.0, measured: at_32.cost.server_cpu_us },
        Goal { what: "syncs an operation", at_most: 0.5, measured: at_32.cost.syncs },
    ];
    let mut small = get(server, "GET 4 KiB, 8 clients", "PUT 4 KiB, 32 clients", scale.of(30_000), scale.of(30_000))?;
    small.goals = vec![Goal { what: "server CPU us an operation", at_most: 40.0, measured: small.cost.server_cpu_us }];
    rows.push(small);
    rows.push(get(server, "GET 1 MiB, 8 clients", "PUT 1 MiB, 8 clients", scale.of(500), scale.of(2_000))?);
    rows.push(list(server, scale.of(200))?);
    rows.push(ingest(server, if scale == Scale::Full { INGEST_ROUNDS } else { 1 })?);
    Ok(rows)
}

fn path_of(name: &str, number: u64) -> String {
    format!("/{BUCKET}/{}/{number:08}", name.replace([' ', ','], "-"))
}

fn put(server: &Server, name: &'static str, clients: usize, operations: u64, length: usize) -> Result<Row> {
    let body = Content { seed: 1, length }.bytes();
    let cost = measure(server, || {
        shared_out(server, clients, operations, |s3, number| {
            let call = Call::new("PUT", &path_of(name, number)).body(&body).payload(Payload::Unsigned);
            s3.send(&call)?.ok().map(drop)
        })
    })?;
    Ok(Row { name, cost, goals: Vec::new() })
}

fn get(server: &Server, name: &'static str, written_by: &str, written: u64, operations: u64) -> Result<Row> {
    let cost = measure(server, || {
        shared_out(server, 8, operations, |s3, number| {
            let call = Call::new("GET", &path_of(written_by, number * 7919 % written)).payload(Payload::Unsigned);
            s3.send(&call)?.ok().map(drop)
        })
    })?;
    Ok(Row { name, cost, goals: Vec::new() })
}

fn list(server: &Server, operations: u64) -> Result<Row> {
    let bucket = "bench-list";
    server.s3()?.create_bucket(bucket)?;
    shared_out(server, 32, LISTED_KEYS, |s3, number| {
        let call = Call::new("PUT", &format!("/{bucket}/{number:08}")).payload(Payload::Unsigned);
        s3.send(&call)?.ok().map(drop)
    })?;
    let cost = measure(server, || {
        shared_out(server, 1, operations, |s3, number| {
            let after = number % 10 * 1000;
            let call = Call::new("GET", &format!("/{bucket}"))
                .query("list-type", &2)
                .query("max-keys", &1000)
                .query("start-after", &format!("{after:08}"));
            let page = s3.send(&call)?.ok()?;
            ensure!(page.xml_all("Key").len() >= 999, "a page of 1,000 keys had fewer");
            Ok(())
        })
    })?;
    let goals = vec![Goal { what: "server CPU us a page", at_most: 5_000.0, measured: cost.server_cpu_us }];
    Ok(Row { name: "LIST 1,000 of 10,000 keys", cost, goals })
}

/// The sample, several times over, from the HTTP body to the Parquet objects; one operation is one event.
fn ingest(server: &Server, rounds: u64) -> Result<Row> {
    let (bucket, pipeline) = ("bench-events", "bench");
    server.s3()?.create_bucket(bucket)?;
    let create = [
        "pipelines",
        "create",
        pipeline,
        "--destination-bucket",
        bucket,
        "--auth",
        "none",
        "--batch-timeout-secs",
        "2",
    ];
    server.cli_ok(&create)?;
    let events = flights::ndjson()?;
    let bodies = flights::bodies(&events, INGEST_BODY_BYTES);
    let headers = [("content-type".to_owned(), "application/x-ndjson".to_owned())];
    let expected = rounds * flights::EVENTS;
    let mut cost = measure(server, || {
        let mut connection = Connection::open(server.ingest_host())?;
        let mut latencies = Vec::new();
        for body in (0..rounds).flat_map(|_| &bodies) {
            let start = wait::now();
            connection.send("POST", &format!("/{pipeline}"), &headers, body.as_bytes())?.ok()?;
            latencies.push(start.elapsed());
        }
        wait::until("all events are in Parquet", DELIVERY_LIMIT, || {
            let page = server.api("GET", &format!("/pipelines/{pipeline}"), b"")?.ok()?.json()?;
            let lag = page["result"]["lag_events"].as_u64().context("the pipeline's status has no lag_events")?;
            Ok((lag == 0).then_some(()))
        })?;
        Ok(latencies)
    })?;
    let bodies_sent = cost.operations as f64;
    for figure in [&mut cost.server_cpu_us, &mut cost.syncs, &mut cost.device_bytes] {
        *figure *= bodies_sent / expected as f64;
    }
    cost.per_second *= expected as f64 / bodies_sent;
    cost.operations = expected;
    let goals = vec![Goal { what: "server CPU s a million events", at_most: 2.0, measured: cost.server_cpu_us }];
    Ok(Row { name: "ingest of the sample into Parquet, an event", cost, goals })
}
