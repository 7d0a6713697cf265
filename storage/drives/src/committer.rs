//! The committer: takes what waits as one group, writes it as one stripe, makes it visible, answers. The commit point of
//! every byte in the system is the last sync that [`Committer::land`] waits for.
//!
//! One group at a time is on its way to the drives, strictly in order; a large one that waits is coded meanwhile, in buffers of its
//! own, and goes when the one before is synced.
//!
//! ```text
//! coding    [ 1 ][ 2 ]     [ 3 ]     [ 4 ]
//! drives         [ 1: sync ][ 2: sync ][ 3: sync ]
//! visible                   1          2
//! ```
//!
//! When a group fails, everything queued behind it fails too and the era goes up,
//! because appends behind may name bytes in it; the next group begins a new segment, whose header ends the old one before the
//! failed stripe for good.

use crate::apply::{LaneRecords, States, changes};
use crate::config::DriveLogConfig;
use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, Predecessor, SEGMENT_HEADER_BYTES, SegmentHeader, StripeHeader, stripe_bytes};
use crate::lanes::{Begun, LaneWrite, LaneWriters};
use crate::log::Core;
use crate::queue::{Entry, Queue, Work};
use crate::record::decode_heads;
use crate::segment::{ActiveSegment, NewSegment, Tail, begin, check_room, segment_name};
use crate::status::count;
use crate::stripe::{FrameBuffer, Lanes, Record, StripePlace, records};
use crate::upkeep::{Upkeep, move_records, retire_records, state_part, state_records};
use crate::view::{Batch, VIEW_VERSION, Watermark};
use parking_lot::{Mutex, MutexGuard};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

/// The view is flushed when this much of a segment was written since the last flush, so that a replay reads no more than
/// this of each drive.
const FLUSH_EVERY_BYTES: u64 = 16 << 20;
/// ... and when nothing was written for this long.
const FLUSH_IDLE: Duration = Duration::from_millis(500);
/// From so many entries on the writers are a crowd, and a group waits for it.
const CROWD_MIN: usize = 16;
/// How long it waits for them.
const GATHER_MAX: Duration = Duration::from_millis(1);
/// An ended segment is not cut for less than this part of its size.
const LITTLE_SHARE: u64 = 16;

/// What a group is for, which decides how far it may fill the drives: deletions must go through on full drives, and what makes room needs
/// room itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Bodies,
    Rows,
    Upkeep,
}

impl Purpose {
    /// What a new segment must leave alone. Bodies have left enough for all logs on the drives: what gives space back is never kept from it.
    fn left_bytes(self, config: &DriveLogConfig) -> u64 {
        match self {
            Self::Bodies => config.left_alone_bytes(),
            Self::Rows => config.free_bytes_reserve / 2,
            Self::Upkeep => 0,
        }
    }
}

struct Waiting {
    bytes: usize,
    reply: oneshot::Sender<Result<()>>,
    permit: OwnedSemaphorePermit,
}

/// What is written as one stripe.
struct Group {
    waiting: Vec<Waiting>,
    parts: Vec<Record>,
    purpose: Purpose,
    last_stamp: u64,
}

/// A stripe that is ready to be written.
struct Coded {
    /// Which buffers it is in.
    lanes: usize,
    stripe: StripeHeader,
    /// The drives that it counts on.
    live: Vec<bool>,
}

/// Lane and drive of a frame, and the frame.
type SentFrame = (usize, usize, Arc<FrameBuffer>);

/// A stripe that is on its way to the drives.
struct Flight {
    group: Group,
    lanes: usize,
    stripe: StripeHeader,
    frames: Vec<SentFrame>,
    begun: Begun<()>,
}

/// A stripe that is durable and not visible yet.
struct Landed {
    lanes: usize,
    stripe: StripeHeader,
    /// Offset and sequence of the first stripe of the segment that lacks a lane, or of the next.
    heal_from: (u64, u64),
}

pub(crate) struct Committer {
    core: Arc<Core>,
    writers: LaneWriters,
    /// The buffers of the stripe that is written and of the one behind it.
    lanes: [Lanes; 2],
    active: Option<ActiveSegment>,
    tail: Tail,
    /// The run's number, written to the drives before its first segment is begun.
    generation: u64,
    generation_marked: bool,
    unflushed_bytes: u64,
    /// Entries of the group before.
    last_group: usize,
}

