//! What can go wrong with pipelines, each with what a person needs to know. The HTTP edge translates it in
//! `ingest/answer.rs`, the management API in its own table.

use cistern_types::{BucketName, ObjectKey, PipelineName};
use std::sync::Arc;

/// A `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something with a pipeline was not done. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such pipeline.
    #[error("no pipeline {name}")]
    NoSuchPipeline {
        /// The name asked for, as it was given.
        name: String,
    },
    /// It is a stream, or a pipeline between streams and sinks: what is asked for is done to those that write their events themselves.
    #[error(
        "{name} belongs to streams, sinks and SQL pipelines: wrangler and the API below /pipelines/v1 work on it, and here `tail STREAM` and \
         `compact PIPELINE`"
    )]
    OfStreams {
        /// The name asked for.
        name: String,
    },
    /// The name is taken.
    #[error("pipeline {name} exists already: delete it first or choose another name")]
    PipelineExists {
        /// The name asked for.
        name: PipelineName,
    },
    /// There is no such stream, or it is that of a pipeline of its own.
    #[error("no stream {name}")]
    NoSuchStream {
        /// The name or id asked for, as it was given.
        name: String,
    },
    /// There is no such sink.
    #[error("no sink {name}")]
    NoSuchSink {
        /// The name or id asked for, as it was given.
        name: String,
    },
    /// The name is taken.
    #[error("{what} {name} exists already: delete it first or choose another name")]
    NameTaken {
        /// What has it.
        what: &'static str,
        /// The name asked for.
        name: PipelineName,
    },
    /// Pipelines write to the sink.
    #[error("pipeline {pipeline} writes to sink {name}: delete the pipeline first, or the sink with `force=true`")]
    SinkInUse {
        /// The sink.
        name: PipelineName,
        /// One of the pipelines.
        pipeline: PipelineName,
    },
    /// The SQL of a pipeline cannot be.
    #[error("{reason}")]
    InvalidSql {
        /// What is wrong with it, and in which statement.
        reason: String,
    },
    /// Events come to the stream another way.
    #[error(
        "stream {name} takes no events over HTTP and WebSockets: enable them (`http.enabled`), or send over Kafka's protocol"
    )]
    HttpDisabled {
        /// The stream.
        name: PipelineName,
    },
    /// The pipeline is being deleted and takes no more events.
    #[error("pipeline {name} is being deleted and takes no more events")]
    Draining {
        /// The pipeline.
        name: PipelineName,
    },
    /// The pipeline was changed by somebody else since it was read.
    #[error("pipeline {name} was changed by somebody else meanwhile: look at it again, then change it")]
    ChangedMeanwhile {
        /// The pipeline.
        name: PipelineName,
    },
    /// An object is not one of dead letters.
    #[error("line {line} of {key} is no dead letter ({reason}): name an object that the pipeline wrote as such")]
    NotDeadLetters {
        /// The object.
        key: ObjectKey,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Offsets that are asked for are not in the log.
    #[error("{}", not_in_log(*from, *to, *first, *end))]
    NotInLog {
        /// The first one asked for.
        from: u64,
        /// The one after the last asked for.
        to: u64,
        /// The next one that is there, where some are missing.
        first: Option<u64>,
        /// The one after the last in the log.
        end: u64,
    },
    /// The destination bucket does not exist.
    #[error("destination bucket {bucket} does not exist: create it first")]
    NoSuchBucket {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// A setting of a pipeline is out of its range.
    #[error("{field} {given}: {rule}")]
    InvalidSetting {
        /// Which setting, by the name of its flag.
        field: &'static str,
        /// What was given.
        given: String,
        /// What would be right.
        rule: &'static str,
    },
    /// A JSON path cannot be read.
    #[error("json key {given:?}, character {at}: {rule}")]
    InvalidPath {
        /// What was given.
        given: String,
        /// The position of the first character that does not fit, counted from 1.
        at: usize,
        /// What would be right.
        rule: &'static str,
    },
    /// The token is missing or not the pipeline's.
    #[error("{reason}: send the token that `pipelines create` printed as `Authorization: Bearer TOKEN`")]
    Unauthorized {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The body is not UTF-8.
    #[error("body is not UTF-8 at byte {byte}: send JSON in UTF-8")]
    NotUtf8 {
        /// The first byte that does not fit, counted from 0.
        byte: usize,
    },
    /// The body is not what it should be; nothing of it was stored.
    #[error("event {event}, byte {byte} of the body: {reason}")]
    Malformed {
        /// The number of the event in the body, counted from 0.
        event: usize,
        /// Where in the decompressed body, counted from 0.
        byte: usize,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// The body holds no event.
    #[error("body holds no event: send a JSON array of objects, one object, or one object a line")]
    NoEvents,
    /// So much of the body is no event that nothing of it was stored.
    #[error("too much of it is no event ({reason}): send JSON objects")]
    TooManyRejected {
        /// What is wrong with one of them.
        reason: &'static str,
    },
    /// One event is over the limit.
    #[error("event {event} has {bytes} bytes, an event may have {limit_bytes}")]
    EventTooLarge {
        /// The number of the event in the body, counted from 0.
        event: usize,
        /// Its size.
        bytes: usize,
        /// How large it may be.
        limit_bytes: usize,
    },
    /// The body is over the limit, before or after decompression.
    #[error("body must not exceed {limit_bytes} bytes after decompression: send fewer events at once")]
    BodyTooLarge {
        /// How large it may be.
        limit_bytes: usize,
    },
    /// The body is in an encoding that is not known here.
    #[error("content encoding {encoding:?} is not supported: use gzip, zstd or none")]
    UnsupportedEncoding {
        /// What the request says.
        encoding: String,
    },
    /// A client of the WebSocket endpoint does not keep to RFC 6455.
    #[error("the WebSocket's frames break the protocol: {reason}")]
    BrokenFrames {
        /// How.
        reason: String,
    },
    /// The body cannot be decompressed.
    #[error("body is not {encoding}")]
    BrokenEncoding {
        /// What the request says it is.
        encoding: &'static str,
        /// What the decoder says.
        source: std::io::Error,
    },
    /// A producer of the same name with a higher epoch has sent since.
    #[error("another producer of this name has epoch {epoch}: begin a new epoch to take over, or use another name")]
    FencedProducer {
        /// The epoch in force.
        epoch: i32,
    },
    /// Between what the producer sent before and this something is missing.
    #[error("sequence {given} leaves a gap: {expected} is next")]
    SequenceGap {
        /// The number that would follow.
        expected: i32,
        /// The number that was given.
        given: i32,
    },
    /// The producer has numbered before, but nobody remembers it.
    #[error("nothing is known of the producer of sequence {sequence}: begin at 0")]
    UnknownProducer {
        /// The number that was given.
        sequence: i32,
    },
    /// It is so far behind what the producer sent last that nobody remembers it.
    #[error("sequence {sequence} is behind the last batches that are remembered: it was stored long ago, or never")]
    OldSequence {
        /// The number that was given.
        sequence: i32,
    },
    /// The idempotency key was used for something else.
    #[error(
        "this Idempotency-Key was used before for other events: a retry must send the same, new events need a key of their own"
    )]
    ReusedKey,
    /// The number was used for something else.
    #[error(
        "sequence {sequence} was used before for other events: retries must send the same, new events need a new one"
    )]
    ReusedSequence {
        /// The number that was given.
        sequence: i32,
    },
    /// A header, or a field of the query, is not what it should be.
    #[error("{header}: {rule}")]
    InvalidHeader {
        /// Its name.
        header: String,
        /// What would be right.
        rule: &'static str,
    },
    /// The connection ended before the body did.
    #[error("body ended early")]
    IncompleteBody,
    /// So much is waiting to be written that no more is taken now.
    #[error("{buffered_bytes_max} bytes of events wait to be written: try again in a moment")]
    TooMuchBuffered {
        /// How much may wait.
        buffered_bytes_max: usize,
    },
    /// So much of the pipeline's events waits for being delivered that no more is taken now.
    #[error("{bytes_max} bytes of events of pipeline {name} wait for its bucket: try again later")]
    Backlog {
        /// The pipeline.
        name: PipelineName,
        /// How much may wait.
        bytes_max: u64,
    },
    /// The server is going down.
    #[error("server is stopping: try again in a moment")]
    Stopping,
    /// A flush of the log failed for all that waited for it. Whether their events were stored may be open.
    #[error("write events to the log")]
    Flush(#[source] Arc<Error>),
    /// A key could not be looked up.
    #[error("look an access key up")]
    Access(#[from] cistern_access::Error),
    /// Other changes kept overtaking this one.
    #[error("{tries} tries were overtaken by other changes of the same rows")]
    TooMuchContention {
        /// How often it was tried.
        tries: u32,
    },
    /// Another worker has taken over the pipeline.
    #[error("another worker has taken over pipeline {name}")]
    Superseded {
        /// The pipeline.
        name: PipelineName,
    },
    /// What the log holds is not what was written to it.
    #[error("log of pipeline {name} is damaged at offset {offset}: {reason}")]
    DamagedLog {
        /// The pipeline.
        name: PipelineName,
        /// The first offset of the run.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// The SQL of a pipeline cannot be.
    #[error("sql: {0}")]
    Sql(#[from] cistern_sql::Error),
    /// Events could not be laid out as columns.
    #[error("lay {rows} events out as columns")]
    Columns {
        /// How many there are.
        rows: u64,
        /// What Arrow says.
        source: arrow_schema::ArrowError,
    },
    /// A batch could not be written as Parquet.
    #[error("encode a batch of {rows} rows as Parquet")]
    Parquet {
        /// How many rows it has.
        rows: usize,
        /// What the encoder says.
        source: ::parquet::errors::ParquetError,
    },
    /// A batch could not be written as compressed JSON lines.
    #[error("compress a batch")]
    Compress(#[source] std::io::Error),
    /// The rows could not be read or changed.
    #[error("use the metadata store")]
    Metadata(#[from] cistern_metadata::Error),
    /// The log's bytes could not be read or written.
    #[error("use the blob store")]
    Blobs(#[from] cistern_blobs::Error),
    /// Objects could not be written.
    #[error("use the object store")]
    Objects(#[from] cistern_objects::Error),
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// The present state does not allow it.
    Conflict,
    /// The request is wrong; repeating it will not help.
    Invalid,
    /// Who asks has not shown that they may.
    Unauthorized,
    /// The request is larger than is allowed.
    TooLarge,
    /// Too much going on; try again later.
    Busy,
    /// Something below does not answer.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl Error {
    /// Events that Arrow could not lay out.
    pub(crate) fn columns(rows: u64, source: arrow_schema::ArrowError) -> Self {
        Self::Columns { rows, source }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchPipeline { .. }
            | Self::OfStreams { .. }
            | Self::NoSuchStream { .. }
            | Self::NoSuchSink { .. }
            | Self::NoSuchBucket { .. } => ErrorKind::NotFound,
            Self::PipelineExists { .. }
            | Self::NameTaken { .. }
            | Self::SinkInUse { .. }
            | Self::HttpDisabled { .. }
            | Self::ChangedMeanwhile { .. }
            | Self::Draining { .. }
            | Self::Superseded { .. }
            | Self::FencedProducer { .. }
            | Self::SequenceGap { .. }
            | Self::UnknownProducer { .. }
            | Self::OldSequence { .. }
            | Self::ReusedSequence { .. }
            | Self::ReusedKey => ErrorKind::Conflict,
            Self::Sql(_)
            | Self::NotDeadLetters { .. }
            | Self::NotInLog { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidPath { .. }
            | Self::InvalidSql { .. }
            | Self::NotUtf8 { .. }
            | Self::Malformed { .. }
            | Self::NoEvents
            | Self::EventTooLarge { .. }
            | Self::UnsupportedEncoding { .. }
            | Self::BrokenEncoding { .. }
            | Self::BrokenFrames { .. }
            | Self::InvalidHeader { .. }
            | Self::TooManyRejected { .. }
            | Self::IncompleteBody => ErrorKind::Invalid,

            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::BodyTooLarge { .. } => ErrorKind::TooLarge,
            Self::TooMuchBuffered { .. } | Self::Backlog { .. } | Self::TooMuchContention { .. } => ErrorKind::Busy,
            Self::Stopping => ErrorKind::Unavailable,
            Self::Flush(error) => error.kind(),
            Self::DamagedLog { .. } => ErrorKind::Corrupt,
            Self::Columns { .. } | Self::Parquet { .. } | Self::Compress(_) => ErrorKind::Internal,
            Self::Access(error) => access_kind(error),
            Self::Metadata(error) => metadata_kind(error),
            Self::Blobs(error) => blobs_kind(error),
            Self::Objects(error) => objects_kind(error),
        }
    }
}

fn not_in_log(from: u64, to: u64, first: Option<u64>, end: u64) -> String {
    match first {
        Some(first) => format!(
            "of the events from offset {from} on those before {first} are no longer in the log: `--retention` keeps them longer"
        ),
        None => format!("{from} to {to} is no range of offsets in the log, whose last event is before {end}"),
    }
}

fn access_kind(error: &cistern_access::Error) -> ErrorKind {
    use cistern_access::ErrorKind as Below;
    match error.kind() {
        Below::Busy => ErrorKind::Busy,
        Below::Unavailable => ErrorKind::Unavailable,
        Below::Corrupt => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    }
}

fn metadata_kind(error: &cistern_metadata::Error) -> ErrorKind {
    use cistern_metadata::ErrorKind as Below;
    match error.kind() {
        Below::NotFound | Below::Invalid | Below::Internal => ErrorKind::Internal,
        Below::Conflict | Below::Busy | Below::Full => ErrorKind::Busy,
        Below::Unavailable => ErrorKind::Unavailable,
        Below::Corrupt => ErrorKind::Corrupt,
    }
}

/// A run row names the blob, so a blob that is not found is damage.
fn blobs_kind(error: &cistern_blobs::Error) -> ErrorKind {
    use cistern_blobs::ErrorKind as Below;
    match error.kind() {
        Below::NotFound | Below::Corrupt => ErrorKind::Corrupt,
        Below::Conflict | Below::Busy | Below::Full => ErrorKind::Busy,
        Below::Invalid | Below::Internal => ErrorKind::Internal,
        Below::Unavailable => ErrorKind::Unavailable,
    }
}

fn objects_kind(error: &cistern_objects::Error) -> ErrorKind {
    use cistern_objects::ErrorKind as Below;
    match error.kind() {
        Below::NotFound => ErrorKind::NotFound,
        Below::Conflict => ErrorKind::Conflict,
        Below::Invalid | Below::Internal => ErrorKind::Internal,
        Below::Busy | Below::Full => ErrorKind::Busy,
        Below::Unavailable => ErrorKind::Unavailable,
        Below::Corrupt => ErrorKind::Corrupt,
    }
}
