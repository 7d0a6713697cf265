//! The commit point of every change of an object: before the transaction commits nothing is visible, after it all is.
//!
//! Above: `put`, `copy`, `multipart` and, through `stage` and `replace`, the pipelines; `delete`; `transition`. Below: one transaction
//! with the object row, the claims of its blobs, the change-log row and the garbage row of what it replaces. A crash before it
//! leaves blobs that no row claims, which the sweeper deletes; a crash after it loses nothing.

use crate::attributes::Attributes;
use crate::bucket::BucketRecord;
use crate::changes::{Change, ChangeCause, put_changes};
use crate::conditions::{Conditions, DeleteConditions};
use crate::delete::{DeleteItem, DeleteOutcome};
use crate::garbage::{release, release_extents};
use crate::record::{Extent, Layout, ObjectHeaders, ObjectRecord, StoredChecksum, VersionId, VersionRef};
use crate::rows::{CLAIMS, Marker, OBJECTS, ObjectHead, ObjectRow, VersionRow, extents, put_extents};
use crate::settings::Versioning;
use crate::transition::TransitionOutcome;
use crate::versions::{self, displace, find, newest, put_back, put_marker};
use crate::{Error, Objects, Result};
use cistern_metadata::Transaction;
use cistern_types::{BlobId, ETag, ObjectKey, Receipt, StorageClass, Timestamp};

/// An object whose bytes are written and whose row is not.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) headers: ObjectHeaders,
    pub(crate) attributes: Attributes,
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
    let (records, changes) = write_objects(objects, txn, bucket, items).await?;
    put_changes(txn, bucket.id, changes)?;
    Ok(records)
}

