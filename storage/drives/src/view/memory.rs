//! The view in memory, for tests: two ordered maps under the overlay. Gone when dropped, so that every open is a rebuild.

use super::overlay::{Newest, Overlay};
use super::{Batch, Direction, Space, Watermark};
use crate::error::Result;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;

pub(super) type MemoryView = Overlay<Maps>;

impl MemoryView {
    pub(super) fn empty() -> Self {
        Self::new(Maps::default())
    }
}

#[derive(Debug, Default)]
pub(super) struct Maps(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<Bytes, Bytes>,
    pieces: BTreeMap<Bytes, Bytes>,
    segments: BTreeMap<Bytes, Bytes>,
    watermark: Option<Watermark>,
}

impl Inner {
    fn space(&self, space: Space) -> &BTreeMap<Bytes, Bytes> {
        match space {
            Space::Rows => &self.rows,
            Space::Pieces => &self.pieces,
            Space::Segments => &self.segments,
        }
    }
}

impl Newest for Maps {
    fn watermark(&self) -> Result<Option<Watermark>> {
        Ok(self.0.read().watermark)
    }

    fn apply(&self, batch: &Batch<'_>) -> Result<()> {
        let mut inner = self.0.write();
        for change in &batch.changes {
            let map = match change.space {
                Space::Rows => &mut inner.rows,
                Space::Pieces => &mut inner.pieces,
                Space::Segments => &mut inner.segments,
            };
            match &change.value {
                Some(value) => map.insert(Bytes::copy_from_slice(&change.key), Bytes::copy_from_slice(value)),
                None => map.remove(&change.key[..]),
            };
        }
        inner.watermark = Some(batch.watermark);
        Ok(())
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.read().space(space).get(key).cloned())
    }

    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let inner = self.0.read();
        let rows = inner.space(space).range::<[u8], _>(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => rows.take(limit).collect(),
            Direction::Backward => rows.rev().take(limit).collect(),
        })
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
