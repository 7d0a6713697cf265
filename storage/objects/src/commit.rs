//! The commit point of every change of an object: before the transaction commits nothing is visible, after it all is.
//!
//! Above: `put`, `copy`, `multipart` and, through `stage`, the pipelines; `delete`; `transition`. Below: one transaction with the
//! object row, the claims of its blobs, the change-log row and the garbage row of what it replaces. A crash before it
//! leaves blobs that no row claims, which the sweeper deletes; a crash after it loses nothing.

use crate::changes::{Change, ChangeCause, put_changes};
use crate::conditions::Conditions;
use crate::garbage::{release, release_extents};
use crate::record::{Extent, Layout, ObjectHeaders, ObjectRecord, StoredChecksum, VersionId};
use crate::rows::{CLAIMS, Marker, OBJECTS, ObjectRow, extents, put_extents};
use crate::transition::TransitionOutcome;
use crate::{BucketRecord, Error, Objects, Result};
use cistern_metadata::Transaction;
use cistern_types::{BlobId, ETag, ObjectKey, Receipt, StorageClass, Timestamp};

/// An object whose bytes are written and whose row is not.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) headers: ObjectHeaders,
    pub(crate) class: StorageClass,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) checksum: Option<StoredChecksum>,
    pub(crate) extents: Vec<Extent>,
    /// Of how many parts it was made.
    pub(crate) parts: Option<u32>,
    /// Those of its blobs that no row claims yet. The parts of an upload are claimed already.
    pub(crate) fresh: Vec<(BlobId, Receipt)>,
    pub(crate) cause: ChangeCause,
}

/// One object that a transaction writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitItem<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) new: &'a NewObject,
    pub(crate) conditions: &'a Conditions,
}

/// Writes objects of one bucket in the transaction, at most once a bucket and transaction. The bucket must have been
/// read in the same transaction, so that it is still there when this commits.
pub(crate) async fn commit_objects(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    items: &[CommitItem<'_>],
) -> Result<Vec<ObjectRecord>> {
    let now = objects.now();
    let due = now.plus(objects.limits().garbage_grace);
    let mut records = Vec::with_capacity(items.len());
    let mut changes = Vec::with_capacity(items.len());
    for CommitItem { key, new, conditions } in items {
        assert_eq!(new.extents.iter().map(|extent| extent.length).sum::<u64>(), new.size, "extents are the object");
        let row_key = (bucket.id, (*key).clone());
        let present = OBJECTS.get(txn, &row_key).await?;
        conditions.check_write(present.as_ref().map(|row| (row.etag, row.modified)), &bucket.name, key)?;
        for (blob, receipt) in &new.fresh {
            claim(objects, txn, *blob, *receipt, now)?;
        }
        let version = VersionId::random();
        let row = ObjectRow {
            size: new.size,
            etag: new.etag,
            modified: now,
            version,
            class: new.class,
            checksum: new.checksum.clone(),
            parts: new.parts,
            headers: new.headers.clone(),
            layout: put_extents(txn, version, &new.extents)?,
        };
        OBJECTS.put(txn, &row_key, &row)?;
        if let Some(replaced) = present {
            release_row(txn, due, replaced)?;
        }
        changes.push(change(new.cause, key, &row, now));
        records.push(row.into_record((*key).clone()));
    }
    put_changes(txn, bucket.id, changes)?;
    Ok(records)
}

/// Removes objects of one bucket in the transaction, on the terms of [`commit_objects`]; answers which were there. What
/// all of them name goes into few garbage rows.
pub(crate) async fn commit_deletes(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    keys: &[ObjectKey],
) -> Result<Vec<Option<VersionId>>> {
    let now = objects.now();
    let due = now.plus(objects.limits().garbage_grace);
    let mut versions = Vec::with_capacity(keys.len());
    let mut changes = Vec::new();
    let mut blobs = Vec::new();
    for key in keys {
        let row_key = (bucket.id, key.clone());
        let Some(row) = OBJECTS.get(txn, &row_key).await? else {
            versions.push(None);
            continue;
        };
        OBJECTS.delete(txn, &row_key);
        changes.push(change(ChangeCause::Delete, key, &row, now));
        versions.push(Some(row.version));
        match row.layout {
            Layout::Inline(extents) => blobs.extend(extents.iter().map(|extent| extent.blob)),
            Layout::Rows { rows } => release_extents(txn, due, row.version, rows)?,
        }
    }
    release(txn, due, &blobs)?;
    put_changes(txn, bucket.id, changes)?;
    Ok(versions)
}

/// The bytes of a version, written once more in another class.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) version: VersionId,
    pub(crate) class: StorageClass,
    /// Where they lie.
    pub(crate) old: Vec<Extent>,
    /// Where they lie too, extent by extent.
    pub(crate) fresh: Vec<(BlobId, Receipt)>,
}

