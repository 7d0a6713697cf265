//! Fetch and ListOffsets: events that are still in the log, for readers that follow a pipeline.
//!
//! A pipeline's log keeps an event until it is in an object, so a reader sees what came since the last batch and everything new;
//! one that asks for older offsets gets the oldest there is. Events come in batches as they were logged, with the
//! log's time. What was rejected on its way in is a record without a value: left out, it would keep readers from the end.

use super::connection::Context;
use super::errors::Refusal;
use super::produce::{copied, shard_of};
use super::record_batch::write_batch;
use super::session::Session;
use crate::live::Live;
use crate::reader::{read_lines, runs_from};
use crate::rejected::is_rejected;
use crate::rows::{RUNS, RunRow};
use crate::{PipelineId, Result};
use bytes::{Bytes, BytesMut};
use cistern_metadata::Scan;
use cistern_runtime::Shutdown;
use cistern_types::{PipelineName, Timestamp};
use futures::future::select_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// The longest a request may wait for events.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How many rows of the log are looked at at once.
const RUNS_PER_PAGE: usize = 64;

/// The first version whose topics are named by id.
const WITH_TOPIC_IDS: i16 = 13;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

/// A pipeline that may be read.
struct Readable {
    live: Arc<Live>,
    shard: u8,
}

async fn readable(
    context: &Context,
    session: &Session,
    live: Option<Arc<Live>>,
    partition: i32,
    unknown: ResponseError,
) -> Result<Readable, Refusal> {
    let live = live.ok_or(unknown)?;
    if !session.may_read(&context.kafka, &live).await? {
        let text = "to read, log in with an access key that may read the pipeline's bucket".to_owned();
        return Err(Refusal { error: ResponseError::TopicAuthorizationFailed, text: Some(text) });
    }
    let shard = shard_of(&live, partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    Ok(Readable { live, shard })
}

fn by_name(context: &Context, name: &TopicName) -> Option<Arc<Live>> {
    let name = name.parse::<PipelineName>().ok()?;
    context.kafka.parts.directory.find(&name).ok()
}

/// One partition of a request.
struct Wanted {
    request: FetchPartition,
    found: Result<Readable, Refusal>,
}

/// A Fetch whose topics have been looked up.
pub(super) struct Fetching {
    context: Context,
    version: i16,
    wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
    topics: Vec<(FetchTopic, Vec<Wanted>)>,
}

impl Fetching {
    pub(super) async fn new(context: &Context, session: &Session, request: FetchRequest, version: i16) -> Self {
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        let mut topics = Vec::with_capacity(request.topics.len());
        for mut topic in request.topics {
            let (live, unknown) = if version >= WITH_TOPIC_IDS {
                let id = topic.topic_id.simple().to_string();
                let live = context.kafka.parts.directory.all().into_iter().find(|live| live.id().to_string() == id);
                (live, ResponseError::UnknownTopicId)
            } else {
                (by_name(context, &topic.topic), ResponseError::UnknownTopicOrPartition)
            };
            let mut wanted = Vec::with_capacity(topic.partitions.len());
            for request in std::mem::take(&mut topic.partitions) {
                let found = readable(context, session, live.clone(), request.partition, unknown).await;
                wanted.push(Wanted { request, found });
            }
            topic.topic = copied(&topic.topic);
            topics.push((topic, wanted));
        }
        Self {
            context: context.clone(),
            version,
            wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(WAIT_MAX),
            bytes_min: size(request.min_bytes).min(ANSWER_BYTES_MAX),
            bytes_max: size(request.max_bytes).min(ANSWER_BYTES_MAX),
            topics,
        }
    }

    /// The answer, when there is enough to read or the time is over.
    pub(super) async fn answer(self) -> FetchResponse {
        let deadline = Instant::now() + self.wait;
        loop {
            let heads: Vec<_> = self.readables().map(|readable| readable.live.heads()).collect();
            let (response, bytes, failed) = self.read().await;
            if failed || bytes >= self.bytes_min.max(1) || Instant::now() >= deadline {
                return response;
            }
            let grown = heads.into_iter().map(|mut head| Box::pin(async move { head.changed().await.is_ok() }));
            let grown: Vec<_> = grown.collect();
            if grown.is_empty() || !wait(grown, deadline, &self.context.shutdown).await {
                return response;
            }
        }
    }

    fn readables(&self) -> impl Iterator<Item = &Readable> {
        self.topics.iter().flat_map(|(_, wanted)| wanted).filter_map(|wanted| wanted.found.as_ref().ok())
    }

    /// What there is now: the answer, the bytes in it, and whether anything could not be read.
    async fn read(&self) -> (FetchResponse, usize, bool) {
        let (mut bytes, mut failed) = (0, false);
        let mut responses = Vec::with_capacity(self.topics.len());
        for (topic, wanted) in &self.topics {
            let mut partitions = Vec::with_capacity(wanted.len());
            for one in wanted {
                let left = self.bytes_max.saturating_sub(bytes);
                let data = self.partition(one, left, bytes == 0).await;
                bytes += data.records.as_ref().map_or(0, Bytes::len);
                failed |= data.error_code != 0;
                partitions.push(data);
            }
            let response = FetchableTopicResponse::default().with_partitions(partitions);
            responses.push(if self.version >= WITH_TOPIC_IDS {
                response.with_topic_id(topic.topic_id)
            } else {
                response.with_topic(topic.topic.clone())
            });
        }
        (FetchResponse::default().with_responses(responses), bytes, failed)
    }

    async fn partition(&self, wanted: &Wanted, left: usize, first: bool) -> PartitionData {
        let data = PartitionData::default().with_partition_index(wanted.request.partition);
        let data = data.with_preferred_read_replica((-1).into());
        let readable = match &wanted.found {
            Ok(readable) => readable,
            Err(refusal) => return data.with_error_code(refusal.error.code()).with_high_watermark(-1),
        };
        let head = offset(readable.live.shard_end(readable.shard));
        let data = data.with_high_watermark(head).with_last_stable_offset(head);
        let partition_bytes = usize::try_from(wanted.request.partition_max_bytes).unwrap_or(0);
        let log = Log { context: &self.context, id: readable.live.id(), shard: readable.shard };
        match log.read(wanted.request.fetch_offset, head, left.min(partition_bytes), first).await {
            Ok(read) => {
                let data = if self.version >= 5 { data.with_log_start_offset(read.start) } else { data };
                data.with_records(Some(read.records))
            }
            Err(refusal) => data.with_error_code(refusal.error.code()),
        }
    }
}

/// Waits until one of `grown` has happened; `false` at the deadline or when the server stops.
async fn wait(grown: Vec<impl Future<Output = bool> + Unpin>, deadline: Instant, shutdown: &Shutdown) -> bool {
    tokio::select! {
        (grown, ..) = select_all(grown) => grown,
        () = tokio::time::sleep_until(deadline) => false,
        () = shutdown.begun() => false,
    }
}

fn offset(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// The log of one shard.
struct Log<'a> {
    context: &'a Context,
    id: PipelineId,
    shard: u8,
}

struct Read {
    /// The first offset that is still there.
    start: i64,
    records: Bytes,
}

impl Log<'_> {
    /// Events from `from` on, as record batches of about `bytes_max` bytes together; at least one event when `one` says so. `end` is
    /// the offset after the shard's last event, as clients are told: what is logged this moment comes with the next request.
    async fn read(&self, from: i64, end: i64, bytes_max: usize, one: bool) -> Result<Read, Refusal> {
        let from = u64::try_from(from).map_err(|_| ResponseError::OffsetOutOfRange)?;
        let first = self.run_after(0).await?.map(|(first, _)| offset(first));
        let start = first.unwrap_or(end).min(end);
        if offset(from) > end || (first.is_none() && offset(from) < end) {
            return Err(ResponseError::OffsetOutOfRange.into());
        }
        // Below the first run nothing need be missing: the offsets in between may be those of other shards.
        let mut records = BytesMut::new();
        let mut next = from;
        while records.len() < bytes_max || (one && records.is_empty()) {
            let run = self.run_after(next).await?.filter(|(first, _)| offset(*first) < end);
            let Some((first, run)) = run else { break };
            let lines = read_lines(&self.context.kafka.parts.objects, &run).await?;
            write_run(&mut records, first, &run, &lines, from, bytes_max)?;
            next = first + u64::from(run.events);
        }
        Ok(Read { start, records: records.freeze() })
    }

    /// The run of this shard that holds `offset`, or the next one.
    async fn run_after(&self, offset: u64) -> Result<Option<(u64, RunRow)>> {
        self.find(offset, |first, run| first + u64::from(run.events) > offset).await
    }

    /// The first run of this shard that `fits`, from the one on that holds `offset`.
    async fn find(&self, offset: u64, mut fits: impl FnMut(u64, &RunRow) -> bool) -> Result<Option<(u64, RunRow)>> {
        let txn = self.context.kafka.parts.objects.store().read().await?;
        let mut range = runs_from(&txn, self.id, offset).await?;
        loop {
            let rows = RUNS.scan_unchecked(&txn, &Scan::first(range.clone(), RUNS_PER_PAGE)).await?;
            let Some((last, _)) = rows.last() else { return Ok(None) };
            range = range.after(&RUNS.key_bytes(last));
            let found = rows.iter().find(|((_, first), run)| run.shard == self.shard && fits(*first, run));
            if let Some(((_, first), run)) = found {
                return Ok(Some((*first, *run)));
            }
        }
    }
}

