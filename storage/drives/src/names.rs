//! Which stripes the view finds a chunk in: [`Names`]. Asked only about stripes whose records cannot be read, for it takes a look at
//! the places of all chunks.

use crate::apply::decode_chunk_row;
use crate::error::Result;
use crate::log::Core;
use crate::view::{Direction, Space};
use std::collections::BTreeSet;
use std::ops::{Bound, RangeInclusive};
use std::sync::atomic::Ordering;

/// Places read from the view at once.
const PAGE_ROWS: usize = 1024;
/// Stripes remembered at most: some 32 MiB. With more, those of higher segments are looked for when they are asked about.
const STRIPES_MAX: usize = 1 << 20;

/// Stripes in which chunks are found, as far as was asked for. Knows only segments before the checkpoint, into which nothing comes any
/// more: what was not needed when it was looked for is not needed later either.
#[derive(Debug, Default)]
pub(crate) struct Names {
    looked_at: Option<RangeInclusive<u64>>,
    /// Segment and offset of each.
    stripes: BTreeSet<(u64, u64)>,
}

impl Names {
    /// Whether any chunk is found in a stripe that begins in this range of a segment before the checkpoint.
    pub(crate) fn any_in(&mut self, core: &Core, segment: u64, offsets: std::ops::Range<u64>) -> Result<bool> {
        if !self.looked_at.as_ref().is_some_and(|looked_at| looked_at.contains(&segment)) {
            self.look(core, segment)?;
        }
        Ok(self.stripes.range((segment, offsets.start)..(segment, offsets.end)).next().is_some())
    }

    fn look(&mut self, core: &Core, from: u64) -> Result<()> {
        let mut last = core.checkpoint.load(Ordering::Acquire).saturating_sub(1).max(from);
        self.stripes.clear();
        let view = core.current_view();
        let mut after: Option<bytes::Bytes> = None;
        loop {
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let page = view.range(Space::Pieces, (start, Bound::Unbounded), PAGE_ROWS, Direction::Forward)?;
            for (_, value) in &page {
                let row = decode_chunk_row(value)?;
                if (from..=last).contains(&row.segment) {
                    self.stripes.insert((row.segment, row.stripe_offset));
                }
            }
            while self.stripes.len() > STRIPES_MAX && last > from {
                last -= 1;
                self.stripes.split_off(&(last + 1, 0));
            }
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        self.looked_at = Some(from..=last);
        Ok(())
    }
}
