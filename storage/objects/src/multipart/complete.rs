//! Completion: in one transaction the parts become the extents of an object. No byte is copied.

use super::UploadRef;
use crate::changes::ChangeCause;
use crate::commit::{CommitItem, NewObject, commit_objects};
use crate::conditions::Conditions;
use crate::digest::{multipart_checksum, multipart_etag};
use crate::encryption::check_customer_key;
use crate::garbage::{release, release_completed_upload};
use crate::put::PutOutcome;
use crate::record::{ChecksumKind, Extent, StoredChecksum};
use crate::retry::Tries;
use crate::rows::{COMPLETED, CompletedRow, PARTS, PartRow, UPLOADS, UploadRow};
use crate::{BucketRecord, CustomerKey, Error, Limits, Objects, Result};
use cistern_metadata::{Scan, Transaction};
use cistern_types::{BlobId, Checksum, ETag};
use std::collections::BTreeMap;

/// A part as the completion names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: u16,
    /// The tag that its upload answered.
    pub etag: ETag,
    /// The checksum that its upload answered.
    pub checksum: Option<Checksum>,
}

/// How to complete an upload.
#[derive(Debug, Clone, Default)]
pub struct CompleteUpload {
    /// The parts, numbers ascending; gaps are allowed.
    pub parts: Vec<CompletedPart>,
    /// What must be so of the key when the object becomes visible. When it is not, the upload stays open.
    pub conditions: Conditions,
    /// The checksum the object must turn out to have.
    pub checksum: Option<Checksum>,
    /// What its upload's checksum must have been begun as; without one it counts as one of the whole object.
    pub checksum_kind: Option<ChecksumKind>,
    /// The size in bytes the object must turn out to have.
    pub size: Option<u64>,
    /// The customer key that the upload was begun with, if it was with one. Needed only where the object gets a checksum, which would
    /// tell of its content.
    pub customer_key: Option<CustomerKey>,
}

impl Objects {
    /// Makes the object of an upload. Repeating a completion that has succeeded answers the same again, for
    /// [`Limits::completed_upload_kept`]. Parts that were uploaded but are not named become garbage.
    pub async fn complete_upload(&self, at: &UploadRef, request: CompleteUpload) -> Result<PutOutcome> {
        check_order(&request.parts, self.limits())?;
        let _turn = self.turns().take(&at.bucket, &at.key).await;
        let mut tries = Tries::new();
        loop {
            let mut txn = self.store().begin().await?;
            let bucket = self.bucket_in(&mut txn, &at.bucket).await?;
            let Some(upload) = UPLOADS.get(&mut txn, &at.row_key(bucket.id)).await? else {
                return completed_before(&txn, at, &bucket, &request).await;
            };
            let outcome = self.complete_in(&mut txn, at, &bucket, upload, &request).await?;
            if tries.commit(txn).await? {
                return Ok(outcome);
            }
        }
    }

    async fn complete_in(
        &self,
        txn: &mut Transaction,
        at: &UploadRef,
        bucket: &BucketRecord,
        upload: UploadRow,
        request: &CompleteUpload,
    ) -> Result<PutOutcome> {
        if upload.checksum.is_some() || request.customer_key.is_some() {
            check_customer_key(upload.attributes.sealing.as_ref(), request.customer_key.as_ref())?;
        }
        // all there may be: the limit may have been higher when they came
        let scan = Scan::first(PARTS.prefix_range(&at.upload), usize::from(u16::MAX));
        let rows = PARTS.scan(txn, &scan).await?;
        let mut rows: BTreeMap<u16, PartRow> = rows.into_iter().map(|((_, number), row)| (number, row)).collect();
        let parts = named_parts(&mut rows, &request.parts, self.limits())?;
        let new = assemble(&upload, &parts, request, self.limits())?;
        let item = CommitItem { key: &at.key, new: &new, conditions: &request.conditions };
        let record = commit_objects(self, txn, bucket, &[item]).await?.pop().expect("one record for each item");
        let outcome = PutOutcome::from(&record);
        let unnamed: Vec<BlobId> = rows.into_values().filter_map(|row| row.blob).collect();
        release(txn, self.now(), &unnamed)?;
        UPLOADS.delete(txn, &at.row_key(bucket.id));
        let row = CompletedRow { bucket: bucket.id, key: at.key.clone(), outcome: outcome.clone() };
        COMPLETED.put(txn, &at.upload, &row)?;
        release_completed_upload(txn, self.now().plus(self.limits().completed_upload_kept), at.upload)?;
        Ok(outcome)
    }
}

