//! The rows of this crate: every table, its keys and values. Nothing outside the crate reads them.
//!
//! ```text
//! 10 buckets    name                  -> BucketRecord          16 parts      upload, number        -> PartRow
//! 11 owned      owner, name           -> ()                    17 completed  upload                -> CompletedRow
//! 12 objects    bucket id, key        -> ObjectRow             18 garbage    due time, id          -> GarbageRow
//! 13 versions   bucket id, key, version -> VersionRow          19 claims     blob                  -> ()
//! 14 extents    version, number       -> ExtentsRow            1a changes    bucket id, stamp      -> ChangesRow
//! 15 uploads    bucket id, key, upload -> UploadRow            1b null versions bucket id, key     -> NullRow
//! 1d master keys id                    -> ()                   1c configurations bucket id, kind   -> ConfigurationRow
//! ```
//! Objects stand under the id of one life of a bucket, so a bucket that is deleted and made again is empty. What a key's
//! rows mean together is said in `versions.rs`. Enums are stored by their variant's number: new variants go to the end.

use crate::attributes::Attributes;
use crate::changes::Change;
use crate::put::PutOutcome;
use crate::record::{ChecksumKind, Extent, Layout, ObjectHeaders, ObjectRecord, StoredChecksum, VersionId, VersionRef};
use crate::{BlobSalt, BucketRecord, Result};
use cistern_metadata::{RowValue, Table, Transaction, VALUE_BYTES_MAX};
use cistern_types::{
    BlobId, BucketId, BucketName, Checksum, ChecksumAlgorithm, ETag, ObjectKey, Owner, OwnerId, StorageClass,
    Timestamp, UploadId,
};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

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
pub(crate) const VERSIONS: Table<(BucketId, ObjectKey, VersionId), VersionRow> = Table::new("versions", 0x13);
pub(crate) const NULL_VERSIONS: Table<(BucketId, ObjectKey), NullRow> = Table::new("null versions", 0x1b);
pub(crate) const CONFIGURATIONS: Table<(BucketId, u8), ConfigurationRow> = Table::new("bucket configurations", 0x1c);
/// Those that data keys may be wrapped with.
pub(crate) const MASTER_KEYS: Table<[u8; 8], Marker> = Table::new("master keys", 0x1d);

/// The most extents an object row carries itself; lists read object rows, so these stay small.
const INLINE_EXTENTS_MAX: usize = 16;

/// The most extents in one extent row. An extent takes 16 bytes, a varint of at most 10, a checksum of at most 35, and
/// a salt of at most 17.
const EXTENTS_PER_ROW: usize = 1280;
const _: () = assert!(EXTENTS_PER_ROW * (16 + 10 + 35 + 17) + 8 <= VALUE_BYTES_MAX);

/// A row whose key says it all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Marker;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    pub(crate) head: ObjectHead,
    pub(crate) headers: ObjectHeaders,
    pub(crate) attributes: Attributes,
    pub(crate) layout: Layout,
}

/// The first fields of an object's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObjectHead {
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) modified: Timestamp,
    pub(crate) version: VersionId,
    /// Whether it was written while the bucket kept no versions.
    pub(crate) null: bool,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<StoredChecksum>,
    pub(crate) parts: Option<u32>,
}

/// An [`ObjectRow`] as far as lists need it: its first fields, and of its headers nothing.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedRow {
    pub(crate) head: ObjectHead,
    _headers: PassedHeaders,
    pub(crate) attributes: Attributes,
}

/// The shape of [`ObjectHeaders`](crate::ObjectHeaders), read without keeping anything.
#[derive(Debug, Clone, Deserialize)]
struct PassedHeaders {
    _content: [Option<PassedText>; 6],
    _user: PassedTexts,
}

#[derive(Debug, Clone, Copy)]
struct PassedText;

#[derive(Debug, Clone, Copy)]
struct PassedTexts;

impl<'de> Deserialize<'de> for PassedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for PassedText {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, _text: &str) -> Result<Self, E> {
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for PassedTexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for PassedTexts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<PassedText, PassedText>()?.is_some() {}
        Ok(self)
    }
}

/// A version of a key that is not its current object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum VersionRow {
    Object(Box<ObjectRow>),
    DeleteMarker(MarkerRow),
}

/// A delete marker: from here on the key has no object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MarkerRow {
    pub(crate) version: VersionId,
    pub(crate) null: bool,
    pub(crate) modified: Timestamp,
}

