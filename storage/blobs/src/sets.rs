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
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The set that holds the rows.
pub(crate) const HOME: u8 = 0;
/// How long it is believed how much room there is.
const ROOM_AGE_MAX: Duration = Duration::from_secs(1);
/// Small bodies leave the home set when it has less room than this part of what the roomiest has, in percent.
const HOME_ROOM_PERCENT_MIN: u64 = 75;
/// Bodies up to this size are worth handing over whole: they lie in one piece, beside the rows where there is room.
pub const SMALL_BYTES: usize = 128 << 10;

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
    rooms: Arc<Mutex<Rooms>>,
}

/// How many bytes of bodies each set had room for.
#[derive(Debug)]
struct Rooms {
    bytes: BTreeMap<u8, u64>,
    at: Instant,
    /// Somebody is asking the drives. When one never answers, nobody else asks it.
    asking: bool,
}

impl Sets {
    /// Asks the drives how much room they have, when there is a choice.
    ///
    /// # Panics
    /// When two have the same number, or none is set 0.
    pub(crate) fn new(logs: impl IntoIterator<Item = DriveLog>, infrequent: Compression) -> Self {
        let mut sets = BTreeMap::new();
        for log in logs {
            let twin = sets.insert(log.number(), BlobSet::new(log, infrequent));
            assert!(twin.is_none(), "two sets of one number");
        }
        assert!(sets.contains_key(&HOME), "the set with the rows is always there");
        let bytes = if sets.len() > 1 { room_of(sets.values().map(|set| &set.log)) } else { BTreeMap::new() };
        Self { sets, rooms: Arc::new(Mutex::new(Rooms { bytes, at: Instant::now(), asking: false })) }
    }

    /// The set that holds the rows.
    pub(crate) fn home(&self) -> &DriveLog {
        &self.sets[&HOME].log
    }

    /// The set that holds a blob.
    pub(crate) fn of(&self, id: BlobId) -> Result<&BlobSet> {
        self.sets.get(&id.set()).ok_or(Error::NoSuchSet { id, set: id.set() })
    }

    /// The sets from one number on.
    pub(crate) fn from(&self, number: u8) -> impl Iterator<Item = &BlobSet> {
        self.sets.range(number..).map(|(_, set)| set)
    }

    /// The set for a new blob of this class; `bytes` is its length if that is known. A class whose own sets take nothing, or that has none,
    /// lies in those of Standard.
    pub(crate) async fn choose(&self, class: StorageClass, bytes: Option<usize>) -> &BlobSet {
        if class == StorageClass::Standard && self.sets.range(class.sets()).count() == 1 {
            return &self.sets[&HOME];
        }
        self.refresh_rooms().await;
        let rooms = self.rooms.lock();
        let of_class = |class: StorageClass| -> Vec<(u8, u64)> {
            let room = |set: &u8| (*set, rooms.bytes.get(set).copied().unwrap_or_default());
            self.sets.range(class.sets()).map(|(set, _)| room(set)).collect()
        };
        let own = of_class(class);
        let candidates = if own.iter().any(|(_, room)| *room > 0) { own } else { of_class(StorageClass::Standard) };
        let small = bytes.is_some_and(|bytes| bytes <= SMALL_BYTES);
        &self.sets[&place(&candidates, small, rand::random())]
    }

    /// Asks the drives again when what is known is old. One asks, the others go on with what is known.
    async fn refresh_rooms(&self) {
        {
            let mut rooms = self.rooms.lock();
            if rooms.asking || rooms.at.elapsed() <= ROOM_AGE_MAX {
                return;
            }
            rooms.asking = true;
        }
        let logs: Vec<DriveLog> = self.sets.values().map(|set| set.log.clone()).collect();
        let rooms = Arc::clone(&self.rooms);
        // to its end whether somebody waits for it or not
        offload(move || {
            let bytes = room_of(&logs);
            *rooms.lock() = Rooms { bytes, at: Instant::now(), asking: false };
        })
        .await;
    }
}

fn room_of<'a>(logs: impl IntoIterator<Item = &'a DriveLog>) -> BTreeMap<u8, u64> {
    logs.into_iter().map(|log| (log.number(), log.room_bytes())).collect()
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
