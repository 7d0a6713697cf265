//! GET and HEAD: an object's record, and any range of its bytes.

use crate::conditions::Conditions;
use crate::encryption::SEAL_INLINE_BYTES;
use crate::record::{Extent, ObjectRecord, VersionRef};
use crate::rows::{OBJECTS, ObjectRow, extents};
use crate::seal::{DataKey, Opener, sealed_range};
use crate::versions::{find, peek_newest};
use crate::{BucketRecord, CustomerKey, Error, KeyError, Objects, Result};
use bytes::Bytes;
use cistern_blobs::{BlobReader, BlobStore};
use cistern_metadata::Transaction;
use cistern_runtime::offload;
use cistern_types::{BucketName, Checksum, ObjectKey};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Which bytes of an object to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first position to the last, the last one included; without a last one to the end.
    FromTo(u64, Option<u64>),
    /// This many bytes at the end.
    Suffix(u64),
    /// One part, counted from 1, of an object that a multipart upload made; of any other, part 1 is all of it.
    Part(u32),
}

impl ByteRange {
    /// Which bytes of an object of this size it means, or `InvalidRange`; `None` for a part, see [`Objects::object_part`].
    pub fn of_size(self, size_bytes: u64) -> Result<Option<Range<u64>>> {
        match self {
            Self::FromTo(first, last) => from_to(size_bytes, first, last).map(Some),
            Self::Suffix(bytes) => suffix(size_bytes, bytes).map(Some),
            Self::Part(_) => Ok(None),
        }
    }
}

/// The most parts of one page.
pub const PART_PAGE_MAX: usize = 1000;

/// A part of an object that a multipart upload made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPart {
    /// Its number, from 1 on without gaps, whatever the numbers of the upload were.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum, when the upload asked for one.
    pub checksum: Option<Checksum>,
}

/// The bytes of one part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartBytes {
    /// Where in the object they are.
    pub range: Range<u64>,
    /// Their checksum, when the upload asked for one.
    pub checksum: Option<Checksum>,
}

/// The bytes asked for, in order, in pieces of about 1 MiB at most. An `Err` ends it: the answer must then be cut off.
pub type ObjectBody = BoxStream<'static, Result<Bytes>>;

/// An object being read.
pub struct ObjectRead {
    /// The object.
    pub record: ObjectRecord,
    /// Which range was asked for, unless `If-Range` made it the whole object.
    pub asked: Option<ByteRange>,
    /// Which of its bytes the body has.
    pub range: Range<u64>,
    /// The checksum of the part that was asked for.
    pub part_checksum: Option<Checksum>,
    /// The bytes; the first of them have been read already.
    pub body: ObjectBody,
}

