//! What is known of passes over the log: what was asked for, which one runs, what the last ones found. `scrub.rs` does the work.

use crate::drives::Staleness;
use cistern_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Why the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassKind {
    /// To find damage before it is needed: everything.
    Scrub,
    /// To bring back what drives lack that were away or were found damaged.
    Heal,
}

/// A pass over the log, running or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Why.
    pub kind: PassKind,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended: Option<Timestamp>,
    /// The first segment it reads.
    pub from_segment: u64,
    /// The last one: what was written after it began is not its business.
    pub last_segment: u64,
    /// The segment it reads next.
    pub next_segment: u64,
    /// Bytes of stripes read so far, of all lanes.
    pub verified_bytes: u64,
    /// Bytes it will have read, as far as can be said.
    pub total_bytes: u64,
    /// Lanes found missing or damaged.
    pub bad_lanes: u64,
    /// Of these, lanes written back and read again from the device.
    pub healed_lanes: u64,
    /// Stripes of which too many lanes are bad: what lies in them is lost unless a missing drive comes back.
    pub lost_stripes: u64,
    /// The segment that is being written, when no other could be begun for the writers so that it could be read: drives are full, or too
    /// few of them are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_segment: Option<u64>,
}

impl Pass {
    pub(crate) fn new(kind: PassKind, segments: RangeInclusive<u64>, total_bytes: u64, started: Timestamp) -> Self {
        let (from_segment, last_segment) = segments.into_inner();
        Self {
            kind,
            started,
            ended: None,
            from_segment,
            last_segment,
            next_segment: from_segment,
            verified_bytes: 0,
            total_bytes,
            bad_lanes: 0,
            healed_lanes: 0,
            lost_stripes: 0,
            unread_segment: None,
        }
    }

    /// Whether it read everything, and that is whole on every live drive now.
    pub fn is_clean(&self) -> bool {
        self.lost_stripes == 0 && self.healed_lanes == self.bad_lanes && self.unread_segment.is_none()
    }
}

/// Passes now and before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Passes {
    /// The one that runs.
    pub running: Option<Pass>,
    /// The last scrub that came to its end.
    pub last_scrub: Option<Pass>,
    /// The last heal that came to its end.
    pub last_heal: Option<Pass>,
}

/// The passes, and what the end of the running one will mean. What is kept on the drives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct PassBook {
    pub(crate) passes: Passes,
    /// Drives that lack something, as they were when the pass began: it has read all they lack when it ends.
    pub(crate) to_be_whole: BTreeMap<usize, Staleness>,
}