/// Where the null version of a key stands when it is not its current object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NullRow {
    pub(crate) version: VersionId,
}

/// What a bucket was told about one thing, in the words of the door that took it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ConfigurationRow {
    pub(crate) text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExtentsRow {
    pub(crate) extents: Vec<Extent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub(crate) initiated: Timestamp,
    pub(crate) initiator: Owner,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub(crate) headers: ObjectHeaders,
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) md5: [u8; 16],
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) checksum: Option<Checksum>,
    /// `None` for an empty part.
    pub(crate) blob: Option<BlobId>,
    /// Of an encrypted part.
    pub(crate) salt: Option<BlobSalt>,
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
    ($version:literal: $($name:ty),*) => {$(
        impl RowValue for $name {
            const VERSION: u8 = $version;
        }
    )*};
}
row_values!(1: Marker, GarbageRow, ChangesRow, NullRow, ConfigurationRow);
// 1 knew no encryption
row_values!(2: VersionRow, PartRow);
// 1 knew no versions, attributes and checksums of parts, 2 no encryption
row_values!(3: BucketRecord, ObjectRow, UploadRow, CompletedRow, ExtentsRow);

impl ObjectRow {
    /// The version id that clients are told.
    pub(crate) fn shown(&self, bucket: &BucketRecord) -> Option<VersionRef> {
        bucket.keeps_versions().then(|| VersionRef::of(self.head.version, self.head.null))
    }

    pub(crate) fn into_record(self, key: ObjectKey, bucket: &BucketRecord) -> ObjectRecord {
        let shown_version = self.shown(bucket);
        let Self { head, headers, attributes, layout } = self;
        let ObjectHead { size, etag, modified, version, class, checksum, parts, null: _ } = head;
        ObjectRecord {
            key,
            size,
            etag,
            modified,
            version,
            shown_version,
            headers,
            attributes,
            class,
            checksum,
            parts,
            layout,
        }
    }
}

impl VersionRow {
    pub(crate) fn version(&self) -> VersionId {
        match self {
            Self::Object(row) => row.head.version,
            Self::DeleteMarker(row) => row.version,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        match self {
            Self::Object(row) => row.head.null,
            Self::DeleteMarker(row) => row.null,
        }
    }
}

/// Lays out the extents of a new version: inline, or in extent rows of the same transaction.
pub(crate) fn put_extents(txn: &mut Transaction, version: VersionId, extents: &[Extent]) -> Result<Layout> {
    if extents.len() <= INLINE_EXTENTS_MAX && extents.iter().all(|extent| extent.checksum.is_none()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_types::{Checksum, ChecksumAlgorithm};

    #[test]
    fn lists_read_the_first_fields_of_what_objects_write() {
        let headers = ObjectHeaders {
            content_type: Some("text/plain; charset=utf-8".into()),
            content_encoding: Some("gzip".into()),
            cache_control: Some(String::new()),
            expires: Some("Thu, 01 Jan 1970 00:00:00 GMT".into()),
            user: (0..200).map(|i| (format!("name-{i}"), "\u{e9}".repeat(i))).collect(),
            ..ObjectHeaders::default()
        };
        let owner = Some(Owner { id: OwnerId::random(), name: "somebody".into() });
        let head = ObjectHead {
            size: u64::MAX,
            etag: ETag::Multipart { md5: [7; 16], parts: 10_000 },
            modified: Timestamp::from_millis(1_764_000_000_000),
            version: VersionId::after(None, Timestamp::from_millis(5)),
            null: true,
            class: StorageClass::InfrequentAccess,
            checksum: Some(StoredChecksum::full(Checksum::new(ChecksumAlgorithm::Crc32, &[1, 2, 3, 4]))),
            parts: Some(10_000),
        };
        let attributes = Attributes { owner, legal_hold: Some(true), ..Attributes::default() };
        let layout = Layout::Rows { rows: 3 };
        let row = ObjectRow { head, headers, attributes, layout };
        let bytes = postcard::to_stdvec(&row).unwrap();
        let (listed, rest) = postcard::take_from_bytes::<ListedRow>(&bytes).unwrap();
        assert_eq!((listed.head, listed.attributes), (row.head, row.attributes));
        assert_eq!(rest, postcard::to_stdvec(&row.layout).unwrap());
    }
}
