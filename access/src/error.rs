//! What can go wrong with keys and credentials, and what a caller can do about it.

use std::path::PathBuf;

/// The answer of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why keys or credentials could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The credentials file could not be read.
    #[error("read the credentials file {}", path.display())]
    ReadCredentials {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The credentials file could not be written.
    #[error("write the credentials file {}", path.display())]
    WriteCredentials {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Other users of the machine may read the credentials file.
    #[error(
        "use the credentials file {}: others may read it (mode {mode:04o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    CredentialsReadable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The credentials file is not what this program writes. Nothing of it is told: it holds secrets.
    #[error(
        "understand the credentials file {}: line {line} is not as it should be; it holds account_id, access_key_id, secret_access_key and api_token, \
         each a text in quotes",
        path.display()
    )]
    ParseCredentials {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A credential given from outside, or a name, breaks its rule.
    #[error("use this {what}: {rule}")]
    Unfit {
        /// What it is; its text is not repeated, it may be a secret.
        what: &'static str,
        /// What would be right.
        rule: &'static str,
    },
    /// A key of that name exists.
    #[error("create key {name:?}: a key of that name exists")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// There are as many keys as there may be.
    #[error("create another key: there are {limit} already, revoke one first")]
    TooManyKeys {
        /// How many there may be.
        limit: usize,
    },
    /// No key has that name or id.
    #[error("find a key with the name or access key id {name_or_id:?}")]
    NoSuchKey {
        /// What was asked for.
        name_or_id: String,
    },
    /// The root key is not a row: it stands in the credentials file.
    #[error("revoke the root key: replace it in the credentials file and restart instead")]
    RootKey,
    /// A session token is none, or of another key.
    #[error("use this session token: it is damaged, or its key was revoked or is another")]
    InvalidToken,
    /// A session token's time is over.
    #[error("use this session token: it has expired")]
    ExpiredToken,
    /// Others changed the keys again and again meanwhile.
    #[error("change the keys: others changed them {tries} times meanwhile, try again")]
    TooMuchContention {
        /// How often it was tried.
        tries: u32,
    },
    /// The rows of the keys could not be read or written.
    #[error("access the rows of the keys")]
    Metadata(#[from] cistern_metadata::Error),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// What should be made is there already, or someone else was faster.
    Conflict,
    /// The request or a file can never be accepted as it is.
    Invalid,
    /// Too much at once: try again later.
    Busy,
    /// The store cannot do this now.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupt,
    /// A defect of this program, or of its surroundings.
    Internal,
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ReadCredentials { .. } | Self::WriteCredentials { .. } => ErrorKind::Internal,
            Self::CredentialsReadable { .. }
            | Self::ParseCredentials { .. }
            | Self::Unfit { .. }
            | Self::TooManyKeys { .. }
            | Self::InvalidToken
            | Self::ExpiredToken
            | Self::RootKey => ErrorKind::Invalid,
            Self::NameTaken { .. } => ErrorKind::Conflict,
            Self::NoSuchKey { .. } => ErrorKind::NotFound,
            Self::TooMuchContention { .. } => ErrorKind::Busy,
            Self::Metadata(error) => match error.kind() {
                cistern_metadata::ErrorKind::NotFound => ErrorKind::NotFound,
                cistern_metadata::ErrorKind::Conflict => ErrorKind::Conflict,
                cistern_metadata::ErrorKind::Invalid => ErrorKind::Invalid,
                cistern_metadata::ErrorKind::Busy | cistern_metadata::ErrorKind::Full => ErrorKind::Busy,
                cistern_metadata::ErrorKind::Unavailable => ErrorKind::Unavailable,
                cistern_metadata::ErrorKind::Corrupt => ErrorKind::Corrupt,
                cistern_metadata::ErrorKind::Internal => ErrorKind::Internal,
            },
        }
    }
}
