//! What can go wrong with rows, and what a caller can do about it.

/// The answer of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row's key is longer than [`crate::KEY_BYTES_MAX`].
    #[error("write a row whose key has {bytes} bytes, at most {limit} are allowed")]
    KeyTooLong {
        /// How long the key is, its stamp included.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A row's value is longer than [`crate::VALUE_BYTES_MAX`].
    #[error("write a row whose value has {bytes} bytes, at most {limit} are allowed")]
    ValueTooLarge {
        /// How long the value is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The writes of a transaction together are larger than [`crate::TRANSACTION_BYTES_MAX`].
    #[error("commit a transaction of {bytes} bytes, at most {limit} are allowed")]
    TransactionTooLarge {
        /// The sum of its keys and values and [`crate::ROW_OVERHEAD_BYTES`] for each row.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A transaction has read more rows and ranges than [`crate::TRANSACTION_READS_MAX`].
    #[error("commit a transaction that depends on {reads} reads, at most {limit} are allowed")]
    TooManyReads {
        /// How many rows and ranges it has read.
        reads: usize,
        /// How many it may read.
        limit: usize,
    },
    /// Two stamped rows of one transaction have the same prefix, so they would be the same row.
    #[error("write two stamped rows under the prefix {prefix} in one transaction")]
    StampedTwice {
        /// The prefix, in hex.
        prefix: String,
    },
    /// A stored row does not decode: it was written by other code, or the store is damaged.
    #[error("read row {key} of table {table}: its bytes do not decode")]
    CorruptRow {
        /// The table's name.
        table: &'static str,
        /// The row's whole key, in hex.
        key: String,
    },
    /// A stored row has a version this program does not know.
    #[error(
        "read a row of table {table}: version {version} is unknown to this release, a newer one may have written it"
    )]
    UnknownRowVersion {
        /// The table's name.
        table: &'static str,
        /// The version found.
        version: u8,
    },
    /// A value cannot be encoded; a defect of its type.
    #[error("encode a row of table {table}")]
    EncodeRow {
        /// The table's name.
        table: &'static str,
        /// What the encoder says.
        source: postcard::Error,
    },
    /// Bytes of a blob that the transaction names were lost before they were durable; write the blob again.
    #[error("commit rows that name a blob whose bytes were lost before they were durable")]
    LostPrerequisite,
    /// The drive log failed.
    #[error("reach the rows on the drives")]
    Drives(#[source] cistern_drives::Error),
}

impl From<cistern_drives::Error> for Error {
    fn from(error: cistern_drives::Error) -> Self {
        match error {
            cistern_drives::Error::LostPrerequisite { .. } => Self::LostPrerequisite,
            error => Self::Drives(error),
        }
    }
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
    /// The store cannot do this now. Whether a commit happened is open.
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
            Self::KeyTooLong { .. }
            | Self::ValueTooLarge { .. }
            | Self::TransactionTooLarge { .. }
            | Self::TooManyReads { .. } => ErrorKind::Invalid,
            Self::CorruptRow { .. } | Self::UnknownRowVersion { .. } => ErrorKind::Corrupt,
            Self::EncodeRow { .. } | Self::StampedTwice { .. } => ErrorKind::Internal,
            Self::LostPrerequisite => ErrorKind::Busy,
            Self::Drives(source) => match source.kind() {
                cistern_drives::ErrorKind::Full => ErrorKind::Full,
                cistern_drives::ErrorKind::ReadOnly | cistern_drives::ErrorKind::Unavailable => ErrorKind::Unavailable,
                cistern_drives::ErrorKind::Corrupt => ErrorKind::Corrupt,
                cistern_drives::ErrorKind::Invalid | cistern_drives::ErrorKind::Internal => ErrorKind::Internal,
            },
        }
    }
}