/// The committer of a log without threads: whoever waits, writes.
pub(crate) struct InlinePump(Mutex<Committer>);

impl fmt::Debug for InlinePump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlinePump").finish_non_exhaustive()
    }
}

impl InlinePump {
    pub(crate) fn new(committer: Committer) -> Self {
        Self(Mutex::new(committer))
    }

    /// Writes everything queued.
    pub(crate) fn run(&self) {
        let mut committer = self.0.lock();
        loop {
            let core = Arc::clone(&committer.core);
            let group = core.queue.lock().take_group(&core.config);
            if group.is_empty() {
                return;
            }
            committer.commit(group);
        }
    }
}

/// When the committer thread ends, by close or by a panic, nobody may wait for it any more.
struct LastWord(Arc<Core>);

impl Drop for LastWord {
    fn drop(&mut self) {
        let abandoned = {
            let mut queue = self.0.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.entries)
        };
        self.0.room.close();
        drop(abandoned);
    }
}

impl Committer {
    pub(crate) fn new(core: Arc<Core>, writers: LaneWriters, tail: Tail, generation: u64) -> Self {
        let lanes = [(); 2].map(|()| Lanes::new(core.config.data, core.config.parity));
        Self {
            core,
            writers,
            lanes,
            active: None,
            tail,
            generation,
            generation_marked: false,
            unflushed_bytes: 0,
            last_group: 0,
        }
    }

    /// Begins a segment at once, whose header says that the one before ends in front of a torn write. On drives without room, or too few of
    /// them, that is left to the next write or look of the scrubber.
    pub(crate) fn end_before_torn(&mut self) {
        if let Err(error) = self.begin_segment(Purpose::Upkeep) {
            tracing::warn!(error = %error, "a torn write at the end of the log was not marked as such");
        }
    }

    /// The committer thread: until the log is closed and the queue is empty.
    pub(crate) fn run(mut self) {
        let core = Arc::clone(&self.core);
        let _end = LastWord(Arc::clone(&core));
        while let Some(group) = self.wait_for_group(&core) {
            self.commit(group);
            if self.unflushed_bytes >= FLUSH_EVERY_BYTES {
                self.flush_view();
            }
        }
    }

    fn wait_for_group(&mut self, core: &Core) -> Option<Vec<Entry>> {
        let mut queue = core.queue.lock();
        loop {
            if !queue.entries.is_empty() && (queue.urgent || queue.closed) {
                self.gather(core, &mut queue);
                return Some(queue.take_group(&core.config));
            }
            if queue.closed {
                return None;
            }
            if self.unflushed_bytes == 0 {
                core.work.wait(&mut queue);
            } else if core.work.wait_for(&mut queue, FLUSH_IDLE).timed_out() && !queue.urgent {
                drop(queue);
                self.flush_view();
                queue = core.queue.lock();
            }
        }
    }

    /// Writers that were answered together come back together: a moment's wait for most of them makes one group of what would be
    /// several. A writer who is alone never waits.
    fn gather(&self, core: &Core, queue: &mut MutexGuard<'_, Queue>) {
        // those who wait already and those who were just answered: all who write now
        let writers = self.last_group + queue.entries.len();
        let expected = writers * 3 / 4;
        let deadline = Instant::now().into_std() + GATHER_MAX;
        queue.awaited = expected;
        while queue.entries.len() < expected && !queue.closed && writers >= CROWD_MIN {
            if core.work.wait_until(queue, deadline).timed_out() {
                break;
            }
        }
        queue.awaited = 0;
    }

    fn flush_view(&mut self) {
        self.unflushed_bytes = 0;
        if let Err(error) = self.core.view.flush() {
            // only costs a longer replay: the log is the truth
            tracing::warn!(error = %error, "the view was not flushed");
        }
    }

