//! Gives the space of forgotten blobs and replaced rows back: [`Compactor`], a worker that does one small piece at a time.
//!
//! ```text
//! rows, forget lists     needed until a checkpoint has stated what they made: BeginSegment, State ..., EndCheckpoint
//! segments before it     without needed chunks: Retire, and its files go
//!                        with stripes nobody needs: holes are punched, nothing is rewritten
//!                        with much else that nobody needs: their needed chunks Move, then Retire
//! ```
//! Everything that changes the log goes through the committer as a group of its own ([`crate::upkeep`]), so a crash at any
//! moment leaves a log that shows the same. Files go only after the record that retires their segment is durable; readers that come
//! too late look the chunk up again. A move needs one segment's room, a checkpoint as many as the rows and places fill; both may take
//! the reserve that writers leave alone.

use crate::NewPiece;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::frame::{FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, StripeHeader};
use crate::log::{Core, DriveLog};
use crate::names::Names;
use crate::occupancy::{SegmentRow, segment_row, segment_rows};
use crate::read::{FoundChunk, read_found_blocking};
use crate::record::scan_bytes;
use crate::recovery::{LaneScan, Position, StripeId, read_records, read_stripe_header};
use crate::segment::{clear_away, give_up_spares, segment_name};
use crate::status::{SpaceUsage, count};
use crate::upkeep::{Cursor, MovedChunk, Upkeep};
use async_trait::async_trait;
use cistern_runtime::{Clock, Work, Worker, WorkerError, offload};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Space that is not worth any work, in segments.
const SLACK_SEGMENTS: u64 = 2;
/// Drives with less room than this many segments beyond the reserve are tight.
const TIGHT_SEGMENTS: u64 = 2;
/// Bytes of chunks moved in one group at most, unless one alone is longer.
const MOVE_BYTES: usize = 1 << 20;
/// Holes shorter than this (or a sixteenth of a segment) are left: each costs the file system an extent.
const HOLE_BYTES_MIN: u64 = 32 << 10;
/// Segments retired in one group at most.
const RETIRED_MAX: usize = 64;
/// How long after a look without a change the compactor looks again: other logs may have filled the drives.
const NEIGHBOURS_PAUSE: Duration = Duration::from_secs(30);
/// How long after a change the compactor looks again.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How much garbage is worth an effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What keeps the space below twice what is needed, see [`Compaction`](crate::Compaction).
    Usual,
    /// Whatever gives space back: the drives are nearly full.
    Thorough,
}

/// A segment whose chunks are being moved, and how far.
#[derive(Debug, Clone, Copy)]
struct Victim {
    segment: u64,
    at: Position,
}

/// What a segment takes of the drives.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    segment: u64,
    row: SegmentRow,
    allocated_bytes: u64,
    garbage_bytes: u64,
}

impl Candidate {
    /// Whether its chunks would take less space elsewhere: some have gone, or they were never packed together by a move. What was moved
    /// here and is all needed stays, whatever its padding takes: moving it again would gain nothing.
    fn is_worth_moving(&self, garbage_percent_min: u64) -> bool {
        let SegmentRow { fresh_bytes, moved_bytes, live_bytes, .. } = self.row;
        let ever = fresh_bytes + moved_bytes;
        fresh_bytes > moved_bytes || (ever - live_bytes.min(ever)) * 100 >= ever * garbage_percent_min
    }
}

/// Compacts a drive log. One for each log; what it knows between two steps can be lost.
#[derive(Debug)]
pub struct Compactor {
    log: DriveLog,
    clock: Arc<dyn Clock>,
    /// The checkpoint on its way: the segment it began with, and how far it has come.
    checkpoint: Option<(u64, Cursor)>,
    victim: Option<Victim>,
    /// The needed bytes of each segment when its holes were punched.
    punched_at: BTreeMap<u64, u64>,
    /// What ended segments take of the drives: asked once, for they change by our doing only.
    sizes: BTreeMap<u64, u64>,
    /// Segments with stripes that cannot be read: left alone until the next open.
    unreadable: BTreeSet<u64>,
    /// What lay behind the last checkpoint when it had just ended: its own padding, which the next would bring again.
    /// `None`: to be looked at.
    padding_bytes: Option<u64>,
    /// How much space had been given back when a checkpoint or a move found no room.
    no_room_at: Option<u64>,
    looked_at: Option<u64>,
    pause: Duration,
}

