//! Identifiers of people, buckets, uploads and pipelines.

use crate::{Invalid, text_word};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The public half of a key pair: 16 to 128 letters, digits and `_`, `-`, `.` (what an AWS SDK calls access key id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(Box<str>);

text_word!(AccessKeyId);

impl AccessKeyId {
    fn check(text: &str) -> Result<(), Invalid> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if !(3..=128).contains(&text.len()) || !text.bytes().all(good) {
            return Err(Invalid::new("access key id", text, "use 3 to 128 letters, digits, '_', '-' and '.'"));
        }
        Ok(())
    }
}

/// The name of a pipeline: 1 to 63 letters, digits, hyphens and underscores, beginning and ending with a letter or digit; not
/// `v1`, which is a path of the management API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineName(Box<str>);

text_word!(PipelineName);

impl PipelineName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 63;

    fn check(text: &str) -> Result<(), Invalid> {
        let bytes = text.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if bytes.len() > Self::BYTES_MAX || !edge(bytes.first()) || !edge(bytes.last()) || !inner || text == "v1" {
            let rule = "use 1 to 63 letters, digits, hyphens and underscores, beginning and ending with a letter or digit, and not v1";
            return Err(Invalid::new("pipeline name", text, rule));
        }
        Ok(())
    }
}

macro_rules! hex_word {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// A new random one.
            pub fn random() -> Self {
                Self(rand::random())
            }

            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The one with these bytes.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| Invalid::new($what, text, $rule))?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_word!(
    /// The id of this installation in management API paths: 32 hex digits.
    AccountId, 16, "account id", "use 32 hex digits"
);
hex_word!(
    /// The canonical id of an owner of buckets, as S3 shows it: 64 hex digits.
    OwnerId, 32, "owner id", "use 64 hex digits"
);
hex_word!(
    /// The id of a multipart upload: 32 hex digits.
    UploadId, 16, "upload id", "use the id that the create call answered"
);
hex_word!(
    /// The id of one life of a bucket: a bucket deleted and made again under the same name has another.
    BucketId, 8, "bucket id", "use 16 hex digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipeline_names_follow_their_rule() {
        for good in ["a", "clickstream-ingest-prod", "A1"] {
            assert!(good.parse::<PipelineName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "_a", "a b", "v1", "ä"] {
            assert!(bad.parse::<PipelineName>().is_err(), "{bad}");
        }
        assert!("a".repeat(64).parse::<PipelineName>().is_err());
    }

    #[test]
    fn hex_ids_round_trip() {
        let id = UploadId::random();
        assert_eq!(id.to_string().parse::<UploadId>().unwrap(), id);
        assert!("12".parse::<AccountId>().is_err());
    }
}
