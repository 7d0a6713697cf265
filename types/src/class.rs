//! `StorageClass`: what an object costs to hold and to read.

use crate::{BlobId, Invalid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The class an object is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum StorageClass {
    /// `STANDARD`, the default.
    #[default]
    Standard,
    /// `STANDARD_IA`: cheaper to hold, dearer to read.
    InfrequentAccess,
}

impl StorageClass {
    /// The numbers that sets of drives for this class can have, see [`BlobId::set`](crate::BlobId::set).
    pub fn sets(self) -> Range<u8> {
        match self {
            Self::Standard => 0..16,
            Self::InfrequentAccess => 16..BlobId::SETS,
        }
    }

    /// The class of a set of drives.
    pub fn of_set(set: u8) -> Self {
        if Self::Standard.sets().contains(&set) { Self::Standard } else { Self::InfrequentAccess }
    }

    /// The name in S3: `STANDARD` or `STANDARD_IA`.
    pub fn s3_name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::InfrequentAccess => "STANDARD_IA",
        }
    }

    /// The name in the management API: `Standard` or `InfrequentAccess`.
    pub fn api_name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::InfrequentAccess => "InfrequentAccess",
        }
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.s3_name())
    }
}

impl FromStr for StorageClass {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "STANDARD" | "Standard" => Ok(Self::Standard),
            "STANDARD_IA" | "InfrequentAccess" => Ok(Self::InfrequentAccess),
            _ => Err(Invalid::new("storage class", text, "use STANDARD or STANDARD_IA")),
        }
    }
}
