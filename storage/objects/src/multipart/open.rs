//! The list of uploads that are neither completed nor aborted.

use crate::list::{Entry, Walk};
use crate::record::ChecksumKind;
use crate::rows::{UPLOADS, UploadRow};
use crate::{Objects, Result};
use cistern_types::{BucketName, ChecksumAlgorithm, ObjectKey, Owner, StorageClass, Timestamp, UploadId};

/// Which uploads to list.
#[derive(Debug, Clone)]
pub struct ListUploads {
    /// The bucket.
    pub bucket: BucketName,
    /// What keys begin with.
    pub prefix: String,
    /// Keys with this text after the prefix roll up into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys after this, unless `upload_marker` says more.
    pub key_marker: Option<String>,
    /// Of the key `key_marker`, only uploads after this one; without a `key_marker` it means nothing.
    pub upload_marker: Option<UploadId>,
    /// At most this many uploads and common prefixes together, and never more than 1,000.
    pub limit: usize,
}

/// An upload as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// The key of the object it will make.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// When it was begun.
    pub initiated: Timestamp,
    /// Who began it.
    pub initiator: Owner,
    /// The class the object will have.
    pub class: StorageClass,
    /// The checksum the object will have.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A page of uploads, in the order of their keys; those of one key in the order in which they were begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// Key marker and upload marker of the next page; `None` when this is the last. After a common prefix there is no
    /// upload marker.
    pub next: Option<(String, Option<UploadId>)>,
}

impl Objects {
    /// Lists the open uploads of a bucket as they are at one moment.
    pub async fn uploads(&self, request: ListUploads) -> Result<UploadPage> {
        let txn = self.store().read().await?;
        let bucket = self.peek_bucket(&txn, &request.bucket).await?.id;
        let walk = Walk::new(UPLOADS, bucket, &request.prefix, request.delimiter.as_deref());
        let start = match (request.key_marker, request.upload_marker) {
            (None, _) => None,
            (Some(key), Some(upload)) if !key.is_empty() && key.len() <= ObjectKey::BYTES_MAX => {
                let row = UPLOADS.prefix_range(&(bucket, key, upload));
                Some(UPLOADS.range().after(&row.start).start)
            }
            (Some(key), _) => Some(walk.after(&key)),
        };
        let listed = |(_, key, upload): (_, _, UploadId), (key_bytes, value): (&[u8], &[u8])| {
            let UploadRow { initiated, initiator, class, checksum, .. } = UPLOADS.decode_value(key_bytes, value)?;
            Ok(ListedUpload { key, upload, initiated, initiator, class, checksum })
        };
        let (entries, more) = walk.page(&txn, start, request.limit, listed).await?;
        let next = entries.last().filter(|_| more).map(|last| match last {
            Entry::Row(listed) => (listed.key.to_string(), Some(listed.upload)),
            Entry::Prefix(prefix) => (prefix.clone(), None),
        });
        let mut page = UploadPage { next, ..UploadPage::default() };
        for entry in entries {
            match entry {
                Entry::Row(listed) => page.uploads.push(listed),
                Entry::Prefix(prefix) => page.prefixes.push(prefix),
            }
        }
        Ok(page)
    }
}