impl DriveLog {
    /// The worker that gives space back.
    pub fn compactor(&self, clock: Arc<dyn Clock>) -> Compactor {
        Compactor {
            log: self.clone(),
            clock,
            checkpoint: None,
            victim: None,
            punched_at: BTreeMap::new(),
            sizes: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            padding_bytes: Some(0),
            no_room_at: None,
            looked_at: None,
            pause: LOOK_PAUSE,
        }
    }
}

#[async_trait]
impl Worker for Compactor {
    fn name(&self) -> String {
        self.log.worker_name("drive-compactor")
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        let applied = self.log.applied();
        if self.looked_at == Some(applied) {
            self.pause = LOOK_PAUSE;
            return Ok(Work::Idle);
        }
        let (began, appends_before) = (self.clock.now(), self.log.core().counters.read().appends);
        let core = Arc::clone(self.log.core());
        let is_tight = offload(move || {
            let is_tight = is_tight(&core);
            if is_tight {
                give_up_spares(&core.drives);
            }
            is_tight
        })
        .await;
        let effort = if is_tight { Effort::Thorough } else { Effort::Usual };
        if !self.step(effort).await? {
            self.looked_at = Some(applied);
            self.pause = LOOK_PAUSE;
            return Ok(Work::Idle);
        }
        // beside writers it takes no more than half of the time
        let busy = self.log.core().counters.read().appends > appends_before;
        self.pause = self.clock.now().since(began);
        Ok(if busy && effort == Effort::Usual { Work::Idle } else { Work::More })
    }

    async fn wait_for_work(&mut self) {
        if let Some(looked_at) = self.looked_at.take() {
            // ends with the next write; without one there is nothing to do, unless others on the drives need the room
            drop(timeout(NEIGHBOURS_PAUSE, self.log.wait_applied(looked_at + 1)).await);
            self.pause = self.pause.max(LOOK_PAUSE);
        }
        tokio::time::sleep(self.pause).await;
    }
}

impl Compactor {
    /// Does one piece of work; whether there was any.
    pub async fn step(&mut self, effort: Effort) -> Result<bool> {
        if let Some((begin, cursor)) = self.checkpoint.take() {
            let stepped = self.checkpoint_step(begin, cursor).await.map(|next| self.checkpoint = next);
            self.padding_bytes = self.padding_bytes.filter(|_| self.checkpoint.is_some());
            return self.unless_full(stepped);
        }
        if let Some(victim) = self.victim.take() {
            self.victim = self.move_some(victim).await?;
            return Ok(true);
        }
        match self.retire_some().await {
            Ok(true) => return Ok(true),
            // even the record of that finds no room: holes need none
            Ok(false) | Err(Error::Full { .. }) => {}
            Err(error) => return Err(error),
        }
        let core = Arc::clone(self.log.core());
        let unreadable = self.unreadable.clone();
        let mut sizes = std::mem::take(&mut self.sizes);
        let (survey, sizes) = offload(move || (Survey::of(&core, &unreadable, &mut sizes), sizes)).await;
        self.sizes = sizes;
        let survey = survey?;
        let padding_bytes = *self.padding_bytes.get_or_insert(survey.behind_bytes);
        if self.has_room() && survey.checkpoint_pays(self.log.core(), effort, padding_bytes) {
            let begun = self.begin_checkpoint().await;
            return self.unless_full(begun);
        }
        let percent_min = self.log.core().config.compaction.garbage_percent_min(effort);
        let pays = |candidate: &&Candidate| candidate.garbage_bytes * 100 >= candidate.allocated_bytes * percent_min;
        let mut candidates: Vec<&Candidate> = survey.candidates.iter().filter(pays).collect();
        candidates
            .sort_by_key(|candidate| std::cmp::Reverse(candidate.garbage_bytes * 1000 / candidate.allocated_bytes));
        // again once a tenth of what was needed then is not any more
        let grown = |candidate: &&&Candidate| {
            let punched_at = self.punched_at.get(&candidate.segment);
            punched_at.is_none_or(|then| candidate.row.live_bytes < then - then / 10)
        };
        // what only some drives hold whole is not made less
        let all_whole = self.log.core().drives.all_whole();
        if let Some(candidate) = candidates.iter().find(grown).filter(|_| all_whole) {
            self.punch(**candidate).await?;
            return Ok(true);
        }
        let worth_moving = |candidate: &&&Candidate| candidate.is_worth_moving(percent_min);
        let Some(candidate) = candidates
            .iter()
            .find(worth_moving)
            .filter(|_| self.has_room() && survey.moving_pays(self.log.core(), effort))
        else {
            return Ok(false);
        };
        self.victim = Some(Victim { segment: candidate.segment, at: Position::start_of(&candidate.row) });
        Ok(true)
    }

