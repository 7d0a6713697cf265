//! Reading chunks of blobs: from the piece's own lane when it is there and whole, else rebuilt from any k lanes.
//!
//! Every piece is checked against the checksum in its record, wherever it came from. The first try does not wait for the
//! device; only when it would, or when a piece must be rebuilt, the work moves off the runtime.

use crate::apply::{ChunkRow, PieceRow, chunk_key, decode_chunk_row, split_chunk_key};
use crate::error::{Error, Result};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, StripeHeader, crc64};
use crate::log::{Core, DriveLog};
use crate::read_buffers::ReadBuffer;
use crate::recovery::{StripeId, read_lanes, read_stripe_header, read_stripe_header_around};
use crate::segment::segment_name;
use crate::status::count;
use crate::view::{Direction, Space};
use bytes::Bytes;
use cistern_runtime::offload;
use cistern_types::BlobId;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{Instant, timeout};

/// A chunk of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether it is the blob's last.
    pub last: bool,
}

/// A chunk whose place is known and whose bytes are not read yet.
#[derive(Debug, Clone)]
pub struct FoundChunk {
    blob: BlobId,
    chunk: u32,
    row: ChunkRow,
}

impl FoundChunk {
    /// Its length in bytes.
    pub fn bytes(&self) -> u32 {
        self.row.bytes
    }

    /// Whether it is the blob's last.
    pub fn is_last(&self) -> bool {
        self.row.last
    }

    /// Its number in the blob, from 0.
    pub fn number(&self) -> u32 {
        self.chunk
    }

    pub(crate) fn blob(&self) -> BlobId {
        self.blob
    }

    pub(crate) fn lies_at(&self, segment: u64, stripe_offset: u64) -> bool {
        (self.row.segment, self.row.stripe_offset) == (segment, stripe_offset)
    }
}

impl Core {
    pub(crate) fn find_chunk(&self, blob: BlobId, chunk: u32) -> Result<Option<FoundChunk>> {
        let view = self.current_view();
        let value = view.get(Space::Pieces, &chunk_key(blob, chunk))?;
        let found = |value: Bytes| Ok(FoundChunk { blob, chunk, row: decode_chunk_row(&value)? });
        value.map(found).transpose()
    }
}

/// Reads a part of a chunk, on a thread that may wait for the device; `None` when the chunk is there no more. One that was moved
/// since it was found is found again.
pub(crate) fn read_found_blocking(core: &Core, found: &FoundChunk, range: Range<u32>) -> Result<Option<Bytes>> {
    read_at_device(core, found, &range, &Waiting::default())
}

/// The drive that a read waits for, for whoever waits for the read.
#[derive(Debug)]
struct Waiting(AtomicUsize);

impl Default for Waiting {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl Waiting {
    fn for_drive(&self, drive: usize) {
        self.0.store(drive, Ordering::Relaxed);
    }

    fn drive(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|drive| *drive != usize::MAX)
    }
}

fn read_at_device(core: &Core, found: &FoundChunk, range: &Range<u32>, waiting: &Waiting) -> Result<Option<Bytes>> {
    let FoundChunk { blob, chunk, row } = found;
    let mut row = row.clone();
    loop {
        let read = match read_pieces(core, &row, range, Patience::Device(waiting)) {
            Some(bytes) => Ok(bytes),
            None => read_pieces_degraded(core, *blob, *chunk, &row, range, waiting),
        };
        let error = match read {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) => error,
        };
        match core.find_chunk(*blob, *chunk)? {
            None => return Ok(None),
            Some(again) if again.row != row => row = again.row,
            Some(_) => return Err(error),
        }
    }
}

impl DriveLog {
    /// Reads a whole chunk; `None` when there is none of that number.
    pub async fn read_chunk(&self, blob: BlobId, chunk: u32) -> Result<Option<Chunk>> {
        let Some(found) = self.find_chunk(blob, chunk)? else { return Ok(None) };
        let (last, whole) = (found.is_last(), 0..found.bytes());
        Ok(self.read_found(found, whole).await?.map(|bytes| Chunk { bytes, last }))
    }

    /// Reads a part of a chunk; `None` when there is no such chunk. A range that reaches past the chunk is cut.
    pub async fn read_chunk_range(&self, blob: BlobId, chunk: u32, range: Range<u32>) -> Result<Option<Bytes>> {
        let Some(found) = self.find_chunk(blob, chunk)? else { return Ok(None) };
        self.read_found(found, range).await
    }

    /// Looks a chunk up; `None` when there is none of that number.
    pub fn find_chunk(&self, blob: BlobId, chunk: u32) -> Result<Option<FoundChunk>> {
        self.core().find_chunk(blob, chunk)
    }

