//! Reads the log stripe by stripe, checks every lane, and writes back what is missing or damaged: [`Scrubber`], a worker.
//!
//! The segment that is being written is ended first: its file is the committer's. One mechanism for three needs: a scrub reads everything, on a schedule or when asked; a heal reads what a drive lacks that was
//! away, from the segment on that the others have noted; a damaged piece found by a GET has its segment healed. What is healed is
//! synced, dropped from the page cache and read again before it counts, and a drive is whole only once a pass has seen
//! nothing bad on it. Stripes before the checkpoint that nobody needs are not looked at: compaction punches them.
//!
//! How far a pass has come is kept in a small file on every live drive, so that a restart goes on where it was; losing it costs
//! reading again.

use crate::compaction::{needed_chunks, walk_records};
use crate::drives::{Drives, Staleness};
use crate::error::{Error, Result};
use crate::frame::{FRAME_ALIGN_BYTES, Predecessor, SEGMENT_HEADER_BYTES, SegmentHeader, StripeHeader};
use crate::log::{Core, DriveLog};
use crate::names::Names;
use crate::occupancy::{SegmentRow, decode_segment, segment_key, segment_rows};
use crate::passes::{Pass, PassBook, PassKind, Passes};
use crate::recovery::{
    Position, StripeId, frame_header_at, heal, heal_as_dead, read_lanes, read_rebuilt, read_stripe_header,
    segment_file, segment_header_at,
};
use crate::segment::{is_full, segment_name};
use crate::status::count;
use crate::view::{Direction, Space};
use async_trait::async_trait;
use cistern_runtime::{Clock, Work, Worker, WorkerError, offload};
use cistern_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Where passes are kept on each drive.
const PASSES_FILE: &str = "passes.json";
/// Bytes of lanes read in one step, about.
const STEP_BYTES: u64 = 8 << 20;
/// Bytes a second that a scrub reads at most, of all drives together; a heal goes as fast as it can beside the writers.
const SCRUB_BYTES_PER_SECOND: u64 = 128 << 20;
/// From the end of one scrub to the beginning of the next.
const SCRUB_INTERVAL: Duration = Duration::from_hours(14 * 24);
/// How long after a heal that left something bad the next one begins by itself.
const HEAL_RETRY: Duration = Duration::from_hours(1);
/// How often it is looked whether a pass is due; what is asked for begins at once.
const LOOK_PAUSE: Duration = Duration::from_mins(1);
/// How far a pass has come is stored this often.
const STORE_INTERVAL: Duration = Duration::from_mins(1);
/// Damaged segments remembered at most; beyond it a heal reads everything.
const DAMAGED_SEGMENTS_MAX: usize = 64;

/// Verifies and heals a drive log. One for each log.
#[derive(Debug)]
pub struct Scrubber {
    log: DriveLog,
    clock: Arc<dyn Clock>,
    walk: Walk,
    stored: Timestamp,
    pause: Duration,
}

/// What a pass that runs knows between two steps, and can lose.
#[derive(Debug, Default)]
struct Walk {
    /// Where in its segment it goes on.
    at: Option<Position>,
    names: Names,
}

impl DriveLog {
    /// The worker that verifies and heals.
    pub fn scrubber(&self, clock: Arc<dyn Clock>) -> Scrubber {
        let stored = clock.now();
        Scrubber { log: self.clone(), clock, walk: Walk::default(), stored, pause: LOOK_PAUSE }
    }

    /// Asks for a pass, which begins soon if none runs, and after it otherwise.
    pub fn request_pass(&self, kind: PassKind) {
        let mut asked = self.core().asked.lock();
        match kind {
            PassKind::Scrub => asked.scrub = true,
            PassKind::Heal => asked.heal_all = true,
        }
        self.core().pass_wanted.notify_one();
    }

    /// The passes now and before.
    pub fn passes(&self) -> Passes {
        self.core().passes.lock().passes
    }
}

/// What the next passes are for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    scrub: bool,
    heal_all: bool,
    /// A drive has taken a place that may lack something.
    newcomer: bool,
    /// Segments in which a reader found damage.
    damaged: BTreeSet<u64>,
}

impl Core {
    /// Notes that a drive has taken a place: what it lacks is brought to it at once.
    pub(crate) fn drive_came(&self) {
        self.asked.lock().newcomer = true;
        self.pass_wanted.notify_one();
    }

