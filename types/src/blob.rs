//! `BlobId` and `Receipt`: how the layers above name immutable bytes, and how a commit says which bytes it needs.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The random name of an immutable blob: 48 bits of creation time in ms, then 80 random bits, so that names sort by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId([u8; 16]);

impl BlobId {
    /// The smallest id: where a listing begins.
    pub const MIN: Self = Self([0; 16]);

    /// A new id, made at `now`.
    pub fn new(now: Timestamp) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&rand::random::<[u8; 10]>());
        Self(bytes)
    }

    /// When the blob was begun, to the millisecond.
    pub fn created(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        Timestamp::from_millis(u64::from_be_bytes(millis))
    }

    /// The 16 bytes, in sort order.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

/// What must be durable before a commit that names a blob may be acknowledged.
///
/// A blob store may answer before the bytes are durable, as long as a commit that presents the receipt cannot be
/// acknowledged without them. The embedded log uses it to put a small body and its row into one synced group; a store
/// that waits for durability itself answers [`Receipt::DURABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "a commit that names the blob must present its receipt"]
pub struct Receipt(u64);

impl Receipt {
    /// The bytes are durable already.
    pub const DURABLE: Self = Self(0);

    /// The bytes are durable once a commit of the same log era is.
    pub fn era(era: u64) -> Self {
        Self(era)
    }

    /// The log era the bytes were accepted in, or `None` when they are durable already.
    pub fn as_era(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_age_and_know_it() {
        let (early, late) = (Timestamp::from_millis(1_700_000_000_000), Timestamp::from_millis(1_700_000_000_001));
        let (a, b) = (BlobId::new(early), BlobId::new(late));
        assert!(a < b);
        assert_eq!((a.created(), b.created()), (early, late));
    }
}
