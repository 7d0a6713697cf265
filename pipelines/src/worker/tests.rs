//! From the answer to the object: what is delivered when, what happens when it cannot be, and that a crash at any moment
//! neither loses nor doubles an event.

mod compacting;

use super::*;
use crate::claim::{Claim, Producer};
use crate::event_log::Flusher;
use crate::event_log::{Append, Appended};
use crate::fixture::{Dice, House, crash_after};
use crate::rows::{DONE, GRAVES, HEADS, PRODUCERS, RUNS, SHARED, STREAMS};
use crate::validate::{BodyShape, validate};
use crate::{DeleteMode, OutputFormat, PipelineSpec, PipelineState};
use cistern_runtime::{Shutdown, Supervisor};
use cistern_types::ByteSize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What stands before the time in an object's key, and how many rows it has.
async fn summary(house: &House) -> Vec<(String, usize)> {
    let mut summary = Vec::new();
    for key in house.keys().await {
        let group = key.split("/event_date=").next().unwrap().to_owned();
        summary.push((group, house.rows(&key).await.len()));
    }
    summary
}

#[tokio::test(start_paused = true)]
async fn events_become_one_parquet_object_a_key_when_the_timeout_has_passed() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.batch.json_key = Some(".merchantId".parse().unwrap());
    spec.output.prefix = "raw".into();
    running.create(spec).await;
    let body =
        r#"[{"merchantId":"m_1","n":1},{"merchantId":"m/2","n":2,"tags":["x"]},{"merchantId":"m_1","n":3},{"n":4}]"#;
    running.send("clicks", body).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(house.keys().await, Vec::<String>::new(), "not before the timeout");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let expected = [
        ("raw/clicks/merchantId=__HIVE_DEFAULT_PARTITION__".to_owned(), 1),
        ("raw/clicks/merchantId=m%2F2".to_owned(), 1),
        ("raw/clicks/merchantId=m_1".to_owned(), 2),
    ];
    assert_eq!(summary(&house).await, expected);
    let key = &house.keys().await[2];
    let mark = &running.pipelines.get(&"clicks".parse().unwrap()).unwrap().id.to_string()[..8];
    assert!(key.ends_with(&format!("/clicks-{mark}-00000000000000000000-00000000000000000002.parquet")), "{key}");
    assert_eq!(house.rows(key).await, [json!({"merchantId":"m_1","n":1}), json!({"merchantId":"m_1","n":3})]);
    let health = running.pipelines.health_of(&"clicks".parse().unwrap()).unwrap();
    assert_eq!((health.events_delivered, health.lag_events, health.lag_bytes, health.objects_written), (4, 0, 0, 3));
    assert_eq!(health.state, PipelineState::Ready);
    assert_eq!((house.count(RUNS).await, house.count(DONE).await), (0, 0), "what is delivered is trimmed");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_its_timeout() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.batch.timeout = Duration::from_hours(1);
    spec.output.batch.rows = 3;
    running.create(spec).await;
    let mut spec = house.spec("large");
    spec.output.batch.timeout = Duration::from_hours(1);
    spec.output.batch.size = ByteSize::bytes(1_000);
    running.create(spec).await;
    running.send("clicks", r#"[{"a":1},{"a":2},{"a":3},{"a":4}]"#).await;
    running.send("large", &format!("[{{\"a\":\"{}\"}},{{\"a\":1}}]", "x".repeat(1_000))).await;
    running
        .until("one batch each", |pipelines| pipelines.health().iter().all(|health| health.objects_written > 0))
        .await;
    assert_eq!(summary(&house).await, [("clicks".to_owned(), 3), ("large".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn events_wait_while_the_bucket_is_gone_and_go_on_when_it_is_back() {
    let house = House::new().await;
    let running = house.open().await;
    let timeout = house.spec("clicks").output.batch.timeout;
    running.create(house.spec("clicks")).await;
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    running.send("clicks", r#"{"a":1}"#).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    running.send("clicks", r#"{"a":2}"#).await;
    let health = &running.pipelines.health()[0];
    let reason = "destination bucket events does not exist: create it again".to_owned();
    assert_eq!((health.lag_events, &health.state), (2, &PipelineState::Waiting { reason }));
    assert_eq!((health.lag, health.late), (Duration::from_mins(5), Duration::from_mins(5).saturating_sub(timeout)));
    running.stop().await;
    let running = house.open().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(
        running.pipelines.health()[0].lag,
        Duration::from_mins(6),
        "a start finds out how long they have waited"
    );
    house.make_bucket().await;
    running.settle().await;
    assert_eq!(running.pipelines.health()[0].lag, Duration::ZERO);
    assert_eq!(house.all_rows().await, [json!({"a":1}), json!({"a":2})]);
    assert_eq!(running.pipelines.health()[0].state, PipelineState::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_had_to_wait_is_batched_as_if_it_had_not() {
    let house = House::new().await;
    let running = house.open().await;
    let spec = house.spec("clicks");
    let every = spec.output.batch.timeout / 10;
    running.create(spec).await;
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    for n in 0..35 {
        running.send("clicks", &format!("{{\"n\":{n}}}")).await;
        tokio::time::sleep(every).await;
    }
    running.stop().await;
    tokio::time::sleep(every * 100).await;
    let running = house.open().await;
    tokio::time::sleep(every).await;
    house.make_bucket().await;
    running.settle().await;
    let rows: Vec<usize> = summary(&house).await.into_iter().map(|(_, rows)| rows).collect();
    assert_eq!(rows, [10, 10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_delays_nothing_once_it_is_right() {
    let house = House::new().await;
    for ahead in [Duration::from_hours(1), Duration::ZERO] {
        house.wall.set_ahead(ahead);
        let running = house.open().await;
        let spec = house.spec("clicks");
        let timeout = spec.output.batch.timeout;
        if ahead > Duration::ZERO {
            running.create(spec).await;
        }
        let before = running.pipelines.health()[0].objects_written;
        running.send("clicks", r#"{"a":1}"#).await;
        tokio::time::sleep(timeout / 2).await;
        running.send("clicks", r#"{"a":2}"#).await;
        assert_eq!(running.pipelines.health()[0].lag, timeout / 2, "{ahead:?}");
        tokio::time::sleep(timeout).await;
        running.until("one object", |pipelines| pipelines.health()[0].objects_written == before + 1).await;
        assert_eq!(running.pipelines.health()[0].lag_events, 0, "{ahead:?}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_needs_a_bucket_and_a_name_of_its_own() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.bucket = "missing".parse().unwrap();
    let error = running.pipelines.create(spec).await.unwrap_err();
    assert_eq!(error.to_string(), "destination bucket missing does not exist: create it first");
    running.create(house.spec("clicks")).await;
    let error = running.pipelines.create(house.spec("clicks")).await.unwrap_err();
    assert!(matches!(error, Error::PipelineExists { .. }), "{error}");
    assert_eq!(running.pipelines.list().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn open_batches_survive_a_restart() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.batch.json_key = Some(".k".parse().unwrap());
    spec.output.batch.rows = 2;
    running.create(spec).await;
    // The batch of key b closes, the one of key a keeps the watermark at zero.
    running.send("clicks", r#"[{"k":"a","n":0},{"k":"b","n":1},{"k":"b","n":2}]"#).await;
    running.until("the full batch", |pipelines| pipelines.health()[0].events_delivered == 2).await;
    assert_eq!((house.count(RUNS).await, house.count(DONE).await), (1, 1));
    running.stop().await;
    let running = house.open().await;
    assert_eq!(running.pipelines.health()[0].lag_events, 1);
    running.settle().await;
    assert_eq!(summary(&house).await, [("clicks/k=a".to_owned(), 1), ("clicks/k=b".to_owned(), 2)]);
    running.until("trimmed", |_| true).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((house.count(RUNS).await, house.count(DONE).await), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn draining_delivers_everything_first_and_discarding_nothing() {
    let house = House::new().await;
    let running = house.open().await;
    for name in ["drained", "discarded"] {
        running.create(house.spec(name)).await;
        running.send(name, r#"[{"a":1},{"a":2}]"#).await;
    }
    let name = |text: &str| text.parse().unwrap();
    running.pipelines.delete(&name("discarded"), DeleteMode::Discard).await.unwrap();
    running.pipelines.delete(&name("drained"), DeleteMode::Drain).await.unwrap();
    running.until("gone", |pipelines| pipelines.list().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(summary(&house).await, [("drained".to_owned(), 2)]);
    let left = [
        house.count(STREAMS).await,
        house.count(HEADS).await,
        house.count(RUNS).await,
        house.count(SHARED).await,
        house.count(PROGRESS).await,
        house.count(DONE).await,
        house.count(SCHEMAS).await,
        house.count(GRAVES).await,
    ];
    assert_eq!(left, [0; 8]);
    let error = running.pipelines.delete(&name("drained"), DeleteMode::Drain).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchPipeline { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_used_before_begins_anew() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    running.send("clicks", r#"{"a":"text"}"#).await;
    running.pipelines.delete(&"clicks".parse().unwrap(), DeleteMode::Discard).await.unwrap();
    running.create(house.spec("clicks")).await;
    running.send("clicks", r#"{"a":1}"#).await;
    running.settle().await;
    assert_eq!(house.all_rows().await, [json!({"a":1})]);
    assert_eq!(running.pipelines.health()[0].dead_letters, 0);
}

#[tokio::test(start_paused = true)]
async fn a_draining_pipeline_without_a_bucket_waits_and_can_be_discarded() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    running.send("clicks", r#"{"a":1}"#).await;
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    running.pipelines.delete(&"clicks".parse().unwrap(), DeleteMode::Drain).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(matches!(running.pipelines.health()[0].state, PipelineState::Draining { waiting: Some(_) }));
    // A restart goes on draining.
    running.stop().await;
    let running = house.open().await;
    assert!(running.pipelines.list()[0].draining);
    running.pipelines.delete(&"clicks".parse().unwrap(), DeleteMode::Discard).await.unwrap();
    assert!(running.pipelines.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn rows_that_do_not_fit_are_dead_letters_and_counted() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    running.send("clicks", r#"[{"id":1,"a":1},{"id":2,"a":"x"},{"id":3,"a":2}]"#).await;
    running.settle().await;
    assert_eq!(summary(&house).await, [("clicks/dead-letters".to_owned(), 1), ("clicks".to_owned(), 2)]);
    let dead = house.rows(&house.keys().await[0]).await;
    let reason = "field a: a string, but the column holds integers";
    assert_eq!(dead, [json!({"offset": 1, "reason": reason, "event": {"id": 2, "a": "x"}})]);
    let health = &running.pipelines.health()[0];
    assert_eq!((health.events_delivered, health.dead_letters, health.objects_written), (3, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn events_are_held_against_a_declared_schema() {
    let house = House::new().await;
    let running = house.open().await;
    let fields = json!([
        { "name": "id", "type": "int32", "required": true },
        { "name": "at", "type": "timestamp", "unit": "second" },
    ]);
    for (name, format) in [("columns", "parquet"), ("lines", "json")] {
        let mut spec = house.spec(name);
        spec.output.schema = Some(serde_json::from_value(json!({ "fields": fields })).unwrap());
        spec.output.format = OutputFormat::from_names(format, Some("none")).unwrap();
        running.create(spec).await;
        let body =
            r#"[{"id":1,"at":"2026-05-01T13:00:00Z","more":{"a":1.50}},{"id":2147483648},{"at":null},{"id":3,"at":0}]"#;
        running.send(name, body).await;
    }
    running.settle().await;
    let counts = [("columns/dead-letters", 2), ("columns", 2), ("lines/dead-letters", 2), ("lines", 2)];
    assert_eq!(summary(&house).await, counts.map(|(group, rows)| (group.to_owned(), rows)));
    let keys = house.keys().await;
    let dead = [
        json!({ "offset": 1, "reason": "parse_failure: field id: 2147483648 is out of range of int32", "event": { "id": 2_147_483_648_u64 } }),
        json!({ "offset": 2, "reason": "missing_field: field id: it is required", "event": { "at": null } }),
    ];
    assert_eq!(house.rows(&keys[0]).await, dead);
    assert_eq!(house.rows(&keys[2]).await, dead);
    let rows = [
        json!({ "id": 1, "at": "2026-05-01T13:00:00Z", "_rest": "{\"more\":{\"a\":1.50}}" }),
        json!({ "id": 3, "at": "1970-01-01T00:00:00Z" }),
    ];
    assert_eq!(house.rows(&keys[1]).await, rows);
    let lines = house.body(&keys[3]).await;
    assert_eq!(lines, "{\"id\":1,\"at\":\"2026-05-01T13:00:00Z\",\"more\":{\"a\":1.50}}\n{\"id\":3,\"at\":0}\n");
    for health in running.pipelines.health() {
        assert_eq!((health.events_delivered, health.dead_letters, health.objects_written), (4, 2, 2));
    }
    // The schema is part of what is stored.
    running.stop().await;
    let running = house.open().await;
    running.send("columns", "{}").await;
    running.settle().await;
    assert_eq!(house.rows(&house.keys().await[1]).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn json_lines_keep_the_events_as_they_came() {
    let house = House::new().await;
    let running = house.open().await;
    for (name, compression) in [("packed", "gzip"), ("plain", "none")] {
        let mut spec = house.spec(name);
        spec.output.format = OutputFormat::from_names("json", Some(compression)).unwrap();
        running.create(spec).await;
        running.send(name, "[{\"a\": 1.0, \"a\":\"x\"},{}]").await;
    }
    running.settle().await;
    let keys = house.keys().await;
    let endings: Vec<&str> = keys.iter().filter_map(|key| key.split_once('.')).map(|(_, ending)| ending).collect();
    assert_eq!(endings, ["json.gz", "json"], "{keys:?}");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&house.body(&keys[0]).await[..]), &mut unpacked)
        .unwrap();
    assert_eq!(unpacked, "{\"a\": 1.0, \"a\":\"x\"}\n{}\n");
    assert_eq!(house.body(&keys[1]).await, unpacked);
}

#[tokio::test(start_paused = true)]
async fn short_memory_closes_batches_early_and_loses_nothing() {
    let house = House::new().await;
    let running = house.open_with(PipelinesConfig { batch_memory_bytes_max: 0, ..PipelinesConfig::default() }).await;
    let mut spec = house.spec("clicks");
    spec.output.batch.timeout = Duration::from_hours(1);
    spec.output.batch.json_key = Some(".k".parse().unwrap());
    running.create(spec).await;
    let text = "x".repeat(1_000);
    for body in 0..12 {
        let events: Vec<String> =
            (0..1_000).map(|n| format!("{{\"k\":{},\"id\":{},\"t\":\"{text}\"}}", n % 3, body * 1_000 + n)).collect();
        running.send("clicks", &events.join("\n")).await;
    }
    running.until("relief", |pipelines| pipelines.health()[0].objects_written > 0).await;
    assert!(running.pipelines.health()[0].lag_events > 0, "the small batches stay open");
    tokio::time::sleep(Duration::from_hours(1)).await;
    running.settle().await;
    let mut ids: Vec<i64> = house.all_rows().await.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..12_000).collect::<Vec<i64>>());
}

/// A process whose workers the test moves itself, so that it can stop them anywhere.
struct Process {
    parts: Arc<Parts>,
    flusher: Flusher,
    live: Arc<Live>,
    worker: PipelineWorker,
}

impl Process {
    async fn start(house: &House) -> Self {
        let supervisor = Supervisor::new(Shutdown::new());
        let config = PipelinesConfig::default();
        let stored = registry::load(&house.objects).await.unwrap();
        let (parts, flusher) = Parts::new(house.objects.clone(), Arc::clone(&house.clock), supervisor, config);
        let parts = Arc::new(parts);
        let stream = stored.streams[0].clone();
        let (record, progress) = stream.outputs[0].clone();
        let output = Output::new(record, progress);
        let live = Arc::new(Live::new(stream.record, stream.head, vec![Arc::clone(&output)]));
        parts.directory.insert(&live);
        let worker = PipelineWorker::new(Arc::clone(&parts), Arc::clone(&live), output);
        Self { parts, flusher, live, worker }
    }

    /// Appends a body; whether it was acknowledged.
    async fn append(&mut self, body: &str) -> bool {
        self.append_claimed(body, None).await.is_ok()
    }

    async fn append_claimed(&mut self, body: &str, claim: Option<Claim>) -> Result<Appended> {
        let events = validate(&body.to_owned().into(), BodyShape::Any, 1_000_000).unwrap();
        let room = self.parts.log.room(events.lines.len()).await.unwrap();
        let append = Append { events, shard: 0, claim };
        let append = self.parts.log.append(Arc::clone(&self.live), append, room);
        let flush = async {
            self.flusher.wait_for_work().await;
            self.flusher.work().await.unwrap();
        };
        tokio::join!(append, flush).0
    }

    /// Changes the pipeline; whether it says that it was changed.
    async fn change(&mut self, spec: PipelineSpec) -> bool {
        let changed = registry::change(&self.parts.objects, spec, None, false).await;
        let Ok(changed) = changed else { return false };
        self.live.set_record(changed.record);
        self.live.outputs()[0].set_record(changed.output);
        true
    }

    /// Lets the worker work until it is idle.
    async fn work(&mut self) {
        for _ in 0..10_000 {
            match self.worker.work().await {
                Ok(Work::Idle | Work::Finished) => return,
                Ok(Work::More) | Err(_) => {}
            }
        }
        panic!("the worker never rests: {:?}", self.live.health(Timestamp::default()));
    }
}

fn event(dice: &mut Dice, id: u64) -> String {
    let key = ["\"a\"", "\"b/=\"", "\"\\u0061\"", "1", "null", "\"\""][usize::try_from(dice.below(6)).unwrap()];
    let value = ["1", "2.5", "\"text\"", "{\"x\":[1]}", "null"][usize::try_from(dice.below(5)).unwrap()];
    format!("{{\"id\":{id},\"k\":{key},\"v\":{value}}}")
}

/// Appends, works, crashes and starts again at random; at the end every acknowledged event is there once, and no other
/// twice.
async fn exactly_once(seed: u64, lost_answers: u32) {
    let house = House::new().await;
    let mut dice = Dice(seed);
    let mut spec = house.spec("clicks");
    spec.output.batch.json_key = Some(".k".parse().unwrap());
    spec.output.batch.rows = 1 + dice.below(6);
    registry::create(&house.objects, spec.clone()).await.unwrap();
    let mut process = Process::start(&house).await;
    let mut acknowledged: BTreeMap<u64, bool> = BTreeMap::new();
    let mut next = 0;
    house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
    for _ in 0..60 {
        match dice.below(5) {
            0 | 1 => {
                let ids: Vec<u64> = (next..next + 1 + dice.below(8)).collect();
                next += ids.len() as u64;
                let events: Vec<String> = ids.iter().map(|id| event(&mut dice, *id)).collect();
                let polls = usize::try_from(dice.below(20)).unwrap() * 3;
                let answer = crash_after(polls, process.append(&events.join("\n"))).await;
                acknowledged.extend(ids.into_iter().map(|id| (id, answer == Some(true))));
                if answer.is_none() {
                    process = restart(&house, lost_answers).await;
                }
            }
            2 => {
                let polls = usize::try_from(1 + dice.below(120)).unwrap();
                if crash_after(polls, process.work()).await.is_none() {
                    process = restart(&house, lost_answers).await;
                }
            }
            3 => {
                // Which events belong together changes with it: what is done is known by the key.
                let keys = [Some(".k"), Some(".v"), None];
                let key = keys[usize::try_from(dice.below(3)).unwrap()];
                spec.output.batch.json_key = key.map(|key| key.parse().unwrap());
                spec.output.batch.rows = 1 + dice.below(6);
                spec.output.prefix = format!("p{}", dice.below(3));
                let polls = usize::try_from(dice.below(20)).unwrap();
                if crash_after(polls, process.change(spec.clone())).await.is_none() {
                    process = restart(&house, lost_answers).await;
                }
            }
            _ => tokio::time::advance(Duration::from_secs(dice.below(12))).await,
        }
    }
    let mut process = restart(&house, 0).await;
    for _ in 0..100 {
        process.work().await;
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    assert_eq!(process.live.health(Timestamp::default())[0].lag_events, 0, "seed {seed}");
    process.work().await;
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for row in house.all_rows().await {
        *found.entry(row["id"].as_u64().unwrap()).or_default() += 1;
    }
    for (id, was_acknowledged) in &acknowledged {
        let times = found.remove(id).unwrap_or(0);
        let fine = times == 1 || (times == 0 && !was_acknowledged);
        assert!(fine, "seed {seed}: event {id}, acknowledged {was_acknowledged}, is there {times} times");
    }
    assert_eq!(found, BTreeMap::new(), "seed {seed}: events nobody sent");
    let health = &process.live.health(Timestamp::default())[0];
    assert_eq!(health.events_accepted, health.events_delivered, "seed {seed}");
    assert_eq!((house.count(RUNS).await, house.count(DONE).await), (0, 0), "seed {seed}: trimmed");
    check_claims(&house).await;
}

/// A new process on the same rows and bytes; it reads them undisturbed.
async fn restart(house: &House, lost_answers: u32) -> Process {
    house.engine.lost_answers.store(0, Ordering::SeqCst);
    let process = Process::start(house).await;
    house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
    process
}

/// Once everything is trimmed and swept, every blob left belongs to an object.
async fn check_claims(house: &House) {
    let schedule = cistern_objects::SweepSchedule::default();
    tokio::time::advance(Duration::from_hours(50)).await;
    let mut sweeper = house.objects.sweeper(schedule);
    tokio::time::advance(Duration::from_hours(50)).await;
    for _ in 0..200 {
        sweeper.work().await.unwrap();
    }
    let blobs = house.objects.blobs().list(None, 100_000).await.unwrap().len();
    assert_eq!(blobs, house.keys().await.len(), "one blob an object and no other");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_moment_neither_loses_nor_doubles_an_event() {
    for seed in 0..150 {
        exactly_once(seed, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_neither_loses_nor_doubles_an_event() {
    for seed in 1000..1100 {
        exactly_once(seed, 3).await;
    }
}

/// A producer numbers its bodies and sends each until it is acknowledged, and sometimes once more, over crashes and lost answers: every
/// event is there once.
async fn retried_until_acknowledged(seed: u64, lost_answers: u32) {
    let house = House::new().await;
    let mut dice = Dice(seed);
    let mut spec = house.spec("clicks");
    spec.output.batch.rows = 1 + dice.below(6);
    registry::create(&house.objects, spec).await.unwrap();
    let mut process = Process::start(&house).await;
    house.engine.lost_answers.store(lost_answers, Ordering::SeqCst);
    let start = i32::MAX - 5; // the numbers go round
    let mut sent: Vec<(Claim, String, Option<u64>)> = Vec::new();
    for number in 0..40_u64 {
        let body = event(&mut dice, number) + "\n" + &event(&mut dice, number + 1000);
        let first = start.wrapping_add(i32::try_from(number).unwrap()) & i32::MAX;
        let claim = Claim { producer: Producer::named("p"), epoch: 3, first, count: 1, digest: 0 };
        sent.push((claim, body, None));
        let again = sent.len() - 1 - usize::try_from(dice.below(5)).unwrap().min(sent.len() - 1);
        for index in [sent.len() - 1, again] {
            loop {
                let polls = usize::try_from(dice.below(25)).unwrap() * 3;
                let (claim, body, offset) = sent[index].clone();
                match crash_after(polls, process.append_claimed(&body, Some(claim))).await {
                    Some(Ok(appended)) => {
                        assert!(
                            offset.is_none_or(|offset| appended == Appended { first: offset, seen: true }),
                            "seed {seed}"
                        );
                        sent[index].2 = Some(appended.first);
                        break;
                    }
                    Some(Err(_)) => {}
                    None => process = restart(&house, lost_answers).await,
                }
            }
        }
        if dice.below(3) == 0 {
            process.work().await;
            tokio::time::advance(Duration::from_secs(dice.below(12))).await;
        }
    }
    let mut process = restart(&house, 0).await;
    for _ in 0..50 {
        process.work().await;
        tokio::time::advance(Duration::from_secs(11)).await;
    }
    let mut ids: Vec<u64> = house.all_rows().await.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..40).chain(1000..1040).collect::<Vec<u64>>(), "seed {seed}");
    // Days later nobody remembers the producer, and no row of it is left.
    assert!(house.count(PRODUCERS).await > 0, "seed {seed}");
    tokio::time::advance(Duration::from_hours(72)).await;
    process.work().await;
    assert_eq!(house.count(PRODUCERS).await, 0, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_until_it_is_acknowledged_is_there_once() {
    for seed in 0..60 {
        retried_until_acknowledged(seed, 0).await;
        retried_until_acknowledged(seed + 1000, 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_name_over_is_told_where_to_go_on_and_the_one_before_stores_nothing_more() {
    let house = House::new().await;
    registry::create(&house.objects, house.spec("clicks")).await.unwrap();
    let mut process = Process::start(&house).await;
    let (producer, live) = (Producer::socket("p"), Arc::clone(&process.live));
    let claim = |epoch, first| Some(Claim { producer, epoch, first, count: 1, digest: 0 });
    let (first_epoch, next) = claim::take_over(&house.objects, &live, producer).await.unwrap();
    assert_eq!(next, 0);
    for number in 0..3 {
        process.append_claimed("{}", claim(first_epoch, number)).await.unwrap();
    }
    let (second_epoch, next) = claim::take_over(&house.objects, &live, producer).await.unwrap();
    assert_eq!((second_epoch, next), (first_epoch + 1, 3));
    let error = process.append_claimed("{}", claim(first_epoch, 3)).await.unwrap_err();
    assert!(matches!(error, Error::FencedProducer { .. }), "{error}");
    assert!(process.append_claimed("{}", claim(second_epoch, 2)).await.unwrap().seen);
    assert!(!process.append_claimed("{}", claim(second_epoch, 3)).await.unwrap().seen);
    assert_eq!(process.live.health(Timestamp::default())[0].events_accepted, 4);
}

#[tokio::test(start_paused = true)]
async fn of_two_workers_the_later_one_delivers() {
    let house = House::new().await;
    registry::create(&house.objects, house.spec("clicks")).await.unwrap();
    let mut first = Process::start(&house).await;
    assert!(first.append(r#"{"id":1,"k":"a"}"#).await);
    first.work().await;
    let mut second = Process::start(&house).await;
    second.work().await;
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(matches!(first.worker.work().await, Ok(Work::More)), "it encodes");
    assert!(matches!(first.worker.work().await, Ok(Work::Finished)), "it loses");
    assert!(matches!(first.live.health(Timestamp::default())[0].state, PipelineState::Waiting { .. }));
    assert_eq!(house.keys().await, Vec::<String>::new());
    second.work().await;
    assert_eq!(house.all_rows().await, [json!({"id":1,"k":"a"})]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_log_is_an_error_and_not_a_gap() {
    let house = House::new().await;
    registry::create(&house.objects, house.spec("clicks")).await.unwrap();
    let mut process = Process::start(&house).await;
    for id in 0..3 {
        assert!(process.append(&format!("{{\"id\":{id}}}")).await);
    }
    let mut txn = house.objects.store().begin().await.unwrap();
    RUNS.delete(&mut txn, &(process.live.id(), 1));
    txn.commit().await.unwrap();
    // the process that wrote them has them in memory
    let mut process = Process::start(&house).await;
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.extend(process.worker.work().await.err().map(|error| error.to_string()));
    }
    assert!(errors[0].contains("log of pipeline clicks is damaged at offset 1"), "{errors:?}");
    let values: Vec<Value> = house.all_rows().await;
    assert_eq!(values, Vec::<Value>::new());
}