    /// Notes that a reader has found damage in a segment: it is healed soon.
    pub(crate) fn found_damage(&self, segment: u64) {
        let mut asked = self.asked.lock();
        if asked.damaged.len() < DAMAGED_SEGMENTS_MAX {
            asked.damaged.insert(segment);
        } else {
            asked.heal_all = true;
        }
        self.pass_wanted.notify_one();
    }
}

#[async_trait]
impl Worker for Scrubber {
    fn name(&self) -> String {
        self.log.worker_name("drive-scrubber")
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        let began = self.clock.now();
        let read = self.step().await?;
        let Some(read) = read else {
            self.pause = LOOK_PAUSE;
            return Ok(Work::Idle);
        };
        let took = self.clock.now().since(began);
        let scrub = self.log.passes().running.is_some_and(|pass| pass.kind == PassKind::Scrub);
        let due = Duration::from_millis(if scrub { read * 1000 / SCRUB_BYTES_PER_SECOND } else { 0 });
        self.pause = due.saturating_sub(took);
        Ok(if self.pause.is_zero() { Work::More } else { Work::Idle })
    }

    async fn wait_for_work(&mut self) {
        let running = self.log.passes().running.is_some();
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = self.log.core().pass_wanted.notified(), if !running => {}
        }
    }
}

impl Scrubber {
    /// Does one step; the bytes it read, or `None` when there is nothing to do.
    pub async fn step(&mut self) -> Result<Option<u64>> {
        self.log.end_before_torn().await?;
        if self.log.core().give_up_for_stale() {
            self.walk = Walk::default();
        }
        let running = self.log.passes().running;
        let wanted = if running.is_some() { running } else { self.next_pass().await? };
        let Some(pass) = wanted else { return Ok(None) };
        let (core, mut walk) = (Arc::clone(self.log.core()), std::mem::take(&mut self.walk));
        let (advanced, walk) = offload(move || (advance(&core, pass, &mut walk), walk)).await;
        self.walk = walk;
        let Advanced { pass, read, ended } = advanced?;
        self.keep(pass, ended).await?;
        Ok(Some(read))
    }

    /// Begins the pass that is most needed, if any is.
    async fn next_pass(&mut self) -> Result<Option<Pass>> {
        let core = Arc::clone(self.log.core());
        let now = self.clock.now();
        let stale = core.drives.stale();
        let Some((kind, segments)) = self.most_needed(now, &stale) else { return Ok(None) };
        let (from, last) = segments.into_inner();
        // what is being written belongs to the committer; where no other segment can be begun it is left out
        let (active, unread_segment) = match core.active_segment.load(Ordering::Acquire) {
            0 => (0, None),
            active => match self.log.begin_segment().await {
                Ok(begun) => (begun, None),
                Err(error) => {
                    tracing::warn!(segment = active, %error, "the segment that is being written is left out of the pass");
                    (active, Some(active))
                }
            },
        };
        let unread_segment = unread_segment.filter(|unread| (from..=last).contains(unread));
        let view = core.current_view();
        let rows = offload(move || segment_rows(view.as_ref())).await?;
        let last = if active == 0 { last } else { last.min(active - 1) };
        let last = rows.last_key_value().map_or(0, |(segment, _)| *segment).min(last);
        let lanes = core.config.lanes() as u64;
        let bytes = |row: &SegmentRow| row.end_offset.saturating_sub(SEGMENT_HEADER_BYTES) * lanes;
        let total = if from <= last { rows.range(from..=last).map(|(_, row)| bytes(row)).sum() } else { 0 };
        self.walk = Walk::default();
        core.passes.lock().to_be_whole = stale;
        Ok(Some(Pass { unread_segment, ..Pass::new(kind, from..=last, total, now) }))
    }

