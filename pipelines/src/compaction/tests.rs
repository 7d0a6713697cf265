//! What becomes one and what is left alone, and whoever comes between.

use super::*;
use crate::fixture::{House, Running, parquet_to_json, poll_some};
use crate::{DeleteMode, JsonCompression, ParquetSpec, PipelineSpec};
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use ::parquet::file::metadata::RowGroupMetaData;
use cistern_objects::{EncryptionKind, MasterKeys, ObjectLock, PutRequest, Retention, RetentionMode, Tags};
use cistern_types::{PipelineName, StorageClass};
use futures::stream;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

fn clicks() -> PipelineName {
    "clicks".parse().unwrap()
}

/// Sends each body and waits until it is in objects of its own.
async fn write(running: &Running, bodies: &[&str]) {
    for body in bodies {
        running.send("clicks", body).await;
        running.settle().await;
    }
}

/// Walks once along everything.
async fn walk(running: &Running, step: &CompactStep) -> Vec<Compacted> {
    let (mut step, mut done) = (step.clone(), Vec::new());
    loop {
        let answer = running.pipelines.compact(&clicks(), &step).await.unwrap();
        step.cursor.clone_from(&answer.cursor);
        done.push(answer);
        if step.cursor.is_none() {
            return done;
        }
        assert!(done.len() < 1_000, "it never ends");
    }
}

fn merged(done: &[Compacted]) -> Vec<&Merged> {
    done.iter().filter_map(|answer| answer.merged.as_ref()).collect()
}

fn reasons(done: &[Compacted]) -> Vec<&str> {
    done.iter().flat_map(|answer| &answer.left).map(|left| left.reason.as_str()).collect()
}

