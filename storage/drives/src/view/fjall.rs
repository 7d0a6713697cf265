//! The view in fjall: the one file that names it. Batches are atomic across its keyspaces and written to its journal without a
//! sync; the watermark is in the same batch, so after a crash the view is an earlier state of itself.

use super::{Batch, Direction, Space, View, ViewSnapshot, Watermark, engine_error, is_empty_range};
use crate::error::{Error, Result};
use bytes::Bytes;
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Rows in memory before they are written to a table, for each keyspace.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Background threads for writing and merging tables. One: what a second seals while the first is writing a table would go into that
/// table without being in the synced journal, and a power cut could leave keyspaces of different moments.
const WORKERS: usize = 1;
/// Of a view in the making, so many bytes are applied before it is waited for.
const CATCH_UP_BYTES: u64 = 24 << 20;
/// How long the thread that writes tables is waited for at most: more memory is better than no end.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often it is asked whether the thread is done.
const WAIT_POLL: Duration = Duration::from_millis(2);
/// fjall's own lower bound for its journals.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
const WATERMARK_KEY: &[u8] = b"watermark";
/// Of the rows, the pieces, the segments and the watermark.
const KEYSPACES: [&str; 4] = ["rows", "pieces", "segments", "mark"];
/// fjall's own names.
const KEYSPACES_FOLDER: &str = "keyspaces";
const JOURNAL_EXTENSION: &str = "jnl";

pub(super) struct FjallView {
    database: Database,
    spaces: Spaces,
    mark: Keyspace,
    /// Bytes that were applied since it was last waited for the thread that writes tables.
    ahead_bytes: AtomicU64,
}

#[derive(Clone)]
struct Spaces {
    rows: Keyspace,
    pieces: Keyspace,
    segments: Keyspace,
}

impl Spaces {
    fn get(&self, space: Space) -> &Keyspace {
        match space {
            Space::Rows => &self.rows,
            Space::Pieces => &self.pieces,
            Space::Segments => &self.segments,
        }
    }
}

fn error(action: &'static str) -> impl Fn(fjall::Error) -> Error {
    move |error| engine_error(action)(&error)
}

impl FjallView {
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        check_journal(path)?;
        let builder = Database::builder(path)
            .cache_size(cache_bytes)
            .worker_threads(WORKERS)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true);
        let database = builder.open().map_err(error("open"))?;
        check_keyspaces(&database)?;
        let options =
            || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES).manual_journal_persist(true);
        let keyspace = |name| database.keyspace(name, options).map_err(error("open a keyspace"));
        let [rows, pieces, segments, mark] = KEYSPACES;
        let spaces = Spaces { rows: keyspace(rows)?, pieces: keyspace(pieces)?, segments: keyspace(segments)? };
        let mark = keyspace(mark)?;
        Ok(Self { database, spaces, mark, ahead_bytes: AtomicU64::new(0) })
    }
}

/// fjall begins a new journal where there is none, and tables with later sequence numbers would then hide what is applied.
fn check_journal(path: &Path) -> Result<()> {
    let names = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    };
    let is_journal = |name: &std::ffi::OsString| Path::new(name).extension() == Some(JOURNAL_EXTENSION.as_ref());
    if names(&path.join(KEYSPACES_FOLDER)).is_empty() || names(path).iter().any(is_journal) {
        return Ok(());
    }
    Err(Error::View { action: "open", detail: "its journal is gone".into() })
}

/// fjall makes a keyspace anew whose head is missing.
fn check_keyspaces(database: &Database) -> Result<()> {
    let found = database.list_keyspace_names();
    let gone = KEYSPACES.iter().find(|name| !found.iter().any(|found| ***name == **found));
    match gone {
        Some(name) if !found.is_empty() => {
            Err(Error::View { action: "open", detail: format!("its keyspace {name} is gone") })
        }
        _ => Ok(()),
    }
}

impl View for FjallView {
    fn watermark(&self) -> Result<Option<Watermark>> {
        let bytes = self.mark.get(WATERMARK_KEY).map_err(error("read the watermark"))?;
        let decode =
            |bytes: fjall::Slice| postcard::from_bytes(&bytes).map_err(|e| engine_error("decode the watermark")(&e));
        bytes.map(decode).transpose()
    }

