//! How a drive log is shaped: [`DriveLogConfig`], [`Membership`], [`ViewKind`], [`Threads`]. Checked once, at open.

use crate::compaction::Effort;
use crate::error::{Error, Result};
use crate::frame::{FRAME_ALIGN_BYTES, SEGMENT_HEADER_BYTES, stripe_bytes};
use cistern_types::BlobId;
use std::path::PathBuf;
use std::time::Duration;

/// Lanes of a set at most: the lane tables of a frame header have this many places.
pub const LANES_MAX: usize = 20;
/// Parity lanes at most.
pub const PARITY_MAX: usize = 4;

/// Which engine keeps the ordered view beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    /// fjall: the default.
    Fjall,
    /// sled 0.34.
    Sled,
    /// A map in memory, rebuilt from the log at every open: for tests.
    #[cfg(any(test, feature = "testing"))]
    Memory,
}

/// Who writes the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// A committer thread and one writer thread for each drive.
    PerDrive,
    /// Nobody of its own: whoever waits for a `Pending` writes on its own thread, one lane after another. Deterministic,
    /// for tests with simulated drives.
    Inline,
}

/// Which of the sets of a store a set is. Its drives say it too, so that none is ever taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Membership {
    /// Set 0, which holds the rows.
    #[default]
    Home,
    /// One that holds blobs only.
    Further {
        /// Its number, 1 or more: blobs in it have ids that say so ([`BlobId::set`]).
        number: u8,
        /// The id of the store's set 0.
        home: String,
    },
}

impl Membership {
    /// The number of the set.
    pub fn number(&self) -> u8 {
        match self {
            Self::Home => 0,
            Self::Further { number, .. } => *number,
        }
    }

    /// The id of the store's set 0, in the others.
    pub(crate) fn home(&self) -> Option<&str> {
        match self {
            Self::Home => None,
            Self::Further { home, .. } => Some(home),
        }
    }
}

/// When garbage is worth the work of getting rid of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compaction {
    /// As soon as a fifth of a segment is garbage: for what is written and deleted all the time.
    #[default]
    Usual,
    /// Once half of a segment is: for what lies long.
    Rare,
}

impl Compaction {
    /// Percent of a segment that must be garbage for its chunks to be moved.
    pub(crate) fn garbage_percent_min(self, effort: Effort) -> u64 {
        match (self, effort) {
            (Self::Usual, Effort::Usual) => 20,
            (Self::Rare, Effort::Usual) => 50,
            (_, Effort::Thorough) => 8,
        }
    }

    /// Garbage that is left alone, in percent of what is needed.
    pub(crate) fn left_percent(self) -> u64 {
        match self {
            Self::Usual => 25,
            Self::Rare => 50,
        }
    }
}

/// The shape and limits of a drive log.
#[derive(Debug, Clone)]
pub struct DriveLogConfig {
    /// Which set of the store it is.
    pub membership: Membership,
    /// Data drives (k), at least 1.
    pub data: usize,
    /// Parity drives (m), 0 to 4: how many drives may be lost.
    pub parity: usize,
    /// Bytes of a segment file on each drive.
    pub segment_bytes: u64,
    /// Bytes written as one group at most; also the largest single append.
    pub group_bytes_max: usize,
    /// Bytes waiting to be written at most; `reserve` waits above.
    pub queue_bytes_max: usize,
    /// The engine of the ordered view.
    pub view: ViewKind,
    /// The folder of the view.
    pub view_path: PathBuf,
    /// Memory the view may use for caching.
    pub view_cache_bytes: u64,
    /// Space that bodies of objects leave alone on every drive; deletions may take half of it, compaction all.
    pub free_bytes_reserve: u64,
    /// What other logs on the drives need in the same way: bodies leave it alone too.
    pub neighbours_bytes_reserve: u64,
    /// When garbage is worth the work of getting rid of it.
    pub compaction: Compaction,
    /// A drive that takes longer to write and sync has failed.
    pub write_timeout: Duration,
    /// Drop a last write that cannot be read and may have been acknowledged ([`Error::Undecided`]) instead of refusing to open.
    pub accept_loss: bool,
}

impl DriveLogConfig {
    /// The defaults for `data` + `parity` drives with the view in `view_path`.
    pub fn new(data: usize, parity: usize, view_path: impl Into<PathBuf>) -> Self {
        Self {
            membership: Membership::default(),
            data,
            parity,
            segment_bytes: 64 << 20,
            group_bytes_max: 4 << 20,
            queue_bytes_max: 64 << 20,
            view: ViewKind::Fjall,
            view_path: view_path.into(),
            view_cache_bytes: 64 << 20,
            free_bytes_reserve: 3 * (64 << 20),
            neighbours_bytes_reserve: 0,
            compaction: Compaction::default(),
            write_timeout: Duration::from_secs(30),
            accept_loss: false,
        }
    }

    /// What bodies leave alone on every drive.
    pub(crate) fn left_alone_bytes(&self) -> u64 {
        self.free_bytes_reserve + self.neighbours_bytes_reserve
    }

    /// Data and parity lanes together (n).
    pub fn lanes(&self) -> usize {
        self.data + self.parity
    }

    pub(crate) fn validate(&self, drives: usize) -> Result<()> {
        let invalid = |rule: String| Err(Error::InvalidConfig { rule });
        if let Membership::Further { number, .. } = self.membership
            && (number == 0 || number >= BlobId::SETS)
        {
            return invalid(format!("a further set of number {number}; use 1 to {}", BlobId::SETS - 1));
        }
        if self.data == 0 || self.parity > PARITY_MAX || self.lanes() > LANES_MAX {
            return invalid(format!(
                "{} data + {} parity drives; use at least 1 data drive, at most {PARITY_MAX} parity drives and {LANES_MAX} in all",
                self.data, self.parity
            ));
        }
        if drives != self.lanes() {
            return invalid(format!(
                "{drives} drives given for {} data + {} parity; give exactly {}",
                self.data,
                self.parity,
                self.lanes()
            ));
        }
        if !self.segment_bytes.is_multiple_of(FRAME_ALIGN_BYTES) || self.segment_bytes > u64::from(u32::MAX) {
            return invalid(format!("segments of {} bytes; use a multiple of 4096 below 4 GiB", self.segment_bytes));
        }
        if self.segment_bytes < SEGMENT_HEADER_BYTES + stripe_bytes(self.group_bytes_max) {
            return invalid(format!(
                "a group of {} bytes does not fit in a segment of {}; use larger segments",
                self.group_bytes_max, self.segment_bytes
            ));
        }
        if self.queue_bytes_max < self.group_bytes_max || self.queue_bytes_max > u32::MAX as usize >> 3 {
            return invalid(format!(
                "a queue of {} bytes; use at least a group ({}) and at most 512 MiB",
                self.queue_bytes_max, self.group_bytes_max
            ));
        }
        Ok(())
    }
}
