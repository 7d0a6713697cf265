//! Streams that events wait in, what reads from them, and that each output delivers every event from its beginning on once,
//! whatever crashes, comes late or goes early.

use super::*;
use crate::event_log::{Append, Flusher};
use crate::fixture::{Dice, House, Running, crash_after};
use crate::pipelines::Parts;
use crate::rows::{DONE, GRAVES, HEADS, OUTPUTS, PROGRESS, RUNS, SCHEMAS, SHARED, SINKS, SQL_PIPELINES, STREAMS};
use crate::validate::{BodyShape, validate};
use crate::worker::PipelineWorker;
use crate::{
    CompactStep, DeclaredSchema, DeleteMode, IngestAuth, OutputFormat, PipelineState, PipelinesConfig, StreamSpec,
    TokenDigest, UnknownFields, funeral, registry,
};
use axum::body::{Body, to_bytes};
use cistern_runtime::{Shutdown, Supervisor, Work, Worker as _};
use cistern_types::{ByteSize, Timestamp};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::ServiceExt as _;

fn name(text: &str) -> PipelineName {
    text.parse().unwrap()
}

/// A stream of events with an `id`, open to all.
fn stream(text: &str) -> StreamAsked {
    let schema: DeclaredSchema =
        serde_json::from_value(json!({ "fields": [{ "name": "id", "type": "int64" }] })).unwrap();
    let spec = StreamSpec { auth: IngestAuth::None, ..StreamSpec::default() };
    let schema = Some(schema.with_unknown(UnknownFields::Drop));
    StreamAsked { name: name(text), spec, schema, http: true, worker_binding: true }
}

/// A sink into a folder, whose files end after ten seconds.
fn sink(house: &House, path: &str) -> SinkSpec {
    let mut spec = SinkSpec::new(house.bucket.clone()).unwrap();
    spec.path = path.to_owned();
    spec.interval = Duration::from_secs(10);
    spec
}

/// The ids in a folder, in the order of their offsets.
async fn ids(house: &House, folder: &str) -> Vec<u64> {
    let mut files = Vec::new();
    for key in house.keys().await.into_iter().filter(|key| key.starts_with(folder)) {
        let rows = house.rows(&key).await;
        let first: u64 = key.rsplit('-').nth(1).unwrap().parse().unwrap();
        files.push((first, rows.iter().map(|row| row["id"].as_u64().unwrap()).collect::<Vec<u64>>()));
    }
    files.sort();
    files.into_iter().flat_map(|(_, ids)| ids).collect()
}

