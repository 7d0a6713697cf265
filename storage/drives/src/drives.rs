//! The drives of an open set: which are live, which are out and why, and how another one takes a place.
//!
//! A drive goes out at its first failed write or sync and stays out until the log is opened again or the drive is put in its place
//! anew: what such a drive holds of the last stripes is unknown. Reads may still try it, for what they get is checked. A drive that
//! others were written without is stale, and the others say so in their identity, until a heal has brought it what it lacks.

use crate::config::{DriveLogConfig, Membership};
use crate::disk::{Claim, Disk};
use crate::error::{Error, Result};
use crate::identity::{
    DRIVE_FILE, DriveSet, FreshDrive, Identity, Marks, Newcomer, Place, Said, SetId, new_name, newcomer,
};
use crate::segment::segment_name;
use crate::status::{DriveState, DriveStatus};
use cistern_types::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Drives {
    pub(crate) set: SetId,
    /// When the oldest drive was formatted.
    pub(crate) created: Timestamp,
    /// The random name of this run.
    run: String,
    places: RwLock<Vec<Place>>,
    states: Mutex<Vec<DriveState>>,
    known: Mutex<Known>,
    /// Held while the identities are written: what is written last is what was known last.
    marking: Mutex<()>,
    membership: Membership,
    data: usize,
    parity: usize,
}

/// What is known of the drives, and whether they say so.
#[derive(Debug)]
struct Known {
    marks: Marks,
    /// Goes up with every change.
    version: u64,
    /// The version that all live drives say.
    written: u64,
}

/// That a drive may lack something. A heal that begins with it must end with the same to make the drive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staleness {
    /// The first segment that it may lack something of.
    pub(crate) since: u64,
    /// How often it has been away.
    pub(crate) absences: u64,
}

impl Drives {
    pub(crate) fn new(set: DriveSet, config: &DriveLogConfig, run: String) -> Self {
        let state = |place: &Place| match &place.disk {
            Ok(_) => DriveState::Live,
            Err(reason) => DriveState::Missing { reason: reason.clone() },
        };
        let states: Vec<DriveState> = set.places.iter().map(state).collect();
        let mut known = Known { marks: set.marks, version: 0, written: 0 };
        for drive in (0..states.len()).filter(|&drive| states[drive] != DriveState::Live) {
            known.count_absence(drive);
        }
        Self {
            set: set.id,
            created: set.created,
            run,
            places: RwLock::new(set.places),
            states: Mutex::new(states),
            known: Mutex::new(known),
            marking: Mutex::default(),
            membership: config.membership.clone(),
            data: config.data,
            parity: config.parity,
        }
    }

    pub(crate) fn label(&self, drive: usize) -> String {
        self.places.read()[drive].label.clone()
    }

    /// The drive, unless it is missing.
    pub(crate) fn disk(&self, drive: usize) -> Option<Arc<dyn Disk>> {
        self.places.read()[drive].disk.as_ref().ok().cloned()
    }

    /// The right to the drive: it stays ours as long as anybody holds it.
    pub(crate) fn claim(&self, drive: usize) -> Option<Arc<dyn Claim>> {
        self.places.read()[drive].claim.clone()
    }

    /// How many places the set has.
    pub(crate) fn count(&self) -> usize {
        self.data + self.parity
    }

    pub(crate) fn is_live(&self, drive: usize) -> bool {
        self.states.lock()[drive] == DriveState::Live
    }

    pub(crate) fn live(&self) -> Vec<usize> {
        let states = self.states.lock();
        (0..states.len()).filter(|&drive| states[drive] == DriveState::Live).collect()
    }

    /// The drives that are there, those that went out included.
    pub(crate) fn present(&self) -> Vec<usize> {
        let places = self.places.read();
        (0..places.len()).filter(|&drive| places[drive].disk.is_ok()).collect()
    }

    pub(crate) fn take_out(&self, drive: usize, action: &str, error: &io::Error) {
        let reason = format!("{action}: {error}");
        let mut states = self.states.lock();
        if states[drive] == DriveState::Live {
            tracing::error!(drive = self.label(drive), reason, "drive is out until it is put in its place again");
            if error.kind() == io::ErrorKind::TimedOut {
                // whoever reads from it may wait for ever
                self.places.write()[drive].disk = Err(reason.clone());
            }
            states[drive] = DriveState::Out { reason };
            self.known.lock().count_absence(drive);
        }
    }

