//! `RecentWrites`: which rows were written lately and by which commit, to decide whether a transaction may commit.
//!
//! A commit is recorded in the moment the log gives it its stamp, long before it is visible, so that two transactions
//! that are on their way at once see each other. It is forgotten when no living snapshot is older than it. What is
//! remembered is bounded: beyond [`RECENT_BYTES_MAX`] the oldest visible commits are forgotten, and transactions that
//! read before them lose; those still on their way are bounded by the queue of the log.
//!
//! ```text
//! stamps   ... 17   18 | 19   20   21 | 22   23      remembered: 19 to 23
//!                    floor   oldest snapshot   applied: 21
//! ```

use crate::{KeyRange, ReadSet};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// What the remembered keys may cost, in bytes.
pub(crate) const RECENT_BYTES_MAX: usize = 64 << 20;
/// What a remembered key costs besides its bytes, in bytes.
const KEY_COST_BYTES: usize = 96;

/// The commits that may still stand in a transaction's way.
#[derive(Debug, Default)]
pub(crate) struct RecentWrites {
    /// Written keys with the stamp of the commit.
    keys: BTreeSet<(Bytes, u64)>,
    /// The same by commit, oldest first.
    commits: VecDeque<(u64, Vec<Bytes>)>,
    /// The newest commit of all.
    newest: u64,
    /// The newest commit that was forgotten; who read before it cannot be judged.
    floor: u64,
    cost_bytes: usize,
}

/// The stamps of living snapshots.
#[derive(Debug, Default)]
pub(crate) struct Living {
    /// How many hold each stamp.
    snapshots: BTreeMap<u64, usize>,
}

impl Living {
    /// Keeps what a snapshot at `stamp` or later needs, until [`Self::release`].
    pub(crate) fn hold(&mut self, stamp: u64) {
        *self.snapshots.entry(stamp).or_default() += 1;
    }

    /// Ends a [`Self::hold`].
    pub(crate) fn release(&mut self, stamp: u64) {
        let count = self.snapshots.get_mut(&stamp).expect("only a snapshot that was held is released");
        *count -= 1;
        if *count == 0 {
            self.snapshots.remove(&stamp);
        }
    }

    /// The oldest stamp that is held.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.snapshots.keys().next().copied()
    }
}

