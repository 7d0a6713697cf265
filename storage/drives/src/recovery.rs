//! From whatever the drives hold after a stop or a crash to an open log: follow the chain of segments, replay what the view
//! lacks, find the end, heal what is bad in the last segment.
//!
//! The survey reads the last segment and decides where the log ends, so that a corrupt log is refused with nothing changed.
//! Then bad lanes are healed and synced, and only then is the log replayed into the view: what the view has seen is never
//! less protected than an acknowledged write. `chain.rs` makes out which segments belong to the log, `lanes.rs`
//! reads and rebuilds the lanes of a stripe.

mod chain;
mod lanes;

pub(crate) use chain::read_header as segment_header_at;
pub(crate) use lanes::{
    LaneScan, StripeId, frame_header_at, heal, heal_as_dead, read_lanes, read_rebuilt, read_records,
    read_stripe_header, read_stripe_header_around, segment_file,
};

use crate::apply::{LaneRecords, States, changes};
use crate::config::DriveLogConfig;
use crate::disk::DiskFile;
use crate::drives::Drives;
use crate::erasure::Erasure;
use crate::error::{Error, Result};
use crate::frame::{
    FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, FrameHeader, Predecessor, SEGMENT_HEADER_BYTES, StripeHeader, stripe_bytes,
};
use crate::identity::SetId;
use crate::occupancy::{SegmentRow, segment_rows};
use crate::segment::{Tail, segment_name};
use crate::status::{Counters, count};
use crate::view::{self, Batch, VIEW_VERSION, View, Watermark};
use chain::{Chain, Link};
use lanes::LaneSet;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// An open view that shows everything in the log, and where the log goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) view: Arc<dyn View>,
    pub(crate) tail: Tail,
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Whether a torn write lies behind the end. Once drives are missing it could not be told from one that was acknowledged.
    pub(crate) torn: bool,
}

/// A place between two stripes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    pub(crate) next_sequence: u64,
}

impl Position {
    /// In front of the first stripe of a segment.
    pub(crate) fn start_of(row: &SegmentRow) -> Self {
        Self { offset: SEGMENT_HEADER_BYTES, next_sequence: row.first_sequence }
    }

    /// Behind a stripe.
    pub(crate) fn behind(stripe: &StripeHeader) -> Self {
        Self { offset: stripe.end(), next_sequence: stripe.sequence + 1 }
    }
}

/// What a replay brought into the view.
#[derive(Debug, Clone, Copy)]
struct Replayed {
    stripes: u64,
    /// The stamp of the last append in the log.
    last_stamp: u64,
}

struct Recovery<'a> {
    config: &'a DriveLogConfig,
    drives: &'a Drives,
    erasure: &'a Erasure,
    counters: &'a Counters,
}

/// What the first pass over the last segment found.
#[derive(Debug)]
struct Survey {
    end: Position,
    /// Stripes with bad lanes, all of which can be rebuilt.
    damaged: Vec<StripeHeader>,
    /// The last stripe, unless the view shows that it was synced: it may have been written and never synced, so what was
    /// read of it may be nowhere but in the page cache. Groups are written one at a time, so it is the only one.
    unsettled: Option<StripeHeader>,
    torn: bool,
}

