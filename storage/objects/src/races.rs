//! Requests that overtake one another at the worst moment: between the last read of a transaction and its commit.

use crate::fixture::{House, body, bucket_spec, key, named};
use crate::{BodyChecks, CompleteUpload, Conditions, Error, Limits, Objects, PutRequest};
use async_trait::async_trait;
use cistern_blobs::MemoryBlobs;
use cistern_metadata::{Commit, CommitRequest, Engine, EngineSnapshot, MemoryEngine, Result as MetadataResult, Store};
use cistern_runtime::TestClock;
use cistern_types::Timestamp;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Overtaker = Arc<Mutex<Option<BoxFuture<'static, ()>>>>;

/// An engine in memory that lets something else happen before a commit, once.
struct Overtaking {
    inner: MemoryEngine,
    first: Overtaker,
}

impl fmt::Debug for Overtaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overtaking").finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for Overtaking {
    async fn snapshot(&self) -> MetadataResult<Box<dyn EngineSnapshot>> {
        self.inner.snapshot().await
    }

    async fn commit(&self, request: CommitRequest) -> MetadataResult<Commit> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            first.await;
        }
        self.inner.commit(request).await
    }

    fn written(&self, table: u8) -> u64 {
        self.inner.written(table)
    }
}

struct Race {
    house: House,
    /// The same objects in another process, which waits for nobody here.
    elsewhere: Objects,
    first: Overtaker,
}

impl Race {
    async fn new() -> Self {
        let first = Overtaker::default();
        let engine = Overtaking { inner: MemoryEngine::new(), first: Arc::clone(&first) };
        let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let blobs = Arc::new(MemoryBlobs::new(Arc::<TestClock>::clone(&clock)));
        let limits = Limits { part_bytes_min: 4, ..Limits::default() };
        let store = Store::new(Arc::new(engine));
        let process = || {
            let blobs = Arc::<MemoryBlobs>::clone(&blobs);
            Objects::new(store.clone(), blobs, Arc::<TestClock>::clone(&clock), limits.clone())
        };
        let (objects, elsewhere) = (process(), process());
        Self { house: House::on(objects, clock).await, elsewhere, first }
    }

    /// The next commit is overtaken by this.
    fn first(&self, overtaker: impl Future<Output = ()> + Send + 'static) {
        *self.first.lock().unwrap() = Some(Box::pin(overtaker));
    }

    /// Everything comes due; `blobs` of them are left, each claimed, and nothing else to remember.
    async fn check_left(&self, blobs: usize) {
        assert!(self.first.lock().unwrap().is_none(), "nothing was overtaken");
        self.house.clock.advance(Duration::from_hours(100));
        self.house.sweep().await;
        assert_eq!(self.house.blobs().await.len(), blobs);
        assert_eq!(self.house.bookkeeping().await, [0, blobs, 0, 0, 0]);
    }
}

#[tokio::test]
async fn a_part_overtaken_by_an_abort_is_refused_and_freed() {
    let race = Race::new().await;
    let at = race.house.begin_upload("k").await;
    let (objects, aborted) = (race.elsewhere.clone(), at.clone());
    race.first(async move { objects.abort_upload(&aborted).await.unwrap() });
    let answer = race.house.objects.put_part(&at, 1, None, BodyChecks::default(), body(b"late")).await;
    assert!(matches!(answer, Err(Error::NoSuchUpload { .. })), "{answer:?}");
    race.check_left(0).await;
}

#[tokio::test]
async fn a_part_overtaken_by_the_completion_is_refused_and_freed() {
    let race = Race::new().await;
    let at = race.house.begin_upload("k").await;
    let parts = vec![race.house.put_part(&at, 1, b"12345").await];
    let (objects, completed) = (race.elsewhere.clone(), at.clone());
    race.first(async move {
        let request = CompleteUpload { parts, ..CompleteUpload::default() };
        objects.complete_upload(&completed, request).await.unwrap();
    });
    let answer = race.house.objects.put_part(&at, 2, None, BodyChecks::default(), body(b"late")).await;
    assert!(matches!(answer, Err(Error::NoSuchUpload { .. })), "{answer:?}");
    race.check_left(1).await;
    assert_eq!(race.house.read("k").await.unwrap(), b"12345");
}

#[tokio::test]
async fn a_completion_overtaken_by_a_part_sees_it() {
    for number in [1, 2] {
        let race = Race::new().await;
        let at = race.house.begin_upload("k").await;
        let parts = vec![race.house.put_part(&at, 1, b"12345").await];
        let (objects, uploading) = (race.elsewhere.clone(), at.clone());
        race.first(async move {
            let part = objects.put_part(&uploading, number, None, BodyChecks::default(), body(b"other")).await.unwrap();
            assert_eq!(named(number, &part).number, number);
        });
        let request = CompleteUpload { parts, ..CompleteUpload::default() };
        let answer = race.house.objects.complete_upload(&at, request).await;
        if number == 1 {
            assert!(matches!(answer, Err(Error::InvalidPart { number: 1 })), "it was replaced: {answer:?}");
            race.house.objects.abort_upload(&at).await.unwrap();
            race.check_left(0).await;
        } else {
            answer.unwrap();
            race.check_left(1).await;
        }
    }
}