    fn apply(&self, batch: &Batch<'_>) -> Result<()> {
        let mut writes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.changes.len() + 1);
        let bytes =
            batch.changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, |value| value.len()));
        self.ahead_bytes.fetch_add(bytes.sum::<usize>() as u64, Ordering::Relaxed);
        for change in &batch.changes {
            let keyspace = self.spaces.get(change.space);
            match &change.value {
                Some(value) => writes.insert(keyspace, &*change.key, &**value),
                None => writes.remove(keyspace, &*change.key),
            }
        }
        let mark = postcard::to_stdvec(&batch.watermark).map_err(|e| engine_error("encode the watermark")(&e))?;
        writes.insert(&self.mark, WATERMARK_KEY, mark);
        writes.commit().map_err(error("apply a batch"))
    }

    fn catch_up(&self) {
        if self.ahead_bytes.load(Ordering::Relaxed) < CATCH_UP_BYTES {
            return;
        }
        self.ahead_bytes.store(0, Ordering::Relaxed);
        wait_while(|| self.database.active_compactions() + self.database.outstanding_flushes() > 0);
    }

    fn merge(&self) {
        // The other two are asked for single keys, which their filters lead to the right file. What is sealed while something is applied would
        // not be in the synced journal.
        let rows = &self.spaces.rows;
        let merged = rows.rotate_memtable().and_then(|_| {
            wait_while(|| rows.tree.sealed_memtable_count() > 0);
            rows.major_compact()
        });
        if let Err(error) = merged {
            tracing::warn!(%error, "the view was not merged: lists take longer than they could");
        }
    }

    fn snapshot(&self) -> Arc<dyn ViewSnapshot> {
        Arc::new(FjallSnapshot { snapshot: self.database.snapshot(), spaces: self.spaces.clone() })
    }

    fn flush(&self) -> Result<()> {
        self.database.persist(PersistMode::SyncData).map_err(error("flush"))
    }
}

#[expect(clippy::disallowed_methods, reason = "fjall tells nobody when it is done")]
fn wait_while(busy: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while busy() && Instant::now() < deadline {
        std::thread::sleep(WAIT_POLL);
    }
}

struct FjallSnapshot {
    snapshot: fjall::Snapshot,
    spaces: Spaces,
}

impl ViewSnapshot for FjallSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.snapshot.get(self.spaces.get(space), key).map_err(error("get"))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
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
        let mut rows = self.snapshot.range::<&[u8], _>(self.spaces.get(space), range);
        let mut found = Vec::new();
        while found.len() < limit {
            let next = match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.next_back(),
            };
            let Some(guard) = next else { break };
            let (key, value) = guard.into_inner().map_err(error("range"))?;
            found.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
        }
        Ok(found)
    }
}

impl fmt::Debug for FjallView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallView").finish_non_exhaustive()
    }
}

impl fmt::Debug for FjallSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallSnapshot").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Change;
    use std::borrow::Cow;

    #[test]
    fn rows_are_merged_into_one_table() {
        let folder = tempfile::tempdir().unwrap();
        let view = FjallView::open(folder.path(), 4 << 20).unwrap();
        let rows = &view.spaces.rows;
        let watermark = postcard::from_bytes(&[0; 64]).unwrap();
        for key in 0..3_u8 {
            let value = Some(Cow::Owned(vec![key; 10]));
            let changes = vec![Change { space: Space::Rows, key: Cow::Owned(vec![key]), value }];
            view.apply(&Batch { changes, watermark }).unwrap();
            rows.rotate_memtable().unwrap();
            wait_while(|| rows.tree.sealed_memtable_count() > 0);
        }
        assert_eq!(rows.table_count(), 3);
        view.merge();
        assert_eq!(rows.table_count(), 1);
        let shown = view.snapshot().range(Space::Rows, (Bound::Unbounded, Bound::Unbounded), 9, Direction::Forward);
        assert_eq!(shown.unwrap().len(), 3);
    }
}