/// Brings the log and its view together; what it may change on the drives is the last segment's bad lanes and files of segments that
/// neither a header nor the view knows.
pub(crate) fn recover(
    config: &DriveLogConfig,
    drives: &Drives,
    erasure: &Erasure,
    counters: &Counters,
) -> Result<Recovered> {
    let chain = chain::follow(drives)?;
    let recovery = Recovery { config, drives, erasure, counters };
    let (mut view, mut mark) = recovery.open_view(&chain)?;
    let start = match mark.map(|mark| recovery.locate(&chain, mark)).transpose() {
        Err(error @ Error::AcknowledgedLost { .. }) if config.accept_loss => {
            tracing::warn!(%error, "the loss is accepted, the view will be rebuilt from what is there");
            (view, mark) = (view::begin_anew(config, view)?, None);
            0
        }
        start => start?.unwrap_or(0),
    };
    let survey = recovery.survey(&chain, mark)?;
    chain.check_unreached(drives, survey.end.next_sequence)?;
    // before the view takes anything in: what it has seen counts as acknowledged
    let lacking = recovery.heal(&chain, &survey)?;
    let replayed = match recovery.replay(&chain, start, mark, survey.end, lacking, view.as_ref()) {
        // the engine, not the log, failed: once more with an empty one
        Err(Error::View { action, detail }) if mark.is_some() => {
            tracing::warn!(action, detail, "the view failed while it was replayed, it will be rebuilt from the log");
            (view, mark) = (view::begin_anew(config, view)?, None);
            recovery.replay(&chain, 0, mark, survey.end, lacking, view.as_ref())
        }
        replayed => replayed,
    }?;
    let mut segments = chain.segments();
    let before_the_chain = segment_rows(view.snapshot().as_ref())?;
    segments.extend(before_the_chain.iter().map(|(segment, row)| (*segment, row.generation)));
    chain.clear_unreached(drives, &segments, config.segment_bytes);
    if replayed.stripes > 0 {
        count(&counters.stripes_replayed, replayed.stripes);
        tracing::info!(stripes = replayed.stripes, from_scratch = mark.is_none(), "the log was replayed into the view");
        view.flush()?;
        if mark.is_none() {
            view.merge();
        }
    }
    let mut tail = tail(&chain, survey.end, replayed.last_stamp);
    let highest = segments.last_key_value().map_or(0, |(segment, _)| *segment);
    tail.next_segment = tail.next_segment.max(highest + 1);
    Ok(Recovered { view, tail, segments, torn: survey.torn })
}

/// How the log goes on after `end`, the end of the last link.
fn tail(chain: &Chain, end: Position, last_stamp: u64) -> Tail {
    let mut predecessor = Predecessor { segment: 0, end_offset: 0, next_sequence: end.next_sequence };
    let mut segment = 0;
    if let Some(last) = chain.links.last() {
        segment = last.header.segment;
        // an empty segment is left out of the chain: the next one takes its place
        predecessor = match end.offset {
            SEGMENT_HEADER_BYTES => last.header.predecessor,
            end_offset => Predecessor { segment, end_offset, next_sequence: end.next_sequence },
        };
    }
    Tail {
        segment,
        end_offset: end.offset,
        next_sequence: end.next_sequence,
        last_stamp,
        next_segment: chain.highest_id + 1,
        predecessor,
        checkpoint: chain.links.last().map_or(0, |link| link.header.checkpoint),
    }
}