    /// What to read next and why. What was asked for is forgotten by asking.
    fn most_needed(
        &self,
        now: Timestamp,
        stale: &BTreeMap<usize, Staleness>,
    ) -> Option<(PassKind, RangeInclusive<u64>)> {
        let core = self.log.core();
        let passes = core.passes.lock().passes;
        // what could not be healed just now will not be healed at once either
        let futile = passes.last_heal.filter(|pass| !pass.is_clean()).and_then(|pass| pass.ended);
        let futile = futile.is_some_and(|ended| now.since(ended) < HEAL_RETRY);
        let mut asked = core.asked.lock();
        let futile = !std::mem::take(&mut asked.newcomer) && futile;
        if std::mem::take(&mut asked.heal_all) {
            asked.damaged.clear();
            return Some((PassKind::Heal, 0..=u64::MAX));
        }
        if !futile && !stale.is_empty() {
            let damaged = std::mem::take(&mut asked.damaged);
            let from = stale.values().map(|stale| stale.since).chain(damaged.first().copied()).min().unwrap_or(0);
            return Some((PassKind::Heal, from..=u64::MAX));
        }
        if !futile && let (Some(&first), Some(&last)) = (asked.damaged.first(), asked.damaged.last()) {
            asked.damaged.clear();
            return Some((PassKind::Heal, first..=last));
        }
        // a log that was never read is as old as its drives
        let last = passes.last_scrub.and_then(|pass| pass.ended).unwrap_or(core.drives.created);
        let due = now.since(last) >= SCRUB_INTERVAL;
        (std::mem::take(&mut asked.scrub) || due).then_some((PassKind::Scrub, 0..=u64::MAX))
    }

    /// Shows how far the pass is, stores it now and then, and draws the conclusions at its end.
    async fn keep(&mut self, mut pass: Pass, ended: bool) -> Result<()> {
        let core = Arc::clone(self.log.core());
        let now = self.clock.now();
        if ended {
            report(&pass);
            pass.ended = Some(now);
            pass.total_bytes = pass.verified_bytes;
            let core = Arc::clone(&core);
            // said on the drives before anybody is told
            offload(move || whole_again(&core, &pass)).await;
        }
        {
            let mut book = core.passes.lock();
            core.forget_absent(&mut book);
            let passes = &mut book.passes;
            passes.running = Some(pass).filter(|_| !ended);
            match pass.kind {
                PassKind::Scrub if ended => passes.last_scrub = Some(pass),
                PassKind::Heal if ended => passes.last_heal = Some(pass),
                _ => {}
            }
        }
        if ended || now.since(self.stored) >= STORE_INTERVAL {
            self.stored = now;
            offload(move || store(&core)).await;
        }
        Ok(())
    }
}

fn report(pass: &Pass) {
    let Pass { kind, verified_bytes, bad_lanes, healed_lanes, lost_stripes, .. } = *pass;
    if lost_stripes > 0 {
        tracing::error!(
            ?kind,
            verified_bytes,
            bad_lanes,
            healed_lanes,
            lost_stripes,
            "a pass found stripes that cannot be rebuilt"
        );
    } else {
        tracing::info!(?kind, verified_bytes, bad_lanes, healed_lanes, "a pass over the log has ended");
    }
}

/// Drives that a clean pass has read from where they were stale on lack nothing any more.
fn whole_again(core: &Core, pass: &Pass) {
    let to_be_whole = std::mem::take(&mut core.passes.lock().to_be_whole);
    if !pass.is_clean() {
        return;
    }
    for (drive, stale) in to_be_whole.into_iter().filter(|(_, stale)| stale.since >= pass.from_segment) {
        if core.drives.mark_whole(drive, stale) {
            tracing::info!(drive = core.drives.label(drive), "the drive has everything again");
        }
    }
}

impl Core {
    /// A drive that went away while a pass ran was not read by all of it: the end of the pass says nothing about it.
    fn forget_absent(&self, book: &mut PassBook) {
        let stale = self.drives.stale();
        book.to_be_whole.retain(|drive, staleness| stale.get(drive) == Some(staleness));
    }

    /// Gives up the pass that runs when a drive that lacks something has come since it began: another one, for it, is needed more. A
    /// pass that somebody asked for comes after that one.
    fn give_up_for_stale(&self) -> bool {
        let mut book = self.passes.lock();
        self.forget_absent(&mut book);
        let covered = self.drives.stale().keys().all(|drive| book.to_be_whole.contains_key(drive));
        let Some(pass) = book.passes.running.filter(|_| !covered) else { return false };
        book.passes.running = None;
        let mut asked = self.asked.lock();
        match pass.kind {
            PassKind::Scrub => asked.scrub = true,
            PassKind::Heal => asked.heal_all = true,
        }
        true
    }
}

