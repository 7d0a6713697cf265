//! From the records of one stripe to one batch of the view. The committer and recovery both come through here, so that a
//! replay makes exactly what the first run made.
//!
//! Records take effect in the order of their stamps, whatever lane they lie in.

use crate::error::{Error, Result};
use crate::frame::StripeHeader;
use crate::occupancy::{Occupancy, segment_key};
use crate::record::{Head, Kind, body, decode_forget, decode_retire, decode_rows, decode_state};
use crate::view::{Change, Direction, Space, ViewSnapshot};
use cistern_types::BlobId;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

/// Where a chunk of a blob lies: the value of a row in the pieces space. All its pieces are in one stripe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkRow {
    pub(crate) bytes: u32,
    pub(crate) last: bool,
    pub(crate) segment: u64,
    pub(crate) stripe_offset: u64,
    pub(crate) sequence: u64,
    pub(crate) pieces: Vec<PieceRow>,
}

/// Where a piece of a chunk lies in its stripe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceRow {
    pub(crate) lane: u8,
    pub(crate) drive: u8,
    pub(crate) payload_offset: u32,
    pub(crate) bytes: u32,
    pub(crate) chunk_offset: u32,
    pub(crate) crc: u64,
}

pub(crate) const CHUNK_KEY_BYTES: usize = 20;

pub(crate) fn chunk_key(blob: BlobId, chunk: u32) -> [u8; CHUNK_KEY_BYTES] {
    let mut key = [0; CHUNK_KEY_BYTES];
    key[..16].copy_from_slice(blob.as_bytes());
    key[16..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// The blob and chunk of a key in the pieces space.
pub(crate) fn split_chunk_key(key: &[u8]) -> Option<(BlobId, u32)> {
    let key: &[u8; CHUNK_KEY_BYTES] = key.try_into().ok()?;
    let (blob, chunk) = key.split_at(16);
    Some((BlobId::from_bytes(blob.try_into().ok()?), u32::from_be_bytes(chunk.try_into().ok()?)))
}

pub(crate) fn decode_chunk_row(value: &[u8]) -> Result<ChunkRow> {
    postcard::from_bytes(value).map_err(|error| Error::View { action: "decode a chunk row", detail: error.to_string() })
}

/// The records of one data lane: its heads, and at least its scan region.
#[derive(Debug)]
pub(crate) struct LaneRecords<'a> {
    pub(crate) lane: usize,
    pub(crate) scan: &'a [u8],
    pub(crate) heads: Vec<Head>,
}

/// The last value of every key the stripe changes; `None` deletes.
type Changes<'a> = BTreeMap<(Space, Cow<'a, [u8]>), Option<Cow<'a, [u8]>>>;

/// What to do with the parts of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum States {
    /// The view holds what they say, for they were made from it just now.
    Known,
    /// The view may be in the making, from them.
    News,
}

/// What the stripe changes, in key order, the last change of a key only. `now` is the view before the stripe.
pub(crate) fn changes<'a>(
    stripe: &StripeHeader,
    lanes: &'a [LaneRecords<'a>],
    states: States,
    now: &dyn ViewSnapshot,
) -> Result<Vec<Change<'a>>> {
    let broken = || Error::Corrupt {
        segment: stripe.segment,
        offset: stripe.offset,
        detail: "its records do not hold together".into(),
    };
    let mut records: Vec<(&Head, &LaneRecords<'a>)> =
        lanes.iter().flat_map(|lane| lane.heads.iter().map(move |head| (head, lane))).collect();
    records.sort_by_key(|(head, _)| {
        (head.stamp, head.kind, head.piece.map(|piece| (piece.blob, piece.chunk, piece.index)))
    });
    let mut changes = Changes::new();
    let mut occupancy = Occupancy::default();
    let mut entries_stated = Vec::new();
    let mut at = 0;
    while let Some(&(head, lane)) = records.get(at) {
        at += 1;
        match head.kind {
            Kind::Rows => {
                let rows = body(lane.scan, head).and_then(|body| decode_rows(body, head.stamp)).ok_or_else(broken)?;
                for (key, value) in rows {
                    changes.insert((Space::Rows, key), value.map(Cow::Borrowed));
                }
            }
            Kind::Forget => {
                let blobs = body(lane.scan, head).and_then(decode_forget).ok_or_else(broken)?;
                for blob in blobs {
                    forget(blob, &mut changes, &mut occupancy, now)?;
                }
            }
            Kind::State => {
                let entries = body(lane.scan, head).and_then(decode_state).ok_or_else(broken)?;
                occupancy.add_state(head.body_bytes as usize);
                if states == States::News {
                    entries_stated.extend(entries);
                }
            }
            Kind::Retire => {
                for segment in body(lane.scan, head).and_then(decode_retire).ok_or_else(broken)? {
                    changes.insert((Space::Segments, Cow::Owned(segment_key(segment).to_vec())), None);
                }
            }
            Kind::Piece => {
                let first = head.piece.ok_or_else(broken)?;
                let count = usize::from(first.count);
                let pieces = records.get(at - 1..at - 1 + count).ok_or_else(broken)?;
                at += count.checked_sub(1).ok_or_else(broken)?;
                let row = chunk_row(stripe, pieces).ok_or_else(broken)?;
                let value = postcard::to_stdvec(&row)
                    .map_err(|error| Error::View { action: "encode a chunk row", detail: error.to_string() })?;
                let key = chunk_key(first.blob, first.chunk).to_vec();
                if first.moved {
                    let former = current(&changes, now, &key)?;
                    if let Some(former) = former {
                        occupancy.remove(former.segment, former.bytes);
                    }
                }
                occupancy.add(row.segment, row.bytes, first.moved);
                changes.insert((Space::Pieces, Cow::Owned(key)), Some(Cow::Owned(value)));
            }
        }
    }
    for (segment, row) in occupancy.rows(stripe, now)? {
        let key = (Space::Segments, Cow::Owned(segment_key(segment).to_vec()));
        changes.entry(key).or_insert(Some(Cow::Owned(row)));
    }
    // a checkpoint's stripe holds nothing else, so what it states is the last word
    for (space, key, value) in entries_stated {
        if space == Space::Segments && key == segment_key(stripe.segment) {
            continue; // its row has just been brought up to this stripe
        }
        changes.insert((space, Cow::Borrowed(key)), Some(Cow::Borrowed(value)));
    }
    Ok(changes.into_iter().map(|((space, key), value)| Change { space, key, value }).collect())
}