    /// Writes a group, and behind it the large ones that wait by then: each is coded while the one before is written, and written when
    /// that is synced.
    fn commit(&mut self, entries: Vec<Entry>) {
        let (group, made) = self.group(entries);
        if let Err(error) = made {
            return self.give_up(group, &error);
        }
        if group.parts.is_empty() {
            return self.answer(group);
        }
        let mut flight = match self.code(&group) {
            Ok(coded) => self.send(group, coded),
            Err(error) => return self.give_up(group, &error),
        };
        loop {
            let behind = self.code_large_group_behind(&flight);
            let (group, landed) = self.land(flight);
            let landed = match landed {
                Ok(landed) => landed,
                Err(error) => return self.fail(all_waiting(group, behind.map(|(group, _)| group)), &error),
            };
            let behind = behind.map(|(group, coded)| self.send(group, coded));
            if let Err(error) = self.apply(&landed, group.purpose) {
                let behind = behind.map(|flight| self.land(flight).0);
                return self.fail(all_waiting(group, behind), &error);
            }
            self.answer(group);
            match behind {
                Some(behind) => flight = behind,
                None => return,
            }
        }
    }

    /// What the entries come to; an error when a piece of upkeep could not be made.
    fn group(&mut self, entries: Vec<Entry>) -> (Group, Result<()>) {
        self.last_group = entries.len();
        let mut group = Group {
            waiting: Vec::with_capacity(entries.len()),
            parts: Vec::with_capacity(entries.len() * 2),
            purpose: Purpose::Rows,
            last_stamp: entries.last().map_or(0, |entry| entry.stamp),
        };
        let mut made = Ok(());
        for Entry { stamp, work, reply, permit } in entries {
            let bytes = match work {
                Work::Append(append) => {
                    let bytes = append.bytes();
                    if !append.pieces.is_empty() {
                        group.purpose = Purpose::Bodies;
                    }
                    records(append, stamp, self.core.config.data, &mut group.parts);
                    bytes
                }
                Work::Upkeep(upkeep) => {
                    group.purpose = Purpose::Upkeep;
                    made = self.make(upkeep, stamp, &mut group.parts);
                    0
                }
            };
            group.waiting.push(Waiting { bytes, reply, permit });
        }
        (group, made)
    }

    /// Everybody sees the group now, and who waited for it is told.
    fn answer(&self, group: Group) {
        let counters = &self.core.counters;
        count(&counters.appends, group.waiting.iter().filter(|entry| entry.bytes > 0).count() as u64);
        count(&counters.payload_bytes, group.waiting.iter().map(|entry| entry.bytes as u64).sum());
        self.core.publish(Some(self.core.view.snapshot()), group.last_stamp);
        for entry in group.waiting {
            drop(entry.permit);
            // nobody listening is fine: the append is durable all the same
            drop(entry.reply.send(Ok(())));
        }
    }

    /// A group of which nothing was written.
    fn give_up(&mut self, group: Group, error: &Error) {
        if group.purpose == Purpose::Upkeep && matches!(error, Error::Full { .. }) {
            // the writers behind it lose nothing
            self.core.publish(None, group.last_stamp);
            refuse(group.waiting, error);
        } else {
            self.fail(group.waiting, error);
        }
    }

    /// The records of a piece of upkeep as the view is now, which no group on its way can change: there is none.
    fn make(&mut self, upkeep: Upkeep, stamp: u64, parts: &mut Vec<Record>) -> Result<()> {
        let core = Arc::clone(&self.core);
        let (data, group_bytes_max) = (core.config.data, core.config.group_bytes_max);
        let now = core.current_view();
        match upkeep {
            Upkeep::BeginSegment { begun } => {
                if self.active.as_ref().is_none_or(|active| active.head > SEGMENT_HEADER_BYTES) {
                    self.begin_segment(Purpose::Upkeep)?;
                }
                if begun.send(self.tail.segment).is_err() {
                    tracing::debug!("whoever wanted a segment has given up");
                }
            }
            Upkeep::Seat { drive, disk, now, seated } => {
                let done = core.drives.seat(drive, disk, now, self.tail.segment, |run| core.first_segment_of(run));
                // the segment that is written has no file on it
                self.active = None;
                core.active_segment.store(0, Ordering::Release);
                core.drive_came();
                drop(seated.send(done));
            }
            Upkeep::State { from, next } => {
                let (bodies, behind) = state_part(now.as_ref(), from, data, group_bytes_max)?;
                count(&core.counters.state_bytes, bodies.iter().map(|body| body.len() as u64).sum());
                state_records(bodies, stamp, parts);
                drop(next.send(behind));
            }
            Upkeep::EndCheckpoint { begin } => {
                let former = std::mem::replace(&mut self.tail.checkpoint, begin);
                if let Err(error) = self.begin_segment(Purpose::Upkeep) {
                    self.tail.checkpoint = former;
                    return Err(error);
                }
                core.checkpoint.store(begin, Ordering::Release);
                count(&core.counters.checkpoints, 1);
                self.flush_view();
            }
            Upkeep::Move { chunks } => {
                let before = parts.len();
                move_records(now.as_ref(), chunks, stamp, data, parts)?;
                count(&core.counters.moved_bytes, parts[before..].iter().map(|record| record.bytes() as u64).sum());
            }
            Upkeep::Retire { segments } => {
                retire_records(now.as_ref(), &segments, self.tail.checkpoint, stamp, parts)?;
            }
        }
        Ok(())
    }