/// The passes as the drives remember them.
pub(crate) fn load(drives: &Drives) -> PassBook {
    let of_drive = |drive| {
        let bytes = drives.disk(drive)?.read_file(PASSES_FILE).ok()?;
        serde_json::from_slice::<PassBook>(&bytes).ok()
    };
    let newest = |PassBook { passes, .. }: &PassBook| {
        let ended = [passes.last_scrub, passes.last_heal].map(|pass| pass.and_then(|pass| pass.ended));
        let begun = passes.running.map(|pass| pass.started);
        (ended.into_iter().chain([begun]).flatten().max(), passes.running.map(|pass| pass.verified_bytes))
    };
    drives.live().into_iter().filter_map(of_drive).max_by_key(newest).unwrap_or_default()
}

fn store(core: &Core) {
    let book = core.passes.lock().clone();
    let Ok(bytes) = serde_json::to_vec_pretty(&book) else { return };
    for drive in core.drives.live() {
        let Some(disk) = core.drives.disk(drive) else { continue };
        if let Err(error) = disk.write_file(PASSES_FILE, &bytes) {
            tracing::warn!(drive = core.drives.label(drive), error = %error, "how far the pass is was not stored");
        }
    }
}

/// A pass after a step.
#[derive(Debug)]
struct Advanced {
    pass: Pass,
    /// Bytes that the step read.
    read: u64,
    ended: bool,
}

/// Verifies the next stripes of a pass.
fn advance(core: &Core, mut pass: Pass, walk: &mut Walk) -> Result<Advanced> {
    let Some((segment, row)) =
        next_segment(core, pass.next_segment)?.filter(|(segment, _)| *segment <= pass.last_segment)
    else {
        verify_empty_segment(core, &mut pass)?;
        return Ok(Advanced { pass, read: 0, ended: true });
    };
    let mut at = walk.at.filter(|_| segment == pass.next_segment).unwrap_or_else(|| Position::start_of(&row));
    pass.next_segment = segment;
    if at == Position::start_of(&row) {
        verify_segment_header(core, segment, &row, &mut pass);
    }
    let step = STEP_BYTES / core.config.lanes() as u64;
    forget_cached(core, segment, at.offset..(at.offset + 2 * step).min(row.end_offset).max(at.offset));
    let first = at.offset;
    while at.offset < row.end_offset && at.offset - first < step {
        at = verify_stripe(core, &mut walk.names, segment, &row, at, &mut pass)?;
    }
    let read = (at.offset - first) * core.config.lanes() as u64;
    pass.verified_bytes += read;
    walk.at = Some(at).filter(|at| at.offset < row.end_offset);
    if walk.at.is_none() {
        pass.next_segment = segment + 1;
    }
    Ok(Advanced { pass, read, ended: false })
}

/// The last segment may be empty and still be the only one whose header names the checkpoint: without it, what lies before the checkpoint
/// would be needed, and only its heads are healed. Every live drive has that header before a pass makes it whole.
fn verify_empty_segment(core: &Core, pass: &mut Pass) -> Result<()> {
    let last_with_stripes =
        segment_rows(core.current_view().as_ref())?.last_key_value().map_or(0, |(segment, _)| *segment);
    let last = core.segments.read().last_key_value().map(|(segment, generation)| (*segment, *generation));
    let empty = last.filter(|(segment, _)| *segment > last_with_stripes);
    let Some((segment, generation)) = empty else { return Ok(()) };
    // one that is being written was begun on all live drives
    if segment == core.active_segment.load(Ordering::Acquire) {
        return Ok(());
    }
    verify_segment_header(core, segment, &SegmentRow { generation, ..SegmentRow::default() }, pass);
    Ok(())
}

/// Brings the header of a segment to live drives that lack it: the chain of segments is followed by any one of them.
fn verify_segment_header(core: &Core, segment: u64, row: &SegmentRow, pass: &mut Pass) {
    forget_cached(core, segment, 0..SEGMENT_HEADER_BYTES);
    let Some(header) = segment_header(core, segment, row) else { return };
    let lacks = |drive: &usize| segment_header_at(&core.drives, *drive, segment).as_ref() != Some(&header);
    let lacking: Vec<usize> = core.drives.live().into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return;
    }
    let _files = core.segment_files.lock();
    if !core.segments.read().contains_key(&segment) {
        return;
    }
    for drive in lacking {
        pass.bad_lanes += 1;
        let healed = segment_file(&core.drives, drive, SEGMENT_HEADER_BYTES, &header).and_then(|file| file.sync());
        match healed {
            Ok(()) => pass.healed_lanes += 1,
            Err(error) if is_full(&error) => {}
            Err(error) => core.drives.take_out(drive, "heal a segment header", &error),
        }
    }
}