impl fmt::Debug for ObjectRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectRead").field("record", &self.record).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Objects {
    /// The record of an object.
    pub async fn head(&self, bucket: &BucketName, key: &ObjectKey) -> Result<ObjectRecord> {
        self.head_version(bucket, key, None).await
    }

    /// The record of an object, or of one of its versions.
    pub async fn head_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
    ) -> Result<ObjectRecord> {
        self.head_in(&*self.bucket(bucket).await?, key, version).await
    }

    /// The same in a bucket that the caller has read: one that was deleted since has no objects.
    pub async fn head_in(
        &self,
        bucket: &BucketRecord,
        key: &ObjectKey,
        version: Option<VersionRef>,
    ) -> Result<ObjectRecord> {
        let txn = self.store().read().await?;
        self.record_in(&txn, bucket, key, version).await
    }

    /// Reads an object, or a range of it.
    pub async fn get(&self, bucket: &BucketName, key: &ObjectKey, range: Option<ByteRange>) -> Result<ObjectRead> {
        self.get_if(bucket, key, None, range, &Conditions::default(), None).await
    }

    /// Reads an object or one of its versions if the conditions hold; they are judged before the range, and before any byte is
    /// read. `customer_key` is the one that it is encrypted with, if it is with one: that is asked before anything else, for
    /// every answer tells something of the object.
    ///
    /// The first bytes are read before this answers, so that damage is an error and not a body that breaks off.
    pub async fn get_if(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionRef>,
        range: Option<ByteRange>,
        conditions: &Conditions,
        customer_key: Option<&CustomerKey>,
    ) -> Result<ObjectRead> {
        self.get_in(&*self.bucket(bucket).await?, key, version, range, conditions, customer_key).await
    }

    /// The same in a bucket that the caller has read: one that was deleted since has no objects.
    pub async fn get_in(
        &self,
        bucket: &BucketRecord,
        key: &ObjectKey,
        version: Option<VersionRef>,
        range: Option<ByteRange>,
        conditions: &Conditions,
        customer_key: Option<&CustomerKey>,
    ) -> Result<ObjectRead> {
        let txn = self.store().read().await?;
        let record = self.record_in(&txn, bucket, key, version).await?;
        record.check_part(range)?;
        record.check_customer_key(customer_key)?;
        conditions.check_read(&record)?;
        let range = conditions.range_of(&record, range);
        self.open(&txn, record, range, customer_key).await
    }

    /// Parts of an object that a multipart upload made, with numbers above `after`, at most `limit` and never more than
    /// [`PART_PAGE_MAX`]. None of any other object.
    pub async fn object_parts(&self, record: &ObjectRecord, after: u32, limit: usize) -> Result<Vec<ObjectPart>> {
        let Some(count) = record.parts else { return Ok(Vec::new()) };
        let txn = self.store().read().await?;
        let extents = extents(&txn, record.version, &record.layout).await?;
        let first = usize::try_from(after).unwrap_or(usize::MAX);
        let part = |(at, number): (usize, u32)| {
            // only the last can be empty, and then it has no extent
            let extent = extents.get(at);
            let checksum = extent.and_then(|extent| extent.checksum.clone());
            ObjectPart { number, size: extent.map_or(0, |extent| extent.length), checksum }
        };
        Ok((0..).zip(1..=count).skip(first).take(limit.min(PART_PAGE_MAX)).map(part).collect())
    }

    /// Where one part of an object lies; parts count from 1, and an object that no multipart upload made is its only part.
    pub async fn object_part(&self, record: &ObjectRecord, number: u32) -> Result<PartBytes> {
        let txn = self.store().read().await?;
        let extents = extents(&txn, record.version, &record.layout).await?;
        let range = part_range(record, &extents, number)?;
        Ok(PartBytes { range, checksum: part_checksum(record, &extents, number) })
    }

    /// The record of an object as the transaction sees it, or of one of its versions.
    pub(crate) async fn record_in(
        &self,
        txn: &Transaction,
        bucket: &BucketRecord,
        key: &ObjectKey,
        version: Option<VersionRef>,
    ) -> Result<ObjectRecord> {
        let row = self.find_row(txn, bucket, key, version).await?;
        Ok(row.into_record(key.clone(), bucket))
    }

    /// The row of an object, or of one of its versions.
    pub(crate) async fn find_row(
        &self,
        txn: &Transaction,
        bucket: &BucketRecord,
        key: &ObjectKey,
        version: Option<VersionRef>,
    ) -> Result<ObjectRow> {
        if let Some(version) = version {
            return match find(txn, bucket.id, key, version).await? {
                Some(found) => found.object(),
                None => Err(Error::NoSuchVersion { bucket: bucket.name.clone(), key: key.clone(), version }),
            };
        }
        if let Some(row) = OBJECTS.peek(txn, &(bucket.id, key.clone())).await? {
            return Ok(row);
        }
        let marker = if bucket.keeps_versions() { peek_newest(txn, bucket.id, key).await? } else { None };
        let marker = marker.map(|row| VersionRef::of(row.version(), row.is_null()));
        Err(Error::NoSuchKey { bucket: bucket.name.clone(), key: key.clone(), marker })
    }

    pub(crate) async fn open(
        &self,
        txn: &Transaction,
        record: ObjectRecord,
        range: Option<ByteRange>,
        customer_key: Option<&CustomerKey>,
    ) -> Result<ObjectRead> {
        let extents = extents(txn, record.version, &record.layout).await?;
        let part_checksum = match range {
            Some(ByteRange::Part(number)) => part_checksum(&record, &extents, number),
            _ => None,
        };
        let asked = range;
        let range = match range {
            None => 0..record.size,
            Some(ByteRange::Part(number)) => part_range(&record, &extents, number)?,
            Some(range) => range.of_size(record.size)?.unwrap_or(0..record.size),
        };
        let data_key = self.data_key(record.attributes.sealing.as_ref(), &record.key, customer_key)?;
        let mut body = read_extents(Arc::clone(self.blobs()), data_key, pieces_of(&extents, &range));
        let first = body.next().await.transpose()?;
        let body = stream::iter(first.map(Ok)).chain(body).boxed();
        Ok(ObjectRead { record, asked, range, part_checksum, body })
    }
}

impl ObjectRecord {
    /// Refuses a part that the object has not. How many it has shows in its tag, so this needs no customer key.
    pub fn check_part(&self, asked: Option<ByteRange>) -> Result<()> {
        let parts = self.parts.unwrap_or(1);
        match asked {
            Some(ByteRange::Part(number)) if number == 0 || number > parts => Err(Error::NoSuchPart { number, parts }),
            _ => Ok(()),
        }
    }
}

fn from_to(size_bytes: u64, first: u64, last: Option<u64>) -> Result<Range<u64>> {
    let end = last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes));
    if first >= end { Err(Error::InvalidRange { size_bytes }) } else { Ok(first..end) }
}

fn suffix(size_bytes: u64, bytes: u64) -> Result<Range<u64>> {
    if bytes == 0 || size_bytes == 0 {
        return Err(Error::InvalidRange { size_bytes });
    }
    Ok(size_bytes.saturating_sub(bytes)..size_bytes)
}

