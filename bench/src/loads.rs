//! The loads: small and large objects, lists, events.

use crate::load;
use crate::meter::Meter;
use crate::report::{Figure, Goal, Line, Report};
use anyhow::{Context, Result, ensure};
use cistern_tests::http::Connection;
use cistern_tests::{Call, Content, Payload, Pipeline, S3, Server, flights, python, wait};
use std::time::Duration;

/// The bucket of all loads.
pub(crate) const BUCKET: &str = "bench";
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
const LISTED_KEYS: usize = 10_000;
const PAGE_KEYS: usize = 1_000;
const FLOOR_ANSWERS: usize = 40_000;
const SENDERS: usize = 4;
const BODY_BYTES_MAX: usize = 1_000_000;
const PARQUET_LIMIT: Duration = Duration::from_mins(2);

/// One load of S3 requests.
struct ObjectLoad {
    name: &'static str,
    clients: usize,
    operations: usize,
    goals: Vec<Goal>,
}

impl ObjectLoad {
    fn run(
        self,
        server: &Server,
        divisor: usize,
        report: &mut Report,
        operation: impl Fn(&mut S3, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let operations = (self.operations / divisor).max(self.clients);
        let meter = Meter::read(server)?;
        let times = load::run(server, self.clients, operations, operation)?;
        let used = meter.used(server)?;
        report.add(Line::of_load(self.name, operations, &times, used, self.goals));
        Ok(())
    }
}

/// A plain HTTP answer of the same process: what the machine takes for the least that a server can do.
pub(crate) fn floor(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let operations = FLOOR_ANSWERS / divisor;
    let meter = Meter::read(server)?;
    let connect = || Connection::open(server.management_host());
    let times = load::run_with(8, operations, connect, |connection, _| {
        connection.send("GET", "/healthz", &[], b"")?.ok().map(drop)
    })?;
    let used = meter.used(server)?;
    report.add_plain_answer(Line::of_load("plain answer, 8 clients", operations, &times, used, Vec::new()));
    Ok(())
}

/// PUT and GET of small and large objects.
pub(crate) fn objects(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let small = Content { seed: 1, length: SMALL_BYTES }.bytes();
    let large = Content { seed: 2, length: LARGE_BYTES }.bytes();
    let put = |s3: &mut S3, path: &str, body: &[u8]| {
        let answer = s3.send(&Call::new("PUT", path).payload(Payload::Unsigned).body(body))?.ok()?;
        ensure!(answer.header("etag").is_some(), "a PUT without an ETag");
        Ok(())
    };
    let get = |s3: &mut S3, path: &str, length: usize| {
        let answer = s3.send(&Call::new("GET", path).payload(Payload::Unsigned))?.ok()?;
        ensure!(answer.body.len() == length, "a GET of {} bytes, {length} expected", answer.body.len());
        Ok(())
    };
    let goals_put = vec![Goal::at_most(Figure::CpuMicros, 100.0), Goal::at_most(Figure::Syncs, 0.5)];
    ObjectLoad { name: "PUT 4 KiB, 1 client", clients: 1, operations: 2_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/alone/{n:06}"), &small),
    )?;
    ObjectLoad { name: "PUT 4 KiB, 32 clients", clients: 32, operations: LISTED_KEYS, goals: goals_put }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/small/{n:06}"), &small),
    )?;
    ObjectLoad { name: "PUT 4 KiB signed, 32 clients", clients: 32, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| s3.put(BUCKET, &format!("signed/{n:06}"), &small),
    )?;
    let written = LISTED_KEYS / divisor;
    let goals_get = vec![Goal::at_most(Figure::CpuMicros, 40.0)];
    ObjectLoad { name: "GET 4 KiB, 1 client", clients: 1, operations: 5_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/small/{:06}", n % written), SMALL_BYTES),
    )?;
    ObjectLoad { name: "GET 4 KiB, 8 clients", clients: 8, operations: 20_000, goals: goals_get }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/small/{:06}", n % written), SMALL_BYTES),
    )?;
    let large_objects = 400 / divisor;
    ObjectLoad { name: "PUT 1 MiB, 8 clients", clients: 8, operations: 400, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| put(s3, &format!("/{BUCKET}/large/{n:06}"), &large),
    )?;
    ObjectLoad { name: "GET 1 MiB, 8 clients", clients: 8, operations: 1_000, goals: Vec::new() }.run(
        server,
        divisor,
        report,
        |s3, n| get(s3, &format!("/{BUCKET}/large/{:06}", n % large_objects), LARGE_BYTES),
    )
}

