//! [`Objects`]: the one value through which everything above reaches buckets and objects.

use crate::md5_lanes::Md5Lanes;
use crate::rows::BUCKETS;
use crate::turns::Turns;
use crate::{BucketRecord, Limits, MasterKeys};
use cistern_blobs::BlobStore;
use cistern_metadata::{RowCache, Store};
use cistern_runtime::Clock;
use cistern_types::{BucketName, Timestamp};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The object store of one installation, on a pair of engines. Cheap to clone; holds no state of its own but who waits for
/// whom, and bucket rows for as long as the engine says that none has changed, so any number of processes may work on the same engines.
///
/// Every method is in the file of its name: `put`, `get`, `delete`, `copy`, `list`, `multipart`, `bucket`.
#[derive(Debug, Clone)]
pub struct Objects {
    parts: Arc<Parts>,
    ring: Option<Arc<Ring>>,
}

/// The master keys, and whether the store remembers that the current one is used.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) keys: MasterKeys,
    pub(crate) noted: OnceCell<()>,
}

#[derive(Debug)]
struct Parts {
    store: Store,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    turns: Turns,
    md5_lanes: Arc<Md5Lanes>,
    buckets: RowCache<BucketName, BucketRecord>,
}

impl Objects {
    /// Objects whose rows are in `store` and whose bytes are in `blobs`.
    pub fn new(store: Store, blobs: Arc<dyn BlobStore>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let (turns, md5_lanes, buckets) = (Turns::new(), Md5Lanes::new(), RowCache::new(BUCKETS));
        Self { parts: Arc::new(Parts { store, blobs, clock, limits, turns, md5_lanes, buckets }), ring: None }
    }

    /// The same with master keys, which wrap the keys of objects that are encrypted with a key of the store's own. Without
    /// them such objects are refused, and those that are there cannot be read.
    #[must_use]
    pub fn with_master_keys(self, master_keys: MasterKeys) -> Self {
        Self { ring: Some(Arc::new(Ring { keys: master_keys, noted: OnceCell::new() })), ..self }
    }

    /// Objects in memory, for the tests of the crates above.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let store = Store::new(Arc::new(cistern_metadata::MemoryEngine::new()));
        let blobs = Arc::new(cistern_blobs::MemoryBlobs::new(Arc::clone(&clock)));
        Self::new(store, blobs, clock, limits)
    }

    /// Where the rows are.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Where the bytes are.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.parts.blobs
    }

    /// The clock that dates everything.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.parts.limits
    }

    pub(crate) fn ring(&self) -> Option<&Ring> {
        self.ring.as_deref()
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.parts.turns
    }

    pub(crate) fn md5_lanes(&self) -> &Arc<Md5Lanes> {
        &self.parts.md5_lanes
    }

    pub(crate) fn bucket_rows(&self) -> &RowCache<BucketName, BucketRecord> {
        &self.parts.buckets
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}
