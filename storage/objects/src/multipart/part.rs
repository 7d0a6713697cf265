//! Parts: upload one, copy one from an object, list them.

use super::UploadRef;
use crate::body::{BodyChecks, BodyError, ExpectedChecksum};
use crate::commit::claim;
use crate::conditions::Conditions;
use crate::encryption::{EncryptionKind, Sealing};
use crate::garbage::release;
use crate::get::ByteRange;
use crate::list::PAGE_ENTRIES_MAX;
use crate::record::{ChecksumKind, ObjectHeaders, VersionRef};
use crate::retry::Tries;
use crate::rows::{PARTS, PartRow, UPLOADS, UploadRow};
use crate::stage::StagedBody;
use crate::{CustomerKey, Error, Objects, Result};
use bytes::Bytes;
use cistern_metadata::Scan;
use cistern_types::{
    BlobId, BucketId, BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, Owner, StorageClass, Timestamp,
};
use futures::Stream;
use std::ops::Range;

/// A part that has been stored, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOutcome {
    /// Its tag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum, when the part or its upload asks for one.
    pub checksum: Option<Checksum>,
    /// When it was stored.
    pub modified: Timestamp,
    /// How it is encrypted.
    pub encryption: Option<EncryptionKind>,
}

/// Which bytes to copy into a part.
#[derive(Debug, Clone)]
pub struct PartCopy {
    /// The source's bucket.
    pub source_bucket: BucketName,
    /// The source's key.
    pub source_key: ObjectKey,
    /// Which version of it; `None` for the current object.
    pub source_version: Option<VersionRef>,
    /// What must be so of the source when it is read.
    pub source_conditions: Conditions,
    /// Which of its bytes; `None` for all. Must lie inside the source.
    pub range: Option<Range<u64>>,
    /// The customer key that the source is encrypted with, if it is with one.
    pub source_customer_key: Option<CustomerKey>,
    /// The customer key that the upload was begun with, if it was with one.
    pub customer_key: Option<CustomerKey>,
}

/// A part as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: u16,
    /// Its tag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored.
    pub modified: Timestamp,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// A page of an upload's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// The parts in the order of their numbers.
    pub parts: Vec<ListedPart>,
    /// What to list after for the next page; `None` when this is the last.
    pub next: Option<u16>,
    /// When the upload was begun.
    pub initiated: Timestamp,
    /// Who began it.
    pub initiator: Owner,
    /// The class the object will have.
    pub class: StorageClass,
    /// The checksum the object will have.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// The headers the object will have.
    pub headers: ObjectHeaders,
    /// How it is encrypted.
    pub encryption: Option<EncryptionKind>,
}

impl Objects {
    /// Stores a part, over one of the same number. Durable when it returns; on an error the upload is as it was.
    /// `customer_key` is the one that the upload was begun with, if it was with one.
    pub async fn put_part(
        &self,
        at: &UploadRef,
        number: u16,
        customer_key: Option<&CustomerKey>,
        checks: BodyChecks,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin,
    ) -> Result<PartOutcome> {
        let (bucket, upload) = self.upload_for_part(at, number).await?;
        let sealing = upload.attributes.sealing.as_ref();
        let data_key = self.data_key(sealing, &at.key, customer_key)?;
        let checks = BodyChecks { checksum: part_checksum(&upload, checks.checksum)?, ..checks };
        let staged = self.stage_body(upload.class, checks, data_key.as_ref(), body).await?;
        let md5 = staged.tag(sealing, data_key.as_ref());
        self.commit_part(at, bucket, number, staged, md5, sealing.map(Sealing::kind)).await
    }

    /// Stores bytes of an object as a part.
    pub async fn copy_part(&self, at: &UploadRef, number: u16, source: PartCopy) -> Result<PartOutcome> {
        let (bucket, upload) = self.upload_for_part(at, number).await?;
        let sealing = upload.attributes.sealing.as_ref();
        let data_key = self.data_key(sealing, &at.key, source.customer_key.as_ref())?;
        let txn = self.store().read().await?;
        let source_bucket = self.peek_bucket(&txn, &source.source_bucket).await?;
        let record = self.record_in(&txn, &source_bucket, &source.source_key, source.source_version).await?;
        record.check_customer_key(source.source_customer_key.as_ref())?;
        source.source_conditions.check_source(&record)?;
        let range = match source.range {
            None => None,
            Some(range) if range.start < range.end && range.end <= record.size => {
                Some(ByteRange::FromTo(range.start, Some(range.end - 1)))
            }
            Some(_) => return Err(Error::InvalidRange { size_bytes: record.size }),
        };
        let read = self.open(&txn, record, range, source.source_customer_key.as_ref()).await?;
        drop(txn);
        let checks = BodyChecks {
            length: Some(read.range.end - read.range.start),
            checksum: part_checksum(&upload, ExpectedChecksum::None)?,
            ..BodyChecks::default()
        };
        let staged = self.stage_body(upload.class, checks, data_key.as_ref(), read.body).await?;
        let md5 = staged.tag(sealing, data_key.as_ref());
        self.commit_part(at, bucket, number, staged, md5, sealing.map(Sealing::kind)).await
    }