/// The first segment from `from` on that is part of the log.
fn next_segment(core: &Core, from: u64) -> Result<Option<(u64, SegmentRow)>> {
    let view = core.current_view();
    let key = segment_key(from);
    let found = view.range(Space::Segments, (Bound::Included(&key[..]), Bound::Unbounded), 1, Direction::Forward)?;
    found.first().map(|(key, value)| decode_segment(key, value)).transpose()
}

/// What is verified must come from the device: after a failed sync the kernel holds pages for clean that never reached it.
fn forget_cached(core: &Core, segment: u64, range: Range<u64>) {
    if range.is_empty() {
        return;
    }
    for drive in core.drives.live() {
        if let Some(file) = core.drives.disk(drive).and_then(|disk| disk.open(&segment_name(segment)).ok()) {
            file.forget_cached(range.clone());
        }
    }
}

/// Reads all lanes of the stripe, heals what is bad, and answers where the next one begins.
fn verify_stripe(
    core: &Core,
    names: &mut Names,
    segment: u64,
    row: &SegmentRow,
    at: Position,
    pass: &mut Pass,
) -> Result<Position> {
    let id = stripe_id(core, segment, row, at);
    let Some(stripe) = read_stripe_header(&core.drives, id) else {
        if core.is_retired(segment)? {
            return Ok(Position { offset: row.end_offset, ..at });
        }
        let next = next_frame(core, id, row.end_offset);
        // what was needed when it was looked at last may have been moved since
        let needed = segment >= core.checkpoint.load(Ordering::Acquire)
            || names.any_in(core, segment, at.offset..next.offset)?
                && Names::default().any_in(core, segment, at.offset..next.offset)?;
        pass.lost_stripes += u64::from(needed);
        return Ok(next);
    };
    let next = Position::behind(&stripe);
    let lanes = read_lanes(&core.drives, &stripe);
    // lanes of drives that are not there can be neither bad nor healed
    let bad: Vec<usize> = lanes.bad.iter().copied().filter(|&lane| core.drives.is_live(stripe.drive(lane))).collect();
    if bad.is_empty() {
        return Ok(next);
    }
    if !is_needed(core, names, &stripe)? {
        keep_walkable(core, row, &stripe, &bad)?;
        return Ok(next);
    }
    match heal_stripe(core, row, &stripe, &bad) {
        Ok(Healed::Lanes(healed)) => {
            pass.bad_lanes += bad.len() as u64;
            pass.healed_lanes += healed;
        }
        Ok(Healed::SegmentGone) => return Ok(Position { offset: row.end_offset, ..at }),
        // compaction may have moved its chunks and punched it meanwhile
        Err(Error::Corrupt { .. })
            if core.is_retired(segment)? || !is_needed(core, &mut Names::default(), &stripe)? => {}
        Err(Error::Corrupt { segment, offset, detail }) => {
            tracing::error!(segment, offset, detail, "a stripe cannot be rebuilt");
            pass.bad_lanes += bad.len() as u64;
            pass.lost_stripes += 1;
        }
        Err(error) => return Err(error),
    }
    Ok(next)
}

fn stripe_id(core: &Core, segment: u64, row: &SegmentRow, at: Position) -> StripeId {
    let generation = row.generation;
    StripeId { set: core.drives.set, segment, generation, offset: at.offset, sequence: at.next_sequence }
}

/// Whether anybody needs what is in the stripe: always from the checkpoint on, before it as long as a chunk is found there.
fn is_needed(core: &Core, names: &mut Names, stripe: &StripeHeader) -> Result<bool> {
    if stripe.segment >= core.checkpoint.load(Ordering::Acquire) {
        return Ok(true);
    }
    match walk_records(core, stripe) {
        Ok(records) => Ok(!needed_chunks(core, stripe, &records)?.is_empty()),
        Err(Error::Corrupt { .. }) => names.any_in(core, stripe.segment, stripe.offset..stripe.end()),
        Err(error) => Err(error),
    }
}