fn check_order(parts: &[CompletedPart], limits: &Limits) -> Result<()> {
    if parts.is_empty() {
        return Err(Error::InvalidRequest { reason: "a completion names at least one part".into() });
    }
    if let Some(pair) = parts.windows(2).find(|pair| pair[0].number >= pair[1].number) {
        return Err(Error::InvalidPartOrder { number: pair[1].number });
    }
    // The numbers ascend, so if any is out of bounds the first or the last is.
    let (first, last) = (parts[0].number, parts[parts.len() - 1].number);
    if first == 0 || last > limits.parts_max {
        return Err(Error::InvalidPart { number: if first == 0 { first } else { last } });
    }
    Ok(())
}

/// Takes the named parts out of `rows`, and refuses those that are missing, others, or too small.
fn named_parts(rows: &mut BTreeMap<u16, PartRow>, named: &[CompletedPart], limits: &Limits) -> Result<Vec<PartRow>> {
    let limit_bytes = limits.part_bytes_min.max(1);
    let mut parts = Vec::with_capacity(named.len());
    for part in named {
        let number = part.number;
        let row = rows.remove(&number).ok_or(Error::InvalidPart { number })?;
        let same_checksum = part.checksum.is_none() || part.checksum == row.checksum;
        if part.etag != ETag::Md5(row.md5) || !same_checksum {
            return Err(Error::InvalidPart { number });
        }
        parts.push((number, row));
    }
    let all_but_last = &parts[..parts.len() - 1];
    if let Some((number, row)) = all_but_last.iter().find(|(_, row)| row.size < limit_bytes) {
        return Err(Error::EntityTooSmall { number: *number, size_bytes: row.size, limit_bytes });
    }
    Ok(parts.into_iter().map(|(_, row)| row).collect())
}

fn assemble(upload: &UploadRow, parts: &[PartRow], request: &CompleteUpload, limits: &Limits) -> Result<NewObject> {
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if size > limits.object_bytes_max {
        return Err(Error::EntityTooLarge { size_bytes: size, limit_bytes: limits.object_bytes_max });
    }
    if let Some(expected) = request.size.filter(|expected| *expected != size) {
        let reason = format!("the parts have {size} bytes together, the completion says {expected}");
        return Err(Error::InvalidRequest { reason });
    }
    // what a part brought along unasked is not kept
    let checksum = |part: &PartRow| part.checksum.clone().filter(|_| upload.checksum.is_some());
    let extent = |part: &PartRow| {
        part.blob.map(|blob| Extent { blob, length: part.size, checksum: checksum(part), salt: part.salt })
    };
    Ok(NewObject {
        headers: upload.headers.clone(),
        attributes: upload.attributes.clone(),
        class: upload.class,
        size,
        etag: multipart_etag(parts.iter().map(|part| &part.md5)),
        checksum: object_checksum(upload, parts, request)?,
        extents: parts.iter().filter_map(extent).collect(),
        parts: Some(u32::try_from(parts.len()).expect("part numbers have 16 bits")),
        fresh: Vec::new(),
        cause: ChangeCause::CompleteMultipartUpload,
    })
}

fn object_checksum(upload: &UploadRow, parts: &[PartRow], request: &CompleteUpload) -> Result<Option<StoredChecksum>> {
    let begun_as = upload.checksum.map_or(ChecksumKind::FullObject, |(_, kind)| kind);
    if let Some(expected) = request.checksum_kind.filter(|expected| *expected != begun_as) {
        return Err(Error::OtherChecksumKind { expected, begun_as });
    }
    let computed = upload.checksum.map(|(algorithm, kind)| {
        let checksum = |part: &PartRow| part.checksum.clone().expect("put_part gives every part its upload's checksum");
        let checksums: Vec<(Checksum, u64)> = parts.iter().map(|part| (checksum(part), part.size)).collect();
        let borrowed: Vec<(&Checksum, u64)> = checksums.iter().map(|(checksum, size)| (checksum, *size)).collect();
        multipart_checksum(algorithm, kind, &borrowed)
    });
    match (&request.checksum, &computed) {
        (Some(expected), Some(stored)) if *expected != stored.checksum => Err(Error::ChecksumMismatch {
            algorithm: expected.algorithm(),
            expected: expected.to_base64(),
            computed: stored.to_text(),
        }),
        (Some(_), None) => {
            let reason = "the completion has a checksum, its upload was begun without";
            Err(Error::InvalidRequest { reason: reason.into() })
        }
        _ => Ok(computed),
    }
}

/// An upload that is gone: if it was completed with the same parts, the answer is the same.
async fn completed_before(
    txn: &Transaction,
    at: &UploadRef,
    bucket: &BucketRecord,
    request: &CompleteUpload,
) -> Result<PutOutcome> {
    let md5s = request.parts.iter().filter_map(|part| match &part.etag {
        ETag::Md5(md5) => Some(md5),
        ETag::Multipart { .. } => None,
    });
    let etag = multipart_etag(md5s);
    let row = COMPLETED.peek(txn, &at.upload).await?;
    let same = row.filter(|row| row.bucket == bucket.id && row.key == at.key && row.outcome.etag == etag);
    same.map(|row| row.outcome).ok_or_else(|| at.missing())
}
