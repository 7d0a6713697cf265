//! Every way a management request fails, as the code and status that Cloudflare's clients know; the only such table.
//!
//! No `_` arm: a new error below does not compile until somebody has decided what it means here. Codes are those of the R2
//! and Pipelines APIs where they have one; 1001, 1002 and those from 20000 on are our own.

#![deny(clippy::wildcard_enum_match_arm)]

use crate::envelope::failure;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use cistern_types::Invalid;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// A `Result` of this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// How long a client should wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a management request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No token, or another one.
    #[error("Authentication error: send the API token as `Authorization: Bearer TOKEN`")]
    Unauthorized,
    /// No such path.
    #[error("Could not route to {path}, perhaps your object identifier is invalid?")]
    NoRoute {
        /// The path.
        path: String,
    },
    /// The path exists, for other methods.
    #[error("method {method} is not allowed here")]
    MethodNotAllowed {
        /// The method.
        method: String,
    },
    /// A word in the request breaks its rule.
    #[error(transparent)]
    Word(#[from] Invalid),
    /// The body, the path or the query is not what it should be.
    #[error("{reason}")]
    Malformed {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The JSON body is too large.
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// How large it may be.
        limit_bytes: usize,
    },
    /// A pipeline cannot be as asked.
    #[error("{field}: {reason}")]
    PipelineSetting {
        /// The field of the body.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Buckets and objects.
    #[error(transparent)]
    Objects(#[from] cistern_objects::Error),
    /// The drives.
    #[error(transparent)]
    Drives(#[from] cistern_drives::Error),
    /// Keys.
    #[error(transparent)]
    Access(#[from] cistern_access::Error),
    /// Pipelines.
    #[error(transparent)]
    Pipelines(#[from] cistern_pipelines::Error),
}

/// Status and code of an answer.
type Coded = (StatusCode, u32);

const INTERNAL: Coded = (StatusCode::INTERNAL_SERVER_ERROR, 10001);
const UNAVAILABLE: Coded = (StatusCode::SERVICE_UNAVAILABLE, 10043);
const FULL: Coded = (StatusCode::INSUFFICIENT_STORAGE, 20104);
const BUSY: Coded = (StatusCode::TOO_MANY_REQUESTS, 10058);
const MALFORMED: Coded = (StatusCode::BAD_REQUEST, 10040);
const NO_SUCH_BUCKET: Coded = (StatusCode::NOT_FOUND, 10006);
const TOO_LARGE: Coded = (StatusCode::BAD_REQUEST, 100_100);
const INVALID_PIPELINE: Coded = (StatusCode::BAD_REQUEST, 1001);

impl Error {
    /// The status and code of the answer.
    pub(crate) fn coded(&self) -> Coded {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, 10000),
            Self::NoRoute { .. } => (StatusCode::NOT_FOUND, 7003),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, 10405),
            Self::Word(word) => match word.what {
                "bucket name" => (StatusCode::BAD_REQUEST, 10005),
                "object key" => (StatusCode::BAD_REQUEST, 10020),
                "pipeline name" => INVALID_PIPELINE,
                _ => MALFORMED,
            },
            Self::Malformed { .. } => MALFORMED,
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 100_100),
            Self::PipelineSetting { .. } => INVALID_PIPELINE,
            Self::Objects(error) => objects(error),
            Self::Drives(error) => drives(error),
            Self::Access(error) => access(error),
            Self::Pipelines(error) => pipelines(error),
        }
    }

    /// What the client reads. Faults of ours are logged, not told.
    pub(crate) fn message(&self, coded: Coded) -> String {
        match coded {
            INTERNAL => "an internal error; the server's log says more".into(),
            FULL => "the drives are full: delete something, or add drives".into(),
            UNAVAILABLE => "the storage does not take this now, try again; /readyz says more".into(),
            // Texts of that crate continue "failed to".
            _ if matches!(self, Self::Access(_)) => format!("failed to {self}"),
            _ if let Self::Drives(cistern_drives::Error::Drive { source, .. }) = self => format!("{self}: {source}"),
            _ if let Self::Pipelines(cistern_pipelines::Error::Objects(source)) = self => source.to_string(),
            _ => self.to_string(),
        }
    }
}

fn objects(error: &cistern_objects::Error) -> Coded {
    use cistern_objects::Error as Below;
    match error {
        Below::NoSuchBucket { .. } => NO_SUCH_BUCKET,
        Below::NoSuchKey { .. } | Below::NoSuchVersion { .. } | Below::IsDeleteMarker { .. } => {
            (StatusCode::NOT_FOUND, 10007)
        }
        Below::ObjectLocked => (StatusCode::FORBIDDEN, 10069),
        Below::NoSuchUpload { .. } => (StatusCode::NOT_FOUND, 10024),
        Below::BucketAlreadyExists { .. }
        | Below::BucketAlreadyOwnedByYou { .. }
        | Below::InvalidBucketState { .. } => (StatusCode::CONFLICT, 10073),
        Below::BucketNotEmpty { .. } => (StatusCode::CONFLICT, 10008),
        Below::PreconditionFailed { .. } | Below::NotModified => (StatusCode::PRECONDITION_FAILED, 10031),
        Below::InvalidRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, 10039),
        Below::EntityTooLarge { .. } => TOO_LARGE,
        Below::EntityTooSmall { .. } => (StatusCode::BAD_REQUEST, 10011),
        Below::NoSuchPart { .. } | Below::InvalidPart { .. } | Below::InvalidPartOrder { .. } => {
            (StatusCode::BAD_REQUEST, 10025)
        }
        Below::MetadataTooLarge { .. } => (StatusCode::BAD_REQUEST, 10012),
        Below::IncompleteBody { .. } => (StatusCode::BAD_REQUEST, 10013),
        Below::InvalidDigest { .. } => (StatusCode::BAD_REQUEST, 10014),
        Below::BadDigest { .. }
        | Below::Sha256Mismatch { .. }
        | Below::ChecksumMismatch { .. }
        | Below::OtherChecksumKind { .. } => (StatusCode::BAD_REQUEST, 10037),
        Below::InvalidRequest { .. }
        | Below::NoCustomerKey
        | Below::OtherCustomerKey
        | Below::NeedlessCustomerKey
        | Below::InvalidTag { .. }
        | Below::RetentionOver
        | Below::InvalidRetentionPeriod { .. } => MALFORMED,
        Below::Body(_) | Below::UploadTooSlow { .. } => (StatusCode::BAD_REQUEST, 10054),
        Below::TooMuchContention { .. } => BUSY,
        Below::NoMasterKeys | Below::Key(_) | Below::Seal(_) => INTERNAL,
        Below::Metadata(_) | Below::Blobs(_) => match error.kind() {
            cistern_objects::ErrorKind::Busy => BUSY,
            cistern_objects::ErrorKind::Full => FULL,
            cistern_objects::ErrorKind::Unavailable => UNAVAILABLE,
            cistern_objects::ErrorKind::NotFound
            | cistern_objects::ErrorKind::Conflict
            | cistern_objects::ErrorKind::Invalid
            | cistern_objects::ErrorKind::Corrupt
            | cistern_objects::ErrorKind::Internal => INTERNAL,
        },
    }
}

