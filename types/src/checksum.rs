//! `Checksum`: the checksums S3 clients send beside a body and ask for later.

use crate::Invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The checksum algorithms of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32C,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them, in the order S3's documents list them.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32C, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The length of a value, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32C => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The header that carries a value, in lower case: `x-amz-checksum-crc32` and so on.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc32 => "CRC32",
            Self::Crc32C => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        })
    }
}

impl FromStr for ChecksumAlgorithm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| Invalid::new("checksum algorithm", text, "use CRC32, CRC32C, CRC64NVME, SHA1 or SHA256"))
    }
}

/// One checksum value with its algorithm; the length always fits the algorithm.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    value: Box<[u8]>,
}

impl Checksum {
    /// A computed value.
    ///
    /// # Panics
    /// When the length of `value` is not the algorithm's.
    pub fn new(algorithm: ChecksumAlgorithm, value: &[u8]) -> Self {
        assert_eq!(value.len(), algorithm.bytes(), "a {algorithm} value has a fixed length");
        Self { algorithm, value: value.into() }
    }

    /// A value as a header carries it, in base64.
    pub fn from_base64(algorithm: ChecksumAlgorithm, text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("checksum", text, "use the base64 of a value of the algorithm's length");
        let value = STANDARD.decode(text).map_err(|_| invalid())?;
        if value.len() != algorithm.bytes() {
            return Err(invalid());
        }
        Ok(Self { algorithm, value: value.into() })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// The value's bytes, as long as the algorithm says.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The value as headers and XML carry it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.value)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.to_base64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_length_is_refused() {
        assert!(Checksum::from_base64(ChecksumAlgorithm::Crc32, "AAAAAA==").is_ok());
        assert!(Checksum::from_base64(ChecksumAlgorithm::Crc32, "AAAAAAA=").is_err());
        assert!(Checksum::from_base64(ChecksumAlgorithm::Sha256, "no base64!").is_err());
    }
}
