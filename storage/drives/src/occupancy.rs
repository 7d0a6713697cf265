//! How much of each segment is still needed: [`SegmentRow`], a row of the view for every segment of the log, and
//! [`Occupancy`], what one stripe changes in these rows.
//!
//! Only chunks of blobs count as needed. Rows and forget lists are needed until a checkpoint has stated what they made
//! (`upkeep.rs`); afterwards a segment without needed chunks can go.

use crate::error::{Error, Result};
use crate::frame::StripeHeader;
use crate::log::Core;
use crate::view::{Direction, Space, ViewSnapshot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What the view knows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    /// The run that began it.
    pub(crate) generation: u64,
    /// Where its last stripe ends.
    pub(crate) end_offset: u64,
    /// Sequence of its first stripe.
    pub(crate) first_sequence: u64,
    /// Bytes in data lanes that are taken by records.
    pub(crate) used_bytes: u64,
    /// Bytes of chunks that were first written here.
    pub(crate) fresh_bytes: u64,
    /// Bytes of chunks that were moved here.
    pub(crate) moved_bytes: u64,
    /// Bytes of its chunks that the view still finds here.
    pub(crate) live_bytes: u64,
    /// Bytes of checkpoint records.
    pub(crate) state_bytes: u64,
}

pub(crate) fn segment_key(segment: u64) -> [u8; 8] {
    segment.to_be_bytes()
}

pub(crate) fn decode_segment_row(value: &[u8]) -> Result<SegmentRow> {
    postcard::from_bytes(value)
        .map_err(|error| Error::View { action: "decode a segment row", detail: error.to_string() })
}

fn encode_segment_row(row: &SegmentRow) -> Result<Vec<u8>> {
    postcard::to_stdvec(row).map_err(|error| Error::View { action: "encode a segment row", detail: error.to_string() })
}

/// The row of a segment, if it is part of the log.
pub(crate) fn segment_row(view: &dyn ViewSnapshot, segment: u64) -> Result<Option<SegmentRow>> {
    let value = view.get(Space::Segments, &segment_key(segment))?;
    value.map(|value| decode_segment_row(&value)).transpose()
}

impl Core {
    /// Whether a segment is no longer part of the log.
    pub(crate) fn is_retired(&self, segment: u64) -> Result<bool> {
        Ok(segment_row(self.current_view().as_ref(), segment)?.is_none())
    }
}

/// Every segment that has a row.
pub(crate) fn segment_rows(view: &dyn ViewSnapshot) -> Result<BTreeMap<u64, SegmentRow>> {
    let rows = view.range(Space::Segments, (Bound::Unbounded, Bound::Unbounded), usize::MAX, Direction::Forward)?;
    rows.iter().map(|(key, value)| decode_segment(key, value)).collect()
}

/// A segment's number and row as the view holds them.
pub(crate) fn decode_segment(key: &[u8], value: &[u8]) -> Result<(u64, SegmentRow)> {
    let broken = |_| Error::View { action: "decode a segment row", detail: "its key is not a segment's number".into() };
    Ok((u64::from_be_bytes(key.try_into().map_err(broken)?), decode_segment_row(value)?))
}

/// What a stripe changes in the rows of segments.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    /// Of each segment: bytes of chunks that are needed there from now on, less those that are no longer.
    live: BTreeMap<u64, i64>,
    fresh: u64,
    moved: u64,
    state: u64,
}

impl Occupancy {
    /// A chunk that lies in `segment`, the stripe's own, from now on.
    pub(crate) fn add(&mut self, segment: u64, bytes: u32, moved: bool) {
        *self.live.entry(segment).or_default() += i64::from(bytes);
        *(if moved { &mut self.moved } else { &mut self.fresh }) += u64::from(bytes);
    }

    pub(crate) fn remove(&mut self, segment: u64, bytes: u32) {
        *self.live.entry(segment).or_default() -= i64::from(bytes);
    }

    pub(crate) fn add_state(&mut self, bytes: usize) {
        self.state += bytes as u64;
    }

    /// The rows after the stripe, encoded, of those segments that it changes. `now` is the view before it. A segment without a row is
    /// one that a rebuild has not come to yet: the checkpoint will state its row whole.
    pub(crate) fn rows(self, stripe: &StripeHeader, now: &dyn ViewSnapshot) -> Result<Vec<(u64, Vec<u8>)>> {
        let Self { mut live, fresh, moved, state } = self;
        let own = live.remove(&stripe.segment).unwrap_or(0);
        let mut rows = Vec::with_capacity(live.len() + 1);
        for (segment, delta) in live.into_iter().filter(|(_, delta)| *delta != 0) {
            if let Some(row) = segment_row(now, segment)? {
                let row = SegmentRow { live_bytes: row.live_bytes.saturating_add_signed(delta), ..row };
                rows.push((segment, encode_segment_row(&row)?));
            }
        }
        let before = segment_row(now, stripe.segment)?.filter(|row| row.generation == stripe.generation);
        let before = before.unwrap_or(SegmentRow {
            generation: stripe.generation,
            first_sequence: stripe.sequence,
            ..SegmentRow::default()
        });
        let row = SegmentRow {
            end_offset: stripe.end(),
            used_bytes: before.used_bytes + (0..stripe.data).map(|lane| stripe.used(lane) as u64).sum::<u64>(),
            fresh_bytes: before.fresh_bytes + fresh,
            moved_bytes: before.moved_bytes + moved,
            live_bytes: before.live_bytes.saturating_add_signed(own),
            state_bytes: before.state_bytes + state,
            ..before
        };
        rows.push((stripe.segment, encode_segment_row(&row)?));
        Ok(rows)
    }
}
