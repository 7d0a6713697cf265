//! The view in sled 0.34: the one file that names it. One tree with a prefix byte per key space, so that a batch is atomic;
//! snapshots come from the overlay.
//!
//! sled's `flush` issues no fsync on Linux: after a power cut the view may be an older state of itself or not open at all.
//! Either is mended by replaying or rebuilding from the log, which is why sled may only ever be a view.

use super::overlay::{Newest, Overlay};
use super::{Batch, Direction, Space, Watermark, engine_error};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

/// How often and at what distance a locked database is tried again: two seconds in all.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const WATERMARK_KEY: &[u8] = b"w";

pub(super) type SledView = Overlay<Tree>;

impl SledView {
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        // no timer: the log flushes when it has written enough or is idle
        let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
        let database = open_unlocked(&config).map_err(error("open"))?;
        Ok(Self::new(Tree(database)))
    }
}

/// sled's own threads let go of a dropped database's lock a little later, and it does not say when.
#[expect(clippy::disallowed_methods, reason = "sled has no event to wait for, and this only runs at open")]
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    let mut tries = 0;
    loop {
        match config.open() {
            Err(error) if tries < LOCK_TRIES && error.to_string().contains("could not acquire lock") => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree(sled::Db);

fn error(action: &'static str) -> impl Fn(sled::Error) -> Error {
    move |error| engine_error(action)(&error)
}

fn prefix(space: Space) -> u8 {
    match space {
        Space::Rows => b'r',
        Space::Pieces => b'p',
        Space::Segments => b's',
    }
}

fn tree_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(prefix(space));
    bytes.extend_from_slice(key);
    bytes
}

impl Newest for Tree {
    fn watermark(&self) -> Result<Option<Watermark>> {
        let bytes = self.0.get(WATERMARK_KEY).map_err(error("read the watermark"))?;
        bytes
            .map(|bytes| postcard::from_bytes(&bytes).map_err(|e| engine_error("decode the watermark")(&e)))
            .transpose()
    }

    fn apply(&self, batch: &Batch<'_>) -> Result<()> {
        let mut writes = sled::Batch::default();
        for change in &batch.changes {
            let key = tree_key(change.space, &change.key);
            match &change.value {
                Some(value) => writes.insert(key, &**value),
                None => writes.remove(key),
            }
        }
        let mark = postcard::to_stdvec(&batch.watermark).map_err(|e| engine_error("encode the watermark")(&e))?;
        writes.insert(WATERMARK_KEY, mark);
        self.0.apply_batch(writes).map_err(error("apply a batch"))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.0.get(tree_key(space, key)).map_err(error("get"))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let bound = |bound: Bound<&[u8]>, open: Bound<Vec<u8>>| match bound {
            Bound::Included(key) => Bound::Included(tree_key(space, key)),
            Bound::Excluded(key) => Bound::Excluded(tree_key(space, key)),
            Bound::Unbounded => open,
        };
        let from = bound(range.0, Bound::Included(vec![prefix(space)]));
        let to = bound(range.1, Bound::Excluded(vec![prefix(space) + 1]));
        let mut rows = self.0.range::<Vec<u8>, _>((from, to));
        let mut found = Vec::new();
        while found.len() < limit {
            let next = match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.next_back(),
            };
            let Some(row) = next else { break };
            let (key, value) = row.map_err(error("range"))?;
            found.push((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)));
        }
        Ok(found)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush().map(|_| ()).map_err(error("flush"))
    }
}
