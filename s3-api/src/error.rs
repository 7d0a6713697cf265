//! What can go wrong when the door is built. What goes wrong with a request is an answer, see `error_map.rs`.

/// The answer of what here can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the S3 door could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `domain` is not the name of a domain.
    #[error("use {domain:?} as the domain of buckets: give a name like s3.example.com, without scheme, port and path")]
    InvalidDomain {
        /// What was given.
        domain: String,
    },
}
