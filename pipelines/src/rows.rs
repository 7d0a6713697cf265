//! The rows of this crate: every table, its keys and values. Nothing outside the crate reads them.
//!
//! ```text
//! 40 streams    name                 -> StreamRecord          44 progress  output        -> ProgressRow
//! 41 heads      stream               -> HeadRow               45 done      output, key   -> DoneRow
//! 42 runs       stream, first        -> RunRow                46 schemas   output        -> EventSchema
//! 43 shared     blob                 -> SharedRow             47 graves    either        -> GraveRow
//! 48 producers  stream, kind, window, producer -> ProducerRow
//! 49 producer ids  (one row)         -> ProducerIdsRow
//! 4a outputs    stream, output       -> OutputRecord
//! 4b sinks      name                 -> SinkRow               4c sql pipelines  name     -> SqlPipelineRow
//! ```
//! A stream is a log that events come to, an output is what a worker makes of them. A pipeline is a stream and an output
//! of the same name and id; a SQL pipeline is outputs of streams that have none of their own. Everything but the name
//! stands under the id of one life of it: one that is deleted and made again under the same name begins anew. Enums are stored by their variant's number: new variants go to the end.

use crate::schema::EventSchema;
use crate::scram::Verifier;
use crate::spec::SHARDS_MAX;
use crate::v1::{SinkSpec, SqlPart};
use crate::{DeclaredSchema, OutputSpec, PipelineSpec, StreamSpec};
use cistern_metadata::{RowKey, RowValue, Table};
use cistern_types::{BlobId, PipelineName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;

pub(crate) const STREAMS: Table<PipelineName, StreamRecord> = Table::new("streams", 0x40);
pub(crate) const HEADS: Table<PipelineId, HeadRow> = Table::new("log heads", 0x41);
pub(crate) const RUNS: Table<(PipelineId, u64), RunRow> = Table::new("log runs", 0x42);
pub(crate) const SHARED: Table<BlobId, SharedRow> = Table::new("shared log blobs", 0x43);
pub(crate) const PROGRESS: Table<PipelineId, ProgressRow> = Table::new("progress", 0x44);
pub(crate) const DONE: Table<(PipelineId, KeyId), DoneRow> = Table::new("done", 0x45);
pub(crate) const SCHEMAS: Table<PipelineId, EventSchema> = Table::new("schemas", 0x46);
pub(crate) const GRAVES: Table<PipelineId, GraveRow> = Table::new("graves", 0x47);

/// By kind and time window, so that whole windows are forgotten: see `claim`.
pub(crate) const PRODUCERS: Table<(PipelineId, [u8; 1], u32, [u8; 16]), ProducerRow> = Table::new("producers", 0x48);

/// The producer ids that are given out next.
pub(crate) const PRODUCER_IDS: Table<(), ProducerIdsRow> = Table::new("producer ids", 0x49);

/// What becomes of a stream's events.
pub(crate) const OUTPUTS: Table<(PipelineId, PipelineId), OutputRecord> = Table::new("outputs", 0x4a);

/// Where SQL pipelines may write.
pub(crate) const SINKS: Table<PipelineName, SinkRow> = Table::new("sinks", 0x4b);

/// What connects streams without an output of their own and sinks.
pub(crate) const SQL_PIPELINES: Table<PipelineName, SqlPipelineRow> = Table::new("sql pipelines", 0x4c);

/// The first bytes of the SHA-256 of a key value, which itself may be as long as an event.
pub(crate) type KeyId = [u8; 16];

/// The id of one life of a stream or an output, and of a pipeline, which is one of each: one deleted and made again
/// under the same name has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PipelineId([u8; 16]);

impl PipelineId {
    /// A new random one.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// The id with these 32 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }
}

/// 32 hex digits.
impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipelineId({self})")
    }
}

impl RowKey for PipelineId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        RowKey::read(bytes).map(Self)
    }
}

/// A pipeline: its stream, and its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRecord {
    /// The id of this life of it.
    pub id: PipelineId,
    /// What it shall do.
    pub spec: PipelineSpec,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub modified: Timestamp,
    /// Counts the changes, from 1.
    pub version: u32,
    /// Whether it takes no more events and goes once all of them are delivered.
    pub draining: bool,
}

/// A stream as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamRecord {
    pub(crate) id: PipelineId,
    pub(crate) name: PipelineName,
    pub(crate) spec: StreamSpec,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) version: u32,
    /// Whether it takes no more events and goes once all of them are delivered.
    pub(crate) draining: bool,
    /// What the send token is known by, where one is needed.
    pub(crate) token: Option<TokenRow>,
    /// What a stream has that is not the stream of a pipeline of its own.
    pub(crate) free: Option<FreeStreamRow>,
}

/// A stream whose events wait for SQL pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FreeStreamRow {
    /// The fields its events shall have; none means one column, `value`.
    pub(crate) schema: Option<DeclaredSchema>,
    /// Whether events come in over HTTP and WebSockets.
    pub(crate) http: bool,
    /// What was asked for; nothing here has such bindings.
    pub(crate) worker_binding: bool,
}