    /// How many live drives a write needs: enough that one more may be lost.
    pub(crate) fn writers_min(&self) -> usize {
        if self.parity == 0 { self.data } else { self.data + 1 }
    }

    /// Why no write can be taken, if so.
    pub(crate) fn read_only_reason(&self) -> Option<String> {
        let live = self.live();
        (live.len() < self.writers_min()).then(|| {
            let out: Vec<String> =
                (0..self.count()).filter(|drive| !live.contains(drive)).map(|drive| self.label(drive)).collect();
            format!(
                "{} of {} drives are live, {} are needed; out: {}",
                live.len(),
                self.count(),
                self.writers_min(),
                out.join(", ")
            )
        })
    }

    /// The highest run that any drive knew of at open.
    pub(crate) fn generation(&self) -> u64 {
        self.known.lock().marks.generation
    }

    /// Has every live drive say that this run has begun segments, and then how it is called: a drive that knows the name is not alone in knowing
    /// the number, so that no later run has the same one, whichever drives are away.
    pub(crate) fn mark_generation(&self, generation: u64) {
        self.mark(|marks| marks.generation = generation);
        self.mark(|marks| marks.name_run(generation, self.run.clone()));
    }

    fn mark(&self, change: impl FnOnce(&mut Marks)) {
        {
            let mut known = self.known.lock();
            change(&mut known.marks);
            known.version += 1;
        }
        self.write_marks();
    }

    /// Notes that live drives that have not seen the last runs, or whose place another drive has had since, or that have no file of one of
    /// `segments` (number and run), lack what was written meanwhile: drives that were put back, or back from a copy.
    pub(crate) fn mark_old_stale(&self, segments: &BTreeMap<u64, u64>) {
        let first_of = |run| first_segment_of(segments, run);
        let live = self.live();
        let places = self.places.read();
        let mut known = self.known.lock();
        for drive in live {
            let Some(said) = places[drive].said() else { continue };
            let old = known.since_when_old(drive, said, first_of);
            let lacks = places[drive].disk.as_ref().ok().and_then(|disk| first_lacking(disk.as_ref(), segments));
            // what a stale drive lacks is on its way to it
            let known_since = known.marks.stale_since.get(&drive).copied();
            let lacks = lacks.filter(|lacks| known_since.is_none_or(|since| *lacks < since));
            if let Some(since) = [old, lacks].into_iter().flatten().min() {
                tracing::warn!(drive = places[drive].label, since, "the drive is older than the others");
                known.count_absence(drive);
                known.marks.set_member(drive, said.drive_id.to_owned());
                known.lacks_from(drive, since);
            }
        }
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
        let written = {
            let mut known = self.known.lock();
            for drive in absent {
                known.lacks_from(drive, segment);
            }
            known.written == known.version
        };
        if !written {
            self.write_marks();
        }
    }

    /// Notes that a drive lacks nothing any more, unless something has happened to it since it was stale in this way.
    pub(crate) fn mark_whole(&self, drive: usize, staleness: Staleness) -> bool {
        let whole = {
            let states = self.states.lock();
            let mut known = self.known.lock();
            let whole = states[drive] == DriveState::Live && known.staleness(drive) == Some(staleness);
            if whole {
                known.marks.stale_since.remove(&drive);
                known.version += 1;
            }
            whole
        };
        if whole {
            self.write_marks();
        }
        whole
    }

    /// Live drives that may lack something.
    pub(crate) fn stale(&self) -> BTreeMap<usize, Staleness> {
        let live = self.live();
        let known = self.known.lock();
        live.into_iter().filter_map(|drive| Some((drive, known.staleness(drive)?))).collect()
    }

    /// Whether a drive may lack something.
    pub(crate) fn is_stale(&self, drive: usize) -> bool {
        self.known.lock().marks.stale_since.contains_key(&drive)
    }

    /// The further sets of the store, number and id.
    pub(crate) fn further_sets(&self) -> BTreeMap<u8, String> {
        self.known.lock().marks.further_sets.clone()
    }

