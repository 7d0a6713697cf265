//! Multipart uploads as rows: begin, abort, and what the parts, the completion and the lists of them share.
//!
//! An upload is a row; a part is a blob and a row of its own, so parts come in parallel and in any order. Every part's
//! transaction depends on the upload's row, and completion and abort delete it: whichever commits first wins, and no
//! part is left behind.
//!
//! ```text
//! part.rs      put_part, copy_part, parts      complete.rs  complete_upload      open.rs  uploads
//! ```

mod complete;
mod open;
mod part;

pub use complete::{CompleteUpload, CompletedPart};
pub use open::{ListUploads, ListedUpload, UploadPage};
pub use part::{ListedPart, PartCopy, PartOutcome, PartPage};

use crate::attributes::Attributes;
use crate::encryption::{Encryption, EncryptionKind, NewSealing, Sealing};
use crate::garbage::release_upload;
use crate::record::{ChecksumKind, ObjectHeaders};
use crate::retry::Tries;
use crate::rows::{UPLOADS, UploadRow};
use crate::{Error, Objects, Result};
use cistern_metadata::Transaction;
use cistern_types::{BucketId, BucketName, ChecksumAlgorithm, ObjectKey, Owner, StorageClass, Timestamp, UploadId};

/// How many bytes of an upload's id are the time, in milliseconds.
const ID_TIME_BYTES: usize = 6;

/// An upload to begin.
#[derive(Debug, Clone)]
pub struct CreateUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object it will make.
    pub key: ObjectKey,
    /// The headers to store with the object.
    pub headers: ObjectHeaders,
    /// The tags and locks it shall carry.
    pub attributes: Attributes,
    /// How the object shall be encrypted. With a customer key, every request on the upload must bring it again.
    pub encryption: Encryption,
    /// The object's class; `None` takes the bucket's.
    pub class: Option<StorageClass>,
    /// The checksum the object gets.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// Who begins it.
    pub initiator: Owner,
}

/// An upload that has been begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadBegun {
    /// The upload.
    pub upload: UploadId,
    /// When it was begun.
    pub initiated: Timestamp,
    /// How its object will be encrypted.
    pub encryption: Option<EncryptionKind>,
}

/// Names an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRef {
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object it will make.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
}

impl UploadRef {
    fn missing(&self) -> Error {
        Error::NoSuchUpload { bucket: self.bucket.clone(), key: self.key.clone(), upload: self.upload }
    }

    fn row_key(&self, bucket: BucketId) -> (BucketId, ObjectKey, UploadId) {
        (bucket, self.key.clone(), self.upload)
    }
}

impl Objects {
    /// Begins an upload.
    pub async fn create_upload(&self, request: CreateUpload) -> Result<UploadBegun> {
        request.headers.check(self.limits())?;
        if let Some((algorithm, kind)) = request.checksum
            && !kind.fits(algorithm)
        {
            let reason = format!("there is no checksum of type {kind:?} with {algorithm} for multipart uploads");
            return Err(Error::InvalidRequest { reason });
        }
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, &request.bucket).await?;
            bucket.check_locks(&request.attributes, self.now())?;
            let (sealing, _) = NewSealing::split(self.new_sealing(&request.encryption, &bucket, &request.key).await?);
            let encryption = sealing.as_ref().map(Sealing::kind);
            let initiated = self.now();
            let upload = new_id(initiated);
            let row = UploadRow {
                initiated,
                initiator: request.initiator.clone(),
                class: request.class.unwrap_or(bucket.class),
                checksum: request.checksum,
                headers: request.headers.clone(),
                attributes: Attributes { sealing, ..request.attributes.clone() },
            };
            UPLOADS.put(&mut txn, &(bucket.id, request.key.clone(), upload), &row)?;
            if tries.commit(txn).await? {
                return Ok(UploadBegun { upload, initiated, encryption });
            }
        }
    }

    /// Ends an upload without an object; its parts become garbage.
    pub async fn abort_upload(&self, at: &UploadRef) -> Result<()> {
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, &at.bucket).await?;
            let key = at.row_key(bucket.id);
            UPLOADS.get(&mut txn, &key).await?.ok_or_else(|| at.missing())?;
            UPLOADS.delete(&mut txn, &key);
            release_upload(&mut txn, self.now(), at.upload)?;
            if tries.commit(txn).await? {
                return Ok(());
            }
        }
    }

    async fn peek_upload(&self, txn: &Transaction, at: &UploadRef) -> Result<(BucketId, UploadRow)> {
        let bucket = self.peek_bucket(txn, &at.bucket).await?.id;
        let row = UPLOADS.peek(txn, &at.row_key(bucket)).await?;
        Ok((bucket, row.ok_or_else(|| at.missing())?))
    }
}

/// A new id. It begins with the time, so that a list has the uploads of a key in the order in which they were begun; ids of earlier
/// versions are random, and stand anywhere between.
fn new_id(now: Timestamp) -> UploadId {
    let mut bytes: [u8; 16] = rand::random();
    let millis = now.as_millis().to_be_bytes();
    bytes[..ID_TIME_BYTES].copy_from_slice(&millis[millis.len() - ID_TIME_BYTES..]);
    UploadId::from_bytes(bytes)
}

#[cfg(test)]
mod tests;