impl Recovery<'_> {
    /// The view and its watermark; a view of another set, of another version or from before the last checkpoint is replaced by an empty
    /// one: the segments it would have to be replayed from may be gone.
    fn open_view(&self, chain: &Chain) -> Result<(Arc<dyn View>, Option<Watermark>)> {
        let view = view::open(self.config)?;
        let first = chain.links.first().map_or(0, |link| link.header.segment);
        let reason = match view.watermark() {
            // every batch has one with it: what there may be without one is a remnant
            Ok(None) => return Ok((view::begin_anew(self.config, view)?, None)),
            Ok(Some(mark)) if mark.version != VIEW_VERSION => format!("it is of version {}", mark.version),
            Ok(Some(mark)) if mark.set() != self.drives.set => format!("it belongs to set {}", mark.set()),
            Ok(Some(mark)) if mark.segment < first => "it ends before the last checkpoint".into(),
            Ok(Some(watermark)) => return Ok((view, Some(watermark))),
            Err(error) => error.to_string(),
        };
        tracing::warn!(reason, "the view does not fit the drives, it will be rebuilt from the log");
        Ok((view::begin_anew(self.config, view)?, None))
    }

    /// The link the watermark lies in; refuses when the drives do not reach it, for what the view has taken in was acknowledged.
    fn locate(&self, chain: &Chain, mark: Watermark) -> Result<usize> {
        let found = chain.links.iter().position(|link| link.header.segment == mark.segment);
        let reached = found.filter(|&index| {
            let link = &chain.links[index];
            link.header.generation == mark.generation
                && match link.end {
                    Some(end) => mark.offset <= end.end_offset,
                    None => self.reaches(link, mark),
                }
        });
        reached.ok_or_else(|| {
            let last = chain.links.last();
            Error::AcknowledgedLost {
                segment: last.map_or(0, |link| link.header.segment),
                offset: last.map_or(0, |link| if link.header.segment == mark.segment { mark.last_offset } else { 0 }),
                view_segment: mark.segment,
                view_offset: mark.offset,
            }
        })
    }

    /// Whether the stripe that the view took in last is still there.
    fn reaches(&self, link: &Link, mark: Watermark) -> bool {
        let id = self.stripe_id(link, mark.last_offset, mark.next_sequence.wrapping_sub(1));
        read_stripe_header(self.drives, id).is_some_and(|stripe| {
            let lanes = read_lanes(self.drives, &stripe);
            stripe.end() == mark.offset && lanes.present() >= stripe.data
        })
    }

    fn stripe_id(&self, link: &Link, offset: u64, sequence: u64) -> StripeId {
        let (segment, generation) = (link.header.segment, link.header.generation);
        StripeId { set: self.drives.set, segment, generation, offset, sequence }
    }

    /// Where the link begins to be of interest: at the watermark in the link of the watermark, at its start in later ones.
    fn begin(link: &Link, mark: Option<Watermark>) -> Position {
        match mark.filter(|mark| mark.segment == link.header.segment) {
            Some(mark) => Position { offset: mark.offset, next_sequence: mark.next_sequence },
            None => Position { offset: SEGMENT_HEADER_BYTES, next_sequence: link.header.predecessor.next_sequence },
        }
    }

    /// Finds the end of the last segment without changing anything: the first stripe that cannot be rebuilt is a torn tail,
    /// unless something whole lies behind it or the view has taken it in.
    fn survey(&self, chain: &Chain, mark: Option<Watermark>) -> Result<Survey> {
        let Some(link) = chain.links.last() else {
            let nowhere = Position { offset: 0, next_sequence: 1 };
            return Ok(Survey { end: nowhere, damaged: Vec::new(), unsettled: None, torn: false });
        };
        let mark = mark.filter(|mark| mark.segment == link.header.segment);
        let begin = mark.map_or(Self::begin(link, None), |mark| Position {
            offset: mark.heal_offset,
            next_sequence: mark.heal_sequence,
        });
        let (mut end, mut damaged, mut torn, mut undecided) = (begin, Vec::new(), None, None);
        let mut last = None;
        while let Some(stripe) = read_stripe_header(self.drives, self.stripe_id(link, end.offset, end.next_sequence)) {
            let lanes = read_lanes(self.drives, &stripe);
            if lanes.present() < stripe.data {
                torn = Some(lanes.describe(self.drives, &stripe));
                undecided = self.undecided(&stripe, &lanes);
                break;
            }
            end = Position::behind(&stripe);
            if !lanes.bad.is_empty() {
                damaged.push(stripe.clone());
            }
            last = Some(stripe);
        }
        let goes_on = mark.map(|mark| mark.offset).filter(|&offset| offset > end.offset);
        let is_torn = torn.is_some();
        if let Some(offset) = goes_on.or_else(|| self.whole_frame_behind(link, end)) {
            return Err(Error::Corrupt {
                segment: link.header.segment,
                offset: end.offset,
                detail: torn
                    .unwrap_or_else(|| format!("no drive has a frame of it, but the log goes on at byte {offset}")),
            });
        }
        if let Some(undecided) = undecided.filter(|_| !self.config.accept_loss) {
            return Err(undecided);
        }
        let synced = |stripe: &StripeHeader| mark.is_some_and(|mark| stripe.end() <= mark.offset);
        Ok(Survey { end, damaged, unsettled: last.filter(|stripe| !synced(stripe)), torn: is_torn })
    }

    /// Why a stripe that cannot be rebuilt may have been acknowledged all the same: drives that are missing may hold enough of it, and all that
    /// are there had at least begun to write it. What was acknowledged was synced on every drive but those that the others call stale.
    fn undecided(&self, stripe: &StripeHeader, lanes: &LaneSet) -> Option<Error> {
        let mut there =
            lanes.bad.iter().map(|&lane| stripe.drive(lane)).filter(|&drive| !self.drives.may_be_old(drive));
        if there.any(|drive| self.never_had(drive, stripe)) {
            return None;
        }
        let missing: Vec<usize> = (0..stripe.lanes())
            .filter(|lane| lanes.bad.contains(lane))
            .map(|lane| stripe.drive(lane))
            .filter(|&drive| self.drives.disk(drive).is_none())
            .collect();
        let acknowledged_min = stripe.data + usize::from(stripe.parity > 0);
        (lanes.present() + missing.len() >= acknowledged_min).then(|| Error::Undecided {
            segment: stripe.segment,
            offset: stripe.offset,
            missing: missing.into_iter().map(|drive| self.drives.label(drive)).collect(),
        })
    }

    /// Whether a drive that is there has no trace of a stripe: something else, or nothing, lies where its frame would.
    fn never_had(&self, drive: usize, stripe: &StripeHeader) -> bool {
        let Some(disk) = self.drives.disk(drive) else { return false };
        let mut header = [0; FRAME_HEADER_BYTES];
        let read = disk.open(&segment_name(stripe.segment)).and_then(|file| file.read_at(&mut header, stripe.offset));
        match read {
            Ok(()) => !FrameHeader::is_of(&header, stripe),
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof),
        }
    }

    /// Rebuilds the bad lanes that the survey found on live drives, writes them and all lanes of the unsettled stripe back and
    /// syncs. Writing is needed even where every lane reads well: after a failed sync the kernel holds pages for clean that
    /// never reached the drive. A drive that refuses goes out.
    /// Answers the first stripe that still lacks a lane, because its drive is out or missing.
    fn heal(&self, chain: &Chain, survey: &Survey) -> Result<Option<Position>> {
        let Some(link) = chain.links.last() else { return Ok(None) };
        let mut bad_drives: Vec<Vec<usize>> = Vec::with_capacity(survey.damaged.len());
        let mut touched: BTreeMap<usize, Arc<dyn DiskFile>> = BTreeMap::new();
        let settled = |stripe: &&StripeHeader| survey.unsettled.as_ref() != Some(stripe);
        let stripes: Vec<_> = survey.damaged.iter().filter(settled).chain(&survey.unsettled).collect();
        for &stripe in &stripes {
            let lanes = self.read_rebuilt(stripe)?;
            bad_drives.push(lanes.bad.iter().map(|&lane| stripe.drive(lane)).collect());
            let all = survey.unsettled.as_ref() == Some(stripe);
            let rewritten = (0..stripe.lanes()).filter(|&lane| stripe.used(lane) > 0);
            for lane in rewritten.filter(|lane| all || lanes.bad.contains(lane)) {
                let drive = stripe.drive(lane);
                if !self.drives.is_live(drive) {
                    continue;
                }
                let payload = lanes.payloads[lane].as_deref().expect("every lane was read or rebuilt");
                match heal(self.drives, self.config.segment_bytes, &link.header, stripe, lane, payload) {
                    Ok(file) => {
                        count(&self.counters.lanes_healed, u64::from(lanes.bad.contains(&lane)));
                        touched.entry(drive).or_insert(file);
                    }
                    Err(error) => self.drives.take_out(drive, "heal a lane", &error),
                }
            }
        }
        for (drive, file) in touched {
            count(&self.counters.syncs, 1);
            if let Err(error) = file.sync() {
                self.drives.take_out(drive, "sync healed lanes", &error);
            }
        }
        let lacks = |(_, drives): &(&StripeHeader, Vec<usize>)| drives.iter().any(|&drive| !self.drives.is_live(drive));
        let first = stripes.into_iter().zip(bad_drives).find(lacks);
        Ok(first.map(|(stripe, _)| Position { offset: stripe.offset, next_sequence: stripe.sequence }))
    }

    /// Looks for a frame of a later stripe within the longest stripe behind `end`. Groups are written one at a time, so the stripe before
    /// such a frame was acknowledged.
    fn whole_frame_behind(&self, link: &Link, end: Position) -> Option<u64> {
        let longest = stripe_bytes(self.config.group_bytes_max.max(GROUP_BYTES_USUAL));
        for drive in self.drives.present() {
            // its own length: an earlier run may have made segments of another size
            let length = self.segment_length(drive, link.header.segment);
            let limit = (end.offset + longest).min(length);
            let mut offset = end.offset + FRAME_ALIGN_BYTES;
            while offset <= limit {
                let found = frame_header_at(self.drives, drive, link.header.segment, offset);
                if found.is_some_and(|header| {
                    let stripe = &header.stripe;
                    (stripe.set, stripe.segment, stripe.generation, stripe.offset)
                        == (self.drives.set, link.header.segment, link.header.generation, offset)
                        && stripe.sequence > end.next_sequence
                }) {
                    return Some(offset);
                }
                offset += FRAME_ALIGN_BYTES;
            }
        }
        None
    }

    fn segment_length(&self, drive: usize, segment: u64) -> u64 {
        let file = self.drives.disk(drive).and_then(|disk| disk.open(&segment_name(segment)).ok());
        file.and_then(|file| file.length().ok()).unwrap_or(0)
    }

    /// Brings every stripe behind the watermark into the view.
    fn replay(
        &self,
        chain: &Chain,
        start: usize,
        mark: Option<Watermark>,
        last_end: Position,
        lacking: Option<Position>,
        view: &dyn View,
    ) -> Result<Replayed> {
        let mut replayed = Replayed { stripes: 0, last_stamp: mark.map_or(0, |mark| mark.last_stamp) };
        for link in chain.links.iter().skip(start) {
            let mut at = Self::begin(link, mark);
            let end =
                link.end.map_or(last_end, |end| Position { offset: end.end_offset, next_sequence: end.next_sequence });
            while at.offset < end.offset {
                let id = self.stripe_id(link, at.offset, at.next_sequence);
                let stripe = read_stripe_header(self.drives, id).ok_or_else(|| Error::Corrupt {
                    segment: id.segment,
                    offset: id.offset,
                    detail: "no drive has a header of the stripe".into(),
                })?;
                at = Position::behind(&stripe);
                let heal_from = lacking.filter(|lacking| link.end.is_none() && lacking.offset < at.offset);
                self.replay_stripe(&stripe, heal_from.unwrap_or(at), view)?;
                view.catch_up();
                replayed.stripes += 1;
                replayed.last_stamp = stripe.last_stamp;
            }
            if at != end {
                return Err(Error::Corrupt {
                    segment: link.header.segment,
                    offset: at.offset,
                    detail: format!(
                        "its successor says that it ends at byte {} before stripe {}",
                        end.offset, end.next_sequence
                    ),
                });
            }
        }
        Ok(replayed)
    }

    /// Only the scan regions are read, unless one is bad: payloads were checked when the stripe was the last, and are when they are read.
    fn replay_stripe(&self, stripe: &StripeHeader, heal_from: Position, view: &dyn View) -> Result<()> {
        let records = read_records(self.drives, self.erasure, self.counters, stripe)?;
        let lanes: Vec<LaneRecords<'_>> = records.iter().map(LaneScan::records).collect();
        Self::apply(self.drives.set, stripe, &lanes, heal_from, view)
    }

    fn read_rebuilt(&self, stripe: &StripeHeader) -> Result<LaneSet> {
        read_rebuilt(self.drives, self.erasure, self.counters, stripe)
    }

    fn apply(
        set: SetId,
        stripe: &StripeHeader,
        lanes: &[LaneRecords<'_>],
        heal_from: Position,
        view: &dyn View,
    ) -> Result<()> {
        // also a view that goes on: the run before may have stopped while it was making it anew
        let changes = changes(stripe, lanes, States::News, view.snapshot().as_ref())?;
        let watermark = Watermark {
            version: VIEW_VERSION,
            set: set.to_bytes(),
            segment: stripe.segment,
            generation: stripe.generation,
            last_offset: stripe.offset,
            offset: stripe.end(),
            next_sequence: stripe.sequence + 1,
            last_stamp: stripe.last_stamp,
            heal_offset: heal_from.offset,
            heal_sequence: heal_from.next_sequence,
        };
        view.apply(&Batch { changes, watermark })
    }
}

/// The largest group of the default configuration: an earlier run may have used it whatever this one says.
const GROUP_BYTES_USUAL: usize = 4 << 20;
