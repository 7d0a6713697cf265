//! The rows of this crate: every table, its keys and values. Nothing outside the crate reads them.
//!
//! ```text
//! 10 buckets    name                  -> BucketRecord          16 parts      upload, number        -> PartRow
//! 11 owned      owner, name           -> ()                    17 completed  upload                -> CompletedRow
//! 12 objects    bucket id, key        -> ObjectRow             18 garbage    due time, id          -> GarbageRow
//! 13 (kept for versions: bucket id, key, version)              19 claims     blob                  -> ()
//! 14 extents    version, number       -> ExtentsRow            1a changes    bucket id, stamp      -> ChangesRow
//! 15 uploads    bucket id, key, upload -> UploadRow
//! ```
//! Objects stand under the id of one life of a bucket, so a bucket that is deleted and made again is empty.
//! Enums are stored by their variant's number: new variants go to the end.

use crate::changes::Change;
use crate::put::PutOutcome;
use crate::record::{ChecksumKind, Extent, Layout, ObjectHeaders, ObjectRecord, StoredChecksum, VersionId};
use crate::{BucketRecord, Result};
use cistern_metadata::{RowValue, Table, Transaction, VALUE_BYTES_MAX};
use cistern_types::{
    BlobId, BucketId, BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, OwnerId, StorageClass, Timestamp,
    UploadId,
};
use serde::{Deserialize, Serialize};

pub(crate) const BUCKETS: Table<BucketName, BucketRecord> = Table::new("buckets", 0x10);
pub(crate) const OWNED_BUCKETS: Table<(OwnerId, BucketName), Marker> = Table::new("owned buckets", 0x11);
pub(crate) const OBJECTS: Table<(BucketId, ObjectKey), ObjectRow> = Table::new("objects", 0x12);
pub(crate) const EXTENTS: Table<([u8; 16], u32), ExtentsRow> = Table::new("extents", 0x14);
pub(crate) const UPLOADS: Table<(BucketId, ObjectKey, UploadId), UploadRow> = Table::new("uploads", 0x15);
pub(crate) const PARTS: Table<(UploadId, u16), PartRow> = Table::new("parts", 0x16);
pub(crate) const COMPLETED: Table<UploadId, CompletedRow> = Table::new("completed uploads", 0x17);
pub(crate) const GARBAGE: Table<(Timestamp, [u8; 16]), GarbageRow> = Table::new("garbage", 0x18);
pub(crate) const CLAIMS: Table<BlobId, Marker> = Table::new("claims", 0x19);
pub(crate) const CHANGES: Table<(BucketId, u64), ChangesRow> = Table::new("changes", 0x1a);

/// The most extents an object row carries itself; lists read object rows, so these stay small.
const INLINE_EXTENTS_MAX: usize = 16;

/// The most extents in one extent row. An extent takes 16 bytes and a varint of at most 10.
const EXTENTS_PER_ROW: usize = 3800;
const _: () = assert!(EXTENTS_PER_ROW * (16 + 10) + 8 <= VALUE_BYTES_MAX);

/// A row whose key says it all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Marker;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) modified: Timestamp,
    pub(crate) version: VersionId,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<StoredChecksum>,
    pub(crate) parts: Option<u32>,
    pub(crate) headers: ObjectHeaders,
    pub(crate) layout: Layout,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExtentsRow {
    pub(crate) extents: Vec<Extent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub(crate) initiated: Timestamp,
    pub(crate) owner: OwnerId,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub(crate) headers: ObjectHeaders,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) md5: [u8; 16],
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) checksum: Option<Checksum>,
    /// `None` for an empty part.
    pub(crate) blob: Option<BlobId>,
}

/// What a repeated completion is answered with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CompletedRow {
    pub(crate) bucket: BucketId,
    pub(crate) key: ObjectKey,
    pub(crate) outcome: PutOutcome,
}

/// What the sweeper frees once its due time has passed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum GarbageRow {
    /// These blobs and their claims.
    Blobs(Vec<BlobId>),
    /// The extent rows of a version, and the blobs they name.
    Extents { version: VersionId, rows: u32 },
    /// The parts of an upload that was aborted, and their blobs.
    AbortedUpload(UploadId),
    /// The part rows of an upload that was completed, and the row that answers repetitions; the blobs live on.
    CompletedUpload(UploadId),
}

/// All changes of one transaction to one bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChangesRow {
    pub(crate) changes: Vec<Change>,
}

macro_rules! row_values {
    ($($name:ty),*) => {$(
        impl RowValue for $name {
            const VERSION: u8 = 1;
        }
    )*};
}
row_values!(BucketRecord, Marker, ObjectRow, ExtentsRow, UploadRow, PartRow, CompletedRow, GarbageRow, ChangesRow);

impl ObjectRow {
    pub(crate) fn into_record(self, key: ObjectKey) -> ObjectRecord {
        let Self { size, etag, modified, version, class, checksum, parts, headers, layout } = self;
        ObjectRecord { key, size, etag, modified, version, headers, class, checksum, parts, layout }
    }
}

/// Lays out the extents of a new version: inline, or in extent rows of the same transaction.
pub(crate) fn put_extents(txn: &mut Transaction, version: VersionId, extents: &[Extent]) -> Result<Layout> {
    if extents.len() <= INLINE_EXTENTS_MAX {
        return Ok(Layout::Inline(extents.to_vec()));
    }
    let mut rows = 0;
    for extents in extents.chunks(EXTENTS_PER_ROW) {
        EXTENTS.put(txn, &(*version.as_bytes(), rows), &ExtentsRow { extents: extents.to_vec() })?;
        rows += 1;
    }
    Ok(Layout::Rows { rows })
}

/// All extents of a version, in order.
pub(crate) async fn extents(txn: &Transaction, version: VersionId, layout: &Layout) -> Result<Vec<Extent>> {
    match layout {
        Layout::Inline(extents) => Ok(extents.clone()),
        Layout::Rows { rows } => {
            let mut all = Vec::new();
            for number in 0..*rows {
                all.extend(extents_row(txn, version, number).await?);
            }
            Ok(all)
        }
    }
}

/// One extent row of a version; empty when the sweeper has freed it.
pub(crate) async fn extents_row(txn: &Transaction, version: VersionId, number: u32) -> Result<Vec<Extent>> {
    let row = EXTENTS.peek(txn, &(*version.as_bytes(), number)).await?;
    Ok(row.map(|row| row.extents).unwrap_or_default())
}
