//! The versions of a key: which rows they are, and how they change places.
//!
//! ```text
//! OBJECTS        bucket, key            the current object; no row when the key has none or its newest state is a delete marker
//! VERSIONS       bucket, key, version   everything else: older objects and all delete markers, the newest first
//! NULL_VERSIONS  bucket, key            which of VERSIONS is the null version, if one is
//! ```
//! So a list of objects never meets what is not current, and a bucket without versions never has a row in the other two
//! tables. Two rules hold in every committed state: when a key has no row in OBJECTS, the newest in VERSIONS is a delete
//! marker; and at most one version of a key is the null version.

use crate::bucket::BucketRecord;
use crate::record::{VersionId, VersionRef};
use crate::rows::{MarkerRow, NULL_VERSIONS, NullRow, OBJECTS, ObjectRow, VERSIONS, VersionRow};
use crate::settings::Versioning;
use crate::{Error, Result};
use cistern_metadata::{Scan, Transaction};
use cistern_types::{BucketId, ObjectKey, Timestamp};

/// One version of a key, wherever it stands.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is the current object.
    Current(Box<ObjectRow>),
    /// It is one of the others.
    Other(VersionRow),
}

impl Found {
    /// The object that it is, or an error that says it is a delete marker.
    pub(crate) fn object(self) -> Result<ObjectRow> {
        match self {
            Self::Current(row) | Self::Other(VersionRow::Object(row)) => Ok(*row),
            Self::Other(VersionRow::DeleteMarker(row)) => {
                Err(Error::IsDeleteMarker { version: VersionRef::of(row.version, row.null), modified: row.modified })
            }
        }
    }
}

fn newest_scan(bucket: BucketId, key: &ObjectKey) -> Scan {
    Scan::first(VERSIONS.prefix_range(&(bucket, key.clone())), 1)
}

/// The newest version that is not the current object. What others do to it does not matter to the transaction.
pub(crate) async fn peek_newest(txn: &Transaction, bucket: BucketId, key: &ObjectKey) -> Result<Option<VersionRow>> {
    let rows = VERSIONS.scan_unchecked(txn, &newest_scan(bucket, key)).await?;
    Ok(rows.into_iter().next().map(|(_, row)| row))
}

/// The same, and the transaction depends on it.
pub(crate) async fn newest(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey) -> Result<Option<VersionRow>> {
    let rows = VERSIONS.scan(txn, &newest_scan(bucket, key)).await?;
    Ok(rows.into_iter().next().map(|(_, row)| row))
}

/// The version of that name.
pub(crate) async fn find(
    txn: &Transaction,
    bucket: BucketId,
    key: &ObjectKey,
    version: VersionRef,
) -> Result<Option<Found>> {
    let place = (bucket, key.clone());
    if let Some(row) = OBJECTS.peek(txn, &place).await?
        && VersionRef::of(row.head.version, row.head.null) == version
    {
        return Ok(Some(Found::Current(Box::new(row))));
    }
    let id = match version {
        VersionRef::Id(id) => id,
        VersionRef::Null => match NULL_VERSIONS.peek(txn, &place).await? {
            Some(row) => row.version,
            None => return Ok(None),
        },
    };
    let row = VERSIONS.peek(txn, &(bucket, key.clone(), id)).await?;
    Ok(row.filter(|row| VersionRef::of(row.version(), row.is_null()) == version).map(Found::Other))
}

/// Puts a changed row of an object back where it stands. `false`: that version is not there any more.
pub(crate) async fn put_back(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey, row: ObjectRow) -> Result<bool> {
    let place = (bucket, key.clone());
    if OBJECTS.get(txn, &place).await?.is_some_and(|present| present.head.version == row.head.version) {
        OBJECTS.put(txn, &place, &row)?;
        return Ok(true);
    }
    let place = (bucket, key.clone(), row.head.version);
    if VERSIONS.get(txn, &place).await?.is_none() {
        return Ok(false);
    }
    VERSIONS.put(txn, &place, &VersionRow::Object(Box::new(row)))?;
    Ok(true)
}

