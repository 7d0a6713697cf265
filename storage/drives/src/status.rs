//! What the log says about itself: [`LogStatus`], its drives and its counters. Read by metrics and the management API.

use crate::passes::Passes;
use std::iter::Sum;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a drive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriveState {
    /// Read and written.
    Live,
    /// Failed since the log was opened: not written any more, read when nothing else helps.
    Out {
        /// What failed.
        reason: String,
    },
    /// Not there when the log was opened.
    Missing {
        /// What was found instead.
        reason: String,
    },
}

/// One drive of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveStatus {
    /// Its number in the set.
    pub index: usize,
    /// Its path.
    pub label: String,
    /// How it is.
    pub state: DriveState,
    /// Bytes that can still be set aside on it, when it answers.
    pub free_bytes: Option<u64>,
    /// Whether it may lack what was written while it was away: until a heal has looked.
    pub stale: bool,
}

/// What the log takes of its drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpaceUsage {
    /// Bytes of blobs that are needed, without parity.
    pub live_bytes: u64,
    /// Bytes of the devices that the segments take, on all live drives.
    pub allocated_bytes: u64,
}

/// The state of the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Which set of the store it is.
    pub number: u8,
    /// Data drives (k).
    pub data: usize,
    /// Parity drives (m).
    pub parity: usize,
    /// Every drive of the set, by number.
    pub drives: Vec<DriveStatus>,
    /// Scrubs and heals, now and before.
    pub passes: Passes,
    /// Whether appends are taken.
    pub writable: bool,
    /// Why they are not.
    pub read_only_reason: Option<String>,
    /// Whether no bodies are taken because there is no room for them; deletions are.
    pub full: bool,
    /// Whether a drive is out, missing or stale.
    pub degraded: bool,
    /// Segments in the log.
    pub segments: usize,
    /// What they take, as the compactor saw it last; `None` before it has looked.
    pub space: Option<SpaceUsage>,
    /// What was done since the log was opened.
    pub counters: Stats,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What was done since the log was opened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Sum for Stats {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), |sum, one| Self { $($name: sum.$name + one.$name,)* })
            }
        }

        /// The living counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Groups made durable.
    groups,
    /// Groups that failed.
    groups_failed,
    /// Appends made durable.
    appends,
    /// Syncs of segment files.
    syncs,
    /// Bytes of appends made durable.
    payload_bytes,
    /// Bytes written to drives, headers, padding, parity and zeros included.
    device_bytes,
    /// Segments begun.
    segments_begun,
    /// Pieces read from their own lane.
    direct_reads,
    /// Pieces rebuilt from other lanes.
    degraded_reads,
    /// Reads made once more around a drive that kept them waiting.
    hedged_reads,
    /// Frames or pieces that did not match their checksum.
    corrupt_frames,
    /// Stripes replayed into the view at open.
    stripes_replayed,
    /// Lanes written back, at open or by a pass.
    lanes_healed,
    /// Checkpoints ended.
    checkpoints,
    /// Bytes of rows and places that checkpoints have stated.
    state_bytes,
    /// Bytes of chunks written once more so that their segment can go.
    moved_bytes,
    /// Bytes given back inside segments that stay, on all drives.
    punched_bytes,
    /// Segments taken out of the log.
    segments_retired,
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
