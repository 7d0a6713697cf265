//! Errors of this crate as codes of the protocol, in one table. Whether a client tries again depends on the code.

#![deny(clippy::wildcard_enum_match_arm)]

use super::record_batch::RecordBatchError;
use crate::{Error, ErrorKind};
use kafka_protocol::error::ResponseError;

/// Why a partition's part of a request was not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ResponseError,
    /// For people, where the version has a place for it.
    pub(super) text: Option<String>,
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self { error, text: None }
    }
}

impl From<RecordBatchError> for Refusal {
    fn from(error: RecordBatchError) -> Self {
        let code = match &error {
            RecordBatchError::Cut { .. }
            | RecordBatchError::BatchLength { .. }
            | RecordBatchError::Crc { .. }
            | RecordBatchError::Compression { .. } => ResponseError::CorruptMessage,
            RecordBatchError::OldMagic { .. } | RecordBatchError::UnknownMagic { .. } => {
                ResponseError::UnsupportedForMessageFormat
            }
            RecordBatchError::UnknownCodec { .. } => ResponseError::UnsupportedCompressionType,
            RecordBatchError::TooLarge { .. } => ResponseError::MessageTooLarge,
            RecordBatchError::ControlBatch
            | RecordBatchError::RecordCount { .. }
            | RecordBatchError::LastOffsetDelta { .. }
            | RecordBatchError::Record { .. }
            | RecordBatchError::TrailingBytes { .. } => ResponseError::InvalidRecord,
        };
        Self { error: code, text: Some(error.to_string()) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = code_of(&error);
        if code == ResponseError::UnknownServerError {
            tracing::error!(error = %error, "a Kafka request failed");
        }
        Self { error: code, text: Some(error.to_string()) }
    }
}

fn code_of(error: &Error) -> ResponseError {
    match error {
        Error::NoSuchPipeline { .. } | Error::OfStreams { .. } | Error::Draining { .. } => {
            ResponseError::UnknownTopicOrPartition
        }
        Error::EventTooLarge { .. } | Error::BodyTooLarge { .. } => ResponseError::MessageTooLarge,
        Error::FencedProducer { .. } => ResponseError::InvalidProducerEpoch,
        // One that is behind may never have been stored: the code for duplicates would tell that it was.
        Error::SequenceGap { .. } | Error::OldSequence { .. } | Error::ReusedSequence { .. } | Error::ReusedKey => {
            ResponseError::OutOfOrderSequenceNumber
        }
        Error::UnknownProducer { .. } => ResponseError::UnknownProducerId,
        // All of these are tried again: the first looks for another broker meanwhile.
        Error::Stopping => ResponseError::NotLeaderOrFollower,
        Error::TooMuchBuffered { .. } | Error::Backlog { .. } | Error::TooMuchContention { .. } => {
            ResponseError::NotEnoughReplicas
        }
        Error::Flush(error) if code_of(error) == ResponseError::NotEnoughReplicas => {
            ResponseError::NotEnoughReplicasAfterAppend
        }
        Error::Flush(error) => code_of(error),
        Error::PipelineExists { .. } | Error::NameTaken { .. } => ResponseError::TopicAlreadyExists,
        Error::InvalidSetting { .. } | Error::Sql(_) => ResponseError::InvalidConfig,
        Error::Unauthorized { .. } => ResponseError::TopicAuthorizationFailed,
        Error::NotUtf8 { .. }
        | Error::Malformed { .. }
        | Error::NoEvents
        | Error::TooManyRejected { .. }
        | Error::UnsupportedEncoding { .. }
        | Error::BrokenEncoding { .. }
        | Error::BrokenFrames { .. }
        | Error::InvalidHeader { .. }
        | Error::IncompleteBody => ResponseError::InvalidRecord,
        Error::NoSuchBucket { .. }
        | Error::NoSuchStream { .. }
        | Error::NoSuchSink { .. }
        | Error::SinkInUse { .. }
        | Error::InvalidSql { .. }
        | Error::HttpDisabled { .. }
        | Error::NotDeadLetters { .. }
        | Error::NotInLog { .. }
        | Error::ChangedMeanwhile { .. }
        | Error::InvalidPath { .. }
        | Error::Superseded { .. }
        | Error::DamagedLog { .. }
        | Error::Columns { .. }
        | Error::Parquet { .. }
        | Error::Compress(_)
        | Error::Access(_)
        | Error::Metadata(_)
        | Error::Blobs(_)
        | Error::Objects(_) => match error.kind() {
            ErrorKind::Busy | ErrorKind::Unavailable => ResponseError::NotEnoughReplicas,
            ErrorKind::Corrupt => ResponseError::KafkaStorageError,
            ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Invalid
            | ErrorKind::Unauthorized
            | ErrorKind::TooLarge
            | ErrorKind::Internal => ResponseError::UnknownServerError,
        },
    }
}