fn drives(error: &cistern_drives::Error) -> Coded {
    use cistern_drives::Error as Below;
    match error {
        Below::NotReplaceable { .. } => (StatusCode::CONFLICT, 20101),
        Below::InUse { .. } => (StatusCode::CONFLICT, 20102),
        // the person who gave the drive stands in front of it: what it says helps
        Below::Drive { .. } | Below::NewerFormat { .. } => (StatusCode::BAD_REQUEST, 20103),
        Below::Unavailable { .. } | Below::ReadOnly { .. } | Below::Full { .. } | Below::Closed => UNAVAILABLE,
        Below::OtherSet { .. }
        | Below::OtherNumber { .. }
        | Below::UsedApart { .. }
        | Below::OtherStore { .. }
        | Below::DuplicateDrive { .. }
        | Below::OtherShape { .. }
        | Below::DrivesMissing { .. }
        | Below::InvalidConfig { .. }
        | Below::Corrupt { .. }
        | Below::Undecided { .. }
        | Below::AcknowledgedLost { .. }
        | Below::BlobCorrupt { .. }
        | Below::LostPrerequisite { .. }
        | Below::TooLarge { .. }
        | Below::InvalidAppend { .. }
        | Below::View { .. } => INTERNAL,
    }
}

fn access(error: &cistern_access::Error) -> Coded {
    use cistern_access::Error as Below;
    match error {
        Below::Unfit { .. } | Below::TooManyKeys { .. } | Below::RootKey => (StatusCode::BAD_REQUEST, 20001),
        Below::NoSuchKey { .. } => (StatusCode::NOT_FOUND, 20004),
        Below::InvalidToken | Below::ExpiredToken => (StatusCode::UNAUTHORIZED, 10002),
        Below::NameTaken { .. } => (StatusCode::CONFLICT, 20009),
        Below::TooMuchContention { .. } => BUSY,
        Below::ReadCredentials { .. }
        | Below::WriteCredentials { .. }
        | Below::CredentialsReadable { .. }
        | Below::ParseCredentials { .. } => INTERNAL,
        Below::Metadata(_) => match error.kind() {
            cistern_access::ErrorKind::Busy | cistern_access::ErrorKind::Conflict => BUSY,
            cistern_access::ErrorKind::Unavailable => UNAVAILABLE,
            cistern_access::ErrorKind::NotFound
            | cistern_access::ErrorKind::Invalid
            | cistern_access::ErrorKind::Corrupt
            | cistern_access::ErrorKind::Internal => INTERNAL,
        },
    }
}

