//! What can go wrong in the drive log, with what a person needs to act on it.
//!
//! One `Error`; [`Error::kind`] says what a caller can do. Open errors name the drive and the remedy, because the person
//! who reads them stands in front of a server that will not start.

use cistern_types::BlobId;
use std::io;

/// The result of a drive log call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a drive log call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a drive failed.
    #[error("{action} on drive {drive}")]
    Drive {
        /// The label of the drive.
        drive: String,
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process (or another log of this one) holds the drive.
    #[error("drive {drive} is in use by another process; stop that process, or give this server other drives")]
    InUse {
        /// The label of the drive.
        drive: String,
    },
    /// A drive belongs to another set.
    #[error("drive {drive} belongs to set {found}, the others to set {expected}; give the drives of one set only")]
    OtherSet {
        /// The label of the drive.
        drive: String,
        /// The set it belongs to.
        found: String,
        /// The set of the drives before it.
        expected: String,
    },
    /// Some drives are of a copy of the store that was used by itself, and neither they nor the others alone are surely the store.
    #[error(
        "the drives are of two copies of a store that were both used, and cannot be read together: {} are of another copy than the rest; \
         give the drives of one copy, and keep the others apart",
        .apart.join(", ")
    )]
    UsedApart {
        /// The labels of the drives that are fewer.
        apart: Vec<String>,
    },
    /// A drive belongs to another set of this store, or of any.
    #[error(
        "drive {drive} belongs to set number {found} of its store, it is given for number {expected}; \
         give the drives of a set together, and the sets in the order in which they were added"
    )]
    OtherNumber {
        /// The label of the drive.
        drive: String,
        /// The number of the set it belongs to.
        found: u8,
        /// The number of the set it was given for.
        expected: u8,
    },
    /// A drive belongs to a further set of another store.
    #[error(
        "drive {drive} belongs to the store whose first set is {found}, the other drives to the store of {expected}; \
         give the drives of one store only"
    )]
    OtherStore {
        /// The label of the drive.
        drive: String,
        /// The first set of its store.
        found: String,
        /// The first set of this store.
        expected: String,
    },
    /// A drive was written by a newer version of the program.
    #[error("drive {drive} has format version {found}, this program reads up to {supported}; use a newer program")]
    NewerFormat {
        /// The label of the drive.
        drive: String,
        /// The version on the drive.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// The same drive was given twice, or a copy of it.
    #[error("drives {first} and {second} are both number {index} of the set; remove the copy")]
    DuplicateDrive {
        /// The label of the first drive.
        first: String,
        /// The label of the second drive.
        second: String,
        /// Their index in the set.
        index: usize,
    },
    /// The configured shape differs from the one the drives were formatted with.
    #[error(
        "the configuration says {configured_data} data + {configured_parity} parity drives, drive {drive} says {data} + {parity}; \
         configure {data} + {parity} with all its drives, or use empty drives"
    )]
    OtherShape {
        /// The label of the drive.
        drive: String,
        /// Data drives in the configuration.
        configured_data: usize,
        /// Parity drives in the configuration.
        configured_parity: usize,
        /// Data drives of the set.
        data: usize,
        /// Parity drives of the set.
        parity: usize,
    },
    /// More drives are missing than the code can make up for.
    #[error(
        "{} of the set's drives are missing ({}), at most {parity} may be; mount or bring back the missing drives",
        missing.len(), missing.join(", ")
    )]
    DrivesMissing {
        /// The labels (and reasons) of the missing drives.
        missing: Vec<String>,
        /// How many may be missing.
        parity: usize,
    },
    /// A drive cannot take the place it was given for. Nothing was changed.
    #[error("drive {drive} cannot take the place: {reason}")]
    NotReplaceable {
        /// The label of the drive.
        drive: String,
        /// Why not, and what would be right.
        reason: String,
    },
    /// The configuration cannot work.
    #[error("invalid drive configuration: {rule}")]
    InvalidConfig {
        /// What would be right.
        rule: String,
    },
    /// A part of the log cannot be read from any combination of lanes. Nothing was changed.
    #[error(
        "segment {segment} is corrupt at byte {offset}: {detail}; bring back the missing drives or restore from a copy"
    )]
    Corrupt {
        /// The segment's number.
        segment: u64,
        /// The stripe's offset in the segment, in bytes.
        offset: u64,
        /// Which drives hold a bad or no lane.
        detail: String,
    },
    /// The last write cannot be read, and drives that are missing may hold enough of it for it to have been acknowledged. Nothing was changed.
    #[error(
        "the last write, in segment {segment} at byte {offset}, cannot be read without the missing drives {} and may have been acknowledged; \
         bring them back, or start once with storage.accept_loss = true to drop it",
        missing.join(", ")
    )]
    Undecided {
        /// The segment's number.
        segment: u64,
        /// The stripe's offset in the segment, in bytes.
        offset: u64,
        /// The labels of the drives that may hold it.
        missing: Vec<String>,
    },
    /// The drives hold less than the view says was acknowledged.
    #[error(
        "the drives end at segment {segment} byte {offset}, but acknowledged data reached segment {view_segment} byte {view_offset}; \
         bring back the drives that hold it, or start once with storage.accept_loss = true to go on without it"
    )]
    AcknowledgedLost {
        /// The last segment found.
        segment: u64,
        /// Where it ends, in bytes.
        offset: u64,
        /// The segment the view reached.
        view_segment: u64,
        /// The offset the view reached, in bytes.
        view_offset: u64,
    },
    /// A chunk of a blob cannot be read from any combination of lanes.
    #[error("chunk {chunk} of blob {blob} is corrupt in segment {segment} at byte {offset}: {detail}")]
    BlobCorrupt {
        /// The blob.
        blob: BlobId,
        /// The chunk's number.
        chunk: u32,
        /// The segment's number.
        segment: u64,
        /// The stripe's offset in the segment, in bytes.
        offset: u64,
        /// Which drives hold a bad or no lane.
        detail: String,
    },
    /// A drive has no room for another segment.
    #[error("drive {drive} is full: {free_bytes} bytes free, {needed_bytes} needed; free space or delete objects")]
    Full {
        /// The label of the drive.
        drive: String,
        /// Free bytes on it.
        free_bytes: u64,
        /// Bytes a segment and the reserve need.
        needed_bytes: u64,
    },
    /// Too few drives are alive to take writes; reads go on.
    #[error("the drives are read-only: {reason}")]
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The write did not become durable; it may be tried again.
    #[error("the write was not made durable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The bytes this write names were accepted in an era whose group failed.
    #[error("the bytes this write needs were lost with a failed write before it (era {required}, now {current})")]
    LostPrerequisite {
        /// The era of the bytes.
        required: u64,
        /// The current era.
        current: u64,
    },
    /// The caller asked for something outside the limits.
    #[error("{what} of {given} bytes, at most {max} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        given: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The caller handed over bytes in a shape the log does not take.
    #[error("invalid append: {rule}")]
    InvalidAppend {
        /// What would be right.
        rule: &'static str,
    },
    /// The log has been closed.
    #[error("the drive log is closed")]
    Closed,
    /// The view (the ordered index beside the log) failed.
    #[error("view: {action}: {detail}")]
    View {
        /// What was tried.
        action: &'static str,
        /// What the engine said.
        detail: String,
    },
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The call was wrong: repeat it with other arguments.
    Invalid,
    /// No space: try again when some was freed.
    Full,
    /// Too few drives for writes; reads work.
    ReadOnly,
    /// Not now: try again.
    Unavailable,
    /// Bytes are lost or cannot be trusted.
    Corrupt,
    /// Configuration, drives or program: a person must look.
    Internal,
}

