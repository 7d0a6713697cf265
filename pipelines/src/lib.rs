//! Streaming ingestion: events posted over HTTP are durable when acknowledged and become Parquet objects, each event in
//! exactly one of them.
//!
//! ```text
//! POST body ─▶ decompress ─▶ validate ─▶ ValidEvents ─▶ event_log: one blob + run rows ─▶ committed: the answer
//!                                                            │ LoggedEvents
//!   worker, one a pipeline:                                  ▼
//!   recent_runs or reader ─▶ partition (json_path) ─▶ batcher: size | rows | timeout | memory ─▶ Batch
//!          ─▶ encode: columns or declared + parquet, or json_lines; dead_letter ─▶ EncodedBatch
//!          ─▶ sink: object rows + done rows + progress + schema, ONE transaction
//! ```
//! **Exactly once.** Offsets of a pipeline's log are contiguous. `progress.watermark` says below which offset everything
//! is in objects; a done row says for one key value how much further its events are. A worker that starts again reads
//! the log from the watermark and passes over what the done rows cover. Everything before the sink commit can be thrown
//! away; everything after it (trimming the log) can be redone.
//!
//! **Compaction.** On request small objects become larger ones (`compaction`), each group in one transaction too.
//!
//! Neighbours: rows and blobs through `cistern-objects` and what it stands on. Nothing here knows S3 or drives.

mod batch;
mod batcher;
mod claim;
mod columns;
mod compaction;
mod config;
mod dead_letter;
mod declared;
mod decompress;
mod encode;
mod error;
mod event_log;
#[cfg(test)]
mod fixture;
mod funeral;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod ingest;
mod json_lines;
mod json_path;
mod json_rows;
mod kafka;
mod live;
mod metrics;
mod object_name;
mod output_spec;
mod parquet;
mod partition;
mod pipelines;
mod reader;
mod recent_runs;
mod registry;
mod rejected;
mod replay;
mod rows;
mod scan;
mod schema;
mod scram;
mod sink;
mod spec;
mod tail;
mod transform;
mod v1;
mod validate;
mod worker;

pub use compaction::{CompactStep, Compacted, LeftAlone, Merged};
pub use config::PipelinesConfig;
pub use declared::{
    DeclaredField, DeclaredSchema, DeclaredType, DeclaredValue, REST, TimestampFormat, TimestampUnit, UnknownFields,
};
pub use error::{Error, ErrorKind, Result};
pub use json_path::JsonPath;
pub use kafka::{KafkaConfig, KafkaEndpoint};
pub use live::{PipelineHealth, PipelineState};
pub use output_spec::{
    BatchSpec, JsonCompression, MixedTypes, ObjectNaming, OutputFormat, OutputSpec, ParquetCompression, ParquetSpec,
    TimePath,
};
pub use pipelines::{CreatedPipeline, DeleteMode, Pipelines};
pub use registry::TokenDigest;
pub use replay::{Replay, Replayed};
pub use rows::{PipelineId, PipelineRecord};
pub use spec::{IngestAuth, Origin, PipelineSpec, StreamSpec};
pub use tail::{Tail, TailFrom};
pub use v1::{
    CheckedSql, CreatedStream, FileStrategy, FreeStream, Sink, SinkSpec, SqlPart, SqlPipeline, StreamAsked,
    StreamChange,
};
