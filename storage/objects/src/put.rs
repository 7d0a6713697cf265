//! PUT: a body becomes an object, or nothing changes.

use crate::attributes::Attributes;
use crate::body::{BodyChecks, BodyError};
use crate::changes::ChangeCause;
use crate::commit::{CommitItem, NewObject, commit_objects};
use crate::conditions::Conditions;
use crate::encryption::{Encryption, EncryptionKind, NewSealing};
use crate::record::{ObjectHeaders, ObjectRecord, StoredChecksum, VersionId, VersionRef};
use crate::retry::Tries;
use crate::{BucketRecord, Error, Objects, Result};
use bytes::Bytes;
use cistern_types::{BucketName, ETag, ObjectKey, StorageClass, Timestamp};
use futures::Stream;
use serde::{Deserialize, Serialize};

/// An object to be written.
#[derive(Debug)]
pub struct PutRequest {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The headers to store with it.
    pub headers: ObjectHeaders,
    /// The tags and locks it shall carry.
    pub attributes: Attributes,
    /// How it shall be encrypted.
    pub encryption: Encryption,
    /// Its class; `None` takes the bucket's.
    pub class: Option<StorageClass>,
    /// What is promised about the body.
    pub checks: BodyChecks,
    /// What must be so when it becomes visible.
    pub conditions: Conditions,
}

impl PutRequest {
    /// A plain write without headers, promises and conditions.
    pub fn new(bucket: BucketName, key: ObjectKey) -> Self {
        Self {
            bucket,
            key,
            headers: ObjectHeaders::default(),
            attributes: Attributes::default(),
            encryption: Encryption::None,
            class: None,
            checks: BodyChecks::default(),
            conditions: Conditions::default(),
        }
    }
}

/// An object that has been written, durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutOutcome {
    /// Its tag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum, when one was asked for.
    pub checksum: Option<StoredChecksum>,
    /// The name of this state of it.
    pub version: VersionId,
    /// The version id that clients are told; `None` in a bucket that never kept versions.
    pub shown_version: Option<VersionRef>,
    /// When it was written.
    pub modified: Timestamp,
    /// Its class.
    pub class: StorageClass,
    /// How it is encrypted.
    pub encryption: Option<EncryptionKind>,
}

impl From<&ObjectRecord> for PutOutcome {
    fn from(record: &ObjectRecord) -> Self {
        Self {
            etag: record.etag,
            size: record.size,
            checksum: record.checksum.clone(),
            version: record.version,
            shown_version: record.shown_version,
            modified: record.modified,
            class: record.class,
            encryption: record.encryption(),
        }
    }
}

impl Objects {
    /// Writes an object, over whatever has its key. When it returns `Ok` the object is durable and visible; on an error
    /// nothing has changed, unless the error's kind is `Unavailable`, which leaves it open.
    ///
    /// Nothing is visible before the body has ended cleanly and every one of its checks has held; the conditions are
    /// judged by the transaction that makes it visible.
    pub async fn put(
        &self,
        request: PutRequest,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    ) -> Result<PutOutcome> {
        request.headers.check(self.limits())?;
        let present = self.bucket(&request.bucket).await?;
        self.put_in(&present, request, body).await
    }

    /// The same into the bucket that the caller has read, which is the one that the request names; if it was deleted since, and be
    /// it made anew, the write is refused.
    pub async fn put_in(
        &self,
        present: &BucketRecord,
        request: PutRequest,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    ) -> Result<PutOutcome> {
        let PutRequest { bucket: _, key, headers, attributes, encryption, class, checks, conditions } = request;
        headers.check(self.limits())?;
        present.check_locks(&attributes, self.now())?;
        let class = class.unwrap_or(present.class);
        let (sealing, data_key) = NewSealing::split(self.new_sealing(&encryption, present, &key).await?);
        let staged = self.stage_body(class, checks, data_key.as_ref(), body).await?;
        let attributes = Attributes { sealing, ..attributes };
        let new = staged.into_object(headers, attributes, class, ChangeCause::Put, data_key.as_ref());
        let record = self.commit_new(present, &key, &new, &conditions).await?;
        Ok(PutOutcome::from(&record))
    }

    /// Commits a staged object in a transaction of its own, in that life of the bucket: one that was made anew meanwhile may be
    /// somebody else's. When it is refused, its bytes are thrown away.
    pub(crate) async fn commit_new(
        &self,
        bucket: &BucketRecord,
        key: &ObjectKey,
        new: &NewObject,
        conditions: &Conditions,
    ) -> Result<ObjectRecord> {
        let committed = self.try_commit_new(bucket, key, new, conditions).await;
        if committed.as_ref().is_err_and(Error::nothing_happened) {
            self.discard_fresh(&new.fresh).await;
        }
        committed
    }

    async fn try_commit_new(
        &self,
        begun_in: &BucketRecord,
        key: &ObjectKey,
        new: &NewObject,
        conditions: &Conditions,
    ) -> Result<ObjectRecord> {
        let name = &begun_in.name;
        let _turn = self.turns().take(name, key).await;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, name).await?;
            if bucket.id != begun_in.id {
                return Err(Error::NoSuchBucket { bucket: name.clone() });
            }
            let mut records = commit_objects(self, &mut txn, &bucket, &[CommitItem { key, new, conditions }]).await?;
            if tries.commit(txn).await? {
                return Ok(records.pop().expect("one record for each item"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
