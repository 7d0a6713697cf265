//! `MemoryBlobs`: blobs in memory, gone with the process. For tests, and the reference the other stores are held to.

use crate::{Blob, BlobReader, BlobStore, BlobWriter, Error, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_runtime::Clock;
use cistern_types::{BlobId, Receipt, StorageClass};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// The longest piece a reader answers, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Blobs in memory. Cheap to clone; clones share the blobs.
#[derive(Debug, Clone)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<BTreeMap<BlobId, State>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
enum State {
    Unfinished,
    Finished(Bytes),
}

impl MemoryBlobs {
    /// No blobs; new ones get their age from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { blobs: Arc::default(), clock }
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn writer(&self, _: StorageClass) -> Result<Box<dyn BlobWriter>> {
        let id = BlobId::new(self.clock.now());
        Ok(Box::new(MemoryWriter { id, bytes: BytesMut::new(), blobs: Arc::clone(&self.blobs) }))
    }

    async fn read(&self, id: BlobId, range: Range<u64>) -> Result<BlobReader> {
        let blobs = self.blobs.lock();
        let Some(State::Finished(bytes)) = blobs.get(&id) else {
            return Err(Error::NoSuchBlob { id });
        };
        let length = bytes.len() as u64;
        if range.start > range.end || range.end > length {
            return Err(Error::OutsideBlob { id, start: range.start, end: range.end, length });
        }
        let in_memory = |offset| usize::try_from(offset).expect("the bytes are in memory, so their number fits");
        let bytes = bytes.slice(in_memory(range.start)..in_memory(range.end));
        let pieces = (0..bytes.len()).step_by(PIECE_BYTES);
        let pieces = pieces.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE_BYTES))));
        Ok(stream::iter(pieces).boxed())
    }

    async fn delete(&self, ids: &[BlobId]) -> Result<Vec<BlobId>> {
        let mut blobs = self.blobs.lock();
        for id in ids {
            blobs.remove(id);
        }
        Ok(Vec::new())
    }

    async fn list(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<BlobId>> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.blobs.lock();
        Ok(blobs.range((after, Bound::Unbounded)).map(|(id, _)| *id).take(limit).collect())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    id: BlobId,
    bytes: BytesMut,
    blobs: Arc<Mutex<BTreeMap<BlobId, State>>>,
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    fn id(&self) -> BlobId {
        self.id
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        self.blobs.lock().insert(self.id, State::Unfinished);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Blob> {
        let bytes = self.bytes.freeze();
        let length = bytes.len() as u64;
        self.blobs.lock().insert(self.id, State::Finished(bytes));
        Ok(Blob { id: self.id, length, receipt: Receipt::DURABLE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;
    use cistern_runtime::SystemClock;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_is_a_blob_store() {
        let commit: conformance::Commit = Arc::new(|receipt| {
            assert_eq!(receipt, Receipt::DURABLE);
            Box::pin(std::future::ready(()))
        });
        conformance::run(Arc::new(MemoryBlobs::new(Arc::new(SystemClock))), commit).await;
    }
}
