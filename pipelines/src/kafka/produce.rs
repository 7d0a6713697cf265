//! Produce: record batches become events in the log. Each record is an event, a JSON object; one that is none becomes a dead
//! letter with the reason, so that it costs no other record of its batch. Keys, headers and timestamps of records are not kept.
//!
//! `acks=1` means as much as `all`: there is no success before the events are durable. After `acks=0` nothing is answered, and
//! an error ends the connection.

use super::connection::{Answer, Context, Reply, Writer};
use super::errors::Refusal;
use super::record_batch::{Codec, RecordBatch, batches};
use super::session::Session;
use crate::PipelinesConfig;
use crate::claim::{Claim, Producer};
use crate::event_log::{Append, Appended, Pending, Room};
use crate::live::Live;
use crate::validate::{Sifter, ValidEvents};
use bytes::Bytes;
use cistern_runtime::offload;
use cistern_types::PipelineName;
use futures::FutureExt as _;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

/// The first version with a place for a text.
const WITH_TEXT: i16 = 8;

/// Batches up to this size are taken apart in place: it takes less than the hop to another thread.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// How long a batch waits for room to be unpacked in before its producer is told to come back.
const ROOM_WAIT: Duration = Duration::from_secs(10);

type Outcome = Result<Pending, Refusal>;

/// Queues the events of a request for the log; the answer comes when they are durable.
pub(super) async fn produce(
    context: &Context,
    session: &Session,
    request: ProduceRequest,
    write: Writer,
    room: Room,
) -> Answer {
    let acks = request.acks;
    let refused = match acks {
        _ if request.transactional_id.is_some() => Some(ResponseError::TransactionalIdAuthorizationFailed),
        -1..=1 => None,
        _ => Some(ResponseError::InvalidRequiredAcks),
    };
    let mut room = room;
    let mut topics: Vec<(TopicName, Vec<(i32, Outcome)>)> = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let outcome = match refused {
                Some(error) => Err(error.into()),
                None => begin(context, session, &topic.name, data, &mut room).await,
            };
            partitions.push((index, outcome));
        }
        topics.push((copied(&topic.name), partitions));
    }
    finish(topics, acks, write).boxed()
}

/// The name apart from its frame, which would stay as long.
pub(super) fn copied(name: &TopicName) -> TopicName {
    TopicName(StrBytes::from_string(name.to_string()))
}

async fn finish(topics: Vec<(TopicName, Vec<(i32, Outcome)>)>, acks: i16, write: Writer) -> Reply {
    let mut responses = Vec::with_capacity(topics.len());
    let mut failed = false;
    for (name, partitions) in topics {
        let mut answered = Vec::with_capacity(partitions.len());
        for (index, outcome) in partitions {
            let outcome = match outcome {
                Ok(pending) => pending.await.map_err(Refusal::from),
                Err(refusal) => Err(refusal),
            };
            failed |= outcome.is_err();
            answered.push(partition_response(index, outcome, write.version));
        }
        responses.push(TopicProduceResponse::default().with_name(name).with_partition_responses(answered));
    }
    match (acks, failed) {
        (0, false) => Reply::Nothing,
        (0, true) => Reply::Close,
        _ => write.reply(&ProduceResponse::default().with_responses(responses)),
    }
}

fn partition_response(index: i32, outcome: Result<Appended, Refusal>, version: i16) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(appended) => response.with_base_offset(i64::try_from(appended.first).unwrap_or(i64::MAX)),
        Err(Refusal { error, text }) => {
            let text = text.filter(|_| version >= WITH_TEXT).map(StrBytes::from_string);
            response.with_error_code(error.code()).with_base_offset(-1).with_error_message(text)
        }
    }
}

/// Takes one partition's batch apart and queues its events.
async fn begin(
    context: &Context,
    session: &Session,
    topic: &TopicName,
    data: PartitionProduceData,
    frame_room: &mut Room,
) -> Outcome {
    let parts = &context.kafka.parts;
    let live = topic.parse::<PipelineName>().ok().and_then(|name| parts.directory.find(&name).ok());
    let live = live.ok_or(ResponseError::UnknownTopicOrPartition)?;
    if !session.may_write(&context.kafka, &live).await? {
        return Err(ResponseError::TopicAuthorizationFailed.into());
    }
    let shard = shard_of(&live, data.index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let batch = one_batch(data.records.unwrap_or_default())?;
    let claim = claim_of(&batch, shard)?;
    // The frame's room covers what is not packed; what is packed may become as large as a body may be.
    let mut room = frame_room.split(batch.packed_bytes()).ok_or(ResponseError::UnknownServerError)?;
    if batch.header().codec != Codec::None {
        room.join(parts.log.room_within(parts.config.body_bytes_max, ROOM_WAIT).await?);
    }
    let config = parts.config.clone();
    let events = if batch.packed_bytes() <= INLINE_BYTES_MAX && batch.header().codec == Codec::None {
        events_of(&batch, &config)?
    } else {
        offload(move || events_of(&batch, &config)).await?
    };
    room.fit(&parts.log, events.lines.len()).await?;
    Ok(parts.log.queue(live, Append { events, shard, claim }, room).await?)
}

/// The shard that a partition is, if the pipeline has it.
pub(super) fn shard_of(live: &Live, index: i32) -> Option<u8> {
    u8::try_from(index).ok().filter(|shard| *shard < live.record().spec.shards)
}

/// Producers send one batch for each partition, as brokers demand.
fn one_batch(records: Bytes) -> Result<RecordBatch, Refusal> {
    let mut all = batches(records);
    let batch = all.next().ok_or_else(|| invalid("there is no record batch"))??;
    match all.next() {
        None => Ok(batch),
        Some(Ok(_)) => Err(invalid("there is more than one record batch for a partition")),
        Some(Err(error)) => Err(error.into()),
    }
}

fn invalid(text: &str) -> Refusal {
    Refusal { error: ResponseError::InvalidRecord, text: Some(text.to_owned()) }
}

fn claim_of(batch: &RecordBatch, shard: u8) -> Result<Option<Claim>, Refusal> {
    let header = batch.header();
    if header.transactional {
        let text = Some("transactions are not supported: send without transactional.id".to_owned());
        return Err(Refusal { error: ResponseError::InvalidTxnState, text });
    }
    if header.producer_id < 0 {
        return Ok(None);
    }
    if header.producer_epoch < 0 || header.base_sequence < 0 {
        return Err(invalid("a batch with a producer id needs an epoch and a sequence number"));
    }
    Ok(Some(Claim {
        producer: Producer::kafka(header.producer_id, shard),
        epoch: i32::from(header.producer_epoch),
        first: header.base_sequence,
        count: u32::try_from(header.record_count).map_err(|_| invalid("a batch needs records"))?,
        digest: 0,
    }))
}

/// The lines for the log: an event for each record, in their order.
fn events_of(batch: &RecordBatch, config: &PipelinesConfig) -> Result<ValidEvents, Refusal> {
    let records = batch.records(config.body_bytes_max)?;
    let bytes = records.bytes();
    let start = bytes.as_ptr().addr();
    let mut sifter = Sifter::new(bytes, config.event_bytes_max);
    for record in &records {
        match record.value {
            Some(value) => {
                let at = value.as_ptr().addr() - start;
                sifter.take(at..at + value.len())?;
            }
            None => sifter.reject("the record has no value", b"")?,
        }
    }
    Ok(sifter.finish().into_lines())
}
