//! The drives of an open set: which are live, which are out and why.
//!
//! A drive goes out at its first failed write or sync and stays out until the log is opened again: what such a drive holds
//! of the last stripes is unknown. Reads may still try it, for what they get is checked. A drive that others were written
//! without is stale, and the others say so in their identity, until a heal has brought it what it lacks.

use crate::disk::{Claim, Disk};
use crate::identity::{DriveSet, Place, SetId};
use crate::status::{DriveState, DriveStatus};
use cistern_types::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Drives {
    pub(crate) set: SetId,
    /// When the oldest drive was formatted.
    pub(crate) created: Timestamp,
    places: Vec<Place>,
    states: Mutex<Vec<DriveState>>,
    /// Of each stale drive: the first segment that it may lack something of.
    stale_since: Mutex<BTreeMap<usize, u64>>,
    /// The run's number, once it is on the drives.
    generation: AtomicU64,
    /// Held while the identities are written: what is written last is what was known last.
    marking: Mutex<()>,
    claims: Mutex<Vec<Box<dyn Claim>>>,
    data: usize,
    parity: usize,
}

impl Drives {
    pub(crate) fn new(set: DriveSet, data: usize, parity: usize) -> Self {
        let state = |place: &Place| match &place.disk {
            Ok(_) => DriveState::Live,
            Err(reason) => DriveState::Missing { reason: reason.clone() },
        };
        let states = Mutex::new(set.places.iter().map(state).collect());
        Self {
            set: set.id,
            created: set.created,
            places: set.places,
            states,
            stale_since: Mutex::new(set.stale_since),
            generation: AtomicU64::new(set.generation),
            marking: Mutex::default(),
            claims: Mutex::new(set.claims),
            data,
            parity,
        }
    }

    pub(crate) fn label(&self, drive: usize) -> &str {
        &self.places[drive].label
    }

    /// The drive, unless it was missing at open.
    pub(crate) fn disk(&self, drive: usize) -> Option<&Arc<dyn Disk>> {
        self.places[drive].disk.as_ref().ok()
    }

    /// How many places the set has.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_live(&self, drive: usize) -> bool {
        self.states.lock()[drive] == DriveState::Live
    }

    pub(crate) fn live(&self) -> Vec<usize> {
        let states = self.states.lock();
        (0..states.len()).filter(|&drive| states[drive] == DriveState::Live).collect()
    }

    /// The drives that were there at open, those that went out since included.
    pub(crate) fn present(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|&drive| self.disk(drive).is_some()).collect()
    }

    pub(crate) fn take_out(&self, drive: usize, action: &str, error: &io::Error) {
        let mut states = self.states.lock();
        if states[drive] == DriveState::Live {
            let reason = format!("{action}: {error}");
            tracing::error!(drive = self.label(drive), reason, "drive is out until the next start");
            states[drive] = DriveState::Out { reason };
        }
    }

    /// How many live drives a write needs: enough that one more may be lost.
    pub(crate) fn writers_min(&self) -> usize {
        if self.parity == 0 { self.data } else { self.data + 1 }
    }

    /// Why no write can be taken, if so.
    pub(crate) fn read_only_reason(&self) -> Option<String> {
        let live = self.live().len();
        (live < self.writers_min()).then(|| {
            let out: Vec<&str> =
                (0..self.places.len()).filter(|&drive| !self.is_live(drive)).map(|drive| self.label(drive)).collect();
            format!(
                "{live} of {} drives are live, {} are needed; out: {}",
                self.places.len(),
                self.writers_min(),
                out.join(", ")
            )
        })
    }

    /// Has every live drive say that this run has begun segments.
    pub(crate) fn mark_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
        self.write_marks();
    }

    /// Notes that drives that are not live lack what is written from `segment` on. Must return before that is acknowledged.
    pub(crate) fn mark_absent_stale(&self, segment: u64) {
        let absent: Vec<usize> = {
            let states = self.states.lock();
            (0..states.len()).filter(|&drive| states[drive] != DriveState::Live).collect()
        };
        if absent.is_empty() {
            return;
        }
        let news = {
            let mut stale_since = self.stale_since.lock();
            let before = stale_since.len();
            for drive in absent {
                stale_since.entry(drive).or_insert(segment);
            }
            stale_since.len() > before
        };
        if news {
            self.write_marks();
        }
    }

    /// Notes that a drive that was stale since a segment lacks nothing any more, unless it has gone out meanwhile.
    pub(crate) fn mark_whole(&self, drive: usize, since: u64) {
        let whole = {
            let mut stale_since = self.stale_since.lock();
            let whole = self.is_live(drive) && stale_since.get(&drive) == Some(&since);
            if whole {
                stale_since.remove(&drive);
            }
            whole
        };
        if whole {
            self.write_marks();
        }
    }

    /// Live drives that may lack something, and of which segment on.
    pub(crate) fn stale(&self) -> BTreeMap<usize, u64> {
        let stale = self.stale_since.lock().clone();
        stale.into_iter().filter(|(drive, _)| self.is_live(*drive)).collect()
    }

    /// Whether every drive is live and lacks nothing.
    pub(crate) fn all_whole(&self) -> bool {
        self.live().len() == self.count() && self.stale_since.lock().is_empty()
    }

    fn write_marks(&self) {
        let _alone = self.marking.lock();
        let generation = self.generation.load(Ordering::Acquire);
        let stale_since = self.stale_since.lock().clone();
        for drive in self.live() {
            if let Err(error) = self.places[drive].mark(generation, &stale_since) {
                self.take_out(drive, "write the identity", &error);
            }
        }
    }

    /// Gives the drives back to whoever opens them next.
    pub(crate) fn release(&self) {
        self.claims.lock().clear();
    }

    pub(crate) fn status(&self) -> Vec<DriveStatus> {
        let states = self.states.lock().clone();
        let stale = self.stale_since.lock().clone();
        let one = |(index, (place, state)): (usize, (&Place, DriveState))| DriveStatus {
            index,
            label: place.label.clone(),
            state,
            free_bytes: place.disk.as_ref().ok().and_then(|disk| disk.free_bytes().ok()),
            stale: stale.contains_key(&index),
        };
        self.places.iter().zip(states).enumerate().map(one).collect()
    }
}