    /// Reads a part of a chunk, touching only the pieces it lies in; `None` when it was forgotten since it was found. A range that
    /// reaches past the chunk is cut.
    pub async fn read_found(&self, found: FoundChunk, range: Range<u32>) -> Result<Option<Bytes>> {
        let end = range.end.min(found.bytes());
        let range = range.start.min(end)..end;
        let core = self.core();
        if let Some(bytes) = read_pieces(core, &found.row, &range, Patience::None) {
            return Ok(Some(bytes));
        }
        read_hedged(Arc::clone(core), found, range).await
    }

    /// The blobs after `after` in id order, at most `limit`. A blob of which only some chunks were ever written is listed too.
    pub fn blobs(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>> {
        let view = self.snapshot().view;
        let mut found = Vec::new();
        let mut after = after;
        while found.len() < limit {
            let from = after.map_or(Bound::Unbounded, |blob| Bound::Excluded(chunk_key(blob, u32::MAX)));
            let from = from.as_ref().map(|key| &key[..]);
            let next = view.range(Space::Pieces, (from, Bound::Unbounded), 1, Direction::Forward)?;
            let Some((blob, _)) = next.first().and_then(|(key, _)| split_chunk_key(key)) else { break };
            found.push(blob);
            after = Some(blob);
        }
        Ok(found)
    }

    /// The last chunk of a blob, if it is there: then the blob is whole.
    pub fn last_chunk(&self, blob: BlobId) -> Result<Option<FoundChunk>> {
        let (first, last) = (chunk_key(blob, 0), chunk_key(blob, u32::MAX));
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        let rows = self.core().current_view().range(Space::Pieces, range, 1, Direction::Backward)?;
        let Some((key, value)) = rows.first() else { return Ok(None) };
        let Some((_, chunk)) = split_chunk_key(key) else { return Ok(None) };
        let row = decode_chunk_row(value)?;
        Ok(row.last.then_some(FoundChunk { blob, chunk, row }))
    }
}

/// Reads from the device; when that takes much longer than usual, also from the other drives: the first answer counts.
async fn read_hedged(core: Arc<Core>, found: FoundChunk, range: Range<u32>) -> Result<Option<Bytes>> {
    let drives = touched(&found.row, &range).into_iter().map(|piece| usize::from(piece.drive));
    let mut left_out = drives.filter(|&drive| core.read_times.is_left_out(drive));
    if let Some(slow) = left_out.next()
        && let Some(bytes) = read_around(&core, &found, &range, slow).await
    {
        return Ok(Some(bytes));
    }
    let began = Instant::now();
    let waiting = Arc::new(Waiting::default());
    let mut direct = {
        let (core, found, range, waiting) = (Arc::clone(&core), found.clone(), range.clone(), Arc::clone(&waiting));
        Box::pin(offload(move || read_at_device(&core, &found, &range, &waiting)))
    };
    if let Ok(read) = timeout(core.read_times.patience(), &mut direct).await {
        core.read_times.took(began.elapsed());
        if let Some(drive) = waiting.drive() {
            core.read_times.was_quick(drive);
        }
        return read;
    }
    let Some(slow) = waiting.drive() else { return direct.await };
    count(&core.counters.hedged_reads, 1);
    tokio::select! {
        read = &mut direct => {
            core.read_times.took(began.elapsed());
            read
        }
        read = read_around(&core, &found, &range, slow) => match read {
            Some(bytes) => {
                tracing::debug!(drive = core.drives.label(slow), "a read did not wait for a slow drive");
                core.read_times.was_slow(slow);
                Ok(Some(bytes))
            }
            None => direct.await,
        },
    }
}

/// Reads without touching a drive: what lies there is rebuilt. `None` when that does not work.
async fn read_around(core: &Arc<Core>, found: &FoundChunk, range: &Range<u32>, avoided: usize) -> Option<Bytes> {
    let (core, found, range) = (Arc::clone(core), found.clone(), range.clone());
    offload(move || {
        let row = &found.row;
        let pieces = touched(row, &range);
        let mut buffer = buffer_for(&core, &pieces);
        let mut rest = &mut buffer[..];
        let stripe = read_stripe_header_around(&core.drives, stripe_id(&core, row), Some(avoided))?;
        let waiting = Waiting::default();
        for piece in &pieces {
            let (target, behind) = rest.split_at_mut(piece.bytes as usize);
            rest = behind;
            let drive = usize::from(piece.drive);
            let usable = drive != avoided && core.drives.is_live(drive);
            if usable && read_piece(&core, row, piece, target, Patience::Device(&waiting)) {
                continue;
            }
            let start = piece.payload_offset as usize;
            let span = start..start + piece.bytes as usize;
            let rebuilt = rebuild_range(&core, &stripe, piece.lane.into(), &span, Some(avoided))?;
            if crc64(&rebuilt) != piece.crc {
                return None;
            }
            target.copy_from_slice(&rebuilt);
            count(&core.counters.degraded_reads, 1);
        }
        Some(cut(buffer, &pieces, &range))
    })
    .await
}

/// Whether a read may wait for the device.
#[derive(Debug, Clone, Copy)]
enum Patience<'a> {
    None,
    Device(&'a Waiting),
}

impl Patience<'_> {
    fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

/// The pieces of `row` that `range` touches.
fn touched<'a>(row: &'a ChunkRow, range: &Range<u32>) -> Vec<&'a PieceRow> {
    let range = range.clone();
    let touches =
        move |piece: &&PieceRow| piece.chunk_offset < range.end && piece.chunk_offset + piece.bytes > range.start;
    row.pieces.iter().filter(touches).collect()
}