/// The offsets in the names of all objects.
async fn offsets(house: &House) -> Vec<(u64, u64)> {
    let offsets = |key: &String| {
        let file = key.rsplit('/').next()?.split('.').next()?;
        let mut parts = file.rsplit('-');
        let (last, first) = (parts.next()?, parts.next()?);
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    house.keys().await.iter().filter_map(offsets).collect()
}

fn parquet(change: impl FnOnce(&mut ParquetSpec)) -> OutputFormat {
    let mut settings = ParquetSpec::default();
    change(&mut settings);
    OutputFormat::Parquet(settings)
}

#[tokio::test(start_paused = true)]
async fn small_files_of_each_key_become_one_with_the_same_rows_in_order() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.batch.json_key = Some(".k".parse().unwrap());
    running.create(spec).await;
    let bodies = [
        r#"[{"k":"a","n":0},{"k":"b","n":1},{"k":"a","n":2}]"#,
        r#"[{"k":"b","n":3,"new":{"x":"y"}},{"k":"a","n":4}]"#,
        r#"[{"k":"a","n":5,"new":{"z":[1]}},{"k":"c","n":6},{"k":"a","n":"a dead letter"}]"#,
    ];
    write(&running, &bodies).await;
    let before = house.all_rows().await;
    let keys = house.keys().await;
    assert_eq!(keys.len(), 7);
    let dry = walk(&running, &CompactStep { dry_run: true, ..CompactStep::default() }).await;
    assert_eq!(house.keys().await, keys, "a dry run changes nothing");
    let done = walk(&running, &CompactStep::default()).await;
    let (done, dry) = (merged(&done), merged(&dry));
    assert_eq!(
        done.iter().map(|merged| (merged.sources.len(), merged.rows)).collect::<Vec<_>>(),
        [(3, Some(4)), (2, Some(2))]
    );
    for (done, dry) in done.iter().zip(dry) {
        assert!(done.bytes_after.is_some_and(|bytes| bytes < done.bytes_before));
        assert_eq!(Merged { bytes_after: None, ..Merged::clone(done) }, *dry);
    }
    assert_eq!(offsets(&house).await, [(5, 7), (0, 7), (1, 3), (6, 6)], "{:?}", house.keys().await);
    let key = done[0].key.to_string();
    let rows = [
        json!({"k":"a","n":0}),
        json!({"k":"a","n":2}),
        json!({"k":"a","n":4}),
        json!({"k":"a","n":5,"new":{"z":[1]}}),
    ];
    assert_eq!(house.rows(&key).await, rows);
    let sorted = |rows: Vec<Value>| {
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(house.all_rows().await), sorted(before));
    let file = ParquetRecordBatchReaderBuilder::try_new(house.body(&key).await).unwrap();
    let facts = crate::parquet::FileFacts { pipeline: "clicks", first_offset: 0, last_offset: 7 };
    assert!(facts.are_of(file.metadata().file_metadata()));

    assert!(merged(&walk(&running, &CompactStep::default()).await).is_empty(), "there is nothing left to merge");
    write(&running, &[r#"{"k":"a","n":8}"#]).await;
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!((merged(&done)[0].sources[0].to_string(), merged(&done)[0].rows), (key, Some(5)), "it is merged again");
    let health = running.pipelines.health_of(&clicks()).unwrap();
    assert_eq!((health.events_delivered, health.objects_written), (9, 8), "ingestion goes on counting as it did");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_are_written_as_the_pipeline_writes_now_sorted_over_all_of_them() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.format = parquet(|settings| settings.row_group_rows = 1_000);
    running.create(spec.clone()).await;
    let body = |batch: u64| {
        let event = |n: u64| {
            let id = batch * 4_000 + n;
            let text = format!("{:x}", u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            format!("{{\"id\":{id},\"k\":{},\"json\":{{\"text\":\"{text}\"}}}}\n", id * 7919 % 1_000)
        };
        (0..4_000).map(event).collect::<String>()
    };
    let bodies: Vec<String> = (0..3).map(body).collect();
    write(&running, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let ids = async || -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        for key in house.keys().await {
            rows.extend(house.rows(&key).await);
        }
        rows.iter().map(|row| (row["k"].as_u64().unwrap(), row["id"].as_u64().unwrap())).collect()
    };
    let before = ids().await;
    assert!(house.body(&house.keys().await[0]).await.len() as u64 > TAIL_BYTES, "they are read in several pieces");
    walk(&running, &CompactStep::default()).await;
    assert_eq!(house.keys().await.len(), 1);
    assert_eq!(ids().await, before, "rows stay in the order of their events");

    spec.output.format = parquet(|settings| {
        settings.sort_by = vec!["k".into()];
        settings.bloom_filters = vec!["id".into()];
        settings.row_group_rows = 5_000;
        settings.compression = crate::ParquetCompression::Snappy;
    });
    running.pipelines.update(spec, None, false).await.unwrap();
    write(&running, &[r#"{"id":12000,"k":3,"late":true}"#]).await;
    walk(&running, &CompactStep::default()).await;
    let keys = house.keys().await;
    assert_eq!(keys.len(), 1);
    let mut expected = before;
    expected.push((3, 12_000));
    expected.sort_unstable();
    assert_eq!(ids().await, expected);
    let file = ParquetRecordBatchReaderBuilder::try_new(house.body(&keys[0]).await).unwrap();
    let groups = file.metadata().row_groups();
    assert_eq!(groups.iter().map(RowGroupMetaData::num_rows).collect::<Vec<_>>(), [5_000, 5_000, 2_001]);
    assert_eq!(groups[0].sorting_columns().unwrap()[0].column_idx, 1);
    assert!(groups[2].column(0).bloom_filter_offset().is_some());
    assert_eq!(groups[0].column(0).compression(), ::parquet::basic::Compression::SNAPPY);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn numbers_widen_and_what_would_not_stay_as_it_is_parts_the_files() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    let bodies = [r#"{"id":0,"a":9007199254740993}"#, r#"{"id":1,"a":1}"#, r#"{"id":2,"a":2.5}"#, r#"{"id":3,"a":-4}"#];
    write(&running, &bodies).await;
    let done = walk(&running, &CompactStep::default()).await;
    // The first two are integers and become one; that cannot be of doubles.
    assert_eq!(merged(&done).iter().map(|merged| merged.sources.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(reasons(&done), ["column a: Float64 here, but Int64 in the files before"]);
    let rows = [
        json!({"id":0,"a":9_007_199_254_740_993_u64}),
        json!({"id":1,"a":1}),
        json!({"id":2,"a":2.5}),
        json!({"id":3,"a":-4.0}),
    ];
    assert_eq!(house.all_rows().await, rows);
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!((merged(&done).len(), reasons(&done).len()), (0, 1));
    // Without the large one all go together.
    let first = house.keys().await[0].parse().unwrap();
    house.objects.delete(&house.bucket, &first).await.unwrap();
    write(&running, &[r#"{"id":4,"b":[{"c":1}]}"#, r#"{"id":5,"b":[{"c":18446744073709551615}]}"#]).await;
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!((merged(&done)[0].sources.len(), reasons(&done)), (3, vec![]));
    let rows = [
        json!({"id":2,"a":2.5}),
        json!({"id":3,"a":-4.0}),
        json!({"id":4,"b":[{"c":1}]}),
        json!({"id":5,"b":[{"c":u64::MAX}]}),
    ];
    assert_eq!(house.all_rows().await, rows);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn declared_columns_of_json_stay_marked_as_such() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    let fields = json!({ "fields": [
        { "name": "id", "type": "int64", "required": true }, { "name": "j", "type": "json" },
        { "name": "t", "type": "timestamp", "unit": "microsecond" }, { "name": "d", "type": "decimal128", "precision": 20, "scale": 2 },
    ]});
    spec.output.schema = Some(serde_json::from_value(fields).unwrap());
    running.create(spec).await;
    write(&running, &[r#"{"id":1,"j":{"a":[1]},"t":"2026-01-01T00:00:00Z","d":"1.25"}"#, r#"{"id":2,"more":true}"#])
        .await;
    let schema = async |key: &str| {
        let file = ParquetRecordBatchReaderBuilder::try_new(house.body(key).await).unwrap();
        (file.schema().fields().clone(), file.parquet_schema().root_schema().clone())
    };
    let before = schema(&house.keys().await[0]).await;
    walk(&running, &CompactStep::default()).await;
    assert_eq!(house.keys().await.len(), 1);
    assert_eq!(schema(&house.keys().await[0]).await, before);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_of_lines_become_one_in_every_compression() {
    for (compression, content_type) in [
        (JsonCompression::None, "application/x-ndjson"),
        (JsonCompression::Gzip, "application/gzip"),
        (JsonCompression::Zstd, "application/zstd"),
    ] {
        let house = House::new().await;
        let running = house.open().await;
        let mut spec = house.spec("clicks");
        spec.output.format = OutputFormat::JsonLines { compression };
        running.create(spec).await;
        write(&running, &[r#"{"a": 1}"#, r#"[{"a":"x"},{"b":2}]"#]).await;
        let dry = walk(&running, &CompactStep { dry_run: true, ..CompactStep::default() }).await;
        assert_eq!(merged(&dry)[0].rows, None);
        let done = walk(&running, &CompactStep::default()).await;
        assert_eq!((merged(&done)[0].rows, merged(&done)[0].sources.len()), (Some(3), 2));
        let keys = house.keys().await;
        let packed = house.body(&keys[0]).await;
        let mut text = String::new();
        match compression {
            JsonCompression::None => text.push_str(std::str::from_utf8(&packed).unwrap()),
            // One member: not every reader goes on behind the first.
            JsonCompression::Gzip => {
                std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text)
                    .map(drop)
                    .unwrap();
            }
            JsonCompression::Zstd => text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap(),
        }
        assert_eq!(text, "{\"a\": 1}\n{\"a\":\"x\"}\n{\"b\":2}\n");
        let record = house.objects.head(&house.bucket, &keys[0].parse().unwrap()).await.unwrap();
        assert_eq!((keys.len(), record.headers.content_type.as_deref()), (1, Some(content_type)));
        running.stop().await;
    }
}

async fn put(house: &House, key: &ObjectKey, content_type: Option<&str>, body: Bytes) {
    let mut request = PutRequest::new(house.bucket.clone(), key.clone());
    request.headers.content_type = content_type.map(ToOwned::to_owned);
    house.objects.put(request, stream::iter([Ok(body)])).await.unwrap();
}

const PARQUET: Option<&str> = Some("application/vnd.apache.parquet");

#[tokio::test(start_paused = true)]
async fn only_what_the_pipeline_wrote_is_merged_and_what_was_added_to_since_is_left_alone() {
    let house = House::new().await;
    let running = house.open().await;
    running.create(house.spec("clicks")).await;
    write(&running, &[r#"{"a":0}"#, r#"{"a":1}"#]).await;
    running.pipelines.delete(&clicks(), DeleteMode::Drain).await.unwrap();
    running.until("gone", |pipelines| pipelines.list().is_empty()).await;
    running.create(house.spec("clicks")).await;
    let old = house.keys().await;
    let bodies: Vec<String> = (0..9).map(|n| format!("{{\"a\":{n}}}")).collect();
    write(&running, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let own = |keys: Vec<String>| -> Vec<ObjectKey> {
        keys.into_iter().filter(|key| !old.contains(key)).map(|key| key.parse().unwrap()).collect()
    };
    let keys = own(house.keys().await);
    // Between them: tagged, of somebody else in three ways, and a name that only looks like one.
    let tags = Tags::new(vec![("keep".into(), "yes".into())], 10).unwrap();
    house.objects.set_tags(&house.bucket, &keys[2], None, tags).await.unwrap();
    put(&house, &keys[4], PARQUET, house.body(keys[5].as_str()).await).await; // says other offsets
    put(&house, &keys[6], Some("text/plain"), house.body(keys[6].as_str()).await).await;
    put(&house, &keys[8], PARQUET, Bytes::from_static(b"PAR1 and no more")).await;
    put(&house, &format!("{}.bak", keys[1]).parse().unwrap(), PARQUET, Bytes::from_static(b"x")).await;
    put(&house, &keys[0].as_str().replace(".parquet", "x").parse().unwrap(), PARQUET, Bytes::from_static(b"x")).await;
    let before = house.keys().await;
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!(merged(&done).iter().map(|merged| &merged.sources[..]).collect::<Vec<_>>(), [&keys[0..2]]);
    let foreign = "it is not what the pipeline wrote under this name";
    let expected = [
        "it has tags or an access list of its own",
        foreign,
        "it is of another format than the pipeline writes now",
        foreign,
    ];
    assert_eq!(reasons(&done), expected);
    let gone: Vec<String> = keys[0..2].iter().map(ToString::to_string).collect();
    let expected: Vec<String> = before.into_iter().filter(|key| !gone.contains(key)).collect();
    let found: Vec<String> =
        house.keys().await.into_iter().filter(|key| *key != merged(&done)[0].key.to_string()).collect();
    assert_eq!(found, expected, "nothing else was touched");
    assert!(old.iter().all(|key| found.contains(key)), "nor what the pipeline wrote in another life");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn files_that_are_large_enough_part_those_around_them() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.format = OutputFormat::JsonLines { compression: JsonCompression::None };
    running.create(spec).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(600_000));
    let larger = [large.as_str(), large.as_str()].join("\n");
    write(&running, &[r#"{"a":0}"#, r#"{"a":1}"#, &larger, r#"{"a":2}"#, &large, &large, r#"{"a":3}"#]).await;
    let step = CompactStep { target_size: ByteSize::bytes(1_000_000), ..CompactStep::default() };
    walk(&running, &step).await;
    assert_eq!(offsets(&house).await, [(0, 1), (2, 3), (4, 5), (6, 7)]);
    let done = walk(&running, &step).await;
    assert!(merged(&done).is_empty());
    for size in [999_999, 1_000_000_001] {
        let step = CompactStep { target_size: ByteSize::bytes(size), ..CompactStep::default() };
        let refused = running.pipelines.compact(&clicks(), &step).await.unwrap_err();
        assert!(refused.to_string().ends_with(": use 1MB to 1GB"), "{refused}");
    }
    let refused = running.pipelines.compact(&"other".parse().unwrap(), &step).await.unwrap_err();
    assert!(matches!(refused, Error::NoSuchPipeline { .. }), "{refused}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_files_become_one_in_two_walks_and_prefixes_part_the_work() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.format = OutputFormat::JsonLines { compression: JsonCompression::None };
    running.create(spec).await;
    let mark = &running.pipelines.get(&clicks()).unwrap().id.to_string()[..8];
    for folder in ["clicks/x/", "clicks/y/"] {
        for n in 0..450 {
            let key = format!("{folder}clicks-{mark}-{n:020}-{n:020}.json");
            put(&house, &key.parse().unwrap(), Some("application/x-ndjson"), format!("{{\"n\":{n}}}\n").into()).await;
        }
    }
    let step = CompactStep { prefix: Some("clicks/y".into()), ..CompactStep::default() };
    let done = walk(&running, &step).await;
    let groups: Vec<_> = merged(&done).iter().map(|merged| (merged.sources.len(), merged.is_full)).collect();
    assert_eq!(groups, [(200, true), (200, true), (50, false)]);
    let done = walk(&running, &step).await;
    assert_eq!(merged(&done).iter().map(|merged| merged.sources.len()).collect::<Vec<_>>(), [3]);
    assert_eq!(house.keys().await.len(), 451);
    let key = merged(&done)[0].key.to_string();
    assert_eq!(house.rows(&key).await, (0..450).map(|n| json!({ "n": n })).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_turns_out_to_be_damaged_is_gone_around() {
    let house = House::new().await;
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.format = OutputFormat::JsonLines { compression: JsonCompression::Gzip };
    running.create(spec).await;
    write(&running, &[r#"{"a":0}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, r#"{"a":4}"#]).await;
    let keys = house.keys().await;
    let whole = house.body(&keys[2]).await;
    put(&house, &keys[2].parse().unwrap(), Some("application/gzip"), whole.slice(..whole.len() - 5)).await;
    let blobs = async || house.objects.blobs().list(None, 10_000).await.unwrap().len();
    let before = blobs().await;
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!(blobs().await, before + 2, "what was written in vain is thrown away");
    assert_eq!(offsets(&house).await, [(0, 1), (2, 2), (3, 4)]);
    let left: Vec<String> = done.iter().flat_map(|answer| &answer.left).map(|left| left.key.to_string()).collect();
    assert_eq!(left, [keys[2].clone()]);
    assert!(reasons(&done)[0].starts_with("it cannot be unpacked: "), "{:?}", reasons(&done));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn buckets_that_encrypt_and_keep_versions_do_so_for_merged_files_too() {
    let mut house = House::new().await;
    house.objects = house.objects.clone().with_master_keys(MasterKeys::generate());
    house.objects.set_default_encryption(&house.bucket, true).await.unwrap();
    house.objects.set_versioning(&house.bucket, true).await.unwrap();
    house.objects.set_object_lock(&house.bucket, ObjectLock::default()).await.unwrap();
    let running = house.open().await;
    let mut spec = house.spec("clicks");
    spec.output.class = StorageClass::InfrequentAccess;
    running.create(spec).await;
    write(&running, &[r#"{"a":0}"#, r#"{"a":1}"#, r#"{"a":2}"#]).await;
    let keys: Vec<ObjectKey> = house.keys().await.iter().map(|key| key.parse().unwrap()).collect();
    let until = house.clock.now().plus(Duration::from_hours(1));
    let retention = Some(Retention { mode: RetentionMode::Compliance, until });
    house.objects.set_retention(&house.bucket, &keys[0], None, retention, false).await.unwrap();
    let done = walk(&running, &CompactStep::default()).await;
    assert_eq!((merged(&done)[0].sources.len(), reasons(&done)), (2, vec!["it is locked"]));
    tokio::time::advance(Duration::from_hours(2)).await;
    let version = house.objects.head(&house.bucket, &keys[0]).await.unwrap().shown_version;
    let done = walk(&running, &CompactStep::default()).await;
    let key = merged(&done)[0].key.clone();
    let record = house.objects.head(&house.bucket, &key).await.unwrap();
    assert_eq!((record.encryption(), record.class), (Some(EncryptionKind::Managed), StorageClass::InfrequentAccess));
    assert_eq!(house.all_rows().await, [json!({"a":0}), json!({"a":1}), json!({"a":2})]);
    let none = cistern_objects::Conditions::default();
    let kept = house.objects.get_if(&house.bucket, &keys[0], version, None, &none, None).await.unwrap();
    let kept: Vec<Bytes> = futures::TryStreamExt::try_collect(kept.body).await.unwrap();
    assert_eq!(parquet_to_json(kept.concat().into()), b"{\"a\":0}\n", "the version is there under its delete marker");
    running.stop().await;
}

/// Whoever comes between two moments of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Other {
    Deletes,
    Overwrites,
    Tags,
    SendsEvents,
    Updates,
    DeletesPipeline,
    Compacts,
    Crashes,
}

impl Other {
    async fn come(self, house: &House, running: &Running, spec: &PipelineSpec, key: &str) {
        let object: ObjectKey = key.parse().unwrap();
        match self {
            Self::Deletes => drop(house.objects.delete(&house.bucket, &object).await.unwrap()),
            Self::Overwrites => put(house, &object, Some("text/plain"), Bytes::from_static(b"mine")).await,
            Self::Tags => {
                let tags = Tags::new(vec![("keep".into(), "yes".into())], 10).unwrap();
                drop(house.objects.set_tags(&house.bucket, &object, None, tags).await); // it may be gone
            }
            Self::SendsEvents => {
                running.send("clicks", r#"{"a":3}"#).await;
                running.settle().await;
            }
            Self::Updates => {
                let mut spec = spec.clone();
                spec.output.prefix = "elsewhere".into();
                running.pipelines.update(spec, None, false).await.unwrap();
            }
            Self::DeletesPipeline => running.pipelines.delete(&clicks(), DeleteMode::Discard).await.unwrap(),
            Self::Compacts => {
                // As another process would: the turns of this one do not hold it up.
                let other = house.open().await;
                walk(&other, &CompactStep::default()).await;
                other.stop().await;
            }
            Self::Crashes => {}
        }
    }

    /// The rows that must be there afterwards, each once.
    fn rows(self, merged_before: bool) -> Vec<i64> {
        match self {
            Self::SendsEvents => vec![0, 1, 2, 3],
            Self::Deletes | Self::Overwrites if !merged_before => vec![0, 2],
            _ => vec![0, 1, 2],
        }
    }
}

/// Has somebody come at one moment of a step after the other; answers why files were left alone.
async fn come_at_every_moment(other: Other) -> BTreeSet<String> {
    use Other::{Crashes, DeletesPipeline, Overwrites, SendsEvents, Updates};
    let (mut polls, mut ended, mut kept_apart, mut said) = (0, false, 0, BTreeSet::new());
    while !ended {
        let house = House::new().await;
        let running = house.open().await;
        let spec = house.spec("clicks");
        running.create(spec.clone()).await;
        write(&running, &[r#"{"a":0}"#, r#"{"a":1}"#, r#"{"a":2}"#]).await;
        let keys = house.keys().await;
        let step = CompactStep::default();
        let name = clicks();
        let (answer, was_merged) = {
            let mut compact = pin!(running.pipelines.compact(&name, &step));
            let early = poll_some(polls, compact.as_mut()).await;
            ended = early.is_some();
            let was_merged = !house.keys().await.contains(&keys[1]);
            other.come(&house, &running, &spec, &keys[1]).await;
            let answer = match early {
                Some(answer) => Some(answer),
                None if other == Crashes => None,
                None => Some(compact.await),
            };
            let mut found: Vec<i64> = Vec::new();
            for key in house.keys().await.iter().filter(|key| **key != keys[1] || other != Overwrites) {
                found.extend(house.rows(key).await.iter().map(|row| row["a"].as_i64().unwrap()));
            }
            found.sort_unstable();
            assert_eq!(found, other.rows(was_merged), "{other:?} after {polls} polls: {answer:?}");
            (answer, was_merged)
        };
        let merged = match &answer {
            None => house.keys().await.len() == 1,
            Some(Ok(done)) => {
                said.extend(done.left.iter().map(|left| left.reason.clone()));
                done.merged.is_some()
            }
            Some(Err(error)) => {
                assert!(other == DeletesPipeline && matches!(error, Error::NoSuchPipeline { .. }), "{error}");
                false
            }
        };
        if matches!(other, Updates | DeletesPipeline) {
            assert_eq!(merged, was_merged, "{other:?} after {polls} polls: nothing is merged any more");
        }
        kept_apart += u32::from(!merged);
        polls += 1;
        running.stop().await;
    }
    assert!(polls > 10, "{other:?} came at too few moments");
    assert_eq!(kept_apart == 0, other == SendsEvents, "{other:?}: {kept_apart} of {polls}");
    said
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_between_at_any_moment_neither_loses_nor_doubles_a_row() {
    use Other::{Compacts, Crashes, Deletes, DeletesPipeline, Overwrites, SendsEvents, Tags, Updates};
    for other in [Deletes, Overwrites, Tags, SendsEvents, Updates, DeletesPipeline, Compacts, Crashes] {
        let expected = match other {
            Deletes | Overwrites | Tags | Compacts => {
                Some("it, or one that would be merged with it, was changed or deleted meanwhile")
            }
            Updates => Some("the pipeline was changed meanwhile"),
            SendsEvents | DeletesPipeline | Crashes => None,
        };
        // Other threads take part, so the moment before the commit may be missed at times.
        let mut tries = 0;
        loop {
            let said = come_at_every_moment(other).await;
            if expected.is_none_or(|reason| said.contains(reason)) {
                break;
            }
            tries += 1;
            assert!(tries < 20, "{other:?} never came just before the commit");
        }
    }
}