/// Has an object's row name other blobs with the same bytes, if it still is that version on the blobs that were read. Nothing else of it
/// changes, so it is no change for those who follow the change log.
pub(crate) async fn commit_transition(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    key: &ObjectKey,
    new: &Rewritten,
) -> Result<TransitionOutcome> {
    let now = objects.now();
    let row_key = (bucket.id, key.clone());
    let Some(mut row) = OBJECTS.get(txn, &row_key).await?.filter(|row| row.version == new.version) else {
        return Ok(TransitionOutcome::Superseded);
    };
    if row.class == new.class {
        return Ok(TransitionOutcome::AlreadyThere);
    }
    // moved there and back meanwhile, it is on other blobs
    if extents(txn, row.version, &row.layout).await? != new.old {
        return Ok(TransitionOutcome::Superseded);
    }
    for (blob, receipt) in &new.fresh {
        claim(objects, txn, *blob, *receipt, now)?;
    }
    let moved = |(old, (blob, _)): (&Extent, &(BlobId, Receipt))| Extent { blob: *blob, length: old.length };
    let moved: Vec<Extent> = new.old.iter().zip(&new.fresh).map(moved).collect();
    // extent rows are written over: they have the same version
    row.layout = put_extents(txn, new.version, &moved)?;
    row.class = new.class;
    OBJECTS.put(txn, &row_key, &row)?;
    let blobs: Vec<BlobId> = new.old.iter().map(|extent| extent.blob).collect();
    release(txn, now.plus(objects.limits().garbage_grace), &blobs)?;
    Ok(TransitionOutcome::Moved)
}

/// Makes the transaction claim a blob that has just been written, and wait for its bytes.
///
/// Refuses a blob so old that the orphan pass may be about to delete it: this and the age the pass waits for are what
/// keeps it from ever deleting a blob that a row names.
pub(crate) fn claim(
    objects: &Objects,
    txn: &mut Transaction,
    blob: BlobId,
    receipt: Receipt,
    now: Timestamp,
) -> Result<()> {
    let limit = objects.limits().staged_age_max();
    if now.since(blob.created()) > limit {
        return Err(Error::UploadTooSlow { limit_seconds: limit.as_secs() });
    }
    CLAIMS.put(txn, &blob, &Marker)?;
    txn.require(receipt);
    Ok(())
}

fn release_row(txn: &mut Transaction, due: Timestamp, row: ObjectRow) -> Result<()> {
    match row.layout {
        Layout::Inline(extents) => {
            let blobs: Vec<BlobId> = extents.iter().map(|extent| extent.blob).collect();
            release(txn, due, &blobs)
        }
        Layout::Rows { rows } => release_extents(txn, due, row.version, rows),
    }
}

fn change(cause: ChangeCause, key: &ObjectKey, row: &ObjectRow, at: Timestamp) -> Change {
    Change { cause, key: key.clone(), size: row.size, etag: row.etag, version: row.version, at }
}
