//! Staged objects and transactions of the caller.

use super::*;
use crate::fixture::{DAY, House, bytes, key};
use crate::{BucketSpec, Limits};
use cistern_metadata::Commit;
use std::time::Duration;

#[tokio::test]
async fn staged_objects_become_visible_with_the_callers_transaction() {
    let house = House::new().await;
    let content = bytes(50_000, 1);
    let staged = house.objects.stage_bytes(StageSpec::default(), content.clone().into()).await.unwrap();
    assert!(house.keys().await.is_empty());
    let mut txn = house.objects.store().begin().await.unwrap();
    txn.put_raw("offset".into(), "17".into());
    let record = house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap();
    assert!(house.keys().await.is_empty());
    assert!(matches!(txn.commit().await.unwrap(), Commit::Committed { .. }));
    assert_eq!((record.size, record.etag), (staged.size(), staged.etag()));
    assert_eq!(house.read("k").await.unwrap(), content);
}

#[tokio::test]
async fn a_lost_transaction_can_be_tried_again_with_the_same_bytes() {
    let house = House::new().await;
    let staged = house.objects.stage_bytes(StageSpec::default(), "mine".into()).await.unwrap();
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap();
    house.put("k", b"faster").await;
    assert_eq!(txn.commit().await.unwrap(), Commit::Lost);
    assert_eq!(house.read("k").await.unwrap(), b"faster");
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(house.read("k").await.unwrap(), b"mine");
}

#[tokio::test]
async fn several_objects_and_buckets_go_into_one_transaction() {
    let house = House::new().await;
    let other = BucketSpec { name: "other".parse().unwrap(), ..crate::fixture::bucket_spec("other") };
    let other = house.objects.create_bucket(other).await.unwrap();
    let mut staged = Vec::new();
    for content in ["1", "2", "3"] {
        staged.push(house.objects.stage_bytes(StageSpec::default(), content.into()).await.unwrap());
    }
    let keys = [key("a"), key("b"), key("c")];
    let buckets = [&house.bucket, &other.name, &house.bucket];
    let commits: Vec<_> =
        (0..3).map(|i| StagedCommit { bucket: buckets[i], key: &keys[i], staged: &staged[i] }).collect();
    let mut txn = house.objects.store().begin().await.unwrap();
    let records = house.objects.commit_staged_many(&mut txn, &commits).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(records.iter().map(|record| &record.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    assert_eq!(house.keys().await, ["a", "c"]);
    let log = house.objects.changes(other.id, None, 10).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].changes[0].key, keys[1]);
}

#[tokio::test]
async fn a_bucket_deleted_meanwhile_refuses_the_commit() {
    let house = House::new().await;
    let staged = house.objects.stage_bytes(StageSpec::default(), "1".into()).await.unwrap();
    let mut txn = house.objects.store().begin().await.unwrap();
    house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap();
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    assert_eq!(txn.commit().await.unwrap(), Commit::Lost);
    let mut txn = house.objects.store().begin().await.unwrap();
    let error = house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchBucket { .. }), "{error:?}");
}

#[tokio::test]
async fn bytes_that_the_orphan_pass_may_be_deleting_are_not_committed() {
    let house = House::new().await;
    let staged = house.objects.stage_bytes(StageSpec::default(), "1".into()).await.unwrap();
    house.clock.advance(DAY.saturating_sub(Limits::ORPHAN_MARGIN));
    let commit = async || {
        let mut txn = house.objects.store().begin().await.unwrap();
        house.objects.commit_staged(&mut txn, &house.bucket, &key("k"), &staged).await
    };
    commit().await.unwrap();
    house.clock.advance(Duration::from_millis(1));
    let error = commit().await.unwrap_err();
    assert!(matches!(error, Error::UploadTooSlow { limit_seconds: 82_800 }), "{error:?}");
}
