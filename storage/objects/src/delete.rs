//! DELETE: one object or version, or many in few transactions.

use crate::commit::commit_deletes;
use crate::conditions::DeleteConditions;
use crate::record::{VersionId, VersionRef};
use crate::retry::Tries;
use crate::{Objects, Result};
use cistern_types::{BucketName, ObjectKey};
use std::ops::Range;

/// How many objects one transaction deletes at most. Each may name 16 blobs (256 bytes of a garbage row), so these stay
/// within a row.
const KEYS_PER_TRANSACTION: usize = 200;

/// How many bytes of keys one transaction deletes at most: all of them go into one change-log row of at most 100 KB.
const KEY_BYTES_PER_TRANSACTION: usize = 64 << 10;

/// One delete.
#[derive(Debug, Clone)]
pub struct DeleteItem {
    /// The key.
    pub key: ObjectKey,
    /// The version to remove for good; without one the current object is deleted, by a delete marker where the bucket keeps versions.
    pub version: Option<VersionRef>,
    /// What must be so of what is deleted.
    pub conditions: DeleteConditions,
    /// Whether a version goes too that is retained under governance; the caller has checked that the asker may.
    pub bypass_governance: bool,
}

impl From<ObjectKey> for DeleteItem {
    fn from(key: ObjectKey) -> Self {
        Self { key, version: None, conditions: DeleteConditions::default(), bypass_governance: false }
    }
}

/// What a delete did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The name of the state that is current no more, or was removed; `None` when there was none.
    pub version: Option<VersionId>,
    /// The version id that clients are told: the delete marker that was made, or the version that was named.
    pub shown_version: Option<VersionRef>,
    /// Whether a delete marker was made, or the version that was removed was one.
    pub delete_marker: bool,
}

impl Objects {
    /// Deletes an object. Deleting what is not there succeeds and changes nothing, except that a bucket that keeps versions gets a
    /// delete marker.
    pub async fn delete(&self, bucket: &BucketName, key: &ObjectKey) -> Result<DeleteOutcome> {
        self.delete_one(bucket, key.clone().into()).await
    }

    /// Deletes an object or one version. `ObjectLocked` for a version that is held or retained.
    pub async fn delete_one(&self, bucket: &BucketName, item: DeleteItem) -> Result<DeleteOutcome> {
        let _turn = self.turns().take(bucket, &item.key).await;
        let mut outcomes = self.delete_together(bucket, std::slice::from_ref(&item)).await?;
        Ok(outcomes.pop().expect("one outcome for each item"))
    }

    /// Deletes many objects or versions, a few hundred in a transaction; the answers are in the order of `items`. An `Err` of
    /// the whole means that the bucket is not there.
    pub async fn delete_many(
        &self,
        bucket: &BucketName,
        items: Vec<DeleteItem>,
    ) -> Result<Vec<(DeleteItem, Result<DeleteOutcome>)>> {
        self.bucket(bucket).await?;
        let mut answers = Vec::with_capacity(items.len());
        for range in transactions_of(&items) {
            match self.delete_together(bucket, &items[range.clone()]).await {
                Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
                // Which of them it was is not known: one by one, each gets its own answer.
                Err(_) => {
                    for item in &items[range] {
                        answers.push(self.delete_one(bucket, item.clone()).await);
                    }
                }
            }
        }
        Ok(items.into_iter().zip(answers).collect())
    }

    async fn delete_together(&self, bucket: &BucketName, items: &[DeleteItem]) -> Result<Vec<DeleteOutcome>> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, bucket).await?;
            let outcomes = commit_deletes(self, &mut txn, &bucket, items).await?;
            if tries.commit(txn).await? {
                return Ok(outcomes);
            }
        }
    }
}

fn transactions_of(items: &[DeleteItem]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let length = item.key.as_str().len();
        if at - start == KEYS_PER_TRANSACTION || bytes + length > KEY_BYTES_PER_TRANSACTION {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    ranges.push(start..items.len());
    ranges
}

#[cfg(test)]
mod tests;