impl RecentWrites {
    /// The stamp of the newest commit that was recorded since the start.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// The stamp of a commit after the snapshot that wrote what was read, if there is one.
    pub(crate) fn conflict(&self, reads: &ReadSet) -> Option<u64> {
        if reads.stamp < self.floor && !(reads.keys.is_empty() && reads.ranges.is_empty()) {
            return Some(self.floor);
        }
        if self.commits.back().is_none_or(|(newest, _)| *newest <= reads.stamp) {
            return None;
        }
        let of_key = |key: &Bytes| {
            let later = (Bound::Excluded((key.clone(), reads.stamp)), Bound::Included((key.clone(), u64::MAX)));
            self.keys.range(later).next_back().map(|(_, stamp)| *stamp)
        };
        let of_range = |range: &KeyRange| {
            let end = range.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded((end.clone(), 0)));
            let written = self.keys.range((Bound::Included((range.start.clone(), 0)), end));
            written.map(|(_, stamp)| *stamp).filter(|stamp| *stamp > reads.stamp).max()
        };
        let ranges = reads.ranges.iter().filter(|range| !range.is_empty());
        reads.keys.iter().filter_map(of_key).chain(ranges.filter_map(of_range)).max()
    }

    /// Remembers what a commit writes. Stamps come in order.
    pub(crate) fn record(&mut self, stamp: u64, keys: Vec<Bytes>) {
        assert!(self.newest < stamp, "stamps grow");
        self.newest = stamp;
        for key in &keys {
            self.cost_bytes += key.len() + KEY_COST_BYTES;
            self.keys.insert((key.clone(), stamp));
        }
        self.commits.push_back((stamp, keys));
    }

    /// Forgets what no snapshot at `oldest` or later needs, the newest visible commit being `applied`, and then the oldest
    /// visible commits for as long as the keys cost more than `cost_bytes_max`.
    pub(crate) fn prune(&mut self, applied: u64, oldest: u64, cost_bytes_max: usize) {
        let over = |cost_bytes: usize| cost_bytes > cost_bytes_max;
        while let Some((stamp, keys)) =
            self.commits.pop_front_if(|(stamp, _)| *stamp <= applied && (*stamp <= oldest || over(self.cost_bytes)))
        {
            self.floor = self.floor.max(stamp);
            self.forget(stamp, keys);
        }
    }

    fn forget(&mut self, stamp: u64, keys: Vec<Bytes>) {
        for key in keys {
            self.cost_bytes -= key.len() + KEY_COST_BYTES;
            self.keys.remove(&(key, stamp));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"a b c-e"`: two keys and the range from `c` up to before `e`.
    fn reads(stamp: u64, words: &str) -> ReadSet {
        let mut reads = ReadSet { stamp, ..ReadSet::default() };
        for word in words.split_whitespace() {
            match word.split_once('-') {
                Some((start, end)) => {
                    let range = KeyRange { start: start.to_owned().into(), end: Some(end.to_owned().into()) };
                    reads.ranges.push(range);
                }
                None => reads.keys.push(word.to_owned().into()),
            }
        }
        reads
    }

    fn recent(commits: &[(u64, &str)]) -> RecentWrites {
        let mut recent = RecentWrites::default();
        for (stamp, keys) in commits {
            recent.record(*stamp, keys.split_whitespace().map(|key| key.to_owned().into()).collect());
        }
        recent
    }

    #[track_caller]
    fn check(recent: &RecentWrites, stamp: u64, words: &str, expected: Option<u64>) {
        assert_eq!(recent.conflict(&reads(stamp, words)), expected, "{words} read at {stamp} of {recent:?}");
    }

    #[test]
    fn only_later_writes_of_what_was_read_conflict() {
        let recent = recent(&[(3, "a c"), (5, "a d"), (9, "e")]);
        check(&recent, 2, "a", Some(5));
        check(&recent, 4, "a", Some(5));
        check(&recent, 5, "a", None);
        check(&recent, 0, "b", None);
        check(&recent, 4, "c-d", None);
        check(&recent, 2, "c-d", Some(3));
        check(&recent, 4, "c-e", Some(5));
        check(&recent, 4, "e-c b", None);
        check(&recent, 4, "b a-z", Some(9));
        check(&recent, 9, "a-z", None);
    }

    #[test]
    fn what_a_living_snapshot_needs_is_kept() {
        let mut recent = recent(&[(3, "a"), (5, "b"), (9, "c")]);
        let mut living = Living::default();
        living.hold(3);
        living.hold(3);
        living.hold(5);
        assert_eq!(living.oldest(), Some(3));
        recent.prune(9, 3, RECENT_BYTES_MAX);
        check(&recent, 3, "b", Some(5));
        check(&recent, 3, "a", None);
        living.release(3);
        assert_eq!(living.oldest(), Some(3));
        living.release(3);
        assert_eq!(living.oldest(), Some(5));
        recent.prune(9, 5, RECENT_BYTES_MAX);
        check(&recent, 5, "c", Some(9));
        living.release(5);
        assert_eq!(living.oldest(), None);
        recent.prune(7, 7, RECENT_BYTES_MAX);
        check(&recent, 7, "c", Some(9));
        recent.prune(9, 9, RECENT_BYTES_MAX);
        assert_eq!((recent.keys.len(), recent.commits.len(), recent.cost_bytes), (0, 0, 0));
    }

    #[test]
    fn beyond_the_bound_old_readers_lose_and_new_ones_do_not() {
        let mut recent = recent(&[(3, "a"), (5, "b"), (9, "c")]);
        recent.prune(9, 1, KEY_COST_BYTES + 1);
        check(&recent, 1, "x", Some(5));
        check(&recent, 4, "x", Some(5));
        check(&recent, 5, "x", None);
        check(&recent, 5, "c", Some(9));
        check(&recent, 1, "", None);
        recent.prune(9, 1, 0);
        recent.record(12, vec!["d".into()]);
        recent.prune(9, 1, 0);
        check(&recent, 9, "d", Some(12)); // not visible yet, so it is kept whatever it costs
        check(&recent, 9, "x", None);
    }
}