    /// Codes the group's stripe for the end of the log, in a new segment where it does not fit.
    fn code(&mut self, group: &Group) -> Result<Coded> {
        if let Some(reason) = self.core.read_only_reason() {
            return Err(Error::ReadOnly { reason });
        }
        let stripe_bytes = self.lanes[0].fill(&group.parts);
        if self.active.as_ref().is_none_or(|active| !active.has_room(stripe_bytes)) {
            self.begin_segment(group.purpose)?;
        }
        Ok(self.finish(0, 0, self.tail.next_sequence))
    }

    /// A large group that waits while another is written, coded for the place behind it. Small ones wait until they are many; what makes
    /// a segment begin, and upkeep, wait until nothing is on its way.
    fn code_large_group_behind(&mut self, ahead: &Flight) -> Option<(Group, Coded)> {
        let core = Arc::clone(&self.core);
        let largest = stripe_bytes(core.config.group_bytes_max);
        let ahead_bytes = ahead.stripe.stripe_bytes();
        let room = self.active.as_ref().is_some_and(|active| active.has_room(ahead_bytes + largest));
        if !room || self.unflushed_bytes >= FLUSH_EVERY_BYTES || core.read_only_reason().is_some() {
            return None;
        }
        let entries = {
            let mut queue = core.queue.lock();
            if !queue.large_group_waits(&core.config) {
                return None;
            }
            queue.take_group(&core.config)
        };
        let (group, _) = self.group(entries);
        let at = 1 - ahead.lanes;
        self.lanes[at].fill(&group.parts);
        let coded = self.finish(at, ahead_bytes, self.tail.next_sequence + 1);
        Some((group, coded))
    }

    /// The stripe of the group that buffers `at` were filled with, `ahead_bytes` behind the end of the log.
    fn finish(&mut self, at: usize, ahead_bytes: u64, sequence: u64) -> Coded {
        let live = self.live();
        let active = self.active.as_ref().expect("a segment with room was begun");
        let place = StripePlace {
            segment: active.id,
            generation: active.generation,
            offset: active.head + ahead_bytes,
            sequence,
        };
        let stripe = self.lanes[at].finish(&self.core.erasure, self.core.drives.set, place, &live);
        Coded { lanes: at, stripe, live }
    }

    fn live(&self) -> Vec<bool> {
        (0..self.core.config.lanes()).map(|drive| self.core.drives.is_live(drive)).collect()
    }

    /// Gives the stripe to the drives. One that was coded before a drive went out is coded again, without it.
    fn send(&mut self, group: Group, mut coded: Coded) -> Flight {
        if coded.live != self.live() {
            self.lanes[coded.lanes].fill(&group.parts);
            coded = self.finish(coded.lanes, 0, self.tail.next_sequence);
        }
        let Coded { lanes, stripe, .. } = coded;
        let active = self.active.as_mut().expect("the stripe was coded for it");
        assert_eq!(
            (stripe.offset, stripe.sequence),
            (active.head, self.tail.next_sequence),
            "it goes where the log ends"
        );
        let (frames, begun) = begin_lanes(&self.core, &mut self.writers, active, &mut self.lanes[lanes], &stripe);
        Flight { group, lanes, stripe, frames, begun }
    }

