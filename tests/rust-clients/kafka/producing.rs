//! Idempotent producers of both kinds with every codec, while the server is killed and started again.

use super::{BUCKET, LIMIT, drain, with_token};
use crate::sandbox::server_with_bucket;
use cistern_tests::{Pipeline, Server, flights, python, wait};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, FutureProducer, FutureRecord, NoCustomPartitioner, Producer as _,
    ProducerContext,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Of each producer, in two halves.
const EVENTS: usize = 2000;
const SHARDS: i32 = 3;
const HALVES: usize = 2;

/// What delivery reports said.
#[derive(Default)]
struct Reports {
    acknowledged: usize,
    places: BTreeSet<(i32, i64)>,
    failed: Vec<String>,
}

impl Reports {
    /// Counts an event that is at this place of the log. A retry of what was stored may be told without its place (-1).
    fn stored(&mut self, partition: i32, offset: i64) {
        self.acknowledged += 1;
        if offset >= 0 && !self.places.insert((partition, offset)) {
            self.failed.push(format!("two events at {partition}/{offset}"));
        }
    }

    fn failed(&mut self, error: &impl ToString) {
        self.failed.push(error.to_string());
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Reports>>);

impl ClientContext for Shared {}

impl ProducerContext<NoCustomPartitioner> for Shared {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        let mut reports = self.0.lock().unwrap();
        match result {
            Ok(message) => reports.stored(message.partition(), message.offset()),
            Err((error, _)) => reports.failed(error),
        }
    }
}

/// The carrier of an event, which its record has as its key.
fn carrier(event: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    event["carrier"].as_str().unwrap().to_owned()
}

/// Sends one half when it may, and the other when it may.
fn send_by_base_producer(settings: &ClientConfig, topic: &str, events: &[String], may: &Receiver<()>, shared: &Shared) {
    let producer: BaseProducer<Shared> = settings.create_with_context(shared.clone()).unwrap();
    for half in events.chunks(EVENTS / HALVES) {
        may.recv().unwrap();
        for event in half {
            producer
                .send(BaseRecord::to(topic).payload(event).key(&carrier(event)))
                .map_err(|(error, _)| error)
                .unwrap();
            producer.poll(Duration::ZERO);
        }
        producer.flush(LIMIT * 2).unwrap();
    }
}

/// The same by a producer whose reports are futures.
fn send_by_future_producer(
    settings: &ClientConfig,
    topic: &str,
    events: &[String],
    may: &Receiver<()>,
    shared: &Shared,
) {
    let producer: FutureProducer = settings.create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for half in events.chunks(EVENTS / HALVES) {
        may.recv().unwrap();
        let records = half.iter().map(|event| (event, carrier(event)));
        let queued: Vec<_> = records
            .map(|(event, key)| {
                let record = FutureRecord::to(topic).payload(event).key(&key);
                producer.send_result(record).map_err(|(error, _)| error).unwrap()
            })
            .collect();
        runtime.block_on(async {
            for report in queued {
                let report = report.await.unwrap();
                let mut reports = shared.0.lock().unwrap();
                match report {
                    Ok(place) => reports.stored(place.partition, place.offset),
                    Err((error, _)) => reports.failed(&error),
                }
            }
        });
    }
}

/// The first flights of the sample, each with its number as `id`.
fn numbered_flights(count: usize) -> Vec<String> {
    let flights = flights::ndjson().unwrap();
    let numbered = flights.lines().take(count).enumerate();
    numbered.map(|(number, flight)| format!("{{\"id\":\"{number}\",{}", &flight[1..])).collect()
}

fn wait_until_acknowledged(shared: &Shared, count: usize) {
    let enough = || Ok((shared.0.lock().unwrap().acknowledged >= count).then_some(()));
    wait::until(&format!("{count} events are acknowledged"), LIMIT * 2, enough).unwrap();
}

/// Ends the server by kill -9 and starts it again where it was.
fn kill_and_restart(server: Server) -> Server {
    let spec = server.spec_on_its_ports();
    server.kill().unwrap();
    spec.start().unwrap()
}

#[test]
fn twenty_thousand_events_are_stored_once_each_by_producers_of_both_kinds_over_kills() {
    let (_sandbox, server, _s3) = server_with_bucket(BUCKET);
    let flags =
        ["--batch-timeout-secs=3600", "--destination-bucket=lake", "--shard-count=3", "--batch-on-json-key=.carrier"];
    let pipeline = Pipeline::create(&server, "flights", &flags).unwrap();
    let events = numbered_flights(2 * CODECS.len() * EVENTS);
    assert_eq!(events.len(), 20_000);
    let shared = Shared::default();
    let server = std::thread::scope(|scope| {
        let mut server = server;
        let mut gates = Vec::new();
        for (number, events) in events.chunks(EVENTS).enumerate() {
            let mut settings = with_token(&server, &pipeline);
            settings.set("compression.type", CODECS[number / 2]).set("enable.idempotence", "true").set("acks", "all");
            settings.set("batch.num.messages", "50").set("linger.ms", "2").set("message.timeout.ms", "120000");
            settings.set("reconnect.backoff.max.ms", "200").set("retry.backoff.max.ms", "200");
            let (open, may) = mpsc::channel();
            gates.push(open);
            let (topic, shared) = (&pipeline.name, shared.clone());
            if number % 2 == 0 {
                scope.spawn(move || send_by_base_producer(&settings, topic, events, &may, &shared));
            } else {
                scope.spawn(move || send_by_future_producer(&settings, topic, events, &may, &shared));
            }
        }
        for acknowledged in [2000, 12_000] {
            gates.iter().for_each(|gate| gate.send(()).unwrap());
            wait_until_acknowledged(&shared, acknowledged);
            // ten are at work on this half, and what they have sent may or may not be stored
            server = kill_and_restart(server);
        }
        wait_until_acknowledged(&shared, events.len());
        server
    });
    let reports = shared.0.lock().unwrap();
    assert!(reports.failed.is_empty(), "{:?}", &reports.failed[..reports.failed.len().min(5)]);
    assert_eq!(reports.acknowledged, events.len());
    assert!(reports.places.iter().all(|(partition, _)| (0..SHARDS).contains(partition)));
    drain(&server, &pipeline);
    are_stored_once(&server, &pipeline, &events);
}

/// Reads the Parquet objects: every number once (PyArrow), and all that is in the events (DuckDB).
fn are_stored_once(server: &Server, pipeline: &Pipeline, events: &[String]) {
    let ids = python::script(server, "event_ids.py", &[BUCKET, &pipeline.name]).unwrap();
    let mut counts = BTreeMap::<usize, usize>::new();
    for id in ids.lines() {
        *counts.entry(id.parse().unwrap()).or_default() += 1;
    }
    let lost: Vec<usize> = (0..events.len()).filter(|number| !counts.contains_key(number)).take(5).collect();
    let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).take(5).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "lost {lost:?}, more than once {doubled:?}");
    assert_eq!(counts.len(), events.len());
    let read = python::parquet_sums(server, "duckdb", BUCKET, &format!("{}/", pipeline.name)).unwrap();
    assert_eq!(read, flights::sums(&events.join("\n")).unwrap());
}
