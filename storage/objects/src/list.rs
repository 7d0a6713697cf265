//! LIST: pages of keys in byte order, with common prefixes rolled up.
//!
//! A walk is a range scan. When it meets a key that rolls up it answers the common prefix and seeks to the end of it, so
//! the cost of a page is bounded by its entries and not by what hides behind its prefixes.

use crate::record::StoredChecksum;
use crate::rows::{ListedRow, OBJECTS, ObjectHead};
use crate::{BucketRecord, ObjectRecord, Objects, Result};
use bytes::Bytes;
use cistern_metadata::{KeyRange, RowKey, RowValue, Scan, Table, Transaction};
use cistern_types::{BucketId, BucketName, ETag, ObjectKey, Owner, StorageClass, Timestamp, UploadId};

/// The most entries of one page, as S3 has it.
pub(crate) const PAGE_ENTRIES_MAX: usize = 1000;

/// How many rows a scan reads that may meet many of one prefix; it grows fourfold while each of them is an entry.
const SCAN_ROWS_MIN: usize = 2;
const SCAN_GROWTH: usize = 4;

/// Markers longer than any key are cut here: what follows cannot decide an order any more.
const MARKER_BYTES_MAX: usize = ObjectKey::BYTES_MAX + 4;

/// Which objects to list.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// The bucket.
    pub bucket: BucketName,
    /// What keys begin with.
    pub prefix: String,
    /// Keys with this text after the prefix roll up into one common prefix, up to and with its first occurrence.
    pub delimiter: Option<String>,
    /// Only keys after this. When it is itself a common prefix, nothing that rolls up into it is listed again.
    pub after: Option<String>,
    /// At most this many keys and common prefixes together, and never more than 1,000.
    pub limit: usize,
}

impl ListRequest {
    /// All keys of a bucket, as many as a page has.
    pub fn all(bucket: BucketName) -> Self {
        Self { bucket, prefix: String::new(), delimiter: None, after: None, limit: PAGE_ENTRIES_MAX }
    }
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// Its tag.
    pub etag: ETag,
    /// When it was written.
    pub modified: Timestamp,
    /// Its class.
    pub class: StorageClass,
    /// Its checksum.
    pub checksum: Option<StoredChecksum>,
    /// Whose it is, when it is not the bucket owner's.
    pub owner: Option<Owner>,
}

impl ListedObject {
    pub(crate) fn of(key: ObjectKey, head: ObjectHead, owner: Option<Owner>) -> Self {
        let ObjectHead { size, etag, modified, class, checksum, .. } = head;
        Self { key, size, etag, modified, class, checksum, owner }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<O = ListedObject> {
    /// Objects in the order of their keys.
    pub objects: Vec<O>,
    /// Common prefixes in order.
    pub prefixes: Vec<String>,
    /// What to list `after` for the next page, the last key or common prefix of this one; `None` when there is nothing
    /// more, also when this page is exactly full.
    pub next: Option<String>,
}

impl<O> ListPage<O> {
    /// Whether there is more.
    pub fn truncated(&self) -> bool {
        self.next.is_some()
    }
}

/// Makes what a list shows of the bucket, a key, and the bytes of the key and value of its row.
type MakeEntry<O> = fn(&BucketRecord, ObjectKey, (&[u8], &[u8])) -> Result<O>;

impl Objects {
    /// Lists the objects of a bucket as they are at one moment.
    pub async fn list(&self, request: ListRequest) -> Result<ListPage> {
        let make = |_: &BucketRecord, key, (key_bytes, value): (&[u8], &[u8])| {
            let row: ListedRow = OBJECTS.decode_head(key_bytes, value)?;
            Ok(ListedObject::of(key, row.head, row.attributes.owner))
        };
        self.list_as(request, make, |object| &object.key).await
    }

    /// The same with all that is known of each object.
    pub async fn list_records(&self, request: ListRequest) -> Result<ListPage<ObjectRecord>> {
        let make = |bucket: &BucketRecord, key, (key_bytes, value): (&[u8], &[u8])| {
            Ok(OBJECTS.decode_value(key_bytes, value)?.into_record(key, bucket))
        };
        self.list_as(request, make, |record| &record.key).await
    }

    /// Lists what `make` makes.
    async fn list_as<O: Send>(
        &self,
        request: ListRequest,
        make: MakeEntry<O>,
        key_of: fn(&O) -> &ObjectKey,
    ) -> Result<ListPage<O>> {
        let txn = self.store().read().await?;
        let bucket = self.peek_bucket(&txn, &request.bucket).await?;
        let walk = Walk::new(OBJECTS, bucket.id, &request.prefix, request.delimiter.as_deref());
        let start = request.after.as_deref().map(|after| walk.after(after));
        let listed = |(_, key), row: (&[u8], &[u8])| make(&bucket, key, row);
        let (entries, more) = walk.page(&txn, start, request.limit, listed).await?;
        let next = entries.last().filter(|_| more).map(|last| match last {
            Entry::Row(object) => key_of(object).to_string(),
            Entry::Prefix(prefix) => prefix.clone(),
        });
        let mut page = ListPage { objects: Vec::with_capacity(entries.len()), prefixes: Vec::new(), next };
        for entry in entries {
            match entry {
                Entry::Row(object) => page.objects.push(object),
                Entry::Prefix(prefix) => page.prefixes.push(prefix),
            }
        }
        Ok(page)
    }
}

/// A row key that begins with a bucket and an object key.
pub(crate) trait UnderObjectKey: RowKey {
    fn object_key(&self) -> &str;
}

impl UnderObjectKey for (BucketId, ObjectKey) {
    fn object_key(&self) -> &str {
        self.1.as_str()
    }
}

impl UnderObjectKey for (BucketId, ObjectKey, UploadId) {
    fn object_key(&self) -> &str {
        self.1.as_str()
    }
}

/// What a page has: what is made of rows, and prefixes in their place.
pub(crate) enum Entry<E> {
    Row(E),
    Prefix(String),
}

/// A walk over the rows of one bucket whose keys begin with a prefix.
pub(crate) struct Walk<'a, K, V> {
    table: Table<K, V>,
    bucket: BucketId,
    prefix: &'a str,
    delimiter: Option<&'a str>,
}

impl<'a, K: UnderObjectKey, V: RowValue> Walk<'a, K, V> {
    pub(crate) fn new(table: Table<K, V>, bucket: BucketId, prefix: &'a str, delimiter: Option<&'a str>) -> Self {
        Self { table, bucket, prefix, delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()) }
    }

