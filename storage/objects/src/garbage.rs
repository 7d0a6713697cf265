//! Garbage: which blobs nobody needs any more, and the [`Sweeper`] that frees them.
//!
//! What a commit replaces or removes it names in a garbage row with a due time, late enough for every GET that has
//! begun. The sweeper deletes the blobs first and the rows after them; a crash in between repeats the deletion, which
//! harms nothing. Blobs whose write failed or whose process died have no row at all: the orphan pass compares the blob
//! store's list with the claims and deletes what is old and unclaimed.

use crate::commit::claim;
use crate::record::VersionId;
use crate::rows::{CHANGES, CLAIMS, COMPLETED, EXTENTS, GARBAGE, GarbageRow, PARTS, extents_row};
use crate::{Objects, Result};
use async_trait::async_trait;
use bytes::Bytes;
use cistern_metadata::{Scan, Transaction};
use cistern_runtime::{Work, Worker, WorkerError};
use cistern_types::{BlobId, Receipt, Timestamp, UploadId};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many blobs one garbage row names at most: 64 KB of ids.
const BLOBS_PER_ROW: usize = 4000;

/// How many garbage rows one piece of work frees at most.
const ROWS_PER_PIECE: usize = 256;

/// How many blobs are deleted together at most, unless one row alone names more: each overwrite leaves a row with few
/// blobs, and freeing them one by one could not keep up with the writers.
const BLOBS_PER_DELETE: usize = 1000;

/// When blobs are tried again that could not be deleted, at the latest: as a part of the grace, for each try writes their rows again.
const TRY_AGAIN_AFTER_MAX: Duration = Duration::from_mins(10);
const TRY_AGAIN_GRACE_PART: u32 = 6;

/// How many parts of an ended upload one transaction removes.
const PARTS_PER_TRANSACTION: usize = 1000;

/// How many blobs one step of the orphan pass looks at.
const ORPHAN_PAGE_BLOBS: usize = 1000;

/// How many change-log rows one transaction trims; each may have 100 KB.
const CHANGES_PER_TRANSACTION: usize = 100;

/// When a garbage row comes due, and bytes that tell it from others due then.
type GarbageKey = (Timestamp, [u8; 16]);

/// Names blobs that are garbage from `due` on.
pub(crate) fn release(txn: &mut Transaction, due: Timestamp, blobs: &[BlobId]) -> Result<()> {
    for blobs in blobs.chunks(BLOBS_PER_ROW) {
        GARBAGE.put(txn, &(due, *blobs[0].as_bytes()), &GarbageRow::Blobs(blobs.to_vec()))?;
    }
    Ok(())
}

/// Names the extent rows of a version and their blobs as garbage from `due` on.
pub(crate) fn release_extents(txn: &mut Transaction, due: Timestamp, version: VersionId, rows: u32) -> Result<()> {
    Ok(GARBAGE.put(txn, &(due, *version.as_bytes()), &GarbageRow::Extents { version, rows })?)
}

/// Names the parts of an aborted upload and their blobs as garbage from `due` on.
pub(crate) fn release_upload(txn: &mut Transaction, due: Timestamp, upload: UploadId) -> Result<()> {
    Ok(GARBAGE.put(txn, &(due, *upload.as_bytes()), &GarbageRow::AbortedUpload(upload))?)
}

/// Names the rows of a completed upload as garbage from `due` on; its blobs are the object's now.
pub(crate) fn release_completed_upload(txn: &mut Transaction, due: Timestamp, upload: UploadId) -> Result<()> {
    Ok(GARBAGE.put(txn, &(due, *upload.as_bytes()), &GarbageRow::CompletedUpload(upload))?)
}

impl Objects {
    /// Makes a transaction of the caller claim a blob of the caller, written just now, and wait for its bytes. Every
    /// row of another crate that names a blob needs it: unclaimed blobs are swept once they are old.
    pub fn claim_blob(&self, txn: &mut Transaction, blob: BlobId, receipt: Receipt) -> Result<()> {
        claim(self, txn, blob, receipt, self.now())
    }

    /// Gives blobs that the caller has claimed to the sweeper, to be deleted `after` the transaction at the earliest.
    pub fn release_blobs(&self, txn: &mut Transaction, blobs: &[BlobId], after: Duration) -> Result<()> {
        release(txn, self.now().plus(after), blobs)
    }

    /// The worker that frees what is no longer needed. One for each process is enough, and several do no harm.
    pub fn sweeper(&self, schedule: SweepSchedule) -> Sweeper {
        let now = self.now();
        Sweeper {
            objects: self.clone(),
            orphans: Pass { due: now.plus(schedule.first_orphan_pass_after), cursor: None },
            trim: Pass { due: now, cursor: None },
            schedule,
        }
    }