/// The range out of the pieces it touches, which lie one after another.
fn cut(buffer: ReadBuffer, pieces: &[&PieceRow], range: &Range<u32>) -> Bytes {
    let start = pieces.first().map_or(0, |piece| range.start - piece.chunk_offset) as usize;
    buffer.freeze().slice(start..start + range.len())
}

fn buffer_for(core: &Core, pieces: &[&PieceRow]) -> ReadBuffer {
    core.read_buffers.take(pieces.iter().map(|piece| piece.bytes as usize).sum())
}

/// Every piece from its own lane; `None` when one is not to be had that way.
fn read_pieces(core: &Core, row: &ChunkRow, range: &Range<u32>, patience: Patience<'_>) -> Option<Bytes> {
    let pieces = touched(row, range);
    let mut buffer = buffer_for(core, &pieces);
    let mut rest = &mut buffer[..];
    for piece in &pieces {
        let (target, behind) = rest.split_at_mut(piece.bytes as usize);
        // a drive that is out may never answer
        let live = core.drives.is_live(usize::from(piece.drive));
        if !live || !read_piece(core, row, piece, target, patience) {
            return None;
        }
        rest = behind;
    }
    count(&core.counters.direct_reads, pieces.len() as u64);
    Some(cut(buffer, &pieces, range))
}

fn read_piece(core: &Core, row: &ChunkRow, piece: &PieceRow, target: &mut [u8], patience: Patience<'_>) -> bool {
    let drive = usize::from(piece.drive);
    let offset = row.stripe_offset + FRAME_HEADER_BYTES as u64 + u64::from(piece.payload_offset);
    if let Patience::Device(waiting) = patience {
        waiting.for_drive(drive);
    }
    let Some(disk) = core.drives.disk(drive) else { return false };
    let read = disk.open(&segment_name(row.segment)).and_then(|file| match patience {
        Patience::None => file.try_read_at(target, offset),
        Patience::Device(_) => file.read_at(target, offset).map(|()| true),
    });
    match read {
        Ok(true) if crc64(target) == piece.crc => true,
        Ok(true) => {
            if !patience.is_none() && !core.drives.is_stale(drive) {
                tracing::warn!(drive = core.drives.label(drive), segment = row.segment, offset, "a piece is corrupt");
                count(&core.counters.corrupt_frames, 1);
            }
            false
        }
        Ok(false) => false,
        Err(error) => {
            // what a stale drive lacks is on its way to it
            if !patience.is_none() && !core.drives.is_stale(drive) {
                tracing::warn!(drive = core.drives.label(drive), segment = row.segment, offset, error = %error, "a piece cannot be read");
            }
            false
        }
    }
}