    /// Where the rows after a marker begin: after all rows of that key, or of that common prefix.
    pub(crate) fn after(&self, marker: &str) -> Bytes {
        if self.common_prefix(marker).is_some_and(|prefix| prefix == marker) {
            return self.past(marker);
        }
        let cut = (0..=MARKER_BYTES_MAX.min(marker.len())).rev().find(|at| marker.is_char_boundary(*at)).unwrap_or(0);
        end_of(&self.table.prefix_range(&(self.bucket, marker[..cut].to_owned())))
    }

    /// Up to `limit` entries from `start` on, and whether there are more. `make` makes an entry of a row that does not roll up: of its
    /// key, and of the bytes of both key and value.
    pub(crate) async fn page<E>(
        &self,
        txn: &Transaction,
        start: Option<Bytes>,
        limit: usize,
        make: impl Fn(K, (&[u8], &[u8])) -> Result<E>,
    ) -> Result<(Vec<Entry<E>>, bool)> {
        let limit = limit.min(PAGE_ENTRIES_MAX);
        let mut entries: Vec<Entry<E>> = Vec::new();
        if limit == 0 || self.prefix.len() > ObjectKey::BYTES_MAX {
            return Ok((entries, false));
        }
        let mut range = self.table.text_range(&self.bucket, self.prefix);
        if let Some(start) = start {
            range = range.starting_at(&start);
        }
        let mut rows_wanted = if self.delimiter.is_some() { SCAN_ROWS_MIN * SCAN_GROWTH } else { limit + 1 };
        loop {
            let wanted = rows_wanted.min(limit + 1 - entries.len());
            let rows = txn.scan_raw_unchecked(&Scan::first(range.clone(), wanted)).await?;
            let before = entries.len();
            entries.reserve(rows.len());
            for (key_bytes, value) in &rows {
                let key = self.table.decode_key(key_bytes)?;
                let prefix = self.common_prefix(key.object_key());
                if prefix.is_some() && prefix == last_prefix(&entries) {
                    continue;
                }
                if entries.len() == limit {
                    return Ok((entries, true));
                }
                entries.push(match prefix {
                    Some(prefix) => Entry::Prefix(prefix.to_owned()),
                    None => Entry::Row(make(key, (key_bytes, value))?),
                });
            }
            let Some((last_key, _)) = rows.last().filter(|_| rows.len() == wanted) else {
                return Ok((entries, false));
            };
            let each_an_entry = entries.len() - before == rows.len();
            rows_wanted = if each_an_entry { rows_wanted * SCAN_GROWTH } else { SCAN_ROWS_MIN };
            range = match last_prefix(&entries) {
                Some(prefix) => range.starting_at(&self.past(prefix)),
                None => range.after(last_key),
            };
        }
    }

    /// The part of `key` up to and with the first delimiter after the prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let found = match delimiter.as_bytes() {
            [byte] => rest.bytes().position(|own| own == *byte)?,
            _ => rest.find(delimiter)?,
        };
        Some(&key[..self.prefix.len() + found + delimiter.len()])
    }

    fn past(&self, prefix: &str) -> Bytes {
        end_of(&self.table.text_range(&self.bucket, prefix))
    }
}

/// The prefix that the last entry is, if it is one.
fn last_prefix<E>(entries: &[Entry<E>]) -> Option<&str> {
    match entries.last() {
        Some(Entry::Prefix(prefix)) => Some(prefix),
        _ => None,
    }
}

fn end_of(range: &KeyRange) -> Bytes {
    range.end.clone().expect("a table's id is not 0xff, so a prefix in it has keys after it")
}

#[cfg(test)]
mod tests;
