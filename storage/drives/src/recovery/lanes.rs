//! The lanes of one stripe as the drives hold them: reading, checking, writing back.

use crate::apply::LaneRecords;
use crate::disk::DiskFile;
use crate::drives::Drives;
use crate::erasure::Erasure;
use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, SegmentHeader, StripeHeader, crc64};
use crate::identity::SetId;
use crate::record::{Head, decode_heads, measure};
use crate::segment::segment_name;
use crate::status::{Counters, count};
use crate::stripe::{frame_buffer, write_header};
use std::io;
use std::sync::Arc;

/// Which stripe is meant: a frame that says anything else is not of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StripeId {
    pub(crate) set: SetId,
    pub(crate) segment: u64,
    pub(crate) generation: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
}

impl StripeId {
    fn is_of(&self, stripe: &StripeHeader) -> bool {
        (stripe.set, stripe.segment, stripe.generation, stripe.offset, stripe.sequence)
            == (self.set, self.segment, self.generation, self.offset, self.sequence)
    }
}

/// The frame header at a place of a drive, whatever stripe it is of.
pub(crate) fn frame_header_at(drives: &Drives, drive: usize, segment: u64, offset: u64) -> Option<FrameHeader> {
    let file = drives.disk(drive)?.open(&segment_name(segment)).ok()?;
    read_frame_header(file.as_ref(), offset)
}

fn read_frame_header(file: &dyn DiskFile, offset: u64) -> Option<FrameHeader> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    file.read_at(&mut bytes, offset).ok()?;
    FrameHeader::decode(&bytes)
}

/// What any drive's frame says about the stripe.
pub(crate) fn read_stripe_header(drives: &Drives, id: StripeId) -> Option<StripeHeader> {
    read_stripe_header_around(drives, id, None)
}

/// The same without touching one drive.
pub(crate) fn read_stripe_header_around(drives: &Drives, id: StripeId, avoided: Option<usize>) -> Option<StripeHeader> {
    drives.present().into_iter().filter(|drive| Some(*drive) != avoided).find_map(|drive| {
        let header = frame_header_at(drives, drive, id.segment, id.offset)?;
        let fits = header.stripe.lanes() == drives.count() && header.stripe.drive(header.lane) == drive;
        (fits && id.is_of(&header.stripe)).then_some(header.stripe)
    })
}

/// The coded payloads of a stripe.
#[derive(Debug)]
pub(crate) struct LaneSet {
    /// Of every lane: its coded bytes if they are there and match their checksum. A lane that was not written is zeros.
    pub(crate) payloads: Vec<Option<Vec<u8>>>,
    /// Lanes that should be there and are not, or are damaged.
    pub(crate) bad: Vec<usize>,
}

impl LaneSet {
    /// Lanes whose content is known.
    pub(crate) fn present(&self) -> usize {
        self.payloads.iter().flatten().count()
    }

    /// Which drives have no or a damaged lane, for an error.
    pub(crate) fn describe(&self, drives: &Drives, stripe: &StripeHeader) -> String {
        let bad: Vec<String> = self.bad.iter().map(|&lane| drives.label(stripe.drive(lane))).collect();
        format!("{} lanes are missing or damaged, {} can be made up for: {}", bad.len(), stripe.parity, bad.join(", "))
    }
}

/// Reads and checks every lane of the stripe whole.
pub(crate) fn read_lanes(drives: &Drives, stripe: &StripeHeader) -> LaneSet {
    let mut payloads = Vec::with_capacity(stripe.lanes());
    let mut bad = Vec::new();
    for lane in 0..stripe.lanes() {
        let payload =
            if stripe.used(lane) == 0 { Some(vec![0; stripe.coded_bytes]) } else { read_lane(drives, stripe, lane) };
        if payload.is_none() {
            bad.push(lane);
        }
        payloads.push(payload);
    }
    LaneSet { payloads, bad }
}

fn read_lane(drives: &Drives, stripe: &StripeHeader, lane: usize) -> Option<Vec<u8>> {
    let file = drives.disk(stripe.drive(lane))?.open(&segment_name(stripe.segment)).ok()?;
    let header = read_frame_header(file.as_ref(), stripe.offset)?;
    if header.stripe != *stripe || header.lane != lane {
        return None;
    }
    let mut payload = vec![0; stripe.coded_bytes];
    file.read_at(&mut payload[..stripe.used(lane)], stripe.offset + FRAME_HEADER_BYTES as u64).ok()?;
    (crc64(&payload) == header.payload_crc).then_some(payload)
}

/// All lanes of a stripe, the bad ones rebuilt (and still listed as bad).
pub(crate) fn read_rebuilt(
    drives: &Drives,
    erasure: &Erasure,
    counters: &Counters,
    stripe: &StripeHeader,
) -> Result<LaneSet> {
    let mut lanes = read_lanes(drives, stripe);
    if lanes.bad.is_empty() {
        return Ok(lanes);
    }
    count(&counters.corrupt_frames, lanes.bad.len() as u64);
    let payloads: Vec<Option<&[u8]>> = lanes.payloads.iter().map(Option::as_deref).collect();
    let rebuilt = erasure.rebuild(&payloads, &lanes.bad).ok_or_else(|| Error::Corrupt {
        segment: stripe.segment,
        offset: stripe.offset,
        detail: lanes.describe(drives, stripe),
    })?;
    for (&lane, payload) in lanes.bad.iter().zip(rebuilt) {
        lanes.payloads[lane] = Some(payload);
    }
    Ok(lanes)
}

