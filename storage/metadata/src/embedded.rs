//! `EmbeddedEngine`: rows on this machine's drives. A commit is one append of the drive log, reads ask the log's view.
//!
//! The log decides order, durability and what a crash leaves; what is left to do here is to let of two transactions that
//! disturb each other only one into the log. That happens in [`EmbeddedEngine::submit`], under one lock: judge the read
//! set, take a stamp, remember the keys.
//!
//! Snapshots are counted under a lock of their own, for there are more of them than commits.
//!
//! ```text
//! commit ──▶ reserve ──▶ [ conflict? ──▶ DriveLog::submit ──▶ remember ] ──▶ synced and visible ──▶ Committed
//!                              └──▶ wait until the winner is visible ──▶ Lost
//! ```

use crate::recent::{Living, RECENT_BYTES_MAX, RecentWrites};
use crate::{
    Commit, CommitRequest, Engine, EngineSnapshot, KEY_BYTES_MAX, ReadSet, Result, Scan, ScanOrder,
    TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX, Write,
};
use async_trait::async_trait;
use bytes::Bytes;
use cistern_drives::{Append, Direction, DriveLog, Pending, Reservation, Rows};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A scan of more rows than this may wait for the view's files, so it leaves the runtime's threads.
const INLINE_SCAN_ROWS_MAX: usize = 64;

const _: () = assert!(KEY_BYTES_MAX <= cistern_drives::KEY_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX <= cistern_drives::VALUE_BYTES_MAX);
const _: () = assert!(TRANSACTION_BYTES_MAX <= cistern_drives::ROWS_BYTES_MAX);

/// Rows on the drive log. Exactly one engine may stand on a log: what it remembers to judge commits is its own.
#[derive(Debug)]
pub struct EmbeddedEngine {
    log: DriveLog,
    recent: Mutex<RecentWrites>,
    living: Arc<Mutex<Living>>,
    /// By the byte that keys begin with: the newest commit that wrote any of them, `u64::MAX` while one is being ordered.
    written: Box<[AtomicU64; 256]>,
}

/// What the lock around the log decided.
enum Decision {
    Submitted(Pending),
    /// The stamp of a commit that stands in the way.
    Conflict(u64),
}

impl EmbeddedEngine {
    /// The rows that `log` holds.
    pub fn new(log: DriveLog) -> Self {
        let written = Box::new([const { AtomicU64::new(0) }; 256]);
        Self { log, recent: Mutex::default(), living: Arc::default(), written }
    }

    /// The commit point: before it nothing has happened, after it the log brings the append to its end, whoever waits.
    fn submit(&self, room: Reservation, append: Append, reads: &ReadSet, writes: Vec<Write>) -> Result<Decision> {
        let mut recent = self.recent.lock();
        if let Some(stamp) = recent.conflict(reads) {
            return Ok(Decision::Conflict(stamp));
        }
        // before anybody can see the commit nobody keeps rows of its tables
        self.note_written(&writes, u64::MAX);
        let pending = match self.log.submit(room, append) {
            Ok(pending) => pending,
            Err(error) => {
                self.note_written(&writes, recent.newest());
                return Err(error.into());
            }
        };
        self.note_written(&writes, pending.stamp());
        recent.record(pending.stamp(), writes.into_iter().map(|write| write.into_key(pending.stamp())).collect());
        let applied = self.log.applied();
        let oldest = self.living.lock().oldest().unwrap_or(applied);
        recent.prune(applied, oldest, RECENT_BYTES_MAX);
        Ok(Decision::Submitted(pending))
    }

    fn note_written(&self, writes: &[Write], stamp: u64) {
        for table in writes.iter().filter_map(Write::table) {
            self.written[usize::from(table)].store(stamp, Ordering::Release);
        }
    }
}

impl Write {
    /// The byte that its key begins with.
    fn table(&self) -> Option<u8> {
        let (Self::Put { key, .. } | Self::Delete { key } | Self::PutStamped { prefix: key, .. }) = self;
        key.first().copied()
    }

    /// The key it sets or removes in the commit of this stamp.
    fn into_key(self, stamp: u64) -> Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
            Self::PutStamped { prefix, .. } => [&prefix[..], &stamp.to_be_bytes()].concat().into(),
        }
    }
}

fn encode(writes: &[Write]) -> Rows {
    let mut rows = Rows::new();
    for write in writes {
        match write {
            Write::Put { key, value } => rows.put(key, value),
            Write::Delete { key } => rows.delete(key),
            Write::PutStamped { prefix, value } => rows.put_stamped(prefix, value),
        }
    }
    rows
}

#[async_trait]
impl Engine for EmbeddedEngine {
    async fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>> {
        // Held before it is taken: what is applied in between only makes the snapshot newer than what is held.
        let stamp = self.log.applied();
        self.living.lock().hold(stamp);
        let held = Held { stamp, living: Arc::clone(&self.living) };
        Ok(Box::new(EmbeddedSnapshot { snapshot: self.log.snapshot(), _held: held }))
    }

    async fn commit(&self, request: CommitRequest) -> Result<Commit> {
        let CommitRequest { reads, writes, requires } = request;
        let append = Append { rows: Some(encode(&writes)), requires, ..Append::default() };
        let room = self.log.reserve(append.bytes()).await?;
        match self.submit(room, append, &reads, writes)? {
            Decision::Submitted(pending) => {
                let committed = pending.await?;
                Ok(Commit::Committed { stamp: committed.stamp })
            }
            Decision::Conflict(stamp) => {
                // A winner that fails after all is passed by the log as well: it stands in nobody's way a second time.
                self.log.wait_applied(stamp).await?;
                Ok(Commit::Lost)
            }
        }
    }

    fn written(&self, table: u8) -> u64 {
        self.written[usize::from(table)].load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct EmbeddedSnapshot {
    snapshot: cistern_drives::Snapshot,
    _held: Held,
}

/// Makes [`RecentWrites`] remember for the sake of a snapshot, until it is dropped.
#[derive(Debug)]
struct Held {
    stamp: u64,
    living: Arc<Mutex<Living>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.living.lock().release(self.stamp);
    }
}

#[async_trait]
impl EngineSnapshot for EmbeddedSnapshot {
    fn stamp(&self) -> u64 {
        self.snapshot.applied()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.snapshot.get(key)?)
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>> {
        if scan.range.is_empty() || scan.limit == 0 {
            return Ok(Vec::new());
        }
        if scan.limit <= INLINE_SCAN_ROWS_MAX {
            return read_range(&self.snapshot, scan);
        }
        let (snapshot, scan) = (self.snapshot.clone(), scan.clone());
        cistern_runtime::offload(move || read_range(&snapshot, &scan)).await
    }
}

fn read_range(snapshot: &cistern_drives::Snapshot, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>> {
    let (start, end) = scan.range.bounds();
    let direction = match scan.order {
        ScanOrder::Ascending => Direction::Forward,
        ScanOrder::Descending => Direction::Backward,
    };
    Ok(snapshot.range(start, end, scan.limit, direction)?)
}

#[cfg(test)]
pub(crate) mod tests;
