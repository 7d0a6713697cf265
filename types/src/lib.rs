//! The words of Cistern: names, sizes, times and identifiers, each parsed once at the edge and trusted afterwards.
//!
//! Lowest layer, no I/O, no async. Everything here is a value with one definition; a function that means a bucket
//! takes a [`BucketName`], never a `String`.
//!
//! ```text
//! bucket.rs   BucketName            size.rs      ByteSize ("1MB", "64MiB")
//! key.rs      ObjectKey             time.rs      Timestamp (ms since 1970), parse_duration ("120s")
//! etag.rs     ETag                  checksum.rs  ChecksumAlgorithm, Checksum
//! blob.rs     BlobId, Receipt       class.rs     StorageClass
//! identity.rs AccessKeyId, OwnerId, AccountId, UploadId, PipelineName, BucketId
//! ```

mod acl;
mod blob;
mod bucket;
mod checksum;
mod class;
mod etag;
mod identity;
mod key;
mod size;
mod time;

pub use acl::{Acl, AclPermission, Grant, Grantee, Owner};
pub use blob::{BlobId, Receipt};
pub use bucket::BucketName;
pub use checksum::{Checksum, ChecksumAlgorithm};
pub use class::StorageClass;
pub use etag::ETag;
pub use identity::{AccessKeyId, AccountId, BucketId, OwnerId, PipelineName, UploadId};
pub use key::ObjectKey;
pub use size::ByteSize;
pub use time::{Timestamp, format_duration, parse_duration};

/// A text that is not the word it should be: which word, what was given, what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {given:?}: {rule}")]
pub struct Invalid {
    /// The word that was expected, for example `bucket name`.
    pub what: &'static str,
    /// What was given, cut to 128 characters.
    pub given: String,
    /// What would be right.
    pub rule: &'static str,
}

impl Invalid {
    pub(crate) fn new(what: &'static str, given: &str, rule: &'static str) -> Self {
        Self { what, given: given.chars().take(128).collect(), rule }
    }
}

/// Implements the text faces of a validated string: `FromStr`, `TryFrom<String>`, `Display`, `AsRef<str>`, serde as text.
macro_rules! text_word {
    ($name:ident) => {
        impl $name {
            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::Invalid;
            fn from_str(text: &str) -> Result<Self, $crate::Invalid> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = $crate::Invalid;
            fn try_from(text: String) -> Result<Self, $crate::Invalid> {
                text.parse()
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_word;