    /// Whether space has come back since a checkpoint or a move found no room.
    fn has_room(&self) -> bool {
        self.no_room_at.is_none_or(|then| self.space_returned() > then)
    }

    /// Grows whenever space is given back.
    fn space_returned(&self) -> u64 {
        let counters = self.log.core().counters.read();
        counters.segments_retired + counters.punched_bytes
    }

    /// On full drives holes and moves come before a checkpoint.
    fn unless_full(&mut self, done: Result<()>) -> Result<bool> {
        match done {
            Err(Error::Full { .. }) => {
                tracing::warn!("a checkpoint found no room; it is tried again when some was freed");
                self.checkpoint = None;
                self.no_room_at = Some(self.space_returned());
                Ok(true)
            }
            done => done.map(|()| true),
        }
    }

    /// Begins a checkpoint now, whether it pays or not.
    pub async fn begin_checkpoint(&mut self) -> Result<()> {
        self.checkpoint = Some((self.log.begin_segment().await?, Cursor::start()));
        Ok(())
    }

    async fn checkpoint_step(&self, begin: u64, from: Cursor) -> Result<Option<(u64, Cursor)>> {
        let (next, behind) = oneshot::channel();
        self.log.upkeep(Upkeep::State { from, next }).await?;
        let behind = behind.await.map_err(|_| Error::Closed)?;
        if behind.is_none() {
            self.log.upkeep(Upkeep::EndCheckpoint { begin }).await?;
        }
        Ok(behind.map(|cursor| (begin, cursor)))
    }

    /// Takes segments before the checkpoint in which nothing is needed out of the log, then removes their files.
    async fn retire_some(&mut self) -> Result<bool> {
        let core = self.log.core();
        let checkpoint = core.checkpoint.load(Ordering::Acquire);
        let view = core.current_view();
        let empty = |(_, row): &(u64, SegmentRow)| row.live_bytes == 0;
        let rows = segment_rows(view.as_ref())?.into_iter().take_while(|(segment, _)| *segment < checkpoint);
        let segments: Vec<u64> = rows.filter(empty).map(|(segment, _)| segment).take(RETIRED_MAX).collect();
        if segments.is_empty() {
            return Ok(false);
        }
        self.log.upkeep(Upkeep::Retire { segments: segments.clone() }).await?;
        let core = Arc::clone(core);
        for segment in &segments {
            self.punched_at.remove(segment);
            self.sizes.remove(segment);
            self.unreadable.remove(segment);
        }
        offload(move || {
            for segment in segments {
                if !matches!(core.is_retired(segment), Ok(true)) {
                    continue;
                }
                core.segments.write().remove(&segment);
                count(&core.counters.segments_retired, 1);
                let _files = core.segment_files.lock();
                for drive in core.drives.live() {
                    if let Err(error) = clear_away(&core.drives, drive, segment, core.config.segment_bytes) {
                        tracing::warn!(drive = core.drives.label(drive), segment, error = %error, "a retired segment was not removed; the next start does");
                    }
                }
            }
        })
        .await;
        Ok(true)
    }