    /// Waits until the stripe is durable. The commit point of everything in it.
    fn land(&mut self, flight: Flight) -> (Group, Result<Landed>) {
        let Flight { group, lanes, stripe, frames, begun } = flight;
        let core = Arc::clone(&self.core);
        let active = self.active.as_mut().expect("it is written to");
        let mut synced = 0;
        for ((lane, drive, frame), outcome) in frames.into_iter().zip(self.writers.finish(begun)) {
            // shared only with a thread that was left to itself
            self.lanes[lanes].buffers[lane] = Arc::try_unwrap(frame).unwrap_or_else(|shared| shared.as_ref().clone());
            match outcome {
                Ok(()) => synced += 1,
                Err(error) => {
                    core.drives.take_out(drive, "write a stripe", &error);
                    active.files[drive] = None;
                }
            }
        }
        let needed = stripe.filled_data_lanes() + usize::from(core.config.parity > 0);
        if synced < needed {
            self.active = None;
            let reason = format!("{synced} of the {needed} lanes that a write needs at least were synced");
            return (group, Err(Error::Unavailable { reason }));
        }
        if synced < (0..stripe.lanes()).filter(|&lane| stripe.used(lane) > 0).count() {
            active.lacking.get_or_insert((stripe.offset, stripe.sequence));
        }
        core.drives.mark_absent_stale(active.id);
        active.head += stripe.stripe_bytes();
        let heal_from = active.lacking.unwrap_or((active.head, stripe.sequence + 1));
        self.tail.end_offset = active.head;
        self.tail.next_sequence += 1;
        self.tail.last_stamp = stripe.last_stamp;
        self.tail.predecessor =
            Predecessor { segment: active.id, end_offset: active.head, next_sequence: self.tail.next_sequence };
        self.unflushed_bytes += stripe.stripe_bytes();
        count(&core.counters.groups, 1);
        (group, Ok(Landed { lanes, stripe, heal_from }))
    }

    fn apply(&self, landed: &Landed, purpose: Purpose) -> Result<()> {
        let Landed { lanes, stripe, heal_from } = landed;
        let states = if purpose == Purpose::Upkeep { States::Known } else { States::News };
        let buffers = &self.lanes[*lanes];
        let payload = |lane: usize| &buffers.buffers[lane][FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + stripe.used(lane)];
        let mut lanes = Vec::with_capacity(stripe.data);
        for lane in (0..stripe.data).filter(|&lane| stripe.used(lane) > 0) {
            let scan = payload(lane);
            let heads = decode_heads(scan, buffers.record_count(lane)).expect("the lane was filled with these records");
            lanes.push(LaneRecords { lane, scan, heads });
        }
        let core = &self.core;
        let now = core.current_view();
        let applied = changes(stripe, &lanes, states, now.as_ref()).and_then(|changes| {
            let watermark = Watermark {
                version: VIEW_VERSION,
                set: core.drives.set.to_bytes(),
                segment: self.tail.segment,
                generation: stripe.generation,
                last_offset: stripe.offset,
                offset: self.tail.end_offset,
                next_sequence: self.tail.next_sequence,
                last_stamp: stripe.last_stamp,
                heal_offset: heal_from.0,
                heal_sequence: heal_from.1,
            };
            core.view.apply(&Batch { changes, watermark })
        });
        if let Err(error) = &applied {
            // durable but not visible: the next open replays it, until then nothing may be built on top
            let reason = format!("the view does not take writes ({error}); restart to rebuild it");
            tracing::error!(reason, "the drives are read-only");
            core.queue.lock().read_only = Some(reason);
        }
        applied
    }

    fn begin_segment(&mut self, purpose: Purpose) -> Result<()> {
        let core = Arc::clone(&self.core);
        let left_bytes = purpose.left_bytes(&core.config);
        check_room(&core.drives, core.config.segment_bytes, left_bytes)?;
        self.active = None;
        if !self.generation_marked {
            core.drives.mark_generation(self.generation);
            core.drives.mark_absent_stale(self.tail.segment);
            self.generation_marked = true;
        }
        let header = SegmentHeader {
            set: core.drives.set,
            segment: self.tail.next_segment,
            generation: self.generation,
            predecessor: self.tail.predecessor,
            checkpoint: self.tail.checkpoint,
        };
        let bytes = core.config.segment_bytes;
        let new = NewSegment { header, bytes, left_bytes };
        let active = begin(&core.drives, &mut self.writers, new, &core.counters)?;
        core.segments.write().insert(active.id, active.generation);
        // its header may be the only one that names a checkpoint
        core.drives.mark_absent_stale(active.id);
        self.trim(header.predecessor);
        core.active_segment.store(active.id, Ordering::Release);
        core.torn.store(false, Ordering::Release);
        self.tail.segment = active.id;
        self.tail.next_segment = active.id + 1;
        self.tail.end_offset = active.head;
        self.active = Some(active);
        Ok(())
    }

