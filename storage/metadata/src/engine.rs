//! The border: what an ordered-rows engine must do, in the fewest words.
//!
//! Implementations: [`crate::EmbeddedEngine`] on the drive log, `MemoryEngine` for tests. Each passes
//! [`crate::conformance`].

use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;
use cistern_types::Receipt;
use std::fmt::Debug;
use std::ops::Bound;

/// An ordered map of byte rows with snapshot reads and optimistic transactions, one winner.
#[async_trait]
pub trait Engine: Send + Sync + Debug + 'static {
    /// A view of all rows as of now: every commit acknowledged before the call is in it, and it never changes.
    async fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>>;

    /// Makes the writes durable and visible, all or none, unless a row in the read set has changed since the
    /// snapshot it was read from.
    ///
    /// [`Commit::Lost`] is answered only once the commit that won is visible to new snapshots, so that a retry makes
    /// progress. An `Err` leaves it open whether the commit happened when its kind is `Unavailable`; otherwise it did not.
    ///
    /// Whoever calls keeps the snapshot it read from alive until the answer: what an engine remembers in order to
    /// decide may be forgotten with the last snapshot that needs it, and then the answer is `Lost`.
    async fn commit(&self, request: CommitRequest) -> Result<Commit>;

    /// The stamp of the newest commit that wrote rows of a table, the byte that their keys begin with, or a later one; commits
    /// that are not visible yet are among them. A row that was read from a snapshot of that stamp or a newer one is what it was
    /// there for as long as the answer stays the same. `u64::MAX` where that cannot be said, so that nobody keeps rows.
    fn written(&self, table: u8) -> u64;
}

/// One unchanging moment of an engine.
#[async_trait]
pub trait EngineSnapshot: Send + Sync + Debug {
    /// The stamp of the newest commit in it.
    fn stamp(&self) -> u64;

    /// The value of one row.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Rows of a range in key order, at most `scan.limit` of them.
    async fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>>;
}

/// A half-open range of keys: `start <= key < end`; no `end` means to the last key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub start: Bytes,
    /// The first key after it.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Exactly one key.
    pub fn one(key: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(key), end: Some(key_after(key)) }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        let end = end.last_mut().map(|last| *last += 1).map(|()| Bytes::from(end));
        Self { start: Bytes::copy_from_slice(prefix), end }
    }

    /// Its keys that are `key` or come later.
    #[must_use]
    pub fn starting_at(mut self, key: &[u8]) -> Self {
        if key > &self.start[..] {
            self.start = Bytes::copy_from_slice(key);
        }
        self
    }

    /// Its keys that come later than `key`: where a page that ended with `key` goes on.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Self {
        self.starting_at(&key_after(key))
    }

    /// Its keys that come earlier than `key`.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Self {
        if self.end.as_ref().is_none_or(|end| key < &end[..]) {
            self.end = Some(Bytes::copy_from_slice(key));
        }
        self
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// As `BTreeMap::range::<[u8], _>` takes it, which panics when [`Self::is_empty`].
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = self.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        (Bound::Included(&self.start[..]), end)
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }
}

/// The first key that sorts after `key`.
fn key_after(key: &[u8]) -> Bytes {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after.into()
}

/// Which end of a range a scan begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    /// From the first key up.
    Ascending,
    /// From the last key down.
    Descending,
}

/// What a scan reads.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The keys that may be answered.
    pub range: KeyRange,
    /// At most this many rows.
    pub limit: usize,
    /// Which end to begin at.
    pub order: ScanOrder,
}

impl Scan {
    /// The first rows of `range`, at most `limit`.
    pub fn first(range: KeyRange, limit: usize) -> Self {
        Self { range, limit, order: ScanOrder::Ascending }
    }

    /// The last rows of `range`, at most `limit`, the last one first.
    pub fn last(range: KeyRange, limit: usize) -> Self {
        Self { range, limit, order: ScanOrder::Descending }
    }

