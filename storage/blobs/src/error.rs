//! What can go wrong with blobs, and what a caller can do about it.

use cistern_types::BlobId;

/// The answer of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a blob could not be written, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such blob, or it was deleted while it was read.
    #[error("read blob {id}: there is none of that name")]
    NoSuchBlob {
        /// The name.
        id: BlobId,
    },
    /// The range asked for does not lie inside the blob.
    #[error("read bytes {start} to {end} of blob {id}, which has {length}")]
    OutsideBlob {
        /// The blob.
        id: BlobId,
        /// The first byte asked for.
        start: u64,
        /// The first byte no longer asked for.
        end: u64,
        /// How many bytes the blob has.
        length: u64,
    },
    /// The store lost bytes of the blob while it was being written. Write it again from the beginning.
    #[error("write blob {id}: the drives lost a part of it before it was durable")]
    LostBytes {
        /// The blob that must be abandoned.
        id: BlobId,
    },
    /// A blob that says it is whole lacks a part.
    #[error("read chunk {chunk} of blob {id}: it is not where the blob's length says it is")]
    MissingChunk {
        /// The blob.
        id: BlobId,
        /// The number of the chunk.
        chunk: u32,
    },
    /// A chunk of a blob is whole, but not what a chunk of its set looks like.
    #[error("read chunk {chunk} of blob {id}: {reason}")]
    DamagedChunk {
        /// The blob.
        id: BlobId,
        /// The number of the chunk.
        chunk: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A blob lies in a set of drives that is not open.
    #[error(
        "reach blob {id}: it lies in set {set} of the drives, which is not open; bring back its drives and start again"
    )]
    NoSuchSet {
        /// The blob.
        id: BlobId,
        /// The number of the set.
        set: u8,
    },
    /// The drive log failed.
    #[error("reach blob bytes on the drives")]
    Drives(#[from] cistern_drives::Error),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// Someone else was faster: begin again.
    Conflict,
    /// The request can never succeed as it is.
    Invalid,
    /// Too much at once: try again later.
    Busy,
    /// The drives are full: something has to go first.
    Full,
    /// The store cannot do this now.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupt,
    /// A defect of this program.
    Internal,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchBlob { .. } => ErrorKind::NotFound,
            Self::OutsideBlob { .. } => ErrorKind::Invalid,
            Self::LostBytes { .. } | Self::NoSuchSet { .. } => ErrorKind::Unavailable,
            Self::MissingChunk { .. } | Self::DamagedChunk { .. } => ErrorKind::Corrupt,
            Self::Drives(source) => match source.kind() {
                cistern_drives::ErrorKind::Full => ErrorKind::Full,
                cistern_drives::ErrorKind::ReadOnly | cistern_drives::ErrorKind::Unavailable => ErrorKind::Unavailable,
                cistern_drives::ErrorKind::Corrupt => ErrorKind::Corrupt,
                cistern_drives::ErrorKind::Invalid | cistern_drives::ErrorKind::Internal => ErrorKind::Internal,
            },
        }
    }
}