#[tokio::test]
async fn a_write_overtaken_by_another_judges_its_conditions_anew_and_frees_what_it_replaces() {
    for create_only in [false, true] {
        let race = Race::new().await;
        let (objects, request) = (race.elsewhere.clone(), race.house.put_request("k"));
        race.first(async move {
            objects.put(request, body(b"faster")).await.unwrap();
        });
        let conditions = if create_only { Conditions::create_only() } else { Conditions::default() };
        let request = PutRequest { conditions, ..race.house.put_request("k") };
        let answer = race.house.objects.put(request, body(b"slower")).await;
        assert_eq!(answer.is_ok(), !create_only, "{answer:?}");
        let expected: &[u8] = if create_only { b"faster" } else { b"slower" };
        assert_eq!(race.house.read("k").await.unwrap(), expected);
        race.check_left(1).await;
    }
}

#[tokio::test]
async fn a_bucket_gets_no_object_after_its_deletion_and_is_not_deleted_with_one() {
    let race = Race::new().await;
    let (objects, bucket) = (race.elsewhere.clone(), race.house.bucket.clone());
    race.first(async move { objects.delete_bucket(&bucket).await.unwrap() });
    let answer = race.house.objects.put(race.house.put_request("k"), body(b"late")).await;
    assert!(matches!(answer, Err(Error::NoSuchBucket { .. })), "{answer:?}");
    race.check_left(0).await;

    // nor one that was meant for its life before
    race.house.objects.create_bucket(bucket_spec("house")).await.unwrap();
    let (objects, bucket) = (race.elsewhere.clone(), race.house.bucket.clone());
    race.first(async move {
        objects.delete_bucket(&bucket).await.unwrap();
        objects.create_bucket(bucket_spec("house")).await.unwrap();
    });
    let answer = race.house.objects.put(race.house.put_request("k"), body(b"late")).await;
    assert!(matches!(answer, Err(Error::NoSuchBucket { .. })), "{answer:?}");
    race.check_left(0).await;

    let (objects, request) = (race.elsewhere.clone(), race.house.put_request("k"));
    race.first(async move {
        objects.put(request, body(b"faster")).await.unwrap();
    });
    let answer = race.house.objects.delete_bucket(&race.house.bucket).await;
    assert!(matches!(answer, Err(Error::BucketNotEmpty { .. })), "{answer:?}");
    race.check_left(1).await;
}

#[tokio::test]
async fn a_delete_overtaken_by_a_write_deletes_what_is_there_then() {
    let race = Race::new().await;
    race.house.put("k", b"old").await;
    let (objects, request) = (race.elsewhere.clone(), race.house.put_request("k"));
    race.first(async move {
        objects.put(request, body(b"faster")).await.unwrap();
    });
    race.house.objects.delete(&race.house.bucket, &key("k")).await.unwrap();
    assert!(race.house.keys().await.is_empty());
    race.check_left(0).await;
}

/// An engine in memory whose commits take a moment, as those of drives do.
#[derive(Debug)]
struct Slow(MemoryEngine);

#[async_trait]
impl Engine for Slow {
    async fn snapshot(&self) -> MetadataResult<Box<dyn EngineSnapshot>> {
        self.0.snapshot().await
    }

    async fn commit(&self, request: CommitRequest) -> MetadataResult<Commit> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.0.commit(request).await
    }

    fn written(&self, table: u8) -> u64 {
        self.0.written(table)
    }
}

#[tokio::test(start_paused = true)]
async fn many_writers_of_one_key_all_get_their_turn() {
    const WRITERS: u32 = 32;
    const WRITES: u32 = 100;
    let clock = Arc::new(TestClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let blobs = Arc::new(MemoryBlobs::new(Arc::<TestClock>::clone(&clock)));
    let store = Store::new(Arc::new(Slow(MemoryEngine::new())));
    let objects = Objects::new(store, blobs, Arc::<TestClock>::clone(&clock), Limits::default());
    let house = House::on(objects, clock).await;
    let began = tokio::time::Instant::now();
    let write = |writer: u32| {
        let objects = house.objects.clone();
        let requests: Vec<_> = (0..WRITES).map(|_| house.put_request("hot")).collect();
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            for request in requests {
                let began = tokio::time::Instant::now();
                let put = objects.put(request, body(&[7; 100])).await;
                put.unwrap_or_else(|error| panic!("writer {writer}: {error}"));
                longest = longest.max(began.elapsed());
            }
            longest
        })
    };
    let mut longest = Duration::ZERO;
    for writer in (0..WRITERS).map(write).collect::<Vec<_>>() {
        longest = longest.max(writer.await.unwrap());
    }
    let commit = began.elapsed() / (WRITERS * WRITES);
    assert!(commit < Duration::from_millis(15), "{commit:?} a write: nobody waits while the key is free");
    assert!(longest < commit * WRITERS * 4, "one waited {longest:?}, a round of all takes {:?}", commit * WRITERS);
}