    /// The part of the range on which an answer that ends with the key `last` and has `rows` rows depends: all of it
    /// when the limit was not reached.
    pub(crate) fn seen(&self, rows: usize, last: Option<&[u8]>) -> Option<KeyRange> {
        let range = self.range.clone();
        match (rows < self.limit, last, self.order) {
            (true, ..) => Some(range),
            (false, Some(last), ScanOrder::Ascending) => Some(range.before(&key_after(last))),
            (false, Some(last), ScanOrder::Descending) => Some(range.starting_at(last)),
            (false, None, _) => None,
        }
    }
}

/// What a transaction has read, and must find unchanged when it commits.
#[derive(Debug, Clone, Default)]
pub struct ReadSet {
    /// The stamp of the snapshot it read from.
    pub stamp: u64,
    /// Rows read one by one, present or not.
    pub keys: Vec<Bytes>,
    /// Ranges read by scans, cut to what the scan really saw.
    pub ranges: Vec<KeyRange>,
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put {
        /// The row's key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a row, present or not.
    Delete {
        /// The row's key.
        key: Bytes,
    },
    /// Sets a row whose key is `prefix` followed by the commit's stamp (8 bytes, big endian), and nothing else: there
    /// is at most one stamped row a prefix and transaction.
    PutStamped {
        /// What stands in front of the stamp.
        prefix: Bytes,
        /// The row's value.
        value: Bytes,
    },
}

/// A transaction, ready to be decided.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// What must not have changed.
    pub reads: ReadSet,
    /// What changes.
    pub writes: Vec<Write>,
    /// Blobs that the rows name and that must be durable with them.
    pub requires: Vec<Receipt>,
}

/// How a commit was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Durable and visible; stamps grow in commit order.
    Committed {
        /// The commit's stamp.
        stamp: u64,
    },
    /// Something it had read was changed by another commit; nothing was written. Begin again.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_prefix(prefix: &[u8], end: Option<&[u8]>) {
        let range = KeyRange::prefix(prefix);
        assert_eq!((&range.start[..], range.end.as_deref()), (prefix, end));
    }

    #[test]
    fn a_prefix_ends_before_the_next_one_of_its_length() {
        check_prefix(b"a", Some(b"b"));
        check_prefix(b"a\xff", Some(b"b"));
        check_prefix(b"\xff\xff", None);
        check_prefix(b"", None);
    }

    #[test]
    fn cutting_a_range_never_widens_it() {
        let range = KeyRange { start: "b".into(), end: Some("d".into()) };
        assert_eq!(range.clone().starting_at(b"a"), range);
        assert_eq!(range.clone().before(b"e"), range);
        assert!(!range.clone().after(b"b").contains(b"b"));
        assert!(range.clone().after(b"b").contains(b"b\0"));
        assert!(range.clone().before(b"b").is_empty());
        assert!(KeyRange::one(b"c").contains(b"c"));
        assert!(!KeyRange::one(b"c").contains(b"c\0"));
        assert!(!KeyRange::all().is_empty());
    }

    #[track_caller]
    fn check_seen(scan: &Scan, rows: usize, last: Option<&[u8]>, inside: &[&[u8]], outside: &[&[u8]]) {
        let seen = scan.seen(rows, last);
        let holds = |key: &&&[u8]| seen.as_ref().is_some_and(|seen| seen.contains(key));
        assert_eq!(inside.iter().filter(holds).count(), inside.len(), "{seen:?}");
        assert_eq!(outside.iter().filter(holds).count(), 0, "{seen:?}");
    }

    #[test]
    fn a_scan_depends_on_what_it_looked_at_and_no_more() {
        let range = KeyRange { start: "b".into(), end: Some("f".into()) };
        check_seen(&Scan::first(range.clone(), 2), 2, Some(b"c"), &[b"b", b"c"], &[b"a", b"c\0", b"d"]);
        check_seen(&Scan::first(range.clone(), 2), 1, Some(b"c"), &[b"b", b"c", b"e"], &[b"a", b"f"]);
        check_seen(&Scan::last(range.clone(), 2), 2, Some(b"d"), &[b"d", b"e"], &[b"c", b"f"]);
        check_seen(&Scan::last(range.clone(), 2), 0, None, &[b"b", b"e"], &[b"f"]);
        check_seen(&Scan::first(range, 0), 0, None, &[], &[b"b", b"e"]);
    }
}
