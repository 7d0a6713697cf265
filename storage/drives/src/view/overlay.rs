//! Snapshots for engines that have none: the engine holds the newest values, and an undo overlay keeps, for each key changed
//! while a snapshot lives, what the key was before.
//!
//! A snapshot of version v reads a key's oldest undo entry made after v, else the engine. Readers share a lock that a batch
//! takes alone, so a read never sees half a batch. Undo entries go when the last snapshot that needs them goes.

use super::{Batch, Direction, Space, View, ViewSnapshot, Watermark, is_empty_range};
use crate::error::Result;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

/// What the overlay needs of an engine: the newest values only. `range` gets bounds that hold at least one possible key.
pub(super) trait Newest: Send + Sync + Debug + 'static {
    fn watermark(&self) -> Result<Option<Watermark>>;
    fn apply(&self, batch: &Batch<'_>) -> Result<()>;
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;
    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>>;
    fn flush(&self) -> Result<()>;
}

/// A key's former values: the version that replaced each, and the value, `None` when there was none.
type Undo = BTreeMap<(Space, Bytes), BTreeMap<u64, Option<Bytes>>>;

#[derive(Debug)]
struct Shared<N> {
    newest: N,
    state: RwLock<State>,
    /// How many snapshots live of each version.
    live: Mutex<BTreeMap<u64, usize>>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    undo: Undo,
}

/// A [`View`] over an engine without snapshots.
#[derive(Debug)]
pub(super) struct Overlay<N>(Arc<Shared<N>>);

impl<N: Newest> Overlay<N> {
    pub(super) fn new(newest: N) -> Self {
        Self(Arc::new(Shared { newest, state: RwLock::default(), live: Mutex::default() }))
    }
}

impl<N: Newest> View for Overlay<N> {
    fn watermark(&self) -> Result<Option<Watermark>> {
        self.0.newest.watermark()
    }

    fn apply(&self, batch: &Batch<'_>) -> Result<()> {
        let shared = &self.0;
        let mut state = shared.state.write();
        let oldest_live = shared.live.lock().keys().next().copied();
        let Some(oldest_live) = oldest_live else {
            state.undo.clear();
            state.version += 1;
            return shared.newest.apply(batch);
        };
        // an entry replaced at or before the oldest living version is read by nobody
        state.undo.retain(|_, entries| {
            entries.retain(|&replaced_by, _| replaced_by > oldest_live);
            !entries.is_empty()
        });
        let version = state.version + 1;
        for change in &batch.changes {
            let former = shared.newest.get(change.space, &change.key)?;
            let key = (change.space, Bytes::copy_from_slice(&change.key));
            state.undo.entry(key).or_default().insert(version, former);
        }
        state.version = version;
        shared.newest.apply(batch)
    }

    fn snapshot(&self) -> Arc<dyn ViewSnapshot> {
        let state = self.0.state.read();
        *self.0.live.lock().entry(state.version).or_default() += 1;
        Arc::new(OverlaySnapshot { shared: Arc::clone(&self.0), version: state.version })
    }

    fn flush(&self) -> Result<()> {
        self.0.newest.flush()
    }
}

#[derive(Debug)]
struct OverlaySnapshot<N: Newest> {
    shared: Arc<Shared<N>>,
    version: u64,
}

impl<N: Newest> Drop for OverlaySnapshot<N> {
    fn drop(&mut self) {
        let mut live = self.shared.live.lock();
        if let Some(count) = live.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.version);
            }
        }
    }
}

/// What a key was at `version`, when the overlay knows.
fn former(entries: &BTreeMap<u64, Option<Bytes>>, version: u64) -> Option<&Option<Bytes>> {
    entries.range(version + 1..).next().map(|(_, value)| value)
}

impl<N: Newest> ViewSnapshot for OverlaySnapshot<N> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let state = self.shared.state.read();
        if !state.undo.is_empty()
            && let Some(entries) = state.undo.get(&(space, Bytes::copy_from_slice(key)))
            && let Some(value) = former(entries, self.version)
        {
            return Ok(value.clone());
        }
        self.shared.newest.get(space, key)
    }

    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if is_empty_range(range) {
            return Ok(Vec::new());
        }
        let state = self.shared.state.read();
        let bound = |bound: Bound<&[u8]>, open: Bound<(Space, Bytes)>| match bound {
            Bound::Included(key) => Bound::Included((space, Bytes::copy_from_slice(key))),
            Bound::Excluded(key) => Bound::Excluded((space, Bytes::copy_from_slice(key))),
            Bound::Unbounded => open,
        };
        let next_space = space.next().map_or(Bound::Unbounded, |next| Bound::Excluded((next, Bytes::new())));
        let changed =
            state.undo.range((bound(range.0, Bound::Included((space, Bytes::new()))), bound(range.1, next_space)));
        let changed: BTreeMap<&Bytes, &Option<Bytes>> =
            changed.filter_map(|((_, key), entries)| former(entries, self.version).map(|value| (key, value))).collect();
        // every changed key hides at most one row of the engine
        let newest = self.shared.newest.range(space, range, limit.saturating_add(changed.len()), direction)?;
        let exhausted = newest.len() < limit.saturating_add(changed.len());
        let last = newest.last().map(|(key, _)| key.clone());
        let mut rows: BTreeMap<Bytes, Bytes> =
            newest.into_iter().filter(|(key, _)| !changed.contains_key(key)).collect();
        let within = |key: &Bytes| {
            exhausted
                || last.as_ref().is_some_and(|last| match direction {
                    Direction::Forward => key <= last,
                    Direction::Backward => key >= last,
                })
        };
        for (key, value) in changed {
            if let Some(value) = value
                && within(key)
            {
                rows.insert(key.clone(), value.clone());
            }
        }
        Ok(match direction {
            Direction::Forward => rows.into_iter().take(limit).collect(),
            Direction::Backward => rows.into_iter().rev().take(limit).collect(),
        })
    }
}
