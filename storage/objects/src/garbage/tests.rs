//! The sweeper frees what is garbage, when it is, and nothing else.

use super::*;
use crate::fixture::{DAY, House, body, key};
use crate::rows::{CHANGES, Marker};
use crate::{Limits, StageSpec};
use futures::TryStreamExt;

#[tokio::test]
async fn replaced_bytes_stay_readable_for_the_grace_and_no_longer() {
    let house = House::new().await;
    house.put("k", b"old").await;
    let reading = house.objects.get(&house.bucket, &key("k"), None).await.unwrap();
    house.put("k", b"new").await;
    let grace = Limits::default().garbage_grace;
    house.clock.advance(grace.saturating_sub(Duration::from_millis(1)));
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 2);
    assert_eq!(reading.body.try_collect::<Vec<_>>().await.unwrap().concat(), b"old");
    house.clock.advance(Duration::from_millis(1));
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 1);
    assert_eq!(house.bookkeeping().await, [0, 1, 0, 0, 0]);
    assert_eq!(house.read("k").await.unwrap(), b"new");
}

#[tokio::test]
async fn blobs_that_no_row_names_are_freed_once_they_are_old() {
    let house = House::new().await;
    house.put("k", b"kept").await;
    let staged = house.objects.stage_bytes(StageSpec::default(), "never committed".into()).await.unwrap();
    let mut unfinished = house.objects.blobs().writer(cistern_types::StorageClass::Standard).await.unwrap();
    unfinished.write("half of it".into()).await.unwrap();
    house.clock.advance(DAY);
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 3, "they may still be committed");
    house.clock.advance(Duration::from_millis(1));
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), 1);
    assert_eq!(house.read("k").await.unwrap(), b"kept");
    drop(staged);
}

#[tokio::test]
async fn an_orphan_pass_goes_through_many_pages() {
    let house = House::new().await;
    for i in 0..(2 * ORPHAN_PAGE_BLOBS + 7) {
        if i % 3 == 0 {
            house.put(&i.to_string(), b"kept").await;
        } else {
            house.objects.stage_bytes(StageSpec::default(), "orphan".into()).await.unwrap();
        }
        house.clock.advance(Duration::from_millis(1));
    }
    // claims of blobs that are gone must not hide anything
    let mut txn = house.objects.store().begin().await.unwrap();
    for _ in 0..3 * ORPHAN_PAGE_BLOBS {
        CLAIMS.put(&mut txn, &BlobId::new(house.objects.now()), &Marker).unwrap();
    }
    txn.commit().await.unwrap();
    house.clock.advance(Duration::from_millis(1));
    house.objects.stage_bytes(StageSpec::default(), "orphan".into()).await.unwrap();
    house.clock.advance(Duration::from_millis(1));
    house.put("last", b"kept").await;
    house.clock.advance(DAY + DAY);
    house.sweep().await;
    assert_eq!(house.blobs().await.len(), house.keys().await.len());
    for name in house.keys().await {
        assert_eq!(house.read(&name).await.unwrap(), b"kept");
    }
}

#[tokio::test]
async fn blobs_of_other_crates_live_while_they_are_claimed() {
    let house = House::new().await;
    let blob = house.objects.blobs().put(cistern_types::StorageClass::Standard, "events".into()).await.unwrap();
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.claim_blob(&mut txn, blob.id, blob.receipt).unwrap();
    txn.commit().await.unwrap();
    house.clock.advance(10 * DAY);
    house.sweep().await;
    assert_eq!(house.blobs().await, [blob.id]);
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.release_blobs(&mut txn, &[blob.id], Duration::from_mins(1)).unwrap();
    txn.commit().await.unwrap();
    house.sweep().await;
    assert_eq!(house.blobs().await, [blob.id]);
    house.clock.advance(Duration::from_mins(1));
    house.sweep().await;
    assert!(house.blobs().await.is_empty());
    assert_eq!(house.bookkeeping().await, [0; 5]);
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_is_repeated() {
    let house = House::new().await;
    house.put("k", b"1").await;
    let blob = house.blobs().await[0];
    house.objects.delete(&house.bucket, &key("k")).await.unwrap();
    // as after a crash between the blob's deletion and the rows'
    house.objects.blobs().delete(&[blob]).await.unwrap();
    house.clock.advance(DAY);
    house.sweep().await;
    assert_eq!(house.bookkeeping().await, [0; 5]);
}

#[tokio::test]
async fn the_change_log_is_trimmed_by_age_in_every_bucket() {
    let house = House::new().await;
    let other = house.objects.create_bucket(crate::fixture::bucket_spec("other")).await.unwrap();
    let count = async || {
        let rows = house.rows().await;
        rows.iter().filter(|(key, _)| CHANGES.range().contains(key)).count()
    };
    for i in 0..2 * CHANGES_PER_TRANSACTION + 5 {
        house.put(&i.to_string(), b"").await;
        let request = crate::PutRequest::new(other.name.clone(), key("k"));
        house.objects.put(request, body(b"")).await.unwrap();
    }
    let kept = Limits::default().changes_kept;
    house.clock.advance(kept);
    house.sweep().await;
    assert_eq!(count().await, 4 * CHANGES_PER_TRANSACTION + 10);
    house.put("young", b"").await;
    house.clock.advance(Duration::from_millis(1));
    house.sweep().await;
    assert_eq!(count().await, 1);
    let bucket = house.objects.bucket(&house.bucket).await.unwrap().id;
    let log = house.objects.changes(bucket, None, 10).await.unwrap();
    assert_eq!(log[0].changes[0].key, key("young"));
    assert!(house.objects.changes(bucket, Some(log[0].stamp), 10).await.unwrap().is_empty());
}
