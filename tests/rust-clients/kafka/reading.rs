//! A reader without a group: what is in the log and not yet in objects, by offset, as `kcat -C` reads it.

use super::{BUCKET, LIMIT, with_key, with_token};
use crate::sandbox::server_with_bucket;
use cistern_tests::{Pipeline, Server, wait};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

const EVENTS: usize = 3000;
const SHARDS: i32 = 3;

/// Events by partition and offset.
type Placed = BTreeMap<(i32, i64), String>;

/// A reader with the root key. librdkafka wants a group's name all the same, and says once that there are no groups.
fn reader(server: &Server) -> BaseConsumer {
    let mut settings = with_key(server);
    settings.set("group.id", "unused").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    settings.set("enable.partition.eof", "true").create().unwrap()
}

async fn produce(server: &Server, pipeline: &Pipeline) -> Placed {
    let producer: FutureProducer = with_token(server, pipeline).set("linger.ms", "5").create().unwrap();
    let mut placed = Placed::new();
    let events: Vec<_> = (0..EVENTS).map(|n| format!("{{\"n\":{n},\"text\":\"ünï 😀\"}}")).collect();
    let keys: Vec<_> = (0..EVENTS).map(|n| format!("key {}", n % 100)).collect();
    let record = |n: usize| FutureRecord::to(&pipeline.name).payload(&events[n]).key(&keys[n]);
    let queued: Vec<_> =
        (0..EVENTS).map(|n| producer.send_result(record(n)).map_err(|(error, _)| error).unwrap()).collect();
    for (report, event) in queued.into_iter().zip(&events) {
        let place = report.await.unwrap().map_err(|(error, _)| error).unwrap();
        assert!(placed.insert((place.partition, place.offset), event.clone()).is_none(), "two events at {place:?}");
    }
    placed
}

/// Reads from these offsets on to the end of every partition.
fn read(reader: &BaseConsumer, from: &TopicPartitionList) -> Vec<(i32, i64, String)> {
    reader.assign(from).unwrap();
    let (mut found, mut ended) = (Vec::new(), 0);
    let end = wait::now() + LIMIT;
    while ended < from.count() {
        assert!(wait::now() < end, "{} events after {} s", found.len(), LIMIT.as_secs());
        match reader.poll(Duration::from_millis(200)) {
            None | Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed))) => {}
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            Some(Ok(message)) => {
                let event = message.payload_view::<str>().unwrap().unwrap().to_owned();
                found.push((message.partition(), message.offset(), event));
            }
        }
    }
    found
}

fn partitions(pipeline: &Pipeline, offset: impl Fn(i32) -> Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for shard in 0..SHARDS {
        list.add_partition_offset(&pipeline.name, shard, offset(shard)).unwrap();
    }
    list
}

#[tokio::test]
async fn a_reader_gets_every_event_where_its_report_said_and_goes_on_from_any_offset() {
    let (_sandbox, server, _s3) = server_with_bucket(BUCKET);
    let flags = ["--batch-timeout-secs=3600", "--destination-bucket=lake", "--shard-count=3"];
    let pipeline = Pipeline::create(&server, "recent", &flags).unwrap();
    let placed = produce(&server, &pipeline).await;
    let reader = reader(&server);

    let found = read(&reader, &partitions(&pipeline, |_| Offset::Beginning));
    for shard in 0..SHARDS {
        let offsets: Vec<i64> =
            found.iter().filter(|(partition, ..)| *partition == shard).map(|event| event.1).collect();
        assert!(!offsets.is_empty() && offsets.is_sorted_by(|one, next| one < next), "partition {shard}");
        let (low, high) = reader.fetch_watermarks(&pipeline.name, shard, LIMIT).unwrap();
        assert!(low <= offsets[0] && high > *offsets.last().unwrap(), "{low}..{high}");
    }
    let found: Placed = found.into_iter().map(|(partition, offset, event)| ((partition, offset), event)).collect();
    assert_eq!(found, placed);

    let middle =
        |shard| placed.keys().filter(|(partition, _)| *partition == shard).nth(300).map(|(_, offset)| *offset).unwrap();
    let found = read(&reader, &partitions(&pipeline, |shard| Offset::Offset(middle(shard))));
    let found: Placed = found.into_iter().map(|(partition, offset, event)| ((partition, offset), event)).collect();
    let mut behind = placed.clone();
    behind.retain(|(partition, offset), _| *offset >= middle(*partition));
    assert_eq!(found, behind);

    let times = partitions(&pipeline, |_| Offset::Offset(0));
    let told = reader.offsets_for_times(times, LIMIT).unwrap();
    for place in told.elements() {
        place.error().unwrap();
        assert!(matches!(place.offset(), Offset::Offset(_)), "{place:?}");
    }
    assert!(read(&reader, &partitions(&pipeline, |_| Offset::End)).is_empty());
}
