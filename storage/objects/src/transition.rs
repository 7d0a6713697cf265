//! Transition: the bytes of an object move to another storage class; everything a client sees of it but its class stays.
//!
//! ```text
//! read extent n ─▶ write it as a blob of the new class ─┐ nothing visible so far; a crash leaves orphans
//!                                                       ▼
//! commit.rs: still the same version? ─▶ the object row names the new blobs, the old ones are garbage after the grace
//! ```
//! Readers that began before go on with the old bytes. An object that is written or deleted meanwhile stays as that left it.

use crate::commit::{Rewritten, commit_transition};
use crate::record::{ObjectRecord, VersionId, VersionRef};
use crate::retry::Tries;
use crate::rows::extents;
use crate::{Error, Objects, Result};
use cistern_metadata::Transaction;
use cistern_types::{BucketName, ObjectKey, Receipt, StorageClass};
use futures::TryStreamExt;

/// How a transition ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransitionOutcome {
    /// The object is of the new class now.
    Moved,
    /// It was before.
    AlreadyThere,
    /// The object has been written, deleted or moved since: nothing was changed.
    Superseded,
}

impl Objects {
    /// Moves the version `version` of an object to another class, if it is still there, current or not. Version, tag, times, parts and headers stay; so do bytes on their
    /// way to readers. Takes about as long as reading and writing it.
    ///
    /// On an error the object is as it was; what was written is deleted, or swept later.
    pub async fn transition(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionId,
        class: StorageClass,
    ) -> Result<TransitionOutcome> {
        let txn = self.store().read().await?;
        let Some(record) = self.state_of(&txn, bucket, key, version).await? else {
            return Ok(TransitionOutcome::Superseded);
        };
        if record.class == class {
            return Ok(TransitionOutcome::AlreadyThere);
        }
        let old = extents(&txn, version, &record.layout).await?;
        drop(txn);
        let shown = record.shown_version.unwrap_or(VersionRef::Null);
        let mut new = Rewritten { version, shown, class, old, fresh: Vec::new() };
        let moved = match self.rewrite(&mut new).await {
            Ok(()) => self.commit_moved(bucket, key, &new).await,
            Err(error) => Err(error),
        };
        let unused = match &moved {
            Ok(outcome) => *outcome != TransitionOutcome::Moved,
            Err(error) => error.nothing_happened(),
        };
        if unused {
            self.discard_fresh(&new.fresh).await;
        }
        moved
    }

    /// The record of a state of a key, current or not.
    async fn state_of(
        &self,
        txn: &Transaction,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<Option<ObjectRecord>> {
        let bucket = &self.peek_bucket(txn, bucket).await?;
        for named in [None, Some(VersionRef::Id(version)), Some(VersionRef::Null)] {
            match self.record_in(txn, bucket, key, named).await {
                Ok(record) if record.version == version => return Ok(Some(record)),
                Ok(_) | Err(Error::NoSuchKey { .. } | Error::NoSuchVersion { .. } | Error::IsDeleteMarker { .. }) => {}
                Err(Error::NoSuchBucket { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Writes every extent once more, as a blob of the new class.
    async fn rewrite(&self, new: &mut Rewritten) -> Result<()> {
        for extent in &new.old {
            let length = extent.stored_bytes(); // what is sealed moves as it is
            let mut body = self.blobs().read(extent.blob, 0..length).await?;
            let mut writer = self.blobs().writer(new.class).await?;
            // known from here on, so that it is thrown away when anything fails
            new.fresh.push((writer.id(), Receipt::DURABLE));
            while let Some(bytes) = body.try_next().await? {
                writer.write(bytes).await?;
            }
            let written = writer.finish().await?;
            assert_eq!(written.length, length, "the blob store keeps what it was given");
            new.fresh.last_mut().expect("pushed above").1 = written.receipt;
        }
        Ok(())
    }

    async fn commit_moved(&self, bucket: &BucketName, key: &ObjectKey, new: &Rewritten) -> Result<TransitionOutcome> {
        let _turn = self.turns().take(bucket, key).await;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = match self.bucket_in(&mut txn, bucket).await {
                Ok(bucket) => bucket,
                Err(Error::NoSuchBucket { .. }) => return Ok(TransitionOutcome::Superseded),
                Err(error) => return Err(error),
            };
            let outcome = commit_transition(self, &mut txn, &bucket, key, new).await?;
            if outcome != TransitionOutcome::Moved || tries.commit(txn).await? {
                return Ok(outcome);
            }
        }
    }
}

#[cfg(test)]
mod tests;