/// A stripe that nobody needs is not healed, but those behind it are found by its headers: drives that have none get one. Not synced,
/// for losing it costs nothing while the other drives have theirs.
fn keep_walkable(core: &Core, row: &SegmentRow, stripe: &StripeHeader, bad: &[usize]) -> Result<()> {
    let has_header = |lane: usize| {
        frame_header_at(&core.drives, stripe.drive(lane), stripe.segment, stripe.offset)
            .is_some_and(|found| found.stripe == *stripe && found.lane == lane)
    };
    let lacking: Vec<usize> = bad.iter().copied().filter(|&lane| !has_header(lane)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let Some(header) = segment_header(core, stripe.segment, row) else { return Ok(()) };
    let _files = core.segment_files.lock();
    if core.is_retired(stripe.segment)? {
        return Ok(());
    }
    for lane in lacking {
        match heal_as_dead(&core.drives, SEGMENT_HEADER_BYTES, &header, stripe, lane) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Ok(()),
            Err(error) => core.drives.take_out(stripe.drive(lane), "heal a header", &error),
        }
    }
    Ok(())
}

/// What became of bad lanes.
#[derive(Debug, Clone, Copy)]
enum Healed {
    /// So many are whole now.
    Lanes(u64),
    /// The segment was retired meanwhile.
    SegmentGone,
}

/// Rebuilds lanes, writes them back, syncs, and reads them again from the device. A drive that refuses goes out, unless it is full.
fn heal_stripe(core: &Core, row: &SegmentRow, stripe: &StripeHeader, bad: &[usize]) -> Result<Healed> {
    let lanes = read_rebuilt(&core.drives, &core.erasure, &core.counters, stripe)?;
    let Some(header) = segment_header(core, stripe.segment, row) else { return Ok(Healed::Lanes(0)) };
    let mut written = Vec::with_capacity(bad.len());
    {
        // a retired segment's file may be another one's by now
        let _files = core.segment_files.lock();
        if core.is_retired(stripe.segment)? {
            return Ok(Healed::SegmentGone);
        }
        for &lane in bad {
            let payload = lanes.payloads[lane].as_deref().expect("every lane was read or rebuilt");
            let drive = stripe.drive(lane);
            // a new file grows with what is written: compaction may have punched most of the segment on the other drives
            let done = heal(&core.drives, SEGMENT_HEADER_BYTES, &header, stripe, lane, payload).and_then(|file| {
                file.sync()?;
                file.forget_cached(stripe.offset..stripe.end());
                Ok(())
            });
            count(&core.counters.syncs, 1);
            match done {
                Ok(()) => written.push(lane),
                Err(error) if is_full(&error) => {
                    tracing::warn!(
                        drive = core.drives.label(drive),
                        segment = stripe.segment,
                        "no room to heal a lane"
                    );
                }
                Err(error) => core.drives.take_out(drive, "heal a lane", &error),
            }
        }
    }
    let again = read_lanes(&core.drives, stripe);
    let healed = written.iter().filter(|lane| !again.bad.contains(lane)).count() as u64;
    count(&core.counters.lanes_healed, healed);
    Ok(Healed::Lanes(healed))
}

/// The header of a segment as any drive has it. Before the checkpoint, where nothing follows the chain any more, one made from what
/// is known does as well; behind it a made-up one could hide that the chain is broken.
fn segment_header(core: &Core, segment: u64, row: &SegmentRow) -> Option<SegmentHeader> {
    let found = core.drives.present().into_iter().find_map(|drive| {
        segment_header_at(&core.drives, drive, segment).filter(|header| header.generation == row.generation)
    });
    let predecessor = Predecessor { segment: 0, end_offset: 0, next_sequence: row.first_sequence };
    let (set, generation) = (core.drives.set, row.generation);
    let made = SegmentHeader { set, segment, generation, predecessor, checkpoint: 0 };
    found.or_else(|| (segment < core.checkpoint.load(Ordering::Acquire)).then_some(made))
}

/// The next frame of the segment behind a stripe that no drive has a header of.
fn next_frame(core: &Core, id: StripeId, end_offset: u64) -> Position {
    let mut offset = id.offset + FRAME_ALIGN_BYTES;
    while offset < end_offset {
        let frames =
            core.drives.live().into_iter().filter_map(|drive| frame_header_at(&core.drives, drive, id.segment, offset));
        let mut stripes = frames.map(|frame| frame.stripe).filter(|stripe| {
            (stripe.set, stripe.segment, stripe.generation, stripe.offset)
                == (id.set, id.segment, id.generation, offset)
                && stripe.sequence > id.sequence
        });
        if let Some(stripe) = stripes.next() {
            return Position { offset, next_sequence: stripe.sequence };
        }
        offset += FRAME_ALIGN_BYTES;
    }
    Position { offset: end_offset, next_sequence: id.sequence + 1 }
}