fn pipelines(error: &cistern_pipelines::Error) -> Coded {
    use cistern_pipelines::Error as Below;
    match error {
        Below::NoSuchPipeline { .. } | Below::OfStreams { .. } => (StatusCode::NOT_FOUND, 1000),
        Below::NoSuchSink { .. } => (StatusCode::NOT_FOUND, 1015),
        Below::NoSuchStream { .. } => (StatusCode::NOT_FOUND, 1016),
        Below::PipelineExists { .. }
        | Below::NameTaken { .. }
        | Below::SinkInUse { .. }
        | Below::ChangedMeanwhile { .. }
        | Below::Draining { .. }
        | Below::Superseded { .. } => (StatusCode::CONFLICT, 1002),
        Below::NoSuchBucket { .. } => NO_SUCH_BUCKET,
        Below::InvalidSetting { .. }
        | Below::Sql(_)
        | Below::InvalidPath { .. }
        | Below::InvalidSql { .. }
        | Below::NotDeadLetters { .. }
        | Below::NotInLog { .. } => INVALID_PIPELINE,
        Below::TooMuchBuffered { .. } | Below::Backlog { .. } | Below::TooMuchContention { .. } => BUSY,
        Below::Stopping => UNAVAILABLE,
        Below::Objects(error) => objects(error),
        // Those of the ingest listener: the management API takes no events.
        Below::Unauthorized { .. }
        | Below::HttpDisabled { .. }
        | Below::NotUtf8 { .. }
        | Below::Malformed { .. }
        | Below::NoEvents
        | Below::EventTooLarge { .. }
        | Below::BodyTooLarge { .. }
        | Below::UnsupportedEncoding { .. }
        | Below::BrokenEncoding { .. }
        | Below::BrokenFrames { .. }
        | Below::FencedProducer { .. }
        | Below::SequenceGap { .. }
        | Below::UnknownProducer { .. }
        | Below::TooManyRejected { .. }
        | Below::OldSequence { .. }
        | Below::ReusedSequence { .. }
        | Below::ReusedKey
        | Below::InvalidHeader { .. }
        | Below::IncompleteBody => MALFORMED,
        Below::Flush(_)
        | Below::DamagedLog { .. }
        | Below::Columns { .. }
        | Below::Parquet { .. }
        | Below::Compress(_)
        | Below::Access(_)
        | Below::Metadata(_)
        | Below::Blobs(_) => match error.kind() {
            cistern_pipelines::ErrorKind::Busy => BUSY,
            cistern_pipelines::ErrorKind::Unavailable => UNAVAILABLE,
            cistern_pipelines::ErrorKind::NotFound
            | cistern_pipelines::ErrorKind::Conflict
            | cistern_pipelines::ErrorKind::Invalid
            | cistern_pipelines::ErrorKind::Unauthorized
            | cistern_pipelines::ErrorKind::TooLarge
            | cistern_pipelines::ErrorKind::Corrupt
            | cistern_pipelines::ErrorKind::Internal => INTERNAL,
        },
    }
}

impl From<PathRejection> for Error {
    fn from(rejection: PathRejection) -> Self {
        Self::Malformed { reason: rejection.body_text() }
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        Self::Malformed { reason: rejection.body_text() }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let coded @ (status, code) = self.coded();
        if status.is_server_error() {
            let chain = std::iter::successors(Some(&self as &dyn std::error::Error), |error| error.source());
            let texts: Vec<String> = chain.map(ToString::to_string).collect();
            tracing::error!(code, error = texts.join(": "), "a management request failed");
        }
        let mut response = failure(status, code, &self.message(coded));
        if coded == BUSY || coded == UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