    /// Lists parts with numbers above `after`, at most `limit` and never more than 1,000.
    pub async fn parts(&self, at: &UploadRef, after: u16, limit: usize) -> Result<PartPage> {
        let txn = self.store().read().await?;
        let (_, upload) = self.peek_upload(&txn, at).await?;
        let limit = limit.min(PAGE_ENTRIES_MAX);
        let range = PARTS.prefix_range(&at.upload).after(&PARTS.key_bytes(&(at.upload, after)));
        let rows = PARTS.scan_unchecked(&txn, &Scan::first(range, limit + 1)).await?;
        let more = limit > 0 && rows.len() > limit;
        let listed = |((_, number), row): (_, PartRow)| ListedPart {
            number,
            etag: ETag::Md5(row.md5),
            size: row.size,
            modified: row.modified,
            checksum: row.checksum,
        };
        let parts: Vec<ListedPart> = rows.into_iter().take(limit).map(listed).collect();
        let next = parts.last().filter(|_| more).map(|last| last.number);
        let encryption = upload.attributes.sealing.as_ref().map(Sealing::kind);
        let UploadRow { initiated, initiator, class, checksum, headers, .. } = upload;
        Ok(PartPage { parts, next, initiated, initiator, class, checksum, headers, encryption })
    }

    async fn upload_for_part(&self, at: &UploadRef, number: u16) -> Result<(BucketId, UploadRow)> {
        let parts_max = self.limits().parts_max;
        if number == 0 || number > parts_max {
            return Err(Error::InvalidRequest { reason: format!("part numbers go from 1 to {parts_max}") });
        }
        let txn = self.store().read().await?;
        self.peek_upload(&txn, at).await
    }

    async fn commit_part(
        &self,
        at: &UploadRef,
        bucket: BucketId,
        number: u16,
        staged: StagedBody,
        md5: [u8; 16],
        encryption: Option<EncryptionKind>,
    ) -> Result<PartOutcome> {
        let committed = self.try_commit_part(at, bucket, number, &staged, md5, encryption).await;
        if committed.as_ref().is_err_and(Error::nothing_happened) {
            let fresh: Vec<BlobId> = staged.blob.into_iter().collect();
            self.discard(&fresh).await;
        }
        committed
    }

    async fn try_commit_part(
        &self,
        at: &UploadRef,
        bucket: BucketId,
        number: u16,
        staged: &StagedBody,
        md5: [u8; 16],
        encryption: Option<EncryptionKind>,
    ) -> Result<PartOutcome> {
        let digested = &staged.digested;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let now = self.now();
            UPLOADS.get(&mut txn, &at.row_key(bucket)).await?.ok_or_else(|| at.missing())?;
            let key = (at.upload, number);
            if let Some(PartRow { blob: Some(replaced), .. }) = PARTS.get(&mut txn, &key).await? {
                release(&mut txn, now, &[replaced])?; // nobody reads parts, so there is nothing to wait for
            }
            if let Some(blob) = staged.blob {
                claim(self, &mut txn, blob, staged.receipt, now)?;
            }
            let checksum = digested.checksum.clone();
            let (blob, salt) = (staged.blob, staged.salt);
            let row = PartRow { md5, size: digested.length, modified: now, checksum, blob, salt };
            PARTS.put(&mut txn, &key, &row)?;
            if tries.commit(txn).await? {
                let PartRow { size, modified, checksum, .. } = row;
                return Ok(PartOutcome { etag: ETag::Md5(md5), size, checksum, modified, encryption });
            }
        }
    }
}

/// Every part of an upload with a checksum gets that checksum, whether its sender asks for it or not.
fn part_checksum(upload: &UploadRow, asked: ExpectedChecksum) -> Result<ExpectedChecksum> {
    let Some((algorithm, _)) = upload.checksum else {
        return Ok(asked);
    };
    let other = match &asked {
        ExpectedChecksum::None => return Ok(ExpectedChecksum::Compute(algorithm)),
        ExpectedChecksum::Value(value) => value.algorithm(),
        ExpectedChecksum::Compute(other) => *other,
    };
    if other != algorithm {
        let reason = format!("the part has a {other} checksum, its upload was begun with {algorithm}");
        return Err(Error::InvalidRequest { reason });
    }
    Ok(asked)
}
