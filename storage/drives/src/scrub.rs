//! Reads the log stripe by stripe, checks every lane, and writes back what is missing or damaged: [`Scrubber`], a worker.
//!
//! One mechanism for three needs: a scrub reads everything, on a schedule or when asked; a heal reads what a drive lacks that was
//! away, from the segment on that the others have noted; a damaged piece found by a GET has its segment healed. What is healed is
//! synced, dropped from the page cache and read again before it counts, and a drive is whole only once a pass has seen
//! nothing bad on it. Stripes before the checkpoint that nobody needs are not looked at: compaction punches them.
//!
//! How far a pass has come is kept in a small file on every live drive, so that a restart goes on where it was; losing it costs
//! reading again.

use crate::compaction::{needed_chunks, walk_records};
use crate::error::{Error, Result};
use crate::frame::{FRAME_ALIGN_BYTES, Predecessor, SEGMENT_HEADER_BYTES, SegmentHeader, StripeHeader};
use crate::log::{Core, DriveLog};
use crate::occupancy::{SegmentRow, segment_row, segment_rows};
use crate::passes::{Pass, PassKind, Passes};
use crate::recovery::{StripeId, frame_header_at, heal, read_lanes, read_rebuilt, read_stripe_header};
use crate::segment::segment_name;
use crate::status::count;
use async_trait::async_trait;
use cistern_runtime::{Clock, Work, Worker, WorkerError, offload};
use cistern_types::Timestamp;
use std::collections::BTreeSet;
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
    /// Where in its segment the pass that runs goes on.
    at: Option<Place>,
    stored: Timestamp,
    pause: Duration,
    loaded: bool,
}

/// A place between two stripes.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    sequence: u64,
}

impl DriveLog {
    /// The worker that verifies and heals.
    pub fn scrubber(&self, clock: Arc<dyn Clock>) -> Scrubber {
        let stored = clock.now();
        Scrubber { log: self.clone(), clock, at: None, stored, pause: LOOK_PAUSE, loaded: false }
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
        *self.core().passes.lock()
    }
}

/// What the next passes are for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    scrub: bool,
    heal_all: bool,
    /// Segments in which a reader found damage.
    damaged: BTreeSet<u64>,
}