/// A part is an extent; only the last part of an upload can be empty, and then it has none.
fn part_range(record: &ObjectRecord, extents: &[Extent], number: u32) -> Result<Range<u64>> {
    record.check_part(Some(ByteRange::Part(number)))?;
    if record.parts.is_none() {
        return Ok(0..record.size);
    }
    let lengths = || extents.iter().map(|extent| extent.length);
    let before = number as usize - 1;
    let start = lengths().take(before).sum::<u64>();
    Ok(start..start + lengths().nth(before).unwrap_or(0))
}

fn part_checksum(record: &ObjectRecord, extents: &[Extent], number: u32) -> Option<Checksum> {
    record.parts?;
    extents.get(usize::try_from(number).ok()?.checked_sub(1)?)?.checksum.clone()
}

/// Which plain bytes of which blobs make up `range`.
fn pieces_of(extents: &[Extent], range: &Range<u64>) -> Vec<(Extent, Range<u64>)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for extent in extents {
        let end = at + extent.length;
        let (first, last) = (range.start.max(at), range.end.min(end));
        if first < last {
            pieces.push((extent.clone(), first - at..last - at));
        }
        at = end;
    }
    debug_assert_eq!(pieces.iter().map(|(_, piece)| piece.end - piece.start).sum::<u64>(), range.end - range.start);
    pieces
}

pub(crate) fn read_extents(
    blobs: Arc<dyn BlobStore>,
    data_key: Option<DataKey>,
    pieces: Vec<(Extent, Range<u64>)>,
) -> ObjectBody {
    let read = move |(extent, range): (Extent, Range<u64>)| {
        let (blobs, opener) = (Arc::clone(&blobs), opener(data_key.as_ref(), &extent, &range));
        async move {
            let Some(opener) = opener? else {
                return Ok::<_, Error>(blobs.read(extent.blob, range).await?.map_err(Error::from).boxed());
            };
            let sealed = blobs.read(extent.blob, sealed_range(&range, extent.length)).await?;
            Ok(opened(sealed, opener))
        }
    };
    stream::iter(pieces).then(read).try_flatten().boxed()
}

/// What opens a piece that is sealed.
fn opener(data_key: Option<&DataKey>, extent: &Extent, range: &Range<u64>) -> Result<Option<Opener>> {
    let (data_key, salt) = match (data_key, &extent.salt) {
        (None, None) => return Ok(None),
        (Some(data_key), Some(salt)) => (data_key, salt),
        // a row that has lost one of them
        _ => return Err(Error::Key(KeyError::NotUnwrapped)),
    };
    Opener::new(data_key, salt, range, extent.length).map(Some).map_err(Error::Seal)
}

/// The plain bytes of a sealed piece; ends with an error when any of it is damaged or missing.
fn opened(sealed: BlobReader, opener: Opener) -> ObjectBody {
    let next = async |(mut sealed, mut opener): (BlobReader, Opener)| {
        while let Some(bytes) = sealed.try_next().await? {
            let plain;
            (opener, plain) = open_frames(opener, bytes).await;
            let plain = plain?;
            if !plain.is_empty() {
                return Ok(Some((plain, (sealed, opener))));
            }
        }
        opener.finish().map_err(Error::Seal)?;
        Ok(None)
    };
    stream::try_unfold((sealed, opener), next).boxed()
}

async fn open_frames(mut opener: Opener, sealed: Bytes) -> (Opener, Result<Bytes>) {
    let small = sealed.len() < SEAL_INLINE_BYTES;
    let open = move || {
        let plain = opener.push(&sealed).map_err(Error::Seal);
        (opener, plain)
    };
    if small { open() } else { offload(open).await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_types::{BlobId, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn ranges_are_cut_to_the_object_or_refused() {
        assert_eq!(from_to(10, 0, None).unwrap(), 0..10);
        assert_eq!(from_to(10, 3, Some(3)).unwrap(), 3..4);
        assert_eq!(from_to(10, 9, Some(u64::MAX)).unwrap(), 9..10);
        assert_eq!(suffix(10, 3).unwrap(), 7..10);
        assert_eq!(suffix(10, 99).unwrap(), 0..10);
        for refused in
            [from_to(10, 10, None), from_to(10, 5, Some(4)), from_to(0, 0, None), suffix(10, 0), suffix(0, 5)]
        {
            assert!(matches!(refused, Err(Error::InvalidRange { .. })), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_exactly_the_range(lengths in prop::collection::vec(1u64..50, 1..8), a in 0u64..400, b in 0u64..400) {
            let blob = |i: usize| BlobId::new(Timestamp::from_millis(i as u64 + 1));
            let extents: Vec<_> =
                lengths.iter().enumerate().map(|(i, length)| Extent::new(blob(i), *length, None)).collect();
            let size: u64 = lengths.iter().sum();
            let range = a.min(b).min(size)..a.max(b).min(size);
            let all: Vec<(BlobId, u64)> =
                extents.iter().flat_map(|extent| (0..extent.length).map(|at| (extent.blob, at))).collect();
            let read: Vec<(BlobId, u64)> = pieces_of(&extents, &range)
                .into_iter()
                .flat_map(|(extent, piece)| piece.map(move |at| (extent.blob, at)))
                .collect();
            let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            prop_assert_eq!(&read[..], &all[start..end]);
        }
    }
}
