//! The ordered view beside the log: what the rows are now and where the pieces of each chunk lie. Never the truth: it is
//! rebuilt from the log whenever it does not fit.
//!
//! [`View`] is the small border three engines implement (`fjall.rs`, `sled.rs`, `memory.rs`); `overlay.rs` gives snapshots to the
//! two that have none. One conformance suite, `tests.rs`, holds all of them.

mod fjall;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod overlay;
mod sled;
#[cfg(test)]
mod tests;
mod watched;

use crate::config::{DriveLogConfig, ViewKind};
use crate::error::{Error, Result};
use crate::identity::SetId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use watched::Watched;

/// Which way a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Backward,
}

/// The ordered key spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Space {
    /// Metadata rows.
    Rows,
    /// Where each chunk of a blob lies.
    Pieces,
    /// What each segment of the log holds.
    Segments,
}

impl Space {
    pub(crate) const ALL: [Self; 3] = [Self::Rows, Self::Pieces, Self::Segments];

    /// Its number in `State` records.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Rows => 1,
            Self::Pieces => 2,
            Self::Segments => 3,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|space| space.code() == code)
    }

    /// The one behind it in key order.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Rows => Some(Self::Pieces),
            Self::Pieces => Some(Self::Segments),
            Self::Segments => None,
        }
    }
}

/// How far of the log the view has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watermark {
    /// [`VIEW_VERSION`] of the program that wrote it; a view of another one is rebuilt.
    pub(crate) version: u32,
    pub(crate) set: [u8; 16],
    pub(crate) segment: u64,
    pub(crate) generation: u64,
    /// Where the last stripe taken in begins.
    pub(crate) last_offset: u64,
    /// Where the next stripe begins.
    pub(crate) offset: u64,
    pub(crate) next_sequence: u64,
    pub(crate) last_stamp: u64,
    /// From here on stripes of the segment may lack lanes, because a drive was out when they were written or read again: the next
    /// open writes them if the drive is back. The end when none does.
    pub(crate) heal_offset: u64,
    pub(crate) heal_sequence: u64,
}

/// Which keys and values the view holds.
pub(crate) const VIEW_VERSION: u32 = 2;

impl Watermark {
    pub(crate) fn set(&self) -> SetId {
        SetId::from_bytes(self.set)
    }
}

/// Changes that become visible together, in ascending order of (space, key), each key once.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) changes: Vec<Change<'a>>,
    pub(crate) watermark: Watermark,
}

#[derive(Debug, Clone)]
pub(crate) struct Change<'a> {
    pub(crate) space: Space,
    pub(crate) key: Cow<'a, [u8]>,
    /// `None` deletes the key.
    pub(crate) value: Option<Cow<'a, [u8]>>,
}

/// An ordered view that takes in batches atomically.
pub(crate) trait View: Send + Sync + Debug {
    fn watermark(&self) -> Result<Option<Watermark>>;

    /// Makes the batch visible, watermark included, all or nothing also after a crash. Does not wait for durability.
    fn apply(&self, batch: &Batch<'_>) -> Result<()>;

    /// Waits, now and then, until what was applied is not all in memory any more. For whoever applies faster than tables are written,
    /// and whom nobody waits for.
    fn catch_up(&self) {}

    /// Merges the rows into one sorted run, so that a scan of them looks in one place; takes a few seconds for a million. For a view that was
    /// just made anew, whose files lie side by side as they came, and to which nobody applies anything meanwhile. What fails leaves it as
    /// it is.
    fn merge(&self) {}

    /// The view as it is now; later batches do not change what it shows.
    fn snapshot(&self) -> Arc<dyn ViewSnapshot>;

    /// Makes everything applied so far durable.
    fn flush(&self) -> Result<()>;

    /// What went wrong first, if anything ever did.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// A consistent picture of a [`View`].
pub(crate) trait ViewSnapshot: Send + Sync + Debug {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;

    fn range(
        &self,
        space: Space,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>>;
}

/// Whether a range cannot hold any key; engines differ in what they do with such bounds.
fn is_empty_range(range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match range {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

/// Opens the configured view; one that failed in the run before or will not open is deleted and begun anew, for it can be rebuilt.
pub(crate) fn open(config: &DriveLogConfig) -> Result<Arc<dyn View>> {
    // what cannot be looked at cannot be opened either
    if marker(config).try_exists().unwrap_or(true) {
        tracing::warn!("the view was found damaged, it will be rebuilt from the log");
        destroy(config)?;
    }
    match open_once(config) {
        Ok(view) => Ok(view),
        Err(error) => {
            tracing::warn!(error = %error, "the view does not open, it will be rebuilt from the log");
            destroy(config)?;
            open_once(config)
        }
    }
}

/// An empty view in the place of one that is of no use.
pub(crate) fn begin_anew(config: &DriveLogConfig, former: Arc<dyn View>) -> Result<Arc<dyn View>> {
    drop(former);
    destroy(config)?;
    open_once(config)
}

/// Deletes the view's files. The view must have been dropped.
fn destroy(config: &DriveLogConfig) -> Result<()> {
    let (folder, marker) = (folder(config), marker(config));
    // the marker last: until then the next open deletes what is left
    for (path, removed) in [(&folder, std::fs::remove_dir_all(&folder)), (&marker, std::fs::remove_file(&marker))] {
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Error::View { action: "delete", detail: format!("{}: {error}", path.display()) });
        }
    }
    Ok(())
}

/// The file that says that the view failed.
fn marker(config: &DriveLogConfig) -> PathBuf {
    folder(config).with_extension("failed")
}

/// Each engine has a folder of its own, so that a change of engine is a rebuild and not a confusion.
fn folder(config: &DriveLogConfig) -> PathBuf {
    config.view_path.join(match config.view {
        ViewKind::Fjall => "fjall",
        ViewKind::Sled => "sled",
        #[cfg(any(test, feature = "testing"))]
        ViewKind::Memory => "memory",
    })
}

fn open_once(config: &DriveLogConfig) -> Result<Arc<dyn View>> {
    let path = folder(config);
    let engine: fn(&Path, u64) -> Result<Arc<dyn View>> = match config.view {
        ViewKind::Fjall => |path, cache_bytes| Ok(Arc::new(fjall::FjallView::open(path, cache_bytes)?)),
        ViewKind::Sled => |path, cache_bytes| Ok(Arc::new(sled::SledView::open(path, cache_bytes)?)),
        #[cfg(any(test, feature = "testing"))]
        ViewKind::Memory => return Ok(Arc::new(memory::MemoryView::empty())),
    };
    std::fs::create_dir_all(&path)
        .map_err(|error| Error::View { action: "make the folder", detail: format!("{}: {error}", path.display()) })?;
    // both engines panic on some damaged files
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| engine(&path, config.view_cache_bytes)))
        .unwrap_or_else(|_| Err(Error::View { action: "open", detail: "the engine panicked".into() }));
    Ok(Arc::new(Watched::new(opened?, marker(config))))
}

fn engine_error(action: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Error {
    move |error| Error::View { action, detail: error.to_string() }
}

/// The metadata rows as they were at one moment: everything up to [`applied`](Self::applied), nothing after. Cheap to
/// make and to clone; hold it briefly, for the view keeps old values as long as it lives.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) applied: u64,
    pub(crate) view: Arc<dyn ViewSnapshot>,
}

impl Snapshot {
    /// The stamp of the last append that it shows.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The value of a row.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.view.get(Space::Rows, key)
    }

    /// At most `limit` rows between `from` and `to`, from the smallest key up or from the largest down.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.view.range(Space::Rows, (from, to), limit, direction)
    }
}