    /// Has every live drive say that the store has another set.
    pub(crate) fn add_further_set(&self, number: u8, id: String) {
        self.mark(|marks| drop(marks.further_sets.insert(number, id)));
    }

    /// Refuses a drive that may not take a place. Changes nothing.
    pub(crate) fn check_newcomer(&self, drive: usize, disk: Option<&dyn Disk>) -> Result<()> {
        let newcomer = disk.map(|disk| newcomer(disk, drive, self.set)).transpose()?;
        if let (Some(Newcomer::Returned(_, identity)), Some(disk)) = (newcomer, disk) {
            self.check_returned(drive, disk, &identity)?;
        }
        self.check_replaceable(drive, &disk.map_or_else(|| self.label(drive), Disk::label))
    }

    /// Refuses a copy of a live drive, and a drive of a copy of the store that was used by itself. In its own folder a live drive is no copy: that it
    /// could be claimed says that what was claimed before is gone.
    fn check_returned(&self, drive: usize, disk: &dyn Disk, identity: &Identity) -> Result<()> {
        let says = identity.said();
        let is_same = self.places.read()[drive].said().is_some_and(|said| said.drive_id == says.drive_id);
        if is_same && self.is_live(drive) && self.label(drive) != disk.label() {
            let reason = "it is a copy of the drive that has the place; give an empty one".into();
            return Err(Error::NotReplaceable { drive: disk.label(), reason });
        }
        self.known.lock().marks.check_history(&disk.label(), identity)
    }

    /// Whether a drive may lack what the others hold, for what they or it say: it is stale, older than they are, or not the one that had its
    /// place last.
    pub(crate) fn may_be_old(&self, drive: usize) -> bool {
        let places = self.places.read();
        let Some(said) = places[drive].said() else { return true };
        let known = self.known.lock();
        let Marks { generation, stale_since, .. } = &known.marks;
        stale_since.contains_key(&drive)
            || said.generation < *generation
            || known.marks.was_exchanged(drive, said.drive_id)
    }

    /// Whether every drive is live and lacks nothing.
    pub(crate) fn all_whole(&self) -> bool {
        self.live().len() == self.count() && self.known.lock().marks.stale_since.is_empty()
    }

    /// Has `disk` take a place: an empty drive, which lacks everything then, or the drive that was there before, which lacks what was
    /// written since it went, at least from `segment` on. No group may be on its way.
    ///
    /// The others say what it lacks before it says who it is: wherever a crash falls, the next start finds either no drive in the place
    /// or one that is known to lack something.
    pub(crate) fn seat(
        &self,
        drive: usize,
        disk: Arc<dyn Disk>,
        now: Timestamp,
        segment: u64,
        first_of: impl Fn(u64) -> Option<u64>,
    ) -> Result<()> {
        let same_folder = self.label(drive) == disk.label();
        if !(same_folder && self.is_live(drive)) {
            self.check_replaceable(drive, &disk.label())?;
        }
        if same_folder && !self.is_live(drive) {
            // whatever is there now is claimed anew
            self.places.write()[drive].claim = None;
        }
        let newcomer = newcomer(disk.as_ref(), drive, self.set)?;
        self.check_replaceable(drive, &disk.label())?;
        if let Newcomer::Returned(_, identity) = &newcomer {
            self.check_returned(drive, disk.as_ref(), identity)?;
        }
        self.take_out(drive, "replace it", &io::Error::other(format!("{} takes its place", disk.label())));
        let drive_id = new_name(rand::random());
        let marks = {
            let mut known = self.known.lock();
            known.count_absence(drive);
            match &newcomer {
                Newcomer::Empty(_) => {
                    known.marks.set_member(drive, drive_id.clone());
                    known.lacks_from(drive, 0);
                }
                Newcomer::Returned(_, identity) => {
                    let said = identity.said();
                    let since = known.since_when_old(drive, said, &first_of).unwrap_or(segment);
                    known.marks.set_member(drive, said.drive_id.to_owned());
                    known.lacks_from(drive, since.min(said.stale_since.unwrap_or(since)));
                }
            }
            known.marks.clone()
        };
        self.write_marks();
        let fresh = FreshDrive {
            set_id: self.set.to_string(),
            drive_id,
            index: drive,
            data: self.data,
            parity: self.parity,
            membership: self.membership.clone(),
            now,
        };
        let place = Place::take(disk, newcomer, fresh, &marks)?;
        tracing::info!(drive, label = place.label, "a drive has taken its place, what it lacks will be brought to it");
        let former = std::mem::replace(&mut self.places.write()[drive], place);
        self.states.lock()[drive] = DriveState::Live;
        drop(former);
        Ok(())
    }

