//! What the layers above ask for: changing a pipeline while events come, and keeping what was delivered.

use super::*;
use crate::fixture::House;
use crate::rows::RUNS;
use crate::{OutputFormat, PipelineState};
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_pipeline_can_be_changed_while_events_come_and_each_is_written_as_asked_when_it_came() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.batch.timeout = Duration::from_hours(1);
    running.create(spec.clone()).await;
    running.send("clicks", r#"[{"a":1},{"a":2}]"#).await;
    spec.output.prefix = "new".into();
    spec.output.format = OutputFormat::from_names("json", Some("none")).unwrap();
    spec.stream.auth = crate::IngestAuth::Token;
    let changed = running.pipelines.update(spec.clone(), Some(1), false).await.unwrap();
    assert_eq!((changed.record.spec.clone(), changed.record.version), (spec.clone(), 2));
    let token = changed.send_token.unwrap();
    running.until("the old batch", |pipelines| pipelines.health()[0].lag_events == 0).await;
    let keys = house.keys().await;
    assert!(keys.len() == 1 && keys[0].starts_with("clicks/") && keys[0].ends_with(".parquet"), "{keys:?}");
    assert_eq!(running.pipelines.get(&spec.name).unwrap(), changed.record);

    let refused = running.pipelines.update(spec.clone(), Some(1), false).await.unwrap_err();
    assert!(matches!(refused, Error::ChangedMeanwhile { .. }), "{refused}");
    spec.stream.shards = 3;
    let changed = running.pipelines.update(spec.clone(), None, true).await.unwrap();
    assert!(changed.send_token.is_some_and(|new| new != token), "a new token");
    spec.stream.shards = 2;
    let refused = running.pipelines.update(spec.clone(), None, false).await.unwrap_err();
    assert!(refused.to_string().contains("shards 2: there may be more of them later, but not fewer"), "{refused}");
    spec.stream.shards = 3;
    spec.stream.auth = crate::IngestAuth::None;
    spec.output.batch.timeout = Duration::from_secs(5);
    running.pipelines.update(spec.clone(), None, false).await.unwrap();
    running.send("clicks", r#"[{"a":3}]"#).await;
    running.settle().await;
    let keys = house.keys().await;
    let new: Vec<&String> =
        keys.iter().filter(|key| key.starts_with("new/clicks/") && !key.contains(".parquet")).collect();
    assert_eq!((keys.len(), new.len()), (2, 1), "{keys:?}");
    let other = PipelineSpec { name: "other".parse().unwrap(), ..spec };
    assert!(matches!(running.pipelines.update(other, None, false).await, Err(Error::NoSuchPipeline { .. })));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn settings_name_columns_that_there_will_be_where_that_is_known() {
    let house = House::new().await;
    let running = house.open().await;
    let fields = json!([
        { "name": "id", "type": "int64" },
        { "name": "user", "type": "struct", "fields": [{ "name": "name", "type": "string" }] },
        { "name": "tags", "type": "list", "items": { "type": "string" } },
    ]);
    let schema: crate::DeclaredSchema = serde_json::from_value(json!({ "fields": fields })).unwrap();
    let sql = "SELECT id AS number, user FROM stream";
    for (name, schema, sql, sort_by, bloom, fits) in [
        ("inferred", None, None, "whatever", "comes", true),
        ("declared", Some(&schema), None, "user.name", "tags.list.item", true),
        ("rest", Some(&schema), None, "id", "_rest", true),
        ("unknown", Some(&schema), None, "idd", "id", false),
        ("list", Some(&schema), None, "tags.list.item", "id", false),
        ("struct", Some(&schema), None, "id", "user", false),
        ("selected", Some(&schema), Some(sql), "number", "user.name", true),
        ("left", Some(&schema), Some(sql), "number", "id", false),
    ] {
        let mut spec = house.spec(name);
        (spec.output.schema, spec.output.sql) = (schema.cloned(), sql.map(Into::into));
        let OutputFormat::Parquet(settings) = &mut spec.output.format else { panic!("Parquet is the default") };
        (settings.sort_by, settings.bloom_filters) = (vec![sort_by.into()], vec![bloom.into()]);
        let made = running.pipelines.create(spec).await;
        assert_eq!(made.is_ok(), fits, "{name}: {:?}", made.err());
        if let Err(error) = made {
            assert!(error.to_string().contains("name a column"), "{error}");
        }
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn events_that_wait_for_a_bucket_that_is_gone_go_where_the_pipeline_is_sent() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    running.create(spec.clone()).await;
    running.send("clicks", r#"[{"a":1}]"#).await;
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    running.until("it waits", |pipelines| matches!(pipelines.health()[0].state, PipelineState::Waiting { .. })).await;
    let house = house.with_bucket("elsewhere").await;
    spec.output.bucket = house.bucket.clone();
    running.pipelines.update(spec, None, false).await.unwrap();
    running.send("clicks", r#"[{"a":2}]"#).await;
    running.settle().await;
    assert_eq!(house.all_rows().await, [json!({"a":1}), json!({"a":2})]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn delivered_events_stay_in_the_log_as_long_as_asked() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.retention = Duration::from_hours(1);
    running.create(spec).await;
    running.send("clicks", r#"[{"a":1}]"#).await;
    running.settle().await;
    tokio::time::sleep(Duration::from_mins(58)).await;
    assert_eq!(house.count(RUNS).await, 1, "delivered and kept");
    tokio::time::sleep(Duration::from_mins(3)).await;
    assert_eq!(house.count(RUNS).await, 0, "old enough");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn senders_are_told_to_come_back_while_as_much_waits_as_may() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.backlog_max = Some(cistern_types::ByteSize::bytes(10_000_000));
    spec.output.batch.timeout = Duration::from_hours(1);
    running.create(spec.clone()).await;
    let body = format!("{{\"a\":\"{}\"}}\n", "x".repeat(900_000)).repeat(5);
    running.send("clicks", &body).await;
    running.send("clicks", &body).await;
    assert_eq!(running.post("clicks", &body).await.status(), 429);
    assert_eq!(running.pipelines.health()[0].events_accepted, 10, "what is refused is not taken");
    spec.output.batch.timeout = Duration::from_secs(1);
    running.pipelines.update(spec, None, false).await.unwrap();
    running.settle().await;
    running.send("clicks", &body).await;
    running.stop().await;
}

async fn shown(tail: &mut Tail) -> Vec<String> {
    let lines = tail.next().await.unwrap().map(|lines| String::from_utf8(lines.to_vec()).unwrap());
    lines.unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tail_shows_what_is_in_the_log_and_what_comes() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.retention = Duration::from_mins(5);
    running.create(spec.clone()).await;
    running.send("clicks", r#"[{"a":1},{"a":2}]"#).await;
    running.send("clicks", r#"[{"a":3}]"#).await;
    let tail = |from, follow| running.pipelines.tail(&spec.name, from, follow).unwrap();
    let mut all = tail(TailFrom::Oldest, false);
    let first = shown(&mut all).await;
    assert_eq!(first.len(), 2);
    assert!(
        first[0].starts_with(r#"{"offset":0,"at":"20"#) && first[0].ends_with(r#"Z","event":{"a":1}}"#),
        "{first:?}"
    );
    assert_eq!(shown(&mut all).await.len(), 1);
    assert_eq!(all.next().await.unwrap(), None, "the end of the log");
    let second = shown(&mut tail(TailFrom::Offset(1), false)).await;
    assert!(second.len() == 1 && second[0].ends_with(r#""event":{"a":2}}"#), "{second:?}");
    let mut coming = tail(TailFrom::Newest, true);
    running.send("clicks", r#"[{"a":4}]"#).await;
    let fourth = shown(&mut coming).await;
    assert!(fourth.len() == 1 && fourth[0].ends_with(r#""event":{"a":4}}"#), "{fourth:?}");

    // Trimmed meanwhile: what is missing is said.
    let mut late = tail(TailFrom::Offset(0), true);
    running.settle().await;
    tokio::time::sleep(Duration::from_mins(6)).await;
    running.send("clicks", r#"[{"a":5}]"#).await;
    let lines = shown(&mut late).await;
    assert_eq!(lines[0], r#"{"skipped":4}"#);
    assert!(lines[1].starts_with(r#"{"offset":4,"#), "{lines:?}");
    let waiting = late.next();
    running.pipelines.delete(&spec.name, DeleteMode::Discard).await.unwrap();
    assert_eq!(waiting.await.unwrap(), None, "the pipeline is gone");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_replayed_once_what_kept_them_out_is_mended() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    let schema =
        |kind: &str| Some(serde_json::from_value(json!({ "fields": [{ "name": "a", "type": kind }] })).unwrap());
    spec.output.schema = schema("int64");
    running.create(spec.clone()).await;
    running.send("clicks", r#"[{"a":1},{"a":"two"},{"a":"three"}]"#).await;
    running.settle().await;
    let key = house.keys().await.into_iter().find(|key| key.contains("dead-letters")).unwrap();
    let replay = Replay::DeadLetters { key: key.parse().unwrap() };
    spec.output.schema = schema("json");
    running.pipelines.update(spec.clone(), None, false).await.unwrap();
    let first = running.pipelines.replay(&spec.name, &replay).await.unwrap();
    assert_eq!(first, Replayed { events: 2, seen: 0, not_events: 0 });
    let again = running.pipelines.replay(&spec.name, &replay).await.unwrap();
    assert_eq!(again, Replayed { events: 0, seen: 2, not_events: 0 }, "the same replay again adds nothing");
    running.settle().await;
    let letters = running.pipelines.health()[0].dead_letters;
    assert_eq!((letters, running.pipelines.health()[0].events_delivered), (2, 5));

    let odd = house.keys().await.into_iter().find(|key| key.ends_with(".parquet")).unwrap();
    let odd = Replay::DeadLetters { key: odd.parse().unwrap() };
    let refused = running.pipelines.replay(&spec.name, &odd).await.unwrap_err();
    assert!(refused.to_string().contains("is no dead letter"), "{refused}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_range_of_the_log_is_replayed_and_what_is_not_there_is_refused() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.stream.retention = Duration::from_mins(30);
    running.create(spec.clone()).await;
    running.send("clicks", r#"[{"a":0},{"a":1},{"a":2}]"#).await;
    running.send("clicks", r#"[{"a":3},{"a":4}]"#).await;
    running.settle().await;
    let replay = async |from, to| running.pipelines.replay(&spec.name, &Replay::Offsets { from, to }).await;
    assert_eq!(replay(1, 4).await.unwrap(), Replayed { events: 3, seen: 0, not_events: 0 });
    running.settle().await;
    let mut rows: Vec<i64> = house.all_rows().await.iter().map(|row| row["a"].as_i64().unwrap()).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 1, 2, 2, 3, 3, 4]);
    for (from, to) in [(4, 4), (4, 3), (0, 9)] {
        let refused = replay(from, to).await.unwrap_err().to_string();
        assert!(refused.contains("is no range of offsets in the log"), "{refused}");
    }
    tokio::time::sleep(Duration::from_mins(40)).await;
    let refused = replay(0, 3).await.unwrap_err().to_string();
    assert!(refused.contains("no range") || refused.contains("no longer in the log"), "{refused}");
    running.stop().await;
}