    async fn punch(&mut self, candidate: Candidate) -> Result<()> {
        let core = Arc::clone(self.log.core());
        let Candidate { segment, row, .. } = candidate;
        self.punched_at.insert(segment, row.live_bytes);
        self.sizes.remove(&segment);
        if let Err(error) = offload(move || punch_segment(&core, segment, &row)).await {
            self.leave_alone(segment, &error);
        }
        Ok(())
    }

    /// Moves the next chunks of the victim; `None` when there is nothing left in it.
    async fn move_some(&mut self, victim: Victim) -> Result<Option<Victim>> {
        let core = Arc::clone(self.log.core());
        let gathered = offload(move || gather(&core, victim)).await;
        let (chunks, rest) = match gathered {
            Ok(gathered) => gathered,
            Err(error) => {
                self.leave_alone(victim.segment, &error);
                return Ok(None);
            }
        };
        if chunks.is_empty() {
            return Ok(rest);
        }
        match self.log.upkeep(Upkeep::Move { chunks }).await {
            Ok(_) => Ok(rest),
            Err(Error::Full { .. }) => {
                self.no_room_at = Some(self.space_returned());
                Ok(None)
            }
            // written when groups might be longer than they may be now
            Err(error @ Error::TooLarge { .. }) => {
                self.leave_alone(victim.segment, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn leave_alone(&mut self, segment: u64, error: &Error) {
        tracing::warn!(segment, error = %error, "a segment cannot be compacted");
        self.unreadable.insert(segment);
    }
}

/// Whether the drives are so full that every bit of space counts.
fn is_tight(core: &Core) -> bool {
    let low = core.config.left_alone_bytes() + TIGHT_SEGMENTS * core.config.segment_bytes;
    let free = |drive| core.drives.disk(drive).and_then(|disk| disk.free_bytes().ok());
    core.drives.live().into_iter().filter_map(free).any(|free| free < low)
}

/// How the segments are filled.
#[derive(Debug)]
struct Survey {
    /// Bytes of stripes from the checkpoint on that are neither needed nor a part of it, all lanes counted.
    behind_bytes: u64,
    /// Bytes that are needed, parity counted.
    needed_bytes: u64,
    /// Bytes of garbage before the checkpoint, parity counted.
    garbage_bytes: u64,
    /// Segments before the checkpoint.
    candidates: Vec<Candidate>,
}

impl Survey {
    /// `sizes` is what ended segments took when they were looked at; it grows by those that were not.
    fn of(core: &Core, unreadable: &BTreeSet<u64>, sizes: &mut BTreeMap<u64, u64>) -> Result<Self> {
        let checkpoint = core.checkpoint.load(Ordering::Acquire);
        let view = core.current_view();
        let lanes = core.config.lanes() as u64;
        let with_parity = |bytes: u64| bytes * lanes / core.config.data as u64;
        let mut survey = Self { behind_bytes: 0, needed_bytes: 0, garbage_bytes: 0, candidates: Vec::new() };
        let mut space = SpaceUsage::default();
        let rows = segment_rows(view.as_ref())?;
        // the last is still being written, or was just now and is not cut yet
        let last = rows.last_key_value().map_or(0, |(segment, _)| *segment);
        for (segment, row) in rows {
            let needed_bytes = with_parity(row.live_bytes);
            let allocated_bytes = match sizes.get(&segment) {
                Some(bytes) => *bytes,
                None => allocated_bytes(core, segment),
            };
            if segment < last {
                sizes.insert(segment, allocated_bytes);
            }
            space.live_bytes += row.live_bytes;
            space.allocated_bytes += allocated_bytes;
            survey.needed_bytes += needed_bytes;
            if segment >= checkpoint {
                let stated_bytes = with_parity(row.state_bytes);
                survey.needed_bytes += stated_bytes;
                let bytes = row.end_offset.saturating_sub(SEGMENT_HEADER_BYTES) * lanes;
                survey.behind_bytes += bytes.saturating_sub(needed_bytes + stated_bytes);
                continue;
            }
            let garbage_bytes = allocated_bytes.saturating_sub(needed_bytes);
            survey.garbage_bytes += garbage_bytes;
            if allocated_bytes > 0 && !unreadable.contains(&segment) {
                survey.candidates.push(Candidate { segment, row, allocated_bytes, garbage_bytes });
            }
        }
        *core.space.lock() = Some(space);
        Ok(survey)
    }

    /// Twice the space that is needed is the bound: half of the rest for what lies behind the checkpoint, half for what lies before.
    fn checkpoint_pays(&self, core: &Core, effort: Effort, padding_bytes: u64) -> bool {
        let segment = core.config.segment_bytes * core.config.lanes() as u64;
        let worth_bytes = match effort {
            Effort::Usual => (SLACK_SEGMENTS * segment).max(self.needed_bytes / 2),
            Effort::Thorough => segment.max(self.needed_bytes / 16),
        };
        self.behind_bytes > padding_bytes + worth_bytes
    }

    fn moving_pays(&self, core: &Core, effort: Effort) -> bool {
        let segment = core.config.segment_bytes * core.config.lanes() as u64;
        match effort {
            Effort::Usual => {
                let left_bytes = self.needed_bytes / 100 * core.config.compaction.left_percent();
                self.garbage_bytes > (SLACK_SEGMENTS * segment).max(left_bytes)
            }
            Effort::Thorough => true,
        }
    }
}

/// What the files of a segment take of the live drives.
fn allocated_bytes(core: &Core, segment: u64) -> u64 {
    let name = segment_name(segment);
    let of_drive = |drive| core.drives.disk(drive)?.open(&name).ok()?.allocated_bytes().ok();
    core.drives.live().into_iter().filter_map(of_drive).sum()
}

/// A stripe with its records.
struct Walked {
    stripe: StripeHeader,
    records: Vec<LaneScan>,
}

/// The records of a stripe, rebuilt where they cannot be read.
pub(crate) fn walk_records(core: &Core, stripe: &StripeHeader) -> Result<Vec<LaneScan>> {
    read_records(&core.drives, &core.erasure, &core.counters, stripe)
}

/// The stripe at a place of a segment.
fn walk(core: &Core, names: &mut Names, segment: u64, generation: u64, at: Position) -> Result<Walked> {
    let id = StripeId { set: core.drives.set, segment, generation, offset: at.offset, sequence: at.next_sequence };
    let stripe = read_stripe_header(&core.drives, id).ok_or_else(|| Error::Corrupt {
        segment,
        offset: at.offset,
        detail: "no drive has a header of the stripe".into(),
    })?;
    let records = match walk_records(core, &stripe) {
        // punched, and a drive with heads of it is away: nobody needs it if no chunk is found there
        Err(Error::Corrupt { .. }) if !names.any_in(core, segment, at.offset..stripe.end())? => Vec::new(),
        records => records?,
    };
    Ok(Walked { stripe, records })
}

/// The chunks of a stripe that the view still finds there.
pub(crate) fn needed_chunks(core: &Core, stripe: &StripeHeader, records: &[LaneScan]) -> Result<Vec<FoundChunk>> {
    let mut needed = Vec::new();
    let first_pieces = records.iter().flat_map(|lane| &lane.heads).filter_map(|head| head.piece);
    for piece in first_pieces.filter(|piece| piece.index == 0) {
        let found = core.find_chunk(piece.blob, piece.chunk)?;
        needed.extend(found.filter(|found| found.lies_at(stripe.segment, stripe.offset)));
    }
    Ok(needed)
}

/// The next chunks of a victim to move, and how it goes on.
fn gather(core: &Core, victim: Victim) -> Result<(Vec<MovedChunk>, Option<Victim>)> {
    let limit = MOVE_BYTES.min(core.config.group_bytes_max / 2);
    let view = core.current_view();
    let Some(row) = segment_row(view.as_ref(), victim.segment)? else { return Ok((Vec::new(), None)) };
    let (mut chunks, mut bytes, mut at) = (Vec::new(), 0, victim.at);
    let mut names = Names::default();
    while at.offset < row.end_offset {
        let walked = walk(core, &mut names, victim.segment, row.generation, at)?;
        let needed = needed_chunks(core, &walked.stripe, &walked.records)?;
        let stripe_bytes: usize = needed.iter().map(|found| found.bytes() as usize).sum();
        if bytes > 0 && bytes + stripe_bytes > limit {
            break;
        }
        for found in needed {
            // one that has gone meanwhile needs no moving
            if let Some(chunk) = read_whole(core, &found)? {
                bytes += chunk.bytes.len();
                chunks.push(MovedChunk { chunk, segment: victim.segment, stripe_offset: walked.stripe.offset });
            }
        }
        at = Position::behind(&walked.stripe);
        if bytes >= limit {
            break;
        }
    }
    let rest = (at.offset < row.end_offset).then_some(Victim { at, ..victim });
    Ok((chunks, rest))
}

fn read_whole(core: &Core, found: &FoundChunk) -> Result<Option<NewPiece>> {
    let bytes = read_found_blocking(core, found, 0..found.bytes())?;
    Ok(bytes.map(|bytes| NewPiece { blob: found.blob(), chunk: found.number(), last: found.is_last(), bytes }))
}

/// Punches what nobody needs out of a segment: payloads of stripes without needed chunks, and room that no lane took.
fn punch_segment(core: &Core, segment: u64, row: &SegmentRow) -> Result<()> {
    let name = segment_name(segment);
    let mut files: Vec<Option<(Arc<dyn DiskFile>, Holes)>> = Vec::with_capacity(core.config.lanes());
    for drive in 0..core.config.lanes() {
        let disk = core.drives.disk(drive).filter(|_| core.drives.is_live(drive));
        files.push(disk.and_then(|disk| disk.open(&name).ok()).map(|file| (file, Holes::default())));
    }
    let (mut at, mut names) = (Position::start_of(row), Names::default());
    while at.offset < row.end_offset {
        let walked = walk(core, &mut names, segment, row.generation, at)?;
        // one whose heads had to be rebuilt could not be walked any more without its payloads
        let rebuilt = walked.records.iter().any(|lane| lane.rebuilt);
        let needed = rebuilt || !needed_chunks(core, &walked.stripe, &walked.records)?.is_empty();
        let stripe = &walked.stripe;
        for lane in 0..stripe.lanes() {
            if let Some((_, holes)) = &mut files[stripe.drive(lane)] {
                holes.add(stripe.offset + kept_bytes(&walked, lane, needed)..stripe.end());
            }
        }
        at = Position::behind(stripe);
    }
    let hole_bytes_min = HOLE_BYTES_MIN.min(core.config.segment_bytes / 16);
    for (file, holes) in files.into_iter().flatten() {
        for hole in holes.0.into_iter().filter(|hole| hole.end - hole.start >= hole_bytes_min) {
            let bytes = hole.end - hole.start;
            match file.punch(hole) {
                Ok(true) => count(&core.counters.punched_bytes, bytes),
                Ok(false) => return Ok(()),
                Err(error) => {
                    tracing::debug!(segment, error = %error, "a hole was not punched");
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// How much of a lane's frame stays: all of it when its stripe is needed, else what a walk over the segment reads.
fn kept_bytes(walked: &Walked, lane: usize, needed: bool) -> u64 {
    let stripe = &walked.stripe;
    if stripe.used(lane) == 0 {
        return 0;
    }
    if needed {
        return stripe.frame_bytes(lane) as u64;
    }
    let scan = walked.records.iter().find(|records| records.lane == lane);
    let scan = scan.map_or(0, |records| scan_bytes(&records.heads));
    ((FRAME_HEADER_BYTES + scan) as u64).next_multiple_of(FRAME_ALIGN_BYTES)
}

/// Ranges in ascending order, touching ones joined.
#[derive(Debug, Default)]
struct Holes(Vec<Range<u64>>);

impl Holes {
    fn add(&mut self, range: Range<u64>) {
        match self.0.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }
}
