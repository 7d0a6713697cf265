//! DELETE: one object, or many in few transactions.

use crate::commit::commit_deletes;
use crate::record::VersionId;
use crate::retry::Tries;
use crate::{Objects, Result};
use cistern_types::{BucketName, ObjectKey};
use std::ops::Range;

/// How many objects one transaction deletes at most. Each may name 16 blobs (256 bytes of a garbage row), so these stay
/// within a row.
const KEYS_PER_TRANSACTION: usize = 200;

/// How many bytes of keys one transaction deletes at most: all of them go into one change-log row of at most 100 KB.
const KEY_BYTES_PER_TRANSACTION: usize = 64 << 10;

/// What a delete found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The name of the state that was deleted; `None` when there was no object.
    pub version: Option<VersionId>,
}

impl Objects {
    /// Deletes an object. Deleting what is not there succeeds and changes nothing.
    pub async fn delete(&self, bucket: &BucketName, key: &ObjectKey) -> Result<DeleteOutcome> {
        let _turn = self.turns().take(bucket, key).await;
        let mut outcomes = self.delete_together(bucket, std::slice::from_ref(key)).await?;
        Ok(outcomes.pop().expect("one outcome for each key"))
    }

    /// Deletes many objects, a few hundred in a transaction; the answers are in the order of `keys`. An `Err` of the
    /// whole means that the bucket is not there.
    pub async fn delete_many(
        &self,
        bucket: &BucketName,
        keys: Vec<ObjectKey>,
    ) -> Result<Vec<(ObjectKey, Result<DeleteOutcome>)>> {
        self.bucket(bucket).await?;
        let mut answers = Vec::with_capacity(keys.len());
        for range in transactions_of(&keys) {
            match self.delete_together(bucket, &keys[range.clone()]).await {
                Ok(outcomes) => answers.extend(outcomes.into_iter().map(Ok)),
                // Which of them it was is not known: one by one, each gets its own answer.
                Err(_) => {
                    for key in &keys[range] {
                        answers.push(self.delete(bucket, key).await);
                    }
                }
            }
        }
        Ok(keys.into_iter().zip(answers).collect())
    }

    async fn delete_together(&self, bucket: &BucketName, keys: &[ObjectKey]) -> Result<Vec<DeleteOutcome>> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, bucket).await?;
            let versions = commit_deletes(self, &mut txn, &bucket, keys).await?;
            if tries.commit(txn).await? {
                return Ok(versions.into_iter().map(|version| DeleteOutcome { version }).collect());
            }
        }
    }
}

fn transactions_of(keys: &[ObjectKey]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, key) in keys.iter().enumerate() {
        let length = key.as_str().len();
        if at - start == KEYS_PER_TRANSACTION || bytes + length > KEY_BYTES_PER_TRANSACTION {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    ranges.push(start..keys.len());
    ranges
}

#[cfg(test)]
mod tests;
