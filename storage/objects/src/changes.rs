//! The change log: what happened to the objects of a bucket, in commit order.
//!
//! Written in the transaction of the change itself, so it neither misses one nor invents one; read by the layers above
//! at their own pace. Rows older than [`Limits::changes_kept`](crate::Limits::changes_kept) are trimmed by the sweeper.

use crate::record::VersionId;
use crate::rows::{CHANGES, ChangesRow};
use crate::{Objects, Result};
use cistern_metadata::{Scan, Transaction};
use cistern_types::{BucketId, ETag, ObjectKey, Timestamp};
use serde::{Deserialize, Serialize};

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// An object has come, over another perhaps.
    Created,
    /// An object has gone.
    Deleted,
}

/// What brought a change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChangeCause {
    /// A body that was sent, or one that a pipeline made.
    Put,
    /// A copy of another object.
    Copy,
    /// The completion of a multipart upload.
    CompleteMultipartUpload,
    /// A request to delete.
    Delete,
    /// A request to delete that left a delete marker.
    DeleteMarker,
}

impl ChangeCause {
    /// What it did.
    pub fn kind(self) -> ChangeKind {
        match self {
            Self::Put | Self::Copy | Self::CompleteMultipartUpload => ChangeKind::Created,
            Self::Delete | Self::DeleteMarker => ChangeKind::Deleted,
        }
    }
}

/// A change of one object. Of a deleted one it tells what was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What brought it about.
    pub cause: ChangeCause,
    /// The object's key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// Its tag.
    pub etag: ETag,
    /// The name of the state that came or went.
    pub version: VersionId,
    /// When it happened.
    pub at: Timestamp,
}

/// The changes of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampedChanges {
    /// The commit's stamp: later commits have greater ones.
    pub stamp: u64,
    /// What it changed in the bucket.
    pub changes: Vec<Change>,
}

impl Objects {
    /// Changes of a bucket after the commit `after`, or from the oldest kept, of at most `limit` commits.
    pub async fn changes(&self, bucket: BucketId, after: Option<u64>, limit: usize) -> Result<Vec<StampedChanges>> {
        let txn = self.store().read().await?;
        let mut range = CHANGES.prefix_range(&bucket);
        if let Some(after) = after {
            range = range.after(&CHANGES.key_bytes(&(bucket, after)));
        }
        let rows = CHANGES.scan_unchecked(&txn, &Scan::first(range, limit)).await?;
        Ok(rows.into_iter().map(|((_, stamp), row)| StampedChanges { stamp, changes: row.changes }).collect())
    }
}

/// Writes the changes of a transaction to one bucket; at most once a bucket and transaction.
pub(crate) fn put_changes(txn: &mut Transaction, bucket: BucketId, changes: Vec<Change>) -> Result<()> {
    if !changes.is_empty() {
        CHANGES.put_stamped(txn, &bucket, &ChangesRow { changes })?;
    }
    Ok(())
}