async fn write_objects(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    items: &[CommitItem<'_>],
) -> Result<(Vec<ObjectRecord>, Vec<Change>)> {
    let now = objects.now();
    let due = now.plus(objects.limits().garbage_grace);
    let mut records = Vec::with_capacity(items.len());
    let mut changes = Vec::with_capacity(items.len());
    for CommitItem { key, new, conditions } in items {
        assert_eq!(new.extents.iter().map(|extent| extent.length).sum::<u64>(), new.size, "extents are the object");
        let row_key = (bucket.id, (*key).clone());
        let present = OBJECTS.get(txn, &row_key).await?;
        conditions.check_write(present.as_ref().map(|row| (row.head.etag, row.head.modified)), &bucket.name, key)?;
        for (blob, receipt) in &new.fresh {
            claim(objects, txn, *blob, *receipt, now)?;
        }
        let mut freed = Vec::new();
        let version = displace(txn, bucket, key, present, now, &mut freed).await?;
        let head = ObjectHead {
            size: new.size,
            etag: new.etag,
            modified: now,
            version,
            null: bucket.settings.versioning != Versioning::Enabled,
            class: new.class,
            checksum: new.checksum.clone(),
            parts: new.parts,
        };
        let row = ObjectRow {
            head,
            headers: new.headers.clone(),
            attributes: bucket.attributes_of_new(&new.attributes, now)?,
            layout: put_extents(txn, version, &new.extents)?,
        };
        OBJECTS.put(txn, &row_key, &row)?;
        for replaced in freed {
            release_row(txn, due, replaced)?;
        }
        changes.push(change(new.cause, key, &row, now));
        records.push(row.into_record((*key).clone(), bucket));
    }
    Ok((records, changes))
}

/// Deletes in one bucket in the transaction, on the terms of [`commit_objects`]: current objects, by a delete marker where the bucket
/// keeps versions, and versions that are named. What all of them leave goes into few garbage rows.
pub(crate) async fn commit_deletes(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    items: &[DeleteItem],
) -> Result<Vec<DeleteOutcome>> {
    let (outcomes, changes) = delete_objects(objects, txn, bucket, items).await?;
    put_changes(txn, bucket.id, changes)?;
    Ok(outcomes)
}

async fn delete_objects(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    items: &[DeleteItem],
) -> Result<(Vec<DeleteOutcome>, Vec<Change>)> {
    let now = objects.now();
    let due = now.plus(objects.limits().garbage_grace);
    let mut outcomes = Vec::with_capacity(items.len());
    let mut deletion = Deletion { now, freed: Vec::new(), changes: Vec::new() };
    for DeleteItem { key, version, conditions, bypass_governance } in items {
        outcomes.push(match version {
            None => deletion.delete_current(txn, bucket, key, conditions).await?,
            Some(version) => {
                let check = |row: &VersionRow| check_removal(row, conditions, now, *bypass_governance);
                deletion.remove_version(txn, bucket, key, *version, check).await?
            }
        });
    }
    let mut blobs = Vec::new();
    for row in deletion.freed {
        match row.layout {
            Layout::Inline(extents) => blobs.extend(extents.iter().map(|extent| extent.blob)),
            Layout::Rows { rows } => release_extents(txn, due, row.head.version, rows)?,
        }
    }
    release(txn, due, &blobs)?;
    Ok((outcomes, deletion.changes))
}

/// Writes one object in the place of others of its bucket, on the terms of [`commit_objects`]. `None`, and the transaction is to be
/// dropped: one of `sources` is no longer the current object as its record says, or its key has an object already.
pub(crate) async fn commit_replacement(
    objects: &Objects,
    txn: &mut Transaction,
    bucket: &BucketRecord,
    item: CommitItem<'_>,
    sources: &[ObjectRecord],
) -> Result<Option<ObjectRecord>> {
    for source in sources {
        let present = OBJECTS.get(txn, &(bucket.id, source.key.clone())).await?;
        let same = |row: &ObjectRow| row.head.version == source.version && row.attributes == source.attributes;
        let Some(row) = present.filter(same) else { return Ok(None) };
        row.attributes.check_deletable(objects.now(), false)?;
    }
    if OBJECTS.get(txn, &(bucket.id, item.key.clone())).await?.is_some() {
        return Ok(None);
    }
    let (mut records, mut changes) = write_objects(objects, txn, bucket, &[item]).await?;
    let items: Vec<DeleteItem> = sources.iter().map(|source| source.key.clone().into()).collect();
    let (_, deleted) = delete_objects(objects, txn, bucket, &items).await?;
    changes.extend(deleted);
    put_changes(txn, bucket.id, changes)?;
    Ok(records.pop())
}

/// What deletes of one transaction leave behind.
struct Deletion {
    now: Timestamp,
    freed: Vec<ObjectRow>,
    changes: Vec<Change>,
}

impl Deletion {
    async fn delete_current(
        &mut self,
        txn: &mut Transaction,
        bucket: &BucketRecord,
        key: &ObjectKey,
        conditions: &DeleteConditions,
    ) -> Result<DeleteOutcome> {
        let row_key = (bucket.id, key.clone());
        let present = OBJECTS.get(txn, &row_key).await?;
        match &present {
            Some(row) => conditions.check((row.head.etag, row.head.modified, row.head.size))?,
            None if conditions.is_empty() => {}
            // conditions on nothing at all: nothing is deleted, and no delete marker is made of it
            None if newest(txn, bucket.id, key).await?.is_none() => return Ok(DeleteOutcome::default()),
            None => conditions.check_marker()?,
        }
        if bucket.settings.versioning == Versioning::Unversioned {
            let Some(row) = present else { return Ok(DeleteOutcome::default()) };
            OBJECTS.delete(txn, &row_key);
            self.changes.push(change(ChangeCause::Delete, key, &row, self.now));
            let version = Some(row.head.version);
            self.freed.push(row);
            return Ok(DeleteOutcome { version, ..DeleteOutcome::default() });
        }
        let removed = present.as_ref().map(|row| row.head.version);
        let (size, etag) = present.as_ref().map_or((0, EMPTY_ETAG), |row| (row.head.size, row.head.etag));
        let version = displace(txn, bucket, key, present, self.now, &mut self.freed).await?;
        let shown = put_marker(txn, bucket, key, version, self.now)?;
        let (key, at) = (key.clone(), self.now);
        self.changes.push(Change { cause: ChangeCause::DeleteMarker, key, size, etag, version, at });
        Ok(DeleteOutcome { version: removed, shown_version: Some(shown), delete_marker: true })
    }

    async fn remove_version(
        &mut self,
        txn: &mut Transaction,
        bucket: &BucketRecord,
        key: &ObjectKey,
        version: VersionRef,
        check: impl FnOnce(&VersionRow) -> Result<()> + Send,
    ) -> Result<DeleteOutcome> {
        let mut outcome = DeleteOutcome { shown_version: Some(version), ..DeleteOutcome::default() };
        match versions::remove(txn, bucket.id, key, version, check).await? {
            None => {}
            Some(VersionRow::DeleteMarker(row)) => {
                outcome.delete_marker = true;
                outcome.version = Some(row.version);
            }
            Some(VersionRow::Object(row)) => {
                self.changes.push(change(ChangeCause::Delete, key, &row, self.now));
                outcome.version = Some(row.head.version);
                self.freed.push(*row);
            }
        }
        Ok(outcome)
    }
}

/// The tag that the change log has for a delete marker over nothing: that of no bytes.
const EMPTY_ETAG: ETag =
    ETag::Md5([0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e]);

fn check_removal(row: &VersionRow, conditions: &DeleteConditions, now: Timestamp, bypass: bool) -> Result<()> {
    match row {
        VersionRow::Object(row) => {
            conditions.check((row.head.etag, row.head.modified, row.head.size))?;
            row.attributes.check_deletable(now, bypass)
        }
        VersionRow::DeleteMarker(_) => Ok(()),
    }
}

/// The bytes of a version, written once more in another class.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) version: VersionId,
    /// How clients name it.
    pub(crate) shown: VersionRef,
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
    let found = match find(txn, bucket.id, key, new.shown).await? {
        Some(found) => found.object().ok(),
        None => None,
    };
    let Some(mut row) = found.filter(|row| row.head.version == new.version) else {
        return Ok(TransitionOutcome::Superseded);
    };
    if row.head.class == new.class {
        return Ok(TransitionOutcome::AlreadyThere);
    }
    // moved there and back meanwhile, it is on other blobs
    if extents(txn, row.head.version, &row.layout).await? != new.old {
        return Ok(TransitionOutcome::Superseded);
    }
    for (blob, receipt) in &new.fresh {
        claim(objects, txn, *blob, *receipt, now)?;
    }
    let moved = |(old, (blob, _)): (&Extent, &(BlobId, Receipt))| Extent { blob: *blob, ..old.clone() };
    let moved: Vec<Extent> = new.old.iter().zip(&new.fresh).map(moved).collect();
    // extent rows are written over: they have the same version
    row.layout = put_extents(txn, new.version, &moved)?;
    row.head.class = new.class;
    if !put_back(txn, bucket.id, key, row).await? {
        return Ok(TransitionOutcome::Superseded);
    }
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
        Layout::Rows { rows } => release_extents(txn, due, row.head.version, rows),
    }
}

fn change(cause: ChangeCause, key: &ObjectKey, row: &ObjectRow, at: Timestamp) -> Change {
    Change { cause, key: key.clone(), size: row.head.size, etag: row.head.etag, version: row.head.version, at }
}