    /// Gives back the preallocated space behind the end of the segment before, unless it is so little that the whole file is
    /// better kept for a spare. Losing this to a crash loses nothing.
    fn trim(&self, ended: Predecessor) {
        let little = self.core.config.segment_bytes / LITTLE_SHARE;
        if ended.end_offset + little >= self.core.config.segment_bytes {
            return;
        }
        for drive in self.core.drives.live() {
            if let Some(disk) = self.core.drives.disk(drive)
                && ended.end_offset > SEGMENT_HEADER_BYTES
            {
                let cut = disk.open(&segment_name(ended.segment)).and_then(|file| {
                    if file.length()? > ended.end_offset { file.set_length(ended.end_offset) } else { Ok(()) }
                });
                if let Err(error) = cut {
                    tracing::debug!(drive = self.core.drives.label(drive), error = %error, "an ended segment was not cut");
                }
            }
        }
    }

    /// Fails the group and everything queued behind it, and begins a new era.
    fn fail(&mut self, mut waiting: Vec<Waiting>, error: &Error) {
        let core = &self.core;
        tracing::error!(error = %error, appends = waiting.len(), "a group of writes failed");
        count(&core.counters.groups_failed, 1);
        self.active = None;
        let last_stamp = {
            let mut queue = core.queue.lock();
            queue.era += 1;
            queue.full = matches!(error, Error::Full { .. });
            queue.urgent = false;
            for Entry { reply, permit, .. } in queue.entries.drain(..) {
                waiting.push(Waiting { bytes: 0, reply, permit });
            }
            queue.next_stamp - 1
        };
        // failed stamps count as dealt with: whoever waits for them must not wait for ever
        core.publish(None, last_stamp);
        refuse(waiting, error);
    }
}

/// Begins to write every lane in use that has a live drive: lane, drive and frame of each.
fn begin_lanes(
    core: &Core,
    writers: &mut LaneWriters,
    active: &mut ActiveSegment,
    lanes: &mut Lanes,
    stripe: &StripeHeader,
) -> (Vec<SentFrame>, Begun<()>) {
    let mut todo = Vec::with_capacity(stripe.lanes());
    let mut frames = Vec::with_capacity(stripe.lanes());
    for lane in (0..stripe.lanes()).filter(|&lane| stripe.used(lane) > 0) {
        let drive = stripe.drive(lane);
        let Some(file) = active.files[drive].clone().filter(|_| core.drives.is_live(drive)) else { continue };
        let frame = Arc::new(lanes.take_buffer(lane));
        let frame_bytes = frame.len() as u64;
        let zeros = active.zero_ahead(drive, frame_bytes, stripe.offset + frame_bytes);
        let zero_bytes = zeros.as_ref().map_or(0, |zeros| zeros.end - zeros.start);
        count(&core.counters.device_bytes, frame_bytes + zero_bytes);
        count(&core.counters.syncs, 1);
        frames.push((lane, drive, Arc::clone(&frame)));
        todo.push((drive, LaneWrite { file, offset: stripe.offset, frame, zeros }));
    }
    (frames, writers.begin_write(&core.drives, todo))
}

/// Who waits for a group and for the one behind it.
fn all_waiting(group: Group, behind: Option<Group>) -> Vec<Waiting> {
    std::iter::once(group).chain(behind).flat_map(|group| group.waiting).collect()
}

/// Answers everybody who waits with the error.
fn refuse(waiting: Vec<Waiting>, error: &Error) {
    for entry in waiting {
        drop(entry.permit);
        drop(entry.reply.send(Err(error.repeated())));
    }
}