/// Writes the events of a run from offset `from` on as one batch.
fn write_run(
    out: &mut BytesMut,
    first: u64,
    run: &RunRow,
    lines: &[u8],
    from: u64,
    bytes_max: usize,
) -> Result<(), Refusal> {
    let mut start = 0;
    let events = (first..).zip(memchr::memchr_iter(b'\n', lines)).map(|(number, end)| {
        let line = &lines[start..end];
        start = end + 1;
        (number, line)
    });
    let mut bytes = out.len();
    let fresh = events.filter(|(number, _)| *number >= from);
    let fitting: Vec<(i64, Option<&[u8]>)> = fresh
        .take_while(|(_, line)| {
            let before = bytes;
            bytes += line.len();
            before < bytes_max || before == 0
        })
        .map(|(number, line)| (offset(number), Some(line).filter(|line| !is_rejected(line))))
        .collect();
    let Some((base, _)) = fitting.first() else { return Ok(()) };
    let written = write_batch(out, *base, millis(run.at), fitting.iter().copied());
    written
        .map(|_| ())
        .map_err(|error| Refusal { error: ResponseError::UnknownServerError, text: Some(error.to_string()) })
}

/// Answers ListOffsets.
pub(super) async fn list_offsets(
    context: &Context,
    session: &Session,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let live = by_name(context, &topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let unknown = ResponseError::UnknownTopicOrPartition;
            let index = partition.partition_index;
            let found = match readable(context, session, live.clone(), index, unknown).await {
                Ok(readable) => list_one(context, &readable, partition.timestamp).await,
                Err(refusal) => Err(refusal),
            };
            let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
            partitions.push(match found {
                Ok((timestamp, offset)) => response.with_timestamp(timestamp).with_offset(offset),
                Err(refusal) => response.with_error_code(refusal.error.code()).with_timestamp(-1).with_offset(-1),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Time and offset of the first event at or after a time, or at one of the ends.
async fn list_one(context: &Context, readable: &Readable, timestamp: i64) -> Result<(i64, i64), Refusal> {
    let head = offset(readable.live.shard_end(readable.shard));
    let log = Log { context, id: readable.live.id(), shard: readable.shard };
    match timestamp {
        LATEST => Ok((-1, head)),
        MAX_TIMESTAMP => {
            let mut newest: Option<(Timestamp, u64)> = None;
            let look = |first, run: &RunRow| {
                if offset(first) < head && newest.is_none_or(|(at, _)| at < run.at) {
                    newest = Some((run.at, first));
                }
                false
            };
            log.find(0, look).await?;
            Ok(newest.map_or((-1, -1), |(at, first)| (millis(at), offset(first))))
        }
        EARLIEST => Ok((-1, log.run_after(0).await?.map_or(head, |(first, _)| offset(first)))),
        at => {
            let wanted = u64::try_from(at).map_err(|_| ResponseError::UnsupportedVersion)?;
            let found = log.find(0, |_, run| run.at.as_millis() >= wanted).await?;
            Ok(found.map_or((-1, -1), |(first, run)| (millis(run.at), offset(first))))
        }
    }
}