/// An output as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputRecord {
    pub(crate) id: PipelineId,
    /// What its objects and its lines in the metrics are named after.
    pub(crate) name: PipelineName,
    /// What its worker does.
    pub(crate) spec: OutputSpec,
    /// What it shall do once what was batched as before is delivered.
    pub(crate) next: Option<OutputSpec>,
    /// The SQL pipeline that it is a part of.
    pub(crate) pipeline: Option<PipelineName>,
}

/// A sink as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkRow {
    pub(crate) id: PipelineId,
    pub(crate) spec: SinkSpec,
    pub(crate) created: Timestamp,
}

/// A SQL pipeline as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SqlPipelineRow {
    pub(crate) id: PipelineId,
    pub(crate) sql: String,
    pub(crate) created: Timestamp,
    /// One a statement, in the order of the text.
    pub(crate) parts: Vec<SqlPart>,
}

impl OutputRecord {
    /// What was asked of it last.
    pub(crate) fn asked(&self) -> &OutputSpec {
        self.next.as_ref().unwrap_or(&self.spec)
    }
}

/// What is stored of a send token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) sha256: [u8; 32],
    /// For logging in by SCRAM.
    pub(crate) scram: Verifier,
}

/// Without what the token is known by.
impl fmt::Debug for StreamRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRecord").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the log of a stream ends. Its presence is what lets events in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeadRow {
    /// The offset of the next event, which is the number of events ever logged.
    pub(crate) next: u64,
    /// Bytes ever logged.
    pub(crate) bytes: u64,
    /// When the last run was logged: log times never step back, whatever the clock does.
    pub(crate) at: Timestamp,
    /// Whether no more events are taken.
    pub(crate) closed: bool,
    /// For each shard the offset after its last event, 0 when it has had none.
    pub(crate) shard_ends: [u64; SHARDS_MAX as usize],
}

impl HeadRow {
    /// The head of a log without events.
    pub(crate) fn empty(at: Timestamp) -> Self {
        Self { next: 0, bytes: 0, at, closed: false, shard_ends: [0; SHARDS_MAX as usize] }
    }
}

/// Events of one pipeline that lie together in one log blob, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) blob: BlobId,
    /// Where in the blob they begin.
    pub(crate) position: u64,
    /// Their length with the newlines, in bytes.
    pub(crate) length: u64,
    pub(crate) events: u32,
    /// When they were logged.
    pub(crate) at: Timestamp,
    /// The Kafka partition they came to; 0 for those that came otherwise.
    pub(crate) shard: u8,
    /// Whether the blob has a row in [`SHARED`], because runs of other pipelines lie in it too.
    pub(crate) shared: bool,
}

/// How many runs of a log blob are not trimmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedRow {
    pub(crate) runs: u32,
}

/// How far the events of a stream are in an output's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ProgressRow {
    /// Which worker may commit: each one that starts counts it up.
    pub(crate) epoch: u64,
    /// Everything below this offset is in objects.
    pub(crate) watermark: u64,
    /// Events in objects, dead letters among them.
    pub(crate) events: u64,
    /// Their bytes in the log.
    pub(crate) bytes: u64,
    /// How many of the events are dead letters.
    pub(crate) dead_letters: u64,
    /// Objects written, dead-letter objects among them.
    pub(crate) objects: u64,
    /// Events that were in the log before the output was there, and are not its business.
    pub(crate) skipped: u64,
    /// Their bytes.
    pub(crate) skipped_bytes: u64,
}

impl ProgressRow {
    /// Events up to `head` that are not in objects.
    pub(crate) fn lag_events(&self, head: &HeadRow) -> u64 {
        (head.next - self.skipped).saturating_sub(self.events)
    }

    /// Their bytes.
    pub(crate) fn lag_bytes(&self, head: &HeadRow) -> u64 {
        (head.bytes - self.skipped_bytes).saturating_sub(self.bytes)
    }
}

/// How far the events of one key are in objects, beyond the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoneRow {
    /// Events of the key below this offset are in objects.
    pub(crate) through: u64,
}

/// What is known of a producer that numbers its batches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ProducerRow {
    pub(crate) epoch: i32,
    /// Its last batches, the newest at the end.
    pub(crate) batches: VecDeque<SeenBatch>,
}

/// Which producer ids have been given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProducerIdsRow {
    /// No id from this one on has been.
    pub(crate) next: i64,
}

/// A batch that has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenBatch {
    /// The number of its first item.
    pub(crate) first: i32,
    /// How many numbers it took.
    pub(crate) count: u32,
    /// The offset of its first event.
    pub(crate) offset: u64,
    /// Of its content, where the producer's door compares it.
    pub(crate) digest: u64,
}

/// The stream or output is gone; rows of it may be left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GraveRow {
    /// The name it had, for the logs.
    pub(crate) name: PipelineName,
}

macro_rules! row_values {
    ($($name:ty),*) => {$(
        impl RowValue for $name {
            const VERSION: u8 = 1;
        }
    )*};
}
row_values!(
    StreamRecord,
    OutputRecord,
    SinkRow,
    SqlPipelineRow,
    HeadRow,
    RunRow,
    SharedRow,
    ProgressRow,
    DoneRow,
    ProducerRow,
    ProducerIdsRow,
    GraveRow,
    EventSchema
);