    /// A drive may only go when the others hold everything.
    fn check_replaceable(&self, drive: usize, label: &str) -> Result<()> {
        let stale = self.stale();
        let whole = self.live().into_iter().filter(|other| *other != drive && !stale.contains_key(other)).count();
        if whole >= self.data {
            return Ok(());
        }
        let reason = format!(
            "only {whole} of the other drives are live and have everything, {} are needed to rebuild it; bring back or heal the others first",
            self.data
        );
        Err(Error::NotReplaceable { drive: label.to_owned(), reason })
    }

    fn write_marks(&self) {
        let _alone = self.marking.lock();
        let (marks, version) = {
            let known = self.known.lock();
            (known.marks.clone(), known.version)
        };
        for drive in self.live() {
            let marked = self.places.read()[drive].marked(&marks);
            let Some((disk, bytes)) = marked else { continue };
            if let Err(error) = disk.write_file(DRIVE_FILE, &bytes) {
                self.take_out(drive, "write the identity", &error);
            }
        }
        // only now may anything be acknowledged that depends on it
        self.known.lock().written = version;
    }

    /// Gives the drives back to whoever opens them next.
    pub(crate) fn release(&self) {
        for place in self.places.write().iter_mut() {
            place.claim = None;
        }
    }

    pub(crate) fn status(&self) -> Vec<DriveStatus> {
        let states = self.states.lock().clone();
        let stale_since = self.known.lock().marks.stale_since.clone();
        let one = |(index, state)| DriveStatus {
            index,
            label: self.label(index),
            state,
            free_bytes: self.disk(index).and_then(|disk| disk.free_bytes().ok()),
            stale: stale_since.contains_key(&index),
        };
        states.into_iter().enumerate().map(one).collect()
    }
}

/// The first segment of a run or of those behind it.
pub(crate) fn first_segment_of(segments: &BTreeMap<u64, u64>, run: u64) -> Option<u64> {
    segments.iter().find(|(_, generation)| **generation >= run).map(|(segment, _)| *segment)
}

/// From where on a drive lacks something because it has no file of a segment: the segment before may have been written to when it was copied.
fn first_lacking(disk: &dyn Disk, segments: &BTreeMap<u64, u64>) -> Option<u64> {
    let there: BTreeSet<String> = disk.list().ok()?.into_iter().collect();
    let lacking = segments.keys().copied().find(|segment| !there.contains(&segment_name(*segment)))?;
    Some(segments.range(..lacking).next_back().map_or(lacking, |(before, _)| *before))
}

impl Known {
    /// From which segment on a drive lacks something because it is older than the others; `None` when it is not.
    fn since_when_old(&self, drive: usize, said: Said<'_>, first_of: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        if self.marks.was_exchanged(drive, said.drive_id) {
            return Some(0);
        }
        (said.generation < self.marks.generation).then(|| first_of(said.generation)).flatten()
    }

    fn count_absence(&mut self, drive: usize) {
        self.marks.count_absence(drive);
        self.version += 1;
    }

    /// Notes that a drive lacks what is written from a segment on, if not from an earlier one.
    fn lacks_from(&mut self, drive: usize, segment: u64) {
        if self.marks.stale_since.get(&drive).is_none_or(|since| segment < *since) {
            self.marks.stale_since.insert(drive, segment);
            self.version += 1;
        }
    }

    fn staleness(&self, drive: usize) -> Option<Staleness> {
        let since = *self.marks.stale_since.get(&drive)?;
        Some(Staleness { since, absences: self.marks.absences.get(&drive).copied().unwrap_or_default() })
    }
}
