//! One object takes the place of others: it becomes visible and they are deleted, in one transaction of the caller.

use crate::commit::{CommitItem, commit_replacement};
use crate::conditions::Conditions;
use crate::stage::{StagedCommit, StagedObject};
use crate::{ObjectRecord, Objects, Result};
use cistern_metadata::Transaction;

impl Objects {
    /// Makes a staged object part of the caller's transaction in the place of others of its bucket, which are deleted as
    /// [`Objects::delete`] deletes: by delete markers where the bucket keeps versions. All of it happens when, and only when,
    /// that commits. At most one call for a bucket and transaction, and none beside it that writes to that bucket.
    ///
    /// `None`, and the transaction is to be dropped: one of `sources` is not the current object any more, or carries other tags,
    /// locks or access lists than its record says, or the key has an object already. `ObjectLocked` when one is held or retained.
    ///
    /// All keys go into one change-log row: at most some hundred sources, with 64 KB of keys together.
    pub async fn commit_staged_instead(
        &self,
        txn: &mut Transaction,
        commit: StagedCommit<'_>,
        sources: &[ObjectRecord],
    ) -> Result<Option<ObjectRecord>> {
        commit.check_key()?;
        let bucket = self.bucket_in(txn, commit.bucket).await?;
        let item = CommitItem { key: commit.key, new: &commit.staged.new, conditions: &Conditions::default() };
        commit_replacement(self, txn, &bucket, item, sources).await
    }

    /// Throws staged bytes away that certainly no transaction has committed, and none will. Best effort: what is left is swept.
    pub async fn discard_staged(&self, staged: StagedObject) {
        self.discard_fresh(&staged.new.fresh).await;
    }
}

#[cfg(test)]
mod tests;
