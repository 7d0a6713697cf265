//! What the tests of this crate share: an object store in memory that can be made slow and unreliable, a clock that
//! follows tokio's, and ways to read back what pipelines wrote.

use crate::json_rows::with_offset;
use crate::pipelines::{CreatedPipeline, Pipelines};
use crate::{PipelineSpec, PipelinesConfig};
use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use arrow_schema::{Fields, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use cistern_blobs::MemoryBlobs;
use cistern_metadata::{
    Commit, CommitRequest, Engine, EngineSnapshot, MemoryEngine, RowKey, RowValue, Scan, Store, Table,
};
use cistern_objects::{BucketSpec, Limits, ListRequest, Objects};
use cistern_runtime::{Clock, Shutdown, Supervisor};
use cistern_types::{BucketName, Owner, OwnerId, StorageClass, Timestamp};
use futures::TryStreamExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// A wall clock that moves with tokio's paused time, and may be set wrong.
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: Instant,
    ahead_seconds: AtomicU64,
}

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), ahead_seconds: AtomicU64::new(0) }
    }

    /// Says from now on what time it will be so much later.
    pub(crate) fn set_ahead(&self, ahead: Duration) {
        self.ahead_seconds.store(ahead.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_secs(self.ahead_seconds.load(Ordering::SeqCst));
        Timestamp::from_millis(1_790_000_000_000).plus(self.start.elapsed() + ahead)
    }
}

/// The memory engine, with a pause at every step where a test may stop its caller, and commits that happen but fail.
#[derive(Debug)]
pub(crate) struct ShakyEngine {
    engine: MemoryEngine,
    /// One commit in this many says that it failed; 0 for none.
    pub(crate) lost_answers: AtomicU32,
    commits: AtomicU32,
}

#[async_trait]
impl Engine for ShakyEngine {
    async fn snapshot(&self) -> cistern_metadata::Result<Box<dyn EngineSnapshot>> {
        tokio::task::yield_now().await;
        self.engine.snapshot().await
    }

    async fn commit(&self, request: CommitRequest) -> cistern_metadata::Result<Commit> {
        tokio::task::yield_now().await;
        let commit = self.engine.commit(request).await?;
        tokio::task::yield_now().await;
        let every = self.lost_answers.load(Ordering::SeqCst);
        if every > 0 && self.commits.fetch_add(1, Ordering::SeqCst) % every == every - 1 {
            return Err(cistern_metadata::Error::CorruptRow { table: "test", key: "the answer was lost".into() });
        }
        Ok(commit)
    }

    fn written(&self, table: u8) -> u64 {
        self.engine.written(table)
    }
}

pub(crate) struct House {
    pub(crate) objects: Objects,
    pub(crate) engine: Arc<ShakyEngine>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same, to be set wrong.
    pub(crate) wall: Arc<TokioClock>,
    pub(crate) bucket: BucketName,
}

impl House {
    /// An object store with the bucket `events`.
    pub(crate) async fn new() -> Self {
        let wall = Arc::new(TokioClock::new());
        let clock = Arc::clone(&wall) as Arc<dyn Clock>;
        let engine = Arc::new(ShakyEngine {
            engine: MemoryEngine::new(),
            lost_answers: AtomicU32::new(0),
            commits: AtomicU32::new(0),
        });
        let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
        let store = Store::new(Arc::clone(&engine) as Arc<dyn Engine>);
        let objects = Objects::new(store, blobs, Arc::clone(&clock), Limits::default());
        let house = Self { objects, engine, clock, wall, bucket: "events".parse().unwrap() };
        house.make_bucket().await;
        house
    }

    pub(crate) async fn make_bucket(&self) {
        let owner = Owner { id: OwnerId::from_bytes(Sha256::digest("ada").into()), name: "ada".into() };
        let spec = BucketSpec {
            name: self.bucket.clone(),
            owner,
            class: StorageClass::Standard,
            location: None,
            object_lock: false,
            acl: None,
            object_ownership: None,
            tags: None,
        };
        self.objects.create_bucket(spec).await.unwrap();
    }

    /// A pipeline that everybody may send to, with a timeout of ten seconds.
    pub(crate) fn spec(&self, name: &str) -> PipelineSpec {
        let mut spec = PipelineSpec::new(name.parse().unwrap(), self.bucket.clone());
        spec.stream.auth = crate::IngestAuth::None;
        spec.output.batch.timeout = Duration::from_secs(10);
        spec
    }

