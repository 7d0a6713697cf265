//! What every blob store must do, as one suite: [`run`] it against each implementation.
//!
//! It asks through [`BlobStore`] only, and looks only at blobs it made, so the store may hold others. How a receipt is
//! presented depends on the rows' engine, so the caller says it: [`Commit`].

use crate::{Blob, BlobStore, Error};
use bytes::Bytes;
use cistern_types::{BlobId, Receipt, StorageClass};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Presents a receipt to the engine that keeps the rows, and waits until the commit is durable.
pub type Commit = Arc<dyn Fn(Receipt) -> BoxFuture<'static, ()> + Send + Sync>;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Around every size at which a store may change how it keeps a blob.
const SIZES: [usize; 11] =
    [0, 1, 4 * KIB, 128 * KIB, 128 * KIB + 1, 256 * KIB, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 7];
/// The longest piece a reader may answer, in bytes.
const PIECE_BYTES_MAX: usize = MIB;
/// How many writers race.
const RACERS: usize = 16;

/// Runs every case. Needs a tokio runtime, better one with several threads.
///
/// # Panics
/// When the store does not do as it must.
pub async fn run(store: Arc<dyn BlobStore>, commit: Commit) {
    for class in [StorageClass::Standard, StorageClass::InfrequentAccess] {
        run_class(Case { store: Arc::clone(&store), commit: Arc::clone(&commit), class }).await;
    }
}

async fn run_class(case: Case) {
    every_size_reads_back(&case).await;
    bodies_in_odd_steps_read_back(&case).await;
    ranges_outside_are_refused(&case).await;
    what_is_not_finished_cannot_be_read(&case).await;
    deleted_blobs_are_gone(&case).await;
    listings_are_in_order_and_paged(&case).await;
    many_writers_do_not_mix(&case).await;
    names_are_never_given_twice(&case).await;
}

#[derive(Clone)]
struct Case {
    store: Arc<dyn BlobStore>,
    commit: Commit,
    class: StorageClass,
}

/// Bytes that differ from place to place and from seed to seed.
fn body(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut body = Vec::with_capacity(bytes + 8);
    while body.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(bytes);
    body.into()
}

impl Case {
    /// Writes a body in steps of at most `step` bytes and makes it durable.
    async fn write(&self, body: &Bytes, step: usize) -> BlobId {
        let mut writer = self.store.writer(self.class).await.expect("a writer can begin");
        let id = writer.id();
        let mut rest = body.clone();
        while !rest.is_empty() {
            writer.write(rest.split_to(step.min(rest.len()))).await.expect("bytes can be written");
        }
        let blob = writer.finish().await.expect("a blob can be finished");
        assert_eq!(blob.id, id);
        self.commit(blob, body).await
    }

    async fn put(&self, body: &Bytes) -> BlobId {
        let blob = self.store.put(self.class, body.clone()).await.expect("a body can be put");
        self.commit(blob, body).await
    }

    async fn commit(&self, blob: Blob, body: &Bytes) -> BlobId {
        assert_eq!(blob.length, body.len() as u64);
        (self.commit)(blob.receipt).await;
        blob.id
    }

    /// Reads a range and compares it with that of `body`.
    async fn check(&self, id: BlobId, body: &Bytes, range: Range<usize>) {
        let asked = range.start as u64..range.end as u64;
        let reader = self.store.read(id, asked).await.expect("a range inside can be read");
        let pieces: Vec<Bytes> = reader.try_collect().await.expect("all pieces can be read");
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX), "pieces are bounded");
        let same = pieces.concat() == body[range.clone()];
        assert!(same, "bytes {range:?} of blob {id} of {} bytes", body.len());
    }

    async fn check_gone(&self, id: BlobId) {
        match self.store.read(id, 0..0).await {
            Err(Error::NoSuchBlob { id: missing }) => assert_eq!(missing, id),
            Err(error) => unreachable!("another error than NoSuchBlob: {error}"),
            Ok(_) => unreachable!("a blob that must not be there can be read"),
        }
    }

    async fn is_listed(&self, id: BlobId) -> bool {
        let mut after = None;
        loop {
            let page = self.store.list(after, 100).await.expect("blobs can be listed");
            if page.contains(&id) {
                return true;
            }
            let Some(last) = page.last() else { return false };
            after = Some(*last);
        }
    }
}

/// Where pieces or chunks may meet, and beside.
fn borders(bytes: usize) -> Vec<usize> {
    let mut borders = vec![0, 1, bytes / 2, bytes.saturating_sub(1), bytes];
    for step in [4 * KIB, 128 * KIB, 256 * KIB, MIB] {
        let near = |border: usize| [border - 1, border, border + 1];
        borders.extend((1..=bytes / step).take(6).flat_map(|number| near(number * step)));
    }
    borders.retain(|border| *border <= bytes);
    borders.sort_unstable();
    borders.dedup();
    borders
}

