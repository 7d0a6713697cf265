//! What keeps the log in order, as entries of its own queue: parts of a checkpoint, moved chunks, retired segments.
//!
//! Each is a group of its own, and its records are made when its turn comes, from what the view holds then: the committer is
//! alone, so nothing changes between the look and the write. Replaying such a record changes nothing that was not so
//! already, wherever a crash falls. What is done when: `compaction.rs`.

use crate::apply::{chunk_key, decode_chunk_row};
use crate::disk::Disk;
use crate::error::Result;
use crate::occupancy::segment_row;
use crate::record::{Kind, encode_retire, encode_state};
use crate::stripe::{Record, push_chunk};
use crate::view::{Direction, Space, ViewSnapshot};
use crate::{KEY_BYTES_MAX, NewPiece, VALUE_BYTES_MAX};
use bytes::Bytes;
use cistern_types::Timestamp;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bytes that one part of a checkpoint states, about: small enough that the writers behind it hardly wait.
const STATE_BYTES: usize = 512 << 10;
/// Rows read from the view at once.
const PAGE_ROWS: usize = 256;

/// How far a checkpoint has come: everything up to this key is stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    space: Space,
    after: Option<Bytes>,
}

impl Cursor {
    pub(crate) fn start() -> Self {
        Self { space: Space::Rows, after: None }
    }
}

/// A chunk that shall lie elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct MovedChunk {
    pub(crate) chunk: NewPiece,
    /// Where it was read: if it is no longer there it stays where it is, or gone.
    pub(crate) segment: u64,
    pub(crate) stripe_offset: u64,
}

#[derive(Debug)]
pub(crate) enum Upkeep {
    /// Ends the segment that is written, if it holds anything, and begins one, whose number is the answer: for a checkpoint, or so
    /// that what was written can be verified.
    BeginSegment { begun: oneshot::Sender<u64> },
    /// Has a drive take a place of the set; answers whether it did.
    Seat { drive: usize, disk: Arc<dyn Disk>, now: Timestamp, seated: oneshot::Sender<Result<()>> },
    /// States a part of what the view holds; answers where the next part begins, `None` after the last.
    State { from: Cursor, next: oneshot::Sender<Option<Cursor>> },
    /// Begins a segment whose header says that the checkpoint that began with segment `begin` is whole.
    EndCheckpoint { begin: u64 },
    /// Writes chunks once more.
    Move { chunks: Vec<MovedChunk> },
    /// Takes segments without needed chunks out of the log.
    Retire { segments: Vec<u64> },
}

impl Upkeep {
    /// Bytes to reserve for it.
    pub(crate) fn bytes(&self, group_bytes_max: usize) -> usize {
        match self {
            Self::BeginSegment { .. } | Self::EndCheckpoint { .. } | Self::Seat { .. } => 1,
            Self::State { .. } => state_bytes(group_bytes_max),
            Self::Move { chunks } => chunks.iter().map(|moved| moved.chunk.bytes.len()).sum(),
            Self::Retire { segments } => segments.len() * 8,
        }
    }
}

fn state_bytes(group_bytes_max: usize) -> usize {
    STATE_BYTES.min(group_bytes_max / 2)
}

/// The next part of a checkpoint: the bodies of its records, and where the part behind it begins.
pub(crate) fn state_part(
    view: &dyn ViewSnapshot,
    from: Cursor,
    data_lanes: usize,
    group_bytes_max: usize,
) -> Result<(Vec<Vec<u8>>, Option<Cursor>)> {
    let limit = state_bytes(group_bytes_max);
    // cut so that the part spreads over the lanes
    let body_limit = limit.div_ceil(data_lanes);
    let Cursor { mut space, mut after } = from;
    let (mut bodies, mut body, mut bytes) = (Vec::new(), Vec::new(), 0);
    loop {
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = view.range(space, (start, Bound::Unbounded), PAGE_ROWS, Direction::Forward)?;
        let ended = page.len() < PAGE_ROWS;
        for (key, value) in page {
            encode_state((space, &key, &value), &mut body);
            after = Some(key);
            if body.len() >= body_limit {
                bytes += body.len();
                bodies.push(std::mem::take(&mut body));
                if bytes >= limit {
                    return Ok((bodies, Some(Cursor { space, after })));
                }
            }
        }
        if ended {
            after = None;
            match space.next() {
                Some(next) => space = next,
                None => break,
            }
        }
    }
    if !body.is_empty() {
        bodies.push(body);
    }
    Ok((bodies, None))
}

/// The records of parts of a checkpoint.
pub(crate) fn state_records(bodies: Vec<Vec<u8>>, stamp: u64, records: &mut Vec<Record>) {
    records.extend(bodies.into_iter().map(|body| Record::new(Kind::State, stamp, body)));
}

/// The records of those chunks that still lie where they were read.
pub(crate) fn move_records(
    view: &dyn ViewSnapshot,
    chunks: Vec<MovedChunk>,
    stamp: u64,
    data_lanes: usize,
    records: &mut Vec<Record>,
) -> Result<()> {
    for MovedChunk { chunk, segment, stripe_offset } in chunks {
        let row = view.get(Space::Pieces, &chunk_key(chunk.blob, chunk.chunk))?;
        let row = row.map(|row| decode_chunk_row(&row)).transpose()?;
        if row.is_some_and(|row| (row.segment, row.stripe_offset) == (segment, stripe_offset)) {
            push_chunk(&chunk, true, stamp, data_lanes, records);
        }
    }
    Ok(())
}

/// The record that takes those of `segments` out of the log that lie before `checkpoint` and hold nothing that is needed.
pub(crate) fn retire_records(
    view: &dyn ViewSnapshot,
    segments: &[u64],
    checkpoint: u64,
    stamp: u64,
    records: &mut Vec<Record>,
) -> Result<()> {
    let mut retired = Vec::with_capacity(segments.len());
    for &segment in segments.iter().filter(|&&segment| segment < checkpoint) {
        if segment_row(view, segment)?.is_some_and(|row| row.live_bytes == 0) {
            retired.push(segment);
        }
    }
    if !retired.is_empty() {
        records.push(Record::new(Kind::Retire, stamp, encode_retire(&retired)));
    }
    Ok(())
}

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX < STATE_BYTES);
