//! `ETag`: the entity tag S3 answers for an object.

use crate::Invalid;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// An object's entity tag: the MD5 of its bytes, or for multipart uploads the MD5 of the parts' MD5s and their number.
///
/// `Display` writes the text without quotes (`9e10…`, `9e10…-3`); parsing takes it with or without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ETag {
    /// MD5 of the whole body.
    Md5([u8; 16]),
    /// MD5 over the binary MD5s of the parts, in order, and how many parts there were.
    Multipart {
        /// MD5 over the binary MD5s of the parts.
        md5: [u8; 16],
        /// Number of parts, 1 to 10,000.
        parts: u32,
    },
}

/// Room for a tag with its quotes, in bytes.
const QUOTED_BYTES: usize = 40;

impl ETag {
    /// The text with its quotes, as HTTP headers and S3's XML carry it.
    pub fn quoted(&self) -> String {
        let mut text = String::with_capacity(QUOTED_BYTES);
        text.push('"');
        write!(text, "{self}").expect("writing to a string cannot fail");
        text.push('"');
        text
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Md5(md5) | Self::Multipart { md5, .. }) = self;
        let mut digits = [0; 32];
        hex::encode_to_slice(md5, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)?;
        match self {
            Self::Md5(_) => Ok(()),
            Self::Multipart { parts, .. } => write!(f, "-{parts}"),
        }
    }
}

impl FromStr for ETag {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("ETag", text, "use 32 hex digits, optionally followed by -N");
        let bare = text.trim_matches('"');
        let (digest, parts) = match bare.split_once('-') {
            Some((digest, parts)) => (digest, Some(parts.parse::<u32>().map_err(|_| invalid())?)),
            None => (bare, None),
        };
        let mut md5 = [0; 16];
        hex::decode_to_slice(digest, &mut md5).map_err(|_| invalid())?;
        Ok(match parts {
            Some(parts) => Self::Multipart { md5, parts },
            None => Self::Md5(md5),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_round_trip_and_quotes_are_optional() {
        for text in ["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-17"] {
            let tag: ETag = text.parse().unwrap();
            assert_eq!(tag.to_string(), text);
            assert_eq!(tag.quoted().parse::<ETag>().unwrap(), tag);
        }
        assert!("xyz".parse::<ETag>().is_err());
        assert!("d41d8cd98f00b204e9800998ecf8427e-x".parse::<ETag>().is_err());
    }
}