async fn every_size_reads_back(case: &Case) {
    for (seed, bytes) in (1..).zip(SIZES) {
        let body = body(seed, bytes);
        let ids = [case.put(&body).await, case.write(&body, 64 * KIB).await];
        for id in ids {
            case.check(id, &body, 0..bytes).await;
            assert!(case.is_listed(id).await);
        }
        let borders = borders(bytes);
        for (at, start) in borders.iter().enumerate() {
            for end in borders[at..].iter().take(4).chain(borders.last()) {
                case.check(ids[at % 2], &body, *start..*end).await;
            }
        }
    }
}

async fn bodies_in_odd_steps_read_back(case: &Case) {
    for (seed, step) in (100..).zip([1, 999, 4 * KIB, MIB - 1, MIB, MIB + 1, 3 * MIB]) {
        let body = body(seed, if step == 1 { 3000 } else { 4 * MIB + 4321 });
        let id = case.write(&body, step).await;
        case.check(id, &body, 0..body.len()).await;
    }
}

async fn ranges_outside_are_refused(case: &Case) {
    let body = body(200, 1000);
    let id = case.put(&body).await;
    #[expect(clippy::reversed_empty_ranges, reason = "that is one of the ranges to refuse")]
    for range in [0..1001, 1001..1001, 5000..6000, 20..10] {
        let refused = case.store.read(id, range.clone()).await.map(|_| ());
        assert!(matches!(refused, Err(Error::OutsideBlob { length: 1000, .. })), "{range:?}: {refused:?}");
    }
    case.check(id, &body, 1000..1000).await;
}

async fn what_is_not_finished_cannot_be_read(case: &Case) {
    let body = body(300, 3 * MIB + 5);
    let mut writer = case.store.writer(case.class).await.expect("a writer can begin");
    case.check_gone(writer.id()).await;
    writer.write(body.clone()).await.expect("bytes can be written");
    case.put(&body).await; // what was written before it is durable now
    case.check_gone(writer.id()).await;
    let blob = writer.finish().await.expect("a blob can be finished");
    let id = case.commit(blob, &body).await;
    case.check(id, &body, 0..body.len()).await;

    let mut dropped = case.store.writer(case.class).await.expect("a writer can begin");
    let orphan = dropped.id();
    dropped.write(body.clone()).await.expect("bytes can be written");
    drop(dropped);
    case.put(&body).await;
    case.check_gone(orphan).await;
    // a store of several parts may still be writing it
    let mut waited = 0;
    while !case.is_listed(orphan).await {
        waited += 1;
        assert!(waited < 100, "the sweeper must find an orphan that holds space");
        case.put(&body).await;
    }
    assert_eq!(case.store.delete(&[orphan]).await.expect("an orphan can be deleted"), []);
    assert!(!case.is_listed(orphan).await);
}

async fn deleted_blobs_are_gone(case: &Case) {
    let bodies = [body(400, 10), body(401, 2 * MIB + 1), body(402, 0), body(403, 20)];
    let mut ids = Vec::new();
    for body in &bodies {
        ids.push(case.put(body).await);
    }
    let (kept, deleted) = (ids[3], &ids[..3]);
    assert_eq!(case.store.delete(deleted).await.expect("blobs can be deleted"), []);
    for id in deleted {
        case.check_gone(*id).await;
        assert!(!case.is_listed(*id).await);
    }
    case.store.delete(deleted).await.expect("deleting what is gone succeeds");
    case.store.delete(&[]).await.expect("deleting nothing succeeds");
    case.check(kept, &bodies[3], 0..20).await;
}

async fn listings_are_in_order_and_paged(case: &Case) {
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(case.put(&body(500 + number, 7)).await);
    }
    ids.sort_unstable();
    let all = case.store.list(None, usize::MAX).await.expect("blobs can be listed");
    assert!(all.is_sorted_by(|a, b| a < b), "in the order of ids, none twice");
    let found = ids.iter().filter(|id| all.contains(id)).count();
    assert_eq!(found, ids.len());
    for limit in [1, 7, all.len(), all.len() + 1] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = case.store.list(after, limit).await.expect("blobs can be listed");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            paged.extend(page);
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    assert_eq!(case.store.list(None, 0).await.expect("blobs can be listed"), []);
}

async fn many_writers_do_not_mix(case: &Case) {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let case = case.clone();
        racers.spawn(async move {
            for (round, bytes) in [100, 3 * MIB + racer, 130 * KIB + racer].into_iter().enumerate() {
                let body = body((1000 + racer * 10 + round) as u64, bytes);
                let id = case.write(&body, 200 * KIB).await;
                case.check(id, &body, 0..bytes).await;
                let small = body.slice(..50);
                let id = case.put(&small).await;
                case.check(id, &small, 0..50).await;
            }
        });
    }
    racers.join_all().await;
}

async fn names_are_never_given_twice(case: &Case) {
    let body = body(2000, 10);
    let (one, two) = (case.put(&body).await, case.put(&body).await);
    assert_ne!(one, two, "the same bytes are two blobs");
    case.store.delete(&[one]).await.expect("a blob can be deleted");
    case.check(two, &body, 0..10).await;
    let pieces = case.store.read(two, 5..5).await.expect("an empty range can be read").collect::<Vec<_>>().await;
    assert!(pieces.iter().all(|piece| piece.as_ref().is_ok_and(Bytes::is_empty)));
}
