//! What the tests of this crate share: a small object store in memory with one bucket, and ways to look into it.

use crate::body::BodyChecks;
use crate::rows::{CLAIMS, COMPLETED, EXTENTS, GARBAGE, NULL_VERSIONS, PARTS, VERSIONS};
use crate::{
    BodyError, BucketSpec, ByteRange, CompletedPart, Conditions, CreateUpload, CustomerKey, Limits, ListRequest,
    ListUploads, MasterKeys, ObjectHeaders, ObjectRead, Objects, PartOutcome, PutOutcome, PutRequest, Result,
    SweepSchedule, UploadRef, VersionRef,
};
use bytes::Bytes;
use cistern_metadata::{KeyRange, Scan};
use cistern_runtime::{TestClock, Work, Worker};
use cistern_types::{BlobId, BucketName, ETag, ObjectKey, Owner, OwnerId, StorageClass, Timestamp};
use futures::{Stream, TryStreamExt, stream};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) struct House {
    pub(crate) objects: Objects,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) bucket: BucketName,
}

pub(crate) fn bucket_spec(name: &str) -> BucketSpec {
    BucketSpec {
        name: name.parse().unwrap(),
        owner: owner(1),
        class: StorageClass::Standard,
        location: None,
        object_lock: false,
        acl: None,
        object_ownership: None,
        tags: None,
    }
}

pub(crate) fn owner(byte: u8) -> Owner {
    Owner { id: OwnerId::from_bytes([byte; 32]), name: format!("owner {byte}") }
}

pub(crate) fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// A body that arrives in pieces of 100 KB.
pub(crate) fn body(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + use<> {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

/// The same ring after every restart.
pub(crate) fn master_keys() -> MasterKeys {
    format!("current = \"{}=\"", "A".repeat(43)).parse().unwrap()
}

/// A key of a client's, another one for each byte.
pub(crate) fn customer_key(byte: u8) -> CustomerKey {
    use base64::Engine as _;
    use md5::Digest as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let (key, md5) = (base64.encode([byte; 32]), base64.encode(md5::Md5::digest([byte; 32])));
    CustomerKey::from_headers(Some("AES256"), Some(&key), Some(&md5)).unwrap().unwrap()
}

/// `length` bytes that do not repeat early.
pub(crate) fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 0x9e37_79b9_7f4a_7c15;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with_limits(Limits { part_bytes_min: 4, ..Limits::default() }).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let objects = Objects::in_memory(Arc::<TestClock>::clone(&clock), limits).with_master_keys(master_keys());
        Self::on(objects, clock).await
    }

    pub(crate) async fn on(objects: Objects, clock: Arc<TestClock>) -> Self {
        let bucket = objects.create_bucket(bucket_spec("house")).await.unwrap().name;
        Self { objects, clock, bucket }
    }

    pub(crate) fn put_request(&self, name: &str) -> PutRequest {
        PutRequest::new(self.bucket.clone(), key(name))
    }

    pub(crate) async fn put(&self, name: &str, content: &[u8]) -> PutOutcome {
        self.objects.put(self.put_request(name), body(content)).await.unwrap()
    }

    /// All bytes of an object.
    pub(crate) async fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.read_range(name, None).await
    }

    pub(crate) async fn read_range(&self, name: &str, range: Option<ByteRange>) -> Result<Vec<u8>> {
        read_all(self.objects.get(&self.bucket, &key(name), range).await?).await
    }

    /// All bytes of one version of an object.
    pub(crate) async fn read_version(&self, name: &str, version: Option<VersionRef>) -> Result<Vec<u8>> {
        let none = Conditions::default();
        read_all(self.objects.get_if(&self.bucket, &key(name), version, None, &none, None).await?).await
    }

    /// How many rows there are of versions that are not current.
    pub(crate) async fn rows_of_versions(&self) -> usize {
        let rows = self.rows().await;
        let ranges = [VERSIONS.range(), NULL_VERSIONS.range()];
        rows.iter().filter(|(key, _)| ranges.iter().any(|range| range.contains(key))).count()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let page = self.objects.list(ListRequest::all(self.bucket.clone())).await.unwrap();
        page.objects.into_iter().map(|object| object.key.to_string()).collect()
    }

    pub(crate) async fn begin_upload(&self, name: &str) -> UploadRef {
        self.begin(self.plain_upload(name)).await
    }

    /// An upload without headers and checksum.
    pub(crate) fn plain_upload(&self, name: &str) -> CreateUpload {
        CreateUpload {
            bucket: self.bucket.clone(),
            key: key(name),
            headers: ObjectHeaders::default(),
            attributes: crate::Attributes::default(),
            encryption: crate::Encryption::None,
            class: None,
            checksum: None,
            initiator: owner(1),
        }
    }

    pub(crate) fn all_uploads(&self) -> ListUploads {
        ListUploads {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            delimiter: None,
            key_marker: None,
            upload_marker: None,
            limit: 1000,
        }
    }

    pub(crate) async fn begin(&self, request: CreateUpload) -> UploadRef {
        let (bucket, key) = (request.bucket.clone(), request.key.clone());
        let upload = self.objects.create_upload(request).await.unwrap().upload;
        UploadRef { bucket, key, upload }
    }

    pub(crate) async fn put_part(&self, at: &UploadRef, number: u16, content: &[u8]) -> CompletedPart {
        let part = self.objects.put_part(at, number, None, BodyChecks::default(), body(content)).await.unwrap();
        named(number, &part)
    }

    pub(crate) async fn blobs(&self) -> Vec<BlobId> {
        self.objects.blobs().list(None, 1_000_000).await.unwrap()
    }

    /// Every row there is.
    pub(crate) async fn rows(&self) -> Vec<(Bytes, Bytes)> {
        let txn = self.objects.store().read().await.unwrap();
        txn.scan_raw_unchecked(&Scan::first(KeyRange::prefix(&[]), 1_000_000)).await.unwrap()
    }

    /// How many rows remember garbage, claims, extents, parts and completed uploads.
    pub(crate) async fn bookkeeping(&self) -> [usize; 5] {
        let rows = self.rows().await;
        let count = |range: KeyRange| rows.iter().filter(|(key, _)| range.contains(key)).count();
        [GARBAGE.range(), CLAIMS.range(), EXTENTS.range(), PARTS.range(), COMPLETED.range()].map(count)
    }

    /// Sweeps until there is nothing left to do now, orphans included.
    pub(crate) async fn sweep(&self) {
        let now = SweepSchedule { first_orphan_pass_after: Duration::ZERO, ..SweepSchedule::default() };
        let mut sweeper = self.objects.sweeper(now);
        while sweeper.work().await.unwrap() == Work::More {}
    }
}

pub(crate) async fn read_all(read: ObjectRead) -> Result<Vec<u8>> {
    let length = read.range.end - read.range.start;
    let pieces: Vec<Bytes> = read.body.try_collect().await?;
    let whole = pieces.concat();
    assert_eq!(whole.len() as u64, length, "the body is as long as its range");
    Ok(whole)
}

pub(crate) fn named(number: u16, part: &PartOutcome) -> CompletedPart {
    assert!(matches!(part.etag, ETag::Md5(_)));
    CompletedPart { number, etag: part.etag, checksum: part.checksum.clone() }
}