async fn settled(running: &Running) {
    running.settle().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// A store with a stream `events` and sinks `one` and `two` into folders of the same names.
async fn connected() -> (House, Running) {
    let house = House::new().await;
    let running = house.open().await;
    running.pipelines.create_stream(stream("events")).await.unwrap();
    for path in ["one", "two"] {
        running.pipelines.create_sink(name(path), sink(&house, path)).await.unwrap();
    }
    (house, running)
}

#[tokio::test(start_paused = true)]
async fn events_wait_in_their_stream_until_a_pipeline_reads_them() {
    let (house, running) = connected().await;
    running.send("events", r#"[{"id":0},{"id":1}]"#).await;
    tokio::time::sleep(Duration::from_hours(24 * 30)).await;
    assert_eq!((house.count(RUNS).await, running.pipelines.health().len()), (1, 0));
    assert_eq!(running.pipelines.list(), [], "it is no pipeline of its own");
    let first =
        running.pipelines.create_sql_pipeline(name("first"), "INSERT INTO one SELECT id FROM events").await.unwrap();
    let health = &running.pipelines.sql_health(&first)[0];
    assert_eq!((health.lag_events, health.lag_bytes, health.events_accepted), (2, 18, 2));
    settled(&running).await;
    assert_eq!(ids(&house, "one/").await, [0, 1]);
    assert_eq!(house.count(RUNS).await, 0, "all outputs have it");
    // One that comes later begins with what is there then.
    running.send("events", r#"[{"id":2}]"#).await;
    let second =
        running.pipelines.create_sql_pipeline(name("second"), "INSERT INTO two SELECT id FROM events").await.unwrap();
    let health = &running.pipelines.sql_health(&second)[0];
    assert_eq!((health.lag_events, health.lag_bytes, health.events_accepted, health.bytes_accepted), (1, 9, 1, 9));
    settled(&running).await;
    assert_eq!((ids(&house, "one/").await, ids(&house, "two/").await), (vec![0, 1, 2], vec![2]));
    let health = &running.pipelines.sql_health(&second)[0];
    assert_eq!((health.lag_events, health.lag_bytes, health.events_delivered), (0, 0, 1));
    assert_eq!(running.pipelines.sql_pipelines().await.unwrap(), [first, second]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_that_is_made_again_begins_with_the_next_event_and_overwrites_nothing() {
    let (house, running) = connected().await;
    let sql = "INSERT INTO one SELECT id FROM events";
    running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap();
    running.send("events", r#"[{"id":0}]"#).await;
    settled(&running).await;
    running.pipelines.delete_sql_pipeline("p").await.unwrap();
    running.send("events", r#"[{"id":1}]"#).await;
    let again = running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap();
    settled(&running).await;
    assert_eq!(ids(&house, "one/year=").await, [0, 1]);
    let keys = house.keys().await;
    let mark = &again.parts[0].output.to_string()[..8];
    assert!(keys[0].contains("/day=") && keys.iter().any(|key| key.contains(&format!("/p-{mark}-0000"))), "{keys:?}");
    assert_eq!((house.count(GRAVES).await, house.count(PROGRESS).await, house.count(OUTPUTS).await), (0, 1, 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deleted_output_was_behind_with_is_trimmed_when_the_others_have_it() {
    let (house, running) = connected().await;
    let mut slow = sink(&house, "slow");
    slow.interval = Duration::from_hours(1);
    running.pipelines.create_sink(name("slow"), slow).await.unwrap();
    running.pipelines.create_sql_pipeline(name("quick"), "INSERT INTO one SELECT id FROM events").await.unwrap();
    running.pipelines.create_sql_pipeline(name("late"), "INSERT INTO slow SELECT id FROM events").await.unwrap();
    running.send("events", r#"[{"id":0}]"#).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((ids(&house, "one/").await, house.count(RUNS).await), (vec![0], 1), "the other one needs it");
    running.pipelines.delete_sql_pipeline("late").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((house.count(RUNS).await, house.count(GRAVES).await), (0, 0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deleted_output_was_behind_with_goes_once_it_is_old_enough() {
    let house = House::new().await;
    let running = house.open().await;
    let mut asked = stream("events");
    asked.spec.retention = Duration::from_mins(10);
    running.pipelines.create_stream(asked).await.unwrap();
    behind(&house, &running).await;
    running.pipelines.delete_sql_pipeline("slow").await.unwrap();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(house.count(RUNS).await, 1, "delivered and kept");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(house.count(RUNS).await, 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deleted_output_was_behind_with_goes_after_a_restart_at_the_wrong_moment() {
    let house = House::new().await;
    let running = house.open().await;
    running.pipelines.create_stream(stream("events")).await.unwrap();
    behind(&house, &running).await;
    let slow = running.pipelines.sql_pipeline("slow").await.unwrap();
    running.stop().await;
    sql::remove(&house.objects, &slow).await.unwrap();
    let running = house.open().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(house.count(RUNS).await, 0);
    running.stop().await;
}

/// A pipeline `fast` that has delivered an event, and `slow` that has not.
async fn behind(house: &House, running: &Running) {
    let slow = SinkSpec { interval: Duration::from_hours(1), ..sink(house, "slow") };
    for (word, spec) in [("fast", sink(house, "fast")), ("slow", slow)] {
        running.pipelines.create_sink(name(word), spec).await.unwrap();
        let sql = format!("INSERT INTO {word} SELECT id FROM events");
        running.pipelines.create_sql_pipeline(name(word), &sql).await.unwrap();
    }
    running.send("events", r#"{"id":1}"#).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((ids(house, "fast").await, ids(house, "slow").await), (vec![1], vec![]));
    assert_eq!(house.count(RUNS).await, 1, "one of them still needs it");
}

#[tokio::test(start_paused = true)]
async fn the_last_pipeline_that_goes_leaves_its_events_to_the_next() {
    let (house, running) = connected().await;
    let sql = "INSERT INTO one SELECT id FROM events";
    running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap();
    running.send("events", r#"[{"id":0}]"#).await;
    running.pipelines.delete_sql_pipeline("p").await.unwrap();
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!((house.count(RUNS).await, house.keys().await.len()), (1, 0));
    running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap();
    settled(&running).await;
    assert_eq!(ids(&house, "one/").await, [0]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn several_statements_are_one_pipeline_and_a_stream_takes_it_along() {
    let (house, running) = connected().await;
    running.pipelines.create_stream(stream("others")).await.unwrap();
    let sql = "INSERT INTO one SELECT id FROM events; INSERT INTO two SELECT id FROM events;\nINSERT INTO two SELECT id FROM others";
    let made = running.pipelines.create_sql_pipeline(name("fan"), sql).await.unwrap();
    let names: Vec<&str> = made.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["fan", "fan-2", "fan-3"]);
    running.pipelines.create_sql_pipeline(name("only"), "INSERT INTO one SELECT id FROM others").await.unwrap();
    running.send("events", r#"[{"id":0}]"#).await;
    running.send("others", r#"[{"id":1}]"#).await;
    settled(&running).await;
    assert_eq!((ids(&house, "one/").await, ids(&house, "two/").await), (vec![0, 1], vec![0, 1]));

    // A restart goes on with all of it.
    running.stop().await;
    let running = house.open().await;
    running.send("events", r#"[{"id":2}]"#).await;
    running.send("others", r#"[{"id":3}]"#).await;
    settled(&running).await;
    assert_eq!((ids(&house, "one/").await.len(), ids(&house, "two/").await.len()), (4, 4));

    running.send("events", r#"[{"id":4}]"#).await;
    running.pipelines.delete_stream("events").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let left: Vec<String> =
        running.pipelines.sql_pipelines().await.unwrap().iter().map(|one| one.name.to_string()).collect();
    assert_eq!(left, ["only"]);
    assert_eq!(running.pipelines.health().len(), 1);
    running.send("others", r#"[{"id":5}]"#).await;
    settled(&running).await;
    assert!(ids(&house, "one/").await.contains(&5) && !ids(&house, "two/").await.contains(&5));
    running.pipelines.delete_stream("others").await.unwrap();
    for sink in ["one", "two"] {
        running.pipelines.delete_sink(sink, false).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = [
        house.count(STREAMS).await,
        house.count(HEADS).await,
        house.count(RUNS).await,
        house.count(SHARED).await,
        house.count(OUTPUTS).await,
        house.count(PROGRESS).await,
        house.count(DONE).await,
        house.count(SCHEMAS).await,
        house.count(GRAVES).await,
        house.count(SINKS).await,
        house.count(SQL_PIPELINES).await,
    ];
    assert_eq!(left, [0; 11]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_statement_writes_is_compacted_under_the_name_of_its_files() {
    let (house, running) = connected().await;
    let sql = "INSERT INTO one SELECT id FROM events; INSERT INTO two SELECT id FROM events";
    running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap();
    for id in 0..3 {
        running.send("events", &format!("{{\"id\":{id}}}")).await;
        settled(&running).await;
    }
    let merged = running.pipelines.compact(&name("p-2"), &CompactStep::default()).await.unwrap().merged.unwrap();
    assert_eq!((merged.sources.len(), merged.rows), (3, Some(3)));
    assert_eq!((ids(&house, "one/").await, ids(&house, "two/").await), (vec![0, 1, 2], vec![0, 1, 2]));
    assert_eq!(house.keys().await.len(), 4, "three of the first statement, one of the second");
    let refused = running.pipelines.compact(&name("events"), &CompactStep::default()).await.unwrap_err();
    assert!(matches!(refused, Error::OfStreams { .. }), "a stream writes nothing: {refused}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_made_again_begins_anew() {
    let (house, running) = connected().await;
    running.send("events", r#"[{"id":0}]"#).await;
    let before = running.pipelines.stream("events").unwrap();
    running.pipelines.delete_stream(&before.id.to_string()).await.unwrap();
    assert!(matches!(running.pipelines.stream("events"), Err(Error::NoSuchStream { .. })));
    running.pipelines.create_stream(stream("events")).await.unwrap();
    assert!(matches!(running.pipelines.stream(&before.id.to_string()), Err(Error::NoSuchStream { .. })));
    running.pipelines.create_sql_pipeline(name("p"), "INSERT INTO one SELECT id FROM events").await.unwrap();
    running.send("events", r#"[{"id":1}]"#).await;
    settled(&running).await;
    assert_eq!(ids(&house, "one/").await, [1]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pipelines_and_streams_share_names_and_nothing_else() {
    let (house, running) = connected().await;
    running.create(house.spec("own")).await;
    let error = running.pipelines.create_stream(stream("own")).await.unwrap_err();
    assert_eq!(error.to_string(), "pipeline own exists already: delete it first or choose another name");
    let error = running.pipelines.create(house.spec("events")).await.unwrap_err();
    assert_eq!(error.to_string(), "stream events exists already: delete it first or choose another name");
    for refused in [running.pipelines.stream("own").map(|_| ()), running.pipelines.delete_stream("own").await] {
        assert!(matches!(refused, Err(Error::NoSuchStream { .. })), "{refused:?}");
    }
    for mode in [DeleteMode::Drain, DeleteMode::Discard] {
        let refused = running.pipelines.delete(&name("events"), mode).await;
        assert!(matches!(refused, Err(Error::OfStreams { .. })), "{refused:?}");
    }
    assert!(running.pipelines.update(house.spec("events"), None, false).await.is_err());
    let list: Vec<String> = running.pipelines.list().iter().map(|record| record.spec.name.to_string()).collect();
    assert_eq!((list, running.pipelines.streams().len()), (vec!["own".to_owned()], 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sql_that_cannot_be_is_refused_and_makes_nothing() {
    let (house, running) = connected().await;
    running.create(house.spec("own")).await;
    let long = format!("INSERT INTO one SELECT id FROM events WHERE id > 1 -- {}", "x".repeat(9_000));
    let many = "INSERT INTO one SELECT id FROM events;".repeat(20) + "INSERT INTO one SELECT id FROM events";
    for (sql, expected) in [
        ("", "the SQL has no statement"),
        ("INSERT INTO one SELECT id FROM", "line 1, column"),
        ("SELECT id FROM events", "statement 1: it needs a sink: INSERT INTO sink SELECT .."),
        ("INSERT INTO three SELECT id FROM events", "statement 1: there is no sink three: create it first"),
        ("INSERT INTO one SELECT id FROM nothing", "statement 1: there is no stream nothing: create it first"),
        ("INSERT INTO one SELECT id FROM \"odd name\"", "statement 1: there is no stream odd name"),
        ("INSERT INTO one SELECT id FROM own", "statement 1: own is a pipeline that writes its events itself"),
        (
            "INSERT INTO one SELECT id FROM events; INSERT INTO two SELECT ids FROM events",
            "statement 2: there is no column ids; did you mean id?",
        ),
        ("INSERT INTO one SELECT id FROM events GROUP BY id", "GROUP BY is not possible"),
        (long.as_str(), "statement 1: it has 9054 bytes, at most 8192 are possible"),
        (many.as_str(), "the SQL has 21 statements, at most 20 are possible"),
    ] {
        let error = running.pipelines.create_sql_pipeline(name("p"), sql).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}: {error}");
        assert_eq!(running.pipelines.check_sql(sql).await.unwrap_err().to_string(), error, "{sql}");
    }
    assert_eq!((house.count(SQL_PIPELINES).await, house.count(OUTPUTS).await), (0, 1));
    let sql = "INSERT INTO one SELECT id FROM events;".repeat(20);
    running.pipelines.create_sql_pipeline(name("p"), &sql).await.unwrap();
    let error =
        running.pipelines.create_sql_pipeline(name("q"), "INSERT INTO one SELECT id FROM events").await.unwrap_err();
    assert!(error.to_string().contains("is read by 20 statements already, at most 20 are possible"), "{error}");
    let error = running.pipelines.create_sql_pipeline(name("p"), &sql).await.unwrap_err();
    assert_eq!(error.to_string(), "pipeline p exists already: delete it first or choose another name");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sql_is_explained() {
    let (_house, running) = connected().await;
    let checked = running.pipelines.check_sql("INSERT INTO one SELECT id FROM events WHERE id > 1").await.unwrap();
    let steps: Vec<&str> = checked.graph.nodes.iter().map(|node| node.kind.name()).collect();
    assert_eq!(steps, ["source", "filter", "projection", "sink"]);
    assert_eq!((checked.streams[0].1.as_str(), checked.sinks[0].1.as_str()), ("events", "one"));
    // An unstructured stream has one column.
    running.pipelines.create_stream(StreamAsked { schema: None, ..stream("raw") }).await.unwrap();
    running.pipelines.check_sql("INSERT INTO one SELECT value FROM raw").await.unwrap();
    assert!(running.pipelines.check_sql("INSERT INTO one SELECT id FROM raw").await.is_err());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sinks_need_a_bucket_and_go_when_nobody_writes_to_them() {
    let (house, running) = connected().await;
    let mut spec = sink(&house, "/x");
    let error = running.pipelines.create_sink(name("three"), spec.clone()).await.unwrap_err();
    assert!(error.to_string().contains("prefix /x"), "{error}");
    spec.path = "x/".into();
    spec.bucket = "missing".parse().unwrap();
    let error = running.pipelines.create_sink(name("three"), spec.clone()).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchBucket { .. }), "{error}");
    spec.bucket = house.bucket.clone();
    spec.format = OutputFormat::from_names("json", Some("zstd")).unwrap();
    spec.strategy = Some(FileStrategy::Ulid);
    spec.file_size = Some(ByteSize::bytes(5_000));
    spec.file_prefix = "p".repeat(65);
    assert!(running.pipelines.create_sink(name("three"), spec.clone()).await.is_err());
    spec.file_prefix = "p".repeat(64);
    let made = running.pipelines.create_sink(name("three"), spec.clone()).await.unwrap();
    assert_eq!(made.spec, SinkSpec { path: "x".into(), ..spec.clone() });
    let error = running.pipelines.create_sink(name("three"), spec).await.unwrap_err();
    assert_eq!(error.to_string(), "sink three exists already: delete it first or choose another name");
    for key in [made.id.to_string(), "three".to_owned()] {
        assert_eq!(running.pipelines.sink(&key).await.unwrap(), made);
    }
    running.pipelines.create_sql_pipeline(name("p"), "INSERT INTO three SELECT id FROM events").await.unwrap();
    let error = running.pipelines.delete_sink("three", false).await.unwrap_err();
    assert!(error.to_string().starts_with("pipeline p writes to sink three"), "{error}");
    running.pipelines.delete_sink("three", true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((house.count(OUTPUTS).await, house.count(GRAVES).await, running.pipelines.health().len()), (0, 0, 0));
    assert!(matches!(running.pipelines.sink("three").await, Err(Error::NoSuchSink { .. })));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_goes_is_waited_for() {
    let (house, running) = connected().await;
    let made = running.pipelines.create_sql_pipeline(name("p"), "INSERT INTO one SELECT id FROM events").await.unwrap();
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    running.send("events", r#"[{"id":0}]"#).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(matches!(running.pipelines.sql_health(&made)[0].state, PipelineState::Waiting { .. }));
    let refused = running.pipelines.create_sql_pipeline(name("q"), "INSERT INTO one SELECT id FROM events").await;
    assert!(matches!(refused, Err(Error::NoSuchBucket { .. })));
    house.make_bucket().await;
    settled(&running).await;
    assert_eq!(ids(&house, "one/").await, [0]);
    running.stop().await;
}

/// Posts an event; the status and text of the answer.
async fn post(running: &Running, token: Option<&str>) -> (StatusCode, Value) {
    let mut request = Request::post("/events");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::from(r#"[{"id":1}]"#)).unwrap();
    let response = running.pipelines.ingest_router().oneshot(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_opened_by_its_own_token_and_that_of_the_api_and_its_door_may_be_shut() {
    let house = House::new().await;
    let api_token = Some(TokenDigest::of("the api token"));
    let running = house.open_with(PipelinesConfig { api_token, ..PipelinesConfig::default() }).await;
    let asked = StreamAsked { spec: StreamSpec::default(), ..stream("events") };
    let made = running.pipelines.create_stream(asked).await.unwrap();
    let own = made.send_token.unwrap();
    for (token, expected) in
        [(None, 401), (Some("another"), 401), (Some(own.as_str()), 200), (Some("the api token"), 200)]
    {
        assert_eq!(post(&running, token).await.0, expected, "{token:?}");
    }
    let change = StreamChange { http: Some(false), ..StreamChange::default() };
    let changed = running.pipelines.update_stream("events", change).await.unwrap();
    assert_eq!((changed.stream.asked.http, changed.stream.version, changed.send_token), (false, 2, None));
    let (status, answer) = post(&running, Some(&own)).await;
    let text = answer["errors"][0]["message"].as_str().unwrap();
    assert!(status == 403 && text.starts_with("stream events takes no events over HTTP"), "{status} {text}");
    assert_eq!(post(&running, Some("another")).await.0, 401, "who may not send is not told");
    let upgrade =
        Request::get("/events").header("upgrade", "websocket").header("authorization", format!("Bearer {own}"));
    let upgraded = running.pipelines.ingest_router().oneshot(upgrade.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(upgraded.status(), 403);
    let open = StreamChange {
        http: Some(true),
        auth: Some(IngestAuth::None),
        cors_origins: Some(vec!["https://a.example".parse().unwrap()]),
        worker_binding: Some(false),
    };
    let changed = running.pipelines.update_stream("events", open).await.unwrap();
    assert!(!changed.stream.asked.worker_binding && changed.stream.asked.spec.cors_origins.len() == 1);
    assert_eq!(post(&running, None).await.0, 200);
    running.stop().await;
    // All of that is stored.
    let running = house.open().await;
    assert_eq!(running.pipelines.stream("events").unwrap(), changed.stream);
    assert_eq!(post(&running, None).await.0, 200);
    let shut = StreamChange { auth: Some(IngestAuth::Token), ..StreamChange::default() };
    let changed = running.pipelines.update_stream("events", shut).await.unwrap();
    assert!(changed.send_token.is_some_and(|token| token != own), "there was none before");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn producers_are_forgotten_in_a_stream_that_nobody_reads() {
    let (house, running) = connected().await;
    let request = Request::post("/events").header("idempotency-key", "once").body(Body::from("{}")).unwrap();
    assert_eq!(running.pipelines.ingest_router().oneshot(request).await.unwrap().status(), 200);
    assert_eq!(house.count(crate::rows::PRODUCERS).await, 1);
    tokio::time::sleep(Duration::from_hours(6)).await;
    assert_eq!(house.count(crate::rows::PRODUCERS).await, 0);
    running.stop().await;
}

/// A process whose workers the test moves itself, so that it can stop them anywhere.
struct Process {
    parts: Arc<Parts>,
    flusher: Flusher,
    live: Arc<Live>,
    keeper: Keeper,
    workers: BTreeMap<PipelineId, PipelineWorker>,
}

impl Process {
    async fn start(house: &House) -> Self {
        let supervisor = Supervisor::new(Shutdown::new());
        let stored = registry::load(&house.objects).await.unwrap();
        for (id, _) in stored.graves {
            while funeral::bury_some(&house.objects, id).await.unwrap() {}
        }
        let config = PipelinesConfig::default();
        let (parts, flusher) = Parts::new(house.objects.clone(), Arc::clone(&house.clock), supervisor, config);
        let (parts, stream) = (Arc::new(parts), stored.streams[0].clone());
        let live = Arc::new(Live::new(stream.record, stream.head, Vec::new()));
        let keeper = Keeper::new(Arc::clone(&parts), Arc::clone(&live));
        let mut process = Self { parts, flusher, live, keeper, workers: BTreeMap::new() };
        for (record, progress) in stream.outputs {
            process.take(Output::new(record, progress));
        }
        process
    }

    fn take(&mut self, output: Arc<Output>) {
        self.live.add_output(&output);
        let id = output.id();
        self.workers.insert(id, PipelineWorker::new(Arc::clone(&self.parts), Arc::clone(&self.live), output));
    }

    async fn append(&mut self, body: &str) -> bool {
        let events = validate(&body.to_owned().into(), BodyShape::Any, 1_000_000).unwrap();
        let room = self.parts.log.room(events.lines.len()).await.unwrap();
        let append = self.parts.log.append(Arc::clone(&self.live), Append::from(events), room);
        let flush = async {
            self.flusher.wait_for_work().await;
            self.flusher.work().await.unwrap();
        };
        tokio::join!(append, flush).0.is_ok()
    }

    /// Makes a pipeline of that name into the sink of that name; whether it says that it was made.
    async fn connect(&mut self, word: &str) -> bool {
        let sql = format!("INSERT INTO {word} SELECT id FROM events");
        let Ok(made) = sql::create(&self.parts.objects, name(word), &sql, &[]).await else { return false };
        for (_, record, progress) in made.outputs {
            self.take(Output::new(record, progress));
        }
        true
    }

    /// Deletes the pipeline of that name; whether it says so.
    async fn disconnect(&mut self, word: &str) -> bool {
        let Ok(found) = sql::find(&self.parts.objects, word).await else { return false };
        if sql::remove(&self.parts.objects, &found).await.is_err() {
            return false;
        }
        self.live.forget_output(found.parts[0].output);
        true
    }

    /// Lets one worker, or the keeper, work until it is idle.
    async fn work(&mut self, which: usize) {
        let Some(id) = self.workers.keys().nth(which).copied() else {
            self.keeper.wait_for_work().await;
            while self.keeper.work().await.unwrap_or(Work::More) == Work::More {}
            return;
        };
        for _ in 0..10_000 {
            match self.workers.get_mut(&id).unwrap().work().await {
                Ok(Work::Idle) => return,
                Ok(Work::Finished) => {
                    self.workers.remove(&id);
                    return;
                }
                Ok(Work::More) | Err(_) => {}
            }
        }
        panic!("the worker never rests: {:?}", self.live.health(Timestamp::default()));
    }
}

async fn restart(house: &House, lost_answers: u32) -> Process {
    house.engine.lost_answers.store(0, Ordering::SeqCst);
    let process = Process::start(house).await;
    house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
    process
}

/// Where the output of a pipeline begins, if there is one.
async fn begin_of(house: &House, word: &str) -> Option<u64> {
    let found = sql::find(&house.objects, word).await.ok()?;
    let txn = house.objects.store().read().await.unwrap();
    Some(PROGRESS.peek(&txn, &found.parts[0].output).await.unwrap().unwrap().skipped)
}

/// Three pipelines read one stream: one from the beginning on, one that comes and stays, one that comes and goes. Each has
/// every event from its beginning on once, whatever crashes. Whether the second came, and whether the third went.
async fn each_output_has_every_event_once(seed: u64, lost_answers: u32) -> (bool, bool) {
    let house = House::new().await;
    let mut dice = Dice(seed);
    stream::create(&house.objects, stream("events")).await.unwrap();
    for path in ["first", "late", "brief"] {
        let spec = SinkSpec { file_size: Some(ByteSize::bytes(1_000)), ..sink(&house, path) };
        sink::create(&house.objects, name(path), spec).await.unwrap();
    }
    sql::create(&house.objects, name("first"), "INSERT INTO first SELECT id FROM events", &[]).await.unwrap();
    let mut process = restart(&house, lost_answers).await;
    let (mut next, mut acknowledged) = (0, BTreeSet::new());
    let (mut brief_began, mut brief_gone) = (None, false);
    for _ in 0..70 {
        let polls = usize::try_from(dice.below(60)).unwrap();
        let crashed = match dice.below(8) {
            0 | 1 => {
                let ids: Vec<u64> = (next..next + 1 + dice.below(40)).collect();
                next += ids.len() as u64;
                let body: Vec<String> = ids.iter().map(|id| format!("{{\"id\":{id}}}")).collect();
                let answer = crash_after(polls, process.append(&body.join("\n"))).await;
                if answer == Some(true) {
                    acknowledged.extend(ids);
                }
                answer.is_none()
            }
            2..=4 => {
                let which = usize::try_from(dice.below(4)).unwrap();
                crash_after(polls * 3, process.work(which)).await.is_none()
            }
            5 if begin_of(&house, "late").await.is_none() && next > 50 => {
                crash_after(polls, process.connect("late")).await != Some(true)
            }
            6 if brief_began.is_none() => crash_after(polls, process.connect("brief")).await != Some(true),
            6 if !brief_gone && dice.below(3) == 0 => {
                crash_after(polls, process.disconnect("brief")).await != Some(true)
            }
            _ => {
                tokio::time::advance(Duration::from_secs(dice.below(12))).await;
                false
            }
        };
        if crashed {
            process = restart(&house, lost_answers).await;
        }
        let brief = begin_of(&house, "brief").await;
        brief_gone |= brief_began.is_some() && brief.is_none();
        brief_began = brief_began.or(brief);
    }
    let mut process = restart(&house, 0).await;
    for _ in 0..30 {
        for which in 0..4 {
            process.work(which).await;
        }
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    let first = ids(&house, "first/").await;
    let once: BTreeSet<u64> = first.iter().copied().collect();
    assert_eq!(once.len(), first.len(), "seed {seed}: none twice");
    assert!(acknowledged.is_subset(&once), "seed {seed}: none lost");
    assert_eq!(first.len() as u64, process.live.head_next(), "seed {seed}");
    if let Some(begin) = begin_of(&house, "late").await {
        assert_eq!(
            ids(&house, "late/").await,
            first[usize::try_from(begin).unwrap()..],
            "seed {seed}: late from {begin} on"
        );
    }
    if let Some(begin) = brief_began {
        let brief = ids(&house, "brief/").await;
        let expected = &first[usize::try_from(begin).unwrap()..];
        assert!(expected.starts_with(&brief), "seed {seed}: brief from {begin} on: {brief:?} of {expected:?}");
        assert!(brief_gone || brief.len() == expected.len(), "seed {seed}: brief is there");
    }
    for health in process.live.health(Timestamp::default()) {
        assert_eq!((health.lag_events, health.lag_bytes), (0, 0), "seed {seed}: {health:?}");
    }
    let left = (house.count(RUNS).await, house.count(DONE).await, house.count(GRAVES).await, house.count(SHARED).await);
    assert_eq!(left, (0, 0, 0, 0), "seed {seed}: trimmed and buried");
    (begin_of(&house, "late").await.is_some(), brief_gone)
}

#[tokio::test(start_paused = true)]
async fn crashes_outputs_that_come_late_and_outputs_that_go_lose_and_double_nothing() {
    let (mut came, mut went) = (0, 0);
    for seed in 0..160 {
        let (late, brief_gone) = each_output_has_every_event_once(seed, if seed < 100 { 0 } else { 3 }).await;
        came += u32::from(late);
        went += u32::from(brief_gone);
    }
    assert!(came > 40 && went > 40, "the dice did it too seldom: {came} came, {went} went");
}
