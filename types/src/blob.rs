//! `BlobId` and `Receipt`: how the layers above name immutable bytes, and how a commit says which bytes it needs.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bits of the creation time in a [`BlobId`]: they last until the year 2248.
const TIME_BITS: u32 = 43;
/// Where the number of the set stands in the first byte.
const SET_SHIFT: u32 = TIME_BITS - 40;

/// The random name of an immutable blob: 5 bits that say in which set of drives it lies, 43 bits of creation time in ms, 80 random bits, so
/// that the names of a set sort by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId([u8; 16]);

impl BlobId {
    /// The smallest id: where a listing begins.
    pub const MIN: Self = Self([0; 16]);

    /// How many sets of drives ids can tell apart.
    pub const SETS: u8 = 32;

    /// A new id, made at `now`, of a blob in the first set.
    pub fn new(now: Timestamp) -> Self {
        Self::new_in(0, now)
    }

    /// A new id, made at `now`, of a blob in this set.
    ///
    /// # Panics
    /// When there can be no such set.
    pub fn new_in(set: u8, now: Timestamp) -> Self {
        assert!(set < Self::SETS, "set {set} of {}", Self::SETS);
        let time = now.as_millis() & ((1 << TIME_BITS) - 1);
        let head = u64::from(set) << TIME_BITS | time;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&head.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&rand::random::<[u8; 10]>());
        Self(bytes)
    }

    /// The set of drives that the blob lies in.
    pub fn set(&self) -> u8 {
        self.0[0] >> SET_SHIFT
    }

    /// When the blob was begun, to the millisecond.
    pub fn created(&self) -> Timestamp {
        let mut head = [0; 8];
        head[2..].copy_from_slice(&self.0[..6]);
        Timestamp::from_millis(u64::from_be_bytes(head) & ((1 << TIME_BITS) - 1))
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

    #[test]
    fn ids_know_their_set_and_sort_by_it_first() {
        let now = Timestamp::from_millis(1_900_000_000_000);
        for set in 0..BlobId::SETS {
            let id = BlobId::new_in(set, now);
            assert_eq!((id.set(), id.created()), (set, now));
            assert!(set == 0 || BlobId::new_in(set - 1, now) < id);
        }
    }
}