/// Moves what is current out of the way of a new state of the key, as the bucket's versioning asks, and answers the id that
/// the new state gets. Objects whose bytes nobody needs any more are added to `freed`.
pub(crate) async fn displace(
    txn: &mut Transaction,
    bucket: &BucketRecord,
    key: &ObjectKey,
    present: Option<ObjectRow>,
    now: Timestamp,
    freed: &mut Vec<ObjectRow>,
) -> Result<VersionId> {
    let versioning = bucket.settings.versioning;
    if versioning == Versioning::Unversioned {
        let newest = present.as_ref().map(|row| row.head.version);
        freed.extend(present);
        return Ok(VersionId::after(newest, now));
    }
    let newest = match &present {
        Some(row) => Some(row.head.version),
        None => newest(txn, bucket.id, key).await?.map(|row| row.version()),
    };
    let suspended = versioning == Versioning::Suspended;
    match present {
        Some(row) if suspended && row.head.null => freed.push(row),
        present => {
            if suspended {
                freed.extend(remove_null(txn, bucket.id, key).await?);
            }
            if let Some(row) = present {
                put_other(txn, bucket.id, key, &VersionRow::Object(Box::new(row)))?;
            }
        }
    }
    OBJECTS.delete(txn, &(bucket.id, key.clone()));
    Ok(VersionId::after(newest, now))
}

/// Makes a delete marker the newest state of a key. The current object must have been displaced.
pub(crate) fn put_marker(
    txn: &mut Transaction,
    bucket: &BucketRecord,
    key: &ObjectKey,
    version: VersionId,
    now: Timestamp,
) -> Result<VersionRef> {
    let null = bucket.settings.versioning != Versioning::Enabled;
    put_other(txn, bucket.id, key, &VersionRow::DeleteMarker(MarkerRow { version, null, modified: now }))?;
    Ok(VersionRef::of(version, null))
}

/// Removes one version if `check` allows it, and makes the next one current when it is an object's turn.
pub(crate) async fn remove(
    txn: &mut Transaction,
    bucket: BucketId,
    key: &ObjectKey,
    version: VersionRef,
    check: impl FnOnce(&VersionRow) -> Result<()> + Send,
) -> Result<Option<VersionRow>> {
    let place = (bucket, key.clone());
    let present = OBJECTS.get(txn, &place).await?;
    let is_current = present.as_ref().is_some_and(|row| VersionRef::of(row.head.version, row.head.null) == version);
    let other_is_current = present.is_some() && !is_current;
    let removed = match present.filter(|_| is_current) {
        Some(row) => VersionRow::Object(Box::new(row)),
        None => match other(txn, bucket, key, version).await? {
            Some(row) => row,
            None => return Ok(None),
        },
    };
    check(&removed)?;
    if is_current {
        OBJECTS.delete(txn, &place);
    } else {
        delete_other(txn, bucket, key, &removed);
    }
    if !other_is_current {
        promote(txn, bucket, key).await?;
    }
    Ok(Some(removed))
}

/// One of the versions that are not current.
async fn other(
    txn: &mut Transaction,
    bucket: BucketId,
    key: &ObjectKey,
    version: VersionRef,
) -> Result<Option<VersionRow>> {
    let id = match version {
        VersionRef::Id(id) => id,
        VersionRef::Null => match NULL_VERSIONS.get(txn, &(bucket, key.clone())).await? {
            Some(row) => row.version,
            None => return Ok(None),
        },
    };
    let row = VERSIONS.get(txn, &(bucket, key.clone(), id)).await?;
    Ok(row.filter(|row| VersionRef::of(row.version(), row.is_null()) == version))
}

/// When the newest of the versions is an object, it becomes the current one.
async fn promote(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey) -> Result<()> {
    let Some(newest) = newest(txn, bucket, key).await? else { return Ok(()) };
    if let VersionRow::Object(row) = &newest {
        OBJECTS.put(txn, &(bucket, key.clone()), row)?;
        delete_other(txn, bucket, key, &newest);
    }
    Ok(())
}

async fn remove_null(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey) -> Result<Option<ObjectRow>> {
    let Some(row) = other(txn, bucket, key, VersionRef::Null).await? else { return Ok(None) };
    delete_other(txn, bucket, key, &row);
    Ok(match row {
        VersionRow::Object(row) => Some(*row),
        VersionRow::DeleteMarker(_) => None,
    })
}

fn put_other(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey, row: &VersionRow) -> Result<()> {
    if row.is_null() {
        NULL_VERSIONS.put(txn, &(bucket, key.clone()), &NullRow { version: row.version() })?;
    }
    Ok(VERSIONS.put(txn, &(bucket, key.clone(), row.version()), row)?)
}

fn delete_other(txn: &mut Transaction, bucket: BucketId, key: &ObjectKey, row: &VersionRow) {
    if row.is_null() {
        NULL_VERSIONS.delete(txn, &(bucket, key.clone()));
    }
    VERSIONS.delete(txn, &(bucket, key.clone(), row.version()));
}

#[cfg(test)]
mod tests;
