//! The border: what a store of immutable bytes must do, in the fewest words.

use crate::Result;
use async_trait::async_trait;
use bytes::Bytes;
use cistern_types::{BlobId, Receipt, StorageClass};
use futures::stream::BoxStream;
use std::fmt::Debug;
use std::ops::Range;

/// The bytes of one range, in order, in pieces of at most 1 MiB. An `Err` ends it.
pub type BlobReader = BoxStream<'static, Result<Bytes>>;

/// A blob that has been written whole.
#[derive(Debug, Clone, Copy)]
pub struct Blob {
    /// Its name.
    pub id: BlobId,
    /// Its length in bytes.
    pub length: u64,
    /// What a commit that names it must present.
    pub receipt: Receipt,
}

/// Immutable bytes under random names.
#[async_trait]
pub trait BlobStore: Send + Sync + Debug + 'static {
    /// Begins a new blob. Nothing of it can be read before `finish`; all of it can be read once a commit that presented
    /// the receipt has been acknowledged.
    async fn writer(&self, class: StorageClass) -> Result<Box<dyn BlobWriter>>;

    /// The bytes `range` of a blob; the range must lie inside it. Every byte has been checked against its checksum.
    /// Reading a blob that is deleted meanwhile may end with [`crate::Error::NoSuchBlob`].
    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<BlobReader>;

    /// Deletes blobs, all of them or (on an error) any of them; unknown ones are passed over. Durable when it returns.
    ///
    /// Answers those that cannot be deleted now although others can: the part of the store that they lie in takes no writes. They are to be
    /// deleted later.
    async fn delete(&self, ids: &[BlobId]) -> Result<Vec<BlobId>>;

    /// Blobs after `after` in the order of their ids, at most `limit`; unfinished ones too.
    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>>;

    /// Writes a whole body of at most a few MiB at once.
    async fn put(&self, class: StorageClass, body: Bytes) -> Result<Blob> {
        let mut writer = self.writer(class).await?;
        writer.write(body).await?;
        writer.finish().await
    }
}

/// A blob being written. Dropping it leaves an orphan at most.
#[async_trait]
pub trait BlobWriter: Send + Debug {
    /// The name it will have.
    fn id(&self) -> BlobId;

    /// Adds bytes. Waits while too much is in flight: at most a few MiB a writer are held in memory.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Ends the blob. The bytes may not be durable yet: the receipt says what a commit must present.
    async fn finish(self: Box<Self>) -> Result<Blob>;
}