/// Pages of a list of 10,000 keys.
pub(crate) fn listing(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let keys = LISTED_KEYS / divisor;
    let page = PAGE_KEYS / divisor;
    let goals = vec![Goal::at_most(Figure::MedianMillis, 5.0)];
    ObjectLoad { name: "LIST page of 1,000 keys", clients: 1, operations: 200, goals }.run(
        server,
        1,
        report,
        |s3, n| {
            let after = format!("small/{:06}", n * page % keys);
            let call = Call::new("GET", &format!("/{BUCKET}")).query("list-type", &2).query("prefix", "small/");
            let call = call.query("max-keys", &page).query("start-after", &after);
            let answer = s3.send(&call)?.ok()?;
            let expected = page.min(keys - 1 - n * page % keys);
            let listed = answer.xml_all("Key").len();
            ensure!(listed == expected, "a page of {listed} keys, {expected} expected");
            Ok(())
        },
    )
}

/// One load of events, from the sender until they are in Parquet.
struct EventLoad {
    name: &'static str,
    pipeline: &'static str,
    flags: Vec<&'static str>,
    /// How often the sample is sent.
    samples: usize,
    /// CPU seconds per million events.
    goal: f64,
}

impl EventLoad {
    fn run(
        self,
        server: &Server,
        divisor: usize,
        report: &mut Report,
        send: impl Fn(&Pipeline, &str) -> Result<()>,
    ) -> Result<()> {
        let usual = ["--destination-bucket=bench", "--prefix=events", "--batch-size=64MB", "--batch-timeout-secs=3"];
        let flags: Vec<&str> = usual.into_iter().chain(self.flags).collect();
        let pipeline = Pipeline::create(server, self.pipeline, &flags)?;
        let sample = flights::ndjson()?;
        let lines: Vec<&str> = sample.split_inclusive('\n').collect();
        let events = lines.len() * self.samples / divisor;
        let text: String = lines.iter().copied().cycle().take(events).collect();
        let meter = Meter::read(server)?;
        let start = wait::now();
        send(&pipeline, &text)?;
        let acknowledged = start.elapsed();
        pipeline.wait_written(server, PARQUET_LIMIT)?;
        let used = meter.used(server)?;
        let goal = Goal::at_most(Figure::CpuSecondsPerMillion, self.goal);
        report.add(Line::of_events(self.name, events, acknowledged, start.elapsed(), used, goal));
        Ok(())
    }
}

/// Events over every protocol until they are in Parquet.
pub(crate) fn ingest(server: &Server, divisor: usize, report: &mut Report) -> Result<()> {
    let http = |pipeline: &Pipeline, text: &str| send_bodies(server, pipeline, &flights::bodies(text, BODY_BYTES_MAX));
    EventLoad { name: "events over HTTP", pipeline: "http", flags: Vec::new(), samples: 8, goal: 0.9 }
        .run(server, divisor, report, http)?;
    let sql = "SELECT value->>'carrier' AS carrier, (value->>'distance')::BIGINT AS distance FROM stream \
               WHERE value->>'origin' = 'JFK'";
    EventLoad { name: "the same through SQL", pipeline: "sql", flags: vec!["--sql", sql], samples: 4, goal: 1.4 }
        .run(server, divisor, report, http)?;
    let script = |arguments: &[&str], text: &str| {
        let printed = python::script_with(server, "send_events.py", arguments, text)?;
        let (acknowledged, sent) = (printed.trim().parse::<usize>()?, text.lines().count());
        ensure!(acknowledged == sent, "{acknowledged} events acknowledged, {sent} sent");
        Ok(())
    };
    for (name, topic, codec, goal) in [
        ("events over Kafka", "kafka-none", "none", 0.9),
        ("events over Kafka, zstd", "kafka-zstd", "zstd", 1.0),
        ("events over Kafka, lz4", "kafka-lz4", "lz4", 1.0),
    ] {
        EventLoad { name, pipeline: topic, flags: Vec::new(), samples: 4, goal }.run(
            server,
            divisor,
            report,
            |pipeline, text| {
                let token = pipeline.token.as_deref().context("the pipeline has a token")?;
                script(&["kafka", server.kafka_host(), topic, token, codec], text)
            },
        )?;
    }
    let (name, topic) = ("events over WebSocket, one a message", "socket");
    EventLoad { name, pipeline: topic, flags: Vec::new(), samples: 1, goal: 1.5 }.run(
        server,
        divisor,
        report,
        |pipeline, text| {
            let token = pipeline.token.as_deref().context("the pipeline has a token")?;
            let address = format!("ws://{}/{topic}?token={token}", server.ingest_host());
            script(&["websocket", &address, "bench", "1"], text)
        },
    )
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