/// The records of all filled data lanes. Only the scan regions are read, unless one is bad: then the lanes are rebuilt.
pub(crate) fn read_records(
    drives: &Drives,
    erasure: &Erasure,
    counters: &Counters,
    stripe: &StripeHeader,
) -> Result<Vec<LaneScan>> {
    if let Some(scans) = read_scans(drives, stripe) {
        return Ok(scans);
    }
    let mut lanes = read_rebuilt(drives, erasure, counters, stripe)?;
    let mut records = Vec::with_capacity(stripe.data);
    for lane in (0..stripe.data).filter(|&lane| stripe.used(lane) > 0) {
        let mut bytes = lanes.payloads[lane].take().expect("every lane was read or rebuilt");
        bytes.truncate(stripe.used(lane));
        let heads = measure(&bytes).and_then(|(count, _)| decode_heads(&bytes, count));
        let heads = heads.ok_or_else(|| Error::Corrupt {
            segment: stripe.segment,
            offset: stripe.offset,
            detail: format!("the record table of lane {lane} does not hold together"),
        })?;
        records.push(LaneScan { lane, bytes, heads, rebuilt: lanes.bad.contains(&lane) });
    }
    Ok(records)
}

/// The scan regions of all filled data lanes with their record heads; `None` when one is not to be had whole.
fn read_scans(drives: &Drives, stripe: &StripeHeader) -> Option<Vec<LaneScan>> {
    let filled = (0..stripe.data).filter(|&lane| stripe.used(lane) > 0);
    filled.map(|lane| read_scan(drives, stripe, lane)).collect()
}

/// The scan region of a data lane, at least.
#[derive(Debug)]
pub(crate) struct LaneScan {
    pub(crate) lane: usize,
    bytes: Vec<u8>,
    pub(crate) heads: Vec<Head>,
    /// Whether its own drive did not have it.
    pub(crate) rebuilt: bool,
}

impl LaneScan {
    pub(crate) fn records(&self) -> LaneRecords<'_> {
        LaneRecords { lane: self.lane, scan: &self.bytes, heads: self.heads.clone() }
    }
}

fn read_scan(drives: &Drives, stripe: &StripeHeader, lane: usize) -> Option<LaneScan> {
    let file = drives.disk(stripe.drive(lane))?.open(&segment_name(stripe.segment)).ok()?;
    let header = read_frame_header(file.as_ref(), stripe.offset)?;
    if header.stripe != *stripe || header.lane != lane {
        return None;
    }
    let mut scan = vec![0; header.scan_bytes];
    file.read_at(&mut scan, stripe.offset + FRAME_HEADER_BYTES as u64).ok()?;
    if crc64(&scan) != header.scan_crc {
        return None;
    }
    let heads = decode_heads(&scan, header.record_count)?;
    Some(LaneScan { lane, bytes: scan, heads, rebuilt: false })
}

/// Writes a lane back to its drive, with the segment's header and file where these are missing too: it is made with
/// `new_file_bytes` and grows as needed. The caller syncs.
pub(crate) fn heal(
    drives: &Drives,
    new_file_bytes: u64,
    segment: &SegmentHeader,
    stripe: &StripeHeader,
    lane: usize,
    payload: &[u8],
) -> io::Result<Arc<dyn DiskFile>> {
    let file = segment_file(drives, stripe.drive(lane), new_file_bytes, segment)?;
    let (record_count, scan_bytes) = if lane < stripe.data {
        measure(&payload[..stripe.used(lane)]).ok_or_else(|| io::Error::other("a rebuilt lane has no record table"))?
    } else {
        (0, 0)
    };
    let mut frame = frame_buffer(FRAME_HEADER_BYTES + payload.len());
    frame.extend_from_slice(payload);
    write_header(&mut frame, stripe, lane, record_count, scan_bytes);
    file.write_at(&frame, stripe.offset)?;
    Ok(file)
}

/// Writes the header of a lane without records and with a payload that matches nothing: of a stripe that nobody needs and that cannot
/// be rebuilt any more.
pub(crate) fn heal_as_dead(
    drives: &Drives,
    new_file_bytes: u64,
    segment: &SegmentHeader,
    stripe: &StripeHeader,
    lane: usize,
) -> io::Result<()> {
    let nothing = crc64(&[]);
    let header = FrameHeader {
        stripe: stripe.clone(),
        lane,
        record_count: 0,
        scan_bytes: 0,
        scan_crc: nothing,
        payload_crc: !nothing,
    };
    segment_file(drives, stripe.drive(lane), new_file_bytes, segment)?.write_at(&header.encode(), stripe.offset)
}

/// The file of a segment on a drive, made if it is missing, with the segment's header.
pub(crate) fn segment_file(
    drives: &Drives,
    drive: usize,
    new_file_bytes: u64,
    segment: &SegmentHeader,
) -> io::Result<Arc<dyn DiskFile>> {
    let disk = drives.disk(drive).ok_or(io::ErrorKind::NotFound)?;
    let name = segment_name(segment.segment);
    let file = match disk.open(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&name, new_file_bytes)?,
        opened => opened?,
    };
    let mut found = [0; FRAME_HEADER_BYTES];
    let header = file.read_at(&mut found, 0).ok().and_then(|()| SegmentHeader::decode(&found));
    if header.as_ref() != Some(segment) {
        file.write_at(&segment.encode(), 0)?;
    }
    Ok(file)
}
