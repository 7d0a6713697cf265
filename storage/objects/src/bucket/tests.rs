//! Lives of buckets.

use super::*;
use crate::fixture::{House, bucket_spec, owner};

#[tokio::test]
async fn a_name_is_taken_once_and_the_error_says_by_whom() {
    let house = House::new().await;
    let error = house.objects.create_bucket(bucket_spec("house")).await.unwrap_err();
    assert!(matches!(error, Error::BucketAlreadyOwnedByYou { .. }), "{error:?}");
    let other = BucketSpec { owner: owner(2), ..bucket_spec("house") };
    let error = house.objects.create_bucket(other).await.unwrap_err();
    assert!(matches!(error, Error::BucketAlreadyExists { .. }), "{error:?}");
}

#[tokio::test]
async fn buckets_are_listed_by_owner_prefix_and_page() {
    let house = House::new().await;
    for (name, by) in [("alpha", 2), ("beta-1", 2), ("beta-2", 3), ("beta-3", 2)] {
        house.objects.create_bucket(BucketSpec { owner: owner(by), ..bucket_spec(name) }).await.unwrap();
    }
    let list = async |by: Option<u8>, prefix: &str, after: Option<&str>, limit| {
        let (owner, prefix, after) = (by.map(|by| owner(by).id), prefix.to_owned(), after.map(str::to_owned));
        let page = house.objects.buckets(ListBuckets { owner, prefix, after, limit }).await.unwrap();
        (page.buckets.into_iter().map(|bucket| bucket.name.to_string()).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(None, "", None, 9).await.0, ["alpha", "beta-1", "beta-2", "beta-3", "house"]);
    assert_eq!(list(Some(2), "", None, 9).await.0, ["alpha", "beta-1", "beta-3"]);
    assert_eq!(list(Some(2), "beta", None, 1).await, (vec!["beta-1".into()], Some("beta-1".into())));
    assert_eq!(list(Some(2), "beta", Some("beta-1"), 1).await, (vec!["beta-3".into()], None));
    assert_eq!(list(None, "beta-", Some("beta-1"), 2).await, (vec!["beta-2".into(), "beta-3".into()], None));
    assert_eq!(list(Some(9), "", None, 9).await, (vec![], None));
}

#[tokio::test]
async fn a_bucket_changes_its_class_and_nothing_else() {
    let house = House::new().await;
    let before = house.objects.bucket(&house.bucket).await.unwrap();
    house.objects.set_bucket_class(&house.bucket, StorageClass::InfrequentAccess).await.unwrap();
    let after = house.objects.bucket(&house.bucket).await.unwrap();
    assert_eq!(*after, BucketRecord { class: StorageClass::InfrequentAccess, ..(*before).clone() });
    let gone = house.objects.set_bucket_class(&"nobody".parse().unwrap(), StorageClass::Standard).await;
    assert!(matches!(gone, Err(Error::NoSuchBucket { .. })), "{gone:?}");
}

#[tokio::test]
async fn only_an_empty_bucket_is_deleted_and_its_next_life_is_empty() {
    let house = House::new().await;
    house.put("k", b"1").await;
    let error = house.objects.delete_bucket(&house.bucket).await.unwrap_err();
    assert!(matches!(error, Error::BucketNotEmpty { .. }), "{error:?}");
    house.objects.delete(&house.bucket, &"k".parse().unwrap()).await.unwrap();
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    for gone in
        [house.objects.bucket(&house.bucket).await.map(|_| ()), house.objects.delete_bucket(&house.bucket).await]
    {
        assert!(matches!(gone, Err(Error::NoSuchBucket { .. })), "{gone:?}");
    }
    house.objects.create_bucket(BucketSpec { owner: owner(7), ..bucket_spec("house") }).await.unwrap();
    assert!(house.keys().await.is_empty());
}

#[tokio::test]
async fn deleting_a_bucket_aborts_its_uploads_and_frees_their_parts() {
    let house = House::new().await;
    for number in 0..1201 {
        house.begin_upload(&format!("k{number}")).await;
    }
    let upload = house.begin_upload("with-part").await;
    house.put_part(&upload, 1, b"12345").await;
    house.objects.delete_bucket(&house.bucket).await.unwrap();
    house.sweep().await;
    assert!(house.blobs().await.is_empty());
    assert_eq!(house.bookkeeping().await, [0; 5]);
    house.objects.create_bucket(bucket_spec("house")).await.unwrap();
    let error = house.objects.parts(&upload, 0, 10).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchUpload { .. }), "{error:?}");
}
