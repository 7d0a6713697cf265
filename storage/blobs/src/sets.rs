//! The sets of drives of a store: which one holds a blob, and which one a new blob goes to.
//!
//! ```text
//! set 0     the rows, and small bodies beside them in one synced group
//! 1 ..15    further Standard sets                              a blob's id names its set; nothing is ever moved because
//! 16 ..31   Infrequent Access, with a code of its own          sets were added: new blobs go where there is room
//! ```
//! Among several sets a new blob goes to one at random, each in proportion to its room. Small bodies stay beside the rows as long as set 0 is
//! not much fuller than the others: elsewhere they cost a sync of their own.

use crate::coding::{Coding, Compression};
use crate::{Error, Result};
use cistern_drives::DriveLog;
use cistern_runtime::offload;
use cistern_types::{BlobId, StorageClass};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The set that holds the rows.
pub(crate) const HOME: u8 = 0;
/// How long it is believed how much room there is.
const ROOM_AGE_MAX: Duration = Duration::from_secs(1);
/// Small bodies leave the home set when it has less room than this part of what the roomiest has, in percent.
const HOME_ROOM_PERCENT_MIN: u64 = 75;
/// Bodies up to this size are worth keeping beside the rows.
const SMALL_BYTES: usize = 128 << 10;

/// One set as a place for blobs.
#[derive(Debug, Clone)]
pub(crate) struct BlobSet {
    pub(crate) log: DriveLog,
    pub(crate) coding: Coding,
}

impl BlobSet {
    fn new(log: DriveLog, infrequent: Compression) -> Self {
        let coding = match StorageClass::of_set(log.number()) {
            StorageClass::Standard => Coding::Plain,
            StorageClass::InfrequentAccess => Coding::Tagged(infrequent),
        };
        Self { log, coding }
    }

    /// Whether the rows lie in it too.
    pub(crate) fn is_home(&self) -> bool {
        self.log.number() == HOME
    }
}

/// All sets of a store.
#[derive(Debug)]
pub(crate) struct Sets {
    sets: BTreeMap<u8, BlobSet>,
    rooms: Mutex<Option<Rooms>>,
}

/// How many bytes of bodies each set had room for.
#[derive(Debug, Clone)]
struct Rooms {
    at: Instant,
    bytes: BTreeMap<u8, u64>,
}

impl Sets {
    /// # Panics
    /// When two have the same number, or none is set 0.
    pub(crate) fn new(logs: impl IntoIterator<Item = DriveLog>, infrequent: Compression) -> Self {
        let mut sets = BTreeMap::new();
        for log in logs {
            let twin = sets.insert(log.number(), BlobSet::new(log, infrequent));
            assert!(twin.is_none(), "two sets of one number");
        }
        assert!(sets.contains_key(&HOME), "the set with the rows is always there");
        Self { sets, rooms: Mutex::default() }
    }

    /// The set that holds a blob.
    pub(crate) fn of(&self, id: BlobId) -> Result<&BlobSet> {
        self.sets.get(&id.set()).ok_or(Error::NoSuchSet { id, set: id.set() })
    }

    /// The sets from one number on.
    pub(crate) fn from(&self, number: u8) -> impl Iterator<Item = &BlobSet> {
        self.sets.range(number..).map(|(_, set)| set)
    }

    /// The set for a new blob of this class; `bytes` is its length if that is known. A class without sets of its own lies in those of Standard.
    pub(crate) async fn choose(&self, class: StorageClass, bytes: Option<usize>) -> &BlobSet {
        let of_class =
            |class: StorageClass| -> Vec<u8> { self.sets.range(class.sets()).map(|(set, _)| *set).collect() };
        let own = of_class(class);
        let candidates = if own.is_empty() { of_class(StorageClass::Standard) } else { own };
        if let [only] = candidates[..] {
            return &self.sets[&only];
        }
        let rooms = self.rooms().await;
        let room = |set: &u8| (*set, rooms.get(set).copied().unwrap_or_default());
        let rooms: Vec<(u8, u64)> = candidates.iter().map(room).collect();
        &self.sets[&place(&rooms, bytes.is_some_and(|bytes| bytes <= SMALL_BYTES), rand::random())]
    }

    async fn rooms(&self) -> BTreeMap<u8, u64> {
        let now = Instant::now();
        let known = {
            let mut rooms = self.rooms.lock();
            let known = rooms.clone();
            // one looks again, the others go on with what is known
            rooms.iter_mut().filter(|known| now - known.at > ROOM_AGE_MAX).for_each(|known| known.at = now);
            known
        };
        if let Some(known) = known.filter(|known| now - known.at <= ROOM_AGE_MAX) {
            return known.bytes;
        }
        let logs: Vec<DriveLog> = self.sets.values().map(|set| set.log.clone()).collect();
        let bytes: BTreeMap<u8, u64> =
            offload(move || logs.iter().map(|log| (log.number(), log.room_bytes())).collect()).await;
        *self.rooms.lock() = Some(Rooms { at: now, bytes: bytes.clone() });
        bytes
    }
}

/// Which of some sets, each with its room in bytes, takes a blob. `draw` decides among them. Without any room the first is as good as any: it
/// says why it takes nothing.
fn place(rooms: &[(u8, u64)], small: bool, draw: u32) -> u8 {
    let roomiest = rooms.iter().map(|(_, room)| *room).max().unwrap_or_default();
    let (first, home_room) = rooms[0];
    if small && first == HOME && home_room > 0 && home_room >= roomiest / 100 * HOME_ROOM_PERCENT_MIN {
        return HOME;
    }
    let total: u128 = rooms.iter().map(|(_, room)| u128::from(*room)).sum();
    let mut at = (u128::from(draw) * total) >> u32::BITS;
    for (set, room) in rooms {
        if at < u128::from(*room) {
            return *set;
        }
        at -= u128::from(*room);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rooms: &[(u8, u64)], small: bool) -> BTreeMap<u8, usize> {
        let mut drawn = BTreeMap::new();
        for step in 0..1000 {
            *drawn.entry(place(rooms, small, u32::MAX / 1000 * step)).or_default() += 1;
        }
        drawn
    }

    #[test]
    fn new_blobs_are_spread_by_room() {
        let rooms = [(0, 100 << 30), (1, 300 << 30), (2, 0)];
        let drawn = drawn(&rooms, false);
        assert!(drawn[&0].abs_diff(250) <= 1 && drawn[&1].abs_diff(750) <= 1, "{drawn:?}");
        assert_eq!(drawn.len(), 2, "nothing goes to a set without room");
    }

    #[test]
    fn small_bodies_stay_beside_the_rows_until_that_set_is_fuller_than_others() {
        assert_eq!(drawn(&[(0, 80 << 30), (1, 100 << 30)], true), [(0, 1000)].into());
        assert!(drawn(&[(0, 70 << 30), (1, 100 << 30)], true)[&1] > 500);
        assert!(drawn(&[(16, 80 << 30), (17, 80 << 30)], true)[&17] > 400, "there are no rows beside them");
    }

    #[test]
    fn without_room_anywhere_the_first_says_why() {
        assert_eq!(drawn(&[(0, 0), (1, 0)], true), [(0, 1000)].into());
        assert_eq!(place(&[(3, 1)], false, u32::MAX), 3);
    }
}