impl Error {
    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::InvalidAppend { .. } | Self::NotReplaceable { .. } => ErrorKind::Invalid,
            Self::Full { .. } => ErrorKind::Full,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::Unavailable { .. } | Self::LostPrerequisite { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Corrupt { .. }
            | Self::Undecided { .. }
            | Self::AcknowledgedLost { .. }
            | Self::BlobCorrupt { .. } => ErrorKind::Corrupt,
            Self::Drive { .. }
            | Self::InUse { .. }
            | Self::OtherSet { .. }
            | Self::OtherNumber { .. }
            | Self::UsedApart { .. }
            | Self::OtherStore { .. }
            | Self::NewerFormat { .. }
            | Self::DuplicateDrive { .. }
            | Self::OtherShape { .. }
            | Self::DrivesMissing { .. }
            | Self::InvalidConfig { .. }
            | Self::View { .. } => ErrorKind::Internal,
        }
    }

    /// The same error once more, for the next one who waits for what failed.
    pub(crate) fn repeated(&self) -> Self {
        match self {
            Self::Full { drive, free_bytes, needed_bytes } => {
                Self::Full { drive: drive.clone(), free_bytes: *free_bytes, needed_bytes: *needed_bytes }
            }
            Self::ReadOnly { reason } => Self::ReadOnly { reason: reason.clone() },
            Self::Unavailable { reason } => Self::Unavailable { reason: reason.clone() },
            other => Self::Unavailable { reason: other.to_string() },
        }
    }

    pub(crate) fn drive(drive: &str, action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let (drive, action) = (drive.to_owned(), action.into());
        move |source| Self::Drive { drive, action, source }
    }
}