impl Core {
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
        "drive-scrubber".into()
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
        let core = Arc::clone(self.log.core());
        if !self.loaded {
            self.loaded = true;
            let stored = offload(move || load(&core)).await;
            *self.log.core().passes.lock() = stored;
        }
        let Some(pass) = self.log.passes().running.or_else(|| self.next_pass()) else { return Ok(None) };
        let (core, at) = (Arc::clone(self.log.core()), self.at);
        let (pass, next, read) = offload(move || advance(&core, pass, at)).await?;
        self.at = next.place;
        self.keep(pass, next.ended).await?;
        Ok(Some(read))
    }

    /// Begins the pass that is most needed, if any is.
    fn next_pass(&mut self) -> Option<Pass> {
        let core = self.log.core();
        let now = self.clock.now();
        let rows = segment_rows(core.published.read().view.as_ref()).ok()?;
        let stale = core.drives.stale();
        let begin = |kind, from: u64| {
            let last = rows.last_key_value().map_or(0, |(segment, _)| *segment);
            let total =
                rows.range(from..).map(|(_, row)| row.end_offset.saturating_sub(SEGMENT_HEADER_BYTES)).sum::<u64>();
            Pass::new(kind, from..=last, total * core.config.lanes() as u64, now)
        };
        let mut asked = core.asked.lock();
        let passes = *core.passes.lock();
        // what could not be healed just now will not be healed at once either
        let futile = passes.last_heal.filter(|pass| !pass.is_clean()).and_then(|pass| pass.ended);
        let futile = futile.is_some_and(|ended| now.since(ended) < HEAL_RETRY);
        let wanted = stale.values().copied().chain(asked.damaged.first().copied()).min().filter(|_| !futile);
        let from = if asked.heal_all { Some(0) } else { wanted };
        if let Some(from) = from {
            asked.heal_all = false;
            asked.damaged.clear();
            return Some(begin(PassKind::Heal, from));
        }
        // a log that was never read is as old as its drives
        let last = passes.last_scrub.and_then(|pass| pass.ended).unwrap_or(core.drives.created);
        let due = now.since(last) >= SCRUB_INTERVAL;
        (std::mem::take(&mut asked.scrub) || due).then(|| begin(PassKind::Scrub, 0))
    }

    /// Shows how far the pass is, stores it now and then, and draws the conclusions at its end.
    async fn keep(&mut self, mut pass: Pass, ended: bool) -> Result<()> {
        let core = Arc::clone(self.log.core());
        let now = self.clock.now();
        {
            let mut passes = core.passes.lock();
            if ended {
                pass.ended = Some(now);
                pass.total_bytes = pass.verified_bytes;
                passes.running = None;
                match pass.kind {
                    PassKind::Scrub => passes.last_scrub = Some(pass),
                    PassKind::Heal => passes.last_heal = Some(pass),
                }
            } else {
                passes.running = Some(pass);
            }
        }
        if ended {
            report(&pass);
            self.at = None;
        }
        if ended || now.since(self.stored) >= STORE_INTERVAL {
            self.stored = now;
            offload(move || {
                if ended {
                    whole_again(&core, &pass);
                }
                store(&core);
            })
            .await;
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
    if !pass.is_clean() {
        return;
    }
    for (drive, since) in core.drives.stale() {
        if since >= pass.from_segment {
            tracing::info!(drive = core.drives.label(drive), "the drive has everything again");
            core.drives.mark_whole(drive);
        }
    }
}

fn load(core: &Core) -> Passes {
    let of_drive = |drive| {
        let bytes = core.drives.disk(drive)?.read_file(PASSES_FILE).ok()?;
        serde_json::from_slice::<Passes>(&bytes).ok()
    };
    let newest = |passes: &Passes| {
        let times = [passes.running.map(|pass| pass.started), passes.last_scrub.and_then(|pass| pass.ended)];
        (times.into_iter().flatten().max(), passes.running.map(|pass| pass.verified_bytes))
    };
    core.drives.live().into_iter().filter_map(of_drive).max_by_key(newest).unwrap_or_default()
}

fn store(core: &Core) {
    let passes = *core.passes.lock();
    let Ok(bytes) = serde_json::to_vec_pretty(&passes) else { return };
    for drive in core.drives.live() {
        let Some(disk) = core.drives.disk(drive) else { continue };
        if let Err(error) = disk.write_file(PASSES_FILE, &bytes) {
            tracing::warn!(drive = core.drives.label(drive), error = %error, "how far the pass is was not stored");
        }
    }
}

/// Where a pass goes on.
#[derive(Debug, Clone, Copy)]
struct Next {
    place: Option<Place>,
    ended: bool,
}

/// Verifies the next stripes of a pass.
fn advance(core: &Core, mut pass: Pass, at: Option<Place>) -> Result<(Pass, Next, u64)> {
    let rows = segment_rows(core.published.read().view.as_ref())?;
    let ahead =
        (pass.next_segment <= pass.last_segment).then(|| rows.range(pass.next_segment..=pass.last_segment).next());
    let Some((&segment, row)) = ahead.flatten() else {
        return Ok((pass, Next { place: None, ended: true }, 0));
    };
    let start = Place { offset: SEGMENT_HEADER_BYTES, sequence: row.first_sequence };
    let mut at = at.filter(|_| segment == pass.next_segment).unwrap_or(start);
    pass.next_segment = segment;
    let mut read = 0;
    while at.offset < row.end_offset && read < STEP_BYTES {
        let before = at.offset;
        at = verify_stripe(core, segment, row, at, &mut pass)?;
        read += (at.offset - before) * core.config.lanes() as u64;
    }
    pass.verified_bytes += read;
    if at.offset < row.end_offset {
        return Ok((pass, Next { place: Some(at), ended: false }, read));
    }
    cut_healed(core, segment, row);
    pass.next_segment = segment + 1;
    Ok((pass, Next { place: None, ended: false }, read))
}

/// Reads all lanes of the stripe, heals what is bad, and answers where the next one begins.
fn verify_stripe(core: &Core, segment: u64, row: &SegmentRow, at: Place, pass: &mut Pass) -> Result<Place> {
    let id = stripe_id(core, segment, row, at);
    let Some(stripe) = read_stripe_header(&core.drives, id) else {
        pass.lost_stripes += 1;
        return Ok(next_frame(core, id, row.end_offset));
    };
    let next = Place { offset: stripe.end(), sequence: at.sequence + 1 };
    let lanes = read_lanes(&core.drives, &stripe);
    // lanes of drives that are not there can be neither bad nor healed
    let bad: Vec<usize> = lanes.bad.iter().copied().filter(|&lane| core.drives.is_live(stripe.drive(lane))).collect();
    if bad.is_empty() || !is_needed(core, &stripe)? {
        return Ok(next);
    }
    pass.bad_lanes += bad.len() as u64;
    match heal_stripe(core, row, &stripe, &bad) {
        Ok(healed) => pass.healed_lanes += healed,
        Err(Error::Corrupt { segment, offset, detail }) => {
            tracing::error!(segment, offset, detail, "a stripe cannot be rebuilt");
            pass.lost_stripes += 1;
        }
        Err(error) => return Err(error),
    }
    Ok(next)
}

fn stripe_id(core: &Core, segment: u64, row: &SegmentRow, at: Place) -> StripeId {
    let generation = row.generation;
    StripeId { set: core.drives.set, segment, generation, offset: at.offset, sequence: at.sequence }
}

/// Whether anybody needs what is in the stripe: always from the checkpoint on, before it as long as a chunk is found there.
fn is_needed(core: &Core, stripe: &StripeHeader) -> Result<bool> {
    if stripe.segment >= core.checkpoint.load(Ordering::Acquire) {
        return Ok(true);
    }
    match walk_records(core, stripe) {
        Ok(records) => Ok(!needed_chunks(core, stripe, &records)?.is_empty()),
        // what it holds cannot be said: then it counts
        Err(Error::Corrupt { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Rebuilds lanes, writes them back, syncs, and reads them again from the device; how many are whole then.
fn heal_stripe(core: &Core, row: &SegmentRow, stripe: &StripeHeader, bad: &[usize]) -> Result<u64> {
    let lanes = read_rebuilt(&core.drives, &core.erasure, &core.counters, stripe)?;
    // the segment may have been retired while it was read: then nothing may be written any more
    if segment_row(core.published.read().view.as_ref(), stripe.segment)?.is_none() {
        return Ok(bad.len() as u64);
    }
    let header = segment_header(core, stripe.segment, row);
    for &lane in bad {
        let payload = lanes.payloads[lane].as_deref().expect("every lane was read or rebuilt");
        let drive = stripe.drive(lane);
        let written = heal(&core.drives, core.config.segment_bytes, &header, stripe, lane, payload).and_then(|file| {
            file.sync()?;
            file.forget_cached(stripe.offset..stripe.end());
            Ok(())
        });
        count(&core.counters.syncs, 1);
        if let Err(error) = written {
            tracing::warn!(drive = core.drives.label(drive), segment = stripe.segment, error = %error, "a lane was not healed");
        }
    }
    let again = read_lanes(&core.drives, stripe);
    let healed = bad.iter().filter(|lane| !again.bad.contains(lane)).count() as u64;
    count(&core.counters.lanes_healed, healed);
    Ok(healed)
}

/// The header of a segment as any drive has it; one made from what is known when none has.
fn segment_header(core: &Core, segment: u64, row: &SegmentRow) -> SegmentHeader {
    let found = core.drives.present().into_iter().find_map(|drive| {
        crate::recovery::segment_header_at(&core.drives, drive, segment)
            .filter(|header| header.generation == row.generation)
    });
    found.unwrap_or(SegmentHeader {
        set: core.drives.set,
        segment,
        generation: row.generation,
        predecessor: Predecessor { segment: 0, end_offset: 0, next_sequence: row.first_sequence },
        checkpoint: 0,
    })
}

/// The next frame of the segment behind a stripe that no drive has a header of.
fn next_frame(core: &Core, id: StripeId, end_offset: u64) -> Place {
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
            return Place { offset, sequence: stripe.sequence };
        }
        offset += FRAME_ALIGN_BYTES;
    }
    Place { offset: end_offset, sequence: id.sequence + 1 }
}

/// A file that a heal made is as long as a segment may be: what lies behind the end goes, unless the segment is being written.
fn cut_healed(core: &Core, segment: u64, row: &SegmentRow) {
    let is_last = core.segments.read().last_key_value().is_none_or(|(last, _)| *last <= segment);
    if is_last {
        return;
    }
    for drive in core.drives.live() {
        let file = core.drives.disk(drive).and_then(|disk| disk.open(&segment_name(segment)).ok());
        let cut = file.map(|file| {
            let little = core.config.segment_bytes / 16;
            if file.length()? > row.end_offset + little { file.set_length(row.end_offset) } else { Ok(()) }
        });
        if let Some(Err(error)) = cut {
            tracing::debug!(drive = core.drives.label(drive), segment, error = %error, "an ended segment was not cut");
        }
    }
}
