//! The list of versions: all states of all keys, in the order of the keys and of each key the newest first.
//!
//! A page is the merger of two walks that begin at the same place, one over the current objects and one over the rest (see
//! `versions.rs`): of each the first `limit` entries are read, and the first `limit` of them together are the page.

use crate::attributes::Attributes;
use crate::list::{Entry, ListedObject, PAGE_ENTRIES_MAX, UnderObjectKey, Walk};
use crate::record::{VersionId, VersionRef};
use crate::rows::{ListedRow, MarkerRow, NULL_VERSIONS, OBJECTS, ObjectHead, ObjectRow, VERSIONS, VersionRow};
use crate::versions::peek_newest;
use crate::{Objects, Result};
use bytes::Bytes;
use cistern_metadata::Transaction;
use cistern_types::{BucketId, BucketName, ObjectKey, Timestamp};
use std::collections::VecDeque;

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct ListVersions {
    /// The bucket.
    pub bucket: BucketName,
    /// What keys begin with.
    pub prefix: String,
    /// Keys with this text after the prefix roll up into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys after this, unless `version_marker` says more.
    pub key_marker: Option<String>,
    /// Of the key `key_marker`, only versions after this one; without a `key_marker` it means nothing. It need not be there any
    /// more, unless it is `null`: then all versions of the key are listed.
    pub version_marker: Option<VersionRef>,
    /// At most this many versions, markers and common prefixes together, and never more than 1,000.
    pub limit: usize,
}

/// A version or delete marker as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedVersion {
    /// An object.
    Object {
        /// What a list of objects shows of it.
        object: ListedObject,
        /// How clients name it.
        version: VersionRef,
        /// Whether it is the current object.
        latest: bool,
    },
    /// A delete marker.
    DeleteMarker {
        /// The key.
        key: ObjectKey,
        /// How clients name it.
        version: VersionRef,
        /// When it was made.
        modified: Timestamp,
        /// Whether it is the newest state of its key.
        latest: bool,
    },
}

/// A page of versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// Versions and delete markers in the order of their keys, of each key the newest first.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// Key marker and version marker of the next page; `None` when this is the last. After a common prefix there is no version
    /// marker. The version is always named by its id, so that it holds its place even when it is removed meanwhile.
    pub next: Option<(String, Option<VersionRef>)>,
}

impl UnderObjectKey for (BucketId, ObjectKey, VersionId) {
    fn object_key(&self) -> &str {
        self.1.as_str()
    }
}

/// An entry of the page to be, from either walk.
enum Merged {
    Current(ObjectKey, Box<ListedRow>),
    Other(ObjectKey, VersionRow),
    Prefix(String),
}