/// Every piece, rebuilt where its own lane does not have it.
fn read_pieces_degraded(
    core: &Core,
    blob: BlobId,
    chunk: u32,
    row: &ChunkRow,
    range: &Range<u32>,
    waiting: &Waiting,
) -> Result<Bytes> {
    let pieces = touched(row, range);
    let mut buffer = buffer_for(core, &pieces);
    let mut rest = &mut buffer[..];
    let mut stripe = None;
    for piece in &pieces {
        let (target, behind) = rest.split_at_mut(piece.bytes as usize);
        rest = behind;
        let live = core.drives.is_live(usize::from(piece.drive));
        if live && read_piece(core, row, piece, target, Patience::Device(waiting)) {
            continue;
        }
        let corrupt = |detail: String| Error::BlobCorrupt {
            blob,
            chunk,
            segment: row.segment,
            offset: row.stripe_offset,
            detail,
        };
        if stripe.is_none() {
            stripe = read_stripe_header(&core.drives, stripe_id(core, row));
        }
        let stripe = stripe.as_ref().ok_or_else(|| corrupt("no drive has a header of the stripe".into()))?;
        match rebuild_piece(core, stripe, piece) {
            Ok(bytes) => target.copy_from_slice(&bytes),
            Err(_) if !live && read_piece(core, row, piece, target, Patience::Device(waiting)) => continue,
            Err(detail) => return Err(corrupt(detail)),
        }
        count(&core.counters.degraded_reads, 1);
        let drive = usize::from(piece.drive);
        if core.drives.is_live(drive) && !core.drives.is_stale(drive) {
            core.found_damage(row.segment);
        }
    }
    Ok(cut(buffer, &pieces, range))
}

fn stripe_id(core: &Core, row: &ChunkRow) -> StripeId {
    StripeId {
        set: core.drives.set,
        segment: row.segment,
        generation: core.segments.read().get(&row.segment).copied().unwrap_or(0),
        offset: row.stripe_offset,
        sequence: row.sequence,
    }
}

/// First only the piece's range of the other lanes, which is little to read but checked only at the end; when that does not match,
/// whole lanes, each checked, so that a second bad lane is found and left out.
fn rebuild_piece(core: &Core, stripe: &StripeHeader, piece: &PieceRow) -> Result<Vec<u8>, String> {
    let lane = usize::from(piece.lane);
    let start = piece.payload_offset as usize;
    let range = start..start + piece.bytes as usize;
    let sound = |rebuilt: &[u8]| crc64(rebuilt) == piece.crc;
    if let Some(bytes) = rebuild_range(core, stripe, lane, &range, None).filter(|bytes| sound(bytes)) {
        return Ok(bytes);
    }
    let lanes = read_lanes(&core.drives, stripe);
    count(&core.counters.corrupt_frames, lanes.bad.len() as u64);
    let payloads: Vec<Option<&[u8]>> = lanes.payloads.iter().map(Option::as_deref).collect();
    // A drive from a copy of the store that went its own way may tell of another stripe, whose lanes are shorter.
    let part = |payload: &[u8]| payload.get(range.clone()).map(<[u8]>::to_vec);
    let rebuilt = match payloads[lane] {
        Some(payload) => part(payload),
        None => core.erasure.rebuild(&payloads, &[lane]).and_then(|lanes| part(&lanes[0])),
    };
    rebuilt.filter(|bytes| sound(bytes)).ok_or_else(|| lanes.describe(&core.drives, stripe))
}

fn rebuild_range(
    core: &Core,
    stripe: &StripeHeader,
    lane: usize,
    range: &Range<usize>,
    avoided: Option<usize>,
) -> Option<Vec<u8>> {
    let mut lanes: Vec<Option<Vec<u8>>> = vec![None; stripe.lanes()];
    let mut present = 0;
    let usable = |other: &usize| *other != lane && (stripe.used(*other) == 0 || Some(stripe.drive(*other)) != avoided);
    for other in (0..stripe.lanes()).filter(usable) {
        if present == stripe.data {
            break;
        }
        if let Some(bytes) = read_lane_range(core, stripe, other, range) {
            lanes[other] = Some(bytes);
            present += 1;
        }
    }
    let lanes: Vec<Option<&[u8]>> = lanes.iter().map(Option::as_deref).collect();
    core.erasure.rebuild(&lanes, &[lane]).map(|mut lanes| lanes.remove(0))
}

/// The range of a lane's coded payload, whose bytes behind the used ones are zeros that are not stored.
fn read_lane_range(core: &Core, stripe: &StripeHeader, lane: usize, range: &Range<usize>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; range.len()];
    let stored = stripe.used(lane).clamp(range.start, range.end) - range.start;
    if stored == 0 {
        return Some(bytes);
    }
    let drive = stripe.drive(lane);
    if !core.drives.is_live(drive) {
        return None;
    }
    let file = core.drives.disk(drive)?.open(&segment_name(stripe.segment)).ok()?;
    let mut header = [0; FRAME_HEADER_BYTES];
    file.read_at(&mut header, stripe.offset).ok()?;
    FrameHeader::decode(&header).filter(|header| header.stripe == *stripe && header.lane == lane)?;
    let offset = stripe.offset + (FRAME_HEADER_BYTES + range.start) as u64;
    file.read_at(&mut bytes[..stored], offset).ok()?;
    Some(bytes)
}