    async fn free(&self, key: GarbageKey, row: GarbageRow) -> Result<()> {
        match &row {
            GarbageRow::Blobs(blobs) => return self.free_rows_of_blobs(blobs, &[key]).await,
            GarbageRow::Extents { version, rows } => {
                for number in 0..*rows {
                    let extents = extents_row(&self.store().read().await?, *version, number).await?;
                    let blobs: Vec<BlobId> = extents.iter().map(|extent| extent.blob).collect();
                    self.free_blobs(&blobs, |txn| EXTENTS.delete(txn, &(*version.as_bytes(), number))).await?;
                }
            }
            GarbageRow::AbortedUpload(upload) => self.free_parts(*upload, &row).await?,
            GarbageRow::CompletedUpload(upload) => {
                self.free_parts(*upload, &row).await?;
                let mut txn = self.store().begin().await?;
                COMPLETED.delete(&mut txn, upload);
                txn.commit().await?;
            }
        }
        let mut txn = self.store().begin().await?;
        GARBAGE.delete(&mut txn, &key);
        txn.commit().await?;
        Ok(())
    }

    /// Deletes the blobs of some garbage rows, then their claims and the rows.
    async fn free_rows_of_blobs(&self, blobs: &[BlobId], keys: &[GarbageKey]) -> Result<()> {
        self.free_blobs(blobs, |txn| keys.iter().for_each(|key| GARBAGE.delete(txn, key))).await
    }

    /// Deletes blobs, then their claims and whatever rows `and` removes. Those that cannot be deleted now become garbage of their own, due
    /// again a little later, so that nothing behind them waits.
    async fn free_blobs(&self, blobs: &[BlobId], and: impl FnOnce(&mut Transaction)) -> Result<()> {
        let left = self.blobs().delete(blobs).await?;
        let mut txn = self.store().begin().await?;
        let stay: BTreeSet<&BlobId> = left.iter().collect();
        for blob in blobs.iter().filter(|blob| !stay.contains(blob)) {
            CLAIMS.delete(&mut txn, blob);
        }
        and(&mut txn);
        let again_after =
            (self.limits().garbage_grace / TRY_AGAIN_GRACE_PART).clamp(Duration::from_secs(1), TRY_AGAIN_AFTER_MAX);
        release(&mut txn, self.now().plus(again_after), &left)?;
        txn.commit().await?; // it has read nothing, so it cannot be overtaken
        Ok(())
    }

    async fn free_parts(&self, upload: UploadId, row: &GarbageRow) -> Result<()> {
        loop {
            let txn = self.store().read().await?;
            let scan = Scan::first(PARTS.prefix_range(&upload), PARTS_PER_TRANSACTION);
            let parts = PARTS.scan_unchecked(&txn, &scan).await?;
            drop(txn);
            if parts.is_empty() {
                return Ok(());
            }
            let blobs: Vec<BlobId> = match row {
                GarbageRow::AbortedUpload(_) => parts.iter().filter_map(|(_, part)| part.blob).collect(),
                _ => Vec::new(),
            };
            self.free_blobs(&blobs, |txn| parts.iter().for_each(|(key, _)| PARTS.delete(txn, key))).await?;
        }
    }
}

/// When the sweeper works.
#[derive(Debug, Clone)]
pub struct SweepSchedule {
    /// How often it looks for garbage that has come due.
    pub interval: Duration,
    /// How often it compares all blobs with the claims.
    pub orphan_interval: Duration,
    /// When it does so first: not while the process starts.
    pub first_orphan_pass_after: Duration,
    /// How often it trims the change log.
    pub trim_interval: Duration,
}

impl Default for SweepSchedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            orphan_interval: Duration::from_hours(6),
            first_orphan_pass_after: Duration::from_mins(15),
            trim_interval: Duration::from_hours(1),
        }
    }
}

/// Frees garbage that has come due, deletes orphans, trims the change log; every piece of it may be repeated.
#[derive(Debug)]
pub struct Sweeper {
    objects: Objects,
    schedule: SweepSchedule,
    orphans: Pass<BlobId>,
    trim: Pass<Bytes>,
}

/// A pass over everything, in steps.
#[derive(Debug)]
struct Pass<C> {
    /// When it begins, or began.
    due: Timestamp,
    /// How far it has come.
    cursor: Option<C>,
}

impl<C> Pass<C> {
    /// Goes on from `cursor` with the next step, or begins again at the next due time.
    fn step(&mut self, cursor: Option<C>, now: Timestamp, interval: Duration) {
        if cursor.is_none() {
            self.due = now.plus(interval);
        }
        self.cursor = cursor;
    }
}

#[async_trait]
impl Worker for Sweeper {
    fn name(&self) -> String {
        "object-sweeper".into()
    }