    /// The pipelines as a process has them that starts now.
    pub(crate) async fn open(&self) -> Running {
        self.open_with(PipelinesConfig::default()).await
    }

    pub(crate) async fn open_with(&self, config: PipelinesConfig) -> Running {
        let supervisor = Supervisor::new(Shutdown::new());
        let pipelines =
            Pipelines::open(self.objects.clone(), Arc::clone(&self.clock), supervisor.clone(), config).await.unwrap();
        Running { pipelines, supervisor }
    }

    /// The same store, another bucket to look into, which is made.
    pub(crate) async fn with_bucket(mut self, name: &str) -> Self {
        self.bucket = name.parse().unwrap();
        self.make_bucket().await;
        self
    }

    /// How many rows a table has.
    pub(crate) async fn count<K: RowKey, V: RowValue>(&self, table: Table<K, V>) -> usize {
        let txn = self.objects.store().read().await.unwrap();
        table.scan_unchecked(&txn, &Scan::first(table.range(), 100_000)).await.unwrap().len()
    }

    /// The keys of all objects in the bucket.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let page = self.objects.list(ListRequest::all(self.bucket.clone())).await.unwrap();
        assert!(!page.truncated(), "tests write fewer objects than a page has");
        page.objects.iter().map(|object| object.key.to_string()).collect()
    }

    pub(crate) async fn body(&self, key: &str) -> Bytes {
        let read = self.objects.get(&self.bucket, &key.parse().unwrap(), None).await.unwrap();
        let pieces: Vec<Bytes> = read.body.try_collect().await.unwrap();
        pieces.concat().into()
    }

    /// The rows of a Parquet object, or the lines of another, as JSON.
    pub(crate) async fn rows(&self, key: &str) -> Vec<Value> {
        let body = self.body(key).await;
        let text = if key.ends_with(".parquet") { parquet_to_json(body) } else { body.to_vec() };
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// All rows of all objects; those of dead-letter objects are the events themselves.
    pub(crate) async fn all_rows(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for key in self.keys().await {
            let rows = self.rows(&key).await;
            let dead = key.contains("/dead-letters/");
            all.extend(rows.into_iter().map(|row| if dead { row["event"].clone() } else { row }));
        }
        all
    }
}

/// The rows of a Parquet file, one a line, nulls left out of objects.
pub(crate) fn parquet_to_json(file: Bytes) -> Vec<u8> {
    let schema = Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().schema());
    let fields: Fields = schema.fields().iter().map(|field| with_offset(field)).collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap().build().unwrap();
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    for batch in reader {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

pub(crate) struct Running {
    pub(crate) pipelines: Pipelines,
    pub(crate) supervisor: Supervisor,
}

impl Running {
    pub(crate) async fn create(&self, spec: PipelineSpec) -> CreatedPipeline {
        self.pipelines.create(spec).await.unwrap()
    }

    /// Posts a body, which is taken.
    pub(crate) async fn send(&self, name: &str, body: &str) {
        assert_eq!(self.post(name, body).await.status(), 200, "{body}");
    }

    pub(crate) async fn post(&self, name: &str, body: &str) -> axum::response::Response {
        use tower::ServiceExt as _;
        let request = http::Request::post(format!("/{name}")).body(axum::body::Body::from(body.to_owned())).unwrap();
        self.pipelines.ingest_router().oneshot(request).await.unwrap()
    }

    /// Waits until all events are in objects. Time is paused, so that waiting takes none.
    pub(crate) async fn settle(&self) {
        for _ in 0..1000 {
            if self.pipelines.health().iter().all(|health| health.lag_events == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("not delivered: {:?}", self.pipelines.health());
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Pipelines) -> bool) {
        for _ in 0..1000 {
            if holds(&self.pipelines) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("never: {what}; {:?}", self.pipelines.health());
    }

    /// Stops as a server does.
    pub(crate) async fn stop(self) {
        self.pipelines.stop().await;
        self.supervisor.shutdown().begin();
        assert_eq!(self.supervisor.stopped(Duration::from_mins(1)).await, Vec::<String>::new());
    }
}

/// Runs a future until it has been polled `polls` times, then drops it, as a crash does.
pub(crate) async fn crash_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    poll_some(polls, pin!(future)).await
}

/// Polls a future `polls` times and lets it wait then; what it answers if it has ended by then.
pub(crate) async fn poll_some<F: Future>(polls: usize, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Random numbers from a seed, which a failure prints.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