/// The chunk's row as it is in the middle of a stripe.
fn current(changes: &Changes<'_>, now: &dyn ViewSnapshot, key: &[u8]) -> Result<Option<ChunkRow>> {
    match changes.get(&(Space::Pieces, Cow::Borrowed(key))) {
        Some(value) => value.as_ref().map(|value| decode_chunk_row(value)).transpose(),
        None => now.get(Space::Pieces, key)?.map(|value| decode_chunk_row(&value)).transpose(),
    }
}

/// The row of a chunk out of the heads of its pieces, or `None` when they are not the pieces of one chunk.
fn chunk_row(stripe: &StripeHeader, pieces: &[(&Head, &LaneRecords<'_>)]) -> Option<ChunkRow> {
    let first = pieces.first()?.0.piece?;
    let mut rows = Vec::with_capacity(pieces.len());
    let mut chunk_offset = 0;
    for (index, (head, lane)) in pieces.iter().enumerate() {
        let piece = head.piece?;
        let same = (piece.blob, piece.chunk, piece.count, piece.chunk_bytes)
            == (first.blob, first.chunk, first.count, first.chunk_bytes);
        if !same || usize::from(piece.index) != index || piece.chunk_offset != chunk_offset {
            return None;
        }
        chunk_offset = u32::checked_add(chunk_offset, head.body_bytes)?;
        rows.push(PieceRow {
            lane: u8::try_from(lane.lane).ok()?,
            drive: stripe.drives[lane.lane],
            payload_offset: head.body_offset,
            bytes: head.body_bytes,
            chunk_offset: piece.chunk_offset,
            crc: head.body_crc,
        });
    }
    (chunk_offset == first.chunk_bytes).then_some(ChunkRow {
        bytes: first.chunk_bytes,
        last: first.last,
        segment: stripe.segment,
        stripe_offset: stripe.offset,
        sequence: stripe.sequence,
        pieces: rows,
    })
}

/// Chunks read from the view at once while a blob is forgotten.
const FORGET_PAGE_ROWS: usize = 1024;

fn forget(blob: BlobId, changes: &mut Changes<'_>, occupancy: &mut Occupancy, now: &dyn ViewSnapshot) -> Result<()> {
    let (first, last) = (chunk_key(blob, 0), chunk_key(blob, u32::MAX));
    let in_group = (Space::Pieces, Cow::Owned(first.to_vec()))..=(Space::Pieces, Cow::Owned(last.to_vec()));
    for (_, value) in changes.range_mut(in_group) {
        if let Some(value) = value.take() {
            let row = decode_chunk_row(&value)?;
            occupancy.remove(row.segment, row.bytes);
        }
    }
    let mut from = Bound::Included(bytes::Bytes::copy_from_slice(&first));
    loop {
        let bounds = (from.as_ref().map(|key| &key[..]), Bound::Included(&last[..]));
        let page = now.range(Space::Pieces, bounds, FORGET_PAGE_ROWS, Direction::Forward)?;
        let Some((end, _)) = page.last() else { return Ok(()) };
        from = Bound::Excluded(end.clone());
        for (key, value) in page {
            if let Entry::Vacant(change) = changes.entry((Space::Pieces, Cow::Owned(key.to_vec()))) {
                let row = decode_chunk_row(&value)?;
                occupancy.remove(row.segment, row.bytes);
                change.insert(None);
            }
        }
    }
}
