//! What can go wrong with buckets and objects, each with what a person needs to know; doors translate it in one table.

use crate::seal::{KeyError, SealError};
use crate::{BodyError, ChecksumKind, VersionRef};
use cistern_types::{BucketName, ChecksumAlgorithm, ObjectKey, Timestamp, UploadId};
use std::fmt;

/// A `Result` of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which of a request's conditions did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `If-Match`
    IfMatch,
    /// `If-None-Match`
    IfNoneMatch,
    /// `If-Modified-Since`
    IfModifiedSince,
    /// `If-Unmodified-Since`
    IfUnmodifiedSince,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IfMatch => "If-Match",
            Self::IfNoneMatch => "If-None-Match",
            Self::IfModifiedSince => "If-Modified-Since",
            Self::IfUnmodifiedSince => "If-Unmodified-Since",
        })
    }
}

/// Why a request on buckets or objects was not done. Unless a variant says otherwise, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket does not exist.
    #[error("no bucket {bucket}")]
    NoSuchBucket {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// The object does not exist.
    #[error("no object {key} in bucket {bucket}")]
    NoSuchKey {
        /// The bucket looked in.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
        /// The delete marker that is the newest state of the key, if one is.
        marker: Option<VersionRef>,
    },
    /// The key has no such version.
    #[error("no version {version} of object {key} in bucket {bucket}")]
    NoSuchVersion {
        /// The bucket looked in.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
        /// The version asked for.
        version: VersionRef,
    },
    /// The version asked for is a delete marker, which has nothing to read.
    #[error("version {version} is a delete marker")]
    IsDeleteMarker {
        /// The delete marker.
        version: VersionRef,
        /// When it was made.
        modified: Timestamp,
    },
    /// The version is on hold, or retained until later.
    #[error("version is protected by object lock")]
    ObjectLocked,
    /// The bucket keeps no locks, or must keep versions as long as it does.
    #[error("bucket is in another state: {reason}")]
    InvalidBucketState {
        /// What is in the way.
        reason: String,
    },
    /// A default retention that cannot be.
    #[error("invalid retention period: {reason}")]
    InvalidRetentionPeriod {
        /// What would be right.
        reason: String,
    },
    /// A retention that is over before it begins.
    #[error("the date to retain until must be in the future")]
    RetentionOver,
    /// Tags that are none.
    #[error("invalid tag: {reason}")]
    InvalidTag {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The upload does not exist: never begun, aborted, or completed with another list of parts.
    #[error("no upload {upload} of object {key} in bucket {bucket}")]
    NoSuchUpload {
        /// The bucket looked in.
        bucket: BucketName,
        /// The key the upload should be for.
        key: ObjectKey,
        /// The upload asked for.
        upload: UploadId,
    },
    /// Somebody else has a bucket of this name.
    #[error("bucket name {bucket} is taken")]
    BucketAlreadyExists {
        /// The name asked for.
        bucket: BucketName,
    },
    /// The bucket exists already and is the asker's own.
    #[error("bucket {bucket} exists already and is yours")]
    BucketAlreadyOwnedByYou {
        /// The name asked for.
        bucket: BucketName,
    },
    /// A bucket with objects cannot be deleted.
    #[error("bucket {bucket} still holds objects, versions or delete markers")]
    BucketNotEmpty {
        /// The bucket.
        bucket: BucketName,
    },
    /// A condition of the request does not hold.
    #[error("condition {condition} does not hold")]
    PreconditionFailed {
        /// Which one.
        condition: Condition,
    },
    /// The reader has this version already.
    #[error("object has not been modified")]
    NotModified,
    /// The range does not touch the object.
    #[error("range lies outside an object of {size_bytes} bytes")]
    InvalidRange {
        /// The object's size.
        size_bytes: u64,
    },
    /// The object has no such part.
    #[error("part {number} of an object of {parts} parts")]
    NoSuchPart {
        /// The part asked for.
        number: u32,
        /// How many parts it has.
        parts: u32,
    },
    /// The body, or the object that would come of it, is over the limit.
    #[error("{size_bytes} bytes are over the limit of {limit_bytes}")]
    EntityTooLarge {
        /// How large it is, as far as it is known.
        size_bytes: u64,
        /// How large it may be.
        limit_bytes: u64,
    },
    /// A part that is not the last is under the limit.
    #[error("part {number} has {size_bytes} bytes, all but the last need at least {limit_bytes}")]
    EntityTooSmall {
        /// The part.
        number: u16,
        /// Its size.
        size_bytes: u64,
        /// How large it must be.
        limit_bytes: u64,
    },
    /// A part named by the completion is not there, or is not the one that was uploaded.
    #[error("part {number} has not been uploaded, or its ETag or checksum is another")]
    InvalidPart {
        /// The part.
        number: u16,
    },
    /// The parts of a completion do not ascend.
    #[error("part {number} is out of order")]
    InvalidPartOrder {
        /// The first part that does not come after the one before it.
        number: u16,
    },
    /// The headers stored with an object are over the limit.
    #[error("metadata of {size_bytes} bytes is over the limit of {limit_bytes}")]
    MetadataTooLarge {
        /// Bytes of names and values.
        size_bytes: usize,
        /// How many there may be.
        limit_bytes: usize,
    },
    /// The body's MD5 is not the one the request promised.
    #[error("MD5 of the body is {computed}, the request says {expected}")]
    BadDigest {
        /// What the request says, in hex.
        expected: String,
        /// What the body has, in hex.
        computed: String,
    },
    /// A digest in the request is not one.
    #[error("{header} does not hold a digest")]
    InvalidDigest {
        /// The header it stands in.
        header: String,
    },
    /// The body has another length than the request promised.
    #[error("body has {received_bytes} bytes, the request says {expected_bytes}")]
    IncompleteBody {
        /// What the request says.
        expected_bytes: u64,
        /// What came.
        received_bytes: u64,
    },
    /// The body's SHA-256 is not the one that was signed.
    #[error("SHA-256 of the body is {computed}, the request says {expected}")]
    Sha256Mismatch {
        /// What the request says, in hex.
        expected: String,
        /// What the body has, in hex.
        computed: String,
    },
    /// The body's checksum is not the one the request promised.
    #[error("{algorithm} of the body is {computed}, the request says {expected}")]
    ChecksumMismatch {
        /// Which checksum.
        algorithm: ChecksumAlgorithm,
        /// What the request says, in base64.
        expected: String,
        /// What the body has, in base64.
        computed: String,
    },
    /// The upload was begun with another type of checksum than its completion says.
    #[error("upload was begun with a checksum of type {begun_as:?}, its completion says {expected:?}")]
    OtherChecksumKind {
        /// What the completion says.
        expected: ChecksumKind,
        /// What the upload was begun with.
        begun_as: ChecksumKind,
    },
    /// The request contradicts itself or asks for what cannot be.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The object or upload is encrypted with a customer key, and the request brings none.
    #[error("object is encrypted with a customer key, which every request on it must bring")]
    NoCustomerKey,
    /// The object or upload is encrypted with another customer key.
    #[error("object is encrypted with another customer key")]
    OtherCustomerKey,
    /// The request brings a customer key for an object or upload that is not encrypted with one.
    #[error("object is not encrypted with a customer key, leave the key away")]
    NeedlessCustomerKey,
    /// The store has no master keys, so it cannot encrypt with keys of its own.
    #[error("this store has no master keys to encrypt objects with")]
    NoMasterKeys,
    /// The data key of an object cannot be wrapped or unwrapped.
    #[error("use the data key of an encrypted object")]
    Key(#[source] KeyError),
    /// Bytes cannot be sealed, or are not what was sealed.
    #[error("seal or open the bytes of an encrypted object")]
    Seal(#[source] SealError),
    /// The client's body could not be read to its end.
    #[error("read the request's body")]
    Body(#[source] BodyError),
    /// The body took so long to arrive that its first bytes may have been swept.
    #[error("body took longer than {limit_seconds} seconds to arrive")]
    UploadTooSlow {
        /// How long a body may take.
        limit_seconds: u64,
    },
    /// Other requests kept changing the same rows; worth trying again later.
    #[error("{tries} tries were overtaken by other changes of the same rows")]
    TooMuchContention {
        /// How often it was tried.
        tries: u32,
    },
    /// The rows could not be read or changed. When its kind is `Unavailable`, a change may still have happened.
    #[error("use the metadata store")]
    Metadata(#[source] cistern_metadata::Error),
    /// The bytes could not be read or written.
    #[error("use the blob store")]
    Blobs(#[source] cistern_blobs::Error),
}

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// The present state does not allow it.
    Conflict,
    /// The request is wrong; repeating it will not help.
    Invalid,
    /// Too much going on; try again later.
    Busy,
    /// The drives are full: something has to go first.
    Full,
    /// Something below does not answer.
    Unavailable,
    /// Stored bytes are damaged beyond repair.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl Error {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchBucket { .. }
            | Self::NoSuchKey { .. }
            | Self::NoSuchVersion { .. }
            | Self::IsDeleteMarker { .. }
            | Self::NoSuchUpload { .. } => ErrorKind::NotFound,
            Self::BucketAlreadyExists { .. }
            | Self::BucketAlreadyOwnedByYou { .. }
            | Self::BucketNotEmpty { .. }
            | Self::ObjectLocked
            | Self::InvalidBucketState { .. }
            | Self::PreconditionFailed { .. }
            | Self::NotModified => ErrorKind::Conflict,
            Self::InvalidRange { .. }
            | Self::NoSuchPart { .. }
            | Self::EntityTooLarge { .. }
            | Self::EntityTooSmall { .. }
            | Self::InvalidPart { .. }
            | Self::InvalidPartOrder { .. }
            | Self::MetadataTooLarge { .. }
            | Self::BadDigest { .. }
            | Self::InvalidDigest { .. }
            | Self::IncompleteBody { .. }
            | Self::Sha256Mismatch { .. }
            | Self::ChecksumMismatch { .. }
            | Self::OtherChecksumKind { .. }
            | Self::InvalidRequest { .. }
            | Self::InvalidTag { .. }
            | Self::RetentionOver
            | Self::InvalidRetentionPeriod { .. }
            | Self::NoCustomerKey
            | Self::OtherCustomerKey
            | Self::NeedlessCustomerKey
            | Self::NoMasterKeys
            | Self::UploadTooSlow { .. }
            | Self::Body(_) => ErrorKind::Invalid,
            Self::TooMuchContention { .. } => ErrorKind::Busy,
            Self::Key(KeyError::NotUnwrapped) | Self::Seal(SealError::Damaged { .. } | SealError::Truncated { .. }) => {
                ErrorKind::Corrupt
            }
            Self::Key(_) | Self::Seal(_) => ErrorKind::Internal,
            Self::Metadata(error) => metadata_kind(error),
            Self::Blobs(error) => blobs_kind(error),
        }
    }

    /// Whether the change certainly did not happen, so that what was staged for it can be thrown away.
    pub(crate) fn nothing_happened(&self) -> bool {
        !matches!(self, Self::Metadata(error) if error.kind() == cistern_metadata::ErrorKind::Unavailable)
    }
}

fn metadata_kind(error: &cistern_metadata::Error) -> ErrorKind {
    use cistern_metadata::ErrorKind as Below;
    match error.kind() {
        Below::NotFound | Below::Internal => ErrorKind::Internal,
        Below::Conflict | Below::Busy => ErrorKind::Busy,
        Below::Full => ErrorKind::Full,
        Below::Invalid => ErrorKind::Invalid,
        Below::Unavailable => ErrorKind::Unavailable,
        Below::Corrupt => ErrorKind::Corrupt,
    }
}

/// A row names the blob, so a blob that is not found is damage.
fn blobs_kind(error: &cistern_blobs::Error) -> ErrorKind {
    use cistern_blobs::ErrorKind as Below;
    match error.kind() {
        Below::NotFound | Below::Corrupt => ErrorKind::Corrupt,
        Below::Conflict | Below::Busy => ErrorKind::Busy,
        Below::Full => ErrorKind::Full,
        Below::Invalid | Below::Internal => ErrorKind::Internal,
        Below::Unavailable => ErrorKind::Unavailable,
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<cistern_metadata::Error> for Error {
    fn from(error: cistern_metadata::Error) -> Self {
        Self::Metadata(error)
    }
}

impl From<cistern_blobs::Error> for Error {
    fn from(error: cistern_blobs::Error) -> Self {
        Self::Blobs(error)
    }
}