    async fn work(&mut self) -> Result<Work, WorkerError> {
        let now = self.objects.now();
        if self.sweep_due(now).await? {
            return Ok(Work::More);
        }
        if now >= self.trim.due {
            let cursor = self.trim_step(now).await?;
            self.trim.step(cursor, now, self.schedule.trim_interval);
            return Ok(Work::More);
        }
        if now >= self.orphans.due {
            let cursor = self.orphan_step(now).await?;
            self.orphans.step(cursor, now, self.schedule.orphan_interval);
            return Ok(Work::More);
        }
        Ok(Work::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(self.schedule.interval).await;
    }
}

impl Sweeper {
    /// Frees some of what is due; whether there was any.
    async fn sweep_due(&self, now: Timestamp) -> Result<bool> {
        let txn = self.objects.store().read().await?;
        let range = GARBAGE.range().before(&GARBAGE.prefix_range(&now.plus(Duration::from_millis(1))).start);
        let rows = GARBAGE.scan_unchecked(&txn, &Scan::first(range, ROWS_PER_PIECE)).await?;
        drop(txn);
        let found = !rows.is_empty();
        let (mut blobs, mut keys) = (Vec::new(), Vec::new());
        for (key, row) in rows {
            match row {
                GarbageRow::Blobs(some) if blobs.len() + some.len() <= BLOBS_PER_DELETE => {
                    blobs.extend(some);
                    keys.push(key);
                }
                row => self.objects.free(key, row).await?,
            }
        }
        if !keys.is_empty() {
            self.objects.free_rows_of_blobs(&blobs, &keys).await?;
        }
        Ok(found)
    }

    /// Deletes the orphans among some blobs; where to go on, or `None` after the last. Ids of one set of drives sort by age, but sets follow
    /// one another: what is young is passed over, for something old may come behind it.
    ///
    /// Safe against a commit that claims a blob at this moment: commits refuse blobs of this age.
    async fn orphan_step(&self, now: Timestamp) -> Result<Option<BlobId>> {
        let old = now.minus(self.objects.limits().orphan_age);
        let listed = self.objects.blobs().list(self.orphans.cursor, ORPHAN_PAGE_BLOBS).await?;
        let (Some(first), Some(last)) = (listed.first(), listed.last()) else {
            return Ok(None);
        };
        let range = CLAIMS
            .range()
            .starting_at(&CLAIMS.key_bytes(first))
            .before(&CLAIMS.prefix_range(last).end.unwrap_or_default());
        let txn = self.objects.store().read().await?;
        let scan = Scan::first(range, 2 * ORPHAN_PAGE_BLOBS);
        let claims = CLAIMS.scan_unchecked(&txn, &scan).await?;
        drop(txn);
        // More claims than blobs are claims of blobs already gone: what lies after the last claim read is not known.
        let known_to = claims.last().filter(|_| claims.len() == scan.limit).map_or(*last, |(id, _)| *id);
        let claimed: BTreeSet<BlobId> = claims.into_iter().map(|(id, _)| id).collect();
        let orphans: Vec<BlobId> = listed
            .iter()
            .filter(|id| **id <= known_to && id.created() < old && !claimed.contains(id))
            .copied()
            .collect();
        if !orphans.is_empty() {
            tracing::info!(blobs = orphans.len(), "deleting blobs that no row names");
            self.objects.blobs().delete(&orphans).await?;
        }
        let more = known_to < *last || listed.len() == ORPHAN_PAGE_BLOBS;
        Ok(more.then_some(known_to))
    }

    /// Trims old change-log rows of one bucket; where to go on, or `None` after the last bucket.
    async fn trim_step(&self, now: Timestamp) -> Result<Option<Bytes>> {
        let old = now.minus(self.objects.limits().changes_kept);
        let mut range = CHANGES.range();
        if let Some(cursor) = &self.trim.cursor {
            range = range.starting_at(cursor);
        }
        let mut txn = self.objects.store().begin().await?;
        let rows = CHANGES.scan_unchecked(&txn, &Scan::first(range, CHANGES_PER_TRANSACTION)).await?;
        let Some(((bucket, _), _)) = rows.first() else {
            return Ok(None);
        };
        let bucket = *bucket;
        let is_old = |row: &crate::rows::ChangesRow| row.changes.first().is_none_or(|change| change.at < old);
        let trimmed: Vec<_> =
            rows.iter().take_while(|((of, _), row)| *of == bucket && is_old(row)).map(|(key, _)| *key).collect();
        for key in &trimmed {
            CHANGES.delete(&mut txn, key);
        }
        let all_old = trimmed.len() == rows.len();
        txn.commit().await?;
        // Nothing newer than the first row that stays needs a look: seek to the next bucket.
        Ok(if all_old { Some(CHANGES.prefix_range(&bucket).start) } else { CHANGES.prefix_range(&bucket).end })
    }
}

#[cfg(test)]
mod tests;