impl Merged {
    fn text(&self) -> &str {
        match self {
            Self::Current(key, _) | Self::Other(key, _) => key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// Where both walks begin.
struct Starts {
    current: Option<Bytes>,
    other: Option<Bytes>,
}

impl Objects {
    /// Lists the versions of a bucket as they are at one moment. In a bucket that keeps none every object is its null version.
    pub async fn versions(&self, request: ListVersions) -> Result<VersionPage> {
        let txn = self.store().read().await?;
        let bucket = self.peek_bucket(&txn, &request.bucket).await?.id;
        let current = Walk::new(OBJECTS, bucket, &request.prefix, request.delimiter.as_deref());
        let other = Walk::new(VERSIONS, bucket, &request.prefix, request.delimiter.as_deref());
        let starts = starts(&txn, bucket, &current, &other, &request).await?;
        let of_current = |(_, key): (_, ObjectKey), (key_bytes, value): (&[u8], &[u8])| {
            Ok(Merged::Current(key, Box::new(OBJECTS.decode_head(key_bytes, value)?)))
        };
        let of_other = |(_, key, _): (_, ObjectKey, _), (key_bytes, value): (&[u8], &[u8])| {
            Ok(Merged::Other(key, VERSIONS.decode_value(key_bytes, value)?))
        };
        let (currents, more_current) = current.page(&txn, starts.current, request.limit, of_current).await?;
        let (others, more_other) = other.page(&txn, starts.other, request.limit, of_other).await?;
        let limit = request.limit.min(PAGE_ENTRIES_MAX);
        let mut merged = merge(currents, others);
        let more = merged.len() > limit || more_current || more_other;
        merged.truncate(limit);
        let next = merged.last().filter(|_| more).map(|last| match last {
            Merged::Current(key, row) => (key.to_string(), Some(VersionRef::Id(row.head.version))),
            Merged::Other(key, row) => (key.to_string(), Some(VersionRef::Id(row.version()))),
            Merged::Prefix(prefix) => (prefix.clone(), None),
        });
        let mut page = VersionPage { next, ..VersionPage::default() };
        let mut before: Option<ObjectKey> = None;
        for entry in merged {
            match entry {
                Merged::Prefix(prefix) => page.prefixes.push(prefix),
                Merged::Current(key, row) => {
                    before = Some(key.clone());
                    page.versions.push(listed_object(key, row.head, row.attributes, true));
                }
                Merged::Other(key, VersionRow::Object(row)) => {
                    before = Some(key.clone());
                    page.versions.push(listed_object(key, row.head, row.attributes, false));
                }
                Merged::Other(key, VersionRow::DeleteMarker(row)) => {
                    let first = before.as_ref() != Some(&key);
                    let latest = first && is_latest(&txn, bucket, &key, &row).await?;
                    before = Some(key.clone());
                    let version = VersionRef::of(row.version, row.null);
                    page.versions.push(ListedVersion::DeleteMarker { key, version, modified: row.modified, latest });
                }
            }
        }
        Ok(page)
    }
}

/// Whether a delete marker is the newest state of its key: of those before it some may stand on the page before.
async fn is_latest(txn: &Transaction, bucket: BucketId, key: &ObjectKey, marker: &MarkerRow) -> Result<bool> {
    if OBJECTS.peek(txn, &(bucket, key.clone())).await?.is_some() {
        return Ok(false);
    }
    Ok(peek_newest(txn, bucket, key).await?.is_some_and(|newest| newest.version() == marker.version))
}

fn listed_object(key: ObjectKey, head: ObjectHead, attributes: Attributes, latest: bool) -> ListedVersion {
    let version = VersionRef::of(head.version, head.null);
    ListedVersion::Object { object: ListedObject::of(key, head, attributes.owner), version, latest }
}

async fn starts(
    txn: &Transaction,
    bucket: BucketId,
    current: &Walk<'_, (BucketId, ObjectKey), ObjectRow>,
    other: &Walk<'_, (BucketId, ObjectKey, VersionId), VersionRow>,
    request: &ListVersions,
) -> Result<Starts> {
    let Some(marker) = &request.key_marker else { return Ok(Starts { current: None, other: None }) };
    let after = Starts { current: Some(current.after(marker)), other: Some(other.after(marker)) };
    let (Some(version), Ok(key)) = (request.version_marker, marker.parse::<ObjectKey>()) else { return Ok(after) };
    let place = (bucket, key.clone());
    let present = OBJECTS.peek(txn, &place).await?;
    let id = match version {
        VersionRef::Id(id) => Some(id),
        VersionRef::Null => match present.as_ref().filter(|row| row.head.null) {
            Some(row) => Some(row.head.version),
            None => NULL_VERSIONS.peek(txn, &place).await?.map(|row| row.version),
        },
    };
    let from_key = OBJECTS.prefix_range(&place).start;
    let Some(id) = id else {
        return Ok(Starts { current: Some(from_key), other: Some(VERSIONS.prefix_range(&place).start) });
    };
    // The version the last page ended with may be gone and an older one current by now.
    let current = if present.is_some_and(|row| row.head.version > id) { Some(from_key) } else { after.current };
    let row = VERSIONS.prefix_range(&(bucket, key, id));
    Ok(Starts { current, other: Some(VERSIONS.range().after(&row.start).start) })
}

/// Both walks in one order: by key, the current object first; a common prefix that both met once.
fn merge(currents: Vec<Entry<Merged>>, others: Vec<Entry<Merged>>) -> Vec<Merged> {
    let merged = |entry| match entry {
        Entry::Row(row) => row,
        Entry::Prefix(prefix) => Merged::Prefix(prefix),
    };
    let mut currents: VecDeque<Merged> = currents.into_iter().map(merged).collect();
    let mut others: VecDeque<Merged> = others.into_iter().map(merged).collect();
    let mut merged: Vec<Merged> = Vec::with_capacity(currents.len() + others.len());
    loop {
        let current_first = match (currents.front(), others.front()) {
            (Some(current), Some(other)) => current.text() <= other.text(),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return merged,
        };
        let next = if current_first { currents.pop_front() } else { others.pop_front() };
        let Some(next) = next else { return merged };
        let repeated = matches!((&next, merged.last()), (Merged::Prefix(a), Some(Merged::Prefix(b))) if a == b);
        if !repeated {
            merged.push(next);
        }
    }
}

#[cfg(test)]
mod tests;
